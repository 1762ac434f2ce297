"""The other form of the API, which the packages speak that VPS.org publishes itself.

No document describes it and no answer of it is published, so answers are read tolerantly: what is not told is None.
It knows one name only (``hostname``), UUIDs for most ids, pages, one path for power, and neither PUT nor PATCH.
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
"""The most that is accepted."""

_POWER = {Operation.START: "start", Operation.STOP: "stop", Operation.REBOOT: "restart"}


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
    """A row of the list (flat), or one server (nested): every field of either, since samples of neither exist.

    Strict where a wrong guess would be about another server; what only describes it is None where it can't be read.
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
    # the form of a time is not known: what can't be read is left out, and costs a wait only evidence
    created_at: Any = None
    updated_at: Any = None
    password: Any = attrs.field(default=None, repr=False)

    def record(self) -> Server:
        """The one record that users see."""
        server_id = self.uuid or self.id
        if server_id is None:
            raise DecodeError("the answer does not fit", problems=["$.uuid: a server without an id"])
        told = (self.ipv4_addresses, self.ip_address, self.ip_addresses, self.ipv4, self.ipv6_addresses)
        addresses = [address for value in told for address in _addresses(value)]
        return Server(
            id=server_id,
            name=self.name or self.hostname or "",
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
    id_fields = ("uuid", "id", "server_id")
    name_field = "hostname"
    page_size: int | None = PAGE_SIZE

    def __init__(self, *, max_list_body: int | None = None) -> None:
        self._max_list_body = max_list_body

    def list(self, status: str | None = None, location: str | None = None) -> Request:
        """The first page of all servers. Filters are not known in this form: `matches` does them here."""
        return self.list_page(with_query(_SERVERS, page="1", page_size=str(PAGE_SIZE)))

    def list_page(self, path: str, *, may_repeat: bool = True) -> Request:
        """One page of a list."""
        return Request(Operation.LIST, "GET", path, max_body=self._max_list_body, may_repeat=may_repeat)

    def further_pages(self, count: int | None, shown: int = 0) -> tuple[str, ...]:
        """The paths of all pages after the first, as soon as the count is known. Raises `DecodeError`."""
        # by the rows that a page really has: another limit than ours must not hide the rows between
        pages = -(-(count or 0) // (shown or PAGE_SIZE))
        if pages > MAX_PAGES:
            raise DecodeError("the list claims to have no end", problems=["$.count: more than can be read"])
        return tuple(
            with_query(_SERVERS, page=str(page), page_size=str(PAGE_SIZE)) for page in range(2, pages + 1)
        )

    def matches(self, server: Server, status: str | None, location: str | None) -> bool:
        """Whether a server passes the filters."""
        return status in (None, server.status) and location in (None, server.location)

    def shown_name(self, spec: ServerSpec) -> str:
        """The name that a server made from the spec shows: there is only one."""
        return spec.hostname or spec.name

    def name_of(self, server: Server) -> str:
        """The host name, which is what a create sets; a ``name`` beside it can be a label that the service gave."""
        return server.hostname or server.name

    def is_marked(self, row: Mapping[str, Any]) -> bool:
        """A ``uuid``: the documented form has none."""
        return isinstance(row.get("uuid"), str) and "id" not in row

    def check(self, spec: ServerSpec) -> None:
        """Raises `ConfigurationError` for what this form can't say."""
        if spec.backups_enabled:
            raise ConfigurationError(f"{spec.name}: the provider dialect can't enable backups at a create")
        if not str(spec.location).isdecimal():
            raise ConfigurationError(
                f"{spec.name}: the provider dialect names a location by its integer id, not {spec.location!r}"
            )

    def create(self, spec: ServerSpec) -> Request:
        """Create a server. Raises `ConfigurationError` for what this form can't say."""
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
        """PUT is not known."""
        raise ConfigurationError("the provider dialect knows no replace (PUT)")

    def update(self, server_id: ServerId, fields: dict[str, Any]) -> Request:
        """PATCH is not known."""
        raise ConfigurationError("the provider dialect knows no update (PATCH)")

    def delete(self, server_id: ServerId) -> Request:
        """Delete one server for good."""
        return Request(Operation.DELETE, "DELETE", self._path(server_id))

    def action(self, operation: Operation, server_id: ServerId) -> Request:
        """Start, stop or reboot."""
        return Request(
            operation, "POST", f"{self._path(server_id)}power/", dumps({"action": _POWER[operation]})
        )

    def read_page(self, body: bytes) -> Page:
        """A page, or a bare list."""
        page = _page(body)
        if isinstance(page, list):
            return Page(results=[row.record() for row in page])
        return Page(results=[row.record() for row in page.results], count=page.count, next=page.next)

    def explain(self, error: DecodeError, body: bytes) -> None:
        """All problems of a page, with their places."""
        _page.explain(error, body)

    def read_rows(self, body: bytes) -> RawPage:
        """A page, or a bare list, whose rows are left as they are."""
        return read_rows(body)

    def read_status(self, row: Raw) -> StatusRow:
        """What a poll needs of a row. Where id and time stand is not known for certain, so all of it is read."""
        server = _server(row).record()
        return StatusRow(server.id, server.status, server.updated_at)

    def read_server(self, body: bytes | Raw) -> Server:
        """One server, from a create or a detail answer."""
        return _server(body).record()

    def read_loosely(self, body: bytes | Raw) -> tuple[Server, Sequence[str]]:
        """One server of which only id and status have to fit."""
        row, problems = fit(_Server, body, ("uuid", "id", "status"))
        return row.record(), problems

    def read_changed(self, body: bytes) -> Server | None:
        """There is no PUT and no PATCH."""
        return None

    def read_action(self, body: bytes, server_id: ServerId) -> ActionAccepted:
        """The answer is not known, and so not read; but a page for people is none of this API."""
        if body.lstrip()[:1] == b"<":
            raise DecodeError("the answer does not fit", problems=["$: an HTML page came instead of JSON"])
        return ActionAccepted(server_id=server_id)

    def _path(self, server_id: ServerId) -> str:
        return f"{_SERVERS}{segment(server_id)}/"


def _addresses(value: Any) -> Iterator[tuple[str, int]]:
    """The addresses in whatever form they come: a text, an object with ``ip`` and ``version``, or a list of either."""
    for found in value if isinstance(value, list) else [value]:
        given = found.get("ip") or found.get("address") if isinstance(found, dict) else found
        if not isinstance(given, str) or not given:
            continue
        try:
            version = ipaddress.ip_interface(given).version
        except ValueError:
            version = 4  # not an address of either kind: shown as it is, as it was always
        yield given.partition("/")[0], version


def _name(value: _Named | str | int | None) -> str | None:
    if isinstance(value, _Named):
        return value.name
    return None if value is None else str(value)
