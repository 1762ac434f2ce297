"""What became of each server of a fleet call: plain data."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import attrs

from ..errors import ConfigurationError, FleetError, VpsOrgError
from ..lifecycle.contract import Evidence
from ..records import Seen, Server, ServerId

__all__ = ["Failed", "Outcome", "Report", "Skipped", "Succeeded", "with_password"]


@attrs.frozen
class Succeeded:
    """It worked, the wait included. ``key`` is the name of the spec, or the id that was given.

    ``server`` is the record that showed it (None only for a start, stop or reboot that was not waited for).
    ``how`` is ``created``, ``adopted`` (it existed, or its create had lost its answer), ``started``, ``stopped``,
    ``rebooted`` or ``deleted``. ``seconds`` counts from the sending of the command; ``evidence`` and ``timeline`` are
    those of the wait; ``differences`` says where an adopted server is not as its spec has it. ``attempts`` counts how
    often its command was sent, which is more than once only where that is safe. ``acknowledged`` says whether the
    service accepted a command of this client.
    """

    key: ServerId
    server: Server | None
    evidence: Evidence | None = attrs.field(default=None, kw_only=True)
    timeline: tuple[Seen, ...] = attrs.field(default=(), kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)
    attempts: int = attrs.field(default=0, kw_only=True)
    how: str = attrs.field(default="", kw_only=True)
    differences: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    acknowledged: bool = attrs.field(default=False, kw_only=True)
    error: ClassVar[None] = None


@attrs.frozen
class Failed:
    """It did not work: ``error`` says why.

    ``server_id`` and ``server`` are set where the server is known to exist: it may be charged for. ``attempts`` counts
    how often its command was sent. ``acknowledged`` says whether the service accepted it: it is never sent again then.
    """

    key: ServerId
    error: VpsOrgError
    server_id: ServerId | None = attrs.field(default=None, kw_only=True)
    server: Server | None = attrs.field(default=None, kw_only=True)
    timeline: tuple[Seen, ...] = attrs.field(default=(), kw_only=True)
    seconds: float = attrs.field(default=0.0, kw_only=True)
    attempts: int = attrs.field(default=0, kw_only=True)
    acknowledged: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class Skipped:
    """Nothing was sent for it: ``reason`` says why."""

    key: ServerId
    reason: str
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
    """The outcomes of a fleet call, in the order of what was asked. ``seconds`` is how long the call took.

    ``rolled_back`` is True where `min_count` was not reached and what the call had made was deleted again.
    """

    operation: str
    outcomes: tuple[Outcome, ...]
    seconds: float = 0.0
    rolled_back: bool = False
    again: Callable[[Report], Awaitable[Report]] | None = attrs.field(default=None, repr=False, eq=False)
    """The way back to the client, for `retry_failed`."""

    @property
    def succeeded(self) -> tuple[Succeeded, ...]:
        """Those that worked."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Succeeded))

    @property
    def failed(self) -> tuple[Failed, ...]:
        """Those that did not."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Failed))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Those for which nothing was sent."""
        return tuple(outcome for outcome in self.outcomes if isinstance(outcome, Skipped))

    @property
    def servers(self) -> tuple[Server, ...]:
        """The servers of those that worked."""
        return tuple(outcome.server for outcome in self.succeeded if outcome.server is not None)

    def raise_for_failures(self) -> None:
        """Raise `FleetError`, a group of all errors, if any server failed or was skipped."""
        errors: list[Exception] = [outcome.error for outcome in self.failed]
        errors += [VpsOrgError(f"{outcome.key} was skipped: {outcome.reason}") for outcome in self.skipped]
        if errors:
            raise FleetError(
                f"{self.operation}: {len(errors)} of {len(self.outcomes)} servers failed", errors
            )

    async def retry_failed(self) -> Report:
        """Try those again that failed or were skipped, and return the whole report anew.

        A create is tried by `ensure`, which adopts what exists by then. A server whose command was acknowledged is only
        waited for again, whatever ended its wait. A reboot whose outcome is unknown is left alone: a second one would
        reboot twice. Raises `ConfigurationError` for a report that has been stored or sent to another process, which
        has no client, and for that of a rolling operation, whose failed servers somebody has to look at first.
        """
        if self.again is None:
            raise ConfigurationError("this report has no client to try again with")
        return await self.again(self)

    def __reduce__(self) -> Any:
        # the way back to the client stays behind when a report is stored or sent
        return _restored, (self.operation, self.outcomes, self.seconds, self.rolled_back)

    def to_json(self) -> str:
        """The report as JSON: totals, and a row for each server."""
        return json.dumps(
            {
                "operation": self.operation,
                "seconds": round(self.seconds, 3),
                "succeeded": len(self.succeeded),
                "failed": len(self.failed),
                "skipped": len(self.skipped),
                "rolled_back": self.rolled_back,
                "outcomes": [_row(outcome) for outcome in self.outcomes],
            }
        )

    def __str__(self) -> str:
        return (
            f"{self.operation}: {len(self.succeeded)} succeeded, {len(self.failed)} failed, "
            f"{len(self.skipped)} skipped in {self.seconds:.1f} s"
        )


def with_password(server: Server | None, created: Server | None) -> Server | None:
    """The root password is told once, in the answer to the create: it must not be lost to a later read."""
    if server is None or created is None or created.password is None or created.id != server.id:
        return server
    return attrs.evolve(server, password=created.password)


def _restored(operation: str, outcomes: tuple[Outcome, ...], seconds: float, rolled_back: bool) -> Report:
    return Report(operation=operation, outcomes=outcomes, seconds=seconds, rolled_back=rolled_back)


def _row(outcome: Outcome) -> dict[str, Any]:
    row: dict[str, Any] = {"key": outcome.key, "outcome": type(outcome).__name__.lower()}
    if isinstance(outcome, Skipped):
        return row | {"reason": outcome.reason}
    server = outcome.server
    row |= {
        "id": None if server is None else server.id,
        "name": None if server is None else server.name,
        "status": None if server is None else str(server.status),
        "ip_address": None if server is None else server.ip_address,
        "attempts": outcome.attempts,
        "acknowledged": outcome.acknowledged,
        "seconds": round(outcome.seconds, 3),
        "timeline": [str(seen) for seen in outcome.timeline],
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
    }
