"""An event loop on which waiting takes no real time: five minutes of provisioning pass in milliseconds.

::

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())

When the loop has nothing to do except wait for a timer, its clock jumps to that timer. A `Client` with
``clock=LoopClock()`` then waits in virtual time; a `Sandbox` on the same loop shares it with ``clock=loop.time``.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["LoopClock", "VirtualTimeLoop", "outside_future"]


LONG = 5.0
"""The minimum of a long jump, in seconds."""
PATIENCE = 1 / 30_000
"""The share of a long jump that is really waited before it: 1 ms for half a minute, 3 s for a day."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that never waits for a timer, but counts how far the clock must jump.

    Before a long jump, which may reach a timeout, it waits briefly for events from outside the loop: a working thread,
    bytes on their way through the kernel. While ``outside`` counts work whose end is certain to be reported to the
    loop, it does not jump at all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0
        self.outside = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or (timeout > 0 and self.outside):
            return super().select()
        ready = super().select(0)
        if not ready and timeout >= LONG:
            ready = super().select(timeout * PATIENCE)
        if not ready:
            self.jumped += max(timeout, 0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector loop whose clock jumps over idle time. Its time starts at 0."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return virtual monotonic seconds."""
        return self._jumping.jumped

    def stand_still(self, future: asyncio.Future[Any]) -> None:
        """Let the clock stand still until this future is done."""
        self._jumping.outside += 1
        future.add_done_callback(self._go_on)

    def _go_on(self, _: object) -> None:
        self._jumping.outside -= 1


def outside_future() -> asyncio.Future[Any]:
    """Return a future of the running loop that another thread completes, by ``call_soon_threadsafe``.

    Virtual time stands still until then, so that no timeout passes while the thread works.
    """
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    if isinstance(loop, VirtualTimeLoop):
        loop.stand_still(future)
    return future


class LoopClock:
    """The clock of the running loop, for `Client(clock=...)`: virtual on a `VirtualTimeLoop`."""

    START = datetime(2025, 1, 1, tzinfo=UTC)

    def now(self) -> float:
        """Return the loop's monotonic seconds."""
        return asyncio.get_running_loop().time()

    def wall(self) -> datetime:
        """Return a time of day that moves with the loop."""
        return self.START + timedelta(seconds=self.now())

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running loop."""
        await asyncio.sleep(seconds)
