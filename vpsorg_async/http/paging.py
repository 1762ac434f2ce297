"""The path of a list's next page. Pure.

Paging is not documented; a ``next`` link is followed if the API ever sends one. Every request carries the token, so
only path and query of the link are used, on the client's own origin. A service behind a proxy writes the scheme, host
and prefix that it sees itself.
"""

from __future__ import annotations

from urllib.parse import unquote, urljoin, urlsplit

from ..config import API_PREFIX
from ..errors import DecodeError

__all__ = ["MAX_PAGES", "next_path"]

MAX_PAGES = 10_000


def next_path(current: str, link: str) -> str:
    """Return the path of the next page, from the origin. Raises `DecodeError` for a link that leaves the API."""
    here = current.partition("?")[0]
    try:
        target = urlsplit(urljoin(f"https://origin{current}", link))
    except ValueError:
        target = urlsplit("")
    _, prefix, rest = target.path.partition(f"{API_PREFIX}/")
    path = prefix + rest
    if not prefix and target.query and _resource(target.path) == _resource(here):
        path = here  # a gateway has stripped the whole prefix
    if not path or not path.isprintable() or "\\" in path or {".", ".."} & set(unquote(path).split("/")):
        raise DecodeError(
            f"the list continues outside {API_PREFIX}; such a link is not followed",
            problems=[f"its next link leads to no path below {API_PREFIX}/"],
        )
    return f"{path}?{target.query}" if target.query else path


def _resource(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
