"""The durations of commands: the prior, the learned models, and the file."""

from __future__ import annotations

import json
import math
import random
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.durations import LEARNED, LIMIT, LONGEST, PER_RUN, Durations, Kind, Model
from vpsorg_async.lifecycle.schedule import Schedule

KIND: Kind = ("create", "1", "us-west")


def learned(durations: list[float], operation: str = "create") -> Model:
    return Model(operation, durations)


def survival(model: Model, until: float, step: float = 0.05) -> float:
    """The share of commands that take longer than that, by the model's rates."""
    total = sum(model.hazard((n + 0.5) * step) * step for n in range(int(until / step)))
    return math.exp(-total)


def test_the_prior_is_the_documented_span() -> None:
    """A first create is expected after 2 to 5 minutes, hardly before, and hardly later."""
    model = Model("create")

    assert survival(model, 110) > 0.9
    assert 0.3 < survival(model, 200) < 0.6
    assert survival(model, 310) < 0.05
    assert max(model.hazard(age) for age in (30, 60, 100)) < model.hazard(180) / 20


@pytest.mark.parametrize("operation", ["start", "stop", "reboot", "delete"])
def test_other_commands_are_expected_soon(operation: str) -> None:
    """Other commands have no documented durations: the sooner the likelier."""
    model = Model(operation)

    assert model.hazard(1) > model.hazard(5) > model.hazard(20)
    assert survival(model, 90) < 0.1


@given(
    st.sampled_from(["create", "reboot"]),
    st.lists(st.floats(0.05, 3600.0), max_size=40),
    st.floats(0.3, LONGEST / 2),
)
def test_no_moment_is_impossible(operation: str, seen: list[float], age: float) -> None:
    """Whatever was seen, the chance at every age is a number above zero."""
    hazard = Model(operation, seen).hazard(age)

    assert 0 < hazard < math.inf


@given(st.lists(st.floats(1.0, 600.0), min_size=LEARNED, max_size=60))
def test_the_chances_add_up(seen: list[float]) -> None:
    """Far beyond all that was seen, nearly every command is done; before all of it, nearly none."""
    model = Model("create", seen)

    assert survival(model, 2 * max(seen) + 60, step=0.1) < 0.1
    assert survival(model, min(seen) / 4, step=0.05) > 0.9


@given(st.lists(st.floats(1.0, 600.0), min_size=1, max_size=30), st.floats(0.1, 700.0))
def test_the_order_of_what_was_seen_is_of_no_matter(seen: list[float], age: float) -> None:
    """A model is a density over its samples, in whatever order they came."""
    assert Model("create", sorted(seen)).hazard(age) == pytest.approx(Model("create", seen).hazard(age))


def test_what_was_seen_replaces_the_prior() -> None:
    """After ten durations around 20 seconds, a create is expected then, and not after two minutes."""
    model = learned([18, 19, 20, 20, 20, 21, 21, 22, 22, 23])

    assert model.learned
    assert model.hazard(20) > 100 * model.hazard(5)
    assert survival(model, 30) < 0.05


def test_one_duration_is_not_taken_for_all() -> None:
    """A single sample changes little: the documented span stays possible."""
    model = learned([20.0])

    assert not model.learned
    assert 0.1 < survival(model, 60) < 0.6
    assert survival(model, 320) < 0.1


def run(model: Model, durations: list[float]) -> None:
    for seconds in sorted(durations):
        model.sighted(0.0, seconds, len(durations))
    model.run_ended()


def test_a_run_is_learned_at_its_end() -> None:
    """The fastest of a run end first and would mislead: they are learned together with the others."""
    model = Model("create")
    hazards = [model.hazard(age) for age in (130.0, 180.0, 250.0)]
    for seconds in (130.0, 140.0, 150.0):
        model.sighted(0.0, seconds, 50)

    assert [model.hazard(age) for age in (130.0, 180.0, 250.0)] == hazards
    assert not model.seen
    model.run_ended()
    assert model.seen == (130.0, 140.0, 150.0)


def test_a_large_run_leaves_its_quantiles() -> None:
    """A thousand durations are reduced to a few dozen with the same spread, the newest runs last."""
    rng = random.Random(1)
    model = Model("create")
    for _ in range(3):
        run(model, [rng.triangular(120, 300, 180) for _ in range(1000)])

    assert len(model.seen) == LIMIT == 2 * PER_RUN
    assert statistics.mean(model.seen) == pytest.approx(200, abs=3)
    assert statistics.pstdev(model.seen) == pytest.approx(37.4, abs=3)


def test_a_surprising_first_sighting_moves_the_model() -> None:
    """A server that is ready after 12 seconds shows that its whole kind is ten times faster."""
    model = Model("create")
    before = model.hazard(20.0)

    model.sighted(0.0, 12.0, 50)

    assert model.hazard(20.0) > 10 * before
    assert survival(model, 40) < 0.45
    assert survival(model, 320) < 0.05


def test_an_expected_first_sighting_moves_nothing() -> None:
    """An early end is a surprise for a single server, but expected for the first of many."""
    one, many = Model("create"), Model("create")
    before = many.hazard(180.0)

    many.sighted(0.0, 116.0, 1000)
    assert many.hazard(180.0) == before
    one.sighted(0.0, 100.0, 1)
    assert one.hazard(110.0) != Model("create").hazard(110.0)


def test_where_waits_keep_coming_the_complete_ones_are_learned() -> None:
    """A run that never ends is learned from members whose elders have all ended, once there are enough."""
    model = Model("create")
    for n in range(PER_RUN):
        model.sighted(60.0 * n, 180.0 + n % 7, 3)

    model.run_ended(before=60.0 * (PER_RUN - 1))
    assert model.seen == ()
    model.sighted(60.0 * PER_RUN, 185.0, 3)
    model.run_ended(before=60.0 * PER_RUN)
    assert len(model.seen) == PER_RUN
    assert model.started


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_duration_is_left_out(seconds: float) -> None:
    """Invalid durations from a changed clock or an edited file are ignored."""
    model = Model("create", [seconds])
    model.sighted(0.0, seconds, 1)
    model.run_ended()

    assert model.seen == ()


def test_stuck_is_slower_than_practically_all() -> None:
    """The threshold is well beyond the documented durations at first; then beyond the slowest seen."""
    assert [Model(operation).stuck_after for operation in ("create", "reboot")] == [420.0, 180.0]
    assert learned([float(n) for n in range(100, 200)]).stuck_after == 199 * 1.5


def test_kinds_are_learned_apart_and_together() -> None:
    """Plan and location have models of their own; a new one starts with the model of all."""
    durations = Durations()
    for kind, base in ((KIND, 20.0), (("create", "2", "us-west"), 200.0)):
        for n in range(20):
            durations.sighted(kind, 0.0, base + n / 10, 20)
        durations.run_ended(kind)

    assert max(durations.model(KIND).seen) < 30
    assert min(durations.model(("create", "2", "us-west")).seen) > 190
    assert len(durations.model(("create", "3", "us-east")).seen) == 40
    assert durations.model(("reboot", "1", "us-west")).seen == ()


def test_what_to_expect_is_told_for_people() -> None:
    """The time until the last of several is done: documented for creates, learned for the rest."""
    durations = Durations()

    first = durations.expected("create", 50)
    assert first is not None
    assert 280 < first < 320
    assert durations.expected("reboot", 5) is None
    for n in range(20):
        durations.sighted(("reboot", "1", "us-west"), 0.0, 20.0 + n, 20)
    durations.run_ended(("reboot", "1", "us-west"))
    learned_ = durations.expected("reboot", 20)
    assert learned_ is not None
    assert 35 < learned_ < 60


@given(
    st.dictionaries(st.tuples(st.text(), st.text(), st.text()), st.lists(st.floats(0.01, 7e3), min_size=1))
)
def test_what_is_kept_comes_back(known: dict[Kind, list[float]]) -> None:
    """The plain data of the file holds all that was learned."""
    rows = [[*kind, [round(seconds, 3) for seconds in seen]] for kind, seen in known.items()]

    again = Durations.from_json(json.loads(json.dumps(Durations.from_json(rows).to_json())))

    assert again.to_json() == [[*row[:3], row[3][-LIMIT:]] for row in rows]


GARBAGE: list[Any] = [
    None,
    {},
    "text",
    [None, 5, [], ["create"], ["create", "1", "us", "20"], ["create", "1", 3, [20.0]]],
    [["create", "1", "us", [True, "20", None, [], -5, 0]]],
]


@pytest.mark.parametrize("data", GARBAGE)
def test_what_is_not_ours_is_left_out(data: Any) -> None:
    """A file that another program wrote is ignored, and causes no error."""
    assert Durations.from_json(data).to_json() == []


def test_huge_numbers_in_the_file_do_no_harm() -> None:
    """A duration that no float can hold is ignored."""
    assert Durations.from_json([["create", "1", "us", [10**400, 20.0]]]).to_json() == [
        ["create", "1", "us", [20.0]]
    ]


EXTREME = st.one_of(
    st.floats(),
    st.floats(0, 1e-3),
    st.integers(),
    st.sampled_from(
        [5e-324, 1e-320, 1e-300, 1e-16, math.nan, math.inf, -math.inf, 10**400, LONGEST, 7199.999]
    ),
)
ROW = st.tuples(
    st.sampled_from(["create", "reboot", ""]),
    st.sampled_from(["", "1"]),
    st.sampled_from(["", "us-west"]),
    st.lists(EXTREME, max_size=30) | EXTREME.flatmap(lambda one: st.just([one] * 40)),
).map(list)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3) | EXTREME,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


@given(
    st.lists(ROW | ANYTHING, max_size=5) | ANYTHING,
    st.sampled_from(["create", "reboot"]),
    st.lists(EXTREME, max_size=20),
)
def test_whatever_the_file_holds_the_models_work(data: Any, operation: str, seconds: list[float]) -> None:
    """Models from any plain data give finite numbers, before and after they learn more."""
    durations = Durations.from_json(data)
    kind = (operation, "1", "us-west")

    for ended in (False, True):
        if ended:
            for one in seconds:
                durations.sighted(kind, 0.0, one, len(seconds))
            durations.run_ended(kind)
        model = durations.model(kind)
        hazards = [model.hazard(age) for age in (0.0, 5e-324, 1e-3, 0.5, 60.0, 300.0, LONGEST, 1e9)]
        expected = [durations.expected(operation, count) or 0.0 for count in (1, 10_000)]
        assert all(
            0 <= number < math.inf for number in [*hazards, *expected, model.fastest, model.stuck_after]
        )
    kept = json.loads(json.dumps(durations.to_json(), allow_nan=False))
    assert Durations.from_json(kept).to_json() == kept


@pytest.mark.parametrize("seconds", [5e-324, 1e-300, 1e-9, 0.0004])
def test_durations_below_a_millisecond_teach_nothing(seconds: float) -> None:
    """A duration that the file would store as 0.000 is ignored, both in the file and when it is seen."""
    durations = Durations.from_json([["create", "1", "us-west", [seconds] * 20]])
    durations.sighted(KIND, 0.0, seconds, 1)
    durations.run_ended(KIND)

    assert durations.model(KIND).seen == ()
    assert durations.model(KIND).hazard(180.0) == Model("create").hazard(180.0)


@pytest.mark.parametrize("seconds", [20.0, 200.0, 7199.9])
def test_a_file_of_long_durations_does_not_blind_a_wait(seconds: float) -> None:
    """However long all commands took, the first poll comes within the default ``max_interval``."""
    schedule = Schedule(WaitPolicy(), Durations.from_json([[*KIND, [seconds] * 60]]))

    assert schedule.first(schedule.add(KIND, 0.0), 0.0) <= WaitPolicy().max_interval
