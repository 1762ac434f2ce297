"""One fleet call under way: a few workers send the commands, the shared poller does the waiting.

A server whose command was acknowledged keeps no task; a create whose answer was lost is looked for by its name in the
looks that the poller makes anyway. Leaving the run early, by an exception, a cancellation or a ``break``, loses nothing
that was committed: commands under way get a moment to be answered, the account is read once for those that did not,
and every server is in the report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
import attrs

from ..errors import (
    OutcomeUnknownError,
    VpsOrgError,
    WaitError,
)
from ..http.exchange import Priority
from ..lifecycle.wait import Verdict, Wait
from ..lifecycle.waiter import WaitOutcome
from ..models import Server, ServerId
from .events import CommandAnswered, CommandLost, CommandSent, ServerAdopted, ServerSettled
from .jobs import Job, Options, Tools
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded
from .reconcile import Found
from .searches import STOPPERS, Searches

__all__ = ["Run"]

log = logging.getLogger("vpsorg_async.fleet")

LAST_ANSWERS = 1.0
"""Seconds that commands under way get to be answered when a run is left early; then the account is read, once."""
DELETE_BOUND = 30.0

_HOW = {"create": "created", "start": "started", "stop": "stopped", "reboot": "rebooted", "delete": "deleted"}


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
        self._again = again
        self._queue: Iterator[Job] = iter(jobs)
        self._workers: list[asyncio.Task[None]] = []
        self._under_way: dict[ServerId, tuple[Job, float]] = {}
        self._searches = Searches(tools, options, ids_before, self._found)
        self._waits: dict[ServerId, tuple[Job, Wait, Server | None, float, str]] = {}
        self._made: dict[ServerId, ServerId] = {}
        self._outcomes: dict[ServerId, Outcome] = {}
        self._settled: asyncio.Queue[Outcome | BaseException] = asyncio.Queue()
        self._given = 0
        self._stopped = ""
        self._began = self._ended = tools.clock.now()
        self._rolled_back = False

    # -- for users --------------------------------------------------------------------------------------------------

    @property
    def report(self) -> Report:
        """The outcomes so far; complete when the run has been left."""
        done = len(self._outcomes) == len(self._jobs)
        return Report(
            operation=self._operation,
            outcomes=tuple(self._outcomes[job.key] for job in self._jobs if job.key in self._outcomes),
            seconds=(self._ended if done else self._tools.clock.now()) - self._began,
            rolled_back=self._rolled_back,
            again=self._again,
        )

    async def __aenter__(self) -> Self:
        self._began = self._tools.clock.now()
        # a loop of its own for each worker, apart from the caller's cancellation: what was sent shall be answered
        self._workers = [
            asyncio.get_running_loop().create_task(self._work(), name=f"vpsorg-{self._operation}")
            for _ in range(min(self._tools.workers, len(self._jobs)))
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if len(self._outcomes) < len(self._jobs):
            with anyio.CancelScope(shield=True):
                await self._leave(f"the call was left before it ended ({kind.__name__ if kind else 'break'})")
                if self._options.on_cancel == "delete":
                    await self.roll_back("deleted again, because the call was left early")
        self._searches.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._given == len(self._jobs):
            raise StopAsyncIteration
        outcome = await self._settled.get()
        if isinstance(outcome, BaseException):
            raise outcome
        self._given += 1
        return outcome

    async def roll_back(self, why: str) -> None:
        """Delete what this run made, within bounds, and say so in the outcomes."""
        self._rolled_back = True
        made = dict(self._made)

        async def delete(key: ServerId, server_id: ServerId) -> None:
            try:
                await self._tools.servers.delete(server_id, priority=Priority.BULK)
                end = why
            except VpsOrgError as error:
                end = f"{why}; deleting it failed, it may still be charged for: {error}"
            self._outcomes[key] = Failed(key, VpsOrgError(f"{key}: {end}"), server_id=server_id)

        with anyio.move_on_after(DELETE_BOUND):
            limiter = asyncio.Semaphore(self._tools.workers)

            async def limited(key: ServerId, server_id: ServerId) -> None:
                async with limiter:
                    await delete(key, server_id)

            async with anyio.create_task_group() as group:
                for key, server_id in made.items():
                    group.start_soon(limited, key, server_id)

    # -- the work ---------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            for job in self._queue:
                if self._stopped:
                    self._settle(job.key, Skipped(job.key, self._stopped))
                else:
                    await self._do(job)
        except Exception as bug:
            self._settled.put_nowait(bug)

    async def _do(self, job: Job) -> None:
        if job.error is not None:
            self._settle(job.key, Failed(job.key, job.error, server_id=job.server_id, server=job.server))
            return
        sent_at = self._tools.clock.now()
        if not job.command:
            self._await(job, job.server, sent_at, "adopted")
            return
        self._tell(CommandSent(operation=job.command, key=job.key))
        self._under_way[job.key] = (job, sent_at)
        try:
            server = await self._command(job)
        except OutcomeUnknownError as error:
            if job.spec is not None:
                self._tell(CommandLost(operation=self._operation, key=job.key, message=str(error)))
                self._searches.open(job, job.spec, error, sent_at)
            else:
                self._fail(job, error, sent_at)
        except VpsOrgError as error:
            self._fail(job, error, sent_at)
        else:
            if server is not None and job.command == "create":
                self._made[job.key] = server.id
            server_id = server.id if server is not None else job.server_id
            self._tell(CommandAnswered(operation=job.command, key=job.key, server_id=server_id or job.key))
            self._await(job, server, sent_at, _HOW[job.command])
        finally:
            self._under_way.pop(job.key, None)

    async def _command(self, job: Job) -> Server | None:
        servers = self._tools.servers
        if job.command == "create":
            assert job.spec is not None
            return await servers.create(job.spec, priority=Priority.BULK)
        command: Mapping[str, Callable[..., Awaitable[object]]] = {
            "start": servers.start,
            "stop": servers.stop,
            "reboot": servers.reboot,
            "delete": servers.delete,
        }
        await command[job.command](job.server_id, priority=Priority.BULK)
        return None

    def _await(self, job: Job, server: Server | None, sent_at: float, how: str) -> None:
        server_id = server.id if server is not None else job.server_id
        if job.target is None:
            self._settle(
                job.key,
                Succeeded(
                    job.key, server, seconds=self._since(sent_at), how=how, differences=job.differences
                ),
            )
            return
        assert server_id is not None
        try:
            wait = self._tools.waiter.make(server_id, job.target, self._options.timeout)
            wait.deadline = sent_at + self._options.timeout
            verdict = self._tools.waiter.poller.join(wait)
        except VpsOrgError as error:
            # it can't be waited for (the client was closed, or its id is none), and is there all the same
            self._fail(job, error, sent_at, server=server)
            return
        self._waits[job.key] = (job, wait, server, sent_at, how)

        def settled(done: asyncio.Future[Verdict]) -> None:
            if done.cancelled() or self._waits.pop(job.key, None) is None:
                return
            error = done.exception()
            if error is not None:
                self._settled.put_nowait(error)
                return
            outcome = WaitOutcome.of(wait, done.result(), self._tools.clock.now())
            if outcome.error is not None:
                self._fail(job, outcome.error, sent_at, wait, server)
                return
            self._settle(
                job.key,
                Succeeded(
                    job.key,
                    _with_password(outcome.server, server),
                    evidence=outcome.evidence,
                    timeline=outcome.timeline,
                    seconds=self._since(sent_at),
                    how=how,
                    differences=job.differences,
                ),
            )

        verdict.add_done_callback(settled)

    def _found(self, job: Job, found: Found, sent_at: float) -> None:
        """What became of a create whose answer was lost."""
        if found.server is None:
            assert found.error is not None
            self._fail(job, found.error, sent_at)
            return
        self._made[job.key] = found.server.id
        self._tools.servers.adopt(found.server)
        self._tell(ServerAdopted(operation=self._operation, key=job.key, server_id=found.server.id))
        self._await(job, found.server, sent_at, "adopted")

    # -- leaving early ----------------------------------------------------------------------------------------------

    async def _leave(self, why: str) -> None:
        self._stopped = self._stopped or why
        workers = [task for task in self._workers if not task.done()]
        if workers:
            await asyncio.wait(workers, timeout=LAST_ANSWERS)
        lost = [job for job, _ in self._under_way.values()] + self._searches.close()
        for task in self._workers:
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        seen = await self._searches.last_look() if any(job.spec is not None for job in lost) else {}
        for job in lost:
            if job.key in self._outcomes:
                continue
            hits = seen.get(self._tools.servers.shown_name(job.spec), []) if job.spec is not None else []
            if len(hits) == 1:
                self._made[job.key] = hits[0].id
            known = f"it exists as {hits[0].id}" if len(hits) == 1 else "look for it before sending it again"
            self._settle(
                job.key,
                Failed(
                    job.key,
                    OutcomeUnknownError(
                        f"{job.command} of {job.key!r} had no answer when {why}; {known}",
                        subject=job.key,
                        candidates=[hit.id for hit in hits],
                    ),
                    server_id=hits[0].id if len(hits) == 1 else job.server_id,
                    server=hits[0] if len(hits) == 1 else None,
                ),
            )
        for job, wait, server, sent_at, _ in list(self._waits.values()):
            self._tools.waiter.poller.leave(wait)
            del self._waits[job.key]
            detached = WaitError(
                f"server {wait.server_id}: {why}; its command was acknowledged, and nobody waits for it any more",
                server_id=wait.server_id,
                target=str(wait.target),
                last_seen=wait.last_seen or server,
                timeline=wait.timeline,
            )
            self._fail(job, detached, sent_at, wait, server)
        for job in self._jobs:
            if job.key not in self._outcomes:
                self._settle(job.key, Skipped(job.key, f"not sent: {why}"))
        if self._made and self._options.on_cancel != "delete":
            ids = ", ".join(str(server_id) for server_id in self._made.values())
            log.warning("%s: %s; these servers were made and stay: %s", self._operation, why, ids)

    # -- outcomes ---------------------------------------------------------------------------------------------------

    def _since(self, sent_at: float) -> float:
        return self._tools.clock.now() - sent_at

    def _fail(
        self,
        job: Job,
        error: VpsOrgError,
        sent_at: float,
        wait: Wait | None = None,
        server: Server | None = None,
    ) -> None:
        if not self._stopped:
            if isinstance(error, STOPPERS):
                self._stopped = f"not sent, because an earlier {job.command or 'look'} was refused: {error}"
            elif self._options.on_failure == "stop":
                self._stopped = f"not sent, because {job.key} failed: {error}"
        self._settle(
            job.key,
            Failed(
                job.key,
                error,
                server_id=wait.server_id
                if wait is not None
                else server.id
                if server is not None
                else job.server_id,
                server=(wait.last_seen if wait is not None else None) or server or job.server,
                timeline=tuple(wait.timeline) if wait is not None else (),
                seconds=self._since(sent_at),
            ),
        )

    def _settle(self, key: ServerId, outcome: Outcome) -> None:
        self._outcomes[key] = outcome
        self._ended = self._tools.clock.now()
        self._settled.put_nowait(outcome)
        self._tell(ServerSettled(operation=self._operation, key=key, outcome=outcome))

    def _tell(self, event: Any) -> None:
        if self._options.on_event is None:
            return
        try:
            self._options.on_event(event)
        except Exception:
            # a hook that fails must not change what becomes of a server
            log.exception("the on_event hook failed on %s", type(event).__name__)


def _with_password(server: Server | None, created: Server | None) -> Server | None:
    """The root password is told once, in the answer to the create: it must not be lost to a later look."""
    if server is None or created is None or created.password is None:
        return server
    return attrs.evolve(server, password=created.password)
