"""The creates of one run whose answers were lost: a search for each server, in polls that waits need anyway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import anyio

from ..errors import (
    ClientClosedError,
    JournalError,
    OutcomeUnknownError,
    PaymentRequiredError,
    VpsOrgError,
    is_forbidden,
)
from ..journal.protocol import Left, Move, next_move
from ..lifecycle.account import UNMARKED
from ..lifecycle.commands import GONE
from ..lifecycle.creations import Doubt
from ..lifecycle.snapshots import ListNews
from ..records import Server, ServerId
from ..specs import ServerSpec, id_text
from .jobs import Job, JobRun, Options, RunContext
from .reconcile import Found, Search

__all__ = ["Searches", "find_created", "why_stop"]


def stops_all(error: Exception) -> bool:
    """Return whether every further command would be refused as well: 401, 402, or the API's 403."""
    return is_forbidden(error) or isinstance(error, PaymentRequiredError)


def why_stop(error: Exception, command: str) -> str:
    """Return why no further command is sent after this error of one; empty while they are."""
    if isinstance(error, JournalError):
        return f"not sent, because the journal can't be written: {error}"
    if stops_all(error):
        return f"not sent, because an earlier {command or 'poll'} was refused: {error}"
    return ""


def ends_polling(error: Exception) -> bool:
    """Return whether no later poll can succeed."""
    return stops_all(error) or isinstance(error, ClientClosedError)


READ_AGAIN = 60.0
"""Seconds after the settle window for which a search goes on while the account can't be read."""
INTERVAL = 1.0
"""Seconds between polls of the account while a server is searched for."""
LAST_POLL = 0.6
"""Seconds for the last poll of a run that is left early."""


class Searches:
    """The open searches of a run.

    ``found`` is called with the result of each, ``broke`` with what ends all polling and is no `VpsOrgError`.
    """

    def __init__(
        self,
        context: RunContext,
        options: Options,
        found: Callable[[JobRun, Found], None],
        broke: Callable[[BaseException], None],
    ) -> None:
        self._context = context
        self._options = options
        self._ids_before: Collection[str] = ()
        self._found = found
        self._broke = broke
        self._open: dict[ServerId, tuple[JobRun, Search, int]] = {}

    def begin(self, ids_before: Collection[str]) -> None:
        """Take these ids for the servers that exist already: none of them is the result of a create."""
        self._ids_before = ids_before

    def clear_up(self, job_run: JobRun, listed_at: float) -> bool:
        """Search for the server of an earlier create of this name, if its outcome is unknown; return whether it is.

        ``listed_at`` is when the list was read that has not shown it (monotonic seconds).
        """
        spec, doubt = job_run.job.spec, self.doubt(job_run.job)
        if spec is None or doubt is None:
            return False
        # The plan has a create, so that its list did not show the server. That list can be old: the turn of a name in a
        # large fleet comes late.
        settled = listed_at >= doubt.sent_at + self.window(doubt)
        if next_move(Left.INTENT, shown=False, settled=settled) is not Move.SEARCH:
            return False
        job_run.doubted(doubt)
        self.open(job_run, spec, doubt.error)
        return True

    def doubt(self, job: Job) -> Doubt | None:
        """Return the earlier create of the name of a job whose outcome is unknown."""
        if job.spec is None or not job.command:
            return None
        endpoints = self._context.endpoints
        return endpoints.creations.doubt(endpoints.shown_name(job.spec), self._context.clock.now())

    def window(self, doubt: Doubt) -> float:
        """Return the seconds for which the server of an earlier create is searched for."""
        return self._options.settle if doubt.settle is None else doubt.settle

    def open(self, job_run: JobRun, spec: ServerSpec, error: OutcomeUnknownError) -> None:
        """Search for the server of a create of this run, or of an earlier one if the job run has its doubt.

        After an earlier one another create may follow, so that the search lasts for the whole settle window.
        """
        now, endpoints = self._context.clock.now(), self._context.endpoints
        earlier = job_run.doubt
        if earlier is None:
            begun, settle = now, min(self._options.settle, self._options.timeout)
        else:
            begun, settle = earlier.sent_at, self.window(earlier)
        search = Search(
            spec, error, before=self._ids_before, now=begun, settle=settle, name=endpoints.key_of(spec)
        )
        doubt = earlier or endpoints.creations.doubt(endpoints.shown_name(spec), now)
        self._open[job_run.job.key] = (job_run, search, UNMARKED if doubt is None else doubt.mark)
        try:
            self._context.waiter.poller.subscribe(self._polled, INTERVAL)
        except ClientClosedError as closed:
            self._polled(closed)

    def close(self) -> list[JobRun]:
        """End all searches, and return the job runs whose servers were not found."""
        left = [job_run for job_run, _, _ in self._open.values()]
        self._open.clear()
        self._context.waiter.poller.unsubscribe(self._polled)
        return left

    async def last_poll(self) -> dict[str, list[Server]]:
        """Poll the account once, quickly, and return the new servers by name; none if the poll fails."""
        seen: dict[str, list[Server]] = {}
        with anyio.move_on_after(LAST_POLL):
            try:
                servers = (await self._context.plain.poll()).servers
            except VpsOrgError:
                return seen
            for server in servers:
                if id_text(server.id) not in self._ids_before and server.status != GONE:
                    seen.setdefault(self._context.endpoints.key_of(server), []).append(server)
        return seen

    def _polled(self, news: ListNews | BaseException) -> None:
        """Show a poll, or its failure, to all searches."""
        if not isinstance(news, ListNews | VpsOrgError):
            self._broke(news)  # what is still open is settled when the run is left
            return
        now = self._context.clock.now()
        by_name: dict[str, list[Server]] = {}
        lacks = ""
        if isinstance(news, ListNews):
            servers, unfit = news.snapshot.new(self._ids_before)
            named = [server for server in servers if self._context.endpoints.key_of(server)]
            # a row that can't be read, or has no name, may be the server that is searched for
            unfit += len(servers) - len(named)
            lacks = news.snapshot.lacks(len(news.snapshot.rows) - unfit, unfit)
            for server in named:
                by_name.setdefault(self._context.endpoints.key_of(server), []).append(server)
        for key, (job_run, search, mark) in list(self._open.items()):
            if isinstance(news, ListNews):
                # a server that existed before, or belongs to another create, is not the result of this one
                knew = self._context.endpoints.knew
                named = [server for server in by_name.get(search.name, ()) if not knew(server.id, mark)]
                found = search.observe(named, news.snapshot.requested_at, lacks=lacks)
            elif now >= job_run.sent_at + self._options.timeout or ends_polling(news):
                found = search.give_up(f"the account could not be read: {news}")
            else:
                continue
            if found is not None:
                del self._open[key]
                self._found(job_run, found)
        if not self._open:
            self._context.waiter.poller.unsubscribe(self._polled)


async def find_created(
    context: RunContext, spec: ServerSpec, before: Collection[str], settle: float
) -> Server | None:
    """Search for the server of a create whose answer was lost; see `Fleet.find_created`."""
    ended: asyncio.Future[Found] = asyncio.get_running_loop().create_future()

    # no test runs the other cases: a cancelled caller ends the future in the iteration of the event loop before the one
    # in which it closes the searches

    def found(_: JobRun, result: Found) -> None:
        if not ended.done():
            ended.set_result(result)

    def broke(bug: BaseException) -> None:
        if not ended.done():
            ended.set_exception(bug)

    now = context.clock.now()
    name = context.endpoints.shown_name(spec)
    lost = OutcomeUnknownError(
        f"create of {spec.name!r} has an unknown outcome",
        subject=spec.name,
        reason=VpsOrgError("its answer was lost"),
    )
    job_run = JobRun(Job(key=spec.name, command="create", spec=spec), now)
    job_run.doubted(Doubt(name, now, lost, UNMARKED, settle))
    searches = Searches(context, Options(timeout=settle + READ_AGAIN), found, broke)
    searches.begin(before)
    searches.open(job_run, spec, lost)
    try:
        result = await ended
    finally:
        searches.close()
    if result.server is None and result.exhausted:
        context.admissions.clear(context.endpoints.key_of(spec))
    if result.server is not None or result.exhausted:
        return result.server
    assert result.error is not None
    raise result.error
