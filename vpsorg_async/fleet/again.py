"""From a plan, or from a report, to the jobs that are left to do. Pure."""

from __future__ import annotations

import attrs

from ..errors import OutcomeUnknownError, Sent, UnexpectedStatusError, WaitError
from ..lifecycle.contract import Target
from ..models import ServerId
from .jobs import HOW, Job
from .outcomes import Failed, Outcome, Report, Skipped, with_password
from .plan import Step, StepKind

__all__ = ["job_of", "jobs_again", "merged", "open_keys"]


def job_of(step: Step) -> Job:
    """The job that carries out a step of a plan."""
    active = Target.of("active")
    server_id = None if step.server is None else step.server.id
    if step.kind is StepKind.REFUSE:
        error = UnexpectedStatusError(
            f"{step.spec.name}: {step.reason}", server_id=server_id, target="active", last_seen=step.server
        )
        return Job(key=step.spec.name, server=step.server, server_id=server_id, error=error)
    if step.kind is StepKind.CREATE:
        return Job(key=step.spec.name, command="create", spec=step.spec, target=active)
    return Job(
        key=step.spec.name,
        command="start" if step.kind is StepKind.START else "",
        server=step.server,
        server_id=server_id,
        target=None if step.kind is StepKind.KEEP else active,
        differences=step.differences,
    )


def open_keys(report: Report) -> list[ServerId]:
    """Whom to try again: those that failed or were skipped."""
    return [outcome.key for outcome in report.outcomes if isinstance(outcome, Failed | Skipped)]


def jobs_again(report: Report, operation: str, target: Target | None) -> list[Job]:
    """The jobs that try them again.

    A server whose command was acknowledged is only waited for again. A reboot whose outcome is unknown fails as it
    did: a second one could reboot it twice. Where another command may have been carried out, it is sent again, and a
    refusal is taken for the echo of the first.
    """
    jobs: list[Job] = []
    for outcome in report.outcomes:
        if not isinstance(outcome, Failed | Skipped):
            continue
        key, error = outcome.key, outcome.error if isinstance(outcome, Failed) else None
        if operation == "reboot" and isinstance(error, OutcomeUnknownError):
            jobs.append(Job(key=key, server_id=key, error=error))
            continue
        taken = isinstance(error, WaitError) and not isinstance(error, UnexpectedStatusError)
        jobs.append(
            Job(
                key=key,
                command="" if taken else operation,
                how=HOW[operation],
                server_id=key,
                target=target,
                echo=getattr(error, "sent", None) is Sent.MAYBE,
            )
        )
    return jobs


def merged(old: Report, new: Report) -> Report:
    """The old report with the new outcomes in their places."""
    newer = {outcome.key: outcome for outcome in new.outcomes}
    return Report(
        operation=old.operation,
        outcomes=tuple(_after(outcome, newer.get(outcome.key, outcome)) for outcome in old.outcomes),
        seconds=old.seconds + new.seconds,
        again=old.again,
    )


def _after(old: Outcome, new: Outcome) -> Outcome:
    if isinstance(old, Skipped) or isinstance(new, Skipped):
        return new
    return attrs.evolve(new, server=with_password(new.server, old.server))
