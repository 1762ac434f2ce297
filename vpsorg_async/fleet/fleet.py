"""The fleet calls: each turns what is asked into jobs, hands them to a `Run`, and returns its report."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, overload

import attrs

from ..config import check_seconds
from ..errors import ConfigurationError, VpsOrgError
from ..lifecycle.commands import COMMANDS
from ..lifecycle.contract import Target
from ..lookups import Plans
from ..records import Server, ServerId
from ..specs import ServerSpec, name_key
from .events import FleetEvent
from .inputs import check_function, check_ids, no_repeats, options_of
from .jobs import Job, Options, RunContext
from .outcomes import Failed, Report, Skipped
from .plan import Plan
from .retry_failed import job_of, job_waiting, jobs_again, merged
from .rolling import Health, RollingRun
from .run import Run, finish
from .survey import Survey

__all__ = ["Fleet"]


Hook = Callable[[FleetEvent], None]


class Fleet:
    """Bulk work on servers: ``vps.fleet``.

    ``timeout`` is in seconds and counts for each server from its command. Every call returns a `Report` with one
    outcome per server, in the order asked; only bad input raises (`ConfigurationError`, before anything is sent), and
    what keeps the account from being read before the first create.

    - The first 401, 402 or 403 keeps back the commands that have not left: those are `Skipped`.
    - ``wait=False`` returns when the commands are acknowledged.
    - ``on_failure``: ``"continue"`` (default) lets all settle; ``"stop"`` sends no further command after a failure.
    - ``on_cancel``: ``"detach"`` (default) leaves what was made, and says so; ``"delete"`` deletes it again, within
      30 s. Either way everything that was committed is in the report of `creating`.
    - ``on_event`` is called with each `FleetEvent`.
    """

    def __init__(self, context: RunContext, plans: Plans) -> None:
        self._context = context
        self._survey = Survey(context, plans)
        self._at_work: set[str] = set()

    @overload
    async def create(
        self, specs: Iterable[ServerSpec], *, dry_run: Literal[True], timeout: float = ...
    ) -> Plan: ...
    @overload
    async def create(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        wait: bool = ...,
        min_count: int | None = ...,
        dry_run: Literal[False] = False,
        settle: float = ...,
        on_failure: Literal["continue", "stop"] = ...,
        on_cancel: Literal["detach", "delete"] = ...,
        on_event: Hook | None = ...,
    ) -> Report: ...
    async def create(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float | None = None,
        wait: bool = True,
        min_count: int | None = None,
        dry_run: bool = False,
        settle: float = 15.0,
        on_failure: Literal["continue", "stop"] = "continue",
        on_cancel: Literal["detach", "delete"] = "detach",
        on_event: Hook | None = None,
    ) -> Report | Plan:
        """Create all, and wait until each is active.

        The account is listed once before anything is created: a name that is taken, or asked for twice, is refused
        with `ConfigurationError`, because the name is all that a create with a lost answer can be found by. Each
        create is sent once; when its answer is lost, it is looked for by its name for ``settle`` seconds, and adopted
        or failed with `OutcomeUnknownError`. With ``min_count``, what the call made is deleted again if fewer servers
        than that succeed. With ``dry_run=True`` nothing is created: the `Plan` is returned, with its price where the
        account tells it.
        """
        wanted = self._specs(specs)
        if min_count is not None and (
            isinstance(min_count, bool) or not isinstance(min_count, int) or not 1 <= min_count <= len(wanted)
        ):
            raise ConfigurationError(
                f"min_count is a number of servers from 1 to the {len(wanted)} asked for, not {min_count!r}"
            )
        if timeout is None and not dry_run:
            raise ConfigurationError("timeout is a number of seconds for each server, and create needs it")
        # a dry run refuses what the real call would
        options = options_of(1.0 if timeout is None else timeout, settle, on_failure, on_cancel, on_event)
        if dry_run:
            return await self._survey.priced((await self._survey.untaken(wanted))[1])
        async with self._creating(wanted, options, Target.of("active") if wait else None) as servers:
            async for _ in servers:
                pass
            if min_count is not None and len(servers.report.succeeded) < min_count:
                reached = len(servers.report.succeeded)
                await servers.roll_back(
                    f"deleted again, because only {reached} of at least {min_count} succeeded"
                )
        return servers.report

    def creating(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        wait: bool = True,
        settle: float = 15.0,
        on_failure: Literal["continue", "stop"] = "continue",
        on_cancel: Literal["detach", "delete"] = "detach",
        on_event: Hook | None = None,
    ) -> contextlib.AbstractAsyncContextManager[Run]:
        """The same as a stream::

            async with vps.fleet.creating(specs, timeout=900) as run:
                async for outcome in run:
                    ...
            print(run.report)

        Leaving it early, also by a cancellation, loses nothing: ``run.report`` is complete afterwards.
        """
        wanted = self._specs(specs)
        options = options_of(timeout, settle, on_failure, on_cancel, on_event)
        return self._creating(wanted, options, Target.of("active") if wait else None)

    @contextlib.asynccontextmanager
    async def _creating(
        self, wanted: Sequence[ServerSpec], options: Options, target: Target | None
    ) -> AsyncIterator[Run]:
        with self._working_on(wanted):
            before, plan = await self._survey.untaken(wanted)
            jobs = [attrs.evolve(job_of(step), target=target) for step in plan.steps]
            again = self._ensure_again(wanted, options)
            async with Run(self._context, "create", jobs, options, ids_before=before, again=again) as run:
                yield run

    @overload
    async def ensure(
        self, specs: Iterable[ServerSpec], *, dry_run: Literal[True], timeout: float = ...
    ) -> Plan: ...
    @overload
    async def ensure(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float,
        dry_run: Literal[False] = False,
        settle: float = ...,
        on_failure: Literal["continue", "stop"] = ...,
        on_cancel: Literal["detach", "delete"] = ...,
        on_event: Hook | None = ...,
    ) -> Report: ...
    async def ensure(
        self,
        specs: Iterable[ServerSpec],
        *,
        timeout: float | None = None,
        dry_run: bool = False,
        settle: float = 15.0,
        on_failure: Literal["continue", "stop"] = "continue",
        on_cancel: Literal["detach", "delete"] = "detach",
        on_event: Hook | None = None,
    ) -> Report | Plan:
        """Make the account have these servers, active: run again after a crash, it completes the fleet.

        What exists by name is adopted, and the outcome says where it differs from its spec; what is missing is
        created; what is stopped is started; what is on its way is waited for. A second run sends no change. With
        ``dry_run=True`` nothing is changed: the `Plan` is returned, with its price where the account tells it.
        """
        wanted = self._specs(specs)
        if timeout is None and not dry_run:
            raise ConfigurationError("ensure needs a timeout, in seconds for each server")
        options = options_of(1.0 if timeout is None else timeout, settle, on_failure, on_cancel, on_event)
        if dry_run:
            _, plan = await self._survey.planned(wanted)
            return await self._survey.priced(plan)
        return await self._ensure(wanted, options)

    async def _ensure(
        self, wanted: Sequence[ServerSpec], options: Options, more: Sequence[Job] = ()
    ) -> Report:
        with self._working_on(wanted):
            before, plan = await self._survey.planned(wanted)
            jobs = [*map(job_of, plan.steps), *more]
            again = self._ensure_again(wanted, options)
            return await finish(Run(self._context, "ensure", jobs, options, ids_before=before, again=again))

    async def start(
        self, ids: Iterable[ServerId | Server], *, timeout: float, wait: bool = True, **options: Any
    ) -> Report:
        """Start all, and wait until each is active."""
        return await self._act("start", check_ids(ids), timeout, wait, options)

    async def stop(
        self, ids: Iterable[ServerId | Server], *, timeout: float, wait: bool = True, **options: Any
    ) -> Report:
        """Stop all, and wait until each is stopped. They keep being charged until they are deleted."""
        return await self._act("stop", check_ids(ids), timeout, wait, options)

    async def reboot(
        self, ids: Iterable[ServerId | Server], *, timeout: float, wait: bool = True, **options: Any
    ) -> Report:
        """Reboot all at once, and wait until each is active again after its reboot.

        A reboot whose answer was lost is not repeated: its outcome is `Failed` with `OutcomeUnknownError`.
        """
        return await self._act("reboot", check_ids(ids), timeout, wait, options)

    async def delete(
        self, ids: Iterable[ServerId | Server], *, timeout: float, wait: bool = True, **options: Any
    ) -> Report:
        """Delete all for good, and wait until each is gone."""
        return await self._act("delete", check_ids(ids), timeout, wait, options)

    async def _act(
        self, operation: str, ids: Sequence[ServerId], timeout: float, wait: bool, given: dict[str, Any]
    ) -> Report:
        self._context.waiter.check()
        unknown = set(given) - {"on_failure", "on_event"}
        if unknown:
            raise ConfigurationError(f"{operation} knows no option {', '.join(sorted(unknown))}")
        options = options_of(
            timeout, 0.0, given.get("on_failure", "continue"), "detach", given.get("on_event")
        )
        if operation == "reboot" and wait and ids:
            # what each server was before is the ground on which its reboot is later believed; without it the
            # evidence is weaker, and what is wrong shows at the commands themselves
            with contextlib.suppress(VpsOrgError):
                await self._context.waiter.poller.glance(ids)
        target = Target.of(COMMANDS[operation].target) if wait else None
        jobs = [
            Job(key=server_id, command=operation, server_id=server_id, target=target) for server_id in ids
        ]
        return await finish(
            Run(self._context, operation, jobs, options, again=self._act_again(operation, options, target))
        )

    async def rolling_reboot(
        self,
        ids: Iterable[ServerId | Server],
        *,
        max_unavailable: int | float = 1,
        max_failures: int = 1,
        timeout: float = 600.0,
        health: Health | None = None,
        **options: Any,
    ) -> Report:
        """Reboot one after another, never more than ``max_unavailable`` away at once; see `rolling`."""
        run = self.rolling(
            "reboot",
            ids,
            max_unavailable=max_unavailable,
            max_failures=max_failures,
            timeout=timeout,
            health=health,
            **options,
        )
        async with run as servers:
            async for _ in servers:
                pass
        return servers.report

    def rolling(
        self,
        operation: Literal["reboot", "stop", "start"],
        ids: Iterable[ServerId | Server],
        *,
        max_unavailable: int | float = 1,
        max_failures: int = 1,
        timeout: float = 600.0,
        health: Health | None = None,
        canary: int = 1,
        warm_up: float = 0.0,
        health_retries: int = 3,
        health_timeout: float = 30.0,
        health_interval: float = 5.0,
        on_event: Hook | None = None,
    ) -> RollingRun:
        """A rolling operation as a stream, which can be paused::

            async with vps.fleet.rolling("reboot", ids, max_unavailable=0.1, health=check) as run:
                async for outcome in run:
                    ...

        ``max_unavailable`` is a number of servers, or a share of them (0 to 1). The first ``canary`` servers go
        alone. ``health`` is an async check of a server that came back: it is asked ``warm_up`` seconds later, at most
        ``health_retries`` times, ``health_interval`` seconds apart, each bounded by ``health_timeout`` seconds; until
        it says yes the server counts as away. After ``max_failures`` failures nothing more is started. The next server
        is taken from the location with the fewest away. Servers that are not running (for a start: not stopped) are
        skipped. All durations are seconds.
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

    def _specs(self, specs: Iterable[ServerSpec]) -> tuple[ServerSpec, ...]:
        """The specs, each of which can be created, and told from the others by its name."""
        self._context.waiter.check()
        if isinstance(specs, str | bytes) or not isinstance(specs, Iterable):
            raise ConfigurationError("a fleet call takes several ServerSpecs: pass a list")
        wanted = tuple(specs)
        for spec in wanted:
            if not isinstance(spec, ServerSpec):
                raise ConfigurationError(f"a fleet is made of ServerSpecs, not of {type(spec).__name__}")
            self._context.endpoints.check(spec)
        no_repeats([name_key(spec.name) for spec in wanted], "names")
        no_repeats([self._context.endpoints.key_of(spec) for spec in wanted], "names")
        return wanted

    @contextlib.contextmanager
    def _working_on(self, wanted: Sequence[ServerSpec]) -> Iterator[None]:
        """Two calls at once would each find the same name missing, and each create it: the second is refused."""
        names = {
            self._context.endpoints.key_of(spec): self._context.endpoints.shown_name(spec) for spec in wanted
        }
        busy = sorted(names[key] for key in names.keys() & self._at_work)
        if busy:
            raise ConfigurationError(
                f"another call of this client is at work on these names: {', '.join(busy)}; nothing was sent"
            )
        self._at_work |= names.keys()
        try:
            yield
        finally:
            self._at_work -= names.keys()

    def _ensure_again(self, specs: Sequence[ServerSpec], options: Options) -> Callable[[Report], Any]:
        by_name = {spec.name: spec for spec in specs}

        async def again(report: Report) -> Report:
            left = [outcome for outcome in report.outcomes if isinstance(outcome, Failed | Skipped)]
            waiting = {
                outcome.key: job_waiting(outcome)
                for outcome in left
                if isinstance(outcome, Failed) and outcome.acknowledged and outcome.server_id is not None
            }
            others = [by_name[str(outcome.key)] for outcome in left if outcome.key not in waiting]
            return merged(report, await self._ensure(others, options, [*waiting.values()]))

        return again

    def _act_again(self, operation: str, options: Options, target: Target | None) -> Callable[[Report], Any]:
        async def again(report: Report) -> Report:
            run = Run(self._context, operation, jobs_again(report, operation, target), options, again=again)
            return merged(report, await finish(run))

        return again
