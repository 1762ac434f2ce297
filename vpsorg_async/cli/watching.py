"""`vpsorg watch`: show the account as it changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import attrs
from cyclopts import Group, Parameter
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..client import Client
from ..dialects import make_dialect
from ..lifecycle.commands import SETTLED
from ..lifecycle.watching import Change, StatusChange
from ..records import Server
from ..specs import id_text
from ..timing import SystemClock
from .chart import GONE, ranked
from .display import color
from .exits import Exit
from .output import Output, plain, printable
from .server_names import Kind, fits, read_all, resolve
from .settings import ACCOUNT, Account, Settings
from .signals import at_once
from .specs import AnyServers
from .stdio import emit
from .tables import natural
from .time_options import Seconds

__all__ = ["View", "watch"]

AROUND = 4
"""The lines of the table that do not show servers."""
GONE_SHOWN = 60.0
"""The seconds for which a deleted server is still shown."""


@Parameter(name="*", group=Group("Output", sort_key=3))
@attrs.frozen(kw_only=True)
class Lines(Output):
    """The output options of a command that runs until it is interrupted."""

    json_flag: Annotated[
        bool, Parameter(name="--json", help="Print a line of JSON for each change.", show_default=False)
    ] = False


LINES = Lines()


def watch(
    servers: AnyServers = (),
    /,
    *,
    interval: Annotated[Seconds, Parameter(help="Time between polls.")] = 5.0,
    account: Account = ACCOUNT,
    output: Lines = LINES,
) -> int:
    """Show servers of the account until Ctrl-C: a live table on a terminal, else a line for each change."""
    settings = account.settings()
    watched = _Watched(settings, servers, output)
    screen = Console()
    live = screen.is_interactive and screen.file.isatty() and not output.as_json

    async def work(vps: Client) -> None:
        view = View(height=screen.height)
        if not live:
            async for change in watched.changes(vps, interval):
                with at_once():  # the reader may have stopped reading
                    emit((json.dumps(_row(change)) if output.as_json else line(change)) + "\n")
            return
        with Live(view, console=screen, auto_refresh=False, vertical_overflow="crop") as drawn:
            async for change in watched.changes(vps, interval):
                view.heard(change)
                view.height = screen.height
                drawn.refresh()

    settings.run(work)
    return Exit.OK


class _Watched:
    """The servers that are watched: those that are named, and all whose names fit a pattern, new ones included."""

    def __init__(self, settings: Settings, given: Sequence[str], output: Output) -> None:
        """Raise as `resolve` does."""
        wanted = read_all(given)
        found = resolve(settings, [one for one in wanted if one.kind is not Kind.PATTERN], output, sure=False)
        self._ids = {id_text(server_id) for server_id in found.servers}
        self._patterns = [one.text for one in wanted if one.kind is Kind.PATTERN]
        self._all = not wanted
        self._name_of = make_dialect(settings.dialect).name_of

    async def changes(self, vps: Client, interval: float) -> AsyncIterator[StatusChange]:
        """Yield the changes of these servers, and times without polls."""
        async for change in vps.watch(interval=interval):
            if self._all or change.server is None or self._has(change.server):
                yield change

    def _has(self, server: Server) -> bool:
        name = self._name_of(server)
        return id_text(server.id) in self._ids or any(fits(pattern, name) for pattern in self._patterns)


@attrs.frozen
class _Seen:
    """A server as it was last seen, with its last change and the time of it."""

    server: Server
    word: str
    news: str
    at: float

    def order(self) -> list[tuple[bool, int, str]]:
        """Return the sort key of the table: by name, web-2 before web-10."""
        return natural(f"{self.server.name} {self.server.id}")

    def rank(self) -> tuple[bool, float, list[tuple[bool, int, str]]]:
        """Return the sort key for choosing servers if lines are short: moving ones first, then recent changes."""
        return self.word in SETTLED, -self.at if self.news else 0.0, self.order()


class View:
    """The table of the servers as they were last seen, limited to the lines of the terminal."""

    def __init__(self, *, height: int = 24) -> None:
        self.height = height
        self._servers: dict[str, _Seen] = {}
        self._clock = SystemClock()
        self._blind = ""

    def heard(self, change: StatusChange) -> None:
        """Take a change into account."""
        if change.change is Change.BLIND:
            self._blind = f"; no poll succeeded for {change.seconds:.0f} s"
        elif change.server is not None:
            seen = _Seen(
                change.server,
                _word(change),
                news="" if change.change is Change.PRESENT else f"{_time()} {_what(change)}",
                at=self._clock.now(),
            )
            self._servers[str(change.server_id)] = seen

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        now = self._clock.now()
        seen = [one for one in self._servers.values() if one.word != GONE or now - one.at < GONE_SHOWN]
        shown = sorted(seen, key=_Seen.rank)[: max(self.height - AROUND, 1)]
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        columns = {name: [name] for name in ("ID", "NAME", "STATUS", "IP", "LOCATION", "LAST CHANGE")}
        for one in sorted(shown, key=_Seen.order):
            cells = (
                one.server.id,
                one.server.name,
                one.word,
                one.server.address,
                one.server.location,
                one.news,
            )
            for column, cell in zip(columns.values(), cells, strict=True):
                column.append(printable(str(cell or "-")))
        widths = {name: max(map(len, column)) + 2 for name, column in columns.items()}
        for name in ("LOCATION", "IP"):
            if sum(widths.values()) > options.max_width:
                del widths[name], columns[name]
        for name in columns:
            # the last column shrinks if they do not all fit
            least = None if name == "LAST CHANGE" else widths[name] - 2
            table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=least)
        styles = [color(word) for word in columns["STATUS"]]
        for number in range(1, len(shown) + 1):
            table.add_row(
                *(
                    Text(column[number], styles[number] if name == "STATUS" else "")
                    for name, column in columns.items()
                )
            )
        yield table
        counts = Counter(one.word for one in seen)
        told = ", ".join(f"{counts[word]} {printable(word)}" for word in ranked(counts)) or "no servers"
        left = f"; {len(seen) - len(shown)} not shown" if len(seen) > len(shown) else ""
        yield Text(f"{told}{left}{self._blind}. Press Ctrl-C to stop.", style="dim")


def _word(change: StatusChange) -> str:
    return GONE if change.change is Change.GONE else change.after or "-"


def _time() -> str:
    return f"{SystemClock().wall().astimezone():%H:%M:%S}"


def _what(change: StatusChange) -> str:
    """Describe the change in words."""
    return {
        Change.PRESENT: f"is {change.after}",
        Change.APPEARED: f"appeared, {change.after}",
        Change.CHANGED: f"{change.before} -> {change.after}",
        Change.TOUCHED: f"is {change.after}, was touched",
        Change.GONE: "is gone",
        Change.BLIND: f"no poll succeeded for {change.seconds:.0f} s",
    }[change.change]


def line(change: StatusChange) -> str:
    """Format a change as a line of text."""
    name = "" if change.server is None else f"{change.server.name} ({change.server_id})  "
    return printable(f"{_time()}  {name}{_what(change)}")


def _row(change: StatusChange) -> dict[str, object]:
    return {"at": f"{SystemClock().wall():%Y-%m-%dT%H:%M:%SZ}", **plain(change)}
