"""A client that keeps a rate: which requests leave when, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.io.faults import SPEC
from tests.virtual import virtual
from vpsorg_async import Client, RateLimit, events
from vpsorg_async.errors import ClientClosedError, RequestTimeoutError, Sent, VpsOrgError, WaitTimeoutError
from vpsorg_async.http.concurrency import ConcurrencyLimiter
from vpsorg_async.http.exchange import Priority
from vpsorg_async.http.rate import RateLimiter
from vpsorg_async.lifecycle.poller import LAST_POLL
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.virtual_time import LoopClock

TWO = RateLimit(requests_per_second=2, burst=4)


def now() -> float:
    return asyncio.get_running_loop().time()


@attrs.define
class Log:
    """The requests that left: the time and the operation of each."""

    sent: list[tuple[float, str]] = attrs.field(factory=list)

    def __call__(self, event: events.ClientEvent) -> None:
        if isinstance(event, events.RequestSent):
            self.sent.append((now(), event.operation))

    def keeps(self, rate: RateLimit) -> bool:
        times = [time for time, _ in self.sent]
        return all(
            last - first + 1 <= rate.burst + rate.requests_per_second * (times[last] - times[first]) + 1e-6
            for first in range(len(times))
            for last in range(first, len(times))
        )


@asynccontextmanager
async def account(rate: RateLimit | None = TWO, **options: Any) -> AsyncIterator[tuple[Sandbox, Client, Log]]:
    log = Log()
    async with Sandbox(clock=asyncio.get_running_loop().time) as box:
        box.world.add(1)
        async with Client(
            box.token, base_url=box.url, clock=LoopClock(), rate=rate, on_event=log, **options
        ) as vps:
            yield box, vps, log


async def quiet() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@virtual
async def test_a_fleet_keeps_the_rate() -> None:
    """Creates, retries and polls of a fleet together: no span of time has more requests than its share."""
    async with account() as (box, vps, log):
        box.faults.add(Rule("create", faults.Reply(503, headers={"Retry-After": "0"}), times=2))
        specs = [attrs.evolve(SPEC, name=f"web-{n:02}") for n in range(20)]
        began = now()
        report = await vps.fleet.create(specs, timeout=3600)

        assert len(report.succeeded) + len(report.failed) == 20
        assert log.keeps(TWO)
        assert {operation for _, operation in log.sent} >= {"list", "create"}
        assert now() - began >= (len(log.sent) - TWO.burst) / TWO.requests_per_second - 1e-6


@virtual
async def test_without_a_rate_all_leave_at_once() -> None:
    """The same calls are not slowed down, and the plain limiter is used."""
    async with account(None) as (box, vps, log):
        (server,) = box.servers
        await asyncio.gather(*(vps.servers.get(server.id) for _ in range(20)))
        assert {time for time, _ in log.sent} == {log.sent[0][0]}


@virtual
async def test_calls_wait_their_turn() -> None:
    """A burst leaves at once, and then one request for each half of a second, in order of arrival."""
    async with account() as (box, vps, log):
        (server,) = box.servers
        began, done = now(), []

        async def get(number: int) -> None:
            await vps.servers.get(server.id)
            done.append(number)

        await asyncio.gather(*(get(number) for number in range(8)))
        assert done == list(range(8))
        left = [round(time - began, 3) for time, _ in log.sent]
        assert left == pytest.approx([0, 0, 0, 0, 0.5, 1.0, 1.5, 2.0], abs=0.01)


async def _order(limiter: ConcurrencyLimiter, arrivals: list[Priority]) -> list[Priority]:
    order: list[Priority] = []

    async def one(priority: Priority) -> None:
        await limiter.acquire(priority)
        order.append(priority)
        limiter.release()

    tasks = [asyncio.create_task(one(priority)) for priority in arrivals]
    await asyncio.gather(*tasks)
    return order


@virtual
async def test_priorities_are_kept() -> None:
    """Calls of the user go before bulk work, and that before polls, as they do where slots are short."""
    limiter = RateLimiter(8, RateLimit(requests_per_second=1), LoopClock())
    assert limiter.take()
    limiter.release()
    user, bulk, poll = Priority.USER, Priority.BULK, Priority.POLL
    assert await _order(limiter, [poll, bulk, user, bulk, user]) == [user, user, bulk, bulk, poll]


@virtual
async def test_polls_are_not_starved() -> None:
    """A poll that was passed over several times goes next."""
    limiter = RateLimiter(8, RateLimit(requests_per_second=1), LoopClock())
    assert limiter.take()
    limiter.release()
    order = await _order(limiter, [Priority.POLL] + [Priority.USER] * 30)
    assert order.index(Priority.POLL) < 15


@virtual
async def test_cancelled_calls_cost_no_tokens() -> None:
    """Who leaves the queue leaves no gap: the next one goes at the time at which it would have gone."""
    async with account(RateLimit(requests_per_second=1)) as (box, vps, log):
        (server,) = box.servers
        began = now()
        calls = [asyncio.create_task(vps.servers.get(server.id)) for _ in range(6)]
        await asyncio.sleep(0.5)
        for call in calls[1:5]:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

        assert [round(time - began, 2) for time, _ in log.sent] == [0, 1.0]


@virtual
async def test_cancellation_at_the_moment_of_the_token() -> None:
    """A token and a slot that were handed to a call which is cancelled go to the next one at once."""
    limiter = RateLimiter(8, RateLimit(requests_per_second=1), LoopClock())
    assert limiter.take()
    limiter.release()
    first = asyncio.create_task(limiter.acquire(Priority.USER))
    second = asyncio.create_task(limiter.acquire(Priority.USER))
    # cancelled in the same step of the loop in which its slot arrives
    asyncio.get_running_loop().call_at(1.0 + 1e-5, first.cancel)
    await second
    assert now() < 2.1
    await asyncio.gather(first, return_exceptions=True)
    assert limiter.in_flight == 1 + (not first.cancelled())


@pytest.mark.parametrize("seed", range(20))
def test_random_cancellation(seed: int) -> None:
    """Whatever is cancelled whenever: no slot is lost, the rate is kept, and everyone else gets a turn in time."""
    rng, rate = random.Random(seed), RateLimit(requests_per_second=2, burst=3)

    @virtual
    async def play() -> None:
        limiter, left = RateLimiter(4, rate, LoopClock()), Log()

        async def one() -> None:
            await limiter.acquire(rng.choice(list(Priority)))
            left.sent.append((now(), ""))
            try:
                await asyncio.sleep(rng.random() * 3)
            finally:
                limiter.release()

        tasks: list[asyncio.Task[None]] = []
        for _ in range(40):
            tasks.append(asyncio.create_task(one()))
            if rng.random() < 0.4:
                asyncio.get_running_loop().call_later(rng.random() * 8, rng.choice(tasks).cancel)
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random())
        await asyncio.gather(*tasks, return_exceptions=True)

        assert limiter.in_flight == 0
        assert left.keeps(rate)
        served = sum(not task.cancelled() for task in tasks)
        assert served <= len(left.sent)
        assert now() <= (len(left.sent) + 1) / rate.requests_per_second + 30

    play()


@virtual
async def test_a_deadline_holds_in_the_queue() -> None:
    """A call whose turn does not come before its deadline, or before `not_after`, ends then, and was not sent."""
    async with account(RateLimit(requests_per_second=0.5)) as (box, vps, log):
        (server,) = box.servers
        await vps.servers.get(server.id)
        began = now()
        others = [asyncio.create_task(vps.servers.get(server.id)) for _ in range(5)]
        await quiet()
        late = LoopClock().wall() + timedelta(seconds=4.5)
        views = (vps.with_options(deadline=3), vps.with_options(not_after=late))
        calls = [asyncio.create_task(view.servers.reboot(server.id)) for view in views]
        ends = [3.0, 4.5]
        for call, end in zip(calls, ends, strict=True):
            with pytest.raises(RequestTimeoutError) as caught:
                await call
            assert (caught.value.sent, caught.value.attempts) == (Sent.NO, 0)
            assert now() - began == pytest.approx(end, abs=0.1)
        await vps.servers.get(server.id)
        assert now() - began == pytest.approx(12, abs=0.1), "the calls that left the queue took no tokens"
        await asyncio.gather(*others)
        assert [operation for _, operation in log.sent] == ["get"] * 7


@virtual
async def test_a_token_that_comes_too_late() -> None:
    """Where the next token comes after the deadline, the call ends at once; it says what holds it back."""
    async with account(RateLimit(requests_per_second=0.1)) as (box, vps, _):
        (server,) = box.servers
        await vps.servers.get(server.id)
        began = now()
        for view in (
            vps.with_options(deadline=3),
            vps.with_options(not_after=LoopClock().wall() + timedelta(seconds=4)),
        ):
            with pytest.raises(
                RequestTimeoutError, match="rate of requests, which allows the next one in"
            ) as caught:
                await view.servers.reboot(server.id)
            assert (caught.value.sent, caught.value.attempts) == (Sent.NO, 0)
        assert now() == began
        await vps.with_options(deadline=12).servers.get(server.id)
        assert now() - began == pytest.approx(10, abs=0.1)


@virtual
async def test_a_request_cancelled_while_another_ends_uses_no_token() -> None:
    """The slot that becomes free, and its token, are for the next request in the queue."""
    limiter = RateLimiter(1, RateLimit(requests_per_second=0.001, burst=2), LoopClock())
    await limiter.acquire(Priority.USER)
    leaver, stayer = (asyncio.create_task(limiter.acquire(Priority.USER)) for _ in range(2))
    await quiet()

    leaver.cancel()
    limiter.release()
    await quiet()

    assert (leaver.cancelled(), stayer.done(), limiter.in_flight) == (True, True, 1)
    limiter.close()


@virtual
async def test_closing_wakes_all() -> None:
    """Calls that queue for a token end when the client closes, and no task remains."""
    calls: list[Coroutine[Any, Any, Any]] = []
    async with account(RateLimit(requests_per_second=0.001)) as (box, vps, _):
        (server,) = box.servers
        await vps.servers.get(server.id)
        calls = [vps.servers.get(server.id) for _ in range(5)]
        tasks = [asyncio.create_task(call) for call in calls]
        await quiet()
        before = now()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in ended] == [ClientClosedError] * 5
    assert now() - before < 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("calls", [0, 50])
@virtual
async def test_a_wait_ends_at_its_time(calls: int) -> None:
    """A poll that queues for a token holds up the timeout of a wait no longer than any slow poll may."""
    async with account(RateLimit(requests_per_second=0.5)) as (box, vps, log):
        server = await vps.servers.create(SPEC)
        busy = [asyncio.create_task(vps.servers.get(box.servers[0].id)) for _ in range(calls)]
        began = now()
        with pytest.raises(WaitTimeoutError):
            await vps.wait_until(server.id, "active", timeout=9)
        assert now() - began <= 9 + LAST_POLL + 0.1
        await asyncio.gather(*busy)
        assert log.keeps(RateLimit(requests_per_second=0.5))


@virtual
async def test_a_user_overtakes_a_fleet() -> None:
    """A call of the user waits for the next token, not for the fleet."""
    async with account(RateLimit(requests_per_second=1)) as (box, vps, _):
        (server,) = box.servers
        specs = [attrs.evolve(SPEC, name=f"web-{n:02}") for n in range(20)]
        fleet = asyncio.create_task(vps.fleet.create(specs, timeout=3600))
        await asyncio.sleep(5.5)
        began = now()
        await vps.servers.get(server.id)
        assert now() - began <= 1.1
        report = await fleet
        assert len(report.succeeded) == 20


@virtual
async def test_a_request_held_back_by_a_429_keeps_no_token() -> None:
    """Reads that wait for the end of a rate limit of the service leave the tokens to changes."""
    async with account(RateLimit(requests_per_second=1)) as (box, vps, log):
        (server,) = box.servers
        box.faults.add(Rule("get", faults.RateLimit(20), times=1))
        reads = [asyncio.create_task(vps.servers.get(server.id)) for _ in range(5)]
        await asyncio.sleep(1.5)
        began = now()
        await vps.servers.reboot(server.id)
        assert now() - began <= 1.1
        assert all(isinstance(read, VpsOrgError) or read.id for read in await asyncio.gather(*reads))
        assert log.keeps(RateLimit(requests_per_second=1))
