"""The shared poll: one reader of statuses for every wait, in virtual time over a scripted provider."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
from collections import Counter
from typing import Any

import pytest

from tests.lifecycle.harness import Harness, Provider, after, record, virtual
from vpsorg_async import errors
from vpsorg_async.lifecycle.account_reader import SINGLES_AT_ONCE
from vpsorg_async.lifecycle.durations import Durations
from vpsorg_async.lifecycle.events import ServerStuck


def ids(count: int) -> range:
    """That number of ids, from 1."""
    return range(1, count + 1)


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def kinds(results: list[Any]) -> set[str]:
    return {type(result).__name__ for result in results}


@virtual
async def test_many_waits_share_their_polls() -> None:
    """Fifty waits poll once where one would, and each ends with the poll that shows its server ready."""
    async with Harness(Provider(*(after(n, 60 + n) for n in ids(50)))) as harness:
        for n in ids(50):
            harness.command(n, "create")

        results = await outcomes(harness.begin(ids(50)))

        assert kinds(results) == {"WaitOutcome"}
        assert len(harness.provider.lists) <= 80
        # the last one, alone, is read by its id
        assert {number for _, number in harness.provider.singles} <= {50}
        ends = [60 + n for n in ids(50)]
        assert all(result.seconds >= end for result, end in zip(results, ends, strict=True))
        assert sum(result.seconds - end for result, end in zip(results, ends, strict=True)) / 50 <= 1.4


@pytest.mark.parametrize("servers", [1, 50])
@pytest.mark.parametrize(("low", "high", "most"), [(3, 6, 40), (12, 30, 60), (120, 300, 150)])
@virtual
async def test_a_fleet_ends_soon_after_its_slowest_server(
    low: float, high: float, most: int, servers: int
) -> None:
    """The last server is noticed soon by default, whether durations are known or not."""
    rng = random.Random(servers)
    ends: dict[str, list[float]] = {"cold": [], "second": []}
    polls: list[int] = []
    for _ in range(8):
        known = Durations()
        for fleet in ends.values():
            began = asyncio.get_running_loop().time()
            ready = [rng.uniform(low, high) for _ in range(servers)]
            courses = [after(n, began + seconds) for n, seconds in zip(ids(servers), ready, strict=True)]
            async with Harness(Provider(*courses), durations=known) as harness:
                for n in ids(servers):
                    harness.command(n, "create")

                assert kinds(await outcomes(harness.begin(ids(servers)))) == {"WaitOutcome"}

                fleet.append((harness.now - began) / max(ready))
                polls.append(len(harness.provider.polls))

    assert statistics.mean(polls) <= most
    assert statistics.mean(ends["cold"]) <= 1.10
    assert statistics.mean(ends["second"]) <= (1.015 if low >= 120 else 1.05)


@virtual
async def test_polls_never_overlap() -> None:
    """Only one poll runs at a time, with a pause after it, however long it takes and however many waits join."""
    async with Harness(Provider(*(after(n, 40) for n in ids(30)), latency=3.0)) as harness:
        tasks = []
        for n in ids(30):
            tasks += harness.begin([n])
            await asyncio.sleep(0.4)

        await outcomes(tasks)

        assert harness.provider.most_lists == 1
        starts = harness.provider.polls
        shortest = 3.0 + harness.policy.min_interval - 0.01
        assert all(second - first >= shortest for first, second in itertools.pairwise(starts))


@virtual
async def test_the_task_lives_while_there_are_waits() -> None:
    """The task polls only between the first join and the last leave, and starts again for the next wait."""
    async with Harness(Provider(after(1, 5))) as harness:
        assert not harness.polling()

        for _ in range(2):
            waiting = harness.begin([1])
            await asyncio.sleep(0)
            assert harness.polling()
            await outcomes(waiting)
            await asyncio.sleep(0.01)
            assert not harness.polling()

        polls = len(harness.provider.polls)
        await asyncio.sleep(100)
        assert len(harness.provider.polls) == polls
        assert harness.poller.statistics.waits == 0


@virtual
async def test_cancelling_one_disturbs_no_other() -> None:
    """Of twenty waiters one leaves: the others get their results, at no further cost."""
    async with Harness(Provider(*(after(n, 30) for n in ids(20)))) as harness:
        tasks = harness.begin(ids(20))
        await asyncio.sleep(10)

        tasks[7].cancel()
        results = await outcomes(tasks)

        assert kinds(results[:7] + results[8:]) == {"WaitOutcome"}
        assert isinstance(results[7], asyncio.CancelledError)
        assert harness.poller.statistics.waits == 0


@virtual
async def test_cancelling_during_a_poll_disturbs_no_other() -> None:
    """The poll in flight goes on for the waits that stay; when the last one leaves, it is cancelled."""
    async with Harness(Provider(*(after(n, 0) for n in ids(2)), latency=4.0)) as harness:
        first, second = harness.begin(ids(2))
        await asyncio.sleep(1)

        first.cancel()
        results = await outcomes([first, second])
        assert [type(result).__name__ for result in results] == ["CancelledError", "WaitOutcome"]
        assert len(harness.provider.polls) == 1

        (alone,) = harness.begin([1])
        await asyncio.sleep(1)
        alone.cancel()
        await outcomes([alone])
        await asyncio.sleep(0.1)
        assert not harness.polling()


@virtual
async def test_closing_ends_every_wait() -> None:
    """Closing ends each wait with an error of its own, and none can join."""
    async with Harness(Provider(*(after(n, 300) for n in ids(10)))) as harness:
        tasks = harness.begin(ids(10))
        await asyncio.sleep(20)

        await harness.poller.close()
        results = await outcomes(tasks)

        assert kinds(results) == {"ClientClosedError"}
        assert len({id(result) for result in results}) == 10
        with pytest.raises(errors.ClientClosedError):
            await harness.wait(1)
        with pytest.raises(errors.ClientClosedError):
            harness.poller.subscribe(lambda news: None, 1.0)


@virtual
async def test_closing_during_a_poll() -> None:
    """Closing does not wait for a poll in flight."""
    async with Harness(Provider(after(1, 0), latency=1000.0)) as harness:
        tasks = harness.begin([1])
        await asyncio.sleep(5)

        await harness.poller.close()

        assert kinds(await outcomes(tasks)) == {"ClientClosedError"}
        assert harness.now == 5


@virtual
async def test_one_wait_on_a_large_account_never_lists() -> None:
    """With 5,000 servers in the account a lone wait reads its own server, even where a list was read before."""
    async with Harness(Provider(*(after(n, 60) for n in ids(5000)))) as harness:
        await harness.poller.glance(ids(1000))
        assert len(harness.provider.lists) == 1

        await harness.wait(17)

        assert len(harness.provider.lists) == 1
        assert {number for _, number in harness.provider.singles} == {17}


@virtual
async def test_fifty_waits_are_never_read_one_by_one() -> None:
    """With 5,000 servers in the account one list is still cheaper than fifty reads."""
    async with Harness(Provider(*(after(n, 20) for n in ids(5000)))) as harness:
        await outcomes(harness.begin(ids(50)))

        assert harness.provider.singles == []
        assert harness.provider.lists


@virtual
async def test_few_waits_on_a_large_account_are_read_by_id() -> None:
    """Where a list costs more, each server is read, a few at a time; two waits on one server cost one read."""
    async with Harness(Provider(*(after(n, 0.0) for n in ids(5000)), latency=1.0)) as harness:
        await harness.poller.glance(ids(1000))

        results = await outcomes(harness.begin([*ids(10), 3]))

        assert kinds(results) == {"WaitOutcome"}
        assert len(harness.provider.lists) == 1
        assert sorted(number for _, number in harness.provider.singles) == list(ids(10))
        assert sum(when < 2.0 for when, _ in harness.provider.singles) == SINGLES_AT_ONCE


@virtual
async def test_absence_from_a_list_is_confirmed_by_id() -> None:
    """A list that lacks a server ends no wait: the server is read by its id, and that decides."""
    async with Harness(Provider(*(after(n, 30) for n in ids(3)))) as harness:
        harness.provider.unlisted = {1}

        results = await outcomes(harness.begin(ids(3)))

        assert kinds(results) == {"WaitOutcome"}
        assert {number for _, number in harness.provider.singles} == {1}


@virtual
async def test_gone_is_a_404_by_id() -> None:
    """Deleted servers that the list lacks are read twice each, and are gone when both reads say so."""
    async with Harness(
        Provider(*((lambda now, n=n: record(n, "active") if now < 5 else None) for n in ids(20)))
    ) as harness:
        harness.provider.unlisted = {3}

        results = await outcomes(harness.begin(ids(20), "gone"))

        assert {result.server.status for result in results} == {"gone"}
        assert min(result.seconds for result in results) >= 5
        confirmed = Counter(number for _, number in harness.provider.singles)
        assert sorted(confirmed) == list(ids(20))
        assert {count for number, count in confirmed.items() if number != 3} == {2}


@virtual
async def test_a_command_in_the_middle_of_a_wait() -> None:
    """After a further command the wait needs a later status: an `active` from before does not count."""
    course = [(0, "stopped"), (5, "active"), (8, "rebooting"), (11, "active")]
    async with Harness(
        Provider(lambda now: record(1, [word for when, word in course if now >= when][-1]))
    ) as harness:
        harness.command(1, "start")
        (waiting,) = harness.begin([1])
        await asyncio.sleep(4.9)

        harness.command(1, "reboot", "rebooting")
        outcome = await waiting

        assert harness.now >= 11
        assert str(outcome.evidence) == "observed"


@virtual
async def test_a_moving_status_is_not_the_end_of_a_command() -> None:
    """A wait for `rebooting` and then for `active` is still for the same reboot."""
    async with Harness(Provider(lambda now: record(1, "rebooting" if now < 3 else "active"))) as harness:
        receipt = harness.command(1, "reboot", "rebooting")

        await harness.wait(1, "rebooting")
        assert harness.account.receipt(1) == (receipt, 0.0)
        harness.provider.courses = [lambda now: record(1, "active" if now < 1 or now > 3 else "rebooting")]
        await harness.wait(1, "active")

        assert harness.now > 3
        assert harness.account.receipt(1) is None


@virtual
async def test_the_start_is_jittered() -> None:
    """Clients that begin together do not poll together."""
    first = []
    for seed in range(5):
        async with Harness(Provider(after(1, 0)), seed=seed) as harness:
            began = harness.now
            await harness.wait(1)
            first.append(harness.provider.polls[0] - began)

    assert len(set(first)) == 5
    assert all(0 <= delay <= 0.5 / 10 for delay in first)


@virtual
async def test_a_stuck_server_is_told_of_once() -> None:
    """A server slower than practically all of its kind raises one event, long before the timeout."""
    async with Harness(Provider(after(1, 1000), after(2, 200))) as harness:
        for n in (1, 2):
            harness.command(n, "create")

        await outcomes(harness.begin([1, 2], timeout=2000))

        (event,) = harness.events
        assert isinstance(event, ServerStuck)
        assert (event.server_id, event.operation, event.status, event.expected) == (
            1,
            "create",
            "provisioning",
            420.0,
        )
        assert 420 < event.seconds < 455


@virtual
async def test_durations_are_learned_from_what_was_watched() -> None:
    """A run records how long its commands took, to within a pause."""
    async with Harness(Provider(*(after(n, 30 + n) for n in ids(12)))) as harness:
        for n in ids(12):
            harness.command(n, "create")

        await outcomes(harness.begin(ids(12)))

        ((operation, _, _, seen),) = harness.durations.to_json()
        assert operation == "create"
        assert len(seen) == 12
        assert all(abs(seconds - (30 + n)) <= 6 for n, seconds in enumerate(seen))


@virtual
async def test_what_nobody_watched_teaches_nothing() -> None:
    """A wait that begins an hour after the server was ready records no duration; nor does an assumption."""
    async with Harness(Provider(after(1, 150))) as harness:
        harness.command(1, "create")
        await asyncio.sleep(3600)
        await harness.wait(1)
        harness.command(1, "reboot")
        assert str((await harness.wait(1)).evidence) == "assumed"
        harness.command(1, "reboot", "rebooting")
        harness.provider.courses = [after(1, 1e9, before="rebooting")]
        await harness.wait(1, "rebooting")

        assert harness.durations.to_json() == []


@virtual
async def test_a_glance_fills_the_account() -> None:
    """Statuses from before the commands are read the cheaper way, and shown to every wait."""
    async with Harness(Provider(*(after(n, 0) for n in ids(30)))) as harness:
        await harness.poller.glance([1])
        assert (len(harness.provider.lists), len(harness.provider.singles)) == (0, 1)
        await harness.poller.glance(ids(30))
        assert (len(harness.provider.lists), len(harness.provider.singles)) == (1, 1)

        assert all(harness.account.known(n) for n in ids(30))
