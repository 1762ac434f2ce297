"""The fleet calls on servers that exist: start, stop, reboot, delete, and rolling operations."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, Unpack

from ..config import check_seconds
from ..errors import ConfigurationError
from ..lifecycle.commands import IN_PLACE
from ..records import Server, ServerId
from ..specs import check_bool
from .inputs import (
    ActOptions,
    RollingOptions,
    StartOptions,
    check_file,
    check_ids,
    check_known,
    check_rolling,
    health_policy,
    options_of,
)
from .intents import Intents
from .jobs import Options, RunContext
from .launch import Launcher
from .outcomes import Report
from .rolling import Health, RollingRun
from .stages import delete_stopped, stop_hard
from .stream import finish

__all__ = ["BulkCommands"]


ROLLING_LASTS = 86_400.0
"""Seconds for which the commands of an earlier rolling run are taken up: it can be continued on the same day."""


class BulkCommands:
    """The calls of `Fleet` that take ids or servers."""

    def __init__(self, context: RunContext, launcher: Launcher) -> None:
        self._context = context
        self._launcher = launcher

    async def start(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[StartOptions],
    ) -> Report:
        """Start all servers, and wait until each is active.

        Args:
            ids: Ids or servers, each once.
            timeout: Seconds for each server, from its command until it is active.
            wait: False returns when the commands are acknowledged.
            **options: ``ready`` (a check that each must also pass), ``ready_timeout`` (seconds from active until then;
                300), ``on_failure`` (``"continue"`` or ``"stop"``) and ``on_event``; see `StartOptions`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input; nothing was sent.

        Example:
            ``report = await vps.fleet.start([1, 2], timeout=300)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        settings = options_of("start", timeout, options, StartOptions, wait=wait)
        return await finish(self._launcher.acting("start", ids, settings, wait=wait))

    async def stop(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        then: Literal["hard_stop"] | None = None,
        after: float = 60.0,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Stop all servers, and wait until each is stopped.

        A stopped server is charged until it is deleted.

        Args:
            ids: Ids or servers, each once.
            timeout: Seconds for each server, from its command until it is stopped.
            wait: False returns when the commands are acknowledged.
            then: ``"hard_stop"`` switches off the servers that have not stopped in time, and unsaved data on these is
                lost; provider dialect only.
            after: Seconds from the stop of a server to its hard stop, less than ``timeout``.
            **options: ``on_failure`` (``"continue"`` or ``"stop"``) and ``on_event``; see `ActOptions`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input; nothing was sent.

        Example:
            ``report = await vps.fleet.stop([1, 2], timeout=300)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        settings = options_of("stop", timeout, options, ActOptions)
        if then is not None:
            self._check_then(then, after, settings, wait=wait)
            return await stop_hard(self._launcher, check_ids(ids), settings, after)
        return await finish(self._launcher.acting("stop", ids, settings, wait=wait))

    async def hard_stop(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Switch all servers off without shutting their systems down; provider dialect only. Unsaved data is lost.

        Args:
            ids: Ids or servers, each once.
            timeout: Seconds for each server, from its command until it is stopped.
            wait: False returns when the commands are acknowledged.
            **options: As in `stop`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input, or the dialect has no hard stop; nothing was sent.

        Example:
            ``report = await vps.fleet.hard_stop([failed.key for failed in report.failed], timeout=60)``
        """
        self._context.endpoints.check_command("hard_stop")
        settings = options_of("hard_stop", timeout, options, ActOptions)
        return await finish(self._launcher.acting("hard_stop", ids, settings, wait=wait))

    async def reboot(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        **options: Unpack[StartOptions],
    ) -> Report:
        """Reboot all servers at the same time, and wait until each is active again after its reboot.

        A reboot whose answer was lost is not repeated: its outcome is `Failed` with `OutcomeUnknownError`. See
        `rolling_reboot` for a few servers at a time.

        Args:
            ids: Ids or servers, each once.
            timeout: Seconds for each server, from its command until it is active again.
            wait: False returns when the commands are acknowledged.
            **options: ``ready`` (a check that each must also pass), ``ready_timeout`` (seconds from active until then;
                300), ``on_failure`` (``"continue"`` or ``"stop"``) and ``on_event``; see `StartOptions`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input; nothing was sent.

        Example:
            ``report = await vps.fleet.reboot([1, 2], timeout=300)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        settings = options_of("reboot", timeout, options, StartOptions, wait=wait)
        return await finish(self._launcher.acting("reboot", ids, settings, wait=wait))

    async def delete(
        self,
        ids: Iterable[ServerId | Server],
        *,
        timeout: float,
        wait: bool = True,
        stop_first: bool = False,
        **options: Unpack[ActOptions],
    ) -> Report:
        """Delete all servers for good, and wait until each is gone.

        This cannot be undone. A server that does not exist is `Failed` with `NotFoundError`.

        Args:
            ids: Ids or servers, each once.
            timeout: Seconds for each server, from its command until it is gone.
            wait: False returns when the commands are acknowledged.
            stop_first: True stops each server gracefully first, within ``timeout`` seconds, so that its programs end in
                order. A server that does not stop is not deleted: it is `Failed` with the error of its stop.
            **options: ``on_failure`` (``"continue"``, or ``"stop"``: deletes are sent one after the other, and none
                once one has failed) and ``on_event``; see `ActOptions`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input; nothing was sent.

        Example:
            ``report = await vps.fleet.delete([1, 2], timeout=300)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        settings = options_of("delete", timeout, options, ActOptions)
        if check_bool(stop_first, "stop_first"):
            self._context.waiter.check()
            return await delete_stopped(self._context, self._launcher, check_ids(ids), settings, wait=wait)
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
        """Reboot the servers a few at a time: at most ``max_unavailable`` are unavailable at once.

        Servers that are not active are skipped, and count as unavailable.

        Args:
            ids: Ids or servers, each once; or ``report.remaining`` of an earlier call, which is continued.
            timeout: Seconds for each server, from its command until it is active again.
            max_unavailable: The number of servers that may be unavailable at once, or a share of all of them (0 to 1).
            max_failures: The number of failures after which nothing more is sent.
            health: A check of the `Server` that came back: one of `vpsorg_async.ready`, or a function. False, an
                exception or a timeout means unhealthy; never (`ready.Hopeless`) fails it at once.
            **options: ``canary``, ``warm_up``, ``health_retries``, ``health_timeout``, ``health_interval``,
                ``ready_timeout``, ``on_event``, ``journal`` and ``resume``; see `RollingOptions`.

        Returns:
            One outcome for each server, in the order given.

        Raises:
            ConfigurationError: Bad input; nothing was sent.
            APIError, TransportError: The account cannot be listed; nothing was sent.

        Example:
            ``report = await vps.fleet.rolling_reboot(ids, timeout=600, max_unavailable=2)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
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
        **options: Unpack[RollingOptions],
    ) -> RollingRun:
        """Send a command to the servers a few at a time, as a stream of outcomes that can be paused.

        The next server is at the location with the fewest unavailable ones. Servers in another status than the command
        needs are skipped. They count as unavailable, unless they have the status that it leads to.

        Args:
            operation: The command.
            ids: Ids or servers, each once; or ``report.remaining`` of an earlier call, which is continued.
            timeout: Seconds for each server, from its command until it has its status.
            max_unavailable: The number of servers that may be unavailable at once, or a share of all of them (0 to 1).
            max_failures: The number of failures after which nothing more is sent.
            health: A check of the `Server` that came back, as in `rolling_reboot`.
            **options: Those of `rolling_reboot`. With ``journal``, a run that did not complete is continued by the next
                one with the same file: what is done is not done again, and what was in flight is waited for.

        Returns:
            An async context manager and an async iterator of outcomes, with ``report``, ``pause()`` and ``resume()``.

        Raises:
            ConfigurationError: Bad input; nothing was sent. Also for a run that is iterated without ``async with``.
            APIError, TransportError: On entering: the account cannot be listed; nothing was sent.

        Example::

            async with vps.fleet.rolling("reboot", ids, timeout=600) as run:
                async for outcome in run: ...
        """
        self._context.waiter.check()
        check_known("rolling", options, RollingOptions)
        if not isinstance(operation, str) or operation not in IN_PLACE:
            raise ConfigurationError(f"rolling knows {', '.join(IN_PLACE)}, not {operation!r}")
        wanted, resumption = check_rolling(operation, ids, options)
        return RollingRun(
            self._context,
            operation,
            wanted,
            max_unavailable=max_unavailable,
            max_failures=max_failures,
            canary=options.get("canary", 1),
            timeout=check_seconds(timeout, "timeout"),
            health=health,
            health_policy=health_policy(options),
            on_event=options.get("on_event"),
            record=self._recording(operation, wanted, options),
            resumption=resumption,
            must_resume=options.get("resume", False),
        )

    def _recording(
        self, operation: str, ids: Sequence[ServerId], options: RollingOptions
    ) -> Callable[[], Awaitable[Intents]] | None:
        """Return what opens the journal of a rolling run; None without one."""
        lasting = math.inf if options.get("resume") else ROLLING_LASTS
        file = check_file(options.get("journal"))
        return self._launcher.recording(file, f"rolling {operation}", ids=ids, lasting=lasting)

    def _check_then(self, then: object, after: float, options: Options, *, wait: bool) -> None:
        """Check what a stop is followed by. Raises `ConfigurationError`."""
        if then != "hard_stop":
            raise ConfigurationError(f"then is 'hard_stop' or None, not {then!r}")
        if not wait or options.on_failure == "stop":
            raise ConfigurationError("then goes neither with wait=False nor with on_failure='stop'")
        if check_seconds(after, "after") >= options.timeout:
            raise ConfigurationError(
                f"after={after:g} is less than timeout={options.timeout:g}, which is for both"
            )
        self._context.endpoints.check_command("hard_stop")
