"""Where a list goes on. Pure.

Paging is not documented; a ``next`` link is followed if one ever comes, but only on the origin of the client, since
every request carries the token.
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from ..errors import DecodeError

__all__ = ["MAX_PAGES", "next_path"]

MAX_PAGES = 10_000

_PORTS = {"http": 80, "https": 443}


def next_path(base_url: str, current: str, link: str) -> str:
    """The path below ``base_url`` of the next page. Raises `DecodeError` for another origin."""
    base = urlsplit(base_url)
    try:
        target = urlsplit(urljoin(base_url + current, link))
        same = (base.scheme, base.hostname, base.port or _PORTS.get(base.scheme)) == (
            target.scheme,
            target.hostname,
            target.port or _PORTS.get(target.scheme),
        )
        foreign = f"{target.scheme}://{target.hostname}"
    except ValueError:
        same, foreign = False, "an address that can't be read"
        target = urlsplit("")
    if not same or not target.path.startswith(f"{base.path}/"):
        raise DecodeError(
            f"the list goes on at another origin, {foreign}, which is not followed",
            problems=["$.next: not below the client's base_url"],
        )
    path = target.path[len(base.path) :]
    return f"{path}?{target.query}" if target.query else path
