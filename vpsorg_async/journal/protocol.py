"""The protocol of creates that outlive their process: what a run does for a name that an earlier run has left. Pure.

A run holds each of its names while it works on it. Before a create leaves, its *intent* is durable; after the answer,
that the server was *made*. So the next run knows which creates are in doubt: those with an intent and nothing after it.
Such a create has left before the next run holds the name, if it has left at all. The server is searched for until the
settle window has passed since then. Only then another create is sent.

A run that completed leaves nothing to take up. But a list that lags may not show its servers to the next run yet, so
these are remembered for the settle window after their answers.

The assumption is that the settle window is longer than the time from the moment a create leaves to the moment at which
the list shows its server. Under it no name gets two servers, and no server is lost, wherever a run crashes.
"""

from __future__ import annotations

import enum

__all__ = ["Left", "Move", "next_move"]


class Left(enum.Enum):
    """What earlier runs left of a name."""

    NOTHING = "nothing"
    """No create has left, or none that could still take effect."""
    INTENT = "intent"
    """A create may have left, and its answer is not known."""
    MADE = "made"
    """A create was answered: its server is known."""
    RECENT = "recent"
    """The same, and its run completed, less than the settle window ago."""


class Move(enum.Enum):
    """What a run does next for a name."""

    RESUME = "resume"
    """Wait for the server that an earlier run created, by its id."""
    ADOPT = "adopt"
    """Wait for the server of this name that the list shows."""
    SEARCH = "search"
    """Read the list again: a create of an earlier run may still show its server."""
    CREATE = "create"
    """Write the intent, then send a create."""


def next_move(left: Left, *, shown: bool, settled: bool) -> Move:
    """Return what a run does next for a name that it holds.

    Args:
        left: What earlier runs left of the name, read after the run got hold of it.
        shown: Whether a whole list, read after that, shows a server of this name that may be the result of a create.
        settled: Whether the settle window has passed since the run got hold of the name, before that list was read:
            what may have left before then shows by now.
    """
    if left is Left.MADE:
        return Move.RESUME
    if shown:
        return Move.ADOPT
    if left is Left.RECENT:
        return Move.RESUME
    if left is Left.INTENT and not settled:
        return Move.SEARCH
    return Move.CREATE
