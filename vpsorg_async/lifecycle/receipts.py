"""What is known of a server when a command on it was acknowledged: the ground that a wait stands on."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter

import attrs

from ..codec import Decoder, StatusRow
from ..errors import ConfigurationError, DecodeError
from ..records import Server, ServerId
from ..specs import check_id
from .commands import COMMANDS

__all__ = ["Journal", "Known", "Receipt", "earlier", "later"]

FRESH = 60.0
"""Seconds for which a sighting counts as what was just before a command: later, others may have changed the server."""


_id = attrgetter("id")


def _utc(at: datetime) -> datetime:
    if not isinstance(at, datetime):
        raise ConfigurationError(f"a receipt's time is a datetime, not {at!r}")
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _command(_: object, __: object, value: str) -> None:
    # a misspelt reboot would be waited for without evidence
    if value not in COMMANDS:
        raise ConfigurationError(f"a receipt is of one of {', '.join(sorted(COMMANDS))}, not of {value!r}")


def earlier(first: datetime | None, second: datetime | None) -> bool:
    """Whether both are known, and the first lies before the second."""
    # nearly always they are the same: a poll of thousands of servers asks this for each
    if first is None or second is None or first == second:
        return False
    return _utc(first) < _utc(second)


def later(first: datetime | None, second: datetime | None) -> datetime | None:
    """The later one of those that are known."""
    return second if first is None or earlier(first, second) else first


@attrs.frozen(kw_only=True)
class Receipt:
    """An acknowledged command on a server. Plain data: it can be stored, and waited on by another process.

    ``acknowledged_at`` is the time of day (UTC) of the machine that sent it. ``status`` is the server's status in the
    answer. ``status_before`` is the last status known before, ``updated_before`` the last ``updated_at`` if it is sure
    to be that of the server as the command found it: seen within a minute, with no earlier command under way.
    """

    server_id: ServerId
    operation: str = attrs.field(validator=_command)
    acknowledged_at: datetime = attrs.field(converter=_utc)
    status: str | None = None
    status_before: str | None = None
    updated_before: datetime | None = None

    def to_json(self) -> str:
        """As JSON, for a queue or a database; `from_json` reads it in any other process."""
        return json.dumps(attrs.asdict(self), default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """What `to_json` wrote. Raises `ConfigurationError` for anything else."""
        try:
            receipt = _decode(text.encode() if isinstance(text, str) else text)
        except DecodeError as error:
            problems = "; ".join(error.problems)
        else:
            check_id(receipt.server_id)
            return attrs.evolve(receipt)  # decoding runs neither converters nor validators
        raise ConfigurationError(f"this is not a receipt: {problems}")


_decode: Decoder[Receipt] = Decoder(Receipt)


class Listing:
    """The poll that is made again and again. Those it shows unchanged were seen at its last time."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -math.inf


@attrs.define
class Known:
    """The last sighting of a server: what a stale read is told from.

    ``read_at``, in monotonic seconds, is when the last request left that told it apart from the ``listing``.
    """

    status: str
    updated_at: datetime | None
    read_at: float
    plan: str = ""
    location: str = ""
    listing: Listing | None = None
    number: int = 0
    """Counts the servers in the order in which they were first seen."""
    created: bool = False
    """Whether the answer to a create of this client named it."""
    shown: bool = True
    """Whether a read has shown it, and not that answer alone."""

    @property
    def at(self) -> float:
        """When the request left that showed it so the last time."""
        return self.read_at if self.listing is None else max(self.read_at, self.listing.at)

    def again(self, at: float, server: Server | StatusRow) -> None:
        """It was shown as it is known, perhaps by a record that tells more than the one before."""
        self.read_at, self.shown = at, True
        if not self.plan and not self.location and isinstance(server, Server):
            self.plan = "" if server.plan is None or server.plan.id is None else str(server.plan.id)
            self.location = str(server.location or "")

    def unlisted(self) -> None:
        """The listing does not show it like this any more."""
        self.read_at, self.listing = self.at, None


class Journal:
    """Per server id: the last sighting, and the last acknowledged command with its monotonic time.

    Bounded: the ids used longest ago are forgotten first. That weakens evidence and makes no wait less careful: once a
    receipt was dropped, a server without one is waited for as if a command had just been sent to it.
    """

    LIMIT = 50_000

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._receipts: OrderedDict[str, tuple[Receipt, float]] = OrderedDict()
        self.on_receipt: Callable[[Receipt, float], None] | None = None
        self._listing = Listing()
        self._overtaken: set[str] = set()
        self._seen = 0
        self._gone: OrderedDict[str, float] = OrderedDict()
        self.dropped = False
        """Whether a receipt was forgotten."""

    def mark(self) -> int:
        """A point in the order of first sightings, for `knew`."""
        return self._seen

    def knew(self, server_id: ServerId, mark: int) -> bool:
        """Whether the server was seen before that point, or a create of this client made it."""
        key = str(server_id)
        for spelling in {key, key.lower(), key.upper()}:  # a service may write a UUID in another case
            known = self._known.get(spelling)
            if known is not None and (known.number <= mark or known.created):
                return True
        return False

    def created(self, server: Server, at: float) -> None:
        """A create of this client made that server, as its answer or a search says."""
        known = self.known(server.id)
        shown = known is not None and known.shown
        self.saw(server, at)
        known = self._known[str(server.id)]
        known.created, known.shown = True, shown
        self._gone.pop(str(server.id), None)

    def gone(self, server_id: ServerId, at: float) -> None:
        """A server that this client deleted was seen to be gone: lists that lag may still show it for a while."""
        key = str(server_id)
        self._gone[key] = at
        self._known.pop(key, None)
        if len(self._gone) > self.LIMIT:
            self._gone.popitem(last=False)

    def gone_since(self, server_id: ServerId) -> float | None:
        """When a server that this client deleted was seen to be gone; None where it was not."""
        return self._gone.get(str(server_id))

    def listed(self, at: float, news: Iterable[str] | None) -> set[str]:
        """The whole account was listed: all as before, but for the ``news``, those that are gone or have changed.

        What changed `saw` tells next. ``news`` is None where nobody knows what it showed before. Returns the ids of
        which the list has to tell even if unchanged: they were seen otherwise in between, or have been forgotten.
        """
        if news is None:
            self._listing = Listing()
        for key in news or ():
            known = self._known.get(key)
            if known is not None:
                known.unlisted()
        self._listing.at = at
        overtaken, self._overtaken = self._overtaken, set()
        return overtaken

    def saw(self, server: Server | StatusRow, at: float, *, listed: bool = False) -> None:
        """A server was read by a request that left at the monotonic time ``at``; by the list of all if ``listed``."""
        key = str(server.id)
        known = self._known.get(key)
        if known is not None and at < known.at:
            if listed:
                self._overtaken.add(key)  # the next list has to tell
            return  # another request left later, and its answer came first
        if known is not None and earlier(server.updated_at, known.updated_at):
            if listed:
                known.unlisted()
            return  # a lagging read
        listing = self._listing if listed else None
        if known is not None and known.status == server.status and known.updated_at == server.updated_at:
            known.again(at, server)
            known.listing = listing or known.listing
            self._known.move_to_end(key)
            return
        if known is not None and known.listing is not None and not listed:
            self._overtaken.add(key)
        new = Known(server.status, server.updated_at, at, listing=listing)
        if known is None:
            self._seen += 1
            new.number = self._seen
        else:
            new.number, new.created = known.number, known.created
        new.again(at, server)
        if known is not None and not new.plan and not new.location:
            new.plan, new.location = known.plan, known.location
        self._known[key] = new
        self._known.move_to_end(key)
        if len(self._known) > self.LIMIT:
            forgotten, last = self._known.popitem(last=False)
            if last.listing is self._listing:
                self._overtaken.add(forgotten)

    def saw_all(self, servers: Sequence[Server], at: float) -> None:
        """Many servers were read by one request."""
        ids = map(str, map(_id, servers))
        for before, server in zip(map(self._known.get, ids), servers, strict=True):
            # of thousands nearly all are as they were, and that has to cost nearly nothing
            if (
                before is not None
                and before.updated_at == server.updated_at
                and (before.status is server.status or before.status == server.status)
                and (before.plan or before.location)
                and before.shown
            ):
                if at > before.read_at:
                    before.read_at = at
            else:
                self.saw(server, at)

    def known(self, server_id: ServerId) -> Known | None:
        """The last sighting."""
        return self._known.get(str(server_id))

    def acknowledged(
        self, server_id: ServerId, operation: str, *, at: float, wall: datetime, status: str | None
    ) -> Receipt:
        """A command was acknowledged at the monotonic time ``at``."""
        before = None if operation == "create" else self.known(server_id)
        under_way = self._receipts.get(str(server_id))
        status_before = updated_before = None
        if before is not None:
            status_before = before.status
            if under_way is None and at - before.at <= FRESH:
                updated_before = before.updated_at
        if under_way is not None and under_way[0].status is not None:
            status_before = under_way[0].status
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

    def is_open(self, server_id: ServerId, receipt: Receipt | None) -> bool:
        """Whether that is the last command on the server, and no wait has seen it done."""
        current = self._receipts.get(str(server_id))
        return current is not None and current[0] is receipt

    def fulfilled(self, server_id: ServerId, receipt: Receipt | None) -> None:
        """A wait saw that command done: later waits on the server need no evidence of it any more."""
        if self.is_open(server_id, receipt):
            del self._receipts[str(server_id)]

    def receipt(self, server_id: ServerId) -> tuple[Receipt, float] | None:
        """The last acknowledged command of this process and its monotonic time."""
        return self._receipts.get(str(server_id))
