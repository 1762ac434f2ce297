"""Reads answers with the dialect, checks that they concern what was asked for, and reports what does not fit once.

Identity is strict: an answer must concern the requested server or spec, or it is an error. Descriptive fields are read
leniently, unless the client is ``strict``: a field that does not fit is None, and is reported once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, TypeVar

import attrs

from .codec import Raw, StatusRow, loads
from .dialects import Dialect, Page, RawPage, other_dialect
from .errors import APIError, ConfigurationError, DecodeError
from .hooks import Hook, emit
from .http.events import AnswerMisfit, ListIncomplete
from .http.exchange import Request, Response
from .http.reply import Expected, explained, read_answer, refused_inside
from .lifecycle.commands import GONE, LEAVING, MOVING, SETTLED
from .records import ActionAccepted, Server, ServerId, ServerStatus
from .specs import ServerSpec, check_id, name_key, same_id

__all__ = ["Answers"]

T = TypeVar("T")

log: logging.Logger = logging.getLogger("vpsorg_async.servers")

PARTS = 1000
"""The number of plans and operating systems that are cached, so that servers share them."""
TOLD = 1000
"""The number of problems that are remembered as reported."""
LISTS = 100
"""The number of lists, identified by their filters, whose completeness is remembered."""
EXPLANATION = 65_536
"""The maximum size of an answer, in bytes, that is searched for an explanation if it does not fit."""
ROWS_AT_A_TIME = 200
MOST_UNREADABLE = 1000
"""The number of unreadable rows beyond which an answer is no list of servers."""
NAMES = re.compile(r"\$\.(name|hostname):")
WRAPPERS = ("server", "data", "result", "instance")


class Answers:
    """Reads all answers about servers for one client."""

    def __init__(
        self,
        dialect: Dialect,
        *,
        redact: Callable[[str], str] = str,
        words: Mapping[str, str] | None = None,
        strict: bool = False,
        on_event: Hook | None = None,
    ) -> None:
        """``words`` maps status words of the account to those of this package."""
        self.dialect = dialect
        self.words: dict[str, str] = dict(words or {})
        self._redact = redact
        self._strict = strict
        self._on_event = on_event
        self._parts: dict[Any, Any] = {}
        self._told: set[str] = set()
        self._heard: set[tuple[str, bool]] = set()
        self._incomplete: dict[tuple[str, bool], str] = {}
        words_ = (*SETTLED, *MOVING, GONE, *self.words, *LEAVING, "restarting")
        self._status_words = frozenset(word.casefold() for word in words_)

    # -- words ------------------------------------------------------------------------------------------------------

    def word(self, status: str) -> ServerStatus:
        """Return the status in the words of this package, if the user has mapped it."""
        return ServerStatus(self.words.get(status, status))

    def spoken(self, server: Server) -> Server:
        """Return the server with its status in the words of this package."""
        return attrs.evolve(server, status=self.word(server.status)) if self.words else server

    def shared(self, server: Server) -> Server:
        """Return the server, sharing its plan and operating system with all others that have equal ones."""
        for name in ("plan", "os"):
            part = getattr(server, name)
            if part is not None:
                if len(self._parts) > PARTS:
                    self._parts.clear()
                # set in place: the record is new, and a copy would cost more than decoding it did
                object.__setattr__(server, name, self._parts.setdefault(part, part))
        return server

    # -- one server -------------------------------------------------------------------------------------------------

    def server(self, request: Request, response: Response, server_id: ServerId) -> Server:
        """Return the requested server. Raises `DecodeError`, also for an answer about another one."""
        server = self._one(request, response)
        if not same_id(server.id, server_id):
            # some services have two ids for a server; both are accepted
            if not any(same_id(found, server_id) for found in self.ids(response)):
                raise _foreign(request, "$.id: not the server that was asked for")
            server = attrs.evolve(server, id=server_id)
        return self.spoken(server)

    def created(self, request: Request, response: Response, spec: ServerSpec) -> Server:
        """Return the server created from the spec. Raises `DecodeError`, also for a server of another name."""
        server = self._one(request, response)
        if name_key(self.dialect.name_of(server)) != name_key(self.dialect.shown_name(spec)):
            raise _foreign(request, "$.name: not the name that was asked for")
        return self.spoken(server)

    def changed(self, request: Request, response: Response, server_id: ServerId) -> Server | None:
        """Return the server in the answer to PUT or PATCH; None if the answer is something else.

        Raises `DecodeError` for an answer about another server.
        """
        if response.cut_at is not None or not response.body.strip():
            return None
        try:
            return self.server(request, response, server_id)
        except DecodeError:
            self._check_id(request, response, server_id)
            return None

    def accepted(self, request: Request, response: Response, server_id: ServerId) -> ActionAccepted:
        """Return what the answer to start, stop or reboot says. Raises `DecodeError`."""
        accepted = self._read(
            request, response, lambda body: self.dialect.read_action(body, server_id), hint=False
        )
        if not same_id(accepted.server_id, server_id):
            raise _foreign(request, "$.server.id: not the server that was asked for")
        self._check_id(request, response, server_id)
        status = accepted.server_status
        return accepted if status is None else attrs.evolve(accepted, server_status=self.word(status))

    def deleted(self, request: Request, response: Response, server_id: ServerId) -> None:
        """Raise `DecodeError` if the answer to a DELETE is an HTML page, or concerns another server."""
        if response.body.lstrip()[:1] == b"<":
            raise request.about(DecodeError("an HTML page came instead of the API's answer"))
        self._check_id(request, response, server_id)

    def refused(self, request: Request, response: Response, expected: Expected) -> APIError | None:
        """Return the failure that the body of a 2xx reports; None if it reports none."""
        return refused_inside(request, response, self._redact, expected, status_words=self._status_words)

    def ids(self, response: Response) -> tuple[ServerId, ...]:
        """Return the ids in the answer, as far as they can be read, the best one first."""
        try:
            data = loads(response.body) if response.cut_at is None else None
        except DecodeError:
            return ()
        if isinstance(data, list) and len(data) == 1:
            (data,) = data
        parts = [data, *(data.get(key) for key in WRAPPERS)] if isinstance(data, dict) else []
        found: list[ServerId] = []
        for part in parts:
            for field in self.dialect.id_fields:
                value = part.get(field) if isinstance(part, dict) else None
                value = int(value) if isinstance(value, float) and value.is_integer() else value
                with contextlib.suppress(ConfigurationError):
                    found.append(check_id(value))
        return tuple(dict.fromkeys(found))

    def explained(self, request: Request, response: Response) -> APIError:
        """Return a good answer as the failure that it reports, with its message."""
        return explained(request, response, self._redact)

    # -- lists ------------------------------------------------------------------------------------------------------

    async def page(self, request: Request, response: Response) -> tuple[Page, int, int]:
        """Read one page of records, and return it, the number of its rows, and the number of unidentifiable rows.

        A row is unidentifiable if its id or name can't be read. Raises `DecodeError`.
        """
        try:
            page = (self._read if self._strict else read_answer)(request, response, self.dialect.read_page)
        except DecodeError as error:
            if self._strict:
                if response.cut_at is None and error.problems:
                    self.dialect.explain(error, response.body)
                raise
        else:
            return page, len(page.results), _unnamed(page.results)
        # something does not fit: read a few rows at a time, so that an unfit row hides no other
        raw = self.rows(request, response)
        if raw.results:
            try:
                self.dialect.read_loosely(raw.results[0])
            except DecodeError as error:
                self._check_dialect(request, response, error.problems)
        results: list[Server] = []
        unfit = 0
        for start in range(0, len(raw.results), ROWS_AT_A_TIME):
            await asyncio.sleep(0)
            some, lost = self._some(raw.results[start : start + ROWS_AT_A_TIME], request)
            results += some
            unfit += lost
            if unfit > MOST_UNREADABLE and not results:
                raise request.about(DecodeError("the answer is no list of servers"))
        page = Page(results=results, count=raw.count, next=raw.next, problems=raw.problems)
        return page, len(raw.results), unfit

    def rows(self, request: Request, response: Response) -> RawPage:
        """Read one page without reading its rows. Raises `DecodeError`."""
        page = self._read(request, response, self.dialect.read_rows)
        self._report(request, page.problems, "$")
        return page

    def status(self, row: Raw, request: Request) -> StatusRow:
        """Read id, status and time of a row. Raises `DecodeError` if id or status can't be read."""
        try:
            try:
                status = self.dialect.read_status(row)
            except DecodeError:
                if self._strict:
                    raise
                server, _ = self.dialect.read_loosely(row)
                status = StatusRow(server.id, server.status, server.updated_at)
        except DecodeError as error:
            raise self._unreadable(error, request) from None
        at = status.updated_at
        if at is not None and at.tzinfo is None:
            status = StatusRow(status.id, status.status, at.replace(tzinfo=UTC))
        return StatusRow(status.id, self.word(status.status), status.updated_at) if self.words else status

    def record(self, row: Raw, request: Request) -> Server:
        """Read the record of a row; its name is empty if it can't be read. Raises `DecodeError`."""
        try:
            return self.shared(self.spoken(self._record(row, request, "$.results[]")))
        except DecodeError as error:
            raise self._unreadable(error, request) from None

    def incomplete(self, request: Request, reason: str, *, poll: bool) -> None:
        """Note that a list lacks servers for this reason, or that it is complete (empty). Changes are reported.

        Polls and complete lists see different things and are tracked separately. Neither repeats what the other
        reported.
        """
        mine, other = (request.path, poll), (request.path, not poll)
        if reason == self._incomplete.get(mine, ""):
            return
        if len(self._incomplete) > LISTS:
            self._incomplete.clear()
        self._incomplete[mine] = reason
        if reason and reason != self._incomplete.get(other, ""):
            log.warning("%s: the list lacks servers: %s; it proves no absence", request, reason)
            emit(self._on_event, ListIncomplete(request=str(request), reason=reason), log)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _read(
        self, request: Request, response: Response, how: Callable[[bytes], T], *, hint: bool = True
    ) -> T:
        try:
            return read_answer(request, response, how)
        except DecodeError as error:
            if hint:
                self._check_dialect(request, response, error.problems)
            if len(response.body) <= EXPLANATION:
                said = self.explained(request, response)
                error.body = said.body
                if not self.ids(response) and said.body:
                    error.args = (f"{error.args[0]}; it says: {said.message}",)
            raise

    def _one(self, request: Request, response: Response) -> Server:
        """Return the server that the answer shows. Raises `DecodeError`."""
        # nearly every answer fits, so it is read without the means to read another one
        try:
            return read_answer(request, response, self.dialect.read_server)
        except DecodeError:
            pass
        return self._read(request, response, lambda body: self._record(body, request, "$"))

    def _check_id(self, request: Request, response: Response, server_id: ServerId) -> None:
        """Raise `DecodeError` if the answer is the record of another server."""
        try:
            data = loads(response.body) if response.body.lstrip()[:1] == b"{" else None
        except DecodeError:
            return
        # only a server's record has a name; those of actions and requests have ids of their own
        if not isinstance(data, dict) or not any(data.get(key) for key in ("name", "hostname")):
            return
        ids = self.ids(response)
        if ids and not any(same_id(found, server_id) for found in ids):
            raise _foreign(request, "$.id: not the server that was asked for")

    def _check_dialect(self, request: Request, response: Response, problems: Sequence[str] = ()) -> None:
        """Raise `DecodeError` if an answer that does not fit has the marks of the other dialect."""
        other = other_dialect(self.dialect.name, response.body)
        if other is not None:
            why = (
                f"the answer does not fit, but it looks like the {other} dialect: "
                f"Client(..., dialect={other!r}), or VPSORG_DIALECT={other}"
            )
            raise request.about(DecodeError(why, problems=problems)) from None

    def _record(self, row: bytes | Raw, request: Request, place: str) -> Server:
        try:
            return self.dialect.read_server(row)
        except DecodeError:
            if self._strict:
                raise
        server, problems = self.dialect.read_loosely(row)
        self._report(request, problems, place)
        return server

    def _some(self, rows: Sequence[Raw], request: Request) -> tuple[list[Server], int]:
        """Read some rows, and return their records and the number of unidentifiable rows."""
        with contextlib.suppress(DecodeError):
            records = self.dialect.read_page(b"[" + b",".join(rows) + b"]").results
            return records, _unnamed(records)
        records = []
        for row in rows:
            try:
                server, problems = self.dialect.read_loosely(row)
            except DecodeError as error:
                self._report(request, error.problems, "$.results[]", row=True)
                continue
            # a label does not replace a name that can't be read
            unnamed = f"$.{self.dialect.name_field}:"
            misnamed = [p for p in problems if p.startswith(unnamed) or (not server.name and NAMES.match(p))]
            self._report(request, misnamed, "$.results[]", row=True)
            self._report(request, problems, "$.results[]")
            if not misnamed:
                records.append(server)
        return records, len(rows) - len(records) + _unnamed(records)

    def _unreadable(self, error: DecodeError, request: Request) -> DecodeError:
        self._report(request, error.problems, "$.results[]", row=True)
        error.request = str(request)
        # the frames below hold the raw row, which a traceback with local variables would show
        return error.with_traceback(None)

    def _report(self, request: Request, problems: Iterable[str], place: str, *, row: bool = False) -> None:
        """Report each problem the first time that it occurs."""
        for problem in problems:
            if (problem, row) in self._heard:
                continue
            if len(self._heard) < TOLD:
                self._heard.add((problem, row))
            line = re.sub(r"\[\d+\]", "[]", problem.replace("$", place, 1))
            if line in self._told or len(self._told) >= TOLD:
                continue
            self._told.add(line)
            log.warning(
                "%s: %s (%s)", request, line, "the row is left out" if row else "the field is left out"
            )
            emit(self._on_event, AnswerMisfit(request=str(request), problem=line, row=row), log)


def _unnamed(servers: Sequence[Server]) -> int:
    """Return how many servers have no name: each of them could be any server that is searched for."""
    return [server.name for server in servers].count("")


def _foreign(request: Request, problem: str) -> DecodeError:
    return request.about(DecodeError("the answer is about something else", problems=[problem]))
