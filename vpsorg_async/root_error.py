"""The root of the error tree, and the error that the checks of input raise; `vpsorg_async.errors` draws the tree.

They are apart from the others, because some of those hold specs and plans, whose checks raise these.
"""

from __future__ import annotations

__all__ = ["ConfigurationError", "VpsOrgError"]


class VpsOrgError(Exception):
    """The root of every error of this package.

    Attributes:
        final: True where the same call would fail again, or must not be sent again before the account was checked
            (`OutcomeUnknownError`). False where it may succeed later. A change whose ``sent`` is MAYBE is repeated only
            if it may be applied twice.
    """

    final: bool = False


class ConfigurationError(VpsOrgError, ValueError):
    """Bad input or a wrong set-up, found before anything was sent."""

    final = True
