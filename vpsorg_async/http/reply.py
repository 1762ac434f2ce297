"""The meaning of an answer: an error of ours, or None. Pure.

Error bodies are documented nowhere, so any shape becomes a readable message: an object with ``detail``, ``message``
or ``error``, lists of messages by field, a list, a string, plain text, HTML, or nothing. Only the status decides the
class. Codes: https://www.vps.org/api/v1/docs/servers/

A status alone proves little. A JSON object is treated as the API's own answer. A page, a text or an empty body may
come from a gateway (`APIError.from_api`). A 2xx can contain a refusal (`refused_inside`).
"""

from __future__ import annotations

import enum
import html
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ..codec import loads, read_marks
from ..errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    DecodeError,
    NotFoundError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
    Sent,
    ServiceError,
)
from .exchange import Request, Response
from .redact import BLANK

__all__ = [
    "Expected",
    "explained",
    "http_date",
    "message_of",
    "read_answer",
    "refusal",
    "refused_inside",
    "retry_after",
    "sent_of",
]

T = TypeVar("T")

MAX_MESSAGE = 500
MAX_BODY = 2000
_WORDS_LIMIT = 20

_CLASSES: Mapping[int, type[APIError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def refusal(request: Request, response: Response, redact: Callable[[str], str]) -> APIError | None:
    """Return the error that this answer means; None for a 2xx."""
    status = response.status
    if 200 <= status < 300:
        return None
    text = redact(response.body[: MAX_BODY * 4].decode("utf-8", "replace"))
    if 300 <= status < 400:
        message = f"redirected to {_origin(response.headers.get('location', ''))}; redirects are not followed"
    else:
        message = redact(message_of(response.body)) or _phrase(status)
    from_api = _object(response.body) is not None
    # a gateway's refusal says nothing about what the API has done: some gateways replace the API's answer by a page
    gateway = status in (403, 404) and not from_api
    kind = _CLASSES.get(status) or (ServiceError if status >= 500 else APIError)
    return kind(
        _clip(message, MAX_MESSAGE),
        status=status,
        body=_clip(text, MAX_BODY),
        request=str(request),
        sent=Sent.MAYBE if gateway else sent_of(status),
        retry_after=retry_after(response.headers),
        from_api=from_api,
    )


class Expected(enum.Enum):
    """What the body of a good answer should be. This decides what an explanation instead of it means."""

    SERVER = "server"
    """A server. A text without an id explains why there is none."""
    ENVELOPE = "envelope"
    """The documented answer to start, stop and reboot: ``status``, ``message``, ``server``."""
    ANYTHING = "anything"
    """The form is unknown, or nothing of it is needed: only an explicit failure counts."""


SUCCESS = frozenset(
    {
        *(
            "accepted",
            "completed",
            "created",
            "deleted",
            "done",
            "in_progress",
            "ok",
            "pending",
            "processing",
        ),
        *(
            "queued",
            "scheduled",
            "started",
            "submitted",
            "success",
            "succeeded",
            "successful",
            "updated",
            "restarted",
        ),
    }
)
"""The page shows only ``success``; the others mean the same in any service."""
_NO = frozenset({"error", "errors", "failed", "failure", "fail", "denied", "rejected", "refused"})
_TEXTS = ("detail", "message", "msg", "reason")


def refused_inside(
    request: Request,
    response: Response,
    redact: Callable[[str], str],
    expected: Expected,
    *,
    status_words: Collection[str] = (),
) -> APIError | None:
    """Return the failure that the body of a 2xx reports; None if it reports none.

    The caller judges a server's record, which has an id and a name. ``status_words`` are words for a server's status,
    in lower case: an answer that shows only such a word is no refusal.
    """
    if response.cut_at is not None or _is_record(response.body):
        return None
    if not _says_no(_json(response.body), expected, status_words):
        return None
    return explained(request, response, redact)


def explained(request: Request, response: Response, redact: Callable[[str], str]) -> APIError:
    """Return a good answer as the failure that it reports, with the text of its body."""
    message = redact(message_of(response.body)) or "the answer reports a failure without a reason"
    text = redact(response.body[: MAX_BODY * 4].decode("utf-8", "replace"))
    return request.about(
        APIError(
            _clip(message, MAX_MESSAGE), status=response.status, body=_clip(text, MAX_BODY), sent=Sent.MAYBE
        )
    )


def _is_record(body: bytes) -> bool:
    """Return whether a body is a server's record and nothing else. That is the usual case, and quickly seen."""
    try:
        marks = read_marks(body)
    except DecodeError:
        return False
    return (
        not (marks.id is None and marks.uuid is None)
        and (isinstance(marks.name, str) or isinstance(marks.hostname, str))
        and marks.success is marks.ok is marks.data is marks.response is None
        and isinstance(marks.status, str)
    )


def _says_no(data: Any, expected: Expected, status_words: Collection[str]) -> bool:
    """Return whether an answer says that its request failed."""
    if isinstance(data, list):
        return _is_texts(data)  # the form of a validation error
    if not isinstance(data, dict):
        return False
    inner = [part for key in ("data", "response", "status") if isinstance(part := data.get(key), dict)]
    if any(_is_false(data.get(key)) for key in ("success", "ok")) or any(
        _says_no(part, Expected.ANYTHING, status_words) for part in inner
    ):
        return True
    has_id = any(data.get(key) is not None for key in ("id", "uuid"))
    if has_id and any(isinstance(data.get(key), str) for key in ("name", "hostname")):
        return False  # a server's record, whose status is its own
    words = [value.casefold() for key in ("status", "result") if isinstance(value := data.get(key), str)]
    codes = [data.get(key) for key in ("status", "code", "status_code")]
    complaints = [value for key, value in data.items() if key.startswith(("error", "non_field_errors"))]
    if any(complaints) or data.get("status") is False or any(map(_is_error_code, codes)):
        return True
    if any(word in _NO for word in words) or (data and all(map(_is_texts, data.values()))):
        return True
    if words and not has_id:
        return not all(word in SUCCESS or word in status_words or word.isdecimal() for word in words)
    if has_id or data.get("server") is not None or expected is Expected.ANYTHING:
        return False
    return any(data.get(key) for key in _TEXTS)


def _is_texts(value: Any) -> bool:
    """Return whether these are the messages about one field."""
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)


def _is_false(value: Any) -> bool:
    return (
        value is False or value == 0 or (isinstance(value, str) and value.casefold() in ("false", "no", "0"))
    )


def _is_error_code(value: Any) -> bool:
    if isinstance(value, str) and value.isdecimal():
        value = int(value[:4])
    return isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600


def _json(body: bytes) -> Any:
    """Return the object or list that a body contains; None for anything else."""
    if body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return loads(body)
    except DecodeError:
        return None


def _object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a body contains; None for anything else."""
    data = _json(body)
    return data if isinstance(data, dict) else None


def read_answer(request: Request, response: Response, read: Callable[[bytes], T]) -> T:
    """Return what ``read`` makes of a good answer. Raises `DecodeError` that names the request."""
    if response.cut_at is not None:
        raise request.about(DecodeError(f"the answer is longer than {response.cut_at} bytes"))
    try:
        return read(response.body)
    except DecodeError as error:
        request.about(error)
        # the frames below hold the raw body, which a traceback with local variables would show
        error.with_traceback(None)
        raise


def sent_of(status: int) -> Sent:
    """Return what an error answer proves about the request.

    A proxy turns a request that was applied into a 5xx if the answer is late or lost, so a 5xx proves nothing. A
    service sends 301, 302 and 303 *after* a POST has worked; 307 and 308 ask to send it elsewhere.
    """
    if status in (301, 302, 303, 408) or status >= 500 or status < 300:
        return Sent.MAYBE
    return Sent.REJECTED


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the answer asks to wait; None if it does not, or not in a valid form.

    A date is compared with the answer's own ``Date``, so that a wrong clock on this machine does not matter.
    """
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,15}(\.\d{1,9})?", value):
        return float(value)
    until, now = http_date(value), http_date(headers.get("date", "").strip())
    if until is None or now is None:
        return None
    return max(0.0, (until - now).total_seconds())


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(r"\w{3}, (\d{2}) (\w{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT")


def http_date(value: str) -> datetime | None:
    """Return the time of a date header; None if it is none."""
    # parsed by hand: the standard library reads the year 0000 as 2000, and strptime depends on the locale
    match = _DATE.fullmatch(value)
    if match is None or match[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(match[n]) for n in (1, 3, 4, 5, 6))
    try:
        return datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def message_of(body: bytes) -> str:
    """Return the readable part of an error body; empty if there is none."""
    text = body.decode("utf-8", "replace").strip()
    if text[:1] in ("{", "[", '"'):
        try:
            return " ".join("; ".join(_lines(loads(body))).split())
        except (DecodeError, RecursionError):
            pass  # cut short, nested too deeply, or not JSON: treated as text
    if text[:1] == "<":
        title = re.search(r"(?i)<title[^<>]*>([^<]*)", text)
        text = title[1] if title else re.sub(r"<[^<>]*>", " ", text)
        text = html.unescape(text)
    return " ".join(text.split())


def _lines(value: Any, field: str = "") -> Iterator[str]:
    """Yield every message in a JSON error body, with the field that it is about."""
    if isinstance(value, dict):
        for key, inner in list(value.items())[:_WORDS_LIMIT]:
            if key in ("status", "status_code", "code") and isinstance(inner, int):
                continue  # repeats the status
            if inner and "password" in key.lower():
                inner = BLANK
            plain = key in ("detail", "message", "error", "errors", "title", "non_field_errors", "msg")
            yield from _lines(inner, field if plain else f"{field}.{key}" if field else str(key))
    elif isinstance(value, list):
        for inner in value[:_WORDS_LIMIT]:
            yield from _lines(inner, field)
    elif value is not None and value != "":
        yield f"{field}: {value}" if field else str(value)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no explanation"


def _origin(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an address that can't be read"
    if not parts.hostname:
        return "another path of the same origin" if location else "nowhere: no Location was given"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme or 'https'}://{host}"


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
