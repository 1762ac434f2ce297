"""How the servers of a fleet are replaced: a few at a time, within these bounds. Pure data."""

from __future__ import annotations

import math
from typing import Any, Literal

import attrs

from .root_error import ConfigurationError

__all__ = ["ReplacePolicy", "places"]


def places(value: int | float, servers: int) -> int:
    """Return a number of servers: ``value`` itself, or that share of ``servers``, rounded down and at least 1."""
    # 0.29 * 100 is less than 29
    return value if isinstance(value, int) else max(1, math.floor(value * servers + 1e-9))


def _number_or_share(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    whole = type(value) is int and value >= 0
    if not whole and not (type(value) is float and 0.0 < value < 1.0):
        raise ConfigurationError(
            f"{attribute.name} is a number of servers from 0, or a share between 0 and 1, not {value!r}"
        )


def _whole(least: int) -> Any:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if type(value) is not int or value < least:
            raise ConfigurationError(f"{attribute.name} is a whole number from {least}, not {value!r}")

    return check


def _seconds(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{attribute.name} is a number of seconds from 0, not {value!r}")


def _flag(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if type(value) is not bool:
        raise ConfigurationError(f"{attribute.name} is True or False, not {value!r}")


def _names(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value not in ("free", "stable"):
        raise ConfigurationError(f"{attribute.name} is 'free' or 'stable', not {value!r}")


@attrs.frozen(kw_only=True)
class ReplacePolicy:
    """How many servers of a fleet are replaced at a time, and what happens to the old and the failed ones.

    Args:
        surge: The number of servers that may exist beyond the size of the fleet, or a share of it, at least 1.
        max_unavailable: The number of servers of the fleet that may be unavailable, or a share of it, at least 1.
        drain: Seconds between the switch to a new server and the delete of the old one.
        canary: The number of servers that are replaced first, one by one.
        max_failures: The number of failures after which no further replacement begins.
        delete_failed: Whether a new server that failed is deleted again, if its create was acknowledged.
        names: ``"free"``: a new server keeps its own number. ``"stable"``: it gets the old one's name once that one is
            gone.

    Raises:
        ConfigurationError: A value is invalid, or both ``surge`` and ``max_unavailable`` are 0.
    """

    surge: int | float = attrs.field(default=1, validator=_number_or_share)
    max_unavailable: int | float = attrs.field(default=0, validator=_number_or_share)
    drain: float = attrs.field(default=0.0, validator=_seconds)
    canary: int = attrs.field(default=1, validator=_whole(0))
    max_failures: int = attrs.field(default=1, validator=_whole(1))
    delete_failed: bool = attrs.field(default=False, validator=_flag)
    names: Literal["free", "stable"] = attrs.field(default="free", validator=_names)

    def __attrs_post_init__(self) -> None:
        if not self.surge and not self.max_unavailable:
            raise ConfigurationError(
                "surge and max_unavailable are both 0: no server could be replaced; raise one of them"
            )
