"""What sends requests: a session, and the same session with options of a call or with a lower priority."""

from __future__ import annotations

from ..timing import Clock
from .exchange import Priority, Request, Response
from .options import Call, CallOptions
from .session import BeforeSend, Session

__all__ = ["Bulk", "Sender", "Tuned"]


class Tuned:
    """A session with options for each call: the same limiter, quota and connections."""

    def __init__(
        self, session: Session, options: CallOptions, clock: Clock, call: Call | None = None
    ) -> None:
        self._session = session
        self._options = options
        self._clock = clock
        self._call = call

    def begin(self) -> Tuned:
        """Return the session for one call, which may send several requests: its deadline counts from here."""
        if self._call is not None:
            return self
        return Tuned(self._session, self._options, self._clock, self._options.begin(self._clock.now()))

    async def send(
        self,
        request: Request,
        priority: Priority = Priority.USER,
        *,
        before_send: BeforeSend | None = None,
    ) -> Response:
        """Send like `Session.send`, with the options."""
        call = self._call or self._options.begin(self._clock.now())
        request.call = call.of_read() if request.method == "GET" else call
        return await self._session.send(request, priority, before_send=before_send)


class Bulk:
    """A session for bulk work: the same as another one, with a lower priority than user calls."""

    def __init__(self, session: Sender) -> None:
        self._session: Session | Tuned = session._session if isinstance(session, Bulk) else session

    def begin(self) -> Bulk:
        """Return the session for one call, like `Tuned.begin`."""
        session = self._session.begin()
        return self if session is self._session else Bulk(session)

    async def send(
        self,
        request: Request,
        priority: Priority = Priority.BULK,
        *,
        before_send: BeforeSend | None = None,
    ) -> Response:
        """Send like `Session.send`, but never with a priority above that of bulk work."""
        return await self._session.send(request, max(priority, Priority.BULK), before_send=before_send)


Sender = Session | Tuned | Bulk
"""What sends requests. ``begin()`` returns the sender of one call."""
