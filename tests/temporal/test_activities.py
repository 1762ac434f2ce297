"""The activities for workflows of users, and `create_or_find`, on a development server of Temporal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client as Engine
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy as Retries
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Worker

from vpsorg_async import Client, Receipt, RetryPolicy, Server, ServerSpec, WaitOutcome
from vpsorg_async.plain import from_plain
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.temporal import VpsOrgPlugin, create_or_find

QUEUE = "vpsorg-main"
SPEC = ServerSpec(name="web-0", plan_id=1, os_id=5, location="us-west")


@workflow.defn
class Call:
    """Calls one activity with these arguments."""

    @workflow.run
    async def run(self, name: str, args: Sequence[Any], attempts: int) -> Any:
        return await workflow.execute_activity(
            name,
            args=args,
            start_to_close_timeout=timedelta(seconds=60),
            retry_policy=Retries(maximum_attempts=attempts, initial_interval=timedelta(milliseconds=10)),
        )


@workflow.defn
class CreateAndWait:
    """A workflow as a user writes one."""

    @workflow.run
    async def run(self, spec: ServerSpec, settle: float) -> Server:
        server = await create_or_find(spec, settle=settle)
        active: Server = await workflow.execute_activity(
            "vpsorg.wait_until",
            args=[server, "active", 600],
            result_type=Server,
            start_to_close_timeout=timedelta(hours=1),
            heartbeat_timeout=timedelta(seconds=10),
        )
        return active


class Calls:
    """Calls activities by their names, each in a workflow of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.number = 0

    async def __call__(self, name: str, *args: Any, attempts: int = 0) -> Any:
        self.number += 1
        return await self.engine.execute_workflow(
            Call.run, args=[f"vpsorg.{name}", args, attempts], id=f"call-{self.number}", task_queue=QUEUE
        )


def with_plugin(engine: Engine, box: Sandbox, **options: Any) -> Engine:
    config = engine.config()
    config["plugins"] = [VpsOrgPlugin(lambda: Client(box.token, base_url=box.url, **options))]
    return Engine(**config)


async def test_the_calls_of_an_account(engine: Engine, box: Sandbox) -> None:
    """Each activity is one call; records come back as records, and a receipt can be waited on."""
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        call = Calls(client)
        server = await call("create_server", SPEC)
        active = await call("wait_until", server, "active", 600)
        changed = await call("update_server", active.id, {"backups_enabled": True})
        fields = {"name": "web-1", "hostname": "web-1.example.com", "backups_enabled": False}
        replaced = await call("replace_server", active.id, fields)
        rebooted = await call("reboot_server", active.id)
        outcomes = await call("wait_until_all", [rebooted], "active", 600)
        stopped = await call("stop_server", active.id)
        rested = await call("wait_until", stopped, "stopped", 600)
        started = await call("start_server", active.id)
        listed = await call("list_servers")
        found = await call("find_created", SPEC, [active.id], 0.1)
        await call("delete_server", active.id)
        with pytest.raises(WorkflowFailureError):
            await call("get_server", active.id)

    assert (active.status, changed.backups_enabled, replaced.name) == ("active", True, "web-1")
    assert server.status == "provisioning"
    assert isinstance(rebooted, Receipt)
    assert [type(outcome) for outcome in outcomes] == [WaitOutcome]
    assert (outcomes[0].error, rested.status, started.operation) == (None, "stopped", "start")
    assert [each.id for each in listed] == [active.id]
    assert found is None


@pytest.mark.parametrize(
    ("name", "args", "says"),
    [
        ("create_server", [{"name": "web-0", "memory": 4}], "memory"),
        ("create_server", [7], "expected an object"),
        ("create_server", [], "missing a required argument"),
        ("get_server", [-1], "server id"),
        ("wait_until", [1, "perhaps", 5], "perhaps"),
        ("wait_until", [1, "active", -5], "timeout"),
        ("find_created", [SPEC, "x"], "before"),
        ("update_server", [1, {"plan_id": 2}], "plan_id"),
        ("update_server", [1, {"server": 2, "name": "web"}], "server"),
        ("replace_server", [1, {"name": "web"}], "hostname"),
    ],
)
async def test_bad_input_is_not_tried_again(
    engine: Engine, box: Sandbox, name: str, args: list[Any], says: str
) -> None:
    """What does not fit fails the activity for good, with a text that names it."""
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        with pytest.raises(WorkflowFailureError) as caught:
            await Calls(client)(name, *args)

    failed = caught.value.cause
    assert isinstance(failed, ActivityError)
    cause = failed.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("ConfigurationError", True)
    assert says in cause.message
    assert from_plain(cause.details[0]).final
    assert box.ledger == ()


@pytest.mark.parametrize("name", ["create_server", "reboot_server"])
async def test_a_change_whose_answer_was_lost_is_not_sent_again(
    engine: Engine, box: Sandbox, name: str
) -> None:
    """Whatever the retry policy says: the second one would be a second server, or a second reboot."""
    (server,) = box.world.add(1)
    box.faults.add(Rule(name.removesuffix("_server"), faults.Html(503, applied=True)))
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        with pytest.raises(WorkflowFailureError) as caught:
            await Calls(client)(name, SPEC if name == "create_server" else server.id)

    assert isinstance(caught.value.cause, ActivityError)
    assert isinstance(caught.value.cause.cause, ApplicationError)
    assert caught.value.cause.cause.type == "OutcomeUnknownError"
    assert len(box.ledger) == 1


async def test_a_create_that_was_refused_is_tried_again(engine: Engine, box: Sandbox) -> None:
    """What surely was not applied may be repeated, as the retry policy says."""
    box.faults.add(Rule("create", faults.RateLimit(1), times=2))
    client = with_plugin(engine, box, retry=RetryPolicy(rate_limit_patience=0))
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        server = await Calls(client)("create_server", SPEC)

    assert [change.server_id for change in box.ledger] == [server.id]


async def test_create_or_find_finds_what_was_lost(engine: Engine, box: Sandbox) -> None:
    """The answer to a create is lost: its server is found by its name, and waited for."""
    box.faults.add(Rule("create", faults.DropAfter(), times=1))
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[CreateAndWait]):
        server = await client.execute_workflow(
            CreateAndWait.run, args=[SPEC, 5.0], id="create", task_queue=QUEUE
        )

    assert (server.name, server.status) == ("web-0", "active")
    assert len(box.ledger) == 1


async def test_create_or_find_does_not_send_again(engine: Engine, box: Sandbox) -> None:
    """Nothing was found within the window: the create is unknown, and the workflow fails with that."""
    box.faults.add(Rule("create", faults.DropBefore()))
    client = with_plugin(engine, box)
    async with Worker(client, task_queue=QUEUE, workflows=[CreateAndWait]):
        with pytest.raises(WorkflowFailureError) as caught:
            await client.execute_workflow(CreateAndWait.run, args=[SPEC, 0.1], id="create", task_queue=QUEUE)

    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "OutcomeUnknownError"
    assert len([entry for entry in box.requests if entry.method == "POST"]) == 1


@pytest.mark.parametrize("name", ["delete_server", "stop_server"])
async def test_a_further_attempt_sees_what_the_first_one_did(engine: Engine, box: Sandbox, name: str) -> None:
    """The command was applied, and its result was lost: the next attempt is not refused by its own success."""
    (server,) = box.world.add(1)
    # the command is applied, all that could show it is hidden for as long as the first attempt lasts
    box.faults.add(Rule(name.removesuffix("_server"), faults.DropAfter(), nth=1))
    for operation in ("get", "list"):
        box.faults.add(Rule(operation, faults.Html(503), times=3))
    client = with_plugin(engine, box, retry=RetryPolicy(attempts=1))
    async with Worker(client, task_queue=QUEUE, workflows=[Call]):
        await Calls(client)(name, server.id)

    assert len(box.ledger) == 1
