"""Shared by the tests of hard ends: hooks that raise, and a loop that is closed as a program's is."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import pytest

from vpsorg_async.virtual_time import VirtualTimeLoop

__all__ = ["FAILURES", "STOPS", "paired", "played", "raises", "raising"]

FAILURES: dict[str, Callable[[], BaseException]] = {
    "an error": lambda: ValueError("not mine"),
    "a group": lambda: ExceptionGroup("several", [ValueError("not mine"), OSError("nor this")]),
    "the end of an iteration": lambda: StopIteration("not mine"),
    "a cancellation of its own": lambda: asyncio.CancelledError("not mine"),
}
"""The errors that a hook can raise by mistake."""

STOPS: dict[str, Callable[[], BaseException]] = {
    "Ctrl-C": lambda: KeyboardInterrupt("mine"),
    "an exit": lambda: SystemExit(3),
    "a failed test": lambda: pytest.fail.Exception("mine"),
    "a skipped test": lambda: pytest.skip.Exception("mine"),
}
"""The errors that a hook raises to end everything."""


def paired(kinds: Iterable[str], errors: dict[str, Callable[[], BaseException]]) -> list[Any]:
    """Parameters: each kind with one of the errors, and each error with one of the kinds at least."""
    kinds = list(kinds)
    count = max(len(kinds), len(errors))
    pairs = itertools.islice(
        zip(itertools.cycle(kinds), itertools.cycle(errors.items()), strict=False), count
    )
    return [pytest.param(kind, error, id=f"{kind}-{name}") for kind, (name, error) in pairs]


def raises(error: BaseException) -> Any:
    """Raise the error."""
    raise error


def raising(kind: type[Any] | str, make: Callable[[], BaseException]) -> Callable[[Any], None]:
    """A hook that raises at each event of that kind."""
    name = kind if isinstance(kind, str) else kind.__name__

    def hook(event: Any) -> None:
        if type(event).__name__ == name:
            raise make()

    return hook


def played(play: Callable[[], Coroutine[Any, Any, None]]) -> BaseException | None:
    """Run it as a program would, and close the loop; return what it raised. No task and no warning is left."""
    complaints: list[str] = []
    raised: BaseException | None = None
    runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
    loop = runner.get_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
    try:
        runner.run(play())
    except BaseException as stop:
        raised = stop
    runner.close()
    gc.collect()
    assert complaints == []
    return raised
