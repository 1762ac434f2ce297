"""The records: plain frozen data, open status words, specs that are checked when they are created."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vpsorg_async import (
    ActionAccepted,
    OperatingSystem,
    Plan,
    ResourceUsage,
    Server,
    ServerSpec,
    ServerStatus,
)
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.http.exchange import segment
from vpsorg_async.specs import check_hostname, check_id, check_name

SERVER = Server(
    id=12345,
    name="web-server-01",
    status=ServerStatus.ACTIVE,
    hostname="web01.example.com",
    ip_address="203.0.113.10",
    ipv6_address="2001:0db8::1",
    location="us-west",
    plan=Plan(id=1, name="Standard VPS", vcpus=2, memory=4096, storage=80, bandwidth=2048),
    os=OperatingSystem(id=5, name="Ubuntu 22.04 LTS"),
    backups_enabled=True,
    resource_usage=ResourceUsage(cpu_percent=23.5, memory_used=2048, disk_used=35, bandwidth_used=450),
    created_at=datetime(2025, 1, 10, 14, 30, tzinfo=UTC),
    updated_at=datetime(2025, 1, 16, 15, 45, tzinfo=UTC),
    message="hello",
)
SPEC = ServerSpec(name="web-01", plan_id=1, os_id=5, location="us-west")
RECORDS = [
    SERVER,
    SERVER.plan,
    SERVER.os,
    SERVER.resource_usage,
    ActionAccepted(server_id=1, server_status=ServerStatus("odd"), message="taken"),
    SPEC,
]
GIVEN: dict[str, Any] = {"name": "web-01", "plan_id": 1, "os_id": 5, "location": "us-west"}


def kind(record: object) -> str:
    return type(record).__name__


# -- records --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record", RECORDS, ids=kind)
def test_records_are_frozen(record: Any) -> None:
    """No field can be set, and no other attribute added."""
    for name in (attrs.fields(type(record))[0].name, "surprise"):
        with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
            setattr(record, name, None)


@pytest.mark.parametrize("record", RECORDS, ids=kind)
def test_records_are_values(record: Any) -> None:
    """Records are equal, hashable and copied by their values."""
    twin = attrs.evolve(record)

    assert twin == record
    assert hash(twin) == hash(record)
    assert copy.deepcopy(record) == record
    assert record != attrs.evolve(
        record, **{attrs.fields(type(record))[0].name: 9 if record != SPEC else "b"}
    )


@pytest.mark.parametrize("record", RECORDS, ids=kind)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_records_survive_pickling(record: Any, protocol: int) -> None:
    """Records cross process boundaries, unknown status words among them."""
    assert pickle.loads(pickle.dumps(record, protocol)) == record


def test_asdict_is_the_api_s_own_shape() -> None:
    """``attrs.asdict`` gives the API's field names, nested records included."""
    data = attrs.asdict(SERVER)

    assert data["plan"]["vcpus"] == 2
    assert data["os"] == {"id": 5, "name": "Ubuntu 22.04 LTS"}
    assert data["status"] == "active"
    assert json.loads(json.dumps(data, default=str))["status"] == "active"
    assert (
        Server(
            **{
                **data,
                "plan": Plan(**data["plan"]),
                "os": OperatingSystem(**data["os"]),
                "resource_usage": ResourceUsage(**data["resource_usage"]),
            }
        )
        == SERVER
    )


def test_only_the_essentials_are_required() -> None:
    """Every field but id, name and status is None where an answer lacked it."""
    server = Server(id="a-uuid", name="web", status=ServerStatus.STOPPED)

    assert {
        value for name, value in attrs.asdict(server).items() if name not in ("id", "name", "status")
    } == {None}


@pytest.mark.parametrize(
    ("four", "six", "address"),
    [
        ("192.0.2.1", "2001:db8::1", "192.0.2.1"),
        ("192.0.2.1", None, "192.0.2.1"),
        (None, "2001:db8::1", "2001:db8::1"),
        ("", "2001:db8::1", "2001:db8::1"),
        (None, None, None),
        ("", "", None),
    ],
)
def test_the_address_of_a_server(four: str | None, six: str | None, address: str | None) -> None:
    """The address is the IPv4 one, else the IPv6 one, else None; it is no field of the record."""
    server = Server(id=1, name="a", status=ServerStatus.ACTIVE, ip_address=four, ipv6_address=six)

    assert server.address == address
    assert "address" not in attrs.asdict(server)


# -- status words ---------------------------------------------------------------------------------------------------


def test_a_known_status_is_its_word() -> None:
    """A status compares, hashes, formats and serialises as the word that the API sent."""
    active: str = ServerStatus.ACTIVE

    assert active == "active"
    assert {"active": 1}[ServerStatus.ACTIVE] == 1
    assert f"{ServerStatus.ACTIVE}" == str(ServerStatus.ACTIVE) == "active"
    assert json.dumps(ServerStatus.ACTIVE) == '"active"'
    assert ServerStatus("active") is ServerStatus.ACTIVE
    assert ServerStatus.ACTIVE.is_known


@pytest.mark.parametrize("word", ["migrating", "Active", "", "zürich"])
def test_an_unknown_status_is_its_word_too(word: str) -> None:
    """A word that the provider adds behaves like the known ones, and says that it is not known."""
    status = ServerStatus(word)

    assert isinstance(status, ServerStatus)
    assert status == ServerStatus(word) == word
    assert status != ServerStatus.ACTIVE
    assert hash(status) == hash(word)
    assert {word: 1}[status] == 1
    assert (str(status), status.value, f"{status:>12}") == (word, word, f"{word:>12}")
    assert word in repr(status)
    assert not status.is_known
    assert pickle.loads(pickle.dumps(status)) == word
    assert copy.deepcopy(status) == copy.copy(status) == word


def test_unknown_words_do_not_pile_up() -> None:
    """Unknown words come from the network: they are neither listed nor stored."""
    known = list(ServerStatus)
    for number in range(100):
        ServerStatus(f"odd-{number}")

    assert list(ServerStatus) == known
    assert not ServerStatus("odd-1").is_known
    assert {status.value for status in known} == {
        "active", "stopped", "suspended", "provisioning", "starting", "stopping", "rebooting",
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, 1, True, b"active", ["active"]])
def test_a_status_is_a_word(value: Any) -> None:
    """A status has to be a string."""
    with pytest.raises(ValueError, match="is not a valid ServerStatus"):
        ServerStatus(value)


# -- ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        True, False, 0, -1, 1.0, None, b"1", [1], (1,), object(),
        "", " ", "\t", ".", "..", "a\nb", "a\x00", "\x7f", "\x85", "a\u2028b", "\u200b", "\ud800",
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_id(value: object) -> None:
    """An id is a positive integer or a string that is valid in a path and in a log line."""
    with pytest.raises(ConfigurationError, match="a server id is a positive integer or a non-empty string"):
        check_id(value)


@pytest.mark.parametrize(
    "value", [1, 12345, 2**63, 10**30, "1", "a/b", "../x", "a b", "?x#y", "...", "zürich", "%2e"]
)
def test_what_is_an_id(value: int | str) -> None:
    """Integers of any sensible size, and strings of any characters: ids are opaque."""
    assert check_id(value) == value


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        (12345, "12345"),
        ("a/b", "a%2Fb"),
        ("../x", "..%2Fx"),
        ("a b", "a%20b"),
        ("a?b#c", "a%3Fb%23c"),
        ("%2e%2e", "%252e%252e"),
        ("zürich", "z%C3%BCrich"),
        ("a\\b", "a%5Cb"),
        ("a;b=c", "a%3Bb%3Dc"),
        ("0b5e-4f", "0b5e-4f"),
    ],
)
def test_ids_are_escaped(value: int | str, escaped: str) -> None:
    """An id is one segment of the path, whatever it holds."""
    assert segment(value) == escaped


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_no_id_leaves_its_segment(value: str) -> None:
    """Every accepted id comes out as one segment that reads back as the id."""
    try:
        escaped = segment(check_id(value))
    except ConfigurationError:
        return
    assert escaped not in (".", "..", "")
    assert not set(escaped) & set("/?#\\ ")
    assert unquote(escaped) == value


# -- specs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None), ("name", ""), ("name", 5), ("name", b"web"), ("name", "web_01"), ("name", "web 01"),
        ("name", "web.01"), ("name", "wéb"), ("name", "web-01\n"), ("name", "\nweb"), ("name", "web\u0661"),
        ("name", "x" * 50 + "/"),
        ("plan_id", None), ("plan_id", True), ("plan_id", 0), ("plan_id", -1), ("plan_id", 1.0), ("plan_id", ""),
        ("os_id", None), ("os_id", False), ("os_id", 0), ("os_id", "\n"), ("os_id", [5]),
        ("location", None), ("location", ""), ("location", "  "), ("location", 0), ("location", True),
        ("location", "us\nwest"), ("location", "9" * 101),
        ("hostname", ""), ("hostname", 5), ("hostname", "web 01"), ("hostname", ".example.com"), ("hostname", "a..b"),
        ("hostname", "https://example.com"), ("hostname", "exämple.com"), ("hostname", "x" * 64 + ".com"),
        ("hostname", ".".join(["x" * 60] * 5)), ("hostname", "web01.example.com\n"),
        ("ssh_key_id", True), ("ssh_key_id", 0), ("ssh_key_id", ""), ("ssh_key_id", 1.5),
        ("backups_enabled", 1), ("backups_enabled", 0), ("backups_enabled", "true"), ("backups_enabled", "false"),
    ],
)  # fmt: skip
def test_what_no_spec_can_hold(field: str, value: Any) -> None:
    """A spec that the API would refuse or change is refused at creation; so is a changed copy of one."""
    with pytest.raises(ConfigurationError):
        ServerSpec(**{**GIVEN, field: value})
    with pytest.raises(ConfigurationError):
        attrs.evolve(SPEC, **{field: value})


@pytest.mark.parametrize("missing", list(GIVEN))
def test_what_a_spec_needs(missing: str) -> None:
    """Name, plan, operating system and location are required, and given by name."""
    with pytest.raises(TypeError, match=missing):
        ServerSpec(**{name: value for name, value in GIVEN.items() if name != missing})
    with pytest.raises(TypeError):
        ServerSpec("web-01", 1, 5, "us-west")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a"), ("name", "WEB-01"), ("name", "-"), ("name", "0" * 300),
        ("plan_id", "0b5e"), ("os_id", 10**12), ("location", "eu central 1"), ("location", 3),
        ("hostname", "web01"), ("hostname", "web01.example.com."), ("hostname", "_dmarc.example.com"),
        ("hostname", "xn--exmple-cua.com"), ("hostname", None),
        ("ssh_key_id", 7), ("ssh_key_id", "key-7"), ("backups_enabled", True), ("backups_enabled", False),
    ],
)  # fmt: skip
def test_what_a_spec_can_hold(field: str, value: object) -> None:
    """Any spec that the page allows is accepted unchanged."""
    assert getattr(ServerSpec(**{**GIVEN, field: value}), field) == value


def test_integers_without_end_are_refused() -> None:
    """Python can't write an integer of thousands of digits, not even into a message: refused like any other."""
    for value in (10**5000, -(10**5000)):
        for check in (check_id, check_name, check_hostname):
            with pytest.raises(ConfigurationError, match="too many digits"):
                check(value)


def test_messages_stay_short() -> None:
    """A wrong value is shown, but not a megabyte of it."""
    with pytest.raises(ConfigurationError, match="'web 01'"):
        check_name("web 01")
    for check in (check_name, check_hostname, check_id):
        with pytest.raises(ConfigurationError) as caught:
            check("\n" * 1_000_000)
        assert len(str(caught.value)) < 300
