"""The pauses between ready checks, and what is learned of boots."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import Server, ServerStatus, ready
from vpsorg_async.lifecycle.durations import Durations
from vpsorg_async.lifecycle.ready_schedule import ReadySchedule, kind_of

KIND = ("create ready ssh", "1", "us-west")


def learned(*seconds: float) -> Durations:
    """What is known after one fleet whose servers took that long."""
    durations = Durations()
    schedule = ReadySchedule(durations)
    for _ in seconds:
        schedule.begin(KIND, 0.0)
    for taken in seconds:
        schedule.end(KIND, 0.0, taken)
    return durations


@given(st.floats(0, 10_000))
def test_a_server_lies_behind_by_a_small_share_of_its_age(age: float) -> None:
    """Where nothing is known, the pause is a twentieth of the age, from half a second to five."""
    pause = ReadySchedule(Durations()).pause(KIND, age)

    assert pause == pytest.approx(min(max(age / 20, 0.5), 5.0))


@given(st.floats(0, 100), st.floats(5, 100))
def test_little_is_checked_before_the_fastest_was_ready(age: float, fastest: float) -> None:
    """A server that is faster than all before is seen late by half of its age at most, and by 10 s."""
    schedule = ReadySchedule(learned(*[fastest + n for n in range(20)]))
    pause = schedule.pause(KIND, age)

    assert pause <= max(age / 2, 0.5)
    assert pause <= 10
    if age < fastest * 0.9:
        assert age + pause <= max(fastest * 0.9, age + 0.5) + 1e-9


def test_each_kind_learns_by_itself() -> None:
    """The kind is the sort of check, the command before, the plan and the location; no argument of the check."""
    server = Server(id=1, name="web-1", status=ServerStatus.ACTIVE, location="us-west")

    assert kind_of(ready.ssh(2222), "create", server) == ("create ready ssh", "", "us-west")
    assert kind_of(ready.ssh(22), "", server) == ("ready ssh", "", "us-west")
    assert kind_of(ready.http("/secret"), "reboot", server) == ("reboot ready http", "", "us-west")
    assert kind_of(lambda server: True, "create", server) == ("create ready function", "", "us-west")


def test_what_was_learned_survives_a_file() -> None:
    """Boots are kept beside the durations of commands."""
    durations = learned(*[30.0 + n for n in range(20)])
    again = Durations.from_json(durations.to_json())

    assert again.model(KIND).fastest == pytest.approx(30)
    assert again.model(KIND).learned


def test_servers_that_never_got_ready_teach_nothing() -> None:
    """Nor do those that were ready before their first check."""
    durations = Durations()
    schedule = ReadySchedule(durations)
    for since in (0.0, 0.1, 7.0):
        schedule.begin(KIND, since)
    for since in (7.0, 0.1, 0.0):
        schedule.end(KIND, since, None)

    assert durations.to_json() == []
