"""A cancellation at some steps of the event loop, once and twice; `sweep_cancellations.py` goes through all of them."""

from __future__ import annotations

import random

import pytest

from tests.ends.moments import CALLS, WAYS, Way, moments_of

STEPS = 3


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_cancelled_at_some_steps(way: Way, call: str) -> None:
    """Ledger and report agree, nothing is left open, and an `ensure` completes the fleet without duplicates."""
    early = 0
    last = 20 if call == "servers.create" else 140
    for step in sorted(random.Random(call).sample(range(2, last), STEPS)):
        for moment in moments_of(step):
            early += way(call, moment)

    assert early
