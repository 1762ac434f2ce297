"""Many waits on one server, and many servers that are missing at the same time."""

from __future__ import annotations

import asyncio
import cProfile
from typing import Any

import pytest

from tests.lifecycle.harness import Harness, Provider, after, record, virtual
from vpsorg_async.lifecycle.calls import CONFIRMED_AT_ONCE

CROWD = 500


def work(profile: cProfile.Profile) -> int:
    """The number of functions called."""
    profile.create_stats()
    return sum(calls for calls, *_ in profile.stats.values())


async def crowd(count: int, end: str) -> int:
    """The work that this number of waits on one server causes, joining and ending included."""
    provider = Provider(after(1, 100 if end == "reached" else 1e9))
    profile = cProfile.Profile()
    async with Harness(provider, min_interval=50.0, max_interval=50.0) as harness:
        profile.enable()
        try:
            waits = harness.begin([1] * count, timeout=200.0)
            await asyncio.sleep(150)
            if end == "cancelled":
                for wait in waits:
                    wait.cancel()
            elif end == "closed":
                await harness.poller.close()
            results = await asyncio.gather(*waits, return_exceptions=True)
        finally:
            profile.disable()
        kinds = {type(result) for result in results}
        assert len(kinds) == 1
        assert len(harness.provider.polls) < 30
    return work(profile)


@pytest.mark.parametrize("end", ["reached", "timed out", "cancelled", "closed"])
@virtual
async def test_waits_on_one_server_cost_the_same_each(end: str) -> None:
    """Four times as many waits cost about four times the work, however they end."""
    await crowd(10, end)
    few, many = await crowd(CROWD, end), await crowd(4 * CROWD, end)

    assert many < 4.4 * few


@virtual
async def test_a_crowd_holds_up_nobody() -> None:
    """While ten thousand waits on one server end, other tasks on the loop run in between."""
    async with Harness(Provider(after(1, 100))) as harness:
        waits = harness.begin([1] * 10_000, timeout=600.0)
        await asyncio.wait(waits[:1])
        turns, most, done = 0, 0, sum(wait.done() for wait in waits)
        while done < len(waits):
            await asyncio.sleep(0)
            now = sum(wait.done() for wait in waits)
            turns, most, done = turns + 1, max(most, now - done), now
        await asyncio.gather(*waits)

    assert turns > 50
    assert most < 500


class Vanishing(Provider):
    """Reads by id that are counted while they are in flight."""

    def __init__(self, *courses: Any, **options: Any) -> None:
        super().__init__(*courses, **options)
        self.reading = self.most = 0

    async def poll_one(self, server_id: int | str) -> Any:
        self.reading += 1
        self.most = max(self.most, self.reading)
        try:
            return await super().poll_one(server_id)
        finally:
            self.reading -= 1


@virtual
async def test_missing_servers_are_confirmed_side_by_side() -> None:
    """Servers in the list are reported first; then those that it lacks are read by id, eight concurrently."""
    gone = [lambda now, n=n: record(n, "active") if now < 10 else None for n in range(2, 34)]
    stays = after(1, 10.0, "stopped", "active")
    provider = Vanishing(stays, *gone, latency=1.0)
    async with Harness(provider) as harness:
        changes = harness.waiter.watch(2.0)
        seen: list[tuple[str, float]] = []
        async for change in changes:
            if change.change == "present":
                continue
            seen.append((change.change, harness.now))
            if len(seen) == 33:
                break
        await changes.aclose()

    (first, when), *others = seen
    assert first == "changed"
    assert {kind for kind, _ in others} == {"gone"}
    # each is read twice, a second each time
    rounds = 2 * len(others) / CONFIRMED_AT_ONCE
    assert others[-1][1] - when == pytest.approx(rounds, abs=0.5)
    assert provider.most == CONFIRMED_AT_ONCE


@virtual
async def test_a_watcher_that_goes_away_leaves_no_reads() -> None:
    """A watcher that is closed in the middle of its confirmations cancels them, and no task is left."""
    gone = [lambda now, n=n: record(n, "active") if now < 10 else None for n in range(1, 20)]
    provider = Vanishing(*gone, latency=1.0)
    async with Harness(provider) as harness:
        changes = harness.waiter.watch(2.0)
        seen: list[Any] = []

        async def watch() -> None:
            async for change in changes:
                seen.append(change)

        task = asyncio.create_task(watch())
        await asyncio.sleep(12.5)
        assert provider.reading == CONFIRMED_AT_ONCE
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert provider.reading == 0
