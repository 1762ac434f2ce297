"""Answers on the wire, complete or damaged: how each ending changes the bytes.

Endings that are complete answers (`html`, `gateway`, `refuse`, `reply`, `rate_limit`, `redirect`) arrive here as a
plain `Answer`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from . import faults
from .api import Answer

SERVER: Final = "vpsorg-sandbox"
_BLOCK: Final = b" " * 2**20
# Linger for zero seconds: closing such a socket sends a reset. The fields are shorter on Windows.
_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_GARBAGE: Final = b"\x16\x03\x01\x00\xa5 this is not HTTP \xff\xfe\r\n\r\n"


async def respond(
    request: web.BaseRequest, answer: Answer, ending: faults.Ending | None, date: str, over: asyncio.Event
) -> web.StreamResponse:
    """Return the response for an answer and the ending that damages it; `over` is set when waiting is pointless."""
    given = {name.lower() for name in answer.headers}
    own = {name: value for name, value in (("Date", date), ("Server", SERVER)) if name.lower() not in given}
    headers = {**answer.headers, **own}
    match ending:
        case faults.DropBefore(how) | faults.DropAfter(how):
            return ByHand(reset=how == "rst")
        case faults.HalfHeaders():
            return ByHand(_pieces(_half(_head(answer.status, headers)), over=over))
        case faults.HalfBody():
            head = _head(answer.status, {**headers, "Content-Length": str(len(answer.body))})
            return ByHand(_pieces(head + _half(answer.body) if answer.body else _half(head), over=over))
        case faults.MalformedChunk(rest):
            head = _head(answer.status, {**headers, "Transfer-Encoding": "chunked"})
            return ByHand(_pieces(head, b"zz\r\n" + answer.body, over=over, every=rest))
        case faults.Dribble(size, rest):
            length = {} if answer.status == 204 else {"Content-Length": str(len(answer.body))}
            whole = _head(answer.status, {**headers, **length, "Connection": "close"}) + answer.body
            pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
            return ByHand(_pieces(*pieces, over=over, every=rest))
        case faults.Garbage():
            return ByHand(_pieces(_GARBAGE, over=over))
        case faults.NeverAnswer():
            await over.wait()
            return ByHand(reset=True)
        case faults.HugeBody(size):
            return await _stream(request, answer, headers, _plain(size, answer.body))
        case faults.GzipBomb(size):
            packed = {**headers, "Content-Encoding": "gzip"}
            return await _stream(request, answer, packed, _gzip(size, answer.body))
        case _:
            return web.Response(status=answer.status, body=answer.body or None, headers=headers)


class ByHand(web.StreamResponse):
    """An answer whose bytes are written to the socket directly, after which the connection closes."""

    def __init__(self, pieces: AsyncIterator[bytes] | None = None, *, reset: bool = False) -> None:
        super().__init__()
        self.force_close()
        self._pieces = pieces
        self._reset = reset

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        if self._pieces is not None:
            async for piece in self._pieces:
                transport.write(piece)
        if self._reset:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            transport.abort()
        else:
            transport.close()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: no more data follows."""


async def pause(seconds: float, over: asyncio.Event) -> bool:
    """Wait real seconds; return False if `over` was set before."""
    if seconds <= 0:
        return not over.is_set()
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return True
    return False


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    phrase = HTTPStatus(status).phrase
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _half(data: bytes) -> bytes:
    return data[: max(1, len(data) // 2)]


async def _pieces(*pieces: bytes, over: asyncio.Event, every: float = 0.0) -> AsyncIterator[bytes]:
    for number, piece in enumerate(pieces):
        if number and not await pause(every, over):
            return
        yield piece


async def _stream(
    request: web.BaseRequest, answer: Answer, headers: Mapping[str, str], pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    # A 204 can't have a body.
    response = web.StreamResponse(status=200 if answer.status == 204 else answer.status, headers=headers)
    try:
        await response.prepare(request)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        # The client has closed the connection.
        response.force_close()
    return response


async def _plain(size: int, body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, size, len(_BLOCK)):
        yield _BLOCK[: size - start]
    yield body


async def _gzip(size: int, body: bytes) -> AsyncIterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    async for piece in _plain(size, body):
        # Compressing takes time: yield to the other connections.
        await asyncio.sleep(0)
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()
