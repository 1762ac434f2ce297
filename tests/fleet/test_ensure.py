"""`ensure` brings the account to what the specs say from any state; a second run changes nothing."""

from __future__ import annotations

import asyncio
import json
import math
import random
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from tests.fleet.virtual_account import (
    account,
    accounted,
    commands,
    creates,
    duplicates,
    kinds,
    specs,
    virtual,
)
from vpsorg_async import Client, FleetPlan, ServerSpec
from vpsorg_async.errors import ConfigurationError, ServiceError, UnexpectedStatusError, WaitTimeoutError
from vpsorg_async.fleet import CommandSent
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

TIMEOUT = 900.0


@virtual
async def test_an_account_of_all_sorts() -> None:
    """Missing: created; stopped: started; starting: waited for; active: kept; suspended, doubled: refused."""
    wanted = specs(8)
    async with account() as (box, vps):
        for name, status in [
            ("web-001", "active"),
            ("web-002", "stopped"),
            ("web-003", "provisioning"),
            ("web-004", "starting"),
            ("web-005", "suspended"),
            ("web-006", "active"),
            ("web-006", "active"),
            ("other", "stopped"),
        ]:
            box.world.add(name=name, status=status)
        before = {server.name: server for server in box.servers}

        report = await vps.fleet.ensure(wanted, timeout=TIMEOUT)

        assert accounted(report, wanted)
        assert {outcome.key: outcome.how for outcome in report.succeeded} == {
            "web-000": "created",
            "web-001": "adopted",
            "web-002": "started",
            "web-003": "adopted",
            "web-004": "adopted",
            "web-007": "created",
        }
        assert {str(server.status) for server in report.servers} == {"active"}
        suspended, doubled = report.failed
        assert (suspended.key, doubled.key) == ("web-005", "web-006")
        assert isinstance(suspended.error, UnexpectedStatusError)
        assert suspended.server_id == before["web-005"].id
        assert all(str(server.id) in str(doubled.error) for server in box.servers if server.name == "web-006")
        assert commands(box) == {"create": 2, "start": 1}
        assert next(server for server in box.servers if server.name == "other") == before["other"]


@virtual
async def test_a_second_run_sends_no_change() -> None:
    """An account that matches the specs is only read: one list, no other request."""
    async with account() as (box, vps):
        await vps.fleet.ensure(specs(20), timeout=TIMEOUT)
        seen = len(box.requests)

        report = await vps.fleet.ensure(specs(20), timeout=TIMEOUT)

        assert [outcome.how for outcome in report.succeeded] == ["adopted"] * 20
        assert [outcome.attempts for outcome in report.succeeded] == [0] * 20
        assert [entry.method for entry in box.requests[seen:]] == ["GET"]


@virtual
async def test_differences_are_told_and_left() -> None:
    """A server that differs from its spec is adopted unchanged; the outcome lists the differences."""
    spec = ServerSpec(
        name="web-000",
        plan_id=2,
        os_id=3,
        location="us-east",
        hostname="web.example.com",
        backups_enabled=True,
    )
    async with account() as (box, vps):
        box.world.add(name="web-000")
        report = await vps.fleet.ensure([spec], timeout=TIMEOUT)

        (outcome,) = report.succeeded
        assert [line.split(" ")[0] for line in outcome.differences] == ["plan_id", "os_id", "location"]
        assert commands(box) == {}
        assert json.loads(report.to_json())["outcomes"][0]["differences"] == list(outcome.differences)


@virtual
async def test_events_name_the_call_and_the_command() -> None:
    """All events of a call name the operation of its report, and beside it the command that was sent."""
    events: list[Any] = []
    lost = Rule("create", faults.DropAfter(), nth=1)
    async with account(lost) as (box, vps):
        box.world.add(name="web-001", status="stopped")
        report = await vps.fleet.ensure(specs(3), timeout=TIMEOUT, on_event=events.append)
        rolled = await vps.fleet.rolling_reboot(report.servers, timeout=TIMEOUT, on_event=events.append)

        sent = {
            (event.operation, event.key, event.command) for event in events if isinstance(event, CommandSent)
        }
        assert {event.operation for event in events} == {report.operation, rolled.operation}
        assert {command for operation, _, command in sent if operation == "ensure"} == {"create", "start"}
        assert {command for operation, _, command in sent if operation == "rolling reboot"} == {"reboot"}
        assert ("ensure", "web-001", "start") in sent


@virtual
async def test_a_dry_run_changes_nothing() -> None:
    """A dry run only reads, and its plan has a printable step for each spec; the plan is then executed as it was."""
    async with account() as (box, vps):
        box.world.add(name="web-001", location="us-east")
        box.world.add(name="web-002", status="stopped")

        plan = await vps.fleet.ensure(specs(4), dry_run=True)

        assert isinstance(plan, FleetPlan)
        assert [step.kind for step in plan.steps] == ["create", "keep", "start", "create"]
        assert plan.changes == 3
        assert str(plan).startswith("4 servers: 2 to create, 1 to start, 1 to keep\n+ create web-000")
        assert {entry.method for entry in box.requests} == {"GET"}

        report = await vps.fleet.ensure(specs(4), timeout=TIMEOUT)

        assert commands(box) == {"create": 2, "start": 1}
        assert kinds(report) == {"Succeeded": 4}


@virtual
async def test_lost_answers_under_ensure() -> None:
    """ensure finds its lost creates as create does, and a lost start by polling the server."""
    rules = [Rule("create", faults.DropAfter(), every=2), Rule("start", faults.DropAfter(), every=2)]
    async with account(*rules) as (box, vps):
        for number in range(4):
            box.world.add(name=f"web-{number:03}", status="stopped")
        report = await vps.fleet.ensure(specs(10), timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 10}
        assert commands(box) == {"create": 6, "start": 4}


@virtual
async def test_a_start_that_was_refused() -> None:
    """Without credit no further server is started or created; running servers are kept."""
    async with account(Rule("start", faults.Reply(402), nth=1), options={"max_in_flight": 1}) as (box, vps):
        for name, status in [("web-000", "stopped"), ("web-001", "stopped"), ("web-003", "active")]:
            box.world.add(name=name, status=status)
        report = await vps.fleet.ensure(specs(4), timeout=TIMEOUT)

        assert kinds(report) == {"Failed": 1, "Skipped": 3}
        assert commands(box) == {}


@virtual
async def test_what_is_refused_stops_the_rest() -> None:
    """on_failure="stop" counts a server that can't be adopted as a failure."""
    async with account(options={"max_in_flight": 1}) as (box, vps):
        box.world.add(name="web-001", status="suspended")
        report = await vps.fleet.ensure(specs(4), timeout=TIMEOUT, on_failure="stop")

        assert [type(outcome).__name__ for outcome in report.outcomes] == [
            "Succeeded",
            "Failed",
            "Skipped",
            "Skipped",
        ]
        assert commands(box) == {"create": 1}


@pytest.mark.parametrize("command", ["stop", "delete"])
@virtual
async def test_an_open_command_that_does_not_end(command: str) -> None:
    """What this client has sent to the server comes first: the outcome says what it waited for; nothing is sent."""
    slow = Rule("delete", faults.SoftDelete("deleting", seconds=1e6, in_list=True))
    async with account(slow, durations=Durations(stopping=math.inf)) as (box, vps):
        (server,) = box.world.add(name="web-000")
        await getattr(vps.servers, command)(server.id)
        report = await vps.fleet.ensure(specs(2), timeout=TIMEOUT)

        (failure,) = report.failed
        assert (failure.key, type(failure.error)) == ("web-000", WaitTimeoutError)
        assert f"server {server.id}" in str(failure.error)
        assert commands(box) == {command: 1, "create": 1}


@pytest.mark.parametrize("command", ["stop", "delete"])
@virtual
async def test_what_is_refused_stops_what_waits_for_another_command(command: str) -> None:
    """It is skipped once that command is done: nothing is started or created any more."""
    slow = Rule("delete", faults.SoftDelete("deleting", seconds=60, in_list=True))
    async with account(slow, durations=Durations(stopping=60)) as (box, vps):
        (server,) = box.world.add(name="web-000")
        box.world.add(name="web-001", status="suspended")
        await getattr(vps.servers, command)(server.id)
        report = await vps.fleet.ensure(specs(2), timeout=TIMEOUT, on_failure="stop")

        assert [type(outcome).__name__ for outcome in report.outcomes] == ["Skipped", "Failed"]
        assert "not sent, because web-001 failed" in report.skipped[0].reason
        assert commands(box) == {command: 1}


@virtual
async def test_trying_again_after_ensure() -> None:
    """retry_failed of ensure plans again: servers that were refused and have been fixed since are adopted."""
    async with account(Rule("create", faults.Reply(400), nth=1), options={"max_in_flight": 1}) as (box, vps):
        (held,) = box.world.add(name="web-001", status="suspended")
        report = await vps.fleet.ensure(specs(3), timeout=TIMEOUT)
        assert kinds(report) == {"Failed": 2, "Succeeded": 1}

        box.world.set_status(held.id, "stopped")
        whole = await report.retry_failed()

        assert [getattr(outcome, "how", outcome) for outcome in whole.outcomes] == [
            "created",
            "started",
            "created",
        ]
        assert whole.operation == "ensure"


@virtual
async def test_an_account_that_can_not_be_read() -> None:
    """If the account cannot be listed, ensure raises that error and sends nothing."""
    async with account(Rule("list", faults.Html(503))) as (box, vps):
        with pytest.raises(ServiceError):
            await vps.fleet.ensure(specs(3), timeout=TIMEOUT)
        with pytest.raises(ServiceError):
            await vps.fleet.ensure(specs(3), dry_run=True)

        assert creates(box) == []


@pytest.mark.parametrize(
    ("given", "options", "word"),
    [
        (specs(1), {"timeout": None}, "timeout"),
        (specs(1), {"timeout": 0}, "timeout"),
        (specs(1), {"settle": "5"}, "settle"),
        (specs(1), {"on_failure": None}, "on_failure"),
        (specs(1)[0], {}, "list"),
        (None, {}, "list"),
        ([None], {}, "ServerSpec"),
        (specs(2) * 2, {}, "web-000, web-001"),
        (specs(2) * 2, {"dry_run": True}, "web-000, web-001"),
        (specs(1), {"dry_run": True, "timeout": -1}, "timeout"),
        (specs(1), {"dry_run": True, "settle": -1}, "settle"),
    ],
)
@virtual
async def test_bad_input_sends_nothing(given: Any, options: dict[str, Any], word: str) -> None:
    """The error names the mistake, and is raised before any request."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError, match=word):
            await vps.fleet.ensure(given, **{"timeout": TIMEOUT, **options})

        assert box.requests == ()


@virtual
async def test_nothing_asked_for() -> None:
    """No specs give an empty plan and an empty report."""
    async with account() as (box, vps):
        assert (await vps.fleet.ensure([], dry_run=True)).steps == ()
        assert (await vps.fleet.ensure([], timeout=TIMEOUT)).outcomes == ()
        assert box.requests == ()


# -- killed in the middle -------------------------------------------------------------------------------------------

KILLED = textwrap.dedent(
    """
    import asyncio, sys
    from vpsorg_async import Client, ServerSpec
    from vpsorg_async.fleet import ServerSettled

    def tell(event):
        if not isinstance(event, ServerSettled):
            # goes on only when told to, so that it is killed at this very moment
            print("event", flush=True)
            sys.stdin.readline()

    async def main(url, token, count):
        specs = [ServerSpec(name=f"web-{n:03}", plan_id=1, os_id=5, location="us-west") for n in range(count)]
        async with Client(token, base_url=url, max_in_flight=4, min_interval=0.02) as vps:
            await vps.fleet.ensure(specs, timeout=60, on_event=tell)

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    """
)


def run_and_kill(box: Sandbox, count: int, events: int) -> int:
    """Run ensure in a process of its own, and kill it after that number of events; return the number it printed."""
    told = 0
    command = [sys.executable, "-Ic", KILLED, box.url, box.token, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in process.stdout:
            told += 1
            if told == events:
                process.kill()
                break
            print("go on", file=process.stdin, flush=True)
    return told


@pytest.mark.timeout(120)
def test_killed_ten_times() -> None:
    """kill -9 at ten moments of ensure over 60 specs, then one run to the end: 60 servers, no duplicate."""
    rng = random.Random(60)
    quick = Durations(provisioning=(0.05, 0.3))
    with Sandbox(durations=quick, latency=0.005) as box:
        box.faults.add(Rule("create", faults.DropAfter(), every=7))
        moments = [rng.randrange(1, 13) for _ in range(10)]
        told = [run_and_kill(box, 60, moment) for moment in moments]
        grown = len(box.servers)
        report = asyncio.run(complete(box, 60))

        # every one of them was killed in the middle of its work
        assert told == moments
        assert 10 < grown < 60
        assert len(report.succeeded) == len(box.servers) == 60
        assert duplicates(box) == []
        assert commands(box)["create"] == 60


async def complete(box: Sandbox, count: int) -> Any:
    """The last run, which is not killed."""
    async with Client(box.token, base_url=box.url, min_interval=0.02) as vps:
        return await vps.fleet.ensure(specs(count), timeout=60)
