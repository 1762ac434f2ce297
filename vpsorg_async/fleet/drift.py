"""Whether the account still is as a plan was made on. Pure.

A server that is only waited for, or kept, may get on meanwhile: nothing is sent to it. If other servers are deleted, it
must not have changed to a word that is not known, because it may be leaving.

Of a server that is replaced, the id, the name and what differs must be the same; it may have stopped or started. The
name of its new server must be free, or be that of the same server as before; a pair that the journal has may have got
one.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..fleet_plan import FleetPlan, Step, StepKind
from ..lifecycle.commands import GONE
from ..records import Server
from ..specs import id_text, name_key, same_id
from .convergence import Heading, KeyOf, Selector
from .planning import plan_fleet

__all__ = ["changed", "renewed"]

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
    there = {
        id_text(server.id): server
        for server in servers
        if GONE not in (server.status, heading(server)) and heading(server) != "delete"
    }
    steps: list[Step] = []
    changes: list[str] = []
    for planned, now in zip(plan.steps, present, strict=True):
        if planned.kind is StepKind.REPLACE:
            assert planned.server is not None
            old = there.get(id_text(planned.server.id))
            change = _change_of_pair(planned, now, old, key_of)
            steps.append(attrs.evolve(planned, server=old or planned.server, by=now.server))
        else:
            change = _change(planned, now, deletes=bool(plan.deletes))
            steps.append(_renewed(planned, now))
        if change:
            changes.append(f"{planned.name} {change}")
    known = {key_of(step.spec) for step in plan.steps}
    known.update(key_of(step.server) for step in plan.replaces if step.server is not None)
    selector = Selector(plan.fleets, key_of)
    for server in there.values():
        key = key_of(server)
        if key not in known and selector.place(key) is not None:
            changes.append(f"{server.name} [{server.id}] exists now")
    return attrs.evolve(plan, steps=tuple(steps)), changes


def _renewed(planned: Step, now: Step) -> Step:
    """Return the step that was planned, as it is begun now."""
    if planned.surplus or planned.kind is StepKind.DELETE:
        return planned
    kind = planned.kind if (planned.kind, now.kind) == (StepKind.UPDATE, StepKind.KEEP) else now.kind
    return attrs.evolve(
        planned, kind=kind, server=now.server, after=now.after, reason=planned.reason or now.reason
    )


def _change_of_pair(planned: Step, now: Step, old: Server | None, key_of: KeyOf) -> str:
    """Return how the servers of a replacement differ from what was planned; empty if they do not."""
    was, new, by = planned.server, now.server, planned.by
    assert was is not None
    if old is None and was.status != GONE:
        return f"was to replace {was.name} [{was.id}], which is gone or is being deleted"
    if old is not None and key_of(old) != key_of(was):
        return f"was to replace {was.name} [{was.id}], whose name is {old.name} now"
    if old is not None and not set(changed(was, old)) <= {"hostname", "backups_enabled"}:
        return f"was to replace {was.name} [{was.id}], which has another {', '.join(changed(was, old))} now"
    if now.kind is StepKind.REFUSE:
        return f"can't be the new server any more: {now.reason}"
    if by is None:
        return f"exists now as [{new.id}]" if new is not None and not planned.begun else ""
    if new is None:
        return f"[{by.id}], the new server, is gone, or is being deleted"
    return "" if same_id(by.id, new.id) else f"is server [{new.id}] now, and was [{by.id}]"


def changed(before: Server, after: Server) -> list[str]:
    """Return the fields that say what a server is, and that two records of it show with different values."""
    fields = ("name", "plan_id", "os_id", "location", "hostname", "backups_enabled", "created_at")
    pairs = zip(fields, _identity(before), _identity(after), strict=True)
    return [field for field, one, two in pairs if None not in (one, two) and one != two]


def _identity(server: Server) -> tuple[object, ...]:
    plan, os = server.plan, server.os
    return (
        name_key(server.name),
        None if plan is None else plan.id,
        None if os is None else os.id,
        server.location,
        None if server.hostname is None else name_key(server.hostname),
        server.backups_enabled,
        server.created_at,
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
    kind = StepKind.KEEP if planned.kind is StepKind.UPDATE else planned.kind
    same = before.status == server.status if kind is StepKind.DELETE else kind is now.kind
    in_doubt = deletes and before.status.is_known and not server.status.is_known
    if not in_doubt and (same or {kind, now.kind} <= _PASSIVE):
        return ""
    return f"is {server.status} now, and was {before.status}"
