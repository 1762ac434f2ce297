"""A worker that loses the engine, but not the API, must stop to send before another one begins."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from tests.temporal.processes import QUEUE, Cable, EngineProcess, WorkerProcess
from vpsorg_async import Client, ServerSpec
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.temporal import FleetRequest, VpsOrgPlugin

HEARTBEAT = 2.0
pytestmark = pytest.mark.timeout(120)
SPECS = [ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west") for n in range(16)]


async def test_a_worker_that_is_cut_off_sends_nothing_more(program: str, tmp_path: Path) -> None:
    """Its lease ends before the engine gives its servers to another one; that one creates the rest, each once."""
    engine = EngineProcess(program, tmp_path)
    await engine.start()
    workers: list[WorkerProcess] = []
    try:
        with Sandbox(speed=60, faults=[Rule("create", faults.Delay(1.0))]) as box:
            async with Cable(engine.port) as cable:
                workers.append(WorkerProcess(cable.address, box, in_flight=1))
                await workers[0].ready()
                client = await engine.client(VpsOrgPlugin(Client.from_env))
                request = FleetRequest(specs=SPECS, timeout=600, settle=4, heartbeat_timeout=HEARTBEAT)
                handle = await client.start_workflow(
                    "vpsorg.FleetEnsure", request, id="web", task_queue=QUEUE
                )
                while True:
                    if len(box.ledger) >= 3:
                        break
                    await asyncio.sleep(0.01)
                cable.cut()
                # the lease, the create that left in time, and its answer
                await asyncio.sleep(HEARTBEAT + 2.0)
                sent = len(box.ledger)
                await asyncio.sleep(3.0)
                assert 3 <= sent < len(SPECS)
                assert len(box.ledger) == sent
                workers.append(WorkerProcess(engine.address, box, in_flight=8))
                cable.mend()
                summary = await handle.result()
    finally:
        for worker in workers:
            worker.kill()
        engine.kill()

    assert summary.succeeded == len(SPECS), summary
    assert Counter(change.name for change in box.ledger) == Counter(spec.name for spec in SPECS)


async def test_a_worker_that_dies_in_a_pause_loses_nothing(program: str, tmp_path: Path) -> None:
    """The worker is killed before it can say what is open: its servers are open all the same, not failed."""
    engine = EngineProcess(program, tmp_path)
    await engine.start()
    workers: list[WorkerProcess] = []
    try:
        with Sandbox(speed=60, faults=[Rule("create", faults.Delay(0.5))]) as box:
            workers.append(WorkerProcess(engine.address, box, in_flight=1))
            await workers[0].ready()
            client = await engine.client(VpsOrgPlugin(Client.from_env))
            request = FleetRequest(specs=SPECS, timeout=600, settle=3, heartbeat_timeout=HEARTBEAT)
            handle = await client.start_workflow("vpsorg.FleetCreate", request, id="web", task_queue=QUEUE)
            while True:
                if len(box.ledger) >= 3:
                    break
                await asyncio.sleep(0.01)
            await handle.signal("pause")
            workers.pop().kill()
            workers.append(WorkerProcess(engine.address, box, in_flight=8))
            while True:
                progress = await handle.query("progress")
                if progress["paused"] and not progress["working"]:
                    break
                await asyncio.sleep(0.1)
            await handle.signal("resume")
            summary = await handle.result()
    finally:
        for worker in workers:
            worker.kill()
        engine.kill()

    assert progress["failed"] == 0
    assert summary.succeeded == len(SPECS), summary
    assert Counter(change.name for change in box.ledger) == Counter(spec.name for spec in SPECS)
