"""The specs that a TOML or JSON file contains, read from its plain data. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from .conversion import raise_problems, try_read
from .specs import ServerSpec

__all__ = ["read_rows", "read_specs"]

T = TypeVar("T")


def read_specs(data: object) -> list[ServerSpec]:
    """Read specs from plain data, as a TOML or JSON file contains them.

    The data is a list of objects, or an object with ``servers`` (such a list) and, optionally, ``defaults`` for all of
    them. Reading is strict: ``"12"`` is not 12, and a key that is not a field of `ServerSpec` is refused. Raises
    `ConfigurationError` with a line such as ``$.servers[2].plan_id: expected an integer or a string, not true`` for
    each problem.
    """
    return read_rows(data, "servers", ServerSpec, "servers")


def read_rows(data: object, key: str, kind: type[T], what: str) -> list[T]:
    """Read records of one kind from plain data: a list, or a table that has it under a key, with ``defaults`` or not.

    ``what`` names the records in messages. Raises `ConfigurationError`.
    """
    table: Mapping[str, Any] = data if isinstance(data, dict) else {key: data}
    rows, defaults = table.get(key), table.get("defaults", {})
    base = f"$.{key}" if table is data else "$"
    problems = [
        f"$.{other}: unknown; known are {key} and defaults"
        for other in table
        if other not in (key, "defaults")
    ]
    if not isinstance(defaults, dict):
        problems.append("$.defaults: expected a table")
    if not isinstance(rows, list):
        problems.append(f"{base}: expected a list of {what}" + ("" if key in table else ", found none"))
    elif not rows:
        problems.append(f"{base}: the list is empty")
    records: list[T] = []
    for index, row in enumerate(rows if isinstance(rows, list) and not problems else ()):
        place = f"{base}[{index}]"
        if not isinstance(row, dict):
            problems.append(f"{place}: expected a table")
            continue
        for problem in _problems({**defaults, **row}, place, kind, records):
            field = problem.removeprefix(f"{place}.").partition(":")[0]
            if field in defaults and field not in row:
                problem = problem.replace(place, "$.defaults", 1)
            if problem not in problems:
                problems.append(problem)
    raise_problems(problems)
    return records


def _digits(row: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield a line for each id of digits in quotes: ids of either dialect are allowed, but it was meant as a number."""
    for name, value in row.items():
        if name.endswith("_id") and isinstance(value, str) and value.isdecimal():
            yield f"{place}.{name}: expected an integer, not {json.dumps(value)}"
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from _digits(item, f"{place}.{name}[{index}]") if isinstance(item, dict) else ()


def _problems(row: dict[str, Any], place: str, kind: type[T], records: list[T]) -> list[str]:
    """Read one row into ``records``, or return its problems as lines with their places."""
    problems = [*_digits(row, place)]
    if problems:
        return problems
    record, problems = try_read(row, kind, place)
    if not problems:
        records.append(record)
    return problems
