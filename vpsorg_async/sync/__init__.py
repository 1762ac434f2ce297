"""The client for code that is not async: scripts, notebooks, Django, Airflow tasks.

``vpsorg_async.sync.Client`` has the methods, options, records and errors of `vpsorg_async.Client`.
"""

from __future__ import annotations

from .client import (
    AccountInfo,
    Actions,
    Client,
    Fleet,
    Locations,
    OperatingSystems,
    Plans,
    Servers,
    SSHKeys,
)
from .outcome_iterator import RollingRun, Run

__all__ = [
    "AccountInfo",
    "Actions",
    "Client",
    "Fleet",
    "Locations",
    "OperatingSystems",
    "Plans",
    "RollingRun",
    "Run",
    "SSHKeys",
    "Servers",
]
