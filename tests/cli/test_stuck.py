"""`--on-stuck` of the fleet commands, and alternatives in their files, against a sandbox."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.sandbox import Rule, Sandbox, faults

FLEET = """\
[[fleet]]
name = "web-{n:02}"
count = 6
plan_id = 99
os_id = 5
location = "us-west"

[[fleet.alternatives]]
plan_id = 2
when = "unknown plan"
"""
MANY = (
    "--name",
    "web-{n}",
    "--count",
    "6",
    "--plan-id",
    "1",
    "--os-id",
    "5",
    "--location",
    "us-west",
    "--yes",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return path


def changes(box: Sandbox) -> Counter[str]:
    return Counter(change.operation for change in box.ledger)


@pytest.mark.parametrize("command", ["create", "ensure"])
def test_a_stuck_server_is_replaced(vpsorg: Any, box: Sandbox, command: str) -> None:
    """The report names it, and the command succeeds."""
    box.faults.add(Rule("create", faults.Suspend(), nth=2))
    ended = vpsorg("fleet", command, *MANY, "--on-stuck", "replace", "--max-unhealthy", "20%", "--json")

    (deleted,) = [change.server_id for change in box.ledger if change.operation == "delete"]
    document = json.loads(ended.out)
    assert ended.code == 0
    assert changes(box) == {"create": 7, "delete": 1}
    assert document["replaced"] == [deleted]
    assert "1 replaced" in ended.err


@pytest.mark.parametrize("command", ["apply", "scale"])
def test_an_alternative_in_a_file(vpsorg: Any, box: Sandbox, file: Path, command: str) -> None:
    """It is taken, and said with its reason; a second apply has nothing to do."""
    box.faults.add(Rule("create", faults.Suspend(), nth=8))
    to = ("--to", "6") if command == "scale" else ()
    ended = vpsorg("fleet", command, "-f", str(file), *to, "--yes", "--on-stuck", "replace")

    assert ended.code == 0
    assert {server.plan.id for server in box.servers} == {2}
    assert "plan 2 in us-west, because" in ended.out
    assert "was stuck and is deleted" in ended.out
    assert vpsorg("fleet", "plan", "-f", str(file), "--check").code == 0


def test_the_breaker_is_said(vpsorg: Any, box: Sandbox) -> None:
    """The command fails, and deletes nothing."""
    box.faults.add(Rule("create", faults.Suspend(), every=2))
    ended = vpsorg("fleet", "create", *MANY, "--on-stuck", "replace", "--max-replacements", "2")

    assert ended.code != 0
    assert changes(box) == {"create": 6}
    assert "not replaced: 2 of 6 servers are stuck at the same time" in ended.out
    assert "no stuck server is replaced any more" in ended.err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--max-replacements", "2"), "--max-replacements: only with --on-stuck replace"),
        (
            ("--on-stuck", "replace", "--max-replacements", "0"),
            "--max-replacements is a number of servers from 1",
        ),
        (("--on-stuck", "replace", "--max-unhealthy", "200%"), "--max-unhealthy is a share"),
        (("--on-stuck", "replace", "--max-unhealthy", "many"), "--max-unhealthy is a share such as 20%"),
        (("--on-stuck", "replace", "--no-wait"), "does not go with --no-wait"),
        (
            ("--on-stuck", "replace", "--on", "temporal", "--id", "x"),
            "--on-stuck can't be given with --on temporal",
        ),
    ],
)
def test_bad_options(vpsorg: Any, box: Sandbox, options: tuple[str, ...], problem: str) -> None:
    """Exit code 2, a sentence in the words of the command, and nothing is sent."""
    ended = vpsorg("fleet", "create", *MANY, *options)

    assert ended.code == 2
    assert problem in " ".join(ended.err.split())
    assert box.requests == ()
