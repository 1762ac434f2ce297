"""The attempt loop: send, ask `retry.decide`, sleep. The one place where a request is sent more than once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Protocol

import anyio
import attrs

from ..errors import (
    APIError,
    AuthenticationError,
    ClientClosedError,
    ConnectionLostError,
    RateLimitError,
    Sent,
    TransportError,
    is_absence,
)
from ..fleet_errors import read_only
from ..hooks import Hook, emit
from ..ownership import LoopOwner
from ..timing import Clock, Random
from .concurrency import ConcurrencyLimiter
from .credentials import Credentials, Held
from .events import AttemptFailed, RateLowered, RequestAnswered, RequestSent, RetryScheduled
from .exchange import Operation, Priority, Request, Response
from .options import Call
from .progress import Progress, late_error
from .reply import refusal
from .retry import RetryPolicy, RetryQuota, decide, rate_limit_pause

__all__ = ["BeforeSend", "SendCancelled", "Session", "Transport"]

log: logging.Logger = logging.getLogger("vpsorg_async.http")


class Transport(Protocol):
    """One attempt: returns the answer, or what is known of its failure."""

    async def send(self, request: Request) -> Response | TransportError:
        """Make one attempt. Never raises for a failure on the wire."""
        ...


class SendCancelled(Exception):
    """The request is not to be sent any more, for this reason. Raised by `BeforeSend` hooks only."""


BeforeSend = Callable[[], None]
"""Called right before an attempt is sent; what it raises ends the call."""


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
        read_only: bool = False,
        credentials: Credentials | None = None,
    ) -> None:
        self._owner = owner
        self._read_only = read_only
        self._credentials = credentials
        self._transport = transport
        self._limiter = limiter
        self._policy = policy
        self._quota = RetryQuota(policy.quota)
        self._clock = clock
        self._rng = rng
        self._redact = redact
        self._on_event = on_event
        # after a 429 all requests of the same kind wait; most services count reads and changes separately
        self._held_until = {True: 0.0, False: 0.0}
        self._pauses: set[anyio.CancelScope] = set()
        self.json_errors: bool = False
        """Whether the API has sent an error as JSON so far, and not only pages or empty bodies."""

    def begin(self) -> Session:
        """Return this session: its calls have no options of their own."""
        return self

    def close(self) -> None:
        """Wake every call that pauses before its next attempt; the limiter, closed before, then refuses it."""
        for pause in list(self._pauses):
            pause.cancel()

    async def send(
        self,
        request: Request,
        priority: Priority = Priority.USER,
        *,
        before_send: BeforeSend | None = None,
    ) -> Response:
        """Send the request until it succeeds or must not be retried, and return the answer.

        The API's 404 to a DELETE counts as success if an earlier attempt may have been applied.

        Args:
            request: The request. Its ``call`` has the options of this call.
            priority: Its priority for the slots of the limiter.
            before_send: Called right before an attempt is sent; what it raises ends the call. Not called once an
                attempt may have been applied: the call must find out then.

        Raises:
            TransportError: No usable answer came; ``sent`` is that of all attempts.
            APIError: The API refused, or failed; ``sent`` is that of all attempts.
            ClientClosedError: The client was closed before anything was sent that may have been applied.
            SendCancelled: ``before_send`` raised it; nothing that may have been applied was sent.
            LimitError: The request is a change, and the client is read-only.
        """
        self._count(request)
        call = request.call
        progress = Progress(self._policy if call is None or call.retry is None else call.retry)
        reading = request.method == "GET"
        request.attempts = 0
        while True:
            if call is not None:
                self._check_time(call, request, progress)
            held_until = self._held_until[reading]
            if (held_until and held_until > self._clock.now()) or not self._limiter.take():
                await self._queue(request, priority, progress)
            try:
                if before_send is not None and not progress.maybe:
                    before_send()
                request.attempts += 1
                if self._observed:
                    self._note_sent(request)
                held = None if self._credentials is None else self._credentials.held
                outcome = await self._transport.send(request)
            finally:
                self._limiter.release()
            if isinstance(outcome, TransportError):
                error: TransportError | APIError = outcome
            else:
                refused = refusal(request, outcome, self._redact)
                if refused is None:
                    self._limiter.succeeded()
                elif progress.maybe and request.operation is Operation.DELETE and is_absence(refused):
                    # the service's text about the absence is no answer to the DELETE
                    outcome, refused = attrs.evolve(outcome, body=b""), None
                if refused is None:
                    if self._observed:
                        self._note_answer(request, outcome)
                    return outcome
                error = refused
            await self._before_next(request, error, progress, held)

    def _count(self, request: Request) -> None:
        """Count a call. Raises what forbids it: another event loop, or a client that is read-only."""
        if self._owner is not None:
            self._owner.check()
        if self._read_only and request.method != "GET":
            raise read_only(str(request))
        self._quota.deposit()

    def _failed(self, request: Request, error: TransportError | APIError, progress: Progress) -> float:
        """Record a failed attempt, and return the seconds until the next one. Raises what the call ends with."""
        self.json_errors = self.json_errors or (isinstance(error, APIError) and error.from_api)
        progress.failed(error)
        request.left = progress.maybe  # a request that was certainly refused is as good as not sent
        after = decide(
            progress.policy,
            request,
            error,
            tries=progress.tries,
            limited=progress.limited,
            patience_used=progress.patience_used,
            quota=self._quota,
            rng=self._rng,
        )
        now, call = self._clock.now(), request.call
        left = None if call is None or after is None else call.time_left(self._clock)
        late = left if left is not None and after is not None and left.seconds <= after else None
        self._note_failure(request, error, progress.attempts, after if late is None else None)
        if isinstance(error, RateLimitError) and after is not None:
            self._hold_back(request, error, progress, now, after)
        if late is not None:
            asked = error.retry_after if isinstance(error, APIError) else None
            whose = "" if asked is None else f", as the service asked (Retry-After: {asked:g} s),"
            raise late_error(request, progress, late, f"the pause of {after:.3g} s{whose}") from error
        if after is None:
            error.attempts, error.sent = progress.attempts, progress.sent
            raise error
        if isinstance(error, RateLimitError):
            progress.patience_used += after
        return after

    async def _before_next(
        self, request: Request, error: TransportError | APIError, progress: Progress, held: Held | None
    ) -> None:
        """Return when the next attempt may leave, if one follows this failure. Raises what the call ends with."""
        if not await self._renewed(held, request, error, progress):
            await self._pause(self._failed(request, error, progress))

    async def _renewed(
        self, held: Held | None, request: Request, error: TransportError | APIError, progress: Progress
    ) -> bool:
        """Return whether there is another token than the one that was refused: the request is sent once more then.

        The service refused the request, so it was not applied.
        """
        if not isinstance(error, AuthenticationError) or progress.renewed:
            return False
        if held is None or self._credentials is None:
            return False
        progress.renewed = True
        left = None if request.call is None else request.call.time_left(self._clock)
        with anyio.move_on_after(math.inf if left is None else max(left.seconds, 0.0)) as pause:
            self._pauses.add(pause)
            try:
                now = await self._credentials.renew(held)
            finally:
                self._pauses.discard(pause)
            if now.token != held.token:
                request.left = progress.maybe  # what was refused is as good as not sent
                self._note_failure(request, error, request.attempts, 0.0)
                return True
            if now.problem:
                error.add_note(f"there is no other token: {now.problem}")
        return False

    def _hold_back(
        self, request: Request, error: RateLimitError, progress: Progress, now: float, after: float
    ) -> None:
        """Let all requests of this kind wait, also if this call does not: the others are limited as well.

        A policy of this call alone does not make others wait longer than the policy of the client would.
        """
        if progress.policy is not self._policy:
            own = rate_limit_pause(self._policy, error, progress.limited, 0.0, self._rng)
            after = min(after, own or 0.0)
        reading = request.method == "GET"
        self._held_until[reading] = max(self._held_until[reading], now + after)

    def _check_time(self, call: Call, request: Request, progress: Progress) -> None:
        """Raise what the call ends with if no attempt can leave any more."""
        left = call.time_left(self._clock)
        if left is not None and left.seconds <= 0:
            raise late_error(request, progress, left) from progress.last

    async def _queue(self, request: Request, priority: Priority, progress: Progress) -> None:
        """Wait for a slot, at most as long as the call can still leave."""
        call = request.call
        left = None if call is None else call.time_left(self._clock)
        try:
            if call is None or left is None:
                progress.patience_used += await self._admitted(request, priority, progress)
                return
            wait = self._limiter.shortest_wait()
            if 0 < left.seconds <= wait:
                why = f"the client's rate of requests, which allows the next one in {wait:.3g} s,"
                raise late_error(request, progress, left, why) from progress.last
            with anyio.move_on_after(max(left.seconds, 0.0)):
                progress.patience_used += await self._admitted(request, priority, progress)
                # the time of day can have been set, or the machine been asleep, meanwhile
                left = call.time_left(self._clock) or left
                if left.seconds > 0:
                    return
                self._limiter.give_back()
        except ClientClosedError:
            if not progress.maybe:
                raise
            why = "the client was closed before the next attempt"
            closed = ConnectionLostError(why, sent=Sent.MAYBE, request=str(request))
            closed.attempts = progress.attempts
            raise closed from None
        raise late_error(request, progress, left) from progress.last

    async def _admitted(self, request: Request, priority: Priority, progress: Progress) -> float:
        """Take a slot of the limiter, and return the seconds for which a rate limit held the request back.

        Other calls can postpone the end of a rate limit again and again. A call whose patience is used up is sent
        anyway.
        """
        patience = progress.policy.rate_limit_patience - progress.patience_used
        held = 0.0
        self._hold(request, progress, patience)
        while True:
            await self._limiter.acquire(priority)
            if self._clock.now() >= self._held_until[request.method == "GET"] or held >= patience:
                return held
            # it waits without a slot, so that requests of the other kind can proceed
            self._limiter.give_back()
            hold = self._hold(request, progress, patience - held)
            await self._pause(hold)
            held += hold

    def _hold(self, request: Request, progress: Progress, patience: float) -> float:
        """Return the seconds for which a rate limit holds the request back. Raises if it can't leave after them."""
        hold = min(self._held_until[request.method == "GET"] - self._clock.now(), patience)
        left = None if request.call is None or hold <= 0 else request.call.time_left(self._clock)
        if left is not None and left.seconds <= hold:
            why = f"a rate limit, which holds the request back for {hold:.3g} s,"
            raise late_error(request, progress, left, why) from progress.last
        return hold

    async def _pause(self, seconds: float) -> None:
        """Sleep for this time, or until the client is closed."""
        with anyio.CancelScope() as pause:
            self._pauses.add(pause)
            try:
                await self._clock.sleep(seconds)
            finally:
                self._pauses.discard(pause)

    @property
    def _observed(self) -> bool:
        """Whether a hook or the log wants to know of requests that go well."""
        return self._on_event is not None or log.isEnabledFor(logging.DEBUG)

    def _note_sent(self, request: Request) -> None:
        log.debug("%s: attempt %d", request, request.attempts)
        event = RequestSent(operation=request.operation.value, request=str(request), attempt=request.attempts)
        emit(self._on_event, event, log)

    def _note_answer(self, request: Request, response: Response) -> None:
        seconds = response.received_at - response.requested_at
        log.debug("%s: %d after %.3f s", request, response.status, seconds)
        event = RequestAnswered(
            operation=request.operation.value,
            request=str(request),
            attempt=request.attempts,
            status=response.status,
            seconds=seconds,
        )
        emit(self._on_event, event, log)

    def _note_failure(
        self, request: Request, error: TransportError | APIError, attempt: int, after: float | None
    ) -> None:
        lowered = isinstance(error, RateLimitError) and self._limiter.limit.limited(self._clock.now())
        follows = "no further attempt" if after is None else f"the next attempt follows in {after:.3g} s"
        log.debug("attempt %d failed: %s; %s", attempt, error, follows)
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
