"""`vpsorg fleet plan`, `apply`, `scale` and `diff` with a file of fleets, against a sandbox."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_journal import killed, receipts, state, until
from vpsorg_async.sandbox import Rule, Sandbox, faults

__all__ = ["state"]

FLEETS = """\
[defaults]
os_id = 5
location = "us-west"

[[fleet]]
name = "web-{n:02}"
count = 3
plan_id = 1
"""
WORKERS = """\

[[fleet]]
name = "worker-{n}"
count = 2
plan_id = 2
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEETS)
    return path


def names(box: Sandbox) -> list[str]:
    return sorted(server.name for server in box.servers)


def web(box: Sandbox, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        box.world.add(name=f"web-{number:02}", **fields)


# -- plan and diff --------------------------------------------------------------------------------------------------


def test_a_plan_sends_only_reads(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """The steps and their price; with --check the exit code says whether there are changes."""
    web(box, 2)
    box.world.add(name="foreign")
    planned = vpsorg("fleet", "plan", "-f", str(file))
    document = json.loads(vpsorg("fleet", "plan", "-f", str(file), "--json").out)
    checked = vpsorg("fleet", "plan", "-f", str(file), "--check")

    assert (planned.code, checked.code) == (0, 10)
    assert planned.out.splitlines()[0] == "3 servers: 2 to create, 1 to keep"
    assert planned.out == checked.out
    assert [(row["kind"], row["name"]) for row in document["steps"]] == [
        ("create", "web-01"),
        ("keep", "web-02"),
        ("create", "web-03"),
    ]
    assert (document["changes"], document["price_monthly"]) == (2, "20.0")
    assert {entry.method for entry in box.requests} == {"GET"}


def test_a_plan_without_changes(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """--check ends with 0."""
    web(box, 1, 2, 7)

    assert vpsorg("fleet", "plan", "-f", str(file), "--check").code == 0
    assert vpsorg("fleet", "diff", "-f", str(file)).code == 0


def test_a_diff(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """Missing, too many, stopped, and created from another system: each has a line; the rest has none."""
    file.write_text(FLEETS + WORKERS)
    web(box, 1, 2, 3)
    web(box, 4)
    box.world.add(name="worker-1", plan_id=2, os_id=3, status="stopped")
    ended = vpsorg("fleet", "diff", "-f", str(file))
    rows = json.loads(vpsorg("fleet", "diff", "-f", str(file), "--json").out)

    assert ended.code == 10
    assert [re.split("  +", line)[:2] for line in ended.out.splitlines()[1:]] == [
        ["web-04", "more than the count"],
        ["worker-1", "not active; os_id is 3, the spec says 5"],
        ["worker-2", "missing"],
    ]
    assert [(row["name"], row["surplus"]) for row in rows] == [
        ("web-04", True),
        ("worker-1", False),
        ("worker-2", False),
    ]
    assert "3 of 6 servers differ" in ended.err


def test_a_status_cannot_control_the_terminal(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """What the service sends is shown without its control characters: in plans, and in the reasons of reports."""
    web(box, 1, 2, 3, 4)
    box.world.set_status(box.servers[3].id, "odd\x1b[2J")
    box.faults.add(Rule("delete", faults.Reply(403, {"detail": "no\x1b[2J"})))
    planned = vpsorg("fleet", "plan", "-f", str(file))
    refused = vpsorg("fleet", "apply", "-f", str(file), "--prune", "--yes", "--timeout", "1")

    assert (planned.code, "odd\ufffd[2J" in planned.out) == (0, True)
    assert refused.code != 0
    assert "no\ufffd[2J" in refused.out
    assert "\x1b" not in planned.out + refused.out + refused.err


# -- apply ----------------------------------------------------------------------------------------------------------


def test_apply_makes_it_so(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """What is missing is created, what is stopped is started; a second run sends no change and asks nothing."""
    web(box, 1, status="stopped")
    done = vpsorg("fleet", "apply", "-f", str(file), "--yes", "--json")
    report = json.loads(done.out)

    assert done.code == 0
    assert [(row["key"], row["how"]) for row in report["outcomes"]] == [
        ("web-01", "started"),
        ("web-02", "created"),
        ("web-03", "created"),
    ]
    assert names(box) == ["web-01", "web-02", "web-03"]
    sent = len(box.ledger)
    again = vpsorg("fleet", "apply", "-f", str(file))
    assert (again.code, len(box.ledger)) == (0, sent)
    assert vpsorg("fleet", "plan", "-f", str(file), "--check").code == 0


def test_apply_needs_a_yes(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """Without a terminal to confirm on, and without --yes, nothing is sent."""
    ended = vpsorg("fleet", "apply", "-f", str(file))

    assert (ended.code, box.ledger) == (2, ())
    assert "Create 3 servers (web-01, web-02, web-03)? It costs 0.045 per hour" in ended.err


def test_a_guard_refuses_the_whole_plan(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """Without --prune nothing is deleted; with it no more than permitted, and then nothing is created either."""
    file.write_text(FLEETS + WORKERS)
    web(box, *range(1, 7))
    for more in (["--prune"], ["--prune", "--max-deletes", "2"], ["--prune", "--max-deletes", "40%"]):
        refused = vpsorg("fleet", "apply", "-f", str(file), "--yes", *more)
        assert (refused.code, box.ledger) == (5, ())
        assert "refused: " in refused.err
        assert refused.err.endswith("nothing was sent\n")
    assert vpsorg("fleet", "plan", "-f", str(file), "--prune").code == 5

    kept = vpsorg("fleet", "apply", "-f", str(file), "--yes")
    assert (kept.code, len(box.servers)) == (0, 8)
    done = vpsorg(
        "fleet", "apply", "-f", str(file), "--yes", "--prune", "--max-deletes", "50%", "--protect", "web-06"
    )
    assert (done.code, names(box)) == (0, ["web-01", "web-02", "web-06", "worker-1", "worker-2"])


def test_apply_at_a_terminal(terminal: Callable[..., Any], box: Sandbox, file: Path) -> None:
    """The plan comes before the question; no answer but yes changes anything."""
    web(box, 1, 2)
    asked = terminal("fleet", "apply", "-f", str(file))
    shown = asked.until("[y/N]")
    assert shown.index("3 servers: 1 to create, 2 to keep") < shown.index("+ create web-03")
    assert "web-01" not in shown
    asked.type("n\n")
    assert (asked.ended(), box.ledger) == (1, ())

    asked = terminal("fleet", "apply", "-f", str(file))
    asked.until("[y/N]")
    asked.type("y\n")
    assert asked.ended() == 0
    assert names(box) == ["web-01", "web-02", "web-03"]


def test_what_was_confirmed_is_applied_or_nothing(
    terminal: Callable[..., Any], box: Sandbox, file: Path
) -> None:
    """If the account changes while the command asks, it says what has changed, and sends nothing."""
    asked = terminal("fleet", "apply", "-f", str(file))
    asked.until("[y/N]")
    web(box, 2)
    asked.type("y\n")

    assert asked.ended() == 5
    assert "web-02" in asked.seen.rpartition("[y/N]")[2]
    assert box.ledger == ()


def test_a_killed_apply_is_taken_up(vpsorg: Any, start: Any, slow: Sandbox, state: Path, file: Path) -> None:
    """After kill -9 the same command creates only what is missing, and no server twice."""
    slow.faults.add(Rule("create", faults.NeverAnswer(applied=True), times=1))
    with start("fleet", "apply", "-f", str(file), "--yes", "-q") as first:
        until(lambda: len(slow.servers) == 3 and receipts(state) == 2)
        killed(first)
    slow.world.lag(5.0)
    ended = vpsorg("fleet", "apply", "-f", str(file), "--yes", "--settle", "6", "--timeout", "1")

    assert "taken up from an earlier run that ended early" in ended.err
    assert names(slow) == ["web-01", "web-02", "web-03"]


def test_an_interrupted_apply_says_how_to_go_on(start: Any, slow: Sandbox, state: Path, file: Path) -> None:
    """Of its servers some are to be active and others gone: no wait fits, but the same command does."""
    file.write_text(FLEETS.replace("count = 3", "count = 1") + WORKERS)
    web(slow, 1, 2)
    slow.faults.add(Rule("delete", faults.SoftDelete("deleting", 1e6, in_list=True)))
    with start("fleet", "apply", "-f", str(file), "--prune", "--yes", "-q") as process:
        until(lambda: len(slow.ledger) == 3 and receipts(state) == 3)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate()

    assert process.returncode == 130
    assert [re.split("  +", line)[:2] for line in out.splitlines()[1:5]] == [
        ["web-01", "adopted"],
        ["web-02", "left"],
        ["worker-1", "left"],
        ["worker-2", "left"],
    ]
    *_, advice, command = said.splitlines()
    assert advice.startswith("run the same command again")
    assert command.startswith("vpsorg fleet apply ")


# -- scale ----------------------------------------------------------------------------------------------------------


def test_scale_up_and_down(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """Up by the lowest free numbers, down by exactly the difference; the count of the file does not matter."""
    web(box, 1, 2, 4)
    up = vpsorg("fleet", "scale", "-f", str(file), "--to", "5", "--yes")
    assert (up.code, names(box)) == (0, ["web-01", "web-02", "web-03", "web-04", "web-05"])
    down = vpsorg("fleet", "scale", "-f", str(file), "--to", "1", "--yes", "--protect", "web-04")
    assert (down.code, names(box)) == (0, ["web-04"])
    assert ("scale: 5 succeeded" in up.err, "apply" in up.err + down.err) == (True, False)
    assert vpsorg("fleet", "scale", "-f", str(file), "--to", "1").code == 0


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--to", "0"], "a count of 0"),
        (["--to", "1", "--protect", "web-01", "--protect", "web-02"], "1 can't be reached"),
    ],
)
def test_a_scale_that_is_refused(vpsorg: Any, box: Sandbox, file: Path, more: list[str], named: str) -> None:
    """All of the difference is deleted, or none of it."""
    web(box, 1, 2, 3)
    refused = vpsorg("fleet", "scale", "-f", str(file), "--yes", *more)

    assert (refused.code, named in refused.err, box.ledger) == (5, True, ())


def test_scale_to_nothing(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """A whole fleet goes only with a word of its own; foreign servers stay."""
    web(box, 1, 2, 3)
    box.world.add(name="web-1")
    done = vpsorg("fleet", "scale", "-f", str(file), "--to", "0", "--yes", "--allow-empty")

    assert (done.code, names(box)) == (0, ["web-1"])


def test_one_fleet_of_several_is_scaled(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """A file of several fleets needs the name of one."""
    file.write_text(FLEETS + WORKERS)
    for more in ([], ["--fleet", "db-{n}"]):
        unnamed = vpsorg("fleet", "scale", "-f", str(file), "--to", "1", "--yes", *more)
        assert (unnamed.code, "pass as --fleet one of web-{n:02}, worker-{n}" in unnamed.err) == (2, True)
        assert ("the file has no fleet 'db-{n}'" if more else "the file has 2 fleets") in unnamed.err
    done = vpsorg("fleet", "scale", "-f", str(file), "--to", "1", "--yes", "--fleet", "worker-{n}")

    assert (done.code, names(box)) == (0, ["worker-1"])


# -- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "text", "named"),
    [
        ("plan", "[[fleet]]\nname = 3\n", "name"),
        ("plan", FLEETS + "colour = 1\n", "colour"),
        ("plan", "fleet = ", "not TOML"),
        ("apply --yes", FLEETS + FLEETS.partition("\n\n")[2], "overlap"),
        ("apply --yes --prune --max-deletes many", FLEETS, "--max-deletes is a number"),
        ("apply --yes --prune --max-deletes=-1", FLEETS, "max_deletes"),
        ("apply --yes --protect web-1", FLEETS, "'web-1'"),
        ("apply --yes --timeout 0", FLEETS, "--timeout"),
        ("scale --yes", FLEETS, "--to"),
        ("scale --yes --to=-1", FLEETS, "--to"),
        ("scale --yes --to 99999", FLEETS, "--to"),
        ("diff --prune", FLEETS, "--prune"),
    ],
)
def test_what_is_not_understood_sends_nothing(
    vpsorg: Any, box: Sandbox, file: Path, line: str, text: str, named: str
) -> None:
    """Exit code 2, and the message names what is wrong."""
    file.write_text(text)
    command, *more = line.split()
    ended = vpsorg("fleet", command, "-f", str(file), *more)

    assert (ended.code, named in ended.err) == (2, True), ended.err
    assert box.ledger == ()


def test_a_file_that_is_not_there(vpsorg: Any, box: Sandbox, tmp_path: Path) -> None:
    """The message names the file."""
    for command in ("plan", "apply", "diff"):
        ended = vpsorg("fleet", command, "-f", str(tmp_path / "none.toml"))
        assert (ended.code, "none.toml" in ended.err) == (2, True)


# -- replacing --------------------------------------------------------------------------------------------------------


def test_servers_are_replaced(vpsorg: Any, box: Sandbox, file: Path) -> None:
    """The plan shows the pairs and the price of the surge; the question names them; a second call has nothing to do."""
    web(box, 1, 2, 3, os_id=3)

    shown = vpsorg("fleet", "plan", "-f", str(file), "--replace", "rolling", "--surge", "2", "--check")

    assert (shown.code, "~ replace web-01 [" in shown.out) == (10, True)
    assert "by web-04 (os_id 3 -> 5)" in shown.out
    assert "price of the surge: up to 0.030 per hour" in shown.out
    assert not box.ledger

    refused = vpsorg("fleet", "apply", "-f", str(file), "--replace", "rolling")
    assert refused.code == 2
    assert "web-01 by web-04" in refused.err

    done = vpsorg(
        "fleet", "apply", "-f", str(file), "--replace", "rolling", "--surge", "2", "--drain", "1s", "--yes"
    )

    assert done.code == 0, done.err
    assert names(box) == ["web-04", "web-05", "web-06"]
    again = vpsorg("fleet", "plan", "-f", str(file), "--replace", "rolling", "--check")
    assert again.code == 0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--surge", "2"), "only for replace='rolling'"),
        (("--replace", "rolling", "--surge", "x"), "--surge"),
        (("--replace", "rolling", "--surge", "0"), "both 0"),
        (("--replace", "rolling", "--replace-older-than", "soon"), "--replace-older-than"),
        (("--replace", "always"), "--replace"),
    ],
)
def test_options_of_replacing_that_do_not_fit(
    vpsorg: Any, box: Sandbox, file: Path, arguments: tuple[str, ...], word: str
) -> None:
    """Bad input exits with 2 before anything is sent."""
    result = vpsorg("fleet", "apply", "-f", str(file), "--yes", *arguments)

    assert (result.code, word in result.err) == (2, True), result.err
    assert not box.ledger
