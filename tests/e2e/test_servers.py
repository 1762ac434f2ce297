"""The nine endpoints and the waits, end to end against the sandbox, on real sockets."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from vpsorg_async import Backoff, Client, Evidence, RetryPolicy, Server, ServerSpec, ServerStatus
from vpsorg_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    Sent,
    ServerGoneError,
    UnexpectedStatusError,
    WaitTimeoutError,
)
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

SPEED = 5000
"""A provisioning of 2 to 5 minutes takes 24 to 60 milliseconds."""
SPEC = ServerSpec(name="web-01", plan_id=1, os_id=5, location="us-west")
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


def changes(box: Sandbox) -> list[str]:
    """The changes that were really applied, in order."""
    return [change.operation for change in box.ledger]


# -- the nine -------------------------------------------------------------------------------------------------------


async def test_a_server_s_whole_life(box: Sandbox, vps: Client) -> None:
    """Created, active, read, changed both ways, rebooted, stopped, started, deleted: each call does its one thing."""
    created = await vps.servers.create(
        ServerSpec(
            name="web-01",
            plan_id=1,
            os_id=5,
            location="us-west",
            hostname="web01.example.com",
            ssh_key_id=7,
            backups_enabled=True,
        )
    )
    assert (created.status, created.ip_address) == (ServerStatus.PROVISIONING, None)
    assert created.message == "Server is being provisioned. This may take 2-5 minutes."

    active = await vps.wait_until(created.id, "active", timeout=30)
    assert active.id == created.id
    assert active.ip_address is not None

    detail = await vps.servers.get(created.id)
    assert (detail.name, detail.hostname, detail.backups_enabled) == ("web-01", "web01.example.com", True)
    assert detail.plan is not None
    assert (detail.plan.name, detail.plan.bandwidth) == ("Standard VPS", 2048)
    assert detail.os is not None
    assert detail.os.name == "Ubuntu 22.04 LTS"
    assert detail.resource_usage is not None
    assert detail.ipv6_address is not None
    assert detail.created_at is not None
    assert abs((datetime.now(UTC) - detail.created_at).total_seconds()) < 3600

    replaced = await vps.servers.replace(
        created.id, name="web-02", hostname="web02.example.com", backups_enabled=False
    )
    assert (replaced.name, replaced.hostname, replaced.backups_enabled) == (
        "web-02",
        "web02.example.com",
        False,
    )
    updated = await vps.servers.update(created.id, name="web-03")
    assert (updated.name, updated.hostname, updated.backups_enabled) == ("web-03", "web02.example.com", False)

    for call, moving, target in (
        (vps.servers.reboot, "rebooting", "active"),
        (vps.servers.stop, "stopping", "stopped"),
        (vps.servers.start, "starting", "active"),
    ):
        accepted = await call(created.id)
        assert (accepted.server_id, accepted.server_status, accepted.status) == (
            created.id,
            moving,
            "success",
        )
        assert accepted.message == f"Server is {moving}"
        assert (await vps.wait_until(created.id, ServerStatus(target), timeout=30)).status == target

    await vps.servers.delete(created.id)
    gone = await vps.wait_until(created.id, "gone", timeout=30)
    assert (gone.id, gone.status) == (created.id, "gone")
    assert await vps.servers.list() == ()
    assert changes(box) == ["create", "replace", "update", "reboot", "stop", "start", "delete"]


async def test_lists_and_their_filters(box: Sandbox, vps: Client) -> None:
    """The API filters by status word and by location, by both together, and by words that match nothing."""
    box.world.add(2, name="west")
    box.world.add(1, name="east", location="us-east")
    box.world.add(1, name="off", location="us-east", status="stopped")

    async def names(**filters: str) -> list[str]:
        return [server.name for server in await vps.servers.list(**filters)]

    assert await names() == ["west-12345", "west-12346", "east", "off"]
    assert await names(status="active") == ["west-12345", "west-12346", "east"]
    assert await names(location="us-east") == ["east", "off"]
    assert await names(status=ServerStatus.STOPPED, location="us-east") == ["off"]
    assert await names(status="migrating") == []


async def test_a_list_shows_less_than_a_detail(box: Sandbox, vps: Client) -> None:
    """The fields that only a detail has are None in a list, as on the API page."""
    box.world.add()
    (listed,) = await vps.servers.list()
    detail = await vps.servers.get(listed.id)

    assert (listed.id, listed.name, listed.status, listed.ip_address) == (
        detail.id, detail.name, detail.status, detail.ip_address,
    )  # fmt: skip
    assert (listed.ipv6_address, listed.backups_enabled, listed.resource_usage) == (None, None, None)
    assert listed.plan is not None
    assert listed.plan.bandwidth is None


async def test_an_id_may_be_given_as_a_string(box: Sandbox, vps: Client) -> None:
    """Ids are opaque: the text of one reaches the same server."""
    (server,) = box.world.add()

    assert (await vps.servers.get(str(server.id))).id == server.id


async def test_any_request(box: Sandbox, vps: Client) -> None:
    """``request`` is the raw way to the same API."""
    created = await vps.request(
        "POST", "/servers/", json={"name": "a", "plan_id": 1, "os_id": 5, "location": "us-west"}
    )

    assert (await vps.request("GET", "/servers/"))["count"] == 1
    assert await vps.request("DELETE", f"/api/v1/servers/{created['id']}/") is None
    with pytest.raises(NotFoundError):
        await vps.request("GET", f"/servers/{created['id']}/")


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "call"),
    [
        ("active", lambda vps, server_id: vps.servers.start(server_id)),
        ("stopped", lambda vps, server_id: vps.servers.stop(server_id)),
        ("stopped", lambda vps, server_id: vps.servers.reboot(server_id)),
        ("provisioning", lambda vps, server_id: vps.servers.reboot(server_id)),
        ("suspended", lambda vps, server_id: vps.servers.start(server_id)),
    ],
)
async def test_an_action_that_the_status_forbids(
    status: str, call: Callable[[Client, Any], Awaitable[Any]]
) -> None:
    """Starting a running server and stopping or rebooting a stopped one is a bad request with the API's reason."""
    async with Sandbox() as box, client(box) as vps:
        (server,) = box.world.add(status=status)
        with pytest.raises(BadRequestError, match=r"already running|Cannot \w+ a server that is") as caught:
            await call(vps, server.id)

        assert caught.value.status == 400
        assert changes(box) == []
        assert len(box.requests) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda vps: vps.servers.get(ABSENT),
        lambda vps: vps.servers.replace(ABSENT, name="a", hostname="a.example", backups_enabled=True),
        lambda vps: vps.servers.update(ABSENT, name="a"),
        lambda vps: vps.servers.delete(ABSENT),
        lambda vps: vps.servers.start(ABSENT),
        lambda vps: vps.servers.stop(ABSENT),
        lambda vps: vps.servers.reboot(ABSENT),
        lambda vps: vps.servers.get("no-number"),
        lambda vps: vps.servers.get("../servers"),
    ],
    ids=["get", "replace", "update", "delete", "start", "stop", "reboot", "a word", "another path"],
)
async def test_a_server_that_is_not_there(
    call: Callable[[Client], Awaitable[Any]], box: Sandbox, vps: Client
) -> None:
    """404 is its own error on every path, and the request is sent once."""
    with pytest.raises(NotFoundError):
        await call(vps)

    assert [entry.status for entry in box.requests] == [404]


async def test_a_token_that_is_not_valid(box: Sandbox) -> None:
    """401 is its own error for every call, and ends a wait."""
    async with client(box, "vps_wrong") as vps:
        calls: list[Awaitable[Any]] = [
            vps.servers.list(),
            vps.servers.create(SPEC),
            vps.servers.get(ABSENT),
            vps.servers.delete(ABSENT),
            vps.wait_until(ABSENT, "active", timeout=30),
        ]
        for call in calls:
            with pytest.raises(AuthenticationError, match="Invalid or missing API token"):
                await call

    assert {entry.status for entry in box.requests} == {401}
    assert len(box.requests) == len(calls)


async def test_credit_that_is_used_up() -> None:
    """402 is its own error and is not retried; the servers that could be paid for exist."""
    async with Sandbox(credit=1) as box, client(box) as vps:
        await vps.servers.create(SPEC)
        with pytest.raises(PaymentRequiredError, match="Insufficient credits"):
            await vps.servers.create(ServerSpec(name="web-02", plan_id=1, os_id=5, location="us-west"))

        assert [entry.status for entry in box.requests] == [201, 402]
        assert [server.name for server in box.servers] == ["web-01"]


async def test_a_create_that_the_api_refuses(box: Sandbox, vps: Client) -> None:
    """Errors that only the API can detect come back with the names of the fields."""
    with pytest.raises(BadRequestError, match=r"plan_id: Unknown plan.*location: Unknown location") as caught:
        await vps.servers.create(ServerSpec(name="a", plan_id=77, os_id=5, location="moon"))

    assert '"plan_id"' in caught.value.body
    assert changes(box) == []


async def test_an_address_of_another_service(box: Sandbox) -> None:
    """A base URL that is one path too deep ends in an error, not in an empty account."""
    async with client(box) as vps:
        with pytest.raises(APIError):
            await vps.request("GET", "/api/v2/servers/")


# -- answers that were lost -----------------------------------------------------------------------------------------

AT_ONCE = RetryPolicy(backoff=Backoff(initial=0))


@pytest.mark.parametrize(("operation", "status"), [("start", "stopped"), ("stop", "active")])
async def test_a_lost_answer_to_start_and_stop_is_looked_up(
    operation: str, status: str, box: Sandbox
) -> None:
    """Where the server shows that the command was applied, it succeeded; where it does not, the outcome is unknown."""
    (server,) = box.world.add(status=status)
    async with client(box) as vps:
        box.faults.add(
            Rule(operation, faults.DropBefore(), times=1), Rule(operation, faults.DropAfter(), times=1)
        )
        with pytest.raises(OutcomeUnknownError, match=f"{operation} of {server.id} was sent") as unknown:
            await getattr(vps.servers, operation)(server.id)
        accepted = await getattr(vps.servers, operation)(server.id)

    assert (unknown.value.subject, unknown.value.sent) == (server.id, Sent.MAYBE)
    assert accepted.server_id == server.id
    assert "the answer was lost" in accepted.message
    assert changes(box) == [operation]


async def test_a_lost_answer_to_an_update_is_looked_up(box: Sandbox) -> None:
    """PATCH is sent once; what the server shows afterwards decides whether it was applied."""
    (server,) = box.world.add()
    async with client(box) as vps:
        box.faults.add(
            Rule("update", faults.DropBefore(), times=1), Rule("update", faults.DropAfter(), times=1)
        )
        with pytest.raises(OutcomeUnknownError, match="update of"):
            await vps.servers.update(server.id, name="web-02")
        assert (await vps.servers.update(server.id, name="web-02")).name == "web-02"

    assert changes(box) == ["update"]
    assert [entry.method for entry in box.requests] == ["PATCH", "GET", "PATCH", "GET"]


@pytest.mark.parametrize("operation", ["create", "reboot"])
async def test_a_lost_answer_is_not_asked_for_twice(operation: str, box: Sandbox) -> None:
    """A create or a reboot that may have been applied is never sent again: it would be applied twice."""
    (server,) = box.world.add()
    calls = {
        "create": lambda vps: vps.servers.create(SPEC),
        "reboot": lambda vps: vps.servers.reboot(server.id),
    }
    async with client(box, retry=AT_ONCE) as vps:
        box.faults.add(Rule(operation, faults.DropAfter()))
        with pytest.raises(OutcomeUnknownError, match="check the account before sending it again"):
            await calls[operation](vps)

    assert changes(box) == [operation]
    assert [entry.method for entry in box.requests] == ["POST"]


async def test_what_may_happen_twice_is_repeated(box: Sandbox) -> None:
    """PUT and DELETE are retried; a server that the first DELETE removed is reported as deleted, not as absent."""
    (server,) = box.world.add()
    async with client(box, retry=AT_ONCE) as vps:
        box.faults.add(
            Rule("replace", faults.DropAfter(), times=1), Rule("delete", faults.DropAfter(), times=1)
        )
        replaced = await vps.servers.replace(server.id, name="a", hostname="a.example", backups_enabled=True)
        await vps.servers.delete(server.id)

    assert replaced.name == "a"
    assert [(entry.method, entry.status) for entry in box.requests] == [
        ("PUT", None), ("PUT", 200), ("DELETE", None), ("DELETE", 404),
    ]  # fmt: skip


# -- waits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["active", ServerStatus.ACTIVE, "settled", ["stopped", "active"]], ids=repr
)
async def test_targets(target: Any, box: Sandbox, vps: Client) -> None:
    """A target is a word, a status, several, or any settled one."""
    server = await vps.servers.create(SPEC)

    assert (await vps.wait_until(server, target, timeout=30)).status == "active"


async def test_a_wait_for_what_is_already_so(box: Sandbox, vps: Client) -> None:
    """A wait for a status that the server already has costs one poll."""
    (server,) = box.world.add()

    await vps.wait_until(server.id, "active", timeout=30)

    assert len(box.requests) == 1


async def test_a_wait_after_a_reboot_does_not_end_early() -> None:
    """A server that is active because its reboot has not begun yet does not end the wait."""
    async with Sandbox(durations=Durations(rebooting=0.1)) as box, client(box) as vps:
        (server,) = box.world.add()
        before = await vps.servers.get(server.id)
        await vps.servers.reboot(server.id)
        after = await vps.wait_until(server.id, "active", timeout=30)

        assert before.updated_at is not None
        assert after.updated_at is not None
        assert after.updated_at > before.updated_at
        (now,) = box.servers
        assert now.status == "active"


async def test_a_server_that_settles_elsewhere(box: Sandbox, vps: Client) -> None:
    """A stopped server that no one starts ends the wait for active soon, with what was seen."""
    (server,) = box.world.add(status="stopped")

    with pytest.raises(UnexpectedStatusError, match="it is stopped, and nothing is changing it") as caught:
        await vps.wait_until(server.id, "active", timeout=30)

    assert isinstance(caught.value.last_seen, Server)
    assert caught.value.last_seen.status == "stopped"
    assert (caught.value.server_id, caught.value.target) == (server.id, "active")


async def test_a_server_that_is_suspended(box: Sandbox, vps: Client) -> None:
    """A suspended server ends a wait, unless the wait is for suspended."""
    (server,) = box.world.add(status="suspended")

    with pytest.raises(UnexpectedStatusError, match="it is suspended"):
        await vps.wait_until(server.id, "active", timeout=30)
    assert (await vps.wait_until(server.id, "suspended", timeout=30)).status == "suspended"
    assert (await vps.wait_until(server.id, "settled", timeout=30)).status == "suspended"


async def test_a_server_that_vanishes(box: Sandbox, vps: Client) -> None:
    """A server that vanishes ends the wait, unless the wait is for gone."""
    (server,) = box.world.add(status="stopped")
    await vps.servers.get(server.id)
    await vps.servers.start(server.id)
    box.world.vanish(server.id)

    with pytest.raises(ServerGoneError, match="does not exist any more"):
        await vps.wait_until(server.id, "active", timeout=30)
    assert (await vps.wait_until(server.id, "gone", timeout=30)).status == "gone"


async def test_a_wait_that_is_too_short() -> None:
    """The timeout error names the last status, and says that the server may still become active."""
    async with Sandbox(durations=Durations(provisioning=math.inf)) as box, client(box) as vps:
        server = await vps.servers.create(SPEC)
        with pytest.raises(
            WaitTimeoutError, match=r"it is provisioning; .*may still become active"
        ) as caught:
            await vps.wait_until(server.id, "active", timeout=0.1)

        assert isinstance(caught.value, TimeoutError)
        assert [seen.status for seen in caught.value.timeline] == ["provisioning"]


async def test_failed_polls_do_not_end_a_wait(box: Sandbox, vps: Client) -> None:
    """A service that fails for a while is polled again, and the wait goes on."""
    box.faults.add(Rule("get", faults.Html(503), times=1), Rule("list", faults.Html(503), times=1))
    server = await vps.servers.create(SPEC)

    assert (await vps.wait_until(server.id, "active", timeout=30)).status == "active"


async def test_several_waits(box: Sandbox, vps: Client) -> None:
    """Outcomes come as they settle, each once, failures among them."""
    made = [
        await vps.servers.create(ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west"))
        for n in range(5)
    ]
    (off,) = box.world.add(status="stopped")

    outcomes = [outcome async for outcome in vps.wait_until_all([*made, off.id], "active", timeout=30)]

    assert {outcome.server_id for outcome in outcomes} == {off.id, *(server.id for server in made)}
    (failed,) = [outcome for outcome in outcomes if outcome.error is not None]
    assert failed.server_id == off.id
    assert isinstance(failed.error, UnexpectedStatusError)
    for outcome in outcomes:
        if outcome is not failed:
            assert outcome.server is not None
            assert (outcome.server.status, outcome.evidence) == ("active", Evidence.OBSERVED)


async def test_many_waits_share_their_polls(box: Sandbox) -> None:
    """Fifty waits do not send fifty reads each round."""
    async with client(box, retry=RetryPolicy(attempts=1)) as vps:
        servers = box.world.add(50, status="provisioning")
        outcomes = [
            outcome async for outcome in vps.wait_until_all([one.id for one in servers], "active", timeout=30)
        ]

    assert len(outcomes) == 50
    assert all(outcome.error is None for outcome in outcomes)
    assert len([entry for entry in box.requests if entry.path != "/api/v1/servers/"]) < 50
