"""Fleets of the provider dialect: resizes, snapshots, and stops that are followed by a hard stop or a delete."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.speech import Speech
from tests.lifecycle.harness import virtual
from vpsorg_async import Failed, Server, Skipped, Succeeded
from vpsorg_async.errors import (
    BadRequestError,
    ConfigurationError,
    OutcomeUnknownError,
    UnexpectedStatusError,
    WaitTimeoutError,
)
from vpsorg_async.events import CommandSent, FleetEvent, ServerSettled
from vpsorg_async.pytest_plugin import assert_committed
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults
from vpsorg_async.sandbox.catalogue import uuid

PROVIDER = Speech("provider")
SMALL, BIG = uuid("plan", 1), uuid("plan", 2)
quick = Durations(stopping=10.0, rebooting=20.0)


def fleet_of(box: Sandbox, count: int, **settings: Any) -> list[int | str]:
    return [server.id for server in box.world.add(count, **settings)]


def plans(box: Sandbox) -> list[int]:
    return [server.plan.id for server in box.servers]


def on(operation: str, server_id: int | str, fault: Any) -> Rule:
    """A fault of one operation on one server."""
    return Rule(operation, fault, path=f"/api/v1/servers/{server_id}/{operation}/")


# -- resize ------------------------------------------------------------------------------------------------------------


@virtual
async def test_a_fleet_is_resized() -> None:
    """Running and stopped servers get the plan, and show it; a lost answer that was applied is a success."""
    async with PROVIDER.account() as (box, vps):
        ids = [*fleet_of(box, 3), *fleet_of(box, 1, status="stopped")]
        box.faults.add(on("resize", ids[1], faults.DropAfter()))
        report = await vps.fleet.resize(ids, BIG, timeout=300)

        report.raise_for_failures()
        assert {outcome.how for outcome in report.succeeded} == {"resized"}
        assert [str(outcome.server.status) for outcome in report.succeeded if outcome.server] == [
            *["active"] * 3,
            "stopped",
        ]
        assert plans(box) == [2] * 4
        assert_committed(box, resize=4)


@virtual
async def test_a_resize_in_doubt_is_not_sent_again(tmp_path: Path) -> None:
    """Neither by a retry, nor by the next run with the same journal."""
    file = tmp_path / "fleet.db"
    async with PROVIDER.account() as (box, vps):
        ids = fleet_of(box, 3)
        box.faults.add(
            on("resize", ids[0], faults.DropBefore()),
            on("resize", ids[1], faults.Reply(409)),
        )
        report = await vps.fleet.resize(ids, BIG, timeout=300, journal=file)
        assert [type(outcome) for outcome in report.outcomes] == [Failed, Failed, Succeeded]
        assert isinstance(report.failed[0].error, OutcomeUnknownError)
        with pytest.raises(ConfigurationError, match="not tried again"):
            await report.retry_failed()
        box.faults.clear()
        again = await vps.fleet.resize(ids, BIG, timeout=300, journal=file)

        assert [type(outcome) for outcome in again.outcomes] == [Failed, Succeeded, Succeeded]
        assert isinstance(again.failed[0].error, OutcomeUnknownError)
        assert plans(box) == [1, 2, 2]
        assert_committed(box, resize=2)


@virtual
async def test_a_server_that_keeps_its_plan_has_failed() -> None:
    """An acknowledgement proves nothing: the server must show the plan."""
    async with PROVIDER.account(Rule("resize", faults.Reply(202, {"detail": "ok"}))) as (box, vps):
        ids = fleet_of(box, 1)
        report = await vps.fleet.resize(ids, BIG, timeout=300)

        (failure,) = report.failed
        assert isinstance(failure.error, WaitTimeoutError)
        assert "another plan" in str(failure.error)
        assert failure.acknowledged
        quickly = await vps.fleet.resize(ids, BIG, timeout=300, wait=False)
        assert isinstance(quickly.outcomes[0], Succeeded)


@virtual
async def test_a_rolling_resize_with_snapshots() -> None:
    """Each server is snapshotted, then resized, one after the other; what fails stops the rest."""
    async with PROVIDER.account() as (box, vps):
        ids = fleet_of(box, 4)
        checked: list[int | str] = []

        async def health(server: Server) -> bool:
            checked.append(server.id)
            return True

        box.faults.add(on("snapshot", ids[2], faults.Reply(400)))
        report = await vps.fleet.rolling_resize(ids, BIG, timeout=300, snapshot="before", health=health)

        assert [type(outcome) for outcome in report.outcomes] == [Succeeded, Succeeded, Failed, Skipped]
        assert isinstance(report.failed[0].error, BadRequestError)
        assert [(change.operation, change.server_id) for change in box.ledger] == [
            ("snapshot", ids[0]),
            ("resize", ids[0]),
            ("snapshot", ids[1]),
            ("resize", ids[1]),
        ]
        assert checked == ids[:2]
        box.faults.clear()

        rest = await vps.fleet.rolling_resize(report.remaining, BIG, timeout=300)

        rest.raise_for_failures()
        assert report.operation == "rolling resize"
        assert plans(box) == [2] * 4
        assert_committed(box, snapshot=2, resize=4)


@pytest.mark.parametrize("kept", ["remaining", "journal"])
def test_a_snapshot_whose_answer_was_lost_is_no_resize_in_doubt(kept: str, tmp_path: Path) -> None:
    """The server was certainly not resized: that is said, and the next call resizes it."""

    @virtual
    async def test() -> None:
        options: dict[str, Any] = {"journal": tmp_path / "fleet.db"} if kept == "journal" else {}
        async with PROVIDER.account() as (box, vps):
            ids = fleet_of(box, 3)
            box.faults.add(on("snapshot", ids[0], faults.DropAfter()))
            report = await vps.fleet.rolling_resize(ids, BIG, timeout=300, snapshot=True, **options)

            assert [type(outcome) for outcome in report.outcomes] == [Failed, Skipped, Skipped]
            assert "was not resized" in str(report.failed[0].error)
            assert report.failed[0].attempts == 0
            box.faults.clear()
            rest = ids if kept == "journal" else report.remaining
            again = await vps.fleet.rolling_resize(rest, BIG, timeout=300, snapshot=True, **options)

            again.raise_for_failures()
            assert plans(box) == [2] * 3
            assert_committed(box, snapshot=4, resize=3)

    test()


@virtual
async def test_a_rolling_resize_that_is_left_during_a_snapshot_has_not_resized() -> None:
    """The server is skipped: no resize of it is in doubt."""
    async with PROVIDER.account() as (box, vps):
        ids = fleet_of(box, 2)
        box.faults.add(on("snapshot", ids[0], faults.Delay(50.0)))
        events: list[FleetEvent] = []
        work = asyncio.ensure_future(
            vps.fleet.rolling_resize(ids, BIG, timeout=300, snapshot=True, on_event=events.append)
        )
        await asyncio.sleep(10)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

        settled = [event.outcome for event in events if isinstance(event, ServerSettled)]
        assert [type(outcome) for outcome in settled] == [Skipped, Skipped]
        assert not any(isinstance(event, CommandSent) for event in events)


@virtual
async def test_a_rolling_resize_that_goes_on_with_another_plan_says_so() -> None:
    """What was resized before is checked: it shows another plan, and is not resized again."""
    async with PROVIDER.account() as (box, vps):
        ids = fleet_of(box, 2)
        box.faults.add(on("resize", ids[1], faults.Reply(400)))
        report = await vps.fleet.rolling_resize(ids, BIG, timeout=300)
        box.faults.clear()
        other = await vps.fleet.rolling_resize(report.remaining, SMALL, timeout=300)

        assert [type(outcome) for outcome in other.outcomes] == [Failed, Skipped]
        assert "another plan" in str(other.failed[0].error)
        assert plans(box) == [2, 1]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"snapshot": 5}, "snapshot"),
        ({"snapshot": " "}, "label"),
        ({"canery": 1}, "canery"),
        ({"health": 5}, "health"),
    ],
)
@virtual
async def test_rolling_resizes_that_are_none(options: dict[str, Any], word: str) -> None:
    async with PROVIDER.account() as (box, vps):
        with pytest.raises(ConfigurationError, match=word):
            await vps.fleet.rolling_resize([1], BIG, timeout=300, **options)
        with pytest.raises(ConfigurationError, match="rolling knows"):
            vps.fleet.rolling("resize", [1], timeout=300)  # type: ignore[arg-type]
        assert box.requests == ()


@pytest.mark.parametrize("options", [{"health_retries": 2}, {"ready_timeout": 30.0}])
@virtual
async def test_how_often_a_resized_server_is_checked_can_be_said(options: dict[str, Any]) -> None:
    """Where it is not, the check has longer than reads lag behind."""
    async with PROVIDER.account() as (box, vps):
        ids = fleet_of(box, 2)
        checked: list[int | str] = []

        def health(server: Server) -> bool:
            checked.append(server.id)
            return False

        report = await vps.fleet.rolling_resize(ids, BIG, timeout=300, health=health, **options)

        assert [type(outcome) for outcome in report.outcomes] == [Failed, Skipped]
        assert report.failed[0].seconds < 100
        assert len(checked) == 2 or "health_retries" not in options
        assert plans(box) == [2, 1]


# -- snapshots ---------------------------------------------------------------------------------------------------------


@virtual
async def test_a_fleet_is_snapshotted() -> None:
    """Each once: one whose answer was lost is not requested again, and has no receipt."""
    async with PROVIDER.account() as (box, vps):
        ids = fleet_of(box, 3)
        box.faults.add(on("snapshot", ids[1], faults.DropAfter()))
        report = await vps.fleet.snapshot(ids, label="before")

        assert [type(outcome) for outcome in report.outcomes] == [Succeeded, Failed, Succeeded]
        assert {outcome.how for outcome in report.succeeded} == {"snapshotted"}
        assert isinstance(report.failed[0].error, OutcomeUnknownError)
        with pytest.raises(ConfigurationError, match="not tried again"):
            await report.retry_failed()
        with pytest.raises(ConfigurationError, match="journal"):
            await vps.fleet.snapshot(ids, journal="x.db")  # type: ignore[call-arg]
        assert_committed(box, snapshot=3)


@virtual
async def test_a_snapshot_of_a_server_that_is_rebooting() -> None:
    """The receipt of the reboot is not that of the snapshot, which has none."""
    async with PROVIDER.account() as (box, vps):
        ids = fleet_of(box, 1)
        rebooted = await vps.fleet.reboot(ids, timeout=300, wait=False)
        report = await vps.fleet.snapshot(ids)

        (outcome,) = report.succeeded
        assert (rebooted.succeeded[0].receipt is None, outcome.receipt) == (False, None)
        assert_committed(box, reboot=1, snapshot=1)


# -- two stages --------------------------------------------------------------------------------------------------------


@virtual
async def test_what_does_not_stop_is_switched_off(tmp_path: Path) -> None:
    """After that many seconds, and only that; the events are those of one call. The journal has nothing left."""
    file = tmp_path / "fleet.db"
    async with PROVIDER.account(durations=quick) as (box, vps):
        ids = fleet_of(box, 4)
        report = await vps.fleet.stop(ids, timeout=120, then="hard_stop", after=60, journal=file)

        report.raise_for_failures()
        assert report.operation == "stop"
        assert [outcome.key for outcome in report.outcomes] == ids
        assert_committed(box, stop=4)

    async with PROVIDER.account(durations=Durations(stopping=math.inf)) as (box, vps):
        ids = fleet_of(box, 3)
        events: list[FleetEvent] = []
        report = await vps.fleet.stop(
            ids, timeout=120, then="hard_stop", after=60, on_event=events.append, journal=file
        )

        report.raise_for_failures()
        assert_committed(box, stop=3, hard_stop=3)
        times = {change.operation: change.at for change in box.ledger}
        assert times["hard_stop"] >= times["stop"] + 60
        assert {event.operation for event in events} == {"stop"}
        assert sum(isinstance(event, ServerSettled) for event in events) == 3
        for server in box.servers:
            box.world.set_status(server.id, "active")
        again = await vps.fleet.stop(ids, timeout=120, then="hard_stop", after=60, journal=file)
        again.raise_for_failures()
        assert_committed(box, stop=6, hard_stop=6)


@virtual
async def test_a_stop_that_was_refused_is_judged_by_the_server() -> None:
    """One that hangs in an earlier stop is switched off, one that is stopped has stopped, and no other is touched."""
    async with PROVIDER.account() as (box, vps):
        hangs, off = fleet_of(box, 1)[0], fleet_of(box, 1, status="stopped")[0]
        box.world.set_status(hangs, "stopping", seconds=math.inf)
        new = fleet_of(box, 1, status="provisioning")[0]
        box.world.set_status(new, "provisioning", seconds=math.inf)
        report = await vps.fleet.stop([hangs, off, new], timeout=120, then="hard_stop")

        assert [type(outcome) for outcome in report.outcomes] == [Succeeded, Succeeded, Failed]
        assert isinstance(report.failed[0].error, BadRequestError)
        assert_committed(box, hard_stop=1)


@pytest.mark.parametrize(
    "options",
    [{"then": "reboot"}, {"after": 120}, {"after": -1}, {"wait": False}, {"on_failure": "stop"}],
)
@virtual
async def test_stages_that_are_none(options: dict[str, Any]) -> None:
    async with PROVIDER.account() as (box, vps):
        with pytest.raises(ConfigurationError):
            await vps.fleet.stop([1], timeout=120, **{"then": "hard_stop", **options})
        assert box.requests == ()
    async with Speech("documented").account() as (box, vps):
        with pytest.raises(ConfigurationError, match="provider"):
            await vps.fleet.stop([1], timeout=120, then="hard_stop")
        for refused in (
            vps.fleet.resize([1], 2, timeout=60),
            vps.fleet.snapshot([1]),
            vps.fleet.rolling_resize([1], 2, timeout=60),
        ):
            with pytest.raises(ConfigurationError, match="provider"):
                await refused
        assert box.requests == ()


@pytest.mark.parametrize("dialect", ["documented", "provider"])
@virtual
async def test_servers_are_stopped_before_they_are_deleted(dialect: str) -> None:
    """What is off already is deleted at once, and what does not stop is not deleted."""
    async with Speech(dialect).account(durations=quick) as (box, vps):
        running, off = fleet_of(box, 2), fleet_of(box, 1, status="stopped")
        stuck = fleet_of(box, 1, status="rebooting")
        box.world.set_status(stuck[0], "rebooting", seconds=math.inf)
        ids = [*running, *stuck, *off]
        events: list[FleetEvent] = []
        report = await vps.fleet.delete(ids, timeout=120, stop_first=True, on_event=events.append)

        assert [outcome.key for outcome in report.outcomes] == ids
        assert [outcome.key for outcome in report.failed] == stuck
        assert {outcome.how for outcome in report.succeeded} == {"deleted"}
        assert [server.id for server in box.servers] == stuck
        order = [change.operation for change in box.ledger if change.server_id == running[0]]
        assert order == ["stop", "delete"]
        assert sum(isinstance(event, ServerSettled) for event in events) == 4
        with pytest.raises(ConfigurationError, match="not tried again"):
            await report.retry_failed()


@virtual
async def test_a_server_that_has_stopped_since_it_was_listed_is_deleted() -> None:
    """It refuses its stop, and shows that it is stopped."""
    async with Speech("documented").account(Rule("list", faults.Lag(100.0, lasting=1.0), times=1)) as (
        box,
        vps,
    ):
        ids = fleet_of(box, 2)
        await asyncio.sleep(200)
        box.world.set_status(ids[0], "stopped")
        report = await vps.fleet.delete(ids, timeout=120, stop_first=True)

        report.raise_for_failures()
        assert_committed(box, stop=1, delete=2)


@virtual
async def test_after_a_stop_that_failed_nothing_is_deleted_if_so_asked() -> None:
    async with Speech("documented").account(durations=quick) as (box, vps):
        ids = [*fleet_of(box, 1, status="rebooting"), *fleet_of(box, 1, status="stopped")]
        box.world.set_status(ids[0], "rebooting", seconds=math.inf)
        report = await vps.fleet.delete(ids, timeout=120, stop_first=True, on_failure="stop")

        assert [type(outcome) for outcome in report.outcomes] == [Failed, Skipped]
        assert len(box.servers) == 2
        assert not isinstance(report.failed[0].error, UnexpectedStatusError)
