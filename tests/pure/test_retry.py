"""Whether and when a failed attempt is retried: the whole table, and the numbers."""

from __future__ import annotations

import random
import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    Sent,
    ServiceError,
    TransportError,
)
from vpsorg_async.http import retry
from vpsorg_async.http.exchange import Operation, Request, Response
from vpsorg_async.http.reply import refusal
from vpsorg_async.http.retry import (
    SHORTEST_PAUSE,
    TABLE,
    FailureKind,
    RetryPolicy,
    RetryQuota,
    RetryRule,
    decide,
    failure_kind,
)
from vpsorg_async.timing import Backoff

Failure = TransportError | APIError

EVERY = frozenset(Operation)
SAFE = frozenset({Operation.LIST, Operation.GET, Operation.READ, Operation.REPLACE, Operation.DELETE})
NONE: frozenset[Operation] = frozenset()

# Written by hand, not read from the code: every way to end, an example of it, and which operations are retried.
ROWS: list[tuple[FailureKind, Failure, frozenset[Operation]]] = [
    (FailureKind.NOT_SENT, ConnectError("refused"), EVERY),
    (FailureKind.NOT_SENT, RequestTimeoutError("late", sent=Sent.NO), EVERY),
    (FailureKind.NOT_SENT, ConnectionLostError("reset", sent=Sent.NO), EVERY),
    (FailureKind.UNREACHABLE, ConnectError("certificate", final=True), NONE),
    (FailureKind.UNREACHABLE, TransportError("a coding that was not asked for", final=True), NONE),
    (FailureKind.RATE_LIMITED, RateLimitError("slow down", status=429), EVERY),
    (FailureKind.REFUSED, BadRequestError("no", status=400), NONE),
    (FailureKind.REFUSED, AuthenticationError("no", status=401), NONE),
    (FailureKind.REFUSED, PaymentRequiredError("no", status=402), NONE),
    (FailureKind.REFUSED, PermissionDeniedError("no", status=403), NONE),
    (FailureKind.REFUSED, NotFoundError("no", status=404), NONE),
    (FailureKind.REFUSED, APIError("no", status=409), NONE),
    (FailureKind.REFUSED, APIError("no", status=422), NONE),
    (FailureKind.REFUSED, APIError("elsewhere", status=307), NONE),
    (FailureKind.REFUSED, APIError("elsewhere", status=308), NONE),
    (FailureKind.FAILED, APIError("late", status=408, sent=Sent.MAYBE), SAFE),
    *(
        (FailureKind.FAILED, ServiceError("", status=code, sent=Sent.MAYBE), SAFE)
        for code in (500, 502, 503, 504)
    ),
    (FailureKind.LOST, ConnectionLostError("reset"), SAFE),
    (FailureKind.LOST, RequestTimeoutError("late"), SAFE),
    *(
        (FailureKind.UNUSABLE, ServiceError("", status=code, sent=Sent.MAYBE), NONE)
        for code in (501, 505, 520)
    ),
    *(
        (FailureKind.UNUSABLE, APIError("", status=code, sent=Sent.MAYBE), NONE)
        for code in (300, 301, 302, 303)
    ),
]

failures = st.sampled_from([error for _, error, _ in ROWS])
operations = st.sampled_from(Operation)
seconds = st.floats(0, 1e6)
randoms = st.integers(0, 2**32).map(random.Random)


def request(operation: Operation = Operation.GET, *, may_repeat: bool = True) -> Request:
    return Request(operation, "GET", "/api/v1/servers/", may_repeat=may_repeat)


def pause(error: Failure, policy: RetryPolicy | None = None, **given: Any) -> float | None:
    known: dict[str, Any] = {
        "tries": 1,
        "limited": 1,
        "patience_used": 0.0,
        "quota": RetryQuota(50),
        "rng": random.Random(1),
    }
    asked = given.pop("request", None) or request()
    return decide(policy or RetryPolicy(), asked, error, **(known | given))


def limited(headers: dict[str, str], status: int = 429) -> APIError:
    """The error of an answer with these headers."""
    answer = Response(status=status, headers=headers, body=b"", requested_at=0, received_at=0)
    error = refusal(request(), answer, str)
    assert error is not None
    return error


@pytest.mark.parametrize(("expected", "error"), [(row, error) for row, error, _ in ROWS])
def test_each_failure_has_its_row(expected: FailureKind, error: Failure) -> None:
    """The evidence in a failure puts it into one row of the table."""
    assert failure_kind(error) is expected


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize(("error", "tried_again"), [(error, who) for _, error, who in ROWS])
def test_each_cell_of_the_table(
    error: Failure, tried_again: frozenset[Operation], operation: Operation
) -> None:
    """Every way to end, crossed with every operation."""
    assert (pause(error, request=request(operation)) is not None) == (operation in tried_again)


def test_every_row_has_a_sample() -> None:
    """No row of the table goes untested, and none is missing."""
    assert {row for row, _, _ in ROWS} == set(FailureKind) == set(TABLE)


@pytest.mark.parametrize(("row", "error"), [(row, error) for row, error, _ in ROWS])
def test_what_is_final_is_never_repeated(row: FailureKind, error: Failure) -> None:
    """The client's own retries agree with what each error says to others; of the unknown 5xx they are more careful."""
    if TABLE[row] is not RetryRule.NEVER:
        assert not error.final
    elif row is not FailureKind.UNUSABLE:
        assert error.final


def test_the_table_in_the_text_is_the_table_in_the_code() -> None:
    """The table in the module's docstring is the one in the code."""
    words = {
        "always": RetryRule.ALWAYS,
        "always, after the hint": RetryRule.ALWAYS,
        "if it may happen twice": RetryRule.IF_SAFE,
        "never": RetryRule.NEVER,
    }
    lines = (retry.__doc__ or "").split("=\n")[2].split("==")[0].strip().splitlines()
    cells = [re.split(r"\s{2,}", line) for line in lines]

    assert {FailureKind(name): words[what] for name, _, what in cells} == dict(TABLE)


@given(failures, operations, st.integers(1, 9), st.integers(1, 9), seconds, randoms)
def test_a_pause_is_finite_and_never_negative(
    error: Failure, operation: Operation, tries: int, limits: int, used: float, rng: random.Random
) -> None:
    """Whatever failed and however often, the result is to give up or a finite pause."""
    policy = RetryPolicy()

    after = pause(
        error, policy, request=request(operation), tries=tries, limited=limits, patience_used=used, rng=rng
    )

    assert after is None or 0 <= after <= max(policy.max_retry_after, 2 * policy.backoff.maximum)


@given(failures, operations)
def test_a_caller_can_forbid_the_second_attempt(error: Failure, operation: Operation) -> None:
    """``may_repeat=False`` and ``attempts=1`` mean one attempt, whatever happened."""
    assert pause(error, request=request(operation, may_repeat=False)) is None
    assert pause(error, request=attrs.evolve(request(operation), over=True)) is None
    assert pause(error, RetryPolicy(attempts=1), request=request(operation)) is None


@given(st.integers(1, 12))
def test_attempts_are_all_tries_of_a_call(attempts: int) -> None:
    """A call that keeps failing makes exactly this number of attempts."""
    policy, tries = RetryPolicy(attempts=attempts), 1

    while pause(ConnectionLostError(), policy, tries=tries) is not None:
        tries += 1

    assert tries == attempts


@given(st.floats(0, 1e300), st.floats(0, 1e300), st.floats(0, 1e300), st.integers(1, 10_000), randoms)
def test_jitter_is_full(
    initial: float, maximum: float, multiplier: float, tries: int, rng: random.Random
) -> None:
    """A pause lies anywhere between nothing and the ceiling, which grows up to its maximum, without overflow."""
    backoff = Backoff(initial=initial, maximum=maximum, multiplier=multiplier)
    policy = RetryPolicy(attempts=10_001, backoff=backoff)

    after = pause(ServiceError(status=503, sent=Sent.MAYBE), policy, tries=tries, rng=rng)

    assert after is not None
    assert 0 <= after <= backoff.ceiling(tries) <= maximum


def test_jitter_uses_the_whole_range() -> None:
    """Clients that failed together do not retry together."""
    backoff = Backoff(initial=1.0, maximum=8.0)
    rng = random.Random(7)

    for tries, ceiling in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0)]:
        pauses = [backoff.pause(tries, rng) for _ in range(500)]
        assert min(pauses) < ceiling * 0.05
        assert max(pauses) > ceiling * 0.95


@given(st.integers(0, 10**15 - 1), st.integers(1, 9), randoms)
def test_retry_after_is_obeyed_and_clamped(asked: int, limits: int, rng: random.Random) -> None:
    """A retry is never earlier than Retry-After, up to the clamp; later by the jitter alone, never beyond the clamp."""
    policy = RetryPolicy(rate_limit_patience=1e9)

    after = pause(limited({"retry-after": str(asked)}), policy, limited=limits, rng=rng)

    assert after is not None
    assert min(asked, policy.max_retry_after) <= after <= policy.max_retry_after
    assert after <= max(asked + policy.backoff.ceiling(limits), SHORTEST_PAUSE)


DATE = "Fri, 10 Jan 2025 14:30:00 GMT"


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 7 "}, 7.0),
        ({"retry-after": "7.5"}, 7.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Fri, 10 Jan 2025 14:30:09 GMT", "date": DATE}, 9.0),
        ({"retry-after": "Fri, 10 Jan 2025 14:29:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "999999999999999"}, 60.0),
        # no valid hint: a whole second and more, growing
        ({}, 1.0),
        ({"retry-after": "1" + "0" * 20}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({"retry-after": "NaN"}, 1.0),
        ({"retry-after": "inf"}, 1.0),
        ({"retry-after": "1e3"}, 1.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "Fri, 10 Jan 2025 14:30:09 GMT"}, 1.0),
        ({"retry-after": "Fri, 32 Jan 2025 14:30:09 GMT", "date": DATE}, 1.0),
        ({"retry-after": "Fri, 10 Jan 0000 14:30:09 GMT", "date": DATE}, 1.0),
    ],
)
def test_the_hint_of_an_answer(headers: dict[str, str], least: float) -> None:
    """Seconds, a date against the answer's own date, or no hint at all."""
    after = pause(limited(headers))

    assert after is not None
    assert least <= after <= least + RetryPolicy().backoff.ceiling(1) or after == SHORTEST_PAUSE > least


def test_a_503_with_a_hint_waits_for_it() -> None:
    """A 503 with Retry-After is retried no earlier than it says."""
    error = limited({"retry-after": "9"}, status=503)

    assert pause(error) == 9.0
    assert pause(error, RetryPolicy(max_retry_after=4.0)) == 4.0


@given(st.floats(0, 1e9), st.one_of(st.none(), st.integers(0, 10**6)), randoms)
def test_patience_with_rate_limits_has_an_end(used: float, asked: int | None, rng: random.Random) -> None:
    """No pause exceeds the policy's patience, which alone ends the waiting for a rate limit."""
    policy = RetryPolicy()

    after = pause(
        limited({} if asked is None else {"retry-after": str(asked)}), policy, patience_used=used, rng=rng
    )

    assert after is None or used + after <= policy.rate_limit_patience


@given(st.sampled_from([{}, {"retry-after": "0"}, {"retry-after": "0.001"}]), st.floats(0, 0.01))
def test_waiting_for_a_rate_limit_ends_even_without_back_off(headers: dict[str, str], initial: float) -> None:
    """A service that endlessly sends 429 with "wait 0 seconds" is given up in the end."""
    policy = RetryPolicy(backoff=Backoff(initial=initial, maximum=initial), rate_limit_patience=5.0)
    used, most = 0.0, round(policy.rate_limit_patience / SHORTEST_PAUSE)

    for limits in range(1, most + 2):
        after = pause(limited(headers), policy, limited=limits, patience_used=used)
        if after is None:
            return
        used += after
    pytest.fail(f"still going on after {most} attempts")


def test_rate_limits_use_up_neither_attempts_nor_quota() -> None:
    """A 429 uses up no attempt and no quota."""
    quota = RetryQuota(1)

    assert pause(RateLimitError(status=429), tries=99, quota=quota) is not None
    assert quota.left == 1.0


@given(st.integers(0, 60), st.integers(1, 400), st.integers(1, 8), operations, failures)
def test_an_outage_costs_a_tenth_more(
    capacity: int, calls: int, attempts: int, operation: Operation, error: Failure
) -> None:
    """All calls of a client together make at most ``quota`` retries, and one more for each ten calls."""
    policy, quota, sent = RetryPolicy(attempts=attempts, quota=capacity), RetryQuota(capacity), 0
    if isinstance(error, RateLimitError):
        return

    for _ in range(calls):
        quota.deposit()
        tries = 1
        while pause(error, policy, request=request(operation), tries=tries, quota=quota) is not None:
            tries += 1
        sent += tries

    assert sent <= 1.1 * calls + capacity


def test_the_quota_fills_again() -> None:
    """After an outage the quota recovers, one retry for about ten calls, up to its initial size."""
    quota = RetryQuota(3)
    assert [quota.take() for _ in range(4)] == [True, True, True, False]

    for _ in range(11):
        quota.deposit()
    assert [quota.take(), quota.take()] == [True, False]

    for _ in range(1000):
        quota.deposit()
    assert quota.left == 3.0


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": True},
        {"attempts": 2.0},
        {"quota": -1},
        {"quota": False},
        {"quota": "1"},
        {"max_retry_after": -1.0},
        {"max_retry_after": float("nan")},
        {"rate_limit_patience": float("inf")},
        {"backoff": None},
        {"backoff": Backoff(initial=-1.0)},
        {"backoff": Backoff(multiplier=float("nan"))},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """A wrong number is found when it is given, not in the middle of an outage."""
    with pytest.raises(ConfigurationError):
        RetryPolicy(**options)
