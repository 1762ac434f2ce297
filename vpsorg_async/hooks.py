"""Telling a user's hook what happened. A hook that fails is logged, and disturbs nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["Hook", "tell"]

Hook = Callable[[Any], None]


def tell(hook: Hook | None, event: object, log: logging.Logger) -> None:
    """Hand the event to the hook, if there is one; what it raises goes to the log of whoever tells."""
    if hook is None:
        return
    try:
        hook(event)
    except Exception:
        log.exception("the on_event hook failed on %s", type(event).__name__)
