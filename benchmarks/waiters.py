"""Many waiters, each measurement in a process of its own: ``python waiters.py <what> <port> <count> [core]``.

What is printed is what each wait holds, what a poll costs, and how long the event loop stands still.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from clients import TOKEN
from fleets import begin

SETTLED = 5
"""Polls begun until each wait has been shown its server: the first ones are made while waits still begin."""


def each(port: int, count: int) -> dict[str, float]:
    """Many `wait_until` at once on one client: what each holds, what a poll costs, how long the loop stands still."""
    found: dict[str, float] = {}

    async def waits(vps: Any, numbers: Iterator[int]) -> list[asyncio.Task[Any]]:
        tasks = []
        for number in numbers:
            tasks.append(asyncio.ensure_future(vps.wait_until(number, "active", timeout=300)))
            if number % 50 == 0:
                await asyncio.sleep(0)
        return tasks

    async def at_rest() -> None:
        """Nothing happens for twelve polls."""
        async with account(port, count, (600, 900)) as vps:
            before = resident()
            tasks = await waits(vps, iter(range(1, count + 1)))
            poller = vps._runtime.poller
            await polled(poller, SETTLED)
            gc.collect()
            found["bytes"] = (resident() - before) / count
            cpu, lists = time.process_time(), poller.statistics.lists
            await polled(poller, lists + 12)
            found["cpu_per_poll"] = (time.process_time() - cpu) / (poller.statistics.lists - lists)
            await stop(tasks)

    async def to_the_end(watched: bool) -> None:
        """All become active, over six seconds."""
        async with account(port, count, (2, 8)) as vps:
            tasks = await waits(vps, iter(range(1, count + 1)))
            await asyncio.sleep(0)
            ends = asyncio.gather(*tasks)  # which takes its own time to begin with so many
            if watched:
                with stalls() as (longest, collections):
                    await ends
                found["stall"], found["collection"] = max(longest), max(collections)
                return
            cpu = time.process_time()
            await ends
            found["cpu_per_poll_all"] = (time.process_time() - cpu) / vps._runtime.poller.statistics.lists
            found["polls"] = vps._runtime.poller.statistics.lists

    asyncio.run(at_rest())
    asyncio.run(to_the_end(False))
    asyncio.run(to_the_end(True))
    return found


def in_one(port: int, count: int) -> dict[str, float]:
    """As many in one `wait_until_all`, which needs no task for each; what each holds."""

    async def work() -> dict[str, float]:
        async with account(port, count, (600, 900)) as vps:
            before = resident()
            outcomes = vps.wait_until_all(range(1, count + 1), "active", timeout=300)
            task = asyncio.ensure_future(anext(outcomes))
            await polled(vps._runtime.poller, SETTLED)
            gc.collect()
            found = {"bytes_all": (resident() - before) / count}
            await stop([task])
            return found

    return asyncio.run(work())


def late(port: int, count: int) -> dict[str, float]:
    """As many in one `wait_until_all` that all time out together: how long the loop stands still, joining included."""

    async def work() -> dict[str, float]:
        async with account(port, count, (600, 900)) as vps:
            ends = 0
            with stalls() as (longest, _):
                async for outcome in vps.wait_until_all(range(1, count + 1), "active", timeout=4):
                    ends += outcome.error is not None
            assert ends == count
            return {"stall_late": max(longest)}

    return asyncio.run(work())


def bare(_: int, count: int) -> dict[str, float]:
    """As many tasks that await a future and do nothing else: what asyncio itself needs for each."""

    async def wait(future: asyncio.Future[None]) -> None:
        await future

    async def work() -> dict[str, float]:
        loop = asyncio.get_running_loop()
        gc.collect()
        before = resident()
        tasks = [asyncio.ensure_future(wait(loop.create_future())) for _ in range(count)]
        await asyncio.sleep(0)
        gc.collect()
        found = {"bytes_bare": (resident() - before) / count}
        await stop(tasks)
        return found

    return asyncio.run(work())


@contextlib.asynccontextmanager
async def account(port: int, count: int, delays: tuple[float, float]) -> AsyncIterator[Any]:
    """So many servers that become active after their delays, and a warm client that polls four times a second."""
    from vpsorg_async import Client

    begin(port, count, delays, made=True)
    options = {"min_interval": 0.25, "max_interval": 0.25}
    async with Client(TOKEN, base_url=f"http://127.0.0.1:{port}", **options) as vps:
        await vps.servers.get(1)
        gc.collect()
        yield vps


async def polled(poller: Any, lists: int) -> None:
    while poller.statistics.lists < lists:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.25)


async def stop(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def stalls() -> Iterator[tuple[list[float], list[float]]]:
    """How long the event loop could not get to a timer of a millisecond, while this is entered, without the time that
    full garbage collections took; and that time, of each of them."""
    loop, late, collections = asyncio.get_running_loop(), [0.0], [0.0]
    due, counted, began = loop.time(), 0.0, 0.0

    def tick() -> None:
        nonlocal due, counted, timer
        late.append(loop.time() - due - (sum(collections) - counted))
        counted = sum(collections)
        due = loop.time() + 0.001
        timer = loop.call_at(due, tick)

    def collecting(phase: str, info: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            began = loop.time()
        elif info["generation"] == 2:
            collections.append(loop.time() - began)

    timer = loop.call_at(due, tick)
    gc.callbacks.append(collecting)
    try:
        yield late, collections
    finally:
        gc.callbacks.remove(collecting)
        timer.cancel()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


WHAT: dict[str, Callable[[int, int], dict[str, float]]] = {
    "each": each,
    "in_one": in_one,
    "late": late,
    "bare": bare,
}


def main() -> None:
    what, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if len(sys.argv) > 4:
        os.sched_setaffinity(0, {int(sys.argv[4])})
    print(json.dumps(WHAT[what](port, count)))


if __name__ == "__main__":
    main()
