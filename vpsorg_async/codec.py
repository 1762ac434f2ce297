"""JSON to records and back. Pure: bytes in, records out, or a `DecodeError` with paths.

msgspec decodes the wire directly into the attrs records and is strict: ``"12"`` is not 12, null is not ``"None"``,
``"false"`` is not True. Unknown keys are ignored. `lenient` reads what does not fit again, field by field. Specs and
plain data are read and written by `conversion`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from .errors import DecodeError
from .records import ServerStatus

__all__ = [
    "UNFIT",
    "Decoder",
    "Raw",
    "StatusRow",
    "check_density",
    "dumps",
    "encode",
    "loads",
    "problem_of",
    "read_marks",
]

T = TypeVar("T")

MAX_PROBLEMS = 10
SOME_ROWS = 200
"""The number of rows that are read together if only a few do not fit."""
SAMPLE = 4096
"""The size in bytes of each sample by which `check_density` judges a list."""
SAMPLES = 16

# RecursionError: nested too deeply; ValueError: a number of thousands of digits; both come from the network
UNFIT = (msgspec.MsgspecError, RecursionError, ValueError)

_decode = msgspec.json.Decoder().decode
# not msgspec, which silently writes null for NaN and base64 for bytes
_encode_checked = msgspec.json.Encoder().encode
_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode

Raw = msgspec.Raw
"""A part of an answer that is decoded later."""


class StatusRow(msgspec.Struct, frozen=True, gc=False):
    """What a poll needs of a server. A poll of ten thousand servers decodes only these: a tenth of the time.

    It is no attrs record, because thousands of these must be created and compared at little cost.
    """

    id: int | str
    status: ServerStatus
    updated_at: datetime | None = None


def dumps(value: object) -> bytes:
    """Encode a request body as JSON. Raises `TypeError` or `ValueError` for what JSON can't represent."""
    return _encode(value).encode()


def encode(fields: Mapping[str, str | int | bool]) -> bytes:
    """Encode a request body of checked values: a tenth of the time of `dumps`, which checks them itself."""
    try:
        return _encode_checked(fields)
    except TypeError:
        return dumps(fields)  # a subclass of str or int, which msgspec refuses


def loads(body: bytes) -> Any:
    """Decode any JSON, untyped. Raises `DecodeError`."""
    try:
        return _decode(body)
    except UNFIT as unfit:
        problem = problem_of(unfit)
    raise DecodeError("the answer is not JSON", problems=[problem])


class Decoder(Generic[T]):
    """Decodes answers of one shape."""

    def __init__(self, shape: Any) -> None:
        self._shape = shape
        self._decode = msgspec.json.Decoder(shape).decode

    def __call__(self, body: bytes | Raw) -> T:
        """Return the record in ``body``. Raises `DecodeError` with the first problem, without the number of its row."""
        try:
            return self._decode(body)  # type: ignore[no-any-return]
        except UNFIT as unfit:
            problem = problem_of(unfit)
        raise DecodeError("the answer does not fit", problems=[problem])

    def explain(self, error: DecodeError, body: bytes) -> None:
        """Put all problems of a list into its error, with their places. This costs as much as reading the list."""
        error.problems = tuple(_explain(self._shape, body, error.problems[0]))


class _Marks(msgspec.Struct, gc=False):
    """What tells a server's record from a refusal, whatever else an object has."""

    id: Any = None
    uuid: Any = None
    name: Any = None
    hostname: Any = None
    success: Any = None
    ok: Any = None
    data: Any = None
    response: Any = None
    status: Any = None


read_marks: Decoder[_Marks] = Decoder(_Marks)
"""Reads these few fields of an answer, in a third of the time of the whole."""


def problem_of(unfit: Exception) -> str:
    """Return msgspec's sentence after its path. It never contains the offending values."""
    if isinstance(unfit, RecursionError):
        return "$: nested too deeply"
    what, _, path = str(unfit).rpartition(" - at `")
    return f"{path[:-1]}: {what}" if what else f"$: {unfit}"


def check_density(body: bytes | Raw) -> None:
    """Raise `DecodeError` for a list whose rows are too short to be servers, before it is decoded.

    Sixty megabytes of ``{}`` are twenty million rows, and gigabytes of memory. The shortest row with an id and a status
    has 21 bytes.
    """
    text = memoryview(body)
    if len(text) <= 4 * SAMPLE:
        return
    for start in range(0, len(text) - SAMPLE, len(text) // SAMPLES):
        sample = bytes(text[start : start + SAMPLE])
        if sample.count(b"{") > SAMPLE // 16 or sample.count(b",") + sample.count(b"[") > SAMPLE // 6:
            raise DecodeError("the answer does not fit", problems=["$: its rows are too short to be servers"])


class _Rows(msgspec.Struct):
    results: list[Raw]


_rows = msgspec.json.Decoder(_Rows | list[Raw]).decode


def _explain(shape: Any, body: bytes | Raw, first: str) -> list[str]:
    """Return the problems of a list answer with their places: msgspec stops at the first and does not count rows."""
    item = _row_of(shape)
    if item is None:
        return [first]
    try:
        check_density(body)
        found = _rows(body)
    except (*UNFIT, DecodeError):
        return [first]
    rows, base = (found, "$") if isinstance(found, list) else (found.results, "$.results")
    decode, many = (
        msgspec.json.Decoder(item).decode,
        msgspec.json.Decoder(list.__class_getitem__(item)).decode,
    )
    problems: list[str] = []
    for start in range(0, len(rows), SOME_ROWS):
        some = rows[start : start + SOME_ROWS]
        with contextlib.suppress(*UNFIT):
            many(b"[" + b",".join(some) + b"]")
            continue  # all of them fit, so none is read alone
        for index, row in enumerate(some, start):
            try:
                decode(row)
            except UNFIT as unfit:
                problems.append(problem_of(unfit).replace("$", f"{base}[{index}]", 1))
            if len(problems) == MAX_PROBLEMS:
                return problems
    return problems or [first]


def _row_of(shape: Any) -> Any:
    """Return the record of one row, for shapes that are ``list[Row]`` or have ``results: list[Row]``."""
    for candidate in getattr(shape, "__args__", None) or (shape,):
        if getattr(candidate, "__origin__", None) is list:
            return candidate.__args__[0]
    return None
