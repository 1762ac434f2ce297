"""The wanted servers of the account as hosts, read once or again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from ..client import Client
from ..errors import VpsOrgError
from ..lifecycle.commands import COMMANDS, GONE
from ..records import Server
from ..shielding import side_by_side
from ..specs import id_text, name_key
from .filters import FILTERS, Filters
from .host_entries import HostEntry, hosts_of
from .server_names import Kind, Reference, fits

__all__ = ["AccountHosts", "Seen"]

PROVISIONING = COMMANDS["create"].moving


@attrs.frozen(kw_only=True)
class Seen:
    """The hosts that a list showed.

    ``missing`` are the references that no server fits; ``lacks`` says why the list is incomplete; ``notes``
    say what else is not known.
    """

    hosts: Sequence[HostEntry]
    missing: Sequence[Reference] = ()
    lacks: str = ""
    notes: Sequence[str] = ()


@attrs.define(eq=False)
class AccountHosts:
    """Reads the wanted servers of the account, or all without a reference. Several of one name are all wanted."""

    vps: Client
    wanted: Sequence[Reference]
    filters: Filters = FILTERS
    _known: dict[str, Server] = attrs.field(factory=dict, init=False)
    _details: dict[str, tuple[Server, Server]] = attrs.field(factory=dict, init=False)
    """The rows without an address, each with the whole record."""

    async def read(self) -> Seen:
        """List the account once. A server that an incomplete list does not show is kept from the last one.

        Rows of the documented list have no IPv6 address, so those without an address are read by id.
        """
        listing = await self.vps.listing()
        shown = {id_text(server.id): server for server in listing.servers if server.status != GONE}
        self._known = {**self._known, **shown} if listing.lacks else shown
        chosen, missing = self._chosen(listing.name_of)
        unknown: list[str] = []
        await side_by_side(self._complete(key, unknown) for key in chosen)
        hosts = hosts_of((self._addressed(key, row) for key, row in self._known.items()), listing.name_of)
        return Seen(
            hosts=[entry for entry in hosts if id_text(entry.server.id) in chosen],
            missing=missing,
            lacks=listing.lacks,
            notes=unknown if chosen else self.filters.unknown(),
        )

    def _chosen(self, name_of: Callable[[Server], str]) -> tuple[set[str], list[Reference]]:
        """Return the keys of the servers that are wanted, and the references that none of them fits."""
        found = {*self._known} if not self.wanted else set()
        missing: list[Reference] = []
        for reference in self.wanted:
            hits = {key for key, one in self._known.items() if _is(reference, one, name_of(one))}
            missing += [] if hits else [reference]
            found |= hits
        return {key for key in found if self.filters.fits(self._known[key])}, missing

    async def _complete(self, key: str, unknown: list[str]) -> None:
        """Read a server whose row has no address, unless the row is the same as before."""
        row = self._known[key]
        before, record = self._details.get(key, (None, None))
        known = before == row and record is not None and record.address
        if row.address or row.status == PROVISIONING or known:
            return
        try:
            self._details[key] = row, await self.vps.servers.get(row)
        except VpsOrgError as error:
            # one server must not hide all others
            unknown.append(f"the address of {row.name[:80]!a} ({row.id}) is not known: {error}")

    def _addressed(self, key: str, row: Server) -> Server:
        before, record = self._details.get(key, (None, None))
        if row.address or before != row or record is None:
            return row
        return attrs.evolve(row, ip_address=record.ip_address, ipv6_address=record.ipv6_address)


def _is(reference: Reference, server: Server, name: str) -> bool:
    if reference.kind is Kind.ID:
        return id_text(server.id) == id_text(reference.value)
    if reference.kind is Kind.PATTERN:
        return fits(reference.text, name)
    return name_key(name) == name_key(reference.text)
