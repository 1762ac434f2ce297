"""Fleet workflows on a development server of Temporal, against the sandbox."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client as Engine
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from vpsorg_async import Client, Server, ServerSpec
from vpsorg_async.errors import AuthenticationError
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults
from vpsorg_async.sandbox.catalogue import uuid
from vpsorg_async.temporal import FleetRequest, FleetSummary, RollingRequest, VpsOrgPlugin

QUEUE = "vpsorg-main"


def specs(count: int, name: str = "web") -> list[ServerSpec]:
    return [ServerSpec(name=f"{name}-{n}", plan_id=1, os_id=5, location="us-west") for n in range(count)]


def created(box: Sandbox) -> Counter[str]:
    return Counter(change.name for change in box.ledger if change.operation == "create")


def plain_engine(engine: Engine, *plugins: Any) -> Engine:
    """A client of the same server with these plugins, as Client.connect(plugins=) gives it."""
    config = engine.config()
    config["plugins"] = plugins
    return Engine(**config)


@asynccontextmanager
async def working(
    engine: Engine,
    box: Sandbox,
    *,
    activities: Iterable[Any] = (),
    dialect: str = "documented",
    **options: Any,
) -> AsyncIterator[Engine]:
    """A client with the plugin, and a worker of it."""
    plugin = VpsOrgPlugin(lambda: Client(box.token, base_url=box.url, dialect=dialect), **options)
    client = plain_engine(engine, plugin)
    async with Worker(client, task_queue=QUEUE, activities=[*activities]):
        yield client


async def run(engine: Engine, workflow: str, request: Any, name: str = "web") -> Any:
    return await engine.execute_workflow(workflow, request, id=name, task_queue=QUEUE)


async def failing(engine: Engine, workflow: str, request: Any, name: str = "bad") -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as caught:
        async with asyncio.timeout(20):
            await run(engine, workflow, request, name)
    assert isinstance(caught.value.cause, ApplicationError)
    return caught.value.cause


async def until(handle: WorkflowHandle[Any, Any], holds: Any) -> dict[str, Any]:
    """Ask for the progress until something holds of it."""
    while True:
        progress: dict[str, Any] = await handle.query("progress")
        if holds(progress):
            return progress
        await asyncio.sleep(0.05)


async def happened(holds: Callable[[], bool]) -> None:
    """Return once something holds of the sandbox."""
    while True:
        if holds():
            return
        await asyncio.sleep(0.01)


async def test_ensure_creates_and_adopts(engine: Engine, box: Sandbox) -> None:
    """A fleet is created once; the same fleet again sends nothing, and a row for each server can be read."""
    async with working(engine, box) as client:
        request = FleetRequest(specs=specs(12), timeout=600, settle=30, chunk=5)
        first = await run(client, "vpsorg.FleetEnsure", request)
        again = await run(client, "vpsorg.FleetEnsure", request, "web-again")
        report = await client.get_workflow_handle("web").query("report", 0)

    assert isinstance(first, FleetSummary)
    assert (first.operation, first.succeeded, first.failed, first.skipped) == ("ensure", 12, 0, 0)
    assert (first.failures, again.succeeded) == ((), 12)
    assert created(box) == Counter({spec.name: 1 for spec in request.specs})
    assert [row["key"] for row in report["rows"]] == [spec.name for spec in request.specs]
    assert {(row["outcome"], row["how"], row["status"]) for row in report["rows"]} == {
        ("succeeded", "created", "active")
    }


async def test_two_programs_that_ensure_a_fleet_meet(engine: Engine, box: Sandbox) -> None:
    """The id of the workflow is the fleet: the second program is refused, or waits for what the first one does."""
    request = FleetRequest(specs=specs(3), timeout=600)
    async with working(engine, box) as client:
        first = await client.start_workflow("vpsorg.FleetEnsure", request, id="web", task_queue=QUEUE)
        with pytest.raises(WorkflowAlreadyStartedError):
            await run(client, "vpsorg.FleetEnsure", request)
        same = await client.execute_workflow(
            "vpsorg.FleetEnsure",
            request,
            id="web",
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )
        assert same == await first.result()

    assert created(box) == Counter({spec.name: 1 for spec in request.specs})


async def test_a_client_of_another_language_starts_a_fleet(engine: Engine, box: Sandbox) -> None:
    """The request and the summary are plain JSON: no plugin is needed to start one."""
    request = {"specs": [{"name": "js-1", "plan_id": 1, "os_id": 5, "location": "us-west"}], "timeout": 600}
    async with working(engine, box):
        summary = await run(engine, "vpsorg.FleetCreate", request)

    assert summary | {"seconds": 0} == {
        "vpsorg": 1,
        "type": "FleetSummary",
        "operation": "create",
        "succeeded": 1,
        "failed": 0,
        "skipped": 0,
        "failures": [],
        "seconds": 0,
    }


@pytest.mark.parametrize(
    ("workflow", "request_", "says"),
    [
        ("vpsorg.FleetCreate", {"specs": [{"name": "a b"}], "timeout": 600}, "$.specs[0].plan_id: missing"),
        ("vpsorg.FleetCreate", {"specs": [], "timeout": 600}, "takes specs"),
        ("vpsorg.FleetEnsure", {"ids": [1], "timeout": 600}, "takes specs"),
        ("vpsorg.FleetEnsure", {"specs": [], "timeout": -1, "memory": 4}, "memory"),
        ("vpsorg.FleetDelete", {"ids": [1, 1], "timeout": 600}, "more than once"),
        ("vpsorg.RollingReboot", {"ids": [1], "timeout": 600, "max_unavailable": 0}, "max_unavailable"),
        ("vpsorg.RollingReboot", None, "expected an object"),
        ("vpsorg.RollingReboot", {"ids": [], "timeout": 600}, "at least one"),
        ("vpsorg.FleetDelete", ["x"], "expected an object"),
    ],
)
async def test_bad_input_fails_at_once(
    engine: Engine, box: Sandbox, workflow: str, request_: Any, says: str
) -> None:
    """What does not fit fails the workflow for good, with a text that names it, and nothing is sent."""
    async with working(engine, box):
        error = await failing(engine, workflow, request_)

    assert (error.type, error.non_retryable) == ("ConfigurationError", True)
    assert says in error.message
    assert box.ledger == ()


async def test_names_that_exist_and_twins_are_refused(engine: Engine, box: Sandbox) -> None:
    """A create refuses names of the account, and any fleet names that are given twice, before anything is sent."""
    async with working(engine, box) as client:
        await run(client, "vpsorg.FleetCreate", FleetRequest(specs=specs(1), timeout=600))
        taken = await failing(client, "vpsorg.FleetCreate", FleetRequest(specs=specs(3), timeout=600))
        twins = FleetRequest(specs=[*specs(1, "db"), *specs(1, "DB")], timeout=600)
        twice = await failing(client, "vpsorg.FleetEnsure", twins, "twins")

    assert "web-0" in taken.message
    assert "more than once" in twice.message
    assert sum(created(box).values()) == 1


async def test_a_refused_token_fails_the_fleet_and_is_in_no_history(
    engine: Engine, box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """A 401 ends the workflow; neither it, nor what it stored, nor any log has the token."""
    caplog.set_level(logging.DEBUG)
    secret = "t0ken-that-is-wrong"
    plugin = VpsOrgPlugin(lambda: Client(secret, base_url=box.url))
    client = plain_engine(engine, plugin)
    async with Worker(client, task_queue=QUEUE):
        error = await failing(client, "vpsorg.FleetEnsure", FleetRequest(specs=specs(1), timeout=600))
        stored = await history_of(client, "bad")

    assert error.type == AuthenticationError.__name__
    assert "FleetRequest" in stored
    assert "AuthenticationError" in caplog.text
    assert secret not in stored + caplog.text


async def history_of(engine: Engine, name: str) -> str:
    """All payloads and failures of a workflow, decoded."""
    found = await engine.get_workflow_handle(name).fetch_history()
    texts = [event.SerializeToString().decode("latin-1") for event in found.events]
    return "\n".join([*texts, found.to_json()])


async def test_a_fleet_pauses_and_goes_on(engine: Engine, box: Sandbox) -> None:
    """A pause ends what workers do; nothing is sent until the fleet goes on, and nothing is created twice."""
    box.faults.add(Rule("create", faults.Delay(0.3)))
    async with working(engine, box) as client:
        handle = await client.start_workflow(
            "vpsorg.FleetCreate",
            FleetRequest(specs=specs(40), timeout=600, settle=1, chunk=10, heartbeat_timeout=4),
            id="web",
            task_queue=QUEUE,
        )
        await happened(lambda: bool(box.ledger))
        await handle.signal("pause")
        await until(handle, lambda progress: progress["paused"])
        paused = await until(handle, lambda progress: progress["working"] == 0)
        sent = len(box.ledger)
        await asyncio.sleep(0.5)
        assert len(box.ledger) == sent
        assert paused["open"] > 0
        await handle.signal("resume")
        summary = await handle.result()

    assert summary.succeeded == 40, summary
    assert set(created(box).values()) == {1}
    assert len(created(box)) == 40


async def test_failures_are_rows_and_can_be_retried(engine: Engine, box: Sandbox) -> None:
    """A server that is refused is a row of the summary; an update tries it again while the fleet is in progress."""
    box.faults.add(Rule("create", faults.Reply(400, {"error": "no such plan"}), times=1))
    async with working(engine, box) as client:
        handle = await client.start_workflow(
            "vpsorg.FleetEnsure",
            FleetRequest(specs=specs(4), timeout=600, settle=0, chunk=1),
            id="web",
            task_queue=QUEUE,
        )
        await until(handle, lambda progress: progress["failed"] == 1)
        retried = await handle.execute_update("retry_failed")
        summary = await handle.result()
        box.faults.add(Rule("create", faults.Reply(400, {"error": "no such plan"})))
        failed = await run(
            client, "vpsorg.FleetEnsure", FleetRequest(specs=specs(1, "db"), timeout=600), "db"
        )

    assert retried == 1
    assert (summary.succeeded, summary.failed) == (4, 0)
    assert [(row.key, row.error) for row in failed.failures] == [("db-0", "BadRequestError")]
    assert "no such plan" in failed.failures[0].message


async def test_a_cancelled_fleet_hands_over_what_it_has(engine: Engine, box: Sandbox) -> None:
    """After a cancellation the report still has the servers that were created, each once."""
    async with working(engine, box) as client:
        handle = await client.start_workflow(
            "vpsorg.FleetCreate",
            FleetRequest(specs=specs(5), timeout=600, heartbeat_timeout=4),
            id="web",
            task_queue=QUEUE,
        )
        await happened(lambda: len(box.ledger) == 5)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        again = await run(client, "vpsorg.FleetEnsure", FleetRequest(specs=specs(5), timeout=600), "again")

    assert again.succeeded == 5
    assert set(created(box).values()) == {1}


async def test_delete_and_what_is_gone(engine: Engine, box: Sandbox) -> None:
    """A fleet is deleted by its ids; one that is not in the account is skipped."""
    ids = [server.id for server in box.world.add(3)]
    async with working(engine, box) as client:
        summary = await run(client, "vpsorg.FleetDelete", FleetRequest(ids=[*ids, 99], timeout=600))

    assert (summary.operation, summary.succeeded, summary.skipped) == ("delete", 3, 1)
    assert Counter(change.operation for change in box.ledger)["delete"] == 3


async def test_what_a_list_does_not_show_yet_is_deleted_all_the_same(engine: Engine, box: Sandbox) -> None:
    """Absence from a list proves nothing: it lags behind."""
    box.faults.add(Rule("create", faults.HideCreated(1e5, by_id=False)))
    async with working(engine, box) as client:
        async with Client(box.token, base_url=box.url) as vps:
            server = await vps.servers.create(specs(1)[0])
        summary = await run(client, "vpsorg.FleetDelete", FleetRequest(ids=[server.id], timeout=600))

    assert (summary.succeeded, summary.skipped) == (1, 0)


async def test_a_root_password_is_handed_over_and_stored_nowhere(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """on_password gets the server with its password as soon as it is created; no history and no log has it."""
    caplog.set_level(logging.DEBUG)
    kept: dict[str, str | None] = {}
    statuses: list[str] = []

    async def keep(server: Server) -> None:
        kept[server.name] = server.password
        statuses.extend(each.status for each in box.servers)

    with Sandbox(speed=60, dialect="provider") as box:
        async with working(engine, box, dialect="provider", on_password=keep) as client:
            spec = ServerSpec(name="web-0", plan_id=uuid("plan", 1), os_id=uuid("os-version", 5), location=1)
            summary = await run(client, "vpsorg.FleetEnsure", FleetRequest(specs=[spec], timeout=600))
            stored = await history_of(client, "web")

    assert summary.succeeded == 1, summary
    (password,) = kept.values()
    assert password
    assert "web-0" in stored
    assert password not in stored + caplog.text
    assert statuses == ["provisioning"]


# -- rolling reboots ---------------------------------------------------------------------------------------------------


async def test_a_rolling_reboot_with_a_health_check(engine: Engine, box: Sandbox) -> None:
    """Each server is rebooted once and checked by the user's activity, never more at once than allowed."""
    ids = [server.id for server in box.world.add(6)]
    checked: list[Any] = []

    @activity.defn(name="is-healthy")
    async def is_healthy(server: Server) -> bool:
        checked.append(server.id)
        return checked.count(server.id) > 1

    async with working(engine, box, activities=[is_healthy]) as client:
        request = RollingRequest(
            ids=ids, timeout=600, max_unavailable=2, health="is-healthy", health_interval=0.0
        )
        summary = await run(client, "vpsorg.RollingReboot", request)

    assert (summary.operation, summary.succeeded) == ("rolling reboot", 6)
    assert Counter(checked) == Counter(dict.fromkeys(ids, 2))
    assert Counter(change.server_id for change in box.ledger) == Counter(ids)


async def test_a_server_that_stays_unhealthy_stops_the_rollout(engine: Engine, box: Sandbox) -> None:
    """After max_failures nothing more is rebooted: the rest is skipped, with the reason."""
    ids = [server.id for server in box.world.add(4)]

    @activity.defn(name="is-healthy")
    async def is_healthy(server: Server) -> bool:
        return False

    async with working(engine, box, activities=[is_healthy]) as client:
        request = {"ids": ids, "timeout": 600, "health": "is-healthy", "health_retries": 1}
        summary = await run(client, "vpsorg.RollingReboot", request)

    assert (summary.succeeded, summary.failed, summary.skipped) == (0, 1, 3)
    assert summary.failures[0].message == "it is not healthy after its reboot: is-healthy returned False"
    assert len(box.ledger) == 1


async def test_servers_that_are_down_count_as_unavailable(engine: Engine, box: Sandbox) -> None:
    """16 servers of which 6 are down, and a quarter may be: nothing is rebooted, and the rows say why."""
    ids = [server.id for server in (*box.world.add(10), *box.world.add(6, status="stopped"))]
    async with working(engine, box) as client:
        request = RollingRequest(ids=ids, timeout=600, max_unavailable=0.25)
        summary = await run(client, "vpsorg.RollingReboot", request)
        report = await client.get_workflow_handle("web").query("report")

    assert (summary.succeeded, summary.failed, summary.skipped) == (0, 0, 16)
    assert Counter(row["message"] for row in report["rows"]) == {
        "it is stopped, not active": 6,
        "not started: 6 of 16 servers were unavailable at the beginning, and at most 4 may be; "
        "bring them back, or leave them out": 10,
    }
    assert box.ledger == ()


async def test_a_cancelled_rollout_waits_for_its_workers(engine: Engine) -> None:
    """When it ends its workers have ended, and nothing more is rebooted; the rows say what was in progress."""
    with Sandbox(speed=60, durations=Durations(rebooting=math.inf)) as box:
        ids = [server.id for server in box.world.add(4)]
        async with working(engine, box) as client:
            request = RollingRequest(ids=ids, timeout=600, max_unavailable=2, canary=0, heartbeat_timeout=2)
            handle = await client.start_workflow("vpsorg.RollingReboot", request, id="web", task_queue=QUEUE)
            await happened(lambda: len(box.ledger) == 2)
            await handle.cancel()
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            report = await handle.query("report")
            history = await handle.fetch_history()

    happenings = Counter(EventType.Name(event.event_type) for event in history.events)
    assert happenings["EVENT_TYPE_ACTIVITY_TASK_CANCELED"] == 2
    assert history.events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED
    assert [row["outcome"] for row in report["rows"]] == ["failed", "failed", "open", "open"]
    assert all("cancelled while this server was in progress" in row["message"] for row in report["rows"][:2])
    assert len(box.ledger) == 2


async def test_a_health_check_that_no_worker_has(engine: Engine, box: Sandbox) -> None:
    """The row names the activity that is missing, not an unhealthy server alone."""
    (server,) = box.world.add(1)
    async with working(engine, box) as client:
        request = {"ids": [server.id], "timeout": 600, "health": "mistyped", "health_retries": 1}
        summary = await run(client, "vpsorg.RollingReboot", request)

    assert summary.failed == 1
    assert "mistyped: Activity function mistyped" in summary.failures[0].message
    assert "not registered" in summary.failures[0].message


@pytest.mark.parametrize(("decision", "reboots"), [("done", 1), ("again", 2)])
async def test_a_reboot_in_doubt_is_decided(
    engine: Engine, box: Sandbox, decision: str, reboots: int
) -> None:
    """A reboot whose answer was lost is not repeated: the workflow asks, and does what it is told."""
    (server,) = box.world.add(1)
    box.faults.add(Rule("reboot", faults.DropAfter(), times=1))
    async with working(engine, box) as client:
        request = RollingRequest(ids=[server.id], timeout=600)
        handle = await client.start_workflow("vpsorg.RollingReboot", request, id="web", task_queue=QUEUE)
        progress = await until(handle, lambda progress: progress["undecided"])
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("decide", args=[server.id, "perhaps"])
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("decide", args=[12, "done"])
        await happened(lambda: box.servers[0].status == "active")
        await handle.execute_update("decide", args=[server.id, decision])
        summary = await handle.result()

    assert progress["undecided"] == [server.id]
    assert summary.succeeded == 1
    assert [change.operation for change in box.ledger] == ["reboot"] * reboots


async def test_a_long_rollout_continues_in_a_new_run(program: str, box: Sandbox) -> None:
    """A history that grows long ends between two servers; the next run goes on, with all that was done and failed."""
    ids = [server.id for server in box.world.add(12)]
    short = ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=30"]
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program, dev_server_extra_args=short
    )

    @activity.defn(name="is-healthy")
    async def is_healthy(server: Server) -> bool:
        return server.id != ids[1]

    async with environment, working(environment.client, box, activities=[is_healthy]) as client:
        request = RollingRequest(
            ids=ids, timeout=600, max_unavailable=3, max_failures=2, health="is-healthy", health_retries=1
        )
        summary = await run(client, "vpsorg.RollingReboot", request)
        handle = client.get_workflow_handle("web")
        report, runs = await handle.query("report"), await handle.describe()

    assert (summary.succeeded, summary.failed, [row.key for row in summary.failures]) == (11, 1, [ids[1]])
    assert Counter(change.server_id for change in box.ledger) == Counter(ids)
    assert [row["key"] for row in report["rows"]] == ids
    assert runs.raw_info.first_run_id != runs.run_id
