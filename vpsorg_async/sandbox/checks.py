"""Validators for faults: they raise `FaultError`, which names the field, for bad Python and bad JSON alike."""

from __future__ import annotations

import json
import math
import re
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
    # A line break would split one header into two.
    return isinstance(value, str) and value != "" and value.isprintable() and value.isascii()


def _is_text(value: object) -> bool:
    # A lone surrogate can't be encoded.
    return isinstance(value, str) and value.encode("utf-8", "ignore").decode() == value


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _matches(value: object, pattern: str) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_headers(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    pairs = cast("Mapping[object, object]", value).items()
    return all(_is_line(name) and _is_line(content) for name, content in pairs)


seconds: Validator = _check("a number of seconds >= 0", lambda value: _is_number(value) and value >= 0)
share: Validator = _check("a number over 0, at most 1", lambda value: _is_number(value) and 0 < value <= 1)
count: Validator = _check("a whole number >= 1", lambda value: _is_whole(value) and value >= 1)
index: Validator = _check("a whole number >= 0", lambda value: _is_whole(value) and value >= 0)
status: Validator = _check(
    "a status code, 200 to 599", lambda value: _is_whole(value) and 200 <= value <= 599
)
good_status: Validator = _check(
    "a status code that has a body, 200 to 299 but for 204 and 205",
    lambda value: _is_whole(value) and 200 <= value <= 299 and value not in (204, 205),
)
server_id: Validator = _check(
    "the id of a server, a whole number >= 1 or a text",
    lambda value: (_is_whole(value) and value >= 1) or (isinstance(value, str) and value != ""),
)
boolean: Validator = _check("true or false", lambda value: isinstance(value, bool))
text: Validator = _check("a text that is not empty", lambda value: isinstance(value, str) and value != "")
any_text: Validator = _check("a text", _is_text)
json_value: Validator = _check("a value that JSON can hold", _is_json)
field_path: Validator = _check(
    "1 to 50 names of fields with dots in between, such as plan.memory",
    lambda value: _matches(value, r"[^.]+(\.[^.]+){0,49}"),
)
path_prefix: Validator = _check(
    "empty, or a path such as /internal/v2, without a slash at its end",
    lambda value: value == "" or (_is_line(value) and _matches(value, r"(/[^/?# ]+)+")),
)
line: Validator = _check("one line of printable ASCII", _is_line)
headers: Validator = _check(
    "an object of header names and values, each one line of printable ASCII", _is_headers
)
retry_after: Validator = _check(
    "a number of seconds >= 0, one line of text, or null",
    lambda value: value is None or _is_line(value) or (_is_number(value) and value >= 0),
)


def choice(*words: object) -> Validator:
    """Return a validator that accepts only these values."""
    # Types are compared too: True is not 1, and 301.0 is not 301.
    return _check(
        f"one of {', '.join(map(str, words))}",
        lambda value: any(type(value) is type(word) and value == word for word in words),
    )


def optional(inner: Validator) -> Validator:
    """Return a validator that accepts None, and what `inner` accepts."""

    def validate(owner: object, attribute: Attribute[Any], value: Any) -> None:
        if value is not None:
            inner(owner, attribute, value)

    return validate
