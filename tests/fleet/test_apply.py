"""Fleets as values against the emulator: apply, scale, prune, the guards, and what has gone wrong elsewhere.

The counts are those of the ledger: what was really done.
"""

from __future__ import annotations

import asyncio
import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fleet.virtual_account import account, client, commands, creates, duplicates, kinds, virtual
from vpsorg_async import FleetPlan, FleetSpec, Limits, Server, load_fleets
from vpsorg_async.errors import (
    ConfigurationError,
    DecodeError,
    LimitError,
    PlanRefusedError,
    UnexpectedStatusError,
)
from vpsorg_async.events import CommandSent, FleetEvent
from vpsorg_async.fleet import StepKind
from vpsorg_async.plain import from_plain, to_plain
from vpsorg_async.sandbox import Rule, Sandbox, faults

TIMEOUT = 900.0


def fleet(count: int, name: str = "web-{n:02}", **fields: Any) -> FleetSpec:
    """A fleet of that number of servers."""
    return FleetSpec(
        **{"name": name, "count": count, "plan_id": 1, "os_id": 5, "location": "us-west", **fields}
    )


def have(box: Sandbox, *numbers: int, prefix: str = "web-", status: str = "active") -> None:
    """Give the account servers with these numbers."""
    for number in numbers:
        box.world.add(name=f"{prefix}{number:02}", status=status)


def names(box: Sandbox) -> list[str]:
    """The names of all servers."""
    return sorted(server.name for server in box.servers)


def changes(box: Sandbox) -> list[str]:
    """The methods of all requests that were not reads."""
    return [entry.method for entry in box.requests if entry.method != "GET"]


@virtual
async def test_apply_brings_the_account_to_the_fleet() -> None:
    """Missing: created, in the gaps; stopped: started; on the way: waited for; a second call only reads."""
    async with account() as (box, vps):
        have(box, 2, 9)
        have(box, 4, status="stopped")
        have(box, 5, status="provisioning")
        have(box, 1, 2, prefix="db-")

        report = await vps.fleet.apply(fleet(6), timeout=TIMEOUT)

        assert report.operation == "apply"
        assert {outcome.key: outcome.how for outcome in report.succeeded} == {
            "web-01": "created",
            "web-02": "adopted",
            "web-03": "created",
            "web-04": "started",
            "web-05": "adopted",
            "web-09": "adopted",
        }
        assert {str(server.status) for server in report.servers} == {"active"}
        assert commands(box) == {"create": 2, "start": 1}

        sent = len(changes(box))
        again = await vps.fleet.apply(fleet(6), timeout=TIMEOUT)

        assert (kinds(again), len(changes(box))) == ({"Succeeded": 6}, sent)


@virtual
async def test_a_plan_only_reads() -> None:
    """A plan, with deletes or refused, sends no change; it has prices; applied, it does what it says."""
    async with account() as (box, vps):
        have(box, *range(1, 13))
        plan = await vps.fleet.plan([fleet(11), fleet(2, "db-{n}")], prune=True)
        refused = await vps.fleet.plan(fleet(1), prune=True)

        assert [step.kind for step in plan.steps] == ["keep"] * 11 + ["delete"] + ["create"] * 2
        assert plan.price_hourly is not None
        assert plan.ended_monthly is not None
        assert refused.refusals
        assert (changes(box), commands(box)) == ([], {})

        report = await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 14}
        assert [outcome.key for outcome in report.outcomes] == [step.name for step in plan.steps]
        assert commands(box) == {"create": 2, "delete": 1}
        assert (await vps.fleet.plan([fleet(11), fleet(2, "db-{n}")], prune=True)).changes == 0


@virtual
async def test_a_plan_is_applied_later_by_another_client() -> None:
    """As plain data it goes through a file; it holds the fleets, so that a new server of theirs is noticed."""
    async with account() as (box, vps):
        have(box, 1)
        stored = json.dumps(to_plain(await vps.fleet.plan(fleet(3))))
        plan = from_plain(json.loads(stored))

        report = await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert (kinds(report), commands(box)) == ({"Succeeded": 3}, {"create": 2})

        have(box, 7)
        with pytest.raises(PlanRefusedError, match=r"web-07 .* exists now"):
            await vps.fleet.apply(plan, timeout=TIMEOUT)


@virtual
async def test_a_new_server_that_lists_show_late_is_noticed() -> None:
    """One that this client has created since the plan was made, and that fits the pattern: the plan is refused."""
    async with account(Rule("create", faults.HideCreated(60, by_id=False))) as (box, vps):
        plan = await vps.fleet.plan(fleet(2))
        await vps.servers.create(fleet(7).spec(7))

        with pytest.raises(PlanRefusedError, match=r"web-07 .* exists now"):
            await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert commands(box) == {"create": 1}


@virtual
async def test_a_plan_of_another_account_state_is_refused() -> None:
    """What has changed is named, and nothing is sent, creates included."""
    async with account() as (box, vps):
        have(box, *range(1, 12))
        plan = await vps.fleet.plan([fleet(10), fleet(1, "db-{n}")], prune=True)
        box.world.set_status(box.servers[10].id, "stopped")

        with pytest.raises(PlanRefusedError) as raised:
            await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert raised.value.changes == ("web-11 is stopped now, and was active",)
        assert raised.value.plan == plan
        assert changes(box) == []


@virtual
async def test_the_plan_of_a_dry_run_is_applied_too() -> None:
    """`ensure` and `apply` have one kind of plan."""
    async with account() as (box, vps):
        wanted = [fleet(2).spec(number) for number in (1, 2)]
        plan = await vps.fleet.ensure(wanted, dry_run=True)

        assert await vps.fleet.plan(iter(wanted)) == plan
        assert plan.price_hourly is not None
        with pytest.raises(ConfigurationError, match="need FleetSpecs"):
            await vps.fleet.plan(wanted, prune=True)
        assert changes(box) == []

        report = await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert (kinds(report), commands(box)) == ({"Succeeded": 2}, {"create": 2})


@virtual
async def test_an_account_that_changes_before_the_first_change_is_planned_again() -> None:
    """A server that appears between the two lists of an apply is counted, and no other one is created for it."""
    async with account() as (box, vps):
        have(box, 1)

        def meanwhile(server: Server) -> bool:
            if len(box.servers) < 3:
                have(box, 2, 3)
            return False

        report = await vps.fleet.apply(fleet(0), timeout=TIMEOUT, protect=meanwhile)

        assert [outcome.key for outcome in report.outcomes] == ["web-01", "web-02", "web-03"]
        assert changes(box) == []


@pytest.mark.parametrize(
    "limits", [Limits(max_servers=4), Limits(max_creates_per_run=1), Limits(read_only=True)]
)
@virtual
async def test_what_the_limits_of_the_client_forbid(limits: Limits) -> None:
    """Plans are allowed; an apply is refused as a whole, deletes included."""
    async with account(options={"limits": limits}) as (box, vps):
        have(box, 1, 2, 3, 4)
        wanted = [fleet(3), fleet(2, "db-{n}")]
        plan = await vps.fleet.plan(wanted, prune=True)
        with pytest.raises(LimitError):
            await vps.fleet.apply(plan, timeout=TIMEOUT)
        with pytest.raises(LimitError):
            await vps.fleet.apply(wanted, timeout=TIMEOUT, prune=True)

        assert (plan.changes, changes(box)) == (3, [])


@virtual
async def test_an_account_that_never_stands_still() -> None:
    """After some tries the call is refused; the error has all changes, and its message the first ones."""
    async with account() as (box, vps):
        have(box, 0)

        def meanwhile(server: Server) -> bool:
            if server.name == "web-00":
                have(box, *range(len(box.servers), len(box.servers) + 12))
            return False

        with pytest.raises(PlanRefusedError) as raised:
            await vps.fleet.apply(fleet(0), timeout=TIMEOUT, protect=meanwhile)

        assert len(raised.value.changes) == 12
        assert str(raised.value).endswith("and 2 more")
        assert changes(box) == []


@virtual
async def test_a_plan_with_a_step_of_another_version() -> None:
    """A step that this version cannot apply refuses the whole plan."""
    async with account() as (box, vps):
        have(box, 1)
        (step,) = (await vps.fleet.plan(fleet(1))).steps
        with pytest.raises(PlanRefusedError, match="replaces servers"):
            await vps.fleet.apply(FleetPlan((attrs.evolve(step, kind=StepKind.REPLACE),)), timeout=TIMEOUT)

        assert changes(box) == []


@virtual
async def test_deletes_happen_only_with_prune() -> None:
    """Without it the surplus is kept, succeeds, and is neither started nor checked."""
    checked: list[str] = []

    def ready(server: Server) -> bool:
        checked.append(server.name)
        return True

    async with account() as (box, vps):
        have(box, 1, 2)
        have(box, 3, status="stopped")

        report = await vps.fleet.apply(fleet(2), timeout=TIMEOUT, ready=ready)

        assert [outcome.how for outcome in report.succeeded] == ["adopted", "adopted", "kept"]
        assert [server.name for server in report.servers] == checked == ["web-01", "web-02"]
        assert commands(box) == {}

        report = await vps.fleet.apply(fleet(2), timeout=TIMEOUT, prune=True)

        assert (report.outcomes[2].key, report.succeeded[2].how) == ("web-03", "deleted")
        assert names(box) == ["web-01", "web-02"]
        assert commands(box) == {"delete": 1}


@virtual
async def test_a_deleted_server_is_not_checked() -> None:
    """Ready checks are for those that stay."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)

        report = await vps.fleet.apply(
            fleet(2), timeout=TIMEOUT, prune=True, ready=lambda server: server.name != "web-03"
        )

        assert (kinds(report), report.succeeded[2].how) == ({"Succeeded": 3}, "deleted")


@virtual
async def test_what_a_guard_forbids_is_refused_as_a_whole() -> None:
    """Creates of another fleet are not sent either; the error has the plan."""
    async with account() as (box, vps):
        have(box, *range(1, 21))
        for options in (
            {"prune": True},
            {"prune": True, "max_deletes": 9},
            {"prune": True, "max_deletes": 0.4},
        ):
            with pytest.raises(PlanRefusedError) as raised:
                await vps.fleet.apply([fleet(10), fleet(3, "db-{n}")], timeout=TIMEOUT, **options)
            assert isinstance(raised.value.plan, FleetPlan)
            assert "max_deletes" in str(raised.value)
        plan = await vps.fleet.plan(fleet(10), prune=True)
        with pytest.raises(PlanRefusedError):
            await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert changes(box) == []

        await vps.fleet.apply(fleet(10), timeout=TIMEOUT, prune=True, max_deletes=0.5)

        assert names(box) == [f"web-{n:02}" for n in range(1, 11)]


@virtual
async def test_after_a_refused_delete_nothing_more_is_deleted() -> None:
    """Deletes go one after the other; after a failed one the others are skipped, and creates go on."""
    async with account(Rule("delete", faults.Reply(409), nth=2)) as (box, vps):
        have(box, *range(1, 9))

        report = await vps.fleet.apply(
            [fleet(2), fleet(2, "db-{n}")], timeout=TIMEOUT, prune=True, max_deletes=6
        )

        assert kinds(report) == {"Succeeded": 5, "Failed": 1, "Skipped": 4}
        assert changes(box).count("DELETE") == 2
        assert commands(box) == {"create": 2, "delete": 1}
        assert all("delete of web-04 failed" in outcome.reason for outcome in report.skipped)

        whole = await report.retry_failed()

        assert changes(box).count("DELETE") == 2
        assert kinds(whole) == kinds(report)


@virtual
async def test_a_delete_that_is_refused_with_a_good_status() -> None:
    """Whether it was one shows at the server alone: no other delete leaves before that."""
    refusal = faults.Reply(200, body='{"status": "error", "message": "protected"}')
    async with account(Rule("delete", refusal)) as (box, vps):
        have(box, *range(1, 6))

        report = await vps.fleet.scale(fleet(5), 2, timeout=60)

        assert kinds(report) == {"Succeeded": 2, "Failed": 1, "Skipped": 2}
        assert changes(box) == ["DELETE"]


@virtual
async def test_an_incomplete_list_deletes_and_creates_nothing() -> None:
    """What a list does not show may exist; with nothing to do an incomplete list does not matter."""
    async with account(Rule("list", faults.ShortList(1))) as (box, vps):
        have(box, *range(1, 6))
        with pytest.raises(DecodeError, match="incomplete"):
            await vps.fleet.apply(fleet(3), timeout=TIMEOUT, prune=True)
        with pytest.raises(DecodeError, match="incomplete"):
            await vps.fleet.plan(fleet(9))

        assert changes(box) == []
        assert (await vps.fleet.plan(fleet(3))).changes == 0


@virtual
async def test_one_server_of_a_fleet_that_is_suspended() -> None:
    """It counts, its outcome is a failure, and the others are brought up all the same."""
    async with account() as (box, vps):
        have(box, 1, status="suspended")

        report = await vps.fleet.apply(fleet(3), timeout=TIMEOUT)

        (failed,) = report.failed
        assert (failed.key, type(failed.error)) == ("web-01", UnexpectedStatusError)
        assert (kinds(report), commands(box)) == ({"Failed": 1, "Succeeded": 2}, {"create": 2})


@virtual
async def test_a_lost_create_is_found() -> None:
    """A create without an answer is searched for by its name, as in `ensure`."""
    async with account(Rule("create", faults.DropAfter(), every=2)) as (box, vps):
        report = await vps.fleet.apply(fleet(8), timeout=TIMEOUT)

        assert (kinds(report), commands(box), duplicates(box)) == ({"Succeeded": 8}, {"create": 8}, [])


@virtual
async def test_lists_that_lag_behind_own_commands() -> None:
    """What this client has just created or deleted counts, although no list shows it yet."""
    async with account() as (box, vps):
        have(box, 1, 2)
        box.world.lag(40.0, lasting=10_000.0)
        await vps.fleet.apply(fleet(5), timeout=TIMEOUT)

        assert commands(box) == {"create": 3}
        await vps.fleet.scale(fleet(5), 3, timeout=TIMEOUT)
        assert (await vps.fleet.plan(fleet(3), prune=True)).changes == 0
        await vps.fleet.apply(fleet(5), timeout=TIMEOUT)

        assert commands(box) == {"create": 5, "delete": 2}
        assert (len(names(box)), duplicates(box)) == (5, [])


@virtual
async def test_two_calls_at_once_on_one_fleet() -> None:
    """One of them works, and the other is refused before it sends anything."""
    async with account() as (box, vps):
        results = await asyncio.gather(
            *(vps.fleet.apply(fleet(4), timeout=TIMEOUT) for _ in range(2)), return_exceptions=True
        )

        assert sorted(type(result).__name__ for result in results) == ["ConfigurationError", "Report"]
        assert commands(box) == {"create": 4}


@virtual
async def test_scale_up_and_down() -> None:
    """Up by the lowest free numbers, down by exactly the difference, without another permission."""
    async with account() as (box, vps):
        have(box, 1, 3)

        up = await vps.fleet.scale(fleet(0), 5, timeout=TIMEOUT)

        assert up.operation == "scale"
        assert names(box) == ["web-01", "web-02", "web-03", "web-04", "web-05"]

        down = await vps.fleet.scale(fleet(5), 2, timeout=TIMEOUT)

        assert [outcome.how for outcome in down.succeeded] == ["adopted"] * 2 + ["deleted"] * 3
        assert names(box) == ["web-01", "web-02"]
        assert commands(box) == {"create": 3, "delete": 3}


@virtual
async def test_scale_down_and_up_again_with_a_journal(tmp_path: Path) -> None:
    """What was created a moment ago, and deleted since, is not waited for by the next program."""
    clock = asyncio.get_running_loop().time
    async with Sandbox(clock=clock, speed=1000) as box:
        for count in (2, 1, 2):
            async with client(box) as vps:
                report = await vps.fleet.scale(fleet(2), count, timeout=60, journal=tmp_path / "fleet.db")

            assert kinds(report) == {"Succeeded": 2}
        assert commands(box) == {"create": 3, "delete": 1}


@virtual
async def test_what_scale_spares() -> None:
    """Protected servers stay, of the fleet or of the call; where they keep it from its count nothing is sent."""
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4, 5)
        protected = fleet(5, protect=["web-05"])
        with pytest.raises(PlanRefusedError, match="protected"):
            await vps.fleet.scale(protected, 1, timeout=TIMEOUT, protect=["web-01"])
        assert changes(box) == []

        await vps.fleet.scale(protected, 2, timeout=TIMEOUT, protect=["web-01"])

        assert names(box) == ["web-01", "web-05"]


@virtual
async def test_scale_removes_by_a_function() -> None:
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4)

        await vps.fleet.scale(fleet(4), 2, timeout=TIMEOUT, remove=lambda server: -int(server.id))

        assert names(box) == ["web-03", "web-04"]


@virtual
async def test_scale_as_a_dry_run() -> None:
    """The plan has exactly the difference, sends nothing, and can be applied."""
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4)
        plan = await vps.fleet.scale(fleet(4), 1, dry_run=True)
        empty = await vps.fleet.scale(fleet(4), 0, dry_run=True)

        assert (len(plan.deletes), plan.refusals, len(empty.refusals)) == (3, (), 1)
        assert changes(box) == []

        await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert names(box) == ["web-01"]


@virtual
async def test_host_names_select_in_the_provider_dialect() -> None:
    """That dialect has one name, which is the host name where a fleet has one."""
    async with account(options={"dialect": "provider"}, dialect="provider") as (box, vps):
        wanted = FleetSpec(
            name="web-{n}",
            hostname="web{n}.example.com",
            count=3,
            plan_id=(await vps.plans.list())[0].id,
            os_id=(await vps.operating_systems.list())[0].id,
            location=1,
        )
        report = await vps.fleet.apply(wanted, timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 3}
        assert sorted(str(server.hostname) for server in await vps.servers.list()) == [
            f"web{n}.example.com" for n in (1, 2, 3)
        ]

        report = await vps.fleet.scale(wanted, 1, timeout=TIMEOUT, protect=["web-2"])

        assert [(outcome.key, outcome.how) for outcome in report.succeeded] == [
            ("web-1", "deleted"),
            ("web-2", "adopted"),
            ("web-3", "deleted"),
        ]
        assert len(box.servers) == 1


@pytest.mark.parametrize("seed", range(12))
@virtual
async def test_any_account(seed: int) -> None:
    """Applied, nothing is left to do; other servers are as they were; the deletes stay within the guard."""
    dice = random.Random(seed)
    async with account() as (box, vps):
        for _ in range(dice.randint(0, 25)):
            box.world.add(
                name=dice.choice(
                    [f"web-{dice.randint(1, 15):02}", f"web-{dice.randint(1, 9)}", "web-01-old", "db-1"]
                ),
                status=dice.choice(["active", "active", "stopped", "suspended", "provisioning"]),
            )
        wanted = [fleet(dice.randint(0, 15)), fleet(dice.randint(0, 3), "db-{n}", protect=["db-1"])]
        options: dict[str, Any] = {
            "prune": dice.random() < 0.7,
            "max_deletes": dice.choice([None, 3, 0.5]),
            "allow_empty": dice.random() < 0.5,
            "remove": dice.choice(["highest", "newest"]),
        }
        before = box.servers
        foreign = [server for server in before if all(each.number(server.name) is None for each in wanted)]

        plan = await vps.fleet.plan(wanted, **options)
        if plan.refusals:
            with pytest.raises(PlanRefusedError):
                await vps.fleet.apply(wanted, timeout=TIMEOUT, **options)
            assert changes(box) == []
            return
        await vps.fleet.apply(wanted, timeout=TIMEOUT, **options)

        assert commands(box)["delete"] == len(plan.deletes)
        assert len(plan.deletes) <= (3 if options["max_deletes"] == 3 else max(2, len(before) * 0.5))
        assert {server.name for server in foreign} <= set(names(box))
        assert not {change.name for change in box.ledger} & {server.name for server in foreign}
        again = await vps.fleet.plan(wanted, **options)
        assert (again.changes, again.refusals) == (0, ())


# -- what has gone wrong with such tools elsewhere --------------------------------------------------------------------


def test_a_selector_that_fits_everything() -> None:
    """A pattern without a letter, and one without a number, select foreign servers: neither is a fleet."""
    for name in ("{n}", "-{n}", "web", "", "web-*", "{n}{n}"):
        with pytest.raises(ConfigurationError):
            fleet(1, name)


@virtual
async def test_names_that_look_alike_are_not_touched() -> None:
    """Only names that the pattern itself makes are servers of the fleet, however close others are."""
    others = ["web-1", "web-001", "web-01-old", "myweb-01", "web-", "web-0x", "web", "01"]
    async with account() as (box, vps):
        for name in others:
            box.world.add(name=name)
        have(box, 1)

        await vps.fleet.scale(fleet(1), 0, timeout=TIMEOUT, allow_empty=True)

        assert names(box) == sorted(others)


@virtual
async def test_a_count_of_0() -> None:
    """It deletes a fleet only if that is allowed by name, and then within the other guards."""
    async with account() as (box, vps):
        have(box, *range(1, 6))
        for call in (
            vps.fleet.scale(fleet(5), 0, timeout=TIMEOUT),
            vps.fleet.apply(fleet(0), timeout=TIMEOUT, prune=True, max_deletes=100),
            vps.fleet.apply(fleet(0), timeout=TIMEOUT, prune=True, allow_empty=True),
        ):
            with pytest.raises(PlanRefusedError):
                await call
        assert changes(box) == []

        await vps.fleet.scale(fleet(5), 0, timeout=TIMEOUT, allow_empty=True)

        assert names(box) == []


@virtual
async def test_servers_on_their_way_out_do_not_count() -> None:
    """A fleet that is being scaled down has as many servers as stay: a later call does not delete too many."""
    async with account() as (box, vps):
        have(box, *range(1, 6))
        box.world.lag(60.0, lasting=10_000.0)
        await vps.fleet.delete([server.id for server in box.servers[3:]], timeout=TIMEOUT, wait=False)

        down = await vps.fleet.plan(fleet(3), prune=True)
        up = await vps.fleet.plan(fleet(5))

        assert down.changes == 0
        assert [spec.name for spec in up.creates] == ["web-06", "web-07"]


@pytest.mark.parametrize("word", ["deleting", "terminating", "deleted"])
@virtual
async def test_servers_that_another_program_deletes_do_not_count(word: str) -> None:
    """What the list calls on its way out was deleted by somebody: no other server is too many because of it."""
    async with account() as (box, vps):
        have(box, 1, 2, status=word)
        have(box, 3, 4, 5)

        report = await vps.fleet.scale(fleet(5), 3, timeout=TIMEOUT)
        up = await vps.fleet.plan(fleet(5))

        assert (kinds(report), changes(box)) == ({"Succeeded": 3}, [])
        assert [spec.name for spec in up.creates] == ["web-06", "web-07"]


@virtual
async def test_a_kept_server_that_may_be_leaving_when_others_are_deleted() -> None:
    """With a word that is not known it may be one of those that go: the plan is not applied."""
    async with account() as (box, vps):
        have(box, *range(1, 4))
        plan = await vps.fleet.plan(fleet(2), prune=True)
        box.world.set_status(box.servers[0].id, "draining")

        with pytest.raises(PlanRefusedError) as raised:
            await vps.fleet.apply(plan, timeout=TIMEOUT)

        assert raised.value.changes == ("web-01 is draining now, and was active",)
        assert changes(box) == []


@virtual
async def test_one_wrong_file_that_would_delete_most_of_a_fleet(tmp_path: Path) -> None:
    """A count that lost a digit, and a fleet that was left out of the file, delete nothing."""
    file = tmp_path / "fleet.toml"
    common = '\nplan_id = 1\nos_id = 5\nlocation = "us-west"\n'
    async with account() as (box, vps):
        have(box, *range(1, 21))
        have(box, *range(1, 4), prefix="db-")
        file.write_text('[[fleet]]\nname = "web-{n:02}"\ncount = 2' + common)

        with pytest.raises(PlanRefusedError, match="18 of 20 servers"):
            await vps.fleet.apply(load_fleets(file), timeout=TIMEOUT, prune=True)

        file.write_text('[[fleet]]\nname = "web-{n:02}"\ncount = 20' + common)
        await vps.fleet.apply(load_fleets(file), timeout=TIMEOUT, prune=True)

        assert changes(box) == []


# -- misuse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "options", "word"),
    [
        (fleet(1), {"timeout": None}, "timeout"),
        (fleet(1), {"prune": 1}, "prune"),
        (fleet(1), {"replace": "always"}, "replace is 'never' or 'rolling'"),
        (fleet(1), {"max_deletes": -1}, "max_deletes"),
        (fleet(1), {"max_deletes": 1.5}, "max_deletes"),
        (fleet(1), {"max_deletes": 1.0}, "max_deletes"),
        (fleet(1), {"max_deletes": 0.0}, "max_deletes"),
        (fleet(1), {"max_deletes": -0.5}, "max_deletes"),
        (fleet(1), {"max_deletes": True}, "max_deletes"),
        (fleet(1), {"protect": "web-01"}, "protect"),
        (fleet(1), {"protect": ["web-1"]}, "no name of these fleets"),
        (fleet(1), {"remove": "oldest"}, "remove"),
        (fleet(1), {"remove": None}, "remove"),
        (fleet(1), {"allow_empty": "yes"}, "allow_empty"),
        (fleet(1), {"surge": 2, "drain": 3.0}, "surge, drain: only for replace='rolling'"),
        (fleet(1), {"switch": asyncio.sleep}, "switch: only for replace='rolling'"),
        (fleet(1), {"replace": "rolling", "switch": 7}, "switch is an async function"),
        (fleet(1), {"replace": "rolling", "surge": True}, "surge"),
        (fleet(1), {"replace": "rolling", "replace_when": 7}, "replace_when is a timedelta"),
        (fleet(1), {"replace": "rolling", "replace_when": timedelta()}, "longer than 0"),
        (fleet(1), {"replace": "rolling", "replace_when": asyncio.sleep}, "called, not awaited"),
        (FleetPlan(()), {"surge": 1}, "decided when the plan was made"),
        ([fleet(1), fleet(1)], {}, "overlap"),
        ([fleet(1), fleet(1, "web-1{n}")], {}, "overlap"),
        (fleet(1).spec(1), {}, "FleetSpec"),
        ([fleet(1).spec(1)], {}, "FleetSpec"),
        ("web", {}, "FleetSpec"),
        (None, {}, "FleetSpec"),
        (FleetPlan(()), {"prune": True}, "decided when the plan was made"),
        (FleetPlan(()), {"switch": print}, "without replace='rolling'"),
    ],
)
@virtual
async def test_misuse(given: Any, options: dict[str, Any], word: str) -> None:
    """Bad input is refused before anything is sent."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError, match=word):
            await vps.fleet.apply(given, **{"timeout": 5, **options})

        assert creates(box) == []
        assert changes(box) == []


@virtual
async def test_events_name_the_call_and_the_command() -> None:
    """Each command is named by the step's name, deletes too."""
    events: list[FleetEvent] = []
    async with account() as (box, vps):
        have(box, 1, 2)
        await vps.fleet.apply(
            [fleet(1), fleet(1, "db-{n}")], timeout=TIMEOUT, prune=True, on_event=events.append
        )

    sent = [(event.operation, event.command, event.key) for event in events if isinstance(event, CommandSent)]
    assert sorted(sent) == [("apply", "create", "db-1"), ("apply", "delete", "web-02")]
