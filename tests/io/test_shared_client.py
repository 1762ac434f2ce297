"""One open client for each loop and account: who opens it, who closes it, and what cancellation can't break."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.io.endpoints import fits, sends
from tests.io.faults import TOKEN
from tests.io.raw_server import RawServer
from tests.virtual import virtual
from vpsorg_async import Client, Limits, SharedClient, events, shared_client
from vpsorg_async.errors import ClientClosedError, ConfigurationError
from vpsorg_async.sandbox import Sandbox
from vpsorg_async.virtual_time import LoopClock

GOOD = sends(fits)
URL = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    """When everyone has left, nothing is kept of any account."""
    yield
    gc.collect()
    assert not [key for key in vars(shared_client)["_leases"] if not key[0].is_closed()]


class Slow(Client):
    """A client whose opening and closing take some steps of the loop, and are counted."""

    opened = 0
    closed = 0

    async def __aenter__(self) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        await super().__aenter__()
        type(self).opened += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__(*_)
        type(self).closed += 1


def counted() -> type[Slow]:
    """A class of its own, whose clients are counted from zero."""
    return type("Counted", (Slow,), {"opened": 0, "closed": 0})


def made_by(kind: type[Client], token: str = TOKEN, **options: Any) -> Callable[[], Client]:
    return lambda: kind(token, base_url=options.pop("base_url", URL), **options)


def is_open(vps: Client) -> bool:
    try:
        _ = vps.servers
    except ClientClosedError:
        return False
    return True


async def steps(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_tasks_share_one_client_and_its_connections() -> None:
    """Many tasks at once, each with a SharedClient of its own: one client, opened once and closed by the last."""
    kind, seen = counted(), set()
    async with RawServer(GOOD) as server:

        async def job() -> None:
            async with SharedClient(lambda: kind(TOKEN, base_url=server.url, max_in_flight=1)) as vps:
                seen.add(vps)
                assert (await vps.servers.get(1)).id == 1

        await asyncio.gather(*(job() for _ in range(20)))
        assert len(server.requests) == 20
        assert server.connections == 1
    assert len(seen) == kind.opened == kind.closed == 1
    assert not is_open(seen.pop())


async def test_one_shared_client_for_many_tasks() -> None:
    """The same object may be entered by many tasks, and again in the same one."""
    kind = counted()
    shared = SharedClient(made_by(kind))

    async def job() -> None:
        async with shared as outer, shared as inner:
            assert outer is inner
            await steps()
            assert is_open(outer)

    await asyncio.gather(*(job() for _ in range(10)))
    assert (kind.opened, kind.closed) == (1, 1)
    async with shared as vps:
        assert is_open(vps)
    assert (kind.opened, kind.closed) == (2, 2)


@virtual
async def test_waits_of_many_triggers_share_their_polls() -> None:
    """The reads of thirty triggers that wait are a fraction of what a client for each would need."""
    sent: list[str] = []

    def count(event: events.ClientEvent) -> None:
        if isinstance(event, events.RequestSent):
            sent.append(event.operation)

    async with Sandbox(clock=asyncio.get_running_loop().time) as box:
        box.world.add(30)

        def create() -> Client:
            return Client(box.token, base_url=box.url, on_event=count, clock=LoopClock())

        async def trigger(client: AbstractAsyncContextManager[Client], server_id: Any) -> None:
            async with client as vps:
                await vps.servers.reboot(server_id)
                await vps.wait_until(server_id, "active", timeout=600)

        await asyncio.gather(*(trigger(SharedClient(create), server.id) for server in box.servers))
        shared = len(sent) - 30
        await asyncio.gather(*(trigger(create(), server.id) for server in box.servers))
        separate = len(sent) - 30 - shared - 30
    assert sent.count("reboot") == 60
    assert shared < separate / 5, (shared, separate)


async def test_the_last_one_closes_it() -> None:
    """The one that opened it may leave first."""
    kind, leave = counted(), asyncio.Event()

    async def first() -> None:
        async with SharedClient(made_by(kind)):
            await steps(5)

    async def second() -> None:
        async with SharedClient(made_by(kind)) as vps:
            await leave.wait()
            assert is_open(vps)

    tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
    await tasks[0]
    await steps()
    assert (kind.opened, kind.closed) == (1, 0)
    leave.set()
    await tasks[1]
    assert (kind.opened, kind.closed) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"token": "another"},
        {"base_url": "http://127.0.0.1:10"},
        {"dialect": "provider"},
        {"kind": Client},
        {"limits": Limits(read_only=True)},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_other_accounts_have_their_own(other: dict[str, Any]) -> None:
    """Token, base URL, dialect, class and limits keep clients apart; other options do not."""
    usual: dict[str, Any] = {"kind": Slow, "token": TOKEN}
    async with (
        SharedClient(made_by(**usual)) as one,
        SharedClient(made_by(**usual, max_in_flight=3)) as same,
        SharedClient(made_by(**{**usual, **other})) as another,
    ):
        assert one is same
        assert one is not another


async def test_a_new_token_leads_to_a_new_client() -> None:
    """The factory is asked each time; who entered before keeps the old client, and closes it."""
    tokens = iter(["old", "new", "new"])
    shared = SharedClient(lambda: Client(next(tokens), base_url=URL))
    entered, release, clients = asyncio.Event(), asyncio.Event(), []

    async def job() -> None:
        async with shared as vps:
            clients.append(vps)
            if len(clients) == 3:
                entered.set()
            await release.wait()
            assert is_open(vps)

    tasks = [asyncio.create_task(job()) for _ in range(3)]
    await entered.wait()
    assert len(set(clients)) == 2
    release.set()
    await asyncio.gather(*tasks)
    assert not any(map(is_open, clients))


async def test_errors_of_the_factory_reach_the_caller() -> None:
    """The error is the factory's own, and others are not affected."""
    kind = counted()

    def broken() -> Client:
        raise LookupError("no such connection")

    with pytest.raises(LookupError, match="no such connection"):
        async with SharedClient(broken):
            pass
    with pytest.raises(ConfigurationError, match="token"):
        async with SharedClient(lambda: Client("", base_url=URL)):
            pass
    async with SharedClient(made_by(kind)) as vps:
        assert is_open(vps)


async def test_an_opening_that_fails_is_its_own() -> None:
    """Each task whose client can't be opened gets the error; the next one tries again, and may succeed."""

    class Failing(Slow):
        failures = 3

        async def __aenter__(self) -> Any:
            await asyncio.sleep(0)
            if type(self).failures:
                type(self).failures -= 1
                raise OSError("no file")
            return await super().__aenter__()

    async def job() -> Client:
        async with SharedClient(made_by(Failing)) as vps:
            await steps()
            return vps

    ended = await asyncio.gather(*(job() for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(end, OSError) for end in ended) == 3
    assert len({end for end in ended if isinstance(end, Client)}) == 1


@pytest.mark.parametrize("returned", [None, "client", 5])
async def test_a_factory_that_returns_something_else(returned: Any) -> None:
    """What is no client is refused."""
    with pytest.raises(ConfigurationError, match="returns a Client"):
        async with SharedClient(lambda: returned):
            pass


async def test_factories_that_are_refused() -> None:
    """A coroutine function would return no client; nor is an open client or a view a new one."""

    async def later() -> Client:
        return Client(TOKEN, base_url=URL)

    wrapped: Any = lambda: later()  # noqa: E731
    wrong: list[Any] = [later, None, Client(TOKEN)]
    for factory in wrong:
        with pytest.raises(ConfigurationError, match="factory"):
            SharedClient(factory)
    with pytest.raises(ConfigurationError, match="returns a Client"):
        async with SharedClient(wrapped):
            pass
    async with Client(TOKEN, base_url=URL) as vps:
        old: list[Callable[[], Client]] = [lambda: vps, lambda: vps.with_options(deadline=5)]
        for factory in old:
            with pytest.raises(ConfigurationError, match="new one each time"):
                async with SharedClient(factory):
                    pass


async def test_leaving_what_was_not_entered() -> None:
    """A mistake that would close the client of others is refused."""
    async with SharedClient(made_by(Slow)) as vps:
        with pytest.raises(ConfigurationError, match="not entered"):
            await SharedClient(made_by(Slow)).__aexit__(None, None, None)
        assert is_open(vps)


async def test_another_task_may_leave() -> None:
    """Fixtures and closed generators leave in another task than that which entered."""
    kind = counted()
    shared = SharedClient(made_by(kind))
    vps = await asyncio.create_task(shared.__aenter__())
    assert is_open(vps)
    await asyncio.create_task(shared.__aexit__(None, None, None))
    assert (kind.opened, kind.closed) == (1, 1)


def test_each_loop_and_thread_has_its_own() -> None:
    """A client belongs to one loop: a second loop in another thread opens its own, at the same time."""
    kind, seen, both = counted(), [], threading.Barrier(2, timeout=20)
    shared = SharedClient(made_by(kind))

    async def job() -> None:
        async with shared as vps:
            seen.append(vps)
            await asyncio.to_thread(both.wait)
            assert is_open(vps)

    threads = [threading.Thread(target=lambda: asyncio.run(job())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(seen)) == kind.opened == kind.closed == 2


def test_a_loop_that_ended_inside_leaves_nothing() -> None:
    """A loop that was closed in the middle of a block is forgotten, and the next loop opens its own client."""

    class Inert(Client):
        async def __aenter__(self) -> Any:
            return self

    async def enter() -> Client:
        return await SharedClient(made_by(Inert)).__aenter__()

    async def use() -> Client:
        async with SharedClient(made_by(Inert)) as vps:
            return vps

    first = asyncio.run(enter())
    assert asyncio.run(use()) is not first
    assert vars(shared_client)["_leases"] == {}


async def test_the_one_that_opens_is_cancelled() -> None:
    """The next one in the queue opens its own client; nothing hangs, and nothing stays open."""
    kind = counted()

    async def job() -> Client:
        async with SharedClient(made_by(kind)) as vps:
            await steps()
            return vps

    tasks = [asyncio.create_task(job()) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert len({end for end in ended[1:] if isinstance(end, Client)}) == 1
    assert (kind.opened, kind.closed) == (1, 1)


async def test_the_last_one_is_cancelled_while_it_closes() -> None:
    """Closing runs to its end, and the cancellation is raised then."""
    kind = counted()
    leaving = asyncio.Event()

    async def job() -> None:
        async with SharedClient(made_by(kind)):
            leaving.set()

    task = asyncio.create_task(job())
    await leaving.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with SharedClient(made_by(kind)) as vps:
        assert is_open(vps)
    assert kind.opened == 2


@pytest.mark.parametrize("seed", range(30))
async def test_random_arrivals_and_cancellations(seed: int) -> None:
    """Whoever is cancelled whenever: the client is open in every block, and no one's client stays open."""
    rng, kind, clients = random.Random(seed), counted(), set()

    async def job() -> None:
        async with SharedClient(made_by(kind)) as vps:
            clients.add(vps)
            for _ in range(rng.randrange(6)):
                assert is_open(vps)
                await asyncio.sleep(0)
            assert is_open(vps)

    tasks: list[asyncio.Task[None]] = []
    for _ in range(30):
        tasks.append(asyncio.create_task(job()))
        await steps(rng.randrange(4))
        if rng.random() < 0.4:
            rng.choice(tasks).cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert {type(end) for end in ended} <= {type(None), asyncio.CancelledError}
    assert not any(map(is_open, clients))


async def test_the_token_is_not_shown() -> None:
    """What identifies an account is never readable."""
    shared = SharedClient(made_by(Slow))
    async with shared:
        assert TOKEN not in repr(vars(shared_client)) + repr(shared) + repr(vars(shared))


async def test_a_function_for_the_token_that_has_no_hash() -> None:
    """Any callable object brings a token; the same object is the same account."""

    @dataclass
    class Tokens:
        token: str

        def __call__(self) -> str:
            return self.token

    source = Tokens(TOKEN)
    shared = SharedClient(lambda: Client(source, base_url=URL))
    async with shared as first, shared as second:
        assert first is second
