"""What is measured. Everything that is compared runs turn about in one run, in random order, and is told as ratios.

A *sitting* starts every process anew; a *round* gives each of them the same piece of work. The ratio of two libraries
is the median over all rounds of what the one cost by what the other cost in the same round.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import simulate_waits
from clients import FLEET_WIDTH, WIDEST
from imports import size
from machine import CLIENT_CORE, Client, Server, once
from peers import Peers

OURS = ("raw", "aiohttp", "aiohttp_read", "aiohttp_typed", "vpsorg", "vpsorg_default")
ON_UVLOOP = ("raw_uvloop", "aiohttp_uvloop", "vpsorg_uvloop")
THEIRS = ("httpx", "requests", "requests_session", "hcloud", "scaleway", "pydo")
LISTS = ("aiohttp", "aiohttp_read", "aiohttp_typed", "vpsorg", "vpsorg_poll", "vpsorg_first_poll")
LISTS_THEIRS = ("httpx", "requests")

Table = dict[str, dict[str, Any]]


@attrs.frozen
class Amount:
    """How much is done."""

    sittings: int
    rounds: int
    gets: int
    gets_at_once: int
    lists: dict[int, int]
    fleets: dict[int, dict[str, int]]
    waiters: tuple[int, ...]
    imports: int


OWN = dict.fromkeys(("vpsorg", "vpsorg_cold", "vpsorg_default"), 3)
FULL = Amount(
    sittings=3,
    rounds=5,
    gets=150,
    gets_at_once=640,
    lists={100: 50, 1000: 5, 10_000: 2},
    fleets={
        50: OWN | dict.fromkeys(("requests", "hcloud", "pydo", "aiohttp", "aiohttp_shared"), 2),
        200: OWN | dict.fromkeys(("requests", "hcloud", "pydo", "aiohttp", "aiohttp_shared"), 2),
        # the two that hold a thread for each server take a minute and a half
        1000: OWN | {"requests": 1, "hcloud": 1, "pydo": 2, "aiohttp": 2, "aiohttp_shared": 3},
    },
    waiters=(1000, 10_000),
    imports=15,
)
QUICK = Amount(
    sittings=1,
    rounds=5,
    gets=50,
    gets_at_once=192,
    # an even number for the longest: every other answer differs
    lists={100: 20, 1000: 3, 10_000: 2},
    fleets={
        50: dict.fromkeys(("requests", "hcloud", "pydo", "vpsorg"), 1),
        1000: dict.fromkeys(("aiohttp", "aiohttp_shared", "vpsorg"), 1),
    },
    waiters=(10_000,),
    imports=3,
)


class Run:
    """One run of the benchmarks."""

    def __init__(self, amount: Amount, peers: Peers) -> None:
        self.amount = amount
        self.peers = peers
        self.rng = random.Random()

    def python(self, name: str) -> str:
        if name in THEIRS:
            assert self.peers.python is not None
            return self.peers.python
        return sys.executable

    def available(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in THEIRS or self.peers.python]

    def capacity(self) -> dict[str, Any]:
        """How many requests the server answers, asked by a client that does nothing with the answers."""
        asker = "raw_uvloop" if has_uvloop() else "raw"
        server = Server()
        client = Client(sys.executable, asker, server.port)
        try:
            costs = [client.ask(do="get", calls=20_000, at_once=WIDEST) for _ in range(3)]
        finally:
            client.close()
            server.close()
        return {"per_second": 20_000 / min(cost["wall"] for cost in costs), "loop": server.loop}

    def gets(self) -> dict[str, Table]:
        """One server, one read after another, and 64 at once."""
        names = self.available((*OURS, *(ON_UVLOOP if has_uvloop() else ()), *THEIRS))
        found = {}
        for at_once, calls in ((1, self.amount.gets), (WIDEST, self.amount.gets_at_once)):
            work = {"do": "get", "calls": calls, "at_once": at_once}
            found[str(at_once)] = self.compare(names, work, calls, against="aiohttp")
        return found

    def lists(self) -> dict[str, Table]:
        """Lists of several lengths, and the poll that the waits share."""
        found = {}
        for count, calls in self.amount.lists.items():
            work = {"do": "list", "count": count, "calls": calls}
            names = self.available((*LISTS, *LISTS_THEIRS))
            table = self.compare(names, work, calls, against="aiohttp_typed", also="aiohttp_read")
            found[str(count)] = table
        return found

    def compare(
        self, names: Sequence[str], work: dict[str, Any], calls: int, *, against: str, also: str | None = None
    ) -> Table:
        """The same work by each; microseconds for one call, and ratios of those in the same round."""
        rounds: list[dict[str, dict[str, float]]] = []
        for _ in range(self.amount.sittings):
            server = Server()
            clients: dict[str, Client] = {}
            try:
                for name in names:
                    clients[name] = Client(self.python(name), name, server.port)
                for client in clients.values():
                    client.ask(**work)
                for _ in range(self.amount.rounds):
                    order = self.rng.sample(names, len(names))
                    rounds.append({name: clients[name].ask(**work) for name in order})
            finally:
                for client in clients.values():
                    client.close()
                server.close()
        table: Table = {}
        for name in names:
            table[name] = {
                "cpu": statistics.median(costs[name]["cpu"] for costs in rounds) / calls * 1e6,
                "wall": statistics.median(costs[name]["wall"] for costs in rounds) / calls * 1e6,
                "cpu_ratio": ratio(rounds, name, against, "cpu"),
                "wall_ratio": ratio(rounds, name, against, "wall"),
                "cpu_spread": spread(rounds, name, against),
            }
            if also is not None:
                table[name][f"cpu_by_{also}"] = ratio(rounds, name, also, "cpu")
        return table

    def fleets(self) -> dict[str, Table]:
        """Create so many and wait until each is active, each way in turn."""
        found: dict[str, Table] = {}
        for count, ways in self.amount.fleets.items():
            costs: dict[str, list[dict[str, float]]] = {way: [] for way in self.available(list(ways))}
            for number in range(max(ways.values())):
                for way in self.rng.sample(list(costs), len(costs)):
                    if number < ways[way]:
                        costs[way].append(self.alone("fleets.py", way, count))
            found[str(count)] = {
                way: medians(several) | {"rounds": len(several)} for way, several in costs.items()
            }
        return found

    def waiters(self) -> Table:
        """Many waits on one client."""
        rounds = 1 if self.amount is QUICK else 3
        found: Table = {}
        for count in self.amount.waiters:
            found[str(count)] = {}
            for what in ("each", "in_one", "late", "bare"):
                costs = [self.alone("waiters.py", what, count) for _ in range(rounds)]
                found[str(count)] |= medians(costs)
        return found

    def alone(self, script: str, way: str, count: int) -> dict[str, float]:
        server = Server()
        try:
            return dict(once(self.python(way), script, way, server.port, str(count), *CLIENT_CORE))
        finally:
            server.close()

    def simulation(self) -> list[dict[str, Any]]:
        """How often, and how late, the schedules of other libraries and ours poll, on a virtual clock."""
        return [row for servers in simulate_waits.SIZES for row in simulate_waits.rows(servers)]

    def imports(self) -> dict[str, Any]:
        """Milliseconds of a fresh interpreter, beyond those of one that does nothing (``bare``); megabytes on disk."""
        ours = {
            "vpsorg_async": "import vpsorg_async",
            "vpsorg_async, Client": "from vpsorg_async import Client",
            "vpsorg_async, a client opened": OPENED,
            "aiohttp": "import aiohttp",
            "vpsorg --version": "$ vpsorg --version",
        }
        theirs = {
            "httpx": "import httpx",
            "requests": "import requests",
            "hcloud": "import hcloud",
            "scaleway-async": "import scaleway_async.instance.v1",
            "pydo": "import pydo.aio",
        }
        times = self.timed(sys.executable, ours)
        bare = times.pop("pass")
        sizes = {"vpsorg-async": size("vpsorg-async")}
        if self.peers.python:
            times |= self.timed(self.peers.python, theirs)
            del times["pass"]
            sizes |= once(self.peers.python, "imports.py", "size", *theirs)
        return {"bare": bare, "milliseconds": times, "installed": sizes}

    def timed(self, python: str, statements: dict[str, str]) -> dict[str, dict[str, float]]:
        raw = once(python, "imports.py", "time", str(self.amount.imports), "pass", *statements.values())
        bare = {kind: statistics.median(raw["pass"][kind]) * 1e3 for kind in ("wall", "cpu")}
        return {"pass": bare} | {
            name: {kind: statistics.median(raw[code][kind]) * 1e3 - bare[kind] for kind in ("wall", "cpu")}
            for name, code in statements.items()
        }


OPENED = """
import asyncio
from vpsorg_async import Client
async def main():
    async with Client("vps_benchmark", base_url="http://127.0.0.1:9"):
        pass
asyncio.run(main())
"""


def has_uvloop() -> bool:
    try:
        import uvloop
    except ImportError:
        return False
    return bool(uvloop)


def ratio(rounds: list[dict[str, dict[str, float]]], name: str, against: str, kind: str) -> float:
    return statistics.median(costs[name][kind] / costs[against][kind] for costs in rounds)


def spread(rounds: list[dict[str, dict[str, float]]], name: str, against: str) -> tuple[float, float]:
    """The quartiles of the ratio."""
    ratios = sorted(costs[name]["cpu"] / costs[against]["cpu"] for costs in rounds)
    return ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]


def medians(several: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in several) for key in several[0]}


PARTS: dict[str, Callable[[Run], Any]] = {
    "server": Run.capacity,
    "get": Run.gets,
    "list": Run.lists,
    "fleet": Run.fleets,
    "waiters": Run.waiters,
    "simulation": Run.simulation,
    "import": Run.imports,
}

assert FLEET_WIDTH >= WIDEST
