"""`Sandbox`: one emulated VPS.org account on a real socket, for tests, demos and experiments."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from attrs import fields_dict

from .api import Api
from .boots import BootPlan
from .catalogue import ipv4
from .clock import Clock, running_clock, wall_time
from .documented import Documented
from .durations import Durations, Range
from .engine import Engine
from .errors import FaultError, SandboxError
from .hosts import is_loopback
from .listeners import Listeners
from .machines import machine_settings
from .network import Network
from .notation import rule_from_json
from .provider import Provider
from .rules import Armed, FaultPlan, Rule
from .tokens import new_token
from .world import World

if TYPE_CHECKING:
    from .ledger import Change
    from .log import Entry
    from .records import Server, ServerId
    from .web_app import App

DIALECTS: Final[Mapping[str, type[Api]]] = MappingProxyType({"documented": Documented, "provider": Provider})
ORDERS: Final = ("oldest", "newest")


class Faults:
    """The faults of a running sandbox. Safe to use from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def rules(self) -> tuple[Armed, ...]:
        """The active rules, each with its counts of matches and firings."""
        with self._engine.lock:
            return self._engine.plan.armed

    def add(self, *rules: Rule | Mapping[str, Any]) -> None:
        """Append rules to the active ones, as `Rule` or in their JSON form.

        Raises:
            FaultError: A rule is invalid.

        Example:
            ``box.faults.add(Rule("create", faults.DropAfter(), times=1))``
        """
        read = [_rule(rule) for rule in rules]
        with self._engine.lock:
            self._engine.plan.add(*read)

    def clear(self) -> None:
        """Deactivate all rules."""
        with self._engine.lock:
            self._engine.plan.clear()


class Hooks:
    """What a provider can do to an account on its own. Safe to use from any thread.

    All methods act at the sandbox's current time, and raise `SandboxError` for a server that does not exist.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, count: int = 1, **settings: Any) -> tuple[Server, ...]:
        """Add servers without a request; settings as for `World.add`."""
        with self._engine.changing() as (world, now):
            return world.add(count, now=now, **settings)

    def suspend(self, server_id: ServerId) -> Server:
        """Suspend a server."""
        with self._engine.changing() as (world, now):
            return world.suspend(server_id, now)

    def vanish(self, server_id: ServerId) -> None:
        """Remove a server, without a request."""
        with self._engine.changing() as (world, now):
            world.vanish(server_id, now)

    def set_status(
        self, server_id: ServerId, word: str, *, seconds: float | None = None, then: str = "active"
    ) -> Server:
        """Give a server any status word, for `seconds` if given; see `World.set_status`."""
        with self._engine.changing() as (world, now):
            return world.set_status(server_id, word, now, seconds=seconds, then=then)

    def set_boot(self, server_id: ServerId, **plan: Any) -> Server:
        """Give a server another plan for this boot and the next ones.

        The fields are those of `BootPlan`; those that are left out have their default, so that
        ``box.world.set_boot(id)`` heals a server. Takes effect at once.

        Raises:
            SandboxError: The servers of this sandbox do not listen.
            FaultError: A field is invalid.

        Example:
            ``box.world.set_boot(server.id, cloud_init="error")``
        """
        unknown = plan.keys() - fields_dict(BootPlan).keys()
        if unknown:
            raise FaultError(min(unknown), "is not known here")
        with self._engine.changing() as (world, now):
            return world.adjust(server_id, now, boot=BootPlan(**plan))

    def change_host_key(self, server_id: ServerId) -> Server:
        """Give a server another SSH host key, as a reinstallation does. Raises `SandboxError` as `set_boot` does."""
        with self._engine.changing() as (world, now):
            server = world.existing(server_id)
            return world.adjust(server_id, now, host_key=server.host_key + 1 if server else 1)

    def hide(self, server_id: ServerId, seconds: float, *, by_id: bool = True, in_list: bool = True) -> None:
        """Hide a server from reads for `seconds`."""
        with self._engine.changing() as (world, now):
            world.hide(server_id, seconds, now, by_id=by_id, in_list=in_list)

    def lag(self, seconds: float, *, lasting: float | None = None) -> None:
        """Let reads show the state of `seconds` ago, for `lasting` seconds."""
        with self._engine.changing() as (world, now):
            world.lag(seconds, now, lasting=lasting)


class Sandbox:
    """An emulator of the VPS.org servers API (https://www.vps.org/api/v1/docs/servers/) on a loopback socket.

    `dialect="provider"` selects another form of the API, which is not documented, but used by the packages that VPS.org
    publishes itself. Servers then have UUIDs as ids, also in the ledger, the hooks and the faults.

    `async with Sandbox() as box:` serves from the running event loop, `with Sandbox() as box:` from a thread with a
    loop of its own. Give a client `box.token` and `base_url=box.url`.

    Args:
        host: The address to listen on; a loopback address, unless `allow_remote`.
        port: The port to listen on; 0 chooses a free one.
        token: The bearer token to accept; a random `vps_sandbox_...` if None.
        dialect: "documented" or "provider".
        order: Which server a list shows first, the "oldest" (as in the documented example) or the "newest". For the
            other form of the API the order is not known.
        speed: Divides all durations: with 60 a provisioning takes 2 to 5 real seconds.
        seed: Seed of the random numbers (durations, faults with a probability). The same seed repeats the same run.
        credit: The number of servers that can be paid for before a create gets 402; None for no limit.
        durations: How long provisioning, starting, stopping and rebooting last, in seconds.
        latency: Real seconds by which each answer of the API is delayed.
        faults: Rules that are active from the start, as `Rule` or in their JSON form.
        clock: A callable that returns seconds; `ManualClock` stands still until it is moved. The default one runs.
        distinct_updates: Timestamps are whole seconds. True: each change increases `updated_at`. False: two changes
            within one second may have the same `updated_at`.
        allow_remote: Permit a host other than loopback. The control endpoint `/_sandbox/` needs no token, and can
            then be reached under that host as well.
        boot: The servers listen on loopback addresses of their own, each from this many seconds after it became
            active: a number, or a range to draw from, divided by `speed`. None: nothing listens.
        ports: The ports that a server listens on, by what they speak: ``{"ssh": 2222, "http": 8080}`` by default,
            and "tcp", which only accepts connections. A number, or several: ``{"tcp": [5432, 6379]}``.
        cloud_init: Seconds of cloud-init after the boot, 10 to 30 by default, divided by `speed`.
        ssh: True: SSH servers that run commands (extra `ssh`). False: only their banner. None: the former if
            asyncssh is installed.
        authorized_keys: SSH keys that log in to every server, as lines of an authorized_keys file: one text or several.
        max_listening: The number of servers that listen at the same time, 200 by default. The others wait for one of
            them to stop; see `unserved`.

    Raises:
        SandboxError: A setting is invalid, or, on entering, a port is in use.

    Example:
        ``async with Sandbox(speed=60) as box, Client(box.token, base_url=box.url) as vps: ...``
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        dialect: str = "documented",
        order: str = "oldest",
        speed: float = 1.0,
        seed: int = 0,
        credit: int | None = None,
        durations: Durations | None = None,
        latency: float = 0.0,
        faults: Iterable[Rule | Mapping[str, Any]] = (),
        clock: Clock | None = None,
        distinct_updates: bool = True,
        allow_remote: bool = False,
        boot: float | Range | None = None,
        ports: Mapping[str, int | Iterable[int]] | None = None,
        cloud_init: float | Range | None = None,
        ssh: bool | None = None,
        authorized_keys: str | Iterable[str] | None = None,
        max_listening: int | None = None,
    ) -> None:
        _check(port, latency, dialect, order)
        self._host = _host(host, allow_remote)
        self._port = port
        self._latency = latency
        self._bound: int | None = None
        self._app: App | None = None
        self._thread: threading.Thread | None = None
        self._leave: partial[Any] | None = None
        self.clock: Clock = clock or running_clock()
        """The sandbox's clock: a callable that returns seconds."""
        options = {"ports": ports, "cloud_init": cloud_init, "ssh": ssh, "max_listening": max_listening}
        machines = machine_settings(boot, seed, speed, **options, authorized_keys=authorized_keys)
        network = Network([port for port, _ in machines.ports]) if machines else None
        make_world = partial(
            World,
            seed=seed,
            speed=speed,
            credit=credit,
            durations=durations,
            epoch=wall_time() - self.clock(),
            distinct_updates=distinct_updates,
            newest_first=order == "newest",
            identify=DIALECTS[dialect].identify,
            address=network.address if network else ipv4,
            track=machines is not None,
        )
        plan = FaultPlan([_rule(rule) for rule in faults], seed=seed, boots=machines is not None)
        self._engine = Engine(make_world, DIALECTS[dialect], new_token(token), self.clock, plan)
        self.machines = machines
        """The settings of the servers that listen; None if nothing listens."""
        self._listeners = Listeners(self._engine, machines, network) if machines and network else None
        self.faults: Faults = Faults(self._engine)
        """The active faults: `add`, `clear`, `rules`."""
        self.world: Hooks = Hooks(self._engine)
        """What the provider does on its own: `add`, `suspend`, `vanish`, `set_status`, `set_boot`, ..."""

    def __repr__(self) -> str:
        return f"<Sandbox {self.url}>" if self._bound else "<Sandbox, not running>"

    @property
    def url(self) -> str:
        """The origin, without `/api/v1`. Raises `SandboxError` while the sandbox is not running."""
        if self._bound is None:
            raise SandboxError("the sandbox is not running: enter it with `with` or `async with`")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._bound}"

    @property
    def token(self) -> str:
        """The bearer token that the sandbox accepts."""
        return self._engine.token

    def replace_token(self, token: str | None = None) -> str:
        """Accept another token, as when one is replaced in the account: the one before is answered by 401 now.

        Returns the new token: a random one if None is given. Raises `SandboxError` for one that a header can't hold.
        """
        new = new_token(token)
        self._engine.replace_token(new)
        return new

    @property
    def ledger(self) -> tuple[Change, ...]:
        """Every change that was committed, in order."""
        return self._engine.ledger

    @property
    def requests(self) -> tuple[Entry, ...]:
        """Every request to the API so far, in order of arrival."""
        return self._engine.requests()

    @property
    def servers(self) -> tuple[Server, ...]:
        """Every server that exists now, whatever reads show."""
        with self._engine.lock:
            return self._engine.world.truth(self.clock())

    @property
    def unserved(self) -> tuple[ServerId, ...]:
        """The servers that should listen and do not: above `max_listening`, or their port is in use (see the log)."""
        return self._listeners.unserved if self._listeners else ()

    def endpoint(self, server_id: ServerId, port: int) -> tuple[str, int]:
        """Return the host and port of this machine to connect to for a port of a server.

        They are the server's `ip_address` and the port itself. On a system whose only loopback address is 127.0.0.1
        (macOS) the port is another one, which is free. Raises `SandboxError` while the server does not listen on it.
        """
        if self._listeners is None:
            raise SandboxError("the servers of this sandbox do not listen: pass boot= to Sandbox")
        return self._listeners.endpoint(server_id, port)

    def reset(self) -> None:
        """Start again: no servers, no SSH keys, no faults, empty ledger and log, credit as at the start."""
        self._engine.reset()

    async def __aenter__(self) -> Sandbox:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def __enter__(self) -> Sandbox:
        ready: Future[partial[Any]] = Future()
        thread = threading.Thread(
            target=asyncio.run, args=(self._stay(ready),), name="vpsorg-sandbox", daemon=True
        )
        thread.start()
        try:
            self._leave = ready.result()
        except Exception:
            thread.join()
            raise
        self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leave is not None and self._thread is not None:
            self._leave()
            self._thread.join()
            self._leave = self._thread = None

    async def _stay(self, ready: Future[partial[Any]]) -> None:
        leave = asyncio.Event()
        try:
            await self._open()
        except Exception as error:
            ready.set_exception(error)
            return
        ready.set_result(partial(asyncio.get_running_loop().call_soon_threadsafe, leave.set))
        await leave.wait()
        await self._close()

    async def _open(self) -> None:
        # aiohttp is slow to import, and not needed before there is a socket to serve.
        from .web_app import App

        if self._app is not None:
            raise SandboxError(f"the sandbox is running already, at {self.url}")
        app = App(self._engine, self._latency)
        try:
            self._bound = await app.start(self._host, self._port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SandboxError(f"cannot listen on {self._host} port {self._port}: {reason}") from None
        self._app = app
        if self._listeners is not None:
            try:
                self._listeners.start()
            except SandboxError:
                await self._close()
                raise

    async def _close(self) -> None:
        if self._listeners is not None:
            await self._listeners.close()
        app, self._app, self._bound = self._app, None, None
        if app is not None:
            await app.stop()


def _check(port: int, latency: float, dialect: str, order: str) -> None:
    if not 0 <= port <= 65535:
        raise SandboxError(f"port is a number from 0 to 65535, not {port!r}")
    if not (math.isfinite(latency) and latency >= 0):
        raise SandboxError(f"latency is a finite number of seconds >= 0, not {latency!r}")
    for name, word, words in (("dialect", dialect, DIALECTS), ("order", order, ORDERS)):
        if word not in words:
            raise SandboxError(f"{name} is one of {', '.join(words)}, not {word!r}")


def _rule(rule: Rule | Mapping[str, Any]) -> Rule:
    return rule if isinstance(rule, Rule) else rule_from_json(rule)


def _host(host: str, allow_remote: bool) -> str:
    if host == "localhost":
        # The name may resolve to two addresses, and with port 0 to two ports.
        return "127.0.0.1"
    if not (is_loopback(host) or allow_remote):
        raise SandboxError(f"{host!r} is not a loopback address; allow_remote=True permits it")
    return host
