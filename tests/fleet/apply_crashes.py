"""`apply` that is killed after a number of changes, and run again with its journal. Counts are those of the ledger."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from vpsorg_async.sandbox import Sandbox

__all__ = ["course"]

PROGRAM = Path(__file__).with_name("apply_program.py")
ROOT = PROGRAM.parents[2]
END = sorted([*(f"web-{n:02}" for n in range(1, 11)), *(f"db-{n:02}" for n in (1, 2, 3, 4, 5, 10))])
CHANGES = {"create": 9, "delete": 4}


def started(box: Sandbox, journal: Path) -> subprocess.Popen[str]:
    """The program, running."""
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), box.url, box.token, str(journal)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def killed(box: Sandbox, journal: Path, changes: int) -> None:
    """Run the program until the account has had that number of changes in all, then kill it."""
    with started(box, journal) as process:
        while process.poll() is None and len(box.ledger) < changes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.002)
        process.kill()


def course(folder: Path, dice: random.Random, kills: int) -> list[int]:
    """Kill the program that many times, each after more changes than before, and run it to its end.

    Returns the numbers of changes at the kills. Asserts that the account is as the fleets say, and that nothing was
    created or deleted twice.
    """
    with Sandbox(speed=5000, latency=0.02) as box:
        box.world.add(name="web-03")
        for number in range(1, 11):
            box.world.add(name=f"db-{number:02}")
        at = []
        for changes in sorted(dice.sample(range(1, sum(CHANGES.values())), kills)):
            killed(box, folder / "fleet.db", changes)
            at.append(len(box.ledger))
        with started(box, folder / "fleet.db") as process:
            output, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        assert output.split()[1:] == ["0", "0"]
        assert sorted(server.name for server in box.servers) == END
        assert Counter(change.operation for change in box.ledger) == CHANGES
        return at
