"""Responses to records: the documented samples, field by field, and bodies that do not fit."""

from __future__ import annotations

import contextlib
import json
import logging
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

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
from vpsorg_async.codec import MAX_PROBLEMS, Decoder, dumps, encode, loads
from vpsorg_async.conversion import unstructure
from vpsorg_async.dialects import Documented, Page
from vpsorg_async.errors import DecodeError, Sent

SAMPLES = Path(__file__).parents[1] / "samples"
API = Documented()

STANDARD = Plan(id=1, name="Standard VPS", vcpus=2, memory=4096, storage=80)
UBUNTU = OperatingSystem(id=5, name="Ubuntu 22.04 LTS")


def sample(name: str) -> bytes:
    """An answer of the API page, byte for byte."""
    return (SAMPLES / f"{name}.json").read_bytes()


def utc(*moment: int) -> datetime:
    year, month, day, hour, minute = moment
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def server_with(**fields: str) -> bytes:
    """A server answer of which some values are given as JSON text; an empty text leaves the key out."""
    texts = {"id": "1", "name": '"web"', "status": '"active"', **fields}
    return ("{" + ",".join(f'"{key}":{text}' for key, text in texts.items() if text) + "}").encode()


WEB = Server(id=1, name="web", status=ServerStatus.ACTIVE)


def problems(body: bytes) -> tuple[str, ...]:
    """The problems of a server response."""
    with pytest.raises(DecodeError) as caught:
        API.read_server(body)
    return caught.value.problems


def page_problems(body: bytes) -> tuple[str, ...]:
    """The problems of a list response."""
    with pytest.raises(DecodeError) as caught:
        API.read_page(body)
    API.explain(caught.value, body)
    return caught.value.problems


# -- the samples of the API page ------------------------------------------------------------------------------------


def test_the_list_sample() -> None:
    """The documented list has two servers, and each documented value arrives."""
    page = API.read_page(sample("list"))

    assert page == Page(
        count=2,
        results=[
            Server(
                id=12345,
                name="web-server-01",
                hostname="web01.example.com",
                status=ServerStatus.ACTIVE,
                ip_address="203.0.113.10",
                location="us-west",
                plan=STANDARD,
                os=UBUNTU,
                created_at=utc(2025, 1, 10, 14, 30),
                updated_at=utc(2025, 1, 15, 10, 20),
            ),
            Server(
                id=12346,
                name="db-server-01",
                hostname="db01.example.com",
                status=ServerStatus.ACTIVE,
                ip_address="203.0.113.11",
                location="us-east",
                plan=Plan(id=2, name="Performance VPS", vcpus=4, memory=8192, storage=160),
                os=OperatingSystem(id=3, name="Debian 12"),
                created_at=utc(2025, 1, 12, 9, 15),
                updated_at=utc(2025, 1, 16, 8, 45),
            ),
        ],
    )


def test_the_create_sample() -> None:
    """The documented answer to a create: provisioning, no address yet, a notice for people."""
    assert API.read_server(sample("create")) == Server(
        id=12347,
        name="web-server-02",
        hostname="web02.example.com",
        status=ServerStatus.PROVISIONING,
        ip_address=None,
        location="us-west",
        plan=STANDARD,
        os=UBUNTU,
        backups_enabled=True,
        created_at=utc(2025, 1, 16, 15, 30),
        updated_at=utc(2025, 1, 16, 15, 30),
        message="Server is being provisioned. This may take 2-5 minutes.",
    )


def test_the_detail_sample() -> None:
    """The documented detail has fields that no other response has: IPv6, bandwidth, usage."""
    assert API.read_server(sample("detail")) == Server(
        id=12345,
        name="web-server-01",
        hostname="web01.example.com",
        status=ServerStatus.ACTIVE,
        ip_address="203.0.113.10",
        ipv6_address="2001:0db8::1",
        location="us-west",
        plan=attrs.evolve(STANDARD, bandwidth=2048),
        os=UBUNTU,
        backups_enabled=True,
        resource_usage=ResourceUsage(cpu_percent=23.5, memory_used=2048, disk_used=35, bandwidth_used=450),
        created_at=utc(2025, 1, 10, 14, 30),
        updated_at=utc(2025, 1, 16, 15, 45),
    )


@pytest.mark.parametrize(
    ("name", "status"), [("start", "starting"), ("stop", "stopping"), ("reboot", "rebooting")]
)
def test_the_action_samples(name: str, status: str) -> None:
    """The documented action answers: ``success`` is the command's, the status inside is the server's."""
    assert API.read_action(sample(name), 12345) == ActionAccepted(
        server_id=12345,
        server_status=ServerStatus(status),
        server_name="web-server-01",
        status="success",
        message=f"Server is {status}",
    )


@pytest.mark.parametrize("name", ["create", "detail"])
def test_every_documented_key_has_a_field(name: str) -> None:
    """No key of the page's own JSON is dropped, at any depth."""
    data = json.loads(sample(name))
    fields = attrs.asdict(API.read_server(sample(name)))

    assert data.keys() <= fields.keys()
    assert data["plan"].keys() <= fields["plan"].keys()
    assert data["os"].keys() == fields["os"].keys()
    assert data.get("resource_usage", {}).keys() <= (fields["resource_usage"] or {}).keys()


def test_the_create_body_sample() -> None:
    """A spec writes the documented request body, and only fields that were given."""
    spec = ServerSpec(
        name="web-server-02",
        plan_id=1,
        os_id=5,
        location="us-west",
        hostname="web02.example.com",
        backups_enabled=True,
    )

    assert unstructure(spec) == json.loads(sample("create-body"))


def test_a_spec_writes_what_was_given_and_no_more() -> None:
    """Optional fields left out are not sent; False is not left out."""
    least = ServerSpec(name="a", plan_id=1, os_id=5, location="us-west")

    assert unstructure(least) == {"name": "a", "plan_id": 1, "os_id": 5, "location": "us-west"}
    assert unstructure(attrs.evolve(least, backups_enabled=False, ssh_key_id=7)) == {
        **unstructure(least),
        "ssh_key_id": 7,
        "backups_enabled": False,
    }


# -- one server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"plan": '{"memory":"12"}'}, "$.plan.memory"),
        ({"plan": '{"memory":1.5}'}, "$.plan.memory"),
        ({"plan": '{"memory":4096.0}'}, "$.plan.memory"),
        ({"plan": '{"memory":true}'}, "$.plan.memory"),
        ({"plan": '{"memory":[]}'}, "$.plan.memory"),
        ({"plan": '{"name":5}'}, "$.plan.name"),
        ({"plan": "[]"}, "$.plan"),
        ({"plan": '"Standard VPS"'}, "$.plan"),
        ({"os": '{"id":false}'}, "$.os.id"),
        ({"id": "null"}, "$.id"),
        ({"id": "true"}, "$.id"),
        ({"id": "1.0"}, "$.id"),
        ({"id": "{}"}, "$.id"),
        ({"name": "null"}, "$.name"),
        ({"name": "12"}, "$.name"),
        ({"status": "null"}, "$.status"),
        ({"status": "1"}, "$.status"),
        ({"hostname": "5"}, "$.hostname"),
        ({"ip_address": "false"}, "$.ip_address"),
        ({"backups_enabled": '"false"'}, "$.backups_enabled"),
        ({"backups_enabled": "1"}, "$.backups_enabled"),
        ({"backups_enabled": "0"}, "$.backups_enabled"),
        ({"resource_usage": '{"cpu_percent":"23.5"}'}, "$.resource_usage.cpu_percent"),
        ({"resource_usage": '{"cpu_percent":true}'}, "$.resource_usage.cpu_percent"),
        ({"resource_usage": '{"disk_used":0.5}'}, "$.resource_usage.disk_used"),
        ({"created_at": "1700000000"}, "$.created_at"),
        ({"updated_at": '"yesterday"'}, "$.updated_at"),
        ({"updated_at": '"2025-02-30T00:00:00Z"'}, "$.updated_at"),
    ],
)
def test_values_are_not_bent_to_fit(fields: dict[str, str], path: str) -> None:
    """A value of another JSON type is a problem with its path, never converted."""
    (problem,) = problems(server_with(**fields))

    assert problem.startswith(f"{path}: ")


@pytest.mark.parametrize("key", ["id", "name", "status"])
def test_a_server_without_its_essentials_does_not_fit(key: str) -> None:
    """Id, name and status are always there."""
    (problem,) = problems(server_with(**{key: ""}))

    assert problem == f"$: Object missing required field `{key}`"


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Server)][3:])
def test_any_other_field_may_be_null(field: str) -> None:
    """Null is None in any other field, neither the text "None" nor a problem."""
    assert API.read_server(server_with(**{field: "null"})) == WEB


def test_any_other_field_may_be_absent() -> None:
    """A server may be as short as in an action answer."""
    assert API.read_server(server_with()) == WEB


@pytest.mark.parametrize("word", ["migrating", "ACTIVE", "", "gone", "zürich", "active "])
def test_an_unknown_status_word_is_kept(word: str) -> None:
    """The set of status words is open."""
    server = API.read_server(server_with(status=json.dumps(word)))

    assert server.status == word
    assert not server.status.is_known


def test_unknown_keys_are_ignored() -> None:
    """The API may add fields, at any depth, of any shape."""
    body = server_with(plan='{"id":1,"price":{"x":[1,null]}}', tags="[1,2]", Id='"other"', ID="null")

    assert API.read_server(body) == attrs.evolve(WEB, plan=Plan(id=1))


def test_an_id_may_be_a_string() -> None:
    """Ids are opaque, and keep their type: 12 and "12" are two things."""
    assert API.read_server(server_with(id='"12"')).id == "12"
    assert API.read_server(server_with(id="12")).id == 12


def test_a_huge_integer_is_exact() -> None:
    """Numbers beyond 64 bits are neither rounded nor refused."""
    assert API.read_server(server_with(plan=f'{{"memory":{10**30}}}')).plan == Plan(memory=10**30)


def test_whole_numbers_fit_where_fractions_are_meant() -> None:
    """``23`` is a good percentage."""
    usage = API.read_server(server_with(resource_usage='{"cpu_percent":23}')).resource_usage

    assert usage == ResourceUsage(cpu_percent=23.0)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-10T14:30:00Z", utc(2025, 1, 10, 14, 30)),
        ("2025-01-10T14:30:00.250Z", utc(2025, 1, 10, 14, 30) + timedelta(milliseconds=250)),
        ("2025-01-10T16:30:00+02:00", utc(2025, 1, 10, 14, 30)),
    ],
)
def test_timestamps(text: str, moment: datetime) -> None:
    """Fractions and offsets are read as they are written."""
    assert API.read_server(server_with(created_at=f'"{text}"')).created_at == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-10T14:30:00", utc(2025, 1, 10, 14, 30)),
        ("2025-01-10 14:30:00.5", utc(2025, 1, 10, 14, 30) + timedelta(milliseconds=500)),
        ("2025-01-10", utc(2025, 1, 10, 0, 0)),
    ],
)
def test_a_time_without_a_zone_is_read_as_utc(text: str, moment: datetime) -> None:
    """A time without a zone is accepted in lenient mode, so that all times of a server can be compared."""
    body = server_with(created_at=f'"{text}"')

    server, problems = API.read_loosely(body)

    assert (server.created_at, list(problems)) == (moment, [])
    with pytest.raises(DecodeError):
        API.read_server(body)


def test_an_offset_is_kept() -> None:
    """The zone in which a time was written is kept."""
    created_at = API.read_server(server_with(created_at='"2025-01-10T16:30:00+02:00"')).created_at

    assert created_at is not None
    assert created_at.tzinfo == timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"null",
        b"[]",
        b"5",
        b'"active"',
        b"{",
        b"NaN",
        server_with() + b" x",
        server_with() + server_with(),
        b"\xef\xbb\xbf" + server_with(),
        server_with().decode().encode("utf-16"),
        server_with(hostname='"\\ud800"'),
        server_with(hostname='"x"').replace(b"x", b"\xff"),
        server_with(resource_usage='{"cpu_percent":NaN}'),
        server_with(resource_usage='{"cpu_percent":Infinity}'),
        server_with(resource_usage='{"cpu_percent":1e999}'),
        server_with(plan='{"memory":' + "9" * 5000 + "}"),
        server_with(extra="[" * 100_000),
        b"[" * 100_000,
        b'{"id":' * 50_000,
        b"<html><title>504 Gateway Time-out</title></html>",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_server_is_a_decode_error(body: bytes) -> None:
    """Cut, malformed, foreign or absurd bodies end in the one documented error, with a reason."""
    (problem,) = problems(body)

    assert problem.startswith("$")


def test_problems_do_not_repeat_values() -> None:
    """Problems do not quote values, which may be secret."""
    assert "hunter2" not in str(problems(server_with(backups_enabled='"hunter2"')))


def test_a_decode_error_shows_its_problems() -> None:
    """The text has a line for each problem; a 2xx that does not fit may have been applied."""
    with pytest.raises(DecodeError) as caught:
        API.read_server(server_with(name="5"))

    assert str(caught.value) == "the answer does not fit\n  $.name: Expected `str`, got `int`"
    assert caught.value.sent is Sent.MAYBE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["id", "name", "status", "plan", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(JSON)
def test_any_json_is_a_record_or_a_decode_error(value: Any) -> None:
    """Decoding returns a record or raises DecodeError, whatever the API sends."""
    for read in (API.read_server, API.read_page, lambda body: API.read_action(body, 1)):
        with contextlib.suppress(DecodeError):
            read(json.dumps(value).encode())


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_a_record_or_a_decode_error(body: bytes) -> None:
    """Decoding raises nothing else, whatever service responds in the API's place."""
    for read in (API.read_server, API.read_page, lambda body: API.read_action(body, 1), loads):
        with contextlib.suppress(DecodeError):
            read(body)


# -- lists ----------------------------------------------------------------------------------------------------------


def test_a_bare_array_is_a_list() -> None:
    """The envelope may be missing."""
    assert API.read_page(b"[" + server_with() + b"]") == Page(results=[WEB])


@pytest.mark.parametrize("body", [b'{"results":[]}', b'{"count":0,"results":[],"next":null}', b"[]"])
def test_an_empty_list(body: bytes) -> None:
    """An empty list is a valid response; count and next may be missing or null."""
    assert API.read_page(body).results == []


def test_problems_name_the_row() -> None:
    """Every row that does not fit is named by its number, not only the first."""
    rows = [server_with(), server_with(name="5"), server_with(), server_with(status=""), b"7"]

    assert page_problems(b'{"count":5,"results":[' + b",".join(rows) + b"]}") == (
        "$.results[1].name: Expected `str`, got `int`",
        "$.results[3]: Object missing required field `status`",
        "$.results[4]: Expected `object`, got `int`",
    )


def test_problems_name_the_row_of_a_bare_array() -> None:
    """Rows are counted without an envelope as well."""
    assert page_problems(b"[" + server_with() + b"," + server_with(plan='{"id":1.5}') + b"]") == (
        "$[1].plan.id: Expected `int | str | null`, got `float`",
    )


def test_problems_come_to_an_end() -> None:
    """The error of a long list without any valid row is short."""
    found = page_problems(b'{"results":[' + b",".join([b"5"] * 50) + b"]}")

    assert len(found) == MAX_PROBLEMS
    assert found[-1].startswith("$.results[9]: ")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{}", "$: Object missing required field `results`"),
        (b'{"results":null}', "$.results: Expected `array`, got `null`"),
        (b'{"results":{}}', "$.results: Expected `array`, got `object`"),
        (b'{"count":"2","results":[]}', "$.count: Expected `int | null`, got `str`"),
        (b'{"next":5,"results":[]}', "$.next: Expected `str | null`, got `int`"),
        (b"5", "$: Expected `object | array`, got `int`"),
        (b"null", "$: Expected `object | array`, got `null`"),
    ],
)
def test_what_is_no_list(body: bytes, problem: str) -> None:
    """A list response needs a list of results, and nothing else is guessed."""
    assert page_problems(body) == (problem,)


def test_a_list_decodes_where_its_count_is_wrong() -> None:
    """The rows count, whatever the count says."""
    page = API.read_page(b'{"count":3,"results":[' + server_with() + b"]}")

    assert (page.count, page.results) == (3, [WEB])


# -- actions and changes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_action_may_be_answered_with_nothing(body: bytes) -> None:
    """The page lists no codes for stop: an empty answer means accepted, and no more."""
    assert API.read_action(body, 7) == ActionAccepted(server_id=7)


def test_an_action_answer_may_be_short() -> None:
    """A field that an envelope lacks is None; the id is the requested one."""
    assert API.read_action(b'{"status":"success"}', 7) == ActionAccepted(server_id=7, status="success")
    assert API.read_action(b'{"server":{"id":7}}', 7) == ActionAccepted(server_id=7)


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b'{"server":"web"}', b'{"server":{"id":null}}', b'{"status":1}']
)
def test_what_is_no_action_answer(body: bytes) -> None:
    """An envelope of other types does not fit."""
    with pytest.raises(DecodeError):
        API.read_action(body, 7)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"OK", b'{"status":"success"}', b'{"id":1,"name":"web"}']
)
def test_an_answer_to_a_change_that_is_no_server(body: bytes) -> None:
    """PUT and PATCH have undocumented answers: a server, or None."""
    assert API.read_changed(body) is None
    assert API.read_changed(sample("detail")) == API.read_server(sample("detail"))


# -- any JSON ---------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(JSON)
def test_json_survives_the_round_trip(value: Any) -> None:
    """Encoded JSON decodes to the same value."""
    try:
        body = dumps(value)
    except ValueError:
        return  # lone surrogates and infinity can't be written
    assert loads(body) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, b"x", "\ud800", {(1,): 2}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    """Encoding converts nothing to null, base64 or a list."""
    with pytest.raises((TypeError, ValueError)):
        dumps({"a": value})


def test_a_decoder_reads_any_shape() -> None:
    """Decoders work for other shapes than servers; a failure leaves them usable."""
    read: Decoder[dict[str, int]] = Decoder(dict[str, int])

    with pytest.raises(DecodeError):
        read(b'{"a":"1"}')
    assert read(b'{"a":1}') == {"a": 1}


def test_decoding_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """Bodies are not logged."""
    with caplog.at_level(logging.DEBUG), pytest.raises(DecodeError):
        API.read_server(b'{"id":"hunter2"}')

    assert caplog.text == ""


class Word(str):
    __slots__ = ()


class Number(int):
    __slots__ = ()


@pytest.mark.parametrize("value", [Word("a"), Number(7), ServerStatus.ACTIVE, 10**60, True, 'é\u2028"\\'])
def test_checked_values_are_encoded_like_others(value: str | int | bool) -> None:
    """The quick encoder of request bodies writes what the careful one writes, whatever type a value is of."""
    assert encode({"a": value}) == dumps({"a": value})
