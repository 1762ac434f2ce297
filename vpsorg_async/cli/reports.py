"""Run a fleet call, show its progress, and print its report, however the call ends."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import attrs

from ..client import Client
from ..errors import AuthenticationError, VpsOrgError, WaitError
from ..fleet import Failed, Outcome, Report, Skipped, Succeeded
from ..fleet.events import FleetEvent
from ..lifecycle.commands import COMMANDS
from ..records import ServerId
from .chart import ACTIVE
from .earlier_runs import NOT_RECORDED, Recording, close_books, take_up
from .exits import Exit
from .live import LEFT, Tally, is_left, showing
from .output import View
from .passwords import Passwords
from .readiness_options import NO_CHECK, ReadyRequest
from .server_tables import ReportOutput, ReportRow, report_columns
from .settings import Settings
from .stdio import last_lines
from .wording import number, some

__all__ = ["AGAIN", "Call", "Hook", "number", "run_and_report", "some", "to_continue"]

AGAIN = "run the same command again: it takes up what was sent, and sends the rest"
"""The hint after an interruption, if there is a journal."""

Hook = Callable[[FleetEvent], None]
Call = Callable[[Client, Hook, Path | None], Awaitable[Report]]
"""A fleet call of a client, which passes its events to the second argument; the third is the file of its journal."""


def run_and_report(
    settings: Settings,
    operation: str,
    names: Mapping[ServerId, str],
    call: Call,
    output: ReportOutput,
    safe: Passwords | None = None,
    request: ReadyRequest = NO_CHECK,
    recording: Recording = NOT_RECORDED,
) -> int:
    """Run the call, show its progress, and print its report, also if the call was interrupted.

    ``names``: the keys of the outcomes, in order, each with the name to show for it, or an empty string.
    ``request``: the check that the call makes. ``recording``: how it is recorded in the journal.
    """
    tally = Tally(operation, [*names], ready=request)
    reported = recorded = False

    def show_once(report: Report | None = None) -> None:
        nonlocal reported
        if not reported:
            reported = True
            kept = recording if recorded else NOT_RECORDED
            told, stopped = report or tally.report(), report is None
            _show(told, names, output, safe, request, kept, settings.options, interrupted=stopped)

    async def work(vps: Client) -> Report:
        nonlocal recorded
        async with recording.file.opened() as journal:
            recorded, taken_up = await take_up(vps, recording, journal, operation)
            if taken_up:
                output.note(f"{operation}: {taken_up}")
            try:
                async with showing(vps, tally, quiet=output.quiet):
                    report = await call(vps, tally.heard, recording.file.path if recorded else None)
            except asyncio.CancelledError:
                show_once()
                raise
            show_once(report)
            if journal is not None and recorded:
                await close_books(journal, report, recording)
            return report

    report = settings.run(work, on_event=tally.heard, last_words=show_once)
    errors: list[Exception] = [outcome.error for outcome in report.failed]
    if any(isinstance(error, AuthenticationError) for error in errors):
        output.note(settings.about_token)
    errors += [VpsOrgError(outcome.reason) for outcome in report.skipped]
    return Exit.of_all(errors, len(report.outcomes))


def to_continue(
    ids: Sequence[ServerId], targets: Sequence[str], request: ReadyRequest, options: str = ""
) -> str:
    """Return the command that continues a wait; ``options`` are those of the journal and the account."""
    words = "".join(f" --for {target}" for target in targets)
    return f"vpsorg wait {' '.join(map(str, ids))}{words}{request.written}{options}"


def _target(operation: str) -> str:
    command = COMMANDS.get(operation.split()[-1])  # a rolling reboot waits as a reboot does
    return command.target if command else ACTIVE


def _left(outcome: Failed) -> str:
    """Return how far a server came whose wait was interrupted."""
    if outcome.stage != ACTIVE:
        return "left in progress: the command was acknowledged"
    reason = outcome.error.reason if isinstance(outcome.error, WaitError) else ""
    return f"left active, but not ready{reason and f', last: {reason}'}"


def _show(
    report: Report,
    names: Mapping[ServerId, str],
    output: ReportOutput,
    safe: Passwords | None,
    request: ReadyRequest,
    recording: Recording,
    account_options: str,
    *,
    interrupted: bool = False,
) -> None:
    if safe is not None:
        # unfinished servers included: they exist, and the API returns their passwords only once
        servers = [outcome.server for outcome in report.outcomes if not isinstance(outcome, Skipped)]
        safe.keep(server for server in servers if server is not None)
    rows = [_row(outcome, names) for outcome in report.outcomes]
    reasons: dict[str, list[ServerId]] = {}
    for row in rows:
        if row.reason:
            reasons.setdefault(row.reason, []).append(row.label)
    lines = [f"{some(names)}: {reason}" for reason, names in reasons.items()]
    lefts = [row for row in rows if row.outcome == LEFT]
    left = [row.id for row in lefts if row.id is not None]
    recorded = recording is not NOT_RECORDED
    unfinished = interrupted and recorded and len(report.succeeded) < len(report.outcomes)
    # an apply has servers that are to be active, and others that are to be gone: no wait fits all
    if left and report.operation not in ("apply", "scale"):
        options = f"{recording.file.written}{account_options}"
        command = to_continue(left, [_target(report.operation)], request, options)
        either = f" (or {AGAIN})" if unfinished else ""
        last_lines(f"to continue the wait{either}:", command)
    elif unfinished:
        last_lines(f"{AGAIN}:", shlex.join(["vpsorg", *sys.argv[1:]]))
    document = json.loads(report.to_json())
    usual = report_columns(checked=request.check is not None)
    table = View(document=document, rows=rows, place="outcomes", after=lines, usual=usual)
    output.report_view(table if rows else attrs.evolve(table, text=()))
    if lefts:
        failed = len(report.failed) - len(lefts)
        counts = f"{len(report.succeeded)} succeeded, {len(lefts)} left in progress, {failed} failed"
        output.note(f"{report.operation}: {counts}, {len(report.skipped)} skipped in {report.seconds:.1f} s")
    else:
        output.note(str(report))


def _row(outcome: Outcome, names: Mapping[ServerId, str]) -> ReportRow:
    """Return the row of a server. ``names``: as for `run_and_report`."""
    name = names.get(outcome.key) or (outcome.server and outcome.server.name) or None
    if isinstance(outcome, Skipped):
        return ReportRow(key=outcome.key, name=name, outcome="skipped", reason=_line(outcome.reason))
    server, word, reason = outcome.server, "failed", ""
    if isinstance(outcome, Succeeded):
        word, reason = outcome.how, _remark(outcome)
    else:
        reason = "; ".join(filter(None, (str(outcome.error), _remark(outcome))))
        if is_left(outcome):
            word, reason = LEFT, _left(outcome)
    return ReportRow(
        key=outcome.key,
        name=name,
        outcome=word,
        id=server.id if server is not None else getattr(outcome, "server_id", None),
        status=None if server is None else server.status,
        stage=outcome.stage,
        address=None if server is None else server.address,
        seconds=outcome.seconds,
        reason=_line(reason),
    )


def _remark(outcome: Succeeded | Failed) -> str:
    """Return what was done besides a create: which servers were replaced, and which alternative was taken."""
    taken, parts = outcome.alternative, []
    if taken is not None:
        parts.append(f"plan {taken.plan_id} in {taken.location}, because {taken.reason}")
    if outcome.replaced:
        parts.append(f"{some(outcome.replaced)} was stuck and is deleted")
    if isinstance(outcome, Failed) and outcome.not_replaced:
        parts.append(f"not replaced: {outcome.not_replaced}")
    return "; ".join(parts)


def _line(text: str) -> str:
    return " ".join(text.split())
