"""What a client's ``on_event`` hook is told: frozen records without secrets.

``request`` is the method and path. Durations are seconds; attempts count from 1.
"""

from __future__ import annotations

import attrs

from ..errors import Sent

__all__ = ["AttemptFailed", "RateLowered", "RequestAnswered", "RequestSent", "RetryScheduled"]


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
    """An attempt failed. ``sent`` says what is known of it; ``error`` is the class name of the failure."""

    operation: str
    request: str
    attempt: int
    sent: Sent
    error: str
    message: str
    status: int | None = None


@attrs.frozen(kw_only=True)
class RetryScheduled:
    """Another attempt follows after so many seconds."""

    operation: str
    request: str
    attempt: int
    after: float


@attrs.frozen(kw_only=True)
class RateLowered:
    """The API asked for less: at most ``limit`` requests are in flight from now on, until it recovers."""

    limit: int
