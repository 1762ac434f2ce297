"""Every fault, proven on the wire by a client that speaks bytes."""

import asyncio
import json
import time
import zlib
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from vpsorg_async.sandbox import ManualClock, Rule, Sandbox, faults

Talk = Callable[..., Awaitable[Any]]


def creates(box: Sandbox) -> list[str]:
    return [change.name for change in box.ledger if change.operation == "create"]


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(("kind", "applied"), [(faults.DropBefore, False), (faults.DropAfter, True)])
async def test_drops(box: Sandbox, talk: Talk, spec: Any, kind: Any, applied: bool, how: str) -> None:
    """The connection ends without an answer, by a close or a reset, and the change is applied or not."""
    box.faults.add(Rule("create", kind(how=how), times=1))

    heard = await talk("POST", json=spec)

    assert (heard.raw, heard.reset) == (b"", how == "rst")
    assert creates(box) == (["web-1"] if applied else [])
    (entry,) = box.requests
    assert (entry.status, entry.fault, entry.committed) == (None, kind.do, applied)
    assert (await talk("POST", json=spec)).status == 201


async def test_half_headers(box: Sandbox, talk: Talk, spec: Any) -> None:
    """The change is applied, and the answer ends before its headers do."""
    box.faults.add(Rule("create", faults.HalfHeaders()))

    heard = await talk("POST", json=spec)

    assert heard.raw.startswith(b"HTTP/1.1 201 Created\r\n")
    assert b"\r\n\r\n" not in heard.raw
    assert creates(box) == ["web-1"]


async def test_half_body(box: Sandbox, talk: Talk, spec: Any) -> None:
    """The change is applied, and the body is shorter than its announced length."""
    box.faults.add(Rule("create", faults.HalfBody()))

    heard = await talk("POST", json=spec)

    assert heard.status == 201
    assert 0 < len(heard.body) < int(heard.header("Content-Length"))
    assert creates(box) == ["web-1"]


async def test_half_body_of_an_answer_without_one(box: Sandbox, talk: Talk) -> None:
    """A 204 has no body to cut: its headers are cut."""
    box.world.add()
    box.faults.add(Rule("delete", faults.HalfBody()))

    heard = await talk("DELETE", "/api/v1/servers/12345/")

    assert heard.raw.startswith(b"HTTP/1.1 204")
    assert b"\r\n\r\n" not in heard.raw
    assert box.servers == ()


async def test_malformed_chunk(box: Sandbox, spec: Any) -> None:
    """Whole headers come first, and only after a pause, in a segment of its own, a chunk that is none."""
    box.faults.add(Rule("list", faults.MalformedChunk(pause=0.05)))
    reader, writer = await asyncio.open_connection(*address(box))
    writer.write(request(box, "GET", "/api/v1/servers/"))

    started = time.monotonic()
    head = await reader.readuntil(b"\r\n\r\n")
    rest = await reader.read()
    writer.close()

    assert b"Transfer-Encoding: chunked" in head
    assert rest.startswith(b"zz\r\n")
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize("applied", [False, True])
async def test_garbage(box: Sandbox, talk: Talk, spec: Any, applied: bool) -> None:
    """What comes back is not HTTP."""
    box.faults.add(Rule("create", faults.Garbage(applied=applied)))

    heard = await talk("POST", json=spec)

    assert heard.raw
    assert not heard.raw.startswith(b"HTTP")
    assert bool(creates(box)) is applied


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("status", [200, 502, 503, 504])
async def test_html(box: Sandbox, talk: Talk, spec: Any, status: int, applied: bool) -> None:
    """An HTML page with a status of choice comes from in front of the API, the change made or not."""
    box.faults.add(Rule("create", faults.Html(status, applied=applied)))

    heard = await talk("POST", json=spec)

    assert heard.status == status
    assert heard.header("Content-Type").startswith("text/html")
    assert heard.body.startswith(b"<html>")
    assert bool(creates(box)) is applied
    assert box.requests[0].status == status


@pytest.mark.parametrize(
    ("action", "header"),
    [
        (faults.RateLimit(), "1"),
        (faults.RateLimit(2.5), "2.5"),
        (faults.RateLimit(None), None),
        (faults.RateLimit("99999999999999999999"), "99999999999999999999"),
        (faults.RateLimit("soon"), "soon"),
    ],
)
async def test_rate_limit(box: Sandbox, talk: Talk, spec: Any, action: Any, header: str | None) -> None:
    """429 comes with the Retry-After of choice, and nothing is done."""
    box.faults.add(Rule("create", action))

    heard = await talk("POST", json=spec)

    assert (heard.status, heard.header("Retry-After")) == (429, header)
    assert creates(box) == []


async def test_rate_limit_with_a_date(box: Sandbox, talk: Talk) -> None:
    """The date in Retry-After is as far from the answer's own date as asked, by the sandbox's clock."""
    box.faults.add(Rule("list", faults.RateLimit(30, as_date=True)))

    heard = await talk("GET")

    wait = parsedate_to_datetime(heard.header("Retry-After")) - parsedate_to_datetime(heard.header("Date"))
    assert wait.total_seconds() == 30


async def test_dribble(box: Sandbox, talk: Talk) -> None:
    """A good answer comes a few bytes at a time, with pauses."""
    box.faults.add(Rule("list", faults.Dribble(size=20, pause=0.005)))

    started = time.monotonic()
    heard = await talk("GET")

    assert (heard.status, heard.json) == (200, {"count": 0, "results": []})
    assert time.monotonic() - started >= 0.005 * (len(heard.raw) // 20)


@pytest.mark.parametrize("applied", [False, True])
async def test_never_answer(box: Sandbox, talk: Talk, arrivals: Talk, spec: Any, applied: bool) -> None:
    """No byte comes, the connection stays open, and other requests are served meanwhile."""
    box.faults.add(Rule("create", faults.NeverAnswer(applied=applied)))
    reader, writer = await asyncio.open_connection(*address(box))
    writer.write(request(box, "POST", "/api/v1/servers/", spec))

    silence = asyncio.ensure_future(reader.read(1))
    await arrivals(box, 1)
    for _ in range(3):
        assert (await talk("GET")).json["count"] == applied
    assert not silence.done()
    silence.cancel()
    writer.close()
    assert (box.requests[0].status, box.requests[0].committed) == (None, applied)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect(box: Sandbox, talk: Talk, spec: Any, status: int) -> None:
    """A redirect names any other place."""
    box.faults.add(Rule("create", faults.Redirect("http://127.0.0.2:1/x", status=status)))

    heard = await talk("POST", json=spec)

    assert (heard.status, heard.header("Location")) == (status, "http://127.0.0.2:1/x")
    assert creates(box) == []


async def test_huge_body(box: Sandbox, talk: Talk) -> None:
    """The answer comes behind as much white space as asked."""
    box.faults.add(Rule("list", faults.HugeBody(size=3 * 2**20 + 1)))

    heard = await talk("GET")

    assert heard.status == 200
    assert len(heard.body) > 3 * 2**20
    assert b'{"count": 0, "results": []}' in heard.body


async def test_gzip_bomb(box: Sandbox, talk: Talk) -> None:
    """Few bytes on the wire unpack to as many as asked, with the answer at their end."""
    box.faults.add(Rule("list", faults.GzipBomb(size=20 * 2**20)))

    heard = await talk("GET")
    packed = chunks(heard.body)
    unpacked = zlib.decompress(packed, wbits=31)

    assert heard.header("Content-Encoding") == "gzip"
    assert len(packed) < 100_000
    assert len(unpacked) > 20 * 2**20
    assert json.loads(unpacked) == {"count": 0, "results": []}


@pytest.mark.parametrize("kind", [faults.HugeBody, faults.GzipBomb])
async def test_a_client_may_leave_a_flood(box: Sandbox, talk: Talk, kind: Any) -> None:
    """A client that hangs up in the middle of a huge answer leaves the sandbox well."""
    box.faults.add(Rule("list", kind(size=2**26), times=1))
    reader, writer = await asyncio.open_connection(*address(box))
    writer.write(request(box, "GET", "/api/v1/servers/"))
    await reader.readexactly(1000)
    writer.transport.abort()

    assert (await talk("GET")).status == 200


@pytest.mark.parametrize(
    ("action", "status", "body"),
    [
        (faults.Reply(402), 402, b'{"detail": "Payment Required"}'),
        (faults.Reply(200, body="{not json"), 200, b"{not json"),
        (faults.Reply(403, body=["no"], headers={"X-A": "b"}), 403, b'["no"]'),
    ],
)
async def test_reply(box: Sandbox, talk: Talk, spec: Any, action: Any, status: int, body: bytes) -> None:
    """Any answer can replace the real one."""
    box.faults.add(Rule("create", action))

    heard = await talk("POST", json=spec)

    assert (heard.status, heard.body, heard.header("X-A")) == (status, body, action.headers.get("X-A"))
    assert creates(box) == []


async def test_402_on_the_kth_create(box: Sandbox, talk: Talk, spec: Any) -> None:
    """A create can be refused for want of credit at a given place in the row."""
    box.faults.add(Rule("create", faults.Reply(402), nth=3))

    assert [(await talk("POST", json=spec)).status for _ in range(4)] == [201, 201, 402, 201]


@pytest.mark.parametrize("after", [False, True])
async def test_delay(spec: Any, after: bool) -> None:
    """An answer can be late; the change is applied at the end of the delay, or before it."""
    async with Sandbox(faults=[Rule("create", faults.Delay(0.05, after=after))]) as box:
        headers = {"Authorization": f"Bearer {box.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{box.url}/api/v1/servers/", json=spec) as response,
        ):
            assert response.status == 201
        arrived, applied, answered = box.requests[0].at, box.ledger[0].at, box.clock()

    assert (answered - applied if after else applied - arrived) >= 0.05


async def test_lag(box: Sandbox, talk: Talk, clock: ManualClock) -> None:
    """After a reboot, reads can still show the state before it for a while."""
    box.world.add()
    clock.advance(100)
    box.faults.add(Rule("reboot", faults.Lag(5)))

    async def status() -> Any:
        return (await talk("GET", "/api/v1/servers/12345/")).json["status"]

    rebooting = await talk("POST", "/api/v1/servers/12345/reboot/")
    seen = [await status()]
    clock.advance(4)
    seen.append((await talk("GET")).json["results"][0]["status"])
    clock.advance(1)
    seen.append(await status())

    assert rebooting.json["server"]["status"] == "rebooting"
    assert seen == ["active", "active", "rebooting"]


@pytest.mark.parametrize(
    ("ending", "status"),
    [(None, 504), (faults.Html(502), 502), (faults.DropBefore(), None), (faults.RateLimit(), 429)],
)
async def test_commit_later(
    box: Sandbox, talk: Talk, clock: ManualClock, spec: Any, ending: Any, status: int | None
) -> None:
    """The client hears of an error, or nothing, and later the server is there all the same."""
    actions = [faults.CommitLater(5), *([ending] if ending else [])]
    box.faults.add(Rule("create", actions))

    heard = await talk("POST", json=spec)
    before = (await talk("GET")).json["count"], box.requests[0].committed
    clock.advance(5)
    after = (await talk("GET")).json["count"], box.requests[0].committed

    assert (heard.status if heard.raw else None) == status
    assert (before, after) == ((0, False), (1, True))
    assert [(change.at, change.request) for change in box.ledger] == [(5, 1)]


async def test_commit_later_needs_something_to_commit(box: Sandbox, talk: Talk, clock: ManualClock) -> None:
    """A read, or a create that is refused at sight, commits nothing later either."""
    box.faults.add(Rule(None, faults.CommitLater(5)))

    await talk("GET")
    await talk("POST", json={"name": "incomplete"})
    clock.advance(10)

    assert box.ledger == ()


@pytest.mark.parametrize(
    ("action", "by_id", "in_list"),
    [
        (faults.HideCreated(5), True, True),
        (faults.HideCreated(5, by_id=False), False, True),
        (faults.HideCreated(5, in_list=False), True, False),
    ],
)
async def test_hide_created(
    box: Sandbox, talk: Talk, clock: ManualClock, spec: Any, action: Any, by_id: bool, in_list: bool
) -> None:
    """A server just made is 404 by id and/or absent from the list, for its time."""
    box.faults.add(Rule("create", action))

    async def look() -> tuple[bool, bool]:
        got, listed = await talk("GET", "/api/v1/servers/12345/"), await talk("GET")
        return got.status == 404, listed.json["count"] == 0

    assert (await talk("POST", json=spec)).status == 201
    assert await look() == (by_id, in_list)
    clock.advance(5)
    assert await look() == (False, False)


async def test_set_status(box: Sandbox, talk: Talk, clock: ManualClock, spec: Any) -> None:
    """A server can get an unknown word: the requested server, a new one, or a named one."""
    box.world.add()
    box.faults.add(
        Rule("get", faults.SetStatus("migrating", seconds=5, then="stopped"), times=1),
        Rule("create", faults.SetStatus("queued")),
        Rule("list", faults.SetStatus("haunted", server_id=12346)),
    )

    assert (await talk("GET", "/api/v1/servers/12345/")).json["status"] == "migrating"
    await talk("POST", json=spec)
    assert [server.status for server in box.servers] == ["migrating", "queued"]
    clock.advance(5)
    listed = (await talk("GET")).json["results"]
    assert [server["status"] for server in listed] == ["stopped", "haunted"]


async def test_vanish_and_suspend(box: Sandbox, talk: Talk, spec: Any) -> None:
    """A server can be gone, or suspended, just when one asks for it; one just made, too."""
    box.world.add(2)
    box.faults.add(
        Rule("get", faults.Vanish(), path="/api/v1/servers/12345/"),
        Rule("get", faults.Suspend(), path="/api/v1/servers/12346/"),
        Rule("create", faults.Vanish()),
    )

    gone = [await talk("GET", "/api/v1/servers/12345/") for _ in range(2)]
    suspended = await talk("GET", "/api/v1/servers/12346/")
    made = await talk("POST", json=spec)

    assert [heard.status for heard in gone] == [404, 404]
    assert suspended.json["status"] == "suspended"
    assert made.status == 201
    assert [server.id for server in box.servers] == [12346]


async def test_faults_act_in_front_of_the_api(box: Sandbox, talk: Talk) -> None:
    """Like a proxy, a fault does not ask who calls; but applying a call without a token is 401."""
    box.faults.add(Rule("list", faults.Html(503), times=1), Rule("list", faults.Dribble(size=500)))

    assert (await talk("GET", token=None)).status == 503
    assert (await talk("GET", token=None)).status == 401


async def test_faults_spare_the_side_door(box: Sandbox, talk: Talk) -> None:
    """A rule for everything does not shut out its owner."""
    box.faults.add(Rule(None, faults.DropBefore()))

    assert (await talk("GET")).raw == b""
    assert (await talk("GET", "/_sandbox/ledger")).status == 200


def address(box: Sandbox) -> tuple[str, int]:
    host, port = box.url.removeprefix("http://").split(":")
    return host, int(port)


def request(box: Sandbox, method: str, path: str, document: Any = None) -> bytes:
    body = b"" if document is None else json.dumps(document).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {box.token}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunks(body: bytes) -> bytes:
    """The content of a chunked body."""
    content = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        content += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return content
