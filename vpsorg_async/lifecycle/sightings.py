"""What was last seen of one server. Data."""

from __future__ import annotations

import math
from datetime import datetime

import attrs

from ..codec import StatusRow
from ..records import Server

__all__ = ["ListTime", "Sighting"]


class ListTime:
    """When the lists of the account, each compared with the one before, were last requested.

    All servers that a list shows unchanged share it, so that a list of ten thousand dates them by one assignment.
    """

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -math.inf


# no weak references: there can be 50,000 of them, and each would be 16 bytes larger
@attrs.define(weakref_slot=False)
class Sighting:
    """The last sighting of a server: what later reads of it are held against. Times are monotonic seconds."""

    status: str
    updated_at: datetime | None
    read_at: float
    """When the last request left that showed it, apart from lists that showed it unchanged."""
    plan: str = ""
    location: str = ""
    listed: ListTime | None = None
    """Set while the last list shows it like this."""
    number: int = 0
    """Counts the servers in the order in which they were first seen."""
    created: bool = False
    """Whether the answer to a create of this client named it."""
    shown: bool = True
    """Whether a read has shown it, and not that answer alone."""
    stale_since: float | None = None
    """Since when all reads of it have been stale."""

    @property
    def at(self) -> float:
        """When the last request left that showed it like this."""
        return self.read_at if self.listed is None else max(self.read_at, self.listed.at)

    def repeated(self, at: float, server: Server | StatusRow) -> None:
        """Note a read that showed it unchanged; a whole record may add its plan and location."""
        self.read_at, self.shown = at, True
        if not self.plan and not self.location and isinstance(server, Server):
            self.plan = "" if server.plan is None or server.plan.id is None else str(server.plan.id)
            self.location = str(server.location or "")

    def unlisted(self) -> None:
        """Note that the last list does not show it like this."""
        self.read_at, self.listed = self.at, None
