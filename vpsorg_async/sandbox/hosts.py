"""Names and addresses of hosts in settings and headers. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_ADDRESS: Final = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]*)?")


def is_loopback(host: str) -> bool:
    """Return whether this is `localhost` or a loopback address. Other names can resolve to anything."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(authority: str) -> str | None:
    """Return the host of `host[:port]`, in lower case and without brackets; None if the text has another form."""
    match = _ADDRESS.fullmatch(authority)
    if match is None:
        return None
    ipv6, name = match["ipv6"], match["name"]
    if ipv6 is not None and ":" not in ipv6:
        return None
    return (ipv6 or name).lower()
