"""The client for code that is not async, against a sandbox on real sockets."""

from __future__ import annotations

import asyncio
import contextvars
import math
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import vpsorg_async
from vpsorg_async import Report, Server, ServerSpec, Succeeded, ready
from vpsorg_async.errors import ClientClosedError, ConfigurationError, NotFoundError
from vpsorg_async.events import CommandAnswered, RequestSent
from vpsorg_async.pytest_plugin import assert_committed, assert_no_duplicates, assert_requests
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.sync import Client

SPECS = [ServerSpec(name=f"web-{n}", plan_id=1, os_id=5, location="us-west") for n in range(4)]


def interrupt() -> None:
    """What Ctrl-C does to the main thread, whichever thread calls this."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def ids_of(box: Sandbox, count: int) -> list[Any]:
    return [server.id for server in box.world.add(count)]


# -- calls -----------------------------------------------------------------------------------------------------------


def test_a_script(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """Servers, waits, look-ups and requests work from plain code, and a block closes the client."""
    with vps:
        server = vps.servers.create(SPECS[0])
        server = vps.wait_until(server.id, "active", timeout=60)
        vps.servers.reboot(server)
        receipt = vps.receipt(server)
        assert receipt is not None
        assert vps.wait_until(receipt, "active", timeout=60).id == server.id
        assert vps.servers.update(server, hostname="a.example.com").hostname == "a.example.com"
        assert [found.id for found in vps.servers.list()] == [server.id]
        assert vps.listing().lacks is None or not vps.listing().lacks
        assert vps.plans.list()
        assert vps.account.me().email
        assert vps.request("GET", f"/servers/{server.id}/")["name"] == "web-0"
        assert vps.last_status(server) == "active"
        assert vps.expected("create") is not None
        assert vps.statistics.waits == 0
        vps.servers.delete(server)
        assert vps.wait_until(server, "gone", timeout=60).status == "gone"

    assert_committed(vpsorg_sandbox, create=1, reboot=1, update=1, delete=1)
    with pytest.raises(ClientClosedError):
        vps.servers.list()


def test_errors_are_those_of_the_async_client(vps: Client) -> None:
    """An error of the API or of an argument is raised in the calling thread."""
    with pytest.raises(NotFoundError):
        vps.servers.get(404)
    with pytest.raises(ConfigurationError):
        vps.wait_until(1, "actve", timeout=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        vps.servers.get()  # type: ignore[call-arg]


def test_a_fleet(vps: Client, vpsorg_sandbox: Sandbox, tmp_path: Path) -> None:
    """Fleet calls return reports, keep a journal, and hand events to hooks."""
    events: list[object] = []
    report = vps.fleet.create(SPECS, timeout=60, journal=tmp_path / "fleet.db", on_event=events.append)
    assert len(report.servers) == 4
    assert len([event for event in events if isinstance(event, CommandAnswered)]) == 4
    again = vps.fleet.ensure(SPECS, timeout=60, journal=tmp_path / "fleet.db")
    assert {outcome.how for outcome in again.succeeded} == {"adopted"}
    other = ServerSpec(name="db-1", plan_id=1, os_id=5, location="us-west")
    assert len(vps.fleet.create([other], dry_run=True).steps) == 1
    vps.fleet.rolling_reboot(report.servers, timeout=60).raise_for_failures()

    assert_committed(vpsorg_sandbox, create=4, reboot=4)
    assert_no_duplicates(vpsorg_sandbox)


def test_a_report_is_retried_by_the_fleet(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """`Report.retry_failed` is async: the fleet has it for code that is not."""
    vpsorg_sandbox.faults.add(Rule("create", faults.Reply(400, {"detail": "no such plan"}), times=1))

    report = vps.fleet.create(SPECS, timeout=60)
    assert len(report.failed) == 1
    assert len(vps.fleet.retry_failed(report).succeeded) == 4
    assert isinstance(pickle.loads(pickle.dumps(report)), Report)


def test_runs_and_iterators(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """What is an async iterator or context manager in the async client is a plain one here."""
    with vps.fleet.creating(SPECS, timeout=60) as run:
        outcomes = list(run)
    assert len(outcomes) == len(run.report.succeeded) == 4
    run.roll_back("no longer needed")
    assert {failed.key for failed in run.report.failed} == {spec.name for spec in SPECS}

    ids = ids_of(vpsorg_sandbox, 3)
    with vps.fleet.rolling("reboot", ids, timeout=60) as rolling:
        rolling.pause()
        assert rolling.paused
        rolling.resume()
        assert [type(outcome) for outcome in rolling] == [Succeeded] * 3
    assert {outcome.server_id for outcome in vps.wait_until_all(ids, "active", timeout=60)} == set(ids)
    changes = vps.watch(interval=0.01)
    assert next(changes).change == "present"
    changes.close()


def test_an_iteration_that_is_left_ends_its_waits(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """After a ``break`` the other waits are left; arguments are checked when the generator is created."""
    number, moving = ids_of(vpsorg_sandbox, 2)
    vpsorg_sandbox.world.set_status(moving, "starting", seconds=math.inf)
    with pytest.raises(ConfigurationError):
        vps.wait_until_all([number], "active", timeout=60, ready_timeout=-1)
    for outcome in vps.wait_until_all([number, moving], "active", timeout=600):
        assert outcome.server_id == number
        break

    while vps.statistics.waits:
        vps.servers.list()


def test_a_view_has_options_of_its_own(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """A view shares the client, and is neither opened nor closed."""
    view = vps.with_options(headers={"X-Run": "7"})
    view.servers.list()
    with pytest.raises(ConfigurationError, match="view"):
        view.__enter__()
    with pytest.raises(ConfigurationError, match="view"):
        view.close()
    vps.close()
    with pytest.raises(ClientClosedError):
        view.servers.list()


# -- threads and loops -----------------------------------------------------------------------------------------------


def test_threads_share_one_client(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """Waits of many threads share their polls: none reads its server by itself."""
    ids = ids_of(vpsorg_sandbox, 30)
    for number in ids:
        vpsorg_sandbox.world.set_status(number, "starting", seconds=math.inf)

    with ThreadPoolExecutor(len(ids)) as pool:
        waits = [pool.submit(vps.wait_until, number, "active", timeout=60) for number in ids]
        while vps.statistics.waits < len(ids):
            pass
        before = len(vpsorg_sandbox.requests)
        for number in ids:
            vpsorg_sandbox.world.set_status(number, "active")
        servers = [wait.result() for wait in waits]

    assert {server.status for server in servers} == {"active"}
    own = [entry for entry in vpsorg_sandbox.requests[before:] if not entry.path.endswith("/servers/")]
    assert len(own) < len(ids)


def test_a_running_loop_is_no_obstacle(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """A cell of a notebook runs inside an event loop, and can call the client there."""
    (number,) = ids_of(vpsorg_sandbox, 1)

    async def cell() -> Server:
        return vps.wait_until(number, "active", timeout=60)

    assert asyncio.run(cell()).id == number


def test_checks_that_are_functions_run_in_threads(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """A check that blocks does not stop the client: here each waits for the other, and uses the client."""
    both = threading.Barrier(2)

    def check(server: Server) -> bool:
        both.wait()
        return vps.servers.get(server).status == "active"

    assert len(vps.fleet.create(SPECS[:2], timeout=60, ready=check).succeeded) == 2


def test_checks_that_are_coroutines_run_in_the_client(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """Async checks and those of the package are awaited as they are; what makes a check is refused as always."""
    (number,) = ids_of(vpsorg_sandbox, 1)
    threads: list[str] = []

    async def check(server: Server) -> bool:
        threads.append(threading.current_thread().name)
        return True

    assert vps.wait_until(number, "active", timeout=60, ready=ready.all_of(check)).id == number
    assert vps.wait_until(number, "active", timeout=60, ready=check).id == number
    assert set(threads) == {"vpsorg-client"}
    with pytest.raises(ConfigurationError, match=r"ready\.tcp"):
        vps.wait_until(number, "active", timeout=60, ready=ready.tcp)  # type: ignore[arg-type]


def test_a_hook_cannot_call_the_client(make: Callable[..., Client]) -> None:
    """A call from the client's own thread would wait for itself, and is refused."""
    refused: list[str] = []

    def hook(_: object) -> None:
        try:
            vps.servers.list()
        except ConfigurationError as error:
            refused.append(str(error))

    vps = make(on_event=hook)
    vps.servers.list()

    assert "own thread" in refused[0]


def test_the_context_of_the_caller_is_kept(make: Callable[..., Client]) -> None:
    """Hooks and traces see the context variables of the thread that called."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
    seen: set[str] = set()
    vps = make(on_event=lambda event: seen.add(user.get()) if isinstance(event, RequestSent) else None)

    user.set("anna")
    vps.servers.list()

    assert seen == {"anna"}


# -- interrupts and ends ---------------------------------------------------------------------------------------------


def test_an_interrupt_leaves_a_wait(make: Callable[..., Client], vpsorg_sandbox: Sandbox) -> None:
    """Ctrl-C during a wait is raised in the main thread; the wait is gone, and the client can be used."""
    (number,) = ids_of(vpsorg_sandbox, 1)
    waiting = threading.Event()
    vps = make(on_event=lambda event: interrupt() if waiting.is_set() and not waiting.clear() else None)  # type: ignore[func-returns-value]
    vpsorg_sandbox.world.set_status(number, "starting", seconds=math.inf)

    waiting.set()
    with pytest.raises(KeyboardInterrupt):
        vps.wait_until(number, "active", timeout=600)

    assert vps.statistics.waits == 0
    assert vps.servers.get(number).id == number


def test_an_interrupt_loses_nothing_of_a_fleet(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """After Ctrl-C each server that was created is in the report."""
    inside, once = threading.Event(), iter([True])

    def interrupt_inside(*_: object) -> bool:
        """Interrupt the block at an answer or, where all answers came before it, at a check."""
        if inside.is_set() and next(once, False):
            interrupt()
        return False

    def hook(event: object) -> None:
        if isinstance(event, CommandAnswered):
            interrupt_inside()

    def outcomes_of(run: Iterable[object]) -> list[object]:
        inside.set()
        return list(run)

    with (
        pytest.raises(KeyboardInterrupt),
        vps.fleet.creating(SPECS, timeout=600, on_event=hook, ready=interrupt_inside) as run,
    ):
        outcomes_of(run)

    created = {change.server_id for change in vpsorg_sandbox.ledger if change.operation == "create"}
    assert created <= {failed.server_id for failed in run.report.failed}
    assert len(run.report.outcomes) == len(SPECS)


def test_a_hook_that_ends_the_program(make: Callable[..., Client]) -> None:
    """`SystemExit` of a hook is raised in the thread that called, which does not hang."""

    def hook(_: object) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        make(on_event=hook).servers.list()


def test_closing_ends_the_calls_of_other_threads(vps: Client, vpsorg_sandbox: Sandbox) -> None:
    """A wait in another thread ends when the client is closed; closing again does nothing."""
    (number,) = ids_of(vpsorg_sandbox, 1)
    vpsorg_sandbox.world.set_status(number, "starting", seconds=math.inf)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(vps.wait_until, number, "active", timeout=600)
        while not vps.statistics.waits:
            pass
        vps.close()
        with pytest.raises(ClientClosedError):
            waiting.result()
    vps.close()
    with pytest.raises(ClientClosedError):
        vps.__enter__()


def test_a_client_that_was_never_opened(make: Callable[..., Client]) -> None:
    """Closing it is allowed, and final."""
    vps = make()
    vps.close()
    with pytest.raises(ClientClosedError):
        vps.servers.list()


def test_a_client_that_is_forgotten(make: Callable[..., Client], vpsorg_sandbox: Sandbox) -> None:
    """A client that nobody holds any more warns, and its thread ends."""
    forgotten = [Client(vpsorg_sandbox.token, base_url=vpsorg_sandbox.url)]
    forgotten[0].servers.list()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "vpsorg-client"]

    with pytest.warns(ResourceWarning, match="not closed"):
        forgotten.clear()

    thread.join(30)
    assert not thread.is_alive()


def test_an_opening_that_fails(vpsorg_sandbox: Sandbox, tmp_path: Path) -> None:
    """What the async client raises when it is opened is raised by the call that opens it."""
    vps = Client(vpsorg_sandbox.token, base_url=vpsorg_sandbox.url, tracing=lambda clock, url: 1 / 0)  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        vps.servers.list()
    vps.close()


def test_a_client_is_not_copied(vps: Client) -> None:
    """It holds a token and a thread."""
    with pytest.raises(ConfigurationError, match="pickled"):
        pickle.dumps(vps)


@pytest.mark.parametrize("option", [{"proxy": "no address with secret-7"}, {"max_in_flight": 0}])
def test_no_traceback_shows_the_token(option: dict[str, Any]) -> None:
    """Tracebacks with local variables show neither the token nor a password."""
    with pytest.raises(ConfigurationError) as caught:
        Client("vps_token-7", base_url="https://example.com", **option)

    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "\n".join(
        value
        for frame in frames.stack
        if Path(vpsorg_async.__file__).parent in Path(frame.filename).parents
        for value in (frame.locals or {}).values()
    )
    assert "token-7" not in text
    assert "secret-7" not in text


def test_the_environment(vpsorg_env: Sandbox) -> None:
    """`Client.from_env` reads what the async one reads."""
    with Client.from_env(max_in_flight=2) as vps:
        assert vps.servers.list() == ()
        assert repr(vps) == f"Client(base_url={vpsorg_env.url!r})"
    assert_requests(vpsorg_env, "GET */servers/", 1)
