"""The fault matrix as data: each fault, how it is produced, and how a read and a create have to end.

The tests play every row, and compare ``docs/fault-matrix.md`` with it.
"""

from __future__ import annotations

import gzip
import ssl
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import attrs
import pytest
from aiohttp.http_parser import HttpResponseParser, HttpResponseParserPy

from tests.io.endpoints import (
    LONG,
    SERVER,
    Play,
    black_hole,
    bomb,
    closed_port,
    drips,
    fits,
    floods,
    names,
    not_tls,
    raw,
    sends,
    silent_name_server,
    stalls,
    status,
    tls,
    unknown_name,
    warm,
)
from tests.io.raw_server import Line, answer, chunked
from tests.io.skipping import SkippingClock, skip
from vpsorg_async import Client, ServerSpec
from vpsorg_async import errors as e
from vpsorg_async.errors import Sent, VpsOrgError
from vpsorg_async.http.retry import RetryPolicy

__all__ = [
    "ATTEMPTS",
    "CAP",
    "FAULTS",
    "OPERATIONS",
    "PURE_PYTHON",
    "SPEC",
    "TOKEN",
    "Ends",
    "Fault",
    "client",
    "matrix",
]

TOKEN = "vps_CANARY0f9d"
ATTEMPTS = 3
CAP = 256 * 1024
SPEC = ServerSpec(name="web-1", plan_id=1, os_id=5, location="us-west")
PURE_PYTHON = HttpResponseParser is HttpResponseParserPy
"""Whether aiohttp reads responses without its C extension, as it does under ``AIOHTTP_NO_EXTENSIONS=1``."""

OPERATIONS: dict[str, Callable[[Client], Awaitable[object]]] = {
    "list": lambda vps: vps.servers.list(),
    "get": lambda vps: vps.servers.get(1),
    "create": lambda vps: vps.servers.create(SPEC),
    "replace": lambda vps: vps.servers.replace(1, name="a", hostname="a.example", backups_enabled=True),
    "update": lambda vps: vps.servers.update(1, name="a"),
    "delete": lambda vps: vps.servers.delete(1),
    "start": lambda vps: vps.servers.start(1),
    "stop": lambda vps: vps.servers.stop(1),
    "reboot": lambda vps: vps.servers.reboot(1),
    "read": lambda vps: vps.request("GET", "/account/me/"),
    "change": lambda vps: vps.request("POST", "/snapshots/", json={"server_id": 1}),
}
READS = ["list", "get", "read"]
CHANGES = [name for name in OPERATIONS if name not in READS]


async def failing(call: Awaitable[object]) -> Any:
    """Return the error of a call that must fail."""
    with pytest.raises(VpsOrgError) as caught:
        await call
    return caught.value


def client(url: str, **options: Any) -> Client:
    """A client for one call at a time, in skipped time."""
    return Client(
        TOKEN,
        base_url=url,
        clock=SkippingClock(),
        retry=RetryPolicy(attempts=ATTEMPTS, rate_limit_patience=19),
        max_body=CAP,
        max_list_body=CAP,
        **options,
    )


@attrs.frozen
class Ends:
    """How a call ends: its error (None: success), the knowledge of the request, and the number of attempts."""

    error: type[VpsOrgError] | None
    sent: Sent | None = None
    attempts: int = 1
    reason: type[VpsOrgError] | None = None


@attrs.frozen
class Fault:
    """One row. ``heard`` is False where the server never reads a request."""

    name: str
    injected: str
    play: Play = attrs.field(repr=False)
    get: Ends
    create: Ends
    heard: bool = True
    pure: tuple[Ends, Ends] | None = None
    """How it ends with aiohttp's pure-Python parser, where that differs."""

    def __str__(self) -> str:
        return self.name

    def ends(self, operation: str) -> Ends:
        """How a ``get`` or a ``create`` ends with the parser in use."""
        get, create = self.pure if self.pure and PURE_PYTHON else (self.get, self.create)
        return get if operation == "get" else create


Both = tuple[Ends, Ends]


def _ends(read: Ends, create: Ends) -> Both:
    return read, create


def unreached(attempts: int = ATTEMPTS) -> Both:
    """Nothing left: a create is as safe to retry as a read."""
    return _ends(Ends(e.ConnectError, Sent.NO, attempts), Ends(e.ConnectError, Sent.NO, attempts))


def maybe(error: type[VpsOrgError], attempts: int = ATTEMPTS) -> Both:
    """A read is retried as often as allowed; a create is sent once, and its outcome is unknown."""
    return _ends(Ends(error, Sent.MAYBE, attempts), Ends(e.OutcomeUnknownError, Sent.MAYBE, 1, error))


def refused(error: type[VpsOrgError], attempts: int = 1) -> Both:
    """The response proves that nothing was applied."""
    return _ends(Ends(error, Sent.REJECTED, attempts), Ends(error, Sent.REJECTED, attempts))


LOST = maybe(e.ConnectionLostError)
LATE = maybe(e.RequestTimeoutError)
UNFIT = maybe(e.DecodeError, 1)
FOREIGN = maybe(e.TransportError, 1)
FAILED = maybe(e.ServiceError)
WORKS = _ends(Ends(None), Ends(None))

HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED_AND_LONG = OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
TWO_LENGTHS = OK + b"Content-Length: 5\r\nContent-Length: 50\r\n\r\n"
GREETING = b"220 smtp.example ESMTP\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
HINTS = b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
DEEP = b'{"id": 1, "name": "a", "status": "active", "x": ' + b"[" * 3_000_000 + b"]" * 3_000_000 + b"}"
DIGITS = b'{"id": ' + b"9" * 5000 + b', "name": "a", "status": "active"}'
LATIN = b'{"id": 1, "name": "\xff\xfe", "status": "active"}'
NAN = b'{"id": NaN, "name": "a", "status": "active"}'
ENDLESS_400 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000
ELSEWHERE = "Location: http://elsewhere.example/login"
DATES = ("Date: Fri, 10 Jan 2025 14:30:00 GMT", "Retry-After: Fri, 10 Jan 2025 14:30:05 GMT")

GOOD = sends(fits)
HALF = answer(200, SERVER, length=999)
OTHER = answer(200, SERVER.replace(b"web-1", b"another's"))


async def breaks_a_chunk(line: Line) -> None:
    """The C parser closes the connection on this, but the task that waits for the body is ended by the deadline."""
    await line.segment(CHUNKED)
    await line.segment(b"zz\r\n" + SERVER)
    if not PURE_PYTHON:
        skip(LONG)


Row = tuple[str, Play, Both] | tuple[str, Play, Both, Both]


def _body(data: bytes, *headers: str) -> Play:
    return raw(sends(answer(200, data, *headers)))


def _rows(injected: str, rows: Iterable[Row], *, heard: bool = True) -> list[Fault]:
    return [
        Fault(name, injected, play, *ends, heard=heard, pure=pure[0] if pure else None)
        for name, play, ends, *pure in rows
    ]


NOTHING_LEFT = [
    *_rows("a port without a listener", [("connection refused", closed_port, unreached())], heard=False),
    *_rows(
        "a listener with a full queue",
        [("attempts to connect are swallowed", black_hole, unreached())],
        heard=False,
    ),
    *_rows(
        "name look-up replaced",
        [
            ("the name does not exist", names(unknown_name), unreached()),
            ("the name server is silent", names(silent_name_server), unreached()),
        ],
        heard=False,
    ),
    *_rows(
        "trustme",
        [
            ("certificate of an unknown authority", tls(trusted=False), unreached(1)),
            ("certificate of another host", tls(host="other.example"), unreached(1)),
            ("certificate expired", tls(expired=True), unreached(1)),
            ("TLS too old", tls(newest=ssl.TLSVersion.TLSv1_2), unreached()),
        ],
        heard=False,
    ),
    *_rows(
        "raw server",
        [
            ("plain HTTP on the TLS port", not_tls(sends(answer(400))), unreached(1)),
            ("TLS handshake: closed", not_tls(sends(then="close")), unreached()),
            ("TLS handshake: reset", not_tls(sends(then="reset")), unreached()),
            ("TLS handshake: silence", not_tls(lambda line: line.stall()), unreached()),
        ],
        heard=False,
    ),
]

BROKEN_OFF = [
    *_rows(
        "raw server",
        [
            ("reset before the request was read", raw(greet=sends(then="reset")), LOST),
            ("closed before the request was read", raw(greet=sends(then="close")), LOST),
        ],
        heard=False,
    ),
    *_rows(
        "raw server",
        [
            ("reset after the request was read", raw(sends(then="reset")), LOST),
            ("closed after the request was read", raw(sends(then="close")), LOST),
            ("never answers", raw(stalls), LATE),
            ("half the headers, then closed", raw(sends(OK + b"Content-Le", then="close")), LOST),
            ("half the headers, then reset", raw(sends(OK + b"Content-Le", then="reset")), LOST),
            ("half the headers, then silence", raw(sends(OK + b"Content-Le", then="stall")), LATE),
            ("half the body, then closed", raw(sends(HALF, then="close")), LOST),
            ("half the body, then reset", raw(sends(HALF, then="reset")), LOST),
            ("half the body, then silence", raw(sends(HALF, then="stall")), LATE),
            (
                "last chunk missing, then closed",
                raw(sends(CHUNKED + chunked(SERVER, end=False), then="close")),
                LOST,
            ),
            (
                "last chunk missing, then silence",
                raw(sends(CHUNKED + chunked(SERVER, end=False), then="stall")),
                LATE,
            ),
            ("one byte a second", raw(drips), LATE),
            ("reused connection, reset on the next request", warm(GOOD, sends(then="reset")), LOST),
            ("reused connection, closed on the next request", warm(GOOD, sends(then="close")), LOST),
        ],
    ),
]

NOT_HTTP = _rows(
    "raw server",
    [
        ("another protocol", raw(sends(GREETING, then="close")), LOST),
        ("malformed chunk with the headers", raw(sends(CHUNKED + b"zz\r\n" + SERVER, then="close")), LOST),
        ("malformed chunk in a later segment", raw(breaks_a_chunk), LATE, LOST),
        ("length and chunks at once", raw(sends(CHUNKED_AND_LONG, then="close")), LOST),
        ("two lengths", raw(sends(TWO_LENGTHS + SERVER, then="close")), LOST, UNFIT),
        ("a negative length", raw(sends(answer(200, SERVER, length=-5), then="close")), LOST),
        ("a header of 16 KB", raw(sends(answer(200, SERVER, f"X-Long: {'x' * 16_384}"))), LOST),
        ("500 headers", raw(sends(answer(200, SERVER, *(f"X-{n}: x" for n in range(500))))), LOST),
        ("not gzip, though it says so", _body(b"abc", "Content-Encoding: gzip"), LOST),
        ("gzip cut short", _body(gzip.compress(SERVER)[:-12], "Content-Encoding: gzip"), LOST),
    ],
)

UNUSABLE = _rows(
    "raw server",
    [
        ("JSON cut short", _body(SERVER[:-9]), UNFIT),
        ("not UTF-8", _body(LATIN), UNFIT),
        ("NaN", _body(NAN), UNFIT),
        ("3,000,000 brackets", _body(DEEP), UNFIT),
        ("a number of 5,000 digits", _body(DIGITS), UNFIT),
        ("an empty body", _body(b""), UNFIT),
        ("HTML with status 200", _body(HTML, "Content-Type: text/html"), UNFIT),
        ("a body longer than the cap", _body(b" " * (CAP + 1)), UNFIT),
        ("a body without an end", raw(floods), UNFIT),
        ("a coding that was not asked for", _body(b"\x8b\x02\x80{}\x03", "Content-Encoding: br"), FOREIGN),
        ("gzip bomb", raw(lambda line: sends(bomb("gzip"))(line)), UNFIT),
        ("deflate bomb", raw(lambda line: sends(bomb("deflate"))(line)), UNFIT),
    ],
)

STATUSES = _rows(
    "raw server",
    [
        ("400", status(400), refused(e.BadRequestError)),
        ("400 with a body without an end", raw(sends(ENDLESS_400)), refused(e.BadRequestError)),
        ("401", status(401), refused(e.AuthenticationError)),
        ("402", status(402), refused(e.PaymentRequiredError)),
        ("403", status(403), refused(e.PermissionDeniedError)),
        ("404", status(404), refused(e.NotFoundError)),
        ("408", status(408), maybe(e.APIError)),
        ("409", status(409), refused(e.APIError)),
        ("422", status(422), refused(e.APIError)),
        ("429, wait 5 seconds", status(429, "Retry-After: 5"), refused(e.RateLimitError, 4)),
        ("429, wait until a date", status(429, *DATES), refused(e.RateLimitError, 4)),
        ("429, wait for a day", status(429, "Retry-After: 86400"), refused(e.RateLimitError)),
        ("500", status(500), FAILED),
        ("502 in HTML", status(502, body=HTML), FAILED),
        ("503, wait 5 seconds", status(503, "Retry-After: 5"), FAILED),
        ("504 without a body", status(504, body=b""), FAILED),
        ("520", status(520), maybe(e.ServiceError, 1)),
        ("301 to another host", status(301, ELSEWHERE), maybe(e.APIError, 1)),
        ("302 to another host", status(302, ELSEWHERE), maybe(e.APIError, 1)),
        ("303 to another host", status(303, ELSEWHERE), maybe(e.APIError, 1)),
        ("307 to another host", status(307, ELSEWHERE), refused(e.APIError)),
        ("308 to another host", status(308, ELSEWHERE), refused(e.APIError)),
        ("101", raw(sends(SWITCHING)), maybe(e.APIError, 1)),
    ],
)

HARMLESS = _rows(
    "raw server",
    [
        ("an answer byte by byte", raw(sends(*(bytes([byte]) for byte in answer(200, SERVER)))), WORKS),
        ("100 and 103 before the answer", raw(sends(HINTS, answer(200, SERVER))), WORKS),
        ("HTTP/1.0 without a length", raw(sends(b"HTTP/1.0 200 OK\r\n\r\n" + SERVER, then="close")), WORKS),
        ("gzip", _body(gzip.compress(SERVER), "Content-Encoding: gzip"), WORKS),
        ("deflate", _body(zlib.compress(SERVER), "Content-Encoding: deflate"), WORKS),
        ("connection closed after each answer", warm(sends(fits, then="close"), GOOD), WORKS),
        (
            "reused connection, an unsolicited answer",
            warm(sends(fits, OTHER), GOOD),
            WORKS,
        ),
        ("reused connection, 408 while it idled", warm(sends(fits, answer(408)), GOOD), WORKS),
        ("reused connection, garbage while it idled", warm(sends(fits, b"\0\0"), GOOD), WORKS),
    ],
)

FAULTS: list[Fault] = [*NOTHING_LEFT, *BROKEN_OFF, *NOT_HTTP, *UNUSABLE, *STATUSES, *HARMLESS]


KNOWN = {Sent.NO: "not sent", Sent.REJECTED: "refused", Sent.MAYBE: "may have happened", None: ""}


def matrix() -> str:
    """The table of ``docs/fault-matrix.md``."""
    lines = ["| fault | injected by | error | known of it | a read | a create |", "|" + " --- |" * 6]
    for fault in FAULTS:
        read, create, pure = fault.get, fault.create, fault.pure[0] if fault.pure else fault.get
        errors = dict.fromkeys(f"`{end.error.__name__}`" if end.error else "works" for end in (read, pure))
        attempts = dict.fromkeys(_times(end.attempts) for end in (read, pure))
        outcome = ": `OutcomeUnknownError`" if create.reason else ""
        cells = [
            fault.name,
            fault.injected,
            ", pure Python: ".join(errors),
            KNOWN[read.sent],
            ", pure Python: ".join(attempts),
            _times(create.attempts) + outcome,
        ]
        lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    return "\n".join([*lines, ""])


def _times(attempts: int) -> str:
    return "once" if attempts == 1 else f"{attempts} times"


if __name__ == "__main__":
    sys.stdout.write(matrix())
