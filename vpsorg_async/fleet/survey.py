"""What the account has of the wanted specs, before anything is sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set

import attrs

from ..errors import ConfigurationError, PlanRefusedError, VpsOrgError, is_absence
from ..fleet_spec import FleetSpec
from ..journal import StandingPair
from ..lifecycle.commands import GONE
from ..lifecycle.creations import Made
from ..lifecycle.receipts import Receipt
from ..listing import Listing
from ..lookups import Plans
from ..records import Server, ServerId, ServerStatus
from ..specs import ServerSpec, id_text
from .convergence import Selector, plan_fleets
from .drift import renewed
from .guards import Guards
from .jobs import RunContext
from .planning import FleetPlan, StepKind, plan_fleet
from .replace_options import ReplaceOptions
from .resumption import Resumption

__all__ = ["Survey"]

NAMED = 10
"""The number of changes that the message of an error names; its attribute has them all."""


class Survey:
    """Reads the account once for each call. A list that is known to be incomplete proves no absence."""

    def __init__(self, context: RunContext, plans: Plans) -> None:
        self._context = context
        self._plans = plans

    def begin(self) -> Survey:
        """Return the survey of one call: the deadline of all its reads counts from here."""
        endpoints = self._context.endpoints.begin()
        return Survey(attrs.evolve(self._context, endpoints=endpoints), self._plans.over(endpoints.session))

    async def planned(
        self, wanted: Sequence[ServerSpec], taken: Collection[ServerId] = ()
    ) -> tuple[Set[str], FleetPlan]:
        """Return the ids in the account, and the plan.

        Args:
            wanted: The specs.
            taken: Names of those whose servers are known by receipts: the list need not show them.

        Raises:
            DecodeError: The plan creates a server, and the list is incomplete: the server may exist all the same.
        """
        if not wanted:
            return set(), self._plan(wanted, ())
        endpoints = self._context.endpoints
        rest = [spec for spec in wanted if spec.name not in taken]
        listing, existing = await self._account(self._keys(rest).__contains__)
        plan = self._plan(wanted, existing)
        for step in plan.steps:
            if step.server is not None:
                endpoints.creations.end_doubt(endpoints.shown_name(step.spec))
        creates = [spec.name for spec in plan.creates if spec.name not in taken]
        if creates:
            names = ", ".join(creates[:5])
            listing.check_whole(f"what it does not show may exist all the same ({names})")
        return {id_text(server.id) for server in existing}, plan

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
        keys = self._keys(wanted)
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
        shown = {key_of(server) for server, _ in present}
        taken += [
            f"{spec.name} (created a moment ago)"
            for spec in wanted
            if key_of(spec) not in shown and self.recent(spec, resumption) is not None
        ]
        if taken:
            raise ConfigurationError(f"these names exist already: {', '.join(taken)}; nothing was created")
        own = [*made, *await self._own(keys.__contains__, listing.servers)]
        plan = self._plan(wanted, own)
        if plan.creates:
            listing.check_whole("a name that it does not show may exist all the same")
        return {id_text(server.id) for server in (*listing.servers, *own)}, plan

    async def converged(
        self,
        fleets: Sequence[FleetSpec],
        guards: Guards,
        options: ReplaceOptions | None = None,
        standing: Sequence[StandingPair] = (),
    ) -> FleetPlan:
        """Return the plan for these fleets, from one list of the account.

        Args:
            fleets: The fleets.
            guards: What may be deleted.
            options: What is replaced; None: nothing is.
            standing: The replacements that the journal has.

        Raises:
            ConfigurationError: Two fleets overlap, or a protected name belongs to none.
            DecodeError: The plan creates or deletes a server, and the list is incomplete.
        """
        key_of = self._context.endpoints.key_of
        selector = Selector(fleets, key_of)
        listing, existing = await self._account(lambda key: selector.place(key) is not None)
        replacing = None
        if options is not None:
            # the clock of the service says how old its servers are, unless it is ahead of this one
            now = min(self._context.clock.wall(), listing.date or self._context.clock.wall())
            replacing = options.at(now, standing, in_place=self._context.endpoints.can_update)
        plan = plan_fleets(fleets, existing, guards, key_of, self._context.waiter.heading, replacing)
        _check_whole(listing, plan)
        return plan

    async def unchanged(self, plan: FleetPlan) -> tuple[Set[str], FleetPlan]:
        """Return the ids in the account, and the plan with the present records of its servers.

        Raises:
            PlanRefusedError: The account is not as the plan was made on.
            DecodeError: The plan creates or deletes a server, and the list is incomplete.
        """
        endpoints = self._context.endpoints
        selector, keys = (
            Selector(plan.fleets, endpoints.key_of),
            self._keys([step.spec for step in plan.steps]),
        )
        listing, existing = await self._account(lambda key: key in keys or selector.place(key) is not None)
        now, changes = renewed(plan, existing, endpoints.key_of, self._context.waiter.heading)
        if changes:
            more = f" and {len(changes) - NAMED} more" if len(changes) > NAMED else ""
            raise PlanRefusedError(
                "the account has changed since the plan was made, and nothing was sent: "
                f"{'; '.join(changes[:NAMED])}{more}",
                plan=plan,
                changes=changes,
            )
        _check_whole(listing, plan)
        for step in now.steps:
            if (step.by if step.kind is StepKind.REPLACE else step.server) is not None:
                endpoints.creations.end_doubt(endpoints.shown_name(step.spec))
        return {id_text(server.id) for server in existing}, now

    def recent(self, spec: ServerSpec, resumption: Resumption) -> Receipt | None:
        """Return the receipt of a server of this name that a complete run created just now: a list may not show it."""
        receipt = resumption.recent.get(self._context.endpoints.key_of(spec))
        if receipt is None:
            return None
        server = Server(id=receipt.server_id, name=spec.name, status=ServerStatus.PROVISIONING)
        return None if self._context.waiter.heading(server) in (GONE, "delete") else receipt

    async def _account(self, wanted: Callable[[str], bool]) -> tuple[Listing, Sequence[Server]]:
        """Return the list of the account, and its servers with those of this client that it does not show yet."""
        listing = await self._context.endpoints.listing()
        return listing, [*listing.servers, *await self._own(wanted, listing.servers)]

    def _keys(self, specs: Iterable[ServerSpec]) -> Set[str]:
        return set(map(self._context.endpoints.key_of, specs))

    async def _own(self, wanted: Callable[[str], bool], listed: Sequence[Server]) -> Sequence[Server]:
        """Return the servers of wanted names that this client created and a lagging list does not show yet."""
        endpoints, now = self._context.endpoints, self._context.clock.now()
        shown, ids = set(map(endpoints.key_of, listed)), {id_text(server.id) for server in listed}
        own = [
            created
            for key, created in endpoints.creations.all_own(now)
            if key not in shown
            and wanted(key)
            # it may be shown with another name
            and id_text(created.server.id) not in ids
            and not self._context.waiter.saw_end_of(created.server)
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
        for server, leaving in self._present(await self._own(self._keys([spec]).__contains__, ())):
            if not leaving and id_text(server.id) not in before:
                return server
        return None

    def _plan(self, wanted: Sequence[ServerSpec], existing: Sequence[Server]) -> FleetPlan:
        """Return the plan, with a step for each spec."""
        return plan_fleet(wanted, existing, self._context.endpoints.key_of, self._context.waiter.heading)

    async def priced(self, plan: FleetPlan) -> FleetPlan:
        """Return the plan with prices, if they can be read, and with what the limits of the client forbid."""
        if plan.creates or plan.deletes or plan.replaces:
            # a plan without prices is better than none
            with contextlib.suppress(VpsOrgError):
                plan = plan.priced(await self._plans.list())
        context = self._context
        at_once = [*plan.creates, *plan.surge]
        later = sum(step.by is None for step in plan.replaces) - len(plan.surge)
        over = await context.admissions.forbidden(context.endpoints, at_once, plan.changes, later)
        return attrs.evolve(plan, over_limits=(over,)) if over else plan

    def _present(self, servers: Iterable[Server]) -> Iterator[tuple[Server, bool]]:
        """Yield the servers that exist, as far as this client knows, each with whether it is being deleted."""
        for server in servers:
            heading = self._context.waiter.heading(server)
            if GONE not in (heading, server.status):
                yield server, heading == "delete"


def _check_whole(listing: Listing, plan: FleetPlan) -> None:
    """Raise `DecodeError` for a plan that creates, deletes or replaces, if the list may lack servers."""
    names = [step.name for step in plan.replaces]
    subjects = [*(spec.name for spec in plan.creates), *(server.name for server in plan.deletes), *names]
    if subjects:
        listing.check_whole(f"a fleet may have servers that it does not show ({', '.join(subjects[:5])})")
