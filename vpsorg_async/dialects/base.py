"""What a dialect has to say: the seam between the API as it is spoken and everything above."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from ..codec import Decoder, Raw, StatusRow, check_density
from ..errors import DecodeError
from ..http.exchange import Operation, Request
from ..http.reply import Expected
from ..records import ActionAccepted, Server, ServerId
from ..specs import ServerSpec

__all__ = ["Dialect", "Page", "RawPage", "read_rows", "whole"]


@attrs.frozen(kw_only=True)
class Page:
    """A list answer. ``next`` is the link to the next page, if the answer had one."""

    results: list[Server]
    count: int | None = None
    next: str | None = attrs.field(default=None, repr=False)
    problems: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class RawPage:
    """A list answer of which no row has been read. ``problems``: what did not fit beside the rows."""

    results: list[Raw]
    count: int | None = None
    next: str | None = attrs.field(default=None, repr=False)
    problems: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class _Envelope:
    results: list[Raw]
    count: Any = None
    next: Any = None


_envelope: Decoder[_Envelope | list[Raw]] = Decoder(_Envelope | list[Raw])


def read_rows(body: bytes) -> RawPage:
    """A list answer, in an envelope or bare, whose rows are left as they are. Raises `DecodeError`."""
    check_density(body)
    page = _envelope(body)
    if isinstance(page, list):
        return RawPage(results=page)
    problems = []
    count, link = _count(page.count), page.next
    if count is None and page.count is not None:
        problems.append(f"$.count: Expected `int | null`, got `{type(page.count).__name__}`")
    if link is not None and not isinstance(link, str):
        problems.append(f"$.next: Expected `str | null`, got `{type(link).__name__}`")
        link = None
    return RawPage(results=page.results, count=count, next=link, problems=tuple(problems))


def _count(value: Any) -> int | None:
    """A number of rows in any form that it may have; None for what is none."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value.strip()[:18])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


class Dialect(Protocol):
    """Builds requests and reads answers. Pure; raises `ConfigurationError` for what it can't say, `DecodeError`."""

    @property
    def name(self) -> str: ...
    @property
    def action_form(self) -> Expected:
        """What the answer to start, stop and reboot is expected to be."""
        ...

    @property
    def id_fields(self) -> tuple[str, ...]:
        """Fields in which a server's id may stand, the best one first."""
        ...

    @property
    def name_field(self) -> str:
        """The field that a create sets, and by which its server is found."""
        ...

    @property
    def page_size(self) -> int | None:
        """Rows of a page; None where lists come whole."""
        ...

    def list(self, status: str | None = None, location: str | None = None) -> Request: ...
    def list_page(self, path: str, *, may_repeat: bool = True) -> Request: ...
    def further_pages(self, count: int | None, shown: int = 0) -> tuple[str, ...]:
        """The paths of the pages after the first, where the count and the rows that the first showed tell them."""
        ...

    def matches(self, server: Server, status: str | None, location: str | None) -> bool:
        """Whether a server passes filters that the API was not asked to apply."""
        ...

    def shown_name(self, spec: ServerSpec) -> str:
        """The name that a server made from the spec will show."""
        ...

    def name_of(self, server: Server) -> str:
        """The name of a server that `shown_name` is compared with; names are compared by `name_key`."""
        ...

    def is_marked(self, row: Mapping[str, Any]) -> bool:
        """Whether a record has what only this dialect has."""
        ...

    def check(self, spec: ServerSpec) -> None:
        """Raises `ConfigurationError` for a spec that can't be said: `create` would as well."""
        ...

    def create(self, spec: ServerSpec) -> Request: ...
    def get(self, server_id: ServerId, *, may_repeat: bool = True) -> Request: ...
    def replace(self, server_id: ServerId, fields: dict[str, Any]) -> Request: ...
    def update(self, server_id: ServerId, fields: dict[str, Any]) -> Request: ...
    def delete(self, server_id: ServerId) -> Request: ...
    def action(self, operation: Operation, server_id: ServerId) -> Request: ...
    def read_page(self, body: bytes) -> Page: ...
    def explain(self, error: DecodeError, body: bytes) -> None:
        """Put all problems of a page into the error that `read_page` raised, with their places."""
        ...

    def read_rows(self, body: bytes) -> RawPage:
        """A list answer whose rows are left as they are, for `read_status` and `read_server`."""
        ...

    def read_status(self, row: Raw) -> StatusRow: ...
    def read_server(self, body: bytes | Raw) -> Server: ...
    def read_loosely(self, body: bytes | Raw) -> tuple[Server, Sequence[str]]:
        """A record of which only id and status have to fit, and what did not; the name is empty where it does not."""
        ...

    def read_changed(self, body: bytes) -> Server | None: ...
    def read_action(self, body: bytes, server_id: ServerId) -> ActionAccepted: ...


def whole(*values: Any) -> int | None:
    """The first of these that is a number, as a whole one. Numbers may come as texts: ``"4.00"``."""
    for value in values:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return int(float(value))
    return None
