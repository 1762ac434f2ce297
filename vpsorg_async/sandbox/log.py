"""The request log: every request that reached the sandbox, its answer, and whether it was committed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import evolve, frozen

LIMIT: Final = 100_000
"""The number of requests that are kept; older ones are counted in `forgotten`."""


@frozen
class Entry:
    """One request. It never contains the token."""

    seq: int
    at: float
    """Seconds of the sandbox's clock."""
    method: str
    path: str
    query: str
    status: int | None
    """The status sent; None if no complete status line was sent, or not yet."""
    fault: str | None
    """The actions of the rule that fired, e.g. `commit_later+html`."""
    committed: bool
    """True if this request caused a change in the ledger, even after the answer."""
    connection: int
    """The number of the connection, in the order of opening."""
    port: int
    """The client's port."""


class RequestLog:
    """Requests by number. Whether a request was committed is looked up in the ledger when the log is read."""

    def __init__(self, token: str, limit: int = LIMIT) -> None:
        self.forgotten: int = 0
        self._tokens = [token]
        self._limit = limit
        self._seq = 0
        self._entries: dict[int, Entry] = {}

    def open(
        self, at: float, method: str, path: str, query: str, fault: str | None, connection: int, port: int
    ) -> int:
        """Log a request that has arrived, and return its number."""
        self._seq += 1
        for token in self._tokens:
            path, query = path.replace(token, "[token]"), query.replace(token, "[token]")
        self._entries[self._seq] = Entry(
            self._seq, at, method, path, query, None, fault, False, connection, port
        )
        if len(self._entries) > self._limit:
            del self._entries[next(iter(self._entries))]
            self.forgotten += 1
        return self._seq

    def hide(self, token: str) -> None:
        """Never log this token either."""
        self._tokens.append(token)

    def answered(self, seq: int, status: int | None) -> None:
        """Log the status of the answer."""
        if seq in self._entries:
            self._entries[seq] = evolve(self._entries[seq], status=status)

    def clear(self) -> None:
        """Drop all requests. The numbers continue, so that a request in flight is not mistaken for a new one."""
        self._entries.clear()
        self.forgotten = 0

    def entries(self, committed: Collection[int | None], since: int = 0) -> tuple[Entry, ...]:
        """Return the requests after number `since`; `committed` has the numbers that the ledger names."""
        return tuple(
            evolve(entry, committed=seq in committed) for seq, entry in self._entries.items() if seq > since
        )
