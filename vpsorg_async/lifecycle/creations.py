"""This client's own creates by name: those whose outcome is unknown, and those that worked. Pure.

A list can lag behind both. A later call for the same name has to consider them, or it would create a second server.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import attrs

from ..errors import OutcomeUnknownError
from ..records import Server
from ..specs import name_key

__all__ = ["Creations", "Doubt", "Made"]


@attrs.frozen
class Doubt:
    """A create that left at ``sent_at`` (monotonic seconds) at the latest, and of which nothing is known since.

    ``mark`` is the point in the order of first sightings before which a server was seen that can't be its result.
    """

    name: str
    sent_at: float
    error: OutcomeUnknownError
    mark: int
    settle: float | None = None
    """The seconds for which its server is searched for; None: those of the call that searches."""


@attrs.frozen
class Made:
    """A server that this client created, as the answer showed it, and when (monotonic seconds)."""

    server: Server
    at: float


class Creations:
    """The last create of each name. Only what is older than `LASTS` is forgotten: any number can be in doubt."""

    LASTS = 3600.0
    """Seconds after which a create is not considered any more."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, Doubt | Made] = OrderedDict()

    def doubted(self, doubt: Doubt) -> None:
        """Note a create whose outcome is unknown."""
        self._put(doubt.name, doubt, doubt.sent_at)

    def made(self, name: str, server: Server, at: float) -> None:
        """Note a create that worked."""
        self._put(name, Made(server, at), at)

    def end_doubt(self, name: str) -> None:
        """Note that a server of that name was found: the outcome of its create is known."""
        if isinstance(self._last.get(name_key(name)), Doubt):
            del self._last[name_key(name)]

    def doubt(self, name: str, now: float) -> Doubt | None:
        """Return the create of that name whose outcome is unknown; None if there is none."""
        found = self._last.get(name_key(name))
        return found if isinstance(found, Doubt) and now - found.sent_at <= self.LASTS else None

    def own(self, name: str, now: float) -> Made | None:
        """Return the server of that name that this client created last; None if there is none."""
        found = self._last.get(name_key(name))
        return found if isinstance(found, Made) and now - found.at <= self.LASTS else None

    def all_own(self, now: float) -> Iterator[tuple[str, Made]]:
        """Yield the server that this client created last of each name, with the name in the form of `name_key`."""
        for key, found in self._last.items():
            if isinstance(found, Made) and now - found.at <= self.LASTS:
                yield key, found

    def _put(self, name: str, last: Doubt | Made, now: float) -> None:
        key = name_key(name)
        self._last[key] = last
        self._last.move_to_end(key)
        while now - _time_of(next(iter(self._last.values()))) > self.LASTS:
            self._last.popitem(last=False)


def _time_of(last: Doubt | Made) -> float:
    return last.sent_at if isinstance(last, Doubt) else last.at
