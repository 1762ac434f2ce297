"""Numbers and lists in the sentences of commands."""

from __future__ import annotations

from collections.abc import Sequence, Sized

from ..counting import counted

__all__ = ["number", "some"]


def number(servers: Sized) -> str:
    """Return the number of servers, in words."""
    return counted(len(servers), "server")


def some(items: Sequence[object], most: int = 20) -> str:
    """Join the items, at most ``most`` of them, with the last one at the end."""
    shown = [str(item) for item in items]
    return ", ".join(shown if len(shown) <= most else [*shown[: most - 1], f"… {shown[-1]}"])
