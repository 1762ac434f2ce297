"""What a poll is, what it costs, and what polling tells of itself: plain data and one decision. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from typing import Any, Protocol

import attrs

from ..codec import StatusRow
from ..errors import DecodeError
from ..records import Server, ServerId
from .wait import Wait

__all__ = ["ListSnapshot", "PollStatistics", "Roll", "RowReader", "ServerStuck", "list_is_cheaper"]

REQUEST_COST = 64 * 1024
"""What a request costs apart from its bytes, in bytes: requests are what rate limits and other people count."""
DETAIL_BYTES = 700
ROW_BYTES = 330
ROWS_AT_ONCE = 16
"""Rows compared in one go, which costs a third of one by one; nearly all are as they were."""


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


class RowReader(Protocol):
    """Reads rows that were left as they came. Raises `DecodeError`."""

    def status(self, row: Any) -> StatusRow:
        """What a poll needs of it."""
        ...

    def record(self, row: Any) -> Server:
        """All of it."""
        ...

    def lacks(self, shown: int, unreadable: int, *, report: bool) -> str:
        """Why a list is known to lack servers; empty: nothing says so. On request, reported when it changes."""
        ...


@attrs.frozen(eq=False)
class ListSnapshot:
    """One list of the account and when its request left (monotonic seconds).

    ``rows`` are records where there is no ``reader``; else whatever it reads. A row equals one that says the same.
    """

    requested_at: float
    rows: Sequence[Any]
    reader: RowReader | None = None

    def status(self, position: int) -> StatusRow:
        """Id, status and ``updated_at`` of a row. Raises `DecodeError`."""
        row = self.rows[position]
        return (
            StatusRow(row.id, row.status, row.updated_at) if self.reader is None else self.reader.status(row)
        )

    def record(self, position: int) -> Server:
        """The whole record of a row. Raises `DecodeError`, perhaps for what is of no matter to its status."""
        row = self.rows[position]
        if self.reader is not None:
            return self.reader.record(row)
        assert isinstance(row, Server)
        return row

    @property
    def servers(self) -> Sequence[Server]:
        """All records that can be read, each server once."""
        records: dict[ServerId, Server] = {}
        for position in range(len(self.rows)):
            with contextlib.suppress(DecodeError):
                record = self.record(position)
                records[record.id] = record
        return list(records.values())

    def new(self, before: Container[str]) -> tuple[list[Server], int]:
        """The servers whose ids, in lower case, are not among those ``before``, and how many rows can't be read."""
        found: dict[ServerId, Server] = {}
        unreadable = 0
        for position in range(len(self.rows)):
            try:
                # of long lists nearly all rows were there before, and their ids are enough
                if str(self.status(position).id).casefold() not in before:
                    record = self.record(position)
                    found[record.id] = record
            except DecodeError:
                unreadable += 1
        return list(found.values()), unreadable

    def lacks(self, shown: int, unreadable: int = 0, *, report: bool = False) -> str:
        """Why it is known to lack servers, if it showed so many; empty: nothing says so."""
        if self.reader is not None:
            return self.reader.lacks(shown, unreadable, report=report)
        return f"{unreadable} of its rows can't be read" if unreadable else ""


class Roll:
    """The account as it was listed last, and what the next list says against it.

    `compare` tells which rows have to be read, `settle`, given their statuses, what has changed, and with `turn` the
    next list takes the place of the last.
    """

    def __init__(self) -> None:
        # the whole snapshot: whoever made it compares the answers with those of the next one, while it is kept
        self._snapshot: ListSnapshot | None = None
        self._next: tuple[ListSnapshot, list[str], dict[str, int]] | None = None
        self.ids: list[str] = []
        """The server of each row."""
        self.places: dict[str, int] = {}
        """The row of each server."""

    def record(self, key: str) -> Server | None:
        """The record of a server, as it was listed last."""
        position = self.places.get(key)
        return None if position is None or self._snapshot is None else self._snapshot.record(position)

    def compare(self, snapshot: ListSnapshot) -> Sequence[int]:
        """The positions of rows that are not as they were in the same place."""
        self._next = snapshot, self.ids, self.places
        rows, old = snapshot.rows, () if self._snapshot is None else self._snapshot.rows
        if rows is old:
            return ()
        changed: list[int] = []
        for start in range(0, min(len(rows), len(old)), ROWS_AT_ONCE):
            some, before = rows[start : start + ROWS_AT_ONCE], old[start : start + ROWS_AT_ONCE]
            if some != before:
                pairs = enumerate(zip(some, before, strict=False), start)
                changed += [position for position, (row, was) in pairs if row != was]
        return [*changed, *range(len(old), len(rows))]

    def settle(self, statuses: Mapping[int, StatusRow | None]) -> tuple[Sequence[int], Set[str] | None]:
        """The positions of servers that are new or changed, and the ids of all of which there is news: gone as well.

        A row that can't be read has None for a status, and is the row of no server. None for the news where there was
        no list before, and so everything is.
        """
        assert self._next is not None
        snapshot, were, places = self._next
        rows, old = snapshot.rows, None if self._snapshot is None else self._snapshot.rows
        if rows is old:
            return (), set()
        ids = were[: len(rows)]
        ids.extend("" for _ in range(len(rows) - len(ids)))
        for position, status in statuses.items():
            ids[position] = "" if status is None else str(status.id)
        candidates: Iterable[int] = statuses
        now = places
        if ids != were:
            # the last one counts where pages that shifted show a server twice
            now = {key: position for position, key in enumerate(ids) if key}
            self._next = snapshot, ids, now
            if len(places) < len(were) or len(now) < len(ids):
                candidates = now.values()  # a row may come to count without having changed
        if old is None:
            return list(now.values()), None
        changed = []
        for position in candidates:
            if not ids[position]:
                continue
            before = places.get(ids[position])
            new = before is None or old[before] != rows[position]
            if new and now[ids[position]] == position:
                changed.append(position)
        gone = set() if now is places else places.keys() - now.keys()
        return changed, {ids[position] for position in changed} | gone

    @property
    def unreadable(self) -> int:
        """The rows of the last list that can't be read."""
        return self.ids.count("") if len(self.places) < len(self.ids) else 0

    def turn(self) -> None:
        """From now on the last list is that which was compared."""
        assert self._next is not None
        (self._snapshot, self.ids, self.places), self._next = self._next, None


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
        seen = wait.last_seen
        return cls(
            server_id=wait.server_id,
            operation=wait.operation,
            status="" if seen is None else str(seen.status),
            seconds=now - wait.since,
            expected=expected,
        )
