"""Tokens that are replaced while a client is open: one renewal after a 401, for all that it refused."""

from __future__ import annotations

import asyncio
import math
import pickle
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.virtual import virtual
from vpsorg_async import Client, Failed, ServerSpec, SharedClient, tokens
from vpsorg_async.config import TOKEN_TIMEOUT
from vpsorg_async.errors import (
    AuthenticationError,
    ConfigurationError,
    OutcomeUnknownError,
    RequestTimeoutError,
)
from vpsorg_async.events import ClientEvent, RequestSent
from vpsorg_async.http.redact import BLANK, Redactor
from vpsorg_async.pytest_plugin import PATIENCE, assert_committed, assert_no_duplicates
from vpsorg_async.sandbox import Rule, Sandbox, faults

SPECS = [ServerSpec(name=f"web-{n:03}", plan_id=1, os_id=5, location="us-west") for n in range(100)]


class Source:
    """A function for a token that counts its calls. ``answer`` is what it returns or raises."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.calls = 0
        self.asked_again = asyncio.Event()
        self.answer: Callable[[], str] = lambda: box.token

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls > 1:
            self.asked_again.set()
        await asyncio.sleep(0)
        return self.answer()

    def client(self, token: Any = None, **options: Any) -> Client:
        return Client(token or self, base_url=self.box.url, **{**PATIENCE, **options})


@pytest.fixture
def source(vpsorg_sandbox: Sandbox) -> Source:
    return Source(vpsorg_sandbox)


def refused(box: Sandbox) -> int:
    return sum(entry.status == 401 for entry in box.requests)


async def test_waits_and_a_fleet_survive_a_new_token(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """The token is replaced while 200 servers are waited for and 100 are created: one renewal, and nothing fails."""
    box = vpsorg_sandbox
    moving = [server.id for server in box.world.add(200)]
    for number in moving:
        box.world.set_status(number, "starting", seconds=math.inf)
    answered = asyncio.Event()

    def hook(event: object) -> None:
        answered.set()

    async with source.client() as vps, asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(vps.wait_until(number, "active", timeout=60)) for number in moving]
        fleet = tasks.create_task(vps.fleet.create(SPECS, timeout=60, on_event=hook))
        await answered.wait()
        assert vps.statistics.waits >= 200
        box.replace_token()
        await source.asked_again.wait()
        report = await fleet
        for number in moving:
            box.world.set_status(number, "active")
        await asyncio.gather(*waits)

    assert len(report.succeeded) == 100
    assert source.calls == 2  # opening, and the renewal
    assert_committed(box, create=100)
    assert_no_duplicates(box)


@pytest.mark.parametrize("operation", ["create", "reboot", "delete", "update", "get"])
async def test_each_call_is_sent_once_more(operation: str, source: Source, vpsorg_sandbox: Sandbox) -> None:
    """A request that was answered by 401 was not applied, so a create and a reboot can be sent again as well."""
    (server,) = vpsorg_sandbox.world.add()
    calls: dict[str, Callable[[Client], Awaitable[object]]] = {
        "create": lambda vps: vps.servers.create(SPECS[0]),
        "reboot": lambda vps: vps.servers.reboot(server.id),
        "delete": lambda vps: vps.servers.delete(server.id),
        "update": lambda vps: vps.servers.update(server.id, name="web-9"),
        "get": lambda vps: vps.servers.get(server.id),
    }
    async with source.client() as vps:
        vpsorg_sandbox.replace_token()
        await calls[operation](vps)

    assert refused(vpsorg_sandbox) == 1
    assert_committed(vpsorg_sandbox, **({} if operation == "get" else {operation: 1}))


async def test_a_token_that_is_the_same_ends_the_call(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """Without another token the 401 stands, after one question for all calls that it refused."""
    async with source.client() as vps:
        old = vpsorg_sandbox.token
        source.answer = lambda: old
        vpsorg_sandbox.replace_token()
        done = await asyncio.gather(*(vps.servers.get(1) for _ in range(20)), return_exceptions=True)

        assert {type(error) for error in done} == {AuthenticationError}
        assert refused(vpsorg_sandbox) == 20
        assert source.calls == 2
        # a later call may find another one
        source.answer = lambda: vpsorg_sandbox.token
        assert await vps.servers.list() == ()


async def test_a_second_401_is_final(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """A service that refuses each token is not asked for ever."""
    async with source.client() as vps:
        source.answer = lambda: f"vps_wrong_{source.calls}"
        vpsorg_sandbox.replace_token()
        with pytest.raises(AuthenticationError):
            await vps.servers.list()

    assert refused(vpsorg_sandbox) == 2


async def test_a_fixed_token_is_refused_as_ever(vpsorg_sandbox: Sandbox) -> None:
    """Without a function, a 401 is raised after one request."""
    async with Client(vpsorg_sandbox.token, base_url=vpsorg_sandbox.url) as vps:
        vpsorg_sandbox.replace_token()
        with pytest.raises(AuthenticationError):
            await vps.servers.list()

    assert len(vpsorg_sandbox.requests) == 1


async def test_a_create_that_may_have_been_applied_is_not_repeated(
    source: Source, vpsorg_sandbox: Sandbox
) -> None:
    """The renewal changes nothing of what is known of a lost create."""

    def token() -> str:
        vpsorg_sandbox.faults.add(Rule("create", faults.DropAfter(), times=1))
        return vpsorg_sandbox.token

    async with source.client() as vps:
        source.answer = token
        vpsorg_sandbox.replace_token()
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.create(SPECS[0])

    assert_committed(vpsorg_sandbox, create=1)


async def test_a_function_that_fails(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """Its error is a note of the 401, and a ConfigurationError when the client is opened."""

    def broken() -> str:
        raise OSError("the vault is sealed")

    async with source.client() as vps:
        source.answer = broken
        vpsorg_sandbox.replace_token()
        with pytest.raises(AuthenticationError) as caught:
            await vps.servers.list()
        assert "the vault is sealed" in caught.value.__notes__[0]
    with pytest.raises(ConfigurationError, match="the vault is sealed"):
        await source.client().__aenter__()
    nothings: list[tuple[Any, str]] = [(None, "returned NoneType"), (" ", "returned an empty text")]
    for nothing, named in nothings:
        source.answer = lambda nothing=nothing: nothing  # type: ignore[misc]
        with pytest.raises(ConfigurationError, match=f"the function for the token {named}, not a token"):
            await source.client().__aenter__()
    source.answer = lambda: "no token"
    with pytest.raises(ConfigurationError, match="header"):
        await source.client().__aenter__()


async def test_plain_functions_run_in_a_thread(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """A function that reads a file or runs a command does not stop the loop."""
    threads: list[threading.Thread] = []

    def token() -> str:
        threads.append(threading.current_thread())
        return vpsorg_sandbox.token

    async with source.client(token) as vps:
        vpsorg_sandbox.replace_token()
        assert await vps.servers.list() == ()

    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_the_end_of_one_call_does_not_end_the_renewal(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """A call that is cancelled, or whose deadline passes, leaves the renewal to the others."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def token() -> str:
        if source.calls:
            asked.set()
            await go_on.wait()
        return await source()

    async with source.client(token) as vps:
        vpsorg_sandbox.replace_token()
        first = asyncio.create_task(vps.servers.list())
        await asked.wait()
        second = asyncio.create_task(vps.servers.list())
        first.cancel()
        # whether the deadline passes in the first attempt or in the renewal depends on the machine
        with pytest.raises((AuthenticationError, RequestTimeoutError)):
            await vps.with_options(deadline=0.05).servers.list()
        go_on.set()
        assert await second == ()


async def test_closing_ends_a_renewal(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """A function that never returns keeps no client open."""
    asked = asyncio.Event()

    async def token() -> str:
        if source.calls:
            asked.set()
            await asyncio.Event().wait()
        return await source()

    async with source.client(token) as vps:
        vpsorg_sandbox.replace_token()
        call = asyncio.create_task(vps.servers.list())
        await asked.wait()
    with pytest.raises(AuthenticationError):
        await call


async def test_a_renewal_that_is_cancelled(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """A function that cancels its own task does not cancel the calls that wait for it: the 401 stands."""

    async def token() -> str:
        if source.calls:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        return await source()

    async with source.client(token) as vps:
        vpsorg_sandbox.replace_token()
        with pytest.raises(AuthenticationError):
            await vps.servers.list()


@virtual
async def test_a_function_that_never_returns() -> None:
    """Opening a client ends after half a minute, and the error says why."""

    async def token() -> str:
        await asyncio.Event().wait()
        return ""

    with pytest.raises(ConfigurationError, match="the function for the token did not return within 30 s"):
        await Client(token).__aenter__()
    assert asyncio.get_running_loop().time() == TOKEN_TIMEOUT


async def test_a_function_may_end_the_program(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """`SystemExit` of the function is raised by the calls that wait for it."""

    def leave() -> str:
        raise SystemExit(3)

    async with source.client() as vps:
        source.answer = leave
        vpsorg_sandbox.replace_token()
        with pytest.raises(SystemExit):
            await vps.servers.list()


async def test_events_show_the_second_attempt(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """Hooks see both attempts, and never a token."""
    events: list[ClientEvent] = []
    async with source.client(on_event=events.append) as vps:
        old = vpsorg_sandbox.token
        vpsorg_sandbox.replace_token()
        await vps.servers.list()

    assert [event.attempt for event in events if isinstance(event, RequestSent)] == [1, 2]
    assert old not in repr(events)
    assert vpsorg_sandbox.token not in repr(events)


async def test_both_tokens_are_redacted(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """Answers that repeat the new token, or the one before, do not show it."""
    old = vpsorg_sandbox.token.replace("vps_", "own_")
    vpsorg_sandbox.replace_token(old)
    async with source.client() as vps:
        new = vpsorg_sandbox.replace_token("own_second_token_1234")
        vpsorg_sandbox.faults.add(
            Rule("get", faults.Reply(400, {"detail": f"neither {old} nor {new}"}), times=1)
        )
        await vps.servers.list()
        with pytest.raises(Exception, match=f"neither {BLANK.replace('*', '[*]')} nor") as caught:
            await vps.servers.get(1)
    assert old not in str(caught.value)
    assert new not in str(caught.value)
    assert new not in pickle.dumps(caught.value).decode("latin-1")


def test_a_redactor_forgets_old_tokens() -> None:
    """A client whose token is replaced each hour does not search for all of them for ever."""
    redact = Redactor("first-token-1")
    for number in range(2, 9):
        redact.add(f"other-token-{number}")

    assert redact("other-token-8 other-token-7") == f"{BLANK} {BLANK}"
    assert redact("first-token-1") == "first-token-1"


async def test_clients_with_the_same_function_are_shared(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """Two factories whose clients ask the same function share one client."""
    async with SharedClient(source.client) as one, SharedClient(source.client) as other:
        assert one is other


# -- functions for tokens --------------------------------------------------------------------------------------------


async def test_a_file_that_is_read_again(source: Source, vpsorg_sandbox: Sandbox, tmp_path: Path) -> None:
    """A token that is written to the file is used after the next 401."""
    file = tmp_path / "token"
    file.write_text(vpsorg_sandbox.token + "\n")
    async with source.client(tokens.from_file(file)) as vps:
        file.write_text(vpsorg_sandbox.replace_token() + "\n")
        assert await vps.servers.list() == ()
        file.unlink()
        vpsorg_sandbox.replace_token()
        with pytest.raises(AuthenticationError) as caught:
            await vps.servers.list()
    assert "No such file" in caught.value.__notes__[0]


async def test_a_command_that_runs_again(source: Source, vpsorg_sandbox: Sandbox, tmp_path: Path) -> None:
    """A command prints the token, without a shell."""
    file = tmp_path / "token of mine"
    file.write_text(vpsorg_sandbox.token + "\nmore\n")
    async with source.client(tokens.from_command(f"cat '{file}'")) as vps:
        file.write_text(vpsorg_sandbox.replace_token() + "\n")
        assert await vps.servers.list() == ()


@pytest.mark.parametrize(
    ("command", "timeout", "said"),
    [
        ("false", 30.0, "exit code 1"),
        ("true", 30.0, "printed nothing"),
        (["no-such-command-here"], 30.0, "No such file"),
        (["sleep", "60"], 0.1, "did not end within"),
    ],
)
def test_commands_that_bring_no_token(command: Any, timeout: float, said: str) -> None:
    """What went wrong is said; the arguments, which may be secret, are not repeated."""
    with pytest.raises(ConfigurationError, match=said):
        tokens.from_command(command, timeout=timeout)()


@pytest.mark.parametrize("command", ["", [], "an 'open quote"])
def test_commands_that_are_none(command: Any) -> None:
    """They are refused when the function is made."""
    with pytest.raises(ConfigurationError):
        tokens.from_command(command)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_files_without_a_token(content: bytes, tmp_path: Path) -> None:
    """An empty file, and one that is no text, are no tokens."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigurationError):
        tokens.from_file(tmp_path / "token")()


async def test_a_fleet_without_another_token_stops(source: Source, vpsorg_sandbox: Sandbox) -> None:
    """After the 401 that stands no further create leaves, as always."""
    async with source.client(max_in_flight=1) as vps:
        old = vpsorg_sandbox.token
        source.answer = lambda: old

        def hook(event: object) -> None:
            if vpsorg_sandbox.token == old and vpsorg_sandbox.ledger:
                vpsorg_sandbox.replace_token()

        report = await vps.fleet.create(SPECS[:10], timeout=60, on_event=hook)

    assert len(report.succeeded) == 0
    assert len(report.skipped) >= 1
    assert any(
        isinstance(failed.error, AuthenticationError)
        for failed in report.failed
        if isinstance(failed, Failed)
    )
    assert len(vpsorg_sandbox.ledger) < 10
