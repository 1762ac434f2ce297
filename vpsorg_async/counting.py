"""Numbers in sentences. Pure."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 server``, ``2 servers``. ``plural``: if it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"
