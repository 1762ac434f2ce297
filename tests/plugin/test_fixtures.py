"""The fixtures of the pytest plugin, used as a user would."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

import pytest

from vpsorg_async import Client, ServerSpec, client
from vpsorg_async.errors import PaymentRequiredError, RequestTimeoutError, WaitTimeoutError
from vpsorg_async.pytest_plugin import (
    MakeClient,
    RunVirtually,
    assert_committed,
    assert_no_duplicates,
    assert_none_left,
    assert_requests,
)
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.timing import SystemClock
from vpsorg_async.virtual_time import VirtualTimeLoop


def specs(count: int) -> list[ServerSpec]:
    return [
        ServerSpec(name=f"web-{n:02}", plan_id=1, os_id=5, location="us-west") for n in range(1, count + 1)
    ]


# -- the sandbox and its client -------------------------------------------------------------------------------------


def test_a_synchronous_test_has_a_sandbox(vpsorg_sandbox: Sandbox) -> None:
    """The sandbox serves a test that has no event loop at all."""
    vpsorg_sandbox.world.add(2)
    asked = urllib.request.Request(
        f"{vpsorg_sandbox.url}/api/v1/servers/", headers={"Authorization": f"Bearer {vpsorg_sandbox.token}"}
    )
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["count"] == 2


async def test_an_asynchronous_test_has_a_client(vpsorg_sandbox: Sandbox, vpsorg_client: MakeClient) -> None:
    """The client waits for the fast servers of the sandbox without further settings."""
    async with vpsorg_client() as vps:
        report = await vps.fleet.create(specs(3), timeout=30)
        await vps.fleet.delete([server.id for server in report.servers], timeout=30)

    assert_committed(vpsorg_sandbox, create=3, delete=3)
    assert_none_left(vpsorg_sandbox)


async def test_a_test_may_have_several_clients(vpsorg_sandbox: Sandbox, vpsorg_client: MakeClient) -> None:
    """Each call makes another client, with options of its own."""
    async with vpsorg_client() as one, vpsorg_client(max_in_flight=1) as other:
        assert await one.servers.list() == await other.servers.list() == ()

    assert_requests(vpsorg_sandbox, "GET /api/v1/servers/", 2)


async def test_code_that_reads_the_environment(vpsorg_env: Sandbox) -> None:
    """``Client.from_env()`` reaches the sandbox."""
    async with Client.from_env() as vps:
        assert await vps.servers.list() == ()

    assert len(vpsorg_env.requests) == 1


@pytest.mark.parametrize("vpsorg_settings", [{"credit": 1}])
async def test_settings_by_parametrizing(vpsorg_client: MakeClient) -> None:
    """``vpsorg_settings`` are the settings with which the sandbox is created."""
    async with vpsorg_client() as vps:
        one, two = specs(2)
        await vps.servers.create(one)
        with pytest.raises(PaymentRequiredError):
            await vps.servers.create(two)


@pytest.mark.parametrize("vpsorg_settings", [{"dialect": "provider"}])
class TestTheOtherDialect:
    """A sandbox of another dialect gets clients that speak it."""

    async def test_in_a_thread(self, vpsorg_env: Sandbox, vpsorg_client: MakeClient) -> None:
        """By the factory, and by the environment."""
        async with vpsorg_client() as vps, Client.from_env() as other:
            assert await vps.servers.list() == await other.servers.list() == ()

    def test_in_virtual_time(self, vpsorg_run: RunVirtually) -> None:
        """And in a run."""

        async def scenario(vps: Client, box: Sandbox) -> None:
            assert await vps.servers.list() == ()

        vpsorg_run(scenario)


class TestSettingsByOverriding:
    """A fixture of the same name in a class, module or conftest goes first."""

    @pytest.fixture
    def vpsorg_settings(self) -> Mapping[str, Any]:
        return {"token": "vps_mine"}

    def test_in_a_thread(self, vpsorg_sandbox: Sandbox) -> None:
        """It holds for the sandbox in its thread."""
        assert vpsorg_sandbox.token == "vps_mine"

    def test_in_virtual_time(self, vpsorg_run: RunVirtually) -> None:
        """It holds for a run in virtual time."""

        async def scenario(vps: Client, box: Sandbox) -> str:
            return box.token

        assert vpsorg_run(scenario) == "vps_mine"


# -- virtual time ---------------------------------------------------------------------------------------------------


def test_five_minutes_take_no_time(vpsorg_run: RunVirtually) -> None:
    """A provisioning takes its 2 to 5 minutes by every clock that the scenario can see, and none by the machine's."""

    async def scenario(vps: Client, box: Sandbox) -> float:
        began = asyncio.get_running_loop().time()
        report = await vps.fleet.create(specs(20), timeout=900)
        report.raise_for_failures()
        assert all(120 <= outcome.seconds <= 310 for outcome in report.succeeded)
        assert_committed(box, create=20)
        return asyncio.get_running_loop().time() - began

    began = time.monotonic()
    assert 120 <= vpsorg_run(scenario) <= 310
    assert time.monotonic() - began < 60


def test_a_time_out_in_virtual_time(vpsorg_run: RunVirtually) -> None:
    """Timeouts of the client are virtual, too: that of a wait, and that of a request that is never answered."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        server = await vps.servers.create(specs(1)[0])
        with pytest.raises(WaitTimeoutError):
            await vps.wait_until(server.id, "active", timeout=60)
        box.faults.add(Rule("get", faults.NeverAnswer()))
        with pytest.raises(RequestTimeoutError):
            await vps.servers.get(server.id)
        assert asyncio.get_running_loop().time() > 90

    vpsorg_run(scenario)


def test_the_result_of_a_run(vpsorg_run: RunVirtually) -> None:
    """The scenario's result is returned, and its exceptions are raised, including its own timeout."""

    async def returns(vps: Client, box: Sandbox) -> str:
        return "done"

    async def raises(vps: Client, box: Sandbox) -> None:
        async with asyncio.timeout(60):
            await asyncio.sleep(3600)

    assert vpsorg_run(returns) == "done"
    with pytest.raises(TimeoutError):
        vpsorg_run(raises)


def test_a_run_that_does_not_end(vpsorg_run: RunVirtually) -> None:
    """A scenario that waits for nothing is ended, and the failure says by what."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="still running after 600 s of virtual time"):
        vpsorg_run(scenario, limit=600)


async def test_a_run_inside_a_running_loop(vpsorg_run: RunVirtually) -> None:
    """An asynchronous test gets an error that asks for a synchronous one."""

    async def scenario(vps: Client, box: Sandbox) -> None: ...

    with pytest.raises(pytest.fail.Exception, match="call it from a synchronous test"):
        vpsorg_run(scenario)


def test_options_of_the_client_of_a_run(vpsorg_run: RunVirtually) -> None:
    """Options given to the run are those of its client."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        await vps.servers.list()

    events: list[Any] = []
    vpsorg_run(scenario, on_event=events.append)

    assert len(events) == 2


def test_code_that_makes_its_own_client(vpsorg_run: RunVirtually) -> None:
    """It reaches the sandbox of the run by the environment, and waits in the same time; afterwards all is as before."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        async with Client.from_env() as own, Client(box.token, base_url=box.url) as another:
            server = await own.servers.create(specs(1)[0])
            with pytest.raises(WaitTimeoutError):
                await another.wait_until(server.id, "active", timeout=60)
            await own.wait_until(server.id, "active", timeout=600)

    vpsorg_run(scenario)

    assert "VPSORG_API_TOKEN" not in os.environ
    assert vars(client)["SystemClock"] is SystemClock


def test_threads_are_heard_before_a_long_jump() -> None:
    """Virtual time does not jump to a distant timeout while a thread is about to answer."""

    async def main() -> str:
        async with asyncio.timeout(86_000):
            return await asyncio.to_thread(str, "heard")

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(main()) == "heard"


# -- the marker -----------------------------------------------------------------------------------------------------


@pytest.mark.vpsorg_faults("create", "drop_after", times=1)
def test_a_fault_by_name(vpsorg_run: RunVirtually) -> None:
    """A create whose answer was lost is found by its name: one server, not two."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        report = await vps.fleet.create(specs(2), timeout=900)
        report.raise_for_failures()
        assert_committed(box, create=2)
        assert_no_duplicates(box)

    vpsorg_run(scenario)


@pytest.mark.vpsorg_faults(
    Rule("list", faults.Reply(418), times=1),
    {"operation": "list", "times": 1, "actions": [{"do": "reply", "status": 451}]},
)
@pytest.mark.vpsorg_faults("list", {"do": "reply", "status": 409}, times=1)
class TestFaultsInOrder:
    """Rules as objects, in their JSON form and by name, on classes and functions, are applied in reading order."""

    @pytest.mark.vpsorg_faults("list", {"do": "reply", "status": 410}, times=1)
    async def test_the_order(self, vpsorg_sandbox: Sandbox, vpsorg_client: MakeClient) -> None:
        """The rules of the class come first, those that stand higher up before the others."""
        async with vpsorg_client() as vps:
            for status in (418, 451, 409, 410):
                with pytest.raises(Exception, match=f"answered {status}"):
                    await vps.servers.list()

        assert [entry.fault for entry in vpsorg_sandbox.requests] == ["reply"] * 4


# -- assertions -----------------------------------------------------------------------------------------------------


async def test_a_wrong_ledger_is_shown(vpsorg_sandbox: Sandbox, vpsorg_client: MakeClient) -> None:
    """The message of a failed ledger assertion names each difference, and then every change."""
    async with vpsorg_client() as vps:
        for spec in [*specs(1), *specs(1)]:
            await vps.servers.create(spec)

    with pytest.raises(AssertionError) as wrong:
        assert_committed(vpsorg_sandbox, create=1, delete=1)
    assert str(wrong.value).splitlines()[:4] == [
        "the ledger is not as expected:",
        "  create   1 expected, 2 committed",
        "  delete   1 expected, 0 committed",
        "all changes:",
    ]
    assert "create   12345 web-01  -> provisioning  (request #1)" in str(wrong.value)
    with pytest.raises(AssertionError, match="web-01: created 2 times"):
        assert_no_duplicates(vpsorg_sandbox)
    with pytest.raises(AssertionError, match="12346 web-01: "):
        assert_none_left(vpsorg_sandbox)


@pytest.mark.vpsorg_faults("get", {"do": "html", "status": 500}, nth=2)
async def test_wrong_requests_are_shown(vpsorg_sandbox: Sandbox, vpsorg_client: MakeClient) -> None:
    """The message of a failed request assertion says how many there were, and lists them with their faults."""
    assert_requests(vpsorg_sandbox, "*", 0)
    (server,) = vpsorg_sandbox.world.add()
    async with vpsorg_client() as vps:
        await vps.servers.list(location="us-west")
        await vps.servers.get(server.id)
        await vps.servers.get(server.id)

    assert_requests(vpsorg_sandbox, "GET /api/v1/servers/*/", 3)
    assert_requests(vpsorg_sandbox, "GET *", at_least=2, at_most=4)
    with pytest.raises(AssertionError, match=r"4 requests match 'GET \*', not at least 5\.") as wrong:
        assert_requests(vpsorg_sandbox, "GET *", at_least=5)
    assert "/api/v1/servers/?location=us-west" in str(wrong.value)
    assert "500  GET    /api/v1/servers/12345/  fault: html" in str(wrong.value)
    with pytest.raises(AssertionError, match="not 0 to 3"):
        assert_requests(vpsorg_sandbox, "GET *", at_most=3)
    with pytest.raises(AssertionError, match="0 requests match 'DELETE "):
        assert_requests(vpsorg_sandbox, "DELETE *")


def test_a_long_log_is_cut(vpsorg_run: RunVirtually) -> None:
    """A message shows the end of a long log, and says how much it leaves out."""

    async def scenario(vps: Client, box: Sandbox) -> str:
        await asyncio.gather(*(vps.servers.create(spec) for spec in specs(50)))
        with pytest.raises(AssertionError) as wrong:
            assert_committed(box)
        return str(wrong.value)

    assert "(10 earlier ones)" in vpsorg_run(scenario)
