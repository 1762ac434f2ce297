"""How far one call has come: its failed attempts, and what is known of them."""

from __future__ import annotations

import attrs

from ..errors import APIError, RequestTimeoutError, Sent, TransportError
from .exchange import Request
from .options import TimeLeft
from .retry import FailureKind, RetryPolicy, failure_kind

__all__ = ["Progress", "late_error"]


@attrs.define
class Progress:
    """The progress of one call. ``limited``: the attempts answered by 429. ``maybe``: one may have been applied."""

    policy: RetryPolicy
    tries: int = 0
    limited: int = 0
    patience_used: float = 0.0
    maybe: bool = False
    renewed: bool = False
    """Whether the token was renewed once: a 401 that follows is final."""
    last: TransportError | APIError | None = None

    @property
    def attempts(self) -> int:
        """The number of failed attempts."""
        return self.tries + self.limited

    @property
    def sent(self) -> Sent:
        """What is known of all attempts so far."""
        if self.maybe:
            return Sent.MAYBE
        return Sent.NO if self.last is None else self.last.sent

    def failed(self, error: TransportError | APIError) -> None:
        """Count a failed attempt."""
        self.last = error
        self.maybe = self.maybe or error.sent is Sent.MAYBE
        if failure_kind(error) is FailureKind.RATE_LIMITED:
            self.limited += 1
        else:
            self.tries += 1


def late_error(request: Request, progress: Progress, left: TimeLeft, why: str = "") -> RequestTimeoutError:
    """Return the error of a call that ends between two attempts, because no further one can leave in time.

    ``why`` is what leaves no time before the limit; empty: the limit passed.
    """
    where = "before the request was sent" if progress.last is None else "before the next attempt"
    last = "" if progress.last is None else f" (the last attempt: {progress.last.args[0]})"
    error = RequestTimeoutError(
        f"{why} leaves no time before {left}{last}" if why else f"{left} passed {where}{last}",
        sent=progress.sent,
        request=str(request),
        deadline=left.deadline,
        not_after=left.not_after,
    )
    error.attempts = progress.attempts
    return error
