"""The fleet calls that take `FleetSpec`: plan, apply, scale."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from ..fleet_plan import FleetPlan
from ..fleet_spec import FleetSpec
from .bulk_commands import BulkCommands
from .guards import Guards
from .inputs import PlanOptions, check_known

__all__ = ["FleetCalls"]


class FleetCalls(BulkCommands):
    """The calls of `Fleet` that bring the account to what fleets say."""

    async def plan(
        self, fleets: FleetSpec | Iterable[FleetSpec], **options: Unpack[PlanOptions]
    ) -> FleetPlan:
        """Return what `apply` would do, and what that costs. Only reads are sent: one list, and the prices.

        Args:
            fleets: A fleet, or several whose names do not overlap.
            **options: ``prune`` (delete servers that are more than a fleet's count; False), ``max_deletes`` (the most
                servers to delete: a number for the whole plan, or a share below 1 of each fleet, at least one; 0.1),
                ``protect`` (names of servers that are not deleted, or a function of a server), ``remove`` (which go
                first: ``"highest"`` numbers, ``"newest"``, or a function that returns the largest values for those),
                ``allow_empty`` (whether a count of 0 may delete a whole fleet; False) and ``replace`` (``"never"``: a
                server that differs from its spec is kept, and its step names the differences); see `PlanOptions`.

        Returns:
            The plan. Its ``refusals`` are empty if it can be applied.

        Raises:
            ConfigurationError: Bad input, overlapping fleets, or a protected name that no fleet has.
            DecodeError: The plan creates or deletes a server, and the account cannot be listed completely.
            APIError, TransportError: The account cannot be listed.

        Example::

            fleet = FleetSpec(name="web-{n:02}", count=20, plan_id=1, os_id=5, location="us-west")
            plan = await vps.fleet.plan(fleet, prune=True)
            print(plan)

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        check_known("plan", options, PlanOptions)
        wanted, guards = self._launcher.fleets(fleets), Guards.of(options)
        return await self._launcher.plan(wanted, guards)
