"""A wait that is open at the poller, with what the poller keeps beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs

from .durations import Kind
from .wait import Verdict, Wait

__all__ = ["Entry", "OnEnd"]

OnEnd = Callable[[Verdict | None, float], None]
"""Told how a wait ended (None: it was left), and when the last look left that did not show it done."""


@attrs.define(eq=False)
class Entry:
    """``undone_at`` is when the last look left that did not show it done; monotonic seconds."""

    wait: Wait
    future: asyncio.Future[Verdict]
    cohort: tuple[Kind, float]
    undone_at: float
    on_end: OnEnd | None
    stuck: bool = False
