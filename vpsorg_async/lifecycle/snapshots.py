"""Lists of the account: one as it was read, the last one to compare it with, and what a list costs. Pure."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Container, Iterable, Mapping, Sequence, Set
from datetime import datetime
from operator import ne
from typing import Any, Protocol

import attrs

from ..codec import StatusRow
from ..errors import DecodeError
from ..records import Server, ServerId, ServerStatus
from ..specs import key_of

__all__ = ["LastList", "ListNews", "ListSnapshot", "RowReader", "Shown", "list_is_cheaper"]

REQUEST_COST = 64 * 1024
"""What a request costs apart from its bytes, in bytes: rate limits count requests."""
DETAIL_BYTES = 700
ROW_BYTES = 330
ROWS_AT_ONCE = 16
"""Rows compared at once, which costs a third of comparing them one by one; nearly all are unchanged."""


def list_is_cheaper(watched: int, account: int | None, page_size: int | None = None) -> bool:
    """Return whether one list of the account costs less than a read of each server.

    Args:
        watched: the number of servers that are waited for.
        account: the number of servers in the account, None while unknown: then a lone wait reads its server, and
            several begin with a list.
        page_size: servers on a page; a list costs a request for each page.
    """
    if watched <= 1:
        return False
    if account is None:
        return True
    pages = 1 if page_size is None else max(-(-account // page_size), 1)
    return pages * REQUEST_COST + account * ROW_BYTES < watched * (REQUEST_COST + DETAIL_BYTES)


class RowReader(Protocol):
    """Decodes rows on demand. Raises `DecodeError`."""

    def status(self, row: Any) -> StatusRow:
        """Return id, status and ``updated_at``."""
        ...

    def record(self, row: Any) -> Server:
        """Return the whole record."""
        ...

    def lacks(self, shown: int, unreadable: int, *, report: bool) -> str:
        """Return why a list is known to lack servers, else an empty text; ``report``: emit an event when it changes."""
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
        """Return id, status and ``updated_at`` of a row. Raises `DecodeError`."""
        row = self.rows[position]
        return (
            StatusRow(row.id, row.status, row.updated_at) if self.reader is None else self.reader.status(row)
        )

    def record(self, position: int) -> Server:
        """Return the whole record of a row. Raises `DecodeError`, also where only the status can be read."""
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
        """Return the servers whose ids, in lower case, are not in ``before``, and the number of unreadable rows."""
        found: dict[ServerId, Server] = {}
        unreadable = 0
        for position in range(len(self.rows)):
            try:
                # nearly all rows of long lists were there before, and their ids are enough
                if str(self.status(position).id).casefold() not in before:
                    record = self.record(position)
                    found[record.id] = record
            except DecodeError:
                unreadable += 1
        return list(found.values()), unreadable

    def lacks(self, shown: int, unreadable: int = 0, *, report: bool = False) -> str:
        """Return why it is known to lack servers, if it showed ``shown`` of them; empty: nothing says so."""
        if self.reader is not None:
            return self.reader.lacks(shown, unreadable, report=report)
        return f"{unreadable} of its rows can't be read" if unreadable else ""


class Shown:
    """A server as a list shows it. Its whole record is decoded only for the waits that may end with it."""

    __slots__ = ("_position", "_record", "_snapshot", "key", "status", "unreadable", "updated_at")

    def __init__(
        self,
        key: ServerId,
        status: ServerStatus,
        updated_at: datetime | None,
        snapshot: ListSnapshot,
        position: int,
    ) -> None:
        self.key: ServerId = key
        self.status: ServerStatus = status
        self.updated_at: datetime | None = updated_at
        self.unreadable: bool = False
        """Whether `record` was asked for, and raised."""
        self._snapshot = snapshot
        self._position = position
        self._record: Server | None = None

    def record(self) -> Server:
        """Return the whole record. Raises `DecodeError`."""
        # thousands can wait for one server
        if self._record is None:
            self.unreadable = True
            self._record = self._snapshot.record(self._position)
            self.unreadable = False
        return self._record


class LastList:
    """The account as the last list showed it, and what the next one says against it.

    ``ids`` has the key of each row's server (None for a row that can't be read), ``places`` the row of each server.
    """

    __slots__ = ("comparable", "ids", "places", "snapshot")

    def __init__(
        self,
        snapshot: ListSnapshot | None = None,
        ids: list[ServerId | None] | None = None,
        places: dict[ServerId, int] | None = None,
    ) -> None:
        # the whole snapshot: while it is kept, `Lists` compares the bytes of the next answer with it
        self.snapshot: ListSnapshot | None = snapshot
        self.ids: list[ServerId | None] = ids or []
        self.places: dict[ServerId, int] = places or {}
        self.comparable: bool = snapshot is not None
        """Whether the next list can be compared with it; False while not all of it was taken over."""

    @property
    def requested_at(self) -> float:
        """When its request left; monotonic seconds."""
        assert self.snapshot is not None
        return self.snapshot.requested_at

    @property
    def _rows(self) -> Sequence[Any] | None:
        return self.snapshot.rows if self.comparable and self.snapshot is not None else None

    def record(self, key: ServerId) -> Server | None:
        """Return the record of a server; None where the list has none that can be read."""
        position = self.places.get(key)
        if position is None or self.snapshot is None:
            return None
        try:
            return self.snapshot.record(position)
        except DecodeError:
            return None

    def lacks(self, *, report: bool = False) -> str:
        """Return why the list is known to lack servers; empty: nothing says so."""
        unreadable = self.ids.count(None) if len(self.places) < len(self.ids) else 0
        return (
            "" if self.snapshot is None else self.snapshot.lacks(len(self.places), unreadable, report=report)
        )

    def differing(self, snapshot: ListSnapshot) -> Sequence[int]:
        """Return the positions of the rows that are not as they were in the same place: they have to be read."""
        rows, old = snapshot.rows, self._rows or ()
        if rows is old:
            return ()
        changed: list[int] = []
        for start in range(0, min(len(rows), len(old)), ROWS_AT_ONCE):
            some, before = rows[start : start + ROWS_AT_ONCE], old[start : start + ROWS_AT_ONCE]
            if some != before:
                changed += itertools.compress(itertools.count(start), map(ne, some, before))
        return [*changed, *range(len(old), len(rows))]

    def followed_by(
        self, snapshot: ListSnapshot, statuses: Mapping[int, StatusRow | None]
    ) -> tuple[LastList, Sequence[int], Set[ServerId] | None]:
        """Return the list that takes the place of this one, and what it has news of.

        Args:
            snapshot: the new list.
            statuses: what the rows that `differing` names say; None for a row that can't be read, which is the row of
                no server.

        Returns:
            The new list, the positions of servers that are new or changed, and the keys of all servers that there is
            news of, those that are gone included; None where everything is news.
        """
        rows, old = snapshot.rows, self._rows
        if rows is old:
            return LastList(snapshot, self.ids, self.places), (), frozenset()
        were, places = (self.ids, self.places) if old is not None else ([], {})
        ids = were[: len(rows)]
        ids.extend([None] * (len(rows) - len(ids)))
        for position, status in statuses.items():
            ids[position] = key_of(status.id) if status is not None and status.id != "" else None
        candidates: Iterable[int] = statuses
        now = places
        if ids == were:
            ids = were
        else:
            # the last one counts where pages that shifted show a server twice
            now = {key: position for position, key in enumerate(ids) if key is not None}
            if len(places) < len(were) or len(now) < len(ids):
                candidates = now.values()  # a row may come to count without having changed
        latest = LastList(snapshot, ids, now)
        if old is None:
            return latest, list(now.values()), None
        changed = []
        news = set() if now is places else places.keys() - now.keys()
        for position in candidates:
            key = ids[position]
            if key is None:
                continue
            before = places.get(key)
            new = before is None or old[before] != rows[position]
            if new and now[key] == position:
                changed.append(position)
                news.add(key)
        return latest, changed, news


@attrs.frozen(eq=False)
class ListNews:
    """A list for those who watch: the list, and the keys of the servers that it has news of (None: of all)."""

    list: LastList
    changed: Set[ServerId] | None

    def after(self, missed: ListNews) -> ListNews:
        """Return the news of this list and of one before it that was not read."""
        both = None if self.changed is None or missed.changed is None else self.changed | missed.changed
        return ListNews(self.list, both)

    @property
    def snapshot(self) -> ListSnapshot:
        """The rows of the list."""
        assert self.list.snapshot is not None
        return self.list.snapshot
