"""``vpsorg.RollingReplace`` on a development server of Temporal, against the sandbox."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client as Engine
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from tests.temporal.processes import EngineProcess, WorkerProcess
from tests.temporal.test_fleets import QUEUE, failing, happened, run, until, working
from vpsorg_async import Client, FleetSpec, Server
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.temporal import ReplaceRequest, VpsOrgPlugin


def fleet(count: int, *, os_id: int = 3) -> FleetSpec:
    return FleetSpec(name="web-{n:02}", count=count, plan_id=1, os_id=os_id, location="us-west")


def request(count: int, **options: Any) -> ReplaceRequest:
    given = {"timeout": 600, "settle": 3, "heartbeat_timeout": 4, "ready_interval": 0.1, **options}
    return ReplaceRequest(fleets=[fleet(count)], **given)


def add(box: Sandbox, count: int, *, os_id: int = 5, first: int = 1) -> list[Any]:
    """Add the servers of a fleet, and return their ids."""
    return [
        box.world.add(name=f"web-{number:02}", os_id=os_id)[0].id for number in range(first, first + count)
    ]


class Hooks:
    """The activities of a user: a check, and a switch, which record their calls."""

    def __init__(self, *, never: str = "", breaks: str = "") -> None:
        self.checked: list[str] = []
        self.switched: list[tuple[Any, Any]] = []
        self._never, self._breaks = never, breaks

    @activity.defn(name="is-ready")
    async def is_ready(self, server: Server) -> bool:
        self.checked.append(server.name)
        return server.status == "active" and server.name != self._never

    @activity.defn(name="move-traffic")
    async def switch(self, old: Server, new: Server) -> None:
        if new.name == self._breaks:
            raise RuntimeError("the balancer is away")
        self.switched.append((old.id, new.id))

    def activities(self) -> list[Any]:
        return [self.is_ready, self.switch]


@asynccontextmanager
async def least_serving(box: Sandbox) -> AsyncIterator[list[int]]:
    """Note how many servers are active, again and again."""
    counts: list[int] = []

    async def watch() -> None:
        while True:
            counts.append(sum(server.status == "active" for server in box.servers))
            await asyncio.sleep(0.01)

    task = asyncio.create_task(watch())
    try:
        yield counts
    finally:
        task.cancel()


def most_existing(box: Sandbox, count: int) -> int:
    """Return how many servers existed at most, by the ledger."""
    most = count
    for change in box.ledger:
        count += {"create": 1, "delete": -1}.get(change.operation, 0)
        most = max(most, count)
    return most


def changes(box: Sandbox) -> Counter[str]:
    return Counter(change.operation for change in box.ledger)


async def begun(engine: Engine, wanted: ReplaceRequest) -> WorkflowHandle[Any, Any]:
    return await engine.start_workflow("vpsorg.RollingReplace", wanted, id="web", task_queue=QUEUE)


async def test_a_fleet_gets_another_operating_system(engine: Engine, box: Sandbox) -> None:
    """Each server is replaced once, checked and switched to, with never fewer that serve, nor more than asked for."""
    olds, hooks = add(box, 5), Hooks()
    (other,) = box.world.add(name="db-01")
    wanted = request(5, surge=2, drain=0.5, ready="is-ready", switch="move-traffic")
    async with working(engine, box, activities=hooks.activities()) as client, least_serving(box) as serving:
        summary = await run(client, "vpsorg.RollingReplace", wanted)
        handle = client.get_workflow_handle("web")
        report, plan = await handle.query("report"), await handle.query("plan")
        again = await run(client, "vpsorg.RollingReplace", wanted, "again")
        history = await handle.fetch_history()
    await Replayer(workflows=[], plugins=[VpsOrgPlugin(Client.from_env)]).replay_workflow(history)

    assert (summary.operation, summary.succeeded, summary.failed) == ("rolling replace", 5, 0)
    assert (again.succeeded, again.failed) == (0, 0)
    assert changes(box) == {"create": 5, "delete": 5}
    assert most_existing(box, 5) == 7
    assert min(serving) >= 6
    assert {change.server_id for change in box.ledger if change.operation == "delete"} == {*olds}
    news = [row["server_id"] for row in report["rows"]]
    assert {server.id for server in box.servers} == {*news, other.id}
    assert [(row["old_id"], row["server_id"]) for row in report["rows"]] == sorted(hooks.switched)
    assert {row["how"] for row in report["rows"]} == {"replaced"}
    assert (plan["replace"], plan["steps"][0]["replaced"]) == (5, "web-01")


async def test_a_new_server_that_is_never_ready(engine: Engine, box: Sandbox) -> None:
    """Its old server stays, nothing more is replaced, and the rows say what exists."""
    olds, hooks = add(box, 4), Hooks(never="web-06")
    wanted = request(4, ready="is-ready", ready_timeout=0.2, switch="move-traffic")
    async with working(engine, box, activities=hooks.activities()) as client:
        summary = await run(client, "vpsorg.RollingReplace", wanted)

    assert (summary.succeeded, summary.failed, summary.skipped) == (1, 1, 2)
    (row,) = summary.failures
    assert (row.key, row.old_id, row.error) == ("web-06", olds[1], "NeverReadyError")
    assert row.server_id in {server.id for server in box.servers}
    assert f"what exists: web-02 [{olds[1]}] and web-06 [{row.server_id}]" in row.message
    assert changes(box) == {"create": 2, "delete": 1}
    assert {server.id for server in box.servers} >= {*olds[1:]}


async def test_a_new_server_that_failed_is_deleted_again(engine: Engine, box: Sandbox) -> None:
    """With delete_failed its place is free for the next one."""
    olds, hooks = add(box, 3), Hooks(never="web-04")
    wanted = request(3, ready="is-ready", ready_timeout=0.2, delete_failed=True, max_failures=2, canary=0)
    async with working(engine, box, activities=hooks.activities()) as client:
        summary = await run(client, "vpsorg.RollingReplace", wanted)

    assert (summary.succeeded, summary.failed, summary.skipped) == (2, 1, 0)
    assert "it was deleted again" in summary.failures[0].message
    assert summary.failures[0].server_id is None
    assert sorted(server.name for server in box.servers) == ["web-01", "web-05", "web-06"]
    assert olds[0] in {server.id for server in box.servers}


async def test_a_switch_that_fails(engine: Engine, box: Sandbox) -> None:
    """Both servers stay, also with delete_failed, because traffic may go to either."""
    olds, hooks = add(box, 2), Hooks(breaks="web-03")
    wanted = request(2, switch="move-traffic", delete_failed=True)
    async with working(engine, box, activities=hooks.activities()) as client:
        summary = await run(client, "vpsorg.RollingReplace", wanted)

    assert (summary.failed, summary.skipped) == (1, 1)
    assert "move-traffic: the balancer is away" in summary.failures[0].message
    assert changes(box) == {"create": 1}
    assert {server.id for server in box.servers} >= {*olds}


async def test_the_old_servers_go_first_without_a_surge(engine: Engine, box: Sandbox) -> None:
    """With surge=0 no server more than the count exists, and max_unavailable bounds what is missing."""
    add(box, 4)
    wanted = request(4, surge=0, max_unavailable=1)
    async with working(engine, box) as client, least_serving(box) as serving:
        summary = await run(client, "vpsorg.RollingReplace", wanted)

    assert (summary.succeeded, changes(box)) == (4, {"create": 4, "delete": 4})
    assert most_existing(box, 4) == 4
    assert min(serving) == 3


async def test_a_server_that_others_have_changed_is_kept(engine: Engine, box: Sandbox) -> None:
    """While a replacement drains its old server gets another name: it is not deleted, and nothing after it is."""
    olds = add(box, 2)
    async with working(engine, box) as client:
        handle = await begun(client, request(2, drain=2.0))
        await happened(lambda: len(box.servers) == 3 and all(one.status == "active" for one in box.servers))
        async with Client(box.token, base_url=box.url) as vps:
            await vps.servers.update(olds[0], name="mail")
        summary = await handle.result()

    assert (summary.failed, summary.skipped) == (1, 1)
    assert "is mail now, and was web-01" in summary.failures[0].message
    assert changes(box) == {"create": 1, "update": 1}


async def test_stable_names(engine: Engine, box: Sandbox) -> None:
    """Each new server gets the name and the host name of the old one, once that is gone."""
    add(box, 2)
    named = FleetSpec(
        name="web-{n:02}", count=2, plan_id=1, os_id=3, location="us-west", hostname="w{n}.example.com"
    )
    async with working(engine, box) as client:
        wanted = ReplaceRequest(fleets=[named], timeout=600, names="stable")
        summary = await run(client, "vpsorg.RollingReplace", wanted)
        again = await run(client, "vpsorg.RollingReplace", wanted, "again")

    assert (summary.succeeded, again.succeeded) == (2, 0)
    assert sorted((server.name, server.hostname) for server in box.servers) == [
        ("web-01", "w1.example.com"),
        ("web-02", "w2.example.com"),
    ]
    assert changes(box) == {"create": 2, "delete": 2, "update": 2}


async def test_pause_and_resume(engine: Engine, box: Sandbox) -> None:
    """No further pair begins while the replacement is paused."""
    add(box, 3)
    async with working(engine, box) as client:
        handle = await begun(client, request(3))
        await happened(lambda: bool(box.ledger))
        await handle.signal("pause")
        await until(handle, lambda progress: progress["succeeded"] == 1)
        paused = await handle.query("progress")
        await handle.signal("resume")
        summary = await handle.result()

    assert (paused["paused"], paused["in_progress"], paused["open"]) == (True, [], 2)
    assert (summary.succeeded, changes(box)) == (3, {"create": 3, "delete": 3})


@pytest.mark.parametrize(("decision", "succeeded"), [("again", 1), ("failed", 0)])
async def test_a_create_in_doubt_is_decided(
    engine: Engine, box: Sandbox, decision: str, succeeded: int
) -> None:
    """A create whose answer was lost, and of which no server is found, waits for a decision; it is not repeated."""
    add(box, 1)
    box.faults.add(Rule("create", faults.DropBefore(), times=1))
    async with working(engine, box) as client:
        handle = await begun(client, request(1, settle=0.5))
        progress = await until(handle, lambda progress: progress["undecided"])
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("decide", args=["web-02", "perhaps"])
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("decide", args=["web-99", "again"])
        await handle.execute_update("decide", args=["web-02", decision])
        summary = await handle.result()

    assert (progress["undecided"], progress["extra"]) == (["web-02"], 1)
    assert (summary.succeeded, changes(box)["create"], changes(box)["delete"]) == (succeeded,) * 3


async def test_a_create_whose_answer_was_lost_is_found(engine: Engine, box: Sandbox) -> None:
    """Its server takes the place of the old one; no second one is created."""
    add(box, 1)
    box.faults.add(Rule("create", faults.DropAfter(), times=1))
    async with working(engine, box) as client:
        summary = await run(client, "vpsorg.RollingReplace", request(1))

    assert (summary.succeeded, changes(box)) == (1, {"create": 1, "delete": 1})


async def test_halves_of_an_unknown_run(engine: Engine, box: Sandbox) -> None:
    """A server that fits already takes the place of one that does not; with a switch nobody knows which is in use."""
    (old,) = add(box, 1)
    add(box, 1, os_id=3, first=2)
    async with working(engine, box, activities=Hooks().activities()) as client:
        error = await failing(client, "vpsorg.RollingReplace", request(1, switch="move-traffic"))
        summary = await run(client, "vpsorg.RollingReplace", request(1))

    assert (error.type, error.non_retryable) == ("PlanRefusedError", True)
    assert "web-02 exists already" in error.message
    assert summary.succeeded == 1
    assert [(change.operation, change.server_id) for change in box.ledger] == [("delete", old)]


async def test_a_cancelled_replacement_leaves_both(engine: Engine, box: Sandbox) -> None:
    """After a cancellation nothing more is sent, and the report has the new server."""
    add(box, 2)
    async with working(engine, box) as client:
        handle = await begun(client, request(2, drain=30))
        await happened(lambda: len(box.ledger) == 1)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        report = await handle.query("report")

    assert changes(box) == {"create": 1}
    assert report["rows"][0]["server_id"] == box.servers[-1].id


async def test_a_long_replacement_continues_in_a_new_run(program: str, box: Sandbox) -> None:
    """A history that grows long ends between two pairs; the next run goes on, with all that was done and failed."""
    add(box, 6)
    hooks = Hooks(never="web-08")
    short = ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=60"]
    environment = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program, dev_server_extra_args=short
    )
    wanted = request(6, surge=2, max_failures=2, ready="is-ready", ready_timeout=0.1)
    async with environment, working(environment.client, box, activities=hooks.activities()) as client:
        summary = await run(client, "vpsorg.RollingReplace", wanted)
        handle = client.get_workflow_handle("web")
        report, runs = await handle.query("report"), await handle.describe()
        plan = await handle.query("plan")

    assert (summary.succeeded, summary.failed, [row.key for row in summary.failures]) == (5, 1, ["web-08"])
    assert changes(box) == {"create": 6, "delete": 5}
    assert most_existing(box, 6) <= 8
    assert len(report["rows"]) == 6
    assert runs.raw_info.first_run_id != runs.run_id
    assert plan["replace"] == 6


@pytest.mark.parametrize(
    "bad",
    [
        {"surge": 0},
        {"surge": -1},
        {"surge": 1.5},
        {"drain": -1},
        {"canary": -1},
        {"max_failures": 0},
        {"names": "mine"},
        {"delete_failed": 1},
        {"ready": 5},
        {"switch": ""},
        {"replace_older_than": 0},
        {"protect": ["db-01"]},
        {"fleets": []},
    ],
)
def test_a_request_is_checked(bad: dict[str, Any]) -> None:
    """The mistake is noticed by the program that makes it."""
    with pytest.raises(ConfigurationError):
        ReplaceRequest(**{"fleets": [fleet(2)], "timeout": 600, **bad})


async def test_a_killed_worker(program: str, tmp_path: Path) -> None:
    """Workers die at any stage: each server is replaced once, and the fleet never serves with less than its size."""
    engine = EngineProcess(program, tmp_path)
    await engine.start()
    workers: list[WorkerProcess] = []
    try:
        with Sandbox(speed=60, latency=0.1) as box:
            olds = add(box, 6)
            workers.append(WorkerProcess(engine.address, box))
            client = await engine.client(VpsOrgPlugin(Client.from_env))
            async with least_serving(box) as serving:
                handle = await begun(client, request(6, surge=3, drain=0.5, canary=0, heartbeat_timeout=2))
                for number in (2, 5):
                    await happened(lambda number=number: len(box.ledger) >= number)  # type: ignore[misc]
                    workers.pop().kill()
                    workers.append(WorkerProcess(engine.address, box))
                summary = await handle.result()
            left = {server.id for server in box.servers}
    finally:
        for worker in workers:
            worker.kill()
        engine.kill()

    assert (summary.succeeded, summary.failed) == (6, 0), summary
    assert changes(box) == {"create": 6, "delete": 6}
    assert most_existing(box, 6) <= 9
    assert min(serving) >= 6
    assert len(left) == 6
    assert not left & {*olds}
