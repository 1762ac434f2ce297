"""Reads the list of servers to its end, page by page: complete records, or statuses only.

A list can lack servers: it shows fewer than it counts, its pages stop short, or a row can't be read. It is then read
again a few times. A list that still lacks servers is called incomplete, and proves no absence.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Generic, TypeVar

import attrs

from .answers import Answers
from .codec import Raw, StatusRow
from .dialects import Dialect, Page, RawPage
from .errors import DecodeError, NotFoundError, Sent, is_absence
from .http.exchange import Priority, Request, Response
from .http.paging import MAX_PAGES, next_path
from .http.reply import http_date
from .http.senders import Sender
from .lifecycle.snapshots import ListSnapshot
from .records import Server, ServerId
from .shielding import side_by_side
from .specs import id_text, name_key

__all__ = ["Listing", "Lists", "by_id"]

P = TypeVar("P", Page, RawPage)

SHIFTED = "it changed while it was read"
MAX_PASSES = 4
"""The maximum number of passes over the pages of a list that changes while it is read, or lacks servers."""


@attrs.frozen(kw_only=True)
class Listing:
    """The servers that a list showed, and when its first request left. ``lacks`` says why it is incomplete."""

    requested_at: float
    by_id: Mapping[ServerId, Server]
    lacks: str = ""
    date: datetime | None = None
    """The time of day by the clock of the service, as its answer says."""
    name_of: Callable[[Server], str] = attrs.field(default=attrgetter("name"), repr=False, eq=False)
    """Returns the name by which a server is found; in the provider dialect its host name."""

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them, in the order of the list."""
        return tuple(self.by_id.values())

    def by_name(self) -> dict[str, list[Server]]:
        """Return the servers by their names, in the form of `name_key`; several can share a name."""
        found: dict[str, list[Server]] = {}
        for server in self.servers:
            found.setdefault(name_key(self.name_of(server)), []).append(server)
        return found

    def check_whole(self, why: str) -> None:
        """Raise `DecodeError` if the list is incomplete, so that a server that it does not show may exist."""
        if self.lacks:
            error = DecodeError(f"the list of servers is incomplete: {self.lacks}; {why}, nothing was sent")
            error.sent = Sent.NO
            raise error


@attrs.frozen(eq=False)
class _Rows:
    """Reads the rows of a poll one by one, on demand."""

    answers: Answers
    request: Request
    found: _Pass[RawPage]

    @property
    def pages(self) -> Mapping[str, tuple[bytes, RawPage]]:
        """The pages with their bodies, by path."""
        return self.found.pages

    def status(self, row: Raw) -> StatusRow:
        return self.answers.status(row, self.request)

    def record(self, row: Raw) -> Server:
        return self.answers.record(row, self.request)

    def lacks(self, shown: int, unreadable: int, *, report: bool) -> str:
        lacks = self.found.lacks(shown, unreadable)
        if report and lacks != SHIFTED:  # a shifted list is usually complete at the next poll
            self.answers.incomplete(self.request, lacks, poll=True)
        return lacks


class _Pass(Generic[P]):
    """One pass over all pages. A page whose body is known from ``before`` is not read again."""

    def __init__(
        self,
        send: Callable[[Request], Awaitable[Response]],
        dialect: Dialect,
        how: Callable[[Request, Response], Awaitable[tuple[P, int, int]]],
        *,
        repeat: bool,
        before: Mapping[str, tuple[bytes, P]] | None = None,
    ) -> None:
        """``how`` reads a page, and returns it with the number of its rows and of its unidentifiable rows."""
        self._send = send
        self._dialect = dialect
        self._how: Callable[[Request, Response], Awaitable[tuple[P, int, int]]] = how
        self._repeat = repeat
        self._before: Mapping[str, tuple[bytes, P]] = before or {}
        self._counts: set[int | None] = set()
        self._further: tuple[str, ...] = ()
        self.broken = ""
        self.rows = self.unfit = 0
        self._cut = False
        self.pages: dict[str, tuple[bytes, P]] = {}
        self.requested_at = 0.0
        self.date: datetime | None = None
        self.claimed: int | None = None
        """The number of servers that the first page claims."""

    async def run(self, request: Request) -> None:
        """Read every page once."""
        # no page shows what happened after its request, so the time of the first one holds for all
        self.requested_at, page = await self._page(request.path)
        self.claimed = page.count
        self._further = self._dialect.further_pages(page.count, self.rows)
        if self._further:
            tasks = [asyncio.ensure_future(self._further_page(path)) for path in self._further]
            try:
                await asyncio.gather(*tasks)
            finally:
                # if one failed, the others are not needed any more
                for task in tasks:
                    task.cancel()
            order = (request.path, *self._further)  # the pages arrive in any order
            self.pages = {path: self.pages[path] for path in order if path in self.pages}
            if self._further[-1] not in self.pages:
                return
            page = self.pages[self._further[-1]][1]
        await self._follow(page)
        self._before = {}  # otherwise each list would keep the one before it alive

    @property
    def counted(self) -> int | None:
        """The largest number of servers that any page claims; None if none does."""
        return max((count for count in self._counts if count is not None), default=None)

    def lacks(self, servers: int, unreadable: int = 0) -> str:
        """Return why the pages lack servers, given the number of different ones shown; empty if they seem complete."""
        if unreadable:
            return f"{unreadable} of its rows have no id or name that can be read"
        if self.broken:
            return self.broken
        if self.counted is not None and self.counted > self.rows:
            return f"it counts {self.counted} and shows {servers}"
        # if rows move between pages, a row that is shown twice hides another one
        moved = len(self.pages) > 1 and (servers < self.rows or (self._further and self._counts != {servers}))
        return SHIFTED if self._cut or moved else ""

    async def _page(self, path: str) -> tuple[float, P]:
        asked = self._dialect.list_page(path, may_repeat=self._repeat)
        asked.known, page = self._before.get(path, (None, None))
        response = await self._send(asked)
        if page is None or response.cut_at is not None or response.body != asked.known:
            page, rows, unfit = await self._how(asked, response)
            self.unfit += unfit
        else:
            rows = len(page.results)
        self.rows += rows
        if page.problems:
            self.broken = page.problems[0]
        self._counts.add(page.count)
        self.pages[path] = (response.body, page)
        if self.date is None:
            self.date = http_date(response.headers.get("date", "").strip())
        return response.requested_at, page

    async def _further_page(self, path: str) -> None:
        try:
            await self._page(path)
        except NotFoundError:
            self._cut = True  # the list has become shorter since the first page was read

    async def _follow(self, page: P) -> None:
        """Follow ``next`` links to the end, or as far as possible."""
        visited = set(self.pages)
        path = next(reversed(self.pages))
        while page.next:
            try:
                path = next_path(path, page.next)
            except DecodeError as error:
                self.broken = error.problems[0]
                return
            if path in visited or len(visited) == MAX_PAGES:
                self.broken = "its pages form a loop"
                return
            visited.add(path)
            _, page = await self._page(path)


class Lists:
    """Reads lists with the session that is passed in."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        # a weak reference: the code that compares polls keeps it alive
        self._last: weakref.ref[ListSnapshot] | None = None

    async def whole(self, session: Sender, request: Request) -> Listing:
        """Read all records. Pages that shift while they are read can hide a server, but no server is returned twice."""
        seen: dict[ServerId, Server] = {}
        passes = 0
        began = 0.0
        while True:
            passes += 1
            found: _Pass[Page] = _Pass(session.send, self.answers.dialect, self.answers.page, repeat=True)
            await found.run(request)
            once = {server.id: server for _, page in found.pages.values() for server in page.results}
            lacks = found.lacks(len(once), found.unfit)
            seen = seen | once if lacks else once
            if passes == 1 or not lacks:
                began = found.requested_at
            # reading again does not help with a row that can't be read
            if not lacks or found.unfit or passes == MAX_PASSES:
                break
        if lacks and len(found.pages) > 1 and not (found.unfit or found.broken):
            # a server that one pass missed, because rows moved between its pages, was shown by another pass
            claimed = found.claimed or 0
            lacks = SHIFTED if claimed <= len(seen) else f"it counts {claimed} and shows {len(seen)}"
        # an incomplete list rather includes a server that has just gone than hides one
        if self.answers.words:
            seen = {server_id: self.answers.spoken(server) for server_id, server in seen.items()}
        self.answers.incomplete(request, lacks, poll=False)
        return Listing(
            requested_at=began,
            by_id=seen,
            lacks="" if lacks == SHIFTED else lacks,
            date=found.date,
            name_of=self.answers.dialect.name_of,
        )

    async def poll(self, session: Sender, request: Request) -> ListSnapshot:
        """Read the statuses only, with the lowest priority.

        It is not retried, because the poller polls again anyway. The poller reads servers that the poll lacks by id,
        which is cheaper than a second pass over the pages.
        """
        last = None if self._last is None else self._last()
        reader = None if last is None else last.reader
        found: _Pass[RawPage] = _Pass(
            lambda asked: session.send(asked, Priority.POLL),
            self.answers.dialect,
            self._rows,
            repeat=False,
            before=reader.pages if isinstance(reader, _Rows) else None,
        )
        await found.run(request)
        pages = [page.results for _, page in found.pages.values()]
        # if nothing changed, which is the normal case, this is the same list object, and no row has to be read
        rows = pages[0] if len(pages) == 1 else [row for rows in pages for row in rows]
        snapshot = ListSnapshot(found.requested_at, rows, _Rows(self.answers, request, found))
        self._last = weakref.ref(snapshot)
        return snapshot

    async def _rows(self, request: Request, response: Response) -> tuple[RawPage, int, int]:
        page = self.answers.rows(request, response)
        return page, len(page.results), 0


async def by_id(
    listed: Iterable[Server], ids: Iterable[ServerId], get: Callable[[ServerId], Awaitable[Server]]
) -> dict[str, Server]:
    """Return servers by id, in the form of `id_text`: those of a list, and of these ids those that it lacks.

    What a list does not show may exist all the same: lists can be incomplete, and lag behind. Raises what ``get``
    raises, but for an absence.
    """
    known = {id_text(server.id): server for server in listed}

    async def read(server_id: ServerId) -> None:
        try:
            known[id_text(server_id)] = await get(server_id)
        except NotFoundError as error:
            if not is_absence(error):
                raise

    await side_by_side(read(server_id) for server_id in ids if id_text(server_id) not in known)
    return known
