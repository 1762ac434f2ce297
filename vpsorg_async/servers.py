"""The nine endpoints, one method each: no waiting, no bulk work, nothing that the API does not have.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from .answers import Answers
from .changes import Changes
from .errors import ConfigurationError
from .hooks import Hook
from .http.exchange import Operation, Priority
from .http.session import Bulk, Session
from .lifecycle.creations import Creations
from .lifecycle.receipts import Journal
from .lifecycle.snapshots import ListSnapshot
from .listing import Listing, Lists
from .records import ActionAccepted, Server, ServerId
from .specs import ServerSpec, check_bool, check_hostname, check_id, check_name, name_key
from .timing import Clock

__all__ = ["Servers"]

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
        answers: Answers,
        journal: Journal,
        clock: Clock,
        on_event: Hook | None = None,
    ) -> None:
        self._session: Session | Bulk = session
        self._answers = answers
        self._dialect = answers.dialect
        self._journal = journal
        self._clock = clock
        self._lists = Lists(answers)
        self._changes = Changes(session, answers, journal, clock, self.get, on_event)

    async def list(self, status: str | None = None, location: str | None = None) -> tuple[Server, ...]:
        """All servers, filtered by the API where asked: by status word and by datacenter code.

        The status words of the filter are documented in translation only; the word is sent as it is given.
        """
        for name, value in (("status", status), ("location", location)):
            if value is not None and not (isinstance(value, str) and value.strip() and value.isprintable()):
                raise ConfigurationError(f"{name} is a word to filter by, not {value!r}")
        word = None if status is None else self._answers.word(status)
        listing = await self._list(self._asked_for(status), location)
        if status is None and location is None:
            return tuple(listing.servers)
        matches = self._dialect.matches
        return tuple(
            server
            for server in listing.servers
            if matches(server, word, location) and (not self._answers.words or word in (None, server.status))
        )

    async def listing(self) -> Listing:
        """The whole account, with what is known of the list itself."""
        return await self._list()

    async def _list(self, status: str | None = None, location: str | None = None) -> Listing:
        listing = await self._lists.whole(self._session, self._dialect.list(status, location))
        self._journal.saw_all(listing.servers, listing.requested_at)
        return listing

    def _asked_for(self, status: str | None) -> str | None:
        """The service's own word for a status; None where it has several, and the filtering is done here."""
        own = [word for word, meaning in self._answers.words.items() if meaning == status]
        return status if not own else own[0] if len(own) == 1 else None

    async def create(self, spec: ServerSpec) -> Server:
        """Create one server, sent once. It is provisioning when this returns: documented to take 2 to 5 minutes.

        Raises `OutcomeUnknownError` when the server may exist all the same: look before trying again. Raises
        `PaymentRequiredError` when the credit does not suffice.
        """
        if not isinstance(spec, ServerSpec):
            raise ConfigurationError(f"create takes a ServerSpec, not {type(spec).__name__}")
        return await self._changes.create(spec)

    async def get(self, server_id: ServerId) -> Server:
        """One server in detail. Raises `NotFoundError`."""
        asked, server = await self.poll_one(server_id, Priority.USER, may_repeat=True)
        self._journal.saw(server, asked)
        return server

    async def replace(
        self, server_id: ServerId, *, name: str, hostname: str, backups_enabled: bool
    ) -> Server:
        """PUT: set all three fields. Returns the server as it is afterwards.

        The answer's body is not documented; where it is not a server, the server is read again.
        """
        fields = _checked({"name": name, "hostname": hostname, "backups_enabled": backups_enabled})
        return await self._changes.edit(self._dialect.replace(check_id(server_id), fields), server_id, fields)

    async def update(self, server_id: ServerId, **fields: Any) -> Server:
        """PATCH: set some of ``name``, ``hostname``, ``backups_enabled``. Returns the server as it is afterwards.

        The answer is not documented; where it is not a server, the server is read again. When it was lost, the server
        is read and compared: `OutcomeUnknownError` if it does not show the change.
        """
        wanted = _checked(fields)
        if not wanted:
            raise ConfigurationError("update needs at least one of name, hostname, backups_enabled")
        return await self._changes.edit(self._dialect.update(check_id(server_id), wanted), server_id, wanted)

    async def delete(self, server_id: ServerId) -> None:
        """Delete one server for good. Raises `NotFoundError` if it did not exist before the first attempt."""
        await self._changes.delete(check_id(server_id))

    async def start(self, server_id: ServerId) -> ActionAccepted:
        """Start a stopped server: taken, not done. Raises `BadRequestError` if it is running."""
        return await self._changes.act(Operation.START, check_id(server_id))

    async def stop(self, server_id: ServerId) -> ActionAccepted:
        """Stop a running server gracefully: taken, not done. It keeps being charged until it is deleted."""
        return await self._changes.act(Operation.STOP, check_id(server_id))

    async def reboot(self, server_id: ServerId) -> ActionAccepted:
        """Reboot a running server gracefully: taken, not done. Raises `BadRequestError` if it is not running.

        Sent once. Raises `OutcomeUnknownError` when the answer was lost: a second one would reboot it twice.
        """
        return await self._changes.act(Operation.REBOOT, check_id(server_id))

    def for_bulk(self, withdrawn: Callable[[], bool]) -> Servers:
        """The same, behind the user's own calls; ``withdrawn`` is asked when a change's turn comes (`Session.send`)."""
        other = copy.copy(self)
        session = other._session = Bulk(self._session, withdrawn)
        other._changes = self._changes.over(session, other.get)
        return other

    async def poll(self) -> ListSnapshot:
        """The statuses of all servers, for the poller: last in line for a place, and not repeated."""
        return await self._lists.poll(self._session, self._dialect.list())

    def shown_name(self, spec: ServerSpec) -> str:
        """The name by which a server made from the spec will be found; compared by `name_key`."""
        return self._dialect.shown_name(spec)

    def key_of(self, subject: ServerSpec | Server) -> str:
        """What a spec and the servers made from it have in common: their name, as names are compared."""
        if isinstance(subject, ServerSpec):
            return name_key(self._dialect.shown_name(subject))
        return name_key(self._dialect.name_of(subject))

    def check(self, spec: ServerSpec) -> None:
        """Raises `ConfigurationError` for a spec that the dialect can't say."""
        self._dialect.check(spec)

    def saw(self, server: Server) -> None:
        """A server was read by other means: what later commands on it are compared with."""
        self._journal.saw(server, self._clock.now())

    def adopt(self, server: Server) -> None:
        """A create whose answer was lost made this server."""
        self._changes.adopt(server)

    async def shows_done(self, command: str, server_id: ServerId) -> bool:
        """Whether a server shows that a start, a stop or a delete was applied."""
        return await self._changes.shows_done(Operation(command), server_id)

    def was_shown(self, server_id: ServerId) -> bool:
        """Whether a read has shown a server that this client created; True for all others."""
        known = self._journal.known(server_id)
        return known is None or known.shown

    @property
    def creations(self) -> Creations:
        """What this client knows of its own creates."""
        return self._changes.creations

    def knew(self, server_id: ServerId, mark: int) -> bool:
        """Whether a server was seen before that point of the journal, or another create of this client made it."""
        return self._journal.knew(server_id, mark)

    async def poll_one(
        self, server_id: ServerId, priority: Priority = Priority.POLL, *, may_repeat: bool = False
    ) -> tuple[float, Server]:
        """One server and when its request left (monotonic seconds)."""
        request = self._dialect.get(check_id(server_id), may_repeat=may_repeat)
        response = await self._session.send(request, priority)
        return response.requested_at, self._answers.server(request, response, server_id)


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(_FIELDS))
    if unknown:
        raise ConfigurationError(f"can't set {', '.join(unknown)}: only {', '.join(_FIELDS)} can be changed")
    return {name: _FIELDS[name](value) for name, value in fields.items()}
