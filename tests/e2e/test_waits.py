"""Waits of a real client on the sandbox, over real sockets in virtual time: their cost, and that they are correct."""

from __future__ import annotations

import asyncio
import pickle
import random
import statistics
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.fleet.virtual_account import account, client, specs, virtual
from vpsorg_async import Client, Server, ServerId, ServerStuck, WaitOutcome, errors, tcp_port
from vpsorg_async.lifecycle.account import Account
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

Draw = Callable[[random.Random], float]


def triangular(rng: random.Random) -> float:
    return rng.triangular(120, 300, 180)


def polls(box: Sandbox) -> int:
    """The number of requests that read something."""
    return sum(entry.method == "GET" for entry in box.requests)


@attrs.frozen
class Course:
    """The result of a fleet."""

    polls: int
    lag: float


async def provision(box: Sandbox, vps: Client, servers: int, draw: Draw | None, seed: int) -> Course:
    """Create this number of servers and wait for each; ``draw`` replaces the sandbox's durations."""
    rng = random.Random(seed)
    ids: list[ServerId] = []
    for spec in specs(servers, f"fleet-{len(box.servers)}"):
        created = await vps.servers.create(spec)
        ids.append(created.id)
        if draw is not None:
            box.world.set_status(int(created.id), "provisioning", seconds=draw(rng))
    before, noticed = polls(box), dict[ServerId, float]()
    async for outcome in vps.wait_until_all(ids, "active", timeout=900):
        assert outcome.error is None
        noticed[outcome.server_id] = asyncio.get_running_loop().time()
    truth = {server.id: server.since for server in box.servers}
    lags = [noticed[number] - truth[int(number)] for number in ids]
    assert min(lags) >= 0
    return Course(polls(box) - before, statistics.mean(lags))


SEEDS = range(3)


async def fleets(draw: Draw | None, servers: int = 50, runs: int = 1) -> list[list[Course]]:
    """The same for several seeds, each with a new client, which then creates further fleets."""
    played = []
    for seed in SEEDS:
        async with account(seed=seed) as (box, vps):
            played.append([await provision(box, vps, servers, draw, 10 * seed + run) for run in range(runs)])
    return played


@virtual
async def test_fifty_waits_from_the_documentation_alone() -> None:
    """Fifty servers of two to five minutes: at most 150 polls, each noticed 1.4 s late on average."""
    for draw in (None, triangular):
        played = [courses[0] for courses in await fleets(draw)]

        assert statistics.mean(course.polls for course in played) <= 150
        assert max(course.polls for course in played) <= 158
        assert max(course.lag for course in played) <= 1.4


@virtual
async def test_fifty_waits_after_one_such_fleet() -> None:
    """The second fleet of a client costs some 90 polls, at some 1.1 s of lag."""
    played = [courses[1] for courses in await fleets(triangular, runs=2)]

    assert statistics.mean(course.polls for course in played) <= 95
    assert statistics.mean(course.lag for course in played) <= 1.2


@virtual
async def test_a_thousand_waits_cost_no_more_polls() -> None:
    """A thousand servers are seen by the same number of polls."""
    async with account(seed=1) as (box, vps):
        course = await provision(box, vps, 1000, triangular, 1)

        assert course.polls <= 150
        assert course.lag <= 1.4


@virtual
async def test_an_early_server_is_seen_early() -> None:
    """A server that is ready after 12 seconds is seen within one, though the documentation says minutes."""
    async with account() as (box, vps):
        course = await provision(box, vps, 1, lambda _: 12.0, 0)

        assert course.lag <= 1


@virtual
async def test_one_wait_on_a_large_account_downloads_no_lists() -> None:
    """One wait on an account of 5,000 servers reads only its own server."""
    async with account() as (box, vps):
        ids = [server.id for server in box.world.add(5000)]
        assert len(await vps.servers.list()) == 5000
        await vps.servers.reboot(ids[17])
        before = len(box.requests)

        await vps.wait_until(ids[17], "active", timeout=300)

        assert {entry.path for entry in box.requests[before:]} == {f"/api/v1/servers/{ids[17]}/"}


async def settle(vps: Client, ids: list[ServerId]) -> list[WaitOutcome]:
    """Wait until all are active, or not."""
    return [outcome async for outcome in vps.wait_until_all(ids, "active", timeout=600)]


async def reboot_all(box: Sandbox, vps: Client, ids: list[ServerId]) -> list[tuple[WaitOutcome, float]]:
    """Reboot each and wait for it; how long after its true end each wait ended (negative: before)."""
    for number in ids:
        await vps.servers.reboot(number)
    ended = dict[ServerId, tuple[WaitOutcome, float]]()
    async for outcome in vps.wait_until_all(ids, "active", timeout=300):
        ended[outcome.server_id] = outcome, asyncio.get_running_loop().time()
    # the sandbox knows when each server reached its status, or that it is still moving
    done = {server.id: server.since if server.status == "active" else server.until for server in box.servers}
    return [(outcome, when - (done[int(number)] or 0.0)) for number, (outcome, when) in ended.items()]


REBOOTS: list[tuple[Any, float, bool]] = [
    # how long they take, how far reads lag, whether the servers were listed before
    ((2.0, 4.0), 1.5, True),
    ((2.0, 4.0), 1.5, False),
    ((0.05, 0.3), 1.5, True),
    ((0.05, 0.3), 1.5, False),
    ((0.05, 0.3), 0.0, True),
    ((10.0, 40.0), 5.0, True),
]


@pytest.mark.parametrize(("seconds", "lag", "listed"), REBOOTS)
@virtual
async def test_no_wait_ends_before_its_reboot(seconds: Any, lag: float, listed: bool) -> None:
    """However short the reboot and however late the reads: the evidence that ends a wait came after its command."""
    async with account(durations=Durations(rebooting=seconds)) as (box, vps):
        ids = [server.id for server in box.world.add(20)]
        if lag:
            await asyncio.sleep(30)
            box.world.lag(lag, lasting=1e6)
        if listed:
            await vps.servers.list()

        ended = await reboot_all(box, vps, ids)

        assert [outcome.error for outcome, _ in ended] == [None] * 20
        assert min(late for _, late in ended) >= 0
        assert max(late for _, late in ended) <= lag + 20


@virtual
async def test_without_receipts_waits_would_lie() -> None:
    """A test of the test above: with the receipts forgotten, waits end on evidence from before their reboots."""
    async with account(durations=Durations(rebooting=(2.0, 4.0))) as (box, vps):
        ids = [server.id for server in box.world.add(20)]
        await asyncio.sleep(30)
        box.world.lag(1.5, lasting=1e6)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Account, "receipt", lambda self, server_id: None)
            ended = await reboot_all(box, vps, ids)

        assert min(late for _, late in ended) < 0


@virtual
async def test_a_receipt_is_waited_on_by_another_client() -> None:
    """The client that sent the reboot passes its receipt on; the other client's wait is as reliable."""
    async with account(durations=Durations(rebooting=3.0)) as (box, vps), client(box) as other:
        (server,) = box.world.add()
        await asyncio.sleep(30)
        box.world.lag(1.5, lasting=1e6)
        await vps.servers.get(server.id)
        await vps.servers.reboot(server.id)
        stored = pickle.dumps(vps.receipt(server.id))

        back = await other.wait_until(pickle.loads(stored), "active", timeout=60)

        (truth,) = box.servers
        assert (back.status, truth.status) == ("active", "active")
        assert asyncio.get_running_loop().time() >= truth.since
        assert other.receipt(server.id) is None
        assert vps.receipt(server.id) is not None


@virtual
async def test_a_receipt_that_is_none_is_refused() -> None:
    """A wait for None in place of a receipt is refused with its likely cause, and polls nothing."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        nothing: Any = vps.receipt(server.id)

        with pytest.raises(
            errors.ConfigurationError, match=r"not None: receipt\(\) returns None when no command is open"
        ):
            await vps.wait_until(nothing, "active", timeout=60)
        with pytest.raises(errors.ConfigurationError, match="not None"):
            await anext(vps.wait_until_all([server.id, nothing], "active", timeout=60))
        assert not box.requests


@virtual
async def test_what_was_learned_is_kept_on_disk(tmp_path: Path) -> None:
    """The next run of a program starts with the durations that this run learned."""
    kept = tmp_path / "durations.json"
    async with account(durations=Durations(provisioning=(12.0, 14.0))) as (box, _):
        costs = []
        for run in range(2):
            async with client(box, durations_file=kept, min_interval=0.05) as vps:
                costs.append(await provision(box, vps, 20, None, run))

    assert "create" in kept.read_text("utf-8")
    assert costs[1].lag < costs[0].lag / 2


@pytest.mark.parametrize("content", [b"", b"{", b"[[1]]", b'[["create", "", "", [1e999, -1, "x"]]]', b"\xff"])
@virtual
async def test_a_broken_durations_file_does_no_harm(tmp_path: Path, content: bytes) -> None:
    """A file that can't be read is ignored, learned again, and written again."""
    kept = tmp_path / "durations.json"
    kept.write_bytes(content)
    async with (
        account(durations=Durations(provisioning=3.0)) as (box, _),
        client(box, durations_file=kept) as vps,
    ):
        await provision(box, vps, 3, None, 0)

    assert b"create" in kept.read_bytes()


@virtual
async def test_an_outage_of_a_minute_is_survived() -> None:
    """The API fails for 60 seconds in the middle of a wait: the wait goes on, and its timeline says so."""
    async with account() as (box, vps):
        created = await vps.servers.create(specs(1)[0])
        waiting = asyncio.create_task(settle(vps, [created.id]))
        await asyncio.sleep(40)
        box.faults.add(Rule(None, faults.Html(503)))
        await asyncio.sleep(60)
        box.faults.clear()

        (outcome,) = await waiting

        assert outcome.server is not None
        assert outcome.server.status == "active"
        assert [seen.status for seen in outcome.timeline] == [
            "provisioning",
            "no answer",
            "provisioning",
            "active",
        ]
        assert 40 <= outcome.timeline[1].at <= 55


async def _fails(waiting: Awaitable[Server], error: type[errors.WaitError]) -> str:
    with pytest.raises(error) as caught:
        await waiting
    return str(caught.value)


@virtual
async def test_waits_that_end_badly_say_why() -> None:
    """Suspended, gone, stopped by another client, not in time: each ends as the contract says."""
    async with account(durations=Durations(provisioning=1000.0)) as (box, vps):
        active, doomed, stopped = box.world.add(3)
        box.world.set_status(stopped.id, "stopped")
        slow = await vps.servers.create(specs(1)[0])
        doings = [
            _fails(vps.wait_until(active.id, "stopped", timeout=60), errors.UnexpectedStatusError),
            _fails(vps.wait_until(doomed.id, "stopped", timeout=60), errors.ServerGoneError),
            _fails(vps.wait_until(stopped.id, "active", timeout=60), errors.UnexpectedStatusError),
            _fails(vps.wait_until(slow.id, "active", timeout=60), errors.WaitTimeoutError),
        ]
        said = asyncio.gather(*doings)
        await asyncio.sleep(5)
        box.world.suspend(active.id)
        box.world.vanish(doomed.id)

        suspended, gone, elsewhere, late = await said

        assert "it is suspended" in suspended
        assert "it does not exist any more" in gone
        assert "it is stopped, and nothing is changing it" in elsewhere
        assert "after 60.0 s it is provisioning" in late


@virtual
async def test_deleted_servers_are_waited_for_until_they_are_gone() -> None:
    """The last record comes back, with a status that is true."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        await vps.servers.delete(server.id)

        gone = await vps.wait_until(server.id, "gone", timeout=60)

        assert gone.status == "gone"


@virtual
async def test_a_server_is_ready_when_its_port_is_open() -> None:
    """After the status the check is called: here a port that opens 20 seconds later."""
    async with account(durations=Durations(starting=5.0)) as (box, vps):
        (server,) = box.world.add(status="stopped")
        listener = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        listener.close()
        await listener.wait_closed()
        opened: list[asyncio.Server] = []

        async def open_port() -> None:
            await asyncio.sleep(25)
            opened.append(await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port))

        check = tcp_port(port)

        async def ready(record: Server) -> bool:
            # the sandbox's addresses are for documentation and lead nowhere
            return await check(attrs.evolve(record, ip_address="127.0.0.1", ipv6_address=None))

        opening = asyncio.create_task(open_port())
        await vps.servers.start(server.id)
        back = await vps.wait_until(server.id, "active", timeout=60, ready=ready, ready_timeout=60)

        assert back.status == "active"
        assert 25 <= asyncio.get_running_loop().time() <= 32
        opened[0].close()
        with pytest.raises(errors.WaitTimeoutError, match="not ready after 4 s"):
            await vps.wait_until(server.id, "active", timeout=60, ready=ready, ready_timeout=4)
        await opening


@virtual
async def test_the_account_is_watched() -> None:
    """Every change of the account is reported within an interval."""
    async with account(durations=Durations(provisioning=20.0)) as (box, vps):
        (server,) = box.world.add()
        stream = vps.watch(interval=3)
        told = [await anext(stream)]
        created = await vps.servers.create(specs(1)[0])
        box.world.suspend(server.id)
        told += [await anext(stream) for _ in range(3)]
        await vps.servers.delete(created.id)
        told.append(await anext(stream))
        await stream.aclose()

        assert [(str(change.change), change.server_id, change.after) for change in told] == [
            ("present", server.id, "active"),
            ("changed", server.id, "suspended"),
            ("appeared", created.id, "provisioning"),
            ("changed", created.id, "active"),
            ("gone", created.id, "gone"),
        ]


@virtual
async def test_closing_the_client_ends_its_waits() -> None:
    """Closing the client ends its waits."""
    async with account() as (box, _):
        vps = client(box)
        async with vps:
            created = await vps.servers.create(specs(1)[0])
            waiting = asyncio.create_task(vps.wait_until(created.id, "active", timeout=600))
            await asyncio.sleep(5)
        with pytest.raises(errors.ClientClosedError):
            await waiting


@virtual
async def test_a_receipt_of_a_machine_whose_clock_is_wrong_teaches_nothing() -> None:
    """An hour between two clocks delays no wait, makes no server stuck, and leaves no durations of an hour."""
    told: list[object] = []
    async with (
        account(durations=Durations(rebooting=8.0)) as (box, vps),
        client(box, on_event=told.append) as other,
    ):
        (server,) = box.world.add()
        for _ in range(2):
            await vps.servers.get(server.id)
            await vps.servers.reboot(server.id)
            receipt = vps.receipt(server.id)
            assert receipt is not None
            old = attrs.evolve(receipt, acknowledged_at=receipt.acknowledged_at - timedelta(hours=1))
            await other.wait_until(old, "active", timeout=60)
            (truth,) = box.servers
            assert 0 <= asyncio.get_running_loop().time() - truth.since <= 3
            await vps.wait_until(server.id, "active", timeout=60)

        assert not any(isinstance(event, ServerStuck) for event in told)
        assert (other.expected("reboot", 1) or 0.0) < 100


@pytest.mark.parametrize("ready", [22, "yes"])
@virtual
async def test_a_check_that_is_none_is_refused_at_once(ready: Any) -> None:
    """An invalid check is refused immediately, not after minutes of waiting."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        before = len(box.requests)
        with pytest.raises(errors.ConfigurationError):
            await vps.wait_until(server.id, "active", timeout=60, ready=ready)
        with pytest.raises(errors.ConfigurationError):
            tcp_port(22, timeout=-1)
        with pytest.raises(errors.ConfigurationError):
            await anext(vps.wait_until_all(None, "active", timeout=60))  # type: ignore[arg-type]

        assert len(box.requests) == before
        assert (await vps.wait_until(server.id, "active", timeout=60, ready=lambda _: True)).id == server.id
