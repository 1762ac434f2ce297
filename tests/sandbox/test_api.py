"""The nine endpoints as a function, against the API page's own examples."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpsorg_async.sandbox import Durations
from vpsorg_async.sandbox.api import Answer, Api, Call
from vpsorg_async.sandbox.documented import Documented
from vpsorg_async.sandbox.ledger import Command
from vpsorg_async.sandbox.provider import Provider
from vpsorg_async.sandbox.world import World

SPEC = {"name": "web-1", "plan_id": 1, "os_id": 5, "location": "us-west"}
PUT = {"name": "new", "hostname": "new.example.com", "backups_enabled": True}
NINE = [
    ("GET", "/api/v1/servers/", "list"),
    ("POST", "/api/v1/servers/", "create"),
    ("GET", "/api/v1/servers/12345/", "get"),
    ("PUT", "/api/v1/servers/12345/", "replace"),
    ("PATCH", "/api/v1/servers/12345/", "update"),
    ("DELETE", "/api/v1/servers/12345/", "delete"),
    ("POST", "/api/v1/servers/12345/start/", "start"),
    ("POST", "/api/v1/servers/12345/stop/", "stop"),
    ("POST", "/api/v1/servers/12345/reboot/", "reboot"),
]


class Account:
    """A world and its endpoints, called without a socket at a time that stands still."""

    def __init__(self, **settings: Any) -> None:
        self.world = World(epoch=1_737_041_400, **settings)
        self.api = Documented(self.world, "secret")
        self.now = 0.0

    def call(self, method: str, path: str, document: Any = None, **given: Any) -> Answer:
        path, _, query = path.partition("?")
        body = b"" if document is None else json.dumps(document).encode()
        call = Call(method, path, **{"query": query, "authorization": "Bearer secret", "body": body, **given})
        command = self.api.understand(call)
        return command if isinstance(command, Answer) else self.api.execute(command, self.now)

    def json(self, *arguments: Any, **given: Any) -> Any:
        return json.loads(self.call(*arguments, **given).body)


@pytest.fixture
def account() -> Account:
    return Account(durations=Durations(provisioning=180.0))


def test_create_answers_as_on_the_page(account: Account) -> None:
    """The answer to a create is the page's example, with its fields in its order."""
    account.world.add(2, now=0)
    body = {
        "name": "web-server-02",
        "plan_id": 1,
        "os_id": 5,
        "location": "us-west",
        "hostname": "web02.example.com",
        "backups_enabled": True,
    }

    answer = account.call("POST", "/api/v1/servers/", body)

    assert answer.status == 201
    assert json.dumps(json.loads(answer.body)) == json.dumps(
        {
            "id": 12347,
            "name": "web-server-02",
            "hostname": "web02.example.com",
            "status": "provisioning",
            "ip_address": None,
            "location": "us-west",
            "plan": {"id": 1, "name": "Standard VPS", "vcpus": 2, "memory": 4096, "storage": 80},
            "os": {"id": 5, "name": "Ubuntu 22.04 LTS"},
            "backups_enabled": True,
            "created_at": "2025-01-16T15:30:00Z",
            "updated_at": "2025-01-16T15:30:00Z",
            "message": "Server is being provisioned. This may take 2-5 minutes.",
        }
    )


def test_list_answers_as_on_the_page(account: Account) -> None:
    """The list is an envelope of `count` and `results`, and an item has exactly the page's fields."""
    first = {"plan_id": 1, "os_id": 5, "location": "us-west"}
    account.call(
        "POST", "/api/v1/servers/", {**first, "name": "web-server-01", "hostname": "web01.example.com"}
    )
    account.world.add(name="db-server-01", plan_id=2, os_id=3, location="us-east", now=0)
    account.now = 200

    listed = account.json("GET", "/api/v1/servers/")

    assert list(listed) == ["count", "results"]
    assert listed["count"] == 2
    assert json.dumps(listed["results"][0]) == json.dumps(
        {
            "id": 12345,
            "name": "web-server-01",
            "hostname": "web01.example.com",
            "status": "active",
            "ip_address": "203.0.113.10",
            "location": "us-west",
            "plan": {"id": 1, "name": "Standard VPS", "vcpus": 2, "memory": 4096, "storage": 80},
            "os": {"id": 5, "name": "Ubuntu 22.04 LTS"},
            "created_at": "2025-01-16T15:30:00Z",
            "updated_at": "2025-01-16T15:33:00Z",
        }
    )
    second = listed["results"][1]
    assert (second["ip_address"], second["os"]) == ("203.0.113.11", {"id": 3, "name": "Debian 12"})
    assert second["plan"] == {"id": 2, "name": "Performance VPS", "vcpus": 4, "memory": 8192, "storage": 160}


def test_detail_answers_as_on_the_page(account: Account) -> None:
    """The detail has exactly the page's fields, in its order and of its types."""
    account.world.add(now=0)

    detail = account.json("GET", "/api/v1/servers/12345/")

    assert list(detail) == [
        *("id", "name", "hostname", "status", "ip_address", "ipv6_address", "location", "plan", "os"),
        *("backups_enabled", "resource_usage", "created_at", "updated_at"),
    ]
    assert detail["ipv6_address"] == "2001:0db8::1"
    assert detail["plan"]["bandwidth"] == 2048
    usage = {name: type(value) for name, value in detail["resource_usage"].items()}
    assert usage == {"cpu_percent": float, "memory_used": int, "disk_used": int, "bandwidth_used": int}


@pytest.mark.parametrize(
    ("status", "action", "begun"),
    [("stopped", "start", "starting"), ("active", "stop", "stopping"), ("active", "reboot", "rebooting")],
)
def test_actions_answer_as_on_the_page(account: Account, status: str, action: str, begun: str) -> None:
    """An action answers `success`, a message, and a short form of the server."""
    account.world.add(now=0, name="web-server-01", status=status)

    answer = account.json("POST", f"/api/v1/servers/12345/{action}/")

    assert json.dumps(answer) == json.dumps(
        {
            "status": "success",
            "message": f"Server is {begun}",
            "server": {"id": 12345, "name": "web-server-01", "status": begun},
        }
    )


def test_updates_answer_the_detail(account: Account) -> None:
    """PUT sets all three fields, PATCH those it is given; both answer the server as it is then."""
    account.world.add(now=0)

    replaced = account.json("PUT", "/api/v1/servers/12345/", PUT)
    updated = account.json("PATCH", "/api/v1/servers/12345/", {"name": "newer"})

    assert {name: replaced[name] for name in PUT} == PUT
    assert {name: updated[name] for name in PUT} == {**PUT, "name": "newer"}
    assert updated == account.json("GET", "/api/v1/servers/12345/")
    assert "resource_usage" in updated


def test_delete_answers_204_then_404(account: Account) -> None:
    """A deleted server is gone: no body, then 404 for everything."""
    account.world.add(now=0)

    assert account.call("DELETE", "/api/v1/servers/12345/") == Answer(204, b"", {})
    for method, path, asked in NINE[2:]:
        document = PUT if asked in ("replace", "update") else None
        assert account.call(method, path, document).status == 404


@pytest.mark.parametrize(("method", "path", "asked"), NINE)
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", "Token secret", "secret", "Bearer secr\u00e9t"]
)
def test_401_on_all_nine(account: Account, method: str, path: str, asked: str, header: str) -> None:
    """A missing or wrong token is 401 on every endpoint, before anything is done."""
    account.world.add(now=0)

    answer = account.call(method, path, authorization=header)

    assert answer.status == 401
    assert account.world.ledger == []


@pytest.mark.parametrize(("method", "path", "asked"), NINE)
def test_the_nine_are_known_by_name(account: Account, method: str, path: str, asked: str) -> None:
    """Each method and path of the page is one of the nine operations."""
    assert account.api.operation(Call(method, path)) == asked


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/v1/servers/", "GET, POST"),
        ("POST", "/api/v1/servers/12345/", "GET, PUT, PATCH, DELETE"),
        ("GET", "/api/v1/servers/12345/start/", "POST"),
        ("HEAD", "/api/v1/servers/", "GET, POST"),
    ],
)
def test_405_for_other_methods(account: Account, method: str, path: str, allow: str) -> None:
    """A method that a path does not have is 405, and the answer says which it has."""
    answer = account.call(method, path)

    assert (answer.status, answer.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize(
    ("method", "path", "status", "location"),
    [
        ("GET", "/api/v1/servers", 301, "/api/v1/servers/"),
        ("GET", "/api/v1/servers/12345?x=1", 301, "/api/v1/servers/12345/?x=1"),
        ("POST", "/api/v1/servers", 404, None),
        ("POST", "/api/v1/servers/12345/reboot", 404, None),
        ("DELETE", "/api/v1/servers/12345", 404, None),
        ("GET", "/api/v1/servers/abc/", 404, None),
        ("GET", "/api/v1/servers/-1/", 404, None),
        ("GET", "/api/v1/servers/12345%2F/", 404, None),
        ("GET", "/api/v1/servers/../servers/", 404, None),
        ("POST", "/api/v1/servers/12345/explode/", 404, None),
        ("GET", "/api/v1/", 404, None),
        ("GET", "/api/v1/servers/99999999999999999999999/", 404, None),
    ],
)
def test_other_paths(account: Account, method: str, path: str, status: int, location: str | None) -> None:
    """Without the trailing slash a GET is redirected; every other path that is none of the page's is 404."""
    answer = account.call(method, path)

    assert (answer.status, answer.headers.get("Location")) == (status, location)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [12345, 12346, 12347]),
        ("?status=active", [12345, 12347]),
        ("?status=stopped", [12346]),
        ("?location=us-east", [12347]),
        ("?status=active&location=us-east", [12347]),
        ("?status=stopped&location=us-east", []),
        ("?status=&location=", [12345, 12346, 12347]),
        ("?status=nonsense", []),
        ("?page=2", [12345, 12346, 12347]),
    ],
)
def test_filters(account: Account, query: str, ids: list[int]) -> None:
    """`status` and `location` narrow the list, together too; `count` counts what is shown."""
    account.world.add(now=0)
    account.world.add(now=0, status="stopped")
    account.world.add(now=0, location="us-east")

    listed = account.json("GET", f"/api/v1/servers/{query}")

    assert [server["id"] for server in listed["results"]] == ids
    assert listed["count"] == len(ids)


@pytest.mark.parametrize(
    ("query", "count"), [("", 2), ("?location=us-east", 2), ("?location=", 2), ("?location=mars", 0)]
)
def test_plans(account: Account, query: str, count: int) -> None:
    """The plans are a list with the fields of the plans page, narrowed by `location`, and fit the servers' own."""
    listed = account.json("GET", f"/api/v1/plans/{query}")

    assert (listed["count"], len(listed["results"])) == (count, count)
    if count:
        assert listed["results"][0] == {
            "id": 1,
            "name": "Standard VPS",
            "slug": "standard",
            "vcpus": 2,
            "memory": 4096,
            "storage": 80,
            "bandwidth": 2048,
            "price_monthly": 10.0,
            "price_hourly": 0.015,
            "available": True,
            "locations": ["us-west", "us-east", "eu-central"],
            "description": "2 vCPUs, 4 GB of memory, 80 GB of storage",
        }


@pytest.mark.parametrize("dialect", [Documented, Provider])
def test_the_account(dialect: type[Api]) -> None:
    """GET /account/me/ returns account and token as on the account page, in both dialects."""
    api = dialect(World(), "secret")
    command = api.understand(Call("GET", "/api/v1/account/me/", authorization="Bearer secret"))

    assert isinstance(command, Command)
    answer = api.execute(command, 0)
    shown = json.loads(answer.body)

    assert (answer.status, list(shown)) == (200, ["account", "token"])
    assert shown["account"] == {
        "email": "john@example.com",
        "first_name": "John",
        "last_name": "Doe",
        "company_name": "Acme Inc.",
        "created_at": "2024-06-15",
    }
    assert isinstance(shown["token"]["name"], str)
    assert all(isinstance(word, str) for word in shown["token"]["permissions"])


def test_the_newest_first() -> None:
    """A world that lists its newest server first does so in every list."""
    account = Account(newest_first=True)
    account.world.add(3, now=0)

    assert [one["id"] for one in account.json("GET", "/api/v1/servers/")["results"]] == [12347, 12346, 12345]


def test_lists_keep_up_with_changes(account: Account) -> None:
    """A list that was read before shows each later change: commands, time, hooks, hiding and its end."""
    seen = []

    def look() -> None:
        listed = account.json("GET", "/api/v1/servers/")
        seen.append([server["status"] for server in listed["results"]])

    look()
    account.call("POST", "/api/v1/servers/", SPEC)
    look()
    account.now = 180
    look()
    account.world.suspend(12345, account.now)
    look()
    account.world.hide(12345, 5, account.now)
    look()
    account.now = 185
    look()
    account.world.vanish(12345, account.now)
    look()

    assert seen == [[], ["provisioning"], ["active"], ["suspended"], [], ["suspended"], []]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "caf\u00e9"}, "name"),
        ({"name": "web_1"}, "name"),
        ({"name": "web-1\n"}, "name"),
        ({"name": "a" * 256}, "name"),
        ({"name": 5}, "name"),
        ({"plan_id": 3}, "plan_id"),
        ({"plan_id": "1"}, "plan_id"),
        ({"plan_id": True}, "plan_id"),
        ({"plan_id": 1.0}, "plan_id"),
        ({"plan_id": [1]}, "plan_id"),
        ({"os_id": 1}, "os_id"),
        ({"os_id": None}, "os_id"),
        ({"location": "mars"}, "location"),
        ({"location": 1}, "location"),
        ({"hostname": None}, "hostname"),
        ({"hostname": "a b"}, "hostname"),
        ({"hostname": "a..b"}, "hostname"),
        ({"hostname": 1}, "hostname"),
        ({"ssh_key_id": "1"}, "ssh_key_id"),
        ({"ssh_key_id": 0}, "ssh_key_id"),
        ({"backups_enabled": "true"}, "backups_enabled"),
        ({"backups_enabled": 1}, "backups_enabled"),
        ({"backups_enabled": None}, "backups_enabled"),
    ],
)
def test_a_bad_field_is_400(account: Account, change: dict[str, Any], field: str) -> None:
    """A create with a wrong field is refused, and the answer names just that field."""
    answer = account.call("POST", "/api/v1/servers/", {**SPEC, **change})

    assert (answer.status, list(json.loads(answer.body))) == (400, [field])
    assert account.world.ledger == []


@pytest.mark.parametrize("field", ["name", "plan_id", "os_id", "location"])
def test_a_missing_field_is_400(account: Account, field: str) -> None:
    """The four required fields of a create are required."""
    document = {name: value for name, value in SPEC.items() if name != field}

    answer = account.call("POST", "/api/v1/servers/", document)

    assert (answer.status, list(json.loads(answer.body))) == (400, [field])


@pytest.mark.parametrize("field", list(PUT))
def test_put_requires_all_three(account: Account, field: str) -> None:
    """A PUT without one of its fields is refused and changes nothing."""
    (server,) = account.world.add(now=0)

    document = {name: value for name, value in PUT.items() if name != field}
    answer = account.call("PUT", "/api/v1/servers/12345/", document)

    assert (answer.status, list(json.loads(answer.body))) == (400, [field])
    assert account.world.find(12345, 0) == server


def test_optional_fields_and_unknown_ones(account: Account) -> None:
    """Hostname, SSH key and backups may be given or left out; fields that the page does not know are ignored."""
    full = {**SPEC, "hostname": "a.example.com", "ssh_key_id": 7, "backups_enabled": True, "colour": "red"}

    plain, rich = (account.json("POST", "/api/v1/servers/", document) for document in (SPEC, full))

    assert (plain["hostname"], plain["backups_enabled"]) == (None, False)
    assert (rich["hostname"], rich["backups_enabled"]) == ("a.example.com", True)
    assert "colour" not in rich


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"name": NaN}',
        b"[" * 100_000,
        b"1" * 10_000,
        b"name=web-1",
    ],
)
def test_broken_json_is_400(account: Account, body: bytes) -> None:
    """A body that is no JSON object is refused, whatever is wrong with it."""
    assert account.call("POST", "/api/v1/servers/", body=body).status == 400


def test_only_json_is_taken(account: Account) -> None:
    """A form is refused, JSON with a charset is not, and an action asks for no body at all."""
    document = json.dumps(SPEC).encode()
    account.world.add(now=0)

    def status(kind: str) -> int:
        return account.call("POST", "/api/v1/servers/", body=document, content_type=kind).status

    assert status("application/x-www-form-urlencoded") == 400
    assert status("application/json; charset=utf-8") == 201
    assert account.call("POST", "/api/v1/servers/12345/stop/", body=b"{").status == 200


def test_a_body_too_large_is_413(account: Account) -> None:
    """A body that was not taken because of its size is 413."""
    assert account.call("POST", "/api/v1/servers/", body=None).status == 413


def test_payment_comes_after_validation() -> None:
    """Without credit a good create is 402, and a bad one is still 400."""
    account = Account(credit=0)

    assert account.call("POST", "/api/v1/servers/", SPEC).status == 402
    assert account.call("POST", "/api/v1/servers/", {}).status == 400


def test_understanding_does_nothing(account: Account) -> None:
    """Reading a call yields a command and leaves the world alone."""
    call = Call("POST", "/api/v1/servers/12345/reboot/", authorization="bearer secret")

    assert account.api.understand(call) == Command("reboot", 12345)
    assert account.world.ledger == []


TEXT = st.text("aZ5-._ \n\u00e9\u4e00", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*SPEC, *PUT, "ssh_key_id"], JSON)))
def test_any_document_is_answered(document: Any) -> None:
    """Whatever JSON a create holds, the answer is 201 or 400, and says so in JSON."""
    account = Account()

    answer = account.call("POST", "/api/v1/servers/", document)

    assert answer.status in (201, 400)
    assert isinstance(json.loads(answer.body), dict)
