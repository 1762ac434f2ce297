"""The plan of a workflow that waits for an approval: shown, and approved or withdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import VpsOrgError
from ..fleet_plan import FleetPlan
from . import signals
from .engine_options import DurableOptions
from .engine_runs import ANSWER, connected, pages, progress
from .output import Declined
from .stdio import note

if TYPE_CHECKING:
    from ..temporal import ApplyRequest
    from .engine_runs import Handle

__all__ = ["ask_for_approval"]

POLL = 0.2
"""Seconds between two looks at the progress."""


def ask_for_approval(
    options: DurableOptions,
    request: ApplyRequest,
    run_id: str | None,
    approve: Callable[[FleetPlan], None],
    *,
    withdraw: bool,
) -> None:
    """Show the plan of a workflow that waits for an approval, and approve it. One that does not wait is left alone.

    Args:
        options: Where, and the name of the fleet.
        request: What the workflow was begun with.
        run_id: The run.
        approve: Shows the plan, and asks. Raises `Declined` after a no: the workflow is ended then.
        withdraw: Whether to end it also if nobody could be asked, because this command has begun it.
    """
    from ..temporal.plan_form import plan_of

    fleet = str(options.fleet)

    async def planned() -> FleetPlan | None:
        async with connected(options, fleet) as engine:
            plan = await _plan_to_approve(engine.get_workflow_handle(fleet, run_id=run_id), fleet)
            return None if plan is None else plan_of(plan, request.fleets)

    async def decide(update: str, *args: str) -> bool:
        async with connected(options, fleet) as engine:
            return await _decided(engine.get_workflow_handle(fleet, run_id=run_id), update, *args)

    try:
        plan = signals.run(planned())
        if plan is None:
            return
        approve(plan)
    except KeyboardInterrupt:
        note(f"{fleet}: waits for an approval; the same command asks again", needed=True)
        raise
    except VpsOrgError as error:
        ends = withdraw or isinstance(error, Declined)
        # it is not terminated: another command may have approved the plan, and its servers are being created then
        if ends and not signals.run(decide("reject", str(error))):
            note(f"{fleet}: was decided by another command; vpsorg fleet status {fleet}", needed=True)
        raise
    signals.run(decide("approve"))


async def _decided(handle: Handle, update: str, *args: str) -> bool:
    """Approve or reject a plan, and return whether the workflow still waited for that."""
    from temporalio.client import WorkflowUpdateFailedError
    from temporalio.service import RPCError, RPCStatusCode

    try:
        await handle.execute_update(update, args=args, rpc_timeout=ANSWER)
    except WorkflowUpdateFailedError:
        return False
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False  # it has ended
    return True


async def _plan_to_approve(handle: Handle, fleet: str) -> dict[str, Any] | None:
    """Return the plan of a workflow once it waits for an approval; None if it does not."""
    end = asyncio.ensure_future(handle.result())
    told = False
    try:
        while not (await asyncio.wait({end}, timeout=POLL))[0]:
            found = await progress(handle)
            if found is None and not told:
                note(f"{fleet}: no worker of its task queue answers; vpsorg worker starts one")
                told = True
            if found is not None and found["waiting_for_approval"]:
                return await pages(handle, "plan", "steps")
            if found is not None and found["total"]:
                return None
        end.exception()  # the caller asks for it once more
        return None
    finally:
        end.cancel()
        await asyncio.wait({end})
