"""Kills a program at any line of the journal's modules, and looks at what the next run finds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.journal.programs import NAMES
from tests.journal.records import beside, opened, receipt
from vpsorg_async.journal import Acknowledged, Intent

BEFORE = frozenset({"1", "2"})
PROGRAMS = Path(__file__).with_name("programs.py")


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python with the modules of the tests at hand. The process is killed at the end."""
    with subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROGRAMS.parents[2]), *sys.path])},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def programs() -> AbstractContextManager[subprocess.Popen[str]]:
    """The process that forks them."""
    return started(PROGRAMS)


def killed(process: subprocess.Popen[str], file: Path, lines: int) -> list[str]:
    """Return what a program did before it was killed after so many lines."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{file} {lines}\n")
    process.stdin.flush()
    return [line.strip() for line in iter(process.stdout.readline, "over\n") if line]


async def check(file: Path, said: list[str]) -> None:
    """The next run can begin at once, and knows of everything that was sent."""
    async with await opened(file) as journal:
        run = await journal.begin("ensure", NAMES, [5])
        left = run.standing

        def is_intent(name: str) -> bool:
            entry = left.get(name)
            return isinstance(entry, Intent) and entry.before == BEFORE

        acknowledged = left.get("web-1") == Acknowledged(receipt=receipt(7))
        if "sent web-1" in said:
            assert is_intent("web-1") or acknowledged
            assert run.before == BEFORE
        if "sent web-2" in said:
            assert acknowledged
            assert is_intent("web-2")
        if "ended" in said:
            assert "web-3" not in left
        # what is in doubt without having been sent is what was about to be
        assert len(left) <= 1 + sum(what.startswith("sent") for what in said)
        assert await journal.receipts([7]) == ({7: receipt(7)} if acknowledged else {})
        await run.end(complete=True)
        # the next program in this file creates the server for the first time, too
        await journal.forget([7])
    # a copy of an empty journal may remain of one that was killed while it created the file
    assert {name for name in beside(file) if ".new" not in name} == set()
