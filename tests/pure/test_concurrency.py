"""The limit and the limiter: the number of requests in flight, their order, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.errors import ClientClosedError
from vpsorg_async.http.concurrency import PATIENCE, AdaptiveLimit, ConcurrencyLimiter
from vpsorg_async.http.exchange import Priority


async def settle() -> None:
    """Let every task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_rate_limit_halves_the_limit() -> None:
    """Each burst of 429s halves the concurrency, and one request is always allowed."""
    limit = AdaptiveLimit(32)

    limits = [(limit.limited(now), limit.current) for now in (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)]

    assert limits == [(True, 16), (True, 8), (True, 4), (True, 2), (True, 1), (False, 1)]


def test_the_answers_to_one_burst_count_once() -> None:
    """Sixteen 429s to sixteen requests sent together count once."""
    limit = AdaptiveLimit(32)

    assert [limit.limited(5.0 + n / 20) for n in range(16)] == [True] + [False] * 15
    assert limit.current == 16
    assert limit.limited(5.0 + AdaptiveLimit.COOLDOWN)


def test_the_window_recovers_by_one_per_round() -> None:
    """A limit's worth of successes allows one request more, up to the maximum and not beyond."""
    limit = AdaptiveLimit(8)
    limit.limited(0.0)
    assert limit.current == 4

    rounds = []
    for _ in range(6):
        for _ in range(limit.current + 1):
            limit.succeeded()
        rounds.append(limit.current)

    assert rounds == [5, 6, 7, 8, 8, 8]


@given(st.integers(1, 100), st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200))
def test_the_window_keeps_its_bounds(maximum: int, events: list[tuple[bool, float]]) -> None:
    """Whatever the responses were, the limit stays between one and the maximum."""
    limit, now = AdaptiveLimit(maximum), 0.0

    for good, passed in events:
        now += passed
        if good:
            limit.succeeded()
        else:
            limit.limited(now)
        assert 1 <= limit.current <= maximum


async def test_places_go_by_priority_then_by_arrival() -> None:
    """Calls of the user go before bulk changes, those before polls, and each kind in the order it came."""
    limiter = ConcurrencyLimiter(1)
    await limiter.acquire(Priority.USER)
    served: list[str] = []

    async def take(name: str, priority: Priority) -> None:
        await limiter.acquire(priority)
        served.append(name)
        limiter.release()

    waiting = [
        asyncio.create_task(take(f"{priority.name} {number}", priority))
        for number in (1, 2)
        for priority in reversed(Priority)
    ]
    await settle()
    limiter.release()
    await asyncio.gather(*waiting)

    assert served == ["USER 1", "USER 2", "BULK 1", "BULK 2", "POLL 1", "POLL 2"]


async def test_the_last_in_line_are_not_forgotten() -> None:
    """While work of a higher priority never ends, a poll waits for a few slots, not for all."""
    limiter = ConcurrencyLimiter(1)
    await limiter.acquire(Priority.USER)
    poll = asyncio.create_task(limiter.acquire(Priority.POLL))
    bulk = [asyncio.create_task(limiter.acquire(Priority.BULK)) for _ in range(100)]

    for _ in range(PATIENCE + 1):
        await settle()
        assert not poll.done()
        limiter.release()
    await settle()

    assert poll.done()
    assert sum(task.done() for task in bulk) == PATIENCE
    for task in bulk:
        task.cancel()


async def test_nobody_overtakes_the_queue() -> None:
    """A free slot belongs to the first waiter in the queue, not to a new request."""
    limiter = ConcurrencyLimiter(1)
    await limiter.acquire(Priority.USER)
    first = asyncio.create_task(limiter.acquire(Priority.USER))
    await settle()

    limiter.release()
    second = asyncio.create_task(limiter.acquire(Priority.USER))
    await settle()

    assert (first.done(), second.done(), limiter.in_flight) == (True, False, 1)
    limiter.release()
    await second


async def test_a_smaller_window_lets_fewer_in() -> None:
    """After a 429 no request is dropped, but slots are passed on only below the new limit."""
    limiter = ConcurrencyLimiter(4)
    for _ in range(4):
        await limiter.acquire(Priority.USER)
    limiter.limit.limited(0.0)
    waiting = asyncio.create_task(limiter.acquire(Priority.USER))

    steps = []
    for _ in range(3):
        limiter.release()
        await settle()
        steps.append((limiter.in_flight, waiting.done()))

    assert steps == [(3, False), (2, False), (2, True)]


async def test_a_cancelled_request_leaves_the_queue() -> None:
    """A waiter that stops waiting takes no slot when one becomes free."""
    limiter = ConcurrencyLimiter(1)
    await limiter.acquire(Priority.USER)
    leaver = asyncio.create_task(limiter.acquire(Priority.USER))
    stayer = asyncio.create_task(limiter.acquire(Priority.USER))
    await settle()

    leaver.cancel()
    limiter.release()
    await settle()

    assert (leaver.cancelled(), stayer.done(), limiter.in_flight) == (True, True, 1)


async def test_a_place_handed_to_a_cancelled_request_goes_on() -> None:
    """A slot that was handed over at the very moment of the cancellation reaches the next in line."""
    limiter = ConcurrencyLimiter(1)
    await limiter.acquire(Priority.USER)
    leaver = asyncio.create_task(limiter.acquire(Priority.USER))
    stayer = asyncio.create_task(limiter.acquire(Priority.USER))
    await settle()

    limiter.release()
    leaver.cancel()
    await settle()

    assert (leaver.cancelled(), stayer.done(), limiter.in_flight) == (True, True, 1)


async def test_a_request_that_stopped_waiting_holds_up_nobody() -> None:
    """A free slot is taken immediately, although a cancelled request has queued for one before."""
    limiter = ConcurrencyLimiter(2)
    await limiter.acquire(Priority.USER)
    await limiter.acquire(Priority.USER)
    limiter.limit.limited(0.0)
    leaver = asyncio.create_task(limiter.acquire(Priority.USER))
    await settle()
    limiter.release()  # of two, while one is allowed
    leaver.cancel()
    await settle()
    while limiter.limit.current < 2:
        limiter.succeeded()

    assert limiter.take()
    assert limiter.in_flight == 2


async def test_a_request_behind_one_that_leaves_is_admitted() -> None:
    """A request that joins a queue of cancelled requests gets the free slot after they leave."""
    limiter = ConcurrencyLimiter(2)
    await limiter.acquire(Priority.USER)
    await limiter.acquire(Priority.USER)
    limiter.limit.limited(0.0)
    leaver = asyncio.create_task(limiter.acquire(Priority.USER))
    await settle()
    limiter.release()
    while limiter.limit.current < 2:
        limiter.limit.succeeded()

    follower = asyncio.create_task(limiter.acquire(Priority.POLL))
    leaver.cancel()
    await settle()

    assert (leaver.cancelled(), follower.done(), limiter.in_flight) == (True, True, 2)


async def test_a_limit_that_rises_admits_the_next_in_line() -> None:
    """When the limit rises, no request stays queued beside a free slot."""
    limiter = ConcurrencyLimiter(2)
    await limiter.acquire(Priority.USER)
    limiter.limit.limited(0.0)
    waiting = asyncio.create_task(limiter.acquire(Priority.USER))
    await settle()
    assert not waiting.done()

    for _ in range(2):
        limiter.succeeded()
    await settle()

    assert (waiting.done(), limiter.in_flight, limiter.limit.current) == (True, 2, 2)


@pytest.mark.parametrize("seed", range(5))
async def test_random_cancels_leak_no_place(seed: int) -> None:
    """A thousand requests, cancelled at random moments under a changing limit: all slots are released."""
    rng, limiter = random.Random(seed), ConcurrencyLimiter(5)
    most = 0

    async def call() -> None:
        nonlocal most
        await limiter.acquire(rng.choice(list(Priority)))
        try:
            most = max(most, limiter.in_flight)
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
        finally:
            limiter.release()

    tasks: list[asyncio.Task[None]] = []
    for number in range(1000):
        tasks.append(asyncio.create_task(call()))
        if rng.random() < 0.5:
            rng.choice(tasks[-20:]).cancel()
        if rng.random() < 0.3:
            await asyncio.sleep(0)
        if rng.random() < 0.02:
            limiter.limit.limited(number * 1.0)
        limiter.succeeded()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert limiter.in_flight == 0
    assert most <= 5
    assert sum(task.cancelled() for task in tasks) > 100
    await asyncio.wait_for(limiter.acquire(Priority.POLL), 5)


async def test_closing_turns_everybody_away() -> None:
    """Queued and later requests get an error; a request with a slot keeps it."""
    limiter = ConcurrencyLimiter(1)
    await limiter.acquire(Priority.USER)
    queued = [asyncio.create_task(limiter.acquire(priority)) for priority in Priority]
    await settle()

    limiter.close()

    for error in await asyncio.gather(*queued, return_exceptions=True):
        assert isinstance(error, ClientClosedError)
    with pytest.raises(ClientClosedError):
        await limiter.acquire(Priority.USER)
    assert limiter.in_flight == 1
    limiter.release()
    assert limiter.in_flight == 0


async def test_a_request_cancelled_while_closing_stays_cancelled() -> None:
    """A request that was cancelled a moment before does not keep the others from their error."""
    limiter = ConcurrencyLimiter(1)
    await limiter.acquire(Priority.USER)
    leaver, stayer = (asyncio.create_task(limiter.acquire(Priority.USER)) for _ in range(2))
    await settle()

    leaver.cancel()
    limiter.close()
    await settle()

    assert leaver.cancelled()
    assert isinstance(stayer.exception(), ClientClosedError)


@pytest.fixture(autouse=True)
def no_lost_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A future whose exception is never retrieved would be reported on the asyncio logger."""
    yield
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
