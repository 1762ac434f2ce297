"""Many servers in one call: few tasks, a quick answer for others on the same client, and polls that go on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from tests.fleet.virtual_account import account, creates, kinds, specs, virtual
from vpsorg_async.sandbox import Durations, Sandbox

IN_FLIGHT = 8
LATENCY = 0.05
SOON = Durations(provisioning=(20, 40))


def polls(box: Sandbox) -> list[float]:
    """When the account was read."""
    return [entry.at for entry in box.requests if entry.method == "GET"]


def gaps(times: list[float], until: float) -> Iterator[float]:
    """The times between polls, up to a moment."""
    return (after - before for before, after in itertools.pairwise([*times, until]) if before < until)


def served(task: asyncio.Task[object]) -> bool:
    """Whether the task is one of the sandbox's own, which has some for each connection."""
    return getattr(task.get_coro(), "__qualname__", "").startswith("RequestHandler.")


@virtual
async def test_a_server_keeps_no_task() -> None:
    """A fleet has no more tasks than requests in flight and a few, while sending and while waiting."""
    most = 0

    async def count() -> None:
        nonlocal most
        while True:
            most = max(most, sum(not served(task) for task in asyncio.all_tasks()))
            await asyncio.sleep(0.3)

    async with account(durations=SOON, latency=LATENCY, options={"max_in_flight": IN_FLIGHT}) as (box, vps):
        counting = asyncio.create_task(count())
        report = await vps.fleet.create(specs(1500), timeout=300)
        counting.cancel()

        assert kinds(report) == {"Succeeded": 1500}
        assert len(creates(box)) == 1500
        assert IN_FLIGHT < most <= IN_FLIGHT + 8


@virtual
async def test_a_users_own_call_goes_first() -> None:
    """While a thousand creates queue, the user's read waits for one slot at most, not for its turn among them."""
    async with account(durations=SOON, latency=LATENCY, options={"max_in_flight": IN_FLIGHT}) as (box, vps):
        (own,) = box.world.add(name="own")
        loop = asyncio.get_running_loop()
        call = asyncio.create_task(vps.fleet.create(specs(1000), timeout=300))
        waited: list[float] = []
        await asyncio.sleep(0.5)
        while len(creates(box)) < 900:
            began = loop.time()
            await vps.servers.get(own.id)
            waited.append(loop.time() - began)
            await asyncio.sleep(0.2)
        report = await call

        assert kinds(report) == {"Succeeded": 1000}
        assert len(waited) > 10
        assert max(waited) <= 3 * LATENCY


@virtual
async def test_polls_go_on_while_commands_queue() -> None:
    """Bulk work that fills every slot does not block polls: ready servers are seen while others are sent."""
    quick = Durations(provisioning=(4, 8))
    async with account(durations=quick, latency=LATENCY, options={"max_in_flight": 4}) as (box, vps):
        first, second = await asyncio.gather(
            vps.fleet.create(specs(400, "a"), timeout=60), vps.fleet.create(specs(400, "b"), timeout=60)
        )

        assert kinds(first) == kinds(second) == {"Succeeded": 400}
        last = max(entry.at for entry in box.requests if entry.method == "POST")
        assert last > 10
        assert max(gaps(polls(box), last)) < 4


@virtual
async def test_a_thousand_that_are_skipped() -> None:
    """After a refusal the rest of a large call settles immediately, without a request for any of them."""
    async with account(credit=0, latency=LATENCY, options={"max_in_flight": IN_FLIGHT}) as (box, vps):
        report = await vps.fleet.create(specs(3000), timeout=300)

        assert len(creates(box)) == len(report.failed) <= IN_FLIGHT
        assert len(report.skipped) == 3000 - len(report.failed)
        assert report.seconds < 1


@virtual
async def test_a_large_account_that_is_as_it_shall_be() -> None:
    """ensure over thousands of servers that exist costs one list."""
    async with account() as (box, vps):
        for spec in specs(3000):
            box.world.add(name=spec.name, location=spec.location)
        report = await vps.fleet.ensure(specs(3000), timeout=300)

        assert kinds(report) == {"Succeeded": 3000}
        assert len(box.requests) == 1
