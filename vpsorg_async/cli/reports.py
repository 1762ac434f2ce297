"""A fleet call made, shown while it runs, and its report printed, however it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Sized

from ..client import Client
from ..errors import VpsOrgError, WaitError
from ..fleet import Failed, Report, Skipped
from ..fleet.events import FleetEvent
from ..records import ServerId
from .exits import Exit
from .live import Tally, showing
from .output import Output, columns
from .passwords import Passwords
from .settings import Settings

__all__ = ["Call", "carry_out", "number", "some"]

Call = Callable[[Client, Callable[[FleetEvent], None]], Awaitable[Report]]
"""A call of a client's fleet, which tells its events to the second argument."""


def number(servers: Sized) -> str:
    """How many servers, in words."""
    return "1 server" if len(servers) == 1 else f"{len(servers)} servers"


def some(items: Sequence[object], most: int = 20) -> str:
    """A list of them, cut in its middle."""
    shown = [str(item) for item in items]
    return ", ".join(shown if len(shown) <= most else [*shown[: most - 1], f"… {shown[-1]}"])


def carry_out(
    settings: Settings,
    operation: str,
    names: Mapping[ServerId, str],
    call: Call,
    output: Output,
    safe: Passwords | None = None,
) -> int:
    """Make the call, show how far it is, and print its report: also the one of a call that was interrupted.

    ``names``: the keys of the outcomes, in their order, each with the name to show for it, if it is another.
    """
    tally = Tally(operation, [*names])
    told = False

    def tell(report: Report | None = None) -> None:
        nonlocal told
        if not told:
            told = True
            _show(report or tally.report(), names, output, safe, interrupted=report is None)

    async def work(vps: Client) -> Report:
        try:
            async with showing(vps, tally, quiet=output.quiet):
                report = await call(vps, tally.heard)
        except asyncio.CancelledError:
            tell()
            raise
        tell(report)
        return report

    report = settings.run(work, on_event=tally.heard, last_words=tell)
    errors: list[Exception] = [outcome.error for outcome in report.failed]
    errors += [VpsOrgError(outcome.reason) for outcome in report.skipped]
    return Exit.of_all(errors, len(report.outcomes))


def _show(
    report: Report,
    names: Mapping[ServerId, str],
    output: Output,
    safe: Passwords | None,
    *,
    interrupted: bool = False,
) -> None:
    if safe is not None:
        # also those of servers that were left or are late: they exist, and their passwords are told once
        told = [outcome.server for outcome in report.outcomes if not isinstance(outcome, Skipped)]
        safe.keep(server for server in told if server is not None)
    rows = []
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
                word, reason = (
                    "left",
                    "left under way: the command was acknowledged; vpsorg wait goes on waiting",
                )
            reasons.setdefault(reason, []).append(label)
        else:
            word = outcome.how
        server_id = server.id if server is not None else getattr(outcome, "server_id", None)
        seen = (server.status, server.address) if server is not None else (None, None)
        rows.append((label, word, server_id, *seen, f"{outcome.seconds:.1f}"))
    lines = columns(("SERVER", "OUTCOME", "ID", "STATUS", "IP", "SECONDS"), rows) if rows else []
    lines += [f"{some(names)}: {' '.join(reason.split())}" for reason, names in reasons.items()]
    output.report(json.loads(report.to_json()), lines)
    left = sum(row[1] == "left" for row in rows)
    if left:
        counts = (
            f"{len(report.succeeded)} succeeded, {left} left under way, {len(report.failed) - left} failed"
        )
        output.note(f"{report.operation}: {counts}, {len(report.skipped)} skipped in {report.seconds:.1f} s")
    else:
        output.note(str(report))
