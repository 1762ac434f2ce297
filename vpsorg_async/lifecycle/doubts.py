"""Creates of this client whose outcome is unknown: what a later call for the same name has to reckon with. Pure."""

from __future__ import annotations

from collections import OrderedDict

import attrs

from ..errors import OutcomeUnknownError
from ..models import name_key

__all__ = ["Doubt", "Doubts"]


@attrs.frozen
class Doubt:
    """A create that left at ``sent_at`` (monotonic seconds) and of which nothing is known since."""

    name: str
    sent_at: float
    error: OutcomeUnknownError


class Doubts:
    """By name. Bounded: the oldest is forgotten first, long after its server would have been seen."""

    LIMIT = 10_000
    LASTS = 3600.0
    """Seconds. What was not seen for so long is not counted with any more."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Doubt] = OrderedDict()

    def add(self, doubt: Doubt) -> None:
        """Nobody knows what became of it."""
        key = name_key(doubt.name)
        self._open[key] = doubt
        self._open.move_to_end(key)
        if len(self._open) > self.LIMIT:
            self._open.popitem(last=False)

    def about(self, name: str, now: float) -> Doubt | None:
        """The create of that name whose outcome is unknown."""
        doubt = self._open.get(name_key(name))
        return None if doubt is None or now - doubt.sent_at > self.LASTS else doubt

    def end(self, name: str) -> None:
        """It is known what became of it, or another create of that name replaced it."""
        self._open.pop(name_key(name), None)
