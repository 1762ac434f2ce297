"""Settings: every default number and every environment name, in one place."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

import attrs

from .errors import ConfigurationError
from .timing import Backoff

__all__ = [
    "API_PREFIX",
    "DEFAULT_BASE_URL",
    "UNSET",
    "Limits",
    "RateLimit",
    "RetryPolicy",
    "Timeout",
    "WaitPolicy",
    "bare_token",
    "check_base_url",
    "check_seconds",
    "check_token",
    "environment_settings",
    "from_environment",
    "variable_of",
    "wait_policy",
]

DEFAULT_BASE_URL = "https://admin.vps.org"
API_PREFIX = "/api/v1"

PROVIDER_TOKEN_NAME = "VPS_API_TOKEN"
PROVIDER_URL_NAME = "VPS_API_URL"
"""The names that the provider's own tools use. Their address has `API_PREFIX` at its end and goes with their token."""
TOKEN_NAMES = ("VPSORG_API_TOKEN", PROVIDER_TOKEN_NAME)
"""The first one that is set wins."""
BASE_URL_NAME = "VPSORG_BASE_URL"
DIALECT_NAME = "VPSORG_DIALECT"

DEFAULT_MAX_IN_FLIGHT = 32
DEFAULT_READY_CONCURRENCY = 50
DEFAULT_MAX_BODY = 8 * 1024 * 1024
"""Bytes of one answer, after decompression."""
DEFAULT_MAX_LIST_BODY = 64 * 1024 * 1024
"""Bytes of one list answer; about 150,000 servers."""

_AUTHORITY = re.compile(r"[^\[\]]*|\[[^\[\]]*\](:\d*)?")
"""A host and a port, where brackets are around an address of IPv6 only."""


def check_seconds(value: object, name: str, *, zero: bool = False) -> float:
    """A finite number of seconds above 0 (or from 0). Raises `ConfigurationError`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name} is a number of seconds, not {value!r}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero):
        raise ConfigurationError(f"{name} is a finite number of seconds above 0, not {seconds!r}")
    return seconds


@attrs.frozen(kw_only=True)
class Timeout:
    """Limits of one attempt, in seconds. Time spent queued for a slot does not count.

    Args:
        connect: The time to get a connection: name look-up, TCP and TLS.
        total: The time from the start of the attempt to the last byte of the body.

    Raises:
        ConfigurationError: A limit is not a number of seconds above 0.
    """

    connect: float = 10.0
    total: float = 30.0

    def __attrs_post_init__(self) -> None:
        check_seconds(self.connect, "connect")
        check_seconds(self.total, "total")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How many times a call is tried, and how long it waits between attempts.

    ``Client(..., retry=RetryPolicy(attempts=1))`` never retries.

    Waiting for a rate limit does not use up attempts. The quota keeps an outage from being made worse: it belongs to
    the client, and is not changed by `Client.with_options`.

    Args:
        attempts: The most attempts of one call; 1 never retries.
        backoff: The pauses between attempts.
        max_retry_after: The longest ``Retry-After`` that is obeyed, in seconds.
        rate_limit_patience: The seconds that a call waits for rate limits in all before it gives up.
        quota: The retries that all calls of a client can make at once; each ten further calls add one.

    Raises:
        ConfigurationError: A value is out of range.
    """

    attempts: int = 4
    backoff: Backoff = attrs.field(factory=Backoff)
    max_retry_after: float = 60.0
    rate_limit_patience: float = 60.0
    quota: int = 50

    def __attrs_post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigurationError(f"attempts is a number of tries from 1, not {self.attempts!r}")
        if isinstance(self.quota, bool) or not isinstance(self.quota, int) or self.quota < 0:
            raise ConfigurationError(f"quota is a number of retries from 0, not {self.quota!r}")
        if not isinstance(self.backoff, Backoff):
            raise ConfigurationError(f"backoff is a Backoff, not {self.backoff!r}")
        for name in ("initial", "maximum", "multiplier"):
            check_seconds(getattr(self.backoff, name), f"backoff.{name}", zero=True)
        check_seconds(self.max_retry_after, "max_retry_after", zero=True)
        check_seconds(self.rate_limit_patience, "rate_limit_patience", zero=True)


@attrs.frozen(kw_only=True)
class RateLimit:
    """The requests that a client sends in a second, polls and retries included: ``Client(..., rate=RateLimit(...))``.

    In any span of t seconds at most ``burst + requests_per_second * t`` requests leave. The rest queue: calls of the
    user before bulk changes, and those before polls.

    Args:
        requests_per_second: The requests of each second in the long run. It may be less than 1.
        burst: The requests that may leave at once after a quiet time.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        ``Client(token, rate=RateLimit(requests_per_second=5, burst=10))``
    """

    requests_per_second: float
    burst: int = 1

    def __attrs_post_init__(self) -> None:
        rate = self.requests_per_second
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 1e-6 <= rate <= 1e6:
            raise ConfigurationError(
                f"requests_per_second is a number from 0.000001 to 1000000, not {rate!r}"
            )
        if isinstance(self.burst, bool) or not isinstance(self.burst, int) or not 1 <= self.burst <= 10**6:
            raise ConfigurationError(f"burst is a whole number from 1 to 1000000, not {self.burst!r}")


def _amount(value: Decimal | float | None) -> Decimal | None:
    """Return an amount of money, exactly as it is written. Raises `ConfigurationError`."""
    if value is None:
        return None
    amount = Decimal("nan")
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation):
            amount = Decimal(str(value))
    if not amount.is_finite() or amount < 0:
        raise ConfigurationError(f"max_hourly is a finite amount from 0, not {value!r}")
    return amount


@attrs.frozen(kw_only=True)
class Limits:
    """What a client may create and spend: ``Client(..., limits=Limits(max_servers=20))``.

    They are checked before the first create of a call is sent, for all its creates together, against one list of the
    account; what other calls of the client are creating counts as well. What they forbid raises `LimitError`. Other
    programs are seen only by the list, and creates by `Client.request` or `Client.send` are checked by ``read_only``
    alone. None is no limit.

    Args:
        max_servers: The servers of the account, those to be created included. A server that is being deleted counts
            until it is seen to be gone.
        max_hourly: The price per hour of all of these together, in the account's currency, which the API does not
            name. Prices are those of the list of plans. A server or a spec whose price is not known there is refused.
            Stopped servers are charged, and count. What else costs, such as backups, is documented nowhere and does
            not count.
        max_creates_per_run: The creates of one fleet call. A single create counts as a run of its own.
        read_only: Refuse each change of whatever kind, `Client.request` and `Client.send` included.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        ``Client(token, limits=Limits(max_servers=20, max_hourly=0.5))``
    """

    max_servers: int | None = None
    max_hourly: Decimal | None = attrs.field(default=None, converter=_amount)
    max_creates_per_run: int | None = None
    read_only: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("max_servers", "max_creates_per_run"):
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 0):
                raise ConfigurationError(f"{name} is a whole number from 0, not {number!r}")
        if not isinstance(self.read_only, bool):
            raise ConfigurationError(f"read_only is True or False, not {self.read_only!r}")


@attrs.frozen(kw_only=True)
class WaitPolicy:
    """How a client waits: ``Client(..., waiting=WaitPolicy(grace=30))``. All numbers are seconds.

    Args:
        min_interval: The shortest pause between two polls.
        max_interval: The longest pause between two polls.
        grace: How long a server may stay in a settled status that is not the target, with no command open, before the
            wait fails.
        quiet: How long the server must stay in the target status if there is no other evidence.
        visibility: How long a server that was just created may be missing.

    Raises:
        ConfigurationError: A number is not a number of seconds, or the intervals are in the wrong order.
    """

    min_interval: float = 0.2
    max_interval: float = 30.0
    grace: float = 10.0
    quiet: float = 15.0
    visibility: float = 60.0

    def __attrs_post_init__(self) -> None:
        for name in ("min_interval", "max_interval"):
            check_seconds(getattr(self, name), name)
        for name in ("grace", "quiet", "visibility"):
            check_seconds(getattr(self, name), name, zero=True)
        if self.min_interval > self.max_interval:
            raise ConfigurationError("min_interval is larger than max_interval")


class _Unset:
    def __repr__(self) -> str:
        return "UNSET"  # an expression, so that signatures can be read by tools


UNSET: Any = _Unset()
"""Stands for an option that was not given, where None would be wrong."""


def wait_policy(
    waiting: object, min_interval: float, max_interval: float, grace: float, quiet: float, visibility: float
) -> WaitPolicy:
    """Return the policy of a client: ``waiting``, or one of the numbers that are not `UNSET`.

    Raises:
        ConfigurationError: Both were given, or a number is wrong.
    """
    numbers = (min_interval, max_interval, grace, quiet, visibility)
    names = (field.name for field in attrs.fields(WaitPolicy))
    given = {name: number for name, number in zip(names, numbers, strict=True) if number is not UNSET}
    if waiting is None:
        return WaitPolicy(**given)
    if not isinstance(waiting, WaitPolicy):
        raise ConfigurationError(f"waiting is a WaitPolicy, not {waiting!r}")
    if given:
        raise ConfigurationError(f"give {', '.join(given)} to the WaitPolicy, or leave waiting out: not both")
    return waiting


TokenSource = Callable[[], str | Awaitable[str]]
"""Returns the token to use from now on."""
Token = str | TokenSource
"""A token, or a function that returns the token to use: called when the client is opened, and after each 401."""
TOKEN_TIMEOUT = 30.0
"""Seconds for a function that returns a token."""


def bare_token(text: str) -> str:
    """Return a token without the blanks around it, and without the ``Bearer`` of a header that was copied whole."""
    return re.sub(r"^(authorization:\s*)?bearer(\s+|$)", "", text.strip(), flags=re.IGNORECASE)


def check_token(value: object) -> str:
    """The API token: one printable ASCII word, also after ``Bearer``, which is left out.

    Raises `ConfigurationError`, which does not repeat the token.
    """
    token = bare_token(value) if isinstance(value, str) else ""
    if not token:
        raise ConfigurationError("an API token is needed: pass it, or set VPSORG_API_TOKEN")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError("the API token holds characters that can't stand in an HTTP header")
    return token


def _is_loopback(host: str) -> bool:
    # by address, not by how it is spelt: 127.0.0.1.example.org is somebody else's machine
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_base_url(value: object, *, allow_insecure: bool = False, name: str = "base_url") -> str:
    """The address of the API without ``/api/v1``: https, or http on this machine.

    Args:
        value: The address.
        allow_insecure: Permit http to other machines.
        name: What the setting is called where it was made, for the message.

    Raises:
        ConfigurationError: It is no such address.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} is a string, not {type(value).__name__}")
    url = value.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        if not _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2]):  # Python 3.14 is the first that says so
            raise ValueError("Invalid IPv6 URL")
    except ValueError as problem:
        raise ConfigurationError(f"{name} is not a URL: {problem}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{name} holds credentials; the token is the only one used")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"{name} is an address such as {DEFAULT_BASE_URL!r}, not {url!r}")
    # an empty query or fragment would swallow the paths put behind it; parsers differ on blanks and backslashes
    if not url.isprintable() or any(sign in url for sign in "?# \\"):
        raise ConfigurationError(f"{name} has no query, no fragment, no blanks and no backslashes")
    before, prefix, _ = f"{url}/".partition(f"{API_PREFIX}/")
    if prefix:
        raise ConfigurationError(
            f"{name} is {url!r}: give it without {API_PREFIX}, which is added to it: {before!r}"
        )
    if parts.scheme == "http" and not (allow_insecure or _is_loopback(host)):
        raise ConfigurationError(
            f"{name} is plain http to {host}: the token would travel in the clear; use https, "
            "or pass allow_insecure=True"
        )
    return url


def environment_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings that the environment holds: ``token``, ``base_url`` and ``dialect``, as far as they are set.

    ``VPS_API_URL`` counts only if the token comes from ``VPS_API_TOKEN`` and ``VPSORG_BASE_URL`` is not set: a token
    is not sent to an address that was set for another one.
    """
    env = os.environ if environ is None else environ

    def value(name: str) -> str:
        return env.get(name, "").strip()

    token_name = next((name for name in TOKEN_NAMES if value(name)), "")
    base_url = value(BASE_URL_NAME)
    if not base_url and token_name == PROVIDER_TOKEN_NAME:
        base_url = value(PROVIDER_URL_NAME).rstrip("/").removesuffix(API_PREFIX).rstrip("/")
    found = {"token": value(token_name), "base_url": base_url, "dialect": value(DIALECT_NAME)}
    return {key: text for key, text in found.items() if text}


def variable_of(key: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the variable from which `environment_settings` takes a setting; empty if none is set."""
    env = os.environ if environ is None else environ
    names = {"token": TOKEN_NAMES, "base_url": (BASE_URL_NAME, PROVIDER_URL_NAME), "dialect": (DIALECT_NAME,)}
    return next((name for name in names.get(key, ()) if env.get(name, "").strip()), "")


def from_environment(environ: Mapping[str, str] | None = None) -> tuple[str, dict[str, str]]:
    """Return the token and the other settings (``base_url``, ``dialect``) of the environment.

    Raises `ConfigurationError` without a token.
    """
    settings = environment_settings(environ)
    token = settings.pop("token", None)
    if token is None:
        raise ConfigurationError(f"no API token: set {TOKEN_NAMES[0]} (or {TOKEN_NAMES[1]})")
    return token, settings
