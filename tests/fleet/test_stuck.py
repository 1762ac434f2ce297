"""Servers that never come up, and ``on_stuck="replace"``. Virtual time, real sockets; counts are the ledger's."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fleet.virtual_account import account, client, commands, duplicates, kinds, specs, virtual
from vpsorg_async import Client, FleetSpec, Limits, Server, ServerSpec, ready
from vpsorg_async.errors import (
    ConfigurationError,
    LimitError,
    OutcomeUnknownError,
    UnexpectedStatusError,
    WaitTimeoutError,
)
from vpsorg_async.events import CommandSent, FleetEvent, ServerReplaced, ServerSettled
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

TIMEOUT = 900.0
FOREVER = 1e9
REPLACE: dict[str, Any] = {"timeout": TIMEOUT, "on_stuck": "replace"}


def never(*numbers: int) -> list[Rule]:
    """The creates with these numbers make servers that stay in provisioning for ever."""
    # a rule that fires hides the request from later ones, so that each counts what is left
    return [
        Rule("create", faults.SetStatus("provisioning", seconds=FOREVER), nth=number - before)
        for before, number in enumerate(numbers)
    ]


def alike(count: int, prefix: str = "web") -> list[ServerSpec]:
    """Specs of one kind: plan and location."""
    return [attrs.evolve(spec, location="us-west") for spec in specs(count, prefix)]


def deletes(box: Sandbox) -> list[str]:
    return [entry.path for entry in box.requests if entry.method == "DELETE"]


def ids(box: Sandbox, operation: str) -> list[Any]:
    return [change.server_id for change in box.ledger if change.operation == operation]


@virtual
async def test_one_of_twenty_is_replaced_once() -> None:
    """By the ledger: one delete, of that server, then one more create of its name; the outcome says so."""
    events: list[FleetEvent] = []
    async with account(*never(7)) as (box, vps):
        report = await vps.fleet.create(specs(20), **REPLACE, on_event=events.append)

        report.raise_for_failures()
        assert commands(box) == {"create": 21, "delete": 1}
        (deleted,) = ids(box, "delete")
        (name,) = [change.name for change in box.ledger if change.operation == "delete"]
        replaced = [outcome for outcome in report.succeeded if outcome.replaced]
        assert [(outcome.key, outcome.replaced) for outcome in replaced] == [(name, (deleted,))]
        assert report.replaced == (deleted,)
        assert report.breaker == ""
        assert (len(box.servers), duplicates(box)) == (20, [])
        assert {str(server.status) for server in box.servers} == {"active"}
        happened = [
            event
            for event in events
            if isinstance(event, ServerReplaced) or (isinstance(event, CommandSent) and event.key == name)
        ]
        assert [getattr(event, "command", "replaced") for event in happened] == [
            "create",
            "delete",
            "replaced",
            "create",
        ]


@virtual
async def test_without_the_option_nothing_is_deleted() -> None:
    """The test of the test: the server fails by its timeout, and stays."""
    async with account(*never(7)) as (box, vps):
        report = await vps.fleet.create(specs(20), timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 19, "Failed": 1}
        assert commands(box) == {"create": 20}


@pytest.mark.parametrize("call", ["create", "ensure", "creating", "apply", "scale"])
def test_every_call_that_creates_can_replace(call: str) -> None:
    """The same options, and the same end."""

    @virtual
    async def test() -> None:
        fleet = FleetSpec(name="web-{n:03}", count=6, plan_id=1, os_id=5, location="us-west")
        async with account(*never(3)) as (box, vps):
            if call == "apply":
                report = await vps.fleet.apply(fleet, **REPLACE)
            elif call == "scale":
                report = await vps.fleet.scale(fleet, 6, **REPLACE)
            elif call == "creating":
                async with vps.fleet.creating(specs(6), **REPLACE) as run:
                    async for _ in run:
                        pass
                report = run.report
            else:
                report = await getattr(vps.fleet, call)(specs(6), **REPLACE)

            assert kinds(report) == {"Succeeded": 6}
            assert commands(box) == {"create": 7, "delete": 1}

    test()


@virtual
async def test_half_of_a_fleet_is_stuck() -> None:
    """The breaker holds from the first on: nothing is deleted, and the report and each outcome say why."""
    async with account(Rule("create", faults.SetStatus("provisioning", seconds=FOREVER), every=2)) as (
        box,
        vps,
    ):
        report = await vps.fleet.create(specs(20), **REPLACE)

        assert kinds(report) == {"Succeeded": 10, "Failed": 10}
        assert commands(box) == {"create": 20}
        assert deletes(box) == []
        assert "stuck at the same time, and max_unhealthy=0.2 allows 4" in report.breaker
        assert {failure.not_replaced for failure in report.failed} == {report.breaker}
        assert {type(failure.error) for failure in report.failed} == {WaitTimeoutError}
        assert report.breaker in str(report)
        assert report.breaker in report.to_json()


@virtual
async def test_half_is_stuck_one_after_the_other() -> None:
    """Their timeouts are ten seconds apart: the first one is not deleted before the others show what is wrong."""
    slow = Rule("create", [faults.Delay(10.0), faults.SetStatus("provisioning", seconds=FOREVER)], every=2)
    async with account(slow, options={"max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        assert kinds(report) == {"Succeeded": 5, "Failed": 5}
        assert (deletes(box), bool(report.breaker)) == ([], True)


@virtual
async def test_all_are_stuck() -> None:
    """No server has come up, and none is deleted."""
    async with account(Rule("create", faults.SetStatus("provisioning", seconds=FOREVER))) as (box, vps):
        report = await vps.fleet.create(specs(5), **REPLACE)

        assert kinds(report) == {"Failed": 5}
        assert (deletes(box), bool(report.breaker)) == ([], True)


@virtual
async def test_no_more_than_max_replacements() -> None:
    """Also where the new server is stuck as well: at most that many creates more."""
    async with account(Rule("create", faults.SetStatus("provisioning", seconds=FOREVER))) as (box, vps):
        report = await vps.fleet.create(specs(1), **REPLACE, max_replacements=2)

        (failure,) = report.failed
        assert failure.replaced == tuple(ids(box, "delete"))
        assert "as many as max_replacements allows" in failure.not_replaced
        assert commands(box) == {"create": 3, "delete": 2}
        assert [server.id for server in box.servers] == [failure.server_id]


@virtual
async def test_a_word_that_means_failure() -> None:
    """A suspended server is replaced as soon as enough others have come up, long before the timeout."""
    suspended = Rule("create", faults.Suspend(), nth=2)
    async with account(suspended) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        report.raise_for_failures()
        assert commands(box) == {"create": 11, "delete": 1}
        assert report.seconds < TIMEOUT


@virtual
async def test_a_server_that_was_stopped_stays() -> None:
    """Someone has stopped it."""
    async with account(Rule("create", faults.SetStatus("stopped"), nth=2)) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        assert [type(failure.error) for failure in report.failed] == [UnexpectedStatusError]
        assert deletes(box) == []


@virtual
async def test_a_check_that_does_not_pass() -> None:
    """``ready=`` makes a server stuck as well; it is checked once more before it is deleted."""
    checked: Counter[Any] = Counter()
    bad: set[Any] = set()

    async def check(server: Server) -> bool:
        if not bad:
            bad.add(server.id)
        checked[server.id] += 1
        if server.id in bad:
            raise ready.NotReady("connection refused")
        return True

    async with account() as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE, ready=check, ready_timeout=60)

        report.raise_for_failures()
        assert ids(box, "delete") == [*bad]
        assert {outcome.stage for outcome in report.succeeded} == {"ready"}


@virtual
async def test_a_check_that_passes_at_the_last_moment() -> None:
    """It said never, before enough others were up to decide; right before the delete it passes: the server stays."""
    early: list[Any] = []

    async def check(server: Server) -> bool:
        if server.id in early and asyncio.get_running_loop().time() < began + 60:
            raise ready.Hopeless("cloud-init failed")
        return True

    async with account() as (box, vps):
        began = asyncio.get_running_loop().time()
        work = asyncio.ensure_future(vps.fleet.create(specs(10), **REPLACE, ready=check))
        await asyncio.sleep(5)
        early.append(box.world.set_status(box.servers[3].id, "active").id)
        report = await work

        report.raise_for_failures()
        assert {outcome.stage for outcome in report.succeeded} == {"ready"}
        assert (deletes(box), commands(box)) == ([], {"create": 10})


@virtual
async def test_one_that_comes_up_before_it_is_deleted() -> None:
    """Its wait has ended, and others have to come up before it is decided on: it is active by then, and stays."""
    async with account(Rule("create", faults.Suspend(), nth=2)) as (box, vps):
        work = asyncio.ensure_future(vps.fleet.create(specs(10), **REPLACE))
        await asyncio.sleep(60)
        (stuck,) = [server for server in box.servers if str(server.status) == "suspended"]
        box.world.set_status(stuck.id, "active")
        report = await work

        report.raise_for_failures()
        assert (deletes(box), commands(box)) == ([], {"create": 10})


@virtual
async def test_an_account_that_cannot_be_read() -> None:
    """Nothing is deleted of which it is not known what it is like now."""
    unread = Rule("get", faults.Html(503))
    async with account(Rule("create", faults.Suspend(), nth=2), unread) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        assert "could not be read" in report.failed[0].not_replaced
        assert deletes(box) == []


@virtual
async def test_a_create_in_doubt_is_never_replaced() -> None:
    """The server was found by its name: whether it is the one of this create is likely, and not certain."""
    lost = Rule("create", [faults.DropAfter(), faults.SetStatus("provisioning", seconds=FOREVER)], nth=2)
    async with account(lost) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        assert kinds(report) == {"Succeeded": 9, "Failed": 1}
        assert deletes(box) == []
        assert commands(box) == {"create": 10}


@virtual
async def test_what_was_there_before_is_never_replaced() -> None:
    """An adopted server that does not come up stays."""
    async with account() as (box, vps):
        box.world.add(1, name="web-000", status="provisioning")
        box.world.set_status(box.servers[0].id, "provisioning", seconds=FOREVER)
        report = await vps.fleet.ensure(specs(10), **REPLACE)

        assert kinds(report) == {"Succeeded": 9, "Failed": 1}
        assert deletes(box) == []


@virtual
async def test_a_delete_that_is_refused() -> None:
    """The server stays, its outcome says why, and no other one is created."""
    refused = Rule("delete", faults.Reply(400, body='{"detail": "it is locked"}'))
    async with account(*never(2), refused) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        (failure,) = report.failed
        assert isinstance(failure.error, WaitTimeoutError)
        assert "its delete failed" in failure.not_replaced
        assert "it is locked" in failure.not_replaced
        assert (commands(box), failure.replaced) == ({"create": 10}, ())
        assert len(deletes(box)) == 1


@pytest.mark.parametrize("lost", [faults.DropAfter(), faults.Html(502, applied=True)])
def test_a_delete_whose_answers_are_all_lost_is_judged_by_the_server(lost: Any) -> None:
    """The server is gone: another one is created."""

    @virtual
    async def test() -> None:
        async with account(*never(2), Rule("delete", lost)) as (box, vps):
            report = await vps.fleet.create(specs(10), **REPLACE)

            report.raise_for_failures()
            assert commands(box) == {"create": 11, "delete": 1}
            assert (len(report.replaced), duplicates(box)) == (1, [])

    test()


@virtual
async def test_a_delete_in_doubt_is_said_and_can_be_taken_up() -> None:
    """It is applied later: the outcome says that it may be, and a retry creates the server that is missing, once."""
    async with account(*never(2), Rule("delete", faults.CommitLater(30.0))) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        (failure,) = report.failed
        assert "the outcome of its delete is unknown" in failure.not_replaced
        assert "may still become active" not in str(failure.error)
        assert commands(box) == {"create": 10}
        await asyncio.sleep(60)
        box.faults.clear()
        again = await report.retry_failed()

        again.raise_for_failures()
        assert commands(box)["create"] == 11
        assert (len(box.servers), duplicates(box)) == (10, [])


@virtual
async def test_a_server_that_was_renamed_stays() -> None:
    """Someone uses it."""
    async with account(*never(2)) as (box, vps):
        work = asyncio.ensure_future(vps.fleet.create(specs(10), **REPLACE))
        await asyncio.sleep(500)
        (stuck,) = [server for server in box.servers if str(server.status) == "provisioning"]
        async with client(box) as other:
            await other.servers.update(stuck.id, name="mine")
        report = await work

        (failure,) = report.failed
        assert "another name" in failure.not_replaced
        assert deletes(box) == []


@virtual
async def test_a_server_with_an_unknown_word_stays() -> None:
    """A service may say running for active: what is up must not be deleted."""
    async with account() as (box, vps):
        work = asyncio.ensure_future(vps.fleet.create(specs(1), **REPLACE))
        await asyncio.sleep(60)
        box.world.set_status(box.servers[0].id, "running", seconds=FOREVER)
        report = await work

        assert deletes(box) == []
        assert "'running'" in report.failed[0].not_replaced
        assert "status_words" in report.failed[0].not_replaced


@pytest.mark.parametrize(
    ("word", "when"),
    [("rebooting", -1), ("stopping", -1), ("rebooting", 3), ("starting", 3)],
)
def test_a_server_that_gets_on_at_the_last_moment_stays(word: str, when: int) -> None:
    """It has come up, because someone stops or reboots it; or it has taken another step since its wait ended."""

    @virtual
    async def test() -> None:
        async with account(*never(2), Rule("get", faults.Delay(10.0))) as (box, vps):
            work = asyncio.ensure_future(vps.fleet.create(specs(5), **REPLACE))
            await asyncio.sleep(TIMEOUT + when)
            (stuck,) = [server for server in box.servers if str(server.status) == "provisioning"]
            box.world.set_status(stuck.id, word, seconds=60)
            report = await work

            assert deletes(box) == []
            assert f"the server is {word} now" in report.failed[0].not_replaced

    test()


@virtual
async def test_limits_count_every_create() -> None:
    """A run may create that many servers in all; the account may have that many: the stuck one does not count."""
    async with account(*never(2), options={"limits": Limits(max_creates_per_run=10)}) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)
        assert "max_creates_per_run" in report.failed[0].not_replaced
        assert deletes(box) == []
    async with account(*never(2), options={"limits": Limits(max_servers=10, max_hourly=1000)}) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)
        report.raise_for_failures()
        with pytest.raises(LimitError):
            await vps.fleet.create(specs(1, "db"), timeout=TIMEOUT)
        assert len(box.servers) == 10


@virtual
async def test_the_create_that_follows_can_get_lost() -> None:
    """It is searched for like any other create."""
    async with account(*never(2)) as (box, vps):
        box.faults.add(Rule("create", faults.DropAfter(), nth=10))
        report = await vps.fleet.create(specs(10), **REPLACE)

        report.raise_for_failures()
        assert commands(box) == {"create": 11, "delete": 1}
        assert duplicates(box) == []


# -- earlier than the timeout ---------------------------------------------------------------------------------------


@virtual
async def test_learned_durations_make_it_earlier() -> None:
    """What takes twice as long as the slowest ever did is stuck; without knowledge it has its timeout."""
    async with account(durations=Durations(provisioning=(60, 90))) as (box, vps):
        box.faults.add(*never(5))
        first = await vps.fleet.create(alike(20), timeout=3000, on_stuck="replace")
        assert first.seconds > 3000
        box.faults.add(*never(5))
        second = await vps.fleet.create(alike(20, "db"), timeout=3000, on_stuck="replace")

        second.raise_for_failures()
        assert second.seconds < 500
        assert commands(box) == {"create": 42, "delete": 2}


@pytest.mark.parametrize("other", [{"os_id": 3}, {"plan_id": 2}, {"location": "us-east"}])
def test_what_others_took_makes_no_server_overdue(other: dict[str, Any]) -> None:
    """An image, a plan or a location that takes longer than all that the client knows is slow, and not stuck."""

    @virtual
    async def test() -> None:
        async with account(durations=Durations(provisioning=(25, 35))) as (box, vps):
            await vps.fleet.create(alike(20), timeout=TIMEOUT)
            slow = [faults.SetStatus("provisioning", seconds=600)]
            box.faults.add(*[Rule("create", slow, nth=9) for _ in range(2)])
            wanted = [*alike(8, "db"), *(attrs.evolve(spec, **other) for spec in alike(2, "slow"))]
            report = await vps.fleet.create(wanted, **REPLACE)

            report.raise_for_failures()
            assert deletes(box) == []
            assert report.seconds >= 600

    test()


@virtual
async def test_where_all_are_quick_a_few_seconds_more_are_nothing() -> None:
    """A provider that takes a second or two is no reason to delete what takes twelve."""
    async with account(durations=Durations(provisioning=(1, 2))) as (box, vps):
        await vps.fleet.create(alike(20), timeout=TIMEOUT)
        box.faults.add(Rule("create", faults.SetStatus("provisioning", seconds=12), nth=9))
        report = await vps.fleet.create(alike(10, "db"), **REPLACE)

        report.raise_for_failures()
        assert deletes(box) == []


@virtual
async def test_an_overdue_one_that_stays_has_its_timeout() -> None:
    """That it can't be deleted does not end its wait: it comes up in the end."""
    async with account(durations=Durations(provisioning=(60, 90))) as (box, vps):
        await vps.fleet.create(alike(20), timeout=3000)
        box.faults.add(
            Rule("create", faults.SetStatus("provisioning", seconds=1000), nth=5),
            Rule("delete", faults.Reply(400)),
        )
        report = await vps.fleet.create(alike(20, "db"), timeout=3000, on_stuck="replace")

        report.raise_for_failures()
        assert len(deletes(box)) == 1
        assert commands(box) == {"create": 40}


@pytest.mark.parametrize(
    ("further", "why"),
    [
        # the second one is looked at after the first one was deleted
        ([], "as many as max_replacements allows"),
        # a refused delete uses up no replacement: the second one is replaced
        ([Rule("delete", faults.Reply(400), times=1)], "its delete failed"),
    ],
)
@virtual
async def test_two_stuck_at_the_same_moment_and_one_replacement(further: list[Rule], why: str) -> None:
    """One is replaced; the other one stays, and says why."""
    async with account(*never(2, 5), *further) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE, max_replacements=1)

        assert kinds(report) == {"Succeeded": 9, "Failed": 1}
        assert commands(box) == {"create": 11, "delete": 1}
        assert why in report.failed[0].not_replaced


@virtual
async def test_a_stuck_server_that_someone_deletes_stays_deleted() -> None:
    """What is shown as being deleted is not deleted once more, and its name is not created again."""
    async with account(*never(2)) as (box, vps):
        work = asyncio.ensure_future(vps.fleet.create(specs(10), **REPLACE))
        await asyncio.sleep(500)
        (stuck,) = [server for server in box.servers if str(server.status) == "provisioning"]
        box.world.set_status(stuck.id, "deleting", seconds=FOREVER)
        report = await work

        assert "being deleted already" in report.failed[0].not_replaced
        assert commands(box) == {"create": 10}


@pytest.mark.parametrize("word", ["stopped", ""])
def test_what_changes_while_the_last_check_waits_for_its_place(word: str) -> None:
    """Someone has stopped the server, or deleted it: it was not checked once more, and stays."""

    @virtual
    async def test() -> None:
        async def check(server: Server) -> bool:
            if server.name == "web-003":
                raise ready.Hopeless("cloud-init failed")
            if server.name in slow:
                await asyncio.sleep(10)
                return asyncio.get_running_loop().time() > began + 500
            return True

        slow = ("web-005", "web-006", "web-007")

        async with account(options={"ready_concurrency": 1}) as (box, vps):
            began = asyncio.get_running_loop().time()
            work = asyncio.ensure_future(
                vps.fleet.create(specs(20), **REPLACE, ready=check, ready_timeout=TIMEOUT)
            )
            await asyncio.sleep(5)
            for server in box.servers:
                if server.name in ("web-003", *slow):
                    box.world.set_status(server.id, "active")
            stuck = next(server.id for server in box.servers if server.name == "web-003")
            await asyncio.sleep(1)
            known = len(box.requests)
            while not any(str(stuck) in entry.path for entry in box.requests[known:]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            if word:
                box.world.set_status(stuck, word)
            else:
                box.world.vanish(stuck)
            report = await work

            (failure,) = report.failed
            assert "could not be repeated before its delete" in failure.not_replaced
            assert commands(box) == {"create": 20}

    test()


@virtual
async def test_a_server_that_is_renamed_during_its_last_check_stays() -> None:
    """The check can take long: the server is read once more after it."""
    calls: list[Any] = []

    async def check(server: Server) -> bool:
        if server.name != "web-003":
            return True
        calls.append(server.id)
        if len(calls) == 2:
            async with client(box) as other:
                await other.servers.update(server.id, name="mine")
        raise ready.Hopeless("cloud-init failed")

    async with account() as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE, ready=check)

        (failure,) = report.failed
        assert (len(calls), commands(box)["delete"]) == (2, 0)
        assert "another name now: mine" in failure.not_replaced


@virtual
async def test_a_deleted_one_that_does_not_go_away() -> None:
    """No other one is created beside it: the outcome says that it was deleted; a retry creates what is missing."""
    shown = Rule("delete", faults.SoftDelete("deleting", seconds=2 * TIMEOUT, in_list=True))
    async with account(*never(2), shown) as (box, vps):
        report = await vps.fleet.create(specs(10), **REPLACE)

        (failure,) = report.failed
        assert isinstance(failure.error, WaitTimeoutError)
        assert failure.not_replaced == "the stuck server was deleted, and no other one was created"
        assert failure.server_id == ids(box, "delete")[0]
        assert commands(box) == {"create": 10, "delete": 1}
        await asyncio.sleep(2 * TIMEOUT)
        again = await report.retry_failed()

        again.raise_for_failures()
        assert commands(box) == {"create": 11, "delete": 1}


@virtual
async def test_stopped_after_the_delete() -> None:
    """Another server fails while this one leaves, and nothing more is sent: the outcome says what was deleted."""
    slow = Rule("delete", faults.SoftDelete("deleting", seconds=100, in_list=True))
    async with account(Rule("create", faults.Suspend(), nth=2), *never(4), slow) as (box, vps):
        work = asyncio.ensure_future(vps.fleet.create(specs(10), **REPLACE, on_failure="stop"))
        while not ids(box, "delete"):  # noqa: ASYNC110 - nothing says when it was applied
            await asyncio.sleep(1)
        (other,) = [server for server in box.servers if str(server.status) == "provisioning"]
        box.world.set_status(other.id, "stopped")
        report = await work

        (deleted,) = ids(box, "delete")
        (stuck,) = [failure for failure in report.failed if failure.key != other.name]
        assert (kinds(report), stuck.replaced) == ({"Succeeded": 8, "Failed": 2}, (deleted,))
        assert f"it was stuck and deleted ({deleted}), and no other was created" in str(stuck.error)
        assert f"{other.name} failed" in str(stuck.error)
        assert commands(box) == {"create": 10, "delete": 1}


# of servers of one kind, that client has seen twenty come up within 35 s: one is overdue after 70


@contextlib.asynccontextmanager
async def quick_account(*rules: Rule) -> AsyncIterator[tuple[Sandbox, Client]]:
    """An account whose client knows how quick servers are; then these faults."""
    async with account(durations=Durations(provisioning=(25, 35))) as (box, vps):
        await vps.fleet.create(alike(20), timeout=TIMEOUT)
        box.faults.add(*rules)
        yield box, vps


def slow(seconds: float, nth: int = 1) -> Rule:
    return Rule("create", faults.SetStatus("provisioning", seconds=seconds), nth=nth)


def mixed() -> list[ServerSpec]:
    """Four of the kind that is known, and one of another kind, which is never overdue."""
    return [*alike(4, "db"), attrs.evolve(alike(1, "odd")[0], plan_id=2)]


def named(box: Sandbox, name: str) -> Any:
    (server,) = [server for server in box.servers if server.name == name]
    return server.id


def read_by_id(box: Sandbox, server_id: Any) -> list[Any]:
    return [entry for entry in box.requests if entry.method == "GET" and str(server_id) in entry.path]


@virtual
async def test_an_overdue_one_that_comes_up_before_it_is_decided_on() -> None:
    """From then on it is not stuck, also while its check does not pass: it does not open the breaker for another."""

    def check(server: Server) -> bool:
        return server.name != "db-000" or asyncio.get_running_loop().time() > began + 400

    # the second one never comes up, and the other one that is not up keeps them from being decided on
    async with quick_account(slow(200), slow(FOREVER, nth=4)) as (box, vps):
        began = asyncio.get_running_loop().time()
        work = asyncio.ensure_future(vps.fleet.create(mixed(), **REPLACE, ready=check, ready_timeout=TIMEOUT))
        await asyncio.sleep(300)
        box.world.suspend(named(box, "odd-000"))
        await asyncio.sleep(50)
        assert deletes(box) == []
        report = await work

        report.raise_for_failures()
        assert (report.breaker, len(report.replaced)) == ("", 1)


@virtual
async def test_an_open_breaker_does_not_end_the_wait_of_an_overdue_one() -> None:
    """It has its timeout, and comes up; the other one, whose wait has ended, fails."""
    async with quick_account(slow(400), slow(FOREVER, nth=4)) as (box, vps):
        work = asyncio.ensure_future(vps.fleet.create(mixed(), **REPLACE))
        await asyncio.sleep(200)
        box.world.suspend(named(box, "odd-000"))
        report = await work

        assert [failure.key for failure in report.failed] == ["odd-000"]
        assert report.failed[0].not_replaced == report.breaker != ""
        assert deletes(box) == []


@virtual
async def test_an_overdue_one_is_replaced_while_others_are_waited_for() -> None:
    """It alone: the waits of the others go on."""
    wanted = [*(attrs.evolve(spec, plan_id=2) for spec in alike(2, "odd")), *alike(4, "db")]
    slow_ones = [slow(300, nth=1), slow(300, nth=1), slow(FOREVER, nth=1)]
    async with quick_account(*slow_ones) as (box, vps):
        report = await vps.fleet.create(wanted, **REPLACE, max_unhealthy=0.5)

        report.raise_for_failures()
        assert [outcome.key for outcome in report.succeeded if outcome.replaced] == ["db-000"]
        assert 300 <= report.seconds < 400
        assert commands(box) == {"create": 27, "delete": 1}


@pytest.mark.parametrize(("old_answer", "listed"), [(True, True), (False, True), (False, False)])
def test_an_overdue_one_that_comes_up_while_it_is_read_again(old_answer: bool, listed: bool) -> None:
    """Whether a list shows that, or the answer, or both: it is not deleted, and is reported once, by its wait."""

    @virtual
    async def test() -> None:
        settled: list[Any] = []

        def note(event: FleetEvent) -> None:
            if isinstance(event, ServerSettled):
                settled.append(event.key)

        wanted = [*alike(4, "db"), *(attrs.evolve(spec, plan_id=2) for spec in alike(6, "odd"))]
        late = Rule("get", faults.Delay(20.0, after=old_answer))
        async with quick_account(slow(FOREVER), late) as (box, vps):
            box.faults.add(*[slow(300, nth=4) for _ in range(6)])
            work = asyncio.ensure_future(vps.fleet.create(wanted, **REPLACE, max_unhealthy=1, on_event=note))
            await asyncio.sleep(60)
            overdue = named(box, "db-000")
            assert not read_by_id(box, overdue)
            while not read_by_id(box, overdue):  # noqa: ASYNC110 - nothing says when
                await asyncio.sleep(0.5)
            box.world.set_status(overdue, "active")
            if not listed:
                box.faults.add(Rule("list", faults.Reply(503), times=20))
            report = await work

            report.raise_for_failures()
            assert (deletes(box), sorted(settled)) == ([], sorted(spec.name for spec in wanted))

    test()


# -- leaving early --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["look", "delete", "gone", "create"])
def test_cancelled_in_the_middle(at: str) -> None:
    """Whatever was sent is in the report: what exists, what was deleted, what was not created."""

    @virtual
    async def test() -> None:
        rules = {
            "look": Rule("get", faults.Delay(50.0)),
            "delete": Rule("delete", faults.Delay(50.0, after=True)),
            "gone": Rule("delete", faults.SoftDelete("deleting", seconds=500, in_list=True)),
            "create": Rule("create", faults.Delay(50.0), nth=10),
        }
        async with account(*never(2), rules[at]) as (box, vps):
            async with vps.fleet.creating(specs(10), **REPLACE) as run:
                # 900 s are its timeout, and each rule holds the run up for longer than the last 10
                await asyncio.sleep(TIMEOUT + (30 if at in ("gone", "create") else 15))
            (failure,) = run.report.failed
            created = ids(box, "create")

            assert kinds(run.report) == {"Succeeded": 9, "Failed": 1}
            if at == "look":
                assert isinstance(failure.error, WaitTimeoutError)
                assert "closed" in failure.not_replaced
                assert failure.server_id in {server.id for server in box.servers}
            elif at == "create":
                assert isinstance(failure.error, OutcomeUnknownError)
                assert failure.replaced == tuple(ids(box, "delete"))
            else:
                assert failure.server_id in created
                assert "its delete was sent" in str(failure.error)
            assert len(created) <= 11

    test()


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "about"),
    [
        ({"on_stuck": "delete"}, "on_stuck is"),
        ({"on_stuck": None}, "on_stuck is"),
        ({"max_replacements": 2}, "only with on_stuck"),
        ({"on_stuck": "report", "max_unhealthy": 0.5}, "only with on_stuck"),
        ({"on_stuck": "replace", "max_replacements": 0}, "max_replacements is"),
        ({"on_stuck": "replace", "max_replacements": True}, "max_replacements is"),
        ({"on_stuck": "replace", "max_replacements": 1.5}, "max_replacements is"),
        ({"on_stuck": "replace", "max_unhealthy": 0}, "max_unhealthy is"),
        ({"on_stuck": "replace", "max_unhealthy": 2}, "max_unhealthy is"),
        ({"on_stuck": "replace", "max_unhealthy": "20%"}, "max_unhealthy is"),
        ({"on_stuck": "replace", "max_unhealthy": float("nan")}, "max_unhealthy is"),
        ({"on_stuck": "replace", "wait": False}, "wait=False"),
    ],
)
def test_bad_input_sends_nothing(options: dict[str, Any], about: str) -> None:
    """Each is refused by a sentence that names the option."""

    @virtual
    async def test() -> None:
        async with account() as (box, vps):
            with pytest.raises(ConfigurationError, match=about):
                await vps.fleet.create(specs(2), timeout=TIMEOUT, **options)
            assert box.requests == ()

    test()


def test_the_journal_of_a_run_that_replaced(tmp_path: Path) -> None:
    """It completes: the next run finds nothing to take up, and all servers."""

    @virtual
    async def test() -> None:
        file = tmp_path / "fleet.db"
        async with account(*never(2)) as (box, vps):
            first = await vps.fleet.ensure(specs(10), **REPLACE, journal=file)
            again = await vps.fleet.ensure(specs(10), **REPLACE, journal=file)

            first.raise_for_failures()
            assert [outcome.how for outcome in again.succeeded] == ["adopted"] * 10
            assert commands(box) == {"create": 11, "delete": 1}

    test()


@virtual
async def test_after_a_delete_that_failed_no_other_is_sent() -> None:
    """As in every `apply`: a stuck server stays as well, and says why. A slow delete is no stuck server."""
    slow = Rule("delete", faults.SoftDelete("deleting", seconds=1e6, in_list=True), times=1)
    async with account(slow, *never(2)) as (box, vps):
        for number in range(11, 16):
            box.world.add(name=f"web-{number:03}")
        fleets = [
            FleetSpec(name=f"{name}-{{n:03}}", count=count, plan_id=1, os_id=5, location="us-west")
            for name, count in (("web", 3), ("db", 5))
        ]
        report = await vps.fleet.apply(fleets, **REPLACE, prune=True, max_deletes=2)

        stuck, late = sorted(report.failed, key=lambda failure: str(failure.key))
        assert (report.breaker, report.replaced) == ("", ())
        assert late.not_replaced == ""
        assert f"the delete of {late.key} failed" in stuck.not_replaced
        assert commands(box)["create"] == 5
