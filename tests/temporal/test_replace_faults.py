"""``vpsorg.RollingReplace`` with odd activities of users, odd answers, and requests that nobody can read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client as Engine
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from tests.temporal.test_fleets import QUEUE, failing, happened, run, until, working
from tests.temporal.test_replace import Hooks, add, begun, changes, request
from vpsorg_async import Client, Server
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.temporal import RollingRequest, replace_activities


def raw(data: bytes, encoding: bytes = b"json/plain", **metadata: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding, **metadata}, data=data))


ODD = [
    raw(b"{nope"),
    raw(b"[" * 900 + b"]" * 900),
    raw(b"1" * 5000),
    raw(b"{}", b"json/protobuf", messageType=b"x.Y"),
    raw(b"x", b"binary/encrypted"),
    {"vpsorg": 1, "type": "Server"},
    "true",
    1,
    None,
]
"""Results and details that no converter reads, or that are not True."""


class OddHooks:
    """Activities that return what a worker in another language might, and then True."""

    def __init__(self) -> None:
        self.left = [*ODD, *(ApplicationError("odd", detail, type="Odd") for detail in ODD[:5])]

    def next(self) -> Any:
        found = self.left.pop(0) if self.left else True
        if isinstance(found, Exception):
            raise found
        return found

    @activity.defn(name="is-ready")
    async def is_ready(self, server: Server) -> Any:
        return self.next()

    @activity.defn(name="move-traffic")
    async def switch(self, old: Server, new: Server) -> Any:
        return ODD[3]


async def test_activities_that_return_anything(engine: Engine, box: Sandbox) -> None:
    """A result that cannot be read is not True, and one of a switch is of no account; no workflow hangs."""
    (old,) = add(box, 1)
    hooks = OddHooks()
    wanted = request(1, ready="is-ready", ready_interval=0, ready_timeout=600, switch="move-traffic")
    async with working(engine, box, activities=[hooks.is_ready, hooks.switch]) as client:
        async with asyncio.timeout(60):
            summary = await run(client, "vpsorg.RollingReplace", wanted)
    assert (summary.succeeded, hooks.left, changes(box)) == (1, [], {"create": 1, "delete": 1}), summary
    assert old not in {server.id for server in box.servers}


async def test_a_health_check_that_returns_anything(engine: Engine, box: Sandbox) -> None:
    """The same holds for the checks of a rolling reboot."""
    ids, hooks = add(box, 1), OddHooks()
    wanted = RollingRequest(
        ids=ids, timeout=600, health="is-ready", health_retries=20, health_interval=0, heartbeat_timeout=4
    )
    async with working(engine, box, activities=[hooks.is_ready]) as client:
        async with asyncio.timeout(60):
            summary = await run(client, "vpsorg.RollingReboot", wanted)
    assert (summary.succeeded, hooks.left) == (1, []), summary


async def test_one_answer_proves_no_absence(engine: Engine, box: Sandbox) -> None:
    """A server that one read does not find is still replaced, and deleted; it is not left behind."""
    (old,) = add(box, 1)
    box.faults.add(Rule("get", faults.Reply(404, {"detail": "Not found."}), path=f"/**/{old}/", nth=1))
    box.faults.add(Rule("get", faults.Reply(404, {"detail": "Not found."}), path=f"/**/{old}/", nth=2))
    async with working(engine, box) as client:
        summary = await run(client, "vpsorg.RollingReplace", request(1))
    assert (summary.succeeded, changes(box)) == (1, {"create": 1, "delete": 1})
    assert old not in {server.id for server in box.servers}


async def test_nothing_is_created_for_a_server_with_another_name(engine: Engine, box: Sandbox) -> None:
    """A pair whose old server was renamed since the plan fails before its new one costs anything."""
    _, second = add(box, 2)
    async with working(engine, box) as client:
        handle = await begun(client, request(2))
        await happened(lambda: bool(box.ledger))
        async with Client(box.token, base_url=box.url) as vps:
            await vps.servers.update(second, name="mail")
        summary = await handle.result()
    assert (summary.succeeded, summary.failed) == (1, 1)
    assert "is mail now, and was web-02" in summary.failures[0].message
    assert changes(box) == {"create": 1, "delete": 1, "update": 1}


async def test_a_cancellation_has_one_order(engine: Engine, box: Sandbox) -> None:
    """What is in progress is cancelled in the order in which it began: a replay that had another one would fail."""
    add(box, 8)
    box.faults.add(Rule("create", faults.SetStatus("provisioning", 1e6)))
    async with working(engine, box) as client:
        handle = await begun(client, request(8, surge=8, canary=0))
        await happened(lambda: len(box.servers) == 16)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
        report, history = await handle.query("report"), await handle.fetch_history()
    names, ended = {}, []
    for event in history.events:
        begins = event.activity_task_scheduled_event_attributes
        if begins.activity_type.name == "vpsorg.create_replacement":
            names[event.event_id] = json.loads(begins.input.payloads[0].data)["name"]
        if event.HasField("activity_task_cancel_requested_event_attributes"):
            ended.append(names[event.activity_task_cancel_requested_event_attributes.scheduled_event_id])
    assert {row["error"] for row in report["rows"]} == {"CancelledError"}
    assert ended == sorted(names.values())


async def test_checks_fit_into_a_history(engine: Engine, box: Sandbox) -> None:
    """Whatever the interval, a server that is not ready for long is checked more and more rarely."""
    add(box, 1)
    hooks = Hooks(never="web-02")
    wanted = request(1, ready="is-ready", ready_interval=0, ready_timeout=6)
    async with working(engine, box, activities=hooks.activities()) as client:
        summary = await run(client, "vpsorg.RollingReplace", wanted)
    assert summary.failures[0].error == "NeverReadyError"
    assert 3 < len(hooks.checked) < 60


async def test_more_than_one_workflow_can_hold(
    engine: Engine, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs that would not fit into the engine's payloads are refused at once, and nothing is sent."""
    monkeypatch.setattr(replace_activities, "MAX_PAIRS", 2)
    add(box, 3)
    async with working(engine, box) as client:
        error = await failing(client, "vpsorg.RollingReplace", request(3))
    assert (error.type, box.ledger) == ("PlanRefusedError", ())
    assert "3 servers would be replaced, and one workflow replaces at most 2" in error.message


@pytest.mark.parametrize("workflow", ["vpsorg.RollingReplace", "vpsorg.FleetApply", "vpsorg.FleetEnsure"])
async def test_a_request_that_nobody_can_read(engine: Engine, box: Sandbox, workflow: str) -> None:
    """It fails the workflow at once; no activity is tried for ever with it."""
    async with working(engine, box) as client:
        for number, payload in enumerate((ODD[3], ODD[4], RawValue(Payload(data=b"{}")))):
            error = await failing(client, workflow, payload, f"bad-{number}")
            assert (error.type, error.non_retryable) == ("ConfigurationError", True)


@pytest.mark.parametrize("age", [1e300, 1e12])
def test_an_age_that_is_no_time_span(age: float) -> None:
    """It is a mistake of the request, and not an error of the worker that is tried for ever."""
    with pytest.raises(ConfigurationError, match="replace_older_than is at most"):
        request(1, replace_older_than=age)


async def test_a_plan_that_others_have_overtaken(engine: Engine, box: Sandbox) -> None:
    """While a replacement is paused another one replaces all: nothing is created for servers that have gone."""
    add(box, 2)
    async with working(engine, box) as client:
        handle = await client.start_workflow(
            "vpsorg.RollingReplace",
            request(2, names="stable"),
            id="slow",
            task_queue=QUEUE,
            start_signal="pause",
        )
        await until(handle, lambda progress: progress["total"] == 2)
        other = await run(client, "vpsorg.RollingReplace", request(2, names="stable"))
        await handle.signal("resume")
        summary = await handle.result()
    assert (other.succeeded, summary.succeeded, summary.failed, summary.skipped) == (2, 0, 1, 1)
    assert summary.failures[0].error == "ServerGoneError"
    assert "nothing was created for it" in summary.failures[0].message
    assert changes(box) == {"create": 2, "delete": 2, "update": 2}
    assert sorted(server.name for server in box.servers) == ["web-01", "web-02"]


async def test_nothing_begins_after_a_delete_that_failed(engine: Engine, box: Sandbox) -> None:
    """No old server is deleted any more, so that each further new one would be one too many."""
    add(box, 4)
    box.faults.add(Rule("delete", faults.Reply(400, {"error": "it is protected"}), times=1))
    async with working(engine, box) as client:
        summary = await run(client, "vpsorg.RollingReplace", request(4, surge=3, max_failures=4))
        report = await client.get_workflow_handle("web").query("report")
    assert (summary.failed, summary.skipped, changes(box)) == (1, 3, {"create": 1})
    assert "the delete of web-01" in report["rows"][-1]["message"]
