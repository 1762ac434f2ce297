"""Writes the tables in the guides from the data that the code acts by: `python docs/tables.py`."""

from __future__ import annotations

import re
from pathlib import Path

from vpsorg_async import errors
from vpsorg_async.lifecycle.contract import CONTRACT

HERE = Path(__file__).parent


def contract() -> str:
    """The contract of waiting."""
    rows = [f"| {rule.when} | {rule.does} |" for rule in CONTRACT.values()]
    return "\n".join(["| what a poll shows | the wait |", "| --- | --- |", *rows])


def final() -> str:
    """Which errors are worth another try."""
    kinds = [getattr(errors, name) for name in errors.__all__ if name not in ("FleetError", "Sent")]
    rows = [
        f"| {value} | {', '.join(f'`{kind.__name__}`' for kind in kinds if kind.final is value)} |"
        for value in (True, False)
    ]
    return "\n".join(["| `final` | errors |", "| --- | --- |", *rows])


TABLES = {"waits.md": {"contract": contract}, "reference/errors.md": {"final": final}}

if __name__ == "__main__":
    for name, tables in TABLES.items():
        guide = (HERE / name).read_text("utf-8")
        for mark, table in tables.items():
            block = re.compile(rf"(<!-- {mark} -->\n).*?(\n<!-- end -->)", re.S)
            guide = block.sub(lambda found, table=table: f"{found[1]}{table()}{found[2]}", guide)
        (HERE / name).write_text(guide, "utf-8")
