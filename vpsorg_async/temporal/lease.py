"""The lease of a running activity: until when the engine surely does not count it as lost.

A worker that is cut off from the engine, but not from the API, must stop to send before another worker begins with the
same work. Its own heartbeats do not say whether they arrived. So a lease beats by calls that the engine answers, and is
good for the heartbeat timeout from the moment at which the last answered one was *sent*: the engine received it later,
and counts its timeout from then. After that moment no change leaves (``not_after``), and the work is cancelled.

What a beat brings along (its details) is durable once it was answered. The next attempt gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from ..timing import SystemClock

__all__ = ["Lease", "attempt_ended"]

T = TypeVar("T")

SHARE = 0.9
"""Of the heartbeat timeout: the clocks of two machines do not run at exactly the same speed."""
AGAIN = 0.5
"""Seconds until a beat that was not answered is repeated."""
LAST_BEAT = 2.0
"""Seconds for the last beat of work that was cancelled."""
_CLOCK = SystemClock()


class Lease:
    """Beats while its block runs. ``details`` returns what each beat brings along."""

    def __init__(self, details: Callable[[], object]) -> None:
        info = activity.info()
        self._details = details
        self._timeout = info.heartbeat_timeout
        self._pause = 10.0 if self._timeout is None else self._timeout.total_seconds() / 4
        self._handle = activity.client().get_async_activity_handle(task_token=info.task_token)
        self._last = info.started_time + (info.start_to_close_timeout or timedelta(days=3650))
        self._until = self._last
        self._ends_at = math.inf
        self._news = asyncio.Event()
        self._ending = False
        self._beats: asyncio.Task[Exception] | None = None

    def until(self) -> datetime:
        """Return the time of day after which nothing may leave, by both clocks.

        A time of day that is set back must not prolong a lease. The other clock stands still while a machine sleeps.
        """
        left = self._ends_at - _CLOCK.now()
        return self._until if math.isinf(left) else min(self._until, _CLOCK.wall() + timedelta(seconds=left))

    @property
    def ending(self) -> bool:
        """Whether the work is being cancelled, so that its outcomes are no longer those of the servers."""
        return self._ending

    def note(self) -> None:
        """Let the next beat, with new details, come soon."""
        self._news.set()

    async def __aenter__(self) -> Self:
        # nothing is sent before the engine has said that this attempt is the current one
        ended = await self._beat_until_answered()
        if ended is not None:
            raise ended
        self._beats = asyncio.create_task(self._beat_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._beats is not None:
            self._beats.cancel()
            await asyncio.wait([self._beats])

    async def beat(self) -> None:
        """Make the present details durable. Raises what ended the lease if that is impossible."""
        ended = await self._beat_until_answered()
        if ended is not None:
            raise ended

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of the work, which is cancelled when the lease or the activity ends.

        Raises:
            asyncio.CancelledError: The workflow asked for the end.
            ApplicationError: Another worker has to go on; the engine tries again.
        """
        assert self._beats is not None
        task, cancelled = asyncio.ensure_future(work), None
        try:
            await asyncio.wait({task, self._beats}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError as error:
            cancelled = error
        if not task.done():
            self._ending = True
            task.cancel()
            while not task.done():
                # work that is cancelled waits a moment for answers; a second cancellation does not shorten that
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({task})
        if self._ending and not self._beats.done():
            # what the last answers brought is for the next attempt
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_BEAT):
                    await self._beat_until_answered()
        if not self._ending or (not task.cancelled() and task.exception() is None):
            return task.result()
        details = activity.cancellation_details()
        if cancelled is not None and details is not None and details.cancel_requested:
            raise cancelled
        raise self._beats.result() if self._beats.done() else attempt_ended("it was cancelled")

    async def _beat_on(self) -> Exception:
        """Beat until the lease ends, and return what ended it."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._news.wait()
            ended = await self._beat_until_answered()
            if ended is not None:
                return ended
            # details that change with each server need not be sent for each one
            await asyncio.sleep(min(1.0, self._pause))

    async def _beat_until_answered(self) -> Exception | None:
        """Beat once, and again where there is no answer. Return what ended the lease, or None."""
        while True:
            asked, began = _CLOCK.wall(), _CLOCK.now()
            self._news.clear()
            details = self._details()
            # the worker's own heartbeat brings cancellations, and keeps it from counting the activity as silent; it can
            # arrive late, so that there is none yet that could replace the first intent by what was before it
            if self._beats is not None:
                activity.heartbeat(details)
            try:
                # a cancellation is an answer, too: the worker's own heartbeat delivers it
                with contextlib.suppress(AsyncActivityCancelledError):
                    await self._handle.heartbeat(
                        details, rpc_timeout=timedelta(seconds=max(self._pause, 1.0))
                    )
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return attempt_ended("the engine has given it to another worker")
                if asked >= self.until():
                    return attempt_ended("the engine does not answer")
            else:
                if self._timeout is not None:
                    self._until = min(asked + self._timeout * SHARE, self._last)
                    self._ends_at = began + self._timeout.total_seconds() * SHARE
                return None
            await asyncio.sleep(min(AGAIN, self._pause))


def attempt_ended(why: str) -> ApplicationError:
    """Return the failure of an attempt that the engine must make again."""
    return ApplicationError(f"this attempt of the activity ended early: {why}", type="AttemptEnded")
