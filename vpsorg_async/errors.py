"""The error tree. Every exception that leaves this package is one of these.

::

    VpsOrgError                  .final         whether the same call is worth another try
    ├── ConfigurationError (ValueError)     bad input or set-up; nothing was sent
    ├── ClientClosedError                   the client was closed under a call or a wait
    ├── JournalError                        the journal could not be written; this change was not sent
    ├── LimitError               .limit     a limit of the client forbids the change; it was not sent
    ├── PlanRefusedError         .plan      a guard forbids the plan, or the account has changed; nothing was sent
    ├── RequestError             .sent .request .attempts    one request did not succeed
    │   ├── TransportError                      no usable answer came
    │   │   ├── ConnectError                    provably not sent: safe to repeat
    │   │   ├── ConnectionLostError             the connection broke; the request may have been applied
    │   │   └── RequestTimeoutError (TimeoutError)   no complete answer in time; may have been applied
    │   ├── APIError             .status .message .body
    │   │   ├── BadRequestError 400 · AuthenticationError 401 · PaymentRequiredError 402
    │   │   ├── PermissionDeniedError 403 · NotFoundError 404 · RateLimitError 429 (.retry_after)
    │   │   └── ServiceError 5xx                a *server* is the product, so not "server error"
    │   ├── DecodeError          .problems      an answer that does not fit, as "$.path: what" lines
    │   └── OutcomeUnknownError  .reason        a change may have been applied: check before repeating it
    ├── WaitError                .server_id .target .last_seen .timeline .reason
    │   ├── WaitTimeoutError (TimeoutError)
    │   ├── UnexpectedStatusError           the server settled elsewhere, or was suspended
    │   ├── ServerGoneError                 the server does not exist (any more)
    │   └── NeverReadyError                 a ready check found that the server has failed for good
    ├── ReplacementError         .old_id .new_id .reason        a server was not replaced, or not wholly
    └── FleetError (ExceptionGroup)         only from Report.raise_for_failures()

A class exists where a caller reacts differently. All pickle, and none holds headers or the token. A class annotates
what its errors hold, for `vpsorg_async.plain`. Python's `TimeoutError` is an `OSError`: catch `OSError` after these.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from .fleet_errors import FleetError, LimitError, PlanRefusedError, ReplacementError
from .records import Seen, Server, ServerId
from .root_error import ConfigurationError, VpsOrgError

__all__ = [
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLostError",
    "DecodeError",
    "FleetError",
    "JournalError",
    "LimitError",
    "NeverReadyError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "PlanRefusedError",
    "RateLimitError",
    "ReplacementError",
    "RequestError",
    "RequestTimeoutError",
    "Sent",
    "ServerGoneError",
    "ServiceError",
    "TransportError",
    "UnexpectedStatusError",
    "VpsOrgError",
    "WaitError",
    "WaitTimeoutError",
]


class Sent(enum.Enum):
    """What is known of a request that did not succeed."""

    NO = "no"
    """Provably not sent: repeating it is always safe."""
    REJECTED = "rejected"
    """An answer refused it before any work was done."""
    MAYBE = "maybe"
    """It may have been applied."""


class ClientClosedError(VpsOrgError):
    """The client is not open: used outside its ``async with``, or closed under a call or a wait."""


class JournalError(VpsOrgError):
    """The journal could not be written or read, so the change was not sent. Repeat it once the disk has room again."""


class RequestError(VpsOrgError):
    """A request did not succeed.

    Attributes:
        sent: Whether the request may have been applied.
        request: The method and path, such as ``POST /api/v1/servers/``.
        attempts: The number of attempts, all of them; 0 where the call ended before the first one was sent.

    Example:
        ``except RequestError as error: print(error.sent is Sent.MAYBE)``
    """

    sent: Sent
    request: str
    attempts: int

    def __init__(self, message: str = "", *, sent: Sent = Sent.MAYBE, request: str = "") -> None:
        super().__init__(message)
        self.sent = sent
        self.request = request
        self.attempts = 1


class TransportError(RequestError):
    """No usable answer came. ``final`` is True for a certificate, a set-up or a coding that will be the same again."""

    default_sent: ClassVar[Sent] = Sent.MAYBE

    def __init__(
        self, message: str = "", *, sent: Sent | None = None, request: str = "", final: bool = False
    ) -> None:
        super().__init__(message, sent=self.default_sent if sent is None else sent, request=request)
        self.final = final

    def __str__(self) -> str:
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        about = f"{self.request}: " if self.request else ""
        return f"{about}{self.args[0]}{tries}"


class ConnectError(TransportError):
    """No connection could be made: name, route, port or TLS. The request was not sent."""

    default_sent = Sent.NO


class ConnectionLostError(TransportError):
    """The connection broke, or what came was not HTTP."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No complete answer in time. ``deadline`` (seconds) or ``not_after`` (UTC): the option that ended the call."""

    deadline: float | None
    not_after: datetime | None

    def __init__(
        self,
        message: str = "",
        *,
        sent: Sent | None = None,
        request: str = "",
        deadline: float | None = None,
        not_after: datetime | None = None,
    ) -> None:
        super().__init__(message, sent=sent, request=request)
        self.deadline = deadline
        self.not_after = not_after


def ends_call(error: Exception) -> bool:
    """Whether the time of the whole call ended, so that no attempt follows."""
    return isinstance(error, RequestTimeoutError) and (error.deadline or error.not_after) is not None


def is_cut_short(error: Exception) -> bool:
    """Whether the time of a call ended after it may have changed something."""
    return ends_call(error) and isinstance(error, RequestError) and error.sent is Sent.MAYBE


class APIError(RequestError):
    """The API answered with an error status.

    ``status`` is the HTTP status, ``message`` what the body said in readable form, ``body`` the beginning of the
    raw body with secrets blanked out, ``retry_after`` the seconds that the answer asked to wait, or None. ``from_api``
    says whether the answer has the API's own form, a JSON object. A page, a text or an empty body can come from a
    gateway in front of the API: such a 403 or 404 proves nothing about the server or the token.

    Error bodies are documented nowhere; any shape is accepted. A 2xx whose body says that the request failed is an
    `APIError` too, with that status. Codes: https://www.vps.org/api/v1/docs/servers/
    """

    final: bool = True
    status: int
    body: str
    retry_after: float | None
    from_api: bool

    def __init__(
        self,
        message: str = "",
        *,
        status: int = 0,
        body: str = "",
        request: str = "",
        sent: Sent = Sent.REJECTED,
        retry_after: float | None = None,
        from_api: bool = True,
    ) -> None:
        super().__init__(message, sent=sent, request=request)
        self.message = message
        self.status = status
        self.body = body
        self.retry_after = retry_after
        self.from_api = from_api
        if status == 408 or (status in (403, 404) and not from_api):
            self.final = False

    def __str__(self) -> str:
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        about = f"{self.request} was answered " if self.request else ""
        return f"{about}{self.status}: {self.message}{tries}"


class BadRequestError(APIError):
    """400: invalid parameters, or the server's state forbids it (already running, not running)."""


class AuthenticationError(APIError):
    """401: the token is missing or not valid."""


class PaymentRequiredError(APIError):
    """402: not enough credit. Never repeated."""


class PermissionDeniedError(APIError):
    """403: the token lacks a permission (not documented; tokens are scoped)."""


class NotFoundError(APIError):
    """404: no such server."""


def is_absence(error: Exception) -> bool:
    """Whether this is the API's own word that something does not exist, and not a page of a gateway."""
    return isinstance(error, NotFoundError) and error.from_api


def is_forbidden(error: Exception) -> bool:
    """Whether every further read would be refused: a 401, or the API's own 403."""
    return isinstance(error, AuthenticationError) or (
        isinstance(error, PermissionDeniedError) and error.from_api
    )


class RateLimitError(APIError):
    """429: too many requests (not documented). ``retry_after`` is in seconds, None where not given."""

    final = False


class ServiceError(APIError):
    """5xx: the service failed. A change may have been applied all the same (``sent`` is MAYBE)."""

    final = False


class DecodeError(RequestError):
    """An answer with a good status whose body does not fit.

    ``problems`` holds lines such as ``$.plan.vcpus: Expected `int`, got `str```. ``body`` is the beginning of the body
    of a short answer, with secrets blanked out.
    """

    problems: tuple[str, ...]
    body: str

    def __init__(self, message: str = "", *, problems: Sequence[str] = (), request: str = "") -> None:
        super().__init__(message, request=request)
        self.problems = tuple(problems)
        self.body = ""

    def __str__(self) -> str:
        about = f"{self.request}: " if self.request else ""
        return "\n  ".join([f"{about}{self.args[0]}", *self.problems])


class OutcomeUnknownError(RequestError):
    """A change was sent and its outcome is unknown: check the account before sending it again, or it may happen twice.

    Attributes:
        subject: The name of the spec, or the id of the server.
        reason: The failure that hid the outcome.
        sent_at: The time of day (UTC) at which the change was sent.
        candidates: Ids of servers that may be its result.
    """

    final = True
    subject: ServerId | None
    reason: Exception | None
    sent_at: datetime | None
    candidates: tuple[ServerId, ...]

    def __init__(
        self,
        message: str = "",
        *,
        request: str = "",
        subject: ServerId | None = None,
        reason: Exception | None = None,
        sent_at: datetime | None = None,
        candidates: Sequence[ServerId] = (),
    ) -> None:
        super().__init__(message, request=request)
        self.subject = subject
        self.reason = reason
        self.sent_at = sent_at
        self.candidates = tuple(candidates)
        if isinstance(reason, RequestError):
            self.attempts: int = reason.attempts


class WaitError(VpsOrgError):
    """A wait ended without its target.

    Attributes:
        server_id: The server.
        target: What the wait was for.
        last_seen: The server as it was seen last; None where it never was.
        timeline: The statuses seen, with their times.
        last_failure: The last failed poll.
        reason: Why its ready check did not pass last; empty where no check had been made.
    """

    server_id: ServerId | None
    target: str
    last_seen: Server | None
    timeline: tuple[Seen, ...]
    last_failure: Exception | None
    reason: str

    def __init__(
        self,
        message: str = "",
        *,
        server_id: ServerId | None = None,
        target: str = "",
        last_seen: Server | None = None,
        timeline: Sequence[Seen] = (),
        last_failure: Exception | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.server_id = server_id
        self.target = target
        self.last_seen = last_seen
        self.timeline = tuple(timeline)
        self.last_failure = last_failure
        self.reason = reason


class WaitTimeoutError(WaitError, TimeoutError):
    """The target was not reached in time. The server may still get there."""


class UnexpectedStatusError(WaitError):
    """The server settled in another status than the target, or was suspended."""

    final = True


class ServerGoneError(WaitError):
    """The server does not exist: it vanished during the wait, or never was."""

    final = True


class NeverReadyError(WaitError):
    """A ready check found that the server has failed for good, so that waiting on is of no use."""

    final = True
