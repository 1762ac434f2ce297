"""How results are printed: columns or JSON on stdout, questions and notes on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import attrs
from cyclopts import Group, Parameter

from ..errors import ConfigurationError, VpsOrgError
from .signals import check
from .stdio import Unwritten, abandon, emit, note
from .tables import GAP, Column, Columns, as_csv, as_text, cell, columns_of, ordered, printable

__all__ = [
    "OUTPUT",
    "UNASKED",
    "Declined",
    "Output",
    "TableOutput",
    "Unasked",
    "View",
    "Yes",
    "columns",
    "confirm",
    "fitted",
    "is_terminal",
    "note",
    "plain",
    "printable",
    "sheet",
    "unanswered",
]

R = TypeVar("R")
Form = Literal["table", "wide", "json", "csv", "name", "id"]
NARROW = 20
"""The least characters of a line for a value."""
_OF_TABLES = ("wide", "csv", "name", "id")


@Parameter(name="*", group=Group("Output", sort_key=3))
@attrs.frozen(kw_only=True)
class Output:
    """The output options of every command with a result. Raises `ConfigurationError` if they do not fit together."""

    form: Annotated[
        Form | None,
        Parameter(name=("--output", "-o"), help="table (the default) or json.", show_choices=False),
    ] = None
    json_flag: Annotated[
        bool,
        Parameter(name="--json", help="Print one JSON document: the same as -o json.", show_default=False),
    ] = False
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), help="Show no progress and no notes.", show_default=False)
    ] = False

    def __attrs_post_init__(self) -> None:
        if self.json_flag and self.form not in (None, "json"):
            raise ConfigurationError(f"give --json or -o {self.form}, not both")
        self._check()

    def _check(self) -> None:
        if self.form in _OF_TABLES:
            raise ConfigurationError(f"-o {self.form}: this command has the forms table and json only")

    @property
    def as_json(self) -> bool:
        """Whether the result is printed as JSON."""
        return self.json_flag or self.form == "json"

    def show(self, document: Any, text: Iterable[str]) -> None:
        """Print what was read: as JSON if that was asked for, else as lines. Raises `Unwritten`."""
        emit(self._text(document, text))

    def report(self, document: Any, text: Iterable[str]) -> None:
        """Print what was changed. If standard output can't be written, print it to standard error.

        This never raises `Unwritten`: the exit code is that of the change.
        """
        _insist(self._text(document, text))

    def _text(self, document: Any, text: Iterable[str]) -> str:
        if self.as_json:
            return json.dumps(plain(document), indent=2) + "\n"
        # lines can repeat what came over the network
        return "".join(f"{printable(line)}\n" for line in text)

    def note(self, text: str) -> None:
        """Print a line that is not part of the result."""
        if not self.quiet:
            note(text)


def _insist(written: str) -> None:
    """Write to standard output, else to standard error."""
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


@attrs.frozen(kw_only=True)
class View(Generic[R]):
    """A result in all of its forms.

    ``document``: what JSON has; ``rows``: the records of the table. ``place``: the key of the document's list that has
    an item for each row, empty where the document is that list, None where it has none. ``text``: the lines that stand
    for the table. ``after``: lines below the table; they are notes where the table is for programs.
    """

    document: Any
    rows: Sequence[R]
    place: str | None = None
    text: Sequence[str] | None = None
    after: Sequence[str] = ()
    usual: Sequence[Column[R]] | None = None
    """The columns that are shown if nothing is asked for, where they depend on the command."""

    def sorted(self, order: Sequence[int]) -> View[R]:
        """Return it with the rows, and their items in the document, in another order."""
        document = self.document
        if self.place is not None:
            items = plain(document)[self.place] if self.place else plain(document)
            again = [items[place] for place in order]
            document = {**document, self.place: again} if self.place else again
        return attrs.evolve(self, document=document, rows=[self.rows[place] for place in order])


@Parameter(name="*", group=Group("Output", sort_key=3))
@attrs.frozen(kw_only=True)
class TableOutput(Output):
    """The output options of a command that prints a table, whose columns a subclass names."""

    COLUMNS: ClassVar[Columns[Any]]

    form: Annotated[
        Form | None,
        Parameter(
            name=("--output", "-o"),
            help="table, wide (all columns), json, csv, name or id (one a line).",
            show_choices=False,
        ),
    ] = None
    columns: Annotated[
        str | None, Parameter(help="Columns of the table, in this order, such as id,name,status.")
    ] = None
    sort: Annotated[str | None, Parameter(help="Column to sort by; name:desc sorts downwards.")] = None
    no_headers: Annotated[
        bool, Parameter(help="Print the table without its column names.", show_default=False)
    ] = False

    def _check(self) -> None:
        for_tables = {"--columns": self.columns is not None, "--no-headers": self.no_headers}
        form = "json" if self.as_json else self.form
        for option, given in for_tables.items():
            if given and form in ("json", "name", "id"):
                raise ConfigurationError(f"{option} is for tables and CSV, not for -o {form}")
        if self.columns is not None:
            self.COLUMNS.chosen(self.columns)
        if self.sort is not None:
            ordered((), self.COLUMNS, self.sort)

    def show_view(self, view: View[Any]) -> None:
        """Print what was read. Raises `Unwritten`."""
        text, notes = self._written(view)
        emit(text)
        for line in notes:
            note(line)

    def report_view(self, view: View[Any]) -> None:
        """Print what was changed, as `report` does."""
        text, notes = self._written(view)
        _insist(text)
        for line in notes:
            note(line)

    def _written(self, view: View[Any]) -> tuple[str, Sequence[str]]:
        """Return the text of the result, and the notes beside it."""
        if self.sort is not None:
            view = view.sorted(ordered(view.rows, self.COLUMNS, self.sort))
        after = [printable(line) for line in view.after]
        if self.as_json:
            return self._text(view.document, ()), ()
        if self.form in ("name", "id"):
            of = self.COLUMNS.name if self.form == "name" else self.COLUMNS.id
            found = [str(value) for row in view.rows if (value := of(row)) not in (None, "")]
            return self._text(None, found), after
        chosen = None if self.columns is None else self.COLUMNS.chosen(self.columns)
        if self.form == "csv":
            return as_csv(view.rows, chosen or self.COLUMNS.every, headers=not self.no_headers), after
        if view.text is not None and chosen is None and self.form != "wide":
            return self._text(None, [*view.text, *after]), ()
        columns = chosen or (self.COLUMNS.every if self.form == "wide" else view.usual or self.COLUMNS.usual)
        # what was asked for is shown, also where it does not fit
        room = _width() if sys.stdout.isatty() and chosen is None and self.form != "wide" else None
        return self._text(
            None, [*as_text(view.rows, columns, room=room, headers=not self.no_headers), *after]
        ), ()


# options classes of other modules inherit these types, and could not resolve them there as texts
attrs.resolve_types(Output)
attrs.resolve_types(TableOutput)
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
    question = "\n".join(map(printable, question.splitlines()))  # names come from the network
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


def fitted(rows: Sequence[R], columns: Sequence[Column[R]]) -> list[str]:
    """Format a table. On a terminal, columns that do not fit are left out."""
    return as_text(rows, columns, room=_width() if sys.stdout.isatty() else None)


def columns(names: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Format rows below the column names, the most important first, as `fitted` does."""
    return fitted([*rows], columns_of(names))


def sheet(record: Mapping[str, Any]) -> list[str]:
    """Format a record as lines of name and value. Unknown values are left out. A terminal's lines break at spaces."""
    known = {name: value for name, value in record.items() if value is not None}
    width = max((len(name) for name in known), default=0)
    room = max(_width() - width - GAP, NARROW) if sys.stdout.isatty() else None
    lines: list[str] = []
    for name, value in known.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {cell(item)}" for key, item in value.items() if item is not None)
        first, *rest = _broken(cell(value), room)
        lines += [f"{name.ljust(width + GAP)}{first}", *(f"{'':{width + GAP}}{line}" for line in rest)]
    return lines


def _broken(text: str, room: int | None) -> list[str]:
    if room is None or len(text) <= room:
        return [text]
    from textwrap import wrap

    return wrap(text, room, break_long_words=False, break_on_hyphens=False)


def _width() -> int:
    import shutil

    return shutil.get_terminal_size().columns
