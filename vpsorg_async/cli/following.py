"""One command on one server: the wait for it, its progress, and its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from ..client import Client
from ..errors import WaitError
from ..lifecycle.commands import COMMANDS
from ..lifecycle.contract import Target
from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from .chart import READY
from .live import Tally, showing
from .output import View, plain, sheet
from .readiness_options import ReadyRequest
from .reports import to_continue
from .server_tables import ReportOutput, ReportRow
from .settings import Settings
from .stdio import last_lines, note

__all__ = ["follow", "wait_for"]


async def wait_for(
    vps: Client,
    operation: str,
    subject: ServerId | Receipt,
    key: ServerId,
    tally: Tally,
    results: list[Any],
    timeout: float,
    request: ReadyRequest,
    options: str,
) -> None:
    """Wait for a command that was acknowledged; appends the last that is known of the server, however that ends.

    ``options``: those of the journal and the account, for the command that continues the wait.
    """
    server_id = subject.server_id if isinstance(subject, Receipt) else subject
    target = COMMANDS[operation].target
    seen: list[Server] = []

    def heard(server: Server, reason: str) -> None:
        seen[:] = [server]
        tally.checked(key, reason)

    check = request.watched(heard)
    try:
        results.append(
            await vps.wait_until(
                subject, Target.of(target), timeout=timeout, ready=check, ready_timeout=request.timeout
            )
        )
    except WaitError as error:
        results += [] if error.last_seen is None else [error.last_seen]
        raise
    except asyncio.CancelledError:
        results += seen
        done = tally.state(key) if tally.stage(key) else "is in progress"
        note(f"the {operation} of {key} was acknowledged; {done}", needed=True)
        last_lines("to continue the wait:", to_continue([server_id], [target], request, options))
        raise


def follow(
    settings: Settings,
    operation: str,
    key: ServerId,
    work: Callable[[Client, Tally, list[Any]], Awaitable[None]],
    output: ReportOutput,
    wait: bool,
    timeout: float,
    request: ReadyRequest,
) -> None:
    """Run the work, show its progress, and print the last of its results, however it ends."""
    tally = Tally(operation, [key], timeout=timeout, ready=request)

    async def followed(vps: Client) -> None:
        results: list[Any] = []
        try:
            async with showing(vps, tally, quiet=output.quiet or not wait):
                await work(vps, tally, results)
                word = str(getattr(results[-1], "status", "") or "done")
                tally.settled(key, READY if wait and request.check is not None else word)
        finally:
            for result in results[-1:]:
                _report(result, operation, key, output)

    settings.run(followed, on_event=tally.heard)


def _report(result: Any, operation: str, key: ServerId, output: ReportOutput) -> None:
    row, document = ReportRow(key=key, outcome=operation), result
    if isinstance(result, Server):
        row = attrs.evolve(row, name=result.name, id=result.id, status=result.status, address=result.address)
        text = sheet(plain(result))
    elif result is None:
        row = attrs.evolve(row, id=key)
        document, text = {"server_id": key, "status": "deleted"}, [f"{key} is deleted"]
    else:
        row = attrs.evolve(row, name=result.server_name, id=result.server_id, status=result.server_status)
        said = result.message or f"the {operation} was accepted"
        text = [f"{result.server_name or result.server_id}: {said}"]
    output.report_view(View(document=document, rows=(row,), text=text))
