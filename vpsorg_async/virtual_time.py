"""An event loop on which waiting takes no time: five minutes of provisioning pass in milliseconds.

::

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())

Whenever nothing is left to do but to wait for a timer, the loop's clock jumps to it. A `Client` with
``clock=LoopClock()`` then waits in virtual time; a `Sandbox` on the same loop shares it with ``clock=loop.time``.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["LoopClock", "VirtualTimeLoop"]


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits for a timer; says how far the clock has to jump instead."""

    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self.jumped += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop whose clock jumps over idle time. Starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual monotonic seconds."""
        return self._jumping.jumped


class LoopClock:
    """The clock of the running loop, for `Client(clock=...)`: virtual on a `VirtualTimeLoop`."""

    START = datetime(2025, 1, 1, tzinfo=UTC)

    def now(self) -> float:
        """The loop's monotonic seconds."""
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        """A time of day that moves with the loop."""
        return self.START + timedelta(seconds=self.now())

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running loop."""
        await asyncio.sleep(seconds)
