"""The open waits by server, with what is kept beside each. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Set

import attrs

from ..records import ServerId
from ..specs import key_of
from .durations import Kind
from .wait import Verdict, Wait

__all__ = ["Deliver", "OnEnd", "OpenWait", "WaitIndex"]

Deliver = Callable[[Wait, Verdict | BaseException], None]
"""Given the verdict of a wait, once; an exception where polling itself broke. Must not raise."""
OnEnd = Callable[[Verdict | None, float], None]
"""Called when a wait ended, with its verdict (None: it was left) and the time at which the last poll left that did not
show it done."""


# no weak references: there can be ten thousand, and each would be 16 bytes larger
@attrs.define(eq=False, weakref_slot=False)
class OpenWait:
    """An open wait. ``undone_at`` is when the last poll left that did not show it done; monotonic seconds."""

    wait: Wait
    deliver: Deliver
    cohort: tuple[Kind, float]
    undone_at: float
    on_end: OnEnd | None
    stuck: bool = False

    def rested(self, listed_at: float) -> None:
        """Note the lists up to the one requested then, which showed the server unchanged."""
        self.wait.rested(listed_at)
        self.undone_at = max(self.undone_at, listed_at)

    def took(self, asked: float, narrow: float) -> float | None:
        """Return the seconds that it took, where the poll that left at ``asked`` showed it done; None if unknown.

        It was done somewhere between the poll before and this one. That says little where the two lie apart by more
        than half of its age, and by more than ``narrow``.
        """
        since = self.wait.since
        if asked - self.undone_at > max((asked - since) / 2, narrow):
            return None
        return (self.undone_at + asked) / 2 - since


class WaitIndex:
    """The open waits by server id. ``restless`` are the servers whose waits the next list has to be shown to.

    The waits of any other server rest: all of them are `Wait.steady`, and the last list showed what they saw last.
    """

    def __init__(self) -> None:
        # most servers have one wait, which needs no dict of its own; one server can have ten thousand
        self._by_id: dict[ServerId, OpenWait | dict[Wait, OpenWait]] = {}
        self._count = 0
        self._first_deadline: float | None = math.inf
        self.restless: dict[ServerId, None] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[OpenWait]:
        return iter([entry for key in self._by_id for entry in self.of(key)])

    @property
    def keys(self) -> Set[ServerId]:
        """The servers that are waited for."""
        return self._by_id.keys()

    def of(self, key: ServerId) -> tuple[OpenWait, ...]:
        """Return the waits for one server."""
        found = self._by_id.get(key)
        if found is None:
            return ()
        return (found,) if isinstance(found, OpenWait) else tuple(found.values())

    def of_wait(self, wait: Wait) -> OpenWait | None:
        """Return what is kept beside a wait; None if it is not open."""
        found = self._by_id.get(key_of(wait.server_id))
        if isinstance(found, dict):
            return found.get(wait)
        return found if found is not None and found.wait is wait else None

    def any_of(self, key: ServerId) -> OpenWait:
        """Return one of the waits for a server that is waited for."""
        found = self._by_id[key]
        return found if isinstance(found, OpenWait) else next(iter(found.values()))

    def add(self, entry: OpenWait) -> None:
        """Add a wait."""
        key = key_of(entry.wait.server_id)
        others = self._by_id.get(key)
        if others is None:
            self._by_id[key] = entry
        else:
            if isinstance(others, OpenWait):
                others = self._by_id[key] = {others.wait: others}
            others[entry.wait] = entry
        self.restless[key] = None
        self._count += 1
        if self._first_deadline is not None:
            self._first_deadline = min(self._first_deadline, entry.wait.deadline)

    def remove(self, entry: OpenWait) -> bool:
        """Take a wait out; returns whether it was the last one for its server."""
        key = key_of(entry.wait.server_id)
        others = self._by_id[key]
        if isinstance(others, dict):
            del others[entry.wait]
        last = isinstance(others, OpenWait) or not others
        if last:
            del self._by_id[key]
            self._rest(key)
        self._count -= 1
        if entry.wait.deadline == self._first_deadline:
            self._first_deadline = None
        return last

    def first_deadline(self) -> float:
        """Return the earliest deadline; infinity where there is no wait."""
        if self._first_deadline is None:
            self._first_deadline = min((entry.wait.deadline for entry in self), default=math.inf)
        return self._first_deadline

    def wake(self, key: ServerId, listed_at: float) -> tuple[OpenWait, ...]:
        """Return the waits for a server to which something happens: the next list matters to them, even if unchanged.

        ``listed_at`` is when the last list was requested, which they rested on.
        """
        entries = self.of(key)
        if entries and key not in self.restless:
            for entry in entries:
                entry.rested(listed_at)
            self.restless[key] = None
        return entries

    def shown(self, key: ServerId) -> None:
        """The last list was shown to the waits for a server: they rest if all of them are steady."""
        found = self._by_id.get(key)
        # one that joined meanwhile is not
        if isinstance(found, dict):
            steady = all(entry.wait.steady for entry in found.values())
        else:
            steady = found is None or found.wait.steady
        if steady:
            self._rest(key)

    def _rest(self, key: ServerId) -> None:
        self.restless.pop(key, None)
        if not self.restless:
            self.restless = {}  # one that was emptied keeps its room
