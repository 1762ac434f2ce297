"""Fleets on Temporal whose workers and engine are killed or cut off at random moments, at fixed seeds.

Its name keeps it out of the test command: ``python -m pytest tests/temporal/sweep_crashes.py`` runs it. Each fleet has
60 servers, and the API answers after 0.3 s. Counts are those of the sandbox's ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from tests.temporal.processes import QUEUE, Cable, EngineProcess, WorkerProcess
from vpsorg_async import FleetSpec, ServerSpec
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.temporal import ApplyRequest, FleetRequest, ReplaceRequest, RollingRequest, VpsOrgPlugin

pytestmark = pytest.mark.timeout(500)

SERVERS = 60
HIDDEN = 20.0
SEEDS = range(5)

Figure = Callable[[str], None]


def request(settle: float, **options: Any) -> FleetRequest:
    specs = [ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west") for n in range(SERVERS)]
    return FleetRequest(specs=specs, timeout=600, settle=settle, heartbeat_timeout=4, **options)


@contextlib.contextmanager
def account(seed: int, *, hidden: bool = False) -> Iterator[Sandbox]:
    rules = [Rule("create", faults.HideCreated(HIDDEN))] if hidden else []
    with Sandbox(speed=60, seed=seed, latency=0.3, faults=rules) as box:
        yield box


@pytest.fixture
async def engine_process(program: str, tmp_path: Path) -> AsyncIterator[EngineProcess]:
    engine = EngineProcess(program, tmp_path)
    await engine.start()
    yield engine
    engine.kill()


async def start(engine: EngineProcess, workflow: str, wanted: Any) -> WorkflowHandle[Any, Any]:
    client = await engine.client(VpsOrgPlugin(no_client))
    return await client.start_workflow(workflow, wanted, id="web", task_queue=QUEUE)


def no_client() -> Any:
    raise AssertionError("a program that starts workflows needs no account")


async def more_changes(box: Sandbox, number: int, within: float = 60.0) -> None:
    """Return once the ledger has so many more changes, or after some seconds."""
    goal = len(box.ledger) + number
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within):
            while True:
                if len(box.ledger) >= goal:
                    return
                await asyncio.sleep(0.005)


def check_fleet(box: Sandbox, report: dict[str, Any], summary: Any) -> str:
    """Assert that each server was created once and is known; return the counts."""
    created = Counter(change.name for change in box.ledger if change.operation == "create")
    duplicates = sum(created.values()) - len(created)
    known = {row.get("server_id") for row in report["rows"]}
    orphans = [server.id for server in box.servers if server.id not in known]
    counts = f"{sum(created.values())} created, {duplicates} duplicates, {len(orphans)} orphans"
    assert (sum(created.values()), duplicates, orphans) == (SERVERS, 0, []), counts
    assert (summary.succeeded, summary.failed) == (SERVERS, 0), summary
    return counts


@pytest.mark.parametrize("hidden", [False, True], ids=["shown at once", "hidden for 20 s"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_workers_are_killed(
    engine_process: EngineProcess, figure: Figure, seed: int, hidden: bool
) -> None:
    """kill -9 of the worker at three random moments at which creates are in flight; a new one takes over each time."""
    chance, began = random.Random(seed), time.monotonic()
    with account(seed, hidden=hidden) as box:
        handle = await start(engine_process, "vpsorg.FleetEnsure", request(25 if hidden else 5))
        for _ in range(3):
            worker = WorkerProcess(engine_process.address, box)
            await more_changes(box, chance.randint(1, 18))
            await asyncio.sleep(chance.uniform(0, 0.3))
            worker.kill()
        worker = WorkerProcess(engine_process.address, box)
        try:
            summary, report = await handle.result(), await handle.query("report")
        finally:
            worker.kill()
        counts = check_fleet(box, report, summary)
    figure(f"3 kills, seed {seed}, hidden {hidden}: {counts}, {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_of_two_workers_is_killed(engine_process: EngineProcess, figure: Figure, seed: int) -> None:
    """Another worker is there already, and takes over what the dead one had."""
    chance, began = random.Random(seed), time.monotonic()
    with account(seed) as box:
        workers = [WorkerProcess(engine_process.address, box) for _ in range(2)]
        try:
            for worker in workers:
                await worker.ready()
            handle = await start(engine_process, "vpsorg.FleetEnsure", request(5, chunk=10))
            await more_changes(box, chance.randint(5, 40))
            workers.pop().kill()
            summary, report = await handle.result(), await handle.query("report")
        finally:
            for worker in workers:
                worker.kill()
        counts = check_fleet(box, report, summary)
    figure(f"1 of 2 workers killed, seed {seed}: {counts}, {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_engine_is_killed(engine_process: EngineProcess, figure: Figure, seed: int) -> None:
    """The engine dies in the middle, for less or for more than the heartbeat timeout, and goes on from its file."""
    chance, began = random.Random(seed), time.monotonic()
    with account(seed) as box:
        worker = WorkerProcess(engine_process.address, box)
        try:
            handle = await start(engine_process, "vpsorg.FleetEnsure", request(5))
            await more_changes(box, chance.randint(5, 40))
            engine_process.kill()
            await asyncio.sleep(chance.choice([0.5, 8.0]))
            await engine_process.start()
            summary, report = await handle.result(), await handle.query("report")
        finally:
            worker.kill()
        counts = check_fleet(box, report, summary)
    figure(f"engine killed, seed {seed}: {counts}, {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_worker_is_cut_off(engine_process: EngineProcess, figure: Figure, seed: int) -> None:
    """A worker loses the engine for 60 s, but not the API: another one takes over, and the first sends nothing more."""
    chance, began = random.Random(seed), time.monotonic()
    with account(seed) as box:
        # so slowly that it has much left to send when it is cut off
        box.faults.add(Rule("create", faults.Delay(1.5)))
        async with Cable(engine_process.port) as cable:
            first = WorkerProcess(cable.address, box)
            await first.ready()
            second: WorkerProcess | None = None
            try:
                handle = await start(engine_process, "vpsorg.FleetEnsure", request(5, chunk=60))
                await more_changes(box, chance.randint(2, 12))
                cable.cut()
                second = WorkerProcess(engine_process.address, box)
                await asyncio.sleep(60)
                cable.mend()
                summary = await handle.result()
                # what the first worker had left would come now
                await asyncio.sleep(5)
                report = await handle.query("report")
            finally:
                first.kill()
                if second is not None:
                    second.kill()
            counts = check_fleet(box, report, summary)
    figure(f"1 of 2 workers cut off, seed {seed}: {counts}, {time.monotonic() - began:.0f} s")


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_rolling_reboot_survives(engine_process: EngineProcess, figure: Figure, seed: int) -> None:
    """50 servers are rebooted through a kill of the worker and one of the engine: each once, at most 5 at a time."""
    chance, began = random.Random(seed), time.monotonic()
    with account(seed) as box:
        ids = [server.id for server in box.world.add(50)]
        watching = asyncio.create_task(most_unavailable(box))
        worker = WorkerProcess(engine_process.address, box)
        try:
            wanted = RollingRequest(ids=ids, timeout=600, max_unavailable=5, heartbeat_timeout=4)
            handle = await start(engine_process, "vpsorg.RollingReboot", wanted)
            deciding = asyncio.create_task(decide(handle, box))
            await more_changes(box, chance.randint(5, 20))
            await asyncio.sleep(chance.uniform(0, 0.5))
            worker.kill()
            worker = WorkerProcess(engine_process.address, box)
            await more_changes(box, chance.randint(5, 20))
            engine_process.kill()
            await asyncio.sleep(chance.choice([0.5, 6.0]))
            await engine_process.start()
            summary = await handle.result()
            deciding.cancel()
        finally:
            worker.kill()
            watching.cancel()
        reboots = Counter(change.server_id for change in box.ledger if change.operation == "reboot")
    assert summary.succeeded == 50, summary
    assert reboots == Counter(ids), [key for key, times in reboots.items() if times > 1]
    most = max(unavailable)
    assert most <= 5
    figure(
        f"rolling reboot, seed {seed}: {sum(reboots.values())} reboots of 50, at most {most} unavailable, "
        f"{len(decided)} decided, {time.monotonic() - began:.0f} s"
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_workers_are_killed_while_a_plan_is_applied(
    engine_process: EngineProcess, figure: Figure, seed: int
) -> None:
    """kill -9 at four random moments: one fleet grows to 60, another one shrinks from 40 to 20, exactly so."""
    chance, began = random.Random(seed), time.monotonic()
    with account(seed) as box:
        stay = [box.world.add(name=f"db-{number:02}")[0].id for number in range(1, 21)]
        go = [box.world.add(name=f"db-{number:02}")[0].id for number in range(21, 41)]
        fleets = [fleet("web-{n:02}", SERVERS), fleet("db-{n:02}", 20)]
        wanted = ApplyRequest(
            fleets=fleets, timeout=600, prune=True, max_deletes=20, settle=5, heartbeat_timeout=4
        )
        handle = await start(engine_process, "vpsorg.FleetApply", wanted)
        for _ in range(4):
            worker = WorkerProcess(engine_process.address, box)
            await more_changes(box, chance.randint(1, 25))
            await asyncio.sleep(chance.uniform(0, 0.3))
            worker.kill()
        worker = WorkerProcess(engine_process.address, box)
        try:
            summary = await handle.result()
        finally:
            worker.kill()
        created = Counter(change.name for change in box.ledger if change.operation == "create")
        deleted = Counter(change.server_id for change in box.ledger if change.operation == "delete")
        left = [server.name for server in box.servers]
    assert (summary.succeeded, summary.failed, summary.skipped) == (SERVERS + 40, 0, 0), summary
    assert created == Counter(f"web-{number:02}" for number in range(1, SERVERS + 1))
    assert deleted == Counter(go)
    assert len(left) == SERVERS + len(stay)
    figure(
        f"plan applied, 4 kills, seed {seed}: {len(created)} created, {len(deleted)} deleted, each once, "
        f"{time.monotonic() - began:.0f} s"
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_workers_are_killed_while_servers_are_replaced(
    engine_process: EngineProcess, figure: Figure, seed: int
) -> None:
    """50 servers get another system, 5 at a time, through four kills; one of the new ones never becomes active."""
    chance, began = random.Random(seed), time.monotonic()
    with account(seed) as box:
        olds = [box.world.add(name=f"web-{number:02}")[0].id for number in range(1, 51)]
        box.faults.add(Rule("create", faults.SetStatus("provisioning", 1e6), nth=20))
        watching = asyncio.create_task(least_active(box))
        wanted = ReplaceRequest(
            fleets=[fleet("web-{n:02}", 50, os_id=3)],
            surge=5,
            max_failures=2,
            drain=0.5,
            timeout=60,
            settle=5,
            heartbeat_timeout=4,
        )
        handle = await start(engine_process, "vpsorg.RollingReplace", wanted)
        for _ in range(4):
            worker = WorkerProcess(engine_process.address, box)
            await more_changes(box, chance.randint(1, 25))
            await asyncio.sleep(chance.uniform(0, 0.5))
            worker.kill()
        worker = WorkerProcess(engine_process.address, box)
        try:
            summary = await handle.result()
        finally:
            worker.kill()
            watching.cancel()
        created = Counter(change.name for change in box.ledger if change.operation == "create")
        deleted = Counter(change.server_id for change in box.ledger if change.operation == "delete")
        left = [server.id for server in box.servers]
    assert (summary.succeeded, summary.failed, summary.skipped) == (49, 1, 0), summary
    assert set(created.values()) == {1}
    assert set(deleted) == {*olds} - {summary.failures[0].old_id}
    assert (len(created), len(left)) == (50, 51)
    assert most_existing(box, 50) <= 55
    assert min(active) >= 50
    figure(
        f"50 replaced, 4 kills, seed {seed}: 49 replaced, 1 kept, {len(created)} created, 0 duplicates, at least "
        f"{min(active)} active, at most {most_existing(box, 50)} in all, {time.monotonic() - began:.0f} s"
    )


def fleet(name: str, count: int, *, os_id: int = 5) -> FleetSpec:
    return FleetSpec(name=name, count=count, plan_id=1, os_id=os_id, location="us-west")


def most_existing(box: Sandbox, count: int) -> int:
    """Return how many servers existed at most, by the ledger."""
    most = count
    for change in box.ledger:
        count += {"create": 1, "delete": -1}.get(change.operation, 0)
        most = max(most, count)
    return most


active: list[int] = []


async def least_active(box: Sandbox) -> None:
    """Note how many servers are active, ten times a second."""
    active.clear()
    while True:
        active.append(sum(server.status == "active" for server in box.servers))
        await asyncio.sleep(0.1)


unavailable: list[int] = []
decided: list[Any] = []


async def most_unavailable(box: Sandbox) -> None:
    """Note how many servers are not active, ten times a second."""
    unavailable[:] = [0]
    while True:
        unavailable.append(sum(server.status != "active" for server in box.servers))
        await asyncio.sleep(0.1)


async def decide(handle: WorkflowHandle[Any, Any], box: Sandbox) -> None:
    """Answer for the user, who looks what the account shows: the ledger knows."""
    decided.clear()
    while True:
        with contextlib.suppress(Exception):
            for server_id in (await handle.query("progress"))["undecided"]:
                rebooted = any(change.server_id == server_id for change in box.ledger)
                await handle.execute_update("decide", args=[server_id, "done" if rebooted else "again"])
                decided.append(server_id)
        await asyncio.sleep(0.3)
