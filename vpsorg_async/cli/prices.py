"""The price of new servers, as far as the list of plans has it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ..client import Client
from ..errors import VpsOrgError
from ..fleet.planning import FleetPlan, plan_fleet
from ..records import PlanOffer
from ..specs import ServerSpec

__all__ = ["CURRENCY", "cost", "price"]

CURRENCY = "prices are in the account's currency, which the API does not document"


async def cost(vps: Client, specs: Sequence[ServerSpec]) -> str:
    """Return a sentence on the price of servers with these specs. An unreadable price does not prevent the create."""
    offers: Sequence[PlanOffer] = ()
    with contextlib.suppress(VpsOrgError):
        offers = await vps.plans.list()
    return price(plan_fleet(specs, ()).priced(offers))


def price(made: FleetPlan) -> str:
    """Return a sentence on the price of the plan."""
    if made.price_hourly is None or made.price_monthly is None:
        return "The price is unknown."
    prices = f"{made.price_hourly:.3f} per hour, {made.price_monthly:.2f} per month"
    return f"It costs {prices}, in a currency that the API does not document."
