"""The time of day after which no change leaves, whatever it waits for."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from tests.io.endpoints import fits, full_listener, passing_time, sends
from tests.io.faults import CHANGES, OPERATIONS, READS, SPEC, TOKEN, failing
from tests.io.raw_server import Line, RawServer, answer
from tests.io.skipping import SkippingClock, quiet, skip, skipping
from tests.virtual import virtual
from vpsorg_async import Backoff, Client, RetryPolicy, Timeout
from vpsorg_async.errors import (
    ConfigurationError,
    ConnectError,
    OutcomeUnknownError,
    RateLimitError,
    RequestTimeoutError,
    Sent,
    ServiceError,
)
from vpsorg_async.fleet import Failed
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.virtual_time import LoopClock

GOOD = sends(fits)


def client(url: str, **options: Any) -> Client:
    return Client(TOKEN, base_url=url, **{"clock": SkippingClock(), **options})


def soon(seconds: float = 5.0) -> datetime:
    return SkippingClock().wall() + timedelta(seconds=seconds)


def now() -> float:
    return asyncio.get_running_loop().time()


class StandingClock(SkippingClock):
    """A clock whose time of day is set by hand: that of a machine that was asleep, or was corrected."""

    time_of_day = datetime(2025, 1, 1, tzinfo=UTC)

    def wall(self) -> datetime:
        return self.time_of_day


@pytest.mark.parametrize("operation", CHANGES)
@skipping
async def test_a_change_after_its_time_is_not_sent(operation: str) -> None:
    """The time passed before the call: nothing leaves, and the error says so."""
    async with RawServer(GOOD) as server, client(server.url) as vps:
        moment = soon(-1)
        error = await failing(OPERATIONS[operation](vps.with_options(not_after=moment)))

        assert server.requests == []
    assert isinstance(error, RequestTimeoutError)
    assert (error.sent, error.attempts) == (Sent.NO, 0)
    assert (error.not_after, error.deadline) == (moment, None)
    assert f"not_after={moment:%Y-%m-%d %H:%M:%S} UTC passed" in str(error)
    assert pickle.loads(pickle.dumps(error)).not_after == moment


@pytest.mark.parametrize("operation", READS)
@skipping
async def test_reads_are_not_concerned(operation: str) -> None:
    """A read changes nothing, so it may leave at any time; its deadline still holds."""
    async with RawServer(GOOD) as server, client(server.url) as vps:
        await OPERATIONS[operation](vps.with_options(not_after=soon(-1)))
        assert len(server.requests) == 1


@pytest.mark.parametrize("operation", CHANGES)
@skipping
async def test_an_answer_is_awaited_as_usual(operation: str) -> None:
    """The limit is that of leaving: a change that left in time may be answered later."""

    async def slow(line: Line) -> None:
        skip(9.0)
        await quiet()
        await GOOD(line)

    async with RawServer(slow) as server, client(server.url) as vps:
        await OPERATIONS[operation](vps.with_options(not_after=soon()))
        assert len(server.requests) == 1


@skipping
async def test_a_change_waits_for_a_slot_until_then() -> None:
    """The queue of the limiter ends at that moment; the slot is not lost."""
    release = asyncio.Event()

    async def held(line: Line) -> None:
        await release.wait()
        await GOOD(line)

    async with (
        RawServer(held) as server,
        client(server.url, max_in_flight=1, timeout=Timeout(total=99)) as vps,
    ):
        first = asyncio.create_task(vps.servers.get(1))
        await quiet()
        second = asyncio.create_task(failing(vps.with_options(not_after=soon()).servers.reboot(1)))
        await quiet()
        assert not second.done()
        skip(5.0)
        error = await second

        assert len(server.requests) == 1
        release.set()
        assert (await first).id == 1
        assert (await vps.servers.get(1)).id == 1, "the slot is free again"
    assert (type(error), error.sent, error.attempts) == (RequestTimeoutError, Sent.NO, 0)


@skipping
async def test_a_slot_that_comes_after_a_sleep_of_the_machine() -> None:
    """The time of day counts, not the seconds that the machine was awake: it is read again when the slot comes."""
    release, clock = asyncio.Event(), StandingClock()

    async def held(line: Line) -> None:
        await release.wait()
        await GOOD(line)

    async with (
        RawServer(held) as server,
        client(server.url, clock=clock, max_in_flight=1) as vps,
    ):
        first = asyncio.create_task(vps.servers.get(1))
        await quiet()
        view = vps.with_options(not_after=clock.time_of_day + timedelta(hours=1))
        second = asyncio.create_task(failing(view.servers.reboot(1)))
        await quiet()
        clock.time_of_day += timedelta(hours=2)
        release.set()
        await first
        error = await second

        assert server.heard("POST") == 0
        assert (await vps.servers.get(1)).id == 1, "the slot is free again"
    assert (error.sent, error.attempts) == (Sent.NO, 0)


@skipping
async def test_a_connection_that_comes_after_a_sleep_of_the_machine() -> None:
    """The last check is made when there is a connection, right before the request is written to it."""
    clock = StandingClock()
    async with RawServer(GOOD) as server, client(server.url, clock=clock) as vps:
        view = vps.with_options(not_after=clock.time_of_day + timedelta(hours=1))
        reads = [clock.time_of_day, clock.time_of_day, clock.time_of_day]

        def wall() -> datetime:
            return reads.pop() if reads else clock.time_of_day

        clock.time_of_day += timedelta(hours=2)
        clock.wall = wall  # type: ignore[method-assign]
        error = await failing(view.servers.create(SPEC))

        assert server.requests == []
        assert len(reads) == 0
    assert isinstance(error, RequestTimeoutError)
    assert error.sent is Sent.NO
    assert "no connection" in str(error)


@pytest.mark.parametrize("operation", CHANGES)
@skipping
async def test_no_connection_before_that_time(operation: str) -> None:
    """A change that waits for its connection ends at that moment, before the limit to connect."""
    with full_listener() as url:
        async with client(url, timeout=Timeout(connect=60, total=90)) as vps, passing_time(0.5):
            began = now()
            error = await failing(OPERATIONS[operation](vps.with_options(not_after=soon(7.5))))

            assert 7.5 <= now() - began < 9
    assert isinstance(error, RequestTimeoutError)
    assert (error.sent, error.attempts) == (Sent.NO, 1)
    assert error.not_after is not None


@skipping
async def test_the_limit_to_connect_still_holds() -> None:
    """An attempt that finds no connection in its own time is an error to connect, and is retried as usual."""
    with full_listener() as url:
        retry = RetryPolicy(attempts=2, backoff=Backoff(initial=0.0))
        async with client(url, timeout=Timeout(connect=2, total=9), retry=retry) as vps, passing_time(0.5):
            error = await failing(vps.with_options(not_after=soon(60)).servers.create(SPEC))

    assert isinstance(error, ConnectError)
    assert (error.sent, error.attempts) == (Sent.NO, 2)


@skipping
async def test_pauses_end_before_that_time() -> None:
    """A pause that would end too late is not begun; a delete that may have been applied is unknown."""
    retry = RetryPolicy(attempts=50, backoff=Backoff(initial=2.0, maximum=2.0))
    async with RawServer(sends(answer(503, b"{}"))) as server, client(server.url, retry=retry) as vps:
        began = now()
        error = await failing(vps.with_options(not_after=soon()).servers.delete(1))

        assert now() - began <= 5.0
        assert error.attempts == len(server.requests) > 1
    assert isinstance(error, OutcomeUnknownError)
    assert isinstance(error.reason, RequestTimeoutError)
    assert isinstance(error.reason.__cause__, ServiceError)


@pytest.mark.parametrize("operation", CHANGES)
@skipping
async def test_a_rate_limit_beyond_that_time(operation: str) -> None:
    """The call ends at once: it is known that it can't leave in time. So do others that the limit holds back."""
    async with RawServer(sends(answer(429, b"{}", "Retry-After: 30"))) as server, client(server.url) as vps:
        began = now()
        view = vps.with_options(not_after=soon())
        error = await failing(OPERATIONS[operation](view))
        other = await failing(view.servers.start(2))

        assert now() - began < 1.0
        assert len(server.requests) == 1
    assert (error.sent, error.attempts) == (Sent.REJECTED, 1)
    assert isinstance(error.__cause__, RateLimitError)
    assert (other.sent, other.attempts) == (Sent.NO, 0)
    assert "holds the request back" in str(other)


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({"deadline": 3, "not_after": 5}, (3.0, False)),
        ({"deadline": 5, "not_after": 3}, (None, True)),
    ],
)
@skipping
async def test_the_earlier_limit_ends_the_call(options: dict[str, float], ends: tuple[Any, bool]) -> None:
    """A call may have both; the error names the one that left no time."""
    async with RawServer(sends(answer(429, b"{}", "Retry-After: 30"))) as server, client(server.url) as vps:
        view = vps.with_options(deadline=options["deadline"]).with_options(
            not_after=soon(options["not_after"])
        )
        error = await failing(view.servers.reboot(1))

    assert (error.deadline, error.not_after is not None) == ends


@pytest.mark.parametrize(
    "value",
    [
        datetime(2025, 1, 1, tzinfo=UTC).replace(tzinfo=None),
        "2025-01-01T00:00:00Z",
        5,
        True,
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))),
    ],
    ids=["naive", "text", "number", "bool", "beyond all years"],
)
def test_times_that_are_refused(value: Any) -> None:
    """A time without a zone is ambiguous; it is refused where it is given."""
    with pytest.raises(ConfigurationError, match="not_after"):
        Client(TOKEN).with_options(not_after=value)


@skipping
async def test_any_time_zone_will_do() -> None:
    """The same moment in another zone is the same moment, and the error has it in UTC."""
    async with RawServer(GOOD) as server, client(server.url) as vps:
        moment = soon(-1)
        error = await failing(
            vps.with_options(not_after=moment.astimezone(timezone(timedelta(hours=9)))).servers.reboot(1)
        )
        await vps.with_options(not_after=datetime.max.replace(tzinfo=UTC)).servers.reboot(1)
    assert error.not_after == moment
    assert error.not_after.tzinfo is UTC


@virtual
async def test_a_fleet_reports_what_could_not_leave() -> None:
    """Creates that can't leave any more are failed with `sent` NO, those that left are waited for; none is doubled."""
    clock = asyncio.get_running_loop().time
    async with (
        Sandbox(clock=clock) as box,
        Client(box.token, base_url=box.url, clock=LoopClock(), max_in_flight=2) as vps,
    ):
        box.faults.add(Rule("create", faults.Delay(4)))
        specs = [attrs.evolve(SPEC, name=f"web-{n}") for n in range(12)]
        moment = LoopClock().wall() + timedelta(seconds=10)
        report = await vps.with_options(not_after=moment).fleet.create(specs, timeout=900)

        assert len(box.servers) == len(report.succeeded)
        assert 0 < len(report.succeeded) < 12
        for failed in report.failed:
            assert isinstance(failed, Failed)
            assert isinstance(failed.error, RequestTimeoutError)
            assert (failed.error.sent, failed.attempts) == (Sent.NO, 0)
        assert len(report.succeeded) + len(report.failed) == 12


@pytest.mark.parametrize("operation", CHANGES)
@skipping
async def test_a_lease_is_asked_when_the_change_leaves(operation: str) -> None:
    """A function stands for a time that is renewed: while it says a later one a change leaves, then none does."""
    ends = [soon(-1), soon(5)]

    async with RawServer(GOOD) as server, client(server.url) as vps:
        leased = vps.with_options(not_after=lambda: ends[-1])
        await OPERATIONS[operation](leased)
        changes = [line for line in server.requests if line.method != "GET"]
        ends.pop()
        error = await failing(OPERATIONS[operation](leased))

        assert [line for line in server.requests if line.method != "GET"] == changes
    assert isinstance(error, RequestTimeoutError)
    assert (error.sent, error.not_after) == (Sent.NO, ends[-1])
