"""`Sandbox` itself: both ways to enter it, what it refuses, and that it leaves nothing behind."""

import ast
import asyncio
import gc
import json
import math
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import vpsorg_async.sandbox
from vpsorg_async.sandbox import Durations, FaultError, ManualClock, Rule, Sandbox, SandboxError, faults

Arrivals = Callable[[Sandbox, int], Awaitable[None]]
SOURCES = sorted(Path(vpsorg_async.sandbox.__file__).parent.glob("*.py"))


def fetch(box: Sandbox, path: str = "/api/v1/servers/", document: Any = None) -> Any:
    request = urllib.request.Request(
        box.url + path,
        data=None if document is None else json.dumps(document).encode(),
        headers={"Authorization": f"Bearer {box.token}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return json.load(response)
    except urllib.error.HTTPError as refused:
        refused.close()
        raise


def test_the_thread_form(spec: Any) -> None:
    """`with` serves from a thread of its own, hooks work from the test's thread, and nothing is left behind."""
    threads = threading.active_count()
    clock = ManualClock()
    with Sandbox(clock=clock) as box:
        port = int(box.url.rpartition(":")[2])
        fetch(box, document=spec)
        clock.advance(300)
        box.world.add(2, status="stopped")
        box.world.suspend(12346)
        box.world.vanish(12347)
        listed = [server["status"] for server in fetch(box)["results"]]
        box.faults.add(Rule("list", faults.Reply(200, body={"count": -1})))
        assert fetch(box) == {"count": -1}
        box.faults.clear()

    assert listed == ["active", "suspended"]
    assert [entry.status for entry in box.requests] == [201, 200, 200]
    assert threading.active_count() == threads
    with socket.create_server(("127.0.0.1", port)):
        pass
    gc.collect()


async def test_the_async_form(spec: Any) -> None:
    """`async with` serves from the running loop, beside other boxes, and leaves no task behind."""
    tasks = asyncio.all_tasks()

    async with Sandbox() as box, Sandbox(seed=1) as other:
        await asyncio.to_thread(fetch, box, document=spec)
        assert (len(box.servers), len(other.servers)) == (1, 0)
        assert box.url != other.url
        assert box.token != other.token

    assert asyncio.all_tasks() == tasks


def test_the_world_outlives_the_socket(spec: Any) -> None:
    """A sandbox that is entered again has kept its servers, as a provider does over a restart."""
    box = Sandbox()
    with box:
        fetch(box, document=spec)
    with pytest.raises(SandboxError, match="not running"):
        _ = box.url
    with box:
        assert fetch(box)["count"] == 1


async def test_closing_does_not_wait_for_anybody(arrivals: Arrivals) -> None:
    """Clients that idle, wait for ever, are delayed for an hour or do not read are cut off, and commit nothing."""
    stuck = [
        Rule("get", faults.NeverAnswer()),
        Rule("create", faults.Delay(3600)),
        Rule("list", faults.HugeBody(size=2**30)),
        Rule("delete", faults.Dribble(pause=3600)),
    ]
    requests = [b"GET 12345/", b"POST ", b"GET ", b"DELETE 12345/", b""]
    async with Sandbox(faults=stuck) as box:
        box.world.add()
        host, port = box.url.removeprefix("http://").split(":")
        streams = [await asyncio.open_connection(host, int(port)) for _ in requests]
        for text, (_, writer) in zip(requests, streams, strict=True):
            method, _, path = text.partition(b" ")
            if method:
                writer.write(b"%b /api/v1/servers/%b HTTP/1.1\r\nHost: x\r\n" % (method, path))
                writer.write(b"Authorization: Bearer %b\r\n\r\n" % box.token.encode())
        await arrivals(box, 4)

    assert [change.operation for change in box.ledger] == ["delete"]
    for _, writer in streams:
        writer.transport.abort()


async def test_a_port_in_use_is_said_plainly() -> None:
    """A port that is taken is a `SandboxError` that names it, in both forms."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SandboxError, match=f"cannot listen on 127.0.0.1 port {port}: .*in use"):
            async with Sandbox(port=port):
                pass
        threads = threading.active_count()
        with pytest.raises(SandboxError, match=str(port)), Sandbox(port=port):
            pass
        assert threading.active_count() == threads


async def test_a_running_box_is_not_entered_twice() -> None:
    """Entering a running sandbox again is refused, and it runs on."""
    async with Sandbox() as box:
        with pytest.raises(SandboxError, match="running already"):
            await box.__aenter__()
        with pytest.raises(SandboxError, match="running already"):
            box.__enter__()
        assert box.url


@pytest.mark.parametrize("host", ["0.0.0.0", "", "192.0.2.1", "::", "example.com"])
def test_other_machines_are_kept_out(host: str) -> None:
    """A host that is not loopback is refused unless one says so."""
    with pytest.raises(SandboxError, match="allow_remote"):
        Sandbox(host=host)

    Sandbox(host=host, allow_remote=True)


@pytest.mark.parametrize(
    ("host", "origin"), [("localhost", "http://127.0.0.1:"), ("127.0.0.2", "http://127.0.0.2:")]
)
def test_loopback_hosts(host: str, origin: str) -> None:
    """Any loopback address will do, and `localhost` is one address and one port."""
    with Sandbox(host=host) as box:
        assert box.url.startswith(origin)
        assert fetch(box) == {"count": 0, "results": []}


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"latency": -1.0},
        {"latency": math.inf},
        {"speed": 0.0},
        {"credit": -1},
        {"dialect": "klingon"},
        {"order": "random"},
        {"token": ""},
        {"token": "two words"},
        {"token": "line\n"},
        {"token": "t\u00f6ken"},
        {"faults": [{"actions": [{"do": "explode"}]}]},
    ],
)
def test_settings_are_checked_at_once(wrong: dict[str, Any]) -> None:
    """Invalid settings are refused when the sandbox is created."""
    with pytest.raises(SandboxError):
        Sandbox(**wrong)


def test_the_token_is_not_shown() -> None:
    """The token is random, has its prefix, and is not in the repr, running or not."""
    box = Sandbox()

    assert box.token.startswith("vps_sandbox_")
    assert box.token != Sandbox().token
    assert box.token not in repr(box)
    with box:
        assert box.token not in repr(box)
        assert box.url in repr(box)


def test_settings_reach_the_world(spec: Any) -> None:
    """Credit, durations, speed and faults from the start are in force."""
    clock = ManualClock()
    fault = {"operation": "get", "actions": [{"do": "reply", "status": 418}]}
    with Sandbox(
        credit=1, durations=Durations(provisioning=100.0), speed=10, clock=clock, faults=[fault], token="t"
    ) as box:
        fetch(box, document=spec)
        with pytest.raises(OSError, match="402"):
            fetch(box, document=spec)
        clock.advance(10)
        assert fetch(box)["results"][0]["status"] == "active"
        with pytest.raises(OSError, match="418"):
            fetch(box, "/api/v1/servers/12345/")
    assert box.token == "t"


def test_latency_is_real_time() -> None:
    """With a latency each answer of the API takes at least that long, whatever the sandbox's clock does."""
    begin = time.monotonic()
    with Sandbox(latency=0.02, clock=ManualClock()) as box:
        for _ in range(3):
            fetch(box)

    assert time.monotonic() - begin >= 0.06


def test_one_seed_one_course_of_events() -> None:
    """Boxes with the same seed let servers take the same times; another seed, other times."""

    def ends(seed: int) -> list[float | None]:
        box = Sandbox(seed=seed, clock=ManualClock())
        return [server.until for server in box.world.add(5, status="provisioning")]

    assert ends(1) == ends(1) != ends(2)


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_the_manual_clock_goes_forward_only(seconds: float) -> None:
    """A clock moved by hand stands still, advances, and refuses to go back."""
    clock = ManualClock(5)

    assert (clock(), clock.advance(2.5), clock()) == (5, 7.5, 7.5)
    with pytest.raises(SandboxError):
        clock.advance(seconds)


def test_bad_faults_from_python_name_the_field() -> None:
    """A rule in JSON form that is wrong is refused by `add`, and none of its company is taken."""
    box = Sandbox()

    with pytest.raises(FaultError, match="actions"):
        box.faults.add(Rule("get", faults.Garbage()), {"operation": "get"})
    assert box.faults.rules == ()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_second_witness_is_independent(source: Path) -> None:
    """The sandbox imports the standard library and attrs, others only to serve, and nothing of the SDK."""
    homes = {"web_app.py": {"aiohttp"}, "wire.py": {"aiohttp"}, "ssh_server.py": {"asyncssh"}}
    allowed = {"attrs"} | homes.get(source.name, set())
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1
            names = [] if node.level else [(node.module or "").partition(".")[0]]
        else:
            continue
        assert set(names) <= sys.stdlib_module_names | allowed
