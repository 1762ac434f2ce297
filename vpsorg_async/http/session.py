"""The attempt loop: send, ask `retry.decide`, sleep. The one place where a request is sent more than once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import anyio
import attrs

from ..errors import (
    APIError,
    ClientClosedError,
    ConnectionLostError,
    RateLimitError,
    Sent,
    TransportError,
    is_absence,
)
from ..hooks import Hook, emit
from ..ownership import LoopOwner
from ..timing import Clock, Random
from .concurrency import ConcurrencyLimiter
from .events import AttemptFailed, RateLowered, RequestAnswered, RequestSent, RetryScheduled
from .exchange import Operation, Priority, Request, Response
from .reply import refusal
from .retry import FailureKind, RetryPolicy, RetryQuota, decide, failure_kind

__all__ = ["Bulk", "SendCancelled", "Session", "Transport"]

log = logging.getLogger("vpsorg_async.http")


class Transport(Protocol):
    """One attempt: the answer, or what is known of its failure."""

    async def send(self, request: Request) -> Response | TransportError:
        """Make one attempt. Never raises for what happens on the wire."""
        ...


class SendCancelled(Exception):
    """Nobody wanted the request any more when its turn came; it was not sent. Only for those who withdraw."""


class Session:
    """Sends requests through one limiter, with one retry quota for all of them."""

    def __init__(
        self,
        transport: Transport,
        limiter: ConcurrencyLimiter,
        *,
        policy: RetryPolicy,
        clock: Clock,
        rng: Random,
        redact: Callable[[str], str],
        on_event: Hook | None = None,
        owner: LoopOwner | None = None,
    ) -> None:
        self._owner = owner
        self._transport = transport
        self._limiter = limiter
        self._policy = policy
        self._quota = RetryQuota(policy.quota)
        self._clock = clock
        self._rng = rng
        self._redact = redact
        self._on_event = on_event
        # after a 429 all requests of the same kind hold back: reads and changes are counted apart by most services
        self._held_until = {True: 0.0, False: 0.0}
        self._pauses: set[anyio.CancelScope] = set()
        self.json_errors = False
        """Whether an error was answered in the API's own form so far, and not only by pages or without a body."""

    def close(self) -> None:
        """Wake every call that waits for its next attempt; the limiter, closed before, turns it away."""
        for pause in list(self._pauses):
            pause.cancel()

    async def send(
        self,
        request: Request,
        priority: Priority = Priority.USER,
        *,
        withdrawn: Callable[[], bool] | None = None,
    ) -> Response:
        """The answer of a request that worked. Raises `TransportError` or `APIError`, with ``sent`` for all attempts.

        The API's 404 to a DELETE of which an earlier attempt may have been carried out counts as having worked. Raises
        `ClientClosedError` when the client is closed before anything was sent that may have been carried out.
        ``withdrawn`` is asked each time the request's turn comes; True keeps it back, and raises `SendCancelled`.
        """
        if self._owner is not None:
            self._owner.check()
        self._quota.deposit()
        tries = limited = 0
        patience_used = 0.0
        maybe = False
        reading = request.method == "GET"
        while True:
            attempt = tries + limited + 1
            if self._held_until[reading] > self._clock.now() or not self._limiter.take():
                try:
                    patience_used += await self._admitted(request, priority, patience_used)
                except ClientClosedError:
                    if not maybe:
                        raise
                    break
            try:
                if withdrawn is not None and not maybe and withdrawn():
                    raise SendCancelled(str(request))
                if self._on_event is not None:
                    self._note_sent(request, attempt)
                outcome = await self._transport.send(request)
            finally:
                self._limiter.release()
            error = (
                outcome if isinstance(outcome, TransportError) else refusal(request, outcome, self._redact)
            )
            if isinstance(outcome, Response):
                if error is None:
                    self._limiter.limit.succeeded()
                elif maybe and request.operation is Operation.DELETE and is_absence(error):
                    # what the service says about its absence is no answer to the DELETE
                    outcome, error = attrs.evolve(outcome, body=b""), None
                if error is None:
                    if self._on_event is not None:
                        self._note_answer(request, outcome, attempt)
                    return outcome
            assert error is not None
            self.json_errors = self.json_errors or (isinstance(error, APIError) and error.from_api)
            if failure_kind(error) is FailureKind.RATE_LIMITED:
                limited += 1
            else:
                tries += 1
            maybe = maybe or error.sent is Sent.MAYBE
            request.left = maybe  # what was surely refused is as good as not sent
            after = decide(
                self._policy,
                request,
                error,
                tries=tries,
                limited=limited,
                patience_used=patience_used,
                quota=self._quota,
                rng=self._rng,
            )
            self._note_failure(request, error, tries + limited, after)
            if after is None:
                error.attempts = tries + limited
                if maybe:
                    error.sent = Sent.MAYBE
                raise error
            if isinstance(error, RateLimitError):
                patience_used += after
                self._held_until[reading] = max(self._held_until[reading], self._clock.now() + after)
            await self._pause(after)
        closed = ConnectionLostError(
            "the client was closed before the next attempt", sent=Sent.MAYBE, request=str(request), final=True
        )
        closed.attempts = tries + limited
        raise closed

    async def _admitted(self, request: Request, priority: Priority, patience_used: float) -> float:
        """Take a place at the limiter, and return the seconds for which a rate limit held the request back.

        Others can push the end of that further and further; whose patience is used up goes and asks for itself.
        """
        patience = self._policy.rate_limit_patience - patience_used
        held = 0.0
        while True:
            await self._limiter.acquire(priority)
            hold = min(self._held_until[request.method == "GET"] - self._clock.now(), patience - held)
            if hold <= 0:
                return held
            # held back without a place, so that requests of the other kind go on
            self._limiter.release()
            await self._pause(hold)
            held += hold

    async def _pause(self, seconds: float) -> None:
        """Sleep so long, or until the client is closed."""
        with anyio.CancelScope() as pause:
            self._pauses.add(pause)
            try:
                await self._clock.sleep(seconds)
            finally:
                self._pauses.discard(pause)

    def _note_sent(self, request: Request, attempt: int) -> None:
        event = RequestSent(operation=request.operation.value, request=str(request), attempt=attempt)
        emit(self._on_event, event, log)

    def _note_answer(self, request: Request, response: Response, attempt: int) -> None:
        event = RequestAnswered(
            operation=request.operation.value,
            request=str(request),
            attempt=attempt,
            status=response.status,
            seconds=response.received_at - response.requested_at,
        )
        emit(self._on_event, event, log)

    def _note_failure(
        self, request: Request, error: TransportError | APIError, attempt: int, after: float | None
    ) -> None:
        lowered = isinstance(error, RateLimitError) and self._limiter.limit.limited(self._clock.now())
        log.debug("attempt %d of %s failed: %s; next after %s s", attempt, request, error, after)
        if self._on_event is None:
            return
        emit(
            self._on_event,
            AttemptFailed(
                operation=request.operation.value,
                request=str(request),
                attempt=attempt,
                sent=error.sent,
                error=type(error).__name__,
                message=str(error.args[0]),
                status=error.status if isinstance(error, APIError) else None,
            ),
            log,
        )
        if lowered:
            emit(self._on_event, RateLowered(limit=self._limiter.limit.current), log)
        if after is not None:
            emit(
                self._on_event,
                RetryScheduled(
                    operation=request.operation.value, request=str(request), attempt=attempt + 1, after=after
                ),
                log,
            )


class Bulk:
    """A session for bulk work: behind the user's own calls, and its changes can be withdrawn until they leave."""

    def __init__(self, session: Session | Bulk, withdrawn: Callable[[], bool]) -> None:
        self._session: Session = session._session if isinstance(session, Bulk) else session
        self._withdrawn = withdrawn

    async def send(self, request: Request, priority: Priority = Priority.BULK) -> Response:
        """As `Session.send`; a priority ahead of bulk work is taken as that of bulk work."""
        change = request.method != "GET"
        return await self._session.send(
            request, max(priority, Priority.BULK), withdrawn=self._withdrawn if change else None
        )
