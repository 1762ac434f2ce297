"""The plan of fleets: the steps for any account, what the guards forbid, and what has changed since."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import (
    FleetPlan,
    FleetSpec,
    OperatingSystem,
    Plan,
    PlanOffer,
    Server,
    ServerSpec,
    ServerStatus,
)
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.fleet.convergence import plan_fleets
from vpsorg_async.fleet.drift import renewed
from vpsorg_async.fleet.guards import Guards
from vpsorg_async.plain import from_plain, to_plain
from vpsorg_async.specs import name_key

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ["active", "stopped", "suspended", "provisioning", "starting", "stopping", "rebooting"]


def fleet(count: int, name: str = "web-{n:02}", **fields: Any) -> FleetSpec:
    """A fleet of that number of servers."""
    return FleetSpec(
        **{"name": name, "count": count, "plan_id": 1, "os_id": 5, "location": "us-west", **fields}
    )


def server(name: str, number: int | None = None, status: str = "active", **fields: Any) -> Server:
    """A server as a list shows it; its id is the number of its name, unless another one is given."""
    digits = "".join(filter(str.isdigit, name)) or "0"
    shown: dict[str, Any] = {
        "id": 100 + int(digits) if number is None else number,
        "name": name,
        "status": ServerStatus(status),
        "location": "us-west",
        "plan": Plan(id=1),
        "os": OperatingSystem(id=5),
    }
    return Server(**shown | fields)


def web(*numbers: int, **fields: Any) -> list[Server]:
    """Servers of the fleet with these numbers."""
    return [server(f"web-{number:02}", **fields) for number in numbers]


def planned(plan: FleetPlan) -> list[str]:
    """Each step as a word and a name."""
    return [f"{step.kind} {step.name}" for step in plan.steps]


PRUNE = Guards(prune=True, max_deletes=100)

# the fleet, the servers, the guards, the steps
ROWS: list[tuple[FleetSpec, list[Server], Guards, list[str]]] = [
    (fleet(2), [], Guards(), ["create web-01", "create web-02"]),
    (fleet(2, first=0), [], Guards(), ["create web-00", "create web-01"]),
    (fleet(2), web(1, 2), Guards(), ["keep web-01", "keep web-02"]),
    (fleet(2), web(7, 30), Guards(), ["keep web-07", "keep web-30"]),
    (fleet(3), web(2, 9), Guards(), ["create web-01", "keep web-02", "keep web-09"]),
    (fleet(3, first=5), web(1), Guards(), ["keep web-01", "create web-05", "create web-06"]),
    (fleet(1), [server("web-01", status="stopped")], Guards(), ["start web-01"]),
    (fleet(1), [server("web-01", status="provisioning")], Guards(), ["wait web-01"]),
    (fleet(1), [server("web-01", status="suspended")], Guards(), ["refuse web-01"]),
    (fleet(1), [server("WEB-01")], Guards(), ["keep web-01"]),
    (fleet(1), [server("web-1"), server("web-001"), server("db-01")], Guards(), ["create web-01"]),
    (fleet(2), web(1, 2, 3), Guards(), ["keep web-01", "keep web-02", "keep web-03"]),
    (fleet(2), web(1, 2, 3), PRUNE, ["keep web-01", "keep web-02", "delete web-03"]),
    (fleet(1, protect=["web-03"]), web(1, 2, 3), PRUNE, ["delete web-01", "delete web-02", "keep web-03"]),
    (fleet(0, protect=["web-01"]), web(1), PRUNE, ["keep web-01"]),
    (fleet(1), [*web(1, 2), server("web-02", 7)], PRUNE, ["delete web-01", "refuse web-02"]),
    (fleet(0), web(1), Guards(), ["keep web-01"]),
]


@pytest.mark.parametrize(("wanted", "servers", "guards", "steps"), ROWS)
def test_what_is_done(wanted: FleetSpec, servers: list[Server], guards: Guards, steps: list[str]) -> None:
    """Any servers whose names fit are the fleet; the lowest free numbers are created, the highest ones deleted."""
    assert planned(plan_fleets([wanted], servers, guards)) == steps


def test_a_surplus_that_is_not_deleted_is_left_alone() -> None:
    """Without `prune` a stopped server that is too many is not even started, and its step says why it stays."""
    plan = plan_fleets([fleet(1)], [*web(1), server("web-02", status="stopped")])

    assert planned(plan) == ["keep web-01", "keep web-02"]
    assert plan.steps[1].surplus
    assert plan.steps[1].reason.endswith("it is deleted only with prune")
    assert plan.changes == 0


def test_a_server_that_differs_is_kept() -> None:
    """Its step names the fields; what the list does not show is no difference."""
    servers = [
        server("web-01", plan=Plan(id=9), location="us-east"),
        server("web-02", plan=None, os=None, location=None),
    ]

    first, second = plan_fleets([fleet(2)], servers).steps

    assert (first.kind, second.kind) == ("keep", "keep")
    assert first.reason == "it differs in plan_id, location, and replace is 'never'"
    assert first.differences == (
        "plan_id is 9, the spec says 1",
        "location is 'us-east', the spec says 'us-west'",
    )
    assert (second.reason, second.differences) == ("", ())


def test_servers_on_their_way_out_do_not_count() -> None:
    """A server with an open delete is not there, its number is not free, and it is not deleted a second time."""
    servers = web(1, 2, 3)

    def heading(server: Server) -> str:
        return "delete" if server.name == "web-02" else ""

    assert planned(plan_fleets([fleet(3)], servers, PRUNE, heading=heading)) == [
        "keep web-01",
        "keep web-03",
        "create web-04",
    ]
    assert planned(plan_fleets([fleet(2)], servers, PRUNE, heading=heading)) == ["keep web-01", "keep web-03"]


def test_servers_in_an_unknown_status_make_no_other_one_too_many() -> None:
    """They may be leaving: only those that are too many without them are deleted, or they themselves."""
    servers = [server("web-01", status="draining"), server("web-02", status="draining"), *web(3, 4, 5)]
    exact = Guards(prune=True, exact=True)

    def deleted(count: int, guards: Guards) -> list[str]:
        return [server.name for server in plan_fleets([fleet(count)], servers, guards).deletes]

    assert plan_fleets([fleet(5)], servers).creates == ()
    assert deleted(3, PRUNE) == []
    assert deleted(2, PRUNE) == ["web-05"]
    assert deleted(4, attrs.evolve(PRUNE, remove=lambda one: one.name < "web-03")) == []
    assert deleted(3, attrs.evolve(PRUNE, remove=lambda one: one.name < "web-03")) == ["web-01", "web-02"]
    assert any("status word" in why for why in plan_fleets([fleet(3)], servers, exact).refusals)


# what says which servers go first, in which order they go
ORDERS: list[tuple[Any, list[int]]] = [
    ("highest", [4, 3, 2, 1]),
    ("newest", [2, 4, 3, 1]),
    (lambda server: server.status == "stopped", [3, 4, 2, 1]),
    (lambda server: -server.id, [1, 2, 3, 4]),
]


@pytest.mark.parametrize(("remove", "order"), ORDERS)
def test_which_servers_go_first(remove: Any, order: list[int]) -> None:
    """The highest numbers, the newest, or those for which a function returns the largest values."""
    ages = {1: None, 2: 3, 3: 1, 4: 2}
    servers = [
        server(
            f"web-{number:02}",
            status="stopped" if number == 3 else "active",
            created_at=None if age is None else BEGINNING + timedelta(days=age),
        )
        for number, age in ages.items()
    ]

    for count in range(5):
        plan = plan_fleets([fleet(count)], servers, attrs.evolve(PRUNE, remove=remove))
        assert {server.name for server in plan.deletes} == {f"web-{n:02}" for n in order[: 4 - count]}


def test_a_function_whose_values_cannot_be_compared() -> None:
    guards = attrs.evolve(PRUNE, remove=lambda server: object())

    with pytest.raises(ConfigurationError, match="can't be compared"):
        plan_fleets([fleet(1)], web(1, 2, 3), guards)


# the count, the number of servers, the guards; a word of each refusal
REFUSALS: list[tuple[int, int, dict[str, Any], list[str]]] = [
    (20, 20, {}, []),
    (19, 20, {}, []),
    (18, 20, {}, []),
    (17, 20, {}, ["permits 2"]),
    (2, 3, {}, []),
    (1, 3, {}, ["permits 1"]),
    (2, 20, {}, ["permits 2"]),
    (0, 1, {}, ["allow_empty"]),
    (0, 1, {"allow_empty": True}, []),
    (0, 20, {"allow_empty": True}, ["permits 2"]),
    (0, 20, {"allow_empty": True, "max_deletes": 20}, []),
    (15, 20, {"max_deletes": 5}, []),
    (14, 20, {"max_deletes": 5}, ["permits 5"]),
    (19, 20, {"max_deletes": 0}, ["permits 0"]),
    (10, 20, {"max_deletes": 0.5}, []),
    (9, 20, {"max_deletes": 0.5}, ["permits 10"]),
    (71, 100, {"max_deletes": 0.29}, []),
    (0, 20, {"exact": True}, ["allow_empty"]),
    (5, 20, {"exact": True}, []),
]


@pytest.mark.parametrize(("count", "present", "guards", "words"), REFUSALS)
def test_what_the_guards_forbid(count: int, present: int, guards: dict[str, Any], words: list[str]) -> None:
    """A plan with too many deletes is refused, by 10 % of the fleet unless a number or another share is given."""
    plan = plan_fleets([fleet(count)], web(*range(1, present + 1)), Guards(prune=True, **guards))

    assert len(plan.refusals) == len(words)
    assert all(word in refusal for word, refusal in zip(words, plan.refusals, strict=True))
    assert not plan_fleets([fleet(count)], web(*range(1, present + 1))).refusals


def test_a_number_counts_for_the_whole_plan_and_a_share_for_each_fleet() -> None:
    """A small fleet can't be deleted on the account of a large one."""
    servers = [*web(*range(1, 101)), *(server(f"db-{n}", 1000 + n) for n in range(1, 6))]
    fleets = [fleet(100), fleet(0, "db-{n}")]

    share = plan_fleets(fleets, servers, Guards(prune=True, allow_empty=True))
    number = plan_fleets([fleet(97), fleet(3, "db-{n}")], servers, Guards(prune=True, max_deletes=4))

    assert ["db-{n}: 5 of 5" in refusal for refusal in share.refusals] == [True]
    assert number.refusals == ("5 servers would be deleted, and max_deletes permits 4",)


def test_exactly_the_difference_or_nothing() -> None:
    """If protected servers keep a fleet from its count, the whole plan is refused."""
    plan = plan_fleets([fleet(1, protect=["web-01", "web-02"])], web(1, 2, 3), Guards(prune=True, exact=True))

    assert "only 1 may be deleted" in plan.refusals[0]


@pytest.mark.parametrize("protect", [("web-03",), ("WEB-03",), lambda server: server.id == 103])
def test_protected_servers_stay(protect: Any) -> None:
    """By name in any case, or by a function."""
    plan = plan_fleets([fleet(1)], web(1, 2, 3), attrs.evolve(PRUNE, protect=protect))

    assert [server.name for server in plan.deletes] == ["web-01", "web-02"]


@pytest.mark.parametrize("protect", [("web-3",), ("db-01",), (3,)])
def test_a_protected_name_that_no_fleet_has(protect: Any) -> None:
    """It would protect nothing, so it is refused."""
    with pytest.raises(ConfigurationError, match="no name of these fleets"):
        plan_fleets([fleet(1)], web(1, 2, 3), attrs.evolve(PRUNE, protect=protect))


def test_fleets_that_overlap() -> None:
    with pytest.raises(ConfigurationError, match="overlap"):
        plan_fleets([fleet(1), fleet(1, "web-1{n}")], [])


def test_in_the_provider_dialect_the_host_name_counts() -> None:
    """A pattern of host names selects the servers there."""

    def key_of(subject: ServerSpec | Server) -> str:
        return name_key(subject.hostname or subject.name)

    wanted = fleet(2, hostname="w{n}.example.com", protect=["web-02"])
    servers = [
        server("a label", 7, hostname="W1.example.com"),
        server("another", 8, hostname="w2.example.com"),
        server("web-05", 9, hostname="elsewhere.example.com"),
    ]

    assert planned(plan_fleets([wanted], servers, PRUNE, key_of)) == ["keep web-01", "keep web-02"]
    assert planned(plan_fleets([attrs.evolve(wanted, count=1)], servers, PRUNE, key_of)) == [
        "delete web-01",
        "keep web-02",
    ]


def test_a_server_of_two_fleets() -> None:
    """Where the host name of one fleet could be the name of another, both would create it: they are refused."""

    def key_of(subject: ServerSpec | Server) -> str:
        return name_key(subject.hostname or subject.name)

    fleets = [fleet(1, "web{n}"), fleet(1, "db{n}", hostname="web{n}")]

    for servers in ([], [server("web1")]):
        with pytest.raises(ConfigurationError, match="overlap"):
            plan_fleets(fleets, servers, key_of=key_of)


def test_a_fleet_by_its_names_and_one_by_its_host_names() -> None:
    """They are planned together, where no server could be of both."""

    def key_of(subject: ServerSpec | Server) -> str:
        return name_key(subject.hostname or subject.name)

    fleets = [fleet(1, "web{n}"), fleet(1, "db{n}", hostname="other{n}")]

    assert planned(plan_fleets(fleets, [server("web1")], key_of=key_of)) == ["keep web1", "create db1"]


def test_a_host_name_that_is_the_name_for_some_numbers() -> None:
    """In the documented dialect the name selects, also where the host name of the first number is the same text."""
    wanted = fleet(2, "web-{n}", hostname="web-{n:02}", first=10)

    assert planned(plan_fleets([wanted], [*web(5), server("web-11")], PRUNE)) == [
        "create web-10",
        "keep web-11",
    ]


OFFERS = [
    PlanOffer(id=1, price_hourly=Decimal("0.007"), price_monthly=Decimal(5)),
    PlanOffer(id=2, price_hourly=Decimal("0.01"), price_monthly=Decimal(7)),
]


def test_prices_and_totals() -> None:
    """What is created is priced by its spec, what is deleted by the plan that it has."""
    servers = [server("web-01"), server("web-02", plan=Plan(id=2)), server("web-03", plan=Plan(id=2))]
    plan = plan_fleets([fleet(1), fleet(2, "db-{n}")], servers, PRUNE).priced(OFFERS)

    assert (plan.price_hourly, plan.price_monthly) == (Decimal("0.014"), Decimal(10))
    assert (plan.ended_hourly, plan.ended_monthly) == (Decimal("0.02"), Decimal(14))
    assert str(plan).splitlines() == [
        "5 servers: 2 to create, 1 to keep, 2 to delete",
        "= keep   web-01 [101, active]",
        "- delete web-02 [102, active] (the fleet has 3 servers and needs 1), -0.010 per hour, -7.00 per month",
        "- delete web-03 [103, active] (the fleet has 3 servers and needs 1), -0.010 per hour, -7.00 per month",
        "+ create db-1, +0.007 per hour, +5.00 per month",
        "+ create db-2, +0.007 per hour, +5.00 per month",
        "price of what is created: 0.014 per hour, 10.00 per month",
        "price of what is deleted: 0.020 per hour, 14.00 per month",
    ]
    unknown = plan_fleets([fleet(0)], [server("web-01", plan=None)], PRUNE).priced(OFFERS)
    assert (unknown.ended_hourly, unknown.price_hourly) == (None, Decimal(0))
    assert "refused: web-{n:02}: a count of 0" in str(unknown)


def test_a_plan_as_data() -> None:
    """JSON for people and programs; plain data for a plan that is applied later."""
    plan = plan_fleets([fleet(1), fleet(1, "db-{n}")], web(1, 2), PRUNE).priced(OFFERS)

    row = json.loads(plan.to_json())
    assert (row["create"], row["delete"], row["keep"], row["changes"], row["refusals"]) == (1, 1, 1, 2, [])
    assert (row["price_hourly"], row["ended_monthly"]) == ("0.007", "5")
    assert row["steps"][1] == {
        "kind": "delete",
        "name": "web-02",
        "id": 102,
        "status": "active",
        "reason": "the fleet has 2 servers and needs 1",
        "differences": [],
        "surplus": True,
        "updates": [],
        "by": None,
        "price_hourly": "0.007",
        "price_monthly": "5",
    }
    assert from_plain(json.loads(json.dumps(to_plain(plan)))) == plan


# what the account has when the plan is made, and later; what has changed
CHANGES: list[tuple[list[Server], list[Server], list[str]]] = [
    (web(1, 2, 3), web(1, 2, 3), []),
    (web(1, 2, 3), [*web(1, 2, 3), server("db-1"), server("web-4")], []),
    (web(1), web(1, 4), ["exists now"]),
    (web(1, 2, 3), web(1, 2), ["web-03 is gone"]),
    (web(1, 2), web(1), ["web-02 is gone"]),
    ([], web(1), ["web-01 exists now as [101]"]),
    ([*web(1, 3), server("web-02", id="5F-A")], [*web(1, 3), server("web-02", id="5f-a")], []),
    (web(1, 2), [*web(1), server("web-02", 7)], ["web-02 is server [7] now"]),
    (web(1, 2), [*web(1, 2), server("web-02", 7)], ["web-02 is ambiguous"]),
    ([*web(1), *web(2, status="provisioning")], web(1, 2), []),
    ([*web(1), *web(2)], [*web(1), *web(2, status="stopped")], ["web-02 is stopped now, and was active"]),
    ([*web(1), *web(2, status="stopped")], web(1, 2), ["web-02 is active now, and was stopped"]),
    (
        [*web(1, 2), *web(3)],
        [*web(1, 2), *web(3, status="stopped")],
        ["web-03 is stopped now, and was active"],
    ),
    ([*web(1, 2, 3), *web(4, status="suspended")], [*web(1, 2, 3), *web(4)], ["web-04 is active now"]),
]


@pytest.mark.parametrize(("before", "after", "changes"), CHANGES)
def test_what_has_changed_since(before: list[Server], after: list[Server], changes: list[str]) -> None:
    """A server that comes, goes or gets another status is named, unless it was only waited for and got on."""
    plan = plan_fleets([fleet(2)], before, PRUNE)

    _, found = renewed(plan, after, lambda subject: name_key(subject.name), lambda server: "")

    assert len(found) == len(changes)
    assert all(expected in change for expected, change in zip(changes, found, strict=True))


def test_a_surplus_that_is_kept_may_change() -> None:
    """Nothing is sent to it."""
    plan = plan_fleets([fleet(1)], web(1, 2))

    renewal, found = renewed(
        plan, [*web(1), *web(2, status="stopped")], lambda subject: name_key(subject.name), lambda server: ""
    )

    assert (found, planned(renewal)) == ([], ["keep web-01", "keep web-02"])


# -- any account, any fleets ------------------------------------------------------------------------------------------

NAMES = st.one_of(
    st.integers(0, 30).map("web-{:02}".format),
    st.integers(0, 12).map("db-{}".format),
    st.sampled_from(["web-1", "web-007", "db-01", "web-01-old", "other", "WEB-03"]),
)


@st.composite
def accounts(draw: st.DrawFn) -> list[Server]:
    names = draw(st.lists(NAMES, max_size=30))
    return [
        server(name, number, draw(st.sampled_from(WORDS)), plan=Plan(id=draw(st.sampled_from([1, 2]))))
        for number, name in enumerate(names, 1)
    ]


GUARDS = st.builds(
    Guards,
    prune=st.booleans(),
    max_deletes=st.none() | st.integers(0, 5) | st.sampled_from([0.1, 0.5, 0.9]),
    protect=st.sampled_from([(), ("web-03", "db-2"), lambda server: server.id % 2 == 0]),
    remove=st.sampled_from(["highest", "newest", lambda server: server.id]),
    allow_empty=st.booleans(),
)


def applied(plan: FleetPlan, servers: Sequence[Server]) -> list[Server]:
    """The account after a plan was applied to it and its servers have settled."""
    deleted = {one.id for one in plan.deletes}
    touched = {
        step.server.id for step in plan.steps if step.server is not None and step.kind in ("start", "wait")
    }
    left = [
        attrs.evolve(one, status=ServerStatus.ACTIVE) if one.id in touched else one
        for one in servers
        if one.id not in deleted
    ]
    return left + [server(spec.name, 1000 + n) for n, spec in enumerate(plan.creates)]


@given(accounts(), st.integers(0, 25), st.integers(0, 10), GUARDS)
def test_any_plan(servers: list[Server], web_count: int, db_count: int, guards: Guards) -> None:
    """Applied, nothing is left to do; nothing outside the fleets is touched; the deletes stay within the guards."""
    fleets = [fleet(web_count), fleet(db_count, "db-{n}", protect=["db-1"])]

    plan = plan_fleets(fleets, servers, guards)

    # nothing outside the selector, nothing protected, nothing ambiguous
    names = Counter(name_key(server.name) for server in servers)
    for step in plan.steps:
        assert sum(wanted.number(step.name) is not None for wanted in fleets) == 1
    for server in plan.deletes:
        assert names[name_key(server.name)] == 1
        assert server.name != "db-1"
        assert not (guards.protect(server) if callable(guards.protect) else server.name in guards.protect)
    # each server of the fleets has one step
    shown = [step.name for step in plan.steps]
    assert len(shown) == len(set(shown))
    assert {name_key(name) for name in shown} >= {
        key for key in names if any(wanted.number(key) is not None for wanted in fleets)
    }
    # the guards
    assert guards.prune or not plan.deletes
    for wanted in fleets:
        mine = [name for name in names if wanted.number(name) is not None]
        gone = [server for server in plan.deletes if wanted.number(server.name) is not None]
        assert len(mine) - len(gone) >= min(len(mine), wanted.count)
        if not plan.refusals and not isinstance(guards.max_deletes, int):
            assert len(gone) <= max(1, len(mine) * (guards.max_deletes or 0.1))
        if gone and not plan.refusals:
            assert wanted.count or guards.allow_empty
    if not plan.refusals and isinstance(guards.max_deletes, int):
        assert len(plan.deletes) <= guards.max_deletes
    # the same account: nothing has changed; applied: nothing to do
    assert renewed(plan, servers, lambda subject: name_key(subject.name), lambda server: "")[1] == []
    again = plan_fleets(fleets, applied(plan, servers), guards)
    assert (again.changes, again.refusals) == (0, ())
