"""What waiting costs: the default schedules of other SDKs beside this one, on a virtual clock.

``python benchmarks/simulate_waits.py [--json] [--svg FILE]``. Servers become ready after 2 to 5 minutes, most of them
after 3 (triangular). Each schedule is played from its published source: per server unless said otherwise. The lag is
the time from ready to noticed; for those that wait for all at once, the time after the last. The end is the time at
which the last server was noticed, divided by the time at which it was ready. Time limits of their own are left out,
though several would give up before two minutes. Ours is the real `Schedule`, cold and after one fleet; ``ends.py``
plays the real client, over other durations too.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.durations import Durations
from vpsorg_async.lifecycle.schedule import Schedule

SEEDS = 20
SIZES = (1, 50, 1000)

Ages = Callable[[random.Random], Iterator[float]]
Played = tuple[int, list[float], float]
"""Requests, lags, and the end."""


def every(seconds: float, first: float | None = None) -> Ages:
    def ages(_: random.Random) -> Iterator[float]:
        return itertools.count(seconds if first is None else first, seconds)

    return ages


def growing(first: float, factor: float, longest: float, *, jitter: bool = False) -> Ages:
    def ages(rng: random.Random) -> Iterator[float]:
        age, pause = 0.0, first
        while True:
            yield age
            age += rng.uniform(0.0, pause) if jitter else pause
            pause = min(pause * factor, longest)

    return ages


def linear(first: float, until: float, longest: float, over: float) -> Ages:
    """Constant at first, then growing evenly with the age."""

    def ages(_: random.Random) -> Iterator[float]:
        age = 0.0
        while True:
            yield age
            share = min(max(age - until, 0.0) / (over - until), 1.0)
            age += first + (longest - first) * share

    return ages


def drawn(longest: float) -> Ages:
    """Full random exponential pauses."""

    def ages(rng: random.Random) -> Iterator[float]:
        age = 0.0
        for step in itertools.count(1):
            age += min(rng.uniform(1.0, 2.0 ** min(step - 1, 30)), longest)
            yield age

    return ages


# name -> (ages at which it polls, servers in one request; 0: all of them, and done only when all are)
PEERS: dict[str, tuple[Ages, int]] = {
    "hcloud-python": (every(1.0, 0.0), 1),
    "openstacksdk": (every(2.0, 0.0), 1),
    "linode_api4": (every(5.0, 0.0), 1),
    "exoscale": (linear(3.0, 30.0, 60.0, 900.0), 1),
    "google-api-core": (growing(1.0, 1.5, 20.0, jitter=True), 1),
    "terraform": (growing(0.2, 2.0, 10.0), 1),
    "upcloud": (every(10.0), 1),
    "hcloud-go": (every(0.5), 25),
    "oci": (growing(1.0, 2.0, 30.0), 1),
    "scaleway": (drawn(30.0), 1),
    "azure": (every(30.0, 0.0), 1),
    "libcloud (all or nothing)": (every(5.0, 0.0), 0),
    "boto3 EC2 (all or nothing)": (every(15.0, 0.0), 0),
}


def peer(ages: Ages, together: int, ready: list[float], rng: random.Random) -> Played:
    """Play a schedule from its published source."""
    last, end = max(ready), 0.0
    if together == 0:
        for requests, age in enumerate(ages(rng), 1):
            if age >= last:
                return requests, [age - last], age / last
    requests, lags = 0, []
    if together == 1:
        for done in ready:
            for age in ages(rng):
                requests += 1
                if age >= done:
                    lags.append(age - done)
                    end = max(end, age)
                    break
        return requests, lags, end / last
    waiting = sorted(ready)
    for age in ages(rng):
        requests += -(-len(waiting) // together)
        lags += [age - done for done in waiting if done <= age]
        waiting = [done for done in waiting if done > age]
        if not waiting:
            end = age
            break
    return requests, lags, end / last


def ours(ready: list[float], known: Durations) -> Played:
    """The real schedule, one list for all."""
    policy = WaitPolicy()
    schedule, kind = Schedule(policy, known), ("create", "1", "us-west")
    waiting = {number: schedule.add(kind, 0.0) for number in range(len(ready))}
    now, before, requests, lags = policy.min_interval, 0.0, 0, []
    while waiting:
        requests += 1
        for number in [number for number in waiting if ready[number] <= now]:
            lags.append(now - ready[number])
            schedule.sighted(waiting[number], (now + before) / 2)
            schedule.remove(waiting.pop(number))
        before, now = now, now + schedule.pause(now)
    return requests, lags, before / max(ready)


def rows(servers: int) -> list[dict[str, object]]:
    """Mean requests, mean lag and 99th percentile, and mean end of each schedule, over all seeds."""
    played: dict[str, list[Played]] = {}
    for seed in range(SEEDS if servers < 1000 else 4):
        rng = random.Random(seed)
        ready = [rng.triangular(120, 300, 180) for _ in range(servers)]
        for name, (ages, together) in PEERS.items():
            played.setdefault(name, []).append(peer(ages, together, ready, rng))
        known = Durations()
        played.setdefault("vpsorg_async, first fleet", []).append(ours(ready, known))
        again = [rng.triangular(120, 300, 180) for _ in range(servers)]
        played.setdefault("vpsorg_async, second fleet", []).append(ours(again, known))
    table: list[dict[str, object]] = []
    for name, runs in played.items():
        lags = sorted(lag for _, each, _ in runs for lag in each)
        table.append(
            {
                "schedule": name,
                "servers": servers,
                "requests": round(statistics.mean(requests for requests, _, _ in runs)),
                "lag": round(statistics.mean(lags), 2),
                "lag_p99": round(lags[int(0.99 * (len(lags) - 1))], 2),
                "end": round(statistics.mean(end for _, _, end in runs), 3),
            }
        )
    return table


def plot(table: list[dict[str, object]]) -> str:
    """Requests against lag, both logarithmic, as SVG."""
    import math

    left, top, width, height = 70, 30, 620, 380
    low, high, soon, late = 10.0, 20_000.0, 0.2, 60.0

    def x(requests: float) -> float:
        return left + width * math.log(requests / low) / math.log(high / low)

    def y(lag: float) -> float:
        return top + height * (1 - math.log(max(lag, soon) / soon) / math.log(late / soon))

    style = (
        "text{font:12px sans-serif;fill:#57606a}.o{fill:#2da44e;font-weight:bold}"
        "line{stroke:#8c959f;stroke-opacity:.35}"
        "@media(prefers-color-scheme:dark){text{fill:#9198a1}.o{fill:#3fb950}}"
    )
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 470"><style>{style}</style>']
    for requests in (10, 100, 1000, 10_000):
        parts.append(f'<line x1="{x(requests):.0f}" x2="{x(requests):.0f}" y1="{top}" y2="{top + height}"/>')
        parts.append(
            f'<text x="{x(requests):.0f}" y="{top + height + 18}" text-anchor="middle">{requests:,}</text>'
        )
    for lag in (0.2, 0.5, 1, 2, 5, 10, 20, 50):
        parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y(lag):.0f}" y2="{y(lag):.0f}"/>')
        parts.append(f'<text x="{left - 8}" y="{y(lag) + 4:.0f}" text-anchor="end">{lag:g} s</text>')
    for row in table:
        requests, lag, name = float(str(row["requests"])), float(str(row["lag"])), str(row["schedule"])
        mine = name.startswith("vpsorg")
        colour = "#2da44e" if mine else "#8c959f"
        parts.append(
            f'<circle cx="{x(requests):.0f}" cy="{y(lag):.0f}" r="{6 if mine else 4}" fill="{colour}"/>'
        )
        # neighbours would print over each other
        side = -9 if name in ("azure", "google-api-core", "upcloud") else 9
        down = {"vpsorg_async, second fleet": 18, "oci": -8, "exoscale": -6}.get(name, 4)
        parts.append(
            f'<text class="{"o" if mine else ""}" x="{x(requests) + side:.0f}" y="{y(lag) + down:.0f}" '
            f'text-anchor="{"end" if side < 0 else "start"}">{name}</text>'
        )
    middle = left + width / 2
    parts.append(
        f'<text x="{middle}" y="{top + height + 40}" text-anchor="middle">requests for 50 servers</text>'
    )
    parts.append(f'<text x="{left}" y="16">mean lag between ready and noticed</text></svg>')
    return "\n".join(parts) + "\n"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--svg", type=Path, help="write the plot for 50 servers to this file")
    given = parser.parse_args()
    tables = {servers: rows(servers) for servers in SIZES}
    if given.svg is not None:
        given.svg.write_text(plot(tables[50]), "utf-8")
    if given.json:
        print(json.dumps([row for table in tables.values() for row in table], indent=2))
        return
    for servers, table in tables.items():
        print(f"\n{servers} servers, ready after 2 to 5 minutes")
        print(f"{'schedule':<28}{'requests':>10}{'lag':>9}{'99 %':>9}{'end':>8}")
        for row in table:
            print(
                f"{row['schedule']!s:<28}{row['requests']:>10}{row['lag']:>7.2f} s{row['lag_p99']:>7.2f} s"
                f"{row['end']:>8.3f}"
            )


if __name__ == "__main__":
    main()
