"""The one rule for stale reads, and times that may be absent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from vpsorg_async.lifecycle.staleness import earlier, judge, later

NOON = datetime(2025, 1, 16, 12, tzinfo=UTC)
PATIENCE = 15.0


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


NONE = None
ORDER: list[tuple[datetime | None, datetime | None, bool, datetime | None]] = [
    (NONE, NONE, False, NONE),
    (NONE, at(1), False, at(1)),
    (at(1), NONE, False, at(1)),
    (at(1), at(2), True, at(2)),
    (at(2), at(1), False, at(2)),
    (at(1), at(1), False, at(1)),
]


@pytest.mark.parametrize(("first", "second", "before", "last"), ORDER)
def test_times_are_compared_where_both_are_known(
    first: datetime | None, second: datetime | None, before: bool, last: datetime | None
) -> None:
    """An absent timestamp proves nothing in either direction."""
    assert earlier(first, second) is before
    assert later(first, second) == last


# updated_at of the read, the newest before it, since when reads are stale, whether it counts at 100 s, since when then
READS: list[tuple[datetime | None, datetime | None, float | None, bool, float | None]] = [
    (at(1), at(1), None, True, None),
    (at(2), at(1), 99.0, True, None),
    (NONE, at(1), 99.0, True, None),
    (at(1), NONE, 99.0, True, None),
    (at(1), at(2), None, False, 100.0),
    (at(1), at(2), 85.1, False, 85.1),
    (at(1), at(2), 85.0, True, 85.0),
]


@pytest.mark.parametrize(("shown", "newest", "since", "counts", "then"), READS)
def test_a_stale_read_counts_after_a_time_of_nothing_else(
    shown: datetime | None, newest: datetime | None, since: float | None, counts: bool, then: float | None
) -> None:
    """Replicas lag for a while only; a status that is still shown after that counts."""
    assert judge(shown, newest, since, 100.0, PATIENCE) == (counts, then)
