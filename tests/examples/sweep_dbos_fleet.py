"""Kills the DBOS example at random moments, with five seeds, with reads that are current and reads that lag behind.

Run it by name: ``python3 noxfile.py -s dbos -- tests/examples/sweep_dbos_fleet.py``. The figures are in
``docs/howto/surviving-crashes.md``.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.dbos_program import Account
from vpsorg_async.sandbox import Sandbox

COUNT = 60


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("lag", "settle", "kills"),
    [(0, 3, 0), (0, 3, 3), (20, 25, 3)],
    ids=["no kill", "current reads", "reads that lag"],
)
def test_kills(
    tmp_path: Path, seed: int, lag: float, settle: float, kills: int, figure: Callable[[str], None]
) -> None:
    """60 servers, as many as named, none twice; the sandbox answers after 0.3 s."""
    chance = random.Random(seed)
    begun = time.monotonic()
    with Sandbox(speed=60, latency=0.3, seed=seed) as box:
        if lag:
            box.world.lag(lag, lasting=36_000)
        account = Account(box, tmp_path)
        moments = sorted(chance.sample(range(1, COUNT - 10), kills))
        for at in moments:
            account.killed(COUNT, settle, at=at)
        code, printed, complaints = account.ran(COUNT, settle)
        names = Counter(change.name for change in box.ledger if change.operation == "create")
        requests = len(box.requests)

    figure(
        f"seed {seed}, reads {lag} s behind, settle {settle} s, killed at {moments}: {time.monotonic() - begun:.1f} s, "
        f"{names.total()} created, {names.total() - len(names)} duplicates, {requests} requests"
    )
    assert (code, printed) == (0, f"{COUNT} of {COUNT} servers are active\n"), complaints
    assert (len(names), names.total()) == (COUNT, COUNT)
