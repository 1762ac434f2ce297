"""``ready=`` of fleet calls, in virtual time: when servers are checked, how many at once, and what becomes of them."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.fleet.virtual_account import account, client, commands, kinds, specs, virtual
from vpsorg_async import Client, Failed, Report, RetryPolicy, Server, Succeeded, errors, ready
from vpsorg_async.events import FleetEvent, ServerActive, ServerNotReady, ServerSettled
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

HANGS, NEVER = -1e12, 1e12


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(1)


class Boots:
    """A check: each server boots some seconds after it is active. Counts the checks, and those at the same time."""

    def __init__(self, *seconds: float, takes: float = 0.05) -> None:
        self.seconds = list(seconds)
        self.takes = takes
        self.active: dict[Any, float] = {}
        self.booted: dict[Any, float] = {}
        self.asked: list[tuple[Any, float]] = []
        self.running = self.most = 0

    async def __call__(self, server: Server) -> bool:
        if server.id not in self.active:
            self.active[server.id] = now()
            seconds = self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
            self.booted[server.id] = now() + seconds
        self.asked.append((server.id, now()))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(1e9 if self.booted[server.id] < 0 else self.takes)
        finally:
            self.running -= 1
        if now() < self.booted[server.id]:
            raise ready.NotReady("connection refused")
        return True


@virtual
async def test_two_hundred_servers_are_ready_soon_after_they_have_booted() -> None:
    """Three that never boot and one whose check hangs hold up no other, and are named with their reasons."""
    rng = random.Random(20)
    boots = Boots(
        *[rng.uniform(5, 40) for _ in range(50)],
        NEVER,
        *[rng.uniform(5, 40) for _ in range(60)],
        HANGS,
        *[rng.uniform(5, 40) for _ in range(86)],
        NEVER,
        NEVER,
    )
    lags: list[float] = []

    def hook(event: FleetEvent) -> None:
        match event:
            case ServerSettled(outcome=Succeeded(server=Server(id=number))):
                lags.append(now() - boots.booted[number])

    async with account(durations=Durations(provisioning=(20, 60))) as (box, vps):
        report = await vps.fleet.create(specs(200), timeout=900, ready=boots, on_event=hook)

        assert kinds(report) == {"Succeeded": 196, "Failed": 4}
        assert boots.most <= 50
        assert max(lags) < 3
        assert sum(lags) / len(lags) <= 1
        reasons = [str(failure.error) for failure in report.failed]
        assert sum("last: connection refused" in reason for reason in reasons) == 3
        assert sum("last: it did not answer within " in reason for reason in reasons) == 1
        assert {outcome.stage for outcome in report.succeeded} == {"ready"}
        assert {outcome.stage for outcome in report.failed} == {"active"}
        assert boots.running == 0
        # a list serves all checks of that moment
        assert sum(entry.method == "GET" for entry in box.requests) < 10 * 200


def key(number: int) -> str:
    return f"web-{number:03}"


async def passes(server: Server) -> bool:
    return True


async def refused(server: Server) -> bool:
    raise ready.NotReady("connection refused")


async def failed(server: Server) -> bool:
    raise ready.Hopeless("cloud-init failed")


async def by_create(box: Sandbox, vps: Client, **options: Any) -> Any:
    return await vps.fleet.create(specs(4), timeout=900, **options)


async def by_creating(box: Sandbox, vps: Client, **options: Any) -> Report:
    async with vps.fleet.creating(specs(4), timeout=900, **options) as run:
        async for _ in run:
            pass
    return run.report


async def by_ensure(box: Sandbox, vps: Client, **options: Any) -> Any:
    """One server is adopted, one is started, one is waited for, one is created."""
    for number, status in enumerate(("active", "stopped", "provisioning")):
        box.world.add(1, name=key(number), status=status)
    return await vps.fleet.ensure(specs(4), timeout=900, **options)


async def by_start(box: Sandbox, vps: Client, **options: Any) -> Report:
    servers = box.world.add(4, status="stopped")
    return await vps.fleet.start([server.id for server in servers], timeout=900, **options)


async def by_reboot(box: Sandbox, vps: Client, **options: Any) -> Report:
    servers = box.world.add(4)
    return await vps.fleet.reboot([server.id for server in servers], timeout=900, **options)


CALLS: list[Any] = [by_create, by_creating, by_ensure, by_start, by_reboot]


@pytest.mark.parametrize("call", CALLS)
@virtual
async def test_every_call_that_waits_for_active_checks(call: Any) -> None:
    """A server succeeds once its check has passed; the timeline shows its status, then what the checks said."""
    boots = Boots(3.0)
    async with account() as (box, vps):
        report = await call(box, vps, ready=boots)

        assert kinds(report) == {"Succeeded": 4}
        for outcome in report.succeeded:
            assert outcome.stage == "ready"
            *_, no, yes = outcome.timeline
            assert (no.status, no.note, yes.status) == ("not ready", "connection refused", "ready")
            assert yes.at - no.at == pytest.approx(3, abs=1)
        assert '"stage": "ready"' in report.to_json()


@pytest.mark.parametrize("call", CALLS)
@virtual
async def test_a_check_that_never_passes_fails_its_server(call: Any) -> None:
    """`ready_timeout` counts from active; the error has the last reason, and the server is known."""
    async with account() as (box, vps):
        report = await call(box, vps, ready=refused, ready_timeout=30)

        assert kinds(report) == {"Failed": 4}
        for failure in report.failed:
            assert isinstance(failure.error, errors.WaitTimeoutError)
            assert "is active, but not ready after 30 s" in str(failure.error)
            assert failure.error.reason == "connection refused"
            assert failure.stage == "active"
            assert failure.server is not None
            assert failure.server_id == failure.server.id
            assert [str(seen.status) for seen in failure.timeline][-1] == "not ready"


@pytest.mark.parametrize("call", CALLS)
@virtual
async def test_a_hopeless_server_fails_at_once(call: Any) -> None:
    """A check that says never is called once, whatever time is left."""
    async with account() as (box, vps):
        report = await call(box, vps, ready=failed, ready_timeout=3000)

        assert kinds(report) == {"Failed": 4}
        assert now() < 900
        for failure in report.failed:
            assert isinstance(failure.error, errors.NeverReadyError)
            assert failure.error.reason == "cloud-init failed"


@virtual
async def test_rolling_stops_at_a_hopeless_server() -> None:
    """``health=`` takes the same checks: never fails the server without further tries."""
    asked: list[Any] = []

    def check(server: Server) -> bool:
        asked.append(server.id)
        raise ready.Hopeless("disk on fire")

    async with account() as (box, vps):
        ids = [server.id for server in box.world.add(3)]
        report = await vps.fleet.rolling_reboot(ids, timeout=600, health=check)

        assert asked == ids[:1]
        assert kinds(report) == {"Failed": 1, "Skipped": 2}
        assert isinstance(report.failed[0].error, errors.NeverReadyError)
        assert report.failed[0].stage == "active"

        report = await vps.fleet.rolling_reboot(ids, timeout=600, health=passes)
        assert [outcome.stage for outcome in report.succeeded] == ["ready"] * 3


@virtual
async def test_stages_without_checks() -> None:
    """Without a check the last stage is the status; without waiting it is that the command was accepted."""
    async with account() as (box, vps):
        ids = [server.id for server in box.world.add(2)]
        created = await vps.fleet.create(specs(2), timeout=900)
        stopped = await vps.fleet.stop(ids, timeout=900)
        sent = await vps.fleet.start(ids, timeout=900, wait=False)
        twice = await vps.fleet.start([ids[0], 99999], timeout=900)
        deleted = await vps.fleet.delete(ids, timeout=900)

        stages = [
            {outcome.stage for outcome in report.outcomes} for report in (created, stopped, sent, deleted)
        ]
        assert stages == [{"active"}, {"stopped"}, {"accepted"}, {"gone"}]
        assert twice.outcomes[1].stage == ""


@virtual
async def test_a_run_that_is_left_ends_its_checks() -> None:
    """After a break the servers that are being checked are failed, as active, and no check goes on."""
    boots = Boots(1.0, NEVER)
    async with account(durations=Durations(provisioning=20.0)) as (_, vps):
        async with vps.fleet.creating(specs(5), timeout=900, ready=boots) as run:
            async for _ in run:
                break
            left = now()
        assert now() - left < 2
        report = run.report
        assert boots.running == 0
        assert kinds(report) == {"Succeeded": 1, "Failed": 4}
        for failure in report.failed:
            assert type(failure.error) is errors.WaitError
            assert "before its ready check passed; it is active" in str(failure.error)
            assert failure.stage == "active"
            assert failure.acknowledged
        asked = len(boots.asked)
        await asyncio.sleep(60)
        assert len(boots.asked) == asked


@virtual
async def test_a_cancelled_call_ends_its_checks() -> None:
    """A check that is running when the call is cancelled is cancelled with it."""
    boots = Boots(NEVER, takes=20.0)
    async with account(durations=Durations(provisioning=20.0)) as (_, vps):
        task = asyncio.create_task(vps.fleet.create(specs(5), timeout=900, ready=boots))
        await until(lambda: boots.running)
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert boots.running == 0


async def wait_all(vps: Client, number: Any, check: Any) -> Any:
    return [one async for one in vps.wait_until_all([number], "active", timeout=900, ready=check)]


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda vps, number, check: vps.fleet.reboot([number], timeout=900, ready=check),
        lambda vps, number, check: vps.fleet.rolling_reboot([number], timeout=900, health=check),
        wait_all,
        lambda vps, number, check: vps.wait_until(number, "active", timeout=900, ready=check),
    ],
)
@virtual
async def test_a_check_that_keeps_a_cancellation_to_itself_is_ended(call: Any, said: bool) -> None:
    """Neither is the call held up by its further checks, nor is its server taken for ready."""
    started = asyncio.Event()

    async def check(server: Server) -> bool:
        started.set()
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            return said
        return False

    async with account() as (box, vps):
        (server,) = box.world.add()
        task = asyncio.create_task(call(vps, server.id, check))
        await started.wait()
        cancelled_at = now()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled()
        assert now() - cancelled_at < 2


@virtual
async def test_closing_the_client_ends_the_checks() -> None:
    """Every call that checks raises or reports that the client was closed."""
    boots = Boots(NEVER, takes=20.0)
    async with account() as (box, _):
        vps = client(box)
        async with vps:
            servers = box.world.add(4)
            one = asyncio.create_task(vps.wait_until(servers[0].id, "active", timeout=60, ready=boots))
            ids = [server.id for server in servers[1:3]]

            async def all_of_them() -> list[Any]:
                outcomes = vps.wait_until_all(ids, "active", timeout=60, ready=boots)
                return [outcome.error async for outcome in outcomes]

            some = asyncio.create_task(all_of_them())
            fleet = asyncio.create_task(vps.fleet.reboot([servers[3].id], timeout=900, ready=boots))
            await until(lambda: boots.running == 4)
        with pytest.raises(errors.ClientClosedError, match="during the ready checks of server"):
            await one
        assert [type(error) for error in await some] == [errors.ClientClosedError] * 2
        (failure,) = (await fleet).failed
        assert isinstance(failure.error, errors.ClientClosedError)
        assert failure.stage == "active"
        assert boots.running == 0


@virtual
async def test_a_server_that_is_rebooted_meanwhile_is_not_checked_until_it_is_back() -> None:
    """A port that is open until the reboot comes is not taken for a server that is ready."""
    asked: list[str] = []

    def check(server: Server) -> bool:
        asked.append(str(server.status))
        if len(asked) == 1:
            box.world.set_status(server.id, "rebooting")
            return False
        return True

    async with account(durations=Durations(rebooting=20.0)) as (box, vps):
        (server,) = box.world.add()

        async def back() -> None:
            await asyncio.sleep(20)
            box.world.set_status(server.id, "active")

        coming = asyncio.create_task(back())
        outcomes = vps.wait_until_all([server.id], "active", timeout=60, ready=check)
        (outcome,) = [outcome async for outcome in outcomes]
        await coming

        assert asked == ["active", "active"]
        assert outcome.stage == "ready"
        assert outcome.seconds == pytest.approx(20, abs=2)
        assert "it is rebooting" in [seen.note for seen in outcome.timeline]


@virtual
async def test_a_server_that_is_deleted_meanwhile_is_gone() -> None:
    """The other servers are checked on."""
    boots = Boots(30.0)
    async with account() as (box, vps):
        servers = box.world.add(3)
        task = asyncio.create_task(
            vps.fleet.reboot([server.id for server in servers], timeout=900, ready=boots)
        )
        await until(lambda: len(boots.active) == 3)
        box.world.vanish(servers[1].id)
        report = await task

        assert kinds(report) == {"Succeeded": 2, "Failed": 1}
        assert isinstance(report.failed[0].error, errors.ServerGoneError)
        assert report.failed[0].key == servers[1].id


@virtual
async def test_what_was_stopped_since_is_started_again() -> None:
    """`retry_failed` does not wait for a server that no one starts, and does not create another one."""
    boots = Boots(100.0)
    async with account() as (box, vps):
        report = await vps.fleet.create(specs(2), timeout=900, ready=boots, ready_timeout=20)
        await until(lambda: now() > max(boots.booted.values()))
        stopped = report.failed[0].server_id
        assert stopped is not None
        box.world.set_status(stopped, "stopped")
        again = await report.retry_failed()

        assert kinds(again) == {"Succeeded": 2}
        started = [outcome.server for outcome in again.succeeded if outcome.how == "started"]
        assert [server and server.id for server in started] == [stopped]
        assert commands(box) == {"create": 2, "start": 1}


@virtual
async def test_what_was_acknowledged_is_only_checked_again() -> None:
    """`retry_failed` repeats the check, and not the create."""
    boots = Boots(100.0)
    async with account() as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=900, ready=boots, ready_timeout=20)
        assert kinds(report) == {"Failed": 3}
        await until(lambda: now() > max(boots.booted.values()))
        again = await report.retry_failed()

        assert kinds(again) == {"Succeeded": 3}
        assert {outcome.stage for outcome in again.succeeded} == {"ready"}
        assert len(box.ledger) == 3


@virtual
async def test_a_failed_check_stops_what_has_not_been_sent() -> None:
    """``on_failure="stop"`` counts it as any other failure; ``min_count`` counts the servers that are ready."""
    async with account(options={"max_in_flight": 1}, durations=Durations(provisioning=5.0)) as (box, vps):
        report = await vps.fleet.create(specs(3), timeout=900, ready=failed, min_count=1)

        assert report.rolled_back
        assert [server.status for server in box.servers] == []


@virtual
async def test_events_show_active_and_the_reasons() -> None:
    """A hook is called when the checks of a server begin, with each new reason, and at the end."""
    told: list[Any] = []

    def hook(event: FleetEvent) -> None:
        if isinstance(event, ServerActive | ServerNotReady | ServerSettled):
            told.append(getattr(event, "reason", type(event).__name__))

    said = iter(["refused", "refused", "no banner", ""])

    def check(server: Server) -> bool:
        reason = next(said)
        if reason:
            raise ready.NotReady(reason)
        return True

    async with account() as (_, vps):
        await vps.fleet.create(specs(1), timeout=900, ready=check, on_event=hook)

        assert told == ["ServerActive", "refused", "no banner", "ServerSettled"]


@virtual
async def test_the_client_learns_how_long_boots_take() -> None:
    """A second fleet is checked far less, and is noticed no later."""
    async with account() as (_, vps):
        counts: list[int] = []
        for prefix in ("a", "b"):
            rng = random.Random(5)
            boots = Boots(*[rng.uniform(30, 40) for _ in range(40)])
            report = await vps.fleet.create(specs(40, prefix), timeout=900, ready=boots)
            assert kinds(report) == {"Succeeded": 40}
            counts.append(len(boots.asked))

        assert counts[1] < counts[0] / 2


@virtual
async def test_checks_share_their_reads() -> None:
    """Servers that are checked at about the same time are read by one list, not one by one."""
    async with account(durations=Durations(provisioning=20.0)) as (box, vps):
        boots = Boots(20.0)
        await vps.fleet.create(specs(100), timeout=900, ready=boots)
        reads = [entry for entry in box.requests if entry.method == "GET"]

        assert len(boots.asked) > 2000
        assert len(reads) < len(boots.asked) / 10


@virtual
async def test_at_most_so_many_checks_at_once() -> None:
    """`ready_concurrency` counts the checks of all calls of a client."""
    boots = Boots(0.0, takes=5.0)
    async with account(options={"ready_concurrency": 3}) as (box, vps):
        ids = [server.id for server in box.world.add(12)]

        async def some() -> list[Any]:
            return [one async for one in vps.wait_until_all(ids[:6], "active", timeout=60, ready=boots)]

        outcomes, *servers = await asyncio.gather(
            some(), *(vps.wait_until(number, "active", timeout=60, ready=boots) for number in ids[6:])
        )

        assert {outcome.stage for outcome in outcomes} == {"ready"}
        assert len(servers) == 6
        assert boots.most == 3


@virtual
async def test_a_place_that_never_becomes_free() -> None:
    """A server whose check finds no place in its time fails then, and its error says why."""
    boots = Boots(HANGS)
    async with account(options={"ready_concurrency": 1}) as (box, vps):
        hanging, late = box.world.add(2)
        first = asyncio.create_task(vps.wait_until(hanging.id, "active", timeout=60, ready=boots))
        await until(lambda: boots.running)
        began = now()
        with pytest.raises(errors.WaitTimeoutError, match="last: 1 other check took all the time"):
            await vps.wait_until(late.id, "active", timeout=60, ready=boots, ready_timeout=10)

        assert 10 <= now() - began <= 20
        assert {server_id for server_id, _ in boots.asked} == {hanging.id}
        first.cancel()


@virtual
async def test_checks_go_on_although_lists_fail() -> None:
    """Their servers are read by id then, and a list that failed is not tried again at once."""
    boots = Boots(20.0)
    async with account() as (box, vps):
        ids = [server.id for server in box.world.add(5)]
        outcomes = vps.wait_until_all(ids, "active", timeout=60, ready=boots)
        waiting = asyncio.create_task(anext(outcomes))
        await until(lambda: boots.asked)
        box.faults.add(Rule("list", faults.Html(503)))
        before = len(box.requests)
        await waiting
        rest = [outcome async for outcome in outcomes]

        assert {outcome.stage for outcome in rest} == {"ready"}
        reads = Counter(entry.path.rstrip("/").endswith("/servers") for entry in box.requests[before:])
        assert reads[False] > 4 * reads[True] > 0


@virtual
async def test_no_list_of_a_large_account_for_two_checks() -> None:
    """Two servers are read by id where a list would cost more."""
    boots = Boots(20.0)
    async with account() as (box, vps):
        ids = [server.id for server in box.world.add(1000)[:2]]
        await vps.servers.list()
        outcomes = [o async for o in vps.wait_until_all(ids, "active", timeout=60, ready=boots)]

        assert {outcome.stage for outcome in outcomes} == {"ready"}
        lists = [entry for entry in box.requests if entry.path.rstrip("/").endswith("/servers")]
        assert len(lists) == 2


@virtual
async def test_checks_leave_an_api_alone_that_asked_for_it() -> None:
    """During a `Retry-After` servers are checked with the records seen last, and not read."""
    boots = Boots(60.0)
    async with account(options={"retry": RetryPolicy(attempts=1, rate_limit_patience=0)}) as (box, vps):
        ids = [server.id for server in box.world.add(3)]
        waiting = asyncio.create_task(vps.wait_until(ids[0], "active", timeout=60, ready=boots))
        await until(lambda: boots.asked)
        box.world.set_status(ids[1], "starting", seconds=math.inf)
        other = asyncio.create_task(vps.wait_until(ids[1], "active", timeout=600))
        box.faults.add(Rule("get", faults.RateLimit(30), times=1))
        await until(lambda: any(entry.fault for entry in box.requests))
        began, asked = now(), len(boots.asked)
        await asyncio.sleep(29)

        assert len(boots.asked) > asked
        assert [entry for entry in box.requests if entry.at > began] == []
        await waiting
        other.cancel()


@virtual
async def test_a_server_that_waited_for_its_place_is_read_again() -> None:
    """Much can happen to it while the checks of others take their time: it is checked as it is now."""
    checked: list[Any] = []

    async def check(server: Server) -> bool:
        checked.append(server.id)
        await asyncio.sleep(20)
        return True

    async def outcomes() -> dict[Any, Any]:
        waiting = vps.wait_until_all(ids, "active", timeout=60, ready=check, ready_timeout=90)
        return {outcome.server_id: outcome async for outcome in waiting}

    async with account(options={"ready_concurrency": 1}) as (box, vps):
        ids = [server.id for server in box.world.add(3)]
        task = asyncio.create_task(outcomes())
        await until(lambda: checked)
        stopped, deleted = (number for number in ids if number not in checked)
        box.world.set_status(stopped, "stopped")
        box.world.vanish(deleted)
        ended = await task

        assert checked == [number for number in ids if number not in (stopped, deleted)]
        assert ended[checked[0]].stage == "ready"
        assert "it is stopped" in str(ended[stopped].error)
        assert isinstance(ended[deleted].error, errors.ServerGoneError)


@virtual
async def test_checks_begin_although_no_outcome_is_taken() -> None:
    """`wait_until_all` checks each server as soon as it is active, and its generator can be closed early."""
    boots = Boots(1.0, NEVER)
    async with account() as (box, vps):
        ids = [server.id for server in box.world.add(3)]
        outcomes = vps.wait_until_all(ids, "active", timeout=60, ready=boots, ready_timeout=30)
        first = await anext(outcomes)
        assert (first.stage, first.error) == ("ready", None)
        await asyncio.sleep(60)
        rest = [outcome async for outcome in outcomes]

        assert [outcome.stage for outcome in rest] == ["active", "active"]
        assert all(isinstance(outcome.error, errors.WaitTimeoutError) for outcome in rest)
        assert all(outcome.seconds == pytest.approx(30, abs=2) for outcome in rest)
        assert all(outcome.timeline[-1].note == "connection refused" for outcome in rest)

        outcomes = vps.wait_until_all(ids, "active", timeout=60, ready=boots)
        await anext(outcomes)
        await outcomes.aclose()
        assert boots.running == 0


@pytest.mark.parametrize("given", [22, "ssh", [passes]])
@pytest.mark.parametrize("call", CALLS)
@virtual
async def test_a_check_that_is_none_is_refused(call: Any, given: Any) -> None:
    """Nothing is sent for it."""
    async with account() as (box, vps):
        with pytest.raises(errors.ConfigurationError, match="ready is a check"):
            await call(box, vps, ready=given)
        with pytest.raises(errors.ConfigurationError, match="ready_timeout"):
            await call(box, vps, ready=passes, ready_timeout=0)
        with pytest.raises(errors.ConfigurationError, match="give ready as well"):
            await call(box, vps, ready_timeout=60)
        assert len(box.ledger) == 0


@virtual
async def test_a_check_needs_a_wait() -> None:
    """``wait=False`` returns before a server is active, so that it does not go with ``ready=``."""
    async with account() as (box, vps):
        with pytest.raises(errors.ConfigurationError, match="wait=False"):
            await vps.fleet.create(specs(1), timeout=900, wait=False, ready=passes)
        with pytest.raises(errors.ConfigurationError, match="no option ready"):
            await vps.fleet.stop([1], timeout=900, ready=passes)  # type: ignore[call-arg]
        with pytest.raises(errors.ConfigurationError, match="ready_concurrency"):
            client(box, ready_concurrency=0)
        assert len(box.requests) == 0


@virtual
async def test_what_ends_everything_is_raised_by_the_run() -> None:
    """A KeyboardInterrupt of a check is raised, once every server has its outcome."""

    def interrupted(server: Server) -> bool:
        raise KeyboardInterrupt

    async with account() as (_, vps):
        run = vps.fleet.creating(specs(3), timeout=900, ready=interrupted)

        async def play() -> None:
            async with run:
                async for _ in run:
                    pass

        with pytest.raises(KeyboardInterrupt):
            await play()
        assert len(run.report.outcomes) == 3
        assert all(isinstance(outcome, Failed) and outcome.acknowledged for outcome in run.report.outcomes)
