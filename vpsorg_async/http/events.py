"""The events that a client's ``on_event`` hook receives: frozen records without secrets.

``request`` is the method and path. Durations are seconds; attempts count from 1.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from ..errors import Sent

__all__ = [
    "AnswerMisfit",
    "AttemptFailed",
    "ChangeAbandoned",
    "ListIncomplete",
    "RateLowered",
    "RequestAnswered",
    "RequestSent",
    "RetryScheduled",
]


@attrs.frozen(kw_only=True)
class RequestSent:
    """An attempt is about to leave."""

    operation: str
    request: str
    attempt: int


@attrs.frozen(kw_only=True)
class RequestAnswered:
    """An attempt got a good answer."""

    operation: str
    request: str
    attempt: int
    status: int
    seconds: float


@attrs.frozen(kw_only=True)
class AttemptFailed:
    """An attempt failed. ``sent`` says what is known about it; ``error`` is the class name of the failure."""

    operation: str
    request: str
    attempt: int
    sent: Sent
    error: str
    message: str
    status: int | None = None


@attrs.frozen(kw_only=True)
class RetryScheduled:
    """Another attempt follows in ``after`` seconds."""

    operation: str
    request: str
    attempt: int
    after: float


@attrs.frozen(kw_only=True)
class RateLowered:
    """The API limited the rate: at most ``limit`` requests are in flight until the limit recovers."""

    limit: int


@attrs.frozen(kw_only=True)
class AnswerMisfit:
    """A part of an answer did not fit and was left out. Emitted once for each ``problem`` of a client.

    ``problem`` is a line such as ``$.results[].plan.memory: Expected `int`, got `float```. A field that does not fit is
    None. If ``row`` is True, the id, the status or the name did not fit, and the whole row was left out.
    """

    request: str
    problem: str
    row: bool = False


@attrs.frozen(kw_only=True)
class ListIncomplete:
    """The list of servers is known to lack some; ``reason`` says why. Emitted when that begins or changes.

    An incomplete list proves no absence: nothing is created, deleted by name or reported as gone because of it.
    """

    request: str
    reason: str


@attrs.frozen(kw_only=True)
class ChangeAbandoned:
    """A change was cancelled after it had left, so it may have been applied. ``subject`` is a spec's name or an id.

    ``sent_at`` is the time of day (UTC).
    """

    operation: str
    request: str
    subject: int | str
    sent_at: datetime
