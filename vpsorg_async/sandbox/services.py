"""What the ports of an emulated server speak, and the state that the connections of one boot share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

from .machines import Machine

SSH_VERSION: Final = "VPSorgSandbox_1"

_BANNER: Final = f"SSH-2.0-{SSH_VERSION}\r\n".encode()
_MAX_HEAD: Final = 65_536
_BODY: Final = b"ok\n"


class Connection(Protocol):
    """A connection that can be cut."""

    def abort(self) -> None:
        """Close it at once, without sending what is buffered."""
        ...


class Running:
    """A server that is up. Ends with the boot; the machine in it changes with the server's record.

    `clock` is the sandbox's; `notify_at` asks for a call of `notify` at a time of that clock.
    """

    def __init__(
        self, machine: Machine, speed: float, clock: Callable[[], float], notify_at: Callable[[float], None]
    ) -> None:
        self.machine: Machine = machine
        self.speed = speed
        self.clock = clock
        self._connections: set[Connection] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._over = False
        self._notify_at = notify_at
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self, machine: Machine) -> None:
        """Let everything that waits check again, because time has passed or the machine has changed."""
        self.machine = machine
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, moment: Callable[[], float]) -> None:
        """Wait until the clock shows the moment; it is computed again whenever the machine changes."""
        while (due := moment()) > self.clock():
            self._notify_at(due)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def enter(self, connection: Connection) -> None:
        """Add a connection."""
        self._connections.add(connection)
        self._idle.clear()
        if self._over:
            # It was accepted while the ports were closed.
            connection.abort()

    def leave(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self._connections.discard(connection)
        if not self._connections:
            self._idle.set()

    def abort(self) -> None:
        """Cut all connections, and those that are still to come."""
        self._over = True
        for connection in tuple(self._connections):
            connection.abort()

    async def idle(self) -> None:
        """Wait until there is no connection."""
        await self._idle.wait()


class Silent(asyncio.Protocol):
    """Accepts a connection, reads, and sends nothing."""

    transport: asyncio.Transport

    def __init__(self, running: Running) -> None:
        self._running = running

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop is no instance of it.
        self.transport = cast("asyncio.Transport", transport)
        self._running.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._running.leave(self)

    def abort(self) -> None:
        self.transport.abort()


class Banner(Silent):
    """Sends the identification of an SSH server, and closes as soon as the client sends something."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(_BANNER)

    def data_received(self, data: bytes) -> None:
        self.transport.close()


class Http(Silent):
    """Answers one request with 200, whatever it asks for."""

    def __init__(self, running: Running) -> None:
        super().__init__(running)
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" in self._head:
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
                % len(_BODY)
            )
            if not self._head.startswith(b"HEAD "):
                self.transport.write(_BODY)
            self.transport.close()
        elif len(self._head) > _MAX_HEAD:
            self.transport.abort()
