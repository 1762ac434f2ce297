"""The tasks of one run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ..shielding import is_cancellation
from .stream import OutcomeLog

__all__ = ["RunTasks"]


class RunTasks:
    """Tasks that are separate from the caller's task: if the caller is cancelled, what was sent is still answered.

    An exception in one of them is raised by the iteration over the run.
    """

    def __init__(self, outcomes: OutcomeLog) -> None:
        self._outcomes = outcomes
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the work in a task of its own."""

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            # a task that is cancelled before its first step never awaits its work
            work.close()

        task = asyncio.get_running_loop().create_task(
            self._guarded(work),
            name=f"vpsorg-{self._outcomes.operation}",
            context=self._outcomes.context,
        )
        self._tasks.add(task)
        task.add_done_callback(done)

    def cancel(self) -> None:
        """Cancel all tasks; does not wait for them."""
        for task in self._tasks:
            task.cancel()

    async def end(self, patience: float = 0.0) -> None:
        """Wait at most ``patience`` seconds for the tasks to end by themselves, then cancel them."""
        if patience and self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except BaseException as bug:
            if is_cancellation(bug):
                raise
            self._outcomes.broke(bug)
