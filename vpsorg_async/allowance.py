"""The limits of a client against its account: what it may still create. Pure.

A create that was admitted holds a `Place`, which counts like a server until reads show what became of it:

====================  ==========================================================================================
the place             counts
====================  ==========================================================================================
admitted, unanswered  unless the list shows a new server of its name
withdrawn             never: the create was refused, or not sent
answered              unless the list shows its server, or the server was seen to be gone; and not any more in a list
                      that was requested ``visibility`` seconds after the answer
outcome unknown       as unanswered, and for as long as answered; not after a search that found nothing
====================  ==========================================================================================

A server that is being deleted counts until it is seen to be gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from decimal import Decimal

import attrs

from .config import Limits
from .counting import counted
from .errors import LimitError
from .fleet_errors import read_only
from .records import PlanOffer, Server, ServerId
from .specs import ServerSpec, id_text, key_of, same_id

__all__ = ["AccountView", "Allowance", "Place"]

LASTS = 3600.0
"""Seconds after which the place of an answered create is forgotten. No list takes that long to read."""


@attrs.define(eq=False)
class Place:
    """What one admitted create counts for: ``name`` is the key of its name, ``before`` the ids that existed before.

    That of a resize creates nothing: it counts by what the new plan costs more, until lists must show it.
    """

    name: str
    price: Decimal | None
    before: Set[ServerId] = attrs.field(repr=False)
    creates: bool = True
    begun: bool = False
    server: Server | None = None
    settled_at: float | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the outcome of the create is unknown."""
        return self.settled_at is not None and self.server is None

    def begin(self) -> None:
        """Note that the create may have been sent from now on."""
        self.begun = True

    def settle(self, server: Server | None, now: float) -> None:
        """Note the answer: the server, or None where the outcome is unknown."""
        self.server, self.settled_at = server, now


@attrs.frozen(kw_only=True)
class AccountView:
    """A complete list of the account: its servers without those that are known to be gone."""

    servers: Sequence[Server]
    requested_at: float
    name_of: Callable[[Server], str]
    """Returns the key of a server's name."""
    is_gone: Callable[[Server], bool]
    """Returns whether a server that the list does not show was seen to be gone."""
    offers: Sequence[PlanOffer] = ()
    replaced: ServerId | None = None
    """The server that is deleted for the create that is wanted."""

    def staying(self) -> Sequence[Server]:
        """Return the servers without the one that is deleted."""
        return [server for server in self.servers if not self.leaves(server)]

    def leaves(self, server: Server) -> bool:
        """Return whether this is the server that is deleted."""
        return self.replaced is not None and same_id(server.id, self.replaced)


class Allowance:
    """The places of one client, and what its limits leave. ``visibility``: seconds for which lists may lag."""

    def __init__(self, limits: Limits, visibility: float) -> None:
        self._limits = limits
        self._visibility = visibility
        self._places: list[Place] = []

    @property
    def needs_account(self) -> bool:
        """Whether a create is checked against a list of the account."""
        return self._limits.max_servers is not None or self.needs_prices

    @property
    def needs_prices(self) -> bool:
        """Whether a create is checked against prices."""
        return self._limits.max_hourly is not None

    def check_change(self, what: str) -> None:
        """Raise `LimitError` if the client is read-only."""
        if self._limits.read_only:
            raise read_only(what)

    def check_run(self, creates: int) -> None:
        """Raise `LimitError` if one run may not create that many servers."""
        most = self._limits.max_creates_per_run
        if most is not None and creates > most:
            servers = "server" if creates == 1 else "servers"
            raise _exceeded("max_creates_per_run", most, creates, f"the run would create {creates} {servers}")

    def admit(
        self, wanted: Mapping[str, ServerSpec], view: AccountView, now: float, *, searched: bool = False
    ) -> tuple[Place, ...]:
        """Return a place for each create, in order.

        Args:
            wanted: The specs by the keys of their names.
            view: The account.
            now: The time, in monotonic seconds.
            searched: Whether an earlier create of the same name whose outcome is unknown is searched for before
                another is sent: both are one server then.

        Raises:
            LimitError: All of them together exceed a limit, or a price is not known.
        """
        if not wanted:
            return ()
        self._places = [p for p in self._places if p.settled_at is None or now - p.settled_at < LASTS]
        unseen = self._unseen(view)
        if searched:
            unseen = [place for place in unseen if not (place.in_doubt and place.name in wanted)]
        staying, coming = len(view.staying()), sum(place.creates for place in unseen)
        most, total = self._limits.max_servers, staying + coming + len(wanted)
        if most is not None and total > most:
            there = f"the account has {counted(staying, 'server')}, {coming} more are being created"
            raise _exceeded("max_servers", most, total, f"{there}, and {len(wanted)} are wanted")
        prices = self._check_prices(wanted, view, unseen)
        before = frozenset(key_of(server.id) for server in view.servers)
        places = tuple(Place(name, prices.get(name), before) for name in wanted)
        self._places += places
        return places

    def admit_resizes(
        self, ids: Iterable[ServerId], offer: PlanOffer, view: AccountView
    ) -> Mapping[str, Place]:
        """Return a place for each server that is to get this plan, by its id in the form of `id_text`.

        A server that gets cheaper counts as it is: another one can get dearer first.

        Raises:
            LimitError: All of them together exceed ``max_hourly``, or a price is not known.
        """
        most = self._limits.max_hourly
        if most is None:
            return {}
        known = {str(one.id): one.price_hourly for one in view.offers}
        new = _price(known, offer.id, f"plan {offer.id!r}", most)
        now, servers = (
            self._spent(view, self._unseen(view), most),
            {id_text(one.id): one for one in view.servers},
        )
        prices: dict[str, Decimal] = {}
        for server_id in map(id_text, ids):
            server = servers.get(server_id)
            plan = None if server is None or server.plan is None else server.plan.id
            prices[server_id] = max(Decimal(0), new - _price(known, plan, f"server {server_id}", most))
        more = sum(prices.values(), Decimal(0))
        if now + more > most:
            raise _exceeded(
                "max_hourly", most, now + more, f"the account costs {now} per hour, and {more} more is wanted"
            )
        places = {
            key: Place(f"resize {key}", price, frozenset(), creates=False) for key, price in prices.items()
        }
        self._places += places.values()
        return places

    def withdraw(self, places: Iterable[Place]) -> None:
        """Give up places of creates that have created nothing."""
        left = set(places)
        self._places = [place for place in self._places if place not in left]

    def clear(self, name: str) -> None:
        """Give up the places in doubt of this name: a search has shown that their creates have had no effect."""
        self.withdraw([place for place in self._places if place.in_doubt and place.name == name])

    def _unseen(self, view: AccountView) -> list[Place]:
        """Return the places that count besides the servers of the list."""
        ids: dict[str, list[ServerId]] = {}
        shown = {key_of(server.id) for server in view.servers}
        for server in view.servers:
            ids.setdefault(view.name_of(server), []).append(key_of(server.id))
        # each new server of the list stands for one place
        taken = {key_of(place.server.id) for place in self._places if place.server is not None}
        unseen: list[Place] = []
        for place in self._places:
            if place.settled_at is not None and view.requested_at >= place.settled_at + self._visibility:
                continue
            if place.server is not None:
                seen = (
                    key_of(place.server.id) in shown
                    or view.is_gone(place.server)
                    or view.leaves(place.server)
                )
            else:
                new = [one for one in ids.get(place.name, ()) if one not in taken and one not in place.before]
                taken.update(new[:1])
                seen = bool(new)
            if not seen:
                unseen.append(place)
        return unseen

    def _check_prices(
        self, wanted: Mapping[str, ServerSpec], view: AccountView, unseen: Sequence[Place]
    ) -> Mapping[str, Decimal]:
        """Return the price per hour of each create. Raises `LimitError`."""
        most = self._limits.max_hourly
        if most is None:
            return {}
        known = {str(offer.id): offer.price_hourly for offer in view.offers}
        now = self._spent(view, unseen, most)
        prices = {name: _price(known, spec.plan_id, repr(spec.name), most) for name, spec in wanted.items()}
        more = sum(prices.values(), Decimal(0))
        if now + more > most:
            raise _exceeded(
                "max_hourly", most, now + more, f"the account costs {now} per hour, and {more} more is wanted"
            )
        return prices

    def _spent(self, view: AccountView, unseen: Iterable[Place], most: Decimal) -> Decimal:
        """Return what the account costs per hour. Raises `LimitError` where a price is not known."""
        known = {str(offer.id): offer.price_hourly for offer in view.offers}
        now = Decimal(0)
        for server in view.staying():
            plan = None if server.plan is None else server.plan.id
            now += _price(known, plan, f"server {server.name!r} ({server.id})", most)
        return now + sum((place.price for place in unseen if place.price is not None), Decimal(0))


def _price(known: Mapping[str, Decimal | None], plan: int | str | None, of: str, most: Decimal) -> Decimal:
    price = known.get(str(plan))
    if price is None:
        which = "its plan is not shown" if plan is None else f"the list of plans has none for plan {plan!r}"
        raise LimitError(
            f"the price per hour of {of} is not known ({which}), so max_hourly={most} cannot be checked; "
            "nothing was sent",
            limit="max_hourly",
            allowed=most,
        )
    return price


def _exceeded(limit: str, allowed: int | Decimal, required: int | Decimal, why: str) -> LimitError:
    return LimitError(
        f"{limit}={allowed} would be exceeded: {why}: {required} in all; nothing was sent",
        limit=limit,
        allowed=Decimal(allowed),
        required=Decimal(required),
    )
