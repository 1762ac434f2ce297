"""The shared poll when things go wrong: failures, outages, deadlines, absence and bugs, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

from tests.lifecycle.harness import Harness, Provider, after, record, virtual
from vpsorg_async import Target, errors
from vpsorg_async.lifecycle.account_reader import LONGEST_HOLD
from vpsorg_async.lifecycle.poller import LAST_POLL


def ids(count: int) -> range:
    """That number of ids, from 1."""
    return range(1, count + 1)


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def kinds(results: list[Any]) -> set[str]:
    return {type(result).__name__ for result in results}


@virtual
async def test_failures_are_shared() -> None:
    """A poll that fails is one failure for fifty waits: three failures and a success are four polls.

    Each failed list is followed by one read by id, which would show that only lists fail, not by fifty.
    """
    async with Harness(Provider(*(after(n, 0) for n in ids(50)))) as harness:
        down = errors.ServiceError("down", status=503)
        harness.provider.trouble = lambda now: down if len(harness.provider.lists) <= 3 else None

        results = await outcomes(harness.begin(ids(50)))

        assert (len(harness.provider.lists), len(harness.provider.singles)) == (4, 3)
        assert kinds(results) == {"WaitOutcome"}
        assert {(result.polls, len(result.timeline)) for result in results} == {(4, 2)}
        assert harness.poller.statistics.failed == 3


@virtual
async def test_failures_are_backed_off() -> None:
    """A failing API is polled less and less often, each time by id and by list: either may work again."""
    async with Harness(Provider(after(1, 0))) as harness:
        harness.provider.trouble = lambda now: errors.ServiceError("down", status=500)

        with pytest.raises(errors.WaitTimeoutError, match="polls failed, the last with"):
            await harness.wait(1, timeout=600)

        assert len(harness.provider.lists) <= 60
        assert len(harness.provider.singles) <= 60


@virtual
async def test_retry_after_is_obeyed() -> None:
    """An API that sends Retry-After is not polled earlier, except for the last poll."""
    async with Harness(Provider(after(1, 0))) as harness:
        harness.provider.trouble = lambda now: errors.RateLimitError("slow", status=429, retry_after=40.0)

        with pytest.raises(errors.WaitTimeoutError):
            await harness.wait(1, timeout=100)

        assert [round(when) for when in harness.provider.polls] == [0, 40, 80, 100]


@virtual
async def test_who_joins_does_not_break_a_retry_after() -> None:
    """A wait or a command that begins during a Retry-After waits with the others."""
    async with Harness(Provider(after(1, 0), after(2, 0))) as harness:
        answers = iter([errors.RateLimitError("slow", status=429, retry_after=40.0)])
        harness.provider.trouble = lambda now: next(answers, None)
        (first,) = harness.begin([1])
        await asyncio.sleep(5)
        (second,) = harness.begin([2])
        harness.command(2, "start")

        await outcomes([first, second])

        assert harness.provider.polls[1] >= 40


@virtual
async def test_retry_after_has_a_limit() -> None:
    """No Retry-After postpones polls for an hour."""
    async with Harness(Provider(after(1, 0))) as harness:
        answers = iter([errors.ServiceError("later", status=503, retry_after=3600.0)])
        harness.provider.trouble = lambda now: next(answers, None)

        outcome = await harness.wait(1)

        assert outcome.seconds == pytest.approx(LONGEST_HOLD, abs=1)


@virtual
async def test_a_server_just_created_may_be_missing() -> None:
    """A server that is not listed and 404 by id is tolerated for a while after a create, and only then."""
    async with Harness(
        Provider(lambda now: record(1, "active") if now >= 45 else None, after(2, 0)), visibility=60.0
    ) as harness:
        harness.command(1, "create")

        created = await harness.wait(1)
        assert created.seconds >= 45
        with pytest.raises(errors.ServerGoneError, match="it does not exist; it was never seen"):
            await harness.wait(3)
        assert harness.now < 45 + 30


@pytest.mark.parametrize("servers", [1, 2])
@virtual
async def test_waits_that_are_left_while_a_poll_is_shown(servers: int) -> None:
    """Hundreds wait for a server, and one that got its outcome cancels most: all others get theirs."""
    async with Harness(Provider(*(after(n, 20 * n) for n in range(1, servers + 1)))) as harness:
        waits = harness.begin([1] * 300)
        others = harness.begin([*range(1, servers + 1)])
        waits[0].add_done_callback(lambda _: [wait.cancel() for wait in waits[60:]])

        results = await outcomes(waits)

        assert kinds(results[:60]) | kinds(await outcomes(others)) == {"WaitOutcome"}
        assert kinds(results[60:]) == {"CancelledError"}


@virtual
async def test_a_wait_that_was_left_is_not_reported_as_stuck() -> None:
    """The hook cancels most waits at the first event: no further event is about one of them."""
    async with Harness(Provider(after(1, 1000))) as harness:
        harness.command(1, "create")
        waits = harness.begin([1] * 200, timeout=2000)
        stuck: list[object] = []

        def hook(event: object) -> None:
            stuck.append(event)
            for wait in waits[60:]:
                wait.cancel()

        harness.poller._on_event = hook
        results = await outcomes(waits)

        assert kinds(results[:60]) == {"WaitOutcome"}
        assert len(stuck) == 60


@virtual
async def test_a_vanished_server_ends_its_wait_at_once() -> None:
    """404 by id after the server was seen is an answer, not a failure."""
    async with Harness(Provider(lambda now: record(1, "provisioning") if now < 20 else None)) as harness:
        harness.command(1, "create")

        with pytest.raises(errors.ServerGoneError, match="it does not exist any more"):
            await harness.wait(1)
        assert 20 <= harness.now <= 30


@pytest.mark.parametrize("timeout", [0.3, 7.0, 61.0])
@virtual
async def test_the_deadline_has_one_last_poll(timeout: float) -> None:
    """A wait ends at its deadline with a poll sent then, not before and hardly after."""
    async with Harness(Provider(after(1, 1000))) as harness:
        harness.command(1, "create")

        with pytest.raises(errors.WaitTimeoutError) as caught:
            await harness.wait(1, timeout=timeout)

        assert timeout <= harness.now <= timeout + 0.5 + 2 * harness.provider.latency
        assert harness.provider.polls[-1] >= timeout
        assert caught.value.last_seen is not None


@virtual
async def test_what_the_last_poll_shows_counts() -> None:
    """A server that is ready just in time is not lost to the pause between polls."""
    async with Harness(Provider(after(1, 99.9))) as harness:
        harness.command(1, "create")

        outcome = await harness.wait(1, timeout=100)

        assert outcome.seconds == pytest.approx(100, abs=0.1)


@virtual
async def test_a_poll_that_hangs_ends_with_the_wait() -> None:
    """A wait outlasts its deadline by the few seconds of a last poll, whatever the poll does; others go on."""
    async with Harness(Provider(*(after(n, 0) for n in ids(3)), latency=25.0)) as harness:
        harness.command(1, "create")
        tasks = [*harness.begin([1, 2], timeout=8), *harness.begin([3], timeout=600)]

        results = await outcomes(tasks)

        assert [type(result).__name__ for result in results] == [
            "WaitTimeoutError",
            "WaitTimeoutError",
            "WaitOutcome",
        ]
        assert "the last poll took too long" in str(results[0])
        assert len(harness.provider.polls) == 1


@virtual
async def test_a_wait_that_joins_a_hanging_poll_keeps_its_deadline() -> None:
    """The wait keeps its own deadline, whatever poll was in flight when it joined."""
    async with Harness(Provider(after(1, 0), after(2, 0), latency=60.0)) as harness:
        (patient,) = harness.begin([1])
        await asyncio.sleep(1)

        with pytest.raises(errors.WaitTimeoutError):
            await harness.wait(2, timeout=2)
        assert harness.now <= 3 + LAST_POLL
        assert (await patient).seconds == pytest.approx(60, abs=1)


@virtual
async def test_an_outage_is_survived_and_told() -> None:
    """An API that fails for a minute ends no wait; the timeline says when the outage began and ended."""
    async with Harness(Provider(*(after(n, 200) for n in ids(5)))) as harness:
        harness.provider.trouble = lambda now: errors.ConnectError("refused") if 60 <= now < 120 else None
        for n in ids(5):
            harness.command(n, "create")

        results = await outcomes(harness.begin(ids(5)))

        assert kinds(results) == {"WaitOutcome"}
        for result in results:
            words = [(seen.status, seen.note) for seen in result.timeline]
            assert words == [
                ("provisioning", ""),
                ("no answer", "ConnectError"),
                ("provisioning", ""),
                ("active", ""),
            ]
            assert 60 <= result.timeline[1].at <= 72
            assert 120 <= result.timeline[2].at <= 152
            assert result.seconds <= 210


@virtual
async def test_a_refused_token_ends_every_wait() -> None:
    """A 401 ends every wait, since polling again cannot fix it."""
    async with Harness(Provider(*(after(n, 100) for n in ids(5)))) as harness:
        harness.provider.trouble = lambda now: (
            errors.AuthenticationError("no", status=401) if now > 20 else None
        )

        results = await outcomes(harness.begin(ids(5)))

        assert kinds(results) == {"AuthenticationError"}
        assert len({id(result) for result in results}) == 5


@virtual
async def test_one_forbidden_server_is_that_ones_matter() -> None:
    """403 to a read by id ends the waits of that server, and no other."""
    async with Harness(Provider(*(after(n, 10) for n in ids(5000)))) as harness:
        await harness.poller.glance(ids(1000))
        harness.provider.forbidden = {1}
        results = await outcomes(harness.begin([1, 2]))

        assert [type(result).__name__ for result in results] == ["PermissionDeniedError", "WaitOutcome"]


@pytest.mark.parametrize("servers", [1, 8])
@virtual
async def test_a_bug_reaches_every_waiter(servers: int) -> None:
    """An unexpected exception ends every wait with it, and later waits start normally."""
    async with Harness(Provider(*(after(n, 0) for n in ids(servers)))) as harness:
        harness.provider.trouble = lambda now: ZeroDivisionError("bug") if now < 10 else None

        results = await outcomes(harness.begin(ids(servers)))
        assert kinds(results) == {"ZeroDivisionError"}
        many = harness.waiter.wait_all(ids(servers), Target.of("active"), 60)
        with pytest.raises(ZeroDivisionError):
            async for _ in many:
                pass

        await asyncio.sleep(10)
        assert kinds(await outcomes(harness.begin(ids(servers)))) == {"WaitOutcome"}


class Odd(Exception):
    """An exception that can't be copied."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


@virtual
async def test_an_error_that_can_not_be_copied_reaches_every_waiter() -> None:
    """The waiters share it then."""
    async with Harness(Provider(*(after(n, 0) for n in ids(3)))) as harness:
        harness.provider.trouble = lambda now: Odd("a", "bug")

        assert kinds(await outcomes(harness.begin(ids(3)))) == {"Odd"}


@virtual
async def test_a_bug_that_meets_a_waiter_who_leaves() -> None:
    """A waiter that was cancelled at the same moment leaves no unretrieved exception behind."""
    async with Harness(Provider(after(1, 0))) as harness:
        harness.provider.trouble = lambda now: ZeroDivisionError("bug")
        (task,) = harness.begin([1])
        await asyncio.sleep(0.05)
        (left,) = harness.provider.polls
        asyncio.get_running_loop().call_at(left + harness.provider.latency, task.cancel)

        with contextlib.suppress(asyncio.CancelledError, ZeroDivisionError):
            await task


def broken_hook(event: object) -> None:
    raise ZeroDivisionError


@virtual
async def test_a_hook_that_fails_ends_no_wait(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in the user's hook is logged, and the wait goes on."""
    async with Harness(Provider(after(1, 500))) as harness:
        harness.poller._on_event = broken_hook
        harness.command(1, "create")

        with caplog.at_level(logging.ERROR):
            outcome = await harness.wait(1, timeout=2000)

        assert outcome.seconds >= 500
        assert "the on_event hook failed on ServerStuck" in caplog.text


@virtual
async def test_a_poller_cancelled_from_outside_comes_back() -> None:
    """Cancelling every task of the loop leaves no wait hanging."""
    async with Harness(Provider(after(1, 30))) as harness:
        (waiting,) = harness.begin([1])
        await asyncio.sleep(5)

        for task in asyncio.all_tasks():
            if task.get_name() == "vpsorg-poller":
                task.cancel()

        assert (await waiting).seconds >= 30
