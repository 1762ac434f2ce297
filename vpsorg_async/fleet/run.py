"""One fleet call under way: a few workers send the commands, the shared poller does the waiting.

A server whose command was acknowledged keeps no task; a create whose answer was lost is looked for by its name in the
polls that the poller makes anyway. Leaving the run early, by an exception, a cancellation or a ``break``, loses nothing
that was committed: commands under way get a moment to be answered, the account is read once for those that did not,
and every server is in the report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from ..changes import ECHOES
from ..errors import APIError, OutcomeUnknownError, VpsOrgError
from ..http.session import SendCancelled
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import COMMANDS
from ..lifecycle.contract import Target
from ..lifecycle.creations import Doubt
from ..lifecycle.wait import Wait
from ..records import Server, ServerId
from ..shielding import is_cancellation, to_the_end
from .adoption import Searches, stops_all
from .events import CommandAnswered, CommandLost, CommandSent, ServerAdopted
from .jobs import Job, JobRun, Options, RunContext, Work
from .open_waits import OpenWaits
from .outcomes import Failed, Report, Skipped, Succeeded, with_password
from .reconcile import Found
from .rollback import delete_again, rolled_back
from .stream import OutcomeLog, OutcomeStream

__all__ = ["Run"]

log = logging.getLogger("vpsorg_async.fleet")

LAST_ANSWERS = 1.0
"""Seconds that commands under way get to be answered when a run is left early; then the account is read, once."""


class Run(OutcomeStream):
    """A run of `Fleet.creating`, `Fleet.create` and all other calls that are not rolling."""

    def __init__(
        self,
        context: RunContext,
        operation: str,
        keys: Sequence[ServerId],
        options: Options,
        prepare: Callable[[], Awaitable[Work]],
        *,
        claim: AbstractContextManager[None] | None = None,
        again: Callable[[Report], Awaitable[Report]] | None = None,
    ) -> None:
        """``prepare`` returns the work, a job for each key; ``claim`` is held from then on until the run is left."""
        super().__init__(
            context, OutcomeLog(context, operation, keys, on_event=options.on_event, again=again)
        )
        self._operation = operation
        self._options = options
        self._prepare = prepare
        self._claim = claim or nullcontext()
        self._held = ExitStack()
        self._queue: Iterator[Job] = iter(())
        self._workers: list[asyncio.Task[None]] = []
        self._under_way: dict[ServerId, JobRun] = {}
        self._ids_before: Collection[str] = ()
        self._searches = Searches(context, options, self._found, self._outcomes.broke)
        self._waits = OpenWaits(context, options.timeout, self._succeed, self._fail, self._outcomes.broke)
        self._made: dict[ServerId, ServerId] = {}
        self._stopped = ""

    async def _begin(self) -> None:
        self._held.enter_context(self._claim)
        work = await self._prepare()
        self._outcomes.follow()
        self._loop = asyncio.get_running_loop()
        self._waits.begin(self._outcomes.context)
        self._ids_before = work.ids_before
        self._searches.begin(work.ids_before)
        self._queue = iter([job for job in work.jobs if not job.after])
        # a loop of its own for each worker, apart from the caller's cancellation: what was sent shall be answered
        self._workers = [
            self._loop.create_task(
                self._work(), name=f"vpsorg-{self._operation}", context=self._outcomes.context
            )
            for _ in range(min(self._context.workers, len(work.jobs)))
        ]
        for job in work.jobs:
            if job.after:
                self._spawn(self._do_after(job))

    def _release(self) -> None:
        self._held.close()

    async def roll_back(self, why: str) -> None:
        """Delete what this run made, within bounds and whatever is cancelled meanwhile, and say so in the outcomes."""
        self._outcomes.rolled_back = True
        work = delete_again(self._context, self._made, self._note_rollback, why)
        await to_the_end(work, self._outcomes.context)

    # -- the work ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            for job in self._queue:
                if self._stopped:
                    self._outcomes.settle(job.key, Skipped(job.key, self._stopped))
                else:
                    await self._do(job)
        except BaseException as bug:
            if is_cancellation(bug):
                raise
            self._outcomes.broke(bug)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """A worker for one job that can't wait in the queue."""

        async def guarded() -> None:
            try:
                await work
            except BaseException as bug:
                if is_cancellation(bug):
                    raise
                self._outcomes.broke(bug)

        task = self._loop.create_task(
            guarded(), name=f"vpsorg-{self._operation}", context=self._outcomes.context
        )
        # a task that is cancelled before its first step never looks at it
        task.add_done_callback(lambda _: work.close())
        self._workers.append(task)

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
        if self._stopped:
            self._outcomes.settle(job.key, Skipped(job.key, self._stopped))
            return
        # where it did not stop after all, its start is refused: the goal is reached
        await self._do(job)

    async def _do(self, job: Job, doubt: Doubt | None = None) -> None:
        job_run = JobRun(job, self._context.clock.now(), acknowledged=job.acknowledged)
        if job.error is not None:
            self._fail(job_run, job.error)
            return
        if not job.command:
            self._await(job_run, job.server, job.how)
            return
        if job.spec is not None and doubt is None:
            creations = self._context.endpoints.creations
            doubt = creations.doubt(self._context.endpoints.shown_name(job.spec), job_run.sent_at)
            if doubt is not None and job_run.sent_at < doubt.sent_at + self._options.settle:
                job_run.doubt = doubt
                self._searches.open(job_run, job.spec, doubt.error, doubt.sent_at)
                return
        self._under_way[job.key] = job_run
        try:
            server = await self._command(job_run)
        except SendCancelled:
            self._outcomes.settle(job.key, Skipped(job.key, self._stopped))
        except OutcomeUnknownError as error:
            if job.spec is not None:
                self._outcomes.emit(CommandLost(operation=self._operation, key=job.key, message=str(error)))
                self._searches.open(job_run, job.spec, error)
            elif job.command == "reboot":
                self._fail(job_run, error)
            else:
                # the server itself shows whether it was applied; of a reboot it shows nothing
                await self._judge_by_server(job_run, error)
        except VpsOrgError as error:
            if isinstance(error, APIError) and (
                (job.echo and error.status in ECHOES and error.from_api)
                or (error.status < 300 and job.command in ("start", "stop", "delete"))
            ):
                await self._judge_by_server(job_run, error)
            else:
                self._fail(job_run, error)
        else:
            job_run.acknowledged = True
            if server is not None and job.command == "create":
                self._made[job.key] = server.id
            server_id = server.id if server is not None else job.server_id
            self._outcomes.emit(
                CommandAnswered(operation=job.command, key=job.key, server_id=server_id or job.key)
            )
            self._await(job_run, server, COMMANDS[job.command].past)
        # not in a `finally`: what was cancelled, or met a bug, may have been sent, and is told when the run is left
        self._under_way.pop(job.key, None)

    def _withdrawn(self, job_run: JobRun) -> bool:
        """Whether a command is kept back, asked when its turn comes: it leaves right after this."""
        if self._stopped:
            return True
        if not job_run.attempts:
            self._outcomes.emit(CommandSent(operation=job_run.job.command, key=job_run.job.key))
        job_run.sent_at, job_run.time = self._context.clock.now(), self._context.clock.wall()
        job_run.attempts += 1
        return False

    async def _command(self, job_run: JobRun) -> Server | None:
        job, endpoints = job_run.job, self._context.endpoints.for_bulk(lambda: self._withdrawn(job_run))
        if job.spec is None:
            assert job.server_id is not None
            command: Callable[[ServerId], Awaitable[object]] = getattr(endpoints, job.command)
            await command(job.server_id)
            return None
        server = await endpoints.create(job.spec)
        if str(server.id).casefold() not in self._ids_before:
            return server
        there = f"the answer to the create of {job.key!r} names server {server.id!r}, which was listed before"
        raise OutcomeUnknownError(there, subject=job.key, candidates=[server.id])

    async def _judge_by_server(self, job_run: JobRun, error: VpsOrgError) -> None:
        """Settle by the server what an error does not say: whether the command was applied, or has reached its goal."""
        job = job_run.job
        if job.target is not None:
            job_run.refusal = error
            self._await(job_run, job.server, COMMANDS[job.command].past)
        elif job.server_id and await self._context.endpoints.shows_done(job.command, job.server_id):
            self._succeed(job_run, job.server, COMMANDS[job.command].past)
        else:
            self._fail(job_run, error)

    def _await(self, job_run: JobRun, server: Server | None, how: str) -> None:
        if job_run.job.target is None:
            self._succeed(job_run, server, how)
        else:
            self._waits.join(job_run, server, how)

    def _found(self, job_run: JobRun, found: Found) -> None:
        """What became of a create whose answer was lost."""
        self._under_way[job_run.job.key] = job_run
        try:
            self._judge(job_run, found)
        except BaseException as bug:
            self._outcomes.broke(bug)
        else:
            self._under_way.pop(job_run.job.key, None)

    def _judge(self, job_run: JobRun, found: Found) -> None:
        key = job_run.job.key
        if found.server is None:
            assert found.error is not None
            if job_run.doubt is not None and found.exhausted:
                # the earlier create made nothing that is to be seen: another one may leave
                self._spawn(self._do(job_run.job, job_run.doubt))
            else:
                self._fail(job_run, found.error)
            return
        job_run.acknowledged = True
        if job_run.doubt is None:
            self._made[key] = found.server.id  # else an earlier call made it
        self._context.endpoints.adopt(found.server)
        self._outcomes.emit(ServerAdopted(operation=self._operation, key=key, server_id=found.server.id))
        self._await(job_run, found.server, "adopted")

    # -- leaving early ----------------------------------------------------------------------------------------------

    async def _leave(self, why: str) -> None:
        if not self._outcomes.complete:
            await self._settle_all(why)
        if self._options.on_cancel == "delete":
            await self.roll_back("deleted again, because the call was left early")
        elif self._made:
            ids = ", ".join(str(server_id) for server_id in self._made.values())
            log.warning("%s: %s; these servers were made and stay: %s", self._operation, why, ids)

    async def _settle_all(self, why: str) -> None:
        """Give each job that has none an outcome: after a moment for the last answers, and one poll of the account.

        Where even this is cut short, by the end of the loop, each has an outcome from what is known by then.
        """
        self._stopped = self._stopped or why
        lost: list[JobRun] = []
        seen: Mapping[str, Sequence[Server]] = {}
        try:
            await asyncio.wait(self._workers, timeout=LAST_ANSWERS)
            for task in self._workers:
                task.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            lost = self._lost()
            if any(job_run.job.spec for job_run in lost):
                seen = await self._searches.last_poll()
        finally:
            for task in self._workers:
                task.cancel()
            for job_run in lost or self._lost():
                self._give_up(job_run, seen, why)
            self._waits.detach(why)
            for key in list(self._outcomes.open):
                self._outcomes.settle(key, Skipped(key, f"not sent: {why}"))

    def _lost(self) -> list[JobRun]:
        """The commands that may have been applied and have no answer."""
        return [job_run for job_run in self._under_way.values() if job_run.attempts] + self._searches.close()

    def _give_up(self, job_run: JobRun, seen: Mapping[str, Sequence[Server]], why: str) -> None:
        """Settle a command that may have been carried out, after the last poll of the account."""
        job = job_run.job
        hits = seen.get(self._context.endpoints.key_of(job.spec), ()) if job.spec is not None else ()
        server = hits[0] if len(hits) == 1 else None
        if server is not None:
            self._made[job.key] = server.id
        if job_run.doubt is not None:
            self._fail(job_run, job_run.doubt.error, server=server)
            return
        known = "look for it before sending it again" if server is None else f"it exists as {server.id}"
        unknown = OutcomeUnknownError(
            f"{job.command} of {job.key!r}, sent at {job_run.time:%Y-%m-%d %H:%M:%S} UTC, had no answer "
            f"when {why}; {known}",
            subject=job.key,
            sent_at=job_run.time,
            candidates=[hit.id for hit in hits],
        )
        self._fail(job_run, unknown, server=server)

    def _note_rollback(self, key: ServerId, text: str, gone: bool) -> None:
        failed = rolled_back(self._outcomes.get(key), key, self._made[key], text, gone=gone)
        self._outcomes.revise(key, failed)
        if gone:
            del self._made[key]

    # -- outcomes ---------------------------------------------------------------------------------------------------

    def _succeed(
        self, job_run: JobRun, server: Server | None, how: str, waited: WaitOutcome | None = None
    ) -> None:
        job = job_run.job
        outcome = Succeeded(
            job.key,
            server,
            evidence=waited.evidence if waited else None,
            timeline=waited.timeline if waited else (),
            seconds=self._context.clock.now() - job_run.sent_at,
            attempts=job_run.attempts,
            how=how,
            differences=job.differences,
            acknowledged=job_run.acknowledged,
        )
        self._outcomes.settle(job.key, outcome)

    def _fail(
        self, job_run: JobRun, error: VpsOrgError, wait: Wait | None = None, server: Server | None = None
    ) -> None:
        job = job_run.job
        if not self._stopped:
            if stops_all(error):
                self._stopped = f"not sent, because an earlier {job.command or 'poll'} was refused: {error}"
            elif self._options.on_failure == "stop":
                self._stopped = f"not sent, because {job.key} failed: {error}"
        server = with_password((wait.last_seen if wait is not None else None) or server or job.server, server)
        outcome = Failed(
            job.key,
            error,
            server_id=server.id if server else wait.server_id if wait else job.server_id,
            server=server,
            timeline=wait.timeline if wait is not None else (),
            seconds=self._context.clock.now() - job_run.sent_at,
            attempts=job_run.attempts,
            acknowledged=job_run.acknowledged,
        )
        self._outcomes.settle(job.key, outcome)
