"""Calls of a user's hooks. An exception of a hook is logged, and changes nothing else."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["FAILURES", "Hook", "emit", "safely"]

P = ParamSpec("P")
T = TypeVar("T")

Hook = Callable[[Any], None]

FAILURES = (Exception, asyncio.CancelledError)
"""Exceptions of a user's code that end nothing.

A `CancelledError` that the code raises itself is a failure like others. `KeyboardInterrupt`, `SystemExit` and the
outcomes of test runners mean that everything must end."""


def emit(hook: Hook | None, event: object, log: logging.Logger) -> None:
    """Call the hook with the event, if there is a hook. Its exceptions go to ``log``."""
    if hook is None:
        return
    try:
        hook(event)
    except FAILURES:
        log.exception("the on_event hook failed on %s", type(event).__name__)


def safely(call: Callable[P, T], log: logging.Logger) -> Callable[P, T | None]:
    """Return the same call, whose exceptions go to ``log``, and which then returns None."""

    @functools.wraps(call)
    def safe(*args: P.args, **options: P.kwargs) -> T | None:
        try:
            return call(*args, **options)
        except FAILURES:
            log.exception("%s failed", getattr(call, "__qualname__", call))
            return None

    return safe
