"""Polls that are compared with each other: waits get every change, and no unchanged rows."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from tests.io.endpoints import sends
from tests.io.raw_server import RawServer, answer
from tests.lifecycle.harness import Counting, Harness, Provider, Read, after, record, virtual
from vpsorg_async import Client, Server, errors
from vpsorg_async.codec import StatusRow
from vpsorg_async.dialects import Documented, RawPage
from vpsorg_async.lifecycle.snapshots import ListSnapshot


@virtual
async def test_a_row_is_read_when_it_changes() -> None:
    """Thirty waits over a minute: each row is read once for each change, and in full at the end; every poll counts."""
    provider = Read(*(after(n, 30 + n) for n in range(1, 31)))
    async with Harness(provider, max_interval=1.0) as harness:
        results = await asyncio.gather(*harness.begin(range(1, 31)))

        assert len(provider.lists) > 20
        # the last one, alone, is read by its id
        assert provider.reader.statuses == {**dict.fromkeys(range(1, 30), 2), 30: 1}
        assert provider.reader.records == dict.fromkeys(range(1, 30), 1)
        for result in results[:-1]:
            assert result.polls == sum(asked <= result.seconds for asked in provider.lists)


@virtual
async def test_a_row_that_can_not_be_read_fails_its_own_wait() -> None:
    """A row that can't be read fails its own wait, and does not count as gone; the others succeed."""
    provider = Read(*(after(n, 20) for n in range(1, 5)), after(5, 300))
    provider.reader.spoiled.add(3)
    async with Harness(provider, max_interval=1.0) as harness:
        results = await asyncio.gather(*harness.begin(range(1, 6), timeout=40), return_exceptions=True)

        reached = [not isinstance(result, BaseException) for result in results]
        assert reached == [True, True, False, True, False]
        late = results[2]
        assert isinstance(late, errors.WaitTimeoutError)
        assert isinstance(late.last_failure, errors.DecodeError)


@virtual
async def test_a_poll_that_nobody_got_to_the_end_of_is_forgotten() -> None:
    """All waits leave while the rows are distributed: the next poll reports the rest, as if that poll had not run."""
    provider = Read(*(after(n, 10) for n in range(1, 1001)))
    async with Harness(provider, max_interval=1.0) as harness:
        waiting = harness.begin(range(1, 21))
        await asyncio.sleep(8)
        assert {known.status for n in range(1, 1001) if (known := harness.account.known(n))} == {
            "provisioning"
        }

        class Leaving(Counter[int]):
            def __setitem__(self, number: int, count: int) -> None:
                super().__setitem__(number, count)
                if number == 75:
                    for task in waiting:
                        task.cancel()

        provider.reader.statuses = Leaving()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert 75 <= len(provider.reader.statuses) < 1000
        provider.reader.statuses = Counter()

        await asyncio.gather(*harness.begin(range(1, 21)))

        assert {known.status for n in range(1, 1001) if (known := harness.account.known(n))} == {"active"}


@virtual
async def test_what_a_read_by_id_showed_is_compared_with_the_next_list() -> None:
    """Without timestamps, a list that repeats its status from before the reboot is news once the reboot was seen."""

    class Lonely(Provider):
        """Its lists say active all the time: they come while the server is."""

        async def poll_list(self) -> ListSnapshot:
            snapshot = await super().poll_list()
            return ListSnapshot(snapshot.requested_at, [record(1, "active"), record(2, "provisioning")])

    rebooting = lambda now: record(1, "rebooting" if 2.0 <= now < 6.0 else "active")  # noqa: E731
    async with Harness(Lonely(rebooting, after(2, 300)), quiet=1000.0, max_interval=1.0) as harness:
        other = harness.begin([2])
        await asyncio.sleep(1.5)  # the list has reported both
        harness.command(1, "reboot")
        waiting = harness.begin([1])
        await asyncio.sleep(2.0)
        # another task reads it by its id, for all waits
        await harness.poller._reader._read_one(1, quiet=False)

        result = (await asyncio.wait_for(asyncio.gather(*waiting), 60))[0]

        assert [seen.status for seen in result.timeline][-2:] == ["rebooting", "active"]
        other[0].cancel()
        await asyncio.gather(*other, return_exceptions=True)


@virtual
@pytest.mark.parametrize("then", ["nothing", "a stale row", "not listed", "all fails"])
async def test_what_a_resting_wait_saw_last_is_told_when_it_times_out(then: str) -> None:
    """A timeout reports the last sighting with its original time, also when the last list no longer holds it."""

    def course(now: float) -> Server:
        return record(1, "provisioning", 5 if now < 8 or (now > 20 and then == "a stale row") else 8)

    provider = Provider(course, *(after(n, 300) for n in range(2, 9)))
    async with Harness(provider, max_interval=1.0, quiet=1000.0) as harness:
        waiting = harness.begin(range(1, 9), timeout=30)
        await asyncio.sleep(22)
        if then == "not listed":
            provider.unlisted = {1}
        if then == "all fails":
            provider.trouble = lambda now: errors.ServiceError("down", status=503)

        ends = await asyncio.gather(*waiting, return_exceptions=True)

        for number, error in enumerate(ends, 1):
            assert isinstance(error, errors.WaitTimeoutError)
            assert error.last_seen is not None
            assert int(error.last_seen.id) == number
        first = ends[0]
        assert isinstance(first, errors.WaitTimeoutError)
        assert first.last_seen == record(1, "provisioning", 8)


@virtual
async def test_a_wait_that_joins_later_is_shown_what_did_not_change() -> None:
    """The list was the same before the wait joined: for this wait it is new."""
    async with Harness(Provider(after(1, 0), after(2, 100), after(3, 100)), max_interval=1.0) as harness:
        others = harness.begin([2, 3])
        await asyncio.sleep(5)

        result = (await asyncio.gather(*harness.begin([1])))[0]

        assert result.seconds < 2
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


@virtual
async def test_a_server_that_is_not_listed_any_more_is_read_by_its_id() -> None:
    """A server that the list lacks is read by id for a resting wait: it may be hidden, or gone."""
    provider = Provider(*(after(n, 60) for n in range(1, 5)))
    async with Harness(provider, max_interval=1.0) as harness:
        waiting = harness.begin(range(1, 5), "gone", timeout=50)
        await asyncio.sleep(10)
        assert not provider.singles
        provider.unlisted = {2, 3}
        provider.courses[2] = lambda now: None
        await asyncio.sleep(3)
        provider.unlisted = set()

        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert [isinstance(result, errors.WaitTimeoutError) for result in results] == [
            True,
            True,
            False,
            True,
        ]
        assert {number for _, number in provider.singles} == {2, 3}


@virtual
async def test_a_poll_does_not_date_what_it_does_not_show() -> None:
    """A sighting of five minutes ago, and a list in which that row lags: neither is evidence of a reboot."""

    def course(now: float) -> Server:
        if now < 100:
            return record(1, "active", 10)
        if 290 < now < 301:
            return record(1, "active", 5)  # from a replica that lags
        if now < 310:
            return record(1, "active", 200)
        return record(1, "rebooting", 310) if now < 330 else record(1, "active", 330)

    async with Harness(Provider(course, *(after(n, 1000) for n in range(2, 9)))) as harness:
        await harness.poller.glance(range(1, 9))
        await asyncio.sleep(300 - harness.now)
        await harness.poller.glance(range(1, 9))
        await asyncio.sleep(301 - harness.now)
        receipt = harness.command(1, "reboot")
        await asyncio.sleep(2)

        result = await harness.wait(receipt)

        assert receipt.updated_before is None
        assert harness.now >= 330
        assert str(result.evidence) == "observed"


@virtual
async def test_a_wait_is_not_lost_where_a_server_stands_on_two_pages() -> None:
    """The page that said provisioning is gone; the one that has said active all the time counts now."""
    provider = Provider(after(1, 1000), after(2, 1000), after(3, 1000))

    async def poll_list() -> ListSnapshot:
        snapshot = await Provider.poll_list(provider)
        rows = [record(1, "provisioning"), record(2, "active"), record(3, "provisioning")]
        return ListSnapshot(
            snapshot.requested_at, rows if snapshot.requested_at > 5 else [*rows, record(2, "provisioning")]
        )

    provider.poll_list = poll_list  # type: ignore[method-assign]
    async with Harness(provider, max_interval=1.0) as harness:
        waiting = harness.begin([1, 2, 3], timeout=30)

        results = await asyncio.gather(*waiting, return_exceptions=True)

        assert [isinstance(result, errors.WaitTimeoutError) for result in results] == [True, False, True]


class Spoiled(Read):
    """No row of its lists has a readable status; nor has a read by id, where ``everywhere``."""

    def __init__(self, *courses: Any, everywhere: bool = False) -> None:
        super().__init__(*courses)
        self.everywhere = everywhere

        class Never(Counting):
            def status(self, row: Server) -> StatusRow:
                raise UNFIT

        self.reader = Never()

    async def poll_one(self, server_id: int | str) -> tuple[float, Server]:
        asked, server = await super().poll_one(server_id)
        if self.everywhere:
            raise UNFIT
        return asked, server


UNFIT = errors.DecodeError("the answer does not fit", problems=["$.status: expected a string"])


@virtual
async def test_rows_that_never_fit_are_failures_that_are_backed_off() -> None:
    """A list whose rows have no readable status is a failed poll: five minutes of it are few requests."""
    provider = Spoiled(after(1, 1000), after(2, 1000), everywhere=True)
    async with Harness(provider) as harness:
        results = await asyncio.gather(*harness.begin([1, 2], timeout=300), return_exceptions=True)

        assert len(provider.lists) <= 60
        assert len(provider.singles) <= 60
        for result in results:
            assert isinstance(result, errors.WaitTimeoutError)
            assert isinstance(result.last_failure, errors.DecodeError)


@virtual
async def test_where_no_row_fits_servers_are_read_by_their_ids() -> None:
    """Unreadable rows block no wait, and the list is tried again less and less often."""
    provider = Spoiled(after(1, 100), after(2, 300))
    async with Harness(provider) as harness:
        first, second = await asyncio.gather(*harness.begin([1, 2], timeout=600))

        assert first.seconds < 110
        assert second.seconds < 310
        # a list that works would be read at each of them
        assert len(provider.lists) < len(provider.singles) / 4


def body(*rows: dict[str, Any], count: int | None = None) -> bytes:
    return json.dumps({"count": len(rows) if count is None else count, "results": rows}).encode()


def wire(number: int, status: str, updated: str = "2025-01-10T14:30:00Z") -> dict[str, Any]:
    return {"id": number, "name": f"web-{number}", "status": status, "updated_at": updated}


def step(*words: str) -> bytes:
    return body(*(wire(number, word) for number, word in enumerate(words, 1)))


SPOILED = body(
    wire(1, "active"),
    wire(2, "provisioning"),
    {"id": 3, "name": 7, "status": "active"},
    wire(4, "provisioning"),
)
STEPS = [
    step("provisioning", "provisioning", "provisioning", "provisioning"),
    step("provisioning", "provisioning", "provisioning", "provisioning"),
    SPOILED,
    step("active", "active", "provisioning", "provisioning"),
    step("active", "active", "active", "active"),
]


@pytest.mark.parametrize("words", [None, {"building": "provisioning", "running": "active"}])
async def test_polls_over_a_real_socket(words: dict[str, str] | None) -> None:
    """Equal responses, changed rows, an invalid name, words of another language: each wait gets its record."""
    steps = STEPS
    if words is not None:
        steps = [each.replace(b"provisioning", b"building").replace(b"active", b"running") for each in steps]
    async with RawServer(*(sends(answer(200, each)) for each in steps)) as server:
        options: dict[str, Any] = {"min_interval": 0.01, "max_interval": 0.01, "status_words": words}
        async with Client("vps_x", base_url=server.url, **options) as vps:
            results = {
                result.server_id: result
                async for result in vps.wait_until_all([1, 2, 3, 4], "active", timeout=20)
            }

    assert {number: result.error for number, result in results.items()} == dict.fromkeys([1, 2, 3, 4])
    names = {number: result.server and result.server.name for number, result in results.items()}
    # a name is only descriptive: the wait for that server ends with the row that shows it active
    assert names == {1: "web-1", 2: "web-2", 3: "", 4: "web-4"}
    assert [results[n].polls for n in (1, 2, 3)] == [3, 4, 3]
    assert [seen.status for seen in results[3].timeline] == ["provisioning", "active"]


async def test_an_answer_like_the_last_one_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred equal responses only the first is decoded; one that differs is decoded again."""
    taken_apart: list[int] = []
    read_rows = Documented.read_rows

    def counting(dialect: Documented, text: bytes) -> RawPage:
        taken_apart.append(len(text))
        return read_rows(dialect, text)

    monkeypatch.setattr(Documented, "read_rows", counting)
    before, after_ = step("provisioning", "provisioning"), step("active", "active")
    async with (
        RawServer(*[sends(answer(200, before))] * 100, sends(answer(200, after_))) as server,
        Client("vps_x", base_url=server.url, min_interval=0.001, max_interval=0.001) as vps,
    ):
        results = [result async for result in vps.wait_until_all([1, 2], "active", timeout=60)]

    assert [result.polls for result in results] == [101, 101]
    assert taken_apart == [len(before), len(after_)]
