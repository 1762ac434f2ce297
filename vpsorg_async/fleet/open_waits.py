"""The waits of a run: one for each server whose command was acknowledged. A wait needs no task."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Protocol

import attrs

from ..errors import VpsOrgError, WaitError
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.wait import Verdict, Wait
from ..records import Server
from .jobs import JobRun, RunContext
from .outcomes import with_password

__all__ = ["Fail", "OpenWaits", "Succeed"]


class Reach(Protocol):
    """Goes on with a job run that reached its target."""

    def __call__(self, job_run: JobRun, how: str, waited: WaitOutcome) -> None: ...


class Succeed(Protocol):
    """Settles a job run that reached its target."""

    def __call__(
        self, job_run: JobRun, server: Server | None, how: str, waited: WaitOutcome | None = None
    ) -> None: ...


class Fail(Protocol):
    """Settles a job run that failed."""

    def __call__(
        self, job_run: JobRun, error: VpsOrgError, wait: Wait | None = None, server: Server | None = None
    ) -> None: ...


class OpenWaits:
    """Joins job runs to the shared poller, and settles each by its verdict."""

    def __init__(
        self,
        context: RunContext,
        timeout: float,
        reach: Reach,
        fail: Fail,
        broke: Callable[[BaseException], None],
    ) -> None:
        self._context = context
        self._timeout = timeout
        self._reach = reach
        self._fail = fail
        self._broke = broke
        self._open: dict[Wait, tuple[JobRun, Server | None, str]] = {}
        self._verdicts: list[tuple[Wait, Verdict | BaseException]] = []

    def begin(self, context: contextvars.Context | None) -> None:
        """Settle by verdicts on the running loop, in this context, or in a copy of the caller's (None)."""
        self._loop = asyncio.get_running_loop()
        self._contextvars = context or contextvars.copy_context()

    def join(self, job_run: JobRun, server: Server | None, how: str) -> None:
        """Wait for the target of a job run; ``server`` is the record of its command's answer."""
        job = job_run.job
        server_id = server.id if server is not None else job.server_id
        assert server_id is not None
        assert job.target is not None
        try:
            # the timeout counts from the command, not from the answer
            left = job_run.sent_at + self._timeout - self._context.clock.now()
            wait = self._context.waiter.make(job.receipt or server_id, job.target, left)
            self._context.waiter.poller.join(wait, self._waited)
        except VpsOrgError as error:
            # the client was closed, or the answer has an unusable id; the server exists all the same
            self._fail(job_run, error, server=server)
            return
        self._open[wait] = (job_run, server, how)

    def open(self) -> list[tuple[Wait, JobRun]]:
        """Return the open waits and their job runs."""
        return [(wait, job_run) for wait, (job_run, _, _) in self._open.items()]

    def withdraw(self, job_run: JobRun) -> bool:
        """End the wait of a job run without settling it; returns False if it has a verdict already."""
        for wait, (found, _, _) in self._open.items():
            if found is job_run and wait.is_open:
                self._context.waiter.poller.leave(wait)
                del self._open[wait]
                return True
        # no test runs this: the verdict came in the iteration of the event loop in which this is called
        return False

    def detach(self, why: str) -> None:
        """End all waits. Their servers are not changed."""
        for wait, (job_run, server, _) in list(self._open.items()):
            self._context.waiter.poller.leave(wait)
            detached = WaitError(
                f"server {wait.server_id}: {why} before the server was {wait.target}; its command was acknowledged, "
                "but nothing is waiting for it now",
                server_id=wait.server_id,
                target=str(wait.target),
                last_seen=wait.last_seen or server,
                timeline=wait.timeline,
            )
            self._fail(job_run, detached, wait, server)
        self._open.clear()

    def _waited(self, wait: Wait, verdict: Verdict | BaseException) -> None:
        # the user's hooks must not delay the poller, nor run in its context
        if not self._verdicts:
            self._loop.call_soon(self._judge_all, context=self._contextvars)
        self._verdicts.append((wait, verdict))

    def _judge_all(self) -> None:
        verdicts, self._verdicts = self._verdicts, []
        for wait, verdict in verdicts:
            self._judge(wait, verdict)

    def _judge(self, wait: Wait, verdict: Verdict | BaseException) -> None:
        """Settle a job run by the verdict of its wait. If that fails it stays open until the run is left."""
        if wait not in self._open:
            return  # the run was left in between, in one iteration of the event loop: no test runs this
        job_run, server, how = self._open[wait]
        try:
            if isinstance(verdict, BaseException):
                raise verdict
            outcome = WaitOutcome.of(wait, verdict, self._context.clock.now())
            if outcome.error is not None:
                # the error of the command says more than that the server stayed as it was
                self._fail(job_run, job_run.refusal or outcome.error, wait, server)
            else:
                known = with_password(outcome.server, server)
                self._reach(
                    job_run, how, outcome if known is outcome.server else attrs.evolve(outcome, server=known)
                )
        except BaseException as bug:
            self._broke(bug)
        else:
            del self._open[wait]
