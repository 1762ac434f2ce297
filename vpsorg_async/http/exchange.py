"""One HTTP exchange as data: what is asked, what was answered, and what is known of one that failed.

No I/O, no clock.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import attrs

from ..errors import Sent
from .options import Call

__all__ = ["Operation", "Priority", "Repeat", "Request", "Response", "Sent", "segment"]


class Repeat(enum.Enum):
    """Whether a request may be sent again after it may have been carried out."""

    SAFE = "safe"
    """Carrying it out twice is the same as once."""
    NEVER = "never"
    """It could happen twice: one more server, one more reboot. Read the account instead."""


class Operation(enum.Enum):
    """What a request is for. The value is the word used in events and messages."""

    LIST = "list"
    GET = "get"
    CREATE = "create"
    REPLACE = "replace"
    UPDATE = "update"
    DELETE = "delete"
    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    READ = "read"
    CHANGE = "change"

    @property
    def repeat(self) -> Repeat:
        """The rule for this operation; start, stop and PATCH are looked up afterwards rather than repeated."""
        return Repeat.SAFE if self in _SAFE else Repeat.NEVER


_SAFE = frozenset({Operation.LIST, Operation.GET, Operation.READ, Operation.REPLACE, Operation.DELETE})


class Priority(enum.IntEnum):
    """Who goes first when the slots are short: calls of the user, then bulk changes, then polls."""

    USER = 0
    BULK = 1
    POLL = 2


def segment(value: int | str) -> str:
    """One path segment, percent-escaped so that no id can reach another path."""
    return str(value) if isinstance(value, int) else quote(value, safe="")


# not frozen, for the price of it: each read makes one of either, and freezing costs more than a decode does
@attrs.define(unsafe_hash=True)
class Request:
    """What is asked: method, path from the origin with its query, and a JSON body already encoded."""

    operation: Operation
    method: str
    path: str
    body: bytes | None = attrs.field(default=None, repr=False)
    max_body: int | None = None
    """Bytes of the answer that are read at most; None: the client's limit for one server."""
    may_repeat: bool = True
    """False: the caller wants no second attempt, whatever the operation allows."""
    known: bytes | None = attrs.field(default=None, repr=False)
    """The answer that is likely, because it was the last one: an equal body is not kept twice, but is this object."""
    left: bool = attrs.field(default=False, eq=False, repr=False)
    """Set by the transport: an attempt to change something has left this machine, and may have been carried out."""

    call: Call | None = attrs.field(default=None, eq=False, repr=False)
    """What the call that sends it has of its own; None: nothing."""

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


def with_query(path: str, **params: str | None) -> str:
    """The path with those parameters that are given."""
    query = urlencode({name: value for name, value in params.items() if value is not None})
    return f"{path}?{query}" if query else path


@attrs.define(kw_only=True, unsafe_hash=True)
class Response:
    """What was answered. ``requested_at`` and ``received_at`` are monotonic seconds of the client's clock.

    Its repr leaves out what came over the wire: a traceback that shows local variables must not show an echoed token.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names in any case."""
    body: bytes = attrs.field(repr=False)
    requested_at: float
    received_at: float
    cut_at: int | None = None
    """The bytes allowed, where the body was longer: of a good answer nothing is kept, of an error the beginning."""
