"""Programs with one mistake in each marked line. mypy and pyright must reject exactly these lines.

Not run and not imported: `tests/typing/__main__.py` checks it.
"""

from __future__ import annotations

from vpsorg_async import (
    Client,
    FleetSpec,
    Limits,
    Outcome,
    Server,
    ServerSpec,
    SharedClient,
    WaitPolicy,
    sync,
)
from vpsorg_async.errors import OutcomeUnknownError, RequestError, WaitError
from vpsorg_async.events import ClientEvent, RequestSent


async def targets(vps: Client, server: Server, word: str) -> None:
    await vps.wait_until(1, "actve", timeout=1)  # rejected
    await vps.wait_until(1, ["active", "stoped"], timeout=1)  # rejected
    await vps.wait_until(1, word, timeout=1)  # rejected: read it with Target.of
    await vps.wait_until(1, 5, timeout=1)  # rejected
    await vps.wait_until(server, "active")  # rejected
    await vps.wait_until(1, "active", timeout="1")  # rejected
    vps.wait_until_all([1, 2], "setled", timeout=1)  # rejected
    vps.wait_until_all(1, "settled", timeout=1)  # rejected


async def servers(vps: Client, server: Server) -> None:
    await vps.servers.update(1, nmae="x")  # rejected
    await vps.servers.update(1, name=5)  # rejected
    await vps.servers.update(server, backups_enabled="yes")  # rejected
    await vps.servers.replace(1, name="x")  # rejected
    await vps.servers.get(None)  # rejected
    await vps.servers.get([1])  # rejected
    await vps.servers.create("web-1")  # rejected
    await vps.servers.listing()  # rejected
    await vps.servers.reboot(1).message  # rejected


def clients() -> None:
    Client.from_env(max_in_fligth=3)  # rejected
    Client.from_env(max_in_flight="3")  # rejected
    Client.from_env(retry=3)  # rejected
    Client.from_env(limits={"max_servers": 3})  # rejected
    Client("token", limits=Limits(max_severs=3))  # rejected
    Client("token", limits=Limits(max_hourly="0.5"))  # rejected
    Client("token", timeout=5)  # rejected
    Client("token", graec=5.0)  # rejected


def hook(event: RequestSent) -> None:
    """A hook that takes one kind of event."""


def waiting() -> None:
    Client("token", waiting=WaitPolicy(graec=5.0))  # rejected
    Client("token", waiting=5.0)  # rejected
    Client("token", on_event=hook)  # rejected: it is called with the others as well


def views(vps: Client) -> None:
    vps.with_options(dedline=5)  # rejected
    vps.with_options(deadline="5")  # rejected
    vps.with_options(not_after=5.0)  # rejected
    Client("token", rate=5)  # rejected
    SharedClient(Client)  # rejected
    vps.with_options(retry=3)  # rejected
    vps.with_options(headers={"X-A": 5})  # rejected
    Client("token", headers=["X-A"])  # rejected
    Client.from_env(user_agent=5)  # rejected


def errors(error: RequestError, wait: WaitError, unknown: OutcomeUnknownError, outcome: Outcome) -> None:
    error.status.real  # rejected: only an APIError has one
    error.sent.upper()  # rejected
    error.attempts.upper()  # rejected
    wait.last_seen.status  # rejected: it may be None
    wait.timeline[0].word  # rejected
    unknown.subject.name  # rejected
    outcome.server.id  # rejected: it may be None
    outcome.error.args  # rejected: it may be None
    outcome.reason.upper()  # rejected: only a Skipped has one


def events(event: ClientEvent) -> None:
    event.operation.upper()  # rejected: not every event has one


async def fleets(vps: Client, specs: list[ServerSpec]) -> None:
    await vps.fleet.reboot([1], timeout=1, on_failur="stop")  # rejected
    await vps.fleet.reboot([1], timeout=1, on_failure="halt")  # rejected
    await vps.fleet.reboot(1, timeout=1)  # rejected
    await vps.fleet.start([1])  # rejected
    await vps.fleet.stop([1], timeout=1, settle=5)  # rejected
    await vps.fleet.delete([1], timeout=1, on_cancel="delete")  # rejected
    await vps.fleet.create(specs, timeout=1, min_cont=2)  # rejected
    await vps.fleet.create(["web-1"], timeout=1)  # rejected
    await vps.fleet.create(specs)  # rejected
    await vps.fleet.ensure(specs, timeout=1, on_cancel="keep")  # rejected
    vps.fleet.creating(specs, timeout=1, setle=3.0)  # rejected
    await vps.fleet.rolling_reboot([1])  # rejected
    await vps.fleet.rolling_reboot([1], timeout=1, canery=2)  # rejected
    vps.fleet.rolling("wipe", [1], timeout=1)  # rejected
    (await vps.fleet.create(specs, dry_run=True)).succeeded  # rejected
    (await vps.fleet.create(specs, timeout=1)).steps  # rejected
    await vps.fleet.creating(specs, timeout=1)  # rejected


async def planned(vps: Client, fleet: FleetSpec, specs: list[ServerSpec]) -> None:
    await vps.fleet.apply(specs, timeout=1)  # rejected
    await vps.fleet.plan(fleet, prun=True)  # rejected
    await vps.fleet.plan(fleet, replace="all")  # rejected
    await vps.fleet.plan(fleet, remove="oldest")  # rejected
    await vps.fleet.apply(fleet)  # rejected
    await vps.fleet.apply(fleet, timeout=1, max_deletes="2")  # rejected
    await vps.fleet.scale(fleet, timeout=1)  # rejected
    await vps.fleet.scale(fleet, 3)  # rejected
    await vps.fleet.scale(fleet, 3, timeout=1, prune=True)  # rejected
    (await vps.fleet.scale(fleet, 3, dry_run=True)).succeeded  # rejected
    (await vps.fleet.apply(fleet, timeout=1)).steps  # rejected


def not_async(vps: sync.Client, specs: list[ServerSpec]) -> None:
    vps.servers.get(None)  # rejected
    vps.servers.get()  # rejected
    vps.servers.update(1, nam="web-2")  # rejected
    vps.wait_until(1, "actve", timeout=1)  # rejected
    vps.wait_until(1, "active")  # rejected
    vps.fleet.create(specs)  # rejected
    vps.fleet.reboot([1], timeout=1, on_failure="halt")  # rejected
    vps.fleet.creating(specs, timeout=1, setle=3.0)  # rejected
    vps.fleet.create(specs, dry_run=True).succeeded  # rejected
    sync.Client("token", max_in_flght=3)  # rejected
    vps.watch(intervall=3)  # rejected
