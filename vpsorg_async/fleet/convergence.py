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
difference. With ``replace="rolling"`` it is replaced (`pairing`), and what can be changed in place is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, count, islice

import attrs

from ..errors import ConfigurationError
from ..fleet_plan import FleetPlan, Step, StepKind
from ..fleet_spec import FleetSpec, NamePattern, check_apart
from ..journal import StandingPair
from ..lifecycle.commands import GONE
from ..records import Server
from ..replace_policy import places
from ..specs import ServerSpec, name_key
from .guards import Guards, Member
from .pairing import Continued, Replacing, continued, in_place, replaceable, tokens, unfinished
from .planning import plan_fleet

__all__ = ["Heading", "KeyOf", "Selector", "plan_fleets", "standing_of"]

KeyOf = Callable[[ServerSpec | Server], str]
Heading = Callable[[Server], str]
NO_DELETES = Guards()


class Selector:
    """Says to which of some fleets a server belongs. Raises `ConfigurationError` for fleets that overlap."""

    def __init__(self, fleets: Sequence[FleetSpec], key_of: KeyOf) -> None:
        check_apart(fleets)
        self._patterns = [_pattern(fleet, key_of) for fleet in fleets]
        self._fleets = fleets
        self._key_of = key_of
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

    def place_of(self, subject: ServerSpec | Server) -> tuple[int, int] | None:
        """Return the index of the fleet that a spec or a server belongs to, and its number."""
        return self.place(self._key_of(subject))

    def fleet(self, index: int) -> FleetSpec:
        """Return a fleet."""
        return self._fleets[index]

    def pattern(self, index: int) -> NamePattern:
        """Return the pattern of the names by which the servers of a fleet are found."""
        return self._patterns[index]

    def _check_patterns(self) -> None:
        """Raise `ConfigurationError` for two fleets whose servers could have the same name."""
        for (fleet, one), (other, two) in combinations(zip(self._fleets, self._patterns, strict=True), 2):
            if one.overlaps(two):
                raise ConfigurationError(
                    f"the fleets {fleet.name!r} and {other.name!r} overlap: a server of one could have the host name "
                    "of the other"
                )


def standing_of(selector: Selector, standing: Iterable[StandingPair]) -> list[StandingPair]:
    """Return the pairs of these fleets."""
    return [pair for pair in standing if selector.place(name_key(pair.new)) is not None]


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
    replacing: Replacing | None = None,
) -> FleetPlan:
    """Return the plan for these fleets, with what the guards forbid as its ``refusals``.

    Args:
        fleets: The fleets. No name may fit two of them.
        servers: The servers of the account, as a complete list has them.
        guards: What may be deleted.
        key_of: As for `plan_fleet`.
        heading: As for `plan_fleet`.
        replacing: What is replaced, and how; None: nothing is.

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
    for index, fleet in enumerate(fleets):
        numbers = selector.pattern(index)
        part, forbidden = _Planner(fleet, found[index], numbers, guards, key_of, heading, replacing).plan()
        steps += part
        refusals += forbidden
    refusals += guards.total_refusals(sum(step.kind is StepKind.DELETE for step in steps))
    return FleetPlan(
        tuple(steps),
        fleets=tuple(fleets),
        refusals=tuple(refusals),
        policy=None if replacing is None else replacing.policy,
        standing=() if replacing is None else tokens(standing_of(selector, replacing.standing)),
    ).priced(())


@attrs.frozen
class _Planner:
    """Plans one fleet. ``numbers`` is the pattern of the names of its servers."""

    fleet: FleetSpec
    members: _Members
    numbers: NamePattern
    guards: Guards
    key_of: KeyOf
    heading: Heading
    replacing: Replacing | None

    def plan(self) -> tuple[list[Step], list[str]]:
        """Return the steps, in the order of the numbers of the servers that exist, and what the guards forbid."""
        fleet, guards, staying = self.fleet, self.guards, self.members.staying
        pairs = continued(fleet, staying, self.numbers.number, self.replacing, self._keeps)
        rest = {number: staying[number] for number in sorted(staying) if number not in pairs.members}
        size = len(rest) + len(pairs.steps)
        certain = len(pairs.steps) + sum(all(one.status.is_known for one in same) for same in rest.values())
        planned = self._planned(rest)
        why, fits = self._judged(planned)
        steps = dict(pairs.steps)
        halves = unfinished(fits, why, min(certain - fleet.count, self._surge))
        for new, old in halves:
            by, replaced = planned.pop(new), planned.pop(old)
            steps[old] = _replace(replaced, why.pop(old), by.spec, by.server)
        surplus = size - fleet.count - len(halves)
        single = [Member(number, rest[number][0]) for number in planned if len(rest[number]) == 1]
        going = guards.going(fleet, single, surplus, certain - fleet.count - len(halves), why)
        free = self._free(pairs)
        for number in islice(free, max(-surplus, 0)):
            steps[number] = Step(kind=StepKind.CREATE, spec=fleet.spec(number))
        for number, step in planned.items():
            if number in going:
                steps[number] = self._going(step, size)
            elif number in why:
                steps[number] = _replace(step, why[number], fleet.spec(next(free)))
            else:
                steps[number] = self._staying(step)
        ordered = [steps[number] for number in sorted(steps)]
        deletes = sum(step.kind is StepKind.DELETE for step in ordered)
        return ordered, [*pairs.refusals, *guards.refusals(fleet, size, deletes)]

    @property
    def _surge(self) -> int:
        """The most servers that an interrupted replacement with these bounds has left."""
        return 0 if self.replacing is None else places(self.replacing.policy.surge, self.fleet.count)

    def _keeps(self, number: int, server: Server) -> bool:
        return self.guards.keeps(self.fleet, Member(number, server))

    def _planned(self, members: Mapping[int, Sequence[Server]]) -> dict[int, Step]:
        """Return the steps of servers as `plan_fleet` plans them."""
        servers = [server for same in members.values() for server in same]
        plan = plan_fleet(map(self.fleet.spec, members), servers, self.key_of, self.heading)
        return dict(zip(members, plan.steps, strict=True))

    def _judged(self, planned: Mapping[int, Step]) -> tuple[dict[int, str], dict[int, Step]]:
        """Return why servers are replaced, by their numbers, and the steps of those that fit their specs."""
        why: dict[int, str] = {}
        fits: dict[int, Step] = {}
        for number, step in planned.items() if self.replacing is not None else ():
            assert self.replacing is not None
            reason = replaceable(step, self.replacing)
            if not reason:
                fits[number] = step
            elif step.server is not None and not self._keeps(number, step.server):
                why[number] = reason
        return why, fits

    def _free(self, pairs: Continued) -> Iterator[int]:
        """Yield the numbers for new servers."""
        first = [number for number in pairs.free if number not in self.members.taken]
        taken = {*self.members.taken, *pairs.members, *first}
        yield from first
        yield from (number for number in count(self.fleet.first) if number not in taken)

    def _going(self, step: Step, size: int) -> Step:
        """Return the step of a server that is more than the fleet needs."""
        reason = f"the fleet has {size} servers and needs {self.fleet.count}"
        if self.guards.prune:
            kind = StepKind.DELETE
        else:
            kind, reason = StepKind.KEEP, f"{reason}: it is deleted only with prune"
        return Step(kind=kind, spec=step.spec, server=step.server, reason=reason, surplus=True)

    def _staying(self, step: Step) -> Step:
        """Return the step of a server that is not replaced."""
        if self.replacing is not None and self.replacing.in_place:
            step = in_place(step)
        if step.kind is not StepKind.KEEP or not step.differences:
            return step
        fields = ", ".join(line.partition(" ")[0] for line in step.differences)
        because = "replace is 'never'" if self.replacing is None else "it is protected, or can't be changed"
        return attrs.evolve(step, reason=f"it differs in {fields}, and {because}")


def _replace(old: Step, why: str, spec: ServerSpec, by: Server | None = None) -> Step:
    return Step(kind=StepKind.REPLACE, spec=spec, server=old.server, reason=why, by=by)


def _pattern(fleet: FleetSpec, key_of: KeyOf) -> NamePattern:
    """Return the pattern that finds the servers: that of the names; in the provider dialect, of the host names."""
    if fleet.hostnames is None:
        return fleet.names
    sample = fleet.spec(fleet.first)
    # a name and a host name can be the same text for some numbers, and differ for others
    keys = {key_of(attrs.evolve(sample, hostname=hostname)) for hostname in ("a.example", "b.example")}
    return fleet.hostnames if len(keys) == 2 else fleet.names
