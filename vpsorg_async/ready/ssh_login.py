"""Commands on servers over asyncssh: the only module that imports it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path

import anyio.to_thread
import asyncssh
import attrs

from ..errors import ConfigurationError
from ..lifecycle.readiness import Hopeless, NotReady
from ..records import Server
from .addresses import described, first_of, shown
from .host_keys import HostKeysFile, label_of

__all__ = ["Login", "RemoteCommand"]

LOGIN_TIME = 10.0
"""Seconds to connect and to log in at each address."""
TAIL = 4096
"""Bytes at the end of the output that are kept; its last line is part of the reason."""
SHOWN = 200
"""Characters of that line that a reason repeats."""

CLOUD_INIT = {0: "done", 1: "failed", 2: "degraded"}
"""What the exit codes of ``cloud-init status`` mean; 2 is done, with errors that it recovered from."""


class _Contact(asyncssh.SSHClient):
    """Keeps the host key that is not in the file, and accepts it if it may be pinned."""

    def __init__(self, pin: bool) -> None:
        self._pin = pin
        self.unknown: asyncssh.SSHKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Return whether a key is accepted that is not in the file."""
        self.unknown = key
        return self._pin


@attrs.frozen
class Login:
    """How to log in to servers."""

    user: str
    port: int
    hosts: HostKeysFile
    pin: bool
    key: Path | None = None
    _pairs: tuple[asyncssh.SSHKeyPair, ...] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self.key is None:
            kept = (path for path in Path("~/.ssh").expanduser().glob("id_*") if path.suffix != ".pub")
            if os.name == "posix" and not os.environ.get("SSH_AUTH_SOCK") and not any(kept):
                raise ConfigurationError(
                    "there is no SSH key to log in with: no agent runs, and ~/.ssh has none; name the file of one with "
                    "key="
                )
            return
        try:
            pairs = asyncssh.load_keypairs(self.key)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, OSError) as failure:
            raise ConfigurationError(
                f"the key {str(self.key)!r} can't be read: {failure}; a key with a passphrase is used by way of the "
                "SSH agent: add it there, and leave key out"
            ) from None
        object.__setattr__(self, "_pairs", tuple(pairs))

    async def connect(self, address: str) -> asyncssh.SSHClientConnection:
        """Log in at an address. Raises `NotReady`, or `Hopeless` for a host key that is not trusted."""
        label = label_of(address, self.port)
        trusted = self._trusted(label)
        contact = _Contact(self.pin and not any(trusted))
        try:
            connection, _ = await asyncssh.create_connection(
                lambda: contact,
                address,
                self.port,
                username=self.user,
                config=None,
                known_hosts=lambda host, addr, port: trusted,
                client_keys=() if self._pairs is None else [*self._pairs],
                # with a key of the user's, those of the agent would use up the tries that the server allows
                agent_path=() if self._pairs is None else None,
                preferred_auth="publickey",
                gss_host=None,
                connect_timeout=None,
                login_timeout=0,
            )
        except asyncssh.HostKeyNotVerifiable as refused:
            raise Hopeless(self._mismatch(label, contact.unknown, refused, known=any(trusted))) from None
        except asyncssh.KeyExchangeFailed as failure:
            if any(trusted):
                raise Hopeless(self._mismatch(label, None, failure, known=True)) from None
            raise NotReady(f"SSH: {shown(str(failure))}") from None
        except asyncssh.PermissionDenied:
            # the host key is proved by then
            await self._keep(label, contact)
            raise NotReady(f"login as {self.user} was refused{self._which}") from None
        except asyncssh.Error as failure:
            raise NotReady(f"SSH: {shown(failure.reason)}") from None
        try:
            await self._keep(label, contact)
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def _which(self) -> str:
        return "" if self.key is None else f" with the key {str(self.key)!r}"

    def _trusted(self, label: str) -> tuple[Collection[object], ...]:
        """Return the keys of the file for a server, as asyncssh wants them."""
        try:
            hosts = asyncssh.import_known_hosts(self.hosts.lines_about(label))
        except (OSError, ValueError) as failure:
            raise Hopeless(f"the host keys in {str(self.hosts.path)!r} can't be read: {failure}") from None
        return tuple(hosts.match(label, "", None))

    async def _keep(self, label: str, contact: _Contact) -> None:
        """Pin the host key of a first contact."""
        if contact.unknown is None:
            return
        key = contact.unknown.export_public_key("openssh").decode("ascii").strip()
        try:
            pinned = await anyio.to_thread.run_sync(self.hosts.pin, label, key)
        except OSError as failure:
            raise Hopeless(
                f"its host key can't be added to {str(self.hosts.path)!r}: {described(failure)}"
            ) from None
        if not pinned:
            raise Hopeless(
                f"it showed the host key {contact.unknown.get_fingerprint()}, and another one was added to "
                f"{str(self.hosts.path)!r} at the same time"
            )

    def _mismatch(self, label: str, key: asyncssh.SSHKey | None, refused: Exception, *, known: bool) -> str:
        """Return why the host key is not trusted, and what to do."""
        path = str(self.hosts.path)
        shown = "" if key is None else f" ({key.get_algorithm()} {key.get_fingerprint()})"
        if not known:
            return (
                f"the host key of {label}{shown} is not in {path!r}: add it there, or pass pin=True to trust the "
                "first contact"
            )
        return (
            f"the host key of {label}{shown} is not the one in {path!r}: another server has this address now, the "
            "server was installed again, or somebody intercepts the connection; if the change is expected, remove "
            f"the old key with: ssh-keygen -f {path} -R '{label}'"
        )


@attrs.frozen
class RemoteCommand:
    """Executes a command on a server, and judges its exit code."""

    login: Login
    command: str
    ok: frozenset[int]
    retry: frozenset[int]
    timeout: float

    async def __call__(self, server: Server) -> bool:
        """Execute the command once. Raises `NotReady` or `Hopeless`."""
        limit = asyncio.timeout(self.timeout)
        try:
            async with limit:
                return await self._execute(server)
        except TimeoutError:
            if not limit.expired():
                raise
            raise NotReady(f"{self.command!r} did not end within {self.timeout:g} s") from None

    async def _execute(self, server: Server) -> bool:
        # also one that nobody takes any more, as the check is cancelled at that moment
        opened: list[asyncssh.SSHClientConnection] = []

        async def attempt(address: str, note: Callable[[str], None]) -> asyncssh.SSHClientConnection:
            opened.append(await self.login.connect(address))
            return opened[-1]

        try:
            connection = await first_of(server, attempt, min(LOGIN_TIME, self.timeout), stagger=None)
            return await self._run(connection)
        except asyncssh.Error as failure:
            raise NotReady(f"the connection was lost: {shown(failure.reason)}") from None
        except OSError as failure:
            raise NotReady(f"the connection was lost: {described(failure)}") from None
        finally:
            # not `close`, which would wait for a server that does not answer
            for connection in opened:
                connection.abort()

    async def _run(self, connection: asyncssh.SSHClientConnection) -> bool:
        process = await connection.create_process(
            self.command, stdin=asyncssh.DEVNULL, stderr=asyncssh.STDOUT, encoding=None
        )
        tail = b""
        try:
            while chunk := await process.stdout.read(TAIL):
                tail = (tail + chunk)[-TAIL:]
            await process.wait_closed()
        except asyncio.CancelledError:
            process.terminate()
            raise
        return self._judge(process.exit_status, process.exit_signal, tail.decode("utf-8", "replace"))

    def _judge(self, code: int | None, signal: tuple[str, bool, str, str] | None, output: str) -> bool:
        if signal is not None:
            raise NotReady(f"{self.command!r} was ended by SIG{signal[0]}")
        if code is None:
            raise NotReady(f"the connection was lost while {self.command!r} was executed")
        if code in self.ok:
            return True
        word = CLOUD_INIT.get(code, "") if self.command.split()[0] == "cloud-init" else ""
        lines = ["".join(filter(str.isprintable, line)).strip() for line in output.splitlines()]
        last = next((line for line in reversed(lines) if line), "")[-SHOWN:]
        reason = f"{self.command!r} ended with exit code {code}{f' ({word})' if word else ''}"
        if last:
            reason = f"{reason}: {last}"
        raise (NotReady if code in self.retry else Hopeless)(reason)
