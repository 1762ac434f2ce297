"""The SSH server of an emulated server, by asyncssh (extra `ssh`): public keys, and a handful of commands.

The commands are `cloud-init status`, with or without `--wait`, `true`, `false`, `exit N`, `echo ...`, `sleep N` and
`hostname`; any other one exits with 127. What `cloud-init status` prints, and its exit codes 0 (done), 1 (error) and 2
(degraded), are those of its documentation (https://docs.cloud-init.io/en/latest/explanation/failure_states.html).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import shlex
from collections.abc import Sequence
from typing import Any, Final

import asyncssh

from .errors import SandboxError
from .machines import MachineSettings
from .records import Server
from .services import SSH_VERSION, Running

# A PKCS #8 document of an Ed25519 key up to the 32 bytes of the key (RFC 8410, section 7).
_ED25519: Final = bytes.fromhex("302e020100300506032b657004220420")
_EXIT: Final = {"done": 0, "error": 1, "degraded": 2}
_NOT_FOUND: Final = 127


class SshServer:
    """Creates the connections to the SSH servers of one sandbox."""

    def __init__(self, settings: MachineSettings) -> None:
        self._seed = settings.seed
        self._authorized = settings.authorized_keys
        for key in self._authorized:
            if not _readable(key):
                raise SandboxError(f"authorized_keys: {key!r} is not an SSH public key")

    def connection(self, running: Running) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        server, login = running.machine.server, _Login(running)
        # The API accepts keys of which asyncssh knows nothing.
        keys = (*self._authorized, *filter(_readable, server.public_keys))
        options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: login,
            server_host_keys=[self._host_key(server)],
            server_version=SSH_VERSION,
            authorized_client_keys=asyncssh.import_authorized_keys("\n".join(keys)),
            process_factory=login.execute,
            password_auth=False,
            kbdint_auth=False,
            agent_forwarding=False,
            line_editor=False,
        )
        return asyncssh.SSHServerConnection(asyncio.get_running_loop(), options)

    def _host_key(self, server: Server) -> asyncssh.SSHKey:
        """Return a key that the same seed repeats: nothing is secret here, and a pinned key stays valid."""
        text = f"{self._seed}/{server.number}/{server.host_key}"
        return asyncssh.import_private_key(_ED25519 + hashlib.sha256(text.encode()).digest())


class _Login(asyncssh.SSHServer):
    """One connection, and the commands that run in it."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._connection: asyncssh.SSHServerConnection | None = None
        self._lost = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._running.enter(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        for task in self._tasks:
            task.cancel()
        self._leave()

    async def execute(self, process: asyncssh.SSHServerProcess[str]) -> None:
        """Run a command to its end, or to that of the connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await _execute(self._running, process)
        finally:
            self._tasks.discard(task)
            self._leave()

    def _leave(self) -> None:
        if self._lost and not self._tasks and self._connection is not None:
            self._running.leave(self._connection)


def _readable(key: str) -> bool:
    try:
        asyncssh.import_authorized_keys(key)
    except ValueError:
        return False
    return bool(key)


async def _execute(running: Running, process: asyncssh.SSHServerProcess[str]) -> None:
    try:
        words = shlex.split(process.command or "")
    except ValueError:
        words = []
    code, output = await _result(words, running)
    if code == _NOT_FOUND:
        process.stderr.write(f"sandbox: no such command: {process.command or 'a shell'}\n")
    process.stdout.write(output)
    process.exit(code)


async def _result(words: Sequence[str], running: Running) -> tuple[int, str]:
    """Return the exit code and the output of a command."""
    match words:
        case ["true"]:
            return 0, ""
        case ["false"]:
            return 1, ""
        case ["exit", number] if number.isdecimal():
            return int(number) % 256, ""
        case ["echo", *rest]:
            return 0, f"{' '.join(rest)}\n"
        case ["hostname"]:
            server = running.machine.server
            return 0, f"{server.hostname or server.name}\n"
        case ["sleep", number] if number.replace(".", "", 1).isdecimal():
            end = running.clock() + float(number) / running.speed
            await running.until(lambda: end)
            return 0, ""
        case ["cloud-init", "status"]:
            return _cloud_init(running)
        case ["cloud-init", "status", "--wait" | "-w"]:
            began = running.clock()
            await running.until(lambda: running.machine.settles)
            # It prints a dot for each quarter of a second.
            dots = "." * math.ceil((running.clock() - began) * running.speed * 4)
            code, output = _cloud_init(running)
            return code, f"{dots}\n{output}"
        case _:
            return _NOT_FOUND, ""


def _cloud_init(running: Running) -> tuple[int, str]:
    if running.clock() < running.machine.settles:
        return 0, "status: running\n"
    end = running.machine.server.boot.cloud_init
    # The short form shows a degraded end as `done`; only the exit code tells them apart.
    return _EXIT[end], f"status: {'error' if end == 'error' else 'done'}\n"
