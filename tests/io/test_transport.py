"""One attempt on a real socket: the bytes sent, the bytes read, the knowledge of the outcome, and the cost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import os
import resource
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.io.endpoints import (
    NEW,
    SERVER,
    black_hole,
    bomb,
    fits,
    fitting,
    floods,
    full_listener,
    record,
    sends,
    stalls,
    tls,
    trusting,
)
from tests.io.faults import OPERATIONS, SPEC, TOKEN, client
from tests.io.raw_server import Line, RawServer, Script, answer
from tests.io.skipping import quiet, skip, skipping
from vpsorg_async import Client
from vpsorg_async.config import Timeout
from vpsorg_async.errors import (
    APIError,
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    RequestTimeoutError,
    Sent,
    TransportError,
    VpsOrgError,
)
from vpsorg_async.http import pool
from vpsorg_async.http.exchange import Operation, Request
from vpsorg_async.http.retry import RetryPolicy
from vpsorg_async.http.transport import AiohttpTransport
from vpsorg_async.timing import SystemClock

GOOD = sends(fits)
METHODS = ["GET", "PUT", "DELETE", "POST", "PATCH"]
CHANGES = ["create", "start", "stop", "reboot", "update", "change"]
ONCE = RetryPolicy(attempts=1)


def once(url: str, **options: Any) -> Client:
    """A client that makes one attempt, in real time."""
    return Client(TOKEN, base_url=url, retry=ONCE, **options)


async def failing(call: Awaitable[object]) -> Any:
    """The error that the call ends with."""
    with pytest.raises(VpsOrgError) as caught:
        await call
    return caught.value


def connections(server: RawServer, method: str) -> list[int]:
    return [heard.connection for heard in server.requests if heard.method == method]


# -- one attempt is one request -------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["close", "reset"])
@pytest.mark.parametrize("warm", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("method", METHODS)
async def test_nothing_is_sent_twice_behind_our_back(method: str, warm: bool, then: str) -> None:
    """A server that reads and disconnects receives one request for one attempt, on new and on used connections."""
    async with RawServer(*[GOOD] * warm, sends(then=then)) as server, once(server.url) as vps:
        if warm:
            await vps.request("GET", "/warm/")

        error = await failing(vps.request(method, "/hang-up/"))

    assert isinstance(error, ConnectionLostError)
    assert error.sent is Sent.MAYBE
    assert [heard.target for heard in server.requests].count("/api/v1/hang-up/") == 1
    assert server.connections == 1


# -- careful connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@skipping
async def test_changes_do_not_ride_on_idle_connections(operation: str) -> None:
    """A POST or PATCH uses a connection that was active within the last second, or a new one; the rest reuse any."""
    async with RawServer(GOOD) as server, client(server.url) as vps:
        await vps.servers.get(1)
        skip(pool.FRESH_SECONDS * 0.9)
        await OPERATIONS[operation](vps)
        assert server.connections == 1

        skip(pool.FRESH_SECONDS * 1.1)
        await OPERATIONS[operation](vps)
        assert server.connections == (2 if operation in CHANGES else 1)


async def test_every_idle_connection_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change does not use the second-best idle connection either; reads still use any."""
    monkeypatch.setattr(pool, "FRESH_SECONDS", -1.0)
    async with RawServer(GOOD) as server, once(server.url) as vps:
        await asyncio.gather(*(vps.servers.get(1) for _ in range(8)))
        before = server.connections
        await vps.servers.create(SPEC)
        await vps.servers.create(SPEC)
        await vps.servers.get(1)

    assert len(set(connections(server, "POST"))) == 2
    assert min(connections(server, "POST")) > before
    assert connections(server, "GET")[-1] <= server.connections == before + 2


@skipping
async def test_bulk_creates_share_their_connections() -> None:
    """Creates that follow each other pay one handshake per slot, not one each."""
    async with RawServer(GOOD) as server, client(server.url, max_in_flight=8) as vps:
        await asyncio.gather(*(vps.servers.create(SPEC) for _ in range(200)))

    assert len(server.requests) == 200
    assert server.connections <= 8


async def test_an_answer_nobody_asked_for_is_given_to_nobody() -> None:
    """Unrequested bytes on an idle connection are not taken for the response to the next, still unsent request."""
    stray = answer(200, record(666))
    async with RawServer(sends(fits, stray), GOOD) as server, once(server.url) as vps:
        await vps.servers.get(1)
        await quiet()
        created = await vps.servers.create(SPEC)

    assert (created.name, created.id) == ("web-1", NEW + 2)
    assert server.heard("POST") == 1


STALE = 8
ENDS_STALE = {"closed": sends(then="close"), "reset": sends(then="reset"), "silent": stalls}


def pooled(after: Script) -> Script:
    """The first responses leave together, each on its own connection; later ones are scripted by ``after``."""
    first: list[Line] = []

    async def script(line: Line) -> None:
        if len(first) == STALE:
            return await after(line)
        first.append(line)
        if len(first) == STALE:
            for each in first:
                each.send(answer(200, SERVER))

    return script


async def fill_the_pool(vps: Client) -> None:
    await asyncio.gather(*(vps.servers.get(1) for _ in range(STALE)))


@pytest.mark.parametrize("operation", ["list", "get", "read", "replace", "delete"])
@pytest.mark.parametrize("end", ENDS_STALE)
@skipping
async def test_the_attempt_after_a_stale_connection_takes_a_fresh_one(end: str, operation: str) -> None:
    """After a balancer restart, with more idle connections dead than attempts allowed, the second attempt works."""

    async def restarted(line: Line) -> None:
        await (ENDS_STALE[end] if line.number <= STALE else GOOD)(line)

    async with RawServer(pooled(restarted)) as server, client(server.url) as vps:
        await fill_the_pool(vps)
        await OPERATIONS[operation](vps)

    assert len(server.requests) == STALE + 2
    assert server.requests[-1].connection == server.connections == STALE + 1


@pytest.mark.parametrize("end", ENDS_STALE)
@skipping
async def test_other_calls_do_not_meet_the_stale_connections_either(end: str) -> None:
    """After one call met a dead connection, later calls do not try the other connections that idled then."""

    async def restarted(line: Line) -> None:
        await (ENDS_STALE[end] if line.number <= STALE else GOOD)(line)

    async with RawServer(pooled(restarted)) as server, client(server.url) as vps:
        await fill_the_pool(vps)
        for operation in ("get", "create", "delete", "get", "list"):
            await OPERATIONS[operation](vps)

    assert [heard.connection for heard in server.requests[STALE + 1 :]] == [STALE + 1] * 5


@skipping
async def test_connections_that_answer_stay_in_the_pool() -> None:
    """A break discards only the connections that idled at that time: those that have answered since are reused."""
    broken = 0

    async def once_broken(line: Line) -> None:
        nonlocal broken
        broken += 1
        await (sends(then="reset") if broken == 1 else GOOD)(line)

    async with RawServer(pooled(once_broken)) as server, client(server.url) as vps:
        await fill_the_pool(vps)
        for _ in range(20):
            await vps.servers.get(1)

    assert server.connections == STALE + 1


@skipping
async def test_a_cancelled_call_says_nothing_about_the_pool() -> None:
    """A call that its user cancels closes its own connection and no other."""
    async with RawServer(pooled(silent)) as server, client(server.url) as vps:
        await fill_the_pool(vps)
        call = asyncio.create_task(vps.servers.get(1))
        await server.until_heard(STALE + 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        server.scripts = [GOOD]
        await vps.servers.get(1)

    assert server.connections == STALE


# -- deadlines ------------------------------------------------------------------------------------------------------


async def silent(line: Line) -> None:
    await line.stall()


SILENCES: dict[str, Script] = {
    "no answer": silent,
    "half the headers": lambda line: then_silence(line, b"HTTP/1.1 200 OK\r\nContent-"),
    "half the body": lambda line: then_silence(line, answer(200, SERVER, length=999)),
    "malformed chunk": lambda line: then_silence(
        line, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"zz\r\n"
    ),
    "endless body": floods,
}


async def then_silence(line: Line, *segments: bytes) -> None:
    for segment in segments:
        await line.segment(segment)
    await line.stall()


@pytest.mark.parametrize("operation", ["list", "create"])
@pytest.mark.parametrize("silence", SILENCES)
async def test_the_deadline_is_hard(silence: str, operation: str) -> None:
    """In real time: an attempt ends at its deadline, whatever the server fails to do."""
    async with (
        RawServer(SILENCES[silence]) as server,
        once(server.url, timeout=Timeout(total=0.3), max_list_body=1 << 40, max_body=1 << 40) as vps,
    ):
        began = time.monotonic()
        error = await failing(OPERATIONS[operation](vps))
        took = time.monotonic() - began

    assert isinstance(getattr(error, "reason", error), RequestTimeoutError | ConnectionLostError)
    assert took < 0.3 + 5, "an order of magnitude above the half second that is meant, for slow machines"


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_the_deadline_covers_sending() -> None:
    """A server that sends half a response and reads nothing of a large body does not hold the call."""

    async def deaf(line: Line) -> None:
        await then_silence(line, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await asyncio.Event().wait()

    async with RawServer(greet=deaf) as server, once(server.url, timeout=Timeout(total=0.3)) as vps:
        error = await failing(vps.request("POST", "/large/", json="x" * 20_000_000))

    assert isinstance(error, RequestTimeoutError)
    assert error.sent is Sent.MAYBE


@skipping
async def test_time_spent_queued_does_not_count() -> None:
    """1,500 calls over 32 slots, each answered after a second: the last waits for 46 seconds, and none times out."""
    calls, places = 1500, 32
    waiting: list[Line] = []

    async def in_waves(line: Line) -> None:
        waiting.append(line)
        if len(waiting) == min(places, calls - answered):
            skip(1.0)
            answer_all()

    answered = 0

    def answer_all() -> None:
        nonlocal answered
        answered += len(waiting)
        for line in waiting:
            line.send(answer(200, SERVER))
        waiting.clear()

    timeout = Timeout(connect=5.0, total=5.0)
    async with (
        RawServer(in_waves) as server,
        client(server.url, timeout=timeout, max_in_flight=places) as vps,
    ):
        began = asyncio.get_running_loop().time()
        outcomes = await asyncio.gather(*(vps.servers.get(1) for _ in range(calls)), return_exceptions=True)
        took = asyncio.get_running_loop().time() - began

    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    assert len(server.requests) == calls
    assert took >= 46
    assert server.connections <= places


@pytest.mark.parametrize("operation", OPERATIONS)
@skipping
async def test_a_call_that_found_no_connection_in_time_was_not_sent(operation: str) -> None:
    """A call that timed out before any header left was not sent."""
    async with black_hole() as endpoint:
        timeout = Timeout(connect=11.0, total=1.0)
        async with client(endpoint.url, timeout=timeout) as vps:
            error = await failing(OPERATIONS[operation](vps))

    assert isinstance(error, RequestTimeoutError)
    assert (error.sent, error.attempts) == (Sent.NO, 3)
    assert "no connection" in str(error)


# -- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [lambda line: sends(bomb("gzip"))(line), lambda line: sends(bomb("deflate"))(line), floods],
    ids=["gzip bomb", "deflate bomb", "endless body"],
)
@pytest.mark.parametrize("operation", ["list", "get", "create", "read", "change"])
async def test_a_large_body_is_not_kept(script: Script, operation: str) -> None:
    """Reading stops at the limit: memory grows by no more than twice the limit, and the error says so."""
    cap = 4 << 20
    bomb("gzip"), bomb("deflate")
    async with RawServer(script) as server, once(server.url, max_body=cap, max_list_body=cap) as vps:
        tracemalloc.start()
        try:
            error = await failing(OPERATIONS[operation](vps))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    error = getattr(error, "reason", error)
    assert isinstance(error, DecodeError)
    assert f"longer than {cap} bytes" in str(error)
    assert peak < 2 * cap


async def test_the_body_of_an_error_is_bounded() -> None:
    """An error response is read only up to its limit."""
    flood = sends(b"HTTP/1.1 500 Oh\r\nContent-Length: 999999999\r\n\r\n", b"x" * 3_000_000)
    async with RawServer(flood) as server, once(server.url) as vps:
        error = await failing(vps.servers.get(1))

    assert isinstance(error, APIError)
    assert error.status == 500
    assert len(error.body) <= 2000


@pytest.mark.parametrize("cap", [len(SERVER) - 1, len(SERVER), len(SERVER) + 1])
async def test_the_cap_is_exact(cap: int) -> None:
    """A body exactly as long as the limit is complete."""
    async with RawServer(GOOD) as server, once(server.url, max_body=cap) as vps:
        if cap < len(SERVER):
            assert isinstance(await failing(vps.servers.get(1)), DecodeError)
        else:
            assert (await vps.servers.get(1)).id == 1


FOREIGN = ["br", "BR", "zstd", "xz", "compress", "whatever", "gzip, br"]


@pytest.mark.parametrize("operation", ["list", "get", "replace", "delete", "create", "reboot"])
@pytest.mark.parametrize("coding", FOREIGN)
async def test_a_coding_that_was_not_asked_for_is_named(coding: str, operation: str) -> None:
    """An unrequested coding would come again, so the call is sent once; a change may have been applied."""
    script = sends(answer(200, b"\x8b\x02\x80{}\x03", f"Content-Encoding: {coding}"))
    async with RawServer(script) as server, Client(TOKEN, base_url=server.url) as vps:
        error = await failing(OPERATIONS[operation](vps))

    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"
    assert len(server.requests) == 1
    assert error.sent is Sent.MAYBE
    assert isinstance(getattr(error, "reason", error), TransportError)
    assert f"not asked for: '{coding.lower()}'" in str(error)


@pytest.mark.parametrize("coding", ["br", "whatever", "gzip"])
@pytest.mark.parametrize("status", [400, 401, 404, 429, 503])
async def test_the_status_of_an_error_needs_no_body(status: int, coding: str) -> None:
    """An error response that can't be decoded still raises the error of its status."""
    script = sends(answer(status, b"\x8b\x02\x80{}\x03", f"Content-Encoding: {coding}"))
    async with RawServer(script) as server, once(server.url) as vps:
        error = await failing(vps.servers.get(1))

    assert isinstance(error, APIError)
    assert error.status == status
    assert error.body == ""


@pytest.mark.parametrize("status", [200, 204])
async def test_no_body_has_no_coding(status: int) -> None:
    """A coding that is announced for an empty body does no harm."""
    script = sends(answer(status, b"", "Content-Encoding: br"))
    async with RawServer(script) as server, once(server.url) as vps:
        await vps.servers.delete(1)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "deflate", "identity, gzip"])
async def test_what_was_asked_for_is_decoded(coding: str) -> None:
    """A list in either coding, longer than one chunk, is decoded; a repeated list is recognised."""
    row = json.loads(SERVER)
    body = json.dumps([{**row, "id": number + 1, "name": "x" * 300} for number in range(2000)]).encode()
    packed = zlib.compress(body) if coding == "deflate" else gzip.compress(body)
    script = sends(answer(200, packed, f"Content-Encoding: {coding}"))
    async with RawServer(script) as server, once(server.url) as vps:
        servers = await vps.servers.list()
        settled = [
            [outcome.error async for outcome in vps.wait_until_all(servers, "active", timeout=5)]
            for _ in range(2)
        ]

    assert len(servers) == 2000
    assert settled == [[None] * 2000] * 2


async def test_a_body_that_is_not_what_its_header_says() -> None:
    """The connection may be broken: the attempt is retried, and the error names the announced coding."""
    broken = sends(answer(200, SERVER, "Content-Encoding: gzip"))
    async with RawServer(broken, GOOD) as server, Client(TOKEN, base_url=server.url) as vps:
        assert (await vps.servers.get(1)).id == 1
    async with RawServer(broken) as server, once(server.url) as vps:
        error = await failing(vps.servers.get(1))

    assert isinstance(error, ConnectionLostError)
    assert "is not gzip, though its header says so" in str(error)


# -- nowhere else ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("method", METHODS)
async def test_redirects_are_not_followed(method: str, status: int) -> None:
    """A 3xx is an error that names the origin it points to, which receives no request."""
    async with RawServer(GOOD) as elsewhere:
        target = f"{elsewhere.url}/api/v1/servers/?key=secret"
        script = sends(answer(status, b"", f"Location: {target}"))
        async with RawServer(script) as server, once(server.url) as vps:
            error = await failing(vps.request(method, "/servers/", json={}))

    assert isinstance(error, APIError)
    assert error.status == status
    assert f"redirected to {elsewhere.url}; redirects are not followed" in str(error)
    assert "secret" not in str(error)
    assert error.sent is (Sent.MAYBE if status in (301, 302, 303) else Sent.REJECTED)
    assert elsewhere.connections == 0
    assert len(server.requests) == 1


async def test_a_list_goes_on_at_the_same_origin_only() -> None:
    """Links are followed at the client's own address, with the token, whatever host they name, never in a circle."""

    def page(link: str) -> Script:
        return sends(answer(200, b'{"results": [], "next": "%s"}' % link.encode()))

    last = sends(answer(200, b'{"results": []}'))
    async with RawServer(GOOD) as elsewhere:
        async with RawServer(page("?page=2"), last) as server, once(server.url) as vps:
            assert await vps.servers.list() == ()
            assert [heard.target for heard in server.requests] == [
                "/api/v1/servers/",
                "/api/v1/servers/?page=2",
            ]
            assert {heard.headers["authorization"] for heard in server.requests} == {f"Bearer {TOKEN}"}

        foreign = page(elsewhere.url + "/api/v1/servers/?page=2")
        async with RawServer(foreign, last) as server, once(server.url) as vps:
            assert await vps.servers.list() == ()
            assert [heard.target for heard in server.requests] == [
                "/api/v1/servers/",
                "/api/v1/servers/?page=2",
            ]

        circle = [page("?page=2"), page("?page=1"), page("?page=2")]
        async with RawServer(*circle * 4) as server, once(server.url) as vps:
            assert await vps.servers.list() == ()
            # four passes over the three pages
            assert len(server.requests) == 3 * 4
            with pytest.raises(DecodeError, match="loop"):
                await vps.fleet.create([SPEC], timeout=1)
            assert server.heard("POST") == 0
    assert elsewhere.connections == 0


async def test_cookies_are_not_kept() -> None:
    """The client stores no cookies."""
    script = sends(lambda line: answer(200, fitting(line), "Set-Cookie: session=1; Path=/"))
    # by name, because a cookie jar keeps no cookies of a bare IP address
    async with RawServer(script) as server, once(f"http://localhost:{server.port}") as vps:
        for operation in ("get", "create", "get"):
            await OPERATIONS[operation](vps)

    assert len(server.requests) == 3
    assert [heard.headers for heard in server.requests if "cookie" in heard.headers] == []


# -- the environment ------------------------------------------------------------------------------------------------

PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .netrc with credentials for this host."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password wrong\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))


@pytest.mark.usefixtures("netrc")
async def test_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxy variables and .netrc are ignored by default."""
    async with RawServer(GOOD) as proxy, RawServer(GOOD) as server:
        for name in PROXY_NAMES:
            monkeypatch.setenv(name, proxy.url)
        async with once(server.url) as vps:
            await vps.servers.get(1)

    assert (proxy.connections, len(server.requests)) == (0, 1)
    assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("address", ["http://{}", "http://user:pass@{}", "{}"])
async def test_a_proxy_on_request(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``trust_env`` requests go through the proxy, with its own credentials and our token; .netrc is not read."""
    async with RawServer(GOOD) as proxy, RawServer(GOOD) as server:
        monkeypatch.setenv("http_proxy", address.format(f"127.0.0.1:{proxy.port}"))
        async with once(server.url, trust_env=True) as vps:
            await vps.servers.get(1)
            await vps.servers.create(SPEC)

    assert server.connections == 0
    assert [heard.target for heard in proxy.requests] == [
        f"{server.url}/api/v1/servers/1/",
        f"{server.url}/api/v1/servers/",
    ]
    for heard in proxy.requests:
        assert heard.headers["authorization"] == f"Bearer {TOKEN}"
        login = base64.b64encode(b"user:pass").decode()
        assert heard.headers.get("proxy-authorization") == (f"Basic {login}" if "user" in address else None)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(407, "it requires a user and a password"), (403, "it refused the tunnel with 403")],
)
async def test_a_tunnel_does_not_hear_the_token(
    status: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An https proxy is only asked for a tunnel: it receives neither the token nor any part of the request."""
    async with RawServer(sends(answer(status))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with once("https://api.example", trust_env=True) as vps:
            for operation in ("get", "create"):
                error = await failing(OPERATIONS[operation](vps))
                assert isinstance(error, ConnectError)
                assert error.sent is Sent.NO
                assert f"can't connect through the proxy: {reason}" in str(error)

    assert [heard.method for heard in proxy.requests] == ["CONNECT", "CONNECT"]
    assert TOKEN not in str(proxy.requests)


@pytest.mark.parametrize(
    "entry", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "*", "x.example, 127.0.0.1:{port}"]
)
async def test_a_host_can_be_exempt_from_the_proxy(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``no_proxy`` is applied, with ports and networks."""
    async with RawServer(GOOD) as proxy, RawServer(GOOD) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", entry.format(port=server.port))
        async with once(server.url, trust_env=True) as vps:
            await vps.servers.get(1)

    assert (proxy.connections, len(server.requests)) == (0, 1)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("entry", [None, "127.0.0.1:1", "10.0.0.0/8"])
async def test_the_variables_that_name_a_proxy(
    name: str, entry: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables are read in either case; exemptions of other hosts change nothing."""
    async with RawServer(GOOD) as proxy, RawServer(GOOD) as server:
        monkeypatch.setenv(name, proxy.url)
        if entry is not None:
            monkeypatch.setenv("NO_PROXY", entry)
        async with once(server.url, trust_env=True) as vps:
            await vps.servers.get(1)

    assert (len(proxy.requests), server.connections) == (1, 0)


async def test_a_web_server_does_not_choose_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a CGI script HTTP_PROXY is a header of the visitor's request, and is not used."""
    async with RawServer(GOOD) as proxy, RawServer(GOOD) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("REQUEST_METHOD", "GET")
        async with once(server.url, trust_env=True) as vps:
            await vps.servers.get(1)

    assert (proxy.connections, len(server.requests)) == (0, 1)


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("trust_env", [False, True])
async def test_a_proxy_by_argument(trust_env: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """``proxy=`` needs no variable and goes before all of them, exemptions included."""
    async with RawServer(GOOD) as proxy, RawServer(GOOD) as other, RawServer(GOOD) as server:
        for name in PROXY_NAMES:
            monkeypatch.setenv(name, other.url)
        monkeypatch.setenv("no_proxy", "*")
        address = f"http://us%40er:p%2Fw@127.0.0.1:{proxy.port}"
        async with once(server.url, trust_env=trust_env, proxy=address) as vps:
            await vps.servers.get(1)
            await vps.servers.create(SPEC)

    assert (server.connections, other.connections) == (0, 0)
    login = base64.b64encode(b"us@er:p/w").decode()
    assert [heard.method for heard in proxy.requests] == ["GET", "POST"]
    for heard in proxy.requests:
        assert heard.headers["proxy-authorization"] == f"Basic {login}"
        assert heard.headers["authorization"] == f"Bearer {TOKEN}"


UNFIT = [
    ("socks5://user:hunter2@127.0.0.1:1", "SOCKS"),
    ("http://[hunter2", "HTTP proxy"),
    ("http://user:hunter2@127.0.0.1:x", "HTTP proxy"),
    ("http://user:hun/hunter2@127.0.0.1:1", "percent-encoded"),
    ("http://user:hunter2@", "HTTP proxy"),
]


def unsaid(error: BaseException) -> bool:
    """Whether the password shows in no part of the error, local variables of the package's frames included."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown.stack = traceback.StackSummary.from_list(
        [frame for frame in shown.stack if Path(pool.__file__).parents[1] in Path(frame.filename).parents]
    )
    texts = [*shown.format(), repr(error), repr(vars(error)), repr(error.__context__), repr(error.__cause__)]
    return "hunter2" not in "".join(texts)


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize(("address", "words"), UNFIT, ids=range(len(UNFIT)))
async def test_a_proxy_that_is_none(
    address: str, words: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unusable address is reported when the client opens, without repeating it: it may contain a password."""
    monkeypatch.setenv(name, address)

    with pytest.raises(ConfigurationError, match=words) as caught:
        async with once("http://127.0.0.1:1", trust_env=True):
            pass

    assert name in str(caught.value)
    assert unsaid(caught.value)


@pytest.mark.parametrize(("address", "words"), UNFIT, ids=range(len(UNFIT)))
def test_an_argument_that_is_no_proxy(address: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for ``proxy=``, reported when the client is created; no other error shows the password either."""
    monkeypatch.setenv("VPSORG_API_TOKEN", TOKEN)
    good = "http://user:hunter2@127.0.0.1:1"
    makers: list[tuple[Callable[[], object], str]] = [
        (lambda: Client(TOKEN, proxy=address), words),
        (lambda: Client.from_env(proxy=address), words),
        (lambda: Client(TOKEN, proxy=good, base_url="nowhere"), "base_url"),
        (lambda: Client("", proxy=good), "token"),
        (lambda: Client.from_env(proxy=good, base_url="nowhere"), "base_url"),
        (lambda: Client(TOKEN, proxy=good, max_in_flight=0), "max_in_flight"),
    ]
    for make, why in makers:
        with pytest.raises(ConfigurationError, match=why) as caught:
            make()
        assert unsaid(caught.value)
    monkeypatch.delenv("VPSORG_API_TOKEN")
    with pytest.raises(ConfigurationError, match="no API token") as caught:
        Client.from_env(proxy=good)
    assert unsaid(caught.value)


async def test_a_proxy_is_not_shown() -> None:
    """No repr of the client's parts, and no error of a call, shows the password of its proxy."""
    async with RawServer(sends(then="reset")) as proxy:
        address = f"http://user:hunter2@127.0.0.1:{proxy.port}"
        for url in ("http://127.0.0.1:1", "https://127.0.0.1:1"):
            async with once(url, proxy=address) as vps:
                error = await failing(vps.servers.get(1))
                shown = [repr(part) for part in (vps, vars(vps), vars(vps._runtime), vps._settings)]
            assert unsaid(error)
            assert "hunter2" not in "".join(shown)


# -- no connection --------------------------------------------------------------------------------------------------


async def test_tls_that_holds() -> None:
    """With the right authority the same setup works: the matrix's TLS rows fail for the reason that they name."""
    async with tls()() as endpoint, once(endpoint.url, **endpoint.options) as vps:
        assert (await vps.servers.get(1)).id == 1
        assert (await vps.servers.create(SPEC)).id == NEW + 2


async def test_plain_http_on_the_tls_port_hears_nothing() -> None:
    """No byte of the request reaches a peer that does not speak TLS."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(65536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        async with once(f"https://127.0.0.1:{port}", ssl_context=trusting()) as vps:
            error = await failing(vps.servers.create(SPEC))

    assert isinstance(error, ConnectError)
    assert (error.sent, error.final) == (Sent.NO, True)
    assert heard[:2] == b"\x16\x03"
    assert b"POST" not in heard
    assert TOKEN.encode() not in heard


@pytest.mark.parametrize("url", ["https://127.1", f"https://{'ü' * 64}.example"])
async def test_an_address_that_is_none(url: str) -> None:
    """An address that can't be connected to is not retried."""
    async with Client(TOKEN, base_url=url) as vps:
        for operation in ("get", "create"):
            error = await failing(OPERATIONS[operation](vps))
            assert isinstance(error, ConnectError)
            assert (error.sent, error.final, error.attempts) == (Sent.NO, True, 1)


@pytest.mark.parametrize("operation", ["get", "create"])
async def test_no_file_descriptor_left(operation: str) -> None:
    """A process without free descriptors gets an error that says that nothing was sent."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with RawServer(GOOD) as server, once(server.url) as vps:
        taken: list[int] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            error = await failing(OPERATIONS[operation](vps))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)

    assert isinstance(error, ConnectError)
    assert error.sent is Sent.NO


def test_a_silent_name_server_does_not_hold_up_the_end() -> None:
    """A program whose name resolution never returns ends when its call has ended."""
    program = """
        import asyncio, socket, time
        from vpsorg_async import Client, errors
        from vpsorg_async.config import Timeout
        from vpsorg_async.http.retry import RetryPolicy

        socket.getaddrinfo = lambda *_, **__: time.sleep(3600)

        async def main():
            options = dict(timeout=Timeout(connect=0.2), retry=RetryPolicy(attempts=1))
            async with Client("t", base_url="https://api.example", **options) as vps:
                try:
                    await vps.servers.get(1)
                except errors.ConnectError as error:
                    print(error.sent)

        asyncio.run(main())
    """
    isolated = ["-I"] if sys.flags.isolated else []
    done = subprocess.run(
        [sys.executable, *isolated, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "Sent.NO\n", "")


# -- closing --------------------------------------------------------------------------------------------------------


def _blocked_look_up(*_: object, **__: object) -> Any:
    time.sleep(1)
    raise OSError


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("moment", ["resolving", "connecting", "waiting", "reading", "queued"])
async def test_closing_the_client_ends_its_calls(
    moment: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a call waits for, closing the client ends it with one of our errors, never with a cancellation."""
    scripts = {"waiting": silent, "reading": SILENCES["half the body"], "queued": silent}
    async with RawServer(scripts.get(moment, GOOD)) as server, AsyncExitStack() as stack:
        swallowed = stack.enter_context(full_listener())
        url = {"resolving": "https://api.example", "connecting": swallowed}.get(moment, server.url)
        if moment == "resolving":
            monkeypatch.setattr("socket.getaddrinfo", _blocked_look_up)
        calls: list[asyncio.Task[object]] = []
        async with Client(TOKEN, base_url=url, max_in_flight=2) as vps:
            for _ in range(4 if moment == "queued" else 2):
                calls.append(asyncio.create_task(call(operation, vps)))
            await quiet()
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)

    errors = [getattr(outcome, "reason", outcome) for outcome in outcomes]
    assert {type(error) for error in errors} <= {ConnectionLostError, ClientClosedError}
    if moment == "queued":
        assert [type(error) for error in errors[2:]] == [ClientClosedError] * 2
    if moment in ("resolving", "connecting") and operation not in ("list", "get", "read"):
        assert {error.sent for error in errors if isinstance(error, TransportError)} == {Sent.NO}


async def test_a_look_up_that_ends_after_the_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its result is dropped without a word: nothing waits for it any more."""
    loop, began, answered = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def look_up(*_: object, **__: object) -> list[object]:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(began.set)
        answered.wait(10)
        return []

    monkeypatch.setattr("socket.getaddrinfo", look_up)
    async with once("https://api.example") as vps:
        call = asyncio.create_task(vps.servers.get(1))
        await began.wait()
    assert isinstance(await failing(call), ConnectionLostError)
    answered.set()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await quiet()

    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def call(operation: str, vps: Client) -> object:
    return await OPERATIONS[operation](vps)


@pytest.mark.parametrize("method", METHODS)
async def test_an_attempt_after_the_end_was_not_sent(method: str) -> None:
    """A call that gets its slot in the moment in which the client closes sends nothing, and says so."""
    async with RawServer(GOOD) as server:
        ended = AiohttpTransport(
            server.url, token=lambda: TOKEN, timeout=Timeout(), clock=SystemClock(), limit=1, max_body=1000
        )
        await ended.close()
        request = Request(Operation.CHANGE, method, "/api/v1/servers/")
        error = await ended.send(request)

    assert isinstance(error, ConnectionLostError)
    # no attempt follows in this call; another client can make the same call
    assert (error.sent, request.over, error.final, server.connections) == (Sent.NO, True, False, 0)
