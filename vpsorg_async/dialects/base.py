"""What a dialect has to say: the seam between the API as it is spoken and everything above."""

from __future__ import annotations

import contextlib
from typing import Any, Protocol

import attrs

from ..codec import Raw, StatusRow
from ..http.exchange import Operation, Request
from ..models import ActionAccepted, Server, ServerId, ServerSpec

__all__ = ["Dialect", "Page", "RawPage", "whole"]


@attrs.frozen(kw_only=True)
class Page:
    """A list answer. ``next`` is the link to the next page, if the answer had one."""

    results: list[Server]
    count: int | None = None
    next: str | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class RawPage:
    """A list answer of which no row has been read."""

    results: list[Raw]
    count: int | None = None
    next: str | None = attrs.field(default=None, repr=False)


class Dialect(Protocol):
    """Builds requests and reads answers. Pure; raises `ConfigurationError` for what it can't say, `DecodeError`."""

    @property
    def name(self) -> str: ...
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
    def read_rows(self, body: bytes) -> RawPage:
        """A list answer whose rows are left as they are, for `read_status` and `read_server`."""
        ...

    def read_status(self, row: Raw) -> StatusRow: ...
    def read_server(self, body: bytes | Raw) -> Server: ...
    def read_changed(self, body: bytes) -> Server | None: ...
    def read_action(self, body: bytes, server_id: ServerId) -> ActionAccepted: ...


def whole(*values: Any) -> int | None:
    """The first of these that is a number, as a whole one. Numbers may come as texts: ``"4.00"``."""
    for value in values:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return int(float(value))
    return None
