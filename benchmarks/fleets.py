"""Create-and-wait, each way in a process of its own: ``python fleets.py <way> <port> <count> [core] [--account N]``.

A small fleet comes first and is not counted: imports and whatever happens only once are no part of the figures. Then
the server is told to begin anew; the k-th server is ready after its own delay, the same for every way. What is printed
is what it cost: wall, CPU, how late each server was seen, requests, connections, memory. ``--account`` is the number of
other servers in the account. A way that ends with ``_uvloop`` runs on uvloop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import http.client
import importlib
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clients import BEARER, FLEET_WIDTH, TOKEN

DELAYS = (3.0, 6.0)
LATENCY = 0.02
THREADS = 64
POLL = 1.0
"""Seconds between two reads of a server, where each is read by itself; the usual default of libraries."""
LIST_PAUSE = 0.1
"""Seconds between two reads of the list, where one list is read for all."""
WARM_UP = 100
SHORT_DELAYS = (0.2, 0.4)
"""What the servers of a warm-up take, where nothing is learned from it."""

DURATIONS = os.path.join(tempfile.gettempdir(), f"vpsorg-benchmark-durations-{os.getpid()}.json")

Seen = dict[int, float]


class World:
    """What the ways know of the measurement: how soon a server can be ready, and the event loop to run on."""

    earliest = DELAYS[0]
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None


def run(work: Coroutine[Any, Any, Seen]) -> Seen:
    with asyncio.Runner(loop_factory=World.loop_factory) as runner:
        return runner.run(work)


def ask(port: int, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def begin(
    port: int, servers: int, delays: tuple[float, float] = DELAYS, made: bool = False, account: int = 0
) -> None:
    World.earliest = delays[0]
    world = {"servers": servers, "delays": delays, "latency": LATENCY, "made": made, "account": account}
    ask(port, "/_world", world)


def spec(number: int) -> dict[str, Any]:
    return {"name": f"web-server-{number + 1}", "plan_id": 1, "os_id": 5, "location": "us-west"}


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
            name=f"web-server-{number + 1}",
            server_type=ServerType(name="cx22"),
            image=Image(name="ubuntu-22.04"),
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
            answer = await client.droplets.create(
                body={"name": f"web-server-{number + 1}", **body}, enforce_https=False
            )
            made = answer["droplet"]["id"]
            while True:
                answer = await client.droplets.get(droplet_id=made, enforce_https=False)
                if answer["droplet"]["status"] == "active":
                    return int(made)
                await asyncio.sleep(POLL)

        async with client:
            return await gathered(count, one)

    return run(work())


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

    return run(work())


def aiohttp_shared(base: str, count: int) -> Seen:
    """The least that this costs: bare aiohttp, one list for all ten times a second, told when the first is ready.

    Nothing is checked, retried, bounded or remembered, and only ids and statuses are read.
    """
    import aiohttp
    import msgspec

    row = msgspec.defstruct("Row", [("id", int), ("status", str)])
    page = msgspec.defstruct("Page", [("results", list[row])])
    made, listed = msgspec.json.Decoder(row), msgspec.json.Decoder(page)
    seen: Seen = {}

    async def work() -> Seen:
        url = f"{base}/api/v1/servers/"
        connector = aiohttp.TCPConnector(limit=FLEET_WIDTH)
        async with aiohttp.ClientSession(headers=BEARER, connector=connector) as session:
            waiting: set[int] = set()

            async def create(number: int) -> None:
                async with session.post(url, json=spec(number)) as response:
                    waiting.add(made.decode(await response.read()).id)

            creating = asyncio.gather(*(create(number) for number in range(count)))
            await asyncio.sleep(World.earliest)
            while waiting or not creating.done():
                async with session.get(url) as response:
                    rows = listed.decode(await response.read()).results
                ready = {each.id for each in rows if each.status == "active"} & waiting
                seen.update(dict.fromkeys(ready, time.monotonic()))
                waiting -= ready
                await asyncio.sleep(LIST_PAUSE)
            await creating
        return seen

    return run(work())


def aiohttp_plain(base: str, count: int) -> Seen:
    """What most people would write: create all with aiohttp, then decode the whole list ten times a second."""
    import aiohttp

    seen: Seen = {}

    async def work() -> Seen:
        url = f"{base}/api/v1/servers/"
        connector = aiohttp.TCPConnector(limit=FLEET_WIDTH)
        async with aiohttp.ClientSession(headers=BEARER, connector=connector) as session:

            async def create(number: int) -> int:
                async with session.post(url, json=spec(number)) as response:
                    return int((await response.json())["id"])

            waiting = set(await asyncio.gather(*(create(number) for number in range(count))))
            while waiting:
                async with session.get(url) as response:
                    rows = (await response.json())["results"]
                ready = {row["id"] for row in rows if row["status"] == "active"} & waiting
                seen.update(dict.fromkeys(ready, time.monotonic()))
                waiting -= ready
                await asyncio.sleep(LIST_PAUSE)
        return seen

    return run(work())


def vpsorg(base: str, count: int, journal: str | None = None, **options: Any) -> Seen:
    """`fleet.create` of the SDK."""
    from vpsorg_async import Client, ServerSpec

    seen: Seen = {}

    async def work() -> Seen:
        specs = [ServerSpec(**spec(number)) for number in range(count)]
        async with (
            Client(TOKEN, base_url=base, **options) as vps,
            vps.fleet.creating(specs, timeout=60, journal=journal) as run,
        ):
            async for outcome in run:
                seen[outcome.server.id] = time.monotonic()
        run.report.raise_for_failures()
        return seen

    return run(work())


EAGER: dict[str, Any] = {"min_interval": 0.1, "max_in_flight": FLEET_WIDTH}
"""Polls down to a tenth of a second apart, and as many slots as aiohttp has by default."""


def vpsorg_cold(base: str, count: int) -> Seen:
    """`fleet.create`, knowing nothing but that the page says two to five minutes."""
    return vpsorg(base, count, **EAGER)


def vpsorg_learned(base: str, count: int) -> Seen:
    """The same in an account where one fleet has been seen before: its durations were kept in a file."""
    return vpsorg(base, count, **EAGER, durations_file=DURATIONS)


def vpsorg_journal(base: str, count: int) -> Seen:
    """The same with a journal, in a new file on the disk of the machine."""
    with tempfile.TemporaryDirectory() as folder:
        return vpsorg(base, count, f"{folder}/fleet.db", **EAGER, durations_file=DURATIONS)


WAYS: dict[str, Callable[[str, int], Seen]] = {
    "requests": requests_page,
    "hcloud": hcloud,
    "pydo": pydo,
    "aiohttp": aiohttp_gather,
    "aiohttp_plain": aiohttp_plain,
    "aiohttp_shared": aiohttp_shared,
    "vpsorg": vpsorg_learned,
    "vpsorg_journal": vpsorg_journal,
    "vpsorg_cold": vpsorg_cold,
    "vpsorg_default": vpsorg,
}
MODULES = {
    "requests": "requests",
    "hcloud": "hcloud",
    "pydo": "pydo.aio",
    "aiohttp": "aiohttp",
    "aiohttp_plain": "aiohttp",
    "aiohttp_shared": "aiohttp",
    "vpsorg": "vpsorg_async.http.transport",
    "vpsorg_journal": "vpsorg_async.http.transport",
    "vpsorg_cold": "vpsorg_async.http.transport",
    "vpsorg_default": "vpsorg_async.http.transport",
}
BLOCKING = ("requests", "hcloud")


def create_and_wait(way: str, port: int, count: int, account: int = 0) -> dict[str, float]:
    """One way, once, after its warm-up."""
    if way.endswith("_uvloop"):
        World.loop_factory = importlib.import_module("uvloop").new_event_loop
    way = way.removesuffix("_uvloop")
    importlib.import_module(MODULES[way])
    base, imported = f"http://127.0.0.1:{port}", peak()
    # what is learned must be true of the fleet that counts
    begin(port, WARM_UP, DELAYS if way in ("vpsorg", "vpsorg_journal") else SHORT_DELAYS)
    WAYS[way](base, WARM_UP)
    begin(port, count, account=account)
    gc.collect()
    before = ask(port, "/_statistics")
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


def peak() -> float:
    """Peak memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Create servers and wait for them, in one way.")
    parser.add_argument("way", choices=[*WAYS, *(f"{way}_uvloop" for way in WAYS if way not in BLOCKING)])
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("core", type=int, nargs="?", help="the core to stay on")
    parser.add_argument("--account", type=int, default=0, help="other servers in the account")
    given = parser.parse_args()
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    try:
        print(json.dumps(create_and_wait(given.way, given.port, given.count, given.account)))
    finally:
        with contextlib.suppress(OSError):
            os.remove(DURATIONS)


if __name__ == "__main__":
    main()
