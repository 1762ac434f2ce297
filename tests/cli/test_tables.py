"""Tables as text and as CSV: columns, order, widths, and texts that come from the network."""

import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from vpsorg_async.cli.tables import Column, Columns, as_csv, as_text, ordered
from vpsorg_async.errors import ConfigurationError

Row = dict[str, Any]


def column(name: str, **options: Any) -> Column[Row]:
    return Column(name, lambda row: row.get(name), **options)


ID, NAME, STATUS, NOTE = (
    column("ID", rank=2),
    column("NAME", rank=0),
    column("STATUS", rank=1),
    column("PER HOUR", rank=3),
)
EVERY = Columns((ID, NAME, STATUS, NOTE), id=lambda row: row["ID"], name=lambda row: row["NAME"])


def names(rows: list[Row], order: str) -> list[object]:
    return [rows[place].get("NAME") for place in ordered(rows, EVERY, order)]


def test_the_order_of_names() -> None:
    """Names are ordered as people count, in either direction; what is not known is last in both."""
    rows = [
        {"NAME": name} for name in ("web-10", "Web-2", None, "web-01", "db-1", "7", "", "web-" + "9" * 5000)
    ]

    assert names(rows, "name") == ["7", "db-1", "web-01", "Web-2", "web-10", "web-" + "9" * 5000, None, ""]
    assert names(rows, "NAME:desc")[:2] == ["web-" + "9" * 5000, "web-10"]
    assert names(rows, "name:desc")[-2:] == [None, ""]


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("0.007"), Decimal("0.03"), Decimal(10)],
        [1, 2, 10],
        [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 30)],
        ["127.77.0.2", "127.77.0.10"],
        [5, "0b0e7a52"],
    ],
)
def test_the_order_of_values(values: list[Any]) -> None:
    """Numbers and times are ordered by what they are, also where a list has numbers and texts."""
    rows = [{"PER HOUR": value} for value in reversed(values)]
    assert [rows[place]["PER HOUR"] for place in ordered(rows, EVERY, "per-hour")] == values


@pytest.mark.parametrize("order", ["nmae", "name:down", "", ":desc"])
def test_an_order_that_is_none(order: str) -> None:
    """An unknown column or direction is refused, also before there are any rows."""
    with pytest.raises(ConfigurationError, match="--sort"):
        ordered((), EVERY, order)


def test_the_choice_of_columns() -> None:
    """Columns are named in any case, and shown in the order in which they are named."""
    assert EVERY.chosen("Per-Hour, id") == [NOTE, ID]
    with pytest.raises(ConfigurationError, match=r"no column 'stats'; did you mean 'status'\?"):
        EVERY.chosen("id,stats")
    with pytest.raises(ConfigurationError, match="known are id, name, status, per_hour"):
        EVERY.chosen("id,")


@pytest.mark.parametrize(
    ("room", "head"),
    [
        (200, ["ID", "NAME", "STATUS", "PER", "HOUR"]),
        (58, ["ID", "NAME", "STATUS"]),
        # the id does not fit beside the name and the status, but what is less important does
        (40, ["NAME", "STATUS", "PER", "HOUR"]),
        (20, ["NAME", "STATUS"]),
        (3, ["NAME"]),
        (None, ["ID", "NAME", "STATUS", "PER", "HOUR"]),
    ],
)
def test_columns_that_do_not_fit(room: int | None, head: list[str]) -> None:
    """In a narrow terminal columns are left out, the least important first, and no line is longer than it."""
    row = {
        "ID": "0b0e7a52-2a5c-4a35-9f3c-0a8f9a1b2c3d",
        "NAME": "web-1",
        "STATUS": "provisioning",
        "PER HOUR": "1",
    }
    lines = as_text([row], EVERY.every, room=room)

    assert lines[0].split() == head
    assert len(head) == 1 or all(len(line) <= (room or 999) for line in lines)


def test_texts_of_the_network() -> None:
    """Neither a line nor a cell of a table is made by a name; a formula in a CSV stays a text."""
    hostile = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", 'a",b\nc', "\x1b[2J", "a\r\n"]
    rows = [{"NAME": name, "ID": -1} for name in hostile]

    written = as_csv(rows, (NAME, ID, STATUS))
    read = list(csv.reader(io.StringIO(written)))

    assert read[0] == ["name", "id", "status"]
    assert [line[0] for line in read[1:5]] == [f"'{name}" for name in hostile[:4]]
    assert [line[1:] for line in read[1:]] == [["-1", ""]] * len(rows)
    assert read[5][0] == 'a",b�c'
    assert written.count("\n") == len(rows) + 1
    assert "\x1b" not in written
    assert len(as_text(rows, (NAME, ID))) == len(rows) + 1


def test_values() -> None:
    """In a table yes and a dash; in CSV true and nothing. Times are the same in both."""
    at = datetime(2026, 11, 29, 16, 0, tzinfo=UTC)
    row = {"ID": None, "NAME": at, "STATUS": True, "PER HOUR": Decimal("0.030")}

    assert as_text([row], EVERY.every, headers=False) == [
        "-   2026-11-29T16:00:00Z  yes  0.030".replace("-   2", "-  2")
    ]
    assert as_csv([row], EVERY.every, headers=False) == ",2026-11-29T16:00:00Z,true,0.030\n"
    assert as_csv([], EVERY.every) == "id,name,status,per_hour\n"
