"""Options of single calls: attempts, retries, headers, and deadlines with correct knowledge of the outcome."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

import attrs
import pytest

from tests.io.endpoints import (
    LONG,
    black_hole,
    drips,
    fits,
    full_listener,
    passing_time,
    sends,
    silent_name_server,
    stalls,
)
from tests.io.faults import CHANGES, OPERATIONS, READS, SPEC, TOKEN, failing
from tests.io.raw_server import Line, RawServer, Script, answer
from tests.io.skipping import SkippingClock, quiet, skip, skipping
from vpsorg_async import Backoff, Client, RetryPolicy, Timeout
from vpsorg_async.errors import (
    ClientClosedError,
    ConfigurationError,
    ConnectError,
    DecodeError,
    OutcomeUnknownError,
    RateLimitError,
    RequestTimeoutError,
    Sent,
    ServiceError,
)
from vpsorg_async.fleet import Failed
from vpsorg_async.http.exchange import Operation, Request
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.virtual_time import LoopClock, VirtualTimeLoop

GOOD = sends(fits)


def client(url: str, **options: Any) -> Client:
    return Client(TOKEN, base_url=url, clock=SkippingClock(), **options)


def now() -> float:
    return asyncio.get_running_loop().time()


# -- deadlines ------------------------------------------------------------------------------------------------------

MUTE: dict[str, Script] = {
    "no answer": stalls,
    "half an answer": sends(b"HTTP/1.1 200 OK\r\nContent-Le", then="stall"),
    "half a body": sends(answer(200, b'{"id"', length=400), then="stall"),
    "byte by byte": drips,
}


@pytest.mark.parametrize("operation", READS)
@pytest.mark.parametrize("script", MUTE.values(), ids=MUTE)
@skipping
async def test_a_read_ends_at_its_deadline(script: Script, operation: str) -> None:
    """A read that reaches its deadline is a timeout, with no unknown outcome."""
    async with RawServer(script) as server, client(server.url) as vps:
        error = await failing(OPERATIONS[operation](vps.with_options(deadline=5)))

    assert isinstance(error, RequestTimeoutError)
    assert (error.deadline, error.attempts) == (5.0, 1)
    assert "5 s" in str(error)


@pytest.mark.parametrize("operation", CHANGES)
@pytest.mark.parametrize("script", MUTE.values(), ids=MUTE)
@skipping
async def test_a_change_that_left_is_unknown_at_its_deadline(script: Script, operation: str) -> None:
    """A change that may have been applied is unknown, PUT and DELETE included; it is sent once."""
    async with RawServer(script) as server, client(server.url) as vps:
        error = await failing(OPERATIONS[operation](vps.with_options(deadline=5)))

        assert len(server.requests) == 1
    assert isinstance(error, OutcomeUnknownError)
    assert isinstance(error.reason, RequestTimeoutError)
    assert error.reason.deadline == 5.0


@pytest.mark.parametrize("operation", OPERATIONS)
@skipping
async def test_no_connection_before_the_deadline(operation: str) -> None:
    """A call that did not leave before its deadline is reported as not sent."""
    async with black_hole() as endpoint, client(endpoint.url) as vps:
        error = await failing(OPERATIONS[operation](vps.with_options(deadline=5, timeout=60)))

    assert isinstance(error, RequestTimeoutError)
    assert (error.sent, error.attempts) == (Sent.NO, 1)
    assert "no connection" in str(error)


@skipping
async def test_no_name_before_the_deadline() -> None:
    """A silent name server holds the call no longer than its deadline."""
    with mock.patch("socket.getaddrinfo", silent_name_server):
        async with passing_time(6.0), client("https://api.example") as vps:
            error = await failing(vps.with_options(deadline=5).servers.reboot(1))

    assert isinstance(error, RequestTimeoutError)
    assert error.sent is Sent.NO


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@skipping
async def test_an_upload_that_no_one_reads() -> None:
    """The deadline covers the upload of the body, part of which has left."""

    async def deaf(line: Line) -> None:
        await quiet()
        skip(LONG)
        await line.stall()

    async with RawServer(greet=deaf) as server, client(server.url) as vps:
        big = vps.with_options(deadline=5).request("POST", "/notes/", json={"text": "x" * (64 << 20)})
        error = await failing(big)

    assert isinstance(error, OutcomeUnknownError)


@pytest.mark.parametrize("operation", OPERATIONS)
@skipping
async def test_queueing_counts_against_the_deadline(operation: str) -> None:
    """A call that gets no slot in time was not sent; the call that holds the slot goes on."""
    release = asyncio.Event()

    async def held(line: Line) -> None:
        await release.wait()
        line.send(fits(line))

    async with RawServer(held, GOOD) as server, client(server.url, max_in_flight=1) as vps:
        first = asyncio.create_task(vps.servers.get(1))
        await server.until_heard(1)
        second = asyncio.create_task(failing(OPERATIONS[operation](vps.with_options(deadline=5))))
        await quiet()
        assert not second.done()
        skip(6.0)
        error = await second
        assert len(server.requests) == 1
        release.set()
        assert (await first).id == 1
        assert (await vps.servers.get(1)).id == 1, "the slot is free again"

    assert isinstance(error, RequestTimeoutError)
    assert (error.sent, error.deadline, error.attempts) == (Sent.NO, 5.0, 0)


@skipping
async def test_pauses_count_against_the_deadline() -> None:
    """A pause that would end after the deadline is not begun; the last failure is the cause."""
    retry = RetryPolicy(attempts=50, backoff=Backoff(initial=2.0, maximum=2.0))
    async with RawServer(sends(answer(503, b"{}"))) as server, client(server.url, retry=retry) as vps:
        began = now()
        error = await failing(vps.with_options(deadline=5).servers.get(1))

        assert now() - began <= 5.0
        assert error.attempts == len(server.requests) > 1
    assert isinstance(error, RequestTimeoutError)
    assert isinstance(error.__cause__, ServiceError)


@pytest.mark.parametrize("operation", OPERATIONS)
@skipping
async def test_a_rate_limit_longer_than_the_deadline(operation: str) -> None:
    """A refusal at the deadline leaves no unknown outcome, for a change either."""
    async with RawServer(sends(answer(429, b"{}", "Retry-After: 30"))) as server, client(server.url) as vps:
        began = now()
        error = await failing(OPERATIONS[operation](vps.with_options(deadline=5)))

        assert now() - began <= 5.0
        assert len(server.requests) == 1
    assert isinstance(error, RequestTimeoutError)
    assert error.sent is Sent.REJECTED
    assert "Retry-After: 30 s" in str(error)
    assert "passed" not in str(error)
    assert isinstance(error.__cause__, RateLimitError)
    assert error.__cause__.retry_after == 30.0


@pytest.mark.parametrize("operation", ["delete", "replace"])
@skipping
async def test_a_rate_limit_after_a_lost_attempt(operation: str) -> None:
    """A refusal of the last attempt proves nothing about the attempt before."""
    scripts = [sends(answer(503, b"{}")), sends(answer(429, b"{}", "Retry-After: 30"))]
    async with RawServer(*scripts) as server, client(server.url) as vps:
        error = await failing(OPERATIONS[operation](vps.with_options(deadline=5)))

    assert isinstance(error, OutcomeUnknownError)
    assert (error.sent, error.attempts) == (Sent.MAYBE, 2)


@pytest.mark.parametrize("operation", ["list", "get", "read", "delete"])
@skipping
async def test_all_attempts_count_before_an_answer_that_does_not_fit(operation: str) -> None:
    """An error found in the third response is that of a call with three attempts."""
    busy = sends(answer(503, b"{}"))
    async with (
        RawServer(busy, busy, sends(answer(200, b"<p>"))) as server,
        client(server.url) as vps,
    ):
        error = await failing(OPERATIONS[operation](vps))

        assert len(server.requests) == 3
    assert isinstance(error, DecodeError | OutcomeUnknownError)
    assert error.attempts == 3


@skipping
async def test_a_retried_delete_at_its_deadline() -> None:
    """The first attempt may have been applied, so the deadline in the pause after it leaves the outcome unknown."""
    retry = RetryPolicy(attempts=9, backoff=Backoff(initial=4.0, maximum=4.0))
    async with RawServer(sends(answer(503, b"{}"))) as server, client(server.url, retry=retry) as vps:
        error = await failing(vps.with_options(deadline=5).servers.delete(1))

    assert isinstance(error, OutcomeUnknownError)
    assert error.attempts == len(server.requests)


@pytest.mark.parametrize("operation", ["start", "stop", "update"])
@skipping
async def test_the_read_after_a_lost_answer_is_within_the_deadline(operation: str) -> None:
    """The deadline applies to the call, not to each request in it."""
    lost = sends(b"HTTP/1.1 200 OK\r\nContent-Le", then="close")
    async with RawServer(lost, stalls) as server, client(server.url) as vps:
        error = await failing(OPERATIONS[operation](vps.with_options(deadline=5)))

        assert [heard.method for heard in server.requests][1:] == ["GET"]
    assert isinstance(error, OutcomeUnknownError)


@skipping
async def test_a_deadline_begins_with_each_call() -> None:
    """A view can be kept: each call has the whole deadline."""
    async with RawServer(GOOD) as server, client(server.url) as vps:
        view = vps.with_options(deadline=5)
        servers = view.servers
        for _ in range(3):
            assert (await servers.get(1)).id == 1
            skip(4.0)


@skipping
async def test_a_request_as_data_keeps_no_deadline() -> None:
    """A request that was sent once with a deadline can be sent again without one."""
    asked = Request(Operation.READ, "GET", "/api/v1/servers/1/")
    async with RawServer(GOOD) as server, client(server.url) as vps:
        assert (await vps.with_options(deadline=5).send(asked)).status == 200
        skip(6.0)
        assert (await vps.send(asked)).status == 200


# -- attempts and retries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [5, Timeout(total=5)])
@skipping
async def test_a_timeout_limits_each_attempt(timeout: Any) -> None:
    """An attempt that takes longer is retried, as often as the policy of the view says."""

    async def slow(line: Line) -> None:
        await quiet()
        skip(6.0)
        await asyncio.sleep(3600)

    async with RawServer(slow) as server, client(server.url) as vps:
        view = vps.with_options(timeout=timeout, retry=RetryPolicy(attempts=3))
        error = await failing(view.servers.get(1))

        assert len(server.requests) == 3
    assert isinstance(error, RequestTimeoutError)
    assert (error.attempts, error.deadline) == (3, None)
    assert "within 5 s" in str(error)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    ("own", "view", "limit"),
    [(1.0, None, "1 s"), (1.0, 20, "1 s"), (10.0, 3, "3 s"), (1.0, Timeout(total=20), "10 s")],
)
@skipping
async def test_a_number_as_timeout_keeps_the_limit_to_connect(
    own: float, view: Any, limit: str, operation: str
) -> None:
    """A number bounds the whole attempt; the limit to connect stays as the client has it."""
    once = RetryPolicy(attempts=1)
    with full_listener() as url:
        async with client(url, timeout=Timeout(connect=own, total=30), retry=once) as vps, passing_time(0.5):
            error = await failing(OPERATIONS[operation](vps.with_options(timeout=view)))

    assert isinstance(error, ConnectError | RequestTimeoutError)
    assert error.sent is Sent.NO
    assert "no connection" in str(error)
    assert str(error).endswith(f"within {limit}")


@skipping
async def test_a_view_of_a_view_keeps_its_limit_to_connect() -> None:
    """The second number does not bring back the limit of the client, nor does the first become that limit."""
    with full_listener() as url:
        async with client(url, retry=RetryPolicy(attempts=1)) as vps, passing_time(0.5):
            short = vps.with_options(timeout=Timeout(connect=2, total=9)).with_options(timeout=4)
            assert str(await failing(short.servers.get(1))).endswith("within 2 s")
            long = vps.with_options(timeout=2).with_options(timeout=4)
            assert str(await failing(long.servers.get(1))).endswith("within 4 s")


@skipping
async def test_the_client_keeps_its_own_options() -> None:
    """A view changes nothing for others."""
    async with RawServer(sends(answer(503, b"{}"))) as server, client(server.url) as vps:
        assert (await failing(vps.with_options(retry=RetryPolicy(attempts=1)).servers.get(1))).attempts == 1
        assert (await failing(vps.servers.get(1))).attempts == 4
        assert len(server.requests) == 5


# -- headers --------------------------------------------------------------------------------------------------------


@skipping
async def test_headers_of_client_and_call() -> None:
    """Headers of a call override those of its client, in any case; the token stays."""
    async with (
        RawServer(GOOD) as server,
        client(server.url, user_agent="my-tool/2.0", headers={"X-Team": "blue", "X-Run": "1"}) as vps,
    ):
        await vps.servers.get(1)
        view = vps.with_options(headers={"x-run": "2", "X-Trace": "abc"})
        await view.servers.get(1)
        await view.with_options(headers={"X-TRACE": "def"}).request("POST", "/notes/", json={})
        await vps.servers.get(1)

    own = [
        {name: heard.headers.get(name) for name in ("x-team", "x-run", "x-trace")}
        for heard in server.requests
    ]
    assert own == [
        {"x-team": "blue", "x-run": "1", "x-trace": None},
        {"x-team": "blue", "x-run": "2", "x-trace": "abc"},
        {"x-team": "blue", "x-run": "2", "x-trace": "def"},
        {"x-team": "blue", "x-run": "1", "x-trace": None},
    ]
    for heard in server.requests:
        assert heard.headers["user-agent"] == "my-tool/2.0"
        assert heard.headers["authorization"] == f"Bearer {TOKEN}"


BAD_HEADERS: dict[str, Any] = {
    "the token": {"Authorization": "Bearer other"},
    "the token in another case": {"AUTHORIZATION": "x"},
    "the host": {"host": "example.org"},
    "the framing": {"Content-Length": "3"},
    "the form of the body": {"content-type": "text/xml"},
    "a line break": {"X-A": "a\r\nHost: evil"},
    "a tab": {"X-A": "a\tb"},
    "a NUL": {"X-A": "a\x00"},
    "a surrogate": {"X-A": "\udc80"},
    "an umlaut": {"X-A": "ü"},
    "a character beyond latin-1": {"X-A": "€"},
    "a number": {"X-A": 5},
    "bytes": {"X-A": b"a"},
    "no name": {"": "a"},
    "a blank in the name": {"X A": "a"},
    "a colon in the name": {"X:A": "a"},
    "a line break in the name": {"X-A\r\n": "a"},
    "a number as a name": {5: "a"},
    "twice": {"X-A": "1", "x-a": "2"},
    "a list": [("X-A", "1")],
    "a word": "X-A: 1",
}


@pytest.mark.parametrize("headers", BAD_HEADERS.values(), ids=BAD_HEADERS)
@skipping
async def test_headers_that_are_refused(headers: Any) -> None:
    """Invalid headers are refused where they are given, before anything is sent, and no value is repeated."""
    with pytest.raises(ConfigurationError):
        Client(TOKEN, headers=headers)
    async with RawServer(GOOD) as server, client(server.url) as vps:
        with pytest.raises(ConfigurationError):
            vps.with_options(headers=headers)
        assert server.requests == []


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"X-Key": 5150}, "X-Key is a string, not int"),
        ({"X-Key": b"canary"}, "X-Key is a string, not bytes"),
        ({"X-Key": None}, "X-Key is a string, not NoneType"),
        ({"X-Key": "canary\r\nHost: canary"}, "X-Key has a character that is not printable ASCII"),
        ({"X-Key": "can\u00e4ry"}, "X-Key has a character that is not printable ASCII"),
        ({"Authorization": "Bearer canary"}, "Authorization is set by the client"),
        ({"Content-Type": "canary"}, "Content-Type is set by the client"),
        ({"Authorization: Bearer canary": ""}, "a name that is not valid"),
        ({b"canary": "a"}, "a name that is not valid"),
    ],
)
def test_what_is_said_of_a_header(headers: Any, says: str) -> None:
    """The error names the header and the problem, and shows no value and no invalid name, which may be secret."""
    with pytest.raises(ConfigurationError, match=says) as of_client:
        Client(TOKEN, headers=headers)
    with pytest.raises(ConfigurationError, match=says) as of_view:
        Client(TOKEN).with_options(headers=headers)
    for caught in (of_client, of_view):
        assert not any(secret in str(caught.value) for secret in ("canary", "5150", "\u00e4"))


@skipping
async def test_headers_that_replace_those_of_the_client() -> None:
    """A call may replace the headers that identify the caller and the request."""
    async with RawServer(GOOD) as server, client(server.url, headers={"user-agent": "a/1"}) as vps:
        await vps.servers.get(1)
        await vps.with_options(headers={"User-Agent": "b/2", "accept": "application/*"}).servers.get(1)

    sent = [(heard.headers["user-agent"], heard.headers["accept"]) for heard in server.requests]
    assert sent == [("a/1", "application/json"), ("b/2", "application/*")]


def test_two_user_agents_are_refused() -> None:
    """Two user agents are refused, since it is unclear which one is meant; a view may have its own."""
    with pytest.raises(ConfigurationError, match="user_agent"):
        Client(TOKEN, user_agent="a/1", headers={"user-Agent": "b/2"})
    Client(TOKEN, user_agent="a/1").with_options(headers={"User-Agent": "b/2"})


@pytest.mark.parametrize("agent", ["", " ", "a\nb", "ü", 5, b"a"])
def test_user_agents_that_are_refused(agent: Any) -> None:
    """A user agent is checked like other headers."""
    with pytest.raises(ConfigurationError, match="user_agent"):
        Client(TOKEN, user_agent=agent)


@pytest.mark.parametrize(
    "options",
    [{"timeout": 0}, {"timeout": "5"}, {"timeout": True}, {"retry": 3}, {"deadline": 0}, {"deadline": -1},
     {"deadline": float("nan")}, {"deadline": float("inf")}, {"deadline": "5"}],
)  # fmt: skip
def test_options_that_are_refused(options: dict[str, Any]) -> None:
    """A limit that never ends, or has ended, is refused where it is given."""
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Client(TOKEN).with_options(**options)


def test_headers_are_not_shown() -> None:
    """A header may hold a secret."""
    vps = Client(TOKEN, headers={"X-Key": "canary-1"}).with_options(headers={"X-Other": "canary-2"})

    assert "canary" not in repr(vps) + repr(vars(vps))


# -- views ----------------------------------------------------------------------------------------------------------


@skipping
async def test_a_view_shares_the_connection() -> None:
    """One pool: the second call rides on the connection of the first."""
    async with RawServer(GOOD) as server, client(server.url) as vps:
        await vps.servers.get(1)
        await vps.with_options(deadline=5).servers.get(1)

        assert server.connections == 1


async def test_a_view_is_open_as_long_as_its_client() -> None:
    """A view need not be opened, may be created before its client is, and closes with the client."""
    vps = Client(TOKEN, base_url="http://127.0.0.1:9")
    view = vps.with_options(deadline=5)
    with pytest.raises(ConfigurationError, match="view"):
        await view.__aenter__()
    with pytest.raises(ClientClosedError):
        _ = view.servers
    async with vps:
        assert view.servers is view.servers
    with pytest.raises(ClientClosedError):
        _ = view.servers


async def test_waits_and_knowledge_are_shared() -> None:
    """The client's waits know of a command that a view sent, and the other way round."""
    async with Sandbox(speed=5000) as box, Client(box.token, base_url=box.url) as vps:
        view = vps.with_options(deadline=30, timeout=20)
        server = await view.wait_until(await view.servers.create(SPEC), "active", timeout=60)
        await view.servers.reboot(server)

        assert (receipt := vps.receipt(server.id)) is not None
        assert receipt.operation == "reboot"
        assert (await vps.wait_until(server, "active", timeout=60)).status == "active"
        assert view.statistics == vps.statistics
        assert len(await view.plans.list()) == len(await vps.plans.list())
        assert (await view.listing()).servers[0].id == server.id


@skipping
async def test_each_command_of_a_fleet_is_a_call() -> None:
    """The deadline bounds each command of a fleet; a reboot that left is unknown."""
    async with RawServer(stalls) as server, client(server.url) as vps:
        report = await vps.with_options(deadline=5).fleet.reboot([1], timeout=60, wait=False)

        assert server.heard("POST") == 1
    (outcome,) = report.outcomes
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, OutcomeUnknownError)


async def test_a_name_is_created_once_by_client_and_view() -> None:
    """Two concurrent calls would each find it missing: the second is refused, whichever view it is made on."""
    async with (
        Sandbox(speed=5000) as box,
        Client(box.token, base_url=box.url) as vps,
        vps.fleet.creating([SPEC], timeout=60) as run,
    ):
        with pytest.raises(ConfigurationError, match="another call of this client"):
            await vps.with_options(deadline=30).fleet.create([SPEC], timeout=60)
        async for outcome in run:
            assert outcome.error is None


Test = Callable[[Sandbox, Client], Coroutine[Any, Any, None]]


def virtual(test: Test) -> Callable[[], None]:
    """Run a test on a sandbox and its client where waiting takes no time."""

    async def play() -> None:
        clock = asyncio.get_running_loop().time
        async with Sandbox(clock=clock) as box, Client(box.token, base_url=box.url, clock=LoopClock()) as vps:
            await test(box, vps)

    @functools.wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(play())

    del run.__wrapped__  # its parameters are no fixtures
    return run


@virtual
async def test_a_lost_create_is_searched_for_after_its_deadline(box: Sandbox, vps: Client) -> None:
    """The deadline ends the create, not the search for its server."""
    box.faults.add(Rule("create", faults.NeverAnswer(applied=True), times=1))
    report = await vps.with_options(deadline=5).fleet.create([SPEC], timeout=900)

    assert [outcome.error for outcome in report.outcomes] == [None]
    assert [outcome.how for outcome in report.succeeded] == ["adopted"]
    assert len(box.servers) == 1


@virtual
async def test_a_rollback_has_the_options_of_the_client(box: Sandbox, vps: Client) -> None:
    """A roll-back ignores the deadline and the retry policy of a view, so that no server stays that is charged for."""
    box.faults.add(Rule("create", faults.Reply(400), times=1), Rule("delete", faults.RateLimit(15), times=1))
    view = vps.with_options(deadline=5, retry=RetryPolicy(attempts=1))
    pair = [SPEC, attrs.evolve(SPEC, name="another")]
    report = await view.fleet.create(pair, timeout=900, min_count=2)

    assert report.rolled_back
    assert [str(failed.error) for failed in report.failed if "charged" in str(failed.error)] == []
    assert len(box.servers) == 0


@virtual
async def test_a_dry_run_has_one_deadline(box: Sandbox, vps: Client) -> None:
    """All reads of the call share one deadline; a plan without prices is better than none."""
    box.faults.add(Rule(None, faults.Delay(4)))
    for plan in (vps.with_options(deadline=5).fleet.ensure, vps.with_options(deadline=5).fleet.create):
        began = now()
        planned = await plan([SPEC], dry_run=True)

        assert now() - began < 5.1
        assert [spec.name for spec in planned.creates] == [SPEC.name]


@virtual
async def test_what_a_fleet_reads_of_a_lost_command_is_within_its_deadline(box: Sandbox, vps: Client) -> None:
    """The command and the reads that show its outcome are one call."""
    box.world.add(1)
    box.faults.add(Rule("stop", faults.NeverAnswer(applied=True)), Rule("get", faults.NeverAnswer()))
    began = now()
    ids = [server.id for server in box.servers]
    report = await vps.with_options(deadline=5).fleet.stop(ids, timeout=300, wait=False)

    assert now() - began < 5.1
    assert [type(failed.error) for failed in report.failed] == [OutcomeUnknownError]


@virtual
async def test_what_a_rolling_operation_reads_first_has_one_deadline(box: Sandbox, vps: Client) -> None:
    """The list, and the servers that it lacks, are read within one deadline."""
    box.world.add(3)
    box.faults.add(Rule("list", (faults.Delay(1), faults.ShortList(1))), Rule("get", faults.NeverAnswer()))
    began = now()
    ids = [server.id for server in box.servers]
    error = await failing(vps.with_options(deadline=5).fleet.rolling_reboot(ids, timeout=300))

    assert isinstance(error, RequestTimeoutError)
    assert now() - began < 5.1
