"""Answers that fit in part: identity is read strictly, what only describes a server leniently. Pure.

The id and the status of a server decide what is done with it, so an answer in which they do not fit is an error. Any
other field that does not fit is None, and its place is reported. A time without a zone, or a date without a time, is
read as UTC.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from .codec import UNFIT, Raw, loads, problem_of
from .errors import DecodeError

__all__ = ["fit", "list_beginning", "moment"]

T = TypeVar("T")

MOST_FIELDS = 100
"""Fields of one record that may be unfit: more than any has."""
SHOWN = 65536
"""Bytes of an answer that are read to find out what it is."""


def fit(shape: type[T], body: bytes | Raw, identity: Collection[str]) -> tuple[T, list[str]]:
    """The record in ``body``, and a line for each field that did not fit.

    What msgspec finds unfit is taken out, and the rest is read again. Raises `DecodeError` where a field of
    ``identity`` does not fit, or one is missing that the shape requires.
    """
    data = loads(body)
    problems: list[str] = []
    for _ in range(MOST_FIELDS):
        try:
            return msgspec.convert(data, shape), problems
        except UNFIT as unfit:
            problem = problem_of(unfit)
        # such as $.plan.memory, or $ for the whole
        _, *steps = problem.partition(":")[0].partition("[")[0].split(".")
        if not steps or steps[0] in identity:
            raise DecodeError("the answer does not fit", problems=[problem])
        *outer, field = steps
        part = data
        for step in outer:
            part = part[step]
        at = moment(part[field]) if "datetime" in problem else None
        if at is None:
            problems.append(problem)
            if part[field] is None:
                raise DecodeError("the answer does not fit", problems=[problem])
        part[field] = at
    raise DecodeError("the answer does not fit", problems=problems)


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
