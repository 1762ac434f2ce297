"""Admits the creates of a client, all of one call together, before the first is sent; `allowance` has the rules."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import TypeVar

from .allowance import AccountView, Allowance, Place
from .endpoints import Endpoints
from .errors import LimitError, OutcomeUnknownError, RequestError, Sent, VpsOrgError
from .http.session import SendCancelled
from .lifecycle.calls import Waiter
from .lifecycle.commands import GONE
from .lookups import Plans
from .records import ActionAccepted, PlanOffer, Server, ServerId
from .sizes import offer_of
from .specs import ServerSpec, id_text
from .timing import Clock

__all__ = ["Admission", "AdmissionControl"]

T = TypeVar("T")


class Admission:
    """The places of one call, by the names of its specs. `close` gives up those that were not used."""

    def __init__(
        self,
        allowance: Allowance,
        clock: Clock,
        places: Mapping[str, Place],
        specs: Sequence[ServerSpec] = (),
    ) -> None:
        self._allowance = allowance
        self._clock = clock
        self._places = dict(places)
        self._specs = {spec.name: spec for spec in specs}

    async def create(self, spec: ServerSpec, create: Awaitable[Server]) -> Server:
        """Await a create, note what became of its place, and return its server or raise its error."""
        place = self._places.get(spec.name)
        server = await self._noted(place, create)
        if place is not None:
            place.settle(server, self._clock.now())
        return server

    async def resize(self, server_id: ServerId, resize: Awaitable[ActionAccepted]) -> ActionAccepted:
        """The same for a resize of a server: it counts until lists must show it."""
        place = self._places.get(id_text(server_id))
        accepted = await self._noted(place, resize)
        if place is not None:
            place.settle(None, self._clock.now())
        return accepted

    async def _noted(self, place: Place | None, change: Awaitable[T]) -> T:
        """Await a change, and note if it fails what becomes of its place."""
        if place is None:
            return await change
        place.begin()
        try:
            return await change
        except (SendCancelled, VpsOrgError) as error:
            if isinstance(error, OutcomeUnknownError):
                place.settle(None, self._clock.now())
            else:
                self._allowance.withdraw([place])
            raise
        except BaseException:
            # a change that was cancelled may have been sent
            place.settle(None, self._clock.now())
            raise

    def take_over(self, other: Admission) -> None:
        """Use the places of another admission from now on, instead of those of the same names."""
        self._places = {**self._places, **other._places}
        self._specs = {**self._specs, **other._specs}

    def unused(self, name: str) -> bool:
        """Whether there is a place of this name whose create was not begun."""
        place = self._places.get(name)
        return place is not None and not place.begun

    def is_for(self, spec: ServerSpec) -> bool:
        """Whether the place of the name of this spec is for this very spec, so that its price counts."""
        return self._specs.get(spec.name) == spec

    def give_up(self, name: str) -> None:
        """Give up the place of a create that was refused, or not begun."""
        place = self._places.pop(name, None)
        if place is not None and place.settled_at is None:
            self._allowance.withdraw([place])

    def close(self) -> None:
        """Give up the places whose creates were not begun."""
        self._allowance.withdraw(place for place in self._places.values() if not place.begun)


@contextlib.contextmanager
def _before(what: str) -> Iterator[None]:
    """Say in errors of reads before a change that nothing was sent: theirs must not be mistaken for that of it."""
    try:
        yield
    except RequestError as error:
        error.sent = Sent.NO
        error.add_note(f"nothing was {what}")
        raise


class AdmissionControl:
    """Holds the creates of one client against its limits."""

    def __init__(self, allowance: Allowance, plans: Plans, waiter: Waiter, clock: Clock) -> None:
        self._allowance = allowance
        self._plans = plans
        self._waiter = waiter
        self._clock = clock

    def check_change(self, what: str) -> None:
        """Raise `LimitError` if the client is read-only; ``what`` is the change."""
        self._allowance.check_change(what)

    def check_run(self, creates: int) -> None:
        """Raise `LimitError` if one run may not create that many servers."""
        self._allowance.check_run(creates)

    async def admit(
        self,
        endpoints: Endpoints,
        specs: Sequence[ServerSpec],
        *,
        searched: bool = False,
        earlier: int = 0,
        replaced: ServerId | None = None,
    ) -> Admission:
        """Admit the creates of one call: all of them, or none.

        Args:
            endpoints: Those of the call.
            specs: What is to be created.
            searched: Whether the call searches for the server of an earlier create of the same name, if its outcome
                is unknown, before it creates another: both count as one then.
            earlier: The number of creates that the call was admitted to before.
            replaced: The server that is deleted before the create is sent, and does not count.

        Raises:
            LimitError: A limit does not allow them, or a price is not known.
            DecodeError: The list of the account is incomplete.
            APIError, TransportError: The account or the plans cannot be read.
        """
        self._allowance.check_run(earlier + len(specs))
        if not specs or not self._allowance.needs_account:
            return Admission(self._allowance, self._clock, {})
        for spec in specs:
            endpoints.check(spec)
        with _before("created: the limits of the client could not be checked"):
            view = await self._view(endpoints, replaced)
        wanted = {endpoints.key_of(spec): spec for spec in specs}
        places = self._allowance.admit(wanted, view, self._clock.now(), searched=searched)
        admitted = list(wanted.values())
        names = [spec.name for spec in admitted]
        return Admission(self._allowance, self._clock, dict(zip(names, places, strict=True)), admitted)

    async def forbidden(
        self, endpoints: Endpoints, specs: Sequence[ServerSpec], changes: int, later: int = 0
    ) -> str:
        """Return what the limits forbid of a plan, which is not carried out; empty if they allow it.

        Args:
            endpoints: Those of the call.
            specs: What is to be created.
            changes: The number of all its changes.
            later: The number of creates for which others make room first.
        """
        try:
            if changes:
                self.check_change("the plan")
            (await self.admit(endpoints, specs, earlier=later)).close()
        except LimitError as error:
            return str(error).removesuffix("; nothing was sent")
        except VpsOrgError as error:
            return f"the limits could not be checked: {error}"
        return ""

    async def admit_resizes(
        self, endpoints: Endpoints, ids: Sequence[ServerId], plan: ServerId | PlanOffer
    ) -> tuple[PlanOffer, Admission]:
        """Return the offer of a plan, and admit that servers get it: all of them, or none.

        Raises:
            ConfigurationError: The dialect has no resize, or there is no such plan.
            LimitError: A limit does not allow them, or a price is not known.
            DecodeError: The list of the account is incomplete.
            APIError, TransportError: The plans or the account cannot be read.
        """
        endpoints.check_command("resize")
        self._allowance.check_change("resize")
        with _before("resized: the plans, or what the limits need, could not be read"):
            offer = offer_of(await self._plans.over(endpoints.session).list(), plan)
            if not self._allowance.needs_prices:
                return offer, Admission(self._allowance, self._clock, {})
            view = await self._view(endpoints, None)
        places = self._allowance.admit_resizes(ids, offer, view)
        return offer, Admission(self._allowance, self._clock, places)

    async def exchange(self, admission: Admission, endpoints: Endpoints, spec: ServerSpec) -> None:
        """Admit this spec instead of the one of the same name, whose create was refused, or not begun.

        Raises what `admit` raises; the first place is given up then as well.
        """
        if admission.unused(spec.name) and (admission.is_for(spec) or not self._allowance.needs_prices):
            return
        admission.give_up(spec.name)
        admission.take_over(await self.admit(endpoints, [spec], searched=True))

    def clear(self, name: str) -> None:
        """Note that no create of this name, by its key, whose outcome is unknown has had an effect."""
        self._allowance.clear(name)

    async def _view(self, endpoints: Endpoints, replaced: ServerId | None) -> AccountView:
        """Read the account, and the plans if a limit needs them."""
        listing = await endpoints.listing()
        listing.check_whole("what it does not show counts for the limits as well")
        prices = self._allowance.needs_prices
        return AccountView(
            servers=[server for server in listing.servers if not self._is_gone(server)],
            requested_at=listing.requested_at,
            name_of=endpoints.key_of,
            is_gone=self._is_gone,
            replaced=replaced,
            offers=await self._plans.over(endpoints.session).list() if prices else (),
        )

    def _is_gone(self, server: Server) -> bool:
        return GONE in (server.status, self._waiter.heading(server))
