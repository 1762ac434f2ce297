"""The shared poll: decides when to poll for all waits of a client, and awaits it.

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
from collections.abc import Callable, Sequence

from ..errors import ClientClosedError, VpsOrgError
from ..hooks import Hook, emit
from ..ownership import LoopOwner
from ..records import Server, ServerId
from ..shielding import apart, is_cancellation, result_of
from ..timing import Clock, Random
from .account import Account
from .account_reader import AccountReader, Source
from .durations import Durations
from .events import PollStatistics
from .receipts import Receipt
from .wait import Wait
from .wait_index import Deliver, OnEnd
from .wait_registry import WaitRegistry
from .wakeup import Wakeup, yield_to_loop
from .watching import Watcher, Watchers

__all__ = ["Poller"]

log: logging.Logger = logging.getLogger("vpsorg_async.lifecycle")

LAST_POLL = 5.0
"""Seconds that a poll may go on past the deadline of a wait, or past its own beginning where that is later."""
STEP = 1.0
"""Seconds of that which are counted at a time, so that time in which the process stood still is not."""
STOOD_STILL = 1.0
"""Seconds by which a sleep is longer than asked for where the process was suspended, or its loop blocked."""


class Poller:
    """Decides when to poll for all waits, and awaits it; an `AccountReader` reads."""

    def __init__(
        self,
        source: Source,
        account: Account,
        *,
        clock: Clock,
        rng: Random,
        durations: Durations,
        on_event: Hook | None = None,
        on_wait: Callable[[Wait], OnEnd] | None = None,
        owner: LoopOwner | None = None,
    ) -> None:
        """Prepare polling; nothing is sent before the first wait.

        Args:
            source: where polls go.
            account: what is known of the account; it has the `WaitPolicy`.
            clock: gives monotonic time.
            rng: spreads the polls of clients that begin together, and those after failures.
            durations: what is known of how long commands take.
            on_event: given each `ServerStuck`.
            on_wait: called with each wait that joins.
            owner: knows the event loop that this poller belongs to.
        """
        self._owner = owner
        self._policy = account.policy
        self._clock = clock
        self._rng = rng
        self._on_event = on_event
        self._registry = WaitRegistry(account, durations, on_wait)
        self._watchers = Watchers()
        self._reader = AccountReader(source, account, self._registry, self._watchers, clock)
        self._task: asyncio.Task[None] | None = None
        self._wakeup = Wakeup(clock)
        self._closed = False
        self._last_poll = self._rested = -math.inf
        self._stood_still = False
        self._next_poll = math.inf
        account.on_receipt = self._acknowledged

    @property
    def statistics(self) -> PollStatistics:
        """Polls made so far, and waits that are open now."""
        return self._reader.statistics()

    async def read(self, server_id: ServerId) -> tuple[float, Server]:
        """Return one server and when its request left, outside the rounds; a 404 is asked for twice."""
        return await self._reader.read(server_id)

    async def glance(self, ids: Sequence[ServerId]) -> None:
        """Read these servers once, the cheaper way: what later waits compare with."""
        await self._reader.glance(ids)

    async def list_for(self, readers: int) -> None:
        """Read one list outside the rounds if that is cheaper than so many reads by id; its errors are ignored."""
        await self._reader.list_for(readers)

    def keep_list(self, change: int) -> None:
        """Keep the last list for one more reader (1), or for one less (-1)."""
        self._reader.keep_list(change)

    @property
    def held_until(self) -> float:
        """When the API may be asked again after a ``Retry-After``; monotonic seconds."""
        return self._reader.held_until

    def believes(self, seconds: float) -> bool:
        """Return whether a 404 in no form of the API is believed that was answered for so long, with a whole list."""
        return self._reader.believes(seconds)

    def join(self, wait: Wait, deliver: Deliver) -> None:
        """Poll for this wait, and call ``deliver`` with its verdict, once.

        Raises:
            ClientClosedError: the client is closed.
            ConfigurationError: on another event loop.
        """
        self._check()
        self._poll_by(self._registry.join(wait, deliver, self._clock.now()))

    def leave(self, wait: Wait) -> None:
        """Stop polling for this wait; does nothing if it has ended."""
        if self._registry.leave(wait):
            self._wakeup.set()

    def slowest(self, wait: Wait) -> float | None:
        """Return the longest that a wait of the kind of this one ever took, in seconds; None if that is not known."""
        return self._registry.slowest(wait)

    def subscribe(self, watcher: Watcher, interval: float) -> None:
        """Show a watcher each list, at least one each ``interval`` seconds, and each failure."""
        self._check()
        self._watchers.add(watcher, interval)
        self._poll_by(self._clock.now())

    def unsubscribe(self, watcher: Watcher) -> None:
        """Stop notifying this watcher."""
        self._watchers.remove(watcher)
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
            self._next_poll = max(when, self._rested, self._reader.held_until)
        self._wakeup.set()
        if self._task is None:
            # the task polls for all waits: it must not run in the context (a trace, a log's) of the first one
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
            try:
                self._fail_all(ClientClosedError("the client was closed during the wait"))
            finally:
                self._reader.forget()

    async def _run(self) -> None:
        self._reader.keeps = True
        try:
            # clients that start together should not poll together
            first = self._clock.now() + self._rng.uniform(0.0, self._policy.min_interval / 10)
            while self._registry or self._watchers:
                due = max(first, min(self._next_poll, max(self._registry.first_deadline(), self._rested)))
                if due > self._clock.now():
                    await self._wakeup.sleep_until(due)
                else:
                    await self._round()
        except BaseException as bug:
            if is_cancellation(bug):
                raise
            # a bug, or what a hook raised to end everything: no wait may hang
            with contextlib.suppress(BaseException):  # a tracer that raises again adds nothing
                self._fail_all(bug)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task is over. If something else cancelled it, or a wait has joined since, start another one."""
        if self._task is task:
            self._task = None
            if self._registry or self._watchers:
                self._poll_by(math.inf)
            else:
                self._reader.forget()

    async def _round(self) -> None:
        """One poll for every wait, and what follows from it."""
        started = self._last_poll = self._clock.now()
        self._next_poll = math.inf
        # a list that is due within min_interval is read now, instead of a poll for the waits and one for watchers
        listing = started + self._policy.min_interval >= self._watchers.due()
        poll = apart(self._reader.poll(due=listing))
        stood_still, before = False, self._stood_still
        try:
            left = now = started
            while not poll.done() and (self._registry or self._watchers):
                deadline = self._registry.first_deadline()
                until = min(max(deadline, left) + LAST_POLL, max(deadline, now + STEP))
                await self._wakeup.sleep_until(until, poll)
                now = self._clock.now()
                if now > until + STOOD_STILL:
                    # the process was suspended or blocked: that time was not the service's
                    left, stood_still = now, True
                elif not poll.done():
                    await self._expire(left)
            if poll.done():
                result_of(poll)
        except VpsOrgError as error:
            await self._reader.all_failed(error)
        finally:
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)
        self._stood_still = stood_still
        if stood_still and not before:
            # it shows the account before the process was suspended: for no wait it is the last poll
            self._last_poll = -math.inf
        await self._expire()
        now = self._clock.now()
        if self._registry.overdue(now):
            await self._report_stuck(now)
        pause = self._registry.pause(now)
        if self._watchers:
            pause = min(pause, max(self._watchers.due() - started, 0.0))
        pause = self._reader.backed_off(pause, self._rng)
        self._rested = now + self._policy.min_interval
        due = max(min(self._next_poll, started + pause), self._rested, self._reader.held_until)
        # min_interval must not delay the final poll at the deadline
        deadline = self._registry.first_deadline()
        self._next_poll = deadline if due < deadline < due + self._policy.min_interval else due

    async def _expire(self, left: float | None = None) -> None:
        """Time out the waits whose deadline has passed and that had their last poll.

        ``left`` is when the poll that is in progress left, which may go on past a deadline for `LAST_POLL`; None after
        a poll.
        """
        now = self._clock.now()
        if now < self._registry.first_deadline() + (0.0 if left is None else LAST_POLL):
            return
        for number, entry in enumerate(self._registry):
            await yield_to_loop(number)
            deadline = entry.wait.deadline
            if left is not None:
                if now >= max(deadline, left) + LAST_POLL:
                    self._registry.expire(entry, now, None)
            elif now >= deadline and self._last_poll >= deadline - self._policy.min_interval:
                self._registry.expire(entry, now, self._last_poll)

    async def _report_stuck(self, now: float) -> None:
        for number, entry in enumerate(self._registry):
            await yield_to_loop(number)
            event = self._registry.stuck(entry, now)
            if event is not None:
                log.info("server %s takes longer than its kind: %.0f s", event.server_id, event.seconds)
                emit(self._on_event, event, log)

    def _fail_all(self, error: BaseException) -> None:
        ended = ClientClosedError("polling ended")
        ended.__cause__ = error
        error = self._watchers.end_all(error, ended)
        self._registry.end_all(error, ended)

    def _acknowledged(self, receipt: Receipt, at: float) -> None:
        if self._registry.acknowledged(receipt, at):
            self._poll_by(at + self._policy.min_interval)
