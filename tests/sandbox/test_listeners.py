"""Servers that listen: when their ports are open, what they speak, and that nothing of it is left behind."""

import asyncio
import gc
import json
import math
import os
import socket
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from random import Random
from typing import Any

import pytest

from tests.virtual import virtual
from vpsorg_async import Client, ServerSpec
from vpsorg_async.pytest_plugin import RunVirtually
from vpsorg_async.sandbox import Durations, FaultError, ManualClock, Rule, Sandbox, SandboxError, faults
from vpsorg_async.sandbox.records import Server

FIXED = Durations(provisioning=180.0, starting=10.0, stopping=20.0, rebooting=30.0)
BANNER = b"SSH-2.0-VPSorgSandbox_1\r\n"
OK = b"HTTP/1.1 200 OK"
PORTS = {"ssh": 2222, "http": 8080, "tcp": 5432}


class Tried:
    """What a port does, seen from outside: closed, or its first line, or b"" if it sends nothing."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box

    async def __call__(self, port: int = 2222, number: int = 0, request: bytes = b"") -> bytes | None:
        server = self._box.servers[number]
        assert server.ip_address is not None
        try:
            reader, writer = await asyncio.open_connection(server.ip_address, port)
        except ConnectionError:
            return None
        writer.write(request)
        # The other half sends nothing after this, so that a port that sends nothing is seen without waiting.
        writer.write_eof()
        heard = await reader.read()
        writer.close()
        return heard


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def box(clock: ManualClock) -> AsyncIterator[Sandbox]:
    settings: Any = {"boot": 10.0, "ports": PORTS, "ssh": False}
    async with Sandbox(clock=clock, durations=FIXED, **settings) as running:
        yield running


@pytest.fixture
def tried(box: Sandbox) -> Tried:
    return Tried(box)


async def test_a_server_answers_after_its_boot(box: Sandbox, tried: Tried, clock: ManualClock) -> None:
    """It has an address of its own when it is active, and listens when it has booted."""
    (server,) = box.world.add(status="provisioning")
    assert server.ip_address is None
    clock.advance(180)
    (server,) = box.servers
    assert (server.status, server.ipv6_address) == ("active", None)
    clock.advance(9.9)
    assert [await tried(port) for port in PORTS.values()] == [None, None, None]

    clock.advance(0.1)
    assert await tried(2222) == BANNER
    assert (await tried(8080, request=b"GET /any HTTP/1.1\r\n\r\n") or b"").startswith(OK)
    assert (await tried(8080, request=b"HEAD / HTTP/1.1\r\n\r\n") or b"").endswith(b"close\r\n\r\n")
    assert await tried(5432) == b""
    assert box.endpoint(server.id, 5432) == (server.ip_address, 5432)


async def test_addresses_differ(box: Sandbox, tried: Tried, clock: ManualClock) -> None:
    """Servers have different addresses, also those of a second sandbox with the same ports and the same seed."""
    async with Sandbox(clock=clock, boot=0, ports=PORTS, ssh=False) as other:
        servers = (*box.world.add(300), *other.world.add(3))
        addresses = [server.ip_address or "" for server in servers]
        assert len(set(addresses)) == 303
        assert all(address.startswith("127.") for address in addresses)
        clock.advance(10)
        assert await tried(2222, 49) == await Tried(other)(2222, 2) == BANNER


@pytest.mark.parametrize(
    ("stop", "again"),
    [
        (lambda box, one: box.world.set_status(one, "rebooting"), 30.0),
        (lambda box, one: box.world.set_status(one, "stopping"), None),
        (lambda box, one: box.world.set_status(one, "maintenance", seconds=5.0), 5.0),
        (lambda box, one: box.world.suspend(one), None),
        (lambda box, one: box.world.vanish(one), None),
        (lambda box, one: box.world.set_boot(one, never=True), None),
        (lambda box, one: box.reset(), None),
    ],
    ids=["reboot", "stop", "other", "suspend", "vanish", "dead", "reset"],
)
async def test_what_closes_the_ports(
    box: Sandbox, tried: Tried, clock: ManualClock, stop: Callable[[Sandbox, Any], Any], again: float | None
) -> None:
    """Whatever ends a boot closes the ports and cuts the connections; after the next one a boot time passes again."""
    box.world.add(2, age=60)
    assert await tried() == BANNER
    server = box.servers[0]
    reader, writer = await asyncio.open_connection(server.ip_address, 5432)

    stop(box, server.id)
    assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(server.ip_address, 2222)
    with pytest.raises(SandboxError, match="does not listen on port 2222"):
        box.endpoint(server.id, 2222)
    if again is not None:
        clock.advance(again + 9.9)
        assert await tried() is None
        clock.advance(0.1)
        assert await tried() == BANNER


async def test_what_is_no_boot(box: Sandbox, tried: Tried) -> None:
    """A new name, backups or a status that stays the same cut no connection."""
    (server,) = box.world.add(age=60)
    assert server.ip_address is not None
    reader, writer = await asyncio.open_connection(server.ip_address, 8080)
    request = urllib.request.Request(
        f"{box.url}/api/v1/servers/{server.id}/",
        data=b'{"name": "other"}',
        headers={"Authorization": f"Bearer {box.token}", "Content-Type": "application/json"},
        method="PATCH",
    )
    (await asyncio.to_thread(urllib.request.urlopen, request)).close()
    box.world.set_status(server.id, "active")
    box.world.set_boot(server.id, cloud_init="error")

    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await reader.read()).startswith(OK)
    writer.close()
    assert (box.servers[0].name, box.servers[0].boots) == ("other", 1)


PLANS: list[tuple[dict[str, Any], list[bytes | None]]] = [
    ({}, [None, BANNER, BANNER]),
    ({"never": True}, [None, None, None]),
    ({"seconds": 0}, [BANNER, BANNER, BANNER]),
    ({"banner": False}, [None, b"", b""]),
    ({"dies_after": 15}, [None, BANNER, None]),
]


@pytest.mark.parametrize(("plan", "heard"), PLANS)
@pytest.mark.parametrize("way", ["hook", "fault", "json"])
async def test_boots_that_go_wrong(
    box: Sandbox, tried: Tried, clock: ManualClock, plan: dict[str, Any], heard: list[bytes | None], way: str
) -> None:
    """A plan that comes from a hook, from a fault on create or from the control endpoint has the same effect."""
    rules: dict[str, Any] = {
        "fault": Rule("create", faults.SetBoot(**plan), nth=2),
        "json": {"operation": "create", "actions": [{"do": "set_boot", **plan}], "nth": 2},
    }
    if way == "fault":
        box.faults.add(rules["fault"])
    elif way == "json":
        await asyncio.to_thread(post, box, "/_sandbox/faults", {"rules": [rules["json"]]})
    for name in ("a", "b"):
        spec = {"name": name, "plan_id": 1, "os_id": 5, "location": "us-west"}
        await asyncio.to_thread(post, box, "/api/v1/servers/", spec)
    if way == "hook":
        box.world.set_boot(box.servers[1].id, **plan)
    for seconds, expected in zip((180, 10, 15), heard, strict=True):
        clock.advance(seconds)
        assert await tried(2222, 1) == expected

    assert await tried(2222, 0) == BANNER


async def test_a_plan_stays_until_it_is_replaced(box: Sandbox, tried: Tried, clock: ManualClock) -> None:
    """A plan holds for later boots as well; one without fields heals the server at once."""
    (server,) = box.world.add(age=60)
    box.world.set_boot(server.id, never=True)
    box.world.set_status(server.id, "rebooting")
    clock.advance(60)
    assert await tried() is None

    box.world.set_boot(server.id)
    assert await tried() == BANNER


async def test_a_reboot_that_never_ends(box: Sandbox, tried: Tried, clock: ManualClock) -> None:
    """A fault on reboot changes the boot that follows."""
    box.faults.add(Rule("reboot", faults.SetBoot(never=True)))
    (server,) = box.world.add(age=60)

    await asyncio.to_thread(post, box, f"/api/v1/servers/{server.id}/reboot/")
    clock.advance(60)

    assert box.servers[0].status == "active"
    assert await tried() is None


async def test_a_limit(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """No more servers listen than allowed; the others are named, and listen when there is room."""
    async with Sandbox(clock=clock, boot=0, ssh=False, max_listening=2) as box:
        servers = box.world.add(4)
        tried = Tried(box)
        assert [await tried(2222, n) for n in range(4)] == [BANNER, BANNER, None, None]
        assert box.unserved == tuple(server.id for server in servers[2:])
        said = [record.message for record in caplog.records]
        assert said == ["2 servers listen (max_listening); the others wait"]
        box.world.suspend(servers[0].id)
        await asyncio.sleep(0)
        assert [await tried(2222, n) for n in range(4)] == [None, BANNER, BANNER, None]
        box.world.vanish(servers[3].id)
        assert box.unserved == ()


async def test_many_at_once(clock: ManualClock) -> None:
    """Of many servers that boot at one moment all listen in the end, and the loop runs in between."""
    async with Sandbox(clock=clock, boot=0, ssh=False, ports={"tcp": 7777}, max_listening=400) as box:
        servers = box.world.add(400)
        listening: list[Any] = []
        while len(listening) < 400:
            listening = await asyncio.to_thread(listeners, box)
        assert {row["server_id"] for row in listening} == {server.id for server in servers}
        assert listening[0]["host"] == servers[0].ip_address
        assert listening[0]["ports"] == {"7777": 7777}


def test_the_thread_form(clock: ManualClock) -> None:
    """Hooks and the clock return when the ports have followed; the listeners are in the control endpoint."""
    threads = threading.active_count()
    with Sandbox(clock=clock, durations=FIXED, boot=10, ssh=False) as box:
        (server,) = box.world.add(age=0)
        assert not answers(server)
        clock.advance(10)
        assert answers(server)
        assert listeners(box) == [
            {"server_id": server.id, "host": server.ip_address, "ports": {"2222": 2222, "8080": 8080}}
        ]
        box.world.set_status(server.id, "rebooting")
        assert not answers(server)
        clock.advance(40)
        assert answers(server)
        box.world.add(70, age=60)
        assert all(answers(server) for server in box.servers)
    assert not answers(server)
    assert threading.active_count() == threads
    gc.collect()


def test_in_real_time() -> None:
    """Without a manual clock the ports open by a timer, `speed` times as fast; the world outlives the sockets."""
    box = Sandbox(boot=(60, 300), speed=100_000, ssh=False, ports={"http": 8080})
    (server,) = box.world.add(age=0)
    for _ in range(2):
        with box:
            (server,) = box.servers
            for _ in range(100_000):
                if answers(server, 8080):
                    break
            else:
                raise AssertionError("never answered")
        assert not answers(server, 8080)


@virtual
async def test_in_virtual_time() -> None:
    """On a virtual clock the ports open at their time exactly, and everything but waiting is real."""
    loop = asyncio.get_running_loop()
    async with Sandbox(clock=loop.time, durations=FIXED, boot=(5, 20), ports=PORTS) as box:
        tried = Tried(box)
        box.world.add(50, status="provisioning")
        opened = dict[int, float]()
        while len(opened) < 50:
            for number, server in enumerate(box.servers):
                if number not in opened and server.ip_address and await tried(2222, number) is not None:
                    opened[number] = loop.time()
            await asyncio.sleep(1)
        assert set(map(math.floor, opened.values())) <= set(range(185, 202))
        assert len(set(opened.values())) > 5
        assert (await tried(8080, request=b"GET / HTTP/1.1\r\n\r\n") or b"").startswith(OK)
        assert await tried(5432) == b""


@pytest.mark.parametrize("seed", range(5))
async def test_ports_follow_whatever_happens(seed: int) -> None:
    """After any change exactly those servers listen that have been active for their boot time."""
    dice, manual = Random(seed), ManualClock()
    async with Sandbox(clock=manual, durations=FIXED, boot=10, ports={"tcp": 6565}) as box:
        actions: list[Callable[[Any], Any]] = [
            lambda one: box.world.add(status=dice.choice(["active", "provisioning", "stopped"]), age=0),
            lambda one: box.world.add(status="active", age=60),
            lambda one: box.world.set_status(one, dice.choice(["rebooting", "stopping", "starting", "odd"])),
            lambda one: box.world.set_status(one, "odd", seconds=dice.randrange(20)),
            lambda one: box.world.suspend(one),
            lambda one: box.world.vanish(one),
            lambda one: manual.advance(dice.randrange(15)),
            lambda one: manual.advance(dice.randrange(100)),
        ]
        known = {server.address: server.id for server in box.world.add(3, age=0)}
        for _ in range(60):
            dice.choice(actions)(
                dice.choice([server.id for server in box.servers] or [box.world.add()[0].id])
            )
            known |= {server.address: server.id for server in box.servers}
            expected = {
                server.address
                for server in box.servers
                if server.active_since is not None and manual() - server.active_since >= 10
            }
            assert {address for address in known if await opens(address, 6565)} == expected


async def opens(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except ConnectionError:
        return False
    writer.close()
    return True


def test_on_uvloop() -> None:
    """Another event loop serves the ports in the same way, and closes them as quickly."""
    uvloop = pytest.importorskip("uvloop")

    async def scenario() -> None:
        manual = ManualClock()
        async with Sandbox(clock=manual, boot=5, ports=PORTS, ssh=False) as box:
            (server,) = box.world.add(age=0)
            tried = Tried(box)
            assert await tried() is None
            manual.advance(5)
            assert await tried() == BANNER
            assert (await tried(8080, request=b"GET / HTTP/1.1\r\n\r\n") or b"").startswith(OK)
            reader, writer = await asyncio.open_connection(server.ip_address, 5432)
            box.world.suspend(server.id)
            assert await reader.read() == b""
            writer.close()
            assert await tried() is None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_draws_repeat(clock: ManualClock) -> None:
    """The same seed repeats the boot times, another one does not."""
    times = []
    for seed in (1, 1, 2):
        manual = ManualClock()
        async with Sandbox(clock=manual, seed=seed, boot=(0, 100), ssh=False) as box:
            tried = Tried(box)
            box.world.add(8, age=0)
            found: list[tuple[int, int]] = []
            for second in range(100):
                found += [(n, second) for n in range(8) if (n not in dict(found) and await tried(2222, n))]
                manual.advance(1)
            times.append(sorted(found))
    assert times[0] == times[1] != times[2]
    assert len(times[0]) == 8


async def test_nothing_is_left(clock: ManualClock) -> None:
    """Closing cuts every connection, and leaves neither task nor socket."""
    tasks, files = asyncio.all_tasks(), len(os.listdir("/dev/fd"))
    async with Sandbox(clock=clock, boot=0, ports=PORTS) as box:
        (server,) = box.world.add()
        streams = [await asyncio.open_connection(server.ip_address, port) for port in PORTS.values()]
        streams += [await asyncio.open_connection(server.ip_address, 2222)]
        assert await streams[0][0].readline() == BANNER
    for reader, writer in streams:
        # A connection that was cut is either reset or at its end.
        with suppress(ConnectionError):
            assert b"".join([piece async for piece in reader]) in (b"", BANNER)
        assert reader.at_eof() or reader.exception()
        writer.close()
    del streams, reader, writer
    await asyncio.sleep(0)
    gc.collect()

    assert asyncio.all_tasks() == tasks
    assert len(os.listdir("/dev/fd")) == files


def test_off_costs_nothing() -> None:
    """Without `boot` the addresses are those of before, nothing listens, and settings of listeners are refused."""
    with Sandbox() as box:
        (server,) = box.world.add()
        assert (server.ip_address, server.ipv6_address) == ("203.0.113.10", "2001:0db8::1")
        assert (listeners(box), box.unserved) == ([], ())
        with pytest.raises(SandboxError, match="pass boot= to Sandbox"):
            box.endpoint(server.id, 2222)
        with pytest.raises(SandboxError, match="pass boot= to Sandbox"):
            box.world.set_boot(server.id, never=True)
        with pytest.raises(SandboxError, match="pass boot= to Sandbox"):
            box.world.change_host_key(server.id)
        with pytest.raises(FaultError, match="pass boot= to Sandbox"):
            box.faults.add(Rule("create", faults.SetBoot(never=True)))
        assert box.faults.rules == ()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ports": {"ssh": 22}}, "ports: only with boot="),
        ({"ssh": False, "max_listening": 3}, "ssh, max_listening: only with boot="),
        ({"boot": -1}, "a duration is"),
        ({"boot": (20, 5)}, "a duration is"),
        ({"boot": "5:20"}, "a duration is"),
        ({"boot": 1, "cloud_init": "long"}, "a duration is"),
        ({"boot": 1, "ports": {}}, "ports maps"),
        ({"boot": 1, "ports": [22]}, "ports maps"),
        ({"boot": 1, "ports": {"tcp": []}}, "names no port"),
        ({"boot": 1, "ports": {"smtp": 25}}, "one of ssh, http, tcp, not 'smtp'"),
        ({"boot": 1, "ports": {"ssh": 0}}, "from 1 to 65535, not 0"),
        ({"boot": 1, "ports": {"ssh": "2222"}}, "from 1 to 65535, not '2222'"),
        ({"boot": 1, "ports": {"tcp": [1, True]}}, "from 1 to 65535, not True"),
        ({"boot": 1, "ports": {"ssh": 22, "tcp": [80, 22]}}, "port 22 is given twice"),
        ({"boot": 1, "ports": {"http": 80}, "ssh": True}, "needs a port that speaks ssh"),
        ({"boot": 1, "ssh": "yes"}, "ssh is True, False or None"),
        ({"boot": 1, "max_listening": 0}, "max_listening is"),
        ({"boot": 1, "authorized_keys": 7}, "authorized_keys is"),
    ],
)
def test_settings_are_checked_at_once(wrong: dict[str, Any], said: str) -> None:
    """Invalid settings of listeners are refused when the sandbox is created."""
    with pytest.raises(SandboxError, match=said):
        Sandbox(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"never": True, "banner": False}, "never: cannot be combined"),
        ({"cloud_init": "fine"}, "cloud_init: must be one of done, degraded, error, hangs"),
        ({"seconds": -1}, "seconds: must be"),
        ({"colour": 1}, "colour: is not known here"),
    ],
)
def test_plans_are_checked(wrong: dict[str, Any], said: str) -> None:
    """An invalid plan is a `FaultError` that names the field, from a hook and from JSON alike."""
    box = Sandbox(boot=1)
    (server,) = box.world.add()
    with pytest.raises(FaultError, match=said):
        box.world.set_boot(server.id, **wrong)
    with pytest.raises(FaultError, match=said):
        box.faults.add({"operation": "create", "actions": [{"do": "set_boot", **wrong}]})


@pytest.fixture
def one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system whose only loopback address is 127.0.0.1."""

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if address[0] != "127.0.0.1":
                raise OSError(99 if sys.platform == "linux" else 49, "Cannot assign requested address")
            super().bind(address)

    monkeypatch.setattr("socket.socket", Socket)


@pytest.mark.usefixtures("one_address")
def test_mapped_ports() -> None:
    """Where there is one loopback address, all servers have it, and `endpoint` has the port of each."""
    box = Sandbox(boot=0, ssh=False)
    box.world.add(2)
    with box:
        first, second = box.servers
        assert (first.ip_address, second.ip_address) == ("127.0.0.1", "127.0.0.1")
        ends = [box.endpoint(server.id, port) for server in (first, second) for port in (2222, 8080)]
        assert len(set(ends)) == 4
        assert [heard(end) for end in ends] == [BANNER, b"", BANNER, b""]
        assert listeners(box)[0]["ports"] == {"2222": ends[0][1], "8080": ends[1][1]}


@contextmanager
def taken(port: int) -> Iterator[None]:
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("0.0.0.0", port))
        server.listen()
        yield


def test_a_port_in_use(clock: ManualClock) -> None:
    """A port that another program has on all addresses is a `SandboxError` that names it; the box is closed."""
    with taken(7788):
        box = Sandbox(boot=0, ports={"tcp": 7788}, clock=clock)
        with (
            pytest.raises(SandboxError, match=r"cannot listen on port 7788 of.*in use; choose other ports"),
            box,
        ):
            pass
        with pytest.raises(SandboxError, match="not running"):
            _ = box.url
    with box:
        pass


def test_too_many_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit of open files is raised as far as needed; a hard limit that is too low is said plainly."""
    resource = pytest.importorskip("resource")
    limits = [(256, 1000)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, limit: limits.append(limit))
    with Sandbox(boot=0, ssh=False):
        assert limits == [(256, 1000), (700, 1000)]
    with (
        pytest.raises(SandboxError, match="1000 servers that listen need 3100 open files"),
        Sandbox(boot=0, ssh=False, max_listening=1000),
    ):
        pass
    assert limits[-1] == (700, 1000)


def test_an_address_that_is_taken(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """A server whose port another program has does not listen, and is named."""
    with Sandbox(boot=10, ports={"tcp": 7799}, clock=clock) as box:
        (server,) = box.world.add(age=0)
        with socket.create_server((server.ip_address, 7799)):
            clock.advance(10)
            assert box.unserved == (server.id,)
        assert f"server {server.id} cannot listen on {server.ip_address}: " in caplog.text


def heard(end: tuple[str, int]) -> bytes:
    with socket.create_connection(end) as connection:
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100)


def answers(server: Server, port: int = 2222) -> bool:
    try:
        heard((str(server.ip_address), port))
    except ConnectionError:
        return False
    return True


def post(box: Sandbox, path: str, document: Any = None) -> None:
    request = urllib.request.Request(
        box.url + path,
        data=json.dumps(document).encode(),
        headers={"Authorization": f"Bearer {box.token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()


def listeners(box: Sandbox) -> Any:
    with urllib.request.urlopen(f"{box.url}/_sandbox/listeners") as response:
        found = json.load(response)
    assert found["count"] == len(found["results"])
    return found["results"]


class TestTheFixtureOfUsers:
    """`vpsorg_run` with servers that answer."""

    @pytest.fixture
    def vpsorg_settings(self) -> dict[str, Any]:
        return {"boot": (5, 20), "ports": PORTS}

    def test_a_boot_takes_virtual_seconds(self, vpsorg_run: RunVirtually) -> None:
        """A server created by a client answers 5 to 20 seconds after it became active."""

        async def scenario(vps: Client, box: Sandbox) -> None:
            loop, tried = asyncio.get_running_loop(), Tried(box)

            async def later(moment: float) -> bytes | None:
                await asyncio.sleep(moment - loop.time())
                return await tried()

            server = await vps.servers.create(ServerSpec(name="a", plan_id=1, os_id=5, location="us-west"))
            server = await vps.wait_until(server, "active", timeout=600)
            since = box.servers[0].active_since
            assert since is not None
            open_at = [second for second in range(30) if await later(since + second) is not None]
            assert open_at == list(range(open_at[0], 30))
            assert 5 <= open_at[0] <= 20
            assert server.ip_address == box.servers[0].ip_address

        vpsorg_run(scenario)
