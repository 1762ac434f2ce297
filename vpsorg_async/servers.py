"""The nine endpoints, one method each: no waiting, no bulk work, nothing that the API does not have.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import attrs

from .config import check_base_url
from .dialects import Dialect
from .errors import (
    APIError,
    ConfigurationError,
    DecodeError,
    OutcomeUnknownError,
    Sent,
    TransportError,
    VpsOrgError,
)
from .http.exchange import Operation, Priority, Request, Response
from .http.session import Bulk, Session
from .lifecycle.contract import MOVING
from .lifecycle.looks import ListLook
from .lifecycle.receipts import Journal
from .lists import Lists, answer_of
from .models import (
    ActionAccepted,
    Server,
    ServerId,
    ServerSpec,
    check_bool,
    check_hostname,
    check_id,
    check_name,
)
from .timing import Clock

__all__ = ["Servers"]

T = TypeVar("T")

# What a server is on the way to, and at, after a start or a stop whose answer was lost.
_DONE: dict[Operation, frozenset[str]] = {
    Operation.START: frozenset({"starting", "active"}),
    Operation.STOP: frozenset({"stopping", "stopped"}),
}
_FIELDS: dict[str, Callable[[object], Any]] = {
    "name": check_name,
    "hostname": check_hostname,
    "backups_enabled": lambda value: check_bool(value, "backups_enabled"),
}


class Servers:
    """The servers of the account: ``vps.servers``.

    Every method can raise `APIError` (by status), `TransportError` (no answer; ``.sent`` tells whether the request
    may have been carried out), `DecodeError` (an answer that does not fit) and `ConfigurationError` (bad input, before
    anything is sent). Reads, PUT and DELETE are repeated where that is safe; a create or a reboot whose answer was
    lost is not, and raises `OutcomeUnknownError`.
    """

    def __init__(
        self,
        session: Session,
        dialect: Dialect,
        journal: Journal,
        clock: Clock,
        base_url: str,
        status_words: Mapping[str, str] | None = None,
    ) -> None:
        self._session: Session | Bulk = session
        self._dialect = dialect
        self._journal = journal
        self._clock = clock
        self._lists = Lists(dialect, clock, check_base_url(base_url, allow_insecure=True), status_words)

    async def list(self, status: str | None = None, location: str | None = None) -> tuple[Server, ...]:
        """All servers, filtered by the API where asked: by status word and by datacenter code.

        The status words of the filter are documented in translation only; the word is sent as it is given.
        """
        for name, value in (("status", status), ("location", location)):
            if value is not None and not (isinstance(value, str) and value.strip() and value.isprintable()):
                raise ConfigurationError(f"{name} is a word to filter by, not {value!r}")
        asked, servers = await self._lists.whole(self._session, self._dialect.list(status, location))
        self._journal.saw_all(servers, asked)
        if status is None and location is None:
            return tuple(servers)
        word = None if status is None else self._lists.word(status)
        return tuple(server for server in servers if self._dialect.matches(server, word, location))

    async def create(self, spec: ServerSpec) -> Server:
        """Create one server, sent once. It is provisioning when this returns: documented to take 2 to 5 minutes.

        Raises `OutcomeUnknownError` when the server may exist all the same: look before trying again. Raises
        `PaymentRequiredError` when the credit does not suffice.
        """
        if not isinstance(spec, ServerSpec):
            raise ConfigurationError(f"create takes a ServerSpec, not {type(spec).__name__}")
        request = self._dialect.create(spec)
        server = await self._change(request, self._read_server, subject=spec.name)
        self.saw(server)
        self._acknowledged(server.id, Operation.CREATE, server.status)
        return server

    async def get(self, server_id: ServerId) -> Server:
        """One server in detail. Raises `NotFoundError`."""
        asked, server = await self.look_one(server_id, Priority.USER, may_repeat=True)
        self._journal.saw(server, asked)
        return server

    async def replace(
        self, server_id: ServerId, *, name: str, hostname: str, backups_enabled: bool
    ) -> Server:
        """PUT: set all three fields. Returns the server as it is afterwards.

        The answer's body is not documented; where it is not a server, the server is read again.
        """
        fields = _checked({"name": name, "hostname": hostname, "backups_enabled": backups_enabled})
        request = self._dialect.replace(check_id(server_id), fields)
        response = await self._session.send(request)
        return await self._changed(request, server_id, response)

    async def update(self, server_id: ServerId, **fields: Any) -> Server:
        """PATCH: set some of ``name``, ``hostname``, ``backups_enabled``. Returns the server as it is afterwards.

        The answer is not documented; where it is not a server, the server is read again. When it was lost, the server
        is read and compared: `OutcomeUnknownError` if it does not show the change.
        """
        wanted = _checked(fields)
        if not wanted:
            raise ConfigurationError("update needs at least one of name, hostname, backups_enabled")
        request = self._dialect.update(check_id(server_id), wanted)
        sent_at = self._clock.wall()
        try:
            response = await self._session.send(request)
        except (TransportError, APIError) as error:
            if error.sent is not Sent.MAYBE:
                raise
            lost = error
        else:
            return await self._changed(request, server_id, response)
        server = await self._afterwards(server_id)
        if server is not None and all(getattr(server, name) == value for name, value in wanted.items()):
            return server
        _unknown(request, server_id, lost, sent_at)

    async def delete(self, server_id: ServerId) -> None:
        """Delete one server for good. Raises `NotFoundError` if it did not exist before the first attempt."""
        await self._session.send(self._dialect.delete(check_id(server_id)))
        self._acknowledged(server_id, Operation.DELETE, None)

    async def start(self, server_id: ServerId) -> ActionAccepted:
        """Start a stopped server: taken, not done. Raises `BadRequestError` if it is running."""
        return await self._act(Operation.START, server_id)

    async def stop(self, server_id: ServerId) -> ActionAccepted:
        """Stop a running server gracefully: taken, not done. It keeps being charged until it is deleted."""
        return await self._act(Operation.STOP, server_id)

    async def reboot(self, server_id: ServerId) -> ActionAccepted:
        """Reboot a running server gracefully: taken, not done. Raises `BadRequestError` if it is not running.

        Sent once. Raises `OutcomeUnknownError` when the answer was lost: a second one would reboot it twice.
        """
        return await self._act(Operation.REBOOT, server_id)

    def for_bulk(self, withdrawn: Callable[[], bool]) -> Servers:
        """The same, behind the user's own calls; ``withdrawn`` is asked when a change's turn comes (`Session.send`)."""
        other = copy.copy(self)
        other._session = Bulk(self._session, withdrawn)
        return other

    async def look(self) -> ListLook:
        """The statuses of all servers, for the poller: last in line for a place, and not repeated."""
        return await self._lists.look(self._session, self._dialect.list())

    def shown_name(self, spec: ServerSpec) -> str:
        """The name by which a server made from the spec will be found."""
        return self._dialect.shown_name(spec)

    def check(self, spec: ServerSpec) -> None:
        """Raises `ConfigurationError` for a spec that the dialect can't say."""
        self._dialect.check(spec)

    def saw(self, server: Server) -> None:
        """A server was read by other means: what later commands on it are compared with."""
        self._journal.saw(server, self._clock.now())

    def adopt(self, server: Server) -> None:
        """A create whose answer was lost made this server. Of one that is ready nobody saw how long it took."""
        self.saw(server)
        if server.status in MOVING:
            self._acknowledged(server.id, Operation.CREATE, server.status)

    async def look_one(
        self, server_id: ServerId, priority: Priority = Priority.POLL, *, may_repeat: bool = False
    ) -> tuple[float, Server]:
        """One server and when its request left (monotonic seconds)."""
        request = self._dialect.get(check_id(server_id), may_repeat=may_repeat)
        response = await self._session.send(request, priority)
        return response.requested_at, answer_of(self._dialect, request, response, self._read_server)

    def _read_server(self, body: bytes) -> Server:
        return self._lists.spoken(self._dialect.read_server(body))

    def _read_action(self, body: bytes, server_id: ServerId) -> ActionAccepted:
        accepted = self._dialect.read_action(body, server_id)
        status = accepted.server_status
        return accepted if status is None else attrs.evolve(accepted, server_status=self._lists.word(status))

    async def _act(self, operation: Operation, server_id: ServerId) -> ActionAccepted:
        request = self._dialect.action(operation, check_id(server_id))
        try:
            accepted = await self._change(
                request, lambda body: self._read_action(body, server_id), subject=server_id
            )
        except OutcomeUnknownError as unknown:
            server = await self._afterwards(server_id) if operation in _DONE else None
            if server is None or server.status not in _DONE[operation]:
                raise
            accepted = ActionAccepted(
                server_id=server.id,
                server_status=server.status,
                server_name=server.name,
                message=f"the answer was lost ({unknown.reason}), but the server is {server.status}",
            )
        self._acknowledged(server_id, operation, accepted.server_status)
        return accepted

    async def _change(self, request: Request, read: Callable[[bytes], T], *, subject: ServerId) -> T:
        """Send a change that is never repeated blindly, and read its answer."""
        sent_at = self._clock.wall()
        try:
            return answer_of(self._dialect, request, await self._session.send(request), read)
        except (TransportError, APIError, DecodeError) as error:
            if error.sent is not Sent.MAYBE:
                raise
            lost = error
        _unknown(request, subject, lost, sent_at)

    async def _changed(self, request: Request, server_id: ServerId, response: Response) -> Server:
        server = None if response.cut_at is not None else self._dialect.read_changed(response.body)
        if server is None:
            try:
                return await self.get(server_id)
            except VpsOrgError as error:
                # what is known of the read ("not sent", "refused") must not pass for what is known of the change
                lost = error
            raise OutcomeUnknownError(
                f"{request.operation.value} of {server_id!r} was taken, but the server can't be read since ({lost})",
                request=str(request),
                subject=server_id,
                reason=lost,
            ) from lost
        server = self._lists.spoken(server)
        self.saw(server)
        return server

    async def _afterwards(self, server_id: ServerId) -> Server | None:
        """The server after a change whose answer was lost; None where it can't be read either."""
        try:
            return await self.get(server_id)
        except VpsOrgError:
            return None

    def _acknowledged(self, server_id: ServerId, operation: Operation, status: str | None) -> None:
        self._journal.acknowledged(
            server_id, operation.value, at=self._clock.now(), wall=self._clock.wall(), status=status
        )


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise ConfigurationError(f"can't set {', '.join(unknown)}: only {', '.join(_FIELDS)} can be changed")
    return {name: _FIELDS[name](value) for name, value in fields.items()}


def _unknown(
    request: Request, subject: ServerId, lost: TransportError | APIError | DecodeError, sent_at: datetime
) -> NoReturn:
    create = request.operation is Operation.CREATE
    what = "this server may exist now" if create else "it may have been carried out"
    raise OutcomeUnknownError(
        f"{request.operation.value} of {subject!r} was sent at {sent_at:%Y-%m-%d %H:%M:%S} UTC and its outcome is "
        f"unknown ({lost}); {what}: look at the account before sending it again",
        request=str(request),
        subject=subject,
        reason=lost,
        sent_at=sent_at,
    ) from lost
