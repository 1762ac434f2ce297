"""When to poll next. Pure: waits and their ages go in, a pause comes out. All numbers are seconds.

Theory of operation. Polls every ``tau`` seconds notice a server ``tau / 2`` late on average. Where servers become
ready at a rate of ``h`` per second and wait, a second costs ``h * tau / 2`` of lag and ``1 / tau`` polls; with ``C``
the lag that a poll is worth, the best pause is ``sqrt(2 * C / h)``: dense where much happens, sparse where little can.
Rates are counted per wait, so that a thousand waits cost as many polls as fifty.

===============  ======================================================================================
limit            why
===============  ======================================================================================
``FEWEST``       a span of a few seconds gets its few dozen polls too: they cost little
``GROWTH``       a wait may lie behind by a share of its age, however sure the model is
``BLIND``        and by no more than this; both are tighter while nothing has been learned: the prior is a hint
``FIRST``        once learned: the number of polls in the time in which nothing was ever done yet
``STARTED``      once the first of many are done, the last ones hold up everybody: a small share of their age
``LOOK_AHEAD``   a pause does not reach far into a span in which polls are to be denser
the user's       ``min_interval`` and ``max_interval``
===============  ======================================================================================
"""

from __future__ import annotations

import math
from collections import Counter

from ..config import WaitPolicy
from .durations import Durations, Kind

__all__ = ["Schedule"]

C = 0.015
"""Seconds of lag per wait that one poll is worth."""
C_LEARNED = 0.012
FEWEST = 1.5
GROWTH = 0.35
BLIND = 12.0
BLIND_LEARNED = 60.0
GROWTH_LEARNED = 3.0
STARTED = 1 / 30
LOOK_AHEAD = 4
REFINEMENTS = 2
FIRST = 4
UNKNOWN_GROWTH = 0.1
UNKNOWN_LONGEST = 5.0
MANY = 256
"""The number of groups of waits of one age beyond which groups become larger."""


class Schedule:
    """The waits of one poller, counted by kind and age, so that thousands of them cost as much as a few."""

    def __init__(self, policy: WaitPolicy, durations: Durations) -> None:
        self._policy = policy
        self._durations = durations
        self._cohorts: Counter[tuple[Kind, float]] = Counter()
        self._joined: Counter[float] = Counter()
        self._newest: tuple[Kind, float] = (("", "", ""), 0.0)

    def add(self, kind: Kind, since: float) -> tuple[Kind, float]:
        """Add a wait; returns the key to `remove` it with."""
        # whole quarters of a second: exact enough for waits, few enough to go through
        parts = 4 if len(self._cohorts) < MANY else 1
        key = (kind, math.floor(since * parts) / parts)
        # one for all that join together, not one each
        key = self._newest = self._newest if key == self._newest else key
        self._cohorts[key] += 1
        if kind[0]:
            self._joined[key[1]] += 1
        return key

    def remove(self, key: tuple[Kind, float]) -> None:
        """Remove a wait."""
        self._cohorts[key] -= 1
        if self._cohorts[key] > 0:
            return
        del self._cohorts[key]
        kind = key[0]
        if kind[0]:
            left = [since for other, since in self._cohorts if other == kind]
            self._durations.run_ended(kind, min(left, default=math.inf))
        if not self._cohorts:
            self._joined.clear()

    def sighted(self, key: tuple[Kind, float], seconds: float) -> None:
        """Note that a wait reached its target after ``seconds``: later ones of its kind are polled accordingly."""
        kind, since = key
        if kind[0]:
            self._durations.sighted(kind, since, seconds, self._joined.total())

    def overdue(self, now: float) -> bool:
        """Return whether any wait is slower than practically all of its kind."""
        return any(now - since > self.stuck_after(kind) for kind, since in self._cohorts)

    def stuck_after(self, kind: Kind) -> float:
        """Return the age from which a wait of that kind is stuck, in seconds."""
        return self._durations.model(kind).stuck_after if kind[0] else math.inf

    def first(self, key: tuple[Kind, float], now: float) -> float:
        """Return the seconds until the first poll that can help a wait which joins now."""
        kind, since = key
        if not kind[0]:
            return 0.0  # no known command: poll immediately
        # after one nothing can have happened yet; once learned, nothing much before the fastest of its kind
        model = self._durations.model(kind)
        early = model.fastest / FIRST - max(now - since, 0.0) if model.learned else 0.0
        return max(early, self._policy.min_interval)

    def pause(self, now: float) -> float:
        """Return the seconds until the next poll for all waits."""
        self._forget(now)
        pause = self._best(now)
        # not past the beginning of a span in which polls are to be denser, which a long pause only finds in steps
        for _ in range(REFINEMENTS):
            ahead = [pause * step / LOOK_AHEAD for step in range(1, LOOK_AHEAD + 1)]
            pause = min([pause, *(later + self._best(now + later) for later in ahead)])
        return min(max(pause, self._policy.min_interval), self._policy.max_interval)

    def _forget(self, now: float) -> None:
        """Forget waits much older than the oldest open one: where waits keep coming, only the others count together."""
        oldest = min((since for _, since in self._cohorts), default=now)
        for since in [since for since in self._joined if since < oldest - (now - oldest)]:
            del self._joined[since]

    def _best(self, now: float) -> float:
        """Return the best pause if the rates stayed as they are at that time."""
        rate, longest, shortest = 0.0, self._policy.max_interval, self._policy.min_interval
        for (kind, since), waits in self._cohorts.items():
            age = max(now - since, 0.0)
            if not kind[0]:
                # not this client's command: it can be at any stage
                longest = min(longest, max(age * UNKNOWN_GROWTH, shortest), UNKNOWN_LONGEST)
                continue
            model = self._durations.model(kind)
            rate += waits * model.hazard(age) / (C_LEARNED if model.learned else C)
            if model.learned:
                far = max(age * GROWTH_LEARNED, model.fastest / FIRST, shortest)
                longest = min(longest, far, BLIND_LEARNED)
                if model.started and age >= model.fastest:
                    longest = min(longest, max(age * STARTED, shortest))
            else:
                longest = min(longest, max(age * GROWTH, 2 * shortest), BLIND)
        if rate > 0:
            rate /= max(self._joined.total(), 1)
            longest = min(longest, math.sqrt(2 / rate), FEWEST / rate)
        return longest
