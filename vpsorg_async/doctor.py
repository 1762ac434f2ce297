"""Finds out why an account can't be reached or read. Changes nothing: it sends reads only.

From the outside in: the name, the connection with its certificate, the token, the dialect, what a list costs, and what
the answers tell of rate limits and of the clocks. Each is a `Check`; the first that fails ends the row, since what
comes after it would only fail again.
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

from .client import Client
from .codec import loads
from .config import API_PREFIX
from .dialects import make_dialect, other_dialect
from .errors import APIError, DecodeError, TransportError, VpsOrgError, is_forbidden
from .http.exchange import Operation, Request, Response
from .http.retry import RetryPolicy
from .timing import SystemClock

__all__ = ["Check", "Finding", "examine"]

CONNECT_SECONDS = 10.0
CLOCK_TOLERANCE = 30.0
"""Seconds by which two clocks may differ before it is worth a word."""


class Finding(enum.StrEnum):
    """How a check came out."""

    GOOD = "good"
    ODD = "odd"
    BAD = "bad"


@attrs.frozen(kw_only=True)
class Check:
    """One thing that was looked at: what was found, and what to do about it (empty: nothing)."""

    name: str
    finding: Finding
    found: str
    advice: str = ""
    refused: bool = False
    """True where it is the token that does not suffice."""
    data: Mapping[str, Any] = attrs.field(factory=dict)


async def examine(
    token: str, base_url: str, *, ssl_context: ssl.SSLContext | None = None, trust_env: bool = False
) -> AsyncIterator[Check]:
    """Every check, as it is made. Raises `ConfigurationError` for a token or an address that can't be one."""
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
        answer = await _ask(vps)
        if isinstance(answer, Check):
            yield answer
            return
        readings = _readings(answer)
        if readings[0].finding is not Finding.BAD:
            # whoever sends a page for people to log in has not looked at the token
            yield Check(name="token", finding=Finding.GOOD, found="it is accepted")
        for made in readings:
            yield made
            if made.finding is Finding.BAD:
                return
        yield _rates(answer)
        yield _clocks(answer)


async def _name(host: str, port: int) -> Check:
    from .http.resolver import DaemonResolver

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
            advice="check the host name; for a certificate authority of your own, hand over an ssl_context",
        )
    except ssl.SSLError as failure:
        return Check(
            name="connection",
            finding=Finding.BAD,
            found=f"port {port} of {host} does not speak TLS as it should: {failure.reason or 'no answer'}",
            advice="check the port, and whether a proxy stands between",
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
    how = f"{spoken.version()}, the certificate holds" if spoken is not None else "without encryption"
    return Check(name="connection", finding=Finding.GOOD, found=f"port {port} answers, {how}")


async def _ask(vps: Client) -> Response | Check:
    """One list, as it comes: the answer, or the check that failed."""
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
            advice="make a new one in the account's dashboard, under developers",
            refused=True,
        )
    if 300 <= status < 400:
        return Check(
            name="answer",
            finding=bad,
            found=str(failure),
            advice="set the base URL to the address that answers by itself",
        )
    if status >= 500 or status in (0, 408, 429):
        advice = "try again later; if it stays so, look for a proxy or a firewall between"
    else:
        advice = "check that the base URL is that of the API, without /api/v1"
    return Check(name="answer", finding=bad, found=str(failure), advice=advice)


def _readings(answer: Response) -> list[Check]:
    """Which dialect the list fits, and what it costs."""
    size = f"{len(answer.body)} bytes in {answer.received_at - answer.requested_at:.2f} s"
    try:
        raw = loads(answer.body)
    except DecodeError:
        html = answer.body.lstrip()[:1] == b"<"
        return [
            Check(
                name="answer",
                finding=Finding.BAD,
                found="an HTML page came instead of JSON" if html else "what came is not JSON",
                advice="a login page or a proxy stands between: check the base URL, and open it in a browser",
            )
        ]
    fitting = []
    for name in ("documented", "provider"):
        dialect = make_dialect(name)
        with contextlib.suppress(DecodeError):
            page = dialect.read_rows(answer.body)
            if page.results:
                # one row tells the form; an odd field in it does not make it another one
                dialect.read_loosely(page.results[0])
            if other_dialect(name, answer.body) is None:
                fitting.append((name, page))
    if not fitting:
        return [
            Check(
                name="dialect",
                finding=Finding.BAD,
                found="the list fits neither dialect",
                advice="check the base URL; if it is right, the API has changed: look for a newer version",
            )
        ]
    # what is documented reads as either, but not the other way round
    name, page = fitting[0]
    sure = bool(page.results) or (isinstance(raw, dict) and "next" not in raw)
    if not sure and isinstance(raw, dict):
        # an empty list fits both; only the provider's form is known to have paging keys
        name = "provider"
    servers = page.count if page.count is not None else len(page.results)
    pages = max(1, -(-servers // (make_dialect(name).page_size or max(servers, 1))))
    return [
        Check(
            name="dialect",
            finding=Finding.GOOD if sure else Finding.ODD,
            found=f"the answers are in the {name} dialect"
            + ("" if sure else ", as far as an empty list tells"),
            advice=""
            if name == "documented"
            else "Client(..., dialect='provider'), or VPSORG_DIALECT=provider",
            data={"dialect": name},
        ),
        Check(
            name="list",
            finding=Finding.GOOD,
            found=f"{servers} servers; requests to read them all: {pages}; {len(page.results)} of them came as {size}",
            data={
                "servers": servers,
                "bytes": len(answer.body),
                "pages": pages,
                "seconds": round(answer.received_at - answer.requested_at, 3),
            },
        ),
    ]


def _rates(answer: Response) -> Check:
    told = {
        name.lower(): value
        for name, value in answer.headers.items()
        if "ratelimit" in name.lower().replace("-", "")
    }
    return Check(
        name="rate limit",
        finding=Finding.GOOD,
        found=", ".join(f"{name}: {value}" for name, value in told.items()) or "no header tells of one",
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
        advice="set this machine's clock; waits do not depend on it, what people read does",
    )
