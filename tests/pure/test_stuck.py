"""The decision on stuck servers: the table of `vpsorg_async.fleet.stuck`, the breaker, and what is overdue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import Server
from vpsorg_async.errors import (
    NeverReadyError,
    ServerGoneError,
    UnexpectedStatusError,
    VpsOrgError,
    WaitError,
    WaitTimeoutError,
)
from vpsorg_async.fleet.stuck import Fate, Health, StuckPolicy, Tally, is_stuck
from vpsorg_async.records import ServerStatus

POLICY = StuckPolicy()


def health(total: int, up: int, stuck: int, replaced: int = 0) -> Health:
    return Health(total=total, up=up, stuck=stuck, replaced=replaced)


@pytest.mark.parametrize(
    ("numbers", "fate"),
    [
        # total, up, stuck, replaced
        ((20, 19, 1, 0), Fate.REPLACE),
        ((20, 16, 4, 0), Fate.REPLACE),
        ((20, 15, 5, 0), Fate.BREAK),
        ((20, 0, 1, 0), Fate.DECIDE_LATER),
        ((20, 15, 1, 0), Fate.DECIDE_LATER),
        ((20, 16, 1, 0), Fate.REPLACE),
        ((20, 19, 1, 3), Fate.LEAVE),
        ((20, 10, 10, 3), Fate.BREAK),
        # of few servers one may be stuck
        ((1, 0, 1, 0), Fate.REPLACE),
        ((2, 1, 1, 0), Fate.REPLACE),
        ((2, 0, 2, 0), Fate.BREAK),
    ],
)
def test_the_table(numbers: tuple[int, int, int, int], fate: Fate) -> None:
    """Each row of the module's table."""
    assert health(*numbers).fate(POLICY)[0] is fate


@given(
    st.integers(1, 200),
    st.data(),
    st.floats(0.001, 1.0),
)
def test_the_breaker_can_not_open_after_a_replacement(total: int, data: st.DataObject, share: float) -> None:
    """A server is replaced only if the breaker holds whatever becomes of the others; and each is decided on at last."""
    policy = StuckPolicy(max_unhealthy=share)
    up = data.draw(st.integers(0, total - 1))
    stuck = data.draw(st.integers(1, total - up))
    found = health(total, up, stuck).fate(policy)[0]
    worst = health(total, up, total - up).fate(policy)[0]

    if found is Fate.REPLACE:
        assert worst is Fate.REPLACE
    assert worst is not Fate.DECIDE_LATER
    assert 1 <= health(total, up, stuck).allowed(policy) <= max(total * share + 1e-6, 1)


def test_what_counts() -> None:
    """Servers that failed otherwise do not count; one that is being replaced is stuck until its successor is up."""
    tally = Tally(["a", "b", "c", "d"])
    tally.settled("a", up=True)
    tally.settled("b", up=False)
    assert tally.health == health(3, 1, 0)
    tally.found_stuck("c")
    tally.replaced()
    assert tally.health == health(3, 1, 1, 1)
    tally.settled("c", up=True)
    assert tally.health == health(3, 2, 0, 1)
    tally.found_stuck("d")
    tally.settled("d", up=False)
    tally.settled("x", up=True)  # none of its servers
    assert tally.health == health(3, 2, 1, 1)


@pytest.mark.parametrize(
    ("siblings", "slowest", "age", "overdue"),
    [
        ([90, 100, 110], 120.0, 241, True),
        ([90, 100, 110], 120.0, 240, False),
        ([90, 100, 150], 120.0, 299, False),  # the provider is slow today
        ([90, 100], 120.0, 10_000, False),  # too few have come up
        ([90, 100, 110], None, 10_000, False),  # nothing is known of its kind
        ([1, 1, 2], 2.0, 60, False),  # where all is quick, a few seconds more are nothing
        ([1, 1, 2], 2.0, 61, True),
    ],
)
def test_what_is_overdue(siblings: list[float], slowest: float | None, age: float, *, overdue: bool) -> None:
    """Twice the slowest ever, here or before, and a minute; never without knowledge, and never by other kinds."""
    tally = Tally(range(20))
    kind, other = ("1", "5", "us-west"), ("1", "3", "us-west")
    for seconds in siblings:
        tally.sibling(kind, seconds)

    assert tally.is_overdue(kind, age, slowest) is overdue
    assert not tally.is_overdue(other, age, slowest)


def server(word: str) -> Server:
    return Server(id=7, name="web", status=ServerStatus(word))


@pytest.mark.parametrize(
    ("error", "stuck"),
    [
        (WaitTimeoutError("late"), True),
        (NeverReadyError("never"), True),
        (UnexpectedStatusError("x", last_seen=server("suspended")), True),
        (UnexpectedStatusError("x", last_seen=server("stopped")), False),
        (UnexpectedStatusError("x"), False),
        (ServerGoneError("gone"), False),
        (WaitError("left"), False),
        (VpsOrgError("other"), False),
    ],
)
def test_which_ends_of_a_wait_are_stuck(error: VpsOrgError, stuck: bool) -> None:
    """Not that of a server which someone stopped, or which is gone."""
    assert is_stuck(error) is stuck
