"""The workflow that brings the account to what fleets say: one plan, which is applied however often a worker dies.

=====================  =================================================================================================
step                   what happens
=====================  =================================================================================================
plan                   an activity plans; what the guards forbid fails the workflow, and nothing was sent
approval               with ``wait_for_approval`` the workflow waits; it then plans again, and fails if the plan differs
creates, starts        in chunks; each checks again what it sends
deletes                once all of these are done, one after the other; none after a failure
=====================  =================================================================================================

================  ======================================================================================================
message           what it does
================  ======================================================================================================
``plan``          query: the plan, with a page of its steps, 1,000 each, from 0
``approve``       update: the plan is applied
``reject``        update, with a reason: the workflow fails, and nothing was sent
================  ======================================================================================================

``pause``, ``resume``, ``progress``, ``report`` and ``retry_failed`` are those of the other fleets. What failed to be
deleted is not tried again: apply again, which plans again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from .fleet_workflows import FleetWorkflow
from .plan_form import MOST_CHANGES, changes_between, page_of, row_of
from .planning_step import check_permitted, planned, raw_json, refused

__all__ = ["FleetApply"]

ACTIVITIES = {
    "create": "vpsorg.create_steps",
    "start": "vpsorg.start_steps",
    "wait": "vpsorg.start_steps",
    "refuse": "vpsorg.start_steps",
    "delete": "vpsorg.delete_steps",
}
DELETE = ACTIVITIES["delete"]


@workflow.defn(name="vpsorg.FleetApply", failure_exception_types=[TypeError])
class FleetApply(FleetWorkflow):
    """Create, start and delete servers until the account has the fleets of an `ApplyRequest`."""

    operation = "apply"

    def __init__(self) -> None:
        super().__init__()
        self._request: dict[str, Any] = {}
        self._plan: dict[str, Any] = {}
        self._planned_at = ""
        self._waiting = False
        self._decision: str | None = None

    @workflow.run
    async def run(self, request: RawValue) -> Any:
        """Return the `FleetSummary`."""
        began = workflow.now()
        await self._make_plan(request)
        self._request = raw_json(request)
        if self._settings["wait_for_approval"] and self._plan["changes"]:
            await self._approved(request)
        steps = self._plan["steps"]
        self._items = {step["name"]: step for step in steps}
        self._book.begin([*self._items], filter(None, map(row_of, steps)))
        open_steps = [key for key in self._items if not self._book.has(key)]
        deletes = [key for key in open_steps if self._activity(key) == DELETE]
        self._start([key for key in open_steps if self._activity(key) != DELETE], again=False)
        await self._finish()
        self._tasks.add(asyncio.create_task(self._delete(deletes)))
        await self._finish()
        return self._book.summary((workflow.now() - began).total_seconds())

    @workflow.update
    def approve(self) -> None:
        """Apply the plan."""
        self._decision = "approved"

    @workflow.update
    def reject(self, reason: str = "") -> None:
        """Send nothing."""
        self._decision = f"the plan was rejected, and nothing was sent{reason and ': '}{reason}"

    @approve.validator
    def _check_approve(self) -> None:
        self._check_waiting()

    @reject.validator
    def _check_reject(self, reason: str = "") -> None:
        self._check_waiting()

    @workflow.query
    def plan(self, page: Any = 0) -> dict[str, Any]:
        """Return the plan: counts, prices, why it is refused, and a page of its steps."""
        return page_of(self._plan, page)

    @workflow.query
    def progress(self) -> dict[str, Any]:
        """Return the counts of outcomes, of chunks that workers have, and what the workflow waits for."""
        return {**super().progress(), "waiting_for_approval": self._waiting and self._decision is None}

    def _check_waiting(self) -> None:
        if not self._waiting or self._decision is not None:
            raise ApplicationError("the fleet does not wait for an approval", type="ConfigurationError")

    async def _make_plan(self, request: RawValue) -> None:
        """Plan. Raises `ApplicationError` for a plan that the guards forbid."""
        self._planned_at = workflow.now().isoformat()
        self._settings = await planned("vpsorg.plan_apply", request)
        self._plan = self._settings.pop("plan")
        check_permitted(self._plan)

    async def _approved(self, request: RawValue) -> None:
        """Wait for the approval, and plan again. Raises `ApplicationError` if nothing is to be sent."""
        self._waiting = True
        await workflow.wait_condition(lambda: self._decision is not None)
        self._waiting = False
        if self._decision != "approved":
            raise refused(str(self._decision))
        before = self._plan["steps"]
        await self._make_plan(request)
        changes = changes_between(before, self._plan["steps"])
        if changes:
            more = f" and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
            why = "the account has changed since the plan was made, and nothing was sent"
            raise refused(f"{why}: {'; '.join(changes[:MOST_CHANGES])}{more}")

    async def _delete(self, keys: Sequence[str]) -> None:
        """Delete chunk after chunk, until one has a failure."""
        for chunk in self._in_chunks(keys):
            failed = next((key for key in keys if self._book.outcome(key) == "failed"), None)
            if failed is None:
                await self._do(chunk, again=False)
            else:
                why = f"not sent, because the delete of {failed} failed"
                self._book.add({"key": key, "outcome": "skipped", "message": why} for key in chunk)

    def _can_be_retried(self) -> list[str]:
        return [key for key in super()._can_be_retried() if self._activity(key) != DELETE]

    def _activity(self, key: str) -> str:
        return ACTIVITIES[self._items[key]["kind"]]

    def _chunk(self, keys: Sequence[str], again: bool) -> dict[str, Any]:
        if self._activity(keys[0]) == ACTIVITIES["create"]:
            return {
                "request": self._request,
                "names": keys,
                "planned_at": self._planned_at,
                **self._known_of(keys, again),
            }
        servers = {key: self._items[key].get("id") for key in keys}
        return {"request": self._request, "servers": servers, "again": again}
