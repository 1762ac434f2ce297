"""Keeps what passes between a client and the service, attempt by attempt. A client is given it by its options.

The bodies stay in memory: `forms` says what of them can be shown.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any, ParamSpec, TypeVar
from urllib.parse import parse_qsl

from ..codec import dumps, loads
from ..config import API_PREFIX
from ..errors import DecodeError, TransportError
from ..fleet.events import FleetEvent
from ..fleet.outcomes import Report
from ..http.events import AnswerMisfit, ListIncomplete
from ..http.exchange import Operation, Request, Response
from ..http.session import Session, Transport
from ..lifecycle.ready_checks import OnReadyEnd, ReadyWait
from ..lifecycle.wait import Wait
from ..lifecycle.wait_index import OnEnd
from ..timing import Clock, SystemClock
from .observations import Exchange

__all__ = ["Observer"]

P = ParamSpec("P")
T = TypeVar("T")

MOST = 1_000_000
"""The size in bytes from which on a body is not decoded."""


class Observer:
    """What one client sends and receives: ``Client(token, **observer.options)``. One observer is for one client.

    Example::

        observer = Observer()
        async with Client.from_env(**observer.options) as vps:
            report = await examine_live(vps, observer, spec)
    """

    def __init__(self) -> None:
        self._clock: Clock = SystemClock()
        self._began = self._clock.now()
        self._exchanges: list[Exchange] = []
        self.misfits: dict[str, None] = {}
        """What did not fit in answers."""
        self.incomplete: dict[str, None] = {}
        """Why lists were incomplete."""
        self.create_left: bool = False
        """Whether a create has left this machine, so that it may have been applied."""
        self.origin: str = ""
        """The address of the API."""
        self.redact: Callable[[str], str] = str
        """Removes the token from a text."""

    @property
    def options(self) -> dict[str, Any]:
        """The options of the client."""
        return {"tracing": self._follow, "on_event": self._heard}

    @property
    def seconds(self) -> float:
        """The seconds since the beginning."""
        return self._clock.now() - self._began

    async def sleep(self, seconds: float) -> None:
        """Sleep on the client's clock."""
        await self._clock.sleep(seconds)

    def take(self) -> tuple[Exchange, ...]:
        """Return the attempts since the last call of this method."""
        taken, self._exchanges = tuple(self._exchanges), []
        return taken

    def note(self, request: Request, at: float, outcome: Response | TransportError | None) -> None:
        """Keep one attempt; None: it was cancelled."""
        if request.operation is Operation.CREATE and request.left:
            self.create_left = True
        asked: dict[str, Any] = {
            "operation": request.operation.value,
            "method": request.method,
            "path": _path(request.path),
            "at": at - self._began,
            "seconds": self._clock.now() - at,
        }
        if not isinstance(outcome, Response):
            why = "it was cancelled" if outcome is None else self.redact(str(outcome))
            self._exchanges.append(Exchange(**asked, status=None, kind="none", failure=why))
            return
        kind, data, rows = _body(outcome.body)
        if data is not None:
            data = self._redacted(data)
        headers = {name.lower(): value for name, value in outcome.headers.items()}
        self._exchanges.append(
            Exchange(**asked, status=outcome.status, kind=kind, data=data, rows=rows, headers=headers)
        )

    def _redacted(self, data: Any) -> Any:
        """Return decoded JSON without the token; None if that leaves no JSON."""
        with contextlib.suppress(DecodeError):
            return loads(self.redact(dumps(data).decode()).encode())
        return None

    def _follow(self, clock: Clock, base_url: str) -> _Follower:
        self._clock, self._began, self.origin = clock, clock.now(), base_url
        return _Follower(self, clock)

    def _heard(self, event: object) -> None:
        if isinstance(event, AnswerMisfit):
            self.misfits[event.problem] = None
        elif isinstance(event, ListIncomplete):
            self.incomplete[event.reason] = None


class _Follower:
    """The tracer of the client: its session has a transport that is observed."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock

    def session(self, transport: Transport, *parts: Any, **options: Any) -> Session:
        self._observer.redact = options["redact"]
        return Session(_Observed(transport, self._observer, self._clock), *parts, **options)

    def poll(self, kind: str, poll: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        return poll

    def wait(self, wait: Wait) -> OnEnd:
        return lambda verdict, at: None

    def ready(self, wait: ReadyWait) -> OnReadyEnd:
        return lambda error: None

    def run(self, operation: str, servers: int) -> _Untraced:
        return _Untraced()


class _Untraced:
    """The trace of a fleet run that nobody reads."""

    def context(self) -> Context:
        return copy_context()

    def emit(self, event: FleetEvent) -> None:
        pass

    def end(self, report: Report, error: BaseException | None) -> None:
        pass


class _Observed:
    """A transport whose attempts are noted."""

    def __init__(self, transport: Transport, observer: Observer, clock: Clock) -> None:
        self._transport = transport
        self._observer = observer
        self._clock = clock

    async def send(self, request: Request) -> Response | TransportError:
        at = self._clock.now()
        try:
            outcome = await self._transport.send(request)
        except BaseException:
            self._observer.note(request, at, None)
            raise
        self._observer.note(request, at, outcome)
        return outcome


def _path(path: str) -> str:
    """Return the path below the prefix, without ids, and of its query only what is no value of the account."""
    plain, _, query = path.partition("?")
    plain = re.sub(r"(/servers/)[^/]+", r"\1{id}", plain.removeprefix(API_PREFIX))
    known = ("status", "page", "page_size")
    shown = "&".join(f"{name}={value if name in known else '…'}" for name, value in parse_qsl(query))
    return f"{plain}?{shown}" if shown else plain


def _body(body: bytes) -> tuple[str, Any, int | None]:
    """Return the kind of a body, its JSON, and the number of rows if it is a list."""
    text = body.strip()
    if not text:
        return "empty", None, None
    if len(text) > MOST:
        return "json" if text[:1] in (b"{", b"[") else "text", None, None
    with contextlib.suppress(DecodeError):
        data = loads(text)
        rows = data.get("results") if isinstance(data, dict) else data
        if not isinstance(rows, list):
            return "json", data, None
        # the other rows are servers of the account, which are none of our business
        return "json", {**data, "results": rows[:1]} if isinstance(data, dict) else rows[:1], len(rows)
    return "page" if text[:1] == b"<" else "text", None, None
