"""What may follow the status: checks that a server can be used."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..config import check_seconds
from ..errors import ConfigurationError
from ..models import Server

__all__ = ["ReadyCheck", "tcp_port"]

ReadyCheck = Callable[[Server], Awaitable[bool] | bool]
"""Says whether the server can be used; async, or quick. Raising `OSError` or `TimeoutError` counts as no."""


def tcp_port(port: int, *, timeout: float = 5.0) -> Callable[[Server], Awaitable[bool]]:
    """A check that the server's ``ip_address`` accepts TCP connections on ``port`` within ``timeout`` seconds.

    ::

        await vps.wait_until(server.id, "active", timeout=600, ready=tcp_port(22))

    Raises `ConfigurationError` for a port that is none.
    """
    check_seconds(timeout, "timeout")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigurationError(f"a port is a number from 1 to 65535, not {port!r}")

    async def check(server: Server) -> bool:
        if server.ip_address is None:
            return False
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(server.ip_address, port)
        writer.close()
        return True

    return check
