"""The plan of fleets whose servers are replaced: which, by which, and what an interrupted run has left."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import FleetPlan, FleetSpec, OperatingSystem, Plan, PlanOffer, Server, ServerStatus
from vpsorg_async.fleet.convergence import plan_fleets
from vpsorg_async.fleet.drift import renewed
from vpsorg_async.fleet.guards import Guards
from vpsorg_async.fleet.pairing import Replacing, when_older
from vpsorg_async.journal import StandingPair
from vpsorg_async.plain import from_plain, to_plain
from vpsorg_async.replace_policy import ReplacePolicy
from vpsorg_async.specs import name_key

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ROLLING = Replacing(policy=ReplacePolicy())
TWO = Replacing(policy=ReplacePolicy(surge=2))
STABLE = Replacing(policy=ReplacePolicy(names="stable"))
PRUNE = Guards(prune=True, max_deletes=100)


def fleet(count: int, **fields: Any) -> FleetSpec:
    """A fleet of that number of servers, with the operating system 7."""
    given = {"name": "web-{n:02}", "count": count, "plan_id": 1, "os_id": 7, "location": "us-west"}
    return FleetSpec(**{**given, **fields})


def server(number: int, os: int | None = 5, status: str = "active", **fields: Any) -> Server:
    """A server of the fleet; its id is 100 more than its number."""
    shown: dict[str, Any] = {
        "id": 100 + number,
        "name": f"web-{number:02}",
        "location": "us-west",
        "plan": Plan(id=1),
    }
    return Server(
        **shown | fields, status=ServerStatus(status), os=None if os is None else OperatingSystem(id=os)
    )


def old(*numbers: int, **fields: Any) -> list[Server]:
    """Servers that differ."""
    return [server(number, **fields) for number in numbers]


def new(*numbers: int, **fields: Any) -> list[Server]:
    """Servers that fit."""
    return [server(number, 7, **fields) for number in numbers]


def pair(number: int, of: int, **fields: Any) -> StandingPair:
    """A replacement that an earlier run has begun."""
    return StandingPair(new=f"web-{number:02}", old=server(of), **fields)


def begun(*pairs: StandingPair, policy: ReplacePolicy | None = None) -> Replacing:
    """What a journal has."""
    return Replacing(policy=policy or ReplacePolicy(), standing=pairs)


def planned(plan: FleetPlan) -> list[str]:
    """Each step as its kind and the numbers of its servers: of a replacement the old and the new one."""
    rows = []
    for step in plan.steps:
        number = step.name.removeprefix("web-")
        if step.kind == "replace":
            assert step.server is not None
            there = "existing " if step.by is not None else ""
            number = f"{step.server.name.removeprefix('web-')} by {there}{number}"
        rows.append(f"{step.kind} {number}")
    return rows


# the fleet, the servers, the guards, what is replaced, the steps
ROWS: list[tuple[FleetSpec, list[Server], Guards, Replacing, list[str]]] = [
    (fleet(3), old(1, 2, 3), Guards(), ROLLING, ["replace 01 by 04", "replace 02 by 05", "replace 03 by 06"]),
    (fleet(3), [*old(1, 3), *new(2)], Guards(), ROLLING, ["replace 01 by 04", "keep 02", "replace 03 by 05"]),
    # missing ones are created first, with the lowest numbers
    (fleet(3), old(2), Guards(), ROLLING, ["create 01", "replace 02 by 04", "create 03"]),
    # one that is down is not started, but replaced
    (fleet(1), old(1, status="stopped"), Guards(), ROLLING, ["replace 01 by 02"]),
    (fleet(1), old(1, status="provisioning"), Guards(), ROLLING, ["replace 01 by 02"]),
    # what is not certain
    (fleet(1), old(1, status="suspended"), Guards(), ROLLING, ["refuse 01"]),
    (fleet(1), old(1, status="draining"), Guards(), ROLLING, ["wait 01"]),
    (fleet(1), [server(1, None)], Guards(), ROLLING, ["keep 01"]),
    (fleet(1), [*old(1), *old(1, id=7)], Guards(), ROLLING, ["refuse 01"]),
    (fleet(2, protect=["web-01"]), old(1, 2), Guards(), ROLLING, ["keep 01", "replace 02 by 03"]),
    (
        fleet(2),
        old(1, 2),
        Guards(protect=lambda one: one.id == 102),
        ROLLING,
        ["replace 01 by 03", "keep 02"],
    ),
    # a replacement that was interrupted, without a journal: never the new ones are taken for a surplus
    (
        fleet(3),
        [*old(1, 2, 3), *new(4, 5)],
        Guards(),
        TWO,
        ["replace 01 by existing 05", "replace 02 by existing 04", "replace 03 by 06"],
    ),
    (
        fleet(3),
        [*old(1, 2, 3), *new(4, 5)],
        PRUNE,
        TWO,
        ["replace 01 by existing 05", "replace 02 by existing 04", "replace 03 by 06"],
    ),
    (
        fleet(2),
        [*old(1, 2), *new(3), *new(4, status="provisioning")],
        PRUNE,
        TWO,
        ["replace 01 by existing 04", "replace 02 by existing 03"],
    ),
    (fleet(2), [*old(1, 2), *new(3, status="draining")], PRUNE, ROLLING, ["replace 01 by 04"]),
    # no more than the surge can be left of one: other servers are deleted only with prune
    (
        fleet(2),
        [*old(1, 2), *new(3, 4)],
        Guards(),
        ROLLING,
        ["replace 01 by existing 04", "keep 02", "keep 03"],
    ),
    # one whose word is not known may be leaving: it makes no other one too many
    (
        fleet(3),
        [*old(1), *new(2, 3), *new(4, status="draining")],
        Guards(),
        ROLLING,
        ["replace 01 by 05", "keep 02", "keep 03"],
    ),
    # more than the count besides
    (fleet(1), [*old(1), *new(2, 3)], Guards(), ROLLING, ["replace 01 by existing 03", "keep 02"]),
    (fleet(1), [*old(1), *new(2, 3)], PRUNE, ROLLING, ["replace 01 by existing 03", "delete 02"]),
    (fleet(2), old(1, 2, 3), PRUNE, ROLLING, ["replace 01 by 04", "replace 02 by 05", "delete 03"]),
    (fleet(2), old(1, 2, 3), Guards(), ROLLING, ["replace 01 by 04", "replace 02 by 05", "keep 03"]),
    (fleet(1), [*new(3), *old(1, 2)], PRUNE, ROLLING, ["replace 01 by existing 03", "delete 02"]),
    # replacements that the journal has
    (
        fleet(2),
        [*old(1, 2), *new(3, 4)],
        PRUNE,
        begun(pair(3, 2), pair(4, 1)),
        ["replace 01 by existing 04", "replace 02 by existing 03"],
    ),
    (fleet(2), old(1, 2), Guards(), begun(pair(7, 2)), ["replace 01 by 03", "replace 02 by 07"]),
    (fleet(1), new(3), Guards(), begun(pair(3, 1)), ["replace 01 by existing 03"]),
    (fleet(1), new(3), Guards(), begun(pair(3, 1, switched=True)), ["keep 03"]),
    (fleet(1), [*old(1), *new(3)], PRUNE, begun(pair(3, 1, switched=True)), ["replace 01 by existing 03"]),
    (fleet(1), [], Guards(), begun(pair(3, 1)), ["replace 01 by 03"]),
    (fleet(1), [], Guards(), begun(pair(3, 1, switched=True)), ["create 03"]),
    (
        fleet(1),
        new(3),
        Guards(),
        begun(pair(3, 1, switched=True), policy=STABLE.policy),
        ["replace 01 by existing 03"],
    ),
    (
        fleet(1),
        new(1, id=103),
        Guards(),
        begun(pair(3, 1, switched=True, new_id=103), policy=STABLE.policy),
        ["keep 01"],
    ),
    # the old name is kept free for the new server
    (
        fleet(3),
        [*new(3), *old(2)],
        Guards(),
        begun(pair(3, 1, switched=True), policy=STABLE.policy),
        ["replace 02 by 05", "replace 01 by existing 03", "create 04"],
    ),
    # back to what it was before: the old one takes the place of the new one
    (
        fleet(1, os_id=5),
        [*old(1), *new(3)],
        Guards(),
        begun(pair(3, 1, switched=True)),
        ["replace 03 by existing 01"],
    ),
    # the one that had taken over is gone: the next one takes over as well
    (fleet(1), old(1), Guards(), begun(pair(3, 1, switched=True, new_id=103)), ["replace 01 by 03"]),
    # begun, and not wanted any more: no new server exists, and the old one fits
    (fleet(1, os_id=5), old(1), Guards(), begun(pair(3, 1)), ["keep 01"]),
    # of another fleet
    (
        fleet(1),
        old(1),
        Guards(),
        begun(attrs.evolve(pair(3, 1), new="db-03")),
        ["replace 01 by 02"],
    ),
]


@pytest.mark.parametrize(("wanted", "servers", "guards", "replacing", "steps"), ROWS)
def test_what_is_replaced(
    wanted: FleetSpec, servers: list[Server], guards: Guards, replacing: Replacing, steps: list[str]
) -> None:
    """Both servers of a pair are one of the fleet, and the step is where the old one is."""
    plan = plan_fleets([wanted], servers, guards, replacing=replacing)

    assert (planned(plan)[: len(steps)], plan.refusals) == (steps, ())
    assert not any(step.switched and step.by is None and step.server in servers for step in plan.replaces)


def test_a_replacement_as_text() -> None:
    """The pair, why, what is created and deleted, and the price of the surge."""
    servers = [*old(1), *old(2, plan=Plan(id=2)), *new(5)]
    offers = [
        PlanOffer(id=1, price_hourly=Decimal("0.007"), price_monthly=Decimal(5)),
        PlanOffer(id=2, price_hourly=Decimal("0.01"), price_monthly=Decimal(7)),
    ]
    replacing = attrs.evolve(ROLLING, policy=ReplacePolicy(surge=2))
    plan = plan_fleets([fleet(2)], servers, replacing=replacing).priced(offers)

    assert str(plan).splitlines() == [
        "2 servers: 2 to replace",
        "~ replace web-01 [101, active] by web-05 [105, active] (os_id 5 -> 7)",
        "~ replace web-02 [102, active] by web-03 (plan_id 2 -> 1, os_id 5 -> 7)",
        "price of what is created: 0.007 per hour, 5.00 per month",
        "price of what is deleted: 0.017 per hour, 12.00 per month",
        "price of the surge: up to 0.014 per hour while servers are replaced",
    ]
    assert (plan.changes, plan.creates, plan.deletes) == (2, (), ())
    assert json.loads(plan.to_json())["steps"][0]["by"] == 105
    assert from_plain(json.loads(json.dumps(to_plain(plan)))) == plan


def test_what_is_changed_in_place() -> None:
    """The host name and the backups; what can't be changed besides is still named, unless the server is replaced."""
    wanted = fleet(4, hostname="w{n}.example.com", backups_enabled=True, protect=["web-02"])
    servers = [
        server(1, 7, hostname="other.example.com", backups_enabled=False),
        server(2, 5, hostname="W2.example.com.", backups_enabled=False),
        server(3, 7, "stopped", hostname="other.example.com"),
        server(4, 7, hostname="w4.example.com"),
    ]

    first, second, third, fourth = plan_fleets([wanted], servers, replacing=ROLLING).steps

    assert (first.kind, first.updates, first.differences) == ("update", ("hostname", "backups_enabled"), ())
    assert str(first).startswith(
        "* update web-01 [101, active] (hostname 'other.example.com' -> 'w1.example.com'"
    )
    assert (second.kind, second.updates) == ("update", ("backups_enabled",))
    assert second.differences == ("os_id is 5, the spec says 7",)
    assert (third.kind, third.updates) == ("start", ("hostname",))
    assert (fourth.kind, fourth.updates) == ("keep", ())
    for replacing in (None, attrs.evolve(ROLLING, in_place=False)):
        steps = plan_fleets([wanted], servers, replacing=replacing).steps
        assert (steps[0].kind, [step.updates for step in steps]) == ("keep", [()] * 4)


AGES: list[tuple[Callable[[Server], str] | None, list[str]]] = [
    (None, ["keep 01", "keep 02", "keep 03"]),
    (when_older(timedelta(days=30), NOW), ["replace 01 by 04", "keep 02", "keep 03"]),
    (when_older(timedelta(days=1), NOW), ["replace 01 by 04", "replace 02 by 05", "keep 03"]),
    (lambda one: "it is cursed" if one.id == 103 else "", ["keep 01", "keep 02", "replace 03 by 04"]),
]


@pytest.mark.parametrize(("when", "steps"), AGES)
def test_what_is_replaced_although_it_fits(when: Any, steps: list[str]) -> None:
    """By age, or by a function; a server that shows no time of creation has no age."""
    servers = [
        *new(1, created_at=NOW - timedelta(days=30)),
        *new(2, created_at=NOW - timedelta(days=2)),
        *new(3),
    ]

    assert planned(plan_fleets([fleet(3)], servers, replacing=attrs.evolve(ROLLING, when=when))) == steps


# the servers, the pair, a word of the refusal
AMBIGUOUS: list[tuple[list[Server], StandingPair, str]] = [
    ([*old(1), *new(3), *new(3, id=7)], pair(3, 1), "several servers"),
    ([*old(1), *old(1, id=7), *new(3)], pair(3, 1), "several servers"),
    ([*old(1), *new(9, id=103)], pair(3, 1, new_id=103), "has the name web-09 now"),
    ([*old(1), *new(3)], pair(3, 1, new_id=77), "another server has the name web-03"),
    ([*new(3), *new(1, id=7)], pair(3, 1, switched=True, new_id=103), "another server has the name web-01"),
]


@pytest.mark.parametrize(("servers", "standing", "word"), AMBIGUOUS)
def test_a_pair_that_is_not_certain(servers: list[Server], standing: StandingPair, word: str) -> None:
    """Nothing is done before somebody has looked."""
    (refusal,) = plan_fleets([fleet(1)], servers, replacing=begun(standing, policy=STABLE.policy)).refusals

    assert word in refusal
    assert refusal.startswith("web-{n:02}: web-01 [101] was being replaced by web-03")


@pytest.mark.parametrize(("os", "protected"), [(7, "web-01"), (5, "web-03")])
@pytest.mark.parametrize("switched", [False, True])
def test_a_pair_of_a_protected_server(os: int, protected: str, switched: bool) -> None:
    """Whichever of its servers would be deleted: that is the new one where the fleet is as it was before."""
    wanted = fleet(1, os_id=os, protect=[protected])
    plan = plan_fleets([wanted], [*old(1), *new(3)], replacing=begun(pair(3, 1, switched=switched)))

    assert plan.refusals[0].endswith(f"and {protected} is protected now")
    assert not plan.replaces


@given(data=st.data())
def test_any_account(data: st.DataObject) -> None:
    """A pair counts once; names are used once; a server that fits is deleted only if none that differs is left."""
    words = st.sampled_from(["active", "active", "stopped", "provisioning", "suspended", "draining"])
    numbers = data.draw(st.lists(st.integers(1, 20), unique=True, max_size=12))
    servers = [server(number, data.draw(st.sampled_from([5, 7])), data.draw(words)) for number in numbers]
    wanted = fleet(data.draw(st.integers(0, 10)))
    guards = data.draw(st.sampled_from([Guards(), PRUNE]))

    plan = plan_fleets([wanted], servers, guards, replacing=ROLLING)

    ids = [one.id for step in plan.steps for one in (step.server, step.by) if one is not None]
    assert sorted(ids) == sorted(one.id for one in servers)
    assert len({step.name for step in plan.steps}) == len(plan.steps)
    fitting = {one.id for one in servers if one.os == OperatingSystem(id=7)}
    for step in plan.replaces:
        assert step.server is not None
        assert step.server.id not in fitting
        assert step.by is None or step.by.id in fitting
        assert step.by is not None or step.name not in {one.name for one in servers}
    # one whose word is not known may be leaving anyway
    if {one.id for one in plan.deletes if one.status.is_known} & fitting:
        assert not any(step.by is None for step in plan.replaces)
    stays = sum(step.kind != "delete" for step in plan.steps)
    assert stays >= min(wanted.count, len(servers))
    if not guards.prune:
        assert stays == max(wanted.count, len(plan.steps))


def drift(wanted: FleetSpec, before: list[Server], after: list[Server], replacing: Replacing) -> list[str]:
    """What has changed between a plan and its first change."""
    plan = plan_fleets([wanted], before, replacing=replacing)
    _, changes = renewed(plan, after, lambda one: name_key(one.name), lambda _: "")
    return changes


# the servers when the plan is made, and later; the journal; a word of each change
CHANGES: list[tuple[list[Server], list[Server], Replacing, list[str]]] = [
    (old(1), old(1), ROLLING, []),
    (old(1), old(1, status="stopped"), ROLLING, []),
    (old(1), [], ROLLING, ["which is gone"]),
    (old(1), [server(9, id=101)], ROLLING, ["whose name is web-09 now", "web-09 [101] exists now"]),
    (old(1), new(1), ROLLING, ["another os_id now"]),
    (old(1, plan=None), old(1), ROLLING, []),
    (old(1), [*old(1), *new(2)], ROLLING, ["web-02 exists now as [102]"]),
    (old(1), [*old(1), *new(7)], ROLLING, ["web-07 [107] exists now"]),
    (old(1), [*old(1), *new(3)], begun(pair(3, 1)), []),
    ([*old(1), *new(3)], [*old(1), *new(3, status="stopped")], begun(pair(3, 1)), []),
    ([*old(1), *new(3)], old(1), begun(pair(3, 1)), ["the new server, is gone"]),
    ([*old(1), *new(3)], [*old(1), *new(3, id=7)], begun(pair(3, 1)), ["is server [7] now"]),
    (
        [*old(1), *new(3)],
        [*old(1), *new(3, status="suspended")],
        begun(pair(3, 1)),
        ["can't be the new server"],
    ),
    (new(3), new(3), begun(pair(3, 1)), []),
]


@pytest.mark.parametrize(("before", "after", "replacing", "words"), CHANGES)
def test_what_has_changed_since(
    before: list[Server], after: list[Server], replacing: Replacing, words: list[str]
) -> None:
    """Both servers of a pair have to be those of the plan; the old one may have stopped."""
    changes = drift(fleet(1), before, after, replacing)

    assert len(changes) == len(words), changes
    assert all(word in change for word, change in zip(words, changes, strict=True))


def test_an_update_that_became_a_start() -> None:
    """The server is changed in place all the same; one that has changed its host name meanwhile is as good."""
    wanted = fleet(1, hostname="w{n}.example.com")
    plan = plan_fleets([wanted], new(1, hostname="a.example.com"), replacing=ROLLING)

    same, none = renewed(plan, new(1, hostname="b.example.com"), lambda one: name_key(one.name), lambda _: "")
    _, stopped = renewed(
        plan, new(1, hostname="a.example.com", status="stopped"), lambda one: name_key(one.name), lambda _: ""
    )

    assert (same.steps[0].kind, same.steps[0].updates, none) == ("update", ("hostname",), [])
    assert stopped == ["web-01 is stopped now, and was active"]
