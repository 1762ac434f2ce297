"""The endpoints of the API, as the poller and the fleets need them; `Servers` is what users see of it.

Input is checked already. Each read and each change is recorded in the account, so that waits know what was before.
"""

from __future__ import annotations

import copy
from typing import Any, Self

from .answers import Answers
from .changes import Changes
from .hooks import Hook
from .http.exchange import Operation, Priority
from .http.senders import Bulk, Sender
from .http.session import BeforeSend
from .lifecycle.account import Account
from .lifecycle.creations import Creations
from .lifecycle.snapshots import ListSnapshot
from .listing import Listing, Lists
from .records import ActionAccepted, PlanOffer, Server, ServerId
from .sizes import shows_plan
from .specs import ServerSpec, name_key
from .timing import Clock

__all__ = ["Endpoints"]


class Endpoints:
    """The requests of one client about its servers, over one session."""

    def __init__(
        self,
        session: Sender,
        answers: Answers,
        account: Account,
        clock: Clock,
        on_event: Hook | None = None,
    ) -> None:
        self._session = session
        self._answers = answers
        self._dialect = answers.dialect
        self._account = account
        self._clock = clock
        self._lists = Lists(answers)
        self._changes = Changes(session, answers, account, clock, self.get, on_event)

    def for_bulk(self) -> Self:
        """Return the same endpoints with a lower priority than the user's own calls."""
        return self.over(Bulk(self._session))

    def over(self, session: Sender) -> Self:
        """Return the same endpoints over another session, with the same knowledge of the account."""
        other = copy.copy(self)
        other._session = session
        other._changes = self._changes.over(session, other.get)
        return other

    @property
    def session(self) -> Sender:
        """What sends the requests, for other reads of the same call."""
        return self._session

    def begin(self) -> Self:
        """Return the endpoints for one call, which may send several requests: its deadline counts from here."""
        session = self._session.begin()
        return self if session is self._session else self.over(session)

    # -- reads ------------------------------------------------------------------------------------------------------

    async def list(self, status: str | None = None, location: str | None = None) -> tuple[Server, ...]:
        """Return all servers that match; see `Servers.list`."""
        word = None if status is None else self._answers.word(status)
        listing = await self._list(self._own_word(status), location)
        if status is None and location is None:
            return listing.servers
        matches = self._dialect.matches
        return tuple(
            server
            for server in listing.servers
            if matches(server, word, location) and (not self._answers.words or word in (None, server.status))
        )

    async def listing(self) -> Listing:
        """Return the whole account, with what is known of the list itself."""
        return await self.begin()._list()

    async def get(self, server_id: ServerId) -> Server:
        """Return one server."""
        request = self._dialect.get(server_id, may_repeat=True)
        response = await self._session.send(request)
        server = self._answers.server(request, response, server_id)
        self._account.saw(server, response.requested_at)
        return server

    async def poll(self) -> ListSnapshot:
        """Return the statuses of all servers, for the poller: last in line for a slot, and not retried."""
        return await self._lists.poll(self._session, self._dialect.list())

    async def poll_one(self, server_id: ServerId) -> tuple[float, Server]:
        """Return one server and when its request left (monotonic seconds), for the poller: not retried."""
        request = self._dialect.get(server_id, may_repeat=False)
        response = await self._session.send(request, Priority.POLL)
        return response.requested_at, self._answers.server(request, response, server_id)

    # -- changes ----------------------------------------------------------------------------------------------------
    # `before_send` is called when the turn of the request comes; it raises `SendCancelled` to hold it back.

    async def create(self, spec: ServerSpec, before_send: BeforeSend | None = None) -> Server:
        """Create one server; the request is sent once."""
        return await self._changes.create(spec, before_send)

    async def replace(self, server_id: ServerId, fields: dict[str, Any]) -> Server:
        """Set all fields of a server (PUT), and return the server afterwards."""
        return await self._changes.edit(self._dialect.replace(server_id, fields), server_id, fields)

    async def update(self, server_id: ServerId, fields: dict[str, Any]) -> Server:
        """Set some fields of a server (PATCH), and return the server afterwards."""
        return await self._changes.edit(self._dialect.update(server_id, fields), server_id, fields)

    async def delete(self, server_id: ServerId, before_send: BeforeSend | None = None) -> None:
        """Delete one server."""
        await self._changes.delete(server_id, before_send)

    async def start(self, server_id: ServerId, before_send: BeforeSend | None = None) -> ActionAccepted:
        """Start one server."""
        return await self._changes.act(Operation.START, server_id, before_send)

    async def stop(self, server_id: ServerId, before_send: BeforeSend | None = None) -> ActionAccepted:
        """Stop one server."""
        return await self._changes.act(Operation.STOP, server_id, before_send)

    async def reboot(self, server_id: ServerId, before_send: BeforeSend | None = None) -> ActionAccepted:
        """Reboot one server; the request is sent once."""
        return await self._changes.act(Operation.REBOOT, server_id, before_send)

    async def hard_stop(self, server_id: ServerId, before_send: BeforeSend | None = None) -> ActionAccepted:
        """Switch one server off."""
        return await self._changes.act(Operation.HARD_STOP, server_id, before_send)

    async def snapshot(
        self, server_id: ServerId, before_send: BeforeSend | None = None, *, label: str | None = None
    ) -> ActionAccepted:
        """Take a snapshot of one server; the request is sent once."""
        fields = None if label is None else {"label": label}
        return await self._changes.act(Operation.SNAPSHOT, server_id, before_send, fields)

    async def resize(
        self, server_id: ServerId, before_send: BeforeSend | None = None, *, offer: PlanOffer
    ) -> ActionAccepted:
        """Give one server another plan; the request is sent once. If its answer is lost, the server's plan decides."""

        def shows(server: Server) -> bool:
            return shows_plan(server, offer) is True

        return await self._changes.act(Operation.RESIZE, server_id, before_send, {"plan": offer.id}, shows)

    async def backup(self, server_id: ServerId) -> ActionAccepted:
        """Back one server up; the request is sent once."""
        return await self._changes.act(Operation.BACKUP, server_id)

    def check_command(self, command: str) -> None:
        """Raise `ConfigurationError` for a command that the dialect does not have."""
        self._dialect.action(Operation(command), 1)

    # -- what is known ----------------------------------------------------------------------------------------------

    @property
    def can_update(self) -> bool:
        """Whether the dialect can change fields of a server (PATCH)."""
        return self._dialect.can_update

    def check(self, spec: ServerSpec) -> None:
        """Raise `ConfigurationError` for a spec that the dialect cannot express, or an alternative of it."""
        for variant in spec.variants:
            self._dialect.check(variant)

    def shown_name(self, spec: ServerSpec) -> str:
        """Return the name that a server created from the spec will show; compare it by `name_key`."""
        return self._dialect.shown_name(spec)

    def key_of(self, subject: ServerSpec | Server) -> str:
        """Return what a spec and the servers created from it have in common: their name, as names are compared."""
        if isinstance(subject, ServerSpec):
            return name_key(self._dialect.shown_name(subject))
        return name_key(self._dialect.name_of(subject))

    def saw(self, server: Server) -> None:
        """Record a server that was read by other means; later commands are compared with it."""
        self._account.saw(server, self._clock.now())

    def adopt(self, server: Server) -> None:
        """Record that a create whose answer was lost created this server."""
        self._changes.adopt(server)

    async def shows_done(self, command: str, server_id: ServerId) -> bool:
        """Return whether a server shows that a start, a stop or a delete was applied."""
        return await self._changes.shows_done(Operation(command), server_id)

    def was_shown(self, server_id: ServerId) -> bool:
        """Return whether a read has shown a server that this client created; True for all others."""
        known = self._account.known(server_id)
        return known is None or known.shown

    def knew(self, server_id: ServerId, mark: int) -> bool:
        """Return whether a server was seen before that point of the account's order, or created by another call."""
        return self._account.knew(server_id, mark)

    @property
    def creations(self) -> Creations:
        """What this client knows of its own creates."""
        return self._changes.creations

    async def _list(self, status: str | None = None, location: str | None = None) -> Listing:
        listing = await self._lists.whole(self._session, self._dialect.list(status, location))
        self._account.saw_all(listing.by_id, listing.requested_at)
        return listing

    def _own_word(self, status: str | None) -> str | None:
        """The service's own word for a status; None where it has several, and the filtering is done here."""
        own = [word for word, meaning in self._answers.words.items() if meaning == status]
        return status if not own else own[0] if len(own) == 1 else None
