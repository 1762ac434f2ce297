"""What a fleet call works on, with and how: plain data."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..errors import VpsOrgError
from ..lifecycle.contract import Target
from ..lifecycle.waiter import Waiter
from ..models import Server, ServerId, ServerSpec
from ..servers import Servers
from ..timing import Clock
from .events import FleetEvent

__all__ = ["Job", "Options", "Tools"]


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
    error: VpsOrgError | None = None
    """Set: it fails without anything being sent."""
