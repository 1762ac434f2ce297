"""A replacement that goes on after something went wrong, and servers that change while it is in progress.

The counts are those of the ledger: what was really done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.test_replace import TIMEOUT, apply, error, fleet, fresh, have, interrupted, systems, watching
from tests.fleet.virtual_account import account, client, commands, kinds, virtual
from vpsorg_async import Client, FleetSpec, Server, Skipped, Succeeded, ready
from vpsorg_async.errors import ConfigurationError, PlanRefusedError
from vpsorg_async.events import ServerSettled
from vpsorg_async.journal import Journal
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.virtual_time import LoopClock


async def standing(box: Sandbox, journal: Path) -> list[str]:
    """The names of the old servers whose replacement the journal has."""
    async with await Journal.open(journal, account=box.url, clock=LoopClock()) as reading:
        return [pair.old.name for pair in await reading.pairs()]


CHANGES: list[Callable[[Sandbox, Server], object]] = [
    lambda box, new: box.world.set_status(new.id, "stopped"),
    lambda box, new: box.world.suspend(new.id),
    lambda box, new: box.world.vanish(new.id),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("drain", [0, 30])
@virtual
async def test_a_new_server_that_falls_before_the_old_one_is_deleted(
    change: Callable[[Sandbox, Server], object], drain: int
) -> None:
    """The old one stays, and nothing more is begun."""
    async with account() as (box, vps):
        have(box, 1, 2)

        async def switch(_: Server, new: Server) -> None:
            change(box, new)

        async with watching(box) as seen:
            report = await apply(vps, fleet(2), switch=switch, drain=drain)

        assert (kinds(report), commands(box)["delete"]) == ({"Failed": 1, "Skipped": 1}, 0)
        assert seen.fewest == 2
        assert "web-03 [12347] has taken over, and web-01 [12345] stays" in str(error(report))


@virtual
async def test_both_servers_are_looked_at_right_before_the_delete() -> None:
    """Not before the deletes of other pairs, which may take long."""
    async with account(Rule("delete", faults.Delay(1))) as (box, vps):
        have(box, 1, 2, 3)

        report = await apply(vps, fleet(3), surge=3, canary=0)

        by_id = [(one.method, one.path.rstrip("/").rpartition("/")[2]) for one in box.requests]
        by_id = [(method, number) for method, number in by_id if number.isdecimal()]
        deletes = [index for index, (method, _) in enumerate(by_id) if method == "DELETE"]
        new_of = {str(one.old and one.old.id): str(one.server and one.server.id) for one in report.succeeded}
        assert len(deletes) == 3
        for index in deletes:
            old = by_id[index][1]
            assert by_id[index - 2 : index] == [("GET", new_of[old]), ("GET", old)]


@virtual
async def test_pairs_that_have_changed_nothing_wait_for_their_turn(tmp_path: Path) -> None:
    """What was refused before is not begun all at once."""
    options: dict[str, Any] = {"journal": tmp_path / "fleet.db", "max_failures": 3}
    async with account(Rule("create", faults.Reply(400), times=3)) as (box, vps):
        have(box, 1, 2, 3, 4)
        first = await apply(vps, fleet(4), **options)

        async with watching(box) as seen:
            second = await apply(vps, fleet(4), **options)

        assert (kinds(first), kinds(second)) == ({"Failed": 3, "Skipped": 1}, {"Succeeded": 4})
        assert (seen.most, seen.fewest) == (5, 4)
        assert systems(box) == fresh(5, 6, 7, 8)


@virtual
async def test_without_a_surge_the_old_one_goes_first_also_in_a_second_run(tmp_path: Path) -> None:
    """Its delete was refused in the first one."""
    options: dict[str, Any] = {"journal": tmp_path / "fleet.db", "surge": 0, "max_unavailable": 1}
    async with account(Rule("delete", faults.Reply(400), times=1)) as (box, vps):
        have(box, 1, 2, 3)
        await apply(vps, fleet(3), **options)

        async with watching(box) as seen:
            report = await apply(vps, fleet(3), **options)

        assert (kinds(report), seen.most, seen.fewest) == ({"Succeeded": 3}, 3, 2)


@virtual
async def test_a_switch_is_for_one_server(tmp_path: Path) -> None:
    """The one that had taken over is gone: the next one takes over before the old one is deleted."""
    journal, calls = tmp_path / "fleet.db", []

    async def switch(old: Server, new: Server) -> None:
        calls.append((old.id, new.id))

    async with account(Rule("delete", faults.Reply(400), times=1)) as (box, vps):
        have(box, 1)
        await apply(vps, fleet(1), journal=journal, switch=switch)
        box.world.vanish(12346)
        gone = await apply(vps, fleet(1), journal=journal, switch=switch)
        report = await apply(vps, fleet(1), journal=journal, switch=switch)

        assert (kinds(gone), kinds(report)) == ({"Failed": 1}, {"Succeeded": 1})
        assert [server.id for server in box.servers] == [12347]
        assert calls == [(12345, 12346), (12345, 12347)]


@virtual
async def test_a_new_server_whose_switch_was_called_stays(tmp_path: Path) -> None:
    """Also where that was in another run, and it fails its check in this one: traffic may go to it."""
    options: dict[str, Any] = {"journal": tmp_path / "fleet.db", "delete_failed": True}

    async def switch(_: Server, __: Server) -> None:
        raise OSError("half done")

    async with account() as (box, vps):
        have(box, 1)
        await apply(vps, fleet(1), switch=switch, **options)
        await apply(
            vps, fleet(1), switch=switch, ready=lambda one: one.name != "web-02", ready_timeout=60, **options
        )

        assert systems(box) == {"web-01": 5, "web-02": 3}


@pytest.mark.parametrize(("os", "protected"), [(3, "web-01"), (5, "web-02")])
@virtual
async def test_a_server_that_is_protected_meanwhile(tmp_path: Path, os: int, protected: str) -> None:
    """The old one of a pair that has switched; or the new one, where the fleet is to be as it was before."""
    journal = tmp_path / "fleet.db"
    async with account(Rule("delete", faults.Reply(400), times=1)) as (box, vps):
        have(box, 1)
        await apply(vps, fleet(1), journal=journal)

        with pytest.raises(PlanRefusedError, match=f"and {protected} is protected now"):
            await apply(vps, fleet(1, os_id=os), journal=journal, protect=[protected])

        assert systems(box) == {"web-01": 5, "web-02": 3}


@virtual
async def test_a_lower_count_deletes_nothing_without_prune() -> None:
    """Servers that fit, beyond what the surge can have left, are no new servers of an interrupted replacement."""
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4)
        have(box, 5, 6, 7, 8, os=3)

        report = await apply(vps, fleet(4))

        assert [one.key for one in report.succeeded if one.how == "kept"] == ["web-02", "web-03", "web-04"]
        assert commands(box) == {"delete": 1}


@virtual
async def test_a_function_that_returns_something_to_be_awaited() -> None:
    """It would be true for each server."""
    async with account() as (box, vps):
        have(box, 1, os=3)

        async def is_old(_: Server) -> bool:
            return False

        def later(_: Server) -> asyncio.Future[bool]:
            return asyncio.get_running_loop().create_future()

        for function in (lambda server: is_old(server), later):
            with pytest.raises(ConfigurationError, match="called, not awaited"):
                await apply(vps, fleet(1), replace_when=function)

        assert commands(box) == {}


@virtual
async def test_a_pair_stays_in_the_journal_until_its_end_in_the_provider_dialect(tmp_path: Path) -> None:
    """Servers are known by their host names there."""
    journal = tmp_path / "fleet.db"

    def old(server: Server) -> bool:
        return server.name in ("web-1", "w1.example.com")

    async with account(
        Rule("delete", faults.Reply(400)), options={"dialect": "provider"}, dialect="provider"
    ) as (box, vps):
        wanted = FleetSpec(
            name="web-{n}",
            count=1,
            plan_id=(await vps.plans.list())[0].id,
            os_id=(await vps.operating_systems.list())[0].id,
            location=1,
            hostname="w{n}.example.com",
        )
        await vps.fleet.apply(wanted, timeout=TIMEOUT)
        for _ in range(2):
            report = await apply(vps, wanted, journal=journal, replace_when=old)
            assert "has taken over, and" in str(error(report))

        plan = await vps.fleet.plan(wanted, replace="rolling", replace_when=old, journal=journal)

        assert "begun by an earlier run" in str(plan)
        assert commands(box)["create"] == 2


@virtual
async def test_a_name_that_somebody_takes_meanwhile() -> None:
    """Another program has begun to replace the same fleet, without the journal: no name is used twice."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)

        def switch(_: Server, __: Server) -> None:
            have(box, 5, os=3)

        report = await apply(vps, fleet(3), switch=switch)

        assert kinds(report) == {"Succeeded": 1, "Failed": 1, "Skipped": 1}
        assert "server 12349 has the name web-05 now" in str(error(report))
        assert commands(box) == {"create": 1, "delete": 1}
        assert error(report).old_id == 12346


@virtual
async def test_a_new_server_that_is_deleted_again_after_the_old_one(tmp_path: Path) -> None:
    """Its successor is switched to as well: the traffic still goes to the old one."""
    calls: list[tuple[str, str]] = []
    options: dict[str, Any] = {
        "journal": tmp_path / "fleet.db",
        "surge": 0,
        "max_unavailable": 1,
        "delete_failed": True,
        "ready_timeout": 5,
        "switch": lambda old, new: calls.append((old.name, new.name)),
    }
    async with account() as (box, vps):
        have(box, 1)
        first = await apply(vps, fleet(1), ready=lambda _: False, **options)
        second = await apply(vps, fleet(1), ready=lambda _: True, **options)

        assert (kinds(first), kinds(second)) == ({"Failed": 1}, {"Succeeded": 1})
        assert (calls, commands(box)) == ([("web-01", "web-02")], {"create": 2, "delete": 2})


@virtual
async def test_after_a_failure_no_other_fleet_is_begun() -> None:
    """Nothing is created of it, and each outcome says why."""
    async with account(Rule("create", faults.Reply(400))) as (box, vps):
        have(box, 1, 2)
        have(box, 1, 2, prefix="db-")
        fleets = [fleet(2), fleet(2, name="db-{n:02}")]

        report = await vps.fleet.apply(fleets, timeout=TIMEOUT, replace="rolling")

        assert kinds(report) == {"Failed": 1, "Skipped": 3}
        assert {skipped.reason for skipped in report.skipped} == {"the replacement stopped after a failure"}
        assert sum(entry.method == "POST" for entry in box.requests) == 1


class _Ended(Exception):
    """Stands for what would end the loop of the test as well."""


@pytest.mark.parametrize("stop", [None, SystemExit, KeyboardInterrupt])
@virtual
async def test_a_run_that_ends_in_its_switch(stop: type[BaseException] | None) -> None:
    """Cancelled, or by what ends the program: both servers stay, and the outcome says what is not known."""
    settled: list[Any] = []
    called = asyncio.Event()

    async def switch(_: Server, __: Server) -> None:
        called.set()
        if stop is not None:
            raise stop
        await asyncio.sleep(1e6)

    async def run(vps: Client) -> None:
        try:
            await apply(vps, fleet(2), switch=switch, on_event=settled.append)
        except (SystemExit, KeyboardInterrupt) as ended:
            raise _Ended from ended

    async with account() as (box, vps):
        have(box, 1, 2)
        call = asyncio.create_task(run(vps))
        await called.wait()
        if stop is None:
            call.cancel()
        with pytest.raises(asyncio.CancelledError if stop is None else _Ended):
            await call

        outcomes = {event.key: event.outcome for event in settled if isinstance(event, ServerSettled)}
        reason = "the run was cancelled" if stop is None else f"the run was closed ({stop.__name__})"
        assert str(outcomes["web-03"].error) == (
            f"web-01 [12345] was not replaced by web-03 [12347]: {reason}; both exist, and the switch from "
            "web-01 [12345] to web-03 [12347] may have been done in part"
        )
        assert isinstance(outcomes["web-04"], Skipped)
        assert commands(box) == {"create": 1}


@virtual
async def test_an_old_server_that_can_not_be_read() -> None:
    """It is not deleted, as nobody knows what it is now."""
    unread = Rule("get", faults.Html(503), path="/api/v1/servers/12345/")
    async with account(unread) as (box, vps):
        have(box, 1, 2)

        report = await apply(vps, fleet(2))

        assert kinds(report) == {"Failed": 1, "Skipped": 1}
        assert "was answered 503" in str(error(report))
        assert "web-03 [12347] has taken over, and web-01 [12345] stays" in str(error(report))
        assert commands(box) == {"create": 1}


@virtual
async def test_an_old_server_that_is_being_deleted_already() -> None:
    """Somebody has done it: it is waited for, and no delete is sent."""
    slow = Rule("delete", faults.SoftDelete("deleting", seconds=60, in_list=True))
    async with account(slow) as (box, vps):
        have(box, 1)

        async def switch(old: Server, _: Server) -> None:
            async with client(box) as other:
                await other.servers.delete(old.id)

        report = await apply(vps, fleet(1), switch=switch)

        assert kinds(report) == {"Succeeded": 1}
        assert sum(entry.method == "DELETE" for entry in box.requests) == 1
        assert systems(box) == fresh(2)
        assert report.seconds > 60


@virtual
async def test_a_delete_that_an_earlier_run_has_sent_is_not_sent_again(tmp_path: Path) -> None:
    """The account still shows the old server, with another word: the next program waits for its end."""
    slow = Rule("delete", faults.SoftDelete("stopping", seconds=300, in_list=True))
    async with account(slow) as (box, vps):
        have(box, 1)
        call = asyncio.create_task(apply(vps, fleet(1), journal=tmp_path / "fleet.db"))
        while not commands(box)["delete"]:  # noqa: ASYNC110 - nothing says when it was applied
            await asyncio.sleep(1)
        await asyncio.sleep(5)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        async with client(box) as other:
            report = await apply(other, fleet(1), journal=tmp_path / "fleet.db")

        assert kinds(report) == {"Succeeded": 1}
        assert sum(entry.method == "DELETE" for entry in box.requests) == 1
        assert systems(box) == fresh(2)


@virtual
async def test_a_new_server_that_this_client_is_stopping(tmp_path: Path) -> None:
    """An interrupted pair goes on once it has stopped: it is started, and takes over."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        await interrupted(vps, tmp_path / "fleet.db")
        await vps.servers.stop(12348)

        report = await apply(vps, fleet(3), journal=tmp_path / "fleet.db")

        assert (kinds(report), systems(box)) == ({"Succeeded": 3}, fresh(4, 5, 6))
        assert (commands(box)["start"], commands(box)["create"]) == (1, 3)


@virtual
async def test_an_old_name_that_no_list_shows_stays_in_the_journal(tmp_path: Path) -> None:
    """The server is replaced all the same: only a run that can't know is kept from giving its name to another one."""
    journal = tmp_path / "fleet.db"
    async with account() as (box, vps):
        have(box, 1)
        box.world.lag(10, lasting=7200)
        report = await apply(vps, fleet(1), names="stable", journal=journal, settle=5)

        assert (kinds(report), systems(box)) == ({"Succeeded": 1}, fresh(1))
        assert await standing(box, journal) == ["web-01"]


@pytest.mark.parametrize(("settle", "left", "shown"), [(5, ["web-01"], "web-02"), (30, [], "web-01")])
@virtual
async def test_an_old_name_that_the_answer_does_not_show(
    tmp_path: Path, settle: float, left: list[str], shown: str
) -> None:
    """The server, which is read instead, shows it late as well: the replacement is over once the list shows it."""
    journal = tmp_path / "fleet.db"
    async with account(Rule("update", faults.OmitField("status"))) as (box, vps):
        have(box, 1)
        box.world.lag(10, lasting=7200)

        report = await apply(vps, fleet(1), names="stable", journal=journal, settle=settle)

        assert (kinds(report), systems(box)) == ({"Succeeded": 1}, fresh(1))
        assert [server.name for server in report.servers] == [shown]
        assert await standing(box, journal) == left


@virtual
async def test_a_run_that_is_left_while_a_list_is_late(tmp_path: Path) -> None:
    """The server is replaced, and its outcome says so; the journal keeps the pair."""
    journal = tmp_path / "fleet.db"
    settled: list[Any] = []
    async with account() as (box, vps):
        have(box, 1)
        box.world.lag(10, lasting=7200)
        call = asyncio.create_task(
            apply(vps, fleet(1), names="stable", journal=journal, on_event=settled.append)
        )
        while commands(box)["update"] < 1:  # noqa: ASYNC110 - nothing says when it was applied
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        outcome = settled[-1].outcome
        assert (type(outcome), outcome.how, outcome.server.name) == (Succeeded, "replaced", "web-01")
        assert outcome.timeline
        assert await standing(box, journal) == ["web-01"]


@pytest.mark.parametrize("called", [False, True])
@virtual
async def test_a_new_server_that_is_gone_does_not_exist(tmp_path: Path, called: bool) -> None:
    """Whether a run has called the switch before or not."""
    journal = tmp_path / "fleet.db"
    async with account() as (box, vps):
        have(box, 1, 2, 3)
        if called:
            await interrupted(vps, journal)
            box.world.set_status(12348, "rebooting")
        call = asyncio.create_task(apply(vps, fleet(3), journal=journal))
        while "web-04" not in systems(box):  # noqa: ASYNC110 - nothing says when it was created
            await asyncio.sleep(1)
        await asyncio.sleep(30)
        box.world.vanish(12348)
        report = await call

        text = str(error(report))
        assert "it does not exist any more" in text
        assert text.endswith("web-01 [12345] stays, and web-04 does not exist")


# -- new servers that have failed, with ``delete_failed`` --------------------------------------------------------------

FAILING: dict[str, Any] = {"delete_failed": True, "ready": lambda _: False, "ready_timeout": 60}


@pytest.mark.parametrize("at", ["create", "check"])
@virtual
async def test_a_failed_new_server_that_somebody_has_renamed_stays(at: str) -> None:
    """Whether it has been seen with its other name, or is so only when it is read before its delete."""
    async with account() as (box, vps):
        have(box, 1)

        async def rename() -> None:
            async with client(box) as other:
                await other.servers.update(12346, name="mine")

        async def check(_: Server) -> bool:
            if at == "check":
                await rename()
            raise ready.Hopeless("no disk")

        call = asyncio.create_task(apply(vps, fleet(1), delete_failed=True, ready=check))
        while "web-02" not in systems(box):  # noqa: ASYNC110 - nothing says when it was created
            await asyncio.sleep(1)
        if at == "create":
            await rename()
        report = await call

        assert str(error(report)).endswith("[12346] exists")
        assert error(report).new_id == 12346
        assert commands(box)["delete"] == 0


@virtual
async def test_a_failed_new_server_whose_delete_is_refused() -> None:
    """The outcome says that it exists."""
    async with account(Rule("delete", faults.Reply(409))) as (box, vps):
        have(box, 1)

        report = await apply(vps, fleet(1), **FAILING)

        assert str(error(report)).endswith("web-01 [12345] stays, and web-02 [12346] exists")
        assert commands(box) == {"create": 1}


@pytest.mark.parametrize("options", [{}, FAILING])
@virtual
async def test_a_server_that_somebody_else_deletes_at_the_same_moment(options: dict[str, Any]) -> None:
    """The API does not know it any more: the outcome does not say that it exists."""
    async with account(Rule("delete", faults.Reply(404, applied=True))) as (box, vps):
        have(box, 1)

        report = await apply(vps, fleet(1), **options)

        assert len(box.servers) == 1
        assert str(error(report)).endswith("] may have been deleted")


@pytest.mark.parametrize("cancelled", [True, False])
@virtual
async def test_a_failed_new_server_whose_delete_has_no_answer(cancelled: bool) -> None:
    """The outcome says that it may be gone."""
    settled: list[Any] = []
    unanswered = faults.NeverAnswer() if cancelled else faults.CommitLater(2000)
    async with account(Rule("delete", unanswered)) as (box, vps):
        have(box, 1)
        call = asyncio.create_task(apply(vps, fleet(1), **FAILING, on_event=settled.append))
        while not any(entry.method == "DELETE" for entry in box.requests):  # noqa: ASYNC110
            await asyncio.sleep(1)
        if cancelled:
            await asyncio.sleep(1)
            call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        text = str(settled[-1].outcome.error)
        assert text.endswith("web-01 [12345] stays, and web-02 [12346] may have been deleted")


@virtual
async def test_a_pair_whose_new_server_was_deleted_again_is_over(tmp_path: Path) -> None:
    """The journal has nothing of it: both servers are as they were before."""
    journal = tmp_path / "fleet.db"
    async with account() as (box, vps):
        have(box, 1)
        failed = await apply(vps, fleet(1), journal=journal, **FAILING)
        plan = await vps.fleet.plan(fleet(1), replace="rolling", journal=journal)
        report = await apply(vps, fleet(1), journal=journal)

        assert kinds(failed) == {"Failed": 1}
        assert "begun by an earlier run" not in str(plan)
        assert (kinds(report), systems(box)) == ({"Succeeded": 1}, fresh(2))


@pytest.mark.parametrize("moment", [6.5, 7, 7.5])
@virtual
async def test_a_new_server_that_is_gone_as_the_run_is_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, moment: float
) -> None:
    """The outcome, the journal and the log say the same."""
    journal = tmp_path / "fleet.db"
    settled: list[Any] = []
    async with account(Rule("delete", faults.SoftDelete("deleting", 8.0, in_list=True))) as (box, vps):
        have(box, 1)
        call = asyncio.create_task(apply(vps, fleet(1), journal=journal, on_event=settled.append, **FAILING))
        while commands(box)["delete"] < 1:  # noqa: ASYNC110 - nothing says when it was applied
            await asyncio.sleep(0.5)
        await asyncio.sleep(moment)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        stays = not str(settled[-1].outcome.error).endswith("web-02 does not exist")
        assert bool(await standing(box, journal)) == stays
        assert ("created and stay" in caplog.text) == stays


@virtual
async def test_what_is_said_to_stay_of_a_run_that_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """A new server that was deleted again is not among the servers that the log names."""
    async with account() as (box, vps):
        have(box, 1, 2)
        call = asyncio.create_task(
            apply(vps, fleet(2), max_failures=2, delete_failed=True, ready=lambda new: new.name != "web-03")
        )
        while commands(box)["create"] < 2:  # noqa: ASYNC110 - nothing says when it was applied
            await asyncio.sleep(1)
        await asyncio.sleep(5)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        assert commands(box) == {"create": 2, "delete": 1}
        assert systems(box).keys() == {"web-01", "web-02", "web-04"}
        assert "these servers were created and stay: 12348\n" in caplog.text
