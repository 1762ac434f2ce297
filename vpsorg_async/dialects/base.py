"""The interface of a dialect: what separates the API's form from everything above."""

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
    """A list answer whose rows have not been read. ``problems``: what did not fit apart from the rows."""

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
    """Read a list answer, in an envelope or bare, without reading its rows. Raises `DecodeError`."""
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
    """Return a number of rows from any form that it may have; None if it is no number."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value.strip()[:18])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


class Dialect(Protocol):
    """Builds requests and reads answers. Pure.

    Raises `ConfigurationError` for what the dialect can't express, and `DecodeError` for answers that do not fit.
    """

    @property
    def name(self) -> str: ...
    @property
    def action_form(self) -> Expected:
        """The expected form of the answer to start, stop, reboot and the actions of this dialect."""
        ...

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The fields that may contain a server's id, the best one first."""
        ...

    @property
    def name_field(self) -> str:
        """The field that a create sets, and by which its server is found."""
        ...

    @property
    def can_update(self) -> bool:
        """Whether there is a PATCH."""
        ...

    @property
    def page_size(self) -> int | None:
        """The number of rows in a page; None if lists are not paged."""
        ...

    def list(self, status: str | None = None, location: str | None = None) -> Request:
        """Return the request for a list, or for its first page, with the filters that the API applies."""
        ...

    def list_page(self, path: str, *, may_repeat: bool = True) -> Request:
        """Return the request for a page by its path, one of `further_pages` or the link of the page before."""
        ...

    def further_pages(self, count: int | None, shown: int = 0) -> tuple[str, ...]:
        """Return the paths of the pages after the first, if the count and the rows of the first page determine them."""
        ...

    def matches(self, server: Server, status: str | None, location: str | None) -> bool:
        """Return whether a server passes filters that the API was not asked to apply."""
        ...

    def shown_name(self, spec: ServerSpec) -> str:
        """Return the name that a server created from the spec will show."""
        ...

    def name_of(self, server: Server) -> str:
        """Return the name of a server, for comparison with `shown_name`; names are compared by `name_key`."""
        ...

    def is_marked(self, row: Mapping[str, Any]) -> bool:
        """Return whether a record has marks that only this dialect has."""
        ...

    def check(self, spec: ServerSpec) -> None:
        """Raise `ConfigurationError` for a spec that the dialect can't express, as `create` would."""
        ...

    def create(self, spec: ServerSpec) -> Request:
        """Return the request that creates a server; `ConfigurationError` for a spec that the dialect can't express."""
        ...

    def get(self, server_id: ServerId, *, may_repeat: bool = True) -> Request:
        """Return the request that reads a server."""
        ...

    def replace(self, server_id: ServerId, fields: dict[str, Any]) -> Request:
        """Return the request that sets all fields of a server (PUT); `ConfigurationError` if there is none."""
        ...

    def update(self, server_id: ServerId, fields: dict[str, Any]) -> Request:
        """Return the request that sets some fields of a server (PATCH); `ConfigurationError` if there is none."""
        ...

    def delete(self, server_id: ServerId) -> Request:
        """Return the request that deletes a server."""
        ...

    def action(
        self, operation: Operation, server_id: ServerId, fields: Mapping[str, Any] | None = None
    ) -> Request:
        """Return the request for a start, a stop, a reboot, or another command with these fields."""
        ...

    def read_page(self, body: bytes) -> Page:
        """Read a list answer with all its rows. `DecodeError` if any of it does not fit."""
        ...

    def explain(self, error: DecodeError, body: bytes) -> None:
        """Put all problems of a page, with their places, into the error that `read_page` raised."""
        ...

    def read_rows(self, body: bytes) -> RawPage:
        """Read a list answer without reading its rows, which `read_status` and `read_server` do."""
        ...

    def read_status(self, row: Raw) -> StatusRow:
        """Read what a poll needs of a row: its id, status and time of change."""
        ...

    def read_server(self, body: bytes | Raw) -> Server:
        """Read a record, of an answer or a row. `DecodeError` if it does not fit."""
        ...

    def read_loosely(self, body: bytes | Raw) -> tuple[Server, Sequence[str]]:
        """Read a record of which only id and status must fit, and return what did not fit. An unfit name is empty."""
        ...

    def read_changed(self, body: bytes) -> Server | None:
        """Read the answer to PUT or PATCH; None if it does not show the server."""
        ...

    def read_action(self, body: bytes, server_id: ServerId) -> ActionAccepted:
        """Read the answer to a command, which may name the server and its status."""
        ...


def whole(*values: Any) -> int | None:
    """Return the first value that is a number, as an integer. Numbers may be texts: ``"4.00"``."""
    for value in values:
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            return int(float(value))
    return None
