"""Sleep that can be ended early, and long work that yields to the event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

from ..timing import Clock

__all__ = ["Wakeup", "run_steps", "yield_to_loop"]

AT_A_TIME = 50


class Wakeup:
    """Sleeps until a time, or until it is set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()

    def set(self) -> None:
        """End the sleep; does nothing if nothing sleeps."""
        self._event.set()

    async def sleep_until(self, when: float, *others: asyncio.Future[Any]) -> None:
        """Return at that time (monotonic seconds), when it is set, or when one of the others is done."""
        self._event.clear()
        waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._event.wait())]
        if when < math.inf:
            waiting.append(asyncio.ensure_future(self._clock.sleep(when - self._clock.now())))
        try:
            await asyncio.wait((*waiting, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def yield_to_loop(number: int = 0) -> None:
    """Yield to the event loop before every 50th of many units of work; ``number`` counts them from 0."""
    if number % AT_A_TIME == 0:
        # twice: what has become due since the last turn of the loop runs after this task in the next one
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def run_steps(steps: Iterator[object]) -> bool:
    """Take every step, yielding to the event loop after each 50; returns whether any of them gave True."""
    found = False
    for number, step in enumerate(steps, 1):
        found = found or step is True
        if number % AT_A_TIME == 0:
            await yield_to_loop()
    return found
