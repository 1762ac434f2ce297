"""What a fleet call works on, with and how: plain data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs

from ..errors import VpsOrgError
from ..lifecycle.contract import Target
from ..lifecycle.waiter import Waiter
from ..models import Server, ServerId, ServerSpec
from ..servers import Servers
from ..timing import Clock
from .events import FleetEvent

__all__ = ["HOW", "Errand", "Job", "Options", "Tools"]

HOW = {"create": "created", "start": "started", "stop": "stopped", "reboot": "rebooted", "delete": "deleted"}


@attrs.frozen
class Tools:
    """What a run works with."""

    servers: Servers
    waiter: Waiter
    clock: Clock
    workers: int


@attrs.frozen(kw_only=True)
class Options:
    """How a run behaves; see `Fleet`."""

    timeout: float
    settle: float = 15.0
    on_failure: str = "continue"
    on_cancel: str = "detach"
    on_event: Callable[[FleetEvent], None] | None = None


@attrs.frozen(kw_only=True)
class Job:
    """What is to be done for one server: a command (empty: none), then a wait for the target (None: none)."""

    key: ServerId
    command: str = ""
    target: Target | None = None
    spec: ServerSpec | None = None
    server: Server | None = None
    server_id: ServerId | None = None
    differences: tuple[str, ...] = ()
    how: str = "adopted"
    """The word for what becomes of it, where there is no command to say it."""
    echo: bool = False
    """An earlier command may have been carried out: a refusal of this one can be the echo of it."""
    error: VpsOrgError | None = None
    """Set: it fails without anything being sent."""


@attrs.define
class Errand:
    """A job that was taken up: when its command left last, monotonic and by the time of day, and how often it did."""

    job: Job
    sent_at: float
    time: datetime | None = None
    attempts: int = 0
