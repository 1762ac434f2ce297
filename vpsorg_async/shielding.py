"""Tasks that must run to completion although the caller is cancelled, and tasks that run concurrently.

A task that raises `KeyboardInterrupt` or `SystemExit` stops the event loop at once, with everything that is open. A
user's hook can raise them anywhere. The tasks of this module therefore pass them to the task that awaits them, which
closes first.
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
    """Wraps an exception that would stop the loop."""

    def __init__(self, stop: BaseException) -> None:
        super().__init__()
        self.stop = stop


async def _carrying(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    except (KeyboardInterrupt, SystemExit) as stop:
        raise _Carried(stop) from None


def is_cancellation(error: BaseException) -> bool:
    """Return whether the running task raises this because it was cancelled; any code can raise a `CancelledError`."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run the work in a new task; `result_of` returns its result."""
    task = asyncio.get_running_loop().create_task(_carrying(work))
    # a task that is cancelled before its first step never starts the coroutine
    task.add_done_callback(lambda _: work.close())
    return task


def result_of(task: asyncio.Task[T]) -> T:
    """Return the result of a finished task of `apart`, or raise its exception."""
    try:
        return task.result()
    except _Carried as carried:
        raise carried.stop from None


async def side_by_side(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all of them concurrently. The first failure cancels the others; none runs on when this returns or raises."""
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
    """Await the work to its end. Cancellations that arrive meanwhile are raised afterwards.

    The work runs in a new task. If the loop itself is shut down (a second Ctrl-C), that task is cancelled too. The work
    must then clean up in its ``finally`` blocks, without awaiting anything.
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
        # a task that is cancelled before its first step runs nothing, not even a ``finally`` block: start it again
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # marks it as retrieved: the caller gets the cancellation instead
        raise cancelled
    result_of(task)
