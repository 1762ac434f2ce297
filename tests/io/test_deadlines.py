"""The one timer of all attempts: each is interrupted at its own time, and other cancellations stay cancellations."""

from __future__ import annotations

import asyncio

import pytest

from tests.lifecycle.harness import virtual
from vpsorg_async.http.deadlines import Deadlines


async def attempt(deadlines: Deadlines, seconds: float) -> str:
    """Something that takes this long, as one attempt."""
    under_way = deadlines.enter()
    try:
        await asyncio.sleep(seconds)
        return "done"
    except asyncio.CancelledError:
        if under_way.late and under_way.taken_back():
            return "late"
        raise
    finally:
        deadlines.leave(under_way)


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual
async def test_each_ends_at_its_own_time() -> None:
    """Attempts that begin one after another have the same time each, also after a pause, and with others between."""
    deadlines = Deadlines(10.0)

    async def timed(start: float, seconds: float) -> tuple[str, float]:
        await asyncio.sleep(start)
        return await attempt(deadlines, seconds), now() - start

    results = await asyncio.gather(timed(0, 3), timed(1, 50), timed(4, 50), timed(4, 9), timed(40, 50))

    assert list(results) == [("done", 3.0), ("late", 10.0), ("late", 10.0), ("done", 9.0), ("late", 10.0)]


@virtual
async def test_a_cancellation_by_others_gets_through() -> None:
    """A cancellation from outside arrives before the deadline, at it, and in an `asyncio.timeout` around it."""
    deadlines = Deadlines(10.0)
    for when in (3.0, 10.0):
        task = asyncio.create_task(attempt(deadlines, 50))
        asyncio.get_running_loop().call_later(when, task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()

    began = now()
    try:
        async with asyncio.timeout(4):
            await attempt(deadlines, 50)
    except TimeoutError:
        pass
    assert now() - began == 4
    this = asyncio.current_task()
    assert this is not None
    assert this.cancelling() == 0


@virtual
async def test_an_attempt_that_is_late_leaves_its_task_as_it_was() -> None:
    """Code that runs later in the task is not cancelled."""
    deadlines = Deadlines(1.0)

    assert [await attempt(deadlines, 5) for _ in range(3)] == ["late"] * 3
    await asyncio.sleep(5)

    this = asyncio.current_task()
    assert this is not None
    assert this.cancelling() == 0


@virtual
async def test_closing_interrupts_all() -> None:
    """Closing interrupts each attempt exactly once, however near its end was."""
    deadlines = Deadlines(10.0)
    tasks = [asyncio.create_task(attempt(deadlines, 50)) for _ in range(3)]
    await asyncio.sleep(9.5)

    deadlines.close()

    assert await asyncio.gather(*tasks) == ["late"] * 3
    assert now() == 9.5


@virtual
async def test_an_attempt_with_a_limit_of_its_own() -> None:
    """It is interrupted at its own limit, whether that is shorter or longer than that of the others."""
    deadlines = Deadlines(10.0)

    async def ends(seconds: float | None) -> float:
        entered = deadlines.enter(seconds)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            assert entered.late
            assert entered.taken_back()
        finally:
            deadlines.leave(entered)
        return now()

    assert await asyncio.gather(*map(ends, (None, 20.0, 5.0))) == [10.0, 20.0, 5.0]


@virtual
async def test_closing_at_the_moment_of_a_limit() -> None:
    """An attempt that is late and closed at once is interrupted once, and its task is not cancelled after it."""
    deadlines = Deadlines(10.0)
    entered = deadlines.enter(5.0)
    asyncio.get_running_loop().call_at(5.0, deadlines.close)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(3600)

    assert entered.taken_back()
    deadlines.leave(entered)
    await asyncio.sleep(1)
    assert now() == 6.0


@virtual
async def test_an_attempt_that_is_done_leaves_no_timer() -> None:
    """An attempt that has ended is not interrupted."""
    deadlines = Deadlines(10.0)
    entered = deadlines.enter(5.0)
    deadlines.leave(entered)
    await asyncio.sleep(60)

    assert not entered.late


@virtual
async def test_closing_interrupts_attempts_with_a_limit_of_their_own() -> None:
    """No attempt hangs when the transport is closed."""
    deadlines = Deadlines(10.0)
    entered = deadlines.enter(3600.0)
    deadlines.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.sleep(7200)

    assert entered.taken_back()
    deadlines.leave(entered)
    assert now() == 0.0
