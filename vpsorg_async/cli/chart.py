"""A chart of servers by status over time, as a grid of character cells. Pure: moments go in, cells come out.

Time runs to the right; each column is a slice of time. The statuses are stacked in a column, with the settled ones at
the bottom. At most two statuses share a cell: the lower one fills some eighths of it, as the block characters do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile

import attrs

__all__ = ["ACTIVE", "EIGHTHS", "GONE", "READY", "WAITING", "Cell", "Moment", "grid", "ranked"]

READY = "ready"
"""The word for servers whose ready checks have passed."""
ACTIVE = "active"
ORDER = (
    READY,
    ACTIVE,
    "stopped",
    "stopping",
    "starting",
    "rebooting",
    "provisioning",
    "deleting",
    "suspended",
)
"""The statuses from the bottom up; any other word goes on top."""
GONE = "gone"
"""The word for deleted servers, which the chart does not show."""
WAITING = "waiting"
"""The word for servers that have no command yet, or were not seen yet."""

EIGHTHS = 8


@attrs.frozen(kw_only=True)
class Moment:
    """The state ``at`` seconds after the beginning: servers by status, requests sent so far.

    ``rest``: a text on the remaining time. ``span``: the expected duration of the whole run in seconds; 0 if unknown.
    ``note``: a line below the legend.
    """

    at: float
    phase: str
    statuses: Mapping[str, int]
    requests: int
    rest: str = ""
    span: float = 0.0
    note: str = ""


@attrs.frozen
class Cell:
    """A character cell: ``lower`` fills ``eighths`` of it, ``upper`` the rest; None is empty."""

    lower: str | None = None
    upper: str | None = None
    eighths: int = EIGHTHS

    @property
    def main(self) -> str | None:
        """The status that fills most of the cell."""
        return self.lower if self.eighths * 2 >= EIGHTHS else self.upper


def ranked(words: Iterable[str]) -> list[str]:
    """Return the words in their order in the chart, from the bottom up."""
    rank = {word: number for number, word in enumerate(ORDER)} | {GONE: len(ORDER) + 1}
    return sorted(words, key=lambda word: (rank.get(word, len(ORDER)), word))


def grid(
    moments: Sequence[Moment], *, servers: int, width: int, height: int, span: float
) -> list[list[Cell]]:
    """Return the cells, topmost row first. ``span``: the seconds that the width represents."""
    times = [moment.at for moment in moments]
    columns: list[list[Cell]] = []
    for number in range(width):
        middle = (number + 0.5) * span / width
        known = times and times[0] <= middle <= times[-1]
        fill = _fill(moments[bisect_right(times, middle) - 1], servers, height * EIGHTHS) if known else []
        columns.append([_cell(fill[row * EIGHTHS : (row + 1) * EIGHTHS]) for row in range(height)])
    return [[column[row] for column in columns] for row in reversed(range(height))]


def _fill(moment: Moment, servers: int, length: int) -> list[str]:
    """Return a bar of the statuses from the bottom up, ``length`` long if all servers exist."""
    bar: list[str] = []
    count = 0
    for word in ranked(moment.statuses):
        if word != GONE:
            count += moment.statuses[word]
            bar += [word] * (round(count * length / servers) - len(bar))
    return bar


def _cell(eighths: Sequence[str]) -> Cell:
    if not eighths:
        return Cell()
    lower = eighths[0]
    share = sum(1 for _ in takewhile(lower.__eq__, eighths))
    return Cell(lower, eighths[-1] if share < len(eighths) == EIGHTHS else None, share)
