"""A real event loop whose clock can be pushed forward: time is skipped without waiting, and only on demand."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeVar

__all__ = ["SkippingClock", "SkippingLoop", "quiet", "run", "skip", "skipping"]

T = TypeVar("T")
P = ParamSpec("P")


class SkippingLoop(asyncio.SelectorEventLoop):
    """Sockets are real; the clock is the machine's, plus the skipped time."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def skip(seconds: float) -> None:
    """Skip this much time on the running loop: timers that are due by then fire next."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skipped += seconds


class SkippingClock:
    """For ``Client(clock=...)`` with one call at a time: each sleep advances the time for all tasks."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now())

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        skip(seconds)
        await asyncio.sleep(0)


async def quiet() -> None:
    """Let every task run as far as it can by itself."""
    for _ in range(200):
        await asyncio.sleep(0)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on a loop that can skip."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(main)


def skipping(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The test as a plain function that runs on a loop that can skip."""

    @functools.wraps(test)
    def plain(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return plain
