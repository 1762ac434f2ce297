"""Names and addresses of hosts, as they stand in settings and headers. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_ADDRESS: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]*)?")


def is_loopback(host: str) -> bool:
    """True for `localhost` and for the loopback addresses, and for no other name: what a name means can change."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(authority: str) -> str | None:
    """The host of `host[:port]`, in lower case and without brackets; None if that is not what it is."""
    match = _ADDRESS.fullmatch(authority)
    if match is None:
        return None
    ipv6, name = match["ipv6"], match["name"]
    if ipv6 is not None and ":" not in ipv6:
        return None
    return (ipv6 or name).lower()
