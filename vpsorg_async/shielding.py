"""Tasks of this package: what has to run to its end however often the caller is cancelled, and what runs side by side.

A task that raises `KeyboardInterrupt` or `SystemExit` stops the event loop at once, with everything that is open. A
user's hook can raise them anywhere, so tasks made here carry them to whoever awaits the task, and it closes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from contextvars import Context
from typing import Any, TypeVar

import anyio

__all__ = ["apart", "is_cancellation", "result_of", "side_by_side", "to_the_end"]

T = TypeVar("T")


class _Carried(Exception):
    """Stands for what would stop the loop."""

    def __init__(self, stop: BaseException) -> None:
        super().__init__()
        self.stop = stop


async def _carrying(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except (KeyboardInterrupt, SystemExit) as stop:
        raise _Carried(stop) from None


def is_cancellation(error: BaseException) -> bool:
    """Whether the running task raises this because it was cancelled; any code can raise a `CancelledError`."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run it in a task of its own; `result_of` has what came of it."""
    task = asyncio.get_running_loop().create_task(_carrying(work))
    # a task that is cancelled before its first step never looks at it
    task.add_done_callback(lambda _: work.close())
    return task


def result_of(task: asyncio.Task[T]) -> T:
    """The result of a task made by `apart`, which is done. Raises what it raised."""
    try:
        return task.result()
    except _Carried as carried:
        raise carried.stop from None


async def side_by_side(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of them. The first that fails ends the others; none is left when this returns or raises."""
    tasks = [apart(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    except _Carried as carried:
        raise carried.stop from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def to_the_end(work: Coroutine[Any, Any, None], context: Context | None = None) -> None:
    """Await it. A cancellation that comes meanwhile follows when it is done; a task can be cancelled several times.

    The work runs in a task of its own. Where the loop itself is shut down (a second Ctrl-C), that task is cancelled as
    well: the work has to leave everything in order in its ``finally`` blocks, without awaiting anything.
    """
    begun = False

    async def begin() -> None:
        nonlocal begun
        begun = True
        await _carrying(work)

    cancelled: asyncio.CancelledError | None = None
    while True:
        task = asyncio.get_running_loop().create_task(begin(), context=context)
        while not task.done():
            try:
                with anyio.CancelScope(shield=True):
                    await asyncio.wait((task,))
            except asyncio.CancelledError as again:
                cancelled = again
        if begun:
            break
        # a task that is cancelled before its first step runs nothing, not even a ``finally`` block
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # retrieved: the cancellation is what the caller hears of
        raise cancelled
    result_of(task)
