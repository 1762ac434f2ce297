"""Reads the account for all waits, and hands what it reads to them: lists, or servers by their ids.

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

import attrs

from ..config import WaitPolicy
from ..errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConnectError,
    NotFoundError,
    RateLimitError,
    VpsOrgError,
    is_absence,
)
from ..records import Server, ServerId
from ..shielding import side_by_side
from ..specs import key_of
from ..timing import Backoff, Clock, Random
from .account import Account
from .events import PollStatistics
from .snapshots import ListNews, ListSnapshot, list_is_cheaper
from .wait_index import OpenWait
from .wait_registry import WaitRegistry
from .wakeup import run_steps, yield_to_loop
from .watching import Watchers

__all__ = ["AccountReader", "Source"]

log: logging.Logger = logging.getLogger("vpsorg_async.lifecycle")

LONGEST_HOLD = 60.0
"""Seconds for which a ``Retry-After`` is obeyed."""
SINGLES_AT_ONCE = 8


@attrs.frozen
class Source:
    """Where polls go. ``poll_list`` and ``poll_one`` make one request each, without retries of their own.

    ``page_size`` is the number of servers on a page of a list, None where it has none. ``json_errors`` says whether the
    API has answered an error in a form of its own so far.
    """

    poll_list: Callable[[], Awaitable[ListSnapshot]]
    poll_one: Callable[[ServerId], Awaitable[tuple[float, Server]]]
    page_size: int | None = None
    json_errors: Callable[[], bool] = lambda: True


class Trouble:
    """One way of polling that fails while the other may work: when it is worth another try."""

    def __init__(self) -> None:
        self.failures: int = 0
        self._until = -math.inf

    def failed(self, now: float, backoff: Backoff) -> None:
        """Note that it failed again."""
        self.failures += 1
        self._until = now + backoff.ceiling(self.failures)

    def worked(self) -> None:
        """Note that it works."""
        self.failures, self._until = 0, -math.inf

    def lasts(self, now: float) -> bool:
        """Return whether it failed a short time ago."""
        return now < self._until


class Health:
    """How polling goes: its failures in a row, how long it is held back, and what was sent in all."""

    def __init__(self, policy: WaitPolicy) -> None:
        self.backoff: Backoff = Backoff(initial=max(1.0, policy.min_interval), maximum=policy.max_interval)
        self.held_until: float = -math.inf
        self.failures: int = 0
        """Failures since the last poll that worked."""
        self.failed: int = 0
        self.lists: int = 0
        self.singles: int = 0

    def note(self, error: VpsOrgError, now: float) -> None:
        """Note a poll that failed."""
        self.failures += 1
        self.failed += 1
        if self.failures == 1:
            log.warning("a poll of the account failed, and is tried again: %s", error)
        if isinstance(error, APIError) and error.retry_after is not None:
            self.held_until = now + min(error.retry_after, LONGEST_HOLD)


class AccountReader:
    """Polls for all waits and watchers; decides whether to read a list, or servers by their ids."""

    def __init__(
        self, source: Source, account: Account, registry: WaitRegistry, watchers: Watchers, clock: Clock
    ) -> None:
        self.keeps: bool = False
        """Whether there will be a next list, which is compared with the last one."""
        self._health = Health(account.policy)
        self._source = source
        self._account = account
        self._registry = registry
        self._watchers = watchers
        self._clock = clock
        self._size: int | None = None
        self._probes = -1
        self._list_trouble, self._read_trouble = Trouble(), Trouble()
        self._applying = asyncio.Lock()
        self._keepers = 0

    def statistics(self) -> PollStatistics:
        """Return what was polled so far, and the number of open waits."""
        health = self._health
        return PollStatistics(
            waits=len(self._registry), lists=health.lists, singles=health.singles, failed=health.failed
        )

    @property
    def held_until(self) -> float:
        """When the API may be asked again after a ``Retry-After``; monotonic seconds."""
        return self._health.held_until

    def backed_off(self, pause: float, rng: Random) -> float:
        """Return the pause before the next poll, longer after failures."""
        return (
            max(pause, self._health.backoff.pause(self._health.failures, rng))
            if self._health.failures
            else pause
        )

    def forget(self) -> None:
        """Let go of the last list: there will be no next one for now."""
        self.keeps = False
        self._forget_list()

    def keep_list(self, change: int) -> None:
        """Keep the last list for one more reader (1), or for one less (-1)."""
        self._keepers += change
        self._forget_list()

    def _forget_list(self) -> None:
        if not self.keeps and not self._keepers:
            self._account.forget_list()

    async def read(self, server_id: ServerId) -> tuple[float, Server]:
        """Return one server and when its request left; a 404 is asked for twice."""
        self._health.singles += 1
        try:
            return await self._source.poll_one(server_id)
        except NotFoundError as absent:
            if not is_absence(absent):
                raise
        self._health.singles += 1
        return await self._source.poll_one(server_id)

    def believes(self, seconds: float) -> bool:
        """Return whether a 404 in no form of the API is believed that was answered for so long, with a whole list."""
        return not self._source.json_errors() and seconds >= self._account.policy.grace

    async def glance(self, ids: Sequence[ServerId]) -> None:
        """Read these servers once, the cheaper way, for the account: what later waits compare with."""
        if list_is_cheaper(len(ids), self._size, self._source.page_size):
            try:
                await self._read_list()
            except VpsOrgError:
                await self._read_each(ids)
        else:
            await self._read_each(ids)

    async def list_for(self, readers: int) -> None:
        """Read one list outside the rounds if that is cheaper than so many reads by id; its errors are ignored."""
        if self._list_trouble.lasts(self._clock.now()) or self.held_until > self._clock.now():
            return
        if list_is_cheaper(readers, self._size, self._source.page_size):
            try:
                await self._read_list()
            except VpsOrgError as failure:
                self._list_trouble.failed(self._clock.now(), self._health.backoff)
                self._health.note(failure, self._clock.now())
            else:
                self._list_trouble.worked()

    async def poll(self, *, due: bool) -> None:
        """Poll once for all waits. ``due``: those who watch want a list."""
        now = self._clock.now()
        cheaper = list_is_cheaper(len(self._registry.keys), self._size, self._source.page_size)
        if (
            due
            or (cheaper and not self._list_trouble.lasts(now))
            or self._read_trouble.lasts(now)
            or (not self._source.json_errors() and self._registry.wants_list(now))
        ):
            await self._poll_by_list()
        elif cheaper:
            await self._read_instead(self._registry.ids())
        else:
            _, failure = await self._read_each(self._registry.ids())
            if failure is None or not self._registry or _is_general(failure):
                self._read_trouble.worked()
                return
            with contextlib.suppress(VpsOrgError):
                await self._read_list()
                self._read_trouble.failed(now, self._health.backoff)

    async def all_failed(self, error: VpsOrgError) -> None:
        """Show a failure to every wait, and to those who watch."""
        self._health.note(error, self._clock.now())
        self._watchers.notify(error)
        for number, key in enumerate(tuple(self._registry.keys)):
            await yield_to_loop(number)
            await run_steps(self._registry.failed(key, error, self._clock.now()))

    # -- lists ------------------------------------------------------------------------------------------------------

    async def _poll_by_list(self) -> None:
        """Read the list; where that fails and reads by id work, read each server instead."""
        try:
            missing = await self._read_list()
        except VpsOrgError as error:
            ids = self._registry.ids()
            if not ids or _is_general(error):
                raise
            await self._read_instead(ids, error)
            self._watchers.notify(error)
            return
        self._list_trouble.worked()
        now, lacks = self._clock.now(), self._account.last_list.lacks()
        suspects = [
            each[0].wait.server_id
            for each in missing
            if lacks or any(entry.wait.suspicious(now) for entry in each)
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
            self._list_trouble.failed(self._clock.now(), self._health.backoff)
        await self._read_each([server_id for server_id in ids if server_id != probe])

    async def _read_list(self) -> list[tuple[OpenWait, ...]]:
        """Read the account, and show the waits what changed; returns the waits for servers that are not in the list."""
        self._health.lists += 1
        snapshot = await self._source.poll_list()
        asked, account = snapshot.requested_at, self._account
        await yield_to_loop()  # to read a long list took its time, and so will comparing it
        async with self._applying:
            if asked < account.listed_at:
                return []  # another one overtook it, and what that one showed is newer
            now = self._clock.now()  # one for all waits: they see the list together
            for number, shown in enumerate(account.apply(snapshot, self._registry)):
                await yield_to_loop(number)
                if shown is not None:
                    await run_steps(self._registry.show(shown, asked, now))
            latest, self._health.failures = account.last_list, 0
            whole = not latest.lacks(report=True)
            self._size = len(latest.places)
            missing = self._registry.unlisted(latest.places, asked, whole=whole)
            news = ListNews(latest, account.news)
            self._forget_list()
        self._watchers.notify(news)
        return missing

    # -- reads by id ------------------------------------------------------------------------------------------------

    async def _read_each(
        self, ids: Sequence[ServerId], *, quiet: bool = False
    ) -> tuple[int, VpsOrgError | None]:
        """Read each by its id, a few at once; returns how many were answered, and the last failure.

        A failure is shown to the waits of that server alone; not even to them, if ``quiet``.
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
        """Read a server for its waits; returns what failed. A 404 is asked for twice."""
        repeated = False
        while True:
            self._health.singles += 1
            asked = self._clock.now()
            try:
                asked, server = await self._source.poll_one(server_id)
            except VpsOrgError as failure:
                if is_absence(failure):
                    absent = self._registry.absent(server_id, asked, self._clock.now(), repeated=repeated)
                    repeated = await run_steps(absent)
                    if repeated:
                        continue
                    return None
                if not quiet:
                    await self._failed(server_id, failure, asked)
                return failure
            self._health.failures = 0
            self._account.read(server, asked, self._registry.keys)
            await run_steps(self._registry.read(server_id, server, asked, self._clock.now()))
            return None

    async def _failed(self, server_id: ServerId, failure: VpsOrgError, asked: float) -> None:
        now = self._clock.now()
        self._health.note(failure, now)
        if isinstance(failure, NotFoundError):
            only = not self._source.json_errors()
            await run_steps(self._registry.unproven(server_id, failure, asked, now, only=only))
        else:
            await run_steps(self._registry.failed(key_of(server_id), failure, now))


def _is_general(error: VpsOrgError) -> bool:
    """Return whether it holds for every request, or asks for fewer of them: no reason to send others instead."""
    if isinstance(error, APIError) and error.retry_after is not None:
        return True
    return isinstance(error, AuthenticationError | RateLimitError | ConnectError | ClientClosedError)
