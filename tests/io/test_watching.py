"""Watching the account: which changes are reported, when, and at what cost, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from tests.lifecycle.harness import Harness, Provider, Read, after, record, virtual
from vpsorg_async import StatusChange, errors


class Watcher:
    """Reads the stream, and records when each change came."""

    def __init__(self, harness: Harness, interval: float = 5.0) -> None:
        self.harness = harness
        self.stream: AsyncIterator[StatusChange] = harness.waiter.watch(interval)
        self.told: list[tuple[float, str, Any, str | None]] = []

    async def read(self, seconds: float) -> Watcher:
        """Read all changes for this number of seconds."""
        end = self.harness.now + seconds
        while self.harness.now < end:
            try:
                async with asyncio.timeout(end - self.harness.now):
                    change = await anext(self.stream)
            except TimeoutError:
                # the stream was cancelled with the read
                break
            self.told.append((self.harness.now, str(change.change), change.server_id, change.after))
        return self


@virtual
async def test_watching_tells_what_becomes_of_the_account() -> None:
    """First every existing server is reported, then each difference, within an interval of it."""
    provider = Provider(
        after(1, 12),
        lambda now: record(2, "active") if now < 22 else None,
        lambda now: record(3, "provisioning") if now >= 31 else None,
        lambda now: record(4, "active", 0 if now < 41 else 41),
    )
    async with Harness(provider) as harness:
        watcher = Watcher(harness)
        await watcher.read(60)

        assert [each[1:] for each in watcher.told] == [
            ("present", 1, "provisioning"),
            ("present", 2, "active"),
            ("present", 4, "active"),
            ("changed", 1, "active"),
            ("gone", 2, "gone"),
            ("appeared", 3, "provisioning"),
            ("touched", 4, "active"),
        ]
        delays = [told[0] - when for told, when in zip(watcher.told[3:], (12, 22, 31, 41), strict=True)]
        assert all(0 <= delay <= 5.1 for delay in delays)
        assert provider.singles[0][1] == 2


@virtual
async def test_watching_costs_one_list_each_interval() -> None:
    """No list is read more often than the interval requires, however long it is."""
    async with Harness(Provider(after(1, 0))) as harness:
        await Watcher(harness, interval=120.0).read(500)

        assert [round(when) for when in harness.provider.lists] == [0, 120, 240, 360, 480]


@virtual
async def test_those_who_watch_share_their_polls_with_the_waits() -> None:
    """Watching costs little beside waits, and a lone wait on a large account keeps reading by id."""
    async with Harness(Provider(*(after(n, 40) for n in range(1, 2001)))) as harness:
        (waiting,) = harness.begin([7])
        watcher = asyncio.create_task(Watcher(harness, interval=30.0).read(39))
        await asyncio.sleep(39)

        assert len(harness.provider.lists) == 2
        assert len(harness.provider.singles) >= 10
        await asyncio.gather(watcher, waiting)


@pytest.mark.parametrize("watched", [False, True])
@virtual
async def test_watching_costs_little_beside_many_waits(watched: bool) -> None:
    """Lists that are read for the waits are also reported: a few more are enough for an interval of 5 seconds."""
    async with Harness(Provider(*(after(n, 200) for n in range(1, 101)))) as harness:
        for n in range(1, 101):
            harness.command(n, "create")
        waits = harness.begin(range(1, 101))
        if watched:
            await Watcher(harness, interval=5.0).read(190)
        await asyncio.gather(*waits)

        assert 80 <= len(harness.provider.lists) <= (120 if watched else 110)


@virtual
async def test_an_outage_is_told_as_blindness() -> None:
    """An outage ends no stream; it is reported, and the changes during it are one difference."""
    provider = Provider(after(1, 50))
    provider.trouble = lambda now: errors.ServiceError("down", status=503) if 20 <= now < 80 else None
    async with Harness(provider) as harness:
        watcher = Watcher(harness)
        await watcher.read(150)

        assert [each[1:] for each in watcher.told[1:]] == [("blind", None, None), ("changed", 1, "active")]
        assert 80 <= watcher.told[1][0] <= 115


@virtual
async def test_a_missing_server_that_can_not_be_read_is_not_gone() -> None:
    """A server that one list lacks and that can't be read by id is not reported, and the stream goes on."""
    provider = Provider(after(1, 0), lambda now: record(2, "active") if now < 32 else None)
    async with Harness(provider) as harness:
        watcher = asyncio.create_task(Watcher(harness).read(60))
        await asyncio.sleep(8)
        provider.unlisted = {2}
        down = errors.ServiceError("down", status=503)
        provider.trouble = lambda now: (
            down if now in [when for when, _ in provider.singles] and now < 22 else None
        )
        await asyncio.sleep(52)
        told = (await watcher).told

        assert [each[1:3] for each in told] == [("present", 1), ("present", 2), ("gone", 2)]
        assert len(provider.singles) >= 5


@pytest.mark.parametrize(
    "error", [errors.AuthenticationError("no", status=401), errors.PermissionDeniedError("no", status=403)]
)
@virtual
async def test_a_refused_token_ends_the_stream(error: errors.APIError) -> None:
    """An error that further polls can't fix is raised."""
    provider = Provider(after(1, 0))
    provider.trouble = lambda now: error if now > 12 else None
    async with Harness(provider) as harness:
        with pytest.raises(type(error)):
            await Watcher(harness).read(60)
        assert 12 < harness.now < 18


@virtual
async def test_closing_ends_the_stream() -> None:
    """Closing the client ends each reader's stream."""
    async with Harness(Provider(after(1, 0))) as harness:
        reading = asyncio.create_task(Watcher(harness).read(600))
        await asyncio.sleep(12)
        await harness.poller.close()

        with pytest.raises(errors.ClientClosedError):
            await reading
        assert harness.now == 12


@virtual
async def test_a_slow_reader_gets_the_last_changes_and_then_the_end() -> None:
    """What was polled before the client was closed is reported after it, and the next read raises."""
    async with Harness(Provider(after(1, 10))) as harness:
        stream = harness.waiter.watch(5.0)
        assert (await anext(stream)).after == "provisioning"
        await asyncio.sleep(30)
        await harness.poller.close()

        assert (await anext(stream)).after == "active"
        with pytest.raises(errors.ClientClosedError):
            async with asyncio.timeout(60):
                await anext(stream)


@virtual
async def test_one_of_those_who_watch_raises_what_ends_the_program() -> None:
    """`SystemExit` is raised by one stream; the others, and the waits, end with the client's polling."""
    provider = Provider(after(1, 1000))
    provider.trouble = lambda now: SystemExit(3) if now > 12 else None
    async with Harness(provider) as harness:
        ended: list[BaseException] = []

        async def play(work: Coroutine[Any, Any, object]) -> None:
            try:
                await work
            except BaseException as error:
                ended.append(error)

        readers = (Watcher(harness).read(60) for _ in range(3))
        await asyncio.gather(*map(play, (*readers, harness.wait(1))))

        stops = [error for error in ended if isinstance(error, SystemExit)]
        others = [error for error in ended if isinstance(error, errors.ClientClosedError)]
        assert (len(stops), len(others)) == (1, 3)
        assert all(isinstance(error.__cause__, SystemExit) for error in others)


@virtual
async def test_a_row_whose_record_can_not_be_read() -> None:
    """Its id and status are reported all the same."""
    provider = Read(after(1, 10))
    provider.reader.spoiled.add(1)
    async with Harness(provider) as harness:
        stream = harness.waiter.watch(5.0)
        changes = [await anext(stream) for _ in range(2)]
        await stream.aclose()

    assert [(change.server_id, change.after) for change in changes] == [(1, "provisioning"), (1, "active")]
    assert [change.server and change.server.name for change in changes] == ["", ""]


@virtual
async def test_a_bug_ends_the_stream() -> None:
    """An unexpected exception ends the stream and is the cause of its error."""
    provider = Provider(after(1, 0))
    provider.trouble = lambda now: ZeroDivisionError("bug") if now > 12 else None
    async with Harness(provider) as harness:
        with pytest.raises(errors.ClientClosedError) as caught:
            await Watcher(harness).read(60)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)


@virtual
async def test_a_slow_reader_misses_nothing_that_lasts() -> None:
    """A reader slower than the polls gets the newest list: the difference to what it read before, however long ago."""
    provider = Provider(lambda now: record(1, ["a", "b", "c", "d"][min(int(now // 10), 3)]), after(2, 15))
    provider.trouble = lambda now: errors.ServiceError("down", status=503) if 16 <= now < 24 else None
    async with Harness(provider) as harness:
        stream = harness.waiter.watch(2.0)
        first = [await anext(stream), await anext(stream)]
        await asyncio.sleep(60)
        changes = [await anext(stream) for _ in range(3)]

        assert [str(change.change) for change in first] == ["present", "present"]
        assert [(str(change.change), change.before, change.after) for change in changes] == [
            ("blind", None, None),
            ("changed", "a", "d"),
            ("changed", "provisioning", "active"),
        ]
        assert all(change.seconds > 50 for change in changes)
        await stream.aclose()


@virtual
async def test_leaving_ends_the_polls() -> None:
    """When the last watcher leaves, polling stops."""
    async with Harness(Provider(after(1, 0))) as harness:
        stream = harness.waiter.watch(5.0)
        await anext(stream)
        await stream.aclose()
        await asyncio.sleep(0.01)

        assert not harness.polling()
        polls = len(harness.provider.lists)
        await asyncio.sleep(100)
        assert len(harness.provider.lists) == polls


@pytest.mark.parametrize("interval", [0, -1, float("nan"), "5"])
@virtual
async def test_an_interval_is_a_number_of_seconds(interval: Any) -> None:
    """An invalid interval is refused before anything is sent."""
    async with Harness(Provider(after(1, 0))) as harness:
        with pytest.raises(errors.ConfigurationError):
            await anext(harness.waiter.watch(interval))
        assert harness.provider.polls == []
