"""Targets, readings, and the contract of waits as the guide prints it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async import Server, ServerStatus, Target, WaitOutcome, errors
from vpsorg_async.config import WaitPolicy
from vpsorg_async.lifecycle.commands import COMMANDS, GONE, IN_PLACE, MOVING, SETTLED
from vpsorg_async.lifecycle.contract import CONTRACT, LEADS_TO, Evidence, Reading
from vpsorg_async.records import Seen

T, F, M, E, U = Reading.TARGET, Reading.FAILURE, Reading.MOVING, Reading.ELSEWHERE, Reading.UNKNOWN

WORDS = (
    *("active", "stopped", "suspended", "provisioning", "starting", "stopping", "rebooting"),
    *("error", "ready"),
)
GRID: list[tuple[Any, tuple[Reading, ...]]] = [
    # target                                            active stopped suspended moving ...  error ready
    ("active", (T, E, F, M, M, M, M, U, U)),
    ("stopped", (E, T, F, M, M, M, M, U, U)),
    ("suspended", (E, E, T, M, M, M, M, U, U)),
    ("rebooting", (E, E, F, M, M, M, T, U, U)),
    ("settled", (T, T, T, M, M, M, M, U, U)),
    ("gone", (E, E, F, M, M, M, M, U, U)),
    (("active", "stopped"), (T, T, F, M, M, M, M, U, U)),
    (("active", "gone"), (T, E, F, M, M, M, M, U, U)),
    (Target(frozenset({"ready"})), (E, E, F, M, M, M, M, U, T)),
    (Target(frozenset({"active"}), failures=frozenset({"error"})), (T, E, E, M, M, M, M, F, U)),
    (Target(frozenset({"suspended"})), (E, E, T, M, M, M, M, U, U)),
]


@pytest.mark.parametrize(("target", "readings"), GRID, ids=lambda value: str(value)[:40])
def test_what_a_word_is_to_a_target(target: Any, readings: tuple[Reading, ...]) -> None:
    """Every known word, and those the provider adds, has one meaning for each target."""
    assert tuple(Target.of(target).reading(word) for word in WORDS) == readings


OF: list[tuple[Any, set[str], bool, set[str]]] = [
    ("active", {"active"}, False, {"suspended"}),
    (ServerStatus.STOPPED, {"stopped"}, False, {"suspended"}),
    ("suspended", {"suspended"}, False, set()),
    ("settled", {"active", "stopped", "suspended"}, False, set()),
    ("gone", set(), True, {"suspended"}),
    (["active", "stopped"], {"active", "stopped"}, False, {"suspended"}),
    (("settled", "gone"), {"active", "stopped", "suspended"}, True, set()),
    ({ServerStatus.REBOOTING, "active"}, {"active", "rebooting"}, False, {"suspended"}),
    ((word for word in ("starting",)), {"starting"}, False, {"suspended"}),
]


@pytest.mark.parametrize(("wanted", "statuses", "gone", "failures"), OF, ids=range(len(OF)))
def test_targets_are_made_of_words(wanted: Any, statuses: set[str], gone: bool, failures: set[str]) -> None:
    """A word, a status, several, "settled" and "gone" make a target; a wanted status is no failure."""
    target = Target.of(wanted)

    assert (set(target.statuses), target.gone, set(target.failures)) == (statuses, gone, failures)
    assert Target.of(target) is target


@pytest.mark.parametrize(
    "wanted", ["", "activ", "Active", "ready", [], [1], [["active"]], 5, None, b"active"]
)
def test_what_is_no_target(wanted: Any) -> None:
    """A wait for an unknown word would never end: it is refused immediately."""
    with pytest.raises(errors.ConfigurationError):
        Target.of(wanted)


@pytest.mark.parametrize("statuses", ["active", [""], [3], []])
def test_a_target_of_ones_own_is_checked(statuses: Any) -> None:
    """A string in place of a set of strings would be read letter by letter: it is refused."""
    with pytest.raises(errors.ConfigurationError):
        Target(statuses)


def test_a_refused_word_is_told_the_way_out() -> None:
    """The message lists the known words, and how to wait for another one."""
    with pytest.raises(
        errors.ConfigurationError, match=r"'ready' is not a known status; .*active, .*Target\("
    ):
        Target.of("ready")


def test_targets_read_well() -> None:
    """Messages name a target in plain words."""
    assert [str(Target.of(target)) for target in ("active", ["stopped", "active"], "gone")] == [
        "active",
        "active or stopped",
        "gone",
    ]


def test_every_reading_has_its_rule() -> None:
    """The contract is complete, and its patience is a setting of the policy."""
    assert set(CONTRACT) == set(Reading)
    patience = {rule.after for rule in CONTRACT.values() if rule.after}
    assert patience == {"quiet", "grace", "visibility"}
    assert all(getattr(WaitPolicy(), name) > 0 for name in patience)


def test_the_words_fit_together() -> None:
    """Settled and moving words don't overlap, and the table of commands uses only these."""
    assert not SETTLED & MOVING
    assert {command.before for command in IN_PLACE.values()} <= SETTLED
    assert {command.target for command in COMMANDS.values()} <= SETTLED | {GONE, "settled"}
    assert {"provisioning", "starting", "stopping", "rebooting"} == MOVING
    assert {"active": {"provisioning", "starting"}, "stopped": {"stopping"}, "suspended": set()} == LEADS_TO


def test_outcomes_are_plain_data() -> None:
    """The outcome of a wait can be stored and sent to another process."""
    outcome = WaitOutcome(
        server_id=7,
        server=Server(id=7, name="a", status=ServerStatus.ACTIVE),
        evidence=Evidence.UPDATED,
        timeline=(Seen(1.0, "active", "stale"),),
        polls=3,
        seconds=4.5,
    )

    assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_the_guide_prints_the_contract() -> None:
    """docs/waits.md has the contract as the code has it; `python docs/tables.py` writes it there."""
    rows = [f"| {rule.when} | {rule.does} |" for rule in CONTRACT.values()]

    guide = (Path(__file__).parents[2] / "docs" / "waits.md").read_text("utf-8")

    assert "\n".join(rows) in guide


def test_several_targets_are_one() -> None:
    """Any of several targets ends a wait; a status fails it only if it is a failure for each of them."""
    ready = Target(frozenset({"ready"}), failures=frozenset({"broken", "suspended"}))

    assert Target.of([ready]) == ready
    both = Target.of([ready, "stopped", Target.of("gone")])
    assert both == Target(frozenset({"ready", "stopped"}), True, frozenset({"suspended"}))
