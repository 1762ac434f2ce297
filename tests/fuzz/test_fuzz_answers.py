"""Any response gives a record or an error of this package: the documented ones, mutated by field and by byte.

``FUZZ_EXAMPLES=2000 python -m pytest tests/fuzz`` tries that number for each response; by default it is a hundred.
"""

from __future__ import annotations

import asyncio
import copy
import enum
import json
import os
import pickle
import types
import typing
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.io.endpoints import sends
from tests.io.raw_server import RawServer, answer
from vpsorg_async import Client, ServerSpec
from vpsorg_async.dialects import Documented, Page
from vpsorg_async.dialects.provider import Provider
from vpsorg_async.errors import APIError, DecodeError, VpsOrgError
from vpsorg_async.http.exchange import Operation, Request, Response
from vpsorg_async.http.redact import Redactor
from vpsorg_async.http.reply import refusal
from vpsorg_async.http.retry import RetryPolicy
from vpsorg_async.records import ActionAccepted, Server

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
by_hand = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
on_the_wire = settings(by_hand, max_examples=max(EXAMPLES // 10, 20))

SAMPLES = Path(__file__).parents[1] / "samples"
DOCUMENTED: dict[str, Any] = {
    name: json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
    for name in ("list", "create", "detail", "start", "stop", "reboot")
}
ERROR = {
    "detail": "no",
    "name": ["too long", "taken"],
    "errors": [{"field": "plan_id", "message": "unknown"}],
}

documented, provider = Documented(), Provider()
PROVIDED = {
    "uuid": "6f1c2a52-7d0e-4a6f-9d0f-0d4f1f6f3b11",
    "hostname": "web01.example.com",
    "status": "active",
    "ipv4_addresses": ["203.0.113.10"],
    "location": {"id": 3, "name": "us-west"},
    "plan": {"uuid": "p1", "name": "Standard", "ram": 4096.0, "cpu": 2, "disk_space": 80},
    "operating_system_version": {"uuid": "o1", "name": "12"},
    "created_at": "2025-01-10T14:30:00Z",
    "password": "x",
}
OTHERS = {"provider list": {"count": 1, "next": None, "results": [PROVIDED]}, "provider detail": PROVIDED}
READERS: dict[str, tuple[str, Callable[[bytes], object], Any]] = {
    "GET list": ("list", documented.read_page, Page),
    "POST": ("create", documented.read_server, Server),
    "GET": ("detail", documented.read_server, Server),
    # the page shows no response, so any will do
    "PUT and PATCH": ("detail", documented.read_changed, Server | None),
    "start": ("start", lambda body: documented.read_action(body, 12345), ActionAccepted),
    "stop": ("stop", lambda body: documented.read_action(body, 12345), ActionAccepted),
    "reboot": ("reboot", lambda body: documented.read_action(body, 12345), ActionAccepted),
    "provider: GET list": ("provider list", provider.read_page, Page),
    "provider: GET": ("provider detail", provider.read_server, Server),
    # descriptive fields of a server may be missing from these
    "loosely: GET": ("detail", lambda body: documented.read_loosely(body)[0], Server),
    "loosely: provider: GET": ("provider detail", lambda body: provider.read_loosely(body)[0], Server),
}
CALLS: dict[str, tuple[str, Callable[[Client], Awaitable[object]]]] = {
    "list": ("list", lambda vps: vps.servers.list()),
    "create": (
        "create",
        lambda vps: vps.servers.create(
            ServerSpec(name="web-server-02", plan_id=1, os_id=1, location="us-west")
        ),
    ),
    "get": ("detail", lambda vps: vps.servers.get(12345)),
    "replace": (
        "detail",
        lambda vps: vps.servers.replace(12345, name="a", hostname="a.example", backups_enabled=True),
    ),
    "update": ("detail", lambda vps: vps.servers.update(12345, name="a")),
    "delete": ("detail", lambda vps: vps.servers.delete(12345)),
    "start": ("start", lambda vps: vps.servers.start(12345)),
    "stop": ("stop", lambda vps: vps.servers.stop(12345)),
    "reboot": ("reboot", lambda vps: vps.servers.reboot(12345)),
}


# -- mutations ------------------------------------------------------------------------------------------------------

odd_values = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            -1,
            1.5,
            1e308,
            10**18,
            10**40,
            "",
            "x",
            "12",
            "true",
            "null",
            [],
            {},
            [[]],
            [{}],
        ]
    ),
    st.sampled_from(
        ["2025-13-45T99:99:99Z", "2025-01-10", "0000-00-00T00:00:00Z", "now", "https://x.example/?a=1"]
    ),
    st.text(max_size=8),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.none() | st.integers() | st.text(max_size=4), max_size=3),
)
new_names = st.sampled_from(["ID", "next", "count", "uuid"]) | st.text(max_size=6)
splices = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\xff\xfe", b"\xed\xa0\x80", b'"\\ud800"', b"NaN", b"-Infinity", b"1e999", b"9" * 5000]
    ),
    st.sampled_from([b"[" * 2000, b'{"a":' * 2000, b"\xef\xbb\xbf", b"\0", b"//", b",", b"}", b"]", b'"']),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in the value, with each of its keys or indexes."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


@st.composite
def mutants(draw: st.DrawFn, sample: Any) -> bytes:
    """The sample as JSON, with some fields and perhaps some bytes changed."""
    value = copy.deepcopy(sample)
    for _ in range(draw(st.integers(0, 4))):
        here = list(places(value))
        if not here:
            break
        container, key = draw(st.sampled_from(here))
        match draw(st.sampled_from(["drop", "retype", "rename", "null", "nest", "repeat"])):
            case "drop":
                del container[key]
            case "retype":
                container[key] = copy.deepcopy(draw(odd_values))
            case "rename" if isinstance(container, dict):
                container[draw(new_names)] = container.pop(key)
            case "nest":
                container[key] = draw(
                    st.sampled_from([[container[key]], {"id": container[key]}, {"results": []}])
                )
            case "repeat" if isinstance(container, list):
                container += [copy.deepcopy(container[key])] * draw(st.integers(1, 3))
            case _:
                container[key] = None
    body = json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 3)) == 0:
        start, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        body = body[:start] + draw(splices) + body[draw(st.sampled_from([start, end, len(body)])) :]
    return body


def fits(value: object, shape: Any) -> bool:
    """Whether a value matches its annotation at every level, without conversions."""
    if shape is Any:
        return True
    if typing.get_origin(shape) in (types.UnionType, typing.Union):
        return any(fits(value, one) for one in typing.get_args(shape))
    if typing.get_origin(shape) in (list, tuple):
        return isinstance(value, list | tuple) and all(fits(one, typing.get_args(shape)[0]) for one in value)
    if isinstance(shape, type) and attrs.has(shape):
        hints = typing.get_type_hints(shape)
        return type(value) is shape and all(fits(getattr(value, name), hint) for name, hint in hints.items())
    if shape is float:
        return type(value) in (float, int)
    if isinstance(shape, type) and issubclass(shape, enum.Enum | datetime):
        return isinstance(value, shape)
    return type(value) is (type(None) if shape is None else shape)


def check_error(error: DecodeError) -> None:
    assert all(isinstance(problem, str) and len(problem) < 1000 for problem in error.problems)
    assert len(error.problems) <= 10
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


# -- the readers ----------------------------------------------------------------------------------------------------


def test_a_list_can_t_claim_to_have_no_end() -> None:
    """Pages are requested by the count that the service reports, which is not verified."""
    assert len(provider.further_pages(1_000_000)) == 9_999
    for count in (1_000_001, 10**18, 10**400):
        with pytest.raises(DecodeError):
            provider.further_pages(count)
    assert provider.further_pages(-5) == ()


@pytest.mark.parametrize("endpoint", READERS)
@by_hand
@given(data=st.data())
def test_any_answer_is_a_record_or_a_decode_error(endpoint: str, data: st.DataObject) -> None:
    """Any mutation of a documented response is read exactly or refused with reasons."""
    sample, read, shape = READERS[endpoint]
    body = data.draw(mutants((DOCUMENTED | OTHERS)[sample]))

    try:
        record = read(body)
        if isinstance(record, Page):
            provider.further_pages(record.count)
    except DecodeError as error:
        check_error(error)
    else:
        assert fits(record, shape)
        assert pickle.loads(pickle.dumps(record)) == record


@by_hand
@given(
    st.one_of(mutants(ERROR), st.binary(max_size=200), st.text(max_size=200).map(str.encode)),
    st.integers(300, 999),
)
@example(b"[" * 100_000, 500)
@example(b'{"a":' * 100_000, 500)
@example(b'{"detail": ' + b"9" * 5000 + b"}", 400)
def test_any_error_body_has_a_bounded_message(body: bytes, status: int) -> None:
    """An error answer of any shape is an error with a readable message of a sensible length."""
    response = Response(status=status, headers={}, body=body, requested_at=0.0, received_at=0.0)

    error = refusal(Request(Operation.GET, "GET", "/x/"), response, Redactor("t0ken"))

    assert isinstance(error, APIError)
    assert error.status == status
    assert 0 < len(error.message) <= 500
    assert len(error.body) <= 2000
    assert pickle.loads(pickle.dumps(error)).message == error.message


# -- the wire -------------------------------------------------------------------------------------------------------

Send = Callable[[str, bytes], object]


@pytest.fixture(scope="module")
def send() -> Iterator[Send]:
    """Make a call to a server that sends this response and disconnects; return its result, or one of our errors.

    Each call has a client of its own: to one that has seen a server before, that server is no response to a create.
    """
    with asyncio.Runner() as runner:
        server = runner.run(RawServer().__aenter__())

        async def call(operation: str) -> object:
            async with Client("t0ken", base_url=server.url, retry=RetryPolicy(attempts=1)) as vps:
                try:
                    return await CALLS[operation][1](vps)
                except VpsOrgError as error:
                    return error

        def one(operation: str, raw: bytes) -> object:
            server.scripts = [sends(raw, then="close")]
            return runner.run(call(operation))

        yield one
        runner.run(server.__aexit__())


@pytest.mark.parametrize("operation", CALLS)
def test_the_answers_as_they_are_documented_are_records(operation: str, send: Send) -> None:
    """The responses that are mutated below are accepted by the call."""
    outcome = send(operation, answer(200, json.dumps(DOCUMENTED[CALLS[operation][0]]).encode()))

    assert not isinstance(outcome, VpsOrgError), outcome


@pytest.mark.parametrize("operation", CALLS)
@on_the_wire
@given(data=st.data())
def test_any_answer_on_the_wire_is_a_record_or_an_error(
    operation: str, send: Send, data: st.DataObject
) -> None:
    """The same through the whole client, with good and bad statuses: nothing but records and our errors come out."""
    body = data.draw(mutants(DOCUMENTED[CALLS[operation][0]]))
    status = data.draw(st.sampled_from([200, 200, 200, 201, 202, 204, 206, 299, 400, 404, 429, 500]))

    outcome = send(operation, answer(status, b"" if status == 204 else body))

    if isinstance(outcome, VpsOrgError):
        assert str(outcome)
        assert pickle.loads(pickle.dumps(outcome)).args == outcome.args
    else:
        assert status < 300
        assert fits(outcome, Server | ActionAccepted | tuple[Server, ...] | None)


HEAD = answer(200, json.dumps(DOCUMENTED["detail"]).encode())


@pytest.mark.parametrize("operation", ["get", "create", "list"])
@on_the_wire
@given(st.integers(0, len(HEAD)), st.integers(0, 40), st.binary(max_size=40))
def test_any_bytes_on_the_wire_are_a_record_or_an_error(
    operation: str, send: Send, start: int, length: int, noise: bytes
) -> None:
    """Noise in the status line, the headers or the body: the same, and no call outlasts its deadline."""

    outcome = send(operation, HEAD[:start] + noise + HEAD[start + length :])

    assert fits(outcome, Server | tuple[Server, ...]) or isinstance(outcome, VpsOrgError)
