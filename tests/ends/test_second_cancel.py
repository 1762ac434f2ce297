"""A second cancellation, or a second Ctrl-C, while a run is left or a client is closed."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.ends.moments import ours, shut_down
from tests.fleet.virtual_account import (
    account,
    accounted,
    client,
    committed,
    kinds,
    specs,
    untracked,
    virtual,
)
from vpsorg_async import Failed, ServerSpec
from vpsorg_async.errors import NotFoundError, OutcomeUnknownError
from vpsorg_async.sandbox import Rule, Sandbox, faults

TIMEOUT = 900.0


async def left(
    vps: Any, wanted: list[ServerSpec], after: float, again: float, second: str, **options: Any
) -> tuple[Any, bool]:
    """Cancel a run after this number of seconds and once more; return it, and whether it ended as cancelled."""
    hold: dict[str, Any] = {}

    async def call() -> None:
        async with vps.fleet.creating(wanted, timeout=TIMEOUT, **options) as hold["run"]:
            async for _ in hold["run"]:
                pass

    task = asyncio.create_task(call())
    await asyncio.sleep(after)
    task.cancel()
    await asyncio.sleep(again)
    me = asyncio.current_task()
    assert me is not None
    if not task.done():
        shut_down(me) if second == "shut down" else task.cancel()
    await asyncio.wait([task])
    return hold["run"], task.cancelled()


MOMENTS = [0.0, 0.1, 0.9, 1.1, 1.5, 3.0]
SECONDS = ["cancel", "shut down"]


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("again", MOMENTS)
@pytest.mark.parametrize("on_cancel", ["detach", "delete"])
@virtual
async def test_no_outcome_is_lost(on_cancel: str, again: float, second: str) -> None:
    """Whenever the second cancellation comes, each server has its outcome, and every created server is among them."""
    silent = Rule("create", faults.NeverAnswer(applied=True), nth=2)
    slow = Rule("delete", faults.Delay(0.5))
    async with account(silent, slow, latency=0.3, options={"max_in_flight": 2}) as (box, vps):
        run, cancelled = await left(vps, specs(6), 1.0, again, second, on_cancel=on_cancel)

        assert cancelled
        assert accounted(run.report, specs(6))
        assert untracked(run.report, box) == []
        names = set(committed(box).values())
        for outcome in run.report.skipped:
            assert outcome.key not in names
        await asyncio.sleep(5)
        assert ours() == set()


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("again", [0.2, 0.7, 1.2, 1.9, 2.4])
@virtual
async def test_a_rollback_that_is_cut_off_says_what_stayed(again: float, second: str) -> None:
    """Each server that still exists is reported with its id, record and root password; the rest is gone."""
    slow = Rule("delete", faults.Delay(0.5))
    async with account(slow, dialect="provider", options={"dialect": "provider", "max_in_flight": 1}) as (
        box,
        vps,
    ):
        plan = (await vps.plans.list())[0].id
        system = (await vps.operating_systems.list())[0].id
        wanted = [ServerSpec(name=f"web-{n}", plan_id=plan, os_id=system, location=1) for n in range(4)]
        run, cancelled = await left(vps, wanted, 30.0, again, second, on_cancel="delete")

        assert cancelled
        assert run.report.rolled_back
        await asyncio.sleep(5)
        there = {server.id for server in box.servers}
        assert second == "shut down" or not there
        assert again > 1 or second == "cancel" or there
        assert {str(number) for number in there} <= {str(failed.server_id) for failed in run.report.failed}
        for failed in run.report.failed:
            said = str(failed.error)
            stays = "may still be charged" in said
            assert ("deleted again" in said) or stays
            assert stays or str(failed.server_id) not in {str(number) for number in there}
            assert (failed.server is not None) == stays
            if failed.server is not None:
                assert failed.server.password
                assert str(failed.server.id) == str(failed.server_id)


@pytest.mark.parametrize("hidden", [3.0, 10.0, 20.0])
@virtual
async def test_an_unseen_server_is_deleted_when_it_is_seen(hidden: float) -> None:
    """A DELETE that is answered 404 because no read shows the server yet is sent again, within half a minute."""
    async with account(Rule("create", faults.HideCreated(hidden))) as (box, vps):
        run, _ = await left(vps, specs(3), 1.0, 0.5, "cancel", on_cancel="delete")

        assert box.servers == ()
        assert {str(failed.error).partition(": ")[2] for failed in run.report.failed} == {
            "deleted again, because the call was left early"
        }


@pytest.mark.parametrize(
    "trouble", [faults.DropBefore(), faults.Html(503), faults.Html(502), faults.Garbage(applied=False)]
)
@virtual
async def test_an_unseen_server_is_not_gone_by_a_repeated_delete(trouble: faults.Action) -> None:
    """The 404 of a retried DELETE proves nothing either, where the first one was lost and changed nothing."""
    rules = (Rule("create", faults.HideCreated(8)), Rule("delete", trouble, times=1))
    async with account(*rules) as (box, vps):
        server = await vps.servers.create(specs(1)[0])
        with pytest.raises(OutcomeUnknownError) as caught:
            await vps.servers.delete(server.id)
        assert isinstance(caught.value.reason, NotFoundError)
        assert len(box.servers) == 1

    async with account(*rules) as (box, vps):
        run, _ = await left(vps, specs(2), 1.0, 0.0, "cancel", on_cancel="delete")
        assert box.servers == ()
        assert kinds(run.report) == {"Failed": 2}


@virtual
async def test_a_server_that_stays_unseen_is_not_called_deleted() -> None:
    """After half a minute of 404s the report says that it may still be charged for."""
    async with account(Rule("create", faults.HideCreated(100))) as (box, vps):
        run, _ = await left(vps, specs(2), 1.0, 0.0, "cancel", on_cancel="delete")

        assert len(box.servers) == 2
        for failed in run.report.failed:
            assert isinstance(failed, Failed)
            assert "may still be charged" in str(failed.error)
            assert failed.server_id in committed(box)


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("again", [0.0, 0.01, 0.5])
@virtual
async def test_a_close_that_is_cancelled_leaves_no_wait(again: float, second: str) -> None:
    """Each wait, queued call and watcher of other tasks ends, though the closing task is cancelled twice meanwhile."""
    clock = asyncio.get_running_loop().time
    async with Sandbox(clock=clock, faults=[Rule("get", faults.NeverAnswer())]) as box:
        (server,) = box.world.add(status="provisioning")
        box.world.set_status(server.id, "provisioning", seconds=1e6)
        others: list[asyncio.Task[Any]] = []

        async def watch(vps: Any) -> None:
            async for _ in vps.watch():
                pass

        async def owner() -> None:
            async with client(box, max_in_flight=1) as vps:
                others.extend(
                    asyncio.create_task(work)
                    for work in (
                        vps.wait_until(server.id, "active", timeout=1e5),
                        vps.servers.get(server.id),
                        vps.servers.get(server.id),
                        watch(vps),
                    )
                )
                await asyncio.sleep(1)

        task = asyncio.create_task(owner())
        await asyncio.sleep(1 + again)
        task.cancel()
        await asyncio.sleep(0)
        me = asyncio.current_task()
        assert me is not None
        if not task.done():
            shut_down(me) if second == "shut down" else task.cancel()
        await asyncio.wait([task])
        done, pending = await asyncio.wait(others, timeout=10)
        assert not pending
        for other in done:
            assert other.cancelled() or other.exception() is not None
        await asyncio.sleep(0.1)
        assert ours() == set()


TWICE = textwrap.dedent(
    """
    import asyncio, signal, sys
    from vpsorg_async import Client, ServerSpec

    # whoever was started in the background may have been told to ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main(url, token, on_cancel):
        specs = [ServerSpec(name=f"web-{n:03}", plan_id=1, os_id=5, location="us-west") for n in range(6)]
        answered = set()

        def tell(event):
            if type(event).__name__ == "CommandAnswered":
                answered.add(event.key)
                if len(answered) == 4:
                    print("answered", flush=True)

        def told(event):
            if type(event).__name__ == "RequestSent" and event.operation == "delete":
                print("deleting", flush=True)

        async with Client(token, base_url=url, on_event=told) as vps:
            try:
                async with vps.fleet.creating(specs, timeout=900, on_cancel=on_cancel, on_event=tell) as run:
                    async for _ in run:
                        pass
            finally:
                print(run.report.to_json(), flush=True)

    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
)


@pytest.mark.parametrize("on_cancel", ["detach", "delete"])
def test_a_second_control_c(on_cancel: str) -> None:
    """While a run is left or rolled back: the report is complete and names what stays, and no warning is printed."""
    rules = [
        Rule("create", faults.NeverAnswer(applied=True), nth=2),
        Rule("create", faults.NeverAnswer(applied=True), nth=4),
        Rule("delete", faults.NeverAnswer()),
    ]
    with Sandbox(faults=rules) as box:
        command = [sys.executable, "-Xdev", "-Ic", TWICE, box.url, box.token, on_cancel]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "answered\n"
                process.send_signal(signal.SIGINT)
                if on_cancel == "delete":
                    assert process.stdout.readline() == "deleting\n"
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=40)
            finally:
                process.kill()

        assert out.splitlines()[-1] == "interrupted"
        assert out.count('"outcome": "failed"') == 6
        assert len(box.servers) == 6
        for server in box.servers:
            # by its id, or as one whose outcome is unknown
            assert str(server.id) in out or f"create of '{server.name}'" in out
        assert "Traceback" not in err
        assert "never retrieved" not in err
        assert "Unclosed" not in err
