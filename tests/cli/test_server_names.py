"""Servers are named by id, by name or by a pattern wherever a command takes one."""

import json
from typing import Any

import pytest

from vpsorg_async.cli.selecting import ask
from vpsorg_async.cli.server_names import Kind, NoSuchServerError, check_narrow, find, fits, read
from vpsorg_async.dialects.provider import Provider
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.listing import Listing
from vpsorg_async.records import Server, ServerStatus
from vpsorg_async.sandbox import Rule, Sandbox, faults

NEVER = "0b0e7a52-2a5c-4a35-9f3c-0a8f9a1b2c3d"
# each of these takes servers; all of them see what is written in the same way
COMMANDS = [
    "servers get",
    "servers start",
    "servers stop --yes",
    "servers reboot --yes",
    "servers delete --yes",
    "servers update --hostname a.example.org",
    "servers replace --name a --hostname a.example.org --no-backups",
    "wait",
    "watch",
    "fleet start",
    "fleet stop --yes",
    "fleet reboot --yes",
    "fleet delete --yes",
    "fleet rolling-reboot --yes",
]


def filled(box: Sandbox, *names: str) -> list[str]:
    """Add servers of these names, and return their ids as they are typed."""
    return [str(box.world.add(1, name=name)[0].id) for name in names]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Any:
    with Sandbox(speed=6000, dialect="provider", token="vps_tests") as box:
        for name, value in (
            ("VPSORG_API_TOKEN", box.token),
            ("VPSORG_BASE_URL", box.url),
            ("VPSORG_DIALECT", "provider"),
        ):
            monkeypatch.setenv(name, value)
        yield box


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1", Kind.ID, 1),
        ("12345", Kind.ID, 12345),
        (NEVER, Kind.ID, NEVER),
        (NEVER.upper(), Kind.ID, NEVER.upper()),
        ("id:srv_1", Kind.ID, "srv_1"),
        ("id:12", Kind.ID, 12),
        ("web-01", Kind.NAME, "web-01"),
        ("12a", Kind.NAME, "12a"),
        ("web01.example.com.", Kind.NAME, "web01.example.com."),
        ("name:1234", Kind.NAME, "1234"),
        (f"name:{NEVER}", Kind.NAME, NEVER),
        ("name:web *", Kind.NAME, "web *"),
        ("web-*", Kind.PATTERN, "web-*"),
        ("web-0?", Kind.PATTERN, "web-0?"),
        ("*", Kind.PATTERN, "*"),
    ],
)
def test_what_is_written(text: str, kind: Kind, value: object) -> None:
    """Digits and UUIDs are ids, all else is a name; a prefix says which it is."""
    assert (read(text).kind, read(text).value) == (kind, value)


NO_SERVERS = (
    *("", " ", ".", "..", "../../x", "a/b", "a b", "web_1/..", "-1", "-", "007", "0", "a\n", "a\x1b"),
    *(
        "id:",
        "id:..",
        "id:a/b",
        "id:-1",
        "name:",
        "name: ",
        "name:a\n",
        "other:1",
        "web-[0-9]*",
        "%2e%2e",
        "?x=1",
    ),
    *("\N{FULLWIDTH DIGIT ONE}", "w\xe9b"),
)


@pytest.mark.parametrize("text", NO_SERVERS)
def test_what_is_no_server(text: str) -> None:
    """Anything else is refused: an address or an option never becomes part of a path."""
    with pytest.raises(ConfigurationError):
        read(text)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("written", "code", "said"),
    [
        ("../../x", 2, "'../../x' is no server"),
        ("007", 2, "write name:007"),
        ("nobody", 1, "no server is named nobody"),
        ("wbe-1", 1, "did you mean 'web-1'?"),
        ("twin", 2, "2 servers are named twin: {0} (active, "),
    ],
)
def test_every_command_sees_names_alike(
    vpsorg: Any, box: Sandbox, command: str, written: str, code: int, said: str
) -> None:
    """Neither an id nor a name is 2, no such name 1, an ambiguous one 2, with both shown. Nothing is changed."""
    twins = filled(box, "twin", "Twin", "web-1")

    ended = vpsorg(*command.split(), written)

    assert (ended.code, ended.out) == (code, "")
    assert said.format(*twins) in ended.err
    assert code == 1 or "twin" not in written or all(twin in ended.err for twin in twins[:2])
    assert ended.err.count("\n") == 1
    assert box.ledger == ()
    assert len(box.requests) == (0 if "/" in written or "007" in written else 1)


ONE_ALONE = ("servers update", "servers replace")


# watch waits for servers that will fit
@pytest.mark.parametrize(
    "command", [one for one in COMMANDS if one != "watch" and not one.startswith(ONE_ALONE)]
)
def test_a_pattern_that_fits_nothing(vpsorg: Any, box: Sandbox, command: str) -> None:
    """It is a note and no error, because a script may well find nothing to do."""
    filled(box, "web-1")

    ended = vpsorg(*command.split(), "db-*")

    assert (ended.code, box.ledger) == (0, ())
    assert "no server's name fits 'db-*'" in ended.err


def test_one_server_by_name(vpsorg: Any, box: Sandbox) -> None:
    """A name is a list request, then the same as the id; case does not matter."""
    first, second = filled(box, "web-1", "web-2")

    shown = vpsorg("servers", "get", "Web-1", "--json")
    assert (shown.code, json.loads(shown.out)["id"]) == (0, int(first))
    assert [request.path for request in box.requests] == ["/api/v1/servers/", f"/api/v1/servers/{first}/"]
    updated = vpsorg("servers", "update", "web-2", "--hostname", "a.example.org", "--json")
    assert (json.loads(updated.out)["id"], json.loads(updated.out)["hostname"]) == (
        int(second),
        "a.example.org",
    )
    stopped = vpsorg("servers", "stop", "web-1", "--wait", "--json")
    assert (json.loads(stopped.out)["id"], json.loads(stopped.out)["status"]) == (int(first), "stopped")
    deleted = vpsorg("servers", "delete", "web-1", "--yes", "--wait")
    assert (deleted.code, [server.name for server in box.servers]) == (0, ["web-2"])
    assert {change.server_id for change in box.ledger} == {int(first), int(second)}


def test_several_at_once(vpsorg: Any, box: Sandbox) -> None:
    """Several servers are a fleet, with one outcome for each; names cost one list together, and each counts once."""
    ids = filled(box, "web-1", "web-2", "web-3", "db-1")

    ended = vpsorg("servers", "stop", "web-1", "web-2", ids[0], "db-?", "--yes", "--wait", "--json", "-q")
    lists = [request for request in box.requests[: len(ids)] if request.path == "/api/v1/servers/"]

    assert ended.code == 0
    outcomes = json.loads(ended.out)["outcomes"]
    assert [(row["key"], row["status"]) for row in outcomes] == [
        (int(key), "stopped") for key in (ids[0], ids[1], ids[3])
    ]
    assert len(lists) == 1
    assert {change.server_id for change in box.ledger} == {int(key) for key in (ids[0], ids[1], ids[3])}


def test_several_are_shown(vpsorg: Any, box: Sandbox) -> None:
    """Several, or a pattern, are a JSON list, whatever it finds; one that is not there does not hide the others."""
    ids = filled(box, "web-1", "web-2")

    pattern, some = (
        vpsorg("servers", "get", "web-1*", "--json"),
        vpsorg("servers", "get", ids[1], "999", "--json"),
    )
    text = vpsorg("servers", "get", *ids)

    assert [server["id"] for server in json.loads(pattern.out)] == [int(ids[0])]
    assert (some.code, [server["id"] for server in json.loads(some.out)]) == (6, [int(ids[1])])
    assert "404" in some.err
    assert text.out.split("\n\n")[1].splitlines()[1].split() == ["name", "web-2"]


def test_a_wait_by_name(vpsorg: Any, box: Sandbox) -> None:
    """`wait` takes names and patterns, and ends as it does for ids."""
    ids = filled(box, "web-1", "web-2")

    ended = vpsorg("wait", "web-?", "--timeout", "5", "--json")

    assert [(row["id"], row["reached"]) for row in json.loads(ended.out)] == [(int(key), True) for key in ids]


def test_a_wait_for_what_was_created_just_now(vpsorg: Any, box: Sandbox) -> None:
    """A list that lags does not show a server that this machine has created: the journal knows its id."""
    made = vpsorg(
        "servers", "create", "web-1", "--plan", "1", "--os", "5", "--location", "us-west", "--yes", "--json"
    )
    key = json.loads(made.out)["id"]
    box.world.hide(key, 1e9, by_id=False)

    ended = vpsorg("wait", "web-1", "--json")
    unknown, without = vpsorg("wait", "web-1", "web-2"), vpsorg("wait", "web-1", "--no-journal")

    assert (ended.code, [row["id"] for row in json.loads(ended.out)]) == (0, [key])
    assert f"not in the list yet: web-1 ({key})" in ended.err
    assert (unknown.code, without.code) == (1, 1)
    vpsorg("servers", "delete", str(key), "--yes", "--wait")
    assert vpsorg("wait", "web-1").code == 1


def test_deletes_by_pattern_are_asked(vpsorg: Any, box: Sandbox, terminal: Any) -> None:
    """The question names every server that a name or a pattern stands for, with its id, not only some of them."""
    ids = filled(box, *(f"web-{number}" for number in range(30)), "db-1")

    line = vpsorg("servers", "delete", "web-*")
    at = terminal("servers", "delete", "web-*")
    at.until("permanently: ")
    at.until("[y/N] ")
    at.type("n\n")

    assert (line.code, at.ended(), box.ledger) == (2, 1, ())
    for shown in (line.err, at.seen.replace("\r\n", "")):
        assert "Delete 30 servers permanently: " in shown
        assert all(f"web-{number} ({ids[number]})" in shown for number in range(30))
        assert f"({ids[30]})" not in shown


def test_a_pattern_of_one_is_asked_as_well(vpsorg: Any, box: Sandbox) -> None:
    """What a pattern stands for is not known to its user, so a reboot or stop by pattern is asked for."""
    filled(box, "web-1")

    for command in ("servers stop", "servers reboot", "fleet stop", "fleet reboot", "fleet rolling-reboot"):
        ended = vpsorg(*command.split(), "web-*")
        assert (ended.code, "web-1 (" in ended.err) == (2, True)
    assert box.ledger == ()


@pytest.mark.parametrize("command", ["servers delete", "fleet delete"])
def test_a_delete_of_everything_by_pattern_is_refused(vpsorg: Any, box: Sandbox, command: str) -> None:
    """A pattern that fits every server needs a letter or a digit: it would fit those of others."""
    filled(box, "web-1", "a-b")

    for pattern in ("*", "*-*", "?*"):
        ended = vpsorg(*command.split(), pattern, "--yes")
        assert (ended.code, "would fit foreign servers" in ended.err) == (2, True)
    assert (box.requests, len(box.servers)) == ((), 2)


def test_a_name_can_not_rewrite_the_question() -> None:
    """What a server is called comes from the network: it can't control the terminal on which a delete is asked for."""
    with pytest.raises(ConfigurationError) as asked:
        ask("Delete", {1: "web-1\x1b[2K\rDelete db-1", 2: "a\nb"}, " permanently", yes=False)

    assert str(asked.value).startswith("Delete 2 servers permanently: web-1\N{REPLACEMENT CHARACTER}[2K")
    assert not {"\x1b", "\r", "\n"} & {*str(asked.value)}
    assert "b (2)?" in str(asked.value)


def test_names_that_look_like_ids(vpsorg: Any, box: Sandbox) -> None:
    """A server that is named like the id of another one is deleted by `name:` only."""
    first, second = filled(box, "web-1", "12345")
    assert first == "12345"

    by_id = vpsorg("servers", "get", "12345", "--json")
    by_name = vpsorg("servers", "get", "name:12345", "--json")
    deleted = vpsorg("servers", "delete", "name:12345", "--yes", "--wait")

    assert (json.loads(by_id.out)["id"], json.loads(by_name.out)["id"]) == (int(first), int(second))
    assert (deleted.code, [str(server.id) for server in box.servers]) == (0, [first])


def test_a_list_that_lacks_servers(vpsorg: Any, box: Sandbox) -> None:
    """By such a list no server is changed: another one of that name may exist. It is no proof of absence either."""
    ids = filled(box, "web-1", "web-2", "web-3")
    box.faults.add(Rule("list", faults.ShortList(1), times=None))

    changed = vpsorg("servers", "delete", "web-1", "--yes")
    absent = vpsorg("wait", "web-3")
    by_id = vpsorg("servers", "delete", ids[2], "--yes")

    assert (changed.code, absent.code, by_id.code) == (1, 1, 0)
    assert "another server of such a name may exist, so give ids" in changed.err
    assert "a server named web-3 may exist" in absent.err
    assert [change.server_id for change in box.ledger] == [int(ids[2])]


def test_a_list_that_shows_an_old_name(vpsorg: Any, box: Sandbox) -> None:
    """Before a delete each server is read by its id: a list that lags behind shows the name that it had."""
    first, second = filled(box, "db-1", "db-2")
    box.faults.add(Rule("list", faults.OddField("name", "web-1", row=0), times=None))

    by_name = [
        vpsorg(*command.split(), "--yes")
        for command in (
            "servers delete web-1",
            "servers delete web-*",
            "fleet delete web-1 db-2",
            "fleet sweep --name web-* --older-than 1h",
        )
    ]

    assert [ended.code for ended in by_name] == [2, 2, 2, 2]
    assert all(f"{first} is named db-1, not web-1" in ended.err for ended in by_name)
    assert (box.ledger, len(box.servers)) == ((), 2)
    assert vpsorg("servers", "delete", first, second, "--yes").code == 0


@pytest.mark.parametrize("wanted", ["web-1", "12345"])
def test_a_server_that_is_renamed_while_its_delete_is_asked(
    box: Sandbox, terminal: Any, vpsorg: Any, wanted: str
) -> None:
    """What was confirmed is the delete of a server of that name."""
    assert filled(box, "web-1") == ["12345"]

    at = terminal("servers", "delete", wanted)
    at.until("Delete web-1 (12345, active, ")
    at.until("[y/N] ")
    vpsorg("servers", "update", "12345", "--name", "db-1")
    at.type("y\n")

    assert at.ended() == 2
    assert "12345 is named db-1, not web-1" in at.seen
    assert [server.name for server in box.servers] == ["db-1"]


def test_a_label_of_the_provider_is_no_name(vpsorg: Any, provider: Sandbox) -> None:
    """What is printed as the name is what commands take: where a label stands beside the host name, the host name."""
    filled(provider, "web1", "web2")
    provider.faults.add(Rule("list", faults.OddField("name", "web1", row=1), times=None))

    names = vpsorg("servers", "list", "-o", "name").out.split()

    assert sorted(names) == ["web1", "web2"]


def test_host_names_of_the_provider(vpsorg: Any, provider: Sandbox) -> None:
    """In the provider dialect ids are UUIDs, and the name of a server is its host name."""
    first, _ = filled(provider, "web1", "web2")

    by_name = vpsorg("servers", "get", "Web1.", "--json")
    by_id = vpsorg("servers", "get", first, "--json")
    deleted = vpsorg("servers", "delete", "w?b1", "--yes", "--wait", "-q")
    missing = vpsorg("wait", "web1")

    assert json.loads(by_name.out)["id"] == first
    assert by_id.code == 0
    assert deleted.code == 0
    assert [server.name for server in provider.servers] == ["web2"]
    assert (missing.code, "no server is named" in missing.err) == (1, True)


def test_a_label_beside_the_host_name() -> None:
    """Where the provider shows a label beside the host name, the host name is what a server is called."""
    server = Server(id="a", name="my label", status=ServerStatus.ACTIVE, hostname="web1.example.org")
    listing = Listing(requested_at=0.0, by_id={"a": server}, name_of=Provider().name_of)

    assert [*find([read("WEB1.example.org"), read("web1.*")], listing).servers] == ["a"]
    with pytest.raises(NoSuchServerError):
        find([read("name:my label")], listing)


def test_watching_some(start: Any, box: Sandbox) -> None:
    """`watch` shows those that are named, and every server that fits a pattern, also one that is created later."""
    filled(box, "web-1", "db-1", "cache-1")

    watching = start("watch", "db-1", "web-*", "--json", "--interval", "0.05")
    seen = [json.loads(watching.stdout.readline())["server"]["name"] for _ in range(2)]
    filled(box, "cache-2", "web-2")
    seen.append(json.loads(watching.stdout.readline())["server"]["name"])
    watching.terminate()
    watching.communicate()

    assert seen == ["web-1", "db-1", "web-2"]


def test_patterns() -> None:
    """Names fit patterns as names are compared; only ? and * are wildcards."""
    assert fits("WEB-*", "web-1")
    assert fits("web.example.org", "web.example.org.")
    assert not fits("web-?", "web-10")
    assert not fits("web-?", "my-web-1")
    with pytest.raises(ConfigurationError, match="foreign"):
        check_narrow("*")
