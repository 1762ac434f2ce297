"""What polling reports: its statistics, and the event for a server that takes long. Data."""

from __future__ import annotations

import attrs

from ..records import ServerId

__all__ = ["PollStatistics", "ServerStuck"]


@attrs.frozen(kw_only=True)
class PollStatistics:
    """The polls of a client so far, and its open waits.

    ``lists``: list requests. ``singles``: reads of one server by id. ``failed``: how many of both failed. ``waits``:
    the waits that are open now.
    """

    waits: int
    lists: int
    singles: int
    failed: int


@attrs.frozen(kw_only=True)
class ServerStuck:
    """A server takes longer than expected: ``seconds`` so far, which is more than ``expected``.

    ``expected`` is 1.5 times the duration that 99 % of the same commands did not exceed. Until ten of them were seen it
    is 420 s for a create and 180 s for other commands. Emitted once for each wait, long before its timeout. What to do
    is the user's choice: go on waiting, or delete and replace the server.
    """

    server_id: ServerId
    operation: str
    status: str
    seconds: float
    expected: float
