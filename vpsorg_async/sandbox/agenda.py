"""What happens at a later time, in its order. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

Event: TypeAlias = Callable[[float], None]


class Agenda:
    """Events, each at its own time; those of the same time in the order in which they were added."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Event]] = []
        self._added = 0

    @property
    def next(self) -> float:
        """The time of the next event; infinite if there is none."""
        return self._events[0][0] if self._events else math.inf

    def add(self, due: float, event: Event) -> None:
        """Add an event."""
        self._added += 1
        heapq.heappush(self._events, (due, self._added, event))

    def due(self, now: float) -> Iterator[tuple[float, Event]]:
        """Remove and yield what is due by `now`, also what is added meanwhile."""
        while self._events and self._events[0][0] <= now:
            due, _, event = heapq.heappop(self._events)
            yield due, event
