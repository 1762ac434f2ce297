"""The root of the error tree; `vpsorg_async.errors` draws the tree."""

from __future__ import annotations

__all__ = ["VpsOrgError"]


class VpsOrgError(Exception):
    """The root of every error of this package.

    Attributes:
        final: True where the same call would fail again, or must not be sent again before the account was checked
            (`OutcomeUnknownError`). False where it may succeed later. A change whose ``sent`` is MAYBE is repeated only
            if it may be applied twice.
    """

    final: bool = False
