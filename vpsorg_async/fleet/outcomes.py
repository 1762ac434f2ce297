"""The outcome of each server of a fleet call, and the report of all: plain data."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import attrs

from ..counting import counted
from ..errors import ConfigurationError, FleetError, RequestError, Sent, VpsOrgError, WaitError
from ..journal import Acknowledged, Intent
from ..lifecycle.contract import Evidence
from ..lifecycle.receipts import Receipt
from ..records import Seen, Server, ServerId
from ..timing import SystemClock
from .remaining import Remaining

__all__ = ["Failed", "Outcome", "Report", "Skipped", "Succeeded", "TakenAlternative", "with_password"]


@attrs.frozen(kw_only=True)
class TakenAlternative:
    """The alternative of a spec from which a server was created.

    Attributes:
        plan_id: The plan of the server.
        location: Its location.
        reason: The refusal that led to it; of the server that is named first, if that was another one.
    """

    plan_id: int | str
    location: str | int
    reason: str


@attrs.frozen
class Succeeded:
    """The server reached its target.

    Attributes:
        key: The name of the spec, or the id that was given.
        server: The record that showed the target. None for a start, stop or reboot with
            ``wait=False``, and for ``kept``.
        how: ``created``, ``adopted`` (the server existed, or the answer to its create was lost), ``started``,
            ``stopped``, ``rebooted``, ``deleted``, ``updated`` (its fields were changed), ``replaced`` (it took the
            place of ``old``), or ``kept`` (more than its fleet needs, and left as it is).
        evidence: Why the wait believes that the command took effect; None without a wait.
        stage: How far the server came: ``accepted`` (its command), then its status (``active``, ``stopped``, ``gone``),
            then ``ready`` (its ready check passed).
        timeline: The statuses that the wait saw, and what the ready checks said.
        seconds: The time from sending the command to the outcome.
        attempts: The number of times that this call sent the command: more than one only where that is safe, and 0
            where an earlier run had sent it.
        acknowledged: Whether the service accepted a command of this client.
        receipt: That of the command, also where an earlier run had sent it; None where none was acknowledged.
        differences: The fields in which an adopted server differs from its spec; they are not changed.
        replaced: The ids of the servers that were created before this one, were stuck, and were deleted for it.
        old: The server that was replaced by this one, as it was before.
        alternative: The `Alternative` from which this call has created it, and why; None: from the spec itself.
        error: None, as for every outcome that is not `Failed`.
    """

    key: ServerId
    server: Server | None
    evidence: Evidence | None = attrs.field(default=None, kw_only=True)
    timeline: tuple[Seen, ...] = attrs.field(default=(), kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)
    attempts: int = attrs.field(default=0, kw_only=True)
    how: str = attrs.field(default="", kw_only=True)
    stage: str = attrs.field(default="", kw_only=True)
    differences: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    old: Server | None = attrs.field(default=None, kw_only=True)
    acknowledged: bool = attrs.field(default=False, kw_only=True)
    receipt: Receipt | None = attrs.field(default=None, kw_only=True)
    replaced: tuple[ServerId, ...] = attrs.field(default=(), kw_only=True)
    alternative: TakenAlternative | None = attrs.field(default=None, kw_only=True)
    error: ClassVar[None] = None


@attrs.frozen
class Failed:
    """The server did not reach its target.

    Attributes:
        key: The name of the spec, or the id that was given.
        error: Why.
        server_id: The id of the server, if it is known to exist: it may be charged for.
        server: The last record of that server.
        stage: How far the server came, as in `Succeeded`; empty where its command was not accepted.
        timeline: The statuses that its wait saw, and what its ready checks said.
        seconds: The time from sending the command to the outcome.
        attempts: The number of times the command was sent.
        acknowledged: Whether the service accepted the command. `Report.retry_failed` does not send it again then.
        receipt: That of the command, with which another process can wait for it; None if it was not acknowledged.
        replaced: The ids of the servers that were created before, were stuck, and were deleted, as in `Succeeded`.
        not_replaced: Why a stuck server was not replaced; empty without ``on_stuck="replace"``, and where it was.
        old: The server that was to be replaced, as it was before; ``server`` is the new one then.
        alternative: The `Alternative` that was tried last; None for the spec itself.
    """

    key: ServerId
    error: VpsOrgError
    server_id: ServerId | None = attrs.field(default=None, kw_only=True)
    server: Server | None = attrs.field(default=None, kw_only=True)
    timeline: tuple[Seen, ...] = attrs.field(default=(), kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)
    attempts: int = attrs.field(default=0, kw_only=True)
    stage: str = attrs.field(default="", kw_only=True)
    acknowledged: bool = attrs.field(default=False, kw_only=True)
    receipt: Receipt | None = attrs.field(default=None, kw_only=True)
    replaced: tuple[ServerId, ...] = attrs.field(default=(), kw_only=True)
    not_replaced: str = attrs.field(default="", kw_only=True)
    old: Server | None = attrs.field(default=None, kw_only=True)
    alternative: TakenAlternative | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class Skipped:
    """Nothing was sent for the server.

    Attributes:
        key: The name of the spec, or the id that was given.
        reason: Why.
        stage: Empty, as nothing was sent.
        server: None, as nothing is known of the server.
        error: None, as for every outcome that is not `Failed`.
    """

    key: ServerId
    reason: str
    stage: ClassVar[str] = ""
    server: ClassVar[None] = None
    error: ClassVar[None] = None


Outcome = Succeeded | Failed | Skipped
"""What became of one server. Each kind has ``key``, ``server`` and ``error``, None where there is none.

Example::

    match outcome:
        case Succeeded(server=Server() as server):
            print(server.ip_address)
        case Failed(error=error):
            print(outcome.key, error)
        case Skipped(reason=reason):
            print(outcome.key, reason)
"""


@attrs.frozen(kw_only=True)
class Report:
    """The outcomes of a fleet call.

    Attributes:
        operation: The call: ``create``, ``ensure``, ``start``, ``stop``, ``hard_stop``, ``reboot``, ``delete``,
            ``rolling reboot``, ``rolling stop``, ``rolling start``, ``apply``, or ``scale``.
        outcomes: One outcome for each spec or id, in the order given.
        seconds: The time from the beginning of the call to its last outcome.
        rolled_back: Whether the servers that the call created were deleted again: because ``min_count`` was not
            reached, or by ``on_cancel="delete"``.
        breaker: Why stuck servers were not replaced any more, with ``on_stuck="replace"``: too many were stuck at the
            same time. Empty otherwise.

    Example::

        report = await vps.fleet.create(specs, timeout=900)
        for failure in report.failed:
            print(failure.key, failure.error)
        report.raise_for_failures()
    """

    operation: str
    outcomes: tuple[Outcome, ...]
    seconds: float = 0.0
    rolled_back: bool = False
    breaker: str = ""
    again: Callable[[Report], Awaitable[Report]] | None = attrs.field(default=None, repr=False, eq=False)
    """What `retry_failed` calls; None for a report that has no client."""

    @property
    def succeeded(self) -> tuple[Succeeded, ...]:
        """The outcomes of the servers that reached their target."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Succeeded))

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The outcomes of the servers that did not."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failed))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """The outcomes of the servers for which nothing was sent."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Skipped))

    @property
    def replaced(self) -> tuple[ServerId, ...]:
        """The ids of the servers that were stuck and that the call has deleted and replaced."""
        return tuple(
            server_id
            for outcome in self.outcomes
            if not isinstance(outcome, Skipped)
            for server_id in outcome.replaced
        )

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers that reached their target, as the poll showed them; it may lack fields (see `Server`)."""
        return tuple(outcome.server for outcome in self.succeeded if outcome.server is not None)

    @property
    def remaining(self) -> Remaining:
        """What remains of a rolling operation; hand it to the next `Fleet.rolling_reboot` or `Fleet.rolling`.

        Its ids are those of the servers that have not succeeded, skipped ones included; it is empty, and false, once
        all have. The next call continues the operation. Its report has an outcome for each server of the whole fleet,
        and a share as ``max_unavailable`` is one of the whole fleet:

        - What is done is not done again. If such a server is down by now, it counts as unavailable.
        - A server whose command was acknowledged is waited for by its receipt, and checked, whatever ended its wait.
        - A reboot that may have been applied is not repeated. It fails again, with `OutcomeUnknownError`: look at the
          server, then go on without it (`Remaining.without`). Another command in doubt is judged by the server.
        - All others are sent their command.

        It survives its process as the report does: with `vpsorg_async.plain`, or pickled.

        Raises:
            ConfigurationError: The report is not that of a rolling operation: use `retry_failed`.

        Example:
            ``report = await vps.fleet.rolling_reboot(report.remaining, timeout=600, max_unavailable=0.1)``
        """
        rolling, _, operation = self.operation.partition(" ")
        if rolling != "rolling":
            raise ConfigurationError(
                f"only a rolling operation can be continued, not {self.operation}: use retry_failed"
            )
        sent = {outcome.key: left for outcome in self.outcomes if (left := _left_of(operation, outcome))}
        return Remaining(operation, [outcome.key for outcome in self.outcomes], sent)

    def raise_for_failures(self) -> None:
        """Raise if any server failed or was skipped.

        Raises:
            FleetError: An `ExceptionGroup` of all errors; ``except*`` splits it.
        """
        errors: list[Exception] = [outcome.error for outcome in self.failed]
        errors += [VpsOrgError(f"{outcome.key} was skipped: {outcome.reason}") for outcome in self.skipped]
        if errors:
            raise FleetError(
                f"{self.operation}: {len(errors)} of {counted(len(self.outcomes), 'server')} failed", errors
            )

    async def retry_failed(self) -> Report:
        """Retry the servers that failed or were skipped, and return the whole report with the new outcomes.

        A create is retried by `Fleet.ensure`, which adopts servers that exist by then. A server whose command was
        acknowledged is only waited for again, whatever ended its wait. A reboot whose outcome is unknown is not
        repeated, because the server could reboot twice.

        Returns:
            A report with an outcome for each server of this one, in the same order.

        Raises:
            ConfigurationError: The report was pickled, so that it has no client, or is that of a rolling operation:
                check its failed servers first.

        Example:
            ``report = await report.retry_failed()``
        """
        if self.again is None:
            raise ConfigurationError("this report has no client to try again with")
        return await self.again(self)

    def __reduce__(self) -> Any:
        # a client cannot be pickled, so that a stored report has none
        return _restored, (self.operation, self.outcomes, self.seconds, self.rolled_back, self.breaker)

    def to_json(self) -> str:
        """Return the report as JSON: totals, and a row for each server."""
        return json.dumps(
            {
                "operation": self.operation,
                "seconds": round(self.seconds, 3),
                "succeeded": len(self.succeeded),
                "failed": len(self.failed),
                "skipped": len(self.skipped),
                "rolled_back": self.rolled_back,
                "replaced": list(self.replaced),
                "breaker": self.breaker,
                "outcomes": [_row(outcome) for outcome in self.outcomes],
            }
        )

    def __str__(self) -> str:
        return (
            f"{self.operation}: {len(self.succeeded)} succeeded, {len(self.failed)} failed, "
            f"{len(self.skipped)} skipped in {self.seconds:.1f} s"
            f"{f', {len(self.replaced)} replaced' if self.replaced else ''}"
            f"{f'; {self.breaker}' if self.breaker else ''}"
        )


def with_password(server: Server | None, created: Server | None) -> Server | None:
    """Return the server with the password of its create, the only answer that has it; later reads do not."""
    if server is None or created is None or created.password is None or created.id != server.id:
        return server
    return attrs.evolve(server, password=created.password)


def _left_of(operation: str, outcome: Outcome) -> Intent | Acknowledged | None:
    """Return what the next run must know of the command of a rolling operation; None where nothing was sent."""
    if isinstance(outcome, Skipped):
        return None
    receipt = outcome.receipt
    if isinstance(outcome, Succeeded):
        # no wait uses the receipt of what is done
        now = SystemClock().wall()
        receipt = receipt or Receipt(server_id=outcome.key, operation=operation, acknowledged_at=now)
        return Acknowledged(receipt=receipt, done=True)
    if receipt is not None:
        return Acknowledged(receipt=receipt)
    if isinstance(outcome.error, RequestError) and outcome.error.sent is Sent.MAYBE:
        sent_at = getattr(outcome.error, "sent_at", None)
        return Intent(operation=operation, at=sent_at or SystemClock().wall())
    return None


def _restored(
    operation: str, outcomes: tuple[Outcome, ...], seconds: float, rolled_back: bool, breaker: str = ""
) -> Report:
    return Report(
        operation=operation, outcomes=outcomes, seconds=seconds, rolled_back=rolled_back, breaker=breaker
    )


def _row(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"key": outcome.key, "outcome": type(outcome).__name__.lower()}
    if isinstance(outcome, Skipped):
        return row | {"reason": outcome.reason}
    server = outcome.server
    row |= {
        "stage": outcome.stage,
        "id": None if server is None else server.id,
        "name": None if server is None else server.name,
        "status": None if server is None else str(server.status),
        "ip_address": None if server is None else server.ip_address,
        "attempts": outcome.attempts,
        "acknowledged": outcome.acknowledged,
        "seconds": round(outcome.seconds, 3),
        "timeline": [str(seen) for seen in outcome.timeline],
        "replaced": list(outcome.replaced),
        "alternative": None if outcome.alternative is None else attrs.asdict(outcome.alternative),
    }
    if isinstance(outcome, Succeeded):
        return row | {
            "how": outcome.how,
            "evidence": None if outcome.evidence is None else str(outcome.evidence),
            "differences": list(outcome.differences),
        }
    return row | {
        "id": outcome.server_id,
        "error": type(outcome.error).__name__,
        "message": str(outcome.error),
        "not_replaced": outcome.not_replaced,
        "reason": outcome.error.reason if isinstance(outcome.error, WaitError) else "",
    }
