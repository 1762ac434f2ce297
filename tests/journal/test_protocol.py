"""All states of the protocol of creates: two names, two writers, two crashes; and servers that somebody deletes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from vpsorg_async.journal.protocol import Left, Move, next_move

WRITERS = (0, 1)


@attrs.frozen
class Name:
    """One name: its servers and creates at the service, and what the journal has of it.

    ``hidden`` and ``shown`` count its servers, ``flying`` the creates that left and are neither applied nor lost.
    """

    hidden: int = 0
    shown: int = 0
    flying: int = 0
    left: Left = Left.NOTHING
    holder: int | None = None

    @property
    def quiet(self) -> bool:
        """Whether every create that left is lost, or shows its server."""
        return not self.hidden and not self.flying


@attrs.frozen
class Course:
    """One name in a writer's run: how far it is, and what the run knows."""

    step: str = "out"
    left: Left = Left.NOTHING
    settled: bool = False


@attrs.frozen
class World:
    """Everything. ``courses`` has a row for each writer, with a column for each name."""

    names: tuple[Name, ...]
    courses: tuple[tuple[Course, ...], ...]
    crashes: int
    deletes: int

    def with_name(self, number: int, **changes: Any) -> World:
        """The same world, one name of it changed."""
        changed = attrs.evolve(self.names[number], **changes)
        return attrs.evolve(self, names=(*self.names[:number], changed, *self.names[number + 1 :]))

    def with_course(self, writer: int, number: int, **changes: Any) -> World:
        """The same world, one course of it changed."""
        row = self.courses[writer]
        row = (*row[:number], attrs.evolve(row[number], **changes), *row[number + 1 :])
        return attrs.evolve(self, courses=(*self.courses[:writer], row, *self.courses[writer + 1 :]))


def service(world: World) -> Iterator[World]:
    """What the service can do by itself: apply a create, lose it, show a server."""
    for number, name in enumerate(world.names):
        if name.flying:
            yield world.with_name(number, flying=name.flying - 1, hidden=name.hidden + 1)
            yield world.with_name(number, flying=name.flying - 1)
        if name.hidden:
            yield world.with_name(number, hidden=name.hidden - 1, shown=name.shown + 1)


def deletes(world: World) -> Iterator[World]:
    """Somebody else deletes a server; the journal does not know."""
    for number, name in enumerate(world.names):
        if world.deletes and name.shown:
            yield attrs.evolve(world.with_name(number, shown=name.shown - 1), deletes=world.deletes - 1)


def time(world: World, *, patient: bool) -> Iterator[World]:
    """The settle window passes, after which a create of a complete run is not remembered."""
    for number, name in enumerate(world.names):
        if name.left is Left.RECENT and (name.quiet or not patient):
            yield world.with_name(number, left=Left.NOTHING)


def run(world: World, writer: int, *, patient: bool, journal: bool, remember: bool) -> Iterator[World]:
    """What a writer can do next.

    ``patient``: its settle window is longer than the lag of the list. ``remember``: what complete runs have created is
    remembered.
    """
    row = world.courses[writer]
    if all(course.step == "out" for course in row):
        if all(name.holder is None for name in world.names):
            begun = world
            for number, name in enumerate(world.names):
                left = name.left if journal else Left.NOTHING
                begun = begun.with_name(number, holder=writer)
                begun = begun.with_course(writer, number, step="held", left=left, settled=False)
            yield begun
        return
    if all(course.step in ("done", "unknown", "gone") for course in row):
        complete = all(course.step == "done" for course in row)
        ended = world
        for number, name in enumerate(world.names):
            left = (Left.RECENT if remember else Left.NOTHING) if complete else name.left
            ended = ended.with_name(number, holder=None, left=left)
            ended = ended.with_course(writer, number, step="ended")
        yield ended
        return
    for number, (course, name) in enumerate(zip(row, world.names, strict=True)):
        yield from _course(world, writer, number, course, name, patient=patient, journal=journal)


def _course(
    world: World, writer: int, number: int, course: Course, name: Name, *, patient: bool, journal: bool
) -> Iterator[World]:
    shown = name.shown > 0
    match course.step:
        case "held":
            if not course.settled and (name.quiet or not patient):
                yield world.with_course(writer, number, settled=True)
            match next_move(course.left, shown=shown, settled=course.settled):
                case Move.RESUME if name.hidden or shown:
                    yield world.with_name(number, left=Left.MADE).with_course(writer, number, step="done")
                case Move.RESUME:
                    yield world.with_name(number, left=Left.NOTHING).with_course(writer, number, step="gone")
                case Move.ADOPT:
                    yield world.with_name(number, left=Left.MADE).with_course(writer, number, step="done")
                case Move.SEARCH:
                    return  # nothing changes until the list or the time does
                case Move.CREATE:
                    yield world.with_name(number, left=Left.INTENT).with_course(
                        writer, number, step="intended"
                    )
        case "intended":
            yield world.with_name(number, flying=name.flying + 1).with_course(writer, number, step="sent")
        case "sent":
            # an answer comes only after the create was applied; it may get lost at any time
            if name.hidden or name.shown:
                yield world.with_course(writer, number, step="answered")
            yield world.with_course(writer, number, step="lost")
        case "answered":
            yield world.with_name(number, left=Left.MADE).with_course(writer, number, step="done")
        case "lost":
            if shown:
                yield world.with_name(number, left=Left.MADE).with_course(writer, number, step="done")
            # a run sends no second create itself: its outcome is unknown, and the intent stays
            yield world.with_course(writer, number, step="unknown")


def crash(world: World, writer: int) -> Iterator[World]:
    """Kill a writer: it knows nothing any more, and holds nothing; what it sent goes on."""
    if world.crashes and any(course.step not in ("out", "ended") for course in world.courses[writer]):
        dead = attrs.evolve(world, crashes=world.crashes - 1)
        for number, name in enumerate(world.names):
            dead = dead.with_course(writer, number, step="out", left=Left.NOTHING, settled=False)
            if name.holder == writer:
                dead = dead.with_name(number, holder=None)
        yield dead


def explore(
    *,
    names: int = 2,
    crashes: int = 2,
    deleted: int = 0,
    patient: bool = True,
    journal: bool = True,
    remember: bool = True,
) -> Iterator[World]:
    """Every world that can be reached."""
    start = World((Name(),) * names, ((Course(),) * names,) * len(WRITERS), crashes, deleted)
    settings = {"patient": patient, "journal": journal, "remember": remember}
    seen, queue = {start}, deque([start])
    while queue:
        world = queue.popleft()
        yield world
        for follower in (
            *service(world),
            *deletes(world),
            *time(world, patient=patient),
            *(after for writer in WRITERS for after in run(world, writer, **settings)),
            *(after for writer in WRITERS for after in crash(world, writer)),
        ):
            if follower not in seen:
                seen.add(follower)
                queue.append(follower)


def most_servers(world: World) -> int:
    return max(name.hidden + name.shown for name in world.names)


def is_lost(world: World) -> bool:
    """Whether a create whose effect no list shows is one that the journal knows nothing of."""
    return any(name.left is Left.NOTHING and not name.quiet for name in world.names)


def test_no_name_gets_two_servers_and_none_is_lost() -> None:
    worlds = 0
    for world in explore():
        worlds += 1
        assert most_servers(world) <= 1, world
        assert not is_lost(world), world
    assert worlds > 50_000, "the explorer did not get far"


def test_what_somebody_deletes_makes_no_second_server() -> None:
    """Wherever servers are deleted meanwhile; a run that waits for one that is gone ends, and leaves the name free."""
    gone = 0
    for world in explore(names=1, deleted=2):
        assert most_servers(world) <= 1, world
        assert not is_lost(world), world
        if any(course.step == "gone" for row in world.courses for course in row):
            gone += 1
            assert world.names[0].left is Left.NOTHING
    assert gone


def test_every_course_ends_with_a_server_or_says_that_its_outcome_is_unknown() -> None:
    ends = set()
    for world in explore(names=1):
        for course in world.courses:
            if course[0].step == "done":
                assert world.names[0].shown or world.names[0].hidden, world
            ends.add(course[0].step)
    assert {"done", "unknown", "ended"} <= ends


@pytest.mark.parametrize(
    ("what", "settings"),
    [
        ("a list that lags for longer than the settle window", {"patient": False}),
        ("no journal", {"journal": False}),
        ("a journal that forgets complete runs at once", {"remember": False}),
    ],
)
def test_the_explorer_finds_the_duplicate_where_the_assumption_fails(
    what: str, settings: dict[str, bool]
) -> None:
    assert any(most_servers(world) > 1 for world in explore(names=1, **settings)), what


def test_what_was_made_is_never_created_again() -> None:
    for settled in (True, False):
        for shown in (True, False):
            assert next_move(Left.MADE, shown=shown, settled=settled) is Move.RESUME
        assert next_move(Left.RECENT, shown=False, settled=settled) is Move.RESUME
        assert next_move(Left.RECENT, shown=True, settled=settled) is Move.ADOPT
    assert next_move(Left.INTENT, shown=False, settled=False) is Move.SEARCH
    assert next_move(Left.INTENT, shown=False, settled=True) is Move.CREATE
    assert next_move(Left.NOTHING, shown=True, settled=False) is Move.ADOPT
