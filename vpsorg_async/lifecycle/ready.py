"""Checks that a server can be used, which may follow a wait for its status."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from ..config import check_seconds
from ..errors import ConfigurationError
from ..hooks import FAILURES
from ..records import Server

__all__ = ["ReadyCheck", "ask", "tcp_port"]

STOOD_STILL = 1.0
"""Seconds by which a check goes past its time where the process was suspended, or its loop blocked."""

ReadyCheck = Callable[[Server], Awaitable[bool] | bool]
"""Returns whether the server can be used; async, or quick. An exception counts as False, with that reason."""


async def ask(check: ReadyCheck, server: Server, timeout: float, last: float = 0.0) -> str:
    """Call a check with a server; returns why it did not pass, empty if it did.

    Args:
        check: the check. What it raises is a reason, and so is a `CancelledError` of its own.
        server: the server.
        timeout: seconds for the check.
        last: seconds at least for a second try, which is made if the process was suspended during the first.
    """
    now = asyncio.get_running_loop().time
    began = now()
    reason = await _asked(check, server, timeout)
    if reason and now() > began + timeout + STOOD_STILL:
        reason = await _asked(check, server, max(timeout, last))
    return reason


async def _asked(check: ReadyCheck, server: Server, timeout: float) -> str:
    task = asyncio.current_task()
    # the caller may have been cancelled before, and call this while it cleans up
    cancelled = 0 if task is None else task.cancelling()
    try:
        async with asyncio.timeout(timeout):
            said = check(server)
            # a plain function does as well: a server has been rebooted for its answer
            if await said if inspect.isawaitable(said) else said:
                return ""
        return "it said no"
    except FAILURES as failure:
        if isinstance(failure, asyncio.CancelledError) and task is not None and task.cancelling() > cancelled:
            raise
        return f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__


def tcp_port(port: int, *, timeout: float = 5.0) -> Callable[[Server], Awaitable[bool]]:
    """A check that one of the server's addresses accepts TCP connections on ``port``, each within ``timeout`` seconds.

    ::

        await vps.wait_until(server.id, "active", timeout=600, ready=tcp_port(22))

    Raises `ConfigurationError` for a port that is none.
    """
    check_seconds(timeout, "timeout")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigurationError(f"a port is a number from 1 to 65535, not {port!r}")

    async def check(server: Server) -> bool:
        addresses = [address for address in (server.ip_address, server.ipv6_address) if address is not None]
        for number, address in enumerate(addresses, 1):
            try:
                async with asyncio.timeout(timeout):
                    _, writer = await asyncio.open_connection(address, port)
            except OSError:
                if number == len(addresses):
                    raise
                continue
            writer.close()
            return True
        return False

    return check
