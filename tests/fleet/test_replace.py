"""Replacing the servers of a fleet, against the emulator: never too many exist, never too few serve.

The counts are those of the ledger: what was really done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fleet.virtual_account import account, commands, kinds, virtual
from vpsorg_async import Client, Failed, FleetSpec, Limits, Report, Server
from vpsorg_async.errors import (
    ConfigurationError,
    DecodeError,
    LimitError,
    PlanRefusedError,
    ReplacementError,
)
from vpsorg_async.events import ServerSwitched
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.sync import Client as SyncClient
from vpsorg_async.virtual_time import LoopClock

TIMEOUT = 900.0
INTERVAL = 0.5
"""Virtual seconds between two looks at the truth."""


def fleet(count: int, **fields: Any) -> FleetSpec:
    """A fleet whose servers shall have the operating system 3."""
    given = {"name": "web-{n:02}", "count": count, "plan_id": 1, "os_id": 3, "location": "us-west"}
    return FleetSpec(**{**given, **fields})


def have(box: Sandbox, *numbers: int, os: int = 5, status: str = "active", prefix: str = "web-") -> None:
    """Give the account servers with these numbers."""
    for number in numbers:
        box.world.add(name=f"{prefix}{number:02}", status=status, os_id=os)


def systems(box: Sandbox) -> dict[str, int]:
    """The operating system of each server, by name."""
    return {server.name: server.os.id for server in box.servers}


def fresh(*numbers: int) -> dict[str, int]:
    """The same for servers that have been replaced."""
    return {f"web-{number:02}": 3 for number in numbers}


@attrs.define
class Watched:
    """The most servers that existed, and the fewest that served, at any moment."""

    most: int = 0
    fewest: int = 10_000


@contextlib.asynccontextmanager
async def watching(box: Sandbox, prefix: str = "web-") -> AsyncIterator[Watched]:
    """Look at the account all the time."""
    seen = Watched()

    def look() -> None:
        found = [server for server in box.servers if server.name.startswith(prefix)]
        seen.most = max(seen.most, len(found))
        seen.fewest = min(seen.fewest, sum(server.status == "active" for server in found))

    async def watch() -> None:
        while True:
            look()
            await asyncio.sleep(INTERVAL)

    task = asyncio.create_task(watch())
    try:
        yield seen
        look()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def apply(vps: Client, wanted: FleetSpec, **options: Any) -> Report:
    """Apply with replacement."""
    return await vps.fleet.apply(wanted, timeout=TIMEOUT, replace="rolling", **options)


def error(report: Report) -> ReplacementError:
    """The error of the only failure."""
    (failure,) = report.failed
    assert isinstance(failure.error, ReplacementError)
    return failure.error


@virtual
async def test_all_servers_are_replaced() -> None:
    """The new one is created, switched to, and the old one deleted after the drain; a second call finds nothing."""
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4, 5)
        have(box, 1, 2, prefix="db-")
        calls: list[tuple[str, str, str]] = []
        times: dict[str, float] = {}

        async def switch(old: Server, new: Server) -> None:
            calls.append((old.name, new.name, str(new.status)))
            times[old.name] = asyncio.get_running_loop().time()

        async with watching(box) as seen:
            report = await apply(vps, fleet(5), surge=2, drain=30, switch=switch)

        assert systems(box) == {**fresh(6, 7, 8, 9, 10), "db-01": 5, "db-02": 5}
        assert (seen.most, seen.fewest) == (7, 5)
        assert [(one.key, one.how, one.old and one.old.name) for one in report.succeeded] == [
            (f"web-{n + 5:02}", "replaced", f"web-{n:02}") for n in range(1, 6)
        ]
        assert sorted(calls) == [(f"web-{n:02}", f"web-{n + 5:02}", "active") for n in range(1, 6)]
        assert calls[0] == ("web-01", "web-06", "active")
        assert [server.name for server in report.servers] == [outcome.key for outcome in report.outcomes]
        for change in box.ledger:
            if change.operation == "delete":
                assert change.at >= times[change.name] + 30

        again = await apply(vps, fleet(5))

        assert (kinds(again), commands(box)) == ({"Succeeded": 5}, {"create": 5, "delete": 5})


@virtual
async def test_the_old_one_first() -> None:
    """Without a surge the old server is deleted before the new one exists; no more are lost than are permitted."""
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4, 5, 6)

        async with watching(box) as seen:
            report = await apply(vps, fleet(6), surge=0, max_unavailable=0.34)

        assert kinds(report) == {"Succeeded": 6}
        assert (seen.most, seen.fewest) == (6, 4)
        assert systems(box) == fresh(7, 8, 9, 10, 11, 12)


@virtual
async def test_servers_that_are_down_go_first_and_are_not_started() -> None:
    """Their replacement makes no other server unavailable."""
    async with account() as (box, vps):
        have(box, 1, 2, 4)
        have(box, 3, status="stopped")
        switched: list[Any] = []

        def note(event: object) -> None:
            if isinstance(event, ServerSwitched):
                switched.append(event.key)

        await apply(vps, fleet(4), on_event=note)

        assert commands(box) == {"create": 4, "delete": 4}
        assert switched == ["web-07", "web-05", "web-06", "web-08"]


@virtual
async def test_what_else_the_plan_has_comes_first_and_deletes_last() -> None:
    """Missing servers are created before any is replaced; what is too many goes when all are replaced."""
    async with account() as (box, vps):
        have(box, 1, 2)
        have(box, 1, 2, 3, prefix="db-", os=3)

        async with watching(box) as seen:
            report = await vps.fleet.apply(
                [fleet(3), fleet(2, name="db-{n:02}")], timeout=TIMEOUT, replace="rolling", prune=True
            )

        order = [(change.operation, change.name) for change in box.ledger]
        assert kinds(report) == {"Succeeded": 6}
        assert order[0] == ("create", "web-03")
        assert order[-1] == ("delete", "db-03")
        assert (seen.most, seen.fewest) == (4, 2)


@virtual
async def test_several_fleets_go_one_after_the_other() -> None:
    """The surge and the canary are those of each fleet; failures count for all of them."""
    async with account() as (box, vps):
        have(box, 1, 2)
        have(box, 1, 2, prefix="db-")
        both = [fleet(2), fleet(2, name="db-{n:02}")]

        async with watching(box, "") as seen:
            report = await vps.fleet.apply(both, timeout=TIMEOUT, replace="rolling", surge=2)

        assert kinds(report) == {"Succeeded": 4}
        assert (seen.most, seen.fewest) == (5, 4)
        assert commands(box) == {"create": 4, "delete": 4}


@virtual
async def test_a_new_server_that_never_becomes_ready() -> None:
    """The old one serves on, nothing more begins, and the outcome says what exists; the next call ends it."""
    async with account() as (box, vps):
        have(box, *range(1, 11))
        ill = {"web-13"}

        def ready(server: Server) -> bool:
            return server.name not in ill

        async with watching(box) as seen:
            report = await apply(vps, fleet(10), surge=2, ready=ready, ready_timeout=60)

        assert (seen.most, seen.fewest >= 10) == (12, True)
        assert error(report).new_id == error(report).reason.server_id  # type: ignore[union-attr]
        assert str(error(report)).startswith("web-03 [12347] was not replaced by web-13 [")
        assert str(error(report)).endswith("web-03 [12347] stays, and web-13 [12357] exists")
        assert {skipped.reason for skipped in report.skipped} == {"the replacement stopped after a failure"}
        assert {"web-03", "web-13"} <= systems(box).keys()

        ill.clear()
        report = await apply(vps, fleet(10), surge=2, ready=ready, ready_timeout=60)

        assert set(kinds(report)) == {"Succeeded"}
        assert set(systems(box).values()) == {3}
        assert len(box.servers) == 10
        assert commands(box) == {"create": 10, "delete": 10}


@virtual
async def test_failures_that_are_permitted() -> None:
    """All others are replaced, with one place of the surge less; new servers that failed are deleted if asked."""
    for delete_failed in (False, True):
        async with account() as (box, vps):
            have(box, *range(1, 9))

            def ready(server: Server) -> bool:
                return server.name != "web-11"

            async with watching(box) as seen:
                report = await apply(
                    vps,
                    fleet(8),
                    surge=3,
                    max_failures=2,
                    ready=ready,
                    ready_timeout=60,
                    delete_failed=delete_failed,
                )

            assert kinds(report) == {"Succeeded": 7, "Failed": 1}
            assert (seen.most, seen.fewest >= 8) == (11, True)
            assert ("web-11" in systems(box)) is not delete_failed
            assert systems(box)["web-03"] == 5
            assert report.failed[0].server_id == (None if delete_failed else error(report).new_id)
            assert ("web-11 does not exist" in str(error(report))) is delete_failed
            assert Counter(systems(box).values())[3] == (7 if delete_failed else 8)


@virtual
async def test_a_new_server_that_is_stuck() -> None:
    """With `on_stuck` it is deleted and created again, and its pair goes on; the surge is not exceeded."""
    async with account() as (box, vps):
        have(box, *range(1, 7))
        seen: list[Any] = []

        def ready(server: Server) -> bool:
            if server.name == "web-08":
                seen.append(server.id)
            return server.name != "web-08" or server.id != seen[0]

        async with watching(box) as bounds:
            report = await apply(
                vps, fleet(6), surge=2, ready=ready, ready_timeout=60, on_stuck="replace", max_replacements=1
            )

        assert kinds(report) == {"Succeeded": 6}
        assert report.replaced == (seen[0],)
        assert (bounds.most, bounds.fewest) == (8, 6)
        assert commands(box) == {"create": 7, "delete": 7}


@pytest.mark.parametrize("surge", [1, 3])
def test_one_of_many_new_servers_is_stuck(surge: int) -> None:
    """Those that wait for their turn do not keep it from being replaced, and it does not keep them from their turn."""

    @virtual
    async def test() -> None:
        async with account() as (box, vps):
            have(box, *range(1, 13))
            seen: list[Any] = []

            def ready(server: Server) -> bool:
                if server.name == "web-13":
                    seen.append(server.id)
                return server.name != "web-13" or server.id != seen[0]

            report = await apply(
                vps, fleet(12), surge=surge, ready=ready, ready_timeout=60, on_stuck="replace"
            )

            assert kinds(report) == {"Succeeded": 12}
            assert report.replaced == (seen[0],)
            assert commands(box) == {"create": 13, "delete": 13}

    test()


@virtual
async def test_a_switch_that_is_a_plain_function() -> None:
    """It is called in the same way."""
    async with account() as (box, vps):
        have(box, 1, 2)
        calls: list[str] = []

        report = await apply(vps, fleet(2), switch=lambda old, new: calls.append(f"{old.name} {new.name}"))

        assert (kinds(report), calls) == ({"Succeeded": 2}, ["web-01 web-03", "web-02 web-04"])


@pytest.mark.parametrize("refusal", [faults.Reply(402), faults.Reply(400)])
@virtual
async def test_a_create_that_is_refused(refusal: Any) -> None:
    """The old ones stay, and no new one exists."""
    async with account(Rule("create", refusal)) as (box, vps):
        have(box, 1, 2, 3)

        report = await apply(vps, fleet(3), surge=2)

        assert kinds(report) == {"Failed": 1, "Skipped": 2}
        assert str(error(report)).endswith("web-01 [12345] stays, and web-04 does not exist")
        assert error(report).new_id is None
        assert systems(box) == {"web-01": 5, "web-02": 5, "web-03": 5}


@virtual
async def test_creates_without_an_answer() -> None:
    """Each is searched for by its name, like that of any other call: none is sent twice."""
    async with account(Rule("create", faults.DropAfter(), every=2)) as (box, vps):
        have(box, *range(1, 7))

        report = await apply(vps, fleet(6), surge=3)

        assert (kinds(report), commands(box)) == ({"Succeeded": 6}, {"create": 6, "delete": 6})
        assert len(systems(box)) == 6


@virtual
async def test_a_create_whose_outcome_stays_unknown() -> None:
    """Its place in the surge stays taken, the old one stays, and the message says that the new one may exist."""
    rules = (
        Rule("create", (faults.HideCreated(600), faults.DropAfter()), nth=1),
        Rule("create", faults.Reply(503), nth=1),
    )
    async with account(*rules[:1]) as (box, vps):
        have(box, 1, 2, 3)

        report = await apply(vps, fleet(3), max_failures=2, settle=5)

        assert kinds(report) == {"Failed": 1, "Skipped": 2}
        assert str(error(report)).endswith("web-01 [12345] stays, and web-04 may exist")
        assert "a server too many, and surge is 1" in report.skipped[0].reason
        assert commands(box) == {"create": 1}


@virtual
async def test_a_switch_that_raises() -> None:
    """It is a failure of this pair: both servers stay, the new one is not deleted, and the next call switches again."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        calls: list[str] = []

        async def switch(old: Server, new: Server) -> None:
            calls.append(new.name)
            if len(calls) == 2:
                raise OSError("the balancer is away")

        report = await apply(vps, fleet(3), switch=switch, delete_failed=True)

        assert kinds(report) == {"Succeeded": 1, "Failed": 1, "Skipped": 1}
        assert (
            "the switch raised OSError: the balancer is away; both exist, and the switch from web-02"
            in str(error(report))
        )
        assert systems(box).keys() == {"web-02", "web-03", "web-04", "web-05"}

        with pytest.raises(PlanRefusedError, match=r"web-05.* is known to a journal alone"):
            await apply(vps, fleet(3), switch=switch)
        report = await apply(vps, fleet(3))

        assert (set(kinds(report)), systems(box)) == ({"Succeeded"}, fresh(1, 4, 5))


@virtual
async def test_a_delete_that_is_refused() -> None:
    """No other old server is deleted after it: both of its pair exist, and the new one has taken over."""
    async with account(Rule("delete", faults.Reply(409), nth=2)) as (box, vps):
        have(box, *range(1, 7))

        report = await apply(vps, fleet(6), surge=2, max_failures=5)

        assert commands(box)["delete"] == 1
        assert kinds(report)["Succeeded"] == 1
        assert any(
            "has taken over, and web-0" in str(failure.error) and "stays" in str(failure.error)
            for failure in report.failed
        )
        names = systems(box)
        assert all(failure.old is not None and failure.old.name in names for failure in report.failed)


@virtual
async def test_an_old_server_that_somebody_renames() -> None:
    """It is read right before its delete; one that is not what it was is left alone."""
    async with account() as (box, vps):
        have(box, 1)

        async def switch(old: Server, new: Server) -> None:
            await vps.servers.update(old.id, name="web-77x")

        report = await apply(vps, fleet(1), switch=switch)

        assert "has another name than before, and was not deleted" in str(error(report))
        assert commands(box) == {"create": 1, "update": 1}
        assert len(box.servers) == 2


@virtual
async def test_an_old_server_that_somebody_deletes() -> None:
    """It is gone, which is what was wanted; another server that has got its name meanwhile stays."""
    async with account() as (box, vps):
        have(box, 1)

        async def switch(old: Server, new: Server) -> None:
            box.world.vanish(old.id)
            have(box, 1, os=3)

        report = await apply(vps, fleet(1), switch=switch)

        assert (kinds(report), commands(box)) == ({"Succeeded": 1}, {"create": 1})
        assert systems(box) == fresh(1, 2)


@virtual
async def test_the_old_names() -> None:
    """`stable`: the new server gets the old one's name and host name once that is gone."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        wanted = fleet(3, hostname="w{n}.example.com")

        report = await apply(vps, wanted, names="stable", surge=2)

        assert (kinds(report), systems(box)) == ({"Succeeded": 3}, fresh(1, 2, 3))
        assert sorted(server.name for server in report.servers) == ["web-01", "web-02", "web-03"]
        assert {server.hostname for server in box.servers} == {f"w{n}.example.com" for n in (1, 2, 3)}
        assert (await vps.fleet.plan(wanted, replace="rolling")).changes == 0

        report = await apply(vps, attrs.evolve(wanted, os_id=5), names="stable")

        assert kinds(report) == {"Succeeded": 3}
        assert systems(box) == {"web-01": 5, "web-02": 5, "web-03": 5}


@virtual
async def test_an_old_name_that_lists_show_late(tmp_path: Path) -> None:
    """A replacement is over once the list shows its name: the next run gives this name to no other server."""
    journal = str(tmp_path / "fleet.db")
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        box.world.lag(10, lasting=7200)
        call = asyncio.create_task(apply(vps, fleet(3), names="stable", journal=journal))
        while commands(box)["update"] < 1:  # noqa: ASYNC110 - nothing says when it was applied
            await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        async with Client(box.token, base_url=box.url, clock=LoopClock()) as other:
            report = await apply(other, fleet(3), names="stable", journal=journal)

        assert kinds(report) == {"Succeeded": 3}
        assert systems(box) == fresh(1, 2, 3)
        assert "web-01" not in [change.name for change in box.ledger if change.operation == "create"]


@virtual
async def test_fields_that_are_changed_in_place() -> None:
    """By a PATCH, of servers that stay; stopped ones are started too. A second call finds nothing to do."""
    async with account() as (box, vps):
        have(box, 1, 2, os=3)
        have(box, 3, os=3, status="stopped")
        for server in box.servers:
            await vps.servers.update(server.id, hostname="other.example.com")
        wanted = fleet(3, hostname="w{n}.example.com")

        report = await apply(vps, wanted)

        assert [outcome.how for outcome in report.succeeded] == ["updated", "updated", "started"]
        assert [server.hostname for server in report.servers] == [f"w{n}.example.com" for n in (1, 2, 3)]
        assert commands(box) == {"update": 6, "start": 1}

        report = await apply(vps, wanted)

        assert [outcome.how for outcome in report.succeeded] == ["adopted"] * 3
        assert len(box.ledger) == 7


@virtual
async def test_a_change_in_place_that_is_refused() -> None:
    """It is a failure of that server alone."""
    async with account(Rule("update", faults.Reply(400), nth=3)) as (box, vps):
        have(box, 1, 2, os=3)
        for server in box.servers:
            await vps.servers.update(server.id, hostname="other.example.com")

        report = await apply(vps, fleet(2, hostname="w{n}.example.com"))

        assert kinds(report) == {"Succeeded": 1, "Failed": 1}


@virtual
async def test_by_age() -> None:
    """`replace_when` counts from the time of creation that the service shows."""
    began = datetime.now(UTC)

    class Clock(LoopClock):
        def wall(self) -> datetime:
            return began + timedelta(seconds=self.now())

    clock = Clock()
    async with (
        Sandbox(clock=clock.now) as box,
        Client(box.token, base_url=box.url, clock=clock) as vps,
    ):
        have(box, 1, os=3)
        await asyncio.sleep(7200)
        report = await apply(vps, fleet(2))
        assert [outcome.how for outcome in report.succeeded] == ["adopted", "created"]

        report = await apply(vps, fleet(2), replace_when=timedelta(hours=1))
        again = await vps.fleet.plan(fleet(2), replace="rolling", replace_when=timedelta(hours=1))

        assert [outcome.how for outcome in report.succeeded] == ["replaced", "adopted"]
        assert (systems(box), again.changes) == (fresh(2, 3), 0)


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        (Limits(max_servers=7), True),
        (Limits(max_servers=6), False),
        (Limits(max_creates_per_run=5), True),
        (Limits(max_creates_per_run=4), False),
        (Limits(read_only=True), False),
    ],
)
@virtual
async def test_the_limits_of_the_client(limits: Limits, fits: bool) -> None:
    """The surge needs room, and no more than that; what does not fit is refused before any change."""
    async with account(options={"limits": limits}) as (box, vps):
        have(box, 1, 2, 3, 4, 5)
        if fits:
            assert not (await vps.fleet.plan(fleet(5), replace="rolling", surge=2)).over_limits
            assert kinds(await apply(vps, fleet(5), surge=2)) == {"Succeeded": 5}
            return
        with pytest.raises(LimitError):
            await apply(vps, fleet(5), surge=2)
        assert (await vps.fleet.plan(fleet(5), replace="rolling", surge=2)).over_limits
        assert commands(box) == {}


@virtual
async def test_an_incomplete_list_replaces_nothing() -> None:
    async with account(Rule("list", faults.ShortList(1))) as (box, vps):
        have(box, 1, 2, 3)
        with pytest.raises(DecodeError, match="incomplete"):
            await apply(vps, fleet(3))

        assert commands(box) == {}


@virtual
async def test_the_provider_dialect() -> None:
    """It has no PATCH: the old names can't be given back."""
    async with account(options={"dialect": "provider"}, dialect="provider") as (_, vps):
        wanted = FleetSpec(
            name="web-{n}", count=1, plan_id="5f-a", os_id="5f-b", location=1, hostname="w{n}.example.com"
        )
        with pytest.raises(ConfigurationError, match="needs a PATCH"):
            await apply(vps, wanted, names="stable")


@virtual
async def test_a_cancelled_run_says_what_exists() -> None:
    """Every pair is in the report, in progress or not begun; the next call ends it, and nothing is created twice."""
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4)
        plan = await vps.fleet.plan(fleet(4), replace="rolling", surge=2)
        seen: list[Any] = []
        call = asyncio.create_task(vps.fleet.apply(plan, timeout=TIMEOUT, on_event=seen.append))
        while commands(box)["create"] < 3:  # noqa: ASYNC110 - nothing says when it was applied
            await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        outcomes = {event.key: event.outcome for event in seen if hasattr(event, "outcome")}
        assert Counter(type(outcome).__name__ for outcome in outcomes.values()) == {
            "Succeeded": 1,
            "Failed": 2,
            "Skipped": 1,
        }
        for outcome in outcomes.values():
            if isinstance(outcome, Failed):
                assert "stays, and web-0" in str(outcome.error)
                assert outcome.server_id is not None

        report = await apply(vps, fleet(4), surge=2)

        assert set(kinds(report)) == {"Succeeded"}
        assert (len(box.servers), commands(box)) == (4, {"create": 4, "delete": 4})


@virtual
async def test_a_run_that_is_cancelled_while_it_deletes() -> None:
    """The report does not say that the old server stays: it may be gone."""
    async with account(Rule("delete", faults.NeverAnswer())) as (box, vps):
        have(box, 1)
        seen: list[Any] = []
        call = asyncio.create_task(apply(vps, fleet(1), on_event=seen.append))
        while not any(entry.method == "DELETE" for entry in box.requests):  # noqa: ASYNC110
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        assert "has taken over, and web-01 [12345] may have been deleted" in str(seen[-1].outcome.error)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_bounds_hold_at_each_moment(data: st.DataObject) -> None:
    """Whatever fails: never fewer serve than count - max_unavailable, and never more exist than count + surge."""
    count = data.draw(st.integers(2, 6), "count")
    surge, lost = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 2)).filter(any), "surge, lost")
    failing = data.draw(st.sets(st.integers(count + 1, 2 * count), max_size=2), "never ready")
    switches = data.draw(st.sets(st.integers(1, count), max_size=1), "switches that fail")
    rules = data.draw(
        st.lists(
            st.builds(
                Rule,
                st.sampled_from(["create", "delete", "list", "get"]),
                st.sampled_from(
                    [faults.DropAfter(), faults.DropBefore(), faults.Reply(503), faults.Reply(400)]
                ),
                nth=st.integers(1, 6),
            ),
            max_size=2,
        ),
        "faults",
    )
    options = {
        "surge": surge,
        "max_unavailable": lost,
        "canary": data.draw(st.integers(0, 2), "canary"),
        "max_failures": data.draw(st.integers(1, 3), "max_failures"),
        "delete_failed": data.draw(st.booleans(), "delete_failed"),
    }

    async def switch(old: Server, new: Server) -> None:
        if int(old.name.removeprefix("web-")) in switches:
            raise OSError("not now")

    def ready(server: Server) -> bool:
        return int(server.name.removeprefix("web-")) not in failing

    @virtual
    async def course() -> None:
        async with account(*rules) as (box, vps):
            have(box, *range(1, count + 1))
            have(box, 1, 2, prefix="web-x")
            foreign = {server.id for server in box.servers if server.name.startswith("web-x")}

            async with watching(box) as seen:
                with contextlib.suppress(Exception):
                    report = await apply(
                        vps, fleet(count), switch=switch, ready=ready, ready_timeout=60, settle=5, **options
                    )
                    assert len(report.outcomes) == count
            assert seen.most <= count + surge + len(foreign)
            assert seen.fewest >= count - lost + len(foreign)
            assert foreign <= {server.id for server in box.servers}
            assert max(Counter(server.name for server in box.servers).values()) == 1

    course()


@virtual
async def test_fifty_servers_of_which_one_never_becomes_ready() -> None:
    """49 are replaced, at no moment do fewer than 50 serve, and the old one of that pair is kept."""
    async with account() as (box, vps):
        have(box, *range(1, 51))

        def ready(server: Server) -> bool:
            return server.name != "web-70"

        async with watching(box) as seen:
            report = await apply(vps, fleet(50), surge=5, max_failures=2, ready=ready, ready_timeout=60)

        assert kinds(report) == {"Succeeded": 49, "Failed": 1}
        assert (seen.most, seen.fewest) == (55, 50)
        assert systems(box)["web-20"] == 5
        assert error(report).old_id == report.failed[0].old.id  # type: ignore[union-attr]
        assert commands(box) == {"create": 50, "delete": 49}


async def interrupted(vps: Client, journal: Path, **options: Any) -> None:
    """Begin to replace three servers; the switch of the first pair fails."""

    async def switch(old: Server, new: Server) -> None:
        raise OSError("not now")

    report = await apply(vps, fleet(3), journal=journal, switch=switch, **options)

    assert kinds(report) == {"Failed": 1, "Skipped": 2}


@virtual
async def test_plans_that_do_not_know_of_an_interrupted_replacement(tmp_path: Path) -> None:
    """None is applied with its journal: it could delete new servers as a surplus, or pair them anew."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        await interrupted(vps, tmp_path / "fleet.db")
        ignorant = await vps.fleet.plan(fleet(3), replace="rolling")
        knowing = await vps.fleet.plan(fleet(3), replace="rolling", journal=tmp_path / "fleet.db")

        assert ("begun by an earlier run" in str(knowing), "begun" in str(ignorant)) == (True, False)
        for wrong in ({"prune": True}, {"prune": True, "replace": "never"}):
            with pytest.raises(PlanRefusedError, match=r"was interrupted \(web-01 by web-04\)"):
                await vps.fleet.apply(fleet(3), timeout=TIMEOUT, journal=tmp_path / "fleet.db", **wrong)
        with pytest.raises(PlanRefusedError, match="plan again, with the same journal"):
            await vps.fleet.apply(ignorant, timeout=TIMEOUT, journal=tmp_path / "fleet.db")
        assert commands(box) == {"create": 1}

        report = await vps.fleet.apply(knowing, timeout=TIMEOUT, journal=tmp_path / "fleet.db")

        assert (kinds(report), systems(box)) == ({"Succeeded": 3}, fresh(4, 5, 6))
        assert (await vps.fleet.plan(fleet(3), replace="rolling", journal=tmp_path / "fleet.db")).changes == 0


@virtual
async def test_back_to_what_it_was(tmp_path: Path) -> None:
    """With the old system in the fleet again, the old server takes the place of the new one."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        await interrupted(vps, tmp_path / "fleet.db")
        calls: list[str] = []

        report = await apply(
            vps,
            fleet(3, os_id=5),
            journal=tmp_path / "fleet.db",
            switch=lambda old, new: calls.append(f"{old.name} {new.name}"),
        )

        assert (kinds(report), calls) == ({"Succeeded": 3}, ["web-04 web-01"])
        assert systems(box) == {"web-01": 5, "web-02": 5, "web-03": 5}
        assert commands(box) == {"create": 1, "delete": 1}


@virtual
async def test_a_pair_whose_old_server_is_deleted_by_somebody(tmp_path: Path) -> None:
    """Its new server is still switched to."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        await interrupted(vps, tmp_path / "fleet.db")
        box.world.vanish(box.servers[0].id)
        calls: list[str] = []

        report = await apply(
            vps,
            fleet(3),
            journal=tmp_path / "fleet.db",
            switch=lambda old, new: calls.append(f"{old.name} {old.status} {new.name}"),
        )

        assert kinds(report) == {"Succeeded": 3}
        assert calls[0] == "web-01 gone web-04"
        assert systems(box) == fresh(1, 4, 5)


def test_the_sync_client_replaces_servers() -> None:
    """The same call, with a plain function as its switch."""
    with Sandbox(speed=5000) as box, SyncClient(box.token, base_url=box.url, min_interval=0.02) as vps:
        have(box, 1, 2)
        calls: list[str] = []

        report = vps.fleet.apply(
            fleet(2), timeout=60, replace="rolling", switch=lambda old, new: calls.append(old.name)
        )

        assert (kinds(report), sorted(calls)) == ({"Succeeded": 2}, ["web-01", "web-02"])
        assert systems(box) == fresh(3, 4)
