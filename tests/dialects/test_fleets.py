"""Fleets against the sandbox in both dialects: in parallel, one outcome for each, nothing done twice, nothing lost."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import attrs
import pytest

from tests.dialects.speech import Speech, gets
from tests.fleet.virtual_account import commands, duplicates, kinds, untracked
from tests.lifecycle.harness import virtual
from vpsorg_async import Failed, FleetPlan, Report, Server, Succeeded
from vpsorg_async.errors import ConfigurationError, OutcomeUnknownError, WaitTimeoutError
from vpsorg_async.events import CommandAnswered, FleetEvent
from vpsorg_async.fleet import StepKind
from vpsorg_async.plain import to_plain
from vpsorg_async.sandbox import Durations, Rule, faults

TIMEOUT = 900.0


def passwords(report: Report) -> list[str | None]:
    """The root password with each outcome that knows its server."""
    servers = [outcome.server for outcome in report.outcomes if isinstance(outcome, Succeeded | Failed)]
    return [None if server is None else server.password for server in servers]


@virtual
async def test_from_nothing_to_nothing(speech: Speech) -> None:
    """Created, rebooted, stopped, started and deleted, each once and in parallel."""
    async with speech.account() as (box, vps):
        made = await vps.fleet.create(speech.specs(12), timeout=TIMEOUT)
        ids = [server.id for server in made.servers]
        reports = [made]
        for operation in ("reboot", "stop", "start", "delete"):
            reports.append(await getattr(vps.fleet, operation)(ids, timeout=TIMEOUT))

        assert [kinds(report) for report in reports] == [{"Succeeded": 12}] * 5
        assert commands(box) == dict.fromkeys(("create", "reboot", "stop", "start", "delete"), 12)
        assert box.servers == ()
        assert [server.name for server in made.servers] == [spec.name for spec in speech.specs(12)]


ENDINGS = [
    faults.DropAfter(how="rst"),
    faults.HalfHeaders(),
    faults.HalfBody(),
    faults.Html(502, applied=True),
    faults.Reply(200, {"id": []}, applied=True),
    faults.CommitLater(5),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.do)
@virtual
async def test_creates_whose_answers_are_lost(speech: Speech, ending: Any) -> None:
    """However the answer is lost, the server is found by its name and adopted; none is created twice."""
    async with speech.account(Rule("create", ending, every=3)) as (box, vps):
        report = await vps.fleet.create(speech.specs(9), timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 9}
        assert sorted(outcome.how for outcome in report.succeeded) == ["adopted"] * 3 + ["created"] * 6
        assert (commands(box)["create"], duplicates(box)) == (9, [])


@pytest.mark.parametrize("seed", range(4))
@virtual
async def test_chaos(speech: Speech, seed: int) -> None:
    """Whatever goes wrong, every server that was made is in a report, and none was made or rebooted twice."""
    rules = [
        Rule("create", faults.DropAfter(), probability=0.15),
        Rule("create", faults.DropBefore(), probability=0.15),
        Rule("create", faults.Reply(503), probability=0.1),
        Rule("create", faults.HideCreated(10), probability=0.2),
        Rule("list", faults.Reply(500), probability=0.2),
        Rule("get", faults.DropBefore(), probability=0.2),
        Rule("reboot", faults.DropAfter(), probability=0.2),
        Rule("delete", faults.DropAfter(), probability=0.2),
        Rule(None, faults.RateLimit(1), probability=0.1),
    ]
    async with speech.account(*rules, seed=seed) as (box, vps):
        specs = speech.specs(15)
        made = await vps.fleet.create(specs, timeout=TIMEOUT)
        assert [outcome.key for outcome in made.outcomes] == [spec.name for spec in specs]
        assert (duplicates(box), untracked(made, box)) == ([], [])

        whole = await vps.fleet.ensure(specs, timeout=TIMEOUT)
        rebooted = await vps.fleet.reboot([server.id for server in whole.servers], timeout=TIMEOUT)
        names = [server.name for server in box.servers]

        assert len(names) == len(set(names))
        unknown = [outcome for outcome in rebooted.failed if isinstance(outcome.error, OutcomeUnknownError)]
        assert len(rebooted.succeeded) + len(unknown) == len(rebooted.outcomes)
        assert commands(box)["reboot"] <= len(rebooted.outcomes)


@virtual
async def test_ensure_completes(speech: Speech) -> None:
    """What exists is adopted, without a difference where it is as asked; a second run sends no change."""
    async with speech.account() as (box, vps):
        await vps.fleet.create(speech.specs(3), timeout=TIMEOUT)
        await vps.fleet.stop([box.servers[0].id], timeout=TIMEOUT)

        plan = await vps.fleet.ensure(speech.specs(5), dry_run=True)
        report = await vps.fleet.ensure(speech.specs(5), timeout=TIMEOUT)
        before = commands(box)
        again = await vps.fleet.ensure(speech.specs(5), timeout=TIMEOUT)

        assert sorted(step.kind.value for step in plan.steps) == ["create", "create", "keep", "keep", "start"]
        assert (kinds(report), kinds(again)) == ({"Succeeded": 5}, {"Succeeded": 5})
        assert [outcome.differences for outcome in again.succeeded] == [()] * 5
        assert commands(box) == before == {"create": 5, "stop": 1, "start": 1}


@virtual
async def test_rolling_reboot(speech: Speech) -> None:
    """Never more than two unavailable at once, each rebooted once, though no timestamp proves it."""
    async with speech.account() as (box, vps):
        ids = [server.id for server in box.world.add(7)]
        away: list[int] = []

        async def health(_: Any) -> bool:
            away.append(sum(server.status == "rebooting" for server in box.servers))
            return True

        report = await vps.fleet.rolling_reboot(ids, max_unavailable=2, health=health, timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 7}
        assert commands(box) == {"reboot": 7}
        assert max(away) <= 1


@virtual
async def test_a_stream_that_is_left(speech: Speech) -> None:
    """A run that is left early has every server in the report, as created, as failed or as never sent."""
    async with speech.account(options={"max_in_flight": 3}) as (box, vps):
        specs = speech.specs(30)
        async with vps.fleet.creating(specs, timeout=TIMEOUT) as run:
            async for _ in run:
                break

        report = run.report
        assert [outcome.key for outcome in report.outcomes] == [spec.name for spec in specs]
        assert (untracked(report, box), duplicates(box)) == ([], [])
        assert len(report.succeeded) >= 1


@virtual
async def test_a_stream_that_is_left_and_undone(speech: Speech) -> None:
    """``on_cancel="delete"`` deletes what was made."""
    async with speech.account() as (box, vps):
        async with vps.fleet.creating(speech.specs(10), timeout=TIMEOUT, on_cancel="delete") as run:
            async for _ in run:
                break

        assert (commands(box)["delete"], box.servers) == (10, ())


@virtual
async def test_the_hostname_is_the_name(provider: Speech) -> None:
    """This form has one name: a server is found by its spec's hostname, and two specs may not share one."""
    spec = provider.spec("web-1", hostname="w1.example.com")
    async with provider.account(Rule("create", faults.DropAfter(), times=1)) as (box, vps):
        (adopted,) = (await vps.fleet.create([spec], timeout=TIMEOUT)).succeeded
        (kept,) = (await vps.fleet.ensure([spec], timeout=TIMEOUT)).succeeded

        assert (adopted.key, adopted.how, kept.how) == ("web-1", "adopted", "adopted")
        assert [server.name for server in box.servers] == ["w1.example.com"]
        with pytest.raises(ConfigurationError, match=r"w1\.example\.com"):
            await vps.fleet.create([spec], timeout=TIMEOUT)
        with pytest.raises(ConfigurationError, match="more than once"):
            await vps.fleet.create([spec, attrs.evolve(spec, name="web-2")], timeout=TIMEOUT)


# returned once, whatever happens to the server afterwards


@virtual
async def test_passwords_are_handed_over(speech: Speech) -> None:
    """Each created server comes with its root password; what is shown or sent as JSON has none."""
    async with speech.account() as (_, vps):
        report = await vps.fleet.create(speech.specs(4), timeout=TIMEOUT)
        handed = passwords(report)

        if speech.dialect == "documented":
            assert handed == [None] * 4
            return
        assert len({password for password in handed if password}) == 4
        assert passwords(pickle.loads(pickle.dumps(report))) == handed
        for password in handed:
            assert str(password) not in repr(report) + str(report) + report.to_json()


@virtual
async def test_a_password_comes_with_the_answer_to_the_create(provider: Speech) -> None:
    """The event brings it before the server has booted, and shows it only to those who ask for it."""
    events: list[FleetEvent] = []
    async with provider.account() as (_, vps):
        report = await vps.fleet.create(provider.specs(2), timeout=TIMEOUT, on_event=events.append)

    answered = [event for event in events if isinstance(event, CommandAnswered)]
    early = {event.key: event.server.password for event in answered if event.server is not None}
    assert early == dict(zip([outcome.key for outcome in report.outcomes], passwords(report), strict=True))
    assert all(early.values())
    assert {str(event.server.status) for event in answered if event.server is not None} == {"provisioning"}
    shown = repr(answered) + str([to_plain(event) for event in answered])
    assert not any(str(password) in shown for password in early.values())


@virtual
async def test_passwords_survive_failed_waits(provider: Speech) -> None:
    """A server that is not ready in time keeps its password, in this report and in the one of the second try."""
    async with provider.account(durations=Durations(provisioning=120)) as (_, vps):
        late = await vps.fleet.create(provider.specs(2), timeout=60)
        handed = passwords(late)

        assert [type(outcome.error) for outcome in late.failed] == [WaitTimeoutError] * 2
        assert all(handed)
        assert passwords(await late.retry_failed()) == handed


@virtual
async def test_passwords_survive_ready_checks(provider: Speech) -> None:
    """The record that a check saw has no password; the outcome has that of the create, whether it passed or not."""

    def odd(server: Server) -> bool:
        return server.name.endswith("1")

    async with provider.account() as (_, vps):
        report = await vps.fleet.create(provider.specs(2), timeout=TIMEOUT, ready=odd, ready_timeout=5)

        assert [type(outcome.error) for outcome in report.failed] == [WaitTimeoutError]
        assert all(passwords(report))


@virtual
async def test_passwords_survive_a_break(provider: Speech) -> None:
    """A run that is left early has the passwords of the created servers."""
    async with provider.account() as (box, vps):
        async with vps.fleet.creating(provider.specs(4), timeout=TIMEOUT) as run:
            async for _ in run:
                break

        assert len(box.servers) == 4
        assert all(passwords(run.report))


# what it would cost


@virtual
async def test_a_dry_run_tells_the_price(speech: Speech) -> None:
    """Nothing is created; the plan sums up what the account's plans cost, exactly."""
    async with speech.account() as (box, vps):
        plan = await vps.fleet.create(speech.specs(3), dry_run=True)

        assert isinstance(plan, FleetPlan)
        assert (plan.price_monthly, plan.price_hourly) == (Decimal("30"), Decimal("0.045"))
        assert [step.kind for step in plan.steps] == [StepKind.CREATE] * 3
        assert str(plan).splitlines()[-1] == "price of what is created: 0.045 per hour, 30.00 per month"
        assert (box.ledger, {entry.method for entry in box.requests}) == ((), {"GET"})
        assert pickle.loads(pickle.dumps(plan)) == plan


@virtual
async def test_only_what_is_created_has_a_price(speech: Speech) -> None:
    """What exists costs nothing more; where nothing is created, no price is asked for."""
    async with speech.account() as (box, vps):
        box.world.add(name="web-000")
        some = await vps.fleet.ensure(speech.specs(2), dry_run=True)
        before = gets(box, "/api/v1/plans/")
        none = await vps.fleet.ensure(speech.specs(1), dry_run=True)

        assert some.price_monthly == Decimal("10")
        assert (none.price_monthly, none.price_hourly) == (Decimal(0), Decimal(0))
        assert "price" not in str(none)
        assert (before, gets(box, "/api/v1/plans/")) == (1, 1)
        assert (await vps.fleet.create([], dry_run=True)).steps == ()


UNREADABLE = [faults.Reply(403), faults.Reply(404), faults.Html(200), faults.Reply(200, [{"uuid": "other"}])]


@pytest.mark.parametrize("ending", UNREADABLE, ids=str)
@virtual
async def test_a_price_that_is_not_known(speech: Speech, ending: Any) -> None:
    """Plans that can't be read, or lack the requested one, do not prevent planning: the price is unknown."""
    async with speech.account(Rule("plans", ending)) as (_, vps):
        plan = await vps.fleet.create(speech.specs(2), dry_run=True)

        assert (plan.price_monthly, plan.price_hourly) == (None, None)
        assert plan.changes == 2
        assert str(plan).splitlines()[-1] == "price of what is created: unknown per hour, unknown per month"


@virtual
async def test_one_unknown_price_makes_the_total_unknown(documented: Speech) -> None:
    """A total that leaves servers out would be too low."""
    plans = [{"id": 1, "price_monthly": 10, "price_hourly": 0.015}, {"id": 2, "price_monthly": 20}]
    async with documented.account(Rule("plans", faults.Reply(200, plans))) as (_, vps):
        plan = await vps.fleet.create([documented.spec("a"), documented.spec("b", plan_id=2)], dry_run=True)

        assert (plan.price_monthly, plan.price_hourly) == (Decimal(30), None)


@virtual
async def test_a_dry_run_refuses_what_the_call_would(speech: Speech) -> None:
    """Names that are taken or given twice, and a real run without a timeout."""
    async with speech.account() as (box, vps):
        box.world.add(name="web-000")
        with pytest.raises(ConfigurationError, match="exist already: web-000"):
            await vps.fleet.create(speech.specs(2), dry_run=True)
        with pytest.raises(ConfigurationError, match="more than once"):
            await vps.fleet.create([speech.spec("a"), speech.spec("a")], dry_run=True)
        with pytest.raises(ConfigurationError, match="timeout"):
            await vps.fleet.create([speech.spec("a")])  # type: ignore[call-overload]
        assert box.ledger == ()
