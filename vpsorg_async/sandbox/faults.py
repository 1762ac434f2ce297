"""What can go wrong, as data: the actions of a fault rule. No I/O.

The actions of one rule act together on one request. At most one of them is an ending, which decides what the
client gets instead of the plain answer; the others set something up. An ending says whether the change that was
asked for is applied: always, never, or by its `applied`.

    setting up   delay  lag  hide_created  set_status  suspend  vanish  commit_later
    never        drop_before  rate_limit
    always       drop_after  half_headers  half_body  malformed_chunk  dribble  huge_body  gzip_bomb
    by choice    html  reply  redirect  garbage  never_answer

The names are those of the JSON form, `{"operation": "create", "times": 1, "actions": [{"do": "drop_after"}]}`.
Delays and pauses are real seconds; lag, hiding, late commits and statuses go by the sandbox's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from attrs import field, frozen

from . import checks
from .records import ServerId


class Action:
    """One thing that a rule does. `do` is its name in the JSON form."""

    do: ClassVar[str]


class Ending(Action):
    """An action that decides what the client gets."""

    applied: bool


@frozen
class Delay(Action):
    """Wait real `seconds` before the request is applied; with `after`, between that and the answer."""

    do = "delay"
    seconds: float = field(validator=checks.seconds)
    after: bool = field(default=False, validator=checks.boolean)


@frozen
class Lag(Action):
    """From this request on, reads answer the state of `seconds` ago, for `lasting` seconds (as long, if None)."""

    do = "lag"
    seconds: float = field(validator=checks.seconds)
    lasting: float | None = field(default=None, validator=checks.optional(checks.seconds))


@frozen
class HideCreated(Action):
    """The server that this create makes is not seen for `seconds`: 404 by id, and absent from lists."""

    do = "hide_created"
    seconds: float = field(validator=checks.seconds)
    by_id: bool = field(default=True, validator=checks.boolean)
    in_list: bool = field(default=True, validator=checks.boolean)


@frozen
class OnServer(Action):
    """An action on the server that the request names or makes, or on `server_id`."""

    server_id: ServerId | None = field(
        default=None, kw_only=True, validator=checks.optional(checks.server_id)
    )


@frozen
class SetStatus(OnServer):
    """Give the server a status word, for `seconds` if given, and the status `then` after them."""

    do = "set_status"
    word: str = field(validator=checks.text)
    seconds: float | None = field(default=None, validator=checks.optional(checks.seconds))
    then: str = field(default="active", validator=checks.text)


@frozen
class Suspend(OnServer):
    """Suspend the server."""

    do = "suspend"


@frozen
class Vanish(OnServer):
    """Let the server be gone: before the request is applied, or after it if that made it."""

    do = "vanish"


@frozen
class CommitLater(Action):
    """Apply the change `seconds` after the answer. Without an ending of its own: 504 from a proxy."""

    do = "commit_later"
    seconds: float = field(validator=checks.seconds)


@frozen
class DropBefore(Ending):
    """Close the connection, nothing applied. `how`: "fin" for an orderly close, "rst" for a reset."""

    do = "drop_before"
    applied = False
    how: str = field(default="fin", validator=checks.choice("fin", "rst"))


@frozen
class DropAfter(Ending):
    """Apply, then close the connection without an answer. `how`: "fin" or "rst"."""

    do = "drop_after"
    applied = True
    how: str = field(default="fin", validator=checks.choice("fin", "rst"))


@frozen
class HalfHeaders(Ending):
    """Apply, then break off in the middle of the answer's headers."""

    do = "half_headers"
    applied = True


@frozen
class HalfBody(Ending):
    """Apply, then break off in the middle of the answer's body (of the headers, if it has none)."""

    do = "half_body"
    applied = True


@frozen
class MalformedChunk(Ending):
    """Apply, send the headers, and real `pause` seconds later, in a segment of its own, a chunk that is none."""

    do = "malformed_chunk"
    applied = True
    pause: float = field(default=0.05, validator=checks.seconds)


@frozen
class Dribble(Ending):
    """Apply, then send the answer `size` bytes at a time, with real `pause` seconds in between."""

    do = "dribble"
    applied = True
    size: int = field(default=1, validator=checks.count)
    pause: float = field(default=0.05, validator=checks.seconds)


@frozen
class HugeBody(Ending):
    """Apply, then answer with `size` bytes of white space before the JSON."""

    do = "huge_body"
    applied = True
    size: int = field(default=64 * 2**20, validator=checks.count)


@frozen
class GzipBomb(Ending):
    """Apply, then answer as `huge_body` does, but compressed: about a thousandth of `size` on the wire."""

    do = "gzip_bomb"
    applied = True
    size: int = field(default=256 * 2**20, validator=checks.count)


@frozen
class Html(Ending):
    """An HTML page, as a proxy in front of the API would send it."""

    do = "html"
    status: int = field(default=502, validator=checks.status)
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class Reply(Ending):
    """Any answer: a text `body` as it is, another one as JSON, none as `{"detail": <phrase>}`."""

    do = "reply"
    status: int = field(validator=checks.status)
    body: Any = None
    headers: Mapping[str, str] = field(factory=dict, validator=checks.headers)
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class RateLimit(Ending):
    """429. `retry_after`: seconds, a text to send as it is, or None for no such header; `as_date`: as HTTP date."""

    do = "rate_limit"
    applied = False
    retry_after: float | str | None = field(default=1, validator=checks.retry_after)
    as_date: bool = field(default=False, validator=checks.boolean)


@frozen
class Redirect(Ending):
    """A redirect to `location`."""

    do = "redirect"
    location: str = field(validator=checks.line)
    status: int = field(default=307, validator=checks.choice(301, 302, 303, 307, 308))
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class Garbage(Ending):
    """Bytes that are not HTTP."""

    do = "garbage"
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class NeverAnswer(Ending):
    """Keep the connection open and say nothing."""

    do = "never_answer"
    applied: bool = field(default=False, validator=checks.boolean)


ACTIONS: Final[Mapping[str, type[Action]]] = MappingProxyType(
    {
        kind.do: kind
        for kind in (
            *(Delay, Lag, HideCreated, SetStatus, Suspend, Vanish, CommitLater),
            *(DropBefore, DropAfter, HalfHeaders, HalfBody, MalformedChunk, Dribble, HugeBody, GzipBomb),
            *(Html, Reply, RateLimit, Redirect, Garbage, NeverAnswer),
        )
    }
)
"""Every action by its name in the JSON form."""
