"""A loopback server that sends bytes and misbehaves as scripted. It records its requests, connection by connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Self

import attrs

__all__ = ["Heard", "Line", "RawServer", "Script", "answer", "chunked"]

CRLF = b"\r\n"


@attrs.frozen
class Heard:
    """One request as it came, with the number of its connection (from 1), and its own among all (from 1)."""

    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    number: int = 0


class Line:
    """The server's end of one connection. Sending raises `ConnectionError` once the client has disconnected."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.asked = Heard(number, "", "", {}, b"")
        """The request that is being answered."""
        self._reader = reader
        self._writer = writer

    @property
    def is_open(self) -> bool:
        return not self._writer.is_closing()

    @property
    def has_peer(self) -> bool:
        """Whether the client is still there, as far as is known."""
        return self.is_open and not self._reader.at_eof() and self._reader.exception() is None

    async def hear(self) -> Heard | None:
        """The next request, whole; None when the client has disconnected."""
        try:
            head = await self._reader.readuntil(CRLF * 2)
            start, *lines = head.decode("latin-1").rstrip().split("\r\n")
            method, target, _ = start.split(" ", 2)
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return Heard(self.number, method, target, headers, body)

    def send(self, data: bytes) -> None:
        """Send; bytes that are sent in one call arrive together, as far as the buffers reach."""
        if not self.is_open:
            raise ConnectionResetError
        self._writer.write(data)

    async def segment(self, data: bytes) -> None:
        """Send, and let the client read it before anything else is sent."""
        self.send(data)
        for _ in range(20):
            await asyncio.sleep(0)

    async def pour(self, data: bytes) -> None:
        """Send as fast as the client reads."""
        self.send(data)
        await self._writer.drain()

    def close(self) -> None:
        """Send FIN, after all bytes."""
        self._writer.close()

    def reset(self) -> None:
        """Send RST, immediately."""
        peer: socket.socket = self._writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def stall(self) -> None:
        """Send nothing more, until the client disconnects."""
        with contextlib.suppress(OSError):
            while await self._reader.read(65536):
                pass


Script = Callable[[Line], Awaitable[None]]


class RawServer:
    """``async with RawServer() as server``: plays one script for each request, the last one over and over.

    ``greet`` is played when a connection opens, before anything is read; if it closes the connection, nothing is read.
    """

    def __init__(
        self,
        *scripts: Script,
        greet: Script | None = None,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.scripts = list(scripts)
        self.greet = greet
        self.requests: list[Heard] = []
        self.connections = 0
        self.port = port
        self._tls = tls
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def heard(self, method: str) -> int:
        """The number of requests of this method that came."""
        return sum(heard.method == method for heard in self.requests)

    async def until_heard(self, requests: int) -> None:
        """Return once this number of requests has arrived."""
        while len(self.requests) < requests:
            self._news.clear()
            await self._news.wait()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls, limit=1 << 20, backlog=2000
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        line = Line(self.connections, reader, writer)
        try:
            if self.greet is not None:
                await self.greet(line)
            while line.is_open and (heard := await line.hear()):
                line.asked = attrs.evolve(heard, number=len(self.requests) + 1)
                self.requests.append(line.asked)
                self._news.set()
                turn = min(len(self.requests), len(self.scripts))
                await self.scripts[turn - 1](line)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)


def answer(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """The bytes of a response. ``length`` is the length that it claims for its body."""
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json", *headers]
    if not any(line.lower().startswith("transfer-encoding") for line in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*chunks: bytes, end: bool = True) -> bytes:
    """A body in chunks."""
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return framed + (b"0\r\n\r\n" if end else b"")
