"""Polls and waits that meet at bad moments: responses that overtake each other, waits that begin or end in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from tests.lifecycle.harness import Harness, Provider, Read, after, record, virtual
from vpsorg_async import Server, Target, errors
from vpsorg_async.lifecycle.account import Account
from vpsorg_async.lifecycle.snapshots import ListSnapshot
from vpsorg_async.lifecycle.wait import Reached, Wait


class Slow(Provider):
    """The account is as it was when the request came in; some lists take long to arrive."""

    def __init__(self, *courses: Any) -> None:
        super().__init__(*courses)
        self.way_back = 0.01

    async def poll_list(self) -> ListSnapshot:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        self.lists.append(asked)
        servers, way_back = list(self.servers(asked).values()), self.way_back
        await asyncio.sleep(way_back)
        return ListSnapshot(asked, servers)


async def begun(provider: Provider) -> float:
    """Return when the next list has left."""
    before = len(provider.lists)
    while len(provider.lists) == before:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.005)
    return provider.lists[-1]


async def called_off(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Return when no wait is left."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@virtual
async def test_a_list_that_was_overtaken_ends_no_wait() -> None:
    """Without timestamps, an `active` from before the reboot that arrives after `rebooting` is reported to no wait."""
    status = ["active"]
    provider = Slow(lambda now: record(1, status[0]), *(after(n, 1000) for n in range(2, 30)))
    async with Harness(provider, min_interval=1.0, max_interval=1.0, quiet=1000.0) as harness:
        others: list[asyncio.Task[Any]] = [*harness.begin(range(2, 30))]
        told: list[str | None] = []

        async def watch() -> None:
            async for change in harness.waiter.watch(1.0):
                if change.server_id == 1:
                    told.append(change.after)

        others.append(asyncio.ensure_future(watch()))
        await asyncio.sleep(5)
        harness.command(1, "reboot")
        provider.way_back = 2.0
        waiting = harness.begin([1])
        await begun(provider)
        provider.way_back, status[0] = 0.01, "rebooting"
        await asyncio.sleep(0.1)
        await harness.poller.glance(range(1, 30))  # another list, which shows it
        await asyncio.sleep(5)

        assert not waiting[0].done()
        status[0] = "active"
        (result,) = await asyncio.gather(*waiting)

        assert [seen.status for seen in result.timeline] == ["rebooting", "active"]
        assert result.seconds > 5
        await asyncio.sleep(2)
        assert told == ["active", "rebooting", "active"]
        await called_off(others)


@virtual
async def test_a_read_by_id_that_was_overtaken_ends_no_wait() -> None:
    """A read by id that a list overtook ends no wait, although that list showed nothing new."""
    status = ["rebooting"]
    provider = Slow(lambda now: record(1, status[0]), *(after(n, 1000) for n in range(2, 30)))
    async with Harness(provider, min_interval=1.0, max_interval=1.0, quiet=1000.0) as harness:
        waiting = [*harness.begin([1], "active", 20), *harness.begin(range(2, 30))]
        await asyncio.sleep(5)
        asked = harness.now
        await asyncio.sleep(3)

        assert list(harness.poller._registry.read(1, record(1, "active"), asked, harness.now))
        await asyncio.sleep(0.1)

        assert not waiting[0].done()
        await called_off(waiting)


@virtual
@pytest.mark.parametrize("timeout", [0.2, 1.0])
async def test_a_wait_has_a_poll_of_its_own_before_it_times_out(timeout: float) -> None:
    """The wait begins while a list is in flight, and times out before that list arrives."""
    provider = Slow(lambda now: record(1, "active"), *(after(n, 1000) for n in range(2, 30)))
    async with Harness(provider, min_interval=1.0, max_interval=1.0) as harness:
        others = harness.begin(range(2, 30))
        await asyncio.sleep(5)
        provider.way_back = timeout + 0.5
        left = await begun(provider)
        provider.way_back = 0.01
        await asyncio.sleep(0.1)

        result = await harness.wait(1, "active", timeout)

        assert result.server is not None
        assert provider.polls[-1] > left
        await called_off(others)


@virtual
async def test_what_a_wait_saw_last_is_not_changed_by_lists_after_its_end() -> None:
    """A wait that left, or was judged a little later, reports what it saw, and nothing newer."""
    provider = Read(*(after(n, 10) for n in range(1, 30)))
    async with Harness(provider, max_interval=1.0) as harness:
        others = harness.begin(range(2, 30))
        wait = harness.waiter.make(1, Target.of("active"), 60)
        harness.poller.join(wait, lambda *_: None)
        await asyncio.sleep(8)
        harness.poller.leave(wait)
        await asyncio.gather(*others)

        assert wait.last_seen is not None
        assert wait.last_seen.status == "provisioning"


@virtual
async def test_waits_that_time_out_together_give_way() -> None:
    """Each wait reads its whole row once, at its end, and other tasks run between them."""
    count, turns = 2000, [0]
    provider = Read(*(after(n, 1000) for n in range(1, count + 1)))
    ends: list[int] = []

    async def others() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)
            if turns[0] % 100 == 0:
                await asyncio.sleep(0.01)  # or time would stand still

    async with Harness(provider, max_interval=1.0) as harness:
        for n in range(1, count + 1):
            wait = harness.waiter.make(n, Target.of("active"), 30)
            harness.poller.join(wait, lambda *_: ends.append(turns[0]))
        await asyncio.sleep(25)
        assert provider.reader.records.total() == 0
        other = asyncio.ensure_future(others())
        await asyncio.sleep(10)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    assert len(ends) == count
    assert provider.reader.records.total() == count
    assert len(set(ends)) > 20


@virtual
async def test_a_list_that_is_being_shown_is_counted_once() -> None:
    """A wait that gets a failure while a list is distributed counts that list once, like its neighbours."""
    provider = Read(*(after(n, 10) for n in range(1, 200)))
    async with Harness(provider, min_interval=1.0, max_interval=1.0) as harness:
        waiting = harness.begin(range(1, 200))
        await asyncio.sleep(9.2)

        def meanwhile(row: Server) -> None:
            if row.id == 2 and row.status == "active":
                provider.reader.while_reading = lambda _: None
                error = errors.ServiceError("down", status=503)
                asyncio.get_running_loop().call_soon(
                    lambda: list(harness.poller._registry.failed(180, error, harness.now))
                )

        provider.reader.while_reading = meanwhile
        results = await asyncio.gather(*waiting)

        assert [seen.note for seen in results[179].timeline] == ["", "ServiceError", ""]
        # the failure is a poll as well
        assert results[179].polls == results[178].polls + 1 == results[180].polls + 1


def test_an_older_poll_counts_for_nothing() -> None:
    """The pure rule: a poll that left before one that counted is ignored, whatever it shows."""
    wait = Wait(1, Target.of("active"), Account(), now=0.0, timeout=60.0)

    assert wait.observe(record(1, "rebooting"), 5.0, 5.1) is None
    assert wait.observe(record(1, "active"), 4.0, 5.2) is None
    assert wait.absent(4.5, 5.3) is None
    wait.rested(7.0)
    assert wait.observe(record(1, "active"), 6.0, 7.1) is None
    assert isinstance(wait.observe(record(1, "active"), 7.5, 7.6), Reached)
    assert wait.polls == 5
