"""Validators for faults: they raise `FaultError`, which names the field, for bad Python and bad JSON alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from attrs import Attribute

from .errors import FaultError

Validator: TypeAlias = Callable[[object, "Attribute[Any]", Any], None]


def _check(reason: str, test: Callable[[Any], bool]) -> Validator:
    def validate(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if not test(value):
            raise FaultError(attribute.name, f"must be {reason}")

    return validate


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_line(value: object) -> bool:
    # A line break would let one header become two.
    return isinstance(value, str) and value != "" and value.isprintable() and value.isascii()


def _is_headers(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    pairs = cast("Mapping[object, object]", value).items()
    return all(_is_line(name) and _is_line(content) for name, content in pairs)


seconds = _check("a number of seconds >= 0", lambda value: _is_number(value) and value >= 0)
share = _check("a number over 0, at most 1", lambda value: _is_number(value) and 0 < value <= 1)
count = _check("a whole number >= 1", lambda value: _is_whole(value) and value >= 1)
status = _check("a status code, 200 to 599", lambda value: _is_whole(value) and 200 <= value <= 599)
server_id = _check(
    "the id of a server, a whole number >= 1 or a text",
    lambda value: (_is_whole(value) and value >= 1) or (isinstance(value, str) and value != ""),
)
boolean = _check("true or false", lambda value: isinstance(value, bool))
text = _check("a text that is not empty", lambda value: isinstance(value, str) and value != "")
line = _check("one line of printable ASCII", _is_line)
headers = _check("an object of header names and values, each one line of printable ASCII", _is_headers)
retry_after = _check(
    "a number of seconds >= 0, one line of text, or null",
    lambda value: value is None or _is_line(value) or (_is_number(value) and value >= 0),
)


def choice(*words: object) -> Validator:
    """One of these."""
    # By type as well: True is no 1, and 301.0 no 301.
    return _check(
        f"one of {', '.join(map(str, words))}",
        lambda value: any(type(value) is type(word) and value == word for word in words),
    )


def optional(inner: Validator) -> Validator:
    """None, or what `inner` takes."""

    def validate(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if value is not None:
            inner(owner, attribute, value)

    return validate
