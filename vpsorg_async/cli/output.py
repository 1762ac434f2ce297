"""How results are printed: columns or JSON on stdout, questions and notes on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import attrs
from cyclopts import Group, Parameter

from ..errors import ConfigurationError, VpsOrgError
from ..records import Server
from .signals import check
from .stdio import Unwritten, abandon, emit, note

__all__ = [
    "OUTPUT",
    "UNASKED",
    "Declined",
    "Output",
    "Unasked",
    "Yes",
    "columns",
    "confirm",
    "is_terminal",
    "note",
    "plain",
    "printable",
    "server_rows",
    "sheet",
    "unanswered",
]


@Parameter(name="*", group=Group("Output", sort_key=3))
@attrs.frozen(kw_only=True)
class Output:
    """The output options of every command with a result."""

    as_json: Annotated[
        bool, Parameter(name="--json", help="Print one JSON document.", show_default=False)
    ] = False
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), help="Show no progress and no notes.", show_default=False)
    ] = False

    def show(self, document: Any, text: Iterable[str]) -> None:
        """Print what was read: as JSON if `--json` was given, else as lines. Raises `Unwritten`."""
        emit(self._text(document, text))

    def report(self, document: Any, text: Iterable[str]) -> None:
        """Print what was changed. If standard output can't be written, print it to standard error.

        This never raises `Unwritten`: the exit code is that of the change.
        """
        written = self._text(document, text)
        try:
            emit(written)
        except Unwritten as lost:
            if not lost.closed:
                note(f"vpsorg: {lost}")
            note(written.rstrip("\n"))
        except KeyboardInterrupt:
            # the reader is gone, and there is no time left to wait for another one
            abandon(sys.stdout)
            note(written.rstrip("\n"))
            raise

    def _text(self, document: Any, text: Iterable[str]) -> str:
        if self.as_json:
            return json.dumps(plain(document), indent=2) + "\n"
        # lines can repeat what came over the network
        return "".join(f"{printable(line)}\n" for line in text)

    def note(self, text: str) -> None:
        """Print a line that is not part of the result."""
        if not self.quiet:
            note(text)


OUTPUT = Output()
"""The default: no option was given."""

Yes = Annotated[
    bool,
    Parameter(
        name=("--yes", "-y"),
        help="Do not ask for confirmation.",
        show_default=False,
        group=Group("Output", sort_key=3),
    ),
]


@Parameter(name="*", group=Group("Output", sort_key=3))
@attrs.frozen(kw_only=True)
class Unasked(Output):
    """The output options of a command that changes something and asks nothing: it accepts --yes as the others do."""

    yes: Yes = False


UNASKED = Unasked()
"""The default: no option was given."""


class Declined(VpsOrgError):
    """The user did not confirm."""


def is_terminal() -> bool:
    """Return whether there is a terminal to ask on."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, *, yes: bool) -> None:
    """Ask on the terminal. Raises `Declined`, and `ConfigurationError` if there is no terminal."""
    if yes:
        return
    if not is_terminal():
        raise ConfigurationError(
            f"{question.splitlines()[0]} There is no terminal to confirm on: add --yes. Nothing was changed"
        )
    check()
    try:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline()
    except KeyboardInterrupt:
        note("")
        raise
    if answer.strip().lower() not in ("y", "yes"):
        raise Declined("nothing was sent")


@contextlib.contextmanager
def unanswered(what: str, advice: str = "check the account before repeating it") -> Generator[None]:
    """Print that the outcome is unknown if the command is interrupted before the answer arrives, and what to do."""
    try:
        yield
    except asyncio.CancelledError:
        note(
            f"{what} had no answer yet: its outcome is unknown; {advice}",
            needed=True,
        )
        raise


def plain(value: Any) -> Any:
    """Convert records to plain data, for JSON. Passwords are left out."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if attrs.has(type(value)):
        fields = [field.name for field in attrs.fields(type(value)) if field.name != "password"]
        return {name: plain(getattr(value, name)) for name in fields}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return value


def columns(names: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Format rows below the column names. On a terminal, columns that do not fit are dropped from the right."""
    table = [[_cell(value) for value in row] for row in rows]
    widths = [max([len(name), *(len(row[n]) for row in table)]) for n, name in enumerate(names)]
    if sys.stdout.isatty():
        room = _width()
        while len(widths) > 2 and sum(widths) + 2 * (len(widths) - 1) > room:
            widths.pop()
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in [list(names), *table]
    ]


def sheet(record: Mapping[str, Any], indent: str = "") -> list[str]:
    """Format a record as lines of name and value. Unknown values are left out."""
    known = {name: value for name, value in record.items() if value is not None}
    width = max((len(name) for name in known), default=0)
    lines: list[str] = []
    for name, value in known.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {_cell(item)}" for key, item in value.items() if item is not None)
        lines.append(f"{indent}{name.ljust(width)}  {_cell(value)}")
    return lines


def server_rows(servers: Iterable[Server]) -> list[str]:
    """Format servers as a table."""
    rows = [
        (s.id, s.name, s.status, s.address, s.location, s.plan and s.plan.name, s.os and s.os.name)
        for s in servers
    ]
    return columns(("ID", "NAME", "STATUS", "IP", "LOCATION", "PLAN", "OS"), rows)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return printable(text)


def printable(text: str) -> str:
    """Replace control characters: texts from the network must not control the terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
