"""Fleet commands as workflows of Temporal: begin one or join it, follow it, and print its rows."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import attrs
from cyclopts import Parameter

from .. import errors
from ..errors import ConfigurationError, VpsOrgError
from ..fleet_plan import FleetPlan
from ..plain import from_plain
from . import signals
from .engine_options import ENGINE, DurableOptions, EngineOptions, engine_errors, no_client
from .exits import Exit
from .output import OUTPUT, UNASKED, Declined, Output, Unasked, View, fitted, note, plain, sheet
from .reports import some
from .server_tables import ReportOutput, ReportRow, report_columns
from .settings import Settings

if TYPE_CHECKING:
    from temporalio.client import Client as Engine
    from temporalio.client import WorkflowHandle
    from temporalio.exceptions import ApplicationError

    from ..temporal import ApplyRequest

    Handle = WorkflowHandle[Any, Any]

__all__ = ["pause", "resume", "run_durably", "status"]

POLL = 1.0
"""Seconds between two looks at the progress."""
ANSWER = timedelta(seconds=10)
"""The limit of a query, which a worker answers."""

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
        async with _connected(options, fleet) as engine:
            return await _running(engine, fleet, kind, wanted, queue) is not None

    async def begun() -> str | None:
        async with _connected(options, fleet) as engine:
            handle = await _begun(engine, fleet, kind, wanted, queue)
            output.note(f"{fleet}: runs on Temporal, task queue {queue}; vpsorg fleet status {fleet}")
            return handle.result_run_id or handle.run_id

    was_there = signals.run(joined())
    if not was_there and ask is not None:
        ask()
    run_id = signals.run(begun())
    if approve is not None:
        _ask_for_approval(options, wanted, run_id, approve, withdraw=not was_there)

    async def work() -> int:
        async with _connected(options, fleet) as engine:
            handle = engine.get_workflow_handle(fleet, run_id=run_id)
            if options.detach:
                return Exit.OK
            await _follow(handle, fleet, output)
            return await _print_result(handle, fleet, output)

    return signals.run(work())


def _ask_for_approval(
    options: DurableOptions,
    request: ApplyRequest,
    run_id: str | None,
    approve: Callable[[FleetPlan], None],
    *,
    withdraw: bool,
) -> None:
    """Show the plan of a workflow that waits for an approval, and approve or reject it.

    ``withdraw``: also reject it if the question was not answered, because this command has begun the workflow.
    """
    from ..temporal.plan_form import plan_of

    fleet = str(options.fleet)

    async def planned() -> FleetPlan | None:
        async with _connected(options, fleet) as engine:
            handle = engine.get_workflow_handle(fleet, run_id=run_id)
            plan = await _plan_to_approve(handle)
            return None if plan is None else plan_of(plan, request.fleets)

    async def answer(update: str, *words: str) -> None:
        async with _connected(options, fleet) as engine:
            await engine.get_workflow_handle(fleet, run_id=run_id).execute_update(update, args=words)

    plan = signals.run(planned())
    if plan is None:
        return
    try:
        approve(plan)
    except BaseException as error:
        if withdraw or isinstance(error, Declined):
            signals.run(answer("reject", str(error) or "interrupted"))
        raise
    signals.run(answer("approve"))


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
        async with _connected(engine, name) as connected:
            handle = connected.get_workflow_handle(name)
            found = await handle.describe()
            progress = await _progress(handle)
            document: dict[str, Any] = {
                "fleet": name,
                "workflow": found.workflow_type,
                "state": found.status.name.lower() if found.status is not None else None,
                "task_queue": found.task_queue,
                "started": found.start_time.replace(microsecond=0),
                **(progress or {"workers": "none answers; vpsorg worker starts one"}),
            }
            lines = sheet({key: value for key, value in plain(document).items() if value not in ("", [])})
            if rows and progress is not None:
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
        async with _connected(engine, name) as connected:
            handle = connected.get_workflow_handle(name)
            state = (await handle.describe()).status
            if state is not None and state is not WorkflowExecutionStatus.RUNNING:
                raise ConfigurationError(f"the fleet {name} is not in progress: it is {state.name.lower()}")
            await handle.signal(signal)
        output.note(f"{name}: {done}")
        return Exit.OK

    return signals.run(work())


@contextlib.asynccontextmanager
async def _connected(options: EngineOptions, fleet: str) -> AsyncGenerator[Engine]:
    engine = await options.connect(no_client)
    with engine_errors(fleet):
        yield engine


def _digest(engine: Engine, request: object) -> str:
    data: bytes = engine.data_converter.payload_converter.to_payloads([request])[0].data
    return hashlib.sha256(data).hexdigest()


async def _running(engine: Engine, fleet: str, workflow: str, request: object, queue: str) -> Handle | None:
    """Return the run of the fleet in progress; None if there is none.

    Raises:
        ConfigurationError: It is of another account, another operation, or has another request.
    """
    from temporalio.client import WorkflowExecutionStatus
    from temporalio.service import RPCError, RPCStatusCode

    try:
        found = await engine.get_workflow_handle(fleet).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return None
        raise
    if found.status is not WorkflowExecutionStatus.RUNNING:
        return None
    if found.task_queue != queue:
        raise ConfigurationError(
            f"the fleet {fleet} is in progress on the task queue {found.task_queue}, not {queue}: "
            "give another --id, or that --task-queue"
        )
    same = found.workflow_type == workflow and (await found.memo()).get("request") == _digest(engine, request)
    if not same:
        raise ConfigurationError(
            f"the fleet {fleet} is in progress with another request; see vpsorg fleet status {fleet}"
        )
    return engine.get_workflow_handle(fleet, run_id=found.run_id)


async def _begun(engine: Engine, fleet: str, workflow: str, request: object, queue: str) -> Handle:
    """Begin a run of the fleet, or return the one in progress."""
    from temporalio.exceptions import WorkflowAlreadyStartedError

    try:
        return await engine.start_workflow(
            workflow, request, id=fleet, task_queue=queue, memo={"request": _digest(engine, request)}
        )
    except WorkflowAlreadyStartedError:
        handle = await _running(engine, fleet, workflow, request, queue)
        if handle is None:
            raise VpsOrgError(f"the run of the fleet {fleet} ended just now; try again") from None
        return handle


async def _follow(handle: Handle, fleet: str, output: Output) -> None:
    """Print the progress until the workflow ends, however it ends."""
    last = ""
    end = asyncio.ensure_future(handle.result())
    try:
        while not (await asyncio.wait({end}, timeout=POLL))[0]:
            progress = await _progress(handle)
            line = "no worker of its task queue answers; vpsorg worker starts one"
            if progress is not None:
                counts = ("succeeded", "failed", "skipped", "open")
                line = ", ".join(f"{progress.get(count)} {count}" for count in counts)
                line += ", paused" if progress.get("paused") else ""
                if progress.get("undecided"):
                    line += f"; whether these were rebooted is unknown: {some(progress['undecided'])}"
            if line != last:
                output.note(f"{fleet}: {line}")
                last = line
    except asyncio.CancelledError:
        note(f"{fleet}: goes on without this command; vpsorg fleet status {fleet}", needed=True)
        raise
    finally:
        end.cancel()
        await asyncio.wait({end})


async def _progress(handle: Handle) -> dict[str, Any] | None:
    """Return what the workflow says of itself; None if no worker answers."""
    from temporalio.service import RPCError

    with contextlib.suppress(RPCError):
        found: dict[str, Any] = await handle.query("progress", rpc_timeout=ANSWER)
        return found
    return None


async def _plan_to_approve(handle: Handle) -> dict[str, Any] | None:
    """Return the plan of a workflow once it waits for an approval; None if it does not."""
    end = asyncio.ensure_future(handle.result())
    try:
        while not (await asyncio.wait({end}, timeout=POLL / 5))[0]:
            progress = await _progress(handle)
            if progress is not None and progress["waiting_for_approval"]:
                return await _pages(handle, "plan", "steps")
            if progress is not None and progress["total"]:
                return None
        end.exception()  # the caller asks for it once more
        return None
    finally:
        end.cancel()
        await asyncio.wait({end})


async def _rows(handle: Handle) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await _pages(handle, "report", "rows"))["rows"]
    return rows


async def _pages(handle: Handle, query: str, items: str) -> dict[str, Any]:
    """Return what a query that answers in pages holds, with all items."""
    found: dict[str, Any] = {}
    collected: list[Any] = []
    page, pages = 0, 1
    while page < pages:
        found = await handle.query(query, page, rpc_timeout=ANSWER)
        page, pages = page + 1, found["pages"]
        collected += found[items]
    return {**found, items: collected}


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
