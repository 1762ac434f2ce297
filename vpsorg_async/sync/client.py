"""The client for code that is not async, and what it gives access to."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Concatenate, Final, NoReturn, ParamSpec, Self, TypeVar, Unpack

from .. import actions, client, facade, fleet, lookups, servers
from ..config import Token
from ..errors import ConfigurationError
from ..fleet import Report
from ..lifecycle.events import PollStatistics
from ..options import ClientOptions
from ..runtime import Unshown
from .outcome_iterator import RollingRun, Run
from .portal import Portal
from .wrapping import Face, blocking, called, described, iterating, wrapped_as

__all__ = [
    "AccountInfo",
    "Actions",
    "Client",
    "Fleet",
    "Locations",
    "OperatingSystems",
    "Plans",
    "SSHKeys",
    "Servers",
]

P = ParamSpec("P")
C = TypeVar("C", bound="Client")


class Servers(Face):
    """The servers of the account: ``vps.servers``. See `vpsorg_async.servers.Servers`."""

    list: Final = blocking(servers.Servers.list)
    create: Final = blocking(servers.Servers.create)
    get: Final = blocking(servers.Servers.get)
    replace: Final = blocking(servers.Servers.replace)
    update: Final = blocking(servers.Servers.update)
    delete: Final = blocking(servers.Servers.delete)
    start: Final = blocking(servers.Servers.start)
    stop: Final = blocking(servers.Servers.stop)
    reboot: Final = blocking(servers.Servers.reboot)


class Actions(Face):
    """``vps.actions``; only in the provider dialect. See `vpsorg_async.actions.Actions`."""

    hard_stop: Final = blocking(actions.Actions.hard_stop)
    snapshot: Final = blocking(actions.Actions.snapshot)
    backup: Final = blocking(actions.Actions.backup)
    resize: Final = blocking(actions.Actions.resize)


class Fleet(Face):
    """Calls on many servers at once: ``vps.fleet``. See `vpsorg_async.fleet.Fleet`."""

    create: Final = blocking(fleet.Fleet.create)
    creating: Final = wrapped_as(Run, fleet.Fleet.creating)
    ensure: Final = blocking(fleet.Fleet.ensure)
    find_created: Final = blocking(fleet.Fleet.find_created)
    plan: Final = blocking(fleet.Fleet.plan)
    apply: Final = blocking(fleet.Fleet.apply)
    scale: Final = blocking(fleet.Fleet.scale)
    start: Final = blocking(fleet.Fleet.start)
    stop: Final = blocking(fleet.Fleet.stop)
    hard_stop: Final = blocking(fleet.Fleet.hard_stop)
    resize: Final = blocking(fleet.Fleet.resize)
    snapshot: Final = blocking(fleet.Fleet.snapshot)
    reboot: Final = blocking(fleet.Fleet.reboot)
    delete: Final = blocking(fleet.Fleet.delete)
    rolling: Final = wrapped_as(RollingRun, fleet.Fleet.rolling)
    rolling_reboot: Final = blocking(fleet.Fleet.rolling_reboot)
    rolling_resize: Final = blocking(fleet.Fleet.rolling_resize)

    def retry_failed(self, report: Report) -> Report:
        """Retry the servers of a report that failed or were skipped: `Report.retry_failed`, which is async.

        Example:
            ``report = vps.fleet.retry_failed(report)``
        """
        return self._portal.run(report.retry_failed)


class Plans(Face):
    """``vps.plans``. See `vpsorg_async.lookups.Plans`."""

    list: Final = blocking(lookups.Plans.list)


class Locations(Face):
    """``vps.locations``; only in the provider dialect."""

    list: Final = blocking(lookups.Locations.list)


class OperatingSystems(Face):
    """``vps.operating_systems``; only in the provider dialect."""

    list: Final = blocking(lookups.OperatingSystems.list)


class SSHKeys(Face):
    """``vps.ssh_keys``; only in the provider dialect."""

    list: Final = blocking(lookups.SSHKeys.list)
    add: Final = blocking(lookups.SSHKeys.add)
    delete: Final = blocking(lookups.SSHKeys.delete)


class AccountInfo(Face):
    """``vps.account``."""

    me: Final = blocking(lookups.AccountInfo.me)


def _viewing(method: Callable[Concatenate[Any, P], object]) -> Callable[Concatenate[C, P], C]:
    """Return the method that returns a view of the client."""

    def call(self: C, /, *args: P.args, **kwargs: P.kwargs) -> C:
        view = object.__new__(type(self))
        view._hold(method(self._client, *args, **kwargs), self._portal)
        return view

    return described(call, method)


class Client(Face):
    """The VPS.org account for code that is not async: the methods, options, records and errors of the async client.

    An async client runs in a thread of its own, and each call waits for it. So all threads of a program can share one
    client, and with it connections, limits and polls; an event loop that runs in the calling thread is no obstacle.

    The client is opened by ``with``, or by its first call, and closed by the end of the block, or by `close`. A client
    that was opened cannot be used in a forked process: create one in each.

    Hooks (``on_event``) and checks that are coroutine functions are called in the client's thread. They must be quick,
    and cannot call the client. Checks that are plain functions are called in threads of their own.

    `KeyboardInterrupt` and what signal handlers raise cancel the call that the thread waits for, and are raised when
    it has cleaned up. A second one is raised at once.

    Args:
        token: The API token, or a function that returns it; it is never shown.
        **options: Those of `vpsorg_async.Client`.

    Raises:
        ConfigurationError: An option is wrong.

    Example::

        with Client.from_env() as vps:
            server = vps.servers.get(12345)
    """

    _shown = "Client()"  # the repr stands in tracebacks of what `__init__` raises

    def __init__(self, token: Token, **options: Unpack[ClientOptions]) -> None:
        # a traceback that shows local variables must show neither the token nor the password of a proxy
        given = Unshown({"token": token, **options})
        token, options = "", {}
        self._hold(client.Client(**given))

    @classmethod
    def from_env(cls, **options: Unpack[ClientOptions]) -> Self:
        """Return a client for the token and the address in the environment: `vpsorg_async.Client.from_env`.

        Args:
            **options: Those of `vpsorg_async.Client`; they take precedence over the environment.

        Raises:
            ConfigurationError: No token is set, or an option is wrong.

        Example:
            ``with Client.from_env(max_in_flight=8) as vps: ...``
        """
        given = Unshown(options)
        options = {}
        self = object.__new__(cls)
        self._hold(client.Client.from_env(**given))
        return self

    def _hold(self, held: Any, portal: Portal | None = None) -> None:
        """Be the face of a client, or of a view of the one that this portal leads to."""
        self._client: client.Client = held
        self._is_view, self._shown = portal is not None, repr(held)
        super().__init__(portal or Portal(held), lambda: held)

    def __repr__(self) -> str:
        return self._shown

    def __enter__(self) -> Self:
        self._check_whole()
        self._portal.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client. Calls of other threads that wait raise `ClientClosedError`. A second call does nothing."""
        self._check_whole()
        self._portal.close()

    def _check_whole(self) -> None:
        if self._is_view:
            raise ConfigurationError(
                "a view of a client is neither opened nor closed: open and close the client"
            )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self._client.__reduce_ex__(protocol)

    with_options: Final = _viewing(client.Client.with_options)

    @property
    def servers(self) -> Servers:
        """The nine endpoints."""
        return Servers(self._portal, lambda: self._client.servers)

    @property
    def actions(self) -> Actions:
        """Hard stops, snapshots and backups; provider dialect only."""
        return Actions(self._portal, lambda: self._client.actions)

    @property
    def fleet(self) -> Fleet:
        """Many servers at once."""
        return Fleet(self._portal, lambda: self._client.fleet)

    @property
    def plans(self) -> Plans:
        """The plans that can be ordered."""
        return Plans(self._portal, lambda: self._client.plans)

    @property
    def locations(self) -> Locations:
        """The datacenters; provider dialect only."""
        return Locations(self._portal, lambda: self._client.locations)

    @property
    def operating_systems(self) -> OperatingSystems:
        """The operating systems and their versions; provider dialect only."""
        return OperatingSystems(self._portal, lambda: self._client.operating_systems)

    @property
    def ssh_keys(self) -> SSHKeys:
        """The ssh keys of the account; provider dialect only."""
        return SSHKeys(self._portal, lambda: self._client.ssh_keys)

    @property
    def account(self) -> AccountInfo:
        """Whose token this is."""
        return AccountInfo(self._portal, lambda: self._client.account)

    @property
    def statistics(self) -> PollStatistics:
        """The polls of this client so far, and the waits that are open now."""
        statistics: PollStatistics = self._statistics()
        return statistics

    _statistics = called(lambda held: held.statistics)

    listing: Final = blocking(facade.Facade.listing)
    request: Final = blocking(facade.Facade.request)
    send: Final = blocking(facade.Facade.send)
    wait_until: Final = blocking(facade.Facade.wait_until)
    wait_until_all: Final = iterating(facade.Facade.wait_until_all)
    watch: Final = iterating(facade.Facade.watch)
    receipt: Final = called(facade.Facade.receipt)
    last_status: Final = called(facade.Facade.last_status)
    expected: Final = called(facade.Facade.expected)
