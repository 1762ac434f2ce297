"""When to poll next: the bounds, the prior, what is learned, and the cost. No loop, no clock."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.durations import Durations, Kind
from vpsorg_async.lifecycle.schedule import MANY, SHARE, START, STARTED, UNKNOWN_LONGEST, Schedule

KIND: Kind = ("create", "1", "us-west")
NOBODY: Kind = ("", "", "")
LATENCY = 0.01

Draw = Callable[[random.Random], float]


def triangular(rng: random.Random) -> float:
    return rng.triangular(120, 300, 180)


def uniform(rng: random.Random) -> float:
    return rng.uniform(120, 300)


@attrs.frozen
class Course:
    """The result of a run: polls, and how late each server was noticed."""

    polls: int
    lags: list[float]

    @property
    def mean(self) -> float:
        return statistics.mean(self.lags)


def play(
    durations: list[float],
    known: Durations,
    *,
    spread: float = 0.0,
    every: float = 0.0,
    min_interval: float = WaitPolicy().min_interval,
    kind: Kind = KIND,
) -> Course:
    """Servers with these durations, all begun within ``spread`` seconds, or one ``every`` that number of seconds."""
    schedule = Schedule(WaitPolicy(min_interval=min_interval), known)
    step = every or spread / len(durations)
    coming = [(step * n, seconds) for n, seconds in enumerate(durations)]
    waiting: list[tuple[tuple[Kind, float], float, float]] = []
    now, undone, polls, lags = min_interval, 0.0, 0, []
    while coming or waiting:
        while coming and coming[0][0] <= now:
            since, seconds = coming.pop(0)
            waiting.append((schedule.add(kind, since), since, since + seconds))
        polls += 1
        for each in [each for each in waiting if each[2] <= now]:
            waiting.remove(each)
            key, since, done = each
            lags.append(now + LATENCY - done)
            schedule.sighted(key, (max(undone, since) + now) / 2 - since)
            schedule.remove(key)
        undone = now
        now += max(schedule.pause(now + LATENCY), min_interval)
        if coming and not waiting:
            now = max(now, coming[0][0] + min_interval)
    return Course(polls, lags)


def fleets(draw: Draw, servers: int, seeds: int, runs: int = 2) -> list[list[Course]]:
    """For each seed, consecutive fleets, the later ones with the durations that the earlier ones taught."""
    played = []
    for seed in range(seeds):
        rng, known = random.Random(seed), Durations()
        played.append([play([draw(rng) for _ in range(servers)], known) for _ in range(runs)])
    return played


def cost(played: list[list[Course]], run: int) -> tuple[float, float]:
    """Mean polls and mean lag of one run over all seeds."""
    return (
        statistics.mean(courses[run].polls for courses in played),
        statistics.mean(courses[run].mean for courses in played),
    )


def test_fifty_servers_of_two_to_five_minutes() -> None:
    """At most 150 polls at 1.3 s of lag from the documentation alone; after one such fleet 90 polls at 1.1 s."""
    played = fleets(triangular, 50, seeds=24)

    polls, lag = cost(played, 0)
    assert polls <= 135
    assert lag <= 1.3
    assert all(courses[0].polls <= 150 and courses[0].mean <= 1.5 for courses in played)
    polls, lag = cost(played, 1)
    assert polls <= 90
    assert lag <= 1.15


def test_fifty_servers_spread_evenly_over_the_documented_span() -> None:
    """No shape of the durations is needed for the first fleet; a learned even spread costs more than a peak."""
    played = fleets(uniform, 50, seeds=24)

    polls, lag = cost(played, 0)
    assert polls <= 150
    assert lag <= 1.3
    polls, lag = cost(played, 1)
    assert polls <= 95
    assert lag <= 1.25


@pytest.mark.parametrize("draw", [triangular, uniform])
def test_a_thousand_servers_cost_the_polls_of_fifty(draw: Draw) -> None:
    """Polls are shared, and rates are counted per wait."""
    few, many = fleets(draw, 50, seeds=6, runs=1), fleets(draw, 1000, seeds=2, runs=1)

    assert cost(many, 0)[0] <= 1.1 * cost(few, 0)[0]
    assert cost(many, 0)[1] <= 1.5


@given(st.floats(0.1, 900), st.lists(st.floats(0.5, 400), max_size=20), st.floats(0.05, 2.0))
def test_a_wait_lies_behind_by_a_small_share_of_its_age(
    ready: float, seen: list[float], min_interval: float
) -> None:
    """Whatever is known: a server no faster than all before it is noticed within that share of its age."""
    known = Durations.from_json([[*KIND, seen]])
    assume(ready >= known.model(KIND).fastest or not known.model(KIND).learned)

    (lag,) = play([ready], known, min_interval=min_interval).lags

    assert lag <= max(SHARE * (ready + LATENCY), START * min_interval) + LATENCY


@given(
    st.floats(0.5, 300),
    st.floats(1.1, 5),
    st.integers(1, 30),
    st.lists(st.floats(0.5, 400), max_size=20),
    st.floats(0.05, 1.0),
)
def test_the_last_one_lies_behind_by_a_smaller_share(
    first: float, times: float, others: int, seen: list[float], min_interval: float
) -> None:
    """Once others of its run are done, the last one is noticed soon, whatever was known before."""
    known = Durations.from_json([[*KIND, seen]])
    assume(first >= known.model(KIND).fastest or not known.model(KIND).learned)
    last = first * times + 2 * START * min_interval

    lags = play([first] * others + [last], known, min_interval=min_interval).lags

    assert lags[-1] <= max(STARTED * (last + LATENCY), min_interval) + LATENCY


@pytest.mark.parametrize("ready", [0.4, 1.0, 3.0, 6.0, 9.0, 12.0, 20.0, 45.0, 90.0, 110.0])
def test_the_prior_is_no_blindfold(ready: float) -> None:
    """A server that is ready long before the documented time is seen within a few seconds."""
    worst = max(play([ready + shift / 20], Durations()).lags[0] for shift in range(20))

    assert worst <= max(0.08 * ready, 0.4)
    assert worst <= 4


def test_the_first_sighting_tunes_the_rest_of_the_fleet() -> None:
    """Where servers take 12 to 30 seconds, the first one sets the pace: the others are noticed within a second."""
    rng = random.Random(5)

    course = play([12.0, *(rng.uniform(12, 30) for _ in range(49))], Durations())

    assert course.polls <= 60
    assert course.mean <= 0.4


def test_one_fast_server_does_not_mislead_for_long() -> None:
    """A single fast server among many usual ones costs polls, not lag."""
    rng = random.Random(6)

    course = play([12.0, *(triangular(rng) for _ in range(49))], Durations())

    assert course.polls <= 190
    assert course.mean <= 1.5


@pytest.mark.parametrize(("min_interval", "polls", "lag"), [(0.5, 12, 0.3), (0.2, 26, 0.12), (0.1, 44, 0.1)])
def test_short_durations_get_their_polls_too(min_interval: float, polls: int, lag: float) -> None:
    """Servers of 3 to 6 seconds, first unknown, then known: some polls, bounded by the user's interval, little lag."""
    rng, known = random.Random(7), Durations()
    for _ in range(2):
        course = play([rng.uniform(3, 6) for _ in range(50)], known, spread=0.7, min_interval=min_interval)
        assert course.polls <= polls
        assert course.mean <= lag


def test_once_learned_it_is_quiet_while_nothing_can_have_happened() -> None:
    """With two to five minutes known, the first hundred seconds get a handful of polls."""
    rng, known = random.Random(8), Durations()
    play([triangular(rng) for _ in range(50)], known)
    schedule = Schedule(WaitPolicy(), known)
    schedule.add(KIND, 0.0)

    now, polls = 0.5, 0
    while now < 100:
        polls += 1
        now += schedule.pause(now)

    assert polls <= 6


def test_a_server_slower_than_all_before_is_not_polled_all_the_time() -> None:
    """However sure the model is that it ends now: polls closer together than a small share of its age gain nothing."""
    known = Durations.from_json([[*KIND, [150.0 + n / 2 for n in range(100)]]])

    course = play([400.0], known)

    assert course.polls <= 180
    assert course.mean <= SHARE * 400.0


def test_the_last_of_many_are_not_left_alone() -> None:
    """Two of a thousand take longer than any before: they are noticed within a small share of their age."""
    rng, known = random.Random(10), Durations()
    play([rng.uniform(3.0, 6.0) for _ in range(100)], known, min_interval=0.1)

    course = play(
        [*(rng.uniform(3.0, 6.0) for _ in range(998)), 7.5, 9.0], known, spread=0.5, min_interval=0.1
    )

    assert max(course.lags) <= 9.5 / 30 + 0.1
    assert course.polls <= 55


def test_while_waits_keep_coming_it_is_quiet_at_the_age_at_which_nothing_can_have_happened() -> None:
    """Finished waits of the same kind are no reason to poll the young ones all the time."""
    rng, known = random.Random(11), Durations()
    play([triangular(rng) for _ in range(50)], known)
    schedule = Schedule(WaitPolicy(), known)
    schedule.add(KIND, 0.0)
    schedule.sighted(schedule.add(KIND, 0.0), 150.0)
    young = Schedule(WaitPolicy(), known)
    young.add(KIND, 155.0)

    assert known.model(KIND).started
    assert young.pause(160.0) > 5.0


def test_where_waits_keep_coming_they_are_learned_and_not_starved() -> None:
    """With one server a minute, without a pause, the schedule gets better with time, not slower."""
    rng, known = random.Random(9), Durations()

    course = play([triangular(rng) for _ in range(500)], known, every=60.0)

    assert known.model(KIND).learned
    assert statistics.mean(course.lags[-100:]) <= 2.0
    assert course.polls <= 500 * 30


def test_stop_start_and_reboot_are_polled_at_once() -> None:
    """Stop, start and reboot have no documented durations: a reboot of 3 seconds is noticed within one."""
    course = play([3.0, 3.1, 3.2], Durations(), kind=("reboot", "1", "us-west"))

    assert max(course.lags) <= 1.2


@given(
    st.lists(
        st.tuples(
            st.sampled_from([KIND, NOBODY, ("reboot", "1", "x"), ("delete", "", "")]), st.floats(0, 900)
        ),
        max_size=12,
    ),
    st.floats(0.05, 5),
    st.floats(5, 60),
    st.lists(st.floats(1, 500), max_size=20),
)
def test_pauses_stay_within_the_users_bounds(
    waits: list[tuple[Kind, float]], shortest: float, longest: float, seen: list[float]
) -> None:
    """Whatever is waited for and known, a pause lies between min_interval and max_interval."""
    known = Durations.from_json([[*KIND, seen]])
    schedule = Schedule(WaitPolicy(min_interval=shortest, max_interval=longest), known)
    keys = [schedule.add(kind, 900 - age) for kind, age in waits]

    assert shortest <= schedule.pause(900.0) <= longest
    for key in keys:
        schedule.sighted(key, 5.0)
        schedule.remove(key)
        assert shortest <= schedule.pause(901.0) <= longest


def test_a_wait_without_a_command_is_polled_evenly() -> None:
    """A change that another party began can be at any stage: the pauses grow with patience, to a few seconds."""
    schedule = Schedule(WaitPolicy(), Durations())
    schedule.add(NOBODY, 0.0)

    assert [schedule.pause(age) for age in (0.0, 10.0, 30.0, 1000.0)] == [0.2, 1.0, 3.0, UNKNOWN_LONGEST]
    assert schedule.stuck_after(NOBODY) == math.inf
    assert not schedule.overdue(1e6)


def test_waits_without_a_command_teach_nothing() -> None:
    """A wait without a command does not know when the change began, so it records no duration."""
    known = Durations()
    schedule = Schedule(WaitPolicy(), known)
    key = schedule.add(NOBODY, 0.0)

    schedule.sighted(key, 10.0)
    schedule.remove(key)

    assert known.to_json() == []


def test_overdue_is_told_by_the_oldest_of_each_kind() -> None:
    """A wait older than practically all of its kind makes the schedule overdue; leaving ends that."""
    schedule = Schedule(WaitPolicy(), Durations())
    old, young = schedule.add(KIND, 0.0), schedule.add(KIND, 400.0)

    assert not schedule.overdue(419.0)
    assert schedule.overdue(421.0)
    schedule.remove(old)
    assert not schedule.overdue(421.0)
    schedule.remove(young)


def test_thousands_of_ages_are_grouped() -> None:
    """Waits begun over an hour are gone through in groups: a pause is found in the time of a few hundred."""
    schedule = Schedule(WaitPolicy(), Durations())
    keys = {schedule.add(KIND, n / 100) for n in range(100_000)}

    assert len(keys) <= MANY + 1000
    assert 0.2 <= schedule.pause(1000.0) <= 30.0
