"""The SSH server of an emulated server: who gets in, its host key, and what its commands print and return."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sandbox.provider_client import ProviderClient
from vpsorg_async.sandbox import ManualClock, Sandbox, SandboxError

asyncssh = pytest.importorskip("asyncssh")


def new_key() -> Any:
    return asyncssh.generate_private_key("ssh-ed25519")


def public(key: Any) -> str:
    return str(key.export_public_key().decode())


KEY = new_key()
PORTS = {"ssh": 2222}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def box(clock: ManualClock) -> AsyncIterator[Sandbox]:
    settings: Any = {"boot": 5, "cloud_init": 20, "ports": PORTS, "authorized_keys": public(KEY)}
    async with Sandbox(clock=clock, ssh=True, **settings) as running:
        yield running


def order_with_keys(box: Sandbox, keys: tuple[str, str, str]) -> None:
    """Three servers: with the first key, with the others, with none. The first is then deleted from the account."""
    client = ProviderClient(box.url, box.token)
    names = [client.call("POST", "/ssh-keys/", {"name": "k", "public_key": key})["uuid"] for key in keys]
    for number, chosen in enumerate((names[:1], names[1:], [])):
        client.create(f"web-{number}", ssh_keys=chosen)
    client.call("DELETE", f"/ssh-keys/{names[0]}/")
    client.close()


def connect(box: Sandbox, number: int = 0, key: Any = KEY, known: Any = None) -> Any:
    server = box.servers[number]
    options = {"username": "root", "client_keys": [key], "agent_path": None, "config": None}
    return asyncssh.connect(server.ip_address, 2222, known_hosts=known, **options)


async def host_key(box: Sandbox, number: int = 0) -> str:
    key = await asyncssh.get_server_host_key(box.servers[number].ip_address, 2222, config=None)
    return public(key)


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        ("true", 0, ""),
        ("false", 1, ""),
        ("exit 3", 3, ""),
        ("exit 300", 44, ""),
        ("echo a  'b  c'", 0, "a b  c\n"),
        ("sleep 0", 0, ""),
        ("hostname", 0, "web\n"),
        ("cloud-init status", 0, "status: running\n"),
    ],
)
async def test_commands(box: Sandbox, command: str, code: int, output: str) -> None:
    """The commands that exist do what they do everywhere."""
    box.world.add(name="web", age=5)

    async with connect(box) as connection:
        ended = await connection.run(command)

    assert (ended.exit_status, ended.stdout, ended.stderr) == (code, output, "")


@pytest.mark.parametrize(
    "command", ["uname -a", "exit", "exit x", "echo 'a", "cloud-init clean", "sleep", None]
)
async def test_other_commands(box: Sandbox, command: str | None) -> None:
    """Any other command, and a shell, exits with 127 and says so."""
    box.world.add(age=5)

    async with connect(box) as connection:
        ended = await connection.run(command)

    assert (ended.exit_status, ended.stdout) == (127, "")
    assert ended.stderr.startswith("sandbox: no such command: ")


@pytest.mark.parametrize(
    ("end", "code", "word"), [("done", 0, "done"), ("degraded", 2, "done"), ("error", 1, "error")]
)
async def test_cloud_init(box: Sandbox, clock: ManualClock, end: str, code: int, word: str) -> None:
    """`status --wait` waits for the end and tells how it was; `status` only tells."""
    (server,) = box.world.add(age=5)
    box.world.set_boot(server.id, cloud_init=end)
    async with connect(box) as connection:
        waiting = asyncio.ensure_future(connection.run("cloud-init status --wait"))
        # An answer to a later command proves that the earlier one runs.
        assert (await connection.run("cloud-init status")).stdout == "status: running\n"
        clock.advance(19.5)
        assert (await connection.run("true")).exit_status == 0
        assert not waiting.done()
        clock.advance(0.5)
        waited = await waiting
        told = await connection.run("cloud-init status")

    assert (waited.exit_status, waited.stdout) == (code, f"{'.' * 80}\nstatus: {word}\n")
    assert (told.exit_status, told.stdout) == (code, f"status: {word}\n")


async def test_cloud_init_hangs(box: Sandbox, clock: ManualClock) -> None:
    """A hanging cloud-init ends when it gets another plan, and a waiting command when the server goes down."""
    (server,) = box.world.add(age=5)
    box.world.set_boot(server.id, cloud_init="hangs")
    async with connect(box) as connection:
        waiting = asyncio.ensure_future(connection.run("cloud-init status -w"))
        clock.advance(10_000)
        assert (await connection.run("cloud-init status")).stdout == "status: running\n"
        assert not waiting.done()
        box.world.set_boot(server.id, cloud_init="error")
        assert (await waiting).exit_status == 1

        box.world.set_boot(server.id, cloud_init="hangs")
        waiting = asyncio.ensure_future(connection.run("cloud-init status --wait"))
        assert (await connection.run("true")).exit_status == 0
        box.world.set_status(server.id, "rebooting")
        assert (await waiting).exit_status is None


async def test_sleep_uses_the_sandbox_s_time(clock: ManualClock) -> None:
    """`sleep` lasts its seconds, divided by `speed`."""
    settings: Any = {"boot": 0, "ports": PORTS, "authorized_keys": [public(KEY)]}
    async with Sandbox(clock=clock, speed=10, **settings) as box:
        box.world.add()
        async with connect(box) as connection:
            sleeping = asyncio.ensure_future(connection.run("sleep 50.0"))
            assert (await connection.run("true")).exit_status == 0
            clock.advance(4.9)
            assert (await connection.run("true")).exit_status == 0
            assert not sleeping.done()
            clock.advance(0.1)
            assert (await sleeping).exit_status == 0


async def test_cloud_init_in_real_time() -> None:
    """Without a manual clock a waiting command ends by a timer."""
    settings: Any = {"boot": 0, "cloud_init": 30, "ports": PORTS, "authorized_keys": [public(KEY)]}
    async with Sandbox(speed=1000, **settings) as box:
        box.world.add(age=0)
        async with connect(box) as connection:
            ended = await connection.run("cloud-init status --wait")

    assert (ended.exit_status, str(ended.stdout)[-14:]) == (0, "\nstatus: done\n")


async def test_a_client_that_leaves_ends_its_command(box: Sandbox) -> None:
    """A command whose connection was closed is not left running."""
    (server,) = box.world.add(age=5)
    box.world.set_boot(server.id, cloud_init="hangs")
    tasks = len(asyncio.all_tasks())
    connection = await connect(box)
    waiting = asyncio.ensure_future(connection.run("cloud-init status --wait"))
    assert (await connection.run("true")).exit_status == 0
    connection.abort()
    await asyncio.wait([waiting])
    await connection.wait_closed()
    for _ in range(1000):
        if len(asyncio.all_tasks()) == tasks:
            break
        await asyncio.sleep(0)

    assert len(asyncio.all_tasks()) == tasks


async def test_another_key_is_refused(box: Sandbox) -> None:
    """Only the keys that were given log in; a password does not."""
    box.world.add(age=5)

    with pytest.raises(asyncssh.PermissionDenied):
        await connect(box, key=new_key())
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            *box.endpoint(box.servers[0].id, 2222),
            username="root",
            password="x",
            known_hosts=None,
            config=None,
        )


async def test_keys_of_the_account(clock: ManualClock) -> None:
    """A server accepts the keys that it was created with, also after the account has deleted them, and no others."""
    mine, other = new_key(), new_key()
    settings: Any = {"boot": 0, "ports": PORTS}
    async with Sandbox(clock=clock, dialect="provider", **settings) as box:
        await asyncio.to_thread(order_with_keys, box, (public(mine), public(other), "ssh-unheard AAAA"))
        clock.advance(300)

        async with connect(box, 0, mine) as connection:
            assert (await connection.run("true")).exit_status == 0
        for number, key in ((0, other), (1, mine), (2, mine)):
            with pytest.raises(asyncssh.PermissionDenied):
                await connect(box, number, key)
        async with connect(box, 1, other):
            pass


async def test_host_keys(box: Sandbox, clock: ManualClock) -> None:
    """Each server has its own host key, which outlives a reboot and changes only when told; a seed repeats it."""
    servers = box.world.add(2, age=5)
    first, second = await host_key(box, 0), await host_key(box, 1)
    assert first != second
    box.world.set_status(servers[0].id, "rebooting")
    clock.advance(60)
    assert await host_key(box, 0) == first
    pinned = asyncssh.import_known_hosts(f"[{servers[0].ip_address}]:2222 {first}")
    async with connect(box, known=pinned):
        pass

    box.world.change_host_key(servers[0].id)
    assert await host_key(box, 0) not in (first, second)
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await connect(box, known=pinned)
    box.reset()
    box.world.add(age=5)
    assert await host_key(box, 0) == first
    async with Sandbox(clock=clock, seed=1, boot=0, ports=PORTS) as other:
        other.world.add()
        assert await host_key(other, 0) != first


@pytest.mark.parametrize("banner", [True, False])
async def test_only_a_banner(clock: ManualClock, banner: bool) -> None:
    """With `ssh=False`, and with a plan without banner, no SSH client gets in."""
    settings: Any = {"boot": 0, "ports": PORTS, "ssh": None if not banner else False}
    async with Sandbox(clock=clock, **settings) as box:
        (server,) = box.world.add()
        box.world.set_boot(server.id, banner=banner)
        reader, writer = await asyncio.open_connection(server.ip_address, 2222)
        writer.write_eof()
        assert (await reader.read() != b"") == banner
        writer.close()
        if banner:
            with pytest.raises((asyncssh.ConnectionLost, ConnectionError)):
                await connect(box)


@pytest.mark.parametrize("wrong", ["no key", "", ["ssh-ed25519 AAAA"]])
def test_keys_are_checked_at_once(wrong: Any) -> None:
    """A text that is no public key is refused when the sandbox is created."""
    with pytest.raises(SandboxError, match="is not an SSH public key"):
        Sandbox(boot=1, authorized_keys=wrong)


def test_without_asyncssh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asyncssh SSH servers are refused if asked for, and are banners otherwise."""
    monkeypatch.setitem(__import__("sys").modules, "vpsorg_async.sandbox.ssh_server", None)
    for settings in ({"ssh": True}, {"authorized_keys": public(KEY)}):
        asked: Any = settings
        with pytest.raises(SandboxError, match=r"pip install 'vpsorg-async\[ssh\]'"):
            Sandbox(boot=1, **asked)

    Sandbox(boot=1)
