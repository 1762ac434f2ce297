"""The number of requests in flight: a limiter in front of the connection pool, and the limit that adapts.

The limiter stands before the pool, so that queueing never counts against a request's deadline. `AdaptiveLimit` is pure:
additive increase, multiplicative decrease. Requests queue by priority, then in order of arrival. A queue that was
passed over `PATIENCE` times in a row goes next, so that bulk work cannot starve the polls.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from ..errors import ClientClosedError
from .exchange import Priority

__all__ = ["AdaptiveLimit", "ConcurrencyLimiter"]


class AdaptiveLimit:
    """The number of concurrent requests: halved on a 429, raised by one for each full round of successes."""

    __slots__ = ("_lowered_at", "_size", "current", "maximum")

    COOLDOWN = 1.0
    """Seconds in which further 429s count as answers to the same burst."""

    def __init__(self, maximum: int) -> None:
        self.maximum: int = maximum
        self.current: int = maximum
        """The number of concurrent requests allowed now; at least 1."""
        self._size = float(maximum)
        self._lowered_at: float | None = None

    def succeeded(self) -> None:
        """Record a successful answer."""
        if self._size < self.maximum:
            self._size = min(float(self.maximum), self._size + 1.0 / self._size)
            self.current = int(self._size)

    def limited(self, now: float) -> bool:
        """Record a 429 at that time (monotonic seconds); return whether the limit was lowered."""
        if self._lowered_at is not None and now - self._lowered_at < self.COOLDOWN:
            return False
        self._lowered_at = now
        before = self.current
        self._size = max(1.0, self._size / 2)
        self.current = int(self._size)
        return self.current < before


PATIENCE = 8
"""The number of slots in a row that may go to higher priorities while a lower one waits."""


class ConcurrencyLimiter:
    """Hands out the slots of the limit. One for each client; bound to the event loop that uses it."""

    __slots__ = ("_closed", "_in_flight", "_passed", "_queued", "_queues", "limit")

    def __init__(self, maximum: int) -> None:
        self.limit: AdaptiveLimit = AdaptiveLimit(maximum)
        self._in_flight = 0
        self._queued = 0
        # a request that stops waiting is removed from the middle of its queue
        self._queues: tuple[OrderedDict[asyncio.Future[None], None], ...] = tuple(
            OrderedDict() for _ in Priority
        )
        self._passed = [0 for _ in Priority]
        self._closed = False

    @property
    def in_flight(self) -> int:
        """The number of slots in use."""
        return self._in_flight

    def take(self) -> bool:
        """Take a slot if one is free and no request is queued for it; return whether it was taken."""
        if self._queued or self._closed or self._in_flight >= self.limit.current:
            return False
        self._in_flight += 1
        return True

    async def acquire(self, priority: Priority) -> None:
        """Take a slot, queueing until there is one.

        Raises:
            ClientClosedError: The limiter is closed, or was closed meanwhile.
        """
        if self.take():
            return
        if self._closed:
            raise ClientClosedError("the client is closed")
        slot = asyncio.get_running_loop().create_future()
        queue = self._queues[priority]
        queue[slot] = None
        self._queued += 1
        try:
            self._admit()
            await slot
        except BaseException:
            # a slot that was handed over at the moment of the cancellation must go to the next request
            if slot.done() and not slot.cancelled() and slot.exception() is None:
                self.give_back()
            elif slot in queue:
                del queue[slot]
                self._queued -= 1
                # while it was queued, `take` refused free slots to later requests
                self._admit()
            raise

    def shortest_wait(self) -> float:
        """Return the seconds in which certainly no queued request gets a slot; 0 where that is not known."""
        return 0.0

    def release(self) -> None:
        """Return a slot."""
        self._in_flight -= 1
        if self._queued:
            self._admit()

    def give_back(self) -> None:
        """Return a slot that was not used."""
        self.release()

    def succeeded(self) -> None:
        """Record a successful answer, which can raise the limit."""
        if self.limit.current < self.limit.maximum:
            self.limit.succeeded()
        if self._queued:
            self._admit()

    def close(self) -> None:
        """Fail every queued request, and every later one."""
        self._closed = True
        for queue in self._queues:
            for slot in queue:
                if not slot.done():
                    slot.set_exception(
                        ClientClosedError("the client was closed while the request was queued")
                    )
            queue.clear()
        self._queued = 0

    def _admit(self) -> None:
        while self._queued and self._in_flight < self.limit.current:
            self._admit_next()

    def _admit_next(self) -> bool:
        """Hand a slot to the next request; return False if that waits no longer."""
        slot, _ = self._queues[self._turn()].popitem(last=False)
        self._queued -= 1
        if slot.done():
            return False
        self._in_flight += 1
        slot.set_result(None)
        return True

    def _turn(self) -> Priority:
        """Return the priority that goes next; some request must be queued."""
        waiting = [priority for priority in Priority if self._queues[priority]]
        turn = next((p for p in waiting if self._passed[p] >= PATIENCE), waiting[0])
        self._passed[turn] = 0
        for lower in waiting:
            self._passed[lower] += lower > turn
        return turn
