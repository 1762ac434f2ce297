"""The number of requests in a second: a token bucket, and the limiter whose slots also need a token.

The token is taken together with the slot, when the request leaves. If it were taken before, requests that queue for a
slot would hold tokens, and all of them could leave in one burst. The queue, its priorities and its fairness are those
of `ConcurrencyLimiter`. `TokenBucket` is pure.
"""

from __future__ import annotations

import asyncio
from contextvars import Context

from ..config import RateLimit
from ..timing import Clock
from .concurrency import ConcurrencyLimiter

__all__ = ["RateLimiter", "TokenBucket"]

SHORTEST_SLEEP = 1e-6
"""Seconds. A shorter sleep may not move a clock at all, because a float has no room for it."""


class TokenBucket:
    """At most ``burst`` tokens; one more every ``1 / requests_per_second`` seconds. Full at the beginning.

    In any span of t seconds at most ``burst + requests_per_second * t`` tokens are taken.
    """

    __slots__ = ("_full_at", "_interval", "_slack")

    def __init__(self, rate: RateLimit) -> None:
        self._interval = 1.0 / rate.requests_per_second
        self._slack = self._interval * (rate.burst - 1)
        self._full_at = float("-inf")

    def wait(self, now: float) -> float:
        """Return the seconds until there is a token; 0: there is one now."""
        return max(self._full_at - self._slack - now, 0.0)

    def take(self, now: float) -> bool:
        """Take a token if there is one; return whether it was taken."""
        if self.wait(now) > 0:
            return False
        self._full_at = max(self._full_at, now) + self._interval
        return True

    def put_back(self) -> None:
        """Return a token that was not used."""
        self._full_at -= self._interval


class RateLimiter(ConcurrencyLimiter):
    """A limiter that hands out a slot only with a token. While requests queue for tokens, one task waits for them."""

    __slots__ = ("_bucket", "_clock", "_refill")

    def __init__(self, maximum: int, rate: RateLimit, clock: Clock) -> None:
        super().__init__(maximum)
        self._bucket = TokenBucket(rate)
        self._clock = clock
        self._refill: asyncio.Task[None] | None = None

    def take(self) -> bool:
        """Take a slot and a token if both are there and no request is queued; return whether they were taken."""
        now = self._clock.now()
        return self._bucket.wait(now) <= 0 and super().take() and self._bucket.take(now)

    def shortest_wait(self) -> float:
        """Return the seconds until the next token."""
        return self._bucket.wait(self._clock.now())

    def give_back(self) -> None:
        """Return a slot that was not used, and its token."""
        self._bucket.put_back()
        super().give_back()

    def close(self) -> None:
        """Fail every queued request, and every later one."""
        super().close()
        if self._refill is not None:
            self._refill.cancel()

    def _admit(self) -> None:
        while self._queued and self._in_flight < self.limit.current:
            if not self._bucket.take(self._clock.now()):
                if self._refill is None:
                    # in a context of its own: it is not a part of the call that happens to begin it
                    work = self._admit_later()
                    self._refill = asyncio.get_running_loop().create_task(work, context=Context())
                return
            if not self._admit_next():
                self._bucket.put_back()

    async def _admit_later(self) -> None:
        try:
            await self._clock.sleep(max(self._bucket.wait(self._clock.now()), SHORTEST_SLEEP))
        finally:
            self._refill = None
        self._admit()
