"""The endpoints of the fault matrix: servers that misbehave, and addresses without a server."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest import mock
from urllib.parse import unquote, urlsplit

import attrs
import trustme

from tests.io.raw_server import Line, RawServer, Script, answer, chunked
from tests.io.skipping import quiet, skip

__all__ = [
    "LONG",
    "NEW",
    "SERVER",
    "Endpoint",
    "Play",
    "black_hole",
    "bomb",
    "closed_port",
    "drips",
    "fits",
    "fitting",
    "floods",
    "full_listener",
    "names",
    "not_tls",
    "passing_time",
    "raw",
    "record",
    "sends",
    "silent_name_server",
    "stalls",
    "status",
    "tls",
    "trusting",
    "unknown_name",
    "warm",
]

LONG = 60.0
"""Seconds: more than any deadline of the client."""
LONGER_THAN_CONNECT = 12.0
"""Seconds: more than the limit for a connection, less than that for an attempt."""

NEW = 1000
"""Servers that are created have ids from here."""


def record(server_id: int | str = 1, **fields: Any) -> bytes:
    """A body that fits as the response to each of the nine: a server, an action envelope, a page."""
    server = {"id": server_id, "name": "web-1", "status": "active"} | fields
    return json.dumps({**server, "server": {"id": server_id}, "results": []}).encode()


SERVER = record()


def fitting(line: Line) -> bytes:
    """A body about the requested server: the one of the path, or a new one, with the fields that were sent."""
    asked = line.asked
    _, of_servers, rest = urlsplit(asked.target).path.partition("/servers/")
    server_id = unquote(rest.partition("/")[0]) or str(NEW + asked.number if asked.method == "POST" else 1)
    fields = json.loads(asked.body) if of_servers and asked.body else {}
    return record(int(server_id) if server_id.isdecimal() else server_id, **fields)


def fits(line: Line) -> bytes:
    """The same as a whole response."""
    return answer(200, fitting(line))


@attrs.frozen
class Endpoint:
    """The address for the client, its further options, the server if there is one, and requests to send before."""

    url: str
    server: RawServer | None = None
    options: dict[str, Any] = attrs.field(factory=dict)
    warm: int = 0


Play = Callable[[], AbstractAsyncContextManager[Endpoint]]


def sends(*segments: bytes | Callable[[Line], bytes], then: str = "") -> Script:
    """Send segments that arrive one by one; then keep the connection open, ``close``, ``reset`` or ``stall``."""

    async def script(line: Line) -> None:
        for segment in segments:
            await line.segment(segment if isinstance(segment, bytes) else segment(line))
        if then == "close":
            line.close()
        elif then == "reset":
            line.reset()
        elif then == "stall":
            await stalls(line)

    return script


async def stalls(line: Line) -> None:
    """Send nothing more while much time passes."""
    await line.segment(b"")
    if line.has_peer:
        skip(LONG)
    await line.stall()


async def drips(line: Line) -> None:
    """Send one byte a second."""
    for byte in answer(200, SERVER):
        await line.segment(bytes([byte]))
        skip(1.0)


async def floods(line: Line) -> None:
    """Send a body without an end."""
    await line.pour(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await line.pour(chunked(b" " * 65536, end=False))


@cache
def bomb(encoding: str) -> bytes:
    """Send 64 MiB of blanks, small on the wire."""
    blanks = b" " * (64 << 20)
    packed = gzip.compress(blanks, 6) if encoding == "gzip" else zlib.compress(blanks, 6)
    return answer(200, packed, f"Content-Encoding: {encoding}")


def raw(*scripts: Script, greet: Script | None = None) -> Play:
    """A raw server."""

    @asynccontextmanager
    async def endpoint() -> AsyncIterator[Endpoint]:
        async with RawServer(*(scripts or [sends(fits)]), greet=greet) as server:
            yield Endpoint(server.url, server)

    return endpoint


def warm(first: Script, *scripts: Script) -> Play:
    """A raw server whose connection has carried one response before."""

    @asynccontextmanager
    async def endpoint() -> AsyncIterator[Endpoint]:
        async with RawServer(first, *scripts) as server:
            yield Endpoint(server.url, server, warm=1)

    return endpoint


def status(code: int, *headers: str, body: bytes = b'{"detail": "no"}') -> Play:
    """A raw server that responds with this status and nothing else."""
    return raw(sends(answer(code, body, *headers)))


@asynccontextmanager
async def closed_port() -> AsyncIterator[Endpoint]:
    """A port without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield Endpoint(f"http://127.0.0.1:{taken.getsockname()[1]}")


@asynccontextmanager
async def passing_time(seconds: float) -> AsyncIterator[None]:
    """Skip time in steps, and let everything that is ready run in between."""

    async def pass_by() -> None:
        while True:
            await quiet()
            skip(seconds)

    passing = asyncio.create_task(pass_by())
    try:
        yield
    finally:
        passing.cancel()


@contextmanager
def full_listener() -> Iterator[str]:
    """The address of a listener whose queue is full: further attempts to connect are dropped."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield f"http://127.0.0.1:{full.getsockname()[1]}"


@asynccontextmanager
async def black_hole() -> AsyncIterator[Endpoint]:
    """An address that drops attempts to connect while time passes."""
    with full_listener() as url:
        async with passing_time(LONGER_THAN_CONNECT):
            yield Endpoint(url)


def names(look_up: Callable[..., Any]) -> Play:
    """Replaces the machine's name resolution."""

    @asynccontextmanager
    async def endpoint() -> AsyncIterator[Endpoint]:
        with mock.patch.object(socket, "getaddrinfo", look_up):
            async with passing_time(LONGER_THAN_CONNECT):
                yield Endpoint("https://api.example")

    return endpoint


def unknown_name(*_: object, **__: object) -> Any:
    """The error of a name server for a name that does not exist."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def silent_name_server(*_: object, **__: object) -> Any:
    """Blocks its thread for longer than the test needs."""
    time.sleep(0.5)
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def trusting() -> ssl.SSLContext:
    """A client's context that trusts the certificate authority of these tests."""
    context = ssl.create_default_context()
    _authority().configure_trust(context)
    return context


def tls(
    *,
    host: str = "127.0.0.1",
    expired: bool = False,
    trusted: bool = True,
    newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> Play:
    """A raw server behind TLS, with a defect on request."""

    @asynccontextmanager
    async def endpoint() -> AsyncIterator[Endpoint]:
        start, end = (
            (datetime(2019, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)) if expired else (None, None)
        )
        theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _authority().issue_cert(host, not_before=start, not_after=end).configure_cert(theirs)
        theirs.maximum_version = newest
        ours = trusting() if trusted else ssl.create_default_context()
        ours.minimum_version = ssl.TLSVersion.TLSv1_3
        async with RawServer(sends(fits), tls=theirs) as server:
            yield Endpoint(server.url, server, {"ssl_context": ours})

    return endpoint


def not_tls(greet: Script) -> Play:
    """An https address whose listener does not speak TLS."""

    @asynccontextmanager
    async def endpoint() -> AsyncIterator[Endpoint]:
        async with RawServer(sends(b""), greet=greet) as server, passing_time(LONGER_THAN_CONNECT):
            yield Endpoint(server.url.replace("http:", "https:"), server)

    return endpoint
