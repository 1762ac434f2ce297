"""What a look is, what it costs, and what polling tells of itself: plain data and one decision. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import attrs

from ..codec import StatusRow
from ..errors import DecodeError
from ..models import Server, ServerId
from .wait import Wait

__all__ = ["ListLook", "PollStatistics", "Roll", "Row", "ServerStuck", "list_is_cheaper"]

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


Row = Server | StatusRow


@attrs.frozen(eq=False)
class ListLook:
    """One list of the account and when its request left (monotonic seconds).

    ``rows`` are records, or as much of them as a look needs: then ``read`` reads the whole one at a position.
    """

    requested_at: float
    rows: Sequence[Row]
    read: Callable[[int], Server] | None = None

    def record(self, position: int) -> Server:
        """The whole record of a row. Raises `DecodeError` where only the rest of it does not fit."""
        row = self.rows[position]
        if isinstance(row, Server):
            return row
        assert self.read is not None
        return self.read(position)

    def shown(self, position: int) -> Server:
        """As much of the record of a row as can be read."""
        try:
            return self.record(position)
        except DecodeError:
            row = self.rows[position]
            return Server(id=row.id, name="", status=row.status, updated_at=row.updated_at)

    @property
    def servers(self) -> Sequence[Server]:
        """All records. Raises `DecodeError`."""
        return [self.record(position) for position in range(len(self.rows))]


class Roll:
    """The account as it was listed last: what the next look is compared with."""

    def __init__(self) -> None:
        self.look: ListLook | None = None
        self.places: dict[str, int] = {}
        """The position of each server in the look, by its id."""

    def call(self, look: ListLook) -> tuple[list[int], Set[str] | None]:
        """The positions of rows that are new or changed since the last look, and the ids that are gone.

        None for those that are gone where there was no look before.
        """
        before, self.look = self.look, look
        rows = look.rows
        old: Sequence[Row] = () if before is None else before.rows
        if rows is old:
            return [], frozenset()
        if before is not None and len(rows) == len(old):
            pairs = enumerate(zip(rows, old, strict=True))
            changed = [position for position, (row, last) in pairs if row != last]
            if all(rows[position].id == old[position].id for position in changed):
                return changed, frozenset()
        known = {row.id: row for row in old}
        places, self.places = self.places, {str(row.id): position for position, row in enumerate(rows)}
        changed = [position for position, row in enumerate(rows) if known.get(row.id) != row]
        return changed, None if before is None else places.keys() - self.places.keys()


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
