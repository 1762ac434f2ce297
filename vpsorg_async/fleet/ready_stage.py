"""The ready stage of a run: the servers that have their status, and whose ready checks have not passed yet."""

from __future__ import annotations

from ..errors import VpsOrgError, WaitError
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import GONE
from ..lifecycle.ready_checks import READY
from ..records import Server
from .events import ServerActive, ServerNotReady
from .jobs import JobRun, Options, RunContext
from .open_waits import Fail, Succeed
from .outcomes import with_password
from .run_tasks import RunTasks
from .stream import OutcomeLog

__all__ = ["ReadyStage"]


class ReadyStage:
    """Repeats the check of each server in a task of its own, and settles its job run."""

    def __init__(
        self, context: RunContext, options: Options, outcomes: OutcomeLog, succeed: Succeed, fail: Fail
    ) -> None:
        self._context = context
        self._options = options
        self._outcomes = outcomes
        self._succeed = succeed
        self._fail = fail
        self._tasks = RunTasks(outcomes)
        self._open: dict[JobRun, WaitOutcome] = {}
        self._reasons: dict[JobRun, str] = {}

    def join(self, job_run: JobRun, how: str, waited: WaitOutcome) -> None:
        """Settle a job run whose server has its status; without a check that is done, else once the check passes.

        A server that was deleted is not checked.
        """
        job_run.reached(waited.stage)
        if self._options.ready is None or waited.stage == GONE:
            self._succeed(job_run, waited.server, how, waited)
            return
        self._open[job_run] = waited
        self._outcomes.emit(ServerActive, key=job_run.job.key, server_id=waited.server_id)
        self._tasks.start(self._check(job_run, how, waited))

    async def _check(self, job_run: JobRun, how: str, waited: WaitOutcome) -> None:
        """Repeat the check of one server, and settle its job run, if it is open still.

        It is not if the run was left in the iteration of the event loop in which the check ended: no test runs that.
        """
        options, job = self._options, job_run.job
        assert options.ready is not None
        assert options.ready_policy is not None

        def on_no(server: Server, reason: str) -> None:
            self._reasons[job_run] = reason
            self._outcomes.emit(ServerNotReady, key=job.key, server_id=server.id, reason=reason)

        try:
            ready = await self._context.waiter.ready(
                waited, options.ready, options.ready_policy, operation=job.command, on_no=on_no
            )
        except VpsOrgError as error:
            if self._open.pop(job_run, None) is not None:
                self._fail(job_run, error, server=waited.server)
        else:
            if self._open.pop(job_run, None) is not None:
                job_run.reached(READY)
                self._succeed(job_run, with_password(ready.server, waited.server), how, ready)

    def detach(self, why: str) -> None:
        """End all checks. Their servers are not changed."""
        self._tasks.cancel()
        for job_run, waited in self._open.items():
            reason = self._reasons.get(job_run, "")
            left = WaitError(
                f"server {waited.server_id}: {why} before its ready check passed; it is {waited.stage}"
                f"{reason and f', last: {reason}'}",
                server_id=waited.server_id,
                target=READY,
                last_seen=waited.server,
                timeline=waited.timeline,
                reason=reason,
            )
            self._fail(job_run, left, server=waited.server)
        self._open.clear()

    async def end(self) -> None:
        """Wait until no check is in progress any more."""
        await self._tasks.end()
