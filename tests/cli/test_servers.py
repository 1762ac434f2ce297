"""`vpsorg servers` and `vpsorg wait` against a sandbox."""

import json
from typing import Any

import pytest

from vpsorg_async.sandbox import Rule, Sandbox, faults

NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west")


def test_list_and_get(vpsorg: Any, box: Sandbox) -> None:
    """A list is a table with a line for each server; one server is shown field by field."""
    first, second = box.world.add(2)
    box.world.set_status(second.id, "up\x1bgrading")

    listed = vpsorg("servers", "list")
    filtered = vpsorg("servers", "list", "--status", "active", "--json")
    got = vpsorg("servers", "get", str(first.id))

    head, *rows = listed.out.splitlines()
    assert head.split() == ["ID", "NAME", "STATUS", "IP", "LOCATION", "PLAN", "OS"]
    assert [row.split()[:3] for row in rows] == [
        [str(first.id), first.name, "active"],
        [str(second.id), second.name, "up�grading"],
    ]
    assert [server["id"] for server in json.loads(filtered.out)] == [first.id]
    assert dict(line.split(maxsplit=1) for line in got.out.splitlines())["status"] == "active"
    assert (listed.code, filtered.code, got.code) == (0, 0, 0)


def test_a_filter_that_nobody_knows(vpsorg: Any, box: Sandbox) -> None:
    """A status word that is not known is sent all the same; that nothing was found is explained on stderr."""
    box.world.add(1)

    known, unknown = (
        vpsorg("servers", "list", "--status", "stopped"),
        vpsorg("servers", "list", "--status", "nonsense"),
    )
    quiet = vpsorg("servers", "list", "--status", "nonsense", "--quiet")

    assert (known.code, unknown.code, quiet.code) == (0, 0, 0)
    assert (known.err, quiet.err, unknown.err.count("\n")) == ("", "", 1)
    assert "'nonsense' is not a known status; known are active" in unknown.err
    assert "status=nonsense" in box.requests[-1].query


def test_the_life_of_a_server(vpsorg: Any, box: Sandbox) -> None:
    """Created, changed, stopped, started, rebooted, deleted: each command prints what became of the server."""
    made = json.loads(vpsorg("servers", "create", "web-1", *NEW, "--wait", "--yes", "--json").out)
    key = str(made["id"])
    assert (made["name"], made["status"]) == ("web-1", "active")
    assert "password" not in made

    updated = json.loads(
        vpsorg("servers", "update", key, "--hostname", "a.example.com", "--backups", "--json").out
    )
    assert (updated["hostname"], updated["backups_enabled"]) == ("a.example.com", True)
    flags = ("--name", "web-2", "--hostname", "b.example.com", "--no-backups")
    replaced = json.loads(vpsorg("servers", "replace", key, *flags, "--json").out)
    assert (replaced["name"], replaced["hostname"], replaced["backups_enabled"]) == (
        "web-2",
        "b.example.com",
        False,
    )
    statuses = [
        json.loads(vpsorg("servers", command, key, "--wait", "--json").out)["status"]
        for command in ("stop", "start", "reboot")
    ]
    assert statuses == ["stopped", "active", "active"]
    taken = json.loads(vpsorg("servers", "stop", key, "--json").out)
    assert (taken["server_id"], taken["server_status"]) == (made["id"], "stopping")
    gone = json.loads(vpsorg("servers", "delete", key, "--wait", "--yes", "--json").out)
    assert (gone["id"], gone["status"]) == (made["id"], "gone")
    assert box.servers == ()
    changes = [(change.operation, change.server_id) for change in box.ledger]
    assert {server_id for _, server_id in changes} == {made["id"]}


def test_what_fingers_type(vpsorg: Any, box: Sandbox) -> None:
    """The commands and options of other tools: ls, rm, describe, --name, --plan, --os."""
    made = vpsorg(
        "servers", "create", "--name", "web-1", "--plan", "1", "--os", "5", *NEW[4:], "--yes", "--wait"
    )
    fleet = vpsorg("fleet", "create", "--name", "db-1", "--plan", "1", "--os", "5", *NEW[4:], "--yes")
    listed, shown = vpsorg("servers", "ls", "--json"), vpsorg("servers", "describe", "web-1", "--json")
    one, all_ = vpsorg("servers", "rm", "web-1", "--yes", "--wait"), vpsorg("fleet", "rm", "db-1", "--yes")

    assert {ended.code for ended in (made, fleet, listed, shown, one, all_)} == {0}
    assert [server["name"] for server in json.loads(listed.out)] == ["web-1", "db-1"]
    assert json.loads(shown.out)["name"] == "web-1"
    assert box.servers == ()
    assert vpsorg("servers", "create", "web-1", "--name", "web-2", *NEW, "--yes").code == 2
    assert box.servers == ()


@pytest.mark.parametrize("line", ["servers create web-1", "servers delete 12345", "fleet delete 12345"])
def test_what_cannot_be_undone_is_asked(vpsorg: Any, box: Sandbox, line: str) -> None:
    """Without a terminal to ask on, --yes is needed: exit code 2, the names and the price in one line, no change."""
    box.world.add(1)
    before = len(box.ledger)

    ended = vpsorg(*line.split(), *(NEW if "create" in line else ()))

    assert (ended.code, ended.out) == (2, "")
    assert "--yes" in ended.err
    assert ("10.00 per month" if "create" in line else "12345") in ended.err
    assert ended.err.count("\n") == 1
    assert len(box.ledger) == before


def test_waits(vpsorg: Any, box: Sandbox) -> None:
    """Several waits end together; each is a line, and a row of the JSON, in the order asked."""
    first, second = box.world.add(2)
    box.world.set_status(second.id, "starting", seconds=1.0)

    ended = vpsorg("wait", str(second.id), str(first.id), "--for", "active", "--timeout", "30", "--json")

    assert ended.code == 0
    assert [(row["id"], row["reached"], row["server"]["status"]) for row in json.loads(ended.out)] == [
        (second.id, True, "active"),
        (first.id, True, "active"),
    ]


def test_a_wait_that_times_out_is_exit_code_3(vpsorg: Any, box: Sandbox) -> None:
    """One of two did not get there in time: 3, a line that says so, and the other one's result."""
    first, second = box.world.add(2)
    box.world.set_status(second.id, "starting", seconds=1e9)

    ended = vpsorg("wait", str(first.id), str(second.id), "--timeout", "0.7")
    assert ended.code == 3
    assert ended.out.splitlines()[1].split()[:3] == [str(first.id), first.name, "active"]
    assert ended.out.splitlines()[2].split()[:3] == [str(second.id), second.name, "starting"]
    assert f"server {second.id} is not active" in ended.out.splitlines()[3]


def test_a_server_that_is_late_is_printed_all_the_same(vpsorg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A create whose wait timed out is exit code 3, and what was made is printed: it costs money."""
    with Sandbox(token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        new = (*NEW, "--base-url", box.url, "--yes", "-q", "--json")
        ended = vpsorg("servers", "create", "web-1", *new, "--wait", "--timeout", "0.5")

    assert ended.code == 3
    assert (json.loads(ended.out)["name"], json.loads(ended.out)["status"]) == ("web-1", "provisioning")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("wait", "SERVER..."),
        ("wait 1 --for runing", "'runing' is not a known status; known are active"),
        ("wait 1 --timeout -5", "-5"),
        ("wait 1 --timeout nan", "nan"),
        ("wait 1 --timeout soon", "soon"),
        ("wait .. --for active", "'..' is no server"),
        ("wait 0b0e7a52-2a5c-4a35-9f3c-0a8f9a1b2c3d", "ids are numbers here"),
        ("servers get -1", "-1"),
        ("servers update 1", "--hostname"),
        ("servers update 1 --name web_1", "letters, digits and hyphens"),
        ("servers replace 1 --name a --hostname b", "--backups"),
        ("servers create web_1 --plan-id 1 --os-id 5 --location us-west", "letters, digits and hyphens"),
        ("servers create web-1 --plan-id 1 --os-id 5", "--location"),
        ("servers reboot 1 --wait --timeout -1", "-1"),
        ("watch --interval 0", "interval"),
        ("fleet start", "--name"),
        ("fleet start 1 1 x --name web-{n} --file x.toml", "not both"),
        ("fleet start --count 3", "--name"),
        ("fleet rolling-reboot 1 --max-unavailable many", "many"),
        ("fleet rolling-reboot 1 --port 0", "port"),
        ("ssh-keys list", "documented API has no list"),
        ("locations", "documented API has no list"),
        ("os", "documented API has no list"),
    ],
)
def test_bad_arguments(vpsorg: Any, box: Sandbox, line: str, named: str) -> None:
    """Bad input is one clear line and exit code 2, and changes nothing."""
    ended = vpsorg(*line.split())

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("vpsorg: ")
    assert named in ended.err
    assert ended.err.count("\n") == 1
    assert box.ledger == ()


@pytest.mark.parametrize("line", ["servers list", "wait 12345", "fleet create --name x", "watch", "account"])
def test_a_token_that_is_refused_is_exit_code_5(
    vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """401 is one line and exit code 5; the token is not in it."""
    monkeypatch.setenv("VPSORG_API_TOKEN", "vps_of_another")

    ended = vpsorg(*line.split(), *((*NEW, "--yes") if "create" in line else ()))

    assert ended.code == 5
    assert "401" in ended.err + ended.out
    assert "vps_of_another" not in ended.err + ended.out


def test_no_credit_is_exit_code_5(vpsorg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """402 is exit code 5."""
    with Sandbox(credit=0, token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        ended = vpsorg("servers", "create", "web-1", *NEW, "--yes", "--base-url", box.url)

    assert (ended.code, ended.out) == (5, "")
    assert "402" in ended.err


def test_an_unknown_outcome_is_exit_code_4(vpsorg: Any, box: Sandbox) -> None:
    """A create whose answer was lost is exit code 4: it may exist, and is not sent again."""
    box.faults.add(Rule("create", faults.DropAfter()))

    ended = vpsorg("servers", "create", "web-1", *NEW, "--yes")

    assert (ended.code, ended.out) == (4, "")
    assert "check the account before sending it again" in ended.err
    assert len(box.servers) == 1


@pytest.mark.parametrize("line", ["servers get 999", "servers start 12345"])
def test_other_refusals_are_exit_code_1(vpsorg: Any, box: Sandbox, line: str) -> None:
    """A server that is not there, or in another state, is exit code 1."""
    box.world.add(1)

    ended = vpsorg(*line.split())

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
