"""What remains of a rolling operation, handed to the next call: no server is rebooted twice, by the ledger."""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.virtual_account import account, client, kinds, virtual
from vpsorg_async import Failed, Report, Server, Skipped, Succeeded
from vpsorg_async.errors import ConfigurationError, OutcomeUnknownError
from vpsorg_async.events import CommandAnswered, FleetEvent, ServerSettled
from vpsorg_async.fleet import Remaining
from vpsorg_async.plain import from_plain, to_plain
from vpsorg_async.records import ServerId
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

quick = Durations(rebooting=20.0, starting=20.0, stopping=20.0)


def fleet_of(box: Sandbox, count: int, **settings: Any) -> list[ServerId]:
    return [server.id for server in box.world.add(count, **settings)]


def commands(box: Sandbox) -> Counter[ServerId | None]:
    """How often each server was given a command that was applied."""
    return Counter(change.server_id for change in box.ledger)


def stored(report: Report) -> Report:
    """The report of a process that has ended, from its database."""
    read: Report = from_plain(json.loads(json.dumps(to_plain(report))))
    return read


def pickled(report: Report) -> Report:
    read: Report = pickle.loads(pickle.dumps(report))
    return read


@pytest.mark.parametrize("kept", [stored, pickled, lambda report: report], ids=["stored", "pickled", "same"])
@virtual
async def test_forty_that_are_interrupted_twice_reboot_once_each(kept: Callable[[Report], Report]) -> None:
    """Each run goes on where the last one was left, in another client; the share is one of the whole fleet."""
    async with account(durations=quick) as (box, first):
        ids = fleet_of(box, 40)
        remaining: list[ServerId] | Remaining = ids
        for after in (7, 20):
            async with client(box) as vps:
                async with vps.fleet.rolling("reboot", remaining, timeout=300, max_unavailable=0.1) as run:
                    for _ in range(after):
                        await anext(run)
                report = kept(run.report)
            done = len(report.succeeded)
            assert len(report.failed) == 4, "those in flight"
            assert all(failure.acknowledged and failure.receipt for failure in report.failed)
            remaining = report.remaining
            assert len(remaining) == 40 - done
            assert [*remaining] == [key for key in ids if key in remaining]
            assert sum(commands(box).values()) == done + 4
        report = await first.fleet.rolling_reboot(remaining, timeout=300, max_unavailable=0.1)

        report.raise_for_failures()
        assert [outcome.key for outcome in report.outcomes] == ids
        assert {outcome.how for outcome in report.succeeded} == {"rebooted"}
        assert sum(outcome.attempts == 0 for outcome in report.succeeded) == done + 4
        assert commands(box) == dict.fromkeys(ids, 1)
        assert not report.remaining


@virtual
async def test_a_fleet_that_is_not_whole_is_not_begun() -> None:
    """16 servers of which 6 are down, and a quarter may be: nothing is sent; outcomes and events say why."""
    async with account(durations=quick) as (box, vps):
        up = fleet_of(box, 10)
        down = fleet_of(box, 4, status="stopped") + fleet_of(box, 2, status="suspended")
        events: list[FleetEvent] = []
        report = await vps.fleet.rolling_reboot(
            [*up, *down], timeout=600, max_unavailable=0.25, on_event=events.append
        )

        assert kinds(report) == {"Skipped": 16}
        assert box.ledger == ()
        why = (
            "not started: 6 of 16 servers were unavailable at the beginning, and at most 4 may be; "
            "bring them back, or leave them out"
        )
        reasons = {outcome.key: outcome.reason for outcome in report.skipped}
        assert {reasons[key] for key in up} == {why}
        assert Counter(reasons[key] for key in down) == {
            "it is stopped, not active": 4,
            "it is suspended, not active": 2,
        }
        told = {event.key: event.outcome for event in events if isinstance(event, ServerSettled)}
        assert told == {outcome.key: outcome for outcome in report.outcomes}
        assert [*report.remaining] == [*up, *down]

        for key in down:
            box.world.set_status(key, "active")
        report = await vps.fleet.rolling_reboot(report.remaining, timeout=600, max_unavailable=0.25)

        assert kinds(report) == {"Succeeded": 16}


@virtual
async def test_what_is_down_leaves_the_rest_of_the_window() -> None:
    """Two of ten are down and three may be: the others go one at a time."""
    async with account(durations=quick) as (box, vps):
        up, down = fleet_of(box, 8), fleet_of(box, 2, status="stopped")
        report = await vps.fleet.rolling_reboot([*up, *down], timeout=600, max_unavailable=0.3, canary=0)

        assert kinds(report) == {"Succeeded": 8, "Skipped": 2}
        times = [change.at for change in box.ledger]
        assert all(later >= earlier + 20 for earlier, later in itertools.pairwise(times))


@virtual
async def test_servers_at_the_goal_are_not_down() -> None:
    """A rolling stop over a fleet whose half is stopped already stops the other half."""
    async with account(durations=quick) as (box, vps):
        up, stopped = fleet_of(box, 3), fleet_of(box, 3, status="stopped")
        async with vps.fleet.rolling("stop", [*up, *stopped], timeout=600) as run:
            async for _ in run:
                pass

        assert {outcome.key for outcome in run.report.succeeded} == set(up)


@virtual
async def test_what_was_done_and_is_down_since_counts() -> None:
    """It is not rebooted again, and no other server leaves beside it."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 4)

        def hook(event: FleetEvent) -> None:
            if isinstance(event, CommandAnswered):
                run.pause()

        async with vps.fleet.rolling("reboot", ids, timeout=300, on_event=hook) as run:
            await anext(run)
        box.world.set_status(ids[0], "stopped")
        report = await vps.fleet.rolling_reboot(run.report.remaining, timeout=300)

        first, *others = report.outcomes
        assert isinstance(first, Succeeded)
        assert all(isinstance(outcome, Skipped) for outcome in others)
        assert commands(box) == {ids[0]: 1}


@virtual
async def test_a_reboot_in_doubt_is_not_repeated_until_it_is_left_out() -> None:
    """Lost, or without an answer when the run was left: it fails again, and the others go on."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 5)
        box.faults.add(
            Rule("reboot", faults.DropAfter(), path=f"/api/v1/servers/{ids[0]}/reboot/"),
            Rule("reboot", faults.Delay(100.0), path=f"/api/v1/servers/{ids[1]}/reboot/"),
        )
        async with vps.fleet.rolling(
            "reboot", ids, timeout=300, max_unavailable=3, canary=0, max_failures=4
        ) as run:
            await anext(run)
            await asyncio.sleep(5)
        lost, unanswered, acknowledged, *untouched = run.report.outcomes
        for outcome in (lost, unanswered):
            assert isinstance(outcome, Failed)
            assert isinstance(outcome.error, OutcomeUnknownError)
            assert outcome.receipt is None
        assert isinstance(acknowledged, Failed)
        assert acknowledged.acknowledged
        assert {type(outcome) for outcome in untouched} == {Skipped}

        await asyncio.sleep(200)
        sent = commands(box)
        report = await vps.fleet.rolling_reboot(
            stored(run.report).remaining, timeout=300, max_unavailable=3, max_failures=4
        )

        assert [type(outcome) for outcome in report.outcomes] == [
            Failed,
            Failed,
            Succeeded,
            Succeeded,
            Succeeded,
        ]
        assert {type(failure.error) for failure in report.failed} == {OutcomeUnknownError}
        assert [*report.remaining] == ids[:2]
        assert commands(box) - sent == dict.fromkeys(ids[3:], 1)

        rest = report.remaining.without(*ids[:2])
        assert (len(rest), rest.fleet) == (0, tuple(ids[2:]))
        assert kinds(await vps.fleet.rolling_reboot(rest, timeout=300)) == {"Succeeded": 3}
        assert max(commands(box).values()) == 1


@virtual
async def test_what_was_refused_is_sent_again() -> None:
    """A refusal has no effect."""
    async with account(Rule("reboot", faults.Reply(400), nth=1), durations=quick) as (box, vps):
        ids = fleet_of(box, 2)
        refused = await vps.fleet.rolling_reboot(ids, timeout=300)
        report = await vps.fleet.rolling_reboot(refused.remaining, timeout=300)

        assert kinds(refused) == {"Failed": 1, "Skipped": 1}
        assert kinds(report) == {"Succeeded": 2}
        assert commands(box) == dict.fromkeys(ids, 1)


@virtual
async def test_what_was_unhealthy_is_checked_again() -> None:
    """It is not rebooted again, and counts as unavailable until its check passes."""
    sick = True

    async def health(server: Server) -> bool:
        return not sick

    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 3)
        failed = await vps.fleet.rolling_reboot(ids, timeout=300, health=health)
        sick = False
        report = await vps.fleet.rolling_reboot(failed.remaining, timeout=300, health=health)

        assert kinds(failed) == {"Failed": 1, "Skipped": 2}
        report.raise_for_failures()
        assert [change.server_id for change in box.ledger] == ids


@virtual
async def test_remaining_that_does_not_fit(tmp_path: Path) -> None:
    """Another operation, a journal besides, a report of another call: refused before anything is sent."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 2)

        def hook(event: FleetEvent) -> None:
            if isinstance(event, CommandAnswered):
                run.pause()

        async with vps.fleet.rolling("stop", ids, timeout=300, on_event=hook) as run:
            await anext(run)
        remaining = run.report.remaining
        asked = len(box.requests)
        with pytest.raises(ConfigurationError, match="rolling stop, not of a rolling reboot"):
            await vps.fleet.rolling_reboot(remaining, timeout=300)
        with pytest.raises(ConfigurationError, match="journal"):
            vps.fleet.rolling("stop", remaining, timeout=300, journal=tmp_path / "a.db")
        assert len(box.requests) == asked

        assert repr(remaining) == f"<what remains of a rolling stop: 1 of 2 servers: {ids[1]}>"
        assert ids[1] in remaining
        assert ids[0] not in remaining
        assert str(ids[1]) in remaining
        assert None not in remaining
        plain = await vps.fleet.start([ids[0]], timeout=300)
        with pytest.raises(ConfigurationError, match="retry_failed"):
            _ = plain.remaining
