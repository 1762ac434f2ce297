"""The check of an HTTP answer."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import attrs
from yarl import URL

from .._version import __version__
from ..config import check_seconds
from ..errors import ConfigurationError
from ..lifecycle.readiness import Check, NotReady
from ..records import Server
from .addresses import LEAST, MARGIN, STAGGER, check_port, described, first_of, written

if TYPE_CHECKING:
    import aiohttp

__all__ = ["http"]

MOST_BYTES = 1024 * 1024
"""Bytes of a body in which ``contains`` is searched for."""
ANY_2XX = range(200, 300)


@attrs.frozen
class _Question:
    """What is requested of each address."""

    url: URL
    host: str | None
    """The host name that the request and the certificate are for; None for the address."""
    context: ssl.SSLContext | None
    status: Collection[int]
    contains: bytes


def http(
    url_or_path: str = "/",
    *,
    port: int | None = None,
    status: int | Collection[int] = ANY_2XX,
    contains: str | bytes = "",
    tls: bool | ssl.SSLContext | None = None,
    timeout: float = 5.0,
) -> Check:
    """Return a check that a GET of the server's own address is answered as expected. Redirects are not followed.

    Args:
        url_or_path: A path that begins with a slash, or a URL. Of a URL, the host name is what the request and the
            certificate are for; the connection goes to the server's addresses all the same, so that no name has to
            be in the DNS yet.
        port: The port; by default that of the URL, else 80, or 443 with TLS.
        status: The status, or the statuses, that pass; by default any 2xx.
        contains: What the first MiB of the body has to contain.
        tls: True or an ``ssl.SSLContext`` for https, False for http; by default as the URL says. The certificate is
            verified, for the host name of the URL or else for the address.
        timeout: Seconds for each address, from connecting to the end of the answer.

    Raises:
        ConfigurationError: An argument is wrong.

    Example::

        ready.http("/healthz", port=8080, contains="ok")
        ready.http("https://www.example.org/", status=(200, 301))
    """
    check_seconds(timeout, "timeout")
    question = _question(url_or_path, port, status, contains, tls)

    async def attempt(address: str, note: Callable[[str], None]) -> None:
        await _get(question, address, note)

    async def call(server: Server) -> bool:
        await first_of(server, attempt, timeout)
        return True

    name = written(
        "http",
        url_or_path,
        port=port,
        status=None if status is ANY_2XX else status,
        contains=contains or None,
        tls=tls,
    )
    return Check(name, timeout + STAGGER + MARGIN, call, 2 * LEAST)


def _question(given: object, port: object, status: object, contains: object, tls: object) -> _Question:
    named = _parsed(given)
    secure = named.scheme == "https" if tls is None else bool(tls)
    if tls is not None and not isinstance(tls, bool | ssl.SSLContext):
        raise ConfigurationError(f"tls is True, False or an ssl.SSLContext, not {tls!r}")
    if named.scheme and secure != (named.scheme == "https"):
        raise ConfigurationError(f"tls={tls!r} contradicts {str(named)!r}")
    usual = named.explicit_port or (443 if secure else 80)
    wanted = usual if port is None else check_port(port)
    if wanted != (named.explicit_port or wanted):
        raise ConfigurationError(f"port={port} contradicts {str(named)!r}")
    absolute = named if named.scheme else URL(f"http://address{named}")
    return _Question(
        url=absolute.with_scheme("https" if secure else "http").with_port(wanted),
        host=named.raw_host,
        context=tls if isinstance(tls, ssl.SSLContext) else None,
        status=_statuses(status),
        contains=_bytes(contains),
    )


def _parsed(given: object) -> URL:
    text = given if isinstance(given, str) else ""
    try:
        url = URL(text).with_fragment(None)
        is_path = text.startswith("/") and not text.startswith("//")
        # a port that is no number raises when it is read
        if is_path or (url.scheme in ("http", "https") and url.host and url.port and url.user is None):
            return url
    except ValueError:
        pass
    raise ConfigurationError(
        f"a path such as '/healthz' is wanted here, or a http or https URL without credentials, not {given!r}"
    )


def _statuses(status: object) -> Collection[int]:
    statuses = (status,) if isinstance(status, int) else status
    if isinstance(statuses, range) and statuses:
        return statuses
    if isinstance(statuses, Collection) and not isinstance(statuses, str | bytes):
        listed = tuple(statuses)
        if listed and all(type(each) is int and 100 <= each < 600 for each in listed):
            return listed
    raise ConfigurationError(f"status is an HTTP status such as 200, or several, not {status!r}")


def _bytes(contains: object) -> bytes:
    if isinstance(contains, bytes):
        return contains
    if isinstance(contains, str):
        return contains.encode()
    raise ConfigurationError(f"contains is a text or bytes, not {contains!r}")


async def _get(question: _Question, address: str, note: Callable[[str], None]) -> None:
    """Request it once, on a connection of its own. Raises `NotReady` for any answer that does not pass."""
    # imported by the first check: it takes longer than the rest of the package
    import aiohttp

    headers = {"User-Agent": f"vpsorg-async/{__version__}", "Accept-Encoding": "identity"}
    if question.host is not None:
        port = question.url.port
        usual = port == (443 if question.url.scheme == "https" else 80)
        name = f"[{question.host}]" if ":" in question.host else question.host
        headers["Host"] = name if usual else f"{name}:{port}"
    try:
        connector = aiohttp.TCPConnector(
            force_close=True, ssl=True if question.context is None else question.context
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None),
            ) as session,
            session.get(
                question.url.with_host(address), allow_redirects=False, server_hostname=question.host
            ) as answer,
        ):
            if answer.status not in question.status:
                raise NotReady(f"it answered {answer.status}")
            note(f"it answered {answer.status}, but the body did not come")
            if question.contains and not await _contains(answer, question.contains):
                raise NotReady(f"it answered {answer.status} without {question.contains!r}")
    except aiohttp.ClientResponseError:
        reason = "it sent something else than HTTP"
    except aiohttp.ClientError as failure:
        # the error of the socket or of TLS says it shorter
        inner = getattr(failure, "certificate_error", None) or getattr(failure, "os_error", None)
        reason = described(inner or failure)
    except ValueError as failure:  # an address or a URL that aiohttp refuses
        reason = str(failure)
    else:
        return
    # outside of the handlers, so that no exception of aiohttp is its context
    raise NotReady(reason)


async def _contains(answer: aiohttp.ClientResponse, wanted: bytes) -> bool:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(65536):
        body += chunk
        if wanted in body:
            return True
        if len(body) >= MOST_BYTES:
            break
    return False
