"""Fleets end to end against the sandbox: all in parallel, one outcome for each server, nothing applied twice."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from vpsorg_async import Client, Evidence, Failed, Report, ServerSpec, Skipped, Succeeded
from vpsorg_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    FleetError,
    NotFoundError,
    PaymentRequiredError,
    UnexpectedStatusError,
    VpsOrgError,
    WaitTimeoutError,
)
from vpsorg_async.sandbox import Durations, ManualClock, Rule, Sandbox, faults

SPEED = 5000
"""A provisioning of 2 to 5 minutes takes 24 to 60 milliseconds."""
ABSENT = 99_999


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(speed=SPEED) as running:
        yield running


@pytest.fixture
async def vps(box: Sandbox) -> AsyncIterator[Client]:
    async with client(box) as running:
        yield running


def client(box: Sandbox, token: str = "", **options: Any) -> Client:
    """A client of the sandbox that polls often enough for its speed."""
    return Client(token or box.token, base_url=box.url, **{"min_interval": 0.01, "grace": 0.05, **options})


def specs(count: int, *, prefix: str = "web") -> list[ServerSpec]:
    return [
        ServerSpec(name=f"{prefix}-{number:02}", plan_id=1, os_id=5, location="us-west")
        for number in range(count)
    ]


def done(box: Sandbox) -> Counter[str]:
    """The number of times that each change was really applied."""
    return Counter(change.operation for change in box.ledger)


def asked(box: Sandbox, method: str) -> int:
    """The number of requests of a method."""
    return sum(entry.method == method for entry in box.requests)


def kinds(report: Report) -> list[str]:
    return [type(outcome).__name__ for outcome in report.outcomes]


# -- the main operations --------------------------------------------------------------------------------------------


async def test_forty_servers_from_nothing_to_nothing(box: Sandbox, vps: Client) -> None:
    """Created, rebooted, stopped, started, deleted: every server once each, and every report complete and in order."""
    wanted = specs(40)

    created = await vps.fleet.create(wanted, timeout=30)
    created.raise_for_failures()
    assert [outcome.key for outcome in created.outcomes] == [spec.name for spec in wanted]
    assert [server.name for server in created.servers] == [spec.name for spec in wanted]
    assert {str(server.status) for server in created.servers} == {"active"}
    assert all(server.ip_address for server in created.servers)
    ids = [server.id for server in created.servers]
    assert len(set(ids)) == 40

    for call, operation, target in (
        (vps.fleet.reboot, "reboot", "active"),
        (vps.fleet.stop, "stop", "stopped"),
        (vps.fleet.start, "start", "active"),
        (vps.fleet.delete, "delete", "gone"),
    ):
        report = await call(ids, timeout=30)
        report.raise_for_failures()
        assert (report.operation, report.failed, report.skipped) == (operation, (), ())
        assert [outcome.key for outcome in report.outcomes] == ids
        assert [(server.id, str(server.status)) for server in report.servers] == [
            (one, target) for one in ids
        ]
        for outcome in report.succeeded:
            assert outcome.seconds > 0
            assert outcome.timeline
            assert outcome.evidence in (Evidence.OBSERVED, Evidence.UPDATED)

    assert done(box) == {"create": 40, "reboot": 40, "stop": 40, "start": 40, "delete": 40}
    assert (asked(box, "POST"), asked(box, "DELETE")) == (160, 40)
    assert box.servers == ()


async def test_every_server_is_back_from_its_reboot() -> None:
    """When the reboot report is there, the reboots are over: no server is reported by its status from before."""
    async with Sandbox(durations=Durations(rebooting=(0.05, 0.15))) as box, client(box) as vps:
        before = {server.id: server.updated_at for server in box.world.add(20)}
        report = await vps.fleet.reboot(list(before), timeout=30)

        report.raise_for_failures()
        assert {server.status for server in box.servers} == {"active"}
        for now in box.servers:
            assert now.updated_at > before[now.id]


async def test_fleets_are_parallel() -> None:
    """No create waits for another server's provisioning: all leave while none of the servers can become active."""
    clock = ManualClock()
    async with Sandbox(clock=clock) as box, client(box, max_in_flight=4) as vps:
        call = asyncio.create_task(vps.fleet.create(specs(20), timeout=30))
        while len(box.ledger) < 20:  # noqa: ASYNC110 - the sandbox has no event for it
            await asyncio.sleep(0)
        assert not call.done()
        clock.advance(300)

        report = await call
        report.raise_for_failures()
        assert len(report.servers) == 20


async def test_outcomes_are_in_the_order_asked(box: Sandbox, vps: Client) -> None:
    """The report is in the order of the request, whichever server settles first, also where some fail."""
    servers = [server.id for server in box.world.add(6, status="stopped")]
    asked_for = [servers[4], ABSENT, servers[0], servers[5], ABSENT + 1, servers[2]]

    report = await vps.fleet.start(asked_for, timeout=30)

    assert [outcome.key for outcome in report.outcomes] == asked_for
    assert kinds(report) == ["Succeeded", "Failed", "Succeeded", "Succeeded", "Failed", "Succeeded"]


async def test_ids_may_come_from_anywhere(box: Sandbox, vps: Client) -> None:
    """Specs and ids are accepted from any iterable, ids also as strings; keys are the given ids."""
    report = await vps.fleet.create((spec for spec in specs(3)), timeout=30)
    report = await vps.fleet.stop((str(server.id) for server in report.servers), timeout=30)

    report.raise_for_failures()
    assert [outcome.key for outcome in report.outcomes] == [str(server.id) for server in box.servers]


# -- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["stop", "delete"])
@pytest.mark.parametrize("applied", [True, False])
async def test_a_good_status_with_a_refusal_is_judged_by_the_server(
    box: Sandbox, vps: Client, command: str, applied: bool
) -> None:
    """Also without a wait: the outcome is a success if the server shows the command, else it has the refusal."""
    (server,) = box.world.add(1)
    box.faults.add(Rule(command, faults.Refuse("it is locked", applied=applied)))
    report = await getattr(vps.fleet, command)([server.id], timeout=30, wait=False)

    assert kinds(report) == (["Succeeded"] if applied else ["Failed"])
    if not applied:
        assert "it is locked" in str(report.failed[0].error)


async def test_credit_for_seven_of_twenty() -> None:
    """The seven that could be paid for are created and become active; the others are failed or skipped."""
    async with Sandbox(speed=SPEED, credit=7) as box, client(box) as vps:
        report = await vps.fleet.create(specs(20), timeout=30)

        assert len(report.outcomes) == 20
        assert len(report.succeeded) == 7
        assert len(report.failed) + len(report.skipped) == 13
        assert {type(failure.error) for failure in report.failed} == {PaymentRequiredError}
        assert {(failure.server, failure.server_id) for failure in report.failed} == {(None, None)}
        assert done(box) == {"create": 7}
        assert {server.name for server in report.servers} == {server.name for server in box.servers}
        assert {server.status for server in box.servers} == {"active"}
        assert {str(server.status) for server in report.servers} == {"active"}


@pytest.mark.parametrize("limit", [1, 3])
async def test_what_is_skipped_after_the_first_402(limit: int) -> None:
    """Creates that have not left when the credit is used up do not leave, and their outcomes say why."""
    async with Sandbox(speed=SPEED, credit=4) as box, client(box, max_in_flight=limit) as vps:
        report = await vps.fleet.create(specs(30), timeout=30)

        assert len(report.succeeded) == 4
        assert 1 <= len(report.failed) <= limit
        assert len(report.skipped) == 30 - 4 - len(report.failed)
        assert asked(box, "POST") == 4 + len(report.failed)
        for skipped in report.skipped:
            assert "an earlier create was refused" in skipped.reason
            assert "402" in skipped.reason


async def test_what_is_skipped_after_a_401(box: Sandbox) -> None:
    """Where the token is refused, one refusal ends the call for all servers."""
    async with client(box, "vps_wrong", max_in_flight=1) as vps:
        report = await vps.fleet.delete([1, 2, 3, 4, 5], timeout=30)
        with pytest.raises(AuthenticationError):
            await vps.fleet.create(specs(3), timeout=30)

    assert kinds(report) == ["Failed", "Skipped", "Skipped", "Skipped", "Skipped"]
    assert isinstance(report.failed[0].error, AuthenticationError)
    assert (asked(box, "DELETE"), asked(box, "POST")) == (1, 0)


@pytest.mark.parametrize("operation", ["start", "stop", "reboot", "delete"])
async def test_unknown_ids_among_good_ones(operation: str, box: Sandbox, vps: Client) -> None:
    """A server that does not exist fails alone, and disturbs no other."""
    ids = [one.id for one in box.world.add(5, status="stopped" if operation == "start" else "active")]
    wanted = [ABSENT, *ids[:3], ABSENT + 1, *ids[3:]]

    report = await getattr(vps.fleet, operation)(wanted, timeout=30)

    assert [failure.key for failure in report.failed] == [ABSENT, ABSENT + 1]
    assert {type(failure.error) for failure in report.failed} == {NotFoundError}
    assert [outcome.key for outcome in report.succeeded] == ids
    assert done(box) == {operation: 5}


async def test_servers_whose_status_forbids_it(box: Sandbox, vps: Client) -> None:
    """Those that are running already fail with the API's 400; those that were stopped are started."""
    running = [server.id for server in box.world.add(2)]
    off = [server.id for server in box.world.add(2, status="stopped")]

    report = await vps.fleet.start([*running, *off], timeout=30)

    assert [type(failure.error) for failure in report.failed] == [BadRequestError, BadRequestError]
    assert [failure.key for failure in report.failed] == running
    assert [outcome.key for outcome in report.succeeded] == off


async def test_a_server_that_is_suspended_on_its_way(box: Sandbox, vps: Client) -> None:
    """A wait that fails is that server's failure, which names the server: it exists and is charged for."""
    box.faults.add(Rule("create", faults.Suspend(), nth=2))

    report = await vps.fleet.create(specs(4), timeout=30)

    (failure,) = report.failed
    assert isinstance(failure.error, UnexpectedStatusError)
    assert failure.server is not None
    assert (failure.server_id, failure.server.name) == (failure.server.id, failure.key)
    assert str(failure.server.status) == "suspended"
    assert len(report.succeeded) == 3


@pytest.mark.parametrize("server_id", ["", "..", 0, -5])
async def test_an_answer_with_an_id_that_is_none(server_id: int | str, box: Sandbox, vps: Client) -> None:
    """A server whose response has an unusable id fails alone; the rest of the call goes on."""
    body = {"id": server_id, "name": "web-01", "status": "provisioning"}
    box.faults.add(Rule("create", faults.Reply(201, body=body), nth=2))

    report = await vps.fleet.create(specs(4), timeout=30)

    (failure,) = report.failed
    assert isinstance(failure.error, ConfigurationError)
    assert failure.server is not None
    assert failure.server_id == failure.server.id == server_id
    assert len(report.succeeded) == 3


async def test_a_server_that_takes_too_long() -> None:
    """The timeout applies to each server on its own; created servers are in the report all the same."""
    async with Sandbox(durations=Durations(provisioning=math.inf)) as box, client(box) as vps:
        report = await vps.fleet.create(specs(3), timeout=0.2)

        assert kinds(report) == ["Failed"] * 3
        assert {type(failure.error) for failure in report.failed} == {WaitTimeoutError}
        assert [failure.server_id for failure in report.failed] == [server.id for server in box.servers]
        assert done(box) == {"create": 3}


async def test_names_that_are_taken(box: Sandbox, vps: Client) -> None:
    """A name that exists already is refused, together with all others that exist, before any create leaves."""
    box.world.add(name="web-01")
    box.world.add(name="web-03")

    with pytest.raises(
        ConfigurationError, match="these names exist already: web-01, web-03; nothing was created"
    ):
        await vps.fleet.create(specs(5), timeout=30)

    assert box.ledger == ()
    assert asked(box, "POST") == 0


async def test_names_that_are_given_twice(box: Sandbox, vps: Client) -> None:
    """A name that is requested twice is refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="given more than once: web-00"):
        await vps.fleet.create([*specs(3), specs(1)[0]], timeout=30)

    assert box.requests == ()


async def test_the_same_fleet_again(box: Sandbox, vps: Client) -> None:
    """A second run of the same create is refused: no server is created, and paid for, twice."""
    await vps.fleet.create(specs(3), timeout=30)
    with pytest.raises(ConfigurationError, match="exist already"):
        await vps.fleet.create(specs(3), timeout=30)

    assert done(box) == {"create": 3}


async def test_an_account_that_can_not_be_read(box: Sandbox, vps: Client) -> None:
    """Where the names can't be checked, nothing is created."""
    box.faults.add(Rule("list", faults.Reply(403, body={"detail": "No."})))

    with pytest.raises(VpsOrgError, match="403: No"):
        await vps.fleet.create(specs(3), timeout=30)

    assert asked(box, "POST") == 0


# -- without waiting ------------------------------------------------------------------------------------------------


async def test_not_waiting_for_creates() -> None:
    """``wait=False`` ends with the responses to the commands, and polls nothing."""
    async with Sandbox(durations=Durations(provisioning=math.inf)) as box, client(box) as vps:
        report = await vps.fleet.create(specs(5), timeout=30, wait=False)

        assert kinds(report) == ["Succeeded"] * 5
        assert {str(server.status) for server in report.servers} == {"provisioning"}
        assert {outcome.evidence for outcome in report.succeeded} == {None}
        # the one list is that of the names
        assert (asked(box, "POST"), asked(box, "GET")) == (5, 1)


@pytest.mark.parametrize("operation", ["start", "stop", "reboot", "delete"])
async def test_not_waiting_for_the_rest(operation: str, box: Sandbox, vps: Client) -> None:
    """Without a wait one request for each server is all."""
    ids = [server.id for server in box.world.add(4, status="stopped" if operation == "start" else "active")]

    report = await getattr(vps.fleet, operation)(ids, timeout=30, wait=False)

    report.raise_for_failures()
    assert done(box) == {operation: 4}
    assert len(box.requests) == 4


# -- reports --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def mixed() -> Report:
    """A report with everything in it: three created, one failed, two skipped."""
    async with Sandbox(speed=SPEED, credit=3) as box, client(box, max_in_flight=1) as vps:
        return await vps.fleet.create(specs(6), timeout=30)


async def test_a_report_sorts_its_outcomes(mixed: Report) -> None:
    """Succeeded, failed, skipped: every outcome is one of them, and the text counts them."""
    assert [type(outcome) for outcome in mixed.outcomes] == [*[Succeeded] * 3, Failed, Skipped, Skipped]
    assert (len(mixed.succeeded), len(mixed.failed), len(mixed.skipped)) == (3, 1, 2)
    assert [server.name for server in mixed.servers] == ["web-00", "web-01", "web-02"]
    assert str(mixed).startswith("create: 3 succeeded, 1 failed, 2 skipped in ")
    assert mixed.seconds > 0


async def test_a_report_as_json(mixed: Report) -> None:
    """The JSON report has totals, and a row for each server with the same facts as the text."""
    data = json.loads(mixed.to_json())
    rows = data["outcomes"]

    assert (data["operation"], data["succeeded"], data["failed"], data["skipped"]) == ("create", 3, 1, 2)
    assert [row["key"] for row in rows] == [f"web-{number:02}" for number in range(6)]
    assert [row["outcome"] for row in rows] == [*["succeeded"] * 3, "failed", "skipped", "skipped"]
    first, failed, skipped = rows[0], rows[3], rows[4]
    assert (first["name"], first["status"], first["evidence"]) == ("web-00", "active", "observed")
    assert isinstance(first["id"], int)
    assert first["ip_address"].count(".") == 3
    assert (failed["error"], failed["id"]) == ("PaymentRequiredError", None)
    assert "Insufficient credits" in failed["message"]
    assert "402" in skipped["reason"]


async def test_a_report_raises_for_its_failures(mixed: Report) -> None:
    """All errors come as one group, the skipped ones too, and ``except*`` splits it."""
    unpaid: list[BaseException] = []

    def run() -> None:
        try:
            mixed.raise_for_failures()
        except* PaymentRequiredError as group:
            unpaid.extend(group.exceptions)

    with pytest.raises(FleetError, match="create: 3 of 6 servers failed") as rest:
        run()

    assert [type(error) for error in unpaid] == [PaymentRequiredError]
    assert [str(error).partition(":")[0] for error in rest.value.exceptions] == [
        "web-04 was skipped",
        "web-05 was skipped",
    ]


async def test_a_good_report_does_not_raise(box: Sandbox, vps: Client) -> None:
    """Without failures there is nothing to raise."""
    report = await vps.fleet.create(specs(2), timeout=30)

    report.raise_for_failures()
    assert (report.failed, report.skipped) == ((), ())


async def test_reports_survive_pickling(mixed: Report) -> None:
    """A report is plain data, and can be stored or sent to another process."""
    copy = pickle.loads(pickle.dumps(mixed))

    assert copy.to_json() == mixed.to_json()
    assert copy.succeeded == mixed.succeeded
    assert str(copy.failed[0].error) == str(mixed.failed[0].error)
