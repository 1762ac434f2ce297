"""How late the last server of a fleet is noticed: ``python benchmarks/ends.py [--full] [--json] [--only SHAPE ...]``.

The real `Client` with its default settings creates fleets against a small service, both in virtual time, and the end of
`fleet.create` is divided by the ideal: the time at which the slowest server was really ready. Each seed plays two
fleets with one client: the first knows only the documentation (cold), the second what the first has shown. The same
seeds give the same figures on every machine. The short form takes one or two minutes, ``--full`` four times as long.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bodies import documented, encode, listed
from figures import END_LIMITS

from vpsorg_async import Client, ServerSpec
from vpsorg_async.virtual_time import LoopClock, VirtualTimeLoop

TOKEN = "vps_benchmark"
LATENCY = 0.02
FLEETS = ("cold", "second")
Draw = Callable[[random.Random], float]


def rarely_slow(rng: random.Random) -> float:
    """45 to 55 seconds, and four times as long for one in twenty."""
    return rng.uniform(45, 55) * (4 if rng.random() < 0.05 else 1)


SHAPES: dict[str, Draw] = {
    "3-6 s": lambda rng: rng.uniform(3, 6),
    "12-30 s": lambda rng: rng.uniform(12, 30),
    "20-60 s": lambda rng: rng.uniform(20, 60),
    "2-5 min": lambda rng: rng.uniform(120, 300),
    "2-5 min, peak": lambda rng: rng.triangular(120, 300, 180),
    "10-20 min": lambda rng: rng.uniform(600, 1200),
    "around 60 s": lambda rng: rng.lognormvariate(4.1, 0.35),
    "45-55 s, some 4x": rarely_slow,
}
SEEDS = {1: 24, 5: 12, 50: 6, 500: 2}
"""Servers in a fleet, and the seeds of each in the short form: a small fleet depends more on chance."""
EXTRA = {("3-6 s", 200): 4, ("3-6 s", 1000): 2}
"""Further fleets for which a limit is promised."""


@attrs.frozen
class End:
    """One fleet: its polls, its lags in order, and its end over the ideal."""

    polls: int
    lags: list[float]
    end: float


class Service:
    """The documented API, as far as a create needs it; each server is ready after a duration that is drawn."""

    def __init__(self, draw: Draw, rng: random.Random) -> None:
        self._draw, self._rng = draw, rng
        self.ready_at: dict[int, float] = {}
        self._names: dict[int, str] = {}
        app = web.Application()
        app.router.add_post("/api/v1/servers/", self._create)
        app.router.add_get("/api/v1/servers/", self._list)
        app.router.add_get("/api/v1/servers/{number}/", self._get)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def _shown(self, form: Callable[[int, str], dict[str, Any]], number: int) -> dict[str, Any]:
        done = asyncio.get_running_loop().time() >= self.ready_at[number]
        return form(number, "active" if done else "provisioning") | {"name": self._names[number]}

    async def _create(self, request: web.Request) -> web.Response:
        name = (await request.json())["name"]
        await asyncio.sleep(LATENCY / 2)
        number = len(self.ready_at) + 1
        self.ready_at[number] = asyncio.get_running_loop().time() + self._draw(self._rng)
        self._names[number] = name
        return await self._answer(self._shown(documented, number), 201)

    async def _list(self, _: web.Request) -> web.Response:
        await asyncio.sleep(LATENCY / 2)
        rows = [self._shown(listed, number) for number in self.ready_at]
        return await self._answer({"count": len(rows), "next": None, "results": rows})

    async def _get(self, request: web.Request) -> web.Response:
        await asyncio.sleep(LATENCY / 2)
        return await self._answer(self._shown(documented, int(request.match_info["number"])))

    async def _answer(self, body: object, status: int = 200) -> web.Response:
        await asyncio.sleep(LATENCY / 2)
        return web.Response(body=encode(body), status=status, content_type="application/json")


async def fleets(draw: Draw, servers: int, seed: int) -> list[End]:
    """Return two fleets of one client, one after the other."""
    service, now = Service(draw, random.Random(seed)), asyncio.get_running_loop().time
    ends = []
    async with service as url, Client(TOKEN, base_url=url, clock=LoopClock()) as vps:
        for number in range(len(FLEETS)):
            specs = [
                ServerSpec(name=f"web-{number}-{n}", plan_id=1, os_id=5, location="us-west")
                for n in range(servers)
            ]
            began, polled = now(), vps.statistics.lists + vps.statistics.singles
            lags = []
            async with vps.fleet.creating(specs, timeout=7200) as run:
                async for outcome in run:
                    assert outcome.server is not None
                    lags.append(now() - service.ready_at[int(outcome.server.id)])
            polls = vps.statistics.lists + vps.statistics.singles - polled
            ideal = max(list(service.ready_at.values())[-servers:]) - began
            ends.append(End(polls, sorted(lags), (now() - began) / ideal))
            # a fleet begins at any moment, not at one that fits the last one's polls
            await asyncio.sleep(random.Random(seed).uniform(60, 61))
    return ends


def row(shape: str, servers: int, seeds: int) -> list[dict[str, Any]]:
    """Return the figures of the cold and of the second fleet of that shape and size, over all seeds."""
    played = []
    for seed in range(seeds):
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            played.append(runner.run(fleets(SHAPES[shape], servers, seed)))
    rows = []
    for name, ends in zip(FLEETS, zip(*played, strict=True), strict=True):
        lags = sorted(lag for end in ends for lag in end.lags)
        rows.append(
            {
                "shape": shape,
                "servers": servers,
                "fleet": name,
                "polls": round(statistics.fmean(end.polls for end in ends)),
                "polls_most": max(end.polls for end in ends),
                "lag": round(statistics.fmean(lags), 2),
                "lag_p99": round(lags[int(0.99 * (len(lags) - 1))], 2),
                "end": round(statistics.fmean(end.end for end in ends), 4),
                "end_worst": round(max(end.end for end in ends), 4),
            }
        )
    return rows


def rows(factor: int = 1, only: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Return the figures of all shapes and sizes; ``factor`` times the seeds of the short form."""
    sizes = {(shape, servers): seeds for shape in SHAPES for servers, seeds in SEEDS.items()} | EXTRA
    wanted = set(only) or set(SHAPES)
    return [
        each
        for (shape, servers), seeds in sizes.items()
        if shape in wanted
        for each in row(shape, servers, seeds * factor)
    ]


def show(table: list[dict[str, Any]]) -> None:
    """Print the table, and the limits."""
    print(
        f"{'ready after':<18}{'servers':>8}  {'fleet':<8}{'polls':>6}{'lag':>9}{'99 %':>9}{'end':>8}{'worst':>8}"
    )
    for each in table:
        print(
            f"{each['shape']:<18}{each['servers']:>8,}  {each['fleet']:<8}{each['polls']:>6}{each['lag']:>7.2f} s"
            f"{each['lag_p99']:>7.2f} s{each['end']:>8.3f}{each['end_worst']:>8.3f}"
        )
    print()
    for each in END_LIMITS:
        if worst := each.worst(table):
            missed = "" if worst[each.figure] <= each.limit else "  MISSED"
            which = f"{worst['servers']:,} of {worst['shape']}"
            name = f"{each.figure}, {each.which}, at most"
            print(f"{name:<32}{each.limit:>7g}{worst[each.figure]:>9g}  ({which}){missed}")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--full", action="store_true", help="four times the seeds")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--only", nargs="+", choices=SHAPES, default=(), help="only these shapes")
    given = parser.parse_args()
    # imported now: the first client would import it in a thread, during which the virtual time would run on
    importlib.import_module("vpsorg_async.http.transport")
    table = rows(4 if given.full else 1, given.only)
    if given.json:
        print(json.dumps(table, indent=2))
    else:
        show(table)


if __name__ == "__main__":
    main()
