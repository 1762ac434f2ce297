"""Lists in pages, as Django REST Framework cuts them. Pure.

A page beyond the last is 404, and the link to the first page has no number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import parse_qs, parse_qsl, urlencode

from attrs import frozen

from .api import Call
from .errors import NotFound
from .records import Json

T = TypeVar("T")


@frozen
class Window:
    """The part of a list that a call requests, and the links to other parts."""

    page: int
    size: int
    url: str
    query: tuple[tuple[str, str], ...]

    def link(self, page: int) -> str:
        """Return the URL of another page; the first one has no number."""
        query = [*self.query, ("page", str(page))] if page > 1 else self.query
        return f"{self.url}?{urlencode(query)}" if query else self.url


def window(call: Call, size: int) -> Window:
    """Return the window of `size` rows for the `page` in a call's query. Raises `NotFound`."""
    page = whole(parse_qs(call.query).get("page", ["1"])[-1])
    if not page:
        raise _no_page()
    rest = tuple(pair for pair in parse_qsl(call.query) if pair[0] != "page")
    return Window(page, size, f"http://{call.host or 'localhost'}{call.path}", rest)


def page(window: Window, items: Sequence[T], shape: Callable[[T], Json]) -> Json:
    """Return the document that shows the items in the window. Raises `NotFound`."""
    number, last = window.page, max(1, math.ceil(len(items) / window.size))
    if number > last:
        raise _no_page()
    shown = items[(number - 1) * window.size : number * window.size]
    return {
        "count": len(items),
        "next": window.link(number + 1) if number < last else None,
        "previous": window.link(number - 1) if number > 1 else None,
        "results": [shape(item) for item in shown],
    }


def whole(text: str) -> int:
    """Return the number in a text; 0 if it is none."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else 0


def _no_page() -> NotFound:
    return NotFound("Invalid page.")
