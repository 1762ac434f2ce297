"""`vpsorg fleet` against a sandbox."""

import itertools
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.cli.exits import Exit
from vpsorg_async.cli.prices import price
from vpsorg_async.errors import (
    AuthenticationError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    WaitTimeoutError,
)
from vpsorg_async.fleet.planning import plan_fleet
from vpsorg_async.records import PlanOffer
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults
from vpsorg_async.specs import ServerSpec

NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west")
WEB = ("--name", "web-{n:02}", "--count", "3")


@pytest.fixture
def fleet(vpsorg: Any, box: Sandbox) -> Callable[..., Any]:
    """`vpsorg fleet` with --json, and what its report says."""

    def run(*arguments: str) -> Any:
        ended = vpsorg("fleet", *arguments, "--json", "-q")
        assert ended.err == ""
        return json.loads(ended.out)

    return run


def test_a_fleet_from_flags(fleet: Any, box: Sandbox) -> None:
    """Created by a pattern, found again by it, and deleted; each report has one row for each server, in order."""
    made = fleet("create", *WEB, *NEW, "--yes")
    assert [(row["key"], row["how"], row["status"]) for row in made["outcomes"]] == [
        (f"web-0{number}", "created", "active") for number in (1, 2, 3)
    ]
    ids = [row["id"] for row in made["outcomes"]]
    for command, status in (("stop", "stopped"), ("start", "active"), ("reboot", "active")):
        report = fleet(command, *WEB, *(() if command == "start" else ("--yes",)))
        assert [(row["key"], row["status"]) for row in report["outcomes"]] == [(key, status) for key in ids]
    rolled = fleet("rolling-reboot", *map(str, ids), "--max-unavailable", "50%", "--yes")
    assert (rolled["operation"], rolled["succeeded"]) == ("rolling reboot", 3)
    assert fleet("delete", "--name", "web-{n:02}", "--count", "5", "--yes")["succeeded"] == 3
    assert box.servers == ()


def test_a_fleet_from_a_file(vpsorg: Any, fleet: Any, box: Sandbox, tmp_path: Path) -> None:
    """`ensure` completes what is missing; its dry run prints the plan and its price, and changes nothing."""
    file = tmp_path / "fleet.toml"
    file.write_text(
        '[defaults]\nplan_id = 1\nos_id = 5\nlocation = "us-west"\n'
        '[[servers]]\nname = "a"\n[[servers]]\nname = "b"\nplan_id = 2\n'
    )
    fleet("create", "--name", "a", *NEW, "--yes")
    before = len(box.ledger)

    planned = vpsorg("fleet", "ensure", "--file", str(file), "--dry-run")
    rows = fleet("ensure", "--file", str(file), "--dry-run")
    assert (planned.code, planned.err) == (0, "")
    assert "1 to create, 1 to keep" in planned.out
    assert "20.00 per month" in planned.out
    assert [(row["name"], row["step"]) for row in rows["steps"]] == [("a", "keep"), ("b", "create")]
    assert (rows["price_hourly"], rows["price_monthly"]) == ("0.03", "20.0")
    assert len(box.ledger) == before

    asked = vpsorg("fleet", "ensure", "--file", str(file))
    assert (asked.code, "Create 1 of 2 servers (b)? It costs 0.030 per hour" in asked.err) == (2, True)
    first = fleet("ensure", "--file", str(file), "--yes")
    again = fleet("ensure", "--file", str(file))
    assert [row["how"] for row in first["outcomes"]] == ["adopted", "created"]
    assert [row["how"] for row in again["outcomes"]] == ["adopted", "adopted"]
    assert fleet("delete", "--file", str(file), "--yes")["succeeded"] == 2


def test_the_table_names_servers_and_groups_reasons(vpsorg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of several failed: exit code 6, a line for each server, and each reason once with its servers."""
    with Sandbox(speed=6000, credit=1, token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        ended = vpsorg("fleet", "create", "--name", "web-{n}", "--count", "60", *NEW, "--yes")
        nothing = vpsorg("fleet", "create", "--name", "db-{n}", "--count", "2", *NEW, "--yes")

    assert (ended.code, nothing.code) == (6, 5)
    rows = [line.split() for line in ended.out.splitlines() if line.startswith("web-") and ":" not in line]
    assert len(rows) == 60
    assert sum(row[1] == "created" for row in rows) == 1
    skipped = [line for line in ended.out.splitlines() if "not sent, because" in line]
    assert len(skipped) == 1
    assert ended.err.startswith("create: 1 succeeded, ")
    assert ended.err.count("\n") == 1


def test_a_taken_name_is_refused(vpsorg: Any, box: Sandbox) -> None:
    """A name that exists is exit code 2, and nothing is created."""
    box.world.add(1, name="web-01")

    for how in ("--yes", "--dry-run", "-q"):
        ended = vpsorg("fleet", "create", *WEB, *NEW, how)

        assert (ended.code, ended.out) == (2, "")
        assert "these names exist already: web-01" in ended.err
    assert len(box.servers) == 1


@pytest.mark.parametrize("command", ["start", "stop", "reboot", "rolling-reboot"])
def test_a_missing_name_is_refused(vpsorg: Any, box: Sandbox, command: str) -> None:
    """A name that is not in the account is exit code 1, and nothing is sent to the others."""
    box.world.add(1)
    yes = () if command == "start" else ("--yes",)

    ended = vpsorg("fleet", command, "12345", "--name", "nobody", *yes)

    assert (ended.code, ended.out) == (1, "")
    assert "no server is named nobody; nothing was sent" in ended.err
    assert box.ledger == ()


def test_a_rolling_reboot_of_several_is_confirmed(vpsorg: Any, box: Sandbox) -> None:
    """As the reboot of several at once: without a terminal to ask on, nothing is sent. One alone needs no answer."""
    box.world.add(2)

    several = vpsorg("fleet", "rolling-reboot", "12345", "12346", "--max-unavailable", "50%")
    one = vpsorg("fleet", "rolling-reboot", "12345", "-q")

    assert (several.code, one.code, len(box.ledger)) == (2, 0, 1)
    assert "Reboot 2 servers, at most 50% unavailable at a time" in several.err


def test_a_rolling_reboot_of_a_fleet_that_is_not_whole(vpsorg: Any, box: Sandbox) -> None:
    """16 servers of which 6 are down: nothing is rebooted, and the command says why."""
    box.world.add(10, name="web")
    box.world.add(6, name="off", status="stopped")
    ids = [str(server.id) for server in box.servers]

    ended = vpsorg("fleet", "rolling-reboot", *ids, "--max-unavailable", "25%", "--yes")

    assert (ended.code, box.ledger) == (6, ())
    words = " ".join(ended.out.split())
    assert (
        "not started: 6 of 16 servers were unavailable at the beginning, and at most 4 may be; bring them back, or "
        "leave them out"
    ) in words
    assert "it is stopped, not active" in words
    assert "rolling reboot: 0 succeeded, 0 failed, 16 skipped" in ended.err


def test_the_pace_of_a_rolling_reboot(vpsorg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All canaries go alone; a check that does not pass is tried so often, after the warm-up."""
    with Sandbox(token="vps_tests", speed=100, boot=0.0) as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        box.world.add(3)
        ids = [str(server.id) for server in box.servers]
        rolled = vpsorg(
            "fleet", "rolling-reboot", *ids, "--yes", "--max-unavailable", "3", "--canary", "3", "-q"
        )
        check = ("--ready", "tcp:1", "--warm-up", "0.1", "--health-retries", "1")
        failed = vpsorg("fleet", "rolling-reboot", *ids, "--yes", *check)

    assert rolled.code == 0
    times = [change.at for change in box.ledger]
    assert all(later >= earlier + 0.1 for earlier, later in itertools.pairwise(times[:3]))
    assert len(times) == 4
    assert failed.code == 6
    assert "health check did not pass in 1 try," in " ".join(failed.out.split())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--warm-up 5s", "--warm-up goes with --ready"),
        ("--health-retries 2", "--health-retries goes with --ready"),
        ("--ready tcp:1 --health-retries 2 --ready-timeout 5", "not both"),
        ("--ready tcp:1 --health-retries 0", "health_retries"),
        ("--canary -1", "canary"),
        ("--max-failures 0", "max_failures"),
        ("--resume --on temporal --id x", "--resume can't be given"),
    ],
)
def test_paces_that_are_none(vpsorg: Any, box: Sandbox, words: str, says: str) -> None:
    """Refused before the account is read."""
    ended = vpsorg("fleet", "rolling-reboot", "12345", *words.split())

    assert (ended.code, ended.out, box.requests) == (2, "", ())
    assert says in ended.err


def test_a_stop_that_is_followed_by_a_hard_stop(vpsorg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """--then switches off what did not stop in time; the documented dialect refuses it before anything is sent."""
    with Sandbox(token="vps_tests", dialect="provider", durations=Durations(stopping=math.inf)) as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        box.world.add(2)
        ids = [str(server.id) for server in box.servers]
        command = ("fleet", "stop", *ids, "--then", "hard-stop", "--after", "0.5")
        asked = vpsorg(*command, "--dialect", "provider")
        ended = vpsorg(*command, "--dialect", "provider", "--yes")

    assert (asked.code, "and switch off what runs" in asked.err) == (2, True)
    assert (ended.code, [change.operation for change in box.ledger]) == (0, ["stop"] * 2 + ["hard_stop"] * 2)
    assert "stop: 2 succeeded, 0 failed" in ended.err


def test_a_hard_stop_in_the_documented_dialect(vpsorg: Any, box: Sandbox) -> None:
    box.world.add(1)
    ended = vpsorg("fleet", "stop", "12345", "--then", "hard-stop", "--yes")

    assert (ended.code, box.ledger) == (2, ())
    assert "provider" in ended.err


def test_servers_are_stopped_before_they_are_deleted(vpsorg: Any, box: Sandbox) -> None:
    box.world.add(2)
    ended = vpsorg("fleet", "delete", "12345", "12346", "--stop-first", "--yes")

    assert (ended.code, sorted(change.operation for change in box.ledger)) == (
        0,
        ["delete"] * 2 + ["stop"] * 2,
    )


def test_waits_of_a_fleet(vpsorg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting it ends at the acknowledgement; a wait that times out is 3, a lost reboot 4."""
    with Sandbox(token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        box.world.add(3)
        box.faults.add(Rule("reboot", faults.DropAfter()))
        quick = vpsorg("fleet", "stop", "12345", "--no-wait", "--json", "-q")
        late = vpsorg("fleet", "stop", "12346", "--timeout", "0.6")
        lost = vpsorg("fleet", "reboot", "12347")

    assert (quick.code, json.loads(quick.out)["succeeded"]) == (0, 1)
    assert (late.code, "12346 is not stopped" in late.out) == (3, True)
    assert (lost.code, "outcome is unknown" in lost.out) == (4, True)


@pytest.mark.parametrize(
    ("errors", "servers", "code"),
    [
        ([], 3, 0),
        ([NotFoundError()], 1, 1),
        ([NotFoundError()], 2, 6),
        ([NotFoundError(), NotFoundError()], 2, 6),
        ([WaitTimeoutError()], 3, 3),
        ([WaitTimeoutError(), NotFoundError()], 3, 6),
        ([WaitTimeoutError(), OutcomeUnknownError()], 3, 4),
        ([PaymentRequiredError()], 3, 6),
        ([PaymentRequiredError(), NotFoundError()], 2, 5),
        ([AuthenticationError()], 1, 5),
    ],
)
def test_the_exit_code_of_several(errors: list[Exception], servers: int, code: int) -> None:
    """What is unknown goes first; then whether it was time alone that ran out; then whether any worked."""
    assert Exit.of_all(errors, servers) == code


def test_all_of_several_failed(vpsorg: Any, box: Sandbox) -> None:
    """All that failed for a reason without a code of its own are exit code 6 too; of a lone one it is that reason's."""
    both, one = vpsorg("fleet", "reboot", "1", "2", "--yes"), vpsorg("fleet", "reboot", "1")

    assert (both.code, one.code) == (6, 1)
    assert "0 succeeded, 2 failed" in both.err


def test_prices() -> None:
    """Exact sums, or a word that they are not known."""
    offers = [
        PlanOffer(id=1, price_hourly=Decimal("0.007"), price_monthly=Decimal("5.00")),
        PlanOffer(id="x"),
    ]
    specs = [ServerSpec(name=f"a{n}", plan_id=1, os_id=5, location="us-west") for n in range(3)]
    other = ServerSpec(name="b", plan_id="x", os_id=5, location="us-west")

    assert price(plan_fleet(specs, ()).priced(offers)) == (
        "It costs 0.021 per hour, 15.00 per month, in a currency that the API does not document."
    )
    assert price(plan_fleet([*specs, other], ()).priced(offers)) == "The price is unknown."
    assert price(plan_fleet(specs, ())) == "The price is unknown."
