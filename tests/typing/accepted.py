"""Programs that mypy and pyright must accept. Not run and not imported: `tests/typing/__main__.py` checks it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Unpack, assert_never, assert_type

from vpsorg_async import (
    Client,
    ClientOptions,
    Failed,
    FleetPlan,
    FleetSpec,
    Limits,
    Outcome,
    PollStatistics,
    RateLimit,
    Receipt,
    Report,
    Seen,
    Sent,
    Server,
    ServerId,
    ServerSpec,
    ServerStatus,
    SharedClient,
    Skipped,
    StatusChange,
    Succeeded,
    Target,
    TargetLike,
    Timeout,
    WaitOutcome,
    WaitPolicy,
    load_fleets,
    sync,
)
from vpsorg_async.errors import (
    APIError,
    LimitError,
    OutcomeUnknownError,
    RequestError,
    RequestTimeoutError,
    VpsOrgError,
    WaitError,
)
from vpsorg_async.events import ClientEvent, RequestSent, ServerStuck


async def targets(vps: Client, server: Server, word: str) -> None:
    assert_type(await vps.wait_until(1, "active", timeout=1), Server)
    await vps.wait_until("0f5c", ServerStatus.ACTIVE, timeout=1.5)
    await vps.wait_until(server, ["active", "stopped"], timeout=1)
    await vps.wait_until(server, {ServerStatus.ACTIVE, "suspended"}, timeout=1)
    await vps.wait_until(1, "settled", timeout=1)
    await vps.wait_until(1, "gone", timeout=1)
    await vps.wait_until(1, Target({"ready"}), timeout=1)
    await vps.wait_until(1, Target.of(word), timeout=1)
    await vps.wait_until(1, [Target.of(word), "stopped"], timeout=1)
    async for outcome in vps.wait_until_all([1, server], "active", timeout=1):
        assert_type(outcome, WaitOutcome)


async def passed_on(vps: Client, ids: Iterable[int], target: TargetLike) -> None:
    vps.wait_until_all(ids, target, timeout=60)


async def servers(vps: Client, server: Server) -> None:
    await vps.servers.update(1, name="x", backups_enabled=True)
    await vps.servers.update(server, hostname="x.example.com")
    await vps.servers.delete(server)
    assert_type(await vps.servers.list(), tuple[Server, ...])


def clients(**options: Unpack[ClientOptions]) -> None:
    Client.from_env()
    Client.from_env(limits=Limits(max_servers=3, max_hourly=0.5, read_only=False))
    Client("token", limits=Limits(max_hourly=Decimal("0.5"), max_creates_per_run=10))
    Client.from_env(max_in_flight=3, base_url="http://127.0.0.1:8080", proxy=None)
    Client.from_env(**options)


async def fleets(vps: Client, specs: list[ServerSpec], ids: list[int]) -> None:
    assert_type(await vps.fleet.create(specs, timeout=900, min_count=2, settle=3, on_cancel="delete"), Report)
    assert_type(await vps.fleet.create(specs, dry_run=True), FleetPlan)
    assert_type(await vps.fleet.ensure(specs, dry_run=True), FleetPlan)
    assert_type(await vps.fleet.ensure(specs, timeout=900, on_failure="stop"), Report)
    fleet = FleetSpec(name="web-{n:02}", count=20, plan_id=1, os_id=5, location="us-west", protect=["web-01"])
    plan = await vps.fleet.plan([fleet], prune=True, max_deletes=0.2, protect=["web-02"], remove="newest")
    assert_type(plan, FleetPlan)
    assert_type(await vps.fleet.plan(specs), FleetPlan)
    assert_type(
        await vps.fleet.plan(fleet, protect=lambda server: server.id == 1, replace="never"), FleetPlan
    )
    assert_type(await vps.fleet.apply(plan, timeout=900, journal="fleet.db"), Report)
    assert_type(await vps.fleet.apply([fleet], timeout=900, prune=True, max_deletes=3), Report)
    assert_type(await vps.fleet.scale(fleet, 30, timeout=900, remove=lambda server: server.name), Report)
    assert_type(await vps.fleet.scale(fleet, 30, dry_run=True), FleetPlan)
    assert_type(load_fleets("fleet.toml"), tuple[FleetSpec, ...])
    assert_type(await vps.fleet.reboot(ids, timeout=1, on_failure="stop", on_event=print), Report)
    await vps.fleet.rolling_reboot(ids, timeout=1, max_unavailable=0.1, canary=2)
    async with vps.fleet.creating(specs, timeout=900, on_cancel="delete") as run:
        async for outcome in run:
            print(outcome.key)


def outcomes(outcome: Outcome) -> str:
    assert_type(outcome.server, Server | None)
    assert_type(outcome.error, VpsOrgError | None)
    match outcome:
        case Succeeded(server=Server() as server):
            return str(server.ip_address)
        case Succeeded(key=key):
            return str(key)
        case Failed(error=APIError(status=status)):
            return str(status)
        case Failed(error=error):
            return str(error)
        case Skipped(reason=reason):
            return reason
    assert_never(outcome)


def over_the_limit(error: LimitError) -> None:
    assert_type(error.limit, str)
    assert_type(error.required, Decimal | None)


def errors(error: RequestError, wait: WaitError, unknown: OutcomeUnknownError) -> None:
    assert_type(error.sent, Sent)
    assert_type(error.request, str)
    assert_type(error.attempts, int)
    assert_type(wait.last_seen, Server | None)
    assert_type(wait.timeline, tuple[Seen, ...])
    assert_type(unknown.subject, ServerId | None)


def hook(event: ClientEvent) -> None:
    match event:
        case RequestSent(attempt=attempt):
            print(attempt)
        case ServerStuck(server_id=server_id):
            print(server_id)


def waiting() -> None:
    Client("token", waiting=WaitPolicy(grace=30, max_interval=5), on_event=hook)
    Client("token", grace=30, max_interval=5, on_event=print)


def statistics(vps: Client) -> None:
    assert_type(vps.statistics, PollStatistics)
    assert_type(vps.statistics.lists, int)


async def views(vps: Client) -> None:
    view = vps.with_options(deadline=5, timeout=2.5, headers={"X-A": "b"}).with_options(
        timeout=Timeout(total=3)
    )
    assert_type(view, Client)
    vps.with_options(not_after=datetime.now(UTC))
    assert_type(await view.servers.get(1), Server)
    try:
        await view.servers.reboot(1)
    except RequestTimeoutError as late:
        assert_type(late.deadline, float | None)
        assert_type(late.not_after, datetime | None)


async def planned_or_done(vps: Client, specs: list[ServerSpec], dry_run: bool) -> None:
    assert_type(await vps.fleet.create(specs, timeout=1, dry_run=dry_run), Report | FleetPlan)
    assert_type(await vps.fleet.ensure(specs, timeout=1, dry_run=dry_run), Report | FleetPlan)


class OwnClient(Client):
    """A client of a user."""


async def shared(token: str) -> None:
    async with SharedClient(Client.from_env) as vps:
        assert_type(vps, Client)
    async with SharedClient(lambda: OwnClient(token, rate=RateLimit(requests_per_second=0.5))) as mine:
        assert_type(mine, OwnClient)


def own(vps: OwnClient) -> OwnClient:
    return vps.with_options(deadline=5)


def not_async(vps: sync.Client, specs: list[ServerSpec], server: Server, dry_run: bool) -> None:
    assert_type(vps.servers.list("active"), tuple[Server, ...])
    assert_type(vps.servers.get(server), Server)
    assert_type(vps.servers.update(1, name="web-2", backups_enabled=True), Server)
    assert_type(vps.wait_until(1, ["active", ServerStatus.STOPPED], timeout=1), Server)
    assert_type(vps.wait_until(1, "active", timeout=1, ready=lambda server: True), Server)
    assert_type(vps.receipt(1), Receipt | None)
    assert_type(vps.statistics, PollStatistics)
    assert_type(vps.with_options(deadline=5), sync.Client)
    assert_type(vps.fleet.create(specs, timeout=1, on_failure="stop"), Report)
    assert_type(vps.fleet.create(specs, dry_run=True), FleetPlan)
    assert_type(vps.fleet.ensure(specs, timeout=1, dry_run=dry_run), Report | FleetPlan)
    assert_type(vps.fleet.retry_failed(vps.fleet.reboot([1], timeout=1)), Report)
    for waited in vps.wait_until_all([1, 2], "active", timeout=1):
        assert_type(waited, WaitOutcome)
    for change in vps.watch():
        assert_type(change, StatusChange)
    with vps.fleet.creating(specs, timeout=1) as run:
        for outcome in run:
            assert_type(outcome, Succeeded | Failed | Skipped)
    with vps.fleet.rolling("reboot", [1], timeout=1) as rolling:
        rolling.pause()
    with sync.Client("token", max_in_flight=3) as mine, sync.Client.from_env(grace=5) as other:
        assert_type(mine, sync.Client)
        assert_type(other.plans.list()[0].id, ServerId)
