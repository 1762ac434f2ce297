"""The shared look: one reader of statuses for every wait of a client.

One task runs while there are waits, and only then. Each round it looks once, at all servers with one list or at few
with a read each, whichever is cheaper, and shows what it saw to every wait. A look that fails is shared like one that
works. Rounds never overlap. Cancelling a waiter only takes its wait out.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
from collections.abc import Awaitable, Callable, Sequence

from ..codec import StatusRow
from ..config import WaitPolicy
from ..errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConnectError,
    DecodeError,
    NotFoundError,
    RateLimitError,
    VpsOrgError,
    is_absence,
)
from ..hooks import Hook, tell
from ..models import Server, ServerId
from ..timing import Backoff, Clock, Random
from .alarm import Alarm, give_way
from .durations import Durations
from .entry import Deliver, Entry, OnEnd
from .looks import ListLook, PollStatistics, Roll, list_is_cheaper
from .receipts import Journal, Receipt
from .schedule import Schedule
from .wait import Wait
from .waits import Waits

__all__ = ["Poller"]

log = logging.getLogger("vpsorg_async.lifecycle")

LAST_LOOK = 5.0
"""Seconds that a look may go on past the deadline of a wait."""
LONGEST_HOLD = 60.0
"""Seconds for which a ``Retry-After`` is obeyed."""
SINGLES_AT_ONCE = 8
MOST_UNREADABLE = 1000
"""Rows of one list whose id or status can't be read. Beyond that it is no list of servers."""

Watcher = Callable[[ListLook | VpsOrgError], None]


class Trouble:
    """One way of looking that fails while the other may work: when it is worth another try."""

    def __init__(self) -> None:
        self._failures = 0
        self._until = -math.inf

    def failed(self, now: float, backoff: Backoff) -> None:
        """It failed again."""
        self._failures += 1
        self._until = now + backoff.ceiling(self._failures)

    def worked(self) -> None:
        """It works."""
        self._failures, self._until = 0, -math.inf

    def over(self, now: float) -> bool:
        """Whether it is worth a try."""
        return now >= self._until

    def lasts(self, now: float) -> bool:
        """Whether it failed a short time ago."""
        return now < self._until


class Poller:
    """Looks for all waits. ``look_list`` and ``look_one`` make one request each, without retries of their own."""

    def __init__(
        self,
        look_list: Callable[[], Awaitable[ListLook]],
        look_one: Callable[[ServerId], Awaitable[tuple[float, Server]]],
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
    ) -> None:
        """``json_errors`` says whether the API has answered an error in a form of its own so far."""
        self._look_list = look_list
        self._look_one = look_one
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._journal = journal
        self._schedule = Schedule(policy, durations)
        self._on_event = on_event
        self._backoff = Backoff(initial=max(1.0, policy.min_interval), maximum=policy.max_interval)
        self._waits = Waits(policy, journal, self._schedule, on_wait)
        self._entries = self._waits.entries
        self._watchers: dict[Watcher, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._alarm = Alarm(clock)
        self._closed = False
        self._account: int | None = None
        self._page_size = page_size
        self._last_look = self._last_list = self._rested = self._held_until = -math.inf
        self._next_look = math.inf
        self._failures = self._lists = self._singles = self._failed = 0
        self._list_trouble, self._read_trouble = Trouble(), Trouble()
        self._json_errors = json_errors
        self._lacking = ""
        self._roll = Roll()
        self._showing = asyncio.Lock()
        journal.on_receipt = self._acknowledged

    @property
    def statistics(self) -> PollStatistics:
        """Looks made so far, and waits that are open now."""
        return PollStatistics(
            waits=len(self._entries), lists=self._lists, singles=self._singles, failed=self._failed
        )

    def join(self, wait: Wait, deliver: Deliver) -> None:
        """Watch for this wait. ``deliver`` is given its verdict; `leave` takes it out before that."""
        if self._closed:
            raise ClientClosedError("the client is closed")
        self._look_by(self._waits.join(wait, deliver, self._clock.now()))

    def leave(self, wait: Wait) -> None:
        """Stop watching for this wait; does nothing if it has ended."""
        if self._waits.leave(wait):
            self._alarm.ring()

    def subscribe(self, watcher: Watcher, interval: float) -> None:
        """Tell of every list look, at least one each ``interval`` seconds, and of every one that failed."""
        if self._closed:
            raise ClientClosedError("the client is closed")
        self._watchers[watcher] = interval
        self._last_list = -math.inf
        self._look_by(self._clock.now())

    def unsubscribe(self, watcher: Watcher) -> None:
        """Tell no more."""
        self._watchers.pop(watcher, None)
        self._alarm.ring()

    def _look_by(self, when: float) -> None:
        if when < self._next_look:
            self._next_look = max(when, self._rested, self._held_until)
        self._alarm.ring()
        if self._task is None:
            # it looks for everybody: it must not go on in the context (a trace, a log's) of whoever came first
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="vpsorg-poller", context=contextvars.Context()
            )

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and the task."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._fail_all(ClientClosedError("the client was closed during the wait"))

    async def read(self, server_id: ServerId) -> tuple[float, Server]:
        """One read by id, outside the rounds; two where it says that the server does not exist."""
        self._singles += 1
        try:
            return await self._look_one(server_id)
        except NotFoundError as absent:
            if not is_absence(absent):
                raise
        self._singles += 1
        return await self._look_one(server_id)

    def believes(self, seconds: float) -> bool:
        """Whether a 404 in no form of the API is believed that was answered for so long, with a whole list."""
        return not self._json_errors() and seconds >= self._policy.grace

    async def glance(self, ids: Sequence[ServerId]) -> None:
        """Read these servers once, the cheaper way, for the journal: what later waits compare with."""
        if list_is_cheaper(len(ids), self._account, self._page_size):
            try:
                await self._read_list()
            except VpsOrgError:
                await self._read_each(ids)
        else:
            await self._read_each(ids)

    async def _run(self) -> None:
        try:
            # clients that start together should not look together
            await self._clock.sleep(self._rng.uniform(0.0, self._policy.min_interval / 10))
            while self._entries or self._watchers:
                due = min(self._next_look, max(self._entries.first_deadline(), self._rested))
                if due > self._clock.now():
                    await self._alarm.sleep_until(due)
                else:
                    await self._round()
        except Exception as bug:
            # whatever went wrong here, nobody may be left waiting for ever
            self._fail_all(bug)
        finally:
            self._task = None
            self._roll = Roll()
            if (self._entries or self._watchers) and not self._closed:
                self._look_by(math.inf)

    async def _round(self) -> None:
        """One look for everybody, and what follows from it."""
        started = self._last_look = self._clock.now()
        self._next_look = math.inf
        look = asyncio.ensure_future(self._look())
        try:
            while not look.done() and (self._entries or self._watchers):
                await self._alarm.sleep_until(self._entries.first_deadline() + LAST_LOOK, look)
                if not look.done():
                    await self._expire(LAST_LOOK)
            if look.done():
                look.result()
        except VpsOrgError as error:
            await self._all_failed(error)
        finally:
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)
        await self._expire(0.0)
        now = self._clock.now()
        if self._schedule.overdue(now):
            await self._report_stuck(now)
        pause = self._schedule.pause(now) if self._entries else math.inf
        if self._watchers:
            pause = min(pause, max(self._list_due() - started, 0.0))
        if self._failures:
            pause = max(pause, self._backoff.pause(self._failures, self._rng))
        self._rested = now + self._policy.min_interval
        due = max(min(self._next_look, started + pause), self._rested, self._held_until)
        # a look shortly before a deadline would put off the one that belongs at it
        deadline = self._entries.first_deadline()
        self._next_look = deadline if due < deadline < due + self._policy.min_interval else due

    async def _expire(self, late: float) -> None:
        """Time out the waits whose deadline passed so many seconds ago: 0 after a look, else while it goes on."""
        now = self._clock.now()
        if now < self._entries.first_deadline() + late:
            return
        for number, entry in enumerate(self._entries):
            await give_way(number)
            if now >= entry.wait.deadline + late:
                self._waits.expire(entry, now, None if late else self._last_look)

    async def _report_stuck(self, now: float) -> None:
        for number, entry in enumerate(self._entries):
            await give_way(number)
            event = self._waits.stuck(entry, now)
            if event is not None:
                log.info("server %s takes longer than its kind: %.0f s", event.server_id, event.seconds)
                tell(self._on_event, event, log)

    async def _look(self) -> None:
        now = self._clock.now()
        # as good as due: a look for the waits is not followed by another one for those who watch
        due = self._last_look + self._policy.min_interval >= self._list_due()
        cheaper = list_is_cheaper(len(self._entries.keys), self._account, self._page_size)
        wanted = due or (cheaper and self._list_trouble.over(now)) or self._read_trouble.lasts(now)
        if wanted or self._waits.wants_list(now):
            await self._look_at_list()
        elif not await self._read_each(ids := self._awaited()) and ids:
            # nobody is blinded where reads by id fail and the list works
            self._read_trouble.failed(now, self._backoff)
            with contextlib.suppress(VpsOrgError):
                await self._read_list()
        else:
            self._read_trouble.worked()

    def _awaited(self) -> list[ServerId]:
        return [self._entries.of(key)[0].wait.server_id for key in self._entries.keys]

    async def _look_at_list(self) -> None:
        """Read the list; where that fails and reads by id work, read each server instead."""
        try:
            missing = await self._read_list()
        except VpsOrgError as error:
            self._list_trouble.failed(self._clock.now(), self._backoff)
            ids = self._awaited()
            # what holds for every request, or asks for fewer of them, is no reason to send more
            general = isinstance(
                error, AuthenticationError | RateLimitError | ConnectError | ClientClosedError
            )
            if general or not ids or not await self._read_each(ids[:1], quiet=True):
                raise
            for watcher in tuple(self._watchers):
                watcher(error)
            await self._read_each(ids[1:])
            return
        self._list_trouble.worked()
        now = self._clock.now()
        suspects = [
            each[0].wait.server_id
            for each in missing
            if self._lacking or any(entry.wait.suspicious(now) for entry in each)
        ]
        await self._read_each(suspects)

    async def _read_list(self) -> list[tuple[Entry, ...]]:
        """Look at all servers, and show those that changed; returns the waits for servers that are not in the list."""
        self._lists += 1
        look = await self._look_list()
        await give_way()  # to read a long list took its time, and so will comparing it
        async with self._showing:
            if look.requested_at < self._entries.listed_at:
                return []  # another one overtook it, and what that one showed is newer
            # a look that nobody got to the end of is none that the next one can be compared with
            roll, self._roll = self._roll, Roll()
            statuses: dict[int, StatusRow | None] = {}
            unreadable = 0
            for number, position in enumerate(roll.compare(look)):
                await give_way(number)
                try:
                    statuses[position] = look.status(position)
                except DecodeError:
                    statuses[position] = None  # it hides no other
                    unreadable += 1
                    if unreadable > MOST_UNREADABLE:
                        raise
            changed, news = roll.settle(statuses)
            # whom there is news of rests no more on what was listed before, which goes now
            for number, key in enumerate(news or ()):
                await give_way(number)
                self._entries.recall(key)
            self._failures, self._last_list = 0, look.requested_at
            self._entries.listing(news)
            roll.turn()
            self._account = len(roll.places)
            self._lacking = look.lacks(len(roll.places), roll.unreadable)
            if not self._lacking:
                self._waits.unlisted(roll.places, look.requested_at)
            again = (*self._entries.restless, *self._journal.listed(look.requested_at, news))
            # of the first list all is news
            rest = () if news is None else (roll.places[key] for key in again if key in roll.places)
            for number, position in enumerate(dict.fromkeys((*changed, *rest))):
                await give_way(number)
                self._waits.show(look, roll, position, statuses.get(position), self._clock.now())
            missing = self._entries.lacking(roll.places)
            self._entries.listed(look.requested_at)
            if self._task is not None:
                self._roll = roll  # there will be a next look; else nobody lets go of this one
        for watcher in tuple(self._watchers):
            watcher(look)
        return missing

    async def _read_each(self, ids: Sequence[ServerId], *, quiet: bool = False) -> int:
        """Read each by its id, a few at once; returns how many were answered.

        A failure is told to the waits of that server alone; not even to them, if ``quiet``.
        """
        queue = list(reversed(ids))
        answered = 0

        async def reader() -> None:
            nonlocal answered
            while queue:
                answered += await self._read_one(queue.pop(), quiet)

        readers = [asyncio.ensure_future(reader()) for _ in range(min(SINGLES_AT_ONCE, len(ids)))]
        try:
            await asyncio.gather(*readers)
        finally:
            for task in readers:
                task.cancel()
        return answered

    async def _read_one(self, server_id: ServerId, quiet: bool) -> bool:
        """Read a server for its waits; False where the read failed. That it does not exist is asked twice."""
        for repeated in (False, True):
            self._singles += 1
            asked = self._clock.now()
            try:
                asked, server = await self._look_one(server_id)
            except VpsOrgError as failure:
                now = self._clock.now()
                if is_absence(failure):
                    if self._waits.absent(server_id, asked, now, repeated=repeated) and not repeated:
                        continue
                    return True
                if not quiet:
                    self._note_failure(failure)
                    if isinstance(failure, NotFoundError):
                        only = not self._json_errors()
                        self._waits.unproven(server_id, failure, asked, now, only=only)
                    else:
                        self._waits.failed(str(server_id), failure, now)
                return False
            self._failures = 0
            self._waits.read(server_id, server, asked, self._clock.now())
            return True
        return True

    def _list_due(self) -> float:
        """When those who watch want the next list."""
        return self._last_list + min(self._watchers.values()) if self._watchers else math.inf

    def _note_failure(self, error: VpsOrgError) -> None:
        self._failures += 1
        self._failed += 1
        if isinstance(error, APIError) and error.retry_after is not None:
            self._held_until = self._clock.now() + min(error.retry_after, LONGEST_HOLD)

    async def _all_failed(self, error: VpsOrgError) -> None:
        self._note_failure(error)
        for watcher in tuple(self._watchers):
            watcher(error)
        for number, key in enumerate(tuple(self._entries.keys)):
            await give_way(number)
            self._waits.failed(key, error, self._clock.now())

    def _fail_all(self, error: Exception) -> None:
        ended = ClientClosedError("looking ended")
        ended.__cause__ = error
        for watcher in tuple(self._watchers):
            watcher(error if isinstance(error, VpsOrgError) else ended)
        self._watchers.clear()
        self._waits.end_all(error)

    def _acknowledged(self, receipt: Receipt, at: float) -> None:
        if self._waits.acknowledged(receipt, at):
            self._look_by(at + self._policy.min_interval)
