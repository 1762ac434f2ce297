"""What servers will cost, as far as the list of plans tells it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ..client import Client
from ..errors import VpsOrgError
from ..fleet.plan import FleetPlan, plan
from ..records import PlanOffer
from ..specs import ServerSpec

__all__ = ["cost", "price"]


async def cost(vps: Client, specs: Sequence[ServerSpec]) -> str:
    """A sentence on servers that are to be made of these specs. A price that can't be read keeps nobody from it."""
    offers: Sequence[PlanOffer] = ()
    with contextlib.suppress(VpsOrgError):
        offers = await vps.plans.list()
    return price(plan(specs, ()).priced(offers))


def price(made: FleetPlan) -> str:
    """A sentence on what the plan costs. The currency is named nowhere."""
    if made.price_hourly is None or made.price_monthly is None:
        return "What it costs is not known here."
    return f"It costs {made.price_hourly:.3f} per hour, {made.price_monthly:.2f} per month."
