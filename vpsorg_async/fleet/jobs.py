"""The jobs of a fleet call, and what they are done with: plain data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextvars import Context
from datetime import datetime
from typing import Any, Protocol

import attrs

from ..admission import AdmissionControl
from ..endpoints import Endpoints
from ..errors import VpsOrgError
from ..http.session import BeforeSend
from ..lifecycle.calls import Waiter, WaitOutcome
from ..lifecycle.commands import COMMANDS
from ..lifecycle.contract import Target
from ..lifecycle.creations import Doubt
from ..lifecycle.readiness import ReadyCheck, ReadyPolicy
from ..lifecycle.receipts import Receipt
from ..records import Seen, Server, ServerId
from ..specs import ServerSpec
from ..timing import Clock
from .events import FleetEvent
from .outcomes import Failed, Report, Succeeded, TakenAlternative
from .resumption import Resumption
from .stuck import StuckPolicy

__all__ = ["Call", "Job", "JobRun", "Options", "RunContext", "RunTrace", "Work", "context_of"]


class RunTrace(Protocol):
    """The trace of one run: its events, and its end."""

    def context(self) -> Context:
        """Return a context for a task of the run, in which its requests belong to the run."""
        ...

    def emit(self, event: FleetEvent) -> None:
        """Record an event."""
        ...

    def end(self, report: Report, error: BaseException | None) -> None:
        """End the trace of the run, which was left by this error or by none."""
        ...


def context_of(trace: RunTrace | None) -> Context | None:
    """Return the context for a task of a run; None, which is the caller's, without a trace."""
    return None if trace is None else trace.context()


@attrs.frozen
class RunContext:
    """What a run works with. ``on_run`` is called with the operation and the number of servers of each run."""

    endpoints: Endpoints
    plain: Endpoints
    """The same without the options of a call, for what no deadline may cut short: a rollback, the last poll."""
    waiter: Waiter
    admissions: AdmissionControl
    clock: Clock
    workers: int
    on_run: Callable[[str, int], RunTrace] | None = None
    account: str = ""
    """What identifies the account in a journal: the base URL."""
    names: set[str] = attrs.field(factory=set)
    """The names that calls of this client are creating now."""

    def trace(self, operation: str, servers: int) -> RunTrace | None:
        """Return the trace of a run that begins now; None without a tracer."""
        return None if self.on_run is None else self.on_run(operation, servers)


@attrs.frozen(kw_only=True)
class Options:
    """How a run behaves; see `Fleet`."""

    timeout: float
    settle: float = 15.0
    on_failure: str = "continue"
    on_cancel: str = "detach"
    on_event: Callable[[FleetEvent], None] | None = None
    ready: ReadyCheck | None = None
    ready_policy: ReadyPolicy | None = None
    journal: str | None = None
    """The file of the journal."""
    careful_deletes: bool = False
    """Whether deletes are sent one after the other, and none any more once one has failed."""
    resumption: Resumption | None = None
    """What an earlier attempt left, as the caller says; None: what the journal has."""
    stuck: StuckPolicy | None = None
    """How servers that do not come up are replaced; None: they are reported."""


class Call(Protocol):
    """Sends the command of a job, where that takes more than its server."""

    def __call__(
        self, endpoints: Endpoints, server_id: ServerId, before_send: BeforeSend
    ) -> Awaitable[object]: ...


@attrs.frozen(kw_only=True)
class Job:
    """What to do for one server: a command (empty: none), then a wait for the target (None: none)."""

    key: ServerId
    command: str = ""
    target: Target | None = None
    spec: ServerSpec | None = None
    server: Server | None = None
    server_id: ServerId | None = None
    differences: tuple[str, ...] = ()
    how: str = "adopted"
    """`Succeeded.how` of a job without a command."""
    echo: bool = False
    """Whether an earlier command may have been applied: a refusal of this one may be the echo of it."""
    error: VpsOrgError | None = None
    """If set, the job fails with it, and nothing is sent."""
    acknowledged: bool = False
    """Whether the command was sent and acknowledged before."""
    after: tuple[ServerId, ...] = ()
    """Servers with an open command of this client, which has to be done first."""
    fields: Mapping[str, Any] = attrs.field(factory=dict)
    """What is changed in place before anything else."""
    receipt: Receipt | None = None
    """That of a command which an earlier run sent, and which is waited for."""
    call: Call | None = None
    """How the command is sent; None: by the method of `Endpoints` that has its name."""
    first: Call | None = None
    """What is sent right before the command. It is no part of it: without its success the command is not sent."""

    @property
    def past(self) -> str:
        """What was done with a server whose command was applied."""
        command = COMMANDS.get(self.command)
        return self.how if command is None else command.past

    leaving: bool = False
    """Whether an earlier run was about to delete the server in order to create another one, which follows if it did."""


@attrs.frozen
class Work:
    """The jobs of a run, and the ids of the servers that existed before it.

    ``listed_at`` is when the account was read for them, at the earliest (monotonic seconds).
    """

    jobs: Sequence[Job]
    ids_before: Collection[str] = ()
    listed_at: float = 0.0


@attrs.define(eq=False)
class JobRun:
    """The course of one job: what was sent for it, and what came of it."""

    job: Job
    sent_at: float
    """When its command was sent last, in monotonic seconds; before that, when the job began."""
    time: datetime | None = None
    """The same by the time of day; None before anything was sent."""
    attempts: int = 0
    acknowledged: bool = False
    receipt: Receipt | None = None
    """That of the acknowledged command."""
    stage: str = ""
    """How far its server came: see `Succeeded.stage`."""
    refusal: VpsOrgError | None = None
    """A refusal that may be the echo of an earlier command, or mean that the target is reached: the server decides."""
    doubt: Doubt | None = None
    """An earlier create of the name whose outcome is unknown: its server is searched for before another is created."""
    created: Server | None = None
    """The server that this run has created for it, by a create that was answered."""
    replaced: tuple[ServerId, ...] = ()
    """Servers that were stuck and that this run has deleted, for this one."""
    not_replaced: str = ""
    """Why a stuck server was not replaced."""
    alternative: TakenAlternative | None = None
    """The alternative that its last create was sent with; None for the spec itself."""

    def sent(self, now: float, time: datetime) -> None:
        """Count an attempt that is sent now."""
        self.sent_at, self.time = now, time
        self.attempts += 1

    def accepted(self, receipt: Receipt | None, created: Server | None = None) -> None:
        """Record that the service acknowledged the command, and the server that its answer names as created."""
        self.acknowledged, self.receipt, self.created = True, receipt, created

    @property
    def _known_receipt(self) -> Receipt | None:
        # a command in doubt has a receipt to be waited by, and was not acknowledged
        return self.receipt or (self.job.receipt if self.acknowledged else None)

    def takes(self, alternative: TakenAlternative | None) -> None:
        """Record what the next create is sent with."""
        self.alternative = alternative

    def left(self, why: str) -> None:
        """Record why a stuck server was not replaced."""
        self.not_replaced = why

    def reached(self, stage: str) -> None:
        """Record that the server has reached a stage: its status, or ``ready``."""
        self.stage = stage

    def refused(self, error: VpsOrgError) -> None:
        """Record a refusal after which the server itself decides."""
        self.refusal = error

    def doubted(self, doubt: Doubt) -> None:
        """Record the earlier create that has to be cleared up first."""
        self.doubt = doubt

    def succeeded(
        self, server: Server | None, how: str, now: float, waited: WaitOutcome | None = None
    ) -> Succeeded:
        """Return the outcome of a job that reached its goal; ``waited`` is its wait, if it had one."""
        return Succeeded(
            self.job.key,
            server,
            evidence=waited.evidence if waited else None,
            timeline=waited.timeline if waited else (),
            seconds=now - self.sent_at,
            attempts=self.attempts,
            how=how,
            stage=self.stage or ("accepted" if self.acknowledged else ""),
            differences=self.job.differences,
            acknowledged=self.acknowledged,
            receipt=self._known_receipt,
            replaced=self.replaced,
            alternative=self.alternative,
        )

    def failed(
        self,
        error: VpsOrgError,
        now: float,
        *,
        server: Server | None = None,
        timeline: tuple[Seen, ...] = (),
    ) -> Failed:
        """Return the outcome of a job that failed; ``server`` is its server, as far as it is known."""
        server = server or self.job.server
        return Failed(
            self.job.key,
            error,
            server_id=self.job.server_id if server is None else server.id,
            server=server,
            timeline=timeline,
            seconds=now - self.sent_at,
            attempts=self.attempts,
            stage=self.stage or ("accepted" if self.acknowledged else ""),
            acknowledged=self.acknowledged,
            receipt=self._known_receipt,
            replaced=self.replaced,
            not_replaced=self.not_replaced,
            alternative=self.alternative,
        )
