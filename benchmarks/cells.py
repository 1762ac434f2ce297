"""What the sections of the page have in common: the names of what is compared, cells and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["FLEET_NAMES", "NAMES", "Rows", "figure", "table"]

Rows = dict[str, dict[str, Any]]

NAMES = {
    "raw": "bytes over a socket (asyncio protocol)",
    "raw_uvloop": "bytes over a socket, uvloop",
    "aiohttp": "aiohttp + `resp.json()`",
    "aiohttp_read": "aiohttp, bare `read()`",
    "aiohttp_typed": "aiohttp + msgspec, same classes",
    "aiohttp_uvloop": "aiohttp + `resp.json()`, uvloop",
    "vpsorg": "**vpsorg_async**",
    "vpsorg_default": "**vpsorg_async**, 32 slots (default)",
    "vpsorg_poll": "**vpsorg_async**, a poll of the waits, 1 % changed",
    "vpsorg_first_poll": "**vpsorg_async**, a poll of the waits, the first one",
    "vpsorg_uvloop": "**vpsorg_async**, uvloop",
    "httpx": "httpx.AsyncClient + `json()`",
    "requests": "`requests.get`, as on the API's page",
    "requests_session": "`requests.Session`",
    "hcloud": "hcloud",
    "scaleway": "scaleway_async",
    "pydo": "pydo.aio",
}
FLEET_NAMES = {
    "requests": "`requests`, as on the API's page, 64 threads",
    "hcloud": "hcloud, `action.wait_until_finished`, 64 threads",
    "pydo": "pydo.aio, gathered, a read a second each",
    "aiohttp": "aiohttp, gathered, a read a second each",
    "aiohttp_plain": "aiohttp, the plain way: one list for all",
    "aiohttp_shared": "aiohttp, by hand: the least it can cost",
    "aiohttp_shared_uvloop": "aiohttp, by hand, uvloop",
    "vpsorg": "**vpsorg_async**, durations learned",
    "vpsorg_journal": "**vpsorg_async**, durations learned, with a journal",
    "vpsorg_cold": "**vpsorg_async**, nothing learned yet",
    "vpsorg_uvloop": "**vpsorg_async**, durations learned, uvloop",
    "vpsorg_default": "**vpsorg_async**, no options at all",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all columns but the first are figures."""
    ruler = ["---", *("---:" for _ in head[1:])]
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, ruler, *rows))


def figure(row: dict[str, Any] | None, key: str, form: str, divisor: float = 1.0) -> str:
    """One cell; empty where it was not measured."""
    return "" if row is None or row.get(key) is None else form.format(row[key] / divisor)
