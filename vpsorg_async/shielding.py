"""What has to run to its end, however often the caller is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

import anyio

__all__ = ["to_the_end"]


async def to_the_end(work: Coroutine[Any, Any, None], context: Context | None = None) -> None:
    """Await it. A cancellation that comes meanwhile follows when it is done; a task can be cancelled several times.

    The work runs in a task of its own. Where the loop itself is shut down (a second Ctrl-C), that task is cancelled as
    well: the work has to leave everything in order in its ``finally`` blocks, without awaiting anything.
    """
    begun = False

    async def begin() -> None:
        nonlocal begun
        begun = True
        await work

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
    task.result()
