"""The servers of a run that do not come up: which are stuck, and how one is deleted and created again.

`stuck` decides; this module acts. A server is deleted only if this run created it by a create that was answered, and by
its id. Right before that it is read once more (`suspects`): one that has come up meanwhile stays, and so does one that
someone else has renamed, stopped or deleted. When it is gone, another one is created, on the path of all creates. Stuck
servers are deleted one after the other, so that each decision knows what became of the one before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from ..errors import RequestError, Sent, ServerGoneError, VpsOrgError, WaitError, is_absence
from ..http.session import SendCancelled
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.contract import Target
from ..lifecycle.ready_checks import READY
from ..lifecycle.receipts import Receipt
from ..lifecycle.wait import Wait
from ..records import Server, ServerId
from ..specs import id_text
from .command_sender import CommandSender
from .events import ServerReplaced
from .intents import Intents
from .jobs import Job, JobRun, Options, RunContext
from .open_waits import Fail, OpenWaits, Succeed
from .ready_stage import ReadyStage
from .run_tasks import RunTasks
from .stream import OutcomeLog
from .stuck import Fate, Kind, Tally, is_stuck
from .suspects import Spared, Suspect, look_again

__all__ = ["StuckStage"]

log: logging.Logger = logging.getLogger("vpsorg_async.fleet")

INTERVAL = 5.0
"""Seconds between two searches for servers that are overdue."""
CREATED = "created"
GIVEN_UP = "the stuck server was deleted, and no other one was created"


class StuckStage:
    """Stands between the waits of a run and its failures: a stuck server can be replaced instead."""

    def __init__(
        self,
        context: RunContext,
        options: Options,
        outcomes: OutcomeLog,
        sender: CommandSender,
        tasks: RunTasks,
        succeed: Succeed,
        fail: Fail,
        again: Callable[[Job, tuple[ServerId, ...]], Awaitable[None]],
    ) -> None:
        """Prepare the stage.

        Args:
            context: What the run works with.
            options: How it behaves; without ``stuck`` no server is replaced.
            outcomes: Its outcomes.
            sender: Sends its commands.
            tasks: Its tasks.
            succeed: Settles a job run that reached its goal.
            fail: Settles a job run that failed.
            again: Does a job once more; its servers so far, which are gone, are given.
        """
        self._context = context
        self._options = options
        self._policy = options.stuck
        self._outcomes = outcomes
        self._sender = sender
        self._tasks = tasks
        self._succeed = succeed
        self._fail = fail
        self._again = again
        self._search = RunTasks(outcomes)
        self._turn = asyncio.Lock()
        self._tally = Tally(())
        self._creates = 0
        self._suspects: dict[ServerId, Suspect] = {}
        self._in_turn: set[ServerId] = set()
        self._deleted: dict[ServerId, Suspect] = {}
        self._spared: set[JobRun] = set()
        self._breaker = ""

    def begin(
        self,
        jobs: Iterable[Job],
        waits: OpenWaits,
        ready: ReadyStage,
        intents: Intents | None,
        before: set[str],
    ) -> None:
        """Begin with these jobs. The ids of servers that are deleted are added to ``before``."""
        self._waits, self._ready, self._intents, self._before = waits, ready, intents, before
        wanted = [job for job in jobs if job.command != "delete" and not (job.target and job.target.gone)]
        self._tally = Tally(job.key for job in wanted if job.target is not None or job.server is not None)
        self._creates = sum(job.command == "create" for job in wanted)
        if self._policy is not None:
            self._search.start(self._find_overdue())

    def join(self, jobs: Sequence[Job]) -> None:
        """Count further jobs, which are begun later."""
        self._tally.join(job.key for job in jobs)
        self._creates += sum(job.command == "create" for job in jobs)

    def begun(self, job: Job) -> None:
        """Note that the work on a job begins."""
        self._tally.begun(job.key)

    # -- what happens to servers ------------------------------------------------------------------------------------

    def reached(self, job_run: JobRun) -> None:
        """Note that a server has its status."""
        if self._suspects.pop(job_run.job.key, None) is not None:
            self._tally.not_stuck(job_run.job.key)
        if job_run.created is not None:
            self._tally.sibling(_kind(job_run), self._context.clock.now() - job_run.sent_at)

    def failed(
        self, job_run: JobRun, error: VpsOrgError, wait: Wait | None = None, server: Server | None = None
    ) -> None:
        """Settle a job run whose wait, or whose ready checks, ended with this error; unless its server is stuck."""
        key = job_run.job.key
        self._suspects.pop(key, None)
        if job_run.job.leaving and isinstance(error, ServerGoneError):
            self._tasks.start(self._create_after_crash(job_run.job))
            return
        # a delete that takes too long is no stuck server
        if self._policy is not None and is_stuck(error) and self._tally.expects(key):
            self._tally.found_stuck(key)
            if job_run.created is not None:
                self._suspects[key] = Suspect(job_run, error, wait, server)
                self._review()
                return
        self._fail(job_run, error, wait, server)

    def settled(self, key: ServerId, *, up: bool) -> None:
        """Note that a job run has its outcome."""
        self._tally.settled(key, up=up)
        self._review()

    async def _find_overdue(self) -> None:
        while not self._breaker:
            await self._context.clock.sleep(INTERVAL)
            now, slowest = self._context.clock.now(), self._context.waiter.poller.slowest
            for wait, job_run in self._waits.open():
                key = job_run.job.key
                known = job_run in self._spared or key in self._suspects or not self._tally.expects(key)
                if job_run.created is None or known:
                    continue
                if self._tally.is_overdue(_kind(job_run), now - wait.since, slowest(wait)):
                    self._tally.found_stuck(key)
                    self._suspects[key] = Suspect(job_run, wait=wait)
            self._review()

    # -- decisions --------------------------------------------------------------------------------------------------

    def _fate(self) -> tuple[Fate, str]:
        """Return what is done with stuck servers now, and why they are left, if they are."""
        assert self._policy is not None
        stopped = self._breaker or self._sender.why_not(Job(key="", command="delete"))
        return (Fate.LEAVE, stopped) if stopped else self._tally.health.fate(self._policy)

    def _review(self) -> None:
        """Decide on the suspects, after anything has changed."""
        if not self._suspects:
            return
        fate, why = self._fate()
        if fate is Fate.BREAK:
            self._breaker = why
            self._outcomes.note_breaker(why)
            log.warning("%s: %s", self._outcomes.operation, why)
        for key, suspect in list(self._suspects.items()):
            if fate in (Fate.BREAK, Fate.LEAVE):
                self._leave(suspect, why)
            elif fate is Fate.REPLACE and key not in self._in_turn:
                self._in_turn.add(key)
                self._tasks.start(self._replace(key))

    def _leave(self, suspect: Suspect, why: str) -> None:
        """Leave a suspect as it is; its job run fails, unless its wait goes on."""
        if self._suspects.pop(suspect.key, None) is None:
            return
        self._spared.add(suspect.job_run)
        if suspect.error is not None:
            suspect.job_run.left(why)
            self._fail(suspect.job_run, suspect.error, suspect.wait, suspect.server)

    # -- replacing --------------------------------------------------------------------------------------------------

    async def _replace(self, key: ServerId) -> None:
        try:
            async with self._turn:
                suspect = self._suspects.get(key)
                deleted = suspect is not None and await self._delete(suspect)
        finally:
            self._in_turn.discard(key)
        if suspect is not None and deleted:
            await self._create_after(suspect)
        else:
            self._review()

    async def _delete(self, suspect: Suspect) -> bool:
        """Delete a suspect if it still is one, and return whether that was acknowledged."""
        job, server_id, endpoints = suspect.job_run.job, suspect.created.id, self._sender.begin()
        assert job.spec is not None
        health = self._tally.health
        try:
            # what it is replaced by is admitted first: afterwards it would be too late
            admission = await self._context.admissions.admit(
                endpoints,
                [self._sender.first_of(job.spec)],
                searched=True,
                earlier=self._creates + health.replaced,
                replaced=server_id,
            )
        except VpsOrgError as error:
            self._leave(suspect, f"another server may not be created: {error}")
            return False
        # as one of the run's own, so that it is given up at the end, whatever happens
        self._sender.admit_too(admission)
        deleting = JobRun(Job(key=job.key, command="delete", server_id=server_id), self._context.clock.now())
        try:
            if self._intents is not None:
                await self._intents.leaving(job)
            come_up = await look_again(suspect, endpoints, self._context, self._options)
            if self._commits(suspect, come_up):
                await self._sender.send(deleting, endpoints)
                return True
            self._stays(suspect)
        except (Spared, SendCancelled, VpsOrgError) as error:
            maybe = isinstance(error, RequestError) and (error.sent is Sent.MAYBE or is_absence(error))
            sent = maybe and suspect.key in self._deleted
            if sent and await endpoints.shows_done("delete", server_id):
                return True
            if not maybe:
                self._stays(suspect)
            self._not_deleted(suspect, error, in_doubt=sent and not is_absence(error))
        admission.close()
        return False

    def _commits(self, suspect: Suspect, come_up: WaitOutcome | None) -> bool:
        """Take a suspect out to be deleted, and return True; False if it has come up, or is not to be deleted now."""
        if self._suspects.get(suspect.key) is not suspect:
            return False
        overdue = suspect.error is None
        if come_up is not None or (overdue and not self._waits.withdraw(suspect.job_run)):
            self._spared.add(suspect.job_run)
            del self._suspects[suspect.key]
            self._tally.not_stuck(suspect.key)
            # the wait of one that is overdue sees it as well
            if come_up is not None and not overdue:
                self._go_on(suspect, come_up)
            return False
        if self._fate()[0] is not Fate.REPLACE:
            return False
        del self._suspects[suspect.key]
        self._deleted[suspect.key] = suspect
        self._tally.replaced()
        return True

    def _go_on(self, suspect: Suspect, come_up: WaitOutcome) -> None:
        if come_up.stage == READY:
            suspect.job_run.reached(READY)
            self._succeed(suspect.job_run, come_up.server, CREATED, come_up)
        else:
            self._ready.join(suspect.job_run, CREATED, come_up)

    def _not_deleted(self, suspect: Suspect, error: Exception, *, in_doubt: bool) -> None:
        """Leave a suspect that could not be deleted, or that may be deleted later (``in_doubt``)."""
        if self._deleted.pop(suspect.key, None) is None:
            self._leave(suspect, str(error))
            return
        self._tally.replaced(-1)
        if suspect.error is None:
            self._spared.add(suspect.job_run)
            self._waits.join(suspect.job_run, suspect.created, CREATED)
            return
        if in_doubt:
            why = f"the outcome of its delete is unknown: {error}"
            self._fail_without(suspect, _lost(suspect, f"was stuck, and {why}"), why)
            return
        self._suspects[suspect.key] = suspect
        self._leave(suspect, f"its delete failed: {error}")

    def _stays(self, suspect: Suspect) -> None:
        """Record that a server is not deleted after all."""
        if self._intents is not None:
            self._intents.acknowledged(suspect.job_run.job, Receipt.of(suspect.created, "create"))

    async def _create_after(self, suspect: Suspect) -> None:
        """Wait until a server is gone, and do its job once more."""
        job, server_id = suspect.job_run.job, suspect.created.id
        try:
            await self._context.waiter.wait(server_id, Target.of("gone"), self._options.timeout)
            await self._note_gone(server_id)
        except VpsOrgError as error:
            del self._deleted[suspect.key]
            self._fail_without(suspect, error)
            return
        reason = str(suspect.error or "it took far longer than servers of its kind")
        self._outcomes.emit(ServerReplaced, key=job.key, server_id=server_id, reason=reason)
        del self._deleted[suspect.key]
        await self._again(job, (*suspect.job_run.replaced, server_id))

    async def take_up(self, job_run: JobRun) -> None:
        """Go on with a server that an earlier run was about to delete, in order to create another one."""
        assert job_run.job.server_id is not None
        try:
            await self._context.waiter.poller.read(job_run.job.server_id)
        except VpsOrgError as error:
            if is_absence(error):
                await self._create_after_crash(job_run.job)
                return
        # the delete may not have been sent; or it is applied during this wait
        self._waits.join(job_run, None, CREATED)

    async def _create_after_crash(self, job: Job) -> None:
        """Create what an earlier run did not create any more, after it had deleted the server before."""
        assert job.spec is not None
        assert job.server_id is not None
        create = Job(key=job.key, command="create", spec=job.spec, target=job.target)
        try:
            admission = await self._context.admissions.admit(
                self._sender.begin(), [job.spec], searched=True, earlier=self._creates
            )
            self._sender.admit_too(admission)
            self._creates += 1
            await self._note_gone(job.server_id)
        except VpsOrgError as error:
            self._fail(JobRun(create, self._context.clock.now()), error)
            return
        await self._again(create, (job.server_id,))

    async def _note_gone(self, server_id: ServerId) -> None:
        """Note that a server can't be the result of a create that follows. Raises `JournalError`."""
        self._before.add(id_text(server_id))
        if self._intents is not None:
            await self._intents.note_before(self._before)

    def _fail_without(self, suspect: Suspect, error: VpsOrgError, why: str = GIVEN_UP) -> None:
        """Settle the job of a suspect that was deleted, or may be, and has no successor."""
        old = suspect.job_run
        # not acknowledged: to try again means to create
        lost = JobRun(old.job, old.sent_at, old.time, old.attempts, replaced=old.replaced)
        lost.left(why)
        self._fail(lost, error, server=suspect.created)

    # -- leaving ----------------------------------------------------------------------------------------------------

    def detach(self, why: str) -> None:
        """End what nothing was sent for yet. The servers are not changed."""
        self._search.cancel()
        for suspect in list(self._suspects.values()):
            self._leave(suspect, why)

    def abandon(self, why: str) -> None:
        """Settle what is still being replaced."""
        while self._deleted:
            _, suspect = self._deleted.popitem()
            sent = f"was stuck and its delete was sent; {why} before another one was created"
            self._fail_without(suspect, _lost(suspect, sent))

    async def end(self) -> None:
        """End the search for overdue servers."""
        await self._search.end()


def _lost(suspect: Suspect, what: str) -> WaitError:
    """Return the error of a suspect that was deleted, or may be, and whose end was not seen."""
    server = suspect.created
    return WaitError(f"server {server.id} {what}", server_id=server.id, target="gone", last_seen=server)


def _kind(job_run: JobRun) -> Kind:
    """Return the kind of the server that was created for a job."""
    spec, other = job_run.job.spec, job_run.alternative
    assert spec is not None
    taken = spec if other is None else other
    return str(taken.plan_id), str(spec.os_id), str(taken.location)
