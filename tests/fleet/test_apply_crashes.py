"""`apply` that is killed at any moment and run again with its journal. Counts are those of the ledger."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from vpsorg_async.sandbox import Sandbox

PROGRAM = Path(__file__).with_name("apply_program.py")
ROOT = PROGRAM.parents[2]
END = sorted([*(f"web-{n:02}" for n in range(1, 11)), *(f"db-{n:02}" for n in (1, 2, 3, 4, 5, 10))])


def started(box: Sandbox, journal: Path) -> subprocess.Popen[str]:
    """The program, running."""
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), box.url, box.token, str(journal)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def killed_after(box: Sandbox, journal: Path, changes: int) -> bool:
    """Run the program until the account has had that number of changes, then kill it; False if it ended by itself."""
    before = len(box.ledger)
    with started(box, journal) as process:
        while process.poll() is None:
            if len(box.ledger) - before >= changes:
                process.kill()
                return True
    return False


@pytest.mark.parametrize("seed", range(2))
def test_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    """After kills at random numbers of changes the next run gets to the same end: no duplicate, no server too many."""
    dice = random.Random(seed)
    with Sandbox(speed=5000, latency=0.01) as box:
        box.world.add(name="web-03")
        for number in range(1, 11):
            box.world.add(name=f"db-{number:02}")
        kills = sum(killed_after(box, tmp_path / "fleet.db", dice.randint(1, 5)) for _ in range(3))
        with started(box, tmp_path / "fleet.db") as process:
            output, errors = process.communicate()

        assert kills
        assert (process.returncode, errors) == (0, "")
        assert output.split()[1:] == ["0", "0"]
        assert sorted(server.name for server in box.servers) == END
        assert Counter(change.operation for change in box.ledger) == {"create": 9, "delete": 4}
