"""Calling a user's hook. One that fails is logged, and disturbs nothing else."""

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
"""What the code of a user may raise without ending anything. A `CancelledError` of its own is a failure like others;
`KeyboardInterrupt`, `SystemExit` and the outcomes of test runners mean that everything shall end."""


def emit(hook: Hook | None, event: object, log: logging.Logger) -> None:
    """Hand the event to the hook, if there is one; what it raises goes to ``log``."""
    if hook is None:
        return
    try:
        hook(event)
    except FAILURES:
        log.exception("the on_event hook failed on %s", type(event).__name__)


def safely(call: Callable[P, T], log: logging.Logger) -> Callable[P, T | None]:
    """The same call; what it raises goes to ``log``, and None is returned."""

    @functools.wraps(call)
    def safe(*args: P.args, **options: P.kwargs) -> T | None:
        try:
            return call(*args, **options)
        except FAILURES:
            log.exception("%s failed", getattr(call, "__qualname__", call))
            return None

    return safe
