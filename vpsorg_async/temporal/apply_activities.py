"""The activities of ``vpsorg.FleetApply``: the plan, and its steps, a chunk at a time.

Between the plan and a chunk hours can pass, in which nobody works or the workflow is paused, and other programs can
change the account. So each chunk reads the account before it sends something, and does what the plan says only as far
as that is still right: it creates no server that its fleet no longer needs, starts the server that was planned and no
other one, and deletes what a plan that is made now would delete as well. It never does more than was planned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
from temporalio import activity

from ..client import Client
from ..errors import ConfigurationError, ServerGoneError, WaitError
from ..fleet_plan import FleetPlan, Step, StepKind
from ..lenient import moment
from ..records import Server, ServerId
from ..shared_client import SharedClient
from ..specs import check_id, same_id
from ..timing import SystemClock
from .chunk_run import ChunkRun, check_chunk, found
from .convert import read_as
from .fleet_activities import FleetActivities
from .messages import MAX_SERVERS, ApplyRequest
from .passwords import PasswordKeeper
from .plan_form import plain_plan, specs_named

__all__ = ["ApplyActivities"]

FRESH = timedelta(seconds=60)
"""The age of a plan from which a chunk makes another one before it creates something."""


class ApplyActivities:
    """What ``vpsorg.FleetApply`` calls."""

    def __init__(
        self, shared: SharedClient[Client], passwords: PasswordKeeper, fleets: FleetActivities
    ) -> None:
        self._shared = shared
        self._passwords = passwords
        self._fleets = fleets

    def named(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the functions of the activities by their names."""
        return {
            "vpsorg.plan_apply": self.plan_apply,
            "vpsorg.create_steps": self.create_steps,
            "vpsorg.start_steps": self.start_steps,
            "vpsorg.delete_steps": self.delete_steps,
        }

    async def plan_apply(self, request: Any) -> dict[str, Any]:
        """Check a request, before anything is sent, and return its settings and its plan, with what forbids it."""
        wanted: ApplyRequest = read_as(request, ApplyRequest)
        async with self._shared as vps:
            plan = await vps.fleet.plan(wanted.fleets, **wanted.guards())
        refusals = plan.refusals
        if len(plan.steps) > MAX_SERVERS:
            refusals += (f"the fleets have {len(plan.steps)} servers, more than {MAX_SERVERS}: split them",)
        names = ("timeout", "settle", "chunk", "heartbeat_timeout", "wait_for_approval")
        return {
            **{name: getattr(wanted, name) for name in names},
            "plan": plain_plan(attrs.evolve(plan, refusals=refusals)),
        }

    async def create_steps(self, chunk: Any) -> dict[str, Any]:
        """Create the servers of a chunk, as ``vpsorg.create_chunk`` does. What its fleet no longer needs is skipped."""
        check_chunk(chunk, {"request": object, "names": list, "planned_at": str}, receipts=dict, again=bool)
        wanted: ApplyRequest = read_as(chunk["request"], ApplyRequest)
        specs = specs_named(wanted.fleets, chunk["names"])
        rows = []
        again = chunk.get("again", False) or activity.info().attempt > 1
        old = SystemClock().wall() - _moment(chunk["planned_at"]) > FRESH
        # later, a name without a server can be one that an earlier attempt has created
        if old and not again and not chunk.get("receipts"):
            async with self._shared as vps:
                plan = await vps.fleet.plan(wanted.fleets, **wanted.guards())
            needed = {step.name for step in plan.steps}
            why = "not created: the fleet has enough servers without it"
            rows = [
                {"key": spec.name, "outcome": "skipped", "message": why}
                for spec in specs
                if spec.name not in needed
            ]
            specs = [spec for spec in specs if spec.name in needed]
        done = await self._fleets.create_chunk(
            {
                "operation": "ensure",
                "specs": specs,
                "timeout": wanted.timeout,
                "settle": wanted.settle,
                "receipts": chunk.get("receipts", {}),
                "again": again,
            }
        )
        return {**done, "rows": [*rows, *done["rows"]]}

    async def start_steps(self, chunk: Any) -> dict[str, Any]:
        """Start the servers of a chunk, or wait for them, whatever the plan says; none is created."""
        check_chunk(chunk, {"request": object, "servers": dict}, again=bool)
        wanted: ApplyRequest = read_as(chunk["request"], ApplyRequest)
        servers = _checked(chunk["servers"], wanted)
        run = ChunkRun([*servers], self._passwords)

        async def work(vps: Client) -> object:
            names = [str(name) for name in run.open_keys()]
            steps: list[Step] = []
            for step in (await vps.fleet.ensure(specs_named(wanted.fleets, names), dry_run=True)).steps:
                if step.kind is StepKind.REFUSE or _is(step.server, servers[step.name]):
                    steps.append(step)
                else:
                    error = ServerGoneError(
                        f"{step.name}: server {servers[step.name]} is gone, or is being deleted; apply again",
                        server_id=servers[step.name],
                    )
                    run.failed(step.name, error)
            return await vps.fleet.apply(
                FleetPlan(tuple(steps)), timeout=wanted.timeout, on_event=run.on_event
            )

        async with self._shared as vps:
            return await run.do(vps, work)

    async def delete_steps(self, chunk: Any) -> dict[str, Any]:
        """Delete the servers of a chunk that a new plan deletes as well, in turn, and none after a failure."""
        check_chunk(chunk, {"request": object, "servers": dict}, again=bool)
        wanted: ApplyRequest = read_as(chunk["request"], ApplyRequest)
        servers = _checked(chunk["servers"], wanted)
        run = ChunkRun([*servers], self._passwords, deletes=True)
        again = chunk.get("again", False) or activity.info().attempt > 1

        async def work(vps: Client) -> object:
            if run.failures:
                name = run.failures[0]["key"]
                for key in run.open_keys():
                    run.skipped(key, f"not sent, because the delete of {name} failed")
                return None
            plan = await vps.fleet.plan(wanted.fleets, **wanted.guards())
            deletes = {step.name: step for step in plan.steps if step.kind is StepKind.DELETE}
            steps = []
            for name in map(str, run.open_keys()):
                step, server_id = deletes.get(name), check_id(servers[name])
                same = step is not None and _is(step.server, server_id)
                if (again or not same) and await _is_gone(vps, server_id, wanted.timeout):
                    run.deleted(name, server_id)
                elif step is not None and same:
                    steps.append(step)
                else:
                    run.skipped(name, "not deleted: its fleet has no more servers than it needs, or keeps it")
            return await vps.fleet.apply(
                FleetPlan(tuple(steps)), timeout=wanted.timeout, on_event=run.on_event
            )

        async with self._shared as vps:
            return await run.do(vps, work)


def _moment(text: str) -> datetime:
    found = moment(text)
    if found is None:
        raise ConfigurationError(f"$.planned_at: expected a time with a zone, not {text!r}")
    return found


def _checked(servers: dict[str, ServerId | None], wanted: ApplyRequest) -> dict[str, ServerId | None]:
    """Return the ids by the names that have to be of these fleets; None is a name that several servers have."""
    specs_named(wanted.fleets, servers)
    return {name: None if server_id is None else check_id(server_id) for name, server_id in servers.items()}


def _is(server: Server | None, server_id: ServerId | None) -> bool:
    return server is not None and same_id(server.id, server_id)


async def _is_gone(vps: Client, server_id: ServerId, timeout: float) -> bool:
    """Return whether a server that no plan deletes has been deleted, by an earlier attempt perhaps."""
    server = await found(vps, server_id)
    if server is None:
        return True
    if server.status.is_known:
        return False
    with contextlib.suppress(WaitError):  # its status word says something else
        await vps.wait_until(server_id, "gone", timeout=timeout)
        return True
    return False
