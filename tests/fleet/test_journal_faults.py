"""Journals that can't be used, or break in the middle: nothing is sent without an intent. Counts are the ledger's."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.journal.records import run_program
from tests.journal.spoiled import cut, empty, newer, of_another_program, of_text, overwritten
from vpsorg_async import Client, ServerSpec
from vpsorg_async.errors import ConfigurationError, JournalError
from vpsorg_async.events import CommandAnswered, FleetEvent
from vpsorg_async.journal import Journal
from vpsorg_async.pytest_plugin import MakeClient
from vpsorg_async.sandbox import Sandbox


def specs(count: int) -> list[ServerSpec]:
    return [ServerSpec(name=f"web-{n:02}", plan_id=1, os_id=5, location="us-west") for n in range(count)]


CALLS: dict[str, Callable[[Client, Path], Awaitable[object]]] = {
    "create": lambda vps, file: vps.fleet.create(specs(3), timeout=10, journal=file),
    "ensure": lambda vps, file: vps.fleet.ensure(specs(3), timeout=10, journal=file),
    "reboot": lambda vps, file: vps.fleet.reboot([12345], timeout=10, journal=file),
    "delete": lambda vps, file: vps.fleet.delete([12345], timeout=10, journal=file),
    "rolling_reboot": lambda vps, file: vps.fleet.rolling_reboot([12345], timeout=10, journal=file),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (newer, "format 2, and this version of vpsorg_async reads the format 1: upgrade the package"),
        (overwritten, "is damaged .*: check the account for servers of an interrupted run"),
        (cut, "is damaged"),
        (of_text, "is not a journal of this program: pass another file"),
        (of_another_program, "is not a journal of this program"),
        (empty, "is not a journal of this program"),
    ],
)
async def test_a_file_that_is_no_good_journal(
    vpsorg_client: MakeClient,
    vpsorg_sandbox: Sandbox,
    tmp_path: Path,
    call: str,
    spoil: Callable[[Path], None],
    message: str,
) -> None:
    """Each call says what the file is, and sends nothing: no command, and not even a read."""
    vpsorg_sandbox.world.add(1)
    file = tmp_path / "fleet.db"
    async with await Journal.open(file, account=vpsorg_sandbox.url) as journal:
        await (await journal.begin("create", [f"web-{n:03}" for n in range(300)])).end(complete=False)
    spoil(file)

    async with vpsorg_client() as vps:
        with pytest.raises(ConfigurationError, match=message):
            await CALLS[call](vps, file)

    assert vpsorg_sandbox.requests == ()


PROGRAM = """
import asyncio, json, os, resource, sys
from vpsorg_async import Client, ServerSpec
from vpsorg_async.errors import ConfigurationError, JournalError
from vpsorg_async.events import CommandAnswered
from vpsorg_async.plain import to_plain

url, token, file, count, answers, user = sys.argv[1:]
left = int(answers)

def fill(size):
    # no file grows any more, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def hook(event):
    global left
    if isinstance(event, CommandAnswered):
        left -= 1
        if not left:
            fill(os.path.getsize(file + "-wal"))

async def main():
    specs = [ServerSpec(name=f"web-{n:02}", plan_id=1, os_id=5, location="us-west") for n in range(int(count))]
    async with Client(token, base_url=url, min_interval=0.02, max_in_flight=3) as vps:
        if user != "root" and os.geteuid() == 0:
            os.seteuid(65534)  # permissions do not apply to root
        if not left:
            fill(0)
        try:
            report = await vps.fleet.ensure(specs, timeout=60, settle=2.0, on_event=hook, journal=file)
        except (ConfigurationError, JournalError) as refused:
            print(json.dumps([type(refused).__name__, str(refused)]))
        else:
            print(json.dumps(to_plain(report)))

asyncio.run(main())
"""


def program(box: Sandbox, file: Path, *, servers: int = 30, full_after: int = -1, user: str = "root") -> Any:
    """What it printed: its report, or the class and the text of the error."""
    done = run_program(PROGRAM, box.url, box.token, file, servers, full_after, user)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_disk_that_is_full_at_the_beginning(vpsorg_sandbox: Sandbox, tmp_path: Path) -> None:
    """Whether the journal is new, or was used before."""
    used = tmp_path / "used.db"
    program(vpsorg_sandbox, used, servers=1)
    before = len(vpsorg_sandbox.requests)

    for file in (tmp_path / "new.db", used):
        kind, text = program(vpsorg_sandbox, file, full_after=0)
        assert kind in ("ConfigurationError", "JournalError"), text
        assert "the journal" in text
        assert str(file) in text

    assert len(vpsorg_sandbox.requests) == before
    assert len(vpsorg_sandbox.ledger) == 1


def test_a_file_that_is_read_only(vpsorg_sandbox: Sandbox) -> None:
    """And a folder that takes no new file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "fleet.db"
        program(vpsorg_sandbox, file, servers=1)
        before = len(vpsorg_sandbox.requests)
        file.chmod(0o444)
        folder.chmod(0o555)
        for one in (file, folder / "new.db"):
            kind, text = program(vpsorg_sandbox, one, user="somebody")
            assert (kind, text.partition(":")[0]) == (
                "ConfigurationError",
                f"the journal {one} can't be opened",
            )
        folder.chmod(0o755)

    assert len(vpsorg_sandbox.requests) == before


@pytest.mark.parametrize("answers", [1, 4, 17])
def test_a_disk_that_fills_in_the_middle(vpsorg_sandbox: Sandbox, tmp_path: Path, answers: int) -> None:
    """What was sent is in the report, nothing more is sent, and a run with room again completes the fleet."""
    file = tmp_path / "fleet.db"
    vpsorg_sandbox.world.lag(1.0, lasting=1e6)
    report = program(vpsorg_sandbox, file, full_after=answers)

    outcomes = {outcome["key"]: outcome for outcome in report["outcomes"]}
    kinds = Counter(outcome["type"] for outcome in outcomes.values())
    sent = {change.name for change in vpsorg_sandbox.ledger}
    assert sum(kinds.values()) == 30
    assert {key for key, outcome in outcomes.items() if outcome["type"] == "Succeeded"} == sent
    assert answers <= len(sent) < 30
    failed = [outcome for outcome in outcomes.values() if outcome["type"] == "Failed"]
    assert {outcome["error"]["type"] for outcome in failed} == {"JournalError"}
    assert 1 <= len(failed) <= 3
    assert all(
        outcome["reason"].startswith("not sent, because the journal can't be written")
        for outcome in outcomes.values()
        if outcome["type"] == "Skipped"
    )

    again = program(vpsorg_sandbox, file)
    assert {outcome["type"] for outcome in again["outcomes"]} == {"Succeeded"}
    assert len(vpsorg_sandbox.ledger) == len({server.name for server in vpsorg_sandbox.servers}) == 30


@pytest.mark.parametrize("wait", [True, False])
async def test_a_file_that_is_moved_away_in_the_middle(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, tmp_path: Path, wait: bool
) -> None:
    """An intent in a file that the next run will not find is none: no further command is sent."""
    file, away = tmp_path / "fleet.db", tmp_path / "away.db"

    def hook(event: FleetEvent) -> None:
        if isinstance(event, CommandAnswered) and file.exists():
            os.rename(file, away)

    async with vpsorg_client(max_in_flight=2) as vps:
        report = await vps.fleet.create(specs(12), timeout=10, wait=wait, journal=file, on_event=hook)

    sent = {change.name for change in vpsorg_sandbox.ledger}
    assert {outcome.key for outcome in report.succeeded} == sent
    assert 1 <= len(sent) <= 3
    assert {type(outcome.error) for outcome in report.failed} == {JournalError}
    assert len(report.skipped) == 12 - len(sent) - len(report.failed)
