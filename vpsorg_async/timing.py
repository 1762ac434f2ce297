"""Clocks, sleeping and random numbers: the only module that uses them.

All durations are seconds (float). Deadlines are monotonic, so a wall clock that jumps can't move them.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

import attrs

__all__ = ["Backoff", "Clock", "Random", "SystemClock", "seconds_until", "time_before"]

Random = random.Random
"""A separate random source, so that jitter neither reads nor changes the global one."""


class Clock(Protocol):
    """The package's view of time. Tests and simulations pass their own."""

    def now(self) -> float:
        """Return monotonic seconds; only differences have a meaning."""
        ...

    def wall(self) -> datetime:
        """Return the time of day in UTC: for people, stored records and ``not_after``, never for computing waits."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after this number of seconds."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    @staticmethod
    def now() -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def wall(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running event loop."""
        # asyncio takes a third of the import time of the package, so it is imported only when needed
        import asyncio

        await asyncio.sleep(seconds)


def seconds_until(moment: datetime, clock: Clock) -> float:
    """Return the seconds to a time of day; below 0 after it."""
    return (moment - clock.wall()).total_seconds()


@attrs.frozen(kw_only=True)
class Backoff:
    """Growing pauses with full jitter: uniform between 0 and ``min(initial * multiplier ** n, maximum)`` seconds.

    Jitter keeps clients that failed together from retrying together.

    Args:
        initial: The longest first pause, in seconds.
        maximum: The longest pause at all, in seconds.
        multiplier: The growth of the longest pause with each failure.
    """

    initial: float = 0.25
    maximum: float = 20.0
    multiplier: float = 2.0

    def ceiling(self, failures: int) -> float:
        """Return the longest pause after this number of failures (from 1), in seconds."""
        try:
            return min(self.initial * self.multiplier ** (failures - 1), self.maximum)
        except OverflowError:
            return self.maximum

    def pause(self, failures: int, rng: Random) -> float:
        """Return the pause after this number of failures (from 1), in seconds."""
        return rng.uniform(0.0, self.ceiling(failures))


def time_before(at: datetime, seconds: float) -> datetime:
    """Return the time that many seconds before another one; the earliest that there is, if that is out of range."""
    try:
        return at - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
