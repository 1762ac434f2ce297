"""Commands, and the ledger: the changes that were committed, whatever answer the client got."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from .records import ServerId


@frozen
class Command:
    """One call of the API, read and validated: an operation, its server, its fields."""

    operation: str
    server_id: ServerId | None = None
    fields: Mapping[str, Any] = field(factory=dict[str, Any])


@frozen
class Change:
    """A change that was committed, and the request that caused it."""

    seq: int
    at: float
    """Seconds of the world's clock."""
    operation: str
    server_id: ServerId | None
    """None for a change of an SSH key, whose name is then in `name`."""
    name: str
    status: str
    """The server's status after the change; `deleted` after a delete, `added` for a key."""
    request: int | None
    """The number of the request in the request log."""
