"""Shared by the tests of waiting: a provider made of functions of time, and a poller that polls it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from tests.virtual import virtual
from vpsorg_async import Receipt, Server, ServerStatus, Target, WaitOutcome, errors
from vpsorg_async.codec import StatusRow
from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.account import Account
from vpsorg_async.lifecycle.account_reader import Source
from vpsorg_async.lifecycle.calls import Waiter
from vpsorg_async.lifecycle.durations import Durations
from vpsorg_async.lifecycle.poller import Poller
from vpsorg_async.lifecycle.ready_checks import ReadyChecks
from vpsorg_async.lifecycle.snapshots import ListSnapshot
from vpsorg_async.virtual_time import LoopClock

__all__ = ["Counting", "Harness", "Provider", "Read", "after", "record", "virtual"]

Course = Callable[[float], Server | None]
Trouble = Callable[[float], BaseException | None]


def record(number: int, word: str, updated: float | None = None) -> Server:
    """A server; ``updated`` in seconds of the loop's time."""
    moment = None if updated is None else datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=updated)
    return Server(id=number, name=f"web-{number}", status=ServerStatus(word), updated_at=moment)


def after(number: int, seconds: float, word: str = "active", before: str = "provisioning") -> Course:
    """A server that changes once, at that time."""
    return lambda now: record(number, word if now >= seconds else before)


class Provider:
    """Servers as functions of time, and a log of the polls of them."""

    def __init__(self, *courses: Course, latency: float = 0.02) -> None:
        self.courses = list(courses)
        self.latency = latency
        self.trouble: Trouble = lambda now: None
        self.unlisted: set[int] = set()
        self.forbidden: set[int] = set()
        self.lists: list[float] = []
        self.singles: list[tuple[float, int]] = []
        self.under_way = self.most_lists = 0

    def servers(self, now: float) -> dict[int, Server]:
        shown = (course(now) for course in self.courses)
        return {int(server.id): server for server in shown if server is not None}

    @property
    def polls(self) -> list[float]:
        """When each request left."""
        return sorted([*self.lists, *(when for when, _ in self.singles)])

    async def poll_list(self) -> ListSnapshot:
        asked = asyncio.get_running_loop().time()
        self.lists.append(asked)
        self.under_way += 1
        self.most_lists = max(self.most_lists, self.under_way)
        try:
            servers = await self._answer(asked)
        finally:
            self.under_way -= 1
        return ListSnapshot(
            asked, [server for number, server in servers.items() if number not in self.unlisted]
        )

    async def poll_one(self, server_id: int | str) -> tuple[float, Server]:
        asked = asyncio.get_running_loop().time()
        self.singles.append((asked, int(server_id)))
        servers = await self._answer(asked)
        if int(server_id) in self.forbidden:
            raise errors.PermissionDeniedError("not yours", status=403)
        if int(server_id) not in servers:
            raise errors.NotFoundError("no such server", status=404)
        return asked, servers[int(server_id)]

    async def _answer(self, asked: float) -> dict[int, Server]:
        # the account as it is halfway between request and response
        await asyncio.sleep(self.latency / 2)
        trouble, servers = self.trouble(asked), self.servers(asyncio.get_running_loop().time())
        await asyncio.sleep(self.latency / 2)
        if trouble is not None:
            raise trouble
        return servers


@attrs.define
class Counting:
    """Reads rows, and counts the reads of each."""

    spoiled: set[int] = attrs.field(factory=set[int])
    statuses: Counter[int] = attrs.field(factory=Counter[int])
    records: Counter[int] = attrs.field(factory=Counter[int])
    while_reading: Callable[[Server], object] = lambda row: None

    def status(self, row: Server) -> StatusRow:
        self.statuses[int(row.id)] += 1
        return StatusRow(row.id, row.status, row.updated_at)

    def record(self, row: Server) -> Server:
        self.records[int(row.id)] += 1
        self.while_reading(row)
        if int(row.id) in self.spoiled:
            raise errors.DecodeError("the answer does not fit", problems=["$.name: expected a string"])
        return row

    def lacks(self, shown: int, unreadable: int, *, report: bool) -> str:
        return f"{unreadable} of its rows can't be read" if unreadable else ""


class Read(Provider):
    """A provider whose rows have to be read."""

    def __init__(self, *courses: Course, **options: Any) -> None:
        super().__init__(*courses, **options)
        self.reader = Counting()

    async def poll_list(self) -> ListSnapshot:
        snapshot = await super().poll_list()
        return ListSnapshot(snapshot.requested_at, snapshot.rows, self.reader)


class Harness:
    """A poller and its waiter over a provider, in the time of the running loop."""

    def __init__(
        self, provider: Provider, *, durations: Durations | None = None, seed: int = 1, **policy: float
    ) -> None:
        self.provider = provider
        self.policy = WaitPolicy(**policy)
        self.clock = LoopClock()
        self.account = Account(self.policy)
        self.durations = durations or Durations()
        self.events: list[Any] = []
        self.poller = Poller(
            Source(provider.poll_list, provider.poll_one),
            self.account,
            clock=self.clock,
            rng=random.Random(seed),
            durations=self.durations,
            on_event=self.events.append,
        )
        self.checks = ReadyChecks(self.poller, self.account, self.durations, self.clock, limit=50)
        self.waiter = Waiter(self.poller, self.account, self.clock, self.checks)

    async def __aenter__(self) -> Harness:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.checks.close()
        await self.poller.close()

    @property
    def now(self) -> float:
        return self.clock.now()

    def command(self, number: int, operation: str, status: str | None = None) -> Receipt:
        """A command on a server was acknowledged just now."""
        return self.account.acknowledged(
            number, operation, at=self.now, wall=self.clock.wall(), status=status
        )

    async def wait(
        self, subject: int | Server | Receipt, target: Any = "active", timeout: float = 600.0
    ) -> WaitOutcome:
        return await self.waiter.wait(subject, Target.of(target), timeout)

    def begin(
        self, numbers: Iterable[int], target: Any = "active", timeout: float = 600.0
    ) -> list[asyncio.Task[WaitOutcome]]:
        """Begin a waiting task for each."""
        return [asyncio.create_task(self.wait(number, target, timeout)) for number in numbers]

    def polling(self) -> bool:
        """Whether the task of the poller is there."""
        return any(task.get_name() == "vpsorg-poller" for task in asyncio.all_tasks())
