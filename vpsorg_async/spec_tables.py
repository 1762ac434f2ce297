"""The specs that a TOML or JSON file contains, read from its plain data. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .conversion import raise_problems, try_read
from .specs import ServerSpec

__all__ = ["read_specs"]


def read_specs(data: object) -> list[ServerSpec]:
    """Read specs from plain data, as a TOML or JSON file contains them.

    The data is a list of objects, or an object with ``servers`` (such a list) and, optionally, ``defaults`` for all of
    them. Reading is strict: ``"12"`` is not 12, and a key that is not a field of `ServerSpec` is refused. Raises
    `ConfigurationError` with a line such as ``$.servers[2].plan_id: expected an integer or a string, not true`` for
    each problem.
    """
    table: Mapping[str, Any] = data if isinstance(data, dict) else {"servers": data}
    rows, defaults = table.get("servers"), table.get("defaults", {})
    base = "$.servers" if table is data else "$"
    problems = [
        f"$.{key}: unknown; known are servers and defaults"
        for key in table
        if key not in ("servers", "defaults")
    ]
    if not isinstance(defaults, dict):
        problems.append("$.defaults: expected a table")
    if not isinstance(rows, list):
        problems.append(
            f"{base}: expected a list of servers" + ("" if "servers" in table else ", found none")
        )
    elif not rows:
        problems.append(f"{base}: the list is empty")
    specs: list[ServerSpec] = []
    for index, row in enumerate(rows if isinstance(rows, list) and not problems else ()):
        place = f"{base}[{index}]"
        if not isinstance(row, dict):
            problems.append(f"{place}: expected a table")
            continue
        for problem in _spec_problems({**defaults, **row}, place, specs):
            field = problem.removeprefix(f"{place}.").partition(":")[0]
            if field in defaults and field not in row:
                problem = problem.replace(place, "$.defaults", 1)
            if problem not in problems:
                problems.append(problem)
    raise_problems(problems)
    return specs


def _spec_problems(row: dict[str, Any], place: str, specs: list[ServerSpec]) -> list[str]:
    """Read one row into ``specs``, or return its problems as lines with their places."""
    # ids of either dialect are allowed, but an id of digits was meant as a number
    problems = [
        f"{place}.{name}: expected an integer, not {json.dumps(value)}"
        for name, value in row.items()
        if name.endswith("_id") and isinstance(value, str) and value.isdecimal()
    ]
    if problems:
        return problems
    spec, problems = try_read(row, ServerSpec, place)
    if not problems:
        specs.append(spec)
    return problems
