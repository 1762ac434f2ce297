"""Before servers are created: what it costs, the question, and the plan of a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from ..fleet_plan import FleetPlan, Step, StepKind
from ..specs import ServerSpec
from .durable_fleet import run_durably
from .engine_options import DurableOptions
from .exits import Exit
from .output import View, confirm
from .prices import CURRENCY, price
from .reports import number, some
from .server_tables import ReportOutput, ReportRow
from .settings import Settings

__all__ = ["ask_to_create", "create_durably", "plan_view", "show_plan"]


def ask_to_create(plan: FleetPlan, specs: Sequence[ServerSpec], *, yes: bool) -> None:
    """Ask for confirmation, with the names and the price. Raises as `confirm` does.

    What the limits forbid is not asked for: the create itself raises the error.
    """
    if plan.creates and not plan.over_limits:
        of = f"{len(plan.creates)} of " if len(plan.creates) < len(specs) else ""
        names = some([spec.name for spec in plan.creates])
        confirm(f"Create {of}{number(specs)} ({names})? {price(plan)}", yes=yes)


def show_plan(plan: FleetPlan, settings: Settings, output: ReportOutput) -> int:
    """Print the plan of a dry run, and return the exit code."""
    output.show_view(plan_view(plan, _plan_document(plan), settings.limited))
    if plan.over_limits:
        return Exit.REFUSED
    return Exit.PARTIAL if any(step.kind is StepKind.REFUSE for step in plan.steps) else Exit.OK


def plan_view(plan: FleetPlan, document: Any, limited: Sequence[str] = ()) -> View[ReportRow]:
    """Return the view of a plan: a row for each step. ``limited``: the line on the limits of the profile."""
    priced = plan.price_hourly if plan.creates or plan.replaces else plan.deletes and plan.ended_hourly
    text = [*str(plan).splitlines(), *([CURRENCY] if priced else []), *limited]
    return View(document=document, rows=[*map(_row, plan.steps)], place="steps", text=text)


def _row(step: Step) -> ReportRow:
    reason = "; ".join(filter(None, (step.reason, *step.differences)))
    row = ReportRow(key=step.name, name=step.name, outcome=str(step.kind), reason=reason)
    if step.server is None:
        return row
    server = step.server
    return attrs.evolve(row, id=server.id, status=server.status, address=server.address)


def _plan_document(plan: FleetPlan) -> dict[str, Any]:
    steps = [
        {
            "name": step.spec.name,
            "step": step.kind,
            "id": step.server and step.server.id,
            "status": step.server and step.server.status,
            "differences": step.differences,
            "reason": step.reason,
        }
        for step in plan.steps
    ]
    return {
        "steps": steps,
        "price_hourly": plan.price_hourly,
        "price_monthly": plan.price_monthly,
        "over_limits": plan.over_limits,
    }


def create_durably(
    durable: DurableOptions,
    settings: Settings,
    operation: str,
    specs: Sequence[ServerSpec],
    timeout: float,
    settle: float,
    yes: bool,
    output: ReportOutput,
) -> int:
    """Create or ensure servers on Temporal, after the same question."""

    def confirmed() -> None:
        if not yes:
            plan = settings.run(lambda vps: getattr(vps.fleet, operation)(specs, dry_run=True))
            ask_to_create(plan, specs, yes=yes)

    request = {"specs": specs, "timeout": timeout, "settle": settle}
    return run_durably(durable, settings, f"Fleet{operation.title()}", request, output, confirmed)
