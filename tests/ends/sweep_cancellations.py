"""A cancellation at every step of the event loop, once and twice, through every kind of call.

Its name keeps it out of the test command: ``python3 noxfile.py -s cancel`` runs it, or
``python -m pytest tests/ends/sweep_cancellations.py``. ``-k`` selects a part of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from tests.ends.moments import CALLS, LIMIT, WAYS, Way, moments_of

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_cancelled_at_every_step(
    way: Way, call: str, figure: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Ledger and report agree, nothing is left open, and an `ensure` completes the fleet without duplicates."""
    caplog.set_level(logging.CRITICAL, "vpsorg_async")
    began, played, step = time.monotonic(), 0, 0
    ends: list[bool] = [True]
    # where three steps in a row came after its end, the call has ended
    while step < LIMIT and any(ends[-9:]):
        step += 1
        for moment in moments_of(step):
            try:
                ends.append(way(call, moment))
            except BaseException as failure:
                failure.add_note(f"at {moment}")
                raise
            played += 1

    assert played > 20
    (name,) = [name for name, each in WAYS.items() if each is way]
    figure(f"{call}, {name}: {played} moments in {step} steps, {time.monotonic() - began:.0f} s")
