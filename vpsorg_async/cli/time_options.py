"""Options that are spans of time: a number of seconds, or a span such as 5m or 1h30m."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, Token

from .ages import read_seconds, seconds_text

__all__ = ["OptionalSeconds", "Seconds", "Settle", "Timeout", "WaitTimeout"]


def _read(_type: Any, tokens: Sequence[Token]) -> float:
    (token,) = tokens
    return read_seconds(token.value, "it")  # the parser names the option


_SPAN = Parameter(converter=_read, metavar="TIME", allow_leading_hyphen=True)

Seconds = Annotated[float, _SPAN, Parameter(show_default=seconds_text)]
"""A number of seconds."""
OptionalSeconds = Annotated[float | None, _SPAN]
"""The same, or None."""
Timeout = Annotated[
    Seconds,
    Parameter(
        name="--timeout",
        help="Time for each server, from its command on: seconds, or a span such as 5m or 1h30m.",
    ),
]
WaitTimeout = Annotated[
    Seconds,
    Parameter(name="--timeout", help="Maximum of the wait: seconds, or a span such as 5m or 1h30m."),
]
Settle = Annotated[
    Seconds,
    Parameter(
        name="--settle",
        help="Time for which a create without an answer is searched for; longer than lists lag behind.",
    ),
]
