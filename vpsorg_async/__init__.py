"""Async Python SDK for the VPS.org servers API: one shared connection pool, waits that share their polls, fleets."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import errors, events, ready
    from .client import Client
    from .config import Limits, RateLimit, RetryPolicy, Timeout, WaitPolicy
    from .errors import Sent
    from .fleet import Failed, FleetPlan, Outcome, Report, Skipped, Succeeded
    from .fleet_spec import FleetSpec
    from .fleet_tables import load_fleets
    from .lifecycle.calls import WaitOutcome
    from .lifecycle.contract import Evidence, Target, TargetLike
    from .lifecycle.events import PollStatistics, ServerStuck
    from .lifecycle.readiness import ReadyCheck
    from .lifecycle.receipts import Receipt
    from .lifecycle.watching import Change, StatusChange
    from .options import ClientOptions
    from .ready import tcp_port
    from .records import (
        Account,
        ActionAccepted,
        Location,
        OperatingSystem,
        OperatingSystemVersion,
        Plan,
        PlanOffer,
        ResourceUsage,
        Seen,
        Server,
        ServerId,
        ServerStatus,
        SSHKey,
        StatusWord,
    )
    from .shared_client import SharedClient
    from .specs import Alternative, ServerSpec
    from .timing import Backoff

__all__ = [
    "Account",
    "ActionAccepted",
    "Alternative",
    "Backoff",
    "Change",
    "Client",
    "ClientOptions",
    "Evidence",
    "Failed",
    "FleetPlan",
    "FleetSpec",
    "Limits",
    "Location",
    "OperatingSystem",
    "OperatingSystemVersion",
    "Outcome",
    "Plan",
    "PlanOffer",
    "PollStatistics",
    "RateLimit",
    "ReadyCheck",
    "Receipt",
    "Report",
    "ResourceUsage",
    "RetryPolicy",
    "SSHKey",
    "Seen",
    "Sent",
    "Server",
    "ServerId",
    "ServerSpec",
    "ServerStatus",
    "ServerStuck",
    "SharedClient",
    "Skipped",
    "StatusChange",
    "StatusWord",
    "Succeeded",
    "Target",
    "TargetLike",
    "Timeout",
    "WaitOutcome",
    "WaitPolicy",
    "__version__",
    "errors",
    "events",
    "load_fleets",
    "ready",
    "tcp_port",
]

# Imported when first asked for: this file is run as well for the sandbox alone, and in every run of pytest where the
# package is installed. What is not named here is a record.
_HOMES = {
    "Backoff": "timing",
    "Change": "lifecycle.watching",
    "Client": "client",
    "ClientOptions": "options",
    "Evidence": "lifecycle.contract",
    "Failed": "fleet",
    "FleetPlan": "fleet",
    "FleetSpec": "fleet_spec",
    "ReadyCheck": "lifecycle.readiness",
    "Receipt": "lifecycle.receipts",
    "Limits": "config",
    "Outcome": "fleet",
    "PollStatistics": "lifecycle.events",
    "RateLimit": "config",
    "Report": "fleet",
    "RetryPolicy": "config",
    "Sent": "errors",
    "Alternative": "specs",
    "ServerSpec": "specs",
    "ServerStuck": "lifecycle.events",
    "SharedClient": "shared_client",
    "Skipped": "fleet",
    "StatusChange": "lifecycle.watching",
    "Succeeded": "fleet",
    "Target": "lifecycle.contract",
    "TargetLike": "lifecycle.contract",
    "Timeout": "config",
    "WaitOutcome": "lifecycle.calls",
    "WaitPolicy": "config",
    "load_fleets": "fleet_tables",
    "tcp_port": "ready",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name in ("errors", "events", "ready"):
            return import_module(f".{name}", __name__)
        value = globals()[name] = getattr(import_module(f".{_HOMES.get(name, 'records')}", __name__), name)
        return value

    def __dir__() -> list[str]:
        return list(__all__)
