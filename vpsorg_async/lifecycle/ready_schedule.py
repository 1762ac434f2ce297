"""When to check a server again, and what is learned of the time that servers take to get ready. Pure.

The pause is a small share of the time since the server has had its status: a server lies behind by that share at most.
Once enough is known of servers of its kind, little is checked before the fastest of them was ready. All numbers are
seconds.
"""

from __future__ import annotations

import math
from collections import Counter

from ..records import Server
from .durations import Durations, Kind
from .readiness import ReadyCheck, word_of

__all__ = ["ReadySchedule", "kind_of"]

SHARE = 0.05
"""The share of its age by which a server may lie behind."""
SHORTEST = 0.5
LONGEST = 5.0
EARLY_SHARE = 0.5
"""The same while nothing of its kind was ever ready yet: others may be faster than all that was seen."""
EARLY_LONGEST = 10.0
EARLY = 0.9
"""The share of the fastest duration that counts as early."""


def kind_of(check: ReadyCheck, operation: str, server: Server) -> Kind:
    """Return what durations are kept apart by: the sort of check, what preceded it, the plan and the location."""
    plan = "" if server.plan is None or server.plan.id is None else str(server.plan.id)
    return (f"{operation} ready {word_of(check)}".strip(), plan, str(server.location or ""))


class ReadySchedule:
    """The servers of one client that are being checked, counted by kind."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._open: dict[Kind, Counter[float]] = {}
        self._begun: Counter[Kind] = Counter()

    def begin(self, kind: Kind, since: float) -> None:
        """Count a server that is checked from now on."""
        self._open.setdefault(kind, Counter())[_rounded(since)] += 1
        self._begun[kind] += 1

    def end(self, kind: Kind, since: float, seconds: float | None) -> None:
        """Count it no longer; ``seconds`` is how long it took, None if it did not get ready, or was so before."""
        since = _rounded(since)
        if seconds is not None:
            self._durations.sighted(kind, since, seconds, self._begun[kind])
        open_since = self._open[kind]
        open_since[since] -= 1
        if open_since[since] > 0:
            return
        del open_since[since]
        self._durations.run_ended(kind, min(open_since, default=math.inf))
        if not open_since:
            del self._open[kind], self._begun[kind]

    def pause(self, kind: Kind, age: float) -> float:
        """Return the seconds until the next check of a server that has had its status for that long."""
        model = self._durations.model(kind)
        early = EARLY * model.fastest if model.learned else 0.0
        if age < early:
            return max(min(age * EARLY_SHARE, early - age, EARLY_LONGEST), SHORTEST)
        return min(max(age * SHARE, SHORTEST), LONGEST)


def _rounded(since: float) -> float:
    # servers that became active together are counted together
    return math.floor(since * 4) / 4
