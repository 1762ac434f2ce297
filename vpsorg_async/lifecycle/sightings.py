"""What was last seen of one server. Data."""

from __future__ import annotations

import functools
import math
from datetime import datetime

import attrs

from ..records import Server, ServerId, ServerStatus

__all__ = ["NOT_KNOWN", "ListTime", "Sighting"]


class ListTime:
    """When the lists of the account, each compared with the one before, were last requested.

    All servers that a list shows unchanged share it, so that a list of ten thousand dates them by one assignment.
    """

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at: float = -math.inf


NOT_KNOWN = ("", "")


@functools.lru_cache(1000)
def _texts(plan: ServerId | None, location: str | None) -> tuple[str, str]:
    """Return both as texts. Thousands of servers share a few of these."""
    texts = ("" if plan is None else str(plan), location or "")
    return texts if any(texts) else NOT_KNOWN


# no weak references: there can be 50,000 of them, and each would be 16 bytes larger
@attrs.define(weakref_slot=False)
class Sighting:
    """The last sighting of a server: what later reads of it are held against. Times are monotonic seconds."""

    status: ServerStatus
    updated_at: datetime | None
    read_at: float
    """When the last request left that showed it, apart from lists that showed it unchanged."""
    plan_and_location: tuple[str, str] = NOT_KNOWN
    listed: ListTime | None = None
    """Set while the last list shows it like this."""
    number: int = 0
    """A point in the order in which servers were first seen; see `Account.mark`."""
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

    def repeated(self, at: float, server: object) -> None:
        """Note a read that showed it unchanged; a whole record may add its plan and location."""
        self.read_at, self.shown = at, True
        if isinstance(server, Server):
            self.describe(server)

    def describe(self, server: Server) -> None:
        """Add plan and location from a whole record."""
        if self.plan_and_location is NOT_KNOWN:
            self.plan_and_location = _texts(None if server.plan is None else server.plan.id, server.location)

    def unlisted(self) -> None:
        """Note that the last list does not show it like this."""
        self.read_at, self.listed = self.at, None
