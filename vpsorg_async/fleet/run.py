"""One fleet call in progress: a few workers send the commands, and the shared poller does the waiting.

A server whose command was acknowledged needs no task. A create whose answer was lost is searched for by name, in polls
that the waits need anyway. Leaving the run early, by an exception, a cancellation or a ``break``, loses nothing:
commands in flight get a moment to be answered, the account is read once for those that were not, and every server is in
the report.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from ..endpoints import Endpoints
from ..errors import OutcomeUnknownError, ServerGoneError, VpsOrgError, WaitError
from ..http.session import SendCancelled
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import COMMANDS, ONCE
from ..lifecycle.contract import Target
from ..lifecycle.creations import Doubt
from ..lifecycle.receipts import Receipt
from ..lifecycle.wait import Wait
from ..records import Server, ServerId
from ..shielding import to_the_end
from .adoption import Searches, why_stop
from .command_sender import LAST_ANSWERS, CommandSender, is_for_the_server_to_say, unanswered
from .events import CommandLost, ServerAdopted
from .intents import Intents
from .jobs import Job, JobRun, Options, RunContext, Work
from .open_waits import OpenWaits
from .outcomes import Report, Skipped, with_password
from .ready_stage import ReadyStage
from .reconcile import Found
from .resumption import Resumption
from .rollback import delete_again, rolled_back
from .run_tasks import RunTasks
from .stream import OutcomeLog, OutcomeStream
from .stuck_stage import StuckStage

__all__ = ["Run"]

log: logging.Logger = logging.getLogger("vpsorg_async.fleet")


class Run(OutcomeStream):
    """A run of `Fleet.creating`, `Fleet.create` and all other calls that are not rolling."""

    def __init__(
        self,
        context: RunContext,
        operation: str,
        keys: Sequence[ServerId],
        options: Options,
        prepare: Callable[[Resumption], Awaitable[Work]],
        *,
        claim: AbstractContextManager[None] | None = None,
        record: Callable[[], Awaitable[Intents]] | None = None,
        again: Callable[[Report], Awaitable[Report]] | None = None,
    ) -> None:
        """Prepare the run.

        Args:
            context: What the run works with.
            operation: Its name in reports and events.
            keys: What it has an outcome for.
            options: How it behaves.
            prepare: Returns the work, a job for each key, given what earlier runs left.
            claim: Held from then on until the run is left.
            record: Opens the journal and gets hold of what the run works on.
            again: What `Report.retry_failed` calls.
        """
        outcomes = OutcomeLog(context, operation, keys, on_event=options.on_event, again=again)
        super().__init__(context, outcomes, record)
        self._options = options
        self._prepare = prepare
        self._claim = claim or nullcontext()
        self._held = ExitStack()
        self._jobs: dict[ServerId, Job] = {}
        self._tasks = RunTasks(self._outcomes)
        self._sender = CommandSender(context, self._outcomes, self._why_not)
        self._in_flight: dict[ServerId, JobRun] = {}
        self._ids_before: set[str] = set()
        self._listed_at = 0.0
        self._searches = Searches(context, options, self._found, self._outcomes.broke)
        settle = (self._succeed, self._fail, self._again)
        self._stuck = StuckStage(context, options, self._outcomes, self._sender, self._tasks, *settle)
        self._ready = ReadyStage(context, options, self._outcomes, self._succeed, self._stuck.failed)
        self._waits = OpenWaits(
            context, options.timeout, self._reached, self._stuck.failed, self._outcomes.broke
        )
        self._created: dict[ServerId, ServerId] = {}
        self._stopped = ""
        self._no_deletes = ""

    async def _begin(self) -> None:
        if self._outcomes.operation in COMMANDS and not self._outcomes.complete:
            self._context.admissions.check_change(self._outcomes.operation)
        self._held.enter_context(self._claim)
        resumption = await self._take_up() or self._options.resumption or Resumption()
        self._sender.record(self._intents)
        work = await self._prepare(resumption)
        await self._admit(work)
        if self._intents is not None:
            await self._intents.note_before(work.ids_before)
        self._outcomes.follow()
        self._waits.begin(self._outcomes.context)
        self._jobs = {job.key: job for job in work.jobs}
        self._ids_before, self._listed_at = {*work.ids_before}, work.listed_at
        self._searches.begin(self._ids_before)
        self._stuck.begin(work.jobs, self._waits, self._ready, self._intents, self._ids_before)
        at_once = [job for job in work.jobs if not job.after]
        if self._options.careful_deletes:
            self._tasks.start(self._work(iter([job for job in at_once if job.command == "delete"])))
            at_once = [job for job in at_once if job.command != "delete"]
        # their searches begin now: what is known of a doubt is forgotten after a while
        queue = iter(sorted(at_once, key=lambda job: self._searches.doubt(job) is None))
        for _ in range(min(self._context.workers, len(at_once))):
            self._tasks.start(self._work(queue))
        for job in work.jobs:
            if job.after:
                self._tasks.start(self._do_after(job))

    async def _admit(self, work: Work) -> None:
        """Hold the changes of the run against the limits of the client. Raises `LimitError`."""
        admissions = self._context.admissions
        if any(job.command for job in work.jobs):
            admissions.check_change(self._outcomes.operation)
        specs = [job.spec for job in work.jobs if job.command == "create" and job.spec is not None]
        admission = await admissions.admit(self._context.endpoints.begin(), specs, searched=True)
        self._held.callback(admission.close)
        self._sender.admitted(admission)

    async def _release(self) -> None:
        self._held.close()
        await self._stuck.end()
        await super()._release()

    async def roll_back(self, why: str) -> None:
        """Delete what this run created, within 30 s and whatever is cancelled meanwhile; the outcomes say ``why``."""
        self._outcomes.note_rollback()
        work = delete_again(self._context, self._created, self._note_rollback, why)
        await to_the_end(work, self._outcomes.context)

    # -- the work ---------------------------------------------------------------------------------------------------

    def _why_not(self, job: Job) -> str:
        """Return why the command of a job is not sent any more; empty while it is."""
        return self._stopped or (self._no_deletes if job.command == "delete" else "")

    async def _work(self, queue: Iterator[Job]) -> None:
        """Do the jobs of a queue, one after the other, with the other workers of this queue."""
        for job in queue:
            why = self._why_not(job)
            if why:
                self._outcomes.settle(job.key, Skipped(job.key, why))
            else:
                await self._do(job)

    async def _do_after(self, job: Job) -> None:
        """Wait until the commands that are open are done, then do the job."""
        job_run = JobRun(job, self._context.clock.now())
        target = Target.of("gone" if job.command == "create" else "settled")
        try:
            for server_id in job.after:
                await self._context.waiter.wait(server_id, target, self._options.timeout)
        except VpsOrgError as error:
            self._fail(job_run, error, server=job.server)
            return
        # if the server did not stop after all, its start is refused, and the target is reached
        await self._work(iter([job]))

    async def _again(self, job: Job, replaced: tuple[ServerId, ...]) -> None:
        """Do a job once more, whose stuck servers were deleted and are gone."""
        self._created.pop(job.key, None)
        await self._do(job, replaced=replaced)

    async def _do(self, job: Job, cleared: Doubt | None = None, replaced: tuple[ServerId, ...] = ()) -> None:
        """Do one job; ``cleared``: an earlier create of its name, without effect; ``replaced``: see `JobRun`."""
        self._stuck.begun(job)
        job_run = JobRun(job, self._context.clock.now(), acknowledged=job.acknowledged, replaced=replaced)
        if job.error is not None:
            self._fail(job_run, job.error)
        elif job.leaving:
            await self._stuck.take_up(job_run)
        elif not job.command:
            self._await(job_run, job.server, job.how)
        elif cleared is not None or not self._searches.clear_up(job_run, self._listed_at):
            await self._send(job_run)

    async def _send(self, job_run: JobRun) -> None:
        """Send the command of a job run, and settle it, wait for its target or search for its server."""
        job = job_run.job
        endpoints = self._sender.begin()
        self._in_flight[job.key] = job_run
        try:
            server = await self._sender.send(job_run, endpoints, self._ids_before)
        except SendCancelled as cancelled:
            self._skip(job.key, str(cancelled))
        except OutcomeUnknownError as error:
            if job.spec is not None:
                self._outcomes.emit(CommandLost, key=job.key, message=str(error))
                self._searches.open(job_run, job.spec, error)
            elif job.command in ONCE:
                self._fail(job_run, error)
            else:
                # the server itself shows whether it was applied; of these it shows nothing, or has been asked
                await self._judge_by_server(job_run, endpoints, error)
        except VpsOrgError as error:
            if is_for_the_server_to_say(job, error):
                await self._judge_by_server(job_run, endpoints, error)
            else:
                self._fail(job_run, error)
        else:
            if server is not None:
                self._created[job.key] = server.id
            self._await(job_run, server, job.past)
        # not in a `finally`: a command that was cancelled, or met a bug, may have been sent; `_settle_all` reports it
        self._in_flight.pop(job.key, None)
        if job_run.refusal is not None and self._options.careful_deletes and job.command == "delete":
            # the next delete must not leave before the server has shown whether this one was refused
            await self._outcomes.settled(job.key)

    async def _judge_by_server(self, job_run: JobRun, endpoints: Endpoints, error: VpsOrgError) -> None:
        """Settle a job run by its server, because the error does not say whether the command was applied."""
        job = job_run.job
        if job.target is not None:
            job_run.refused(error)
            self._await(job_run, job.server, job.past)
        elif job.server_id and await endpoints.shows_done(job.command, job.server_id):
            self._succeed(job_run, job.server, job.past)
        else:
            self._fail(job_run, error)

    def _reached(self, job_run: JobRun, how: str, waited: WaitOutcome) -> None:
        """Go on with a job run whose server has its status."""
        self._stuck.reached(job_run)
        self._ready.join(job_run, how, waited)

    def _await(self, job_run: JobRun, server: Server | None, how: str) -> None:
        if job_run.job.target is not None:
            self._waits.join(job_run, server, how)
        elif server is None or job_run.acknowledged:
            self._succeed(job_run, server, how)
        else:
            # it had its status before: nothing was sent
            self._ready.join(
                job_run,
                how,
                WaitOutcome(server_id=server.id, server=server, stage=str(server.status)),
            )

    def _found(self, job_run: JobRun, found: Found) -> None:
        """Settle the create of a search that ended."""
        self._in_flight[job_run.job.key] = job_run
        try:
            self._judge(job_run, found)
        except BaseException as bug:
            # a bug of ours, which no test runs: the server stays in flight, and so in the report
            self._outcomes.broke(bug)
        else:
            self._in_flight.pop(job_run.job.key, None)

    def _judge(self, job_run: JobRun, found: Found) -> None:
        key = job_run.job.key
        if found.server is None:
            assert found.error is not None
            if job_run.doubt is not None and found.exhausted:
                # no server of the earlier create can be seen: another create may be sent
                assert job_run.job.spec is not None
                self._context.admissions.clear(self._context.endpoints.key_of(job_run.job.spec))
                self._tasks.start(self._do(job_run.job, job_run.doubt))
            else:
                self._fail(job_run, found.error)
            return
        receipt = Receipt.of(found.server, "create")
        job_run.accepted(receipt)
        if job_run.doubt is None:
            self._created[key] = found.server.id  # otherwise an earlier call created it
        self._context.endpoints.adopt(found.server)
        if self._intents is not None:
            self._intents.acknowledged(job_run.job, receipt)
        self._outcomes.emit(ServerAdopted, key=key, server_id=found.server.id, receipt=receipt)
        self._await(job_run, found.server, "adopted")

    # -- leaving early ----------------------------------------------------------------------------------------------

    async def _leave(self, why: str) -> None:
        if not self._outcomes.complete:
            await self._settle_all(why)
        if self._options.on_cancel == "delete":
            await self.roll_back("deleted again, because the call was left early")
        elif self._created:
            ids = ", ".join(str(server_id) for server_id in self._created.values())
            log.warning("%s: %s; these servers were created and stay: %s", self._outcomes.operation, why, ids)

    async def _settle_all(self, why: str) -> None:
        """Give each open job an outcome, after the last answers and one poll of the account.

        If the event loop ends meanwhile, each job gets its outcome from what is known by then.
        """
        self._stopped = self._stopped or why
        self._stuck.detach(why)
        self._ready.detach(why)
        lost: list[JobRun] = []
        seen: Mapping[str, Sequence[Server]] = {}
        try:
            await self._tasks.end(LAST_ANSWERS)
            await self._ready.end()
            lost = self._lost()
            if any(job_run.job.spec for job_run in lost):
                seen = await self._searches.last_poll()
        finally:
            self._tasks.cancel()
            for job_run in lost or self._lost():
                self._give_up(job_run, seen, why)
            self._stuck.abandon(why)
            self._waits.detach(why)
            self._ready.detach(why)
            for key in list(self._outcomes.open):
                self._skip(key, f"not sent: {why}")

    def _skip(self, key: ServerId, why: str) -> None:
        """Settle a key for which nothing was sent; or a create that would have replaced a server that was deleted."""
        job_run = self._in_flight.get(key)
        if job_run is None or not job_run.replaced:
            self._outcomes.settle(key, Skipped(key, why))
            return
        ids = ", ".join(map(str, job_run.replaced))
        self._fail(
            job_run, VpsOrgError(f"{key}: it was stuck and deleted ({ids}), and no other was created: {why}")
        )

    def _lost(self) -> list[JobRun]:
        """Return the commands that may have been applied and have no answer; ends the searches."""
        return [job_run for job_run in self._in_flight.values() if job_run.attempts] + self._searches.close()

    def _give_up(self, job_run: JobRun, seen: Mapping[str, Sequence[Server]], why: str) -> None:
        """Settle a command that may have been applied, by the last poll of the account."""
        job = job_run.job
        hits = seen.get(self._context.endpoints.key_of(job.spec), ()) if job.spec is not None else ()
        server = hits[0] if len(hits) == 1 else None
        if job_run.doubt is not None:
            # an earlier call created it, and `on_cancel` is for what this one did
            self._fail(job_run, job_run.doubt.error, server=server)
            return
        if server is not None:
            self._created[job.key] = server.id
        known = "check the server before sending it again" if server is None else f"it exists as {server.id}"
        unknown = unanswered(job_run, why, known, [hit.id for hit in hits])
        self._fail(job_run, unknown, server=server)

    def _note_rollback(self, key: ServerId, text: str, gone: bool) -> None:
        failed = rolled_back(self._outcomes.get(key), key, self._created[key], text, gone=gone)
        self._outcomes.revise(key, failed)
        if gone:
            del self._created[key]
            self._forget(self._jobs[key])

    def _forget(self, job: Job) -> None:
        """Record that the server of a create is gone: a later run must not wait for it."""
        if self._intents is not None and job.spec is not None:
            self._intents.withdrawn(job)

    # -- outcomes ---------------------------------------------------------------------------------------------------

    def _succeed(
        self, job_run: JobRun, server: Server | None, how: str, waited: WaitOutcome | None = None
    ) -> None:
        now = self._context.clock.now()
        self._outcomes.settle(job_run.job.key, job_run.succeeded(server, how, now, waited))
        self._stuck.settled(job_run.job.key, up=True)

    def _fail(
        self, job_run: JobRun, error: VpsOrgError, wait: Wait | None = None, server: Server | None = None
    ) -> None:
        job = job_run.job
        self._stopped = self._stopped or why_stop(error, job.command)
        if not self._stopped and self._options.on_failure == "stop":
            self._stopped = f"not sent, because {job.key} failed: {error}"
        if self._options.careful_deletes and job.command == "delete":
            self._no_deletes = f"not sent, because the delete of {job.key} failed: {error}"
        if isinstance(error, ServerGoneError):
            self._forget(job)
        seen, timeline = (error.last_seen, error.timeline) if isinstance(error, WaitError) else (None, ())
        if wait is not None:
            seen, timeline = wait.last_seen, wait.timeline
        known = with_password(seen or server or job.server, server)
        outcome = job_run.failed(error, self._context.clock.now(), server=known, timeline=timeline)
        self._outcomes.settle(job.key, outcome)
        self._stuck.settled(job.key, up=False)
