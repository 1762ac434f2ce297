"""Odd services as faults, on the wire and in both dialects: answers of something else, and answers with a twist."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from vpsorg_async.sandbox import FaultError, ManualClock, Rule, Sandbox, faults
from vpsorg_async.sandbox.catalogue import uuid

Talk = Callable[..., Awaitable[Any]]
SERVERS = "/api/v1/servers/"
SPECS: dict[str, dict[str, Any]] = {
    "documented": {"name": "web-1", "plan_id": 1, "os_id": 5, "location": "us-west"},
    "provider": {
        "hostname": "web-1",
        "plan": uuid("plan", 1),
        "os_version": uuid("os-version", 5),
        "location": 1,
    },
}


@pytest.fixture(params=list(SPECS))
def dialect(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def id_field(dialect: str) -> str:
    return "id" if dialect == "documented" else "uuid"


@pytest.fixture
def spec(dialect: str) -> dict[str, Any]:
    return dict(SPECS[dialect])


@pytest.fixture
async def box(clock: ManualClock, dialect: str) -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=clock, token="vps_sandbox_secret", dialect=dialect) as running:
        yield running


only_documented = pytest.mark.parametrize("dialect", ["documented"], indirect=True)
only_provider = pytest.mark.parametrize("dialect", ["provider"], indirect=True)


def path_of(box: Sandbox, row: int = 0) -> str:
    return f"{SERVERS}{box.servers[row].id}/"


def operations(box: Sandbox) -> list[str]:
    return [change.operation for change in box.ledger]


async def ids(talk: Talk, id_field: str, path: str = SERVERS) -> list[Any]:
    return [row[id_field] for row in (await talk("GET", path)).json["results"]]


async def every_page(talk: Talk, id_field: str, path: str = SERVERS) -> list[list[Any]]:
    """The ids on each page, by its `next` links."""
    found: list[list[Any]] = []
    link: str | None = path
    while link is not None:
        page = (
            await talk("GET", "/" + link.partition("://")[2].partition("/")[2] if "://" in link else link)
        ).json
        found.append([row[id_field] for row in page["results"]])
        link = page["next"]
    return found


# What is not the API


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    ("action", "status", "kind", "server", "body"),
    [
        (faults.Gateway(), 404, "text/plain", "gateway", b"default backend - 404"),
        (faults.Gateway(502, body=""), 502, "text/plain", "gateway", b""),
        (faults.Gateway(200, body="OK"), 200, "text/plain", "gateway", b"OK"),
        (
            faults.Gateway(403, "Zugriff verweigert: für Sie", "text/plain; charset=utf-8", "waf/2.1"),
            *(403, "text/plain; charset=utf-8", "waf/2.1", "Zugriff verweigert: für Sie".encode()),
        ),
    ],
)
async def test_gateway(
    box: Sandbox,
    talk: Talk,
    spec: Any,
    action: faults.Gateway,
    status: int,
    kind: str,
    server: str,
    body: bytes,
    applied: bool,
) -> None:
    """Something in front of the API answers, under its own name and in its own form, the change made or not."""
    box.faults.add(Rule("create", faults.Gateway(action.status, action.body, kind, server, applied), times=1))

    heard = await talk("POST", json=spec)

    assert (heard.status, heard.header("Content-Type"), heard.body) == (status, kind, body)
    assert heard.head.lower().count(b"\r\nserver: ") == 1
    assert heard.header("Server") == server
    assert operations(box) == (["create"] if applied else [])
    assert (await talk("POST", json=spec)).header("Server") == "vpsorg-sandbox"


async def test_a_gateway_does_not_know_the_paths(box: Sandbox, talk: Talk) -> None:
    """A gateway answers for paths that the API does not have, and asks for no token."""
    box.faults.add(Rule(None, faults.Gateway(), path="/api/**"))

    assert (await talk("GET", "/api/v9/nothing/", token=None)).body == b"default backend - 404"


async def test_a_reply_has_headers_of_its_own(box: Sandbox, talk: Talk) -> None:
    """Any header of a reply stands for that of the sandbox, however it is written."""
    box.faults.add(Rule("list", faults.Reply(200, body={}, headers={"server": "x", "Date": "now"})))

    heard = await talk("GET")

    assert (heard.header("Server"), heard.header("Date")) == ("x", "now")
    assert (heard.head.lower().count(b"\r\nserver: "), heard.head.count(b"\r\nDate: ")) == (1, 1)


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize(
    ("given", "status", "document"),
    [
        ({"message": "out of stock"}, 200, {"status": "error", "message": "out of stock"}),
        ({"message": "ж", "status": 202, "word": "fail"}, 202, {"status": "fail", "message": "ж"}),
    ],
)
@pytest.mark.parametrize("operation", ["create", "delete"])
async def test_refuse(
    box: Sandbox, talk: Talk, spec: Any, operation: str, given: Any, status: int, document: Any, applied: bool
) -> None:
    """A refusal comes in an envelope under a good status, and usually nothing was done."""
    box.world.add()
    box.faults.add(Rule(operation, faults.Refuse(applied=applied, **given)))

    heard = await (talk("POST", json=spec) if operation == "create" else talk("DELETE", path_of(box)))

    assert (heard.status, heard.json) == (status, document)
    assert operations(box) == ([operation] if applied else [])


# What is stored otherwise than asked


@pytest.mark.parametrize("name", ["WEB-1", "Web-1.", "web-1.", "web-1"])
async def test_fold_names_of_a_create(box: Sandbox, talk: Talk, dialect: str, spec: Any, name: str) -> None:
    """A created server has its name in lower case and without a final dot, in every answer and for good."""
    field = "name" if dialect == "documented" else "hostname"
    box.faults.add(Rule("create", faults.FoldNames(), times=1))

    made = await talk("POST", json={**spec, field: name})

    assert (made.status, made.json[field]) == (201, "web-1")
    assert (await talk("GET", path_of(box))).json[field] == "web-1"
    assert [row[field] for row in (await talk("GET")).json["results"]] == ["web-1"]
    assert [(server.name, change.name) for server, change in zip(box.servers, box.ledger, strict=True)] == [
        ("web-1", "web-1")
    ]


async def test_fold_names_of_a_host(box: Sandbox, talk: Talk, spec: Any) -> None:
    """The host name is folded as the name is."""
    box.faults.add(Rule("create", faults.FoldNames()))

    made = await talk("POST", json={**spec, "hostname": "Web01.Example.COM."})

    assert made.json["hostname"] == "web01.example.com"
    assert box.servers[0].hostname == "web01.example.com"


@only_documented
@pytest.mark.parametrize(
    ("method", "operation", "document"),
    [
        ("PUT", "replace", {"name": "New.", "hostname": "New.Example.com.", "backups_enabled": True}),
        ("PATCH", "update", {"name": "NEW", "hostname": "new.example.com"}),
    ],
)
async def test_fold_names_of_a_change(
    box: Sandbox, talk: Talk, method: str, operation: str, document: Any
) -> None:
    """A renamed server has its new names folded, and the others are left alone."""
    box.world.add(name="Old")
    box.faults.add(Rule(operation, faults.FoldNames()))

    answered = (await talk(method, path_of(box), document)).json
    flagged = (await talk("PATCH", path_of(box), {"backups_enabled": False})).json

    assert (answered["name"], answered["hostname"]) == ("new", "new.example.com")
    assert flagged["name"] == "new"
    assert [(server.name, server.hostname) for server in box.servers] == [("new", "new.example.com")]


async def test_fold_names_keeps_a_name_that_is_not_sent(box: Sandbox, talk: Talk, dialect: str) -> None:
    """A server that the request does not rename keeps its capital letters."""
    box.world.add(name="Old")
    box.faults.add(Rule(None, faults.FoldNames()))

    if dialect == "documented":
        await talk("PATCH", path_of(box), {"backups_enabled": True})
    await talk("GET", path_of(box))
    await talk("DELETE", f"{SERVERS}99999/")

    assert box.servers[0].name == "Old"


@pytest.mark.parametrize("change", [{"name": 5, "hostname": 5}, {"name": "a..", "hostname": "a.."}])
async def test_fold_names_lets_nothing_else_pass(box: Sandbox, talk: Talk, spec: Any, change: Any) -> None:
    """What is no name folded is none either: 400, as ever."""
    box.faults.add(Rule("create", faults.FoldNames()))

    assert (await talk("POST", json={**spec, **change})).status == 400
    assert (await talk("POST", body=b"{")).status == 400
    assert (await talk("POST", body=b"[1]")).status == 400
    assert (await talk("POST", body=b"\xff")).status == 400
    assert box.ledger == ()


async def test_fold_names_and_commit_later(
    box: Sandbox, talk: Talk, clock: ManualClock, dialect: str, spec: Any
) -> None:
    """A create that is applied late is folded as well."""
    box.faults.add(Rule("create", [faults.FoldNames(), faults.CommitLater(5)]))

    field = "name" if dialect == "documented" else "hostname"
    assert (await talk("POST", json={**spec, field: "WEB-1"})).status == 504
    clock.advance(5)

    assert [server.name for server in box.servers] == ["web-1"]


@only_provider
async def test_fold_names_is_about_servers(box: Sandbox, talk: Talk) -> None:
    """The name of an SSH key is no server's: it stays as it is."""
    box.faults.add(Rule(None, faults.FoldNames()))
    key = {"name": "My Key.", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"}

    assert (await talk("POST", "/api/v1/ssh-keys/", key)).json["name"] == "My Key."


# What is deleted and still there


@pytest.mark.parametrize("in_list", [False, True])
async def test_soft_delete(
    box: Sandbox, talk: Talk, clock: ManualClock, id_field: str, in_list: bool
) -> None:
    """A deleted server is read by id, and in lists if so asked, under its word for its time; then it is 404."""
    box.world.add(3)
    gone, path = box.servers[1].id, path_of(box, 1)
    everyone = [server.id for server in box.servers]
    others = [server_id for server_id in everyone if server_id != gone]
    box.faults.add(Rule("delete", faults.SoftDelete(word="destroyed", seconds=30, in_list=in_list), times=1))

    deleted = await talk("DELETE", path)
    seen = [(await talk("GET", path)).json["status"], await ids(talk, id_field)]
    clock.advance(29)
    again = [(await talk("GET", path)).json["status"], await ids(talk, id_field)]
    clock.advance(1)
    after = [(await talk("GET", path)).status, await ids(talk, id_field)]

    assert (deleted.status, deleted.body) == (204, b"")
    assert seen == again == ["destroyed", everyone if in_list else others]
    assert after == [404, others]
    assert [server.id for server in box.servers] == others
    assert [(change.operation, change.status) for change in box.ledger] == [("delete", "deleted")]


async def test_a_soft_deleted_server_takes_no_commands(box: Sandbox, talk: Talk, dialect: str) -> None:
    """What is deleted can be read and nothing else: 404 for a second delete and for every command."""
    box.world.add()
    path = path_of(box)
    box.faults.add(Rule("delete", faults.SoftDelete()))
    await talk("DELETE", path)

    power = ("reboot/", None) if dialect == "documented" else ("power/", {"action": "restart"})
    assert (await talk("GET", path)).json["status"] == "deleted"
    assert (await talk("DELETE", path)).status == 404
    assert (await talk("POST", path + power[0], power[1])).status == 404
    assert operations(box) == ["delete"]


async def test_a_soft_deleted_server_moves_no_more(
    box: Sandbox, talk: Talk, clock: ManualClock, spec: Any
) -> None:
    """A server that is deleted in the middle of a move does not end it, and keeps its word."""
    await talk("POST", json=spec)
    path = path_of(box)
    box.faults.add(Rule("delete", faults.SoftDelete(seconds=1000)))
    await talk("DELETE", path)
    clock.advance(900)

    assert (await talk("GET", path)).json["status"] == "deleted"


@only_documented
async def test_soft_deleted_servers_can_be_filtered(box: Sandbox, talk: Talk, clock: ManualClock) -> None:
    """A list by status finds the deleted ones by their word, as long as it shows them."""
    box.world.add(2)
    box.faults.add(Rule("delete", faults.SoftDelete(seconds=10, in_list=True)))
    gone = box.servers[0].id
    await talk("DELETE", path_of(box))

    assert await ids(talk, "id", f"{SERVERS}?status=deleted") == [gone]
    clock.advance(10)
    assert await ids(talk, "id", f"{SERVERS}?status=deleted") == []


async def test_soft_delete_with_a_lost_answer(box: Sandbox, talk: Talk) -> None:
    """The answer to a soft delete can be lost, as any other."""
    box.world.add()
    path = path_of(box)
    box.faults.add(Rule("delete", [faults.SoftDelete(), faults.DropAfter()], times=1))

    assert (await talk("DELETE", path)).raw == b""
    assert (await talk("GET", path)).json["status"] == "deleted"
    assert box.servers == ()


async def test_soft_delete_that_is_late(box: Sandbox, talk: Talk, clock: ManualClock) -> None:
    """A soft delete that is applied late begins then."""
    box.world.add()
    path = path_of(box)
    box.faults.add(Rule("delete", [faults.SoftDelete(seconds=10), faults.CommitLater(5)]))
    await talk("DELETE", path)

    statuses = []
    for _ in range(4):
        heard = await talk("GET", path)
        statuses.append(heard.json["status"] if heard.status == 200 else heard.status)
        clock.advance(5)

    assert statuses == ["active", "deleted", "deleted", 404]


async def test_soft_delete_of_nothing(box: Sandbox, talk: Talk) -> None:
    """A delete of a server that is not there is 404 and makes none."""
    box.world.add()
    path = path_of(box)
    box.world.vanish(box.servers[0].id)
    box.faults.add(Rule("delete", faults.SoftDelete(in_list=True)))

    assert (await talk("DELETE", path)).status == 404
    assert (await talk("GET", path)).status == 404
    assert (await talk("GET")).json["count"] == 0


async def test_a_lagging_list_still_shows_what_was_soft_deleted(
    box: Sandbox, talk: Talk, clock: ManualClock, id_field: str
) -> None:
    """Reads that lag show the state before the delete, in lists as by id."""
    box.world.add()
    clock.advance(100)
    gone, path = box.servers[0].id, path_of(box)
    box.faults.add(Rule("delete", [faults.SoftDelete(seconds=60), faults.Lag(5)]))
    await talk("DELETE", path)

    assert (await talk("GET", path)).json["status"] == "active"
    assert await ids(talk, id_field) == [gone]
    clock.advance(5)
    assert (await talk("GET", path)).json["status"] == "deleted"
    assert await ids(talk, id_field) == []


# Lists


@pytest.mark.parametrize(("missing", "shown"), [(1, 3), (3, 1), (4, 0), (9, 0)])
async def test_short_list(
    box: Sandbox, talk: Talk, dialect: str, id_field: str, missing: int, shown: int
) -> None:
    """The count includes all, rows are missing at the end, and no link leads to them."""
    everyone = [server.id for server in box.world.add(4)]
    box.faults.add(Rule("list", faults.ShortList(missing=missing), times=1))

    page = (await talk("GET")).json

    assert page["count"] == 4
    assert [row[id_field] for row in page["results"]] == everyone[:shown]
    assert page.get("next") is None
    assert await ids(talk, id_field) == everyone


@only_provider
async def test_short_list_of_a_page(box: Sandbox, talk: Talk) -> None:
    """In pages, the page that is answered lacks its last rows, and the others are whole."""
    everyone = [server.id for server in box.world.add(5)]
    box.faults.add(Rule("list", faults.ShortList(), nth=1))

    pages = await every_page(talk, "uuid", f"{SERVERS}?page_size=2")

    assert pages == [everyone[:1], everyone[2:4], everyone[4:]]


async def test_ignore_page(box: Sandbox, talk: Talk, dialect: str, id_field: str) -> None:
    """Whatever page is asked for, the first one is answered, with its own links."""
    everyone = [server.id for server in box.world.add(5)]
    actions: list[faults.Action] = [faults.IgnorePage()]
    if dialect == "documented":
        actions.append(faults.Paged(2))
    box.faults.add(Rule("list", actions))

    for page in (1, 2, 3, 99, "x"):
        heard = await talk("GET", f"{SERVERS}?page_size=2&page={page}")
        assert [row[id_field] for row in heard.json["results"]] == everyone[:2]
        assert heard.json["next"].endswith("?page_size=2&page=2")
        assert heard.json["previous"] is None


@only_documented
async def test_ignore_page_keeps_the_filters(box: Sandbox, talk: Talk) -> None:
    """The other parameters of the query still apply."""
    box.world.add(2)
    box.world.add(status="stopped")
    box.faults.add(Rule("list", faults.IgnorePage()))

    assert (await talk("GET", f"{SERVERS}?status=stopped&page=7&location=us-west")).json["count"] == 1


@only_documented
@pytest.mark.parametrize(("size", "sizes"), [(1, [1, 1, 1, 1, 1]), (2, [2, 2, 1]), (5, [5]), (100, [5])])
async def test_paged(box: Sandbox, talk: Talk, size: int, sizes: list[int]) -> None:
    """The documented list comes in pages that `next` leads through, each with the count of all."""
    everyone = [server.id for server in box.world.add(5)]
    box.faults.add(Rule("list", faults.Paged(size)))

    pages = await every_page(talk, "id")

    assert [len(page) for page in pages] == sizes
    assert [one for page in pages for one in page] == everyone
    assert (await talk("GET")).json["count"] == 5


@only_documented
async def test_paged_links(box: Sandbox, talk: Talk) -> None:
    """The links are absolute, keep the filters, and are null where there is no such page; one too far is 404."""
    box.world.add(3)
    box.world.add(status="stopped")
    box.faults.add(Rule("list", faults.Paged(1)))
    host = {"Host": "sandbox:8080"}

    async def links(query: str) -> Any:
        page = (await talk("GET", f"{SERVERS}?{query}", headers=host)).json
        return page["count"], page["next"], page["previous"]

    own = f"http://sandbox:8080{SERVERS}"
    assert await links("") == (4, f"{own}?page=2", None)
    assert await links("status=active&page=2") == (3, f"{own}?status=active&page=3", f"{own}?status=active")
    assert await links("page=4") == (4, None, f"{own}?page=3")
    assert [(await talk("GET", f"{SERVERS}?page={page}")).status for page in (5, 0, "x")] == [404, 404, 404]


@only_documented
async def test_an_empty_list_in_pages(box: Sandbox, talk: Talk) -> None:
    """The first page is there even if nothing is on it."""
    box.faults.add(Rule("list", faults.Paged(3)))

    assert (await talk("GET")).json == {"count": 0, "next": None, "previous": None, "results": []}


@only_provider
async def test_paged_leaves_pages_alone(box: Sandbox, talk: Talk) -> None:
    """A list that comes in pages already stays as it is."""
    box.world.add(5)
    plain = (await talk("GET", f"{SERVERS}?page_size=3")).json
    box.faults.add(Rule("list", faults.Paged(1)))

    assert (await talk("GET", f"{SERVERS}?page_size=3")).json == plain


@pytest.mark.parametrize(
    ("given", "start"),
    [
        ({"scheme": "https"}, "https://sandbox:8080/api/v1/servers/"),
        ({"host": "internal"}, "http://internal/api/v1/servers/"),
        ({"host": "[::1]:8000"}, "http://[::1]:8000/api/v1/servers/"),
        ({"prefix": ""}, "http://sandbox:8080/servers/"),
        ({"prefix": "/internal/v2"}, "http://sandbox:8080/internal/v2/servers/"),
        ({"scheme": "https", "host": "api.test", "prefix": "/x"}, "https://api.test/x/servers/"),
    ],
)
async def test_next_link(box: Sandbox, talk: Talk, dialect: str, given: dict[str, str], start: str) -> None:
    """Links are written as the service sees itself behind its proxy, and their query is untouched."""
    box.world.add(5)
    actions: list[faults.Action] = [faults.NextLink(**given)]
    if dialect == "documented":
        actions.append(faults.Paged(2))
    box.faults.add(Rule("list", actions))

    page = (await talk("GET", f"{SERVERS}?page_size=2&page=2", headers={"Host": "sandbox:8080"})).json

    assert page["next"] == f"{start}?page_size=2&page=3"
    assert page["previous"] == f"{start}?page_size=2"


async def test_next_link_of_a_last_page(box: Sandbox, talk: Talk) -> None:
    """Where no page follows there is no link to rewrite, and none appears."""
    box.world.add()
    plain = (await talk("GET")).json
    box.faults.add(Rule("list", faults.NextLink(scheme="https")))

    assert (await talk("GET")).json == plain


# Fields


@pytest.mark.parametrize("value", [0.5, "4 GB", None, True, [1], {}, {"a": {"b": []}}, 10**30, ""])
async def test_odd_field_takes_any_json(box: Sandbox, talk: Talk, value: Any) -> None:
    """A field holds whatever JSON is given for it."""
    box.world.add()
    box.faults.add({"operation": "get", "actions": [{"do": "odd_field", "path": "status", "value": value}]})

    assert (await talk("GET", path_of(box))).json["status"] == value


async def test_odd_field_in_every_answer(box: Sandbox, talk: Talk, dialect: str, spec: Any) -> None:
    """The field is odd in lists, details and creates, and in the server within an answer to a command."""
    box.faults.add(Rule(None, [faults.OddField("plan.memory", 0.5), faults.OddField("os_name", "?")]))

    made = (await talk("POST", json=spec)).json
    listed = (await talk("GET")).json
    got = (await talk("GET", path_of(box))).json

    for server in (made, *listed["results"], got):
        assert (server["plan"]["memory"], server["os_name"]) == (0.5, "?")
    assert listed["count"] == 1
    assert "plan" not in listed


@only_documented
async def test_odd_field_of_changes_and_commands(box: Sandbox, talk: Talk, clock: ManualClock) -> None:
    """PUT, PATCH and commands show it on their server alone: the envelope around it stays."""
    box.world.add(2)
    box.faults.add(Rule(None, faults.OddField("status", "odd")))
    path = path_of(box)

    put = (await talk("PUT", path, {"name": "a", "hostname": "a.b", "backups_enabled": True})).json
    patched = (await talk("PATCH", path, {"name": "b"})).json
    rebooted = (await talk("POST", f"{path}reboot/")).json
    stopped = (await talk("POST", f"{path_of(box, 1)}stop/")).json
    clock.advance(600)
    started = (await talk("POST", f"{path_of(box, 1)}start/")).json

    assert (put["status"], patched["status"]) == ("odd", "odd")
    for envelope in (rebooted, stopped, started):
        assert (envelope["status"], envelope["server"]["status"]) == ("success", "odd")
    assert [server.status for server in box.servers] == ["active", "starting"]


async def test_answers_without_a_server_stay(box: Sandbox, talk: Talk, dialect: str) -> None:
    """Errors, look-ups and answers without a body have no server, and no odd field."""
    box.world.add()
    box.faults.add(Rule(None, [faults.OddField("status", "odd"), faults.OmitField("detail")]))

    missing = await talk("GET", f"{SERVERS}99999/")
    refused = await talk("GET", token=None)
    plans = await talk("GET", "/api/v1/plans/")
    account = await talk("GET", "/api/v1/account/me/")
    if dialect == "provider":
        power = await talk("POST", f"{path_of(box)}power/", {"action": "restart"})
        assert power.json == {"detail": "Accepted."}
    deleted = await talk("DELETE", path_of(box))

    assert (missing.status, list(missing.json)) == (404, ["detail"])
    assert (refused.status, list(refused.json)) == (401, ["detail"])
    assert b"odd" not in plans.body + account.body
    assert (deleted.status, deleted.body) == (204, b"")


@pytest.mark.parametrize("row", [0, 1, 2, 3])
async def test_one_odd_row(box: Sandbox, talk: Talk, row: int) -> None:
    """With a row, counted from 0, one server of a list is odd; none, if there is no such row."""
    box.world.add(3)
    box.faults.add(
        Rule("list", [faults.OddField("status", 7, row=row), faults.OmitField("created_at", row=row)])
    )

    rows = (await talk("GET")).json["results"]

    assert [server["status"] for server in rows] == [7 if n == row else "active" for n in range(3)]
    assert ["created_at" in server for server in rows] == [n != row for n in range(3)]


async def test_a_row_is_of_a_list(box: Sandbox, talk: Talk) -> None:
    """A row means nothing to an answer that is one server."""
    box.world.add()
    box.faults.add(Rule(None, faults.OddField("status", 7, row=0)))

    assert (await talk("GET", path_of(box))).json["status"] == "active"
    assert (await talk("GET")).json["results"][0]["status"] == 7


@only_provider
@pytest.mark.parametrize(
    ("action", "addresses"),
    [
        (faults.OddField("ipv4_addresses.0", {"ip": "192.0.2.1"}), [{"ip": "192.0.2.1"}]),
        (faults.OddField("ipv4_addresses.0.ip", "192.0.2.1"), [{"ip": "192.0.2.1"}]),
        (faults.OddField("ipv4_addresses.9", 1), {"9": 1}),
        (faults.OddField("ipv4_addresses.ip", 1), {"ip": 1}),
        (faults.OmitField("ipv4_addresses.0"), []),
        (faults.OmitField("ipv4_addresses.0.ip"), ["203.0.113.10"]),
        (faults.OmitField("ipv4_addresses.9"), ["203.0.113.10"]),
    ],
)
async def test_a_path_through_a_list(box: Sandbox, talk: Talk, action: faults.Action, addresses: Any) -> None:
    """A number in a path is an item of a list that has it; whatever else is in the way becomes an object."""
    box.world.add()
    box.faults.add(Rule("get", action))

    assert (await talk("GET", path_of(box))).json["ipv4_addresses"] == addresses


@pytest.mark.parametrize(
    ("action", "changed"),
    [
        (faults.OmitField("status"), {"status": ...}),
        (faults.OmitField("plan"), {"plan": ...}),
        (faults.OmitField("nothing"), {}),
        (faults.OmitField("nothing.at.all"), {}),
        (faults.OmitField("status.word"), {}),
        (faults.OddField("a.b.c", 1), {"a": {"b": {"c": 1}}}),
        (faults.OddField("status.word", "x"), {"status": {"word": "x"}}),
        (faults.OddField("0", "x"), {"0": "x"}),
    ],
)
async def test_paths(box: Sandbox, talk: Talk, action: faults.Action, changed: dict[str, Any]) -> None:
    """A dotted path leads into objects: missing parts are created or need no omitting, everything else stays."""
    box.world.add()
    before = (await talk("GET", path_of(box))).json
    box.faults.add(Rule("get", action))

    after = (await talk("GET", path_of(box))).json

    expected = {name: value for name, value in {**before, **changed}.items() if value is not ...}
    assert after == expected


async def test_omit_a_field_of_the_plan(box: Sandbox, talk: Talk, dialect: str) -> None:
    """A field of a nested object can be left out, the others stay."""
    box.world.add()
    field = "vcpus" if dialect == "documented" else "cpu"
    before = (await talk("GET", path_of(box))).json["plan"]
    box.faults.add(Rule("get", faults.OmitField(f"plan.{field}")))

    assert (await talk("GET", path_of(box))).json["plan"] == {
        name: value for name, value in before.items() if name != field
    }


# Together


async def test_shapes_act_together(box: Sandbox, talk: Talk, dialect: str, id_field: str) -> None:
    """Pages, missing rows, odd fields, links and a set-up status all show in one answer, in any order of actions."""
    everyone = [server.id for server in box.world.add(5)]
    actions = [
        faults.OddField("status", "odd", row=0),
        faults.ShortList(1),
        faults.NextLink(scheme="https"),
        faults.SetStatus("haunted", server_id=everyone[3]),
        faults.Paged(3),
        faults.Delay(0),
    ]
    for order in (actions, actions[::-1]):
        box.faults.clear()
        box.faults.add(Rule("list", order))
        page = (await talk("GET", f"{SERVERS}?page_size=3&page=2")).json

        assert page["count"] == 5
        assert [(row[id_field], row["status"]) for row in page["results"]] == [(everyone[3], "odd")]
        assert page["previous"].startswith("https://")
        assert box.servers[3].status == "haunted"


@pytest.mark.parametrize(
    ("ending", "whole"),
    [
        (faults.Dribble(size=50, pause=0), True),
        (faults.HugeBody(size=100), True),
        (faults.HalfBody(), False),
        (faults.MalformedChunk(pause=0), False),
    ],
)
async def test_a_shaped_answer_can_be_spoiled(
    box: Sandbox, talk: Talk, ending: faults.Ending, whole: bool
) -> None:
    """An ending that sends the plain answer sends the one with the twist."""
    box.world.add()
    box.faults.add(Rule("list", [faults.OddField("AAA", "BBB"), faults.OmitField("status"), ending]))

    heard = await talk("GET")

    assert (b'"AAA": "BBB"' in heard.body) or not whole
    assert b'"status"' not in heard.body


async def test_hiding_works_beside_a_shape(box: Sandbox, talk: Talk, clock: ManualClock, spec: Any) -> None:
    """A create whose answer is odd is still one that can be hidden, and is noted as committed."""
    box.faults.add(Rule("create", [faults.OmitField("status"), faults.HideCreated(5)]))

    made = await talk("POST", json=spec)

    assert made.status == 201
    assert "status" not in made.json
    assert (await talk("GET")).json["count"] == 0
    clock.advance(5)
    assert (await talk("GET")).json["count"] == 1
    assert [entry.fault for entry in box.requests if entry.committed] == ["omit_field+hide_created"]


async def test_a_shape_is_over_when_its_rule_is(box: Sandbox, talk: Talk) -> None:
    """Shapes touch answers, never the account: without the rule all is as it was."""
    box.world.add(3)
    before = (await talk("GET")).json
    box.faults.add(
        Rule("list", [faults.OddField("status", 1), faults.ShortList(2), faults.OmitField("plan")])
    )
    assert (await talk("GET")).json != before
    box.faults.clear()

    assert (await talk("GET")).json == before


SHAPES = [
    faults.ShortList(),
    faults.IgnorePage(),
    faults.Paged(2),
    faults.NextLink(scheme="https"),
    faults.OddField(),
    faults.OmitField("status"),
]
REPLACING = [
    faults.DropBefore(),
    faults.DropAfter(),
    faults.HalfHeaders(),
    faults.Html(),
    faults.Gateway(),
    faults.Refuse(),
    faults.Reply(200, applied=True),
    faults.RateLimit(),
    faults.Redirect("/"),
    faults.Garbage(),
    faults.NeverAnswer(),
    faults.CommitLater(1),
]


@pytest.mark.parametrize("replacing", REPLACING, ids=lambda action: action.do)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda action: action.do)
def test_a_shape_needs_an_answer(shape: faults.Action, replacing: faults.Action) -> None:
    """A shape beside an action that keeps the plain answer from being sent is refused; the reason names both."""
    with pytest.raises(FaultError, match=f"{shape.do} .* {replacing.do}") as error:
        Rule("list", [shape, replacing])

    assert error.value.field == "actions"


@pytest.mark.parametrize(
    ("operation", "action"), [("create", faults.FoldNames()), ("delete", faults.SoftDelete())]
)
@pytest.mark.parametrize("ending", [faults.DropBefore(), faults.RateLimit(), faults.Html(), faults.Refuse()])
def test_a_change_of_what_is_applied_needs_it_applied(
    operation: str, action: faults.Action, ending: faults.Ending
) -> None:
    """An action on the change is refused beside an ending that applies nothing, unless it is applied later."""
    with pytest.raises(FaultError, match=f"{action.do} .* {ending.do}"):
        Rule(operation, [action, ending])

    assert Rule(operation, [action, ending, faults.CommitLater(1)]).ending == ending
    assert Rule(operation, [action, faults.Html(applied=True)]).label == f"{action.do}+html"


@pytest.mark.parametrize(
    ("action", "fitting", "unfitting"),
    [
        (faults.FoldNames(), ["create", "replace", "update"], ["get", "list", "delete", "reboot"]),
        (faults.SoftDelete(), ["delete"], ["create", "get", "stop"]),
        (faults.ShortList(), ["list"], ["get", "plans", "ssh_keys"]),
        (faults.IgnorePage(), ["list"], ["get", "create"]),
        (faults.Paged(2), ["list"], ["plans", "locations"]),
        (faults.NextLink(prefix=""), ["list"], ["ssh_keys", "get"]),
        (
            faults.OddField(),
            ["list", "get", "create", "replace", "update", "start", "stop", "reboot"],
            ["delete", "plans", "account", "snapshot"],
        ),
        (faults.OmitField("a", row=1), ["list"], ["get", "create", "reboot"]),
    ],
    ids=lambda given: getattr(given, "do", ""),
)
def test_actions_go_with_their_operations(
    action: faults.Action, fitting: list[str], unfitting: list[str]
) -> None:
    """An action is taken for the operations it is about, or for any, and refused for those it can't act on."""
    for operation in (None, *fitting):
        assert Rule(operation, action).first(type(action)) == action
    for operation in unfitting:
        with pytest.raises(FaultError, match=action.do):
            Rule(operation, action)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: faults.Gateway(99), "status"),
        (lambda: faults.Gateway(body=None), "body"),  # type: ignore[arg-type]
        (lambda: faults.Gateway(body="\ud800"), "body"),
        (lambda: faults.Gateway(server="a\r\nb: c"), "server"),
        (lambda: faults.Gateway(content_type=""), "content_type"),
        (lambda: faults.Gateway(applied=1), "applied"),  # type: ignore[arg-type]
        (lambda: faults.Refuse(status=400), "status"),
        (lambda: faults.Refuse(status=199), "status"),
        (lambda: faults.Refuse(status=204), "status"),
        (lambda: faults.Refuse(status=205), "status"),
        (lambda: faults.Refuse(message=1), "message"),  # type: ignore[arg-type]
        (lambda: faults.Refuse(word=""), "word"),
        (lambda: faults.ShortList(0), "missing"),
        (lambda: faults.Paged(0), "size"),
        (lambda: faults.OddField(""), "path"),
        (lambda: faults.OddField("plan."), "path"),
        (lambda: faults.OddField(".plan"), "path"),
        (lambda: faults.OddField("a..b"), "path"),
        (lambda: faults.OddField(5), "path"),  # type: ignore[arg-type]
        (lambda: faults.OddField(value=float("nan")), "value"),
        (lambda: faults.OddField(value={1, 2}), "value"),
        (lambda: faults.OddField(row=-1), "row"),
        (lambda: faults.OddField(row=True), "row"),
        (lambda: faults.OmitField("a", row=1.0), "row"),  # type: ignore[arg-type]
        (lambda: faults.SoftDelete(""), "word"),
        (lambda: faults.SoftDelete(seconds=-1), "seconds"),
        (lambda: faults.SoftDelete(seconds=float("inf")), "seconds"),
        (lambda: faults.SoftDelete(in_list=0), "in_list"),  # type: ignore[arg-type]
        (lambda: faults.NextLink(), "scheme"),
        (lambda: faults.NextLink(scheme=""), "scheme"),
        (lambda: faults.NextLink(host="a\nb"), "host"),
        (lambda: faults.NextLink(prefix="internal"), "prefix"),
        (lambda: faults.NextLink(prefix="/internal/"), "prefix"),
        (lambda: faults.NextLink(prefix="/"), "prefix"),
    ],
)
def test_senseless_actions_are_refused(make: Callable[[], faults.Action], field: str) -> None:
    """An action that could never do what it says is refused at creation, with the field."""
    with pytest.raises(FaultError) as error:
        make()

    assert error.value.field == field


@pytest.mark.parametrize(
    "rule",
    [
        {"operation": "list", "actions": [{"do": "odd_field", "path": "plan", "value": {}}]},
        {"operation": "list", "actions": [{"do": "odd_field", "path": "plan", "value": None, "row": 0}]},
        {"operation": "list", "actions": [{"do": "next_link", "prefix": ""}, {"do": "paged", "size": 2}]},
        {"operation": "create", "actions": [{"do": "gateway", "body": ""}]},
        {"operation": "create", "actions": [{"do": "reply", "status": 200, "body": {}}]},
    ],
)
async def test_rules_read_back_as_they_were_given(box: Sandbox, talk: Talk, rule: Any) -> None:
    """The control endpoint shows a rule with all that was given, empty values too."""
    heard = await talk("POST", "/_sandbox/faults", {"rules": [rule]})

    assert heard.json == {"rules": [{**rule, "matched": 0, "fired": 0}]}
    assert json.loads(json.dumps(heard.json)) == heard.json
