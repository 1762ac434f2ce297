"""`--status`, `--location` and patterns as `--name`: which servers a command is for."""

import json
from typing import Any

import attrs
import pytest

from vpsorg_async.cli.filters import Filters
from vpsorg_async.records import Server, ServerStatus
from vpsorg_async.sandbox import Sandbox

NAMES = ("web-1", "web-2", "web-3", "db-1")
NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west")


@pytest.fixture
def mixed(box: Sandbox) -> Sandbox:
    """web-1 and db-1 are active at us-west, web-2 is stopped there, web-3 is active at us-east."""
    for name, location in zip(NAMES, ("us-west", "us-west", "us-east", "us-west"), strict=True):
        box.world.add(1, name=name, location=location)
    box.world.set_status(box.servers[1].id, "stopped")
    return box


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("--status active", ["web-1", "web-3", "db-1"]),
        ("--status active,stopped", [*NAMES]),
        ("--status stopped,starting", ["web-2"]),
        ("--location us-east", ["web-3"]),
        ("--location us-east,us-west --status stopped", ["web-2"]),
        ("--name web-*", ["web-1", "web-2", "web-3"]),
        ("--name WEB-1,db-?", ["web-1", "db-1"]),
        ("--name web-* --status active --location us-west", ["web-1"]),
        ("--name nobody", []),
    ],
)
def test_the_filters_of_a_list(vpsorg: Any, mixed: Sandbox, line: str, names: list[str]) -> None:
    """A list shows the servers that pass every filter; one request reads them."""
    ended = vpsorg("servers", "list", *line.split(), "--json")

    assert (ended.code, [server["name"] for server in json.loads(ended.out)]) == (0, names)
    assert len(mixed.requests) == 1


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("--status stopped", ["web-2"]),
        ("--status stopped,active --location us-east", ["web-3"]),
        ("web-* --status active", ["web-1", "web-3"]),
        ("--name web-* --location us-west", ["web-1", "web-2"]),
        ("--name web-{n} --count 9 --status active", ["web-1", "web-3"]),
        ("web-1 web-2 --status stopped", ["web-2"]),
        ("--name web-?", ["web-1", "web-2", "web-3"]),
    ],
)
def test_the_filters_of_a_delete(vpsorg: Any, mixed: Sandbox, line: str, names: list[str]) -> None:
    """Exactly the servers that pass are asked for, and deleted; all others stay."""
    asked = vpsorg("fleet", "delete", *line.split())
    assert asked.code == 2
    assert {name for name in NAMES if f"{name} (" in asked.err} == {*names}
    assert mixed.ledger == ()

    ended = vpsorg("fleet", "rm", *line.split(), "--yes")
    assert ended.code == 0
    assert {server.name for server in mixed.servers} == {*NAMES} - {*names}


def test_what_a_filter_leaves_out_is_noted(vpsorg: Any, mixed: Sandbox) -> None:
    """A server that was named and that a filter leaves out is no error, and not silent; nor is a misspelled word."""
    some = vpsorg("fleet", "stop", "web-1", "web-2", "999", "--status", "active", "--yes")
    none = vpsorg("fleet", "delete", "--status", "stoped", "--yes")

    assert (some.code, none.code) == (0, 0)
    assert "left out by --status or --location: 2 of 3 servers" in some.err
    assert "did you mean 'stopped'?" in none.err
    assert [change.operation for change in mixed.ledger] == ["stop"]


@pytest.mark.parametrize("command", ["stop", "reboot", "rolling-reboot"])
def test_what_a_filter_selects_is_asked(vpsorg: Any, mixed: Sandbox, command: str) -> None:
    """One server that a filter or a pattern has selected is asked for, unlike one that is named."""
    for line in (("--location", "us-east"), ("--name", "web-3*"), ("web-?", "--location", "us-east")):
        ended = vpsorg("fleet", command, *line)
        assert (ended.code, "web-3 (" in ended.err) == (2, True)
    assert mixed.ledger == ()
    assert vpsorg("fleet", command, "--name", "web-3").code == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("servers list --status ,", "a word is missing"),
        ("servers list --location us-west,", "a word is missing"),
        ("servers list --name web_[1]", "no pattern of names"),
        ("fleet delete --yes --name *", "would fit foreign servers"),
        ("fleet delete --yes", "--status or --location"),
        ("fleet stop --yes --name web-* --count 3", "neither with --file nor with --count"),
    ],
)
def test_filters_that_are_none(vpsorg: Any, mixed: Sandbox, line: str, said: str) -> None:
    """Nothing to filter by, and what would select everything to be deleted, is refused before anything is sent."""
    ended = vpsorg(*line.split())

    assert (ended.code, ended.out, mixed.requests) == (2, "", ())
    assert said in ended.err


def test_case_and_what_is_not_known() -> None:
    """Words are compared in any case; a server without a location is at none of those that are named."""
    server = Server(id=1, name="a", status=ServerStatus.ACTIVE)

    assert Filters(status="ACTIVE , stopped").fits(server)
    assert not Filters(location="us-west").fits(server)
    assert Filters(location="us west").fits(attrs.evolve(server, location="US West"))
    assert Filters(status="active,upgrading").unknown()[0].startswith("'upgrading' is not a known status")
