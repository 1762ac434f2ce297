"""What a look is, what it costs, and what polling tells of itself: plain data and one decision. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..models import Server, ServerId
from .wait import Wait

__all__ = ["ListLook", "PollStatistics", "ServerStuck", "list_is_cheaper"]

REQUEST_COST = 64 * 1024
"""What a request costs apart from its bytes, in bytes: requests are what rate limits and other people count."""
DETAIL_BYTES = 700
ROW_BYTES = 330


def list_is_cheaper(watched: int, account: int | None, page_size: int | None = None) -> bool:
    """Whether one list of the account costs less than a read of each watched server.

    ``account`` is the number of servers in it, None while unknown: then a lone wait reads its server, and several
    begin with a list. With a ``page_size`` a list costs a request for each page.
    """
    if watched <= 1:
        return False
    if account is None:
        return True
    pages = 1 if page_size is None else max(-(-account // page_size), 1)
    return pages * REQUEST_COST + account * ROW_BYTES < watched * (REQUEST_COST + DETAIL_BYTES)


@attrs.frozen
class ListLook:
    """One list of the account and when its request left (monotonic seconds)."""

    requested_at: float
    servers: Sequence[Server]


@attrs.frozen(kw_only=True)
class PollStatistics:
    """What a poller has done so far."""

    waits: int
    lists: int
    singles: int
    failed: int


@attrs.frozen(kw_only=True)
class ServerStuck:
    """A server takes longer than 99 % of its kind: ``seconds`` so far, where ``expected`` is the most to expect.

    Told once for each wait, long before its timeout. What to do is the user's: wait on, or delete and replace it.
    """

    server_id: ServerId
    operation: str
    status: str
    seconds: float
    expected: float

    @classmethod
    def of(cls, wait: Wait, now: float, expected: float) -> ServerStuck:
        """What this wait has to tell."""
        return cls(
            server_id=wait.server_id,
            operation=wait.operation,
            status="" if wait.last_seen is None else str(wait.last_seen.status),
            seconds=now - wait.since,
            expected=expected,
        )
