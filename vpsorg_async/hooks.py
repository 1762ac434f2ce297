"""Telling a user's hook what happened. A hook that fails is logged, and disturbs nobody."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

__all__ = ["Hook", "tell"]

log = logging.getLogger("vpsorg_async.hooks")

Hook = Callable[[Any], None]


def tell(hook: Hook | None, event: object) -> None:
    """Hand the event to the hook, if there is one."""
    if hook is None:
        return
    try:
        hook(event)
    except Exception:
        log.exception("the on_event hook failed on %s", type(event).__name__)
