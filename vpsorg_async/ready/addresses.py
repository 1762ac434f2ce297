"""The addresses of a server, and an attempt at each of them."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import ConfigurationError
from ..lifecycle.readiness import NotReady
from ..records import Server
from ..shielding import apart, result_of

__all__ = ["LEAST", "MARGIN", "STAGGER", "check_port", "described", "first_of", "shown", "written"]

T = TypeVar("T")

MARGIN = 1.0
"""Seconds by which the limit of a whole check lies above the limits of its parts, which name what took so long."""

STAGGER = 0.25
"""Seconds after which the second address is tried beside the first: a host that is booting may not answer at all."""

LEAST = 1.0
"""Seconds that a check of a port has in any case; it has all of its time while no other check waits for its place."""

Note = Callable[[str], None]


def check_port(port: object) -> int:
    """Return the port. Raises `ConfigurationError` if it is not a number from 1 to 65535."""
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigurationError(f"a port is a number from 1 to 65535, not {port!r}")
    return port


def written(name: str, *given: object, **options: object) -> str:
    """Return a call as it is written; an option that is None is left out."""
    named = [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return f"{name}({', '.join([*map(repr, given), *named])})"


def shown(sent: str, limit: int = 200) -> str:
    """Return what a server sent as a reason repeats it: no control characters, and not more than that many."""
    return "".join(filter(str.isprintable, sent))[:limit]


def described(error: Exception) -> str:
    """Return the reason that an error of a socket gives, without numbers and internals."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):  # its numbers are none of the system
        return f"TLS failed: {error.reason}"
    number = getattr(error, "errno", None)
    text = os.strerror(number) if isinstance(number, int) and number > 0 else str(error)
    return text[:1].lower() + text[1:] if text else type(error).__name__


async def first_of(
    server: Server,
    attempt: Callable[[str, Note], Awaitable[T]],
    timeout: float,
    *,
    stagger: float | None = STAGGER,
) -> T:
    """Return the result of the first attempt that succeeds, at the IPv4 address or at the IPv6 address.

    Args:
        server: The server.
        attempt: Called with an address, and with a function that notes what is being waited for.
        timeout: Seconds for each address.
        stagger: Seconds after which the second address is tried beside the first; None for not before it has failed.

    Raises:
        NotReady: All attempts failed; the reason names each address.
    """
    addresses = [*filter(None, (server.ip_address, server.ipv6_address))]
    tasks: list[asyncio.Task[T]] = []
    reasons: dict[asyncio.Task[T], str] = {}
    try:
        while len(reasons) < len(addresses):
            if len(tasks) < len(addresses):
                tasks.append(apart(_limited(attempt, addresses[len(tasks)], timeout)))
            last = len(tasks) == len(addresses)
            running = [task for task in tasks if task not in reasons]
            done, _ = await asyncio.wait(
                running, timeout=None if last else stagger, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    return result_of(task)
                except NotReady as no:
                    reasons[task] = str(no)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    raise NotReady("; ".join(reasons[task] for task in tasks) or "it has no address yet")


async def _limited(attempt: Callable[[str, Note], Awaitable[T]], address: str, timeout: float) -> T:
    """Make one attempt. Raises `NotReady` with the address and the reason."""
    noted = ["no answer"]
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await attempt(_canonical(address), noted.append)
    except NotReady as no:
        reason = str(no)
    except OSError as error:
        expired = isinstance(error, TimeoutError) and limit.expired()
        reason = f"{noted[-1]} within {timeout:g} s" if expired else described(error)
    raise NotReady(f"{address}: {reason}")


def _canonical(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
