"""Time and chance: the only home of clocks, sleeping and random numbers.

All durations are seconds (float). Deadlines are monotonic, so a wall clock that jumps can't move them.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Protocol

import attrs

__all__ = ["Backoff", "Clock", "Random", "SystemClock"]

Random = random.Random
"""A random source of one's own, so that jitter neither reads nor disturbs the global one."""


class Clock(Protocol):
    """What the package needs of time. Tests and simulations hand in their own."""

    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...

    def wall(self) -> datetime:
        """The time of day, in UTC: for people and for stored records, never for arithmetic on waits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    now = staticmethod(time.monotonic)

    def wall(self) -> datetime:
        """The time of day, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        # asyncio costs a third of the import time of the package: only who sleeps pays for it
        import asyncio

        await asyncio.sleep(seconds)


@attrs.frozen(kw_only=True)
class Backoff:
    """Growing pauses with full jitter: uniform between 0 and ``min(initial * multiplier ** n, maximum)`` seconds.

    Full jitter, because clients that failed together must not come back together.
    """

    initial: float = 0.25
    maximum: float = 20.0
    multiplier: float = 2.0

    def ceiling(self, failures: int) -> float:
        """The longest pause after so many failures (from 1), in seconds."""
        try:
            return min(self.initial * self.multiplier ** (failures - 1), self.maximum)
        except OverflowError:
            return self.maximum

    def pause(self, failures: int, rng: Random) -> float:
        """The pause after so many failures (from 1), in seconds."""
        return rng.uniform(0.0, self.ceiling(failures))
