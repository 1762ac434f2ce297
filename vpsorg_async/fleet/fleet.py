"""The fleet calls as users see them: ``vps.fleet``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, Unpack, overload

from ..config import check_seconds
from ..lifecycle.contract import Target
from ..lookups import Plans
from ..records import Server, ServerId
from ..specs import ServerSpec
from .events import FleetEvent
from .inputs import (
    ActOptions,
    CreateOptions,
    RollingOptions,
    check_count,
    check_function,
    check_ids,
    check_known,
    options_of,
)
from .jobs import RunContext
from .launch import Launcher
from .outcomes import Report
from .plan import FleetPlan
from .rolling import Health, RollingRun
from .run import Run
from .stream import finish

__all__ = ["Fleet"]

_ACTIVE = Target.of("active")


class Fleet:
    """Bulk work on servers: ``vps.fleet``.

    Every call returns a `Report` with one outcome for each server, in the order asked. What goes wrong with a server
    is in its outcome.

    - ``timeout`` is in seconds and counts for each server from its command.
    - ``wait=False`` returns when the commands are acknowledged.
    - ``on_failure``: ``"continue"`` (default) lets all settle; ``"stop"`` sends no further command after a failure.
    - ``on_cancel``: ``"detach"`` (default) leaves the servers that were created, and logs them; ``"delete"`` deletes
      them again, within 30 s. Either way the report of `creating` holds everything that was committed.
    - ``on_event``: called, not awaited, with each `vpsorg_async.events.FleetEvent`.
    - The first 401, 402 or 403 keeps back the commands that have not left: those are `Skipped`.

    Raises:
        ConfigurationError: Bad input; nothing was sent. Every call can raise this.
    """

    def __init__(self, context: RunContext, plans: Plans) -> None:
        self._context = context
        self._launcher = Launcher(context, plans)

    @overload
    async def create(
        self,
        specs: Iterable[ServerSpec],
        *,
        dry_run: Literal[True],
        timeout: float = ...,
        **options: Unpack[CreateOptions],
    ) -> FleetPlan: ...
    @overload
    async def create(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        wait: bool = ...,
        min_count: int | None = ...,
        dry_run: Literal[False] = False,
        **options: Unpack[CreateOptions],
    ) -> Report: ...
    async def create(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float | None = None,
        wait: bool = True,
        min_count: int | None = None,
        dry_run: bool = False,
        **options: Unpack[CreateOptions],
    ) -> Report | FleetPlan:
        """Create all servers, and wait until each is active.

        The account is listed once before anything is created. A name that exists, or is asked for twice, is refused,
        because the name is all that a create with a lost answer can be found by. Each create is sent once.

        Args:
            specs: One spec for each server; the names differ.
            timeout: Seconds for each server, from its create until it is active.
            wait: False returns when the creates are acknowledged.
            min_count: Delete what the call created if fewer servers than this succeed. None: keep what succeeded.
            dry_run: Create nothing, and return the `FleetPlan` with its price.
            **options: ``settle`` (seconds for which a create with a lost answer is searched for by its name; 15),
                ``on_failure``, ``on_cancel``, ``on_event``.

        Returns:
            The `Report`, or the `FleetPlan` of a dry run.

        Raises:
            ConfigurationError: A name exists already, or bad input; nothing was created.
            DecodeError: The account cannot be listed completely; nothing was created.
            APIError: The account cannot be listed; so does `TransportError`.

        Example:
            ``report = await vps.fleet.create(specs, timeout=900)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        wanted = self._launcher.specs(specs)
        check_count(min_count, len(wanted))
        settings = options_of(
            "create", 1.0 if dry_run and timeout is None else timeout, options, CreateOptions
        )
        if dry_run:
            return await self._launcher.create_plan(wanted)
        async with self._launcher.creating(wanted, settings, _ACTIVE if wait else None) as run:
            async for _ in run:
                pass
            if min_count is not None and (reached := len(run.report.succeeded)) < min_count:
                await run.roll_back(
                    f"deleted again, because only {reached} of at least {min_count} succeeded"
                )
        return run.report

    def creating(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[CreateOptions],
    ) -> Run:
        """Create all servers, and yield each outcome as it settles.

        Leaving the block early, also by a cancellation, loses nothing: ``run.report`` is complete afterwards.

        Args:
            specs: As in `create`.
            timeout: As in `create`.
            wait: As in `create`.
            **options: As in `create`.

        Returns:
            An async context manager; its value is an async iterator of outcomes, with ``.report``.

        Raises:
            ConfigurationError: As in `create`; on entering, also what `create` raises before it creates.

        Example::

            async with vps.fleet.creating(specs, timeout=900) as run:
                async for outcome in run:
                    ...
            print(run.report)
        """
        wanted = self._launcher.specs(specs)
        settings = options_of("creating", timeout, options, CreateOptions)
        return self._launcher.creating(wanted, settings, _ACTIVE if wait else None)

    @overload
    async def ensure(
        self,
        specs: Iterable[ServerSpec],
        *,
        dry_run: Literal[True],
        timeout: float = ...,
        **options: Unpack[CreateOptions],
    ) -> FleetPlan: ...
    @overload
    async def ensure(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        dry_run: Literal[False] = False,
        **options: Unpack[CreateOptions],
    ) -> Report: ...
    async def ensure(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float | None = None,
        dry_run: bool = False,
        **options: Unpack[CreateOptions],
    ) -> Report | FleetPlan:
        """Bring the account to these servers, active. Run again after a crash, it completes the fleet.

        A server that exists by name is adopted, and its outcome says where it differs from its spec. A missing one is
        created, a stopped one is started, and one on its way is waited for. A second run sends no change.

        Args:
            specs: One spec for each server; the names differ.
            timeout: Seconds for each server.
            dry_run: Change nothing, and return the `FleetPlan` with its price.
            **options: As in `create`.

        Returns:
            The `Report`, or the `FleetPlan` of a dry run.

        Raises:
            ConfigurationError: Bad input; nothing was sent.
            DecodeError: A server would be created, and the account cannot be listed completely.

        Example:
            ``report = await vps.fleet.ensure(specs, timeout=900)``
        """
        wanted = self._launcher.specs(specs)
        settings = options_of(
            "ensure", 1.0 if dry_run and timeout is None else timeout, options, CreateOptions
        )
        if dry_run:
            return await self._launcher.ensure_plan(wanted)
        return await finish(self._launcher.ensuring(wanted, settings))

    async def start(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Start all servers, and wait until each is active.

        Args:
            ids: Ids or servers, each once.
            timeout: Seconds for each server, from its command.
            wait: False returns when the commands are acknowledged.
            **options: ``on_failure``, ``on_event``.

        Returns:
            One outcome for each server, in the order given.

        Example:
            ``report = await vps.fleet.start([1, 2], timeout=300)``
        """
        settings = options_of("start", timeout, options, ActOptions)
        return await finish(self._launcher.acting("start", ids, settings, wait=wait))

    async def stop(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Stop all servers, and wait until each is stopped. They are charged until they are deleted.

        Arguments and result are those of `start`.

        Example:
            ``report = await vps.fleet.stop([1, 2], timeout=300)``
        """
        settings = options_of("stop", timeout, options, ActOptions)
        return await finish(self._launcher.acting("stop", ids, settings, wait=wait))

    async def reboot(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Reboot all servers at the same time, and wait until each is active again after its reboot.

        A reboot whose answer was lost is not repeated: its outcome is `Failed` with `OutcomeUnknownError`. Arguments
        and result are those of `start`.

        Example:
            ``report = await vps.fleet.reboot([1, 2], timeout=300)``
        """
        settings = options_of("reboot", timeout, options, ActOptions)
        return await finish(self._launcher.acting("reboot", ids, settings, wait=wait))

    async def delete(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Delete all servers for good, and wait until each is gone. Arguments and result are those of `start`.

        Example:
            ``report = await vps.fleet.delete([1, 2], timeout=300)``
        """
        settings = options_of("delete", timeout, options, ActOptions)
        return await finish(self._launcher.acting("delete", ids, settings, wait=wait))

    async def rolling_reboot(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        max_unavailable: int | float = 1,
        max_failures: int = 1,
        health: Health | None = None,
        **options: Unpack[RollingOptions],
    ) -> Report:
        """Reboot the servers a few at a time, never more than ``max_unavailable`` at once.

        Arguments are those of `rolling`.

        Example:
            ``report = await vps.fleet.rolling_reboot(ids, timeout=600, max_unavailable=2)``
        """
        check_known("rolling_reboot", options, RollingOptions)
        run = self.rolling(
            "reboot",
            ids,
            timeout=timeout,
            max_unavailable=max_unavailable,
            max_failures=max_failures,
            health=health,
            **options,
        )
        return await finish(run)

    def rolling(
        self,
        operation: Literal["reboot", "stop", "start"],
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        max_unavailable: int | float = 1,
        max_failures: int = 1,
        health: Health | None = None,
        canary: int = 1,
        warm_up: float = 0.0,
        health_retries: int = 3,
        health_timeout: float = 30.0,
        health_interval: float = 5.0,
        on_event: Callable[[FleetEvent], None] | None = None,
    ) -> RollingRun:
        """Work through the servers a few at a time, as a stream that can be paused.

        The next server is taken from the location with the fewest unavailable. Servers that are not running (for a
        start: not stopped) are skipped. All durations are seconds.

        Args:
            operation: What is done to each server.
            ids: Ids or servers, each once.
            timeout: Seconds for each server, from its command until it has its status.
            max_unavailable: The number of servers that may be unavailable at once, or a share of them (0 to 1).
            max_failures: The number of failures after which nothing more is started.
            health: An async check of a server that came back; until it passes, the server counts as unavailable.
            canary: The number of servers that go alone at first.
            warm_up: Seconds between the return of a server and its first check.
            health_retries: The most checks of one server.
            health_timeout: Seconds for one check.
            health_interval: Seconds between two checks.
            on_event: Called with each event.

        Returns:
            An async context manager and an async iterator of outcomes, with ``.report``.

        Example:
            ``async with vps.fleet.rolling("reboot", ids, timeout=600) as run: ...``; iterate over ``run`` in it
        """
        self._context.waiter.check()
        check_function(on_event, "on_event", awaited=False)
        check_function(health, "health", awaited=True)
        return RollingRun(
            self._context,
            operation,
            check_ids(ids),
            max_unavailable=max_unavailable,
            max_failures=max_failures,
            timeout=check_seconds(timeout, "timeout"),
            health=health,
            canary=canary,
            warm_up=check_seconds(warm_up, "warm_up", zero=True),
            health_retries=health_retries,
            health_timeout=check_seconds(health_timeout, "health_timeout"),
            health_interval=check_seconds(health_interval, "health_interval", zero=True),
            on_event=on_event,
        )
