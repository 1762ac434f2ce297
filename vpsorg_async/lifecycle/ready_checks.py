"""The one way to wait until a server is ready: its check is repeated until it passes.

Each server has a schedule of its own, which no other one holds up. At most a number of checks are made at once over the
whole client; each has a time limit, so that one that hangs gives its place back, and less of it while others wait.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import attrs

from ..counting import counted
from ..errors import ClientClosedError, NeverReadyError
from ..records import Seen, Server
from ..timing import Clock
from .account import Account
from .commands import MOVING, SETTLED
from .durations import Durations, Kind
from .fresh_reads import FreshReads
from .poller import Poller
from .readiness import LAST_CHECK, Hopeless, ReadyCheck, ReadyPolicy, ask, least_of
from .ready_schedule import ReadySchedule, kind_of

__all__ = ["NOT_READY", "READY", "ReadyChecks", "ReadyWait"]

LONGEST_AGE = 1.0
"""Seconds that a server may wait for a place before it is read again, and the age of a list that is enough then."""

READY, NOT_READY = "ready", "not ready"
"""The words of the timeline for checks."""


OnReadyEnd = Callable[[BaseException | None], None]
"""Called when the checks of a server have ended, with the error that ended them or None."""


@attrs.define(eq=False)
class ReadyWait:
    """One server that is waited for until its check passes.

    ``timeline`` is that of the wait for its status, which began at ``started``; the checks add to it.
    """

    check: ReadyCheck
    policy: ReadyPolicy
    server: Server
    started: float
    timeline: list[Seen] = attrs.field(factory=list[Seen])
    operation: str = ""
    """The command that was waited for; empty for none."""
    on_no: Callable[[Server, str], None] | None = None
    """Called with each reason that differs from the one before."""
    tries: int = 0
    reason: str = ""

    def note(self, now: float, reason: str) -> None:
        """Record what a check said: why it did not pass, or an empty text."""
        if reason and reason != self.reason and self.on_no is not None:
            self.on_no(self.server, reason)
        if reason != self.reason or not reason:
            self.timeline.append(Seen(now - self.started, NOT_READY if reason else READY, reason))
        self.reason = reason

    def never(self, reason: str) -> NeverReadyError:
        """Return the error for a server that has failed for good."""
        return NeverReadyError(
            f"server {self.server.id} is {self.server.status}, but will never be ready: {reason}",
            server_id=self.server.id,
            target=READY,
            last_seen=self.server,
            timeline=self.timeline,
            reason=reason,
        )


class ReadyChecks:
    """Makes the checks of one client."""

    def __init__(
        self,
        poller: Poller,
        account: Account,
        durations: Durations,
        clock: Clock,
        limit: int,
        on_wait: Callable[[ReadyWait], OnReadyEnd] | None = None,
    ) -> None:
        """``limit`` is the number of checks at once; ``on_wait`` is called with each server that is to be checked."""
        self._on_wait = on_wait
        self._poller = poller
        self._clock = clock
        self._limit = limit
        self._reads = FreshReads(poller, account, clock)
        self._schedule = ReadySchedule(durations)
        self._places = asyncio.Semaphore(limit)
        self._open: set[asyncio.Timeout] = set()
        self._waiting = 0
        self._closed = False

    async def wait(self, wait: ReadyWait) -> Server:
        """Repeat a check until it passes, and return the server as it was then.

        Before each further check the server is read again.

        Raises:
            WaitTimeoutError: The check did not pass within ``policy.timeout``.
            WaitError: The check did not pass in ``policy.tries`` tries.
            NeverReadyError: The check raised `Hopeless`.
            ServerGoneError: The server does not exist any more.
            ClientClosedError: The client was closed.
        """
        ended = None if self._on_wait is None else self._on_wait(wait)
        try:
            server = await self._wait(wait)
        except BaseException as error:
            if ended is not None:
                ended(error)
            raise
        if ended is not None:
            ended(None)
        return server

    async def _wait(self, wait: ReadyWait) -> Server:
        if self._closed:
            raise ClientClosedError("the client is closed")
        since = self._clock.now()
        kind = kind_of(wait.check, wait.operation, wait.server)
        seconds: float | None = None
        # it never expires by itself: closing the client ends it
        closing = asyncio.timeout(None)
        self._open.add(closing)
        self._schedule.begin(kind, since)
        self._poller.keep_list(1)
        try:
            async with closing:
                await self._repeat(wait, since, kind)
            # a server that passes at once was ready before: that says nothing of its kind
            seconds = self._clock.now() - since if wait.tries > 1 else None
            return wait.server
        except TimeoutError:
            if not closing.expired():
                raise
            raise ClientClosedError(
                f"the client was closed during the ready checks of server {wait.server.id}"
            ) from None
        finally:
            self._open.discard(closing)
            self._poller.keep_list(-1)
            self._schedule.end(kind, since, seconds)

    def close(self) -> None:
        """End every wait with `ClientClosedError`."""
        self._closed = True
        for closing in self._open:
            closing.reschedule(0.0)

    async def _repeat(self, wait: ReadyWait, since: float, kind: Kind) -> None:
        policy, word = wait.policy, wait.server.status
        ends, checked, pause = since + policy.timeout, since, policy.warm_up
        while True:
            if wait.tries or pause:
                await self._clock.sleep(pause)
                wait.server = await self._reads.read(wait.server, checked)
            reason = _elsewhere(wait.server, word) or await self._ask(wait, word, ends)
            checked = self._clock.now()
            wait.tries += 1
            wait.note(checked, reason)
            if not reason:
                return
            left = ends - checked
            if left <= 0 or wait.tries == policy.tries:
                raise policy.failure(wait.server, wait.tries, reason, wait.timeline)
            usual = policy.interval
            pause = min(self._schedule.pause(kind, checked - since) if usual is None else usual, left)

    async def _ask(self, wait: ReadyWait, word: str, ends: float) -> str:
        """Call the check once, when a place is free; returns why it did not pass."""
        asked = self._clock.now()
        if not await self._place(ends):
            return f"{counted(self._limit, 'other check')} took all the time"
        try:
            fresh = self._clock.now() - LONGEST_AGE
            if asked < fresh:
                wait.server = await self._reads.read(wait.server, fresh)
                if reason := _elsewhere(wait.server, word):
                    return reason
            left = ends - self._clock.now()
            seconds = wait.policy.time_for_check(wait.check, left)
            if self._waiting and left > 0:
                # a host that is booting may not answer at all, and others may be ready meanwhile
                seconds = min(seconds, least_of(wait.check))
            return await ask(wait.check, wait.server, seconds, LAST_CHECK)
        except Hopeless as never:
            wait.note(self._clock.now(), str(never))
            raise wait.never(str(never)) from never
        finally:
            self._places.release()

    async def _place(self, ends: float) -> bool:
        """Take a place, which has to be released; return False if none became free in time."""
        if not self._places.locked():
            return await self._places.acquire()  # at once: nearly all find one, and need no timer
        left = ends - self._clock.now()
        self._waiting += 1
        try:
            async with asyncio.timeout(None if math.isinf(left) else max(left, 0.0) + LAST_CHECK):
                return await self._places.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1


def _elsewhere(server: Server, word: str) -> str:
    """Return why a server is not checked that has left its status since; a word that is not known may mean anything."""
    left = server.status != word and (server.status in MOVING or server.status in SETTLED)
    return f"it is {server.status}" if left else ""
