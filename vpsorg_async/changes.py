"""Sends one change of a server, and determines its outcome as far as possible.

A change is never repeated blindly. If its answer was lost, or concerns something else, the server itself is read. The
outcome is what the server shows, or unknown. A service refuses a change that an earlier attempt of this client has
already applied ("already"). Such a refusal is called an echo.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn, Self

from .answers import Answers
from .errors import (
    APIError,
    ConnectionLostError,
    DecodeError,
    NotFoundError,
    OutcomeUnknownError,
    Sent,
    TransportError,
    VpsOrgError,
    is_absence,
    is_cut_short,
)
from .hooks import Hook, emit
from .http.events import ChangeAbandoned
from .http.exchange import Operation, Request, Response
from .http.reply import Expected
from .http.senders import Sender
from .http.session import BeforeSend
from .lifecycle.account import Account
from .lifecycle.commands import COMMANDS, GONE, LEAVING, MOVING, SETTLED
from .lifecycle.creations import Creations, Doubt
from .records import ActionAccepted, Server, ServerId
from .specs import ServerSpec, name_key
from .timing import Clock

__all__ = ["ECHOES", "Changes"]

log: logging.Logger = logging.getLogger("vpsorg_async.servers")

ECHOES = frozenset({400, 404, 409, 410})
"""The statuses that can be an echo of an earlier attempt of this client."""
READ_AFTERWARDS = frozenset({Operation.START, Operation.STOP, Operation.HARD_STOP})
"""The commands whose outcome the server's status shows, if the answer was lost."""
REMEMBERED = 10_000
"""The number of commands with an unknown outcome that are remembered."""


class Changes:
    """Sends the changes of one client. ``read`` reads a server by its id."""

    def __init__(
        self,
        session: Sender,
        answers: Answers,
        account: Account,
        clock: Clock,
        read: Callable[[ServerId], Awaitable[Server]],
        on_event: Hook | None = None,
    ) -> None:
        self._session = session
        self._answers = answers
        self._dialect = answers.dialect
        self._account = account
        self._clock = clock
        self._read = read
        self._on_event = on_event
        self.creations: Creations = Creations()
        self._unknown: OrderedDict[str, Operation] = OrderedDict()

    def over(self, session: Sender, read: Callable[[ServerId], Awaitable[Server]]) -> Self:
        """Return the same object for another session."""
        other = copy.copy(self)
        other._session, other._read = session, read
        return other

    async def create(self, spec: ServerSpec, before_send: BeforeSend | None = None) -> Server:
        """Create a server. The request is sent once."""
        request = self._dialect.create(spec)
        sent_at, began, known = self._clock.wall(), self._clock.now(), self._account.mark()
        name = self._dialect.shown_name(spec)
        earlier = self.creations.doubt(name, began)
        try:
            with _Departure(request, spec.name, sent_at, self._on_event):
                response = await self._session.send(request, before_send=before_send)
                server = self._server_in(request, response, spec, known)
        except (TransportError, APIError) as error:
            # a refusal may be the echo of an earlier create whose outcome is unknown
            echo = earlier is not None and isinstance(error, APIError) and error.status in ECHOES
            if error.sent is not Sent.MAYBE and not echo:
                raise
            unknown = _unknown_of(request, spec.name, error, sent_at)
            if not echo:
                self.creations.doubted(Doubt(name, self._clock.now(), unknown, known))
            raise unknown from error
        except BaseException as stop:
            if request.left and not isinstance(stop, Exception):
                lost = ConnectionLostError("the create was cancelled", request=str(request), final=True)
                unknown = _unknown_of(request, spec.name, lost, sent_at)
                self.creations.doubted(Doubt(name, self._clock.now(), unknown, known))
            raise
        if not isinstance(server, Server):
            unknown = _unknown_of(request, spec.name, server, sent_at, self._answers.ids(response))
            self.creations.doubted(Doubt(name, self._clock.now(), unknown, known))
            raise unknown from server
        self.created(name, server)
        self._acknowledged(server.id, Operation.CREATE, server.status)
        return server

    def _server_in(
        self, request: Request, response: Response, spec: ServerSpec, known: int
    ) -> Server | APIError | DecodeError:
        """Return the new server in the answer to a create, or the error that says why it is not of this create."""
        refused = self._answers.refused(request, response, Expected.SERVER)
        if refused is not None:
            return refused
        try:
            server = self._answers.created(request, response, spec)
        except DecodeError as error:
            return error
        if self._account.knew(server.id, known):
            there = f"the answer names server {server.id!r}, which was there before"
            return request.about(DecodeError(there))
        return server

    def created(self, name: str, server: Server) -> None:
        """Record that a create of this client created this server."""
        now = self._clock.now()
        self.creations.made(name, server, now)
        self._account.created(server, now)

    def adopt(self, server: Server) -> None:
        """Record that a create whose answer was lost created this server.

        If the server is already settled, no create is recorded as open, because its duration is not known.
        """
        self.created(self._dialect.name_of(server), server)
        if server.status in MOVING:
            self._acknowledged(server.id, Operation.CREATE, server.status)

    async def edit(self, request: Request, server_id: ServerId, wanted: dict[str, Any]) -> Server:
        """Send a PUT or a PATCH. If the answer does not show the server, the server is read."""
        sent_at = self._clock.wall()
        lost: TransportError | APIError | DecodeError | None = None
        try:
            with _Departure(request, server_id, sent_at, self._on_event):
                response = await self._session.send(request)
        except (TransportError, APIError) as error:
            if is_cut_short(error):
                _unknown(request, server_id, error, sent_at)
            if error.sent is not Sent.MAYBE or (
                request.operation is Operation.REPLACE and not _is_echo(error)
            ):
                raise
            lost = error
        else:
            refused = self._answers.refused(request, response, Expected.ANYTHING)
            if refused is not None:
                raise refused
            lost = self._answers.refused(request, response, Expected.SERVER)
            try:
                server = None if lost else self._answers.changed(request, response, server_id)
            except DecodeError as foreign:
                server, lost = None, foreign
            if server is not None:
                self._account.saw(server, self._clock.now())
                return server
        try:
            server = await self._read(server_id)
        except VpsOrgError as unread:
            if isinstance(lost, APIError) and lost.sent is Sent.MAYBE and lost.status < 300:
                raise lost from None
            if lost is not None:
                _unknown(request, server_id, lost, sent_at)
            # `sent` of the failed read ("not sent", "refused") must not be mistaken for that of the change
            why = (
                f"{request.operation.value} of {server_id!r} was accepted, but the server could not be read afterwards "
                f"({unread})"
            )
            raise request.about(OutcomeUnknownError(why, subject=server_id, reason=unread)) from unread
        good = isinstance(lost, APIError) and lost.status < 300
        # after a good answer, a field that the server does not show disproves nothing
        if lost is None or _shows(server, wanted, unshown=good):
            return server
        if good:
            raise lost
        _unknown(request, server_id, lost, sent_at)

    async def delete(self, server_id: ServerId, before_send: BeforeSend | None = None) -> None:
        """Delete a server."""
        request = self._dialect.delete(server_id)
        sent_at = self._clock.wall()
        try:
            with _Departure(request, server_id, sent_at, self._on_event):
                response = await self._session.send(request, before_send=before_send)
        except APIError as error:
            if error.status not in ECHOES or not self._may_echo(server_id, Operation.DELETE, error):
                self._note_unknown(server_id, Operation.DELETE, error)
                raise
            # this may be the echo of an earlier attempt that was applied: read the server
            if not error.from_api or not await self.shows_done(Operation.DELETE, server_id):
                _unknown(request, server_id, error, sent_at)
        except TransportError as error:
            self._note_unknown(server_id, Operation.DELETE, error)
            if is_cut_short(error):
                _unknown(request, server_id, error, sent_at)
            raise
        else:
            refused = self._answers.refused(request, response, Expected.ANYTHING)
            if refused is not None:
                raise refused
            try:
                self._answers.deleted(request, response, server_id)
            except DecodeError as misfit:
                _unknown(request, server_id, misfit, sent_at)
            known = self._account.known(server_id)
            if response.status == 404 and known is not None and not known.shown:
                # a later attempt was answered by 404, perhaps because the server is not visible yet
                unseen = request.about(NotFoundError("the API does not show it yet", status=404))
                _unknown(request, server_id, unseen, sent_at)
        self._acknowledged(server_id, Operation.DELETE, None)

    async def shows_done(self, operation: Operation, server_id: ServerId) -> bool:
        """Return whether a server shows that a start, a stop or a delete was applied."""
        try:
            server = await self._read(server_id)
        except VpsOrgError as error:
            return operation is Operation.DELETE and is_absence(error)
        if operation is Operation.DELETE:
            return server.status == GONE or server.status in LEAVING
        return operation in READ_AFTERWARDS and server.status in COMMANDS[operation.value].shows_accepted

    async def act(
        self,
        operation: Operation,
        server_id: ServerId,
        before_send: BeforeSend | None = None,
        fields: Mapping[str, Any] | None = None,
        shows: Callable[[Server], bool] | None = None,
    ) -> ActionAccepted:
        """Send a start, a stop or a reboot, or another action of the dialect.

        ``shows`` returns whether a server shows that the action was applied; None: only its status can.
        """
        request = self._dialect.action(operation, server_id, fields)
        sent_at = self._clock.wall()
        try:
            with _Departure(request, server_id, sent_at, self._on_event):
                response = await self._session.send(request, before_send=before_send)
            refused = self._answers.refused(request, response, self._dialect.action_form)
            accepted = None if refused else self._answers.accepted(request, response, server_id)
        except (TransportError, APIError, DecodeError) as error:
            if error.sent is not Sent.MAYBE and not self._may_echo(server_id, operation, error):
                raise
            self._note_unknown(server_id, operation, error)
            judged = shows is not None or operation in READ_AFTERWARDS
            server = await self._afterwards(server_id) if judged else None
            if server is None or not (shows or _shows_status(operation))(server):
                _unknown(request, server_id, error, sent_at)
            refused, accepted = (
                None,
                ActionAccepted(
                    server_id=server.id,
                    server_status=server.status,
                    server_name=server.name,
                    message=f"the answer was lost ({error}), but the server is {server.status}",
                ),
            )
            if server.status in SETTLED:
                return accepted  # the command is done already
        if accepted is None:
            assert refused is not None
            raise refused
        if operation.value in COMMANDS:
            self._acknowledged(server_id, operation, accepted.server_status)
        return accepted

    def _note_unknown(
        self, server_id: ServerId, operation: Operation, error: TransportError | APIError | DecodeError
    ) -> None:
        """Remember a command that may have been applied, until one on this server is acknowledged."""
        if error.sent is Sent.MAYBE:
            self._unknown[str(server_id)] = operation
            if len(self._unknown) > REMEMBERED:
                self._unknown.popitem(last=False)

    def _may_echo(
        self, server_id: ServerId, operation: Operation, error: TransportError | APIError | DecodeError
    ) -> bool:
        """Return whether a refusal may be the echo of an earlier command of this client, in this call or before."""
        if not isinstance(error, APIError) or error.status not in ECHOES:
            return False
        return error.sent is Sent.MAYBE or self._unknown.get(str(server_id)) is operation

    async def _afterwards(self, server_id: ServerId) -> Server | None:
        """Read the server after a change whose answer was lost; None if it can't be read either."""
        try:
            return await self._read(server_id)
        except VpsOrgError:
            return None

    def _acknowledged(self, server_id: ServerId, operation: Operation, status: str | None) -> None:
        self._unknown.pop(str(server_id), None)
        self._account.acknowledged(
            server_id, operation.value, at=self._clock.now(), wall=self._clock.wall(), status=status
        )


def _shows_status(operation: Operation) -> Callable[[Server], bool]:
    """Return a function that returns whether the status of a server shows that a command was applied."""
    return lambda server: server.status in COMMANDS[operation.value].shows_accepted


class _Departure:
    """Reports a change that is ended after it has left by anything but an error.

    That is a cancellation, or an exception that a hook raises to end everything. It gets a note and is raised again.
    """

    __slots__ = ("_on_event", "_request", "_sent_at", "_subject")

    def __init__(self, request: Request, subject: ServerId, sent_at: datetime, on_event: Hook | None) -> None:
        self._request = request
        self._subject = subject
        self._sent_at = sent_at
        self._on_event = on_event

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, stop: BaseException | None, __: object) -> None:
        if stop is None or isinstance(stop, Exception) or not self._request.left:
            return
        what = self._request.operation.value
        text = (
            f"{what} of {self._subject!r} was sent at {self._sent_at:%Y-%m-%d %H:%M:%S} UTC and cancelled before its "
            "answer came: its outcome is unknown"
        )
        stop.add_note(text)
        log.warning(text)
        event = ChangeAbandoned(
            operation=what, request=str(self._request), subject=self._subject, sent_at=self._sent_at
        )
        # the hook has already stopped everything
        with contextlib.suppress(BaseException):
            emit(self._on_event, event, log)


def _is_echo(error: TransportError | APIError) -> bool:
    """Return whether a refusal may be the echo of an earlier attempt; a missing server is not."""
    return isinstance(error, APIError) and error.status in ECHOES - {404, 410}


def _shows(server: Server, wanted: dict[str, Any], *, unshown: bool) -> bool:
    """Return whether the server shows the change. ``unshown``: a field that it does not show counts as changed."""
    for field, value in wanted.items():
        shown = getattr(server, field)
        if shown is None and unshown:
            continue
        if isinstance(value, str) and isinstance(shown, str):
            shown, value = name_key(shown), name_key(value)
        if shown != value:
            return False
    return True


def _unknown_of(
    request: Request,
    subject: ServerId,
    lost: TransportError | APIError | DecodeError,
    sent_at: datetime,
    candidates: Sequence[ServerId] = (),
) -> OutcomeUnknownError:
    create = request.operation is Operation.CREATE
    what = "this server may exist now" if create else "it may have been applied"
    if candidates:
        what = f"the answer names {', '.join(map(repr, candidates))}; {what}"
    return OutcomeUnknownError(
        f"{request.operation.value} of {subject!r} was sent at {sent_at:%Y-%m-%d %H:%M:%S} UTC and its outcome is "
        f"unknown ({lost}); {what}: check the account before sending it again",
        request=str(request),
        subject=subject,
        reason=lost,
        sent_at=sent_at,
        candidates=candidates,
    )


def _unknown(
    request: Request, subject: ServerId, lost: TransportError | APIError | DecodeError, sent_at: datetime
) -> NoReturn:
    raise _unknown_of(request, subject, lost, sent_at) from lost
