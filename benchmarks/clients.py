"""One client library in a process of its own, at the command of the run: ``python clients.py <name> <port> [core]``.

Each line on stdin is a piece of work, ``{"do": "get", "calls": 200, "at_once": 64}``; each line on stdout is what it
cost: wall and CPU seconds (user and system, all threads). All processes stay, warm and idle, while the others work.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from server import GETS, ONE

TOKEN = "vps_benchmark"
BEARER = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
WIDEST = 64
"""Connections that the clients of reads may have; for creates they have `FLEET_WIDTH`."""
FLEET_WIDTH = 100


class Sync:
    """A library that blocks: many calls at once are as many threads."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.pool = ThreadPoolExecutor(WIDEST)

    def get(self) -> object:
        raise NotImplementedError

    def list(self, count: int) -> object:
        raise NotImplementedError

    def run_get(self, calls: int, at_once: int) -> None:
        if at_once == 1:
            for _ in range(calls):
                self.get()
            return
        lanes = [
            self.pool.submit(lambda: [self.get() for _ in range(calls // at_once)]) for _ in range(at_once)
        ]
        for lane in lanes:
            lane.result()

    def run_list(self, count: int, calls: int) -> None:
        for _ in range(calls):
            self.list(count)


class Async:
    """A library for asyncio, on one loop for as long as the process lives."""

    uvloop = False

    def __init__(self, base: str) -> None:
        self.base = base
        factory = None
        if self.uvloop:
            import uvloop

            factory = uvloop.new_event_loop
        self.runner = asyncio.Runner(loop_factory=factory)
        self.stack = contextlib.AsyncExitStack()
        self.wait_for(self.open())

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    async def open(self) -> None:
        raise NotImplementedError

    def getter(self) -> Callable[[], Awaitable[object]]:
        raise NotImplementedError

    async def list(self, count: int) -> object:
        raise NotImplementedError

    def run_get(self, calls: int, at_once: int) -> None:
        async def lane(get: Callable[[], Awaitable[object]]) -> None:
            for _ in range(calls // at_once):
                await get()

        async def lanes() -> None:
            await asyncio.gather(*(lane(self.getter()) for _ in range(at_once)))

        self.wait_for(lanes() if at_once > 1 else lane(self.getter()))

    def run_list(self, count: int, calls: int) -> None:
        async def lists() -> None:
            for _ in range(calls):
                await self.list(count)

        self.wait_for(lists())


class Raw(Async):
    """The floor: bytes over a socket, no client at all. Shows what the server can do."""

    class Line(asyncio.Protocol):
        waiting: asyncio.Future[None]

        def connection_made(self, transport: Any) -> None:
            self.transport, self.got, self.size = transport, b"", 0

        def data_received(self, data: bytes) -> None:
            self.got = self.got + data if self.got else data
            if not self.size:
                end = self.got.find(b"\r\n\r\n") + 4
                at = self.got.find(b"Content-Length: ") + 16
                self.size = end + int(self.got[at : self.got.find(b"\r", at)])
            if len(self.got) >= self.size:
                self.got, self.size = b"", 0
                self.waiting.set_result(None)

    async def open(self) -> None:
        self.lines: list[Raw.Line] = []
        port = int(self.base.rpartition(":")[2])
        for _ in range(WIDEST):
            _, line = await asyncio.get_running_loop().create_connection(self.Line, "127.0.0.1", port)
            self.lines.append(line)
        self.free = list(self.lines)
        path = GETS["documented"].format(ONE)
        self.message = f"GET {path} HTTP/1.1\r\nHost: {self.base[7:]}\r\n\r\n".encode()

    def getter(self) -> Callable[[], Awaitable[object]]:
        self.free = self.free or list(self.lines)
        line, loop = self.free.pop(), self.runner.get_loop()

        def get() -> Awaitable[object]:
            line.waiting = loop.create_future()
            line.transport.write(self.message)
            return line.waiting

        return get


class Aiohttp(Async):
    """What a user would write: one session, ``resp.json()``."""

    limit = WIDEST

    async def open(self) -> None:
        import aiohttp

        connector = aiohttp.TCPConnector(limit=self.limit)
        self.session = await self.stack.enter_async_context(
            aiohttp.ClientSession(headers=BEARER, connector=connector)
        )
        self.url = self.base + GETS["documented"].format(ONE)

    async def answer(self, url: str) -> object:
        async with self.session.get(url) as response:
            return await response.json()

    def getter(self) -> Callable[[], Awaitable[object]]:
        return functools.partial(self.answer, self.url)

    async def list(self, count: int) -> object:
        return await self.answer(f"{self.base}/of{count}/api/v1/servers/")


class AiohttpTyped(Aiohttp):
    """aiohttp and msgspec, straight into the records of the SDK."""

    async def open(self) -> None:
        import msgspec

        from vpsorg_async import Server
        from vpsorg_async.dialects import Page

        await super().open()
        self.one = msgspec.json.Decoder(Server).decode
        self.page = msgspec.json.Decoder(Page).decode

    async def answer(self, url: str) -> object:
        async with self.session.get(url) as response:
            body = await response.read()
        return self.page(body) if "/of" in url else self.one(body)


class AiohttpRead(Aiohttp):
    """aiohttp, and the bytes left as they are."""

    async def answer(self, url: str) -> object:
        async with self.session.get(url) as response:
            return await response.read()


class Vpsorg(Async):
    """The SDK, every safety on."""

    in_flight = WIDEST

    async def client(self, base: str) -> Any:
        from vpsorg_async import Client

        return await self.stack.enter_async_context(
            Client(TOKEN, base_url=base, max_in_flight=self.in_flight)
        )

    async def open(self) -> None:
        self.vps = await self.client(self.base)
        self.others: dict[int, Any] = {}

    def getter(self) -> Callable[[], Awaitable[object]]:
        return functools.partial(self.vps.servers.get, ONE)

    async def of(self, count: int) -> Any:
        if count not in self.others:
            self.others[count] = await self.client(f"{self.base}/of{count}")
        return self.others[count]

    async def list(self, count: int) -> object:
        return await (await self.of(count)).servers.list()


class VpsorgPoll(Vpsorg):
    """One poll of the account for the waits, all that the poller does with it: one server in a hundred has changed."""

    async def list(self, count: int) -> object:
        reader = (await self.of(count))._runtime.poller._reader
        # as while there are waits: only then a list is kept to be compared with
        reader.keeps = True
        return await reader._read_list()


class VpsorgFirstPoll(VpsorgPoll):
    """The same where nothing is known from before: every status is new."""

    async def list(self, count: int) -> object:
        (await self.of(count))._runtime.account.forget_list()
        return await super().list(count)


class VpsorgDefault(Vpsorg):
    """The SDK as it is without any option: 32 requests at once."""

    in_flight = 32


class RawUvloop(Raw):
    uvloop = True


class AiohttpUvloop(Aiohttp):
    uvloop = True


class VpsorgUvloop(Vpsorg):
    uvloop = True


class Httpx(Async):
    """httpx.AsyncClient, ``response.json()``."""

    async def open(self) -> None:
        import httpx

        limits = httpx.Limits(max_connections=WIDEST, max_keepalive_connections=WIDEST)
        self.client = await self.stack.enter_async_context(httpx.AsyncClient(headers=BEARER, limits=limits))
        self.url = self.base + GETS["documented"].format(ONE)

    def getter(self) -> Callable[[], Awaitable[object]]:
        return functools.partial(self.answer, self.url)

    async def answer(self, url: str) -> object:
        return (await self.client.get(url)).json()

    async def list(self, count: int) -> object:
        return await self.answer(f"{self.base}/of{count}/api/v1/servers/")


class Requests(Sync):
    """As on the API's page: ``requests.get(url, headers=headers)``, ``response.json()``."""

    def get(self) -> object:
        import requests

        return requests.get(self.base + GETS["documented"].format(ONE), headers=BEARER).json()

    def list(self, count: int) -> object:
        import requests

        return requests.get(f"{self.base}/of{count}/api/v1/servers/", headers=BEARER).json()


class RequestsSession(Requests):
    """One `requests.Session`, with a connection for each thread."""

    def __init__(self, base: str) -> None:
        import requests

        super().__init__(base)
        self.session = requests.Session()
        self.session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=WIDEST))
        self.session.headers.update(BEARER)

    def get(self) -> object:
        return self.session.get(self.base + GETS["documented"].format(ONE)).json()


class Hcloud(Sync):
    """The vendor's own library of another provider: blocking, typed."""

    def __init__(self, base: str) -> None:
        import hcloud

        super().__init__(base)
        self.client = hcloud.Client(token=TOKEN, api_endpoint=f"{base}/hcloud")

    def get(self) -> object:
        return self.client.servers.get_by_id(ONE)


class Scaleway(Async):
    """Another one: async by name, blocking inside, typed."""

    async def open(self) -> None:
        from scaleway_async import Client
        from scaleway_async.instance.v1 import InstanceV1API

        nobody = "11111111-1111-1111-1111-111111111111"
        client = Client(
            access_key="SCWXXXXXXXXXXXXXXXXX",
            secret_key=nobody,
            default_project_id=nobody,
            default_zone="fr-par-1",
            default_region="fr-par",
            api_url=self.base,
        )
        self.api = InstanceV1API(client)

    def getter(self) -> Callable[[], Awaitable[object]]:
        return lambda: self.api.get_server(server_id=str(ONE), zone="fr-par-1")


class Pydo(Async):
    """Another one: truly async, over aiohttp; returns dictionaries."""

    async def open(self) -> None:
        from pydo.aio import Client

        self.client = Client(token=TOKEN, endpoint=self.base)

    def getter(self) -> Callable[[], Awaitable[object]]:
        return lambda: self.client.droplets.get(droplet_id=ONE, enforce_https=False)


CLIENTS: dict[str, type[Sync] | type[Async]] = {
    "raw": Raw,
    "raw_uvloop": RawUvloop,
    "aiohttp": Aiohttp,
    "aiohttp_read": AiohttpRead,
    "aiohttp_typed": AiohttpTyped,
    "aiohttp_uvloop": AiohttpUvloop,
    "vpsorg": Vpsorg,
    "vpsorg_default": VpsorgDefault,
    "vpsorg_poll": VpsorgPoll,
    "vpsorg_first_poll": VpsorgFirstPoll,
    "vpsorg_uvloop": VpsorgUvloop,
    "httpx": Httpx,
    "requests": Requests,
    "requests_session": RequestsSession,
    "hcloud": Hcloud,
    "scaleway": Scaleway,
    "pydo": Pydo,
}


def main() -> None:
    name, port = sys.argv[1:3]
    if len(sys.argv) > 3:
        os.sched_setaffinity(0, {int(sys.argv[3])})
    client = CLIENTS[name](f"http://127.0.0.1:{port}")
    print("ready", flush=True)
    for line in sys.stdin:
        work = json.loads(line)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        getattr(client, f"run_{work.pop('do')}")(**work)
        cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        print(json.dumps(cost), flush=True)
    # nothing is worth a tidy end: the sockets go with the process
    os._exit(0)


if __name__ == "__main__":
    main()
