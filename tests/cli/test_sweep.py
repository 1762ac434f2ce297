"""`vpsorg fleet sweep`: which servers go, what its guards forbid, and what it really deletes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async.cli.ages import read_span, span_text
from vpsorg_async.cli.sweep import Sweep, SweepPlan
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.records import Server, ServerStatus
from vpsorg_async.sandbox import Rule, Sandbox, faults

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
HOUR = 3600.0


def server(number: int, name: str, hours: float | None) -> Server:
    created = None if hours is None else NOW - timedelta(hours=hours)
    return Server(id=number, name=name, status=ServerStatus("active"), created_at=created)


def swept(servers: list[Server], pattern: str = "ci-*", hours: float = 6, **more: Any) -> SweepPlan:
    return Sweep(pattern=pattern, older_than=timedelta(hours=hours), **more).plan(servers, NOW)


def test_a_server_that_is_being_deleted_already() -> None:
    """It is not deleted again: a refusal of that would end the sweep."""
    leaving = attrs.evolve(server(1, "ci-1", 9), status=ServerStatus("deleting"))

    rows = swept([leaving, server(2, "ci-2", 9)]).rows

    assert [(row.server.name, row.deleted) for row in rows] == [("ci-1", False), ("ci-2", True)]


# -- spans ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6h", 21_600),
        ("1h30m", 5_400),
        ("90s", 90),
        ("2d", 172_800),
        ("1w2d3h4m5s", 788_645),
        (" 6H ", 21_600),
    ],
)
def test_a_span(text: str, seconds: int) -> None:
    """Numbers with units, the largest first."""
    assert read_span(text, "--older-than") == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "6", "h", "-6h", "6 h", "1.5h", "30m1h", "1h1h", "0s", "0h0m", "6y", "9999999w", "٣h"]
)
def test_what_is_no_span(text: str) -> None:
    """A span without a unit, or of 0, is refused rather than guessed; the message names the flag."""
    with pytest.raises(ConfigurationError, match="--older-than is a span"):
        read_span(text, "--older-than")


@given(st.integers(1, 10**9))
def test_a_span_is_shown_rounded_down(seconds: int) -> None:
    """What is shown is a span again, never longer than the real one, and less than an eighth shorter."""
    shown = read_span(span_text(timedelta(seconds=seconds)), "span").total_seconds()
    assert seconds * 7 < shown * 8 <= seconds * 8


# -- the plan -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hours", "reason"),
    [
        ("ci-1", 7, "7h old"),
        ("CI-1", 30, "1d6h old"),
        ("ci-1", 6, None),
        ("ci-1", 5, None),
        ("ci-1", -1, None),  # the clocks differ
        ("ci-1", None, None),
        ("ci-keep", 99, None),
        ("web-1", 99, None),
        ("xci-1", 99, None),
    ],
)
def test_what_is_deleted(name: str, hours: float | None, reason: str | None) -> None:
    """Only what fits, is older, and is not protected; an age that is not known is no age."""
    plan = swept([server(1, name, hours)], protect=["CI-keep"])

    assert [row.reason for row in plan.rows if row.deleted] == ([] if reason is None else [reason])


@pytest.mark.parametrize(
    ("servers", "most", "deleted", "refused"),
    [
        (10, 10, 10, False),
        (11, 10, 11, True),
        (3, 0, 3, True),
        (10, 0.5, 10, True),
        (10, 1.0, 10, False),
        (1, 0.1, 1, False),  # a share permits at least one
    ],
)
def test_the_guard(servers: int, most: float, deleted: int, refused: bool) -> None:
    """A sweep that would delete more than permitted is refused as a whole; the plan still shows what it found."""
    plan = swept([server(number, f"ci-{number}", 9) for number in range(1, servers + 1)], max_deletes=most)

    assert (len(plan.deletes), bool(plan.refusal)) == (deleted, refused)


@pytest.mark.parametrize("pattern", ["*", "**", "?", "-*", "*-*", "", "ci-[a-z]", "ci *", "[!x]*"])
def test_a_pattern_that_fits_everything_is_refused(pattern: str) -> None:
    """A selector needs something of its own; sets of characters are not known."""
    with pytest.raises(ConfigurationError, match="--name"):
        swept([], pattern=pattern)


def test_a_protected_name_must_fit() -> None:
    """A slip in a protected name must not cost its server."""
    with pytest.raises(ConfigurationError, match="--protect 'cl-1' protects nothing"):
        swept([], protect=["cl-1"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ci-1", "ci-2", "ci-keep", "web-1", "CI-3"]), st.none() | st.floats(-10, 100)
        ),
        max_size=20,
    ),
    st.floats(0.1, 50),
    st.integers(0, 5),
)
def test_a_sweep_never_deletes_too_much(
    rows: list[tuple[str, float | None]], hours: float, most: int
) -> None:
    """Whatever the account has: nothing younger, foreign or protected, and never more than the guard permits."""
    servers = [server(number, name, age) for number, (name, age) in enumerate(rows, 1)]
    plan = swept(servers, hours=hours, protect=["ci-keep"], max_deletes=most)

    for one in plan.deletes:
        assert one.name.lower().startswith("ci-")
        assert one.name != "ci-keep"
        assert one.created_at is not None
        assert NOW - one.created_at > timedelta(hours=hours)
    assert plan.refusal or len(plan.deletes) <= most


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def leftovers(box: Sandbox) -> Sandbox:
    """Three old servers of CI, a young one, and a foreign one."""
    for name, age in (("ci-1", 9), ("ci-2", 8), ("ci-3", 7), ("ci-new", 1), ("web-1", 99)):
        box.world.add(name=name, age=age * HOUR)
    return box


def names(box: Sandbox) -> list[str]:
    return sorted(one.name for one in box.servers)


SWEEP = ("fleet", "sweep", "--older-than", "6h", "--name", "ci-*")


def test_a_sweep(vpsorg: Any, leftovers: Sandbox) -> None:
    """The plan shows what goes; --dry-run sends nothing but reads; --yes deletes exactly that."""
    planned = vpsorg(*SWEEP, "--dry-run")
    assert (planned.code, leftovers.ledger) == (0, ())
    assert [line.split()[:2] for line in planned.out.splitlines()[1:]] == [
        ["delete", "ci-1"],
        ["delete", "ci-2"],
        ["delete", "ci-3"],
        ["keep", "ci-new"],
    ]
    document = json.loads(vpsorg(*SWEEP, "--dry-run", "--json").out)
    assert [row["step"] for row in document["servers"]] == ["delete"] * 3 + ["keep"]

    done = vpsorg(*SWEEP, "--yes", "--protect", "ci-2", "--json")
    assert (done.code, json.loads(done.out)["succeeded"]) == (0, 2)
    assert names(leftovers) == ["ci-2", "ci-new", "web-1"]
    assert vpsorg(*SWEEP, "--yes").code == 0
    assert names(leftovers) == ["ci-new", "web-1"]
    nothing = vpsorg(*SWEEP)
    assert (nothing.code, "keep" in nothing.out) == (0, True)


def test_a_sweep_over_its_guard_deletes_nothing(vpsorg: Any, leftovers: Sandbox) -> None:
    """--yes is no permission for more than the guard; nor is a dry run of it a success."""
    for more in (["--yes"], ["--dry-run"]):
        refused = vpsorg(*SWEEP, "--max-deletes", "2", *more)
        assert refused.code == 5
        assert "3 of 4 servers would be deleted, and --max-deletes permits 2" in refused.err + refused.out
    assert leftovers.ledger == ()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("--older-than 6 --name ci-*", "--older-than is a span"),
        ("--older-than 6h --name *", "would fit foreign servers"),
        ("--older-than 6h --name ci-* --max-deletes many", "--max-deletes is a number"),
        ("--older-than 6h --name ci-* --max-deletes 200%", "--max-deletes is a number"),
        ("--older-than 6h --name ci-* --max-deletes=-1", "--max-deletes is a number"),
        ("--older-than 6h --name ci-* --protect web-1", "protects nothing"),
        ("--older-than 6h", "--name"),
        ("--older-than 6h --name ci-*", "add --yes"),  # no terminal to confirm on
    ],
)
def test_a_sweep_that_is_not_understood_deletes_nothing(
    vpsorg: Any, leftovers: Sandbox, line: str, named: str
) -> None:
    """Exit code 2, and no change was sent."""
    ended = vpsorg("fleet", "sweep", *line.split())

    assert (ended.code, named in ended.err) == (2, True)
    assert leftovers.ledger == ()


def test_a_sweep_needs_the_whole_list(vpsorg: Any, leftovers: Sandbox) -> None:
    """On a list that lacks servers nothing is deleted."""
    leftovers.faults.add(Rule("list", faults.ShortList(1)))
    ended = vpsorg(*SWEEP, "--yes")

    assert (ended.code, "incomplete" in ended.err, leftovers.ledger) == (1, True, ())


def test_a_clock_of_this_machine_that_is_ahead(vpsorg: Any, box: Sandbox) -> None:
    """Ages are those by the clock of the service, so that no young server is taken for an old one."""
    row = {"id": 1, "name": "ci-1", "status": "active", "created_at": "2020-01-01T00:00:00Z"}
    shown = faults.Reply(200, [row], headers={"Date": "Wed, 01 Jan 2020 01:00:00 GMT"})
    box.faults.add(Rule("list", shown))
    ended = vpsorg(*SWEEP, "--yes")

    assert (ended.code, "1h old" in ended.out) == (0, True)
    assert [entry.method for entry in box.requests].count("DELETE") == 0


def test_no_delete_after_one_that_failed(vpsorg: Any, box: Sandbox) -> None:
    """The first refused delete ends the sweep."""
    for number in range(100):
        box.world.add(name=f"ci-{number}", age=9 * HOUR)
    box.faults.add(Rule("delete", faults.Reply(403, {"detail": "no"}), nth=1))
    ended = vpsorg(*SWEEP, "--yes", "--max-deletes", "100")

    assert ended.code in (5, 6)
    assert len(box.servers) == 100
    assert [entry.method for entry in box.requests].count("DELETE") == 1


def test_a_sweep_at_a_terminal(terminal: Callable[..., Any], leftovers: Sandbox) -> None:
    """The plan is shown before the question; no answer but yes deletes anything."""
    asked = terminal(*SWEEP)
    shown = asked.until("[y/N]")
    ids = {server.name: server.id for server in leftovers.servers}
    named = ", ".join(f"{name} ({ids[name]})" for name in ("ci-1", "ci-2", "ci-3"))
    assert f"Delete 3 servers permanently: {named}?" in shown
    assert shown.index("ci-new") < shown.index("Delete 3 servers")
    asked.type("n\n")
    assert (asked.ended(), leftovers.ledger) == (1, ())

    asked = terminal(*SWEEP)
    asked.until("[y/N]")
    asked.type("y\n")
    assert asked.ended() == 0
    assert names(leftovers) == ["ci-new", "web-1"]
