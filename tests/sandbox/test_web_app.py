"""The sandbox over real sockets: aiohttp's client against it, the log, the control endpoint, and many at once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from vpsorg_async.sandbox import ManualClock, Rule, Sandbox, faults

Talk = Callable[..., Awaitable[Any]]


@pytest.fixture
async def http(box: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {box.token}"}
    async with aiohttp.ClientSession(f"{box.url}/api/v1/", headers=headers) as session:
        yield session


async def test_a_server_s_life(
    http: aiohttp.ClientSession, box: Sandbox, clock: ManualClock, spec: Any
) -> None:
    """All nine endpoints in one story, on kept connections, with time moved by hand."""

    async def call(method: str, path: str = "servers/12345/", document: Any = None) -> tuple[int, Any]:
        async with http.request(method, path, json=document) as response:
            return response.status, await response.json() if response.status != 204 else None

    async def status() -> Any:
        return (await call("GET"))[1]["status"]

    assert (await call("POST", "servers/", spec))[0] == 201
    assert (await call("POST", "servers/12345/start/"))[0] == 400
    clock.advance(300)
    assert await status() == "active"
    assert (await call("POST", "servers/12345/start/")) == (400, {"detail": "Server is already running."})
    assert (await call("POST", "servers/12345/stop/"))[1]["server"]["status"] == "stopping"
    clock.advance(20)
    assert await status() == "stopped"
    assert (await call("POST", "servers/12345/reboot/"))[0] == 400
    assert (await call("POST", "servers/12345/start/"))[1]["server"]["status"] == "starting"
    clock.advance(20)
    assert (await call("POST", "servers/12345/reboot/"))[1]["server"]["status"] == "rebooting"
    clock.advance(40)
    assert await status() == "active"
    put = {"name": "b", "hostname": "b.example.com", "backups_enabled": True}
    assert (await call("PUT", document=put))[1]["hostname"] == "b.example.com"
    assert (await call("PATCH", document={"name": "c"}))[1]["name"] == "c"
    assert (await call("GET", "servers/?status=active"))[1]["count"] == 1
    assert (await call("DELETE")) == (204, None)
    assert (await call("GET"))[0] == 404
    assert (await call("GET", "servers/")) == (200, {"count": 0, "results": []})
    assert [change.operation for change in box.ledger] == [
        *("create", "stop", "start", "reboot", "replace", "update", "delete"),
    ]


async def test_the_request_log(box: Sandbox, talk: Talk, spec: Any, clock: ManualClock) -> None:
    """Each request is logged with its answer, effect, fault and connection; the token never is."""
    box.faults.add(Rule("reboot", faults.DropAfter(), times=1))
    box.world.add()
    clock.advance(2)
    await talk("POST", json=spec)
    await talk("POST", "/api/v1/servers/12345/reboot/")
    await talk("GET", f"/api/v1/servers/?status=active&token={box.token}")
    await talk("GET", "/nowhere", token=None)

    seen = [
        (e.seq, e.at, e.method, e.path, e.query, e.status, e.fault, e.committed, e.connection)
        for e in box.requests
    ]
    assert seen == [
        (1, 2, "POST", "/api/v1/servers/", "", 201, None, True, 1),
        (2, 2, "POST", "/api/v1/servers/12345/reboot/", "", None, "drop_after", True, 2),
        (3, 2, "GET", "/api/v1/servers/", "status=active&token=[token]", 200, None, False, 3),
        (4, 2, "GET", "/nowhere", "", 404, None, False, 4),
    ]
    assert len({entry.port for entry in box.requests}) == 4
    for path in ("ledger", "requests", "faults"):
        assert box.token.encode() not in (await talk("GET", f"/_sandbox/{path}")).raw


async def test_requests_on_one_connection(http: aiohttp.ClientSession, box: Sandbox) -> None:
    """Requests on a kept connection share its number and port."""
    for _ in range(3):
        async with http.get("servers/") as response:
            await response.read()

    assert [entry.connection for entry in box.requests] == [1, 1, 1]
    assert len({entry.port for entry in box.requests}) == 1


async def test_the_side_door(box: Sandbox, talk: Talk, spec: Any) -> None:
    """Faults can be set, read with counters and cleared over HTTP, without a token; ledger and log can be read."""
    rules = [{"operation": "create", "times": 1, "actions": [{"do": "drop_after"}]}]

    async def door(method: str, path: str, document: Any = None) -> Any:
        return await talk(method, f"/_sandbox/{path}", document, token=None)

    armed = await door("POST", "faults", {"rules": rules})
    await talk("POST", json=spec)
    assert armed.json == {"rules": [{**rules[0], "matched": 0, "fired": 0}]}
    assert (await door("GET", "faults")).json == {"rules": [{**rules[0], "matched": 1, "fired": 1}]}
    assert len((await door("POST", "faults", {"rules": rules})).json["rules"]) == 2
    assert len((await door("POST", "faults", {"rules": rules, "replace": True})).json["rules"]) == 1
    assert (await door("DELETE", "faults")).status == 204
    assert (await door("GET", "faults")).json == {"rules": []}

    ledger = (await door("GET", "ledger")).json
    requests = (await door("GET", "requests")).json
    assert [(c["operation"], c["name"], c["request"]) for c in ledger["results"]] == [("create", "web-1", 1)]
    assert [(r["status"], r["fault"], r["committed"]) for r in requests["results"]] == [
        (None, "drop_after", True)
    ]
    assert (await door("GET", "ledger?since=1")).json == {"count": 0, "results": []}
    assert (await door("GET", "requests?since=1")).json["count"] == 0
    assert (await door("GET", "requests?since=x")).json["count"] == 1

    assert (await door("POST", "reset")).status == 204
    assert (box.servers, box.ledger, box.requests, box.faults.rules) == ((), (), (), ())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "(document)"),
        (b'{"rules": [{"operation": "explode", "actions": [{"do": "garbage"}]}]}', "rules[0].operation"),
        (b'{"rules": [{"actions": [{"do": "delay", "seconds": NaN}]}]}', "(document)"),
        (b'{"\\ud800": 1}', "\ud800"),
    ],
)
async def test_bad_faults_are_400(box: Sandbox, talk: Talk, body: bytes, field: str) -> None:
    """Bad fault JSON is 400, names the field, and leaves the rules in force as they were."""
    box.faults.add(Rule("create", faults.Garbage()))

    heard = await talk("POST", "/_sandbox/faults", body=body)

    assert (heard.status, heard.json["field"]) == (400, field)
    assert len(box.faults.rules) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "nothing", 404), ("PUT", "faults", 405), ("DELETE", "ledger", 405), ("GET", "ledger/", 200)],
)
async def test_the_side_door_is_narrow(talk: Talk, method: str, path: str, status: int) -> None:
    """Other paths and methods of the control endpoint are refused in JSON."""
    heard = await talk(method, f"/_sandbox/{path}")

    assert heard.status == status
    assert isinstance(heard.json, dict)


async def test_a_body_too_large_is_413(box: Sandbox, talk: Talk) -> None:
    """A body over a megabyte is refused, on the API and at the control endpoint, and the sandbox stays well."""
    body = b" " * (2**20 + 1)

    assert (await talk("POST", body=body)).status == 413
    assert (await talk("POST", "/_sandbox/faults", body=body)).status == 413
    assert (await talk("GET")).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET\r\n\r\n",
        b"POST /api/v1/servers/ HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
    ],
)
async def test_bad_clients_do_no_harm(box: Sandbox, talk: Talk, sent: bytes) -> None:
    """Bytes that are no request, or half a request, do not affect other connections."""
    host, port = box.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    await writer.drain()
    writer.close()

    assert (await talk("GET")).status == 200
    assert box.ledger == ()


async def test_many_at_once(http: aiohttp.ClientSession, box: Sandbox, spec: Any) -> None:
    """Hundreds of creates over 64 connections are all answered, each once, with ids of their own."""

    async def create(number: int) -> int:
        async with http.post("servers/", json={**spec, "name": f"web-{number}"}) as response:
            assert response.status == 201
            return int((await response.json())["id"])

    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(f"{box.url}/api/v1/", headers=http.headers, connector=connector) as http:
        ids = await asyncio.gather(*(create(number) for number in range(400)))

    assert sorted(ids) == list(range(12345, 12745))
    assert len({change.name for change in box.ledger}) == 400
    assert all(entry.committed and entry.status == 201 for entry in box.requests)
    assert {change.request for change in box.ledger} == {entry.seq for entry in box.requests}


async def test_long_lists(box: Sandbox, talk: Talk, clock: ManualClock) -> None:
    """Five thousand servers are listed whole, and one that changes is shown changed."""
    box.world.add(5000)
    assert (await talk("GET")).json["count"] == 5000

    box.world.suspend(14000)
    listed = (await talk("GET")).json["results"]

    assert [server["id"] for server in listed if server["status"] == "suspended"] == [14000]
    assert len(json.dumps(listed)) > 1_000_000


async def test_answers_carry_the_sandbox_s_date(
    box: Sandbox, talk: Talk, clock: ManualClock, spec: Any
) -> None:
    """The Date header goes by the sandbox's clock, as its timestamps do."""
    before = (await talk("GET")).header("Date")
    clock.advance(86_400)
    after = (await talk("GET")).header("Date")

    assert before != after
