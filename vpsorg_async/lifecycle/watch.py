"""The account as it changes from poll to poll: two lists in, the differences out. Pure."""

from __future__ import annotations

import contextlib
import enum
from collections import Counter
from collections.abc import Iterator, Mapping

import attrs

from ..codec import StatusRow
from ..errors import DecodeError
from ..records import Server, ServerId, ServerStatus
from .commands import GONE
from .receipts import earlier
from .snapshots import ListSnapshot, Roll

__all__ = ["AccountView", "Change", "StatusChange"]

STALE_POLLS = 3
"""So many polls in a row that show an older ``updated_at`` are taken for lagging ones."""


class Change(enum.StrEnum):
    """What happened between two polls."""

    PRESENT = "present"
    """It is in the first poll."""
    APPEARED = "appeared"
    CHANGED = "changed"
    TOUCHED = "touched"
    """The status is the same, but ``updated_at`` moved: something came and went between the polls, or was edited."""
    GONE = "gone"
    BLIND = "blind"
    """Told after an outage: no poll succeeded for ``seconds``; what happened in that time is told as one difference."""


@attrs.frozen(kw_only=True)
class StatusChange:
    """One difference between two polls of the account.

    ``before`` and ``after`` are status words (None where there is none), ``seconds`` is how far the two polls lie
    apart: what a server went through between them is not seen.
    """

    change: Change
    server_id: ServerId | None = None
    server: Server | None = None
    before: str | None = None
    after: str | None = None
    seconds: float = 0.0


class AccountView:
    """The last poll, and what the next one says against it."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] | None = None
        self._roll = Roll()
        self._snapshot: ListSnapshot | None = None
        self._changed: set[str] = set()
        self._polled_at = 0.0
        self._missing: dict[str, Server] = {}
        self._seconds = 0.0
        self._failed = False
        self._stale: Counter[str] = Counter()

    def missing(self) -> list[Server]:
        """Servers of the last poll that this one lacks, or that can't be read in it: to be read by id."""
        return list(self._missing.values())

    def is_whole(self, snapshot: ListSnapshot) -> bool:
        """Whether nothing is known to be lacking in it."""
        return not snapshot.lacks(len(self._roll.places), self._roll.unreadable)

    def failed(self) -> None:
        """A poll failed."""
        self._failed = True

    def update(self, snapshot: ListSnapshot) -> Iterator[StatusChange]:
        """Every difference that the poll shows; `settle` follows, for those that it lacks."""
        old, first = self._servers or {}, self._servers is None
        self._read(snapshot)
        shown = {
            key: self._server(old, key, snapshot, position) for key, position in self._roll.places.items()
        }
        self._missing = {key: server for key, server in old.items() if key not in shown}
        self._seconds = 0.0 if first else snapshot.requested_at - self._polled_at
        blind, self._failed = self._failed and not first, False
        self._servers, self._polled_at = {}, snapshot.requested_at
        if blind:
            yield StatusChange(change=Change.BLIND, seconds=self._seconds)
        yield from self._differences(old, shown, first)

    def settle(self, still: Mapping[str, Server]) -> Iterator[StatusChange]:
        """What became of those that the poll lacked: ``still`` holds the ones that were found by id after all."""
        missing, self._missing = self._missing, {}
        yield from self._differences(missing, still, False)
        for key, server in missing.items():
            if key not in still:
                yield self._gone(key, server)

    def _differences(
        self, old: Mapping[str, Server], shown: Mapping[str, Server], first: bool
    ) -> Iterator[StatusChange]:
        assert self._servers is not None
        for key, server in shown.items():
            before = old.get(key)
            if server.status == GONE:
                if before is not None:
                    yield self._gone(key, before)
                continue
            self._servers[key] = server
            change = self._change(before, server, first)
            if change is not None:
                yield StatusChange(
                    change=change,
                    server_id=server.id,
                    server=server,
                    before=None if before is None else str(before.status),
                    after=str(server.status),
                    seconds=self._seconds,
                )

    def _gone(self, key: str, server: Server) -> StatusChange:
        self._stale.pop(key, None)
        return StatusChange(
            change=Change.GONE,
            server_id=server.id,
            server=attrs.evolve(server, status=ServerStatus(GONE)),
            before=str(server.status),
            after=GONE,
            seconds=self._seconds,
        )

    def _read(self, snapshot: ListSnapshot) -> None:
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            statuses: dict[int, StatusRow | None] = {}
            for position in self._roll.compare(snapshot):
                statuses[position] = None
                with contextlib.suppress(DecodeError):
                    statuses[position] = snapshot.status(position)
            changed, _ = self._roll.settle(statuses)
            self._roll.turn()
            self._changed = {self._roll.ids[position] for position in changed}

    def _server(self, old: dict[str, Server], key: str, snapshot: ListSnapshot, position: int) -> Server:
        if key in old and key not in self._changed and key not in self._stale:
            return old[key]  # what is shown as before is not read again
        try:
            server = snapshot.record(position)
        except DecodeError:
            row = snapshot.status(position)
            server = Server(id=row.id, name="", status=row.status, updated_at=row.updated_at)
        return self._newer(old, server)

    def _newer(self, old: dict[str, Server], server: Server) -> Server:
        """The server as shown, or as known before where this poll lags: changes must not be told back and forth."""
        key = str(server.id)
        before = old.get(key)
        if before is None or not earlier(server.updated_at, before.updated_at):
            self._stale.pop(key, None)
            return server
        self._stale[key] += 1
        # time that goes back for good is believed in the end
        return before if self._stale[key] <= STALE_POLLS else server

    @staticmethod
    def _change(before: Server | None, now: Server, first: bool) -> Change | None:
        if before is None:
            return Change.PRESENT if first else Change.APPEARED
        if before.status != now.status:
            return Change.CHANGED
        return Change.TOUCHED if before.updated_at != now.updated_at else None
