"""When to poll next. Pure: waits and their ages go in, a pause comes out. All numbers are seconds.

Theory of operation. Two lags matter: the mean lag of all waits, and the lag of the last one, because a call for many
servers returns with its slowest. Polls every ``tau`` seconds notice a server ``tau / 2`` late on average. Where servers
become ready at a rate of ``h`` per second and wait, a second costs ``h * tau / 2`` of lag and ``1 / tau`` polls; with
``C`` the lag that a poll is worth, the best pause is ``sqrt(2 * C / h)``: dense where much happens, sparse where little
can. Of ``n`` waits that joined together, ``k`` are open. Each open one counts ``1 / n``, its share of the mean, so that
a thousand waits cost as many polls as fifty. The open ones together count at least ``END / k``: the fewer are left, the
nearer is the end.

The rates are a model's, and can be wrong. Whatever they are, a wait lies behind by a small share of its age at most: a
caller who has waited for a minute waits a few seconds more, never half a minute. That costs ``1 / SHARE`` polls each
time that the age grows by a factor of e, however many waits there are.

===============  ======================================================================================
limit            why
===============  ======================================================================================
``FEWEST``       a span of a few seconds gets its few dozen polls too: they cost little
``FINEST``       but nobody minds less than this share of the age, so rates alone do not ask for more
``SHARE``        of the age of a wait: the most by which it may lie behind, and by no more than ``BLIND``
``START``        young waits: this many times ``min_interval``, because a share of their age is nothing
``STARTED``      once the first of its run is done, the last ones delay everybody: a smaller share
``FIRST``        once learned: the number of polls in the time in which nothing was ever done yet
``GROWTH``       but no further ahead in that time than this many times the age, nor than ``FAR``
``LOOK_AHEAD``   a pause does not reach far into a span in which polls are to be denser
the user's       ``min_interval`` and ``max_interval``
===============  ======================================================================================
"""

from __future__ import annotations

import math
from collections import Counter

from ..config import WaitPolicy
from .durations import Durations, Kind, Model

__all__ = ["SHARE", "START", "STARTED", "Schedule"]

C = 0.015
"""Seconds of lag per wait that one poll is worth."""
C_LEARNED = 0.012
END = 0.25
"""What the lag of the last wait is worth, beside the mean lag of all."""
FEWEST = 1.5
FINEST = 1 / 400
SHARE = 0.07
"""The share of its age by which a wait may lie behind."""
START = 1.5
STARTED = 1 / 30
BLIND = 12.0
FIRST = 4
GROWTH = 3.0
FAR = 60.0
LOOK_AHEAD = 4
REFINEMENTS = 2
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

    def slowest(self, kind: Kind) -> float | None:
        """Return the longest that a wait of that kind ever took, in seconds; None where too little is known."""
        return self._durations.slowest(kind)

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
        rate, waits, youngest = 0.0, 0, math.inf
        longest, shortest = self._policy.max_interval, self._policy.min_interval
        for (kind, since), count in self._cohorts.items():
            age = max(now - since, 0.0)
            if not kind[0]:
                # not this client's command: it can be at any stage
                longest = min(longest, max(age * UNKNOWN_GROWTH, shortest), UNKNOWN_LONGEST)
                continue
            model = self._durations.model(kind)
            waits, youngest = waits + count, min(youngest, age)
            rate += count * model.hazard(age) / (C_LEARNED if model.learned else C)
            longest = min(longest, self._bound(model, age))
        if rate > 0:
            # each by its share of the mean, or all that are open by the chance that the end is near
            rate *= max(1 / max(self._joined.total(), 1), END / waits**2)
            longest = min(longest, max(min(math.sqrt(2 / rate), FEWEST / rate), youngest * FINEST))
        return longest

    def _bound(self, model: Model, age: float) -> float:
        """Return the longest pause that a wait of that age permits, whatever the rates are."""
        shortest = self._policy.min_interval
        if model.learned and age < model.fastest:
            far = max(age * GROWTH, model.fastest / FIRST, shortest)
            return min(far, FAR, model.fastest * (1 + SHARE) - age)
        if model.started and age >= model.fastest:
            return max(age * STARTED, shortest)
        return min(max(age * SHARE, shortest * START), BLIND)
