"""The Airflow example in plain asyncio, against the real base classes and the sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from vpsorg_async import Client, Receipt, ServerSpec
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.plain import from_plain
from vpsorg_async.pytest_plugin import RunVirtually, assert_committed
from vpsorg_async.sandbox import Sandbox

# read when it is imported
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-"))
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "true")
pytest.importorskip(
    "airflow.triggers.base", reason="Airflow is not installed: pip install apache-airflow-core"
)


@pytest.fixture
def airflow(example: Callable[[str], ModuleType]) -> ModuleType:
    """The example."""
    return example("airflow_trigger")


async def receipts(vps: Client, count: int) -> list[Receipt]:
    """Receipts of creates that were just acknowledged."""
    specs = [ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west") for n in range(count)]
    report = await vps.fleet.create(specs, timeout=900, wait=False)
    found = [vps.receipt(server) for server in report.servers]
    return [receipt for receipt in found if receipt is not None]


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def stored(trigger: Any) -> Any:
    """The trigger as another triggerer gets it from the database."""
    _, given = json.loads(json.dumps(trigger.serialize()))
    return type(trigger)(**given)


async def fired(trigger: Any) -> dict[str, Any]:
    """The payload of the only event of a trigger."""
    (payload,) = [event.payload async for event in trigger.run()]
    return dict(json.loads(json.dumps(payload)))


def test_triggers_share_one_client(airflow: ModuleType, vpsorg_run: RunVirtually) -> None:
    """Forty triggers on one loop fire with their servers, over one connection."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        waited = await receipts(vps, 40)
        sent = len(box.requests)
        triggers = [airflow.ServerActiveTrigger(each.to_json(), in_seconds(900)) for each in waited]
        events = await asyncio.gather(*map(fired, triggers))
        servers = [from_plain(event["server"]) for event in events]
        assert [(server.id, server.status) for server in servers] == [
            (receipt.server_id, "active") for receipt in waited
        ]
        # forty clients would have forty connections, and would poll several times each
        polls = box.requests[sent:]
        assert len({poll.connection for poll in polls}) == 1
        assert len(polls) < 4 * len(triggers)

    vpsorg_run(scenario)


def test_another_triggerer_goes_on(airflow: ModuleType, vpsorg_run: RunVirtually) -> None:
    """What was cancelled with its triggerer goes on from what was stored; nothing is sent but polls."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        (receipt,) = await receipts(vps, 1)
        trigger = airflow.ServerActiveTrigger(receipt.to_json(), in_seconds(900))
        first = asyncio.create_task(fired(trigger))
        await asyncio.sleep(20)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        event = await fired(stored(trigger))
        assert from_plain(event["server"]).id == receipt.server_id
        assert_committed(box, create=1)

    vpsorg_run(scenario)


def test_triggers_that_fail(airflow: ModuleType, vpsorg_run: RunVirtually) -> None:
    """A server that is suspended, a deadline that passed, and a state that can't be read each fire with a reason."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        suspended, slow = await receipts(vps, 2)
        box.world.suspend(suspended.server_id)
        for receipt, deadline, says in (
            (suspended.to_json(), in_seconds(900), "suspended"),
            (slow.to_json(), in_seconds(-5), "provisioning"),
            ("{}", in_seconds(900), "not a receipt"),
        ):
            assert says in (await fired(airflow.ServerActiveTrigger(receipt, deadline)))["error"]

    vpsorg_run(scenario)


def test_the_path_of_the_trigger(airflow: ModuleType) -> None:
    """A triggerer finds the class by the path."""
    path, _ = airflow.ServerActiveTrigger("", "").serialize()
    assert path == f"{airflow.__name__}.ServerActiveTrigger"


# -- the operator ---------------------------------------------------------------------------------------------------


def operator(airflow: ModuleType, before: list[Any]) -> Any:
    return airflow.CreateServer(
        task_id="create", name="web-1", plan_id=1, os_id=5, location="us-west", before=before
    )


def deferred(task: Any, number: int) -> Any:
    """What a try of the task defers with."""
    from airflow.sdk.exceptions import TaskDeferred  # type: ignore[import-not-found,unused-ignore]

    with pytest.raises(TaskDeferred) as raised:
        task.execute({"ti": SimpleNamespace(try_number=number)})
    return raised.value


def test_a_task_from_create_to_result(airflow: ModuleType, vpsorg_env: Sandbox) -> None:
    """A worker creates and defers, the trigger fires, a worker returns the server; none of it has the token."""
    task = operator(airflow, before=airflow.read_ids.function())
    deferral = deferred(task, 1)
    state = json.dumps(deferral.trigger.serialize())
    event = asyncio.run(fired(stored(deferral.trigger)))
    result = getattr(task, deferral.method_name)({}, event)

    assert from_plain(result).name == "web-1"
    assert_committed(vpsorg_env, create=1)
    assert vpsorg_env.token not in state + json.dumps(result)


def test_a_worker_that_dies_before_it_defers(airflow: ModuleType, vpsorg_env: Sandbox) -> None:
    """The next try waits for the server of the first one."""
    before = airflow.read_ids.function()
    first = deferred(operator(airflow, before), 1)
    second = deferred(operator(airflow, before), 2)

    assert_committed(vpsorg_env, create=1)
    found = [Receipt.from_json(each.trigger.receipt).server_id for each in (first, second)]
    assert found[0] == found[1]


def test_a_next_try_that_creates(
    airflow: ModuleType, vpsorg_env: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first try created nothing, the next one does, after it has searched."""
    monkeypatch.setattr(airflow, "SETTLE", 0.2)
    deferred(operator(airflow, []), 2)
    assert_committed(vpsorg_env, create=1)


def test_a_name_of_another_server(airflow: ModuleType, vpsorg_env: Sandbox) -> None:
    """A server that was there before is not taken for the result, whichever try."""
    vpsorg_env.world.add(1, name="web-1")
    before = airflow.read_ids.function()
    for number in (1, 2):
        with pytest.raises(ConfigurationError, match="web-1"):
            operator(airflow, before).execute({"ti": SimpleNamespace(try_number=number)})
    assert_committed(vpsorg_env)


def test_a_task_whose_trigger_fails(airflow: ModuleType) -> None:
    """The reason is the task's error."""
    with pytest.raises(airflow.AirflowException, match="too late"):
        operator(airflow, []).completed({}, {"error": "too late"})
