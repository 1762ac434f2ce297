"""Rolling operations: never more unavailable than allowed, by the sandbox's record; no command leaves after a stop."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from tests.fleet.virtual_account import LOCATIONS, account, client, commands, kinds, virtual
from vpsorg_async import Failed, Server, Skipped
from vpsorg_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    ServerGoneError,
    ServiceError,
    UnexpectedStatusError,
    WaitError,
    WaitTimeoutError,
)
from vpsorg_async.fleet import (
    CommandAnswered,
    CommandSent,
    FleetEvent,
    ServerActive,
    ServerNotReady,
    ServerSettled,
)
from vpsorg_async.ready import NotReady
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

REBOOT = 20.0


@attrs.define
class Watch:
    """When each server was unavailable: from the arrival of its command until its health check passed."""

    box: Sandbox
    back: dict[int | str, float] = attrs.field(factory=dict)
    asked: list[int | str] = attrs.field(factory=list)
    sick: set[int | str] = attrs.field(factory=set)

    async def health(self, server: Server) -> bool:
        """A check that takes a while, and fails for the unhealthy servers."""
        self.asked.append(server.id)
        await asyncio.sleep(5)
        if server.id in self.sick:
            return False
        self.back[server.id] = asyncio.get_running_loop().time()
        return True

    def most_away(self) -> int:
        """The largest number of servers unavailable at the same time, by the ledger."""
        changes: list[tuple[float, int]] = []
        for change in self.box.ledger:
            changes.append((change.at, 1))
            if change.server_id in self.back:
                changes.append((self.back[change.server_id], -1))
        # a server that returns at the moment when another one leaves makes room for it
        away = most = 0
        for _, step in sorted(changes, key=lambda change: (change[0], change[1])):
            away += step
            most = max(most, away)
        return most


def fleet_of(box: Sandbox, count: int, **settings: Any) -> list[int | str]:
    """That number of running servers, over three locations."""
    return [
        box.world.add(location=LOCATIONS[number % len(LOCATIONS)], **settings)[0].id
        for number in range(count)
    ]


def touched(box: Sandbox) -> list[int | str | None]:
    """The servers that were given a command, in order."""
    return [change.server_id for change in box.ledger]


def posts(box: Sandbox) -> int:
    """The number of commands that arrived, applied or not."""
    return sum(entry.method == "POST" for entry in box.requests)


def skipped(outcomes: Iterable[object]) -> list[int | str]:
    return [outcome.key for outcome in outcomes if isinstance(outcome, Skipped)]


quick = Durations(rebooting=REBOOT, starting=REBOOT, stopping=REBOOT)


@virtual
async def test_the_ninth_of_fifty_does_not_come_back() -> None:
    """Never more than max_unavailable, checks included; the rollout stops at max_failures; the rest is untouched."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 50)
        watch = Watch(box)
        order: list[int | str] = []

        async def health(server: Server) -> bool:
            if server.id not in order:
                order.append(server.id)
            if order.index(server.id) == 8:
                watch.sick.add(server.id)
            return await watch.health(server)

        report = await vps.fleet.rolling_reboot(
            ids, max_unavailable=3, max_failures=1, health=health, timeout=300
        )

        assert [outcome.key for outcome in report.outcomes] == ids
        (failure,) = report.failed
        assert failure.key == order[8]
        assert isinstance(failure.error, WaitError)
        assert "health check did not pass in 3 tries" in str(failure.error)
        assert watch.asked.count(failure.key) == 3
        assert watch.most_away() == 3
        # servers that were already unavailable came back; no other was touched
        assert 9 <= len(touched(box)) == posts(box) <= 9 + 2 + 3 * 3
        assert set(touched(box)) == {outcome.key for outcome in report.succeeded} | {failure.key}
        assert set(skipped(report.outcomes)) == set(ids) - set(touched(box))
        assert all("stopped after 1 failure" in outcome.reason for outcome in report.skipped)
        assert {str(server.status) for server in box.servers} == {"active"}


@pytest.mark.parametrize("seed", range(12))
@virtual
async def test_any_rollout_keeps_within_the_window(seed: int) -> None:
    """Whatever fails and however long it takes: the ledger never shows more unavailable than the window."""
    rng = random.Random(seed)
    size, failures = rng.randrange(1, 6), rng.randrange(1, 5)
    rules = [
        Rule("reboot", faults.DropAfter(), probability=0.05),
        Rule("reboot", faults.Html(502), probability=0.05),
        Rule("reboot", faults.Reply(400), probability=0.05),
        Rule("list", faults.Html(503), probability=0.1),
    ]
    async with account(*rules, seed=seed, durations=Durations(rebooting=(2, 60))) as (box, vps):
        ids = fleet_of(box, 25)
        watch = Watch(box, sick=set(rng.sample(ids, 2)))
        report = await vps.fleet.rolling_reboot(
            ids,
            max_unavailable=size,
            max_failures=failures,
            health=watch.health,
            canary=rng.randrange(3),
            timeout=600.0,
        )

        assert watch.most_away() <= size
        assert [outcome.key for outcome in report.outcomes] == ids
        assert len(report.failed) <= max(failures, size) + size
        assert {outcome.key for outcome in report.succeeded} == set(watch.back)
        assert set(touched(box)).isdisjoint(skipped(report.outcomes))
        assert len(touched(box)) == len(set(touched(box)))
        if report.skipped:
            assert len(report.failed) >= min(failures, size)


@virtual
async def test_all_go_well() -> None:
    """Every server is rebooted once, with its evidence; the window is used, and no location bears it alone."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 12)
        watch = Watch(box)
        events: list[Any] = []
        report = await vps.fleet.rolling_reboot(
            ids, max_unavailable=3, health=watch.health, canary=2, on_event=events.append, timeout=600.0
        )

        assert kinds(report) == {"Succeeded": 12}
        assert sorted(touched(box), key=str) == sorted(ids, key=str)
        assert {outcome.how for outcome in report.succeeded} == {"rebooted"}
        assert {str(outcome.evidence) for outcome in report.succeeded} <= {"observed", "updated"}
        assert {outcome.attempts for outcome in report.succeeded} == {1}
        assert watch.most_away() == 3
        # the canaries one by one
        first, second, *rest = (change.at for change in box.ledger)
        assert first + REBOOT < second
        assert second + REBOOT < rest[0] == rest[1] == rest[2]
        places = [next(s.location for s in box.servers if s.id == key) for key in touched(box)]
        assert set(places[2:5]) == set(LOCATIONS)
        for key in ids:
            course = [type(event) for event in events if event.key == key]
            assert course == [CommandSent, CommandAnswered, ServerActive, ServerSettled]


@pytest.mark.parametrize(("share", "size"), [(0.1, 2), (0.34, 6), (0.01, 1)])
@virtual
async def test_a_share_of_the_servers(share: float, size: int) -> None:
    """max_unavailable as a share counts the servers that take part."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 20)
        watch = Watch(box)
        report = await vps.fleet.rolling_reboot(
            ids, max_unavailable=share, health=watch.health, timeout=600.0
        )

        assert kinds(report) == {"Succeeded": 20}
        assert watch.most_away() == size


@pytest.mark.parametrize(
    ("operation", "begins", "ends"), [("stop", "active", "stopped"), ("start", "stopped", "active")]
)
@virtual
async def test_other_operations(operation: Any, begins: str, ends: str) -> None:
    """The same machine stops and starts; a server in any other status than the required one is reported as skipped."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 4, status=begins)
        others = fleet_of(box, 2, status=ends)
        absent = 99_999
        async with vps.fleet.rolling(
            operation, [*ids, *others, absent], max_unavailable=3, timeout=600.0
        ) as run:
            settled = [outcome async for outcome in run]

        assert len(settled) == 7
        assert {outcome.key for outcome in run.report.succeeded} == set(ids)
        assert {str(server.status) for server in box.servers} == {ends}
        reasons = {outcome.key: outcome.reason for outcome in run.report.skipped}
        assert set(reasons) == {*others, absent}
        assert all(ends in reasons[key] for key in others)
        assert "not in the account" in reasons[absent]


@virtual
async def test_only_running_servers_are_rebooted() -> None:
    """Stopped, suspended or busy servers are skipped with their status, get no command, and are unavailable."""
    words = ["stopped", "suspended", "provisioning", "rebooting", "stopping", "starting"]
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 2)
        others = {box.world.add(status=word)[0].id: word for word in words}
        report = await vps.fleet.rolling_reboot([*others, *ids], max_unavailable=7, canary=0, timeout=600.0)

        assert {outcome.key: outcome.reason for outcome in report.skipped} == {
            key: f"it is {word}, not active" for key, word in others.items()
        }
        assert set(touched(box)) == set(ids)
        first, second = (change.at for change in box.ledger)
        assert second >= first + REBOOT


# -- health ---------------------------------------------------------------------------------------------------------


async def says_no(server: Server) -> bool:
    return False


async def raises(server: Server) -> bool:
    raise OSError("connection refused")


async def hangs(server: Server) -> bool:
    await asyncio.sleep(10_000)
    return True


async def was_cancelled(server: Server) -> bool:
    gone = asyncio.get_running_loop().create_future()
    gone.cancel()
    await gone
    return True


@pytest.mark.parametrize(
    ("health", "word"),
    [
        (says_no, "it said no"),
        (raises, "OSError: connection refused"),
        (hangs, "it did not answer within 7 s"),
        (was_cancelled, "CancelledError"),
    ],
)
@virtual
async def test_a_check_that_does_not_say_yes(health: Any, word: str) -> None:
    """A check that returns False, raises, hangs or is cancelled is a failure, and the reason is reported."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 3)
        report = await vps.fleet.rolling_reboot(
            ids, health=health, health_timeout=7, health_interval=2, timeout=600.0
        )

        (failure,) = report.failed
        assert word in str(failure.error)
        assert failure.server is not None
        assert failure.server_id == ids[0]
        assert skipped(report.outcomes) == ids[1:]
        assert touched(box) == ids[:1]


@virtual
async def test_when_health_is_asked() -> None:
    """The check is called after the warm-up, then at intervals, up to its limit; one pass is enough."""
    times: list[float] = []

    async def third_time(server: Server) -> bool:
        assert server.status == "active"
        times.append(asyncio.get_running_loop().time())
        return len(times) == 3

    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 1)
        report = await vps.fleet.rolling_reboot(
            ids, health=third_time, warm_up=30, health_retries=3, health_interval=11, timeout=600.0
        )

        assert kinds(report) == {"Succeeded": 1}
        assert times[0] >= REBOOT + 30
        assert [later - times[0] for later in times] == pytest.approx([0, 11, 22])
        assert report.succeeded[0].seconds == pytest.approx(times[2])


# -- commands that fail ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (Rule("reboot", faults.DropAfter(), nth=2), OutcomeUnknownError),
        (Rule("reboot", faults.DropBefore(), nth=2), OutcomeUnknownError),
        (Rule("reboot", faults.Html(502, applied=True), nth=2), OutcomeUnknownError),
        (Rule("reboot", faults.Suspend(), nth=2), BadRequestError),
        (Rule("reboot", faults.Vanish(), nth=2), NotFoundError),
        (Rule("reboot", faults.SetStatus("stuck"), nth=2), BadRequestError),
    ],
    ids=lambda value: value.label if isinstance(value, Rule) else None,
)
@virtual
async def test_a_reboot_that_fails(rule: Rule, error: type[Exception]) -> None:
    """A failed reboot counts as unavailable and as a failure; a lost one is not repeated; the rest is left alone."""
    async with account(rule, durations=quick) as (box, vps):
        ids = fleet_of(box, 4)
        report = await vps.fleet.rolling_reboot(ids, timeout=200)

        assert [type(outcome).__name__ for outcome in report.outcomes] == [
            "Succeeded",
            "Failed",
            "Skipped",
            "Skipped",
        ]
        assert type(report.failed[0].error) is error
        assert posts(box) == 2


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (lambda world, key: world.suspend(key), UnexpectedStatusError),
        (lambda world, key: world.vanish(key), ServerGoneError),
        (lambda world, key: world.set_status(key, "stuck", seconds=10_000), WaitTimeoutError),
        (lambda world, key: world.set_status(key, "stopped"), UnexpectedStatusError),
    ],
    ids=["suspended", "gone", "stuck", "stopped"],
)
@virtual
async def test_a_server_that_does_not_come_back(event: Any, error: type[Exception]) -> None:
    """A server that ends suspended, gone, stuck or stopped has failed, with what was seen; the rest is left alone."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 4)

        def hook(told: object) -> None:
            if isinstance(told, CommandAnswered) and told.key == ids[1]:
                event(box.world, told.key)

        report = await vps.fleet.rolling_reboot(ids, timeout=200, on_event=hook)

        (failure,) = report.failed
        assert failure.key == ids[1]
        assert type(failure.error) is error
        assert skipped(report.outcomes) == ids[2:]
        assert posts(box) == 2


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (402, PaymentRequiredError)])
@virtual
async def test_a_refusal_ends_it(status: int, error: type[Exception]) -> None:
    """After the first 401, 402 or 403 no command leaves, however many failures are allowed."""
    async with account(Rule("reboot", faults.Reply(status), nth=3), durations=quick) as (box, vps):
        ids = fleet_of(box, 9)
        report = await vps.fleet.rolling_reboot(ids, max_unavailable=2, max_failures=9, timeout=600.0)

        assert [type(failure.error) for failure in report.failed] == [error]
        assert posts(box) <= 4
        assert all("refused" in outcome.reason for outcome in report.skipped)
        assert len(report.skipped) == 9 - posts(box)


@pytest.mark.parametrize("reply", [402, 400])
@virtual
async def test_a_command_that_waits_for_its_turn_is_kept_back(reply: int) -> None:
    """A command that is queued behind others when the rollout ends is not sent."""
    rule = Rule("reboot", faults.Reply(reply), nth=1)
    async with account(rule, durations=quick, latency=0.1, options={"max_in_flight": 1}) as (box, vps):
        ids = fleet_of(box, 9)
        async with vps.fleet.rolling("reboot", ids, max_unavailable=4, canary=0, timeout=600.0) as run:
            settled = [outcome async for outcome in run]

        assert len(settled) == 9
        assert kinds(run.report) == {"Failed": 1, "Skipped": 8}
        assert posts(box) == 1


@virtual
async def test_one_bad_list_does_not_end_it() -> None:
    """The first list is retried like any other read."""
    async with account(Rule("list", faults.Html(502), times=2), durations=quick) as (box, vps):
        report = await vps.fleet.rolling_reboot(fleet_of(box, 2), timeout=600.0)

        assert kinds(report) == {"Succeeded": 2}


@virtual
async def test_an_account_that_can_not_be_read() -> None:
    """Without the list no server is touched: the error is raised."""
    async with account(Rule("list", faults.Html(503))) as (box, vps):
        ids = fleet_of(box, 2)
        with pytest.raises(ServiceError):
            await vps.fleet.rolling_reboot(ids, timeout=600.0)

        assert posts(box) == 0


@virtual
async def test_a_good_status_with_a_refusal_in_its_body() -> None:
    """The server stays as it was: the outcome has the refusal, and nothing else is stopped."""
    async with account(Rule("stop", faults.Refuse("it is locked"))) as (box, vps):
        box.world.add(2)
        ids = [server.id for server in box.servers]
        async with vps.fleet.rolling("stop", ids, timeout=60) as run:
            async for _ in run:
                pass

        (failure,) = run.report.failed
        assert "it is locked" in str(failure.error)
        assert kinds(run.report) == {"Failed": 1, "Skipped": 1}
        assert commands(box) == {}


# -- pausing and leaving --------------------------------------------------------------------------------------------


@virtual
async def test_paused_and_resumed() -> None:
    """While paused, no server is started on and those in progress continue; afterwards the rollout runs to its end."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 8)
        async with vps.fleet.rolling("reboot", ids, max_unavailable=2, canary=0, timeout=600.0) as run:
            settled = [await anext(run), await anext(run)]
            run.pause()
            assert run.paused
            settled += [await anext(run), await anext(run)]
            await asyncio.sleep(1000)
            assert len(touched(box)) == 4
            run.resume()
            assert not run.paused
            settled += [outcome async for outcome in run]

        assert len(settled) == len(touched(box)) == 8
        assert kinds(run.report) == {"Succeeded": 8}


@virtual
async def test_paused_from_the_beginning() -> None:
    """A pause that was requested before the start applies."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 2)
        run = vps.fleet.rolling("reboot", ids, timeout=600.0)
        run.pause()
        async with run:
            await asyncio.sleep(100)
            assert touched(box) == []
            run.resume()
            assert len([outcome async for outcome in run]) == 2


@virtual
async def test_left_in_the_middle() -> None:
    """Finished servers succeed, those in progress fail with their ids, the rest is skipped; no command leaves later."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 8)
        async with vps.fleet.rolling("reboot", ids, max_unavailable=2, timeout=600.0) as run:
            async for _ in run:
                await asyncio.sleep(5)
                break
        away = set(touched(box)) - {outcome.key for outcome in run.report.succeeded}

        assert [outcome.key for outcome in run.report.outcomes] == ids
        assert kinds(run.report) == {"Succeeded": 1, "Failed": 2, "Skipped": 5}
        assert {failure.key for failure in run.report.failed} == away
        assert all(isinstance(failure.error, WaitError) for failure in run.report.failed)

        run.resume()
        asked = len(box.requests)
        await asyncio.sleep(500)
        assert len(touched(box)) == 3
        assert len(box.requests) == asked


@virtual
async def test_left_while_it_is_paused() -> None:
    """Resuming a rollout that has been left sends no command."""
    async with account(durations=quick) as (box, vps):
        async with vps.fleet.rolling("reboot", fleet_of(box, 4), timeout=600.0) as run:
            run.pause()
            async for _ in run:
                break
        run.resume()
        await asyncio.sleep(500)

        assert len(touched(box)) == 1
        assert kinds(run.report) == {"Succeeded": 1, "Skipped": 3}


@virtual
async def test_cancelled_in_a_health_check() -> None:
    """The check is cancelled as well, and is not called again."""
    asked: list[Server] = []

    async def health(server: Server) -> bool:
        asked.append(server)
        call.cancel()
        await asyncio.sleep(100)
        return True

    async with account(durations=quick) as (box, vps):
        loop = asyncio.get_running_loop()
        call = asyncio.create_task(vps.fleet.rolling_reboot(fleet_of(box, 3), health=health, timeout=600.0))
        await asyncio.wait([call])

        assert call.cancelled()
        assert len(asked) == 1
        assert loop.time() < REBOOT + 10


@virtual
async def test_left_before_a_check_has_passed() -> None:
    """A server that is back but not healthy is reported so, with the last reason."""

    async def health(server: Server) -> bool:
        raise NotReady("connection refused")

    async with account(durations=quick) as (box, vps):
        (key,) = fleet_of(box, 1)
        reasons: list[str] = []

        def hook(event: FleetEvent) -> None:
            if isinstance(event, ServerNotReady):
                reasons.append(event.reason)
                call.cancel()

        async with vps.fleet.rolling(
            "reboot", [key], timeout=600.0, health=health, ready_timeout=300, on_event=hook
        ) as run:

            async def left() -> None:
                async for _ in run:
                    pass

            call = asyncio.create_task(left())
            await asyncio.wait([call])

        (failure,) = run.report.failed
        assert reasons == ["connection refused"]
        assert (failure.stage, failure.acknowledged) == ("active", True)
        assert failure.server is not None
        assert isinstance(failure.error, WaitError)
        assert failure.error.reason == "connection refused"
        assert "it is active, and its check has not passed, last: connection refused" in str(failure.error)
        assert json.loads(run.report.to_json())["outcomes"][0]["reason"] == "connection refused"


@virtual
async def test_health_within_a_time() -> None:
    """With `ready_timeout` the check is repeated until that time is over, however often that is."""
    asked: list[float] = []

    async def boots(server: Server) -> bool:
        asked.append(asyncio.get_running_loop().time())
        return asked[-1] > asked[0] + 100

    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 1)
        slow = await vps.fleet.rolling_reboot(ids, health=boots, ready_timeout=120, timeout=600.0)
        never = await vps.fleet.rolling_reboot(
            ids, health=lambda server: False, ready_timeout=40, timeout=600.0
        )

        assert (slow.succeeded[0].stage, len(asked) > 3) == ("ready", True)
        (failure,) = never.failed
        assert type(failure.error) is WaitTimeoutError
        assert "not ready after 40 s" in str(failure.error)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.25, 3.0, 21.0, 23.0, 60.0])
@virtual
async def test_cancelled_at_any_moment(moment: float) -> None:
    """Every server has one outcome; one that was sent a command is not reported as skipped; nothing is left behind."""
    async with account(durations=quick, latency=0.1) as (box, vps):
        ids = fleet_of(box, 9)
        watch = Watch(box)
        run = vps.fleet.rolling(
            "reboot", ids, max_unavailable=3, canary=0, health=watch.health, timeout=600.0
        )

        async def go() -> None:
            async with run:
                async for _ in run:
                    pass

        loop = asyncio.get_running_loop()
        task = asyncio.create_task(go())
        await asyncio.sleep(moment)
        began = loop.time()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])

        assert task.cancelled()
        assert loop.time() - began <= 2
        await asyncio.sleep(5)
        asked = len(box.requests)
        await asyncio.sleep(500)
        assert len(box.requests) == asked
        assert set(touched(box)).isdisjoint(skipped(run.report.outcomes))
        if run.report.outcomes:
            assert [outcome.key for outcome in run.report.outcomes] == ids


@virtual
async def test_the_client_is_closed_meanwhile() -> None:
    """The rollout ends with an outcome for each server."""
    async with account(durations=quick) as (box, _):
        ids = fleet_of(box, 4)
        async with client(box) as closing:
            call = asyncio.create_task(closing.fleet.rolling_reboot(ids, timeout=600.0))
            await asyncio.sleep(5)
        async with asyncio.timeout(60):
            report = await call

        assert [type(outcome) for outcome in report.outcomes] == [Failed, Skipped, Skipped, Skipped]


@virtual
async def test_a_hook_that_fails_changes_nothing() -> None:
    """An exception of the hook is logged; every server settles as without it."""

    def hook(event: object) -> None:
        raise RuntimeError("the display is gone")

    async with account(durations=quick) as (box, vps):
        report = await vps.fleet.rolling_reboot(fleet_of(box, 3), on_event=hook, timeout=600.0)

        assert kinds(report) == {"Succeeded": 3}


# -- plain bulk actions, and trying again ---------------------------------------------------------------------------


@virtual
async def test_what_is_tried_again_and_how() -> None:
    """retry_failed: an unknown reboot is left alone, an acknowledged one is only waited for, a refused one is sent."""
    async with account(durations=Durations(rebooting=100)) as (box, vps):
        fine, lost, slow, refused = ids = fleet_of(box, 4)
        box.faults.add(
            Rule("reboot", faults.DropAfter(), path=f"/api/v1/servers/{lost}/reboot/"),
            Rule("reboot", faults.Reply(400), path=f"/api/v1/servers/{refused}/reboot/", times=1),
        )
        box.world.set_status(slow, "active")
        report = await vps.fleet.reboot(ids, timeout=60)
        assert {failure.key: type(failure.error) for failure in report.failed} == {
            fine: WaitTimeoutError,
            slow: WaitTimeoutError,
            lost: OutcomeUnknownError,
            refused: type(report.failed[-1].error),
        }
        sent = commands(box)["reboot"]

        whole = await report.retry_failed()

        # the lost one was applied; only the refused one is sent again
        assert commands(box)["reboot"] == sent + 1
        assert {outcome.key for outcome in whole.succeeded} == {fine, slow}
        assert {outcome.how for outcome in whole.succeeded} == {"rebooted"}
        last = await whole.retry_failed()
        assert [failure.key for failure in last.failed] == [lost]
        assert commands(box)["reboot"] == sent + 1


@pytest.mark.parametrize(
    ("operation", "begins", "how"),
    [("start", "stopped", "started"), ("stop", "active", "stopped"), ("delete", "active", "deleted")],
)
@virtual
async def test_a_refusal_can_be_an_echo(operation: str, begins: str, how: str) -> None:
    """A lost command that was applied is refused when it is retried: that is its success, and it is waited for."""
    lost = [Rule(operation, faults.DropAfter(), times=4), Rule("get", faults.Html(502), times=12)]
    async with account(*lost, durations=quick) as (box, vps):
        ids = fleet_of(box, 3, status=begins)
        call = getattr(vps.fleet, operation)
        report = await call(ids, timeout=100)
        while report.failed and not all(outcome.key in touched(box) for outcome in report.failed):
            report = await report.retry_failed()
        await asyncio.sleep(50)

        whole = await report.retry_failed()

        assert kinds(whole) == {"Succeeded": 3}
        assert {outcome.how for outcome in whole.succeeded} == {how}
        assert len(touched(box)) == 3


@virtual
async def test_a_first_refusal_is_no_echo() -> None:
    """Without a lost command before, a refusal is a failure: starting a running server, deleting an absent one."""
    async with account() as (box, vps):
        ids = fleet_of(box, 1)
        started = await vps.fleet.start(ids, timeout=60)
        deleted = await vps.fleet.delete([99_999], timeout=60)

        for report in (started, deleted):
            assert kinds(report) == {"Failed": 1}
            assert kinds(await report.retry_failed()) == {"Failed": 1}


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "options", "word"),
    [
        (5, {}, "list"),
        ("12345", {}, "list"),
        (None, {}, "list"),
        ([1, 1], {}, "more than once: 1"),
        ([1, "1"], {}, "more than once: 1"),
        ([0], {}, "id"),
        ([None], {}, "id"),
        ([1], {"max_unavailable": 0}, "max_unavailable"),
        ([1], {"max_unavailable": 1.5}, "max_unavailable as a share"),
        ([1], {"max_unavailable": "150%"}, "max_unavailable"),
        ([1], {"max_failures": 0}, "max_failures"),
        ([1], {"canary": -1}, "canary"),
        ([1], {"timeout": 0}, "timeout"),
        ([1], {"warm_up": -1}, "warm_up"),
        ([1], {"health": "curl"}, "health"),
        ([1], {"health_retries": 0}, "health_retries"),
        ([1], {"health_retries": True}, "health_retries"),
        ([1], {"health_timeout": 0}, "health_timeout"),
        ([1], {"health_interval": "1"}, "health_interval"),
        ([1], {"ready_timeout": 0}, "ready_timeout"),
        ([1], {"on_event": 1}, "on_event"),
    ],
)
@virtual
async def test_bad_input_sends_nothing(ids: Any, options: dict[str, Any], word: str) -> None:
    """The error names the mistake, and is raised before any request."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError, match=word):
            await vps.fleet.rolling_reboot(ids, **{"timeout": 600, **options})

        assert box.requests == ()


@pytest.mark.parametrize("operation", ["wipe", None, ["reboot"]])
@virtual
async def test_an_operation_that_is_none(operation: Any) -> None:
    """An operation that cannot be rolled is refused."""
    async with account() as (_, vps):
        with pytest.raises(ConfigurationError, match="start, stop, reboot"):
            vps.fleet.rolling(operation, [1], timeout=600.0)


@virtual
async def test_nothing_asked_for() -> None:
    """No ids cause no request."""
    async with account() as (box, vps):
        assert (await vps.fleet.rolling_reboot([], timeout=600.0)).outcomes == ()
        assert (await vps.fleet.reboot([], timeout=60)).outcomes == ()
        assert box.requests == ()


@virtual
async def test_a_rollout_is_not_tried_again_blindly() -> None:
    """A failed rollout has to be inspected first; the error says what to do, and nothing is sent."""
    async with account(durations=quick) as (box, vps):
        report = await vps.fleet.rolling_reboot(fleet_of(box, 3), health=lambda server: False, timeout=600.0)
        sent = len(box.requests)
        with pytest.raises(ConfigurationError, match=r"report\.remaining"):
            await report.retry_failed()

        assert (len(report.failed), len(report.skipped)) == (1, 2)
        assert len(box.requests) == sent


@virtual
async def test_a_plain_function_is_a_check_as_well() -> None:
    """A check that is not async is called all the same."""
    async with account(durations=quick) as (box, vps):
        ids = fleet_of(box, 2)
        report = await vps.fleet.rolling_reboot(ids, health=lambda server: True, timeout=600.0)

        assert len(report.succeeded) == 2


@virtual
async def test_servers_do_where_ids_are_wanted() -> None:
    """Records from a list or a report are accepted in place of their ids."""
    async with account(durations=quick) as (box, vps):
        fleet_of(box, 2)
        report = await vps.fleet.reboot(await vps.servers.list(), timeout=300)

        assert len(report.succeeded) == 2
