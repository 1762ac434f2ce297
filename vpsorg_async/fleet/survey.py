"""What the account has of the wanted specs, before anything is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterable, Iterator, Sequence, Set

import attrs

from ..errors import ConfigurationError, VpsOrgError, is_absence
from ..lifecycle.commands import GONE
from ..lifecycle.creations import Made
from ..lookups import Plans
from ..records import Server
from ..specs import ServerSpec
from .jobs import RunContext
from .planning import FleetPlan, plan_fleet
from .resumption import Resumption

__all__ = ["Survey"]


class Survey:
    """Reads the account once for each call. A list that is known to be incomplete proves no absence."""

    def __init__(self, context: RunContext, plans: Plans) -> None:
        self._context = context
        self._plans = plans

    def begin(self) -> Survey:
        """Return the survey of one call: the deadline of all its reads counts from here."""
        endpoints = self._context.endpoints.begin()
        return Survey(attrs.evolve(self._context, endpoints=endpoints), self._plans.over(endpoints.session))

    async def planned(self, wanted: Sequence[ServerSpec]) -> tuple[Set[str], FleetPlan]:
        """Return the ids in the account, and the plan.

        Raises:
            DecodeError: The plan creates a server, and the list is incomplete: the server may exist all the same.
        """
        if not wanted:
            return set(), self._plan(wanted, ())
        endpoints = self._context.endpoints
        listing = await endpoints.listing()
        existing = [*listing.servers, *await self._own(wanted, listing.servers)]
        plan = self._plan(wanted, existing)
        for step in plan.steps:
            if step.server is not None:
                endpoints.creations.end_doubt(endpoints.shown_name(step.spec))
        if plan.creates:
            names = ", ".join(spec.name for spec in plan.creates[:5])
            listing.check_whole(f"what it does not show may exist all the same ({names})")
        return {str(server.id).casefold() for server in existing}, plan

    async def untaken(
        self, wanted: Sequence[ServerSpec], resumption: Resumption
    ) -> tuple[Set[str], FleetPlan]:
        """Return the ids in the account, and the plan, if none of the names exists.

        A server that this client created and that no list shows yet is adopted, and one that an earlier run created.

        Raises:
            ConfigurationError: A name exists.
            DecodeError: The list is incomplete: a name that it does not show may exist all the same.
        """
        if not wanted:
            return set(), self._plan(wanted, ())
        key_of = self._context.endpoints.key_of
        listing = await self._context.endpoints.listing()
        keys = set(map(key_of, wanted))
        present = [
            (server, leaving) for server, leaving in self._present(listing.servers) if key_of(server) in keys
        ]
        made = [server for server, _ in present if resumption.made(key_of(server), server.id)]
        taken = sorted(
            {
                f"{server.name} (it is being deleted: ensure waits for that)" if leaving else server.name
                for server, leaving in present
                if server not in made
            }
        )
        if taken:
            raise ConfigurationError(f"these names exist already: {', '.join(taken)}; nothing was created")
        own = [*made, *await self._own(wanted, listing.servers)]
        plan = self._plan(wanted, own)
        if plan.creates:
            listing.check_whole("a name that it does not show may exist all the same")
        return {str(server.id).casefold() for server in (*listing.servers, *own)}, plan

    async def _own(self, wanted: Sequence[ServerSpec], listed: Sequence[Server]) -> Sequence[Server]:
        """Return the servers of these names that this client created and a lagging list does not show yet."""
        endpoints, now = self._context.endpoints, self._context.clock.now()
        shown = set(map(endpoints.key_of, listed))
        own = [
            created
            for spec in wanted
            if endpoints.key_of(spec) not in shown
            and (created := endpoints.creations.own(endpoints.shown_name(spec), now)) is not None
        ]

        async def read(created: Made) -> Server | None:
            try:
                return await endpoints.get(created.server.id)
            except VpsOrgError as error:
                gone = is_absence(error) and not self._context.waiter.may_be_invisible(created.at)
                return None if gone else created.server

        found = await asyncio.gather(*map(read, own))
        return [server for server in found if server is not None]

    async def created(self, spec: ServerSpec, before: Collection[str]) -> Server | None:
        """Return the server of that name that this client created last, unless it is one of those or is leaving."""
        for server, leaving in self._present(await self._own([spec], ())):
            if not leaving and str(server.id).casefold() not in before:
                return server
        return None

    def _plan(self, wanted: Sequence[ServerSpec], existing: Sequence[Server]) -> FleetPlan:
        """Return the plan, with a step for each spec."""
        return plan_fleet(wanted, existing, self._context.endpoints.key_of, self._context.waiter.heading)

    async def priced(self, plan: FleetPlan) -> FleetPlan:
        """Return the plan with prices, if they can be read."""
        if plan.creates:
            # a plan without prices is better than none
            with contextlib.suppress(VpsOrgError):
                plan = plan.priced(await self._plans.list())
        return plan

    def _present(self, servers: Iterable[Server]) -> Iterator[tuple[Server, bool]]:
        """Yield the servers that exist, as far as this client knows, each with whether it is being deleted."""
        for server in servers:
            heading = self._context.waiter.heading(server)
            if GONE not in (heading, server.status):
                yield server, heading == "delete"
