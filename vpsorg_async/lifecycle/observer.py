"""What is read of the account for all waits, and shown to them: lists, or servers by their ids.

A failing list does not blind the waits while reads by id work, nor the reverse: the other way is used, and what failed
is tried again after a pause that grows. Facts are the API's own: a server that it does not know is asked for a second
time at once, and a gateway's answer is a failed poll.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from ..records import Server, ServerId
from ..shielding import side_by_side
from ..timing import Backoff, Clock
from .entry import Entry
from .receipts import Journal
from .snapshots import ListSnapshot, Roll, list_is_cheaper
from .waits import Waits
from .wakeup import run_steps, yield_to_loop

__all__ = ["Observer", "Watcher"]

log = logging.getLogger("vpsorg_async.lifecycle")

LONGEST_HOLD = 60.0
"""Seconds for which a ``Retry-After`` is obeyed."""
SINGLES_AT_ONCE = 8
MOST_UNREADABLE = 1000
"""Rows of one list whose id or status can't be read. With so many it is no list of servers."""

Watcher = Callable[[ListSnapshot | BaseException], None]
"""Shown each list, and each failure; last of all what ended polling for good."""


class Trouble:
    """One way of polling that fails while the other may work: when it is worth another try."""

    def __init__(self) -> None:
        self.failures = 0
        self._until = -math.inf

    def failed(self, now: float, backoff: Backoff) -> None:
        """It failed again."""
        self.failures += 1
        self._until = now + backoff.ceiling(self.failures)

    def worked(self) -> None:
        """It works."""
        self.failures, self._until = 0, -math.inf

    def over(self, now: float) -> bool:
        """Whether it is worth a try."""
        return now >= self._until

    def lasts(self, now: float) -> bool:
        """Whether it failed a short time ago."""
        return now < self._until


class Observer:
    """Reads for all waits. ``poll_list`` and ``poll_one`` make one request each, without retries of their own."""

    def __init__(
        self,
        poll_list: Callable[[], Awaitable[ListSnapshot]],
        poll_one: Callable[[ServerId], Awaitable[tuple[float, Server]]],
        waits: Waits,
        *,
        policy: WaitPolicy,
        clock: Clock,
        journal: Journal,
        page_size: int | None,
        json_errors: Callable[[], bool],
    ) -> None:
        self._poll_list = poll_list
        self._poll_one = poll_one
        self._waits = waits
        self._entries = waits.entries
        self._policy = policy
        self._clock = clock
        self._journal = journal
        self._page_size = page_size
        self._json_errors = json_errors
        self._account: int | None = None
        self._lacking = ""
        self._probes = -1
        self._list_trouble, self._read_trouble = Trouble(), Trouble()
        self._roll = Roll()
        self._showing = asyncio.Lock()
        self.backoff = Backoff(initial=max(1.0, policy.min_interval), maximum=policy.max_interval)
        self.watchers: dict[Watcher, float] = {}
        """Whom each list is shown, and how often they want one."""
        self.keeps = False
        """Whether there will be a next list, which is compared with the last one."""
        self.last_list = self.held_until = -math.inf
        self.failures = self.lists = self.singles = self.failed = 0

    def forget(self) -> None:
        """There will be no next list for now."""
        self.keeps, self._roll = False, Roll()

    async def read(self, server_id: ServerId) -> tuple[float, Server]:
        """One read by id, outside the rounds; two where it says that the server does not exist."""
        self.singles += 1
        try:
            return await self._poll_one(server_id)
        except NotFoundError as absent:
            if not is_absence(absent):
                raise
        self.singles += 1
        return await self._poll_one(server_id)

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

    async def poll(self, *, due: bool) -> None:
        """Poll once for all waits. ``due``: those who watch want a list."""
        now, ids = self._clock.now(), self._awaited()
        cheaper = list_is_cheaper(len(ids), self._account, self._page_size)
        if (
            due
            or (cheaper and self._list_trouble.over(now))
            or self._read_trouble.lasts(now)
            or (not self._json_errors() and self._waits.wants_list(now))
        ):
            await self._poll_by_list()
        elif cheaper:
            await self._read_instead(ids)
        else:
            _, failure = await self._read_each(ids)
            if failure is None or not self._entries or _is_general(failure):
                self._read_trouble.worked()
                return
            with contextlib.suppress(VpsOrgError):
                await self._read_list()
                self._read_trouble.failed(now, self.backoff)

    def _awaited(self) -> list[ServerId]:
        return [self._entries.any_of(key).wait.server_id for key in self._entries.keys]

    async def _poll_by_list(self) -> None:
        """Read the list; where that fails and reads by id work, read each server instead."""
        try:
            missing = await self._read_list()
        except VpsOrgError as error:
            ids = self._awaited()
            if not ids or _is_general(error):
                raise
            await self._read_instead(ids, error)
            for watcher in tuple(self.watchers):
                watcher(error)
            return
        self._list_trouble.worked()
        now = self._clock.now()
        suspects = [
            each[0].wait.server_id
            for each in missing
            if self._lacking or any(entry.wait.suspicious(now) for entry in each)
        ]
        await self._read_each(suspects)

    async def _read_instead(self, ids: Sequence[ServerId], error: VpsOrgError | None = None) -> None:
        """Read each server where lists fail; after one as a probe, so that an outage is not made worse."""
        # another one each time: one server alone may be in trouble
        self._probes += 1
        probe = ids[self._probes % len(ids)]
        _, failure = await self._read_each([probe], quiet=True)
        if failure is not None:
            self._list_trouble.worked()  # it is no trouble of lists alone
            raise error or failure
        if error is not None:
            self._list_trouble.failed(self._clock.now(), self.backoff)
        await self._read_each([server_id for server_id in ids if server_id != probe])

    async def _read_list(self) -> list[tuple[Entry, ...]]:
        """Poll all servers, and show those that changed; returns the waits for servers that are not in the list."""
        self.lists += 1
        snapshot = await self._poll_list()
        await yield_to_loop()  # to read a long list took its time, and so will comparing it
        async with self._showing:
            if snapshot.requested_at < self._entries.listed_at:
                return []  # another one overtook it, and what that one showed is newer
            # a poll that nobody got to the end of is none that the next one can be compared with
            roll, self._roll = self._roll, Roll()
            statuses: dict[int, StatusRow | None] = {}
            unreadable = 0
            for number, position in enumerate(roll.compare(snapshot)):
                await yield_to_loop(number)
                try:
                    statuses[position] = snapshot.status(position)
                except DecodeError:
                    statuses[position] = None  # it hides no other
                    unreadable += 1
                    # but where none can be read, it is no list of servers
                    if unreadable in (MOST_UNREADABLE, len(snapshot.rows)):
                        raise
            changed, news = roll.settle(statuses)
            # whom there is news of rests no more on what was listed before, which goes now
            for number, key in enumerate(news or ()):
                await yield_to_loop(number)
                self._entries.recall(key)
            self.failures, self.last_list = 0, snapshot.requested_at
            self._entries.listing(news)
            roll.turn()
            self._account = len(roll.places)
            self._lacking = snapshot.lacks(len(roll.places), roll.unreadable, report=True)
            if not self._lacking:
                self._waits.unlisted(roll.places, snapshot.requested_at)
            again = (*self._entries.restless, *self._journal.listed(snapshot.requested_at, news))
            # of the first list all is news
            rest = () if news is None else (roll.places[key] for key in again if key in roll.places)
            for number, position in enumerate(dict.fromkeys((*changed, *rest))):
                await yield_to_loop(number)
                shown = self._waits.show(snapshot, roll, position, statuses.get(position), self._clock.now())
                await run_steps(shown)
            missing = self._entries.lacking(roll.places)
            self._entries.listed(snapshot.requested_at)
            if self.keeps:
                self._roll = roll  # else nobody lets go of this one
        for watcher in tuple(self.watchers):
            watcher(snapshot)
        return missing

    async def _read_each(
        self, ids: Sequence[ServerId], *, quiet: bool = False
    ) -> tuple[int, VpsOrgError | None]:
        """Read each by its id, a few at once; returns how many were answered, and the last failure.

        A failure is told to the waits of that server alone; not even to them, if ``quiet``.
        """
        queue = list(reversed(ids))
        answered, last = 0, None

        async def reader() -> None:
            nonlocal answered, last
            while queue:
                failure = await self._read_one(queue.pop(), quiet)
                answered, last = (answered + 1, last) if failure is None else (answered, failure)

        await side_by_side(reader() for _ in range(min(SINGLES_AT_ONCE, len(ids))))
        return answered, last

    async def _read_one(self, server_id: ServerId, quiet: bool) -> VpsOrgError | None:
        """Read a server for its waits; returns what failed. That it does not exist is asked twice."""
        for repeated in (False, True):
            self.singles += 1
            asked = self._clock.now()
            try:
                asked, server = await self._poll_one(server_id)
            except VpsOrgError as failure:
                now = self._clock.now()
                if is_absence(failure):
                    if await run_steps(self._waits.absent(server_id, asked, now, repeated=repeated)):
                        continue
                    return None
                if not quiet:
                    self._note_failure(failure)
                    if isinstance(failure, NotFoundError):
                        only = not self._json_errors()
                        await run_steps(self._waits.unproven(server_id, failure, asked, now, only=only))
                    else:
                        await run_steps(self._waits.failed(str(server_id), failure, now))
                return failure
            self.failures = 0
            await run_steps(self._waits.read(server_id, server, asked, self._clock.now()))
            break
        return None

    def _note_failure(self, error: VpsOrgError) -> None:
        self.failures += 1
        self.failed += 1
        if self.failures == 1:
            log.warning("a poll of the account failed, and is tried again: %s", error)
        if isinstance(error, APIError) and error.retry_after is not None:
            self.held_until = self._clock.now() + min(error.retry_after, LONGEST_HOLD)

    async def all_failed(self, error: VpsOrgError) -> None:
        self._note_failure(error)
        for watcher in tuple(self.watchers):
            watcher(error)
        for number, key in enumerate(tuple(self._entries.keys)):
            await yield_to_loop(number)
            await run_steps(self._waits.failed(key, error, self._clock.now()))


def _is_general(error: VpsOrgError) -> bool:
    """Whether it holds for every request, or asks for fewer of them: no reason to send others instead."""
    if isinstance(error, APIError) and error.retry_after is not None:
        return True
    return isinstance(error, AuthenticationError | RateLimitError | ConnectError | ClientClosedError)
