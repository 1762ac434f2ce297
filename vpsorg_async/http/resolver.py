"""Name look-ups that can't hold up the end of a program.

The event loop's own look-up runs in its thread pool, and closing the loop waits for that pool: with a name server
that never answers, a program that had timed out long ago stays for seconds more. Here each look-up has a daemon
thread of its own, which nobody waits for.
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
        """The addresses of a host. Raises `OSError`, which the connector turns into its DNS error."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def tell(result: list[Any] | None, error: OSError | UnicodeError | None) -> None:
            if found.done():
                return
            if error is None:
                found.set_result(result or [])
            else:
                # a name that can't be encoded is a name that does not exist
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
                # the loop may close in between: nobody is left to tell then
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(tell, result, error)

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
        """Nothing to close."""
