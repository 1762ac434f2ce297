"""What a plan of fleets may delete, and which servers go first. Pure.

=================  ======================================================================================
guard              what it forbids
=================  ======================================================================================
``prune``          any delete, unless it is True
``protect``        the delete of these servers
``max_deletes``    more deletes than that: a number counts for the whole plan, a share for each fleet
``allow_empty``    deletes by a count of 0, unless it is True
=================  ======================================================================================

A server that several share a name with is never deleted, because it is not certain which of them is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

import attrs

from ..errors import ConfigurationError
from ..fleet_spec import FleetSpec
from ..records import Server
from ..replace_policy import places
from ..specs import check_bool
from .inputs import check_function

__all__ = ["SHARE", "Guards", "Member"]

SHARE = 0.1
"""The share of a fleet that is deleted at most, unless ``max_deletes`` says otherwise; at least one server."""
_BEGINNING = datetime.min.replace(tzinfo=UTC)


@attrs.frozen
class Member:
    """A server of a fleet, and its number."""

    number: int
    server: Server


@attrs.frozen(kw_only=True)
class Guards:
    """The guards of one plan; see `PlanOptions`.

    ``exact`` is the permission of `Fleet.scale`: the deletes that the count asks for, all of them or none.
    """

    prune: bool = False
    max_deletes: float | None = None
    protect: tuple[str, ...] | Callable[[Server], object] = ()
    remove: str | Callable[[Server], Any] = "highest"
    allow_empty: bool = False
    exact: bool = False

    @classmethod
    def of(cls, given: Mapping[str, Any], *, exact: bool = False) -> Self:
        """Return the guards that the options of a call ask for. Raises `ConfigurationError`."""
        remove, protect = given.get("remove", "highest"), given.get("protect")
        if isinstance(remove, str) and remove not in ("highest", "newest"):
            raise ConfigurationError(f"remove is 'highest', 'newest' or a function, not {remove!r}")
        if not isinstance(remove, str):
            if remove is None:
                raise ConfigurationError("remove is 'highest', 'newest' or a function, not None")
            check_function(remove, "remove", awaited=False)
        if callable(protect):
            check_function(protect, "protect", awaited=False)
        elif isinstance(protect, str | bytes) or not isinstance(protect or (), Iterable):
            raise ConfigurationError(f"protect is a list of names, or a function, not {protect!r}")
        return cls(
            prune=exact or check_bool(given.get("prune", False), "prune"),
            max_deletes=_checked_most(given.get("max_deletes")),
            protect=protect if callable(protect) else tuple(protect or ()),
            remove=remove,
            allow_empty=check_bool(given.get("allow_empty", False), "allow_empty"),
            exact=exact,
        )

    def check(self, fleets: Sequence[FleetSpec]) -> None:
        """Raise `ConfigurationError` for a protected name that no fleet has: it would protect nothing."""
        if callable(self.protect):
            return
        for name in self.protect:
            if not isinstance(name, str) or all(fleet.number(name) is None for fleet in fleets):
                raise ConfigurationError(f"protect has {name!r}, which is no name of these fleets")

    def keeps(self, fleet: FleetSpec, member: Member) -> bool:
        """Return whether a member is protected."""
        names = fleet.protect if callable(self.protect) else (*fleet.protect, *self.protect)
        if any(fleet.number(name) == member.number for name in names):
            return True
        return callable(self.protect) and bool(self.protect(member.server))

    def going(
        self,
        fleet: FleetSpec,
        members: Iterable[Member],
        surplus: int,
        certain: int,
        sooner: Container[int] = (),
    ) -> set[int]:
        """Return the numbers of the members that go: as many as are too many (``surplus``), as far as they may.

        ``certain`` is the number of those that are too many if each server stays away whose status word is not known:
        no more than these go of the servers whose word is known, and none at all if it is negative. Those whose numbers
        are in ``sooner`` go before all others.
        """
        if surplus <= 0 or certain < 0:
            return set()
        free = [member for member in members if not self.keeps(fleet, member)]
        ranked = [
            ((member.number in sooner, self._rank(member)), member.number, member.server.status.is_known)
            for member in free
        ]
        try:
            first = sorted(ranked, reverse=True)[:surplus]
        except TypeError as unfit:
            raise ConfigurationError(f"what remove returned can't be compared: {unfit}") from None
        known = [number for _, number, is_known in first if is_known]
        return {number for _, number, _ in first} - set(known[certain:])

    def refusals(self, fleet: FleetSpec, present: int, deletes: int) -> Iterable[str]:
        """Yield why the deletes of one fleet are forbidden, given the number of its servers."""
        surplus = present - fleet.count
        if deletes and fleet.count == 0 and not self.allow_empty:
            yield f"{fleet.name}: a count of 0 would delete the whole fleet, which only allow_empty permits"
        if self.exact:
            if deletes < surplus:
                yield (
                    f"{fleet.name}: a count of {fleet.count} can't be reached: {surplus} servers are too many and only "
                    f"{deletes} may be deleted; the others are protected, share a name, or have to stay because the "
                    "status word of others is not known"
                )
        elif self.max_deletes is None or isinstance(self.max_deletes, float):
            share = SHARE if self.max_deletes is None else self.max_deletes
            most = places(share, present)
            if deletes > most:
                yield (
                    f"{fleet.name}: {deletes} of {present} servers would be deleted, and max_deletes, a share of "
                    f"{share:g}, permits {most}"
                )

    def total_refusals(self, deletes: int) -> Iterable[str]:
        """Yield why the deletes of all fleets together are forbidden."""
        most = self.max_deletes
        if not self.exact and isinstance(most, int) and deletes > most:
            yield f"{deletes} servers would be deleted, and max_deletes permits {most}"

    def _rank(self, member: Member) -> Any:
        """Return a value that is the larger the sooner the server goes."""
        if callable(self.remove):
            return self.remove(member.server)
        return (member.server.created_at or _BEGINNING) if self.remove == "newest" else member.number


def _checked_most(value: object) -> float | None:
    """Return ``max_deletes``: None, a number from 0, or a share between 0 and 1."""
    if value is None or (type(value) is int and value >= 0) or (type(value) is float and 0 < value < 1):
        return value
    raise ConfigurationError(f"max_deletes is a number from 0, or a share such as 0.1, not {value!r}")
