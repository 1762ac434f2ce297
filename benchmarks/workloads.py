"""What is measured. Everything that is compared runs turn about in one run, in random order, and is told as ratios.

A *sitting* starts every process anew; a *round* gives each of them the same piece of work. The ratio of two libraries
is the median over all rounds of what the one cost by what the other cost in the same round.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import simulate_waits
from amounts import Amount
from clients import FLEET_WIDTH, WIDEST
from environments import NewerPython, Peers
from imports import size
from machine import CLIENT_CORE, Client, Server, once
from plans import plan_cost
from ratios import Costs, Fleet, fleet_table, medians, ratio, spread

OURS = ("raw", "aiohttp", "aiohttp_read", "aiohttp_typed", "vpsorg", "vpsorg_default")
ON_UVLOOP = ("raw_uvloop", "aiohttp_uvloop", "vpsorg_uvloop")
THEIRS = ("httpx", "requests", "requests_session", "hcloud", "scaleway", "pydo")
LISTS = ("aiohttp", "aiohttp_read", "aiohttp_typed", "vpsorg", "vpsorg_poll", "vpsorg_first_poll")
LISTS_THEIRS = ("httpx", "requests")
BY_HAND_AND_OURS = ("aiohttp_shared", "vpsorg")
HERE_AND_NEWER = ("", "@newer")

Table = dict[str, dict[str, Any]]


class Run:
    """One run of the benchmarks."""

    def __init__(self, amount: Amount, peers: Peers, newer: NewerPython) -> None:
        self.amount = amount
        self.peers = peers
        self.newer = newer
        self.rng = random.Random()

    def python(self, name: str) -> str:
        if name.endswith("@newer"):
            assert self.newer.python is not None
            return self.newer.python
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
        for count in self.amount.lists:
            names = self.available((*LISTS, *LISTS_THEIRS))
            found[str(count)] = self.list_table(names, count, also="aiohttp_read")
        return found

    def list_table(self, names: Sequence[str], count: int, also: str | None = None) -> Table:
        calls = self.amount.lists[count]
        work = {"do": "list", "count": count, "calls": calls}
        return self.compare(names, work, calls, against="aiohttp_typed", also=also)

    def compare(
        self, names: Sequence[str], work: dict[str, Any], calls: int, *, against: str, also: str | None = None
    ) -> Table:
        """The same work by each; microseconds for one call, and ratios of those in the same round.

        What runs on another interpreter is held against ``against`` on that one.
        """
        rounds: list[dict[str, dict[str, float]]] = []
        for _ in range(self.amount.sittings):
            server = Server()
            clients: dict[str, Client] = {}
            try:
                for name in names:
                    clients[name] = Client(self.python(name), name.partition("@")[0], server.port)
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
            beside = "".join((against, *name.partition("@")[1:]))
            table[name] = {
                "cpu": statistics.median(costs[name]["cpu"] for costs in rounds) / calls * 1e6,
                "wall": statistics.median(costs[name]["wall"] for costs in rounds) / calls * 1e6,
                "cpu_ratio": ratio(rounds, name, beside, "cpu"),
                "wall_ratio": ratio(rounds, name, beside, "wall"),
                "cpu_spread": spread(rounds, name, beside),
            }
            if also is not None:
                table[name][f"cpu_by_{also}"] = ratio(rounds, name, also, "cpu")
        return table

    def fleets(self) -> dict[str, Table]:
        """Create so many and wait until each is active, each way in turn."""
        found = {}
        for count, ways in self.amount.fleets.items():
            usable = [
                way for way in self.available(list(ways)) if has_uvloop() or not way.endswith("_uvloop")
            ]
            rounds = self.fleet_rounds({Fleet(way, count): ways[way] for way in usable})
            found[str(count)] = fleet_table(rounds, count)
        return found

    def growth(self) -> dict[str, Table]:
        """Fleets of several sizes, by hand and ours."""
        rounds = self.fleet_rounds(
            {
                Fleet(way, count): times
                for count, times in self.amount.growth.items()
                for way in BY_HAND_AND_OURS
            }
        )
        return {str(count): fleet_table(rounds, count) for count in self.amount.growth}

    def accounts(self) -> dict[str, Table]:
        """A fleet of 100 in accounts of several sizes, by hand and ours."""
        found = {}
        for others, times in self.amount.accounts.items():
            rounds = self.fleet_rounds({Fleet(way, 100, others): times for way in BY_HAND_AND_OURS})
            found[str(others)] = fleet_table(rounds, 100, others)
        return found

    def fleet_rounds(self, fleets: Mapping[Fleet, int]) -> list[dict[Fleet, Costs]]:
        """So many rounds of each; in a round, one runs after the other, in random order."""
        rounds = []
        for number in range(max(fleets.values(), default=0)):
            order = [fleet for fleet, times in fleets.items() if number < times]
            self.rng.shuffle(order)
            rounds.append({fleet: self.fleet(fleet) for fleet in order})
        return rounds

    def fleet(self, fleet: Fleet) -> Costs:
        return self.alone("fleets.py", fleet.way, fleet.count, "--account", str(fleet.account))

    def newer_python(self) -> dict[str, Any]:
        """Reads, a list and a fleet on a newer Python, beside those on this one."""
        found: dict[str, Any] = {"why": self.newer.why, "version": self.newer.version}
        if self.newer.python is None:
            return found

        def on_both(*names: str) -> list[str]:
            return [name + python for python in HERE_AND_NEWER for name in names]

        calls = self.amount.gets_at_once
        work = {"do": "get", "calls": calls, "at_once": WIDEST}
        rounds = self.fleet_rounds({Fleet(way, 1000): 3 for way in on_both(*BY_HAND_AND_OURS)})
        return found | {
            "get": self.compare(on_both("aiohttp", "vpsorg"), work, calls, against="aiohttp"),
            "list": self.list_table(on_both("aiohttp_typed", "vpsorg"), 1000),
            "fleet": fleet_table(rounds, 1000),
        }

    def waiters(self) -> Table:
        """Many waits on one client."""
        found: Table = {}
        for count, rounds in self.amount.waiters.items():
            found[str(count)] = {}
            for what in ("each", "in_one", "late", "bare"):
                costs = [self.alone("waiters.py", what, count) for _ in range(rounds)]
                found[str(count)] |= medians(costs)
        return found

    def alone(self, script: str, way: str, count: int, *options: str) -> Costs:
        server = Server()
        try:
            name = way.partition("@")[0]
            return dict(once(self.python(way), script, name, server.port, str(count), *CLIENT_CORE, *options))
        finally:
            server.close()

    def ends(self) -> list[dict[str, Any]]:
        """How late the last server of a fleet is noticed by the real client, in virtual time."""
        only = ["--only", *self.amount.ends] if self.amount.ends else []
        return list(once(sys.executable, "ends.py", "--json", *only))

    def simulation(self) -> list[dict[str, Any]]:
        """How often, and how late, the schedules of other libraries and ours poll, on a virtual clock."""
        return [row for servers in simulate_waits.SIZES for row in simulate_waits.rows(servers)]

    def plans(self) -> dict[str, Any]:
        return {"5000": plan_cost(5000)}

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


PARTS: dict[str, Callable[[Run], Any]] = {
    "server": Run.capacity,
    "get": Run.gets,
    "list": Run.lists,
    "fleet": Run.fleets,
    "growth": Run.growth,
    "account": Run.accounts,
    "python": Run.newer_python,
    "waiters": Run.waiters,
    "ends": Run.ends,
    "simulation": Run.simulation,
    "plan": Run.plans,
    "import": Run.imports,
}

assert FLEET_WIDTH >= WIDEST
