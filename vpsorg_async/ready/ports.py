"""Checks of a TCP port, and of the SSH server behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from ..config import check_seconds
from ..lifecycle.readiness import Check, NotReady
from ..records import Server
from .addresses import LEAST, MARGIN, STAGGER, check_port, first_of, shown, written

__all__ = ["ssh", "ssh_address", "tcp"]

LONGEST_LINE = 4096
"""Bytes of a line that a server sends before or as its banner; RFC 4253 allows 255 for the banner."""
MOST_LINES = 50
"""Lines that a server may send before its banner."""
SHOWN = 80
"""Characters of a line that a reason repeats."""


@contextlib.asynccontextmanager
async def _connected(address: str, port: int) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection(address, port, limit=LONGEST_LINE)
    try:
        yield reader
    finally:
        writer.close()


def tcp(port: int, *, timeout: float = 5.0) -> Check:
    """Return a check that one of the server's addresses accepts TCP connections.

    A port can be open before the service behind it answers: `ssh` and `http` check that.

    Args:
        port: The port, from 1 to 65535.
        timeout: Seconds for each address.

    Returns:
        A check for ``ready=`` of a wait or fleet call, or for ``health=`` of a rolling operation.

    Raises:
        ConfigurationError: The port or the timeout is wrong.

    Example::

        await vps.wait_until(server.id, "active", timeout=600, ready=ready.tcp(22))
    """
    check_port(port)
    check_seconds(timeout, "timeout")

    async def attempt(address: str, note: Callable[[str], None]) -> None:
        async with _connected(address, port):
            pass

    async def call(server: Server) -> bool:
        await first_of(server, attempt, timeout)
        return True

    return Check(written("tcp", port), timeout + STAGGER + MARGIN, call, LEAST)


def ssh(port: int = 22, *, timeout: float = 5.0) -> Check:
    """Return a check that an SSH server sends its banner (RFC 4253, section 4.2). It does not log in.

    Args:
        port: The port, from 1 to 65535.
        timeout: Seconds for each address, from connecting to the banner.

    Raises:
        ConfigurationError: The port or the timeout is wrong.

    Example::

        await vps.fleet.create(specs, timeout=900, ready=ready.ssh())
    """
    check_port(port)
    check_seconds(timeout, "timeout")

    async def call(server: Server) -> bool:
        await ssh_address(server, port, timeout)
        return True

    return Check(written("ssh", port), timeout + STAGGER + MARGIN, call, 2 * LEAST)


async def ssh_address(server: Server, port: int, timeout: float) -> str:
    """Return the address of the server at which an SSH server sent its banner first.

    Args:
        server: The server.
        port: The port.
        timeout: Seconds for each address, from connecting to the banner.

    Raises:
        NotReady: None did; the reason names each address.
    """

    async def attempt(address: str, note: Callable[[str], None]) -> str:
        async with _connected(address, port) as reader:
            note("the port is open, but no SSH banner came")
            await _read_banner(reader)
        return address

    return await first_of(server, attempt, timeout)


async def _read_banner(reader: asyncio.StreamReader) -> None:
    """Read up to the banner; lines of text may precede it. Raises `NotReady` for anything else."""
    first = ""
    for _ in range(MOST_LINES):
        try:
            line = await reader.readline()
        except ValueError:  # the line is too long
            raise NotReady("it sent something else than an SSH banner") from None
        text = shown(line.decode("utf-8", "replace"), SHOWN)
        if line.startswith((b"SSH-2.0-", b"SSH-1.99-")) and line.endswith(b"\n"):
            return
        if line.startswith(b"SSH-") and line.endswith(b"\n"):
            raise NotReady(f"its SSH server speaks another version: {text}")
        first = first or text
        if not line.endswith(b"\n"):
            said = f"; it sent {first!r}" if first else ""
            raise NotReady(f"it closed the connection without an SSH banner{said}")
    raise NotReady(f"it sent no SSH banner in {MOST_LINES} lines; it began with {first!r}")
