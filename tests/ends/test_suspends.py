"""A process that is suspended, or whose loop is blocked, past a deadline: the last poll still gets its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.lifecycle.harness import Harness, Provider, after, record
from vpsorg_async import Server, errors
from vpsorg_async.lifecycle.readiness import ReadyPolicy, ask
from vpsorg_async.virtual_time import VirtualTimeLoop

ENOUGH = 5.0
"""Seconds that the last poll gets, from when it left."""


class Suspendable(VirtualTimeLoop):
    """A loop whose clock can jump, as that of a machine that was suspended."""

    def __init__(self) -> None:
        self.asleep = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self.asleep

    def suspend(self, at: float, seconds: float) -> None:
        """Suspend for this long, from that time on."""
        self.call_at(at, self._sleep, seconds)

    def _sleep(self, seconds: float) -> None:
        self.asleep += seconds


def suspendable(play: Callable[[Suspendable], Coroutine[Any, Any, None]]) -> None:
    """Run it on such a loop; no task may be left."""
    with asyncio.Runner(loop_factory=Suspendable) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, Suspendable)
        runner.run(play(loop))
        assert asyncio.all_tasks(loop) == set()


class Slow(Provider):
    """One server, active from a time on; every response takes this long, or ``slow`` seconds from ``slow_from`` on."""

    def __init__(self, active_at: float, *, slow_from: float = 1e9, slow: float = 0.0) -> None:
        super().__init__(after(1, active_at), latency=0.2)
        self.slow_from = slow_from
        self.slow = slow

    async def _answer(self, asked: float) -> dict[int, Server]:
        if asked >= self.slow_from:
            await asyncio.sleep(self.slow)
        return await super()._answer(asked)


async def waited(provider: Provider, timeout: float, *, waits: int = 1) -> list[str]:
    """The result or the error of a wait for it."""

    async def wait(harness: Harness) -> str:
        try:
            return "active" if (await harness.wait(1, timeout=timeout)).server else ""
        except errors.WaitTimeoutError:
            return "timeout"

    async with Harness(provider) as harness:
        return list(await asyncio.gather(*(wait(harness) for _ in range(waits))))


# the poll at the deadline of ten seconds leaves at 10.0, and is answered at 10.2; with the list of two waits as well
MOMENTS = {
    "at the beginning": 0.05,
    "between two polls": 4.0,
    "shortly before the deadline": 9.9,
    "with the last poll in flight": 10.05,
    "with the last answer on its way": 10.19,
}


@pytest.mark.parametrize("waits", [1, 3])
@pytest.mark.parametrize("seconds", [0.5, 3.0, 7.0, 20.0, 100.0, 10_000.0])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_what_became_of_it_meanwhile_is_seen(moment: float, seconds: float, waits: int) -> None:
    """The server becomes active while the process is suspended: each wait ends with it, whenever the wait began."""

    async def play(loop: Suspendable) -> None:
        provider = Slow(moment + seconds / 2)
        loop.suspend(moment, seconds)
        if moment + seconds < 10:
            provider = Slow(9.0)
        assert await waited(provider, 10.0, waits=waits) == ["active"] * waits

    suspendable(play)


@pytest.mark.parametrize("seconds", [7.0, 100.0])
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
@pytest.mark.parametrize(("slow", "ends"), [(4.5, "active"), (1000.0, "timeout")])
def test_the_last_poll_gets_its_time_and_no_more(
    moment: float, seconds: float, slow: float, ends: str
) -> None:
    """After a suspension a poll that takes 4.5 s is waited for, and one without a response ends within 5 s or so."""

    async def play(loop: Suspendable) -> None:
        active_at = moment + seconds / 2 if ends == "active" else 1e9
        provider = Slow(active_at, slow_from=10.25, slow=slow)
        loop.suspend(moment, seconds)
        assert await waited(provider, 10.0) == [ends]
        # at most two polls leave after the suspension: one that was in flight during it is followed by another
        assert loop.time() <= max(10.0, moment + seconds) + 2 * (ENOUGH + 1.5)

    suspendable(play)


@pytest.mark.parametrize("waits", [1, 3])
@pytest.mark.parametrize("seconds", [7.0, 40.0])
def test_a_poll_that_fails_for_the_suspension_is_not_the_last(seconds: float, waits: int) -> None:
    """A poll in flight at the deadline that timed out or found dead connections is followed by another one."""

    async def play(loop: Suspendable) -> None:
        provider = Slow(12.0)
        provider.trouble = lambda asked: (
            errors.RequestTimeoutError("no complete answer within 30 s")
            if 9.5 < asked < 10.4 + seconds
            else None
        )
        loop.suspend(10.1, seconds)
        assert await waited(provider, 10.0, waits=waits) == ["active"] * waits

    suspendable(play)


@pytest.mark.parametrize("seconds", [7.0, 100.0])
def test_a_server_that_is_not_there_yet_times_out_all_the_same(seconds: float) -> None:
    """A suspension postpones no deadline for ever."""

    async def play(loop: Suspendable) -> None:
        def again() -> None:
            loop.asleep += 2.5
            if loop.time() < 300:
                loop.call_later(3.0, again)

        loop.call_later(1.0, again)
        loop.suspend(9.0, seconds)
        assert await waited(Slow(1e9), 10.0) == ["timeout"]
        assert loop.time() <= 10 + seconds + 30

    suspendable(play)


@pytest.mark.parametrize("waits", [1, 3])
def test_a_poll_without_an_answer_ends_five_seconds_after_the_deadline(waits: int) -> None:
    """Without a suspension a poll without a response ends exactly five seconds after the deadline."""

    async def play(loop: Suspendable) -> None:
        provider = Slow(1e9, slow_from=9.0, slow=1000.0)
        assert await waited(provider, 10.0, waits=waits) == ["timeout"] * waits
        assert loop.time() == pytest.approx(10.0 + ENOUGH, abs=0.6)

    suspendable(play)


class Check:
    """A check that takes two seconds, and passes from a time on."""

    def __init__(self, passes_at: float) -> None:
        self.passes_at = passes_at
        self.asked = 0

    async def __call__(self, server: Server) -> bool:
        self.asked += 1
        await asyncio.sleep(2)
        return asyncio.get_running_loop().time() >= self.passes_at


@pytest.mark.parametrize("seconds", [30.0, 1000.0])
@pytest.mark.parametrize("moment", [0.5, 1.0, 3.0, 5.0, 9.0, 11.0, 12.0])
def test_a_ready_check_has_its_time_once_more(moment: float, seconds: float) -> None:
    """After a suspension past the deadline, in a check or between two, it is called once more, in full."""

    async def play(loop: Suspendable) -> None:
        loop.suspend(moment, seconds)
        async with Harness(Slow(0.0)) as harness:
            outcome = await harness.wait(1)
            check = Check(moment + seconds)
            outcome = await harness.waiter.ready(outcome, check, ReadyPolicy(timeout=12))
            assert outcome.stage == "ready"

    suspendable(play)


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_check_that_never_passes_is_asked_no_more_than_that(seconds: float) -> None:
    """A suspension adds one call of the check, and no second one after it."""

    async def play(loop: Suspendable) -> None:
        loop.suspend(3.0, seconds)
        began = loop.time()
        never = Check(1e9)
        assert await ask(hangs, record(1, "active"), 5.0) == "it did not answer within 5 s"
        assert loop.time() - began == pytest.approx(5.0 if not seconds else 33.0 + 5.0, abs=0.1)
        assert await ask(never, record(1, "active"), 5.0) == "it said no"
        assert never.asked == 1

    async def hangs(_: Server) -> bool:
        await asyncio.sleep(1000)
        return True

    suspendable(play)


@pytest.mark.parametrize("moment", [0.0, 1.5, 1.9])
@pytest.mark.parametrize("seconds", [4.5, 100.0])
def test_a_health_check_has_its_time_once_more(moment: float, seconds: float) -> None:
    """A suspension does not use up the time for a rolling operation's health check."""

    async def play(loop: Suspendable) -> None:
        loop.suspend(moment, seconds)
        assert await ask(Check(0.0), record(1, "active"), 3.0) == ""

    suspendable(play)
