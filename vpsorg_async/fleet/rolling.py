"""A rolling operation under way: `Rollout` says who may go, this sends the commands, waits and asks for health."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from ..errors import ConfigurationError, VpsOrgError, WaitError
from ..hooks import tell
from ..http.session import Withdrawn
from ..lifecycle.contract import Target
from ..lifecycle.waiter import WaitOutcome
from ..models import Server, ServerId
from .events import CommandAnswered, CommandSent, FleetEvent, ServerSettled
from .jobs import HOW, RunTrace, Tools, context_of
from .leaving import to_the_end
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded
from .rollout import Rollout
from .searches import stops_all

__all__ = ["Health", "RollingRun"]

log = logging.getLogger("vpsorg_async.fleet")

Health = Callable[[Server], Awaitable[bool] | bool]
"""Says whether a server that came back is well. An exception counts as no."""

# command -> the status a server must have to be taken up, and the status it ends in
_OPERATIONS = {"reboot": ("active", "active"), "stop": ("active", "stopped"), "start": ("stopped", "active")}


class RollingRun:
    """An async context manager and an async iterator over the outcomes; `pause`, `resume`, ``report`` at any time.

    Leaving it early starts nothing more; a server under way is reported as `Failed`, since nobody saw it come back.
    """

    def __init__(
        self,
        tools: Tools,
        operation: str,
        ids: Sequence[ServerId],
        *,
        max_unavailable: int | float,
        max_failures: int,
        timeout: float,
        health: Health | None,
        canary: int,
        warm_up: float,
        health_retries: int,
        health_timeout: float,
        health_interval: float,
        on_event: Callable[[FleetEvent], None] | None,
    ) -> None:
        if not isinstance(operation, str) or operation not in _OPERATIONS:
            raise ConfigurationError(f"rolling knows {', '.join(_OPERATIONS)}, not {operation!r}")
        if isinstance(health_retries, bool) or not isinstance(health_retries, int) or health_retries < 1:
            raise ConfigurationError(f"health_retries is a number of checks from 1, not {health_retries!r}")
        self._limits: dict[str, Any] = {
            "max_unavailable": max_unavailable,
            "max_failures": max_failures,
            "canary": canary,
        }
        self._rollout = Rollout({}, **self._limits)  # refuses bad limits before anything is sent
        self._tools = tools
        self._operation = operation
        self._ids = ids
        self._timeout = timeout
        self._health = health
        self._warm_up = warm_up
        self._health_retries = health_retries
        self._health_timeout = health_timeout
        self._health_interval = health_interval
        self._on_event = on_event
        self._ended_by = ""
        self._sent: dict[ServerId, int] = {}
        self._acknowledged: set[ServerId] = set()
        self._tasks: dict[ServerId, asyncio.Task[None]] = {}
        self._outcomes: dict[ServerId, Outcome] = {}
        self._settled: asyncio.Queue[Outcome | BaseException] = asyncio.Queue()
        self._given = 0
        self._began = self._ended = tools.clock.now()
        self._trace: RunTrace | None = None

    @property
    def report(self) -> Report:
        """The outcomes so far; complete when the run has been left."""
        done = len(self._outcomes) == len(self._ids)
        return Report(
            operation=f"rolling {self._operation}",
            outcomes=tuple(self._outcomes[key] for key in self._ids if key in self._outcomes),
            seconds=(self._ended if done else self._tools.clock.now()) - self._began,
            again=_not_again,
        )

    @property
    def paused(self) -> bool:
        """Whether nothing more is started at the moment."""
        return self._rollout.paused

    def pause(self) -> None:
        """Start nothing more; what is under way goes on."""
        self._rollout.paused = True

    def resume(self) -> None:
        """Go on."""
        self._rollout.paused = False
        self._pump()

    async def __aenter__(self) -> Self:
        self._began = self._ended = self._tools.clock.now()
        wanted, _ = _OPERATIONS[self._operation]
        servers = await self._tools.servers.list() if self._ids else ()
        self._trace = self._tools.trace(f"rolling_{self._operation}", len(self._ids))
        known = {str(server.id): server for server in servers}
        locations: dict[ServerId, str] = {}
        for key in self._ids:
            server = known.get(str(key))
            if server is None:
                self._settle(key, Skipped(key, "it is not in the account"))
            elif server.status != wanted:
                self._settle(key, Skipped(key, f"it is {server.status}, not {wanted}"))
            else:
                self._tools.servers.saw(server)
                locations[key] = server.location or ""
        paused, self._rollout = self._rollout.paused, Rollout(locations, **self._limits)
        self._rollout.paused = paused
        self._pump()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        why = f"the call was left before it ended ({kind.__name__ if kind else 'break'})"
        self._ended_by = self._ended_by or why
        try:
            await to_the_end(self._leave(why), context_of(self._trace))
        finally:
            if self._trace is not None:
                self._trace.end(self.report, error)

    async def _leave(self, why: str) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for key in self._ids:
            if key in self._outcomes:
                continue
            if key in self._sent:
                unseen = f"{self._operation} of {key!r}: {why}; it was sent, and nobody saw it done"
                failed = Failed(
                    key,
                    WaitError(unseen, server_id=key),
                    server_id=key,
                    attempts=self._sent[key],
                    acknowledged=key in self._acknowledged,
                )
                self._settle(key, failed)
            else:
                self._settle(key, Skipped(key, f"not sent: {why}"))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._given == len(self._ids):
            raise StopAsyncIteration
        outcome = await self._settled.get()
        if isinstance(outcome, BaseException):
            raise outcome
        self._given += 1
        return outcome

    @property
    def _over(self) -> str:
        """Why no further command leaves; empty while they do."""
        return self._ended_by or self._rollout.stopped

    def _pump(self) -> None:
        """Start whom the rollout lets go; when it has stopped, say so of all that are left."""
        for key in () if self._ended_by else self._rollout.begin():
            self._tasks[key] = asyncio.get_running_loop().create_task(
                self._one(key), name=f"vpsorg-rolling-{key}", context=context_of(self._trace)
            )
        if self._over and len(self._outcomes) + len(self._tasks) < len(self._ids):
            for key in self._rollout.left:
                if key not in self._outcomes:
                    self._settle(key, Skipped(key, self._over))

    async def _one(self, key: ServerId) -> None:
        """Take one server through command, wait and health check."""
        began = self._tools.clock.now()
        outcome: Outcome
        try:
            outcome = await self._taken(key, began)
        except Withdrawn:
            outcome = Skipped(key, self._over)
        except VpsOrgError as error:
            if stops_all(error):
                self._ended_by = f"not sent, because an earlier {self._operation} was refused: {error}"
            outcome = Failed(
                key,
                error,
                server_id=key,
                server=getattr(error, "last_seen", None),
                seconds=self._tools.clock.now() - began,
                attempts=self._sent.get(key, 0),
                acknowledged=key in self._acknowledged,
            )
        except Exception as bug:
            self._settled.put_nowait(bug)
            raise
        self._rollout.settled(key, not isinstance(outcome, Failed))
        self._tasks.pop(key)
        self._settle(key, outcome)
        self._pump()

    async def _taken(self, key: ServerId, began: float) -> Succeeded:
        waiter, servers = self._tools.waiter, self._tools.servers.for_bulk(lambda: self._withdrawn(key))
        command = {"reboot": servers.reboot, "stop": servers.stop, "start": servers.start}[self._operation]
        await command(key)
        self._acknowledged.add(key)
        self._tell(CommandAnswered(operation=self._operation, key=key, server_id=key))
        waited = await waiter.wait(key, Target.of(_OPERATIONS[self._operation][1]), self._timeout)
        assert waited.server is not None
        if self._health is not None:
            await self._healthy(waited, waited.server)
        return Succeeded(
            key,
            waited.server,
            evidence=waited.evidence,
            timeline=waited.timeline,
            seconds=self._tools.clock.now() - began,
            attempts=self._sent[key],
            how=HOW[self._operation],
            acknowledged=True,
        )

    def _withdrawn(self, key: ServerId) -> bool:
        """Whether a command is kept back, asked when its turn comes: it leaves right after this."""
        if self._over:
            return True
        if key not in self._sent:
            self._tell(CommandSent(operation=self._operation, key=key))
        self._sent[key] = self._sent.get(key, 0) + 1
        return False

    async def _healthy(self, waited: WaitOutcome, server: Server) -> None:
        assert self._health is not None
        clock, said = self._tools.clock, "it said no"
        await clock.sleep(self._warm_up)
        for check in range(self._health_retries):
            if check:
                await clock.sleep(self._health_interval)
            try:
                async with asyncio.timeout(self._health_timeout):
                    said_yes = self._health(server)
                    # a plain function does as well: a server has been rebooted for its answer
                    if await said_yes if inspect.isawaitable(said_yes) else said_yes:
                        return
                said = "it said no"
            except (Exception, asyncio.CancelledError) as failure:
                # a check that fails is a check that did not say yes, whatever its reason
                task = asyncio.current_task()
                if isinstance(failure, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                said = f"{type(failure).__name__}: {failure}" if str(failure) else type(failure).__name__
        raise WaitError(
            f"server {server.id} is {server.status}, but its health check did not say yes in {self._health_retries} "
            f"tries, lastly: {said}",
            server_id=server.id,
            target="healthy",
            last_seen=server,
            timeline=waited.timeline,
        )

    def _settle(self, key: ServerId, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        self._ended = self._tools.clock.now()
        self._settled.put_nowait(outcome)
        self._tell(ServerSettled(operation=self._operation, key=key, outcome=outcome))

    def _tell(self, event: FleetEvent) -> None:
        if self._trace is not None:
            self._trace.tell(event)
        tell(self._on_event, event, log)


async def _not_again(report: Report) -> Report:
    """A second round without a look at what is ill would take more servers away."""
    raise ConfigurationError(
        f"a {report.operation} is not tried again as it was: see what its failed servers lack, then roll over the "
        "keys of report.failed and report.skipped"
    )
