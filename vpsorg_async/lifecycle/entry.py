"""The waits that are open at the poller, with what the poller keeps beside each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Set

import attrs

from .durations import Kind
from .wait import Records, Verdict, Wait

__all__ = ["Deliver", "Entries", "Entry", "OnEnd"]

Deliver = Callable[[Wait, Verdict | BaseException], None]
"""Given the verdict of a wait, once; an exception where polling itself broke. Must not raise."""
OnEnd = Callable[[Verdict | None, float], None]
"""Told how a wait ended (None: it was left), and when the last poll left that did not show it done."""


@attrs.define(eq=False)
class Entry:
    """``undone_at`` is when the last poll left that did not show it done; monotonic seconds."""

    wait: Wait
    deliver: Deliver
    cohort: tuple[Kind, float]
    undone_at: float
    on_end: OnEnd | None
    lists: int = 0
    """How many lists it is up to date with."""
    stuck: bool = False

    def took(self, asked: float, narrow: float) -> float | None:
        """Seconds that it took, where the poll that left at ``asked`` showed it done; None where nobody knows.

        It was done somewhere between the poll before and this one: that tells little where the two lie apart by more
        than half of its age, and by more than ``narrow``.
        """
        since = self.wait.since
        if asked - self.undone_at > max((asked - since) / 2, narrow):
            return None
        return (self.undone_at + asked) / 2 - since


class Entries:
    """The open waits by server id.

    Not each list is shown to each of them: a wait that is `Wait.steady` is left alone while its row stays as it is,
    and brought up to date when something happens to it. The others are ``restless``. A list begins with `listing`,
    goes on with `shown` and `told` for whom it has news, and with `lacking`, and is over with `listed`.
    """

    def __init__(self) -> None:
        # most servers have one wait, which needs no dict of its own; one server can have ten thousand
        self._by_id: dict[str, Entry | dict[Wait, Entry]] = {}
        self._count = 0
        self._first_deadline: float | None = math.inf
        self._lists = 0
        self._under_way = 0
        self.listed_at = -math.inf
        """When the last list was asked for that is over."""
        self.restless: dict[str, None] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        return iter([entry for key in self._by_id for entry in self.of(key)])

    def __contains__(self, entry: Entry) -> bool:
        return self.of_wait(entry.wait) is entry

    @property
    def keys(self) -> Set[str]:
        """The servers that are waited for."""
        return self._by_id.keys()

    def of(self, key: str) -> tuple[Entry, ...]:
        """The waits for one server."""
        found = self._by_id.get(key)
        if found is None:
            return ()
        return (found,) if isinstance(found, Entry) else tuple(found.values())

    def of_wait(self, wait: Wait) -> Entry | None:
        """What is kept beside an open wait."""
        found = self._by_id.get(str(wait.server_id))
        if isinstance(found, dict):
            return found.get(wait)
        return found if found is not None and found.wait is wait else None

    def any_of(self, key: str) -> Entry:
        """One of the waits for a server that is waited for."""
        found = self._by_id[key]
        return found if isinstance(found, Entry) else next(iter(found.values()))

    def add(self, entry: Entry) -> None:
        """A wait begins."""
        key = str(entry.wait.server_id)
        others = self._by_id.get(key)
        if others is None:
            self._by_id[key] = entry
        else:
            if isinstance(others, Entry):
                others = self._by_id[key] = {others.wait: others}
            others[entry.wait] = entry
        self.restless[key] = None
        self._count += 1
        # a list that is being shown was asked for before
        entry.lists = self._lists + self._under_way
        if self._first_deadline is not None:
            self._first_deadline = min(self._first_deadline, entry.wait.deadline)

    def remove(self, entry: Entry) -> bool:
        """A wait ends; False if it had ended before."""
        if entry not in self:
            return False
        key = str(entry.wait.server_id)
        self._catch_up(entry)
        # the list that it rests on goes on without it
        entry.wait.recall()
        others = self._by_id[key]
        if isinstance(others, dict):
            del others[entry.wait]
        if isinstance(others, Entry) or not others:
            del self._by_id[key]
            self._rests(key)
        self._count -= 1
        if entry.wait.deadline == self._first_deadline:
            self._first_deadline = None
        return True

    def first_deadline(self) -> float:
        """When the first of them is up."""
        if self._first_deadline is None:
            self._first_deadline = min((entry.wait.deadline for entry in self), default=math.inf)
        return self._first_deadline

    def recall(self, key: str) -> None:
        """What its waits saw last will not be where they rest on it."""
        for entry in self.of(key):
            entry.wait.recall()

    def listing(self, news: Iterable[str] | None) -> None:
        """One more list has come and is going to be shown; of which servers it has ``news``, None: who knows."""
        self._under_way = 1
        if news is None:
            self.restless = dict.fromkeys(self._by_id)
        else:
            for key in self._by_id.keys() & news:
                self.restless[key] = None

    def shown(self, key: str) -> tuple[Entry, ...]:
        """The waits that are to be shown the list under way, up to date with those before it; `told` follows."""
        entries = self._up_to_date(key)
        for entry in entries:
            entry.lists = self._lists + 1
        return entries

    def told(self, key: str, entries: tuple[Entry, ...], records: Records) -> None:
        """They were shown their server's row of the list, which ``records`` has as long as it stays as it is."""
        if key not in self._by_id:
            return
        self._rests(key)
        for entry in entries:
            if entry not in self:
                self.restless[key] = None  # it has ended; another wait may have joined meanwhile
            elif entry.wait.steady:
                entry.wait.rest_on(records)
            else:
                self.restless[key] = None

    def lacking(self, places: Mapping[str, int]) -> list[tuple[Entry, ...]]:
        """The waits for servers that the list under way lacks: to them it is no poll."""
        # whoever is not restless was shown its row, and would have been told if it were gone
        return [self.shown(key) for key in self.restless if key not in places]

    def listed(self, asked: float) -> None:
        """The list under way, asked for at that time, was shown to everybody whom it has news for."""
        self._lists += 1
        self._under_way = 0
        self.listed_at = asked

    def disturbed(self, key: str) -> tuple[Entry, ...]:
        """The waits to which something else happens than a list: the next one matters to them, even if unchanged."""
        entries = self._up_to_date(key)
        if entries:
            self.restless[key] = None
        return entries

    def disturb(self, entry: Entry) -> None:
        """The same for one of them."""
        self._catch_up(entry)
        self.restless[str(entry.wait.server_id)] = None

    def _rests(self, key: str) -> None:
        self.restless.pop(key, None)
        if not self.restless:
            self.restless = {}  # one that was emptied keeps its room

    def _up_to_date(self, key: str) -> tuple[Entry, ...]:
        entries = self.of(key)
        for entry in entries:
            self._catch_up(entry)
        return entries

    def _catch_up(self, entry: Entry) -> None:
        """The lists since then that are over showed it nothing new."""
        if self._lists > entry.lists:
            entry.wait.again(self._lists - entry.lists, self.listed_at)
            entry.lists = self._lists
            entry.undone_at = max(entry.undone_at, self.listed_at)
