"""The list of servers, read to its end: page by page, whole or the statuses alone."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from .codec import Raw, StatusRow
from .dialects import Dialect, Page, RawPage, looks_like
from .errors import DecodeError, NotFoundError
from .http.exchange import Priority, Request, Response
from .http.paging import MAX_PAGES, next_path
from .http.reply import read_answer
from .http.session import Bulk, Session
from .lifecycle.looks import ListLook
from .models import Server, ServerId, ServerStatus
from .timing import Clock

__all__ = ["Lists", "answer_of"]

T = TypeVar("T")
P = TypeVar("P", Page, RawPage)

log = logging.getLogger("vpsorg_async.servers")

PARTS = 1000
"""Plans and operating systems remembered, so that servers share them."""
MAX_PASSES = 4
"""Passes over the pages of a list that shifts while it is read."""


def answer_of(dialect: Dialect, request: Request, response: Response, how: Callable[[bytes], T]) -> T:
    """What an answer says. An answer in the other dialect is told as that. Raises `DecodeError`."""
    try:
        return read_answer(request, response, how)
    except DecodeError as error:
        other = looks_like(response.body)
        if other is not None and other != dialect.name:
            error.args = (
                f"{error.args[0]}, but it looks like the {other} dialect: "
                f"Client(..., dialect={other!r}), or VPSORG_DIALECT={other}",
            )
        raise


@attrs.frozen(eq=False)
class _Rows:
    """Reads the rows of a look, one by one, where they are wanted."""

    lists: Lists
    request: str
    pages: Mapping[str, tuple[bytes, RawPage]]
    """By their paths, with their bodies."""

    def status(self, row: Raw) -> StatusRow:
        status = self._read(row, self.lists.dialect.read_status)
        if not self.lists.words:
            return status
        return StatusRow(status.id, self.lists.word(status.status), status.updated_at)

    def record(self, row: Raw) -> Server:
        return self.lists.shared(self.lists.spoken(self._read(row, self.lists.dialect.read_server)))

    def _read(self, row: Raw, how: Callable[[Raw], T]) -> T:
        try:
            return how(row)
        except DecodeError as error:
            error.request = self.request
            # the frames below hold the raw row, which a traceback with local variables would show
            error.with_traceback(None)
            raise


class _Pass(Generic[P]):
    """One way through all pages. One whose body is known from ``before`` is not read again."""

    def __init__(
        self,
        lists: Lists,
        send: Callable[[Request], Awaitable[Response]],
        how: Callable[[bytes], P],
        *,
        repeat: bool,
        before: Mapping[str, tuple[bytes, P]] | None = None,
    ) -> None:
        self._lists = lists
        self._send = send
        self._how: Callable[[bytes], P] = how
        self._repeat = repeat
        self._before: Mapping[str, tuple[bytes, P]] = before or {}
        self._counts: set[int | None] = set()
        self._further: tuple[str, ...] = ()
        self.pages: dict[str, tuple[bytes, P]] = {}
        self.requested_at = 0.0

    async def run(self, request: Request) -> None:
        """Read every page once."""
        # a page tells nothing of what happened after it was asked for: the first one's time holds for all
        self.requested_at, page = await self._page(request.path)
        self._further = self._lists.dialect.further_pages(page.count, len(page.results))
        if self._further:
            tasks = [asyncio.ensure_future(self._further_page(path)) for path in self._further]
            try:
                await asyncio.gather(*tasks)
            finally:
                # where one failed, nobody wants the others any more
                for task in tasks:
                    task.cancel()
            order = (request.path, *self._further)  # in which they came tells nothing
            self.pages = {path: self.pages[path] for path in order if path in self.pages}
            return
        page = await self._follow(request, page)
        shown = sum(len(page.results) for _, page in self.pages.values())
        if page.count is not None and page.count > shown:
            log.warning("the list says it counts %d servers but shows %d", page.count, shown)

    def fits(self, servers: int) -> bool:
        """Whether the pages fit together, if they showed so many servers."""
        return not self._further or self._counts == {servers}

    async def _page(self, path: str) -> tuple[float, P]:
        asked = self._lists.dialect.list_page(path, may_repeat=self._repeat)
        asked.known, page = self._before.get(path, (None, None))
        response = await self._send(asked)
        if page is None or response.cut_at is not None or response.body != asked.known:
            page = answer_of(self._lists.dialect, asked, response, self._how)
        self._counts.add(page.count)
        self.pages[path] = (response.body, page)
        return response.requested_at, page

    async def _further_page(self, path: str) -> None:
        try:
            await self._page(path)
        except NotFoundError:
            self._counts.add(None)  # the list has become shorter since the first page was cut

    async def _follow(self, request: Request, page: P) -> P:
        """Follow ``next`` links to their end, and return the last page."""
        path, visited = request.path, {request.path}
        while page.next:
            try:
                path = next_path(self._lists.base_url, path, page.next)
            except DecodeError as error:
                error.request = str(request)
                # the frame below holds the link, which a traceback with local variables would show
                error.with_traceback(None)
                raise
            if path in visited or len(visited) == MAX_PAGES:
                raise DecodeError("the pages of the list form a loop", request=str(request))
            visited.add(path)
            _, page = await self._page(path)
        return page


class Lists:
    """Reads lists, over whichever session is handed in."""

    def __init__(
        self, dialect: Dialect, clock: Clock, base_url: str, words: Mapping[str, str] | None = None
    ) -> None:
        """``words`` are status words of the account, and what they are in this package."""
        self.dialect = dialect
        self.base_url = base_url
        self._clock = clock
        self.words = dict(words or {})
        self._parts: dict[Any, Any] = {}
        # kept alive by whoever compares looks, and not by this
        self._last: weakref.ref[ListLook] | None = None

    def word(self, status: str) -> ServerStatus:
        """The status in the words of this package, where the user has named a translation."""
        return ServerStatus(self.words.get(status, status))

    def spoken(self, server: Server) -> Server:
        """The server with its status in the words of this package."""
        return attrs.evolve(server, status=self.word(server.status)) if self.words else server

    def shared(self, server: Server) -> Server:
        """The server, with plan and operating system in common with all others that have the same."""
        for name in ("plan", "os"):
            part = getattr(server, name)
            if part is not None:
                if len(self._parts) > PARTS:
                    self._parts.clear()
                # set in place: it was made just now, and a copy would cost more than the decoding did
                object.__setattr__(server, name, self._parts.setdefault(part, part))
        return server

    async def whole(self, session: Session | Bulk, request: Request) -> tuple[float, Sequence[Server]]:
        """All records, and when the first request left.

        A page that shifted while they were read can hide a server, never show one twice or invent one.
        """
        seen: dict[ServerId, Server] = {}
        began = self._clock.now()
        for _ in range(MAX_PASSES):
            found = _Pass(self, session.send, self.dialect.read_page, repeat=True)
            await found.run(request)
            once = {server.id: server for _, page in found.pages.values() for server in page.results}
            servers: Sequence[Server] = list(once.values())
            if self.words:
                servers = [self.spoken(server) for server in servers]
            if found.fits(len(servers)):
                return found.requested_at, servers
            seen.update((server.id, server) for server in servers)
        # rather one that has just gone than one hidden: whoever finds a name missing makes a server of it
        log.warning("the list changed during each of %d passes over its pages", MAX_PASSES)
        return began, tuple(seen.values())

    async def look(self, session: Session | Bulk, request: Request) -> ListLook:
        """The statuses alone, last in line for a place.

        Not repeated, as the poller looks again anyway; and it confirms by id what a look lacks, which is cheaper than
        a second pass over the pages.
        """
        last = None if self._last is None else self._last()
        reader = None if last is None else last.reader
        found = _Pass(
            self,
            lambda asked: session.send(asked, Priority.POLL),
            self.dialect.read_rows,
            repeat=False,
            before=reader.pages if isinstance(reader, _Rows) else None,
        )
        await found.run(request)
        pages = [page.results for _, page in found.pages.values()]
        # the same list where nothing changed, which is what most looks find: nobody has to look at any row
        rows = pages[0] if len(pages) == 1 else [row for rows in pages for row in rows]
        look = ListLook(found.requested_at, rows, _Rows(self, str(request), found.pages))
        self._last = weakref.ref(look)
        return look
