"""What is known of the account: the last list, the last sighting of each server, acknowledged commands. Pure.

This is the only owner of these facts. Each read of the API is noted here: `Account.apply` takes a list, `Account.read`
a poll of one server, `Account.saw` any other read. Waits, their registry and those who watch only ask. Times are
monotonic seconds.

A list of thousands is applied in steps, so that the event loop can run in between: `apply` is a generator with one step
for each server that is new or changed. Rows that are as they were cost a comparison and nothing else.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Mapping, Sequence, Set
from datetime import datetime
from operator import attrgetter
from typing import Protocol

import attrs

from ..codec import StatusRow
from ..config import WaitPolicy
from ..errors import DecodeError
from ..records import Server, ServerId
from .receipts import Receipt
from .sightings import ListTime, Sighting
from .snapshots import LastList, ListSnapshot
from .staleness import judge

__all__ = ["FRESH", "Account", "Awaited", "Shown"]

FRESH = 60.0
"""Seconds for which a sighting counts as what was just before a command: later, others may have changed the server."""
MOST_UNREADABLE = 1000
"""The number of unreadable rows from which on an answer is no list of servers."""

_id = attrgetter("id")


class Awaited(Protocol):
    """The servers that are waited for."""

    @property
    def keys(self) -> Set[str]:
        """Their ids: of these a list is read in full."""
        ...

    @property
    def restless(self) -> Mapping[str, None]:
        """Those that are to be shown by the next list even if it shows them unchanged."""
        ...

    def listing(self, news: Set[str] | None) -> Iterator[None]:
        """A list is about to be applied; ``news`` are the ids that it shows otherwise, None: everything is news."""
        ...


@attrs.frozen
class Shown:
    """A server that is waited for, as a list shows it: the record, or why it can't be read."""

    key: str
    server: Server | DecodeError


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
        self.policy = policy or WaitPolicy()
        self.on_receipt: Callable[[Receipt, float], None] | None = None
        self.dropped = False
        """Whether a receipt was forgotten."""
        self.last_list = LastList()
        self.news: Set[str] | None = None
        """The ids of the servers that the last list showed otherwise than the one before; None: everything is news."""
        self.lists = 0
        """The number of lists that were applied, the one in progress included."""
        self.listed_at = -math.inf
        """When the last list was requested that was applied to its end."""
        self._pending: tuple[LastList, set[str]] = (self.last_list, set())
        self._records: dict[str, Server] = {}
        self._sightings: OrderedDict[str, Sighting] = OrderedDict()
        self._receipts: OrderedDict[str, tuple[Receipt, float]] = OrderedDict()
        self._gone: OrderedDict[str, float] = OrderedDict()
        self._list_time = ListTime()
        self._untold: set[str] = set()
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
        again = (*awaited.restless, *self._turn(latest, news, awaited.keys))
        # of the first list everything is news, and shown anyway
        rest = () if news is None else (latest.places[key] for key in again if key in latest.places)
        for key in self._pending[1] - latest.places.keys():
            self._keep_record(key)
            yield None
        for position in dict.fromkeys((*changed, *rest)):
            yield self._show(snapshot, position, statuses.get(position), awaited.keys)
        self._pending = (latest, set())
        self.listed_at = snapshot.requested_at
        latest.comparable = True

    def forget_list(self) -> None:
        """Let go of the last list: there will be no other one to compare with it for now."""
        self.last_list = LastList()
        self._pending = (self.last_list, set())
        self._records.clear()

    def _turn(self, latest: LastList, news: Set[str] | None, awaited: Set[str]) -> set[str]:
        """Put a list in the place of the last one; returns the ids that it has to show even if it has no news of them.

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
        self, snapshot: ListSnapshot, position: int, status: StatusRow | None, awaited: Container[str]
    ) -> Shown | None:
        """Take over a row; returns it if its server is waited for. Only then the whole record is decoded."""
        key, asked = self.last_list.ids[position], snapshot.requested_at
        if key not in awaited:
            self._note(status or snapshot.status(position), asked, listed=True)
            return None
        shown: Server | DecodeError
        try:
            shown = snapshot.record(position)
        except DecodeError as error:
            # the waits keep it: its frames hold the whole list
            shown = error.with_traceback(None)
            self._note(status or snapshot.status(position), asked, listed=True)
            self._keep_record(key)
        else:
            read = self._note(shown, asked, listed=True)
            if read is _Read.COUNTS:
                self._records.pop(key, None)
            elif read is _Read.STALE:
                self._keep_record(key)
        self._pending[1].discard(key)
        return Shown(key, shown)

    def _keep_record(self, key: str) -> None:
        """Keep the record of the list before: the last list does not show the server like that."""
        if key not in self._records and (record := self.record(key)) is not None:
            self._records[key] = record

    # -- single servers -----------------------------------------------------------------------------------------------

    def record(self, key: str) -> Server | None:
        """Return the record of a server that is waited for, as a poll that counted showed it last."""
        kept = self._records.get(key)
        if kept is not None:
            return kept
        before, pending = self._pending
        return (before if key in pending else self.last_list).record(key)

    def read(self, server: Server, at: float, awaited: Container[str]) -> None:
        """A poll read a server by its id."""
        key = str(server.id)
        if self._note(server, at) is not _Read.COUNTS or key not in awaited:
            return
        # a record that the last list has is not kept twice
        if self._sightings[key].listed is None or key not in self.last_list.places:
            self._records[key] = server

    def release(self, key: str) -> None:
        """Nothing waits for that server any more."""
        self._records.pop(key, None)

    def saw(self, server: Server | StatusRow, at: float) -> None:
        """A server was read by a request that left at that time."""
        self._note(server, at)

    def saw_all(self, servers: Sequence[Server], at: float) -> None:
        """Many servers were read by one request."""
        ids = map(str, map(_id, servers))
        for before, server in zip(map(self._sightings.get, ids), servers, strict=True):
            # of thousands nearly all are as they were, and that has to cost nearly nothing
            if (
                before is not None
                and before.updated_at == server.updated_at
                and (before.status is server.status or before.status == server.status)
                and (before.plan or before.location)
                and before.shown
                and before.stale_since is None
            ):
                if at > before.read_at:
                    before.read_at = at
            else:
                self._note(server, at)

    def _note(self, server: Server | StatusRow, at: float, *, listed: bool = False) -> _Read:
        key = str(server.id)
        known = self._sightings.get(key)
        if known is not None:
            if at < known.at:  # another request left later, and its answer came first
                if listed:
                    self._untold.add(key)
                return _Read.OVERTAKEN
            counts, known.stale_since = judge(
                server.updated_at, known.updated_at, known.stale_since, at, self.policy.quiet
            )
            if not counts:
                if listed:
                    known.unlisted()
                    self._untold.add(key)
                return _Read.STALE
        list_time = self._list_time if listed else None
        if known is not None and known.status == server.status and known.updated_at == server.updated_at:
            known.repeated(at, server)
            known.listed = list_time or known.listed
            self._sightings.move_to_end(key)
            return _Read.COUNTS
        new = Sighting(server.status, server.updated_at, at, listed=list_time)
        new.repeated(at, server)
        if known is None:
            self._count += 1
            new.number = self._count
        else:
            new.number, new.created = known.number, known.created
            if known.listed is not None and not listed:
                self._untold.add(key)
            if not new.plan and not new.location:
                new.plan, new.location = known.plan, known.location
        self._sightings[key] = new
        self._sightings.move_to_end(key)
        if len(self._sightings) > self.LIMIT:
            forgotten, last = self._sightings.popitem(last=False)
            if last.listed is self._list_time:
                self._untold.add(forgotten)
        return _Read.COUNTS

    def known(self, server_id: ServerId) -> Sighting | None:
        """Return the last sighting of a server; None where there is none."""
        return self._sightings.get(str(server_id))

    def mark(self) -> int:
        """Return a point in the order of first sightings, for `knew`."""
        return self._count

    def knew(self, server_id: ServerId, mark: int) -> bool:
        """Return whether the server was seen before that point, or a create of this client made it."""
        key = str(server_id)
        # services may change a UUID's case
        keys = (key,) if isinstance(server_id, int) else {key, key.lower(), key.upper()}
        found = map(self._sightings.get, keys)
        return any(known is not None and (known.number <= mark or known.created) for known in found)

    # -- commands -----------------------------------------------------------------------------------------------------

    def created(self, server: Server, at: float) -> None:
        """A create of this client made that server, as its answer or a search says."""
        known = self.known(server.id)
        shown = known is not None and known.shown
        self.saw(server, at)
        known = self._sightings[str(server.id)]
        known.created, known.shown = True, shown
        self._gone.pop(str(server.id), None)

    def acknowledged(
        self, server_id: ServerId, operation: str, *, at: float, wall: datetime, status: str | None
    ) -> Receipt:
        """A command was acknowledged at ``at``, which is ``wall`` by the time of day; returns its receipt."""
        before = None if operation == "create" else self.known(server_id)
        in_progress = self.receipt(server_id)
        status_before = updated_before = None
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
        self._receipts[str(server_id)] = (receipt, at)
        self._receipts.move_to_end(str(server_id))
        if len(self._receipts) > self.LIMIT:
            self._receipts.popitem(last=False)
            self.dropped = True
        if self.on_receipt is not None:
            self.on_receipt(receipt, at)
        return receipt

    def receipt(self, server_id: ServerId) -> tuple[Receipt, float] | None:
        """Return the last acknowledged command on a server that no wait has seen done, and when that was."""
        return self._receipts.get(str(server_id))

    def is_open(self, server_id: ServerId, receipt: Receipt | None) -> bool:
        """Return whether that is the last command on the server, and no wait has seen it done."""
        current = self.receipt(server_id)
        return current is not None and current[0] is receipt

    def fulfilled(self, server_id: ServerId, receipt: Receipt | None, at: float, *, gone: bool) -> None:
        """A wait saw that command done: later waits on the server need no evidence of it any more.

        ``gone``: the server was deleted. Lists that lag may still show it for a while.
        """
        if not self.is_open(server_id, receipt):
            return
        key = str(server_id)
        del self._receipts[key]
        if gone:
            self._gone[key] = at
            self._sightings.pop(key, None)
            if len(self._gone) > self.LIMIT:
                self._gone.popitem(last=False)

    def gone_since(self, server_id: ServerId) -> float | None:
        """Return when a server that this client deleted was seen to be gone; None where it was not."""
        return self._gone.get(str(server_id))
