"""Find out why an account can't be reached or read. Sends reads only, and changes nothing.

The checks go from the outside in: the name, the connection with its certificate, the token, the dialect, the cost of a
list, and what the answers say about rate limits and clocks. The first `Check` that fails is the last, because the later
ones would fail too.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import attrs

from ..client import Client
from ..codec import loads
from ..config import API_PREFIX, Token
from ..counting import counted
from ..dialects import make_dialect, other_dialect
from ..dialects.base import RawPage
from ..errors import APIError, DecodeError, TransportError, VpsOrgError, is_forbidden
from ..http.exchange import Operation, Request, Response
from ..http.retry import RetryPolicy
from ..timing import SystemClock

__all__ = ["Check", "Finding", "examine"]

CONNECT_SECONDS = 10.0
CLOCK_TOLERANCE = 30.0
"""The difference between two clocks, in seconds, up to which they agree."""


class Finding(enum.StrEnum):
    """The result of a check."""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"


@attrs.frozen(kw_only=True)
class Check:
    """One check: what was found, and what to do about it (empty: nothing)."""

    name: str
    finding: Finding
    found: str
    advice: str = ""
    refused: bool = False
    """True if the token is not sufficient."""
    data: Mapping[str, Any] = attrs.field(factory=dict)


async def examine(
    token: Token, base_url: str, *, ssl_context: ssl.SSLContext | None = None, trust_env: bool = False
) -> AsyncIterator[Check]:
    """Yield every check as it is made.

    Args:
        token: The API token, or a function that returns it.
        base_url: The address of the API, without ``/api/v1``.
        ssl_context: TLS settings, for example with the authority of a company.
        trust_env: Use the proxy that the environment names.

    Raises:
        ConfigurationError: The token or the address is invalid.

    Example:
        ``async for check in examine(token, "https://admin.vps.org"): print(check.name, check.found)``
    """
    client = Client(
        token,
        base_url=base_url,
        ssl_context=ssl_context,
        trust_env=trust_env,
        retry=RetryPolicy(attempts=1),
    )
    del token
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    async with client as vps:
        if not trust_env:
            made = await _name(host, port)
            yield made
            if made.finding is Finding.BAD:
                return
            made = await _line(parts.scheme, host, port, ssl_context)
            yield made
            if made.finding is Finding.BAD:
                return
        answer = await _ask(vps, base_url)
        if isinstance(answer, Check):
            yield answer
            return
        readings = _readings(answer)
        if readings[0].finding is not Finding.BAD:
            # a login page says nothing about the token
            yield Check(name="token", finding=Finding.GOOD, found=f"it is accepted{await _scopes(vps)}")
        for made in readings:
            yield made
            if made.finding is Finding.BAD:
                return
        yield _rates(answer)
        yield _clocks(answer)


async def _name(host: str, port: int) -> Check:
    from ..http.resolver import DaemonResolver

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await DaemonResolver().resolve(host, port, socket.AF_UNSPEC)
    except (OSError, TimeoutError):
        return Check(
            name="name",
            finding=Finding.BAD,
            found=f"{host} can't be resolved",
            advice="check the spelling of the base URL, and the name server of this machine",
        )
    return Check(
        name="name",
        finding=Finding.GOOD,
        found=f"{host} is {', '.join(sorted({entry['host'] for entry in found}))}",
    )


async def _line(scheme: str, host: str, port: int, context: ssl.SSLContext | None) -> Check:
    wanted = (context or ssl.create_default_context()) if scheme == "https" else None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=wanted)
    except ssl.SSLCertVerificationError as failure:
        return Check(
            name="connection",
            finding=Finding.BAD,
            found=f"the certificate is not valid: {failure.verify_message}",
            advice="check the host name; for a certificate authority of your own, pass an ssl_context",
        )
    except ssl.SSLError as failure:
        return Check(
            name="connection",
            finding=Finding.BAD,
            found=f"port {port} of {host} does not speak valid TLS: {failure.reason or 'no answer'}",
            advice="check the port, and whether a proxy is in between",
        )
    except (OSError, TimeoutError) as failure:
        said = getattr(failure, "strerror", None) or type(failure).__name__
        return Check(
            name="connection",
            finding=Finding.BAD,
            found=f"port {port} of {host} does not answer: {said}",
            advice="check the port, the firewall, and whether a proxy is needed",
        )
    spoken = writer.get_extra_info("ssl_object")
    writer.close()
    how = f"{spoken.version()}, the certificate is valid" if spoken is not None else "without encryption"
    return Check(name="connection", finding=Finding.GOOD, found=f"port {port} answers, {how}")


async def _ask(vps: Client, base_url: str) -> Response | Check:
    """Request one raw list, and return the answer, or the check that failed."""
    request = Request(Operation.READ, "GET", f"{API_PREFIX}/servers/", max_body=64 * 1024 * 1024)
    try:
        return await vps.send(request)
    except APIError as error:
        failure: VpsOrgError = error
    except TransportError as error:
        failure = error
    bad, status = Finding.BAD, getattr(failure, "status", 0)
    if is_forbidden(failure):
        return Check(
            name="token",
            finding=bad,
            found=f"it is refused: {failure}",
            advice="create a new one in the account's dashboard, under developers",
            refused=True,
        )
    if 300 <= status < 400:
        return Check(
            name="answer",
            finding=bad,
            found=str(failure),
            advice="set the base URL to the final address, which does not redirect",
        )
    if status >= 500 or status in (0, 408, 429):
        advice = "try again later; if it persists, check for a proxy or a firewall in between"
    else:
        advice = f"check that the base URL is that of the API, without {API_PREFIX}; it is {base_url}"
    return Check(name="answer", finding=bad, found=str(failure), advice=advice)


async def _scopes(vps: Client) -> str:
    """Return what the token permits, as far as the account says so."""
    try:
        permissions = (await vps.account.me()).permissions
    except VpsOrgError:
        return ""  # the token is accepted all the same
    return f"; it permits {', '.join(permissions)}" if permissions else ""


def _readings(answer: Response) -> list[Check]:
    """Return which dialect the list fits, and what reading it costs."""
    try:
        raw = loads(answer.body)
    except DecodeError:
        html = answer.body.lstrip()[:1] == b"<"
        return [
            Check(
                name="answer",
                finding=Finding.BAD,
                found="the answer is an HTML page instead of JSON" if html else "the answer is not JSON",
                advice="a login page or a proxy answers: check the base URL, and open it in a browser",
            )
        ]
    fitting = _fitting(answer.body)
    if not fitting:
        return [
            Check(
                name="dialect",
                finding=Finding.BAD,
                found="the list fits neither dialect",
                advice="check the base URL; if it is right, the API has changed: check for a newer version",
            )
        ]
    # a documented list fits both dialects, but not the reverse
    name, page = fitting[0]
    sure = bool(page.results) or (isinstance(raw, dict) and "next" not in raw)
    if not sure and isinstance(raw, dict):
        # an empty list fits both; only the provider's form is known to have paging keys
        name = "provider"
    dialect = Check(
        name="dialect",
        finding=Finding.GOOD if sure else Finding.ODD,
        found=f"the answers are in the {name} dialect"
        + ("" if sure else ", but an empty list proves little"),
        advice="" if name == "documented" else "Client(..., dialect='provider'), or VPSORG_DIALECT=provider",
        data={"dialect": name},
    )
    return [dialect, _cost(answer, name, page)]


def _fitting(body: bytes) -> list[tuple[str, RawPage]]:
    """Return the dialects that a list fits, each with the list as it reads it."""
    fitting = []
    for name in ("documented", "provider"):
        dialect = make_dialect(name)
        with contextlib.suppress(DecodeError):
            page = dialect.read_rows(body)
            if page.results:
                # one row shows the form; an unfit field in it does not change that
                dialect.read_loosely(page.results[0])
            if other_dialect(name, body) is None:
                fitting.append((name, page))
    return fitting


def _cost(answer: Response, name: str, page: RawPage) -> Check:
    seconds = answer.received_at - answer.requested_at
    servers = page.count if page.count is not None else len(page.results)
    pages = max(1, -(-servers // (make_dialect(name).page_size or max(servers, 1))))
    shown = f"{len(page.results)} of them came as {len(answer.body)} bytes in {seconds:.2f} s"
    return Check(
        name="list",
        finding=Finding.GOOD,
        found=f"{counted(servers, 'server')}; requests to read them all: {pages}; {shown}",
        data={"servers": servers, "bytes": len(answer.body), "pages": pages, "seconds": round(seconds, 3)},
    )


def _rates(answer: Response) -> Check:
    told = {
        name.lower(): value
        for name, value in answer.headers.items()
        if "ratelimit" in name.lower().replace("-", "")
    }
    return Check(
        name="rate limit",
        finding=Finding.GOOD,
        found=", ".join(f"{name}: {value}" for name, value in told.items()) or "no header mentions one",
        data=told,
    )


def _clocks(answer: Response) -> Check:
    try:
        apart = (parsedate_to_datetime(answer.headers.get("date", "")) - SystemClock().wall()).total_seconds()
    except (TypeError, ValueError):
        return Check(name="clocks", finding=Finding.ODD, found="the answer has no date to compare with")
    if abs(apart) <= CLOCK_TOLERANCE:
        return Check(name="clocks", finding=Finding.GOOD, found=f"they agree within {CLOCK_TOLERANCE:g} s")
    return Check(
        name="clocks",
        finding=Finding.ODD,
        found=f"the service is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}",
        advice="correct this machine's clock; waits do not depend on it, but displayed times do",
    )
