"""What a run takes up of an earlier one, where the earlier one is not the whole story. Virtual time, real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.virtual_account import account, client, commands, duplicates, specs, virtual
from vpsorg_async import RateLimit, Receipt, ServerSpec
from vpsorg_async.errors import ConfigurationError, OutcomeUnknownError
from vpsorg_async.events import CommandAnswered, FleetEvent
from vpsorg_async.journal import Journal
from vpsorg_async.records import ServerId
from vpsorg_async.sandbox import Rule, Sandbox, faults

LASTING = 1e6
"""Seconds for which reads lag behind: all of a test."""


def receipt(server_id: ServerId) -> Receipt:
    return Receipt(server_id=server_id, operation="create", acknowledged_at=datetime.now(UTC))


async def killed(
    box: Sandbox, file: Path, names: Iterable[str], made: Mapping[str, ServerId] | None = None
) -> None:
    """A run that has written an intent for each name, and the receipts of some, before it was killed."""
    async with (
        await Journal.open(file, account=box.url) as journal,
        await journal.begin("ensure", names) as run,
    ):
        await run.note_before([])
        for name in names:
            await run.intend(name, "create")
        for name, server_id in (made or {}).items():
            run.acknowledged(name, receipt(server_id))


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
