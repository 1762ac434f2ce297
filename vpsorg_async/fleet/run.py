"""One fleet call under way: a few workers send the commands, the shared poller does the waiting.

A server whose command was acknowledged keeps no task; a create whose answer was lost is looked for by its name in the
looks that the poller makes anyway. Leaving the run early, by an exception, a cancellation or a ``break``, loses nothing
that was committed: commands under way get a moment to be answered, the account is read once for those that did not,
and every server is in the report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from ..changes import ECHOES
from ..errors import APIError, OutcomeUnknownError, VpsOrgError
from ..http.session import Withdrawn
from ..lifecycle.contract import Target
from ..lifecycle.creations import Doubt
from ..lifecycle.wait import Wait
from ..lifecycle.waiter import WaitOutcome
from ..models import Server, ServerId
from ..shielding import is_cancellation, to_the_end
from .events import CommandAnswered, CommandLost, CommandSent, ServerAdopted
from .jobs import HOW, Errand, Job, Options, Tools
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded, with_password
from .reconcile import Found
from .rollback import delete_again, rolled_back
from .searches import Searches, stops_all
from .stream import OutcomeStream
from .waits import OpenWaits

__all__ = ["Run", "finish"]

log = logging.getLogger("vpsorg_async.fleet")

LAST_ANSWERS = 1.0
"""Seconds that commands under way get to be answered when a run is left early; then the account is read, once."""


class Run:
    """An async context manager and an async iterator over the outcomes as they settle; ``report`` at any time."""

    def __init__(
        self,
        tools: Tools,
        operation: str,
        jobs: Sequence[Job],
        options: Options,
        *,
        ids_before: Collection[str] = (),
        again: Callable[[Report], Awaitable[Report]] | None = None,
    ) -> None:
        self._tools = tools
        self._operation = operation
        self._jobs = jobs
        self._options = options
        keys = [job.key for job in jobs]
        self._stream = OutcomeStream(tools, operation, keys, on_event=options.on_event, again=again)
        self._queue: Iterator[Job] = iter([job for job in jobs if not job.after])
        self._workers: list[asyncio.Task[None]] = []
        self._under_way: dict[ServerId, Errand] = {}
        self._ids_before = ids_before
        self._searches = Searches(tools, options, ids_before, self._found, self._stream.broke)
        self._waits = OpenWaits(tools, options.timeout, self._succeed, self._fail, self._stream.broke)
        self._made: dict[ServerId, ServerId] = {}
        self._stopped = ""

    # -- for users --------------------------------------------------------------------------------------------------

    @property
    def report(self) -> Report:
        """The outcomes so far; complete when the run has been left."""
        return self._stream.report

    async def __aenter__(self) -> Self:
        self._stream.begin()
        self._stream.follow()
        self._loop = asyncio.get_running_loop()
        self._waits.begin(self._stream.context)
        # a loop of its own for each worker, apart from the caller's cancellation: what was sent shall be answered
        self._workers = [
            self._loop.create_task(
                self._work(), name=f"vpsorg-{self._operation}", context=self._stream.context
            )
            for _ in range(min(self._tools.workers, len(self._jobs)))
        ]
        for job in self._jobs:
            if job.after:
                self._spawn(self._do_after(job))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tools.waiter.check()
        try:
            if not self._stream.complete or (kind is not None and not self._stream.all_given):
                why = f"the call was left before it ended ({kind.__name__ if kind else 'break'})"
                await to_the_end(self._leave(why), self._stream.context)
            self._searches.close()
        finally:
            self._stream.end(error)
        if kind is None:
            self._stream.raise_unheard()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        return await self._stream.next()

    async def roll_back(self, why: str) -> None:
        """Delete what this run made, within bounds and whatever is cancelled meanwhile, and say so in the outcomes."""
        self._stream.rolled_back = True
        work = delete_again(self._tools, self._made, self._note_rollback, why)
        await to_the_end(work, self._stream.context)

    # -- the work ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            for job in self._queue:
                if self._stopped:
                    self._stream.settle(job.key, Skipped(job.key, self._stopped))
                else:
                    await self._do(job)
        except BaseException as bug:
            if is_cancellation(bug):
                raise
            self._stream.broke(bug)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """A worker for one job that can't wait in the queue."""

        async def guarded() -> None:
            try:
                await work
            except BaseException as bug:
                if is_cancellation(bug):
                    raise
                self._stream.broke(bug)

        task = self._loop.create_task(
            guarded(), name=f"vpsorg-{self._operation}", context=self._stream.context
        )
        # a task that is cancelled before its first step never looks at it
        task.add_done_callback(lambda _: work.close())
        self._workers.append(task)

    async def _do_after(self, job: Job) -> None:
        """Wait until the commands that are open are done, then do the job."""
        errand = Errand(job, self._tools.clock.now())
        target = Target.of("gone" if job.command == "create" else "settled")
        try:
            for server_id in job.after:
                await self._tools.waiter.wait(server_id, target, self._options.timeout)
        except VpsOrgError as error:
            self._fail(errand, error, server=job.server)
            return
        if self._stopped:
            self._stream.settle(job.key, Skipped(job.key, self._stopped))
            return
        # where it did not stop after all, its start is refused: the goal is reached
        await self._do(job)

    async def _do(self, job: Job, doubt: Doubt | None = None) -> None:
        errand = Errand(job, self._tools.clock.now(), acknowledged=job.acknowledged)
        if job.error is not None:
            self._fail(errand, job.error)
            return
        if not job.command:
            self._await(errand, job.server, job.how)
            return
        if job.spec is not None and doubt is None:
            creations = self._tools.servers.creations
            doubt = creations.doubt(self._tools.servers.shown_name(job.spec), errand.sent_at)
            if doubt is not None and errand.sent_at < doubt.sent_at + self._options.settle:
                errand.doubt = doubt
                self._searches.open(errand, job.spec, doubt.error, doubt.sent_at)
                return
        self._under_way[job.key] = errand
        try:
            server = await self._command(errand)
        except Withdrawn:
            self._stream.settle(job.key, Skipped(job.key, self._stopped))
        except OutcomeUnknownError as error:
            if job.spec is not None:
                self._stream.tell(CommandLost(operation=self._operation, key=job.key, message=str(error)))
                self._searches.open(errand, job.spec, error)
            elif job.command == "reboot":
                self._fail(errand, error)
            else:
                # the server itself shows whether it was applied; of a reboot it shows nothing
                await self._judge_by_server(errand, error)
        except VpsOrgError as error:
            if isinstance(error, APIError) and (
                (job.echo and error.status in ECHOES and error.from_api)
                or (error.status < 300 and job.command in ("start", "stop", "delete"))
            ):
                await self._judge_by_server(errand, error)
            else:
                self._fail(errand, error)
        else:
            errand.acknowledged = True
            if server is not None and job.command == "create":
                self._made[job.key] = server.id
            server_id = server.id if server is not None else job.server_id
            self._stream.tell(
                CommandAnswered(operation=job.command, key=job.key, server_id=server_id or job.key)
            )
            self._await(errand, server, HOW[job.command])
        # not in a `finally`: what was cancelled, or met a bug, may have been sent, and is told when the run is left
        self._under_way.pop(job.key, None)

    def _withdrawn(self, errand: Errand) -> bool:
        """Whether a command is kept back, asked when its turn comes: it leaves right after this."""
        if self._stopped:
            return True
        if not errand.attempts:
            self._stream.tell(CommandSent(operation=errand.job.command, key=errand.job.key))
        errand.sent_at, errand.time = self._tools.clock.now(), self._tools.clock.wall()
        errand.attempts += 1
        return False

    async def _command(self, errand: Errand) -> Server | None:
        job, servers = errand.job, self._tools.servers.for_bulk(lambda: self._withdrawn(errand))
        if job.spec is None:
            assert job.server_id is not None
            command: Callable[[ServerId], Awaitable[object]] = getattr(servers, job.command)
            await command(job.server_id)
            return None
        server = await servers.create(job.spec)
        if str(server.id).casefold() not in self._ids_before:
            return server
        there = f"the answer to the create of {job.key!r} names server {server.id!r}, which was listed before"
        raise OutcomeUnknownError(there, subject=job.key, candidates=[server.id])

    async def _judge_by_server(self, errand: Errand, error: VpsOrgError) -> None:
        """Settle by the server what an error does not say: whether the command was applied, or has reached its goal."""
        job = errand.job
        if job.target is not None:
            errand.refusal = error
            self._await(errand, job.server, HOW[job.command])
        elif job.server_id is not None and await self._tools.servers.shows_done(job.command, job.server_id):
            self._succeed(errand, job.server, HOW[job.command])
        else:
            self._fail(errand, error)

    def _await(self, errand: Errand, server: Server | None, how: str) -> None:
        if errand.job.target is None:
            self._succeed(errand, server, how)
        else:
            self._waits.join(errand, server, how)

    def _found(self, errand: Errand, found: Found) -> None:
        """What became of a create whose answer was lost."""
        self._under_way[errand.job.key] = errand
        try:
            self._judge(errand, found)
        except BaseException as bug:
            self._stream.broke(bug)
        else:
            self._under_way.pop(errand.job.key, None)

    def _judge(self, errand: Errand, found: Found) -> None:
        key = errand.job.key
        if found.server is None:
            assert found.error is not None
            if errand.doubt is not None and found.exhausted:
                # the earlier create made nothing that is to be seen: another one may leave
                self._spawn(self._do(errand.job, errand.doubt))
            else:
                self._fail(errand, found.error)
            return
        errand.acknowledged = True
        if errand.doubt is None:
            self._made[key] = found.server.id  # else an earlier call made it
        self._tools.servers.adopt(found.server)
        self._stream.tell(ServerAdopted(operation=self._operation, key=key, server_id=found.server.id))
        self._await(errand, found.server, "adopted")

    # -- leaving early ----------------------------------------------------------------------------------------------

    async def _leave(self, why: str) -> None:
        if not self._stream.complete:
            await self._settle_all(why)
        if self._options.on_cancel == "delete":
            await self.roll_back("deleted again, because the call was left early")
        elif self._made:
            ids = ", ".join(str(server_id) for server_id in self._made.values())
            log.warning("%s: %s; these servers were made and stay: %s", self._operation, why, ids)

    async def _settle_all(self, why: str) -> None:
        """Give each job that has none an outcome: after a moment for the last answers, and one look at the account.

        Where even this is cut short, by the end of the loop, each has an outcome from what is known by then.
        """
        self._stopped = self._stopped or why
        lost: list[Errand] = []
        seen: Mapping[str, Sequence[Server]] = {}
        try:
            await asyncio.wait(self._workers, timeout=LAST_ANSWERS)
            for task in self._workers:
                task.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            lost = self._lost()
            if any(errand.job.spec for errand in lost):
                seen = await self._searches.last_look()
        finally:
            for task in self._workers:
                task.cancel()
            for errand in lost or self._lost():
                self._give_up(errand, seen, why)
            self._waits.detach(why)
            for key in list(self._stream.open):
                self._stream.settle(key, Skipped(key, f"not sent: {why}"))

    def _lost(self) -> list[Errand]:
        """The commands that may have been applied and have no answer."""
        return [errand for errand in self._under_way.values() if errand.attempts] + self._searches.close()

    def _give_up(self, errand: Errand, seen: Mapping[str, Sequence[Server]], why: str) -> None:
        """Settle a command that may have been carried out, after the last look at the account."""
        job = errand.job
        hits = seen.get(self._tools.servers.key_of(job.spec), ()) if job.spec is not None else ()
        server = hits[0] if len(hits) == 1 else None
        if server is not None:
            self._made[job.key] = server.id
        if errand.doubt is not None:
            self._fail(errand, errand.doubt.error, server=server)
            return
        known = "look for it before sending it again" if server is None else f"it exists as {server.id}"
        unknown = OutcomeUnknownError(
            f"{job.command} of {job.key!r}, sent at {errand.time:%Y-%m-%d %H:%M:%S} UTC, had no answer "
            f"when {why}; {known}",
            subject=job.key,
            sent_at=errand.time,
            candidates=[hit.id for hit in hits],
        )
        self._fail(errand, unknown, server=server)

    def _note_rollback(self, key: ServerId, text: str, gone: bool) -> None:
        failed = rolled_back(self._stream.get(key), key, self._made[key], text, gone=gone)
        self._stream.revise(key, failed)
        if gone:
            del self._made[key]

    # -- outcomes ---------------------------------------------------------------------------------------------------

    def _succeed(
        self, errand: Errand, server: Server | None, how: str, waited: WaitOutcome | None = None
    ) -> None:
        job = errand.job
        outcome = Succeeded(
            job.key,
            server,
            evidence=waited.evidence if waited else None,
            timeline=waited.timeline if waited else (),
            seconds=self._tools.clock.now() - errand.sent_at,
            attempts=errand.attempts,
            how=how,
            differences=job.differences,
            acknowledged=errand.acknowledged,
        )
        self._stream.settle(job.key, outcome)

    def _fail(
        self, errand: Errand, error: VpsOrgError, wait: Wait | None = None, server: Server | None = None
    ) -> None:
        job = errand.job
        if not self._stopped:
            if stops_all(error):
                self._stopped = f"not sent, because an earlier {job.command or 'look'} was refused: {error}"
            elif self._options.on_failure == "stop":
                self._stopped = f"not sent, because {job.key} failed: {error}"
        server = with_password((wait.last_seen if wait is not None else None) or server or job.server, server)
        outcome = Failed(
            job.key,
            error,
            server_id=server.id if server else wait.server_id if wait else job.server_id,
            server=server,
            timeline=wait.timeline if wait is not None else (),
            seconds=self._tools.clock.now() - errand.sent_at,
            attempts=errand.attempts,
            acknowledged=errand.acknowledged,
        )
        self._stream.settle(job.key, outcome)


async def finish(run: Run) -> Report:
    """Carry a run to its end."""
    async with run:
        async for _ in run:
            pass
    return run.report
