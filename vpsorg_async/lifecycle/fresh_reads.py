"""Reads of servers for their checks. Checks at about the same time share one list, where that is cheaper."""

from __future__ import annotations

import asyncio

from ..errors import ServerGoneError, VpsOrgError, is_absence
from ..records import Server
from ..specs import key_of
from ..timing import Clock
from .account import Account
from .commands import GONE
from .poller import Poller

__all__ = ["FreshReads"]

LONGEST_READ = 5.0
"""Seconds after which a check is made with the record seen last: an API that hangs must not delay checks."""


class FreshReads:
    """Reads servers again before each check.

    A list that was read since the last check of a server is enough, whatever it was read for: a poll of the waits, or
    the check of another server.
    """

    def __init__(self, poller: Poller, account: Account, clock: Clock) -> None:
        self._poller = poller
        self._account = account
        self._clock = clock
        self._asking = 0
        self._listing = asyncio.Lock()

    async def read(self, server: Server, after: float) -> Server:
        """Return the server as a request shows it that left after that time, or as it was if it can't be read.

        Raises:
            ServerGoneError: The server does not exist.
        """
        listed = self._listed(server, after)
        if listed is not None and listed.status != GONE:
            return listed
        self._asking += 1
        gone: VpsOrgError | None = None
        try:
            async with asyncio.timeout(LONGEST_READ):
                now = await self._read(server, after)
            if now.status != GONE:
                return now
        except TimeoutError:
            return server
        except VpsOrgError as failure:
            if not is_absence(failure):
                return server
            gone = failure
        finally:
            self._asking -= 1
        raise ServerGoneError(
            f"server {server.id} does not exist any more", server_id=server.id, last_seen=server
        ) from gone

    async def _read(self, server: Server, after: float) -> Server:
        # one list at a time: those who wait for it may be served by it
        async with self._listing:
            listed = self._listed(server, after)
            if listed is None and self._asking > 1:
                await self._poller.list_for(self._asking)
                listed = self._listed(server, after)
        if listed is not None:
            return listed
        if self._poller.held_until > self._clock.now():
            return server  # the API asked not to be asked
        # absence from a list proves nothing
        return (await self._poller.read(server.id))[1]

    def _listed(self, server: Server, after: float) -> Server | None:
        """Return the record of a list that is new enough; None if it does not say how the server can be reached."""
        if self._account.listed_at < after:
            return None
        listed = self._account.last_list.record(key_of(server.id))
        # rows of the documented list have no IPv6 address: a server that has no other one is read by id
        return listed if listed is None or listed.address or listed.status == GONE else None
