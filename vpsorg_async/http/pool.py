"""The connection pool: which connection an attempt may use, that it uses one only, and whether it had one.

A session of aiohttp can be given classes of its own for connections, requests and answers. That is enough for these
rules, for reads and changes alike, and costs less than aiohttp's traces and middlewares, which are a tenth of a change.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp

__all__ = ["Answer", "Connector", "Dropped", "Question", "TooLate"]

FRESH_SECONDS = 1.0
"""A change uses a connection that answered within this time, or a new one.

A service closes idle connections at any time. A POST that meets such a close fails in the same way as one that was
applied and lost its answer. Bulk changes follow each other faster than this, so they need no handshake each.
"""

_CAREFUL = frozenset({"POST", "PATCH"})

# on aiohttp's protocol object: a table of all connections would have to be cleared of those that are closed
_ANSWERED_AT = "_vpsorg_answered_at"


class Dropped(Exception):
    """Replaces aiohttp's exception for a dropped connection, which would make aiohttp resend. ``why``: that one."""

    def __init__(self, why: aiohttp.ClientError) -> None:
        super().__init__()
        self.why = why


class TooLate(Exception):
    """The request had its connection too late, and was not sent."""


class Question(aiohttp.ClientRequest):
    """A request that takes over all of its headers at once: aiohttp would add and compare them one by one."""

    def update_headers(self, headers: Any) -> None:
        """Set the host, and the headers of the session and the call, which never name another host."""
        super().update_headers(None)
        self.headers.extend(headers or ())


class Answer(aiohttp.ClientResponse):
    """An answer that dates the connection that brought it. If none comes, the attempt is over."""

    async def start(self, connection: Any) -> Any:
        """Wait for the head of the answer. Raises `Dropped` where aiohttp would send the request a second time."""
        protocol = connection.protocol
        try:
            await super().start(connection)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as why:
            raise Dropped(why) from None
        setattr(protocol, _ANSWERED_AT, asyncio.get_running_loop().time())
        return self


class Connector(aiohttp.TCPConnector):
    """One pool for everything. It gives changes only connections that answered recently.

    A connection that received bytes while it was idle is not used again: aiohttp would treat them as the answer to the
    next request, before the service has even seen it. A connection that was idle when another one turned out to be dead
    is not used again either.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._time = asyncio.get_running_loop().time
        self._distrusted_at = -math.inf
        self._unconnected: set[asyncio.Task[Any] | None] = set()
        self._limits: dict[asyncio.Task[Any] | None, Callable[[], float]] = {}

    async def connect(self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        """Return a connection, new or used."""
        seconds_left = self._limits.get(asyncio.current_task()) if self._limits else None
        while True:
            try:
                connecting = super().connect(req, traces, timeout)
                if seconds_left is None:
                    connection = await connecting
                else:
                    connection = await _in_time(connecting, seconds_left)
            except BaseException:
                self._unconnected.add(asyncio.current_task())
                raise
            protocol: Any = connection.protocol
            answered_at = getattr(protocol, _ANSWERED_AT, None)
            if answered_at is None:
                return connection  # a new one
            oldest = self._time() - FRESH_SECONDS if req.method in _CAREFUL else -math.inf
            if answered_at > oldest and answered_at > self._distrusted_at and not protocol.should_close:
                return connection
            connection.close()

    def connect_within(self, seconds_left: Callable[[], float] | None) -> None:
        """Give the running task connections only while this returns more than 0, until it is called with None.

        It is asked last when there is a connection: the request leaves next.
        """
        task = asyncio.current_task()
        if seconds_left is None:
            self._limits.pop(task, None)
        else:
            self._limits[task] = seconds_left

    def had_connection(self) -> bool:
        """Return whether the failed attempt of the running task had a connection, so that it may have been sent."""
        task = asyncio.current_task()
        if task not in self._unconnected:
            return True
        self._unconnected.discard(task)
        return False

    def distrust(self) -> None:
        """Stop using the idle connections, because an attempt met a dead one and they are probably dead too.

        A balancer that restarts, or a firewall that forgets, breaks all of them at once. Tried one by one, they would
        use up all attempts of a call. Connections in use now are trusted again once they have answered.
        """
        self._distrusted_at = self._time()


async def _in_time(connecting: Coroutine[Any, Any, Any], seconds_left: Callable[[], float]) -> Any:
    """Return the connection. Raises `TooLate` when no time is left, though a connection may have come."""
    limit = asyncio.timeout(seconds_left())
    try:
        async with limit:
            connection = await connecting
    except TimeoutError:
        if limit.expired():
            raise TooLate from None
        raise
    if seconds_left() <= 0:
        connection.close()
        raise TooLate
    return connection
