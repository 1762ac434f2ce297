"""The fleet calls that take `FleetSpec`: plan, apply, scale."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Unpack, overload

import attrs

from ..errors import ConfigurationError, PlanRefusedError
from ..fleet_plan import FleetPlan
from ..fleet_spec import FleetSpec
from ..specs import ServerSpec, check_bool
from .guards import Guards
from .inputs import (
    ApplyOptions,
    PlanOptions,
    ScaleOptions,
    check_file,
    check_function,
    check_known,
    options_of,
)
from .jobs import Options
from .outcomes import Report
from .provider_commands import ProviderCommands
from .replace_options import ReplaceOptions
from .stream import finish
from .swaps import Switch

__all__ = ["FleetCalls"]

TRIES = 5
"""How often a fleet is planned, if the account changes each time between the plan and the first change."""
PAUSE = 1.0
"""Seconds before it is planned again: lists that lag show the servers of another program one after the other."""


class FleetCalls(ProviderCommands):
    """The calls of `Fleet` that bring the account to what fleets say."""

    async def plan(
        self,
        fleets: FleetSpec | Iterable[FleetSpec] | Iterable[ServerSpec],
        *,
        journal: str | os.PathLike[str] | None = None,
        **options: Unpack[PlanOptions],
    ) -> FleetPlan:
        """Return what `apply` would do, and what that costs. Only reads are sent: one list, and the prices.

        Args:
            fleets: A fleet, or several whose names do not overlap; or specs of servers, which have no pattern that
                selects others: nothing is deleted then, and ``prune`` is refused.
            journal: The file of the journal with which the plan will be applied: replacements that were interrupted
                are in it. It is read, and not created.
            **options: ``prune`` (delete servers that are more than a fleet's count; False), ``max_deletes`` (the most
                servers to delete: a number for the whole plan, or a share below 1 of each fleet, at least one; 0.1),
                ``protect`` (names of servers that are not deleted, or a function of a server), ``remove`` (which go
                first: ``"highest"`` numbers, ``"newest"``, or a function that returns the largest values for those),
                ``allow_empty`` (whether a count of 0 may delete a whole fleet; False) and ``replace``: ``"never"``
                (a server that differs from its spec is kept, and its step names the differences) or ``"rolling"``
                (a new server takes its place), which has ``replace_when``, ``surge``, ``max_unavailable``, ``drain``,
                ``canary``, ``max_failures``, ``delete_failed`` and ``names``; see `PlanOptions`.

        Returns:
            The plan. Its ``refusals`` are empty if it can be applied.

        Raises:
            ConfigurationError: Bad input, overlapping fleets, or a protected name that no fleet has; or the journal
                can't be used.
            DecodeError: The plan creates, deletes or replaces a server, and the account cannot be listed completely.
            APIError, TransportError: The account cannot be listed.

        Example::

            fleet = FleetSpec(name="web-{n:02}", count=20, plan_id=1, os_id=5, location="us-west")
            plan = await vps.fleet.plan(fleet, prune=True)
            print(plan)

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        check_known("plan", options, PlanOptions)
        guards, replace, file = Guards.of(options), ReplaceOptions.of(options), check_file(journal)
        given: Any = fleets
        if isinstance(fleets, Iterable) and not isinstance(fleets, str | bytes):
            given = tuple(fleets)
        if isinstance(given, tuple) and given and all(isinstance(one, ServerSpec) for one in given):
            if guards.prune or guards.protect or replace is not None:
                raise ConfigurationError(
                    "prune, protect and replace need FleetSpecs: other specs delete nothing"
                )
            return await self._launcher.ensure_plan(self._launcher.specs(given))
        return await self._launcher.plan(self._launcher.fleets(given), guards, replace, file, priced=True)

    async def apply(
        self,
        fleets: FleetPlan | FleetSpec | Iterable[FleetSpec],
        *,
        timeout: float,
        **options: Unpack[ApplyOptions],
    ) -> Report:
        """Bring the account to what the fleets say, and wait for it. A second call finds nothing to do.

        Missing servers are created, stopped ones started, those on their way waited for; with ``prune`` those that are
        too many are deleted. Other servers than those of the fleets are never touched. Deletes are sent one after the
        other, and once one has failed no other is sent. The account is read again right before the first change.

        With ``replace="rolling"`` servers that differ are replaced after that, a few at a time: the new one is created,
        becomes active and passes ``ready``, ``switch`` is called, and after ``drain`` seconds the old one is deleted.
        When something fails the old one stays.

        Args:
            fleets: A plan of `plan`, which is applied only if the account still is as it was planned on; or a fleet, or
                several, which are planned here.
            timeout: Seconds for each server.
            **options: Those of `plan`, unless a plan is given. ``ready`` and ``ready_timeout`` (a check that each
                server must also pass), ``settle``, ``on_failure``, ``on_stuck``, ``max_replacements``,
                ``max_unhealthy``, ``on_event`` and ``journal`` as in `ensure`; and ``switch``, called and awaited with
                the old and the new server of each replacement, perhaps again after a crash; see `ApplyOptions`.

        Returns:
            One outcome for each step of the plan, whose ``how`` is ``created``, ``started``, ``adopted``, ``deleted``,
            ``updated``, ``replaced`` (its ``old`` is the server that is gone) or ``kept`` (more than its fleet needs,
            and left as it is; not among ``report.servers``). `Report.retry_failed` repeats neither deletes nor
            replacements: apply again, which plans again.

        Raises:
            PlanRefusedError: A guard forbids the plan, or the account or the journal has changed since it was made; or
                ``switch`` is given without a journal, and an interrupted replacement shows. Nothing changed.
            ConfigurationError: Bad input, overlapping fleets, a protected name that no fleet has, or another call works
                on these names; nothing was sent.
            DecodeError: A server would be created or deleted, and the account cannot be listed completely.
            APIError, TransportError: The account cannot be listed.

        Example:
            ``report = await vps.fleet.apply(fleet, timeout=900, prune=True)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        settings, switch = options_of("apply", timeout, options, ApplyOptions), options.get("switch")
        check_function(switch, "switch", awaited=True)
        if not isinstance(fleets, FleetPlan):
            replace = ReplaceOptions.of(options)
            if switch is not None and replace is None:
                raise ConfigurationError("switch: only for replace='rolling'")
            wanted = self._launcher.fleets(fleets)
            return await self._converge("apply", wanted, Guards.of(options), settings, replace, switch)
        decided = sorted(PlanOptions.__optional_keys__ & options.keys())
        if decided:
            raise ConfigurationError(f"{', '.join(decided)}: decided when the plan was made")
        if switch is not None and fleets.policy is None:
            raise ConfigurationError("switch: the plan was made without replace='rolling'")
        plan = _permitted(fleets, settings, switch)
        return await finish(self._launcher.applying(plan, settings, "apply", switch))

    @overload
    async def scale(
        self,
        fleet: FleetSpec,
        count: int,
        *,
        dry_run: Literal[True],
        timeout: float = ...,
        **options: Unpack[ScaleOptions],
    ) -> FleetPlan: ...
    @overload
    async def scale(
        self,
        fleet: FleetSpec,
        count: int,
        *,
        timeout: float,
        dry_run: Literal[False] = False,
        **options: Unpack[ScaleOptions],
    ) -> Report: ...
    @overload
    async def scale(
        self,
        fleet: FleetSpec,
        count: int,
        *,
        timeout: float,
        dry_run: bool,
        **options: Unpack[ScaleOptions],
    ) -> Report | FleetPlan: ...
    async def scale(
        self,
        fleet: FleetSpec,
        count: int,
        *,
        timeout: float | None = None,
        dry_run: bool = False,
        **options: Unpack[ScaleOptions],
    ) -> Report | FleetPlan:
        """Bring one fleet to another number of servers, and wait for it.

        Up by creating the lowest free numbers; down by deleting exactly as many as are too many, which needs no
        other permission. Otherwise this is `apply`: stopped servers of the fleet are started.

        Args:
            fleet: The fleet; its own ``count`` does not matter.
            count: The number of servers that it shall have.
            timeout: Seconds for each server. Required, except with ``dry_run=True``.
            dry_run: Change nothing, and return the `FleetPlan`, which `apply` takes.
            **options: ``remove`` (which servers are deleted first: ``"highest"`` numbers, ``"newest"``, or a function
                that returns the largest values for those), ``protect`` (names of servers that are not deleted, or a
                function of a server), ``allow_empty`` (whether the count may be 0; False), and ``ready``,
                ``ready_timeout``, ``settle``, ``on_failure``, ``on_stuck``, ``max_replacements``, ``max_unhealthy``,
                ``on_event`` and ``journal`` as in `apply`; see
                `ScaleOptions`.

        Returns:
            One outcome for each server of the fleet, and for each that was deleted; or the plan of a dry run.

        Raises:
            PlanRefusedError: The count is 0 without ``allow_empty=True``, or protected servers keep the fleet from it.
                No change was sent.
            ConfigurationError, DecodeError, APIError, TransportError: As in `apply`.

        Example:
            ``report = await vps.fleet.scale(fleet, 30, timeout=900)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        settings = options_of("scale", 1.0 if dry_run and timeout is None else timeout, options, ScaleOptions)
        (given,) = self._launcher.fleets([fleet])
        wanted, guards = [attrs.evolve(given, count=count)], Guards.of(options, exact=True)
        if check_bool(dry_run, "dry_run"):
            return await self._launcher.plan(wanted, guards, priced=True)
        return await self._converge("scale", wanted, guards, settings)

    async def _converge(
        self,
        operation: str,
        fleets: Sequence[FleetSpec],
        guards: Guards,
        options: Options,
        replace: ReplaceOptions | None = None,
        switch: Switch | None = None,
    ) -> Report:
        """Plan and apply; plan again if the account changes between the two."""

        async def planned() -> FleetPlan:
            plan = await self._launcher.plan(fleets, guards, replace, options.journal, priced=False)
            return _permitted(plan, options, switch)

        for _ in range(TRIES - 1):
            plan = await planned()
            with contextlib.suppress(PlanRefusedError):
                return await finish(self._launcher.applying(plan, options, operation, switch))
            await self._context.clock.sleep(PAUSE)
        return await finish(self._launcher.applying(await planned(), options, operation, switch))


def _permitted(plan: FleetPlan, options: Options, switch: Switch | None) -> FleetPlan:
    """Return the plan. Raises `PlanRefusedError` if a guard forbids it, or if it is not known what it switches."""
    refusals = list(plan.refusals)
    if plan.replaces and plan.policy is None:
        refusals.append("it replaces servers, and does not say how")
    halves = [step for step in plan.replaces if step.by is not None and not step.begun]
    if halves and switch is not None and options.journal is None:
        names = ", ".join(step.name for step in halves[:5])
        refusals.append(
            f"new servers exist already ({names}), and which old ones they were to replace, and whether the switch was "
            "called, is known to a journal alone: pass journal=, or finish without switch="
        )
    if refusals:
        raise PlanRefusedError(f"the plan is refused, and nothing was sent: {'; '.join(refusals)}", plan=plan)
    return plan
