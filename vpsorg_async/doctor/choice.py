"""Which server a trial creates: a name that no other server has, and the cheapest plan. Pure, but for the name."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from decimal import Decimal

from ..errors import ConfigurationError
from ..records import Location, OperatingSystemVersion, PlanOffer, Server
from ..specs import ServerSpec, id_text

__all__ = ["PREFIX", "choose", "left_over", "new_name"]

PREFIX = "vpsorg-doctor-"
"""The names of the servers of trials begin with it."""
LETTERS = "abcdefghjkmnpqrstuvwxyz"
FREE = re.compile(r"(?i)debian|ubuntu|alma|rocky|fedora|centos")
"""Systems without a licence that could cost money."""


def new_name() -> str:
    """Return a name that no other server has. It ends in letters, whose case can be changed."""
    return PREFIX + "".join(secrets.choice(LETTERS) for _ in range(10))


def left_over(servers: Collection[Server]) -> list[Server]:
    """Return the servers that earlier trials have left behind."""
    return [server for server in servers if re.fullmatch(rf"(?i){PREFIX}[a-z]{{10}}", server.name)]


def choose(
    name: str,
    offers: Sequence[PlanOffer],
    *,
    plan: int | str | None = None,
    os: int | str | None = None,
    location: int | str | None = None,
    systems: Sequence[OperatingSystemVersion] = (),
    places: Sequence[Location] = (),
    servers: Sequence[Server] = (),
) -> ServerSpec:
    """Return the spec of the server: what was asked for, and for the rest the cheapest.

    Args:
        name: The name of the server.
        offers: The list of plans.
        plan: The id of the plan.
        os: The id of the operating system.
        location: The location.
        systems: The operating systems, if the dialect lists them.
        places: The locations, if the dialect lists them.
        servers: Those of the account: what one of them has exists.

    Raises:
        ConfigurationError: One of them is not known, and has to be given.
    """
    offer = _plan(offers, plan, location)
    plan_id = plan if plan is not None else offer.id if offer else None
    if location is None:
        active = [place.id for place in places if place.is_active is not False]
        used = [server.location for server in servers if server.location] if not places else []
        location = next(iter([*active, *((offer and offer.locations) or ()), *used]), None)
    if os is None:
        free = [one.id for one in systems if FREE.search(f"{one.operating_system} {one.name}")]
        known = [server.os.id for server in servers if server.os and server.os.id is not None]
        os = next(iter([*free, *(one.id for one in systems), *known]), None)
    for value, what, option in (
        (plan_id, "plan with a price", "plan"),
        (os, "operating system", "os"),
        (location, "location", "location"),
    ):
        if value is None:
            raise ConfigurationError(f"the API lists no {what} to choose: give {option} (--{option})")
    assert plan_id is not None
    assert os is not None
    assert location is not None
    return ServerSpec(name=name, plan_id=plan_id, os_id=os, location=location)


def _plan(
    offers: Sequence[PlanOffer], plan: int | str | None, location: int | str | None
) -> PlanOffer | None:
    """Return the offer of this plan, or the cheapest one that can be ordered there."""
    if plan is not None:
        return next((offer for offer in offers if id_text(offer.id) == id_text(plan)), None)
    fitting = [
        offer
        for offer in offers
        if offer.available is not False
        and (location is None or not offer.locations or str(location) in offer.locations)
    ]
    priced = [offer for offer in fitting if offer.price_hourly is not None or offer.price_monthly is not None]
    return min(priced, key=_price, default=None)


def _price(offer: PlanOffer) -> Decimal:
    if offer.price_hourly is not None:
        return offer.price_hourly
    return (offer.price_monthly or Decimal(0)) / 672  # the hours of a month, by https://www.vps.org/faq
