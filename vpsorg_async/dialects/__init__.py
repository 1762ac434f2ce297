"""The dialects of the API: paths, bodies and field names. No module above this package knows them."""

from __future__ import annotations

from ..errors import ConfigurationError
from ..lenient import list_beginning
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
    "make_dialect",
    "other_dialect",
]

DIALECTS = ("documented", "provider")


def check_dialect(value: object) -> str:
    """Return the name of a dialect. Raises `ConfigurationError` if there is none of that name."""
    if value not in DIALECTS:
        raise ConfigurationError(f"dialect is {' or '.join(DIALECTS)}, not {value!r}")
    return str(value)


def make_dialect(name: str, *, max_list_body: int | None = None) -> Dialect:
    """Return the dialect of that name."""
    return (Provider if check_dialect(name) == "provider" else Documented)(max_list_body=max_list_body)


def other_dialect(name: str, body: bytes) -> str | None:
    """Return the name of the other dialect if an answer has its marks and none of this dialect's."""
    row = list_beginning(body)
    if row is None or make_dialect(name).is_marked(row):
        return None
    return next((other for other in DIALECTS if other != name and make_dialect(other).is_marked(row)), None)
