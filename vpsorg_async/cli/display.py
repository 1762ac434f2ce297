"""The display of the demo: a live chart on a terminal, plain lines elsewhere, and a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Self

import attrs
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..counting import counted
from .chart import ACTIVE, EIGHTHS, GONE, READY, WAITING, Cell, Moment, grid, ranked
from .output import printable

if TYPE_CHECKING:
    from .demo import Requests, Result

__all__ = ["BLOCKS", "WIDTH", "Chart", "Pen", "color", "progress", "table"]

COLORS = {
    READY: "green",
    ACTIVE: "green",
    "stopped": "white",
    "stopping": "bright_red",
    "starting": "cyan",
    "rebooting": "blue",
    "provisioning": "yellow",
    "deleting": "bright_red",
    "suspended": "red",
    "failed": "red",
    "skipped": "bright_black",
    WAITING: "bright_black",
}
OTHER_COLOR = "magenta"
NOT_READY_COLOR = "bright_cyan"
"""The colour of active servers where those that are ready have the green."""
BLOCKS = " ▁▂▃▄▅▆▇"
"""Eighths of a cell, filled from below."""

WIDTH = 100
HEIGHT = 8
REST = 19
"""Lines around the chart, so that a terminal of 24 lines shows the whole demo."""


@attrs.frozen
class Pen:
    """What a console can draw: colours, or textures if it has no colours."""

    color: bool
    ascii: bool
    checks: bool = False
    """Whether servers are active first and then ready, so that the two must differ."""

    @classmethod
    def of(cls, console: Console, *, checks: bool = False) -> Self:
        """Return the pen for a console."""
        return cls(
            color=console.color_system is not None and not console.no_color,
            ascii=not console.encoding.lower().startswith("utf"),
            checks=checks,
        )

    def texture(self, word: str | None) -> str:
        """Return the character of a status. There are six; the last one represents all other statuses."""
        if word is None:
            return " "
        active = 4 if self.checks else 0
        number = {READY: 0, ACTIVE: active, "rebooting": 1, "provisioning": 2, WAITING: 3}.get(word, 5)
        return ("#=.:+%" if self.ascii else "█▒░·▚▓")[number]

    def mark(self, word: str) -> tuple[str, str]:
        """Return the patch for the legend, and its style."""
        return ("  ", f"on {self.paint(word)}") if self.color else (self.texture(word) * 2, "")

    def paint(self, word: str) -> str:
        """Return the colour of a status."""
        return NOT_READY_COLOR if self.checks and word == ACTIVE else color(word)

    def cell(self, cell: Cell) -> tuple[str, str]:
        """Return a character of the chart, and its style."""
        if not self.color:
            return self.texture(cell.main), ""
        if self.ascii or cell.eighths == EIGHTHS or cell.lower is None:
            return " ", f"on {self.paint(cell.main)}" if cell.main else ""
        upper = f" on {self.paint(cell.upper)}" if cell.upper else ""
        return BLOCKS[cell.eighths], self.paint(cell.lower) + upper


def color(word: str) -> str:
    """Return the colour of a status."""
    return COLORS.get(word, OTHER_COLOR)


@attrs.frozen(kw_only=True)
class Chart:
    """The servers over time, and a line with the present state. ``span``: the minimum of seconds shown."""

    servers: int
    moments: Sequence[Moment] = ()
    span: float = 0.0
    height: int = HEIGHT

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.moments:
            return
        now = self.moments[-1]
        pen = Pen.of(console, checks=READY in now.statuses)
        floor, tick = "-+" if pen.ascii else "─┬"
        top = f" {self.servers} "
        width = max(min(options.max_width, WIDTH) - len(top) - 1, 1)
        # a later estimate is better than the one at the beginning
        span = max(now.span or self.span if self.span else 0.0, now.at, 1e-3)
        for number, row in enumerate(
            grid(self.moments, servers=self.servers, width=width, height=self.height, span=span)
        ):
            label = top if number == 0 else " " * len(top)
            yield Text.assemble((label, "dim"), *_runs(pen.cell(cell) for cell in row))
        starts = [next(moments) for _, moments in groupby(self.moments, key=lambda moment: moment.phase)]
        columns = [min(int(moment.at / span * width), width - 1) for moment in starts]
        line = "".join(tick if column in columns else floor for column in range(width))
        yield Text(f"{'0 ':>{len(top)}}{line}", style="dim")
        ends = [*(moment.at for moment in starts[1:]), now.at]
        names = [f"{moment.phase} {end - moment.at:.1f} s" for moment, end in zip(starts, ends, strict=True)]
        indent = " " * len(top)
        yield Text(indent + _beneath(names, columns, width))
        yield Text()
        legend = Text(indent) + _legend(pen, self.moments)
        room = options.max_width - legend.cell_len
        for part in filter(None, (f"{counted(now.requests, 'request')}  {now.at:.1f} s", now.rest)):
            room -= len(part) + 2
            if room < 0:
                yield legend
                legend, room = Text(indent), options.max_width - len(indent) - len(part)
            legend.append(f"  {part}" if legend.plain.strip() else part)
        yield legend
        if now.note:
            yield Text(indent + printable(now.note), style="dim", no_wrap=True, overflow="ellipsis")


def _runs(cells: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join neighbouring cells of the same style."""
    runs = groupby(cells, key=lambda cell: cell[1])
    return [("".join(char for char, _ in run), style) for style, run in runs]


def _beneath(names: Sequence[str], columns: Sequence[int], width: int) -> str:
    """Return a line with each name at its column, or further to the left if the names after it need the room."""
    line, limit = [" "] * width, width
    for name, column in zip(reversed(names), reversed(columns), strict=True):
        limit = min(column, limit - len(name))
        if limit < 0:
            break
        line[limit : limit + len(name)] = name
        limit -= 2
    return "".join(line).rstrip()


def _legend(pen: Pen, moments: Sequence[Moment]) -> Text:
    """Return the legend: each status that was seen, with its present number of servers.

    A status stays in the legend to the end, because the chart still shows its colour.
    """
    now, line = moments[-1], Text()
    for word in ranked({word for moment in moments for word in moment.statuses}):
        if word == WAITING and not now.statuses.get(word):
            continue
        if word != GONE:
            line.append(*pen.mark(word)).append(" ")
        count = now.statuses.get(word)
        line.append(f"{count} {word}  " if count else f"{word}  ", style="" if count else "dim")
    line.rstrip()
    return line


@contextmanager
def progress(
    console: Console, servers: int, span: float, *, quiet: bool = False
) -> Generator[Callable[[Sequence[Moment]], None]]:
    """Yield a function that shows the moments so far: a live chart on a terminal, lines elsewhere, nothing if quiet."""
    if quiet:
        yield lambda moments: None
    elif console.is_interactive and console.file.isatty():
        height = min(max(console.height - REST, 2), HEIGHT, servers)
        chart = Chart(servers=servers, span=span, height=height)
        with Live(console=console, auto_refresh=False) as live:

            def show(moments: Sequence[Moment]) -> None:
                nonlocal chart
                chart = attrs.evolve(chart, moments=moments)
                live.update(chart, refresh=True)

            try:
                yield show
            finally:
                # the chart that stays on the screen uses its full width
                live.update(attrs.evolve(chart, span=0.0), refresh=True)
    else:
        lines = _Lines(console)
        try:
            yield lines
        finally:
            lines.finish()


class _Lines:
    """Prints a line when a phase ends, and at most one a second while something changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: Moment | None = None
        self._latest: Moment | None = None
        self._seen = 0

    def __call__(self, moments: Sequence[Moment]) -> None:
        for moment in moments[self._seen :]:
            last = self._last
            if last is not None and moment.phase != last.phase:
                # the first moment of a phase shows the end of the phase before
                self._write(attrs.evolve(moment, phase=last.phase))
            elif last is None or (moment.at >= last.at + 1.0 and moment.statuses != last.statuses):
                self._write(moment)
            else:
                continue
            self._last = moment
        self._seen, self._latest = len(moments), moments[-1]

    def finish(self) -> None:
        """Print the last moment."""
        if self._latest is not self._last and self._latest is not None:
            self._write(self._latest)

    def _write(self, moment: Moment) -> None:
        counts = [f"{moment.statuses[word]} {word}" for word in ranked(moment.statuses)]
        counts.append(counted(moment.requests, "request"))
        line = f"{moment.at:6.1f} s  {moment.phase}  {', '.join(counts)}"
        self._console.print(Text(line), soft_wrap=True)


def table(result: Result) -> Group:
    """Return a table with a row for each phase, the total, and the total if each server were polled by itself."""
    rows = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("", "servers", "creates", "lists", "reads", "actions", "deletes", "requests", "seconds"):
        rows.add_column(name, justify="right" if name else "left", no_wrap=True)
    for phase in result.phases:
        servers, seconds = str(len(phase.report.outcomes)), f"{phase.seconds:.1f}"
        rows.add_row(phase.name, servers, *_cells(phase.requests), seconds)
    rows.add_section()
    rows.add_row(
        "total", str(result.servers), *_cells(result.requests), f"{result.seconds:.1f}", style="bold"
    )
    rows.add_row("each alone", str(result.servers), *_cells(result.alone), "", style="dim")
    notes = (
        "Requests: the sandbox's own log. Each alone: one GET for each full second of each server's wait, at least "
        "one; computed, not measured."
    )
    return Group("", rows, "", Text(notes, style="dim"))


def _cells(requests: Requests) -> list[str]:
    counts = (requests.creates, requests.lists, requests.reads, requests.actions, requests.deletes)
    return [*(str(count) if count else "-" for count in counts), str(requests.total)]
