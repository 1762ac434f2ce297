"""One HTTP exchange as data: the request, the response, and what is known about a failed one.

No I/O, no clock.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import attrs

from ..errors import RequestError, Sent
from .options import Call

__all__ = ["Operation", "Priority", "Repeat", "Request", "Response", "Sent", "segment"]


E = TypeVar("E", bound=RequestError)


class Repeat(enum.Enum):
    """Whether a request may be sent again after it may have been applied."""

    SAFE = "safe"
    """Applying it twice is the same as applying it once."""
    NEVER = "never"
    """A second one would have its own effect: one more server, one more reboot. Read the account instead."""


class Operation(enum.Enum):
    """The purpose of a request. The value is the word used in events and messages."""

    LIST = "list"
    GET = "get"
    CREATE = "create"
    REPLACE = "replace"
    UPDATE = "update"
    DELETE = "delete"
    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    HARD_STOP = "hard_stop"
    SNAPSHOT = "snapshot"
    BACKUP = "backup"
    RESIZE = "resize"
    READ = "read"
    CHANGE = "change"

    @property
    def repeat(self) -> Repeat:
        """The rule for this operation. After a lost start, stop or PATCH the client reads the server instead."""
        return Repeat.SAFE if self in _SAFE else Repeat.NEVER


_SAFE = frozenset({Operation.LIST, Operation.GET, Operation.READ, Operation.REPLACE, Operation.DELETE})


class Priority(enum.IntEnum):
    """The order in which requests get slots: calls of the user, then bulk changes, then polls."""

    USER = 0
    BULK = 1
    POLL = 2


def segment(value: int | str) -> str:
    """Return one path segment, percent-escaped so that no id can reach another path."""
    return str(value) if isinstance(value, int) else quote(value, safe="")


# not frozen, because each read creates one of each, and freezing costs more CPU than decoding
@attrs.define(unsafe_hash=True)
class Request:
    """A request: method, path from the origin with its query, and an encoded JSON body."""

    operation: Operation
    method: str
    path: str
    body: bytes | None = attrs.field(default=None, repr=False)
    max_body: int | None = None
    """The maximum size of the answer in bytes; None: the client's limit for one server."""
    may_repeat: bool = True
    """False: the caller wants no retry, whatever the operation allows."""
    known: bytes | None = attrs.field(default=None, repr=False)
    """The expected answer, usually the last one. If the new body is equal, this object is used instead of a copy."""
    left: bool = attrs.field(default=False, eq=False, repr=False)
    """Set by the transport: an attempt had a connection, so it has left this machine and may have been applied."""

    over: bool = attrs.field(default=False, eq=False, repr=False)
    """Set by the transport: its deadline passed or its client was closed, so that no attempt follows."""

    attempts: int = attrs.field(default=0, eq=False, repr=False)
    """Set by the session: the number of attempts sent so far, the present one included."""

    call: Call | None = attrs.field(default=None, eq=False, repr=False)
    """The options of the call that sends it; None: those of the client."""

    def about(self, error: E) -> E:
        """Return the error, which the answer to this request means, with the request and its attempts."""
        error.request, error.attempts = str(self), self.attempts or 1
        return error

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


def with_query(path: str, **params: str | None) -> str:
    """Return the path with the parameters that are not None."""
    query = urlencode({name: value for name, value in params.items() if value is not None})
    return f"{path}?{query}" if query else path


@attrs.define(kw_only=True, unsafe_hash=True)
class Response:
    """A response. ``requested_at`` and ``received_at`` are monotonic seconds of the client's clock.

    Its repr leaves out what came over the wire, because a traceback with local variables must not show an echoed token.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """The names can be in any case."""
    body: bytes = attrs.field(repr=False)
    requested_at: float
    received_at: float
    cut_at: int | None = None
    """The cap in bytes, if the body was longer. Nothing is kept of such a good answer, the beginning of an error."""
