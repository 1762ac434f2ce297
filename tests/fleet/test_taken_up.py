"""What a run takes up of an earlier one, where the earlier one is not the whole story. Virtual time, real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.virtual_account import account, client, commands, duplicates, specs, virtual
from vpsorg_async import Limits, RateLimit, Receipt, ServerSpec
from vpsorg_async.errors import ConfigurationError, LimitError, OutcomeUnknownError
from vpsorg_async.events import CommandAnswered, FleetEvent
from vpsorg_async.journal import Acknowledged, Journal
from vpsorg_async.records import ServerId
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.virtual_time import LoopClock

LASTING = 1e6
"""Seconds for which reads lag behind: all of a test."""


def receipt(server_id: ServerId) -> Receipt:
    return Receipt(server_id=server_id, operation="create", acknowledged_at=datetime.now(UTC))


async def killed(
    box: Sandbox,
    file: Path,
    names: Iterable[str],
    made: Mapping[str, ServerId] | None = None,
    leaving: Iterable[str] = (),
) -> None:
    """A run that has written an intent for each name, and the receipts of some, before it was killed.

    It was about to delete the servers that it had created of the names that are ``leaving``.
    """
    async with (
        await Journal.open(file, account=box.url) as journal,
        await journal.begin("ensure", names) as run,
    ):
        await run.note_before([])
        for name in names:
            await run.intend(name, "create")
        for name, server_id in (made or {}).items():
            run.acknowledged(name, receipt(server_id))
        for name in leaving:
            await run.leaving(name)


@pytest.mark.parametrize("call", ["create", "ensure"])
def test_a_rollback_leaves_the_servers_of_an_earlier_run(tmp_path: Path, call: str) -> None:
    """``on_cancel="delete"`` is for what this run created: the one that appears last is the result of another one."""

    @virtual
    async def test() -> None:
        async with account() as (box, vps):
            await killed(box, tmp_path / "fleet.db", ["web-000"])
            work = getattr(vps.fleet, call)(
                specs(1), timeout=600, settle=60, on_cancel="delete", journal=tmp_path / "fleet.db"
            )
            task = asyncio.ensure_future(work)
            await asyncio.sleep(10.25)  # between two polls
            box.world.add(name="web-000")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

            assert [server.name for server in box.servers] == ["web-000"]
            assert commands(box) == {}

    test()


def test_a_server_that_was_stopped_since_is_started(tmp_path: Path) -> None:
    """A receipt does not keep `ensure` from what it does with a stopped server, or no later run would complete."""

    @virtual
    async def test() -> None:
        async with account() as (box, vps):
            (server,) = box.world.add(name="web-000")
            await killed(box, tmp_path / "fleet.db", ["web-000"], {"web-000": server.id})
            box.world.set_status(server.id, "stopped")

            report = await vps.fleet.ensure(specs(1), timeout=600, journal=tmp_path / "fleet.db")

            assert [(outcome.key, outcome.how) for outcome in report.succeeded] == [("web-000", "started")]
            assert commands(box) == {"start": 1}

    test()


@virtual
async def test_any_number_of_names_can_be_in_doubt() -> None:
    """The first of them are not forgotten because of the last ones."""
    async with account() as (box, vps):
        box.world.lag(5.0, lasting=LASTING)
        names = [server.name for server in box.world.add(10_003, name="web", age=0)]
        wanted = [ServerSpec(name=name, plan_id=1, os_id=5, location="us-west") for name in names]
        report = await vps.fleet.ensure(wanted, timeout=600, settle_first=20)

        assert len(report.succeeded) == len(wanted)
        assert commands(box) == {}


@virtual
async def test_a_create_that_was_held_back_is_in_doubt_from_when_it_left() -> None:
    """The settle window does not begin before a rate limit that the create waited for."""
    refused = Rule("create", faults.Reply(429, headers={"Retry-After": "30"}), times=1)
    lost = Rule("create", faults.DropAfter(), times=1)
    async with account(refused, lost) as (box, vps):
        box.world.lag(8.0, lasting=LASTING)
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.create(specs(1)[0])
        report = await vps.fleet.ensure(specs(1), timeout=600, settle=15)

        assert [outcome.how for outcome in report.succeeded] == ["adopted"]
        assert duplicates(box) == []


@virtual
async def test_receipts_have_the_names_of_their_specs() -> None:
    """In the provider dialect a server shows its host name, and not the name of the spec."""
    found: dict[str, Receipt] = {}

    def record(event: FleetEvent) -> None:
        if isinstance(event, CommandAnswered) and event.receipt is not None:
            found[str(event.key)] = event.receipt

    async with account(dialect="provider", options={"dialect": "provider"}) as (box, vps):
        plan, system = (await vps.plans.list())[0], (await vps.operating_systems.list())[0]
        wanted = [
            ServerSpec(
                name=f"w{n}", hostname=f"h{n}.example.org", plan_id=plan.id, os_id=system.id, location="1"
            )
            for n in range(2)
        ]
        box.world.lag(50.0, lasting=LASTING)
        await vps.fleet.create(wanted, timeout=600, wait=False, on_event=record)
        async with client(box, dialect="provider") as other:
            report = await other.fleet.create(wanted, timeout=600, wait=False, receipts=found)

        report.raise_for_failures()
        assert commands(box) == {"create": 2}


@virtual
async def test_the_case_of_an_id_is_no_other_server() -> None:
    """Services may change the case of a UUID, and the same server given twice is refused."""
    async with account(dialect="provider", options={"dialect": "provider"}) as (box, vps):
        (server,) = box.world.add(1)
        key = str(server.id)
        box.faults.add(Rule("list", faults.OddField("uuid", key.upper())))
        report = await vps.fleet.rolling_reboot([key], timeout=600)
        with pytest.raises(ConfigurationError, match="more than once"):
            await vps.fleet.stop([key, key.upper()], timeout=600)

        assert report.skipped == ()


@virtual
async def test_wrong_types_are_refused_before_anything_is_sent() -> None:
    """Each by a `ConfigurationError`."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("find_created", {"before": None}),
        ("find_created", {"before": 5}),
        ("find_created", {"before": "abc"}),
        ("ensure", {"timeout": 5, "receipts": 0}),
        ("ensure", {"timeout": 5, "receipts": []}),
        ("ensure", {"timeout": 5, "before": 0}),
    ]
    async with account() as (box, vps):
        for call, options in wrong:
            wanted: Any = specs(1)[0] if call == "find_created" else specs(1)
            with pytest.raises(ConfigurationError, match=r"is a (list|mapping) of"):
                await getattr(vps.fleet, call)(wanted, **options)

        assert box.requests == ()


@virtual
async def test_a_receipt_is_of_a_server() -> None:
    """What is no id is refused before anything is sent."""
    (spec,) = specs(1)
    ids: list[Any] = [None, 0, -1, True, 1.5, "", "..", [1], b"1"]
    async with account() as (box, vps):
        for server_id in ids:
            with pytest.raises(ConfigurationError, match="server id"):
                await vps.fleet.ensure([spec], timeout=10, receipts={spec.name: receipt(server_id)})

        assert box.requests == ()


def test_a_name_whose_turn_comes_late_is_searched_for(tmp_path: Path) -> None:
    """That the settle window has passed by then is of no use: the list was read at the beginning."""

    @virtual
    async def test() -> None:
        slow = Rule("create", faults.Delay(2.0))
        wanted = specs(20)
        async with account(slow, options={"max_in_flight": 2}) as (box, vps):
            box.world.lag(8.0, lasting=LASTING)
            await killed(box, tmp_path / "fleet.db", [wanted[-1].name])
            box.world.add(name=wanted[-1].name, age=0)
            report = await vps.fleet.ensure(wanted, timeout=600, settle=10, journal=tmp_path / "fleet.db")

            report.raise_for_failures()
            assert duplicates(box) == []
            assert commands(box) == {"create": 19}

    test()


def test_a_doubt_lasts_until_its_turn_comes(tmp_path: Path) -> None:
    """A large fleet at a low rate of requests takes hours."""

    @virtual
    async def test() -> None:
        wanted = specs(10)
        rate = RateLimit(requests_per_second=1 / 1000, burst=1)
        async with account(options={"rate": rate, "max_in_flight": 1}) as (box, vps):
            box.world.lag(5000.0, lasting=LASTING)
            await killed(box, tmp_path / "fleet.db", [wanted[-1].name])
            box.world.add(name=wanted[-1].name, age=0)
            report = await vps.fleet.ensure(wanted, timeout=1e5, settle=6000, journal=tmp_path / "fleet.db")

            report.raise_for_failures()
            assert commands(box) == {"create": 9}

    test()


@virtual
async def test_a_server_that_the_list_does_not_show_yet_is_rolled() -> None:
    """Absence from a list proves nothing: it lags behind."""
    async with account(Rule("create", faults.HideCreated(1e5, by_id=False))) as (_, vps):
        server = await vps.servers.create(specs(1)[0])
        await vps.wait_until(server, "active", timeout=600)
        report = await vps.fleet.rolling_reboot([server, 99], max_unavailable=2, timeout=600)

        assert [outcome.key for outcome in report.succeeded] == [server.id]
        assert [outcome.key for outcome in report.skipped] == [99]


@virtual
async def test_times_of_any_length_with_a_journal(tmp_path: Path) -> None:
    """No calendar reaches that far back."""
    file = tmp_path / "fleet.db"
    async with account() as (box, vps):
        report = await vps.fleet.ensure(specs(1), timeout=1e300, settle=1e300, journal=file)
        rebooted = await vps.fleet.reboot(
            [server.id for server in report.servers], timeout=1e300, journal=file
        )

        rebooted.raise_for_failures()
        assert commands(box) == {"create": 1, "reboot": 1}


@pytest.mark.parametrize("wrong", [{"names": None}, {"names": 5}, {"ids": None}, {"settle": float("nan")}])
async def test_a_run_of_a_journal_with_wrong_types(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """A `ConfigurationError`, and no exception of Python's own."""
    async with await Journal.open(tmp_path / "fleet.db", account="https://vps.example") as journal:
        with pytest.raises(ConfigurationError):
            await journal.begin("ensure", **wrong)


# -- servers that an earlier run was about to delete, because they were stuck -----------------------------------------


@pytest.mark.parametrize("change", ["rename", "refuse"])
def test_a_stuck_server_that_was_not_deleted_after_all(tmp_path: Path, change: str) -> None:
    """The journal does not say that it may be gone: the next run waits for it."""

    @virtual
    async def test() -> None:
        file = tmp_path / "fleet.db"
        stuck = Rule("create", faults.SetStatus("provisioning", seconds=1e6), nth=2)
        refused = Rule("delete", faults.Reply(400))
        async with account(stuck, *([refused] if change == "refuse" else [])) as (box, vps):
            call = asyncio.ensure_future(
                vps.fleet.ensure(specs(6), timeout=600, journal=file, on_stuck="replace")
            )
            await asyncio.sleep(500)
            (late,) = [server for server in box.servers if str(server.status) == "provisioning"]
            if change == "rename":
                async with client(box) as other:
                    await other.servers.update(late.id, name="mine")
            report = await call
            assert [failure.key for failure in report.failed] == [late.name]

            async with (
                await Journal.open(file, account=box.url, clock=LoopClock()) as journal,
                await journal.begin("look", [late.name]) as run,
            ):
                left = run.standing[late.name]
            assert isinstance(left, Acknowledged)
            assert (left.receipt.server_id, left.leaving) == (late.id, False)

    test()


@pytest.mark.parametrize("gone", [True, False])
def test_a_server_that_may_have_been_deleted_and_can_not_be_read(tmp_path: Path, gone: bool) -> None:
    """It is waited for: another one is created once it is known to be gone, and none if it comes up."""

    @virtual
    async def test() -> None:
        file = tmp_path / "fleet.db"
        async with account() as (box, vps):
            (server,) = box.world.add(name="web-000", status="provisioning")
            await killed(box, file, ["web-000"], {"web-000": server.id}, leaving=["web-000"])
            if gone:
                box.world.vanish(server.id)
            else:
                box.world.set_status(server.id, "provisioning", seconds=60)
            box.faults.add(Rule("get", faults.Html(503), times=3))
            await asyncio.sleep(100)
            report = await vps.fleet.ensure(specs(1), timeout=600, journal=file)

            (outcome,) = report.succeeded
            assert outcome.replaced == ((server.id,) if gone else ())
            assert commands(box) == ({"create": 1} if gone else {})
            assert duplicates(box) == []

    test()


def test_a_limit_of_the_client_holds_for_the_place_of_a_deleted_server_too(tmp_path: Path) -> None:
    """The run creates as many servers as it may, and the outcome of the other one says which limit it was."""

    @virtual
    async def test() -> None:
        file = tmp_path / "fleet.db"
        async with account(options={"limits": Limits(max_creates_per_run=1)}) as (box, vps):
            (server,) = box.world.add(name="web-000", status="provisioning")
            await killed(box, file, ["web-000"], {"web-000": server.id}, leaving=["web-000"])
            box.world.vanish(server.id)
            await asyncio.sleep(100)
            report = await vps.fleet.ensure(specs(2), timeout=600, journal=file)
            again = await vps.fleet.ensure(specs(2), timeout=600, journal=file)

            (failure,) = report.failed
            assert (failure.key, type(failure.error)) == ("web-000", LimitError)
            assert "max_creates_per_run" in str(failure.error)
            again.raise_for_failures()
            assert commands(box) == {"create": 2}

    test()
