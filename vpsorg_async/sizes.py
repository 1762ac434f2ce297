"""Which plan a server shows: the plans of a resize. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import ConfigurationError
from .records import PlanOffer, Server, ServerId

__all__ = ["offer_of", "shows_plan"]


def offer_of(offers: Iterable[PlanOffer], plan: ServerId | PlanOffer) -> PlanOffer:
    """Return the offer of a plan, by its id. Raises `ConfigurationError` if there is none."""
    wanted = plan.id if isinstance(plan, PlanOffer) else plan
    if isinstance(wanted, bool) or not isinstance(wanted, int | str) or not str(wanted).strip():
        raise ConfigurationError(f"plan is the id of a plan, or one of vps.plans.list(), not {plan!r}")
    for offer in offers:
        if str(offer.id).lower() == str(wanted).lower():
            return offer
    raise ConfigurationError(f"there is no plan {wanted!r}: vps.plans.list() has the plans; nothing was sent")


def shows_plan(server: Server, offer: PlanOffer) -> bool | None:
    """Return whether a server shows this plan; None if it shows nothing that can be compared.

    A server of the provider dialect shows no id of its plan, but its size.
    """
    if server.plan is None:
        return None
    compared = [
        str(shown) == str(offered)
        for shown, offered in (
            (server.plan.id, offer.id),
            (server.plan.vcpus, offer.vcpus),
            (server.plan.memory, offer.memory),
            (server.plan.storage, offer.storage),
        )
        if shown is not None and offered is not None
    ]
    return all(compared) if compared else None
