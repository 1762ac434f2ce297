"""What a fleet call works on, with and how: plain data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextvars import Context
from datetime import datetime
from typing import Protocol

import attrs

from ..endpoints import Endpoints
from ..errors import VpsOrgError
from ..lifecycle.calls import Waiter
from ..lifecycle.contract import Target
from ..lifecycle.creations import Doubt
from ..records import Server, ServerId
from ..specs import ServerSpec
from ..timing import Clock
from .events import FleetEvent
from .outcomes import Report

__all__ = ["Job", "JobRun", "Options", "RunContext", "RunTrace", "Work", "context_of"]


class RunTrace(Protocol):
    """What follows one run from outside: its events, and its end."""

    def context(self) -> Context:
        """A context for a task of the run, so that what it sends is told as part of it."""
        ...

    def emit(self, event: FleetEvent) -> None:
        """Something happened."""
        ...

    def end(self, report: Report, error: BaseException | None) -> None:
        """It was left, by this error or by none."""
        ...


def context_of(trace: RunTrace | None) -> Context | None:
    """The context for a task of a run; None, which is the caller's, where nobody follows it."""
    return None if trace is None else trace.context()


@attrs.frozen
class RunContext:
    """What a run works with. ``on_run`` is told the operation and the number of servers of each run that begins."""

    endpoints: Endpoints
    waiter: Waiter
    clock: Clock
    workers: int
    on_run: Callable[[str, int], RunTrace] | None = None
    names: set[str] = attrs.field(factory=set)
    """The names that calls of this client are creating now."""

    def trace(self, operation: str, servers: int) -> RunTrace | None:
        """What follows a run that begins now, if anything does."""
        return None if self.on_run is None else self.on_run(operation, servers)


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
    acknowledged: bool = False
    """The command was sent and acknowledged before."""
    after: tuple[ServerId, ...] = ()
    """Servers on which a command of this client is open, which has to be done first."""


@attrs.frozen
class Work:
    """The jobs of a run, and the ids of the servers that existed before it."""

    jobs: Sequence[Job]
    ids_before: Collection[str] = ()


@attrs.define
class JobRun:
    """A job that was taken up: when its command left last, monotonic and by the time of day, and how often it did."""

    job: Job
    sent_at: float
    time: datetime | None = None
    attempts: int = 0
    acknowledged: bool = False
    refusal: VpsOrgError | None = None
    """A refusal that was taken for the echo of an earlier command, or for word that the goal is reached."""
    doubt: Doubt | None = None
    """An earlier create of the name whose outcome is unknown: what it made is looked for before another one is sent."""
