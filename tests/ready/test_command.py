"""`ready.command` against asyncssh servers on loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.ready.loopback import V4, V6, answer, cancelled, listening, needs_ipv6, server, unused_port
from vpsorg_async import errors, ready
from vpsorg_async.ready.host_keys import HostKeysFile

STATUS = "cloud-init status --wait"


class Host:
    """An SSH server: what it answers to a command, and what was executed on it."""

    def __init__(self) -> None:
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.code = 0
        self.output = ""
        self.executed: list[str] = []
        self.signals: list[str] = []
        self.hangs = False
        self.hanging = asyncio.Event()
        self.ended = asyncio.Event()
        self.port = 0

    async def process(self, process: asyncssh.SSHServerProcess[str]) -> None:
        """Execute a command."""
        self.executed.append(process.command or "")
        if self.hangs:
            await process.stdin.read()  # it has no input
            self.hanging.set()
            await process.channel.wait_closed()
            try:
                await process.stdin.read()
            except asyncssh.SignalReceived as received:
                self.signals.append(received.signal)
            self.ended.set()
            return
        process.stdout.write(self.output)
        process.exit(self.code)

    @property
    def public(self) -> str:
        return self.key.export_public_key().decode().strip()

    def line(self) -> str:
        return f"[{V4}]:{self.port} {self.public}\n"


@contextlib.asynccontextmanager
async def serving(host: Host, users: Path, address: str = V4) -> AsyncIterator[Host]:
    """Open the SSH server; ``users`` has the public keys that may log in."""
    service = await asyncssh.listen(
        address,
        host.port,
        server_host_keys=[host.key],
        authorized_client_keys=str(users),
        process_factory=host.process,
        keepalive_interval=0,
    )
    host.port = service.get_port()
    try:
        yield host
    finally:
        service.close()
        await service.wait_closed()


class Keys:
    """Keys of users, in files."""

    def __init__(self, folder: Path) -> None:
        self.right, self.wrong = folder / "right", folder / "wrong"
        for path in (self.right, self.wrong):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(path)
            key.write_public_key(path.with_suffix(".pub"))
        self.users = self.right.with_suffix(".pub")
        self.hosts = folder / "hosts"
        self.home = folder / "home" / ".ssh"
        self.home.mkdir(parents=True)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    """The keys of a user who has none in the home folder, and no agent."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Keys(tmp_path)


def check_of(host: Host, keys: Keys, command: str = STATUS, **options: Any) -> ready.Check:
    given = {"key": keys.right, "known_hosts": keys.hosts, "pin": True, "port": host.port, **options}
    return ready.command(command, **given)


async def test_a_command_that_ends_well_passes(keys: Keys) -> None:
    """The command is executed once, and its exit code 0 passes."""
    async with serving(Host(), keys.users) as host:
        assert await answer(check_of(host, keys)) == "yes"
        assert host.executed == [STATUS]


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        (1, {}, "never: 'cloud-init status --wait' ended with exit code 1 (failed): status: error"),
        (2, {}, "never: 'cloud-init status --wait' ended with exit code 2 (degraded): status: error"),
        (2, {"ok": (0, 2)}, "yes"),
        (0, {"ok": 2}, "never: 'cloud-init status --wait' ended with exit code 0 (done): status: error"),
        (1, {"retry": (1,)}, "no: 'cloud-init status --wait' ended with exit code 1 (failed): status: error"),
        (
            2,
            {"retry": 1},
            "never: 'cloud-init status --wait' ended with exit code 2 (degraded): status: error",
        ),
    ],
)
async def test_the_exit_code_decides(code: int, options: dict[str, Any], said: str, keys: Keys) -> None:
    """Codes in ``ok`` pass, codes in ``retry`` are tried again, others are hopeless; cloud-init's are named."""
    async with serving(Host(), keys.users) as host:
        host.code, host.output = code, "....\nstatus: error\n\n"

        assert await answer(check_of(host, keys, **options)) == said


async def test_other_commands_have_no_names_for_their_codes(keys: Keys) -> None:
    """The reason has the code and the last line of the output, shortened and without control characters."""
    async with serving(Host(), keys.users) as host:
        host.code, host.output = 127, "\x1b[1msh: k3s: not found\r\n"

        assert await answer(check_of(host, keys, "k3s kubectl get nodes")) == (
            "never: 'k3s kubectl get nodes' ended with exit code 127: [1msh: k3s: not found"
        )


async def test_much_output_does_no_harm(keys: Keys) -> None:
    """Of megabytes of output only the end is kept."""
    async with serving(Host(), keys.users) as host:
        host.code, host.output = 3, "x" * 3_000_000 + "\nthe end"

        assert (await answer(check_of(host, keys, "noise"))).endswith("exit code 3: the end")


async def test_a_refused_login_is_tried_again(keys: Keys) -> None:
    """A wrong key is a no, because cloud-init may install the right one later; the host key is pinned all the same."""
    async with serving(Host(), keys.users) as host:
        assert await answer(check_of(host, keys, key=keys.wrong, user="admin")) == (
            f"no: {V4}: login as admin was refused with the key {str(keys.wrong)!r}"
        )
        assert host.executed == []
        assert keys.hosts.read_text() == host.line()
        (keys.home / "id_ed25519").write_bytes(keys.wrong.read_bytes())
        assert await answer(check_of(host, keys, key=None)) == f"no: {V4}: login as root was refused"


def test_without_any_key_no_login_is_tried(keys: Keys) -> None:
    """Every login would be refused, for as long as the check is repeated."""
    with pytest.raises(errors.ConfigurationError, match="no SSH key to log in with"):
        ready.command("true", known_hosts=keys.hosts, pin=True)


async def test_the_keys_of_the_home_folder_are_used(keys: Keys) -> None:
    """Without ``key``, the user's own keys log in, as with ssh."""
    (keys.home / "id_ed25519").write_bytes(keys.right.read_bytes())
    async with serving(Host(), keys.users) as host:
        assert await answer(check_of(host, keys, key=None)) == "yes"


async def test_the_keys_of_the_agent_are_used(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``key``, the agent is asked for its keys; with ``key`` it is not."""

    class Agent:
        def __init__(self) -> None:
            self.asked, self.left = False, asyncio.Event()

        async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.asked = True
            await reader.readexactly(5)
            writer.write(b"\0\0\0\5\x0c\0\0\0\0")  # it has no keys
            await reader.read()
            writer.close()
            await writer.wait_closed()
            self.left.set()

    agent = Agent()
    path = str(keys.hosts.with_name("agent"))
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    service = await asyncio.start_unix_server(agent.talk, path)
    try:
        async with serving(Host(), keys.users) as host:
            assert await answer(check_of(host, keys)) == "yes"
            assert not agent.asked
            assert await answer(check_of(host, keys, key=None)) == f"no: {V4}: login as root was refused"
            assert agent.asked
            await agent.left.wait()
    finally:
        service.close()
        await service.wait_closed()


async def test_the_first_contact_is_pinned(keys: Keys) -> None:
    """The file gets one line for each server, which OpenSSH can read; a second check adds nothing."""
    keys.hosts.write_text("# mine\nother.example ssh-ed25519 AAAA")
    keys.hosts.chmod(0o640)
    async with serving(Host(), keys.users) as host:
        for _ in range(2):
            assert await answer(check_of(host, keys)) == "yes"

        assert keys.hosts.read_text() == "# mine\nother.example ssh-ed25519 AAAA\n" + host.line()
        assert keys.hosts.stat().st_mode & 0o777 == 0o640
        assert [path.name for path in keys.hosts.parent.glob("hosts*")] == ["hosts"]


async def test_a_changed_host_key_is_refused_for_good(keys: Keys) -> None:
    """A server that shows another key than the one in the file is never ready, nothing is executed on it."""
    async with serving(Host(), keys.users) as host:
        check = check_of(host, keys)
        assert await answer(check) == "yes"
    pinned = keys.hosts.read_text()
    for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256"):
        other = Host()
        other.port, other.key = host.port, asyncssh.generate_private_key(kind)
        async with serving(other, keys.users):
            said = await answer(check)

        assert said.startswith(f"never: the host key of [{V4}]:{host.port}")
        assert f"is not the one in {str(keys.hosts)!r}" in said
        assert f"ssh-keygen -f {keys.hosts} -R '[{V4}]:{host.port}'" in said
        assert other.executed == []
        assert keys.hosts.read_text() == pinned


async def test_without_pin_an_unknown_host_key_is_refused_for_good(keys: Keys) -> None:
    """A strict check trusts what is in the file, and adds nothing to it."""
    async with serving(Host(), keys.users) as host:
        keys.hosts.write_text(f"{V4} {host.public}\n")  # of port 22, which is another server
        strict = check_of(host, keys, pin=False)

        said = await answer(strict)
        assert said.startswith(f"never: the host key of [{V4}]:{host.port} (ssh-ed25519 SHA256:")
        assert "is not in" in said
        assert "pin=True" in said
        assert host.executed == []

        keys.hosts.write_text(f"@revoked * {host.public}\n")
        assert (await answer(strict)).startswith("never: the host key of")
        assert (await answer(check_of(host, keys))).startswith("never: the host key of")

        keys.hosts.write_text(host.line())
        assert await answer(strict) == "yes"


async def test_the_users_own_file_is_the_default(keys: Keys) -> None:
    """Without ``known_hosts``, that of ssh is used, and must exist."""
    with pytest.raises(errors.ConfigurationError, match=r"there is no ~/\.ssh/known_hosts: .* pin=True"):
        ready.command("true")
    async with serving(Host(), keys.users) as host:
        (keys.home / "known_hosts").write_text(host.line())

        assert await answer(ready.command("true", key=keys.right, port=host.port)) == "yes"


async def test_a_file_that_is_no_file_of_host_keys_is_refused(keys: Keys) -> None:
    """A broken line is never ignored, as it could be the key of this server."""
    async with serving(Host(), keys.users) as host:
        keys.hosts.write_text(f"[{V4}]:{host.port}\n@unknown * {host.public}\n")

        assert (await answer(check_of(host, keys))).startswith("never: the host keys in ")


@needs_ipv6
async def test_ipv6_is_pinned_by_its_own_name(keys: Keys) -> None:
    """A server that answers only by IPv6 is checked there."""
    async with serving(Host(), keys.users, V6) as host:
        assert await answer(check_of(host, keys), V4, V6) == "yes"
        assert keys.hosts.read_text() == f"[{V6}]:{host.port} {host.public}\n"


async def test_a_command_that_hangs_is_ended(keys: Keys) -> None:
    """After its time the command gets a SIGTERM, and the check says no."""
    async with serving(Host(), keys.users) as host:
        host.hangs = True
        said = await answer(check_of(host, keys, timeout=0.5))

        assert said == f"no: {STATUS!r} did not end within 0.5 s"
        await host.ended.wait()
        assert host.signals == ["TERM"]


async def test_a_cancelled_check_leaves_nothing_behind(keys: Keys) -> None:
    """The command gets a SIGTERM, and the connection is closed."""
    async with serving(Host(), keys.users) as host:
        host.hangs = True
        checking = asyncio.ensure_future(check_of(host, keys)(server()))
        await host.hanging.wait()
        checking.cancel()
        await asyncio.wait([checking])

        assert checking.cancelled()
        await host.ended.wait()
        assert host.signals == ["TERM"]


async def test_a_check_that_is_cancelled_as_it_logs_in_leaves_nothing_behind(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that nobody takes any more is closed."""
    opened: list[asyncssh.SSHClientConnection] = []
    create = asyncssh.create_connection

    async def cancelled_then(*args: Any, **options: Any) -> Any:
        connection, client = await create(*args, **options)
        opened.append(connection)
        checking.cancel()
        return connection, client

    async with serving(Host(), keys.users) as host:
        check = check_of(host, keys)
        assert await answer(check) == "yes"
        monkeypatch.setattr(asyncssh, "create_connection", cancelled_then)
        checking = asyncio.ensure_future(check(server()))
        await asyncio.wait([checking])

        assert checking.cancelled()
        assert [connection.is_closed() for connection in opened] == [True]


@pytest.mark.parametrize("sent", [b"", b"SSH-2.0-silent\r\n"])
async def test_a_cancelled_login_leaves_nothing_behind(sent: bytes, keys: Keys) -> None:
    """A server that accepts the connection and says nothing more is left at once."""
    async with listening(sent) as listener:
        check = ready.command("true", key=keys.right, known_hosts=keys.hosts, pin=True, port=listener.port)
        await cancelled(check, listener)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"SSH-1.5-old\r\n", "SSH: "), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "")],
)
async def test_another_service_on_the_port_says_no(sent: bytes, reason: str, keys: Keys) -> None:
    """What is no SSH server is tried again."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    async with listening(talk) as listener:
        check = ready.command("true", key=keys.right, known_hosts=keys.hosts, pin=True, port=listener.port)

        assert (await answer(check)).startswith(f"no: {V4}: {reason}")


async def test_what_a_server_sends_is_shown_without_control_characters(keys: Keys) -> None:
    """Anybody can answer at that address, and the reason is printed and logged."""
    text = b"\x1b[2Jgo\naway" + 1000 * b"y"
    # SSH_MSG_DISCONNECT of RFC 4253, sections 6 and 11.1, before any key exchange
    payload = b"\x01" + struct.pack(">II", 2, len(text)) + text + bytes(4)
    padding = 4 + -(len(payload) + 9) % 8
    packet = struct.pack(">IB", len(payload) + 1 + padding, padding) + payload + bytes(padding)
    async with listening(b"SSH-2.0-x\r\n" + packet) as listener:
        said = await answer(
            ready.command("true", key=keys.right, known_hosts=keys.hosts, pin=True, port=listener.port)
        )

    assert said.startswith(f"no: {V4}: SSH: [2Jgoawayyyy")
    assert len(said) < 300


async def test_a_closed_port_says_no(keys: Keys) -> None:
    """A refused connection is named as such."""
    check = ready.command("true", key=keys.right, known_hosts=keys.hosts, pin=True, port=unused_port())

    assert await answer(check) == f"no: {V4}: connection refused"


async def test_a_connection_that_is_lost_says_no(keys: Keys) -> None:
    """A server that reboots while the command is executed is checked again."""

    class Dying(Host):
        async def process(self, process: asyncssh.SSHServerProcess[str]) -> None:
            process.get_extra_info("connection").abort()

    async with serving(Dying(), keys.users) as host:
        assert (await answer(check_of(host, keys))).startswith("no: the connection was lost")


PINNING = """
import sys
from pathlib import Path
from vpsorg_async.ready.host_keys import HostKeysFile
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 100):
    assert HostKeysFile(Path(sys.argv[1])).pin(f"192.0.2.{number}", f"ssh-ed25519 AAAA{number} comment")
"""
"""Pins keys of a hundred servers, once it is told to begin."""


def test_two_processes_pin_into_one_file(tmp_path: Path) -> None:
    """No line of either is lost or torn."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PINNING, str(tmp_path / "hosts"), first],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        for first in ("0", "100")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.communicate(b"\n")

    assert [process.returncode for process in processes] == [0, 0]
    lines = (tmp_path / "hosts").read_text().splitlines()
    assert sorted(lines) == sorted(f"192.0.2.{n} ssh-ed25519 AAAA{n}" for n in range(200))
    assert [path.name for path in tmp_path.iterdir()] == ["hosts"]


def test_two_keys_of_one_server_are_not_both_pinned(tmp_path: Path) -> None:
    """The first one stays; the second one is refused."""
    hosts = HostKeysFile(tmp_path / "hosts")

    assert hosts.pin("192.0.2.1", "ssh-ed25519 AAAA")
    assert hosts.pin("192.0.2.1", "ssh-ed25519 AAAA")
    assert not hosts.pin("192.0.2.1", "ssh-ed25519 BBBB")
    assert (tmp_path / "hosts").read_text() == "192.0.2.1 ssh-ed25519 AAAA\n"


@pytest.mark.parametrize(
    "hosts",
    ["|1|qkRmGZkl1vIRwVpV4vBDmZRMPzM=|Jl1BfdpPQMKwWFZ7Qk8rZ8bDq6k=", "10.0.*", "web-?,!web-9", "10.0.0.0/8"],
)
async def test_lines_of_other_hosts_do_not_prevent_a_pin(hosts: str, keys: Keys) -> None:
    """Hashed names and patterns, which the users' own files have, may be those of any host."""
    line = f"{hosts} {Host().line().split(None, 1)[1]}"
    keys.hosts.write_text(line)
    async with serving(Host(), keys.users) as host:
        assert await answer(check_of(host, keys)) == "yes"

        assert keys.hosts.read_text() == line + host.line()


async def test_a_key_that_cannot_be_pinned_is_not_trusted(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file can't be written, nothing is executed."""

    def pin(self: HostKeysFile, label: str, key: str) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(HostKeysFile, "pin", pin)
    async with serving(Host(), keys.users) as host:
        said = await answer(check_of(host, keys))

        assert said == f"never: its host key can't be added to {str(keys.hosts)!r}: permission denied"
        assert host.executed == []


BAD: list[tuple[Callable[[Keys], dict[str, Any]], str]] = [
    (lambda keys: {"command": ""}, "command is a text"),
    (lambda keys: {"command": "a\0b"}, "command is a text"),
    (lambda keys: {"command": ["true"]}, "command is a text"),
    (lambda keys: {"user": ""}, "user is a text"),
    (lambda keys: {"port": 0}, "port"),
    (lambda keys: {"timeout": 0}, "timeout"),
    (lambda keys: {"ok": ()}, "ok is an exit code or several"),
    (lambda keys: {"ok": (True,)}, "ok is an exit code"),
    (lambda keys: {"ok": 256}, "ok is an exit code"),
    (lambda keys: {"retry": "1"}, "retry is an exit code"),
    (lambda keys: {"ok": (0, 2), "retry": (2,)}, r"in ok and in retry: \[2\]"),
    (lambda keys: {"pin": 1}, "pin is True or False"),
    (lambda keys: {"known_hosts": None}, "pin=True adds host keys to a file"),
    (lambda keys: {"known_hosts": keys.hosts.parent}, "can't be a file of host keys"),
    (lambda keys: {"known_hosts": keys.hosts.with_name("no") / "hosts"}, "can't be a file of host keys"),
    (lambda keys: {"known_hosts": 5}, "known_hosts is the path of a file"),
    (lambda keys: {"pin": False}, "there is no file"),
    (lambda keys: {"key": "/nowhere/key"}, "there is no file '/nowhere/key'"),
    (lambda keys: {"key": b""}, "key is the path of a file"),
    (lambda keys: {"key": keys.users}, "can't be read"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_arguments_are_checked(given: Callable[[Keys], dict[str, Any]], message: str, keys: Keys) -> None:
    """A wrong argument, or a missing file, is refused when the check is created."""
    arguments = {"command": STATUS, "known_hosts": keys.hosts, "pin": True, "key": keys.right, **given(keys)}
    with pytest.raises(errors.ConfigurationError, match=message):
        ready.command(**arguments)


def test_a_key_with_a_passphrase_is_refused(keys: Keys) -> None:
    """The error says what to do instead."""
    path = keys.hosts.with_name("locked")
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path, "pkcs8-pem", passphrase="secret")

    with pytest.raises(errors.ConfigurationError, match="add it there, and leave key out"):
        ready.command("true", key=path, known_hosts=keys.hosts, pin=True)


def test_a_check_is_shown_as_it_is_written(keys: Keys) -> None:
    """The repr of a check has its command, and no paths."""
    options: dict[str, Any] = {"known_hosts": keys.hosts, "pin": True, "key": keys.right}

    assert repr(ready.command("uptime", **options)) == "command('uptime')"
    assert repr(ready.command(STATUS, user="admin", ok=(0, 2), port=2222, **options)) == (
        f"command({STATUS!r}, user='admin', port=2222, ok=(0, 2))"
    )


def test_without_asyncssh_the_error_names_the_extra(tmp_path: Path) -> None:
    """The other checks do not need it, and it is not imported before a command is checked."""
    script = (
        "import sys; sys.modules['asyncssh'] = None\n"
        "from vpsorg_async import ready\n"
        "print(ready.ssh(), ready.http('/'))\n"
        f"ready.command('true', known_hosts={str(tmp_path / 'hosts')!r}, pin=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout == "ssh(22) http('/')\n"
    assert 'ConfigurationError: ready.command needs asyncssh: pip install "vpsorg-async[ssh]"' in done.stderr
