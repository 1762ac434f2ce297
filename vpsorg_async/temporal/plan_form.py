"""The plan of fleets as plain JSON, small enough for the histories of workflows. Pure.

::

    {"create": 1, "keep": 2, ..., "changes": 1, "price_hourly": "0.007", ..., "refusals": [],
     "steps": [{"kind": "create", "name": "web-3"}, {"kind": "keep", "name": "web-1", "id": 12, "status": "active"}]}

What is empty in a step is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..errors import ConfigurationError
from ..fleet_plan import FleetPlan, Step, StepKind
from ..fleet_spec import FleetSpec
from ..records import Server, ServerStatus
from ..specs import ServerSpec, name_key

__all__ = ["MOST_CHANGES", "changes_between", "page_of", "plain_plan", "plan_of", "row_of", "specs_named"]

MAX_BYTES = 1_000_000
"""Of a plan with what differs in each server; it is left out where it is more. The engine's limit is twice that."""
PAGE = 1000
MOST_CHANGES = 10
_PASSIVE = {"wait", "keep"}


def plain_plan(plan: FleetPlan) -> dict[str, Any]:
    """Return a plan as plain data."""
    totals = json.loads(plan.to_json())
    del totals["steps"]
    steps = [_plain_step(step) for step in plan.steps]
    if len(json.dumps(steps)) > MAX_BYTES:
        long = ("differences", "reason", "ip_address")
        steps = [{key: value for key, value in step.items() if key not in long} for step in steps]
    return {**totals, "steps": steps}


def _plain_step(step: Step) -> dict[str, Any]:
    server = step.server
    row = {
        "kind": step.kind.value,
        "name": step.name,
        "id": server and server.id,
        "status": server and str(server.status),
        "ip_address": server and server.ip_address,
        "reason": step.reason,
        "differences": list(step.differences),
        "surplus": step.surplus,
        "replaced": server and server.name if step.kind is StepKind.REPLACE else None,
        "by": step.by and step.by.id,
    }
    return {key: value for key, value in row.items() if value}


def plan_of(plain: Mapping[str, Any], fleets: Sequence[FleetSpec]) -> FleetPlan:
    """Return the plan that plain data holds, as far as people look at it: its steps have no prices of their own."""
    return FleetPlan(
        tuple(_step_of(step, fleets) for step in plain["steps"]),
        fleets=tuple(fleets),
        refusals=tuple(plain["refusals"]),
        price_hourly=_price(plain, "price_hourly"),
        price_monthly=_price(plain, "price_monthly"),
        ended_hourly=_price(plain, "ended_hourly"),
        ended_monthly=_price(plain, "ended_monthly"),
    )


def _price(plain: Mapping[str, Any], name: str) -> Decimal | None:
    return None if plain.get(name) is None else Decimal(plain[name])


def _step_of(step: Mapping[str, Any], fleets: Sequence[FleetSpec]) -> Step:
    (spec,) = specs_named(fleets, [step["name"]])
    server = None
    if "id" in step:
        name = step.get("replaced", step["name"])
        server = Server(id=step["id"], name=name, status=ServerStatus(step["status"]))
    return Step(
        kind=StepKind(step["kind"]),
        spec=spec,
        server=server,
        reason=step.get("reason", ""),
        differences=tuple(step.get("differences", ())),
        surplus=step.get("surplus", False),
    )


def row_of(step: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the row of a server to which nothing happens; None for all others."""
    if step["kind"] != StepKind.KEEP:
        return None
    row = {"key": step["name"], "outcome": "succeeded", "how": "kept" if step.get("surplus") else "adopted"}
    row |= {"server_id": step["id"], "status": step["status"]}
    row |= {key: step[key] for key in ("ip_address",) if key in step}
    return row | ({"message": step["reason"]} if "reason" in step else {})


def changes_between(before: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return in what the steps of a later plan differ from those of an earlier one: a line for each server.

    A server that is only waited for, or kept, may get on meanwhile.
    """
    later = {step["name"]: step for step in now}
    lines = [_change(step, later.pop(step["name"], None)) for step in before]
    lines += [_change(None, step) for step in later.values()]
    return [line for line in lines if line]


def _change(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    if before is not None and now is not None:
        kinds = {before["kind"], now["kind"]}
        same = [before.get(field) == now.get(field) for field in ("surplus", "id")]
        if before["kind"] == StepKind.DELETE:
            same.append(before["status"] == now.get("status"))
        if all(same) and (len(kinds) == 1 or kinds <= _PASSIVE):
            return ""
    return f"{(before or now or {})['name']} is {_shown(now)} now, and was {_shown(before)}"


def _shown(step: Mapping[str, Any] | None) -> str:
    if step is None:
        return "not in the plan"
    return f"to {step['kind']}" + (f" [{step['id']}, {step['status']}]" if "id" in step else "")


def specs_named(fleets: Sequence[FleetSpec], names: Iterable[object]) -> list[ServerSpec]:
    """Return the specs that have these names, in their order. Raises `ConfigurationError` for a name of no fleet."""
    found = []
    for name in names:
        numbers = ((fleet, fleet.names.number(name_key(str(name)))) for fleet in fleets)
        specs = [fleet.spec(number) for fleet, number in numbers if number is not None]
        if len(specs) != 1:
            raise ConfigurationError(f"{name!r} is no name of these fleets")
        found += specs
    return found


def page_of(plan: Mapping[str, Any], page: Any) -> dict[str, Any]:
    """Return a plan with a page of its steps."""
    steps = plan.get("steps", [])
    pages = max(1, -(-len(steps) // PAGE))
    first = page * PAGE if isinstance(page, int) and 0 <= page < pages else len(steps)
    return {**plan, "page": page, "pages": pages, "steps": steps[first : first + PAGE]}
