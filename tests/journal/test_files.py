"""The file: how it is created, which files are refused, and what happens when it can't be written."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journal.records import ACCOUNT, beside, opened, receipt, run_program
from tests.journal.spoiled import cut, empty, newer, of_another_program, of_text, overwritten
from vpsorg_async.errors import ConfigurationError, JournalError
from vpsorg_async.journal import Journal


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def written(file: Path) -> None:
    """A journal with an entry, closed."""
    async with await opened(file) as journal, await journal.begin("create", ["web-1"]) as run:
        run.acknowledged("web-1", receipt(7))


async def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    """The file, SQLite's files and the locks have mode 0600, new folders 0700, whatever the umask allows."""
    before = os.umask(0)
    try:
        file = tmp_path / "state" / "vpsorg" / "fleet.db"
        async with await opened(file) as journal:
            await journal.begin("create", ["web-1"])
            files = list(file.parent.iterdir())
            assert len(files) == 4
            assert {path.name: oct(mode(path)) for path in files} == {path.name: "0o600" for path in files}
            assert mode(file.parent) == mode(file.parent.parent) == 0o700
    finally:
        os.umask(before)
    assert beside(file) == set()


async def test_a_link_is_followed(tmp_path: Path) -> None:
    """A journal behind a link, also one that is yet to be created, is one journal."""
    target, link = tmp_path / "target.db", tmp_path / "link.db"
    link.symlink_to(target)
    async with await opened(link) as journal, await opened(target) as other:
        await journal.begin("create", ["web-1"])
        with pytest.raises(ConfigurationError, match="web-1"):
            await other.begin("create", ["web-1"])
    assert link.is_symlink()
    assert target.is_file()


async def test_odd_names_are_names(tmp_path: Path) -> None:
    """What has a meaning in URIs and patterns has none in the name of a journal."""
    for name in ("a?mode=ro", "[a-z]*.db", "50%20.db", "fleet #1", "ü.db"):
        await written(tmp_path / name)
        async with await opened(tmp_path / name) as journal:
            assert await journal.receipts([7]) == {7: receipt(7)}
    assert len(os.listdir(tmp_path)) == 5


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (newer, "format 2, and this version of vpsorg_async reads the format 1"),
        (of_another_program, "not a journal"),
        (of_text, "not a journal"),
        (empty, "not a journal"),
        (overwritten, "damaged"),
        (cut, "damaged"),
    ],
)
async def test_a_file_that_is_no_good_journal_is_refused_unchanged(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    """The error says what it is, and the file stays as it was."""
    file = tmp_path / "fleet.db"
    await written(file)
    spoil(file)
    before = file.read_bytes()

    with pytest.raises(ConfigurationError, match=message) as refused:
        await opened(file)

    assert "fleet.db" in str(refused.value)
    assert file.read_bytes() == before
    assert beside(file) <= {"fleet.db-wal", "fleet.db-shm"}


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/fleet.db", "/proc/fleet.db", "a\0b", ".", ""])
async def test_a_place_for_no_file_is_refused(place: str) -> None:
    with pytest.raises(ConfigurationError, match=r"the journal .*(can't be opened|not a regular file)"):
        await Journal.open(place, account=ACCOUNT)


async def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match="not a regular file"):
        await opened(tmp_path / "pipe")


@pytest.mark.parametrize("options", [{"account": ""}, {"keep": 0}, {"keep": float("nan")}, {"keep": True}])
async def test_bad_options_are_refused(tmp_path: Path, options: dict[str, float | str]) -> None:
    with pytest.raises(ConfigurationError):
        await Journal.open(tmp_path / "fleet.db", **{"account": ACCOUNT, **options})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="path"):
        await Journal.open(7, account=ACCOUNT)  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


async def test_a_file_that_is_removed_is_missed(tmp_path: Path) -> None:
    """An intent in a file that no other process can see is none."""
    file = tmp_path / "fleet.db"
    async with await opened(file) as journal, await journal.begin("create", ["web-1"]) as run:
        await run.note_before([])
        file.unlink()
        with pytest.raises(JournalError, match="removed or replaced"):
            await run.intend("web-1", "create")
        with pytest.raises(JournalError, match="removed or replaced"):
            await journal.begin("create", ["web-2"])


READ_ONLY = """
import asyncio, os, sys, urllib.parse  # before the user changes
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.journal import Journal

async def main():
    for file in sys.argv[1:]:
        try:
            await Journal.open(file, account="x")
        except ConfigurationError as refused:
            print(refused)

if os.geteuid() == 0:
    os.seteuid(65534)  # permissions do not apply to root
asyncio.run(main())
"""


def test_a_file_that_is_read_only_is_refused() -> None:
    """A file without write permission, and a folder that takes no new file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, new, below = folder / "fleet.db", folder / "new.db", folder / "folder" / "new.db"
        asyncio.run(written(file))
        file.chmod(0o444)
        folder.chmod(0o555)
        done = run_program(READ_ONLY, file, new, below)
        folder.chmod(0o755)

        assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
            f"the journal {path} can't be opened" for path in (file, new, below)
        ], done.stderr
        assert list(folder.iterdir()) == [file]


FULL = """
import asyncio, logging, resource, sys
from vpsorg_async.errors import JournalError
from vpsorg_async.journal import Journal
from vpsorg_async.lifecycle.receipts import Receipt
from datetime import UTC, datetime

logging.basicConfig(level=logging.WARNING, format="%(levelname)s", stream=sys.stdout)

def say(text):
    # print writes the end of a line on its own, and the log can come between
    sys.stdout.write(f"{text}\\n")

def receipt(server_id):
    return Receipt(server_id=server_id, operation="create", acknowledged_at=datetime.now(UTC))

async def main(file, ends):
    journal = await Journal.open(file, account="x")
    names = [f"web-{n}" for n in range(3000)]
    run = await journal.begin("create", names)
    await run.note_before([])
    await run.intend("web-0", "create")
    await run.intend("web-1", "create")
    resource.setrlimit(resource.RLIMIT_FSIZE, (512 * 1024, resource.RLIM_INFINITY))
    sent = 2
    try:
        for name in names[2:]:
            await run.intend(name, "create")
            sent += 1
    except JournalError as failure:
        say("refused" if "can't be written" in str(failure) else failure)
    for n in range(sent):
        run.acknowledged(f"web-{n}", receipt(n + 1))
    for _ in range(2):
        try:
            await run.intend(f"web-{sent}", "create")
        except JournalError:
            say("refused again")
    if ends == "full":
        await run.end(complete=True)
        await journal.close()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await run.intend(f"web-{sent}", "create")
        await journal.close()
    say(sent)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("ends", ["full", "with room again"])
async def test_a_full_disk_stops_what_is_not_sent(tmp_path: Path, ends: str) -> None:
    """No intent passes, receipts cost one warning, and are written as soon as there is room."""
    file = tmp_path / "fleet.db"
    done = run_program(FULL, file, ends)
    *lines, last = done.stdout.splitlines()
    # a full disk at the end: neither the end of the run nor the receipts could be written
    warnings = 3 if ends == "full" else 1
    assert sorted(lines) == ["WARNING"] * warnings + ["refused"] + ["refused again"] * 2, done.stderr
    sent = int(last)
    assert 2 < sent < 3000

    async with await opened(file, "x") as journal:
        run = await journal.begin("ensure", [f"web-{n}" for n in range(3000)])
        kinds = [type(entry).__name__ for entry in run.standing.values()]
        if ends == "full":
            # all that was sent is in doubt, and nothing is lost
            assert kinds == ["Intent"] * sent
        else:
            assert kinds == ["Acknowledged"] * sent + ["Intent"]
            assert len(await journal.receipts(range(1, 3001))) == sent
