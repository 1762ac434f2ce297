"""The API as its page documents it: nine endpoints below ``/api/v1/servers/``, each path ending with a slash.

Requests are built here and answers read here; no other module knows a path or a field name of the wire.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..codec import Decoder, Raw, StatusRow, encode
from ..config import API_PREFIX
from ..errors import ConfigurationError, DecodeError
from ..http.exchange import Operation, Request, segment, with_query
from ..http.reply import Expected
from ..lenient import fit
from ..records import ActionAccepted, Server, ServerId, ServerStatus
from ..specs import ServerSpec
from .base import Page, RawPage, read_rows

__all__ = ["Documented"]

_ACTIONS = frozenset({Operation.START, Operation.STOP, Operation.REBOOT})
_SERVERS = f"{API_PREFIX}/servers/"


@attrs.frozen(kw_only=True)
class _ActionServer:
    id: int | str
    name: str | None = None
    status: ServerStatus | None = None


@attrs.frozen(kw_only=True)
class _ActionEnvelope:
    # the top-level status is the outcome of the command ("success"), not the status of the server
    status: str | None = None
    message: str | None = None
    server: _ActionServer | None = None


@attrs.frozen(kw_only=True)
class _LooseServer(Server):
    name: str | None = None  # type: ignore[assignment]


_page: Decoder[Page | list[Server]] = Decoder(Page | list[Server])
_status: Decoder[StatusRow] = Decoder(StatusRow)
_server: Decoder[Server] = Decoder(Server)
_action: Decoder[_ActionEnvelope] = Decoder(_ActionEnvelope)


class Documented:
    """Builds the documented requests and reads the documented answers."""

    name = "documented"
    action_form = Expected.ENVELOPE
    id_fields: tuple[str, ...] = ("id", "server_id", "uuid")
    name_field = "name"
    can_update: bool = True
    page_size: int | None = None

    def __init__(self, *, max_list_body: int | None = None) -> None:
        self._max_list_body = max_list_body

    def list(self, status: str | None = None, location: str | None = None) -> Request:
        """List all servers, filtered by the API."""
        return self.list_page(with_query(_SERVERS, status=status, location=location))

    def list_page(self, path: str, *, may_repeat: bool = True) -> Request:
        """Request one page of a list."""
        return Request(Operation.LIST, "GET", path, max_body=self._max_list_body, may_repeat=may_repeat)

    def further_pages(self, count: int | None, shown: int = 0) -> tuple[str, ...]:
        """Return nothing: paging is not documented, so only a ``next`` link can announce more rows."""
        return ()

    def matches(self, server: Server, status: str | None, location: str | None) -> bool:
        """Return True: the API does the filtering."""
        return True

    def shown_name(self, spec: ServerSpec) -> str:
        """Return the name of the spec."""
        return spec.name

    def name_of(self, server: Server) -> str:
        """Return the name of the server."""
        return server.name

    def is_marked(self, row: Mapping[str, Any]) -> bool:
        """Return whether there is an integer id and a name: the other dialect has neither."""
        return type(row.get("id")) is int and isinstance(row.get("name"), str) and "uuid" not in row

    def check(self, spec: ServerSpec) -> None:
        """Raise `ConfigurationError` for values that the page has no field for."""
        if len(spec.all_ssh_keys) > 1:
            raise ConfigurationError(
                f"{spec.name}: the documented API accepts one ssh key, not {len(spec.all_ssh_keys)}"
            )
        if not isinstance(spec.location, str):
            raise ConfigurationError(
                f"{spec.name}: the documented API identifies a location by its code, such as 'us-west', "
                f"not {spec.location!r}"
            )

    def create(self, spec: ServerSpec) -> Request:
        """Create a server. Raises `ConfigurationError` for values that the page has no field for."""
        self.check(spec)
        body: dict[str, str | int | bool] = {
            "name": spec.name,
            "plan_id": spec.plan_id,
            "os_id": spec.os_id,
            "location": spec.location,
        }
        if spec.hostname is not None:
            body["hostname"] = spec.hostname
        if spec.all_ssh_keys:
            (body["ssh_key_id"],) = spec.all_ssh_keys
        if spec.backups_enabled is not None:
            body["backups_enabled"] = spec.backups_enabled
        return Request(Operation.CREATE, "POST", _SERVERS, encode(body))

    def get(self, server_id: ServerId, *, may_repeat: bool = True) -> Request:
        """Read one server."""
        return Request(Operation.GET, "GET", self._path(server_id), may_repeat=may_repeat)

    def replace(self, server_id: ServerId, fields: dict[str, Any]) -> Request:
        """Replace all three fields (PUT)."""
        return Request(Operation.REPLACE, "PUT", self._path(server_id), encode(fields))

    def update(self, server_id: ServerId, fields: dict[str, Any]) -> Request:
        """Change some fields (PATCH)."""
        return Request(Operation.UPDATE, "PATCH", self._path(server_id), encode(fields))

    def delete(self, server_id: ServerId) -> Request:
        """Delete one server permanently."""
        return Request(Operation.DELETE, "DELETE", self._path(server_id))

    def action(
        self, operation: Operation, server_id: ServerId, fields: Mapping[str, Any] | None = None
    ) -> Request:
        """Start, stop or reboot a server: a POST without a body. Raises `ConfigurationError` for anything else."""
        if operation not in _ACTIONS:
            raise ConfigurationError(
                f"the documented API has no {operation.value}; the provider dialect has it: dialect='provider'"
            )
        return Request(operation, "POST", f"{self._path(server_id)}{operation.value}/")

    def read_page(self, body: bytes) -> Page:
        """Read a list answer: the documented envelope, or a bare array."""
        page = _page(body)
        return page if isinstance(page, Page) else Page(results=page)

    def explain(self, error: DecodeError, body: bytes) -> None:
        """Put all problems of a page into the error, with their places."""
        _page.explain(error, body)

    def read_rows(self, body: bytes) -> RawPage:
        """Read a list answer without reading its rows."""
        return read_rows(body)

    def read_status(self, row: Raw) -> StatusRow:
        """Read only what a poll needs of a row, which takes a tenth of the time of the whole row."""
        return _status(row)

    def read_server(self, body: bytes | Raw) -> Server:
        """Read one server, from a create or a detail answer, or from a row of a list."""
        return _server(body)

    def read_loosely(self, body: bytes | Raw) -> tuple[Server, Sequence[str]]:
        """Read one server of which only id and status must fit."""
        row, problems = fit(_LooseServer, body, ("id", "status"))
        if row.name is None and not any(problem.startswith("$.name:") for problem in problems):
            problems.append("$.name: missing, or null")
        fields: dict[str, Any] = attrs.asdict(row, recurse=False)
        fields["name"] = row.name or ""
        return Server(**fields), problems

    def read_changed(self, body: bytes) -> Server | None:
        """Read the answer to PUT or PATCH, which the page does not show: a server, or None if it is something else."""
        try:
            return _server(body)
        except DecodeError:
            return None

    def read_action(self, body: bytes, server_id: ServerId) -> ActionAccepted:
        """Read the action envelope. An empty body is accepted too, because the page lists no codes for stop."""
        if not body.strip():
            return ActionAccepted(server_id=server_id)
        envelope = _action(body)
        server = envelope.server
        return ActionAccepted(
            server_id=server_id if server is None else server.id,
            server_status=None if server is None else server.status,
            server_name=None if server is None else server.name,
            status=envelope.status,
            message=envelope.message or "",
        )

    def _path(self, server_id: ServerId) -> str:
        return f"{_SERVERS}{segment(server_id)}/"
