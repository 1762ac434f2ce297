"""The deadlines of all attempts of a client, on one timer.

With one limit for all, the attempt that began first is the next to end, so one timer serves them all. A timer for each,
made and cancelled with every request, costs a read more than all else that is done for its safety.
"""

from __future__ import annotations

import asyncio

__all__ = ["Deadlines"]


class Deadlines:
    """Ends attempts ``limit`` seconds after they were added. Bound to the loop that it is made on."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._ends: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, attempt: asyncio.Timeout) -> None:
        """An attempt begins: a timeout without a time, that has been entered."""
        end = self._ends[attempt] = self._loop.time() + self._limit
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._sweep)

    def discard(self, attempt: asyncio.Timeout) -> None:
        """An attempt is over; does nothing for one that was never added."""
        self._ends.pop(attempt, None)

    def end_all(self) -> None:
        """Every attempt under way ends now."""
        if self._timer is not None:
            self._timer.cancel()
        for attempt in self._ends:
            attempt.reschedule(0.0)
        self._ends.clear()

    def _sweep(self) -> None:
        now = self._loop.time()
        self._timer = None
        for attempt, end in list(self._ends.items()):
            if end > now:
                self._timer = self._loop.call_at(end, self._sweep)
                break
            del self._ends[attempt]
            attempt.reschedule(now)
