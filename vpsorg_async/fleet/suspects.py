"""A stuck server that may be deleted, and the last look at it before that."""

from __future__ import annotations

import attrs

from ..endpoints import Endpoints
from ..errors import NeverReadyError, VpsOrgError, WaitError
from ..lifecycle.calls import WaitOutcome
from ..lifecycle.commands import COMMANDS, GONE, LEAVING
from ..lifecycle.contract import FAILURES, Evidence
from ..lifecycle.readiness import HEALTHY, ReadyPolicy
from ..lifecycle.ready_checks import READY
from ..lifecycle.wait import Wait
from ..records import Server, ServerId
from .jobs import JobRun, Options, RunContext
from .outcomes import with_password

__all__ = ["Spared", "Suspect", "look_again"]

USED = frozenset({"stopped", COMMANDS["stop"].moving, COMMANDS["reboot"].moving})
"""The statuses of a server that has come up, and that someone else stops or reboots."""


@attrs.frozen(eq=False)
class Suspect:
    """A stuck server that this run has created. Without an ``error`` it is overdue, and its wait goes on."""

    job_run: JobRun
    error: VpsOrgError | None = None
    wait: Wait | None = None
    server: Server | None = None

    @property
    def key(self) -> ServerId:
        """The key of its job."""
        return self.job_run.job.key

    @property
    def created(self) -> Server:
        """The server, as the answer to its create showed it."""
        assert self.job_run.created is not None
        return self.job_run.created

    @property
    def status(self) -> str:
        """The status in which it is stuck."""
        if isinstance(self.error, WaitError) and self.error.last_seen is not None:
            return str(self.error.last_seen.status)
        seen = None if self.wait is None else self.wait.last_seen
        return str((seen or self.created).status)

    @property
    def unready(self) -> bool:
        """Whether it was active, and its ready check did not pass."""
        at_check = isinstance(self.error, WaitError) and self.error.target == READY
        return at_check or isinstance(self.error, NeverReadyError)


class Spared(Exception):
    """A suspect is not deleted, for this reason."""


async def look_again(
    suspect: Suspect, endpoints: Endpoints, context: RunContext, options: Options
) -> WaitOutcome | None:
    """Read a suspect right before it is deleted.

    Returns:
        None if it is stuck still. If it has come up meanwhile, what a wait for it would have returned.

    Raises:
        Spared: Someone else works on it, or what it is like now is not known.
    """
    server = await _read(suspect, endpoints)
    if server.status != "active":
        return None
    waited = WaitOutcome(
        server_id=server.id,
        server=with_password(server, suspect.created),
        evidence=Evidence.OBSERVED,
        timeline=suspect.wait.timeline if suspect.wait is not None else (),
        stage=str(server.status),
    )
    if not suspect.unready or options.ready is None:
        return waited
    try:
        return await context.waiter.ready(waited, options.ready, ReadyPolicy(tries=1))
    except VpsOrgError as error:
        if not _said_no(error):
            raise Spared(f"its ready check could not be repeated before its delete: {error}") from error
    # the check may have taken long, or have waited for its place for long
    await _read(suspect, endpoints)
    return None


async def _read(suspect: Suspect, endpoints: Endpoints) -> Server:
    """Return a suspect as it is now: active, or as stuck as before. Raises `Spared` where it is neither."""
    try:
        server = await endpoints.get(suspect.created.id)
    except VpsOrgError as error:
        raise Spared(f"the server could not be read before its delete: {error}") from error
    assert suspect.job_run.job.spec is not None
    if endpoints.key_of(server) != endpoints.key_of(suspect.job_run.job.spec):
        raise Spared(f"the server has another name now: {server.name}")
    if server.status == GONE or server.status in LEAVING:
        raise Spared("the server is being deleted already")
    if server.status in USED or (suspect.unready and server.status != "active"):
        raise Spared(f"the server is {server.status} now")
    if server.status == "active" or server.status in FAILURES:
        return server
    if not server.status.is_known:
        raise Spared(
            f"the server is {server.status!r}, and what that word means is not known: map it with status_words"
        )
    if server.status != suspect.status:
        # it gets on, however late
        raise Spared(f"the server is {server.status} now, and was {suspect.status}")
    return server


def _said_no(error: VpsOrgError) -> bool:
    """Return whether a ready check was called, and did not pass.

    It is not called for a server that has left its status while the check waited for a place.
    """
    return (
        isinstance(error, WaitError)
        and (isinstance(error, NeverReadyError) or error.target == HEALTHY)
        and error.last_seen is not None
        and error.last_seen.status == "active"
    )
