"""How long the moving statuses of a server last."""

from __future__ import annotations

from typing import TypeAlias

from attrs import field, frozen

from .errors import SandboxError

Range: TypeAlias = tuple[float, float]


def as_range(value: float | Range) -> Range:
    """Return a duration as a range. Raises `SandboxError`."""
    try:
        low, high = value if isinstance(value, (tuple, list)) else (value, value)
        if 0 <= low <= high:
            return (float(low), float(high))
    except (TypeError, ValueError):
        pass
    raise SandboxError(f"a duration is a number >= 0 or a range (low, high) of them, not {value!r}")


@frozen(kw_only=True)
class Durations:
    """How long each moving status lasts, in seconds: a number, or a range to draw from; `math.inf` never ends.

    Provisioning takes 2 to 5 minutes, as the API page says; the other durations are assumed.
    """

    provisioning: Range = field(default=(120.0, 300.0), converter=as_range)
    starting: Range = field(default=(5.0, 20.0), converter=as_range)
    stopping: Range = field(default=(5.0, 20.0), converter=as_range)
    rebooting: Range = field(default=(10.0, 40.0), converter=as_range)
