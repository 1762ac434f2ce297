"""A replacement that is killed at any moment and run again with its journal. Counts are those of the ledger."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from vpsorg_async.sandbox import Sandbox

__all__ = ["course"]

PROGRAM = Path(__file__).with_name("replace_program.py")
ROOT = PROGRAM.parents[2]


def started(box: Sandbox, folder: Path, count: int, surge: int, names: str) -> subprocess.Popen[str]:
    """The program, running."""
    files = [folder / "fleet.db", folder / "switches"]
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), box.url, box.token, *map(str, (*files, count, surge, names))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def most(box: Sandbox, count: int) -> int:
    """The most servers that existed at any moment, by the ledger."""
    exist = peak = count
    for change in box.ledger:
        exist += {"create": 1, "delete": -1}.get(change.operation, 0)
        peak = max(peak, exist)
    return peak


def course(
    folder: Path,
    dice: random.Random,
    *,
    count: int,
    surge: int,
    kills: int,
    lag: float = 0.0,
    names: str = "free",
) -> list[int]:
    """Kill the program that many times, each after further changes, and run it to its end.

    Returns the numbers of changes at the kills. Asserts that each server was replaced once, that none was deleted
    before its work was taken over, and that the traffic is where the servers are.
    """
    changes = (3 if names == "stable" else 2) * count
    with Sandbox(speed=5000, latency=0.01) as box:
        before = [
            server.id for number in range(1, count + 1) for server in box.world.add(name=f"web-{number:03}")
        ]
        if lag:
            box.world.lag(lag, lasting=1e6)
        at = []
        for wanted in sorted(dice.sample(range(1, changes), kills)):
            with started(box, folder, count, surge, names) as process:
                while process.poll() is None and len(box.ledger) < wanted:
                    time.sleep(0.002)
                time.sleep(dice.uniform(0, 0.02))
                process.kill()
            at.append(len(box.ledger))
        with started(box, folder, count, surge, names) as process:
            output, errors = process.communicate()
        assert (process.returncode, errors) == (0, ""), errors
        assert output.split() == [str(count), "0", "0"]

        assert {server.os.id for server in box.servers} == {3}
        assert len(box.servers) == count
        assert max(Counter(server.name for server in box.servers).values()) == 1
        done = Counter(change.operation for change in box.ledger)
        assert (done["create"], done["delete"]) == (count, count), done
        assert most(box, count) <= count + surge
        serving = set(map(str, before))
        taken = set()
        for line in (folder / "switches").read_text("utf-8").splitlines():
            old, new = line.split()
            serving.discard(old)
            serving.add(new)
            taken.add(old)
        assert {str(change.server_id) for change in box.ledger if change.operation == "delete"} <= taken
        assert serving == {str(server.id) for server in box.servers}
        return at
