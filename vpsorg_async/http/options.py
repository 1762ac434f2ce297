"""What one call can have of its own: limits of its attempts, retries, headers, limits of its time. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from ..config import RetryPolicy, Timeout, check_seconds
from ..errors import ConfigurationError
from ..timing import Clock, seconds_until

__all__ = [
    "Call",
    "CallOptions",
    "NotAfter",
    "TimeLeft",
    "check_headers",
    "check_user_agent",
    "merge_headers",
]

NotAfter = datetime | Callable[[], datetime]
"""The time of day after which no change leaves, or a function that returns it as it is now."""

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[ -~]*")
RESERVED = frozenset(
    {
        "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type",
        "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that carry the token, or on which the form of requests and answers depends. All bodies are JSON."""


def check_headers(headers: object, *, user_agent: object = None) -> dict[str, str]:
    """Return the headers as they can be sent. Raises `ConfigurationError`, which does not repeat a value.

    ``user_agent`` is the same header by its own option.
    """
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"headers is a mapping of names to values, not {type(headers).__name__}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            # what is no name can be a whole header, with a secret in it
            raise ConfigurationError(
                "headers has a name that is not valid: names are of letters, digits and hyphens"
            )
        if name.lower() in RESERVED:
            raise ConfigurationError(f"the header {name} is set by the client: leave it out of headers")
        if name.lower() == "user-agent" and user_agent is not None:
            raise ConfigurationError(f"give user_agent, or the header {name} in headers: not both")
        if any(name.lower() == other.lower() for other in checked):
            raise ConfigurationError(f"the header {name} is given twice")
        checked[name] = _check_value(value, f"the header {name}")
    return checked


def merge_headers(headers: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Return both; ``others`` take precedence, and names are compared in any case."""
    names = {name.lower() for name in others}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(others)


def check_user_agent(value: object) -> str | None:
    """Return the value of the header ``User-Agent``; None where it was not given. Raises `ConfigurationError`."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError("user_agent is a non-empty string such as 'my-tool/1.0'")
    return _check_value(value, "user_agent")


def _check_value(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"the value of {what} is a string, not {type(value).__name__}")
    # aiohttp would send other characters as UTF-8, which services read as they like
    if not _VALUE.fullmatch(value):
        raise ConfigurationError(f"the value of {what} has a character that is not printable ASCII")
    return value.strip()


def _check_not_after(value: object) -> NotAfter | None:
    """Return the time in UTC, or the function that returns it. Raises `ConfigurationError`."""
    if callable(value) and not isinstance(value, type):
        function: Any = value
        return lambda: _utc(function())
    return None if value is None else _utc(value)


def _utc(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise ConfigurationError(f"not_after is a datetime, not {value!r}")
    if value.utcoffset() is None:
        raise ConfigurationError(
            f"not_after has no time zone: {value!r}; use datetime.now(UTC) + timedelta(...)"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ConfigurationError(f"not_after is out of range: {value!r}") from None


@attrs.frozen
class TimeLeft:
    """The seconds in which an attempt can still leave, and the limit after which it can't: one of the others."""

    seconds: float
    deadline: float | None = None
    not_after: datetime | None = None

    def __str__(self) -> str:
        if self.not_after is None:
            return f"the call's deadline of {self.deadline:g} s"
        return f"not_after={self.not_after:%Y-%m-%d %H:%M:%S} UTC"


@attrs.frozen(kw_only=True)
class Call:
    """What holds for one call. ``ends_at`` is its deadline on the client's clock; ``deadline`` the same in seconds.

    ``not_after`` is the time of day (UTC) after which no attempt leaves. A function can return a later one each time,
    so that it limits no pause before an attempt: it is only called when the attempt has its connection.
    """

    timeout: Timeout | None = None
    retry: RetryPolicy | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    deadline: float | None = None
    ends_at: float | None = None
    not_after: NotAfter | None = None

    def of_read(self) -> Call:
        """Return what holds for a read of this call: it can leave at any time until the deadline."""
        return self if self.not_after is None else attrs.evolve(self, not_after=None)

    def leave_by(self) -> datetime | None:
        """Return the time of day (UTC) after which an attempt that has its connection does not leave, as it is now."""
        return self.not_after() if callable(self.not_after) else self.not_after

    def time_left(self, clock: Clock) -> TimeLeft | None:
        """Return the time in which an attempt can still leave; None: no limit."""
        left: TimeLeft | None = None
        if self.ends_at is not None:
            left = TimeLeft(self.ends_at - clock.now(), deadline=self.deadline)
        if isinstance(self.not_after, datetime):
            seconds = seconds_until(self.not_after, clock)
            if left is None or seconds < left.seconds:
                left = TimeLeft(seconds, not_after=self.not_after)
        return left

    def limit(self, configured: Timeout, now: float) -> float | None:
        """Return the seconds that an attempt has which begins now; None: those of the client's configuration."""
        total = (self.timeout or configured).total
        if self.ends_at is not None and self.ends_before(now, total):
            return max(self.ends_at - now, 0.0)
        return None if self.timeout is None else total

    def ends_before(self, now: float, limit: float) -> bool:
        """Return whether the deadline comes before an attempt that begins now reaches its own limit, in seconds."""
        return self.ends_at is not None and self.ends_at - now < limit


@attrs.frozen(kw_only=True)
class CallOptions:
    """The options of `Client.with_options`; None: as the client has it."""

    timeout: Timeout | None = None
    retry: RetryPolicy | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    deadline: float | None = None
    not_after: NotAfter | None = None

    @classmethod
    def of(
        cls,
        *,
        timeout: Timeout | float | None,
        retry: RetryPolicy | None,
        headers: Mapping[str, str] | None,
        deadline: float | None,
        not_after: NotAfter | None = None,
        configured: Timeout,
    ) -> CallOptions:
        """Return the options, checked; a number as ``timeout`` leaves the rest of the configured one as it is.

        Raises:
            ConfigurationError: A value is out of range, or a header cannot be sent.
        """
        if timeout is not None and not isinstance(timeout, Timeout):
            timeout = attrs.evolve(configured, total=check_seconds(timeout, "timeout"))
        if retry is not None and not isinstance(retry, RetryPolicy):
            raise ConfigurationError(f"retry is a RetryPolicy, not {retry!r}")
        return cls(
            timeout=timeout,
            retry=retry,
            headers=check_headers(headers),
            deadline=None if deadline is None else check_seconds(deadline, "deadline"),
            not_after=_check_not_after(not_after),
        )

    def over(self, base: CallOptions | None) -> CallOptions:
        """Return these options over others: what is given here takes precedence, and headers are merged."""
        if base is None:
            return self
        return CallOptions(
            timeout=self.timeout or base.timeout,
            retry=self.retry or base.retry,
            headers=merge_headers(base.headers, self.headers),
            deadline=base.deadline if self.deadline is None else self.deadline,
            not_after=self.not_after or base.not_after,
        )

    def begin(self, now: float) -> Call:
        """Return what holds for a call that begins now."""
        return Call(
            timeout=self.timeout,
            retry=self.retry,
            headers=self.headers,
            deadline=self.deadline,
            ends_at=None if self.deadline is None else now + self.deadline,
            not_after=self.not_after,
        )
