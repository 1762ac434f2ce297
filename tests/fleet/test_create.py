"""Creating a fleet over connections that lose answers: one server for each spec, one outcome for each server."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any

import pytest

from tests.fleet.virtual_account import (
    account,
    accounted,
    client,
    commands,
    committed,
    creates,
    duplicates,
    kinds,
    specs,
    untracked,
    virtual,
)
from vpsorg_async.errors import (
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    ServiceError,
    WaitTimeoutError,
)
from vpsorg_async.fleet import CommandAnswered, CommandLost, CommandSent, ServerAdopted, ServerSettled
from vpsorg_async.http.events import AttemptFailed, RequestSent
from vpsorg_async.lifecycle.account import Account
from vpsorg_async.sandbox import Rule, Sandbox, faults

TIMEOUT = 900.0
SETTLE = 15.0
LOSSES = (
    Rule("create", faults.DropAfter(), probability=0.2),
    # of the four fifths that the first rule leaves, and of the seven tenths that both leave
    Rule("create", faults.DropBefore(), probability=0.1 / 0.8),
    Rule("create", faults.Html(502), probability=0.1 / 0.7),
)


# -- lost answers ---------------------------------------------------------------------------------------------------


@virtual
async def test_two_hundred_through_a_line_that_loses_answers() -> None:
    """20 % lost after, 10 % before, 10 % a proxy's 502: no duplicates, none untracked; ensure completes the fleet."""
    wanted = specs(200)
    async with account(*LOSSES) as (box, vps):
        report = await vps.fleet.create(wanted, timeout=TIMEOUT)

        assert all(armed.fired > 10 for armed in box.faults.rules)
        assert len(creates(box)) == 200
        assert accounted(report, wanted)
        assert (duplicates(box), untracked(report, box)) == ([], [])
        assert {server.name for server in report.servers} == set(committed(box).values())
        assert all(isinstance(failure.error, OutcomeUnknownError) for failure in report.failed)
        assert {outcome.how for outcome in report.succeeded} == {"created", "adopted"}

        box.faults.clear()
        whole = await vps.fleet.ensure(wanted, timeout=TIMEOUT)

        assert accounted(whole, wanted)
        assert len(whole.succeeded) == len(box.servers) == 200
        assert duplicates(box) == []

        before = (len(box.ledger), len(creates(box)))
        again = await vps.fleet.ensure(wanted, timeout=TIMEOUT)

        assert len(again.succeeded) == 200
        assert (len(box.ledger), len(creates(box))) == before


@pytest.mark.parametrize(
    "fault",
    [
        faults.DropAfter(),
        faults.DropAfter(how="rst"),
        faults.HalfHeaders(),
        faults.HalfBody(),
        faults.MalformedChunk(),
        faults.NeverAnswer(applied=True),
        faults.Garbage(applied=True),
        faults.Html(500, applied=True),
        faults.Html(502, applied=True),
        faults.Html(504, applied=True),
        faults.Html(200, applied=True),
        faults.Reply(201, {"id": "?"}, applied=True),
        faults.Redirect("/elsewhere", 302, applied=True),
    ],
    ids=lambda fault: f"{fault.do}-{getattr(fault, 'status', getattr(fault, 'how', ''))}",
)
@virtual
async def test_a_create_that_worked_is_adopted(fault: faults.Action) -> None:
    """However the response was lost: the create was sent once, and the one server of its name is adopted."""
    async with account(Rule("create", fault, times=1)) as (box, vps):
        report = await vps.fleet.create(specs(1), timeout=TIMEOUT)

        (outcome,) = report.succeeded
        assert outcome.how == "adopted"
        assert outcome.attempts == 1
        assert [server.id for server in report.servers] == list(committed(box))
        assert outcome.server is not None
        assert outcome.server.status == "active"
        assert len(creates(box)) == 1


@virtual
async def test_a_commit_within_the_window_is_adopted() -> None:
    """A create that is applied while the search still runs is found."""
    async with account(Rule("create", faults.CommitLater(SETTLE - 2))) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT)

        assert [outcome.how for outcome in report.succeeded] == ["adopted"] * 3
        assert (len(box.servers), len(creates(box))) == (3, 3)


@virtual
async def test_a_commit_beyond_the_window_is_not_silent() -> None:
    """A create that is applied later is reported as unknown, with name, time and advice; ensure then finds it."""
    wanted = specs(3)
    async with account(Rule("create", faults.CommitLater(SETTLE + 5))) as (box, vps):
        report = await vps.fleet.create(wanted, timeout=TIMEOUT, settle=SETTLE)

        assert len(report.failed) == 3
        assert untracked(report, box) == []
        for failure in report.failed:
            assert isinstance(failure.error, OutcomeUnknownError)
            assert failure.error.subject == failure.key
            assert isinstance(failure.error.reason, ServiceError)
            assert failure.error.sent_at is not None
            for word in (str(failure.key), f"{failure.error.sent_at:%Y-%m-%d %H:%M}", "ensure"):
                assert word in str(failure.error)

        await asyncio.sleep(60)
        whole = await report.retry_failed()

        assert [outcome.how for outcome in whole.succeeded] == ["adopted"] * 3
        assert (len(box.servers), len(creates(box))) == (3, 3)


@virtual
async def test_the_window_is_the_callers() -> None:
    """A longer settle finds what a shorter one misses."""
    async with account(Rule("create", faults.CommitLater(50))) as (box, vps):
        report = await vps.fleet.create(specs(1), timeout=TIMEOUT, settle=60)

        assert [outcome.how for outcome in report.succeeded] == ["adopted"]
        assert len(box.servers) == 1


@virtual
async def test_a_server_that_is_not_visible_yet() -> None:
    """A server that neither the list nor a read by id shows for a while is waited for all the same."""
    async with account(Rule("create", faults.HideCreated(30))) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT)

        assert [outcome.how for outcome in report.succeeded] == ["created"] * 3
        assert len(box.servers) == 3


@virtual
async def test_a_lost_server_that_is_not_visible_yet() -> None:
    """A lost and hidden server is found as soon as the list shows it within the window."""
    lost = Rule("create", (faults.DropAfter(), faults.HideCreated(SETTLE - 3)), nth=2)
    async with account(lost) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT)

        assert [outcome.how for outcome in report.succeeded] == ["created", "adopted", "created"]
        assert len(box.servers) == 3


def takes_the_name(box: Sandbox, name: str | None = None) -> Any:
    """A hook by which another client creates a server of the same, or that, name as soon as a response is lost."""

    def hook(event: object) -> None:
        if isinstance(event, CommandLost):
            box.world.add(name=name or str(event.key))

    return hook


@pytest.mark.parametrize(
    ("name", "adopted"), [("web-0000", False), ("web-00", False), ("web-001", False), ("WEB-000", True)]
)
@virtual
async def test_only_a_server_of_the_name_is_adopted(name: str, adopted: bool) -> None:
    """Only a server of exactly this name is adopted, in any case of letters: services store names in lower case."""
    async with account(Rule("create", faults.DropBefore())) as (box, vps):
        report = await vps.fleet.create(specs(1), timeout=TIMEOUT, on_event=takes_the_name(box, name))

        (there,) = box.servers
        if adopted:
            assert [server.id for server in report.servers] == [there.id]
        else:
            (failure,) = report.failed
            assert isinstance(failure.error, OutcomeUnknownError)
            assert failure.error.candidates == ()


@virtual
async def test_two_servers_of_the_name() -> None:
    """Another client took the name meanwhile: both servers are named, none is adopted, none is deleted."""
    async with account(Rule("create", faults.DropAfter(), nth=2)) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT, on_event=takes_the_name(box))

        (failure,) = report.failed
        ids = {server.id for server in box.servers if server.name == "web-001"}
        assert isinstance(failure.error, OutcomeUnknownError)
        assert set(failure.error.candidates) == ids
        assert all(str(number) in str(failure.error) for number in ids)
        assert len(box.servers) == 4
        assert commands(box)["delete"] == 0


@virtual
async def test_what_was_there_before_is_never_adopted() -> None:
    """A server that existed before, and is renamed to the name during the search, is not adopted."""
    async with account(Rule("create", faults.DropBefore())) as (box, vps):
        (other,) = box.world.add(name="other")
        call = asyncio.create_task(vps.fleet.create(specs(1), timeout=TIMEOUT))
        await asyncio.sleep(0.1)
        await vps.servers.update(other.id, name="web-000")
        report = await call

        (failure,) = report.failed
        assert isinstance(failure.error, OutcomeUnknownError)
        assert failure.error.candidates == ()
        assert failure.server_id is None


@virtual
async def test_a_list_that_fails_for_a_while() -> None:
    """The account can't be read during the whole window: the search goes on until it can."""
    async with account(Rule("create", faults.DropAfter(), nth=1)) as (box, vps):
        hook = blinding(box, faults.Html(503), times=6)
        report = await vps.fleet.create(specs(2), timeout=TIMEOUT, settle=2, on_event=hook)

        assert box.faults.rules[-1].fired == 6
        assert {outcome.how for outcome in report.succeeded} == {"created", "adopted"}
        assert len(box.servers) == 2


@virtual
async def test_a_search_that_has_ended_costs_nothing() -> None:
    """Once the lost server is found, the account is polled as rarely as for any other wait."""
    polls: list[int] = []
    for rules in ((), (Rule("create", faults.DropAfter(), nth=2),)):
        async with account(*rules) as (box, vps):
            await vps.fleet.create(specs(3), timeout=TIMEOUT)
            polls.append(sum(entry.method == "GET" for entry in box.requests))

    without, with_search = polls
    assert with_search <= without + 10


@virtual
async def test_a_list_that_never_works_again() -> None:
    """The account can't be read until the timeout: the outcome is unknown, and the error says why."""
    async with account(Rule("create", faults.DropAfter(), nth=1)) as (box, vps):
        hook = blinding(box, faults.Html(503))
        report = await vps.fleet.create(specs(1), timeout=120, on_event=hook)

        (failure,) = report.failed
        assert isinstance(failure.error, OutcomeUnknownError)
        assert "503" in str(failure.error)
        assert 120 <= failure.seconds < 200
        assert untracked(report, box) == []


def blinding(
    box: Sandbox, fault: faults.Action, times: int | None = None, *, reads: tuple[str, ...] = ("list",)
) -> Any:
    """A hook by which lists, or all ``reads``, fail from the first lost answer on."""

    def hook(event: object) -> None:
        if isinstance(event, CommandLost):
            box.faults.add(*(Rule(read, fault, times=times) for read in reads))

    return hook


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError)])
@virtual
async def test_a_search_that_is_forbidden(status: int, error: type[Exception]) -> None:
    """Once reads of the account are forbidden, search and waits end immediately; every server has an outcome."""
    async with account(Rule("create", faults.DropAfter(), nth=2)) as (box, vps):
        hook = blinding(box, faults.Reply(status), reads=("list", "get"))
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT, on_event=hook)

        assert [type(outcome.error) for outcome in report.failed] == [error, OutcomeUnknownError, error]
        assert untracked(report, box) == []
        assert report.seconds < 10


@pytest.mark.parametrize("body", [{"detail": "No."}, "<html>challenge</html>"], ids=["the API", "a gateway"])
@virtual
async def test_a_search_where_only_lists_are_forbidden(body: Any) -> None:
    """The waits go on by id; the search, which needs the list, ends with the API's 403 but survives a gateway's 403."""
    async with account(Rule("create", faults.DropAfter(), nth=2)) as (box, vps):
        hook = blinding(box, faults.Reply(403, body))
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT, on_event=hook)

        assert [outcome.key for outcome in report.succeeded] == ["web-000", "web-002"]
        (failure,) = report.failed
        assert isinstance(failure.error, OutcomeUnknownError)
        assert (failure.seconds < 10) == isinstance(body, dict)
        assert untracked(report, box) == []


# -- refusals -------------------------------------------------------------------------------------------------------


class Wire:
    """The order of requests sent and responses read, as the client itself saw it."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def left_after(self, status: int) -> int:
        """How many creates left after the first answer of that status had been read."""
        read = next(
            index
            for index, event in enumerate(self.events)
            if isinstance(event, AttemptFailed) and event.status == status
        )
        rest = self.events[read + 1 :]
        return sum(isinstance(event, RequestSent) and event.operation == "create" for event in rest)


@virtual
async def test_credit_for_seven_of_twenty() -> None:
    """7 succeed, the rest fails or is skipped, and no POST leaves after the first 402 has been read."""
    wanted, wire = specs(20), Wire()
    options = {"max_in_flight": 4, "on_event": wire.events.append}
    async with account(credit=7, latency=0.05, options=options) as (box, vps):
        report = await vps.fleet.create(wanted, timeout=TIMEOUT)

        assert accounted(report, wanted)
        assert len(report.succeeded) == len(box.servers) == 7
        assert {type(failure.error) for failure in report.failed} == {PaymentRequiredError}
        assert len(report.failed) + len(report.skipped) == 13
        assert len(report.skipped) >= 20 - 7 - 4
        assert all("Insufficient credits" in skipped.reason for skipped in report.skipped)
        assert wire.left_after(402) == 0
        assert creates(box).count(402) == len(report.failed)
        assert untracked(report, box) == []


@pytest.mark.parametrize(
    ("rule", "busy"),
    [
        pytest.param(Rule("create", faults.RateLimit(2), times=3), 0, id="held back by a 429"),
        pytest.param(Rule("get", faults.Delay(5)), 4, id="queued behind other calls"),
    ],
)
@virtual
async def test_a_post_that_has_not_left_is_kept_back(rule: Rule, busy: int) -> None:
    """A POST that is queued behind a busy slot does not leave after a 402."""
    wire, loop = Wire(), asyncio.get_running_loop()
    options = {"max_in_flight": 6, "on_event": wire.events.append}
    async with account(rule, credit=2, latency=0.2, options=options) as (box, vps):
        (other,) = box.world.add()
        others = [asyncio.create_task(vps.servers.get(other.id)) for _ in range(busy)]
        report = await vps.fleet.create(specs(12), timeout=TIMEOUT)

        assert len(report.succeeded) == len(box.servers) - 1 == 2
        assert wire.left_after(402) == 0
        assert len(report.skipped) > 6
        await asyncio.gather(*others)
        # a POST that was kept back occupies no slot either
        began = loop.time()
        await asyncio.gather(*(vps.servers.list() for _ in range(6)))
        assert loop.time() - began < 0.3


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError)])
@virtual
async def test_forbidden_in_the_middle(status: int, error: type[Exception]) -> None:
    """When a token is revoked or lacks the right, creates that have not left do not leave."""
    wanted, wire = specs(20), Wire()
    options = {"max_in_flight": 4, "on_event": wire.events.append}
    async with account(latency=0.05, options=options) as (box, vps):
        answered: list[object] = []

        def hook(event: object) -> None:
            answered.extend([event] if isinstance(event, CommandAnswered) else [])
            if len(answered) == 5 and not box.faults.rules:
                box.faults.add(Rule("create", faults.Reply(status)))

        report = await vps.fleet.create(wanted, timeout=TIMEOUT, on_event=hook)

        assert accounted(report, wanted)
        assert 5 <= len(report.succeeded) == len(box.servers) < 9
        assert {type(failure.error) for failure in report.failed} == {error}
        assert wire.left_after(status) == 0
        assert len(report.skipped) >= 8


@virtual
async def test_a_bad_spec_spoils_only_itself() -> None:
    """A spec that the API refuses fails alone: all others settle."""
    async with account(Rule("create", faults.Reply(400, {"location": ["Unknown."]}), nth=3)) as (box, vps):
        report = await vps.fleet.create(specs(5), timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 4, "Failed": 1}
        assert isinstance(report.failed[0].error, BadRequestError)
        assert len(box.servers) == 4


# -- modes ----------------------------------------------------------------------------------------------------------


@virtual
async def test_stop_at_the_first_failure() -> None:
    """on_failure="stop": after a failure no further create leaves; those in flight are still waited for."""
    wire = Wire()
    options = {"max_in_flight": 2, "on_event": wire.events.append}
    async with account(Rule("create", faults.Reply(400), nth=3), latency=0.05, options=options) as (box, vps):
        report = await vps.fleet.create(specs(10), timeout=TIMEOUT, on_failure="stop")

        assert wire.left_after(400) == 0
        assert len(report.failed) == 1
        assert len(report.succeeded) == len(box.servers) == len(creates(box)) - 1
        assert all(f"because {report.failed[0].key} failed" in skipped.reason for skipped in report.skipped)


@pytest.mark.parametrize(
    ("on_failure", "ended", "deleted"),
    [
        ("continue", {"Succeeded": 4, "Failed": 1}, 4),
        ("stop", {"Failed": 1, "Skipped": 4}, 0),
    ],
)
@virtual
async def test_a_delete_that_is_refused(on_failure: Any, ended: dict[str, int], deleted: int) -> None:
    """Unless the first failure ends the call, deletes do not wait for each other, and a refused one ends no other."""
    async with account(Rule("delete", faults.Reply(400), nth=1)) as (box, vps):
        ids = [server.id for server in box.world.add(5)]
        report = await vps.fleet.delete(ids, timeout=TIMEOUT, on_failure=on_failure)

        assert kinds(report) == ended
        assert commands(box)["delete"] == deleted
        assert len(box.servers) == 5 - deleted


@virtual
async def test_fewer_than_needed_are_deleted_again() -> None:
    """min_count not reached: only servers that the call created are deleted, and the report says so."""
    async with account(credit=3) as (box, vps):
        (other,) = box.world.add(name="other")
        report = await vps.fleet.create(specs(5), timeout=TIMEOUT, min_count=4)

        assert report.rolled_back
        assert report.succeeded == ()
        assert [server.id for server in box.servers] == [other.id]
        assert commands(box) == {"create": 3, "delete": 3}
        for failure in report.failed[:3]:
            assert failure.server_id in committed(box)
            assert "only 3 of at least 4" in str(failure.error)


@virtual
async def test_enough_are_kept() -> None:
    """min_count reached: nothing is deleted."""
    async with account(credit=3) as (box, vps):
        report = await vps.fleet.create(specs(5), timeout=TIMEOUT, min_count=3)

        assert not report.rolled_back
        assert len(report.succeeded) == len(box.servers) == 3


@virtual
async def test_a_roll_back_that_fails_is_told() -> None:
    """A server that could not be deleted again is named as one that may still be charged for."""
    async with account(Rule("delete", faults.Reply(400), nth=1), credit=2) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT, min_count=3)

        told = [failure for failure in report.failed if "may still be charged for" in str(failure.error)]
        assert [failure.server_id for failure in told] == [server.id for server in box.servers]
        assert len(told) == 1


@virtual
async def test_a_roll_back_is_bounded() -> None:
    """A roll-back that does not finish stops after 30 s, and each server that may remain is named."""
    async with account(Rule("delete", faults.NeverAnswer()), credit=2) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT, min_count=3)

        told = [failure for failure in report.failed if "may still be charged for" in str(failure.error)]
        assert {failure.server_id for failure in told} == {server.id for server in box.servers}
        assert asyncio.get_running_loop().time() < 300 + 31


@virtual
async def test_what_is_gone_already_counts_as_deleted() -> None:
    """A roll-back counts a server that is already gone as deleted."""
    async with account(Rule("delete", faults.Vanish()), credit=2) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=TIMEOUT, min_count=3)

        assert report.rolled_back
        assert box.servers == ()
        assert not any("charged" in str(failure.error) for failure in report.failed)


@virtual
async def test_without_waiting() -> None:
    """wait=False returns as soon as all are acknowledged, with the servers as they are then, and polls no more."""
    async with account(Rule("create", faults.DropAfter(), nth=2)) as (box, vps):
        report = await vps.fleet.create(specs(4), timeout=TIMEOUT, wait=False)
        polled = len(box.requests)
        await asyncio.sleep(300)

        assert [outcome.how for outcome in report.succeeded] == ["created", "adopted", "created", "created"]
        assert {str(server.status) for server in report.servers} == {"provisioning"}
        assert len(box.requests) == polled
        assert len(box.servers) == 4


@virtual
async def test_each_server_has_its_own_timeout() -> None:
    """A server that is too slow fails alone, with its id and its timeline; the same wait can be resumed."""
    async with account(Rule("create", faults.SetStatus("provisioning", seconds=2000), nth=2)) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=1000)

        (failure,) = report.failed
        assert isinstance(failure.error, WaitTimeoutError)
        assert failure.server_id in committed(box)
        assert [seen.status for seen in failure.timeline] == ["provisioning"]
        assert 1000 <= failure.seconds < 1010

        whole = await report.retry_failed()

        assert [outcome.how for outcome in whole.succeeded] == ["created", "adopted", "created"]
        assert commands(box) == {"create": 3}


@virtual
async def test_the_timeout_counts_from_the_command() -> None:
    """The timeout of a lost create includes the search for it."""
    lost = Rule("create", (faults.DropAfter(), faults.HideCreated(10)))
    async with account(lost) as (_, vps):
        report = await vps.fleet.create(specs(1), timeout=60)

        (failure,) = report.failed
        assert isinstance(failure.error, WaitTimeoutError)
        assert failure.server is not None
        assert failure.seconds < 66


@virtual
async def test_trying_again_creates_what_is_missing() -> None:
    """retry_failed of a create: refused ones are created, unknown ones adopted or created, the rest is left alone."""
    wanted = specs(6)
    rules = [
        Rule("create", faults.Reply(400), nth=2),
        Rule("create", faults.DropBefore(), nth=3),
        Rule("create", faults.CommitLater(60), nth=3),
    ]
    async with account(*rules, options={"max_in_flight": 1}) as (box, vps):
        report = await vps.fleet.create(wanted, timeout=TIMEOUT)
        assert kinds(report) == {"Succeeded": 3, "Failed": 3}

        whole = await report.retry_failed()

        assert accounted(whole, wanted)
        assert kinds(whole) == {"Succeeded": 6}
        assert len(box.servers) == 6
        assert whole.operation == "create"
        assert whole.seconds > report.seconds
        assert kinds(await whole.retry_failed()) == {"Succeeded": 6}
        assert len(box.servers) == 6


# -- what is reported -----------------------------------------------------------------------------------------------


@virtual
async def test_events_come_in_order() -> None:
    """Each server has its events once and in order: sent, then answered or lost and adopted, then settled."""
    events: list[Any] = []
    async with account(Rule("create", faults.DropAfter(), nth=2), credit=4) as (box, vps):
        report = await vps.fleet.create(specs(5), timeout=TIMEOUT, on_event=events.append)

        course = {
            outcome.key: [type(event) for event in events if event.key == outcome.key]
            for outcome in report.outcomes
        }
        found = [CommandSent, CommandLost, ServerAdopted, ServerSettled]
        answered = [CommandSent, CommandAnswered, ServerSettled]
        refused = [CommandSent, ServerSettled]
        assert sorted(course.values(), key=str) == sorted(
            [found, answered, answered, answered, refused], key=str
        )
        settled = {event.key: event.outcome for event in events if isinstance(event, ServerSettled)}
        assert [settled[outcome.key] for outcome in report.outcomes] == list(report.outcomes)
        ids = {event.server_id for event in events if isinstance(event, CommandAnswered | ServerAdopted)}
        assert ids == set(committed(box))


@virtual
async def test_nothing_is_said_to_be_sent_that_was_not() -> None:
    """A spec that was kept back settles without any event about sending."""
    events: list[Any] = []
    async with account(credit=0, latency=0.1, options={"max_in_flight": 2}) as (box, vps):
        report = await vps.fleet.create(specs(6), timeout=TIMEOUT, on_event=events.append)

        sent = {event.key for event in events if isinstance(event, CommandSent)}
        assert sent == {failure.key for failure in report.failed}
        assert len(sent) == len(creates(box))


@virtual
async def test_a_hook_that_fails_changes_nothing() -> None:
    """An exception of the hook is logged; every server settles as without it."""

    def hook(event: object) -> None:
        raise RuntimeError("the display is gone")

    async with account(Rule("create", faults.DropAfter(), nth=2)) as (box, vps):
        report = await vps.fleet.create(specs(4), timeout=TIMEOUT, on_event=hook)

        assert kinds(report) == {"Succeeded": 4}
        assert len(box.servers) == 4


@virtual
async def test_the_stream_and_the_report_agree() -> None:
    """Every outcome comes once through the stream, as it settles; the report has the same ones in order."""
    wanted = specs(30)
    async with account(*LOSSES) as (_, vps):
        settled: list[Any] = []
        async with vps.fleet.creating(wanted, timeout=TIMEOUT) as run:
            async for outcome in run:
                settled.append(outcome)
                assert outcome in run.report.outcomes
                assert len(run.report.outcomes) >= len(settled)

        assert accounted(run.report, wanted)
        assert sorted(settled, key=lambda outcome: str(outcome.key)) == list(run.report.outcomes)
        assert [outcome async for outcome in run] == []


@virtual
async def test_a_real_report_can_be_stored() -> None:
    """A report with errors of all kinds is the same after a round trip through JSON and pickle."""
    rules = [
        Rule("create", faults.DropBefore(), nth=1),
        Rule("create", faults.Reply(400, {"name": ["Taken."]}), nth=2),
        Rule("create", faults.SetStatus("suspended"), nth=2),
    ]
    async with account(*rules, credit=4, options={"max_in_flight": 1}) as (_, vps):
        report = await vps.fleet.create(specs(9), timeout=TIMEOUT)

        copy = pickle.loads(pickle.dumps(report))

        assert copy.to_json() == report.to_json()
        assert [type(outcome) for outcome in copy.outcomes] == [type(outcome) for outcome in report.outcomes]
        told = [row.get("error") for row in json.loads(report.to_json())["outcomes"]]
        for error in (
            "OutcomeUnknownError",
            "BadRequestError",
            "UnexpectedStatusError",
            "PaymentRequiredError",
        ):
            assert error in told
        with pytest.raises(ConfigurationError):
            await copy.retry_failed()


# -- a client that is closed meanwhile ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(faults.Delay(5, after=True), id="in flight"),
        pytest.param(faults.DropAfter(), id="looked for"),
        pytest.param(faults.Delay(0), id="waited for"),
        pytest.param(faults.RateLimit(30), id="held back"),
    ],
)
@virtual
async def test_closing_the_client_ends_the_call(fault: faults.Action) -> None:
    """In every phase, closing the client ends the call with an outcome for each spec, and no server is lost."""
    wanted = specs(3)
    hidden = Rule("list", faults.Html(503))
    async with account(Rule("create", fault)) as (box, _):
        async with client(box) as closing:
            call = asyncio.create_task(closing.fleet.create(wanted, timeout=TIMEOUT))
            await asyncio.sleep(0.5)
            box.faults.add(hidden)
            await asyncio.sleep(2)
        async with asyncio.timeout(60):
            report = await call

        assert accounted(report, wanted)
        assert report.succeeded == ()
        assert untracked(report, box) == []
        for failure in report.failed:
            assert isinstance(failure.error, OutcomeUnknownError | ClientClosedError)


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "options", "word"),
    [
        (specs(1)[0], {}, "list"),
        (None, {}, "list"),
        (5, {}, "list"),
        ("web-01", {}, "list"),
        ("", {}, "list"),
        (b"", {}, "list"),
        ([{"name": "web-01"}], {}, "ServerSpec"),
        (["web-01"], {}, "ServerSpec"),
        ([*specs(2), specs(2)[1]], {}, "web-001"),
        (specs(1), {"timeout": 0}, "timeout"),
        (specs(1), {"timeout": -1}, "timeout"),
        (specs(1), {"timeout": float("inf")}, "timeout"),
        (specs(1), {"timeout": "60"}, "timeout"),
        (specs(1), {"timeout": None}, "timeout"),
        (specs(1), {"timeout": True}, "timeout"),
        (specs(1), {"settle": -1}, "settle"),
        (specs(1), {"settle": float("nan")}, "settle"),
        (specs(1), {"on_failure": "halt"}, "on_failure"),
        (specs(1), {"on_cancel": True}, "on_cancel"),
        (specs(1), {"on_event": "print"}, "on_event"),
        (specs(1), {"on_event": asyncio.sleep}, "on_event"),
        (specs(1), {"min_count": 0}, "min_count"),
        (specs(1), {"min_count": True}, "min_count"),
        (specs(1), {"min_count": 1.0}, "min_count"),
        (specs(2), {"min_count": 3}, "min_count"),
        (specs(1), {"dry_run": True, "timeout": -1}, "timeout"),
        (specs(1), {"dry_run": True, "on_cancel": "keep"}, "on_cancel"),
    ],
)
@virtual
async def test_bad_input_sends_nothing(given: Any, options: dict[str, Any], word: str) -> None:
    """The error names the mistake, and is raised before any request."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError, match=word):
            await vps.fleet.create(given, **{"timeout": TIMEOUT, **options})

        assert box.requests == ()


@virtual
async def test_nothing_asked_for() -> None:
    """An empty list is an empty report, and no request."""
    async with account() as (box, vps):
        report = await vps.fleet.create([], timeout=TIMEOUT)

        assert report.outcomes == ()
        report.raise_for_failures()
        assert box.requests == ()


@virtual
async def test_names_that_are_taken() -> None:
    """A taken name is refused before any POST, since a lost create can only be found by its name; all are listed."""
    async with account() as (box, vps):
        box.world.add(name="web-001")
        box.world.add(name="web-003")
        with pytest.raises(ConfigurationError, match=r"web-001, web-003; nothing was created"):
            await vps.fleet.create(specs(5), timeout=TIMEOUT)

        assert creates(box) == []


@virtual
async def test_a_name_whose_server_is_gone_is_free() -> None:
    """A list that lags behind still shows the server, which this client has deleted and seen go."""
    async with account() as (box, vps):
        (old,) = box.world.add(name="web-000")
        await vps.servers.delete(old.id)
        await vps.wait_until(old.id, "gone", timeout=TIMEOUT)
        box.world.lag(3600, lasting=7200)
        shown = await vps.servers.list()
        report = await vps.fleet.create(specs(1), timeout=TIMEOUT, wait=False)

        assert [server.id for server in shown] == [old.id]
        report.raise_for_failures()
        assert commands(box) == {"delete": 1, "create": 1}


@virtual
async def test_an_answer_that_names_a_server_of_the_account() -> None:
    """It was there before, and so is not the one that was created: the create is in doubt, and is searched for."""
    async with account() as (box, vps):
        (other,) = box.world.add(name="db-000")
        box.faults.add(Rule("create", faults.OddField("id", other.id), times=1))
        report = await vps.fleet.create(specs(1), timeout=TIMEOUT)

        (outcome,) = report.succeeded
        assert (outcome.how, len(box.servers)) == ("adopted", 2)
        assert outcome.server is not None
        assert outcome.server.id != other.id
        assert commands(box) == {"create": 1}


def test_an_answer_that_names_a_server_of_a_very_large_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the client has forgotten that server since it was listed."""
    monkeypatch.setattr(Account, "LIMIT", 2)

    @virtual
    async def test() -> None:
        async with account() as (box, vps):
            others = box.world.add(5, name="db")
            box.faults.add(Rule("create", faults.OddField("id", others[0].id), times=1))
            report = await vps.fleet.create(specs(1), timeout=TIMEOUT)

            (outcome,) = report.succeeded
            assert (outcome.how, len(box.servers)) == ("adopted", 6)
            assert outcome.server is not None
            assert outcome.server.name == "web-000"

    test()


@virtual
async def test_an_account_that_can_not_be_read_first() -> None:
    """Without the first list nothing is created: the error of the list is raised."""
    async with account(Rule("list", faults.Html(503))) as (box, vps):
        with pytest.raises(ServiceError):
            await vps.fleet.create(specs(3), timeout=TIMEOUT)

        assert creates(box) == []


@virtual
async def test_two_calls_for_the_same_names() -> None:
    """Two concurrent calls would each find the names missing: the second is refused; each server is created once."""
    async with account(latency=0.2) as (box, vps):
        first = asyncio.create_task(vps.fleet.ensure(specs(5), timeout=TIMEOUT))
        await asyncio.sleep(0)
        for call in (vps.fleet.ensure, vps.fleet.create):
            with pytest.raises(ConfigurationError, match="web-004"):
                await call(specs(7)[4:], timeout=TIMEOUT)
        others = await vps.fleet.create(specs(7)[5:], timeout=TIMEOUT)
        report = await first

        assert kinds(report) == {"Succeeded": 5}
        assert kinds(others) == {"Succeeded": 2}
        assert (len(box.servers), duplicates(box)) == (7, [])
        # afterwards the names are free again
        assert kinds(await vps.fleet.ensure(specs(5), timeout=TIMEOUT)) == {"Succeeded": 5}
