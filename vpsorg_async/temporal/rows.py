"""The rows of a fleet workflow: one for each server, plain JSON. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any

__all__ = ["RowBook"]

PAGE = 1000
MAX_FAILURES = 1000
"""In a summary, so that it stays within the engine's limit for one payload, as a page of rows does."""
MAX_MESSAGE = 600
"""Bytes of a message in JSON, for the same reason: one character of a service's text can take twelve."""


class RowBook:
    """The rows so far, in the order of the request."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._keys: dict[str, Any] = {}
        self._rows: dict[str, dict[str, Any]] = {}

    def begin(self, keys: Sequence[Any], rows: Iterable[dict[str, Any]]) -> None:
        """Expect a row for each key; some have theirs already."""
        self._keys = {str(key): key for key in keys}
        self.add(rows)

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Record the rows of servers."""
        self._rows.update((str(row["key"]), _clipped(row)) for row in rows)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows so far."""
        return [*self._rows.values()]

    def has(self, key: str) -> bool:
        """Return whether a key has its row."""
        return key in self._rows

    def outcome(self, key: str) -> str:
        """Return the outcome of a key; ``open`` while it has none."""
        outcome: str = self._rows.get(key, {}).get("outcome", "open")
        return outcome

    def key(self, key: str) -> Any:
        """Return a key as it was given."""
        return self._keys[key]

    def with_outcomes(self, outcomes: Collection[str]) -> list[str]:
        """Return the keys of servers with these outcomes."""
        return [key for key, row in self._rows.items() if row["outcome"] in outcomes]

    def withdraw(self, keys: Iterable[str]) -> None:
        """Remove the rows of these keys: they are open again."""
        for key in keys:
            del self._rows[key]

    def counts(self) -> dict[str, Any]:
        """Return the number of servers by outcome."""
        counted = Counter(row["outcome"] for row in self._rows.values())
        return {
            "operation": self._operation,
            "total": len(self._keys),
            "succeeded": counted["succeeded"],
            "failed": counted["failed"],
            "skipped": counted["skipped"],
            "open": len(self._keys) - len(self._rows),
        }

    def page(self, page: Any) -> dict[str, Any]:
        """Return a page of rows; a server without an outcome is ``open``."""
        pages = max(1, -(-len(self._keys) // PAGE))
        first = page * PAGE if isinstance(page, int) and 0 <= page < pages else len(self._keys)
        keys = [*self._keys][first : first + PAGE]
        rows = [self._rows.get(key, {"key": self._keys[key], "outcome": "open"}) for key in keys]
        return {"page": page, "pages": pages, "rows": rows}

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return the `FleetSummary` as plain data."""
        counts = self.counts()
        failures = [
            self._rows[key] for key in self._keys if self._rows.get(key, {}).get("outcome") == "failed"
        ]
        return {
            "vpsorg": 1,
            "type": "FleetSummary",
            "operation": self._operation,
            "succeeded": counts["succeeded"],
            "failed": counts["failed"],
            "skipped": counts["skipped"],
            "failures": failures[:MAX_FAILURES],
            "seconds": round(seconds, 3),
        }


def _clipped(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with a message that is short enough."""
    message = row.get("message")
    if not message or len(json.dumps(message)) <= MAX_MESSAGE:
        return row
    while len(json.dumps(message)) > MAX_MESSAGE - len("..."):
        message = message[: len(message) * 9 // 10]
    return {**row, "message": f"{message}..."}
