"""Requests, answers and clocks that a fleet on Temporal must not hang on: each test runs into a limit of the engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client as Engine
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue
from temporalio.testing import ActivityEnvironment, WorkflowEnvironment
from temporalio.worker import Worker

from tests.temporal.test_activities import with_plugin
from tests.temporal.test_fleets import QUEUE, failing, happened, run, specs, working
from vpsorg_async import RetryPolicy
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.temporal import FleetRequest, RollingRequest
from vpsorg_async.temporal.lease import Lease
from vpsorg_async.timing import SystemClock


@pytest.mark.parametrize("data", [b"{bad", b"\xff", b"[" * 20_000])
async def test_a_payload_that_is_no_json_fails_at_once(engine: Engine, box: Sandbox, data: bytes) -> None:
    """A client that writes its own payloads gets an error, not a workflow that is tried for ever."""
    payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
    async with working(engine, box):
        error = await failing(engine, "vpsorg.FleetEnsure", RawValue(payload))

    assert (error.type, error.non_retryable) == ("ConfigurationError", True)
    assert "no JSON" in error.message


async def test_seconds_that_the_engine_does_not_know_are_refused(engine: Engine, box: Sandbox) -> None:
    """The plan refuses them, before a server is created for a workflow that would hang."""
    spec = {"name": "web-0", "plan_id": 1, "os_id": 5, "location": "us-west"}
    async with working(engine, box):
        long = await failing(engine, "vpsorg.FleetEnsure", {"specs": [spec], "timeout": 1e15})
        short = {"specs": [spec], "timeout": 600, "heartbeat_timeout": 1e-9}
        silent = await failing(engine, "vpsorg.FleetEnsure", short, "silent")

    assert "one year" in long.message
    assert "at least 1 s" in silent.message
    assert box.ledger == ()


async def test_a_thousand_long_messages_are_a_summary(engine: Engine, box: Sandbox) -> None:
    """Texts of the service, each character of which takes six bytes, are cut so that all rows fit into one payload."""
    box.faults.add(Rule("create", faults.Reply(400, {"error": "\u4f60" * 499})))
    async with working(engine, box) as client:
        request = FleetRequest(specs=specs(1000), timeout=600, settle=0, chunk=100)
        async with asyncio.timeout(60):
            summary = await run(client, "vpsorg.FleetEnsure", request)
        page = await client.get_workflow_handle("web").query("report")

    assert (summary.failed, len(summary.failures), len(page["rows"])) == (1000, 1000, 1000)
    assert "\u4f60" in summary.failures[0].message
    assert summary.failures[0].message.endswith("...")


async def test_a_new_run_of_a_rollout_gets_little(program: str, box: Sandbox) -> None:
    """What a rollout hands over to its next run grows by far less than a row for each server."""
    ids = [server.id for server in box.world.add(40)]
    limits = ("limit.historyCount.suggestContinueAsNew=100", "limit.blobSize.error=3500")
    options = [word for limit in limits for word in ("--dynamic-config-value", limit)]
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program, dev_server_extra_args=options
    )
    async with environment, working(environment.client, box) as client:
        request = RollingRequest(ids=ids, timeout=600, max_unavailable=10)
        async with asyncio.timeout(90):
            summary = await run(client, "vpsorg.RollingReboot", request)
        report = await client.get_workflow_handle("web").query("report")
        runs = await client.get_workflow_handle("web").describe()

    assert summary.succeeded == 40, summary
    assert runs.raw_info.first_run_id != runs.run_id
    assert Counter(change.server_id for change in box.ledger) == Counter(ids)
    assert {(row["how"], row["status"]) for row in report["rows"]} == {("rebooted", "active")}


async def test_a_refused_reboot_is_sent_again(engine: Engine, box: Sandbox) -> None:
    """A 429 says that nothing was rebooted: the next attempt sends it, and asks nobody for a decision."""
    (server,) = box.world.add(1)
    box.faults.add(Rule("reboot", faults.Reply(429, {"error": "slow down"}), times=1))
    client = with_plugin(engine, box, retry=RetryPolicy(attempts=1))
    async with Worker(client, task_queue=QUEUE), asyncio.timeout(30):
        summary = await run(client, "vpsorg.RollingReboot", RollingRequest(ids=[server.id], timeout=600))

    assert summary.succeeded == 1, summary
    assert len(box.ledger) == 1


async def test_a_fleet_that_is_cancelled_twice_hands_over_what_it_has(engine: Engine, box: Sandbox) -> None:
    """Neither cancellation loses a server: the report has the id of each that was created."""
    box.faults.add(Rule("create", faults.Delay(0.5)))
    async with working(engine, box) as client:
        request = FleetRequest(specs=specs(12), timeout=600, heartbeat_timeout=4)
        handle = await client.start_workflow("vpsorg.FleetCreate", request, id="web", task_queue=QUEUE)
        await happened(lambda: len(box.ledger) >= 3)
        await handle.cancel()
        await asyncio.sleep(0.1)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        report = await handle.query("report")

    assert {row["server_id"] for row in report["rows"] if "server_id" in row} == {
        server.id for server in box.servers
    }


async def test_ids_in_another_case_are_those_of_the_account(engine: Engine) -> None:
    """A server whose id is given in capitals is not missing, and its id is sent as the service writes it."""
    with Sandbox(speed=60, dialect="provider") as box:
        ids = [str(server.id) for server in box.world.add(2)]
        loud = [server_id.upper() for server_id in ids]
        async with working(engine, box, dialect="provider") as client:
            request = RollingRequest(ids=loud, timeout=600)
            rebooted = await run(client, "vpsorg.RollingReboot", request, "roll")
            deleted = await run(client, "vpsorg.FleetDelete", FleetRequest(ids=loud, timeout=600), "gone")
            report = await client.get_workflow_handle("gone").query("report")

    assert (rebooted.succeeded, deleted.succeeded) == (2, 2)
    assert [row["key"] for row in report["rows"]] == ids
    assert Counter(change.operation for change in box.ledger) == {"reboot": 2, "delete": 2}


class _Engine:
    """A client whose engine answers each heartbeat."""

    def get_async_activity_handle(self, **_: object) -> _Engine:
        return self

    async def heartbeat(self, *_: object, **__: object) -> None:
        """Answer."""


async def test_a_clock_that_is_set_back_prolongs_no_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour less on the clock is not an hour more in which a worker that is cut off may send."""
    shift = timedelta(0)
    monkeypatch.setattr(SystemClock, "wall", lambda _: datetime.now(UTC) + shift)
    environment = ActivityEnvironment(client=cast(Any, _Engine()))
    environment.info = replace(environment.info, heartbeat_timeout=timedelta(seconds=15))
    environment.info = replace(environment.info, started_time=datetime.now(UTC))

    async def left() -> list[timedelta]:
        nonlocal shift
        found = []
        async with Lease(list) as lease:
            for hours in (0, -1, 1):
                shift = timedelta(hours=hours)
                found.append(lease.until() - SystemClock().wall())
        return found

    usual, back, ahead = await environment.run(left)
    assert timedelta(0) < usual <= timedelta(seconds=13.5)
    assert timedelta(0) < back <= timedelta(seconds=13.5)
    assert ahead < timedelta(0)
