"""The sockets of the servers: opened and closed as the world and the clock require.

`sync` compares the machines of all servers with the sockets that are open, and opens and closes the difference. It runs
on the sandbox's loop after each change of a server, and at each time at which something happens by itself: with a
`ManualClock` whenever it is advanced, with any other clock by a timer, for which the clock must run with the loop.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from .clock import ManualClock
from .engine import Engine
from .errors import SandboxError
from .machines import Machine, MachineSettings, machine_of
from .network import Network, allow_open_files
from .records import ServerId
from .services import Banner, Http, Running, Silent
from .world import World

if TYPE_CHECKING:
    from .ssh_server import SshServer

_SLICE: Final = 50
"""The number of servers whose sockets are opened or closed in one iteration of the loop, so that it does not stall."""
_PATIENCE: Final = 1.0
"""The limit of real seconds that another thread waits until its change has been followed."""

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


@define(eq=False)
class Guest:
    """The open ports of one server, for one boot."""

    running: Running
    host: str
    ports: dict[int, int] = field(factory=dict[int, int])
    """Each port, with the port of this machine that it is mapped to: normally the same."""
    sockets: list[socket.socket] = field(factory=list[socket.socket])
    """Those that listen, and accept nothing yet."""
    servers: list[asyncio.Server] = field(factory=list[asyncio.Server])
    closed: bool = False

    def close(self) -> None:
        """Close the ports, and cut all connections."""
        self.closed = True
        for listening in self.sockets:
            listening.close()
        for server in self.servers:
            server.close()
        self.running.abort()


class Listeners:
    """The sockets of the servers of one sandbox. Only `follow` and the reads may be called from other threads.

    Raises `SandboxError` if the settings ask for SSH servers, and asyncssh is not installed.
    """

    def __init__(self, engine: Engine, settings: MachineSettings, network: Network) -> None:
        self._engine = engine
        self._settings = settings
        self._network = network
        self._ssh = _ssh_server(settings)
        self._world: World | None = None
        self._machines: dict[ServerId, Machine] = {}
        self._guests: dict[ServerId, Guest] = {}
        self._unserved: dict[ServerId, None] = {}
        self._pending: dict[ServerId, None] = {}
        self._agenda: list[tuple[float, int, ServerId]] = []
        self._noted = 0
        self._due = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Claim the addresses, and open what is due, on the running loop. Raises `SandboxError`."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        allow_open_files(self._settings.max_listening, len(self._settings.ports))
        moved = self._network.claim()
        with self._engine.lock:
            if moved:
                self._engine.world.readdress()
            self._engine.rim = self
        if isinstance(self._engine.clock, ManualClock):
            self._engine.clock.watch(self.follow)
        self.sync()

    async def close(self) -> None:
        """Close all sockets and cut all connections."""
        with self._engine.lock:
            self._engine.rim = None
        if isinstance(self._engine.clock, ManualClock):
            self._engine.clock.unwatch(self.follow)
        if self._timer is not None:
            self._timer.cancel()
        self._world = None
        self._pending.clear()
        guests = tuple(self._guests.values())
        for server_id in tuple(self._guests):
            self._shut(server_id)
        while self._tasks:
            await asyncio.wait(self._tasks)
        for guest in guests:
            await guest.running.idle()
        self._network.release()

    def follow(self) -> None:
        """Open and close what is due. From another thread, wait for it."""
        if threading.get_ident() == self._thread:
            self.sync()
            return
        done = threading.Event()
        # The loop may have been closed in the meantime.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, done)
            done.wait(_PATIENCE)

    @property
    def unserved(self) -> tuple[ServerId, ...]:
        """The servers that should listen and do not."""
        return tuple(self._unserved)

    def rows(self) -> list[dict[str, Any]]:
        """Return the servers that listen."""
        return [
            {"server_id": server_id, "host": guest.host, "ports": {str(p): q for p, q in guest.ports.items()}}
            for server_id, guest in tuple(self._guests.items())
        ]

    def endpoint(self, server_id: ServerId, port: int) -> tuple[str, int]:
        """Return the host and port to connect to. Raises `SandboxError`."""
        guest = self._guests.get(server_id)
        if guest is None or port not in guest.ports:
            raise SandboxError(f"server {server_id} does not listen on port {port} at present")
        return guest.host, guest.ports[port]

    def sync(self) -> None:
        """Open and close what is due, for at most `_SLICE` servers; the rest follows in the next iterations."""
        if self._engine.rim is not self:
            return
        with self._engine.lock:
            now = self._engine.clock()
            world = self._engine.world.at(now)
            if world is not self._world:
                self._restart(world)
            for server_id in world.changed():
                self._look_at(server_id, world)
            due = world.agenda.next
        while self._agenda and self._agenda[0][0] <= now:
            self._pending[heapq.heappop(self._agenda)[2]] = None
        for server_id in list(islice(self._pending, _SLICE)):
            del self._pending[server_id]
            self._update(server_id, now)
        if self._agenda:
            due = min(due, self._agenda[0][0])
        self._arm(now if self._pending else due, now)

    def _settle(self, done: threading.Event) -> None:
        self.sync()
        if self._pending:
            self._loop.call_soon(self._settle, done)
        else:
            done.set()

    def _arm(self, due: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = due
        # A clock that is moved by hand reports its moves.
        if due <= now or (math.isfinite(due) and not isinstance(self._engine.clock, ManualClock)):
            self._timer = self._loop.call_later(max(due - now, 0.0), self.sync)

    def _restart(self, world: World) -> None:
        for server_id in tuple(self._guests):
            self._shut(server_id)
        for known in (self._machines, self._unserved, self._pending, self._agenda):
            known.clear()
        self._world = world
        for server in world.truth(world.now):
            self._look_at(server.id, world)

    def _look_at(self, server_id: ServerId, world: World) -> None:
        server = world.existing(server_id)
        machine = machine_of(server, self._settings) if server else None
        if machine is None:
            self._machines.pop(server_id, None)
        else:
            self._machines[server_id] = machine
        self._pending[server_id] = None

    def _note(self, server_id: ServerId, moment: float) -> None:
        """Look at a server again at a time."""
        if math.isfinite(moment):
            self._noted += 1
            heapq.heappush(self._agenda, (moment, self._noted, server_id))

    def _wake(self, server_id: ServerId, moment: float) -> None:
        """Notify what waits in a server at a time."""
        self._note(server_id, moment)
        self._arm(min(moment, self._due), self._engine.clock())

    def _update(self, server_id: ServerId, now: float) -> None:
        machine, guest = self._machines.get(server_id), self._guests.get(server_id)
        if machine is not None:
            self._note(server_id, machine.next_change(now))
        up = machine if machine is not None and machine.listens(now) else None
        if guest is not None and (up is None or up.boot != guest.running.machine.boot):
            self._shut(server_id)
            guest = None
        if up is None:
            self._unserved.pop(server_id, None)
        elif guest is None:
            self._open(server_id, up)
        else:
            guest.running.notify(up)

    def _open(self, server_id: ServerId, machine: Machine) -> None:
        server = machine.server
        if len(self._guests) >= self._settings.max_listening:
            if not self._unserved:
                _log.warning("%d servers listen (max_listening); the others wait", len(self._guests))
            self._unserved[server_id] = None
            return
        running = Running(machine, self._settings.speed, self._engine.clock, partial(self._wake, server_id))
        guest = Guest(running, server.address)
        try:
            for port, _ in self._settings.ports:
                listening = self._network.listen(server.address, port)
                guest.sockets.append(listening)
                guest.ports[port] = listening.getsockname()[1]
        except OSError as error:
            guest.close()
            if server_id not in self._unserved:
                reason = error.strerror or error
                _log.warning("server %s cannot listen on %s: %s", server_id, server.address, reason)
            self._unserved[server_id] = None
            return
        self._unserved.pop(server_id, None)
        self._guests[server_id] = guest
        # The system accepts connections already; the loop serves them as soon as this task has run.
        task = self._loop.create_task(self._serve(guest))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, guest: Guest) -> None:
        for _, service in self._settings.ports:
            if not guest.closed:
                protocol, listening = self._protocol(service, guest.running), guest.sockets.pop(0)
                server = await self._loop.create_server(protocol, sock=listening, start_serving=False)
                guest.servers.append(server)
                await server.start_serving()
        if guest.closed:
            guest.close()

    def _protocol(self, service: str, running: Running) -> Callable[[], asyncio.BaseProtocol]:
        """Return what creates the protocol of a connection; the machine can change in between."""

        def ssh() -> asyncio.BaseProtocol:
            if not running.machine.server.boot.banner:
                return Silent(running)
            return Banner(running) if self._ssh is None else self._ssh.connection(running)

        protocols: Mapping[str, Callable[[], asyncio.BaseProtocol]] = {
            "ssh": ssh,
            "http": partial(Http, running),
            "tcp": partial(Silent, running),
        }
        return protocols[service]

    def _shut(self, server_id: ServerId) -> None:
        self._guests.pop(server_id).close()
        if self._unserved:
            # There is room for another one.
            self._pending[next(iter(self._unserved))] = None


def _ssh_server(settings: MachineSettings) -> SshServer | None:
    """Return the SSH server; None if only its banner is sent."""
    if settings.ssh is False or "ssh" not in dict(settings.ports).values():
        return None
    try:
        from .ssh_server import SshServer
    except ImportError:
        if settings.ssh or settings.authorized_keys:
            raise SandboxError("SSH servers need asyncssh: pip install 'vpsorg-async[ssh]'") from None
        return None
    return SshServer(settings)
