"""Requests that the package does not model: `Client.request` and `Client.send`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .codec import dumps, loads
from .config import API_PREFIX
from .errors import ConfigurationError, OutcomeUnknownError, RequestTimeoutError, is_cut_short
from .http.exchange import Operation, Request, Response
from .http.reply import read_answer
from .http.senders import Sender

__all__ = ["raw_request", "read_raw", "send_raw"]

_OPERATIONS: Mapping[str, Operation] = {
    "GET": Operation.READ,
    "PUT": Operation.REPLACE,
    "DELETE": Operation.DELETE,
    "POST": Operation.CHANGE,
    "PATCH": Operation.CHANGE,
}


def raw_request(method: str, path: str, json: Any) -> Request:
    """Return the request for a method, a path and a JSON body (None: no body). Raises `ConfigurationError`."""
    verb = method.upper() if isinstance(method, str) else ""
    if verb not in _OPERATIONS:
        raise ConfigurationError(f"method is one of {', '.join(_OPERATIONS)}, not {method!r}")
    if (
        not isinstance(path, str)
        or not path.startswith("/")
        or path.startswith("//")
        or not path.isprintable()
        or "#" in path
    ):
        raise ConfigurationError(f"path begins with one slash and has no fragment, not {path!r}")
    try:
        body = None if json is None else dumps(json)
    except (TypeError, ValueError, RecursionError) as unfit:
        raise ConfigurationError(f"the body can't be written as JSON: {unfit}") from None
    full = path if path.startswith("/api/") else API_PREFIX + path
    return Request(_OPERATIONS[verb], verb, full, body)


async def send_raw(session: Sender, request: Request) -> Response:
    """Send a request as data.

    Raises:
        OutcomeUnknownError: The call's deadline passed after a change may have been applied.
        TransportError: No usable answer came.
        APIError: The API refused, or failed.
    """
    try:
        return await session.send(request)
    except RequestTimeoutError as late:
        if request.method == "GET" or not is_cut_short(late):
            raise
        what = (
            f"the outcome of {request} is unknown ({late.args[0]}): check the account before sending it again"
        )
        raise OutcomeUnknownError(what, request=str(request), reason=late) from late


def read_raw(request: Request, response: Response) -> Any:
    """Return the decoded JSON of the answer; None for an empty body. Raises `APIError` and `DecodeError`."""
    return read_answer(request, response, lambda body: loads(body) if body.strip() else None)
