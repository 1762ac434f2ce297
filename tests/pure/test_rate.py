"""The token bucket: a table, and its promise under any sequence of requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import Client, RateLimit
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.http.rate import TokenBucket

START = 1000.0
rates = st.builds(
    RateLimit,
    requests_per_second=st.floats(min_value=0.01, max_value=1000.0),
    burst=st.integers(min_value=1, max_value=20),
)


def test_a_burst_and_then_the_rate() -> None:
    """A full bucket gives its burst at once, then a token at each interval; a quiet time fills it no further."""
    bucket = TokenBucket(RateLimit(requests_per_second=4, burst=3))

    assert [bucket.take(START) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(START) == pytest.approx(0.25)
    assert not bucket.take(START + 0.2)
    assert bucket.take(START + 0.25)
    assert bucket.wait(START + 0.25) == pytest.approx(0.25)
    assert [bucket.take(START + 9999) for _ in range(4)] == [True, True, True, False]


def test_a_token_that_is_put_back() -> None:
    """A token that was not used is there for the next request."""
    bucket = TokenBucket(RateLimit(requests_per_second=1))
    assert bucket.take(START)
    bucket.put_back()
    assert bucket.wait(START) == 0
    assert bucket.take(START)
    assert not bucket.take(START)


@given(rates, st.lists(st.floats(min_value=0, max_value=5), max_size=60))
def test_no_span_of_time_has_more_than_its_share(rate: RateLimit, gaps: list[float]) -> None:
    """Between any two requests that got a token there are at most the burst and the rate's share of that time."""
    bucket, now, taken = TokenBucket(rate), START, []
    for gap in gaps:
        now += gap
        while bucket.take(now):
            taken.append(now)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            share = rate.burst + rate.requests_per_second * (taken[last] - taken[first])
            assert last - first + 1 <= share + 1e-6


@given(rates, st.integers(min_value=1, max_value=50))
def test_after_its_wait_there_is_a_token(rate: RateLimit, count: int) -> None:
    """Whoever waits as long as the bucket says, and a millionth of a second, gets a token."""
    bucket, now = TokenBucket(rate), START
    for _ in range(count):
        wait = bucket.wait(now)
        now += wait + (1e-6 if wait else 0)
        assert bucket.take(now)
    fastest = (count - rate.burst) / rate.requests_per_second
    assert now - START >= fastest - 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"requests_per_second": 0},
        {"requests_per_second": -1},
        {"requests_per_second": float("nan")},
        {"requests_per_second": float("inf")},
        {"requests_per_second": True},
        {"requests_per_second": "5"},
        {"requests_per_second": 1, "burst": 0},
        {"requests_per_second": 1, "burst": 1.5},
        {"requests_per_second": 1, "burst": True},
        {"requests_per_second": 1, "burst": None},
    ],
)
def test_rates_that_are_refused(options: dict[str, Any]) -> None:
    """A rate that no request could keep, or that is no number, is refused where it is given."""
    with pytest.raises(ConfigurationError, match=list(options)[-1]):
        RateLimit(**options)


@pytest.mark.parametrize("value", [5, "5", (5, 1)])
def test_a_rate_is_a_rate_limit(value: Any) -> None:
    """A number alone would not say whether it is the rate or the burst."""
    with pytest.raises(ConfigurationError, match="rate is a RateLimit"):
        Client("token", rate=value)
