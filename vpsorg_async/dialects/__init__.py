"""How the API is spoken: paths, bodies and field names. Nothing above this package knows them."""

from __future__ import annotations

from ..errors import ConfigurationError
from .base import Dialect, Page
from .documented import Documented
from .provider import Provider

__all__ = ["DIALECTS", "Dialect", "Documented", "Page", "Provider", "check_dialect", "make_dialect"]

DIALECTS = ("documented", "provider")


def check_dialect(value: object) -> str:
    """The name of a dialect. Raises `ConfigurationError`."""
    if value not in DIALECTS:
        raise ConfigurationError(f"dialect is {' or '.join(DIALECTS)}, not {value!r}")
    return str(value)


def make_dialect(name: str, *, max_list_body: int | None = None) -> Dialect:
    """The dialect of that name."""
    return (Provider if check_dialect(name) == "provider" else Documented)(max_list_body=max_list_body)
