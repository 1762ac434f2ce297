"""Which servers of a fleet are replaced, and by which. Pure.

A server is *replaceable* if it certainly differs from its spec in what can't be changed in place, or if
``replace_when`` says so, and if it is neither protected, suspended nor in a status that is not known. What a list does
not show is no difference.

======================================  ===========================================================================
a pair of servers                       how it comes about
======================================  ===========================================================================
that an earlier run has begun           the journal has it; it is continued, whatever has happened to either server
a new one that exists, and an old one   the fleet has more servers than its count, and some of them fit: a run
                                        without a journal was interrupted, which has left at most ``surge``. Which
                                        fits which is not known
an old one, and a free name             all other replaceable servers
======================================  ===========================================================================

Both servers of a pair count as one of the fleet, and neither is more than the fleet needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from ..fleet_plan import Step, StepKind
from ..fleet_spec import FleetSpec
from ..journal import StandingPair
from ..lifecycle.commands import GONE
from ..records import Server, ServerStatus
from ..replace_policy import ReplacePolicy
from ..specs import ServerSpec, id_text, name_key
from .planning import differing

__all__ = ["Replacing", "continued", "in_place", "replaceable", "tokens", "unfinished", "when_older"]

IN_PLACE = frozenset({"hostname", "backups_enabled"})
"""The fields that a PATCH changes."""


@attrs.frozen(kw_only=True)
class Replacing:
    """What is replaced, and how.

    Attributes:
        policy: The bounds; the plan has it for those who apply it.
        when: Returns why a server is replaced although it fits its spec; empty if it is not.
        standing: What an earlier run has begun, as its journal says.
        in_place: Whether the dialect can change fields of a server.
    """

    policy: ReplacePolicy
    when: Callable[[Server], str] | None = None
    standing: Sequence[StandingPair] = ()
    in_place: bool = True


def tokens(standing: Iterable[StandingPair]) -> tuple[str, ...]:
    """Return what identifies these replacements, and how far they are."""
    return tuple(
        sorted(f"{name_key(pair.new)} {id_text(pair.old.id)} {int(pair.switched)}" for pair in standing)
    )


def when_older(age: timedelta, now: datetime) -> Callable[[Server], str]:
    """Return a function that says of which servers the age, at that time, is at least this one.

    A server that does not show when it was created is no such server.
    """

    def why(server: Server) -> str:
        created = server.created_at
        if created is None or now - created < age:
            return ""
        return f"created {created:%Y-%m-%d %H:%M}"

    return why


def replaceable(step: Step, replacing: Replacing) -> str:
    """Return why the server of a step is replaced, unless it is protected; empty if it is not."""
    server = step.server
    if server is None or step.kind is StepKind.REFUSE or not server.status.is_known:
        return ""
    why = [one.change for one in differing(step.spec, server) if one.field not in IN_PLACE]
    also = replacing.when(server) if replacing.when is not None else ""
    return ", ".join([*why, also] if also else why)


def in_place(step: Step) -> Step:
    """Return the step of a server that stays, with what is changed in place."""
    if step.server is None or step.kind is StepKind.REFUSE:
        return step
    found = list(differing(step.spec, step.server))
    changed = [difference for difference in found if difference.field in IN_PLACE]
    if not changed:
        return step
    return attrs.evolve(
        step,
        kind=StepKind.UPDATE if step.kind is StepKind.KEEP else step.kind,
        reason="; ".join(filter(None, [step.reason, *(difference.change for difference in changed)])),
        updates=tuple(difference.field for difference in changed),
        differences=tuple(str(difference) for difference in found if difference not in changed),
    )


def _is_usable(step: Step) -> bool:
    usable = step.kind in (StepKind.KEEP, StepKind.WAIT, StepKind.START)
    return usable and step.server is not None and step.server.status.is_known


def unfinished(fits: Mapping[int, Step], replaced: Iterable[int], most: int) -> list[tuple[int, int]]:
    """Return at most that many pairs of a server that fits and one that is replaced, by their numbers.

    Of those that fit, the ones that are not active yet go first, and then the last ones; of those that are replaced the
    first ones.
    """
    usable = [number for number, step in fits.items() if _is_usable(step)]
    usable.sort(key=lambda number: (fits[number].kind is StepKind.KEEP, -number))
    return list(zip(usable[: max(most, 0)], replaced, strict=False))


@attrs.define
class Continued:
    """The pairs of one fleet that an earlier run has begun.

    Attributes:
        steps: A step for each pair, by the number of the old server, or of the new one where the old one is gone.
        members: The numbers of the servers in them, new ones that do not exist yet included.
        free: Numbers of new servers that were about to be created for pairs that are over.
        refusals: Why a pair can't be continued.
    """

    steps: dict[int, Step] = attrs.field(factory=dict)
    members: set[int] = attrs.field(factory=set)
    free: list[int] = attrs.field(factory=list)
    refusals: list[str] = attrs.field(factory=list)


def continued(
    fleet: FleetSpec,
    staying: Mapping[int, Sequence[Server]],
    number_of: Callable[[str], int | None],
    replacing: Replacing | None,
    keeps: Callable[[int, Server], bool],
) -> Continued:
    """Return the pairs of this fleet that an earlier run has begun.

    Args:
        fleet: The fleet.
        staying: Its servers by their numbers.
        number_of: Returns the number that a name, in the form of `name_key`, has in this fleet; None if it fits not.
        replacing: The pairs that the journal has, and the bounds; None: nothing is replaced.
        keeps: Returns whether the server with a number is protected.
    """
    by_id = {id_text(server.id): number for number, same in staying.items() for server in same}
    found = Continued()
    if replacing is None:
        return found
    for pair in replacing.standing:
        number = number_of(name_key(pair.new))
        if number is None:
            continue
        there = number if number in staying else None
        new = there if pair.new_id is None else by_id.get(id_text(pair.new_id))
        old = by_id.get(id_text(pair.old.id))
        named = number_of(name_key(pair.old.name)) if replacing.policy.names == "stable" else None
        if any(len(staying[one]) > 1 for one in (new, old) if one is not None):
            why = "several servers have the name of one of them"
        elif new not in (None, number) and old is not None:
            assert new is not None
            why = f"the new one has the name {staying[new][0].name} now"
        elif new is None and there is not None:
            why = f"another server has the name {pair.new} now"
        elif old is None and named in staying and named != new:
            why = f"another server has the name {pair.old.name} now"
        else:
            step = _continue(found, fleet, staying, pair, number, new, old, replacing)
            if step is None:
                continue
            assert step.server is not None
            replaced = number_of(name_key(step.server.name))
            if step.server.status == GONE or replaced is None or not keeps(replaced, step.server):
                found.steps[number if old is None else old] = step
                # in the end the new server may get the name of the old one, which no other one may have then
                found.members.update(one for one in (number, new, old, named) if one is not None)
                continue
            why = f"{step.server.name} is protected now"
        found.refusals.append(
            f"{fleet.name}: {pair.old.name} [{pair.old.id}] was being replaced by {pair.new}, and {why}"
        )
    return found


def _continue(
    found: Continued,
    fleet: FleetSpec,
    staying: Mapping[int, Sequence[Server]],
    pair: StandingPair,
    number: int,
    new: int | None,
    old: int | None,
    replacing: Replacing,
) -> Step | None:
    """Return the step for one pair, None if it is over. ``new`` and ``old`` are the numbers of what exists of it."""
    stable = replacing.policy.names == "stable"
    if old is None and pair.switched and (new is None or new != number or not stable):
        # only a missing server is left to be created, or nothing at all
        if new is None:
            found.free.append(number)
        return None
    by = None if new is None else staying[new][0]
    server = attrs.evolve(pair.old, status=ServerStatus(GONE)) if old is None else staying[old][0]
    # one that has taken over and is gone makes the old one serve again, or nobody: the next one is switched to as well
    spec, switched = fleet.spec(number), pair.switched and (by is not None or old is None)
    reason = "begun by an earlier run"
    fits = old is not None and not _misfits(fleet.spec(old), server)
    if fits and by is None and not (replacing.when is not None and replacing.when(server)):
        # it was not begun in earnest, and is not asked for any more
        return None
    if fits and old is not None and by is not None and _misfits(spec, by):
        # the fleet is as it was before: the old server takes the place of the new one
        server, by, spec, switched = by, server, fleet.spec(old), False
        reason = "it took the place of a server that fits again"
    return Step(
        kind=StepKind.REPLACE,
        spec=spec,
        server=server,
        by=by,
        begun=True,
        switched=switched,
        reason=reason,
    )


def _misfits(spec: ServerSpec, server: Server) -> bool:
    return any(difference.field not in IN_PLACE for difference in differing(spec, server))
