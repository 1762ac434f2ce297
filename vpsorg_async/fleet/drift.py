"""Whether the account still is as a plan was made on. Pure.

A server that is only waited for, or kept, may get on meanwhile: nothing is sent to it. If other servers are deleted, it
must not have changed to a word that is not known, because it may be leaving.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..fleet_plan import FleetPlan, Step, StepKind
from ..lifecycle.commands import GONE
from ..records import Server
from ..specs import same_id
from .convergence import Heading, KeyOf, Selector
from .planning import plan_fleet

__all__ = ["renewed"]

_PASSIVE = {StepKind.WAIT, StepKind.KEEP}


def renewed(
    plan: FleetPlan, servers: Sequence[Server], key_of: KeyOf, heading: Heading
) -> tuple[FleetPlan, list[str]]:
    """Return the plan with the present records of its servers, and what has changed since it was made.

    Args:
        plan: The plan.
        servers: The servers of the account, as a complete list has them now.
        key_of: As for `plan_fleet`.
        heading: As for `plan_fleet`.
    """
    present = plan_fleet([step.spec for step in plan.steps], servers, key_of, heading).steps
    changes = [
        f"{planned.name} {change}"
        for planned, now in zip(plan.steps, present, strict=True)
        if (change := _change(planned, now, deletes=bool(plan.deletes)))
    ]
    known = {key_of(step.spec) for step in plan.steps}
    selector = Selector(plan.fleets, key_of)
    for server in servers:
        leaves = server.status == GONE or heading(server) in (GONE, "delete")
        key = key_of(server)
        if not leaves and key not in known and selector.place(key) is not None:
            changes.append(f"{server.name} [{server.id}] exists now")
    steps = (_renewed(planned, now) for planned, now in zip(plan.steps, present, strict=True))
    return attrs.evolve(plan, steps=tuple(steps)), changes


def _renewed(planned: Step, now: Step) -> Step:
    """Return the step that was planned, as it is begun now."""
    if planned.surplus or planned.kind in (StepKind.DELETE, StepKind.REPLACE):
        return planned
    return attrs.evolve(
        planned, kind=now.kind, server=now.server, after=now.after, reason=planned.reason or now.reason
    )


def _change(planned: Step, now: Step, *, deletes: bool) -> str:
    """Return how a server differs from what was planned; empty if it does not."""
    before, server = planned.server, now.server
    if before is None or server is None:
        if before is not None:
            return (
                "is gone, or is being deleted"
                if now.kind is StepKind.CREATE
                else f"is ambiguous: {now.reason}"
            )
        if server is not None:
            return f"exists now as [{server.id}]"
        return "" if planned.kind is now.kind else f"has the step {now.kind} now, and had {planned.kind}"
    if not same_id(before.id, server.id):
        return f"is server [{server.id}] now, and was [{before.id}]"
    if planned.surplus and planned.kind is StepKind.KEEP:
        return ""
    same = before.status == server.status if planned.kind is StepKind.DELETE else planned.kind is now.kind
    in_doubt = deletes and before.status.is_known and not server.status.is_known
    if not in_doubt and (same or {planned.kind, now.kind} <= _PASSIVE):
        return ""
    return f"is {server.status} now, and was {before.status}"
