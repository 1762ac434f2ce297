"""A run that also replaces servers: `Replacement` decides which pair is next, this creates, switches and deletes.

First all other steps of the plan are done, without the deletes; then one fleet after the other is replaced; then the
deletes. A pair takes the paths of all jobs: its create is admitted, recorded and searched for like any other, and its
delete is sent alone, by the id of a server that was read right before. Its parts have outcomes of their own, which are
diverted to the pair (`OutcomeLog.divert`). A pair that is cut short leaves both servers, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from ..errors import UnexpectedStatusError, VpsOrgError, is_absence
from ..lifecycle.commands import GONE, LEAVING
from ..lifecycle.contract import Target
from ..records import Server, ServerId
from ..replace_policy import ReplacePolicy
from ..shielding import is_cancellation
from ..specs import ServerSpec, name_key, same_id
from .adoption import why_stop
from .drift import changed
from .events import ServerSwitched
from .jobs import Job, JobRun, Options, RunContext, Work
from .outcomes import Outcome, Skipped, Succeeded
from .pairing import IN_PLACE
from .replacement import Order, Replacement
from .resumption import Resumption
from .run import Run
from .swaps import Course, Swap, SwapWork, Switch

__all__ = ["SwapRun"]

LIST_AGAIN = 2.0
"""Seconds after which a list that does not show a new name is read again."""
_GONE = Target.of("gone")


class _NotReplaced(Exception):
    """Ends the course of a pair: its ``reason`` is in the outcome."""

    def __init__(self, reason: VpsOrgError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class SwapRun(Run):
    """A run of `Fleet.apply` that replaces servers, or changes them in place."""

    def __init__(
        self,
        context: RunContext,
        operation: str,
        keys: Sequence[ServerId],
        options: Options,
        prepare: Callable[[Resumption], Awaitable[Work]],
        *,
        policy: ReplacePolicy,
        switch: Switch | None,
        **further: Any,
    ) -> None:
        """Prepare the run; ``prepare`` returns also what is replaced, and what is deleted in the end."""

        self._work_left: SwapWork | None = None

        async def noted(resumption: Resumption) -> Work:
            work = await prepare(resumption)
            assert isinstance(work, SwapWork)
            self._work_left = work
            return work

        super().__init__(context, operation, keys, options, noted, **further)
        self._policy = policy
        self._switch = switch
        self._courses: dict[str, Course] = {}
        self._ended: asyncio.Queue[str] = asyncio.Queue()
        self._one_delete = asyncio.Lock()
        self._failures = 0
        self._admitted: set[ServerId] = set()
        self._ends_by = ""

    async def _begin(self) -> None:
        await super()._begin()
        work = self._work_left
        assert work is not None
        self._jobs.update({swap.key: swap.job for swap in work.swaps})
        self._stuck.join([swap.job for swap in work.swaps])
        if self._intents is not None:
            self._intents.replaced(work.over)
        self._tasks.start(self._after_the_others(work))

    async def _admit(self, work: Work) -> None:
        assert isinstance(work, SwapWork)
        jobs = [*work.jobs, *(swap.job for swap in work.swaps)]
        self._context.admissions.check_run(sum(job.command == "create" for job in jobs))
        self._admitted.update(job.key for job in work.at_once)
        changing = [*work.later, *(swap.delete for swap in work.swaps)]
        if any(job.command for job in changing):
            self._context.admissions.check_change(self._outcomes.operation)
        await super()._admit(attrs.evolve(work, jobs=[*work.jobs, *work.at_once]))

    async def _do(self, job: Job, *more: Any, **further: Any) -> None:
        """Do one job, after its server was changed in place."""
        if job.fields and job.server is not None:
            clock = self._context.clock
            job_run = JobRun(attrs.evolve(job, command="update", spec=None), clock.now())
            job_run.sent(clock.now(), clock.wall())
            self._in_flight[job.key] = job_run
            try:
                server = await self._update(job.server, job.fields)
            except VpsOrgError as error:
                del self._in_flight[job.key]
                self._fail(job_run, error)
                return
            del self._in_flight[job.key]
            job = attrs.evolve(job, server=server, fields={})
        await super()._do(job, *more, **further)

    async def _update(self, server: Server, fields: Mapping[str, Any]) -> Server:
        return await self._context.endpoints.for_bulk().begin().update(server.id, dict(fields))

    # -- which pair is next -------------------------------------------------------------------------------------------

    async def _after_the_others(self, work: SwapWork) -> None:
        """Replace the servers of one fleet after the other once all other steps are done; then delete what is left."""
        for job in work.jobs:
            await self._outcomes.settled(job.key)
        why = ""
        for fleet in sorted({swap.fleet for swap in work.swaps}):
            swaps = [swap for swap in work.swaps if swap.fleet == fleet]
            if not self._over and not why:
                why = await self._replace(fleet, swaps, work)
            for swap in swaps:
                if swap.key not in self._courses:
                    self._outcomes.settle(swap.key, Skipped(swap.key, self._over or why))
        if self._failures and not self._no_deletes:
            self._no_deletes = "not sent, because not all servers were replaced"
        await self._work(iter(work.later))

    @property
    def _over(self) -> str:
        """Why no further pair is begun, whatever the bounds say; empty while they are."""
        return self._ends_by or self._stopped or self._no_deletes

    async def _replace(self, fleet: int, swaps: Sequence[Swap], work: SwapWork) -> str:
        """Replace the servers of one fleet, and return why not all of them were begun; empty if they were."""
        by_key = {swap.key: swap for swap in swaps}
        others = [job.key for job in work.jobs if work.fleet_of.get(job.key) == fleet]
        down = sum(not isinstance(self._outcomes.get(key), Succeeded) for key in others)
        replacement = Replacement(
            [swap.pair for swap in swaps],
            attrs.evolve(self._policy, max_failures=self._policy.max_failures - self._failures),
            size=len(others) + len(swaps),
            unavailable=down,
        )
        begun = list(replacement.taken_up)
        while True:
            begun += [] if self._over else replacement.begin()
            for key, order in begun:
                self._courses[key] = Course.of(by_key[key], order, self._context.clock.now())
                self._tasks.start(self._take(self._courses[key]))
            begun = []
            if not replacement.in_progress:
                return replacement.stopped
            key = await self._ended.get()
            course = self._courses[key]
            if isinstance(self._outcomes.get(key), Succeeded):
                replacement.done(key)
            else:
                self._failures += 1
                replacement.failed(key, extra=course.extra, serving=course.serving)

    # -- one pair -----------------------------------------------------------------------------------------------------

    async def _take(self, course: Course) -> None:
        """Take one pair through its course, and conclude its outcome."""
        now = self._context.clock.now
        try:
            await self._replace_one(course)
        except _NotReplaced as stop:
            await self._clean_up(course)
            outcome: Outcome = course.failed(stop.reason, now())
        except VpsOrgError as error:
            self._stopped = self._stopped or why_stop(error, "create")
            outcome = course.failed(error, now())
        else:
            outcome = course.succeeded(now())
            if self._intents is not None and course.listed:
                self._intents.pair_ended(course.swap.spec)
        self._outcomes.conclude(course.swap.key, outcome)
        self._ended.put_nowait(course.swap.key)

    async def _replace_one(self, course: Course) -> None:
        swap = course.swap
        if self._intents is not None and not swap.switched:
            await self._intents.pair(swap.spec, swap.old, None if swap.by is None else swap.by.id)
        if course.order is Order.OLD_FIRST and not course.old_gone:
            await self._remove_old(course)
        await self._bring_up(course)
        if not course.switched:
            await self._switch_over(course)
        if not course.old_gone:
            await self._context.clock.sleep(self._policy.drain)
            await self._remove_old(course)
        await self._rename(course)

    async def _bring_up(self, course: Course) -> None:
        """Create the new server, or wait for it, until it is active and passes its check."""
        job = course.swap.job
        if job.command == "create" and not course.swap.in_doubt:
            await self._check_free(course.swap.spec)
        if job.command == "create" and job.key not in self._admitted:
            admission = await self._context.admissions.admit(
                self._context.endpoints.begin(), [course.swap.spec], searched=True
            )
            self._held.callback(admission.close)
            self._sender.admit_too(admission)
        course.brought_up(await (await self._sent(job)))
        if course.new is not None and self._intents is not None:
            self._intents.paired(course.swap.spec, course.new)
        if not course.ready:
            raise _NotReplaced(course.reason)

    async def _check_free(self, spec: ServerSpec) -> None:
        """Raise if a server has the name of the new one: its turn can come long after the plan was made."""
        endpoints = self._context.endpoints.begin()
        key = endpoints.key_of(spec)
        for server in (await endpoints.listing()).servers:
            if endpoints.key_of(server) == key and server.status != GONE:
                who = f"server {server.id} has the name {endpoints.shown_name(spec)} now"
                raise _NotReplaced(VpsOrgError(f"{who}: is another program working on this fleet?"))

    async def _switch_over(self, course: Course) -> None:
        """Call the user's switch. What it raises is a failure of this pair."""
        swap, new = course.swap, course.new
        assert new is not None
        if self._over:
            raise _NotReplaced(VpsOrgError(self._over))
        if self._switch is not None:
            if self._intents is not None:
                await self._intents.switching(swap.spec)
            course.switch_called()
            try:
                answer = self._switch(swap.old, new)
                if inspect.isawaitable(answer):
                    await answer
            except BaseException as error:
                task = asyncio.current_task()
                ours = is_cancellation(error) and task is not None and task.cancelling() > 0
                if ours or not (isinstance(error, Exception) or is_cancellation(error)):
                    raise
                reason = f"the switch raised {type(error).__name__}: {error}"
                raise _NotReplaced(VpsOrgError(reason)) from error
        course.switch_done()
        if self._intents is not None:
            self._intents.switched(swap.spec)
        self._outcomes.emit(ServerSwitched, key=swap.key, old_id=swap.old.id, server_id=new.id)

    async def _remove_old(self, course: Course) -> None:
        """Delete the old server, if it still is what it was and the new one still serves, and wait until it is gone."""
        job = course.swap.delete
        # what is looked at must not change while other deletes are waited for
        async with self._one_delete:
            if job.command and course.new is not None:
                await self._still_serves(course, course.new)
            if job.command:
                job = await self._looked_at(course.swap.old, job)
            ended = await self._sent(job)
        course.old_ended(await ended)
        if not course.old_gone:
            raise _NotReplaced(course.reason)

    async def _still_serves(self, course: Course, new: Server) -> None:
        """Raise if the new server is not active any more: the switch and the drain may have taken long."""
        try:
            server = await self._context.endpoints.begin().get(new.id)
            if server.status == "active":
                return
            why: VpsOrgError = UnexpectedStatusError(
                f"server {new.id} was active and is {server.status} now",
                server_id=new.id,
                target="active",
                last_seen=server,
            )
        except VpsOrgError as error:
            why = error
        course.fell()
        raise _NotReplaced(why)

    async def _looked_at(self, before: Server, job: Job) -> Job:
        """Return the job that deletes a server, given what it is now. Raises if it was changed, or can't be read."""
        try:
            server = await self._context.endpoints.begin().get(before.id)
        except VpsOrgError as error:
            if not is_absence(error):
                raise _NotReplaced(error) from error
            # one answer proves nothing: the wait asks again
            return attrs.evolve(job, command="", acknowledged=True)
        fields = [field for field in changed(before, server) if field not in IN_PLACE]
        if fields:
            who = f"{before.name} [{before.id}]"
            raise _NotReplaced(
                VpsOrgError(f"{who} has another {', '.join(fields)} than before, and was not deleted")
            )
        if server.status in LEAVING:
            return attrs.evolve(job, command="", acknowledged=True)
        return attrs.evolve(job, server=server)

    async def _rename(self, course: Course) -> None:
        """Give the new server the name of the old one, where that is asked for."""
        swap, new = course.swap, course.new
        if swap.rename and new is not None:
            if self._intents is not None:
                # a later run may give this name to another server, which must not be taken for the one that had it
                await self._intents.renaming(swap.spec)
            course.renamed(await self._update(new, swap.rename))
            await self._list_new_name(course, new.id, swap.rename["name"])

    async def _list_new_name(self, course: Course, new_id: ServerId, name: str) -> None:
        """Wait until the list shows the new name of a server, at most as long as the settle window.

        A run that reads the list before that may give the name to another server, so that the journal keeps the pair.
        """
        clock, endpoints = self._context.clock, self._context.endpoints
        until = clock.now() + self._options.settle
        with contextlib.suppress(VpsOrgError):  # the server is replaced, whatever can be read
            while True:
                for row in (await endpoints.begin().listing()).servers:
                    if same_id(row.id, new_id) and name_key(row.name) == name_key(name):
                        course.was_listed(row.name)
                        return
                if clock.now() >= until:
                    return
                await clock.sleep(LIST_AGAIN)

    async def _clean_up(self, course: Course) -> None:
        """Delete a new server that has failed, if that is asked for and it is certain that no one uses it."""
        new, key_of = course.new, self._context.endpoints.key_of
        if not self._policy.delete_failed or course.switching or new is None or not course.created:
            return
        if key_of(new) != key_of(course.swap.spec):
            return  # someone has renamed it
        job = Job(key=new.id, command="delete", server_id=new.id, server=new, target=_GONE, how="deleted")
        with contextlib.suppress(_NotReplaced):
            async with self._one_delete:
                ended = await self._sent(await self._looked_at(new, job))
            self._new_ended(course, await ended)

    def _new_ended(self, course: Course, outcome: Outcome) -> None:
        """Record the outcome of the delete of a new server, and forget one that is gone."""
        course.new_ended(outcome)
        if course.new is not None:
            return
        self._created.pop(course.swap.key, None)
        if self._intents is not None:
            self._intents.withdrawn(course.swap.job)
            if not course.old_gone:
                self._intents.pair_ended(course.swap.spec)

    async def _sent(self, job: Job) -> asyncio.Future[Outcome]:
        """Send the command of a job as a part of a pair, and return what becomes its outcome."""
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def deliver(outcome: Outcome) -> None:
            # no test runs the other case: the task that awaits this was cancelled as the loop ends, at the same moment
            if not ended.done():
                ended.set_result(outcome)

        self._outcomes.divert(job.key, deliver)
        if job.after:
            await self._do_after(job)
        else:
            await self._do(job)
        return ended

    # -- leaving early ------------------------------------------------------------------------------------------------

    async def _settle_all(self, why: str) -> None:
        self._ends_by = why
        for course in self._courses.values():
            # what is found out of commands in flight belongs to their pair from now on
            if self._outcomes.get(course.swap.key) is None:
                self._outcomes.divert(course.swap.key, course.brought_up)
                self._outcomes.divert(course.swap.delete.key, course.old_ended)
                if course.new is not None:
                    self._outcomes.divert(course.new.id, partial(self._new_ended, course))
        try:
            await super()._settle_all(why)
        finally:
            for course in self._courses.values():
                if self._outcomes.get(course.swap.key) is None:
                    left = course.left(VpsOrgError(why), self._context.clock.now())
                    self._outcomes.conclude(course.swap.key, left)
