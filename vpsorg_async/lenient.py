"""Answers that fit in part: identity is read strictly, what only describes a server leniently. Pure.

The id and the status of a server decide what is done with it, so an answer in which they do not fit is an error. Any
other field that does not fit is None, and its place is reported. A time without a zone, or a date without a time, is
read as UTC.
"""

from __future__ import annotations

import functools
import json
import re
import typing
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs
import msgspec

from .codec import UNFIT, Raw, loads, problem_of
from .errors import DecodeError

__all__ = ["fit", "list_beginning", "moment"]

T = TypeVar("T")

SHOWN = 65536
"""Bytes of an answer that are read to find out what it is."""


def fit(shape: type[T], body: bytes | Raw, identity: Collection[str]) -> tuple[T, list[str]]:
    """The record in ``body``, and a line for each field that did not fit.

    Raises `DecodeError` where a field of ``identity`` does not fit. One that is missing is for the shape to judge.
    """
    data = loads(body)
    if not isinstance(data, dict):
        raise DecodeError(
            "the answer does not fit", problems=[f"$: Expected `object`, got `{type(data).__name__}`"]
        )
    problems: list[str] = []
    return _fit(shape, data, "$", identity, problems), problems


def _fit(
    shape: type[T], data: dict[str, Any], place: str, identity: Collection[str], problems: list[str]
) -> T:
    values: dict[str, Any] = {}
    for field, hint, part in _fields(typing.cast(Any, shape)):
        name = field.name
        if name not in data:
            if field.default is attrs.NOTHING:
                raise DecodeError("the answer does not fit", problems=[f"{place}.{name}: missing"])
            continue
        value, where = data[name], f"{place}.{name}"
        try:
            values[name] = msgspec.convert(value, hint)
        except UNFIT as unfit:
            problem = problem_of(unfit).replace("$", where, 1)
        else:
            continue
        if name in identity:
            raise DecodeError("the answer does not fit", problems=[problem])
        if part is datetime and (at := moment(value)) is not None:
            values[name] = at
            continue
        if part is not None and attrs.has(part) and isinstance(value, dict):
            values[name] = _fit(part, value, where, (), problems)
            continue
        values[name] = None if field.default is attrs.NOTHING else field.default
        problems.append(problem)
    return shape(**values)


@functools.cache
def _fields(shape: Any) -> tuple[tuple[attrs.Attribute[Any], Any, Any], ...]:
    """Each field with its type, and the record or time that this type allows, if it does."""
    hints = typing.get_type_hints(shape, include_extras=True)
    found = []
    for field in attrs.fields(shape):
        hint = hints[field.name]
        parts = [getattr(part, "__origin__", part) for part in (*typing.get_args(hint), hint)]
        part = next((p for p in parts if p is datetime or (isinstance(p, type) and attrs.has(p))), None)
        found.append((field, hint, part))
    return tuple(found)


def moment(value: object) -> datetime | None:
    """A time as any service may write it, in UTC where it names no zone; None where it can't be read."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


_RESULTS = re.compile(rb'"results"\s*:\s*\[\s*')


def list_beginning(body: bytes) -> dict[str, Any] | None:
    """The first row of a list answer, or the only record, as plain data; None where there is none to be read.

    Reads no further than that row, however long the answer is.
    """
    text = body[:SHOWN].lstrip()
    found = _RESULTS.search(text)
    start = found.end() if found else 1 if text[:1] == b"[" else 0
    try:
        row, _ = json.JSONDecoder().raw_decode(text[start:].lstrip().decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
