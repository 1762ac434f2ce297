"""The attempt loop: retries, pauses, events, and the knowledge at the end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import attrs
import pytest

from tests.io.endpoints import SERVER, sends, stalls
from tests.io.faults import OPERATIONS, SPEC, client
from tests.io.raw_server import Line, RawServer, Script, answer
from tests.io.skipping import SkippingClock, quiet, skipping
from vpsorg_async import Client
from vpsorg_async.config import Timeout
from vpsorg_async.errors import (
    APIError,
    ClientClosedError,
    ConnectError,
    ConnectionLostError,
    NotFoundError,
    OutcomeUnknownError,
    RateLimitError,
    RequestTimeoutError,
    Sent,
    TransportError,
    VpsOrgError,
)
from vpsorg_async.http.concurrency import ConcurrencyLimiter
from vpsorg_async.http.events import (
    AttemptFailed,
    RateLowered,
    RequestAnswered,
    RequestSent,
    RetryScheduled,
)
from vpsorg_async.http.exchange import Operation, Priority, Request, Response
from vpsorg_async.http.options import CallOptions
from vpsorg_async.http.retry import RetryPolicy
from vpsorg_async.http.senders import Tuned
from vpsorg_async.http.session import SendCancelled, Session
from vpsorg_async.timing import Backoff, Random
from vpsorg_async.virtual_time import LoopClock, VirtualTimeLoop

T = TypeVar("T")

GOOD = sends(answer(200, SERVER))
LOST = sends(then="reset")
GONE = sends(answer(404, b'{"detail": "Not found."}'))
BUSY = sends(answer(503))


def virtual(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def request(operation: Operation = Operation.GET) -> Request:
    method = "GET" if operation in (Operation.GET, Operation.LIST, Operation.READ) else "POST"
    return Request(operation, method, "/api/v1/servers/")


def answered(status: int, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=named, body=b"{}", requested_at=0.0, received_at=0.0)


@attrs.define
class Service:
    """Replaces the transport and the service: responds by a rule, in virtual time, and records the times."""

    rule: Callable[[Request], Response | TransportError]
    takes: float = 0.1
    times: list[float] = attrs.field(factory=list)
    in_flight: int = 0
    most: int = 0

    async def send(self, request: Request) -> Response | TransportError:
        self.times.append(asyncio.get_running_loop().time())
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.takes)
            return self.rule(request)
        finally:
            self.in_flight -= 1


def session(service: Service, *, places: int = 32, on_event: Any = None, **policy: Any) -> Session:
    return Session(
        service,
        ConcurrencyLimiter(places),
        policy=RetryPolicy(**policy),
        clock=LoopClock(),
        rng=Random(1),
        redact=str,
        on_event=on_event,
    )


async def outcomes(calls: Sequence[Awaitable[T]]) -> list[T | BaseException]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def failing(call: Awaitable[object]) -> Any:
    with pytest.raises(VpsOrgError) as caught:
        await call
    return caught.value


# -- the knowledge at the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost",
    [LOST, BUSY, sends(b"HTTP/1.1 200 OK\r\nContent-Le", then="close")],
    ids=["reset", "503", "half an answer"],
)
@skipping
async def test_a_404_after_a_lost_delete_is_its_success(lost: Script) -> None:
    """The server is gone, as requested: the first attempt deleted it."""
    async with RawServer(lost, GONE) as server, client(server.url) as vps:
        await vps.servers.delete(1)
        assert server.heard("DELETE") == 2

    async with RawServer(lost, GONE) as server, client(server.url) as vps:
        assert await vps.request("DELETE", "/servers/1/") is None


@pytest.mark.parametrize(
    "before", [[], [sends(answer(429, b"", "Retry-After: 1"))]], ids=["at once", "after a 429"]
)
@skipping
async def test_a_404_to_a_delete_that_did_nothing_is_an_error(before: list[Script]) -> None:
    """A 404 is an error where no earlier attempt can have deleted the server."""
    async with RawServer(*before, GONE) as server, client(server.url) as vps:
        error = await failing(vps.servers.delete(1))

    assert isinstance(error, NotFoundError)
    assert error.sent is Sent.REJECTED


@skipping
async def test_a_404_to_a_put_is_no_success() -> None:
    """A replace that may have been applied, to a server that does not exist, is reported as both."""
    async with RawServer(LOST, GONE) as server, client(server.url) as vps:
        error = await failing(OPERATIONS["replace"](vps))

    assert isinstance(error, NotFoundError)
    assert (error.sent, error.attempts) == (Sent.MAYBE, 2)


def test_what_may_have_happened_once_may_have_happened() -> None:
    """The knowledge in an error covers all attempts of the call, not only the last."""
    service = Service(lambda _: answered(503) if len(service.times) == 1 else ConnectError("refused"))

    error = virtual(failing(session(service, attempts=3).send(request(Operation.DELETE))))

    assert isinstance(error, ConnectError)
    assert (error.sent, error.attempts) == (Sent.MAYBE, 3)


@pytest.mark.parametrize(
    ("operation", "status", "works"),
    [
        ("start", "starting", True),
        ("start", "active", True),
        ("start", "stopped", False),
        ("stop", "stopping", True),
        ("stop", "stopped", True),
        ("stop", "active", False),
        ("reboot", "active", False),
        ("reboot", "rebooting", False),
        ("create", "active", False),
        ("change", "active", False),
    ],
)
@skipping
async def test_after_a_lost_change_the_server_is_read(operation: str, status: str, works: bool) -> None:
    """A lost start or stop succeeds where the server shows it; a reboot or create never does; none is sent again."""
    shown = sends(answer(200, SERVER.replace(b"active", status.encode())))
    async with RawServer(LOST, shown) as server, client(server.url) as vps:
        if works:
            accepted: Any = await OPERATIONS[operation](vps)
            assert accepted.server_status == status
        else:
            error = await failing(OPERATIONS[operation](vps))
            assert isinstance(error, OutcomeUnknownError | ConnectionLostError)
            assert error.sent is Sent.MAYBE

    assert server.heard("POST") == 1


@pytest.mark.parametrize(("name", "works"), [("a", True), ("b", False)])
@skipping
async def test_after_a_lost_patch_the_server_is_compared(name: str, works: bool) -> None:
    """A lost PATCH succeeds where the server has the wanted values."""
    shown = sends(answer(200, SERVER.replace(b"web-1", name.encode())))
    async with RawServer(LOST, shown) as server, client(server.url) as vps:
        if works:
            assert (await vps.servers.update(1, name="a")).name == "a"
        else:
            assert isinstance(await failing(vps.servers.update(1, name="a")), OutcomeUnknownError)

    assert server.heard("PATCH") == 1


@pytest.mark.parametrize("operation", ["replace", "update"])
@pytest.mark.parametrize("reading", [LOST, sends(answer(401)), GONE], ids=["reset", "401", "404"])
@skipping
async def test_a_taken_change_is_not_told_as_refused(operation: str, reading: Script) -> None:
    """A change that was accepted, but whose result can't be read, is reported as sent, not as refused."""
    async with RawServer(sends(answer(200)), reading) as server, client(server.url) as vps:
        error = await failing(OPERATIONS[operation](vps))

    assert isinstance(error, OutcomeUnknownError)
    assert error.sent is Sent.MAYBE
    assert "was accepted" in str(error)
    assert len(server.requests) >= 2


# -- events -----------------------------------------------------------------------------------------------------------


@skipping
async def test_events_tell_the_story_in_order() -> None:
    """Each attempt is announced, and ends as answered or failed; each pause is announced."""
    events: list[Any] = []
    scripts = [BUSY, sends(answer(429, b'{"detail": "slow"}', "Retry-After: 3")), LOST, GOOD]
    async with RawServer(*scripts) as server, client(server.url, on_event=events.append) as vps:
        await vps.servers.list()

    told = [(type(event), getattr(event, "attempt", None)) for event in events]
    assert told == [
        (RequestSent, 1), (AttemptFailed, 1), (RetryScheduled, 2),
        (RequestSent, 2), (AttemptFailed, 2), (RateLowered, None), (RetryScheduled, 3),
        (RequestSent, 3), (AttemptFailed, 3), (RetryScheduled, 4),
        (RequestSent, 4), (RequestAnswered, 4),
    ]  # fmt: skip
    failed = [event for event in events if isinstance(event, AttemptFailed)]
    assert [(event.error, event.status, event.sent) for event in failed] == [
        ("ServiceError", 503, Sent.MAYBE),
        ("RateLimitError", 429, Sent.REJECTED),
        ("ConnectionLostError", None, Sent.MAYBE),
    ]
    assert [event.after for event in events if isinstance(event, RetryScheduled)][1] >= 3
    assert {event.request for event in events if not isinstance(event, RateLowered)} == {
        "GET /api/v1/servers/"
    }


@skipping
async def test_every_attempt_has_its_end() -> None:
    """A 404 that counts as a success is reported as an answer, too."""
    events: list[Any] = []
    async with RawServer(LOST, GONE) as server, client(server.url, on_event=events.append) as vps:
        await vps.servers.delete(1)

    assert [type(event).__name__ for event in events] == [
        "RequestSent", "AttemptFailed", "RetryScheduled", "RequestSent", "RequestAnswered",
    ]  # fmt: skip


@pytest.mark.parametrize("operation", ["get", "create", "delete"])
@skipping
async def test_a_hook_that_fails_is_harmless(operation: str, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of the hook changes no outcome; it is logged, once for each event."""

    def hook(event: object) -> None:
        raise ZeroDivisionError

    async with RawServer(GOOD) as server, client(server.url, on_event=hook) as vps:
        await OPERATIONS[operation](vps)

    errors = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert [(record.name, record.levelname) for record in errors] == [("vpsorg_async.http", "ERROR")] * 2


@pytest.mark.parametrize("script", [GOOD, BUSY, LOST, sends(answer(429))], ids=["good", "503", "lost", "429"])
@skipping
async def test_normal_operation_is_silent(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """Failures and retries are raised or passed to the hook; nothing is logged above DEBUG."""
    caplog.set_level(logging.DEBUG)
    async with RawServer(script) as server, client(server.url) as vps:
        for operation in OPERATIONS.values():
            await outcomes([operation(vps)])

    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@skipping
async def test_at_debug_each_attempt_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "vpsorg_async")
    async with RawServer(BUSY, GOOD) as server, client(server.url) as vps:
        await vps.servers.list()

    lines = [record.getMessage() for record in caplog.records if record.name == "vpsorg_async.http"]
    assert lines[0] == "GET /api/v1/servers/: attempt 1"
    assert lines[1].startswith("attempt 1 failed: GET /api/v1/servers/ was answered 503")
    assert "the next attempt follows in" in lines[1]
    assert lines[2] == "GET /api/v1/servers/: attempt 2"
    assert lines[3].startswith("GET /api/v1/servers/: 200 after ")
    assert len(lines) == 4


# -- rate limits ----------------------------------------------------------------------------------------------------


def test_a_rate_limit_lowers_the_number_at_once_and_it_recovers() -> None:
    """A service that accepts eight concurrent requests and answers 429 to more gets about eight, without failures."""
    events: list[Any] = []
    service = Service(lambda _: answered(429 if service.in_flight > 8 else 200, retry_after="1"))

    async def main() -> list[Response | BaseException]:
        calls = session(service, on_event=events.append)
        return await outcomes([calls.send(request()) for _ in range(1000)])

    done = virtual(main())

    assert [outcome for outcome in done if not isinstance(outcome, Response)] == []
    limits = [event.limit for event in events if isinstance(event, RateLowered)]
    assert limits[:2] == [16, 8]
    refused = sum(isinstance(event, AttemptFailed) for event in events)
    assert refused < 200

    service.rule = lambda _: answered(200)
    service.most = 0

    async def after() -> None:
        calls = session(service)
        calls._limiter.limit.limited(0.0)
        await outcomes([calls.send(request()) for _ in range(1000)])

    virtual(after())
    assert service.most == 32


@pytest.mark.parametrize(
    ("limited", "free"), [(Operation.CREATE, Operation.GET), (Operation.GET, Operation.CREATE)]
)
def test_reads_and_changes_hold_apart(limited: Operation, free: Operation) -> None:
    """A 429 to a change holds back changes, and no reads; and the other way round."""
    turns: dict[Operation, list[float]] = {limited: [], free: []}

    def rule(asked: Request) -> Response:
        turns[asked.operation].append(asyncio.get_running_loop().time())
        first = asked.operation is limited and len(turns[limited]) == 1
        return answered(429, retry_after="10") if first else answered(200)

    async def main() -> None:
        calls = session(Service(rule))
        first = asyncio.create_task(calls.send(request(limited)))
        await asyncio.sleep(1.0)
        await outcomes([calls.send(request(free)), calls.send(request(limited)), first])

    virtual(main())

    assert turns[free] == [pytest.approx(1.1)]
    assert turns[limited][0] == pytest.approx(0.1)
    assert len(turns[limited]) == 3
    assert min(turns[limited][1:]) >= 10.1


@pytest.mark.parametrize("asked", ["0", "1", "7", "60", "3600"])
def test_the_next_request_comes_when_it_was_asked_for(asked: str) -> None:
    """The next request is never earlier than the response asked, up to the clamp, and within the jitter after it."""
    service = Service(
        lambda _: answered(429, retry_after=asked) if len(service.times) == 1 else answered(200)
    )

    virtual(session(service).send(request(Operation.CREATE)))

    waited = service.times[1] - service.times[0] - service.takes
    assert min(float(asked), 60.0) <= waited <= min(float(asked) + 0.25, 60.0) + 1e-6


@pytest.mark.parametrize("operation", sorted(OPERATIONS))
@pytest.mark.parametrize("hint", [(), ("Retry-After: 5",), ("Retry-After: 0",), ("Retry-After: 60",)])
@skipping
async def test_a_call_is_patient_for_a_minute(hint: tuple[str, ...], operation: str) -> None:
    """With the default policy, a call that only gets 429s gives up within 60 seconds."""
    clock = SkippingClock()
    async with (
        RawServer(sends(answer(429, b"", *hint))) as server,
        Client("t", base_url=server.url, clock=clock) as vps,
    ):
        with pytest.raises(RateLimitError) as caught:
            await OPERATIONS[operation](vps)

    assert 20 < sum(clock.slept) <= 60
    assert caught.value.attempts == len(server.requests) == len(clock.slept) + 1


def test_waiting_for_a_rate_limit_ends_for_everybody() -> None:
    """Under endless 429s each call gives up when its patience ends, also one held back by the 429s of others."""
    service = Service(lambda _: answered(429, retry_after="5"))
    lasted: list[float] = []

    async def one(calls: Session) -> None:
        began = asyncio.get_running_loop().time()
        error = await failing(calls.send(request(Operation.CREATE)))
        assert isinstance(error, RateLimitError)
        lasted.append(asyncio.get_running_loop().time() - began)

    async def main() -> None:
        calls = session(service, rate_limit_patience=60.0)
        async with asyncio.TaskGroup() as group:
            for _ in range(600):
                group.create_task(one(calls))
                # newcomers, with all of their patience, keep getting 429s
                await asyncio.sleep(1.0)

    virtual(main())

    assert len(lasted) == 600
    assert max(lasted) < 60.0 + 15.0


def tuned(calls: Session, *, retry: RetryPolicy | None = None, deadline: float | None = None) -> Tuned:
    """The session as a view of the client has it."""
    options = CallOptions.of(timeout=None, retry=retry, headers=None, deadline=deadline, configured=Timeout())
    return Tuned(calls, options, LoopClock())


def test_the_policy_of_a_view_holds_up_no_other_call() -> None:
    """A view with long pauses after a 429 pauses alone; others wait as the client's own policy says."""
    service = Service(lambda _: answered(429 if len(service.times) == 1 else 200))
    slow = RetryPolicy(backoff=Backoff(initial=100.0, maximum=1000.0), rate_limit_patience=5000.0)

    async def main() -> tuple[float, float]:
        calls, now = session(service), asyncio.get_running_loop().time
        patient = asyncio.create_task(tuned(calls, retry=slow).send(request()))
        await asyncio.sleep(0.5)
        await calls.send(request())
        others = now()
        await patient
        return others, now()

    others, own = virtual(main())

    assert others < 5.0
    assert own > 100.0


def test_a_rate_limit_that_outlasts_the_deadline_ends_the_call_at_once() -> None:
    """When another call's 429 holds this one back beyond its deadline, it fails immediately."""
    service = Service(lambda _: answered(429, retry_after="30") if len(service.times) == 1 else answered(200))

    async def main() -> tuple[Any, float]:
        calls, now = session(service), asyncio.get_running_loop().time
        limited = asyncio.create_task(calls.send(request()))
        await asyncio.sleep(1.0)
        error = await failing(tuned(calls, deadline=5.0).send(request()))
        at = now()
        assert (await tuned(calls, deadline=60.0).send(request())).status == 200
        await limited
        return error, at

    error, at = virtual(main())

    assert isinstance(error, RequestTimeoutError)
    assert (error.sent, error.attempts, error.deadline) == (Sent.NO, 0, 5.0)
    assert "rate limit" in str(error)
    assert "passed" not in str(error)
    assert at == pytest.approx(1.0)


# -- outages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503])
def test_an_outage_is_not_made_worse(status: int) -> None:
    """At 100 % failures, 500 callers over 60 s send hardly more than one request per call; and they recover soon."""
    service = Service(lambda _: answered(status))
    calls_made = 0

    async def caller(calls: Session, until: float) -> None:
        nonlocal calls_made
        while asyncio.get_running_loop().time() < until:
            calls_made += 1
            await outcomes([calls.send(request())])
            await asyncio.sleep(1.0)

    async def main() -> None:
        calls = session(service, places=100)
        await asyncio.gather(*(caller(calls, 60.0) for _ in range(500)))
        service.rule = lambda _: answered(200)
        assert (await calls.send(request())).status == 200

    virtual(main())

    assert calls_made > 5000
    assert len(service.times) <= 1.1 * calls_made + RetryPolicy().quota + 1


# -- the end of a call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "operation", "error", "sent"),
    [
        (answer(429, b"", "Retry-After: 60"), "get", ClientClosedError, None),
        (answer(429, b"", "Retry-After: 60"), "create", ClientClosedError, None),
        (answer(503, b"", "Retry-After: 60"), "delete", ConnectionLostError, Sent.MAYBE),
        (answer(503, b"", "Retry-After: 60"), "replace", ConnectionLostError, Sent.MAYBE),
    ],
)
async def test_closing_the_client_ends_its_pauses(
    first: bytes, operation: str, error: type[VpsOrgError], sent: Sent | None
) -> None:
    """A call that waits for its next attempt ends with the client, and its error keeps what may have been applied."""
    async with RawServer(sends(first)) as server:
        async with Client("vps_x", base_url=server.url) as vps:
            call = asyncio.create_task(_run(operation, vps))
            await server.until_heard(1)
            await quiet()
        (outcome,) = await asyncio.wait_for(outcomes([call]), 10)

    assert type(outcome) is error
    assert getattr(outcome, "sent", None) is sent
    assert len(server.requests) == 1


async def test_a_change_that_was_lost_to_closing_may_have_happened() -> None:
    """Closing the client during a change reports it as possibly applied, not as unsent."""

    async def silent(line: Line) -> None:
        await line.stall()

    async with RawServer(silent) as server:
        async with Client("vps_x", base_url=server.url) as vps:
            calls = [asyncio.create_task(_run(name, vps)) for name in ("create", "update", "start", "reboot")]
            await server.until_heard(4)
        ends = await asyncio.wait_for(outcomes(calls), 10)

    assert [type(end) for end in ends] == [OutcomeUnknownError] * 4


async def _run(operation: str, vps: Client) -> object:
    return await OPERATIONS[operation](vps)


@pytest.mark.parametrize("seed", range(3))
def test_cancelled_calls_leak_no_place(seed: int) -> None:
    """A thousand calls, cancelled while queued, in flight or pausing: every slot is released."""
    rng = random.Random(seed)
    service = Service(lambda _: answered(rng.choice([200, 200, 429, 503, 404]), retry_after="1"))

    async def main() -> tuple[int, int]:
        calls = session(service, places=8, rate_limit_patience=20.0)
        tasks = []
        for _ in range(1000):
            operation = rng.choice(list(Operation))
            tasks.append(asyncio.create_task(calls.send(request(operation), rng.choice(list(Priority)))))
            if rng.random() < 0.4:
                rng.choice(tasks[-50:]).cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random())
        await asyncio.gather(*tasks, return_exceptions=True)
        return calls._limiter.in_flight, len(calls._pauses)

    assert virtual(main()) == (0, 0)
    assert service.in_flight == 0
    assert service.most <= 8


@skipping
async def test_a_caller_s_own_time_limit_is_his() -> None:
    """A caller's time limit cancels the call, is not mistaken for a client limit, and leaves the client usable."""
    async with RawServer(stalls, GOOD) as server, client(server.url, timeout=Timeout(total=1000)) as vps:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(1.0):
                await vps.servers.get(1)
        assert not isinstance(caught.value, VpsOrgError)
        assert (await vps.servers.get(1)).id == 1


@skipping
async def test_pauses_are_those_of_the_policy() -> None:
    """The pauses between attempts lie below the ceiling of the back-off."""
    clock = SkippingClock()
    policy = RetryPolicy(attempts=6)
    async with (
        RawServer(BUSY) as server,
        Client("vps_x", base_url=server.url, clock=clock, retry=policy) as vps,
    ):
        error = await failing(vps.servers.get(1))

    assert isinstance(error, APIError)
    assert error.attempts == len(server.requests) == 6
    assert len(clock.slept) == 5
    assert all(0 <= pause <= policy.backoff.ceiling(n) for n, pause in enumerate(clock.slept, 1))


@skipping
async def test_a_create_that_was_not_sent_is_sent_again() -> None:
    """A create whose connection was refused is retried as often as a read, and is applied once."""
    async with RawServer(GOOD) as server:
        url, port = server.url, server.port

    async with AsyncExitStack() as stack:

        class Opening(SkippingClock):
            async def sleep(self, seconds: float) -> None:
                if len(self.slept) == 1:
                    await stack.enter_async_context(late)
                await super().sleep(seconds)

        late = RawServer(GOOD, port=port)
        async with Client("vps_x", base_url=url, clock=Opening()) as vps:
            assert (await vps.servers.create(SPEC)).id == 1

    assert late.heard("POST") == 1


# -- a hook before each attempt -------------------------------------------------------------------------------------


def test_a_hook_before_sending_holds_a_request_back() -> None:
    """An exception of the hook ends the call: nothing is sent, and its slot at the limiter is free again."""

    def hold() -> None:
        raise SendCancelled("the run has stopped")

    async def play() -> None:
        service = Service(lambda _: answered(200))
        calls = session(service, places=1)
        with pytest.raises(SendCancelled, match="the run has stopped"):
            await calls.send(request(Operation.CREATE), before_send=hold)
        assert service.times == []

        await calls.send(request())
        assert len(service.times) == 1

    virtual(play())


@pytest.mark.parametrize(
    ("failure", "called"),
    [
        pytest.param(ConnectError("refused", sent=Sent.NO), 3, id="not sent"),
        pytest.param(answered(429), 3, id="rejected"),
        pytest.param(ConnectionLostError("reset", sent=Sent.MAYBE), 1, id="may have been applied"),
    ],
)
def test_a_hook_before_sending_is_called_until_one_may_have_been_applied(failure: Any, called: int) -> None:
    """The hook runs right before each attempt, until one may have been applied; then the call can't be held back."""

    async def play() -> None:
        hooked: list[int] = []
        service = Service(lambda _: answered(200) if len(service.times) == 3 else failure)
        delete = Request(Operation.DELETE, "DELETE", "/api/v1/servers/1/")
        await session(service).send(delete, before_send=lambda: hooked.append(len(service.times)))

        assert hooked == [0, 1, 2][:called]
        assert len(service.times) == 3

    virtual(play())
