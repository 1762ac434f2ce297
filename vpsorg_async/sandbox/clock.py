"""The sandbox's time: seconds since it was created, or a clock that a test moves."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from .errors import SandboxError

Clock: TypeAlias = Callable[[], float]


def running_clock() -> Clock:
    """Return a clock that shows 0 now and runs with the machine's monotonic time."""
    start = time.monotonic()
    return lambda: time.monotonic() - start


def wall_time() -> float:
    """Return POSIX seconds, which relate a clock to the calendar."""
    return time.time()


class ManualClock:
    """A clock that stands still until `advance(seconds)` is called, so that five minutes pass at once.

    It controls the world of the sandbox (transitions, late commits, lagging reads, boots). Delays on the wire stay
    real. Servers that listen have followed when `advance` returns; see `Sandbox`.

    Example:
        ``clock = ManualClock()``, ``Sandbox(clock=clock)``, then ``clock.advance(300)``
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._lock = threading.Lock()
        self._watchers: dict[Callable[[], None], None] = {}

    def __call__(self) -> float:
        return self._now

    def __repr__(self) -> str:
        return f"ManualClock({self._now})"

    def advance(self, seconds: float) -> float:
        """Advance by `seconds` and return the new time. Raises `SandboxError` if it would go back."""
        if not (math.isfinite(seconds) and seconds >= 0):
            raise SandboxError(f"a clock advances by a finite number of seconds >= 0, not {seconds!r}")
        with self._lock:
            self._now = now = self._now + seconds
        for watcher in tuple(self._watchers):
            watcher()
        return now

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` after each advance, in the thread that advances."""
        self._watchers[watcher] = None

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Stop calling `watcher`."""
        self._watchers.pop(watcher, None)
