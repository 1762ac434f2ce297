"""How the API is spoken: paths, bodies and field names. Nothing above this package knows them."""

from __future__ import annotations

from .documented import Documented, Page

__all__ = ["Documented", "Page"]
