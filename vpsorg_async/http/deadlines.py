"""One timer for all attempts under way: all have the same limit, so the first to begin is the first to end.

A timer for each would cost more than anything else that is done around an attempt. An attempt is interrupted as
`asyncio.timeout` does it, by cancelling its task and taking that back, so that a cancellation by others gets through.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Attempt", "Deadlines"]


class Attempt:
    """One attempt under way. ``late``: its time ran out, or the transport was closed."""

    __slots__ = ("_cancelling", "_owed", "_task", "ends_at", "late")

    def __init__(self, task: asyncio.Task[Any], ends_at: float) -> None:
        self._task = task
        self._cancelling = task.cancelling()
        self._owed = False
        self.ends_at = ends_at
        self.late = False

    def interrupt(self) -> None:
        """Cancel what it is waiting for; once."""
        if not self.late:
            self.late = self._owed = True
            self._task.cancel()

    def taken_back(self) -> bool:
        """Take the interruption back, if there was one. False where others have cancelled the task as well."""
        if self._owed:
            self._owed = False
            self._task.uncancel()
        return self._task.cancelling() <= self._cancelling


class Deadlines:
    """The attempts under way, each with ``seconds`` to its end. Bound to the running loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[Attempt, None] = {}
        self._own: dict[Attempt, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, seconds: float | None = None) -> Attempt:
        """Begin an attempt of the running task; ``seconds`` is a limit of its own, which has a timer of its own."""
        task = asyncio.current_task()
        assert task is not None
        if seconds is not None:
            attempt = Attempt(task, self._loop.time() + seconds)
            self._own[attempt] = self._loop.call_at(attempt.ends_at, attempt.interrupt)
            return attempt
        attempt = Attempt(task, self._loop.time() + self._seconds)
        self._under_way[attempt] = None
        if self._timer is None:
            self._timer = self._loop.call_at(attempt.ends_at, self._tick)
        return attempt

    def leave(self, attempt: Attempt) -> None:
        """An attempt has ended, however."""
        self._under_way.pop(attempt, None)
        if self._own and (timer := self._own.pop(attempt, None)) is not None:
            timer.cancel()
        if attempt.late:
            attempt.taken_back()

    def close(self) -> None:
        """Interrupt all attempts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in (*self._under_way, *self._own):
            attempt.interrupt()

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = None
        for attempt in list(self._under_way):
            if attempt.ends_at > now:
                self._timer = self._loop.call_at(attempt.ends_at, self._tick)
                break
            # interrupted once: it is not asked again while it takes its leave
            del self._under_way[attempt]
            attempt.interrupt()
