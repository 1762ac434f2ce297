"""The provider's form of the API: its requests, its refusals, and responses of every shape."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpsorg_async import OperatingSystem, Plan, Report, Server, ServerSpec, Succeeded
from vpsorg_async.dialects import Provider, check_dialect, make_dialect, other_dialect
from vpsorg_async.errors import ConfigurationError, DecodeError
from vpsorg_async.http.exchange import Operation

UUID = "6f1c2a52-7d0e-4a6f-9d0f-0d4f1f6f3b11"
PLAN, SYSTEM = "0b8e8f3c-58f5-4f3a-a2b9-1b2fd6b4c1aa", "a40fd33c-5b4a-44d5-9a4c-6f3f3a2f6d10"
ROW: dict[str, Any] = {
    "uuid": UUID,
    "hostname": "web01.example.com",
    "status": "active",
    "ipv4_addresses": ["203.0.113.10", "203.0.113.11"],
    "ipv6_addresses": ["2001:db8::1"],
    "location_name": "US West",
    "plan_name": "Standard VPS",
    "os_name": "Ubuntu 22.04 LTS",
    "deployed": True,
    "created_at": "2025-01-10T14:30:00Z",
}
DETAIL: dict[str, Any] = {
    **{name: ROW[name] for name in ("uuid", "hostname", "status", "ipv4_addresses", "created_at")},
    "location": {"name": "US West"},
    "plan": {"ram": 4, "ram_unit": "GB", "cpu": 2, "disk_space": 80},
    "operating_system": {"name": "Ubuntu"},
    "operating_system_version": {"name": "22.04 LTS"},
}
SPEC = ServerSpec(name="web-1", plan_id=PLAN, os_id=SYSTEM, location=2)

dialect = Provider()


def read(**changes: Any) -> Server:
    """A detail answer with these fields changed; ``...`` removes one."""
    fields = {name: value for name, value in (DETAIL | changes).items() if value is not ...}
    return dialect.read_server(json.dumps(fields).encode())


def test_a_row_is_read() -> None:
    """A list item is flat: names without ids, the first of several addresses, no ``updated_at``."""
    (server,) = dialect.read_page(json.dumps({"count": 1, "results": [ROW]}).encode()).results

    assert server == Server(
        id=UUID,
        name="web01.example.com",
        status=server.status,
        hostname="web01.example.com",
        ip_address="203.0.113.10",
        ipv6_address="2001:db8::1",
        location="US West",
        plan=Plan(name="Standard VPS"),
        os=OperatingSystem(name="Ubuntu 22.04 LTS"),
        created_at=datetime(2025, 1, 10, 14, 30, tzinfo=UTC),
    )
    assert server.status == "active"


def test_one_server_is_read() -> None:
    """One server is nested: its plan has figures, its system a name and a version."""
    server = read()

    assert server.plan == Plan(vcpus=2, memory=4, storage=80)
    assert server.os == OperatingSystem(name="Ubuntu 22.04 LTS")
    assert (server.location, server.password, server.updated_at) == ("US West", None, None)


def test_little_is_enough() -> None:
    """An id and a status are the only required fields; the rest is None."""
    server = dialect.read_server(json.dumps({"uuid": UUID, "status": "of tomorrow"}).encode())

    assert {name for name, value in attrs.asdict(server).items() if value not in (None, "")} == {
        "id",
        "status",
    }
    assert server.status == "of tomorrow"


@pytest.mark.parametrize(
    ("changes", "address"),
    [
        ({"ipv4_addresses": []}, None),
        ({"ipv4_addresses": None}, None),
        ({"ipv4_addresses": ""}, None),
        ({"ipv4_addresses": "192.0.2.1"}, "192.0.2.1"),
        ({"ipv4_addresses": [None, "192.0.2.1"]}, "192.0.2.1"),
        ({"ipv4_addresses": ...}, None),
        ({"ipv4_addresses": ..., "ip_address": "192.0.2.2"}, "192.0.2.2"),
        ({"ipv4_addresses": [], "ipv4": "192.0.2.3"}, "192.0.2.3"),
        ({"ipv4_addresses": [{"family": 4}], "ip_address": "192.0.2.4"}, "192.0.2.4"),
        ({"ipv4_addresses": {"primary": "x"}}, None),
        ({"ipv4_addresses": 7}, None),
    ],
)
def test_addresses(changes: dict[str, Any], address: str | None) -> None:
    """A list, one string, or either of the second package's names; any other value is no address."""
    assert read(**changes).ip_address == address


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2025-01-10T14:30:00Z", datetime(2025, 1, 10, 14, 30, tzinfo=UTC)),
        ("2025-01-10T15:30:00.25+01:00", datetime(2025, 1, 10, 14, 30, 0, 250_000, tzinfo=UTC)),
        ("2025-01-10", datetime(2025, 1, 10, tzinfo=UTC)),
        ("10 Jan 2025", None),
        ("", None),
        (1736519400, None),
        ({"$date": 0}, None),
        (None, None),
    ],
)
def test_times(said: Any, meant: datetime | None) -> None:
    """A time without a zone is in UTC; one in an unknown form is None, and makes no response unreadable."""
    server = read(created_at=said, updated_at=said)

    assert (server.created_at, server.updated_at) == (meant, meant)


@pytest.mark.parametrize(
    ("plan", "meant"),
    [
        ({"ram": "4.00", "cpu": "2", "disk_space": 80.0}, Plan(vcpus=2, memory=4, storage=80)),
        ({"ram": "4 GB", "cpu": None, "disk_space": [], "name": "S"}, Plan(name="S")),
        ({"uuid": PLAN, "ram": "1e999"}, Plan(id=PLAN)),
        ("Standard VPS", Plan(name="Standard VPS")),
        (None, None),
        (..., None),
    ],
)
def test_plans(plan: Any, meant: Plan | None) -> None:
    """Figures may come as texts; one that can't be read is left out, and the plan may be a mere name."""
    assert read(plan=plan).plan == meant


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"operating_system_version": ...}, OperatingSystem(name="Ubuntu")),
        ({"operating_system": ...}, OperatingSystem(name="22.04 LTS")),
        ({"operating_system": "Debian", "operating_system_version": "12"}, OperatingSystem(name="Debian 12")),
        (
            {"operating_system_version": {"uuid": SYSTEM, "name": "24"}},
            OperatingSystem(id=SYSTEM, name="Ubuntu 24"),
        ),
        ({"operating_system": None, "operating_system_version": None}, None),
    ],
)
def test_systems(changes: dict[str, Any], meant: OperatingSystem | None) -> None:
    """A system and its version form one name; the version's id is the one that a spec accepts."""
    assert read(**changes).os == meant


def test_names_and_ids() -> None:
    """``hostname`` goes before ``name``, which can be a label; ``uuid`` before ``id``; an integer id will do."""
    assert read(name="web-1").name == "web01.example.com"
    assert read(name="web-1", hostname=None).name == "web-1"
    assert read(name=None).name == "web01.example.com"
    assert read(hostname=...).name == ""
    assert read(id=7).id == UUID
    assert read(uuid=..., id=7).id == 7
    assert read(location=3).location == "3"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"hostname": "web", "status": "active"}, "without an id"),
        ({"uuid": 7, "status": "active"}, "$.uuid"),
        ({"uuid": UUID, "status": None}, "$.status"),
        ({"uuid": UUID}, "status"),
        ([], "$"),
        ("<html>", "$"),
    ],
)
def test_what_does_not_fit(body: Any, problem: str) -> None:
    """A server needs an id and a status; a guess could be about another server."""
    with pytest.raises(DecodeError) as caught:
        dialect.read_server(json.dumps(body).encode())
    with pytest.raises(DecodeError):
        dialect.read_page(json.dumps({"results": [ROW, body]}).encode())

    assert problem in str(caught.value)
    assert caught.value.problems


def test_lists_come_in_pages_or_bare() -> None:
    """With ``count`` and ``next``, with ``results`` alone, or bare."""
    link = "https://admin.vps.org/api/v1/servers/?page=2"
    whole = dialect.read_page(
        json.dumps({"count": 21, "next": link, "previous": None, "results": [ROW]}).encode()
    )
    plain = dialect.read_page(json.dumps({"results": [ROW]}).encode())
    bare = dialect.read_page(json.dumps([ROW, ROW]).encode())

    assert (whole.count, whole.next, len(whole.results)) == (21, link, 1)
    assert (plain.count, plain.next, len(plain.results)) == (None, None, 1)
    assert (bare.count, bare.next, len(bare.results)) == (None, None, 2)


@pytest.mark.parametrize(
    ("count", "shown", "pages"),
    [
        (None, 0, []),
        (0, 0, []),
        (100, 100, []),
        (101, 100, [2]),
        (1000, 100, [2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (50, 20, [2, 3]),
        (250, 250, []),
    ],
)
def test_pages_that_follow(count: int | None, shown: int, pages: list[int]) -> None:
    """A thousand servers are ten requests; pages that are shorter than requested are followed too."""
    paths = [f"/api/v1/servers/?page={page}&page_size=100" for page in pages]

    assert list(dialect.further_pages(count, shown)) == paths


def test_a_password_is_not_shown() -> None:
    """The root password is in the record and survives pickling; no repr, no report and no error shows it."""
    server = read(password="hunter2-of-root")
    report = Report(operation="create", outcomes=(Succeeded("web-1", server),))

    copy = pickle.loads(pickle.dumps(server))

    assert (copy, copy.password) == (server, "hunter2-of-root")
    assert pickle.loads(pickle.dumps(report)).servers[0].password == "hunter2-of-root"
    for text in (repr(server), str(server), repr(report), str(report), report.to_json()):
        assert "hunter2" not in text
    with pytest.raises(DecodeError) as caught:
        read(uuid=..., password="hunter2-of-root")
    assert "hunter2" not in str(caught.value)
    frame: Any = caught.tb
    while frame is not None:
        own = {name: value for name, value in frame.tb_frame.f_locals.items() if name == "self"}
        assert "hunter2" not in repr(own)
        frame = frame.tb_next


@pytest.mark.parametrize("said", [None, "", 7, ["x"]])
def test_no_password(said: Any) -> None:
    """A password that is not a text is ignored, but the server was created."""
    assert read(password=said).password is None


def body_of(spec: ServerSpec) -> Any:
    request = dialect.create(spec)
    assert (request.operation, request.method, request.path) == (Operation.CREATE, "POST", "/api/v1/servers/")
    return json.loads(request.body or b"")


def test_the_body_of_a_create() -> None:
    """The form's own names: the hostname is the only name, the location an integer, keys a list."""
    plain = {"hostname": "web-1", "location": 2, "plan": PLAN, "os_version": SYSTEM}

    assert body_of(SPEC) == plain
    assert body_of(attrs.evolve(SPEC, location="2", backups_enabled=False)) == plain
    assert body_of(attrs.evolve(SPEC, hostname="w1.example.com")) == plain | {"hostname": "w1.example.com"}
    assert body_of(attrs.evolve(SPEC, ssh_key_id="k1")) == plain | {"ssh_keys": ["k1"]}
    assert body_of(attrs.evolve(SPEC, ssh_key_ids=("k1", "k2"))) == plain | {"ssh_keys": ["k1", "k2"]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"backups_enabled": True}, "backups"),
        ({"location": "us-west"}, "integer id"),
        ({"location": "-1"}, "integer id"),
    ],
)
def test_what_can_not_be_said(change: dict[str, Any], reason: str) -> None:
    """A spec that the form can't express is refused before sending, with the server's name and the reason."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        dialect.create(attrs.evolve(SPEC, **change))

    assert str(caught.value).startswith("web-1: ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ssh_key_ids": (1, 2)}, "one ssh key, not 2"),
        ({"ssh_key_id": 1, "ssh_key_ids": (2,)}, "one ssh key, not 2"),
        ({"location": 1}, "by its code"),
    ],
)
def test_what_the_documented_one_can_not_say(change: dict[str, Any], reason: str) -> None:
    """The documented dialect refuses fields that only the provider's form has."""
    spec = ServerSpec(**{"name": "web-1", "plan_id": 1, "os_id": 5, "location": "us-west", **change})

    with pytest.raises(ConfigurationError, match=reason):
        make_dialect("documented").create(spec)


def test_one_key_by_either_field_is_the_documented_one() -> None:
    """A single key of ``ssh_key_ids`` is the documented ``ssh_key_id``."""
    request = make_dialect("documented").create(
        ServerSpec(name="web-1", plan_id=1, os_id=5, location="us-west", ssh_key_ids=(9,))
    )

    assert json.loads(request.body or b"")["ssh_key_id"] == 9


@pytest.mark.parametrize("call", ["replace", "update"])
def test_there_is_neither_put_nor_patch(call: str) -> None:
    """The error says so before anything is sent."""
    with pytest.raises(ConfigurationError, match=f"provider dialect has no {call}"):
        getattr(dialect, call)(UUID, {})


@pytest.mark.parametrize(
    ("operation", "word"),
    [(Operation.START, "start"), (Operation.STOP, "stop"), (Operation.REBOOT, "restart")],
)
def test_power(operation: Operation, word: str) -> None:
    """One path for power, with the action in the body."""
    request = dialect.action(operation, UUID)

    assert (request.operation, request.method) == (operation, "POST")
    assert request.path == f"/api/v1/servers/{UUID}/power/"
    assert json.loads(request.body or b"") == {"action": word}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"detail": "Accepted."}', b"null", b"OK", b"[1"])
def test_the_answer_to_power_is_not_read(body: bytes) -> None:
    """A power action was accepted, whatever the response says."""
    accepted = dialect.read_action(body, UUID)

    assert (accepted.server_id, accepted.server_status) == (UUID, None)


def test_a_page_for_people_accepts_nothing() -> None:
    """An HTML page is no response of this API, whatever its status: a login page did not reboot a server."""
    with pytest.raises(DecodeError, match="HTML"):
        dialect.read_action(b"\n<!doctype html><title>Log in</title>", UUID)


def test_reads_and_deletes() -> None:
    """Paths with the id escaped, so that none can reach another path."""
    assert dialect.get("a/../b?x").path == "/api/v1/servers/a%2F..%2Fb%3Fx/"
    assert (dialect.delete(UUID).method, dialect.delete(UUID).path) == ("DELETE", f"/api/v1/servers/{UUID}/")
    assert dialect.list("active", "us-west").path == "/api/v1/servers/?page=1&page_size=100"


def test_filters_are_applied_here() -> None:
    """The form knows no filters: status and the location's name are compared by the client."""
    server = read()

    assert dialect.matches(server, None, None)
    assert dialect.matches(server, "active", "US West")
    assert not dialect.matches(server, "stopped", None)
    assert not dialect.matches(server, None, "us-west")


DOCUMENTED_ROW = {"id": 1, "name": "web-1", "status": "active"}


@pytest.mark.parametrize(
    ("body", "of_documented", "of_provider"),
    [
        ({"count": 1, "results": [ROW]}, "provider", None),
        (DETAIL, "provider", None),
        ([ROW], "provider", None),
        ({"count": 0, "results": []}, None, None),
        ({"detail": "no"}, None, None),
        (DOCUMENTED_ROW, None, "documented"),
        ({"count": 1, "results": [DOCUMENTED_ROW | {"name": None}]}, None, None),
        ([DOCUMENTED_ROW | {"plan": 5}] * 3, None, "documented"),
        (DOCUMENTED_ROW | {"uuid": "u-1"}, None, None),
        ("<html>", None, None),
    ],
)
def test_the_other_dialect_is_known_by_its_own_marks(
    body: Any, of_documented: str | None, of_provider: str | None
) -> None:
    """A misfit is blamed on the dialect only where the response has a mark of the other one."""
    text = json.dumps(body).encode()

    assert other_dialect("documented", text) == of_documented
    assert other_dialect("provider", text) == of_provider


@pytest.mark.parametrize("word", ["", "Provider", "both", None, 1, []])
def test_there_are_two_dialects(word: Any) -> None:
    """Any other word is refused, with the list of valid ones."""
    with pytest.raises(ConfigurationError, match="documented or provider"):
        check_dialect(word)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**6) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "uuid", "ram"]), inner)
    ),
    max_leaves=5,
)
DESCRIBING = [
    "ipv4_addresses",
    "ipv6_addresses",
    "ip_address",
    "ipv4",
    "created_at",
    "updated_at",
    "password",
]


# drawing recursive values takes long on a busy machine
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(DESCRIBING), json_values))
def test_what_only_describes_never_hides_a_server(changes: dict[str, Any]) -> None:
    """Whatever the descriptive fields contain, the server is read with its id and status."""
    server = read(**changes)

    assert (server.id, server.status) == (UUID, "active")
