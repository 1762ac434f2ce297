"""One timer for all attempts in flight. All have the same limit, so the first to begin is the first to end.

A timer for each would cost more than anything else that is done around an attempt. An attempt is interrupted in the
way of `asyncio.timeout`: its task is cancelled and uncancelled, so that a cancellation by other code is still raised.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Attempt", "Deadlines"]


class Attempt:
    """One attempt in flight. ``late``: its time ran out, or the transport was closed."""

    __slots__ = ("_cancelling", "_owed", "_task", "ends_at", "late")

    def __init__(self, task: asyncio.Task[Any], ends_at: float) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self.ends_at: float = ends_at
        self.late: bool = False
        self._owed = False

    def interrupt(self) -> None:
        """Cancel the task's present await, at most once."""
        if not self.late:
            self.late = self._owed = True
            self._task.cancel()

    def taken_back(self) -> bool:
        """Undo the interruption, if there was one. Return False if other code has cancelled the task too."""
        if self._owed:
            self._owed = False
            self._task.uncancel()
        return self._task.cancelling() <= self._cancelling


class Deadlines:
    """The attempts in flight, each with a limit of ``seconds``. Bound to the running loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._in_flight: dict[Attempt, None] = {}
        self._own: dict[Attempt, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, seconds: float | None = None) -> Attempt:
        """Begin an attempt of the running task. ``seconds``: its own limit, which gets its own timer."""
        task = asyncio.current_task()
        assert task is not None
        if seconds is not None:
            attempt = Attempt(task, self._loop.time() + seconds)
            self._own[attempt] = self._loop.call_at(attempt.ends_at, attempt.interrupt)
            return attempt
        attempt = Attempt(task, self._loop.time() + self._seconds)
        self._in_flight[attempt] = None
        if self._timer is None:
            self._timer = self._loop.call_at(attempt.ends_at, self._tick)
        return attempt

    def leave(self, attempt: Attempt) -> None:
        """End an attempt, however it ended."""
        if attempt in self._in_flight:
            del self._in_flight[attempt]
        elif (timer := self._own.pop(attempt, None)) is not None:
            timer.cancel()
        if attempt.late:
            attempt.taken_back()

    def close(self) -> None:
        """Interrupt all attempts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in (*self._in_flight, *self._own):
            attempt.interrupt()

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = None
        for attempt in list(self._in_flight):
            if attempt.ends_at > now:
                self._timer = self._loop.call_at(attempt.ends_at, self._tick)
                break
            # interrupted only once: the attempt may need several steps to end
            del self._in_flight[attempt]
            attempt.interrupt()
