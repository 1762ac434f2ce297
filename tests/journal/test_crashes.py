"""Real processes: killed at any moment, beginning at the same instant, forked, and ended without closing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.journal.crashes import check, killed, programs, started
from tests.journal.records import beside, opened, receipt
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.journal import Intent

HEAD = """
import asyncio, os, sys
from tests.journal.records import opened, receipt
from vpsorg_async.errors import ConfigurationError
"""


def program(text: str, *arguments: object) -> AbstractContextManager[subprocess.Popen[str]]:
    """A program of its own, which has begun when it has printed a line."""
    return started("-c", HEAD + text, *arguments)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Let a program that reads a line go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("new", [True, False], ids=["new", "used"])
async def test_a_kill_loses_nothing(tmp_path: Path, new: bool) -> None:
    """At a few of all lines, which `sweep_crashes` has completely: what was sent is known, and the names are free."""
    with programs() as process:
        for lines in range(13, 10_000, 83):
            file = tmp_path / (str(lines) if new else "") / "fleet.db"
            said = killed(process, file, lines)
            if "closed" in said:
                break
            await check(file, said)
    assert lines > 300


HOLDS = """
async def main():
    journal = await opened(sys.argv[1])
    run = await journal.begin("ensure", ["web-1", "web-2"])
    await run.note_before([1])
    await run.intend("web-1", "create")
    print("ready", flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


async def test_names_are_held_as_long_as_the_process_lives(tmp_path: Path) -> None:
    """Another process is refused, by number, until the first one is killed; then it takes up what was in doubt."""
    file = tmp_path / "fleet.db"
    with program(HOLDS, file) as process:
        assert line(process) == "ready"
        async with await opened(file) as journal:
            with pytest.raises(
                ConfigurationError, match=f"process {process.pid}, since .*: web-1; nothing was sent"
            ):
                await journal.begin("create", ["web-1", "web-3"])
            process.kill()
            process.wait()
            run = await journal.begin("create", ["web-1", "web-3"])
            assert [(name, type(left)) for name, left in run.standing.items()] == [("web-1", Intent)]
    assert beside(file) == set()


RACES = """
async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    journal = await opened(sys.argv[1])
    try:
        await journal.begin("create", ["web-1", "web-2"])
    except ConfigurationError:
        print("refused", flush=True)
    else:
        print("begun", flush=True)
    sys.stdin.readline()
    await journal.close()

asyncio.run(main())
"""


def left_of(folder: Path) -> list[str]:
    """The files in a folder, without SQLite's log: connections that close at the same moment can leave it there."""
    return [name for name in os.listdir(folder) if not name.endswith(("-wal", "-shm"))]


def test_of_processes_that_begin_together_one_gets_the_names(tmp_path: Path) -> None:
    """Five processes create one journal and begin at the same instant: four are refused."""
    file = tmp_path / "fleet.db"
    with ExitStack() as stack:
        processes = [stack.enter_context(program(RACES, file)) for _ in range(5)]
        assert {line(process) for process in processes} == {"ready"}
        for process in processes:
            tell(process)
        assert sorted(map(line, processes)) == ["begun"] + ["refused"] * 4
        for process in processes:
            tell(process)
            process.wait()
    assert left_of(tmp_path) == ["fleet.db"]


def test_of_threads_that_begin_together_one_gets_the_names(tmp_path: Path) -> None:
    """Threads with a loop and a journal each are like processes."""
    file = tmp_path / "fleet.db"
    together, after = threading.Barrier(4), threading.Barrier(4)
    ends: list[str] = []

    async def work() -> None:
        together.wait()
        async with await opened(file) as journal:
            try:
                await journal.begin("create", ["web-1", "web-2"])
                ends.append("begun")
            except ConfigurationError:
                ends.append("refused")
            after.wait()

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["begun"] + ["refused"] * 3
    assert left_of(tmp_path) == ["fleet.db"]


FORKS = """
def say(text):
    os.write(1, f"{text}\\n".encode())

async def child(file, journal, run):
    for call in (journal.receipts([7]), run.intend("web-2", "create"), opened(file)):
        try:
            await call
        except ConfigurationError as refused:
            say(refused)
    run.acknowledged("web-2", receipt(8))
    await run.end(complete=True)
    await journal.close()
    async with await opened(file + "2"):
        say("another file")

async def main(file):
    journal = await opened(file)
    run = await journal.begin("create", ["web-1", "web-2"])
    await run.note_before([])
    await run.intend("web-1", "create")
    return journal, run

file, ends = sys.argv[1:]
journal, run = asyncio.run(main(file))
number = os.fork()
if not number:
    asyncio.run(child(file, journal, run))
    if ends == "parent first":
        sys.stdin.readline()
    sys.exit()
if ends == "child first":
    os.waitpid(number, 0)
    asyncio.run(run.intend("web-2", "create"))
say(f"forked {number}")
sys.stdin.readline()
"""


@pytest.mark.parametrize("ends", ["child first", "parent first"])
async def test_a_fork_has_no_part_in_the_journal(tmp_path: Path, ends: str) -> None:
    """A child can use neither the journal nor its file, and its end changes nothing; it holds no lock of its parent."""
    file = tmp_path / "fleet.db"
    with program(FORKS, file, ends) as process:
        said = [line(process) for _ in range(5)]
        assert sum("before a fork" in each for each in said) == 2
        assert sum("was open when this process was forked" in each for each in said) == 1
        assert "another file" in said
        (child,) = [int(each.split()[1]) for each in said if each.startswith("forked")]
        async with await opened(file) as journal:
            with pytest.raises(ConfigurationError, match=f"process {process.pid}"):
                await journal.begin("create", ["web-1"])
            process.kill()
            process.wait()
            left = (await journal.begin("create", ["web-1", "web-2"])).standing
            assert list(left) == (["web-1", "web-2"] if ends == "child first" else ["web-1"])
    if ends == "parent first":
        os.kill(child, signal.SIGKILL)


ENDS = """
async def main():
    journal = await opened(sys.argv[1])
    run = await journal.begin("create", ["web-1"])
    run.acknowledged("web-1", receipt(7))
    if sys.argv[2] == "cancelled":
        close = asyncio.create_task(journal.close())
        await asyncio.sleep(0)
        close.cancel()
    print("over", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("close", ["forgotten", "cancelled"])
async def test_a_program_that_ends_without_closing_loses_nothing(tmp_path: Path, close: str) -> None:
    """What is queued is written before the interpreter ends, and the program does not hang."""
    file = tmp_path / "fleet.db"
    with program(ENDS, file, close) as process:
        assert line(process) == "over"
        assert process.wait() == 0
    async with await opened(file) as journal:
        assert await journal.receipts([7]) == {7: receipt(7)}
        assert list((await journal.begin("create", ["web-1"])).standing) == ["web-1"]
