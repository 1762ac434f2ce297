"""A rolling operation in progress: `Rollout` decides which server goes next; this sends, waits and checks health."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigurationError, NotFoundError, VpsOrgError, WaitError, is_absence
from ..http.session import SendCancelled
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import COMMANDS, IN_PLACE
from ..lifecycle.contract import Target
from ..lifecycle.readiness import ReadyCheck, ReadyPolicy, check_check
from ..records import Server, ServerId
from .adoption import stops_all
from .command_sender import CommandSender
from .events import FleetEvent, ServerActive, ServerNotReady
from .inputs import check_function
from .jobs import Job, JobRun, RunContext
from .outcomes import Failed, Outcome, Report, Skipped
from .rollout import Rollout
from .run_tasks import RunTasks
from .stream import OutcomeLog, OutcomeStream

__all__ = ["Health", "RollingRun"]

Health = ReadyCheck
"""Returns whether a server that came back is healthy; async, or quick. An exception counts as False."""


class RollingRun(OutcomeStream):
    """A run of `Fleet.rolling`: an async context manager, and an async iterator of outcomes as they settle.

    Leaving it early sends no further command. A server whose command was sent and that was not seen to come back is
    `Failed` then.
    """

    def __init__(
        self,
        context: RunContext,
        operation: str,
        ids: Sequence[ServerId],
        *,
        max_unavailable: int | float,
        max_failures: int,
        canary: int,
        timeout: float,
        health: Health | None,
        health_policy: ReadyPolicy,
        on_event: Callable[[FleetEvent], None] | None,
    ) -> None:
        if not isinstance(operation, str) or operation not in IN_PLACE:
            raise ConfigurationError(f"rolling knows {', '.join(IN_PLACE)}, not {operation!r}")
        check_function(on_event, "on_event", awaited=False)
        if health is not None:
            check_check(health, "health")
        title = f"rolling {operation}"
        super().__init__(context, OutcomeLog(context, title, ids, on_event=on_event, again=_not_again))
        self._limits: dict[str, Any] = {
            "max_unavailable": max_unavailable,
            "max_failures": max_failures,
            "canary": canary,
        }
        self._rollout = Rollout({}, **self._limits)  # refuses bad limits before anything is sent
        self._command = operation
        self._ids = ids
        self._timeout = timeout
        self._health = health
        self._health_policy = health_policy
        self._ended_by = ""
        self._rest_skipped = False
        self._job_runs: dict[ServerId, JobRun] = {}
        self._checked: dict[ServerId, tuple[Server | None, str]] = {}
        self._sender = CommandSender(context, self._outcomes, lambda: self._over)
        self._tasks = RunTasks(self._outcomes)

    @property
    def paused(self) -> bool:
        """Whether no further command is sent until `resume`."""
        return self._rollout.paused

    def pause(self) -> None:
        """Send no further command until `resume`; what was sent goes on."""
        self._rollout.pause()

    def resume(self) -> None:
        """Send commands again."""
        self._context.waiter.check()
        self._rollout.resume()
        self._start_next()

    async def _begin(self) -> None:
        wanted = COMMANDS[self._command].before
        known = await self._read() if self._ids else {}
        self._outcomes.follow()
        locations: dict[ServerId, str] = {}
        for key in self._ids:
            server = known.get(str(key))
            if server is None:
                self._outcomes.settle(key, Skipped(key, "it is not in the account"))
            elif server.status != wanted:
                self._outcomes.settle(key, Skipped(key, f"it is {server.status}, not {wanted}"))
            else:
                self._context.endpoints.saw(server)
                locations[key] = server.location or ""
        self._rollout = Rollout(locations, paused=self._rollout.paused, **self._limits)
        self._start_next()

    async def _read(self) -> dict[str, Server]:
        """Return the servers of the account by id."""
        endpoints = self._context.endpoints.begin()
        listing = await endpoints.listing()
        known = {str(server.id): server for server in listing.servers}
        if listing.lacks:
            # a server that an incomplete list does not show may exist all the same
            for key in self._ids:
                if str(key) not in known:
                    try:
                        known[str(key)] = await endpoints.get(key)
                    except NotFoundError as error:
                        if not is_absence(error):
                            raise
        return known

    async def _leave(self, why: str) -> None:
        self._ended_by = self._ended_by or why
        try:
            await self._tasks.end()
        finally:
            self._tasks.cancel()
            self._settle_rest(why)

    def _settle_rest(self, why: str) -> None:
        for key in list(self._outcomes.open):
            job_run = self._job_runs.get(key)
            if job_run is None or not job_run.attempts:
                self._outcomes.settle(key, Skipped(key, f"not sent: {why}"))
            else:
                server, reason = self._checked.get(key, (None, ""))
                seen = "it was sent, and its end was not seen"
                if server is not None:
                    seen = (
                        f"it is {server.status}, and its check has not passed{reason and f', last: {reason}'}"
                    )
                error = WaitError(
                    f"{self._command} of {key!r}: {why}; {seen}",
                    server_id=key,
                    last_seen=server,
                    reason=reason,
                )
                self._outcomes.settle(key, job_run.failed(error, self._context.clock.now(), server=server))

    @property
    def _over(self) -> str:
        """Why no further command is sent; empty while they are."""
        return self._ended_by or self._rollout.stopped

    def _start_next(self) -> None:
        """Start the servers that may go now; once the rollout has stopped, skip all that are left."""
        for key in () if self._ended_by else self._rollout.begin():
            self._tasks.start(self._roll(key))
        if self._over and not self._rest_skipped:
            self._rest_skipped = True
            for key in self._rollout.left:
                self._outcomes.settle(key, Skipped(key, self._over))

    async def _roll(self, key: ServerId) -> None:
        """Take one server through its command, the wait and the health check."""
        command = COMMANDS[self._command]
        job = Job(key=key, command=self._command, server_id=key, target=Target.of(command.target))
        job_run = self._job_runs[key] = JobRun(job, self._context.clock.now())
        outcome: Outcome
        try:
            await self._sender.send(job_run, self._sender.begin())
            waited = await self._context.waiter.wait(key, Target.of(command.target), self._timeout)
            job_run.reached(waited.stage)
            if self._health is not None:
                waited = await self._healthy(key, waited, self._health)
                job_run.reached(waited.stage)
            outcome = job_run.succeeded(waited.server, command.past, self._context.clock.now(), waited)
        except SendCancelled as cancelled:
            outcome = Skipped(key, str(cancelled))
        except VpsOrgError as error:
            if stops_all(error):
                self._ended_by = f"not sent, because an earlier {self._command} was refused: {error}"
            seen, timeline = (error.last_seen, error.timeline) if isinstance(error, WaitError) else (None, ())
            outcome = job_run.failed(error, self._context.clock.now(), server=seen, timeline=timeline)
        self._rollout.settled(key, not isinstance(outcome, Failed))
        self._outcomes.settle(key, outcome)
        self._start_next()

    async def _healthy(self, key: ServerId, waited: WaitOutcome, health: Health) -> WaitOutcome:
        """Check a server that is back until it is healthy. Raises `VpsOrgError`."""
        self._checked[key] = waited.server, ""
        self._outcomes.emit(ServerActive, key=key, server_id=waited.server_id)

        def on_no(server: Server, reason: str) -> None:
            self._checked[key] = server, reason
            self._outcomes.emit(ServerNotReady, key=key, server_id=server.id, reason=reason)

        return await self._context.waiter.ready(
            waited, health, self._health_policy, operation=self._command, on_no=on_no
        )


async def _not_again(report: Report) -> Report:
    """Refuse a second round: before the cause is found, it would only make more servers unavailable."""
    raise ConfigurationError(
        f"a {report.operation} is not tried again as it was: see what its failed servers lack, then roll over the "
        "keys of report.failed and report.skipped"
    )
