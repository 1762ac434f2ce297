"""Which server is next in a rolling operation: the window's arithmetic, and invariants for any course of events."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.errors import ConfigurationError
from vpsorg_async.fleet.rollout import Rollout, window
from vpsorg_async.records import ServerId

# max_unavailable, servers, the window
WINDOWS: list[tuple[int | float, int, int]] = [
    (1, 50, 1),
    (7, 50, 7),
    (80, 50, 80),
    (0.1, 50, 5),
    (0.1, 59, 5),
    (0.1, 60, 6),
    (0.1, 9, 1),
    (0.001, 50, 1),
    (0.5, 1, 1),
    (0.5, 0, 1),
    (0.99, 100, 99),
    # binary fractions must not cost a server: 0.29 * 100 is 28.999...
    (0.29, 100, 29),
    (0.07, 100, 7),
    (1 / 3, 3, 1),
]


@pytest.mark.parametrize(("max_unavailable", "servers", "size"), WINDOWS)
def test_the_window(max_unavailable: int | float, servers: int, size: int) -> None:
    """A number is that number; a share is rounded down, and is at least one."""
    assert window(max_unavailable, servers) == size


@given(share=st.floats(0, 1, exclude_min=True, exclude_max=True), servers=st.integers(1, 100_000))
def test_a_share_is_never_exceeded(share: float, servers: int) -> None:
    """The window never exceeds the share, except that it is at least one."""
    assert 1 <= window(share, servers) <= max(1.0, share * servers + 1e-6)


@pytest.mark.parametrize(
    "bad", [0, -1, 0.0, 1.0, 1.5, -0.1, float("nan"), float("inf"), True, "3", None, [1]]
)
def test_windows_that_are_none(bad: Any) -> None:
    """Zero, a share of everything, and a value that is no number are refused."""
    with pytest.raises(ConfigurationError, match=r"max_unavailable|share"):
        window(bad, 10)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_failures": 0},
        {"max_failures": True},
        {"max_failures": 1.5},
        {"max_failures": "1"},
        {"canary": -1},
        {"canary": None},
        {"canary": 0.5},
    ],
)
def test_limits_that_are_none(limits: dict[str, Any]) -> None:
    """Invalid limits are refused, and the message names the limit."""
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        Rollout({}, **{"max_unavailable": 1, "max_failures": 1, **limits})


fleets = st.lists(st.sampled_from(["us-west", "us-east", "eu-central"]), max_size=25).map(
    lambda places: dict(enumerate(places))
)
windows = st.one_of(st.integers(1, 8), st.floats(0.01, 0.99))


@given(
    locations=fleets,
    max_unavailable=windows,
    max_failures=st.integers(1, 4),
    canary=st.integers(0, 3),
    data=st.data(),
)
def test_any_course_of_events(
    locations: dict[int | str, str],
    max_unavailable: int | float,
    max_failures: int,
    canary: int,
    data: st.DataObject,
) -> None:
    """Never more than the window unavailable; canaries alone; nothing after max_failures; each ends in one state."""
    down = data.draw(
        st.sets(st.sampled_from(sorted(locations))) if locations else st.just(set()), label="down"
    )
    rollout = Rollout(
        locations, max_unavailable=max_unavailable, max_failures=max_failures, canary=canary, down=down
    )
    size = window(max_unavailable, len(locations))
    away: list[int | str] = []
    done: list[int | str] = []
    failed: list[int | str] = []
    while True:
        stopped = len(failed) >= max_failures or len(failed) + len(down) >= size
        begun = rollout.begin()
        away += begun
        assert len(away) + len(failed) + len(down) == rollout.unavailable <= max(size, len(down))
        assert not (begun and stopped)
        assert bool(rollout.stopped) is stopped
        if len(done) < min(canary, len(locations)):
            assert len(away) <= 1
        assert len({*away, *done, *failed}) == len(away) + len(done) + len(failed)
        assert Counter([*away, *done, *failed, *down, *rollout.left]) == Counter(list(locations))
        if not away:
            break
        settled = away.pop(data.draw(st.integers(0, len(away) - 1), label="who settles"))
        healthy = data.draw(st.booleans(), label="well")
        rollout.settled(settled, healthy)
        (done if healthy else failed).append(settled)
    # no server is in progress: either all had their turn, or the rollout says why they did not
    assert rollout.left == () or rollout.stopped


@given(locations=fleets, max_unavailable=windows, data=st.data())
def test_the_window_is_filled(
    locations: dict[int | str, str], max_unavailable: int | float, data: st.DataObject
) -> None:
    """While all goes well the window is full: as many are unavailable as allowed, or none is left."""
    rollout = Rollout(locations, max_unavailable=max_unavailable, max_failures=1, canary=0)
    away: list[int | str] = []
    rounds = 0
    while True:
        away += rollout.begin()
        assert len(away) == rollout.window or rollout.left == ()
        if not away:
            break
        rollout.settled(away.pop(data.draw(st.integers(0, len(away) - 1))), True)
        rounds += 1
    assert rounds == rollout.done == len(locations)


@given(locations=fleets, size=st.integers(1, 9))
def test_locations_are_spread(locations: dict[int | str, str], size: int) -> None:
    """The next server comes from the location with the fewest unavailable, so that none loses more than one extra."""
    rollout = Rollout(locations, max_unavailable=size, max_failures=1, canary=0)

    begun = Counter(locations[key] for key in rollout.begin())

    left = {locations[key] for key in rollout.left}
    for place in left:
        # a location that still has servers was not spared at the cost of another one
        assert all(count <= begun[place] + 1 for count in begun.values())


def test_a_failure_counts_for_its_location() -> None:
    """Where a server has failed and stays unavailable, the next one comes from another location."""
    rollout = Rollout({1: "a", 2: "a", 3: "b", 4: "b"}, max_unavailable=2, max_failures=4, canary=0)
    assert rollout.begin() == [1, 3]

    rollout.settled(3, True)
    rollout.settled(1, False)

    assert rollout.begin() == [4]


def test_a_pause_starts_nobody() -> None:
    """While paused no server is started on; those in progress are still counted; afterwards the rollout continues."""
    rollout = Rollout({1: "a", 2: "a", 3: "a"}, max_unavailable=1, max_failures=1, canary=0)
    assert rollout.begin() == [1]

    rollout.pause()
    assert rollout.begin() == []
    assert rollout.unavailable == 1
    rollout.settled(1, True)
    assert rollout.begin() == []

    rollout.resume()
    assert rollout.begin() == [2]


def test_why_it_stopped() -> None:
    """The reason says whether there were too many failures, or whether they fill the window."""
    many = Rollout({1: "a", 2: "a"}, max_unavailable=2, max_failures=1, canary=0)
    many.begin()
    many.settled(1, False)
    full = Rollout({1: "a", 2: "a"}, max_unavailable=1, max_failures=5, canary=0)
    full.begin()
    full.settled(1, False)

    assert many.stopped.endswith("after 1 failure")
    assert "window" in full.stopped
    assert full.begin() == []
    assert full.left == (2,)


def test_a_rollout_that_goes_on_counts_what_came_before() -> None:
    """The window is a share of all, what is in progress fills it, and the canary is one of those that are done."""
    locations: dict[ServerId, str] = {number: "b" if number == 8 else "a" for number in range(1, 9)}
    rollout = Rollout(
        locations, max_unavailable=0.5, max_failures=1, canary=1, done=[1, 2], in_progress=[3, 8]
    )

    assert (rollout.window, rollout.unavailable, rollout.done) == (4, 2, 2)
    assert rollout.begin() == [4, 5]
    rollout.settled(3, True)
    assert rollout.begin() == [6]
    assert rollout.left == (7,)

    crowded = Rollout(locations, max_unavailable=1, max_failures=1, canary=1, in_progress=[1, 2])
    assert crowded.begin() == []
    crowded.settled(1, True)
    assert crowded.begin() == []
    crowded.settled(2, True)
    assert crowded.begin() == [3]


def test_what_is_down_already_fills_the_window() -> None:
    """It counts for its location, leaves room for the rest of the window, and is named once it fills it."""
    locations: dict[ServerId, str] = {1: "a", 2: "a", 3: "b", 4: "b"}
    some = Rollout(locations, max_unavailable=0.5, max_failures=4, canary=0, down=[1])
    none = Rollout(locations, max_unavailable=0.25, max_failures=4, canary=0, down=[1])

    assert some.begin() == [3]
    some.settled(3, True)
    assert some.begin() == [4]
    some.settled(4, False)
    assert some.begin() == []
    assert some.stopped == (
        "the rollout stopped: 1 of 4 servers was unavailable at the beginning, 1 failed since, "
        "and at most 2 may be unavailable"
    )
    assert none.begin() == []
    assert none.left == (2, 3, 4)
    assert none.stopped == (
        "not started: 1 of 4 servers was unavailable at the beginning, and at most 1 may be; "
        "bring them back, or leave them out"
    )


def test_what_is_done_can_be_down() -> None:
    """A server that an earlier run was done with, and that has stopped since, is unavailable and done."""
    rollout = Rollout(
        dict.fromkeys(range(1, 5), "a"), max_unavailable=2, max_failures=1, canary=1, done=[1], down=[1]
    )

    assert (rollout.done, rollout.unavailable) == (1, 1)
    assert rollout.begin() == [2]
