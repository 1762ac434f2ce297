"""How many requests are in flight: a gate in front of the connection pool, and the window that moves it.

The gate stands before the pool, so that the time spent queued never counts against a request's deadline. `Window` is
pure: additive increase, multiplicative decrease. Waiting requests go by priority, then first come, first served; a
queue that was passed by ``PATIENCE`` times in a row has the next place, so that bulk work can't blind the waits.
"""

from __future__ import annotations

import asyncio
from collections import deque

from ..errors import ClientClosedError
from .exchange import Priority

__all__ = ["Gate", "Window"]


class Window:
    """The number of requests allowed at once: halved when the API says 429, raised by one per window of successes."""

    __slots__ = ("_lowered_at", "_size", "maximum")

    COOLDOWN = 1.0
    """Seconds in which further 429s are taken as answers to the same burst."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._size = float(maximum)
        self._lowered_at: float | None = None

    @property
    def limit(self) -> int:
        """Requests allowed at once; never below 1."""
        return int(self._size)

    def succeeded(self) -> None:
        """A request was answered well."""
        if self._size < self.maximum:
            self._size = min(float(self.maximum), self._size + 1.0 / self._size)

    def limited(self, now: float) -> bool:
        """A request was answered by 429. True if the window shrank."""
        if self._lowered_at is not None and now - self._lowered_at < self.COOLDOWN:
            return False
        self._lowered_at = now
        before = self.limit
        self._size = max(1.0, self._size / 2)
        return self.limit < before


PATIENCE = 8
"""Places that may go to higher priorities, one after another, while a lower one waits."""


class Gate:
    """Hands out the window's places. One per client; bound to the loop that it is used on."""

    __slots__ = ("_closed", "_in_flight", "_passed", "_queued", "_queues", "window")

    def __init__(self, maximum: int) -> None:
        self.window = Window(maximum)
        self._in_flight = 0
        self._queued = 0
        self._queues: tuple[deque[asyncio.Future[None]], ...] = tuple(deque() for _ in Priority)
        self._passed = [0 for _ in Priority]
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Places taken now."""
        return self._in_flight

    def take(self) -> bool:
        """Take a place if one is free and nobody stands in line for it."""
        if self._queued or self._closed or self._in_flight >= self.window.limit:
            return False
        self._in_flight += 1
        return True

    async def acquire(self, priority: Priority) -> None:
        """Take a place, queueing while there is none. Raises `ClientClosedError` when the gate closes meanwhile."""
        if self.take():
            return
        if self._closed:
            raise ClientClosedError("the client is closed")
        place = asyncio.get_running_loop().create_future()
        self._queues[priority].append(place)
        self._queued += 1
        try:
            await place
        except BaseException:
            # a place handed over at the moment of the cancellation must go on to the next in line
            if place.done() and not place.cancelled() and place.exception() is None:
                self.release()
            raise

    def release(self) -> None:
        """Give a place back."""
        self._in_flight -= 1
        if self._queued:
            self._admit()

    def close(self) -> None:
        """Turn away everybody who is queued, and all who come."""
        self._closed = True
        for queue in self._queues:
            for place in queue:
                if not place.done():
                    place.set_exception(
                        ClientClosedError("the client was closed while the request was queued")
                    )
            queue.clear()
        self._queued = 0

    def _admit(self) -> None:
        while self._queued and self._in_flight < self.window.limit:
            place = self._queues[self._turn()].popleft()
            self._queued -= 1
            if not place.done():
                self._in_flight += 1
                place.set_result(None)

    def _turn(self) -> Priority:
        """Whose turn it is, where somebody waits."""
        waiting = [priority for priority in Priority if self._queues[priority]]
        turn = next((p for p in waiting if self._passed[p] >= PATIENCE), waiting[0])
        self._passed[turn] = 0
        for lower in waiting:
            self._passed[lower] += lower > turn
        return turn
