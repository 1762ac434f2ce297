"""Sends the commands of one run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Sequence

from ..admission import Admission
from ..changes import ECHOES
from ..endpoints import Endpoints
from ..errors import APIError, OutcomeUnknownError, VpsOrgError
from ..http.session import BeforeSend, SendCancelled
from ..records import Server, ServerId
from ..specs import ServerSpec, id_text
from .alternatives import Alternatives, after
from .events import CommandAnswered, CommandSent
from .intents import Intents
from .jobs import Job, JobRun, RunContext
from .stream import OutcomeLog

__all__ = ["LAST_ANSWERS", "CommandSender", "is_for_the_server_to_say", "unanswered"]

LAST_ANSWERS = 1.0
"""Seconds for the answers to commands in flight when a run is left early."""


def is_for_the_server_to_say(job: Job, error: VpsOrgError) -> bool:
    """Return whether the server shows what became of a command that was answered by this error.

    That is a refusal which may be the echo of an earlier command, or a good status with a refusal in its body.
    """
    if not isinstance(error, APIError):
        return False
    echo = job.echo and error.status in ECHOES and error.from_api
    return echo or (error.status < 300 and job.command in ("start", "stop", "delete"))


def unanswered(
    job_run: JobRun,
    why: str,
    known: str = "check the server before sending it again",
    candidates: Sequence[ServerId] = (),
) -> OutcomeUnknownError:
    """Return the error of a command that was sent and has no answer at the moment at which its run ends."""
    return OutcomeUnknownError(
        f"{job_run.job.command} of {job_run.job.key!r}, sent at {job_run.time:%Y-%m-%d %H:%M:%S} UTC, had no answer "
        f"when {why}; {known}",
        subject=job_run.job.key,
        sent_at=job_run.time,
        candidates=candidates,
    )


class CommandSender:
    """Sends each command when its turn comes, until the run has stopped."""

    def __init__(self, context: RunContext, outcomes: OutcomeLog, why_not: Callable[[Job], str]) -> None:
        """``why_not`` returns why the command of a job is not sent any more; empty while it is."""
        self._clock = context.clock
        self._endpoints = context.endpoints.for_bulk()
        self._waiter = context.waiter
        self._outcomes = outcomes
        self.why_not = why_not
        self._intents: Intents | None = None
        self._in_flight: set[asyncio.Future[None]] = set()
        self._admission: Admission | None = None
        self._admissions = context.admissions
        self._alternatives = Alternatives()

    def record(self, intents: Intents | None) -> None:
        """Write an intent into this journal before each command, and its receipt after it."""
        self._intents = intents

    def admitted(self, admission: Admission) -> None:
        """Note what became of each create in the places that the run was admitted to."""
        self._admission = admission

    def admit_too(self, admission: Admission) -> None:
        """Note what becomes of these creates as well, which the run was admitted to later."""
        assert self._admission is not None
        self._admission.take_over(admission)

    def first_of(self, spec: ServerSpec) -> ServerSpec:
        """Return what the next create of a spec is sent with: the spec itself, or an alternative that has worked."""
        return self._alternatives.first(spec).spec

    def begin(self) -> Endpoints:
        """Return the endpoints of one command, and of what is read after it; their deadline counts from here."""
        return self._endpoints.begin()

    async def answers(self) -> None:
        """Wait at most `LAST_ANSWERS` seconds until the commands in flight are answered."""
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=LAST_ANSWERS)

    async def send(
        self, job_run: JobRun, endpoints: Endpoints, ids_before: Collection[str] = ()
    ) -> Server | None:
        """Send the command of a job run, and return the server that it created, if any.

        Args:
            job_run: The job run; it counts the attempts and records the acknowledgement.
            endpoints: Those of this command, from `begin`.
            ids_before: Ids of servers that existed before, none of which can be the result of a create.

        Raises:
            SendCancelled: The run has stopped, for this reason; nothing was sent.
            JournalError: The intent could not be recorded; nothing was sent.
            VpsOrgError: What the endpoint raises.
        """
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_flight.add(answered)
        try:
            if job_run.job.spec is None:
                return await self._send_recorded(job_run, endpoints, ids_before, None)
            return await self._create(job_run, job_run.job.spec, endpoints, ids_before)
        finally:
            self._in_flight.discard(answered)
            answered.cancel()

    async def _create(
        self, job_run: JobRun, spec: ServerSpec, endpoints: Endpoints, ids_before: Collection[str]
    ) -> Server | None:
        """Send the create of a spec; after a refusal that an alternative is for, the create of that one."""
        choice = self._alternatives.first(spec)
        while True:
            if choice.index >= 0 and self._admission is not None:
                await self._admissions.exchange(self._admission, endpoints, choice.spec)
            job_run.takes(choice.taken)
            try:
                server = await self._send_recorded(job_run, endpoints, ids_before, choice.spec)
            except VpsOrgError as error:
                following = after(spec, choice, error)
                if following is None:
                    raise
                choice = following
            else:
                self._alternatives.worked(spec, choice)
                return server

    async def _send_recorded(
        self, job_run: JobRun, endpoints: Endpoints, ids_before: Collection[str], spec: ServerSpec | None
    ) -> Server | None:
        """Send the command, with its intent before and its receipt after it; a create of this spec."""
        intents, job = self._intents, job_run.job
        if job.first is not None:
            assert job.server_id is not None
            # before the intent, and no attempt of the command: whatever becomes of it, the command was not sent
            await job.first(endpoints, job.server_id, functools.partial(self._check, job))
        if intents is None:
            server = await self._send(job_run, endpoints, ids_before, spec)
        else:
            await intents.intend(job)
            try:
                server = await self._send(job_run, endpoints, ids_before, spec)
            except (SendCancelled, VpsOrgError) as error:
                intents.failed(job, error)
                raise
        server_id = job.server_id if server is None else server.id
        assert server_id is not None
        receipt = self._waiter.receipt(server_id)
        if receipt is not None and receipt.operation != job.command:
            receipt = None  # that of an earlier command: this one has none, or was seen done at once
        job_run.accepted(receipt, server)
        if intents is not None and receipt is not None:
            intents.acknowledged(job, receipt)
        self._outcomes.emit(
            CommandAnswered,
            command=job.command,
            key=job.key,
            server_id=server_id,
            receipt=receipt,
            server=server,
        )
        return server

    async def _send(
        self, job_run: JobRun, endpoints: Endpoints, ids_before: Collection[str], spec: ServerSpec | None
    ) -> Server | None:
        job = job_run.job
        before_send = functools.partial(self._before_send, job_run)
        if spec is None:
            assert job.server_id is not None
            if job.call is not None:
                await job.call(endpoints, job.server_id, before_send)
                return None
            command: Callable[[ServerId, BeforeSend], Awaitable[object]] = getattr(endpoints, job.command)
            await command(job.server_id, before_send)
            return None
        create = endpoints.create(spec, before_send)
        server = await (create if self._admission is None else self._admission.create(spec, create))
        if id_text(server.id) in ids_before:
            raise OutcomeUnknownError(
                f"the answer to the create of {job.key!r} names server {server.id!r}, which was listed before",
                subject=job.key,
                candidates=[server.id],
            )
        return server

    def _check(self, job: Job) -> None:
        """Raise `SendCancelled` if the command of a job is not sent any more."""
        why = self.why_not(job)
        if why:
            raise SendCancelled(why)

    def _before_send(self, job_run: JobRun) -> None:
        """Called right before each attempt is sent: count it, or raise `SendCancelled`."""
        job = job_run.job
        self._check(job)
        if not job_run.attempts:
            self._outcomes.emit(CommandSent, command=job.command, key=job.key)
        job_run.sent(self._clock.now(), self._clock.wall())
