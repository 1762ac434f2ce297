"""Run a test in virtual time, in which waiting takes no time."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from vpsorg_async.virtual_time import VirtualTimeLoop

P = ParamSpec("P")


def virtual(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on a loop where waiting takes no time; it may leave neither task nor warning behind."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        complaints: list[str] = []
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
            runner.run(test(*args, **kwargs))
            left = [repr(task) for task in asyncio.all_tasks(loop)]
            # objects that were never awaited or retrieved warn when they are collected
            gc.collect()
        assert left == []
        assert complaints == []

    return run
