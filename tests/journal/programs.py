"""A process that forks programs which kill themselves, with everything imported: a fork takes milliseconds.

It reads a line ``FILE LINES`` for each, and prints what the program did before it died. The program works with the
journal in FILE, and gets SIGKILL when its threads have executed so many lines of the journal's modules.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from tests.journal.records import ACCOUNT, receipt
from vpsorg_async import journal as package
from vpsorg_async.journal import Journal

HOME = os.path.dirname(package.__file__)
NAMES = ["web-1", "web-2", "web-3"]


async def work(file: str, output: int) -> None:
    """Create three servers: one is acknowledged, one has no answer, and one is refused."""

    def say(what: str) -> None:
        os.write(output, f"{what}\n".encode())

    journal = await Journal.open(file, account=ACCOUNT)
    run = await journal.begin("ensure", NAMES, [5])
    say("begun")
    await run.note_before([1, 2])
    await run.intend("web-1", "create")
    say("sent web-1")
    run.acknowledged("web-1", receipt(7))
    await run.intend("web-2", "create")
    say("sent web-2")
    await run.intend("web-3", "create")
    run.withdrawn("web-3", "create")
    await run.end(complete=False)
    say("ended")
    await journal.close()
    say("closed")


def die_after(lines: int) -> None:
    left = lines

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(HOME):
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def main() -> None:
    """Fork a program for each line of the standard input."""
    for task in sys.stdin:
        file, lines = task.rsplit(maxsplit=1)
        child = os.fork()
        if not child:
            die_after(int(lines))
            asyncio.run(work(file, sys.stdout.fileno()))
            os._exit(0)
        os.waitpid(child, 0)
        os.write(sys.stdout.fileno(), b"over\n")


if __name__ == "__main__":
    main()
