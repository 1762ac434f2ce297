"""Which proxy a request uses. `select` is pure: the variables go in, an address or None comes out.

Variables are read as the ``requests`` library reads them: ``https_proxy`` or ``http_proxy`` by the scheme of the
address, else ``all_proxy``. Hosts in ``no_proxy`` are reached directly. Its entries, separated by commas or blanks, are

====================================  =============================================================
``*``                                 every host
``example.org``, ``.example.org``     that host and all its subdomains
``192.0.2.1``, ``[2001:db8::1]``      that address
``10.0.0.0/8``, ``fd00::/8``          every address of that network; names are not looked up
``example.org:8443``, ``[::1]:8080``  the same, on that port only
====================================  =============================================================

in any case. No error repeats an address, because it can contain a password.
"""

from __future__ import annotations

import ipaddress
import re
import urllib.request
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from ..errors import ConfigurationError

__all__ = ["environment_proxy", "problem_of", "select", "with_scheme"]

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?:\[(?P<inner>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>\d{1,5}))?")
"""A host, or an IPv6 address in brackets, with an optional port."""
_HOST = re.compile(r"[A-Za-z0-9_.-]+")


def select(url: str, variables: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the name of the deciding variable and its value; None if the address is reached directly.

    ``variables`` are named as `urllib.request.getproxies` names them: ``http``, ``https``, ``all``, ``no``.
    """
    target = urlsplit(url)
    for name in (target.scheme, "all"):
        if address := variables.get(name, "").strip():
            exempt = _exempt(target, variables.get("no", ""))
            return None if exempt else (f"{name}_proxy", address)
    return None


def with_scheme(address: str) -> str:
    """Return the address of a proxy as a URL; the default scheme is http."""
    return address if "://" in address else f"http://{address}"


def problem_of(address: object) -> str | None:
    """Return what is wrong with a proxy address, without repeating it; None if it can be used."""
    if not isinstance(address, str):
        return f"is a string, not {type(address).__name__}"
    example = "is not the address of an HTTP proxy: http://user:password@host:port"
    encoded = f"{example}, with special characters percent-encoded"
    try:
        parts = urlsplit(with_scheme(address))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return encoded
    if parts.scheme.startswith("socks"):
        return "is a SOCKS proxy; only HTTP proxies are supported: http://host:port"
    if parts.scheme not in _PORTS or port == 0 or not (_HOST.fullmatch(host) or _ip(host)):
        return example
    # if a password contains a slash, urlsplit takes what follows it for a path
    beyond = address.rpartition(parts.netloc)[2]
    if not address.isprintable() or any(sign in address for sign in " \\") or "@" in beyond:
        return encoded
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    try:
        f"{user}:{password}".encode("latin-1")
    except UnicodeEncodeError:
        return "has a user or password with characters beyond Latin-1, which HTTP proxies do not understand"
    return "has a user with a colon, which HTTP proxies do not understand" if ":" in user else None


def _exempt(target: SplitResult, no_proxy: str) -> bool:
    """Return whether an entry of ``no_proxy`` names the host of this address."""
    host = (target.hostname or "").rstrip(".")
    port = target.port or _PORTS.get(target.scheme)
    address = _ip(host)
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        if entry == "*":
            return True
        if address is not None and "/" in entry:
            if _in_network(address, entry):
                return True
            continue
        if address is not None and _ip(entry) == address:
            return True
        match = _ENTRY.fullmatch(entry)
        if match is None or (match["port"] and int(match["port"]) != port):
            continue
        named = match["inner"] if match["inner"] is not None else match["name"]
        if address is not None:
            if _ip(named) == address:
                return True
        elif (name := named.removeprefix("*").strip(".")) and f".{host}".endswith(f".{name}"):
            return True
    return False


def _ip(text: str) -> IP | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _in_network(address: IP, entry: str) -> bool:
    try:
        return address in ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for this address, if any. Raises `ConfigurationError`.

    aiohttp would also read ``.netrc`` and replace the token by what it finds there, so this is not left to it.
    """
    chosen = select(base_url, urllib.request.getproxies())
    # some systems also have proxy settings, with exceptions of their own
    if chosen is None or urllib.request.proxy_bypass(urlsplit(base_url).hostname or ""):
        return None
    name, address = chosen
    problem = problem_of(address)
    if problem is None:
        return with_scheme(address)
    # a traceback with local variables must not show these
    del address, chosen
    raise ConfigurationError(f"{name} in the environment {problem}")
