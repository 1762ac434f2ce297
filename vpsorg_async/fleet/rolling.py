"""A rolling operation in progress: `Rollout` decides which server goes next; this sends, waits and checks health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from ..errors import APIError, ConfigurationError, VpsOrgError, WaitError
from ..http.session import SendCancelled
from ..journal import Acknowledged, Intent
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import ROLLING
from ..lifecycle.contract import Target
from ..lifecycle.readiness import ReadyCheck, ReadyPolicy, check_check
from ..listing import by_id
from ..records import Server, ServerId
from ..specs import id_text
from .adoption import why_stop
from .command_sender import CommandSender, is_for_the_server_to_say, unanswered
from .events import FleetEvent, ServerActive, ServerNotReady
from .inputs import check_function
from .intents import Intents
from .jobs import Call, Job, JobRun, RunContext
from .outcomes import Outcome, Report, Skipped, Succeeded
from .resumption import Resumption
from .retry_failed import job_left
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
        record: Callable[[], Awaitable[Intents]] | None = None,
        resumption: Resumption | None = None,
        must_resume: bool = False,
        call: Call | None = None,
        first: Call | None = None,
    ) -> None:
        """Prepare the run; the options are those of `Fleet.rolling`.

        ``record`` opens its journal. ``resumption`` is what an earlier run left, as the caller says; None: what the
        journal has. ``must_resume``: without anything of an earlier run it is refused. ``call`` sends the command, and
        ``first`` what must succeed right before it.
        """
        check_function(on_event, "on_event", awaited=False)
        if health is not None:
            check_check(health, "health")
        title = f"rolling {operation}"
        outcomes = OutcomeLog(context, title, ids, on_event=on_event, again=_not_again)
        super().__init__(context, outcomes, record)
        self._limits: dict[str, Any] = {
            "max_unavailable": max_unavailable,
            "max_failures": max_failures,
            "canary": canary,
        }
        self._rollout = Rollout({}, **self._limits)  # refuses bad limits before anything is sent
        self._command = ROLLING[operation]
        self._call = call
        self._first = first
        self._target = Target.of(self._command.target)
        self._ids = ids
        self._timeout = timeout
        self._health = health
        self._health_policy = health_policy
        self._resumption = resumption or Resumption()
        self._must_resume = must_resume
        self._ended_by = ""
        self._rest_skipped = False
        self._jobs: dict[ServerId, Job] = {}
        self._job_runs: dict[ServerId, JobRun] = {}
        self._checked: dict[ServerId, tuple[Server | None, str]] = {}
        self._sender = CommandSender(context, self._outcomes, lambda _: self._over)
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
        self._context.admissions.check_change(f"rolling {self._command}")
        resumption = await self._take_up() or self._resumption
        if self._must_resume and not any(resumption.command(key, self._command.word) for key in self._ids):
            raise ConfigurationError(
                f"there is nothing to resume: the journal has no {self._command.word} of these servers by a run that "
                "did not complete; nothing was sent"
            )
        self._sender.record(self._intents)
        known = await self._read() if self._ids else {}
        self._outcomes.follow()
        locations: dict[ServerId, str] = {}
        done: set[ServerId] = set()
        down: set[ServerId] = set()
        for key in self._ids:
            server, left = known.get(id_text(key)), resumption.command(key, self._command.word)
            locations[key] = "" if server is None else server.location or ""
            job = self._job(key, server, left)
            if isinstance(job, Skipped):
                self._outcomes.settle(key, job)
            else:
                self._jobs[key] = attrs.evolve(job, call=self._call, first=self._first)
                if server is not None:
                    self._context.endpoints.saw(server)
                    # a resize may have been to another plan: it is checked once more
                    if isinstance(left, Acknowledged) and left.done and self._call is None:
                        done.add(key)
                        self._settle_done(job, server)
            if (isinstance(job, Skipped) or key in done) and self._is_down(server):
                down.add(key)
        in_flight = [key for key, job in self._jobs.items() if not job.command and key not in done]
        self._rollout = Rollout(
            locations,
            paused=self._rollout.paused,
            done=done,
            in_progress=in_flight,
            down=down,
            skipped=[key for key in self._ids if key not in self._jobs and key not in down],
            **self._limits,
        )
        for key in in_flight:
            self._start(key)
        self._start_next()

    def _job(self, key: ServerId, server: Server | None, left: Intent | Acknowledged | None) -> Job | Skipped:
        """Return what is done for a server. One without a command is only waited for: an earlier run has sent it.

        What is left of an earlier run comes before the status: it may be the reason for it.
        """
        job = job_left(key, self._command.word, self._target, left)
        if not job.command and not (server is None and isinstance(left, Acknowledged) and left.done):
            return job
        if server is None:
            return Skipped(key, "it is not in the account")
        if server.status == self._command.before:
            return job
        if job.echo and server.status in self._command.shows_accepted:
            return attrs.evolve(job, command="")
        return Skipped(key, f"it is {server.status}, not {self._command.before}")

    def _is_down(self, server: Server | None) -> bool:
        """Whether a server that is not rolled is unavailable: it is neither where the command finds it nor leads to."""
        return server is None or server.status not in (self._command.before, self._command.target)

    def _settle_done(self, job: Job, server: Server) -> None:
        """Settle a server that an earlier run has taken through all of it."""
        now = self._context.clock.now()
        job_run = JobRun(job, now, acknowledged=True, stage=self._command.target)
        self._outcomes.settle(job.key, job_run.succeeded(server, job.how, now))

    async def _read(self) -> dict[str, Server]:
        """Return the servers of the account by id, in the form of `id_text`."""
        endpoints = self._context.endpoints.begin()
        return await by_id((await endpoints.listing()).servers, self._ids, endpoints.get)

    async def _leave(self, why: str) -> None:
        self._ended_by = self._ended_by or why
        try:
            await self._sender.answers()
            await self._tasks.end()
        finally:
            self._tasks.cancel()
            self._settle_rest(why)

    def _settle_rest(self, why: str) -> None:
        for key in list(self._outcomes.open):
            job_run = self._job_runs.get(key)
            if job_run is None or (job_run.job.command and not job_run.attempts):
                self._outcomes.settle(key, Skipped(key, f"not sent: {why}"))
                continue
            server, reason = self._checked.get(key, (None, ""))
            seen = "it was sent, and its end was not seen"
            if server is not None:
                seen = f"it is {server.status}, and its check has not passed{reason and f', last: {reason}'}"
            error = job_run.job.error or WaitError(
                f"{self._command.word} of {key!r}: {why}; {seen}",
                server_id=key,
                last_seen=server,
                reason=reason,
            )
            if not job_run.acknowledged and job_run.job.error is None:
                error = unanswered(job_run, why)
            self._outcomes.settle(key, job_run.failed(error, self._context.clock.now(), server=server))

    @property
    def _done(self) -> bool:
        # servers that it can't roll leave nothing to take up
        outcomes = map(self._outcomes.get, self._jobs)
        return self._outcomes.complete and all(isinstance(outcome, Succeeded) for outcome in outcomes)

    @property
    def _over(self) -> str:
        """Why no further command is sent; empty while they are."""
        return self._ended_by or self._rollout.stopped

    def _start_next(self) -> None:
        """Start the servers that may go now; once the rollout has stopped, skip all that are left."""
        for key in () if self._ended_by else self._rollout.begin():
            self._start(key)
        if self._over and not self._rest_skipped:
            self._rest_skipped = True
            for key in self._rollout.left:
                self._outcomes.settle(key, Skipped(key, self._over))

    def _start(self, key: ServerId) -> None:
        job = self._jobs[key]
        self._job_runs[key] = JobRun(job, self._context.clock.now(), acknowledged=job.acknowledged)
        self._tasks.start(self._roll(self._job_runs[key]))

    async def _roll(self, job_run: JobRun) -> None:
        """Take one server through its command, the wait and the health check."""
        job, key = job_run.job, job_run.job.key
        back = False
        outcome: Outcome
        try:
            waited = await self._send_and_wait(job_run)
            job_run.reached(waited.stage)
            if self._health is not None:
                waited = await self._healthy(key, waited, self._health)
                job_run.reached(waited.stage)
        except SendCancelled as cancelled:
            back, outcome = True, Skipped(key, str(cancelled))
        except VpsOrgError as error:
            self._ended_by = self._ended_by or why_stop(error, self._command.word)
            seen, timeline = (error.last_seen, error.timeline) if isinstance(error, WaitError) else (None, ())
            outcome = job_run.failed(
                job.error or error, self._context.clock.now(), server=seen, timeline=timeline
            )
        else:
            back, outcome = True, self._came_back(job_run, waited)
        self._rollout.settled(key, back)
        self._outcomes.settle(key, outcome)
        self._start_next()

    async def _send_and_wait(self, job_run: JobRun) -> WaitOutcome:
        """Send the command, unless an earlier run has, and wait for its target. Raises `VpsOrgError`."""
        job = job_run.job
        if job.command:
            try:
                await self._sender.send(job_run, self._sender.begin())
            except APIError as error:
                if not is_for_the_server_to_say(job, error):
                    raise
                job_run.refused(error)
        try:
            return await self._context.waiter.wait(job.receipt or job.key, self._target, self._timeout)
        except WaitError:
            # the error of the command says more than that the server stayed as it was
            if job_run.refusal is None:
                raise
            raise job_run.refusal from None

    def _came_back(self, job_run: JobRun, waited: WaitOutcome) -> Outcome:
        """Return the outcome of a server that is back, and healthy: that of a command in doubt says so all the same."""
        now, error = self._context.clock.now(), job_run.job.error
        if error is not None:
            return job_run.failed(error, now, server=waited.server, timeline=waited.timeline)
        if self._intents is not None:
            self._intents.done(job_run.job, self._command.word)
        return job_run.succeeded(waited.server, self._command.past, now, waited)

    async def _healthy(self, key: ServerId, waited: WaitOutcome, health: Health) -> WaitOutcome:
        """Check a server that is back until it is healthy. Raises `VpsOrgError`."""
        self._checked[key] = waited.server, ""
        self._outcomes.emit(ServerActive, key=key, server_id=waited.server_id)

        def on_no(server: Server, reason: str) -> None:
            self._checked[key] = server, reason
            self._outcomes.emit(ServerNotReady, key=key, server_id=server.id, reason=reason)

        return await self._context.waiter.ready(
            waited, health, self._health_policy, operation=self._command.word, on_no=on_no
        )


async def _not_again(report: Report) -> Report:
    """Refuse a second round: before the cause is found, it would only make more servers unavailable."""
    raise ConfigurationError(
        f"a {report.operation} is not tried again as it was: see what its failed servers lack, then pass "
        "report.remaining to the next rolling call"
    )
