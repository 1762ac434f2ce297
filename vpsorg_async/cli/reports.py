"""Run a fleet call, show its progress, and print its report, however the call ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

from ..client import Client
from ..errors import VpsOrgError, WaitError
from ..fleet import Failed, Report, Skipped
from ..fleet.events import FleetEvent
from ..lifecycle.commands import COMMANDS
from ..records import ServerId
from .chart import ACTIVE
from .earlier_runs import NOT_RECORDED, Recording, close_books, take_up
from .exits import Exit
from .live import Tally, showing
from .output import Output, columns
from .passwords import Passwords
from .readiness_options import NO_CHECK, ReadyRequest
from .settings import Settings

__all__ = ["AGAIN", "Call", "Hook", "number", "run_and_report", "some", "to_continue"]

AGAIN = "or run the same command again: it takes up what was sent, and sends the rest"
"""The hint after an interruption, if there is a journal."""

Hook = Callable[[FleetEvent], None]
Call = Callable[[Client, Hook, Path | None], Awaitable[Report]]
"""A fleet call of a client, which passes its events to the second argument; the third is the file of its journal."""


def number(servers: Sized) -> str:
    """Return the number of servers, in words."""
    return "1 server" if len(servers) == 1 else f"{len(servers)} servers"


def some(items: Sequence[object], most: int = 20) -> str:
    """Join the items, at most ``most`` of them, with the last one at the end."""
    shown = [str(item) for item in items]
    return ", ".join(shown if len(shown) <= most else [*shown[: most - 1], f"… {shown[-1]}"])


def run_and_report(
    settings: Settings,
    operation: str,
    names: Mapping[ServerId, str],
    call: Call,
    output: Output,
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
            _show(report or tally.report(), names, output, safe, request, kept, interrupted=report is None)

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
    errors += [VpsOrgError(outcome.reason) for outcome in report.skipped]
    return Exit.of_all(errors, len(report.outcomes))


def to_continue(
    ids: Sequence[ServerId], targets: Sequence[str], request: ReadyRequest, journal: str = ""
) -> str:
    """Return the command that continues a wait; ``journal`` are its options for the journal."""
    words = "".join(f" --for {target}" for target in targets)
    return f"to continue the wait: vpsorg wait {' '.join(map(str, ids))}{words}{request.written}{journal}"


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
    output: Output,
    safe: Passwords | None,
    request: ReadyRequest,
    recording: Recording,
    *,
    interrupted: bool = False,
) -> None:
    if safe is not None:
        # unfinished servers included: they exist, and the API returns their passwords only once
        servers = [outcome.server for outcome in report.outcomes if not isinstance(outcome, Skipped)]
        safe.keep(server for server in servers if server is not None)
    rows: list[tuple[Any, ...]] = []
    reasons: dict[str, list[ServerId]] = {}
    for outcome in report.outcomes:
        server = None if isinstance(outcome, Skipped) else outcome.server
        label = names.get(outcome.key) or (server and server.name) or outcome.key
        if isinstance(outcome, Skipped):
            rows.append((label, "skipped", None, None, None, None))
            reasons.setdefault(outcome.reason, []).append(label)
            continue
        word = "failed"
        if isinstance(outcome, Failed):
            reason = str(outcome.error)
            if interrupted and type(outcome.error) is WaitError:
                word, reason = "left", _left(outcome)
            reasons.setdefault(reason, []).append(label)
        else:
            word = outcome.how
        server_id = server.id if server is not None else getattr(outcome, "server_id", None)
        status, address = (server.status, server.address) if server is not None else (None, None)
        # with a check, the stage says more than the status, which is active before and after it
        stage = status if request.check is None else outcome.stage
        rows.append((label, word, server_id, stage, address, f"{outcome.seconds:.1f}"))
    head = ("SERVER", "OUTCOME", "ID", "STATUS" if request.check is None else "STAGE", "IP", "SECONDS")
    lines = columns(head, rows) if rows else []
    lines += [f"{some(names)}: {' '.join(reason.split())}" for reason, names in reasons.items()]
    left = [row[2] for row in rows if row[1] == "left" and row[2] is not None]
    unfinished = (
        interrupted and recording is not NOT_RECORDED and len(report.succeeded) < len(report.outcomes)
    )
    again = AGAIN if unfinished else ""
    if report.operation in ("apply", "scale"):
        # some of its servers are to be active, others gone: no wait fits all
        again = again.removeprefix("or ")
    elif left:
        option = recording.file.written
        lines.append(to_continue(left, [_target(report.operation)], request, option))
    lines += [again] if again else []
    output.report(json.loads(report.to_json()), lines)
    if left:
        failed = len(report.failed) - len(left)
        counts = f"{len(report.succeeded)} succeeded, {len(left)} left in progress, {failed} failed"
        output.note(f"{report.operation}: {counts}, {len(report.skipped)} skipped in {report.seconds:.1f} s")
    else:
        output.note(str(report))
