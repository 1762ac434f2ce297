"""Which pair of servers is next: the bounds of a replacement, for any course of events."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.errors import ConfigurationError
from vpsorg_async.fleet.replacement import Order, Pair, Replacement
from vpsorg_async.replace_policy import ReplacePolicy, places

NEW, OLD = Order.NEW_FIRST, Order.OLD_FIRST


def pairs(count: int, *down: int) -> list[Pair]:
    """That number of pairs; the old servers of those in ``down`` do not serve."""
    return [Pair(str(number), number in down) for number in range(count)]


def policy(**values: Any) -> ReplacePolicy:
    """A policy without a canary."""
    return ReplacePolicy(**{"canary": 0, "max_failures": 100, **values})


@pytest.mark.parametrize(
    ("value", "servers", "number"),
    [(0, 50, 0), (5, 50, 5), (80, 50, 80), (0.1, 50, 5), (0.1, 9, 1), (0.29, 100, 29), (0.5, 0, 1)],
)
def test_a_number_or_a_share(value: int | float, servers: int, number: int) -> None:
    """A share is rounded down, and is at least one server."""
    assert places(value, servers) == number


@pytest.mark.parametrize(
    "values",
    [
        {"surge": -1},
        {"surge": True},
        {"surge": 1.0},
        {"surge": "3"},
        {"max_unavailable": float("nan")},
        {"max_unavailable": 0.0},
        {"surge": 0},
        {"drain": -1},
        {"drain": float("inf")},
        {"drain": True},
        {"canary": -1},
        {"canary": 1.5},
        {"max_failures": 0},
        {"delete_failed": 1},
        {"names": "same"},
    ],
)
def test_policies_that_are_none(values: dict[str, Any]) -> None:
    """The error names the option."""
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        ReplacePolicy(**values)


def test_the_surge_is_used_before_a_server_is_given_up() -> None:
    """New first while there is room for more servers, old first while others may be unavailable."""
    replacement = Replacement(pairs(9), policy(surge=2, max_unavailable=1), size=9)

    assert replacement.begin() == [("0", NEW), ("1", NEW), ("2", OLD)]
    assert (replacement.extra, replacement.unavailable, replacement.begin()) == (2, 1, [])

    replacement.done("2")
    assert replacement.begin() == [("3", OLD)]
    replacement.done("0")
    assert replacement.begin() == [("4", NEW)]
    assert replacement.left == ("5", "6", "7", "8")


def test_the_canary_goes_alone() -> None:
    """The surge opens once the first pairs are done; those of an earlier run count."""
    replacement = Replacement(pairs(9), ReplacePolicy(surge=3, canary=2, max_failures=2), size=9)

    assert replacement.begin() == [("0", NEW)]
    assert replacement.begin() == []
    replacement.failed("0", extra=False, serving=True)
    assert replacement.begin() == [("1", NEW)]
    replacement.done("1")
    assert replacement.begin() == [("2", NEW)]
    replacement.done("2")
    assert len(replacement.begin()) == 3
    assert len(Replacement(pairs(9), ReplacePolicy(surge=3), size=9, done=1).begin()) == 3


def test_servers_that_are_down_go_first() -> None:
    """They make no other server unavailable, so that they may be deleted first where more are down than permitted."""
    replacement = Replacement(pairs(6, 2, 4, 5), policy(surge=0, max_unavailable=2), size=6)

    assert (replacement.unavailable, replacement.begin()) == (3, [("2", OLD), ("4", OLD)])
    replacement.done("2")
    assert replacement.begin() == [("5", OLD)]
    replacement.done("4")
    assert replacement.begin() == [("0", OLD)]


def test_others_that_are_down() -> None:
    """A fleet that has lost what it may lose loses no other server; with a surge it goes on."""
    stuck = Replacement(pairs(3), policy(surge=0, max_unavailable=2), size=6, unavailable=2)

    assert stuck.begin() == []
    assert stuck.stopped == "the replacement stopped with 2 servers out of service, and max_unavailable is 2"
    assert stuck.left == ("0", "1", "2")
    assert Replacement(pairs(3), policy(surge=1), size=6, unavailable=2).begin() == [("0", NEW)]


def test_what_an_earlier_run_has_begun() -> None:
    """It counts from the beginning, also where it is more than the surge, and before the canary."""
    known = [Pair("0", begun=NEW), Pair("1", begun=NEW), *pairs(5)[2:]]
    replacement = Replacement(known, ReplacePolicy(surge=1), size=5)

    assert (replacement.in_progress, replacement.extra, replacement.begin()) == (("0", "1"), 2, [])
    replacement.done("1")
    assert replacement.begin() == []
    replacement.done("0")
    assert replacement.begin() == [("2", NEW)]


def test_failures() -> None:
    """A failed pair whose servers both exist keeps its place; too many failures stop the replacement."""
    replacement = Replacement(pairs(5), policy(surge=2, max_failures=3), size=5)
    replacement.begin()

    replacement.failed("0", extra=True, serving=True)
    assert (replacement.begin(), replacement.stopped) == ([], "")
    replacement.failed("1", extra=False, serving=True)
    assert replacement.begin() == [("2", NEW)]
    replacement.failed("2", extra=False, serving=True)
    assert replacement.begin() == []
    assert replacement.stopped == "the replacement stopped after 3 failures"


def test_failures_that_leave_no_room() -> None:
    """The reason says what fills it."""
    replacement = Replacement(pairs(5), policy(surge=1, max_failures=3), size=5)
    replacement.begin()
    replacement.failed("0", extra=True, serving=True)

    assert replacement.begin() == []
    assert replacement.stopped.startswith("the replacement stopped with a server too many, and surge is 1")
    assert replacement.left == ("1", "2", "3", "4")


def test_a_pause() -> None:
    """Nothing begins, and nothing has stopped."""
    replacement = Replacement(pairs(2), policy(), size=2, paused=True)

    assert (replacement.begin(), replacement.stopped) == ([], "")
    replacement.resume()
    assert replacement.begin() == [("0", NEW)]
    replacement.pause()
    replacement.done("0")
    assert replacement.begin() == []


@attrs.define
class World:
    """The servers of a fleet: those of pairs by their keys, each with whether it serves."""

    old: dict[str, bool]
    new: dict[str, bool] = attrs.field(factory=dict)

    @property
    def exist(self) -> int:
        return len(self.old) + len(self.new)

    @property
    def serve(self) -> int:
        return sum(self.old.values()) + sum(self.new.values())


@given(data=st.data())
def test_the_bounds_hold_at_each_moment(data: st.DataObject) -> None:
    """Whatever fails, and in whatever order: not too many servers exist, not too few serve, and it comes to an end."""
    size = data.draw(st.integers(1, 12), "size")
    down = data.draw(st.sets(st.integers(0, size - 1)), "down")
    surge, lost = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(any), "surge, unavailable")
    bounds = ReplacePolicy(
        surge=surge,
        max_unavailable=lost,
        canary=data.draw(st.integers(0, 2), "canary"),
        max_failures=data.draw(st.integers(1, 4), "max_failures"),
    )
    replacement = Replacement(pairs(size, *down), bounds, size=size)
    world = World({str(number): number not in down for number in range(size)})
    least = min(size - lost, world.serve)
    courses: dict[str, list[str]] = {}

    def check() -> None:
        assert world.exist <= size + surge
        assert world.serve >= least
        assert world.exist - size <= replacement.extra
        assert size - world.serve <= replacement.unavailable

    failures = 0
    while True:
        for key, order in replacement.begin():
            steps = ["create", "serve", "delete"] if order is NEW else ["delete", "create", "serve"]
            courses[key] = [*steps, "done"]
        check()
        if not courses:
            break
        key = data.draw(st.sampled_from(sorted(courses)), "whose turn it is")
        step = courses[key].pop(0)
        if step == "done":
            del courses[key]
            replacement.done(key)
        elif data.draw(st.booleans(), f"whether {step} fails"):
            del courses[key]
            failures += 1
            serving = world.new.get(key, False) or world.old.get(key, False)
            replacement.failed(key, extra=key in world.new and key in world.old, serving=serving)
        elif step == "create":
            world.new[key] = False
        elif step == "serve":
            world.new[key] = True
        else:
            del world.old[key]
        check()
    assert not replacement.in_progress
    assert (replacement.stopped != "") == (failures >= bounds.max_failures or bool(replacement.left))
    assert replacement.finished + failures + len(replacement.left) == size
