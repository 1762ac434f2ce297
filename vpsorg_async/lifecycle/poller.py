"""The shared poll: one reader of statuses for every wait of a client.

One task runs while there are waits, and only then. Each round it polls once, all servers with one list or few
with a read each, whichever is cheaper, and shows what it saw to every wait. A poll that fails is shared like one that
works. Rounds never overlap. Cancelling a waiter only takes its wait out.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable

from ..config import WaitPolicy
from ..errors import ClientClosedError, VpsOrgError
from ..hooks import Hook, emit
from ..ownership import LoopOwner
from ..records import Server, ServerId
from ..shielding import apart, is_cancellation, result_of
from ..timing import Clock, Random
from .durations import Durations
from .entry import Deliver, OnEnd
from .observer import Observer, Watcher
from .receipts import Journal, Receipt
from .schedule import Schedule
from .snapshots import ListSnapshot, PollStatistics
from .wait import Wait
from .waits import Waits
from .wakeup import Wakeup, yield_to_loop

__all__ = ["Poller"]

log = logging.getLogger("vpsorg_async.lifecycle")

LAST_POLL = 5.0
"""Seconds that a poll may go on past the deadline of a wait, or past its own beginning where that is later."""
STEP = 1.0
"""Seconds of that which are counted at a time, so that time in which the process stood still is not."""
STOOD_STILL = 1.0
"""Seconds by which a sleep is longer than asked for where the process was suspended, or its loop blocked."""


class Poller:
    """Says when to poll for all waits; an `Observer` does it."""

    def __init__(
        self,
        poll_list: Callable[[], Awaitable[ListSnapshot]],
        poll_one: Callable[[ServerId], Awaitable[tuple[float, Server]]],
        *,
        policy: WaitPolicy,
        clock: Clock,
        rng: Random,
        journal: Journal,
        durations: Durations,
        page_size: int | None = None,
        on_event: Hook | None = None,
        on_wait: Callable[[Wait], OnEnd] | None = None,
        json_errors: Callable[[], bool] = lambda: True,
        owner: LoopOwner | None = None,
    ) -> None:
        """``json_errors`` says whether the API has answered an error in a form of its own so far."""
        self._owner = owner
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._schedule = Schedule(policy, durations)
        self._on_event = on_event
        self._waits = Waits(policy, journal, self._schedule, on_wait)
        self._entries = self._waits.entries
        self._observer = Observer(
            poll_list,
            poll_one,
            self._waits,
            policy=policy,
            clock=clock,
            journal=journal,
            page_size=page_size,
            json_errors=json_errors,
        )
        self._watchers = self._observer.watchers
        self.read, self.glance, self.believes = (
            self._observer.read,
            self._observer.glance,
            self._observer.believes,
        )
        self._task: asyncio.Task[None] | None = None
        self._wakeup = Wakeup(clock)
        self._closed = False
        self._last_poll = self._rested = -math.inf
        self._stood_still = False
        self._next_poll = math.inf
        journal.on_receipt = self._acknowledged

    @property
    def statistics(self) -> PollStatistics:
        """Polls made so far, and waits that are open now."""
        return PollStatistics(
            waits=len(self._entries),
            lists=self._observer.lists,
            singles=self._observer.singles,
            failed=self._observer.failed,
        )

    def join(self, wait: Wait, deliver: Deliver) -> None:
        """Watch for this wait. ``deliver`` is given its verdict; `leave` takes it out before that."""
        self._check()
        self._poll_by(self._waits.join(wait, deliver, self._clock.now()))

    def leave(self, wait: Wait) -> None:
        """Stop watching for this wait; does nothing if it has ended."""
        if self._waits.leave(wait):
            self._wakeup.set()

    def subscribe(self, watcher: Watcher, interval: float) -> None:
        """Tell of every list poll, at least one each ``interval`` seconds, and of every one that failed."""
        self._check()
        self._watchers[watcher] = interval
        self._observer.last_list = -math.inf
        self._poll_by(self._clock.now())

    def unsubscribe(self, watcher: Watcher) -> None:
        """Tell no more."""
        self._watchers.pop(watcher, None)
        self._wakeup.set()

    def check_owner(self) -> None:
        """Raise `ConfigurationError` on another event loop, in another thread or after a fork."""
        if self._owner is not None:
            self._owner.check()

    def _check(self) -> None:
        if self._closed:
            raise ClientClosedError("the client is closed")
        self.check_owner()

    def _poll_by(self, when: float) -> None:
        if when < self._next_poll:
            self._next_poll = max(when, self._rested, self._observer.held_until)
        self._wakeup.set()
        if self._task is None:
            # it polls for every wait: it must not go on in the context (a trace, a log's) of whoever came first
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="vpsorg-poller", context=contextvars.Context()
            )
            # no `finally` block: one that is cancelled before its first step would not run it
            self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and the task."""
        self._closed = True
        task, self._task = self._task, None
        try:
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        finally:
            self._observer.forget()
            self._fail_all(ClientClosedError("the client was closed during the wait"))

    async def _run(self) -> None:
        self._observer.keeps = True
        try:
            # clients that start together should not poll together
            first = self._clock.now() + self._rng.uniform(0.0, self._policy.min_interval / 10)
            while self._entries or self._watchers:
                due = max(first, min(self._next_poll, max(self._entries.first_deadline(), self._rested)))
                if due > self._clock.now():
                    await self._wakeup.sleep_until(due)
                else:
                    await self._round()
        except BaseException as bug:
            if is_cancellation(bug):
                raise
            # whatever went wrong here, or was raised by a hook to end everything: no wait may hang
            with contextlib.suppress(BaseException):  # a tracer that raises again adds nothing
                self._fail_all(bug)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task is over; where somebody else cancelled it, or a wait has come since, another one follows."""
        if self._task is task:
            self._task = None
            self._observer.forget()
            if self._entries or self._watchers:
                self._poll_by(math.inf)

    async def _round(self) -> None:
        """One poll for every wait, and what follows from it."""
        started = self._last_poll = self._clock.now()
        self._next_poll = math.inf
        # as good as due: a poll for the waits is not followed by another one for those who watch
        listing = started + self._policy.min_interval >= self._list_due()
        poll = apart(self._observer.poll(due=listing))
        stood_still, before = False, self._stood_still
        try:
            left = now = started
            while not poll.done() and (self._entries or self._watchers):
                deadline = self._entries.first_deadline()
                until = min(max(deadline, left) + LAST_POLL, max(deadline, now + STEP))
                await self._wakeup.sleep_until(until, poll)
                now = self._clock.now()
                if now > until + STOOD_STILL:
                    # the process was suspended or blocked: that time was not the service's
                    left, stood_still = now, True
                elif not poll.done():
                    await self._expire(LAST_POLL, left)
            if poll.done():
                result_of(poll)
        except VpsOrgError as error:
            await self._observer.all_failed(error)
        finally:
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)
        self._stood_still = stood_still
        if stood_still and not before:
            # what it showed or failed with is of the time before: it was nobody's last poll
            self._last_poll = -math.inf
        await self._expire(0.0)
        now = self._clock.now()
        if self._schedule.overdue(now):
            await self._report_stuck(now)
        pause = self._schedule.pause(now) if self._entries else math.inf
        if self._watchers:
            pause = min(pause, max(self._list_due() - started, 0.0))
        if self._observer.failures:
            pause = max(pause, self._observer.backoff.pause(self._observer.failures, self._rng))
        self._rested = now + self._policy.min_interval
        due = max(min(self._next_poll, started + pause), self._rested, self._observer.held_until)
        # a poll shortly before a deadline would put off the one that belongs at it
        deadline = self._entries.first_deadline()
        self._next_poll = deadline if due < deadline < due + self._policy.min_interval else due

    async def _expire(self, late: float, left: float = -math.inf) -> None:
        """Time out the waits whose deadline has passed and that had their last poll.

        ``late`` is 0 after a poll; while one goes on that ``left`` at that time, the seconds that it is given.
        """
        now = self._clock.now()
        if now < self._entries.first_deadline() + late:
            return
        for number, entry in enumerate(self._entries):
            await yield_to_loop(number)
            deadline = entry.wait.deadline
            if late:
                if now >= max(deadline, left) + late:
                    self._waits.expire(entry, now, None)
            elif now >= deadline and self._last_poll >= deadline - self._policy.min_interval:
                self._waits.expire(entry, now, self._last_poll)

    async def _report_stuck(self, now: float) -> None:
        for number, entry in enumerate(self._entries):
            await yield_to_loop(number)
            event = self._waits.stuck(entry, now)
            if event is not None:
                log.info("server %s takes longer than its kind: %.0f s", event.server_id, event.seconds)
                emit(self._on_event, event, log)

    def _list_due(self) -> float:
        """When those who watch want the next list."""
        return self._observer.last_list + min(self._watchers.values()) if self._watchers else math.inf

    def _fail_all(self, error: BaseException) -> None:
        ended = ClientClosedError("polling ended")
        ended.__cause__ = error
        for watcher in tuple(self._watchers):
            unknown = isinstance(error, Exception) and not isinstance(error, VpsOrgError)
            watcher(ended if unknown else error)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                # one has to raise it; others that do so as well would cut off the closing that follows
                error = ended
        self._watchers.clear()
        self._waits.end_all(error, ended)

    def _acknowledged(self, receipt: Receipt, at: float) -> None:
        if self._waits.acknowledged(receipt, at):
            self._poll_by(at + self._policy.min_interval)
