"""The other form of the API, used by the packages that VPS.org publishes itself.

No document describes it and no answer of it is published, so answers are read tolerantly: what is missing is None. It
has one name only (``hostname``), UUIDs for most ids, pages, one path for power, and neither PUT nor PATCH.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..codec import Decoder, Raw, StatusRow, dumps
from ..config import API_PREFIX
from ..errors import ConfigurationError, DecodeError
from ..http.exchange import Operation, Request, segment, with_query
from ..http.paging import MAX_PAGES
from ..http.reply import Expected
from ..lenient import fit, moment
from ..records import ActionAccepted, OperatingSystem, Plan, Server, ServerId, ServerStatus
from ..specs import ServerSpec
from .base import Page, RawPage, read_rows, whole

__all__ = ["Provider"]

_SERVERS = f"{API_PREFIX}/servers/"
PAGE_SIZE = 100
"""The maximum page size that the API accepts."""

_POWER = {
    Operation.START: "start",
    Operation.STOP: "stop",
    Operation.REBOOT: "restart",
    Operation.HARD_STOP: "hard_stop",
}


@attrs.frozen(kw_only=True)
class _Named:
    id: int | str | None = None
    uuid: str | None = None
    name: str | None = None
    ram: Any = None
    cpu: Any = None
    disk_space: Any = None


@attrs.frozen(kw_only=True)
class _Server:
    """A row of the list (flat), or one server (nested), with the fields of both, because no samples exist.

    Reading is strict where a wrong guess would concern another server. A descriptive field that can't be read is None.
    """

    uuid: str | None = None
    id: int | str | None = None
    hostname: str | None = None
    name: str | None = None
    status: ServerStatus
    ipv4_addresses: Any = None
    ipv6_addresses: Any = None
    ip_address: Any = None
    ip_addresses: Any = None
    ipv4: Any = None
    location: _Named | str | int | None = None
    location_name: str | None = None
    plan: _Named | str | int | None = None
    plan_name: str | None = None
    operating_system: _Named | str | int | None = None
    operating_system_version: _Named | str | int | None = None
    os_name: str | None = None
    # the form of a time is unknown: a time that can't be read is left out, which costs a wait only evidence
    created_at: Any = None
    updated_at: Any = None
    password: Any = attrs.field(default=None, repr=False)

    def record(self) -> Server:
        """Convert it to the record that users see."""
        server_id = self.uuid or self.id
        if server_id is None:
            raise DecodeError("the answer does not fit", problems=["$.uuid: a server without an id"])
        told = (self.ipv4_addresses, self.ip_address, self.ip_addresses, self.ipv4, self.ipv6_addresses)
        addresses = [address for value in told for address in _addresses(value)]
        return Server(
            id=server_id,
            name=self.hostname or self.name or "",  # a name beside it can be a label
            status=self.status,
            hostname=self.hostname,
            ip_address=next((address for address, version in addresses if version != 6), None),
            ipv6_address=next((address for address, version in addresses if version == 6), None),
            location=self.location_name or _name(self.location),
            plan=self._plan(),
            os=self._os(),
            created_at=moment(self.created_at),
            updated_at=moment(self.updated_at),
            password=self.password if isinstance(self.password, str) and self.password else None,
        )

    def _plan(self) -> Plan | None:
        if isinstance(self.plan, _Named):
            return Plan(
                id=self.plan.uuid or self.plan.id,
                name=self.plan.name,
                vcpus=whole(self.plan.cpu),
                memory=whole(self.plan.ram),
                storage=whole(self.plan.disk_space),
            )
        name = self.plan_name or _name(self.plan)
        return None if name is None else Plan(name=name)

    def _os(self) -> OperatingSystem | None:
        version = self.operating_system_version
        name = self.os_name or " ".join(filter(None, (_name(self.operating_system), _name(version))))
        os_id = version.uuid or version.id if isinstance(version, _Named) else None
        return OperatingSystem(id=os_id, name=name or None) if name or os_id else None


@attrs.frozen(kw_only=True)
class _Page:
    results: list[_Server]
    count: int | None = None
    next: str | None = None


_page: Decoder[_Page | list[_Server]] = Decoder(_Page | list[_Server])
_server: Decoder[_Server] = Decoder(_Server)


class Provider:
    """Builds the requests and reads the answers of the provider's own form."""

    name = "provider"
    action_form = Expected.ANYTHING
    id_fields: tuple[str, ...] = ("uuid", "id", "server_id")
    name_field = "hostname"
    can_update: bool = False
    page_size: int | None = PAGE_SIZE

    def __init__(self, *, max_list_body: int | None = None) -> None:
        self._max_list_body = max_list_body

    def list(self, status: str | None = None, location: str | None = None) -> Request:
        """Request the first page of all servers. This form has no known filters: `matches` applies them here."""
        return self.list_page(with_query(_SERVERS, page="1", page_size=str(PAGE_SIZE)))

    def list_page(self, path: str, *, may_repeat: bool = True) -> Request:
        """Request one page of a list."""
        return Request(Operation.LIST, "GET", path, max_body=self._max_list_body, may_repeat=may_repeat)

    def further_pages(self, count: int | None, shown: int = 0) -> tuple[str, ...]:
        """Return the paths of all pages after the first, once the count is known. Raises `DecodeError`."""
        # computed from the real number of rows in a page: if its limit differs from ours, no rows may be skipped
        pages = -(-(count or 0) // (shown or PAGE_SIZE))
        if pages > MAX_PAGES:
            raise DecodeError("the list is too long to be read", problems=["$.count: more than can be read"])
        return tuple(
            with_query(_SERVERS, page=str(page), page_size=str(PAGE_SIZE)) for page in range(2, pages + 1)
        )

    def matches(self, server: Server, status: str | None, location: str | None) -> bool:
        """Return whether a server passes the filters."""
        return status in (None, server.status) and location in (None, server.location)

    def shown_name(self, spec: ServerSpec) -> str:
        """Return the name that a server created from the spec shows: there is only one."""
        return spec.hostname or spec.name

    def name_of(self, server: Server) -> str:
        """Return the host name, which a create sets; a ``name`` beside it can be a label of the service."""
        return server.hostname or server.name

    def is_marked(self, row: Mapping[str, Any]) -> bool:
        """Return whether there is a ``uuid``, which the documented form does not have."""
        return isinstance(row.get("uuid"), str) and "id" not in row

    def check(self, spec: ServerSpec) -> None:
        """Raise `ConfigurationError` for values that this form can't express."""
        if spec.backups_enabled:
            raise ConfigurationError(f"{spec.name}: the provider dialect can't enable backups in a create")
        if not str(spec.location).isdecimal():
            raise ConfigurationError(
                f"{spec.name}: the provider dialect identifies a location by its integer id, not {spec.location!r}"
            )

    def create(self, spec: ServerSpec) -> Request:
        """Create a server. Raises `ConfigurationError` for values that this form can't express."""
        self.check(spec)
        body: dict[str, Any] = {
            "hostname": self.shown_name(spec),
            "location": int(spec.location),
            "plan": spec.plan_id,
            "os_version": spec.os_id,
        }
        if spec.all_ssh_keys:
            body["ssh_keys"] = list(spec.all_ssh_keys)
        return Request(Operation.CREATE, "POST", _SERVERS, dumps(body))

    def get(self, server_id: ServerId, *, may_repeat: bool = True) -> Request:
        """Read one server."""
        return Request(Operation.GET, "GET", self._path(server_id), may_repeat=may_repeat)

    def replace(self, server_id: ServerId, fields: dict[str, Any]) -> Request:
        """Raise `ConfigurationError`: this form has no PUT."""
        raise ConfigurationError("the provider dialect has no replace (PUT)")

    def update(self, server_id: ServerId, fields: dict[str, Any]) -> Request:
        """Raise `ConfigurationError`: this form has no PATCH."""
        raise ConfigurationError("the provider dialect has no update (PATCH)")

    def delete(self, server_id: ServerId) -> Request:
        """Delete one server permanently."""
        return Request(Operation.DELETE, "DELETE", self._path(server_id))

    def action(
        self, operation: Operation, server_id: ServerId, fields: Mapping[str, Any] | None = None
    ) -> Request:
        """Start, stop or reboot a server, switch it off, or take a snapshot or a backup of it."""
        power = _POWER.get(operation)
        if power is not None:
            return Request(operation, "POST", f"{self._path(server_id)}power/", dumps({"action": power}))
        body = dumps(dict(fields)) if fields else None
        return Request(operation, "POST", f"{self._path(server_id)}{operation.value}/", body)

    def read_page(self, body: bytes) -> Page:
        """Read a page, or a bare list."""
        page = _page(body)
        if isinstance(page, list):
            return Page(results=[row.record() for row in page])
        return Page(results=[row.record() for row in page.results], count=page.count, next=page.next)

    def explain(self, error: DecodeError, body: bytes) -> None:
        """Put all problems of a page into the error, with their places."""
        _page.explain(error, body)

    def read_rows(self, body: bytes) -> RawPage:
        """Read a page, or a bare list, without reading its rows."""
        return read_rows(body)

    def read_status(self, row: Raw) -> StatusRow:
        """Read what a poll needs of a row. The places of id and time are not certain, so all of it is read."""
        server = _server(row).record()
        return StatusRow(server.id, server.status, server.updated_at)

    def read_server(self, body: bytes | Raw) -> Server:
        """Read one server, from a create or a detail answer."""
        return _server(body).record()

    def read_loosely(self, body: bytes | Raw) -> tuple[Server, Sequence[str]]:
        """Read one server of which only id and status must fit."""
        row, problems = fit(_Server, body, ("uuid", "id", "status"))
        return row.record(), problems

    def read_changed(self, body: bytes) -> Server | None:
        """Return None: this form has neither PUT nor PATCH."""
        return None

    def read_action(self, body: bytes, server_id: ServerId) -> ActionAccepted:
        """Accept any answer, because its form is unknown, except an HTML page, which the API would not send."""
        if body.lstrip()[:1] == b"<":
            raise DecodeError("the answer does not fit", problems=["$: an HTML page instead of JSON"])
        return ActionAccepted(server_id=server_id)

    def _path(self, server_id: ServerId) -> str:
        return f"{_SERVERS}{segment(server_id)}/"


def _addresses(value: Any) -> Iterator[tuple[str, int]]:
    """Yield the addresses from any form: a text, an object with ``ip`` and ``version``, or a list of either."""
    for found in value if isinstance(value, list) else [value]:
        given = found.get("ip") or found.get("address") if isinstance(found, dict) else found
        if not isinstance(given, str) or not given:
            continue
        try:
            version = ipaddress.ip_interface(given).version
        except ValueError:
            version = 4  # not an address of either kind: shown unchanged
        yield given.partition("/")[0], version


def _name(value: _Named | str | int | None) -> str | None:
    if isinstance(value, _Named):
        return value.name
    return None if value is None else str(value)
