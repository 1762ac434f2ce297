"""Shared by the tests of checks: servers on loopback sockets, and how a check answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from vpsorg_async import Server, ServerStatus, ready

__all__ = ["V4", "V6", "answer", "listening", "needs_ipv6", "server", "unused_port"]

V4, V6 = "127.0.0.1", "::1"


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((V6, 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1")


def server(ip_address: str | None = V4, ipv6_address: str | None = None) -> Server:
    return Server(
        id=1, name="web-1", status=ServerStatus.ACTIVE, ip_address=ip_address, ipv6_address=ipv6_address
    )


async def answer(check: ready.Check, *addresses: str | None) -> str:
    """What a check says: ``yes``, ``no: `` and the reason, or ``never: `` and the reason."""
    try:
        assert await check(server(*addresses)) is True
    except ready.NotReady as no:
        return f"no: {no}"
    except ready.Hopeless as never:
        return f"never: {never}"
    return "yes"


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listening:
    """A server on a loopback port, and the connections that it has."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.accepted = 0
        self.connected, self.idle = asyncio.Event(), asyncio.Event()
        self.idle.set()
        self._open = 0

    def opened(self, number: int) -> None:
        """Count a connection that was opened (1) or closed (-1)."""
        self._open += number
        if number > 0:
            self.accepted += 1
            self.connected.set()
        if self._open:
            self.idle.clear()
        else:
            self.idle.set()

    async def closed(self) -> None:
        """Return once there was a connection, and every one was closed."""
        async with asyncio.timeout(10):
            await self.connected.wait()
            await self.idle.wait()


@contextlib.asynccontextmanager
async def listening(talk: Talk | bytes = b"", host: str = V4, port: int = 0) -> AsyncIterator[Listening]:
    """A server that sends these bytes, or talks like this; it keeps each connection until the client closes it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listener.opened(1)
        try:
            if isinstance(talk, bytes):
                writer.write(talk)
            else:
                await talk(reader, writer)
            while await reader.read(1024):
                pass
        except ConnectionError:
            pass
        finally:
            listener.opened(-1)
            writer.close()

    service = await asyncio.start_server(connected, host, port)
    listener = Listening(service.sockets[0].getsockname()[1])
    try:
        yield listener
    finally:
        service.close()
        await service.wait_closed()


async def cancelled(check: ready.Check, listener: Listening) -> None:
    """Cancel a check once it has connected: neither a connection nor a task outlives it."""
    before = asyncio.all_tasks()
    checking = asyncio.ensure_future(check(server()))
    await listener.connected.wait()
    checking.cancel()
    await asyncio.wait([checking])

    assert checking.cancelled()
    await listener.closed()
    assert {task for task in asyncio.all_tasks() - before if "connected" not in repr(task)} == set()


def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind((V4, 0))
        port: int = probe.getsockname()[1]
    return port
