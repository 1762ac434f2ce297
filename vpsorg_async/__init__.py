"""Async Python SDK for the VPS.org servers API: one shared connection pool, waits that share their looks, fleets."""

from __future__ import annotations

from . import errors
from ._version import __version__
from .client import Client
from .config import Timeout
from .fleet import Failed, Report, Skipped, Succeeded
from .http.retry import RetryPolicy
from .lifecycle.contract import Evidence, Target
from .lifecycle.ready import tcp_port
from .lifecycle.receipts import Receipt
from .lifecycle.waiter import WaitOutcome
from .lifecycle.watch import Change, StatusChange
from .models import (
    Account,
    ActionAccepted,
    Location,
    OperatingSystem,
    OperatingSystemVersion,
    Plan,
    PlanOffer,
    ResourceUsage,
    Server,
    ServerId,
    ServerSpec,
    ServerStatus,
    SSHKey,
)
from .timing import Backoff

__all__ = [
    "Account",
    "ActionAccepted",
    "Backoff",
    "Change",
    "Client",
    "Evidence",
    "Failed",
    "Location",
    "OperatingSystem",
    "OperatingSystemVersion",
    "Plan",
    "PlanOffer",
    "Receipt",
    "Report",
    "ResourceUsage",
    "RetryPolicy",
    "SSHKey",
    "Server",
    "ServerId",
    "ServerSpec",
    "ServerStatus",
    "Skipped",
    "StatusChange",
    "Succeeded",
    "Target",
    "Timeout",
    "WaitOutcome",
    "__version__",
    "errors",
    "tcp_port",
]
