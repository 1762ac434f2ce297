"""Spans of time as people type them: ``6h``, ``1h30m``, ``2d``. Pure."""

from __future__ import annotations

import re
from datetime import timedelta

from ..errors import ConfigurationError

__all__ = ["read_span", "span_text"]

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
"""Seconds of each unit, the largest first."""
_SPAN = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in _UNITS))
_MOST = 100 * 365 * 86_400


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


def span_text(span: timedelta) -> str:
    """Return a span with its two largest units, rounded down: ``3d4h``, ``25m10s``, ``0s``."""
    seconds = max(int(span.total_seconds()), 0)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        number, seconds = divmod(seconds, size)
        if number or parts:
            parts.append(f"{number}{unit}" if number else "")
    return "".join(parts[:2]) or "0s"
