"""Runs of fleets on Temporal, as commands see them: begun, joined, and asked how far they are."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import ConfigurationError, VpsOrgError
from ..specs import id_text
from .engine_options import EngineOptions, engine_errors, no_client

if TYPE_CHECKING:
    from temporalio.client import Client as Engine
    from temporalio.client import WorkflowHandle

    Handle = WorkflowHandle[Any, Any]

__all__ = ["ANSWER", "begun", "connected", "handle_of", "pages", "progress", "running"]

ANSWER = timedelta(seconds=10)
"""The limit of a query, which a worker answers."""


@contextlib.asynccontextmanager
async def connected(options: EngineOptions, fleet: str) -> AsyncGenerator[Engine]:
    """Yield a connection to the engine, whose errors become those of the command, and name the fleet."""
    engine = await options.connect(no_client)
    with engine_errors(fleet):
        yield engine


def _digest(engine: Engine, request: object) -> str:
    data: bytes = engine.data_converter.payload_converter.to_payloads([request])[0].data
    return hashlib.sha256(data).hexdigest()


async def running(engine: Engine, fleet: str, workflow: str, request: object, queue: str) -> Handle | None:
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
    handle = engine.get_workflow_handle(fleet, run_id=found.run_id)
    same = (await found.memo()).get("request") == _digest(engine, request)
    if found.workflow_type != workflow or not (same or await _includes(engine, handle, request)):
        raise ConfigurationError(
            f"the fleet {fleet} is in progress with another request; see vpsorg fleet status {fleet}"
        )
    return handle


def handle_of(engine: Engine, fleet: str, run_id: str | None) -> Handle:
    """Return the handle of a run, whose queries are answered by the runs that continue it."""
    from temporalio.client import WorkflowHandle

    return WorkflowHandle(engine, fleet, result_run_id=run_id)


async def _includes(engine: Engine, handle: Handle, request: object) -> bool:
    """Return whether a run deletes all servers of a request, and others, which may be gone meanwhile."""
    from ..temporal import FleetRequest

    if not isinstance(request, FleetRequest) or not request.ids:
        return False
    async for event in handle.fetch_history_events(page_size=1):
        payloads = event.workflow_execution_started_event_attributes.input.payloads
        (begun_with,) = await engine.data_converter.decode(payloads, [FleetRequest])
        known = set(map(id_text, begun_with.ids))
        same = attrs.evolve(begun_with, ids=request.ids) == request
        return same and known.issuperset(map(id_text, request.ids))
    return False


async def begun(engine: Engine, fleet: str, workflow: str, request: object, queue: str) -> Handle:
    """Begin a run of the fleet, or return the one in progress."""
    from temporalio.exceptions import WorkflowAlreadyStartedError

    try:
        return await engine.start_workflow(
            workflow, request, id=fleet, task_queue=queue, memo={"request": _digest(engine, request)}
        )
    except WorkflowAlreadyStartedError:
        handle = await running(engine, fleet, workflow, request, queue)
        if handle is None:
            raise VpsOrgError(f"the run of the fleet {fleet} ended just now; try again") from None
        return handle


async def progress(handle: Handle) -> dict[str, Any] | None:
    """Return what the workflow says of itself; None if no worker answers."""
    from temporalio.service import RPCError

    with contextlib.suppress(RPCError):
        found: dict[str, Any] = await handle.query("progress", rpc_timeout=ANSWER)
        return found
    return None


async def pages(handle: Handle, query: str, items: str) -> dict[str, Any]:
    """Return what a query that answers in pages holds, with all items."""
    found: dict[str, Any] = {}
    collected: list[Any] = []
    page, pages = 0, 1
    while page < pages:
        found = await handle.query(query, page, rpc_timeout=ANSWER)
        page, pages = page + 1, found["pages"]
        collected += found[items]
    return {**found, items: collected}
