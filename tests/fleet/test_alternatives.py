"""Other plans and locations after a refusal. The sandbox refuses plans and locations that it does not have."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fleet.virtual_account import account, commands, creates, kinds, specs, virtual
from vpsorg_async import Alternative, FleetSpec, Limits, ServerSpec, load_fleets
from vpsorg_async.errors import (
    BadRequestError,
    ConfigurationError,
    LimitError,
    OutcomeUnknownError,
    PaymentRequiredError,
    RequestError,
    Sent,
)
from vpsorg_async.fleet import Report
from vpsorg_async.fleet.alternatives import Alternatives, Choice, after
from vpsorg_async.plain import from_plain, to_plain
from vpsorg_async.sandbox import Rule, faults

TIMEOUT = 900.0
NO_PLAN = 99
"""A plan that the sandbox refuses: "Unknown plan"."""
OTHER = Alternative(plan_id=2, when="unknown plan")


def wanted(count: int, *alternatives: Alternative, plan: int = NO_PLAN) -> list[ServerSpec]:
    return [
        attrs.evolve(spec, plan_id=plan, location="us-west", alternatives=alternatives)
        for spec in specs(count)
    ]


def fleet(count: int, *alternatives: Alternative, plan: int = NO_PLAN) -> FleetSpec:
    return FleetSpec(
        name="web-{n:02}", count=count, plan_id=plan, os_id=5, location="us-west", alternatives=alternatives
    )


@virtual
async def test_an_alternative_follows_a_refusal() -> None:
    """The outcome says which was taken, and why; a second call finds nothing to do, and no difference."""
    async with account(options={"max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.ensure(wanted(4, OTHER), timeout=TIMEOUT)

        report.raise_for_failures()
        assert {server.plan.id for server in box.servers} == {2}
        taken = [outcome.alternative for outcome in report.succeeded]
        assert {one and (one.plan_id, one.location) for one in taken} == {(2, "us-west")}
        assert all(one is not None and "Unknown plan" in one.reason for one in taken)
        # remembered once it had worked: one refusal in all
        assert creates(box) == [400, 201, 201, 201, 201]
        assert [one is not None and one.reason.startswith("as for web-000: ") for one in taken] == [
            False,
            True,
            True,
            True,
        ]

        again = await vps.fleet.ensure(wanted(4, OTHER), timeout=TIMEOUT)
        assert [(outcome.how, outcome.differences) for outcome in again.succeeded] == [("adopted", ())] * 4
        other = await vps.fleet.ensure(wanted(4), timeout=TIMEOUT)
        assert all(outcome.differences for outcome in other.succeeded)


@virtual
async def test_a_fleet_with_alternatives() -> None:
    """`apply` creates them, and plans nothing afterwards; the plan is plain data."""
    async with account() as (box, vps):
        spec = fleet(3, Alternative(plan_id=1, location="mars", when="unknown plan"), OTHER)
        # the first alternative is refused for its location, and the second one is not for that
        report = await vps.fleet.apply(spec, timeout=TIMEOUT)
        assert kinds(report) == {"Failed": 3}
        assert "Unknown location" in str(report.failed[0].error)

        both = attrs.evolve(
            spec, alternatives=(*spec.alternatives[:1], Alternative(plan_id=2, when="UNKNOWN LOCATION"))
        )
        report = await vps.fleet.apply(both, timeout=TIMEOUT)
        report.raise_for_failures()
        assert {server.plan.id for server in box.servers} == {2}
        plan = await vps.fleet.plan(both)
        assert (plan.changes, [step.differences for step in plan.steps]) == (0, [()] * 3)
        assert from_plain(json.loads(json.dumps(to_plain(plan)))) == plan


@virtual
async def test_a_refusal_of_another_kind() -> None:
    """It fails as without alternatives; one bad name does not move the others."""
    refused = Rule("create", faults.Reply(400, body='{"detail": "this name is not allowed"}'), nth=1)
    async with account(refused, options={"max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.create(wanted(3, OTHER, plan=1), timeout=TIMEOUT)

        assert kinds(report) == {"Failed": 1, "Succeeded": 2}
        assert {server.plan.id for server in box.servers} == {1}
        assert {outcome.alternative for outcome in report.succeeded} == {None}


@virtual
async def test_an_alternative_that_is_refused_is_not_remembered() -> None:
    """Each of the others begins with its spec."""
    bad = Alternative(plan_id=98, when="unknown plan")
    async with account(options={"max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.create(wanted(3, bad), timeout=TIMEOUT)

        assert kinds(report) == {"Failed": 3}
        assert creates(box) == [400] * 6
        assert all(failure.alternative and failure.alternative.plan_id == 98 for failure in report.failed)


@virtual
async def test_what_worked_is_remembered_for_each_kind() -> None:
    """Specs that differ in anything but their names have their own first create, and their own alternative."""
    other = Alternative(plan_id=1, when="unknown plan")
    specs_of_two = [
        attrs.evolve(spec, os_id=3 if number % 2 else 5, alternatives=(other if number % 2 else OTHER,))
        for number, spec in enumerate(wanted(6))
    ]
    async with account(options={"max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.create(specs_of_two, timeout=TIMEOUT)

        report.raise_for_failures()
        assert [(server.os.id, server.plan.id) for server in box.servers] == [(5, 2), (3, 1)] * 3
        assert creates(box) == [400, 201, 400, 201, 201, 201, 201, 201]


@virtual
async def test_an_unknown_outcome_leads_to_none() -> None:
    """A create without an answer may have created a server, whatever the function says."""
    asked: list[RequestError] = []

    def always(error: Any) -> bool:
        asked.append(error)
        return True

    lost = Rule("create", faults.DropBefore())
    async with account(lost) as (box, vps):
        report = await vps.fleet.create(
            wanted(2, Alternative(plan_id=2, when=always), plan=1), timeout=TIMEOUT, settle=5
        )

        assert {type(failure.error) for failure in report.failed} == {OutcomeUnknownError}
        assert (len(creates(box)), asked) == (2, [])


@virtual
async def test_no_credit_leads_to_none() -> None:
    """A 402 ends the call, as always."""
    async with account(credit=0) as (box, vps):
        report = await vps.fleet.create(
            wanted(3, Alternative(plan_id=2, when=lambda error: True), plan=1), timeout=TIMEOUT
        )

        assert 402 in creates(box)
        assert not box.servers
        assert any(isinstance(failure.error, PaymentRequiredError) for failure in report.failed)


@virtual
async def test_a_function_of_the_error() -> None:
    """It gets the refusal; what it raises counts as no."""

    def broken(error: Any) -> bool:
        raise RuntimeError("a bug")

    def by_status(error: Any) -> bool:
        return isinstance(error, BadRequestError) and error.sent is Sent.REJECTED

    async with account() as (box, vps):
        # a coroutine is true, whatever it would return
        awaited = Alternative(plan_id=1, when=lambda error: _never(error))
        chosen = (awaited, Alternative(plan_id=1, when=broken), Alternative(plan_id=2, when=by_status))
        report = await vps.fleet.create(wanted(2, *chosen), timeout=TIMEOUT)

        report.raise_for_failures()
        assert {server.plan.id for server in box.servers} == {2}


@virtual
async def test_limits_count_the_price_of_the_alternative() -> None:
    """Plan 2 costs 0.030 per hour, and plan 1 0.015: one of two servers still fits."""
    locations = [
        attrs.evolve(
            spec, location="mars", alternatives=(Alternative(plan_id=2, location="us-west", when="unknown"),)
        )
        for spec in wanted(2, plan=1)
    ]
    async with account(options={"limits": Limits(max_hourly=0.05), "max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.create(locations, timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 1, "Failed": 1}
        assert isinstance(report.failed[0].error, LimitError)
        assert len(box.servers) == 1


@virtual
async def test_a_stuck_server_stays_if_the_limits_do_not_allow_the_alternative() -> None:
    """What follows it is what has worked last, and costs more: that is known before anything is deleted."""
    never = Rule("create", faults.SetStatus("provisioning", seconds=1e9), nth=1)
    options = {"limits": Limits(max_hourly=Decimal("0.090"))}
    async with account(never, options=options) as (box, vps):
        box.faults.add(Rule("create", faults.Reply(400, {"detail": "sold out"}), nth=4))
        chosen = Alternative(plan_id=2, when="sold out")
        report = await vps.fleet.create(wanted(5, chosen, plan=1), timeout=TIMEOUT, on_stuck="replace")

        (failure,) = report.failed
        assert "max_hourly" in failure.not_replaced
        assert commands(box) == {"create": 5}


@virtual
async def test_a_stuck_server_from_an_alternative_is_replaced() -> None:
    """On the same path: the alternative is remembered."""
    stuck = Rule("create", faults.SetStatus("provisioning", seconds=1e9), nth=2)
    async with account(stuck, options={"max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.create(wanted(5, OTHER), timeout=TIMEOUT, on_stuck="replace")

        report.raise_for_failures()
        assert commands(box) == {"create": 6, "delete": 1}
        assert creates(box).count(400) == 1
        assert len(report.replaced) == 1


def test_the_journal_of_a_run_with_alternatives(tmp_path: Path) -> None:
    """What was refused leaves nothing to take up."""

    @virtual
    async def test() -> None:
        async with account() as (box, vps):
            for _ in range(2):
                report: Report = await vps.fleet.ensure(
                    wanted(3, OTHER), timeout=TIMEOUT, journal=tmp_path / "fleet.db"
                )
                report.raise_for_failures()
            assert commands(box) == {"create": 3}

    test()


@virtual
async def test_a_single_create_has_no_alternatives() -> None:
    """It sends one create: that they would be ignored is said."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError, match="alternatives are for"):
            await vps.servers.create(wanted(1, OTHER)[0])
        assert box.requests == ()


@virtual
async def test_what_the_dialect_does_not_have() -> None:
    """An alternative that can't be sent is refused before anything is."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError):
            await vps.fleet.create(wanted(1, Alternative(location=7, when="x")), timeout=TIMEOUT)
        assert box.requests == ()


# -- as data --------------------------------------------------------------------------------------------------------

TOML = """
[[fleet]]
name = "web-{n}"
count = 2
plan_id = 99
os_id = 5
location = "us-west"

[[fleet.alternatives]]
plan_id = 2
when = "unknown plan"

[[fleet.alternatives]]
location = "us-east"
when = "no capacity"
"""


def test_in_a_file(tmp_path: Path) -> None:
    """They are read in order; what is wrong is named with its place."""
    file = tmp_path / "fleet.toml"
    file.write_text(TOML)
    (read,) = load_fleets(file)
    assert read.alternatives == (OTHER, Alternative(location="us-east", when="no capacity"))

    for line, other, problem in (
        ('when = "no capacity"', "", "needs a when"),
        ("plan_id = 2", 'plan_id = "2"', "expected an integer"),
        ("plan_id = 2", "plan = 2", "unknown: plan"),
        ("plan_id = 2\n", "", "another plan_id or location"),
    ):
        file.write_text(TOML.replace(line, other))
        with pytest.raises(ConfigurationError, match=rf"fleet\[0\]\.alternatives\[[01]\].*{problem}"):
            load_fleets(file)


def test_a_function_is_no_plain_data() -> None:
    """That is said, instead of losing it."""
    with pytest.raises(ConfigurationError, match="expected a string"):
        to_plain(fleet(2, Alternative(plan_id=2, when=lambda error: True)))


async def _never(error: Any) -> bool:
    return False


@pytest.mark.parametrize(
    "fields",
    [
        {"plan_id": 2},
        {"plan_id": 2, "when": " "},
        {"plan_id": 2, "when": None},
        {"when": "sold out"},
        {"plan_id": -2, "when": "sold out"},
        {"location": "", "when": "sold out"},
        {"plan_id": 2, "when": _never},
    ],
)
def test_bad_alternatives(fields: dict[str, Any]) -> None:
    """Each is refused when it is made."""
    with pytest.raises(ConfigurationError):
        Alternative(**fields)


@pytest.mark.parametrize("given", ["sold out", [1], {"plan_id": 2}, None, 5])
def test_what_is_no_alternative(given: Any) -> None:
    """Specs and fleets refuse it."""
    with pytest.raises(ConfigurationError, match="alternatives is"):
        ServerSpec(name="a", plan_id=1, os_id=5, location="us-west", alternatives=given)
    with pytest.raises(ConfigurationError, match="alternatives is"):
        FleetSpec(name="a-{n}", count=1, plan_id=1, os_id=5, location="us-west", alternatives=given)


def test_which_follows() -> None:
    """In order, and never one before the one that was refused."""
    (spec,) = wanted(
        1, OTHER, Alternative(plan_id=3, when="gone"), Alternative(plan_id=4, when="unknown plan")
    )

    def refused(text: str) -> BadRequestError:
        return BadRequestError(text, status=400)

    first = Alternatives().first(spec)
    second = after(spec, first, refused("Unknown plan 99"))
    assert (first.index, first.spec.alternatives, first.taken) == (-1, (), None)
    assert second is not None
    assert (second.index, second.spec.plan_id) == (0, 2)
    third = after(spec, second, refused("unknown PLAN 2"))
    assert third is not None
    assert third.spec.plan_id == 4
    assert after(spec, third, refused("unknown plan 4")) is None
    assert after(spec, first, refused("another reason")) is None
    assert after(spec, first, BadRequestError("unknown plan", status=400, sent=Sent.MAYBE)) is None
    assert isinstance(first, Choice)
