"""The server of the benchmarks: whole answers made beforehand, written from a raw protocol.

Run as a process of its own: ``python server.py [core]``; it prints its port. It reads no more of a request than it
must, checks nothing, and is meant to be far faster than any client, which the run shows.

``POST /_world`` with ``{"servers": N, "delays": [low, high], "latency": S, "made": bool, "account": M}`` begins anew:
the k-th server that is created becomes active after its own delay, the same in every run, each answer takes ``latency``
seconds, and M other servers, which never change, stand first in every list.
``GET /_truth`` tells when each server became active, in monotonic seconds of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from bodies import SHAPES, encode, hcloud_action, hcloud_created, listed

SEED = 42
NAMED = re.compile(rb'"name": ?"web-server-(\d+)"')
ONE = 12345
OTHERS = 1_000_000
"""The ids of servers that were in the account before are greater than this."""
LISTS = (100, 1000, 10_000)


def answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def page(rows: list[bytes], more: int = 0) -> bytes:
    """A list; ``more`` is what the rows hold beyond one server each."""
    return b'{"count":%d,"results":[%s]}' % (len(rows) + more, b",".join(rows))


@functools.lru_cache(maxsize=1)
def others(count: int) -> list[bytes]:
    """The rows of servers that never change, joined once: a list of 100,000 is no work for each answer."""
    return [b",".join(encode(listed(OTHERS + number)) for number in ids(count))] if count else []


GETS = {
    "documented": "/api/v1/servers/{}/",
    "hcloud": "/hcloud/servers/{}",
    "scaleway": "/instance/v1/zones/fr-par-1/servers/{}",
    "droplet": "/v2/droplets/{}",
}


class World:
    """Servers over time; every answer about each of them is made before the first request."""

    def __init__(self) -> None:
        self.fixed: dict[bytes, bytes] = {
            GETS[shape].format(ONE).encode(): answer(encode(make(ONE))) for shape, make in SHAPES.items()
        }
        # the lists are answered in turn: from one to the next one server in a hundred changes
        self.lists: dict[bytes, list[bytes]] = {}
        for count in LISTS:
            before, after = (
                answer(page([encode(listed(number, states[number % 100 == 0])) for number in ids(count)]))
                for states in (("active", "active"), ("active", "provisioning"))
            )
            self.lists[b"/of%d/api/v1/servers/" % count] = [before, after]
        self.latency = 0.0
        self.ready_at: dict[int, float] = {}

    def begin(
        self, servers: int, delays: tuple[float, float], latency: float, made: bool, account: int = 0
    ) -> None:
        rng = random.Random(SEED)
        self.delays = [rng.uniform(*delays) for _ in range(servers)]
        self.latency = latency
        self.rows = [[encode(listed(n, status)) for status in STATES] for n in range(1, servers + 1)]
        self.others, self.more = others(account), max(account - 1, 0)
        self.ready_at = {}
        self.routes: dict[bytes, Callable[[bytes], bytes]] = {
            b"GET /api/v1/servers/": self.list,
            b"POST /api/v1/servers/": self.creator("documented"),
            b"POST /v2/droplets": self.creator("droplet"),
            b"POST /hcloud/servers": self.creator("hcloud"),
        }
        for number in range(1, servers + 1):
            for shape in ("documented", "droplet"):
                path = f"GET {GETS[shape].format(number)}".encode()
                self.routes[path] = self.shower(number, [encode(SHAPES[shape](number, s)) for s in STATES])
            actions = [encode({"action": hcloud_action(number, status)}) for status in STATES]
            self.routes[f"GET /hcloud/actions/{number}".encode()] = self.shower(number, actions)
        self.creations = {"hcloud": [answer(encode(hcloud_created(n)), "201 Created") for n in ids(servers)]}
        for shape, status in (("documented", "201 Created"), ("droplet", "202 Accepted")):
            made_now = (SHAPES[shape](n, "provisioning") for n in ids(servers))
            self.creations[shape] = [answer(encode(body), status) for body in made_now]
        if made:
            now = time.monotonic()
            self.ready_at = {
                number: now + delay for number, delay in zip(ids(servers), self.delays, strict=True)
            }

    def creator(self, shape: str) -> Callable[[bytes], bytes]:
        def create(body: bytes) -> bytes:
            # requests overtake each other, so the name says which server this is; an answer has the name asked for
            named = NAMED.search(body)
            assert named is not None, body
            number = int(named[1])
            self.ready_at[number] = time.monotonic() + self.delays[len(self.ready_at)]
            return self.creations[shape][number - 1]

        return create

    def shower(self, number: int, bodies: list[bytes]) -> Callable[[bytes], bytes]:
        answers = [answer(body) for body in bodies]
        return lambda _: answers[self.ready_at[number] <= time.monotonic()]

    def list(self, _: bytes) -> bytes:
        now = time.monotonic()
        rows = [self.rows[number - 1][at <= now] for number, at in self.ready_at.items()]
        return answer(page(self.others + rows, self.more))

    def control(self, path: bytes, body: bytes) -> bytes:
        if path == b"/_truth":
            return answer(encode({"ready_at": self.ready_at, "delays": self.delays}))
        self.begin(**json.loads(body))
        return answer(b"null")


STATES = ("provisioning", "active")


def ids(count: int) -> range:
    return range(1, count + 1)


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out, in order."""

    requests = connections = bytes_out = 0

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        self.world = world
        self.loop = loop
        self.rest = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        Connection.connections += 1

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data, self.rest = self.rest + data, b""
        while data:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                break
            body = 0
            if not data.startswith(b"GET"):
                head = data[:end].lower()
                at = head.find(b"content-length:")
                body = int(head[at + 15 : head.find(b"\r", at)]) if at >= 0 else 0
                if len(data) < end + body:
                    break
            target = data[: data.find(b" HTTP/")]
            self.reply(target, data[end : end + body])
            data = data[end + body :]
        self.rest = data

    def reply(self, target: bytes, body: bytes) -> None:
        Connection.requests += 1
        path = target.partition(b" ")[2]
        found = self.world.fixed.get(path)
        if found is not None:
            self.write(found)
        elif (turns := self.world.lists.get(path)) is not None:
            self.write(turns[0])
            turns.reverse()
        elif path.startswith(b"/_"):
            self.write(self.statistics() if path == b"/_statistics" else self.world.control(path, body))
        else:
            route = self.world.routes.get(target) or self.world.routes.get(target.partition(b"?")[0])
            found = route(body) if route else answer(b'{"detail":"no such path"}', "404 Not Found")
            self.loop.call_later(self.world.latency, self.write, found)

    def write(self, data: bytes) -> None:
        Connection.bytes_out += len(data)
        if not self.transport.is_closing():
            self.transport.write(data)

    def statistics(self) -> bytes:
        return answer(
            encode(
                {
                    "requests": Connection.requests,
                    "connections": Connection.connections,
                    "bytes": Connection.bytes_out,
                    "cpu": time.process_time(),
                }
            )
        )


async def serve() -> None:
    loop = asyncio.get_running_loop()
    world = World()
    server = await loop.create_server(lambda: Connection(world, loop), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], type(loop).__module__.partition(".")[0], flush=True)
    # it ends with the run that started it, however that ends
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    factory = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
