"""Create-and-wait and many waiters, each in a process of its own: ``python fleets.py <way> <port> <count> [core]``.

The server is told to begin anew; the k-th server is ready after its own delay, the same for every way. What is printed
is what it cost: wall, CPU (imports excluded), how late each server was seen, requests, connections, memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import importlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clients import BEARER, FLEET_WIDTH, TOKEN

DELAYS = (3.0, 6.0)
LATENCY = 0.02
THREADS = 64
POLL = 1.0
"""Seconds between two reads of a server, where each is read by itself; the usual default of libraries."""

DURATIONS = os.path.join(tempfile.gettempdir(), f"vpsorg-benchmark-durations-{os.getpid()}.json")

Seen = dict[int, float]


def ask(port: int, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def begin(port: int, servers: int, delays: tuple[float, float] = DELAYS, made: bool = False) -> None:
    ask(port, "/_world", {"servers": servers, "delays": delays, "latency": LATENCY, "made": made})


def spec(number: int) -> dict[str, Any]:
    return {"name": f"web-server-{number}", "plan_id": 1, "os_id": 5, "location": "us-west"}


def with_threads(count: int, one: Callable[[int], int]) -> Seen:
    seen: Seen = {}

    def whole(number: int) -> None:
        made = one(number)
        seen[made] = time.monotonic()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(whole, range(count)))
    return seen


def requests_page(base: str, count: int) -> Seen:
    """As the API's page shows it: `requests.post`, then `requests.get` each second, 64 threads."""
    import requests

    url = f"{base}/api/v1/servers/"

    def one(number: int) -> int:
        made = requests.post(url, headers=BEARER, json=spec(number)).json()["id"]
        while requests.get(f"{url}{made}/", headers=BEARER).json()["status"] != "active":
            time.sleep(POLL)
        return int(made)

    return with_threads(count, one)


def hcloud(base: str, count: int) -> Seen:
    """hcloud's own way: create, then `action.wait_until_finished`, 64 threads."""
    from hcloud import Client
    from hcloud.images import Image
    from hcloud.server_types import ServerType

    client = Client(token=TOKEN, api_endpoint=f"{base}/hcloud")

    def one(number: int) -> int:
        made = client.servers.create(
            name=f"web-server-{number}", server_type=ServerType(name="cx22"), image=Image(name="ubuntu-22.04")
        )
        made.action.wait_until_finished()
        return int(made.server.id)

    return with_threads(count, one)


def gathered(count: int, one: Callable[[int], Any]) -> Any:
    seen: Seen = {}

    async def whole(number: int) -> None:
        made = await one(number)
        seen[made] = time.monotonic()

    async def together() -> Seen:
        await asyncio.gather(*(whole(number) for number in range(count)))
        return seen

    return together()


def pydo(base: str, count: int) -> Seen:
    """pydo.aio, gathered: create, then read each by itself every second."""
    from pydo.aio import Client

    async def work() -> Seen:
        client = Client(token=TOKEN, endpoint=base)
        body = {"region": "nyc3", "size": "s-2vcpu-4gb", "image": "ubuntu-22-04-x64"}

        async def one(number: int) -> int:
            answer = await client.droplets.create(body={"name": f"web-{number}", **body}, enforce_https=False)
            made = answer["droplet"]["id"]
            while True:
                answer = await client.droplets.get(droplet_id=made, enforce_https=False)
                if answer["droplet"]["status"] == "active":
                    return int(made)
                await asyncio.sleep(POLL)

        async with client:
            return await gathered(count, one)

    return asyncio.run(work())


def aiohttp_gather(base: str, count: int) -> Seen:
    """Bare aiohttp, gathered: create, then read each by itself every second."""
    import aiohttp

    async def work() -> Seen:
        url = f"{base}/api/v1/servers/"
        connector = aiohttp.TCPConnector(limit=FLEET_WIDTH)
        async with aiohttp.ClientSession(headers=BEARER, connector=connector) as session:

            async def one(number: int) -> int:
                async with session.post(url, json=spec(number)) as response:
                    made = (await response.json())["id"]
                while True:
                    async with session.get(f"{url}{made}/") as response:
                        if (await response.json())["status"] == "active":
                            return int(made)
                    await asyncio.sleep(POLL)

            return await gathered(count, one)

    return asyncio.run(work())


def vpsorg(base: str, count: int, **options: Any) -> Seen:
    """`fleet.create` of the SDK."""
    from vpsorg_async import Client, ServerSpec

    seen: Seen = {}

    async def work() -> Seen:
        specs = [ServerSpec(**spec(number)) for number in range(count)]
        async with (
            Client(TOKEN, base_url=base, **options) as vps,
            vps.fleet.creating(specs, timeout=60) as run,
        ):
            async for outcome in run:
                seen[outcome.server.id] = time.monotonic()
        run.report.raise_for_failures()
        return seen

    return asyncio.run(work())


EAGER: dict[str, Any] = {"min_interval": 0.1, "max_in_flight": FLEET_WIDTH}
"""Looks down to a tenth of a second apart, and as many places as aiohttp has by default."""


def vpsorg_cold(base: str, count: int) -> Seen:
    """`fleet.create`, knowing nothing but that the page says two to five minutes."""
    return vpsorg(base, count, **EAGER)


def vpsorg_learned(base: str, count: int) -> Seen:
    """The same in an account where one fleet has been seen before: its durations were kept in a file."""
    return vpsorg(base, count, **EAGER, durations_file=DURATIONS)


WAYS: dict[str, Callable[[str, int], Seen]] = {
    "requests": requests_page,
    "hcloud": hcloud,
    "pydo": pydo,
    "aiohttp": aiohttp_gather,
    "vpsorg": vpsorg_learned,
    "vpsorg_cold": vpsorg_cold,
    "vpsorg_default": vpsorg,
}
MODULES = {
    "requests": "requests",
    "hcloud": "hcloud",
    "pydo": "pydo.aio",
    "aiohttp": "aiohttp",
    "vpsorg": "vpsorg_async.http.transport",
    "vpsorg_cold": "vpsorg_async.http.transport",
    "vpsorg_default": "vpsorg_async.http.transport",
}


def create_and_wait(way: str, port: int, count: int) -> dict[str, float]:
    """One way, once."""
    importlib.import_module(MODULES[way])
    base = f"http://127.0.0.1:{port}"
    if way == "vpsorg":
        begin(port, 100)
        vpsorg_learned(base, 100)
    begin(port, count)
    before, imported = ask(port, "/_statistics"), peak()
    began, cpu = time.monotonic(), time.process_time()
    seen = WAYS[way](base, count)
    cost = {"wall": time.monotonic() - began, "cpu": time.process_time() - cpu}
    after, ready = ask(port, "/_statistics"), ask(port, "/_truth")
    lags = sorted(seen[int(number)] - at for number, at in ready["ready_at"].items())
    return cost | {
        "ideal": max(ready["delays"]) + LATENCY,
        "lag_mean": statistics.fmean(lags),
        "lag_p99": lags[min(int(0.99 * len(lags)), len(lags) - 1)],
        # the request for the statistics is one of them
        "reads": after["requests"] - before["requests"] - 1 - count,
        "connections": after["connections"] - before["connections"] - 1,
        "megabytes": (after["bytes"] - before["bytes"]) / 1e6,
        "peak": peak(),
        "peak_imported": imported,
    }


def waiters(_: str, port: int, count: int) -> dict[str, float]:
    """Many `wait_until` at once on one client: what each holds, what a look costs, how long the loop stands still."""
    from vpsorg_async import Client

    base = f"http://127.0.0.1:{port}"
    found: dict[str, float] = {}

    async def waits(vps: Any, numbers: Iterator[int]) -> list[asyncio.Task[Any]]:
        tasks = []
        for number in numbers:
            tasks.append(asyncio.ensure_future(vps.wait_until(number, "active", timeout=300)))
            if number % 50 == 0:
                await asyncio.sleep(0)
        return tasks

    async def at_rest() -> None:
        """Nothing happens for twelve looks."""
        begin(port, count, (600, 900), made=True)
        async with Client(TOKEN, base_url=base, min_interval=0.25, max_interval=0.25) as vps:
            await vps.servers.get(1)
            gc.collect()
            before = resident()
            tasks = await waits(vps, iter(range(1, count + 1)))
            poller = vps._parts.poller
            await looked(poller, 2)
            gc.collect()
            found["bytes"] = (resident() - before) / count
            cpu, lists = time.process_time(), poller.statistics.lists
            await looked(poller, lists + 12)
            found["cpu_per_look"] = (time.process_time() - cpu) / (poller.statistics.lists - lists)
            await stop(tasks)

    async def to_the_end(watched: bool) -> None:
        """All become active, over six seconds."""
        begin(port, count, (2, 8), made=True)
        async with Client(TOKEN, base_url=base, min_interval=0.25, max_interval=0.25) as vps:
            await vps.servers.get(1)
            gc.collect()
            tasks = await waits(vps, iter(range(1, count + 1)))
            await asyncio.sleep(0)
            if watched:
                with stalls() as (longest, collections):
                    await asyncio.gather(*tasks)
                found["stall"], found["collection"] = max(longest), max(collections)
                return
            cpu = time.process_time()
            await asyncio.gather(*tasks)
            found["cpu_per_look_all"] = (time.process_time() - cpu) / vps._parts.poller.statistics.lists
            found["looks"] = vps._parts.poller.statistics.lists

    asyncio.run(at_rest())
    asyncio.run(to_the_end(False))
    asyncio.run(to_the_end(True))
    return found


def waiters_in_one(_: str, port: int, count: int) -> dict[str, float]:
    """As many in one `wait_until_all`, which needs no task for each; what each holds."""
    from vpsorg_async import Client

    async def work() -> dict[str, float]:
        begin(port, count, (600, 900), made=True)
        options = {"min_interval": 0.25, "max_interval": 0.25}
        async with Client(TOKEN, base_url=f"http://127.0.0.1:{port}", **options) as vps:
            await vps.servers.get(1)
            gc.collect()
            before = resident()
            outcomes = vps.wait_until_all(range(1, count + 1), "active", timeout=300)
            task = asyncio.ensure_future(anext(outcomes))
            await looked(vps._parts.poller, 3)
            gc.collect()
            found = {"bytes_all": (resident() - before) / count}
            await stop([task])
            return found

    return asyncio.run(work())


async def looked(poller: Any, lists: int) -> None:
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


def peak() -> float:
    """Peak memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main() -> None:
    way, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if len(sys.argv) > 4:
        os.sched_setaffinity(0, {int(sys.argv[4])})
    measure = {"waiters": waiters, "waiters_in_one": waiters_in_one}.get(way, create_and_wait)
    try:
        print(json.dumps(measure(way, port, count)))
    finally:
        with contextlib.suppress(OSError):
            os.remove(DURATIONS)


if __name__ == "__main__":
    main()
