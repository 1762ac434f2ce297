"""Fleets under thousands of faults, cancellations and kills: no server twice, none lost, at fixed seeds.

Its name keeps it out of the test command: ``python3 noxfile.py -s chaos`` runs it, or
``python -m pytest tests/chaos/sweep_fleet.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.fleet.test_cancel import cancelled_somewhere
from tests.fleet.test_ensure import complete, run_and_kill
from tests.fleet.virtual_account import (
    account,
    accounted,
    commands,
    committed,
    creates,
    duplicates,
    kinds,
    specs,
    untracked,
    virtual,
)
from vpsorg_async.errors import OutcomeUnknownError
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

pytestmark = pytest.mark.timeout(1800)

Figure = Callable[[str], None]

FAULTS: list[faults.Action | tuple[faults.Action, ...]] = [
    faults.DropAfter(),
    faults.DropAfter(how="rst"),
    faults.DropBefore(),
    faults.DropBefore(how="rst"),
    faults.Html(502),
    faults.Html(502, applied=True),
    faults.Html(504, applied=True),
    faults.HalfHeaders(),
    faults.HalfBody(),
    faults.MalformedChunk(),
    faults.NeverAnswer(applied=True),
    faults.NeverAnswer(),
    faults.Garbage(applied=True),
    faults.Reply(200, "<html>", applied=True),
    faults.Redirect("/login", 302),
    faults.CommitLater(5),
    (faults.DropAfter(), faults.HideCreated(8)),
    (faults.Html(503), faults.CommitLater(2)),
]
CREATES, FLEETS = 10_000, 20


@pytest.mark.parametrize("share", [0.05, 0.15, 0.30])
@virtual
async def test_ten_thousand_creates(share: float, figure: Figure) -> None:
    """Under this share of faults: no duplicate, nothing untracked; ensure completes each fleet, still without any."""
    each = share / len(FAULTS)
    rules = [Rule("create", fault, probability=each / (1 - n * each)) for n, fault in enumerate(FAULTS)]
    rules += [
        Rule("list", faults.Html(503), probability=share / 2),
        Rule("list", faults.DropAfter(), probability=0.02),
    ]
    total: Counter[str] = Counter()
    began = time.monotonic()
    async with account(*rules, seed=round(share * 100)) as (box, vps):
        for number in range(FLEETS):
            wanted = specs(CREATES // FLEETS, f"web-{number}")
            report = await vps.fleet.create(wanted, timeout=900)
            assert accounted(report, wanted)
            assert untracked(report, box) == []
            assert all(isinstance(failure.error, OutcomeUnknownError) for failure in report.failed)
            total += Counter(outcome.how for outcome in report.succeeded) + Counter(
                unknown=len(report.failed)
            )
            box.faults.clear()
            whole = await vps.fleet.ensure(wanted, timeout=900)
            assert kinds(whole) == {"Succeeded": len(wanted)}
            box.faults.add(*rules)
            # the account is emptied, so that each fleet meets the same one
            assert (len(box.servers), duplicates(box)) == (len(wanted), [])
            await vps.fleet.delete([server.id for server in box.servers], timeout=900)
            assert box.servers == ()
        names = Counter(committed(box).values())
        assert set(names.values()) == {1}
        assert len(names) == CREATES
    figure(
        f"{CREATES} creates under {share:.0%} of faults: {total['created']} created, {total['adopted']} adopted, "
        f"{total['unknown']} unknown and completed by ensure, 0 duplicates, 0 untracked, "
        f"{time.monotonic() - began:.0f} s"
    )


def test_five_hundred_cancellations(figure: Figure) -> None:
    """Each at a random moment of a run of its own, after which no socket is open that was not before."""
    ended: Counter[str] = Counter()
    slowest = 0.0
    cancelled_somewhere(999)  # resources that a process opens once
    opened = len(os.listdir("/dev/fd"))
    for seed in range(1000, 1500):
        where, seconds = cancelled_somewhere(seed)
        ended[where] += 1
        slowest = max(slowest, seconds)
        assert len(os.listdir("/dev/fd")) == opened
    figure(f"500 cancellations: {dict(ended)}, the slowest took {slowest:.2f} s, nothing lost or left behind")


def test_killed_over_and_over(figure: Figure) -> None:
    """kill -9 at random moments of ensure, in ten rounds with faults: 60 servers, no duplicate."""
    kills = 0
    for seed in range(10):
        rng = random.Random(seed)
        with Sandbox(durations=Durations(provisioning=(0.05, 0.5)), latency=0.005, seed=seed) as box:
            box.faults.add(
                Rule("create", faults.DropAfter(), probability=0.1),
                Rule("list", faults.Html(503), probability=0.1),
            )
            for _ in range(10):
                moment = rng.randrange(1, 16)
                kills += run_and_kill(box, 60, moment) == moment
            box.faults.clear()
            report = asyncio.run(complete(box, 60))
            assert (len(report.succeeded), len(box.servers), duplicates(box)) == (60, 60, [])
            assert commands(box)["create"] == 60
    figure(f"{kills} kills in 10 rounds of ensure over 60 specs: 60 servers each, 0 duplicates")


@virtual
async def test_ten_thousand_in_one_call(figure: Figure) -> None:
    """Bounded tasks, a quick response to the user's own calls, and polls that go on."""
    most, waited = 0, []
    loop = asyncio.get_running_loop()

    async def use(vps: Any, own: Any) -> None:
        nonlocal most
        while True:
            own_tasks = [
                task
                for task in asyncio.all_tasks()
                if not getattr(task.get_coro(), "__qualname__", "").startswith("RequestHandler.")
            ]
            most = max(most, len(own_tasks))
            asked = loop.time()
            await vps.servers.get(own.id)
            waited.append(loop.time() - asked)
            await asyncio.sleep(0.1)

    began = time.monotonic()
    async with account(latency=0.05) as (box, vps):
        (own,) = box.world.add(name="own")
        wanted = specs(10_000)
        user = asyncio.create_task(use(vps, own))
        report = await vps.fleet.create(wanted, timeout=900)
        user.cancel()
        last = max(entry.at for entry in box.requests if entry.method == "POST")
        polls = sum(
            entry.method == "GET" and entry.at < last and "/1" not in entry.path for entry in box.requests
        )

        assert kinds(report) == {"Succeeded": 10_000}
        assert len(creates(box)) == len(box.servers) - 1 == 10_000
    assert most <= 32 + 8
    assert max(waited) <= 3 * 0.05
    assert polls > 5
    figure(
        f"10,000 in one call: {time.monotonic() - began:.0f} s of machine time, at most {most} tasks of the client, "
        f"a user's own get took at most {max(waited):.2f} s at a latency of 0.05 s, "
        f"{polls} polls while creates were sent"
    )


IN_A_PROCESS_OF_ITS_OWN = textwrap.dedent(
    """
    import asyncio, json, resource, sys, time
    from vpsorg_async import Client, ServerSpec

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    async def main(url, token, own, count):
        specs = [ServerSpec(name=f"web-{n:05}", plan_id=1, os_id=5, location="us-west") for n in range(count)]
        tasks, waited = 0, []

        async def use(vps):
            nonlocal tasks
            while True:
                tasks = max(tasks, len(asyncio.all_tasks()))
                asked = time.monotonic()
                await vps.servers.get(own)
                waited.append(time.monotonic() - asked)
                await asyncio.sleep(0.2)

        async with Client(token, base_url=url) as vps:
            await vps.servers.get(own)
            before, began, user = peak(), time.monotonic(), asyncio.create_task(use(vps))
            report = await vps.fleet.create(specs, timeout=600)
            user.cancel()
            print(json.dumps({
                "succeeded": len(report.succeeded), "seconds": time.monotonic() - began, "tasks": tasks,
                "before": before, "peak": peak(), "own": sorted(waited)[int(len(waited) * 0.99)],
            }))

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    """
)


def test_ten_thousand_in_a_process_of_its_own(figure: Figure) -> None:
    """In real time, with the sandbox in another process: the resources of the client alone."""
    with Sandbox(durations=Durations(provisioning=(5, 20)), latency=0.01, seed=1) as box:
        (own,) = box.world.add(name="own")
        command = [sys.executable, "-Ic", IN_A_PROCESS_OF_ITS_OWN, box.url, box.token, str(own.id), "10000"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=900, check=True)
        told = json.loads(done.stdout)

        assert told["succeeded"] == len(box.servers) - 1 == commands(box)["create"] == 10_000
        assert duplicates(box) == []
    # a worker for each request in flight, and aiohttp's own writer of its body
    assert told["tasks"] <= 2 * 32 + 8
    assert told["peak"] - told["before"] < 200
    figure(
        f"10,000 in one call, in a process of its own: {told['seconds']:.0f} s, at most {told['tasks']} tasks, "
        f"{told['peak']:.0f} MiB at the peak ({told['before']:.0f} before), "
        f"99 of 100 of a user's own gets within {told['own']:.2f} s"
    )


@virtual
async def test_what_a_server_of_a_fleet_costs(figure: Figure) -> None:
    """Memory for each server of a call, sandbox and report included, does not grow with their number."""
    peaks: dict[int, float] = {}
    for count in (500, 2000):
        async with account(latency=0.01) as (_, vps):
            wanted = specs(count)
            tracemalloc.start()
            await vps.fleet.create(wanted, timeout=900)
            peaks[count] = tracemalloc.get_traced_memory()[1] / 1024 / count
            tracemalloc.stop()
    assert peaks[2000] < 1.5 * peaks[500]
    figure(f"KiB for each server at the peak: {peaks[500]:.1f} of 500, {peaks[2000]:.1f} of 2000")
