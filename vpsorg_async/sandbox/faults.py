"""The faults that can be injected, as data: the actions of a rule. No I/O.

All actions of one rule act on the same request. At most one of them is an ending, which decides what the client gets
instead of the plain answer. Shapes change what the plain answer shows. The other actions prepare something. An ending
says whether the requested change is applied: always, never, or by its `applied`::

    preparing    delay  lag  hide_created  set_status  set_boot  suspend  vanish  commit_later  fold_names
                 soft_delete
    shapes       paged  ignore_page  short_list  next_link  odd_field  omit_field
    never        drop_before  rate_limit
    always       drop_after  half_headers  half_body  malformed_chunk  dribble  huge_body  gzip_bomb
    by choice    html  gateway  refuse  reply  redirect  garbage  never_answer

What can be combined:

- any number of shapes, with each other and with preparing actions. A list is cut into pages first; the other shapes act
  in their order
- shapes need the plain answer to be sent: of the endings they can be combined with half_body, malformed_chunk, dribble,
  huge_body and gzip_bomb only, and they can't be combined with commit_later
- fold_names and soft_delete act on the change: they can't be combined with an ending that applies nothing, unless
  commit_later applies it
- an action that names operations can be used for these, and in a rule for any operation

The names are those of the JSON form, `{"operation": "create", "times": 1, "actions": [{"do": "drop_after"}]}`. Delays
and pauses are real seconds; lag, hiding, late commits, statuses and soft deletes use the sandbox's clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from attrs import field, frozen

from . import checks
from .boots import BootPlan
from .errors import FaultError
from .records import ServerId


class Action:
    """One action of a rule. `do` is its name in the JSON form."""

    do: ClassVar[str]
    operations: ClassVar[tuple[str, ...]] = ()
    """The operations that it can be used for; empty for all."""


class Ending(Action):
    """An action that decides what the client gets."""

    applied: bool
    plain: ClassVar[bool] = False
    """True if the plain answer is sent, however damaged."""


class Shape(Action):
    """An action that changes what a successful plain answer shows."""


@frozen
class Delay(Action):
    """Wait real `seconds` before the request is applied; with `after`, between applying and answering."""

    do = "delay"
    seconds: float = field(validator=checks.seconds)
    after: bool = field(default=False, validator=checks.boolean)


@frozen
class Lag(Action):
    """From this request on, reads show the state of `seconds` ago, for `lasting` seconds (`seconds`, if None)."""

    do = "lag"
    seconds: float = field(validator=checks.seconds)
    lasting: float | None = field(default=None, validator=checks.optional(checks.seconds))


@frozen
class HideCreated(Action):
    """Hide the server of this create for `seconds`: 404 by id, and absent from lists."""

    do = "hide_created"
    operations: ClassVar[tuple[str, ...]] = ("create",)
    seconds: float = field(validator=checks.seconds)
    by_id: bool = field(default=True, validator=checks.boolean)
    in_list: bool = field(default=True, validator=checks.boolean)


@frozen
class OnServer(Action):
    """An action on the server that the request names or creates, or on `server_id`."""

    server_id: ServerId | None = field(
        default=None, kw_only=True, validator=checks.optional(checks.server_id)
    )


@frozen
class SetStatus(OnServer):
    """Give the server a status word, for `seconds` if given, and then the status `then`."""

    do = "set_status"
    word: str = field(validator=checks.text)
    seconds: float | None = field(default=None, validator=checks.optional(checks.seconds))
    then: str = field(default="active", validator=checks.text)


@frozen
class SetBoot(OnServer, BootPlan):
    """Give the server a plan for this boot and the next ones; for sandboxes whose servers listen (`Sandbox(boot=)`)."""

    do = "set_boot"


@frozen
class Suspend(OnServer):
    """Suspend the server."""

    do = "suspend"


@frozen
class Vanish(OnServer):
    """Remove the server: before the request is applied, or after it if the request created the server."""

    do = "vanish"


@frozen
class CommitLater(Action):
    """Apply the change `seconds` after the answer. Without another ending the client gets a proxy's 504."""

    do = "commit_later"
    seconds: float = field(validator=checks.seconds)


@frozen
class FoldNames(Action):
    """Store the `name` and `hostname` of the server in lower case and without a final dot."""

    do = "fold_names"
    operations: ClassVar[tuple[str, ...]] = ("create", "replace", "update")


@frozen
class SoftDelete(Action):
    """Delete the server, but for `seconds` still show it by id, and in lists if `in_list`, with the status `word`."""

    do = "soft_delete"
    operations: ClassVar[tuple[str, ...]] = ("delete",)
    word: str = field(default="deleted", validator=checks.text)
    seconds: float = field(default=60.0, validator=checks.seconds)
    in_list: bool = field(default=False, validator=checks.boolean)


@frozen
class Paged(Shape):
    """Answer the documented list in pages of `size` rows, with `next` links; the provider's has its own pages."""

    do = "paged"
    operations: ClassVar[tuple[str, ...]] = ("list",)
    size: int = field(validator=checks.count)


@frozen
class IgnorePage(Shape):
    """Answer the first page of the list, whatever `page` the query asks for."""

    do = "ignore_page"
    operations: ClassVar[tuple[str, ...]] = ("list",)


@frozen
class ShortList(Shape):
    """Leave out the last `missing` rows of the answer, but keep its `count` and `next`."""

    do = "short_list"
    operations: ClassVar[tuple[str, ...]] = ("list",)
    missing: int = field(default=1, validator=checks.count)


@frozen
class NextLink(Shape):
    """Let the list's `next` and `previous` links name another `scheme`, `host`, or `prefix` instead of /api/v1."""

    do = "next_link"
    operations: ClassVar[tuple[str, ...]] = ("list",)
    scheme: str | None = field(default=None, validator=checks.optional(checks.line))
    host: str | None = field(default=None, validator=checks.optional(checks.line))
    prefix: str | None = field(default=None, validator=checks.optional(checks.path_prefix))

    def __attrs_post_init__(self) -> None:
        if self.scheme is self.host is self.prefix is None:
            raise FaultError("scheme", "is required, or host, or prefix")


@frozen
class OnField(Shape):
    """A shape of each server in the answer; in a list only of the one in `row`, counted from 0, if given."""

    operations: ClassVar[tuple[str, ...]] = (
        "list",
        "get",
        "create",
        "replace",
        "update",
        "start",
        "stop",
        "reboot",
    )
    row: int | None = field(default=None, kw_only=True, validator=checks.optional(checks.index))


@frozen
class OddField(OnField):
    """Set the field at a dotted path to `value`, any JSON. Missing objects on the way are created."""

    do = "odd_field"
    path: str = field(default="plan.memory", validator=checks.field_path)
    value: Any = field(default=0.5, validator=checks.json_value)


@frozen
class OmitField(OnField):
    """Leave out the field at a dotted path."""

    do = "omit_field"
    path: str = field(validator=checks.field_path)


@frozen
class DropBefore(Ending):
    """Close the connection without applying anything. `how`: "fin" for an orderly close, "rst" for a reset."""

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
    """Apply, then close in the middle of the answer's headers."""

    do = "half_headers"
    applied = True


@frozen
class HalfBody(Ending):
    """Apply, then close in the middle of the answer's body (of the headers, if it has none)."""

    do = "half_body"
    applied = True
    plain = True


@frozen
class MalformedChunk(Ending):
    """Apply, send the headers, and `pause` real seconds later, in a separate segment, an invalid chunk."""

    do = "malformed_chunk"
    applied = True
    plain = True
    pause: float = field(default=0.05, validator=checks.seconds)


@frozen
class Dribble(Ending):
    """Apply, then send the answer `size` bytes at a time, with `pause` real seconds in between."""

    do = "dribble"
    applied = True
    plain = True
    size: int = field(default=1, validator=checks.count)
    pause: float = field(default=0.05, validator=checks.seconds)


@frozen
class HugeBody(Ending):
    """Apply, then answer with `size` bytes of white space before the JSON."""

    do = "huge_body"
    applied = True
    plain = True
    size: int = field(default=64 * 2**20, validator=checks.count)


@frozen
class GzipBomb(Ending):
    """Apply, then answer like `huge_body`, but compressed: about a thousandth of `size` on the wire."""

    do = "gzip_bomb"
    applied = True
    plain = True
    size: int = field(default=256 * 2**20, validator=checks.count)


@frozen
class Html(Ending):
    """An HTML page, as a proxy in front of the API would send it."""

    do = "html"
    status: int = field(default=502, validator=checks.status)
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class Gateway(Ending):
    """A text from a gateway in front of the API, with its own `Server` header."""

    do = "gateway"
    status: int = field(default=404, validator=checks.status)
    body: str = field(default="default backend - 404", validator=checks.any_text)
    content_type: str = field(default="text/plain", validator=checks.line)
    server: str = field(default="gateway", validator=checks.line)
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class Refuse(Ending):
    """A refusal with a good status: the document `{"status": word, "message": message}`."""

    do = "refuse"
    message: str = field(default="The request was refused.", validator=checks.any_text)
    status: int = field(default=200, validator=checks.good_status)
    word: str = field(default="error", validator=checks.text)
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class Reply(Ending):
    """Any answer: a text `body` is sent unchanged, another one as JSON, None as `{"detail": <phrase>}`."""

    do = "reply"
    status: int = field(validator=checks.status)
    body: Any = None
    headers: Mapping[str, str] = field(factory=dict, validator=checks.headers)
    applied: bool = field(default=False, validator=checks.boolean)


@frozen
class RateLimit(Ending):
    """429. `retry_after`: seconds, a text to send unchanged, or None for no such header; `as_date`: as HTTP date."""

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
    """Keep the connection open and send nothing."""

    do = "never_answer"
    applied: bool = field(default=False, validator=checks.boolean)


ACTIONS: Final[Mapping[str, type[Action]]] = MappingProxyType(
    {
        kind.do: kind
        for kind in (
            *(Delay, Lag, HideCreated, SetStatus, SetBoot, Suspend, Vanish),
            *(CommitLater, FoldNames, SoftDelete),
            *(Paged, IgnorePage, ShortList, NextLink, OddField, OmitField),
            *(DropBefore, DropAfter, HalfHeaders, HalfBody, MalformedChunk, Dribble, HugeBody, GzipBomb),
            *(Html, Gateway, Refuse, Reply, RateLimit, Redirect, Garbage, NeverAnswer),
        )
    }
)
"""Every action, by its name in the JSON form."""
