"""What is known of the account: the last list, the last sighting of each server, acknowledged commands. Pure.

This is the only owner of these facts. Each read of the API is noted here: `Account.apply` takes a list, `Account.read`
a poll of one server, `Account.saw` any other read. Waits, their registry and those who watch only ask. Times are
monotonic seconds.

A list of thousands is applied in steps, so that the event loop can run in between: `apply` is a generator with one step
for each server that is new or changed. Rows that are as they were cost a comparison and nothing else.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Mapping, Set
from datetime import datetime
from typing import Protocol

from ..codec import StatusRow
from ..config import WaitPolicy
from ..errors import DecodeError
from ..records import Server, ServerId
from ..specs import key_of
from .commands import GONE
from .receipts import Receipt
from .sightings import NOT_KNOWN, ListTime, Sighting
from .snapshots import LastList, ListSnapshot, Shown
from .staleness import judge

__all__ = ["FRESH", "UNMARKED", "Account", "Awaited"]

FRESH = 60.0
"""Seconds for which a sighting counts as what was just before a command: later, others may have changed the server."""
FORGOTTEN = 50
"""The share of the sightings that is forgotten at once where there are too many."""
UNMARKED = -1
"""The point in the order of first sightings before which no server was seen."""
MOST_UNREADABLE = 1000
"""The number of unreadable rows from which on an answer is no list of servers."""


class Awaited(Protocol):
    """The servers that are waited for."""

    @property
    def keys(self) -> Set[ServerId]:
        """Their keys, see `key_of`."""
        ...

    @property
    def restless(self) -> Mapping[ServerId, None]:
        """Those that are to be shown by the next list even if it shows them unchanged."""
        ...

    def listing(self, news: Set[ServerId] | None) -> Iterator[None]:
        """A list is about to be applied; ``news`` are the keys that it shows otherwise, None: everything is news."""
        ...


class _Read(enum.Enum):
    COUNTS = enum.auto()
    STALE = enum.auto()
    OVERTAKEN = enum.auto()


class Account:
    """The account as this client knows it.

    Bounded: the servers used longest ago are forgotten first. That weakens evidence and makes no wait less careful:
    once a receipt was dropped, a server without one is waited for as if a command had just been sent to it.
    """

    LIMIT = 50_000

    def __init__(self, policy: WaitPolicy | None = None) -> None:
        self.policy: WaitPolicy = policy or WaitPolicy()
        self.on_receipt: Callable[[Receipt, float], None] | None = None
        self.dropped: bool = False
        """Whether a receipt was forgotten."""
        self.last_list: LastList = LastList()
        self.news: Set[ServerId] | None = None
        """The keys of the servers that the last list showed otherwise than the one before; None: everything is news."""
        self.lists: int = 0
        """The number of lists that were applied, the one in progress included."""
        self.listed_at: float = -math.inf
        """When the last list was requested that was applied to its end."""
        self._pending: tuple[LastList, set[ServerId]] = (self.last_list, set())
        self._records: dict[ServerId, Server] = {}
        self._sightings: dict[ServerId, Sighting] = {}
        self._receipts: OrderedDict[ServerId, tuple[Receipt, float]] = OrderedDict()
        self._gone: OrderedDict[ServerId, float] = OrderedDict()
        self._list_time = ListTime()
        self._untold: set[ServerId] = set()
        self._count = 0

    # -- lists ------------------------------------------------------------------------------------------------------

    def apply(self, snapshot: ListSnapshot, awaited: Awaited) -> Iterator[Shown | None]:
        """Take over what a list shows; yields after each step, and each server that is waited for and has news.

        Raises `DecodeError` for what is no list of servers, before anything of it is taken over.
        """
        statuses: dict[int, StatusRow | None] = {}
        unreadable = 0
        for position in self.last_list.differing(snapshot):
            yield None
            try:
                statuses[position] = snapshot.status(position)
            except DecodeError:
                statuses[position] = None  # it hides no other
                unreadable += 1
                if unreadable in (MOST_UNREADABLE, len(snapshot.rows)):
                    raise
        latest, changed, news = self.last_list.followed_by(snapshot, statuses)
        yield from awaited.listing(news)
        again = dict.fromkeys((*awaited.restless, *self._turn(latest, news, awaited.keys)))
        for key in self._pending[1] - latest.places.keys():
            self._keep_record(key)
            yield None
        for position in changed:
            yield from self._show(snapshot, position, statuses.pop(position, None), awaited.keys)
        if news is not None:  # else everything is news
            for key in again:
                if key in latest.places and key not in news:
                    yield from self._show(snapshot, latest.places[key], None, awaited.keys)
        self._pending = (latest, set())
        self.listed_at = snapshot.requested_at
        latest.comparable = True

    def forget_list(self) -> None:
        """Let go of the last list: there will be no other one to compare with it for now."""
        self.last_list = LastList()
        self._pending = (self.last_list, set())
        self._records.clear()

    def _turn(self, latest: LastList, news: Set[ServerId] | None, awaited: Set[ServerId]) -> set[ServerId]:
        """Put a list in the place of the last one; returns the keys that it has to show even if it has no news of them.

        Those were seen otherwise in between, or have been forgotten.
        """
        # a list that is not applied to its end is none that the next one can be compared with
        latest.comparable = False
        before = self.last_list
        changed = awaited if news is None else awaited & news
        # a list that has no records need not be asked for them
        self._pending = before, set(changed) if before.places else set()
        self.last_list, self.news = latest, news
        self.lists += 1
        if news is None:
            self._list_time = ListTime()
        for key in news or ():
            known = self._sightings.get(key)
            if known is not None:
                known.unlisted()
        self._list_time.at = latest.requested_at
        untold, self._untold = self._untold, set()
        return untold

    def _show(
        self, snapshot: ListSnapshot, position: int, row: StatusRow | None, awaited: Container[ServerId]
    ) -> Iterator[Shown | None]:
        """Take over a row, and yield it if its server is waited for."""
        key = self.last_list.ids[position]
        assert key is not None
        # a row that is as it was, and counted then, has been read
        known = self._sightings.get(key)
        if row is None and known is not None and known.listed is self._list_time:
            seen: StatusRow | Sighting = known
        else:
            seen = row or snapshot.status(position)
        read = self._note(key, seen, snapshot.requested_at, listed=True)
        if key not in awaited:
            yield None
            return
        shown = Shown(key, seen.status, seen.updated_at, snapshot, position)
        yield shown
        if key in awaited and (read is _Read.STALE or shown.unreadable):
            self._keep_record(key)
        elif read is _Read.COUNTS:
            self._records.pop(key, None)
        self._pending[1].discard(key)

    def _keep_record(self, key: ServerId) -> None:
        """Keep the record of the list before: the last list does not show the server like that."""
        if key not in self._records and (record := self.record(key)) is not None:
            self._records[key] = record

    # -- single servers -----------------------------------------------------------------------------------------------

    def record(self, key: ServerId) -> Server | None:
        """Return the record of a server that is waited for, as a poll that counted showed it last."""
        kept = self._records.get(key)
        if kept is not None:
            return kept
        before, pending = self._pending
        return (before if key in pending else self.last_list).record(key)

    def read(self, server: Server, at: float, awaited: Container[ServerId]) -> None:
        """A poll read a server by its id."""
        key = key_of(server.id)
        if self._note(key, server, at) is not _Read.COUNTS or key not in awaited:
            return
        # a record that the last list has is not kept twice
        if self._sightings[key].listed is None or key not in self.last_list.places:
            self._records[key] = server

    def release(self, key: ServerId) -> None:
        """Nothing waits for that server any more."""
        self._records.pop(key, None)

    def saw(self, server: Server | StatusRow, at: float) -> None:
        """A server was read by a request that left at that time."""
        self._note(key_of(server.id), server, at)

    def saw_all(self, servers: Mapping[ServerId, Server], at: float) -> None:
        """Many servers were read by one request; they are passed by their ids."""
        # an id that is no key of its own, a number as a text, is not found, and noted below
        for before, server in zip(map(self._sightings.get, servers), servers.values(), strict=True):
            # of thousands nearly all are as they were, and that has to cost nearly nothing
            if (
                before is not None
                and before.updated_at == server.updated_at
                and (before.status is server.status or before.status == server.status)
                and before.plan_and_location is not NOT_KNOWN
                and before.shown
                and before.stale_since is None
            ):
                if at > before.read_at:
                    before.read_at = at
            else:
                self._note(key_of(server.id), server, at)

    def _note(
        self, key: ServerId, server: Server | StatusRow | Sighting, at: float, *, listed: bool = False
    ) -> _Read:
        known = self._sightings.get(key)
        if known is not None:
            if at < known.at:  # another request left later, and its answer came first
                if listed:
                    self._untold.add(key)
                return _Read.OVERTAKEN
            counts, since = judge(
                server.updated_at, known.updated_at, known.stale_since, at, self.policy.quiet
            )
            known.stale_since = None if counts else since
            if not counts:
                if listed:
                    known.unlisted()
                    self._untold.add(key)
                return _Read.STALE
        if known is None:
            known = self._sightings[key] = Sighting(server.status, server.updated_at, at, number=self._count)
            if len(self._sightings) > self.LIMIT:
                self._forget()
        elif known.status != server.status or known.updated_at != server.updated_at:
            if known.listed is not None and not listed:
                self._untold.add(key)
            known.status, known.updated_at, known.listed = server.status, server.updated_at, None
        known.repeated(at, server)
        if listed:
            known.listed = self._list_time
        else:
            self._sightings[key] = self._sightings.pop(key, known)  # as the one used last
        return _Read.COUNTS

    def _forget(self) -> None:
        """Forget the servers that were used longest ago: many at once, because the first of a dict takes a search."""
        for key in list(itertools.islice(self._sightings, max(self.LIMIT // FORGOTTEN, 1))):
            if self._sightings.pop(key).listed is self._list_time:
                self._untold.add(key)

    def known(self, server_id: ServerId) -> Sighting | None:
        """Return the last sighting of a server; None where there is none."""
        return self._sightings.get(key_of(server_id))

    def mark(self) -> int:
        """Return a point in the order of first sightings, for `knew`."""
        self._count += 1  # what is seen from now on comes after it
        return self._count - 1

    def knew(self, server_id: ServerId, mark: int) -> bool:
        """Return whether the server was seen before that point, or a create of this client made it."""
        # services may change a UUID's case
        text = str(server_id)
        keys = (server_id,) if isinstance(server_id, int) else {key_of(server_id), text.lower(), text.upper()}
        found = map(self._sightings.get, keys)
        return any(known is not None and (known.number <= mark or known.created) for known in found)

    # -- commands -----------------------------------------------------------------------------------------------------

    def created(self, server: Server, at: float) -> None:
        """A create of this client made that server, as its answer or a search says."""
        known = self.known(server.id)
        shown = known is not None and known.shown
        self.saw(server, at)
        known = self._sightings[key_of(server.id)]
        known.created, known.shown = True, shown
        self._gone.pop(key_of(server.id), None)

    def acknowledged(
        self, server_id: ServerId, operation: str, *, at: float, wall: datetime, status: str | None
    ) -> Receipt:
        """A command was acknowledged at ``at``, which is ``wall`` by the time of day; returns its receipt."""
        before = None if operation == "create" else self.known(server_id)
        in_progress = self.receipt(server_id)
        status_before: str | None = None
        updated_before = None
        if before is not None:
            status_before = before.status
            if in_progress is None and at - before.at <= FRESH:
                updated_before = before.updated_at
        if in_progress is not None and in_progress[0].status is not None:
            status_before = in_progress[0].status
        receipt = Receipt(
            server_id=server_id,
            operation=operation,
            acknowledged_at=wall,
            status=status,
            status_before=status_before,
            updated_before=updated_before,
        )
        key = key_of(server_id)
        self._receipts[key] = (receipt, at)
        self._receipts.move_to_end(key)
        if len(self._receipts) > self.LIMIT:
            self._receipts.popitem(last=False)
            self.dropped = True
        if self.on_receipt is not None:
            self.on_receipt(receipt, at)
        return receipt

    def receipt(self, server_id: ServerId) -> tuple[Receipt, float] | None:
        """Return the last acknowledged command on a server that no wait has seen done, and when that was."""
        return self._receipts.get(key_of(server_id))

    def is_open(self, server_id: ServerId, receipt: Receipt | None) -> bool:
        """Return whether that is the last command on the server, and no wait has seen it done."""
        current = self.receipt(server_id)
        return current is not None and current[0] is receipt

    def fulfilled(self, server: Server, receipt: Receipt | None, at: float) -> None:
        """A wait saw that command done: later waits on the server need no evidence of it any more.

        Lists that lag may show a server that is gone for a while.
        """
        key = key_of(server.id)
        known = self._sightings.get(key)
        if known is not None:
            known.describe(server)
        if not self.is_open(server.id, receipt):
            return
        del self._receipts[key]
        if server.status == GONE:
            self._gone[key] = at
            self._sightings.pop(key, None)
            if len(self._gone) > self.LIMIT:
                self._gone.popitem(last=False)

    def gone_since(self, server_id: ServerId) -> float | None:
        """Return when a server that this client deleted was seen to be gone; None where it was not."""
        return self._gone.get(key_of(server_id))
