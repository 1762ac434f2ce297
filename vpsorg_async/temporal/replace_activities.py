"""The activities of ``vpsorg.RollingReplace``: the plan, a new server, and the delete of the one that it replaces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs

from ..client import Client
from ..errors import PlanRefusedError, UnexpectedStatusError
from ..fleet_plan import FleetPlan, Step, StepKind
from ..fleet_spec import FleetSpec
from ..plain import to_plain
from ..records import Server
from ..shared_client import SharedClient
from ..specs import check_id, name_key
from .chunk_run import ChunkRun, check_chunk, found
from .convert import read_as
from .fleet_activities import FleetActivities
from .messages import MAX_SERVERS, ReplaceRequest
from .passwords import PasswordKeeper
from .plan_form import plain_plan, specs_named

__all__ = ["ReplaceActivities"]


SETTINGS = (
    *("timeout", "heartbeat_timeout", "drain", "delete_failed", "names", "switch", "switch_timeout"),
    *("ready", "ready_timeout", "ready_interval", "ready_check_timeout"),
)


MAX_PAIRS = 2000
"""Of one workflow: it hands over all pairs and rows to the run that continues it, in one payload of at most 2 MB."""


class ReplaceActivities:
    """What ``vpsorg.RollingReplace`` calls."""

    def __init__(
        self, shared: SharedClient[Client], passwords: PasswordKeeper, fleets: FleetActivities
    ) -> None:
        self._shared = shared
        self._passwords = passwords
        self._fleets = fleets

    def named(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the functions of the activities by their names."""
        return {
            "vpsorg.plan_replace": self.plan_replace,
            "vpsorg.create_replacement": self.create_replacement,
            "vpsorg.read_replaced": self.read_replaced,
            "vpsorg.delete_replaced": self.delete_replaced,
        }

    async def plan_replace(self, request: Any) -> dict[str, Any]:
        """Check a request, before anything is sent, and return its settings, its plan, and the pairs of servers."""
        wanted: ReplaceRequest = read_as(request, ReplaceRequest)
        older = wanted.replace_older_than
        options: dict[str, Any] = {} if older is None else {"replace_when": timedelta(seconds=older)}
        options |= attrs.asdict(wanted.policy())
        async with self._shared as vps:
            plan = await vps.fleet.plan(wanted.fleets, replace="rolling", protect=wanted.protect, **options)
        refusals = [*plan.refusals, *_unknown_halves(plan, wanted)]
        if len(plan.steps) > MAX_SERVERS:
            refusals.append(f"the fleets have {len(plan.steps)} servers, more than {MAX_SERVERS}: split them")
        fleets = [_state_of(fleet, plan, renamed=wanted.names == "stable") for fleet in wanted.fleets]
        pairs = sum(len(fleet["pairs"]) for fleet in fleets)
        if pairs > MAX_PAIRS:
            refusals.append(
                f"{pairs} servers would be replaced, and one workflow replaces at most {MAX_PAIRS}: protect the others"
            )
            fleets = []
        return {
            **{name: getattr(wanted, name) for name in SETTINGS},
            "policy": attrs.asdict(wanted.policy()),
            "plan": plain_plan(attrs.evolve(plan, refusals=tuple(refusals))),
            "fleets": fleets,
        }

    async def create_replacement(self, chunk: Any) -> dict[str, Any]:
        """Create the new server of a pair, as ``vpsorg.create_chunk`` does. ``exists``: it was there when planned."""
        check_chunk(chunk, {"request": object, "name": str, "exists": bool}, receipts=dict, again=bool)
        wanted: ReplaceRequest = read_as(chunk["request"], ReplaceRequest)
        return await self._fleets.create_chunk(
            {
                "operation": "ensure" if chunk["exists"] else "create",
                "specs": specs_named(wanted.fleets, [chunk["name"]]),
                "timeout": wanted.timeout,
                "settle": wanted.settle,
                "receipts": chunk.get("receipts", {}),
                "again": chunk.get("again", False),
            }
        )

    async def read_replaced(self, chunk: Any) -> dict[str, Any]:
        """Return the record of a server that has to have this name; None if it is gone."""
        check_chunk(chunk, {"id": object, "name": str})
        async with self._shared as vps:
            server = await found(vps, check_id(chunk["id"]))
        if server is not None:
            _check_name(server, chunk["name"])
        return {"server": None if server is None else to_plain(server)}

    async def delete_replaced(self, chunk: Any) -> dict[str, Any]:
        """Delete a server, and return its row, if it still is that server and the new one, if there is one, serves."""
        check_chunk(chunk, {"id": object, "name": str, "timeout": object}, new_id=object)
        server_id, new_id = check_id(chunk["id"]), chunk.get("new_id")
        run = ChunkRun([server_id], self._passwords, deletes=True)

        async def work(vps: Client) -> object:
            server = await found(vps, server_id)
            if server is None:
                run.deleted(server_id, server_id)
                return None
            _check_name(server, chunk["name"])
            if new_id is not None:
                new = await vps.servers.get(check_id(new_id))
                if new.status != "active":
                    raise UnexpectedStatusError(
                        f"the new server {new_id} is {new.status}, not active: {server.name} [{server_id}] is kept",
                        server_id=new.id,
                        target="active",
                        last_seen=new,
                    )
            return await vps.fleet.delete([server_id], timeout=chunk["timeout"], on_event=run.on_event)

        async with self._shared as vps:
            return await run.do(vps, work)


def _check_name(server: Server, name: str) -> None:
    """Raise `PlanRefusedError` if a server has another name than when it was planned."""
    if name_key(server.name) != name_key(name):
        raise PlanRefusedError(
            f"server {server.id} is {server.name} now, and was {name} when it was planned: it is kept"
        )


def _members(fleet: FleetSpec, plan: FleetPlan) -> list[Step]:
    return [step for step in plan.steps if fleet.names.number(name_key(step.name)) is not None]


def _state_of(fleet: FleetSpec, plan: FleetPlan, *, renamed: bool) -> dict[str, Any]:
    """Return the pairs of a fleet, its size, and how many of its other servers do not serve."""
    steps = [step for step in _members(fleet, plan) if not step.surplus]
    serving = (StepKind.KEEP, StepKind.UPDATE, StepKind.REPLACE)
    return {
        "size": max(fleet.count, 1),
        "unavailable": sum(step.kind not in serving for step in steps),
        "pairs": [_pair_of(fleet, step, renamed) for step in steps if step.kind is StepKind.REPLACE],
    }


def _pair_of(fleet: FleetSpec, step: Step, renamed: bool) -> dict[str, Any]:
    old = step.server
    assert old is not None
    pair: dict[str, Any] = {
        "key": step.name,
        "id": old.id,
        "name": old.name,
        "down": old.status != "active",
    }
    numbers = (fleet.number(name) for name in (old.name, old.hostname) if name is not None)
    number = next((number for number in numbers if number is not None), None)
    if renamed and number is not None:
        spec = fleet.spec(number)
        pair["rename"] = {"name": spec.name} | ({"hostname": spec.hostname} if spec.hostname else {})
    return pair | ({} if step.by is None else {"exists": True})


def _unknown_halves(plan: FleetPlan, wanted: ReplaceRequest) -> list[str]:
    """Return why servers that an earlier, unknown run has created can't be used."""
    if wanted.switch is None:
        return []
    found = [step.name for step in plan.steps if step.kind is StepKind.REPLACE and step.by is not None]
    return [
        f"{name} exists already, and whether an earlier run has switched to it is not known: run without switch, or "
        "delete it"
        for name in found
    ]
