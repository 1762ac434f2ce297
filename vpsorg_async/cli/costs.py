"""What servers will cost, as far as the list of plans tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal

from ..client import Client
from ..errors import VpsOrgError
from ..models import PlanOffer, ServerSpec

__all__ = ["cost", "price"]


async def cost(vps: Client, specs: Iterable[ServerSpec]) -> str:
    """A sentence. Prices that can't be read keep nobody from ordering."""
    try:
        plans = await vps.plans.list()
    except VpsOrgError:
        plans = ()
    return price(specs, plans)


def price(specs: Iterable[ServerSpec], plans: Iterable[PlanOffer]) -> str:
    """A sentence on what they cost together. The currency is named nowhere."""
    offers = {str(plan.id): plan for plan in plans}
    hour = month = Decimal(0)
    unknown = 0
    for plan_id, count in Counter(str(spec.plan_id) for spec in specs).items():
        offer = offers.get(plan_id)
        if offer is None or offer.price_hourly is None or offer.price_monthly is None:
            unknown += count
            continue
        hour += offer.price_hourly * count
        month += offer.price_monthly * count
    if not month:
        return "What it costs is not known here."
    rest = f", and {unknown} more of unknown price" if unknown else ""
    return f"It costs {hour:.3f} per hour, {month:.2f} per month{rest}."
