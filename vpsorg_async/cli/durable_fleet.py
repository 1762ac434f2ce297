"""Fleet commands as workflows of Temporal: begin one or join it, follow it, and print its rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

from .. import errors
from ..errors import ConfigurationError, VpsOrgError
from ..fleet_plan import FleetPlan
from ..plain import from_plain
from . import signals
from .approval import ask_for_approval
from .engine_options import ENGINE, DurableOptions, EngineOptions
from .engine_runs import begun, connected, handle_of, pages, progress, running
from .exits import Exit
from .output import OUTPUT, UNASKED, Output, Unasked, View, fitted, note, plain, sheet
from .reports import some
from .server_tables import ReportOutput, ReportRow, report_columns
from .settings import Settings

if TYPE_CHECKING:
    from temporalio.client import WorkflowHandle
    from temporalio.exceptions import ApplicationError

    Handle = WorkflowHandle[Any, Any]

__all__ = ["pause", "resume", "run_durably", "status"]

POLL = 1.0
"""Seconds between two looks at the progress."""

Name = Annotated[str, Parameter(help="Name of the fleet, as given by --id.")]


def run_durably(
    options: DurableOptions,
    settings: Settings,
    workflow: str,
    request: Mapping[str, Any],
    output: ReportOutput,
    ask: Callable[[], None] | None,
    approve: Callable[[FleetPlan], None] | None = None,
) -> int:
    """Begin a workflow, or join the one that runs already for the same request, and follow it to its end.

    Args:
        options: Where, and the name of the fleet.
        settings: The account, whose task queue gets the work.
        workflow: Its name without ``vpsorg.``.
        request: The fields of its request.
        output: How to print.
        ask: Asks for confirmation before it begins; only called if there is something to begin.
        approve: Asks whether the plan of a workflow that waits for an approval is applied.
    """
    options.target()
    from .. import temporal

    kinds = {
        "FleetApply": "ApplyRequest",
        "RollingReboot": "RollingRequest",
        "RollingReplace": "ReplaceRequest",
    }
    wanted = getattr(temporal, kinds.get(workflow, "FleetRequest"))(**request)
    fleet, queue, kind = str(options.fleet), options.queue(settings), f"vpsorg.{workflow}"

    async def joined() -> bool:
        async with connected(options, fleet) as engine:
            return await running(engine, fleet, kind, wanted, queue) is not None

    async def run_of_it() -> str | None:
        async with connected(options, fleet) as engine:
            handle = await begun(engine, fleet, kind, wanted, queue)
            output.note(f"{fleet}: runs on Temporal, task queue {queue}; vpsorg fleet status {fleet}")
            return handle.result_run_id or handle.run_id

    was_there = signals.run(joined())
    if not was_there and ask is not None:
        ask()
    run_id = signals.run(run_of_it())
    if approve is not None:
        ask_for_approval(options, wanted, run_id, approve, withdraw=not was_there)

    async def work() -> int:
        async with connected(options, fleet) as engine:
            handle = handle_of(engine, fleet, run_id)
            if options.detach:
                return Exit.OK
            await _follow(handle, fleet, output)
            return await _print_result(handle, fleet, output)

    return signals.run(work())


def status(
    name: Name,
    /,
    *,
    rows: Annotated[bool, Parameter(help="Print a row for each server.", show_default=False)] = False,
    engine: EngineOptions = ENGINE,
    output: Output = OUTPUT,
) -> int:
    """Show how far a fleet on Temporal is, or how it ended."""

    async def work() -> int:
        async with connected(engine, name) as connection:
            handle = connection.get_workflow_handle(name)
            found = await handle.describe()
            told = await progress(handle)
            document: dict[str, Any] = {
                "fleet": name,
                "workflow": found.workflow_type,
                "state": found.status.name.lower() if found.status is not None else None,
                "task_queue": found.task_queue,
                "started": found.start_time.replace(microsecond=0),
                **(told or {"workers": "none answers; vpsorg worker starts one"}),
            }
            lines = sheet({key: value for key, value in plain(document).items() if value not in ("", [])})
            if rows and told is not None:
                document["rows"] = await _rows(handle)
                lines += ["", *fitted(_report_rows(document["rows"]), report_columns(checked=False))]
            output.show(document, lines)
            return Exit.OK

    return signals.run(work())


def pause(name: Name, /, *, engine: EngineOptions = ENGINE, output: Unasked = UNASKED) -> int:
    """Let a fleet on Temporal send nothing more, until it is resumed. Commands in progress are completed."""
    return _signal(name, "pause", "paused", engine, output)


def resume(name: Name, /, *, engine: EngineOptions = ENGINE, output: Unasked = UNASKED) -> int:
    """Let a paused fleet on Temporal go on."""
    return _signal(name, "resume", "resumed", engine, output)


def _signal(name: str, signal: str, done: str, engine: EngineOptions, output: Output) -> int:
    engine.target()
    from temporalio.client import WorkflowExecutionStatus

    async def work() -> int:
        async with connected(engine, name) as connection:
            handle = connection.get_workflow_handle(name)
            state = (await handle.describe()).status
            if state is not None and state is not WorkflowExecutionStatus.RUNNING:
                raise ConfigurationError(f"the fleet {name} is not in progress: it is {state.name.lower()}")
            await handle.signal(signal)
        output.note(f"{name}: {done}")
        return Exit.OK

    return signals.run(work())


async def _follow(handle: Handle, fleet: str, output: Output) -> None:
    """Print the progress until the workflow ends, however it ends."""
    last = ""
    end = asyncio.ensure_future(handle.result())
    try:
        while not (await asyncio.wait({end}, timeout=POLL))[0]:
            found = await progress(handle)
            line = "no worker of its task queue answers; vpsorg worker starts one"
            if found is not None:
                counts = ("succeeded", "failed", "skipped", "open")
                line = ", ".join(f"{found.get(count)} {count}" for count in counts)
                line += ", paused" if found.get("paused") else ""
                if found.get("undecided"):
                    line += f"; whether these were changed is unknown: {some(found['undecided'])}"
            if line != last:
                output.note(f"{fleet}: {line}")
                last = line
    except asyncio.CancelledError:
        note(f"{fleet}: goes on without this command; vpsorg fleet status {fleet}", needed=True)
        raise
    finally:
        end.cancel()
        await asyncio.wait({end})


async def _rows(handle: Handle) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await pages(handle, "report", "rows"))["rows"]
    return rows


async def _print_result(handle: Handle, fleet: str, output: ReportOutput) -> int:
    """Print the rows of a workflow that has ended, and return the exit code. Raises the error that ended it."""
    from temporalio.client import WorkflowFailureError
    from temporalio.exceptions import ApplicationError
    from temporalio.service import RPCError

    try:
        summary = await handle.result()
    except WorkflowFailureError as failure:
        cause = failure.cause
        if isinstance(cause, ApplicationError):
            raise _error(cause) from None
        raise VpsOrgError(f"the fleet {fleet} was ended on Temporal: {cause}") from None
    try:
        rows = await _rows(handle)
    except RPCError:
        # the worker that would answer has ended; the result itself is kept by the engine
        rows = [attrs.asdict(row) for row in summary.failures]
        output.note(f"no worker answers: only failures are shown; vpsorg fleet status {fleet} --rows")
    document = {"operation": summary.operation, "seconds": summary.seconds, "rows": rows}
    reasons = [f"{row['key']}: {row['message']}" for row in rows if row.get("message")]
    view = View(document=document, rows=_report_rows(rows), place="rows", after=reasons)
    output.report_view(view if rows else attrs.evolve(view, text=()))
    counts = f"{summary.succeeded} succeeded, {summary.failed} failed, {summary.skipped} skipped"
    output.note(f"{summary.operation}: {counts} in {summary.seconds:.1f} s")
    codes = [Exit.of_kind(_kind(row.get("error"))) for row in rows if row["outcome"] != "succeeded"]
    unshown = summary.failed + summary.skipped - len(codes)
    total = summary.succeeded + summary.failed + summary.skipped
    return Exit.of_codes([*codes, *[Exit.FAILED] * unshown], total)


def _error(failure: ApplicationError) -> VpsOrgError:
    """Return the error of an activity that failed the workflow for good."""
    with contextlib.suppress(ConfigurationError):
        found = from_plain(failure.details[0]) if failure.details else None
        if isinstance(found, VpsOrgError):
            return found
    return (
        ConfigurationError(failure.message)
        if failure.type == "ConfigurationError"
        else VpsOrgError(failure.message)
    )


def _kind(name: str | None) -> type[VpsOrgError]:
    """Return the class of an error that a worker named."""
    kind = getattr(errors, name or "", None)
    return kind if isinstance(kind, type) and issubclass(kind, VpsOrgError) else VpsOrgError


def _report_rows(rows: Sequence[Mapping[str, Any]]) -> list[ReportRow]:
    return [
        ReportRow(
            key=row["key"],
            outcome=row.get("how") or row["outcome"],
            id=row.get("server_id"),
            status=row.get("status"),
            address=row.get("ip_address"),
            seconds=row.get("seconds"),
            reason=row.get("message") or "",
        )
        for row in rows
    ]
