"""Time and chance: the only home of clocks, sleeping and random numbers.

All durations are seconds (float). Deadlines are monotonic, so a wall clock that jumps can't move them.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import Protocol

import attrs

__all__ = ["Backoff", "Clock", "Deadline", "SystemClock", "default_random"]


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


@attrs.frozen
class Deadline:
    """A point on the monotonic clock."""

    at: float

    @classmethod
    def after(cls, seconds: float, now: float) -> Deadline:
        """The deadline so many seconds after ``now``."""
        return cls(now + seconds)

    def left(self, now: float) -> float:
        """Seconds left; negative once it has passed."""
        return self.at - now


def default_random() -> random.Random:
    """A random source of its own, so that jitter neither reads nor disturbs the global one."""
    return random.Random()


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
        # beyond 2 ** 60 the float would overflow for large multipliers; the maximum rules long before
        return min(self.initial * self.multiplier ** min(failures - 1, 60), self.maximum)

    def pause(self, failures: int, rng: random.Random) -> float:
        """The pause after so many failures (from 1), in seconds."""
        return rng.uniform(0.0, self.ceiling(failures))
