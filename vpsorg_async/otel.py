"""Traces and metrics with OpenTelemetry (extra ``otel``): ``Client(token, tracing=OpenTelemetry())``.

::

    vpsorg.fleet.create          a fleet run
      vpsorg.create              a call: queueing, attempts and the pauses between them
        POST                     an attempt, by the conventions of OpenTelemetry for HTTP clients
      vpsorg.wait                a wait, with the status words that it saw as events
      vpsorg.ready               the ready checks of a server, with each new reason as an event
    vpsorg.poll                  a poll of all waits together: a trace of its own
      vpsorg.list
        GET

A span has method, path, status, ids and outcome, and the message of an error, in which secrets are redacted. It never
has headers, bodies or queries, so the token is in none. Nothing is added to the requests. All times are those of the
client's clock. Exceptions of a tracer, a meter or a span processor are logged, and end nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

try:
    from opentelemetry import context as otel_context
    from opentelemetry import metrics, trace
    from opentelemetry.trace import INVALID_SPAN, SpanKind, Status, StatusCode
except ModuleNotFoundError as _missing:
    raise ImportError('tracing needs OpenTelemetry: pip install "vpsorg-async[otel]"') from _missing

from ._version import __version__
from .fleet.events import CommandLost, FleetEvent, ServerAdopted, ServerSettled
from .fleet.outcomes import Report, Succeeded
from .http.events import AttemptFailed, RateLowered, RequestAnswered, RequestSent, RetryScheduled
from .http.exchange import Priority, Request, Response
from .http.session import SendCancelled, Session
from .lifecycle.contract import Evidence
from .lifecycle.readiness import word_of
from .lifecycle.ready_checks import ReadyWait
from .lifecycle.wait import Reached, Verdict, Wait
from .lifecycle.wait_index import OnEnd
from .otel_spans import Metrics, Span, never_raising, outcome_of
from .timing import Clock

__all__ = ["OpenTelemetry"]

P = ParamSpec("P")
T = TypeVar("T")


class OpenTelemetry:
    """Spans and metrics of one or more clients: ``Client(token, tracing=OpenTelemetry())``.

    Args:
        tracer_provider: The provider of the tracer; by default the global one, as it is when the client opens.
        meter_provider: The provider of the meter; the same default.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider

    def __call__(self, clock: Clock, base_url: str) -> _Tracer:
        """Return the tracer of one client. The client calls this when it is opened."""
        about = ("vpsorg_async", __version__)
        return _Tracer(
            never_raising(trace.get_tracer)(*about, self._tracer_provider) or trace.NoOpTracer(),
            never_raising(metrics.get_meter)(*about, self._meter_provider) or metrics.NoOpMeter(*about),
            clock,
            base_url,
        )


class _Call:
    """A call in progress, with its present attempt."""

    __slots__ = ("attempt", "attempts", "request", "sent_at", "span")

    def __init__(self, request: Request, span: Span) -> None:
        self.request = request
        self.span = span
        self.attempt: Span | None = None
        self.attempts = 0
        self.sent_at = 0.0


_CALL: ContextVar[_Call] = ContextVar("vpsorg_async.otel.call")


class _Session(Session):
    """A session that reports its calls."""

    def __init__(
        self, tracer: _Tracer, *parts: Any, on_event: Callable[[Any], None] | None, **options: Any
    ) -> None:
        def heard(event: Any) -> None:
            tracer.heard(event)
            if on_event is not None:
                on_event(event)

        super().__init__(*parts, on_event=heard, **options)
        self._tracer = tracer

    async def send(
        self,
        request: Request,
        priority: Priority = Priority.USER,
        *,
        before_send: Callable[[], None] | None = None,
    ) -> Response:
        """Send like `Session.send`, within a span."""
        with self._tracer.call(request):
            return await super().send(request, priority, before_send=before_send)


class _Run:
    """A fleet run in progress."""

    def __init__(self, tracer: _Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    def context(self) -> contextvars.Context:
        """Return a new context in which the run's span is current."""
        # each task needs its own: tasks that share a context would see each other's current span
        context = contextvars.copy_context()
        context.run(otel_context.attach, trace.set_span_in_context(self._span.inner))
        return context

    def emit(self, event: FleetEvent) -> None:
        """Record exceptional events only: the spans below show the others."""
        match event:
            case CommandLost(key=key):
                self._note("answer lost", {"vpsorg.key": str(key)})
            case ServerAdopted(key=key, server_id=server_id):
                self._note("server adopted", {"vpsorg.key": str(key), "vpsorg.server.id": str(server_id)})
            case ServerSettled(key=key, outcome=outcome) if not isinstance(outcome, Succeeded):
                error = getattr(outcome, "error", None)
                kind = {} if error is None else {"error.type": type(error).__name__}
                word = type(outcome).__name__.lower()
                self._note("server " + word, {"vpsorg.key": str(key), **kind})

    def end(self, report: Report, error: BaseException | None) -> None:
        """End the span of the run."""
        failed = len(report.failed)
        self._span.set_attribute("vpsorg.succeeded", len(report.succeeded))
        self._span.set_attribute("vpsorg.failed", failed)
        self._span.set_attribute("vpsorg.skipped", len(report.skipped))
        if error is not None:
            self._span.set_attribute("vpsorg.outcome", outcome_of(error))
        if failed or len(report.skipped):
            self._span.set_status(Status(StatusCode.ERROR, str(report)))
        self._span.end(self._tracer.now())

    def _note(self, name: str, attributes: dict[str, str]) -> None:
        self._span.add_event(name, attributes, self._tracer.now())


class _Tracer:
    """Reports one client: its calls, polls, waits and fleet runs."""

    def __init__(self, tracer: trace.Tracer, meter: metrics.Meter, clock: Clock, base_url: str) -> None:
        self._tracer = tracer
        self._metrics = Metrics(meter)
        self._clock = clock
        self._base_url = base_url
        address = urlsplit(base_url)
        self._server: dict[str, str | int] = {
            "server.address": address.hostname or "",
            "server.port": address.port or (443 if address.scheme == "https" else 80),
        }

    def now(self) -> int:
        """Return the time of day in nanoseconds, as spans need it."""
        return int(self._clock.wall().timestamp() * 1e6) * 1000

    def _start(self, name: str, **options: Any) -> Span:
        """Start a span now."""
        start = never_raising(self._tracer.start_span)
        return Span(start(name, start_time=self.now(), **options) or INVALID_SPAN)

    # -- calls ------------------------------------------------------------------------------------------------------

    def session(self, *parts: Any, **options: Any) -> Session:
        """Return a `Session` that reports its calls."""
        return _Session(self, *parts, **options)

    @contextlib.contextmanager
    def call(self, request: Request) -> Iterator[None]:
        """Open the span of a call, which is current while the call lasts."""
        operation = request.operation.value
        with self._span(f"vpsorg.{operation}", {"vpsorg.operation": operation, **self._server}) as span:
            call = _Call(request, span)
            token = _CALL.set(call)
            try:
                yield
            except BaseException as error:
                self._attempt_ended(call, outcome_of(error))
                sent = getattr(error, "sent", None)
                if sent is not None:
                    span.set_attribute("vpsorg.sent", sent.name.lower())
                raise
            finally:
                _CALL.reset(token)
                span.set_attribute("vpsorg.attempts", call.attempts)

    def heard(self, event: Any) -> None:
        """Record an event of a session. Sessions emit it in the context of the call."""
        call = _CALL.get(None)
        if call is None:
            return
        match event:
            case RequestSent(attempt=number):
                self._attempt_began(call, number)
            case RequestAnswered(status=status):
                self._attempt_ended(call, "ok", status)
            case AttemptFailed(error=kind, status=status, message=message):
                self._attempt_ended(call, kind, status, message)
            case RetryScheduled(after=after):
                call.span.add_event("retry scheduled", {"vpsorg.retry.after": after}, self.now())
            case RateLowered(limit=limit):
                call.span.add_event("rate lowered", {"vpsorg.requests.limit": limit}, self.now())

    def _attempt_began(self, call: _Call, number: int) -> None:
        # `str` leaves out the query
        method, _, path = str(call.request).partition(" ")
        again = {"http.request.resend_count": number - 1} if number > 1 else {}
        call.attempts = number
        call.sent_at = self._clock.now()
        call.attempt = self._start(
            method,
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": method,
                "url.full": self._base_url + path,
                **self._server,
                **again,
            },
        )

    def _attempt_ended(self, call: _Call, outcome: str, status: int | None = None, message: str = "") -> None:
        span, call.attempt = call.attempt, None
        if span is None:
            return
        labels = {"vpsorg.operation": call.request.operation.value, "vpsorg.outcome": outcome}
        self._metrics.count_request(1, labels)
        self._metrics.request_duration(self._clock.now() - call.sent_at, labels)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if outcome != "ok":
            span.set_attribute("error.type", str(status) if status is not None else outcome)
            span.set_status(Status(StatusCode.ERROR, message))
        span.end(self.now())

    # -- polls and waits --------------------------------------------------------------------------------------------

    def poll(self, kind: str, poll: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        """Return the same poll, counted and in a trace of its own, because it is shared by all waits."""

        @functools.wraps(poll)
        async def followed(*args: P.args, **options: P.kwargs) -> T:
            outcome = "ok"
            try:
                with self._span("vpsorg.poll", {"vpsorg.poll": kind}, context=otel_context.Context()):
                    return await poll(*args, **options)
            except BaseException as error:
                outcome = outcome_of(error)
                raise
            finally:
                self._metrics.count_poll(1, {"vpsorg.poll": kind, "vpsorg.outcome": outcome})

        return followed

    def wait(self, wait: Wait) -> OnEnd:
        """Start the span of a wait, and return the function that ends it."""
        began = self.now()
        span = self._start(
            "vpsorg.wait",
            attributes={"vpsorg.server.id": str(wait.server_id), "vpsorg.target": str(wait.target)},
        )

        def ended(verdict: Verdict | None, undone_at: float) -> None:
            now = self._clock.now()
            error = None if verdict is None or isinstance(verdict, Reached) else verdict.error
            outcome = "ok" if isinstance(verdict, Reached) else "left" if error is None else outcome_of(error)
            labels = {"vpsorg.operation": wait.operation or "none", "vpsorg.outcome": outcome}
            self._metrics.wait_duration(now - wait.started, labels)
            span.set_attributes(
                {**labels, "vpsorg.polls": wait.polls, "vpsorg.polls.failed": wait.failed_polls}
            )
            for seen in wait.timeline:
                note = {"vpsorg.note": seen.note} if seen.note else {}
                span.add_event(
                    "status", {"vpsorg.status": str(seen.status), **note}, began + int(seen.at * 1e9)
                )
            if isinstance(verdict, Reached):
                span.set_attribute("vpsorg.evidence", str(verdict.evidence))
                if verdict.evidence is not Evidence.ASSUMED:
                    # an assumed result was delayed on purpose, so its lag means nothing
                    self._metrics.wait_lag(now - undone_at, {"vpsorg.operation": labels["vpsorg.operation"]})
            elif error is not None:
                span.set_attribute("error.type", outcome)
                span.set_status(Status(StatusCode.ERROR, str(error)))
            span.end(self.now())

        return ended

    def ready(self, wait: ReadyWait) -> Callable[[BaseException | None], None]:
        """Start the span of a server's ready checks, and return the function that ends it."""
        began, since, before = self.now(), self._clock.now() - wait.started, len(wait.timeline)
        span = self._start(
            "vpsorg.ready",
            attributes={"vpsorg.server.id": str(wait.server.id), "vpsorg.check": word_of(wait.check)},
        )

        def ended(error: BaseException | None) -> None:
            outcome = "ok" if error is None else outcome_of(error)
            labels = {"vpsorg.operation": wait.operation or "none", "vpsorg.outcome": outcome}
            self._metrics.ready_duration(self._clock.now() - wait.started - since, labels)
            span.set_attributes({**labels, "vpsorg.checks": wait.tries})
            for seen in wait.timeline[before:]:
                note = {"vpsorg.note": seen.note} if seen.note else {}
                span.add_event(str(seen.status), note, began + int((seen.at - since) * 1e9))
            if error is not None:
                span.set_attribute("error.type", outcome)
                span.set_status(Status(StatusCode.ERROR, str(error)))
            span.end(self.now())

        return ended

    # -- fleets -----------------------------------------------------------------------------------------------------

    def run(self, operation: str, servers: int) -> _Run:
        """Start the span of a fleet run."""
        span = self._start(f"vpsorg.fleet.{operation}", attributes={"vpsorg.servers": servers})
        return _Run(self, span)

    @contextlib.contextmanager
    def _span(self, name: str, attributes: dict[str, Any], **options: Any) -> Iterator[Span]:
        """Open a span that is current while it lasts, and record how it was left."""
        span = self._start(name, attributes=attributes, **options)
        # not `use_span`, which calls more methods of the span if an exception is raised
        token = otel_context.attach(trace.set_span_in_context(span.inner))
        try:
            yield span
        except BaseException as error:
            span.set_attribute("vpsorg.outcome", outcome_of(error))
            if not isinstance(error, asyncio.CancelledError | SendCancelled):
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(Status(StatusCode.ERROR, str(error)))
            raise
        finally:
            otel_context.detach(token)
            span.end(self.now())
