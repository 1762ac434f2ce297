"""Bytes out, bytes in, by aiohttp; `pool` has the classes that its session is given.

One attempt is sent once. aiohttp's own resending is switched off there, redirects are not followed, there are no
cookies, and no exception of aiohttp leaves this module, because such exceptions hold the request headers and so the
token. A failed attempt is returned as a value, never raised, so that no foreign exception becomes the context of ours.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from .._version import __version__
from ..config import Timeout
from ..errors import (
    ConnectError,
    ConnectionLostError,
    RequestTimeoutError,
    Sent,
    TransportError,
    ends_call,
)
from ..timing import Clock, seconds_until
from .coding import ACCEPTED, PIECE, Decoder, Undecodable, coding_of
from .deadlines import Deadlines
from .exchange import Request, Response
from .options import Call, TimeLeft, merge_headers
from .pool import Answer, Connector, Dropped, Question, TooLate
from .proxies import environment_proxy, with_scheme
from .redact import Redactor
from .resolver import DaemonResolver

__all__ = ["AiohttpTransport"]

MAX_ERROR_BODY = 64 * 1024
MAX_REASON = 200
URLS = 1024
"""The number of parsed addresses that are cached."""
_CLOSED = "the client was closed during the call"


def _headers(user_agent: str | None) -> dict[str, str]:
    """Return the headers of every request, apart from the token."""
    return {
        "Accept": "application/json",
        "Accept-Encoding": ACCEPTED,
        # the page's examples send it with every request, even without a body
        "Content-Type": "application/json",
        "User-Agent": user_agent or f"vpsorg-async/{__version__}",
    }


def _connect(timeout: Timeout) -> aiohttp.ClientTimeout:
    """Return the limit that aiohttp enforces; the limit of the whole attempt is ours."""
    return aiohttp.ClientTimeout(total=None, connect=timeout.connect)


class _Decoded:
    """The decoded body of an answer."""

    def __init__(self, content: aiohttp.StreamReader, coding: str) -> None:
        self._content = content
        self._decoder = Decoder(coding)

    async def readany(self) -> bytes:
        """Return the next piece; empty at the end. Raises `Undecodable`."""
        while not (piece := self._decoder.take()):
            data = await self._content.readany()
            if not data:
                self._decoder.end()
                return b""
            self._decoder.feed(data)
        if len(piece) == PIECE:
            # a kilobyte can decode to a megabyte: yield to the event loop in between
            await asyncio.sleep(0)
        return piece


class AiohttpTransport:
    """One connection pool. Open and use it on the same loop."""

    def __init__(
        self,
        base_url: str,
        *,
        token: Callable[[], str],
        timeout: Timeout,
        clock: Clock,
        limit: int,
        max_body: int,
        ssl_context: ssl.SSLContext | None = None,
        trust_env: bool = False,
        proxy: Callable[[], str] | None = None,
        user_agent: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._base_url = base_url
        self._origin = "/".join(base_url.split("/")[:3])
        self._timeout = timeout
        self._clock = clock
        self._max_body = max_body
        self._redact = Redactor(token())
        self._closed = False
        self._deadlines = Deadlines(timeout.total)
        # parsing an address costs as much as reading an answer
        self._url = functools.lru_cache(URLS)(self._address)
        if proxy is not None:
            self._proxy: URL | None = URL(with_scheme(proxy()))
        else:
            found = environment_proxy(base_url) if trust_env else None
            self._proxy = None if found is None else URL(found)
            del found  # it may contain a password, and tracebacks can show local variables
        authorization = {"Authorization": f"Bearer {token()}"}
        # aiohttp also sends a session's headers to a proxy; with a proxy the token and the user's own headers are
        # therefore added to each request
        own = authorization | dict(headers or {})
        always, self._own_headers = (own, {}) if self._proxy is None else ({}, own)
        self._options: dict[str, Any] = {"allow_redirects": False}
        if self._proxy is not None:
            self._options |= {"headers": own, "proxy": self._proxy}
        self._connector = Connector(limit=limit, ssl=ssl_context or True, resolver=DaemonResolver())

        self._session = aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            headers=merge_headers(_headers(user_agent), always),
            request_class=Question,
            response_class=Answer,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_connect(timeout),
        )

    def __repr__(self) -> str:
        return f"AiohttpTransport({self._base_url!r})"

    def use(self, token: str) -> None:
        """Send this token from now on."""
        self._redact.add(token)
        headers = self._session.headers if self._proxy is None else self._own_headers
        headers["Authorization"] = f"Bearer {token}"

    async def close(self) -> None:
        """Close all connections. Calls in flight end with an error."""
        self._closed = True
        # aiohttp wakes neither tasks that wait for a connection nor tasks that wait for a body
        self._deadlines.close()
        await self._session.close()
        await self._connector.close()

    async def send(self, request: Request) -> Response | TransportError:
        """Make one attempt, and return the answer or what is known of its failure.

        The deadline covers sending and reading the body to its end.
        """
        started, call = self._clock.now(), request.call
        if self._closed:
            request.over = True
            return ConnectionLostError(_CLOSED, sent=Sent.NO, request=str(request))
        attempt = self._deadlines.enter(None if call is None else call.limit(self._timeout, started))
        if call is not None and call.not_after is not None:
            self._connector.connect_within(functools.partial(self._until, call))
        answer: aiohttp.ClientResponse | None = None
        try:
            answer = await self._session.request(
                request.method,
                self._url(request.path),
                data=request.body,
                **(self._options if call is None else self._options_of(call)),
            )
            body, cut_at = self._whole(answer, request), None
            if body is None:
                body, cut_at = await self._read(answer, request)
            if cut_at is not None:
                answer.close()  # unread bytes would precede the next response; a complete answer is released by itself
            request.left = True
            return Response(
                status=answer.status,
                headers=answer.headers,
                body=body,
                requested_at=started,
                received_at=self._clock.now(),
                cut_at=cut_at,
            )
        except BaseException as failure:
            if answer is not None:
                answer.close()
            ours = attempt.late and attempt.taken_back()
            connected = self._connector.had_connection()
            request.left = request.left or connected
            if ours and isinstance(failure, asyncio.CancelledError):
                failure = TimeoutError()
            # any Exception: aiohttp raises some that are no ClientError, such as those of its parser
            if not isinstance(failure, Exception):
                raise
            known = self._known(failure, request, started, connected)
            request.over = self._closed or ends_call(known)
        finally:
            self._deadlines.leave(attempt)
            if call is not None and call.not_after is not None:
                self._connector.connect_within(None)
        if not connected:
            known.sent = Sent.NO
        elif not known.final and not request.over:
            self._connector.distrust()
        return known

    def _until(self, call: Call) -> float:
        """Return the seconds in which a change can still leave."""
        leave_by = call.leave_by()
        assert leave_by is not None
        return seconds_until(leave_by, self._clock)

    def _options_of(self, call: Call) -> dict[str, Any]:
        """Return the arguments of a request whose call has options of its own."""
        options = self._options | {"headers": merge_headers(self._own_headers, call.headers)}
        return options if call.timeout is None else options | {"timeout": _connect(call.timeout)}

    def _address(self, path: str) -> URL:
        try:
            return URL(self._base_url + path)
        except ValueError:
            raise aiohttp.InvalidURL(self._base_url) from None

    def _whole(self, answer: aiohttp.ClientResponse, request: Request) -> bytes | None:
        """Return the body of a good answer that has arrived completely, as nearly every one has; None: see `_read`."""
        content = answer.content
        if not content.is_eof() or answer.status >= 300 or hdrs.CONTENT_ENCODING in answer.headers:
            return None
        if content.total_bytes > (request.max_body or self._max_body):
            return None
        body = content.read_nowait()
        return request.known if body == request.known else body

    async def _read(self, answer: aiohttp.ClientResponse, request: Request) -> tuple[bytes, int | None]:
        """Return the body, up to the cap, which counts decoded bytes so that a small bomb can't become a large body."""
        good = answer.status < 300
        cap = (request.max_body or self._max_body) if good else MAX_ERROR_BODY
        content = answer.content
        known = (request.known or b"") if good else b""
        coding = coding_of(answer.headers.getall(hdrs.CONTENT_ENCODING, ()))
        more = _Decoded(content, coding).readany if coding else content.readany
        body = b""
        # The body is compared as it arrives, so that megabytes without news are never joined: while it is equal, its
        # bytes are those of `known`, and no chunk is kept.
        chunks, size, same = [b""], 0, True
        while True:
            if same and not known.startswith(body, size):
                chunks, same = [known[:size]], False
            if not same:
                chunks.append(body)
            size += len(body)
            if size > cap:
                return b"" if good else b"".join(chunks)[:cap], cap
            try:
                body = await more()
            except Undecodable:
                if good:
                    raise
                break  # the status of an error is enough
            if not body:
                break
        if same:
            return known if size == len(known) else known[:size], None
        return b"".join(chunks), None

    def _known(self, failure: Exception, request: Request, started: float, connected: bool) -> TransportError:
        """Return what is known of a failed attempt, as one of our errors."""
        what, call = str(request), request.call
        timeout = self._timeout if call is None or call.timeout is None else call.timeout
        if self._closed:
            return ConnectionLostError(_CLOSED, request=what)
        match failure:
            case TooLate():
                assert call is not None
                not_after = call.leave_by()
                why = f"no connection to {self._origin} before {TimeLeft(0.0, not_after=not_after)}"
                return RequestTimeoutError(why, request=what, not_after=not_after)
            case aiohttp.ConnectionTimeoutError():
                late = f"no connection to {self._origin} within {timeout.connect:g} s"
                return ConnectError(late, request=what)
            case aiohttp.ClientConnectorCertificateError():
                why = f"the certificate of {self._origin} is not valid: {_reason(failure)}"
                return ConnectError(why, request=what, final=True)
            case aiohttp.ClientConnectorSSLError():
                # a connection that broke during the handshake may work the next time; a wrong protocol will not
                broke = isinstance(failure.os_error, ssl.SSLEOFError)
                why = f"no TLS with {self._origin}: {_reason(failure)}"
                return ConnectError(why, request=what, final=not broke)
            case aiohttp.InvalidURL():
                why = f"{self._origin} is not an address that can be connected to"
                return ConnectError(why, request=what, final=True)
            case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
                return ConnectError(f"can't connect through the proxy: {_reason(failure)}", request=what)
            case aiohttp.ClientConnectorError():
                return ConnectError(f"can't connect to {self._origin}: {_reason(failure)}", request=what)
            case TimeoutError():
                due = None if call is None or not call.ends_before(started, timeout.total) else call.deadline
                limit = (
                    f"within {timeout.total:g} s"
                    if due is None
                    else f"before the call's deadline of {due:g} s"
                )
                lacks = "complete answer" if connected else f"connection to {self._origin}"
                return RequestTimeoutError(f"no {lacks} {limit}", request=what, deadline=due)
            case Undecodable():
                kind = TransportError if failure.final else ConnectionLostError
                why = self._redact(f"the body of the answer {failure}")[:MAX_REASON]
                return kind(why, request=what, final=failure.final)
            case aiohttp.ClientPayloadError():
                return ConnectionLostError("the connection broke in the body of the answer", request=what)
            case aiohttp.ClientResponseError() | HttpProcessingError():
                return ConnectionLostError("the answer is not valid HTTP", request=what)
            case _:
                return ConnectionLostError(f"the connection broke: {_reason(failure)}", request=what)


def _reason(failure: BaseException) -> str:
    """Return the operating system's reason. aiohttp's own texts can quote headers and bodies, so they are not used."""
    match failure:
        case Dropped():
            return _reason(failure.why)
        case aiohttp.ClientHttpProxyError(status=407):
            return "it requires a user and a password (407): http://user:password@host:port"
        case aiohttp.ClientHttpProxyError():
            return f"it refused the tunnel with {failure.status}"
        case aiohttp.ClientConnectorCertificateError():
            return str(getattr(failure.certificate_error, "verify_message", "") or type(failure).__name__)
        case aiohttp.ClientConnectorDNSError():
            return "the name can't be resolved"
        case aiohttp.ClientConnectorError():
            return failure.os_error.strerror or type(failure.os_error).__name__
        case aiohttp.ServerDisconnectedError():
            return "the other side closed it without an answer"
        case OSError():
            return failure.strerror or type(failure).__name__
    # an exception that aiohttp does not document for a request: no test knows how to get one
    return type(failure).__name__
