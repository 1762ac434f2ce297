"""Statuses: how they end, and which commands they permit. The table is in the docstring of `world`."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

MOVING: Final = MappingProxyType(
    {"provisioning": "active", "starting": "active", "stopping": "stopped", "rebooting": "active"}
)
"""Moving status -> the status in which it ends."""

POWER: Final = MappingProxyType(
    {
        "start": (("stopped",), "starting"),
        "stop": (("active",), "stopping"),
        "reboot": (("active",), "rebooting"),
        "hard_stop": (("active", "starting", "stopping", "rebooting"), "stopped"),
    }
)
"""Operation -> the statuses that permit it, and the status that it begins."""
