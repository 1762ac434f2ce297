"""The requests, call by call: method, address, headers, body; and the input that is refused before sending.

The connection is mocked: these tests cover the shapes of requests only.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aioresponses import CallbackResult, aioresponses
from yarl import URL

from vpsorg_async import ActionAccepted, Client, RetryPolicy, Server, ServerSpec, ServerStatus, __version__
from vpsorg_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    PaymentRequiredError,
    VpsOrgError,
)

SAMPLES = Path(__file__).parents[1] / "samples"
TOKEN = "vps_abc123def456"
SERVERS = "https://admin.vps.org/api/v1/servers/"

Call = Callable[[Client], Awaitable[Any]]


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.json").read_text()


@pytest.fixture
async def vps(mocked: aioresponses) -> AsyncIterator[Client]:
    """A client of the real address over a mocked connection, which tries once."""
    async with Client(TOKEN, retry=RetryPolicy(attempts=1)) as client:
        yield client


def sent(mocked: aioresponses) -> list[tuple[str, str]]:
    """Method and address of each request so far."""
    return [(method, str(url)) for (method, url), calls in mocked.requests.items() for _ in calls]


def only_call(mocked: aioresponses) -> dict[str, Any]:
    """The one request that was sent."""
    ((call,),) = mocked.requests.values()
    kwargs: dict[str, Any] = call.kwargs
    return kwargs


def headers(mocked: aioresponses) -> dict[str, str]:
    return {name.lower(): value for name, value in only_call(mocked)["headers"].items()}


# -- the nine endpoints ---------------------------------------------------------------------------------------------

SPEC = ServerSpec(
    name="web-server-02",
    plan_id=1,
    os_id=5,
    location="us-west",
    hostname="web02.example.com",
    backups_enabled=True,
)
NINE: dict[str, tuple[str, str, int, str | None, str | None, Call]] = {
    # name: method, address, status, response, request body, call
    "list": ("GET", SERVERS, 200, "list", None, lambda vps: vps.servers.list()),
    "create": ("POST", SERVERS, 201, "create", "create-body", lambda vps: vps.servers.create(SPEC)),
    "get": ("GET", f"{SERVERS}12345/", 200, "detail", None, lambda vps: vps.servers.get(12345)),
    "replace": (
        "PUT",
        f"{SERVERS}12345/",
        200,
        "detail",
        "replace-body",
        lambda vps: vps.servers.replace(
            12345, name="web-server-updated", hostname="web-updated.example.com", backups_enabled=True
        ),
    ),
    "update": (
        "PATCH",
        f"{SERVERS}12345/",
        200,
        "detail",
        "update-body",
        lambda vps: vps.servers.update(12345, name="new-server-name"),
    ),
    "delete": ("DELETE", f"{SERVERS}12345/", 204, None, None, lambda vps: vps.servers.delete(12345)),
    "start": ("POST", f"{SERVERS}12345/start/", 200, "start", None, lambda vps: vps.servers.start(12345)),
    "stop": ("POST", f"{SERVERS}12345/stop/", 200, "stop", None, lambda vps: vps.servers.stop(12345)),
    "reboot": ("POST", f"{SERVERS}12345/reboot/", 200, "reboot", None, lambda vps: vps.servers.reboot(12345)),
}


@pytest.mark.parametrize("what", NINE)
async def test_the_nine_requests(what: str, vps: Client, mocked: aioresponses) -> None:
    """Each endpoint is requested as in the page's curl example, trailing slash and body included, once."""
    method, url, status, answer, body, call = NINE[what]
    mocked.add(url, method, status=status, body=sample(answer) if answer else "")

    await call(vps)

    assert sent(mocked) == [(method, url)]
    data = only_call(mocked)["data"]
    assert (None if data is None else json.loads(data)) == (
        None if body is None else json.loads(sample(body))
    )


@pytest.mark.parametrize("what", NINE)
async def test_the_headers_of_the_nine(what: str, vps: Client, mocked: aioresponses) -> None:
    """Every request has the token, the content type of the page's examples, and a user agent."""
    method, url, status, answer, _, call = NINE[what]
    mocked.add(url, method, status=status, body=sample(answer) if answer else "")

    await call(vps)

    assert headers(mocked) == {
        "authorization": f"Bearer {TOKEN}",
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "gzip, deflate",
        "user-agent": f"vpsorg-async/{__version__}",
    }
    assert only_call(mocked)["allow_redirects"] is False


async def test_what_the_nine_return(vps: Client, mocked: aioresponses) -> None:
    """Lists are tuples of servers, one server is a server, actions are accepted and not done, a delete is None."""
    results: dict[str, Any] = {}
    for what, (method, url, status, answer, _, call) in NINE.items():
        mocked.add(url, method, status=status, body=sample(answer) if answer else "")
        results[what] = await call(vps)

    assert [server.name for server in results["list"]] == ["web-server-01", "db-server-01"]
    assert isinstance(results["list"], tuple)
    assert (results["create"].id, results["create"].status) == (12347, "provisioning")
    assert results["get"] == results["replace"] == results["update"]
    assert (results["get"].id, results["get"].ipv6_address) == (12345, "2001:0db8::1")
    assert results["delete"] is None
    for what, status_word in (("start", "starting"), ("stop", "stopping"), ("reboot", "rebooting")):
        assert results[what] == ActionAccepted(
            server_id=12345,
            server_status=ServerStatus(status_word),
            server_name="web-server-01",
            status="success",
            message=f"Server is {status_word}",
        )


@pytest.mark.parametrize(
    ("filters", "query"),
    [
        ({}, {}),
        ({"status": "active"}, {"status": "active"}),
        ({"status": ServerStatus.STOPPED}, {"status": "stopped"}),
        ({"status": "migrating"}, {"status": "migrating"}),
        ({"location": "us-west"}, {"location": "us-west"}),
        ({"status": "active", "location": "us west&x=1"}, {"status": "active", "location": "us west&x=1"}),
    ],
    ids=str,
)
async def test_list_filters(
    filters: dict[str, str], query: dict[str, str], vps: Client, mocked: aioresponses
) -> None:
    """Filters go into the query as they are given, known words or not; an omitted filter is not sent."""
    mocked.get(URL(SERVERS).with_query(query), body=sample("list"))

    await vps.servers.list(**filters)

    ((_, url),) = mocked.requests
    assert dict(url.query) == query


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"name": "a"}, {"name": "a"}),
        ({"hostname": "a.example"}, {"hostname": "a.example"}),
        ({"backups_enabled": False}, {"backups_enabled": False}),
        ({"name": "a", "backups_enabled": True}, {"name": "a", "backups_enabled": True}),
    ],
    ids=str,
)
async def test_an_update_sends_what_it_is_given(
    fields: dict[str, Any], body: dict[str, Any], vps: Client, mocked: aioresponses
) -> None:
    """PATCH holds the fields that are to change, and no others."""
    mocked.patch(f"{SERVERS}12345/", body=sample("detail"))

    await vps.servers.update(12345, **fields)

    assert json.loads(only_call(mocked)["data"]) == body


async def test_a_minimal_create(vps: Client, mocked: aioresponses) -> None:
    """Optional fields that were left out are not sent, not even as null."""
    mocked.post(SERVERS, status=201, payload=json.loads(sample("create")) | {"name": "a"})

    await vps.servers.create(ServerSpec(name="a", plan_id=1, os_id=5, location="us-west"))

    assert json.loads(only_call(mocked)["data"]) == {
        "name": "a",
        "plan_id": 1,
        "os_id": 5,
        "location": "us-west",
    }


async def test_a_base_url_with_a_path(mocked: aioresponses) -> None:
    """Behind a gateway the paths follow the gateway's own path."""
    mocked.get("https://proxy.example/vps/api/v1/servers/12345/", body=sample("detail"))

    async with Client(TOKEN, base_url="https://proxy.example/vps/") as vps:
        await vps.servers.get(12345)

    assert sent(mocked) == [("GET", "https://proxy.example/vps/api/v1/servers/12345/")]


# -- answers that are not as documented -------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["", "{}", '{"status":"success"}', '{"id":12345}', "OK"])
@pytest.mark.parametrize("what", ["replace", "update"])
async def test_a_change_that_shows_no_server_is_read_again(
    what: str, body: str, vps: Client, mocked: aioresponses
) -> None:
    """The page does not show the responses to PUT and PATCH: where one is no server, the server is read."""
    method, url, _, answer, _, call = NINE[what]
    mocked.add(url, method, body=body)
    mocked.get(url, body=sample("detail"))

    server = await call(vps)

    assert sent(mocked) == [(method, url), ("GET", url)]
    assert server.name == "web-server-01"
    assert answer == "detail"


@pytest.mark.parametrize(("status", "body"), [(200, '{"message":"deleted"}'), (202, "null"), (204, "")])
async def test_any_good_answer_to_a_delete_will_do(
    status: int, body: str, vps: Client, mocked: aioresponses
) -> None:
    """A delete with a 2xx worked, whatever its body says."""
    mocked.delete(f"{SERVERS}7/", status=status, body=body)

    await vps.servers.delete(7)

    assert sent(mocked) == [("DELETE", f"{SERVERS}7/")]


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_stop_may_be_answered_with_nothing(status: int, vps: Client, mocked: aioresponses) -> None:
    """The page lists no codes for stop; any 2xx means accepted."""
    mocked.post(f"{SERVERS}7/stop/", status=status)

    assert await vps.servers.stop(7) == ActionAccepted(server_id=7)


async def test_a_list_of_several_pages(vps: Client, mocked: aioresponses) -> None:
    """Paging is not documented; if a ``next`` ever comes, it is followed to the end, with the token."""
    first = json.loads(sample("list"))
    second = {"count": 3, "results": [json.loads(sample("create"))], "next": None}
    mocked.get(SERVERS, payload={**first, "count": 3, "next": f"{SERVERS}?page=2"})
    mocked.get(f"{SERVERS}?page=2", payload=second)

    servers = await vps.servers.list()

    assert [server.id for server in servers] == [12345, 12346, 12347]
    assert sent(mocked) == [("GET", SERVERS), ("GET", f"{SERVERS}?page=2")]
    for (call,) in mocked.requests.values():
        assert call.kwargs["headers"]["Authorization"] == f"Bearer {TOKEN}"


async def test_pages_that_overlap(vps: Client, mocked: aioresponses) -> None:
    """A server that moves from one page to the next during the read is listed once."""
    page = json.loads(sample("list"))
    mocked.get(SERVERS, payload={**page, "next": "?page=2"}, repeat=True)
    mocked.get(f"{SERVERS}?page=2", payload=page, repeat=True)

    assert [server.id for server in await vps.servers.list()] == [12345, 12346]
    # the move may have hidden another server, so the pages are read again, four times in all
    assert len(sent(mocked)) == 2 * 4


async def test_pages_that_go_round_in_circles(
    vps: Client, mocked: aioresponses, caplog: pytest.LogCaptureFixture
) -> None:
    """A ``next`` that leads back makes an incomplete list, not an endless one."""
    page = json.loads(sample("list"))
    mocked.get(SERVERS, payload={**page, "next": "?page=2"}, repeat=True)
    mocked.get(f"{SERVERS}?page=2", payload={**page, "next": SERVERS}, repeat=True)

    assert [server.id for server in await vps.servers.list()] == [12345, 12346]
    assert len(sent(mocked)) == 2 * 4
    assert "its pages form a loop; it proves no absence" in caplog.text
    with pytest.raises(DecodeError, match="its pages form a loop"):
        await vps.fleet.create([SPEC], timeout=1)


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/v1/servers/?page=2",
        "http://admin.vps.org/api/v1/servers/?page=2",
        "http://internal:8000/prefix/api/v1/servers/?page=2",
    ],
)
async def test_a_page_elsewhere_is_fetched_from_the_own_origin(
    link: str, vps: Client, mocked: aioresponses
) -> None:
    """Only path and query of a link are used: the token does not leave the origin."""
    mocked.get(SERVERS, payload={**json.loads(sample("list")), "next": link})
    mocked.get(f"{SERVERS}?page=2", payload={"results": [json.loads(sample("create"))]})

    assert [server.id for server in await vps.servers.list()] == [12345, 12346, 12347]
    assert sent(mocked) == [("GET", SERVERS), ("GET", f"{SERVERS}?page=2")]


@pytest.mark.parametrize("link", ["https://evil.example/", "/login?next=/api/v1", "/api/v1/../../admin/"])
async def test_a_page_outside_of_the_api_is_not_fetched(
    link: str, vps: Client, mocked: aioresponses, caplog: pytest.LogCaptureFixture
) -> None:
    """The token is not sent to another part of the site either: the list is incomplete, and proves no absence."""
    mocked.get(SERVERS, payload={**json.loads(sample("list")), "next": link}, repeat=True)

    assert [server.id for server in await vps.servers.list()] == [12345, 12346]
    assert "its next link leads to no path below /api/v1/; it proves no absence" in caplog.text
    with pytest.raises(DecodeError, match="no path below /api/v1/"):
        await vps.fleet.create([SPEC], timeout=1)
    assert set(sent(mocked)) == {("GET", SERVERS)}


async def test_a_count_that_is_too_high(
    vps: Client, mocked: aioresponses, caplog: pytest.LogCaptureFixture
) -> None:
    """A list shorter than its count is read again, four times in all; its rows are returned, and it is logged."""
    mocked.get(SERVERS, payload={**json.loads(sample("list")), "count": 9}, repeat=True)

    with caplog.at_level(logging.WARNING):
        servers = await vps.servers.list()

    assert len(servers) == 2
    assert sent(mocked) == [("GET", SERVERS)] * 4
    assert "it counts 9 and shows 2; it proves no absence" in caplog.text


async def test_a_bare_array_is_a_list(vps: Client, mocked: aioresponses) -> None:
    """The envelope may be missing."""
    mocked.get(SERVERS, payload=json.loads(sample("list"))["results"])

    assert len(await vps.servers.list()) == 2


@pytest.mark.parametrize(
    ("what", "body"), [("list", '{"results":{"id":12345}}'), ("get", '{"results":[],"id":12345}')]
)
async def test_a_read_that_does_not_fit(what: str, body: str, vps: Client, mocked: aioresponses) -> None:
    """A 2xx that does not fit names the request and the JSON paths."""
    method, url, _, _, _, call = NINE[what]
    mocked.add(url, method, body=body)

    with pytest.raises(DecodeError, match=f"^GET {URL(url).path}: the answer does not fit") as caught:
        await call(vps)

    assert caught.value.problems


@pytest.mark.parametrize(
    ("status", "cls"),
    [(400, BadRequestError), (401, AuthenticationError), (402, PaymentRequiredError), (404, NotFoundError)],
)
@pytest.mark.parametrize("what", NINE)
async def test_the_documented_errors_of_the_nine(
    what: str, status: int, cls: type[VpsOrgError], vps: Client, mocked: aioresponses
) -> None:
    """A refusal of any endpoint is its error, with the API's message, and is not retried."""
    method, url, _, _, _, call = NINE[what]
    mocked.add(url, method, status=status, payload={"detail": "No."})

    with pytest.raises(cls, match=f"{method} {URL(url).path} was answered {status}: No"):
        await call(vps)
    assert sent(mocked) == [(method, url)]


# -- vps.request ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "get"])
async def test_any_request(method: str, vps: Client, mocked: aioresponses) -> None:
    """Endpoints that the SDK does not model are requested with the same token, and return decoded JSON."""
    mocked.add("https://admin.vps.org/api/v1/plans/?location=us-west", method.upper(), payload={"count": 0})

    assert await vps.request(method, "/plans/?location=us-west") == {"count": 0}
    assert headers(mocked)["authorization"] == f"Bearer {TOKEN}"
    assert only_call(mocked)["data"] is None


async def test_any_request_with_a_body(vps: Client, mocked: aioresponses) -> None:
    """``json`` is the body; a path that begins with /api/ is used unchanged."""
    mocked.post("https://admin.vps.org/api/v2/snapshots/", status=204)

    assert await vps.request("POST", "/api/v2/snapshots/", json={"server_id": 7, "name": "ä"}) is None
    assert json.loads(only_call(mocked)["data"]) == {"server_id": 7, "name": "ä"}


@pytest.mark.parametrize("value", [[], {}, 0, False, "", [None]], ids=repr)
async def test_empty_json_is_a_body(value: Any, vps: Client, mocked: aioresponses) -> None:
    """Only None is no body."""
    mocked.post(
        "https://admin.vps.org/api/v1/x/", callback=lambda url, **kwargs: CallbackResult(body=kwargs["data"])
    )

    assert await vps.request("POST", "/x/", json=value) == value


async def test_any_request_that_is_refused(vps: Client, mocked: aioresponses) -> None:
    """Refusals and undecodable bodies raise the same errors as elsewhere."""
    mocked.get("https://admin.vps.org/api/v1/plans/", status=404, payload={"detail": "No."})
    mocked.get("https://admin.vps.org/api/v1/plans/", body="<html>")

    with pytest.raises(NotFoundError, match="GET /api/v1/plans/ was answered 404: No"):
        await vps.request("GET", "/plans/")
    with pytest.raises(DecodeError, match="GET /api/v1/plans/: the answer is not JSON"):
        await vps.request("GET", "/plans/")


# -- nothing is sent --------------------------------------------------------------------------------------------------

BAD_IDS = [
    True,
    False,
    0,
    -1,
    1.0,
    None,
    "",
    " ",
    ".",
    "..",
    "a\nb",
    "a\x00b",
    "\ud800",
    b"7",
    [7],
    (7,),
    object(),
]
BY_ID: dict[str, Callable[[Client, Any], Awaitable[Any]]] = {
    "get": lambda vps, server_id: vps.servers.get(server_id),
    "replace": lambda vps, server_id: vps.servers.replace(
        server_id, name="a", hostname="a.example", backups_enabled=True
    ),
    "update": lambda vps, server_id: vps.servers.update(server_id, name="a"),
    "delete": lambda vps, server_id: vps.servers.delete(server_id),
    "start": lambda vps, server_id: vps.servers.start(server_id),
    "stop": lambda vps, server_id: vps.servers.stop(server_id),
    "reboot": lambda vps, server_id: vps.servers.reboot(server_id),
    "wait_until": lambda vps, server_id: vps.wait_until(server_id, "active", timeout=1),
    "wait_until_all": lambda vps, server_id: anext(vps.wait_until_all([7, server_id], "active", timeout=1)),
    "fleet.start": lambda vps, server_id: vps.fleet.start([7, server_id], timeout=1),
    "fleet.stop": lambda vps, server_id: vps.fleet.stop([7, server_id], timeout=1),
    "fleet.reboot": lambda vps, server_id: vps.fleet.reboot([7, server_id], timeout=1),
    "fleet.delete": lambda vps, server_id: vps.fleet.delete([7, server_id], timeout=1),
}


@pytest.mark.parametrize("call", BY_ID)
async def test_a_bad_id_is_not_sent(call: str, vps: Client, mocked: aioresponses) -> None:
    """An id that could reach another path, or none, is refused everywhere before anything leaves."""
    for server_id in BAD_IDS:
        with pytest.raises(
            ConfigurationError, match="a server id is a positive integer or a non-empty string"
        ):
            await BY_ID[call](vps, server_id)

    assert sent(mocked) == []


REFUSED: dict[str, Call] = {
    "list status": lambda vps: vps.servers.list(status=""),
    "list status of another type": lambda vps: vps.servers.list(status=1),  # type: ignore[arg-type]
    "list location": lambda vps: vps.servers.list(location="us\nwest"),
    "list surrogate": lambda vps: vps.servers.list(location="\ud800"),
    "create a dict": lambda vps: vps.servers.create({"name": "a"}),  # type: ignore[arg-type]
    "create a name": lambda vps: vps.servers.create("web-01"),  # type: ignore[arg-type]
    "replace name": lambda vps: vps.servers.replace(7, name="a b", hostname="a.example", backups_enabled=True),
    "replace hostname": lambda vps: vps.servers.replace(7, name="a", hostname="", backups_enabled=True),
    "replace null": lambda vps: vps.servers.replace(
        7, name="a", hostname=None, backups_enabled=True  # type: ignore[arg-type]
    ),
    "replace backups": lambda vps: vps.servers.replace(
        7, name="a", hostname="a.example", backups_enabled="false"  # type: ignore[arg-type]
    ),
    "update nothing": lambda vps: vps.servers.update(7),
    "update another field": lambda vps: vps.servers.update(7, name="a", plan_id=2),  # type: ignore[call-arg]
    "update status": lambda vps: vps.servers.update(7, status="stopped"),  # type: ignore[call-arg]
    "update name": lambda vps: vps.servers.update(7, name=None),  # type: ignore[arg-type]
    "update hostname": lambda vps: vps.servers.update(7, hostname="a b"),
    "update backups": lambda vps: vps.servers.update(7, backups_enabled=1),  # type: ignore[arg-type]
    "wait for nothing": lambda vps: vps.wait_until(7, [], timeout=1),
    "wait for a misspelt word": lambda vps: vps.wait_until(7, "activ", timeout=1),  # type: ignore[arg-type]
    "wait for a number": lambda vps: vps.wait_until(7, 1, timeout=1),  # type: ignore[arg-type]
    "wait for one of several": lambda vps: anext(vps.wait_until_all(7, "active", timeout=1)),  # type: ignore[arg-type]
    "request method": lambda vps: vps.request("BREW", "/servers/"),
    "request no method": lambda vps: vps.request(None, "/servers/"),  # type: ignore[arg-type]
    "request path": lambda vps: vps.request("GET", "servers/"),
    "request origin": lambda vps: vps.request("GET", "//evil.example/"),
    "request url": lambda vps: vps.request("GET", "https://evil.example/"),
    "request line": lambda vps: vps.request("GET", "/servers/\r\nX: y"),
    "request fragment": lambda vps: vps.request("DELETE", "/servers/#7/"),
    "request no path": lambda vps: vps.request("GET", None),  # type: ignore[arg-type]
    "request object": lambda vps: vps.request("POST", "/x/", json=object()),
    "request set": lambda vps: vps.request("POST", "/x/", json={1, 2}),
    "request NaN": lambda vps: vps.request("POST", "/x/", json={"a": math.nan}),
    "request surrogate": lambda vps: vps.request("POST", "/x/", json="\ud800"),
    "request huge": lambda vps: vps.request("POST", "/x/", json=10**5000),
    "fleet of one spec": lambda vps: vps.fleet.create(SPEC, timeout=1),  # type: ignore[call-overload]
    "fleet of names": lambda vps: vps.fleet.create(["web-01"], timeout=1),  # type: ignore[list-item]
    "fleet of dicts": lambda vps: vps.fleet.create([SPEC, {"name": "a"}], timeout=1),  # type: ignore[list-item]
    "fleet of None": lambda vps: vps.fleet.create(None, timeout=1),  # type: ignore[call-overload]
    "fleet of twins": lambda vps: vps.fleet.create([SPEC, SPEC], timeout=1),
    "fleet of one id": lambda vps: vps.fleet.stop(7, timeout=1),  # type: ignore[arg-type]
    "fleet of one word": lambda vps: vps.fleet.stop("12345", timeout=1),
    "fleet of bytes": lambda vps: vps.fleet.delete(b"12", timeout=1),
    "fleet of no ids": lambda vps: vps.fleet.start(None, timeout=1),  # type: ignore[arg-type]
    "fleet of repeats": lambda vps: vps.fleet.reboot([7, 8, 7], timeout=1),
    "fleet of likenesses": lambda vps: vps.fleet.delete([7, "7"], timeout=1),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
async def test_bad_input_is_not_sent(what: str, vps: Client, mocked: aioresponses) -> None:
    """Every detectable mistake is reported before anything leaves this machine."""
    with pytest.raises(ConfigurationError):
        await REFUSED[what](vps)

    assert sent(mocked) == []


TIMED: dict[str, Callable[[Client, Any], Awaitable[Any]]] = {
    "wait_until": lambda vps, timeout: vps.wait_until(7, "active", timeout=timeout),
    "wait_until_all": lambda vps, timeout: anext(vps.wait_until_all([7], "active", timeout=timeout)),
    "create": lambda vps, timeout: vps.fleet.create([SPEC], timeout=timeout),
    "start": lambda vps, timeout: vps.fleet.start([7], timeout=timeout),
    "stop": lambda vps, timeout: vps.fleet.stop([7], timeout=timeout),
    "reboot": lambda vps, timeout: vps.fleet.reboot([7], timeout=timeout),
    "delete": lambda vps, timeout: vps.fleet.delete([7], timeout=timeout),
}


@pytest.mark.parametrize("call", TIMED)
async def test_a_bad_timeout_is_not_sent(call: str, vps: Client, mocked: aioresponses) -> None:
    """An infinite, zero or negative timeout stops the call before its first request."""
    for timeout in (math.nan, math.inf, -1, 0, True, "60", None, 10**400):
        with pytest.raises(ConfigurationError, match=r"^timeout is a "):
            await TIMED[call](vps, timeout)

    assert sent(mocked) == []


async def test_what_must_be_given(vps: Client, mocked: aioresponses) -> None:
    """Python itself requires all three fields of PUT and the timeout of a wait."""
    with pytest.raises(TypeError, match="hostname"):
        await vps.servers.replace(7, name="a", backups_enabled=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="timeout"):
        await vps.wait_until(7, "active")  # type: ignore[call-arg]

    assert sent(mocked) == []


async def test_a_fleet_of_nobody(vps: Client, mocked: aioresponses) -> None:
    """A fleet call without servers is a report without outcomes, and sends no request."""
    for report in (
        await vps.fleet.create([], timeout=1),
        await vps.fleet.reboot((), timeout=1),
        await vps.fleet.delete(iter(()), timeout=1),
    ):
        assert report.outcomes == ()
        report.raise_for_failures()

    assert sent(mocked) == []


async def test_records_are_plain(vps: Client, mocked: aioresponses) -> None:
    """A record holds no reference to the client it came from."""
    mocked.get(f"{SERVERS}12345/", body=sample("detail"))

    server = await vps.servers.get(12345)

    assert isinstance(server, Server)
    assert TOKEN not in repr(server)
