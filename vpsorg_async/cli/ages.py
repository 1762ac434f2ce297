"""Spans of time as people type them: ``6h``, ``1h30m``, ``2d``. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

from ..config import check_seconds
from ..errors import ConfigurationError

__all__ = ["read_seconds", "read_span", "seconds_text", "span_text"]

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Seconds of each unit, the largest first."""
_SPAN = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS))
_MOST = 100 * 365 * 86_400
_LONGEST = 80
"""Characters of a miswritten span that are repeated."""


def read_span(text: str, flag: str) -> timedelta:
    """Return the span that a text means: numbers with units, the largest unit first, each once.

    Raises:
        ConfigurationError: The text is no span, or it is 0 or longer than a century; the message names the flag.

    Example:
        ``read_span("1h30m", "--older-than")``
    """
    found = _SPAN.fullmatch(text.strip().lower())
    given = {} if found is None else {unit: number for unit, number in found.groupdict().items() if number}
    if not given:
        raise ConfigurationError(
            f"{flag} is a span such as 6h, 1h30m or 2d (units: {', '.join(_UNITS)}), not {text!r}"
        )
    seconds = sum(int(number) * _UNITS[unit] for unit, number in given.items())
    if not 0 < seconds <= _MOST:
        raise ConfigurationError(f"{flag} is a span from 1s to 100 years, not {text!r}")
    return timedelta(seconds=seconds)


def read_seconds(text: str, flag: str) -> float:
    """Return the seconds that a text means: a number, or a span such as ``5m`` or ``1h30m``.

    Raises:
        ConfigurationError: It is neither, or it is negative or not finite; the message names the flag.
    """
    try:
        number = float(text)
    except ValueError:
        number = None
    if number is not None:
        return check_seconds(number, flag, zero=True)
    try:
        return read_span(text, flag).total_seconds()
    except ConfigurationError:
        raise ConfigurationError(
            f"{flag} is a number of seconds, or a span such as 90s, 5m or 1h30m, not {text[:_LONGEST]!r}"
        ) from None


def seconds_text(seconds: float) -> str:
    """Return seconds as `read_seconds` reads them: ``5m``, ``1h30m``; a part of a second as a number."""
    if seconds != int(seconds) or seconds < 1:
        return f"{seconds:g}"
    left, text = int(seconds), ""
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        text += f"{number}{unit}" if number else ""
    return text


def span_text(span: timedelta) -> str:
    """Return a span with its two largest units, rounded down: ``3d4h``, ``25m10s``, ``0s``."""
    seconds = max(int(span.total_seconds()), 0)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        number, seconds = divmod(seconds, size)
        if number or parts:
            parts.append(f"{number}{unit}" if number else "")
    return "".join(parts[:2]) or "0s"
