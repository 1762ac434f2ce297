"""The limits of a client on its calls: what they forbid is refused before any change, and creates share the account."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.virtual_account import account, client, commands, creates, specs, virtual
from vpsorg_async import Client, FleetSpec, Limits, Report, Server, ServerSpec
from vpsorg_async.errors import (
    DecodeError,
    LimitError,
    OutcomeUnknownError,
    Sent,
    ServiceError,
    VpsOrgError,
)
from vpsorg_async.events import CommandSent, FleetEvent
from vpsorg_async.http.exchange import Operation, Request
from vpsorg_async.sandbox import Rule, Sandbox, faults

SPEC = ServerSpec(name="web", plan_id=1, os_id=5, location="us-west")


def limits(**values: Any) -> dict[str, Any]:
    return {"limits": Limits(**values)}


def changes(box: Sandbox) -> list[str]:
    """The requests that were no reads."""
    return [f"{entry.method} {entry.path}" for entry in box.requests if entry.method != "GET"]


async def refusal(call: Awaitable[object]) -> LimitError:
    with pytest.raises(LimitError) as refused:
        await call
    return refused.value


# -- the number of servers ------------------------------------------------------------------------------------------


@virtual
async def test_a_fleet_over_the_limit_sends_nothing() -> None:
    """A fleet is checked as a whole; the account's own servers count."""
    async with account(options=limits(max_servers=10)) as (box, vps):
        await vps.fleet.create(specs(4, "old"), timeout=900)
        sent = len(changes(box))

        error = await refusal(vps.fleet.create(specs(7), timeout=900))
        assert (error.limit, error.allowed, error.required) == ("max_servers", Decimal(10), Decimal(11))
        await refusal(vps.fleet.ensure(specs(7), timeout=900))
        assert len(changes(box)) == sent

        assert len((await vps.fleet.create(specs(6), timeout=900)).succeeded) == 6


@virtual
async def test_a_fleet_that_exists_creates_nothing() -> None:
    """`ensure` of an account that is over the limit keeps what is there."""
    async with account() as (box, vps):
        await vps.fleet.create(specs(5), timeout=900)
        async with client(box, **limits(max_servers=3)) as limited:
            assert len((await limited.fleet.ensure(specs(5), timeout=900)).succeeded) == 5
            await refusal(limited.fleet.ensure(specs(6), timeout=900))


@virtual
async def test_two_fleets_at_once_share_the_account() -> None:
    """What one call was admitted to is not there for another, from the moment of its check."""
    async with account(options=limits(max_servers=10)) as (box, vps):
        results = await asyncio.gather(
            *(vps.fleet.create(specs(6, prefix), timeout=900) for prefix in ("a", "b")),
            return_exceptions=True,
        )

        assert sorted(type(result).__name__ for result in results) == ["LimitError", "Report"]
        assert len(box.servers) == len(creates(box)) == 6


@virtual
async def test_fleets_that_fit_together_are_not_refused() -> None:
    """A list that shows the servers of creates without an answer does not count them twice."""
    slow = Rule("create", faults.Delay(0.2, after=True))
    async with account(slow, options=limits(max_servers=20)) as (_, vps):
        sent = asyncio.Semaphore(0)

        def note(event: FleetEvent) -> None:
            if isinstance(event, CommandSent):
                sent.release()

        first = asyncio.create_task(vps.fleet.create(specs(15, "a"), timeout=900, on_event=note))
        for _ in range(15):
            await sent.acquire()
        second = await vps.fleet.create(specs(5, "b"), timeout=900)

        assert len(second.succeeded) == 5
        assert len((await first).succeeded) == 15


@virtual
async def test_single_creates_share_the_account() -> None:
    """Of ten creates at once only those are sent for which there is room."""
    async with account(options=limits(max_servers=4)) as (box, vps):
        results = await asyncio.gather(*map(vps.servers.create, specs(10)), return_exceptions=True)

        assert sum(isinstance(result, Server) for result in results) == 4
        assert sum(isinstance(result, LimitError) for result in results) == 6
        assert creates(box) == [201] * 4


@virtual
async def test_a_list_that_lags_hides_no_server() -> None:
    """The client's own servers count though no list shows them yet."""
    async with account(options=limits(max_servers=3)) as (box, vps):
        await vps.servers.create(SPEC)
        box.world.lag(30)
        await vps.fleet.create(specs(2), timeout=900, wait=False)

        await refusal(vps.fleet.create(specs(1, "more"), timeout=900))
        assert len(box.servers) == 3


@virtual
async def test_what_was_refused_gives_its_place_back() -> None:
    """A create that the service refused does not count any more."""
    refuse = Rule("create", faults.Reply(400), times=2)
    async with account(refuse, options=limits(max_servers=3)) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=900)
        assert len(report.failed) == 2

        assert len((await vps.fleet.ensure(specs(3), timeout=900)).succeeded) == 3
        assert len(box.servers) == 3


@virtual
async def test_what_was_not_sent_gives_its_place_back() -> None:
    """A run that is left early keeps no room for what it did not create."""
    async with account(options={**limits(max_servers=40), "max_in_flight": 2}) as (box, vps):
        async with vps.fleet.creating(specs(40), timeout=900, wait=False) as run:
            async for _ in run:
                break
        left = 40 - len(box.servers)
        assert left > 30

        await vps.fleet.create(specs(left, "other"), timeout=900)
        assert len(box.servers) == 40


@virtual
async def test_a_fleet_can_be_run_again_after_a_lost_answer() -> None:
    """The server of a create whose outcome is unknown, and the one that is asked for again, are one."""
    lose = Rule("create", (faults.HideCreated(40), faults.DropAfter()), times=1)
    async with account(lose, options=limits(max_servers=3)) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=900, settle=5)
        assert [type(failure.error) for failure in report.failed] == [OutcomeUnknownError]

        report = await vps.fleet.ensure(specs(3), timeout=900, settle=60)
        assert len(report.succeeded) == len(box.servers) == 3


@virtual
async def test_a_single_create_in_doubt_counts() -> None:
    """A server may exist though the answer was lost and no list shows it."""
    lose = Rule("create", (faults.HideCreated(40), faults.DropAfter()), times=1)
    async with account(lose, options=limits(max_servers=1)) as (box, vps):
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.create(SPEC)

        await refusal(vps.servers.create(specs(1)[0]))
        assert len(box.servers) == 1


@virtual
async def test_a_create_that_had_no_effect_counts_no_more() -> None:
    """`find_created` proves that a lost create created nothing: the next one has room at once."""
    lose = Rule("create", faults.DropBefore(), times=1)
    async with account(lose, options=limits(max_servers=1)) as (box, vps):
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.create(SPEC)
        await refusal(vps.servers.create(SPEC))
        assert await vps.fleet.find_created(SPEC, settle=5) is None

        await vps.servers.create(SPEC)
        assert len(box.servers) == 1


@virtual
async def test_a_delete_counts_once_it_is_seen() -> None:
    """A server that is being deleted is still there; once it is gone there is room at once."""
    linger = Rule("delete", faults.SoftDelete("stopping", 30, in_list=True))
    async with account(linger, options=limits(max_servers=1)) as (_, vps):
        server = await vps.servers.create(SPEC)
        await vps.wait_until(server.id, "active", timeout=900)
        await vps.servers.delete(server.id)

        await refusal(vps.servers.create(SPEC))
        await vps.wait_until(server.id, "gone", timeout=900)
        assert (await vps.servers.create(SPEC)).id != server.id


@virtual
async def test_a_short_list_proves_no_room() -> None:
    """Servers that an incomplete list does not show may exist."""
    async with account(options=limits(max_servers=10)) as (box, vps):
        await vps.fleet.create(specs(3), timeout=900)
        box.faults.add(Rule("list", faults.ShortList(1)))

        with pytest.raises(DecodeError) as short:
            await vps.servers.create(SPEC)
        assert short.value.sent is Sent.NO
        assert len(box.servers) == 3


# -- prices ---------------------------------------------------------------------------------------------------------


@virtual
async def test_a_price_limit_holds_for_the_account() -> None:
    """Plan 1 costs 0.015 per hour, plan 2 0.03: three of the first and one of the second are 0.075."""
    async with account(options=limits(max_hourly=0.075)) as (box, vps):
        await vps.fleet.create(specs(3), timeout=900)

        error = await refusal(vps.fleet.create(specs(3, "more"), timeout=900))
        assert (error.limit, error.required) == ("max_hourly", Decimal("0.09"))
        await vps.servers.create(ServerSpec(name="big", plan_id=2, os_id=5, location="us-west"))
        await refusal(vps.servers.create(SPEC))
        assert len(box.servers) == 4


@virtual
async def test_prices_that_cannot_be_read_are_no_permission() -> None:
    """The error is that of the read, and says that nothing was sent; so is a price that the list does not have."""
    async with account(options=limits(max_hourly=1)) as (box, vps):
        unpriced = ServerSpec(name="web", plan_id=9, os_id=5, location="us-west")
        assert "is not known" in str(await refusal(vps.servers.create(unpriced)))

        box.faults.add(Rule(None, faults.Html(502), path="/api/v1/plans/"))
        with pytest.raises(ServiceError) as down:
            await vps.servers.create(SPEC)
        assert down.value.sent is Sent.NO
        assert "nothing was created" in down.value.__notes__[0]
        assert changes(box) == []


# -- one run --------------------------------------------------------------------------------------------------------


@virtual
async def test_one_run_creates_no_more_than_it_may() -> None:
    """The limit of a run counts its creates only, and needs no list of its own."""
    async with account(options=limits(max_creates_per_run=3)) as (box, vps):
        await vps.fleet.create(specs(3), timeout=900)
        error = await refusal(vps.fleet.ensure(specs(7), timeout=900))
        assert (error.limit, error.required) == ("max_creates_per_run", Decimal(4))
        lists = sum(entry.method == "GET" for entry in box.requests)
        await vps.servers.create(SPEC)

        assert sum(entry.method == "GET" for entry in box.requests) == lists
        assert len((await vps.fleet.ensure(specs(6), timeout=900)).succeeded) == 6


@virtual
async def test_a_dry_run_is_not_refused() -> None:
    """A plan shows what the limits will forbid."""
    async with account(options=limits(max_creates_per_run=0, read_only=True)) as (_, vps):
        assert (await vps.fleet.create(specs(3), dry_run=True)).changes == 3


@virtual
async def test_a_plan_says_what_the_limits_forbid() -> None:
    """In a field and in its text; it takes no place, so a run that fits is admitted afterwards."""
    async with account(options=limits(max_servers=2)) as (_, vps):
        over = await vps.fleet.create(specs(3), dry_run=True)
        ensured = await vps.fleet.ensure(specs(3), dry_run=True)
        planned = await vps.fleet.plan(
            FleetSpec(name="w-{n}", count=3, plan_id=1, os_id=5, location="us-west")
        )
        fits = await vps.fleet.create(specs(2), dry_run=True)

        assert "max_servers=2 would be exceeded" in over.over_limits[0]
        assert "over the limits: max_servers=2" in str(over)
        assert "nothing was sent" not in str(over)
        assert [bool(plan.over_limits) for plan in (ensured, planned, fits)] == [True, True, False]
        assert len((await vps.fleet.create(specs(2), timeout=900)).succeeded) == 2
        assert not (await vps.fleet.ensure(specs(2), dry_run=True)).over_limits
    async with account(options=limits(read_only=True)) as (_, vps):
        (over_limits,) = (await vps.fleet.create(specs(1), dry_run=True)).over_limits
        assert "read-only" in over_limits


# -- nothing at all -------------------------------------------------------------------------------------------------

FIELDS = {"name": "web", "hostname": "web.example.com", "backups_enabled": True}
CHANGES: dict[str, Callable[[Client, Server], Awaitable[object]]] = {
    "create": lambda vps, server: vps.servers.create(SPEC),
    "replace": lambda vps, server: vps.servers.replace(
        server, name="web", hostname="web.example.com", backups_enabled=True
    ),
    "update": lambda vps, server: vps.servers.update(server, name="web"),
    "delete": lambda vps, server: vps.servers.delete(server),
    "start": lambda vps, server: vps.servers.start(server),
    "stop": lambda vps, server: vps.servers.stop(server),
    "reboot": lambda vps, server: vps.servers.reboot(server),
    "view": lambda vps, server: vps.with_options(deadline=5).servers.reboot(server),
    "fleet.create": lambda vps, server: vps.fleet.create([SPEC], timeout=9),
    "fleet.ensure": lambda vps, server: vps.fleet.ensure([SPEC], timeout=9),
    "fleet.start": lambda vps, server: vps.fleet.start([server], timeout=9),
    "fleet.stop": lambda vps, server: vps.fleet.stop([server], timeout=9),
    "fleet.reboot": lambda vps, server: vps.fleet.reboot([server], timeout=9),
    "fleet.delete": lambda vps, server: vps.fleet.delete([server], timeout=9),
    "fleet.rolling_reboot": lambda vps, server: vps.fleet.rolling_reboot([server], timeout=9),
    "POST": lambda vps, server: vps.request("POST", "/servers/", json={"name": "web"}),
    "PUT": lambda vps, server: vps.request("PUT", f"/servers/{server.id}/", json=FIELDS),
    "PATCH": lambda vps, server: vps.request("PATCH", f"/servers/{server.id}/", json=FIELDS),
    "DELETE": lambda vps, server: vps.request("DELETE", f"/servers/{server.id}/"),
    "send": lambda vps, server: vps.send(Request(Operation.CHANGE, "POST", "/api/v1/backups/", b"{}")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_read_only_client_refuses(change: str) -> None:
    """No change leaves, whichever call it is of."""

    @virtual
    async def test() -> None:
        async with account() as (box, vps):
            server = await vps.servers.create(ServerSpec(name="old", plan_id=1, os_id=5, location="us-west"))
            await vps.wait_until(server.id, "active", timeout=900)
            before = changes(box)
            async with client(box, **limits(read_only=True)) as reader:
                error = await refusal(CHANGES[change](reader, server))
            assert error.limit == "read_only"
            assert changes(box) == before

    test()


@virtual
async def test_a_read_only_client_reads() -> None:
    """Lists, waits and a fleet that needs nothing work as usual."""
    async with account() as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=900)
        sent = changes(box)
        async with client(box, **limits(read_only=True)) as reader:
            assert len(await reader.servers.list()) == 3
            await reader.wait_until(report.servers[0], "active", timeout=9)
            assert len((await reader.fleet.ensure(specs(3), timeout=9)).succeeded) == 3
            assert (await reader.request("GET", "/servers/"))["count"] == 3
        assert changes(box) == sent


# -- together with others -------------------------------------------------------------------------------------------


@virtual
async def test_a_tried_again_run_is_checked_again() -> None:
    """`retry_failed` is a run of its own."""
    refuse = Rule("create", faults.Reply(400), times=2)
    async with account(refuse, options=limits(max_servers=3)) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=900)
        await vps.servers.create(SPEC)

        await refusal(report.retry_failed())
        assert len(box.servers) == 2


@virtual
async def test_an_applied_plan_is_checked_as_a_whole() -> None:
    """A plan over a limit deletes nothing either; its deletes make room only once they are seen."""
    old, new = (
        FleetSpec(name=f"{name}-{{n}}", count=count, plan_id=1, os_id=5, location="us-west")
        for name, count in (("old", 1), ("new", 2))
    )
    async with account(options=limits(max_servers=3)) as (box, vps):
        await vps.fleet.scale(old, 3, timeout=900)
        sent = len(changes(box))
        with pytest.raises(LimitError):
            await vps.fleet.apply([old, new], timeout=900, prune=True, max_deletes=2)
        assert len(changes(box)) == sent

        await vps.fleet.apply(old, timeout=900, prune=True, max_deletes=2)
        await vps.fleet.apply([old, new], timeout=900)
        assert sorted(server.name for server in box.servers) == ["new-1", "new-2", "old-1"]
        async with client(box, **limits(read_only=True)) as reader:
            assert len((await reader.fleet.apply([old, new], timeout=900)).succeeded) == 3
            with pytest.raises(LimitError):
                await reader.fleet.scale(old, 0, timeout=900, allow_empty=True)


@virtual
async def test_a_journal_outlives_a_refusal(tmp_path: Path) -> None:
    """What was refused left nothing in doubt: a later run with room creates all of it."""
    file = tmp_path / "journal"
    async with account(options=limits(max_servers=2)) as (box, vps):
        await refusal(vps.fleet.create(specs(3), timeout=900, journal=file))
        async with client(box) as free:
            report = await free.fleet.create(specs(3), timeout=900, journal=file)
        assert len(report.succeeded) == len(creates(box)) == 3


@virtual
async def test_commands_on_servers_need_no_room() -> None:
    """Limits on creates concern creates only, and cost the other calls nothing."""
    async with account() as (box, vps):
        report = await vps.fleet.create(specs(2), timeout=900)
        async with client(box, **limits(max_servers=0, max_hourly=0, max_creates_per_run=0)) as limited:
            rebooted: Report = await limited.fleet.reboot(report.servers, timeout=900)
            assert len(rebooted.succeeded) == 2
            await limited.fleet.delete(report.servers, timeout=900)
        assert commands(box)["delete"] == 2


@virtual
async def test_a_limit_error_is_final() -> None:
    """The same call would be refused again, as an engine that retries by itself needs to know."""
    async with account(options=limits(max_servers=0)) as (_, vps):
        error: VpsOrgError = await refusal(vps.servers.create(SPEC))
        assert error.final
