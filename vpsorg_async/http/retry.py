"""Whether a failed attempt is followed by another one, and when. Pure: a table, a function, a quota.

The decision depends on the operation and on what the failure proves:

==============  =====================================================  =========================
how it ended    what it was                                            another attempt
==============  =====================================================  =========================
not sent        no connection; nothing left this machine               always
unreachable     certificate, set-up, or a coding not asked for            never
rate limited    429                                                    always, after the hint
refused         any other 4xx, and 307/308                             never
failed          408, 500, 502, 503, 504, a gateway's 403 or 404        if it may happen twice
lost            reset, timeout, half an answer, not HTTP                if it may happen twice
unusable        other 5xx, other 3xx, 2xx that does not fit            never
==============  =====================================================  =========================

"If it may happen twice": list, get, PUT and DELETE. A create, reboot, start, stop or PATCH that may have been applied
is never sent again from here; the layers above find out its outcome. Nothing follows in a call whose deadline passed
or whose client was closed (`Request.over`), and nothing whose error is `final`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ..config import RetryPolicy
from ..errors import APIError, RateLimitError, Sent, TransportError
from ..timing import Random
from .exchange import Repeat, Request

__all__ = [
    "TABLE",
    "FailureKind",
    "RetryPolicy",
    "RetryQuota",
    "RetryRule",
    "decide",
    "failure_kind",
    "rate_limit_pause",
]


class FailureKind(enum.Enum):
    """How an attempt ended, as far as it matters for a retry."""

    NOT_SENT = "not sent"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate limited"
    REFUSED = "refused"
    FAILED = "failed"
    LOST = "lost"
    UNUSABLE = "unusable"


class RetryRule(enum.Enum):
    """Whether another attempt follows."""

    ALWAYS = "always"
    IF_SAFE = "if it may happen twice"
    NEVER = "never"


TABLE: Mapping[FailureKind, RetryRule] = {
    FailureKind.NOT_SENT: RetryRule.ALWAYS,
    FailureKind.UNREACHABLE: RetryRule.NEVER,
    FailureKind.RATE_LIMITED: RetryRule.ALWAYS,
    FailureKind.REFUSED: RetryRule.NEVER,
    FailureKind.FAILED: RetryRule.IF_SAFE,
    FailureKind.LOST: RetryRule.IF_SAFE,
    FailureKind.UNUSABLE: RetryRule.NEVER,
}

_TRANSIENT = frozenset({408, 500, 502, 503, 504})

SHORTEST_PAUSE = 0.05
"""The minimum of seconds between a 429 and the next attempt, whatever the answer and the policy say."""


def failure_kind(error: TransportError | APIError) -> FailureKind:
    """Return the row of the table that this error belongs to."""
    if isinstance(error, TransportError):
        if error.final:
            return FailureKind.UNREACHABLE
        return FailureKind.NOT_SENT if error.sent is Sent.NO else FailureKind.LOST
    if isinstance(error, RateLimitError):
        return FailureKind.RATE_LIMITED
    if error.status in _TRANSIENT or (error.status in (403, 404) and not error.from_api):
        return FailureKind.FAILED
    return FailureKind.REFUSED if error.sent is Sent.REJECTED else FailureKind.UNUSABLE


class RetryQuota:
    """The retries left to all calls of a client. Each call adds a tenth, each retry removes one."""

    __slots__ = ("_capacity", "left")

    DEPOSIT = 0.1

    def __init__(self, capacity: int) -> None:
        self._capacity = float(capacity)
        self.left: float = float(capacity)

    def deposit(self) -> None:
        """Add the share of a new call."""
        if self.left < self._capacity:
            self.left = min(self._capacity, self.left + self.DEPOSIT)

    def take(self) -> bool:
        """Remove one retry; return False if none is left."""
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


def decide(
    policy: RetryPolicy,
    request: Request,
    error: TransportError | APIError,
    *,
    tries: int,
    limited: int,
    patience_used: float,
    quota: RetryQuota,
    rng: Random,
) -> float | None:
    """Return the seconds until the next attempt; None: give up.

    ``tries`` is the number of attempts that were not answered by 429, ``limited`` the number of those that were, and
    ``patience_used`` the seconds already waited for rate limits.
    """
    how = failure_kind(error)
    rule = TABLE[how]
    if rule is RetryRule.NEVER or not request.may_repeat or request.over or policy.attempts == 1:
        return None
    if rule is RetryRule.IF_SAFE and request.operation.repeat is Repeat.NEVER:
        return None
    if isinstance(error, RateLimitError):
        return rate_limit_pause(policy, error, limited, patience_used, rng)
    asked = _asked(policy, error)
    if tries >= policy.attempts or not quota.take():
        return None
    pause = policy.backoff.pause(tries, rng)
    return pause if asked is None else max(asked, pause)


def rate_limit_pause(
    policy: RetryPolicy, error: RateLimitError, limited: int, patience_used: float, rng: Random
) -> float | None:
    """Return the seconds between a 429 and the next attempt; None: the policy gives up. As in `decide`."""
    asked = _asked(policy, error)
    jitter = policy.backoff.pause(limited, rng)
    if asked is None:
        # without a hint the pause grows from a whole second, because rate limits are counted in seconds
        after = policy.backoff.ceiling(limited + 2) + jitter
    else:
        after = max(asked, min(asked + jitter, policy.max_retry_after))
    # only patience ends these attempts, and pauses of zero would never use it up
    after = max(after, SHORTEST_PAUSE)
    return after if policy.attempts > 1 and patience_used + after <= policy.rate_limit_patience else None


def _asked(policy: RetryPolicy, error: TransportError | APIError) -> float | None:
    """Return the seconds that the answer asked to wait, as far as the policy obeys; None if it did not ask."""
    hint = error.retry_after if isinstance(error, APIError) else None
    return None if hint is None else min(hint, policy.max_retry_after)
