"""The shared look: one reader of statuses for every wait of a client.

One task runs while there are waits, and only then. Each round it looks once, at all servers with one list or at few
with a read each, whichever is cheaper, and shows what it saw to every wait. A look that fails is shared like one that
works. Rounds never overlap. Cancelling a waiter only takes its wait out.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable, Sequence

import attrs

from ..config import WaitPolicy
from ..errors import ClientClosedError, NotFoundError, VpsOrgError
from ..models import Server, ServerId
from ..timing import Backoff, Clock
from .receipts import Journal, Receipt
from .schedule import Schedule
from .wait import Ended, Reached, Verdict, Wait

__all__ = ["ListLook", "PollStatistics", "Poller", "list_is_cheaper"]

REQUEST_COST = 64 * 1024
"""What a request costs apart from its bytes, in bytes: requests are what rate limits and other people count."""
DETAIL_BYTES = 700
ROW_BYTES = 330

LAST_LOOK = 5.0
"""Seconds that a look may go on past the deadline of a wait."""

SINGLES_AT_ONCE = 8


def list_is_cheaper(watched: int, account: int | None) -> bool:
    """Whether one list of the account costs less than a read of each watched server.

    ``account`` is the number of servers in it, None while unknown: then a lone wait reads its server, and several
    begin with a list.
    """
    if watched <= 1:
        return False
    if account is None:
        return True
    return REQUEST_COST + account * ROW_BYTES < watched * (REQUEST_COST + DETAIL_BYTES)


@attrs.frozen
class ListLook:
    """One list of the account and when its request left (monotonic seconds)."""

    requested_at: float
    servers: Sequence[Server]


@attrs.frozen(kw_only=True)
class PollStatistics:
    """What a poller has done so far."""

    waits: int
    lists: int
    singles: int
    failed: int


class _Entry:
    __slots__ = ("cohort", "future", "wait")

    def __init__(self, wait: Wait, future: asyncio.Future[Verdict], cohort: tuple[str, int]) -> None:
        self.wait = wait
        self.future = future
        self.cohort = cohort


class Poller:
    """Looks for all waits. ``look_list`` and ``look_one`` make one request each, without retries of their own."""

    def __init__(
        self,
        look_list: Callable[[], Awaitable[ListLook]],
        look_one: Callable[[ServerId], Awaitable[tuple[float, Server]]],
        *,
        policy: WaitPolicy,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
    ) -> None:
        self._look_list = look_list
        self._look_one = look_one
        self._policy = policy
        self._clock = clock
        self._rng = rng
        self._journal = journal
        self._schedule = Schedule(policy)
        self._backoff = Backoff(initial=max(1.0, policy.min_interval), maximum=policy.max_interval)
        self._entries: dict[str, list[_Entry]] = {}
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closed = False
        self._account: int | None = None
        self._last_look = float("-inf")
        self._next_look = float("inf")
        self._failures = 0
        self._lists = self._singles = self._failed = 0
        journal.on_receipt = self._acknowledged

    @property
    def statistics(self) -> PollStatistics:
        """Looks made so far, and waits that are open now."""
        return PollStatistics(
            waits=self._count, lists=self._lists, singles=self._singles, failed=self._failed
        )

    def join(self, wait: Wait) -> asyncio.Future[Verdict]:
        """Watch for this wait. The future gets its verdict; `leave` takes it out before that."""
        if self._closed:
            raise ClientClosedError("the client is closed")
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        entry = _Entry(wait, future, self._schedule.add(wait.operation, wait.since))
        self._entries.setdefault(str(wait.server_id), []).append(entry)
        self._count += 1
        now = self._clock.now()
        # who knows of no command wants to know how things are; after a command nothing can have happened yet
        first = now if not wait.operation else now + self._policy.min_interval
        if first < self._next_look:
            self._next_look = max(first, self._last_look + self._policy.min_interval)
            self._wake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="vpsorg-poller")
        return future

    def leave(self, wait: Wait) -> None:
        """Stop watching for this wait; does nothing if it has ended."""
        for entry in self._entries.get(str(wait.server_id), ()):
            if entry.wait is wait:
                self._remove(entry)
                self._wake.set()
                return

    async def close(self) -> None:
        """End every wait with `ClientClosedError`, and the task."""
        self._closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._fail_all(ClientClosedError("the client was closed during the wait"))

    async def glance(self, ids: Sequence[ServerId]) -> None:
        """Read these servers once, the cheaper way, for the journal: what later waits compare with."""
        if list_is_cheaper(len(ids), self._account):
            await self._read_list()
        else:
            await self._read_each(ids)

    # -- the task ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            # clients that start together should not look together
            await self._clock.sleep(self._rng.uniform(0.0, self._policy.min_interval / 10))
            while self._entries:
                deadline = self._first_deadline()
                due = min(self._next_look, max(deadline, self._last_look + self._policy.min_interval))
                if due > self._clock.now():
                    await self._idle(due)
                    continue
                await self._round(deadline)
        except asyncio.CancelledError:
            raise
        except BaseException as bug:
            # whatever went wrong here, nobody may be left waiting for ever
            self._fail_all(bug)
            if not isinstance(bug, Exception):
                raise
        finally:
            self._task = None
            if self._entries and not self._closed:
                self._task = asyncio.get_running_loop().create_task(self._run(), name="vpsorg-poller")

    async def _idle(self, until: float) -> None:
        """Sleep until then, or until something changes."""
        self._wake.clear()
        sleep = asyncio.ensure_future(self._clock.sleep(until - self._clock.now()))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleep, woken), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            woken.cancel()

    async def _round(self, deadline: float) -> None:
        """One look for everybody, and what follows from it."""
        started = self._last_look = self._clock.now()
        self._next_look = float("inf")
        try:
            async with asyncio.timeout(max(deadline - started, 0.0) + LAST_LOOK):
                await self._look()
        except VpsOrgError as error:
            self._all_failed(error)
        except TimeoutError:
            self._all_failed(VpsOrgError("the last look took too long"))
        now = self._clock.now()
        for entry in self._open():
            self._settle(entry, entry.wait.expire(now))
        pause = self._schedule.pause(now)
        if self._failures:
            pause = max(pause, self._backoff.pause(self._failures, self._rng))
        self._next_look = min(self._next_look, started + max(pause, self._policy.min_interval))

    async def _look(self) -> None:
        ids = [entries[0].wait.server_id for entries in self._entries.values()]
        if not list_is_cheaper(len(ids), self._account):
            await self._read_each(ids)
            return
        look = await self._read_list()
        shown = {str(server.id) for server in look.servers}
        now = self._clock.now()
        missing = [
            entries[0].wait.server_id
            for key, entries in self._entries.items()
            if key not in shown and any(entry.wait.suspicious(now) for entry in entries)
        ]
        if missing:
            await self._read_each(missing)

    async def _read_list(self) -> ListLook:
        self._lists += 1
        look = await self._look_list()
        self._failures = 0
        self._account = len(look.servers)
        now = self._clock.now()
        for server in look.servers:
            self._journal.saw(server)
            for entry in tuple(self._entries.get(str(server.id), ())):
                self._settle(entry, entry.wait.observe(server, look.requested_at, now))
        return look

    async def _read_each(self, ids: Sequence[ServerId]) -> None:
        """Read each by its id, a few at once. A failure is told to the waits of that server alone."""
        queue = list(reversed(ids))

        async def reader() -> None:
            while queue:
                await self._read_one(queue.pop())

        readers = [asyncio.ensure_future(reader()) for _ in range(min(SINGLES_AT_ONCE, len(ids)))]
        try:
            await asyncio.gather(*readers)
        finally:
            for task in readers:
                task.cancel()

    async def _read_one(self, server_id: ServerId) -> None:
        self._singles += 1
        asked = self._clock.now()
        server: Server | None = None
        error: VpsOrgError | None = None
        try:
            asked, server = await self._look_one(server_id)
        except NotFoundError:
            pass
        except VpsOrgError as failure:
            error = failure
        now = self._clock.now()
        if error is None:
            self._failures = 0
        else:
            self._failures += 1
            self._failed += 1
        if server is not None:
            self._journal.saw(server)
        for entry in tuple(self._entries.get(str(server_id), ())):
            if error is not None:
                self._settle(entry, entry.wait.failed(error, now))
            elif server is not None:
                self._settle(entry, entry.wait.observe(server, asked, now))
            else:
                self._settle(entry, entry.wait.absent(asked, now))

    # -- the waits --------------------------------------------------------------------------------------------------

    def _open(self) -> list[_Entry]:
        return [entry for entries in self._entries.values() for entry in entries]

    def _first_deadline(self) -> float:
        return min(entry.wait.deadline for entries in self._entries.values() for entry in entries)

    def _settle(self, entry: _Entry, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        self._remove(entry)
        if isinstance(verdict, Reached):
            self._journal.fulfilled(entry.wait.server_id, entry.wait.receipt)
        if not entry.future.done():
            entry.future.set_result(verdict)

    def _remove(self, entry: _Entry) -> None:
        key = str(entry.wait.server_id)
        entries = self._entries.get(key)
        if entries is None or entry not in entries:
            return
        entries.remove(entry)
        if not entries:
            del self._entries[key]
        self._count -= 1
        self._schedule.remove(entry.cohort)

    def _all_failed(self, error: VpsOrgError) -> None:
        self._failures += 1
        self._failed += 1
        now = self._clock.now()
        for entry in self._open():
            self._settle(entry, entry.wait.failed(error, now))

    def _fail_all(self, error: BaseException) -> None:
        for entry in self._open():
            if isinstance(error, VpsOrgError):
                self._settle(entry, Ended(copy.copy(error)))
                continue
            self._remove(entry)
            if not entry.future.done():
                entry.future.set_exception(error)

    def _acknowledged(self, receipt: Receipt, at: float) -> None:
        """A command on a watched server was acknowledged: its waits begin anew."""
        for entry in self._entries.get(str(receipt.server_id), ()):
            self._schedule.remove(entry.cohort)
            entry.wait.acknowledge(receipt, at)
            entry.cohort = self._schedule.add(receipt.operation, at)
            self._next_look = min(self._next_look, at + self._policy.min_interval)
            self._wake.set()
