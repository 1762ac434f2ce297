"""The fleet calls as users see them: ``vps.fleet``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Unpack, overload

from ..config import check_seconds
from ..journal.entries import same_ids
from ..lifecycle.contract import Target
from ..lookups import Plans
from ..records import Server, ServerId
from ..specs import ServerSpec
from .fleet_calls import FleetCalls
from .inputs import SETTLE, CreateOptions, check_before, check_count, options_of
from .jobs import RunContext
from .launch import Launcher
from .outcomes import Report
from .planning import FleetPlan
from .run import Run
from .stream import finish

__all__ = ["Fleet"]

_ACTIVE = Target.of("active")


class Fleet(FleetCalls):
    """Calls on many servers at once: ``vps.fleet``.

    Every call returns a `Report` with one outcome for each server, in the order given. An error of one server is in
    its outcome, and does not disturb the others.

    - ``timeout`` is in seconds and counts for each server from its command.
    - ``wait=False`` returns when the commands are acknowledged.
    - ``on_failure``: ``"continue"`` (default) goes on after a failure; ``"stop"`` sends no further command after one.
    - ``on_cancel``: ``"detach"`` (default) leaves the servers that were created, and logs them; ``"delete"`` deletes
      them again, within 30 s. Either way the report of `creating` holds everything that was committed.
    - ``on_event``: called, not awaited, with each `vpsorg_async.events.FleetEvent`.
    - After the first 401, 402 or 403 no further command is sent: those servers are `Skipped`.

    Raises:
        ConfigurationError: Bad input; nothing was sent. Every call can raise this.
    """

    def __init__(self, context: RunContext, plans: Plans) -> None:
        super().__init__(context, Launcher(context, plans))

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
    @overload
    async def create(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        wait: bool = ...,
        min_count: int | None = ...,
        dry_run: bool,
        **options: Unpack[CreateOptions],
    ) -> Report | FleetPlan: ...
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
        because a create with a lost answer can only be found by its name. Each create is sent once.

        Args:
            specs: One spec for each server; the names differ.
            timeout: Seconds for each server, from its create until it is active. Required, except with
                ``dry_run=True``.
            wait: False returns when the creates are acknowledged.
            min_count: Delete what the call created if fewer servers than this succeed. None: keep what succeeded.
            dry_run: Create nothing, and return the `FleetPlan` with its price.
            **options: ``ready`` (a check that each server must also pass, see `vpsorg_async.ready`), ``ready_timeout``
                (seconds for each from active until then; 300), ``settle`` (seconds for which a create with a lost
                answer is searched for by its name; 15), ``on_failure`` (``"continue"`` or ``"stop"``), ``on_cancel``
                (``"detach"`` or ``"delete"``), ``on_event``, and ``on_stuck`` (``"report"``, or ``"replace"``: a server
                that does not come up is deleted and created again, within ``max_replacements`` and
                ``max_unhealthy``); see `CreateOptions`.

        Returns:
            The `Report`, or the `FleetPlan` of a dry run.

        Raises:
            ConfigurationError: A name exists already, or bad input; nothing was created.
            DecodeError: The account cannot be listed completely; nothing was created.
            APIError, TransportError: The account cannot be listed.

        Example:
            ``report = await vps.fleet.create(specs, timeout=900)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        wanted = self._launcher.specs(specs)
        check_count(min_count, len(wanted))
        settings = options_of(
            "create", 1.0 if dry_run and timeout is None else timeout, options, CreateOptions, wait=wait
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
            specs: One spec for each server; the names differ.
            timeout: Seconds for each server, from its create until it is active.
            wait: False settles each server when its create is acknowledged.
            **options: As in `create`.

        Returns:
            An async context manager; its value is an async iterator of outcomes, with ``.report``.

        Raises:
            ConfigurationError: Bad input; nothing was sent. On entering: a name exists already. Also for a run that is
                iterated without ``async with``.
            DecodeError: On entering: the account cannot be listed completely; nothing was created.
            APIError, TransportError: On entering: the account cannot be listed.

        Example::

            async with vps.fleet.creating(specs, timeout=900) as run:
                async for outcome in run:
                    ...
            print(run.report)
        """
        wanted = self._launcher.specs(specs)
        settings = options_of("creating", timeout, options, CreateOptions, wait=wait)
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
    @overload
    async def ensure(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        dry_run: bool,
        **options: Unpack[CreateOptions],
    ) -> Report | FleetPlan: ...
    async def ensure(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float | None = None,
        dry_run: bool = False,
        **options: Unpack[CreateOptions],
    ) -> Report | FleetPlan:
        """Make sure that these servers exist and are active. After a crash, run it again to complete the fleet.

        A server that exists by name is adopted, and its outcome says where it differs from its spec. A missing one is
        created, a stopped one is started, and one on its way is waited for. A second run sends no change.

        Args:
            specs: One spec for each server; the names differ.
            timeout: Seconds for each server. Required, except with ``dry_run=True``.
            dry_run: Change nothing, and return the `FleetPlan` with its price.
            **options: As in `create`.

        Returns:
            The `Report`, or the `FleetPlan` of a dry run.

        Raises:
            ConfigurationError: Bad input; nothing was sent.
            DecodeError: A server would be created, and the account cannot be listed completely; nothing was sent.
            APIError, TransportError: The account cannot be listed.

        Example:
            ``report = await vps.fleet.ensure(specs, timeout=900)``

        Source: https://www.vps.org/api/v1/docs/servers/
        """
        wanted = self._launcher.specs(specs)
        settings = options_of(
            "ensure", 1.0 if dry_run and timeout is None else timeout, options, CreateOptions
        )
        if dry_run:
            return await self._launcher.ensure_plan(wanted)
        return await finish(self._launcher.ensuring(wanted, settings))

    async def find_created(
        self, spec: ServerSpec, *, before: Iterable[ServerId] = (), settle: float = SETTLE
    ) -> Server | None:
        """Find the server of a create whose answer was lost, in polls that waits of this client share.

        A fleet call does this by itself. It is for those who send creates one by one, such as a step of a workflow.

        Args:
            spec: The spec of the create.
            before: The ids that were in the account before the create: none of them is its result.
            settle: Seconds for which the server is searched for. It must be longer than lists lag behind.

        Returns:
            The server. None if a complete list, requested after the settle window, did not show one: then the create
            has had no effect, and can be sent again.

        Raises:
            OutcomeUnknownError: Several servers have the name (``candidates``), or the account could not be listed
                completely.
            ConfigurationError: Bad input; nothing was sent.

        Example::

            try:
                server = await vps.servers.create(spec)
            except OutcomeUnknownError:
                server = await vps.fleet.find_created(spec, before=ids)
        """
        (wanted,) = self._launcher.specs([spec])
        ids = same_ids(check_before(before))
        return await self._launcher.find_created(wanted, ids, check_seconds(settle, "settle", zero=True))
