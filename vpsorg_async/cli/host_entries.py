"""The servers of an account as hosts of an inventory: one name, one address and some groups for each. Pure.

Names come from the service and end up in files that other programs execute or trust: an SSH configuration, a hosts
file, an inventory of Ansible. So each host has a name that none of them reads as anything else, and no two the same:

====================================================================  =========================
the server's name                                                     its host
====================================================================  =========================
is a host name: letters, digits, ``-`` and ``_``, labels with dots    has that name
is that of other servers, too                                         ``NAME-ID``, for each of them
is anything else: empty, ``-oProxyCommand=x``, a number, an address,  ``server-ID``
a text with spaces or line ends, ``localhost``
====================================================================  =========================
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import attrgetter

import attrs

from ..records import Server
from ..specs import id_text, name_key

__all__ = ["HostEntry", "address_of", "hosts_of", "is_host_name"]

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*"
)
RESERVED = frozenset(
    {
        "all",
        "ungrouped",
        "localhost",
        "localhost.localdomain",
        "broadcasthost",
        "ip6-localhost",
        "ip6-loopback",
    }
)
"""Names that mean something else to Ansible or in a hosts file."""
_SHOWN = 80
"""Characters of a text of the service that a note repeats."""
_KINDS = ("location", "plan", "status")
"""What groups are formed by, beside the pattern of the name."""


@attrs.frozen(kw_only=True)
class HostEntry:
    """One server as a host.

    ``addresses`` are the IP addresses that it can be reached at, the IPv4 address first; none if it has none yet.
    ``groups`` are names that Ansible accepts: the one by the pattern of the name first, if there is one.
    """

    name: str
    server: Server
    addresses: tuple[str, ...] = ()
    pattern: str = ""
    """The group by the pattern of the name: ``web`` for ``web-01``; empty for a name without a number."""
    groups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What of the host is not as the server shows it."""

    @property
    def address(self) -> str:
        """The first address; empty for none."""
        return self.addresses[0] if self.addresses else ""


def hosts_of(
    servers: Iterable[Server], name_of: Callable[[Server], str] = attrgetter("name")
) -> tuple[HostEntry, ...]:
    """Return the hosts of servers in the order of their names, the same ones for the same servers in any order.

    Args:
        servers: All servers of the account: the host of one depends on the names of the others.
        name_of: Returns the name of a server, as `Listing.name_of`.
    """
    known = sorted(servers, key=lambda server: (_natural(name_of(server)), _natural(str(server.id))))
    names = _names(known, name_of)
    taken = {name_key(name) for name, _ in names}
    entries = []
    for server, (name, why) in zip(known, names, strict=True):
        pattern, groups = _groups(server, name_of(server), taken)
        told = (server.ip_address, server.ipv6_address)
        addresses = tuple(dict.fromkeys(filter(None, map(address_of, told))))
        odd = [f"{name}: {text[:_SHOWN]!a} is no address" for text in told if text and not address_of(text)]
        entries.append(
            HostEntry(
                name=name,
                server=server,
                addresses=addresses,
                pattern=pattern,
                groups=groups,
                notes=(*filter(None, [why]), *odd),
            )
        )
    return tuple(entries)


def is_host_name(text: str) -> bool:
    """Return whether no program reads this name as an option, a pattern, an address or another line."""
    key = name_key(text)
    return bool(_HOST_NAME.fullmatch(text)) and key not in RESERVED and not key.endswith(".localhost")


def address_of(text: str | None) -> str:
    """Return an IP address in its usual form; empty for anything else, such as one with a zone."""
    try:
        address = ipaddress.ip_address((text or "").strip())
    except ValueError:
        return ""
    # a zone (fe80::1%eth0) is any text, and means something on one machine only
    return "" if getattr(address, "scope_id", None) else str(address)


def _names(servers: Sequence[Server], name_of: Callable[[Server], str]) -> list[tuple[str, str]]:
    """Return a host name for each server, no two the same, with a note if it is not the server's own."""
    shown = [name_of(server).rstrip(".") for server in servers]
    times = Counter(map(name_key, shown))
    single = [is_host_name(name) and times[name_key(name)] == 1 for name in shown]
    taken = {name_key(name) for name, alone in zip(shown, single, strict=True) if alone}
    names: list[tuple[str, str]] = []
    for server, name, alone in zip(servers, shown, single, strict=True):
        if alone:
            names.append((name, ""))
            continue
        number = re.sub(r"[^a-z0-9-]", "", id_text(server.id))
        host = _free(f"{name if is_host_name(name) else 'server'}-{number}", taken)
        taken.add(name_key(host))
        why = "several servers have this name" if is_host_name(name) else "this is no name of a host"
        names.append((host, f"{name[:_SHOWN]!a} ({server.id}) is {host}: {why}"))
    return names


def _groups(server: Server, name: str, taken: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return the group by the pattern of the name, and all groups; none has the name of a host."""
    own = _word(_stem(name.partition(".")[0]))
    pattern = ""
    if own:
        reserved = own in RESERVED or own.startswith((*(f"{kind}_" for kind in _KINDS), "name_"))
        reserved = reserved or own[0].isdigit() or own in taken
        pattern = _free(f"name_{own}" if reserved else own, taken, "_")
    plan = server.plan and (server.plan.name or server.plan.id)
    values = (server.location, plan, server.status)
    groups = [
        _free(f"{kind}_{_word(str(value))}", taken, "_")
        for kind, value in zip(_KINDS, values, strict=True)
        if value is not None and _word(str(value))
    ]
    return pattern, tuple(filter(None, (pattern, *groups)))


def _stem(label: str) -> str:
    """Return a name without its number: ``web`` for ``web-01``, ``web01`` and ``web-01-``; empty if it has none."""
    parts = [part for part in re.split("[-_]+", label.casefold()) if part]
    for n in reversed(range(len(parts))):
        if parts[n].isdecimal():
            return "-".join(parts[:n] + parts[n + 1 :])
    stem = re.sub("[0-9]+$", "", label.casefold())
    return stem.strip("-_") if stem != label.casefold() else ""


def _word(text: str) -> str:
    """Return a text as a part of a group's name: Ansible accepts letters, digits and underscores."""
    return re.sub("[^a-z0-9]+", "_", text.casefold()).strip("_")


def _free(name: str, taken: Collection[str], sign: str = "-") -> str:
    """Return the name, with a number if it is taken."""
    free, number = name, 1
    while name_key(free) in taken:
        number += 1
        free = f"{name}{sign}{number}"
    return free


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key with which web-2 comes before web-10."""
    parts = re.findall("[0-9]+|[^0-9]+", text)
    return [(len(part) if part.isdecimal() else 0, part) for part in parts]
