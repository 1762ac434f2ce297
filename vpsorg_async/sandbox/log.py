"""The request log: every request that reached the sandbox, what was answered, and whether it was committed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import evolve, frozen

LIMIT: Final = 100_000
"""So many requests are kept; older ones are counted in `forgotten`."""


@frozen
class Entry:
    """One request. The token is never in it."""

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
    """True if a change in the ledger was caused by this request, be it after the answer."""
    connection: int
    """Number of the connection, in the order in which they were opened."""
    port: int
    """The client's port."""


class RequestLog:
    """Requests by number. Whether one was committed is the ledger's word, and asked for when reading."""

    def __init__(self, token: str, limit: int = LIMIT) -> None:
        self.forgotten = 0
        self._token = token
        self._limit = limit
        self._seq = 0
        self._entries: dict[int, Entry] = {}

    def open(
        self, at: float, method: str, path: str, query: str, fault: str | None, connection: int, port: int
    ) -> int:
        """Note a request that has arrived; returns its number."""
        self._seq += 1
        path, query = (text.replace(self._token, "[token]") for text in (path, query))
        self._entries[self._seq] = Entry(
            self._seq, at, method, path, query, None, fault, False, connection, port
        )
        if len(self._entries) > self._limit:
            del self._entries[next(iter(self._entries))]
            self.forgotten += 1
        return self._seq

    def answered(self, seq: int, status: int | None) -> None:
        """Note what was answered."""
        if seq in self._entries:
            self._entries[seq] = evolve(self._entries[seq], status=status)

    def clear(self) -> None:
        """Forget all requests. Numbers go on, so that one still in flight is not taken for a new one."""
        self._entries.clear()
        self.forgotten = 0

    def entries(self, committed: Collection[int | None], since: int = 0) -> tuple[Entry, ...]:
        """The requests after number `since`; `committed` are the numbers that the ledger names."""
        return tuple(
            evolve(entry, committed=seq in committed) for seq, entry in self._entries.items() if seq > since
        )
