"""Large fleets on Temporal: the time beside that of plain `Fleet.create`, the history, and the memory of the worker.

Its name keeps it out of the test command: ``python -m pytest tests/temporal/sweep_scale.py`` runs it. The API answers
without latency. Figures are worth something on an idle machine only; nothing here asserts a time.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from temporalio.client import WorkflowFailureError, WorkflowHistory
from temporalio.worker import Replayer

from tests.temporal.processes import QUEUE, EngineProcess, WorkerProcess
from vpsorg_async import Client, ServerSpec
from vpsorg_async.temporal import FleetRequest, VpsOrgPlugin

pytestmark = pytest.mark.timeout(900)

Figure = Callable[[str], None]


@attrs.frozen
class Account:
    """A sandbox in a process of its own."""

    token: str
    url: str


@contextmanager
def account() -> Iterator[Account]:
    command = [sys.executable, "-m", "vpsorg_async.sandbox", "--json", "--speed", "60", "--seed", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    yield Account(told["token"], told["url"])
    process.kill()
    process.communicate()


@pytest.fixture
async def engine_process(program: str, tmp_path: Path) -> AsyncIterator[EngineProcess]:
    engine = EngineProcess(program, tmp_path)
    await engine.start()
    yield engine
    engine.kill()


def specs(count: int) -> list[ServerSpec]:
    return [ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west") for n in range(count)]


async def plainly(count: int) -> float:
    """Seconds of a plain fleet call."""
    with account() as box:
        async with Client(box.token, base_url=box.url) as vps:
            began = time.monotonic()
            report = await vps.fleet.create(specs(count), timeout=900)
            assert len(report.succeeded) == count
            return time.monotonic() - began


async def on_temporal(engine: EngineProcess, count: int, name: str) -> tuple[float, WorkflowHistory, int]:
    """Seconds, the history, and the peak memory of the worker in MB."""
    client = await engine.client(VpsOrgPlugin(Client.from_env))
    with account() as box:
        worker = WorkerProcess(engine.address, box, in_flight=32)
        try:
            await worker.ready()
            # the first workflow of a worker waits until it has prepared its sandbox
            with pytest.raises(WorkflowFailureError):
                await client.execute_workflow("vpsorg.FleetCreate", {}, id=f"{name}-before", task_queue=QUEUE)
            began = time.monotonic()
            summary: Any = await client.execute_workflow(
                "vpsorg.FleetCreate",
                FleetRequest(specs=specs(count), timeout=900),
                id=name,
                task_queue=QUEUE,
            )
            seconds = time.monotonic() - began
            peak = worker.peak_memory()
        finally:
            worker.kill()
    assert summary.succeeded == count, summary
    history = await client.get_workflow_handle(name).fetch_history()
    return seconds, history, peak


def size(history: WorkflowHistory) -> str:
    return f"{len(history.events)} events, {sum(event.ByteSize() for event in history.events) / 1e6:.2f} MB"


async def test_six_hundred_servers(engine_process: EngineProcess, figure: Figure) -> None:
    """600 servers, five times each way, in turns."""
    plain, durable = [], []
    for n in range(5):
        plain.append(await plainly(600))
        seconds, history, _ = await on_temporal(engine_process, 600, f"web-{n}")
        durable.append(seconds)
    middle = statistics.median(plain), statistics.median(durable)
    figure(
        f"600 servers: {middle[0]:.1f} s plain, {middle[1]:.1f} s on Temporal "
        f"({middle[1] / middle[0]:.2f} times); {size(history)}"
    )


async def test_ten_thousand_servers(engine_process: EngineProcess, figure: Figure) -> None:
    """10,000 servers: the workflow completes, and a worker that has never seen it can replay it."""
    seconds, history, peak = await on_temporal(engine_process, 10_000, "web")
    began = time.monotonic()
    await Replayer(workflows=[], plugins=[VpsOrgPlugin(Client.from_env)]).replay_workflow(history)
    replayed = time.monotonic() - began
    figure(
        f"10,000 servers: {seconds:.0f} s; {size(history)}; the worker had up to {peak} MB; "
        f"replayed in {replayed:.1f} s"
    )
