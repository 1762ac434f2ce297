"""Stale reads: the one rule by which a read of a server is believed or not. Pure.

Replicas lag by different times, so a read can show a server as it was. Such a read has an ``updated_at`` before the
newest one that was seen. It is stale and is not counted. But a clock at the provider can also be set back for
good. So once all reads of a server have been stale for `WaitPolicy.quiet` seconds, which is longer than reads lag,
they are believed.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["as_utc", "earlier", "judge", "later"]


def judge(
    shown: datetime | None, newest: datetime | None, stale_since: float | None, now: float, patience: float
) -> tuple[bool, float | None]:
    """Say whether a read counts.

    Args:
        shown: the ``updated_at`` of the read.
        newest: the newest ``updated_at`` seen before.
        stale_since: when the first of the stale reads was made that came last, in monotonic seconds; None if the last
            read was not stale.
        now: when this read was made, in monotonic seconds.
        patience: seconds of nothing but stale reads after which they are believed.

    Returns:
        Whether the read counts, and the next ``stale_since``.
    """
    if not earlier(shown, newest):
        return True, None
    if stale_since is None:
        stale_since = now
    return now - stale_since >= patience, stale_since


def earlier(first: datetime | None, second: datetime | None) -> bool:
    """Return whether both times are known, and the first lies before the second."""
    # nearly always they are the same: a poll of thousands of servers asks this for each
    if first is None or second is None or first == second:
        return False
    try:
        return first < second
    except TypeError:  # one of them has no zone
        return as_utc(first) < as_utc(second)


def later(first: datetime | None, second: datetime | None) -> datetime | None:
    """Return the later one of the times that are known."""
    return second if first is None or earlier(first, second) else first


def as_utc(at: datetime) -> datetime:
    """Return a time with a zone; one without is taken for UTC."""
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
