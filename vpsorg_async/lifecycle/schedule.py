"""When to look next. Pure: ages go in, a pause comes out. All numbers are seconds.

A pause that grows with the age of a wait sees a fast server soon and spends few looks on a slow one. Provisioning is
documented to take 2 to 5 minutes (https://www.vps.org/api/v1/docs/servers/), so looks are dense in that span and
sparse before and after it; before it, a look every few seconds still finds the server that is early.
"""

from __future__ import annotations

from collections import Counter

from ..config import WaitPolicy

__all__ = ["Schedule", "pause"]

GROWTH = 0.2
"""The share of its age that a wait may lie behind, outside the expected span."""
EARLY = 5.0
DENSE = 2.4
PROVISIONING = (110.0, 310.0)
"""The documented 2 to 5 minutes, with some room on both sides."""
SHORT = 60.0
"""Starts, stops, reboots and deletes are expected to be done by then; their durations are documented nowhere."""


def pause(operation: str, age: float, policy: WaitPolicy) -> float:
    """Seconds between two looks at a wait of that age for that command (empty: none is known)."""
    if operation == "create":
        begin, end = PROVISIONING
        if age < begin:
            wanted = min(age * GROWTH, EARLY)
        elif age < end:
            wanted = DENSE
        else:
            wanted = DENSE + (age - end) * GROWTH
    elif age < SHORT:
        wanted = min(age * GROWTH, EARLY)
    else:
        wanted = EARLY + (age - SHORT) * GROWTH / 2
    return min(max(wanted, policy.min_interval), policy.max_interval)


class Schedule:
    """The waits of one poller, counted by command and age, so that thousands of them cost as much as a few."""

    def __init__(self, policy: WaitPolicy) -> None:
        self._policy = policy
        self._cohorts: Counter[tuple[str, int]] = Counter()

    def add(self, operation: str, since: float) -> tuple[str, int]:
        """A wait joins; the key is what `remove` wants back."""
        key = (operation, int(since))
        self._cohorts[key] += 1
        return key

    def remove(self, key: tuple[str, int]) -> None:
        """A wait leaves."""
        self._cohorts[key] -= 1
        if self._cohorts[key] <= 0:
            del self._cohorts[key]

    def pause(self, now: float) -> float:
        """Seconds until the next look that serves all of them."""
        policy = self._policy
        return min(
            (pause(operation, max(now - since, 0.0), policy) for operation, since in self._cohorts),
            default=policy.max_interval,
        )
