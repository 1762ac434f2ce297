"""What a user's hook raises: an Exception is logged, any other BaseException is raised after an orderly close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import pytest

from tests.ends.hook_errors import FAILURES, STOPS, paired, played, raising
from tests.fleet.virtual_account import account, accounted, committed, kinds, specs, untracked
from vpsorg_async import Client, FleetSpec, Server
from vpsorg_async.errors import OutcomeUnknownError
from vpsorg_async.fleet import events as fleet_events
from vpsorg_async.fleet.events import FleetEvent
from vpsorg_async.http import events as http_events
from vpsorg_async.http.events import ChangeAbandoned
from vpsorg_async.lifecycle.events import ServerStuck
from vpsorg_async.sandbox import Durations, Rule, faults

TIMEOUT = 900.0

LOST = Rule("create", faults.DropAfter(), nth=2)
STUCK = {"durations": Durations(provisioning=(600.0, 700.0))}

# how to bring about each kind of event while three servers are created: rules and settings of the sandbox
FLEET_EVENTS: dict[str, tuple[Rule, ...]] = {
    "CommandSent": (),
    "CommandAnswered": (),
    "CommandLost": (LOST,),
    "ServerAdopted": (LOST,),
    "ServerActive": (),
    "ServerNotReady": (),
    "ServerReplaced": (Rule("create", faults.Suspend(), nth=2),),
    "ServerSettled": (),
}
REPLACING = "ServerSwitched"
"""The kind of event that only the replacement of a server of a fleet brings about."""
CLIENT_EVENTS: dict[str, tuple[tuple[Rule, ...], dict[str, Any]]] = {
    "RequestSent": ((), {}),
    "RequestAnswered": ((), {}),
    "AttemptFailed": ((Rule("list", faults.Html(503), nth=3), LOST), {}),
    "RetryScheduled": ((Rule("create", faults.RateLimit(2), nth=2),), {}),
    "RateLowered": ((Rule("create", faults.RateLimit(2), nth=2),), {}),
    "AnswerMisfit": ((Rule("create", faults.OddField("plan.memory", "much"), nth=2),), {}),
    "ListIncomplete": ((Rule("list", faults.ShortList(1), nth=3),), {}),
    "ServerStuck": ((), STUCK),
    "ChangeAbandoned": ((Rule("create", faults.NeverAnswer(applied=True), nth=2),), {}),
}


def test_every_kind_of_event_is_played() -> None:
    """The tests raise at every kind of event, including kinds that are added later."""
    kinds_of_fleet = {kind.__name__ for kind in FleetEvent.__args__}
    kinds_of_client = {*http_events.__all__, ServerStuck.__name__}

    assert {*FLEET_EVENTS, REPLACING} == kinds_of_fleet <= set(fleet_events.__all__)
    assert set(CLIENT_EVENTS) == kinds_of_client


@pytest.mark.parametrize(
    ("failure", "stops"),
    [(FAILURES["an error"], False), (STOPS["a failed test"], True)],
    ids=["error", "stop"],
)
def test_a_hook_that_fails_while_servers_are_replaced(
    failure: Callable[[], BaseException], stops: bool
) -> None:
    """An Exception changes nothing. Any other is raised, and costs the fleet no server that serves."""
    seen = Played()

    async def play() -> None:
        async with account() as (seen.box, vps):
            seen.box.world.add(name="web-1", os_id=5, plan_id=1, status="active")
            fleet = FleetSpec(name="web-{n}", count=1, plan_id=1, os_id=3, location="us-west")
            await vps.fleet.apply(
                fleet,
                timeout=TIMEOUT,
                replace="rolling",
                switch=lambda old, new: None,
                on_event=counting(REPLACING, failure, seen),
            )

    raised = played(play)
    serving = [server.os.id for server in seen.box.servers if server.status == "active"]

    assert seen.raised == 1
    assert 3 in serving
    assert serving == [3] or stops
    assert type(raised) is type(failure() if stops else None)


@attrs.define
class Played:
    """The results of a run."""

    run: Any = None
    box: Any = None
    raised: int = 0
    began: bool = False


def second_try() -> Callable[[Server], bool]:
    """A check that passes when a server is checked for the second time."""
    checked: set[Any] = set()

    def check(server: Server) -> bool:
        again = server.id in checked
        checked.add(server.id)
        return again

    return check


def create(
    rules: tuple[Rule, ...],
    settings: dict[str, Any],
    seen: Played,
    *,
    on_event: Callable[[Any], None] | None = None,
    client_hook: Callable[[Any], None] | None = None,
    cancelled: bool = False,
) -> Callable[[], Coroutine[Any, Any, None]]:
    """A run that creates three servers; ``cancelled`` where the event needs a cancellation."""

    async def play() -> None:
        def guarded(event: Any) -> None:
            # only once the run has begun: before, there is nothing to close
            if seen.began and client_hook is not None:
                client_hook(event)

        options = {"on_event": guarded, "max_in_flight": 2}
        async with account(*rules, options=options, latency=0.05, **settings) as (seen.box, vps):
            run = vps.fleet.creating(
                specs(3), timeout=TIMEOUT, on_event=on_event, ready=second_try(), on_stuck="replace"
            )
            async with run as seen.run:
                seen.began = True
                if cancelled:
                    await asyncio.sleep(2)
                    return
                async for _ in seen.run:
                    pass

    return play


def counting(kind: str, make: Callable[[], BaseException], seen: Played) -> Callable[[Any], None]:
    hook = raising(kind, make)

    def counted(event: Any) -> None:
        try:
            hook(event)
        except BaseException:
            seen.raised += 1
            raise

    return counted


@pytest.mark.parametrize(("kind", "failure"), paired(FLEET_EVENTS, FAILURES))
def test_a_fleet_hook_that_fails_is_logged(
    kind: str, failure: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """An Exception from a run's hook, at any kind of event, is logged and changes nothing."""
    seen = Played()
    assert played(create(FLEET_EVENTS[kind], {}, seen, on_event=counting(kind, failure, seen))) is None

    assert seen.raised
    assert kinds(seen.run.report) == {"Succeeded": 3}
    assert caplog.text.count(f"the on_event hook failed on {kind}") == seen.raised


@pytest.mark.parametrize(("kind", "failure"), paired(CLIENT_EVENTS, FAILURES))
def test_a_client_hook_that_fails_is_logged(
    kind: str, failure: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """The same for a client's hook."""
    rules, settings = CLIENT_EVENTS[kind]
    seen = Played()
    cancelled = kind == "ChangeAbandoned"
    hook = counting(kind, failure, seen)
    assert played(create(rules, settings, seen, client_hook=hook, cancelled=cancelled)) is None

    assert seen.raised
    assert len(seen.run.report.outcomes) == 3
    assert cancelled or kinds(seen.run.report) == {"Succeeded": 3}
    assert caplog.text.count(f"the on_event hook failed on {kind}") == seen.raised


def whole(seen: Played) -> None:
    """Check that the run was closed properly: an outcome for each, with every created server among them."""
    report = seen.run.report
    assert accounted(report, specs(3))
    assert untracked(report, seen.box) == []
    made = committed(seen.box)
    for outcome in report.skipped:
        assert outcome.key not in made.values()


@pytest.mark.parametrize(("kind", "stop"), paired(FLEET_EVENTS, STOPS))
def test_a_fleet_hook_that_ends_everything(kind: str, stop: Callable[[], BaseException]) -> None:
    """A BaseException from a run's hook is raised when the run has closed, with every created server reported."""
    seen = Played()
    raised = played(create(FLEET_EVENTS[kind], {}, seen, on_event=counting(kind, stop, seen)))

    assert type(raised) is type(stop())
    assert seen.raised
    whole(seen)


@pytest.mark.parametrize(
    ("kind", "stop"), paired([kind for kind in CLIENT_EVENTS if kind != "ChangeAbandoned"], STOPS)
)
def test_a_client_hook_that_ends_everything(kind: str, stop: Callable[[], BaseException]) -> None:
    """The same for a client's hook, at every event of a request or a poll."""
    rules, settings = CLIENT_EVENTS[kind]
    seen = Played()
    raised = played(create(rules, settings, seen, client_hook=counting(kind, stop, seen)))

    assert type(raised) is type(stop())
    assert seen.raised
    whole(seen)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_hook_that_ends_everything_while_a_run_is_left(stop: Callable[[], BaseException]) -> None:
    """A hook that raises while a run is left costs no outcome and does not replace the error that ended the run."""
    seen = Played()
    rules, settings = CLIENT_EVENTS["ChangeAbandoned"]
    hook = counting("ChangeAbandoned", stop, seen)

    async def play() -> None:
        settled = counting("ServerSettled", stop, seen)
        async with (
            account(*rules, options={"on_event": hook}, **settings) as (seen.box, vps),
            vps.fleet.creating(specs(3), timeout=TIMEOUT, on_event=settled) as seen.run,
        ):
            await asyncio.sleep(2)
            raise ZeroDivisionError

    assert isinstance(played(play), ZeroDivisionError)
    assert seen.raised >= 3
    whole(seen)


@pytest.mark.parametrize("kind", ["RequestSent", "RequestAnswered", "AnswerMisfit"])
def test_a_create_that_its_own_hook_ended_is_told(kind: str) -> None:
    """A plain create that its hook ended in flight is recorded as unknown, and an `ensure` adopts its server."""
    heard: list[Any] = []
    hook = raising(kind, STOPS["a failed test"])
    armed = True

    def armed_hook(event: Any) -> None:
        heard.append(event)
        if armed and "POST" in event.request:
            hook(event)

    async def play() -> None:
        nonlocal armed
        rule = Rule("create", faults.OddField("plan.memory", "much"))
        async with account(rule, options={"on_event": armed_hook}) as (box, vps):
            with pytest.raises(pytest.fail.Exception) as caught:
                await vps.servers.create(specs(1)[0])
            armed = False
            made = kind != "RequestSent"
            assert [server.name for server in box.servers] == ["web-000"] * made
            assert ("web-000" in " ".join(getattr(caught.value, "__notes__", ()))) == made
            abandoned = [event.subject for event in heard if isinstance(event, ChangeAbandoned)]
            assert abandoned == ["web-000"] * made
            box.faults.clear()
            assert kinds(await vps.fleet.ensure(specs(1), timeout=TIMEOUT)) == {"Succeeded": 1}
            assert len(box.servers) == 1

    assert played(play) is None


WAITS: dict[str, Callable[[Client, Any], Coroutine[Any, Any, Any]]] = {
    "wait_until": lambda vps, server: vps.wait_until(server.id, "active", timeout=TIMEOUT),
    "wait_until_all": lambda vps, server: anext(vps.wait_until_all([server.id], "active", timeout=TIMEOUT)),
    "watch": lambda vps, server: watched(vps),
}


async def watched(vps: Client) -> None:
    async for _ in vps.watch(interval=1.0):
        pass


@pytest.mark.parametrize("call", WAITS)
@pytest.mark.parametrize("kind", ["RequestSent", "RequestAnswered", "AttemptFailed", "ListIncomplete"])
def test_a_poll_that_a_hook_ends_raises_in_its_waits(kind: str, call: str) -> None:
    """A BaseException from a hook at a poll hangs no wait and no watcher: each raises it."""

    async def play() -> None:
        rules = (
            Rule("list", faults.Html(503), nth=2),
            Rule("list", faults.ShortList(1), nth=3),
            Rule("get", faults.Html(503), nth=2),
        )
        async with account(*rules, options={"on_event": raising(kind, STOPS["a failed test"])}) as (box, vps):
            servers = box.world.add(2, status="provisioning")
            tasks = [asyncio.ensure_future(WAITS[call](vps, server)) for server in servers]
            done, _ = await asyncio.wait(tasks, timeout=2000)
            assert len(done) == 2
            ends = {type(task.exception()) for task in tasks}
            assert ends <= {pytest.fail.Exception}

    assert played(play) is None


@pytest.mark.parametrize("kind", FLEET_EVENTS)
def test_no_other_call_is_ended(kind: str) -> None:
    """A hook that ends one run leaves another run, a wait and a create of the same client alone."""

    async def play() -> None:
        async with account(*(FLEET_EVENTS[kind] or (LOST,)), latency=0.05) as (box, vps):
            (slow,) = box.world.add(name="slow", status="provisioning")
            hook = raising(kind, STOPS["a failed test"])
            ended, other, wait, made = await asyncio.gather(
                vps.fleet.create(
                    specs(3), timeout=TIMEOUT, on_event=hook, ready=second_try(), on_stuck="replace"
                ),
                vps.fleet.create(specs(3, "db"), timeout=TIMEOUT),
                vps.wait_until(slow.id, "active", timeout=TIMEOUT),
                vps.servers.create(specs(1, "lone")[0]),
                return_exceptions=True,
            )
            assert isinstance(ended, pytest.fail.Exception)
            assert not isinstance(other, BaseException)
            assert kinds(other) == {"Succeeded": 3}
            assert not isinstance(wait, BaseException)
            assert not isinstance(made, BaseException) or isinstance(made, OutcomeUnknownError)

    assert played(play) is None


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_who_goes_on_after_a_hook_that_ends_everything_does_not_hang(
    stop: Callable[[], BaseException],
) -> None:
    """A run that broke raises again when it is iterated further, and its report is complete when it is left."""
    seen = Played()

    def hook(event: Any) -> None:
        if type(event).__name__ == "RequestAnswered" and "POST" in event.request:
            raise stop()

    async def play() -> None:
        async with (
            account(options={"max_in_flight": 1, "on_event": hook}) as (seen.box, vps),
            vps.fleet.creating(specs(3), timeout=TIMEOUT) as seen.run,
        ):
            for _ in range(10):
                with pytest.raises(type(stop())):
                    await anext(seen.run)

    assert played(play) is None
    whole(seen)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_run_that_nobody_iterates_raises_what_its_hook_raised(stop: Callable[[], BaseException]) -> None:
    """At its end: it was closed first, and lists every server."""
    seen = Played()

    async def play() -> None:
        hook = counting("ServerSettled", stop, seen)
        async with (
            account() as (seen.box, vps),
            vps.fleet.creating(specs(3), timeout=TIMEOUT, on_event=hook) as seen.run,
        ):
            await asyncio.sleep(TIMEOUT)

    assert type(played(play)) is type(stop())
    assert kinds(seen.run.report) == {"Succeeded": 3}
    whole(seen)


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_search_that_a_hook_ends(stop: Callable[[], BaseException]) -> None:
    """`find_created` raises what the client's hook raises at one of its polls."""
    polls = 0

    def hook(event: Any) -> None:
        nonlocal polls
        if type(event).__name__ == "RequestSent" and event.request.startswith("GET"):
            polls += 1
            if polls == 3:
                raise stop()

    async def play() -> None:
        async with account(options={"on_event": hook}) as (_, vps):
            await vps.fleet.find_created(specs(1)[0], settle=60.0)

    assert type(played(play)) is type(stop())
    assert polls == 3


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_rollback_goes_on_where_a_hook_ends_everything(stop: Callable[[], BaseException]) -> None:
    """A roll-back deletes all it should, unless Ctrl-C or SystemExit stops it; then the hook's error is raised."""
    seen = Played()
    deletes = 0

    def hook(event: Any) -> None:
        nonlocal deletes
        if type(event).__name__ == "RequestSent" and event.request.startswith("DELETE"):
            deletes += 1
            if deletes == 1:
                raise stop()

    async def play() -> None:
        rule = Rule("create", faults.Reply(400), nth=3)
        options = {"on_event": hook, "max_in_flight": 1}
        async with account(rule, options=options) as (seen.box, vps):
            await vps.fleet.create(specs(3), timeout=TIMEOUT, min_count=3)

    raised = played(play)

    assert type(raised) is type(stop())
    cut_off = isinstance(raised, KeyboardInterrupt | SystemExit)
    assert deletes == 2 - cut_off
    assert len(seen.box.servers) == 1 + cut_off
