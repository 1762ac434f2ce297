"""Name look-ups that can't delay the exit of a program.

The event loop's own look-up runs in its thread pool, and closing the loop waits for that pool. If a name server never
answers, a program that has timed out long ago would wait for seconds more. Here each look-up runs in a daemon thread
of its own, and nothing waits for that thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["DaemonResolver"]


class DaemonResolver(AbstractResolver):
    """`socket.getaddrinfo` in daemon threads."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises `OSError`, which the connector turns into its DNS error."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def deliver(result: list[Any] | None, error: OSError | UnicodeError | None) -> None:
            if found.done():
                return
            if error is None:
                found.set_result(result or [])
            else:
                # a name that can't be encoded does not exist
                found.set_exception(error if isinstance(error, OSError) else OSError(None, "bad host name"))

        def look_up() -> None:
            result, error = None, None
            try:
                result = socket.getaddrinfo(
                    host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
            except (OSError, UnicodeError) as failure:
                error = failure
            if not loop.is_closed():
                # the loop may close in between; then no task needs the result
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(deliver, result, error)

        threading.Thread(target=look_up, name="vpsorg-resolve", daemon=True).start()
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, proto, _, address in await found
        ]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""
