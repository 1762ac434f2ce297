"""Answers that fit only in part: identity is read strictly, descriptive fields leniently. Pure.

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
"""The maximum of unfit fields in one record: more than any record has."""
SHOWN = 65536
"""The number of bytes of an answer that are read to recognise it."""


def fit(shape: type[T], body: bytes | Raw, identity: Collection[str]) -> tuple[T, list[str]]:
    """Read the record in ``body``, and return it with a line for each field that did not fit.

    What msgspec rejects is removed, and the rest is read again. Raises `DecodeError` if a field of ``identity`` does
    not fit, or if a field that the shape requires is missing.
    """
    data = loads(body)
    problems: list[str] = []
    for _ in range(MOST_FIELDS):
        try:
            return msgspec.convert(data, shape), problems
        except UNFIT as unfit:
            problem = problem_of(unfit)
        # for example $.plan.memory, or $ for the whole
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
    """Read a time in any usual form, in UTC if it names no zone; None if it can't be read."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


_RESULTS = re.compile(rb'"results"\s*:\s*\[\s*')


def list_beginning(body: bytes) -> dict[str, Any] | None:
    """Return the first row of a list answer, or the only record, as plain data; None if there is none.

    It reads no further than that row, however long the answer is.
    """
    text = body[:SHOWN].lstrip()
    found = _RESULTS.search(text)
    start = found.end() if found else 1 if text[:1] == b"[" else 0
    try:
        row, _ = json.JSONDecoder().raw_decode(text[start:].lstrip().decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
