"""Ready and health checks get the current server; an Exception is a failed check, a BaseException ends everything."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.ends.hook_errors import FAILURES, STOPS, played, raises
from tests.fleet.virtual_account import account, kinds, virtual
from vpsorg_async import Client, Failed, Server, Succeeded, errors
from vpsorg_async.sandbox import Rule, Sandbox, faults

TIMEOUT = 900.0

Ask = Callable[[Client, Any, Any], Awaitable[Server]]


async def by_ready(vps: Client, server: Any, check: Any) -> Server:
    return await vps.wait_until(server.id, "active", timeout=TIMEOUT, ready=check, ready_timeout=60)


async def by_health(vps: Client, server: Any, check: Any, **options: Any) -> Server:
    """The same by a rolling reboot; raises the error of its outcome."""
    report = await vps.fleet.rolling_reboot(
        [server.id], timeout=TIMEOUT, health=check, health_retries=5, **options
    )
    (outcome,) = report.outcomes
    if isinstance(outcome, Failed):
        raise outcome.error
    assert isinstance(outcome, Succeeded)
    assert outcome.server is not None
    return outcome.server


ASKS: dict[str, Ask] = {
    "ready": by_ready,
    "health": by_health,
    "health after a warm-up": functools.partial(by_health, warm_up=20.0),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("plain", [False, True])
@virtual
async def test_a_check_is_asked_about_the_server_as_it_is(ask: Ask, plain: bool) -> None:
    """Each call gets a record that was read after the previous call, and the one that passed is returned."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        seen: list[tuple[str, str]] = []

        def check(now: Server) -> bool:
            # its status changes with each check, to a word that none of them waits for
            seen.append((str(now.status), box.servers[0].status))
            box.world.set_status(server.id, f"word-{len(seen)}")
            return len(seen) == 3

        async def awaited(now: Server) -> bool:
            return check(now)

        found = await ask(vps, server, check if plain else awaited)

        assert seen == [("active", "active"), ("word-1", "word-1"), ("word-2", "word-2")]
        assert found.status == "word-2"


@virtual
async def test_the_first_check_after_a_warm_up_sees_what_the_warm_up_brought() -> None:
    """A record from before the warm-up is too old for the first check."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        words: list[str] = []

        async def check(now: Server) -> bool:
            words.append(str(now.status))
            return True

        def told(event: object) -> None:
            # the server is back within forty seconds, and the check runs a hundred later
            if type(event).__name__ == "CommandAnswered":
                asyncio.get_running_loop().call_later(90.0, box.world.set_status, server.id, "warm")

        await by_health(vps, server, check, warm_up=100.0, on_event=told)

        assert words == ["warm"]


GONE: dict[str, Callable[[Sandbox, Any], Any]] = {
    "it vanished": lambda box, server: box.world.vanish(server.id),
    "it is shown as deleted": lambda box, server: box.world.set_status(server.id, "deleted"),
}


@pytest.mark.parametrize("gone", GONE.values(), ids=GONE)
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@virtual
async def test_a_server_that_is_gone_ends_the_checks(ask: Ask, gone: Callable[[Sandbox, Any], Any]) -> None:
    """A server that vanishes between two checks raises `ServerGoneError` immediately, with the record seen last."""
    async with account(options={"status_words": {"deleted": "gone"}}) as (box, vps):
        (server,) = box.world.add()
        asked = 0

        async def check(now: Server) -> bool:
            nonlocal asked
            asked += 1
            gone(box, server)
            return False

        with pytest.raises(errors.ServerGoneError) as caught:
            await ask(vps, server, check)

        assert asked == 1
        assert caught.value.last_seen is not None
        assert caught.value.last_seen.id == server.id


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("trouble", [faults.Html(503), faults.Gateway(404), faults.DropAfter()])
@virtual
async def test_a_read_that_fails_ends_no_checks(ask: Ask, trouble: faults.Action) -> None:
    """Where the server can't be read between two checks, the check is called again with the record seen last."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        asked = 0

        async def check(now: Server) -> bool:
            nonlocal asked
            asked += 1
            box.faults.add(Rule("get", trouble, times=1))
            return asked == 3

        assert (await ask(vps, server, check)).id == server.id
        assert asked == 3


NOES: dict[str, tuple[Callable[[], Any], str]] = {
    **{
        name: (lambda make=make: raises(make()), type(make()).__name__)  # type: ignore[misc]
        for name, make in FAILURES.items()
        if name != "the end of an iteration"
    },
    "no": (lambda: False, "it said no"),
    "a time-out": (lambda: raises(TimeoutError()), "TimeoutError"),
    "a refused connection": (lambda: raises(ConnectionRefusedError("refused")), "refused"),
}


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("says", "reason"), NOES.values(), ids=NOES)
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@virtual
async def test_what_a_check_raises_is_its_reason(
    ask: Ask, says: Callable[[], Any], reason: str, plain: bool
) -> None:
    """An error, or a cancellation of the check's own, is a failed check; the error of the wait names the last one."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        asked = 0

        def check(now: Server) -> Any:
            nonlocal asked
            asked += 1
            return says()

        async def awaited(now: Server) -> Any:
            return check(now)

        with pytest.raises(errors.WaitError, match=f"last: .*{reason}"):
            await ask(vps, server, check if plain else awaited)
        assert asked >= 5


@pytest.mark.parametrize("ask", [by_ready, by_health])
@virtual
async def test_a_cancellation_while_a_check_runs_is_the_callers(ask: Ask) -> None:
    """A cancellation of the call is no failure of the check: it ends the call immediately."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        began = asyncio.Event()

        async def check(now: Server) -> bool:
            began.set()
            await asyncio.sleep(1000)
            return True

        task = asyncio.ensure_future(ask(vps, server, check))
        await began.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@virtual
async def test_a_caller_that_was_cancelled_before_can_ask() -> None:
    """In a caller that was cancelled before, a check's own cancellation still counts as a failed check."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        said: list[str] = []

        async def check(now: Server) -> bool:
            raises(asyncio.CancelledError())
            return True

        async def clean_up() -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                try:
                    await by_ready(vps, server, check)
                except errors.WaitTimeoutError as error:
                    said.append(str(error))
                raise

        task = asyncio.create_task(clean_up())
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert "last: CancelledError" in said[0]


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@virtual
async def test_a_check_with_wrong_settings_never_passes(ask: Ask) -> None:
    """A `ConfigurationError` of a check will be the same the next time: the wait ends at once."""
    async with account() as (box, vps):
        (server,) = box.world.add()
        asked = 0

        async def check(now: Server) -> bool:
            nonlocal asked
            asked += 1
            raise errors.ConfigurationError("the key file is no key")

        with pytest.raises(errors.NeverReadyError, match="will never be ready: the key file is no key"):
            await ask(vps, server, check)
        assert asked == 1


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
@pytest.mark.parametrize("ask", ["ready", "health"])
def test_a_check_that_ends_everything(ask: str, stop: Callable[[], BaseException], plain: bool) -> None:
    """A BaseException from a check is raised, once the other servers of the run have their outcomes."""
    seen: dict[str, Any] = {}

    def check(now: Server) -> bool:
        raise stop()

    async def awaited(now: Server) -> bool:
        raise stop()

    async def play() -> None:
        given = check if plain else awaited
        async with account() as (box, vps):
            servers = box.world.add(4)
            if ask == "ready":
                await vps.wait_until(servers[0].id, "active", timeout=TIMEOUT, ready=given)
            else:
                run = vps.fleet.rolling(
                    "reboot",
                    [server.id for server in servers],
                    health=given,
                    max_unavailable=2,
                    timeout=600.0,
                )
                async with run as seen["run"]:
                    async for _ in seen["run"]:
                        pass

    assert type(played(play)) is type(stop())
    if ask == "health":
        report = seen["run"].report
        assert len(report.outcomes) == 4
        assert kinds(report) == {"Failed": 1, "Skipped": 3}
        assert report.failed[0].acknowledged
