"""How the API is spoken: paths, bodies and field names. Nothing above this package knows them."""

from __future__ import annotations

from ..errors import ConfigurationError, DecodeError
from .base import Dialect, Page, RawPage
from .documented import Documented
from .provider import Provider

__all__ = [
    "DIALECTS",
    "Dialect",
    "Documented",
    "Page",
    "Provider",
    "RawPage",
    "check_dialect",
    "looks_like",
    "make_dialect",
]

DIALECTS = ("documented", "provider")


def check_dialect(value: object) -> str:
    """The name of a dialect. Raises `ConfigurationError`."""
    if value not in DIALECTS:
        raise ConfigurationError(f"dialect is {' or '.join(DIALECTS)}, not {value!r}")
    return str(value)


def make_dialect(name: str, *, max_list_body: int | None = None) -> Dialect:
    """The dialect of that name."""
    return (Provider if check_dialect(name) == "provider" else Documented)(max_list_body=max_list_body)


def looks_like(body: bytes) -> str | None:
    """The dialect that an answer with servers fits, if it fits exactly one."""
    fitting = []
    for name in DIALECTS:
        dialect = make_dialect(name)
        for read in (dialect.read_page, dialect.read_server):
            try:
                read(body)
            except DecodeError:
                continue
            fitting.append(name)
            break
    return fitting[0] if len(fitting) == 1 else None
