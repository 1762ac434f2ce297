"""The work on servers that a plan replaces. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..errors import PlanRefusedError
from ..fleet_plan import FleetPlan, Step, StepKind
from ..journal import Acknowledged, Intent, StandingPair
from ..lifecycle.contract import Target
from ..records import ServerId
from ..replace_policy import ReplacePolicy
from ..specs import ServerSpec, name_key
from .convergence import Selector, standing_of
from .jobs import Job, Work
from .pairing import tokens
from .retry_failed import job_left
from .swaps import Swap, SwapWork

__all__ = ["check_standing", "old_spec", "swap_of", "with_swaps"]


def check_standing(plan: FleetPlan, selector: Selector, standing: Sequence[StandingPair]) -> None:
    """Raise `PlanRefusedError` for a plan that does not know of the replacements of these fleets in the journal."""
    known = standing_of(selector, standing)
    if plan.policy is None and not plan.deletes:
        return
    if plan.policy is None and known:
        raise PlanRefusedError(
            f"a replacement of these fleets was interrupted ({_named(known)}), and a plan that deletes could take new "
            "servers for a surplus; nothing was sent: finish it first, with replace='rolling'",
            plan=plan,
        )
    if plan.policy is not None and tokens(known) != plan.standing:
        raise PlanRefusedError(
            f"the journal has other interrupted replacements than the plan ({_named(known) or 'none'}), and nothing "
            "was sent: plan again, with the same journal",
            plan=plan,
        )


def _named(pairs: Sequence[StandingPair]) -> str:
    return ", ".join(f"{pair.old.name} by {pair.new}" for pair in pairs[:5])


def old_spec(step: Step, selector: Selector) -> ServerSpec:
    """Return the spec of the fleet that has the name of the server which a step replaces."""
    assert step.server is not None
    place = selector.place_of(step.server)
    return step.spec if place is None else selector.fleet(place[0]).spec(place[1])


def swap_of(
    step: Step,
    job: Job,
    left: Intent | Acknowledged | None,
    selector: Selector,
    policy: ReplacePolicy,
    *,
    in_doubt: bool,
) -> Swap:
    """Return what is to be done for a server that is replaced.

    Args:
        step: The step.
        job: Brings up the new server.
        left: What an earlier run left of its delete of the old one.
        selector: The fleets of the plan.
        policy: The bounds.
        in_doubt: Whether an earlier create of the new server may have been applied.
    """
    assert step.server is not None
    place = selector.place_of(step.spec)
    spec = old_spec(step, selector)
    rename = {"name": spec.name, **({} if spec.hostname is None else {"hostname": spec.hostname})}
    return Swap(
        job=job,
        spec=step.spec,
        fleet=0 if place is None else place[0],
        old=step.server,
        delete=attrs.evolve(job_left(step.server.id, "delete", Target.of("gone"), left), server=step.server),
        by=step.by,
        begun=step.begun,
        in_doubt=in_doubt,
        switched=step.switched,
        rename=rename if policy.names == "stable" else {},
    )


def with_swaps(
    work: Work, swaps: Sequence[Swap], plan: FleetPlan, selector: Selector, standing: Sequence[StandingPair]
) -> SwapWork:
    """Return the work with what is replaced after it, and with its deletes in the end."""
    assert plan.policy is not None
    fleet_of: dict[ServerId, int] = {}
    for step in plan.steps:
        place = selector.place_of(step.spec)
        if place is not None and not step.surplus and step.kind is not StepKind.REPLACE:
            fleet_of[step.name] = place[0]
    room = {spec.name for spec in plan.surge}
    # by their places in the fleets: the journal has names as they are shown
    pairs = {selector.place(name_key(pair.new)): pair for pair in standing_of(selector, standing)}
    called = {where for where, pair in pairs.items() if pair.switching}
    known = {selector.place_of(swap.spec) for swap in swaps if swap.begun}
    over = [pair.new for where, pair in pairs.items() if where not in known]
    deletes = [job for job in work.jobs if job.command == "delete" or job.how == "deleted"]
    return SwapWork(
        jobs=[job for job in work.jobs if job not in deletes],
        ids_before=work.ids_before,
        listed_at=work.listed_at,
        swaps=[attrs.evolve(swap, switching=selector.place_of(swap.spec) in called) for swap in swaps],
        later=deletes,
        fleet_of=fleet_of,
        at_once=[swap.job for swap in swaps if swap.key in room and swap.job.command == "create"],
        over=over,
    )
