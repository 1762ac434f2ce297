"""The client as a whole, over real sockets: opening, closing on every path, limits, and secrets."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, Self
from urllib.parse import unquote

import pytest

from vpsorg_async import Client, RetryPolicy, Server, ServerSpec
from vpsorg_async.errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    OutcomeUnknownError,
    Sent,
)
from vpsorg_async.sandbox import Sandbox

TOKEN = "vps_abc123def456"
ONCE = RetryPolicy(attempts=1)
SPEC = ServerSpec(name="web-01", plan_id=1, os_id=5, location="us-west")
WEB = {"id": 7, "name": "web-01", "status": "active"}


def answer_to(head: str, number: int) -> bytes:
    """The API's response to that request: the server of its path, or a new one."""
    path = head.split(" ", 2)[1]
    server_id = unquote(path.partition("/servers/")[2].partition("/")[0]) or str(1000 + number)
    return json.dumps({**WEB, "id": int(server_id) if server_id.isdecimal() else server_id}).encode()


class Desk:
    """A server that counts requests, those in flight, and connections. It shows each server that is requested.

    With a ``body`` every request gets the same response. While it is ``shut`` requests wait; with ``hold=n`` they wait
    until n are in flight.
    """

    def __init__(self, *, status: int = 200, body: bytes | None = None, hold: int = 1) -> None:
        self.heads: list[str] = []
        self.in_hand = self.peak = self.connections = self.open = 0
        self.shut = asyncio.Event()
        self._hold = hold
        self._status, self._body = status, body

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=500)
        self._enough, self._changed = asyncio.Event(), asyncio.Condition()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.empty()
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def lines(self) -> list[str]:
        """The request lines so far."""
        return [head.partition("\r\n")[0] for head in self.heads]

    def client(self, token: str = TOKEN, **options: Any) -> Client:
        """A client of this server, which tries once."""
        return Client(token, base_url=self.url, **{"retry": ONCE, **options})

    async def busy(self, count: int) -> None:
        """Return once this number of requests is being handled."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.in_hand >= count)

    async def empty(self) -> None:
        """Return once no connection is open."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self._count(open=1)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                await reader.readexactly(int(length or 0))
                await self._take(head, reader)
                body = answer_to(head, len(self.heads)) if self._body is None else self._body
                start = f"HTTP/1.1 {self._status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(start.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            await self._count(open=-1)

    async def _take(self, head: str, reader: asyncio.StreamReader) -> None:
        self.heads.append(head)
        await self._count(in_hand=1)
        if self.in_hand >= self._hold:
            self._enough.set()
        try:
            await self._enough.wait()
            if self.shut.is_set():
                # no response ever: the client has to disconnect
                await reader.readexactly(1)
        finally:
            # later requests get the chance to come while this one is still in flight
            for _ in range(10):
                await asyncio.sleep(0)
            await self._count(in_hand=-1)

    async def _count(self, *, open: int = 0, in_hand: int = 0) -> None:
        async with self._changed:
            self.open += open
            self.in_hand += in_hand
            self.peak = max(self.peak, self.in_hand)
            self._changed.notify_all()


USES: dict[str, Callable[[Client], Any]] = {
    "servers": lambda vps: vps.servers,
    "fleet": lambda vps: vps.fleet,
    "wait_until": lambda vps: vps.wait_until(7, "active", timeout=1),
    "wait_until_all": lambda vps: vps.wait_until_all([7], "active", timeout=1),
    "watch": lambda vps: vps.watch(),
    "request": lambda vps: vps.request("GET", "/servers/"),
}


# -- open and closed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", USES)
async def test_a_client_is_used_while_it_is_open(use: str) -> None:
    """Before and after its ``async with`` every use raises an error, and sends nothing."""
    vps = Client(TOKEN, base_url="http://127.0.0.1:1")

    async def attempt() -> None:
        result = USES[use](vps)
        if isinstance(result, Awaitable):
            await result

    with pytest.raises(ClientClosedError, match="not open: use it inside 'async with"):
        await attempt()
    async with vps:
        pass
    with pytest.raises(ClientClosedError, match="closed: use it inside 'async with"):
        await attempt()


async def test_a_client_is_opened_once() -> None:
    """A second entry is refused, concurrently or later; the first one is not disturbed."""
    async with Desk() as desk:
        vps = desk.client()
        async with vps:
            with pytest.raises(ClientClosedError, match="opened only once; create a new one"):
                await vps.__aenter__()
            assert (await vps.servers.get(7)).name == "web-01"
        with pytest.raises(ClientClosedError, match="opened only once; create a new one"):
            await vps.__aenter__()


async def test_a_client_that_is_never_opened_holds_nothing() -> None:
    """Creating a client opens nothing that would have to be closed."""
    Client(TOKEN)
    gc.collect()


async def test_closing_twice_is_closing() -> None:
    """Closing a second time does no harm."""
    async with Desk() as desk:
        vps = desk.client()
        async with vps:
            await vps.servers.get(7)
        await vps.__aexit__(None, None, None)


async def test_closing_ends_the_connections() -> None:
    """After the ``async with`` no connection is open."""
    async with Desk() as desk:
        async with desk.client() as vps:
            await asyncio.gather(*(vps.servers.get(7) for _ in range(5)))
            assert desk.open
        await desk.empty()


async def test_an_exception_in_the_body_closes_the_client() -> None:
    """The exception is raised unchanged, and no connection stays open."""
    async with Desk() as desk:

        async def work() -> None:
            async with desk.client() as vps:
                await vps.servers.get(7)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await work()
        await desk.empty()


async def test_cancellation_closes_the_client() -> None:
    """A task that is cancelled in the middle of calls and waits ends as cancelled, and no connection stays open."""
    async with Desk() as desk:
        desk.shut.set()

        async def work() -> None:
            async with desk.client(max_in_flight=2) as vps:
                await asyncio.gather(
                    vps.servers.get(7),
                    vps.servers.create(SPEC),
                    vps.servers.get(8),
                    vps.wait_until(7, "active", timeout=60),
                    vps.fleet.stop([7, 8], timeout=60),
                )

        task = asyncio.create_task(work())
        await desk.busy(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await desk.empty()

    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancelled_call_disturbs_no_other() -> None:
    """One call is cancelled, queued or in flight: its slot goes to the next, and the client still works."""
    async with Desk() as desk, desk.client(max_in_flight=1) as vps:
        desk.shut.set()
        under_way = asyncio.create_task(vps.servers.get(7))
        await desk.busy(1)
        queued = asyncio.create_task(vps.servers.get(8))
        last = asyncio.create_task(vps.servers.get(9))
        await asyncio.sleep(0)
        desk.shut.clear()
        for task in (queued, under_way):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        assert (await last).name == "web-01"
        assert desk.lines == ["GET /api/v1/servers/7/ HTTP/1.1", "GET /api/v1/servers/9/ HTTP/1.1"]


async def test_closing_under_a_call() -> None:
    """A task that waits for a response, a slot or a status gets the error that the client was closed."""
    async with Desk(hold=2) as desk:
        desk.shut.set()
        async with desk.client(max_in_flight=2) as vps:
            read = asyncio.create_task(vps.servers.get(7))
            create = asyncio.create_task(vps.servers.create(SPEC))
            await desk.busy(2)
            queued = asyncio.create_task(vps.servers.get(8))
            wait = asyncio.create_task(vps.wait_until(9, "active", timeout=60))
            await asyncio.sleep(0)

        with pytest.raises(ConnectionLostError, match="the client was closed during the call") as closed:
            await read
        with pytest.raises(OutcomeUnknownError, match="may exist now") as lost:
            await create
        for waiting in (queued, wait):
            with pytest.raises(ClientClosedError):
                await waiting

    assert lost.value.sent is Sent.MAYBE
    assert lost.value.subject == "web-01"
    assert (closed.value.final, lost.value.final) == (False, True)
    assert len(desk.lines) == 2


async def test_closing_under_a_fleet_call() -> None:
    """A fleet call of a client that is closed still ends with one outcome for each server."""
    async with Desk(hold=2) as desk:
        desk.shut.set()
        async with desk.client(max_in_flight=2) as vps:
            call = asyncio.create_task(vps.fleet.stop([1, 2, 3, 4], timeout=60))
            await desk.busy(2)

        report = await call

    assert [outcome.key for outcome in report.outcomes] == [1, 2, 3, 4]
    assert len(report.failed) == 4


async def test_what_is_kept_of_a_closed_client_is_closed() -> None:
    """A reference to a part of a closed client can't be used either."""
    async with Desk() as desk:
        async with desk.client() as vps:
            servers, fleet = vps.servers, vps.fleet
        with pytest.raises(ClientClosedError):
            await servers.list()
        report = await fleet.start([7], timeout=1)

    assert [type(failure.error) for failure in report.failed] == [ClientClosedError]
    assert desk.heads == []


async def test_nobody_there() -> None:
    """A port without a listener raises an error of this package, with the address and that nothing was sent."""
    async with Desk() as desk:
        url = desk.url
    async with Client(TOKEN, base_url=url, retry=ONCE) as vps:
        with pytest.raises(ConnectError, match=f"can't connect to {url}") as caught:
            await vps.servers.create(SPEC)

    assert caught.value.sent is Sent.NO


# -- loops and clients ----------------------------------------------------------------------------------------------


async def test_many_clients_on_one_loop() -> None:
    """Clients share nothing: each sends its own token, and one that closes leaves the others alone."""
    tokens = [f"vps_token{number}" for number in range(5)]
    async with Desk() as desk, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(desk.client(token)) for token in tokens]
        await clients[0].__aexit__(None, None, None)
        await asyncio.gather(*(vps.servers.get(7) for vps in clients[1:]))

        seen = sorted(head.partition("Authorization: Bearer ")[2].partition("\r\n")[0] for head in desk.heads)
        assert seen == tokens[1:]


def test_many_loops_in_one_process() -> None:
    """``asyncio.run`` repeatedly: each time a new client works, with no state of the one before."""

    async def count(vps: Client) -> int:
        async with vps:
            return len(await vps.servers.list())

    with Sandbox() as box:
        box.world.add(3)
        # created outside of any loop: a client is bound to its loop when it is opened
        clients = [Client(box.token, base_url=box.url) for _ in range(3)]
        assert [asyncio.run(count(vps)) for vps in clients] == [3, 3, 3]
        with pytest.raises(ClientClosedError, match="opened only once; create a new one"):
            asyncio.run(count(clients[0]))


async def test_a_client_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client uses the address and token in the environment; this package's own variables win."""
    async with Sandbox(token="vps_mine") as box:
        monkeypatch.setenv("VPS_API_TOKEN", "vps_theirs")
        monkeypatch.setenv("VPSORG_BASE_URL", f"{box.url}/")
        async with Client.from_env(retry=ONCE) as vps:
            with pytest.raises(AuthenticationError):
                await vps.servers.list()

        monkeypatch.setenv("VPSORG_API_TOKEN", "vps_mine")
        async with Client.from_env() as vps:
            assert await vps.servers.list() == ()


# -- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3, 8])
async def test_max_in_flight(limit: int) -> None:
    """Exactly this number of requests are in flight, reads and changes together."""
    async with Desk(hold=limit) as desk, desk.client(max_in_flight=limit) as vps:
        calls: list[Awaitable[object]] = []
        for _ in range(3 * limit):
            calls += [vps.servers.get(7), vps.servers.stop(7), vps.request("GET", "/plans/")]
        await asyncio.gather(*calls)

        assert len(desk.heads) == 9 * limit
        assert desk.peak == limit
        assert desk.connections <= limit


async def test_max_in_flight_of_a_fleet() -> None:
    """A fleet call keeps to the same limit, and so do two concurrent ones."""
    async with Desk(hold=4) as desk, desk.client(max_in_flight=4) as vps:
        first, second = await asyncio.gather(
            vps.fleet.start(range(1, 21), timeout=60, wait=False),
            vps.fleet.stop(range(21, 41), timeout=60, wait=False),
        )

        assert (len(first.succeeded), len(second.succeeded)) == (20, 20)
        assert desk.peak == 4


async def test_the_default_limit_is_32() -> None:
    """By default at most 32 requests are in flight."""
    async with Desk(hold=32) as desk, desk.client() as vps:
        await asyncio.gather(*(vps.servers.get(7) for _ in range(100)))

        assert desk.peak == 32


# -- requests on the wire -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server_id", "path"),
    [
        (12345, "12345"),
        ("a/b", "a%2Fb"),
        ("../admin", "..%2Fadmin"),
        ("%2e%2e", "%252e%252e"),
        ("a?b#c", "a%3Fb%23c"),
        ("a b", "a%20b"),
        ("zürich", "z%C3%BCrich"),
        ("0b5e2f6e-8a", "0b5e2f6e-8a"),
    ],
)
async def test_ids_on_the_wire(server_id: int | str, path: str) -> None:
    """An id stays one segment of the path all the way to the socket."""
    async with Desk() as desk, desk.client() as vps:
        await vps.servers.get(server_id)
        await vps.servers.start(server_id)

        assert desk.lines == [
            f"GET /api/v1/servers/{path}/ HTTP/1.1",
            f"POST /api/v1/servers/{path}/start/ HTTP/1.1",
        ]


async def test_filters_on_the_wire() -> None:
    """Filters are escaped into the query, so that no word can become another parameter."""
    async with Desk(body=b"[]") as desk, desk.client() as vps:
        await vps.servers.list(status="active&location=x", location="us west/ü")

        (line,) = desk.lines
        assert line.startswith("GET /api/v1/servers/?status=active%26location%3Dx&location=us")
        assert line.count("&") == 1


async def test_an_action_has_no_body() -> None:
    """Start, stop and reboot are POSTs without a body, as in the page's examples."""
    async with Desk() as desk, desk.client() as vps:
        await vps.servers.reboot(7)

        (head,) = desk.heads
        assert "content-length: 0" in head.lower() or "content-length" not in head.lower()
        assert "transfer-encoding" not in head.lower()


# -- secrets --------------------------------------------------------------------------------------------------------


def everything(error: BaseException) -> str:
    """Everything of an error that a tool could print, variables of all frames and causes included."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return "".join(shown) + repr(error) + str(error) + repr(vars(error)) + repr(error.args)


async def test_the_token_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The token appears in no repr, event, log line or error, even where responses echo the request."""
    events: list[object] = []
    shown: list[str] = []
    # put together here, so that the source lines and variables of this test do not show it either
    with Sandbox() as box:
        body = b'{"detail":"no token ' + box.token.encode() + b' here","request":"Authorization: Bearer '
        echo = body + box.token.encode() + b'"}'
    del body

    async with Desk(status=401, body=echo) as desk, desk.client(box.token, on_event=events.append) as vps:
        del echo
        shown += [repr(vps), str(vps), repr(vars(vps)), repr(vps.servers), repr(vars(vps.servers))]
        shown += [repr(vps.fleet), repr(vars(vps.fleet))]
        with caplog.at_level(logging.DEBUG):
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: vps.servers.list(),
                lambda: vps.servers.create(SPEC),
                lambda: vps.servers.delete(7),
                lambda: vps.wait_until(7, "active", timeout=60),
                lambda: vps.request("GET", "/plans/"),
            ]
            for call in calls:
                with pytest.raises(AuthenticationError, match=r"\*\*\*") as caught:
                    await call()
                shown.append(everything(caught.value))
            report = await vps.fleet.stop([7, 8], timeout=60)
        shown += [repr(report), report.to_json(), repr(events), caplog.text]
        assert len(events) >= 2 * len(calls)

    secret = box.token
    assert [text for text in shown if secret in text] == []


async def test_an_error_keeps_no_answer_alive() -> None:
    """An error can be pickled, and holds no connection."""
    async with Desk(status=400, body=b'{"name":["Too long."]}') as desk, desk.client() as vps:
        with pytest.raises(APIError) as caught:
            await vps.servers.create(SPEC)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


# -- clean ----------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, gc, logging
from vpsorg_async import Client, ServerSpec, errors
from vpsorg_async.sandbox import Sandbox

async def main(box):
    specs = [ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west") for n in range(8)]
    async with Client(box.token, base_url=box.url, min_interval=0.01) as vps:
        report = await vps.fleet.create(specs, timeout=60)
        report = await vps.fleet.delete([server.id for server in report.servers], timeout=60)
        report.raise_for_failures()
    try:
        async with Client("wrong", base_url=box.url) as vps:
            await vps.servers.list()
    except errors.AuthenticationError:
        pass
    try:
        async with Client(box.token, base_url=box.url) as vps:
            server = await vps.servers.create(specs[0])
            async with asyncio.timeout(0.05):
                await vps.wait_until(server, "stopped", timeout=60)
    except (TimeoutError, errors.WaitError):
        pass

# how long a callback took depends on the machine
logging.getLogger("asyncio").addFilter(lambda record: " took " not in record.getMessage())
with Sandbox(speed=5000) as box:
    for _ in range(2):
        asyncio.run(main(box))
        box.reset()
Client("never-opened")
gc.collect()
print("done")
"""


def test_a_program_ends_clean() -> None:
    """With every check of Python's development mode on, and warnings as errors, nothing is printed."""
    done = subprocess.run(
        [sys.executable, "-P", "-X", "dev", "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


async def test_records_outlive_their_client() -> None:
    """Records stay as they are when the client is gone."""
    async with Desk() as desk, desk.client() as vps:
        server = await vps.servers.get(7)

    assert isinstance(server, Server)
    assert (server.id, server.name, server.status) == (7, "web-01", "active")
