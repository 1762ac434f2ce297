"""``vpsorg.FleetApply`` on a development server of Temporal, against the sandbox."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client as Engine
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Replayer, Worker

from tests.temporal.processes import EngineProcess, WorkerProcess
from tests.temporal.test_activities import Call, Calls, with_plugin
from tests.temporal.test_fleets import QUEUE, failing, happened, run, until, working
from vpsorg_async import Alternative, Client, FleetSpec
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.temporal import ApplyRequest, VpsOrgPlugin

OLD = "2020-01-01T00:00:00+00:00"


def fleet(count: int, name: str = "web", **fields: Any) -> FleetSpec:
    return FleetSpec(name=f"{name}-{{n:02}}", count=count, plan_id=1, os_id=5, location="us-west", **fields)


def request(*fleets: FleetSpec, **options: Any) -> ApplyRequest:
    return ApplyRequest(fleets=fleets, **{"timeout": 600, "settle": 3, "heartbeat_timeout": 4, **options})


def add(box: Sandbox, *numbers: int, name: str = "web", status: str = "active") -> list[Any]:
    """Add servers of a fleet, and return their ids."""
    return [box.world.add(name=f"{name}-{number:02}", status=status)[0].id for number in numbers]


def changes(box: Sandbox) -> list[tuple[str, str]]:
    return [(change.operation, change.name) for change in box.ledger]


async def begun(engine: Engine, wanted: ApplyRequest) -> WorkflowHandle[Any, Any]:
    return await engine.start_workflow("vpsorg.FleetApply", wanted, id="web", task_queue=QUEUE)


async def refused(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def test_the_account_becomes_what_fleets_say(engine: Engine, box: Sandbox) -> None:
    """Missing servers are created, stopped ones started, surplus ones deleted; a second run sends nothing."""
    add(box, 1)
    add(box, 3, status="stopped")
    add(box, 1, 2, 3, name="db")
    wanted = request(fleet(4), fleet(2, "db"), prune=True)
    async with working(engine, box) as client:
        first = await run(client, "vpsorg.FleetApply", wanted)
        report = await client.get_workflow_handle("web").query("report")
        again = await run(client, "vpsorg.FleetApply", wanted, "again")
        history = await client.get_workflow_handle("web").fetch_history()
    await Replayer(workflows=[], plugins=[VpsOrgPlugin(Client.from_env)]).replay_workflow(history)

    assert (first.operation, first.succeeded, first.failed) == ("apply", 7, 0)
    assert again.succeeded == 6
    assert changes(box)[-1] == ("delete", "db-03")
    assert sorted(changes(box)) == [
        ("create", "web-02"),
        ("create", "web-04"),
        ("delete", "db-03"),
        ("start", "web-03"),
    ]
    assert [(row["key"], row["how"]) for row in report["rows"]] == [
        ("web-01", "adopted"),
        ("web-02", "created"),
        ("web-03", "started"),
        ("web-04", "created"),
        ("db-01", "adopted"),
        ("db-02", "adopted"),
        ("db-03", "deleted"),
    ]


async def test_a_fleet_with_an_alternative(engine: Engine, box: Sandbox) -> None:
    """It goes with the request: after a refusal with its text the server is created in the other location."""
    box.faults.add(Rule("create", faults.Reply(400, {"error": "us-west is sold out"}), times=1))
    other = Alternative(location="us-east", when="sold out")
    async with working(engine, box) as client:
        wanted = request(fleet(1, alternatives=[other]))
        summary = await run(client, "vpsorg.FleetApply", wanted)
        again = await run(client, "vpsorg.FleetApply", wanted, "again")

    assert (summary.succeeded, again.succeeded, len(box.ledger)) == (1, 1, 1)
    assert box.servers[0].location == "us-east"


async def test_without_prune_nothing_is_deleted(engine: Engine, box: Sandbox) -> None:
    """A server that its fleet does not need is kept, and its row says why."""
    add(box, 1, 2, 3)
    async with working(engine, box) as client:
        summary = await run(client, "vpsorg.FleetApply", request(fleet(2)))
        report = await client.get_workflow_handle("web").query("report")

    assert (summary.succeeded, box.ledger) == (3, ())
    assert report["rows"][2]["how"] == "kept"
    assert "only with prune" in report["rows"][2]["message"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"count": 0}, "allow_empty"),
        ({"count": 3}, "max_deletes"),
        ({"count": 3, "max_deletes": 1}, "max_deletes permits 1"),
    ],
)
async def test_a_plan_that_a_guard_forbids(
    engine: Engine, box: Sandbox, options: dict[str, Any], says: str
) -> None:
    """The workflow fails for good with the sentences of the plan, which can still be read; nothing was sent."""
    add(box, 1, 2, 3, 4, 5)
    count, more = options["count"], {key: value for key, value in options.items() if key != "count"}
    async with working(engine, box) as client:
        error = await failing(client, "vpsorg.FleetApply", request(fleet(count), prune=True, **more))
        plan = await client.get_workflow_handle("bad").query("plan")

    assert (error.type, error.non_retryable) == ("PlanRefusedError", True)
    assert error.message.startswith("the plan is refused, and nothing was sent: ")
    assert says in error.message
    assert plan["refusals"][0] in error.message
    assert box.ledger == ()


async def test_an_approval(engine: Engine, box: Sandbox) -> None:
    """The workflow shows its plan and waits; what is approved is done, once."""
    add(box, 1)
    async with working(engine, box) as client:
        handle = await begun(client, request(fleet(3), wait_for_approval=True))
        await until(handle, lambda progress: progress["waiting_for_approval"])
        plan = await handle.query("plan")
        assert box.ledger == ()
        await handle.execute_update("approve")
        summary = await handle.result()
        handle = await begun(client, request(fleet(3, "db")))
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await handle.execute_update("approve")
        await handle.result()

    assert "does not wait for an approval" in str(caught.value.cause)
    assert (plan["create"], plan["changes"], plan["pages"]) == (2, 2, 1)
    assert [(step["kind"], step["name"]) for step in plan["steps"]] == [
        ("keep", "web-01"),
        ("create", "web-02"),
        ("create", "web-03"),
    ]
    assert summary.succeeded == 3


async def test_a_rejection(engine: Engine, box: Sandbox) -> None:
    """The workflow fails with the reason, and nothing was sent."""
    async with working(engine, box) as client:
        handle = await begun(client, request(fleet(3), wait_for_approval=True))
        await until(handle, lambda progress: progress["waiting_for_approval"])
        await handle.execute_update("reject", "too dear")
        error = await refused(handle)

    assert (error.type, box.ledger) == ("PlanRefusedError", ())
    assert error.message == "the plan was rejected, and nothing was sent: too dear"


async def test_what_was_approved_is_what_is_done(engine: Engine, box: Sandbox) -> None:
    """The account changes between the plan and its approval: the plan is refused, and the changes are named."""
    add(box, 1, 2, 3)
    async with working(engine, box) as client:
        handle = await begun(client, request(fleet(2), prune=True, max_deletes=9, wait_for_approval=True))
        await until(handle, lambda progress: progress["waiting_for_approval"])
        (other,) = add(box, 4)
        await handle.execute_update("approve")
        error = await refused(handle)

    assert box.ledger == ()
    assert error.type == "PlanRefusedError"
    assert f"web-04 is to delete [{other}, active] now, and was not in the plan" in error.message


async def test_nothing_is_deleted_after_a_failed_delete(engine: Engine, box: Sandbox) -> None:
    """What protects a server is often known to the service alone: the others stay, in later chunks as well."""
    add(box, *range(1, 7))
    box.faults.add(Rule("delete", faults.Reply(400, {"error": "it is protected"}), nth=2))
    async with working(engine, box) as client:
        wanted = request(fleet(2), prune=True, max_deletes=4, chunk=1)
        summary = await run(client, "vpsorg.FleetApply", wanted)
        report = await client.get_workflow_handle("web").query("report")

    assert (summary.succeeded, summary.failed, summary.skipped) == (3, 1, 2)
    assert len([entry for entry in box.requests if entry.method == "DELETE"]) == 2
    assert "it is protected" in summary.failures[0].message
    assert {row["message"] for row in report["rows"] if row["outcome"] == "skipped"} == {
        f"not sent, because the delete of {summary.failures[0].key} failed"
    }


async def test_what_an_old_plan_no_longer_needs(engine: Engine, box: Sandbox) -> None:
    """A chunk whose turn comes late creates no server that its fleet no longer needs."""
    add(box, 1, 7)
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        chunk = {"request": request(fleet(3)), "names": ["web-02", "web-03"], "planned_at": OLD}
        done = await Calls(client)("create_steps", chunk)

    assert changes(box) == [("create", "web-02")]
    assert [(row["key"], row["outcome"]) for row in done["rows"]] == [
        ("web-03", "skipped"),
        ("web-02", "succeeded"),
    ]


async def test_what_was_planned_is_checked_before_it_is_sent(engine: Engine, box: Sandbox) -> None:
    """No server is created for one that has gone, and none deleted that the fleet needs, or that has another id."""
    first, second, third = add(box, 1, 2, 3)
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        call, wanted = Calls(client), request(fleet(2), prune=True)
        servers = {"web-02": second + 1000, "web-04": 9999}
        started = await call("start_steps", {"request": wanted, "servers": servers})
        servers = {"web-02": second, "web-03": first}
        kept = await call("delete_steps", {"request": wanted, "servers": servers})
        deleted = await call(
            "delete_steps", {"request": wanted, "servers": {"web-03": third, "web-09": 9999}}
        )

    assert {(row["outcome"], row["error"]) for row in started["rows"]} == {("failed", "ServerGoneError")}
    assert {row["outcome"] for row in kept["rows"]} == {"skipped"}
    assert {(row["key"], row["how"]) for row in deleted["rows"]} == {
        ("web-03", "deleted"),
        ("web-09", "deleted"),
    }
    assert changes(box) == [("delete", "web-03")]


BAD_CHUNKS: list[tuple[str, Any]] = [
    ("create_chunk", 7),
    ("create_chunk", {"specs": []}),
    ("create_chunk", {"operation": "drop", "specs": [], "timeout": 1, "settle": 1}),
    ("create_chunk", {"operation": "ensure", "specs": 5, "timeout": 1, "settle": 1}),
    ("create_chunk", {"operation": "ensure", "specs": [5], "timeout": 1, "settle": 1}),
    ("create_chunk", {"operation": "ensure", "specs": [], "timeout": "x", "settle": 1}),
    (
        "create_chunk",
        {"operation": "ensure", "specs": [], "timeout": 1, "settle": 1, "receipts": {"web": 5}},
    ),
    ("act_chunk", {"ids": [-1], "timeout": 1}),
    ("act_chunk", {"ids": [1], "timeout": None}),
    ("act_chunk", {"ids": [1], "timeout": 1, "careful": True}),
    ("create_steps", {"request": {}, "names": [], "planned_at": OLD}),
    ("create_steps", {"request": request(fleet(2)), "names": ["web-01"], "planned_at": "today"}),
    ("create_steps", {"request": request(fleet(2)), "names": ["db-01"], "planned_at": OLD}),
    ("delete_steps", {"request": request(fleet(2)), "servers": {"web-01": [1]}}),
    ("start_steps", {"request": request(fleet(2)), "servers": {"db-01": 1}}),
]


async def test_chunks_that_do_not_fit_are_not_tried_again(engine: Engine, box: Sandbox) -> None:
    """Whoever calls the activities of fleets gets an error that says what does not fit, at once."""
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        call = Calls(client)
        for name, chunk in BAD_CHUNKS:
            with pytest.raises(WorkflowFailureError) as caught:
                async with asyncio.timeout(10):
                    await call(name, chunk)
            assert isinstance(caught.value.cause, ActivityError)
            cause = caught.value.cause.cause
            assert isinstance(cause, ApplicationError)
            assert (cause.type, cause.non_retryable) == ("ConfigurationError", True), chunk

    assert box.ledger == ()


async def test_a_killed_worker_changes_no_plan(program: str, tmp_path: Path) -> None:
    """Workers die among the creates and among the deletes: each server is created or deleted once, and no other."""
    engine = EngineProcess(program, tmp_path)
    await engine.start()
    workers: list[WorkerProcess] = []
    try:
        with Sandbox(speed=60, latency=0.2) as box:
            stay = [*add(box, 1, 2), *add(box, *range(1, 5), name="db")]
            go = add(box, *range(5, 13), name="db")
            wanted = request(fleet(20), fleet(4, "db"), prune=True, max_deletes=8, heartbeat_timeout=2)
            workers.append(WorkerProcess(engine.address, box))
            client = await engine.client(VpsOrgPlugin(Client.from_env))
            handle = await begun(client, wanted)
            await happened(lambda: len(box.ledger) >= 4)
            workers.pop().kill()
            workers.append(WorkerProcess(engine.address, box))
            await happened(lambda: len(box.ledger) >= 20)
            workers.pop().kill()
            workers.append(WorkerProcess(engine.address, box))
            summary = await handle.result()
            left = {server.id for server in box.servers}
    finally:
        for worker in workers:
            worker.kill()
        engine.kill()

    assert (summary.succeeded, summary.failed, summary.skipped) == (32, 0, 0), summary
    created = Counter(change.name for change in box.ledger if change.operation == "create")
    assert created == Counter(f"web-{number:02}" for number in range(3, 21))
    assert Counter(change.server_id for change in box.ledger if change.operation == "delete") == Counter(go)
    assert left >= set(stay)
    assert len(left) == 24
