"""What has to happen so that the account has these fleets: fleets and the account go in, a plan comes out. Pure.

The servers of a fleet are those whose names fit its pattern. For each fleet, by the number of servers that stay:

=====================  ============================================================================================
there are              plan
=====================  ============================================================================================
as many as ``count``   each as `plan_fleet` plans it: kept, started, waited for, refused
fewer                  the missing ones are created, with the lowest numbers that no server has
more                   with ``prune`` those that go first are deleted; otherwise they are kept, and their steps say so
=====================  ============================================================================================

A server with an open delete of this client, or that is shown as being deleted, does not count, and its number is not
free until it is gone. A server whose status word is not known counts for creates alone, because it may be leaving as
well: it never makes another one too many.

A server that differs from its spec is kept, and its step names the differences; what a list does not show is no
difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, count, islice

import attrs

from ..errors import ConfigurationError
from ..fleet_plan import FleetPlan, Step, StepKind
from ..fleet_spec import FleetSpec, NamePattern, check_apart
from ..lifecycle.commands import GONE
from ..records import Server
from ..specs import ServerSpec, name_key
from .guards import Guards, Member
from .planning import plan_fleet

__all__ = ["Selector", "plan_fleets"]

KeyOf = Callable[[ServerSpec | Server], str]
Heading = Callable[[Server], str]
NO_DELETES = Guards()


class Selector:
    """Says to which of some fleets a server belongs. Raises `ConfigurationError` for fleets that overlap."""

    def __init__(self, fleets: Sequence[FleetSpec], key_of: KeyOf) -> None:
        check_apart(fleets)
        self._patterns = [_pattern(fleet, key_of) for fleet in fleets]
        self._fleets = fleets
        by_name = [fleet.names == pattern for fleet, pattern in zip(fleets, self._patterns, strict=True)]
        if any(by_name) and not all(by_name):
            # in the provider dialect the name of one fleet can be the host name of another
            self._check_patterns()

    def place(self, key: str) -> tuple[int, int] | None:
        """Return the index of the fleet that has this name, and the number in it; None if none has."""
        for index, pattern in enumerate(self._patterns):
            number = pattern.number(key)
            if number is not None:
                return index, number
        return None

    def _check_patterns(self) -> None:
        """Raise `ConfigurationError` for two fleets whose servers could have the same name."""
        for (fleet, one), (other, two) in combinations(zip(self._fleets, self._patterns, strict=True), 2):
            if one.overlaps(two):
                raise ConfigurationError(
                    f"the fleets {fleet.name!r} and {other.name!r} overlap: a server of one could have the host name "
                    "of the other"
                )


@attrs.define
class _Members:
    """The servers of one fleet that stay, by their numbers, and all numbers that are taken, also by leaving ones."""

    staying: dict[int, list[Server]] = attrs.field(factory=dict)
    taken: set[int] = attrs.field(factory=set)


def plan_fleets(
    fleets: Sequence[FleetSpec],
    servers: Sequence[Server],
    guards: Guards = NO_DELETES,
    key_of: KeyOf = lambda subject: name_key(subject.name),
    heading: Heading = lambda server: "",
) -> FleetPlan:
    """Return the plan for these fleets, with what the guards forbid as its ``refusals``.

    Args:
        fleets: The fleets. No name may fit two of them.
        servers: The servers of the account, as a complete list has them.
        guards: What may be deleted.
        key_of: As for `plan_fleet`.
        heading: As for `plan_fleet`.

    Raises:
        ConfigurationError: Two fleets overlap, or a protected name belongs to none.
    """
    guards.check(fleets)
    selector = Selector(fleets, key_of)
    found = [_Members() for _ in fleets]
    for server in servers:
        command = heading(server)
        place = None if GONE in (command, server.status) else selector.place(key_of(server))
        if place is not None:
            index, number = place
            found[index].taken.add(number)
            if command != "delete":
                found[index].staying.setdefault(number, []).append(server)
    steps: list[Step] = []
    refusals: list[str] = []
    for fleet, members in zip(fleets, found, strict=True):
        part = list(_steps(fleet, members, guards, key_of, heading))
        deletes = sum(step.kind is StepKind.DELETE for step in part)
        refusals += guards.refusals(fleet, len(members.staying), deletes)
        steps += part
    refusals += guards.total_refusals(sum(step.kind is StepKind.DELETE for step in steps))
    return FleetPlan(tuple(steps), fleets=tuple(fleets), refusals=tuple(refusals)).priced(())


def _steps(
    fleet: FleetSpec, members: _Members, guards: Guards, key_of: KeyOf, heading: Heading
) -> Iterator[Step]:
    """Yield the steps of one fleet, in the order of their numbers."""
    staying = members.staying
    surplus = len(staying) - fleet.count
    single = (Member(number, same[0]) for number, same in staying.items() if len(same) == 1)
    certain = sum(all(server.status.is_known for server in same) for same in staying.values())
    going = guards.going(fleet, single, surplus, certain - fleet.count)
    free = (number for number in count(fleet.first) if number not in members.taken)
    numbers = sorted((*staying, *islice(free, max(-surplus, 0))))
    servers = [server for same in staying.values() for server in same]
    plan = plan_fleet(map(fleet.spec, numbers), servers, key_of, heading)
    for number, step in zip(numbers, plan.steps, strict=True):
        if number in going:
            kind = StepKind.DELETE if guards.prune else StepKind.KEEP
            reason = f"the fleet has {len(staying)} servers and needs {fleet.count}"
            if not guards.prune:
                reason += ": it is deleted only with prune"
            yield Step(kind=kind, spec=step.spec, server=step.server, reason=reason, surplus=True)
        elif step.kind is StepKind.KEEP and step.differences:
            fields = ", ".join(line.partition(" ")[0] for line in step.differences)
            yield attrs.evolve(step, reason=f"it differs in {fields}, and replace is 'never'")
        else:
            yield step


def _pattern(fleet: FleetSpec, key_of: KeyOf) -> NamePattern:
    """Return the pattern that finds the servers: that of the names; in the provider dialect, of the host names."""
    if fleet.hostnames is None:
        return fleet.names
    sample = fleet.spec(fleet.first)
    # a name and a host name can be the same text for some numbers, and differ for others
    keys = {key_of(attrs.evolve(sample, hostname=hostname)) for hostname in ("a.example", "b.example")}
    return fleet.hostnames if len(keys) == 2 else fleet.names
