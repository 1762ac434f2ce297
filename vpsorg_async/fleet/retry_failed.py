"""The jobs for a plan, for what an earlier run left, and for another try of a report. Pure."""

from __future__ import annotations

import attrs

from ..errors import OutcomeUnknownError, Sent, UnexpectedStatusError, VpsOrgError
from ..journal import Acknowledged, Intent
from ..lifecycle.commands import COMMANDS, ONCE
from ..lifecycle.contract import Target
from ..lifecycle.receipts import Receipt
from ..records import ServerId
from ..specs import ServerSpec
from .jobs import Job
from .outcomes import Failed, Outcome, Report, Skipped, with_password
from .planning import Step, StepKind

__all__ = ["job_deleting", "job_left", "job_of", "job_waiting", "jobs_again", "merged", "take_up"]


_HOW = {StepKind.START: "started", StepKind.UPDATE: "updated"}


def job_of(step: Step) -> Job:
    """Return the job that applies a step of a plan."""
    active = Target.of("active")
    server_id = None if step.server is None else step.server.id
    if step.kind is StepKind.REFUSE:
        error = UnexpectedStatusError(
            f"{step.spec.name}: {step.reason}", server_id=server_id, target="active", last_seen=step.server
        )
        return Job(key=step.spec.name, server=step.server, server_id=server_id, error=error)
    if step.surplus and step.kind is StepKind.KEEP:
        return Job(key=step.name, how="kept")
    after = tuple(server.id for server in step.after)
    fields = {field: getattr(step.spec, field) for field in step.updates}
    if step.kind is StepKind.CREATE:
        return Job(key=step.spec.name, command="create", spec=step.spec, target=active, after=after)
    return Job(
        key=step.spec.name,
        command="start" if step.kind is StepKind.START else "",
        server=step.server,
        server_id=server_id,
        target=None if step.kind in (StepKind.KEEP, StepKind.UPDATE) else active,
        differences=step.differences,
        fields=fields,
        # a start that is refused because it runs has reached its goal
        echo=step.kind is StepKind.START,
        how=_HOW.get(step.kind, "adopted"),
        after=after,
    )


def job_deleting(step: Step, left: Intent | Acknowledged | None) -> Job:
    """Return the job that deletes the server of a step; ``left`` is what an earlier run left of its own delete."""
    assert step.server is not None
    job = job_left(step.server.id, "delete", Target.of("gone"), left)
    return attrs.evolve(job, key=step.name, server=step.server)


def take_up(spec: ServerSpec, receipt: Receipt, target: Target | None, *, leaving: bool = False) -> Job:
    """Return the job that waits for the server which an earlier run created, and perhaps deleted (``leaving``)."""
    if leaving:
        # old enough to be visible: its absence proves that the delete was applied
        target = Target.of("active")
        return Job(key=spec.name, spec=spec, server_id=receipt.server_id, target=target, leaving=True)
    return Job(
        key=spec.name,
        spec=spec,
        server_id=receipt.server_id,
        target=target,
        how="created",
        acknowledged=True,
        receipt=receipt,
    )


def job_left(
    server_id: ServerId, operation: str, target: Target | None, left: Intent | Acknowledged | None
) -> Job:
    """Return the job that sends a command to a server; ``left`` is what an earlier run left of the same command."""
    if left is None:
        return _act(server_id, operation, target)
    if isinstance(left, Acknowledged):
        return _act(server_id, operation, target, acknowledged=True, receipt=left.receipt)
    lost = OutcomeUnknownError(
        f"{operation} of {server_id!r} was about to be sent at {left.at:%Y-%m-%d %H:%M:%S} UTC by an earlier run that "
        "ended before the answer was recorded: check the server before sending it again",
        subject=server_id,
        sent_at=left.at,
    )
    # whether it is over shows as if it had been acknowledged
    receipt = Receipt(server_id=server_id, operation=operation, acknowledged_at=left.at)
    return _act(server_id, operation, target, receipt=receipt, lost=lost)


def _act(
    key: ServerId,
    operation: str,
    target: Target | None,
    *,
    acknowledged: bool = False,
    receipt: Receipt | None = None,
    lost: VpsOrgError | None = None,
) -> Job:
    """Return the job for a command, of which an earlier one was ``acknowledged``, or may have been applied (``lost``).

    What was acknowledged is only waited for. A lost reboot fails, because the server could reboot twice, and so does a
    lost resize. Any other lost command is sent again, and a refusal counts as the echo of the first.
    """
    past = COMMANDS[operation].past
    if acknowledged:
        return Job(key=key, server_id=key, target=target, how=past, acknowledged=True, receipt=receipt)
    if lost is not None and operation in ONCE:
        return Job(key=key, server_id=key, error=lost, receipt=receipt)
    return Job(key=key, command=operation, server_id=key, target=target, how=past, echo=lost is not None)


def job_waiting(outcome: Failed) -> Job:
    """Return the job that waits again for a server whose command was acknowledged."""
    return Job(
        key=outcome.key,
        server=outcome.server,
        server_id=outcome.server_id,
        target=Target.of("active"),
        acknowledged=True,
    )


def jobs_again(report: Report, operation: str, target: Target | None) -> list[Job]:
    """Return the jobs that retry the failed and skipped servers of a report."""
    jobs: list[Job] = []
    for outcome in report.outcomes:
        if isinstance(outcome, Skipped):
            jobs.append(_act(outcome.key, operation, target))
        elif isinstance(outcome, Failed):
            maybe = getattr(outcome.error, "sent", None) is Sent.MAYBE
            lost = outcome.error if maybe else None
            jobs.append(_act(outcome.key, operation, target, acknowledged=outcome.acknowledged, lost=lost))
    return jobs


def merged(old: Report, new: Report) -> Report:
    """Return the old report with the new outcomes in their places."""
    newer = {outcome.key: outcome for outcome in new.outcomes}
    return Report(
        operation=old.operation,
        outcomes=tuple(_after(outcome, newer.get(outcome.key, outcome)) for outcome in old.outcomes),
        seconds=old.seconds + new.seconds,
        breaker=new.breaker,
        again=old.again,
    )


def _after(old: Outcome, new: Outcome) -> Outcome:
    if isinstance(old, Skipped) or isinstance(new, Skipped):
        return new
    return attrs.evolve(new, server=with_password(new.server, old.server))
