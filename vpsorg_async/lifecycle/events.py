"""What polling reports: its statistics, and the event for a server that takes long. Data."""

from __future__ import annotations

import attrs

from ..records import ServerId

__all__ = ["PollStatistics", "ServerStuck"]


@attrs.frozen(kw_only=True)
class PollStatistics:
    """What a client has polled so far: ``lists``, reads of ``singles``, and how many of both ``failed``.

    ``waits`` is the number of waits that are open now.
    """

    waits: int
    lists: int
    singles: int
    failed: int


@attrs.frozen(kw_only=True)
class ServerStuck:
    """A server takes longer than 99 % of its kind: ``seconds`` so far, where ``expected`` is the most to expect.

    Emitted once for each wait, long before its timeout. What to do is the user's choice: wait on, or delete and replace
    the server.
    """

    server_id: ServerId
    operation: str
    status: str
    seconds: float
    expected: float
