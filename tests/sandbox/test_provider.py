"""The provider's dialect of the sandbox: its shapes, its pages, and the machinery that both dialects share."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.provider_client import ProviderClient, RefusedError
from vpsorg_async.sandbox import Durations, FaultError, ManualClock, Rule, Sandbox, faults
from vpsorg_async.sandbox.api import Answer, Call
from vpsorg_async.sandbox.ledger import Command
from vpsorg_async.sandbox.provider import Provider
from vpsorg_async.sandbox.world import World

SERVERS = "/api/v1/servers/"
KEYS = "/api/v1/ssh-keys/"
NOBODY = "00000000-0000-4000-8000-000000000000"
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@example.com"
FIXED = Durations(provisioning=180.0, starting=10.0, stopping=20.0, rebooting=30.0)


class Account:
    """A world and the provider's endpoints, called without a socket at a time that stands still."""

    def __init__(self, **settings: Any) -> None:
        self.world = World(epoch=1_737_041_400, durations=FIXED, identify=Provider.identify, **settings)
        self.api = Provider(self.world, "secret")
        self.now = 0.0

    def call(self, method: str, path: str, document: Any = None, **given: Any) -> Answer:
        path, _, query = path.partition("?")
        body = b"" if document is None else json.dumps(document).encode()
        call = Call(method, path, **{"query": query, "authorization": "Bearer secret", "body": body, **given})
        command = self.api.understand(call)
        return command if isinstance(command, Answer) else self.api.execute(command, self.now)

    def json(self, *arguments: Any, **given: Any) -> Any:
        return json.loads(self.call(*arguments, **given).body)

    def add(self, **settings: Any) -> str:
        """The UUID of a new server."""
        return str(self.world.add(now=self.now, **settings)[0].id)

    def spec(self, **changes: Any) -> dict[str, Any]:
        """A create body, made of what the look-ups offer."""
        plans, systems = (self.json("GET", f"/api/v1/{name}/") for name in ("plans", "operating-systems"))
        return {
            "hostname": "web01.example.com",
            "location": 1,
            "plan": plans[0]["uuid"],
            "os_version": systems[0]["versions"][0]["uuid"],
            **changes,
        }

    def add_key(self, name: str = "laptop") -> Any:
        return self.json("POST", KEYS, {"name": name, "public_key": PUBLIC_KEY})


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def box(clock: ManualClock) -> Iterator[Sandbox]:
    with Sandbox(dialect="provider", clock=clock, durations=FIXED) as running:
        yield running


@pytest.fixture
def client(box: Sandbox) -> Iterator[ProviderClient]:
    client = ProviderClient(box.url, box.token)
    yield client
    client.close()


def test_a_row_is_flat(account: Account) -> None:
    """A server in a list has the fields that the provider's packages read there, and no `updated_at`."""
    made = account.json("POST", SERVERS, account.spec())
    account.now = 200

    listed = account.json("GET", SERVERS)

    assert listed == {
        "count": 1,
        "next": None,
        "previous": None,
        "results": [
            {
                "uuid": made["uuid"],
                "hostname": "web01.example.com",
                "status": "active",
                "ipv4_addresses": ["203.0.113.10"],
                "ipv6_addresses": ["2001:0db8::1"],
                "deployed": True,
                "created_at": "2025-01-16T15:30:00Z",
                "location_name": "US West",
                "plan_name": "Standard VPS",
                "os_name": "Ubuntu 22.04 LTS",
            }
        ],
    }
    assert str(UUID(made["uuid"])) == made["uuid"]


def test_one_server_is_nested(account: Account) -> None:
    """A single server has plan, location and system as objects."""
    uuid = account.add(name="db-1", plan_id=2, os_id=3, location="eu-central")

    assert account.json("GET", f"{SERVERS}{uuid}/") == {
        "uuid": uuid,
        "hostname": "db-1",
        "status": "active",
        "ipv4_addresses": ["203.0.113.10"],
        "ipv6_addresses": ["2001:0db8::1"],
        "deployed": True,
        "created_at": "2025-01-15T15:30:00Z",
        "location": {"name": "EU Central"},
        "plan": {"ram": 8, "ram_unit": "GB", "cpu": 4, "disk_space": 160},
        "operating_system": {"name": "Debian"},
        "operating_system_version": {"name": "12"},
    }


def test_create_tells_the_password_once(account: Account) -> None:
    """The answer to a create is the server with a root password of its own, which no later answer holds."""
    first, second = (account.json("POST", SERVERS, account.spec()) for _ in range(2))
    password = first.pop("password")

    assert len(password) >= 16
    assert second["password"] != password
    assert (first["status"], first["ipv4_addresses"], first["deployed"]) == ("provisioning", [], False)
    assert account.json("GET", f"{SERVERS}{first['uuid']}/") == first
    assert password.encode() not in account.call("GET", SERVERS).body


@pytest.mark.parametrize(
    ("status", "action", "begun", "operation"),
    [
        ("stopped", "start", "starting", "start"),
        ("active", "stop", "stopping", "stop"),
        ("active", "restart", "rebooting", "reboot"),
        ("active", "hard_stop", "stopped", "hard_stop"),
        ("rebooting", "hard_stop", "stopped", "hard_stop"),
        ("stopping", "hard_stop", "stopped", "hard_stop"),
        ("starting", "hard_stop", "stopped", "hard_stop"),
    ],
)
def test_power(account: Account, status: str, action: str, begun: str, operation: str) -> None:
    """The action in the body decides what happens; the ledger knows it by the same word as in the other dialect."""
    uuid = account.add(status=status)

    assert account.call("POST", f"{SERVERS}{uuid}/power/", {"action": action}).status == 202
    assert account.json("GET", f"{SERVERS}{uuid}/")["status"] == begun
    assert [(change.operation, change.server_id) for change in account.world.ledger] == [(operation, uuid)]
    account.now = 100
    assert account.json("GET", f"{SERVERS}{uuid}/")["status"] in ("active", "stopped")


@pytest.mark.parametrize(
    ("status", "action"),
    [
        ("active", "start"),
        ("stopped", "stop"),
        ("stopped", "restart"),
        ("stopped", "hard_stop"),
        ("provisioning", "hard_stop"),
        ("suspended", "start"),
    ],
)
def test_power_that_the_status_forbids(account: Account, status: str, action: str) -> None:
    """A command that does not fit the status is 400 with a `detail`, and changes nothing."""
    uuid = account.add(status=status)

    answer = account.call("POST", f"{SERVERS}{uuid}/power/", {"action": action})

    assert (answer.status, list(json.loads(answer.body))) == (400, ["detail"])
    assert account.world.ledger == []


@pytest.mark.parametrize("document", [{}, {"action": "reboot"}, {"action": None}, {"action": ["stop"]}, None])
def test_power_without_an_action(account: Account, document: Any) -> None:
    """A power call that names no action of the four is 400 by field."""
    answer = account.call("POST", f"{SERVERS}{account.add()}/power/", document)

    assert (answer.status, list(json.loads(answer.body))) == (400, ["action"])


def test_delete(account: Account) -> None:
    """A deleted server is gone: 204 without a body, then 404 for everything."""
    uuid = account.add()

    assert account.call("DELETE", f"{SERVERS}{uuid}/") == Answer(204, b"", {})
    assert account.call("GET", f"{SERVERS}{uuid}/").status == 404
    assert account.call("DELETE", f"{SERVERS}{uuid}/").status == 404
    assert account.call("POST", f"{SERVERS}{uuid}/power/", {"action": "stop"}).status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", f"servers/{NOBODY}/", "GET, DELETE"),
        ("PATCH", f"servers/{NOBODY}/", "GET, DELETE"),
        ("GET", f"servers/{NOBODY}/power/", "POST"),
        ("GET", f"ssh-keys/{NOBODY}/", "DELETE"),
        ("POST", "plans/", "GET"),
        ("DELETE", "account/me/", "GET"),
    ],
)
def test_405_for_other_methods(account: Account, method: str, path: str, allow: str) -> None:
    """What the provider's packages do not use is not offered: no PUT, no PATCH."""
    answer = account.call(method, f"/api/v1/{path}")

    assert (answer.status, answer.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "servers/12345/"),
        ("POST", "servers/12345/start/"),
        ("POST", f"servers/{NOBODY}/start/"),
        ("GET", f"servers/{NOBODY}/"),
        ("GET", f"servers/{NOBODY.replace('-', '')}/"),
        ("DELETE", f"ssh-keys/{NOBODY}/"),
        ("GET", f"plans/{NOBODY}/"),
        ("POST", f"servers/{NOBODY}/backup/"),
    ],
)
def test_404(account: Account, method: str, path: str) -> None:
    """Numbers are no ids here, and the paths of the documented dialect are not there."""
    account.add()

    answer = account.call(method, f"/api/v1/{path}")

    assert (answer.status, list(json.loads(answer.body))) == (404, ["detail"])


@pytest.mark.parametrize("path", ["servers/", f"servers/{NOBODY}/", "plans/", "ssh-keys/", "account/me/"])
def test_401_everywhere(account: Account, path: str) -> None:
    """A wrong token is 401 with a `detail`, look-ups included."""
    answer = account.call("GET", f"/api/v1/{path}", authorization="Bearer wrong")

    assert (answer.status, list(json.loads(answer.body))) == (401, ["detail"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hostname": "a b"}, "hostname"),
        ({"hostname": None}, "hostname"),
        ({"location": "us-west"}, "location"),
        ({"location": 99}, "location"),
        ({"location": 4}, "location"),
        ({"location": True}, "location"),
        ({"plan": 1}, "plan"),
        ({"plan": NOBODY}, "plan"),
        ({"os_version": NOBODY}, "os_version"),
        ({"os_version": None}, "os_version"),
        ({"ssh_keys": "key"}, "ssh_keys"),
        ({"ssh_keys": [NOBODY]}, "ssh_keys"),
        ({"ssh_keys": [1]}, "ssh_keys"),
    ],
)
def test_a_bad_field_is_400(account: Account, change: dict[str, Any], field: str) -> None:
    """A create with a wrong field is refused, with messages under that field's name."""
    answer = account.call("POST", SERVERS, account.spec(**change))
    problems = json.loads(answer.body)

    assert (answer.status, list(problems)) == (400, [field])
    assert all(isinstance(text, str) for text in problems[field])
    assert account.world.ledger == []


def test_the_documented_body_is_refused(account: Account) -> None:
    """The other dialect's create names nothing that this one needs but the host name."""
    answer = account.call("POST", SERVERS, {"name": "web-1", "plan_id": 1, "os_id": 5, "location": "us-west"})

    assert (answer.status, set(json.loads(answer.body))) == (
        400,
        {"hostname", "plan", "os_version", "location"},
    )


def test_credit_runs_out() -> None:
    """Without credit a good create is 402, and a bad one is still 400."""
    account = Account(credit=0)

    assert account.call("POST", SERVERS, account.spec()).status == 402
    assert account.call("POST", SERVERS, {}).status == 400


@pytest.mark.parametrize(
    ("query", "first", "shown", "after", "before"),
    [
        ("", 0, 20, "page=2", None),
        ("page_size=100", 0, 100, "page_size=100&page=2", None),
        ("page_size=1000", 0, 100, "page_size=1000&page=2", None),
        ("page=2&page_size=100", 100, 100, "page_size=100&page=3", "page_size=100"),
        ("page_size=100&page=3", 200, 50, None, "page_size=100&page=2"),
        ("page_size=125&page=3", 200, 50, None, "page_size=125&page=2"),
        ("page_size=0", 0, 20, "page_size=0&page=2", None),
        ("page_size=many", 0, 20, "page_size=many&page=2", None),
        ("page=13", 240, 10, None, "page=12"),
        ("colour=red&page=2", 20, 20, "colour=red&page=3", "colour=red"),
        ("status=stopped", 0, 20, "status=stopped&page=2", None),
    ],
)
def test_pages(account: Account, query: str, first: int, shown: int, after: str, before: str) -> None:
    """A page has its rows, the count of all, and the absolute URLs of its neighbours."""
    names = [server.name for server in account.world.add(250, now=0)]

    page = account.json("GET", f"{SERVERS}?{query}", host="sandbox:8080")

    assert page["count"] == 250
    assert [row["hostname"] for row in page["results"]] == names[first : first + shown]
    links = [text and f"http://sandbox:8080{SERVERS}?{text}" for text in (after, before)]
    assert [page["next"], page["previous"]] == links


def test_the_first_page_has_no_number(account: Account) -> None:
    """The link back to the first page is the list's own URL."""
    account.world.add(21, now=0)

    assert account.json("GET", f"{SERVERS}?page=2")["previous"] == f"http://localhost{SERVERS}"


@pytest.mark.parametrize("page", ["0", "-1", "x", "", "14", "9" * 5000])
def test_a_page_that_is_not_there(account: Account, page: str) -> None:
    """A page before the first or behind the last is 404; the first one is there even if nothing is on it."""
    assert account.json("GET", f"{SERVERS}?page=1")["results"] == []
    account.world.add(250, now=0)

    answer = account.call("GET", f"{SERVERS}?page={page}&page_size=20")

    # An empty value is as none to a query string.
    assert answer.status == (404 if page else 200)


@pytest.mark.parametrize(
    ("newest_first", "first", "second"),
    [
        (False, ["server-12345", "server-12346", "server-12347"], ["server-12349", "server-12350", "late"]),
        (
            True,
            ["server-12350", "server-12349", "server-12348"],
            ["server-12348", "server-12347", "server-12345"],
        ),
    ],
)
def test_pages_are_cut_from_a_list_that_moves(
    newest_first: bool, first: list[str], second: list[str]
) -> None:
    """What vanishes and appears between two pages shifts the rows: one is never shown, or one is shown twice."""
    account = Account(newest_first=newest_first)
    servers = account.world.add(6, now=0)

    def names(page: int) -> list[str]:
        rows = account.json("GET", f"{SERVERS}?page_size=3&page={page}")["results"]
        return [row["hostname"] for row in rows]

    assert names(1) == first
    account.call("DELETE", f"{SERVERS}{servers[1].id}/")
    account.call("POST", SERVERS, account.spec(hostname="late"))
    assert names(2) == second


def test_stale_and_hidden_pages(account: Account) -> None:
    """Reads that lag and servers that hide show in `count` and rows alike."""
    uuid = account.add(age=0)
    account.now = 100
    account.add(age=0)
    account.world.lag(10, account.now, lasting=5)
    lagging = account.json("GET", SERVERS)
    account.now = 106
    account.world.hide(uuid, 10, account.now)
    hiding = account.json("GET", SERVERS)

    assert (lagging["count"], len(lagging["results"])) == (1, 1)
    assert (hiding["count"], [row["uuid"] == uuid for row in hiding["results"]]) == (1, [False])


def test_look_ups(account: Account) -> None:
    """Plans, locations and operating systems come as bare lists, with the fields that the packages read."""
    plans = account.json("GET", "/api/v1/plans/")
    locations = account.json("GET", "/api/v1/locations/")
    systems = account.json("GET", "/api/v1/operating-systems/")

    assert {**plans[0], "uuid": ""} == {
        "uuid": "",
        "ram": 4,
        "ram_unit": "GB",
        "cpu": 2,
        "disk_space": 80,
        "cpu_type_name": "Shared",
        "transfer": 2048,
        "monthly_price": "10.00",
        "hourly_price": "0.015",
    }
    assert locations[0] == {
        "id": 1,
        "name": "US West",
        "country_name": "United States",
        "country_code": "US",
        "is_active": True,
    }
    assert [place["is_active"] for place in locations].count(False) == 1
    assert [(system["name"], [version["name"] for version in system["versions"]]) for system in systems] == [
        ("Ubuntu", ["22.04 LTS"]),
        ("Debian", ["12"]),
    ]
    uuids = [plan["uuid"] for plan in plans] + [system["uuid"] for system in systems]
    uuids += [version["uuid"] for system in systems for version in system["versions"]]
    assert len({UUID(uuid) for uuid in uuids}) == 6


def test_ssh_keys(account: Account) -> None:
    """Keys are added, listed in pages, named by a create, and deleted; the ledger knows it."""
    laptop, phone = account.add_key(), account.add_key("phone")

    listed = account.json("GET", f"{KEYS}?page_size=1")
    assert (listed["count"], listed["results"], listed["next"]) == (
        2,
        [laptop],
        f"http://localhost{KEYS}?page_size=1&page=2",
    )
    assert laptop == {
        "uuid": laptop["uuid"],
        "name": "laptop",
        # What `ssh-keygen -l` prints for this key.
        "fingerprint": "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA",
        "created_at": "2025-01-16T15:30:00Z",
        "last_used_at": None,
    }
    assert account.call("POST", SERVERS, account.spec(ssh_keys=[laptop["uuid"], phone["uuid"]])).status == 201
    assert account.call("DELETE", f"{KEYS}{laptop['uuid']}/") == Answer(204, b"", {})
    assert account.call("DELETE", f"{KEYS}{laptop['uuid']}/").status == 404
    assert account.call("POST", SERVERS, account.spec(ssh_keys=[laptop["uuid"]])).status == 400
    assert [(change.operation, change.name, change.status) for change in account.world.ledger] == [
        ("add_ssh_key", "laptop", "added"),
        ("add_ssh_key", "phone", "added"),
        ("create", "web01.example.com", "provisioning"),
        ("delete_ssh_key", "laptop", "deleted"),
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"public_key": "ssh-ed25519"}, "public_key"),
        ({"public_key": "ssh-ed25519 not*base64"}, "public_key"),
        ({"public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "public_key"),
        ({"public_key": "ssh-rsa \u00e9\u00e9"}, "public_key"),
        ({"public_key": 5}, "public_key"),
    ],
)
def test_a_bad_key_is_400(account: Account, change: dict[str, Any], field: str) -> None:
    """A key without a name, or one that is none, is refused by field."""
    answer = account.call("POST", KEYS, {"name": "laptop", "public_key": PUBLIC_KEY, **change})

    assert (answer.status, list(json.loads(answer.body))) == (400, [field])


def test_backup_snapshot_resize(account: Account) -> None:
    """All three are 202 and in the ledger; a resize changes the plan, the label of a snapshot may be left out."""
    uuid = account.add()
    larger = account.json("GET", "/api/v1/plans/")[1]["uuid"]

    def status(what: str, document: Any = None) -> int:
        return account.call("POST", f"{SERVERS}{uuid}/{what}/", document).status

    assert [status("backup"), status("snapshot"), status("snapshot", {"label": "before"})] == [202, 202, 202]
    assert [status("resize", {"plan": larger}), status("resize", {"plan": NOBODY}), status("resize")] == [
        202,
        400,
        400,
    ]
    assert account.json("GET", f"{SERVERS}{uuid}/")["plan"]["ram"] == 8
    assert [change.operation for change in account.world.ledger] == [
        "backup",
        "snapshot",
        "snapshot",
        "resize",
    ]


TEXT = st.text("a0-._ \u00e9", max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
PATHS = ["", f"{NOBODY}/power/", f"{NOBODY}/resize/", f"{NOBODY}/snapshot/"]
FIELDS = ("hostname", "location", "plan", "os_version", "ssh_keys", "action", "label", "name", "public_key")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([*(SERVERS + path for path in PATHS), KEYS]),
    JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON)),
)
def test_any_document_is_answered(path: str, document: Any) -> None:
    """Whatever JSON is posted, the answer is one of those that the page or we name, and says so in JSON."""
    answer = Account().call("POST", path, document)

    assert answer.status in (201, 400, 404)
    assert isinstance(json.loads(answer.body), dict)


def test_understanding_does_nothing(account: Account) -> None:
    """Reading a power call yields the command that its body names, and leaves the world alone."""
    uuid = account.add()
    call = Call(
        "POST", f"{SERVERS}{uuid}/power/", authorization="Bearer secret", body=b'{"action": "restart"}'
    )

    assert account.api.understand(call) == Command("reboot", uuid)
    assert account.api.operation(call) == "reboot"
    assert account.world.ledger == []


def test_an_independent_client_lives_its_life(
    box: Sandbox, client: ProviderClient, clock: ManualClock
) -> None:
    """A client that shares no code with the sandbox lists, creates, powers and deletes on it."""
    box.world.add(45)
    key = client.call("POST", "/ssh-keys/", {"name": "laptop", "public_key": PUBLIC_KEY})
    made = client.create("web01.example.com", ssh_keys=[key["uuid"]])
    uuid = made["uuid"]

    assert made["password"]
    assert "password" not in client.get(uuid)
    listed = [row["uuid"] for row in client.everything("/servers/?page_size=20")]
    assert len(listed) == len(set(listed)) == 46
    assert listed[-1] == uuid

    seen = []
    for action, seconds in [(None, 180), ("stop", 20), ("start", 10), ("restart", 30), ("hard_stop", 0)]:
        if action:
            client.power(uuid, action)
        seen.append(client.get(uuid)["status"])
        clock.advance(seconds)
        seen.append(client.get(uuid)["status"])
    assert seen == [
        *("provisioning", "active", "stopping", "stopped", "starting", "active"),
        *("rebooting", "active", "stopped", "stopped"),
    ]
    with pytest.raises(RefusedError) as refused:
        client.power(uuid, "stop")
    assert (refused.value.status, list(refused.value.document)) == (400, ["detail"])

    client.delete(uuid)
    with pytest.raises(RefusedError, match="404"):
        client.get(uuid)
    assert len(list(client.everything("/servers/"))) == 45
    assert client.call("GET", "/account/me/")["account"]["email"]
    assert [change.operation for change in box.ledger if change.server_id == uuid] == [
        *("create", "stop", "start", "reboot", "hard_stop", "delete"),
    ]


def test_hooks_take_uuids(box: Sandbox, client: ProviderClient) -> None:
    """What the provider does on its own uses the dialect's own ids."""
    odd, hidden, gone, held = (str(server.id) for server in box.world.add(4))

    box.world.set_status(odd, "haunted")
    box.world.hide(hidden, 60)
    box.world.vanish(gone)
    box.world.suspend(held)

    assert {row["uuid"]: row["status"] for row in client.everything("/servers/")} == {
        odd: "haunted",
        held: "suspended",
    }


def test_faults_go_by_operation(box: Sandbox, client: ProviderClient) -> None:
    """A rule for `reboot` takes the power call that restarts, and no other; rules name servers by UUID."""
    (one, other) = (str(server.id) for server in box.world.add(2))
    box.faults.add(
        Rule("reboot", faults.Reply(500, applied=True), times=1),
        Rule("list", faults.Suspend(server_id=other)),
        {"operation": "plans", "actions": [{"do": "rate_limit"}]},
    )

    client.power(other, "stop")
    with pytest.raises(RefusedError, match="500"):
        client.power(one, "restart")
    assert client.get(one)["status"] == "rebooting"
    assert [row["status"] for row in client.everything("/servers/")] == ["rebooting", "suspended"]
    with pytest.raises(RefusedError, match="429"):
        client.call("GET", "/plans/")

    assert [entry.fault for entry in box.requests] == [None, "reply", None, "suspend", "rate_limit"]
    assert [entry.committed for entry in box.requests] == [True, True, False, False, False]


def test_late_commits(box: Sandbox, client: ProviderClient, clock: ManualClock) -> None:
    """A change that is answered too early is applied later, to servers and to SSH keys alike."""
    box.faults.add(
        Rule("create", faults.CommitLater(5)),
        Rule("add_ssh_key", faults.CommitLater(5)),
        Rule("ssh_keys", faults.CommitLater(5), times=1),
    )
    # The answer is a proxy's page, not JSON.
    with pytest.raises(ValueError):
        client.create("web-1")
    with pytest.raises(ValueError):
        client.call("POST", "/ssh-keys/", {"name": "laptop", "public_key": PUBLIC_KEY})
    with pytest.raises(ValueError):
        client.call("GET", "/ssh-keys/")
    before = len(box.ledger)
    clock.advance(5)

    assert before == 0
    assert [change.operation for change in box.ledger] == ["create", "add_ssh_key"]
    assert [key["name"] for key in client.everything("/ssh-keys/")] == ["laptop"]


def test_a_created_server_can_hide(box: Sandbox, client: ProviderClient, clock: ManualClock) -> None:
    """`hide_created` keeps the new server out of sight by UUID and in lists."""
    box.faults.add(Rule("create", faults.HideCreated(5)))
    uuid = client.create("web-1")["uuid"]

    with pytest.raises(RefusedError, match="404"):
        client.get(uuid)
    assert list(client.everything("/servers/")) == []
    clock.advance(5)
    assert client.get(uuid)["uuid"] == uuid


def test_reset_forgets_keys_too(box: Sandbox, client: ProviderClient) -> None:
    """After a reset the account is as at the start, in the same dialect."""
    client.call("POST", "/ssh-keys/", {"name": "laptop", "public_key": PUBLIC_KEY})
    client.create("web-1")
    box.reset()

    assert list(client.everything("/ssh-keys/")) == list(client.everything("/servers/")) == []


def test_the_password_is_in_no_record(box: Sandbox, client: ProviderClient) -> None:
    """Neither the ledger nor the request log nor a server record holds a root password."""
    password = client.create("web-1")["password"]

    assert password not in repr((box.ledger, box.requests, box.servers))


@pytest.mark.parametrize("operation", ["list", "plans", "account", "ssh_keys", "add_ssh_key"])
def test_some_operations_name_no_server(operation: str) -> None:
    """A fault on the server that the request names makes no sense where none is named."""
    with pytest.raises(FaultError, match=f"{operation} names no server"):
        Rule(operation, faults.Vanish())


@pytest.mark.parametrize("wrong", [0, -1, True, "", 1.5])
def test_ids_in_faults(wrong: Any) -> None:
    """A fault names a server by a positive number or a text."""
    with pytest.raises(FaultError, match="server_id"):
        faults.Suspend(server_id=wrong)
