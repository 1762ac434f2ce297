"""Tables of results: their columns, their order, and how they are written as text and as CSV. Pure.

A table is a list of records and the columns that can be shown of them. Only its text depends on the terminal: where it
is too narrow, columns are left out, and no word is broken.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import attrs

from ..errors import ConfigurationError
from .suggestions import did_you_mean

__all__ = [
    "GAP",
    "Column",
    "Columns",
    "as_csv",
    "as_text",
    "cell",
    "columns_of",
    "natural",
    "ordered",
    "printable",
]

R = TypeVar("R")

GAP = 2
"""The spaces between two columns."""
_FORMULAS = ("=", "+", "-", "@")
"""What begins a formula in a spreadsheet."""


@attrs.frozen
class Column(Generic[R]):
    """One column. ``wide``: only shown if it is asked for; ``rank``: without room, the highest are left out first."""

    name: str
    value: Callable[[R], object]
    rank: int = 50
    wide: bool = False

    @property
    def key(self) -> str:
        """The name as it is written in options and in CSV: ``per_hour``."""
        return _key(self.name)


@attrs.frozen
class Columns(Generic[R]):
    """The columns of one kind of record; ``id`` and ``name`` return what identifies one, as commands take it."""

    every: Sequence[Column[R]]
    id: Callable[[R], object]
    name: Callable[[R], object]

    @property
    def usual(self) -> list[Column[R]]:
        """Those that are shown if nothing is asked for."""
        return [column for column in self.every if not column.wide]

    def named(self, text: str, flag: str) -> Column[R]:
        """Return a column by its name, in any case. Raises `ConfigurationError`."""
        known = {column.key: column for column in self.every}
        found = known.get(_key(text))
        if found is None:
            hint = did_you_mean(_key(text), known) or f"; known are {', '.join(known)}"
            raise ConfigurationError(f"{flag}: there is no column {text.strip()!r}{hint}")
        return found

    def chosen(self, text: str) -> list[Column[R]]:
        """Return the columns that a list of names such as ``id,name`` asks for. Raises `ConfigurationError`."""
        return [self.named(name, "--columns") for name in text.split(",")]


def _key(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip()).lower()


def ordered(rows: Sequence[R], columns: Columns[R], order: str) -> list[int]:
    """Return the places of the rows in an order such as ``name`` or ``name:desc``. Raises `ConfigurationError`.

    Names are ordered as people count, ``web-2`` before ``web-10``. What is not known is last in either direction.
    """
    name, colon, direction = order.partition(":")
    if colon and direction not in ("asc", "desc"):
        raise ConfigurationError(f"--sort {order!r}: a direction is asc or desc, as in {name}:desc")
    value = columns.named(name, "--sort").value
    keys = {place: value(row) for place, row in enumerate(rows)}
    known = [place for place, found in keys.items() if found not in (None, "")]
    known.sort(key=lambda place: _sort_key(keys[place]), reverse=direction == "desc")
    return [*known, *(place for place, found in keys.items() if found in (None, ""))]


def _sort_key(value: object) -> tuple[int, Any]:
    if isinstance(value, int | float | Decimal):
        return 0, value
    if isinstance(value, datetime):
        return 1, value.timestamp()
    return 2, natural(cell(value))


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Return the key that orders texts as people count: numbers first, by their values."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text.casefold())
    return [_number(part) if part[0] in "0123456789" else (True, 0, part) for part in parts]


def _number(digits: str) -> tuple[bool, int, str]:
    # not as an integer: Python refuses to read thousands of digits
    known = digits.lstrip("0")
    return False, len(known), known


def as_text(
    rows: Sequence[R], columns: Sequence[Column[R]], *, room: int | None = None, headers: bool = True
) -> list[str]:
    """Return the lines of a table. ``room``: the characters of a line, into which the columns are to fit."""
    cells = [[cell(column.value(row)) for column in columns] for row in rows]
    heads = [[column.name for column in columns]] if headers else []
    widths = [max(map(len, column), default=0) for column in zip(*heads, *cells, strict=True)]
    kept = range(len(widths)) if room is None else _fitting(widths, columns, room)
    return [(" " * GAP).join(line[n].ljust(widths[n]) for n in kept).rstrip() for line in (*heads, *cells)]


def _fitting(widths: Sequence[int], columns: Sequence[Column[Any]], room: int) -> list[int]:
    """Return the columns to show: the most important one, and of the others, in their order, as many as fit."""
    kept: list[int] = []
    for n in sorted(range(len(widths)), key=lambda n: columns[n].rank):
        width = sum(widths[other] + GAP for other in kept) + widths[n]
        if not kept or width <= room:
            kept.append(n)
    return sorted(kept)


def as_csv(rows: Sequence[R], columns: Sequence[Column[R]], *, headers: bool = True) -> str:
    """Return the table as CSV: a comma, double quotes where they are needed, and lines that end in a line feed.

    Texts can come from the network: control characters are replaced, and an apostrophe keeps what looks like a formula
    from being one in a spreadsheet.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if headers:
        writer.writerow([column.key for column in columns])
    writer.writerows([_field(column.value(row)) for column in columns] for row in rows)
    return out.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = cell(value) if value != "" else ""
    is_text = not isinstance(value, int | float | Decimal)
    return f"'{text}" if is_text and text.startswith(_FORMULAS) else text


def cell(value: object) -> str:
    """Return a value as a cell of a table."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return printable(text)


def printable(text: str) -> str:
    """Replace control characters: texts from the network must not control the terminal."""
    return "".join(char if char.isprintable() else "�" for char in text)


def columns_of(names: Iterable[str]) -> list[Column[Sequence[object]]]:
    """Return columns of rows that are sequences, with the given names."""

    def at(number: int) -> Callable[[Sequence[object]], object]:
        return lambda row: row[number]

    return [Column(name, at(number), rank=number) for number, name in enumerate(names)]
