"""JSON to records and back. Pure: bytes in, records out, or a `DecodeError` with paths.

msgspec decodes the wire directly into the attrs records and is strict: ``"12"`` is not 12, null is not ``"None"``,
``"false"`` is not True. Unknown keys are ignored. `lenient` reads what does not fit again, field by field. cattrs turns
specs into JSON objects, and spec files into specs. It is as strict, and treats an unknown key as an error.
"""

from __future__ import annotations

import contextlib
import functools
import json
import typing
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import attrs
import msgspec

from .errors import ConfigurationError, DecodeError
from .records import ServerStatus
from .specs import ServerSpec

__all__ = [
    "UNFIT",
    "Decoder",
    "Raw",
    "StatusRow",
    "check_density",
    "dumps",
    "loads",
    "problem_of",
    "read_marks",
    "read_specs",
    "unstructure",
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


@functools.cache
def _converter() -> Any:
    # cattrs takes longer to import than the rest of this package, so it is imported with the first spec
    import cattrs
    from cattrs.gen import make_dict_unstructure_fn

    converter = cattrs.Converter()
    converter.register_unstructure_hook_factory(
        attrs.has, lambda cls: make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
    )
    return converter


def unstructure(record: Any) -> dict[str, Any]:
    """Return the JSON object of an attrs record, without the fields that have their defaults."""
    data: dict[str, Any] = _converter().unstructure(record)
    return data


def read_specs(data: object) -> list[ServerSpec]:
    """Read specs from plain data, as a TOML or JSON file contains them.

    The data is a list of objects, or an object with ``servers`` (such a list) and, optionally, ``defaults`` for all of
    them. Reading is strict: ``"12"`` is not 12, and a key that is not a field of `ServerSpec` is refused. Raises
    `ConfigurationError` with a line such as ``$.servers[2].plan_id: expected an integer or a string, not true`` for
    each problem.
    """
    table: Mapping[str, Any] = data if isinstance(data, dict) else {"servers": data}
    rows, defaults = table.get("servers"), table.get("defaults", {})
    base = "$.servers" if table is data else "$"
    problems = [
        f"$.{key}: unknown; known are servers and defaults"
        for key in table
        if key not in ("servers", "defaults")
    ]
    if not isinstance(defaults, dict):
        problems.append("$.defaults: expected a table")
    if not isinstance(rows, list):
        problems.append(
            f"{base}: expected a list of servers" + ("" if "servers" in table else ", found none")
        )
    elif not rows:
        problems.append(f"{base}: the list is empty")
    specs: list[ServerSpec] = []
    for index, row in enumerate(rows if isinstance(rows, list) and not problems else ()):
        place = f"{base}[{index}]"
        if not isinstance(row, dict):
            problems.append(f"{place}: expected a table")
            continue
        for problem in _spec_problems({**defaults, **row}, place, specs):
            field = problem.removeprefix(f"{place}.").partition(":")[0]
            if field in defaults and field not in row:
                problem = problem.replace(place, "$.defaults", 1)
            if problem not in problems:
                problems.append(problem)
    if problems:
        more = f" and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise ConfigurationError("\n".join(problems[:MAX_PROBLEMS]) + more)
    return specs


_SHAPES = {int: "an integer", str: "a string", bool: "true or false", type(None): "nothing"}


@functools.cache
def _spec_converter() -> Any:
    import cattrs
    from cattrs.gen import make_dict_structure_fn

    converter = cattrs.Converter(forbid_extra_keys=True)

    def strict(value: object, wanted: Any) -> object:
        kinds = typing.get_args(wanted) or (wanted,)
        if type(value) not in kinds:
            names = " or ".join(_SHAPES[kind] for kind in kinds if kind is not type(None))
            raise ConfigurationError(f"expected {names}, not {json.dumps(value, default=str)}")
        return value

    def is_tuple(wanted: Any) -> bool:
        origin: Any = typing.get_origin(wanted)
        return origin is tuple

    converter.register_structure_hook_func(
        lambda wanted: all(kind in _SHAPES for kind in typing.get_args(wanted) or (wanted,)), strict
    )
    for kind in _SHAPES:
        # cattrs' own hooks for these types convert, and take precedence over hook functions
        converter.register_structure_hook(kind, strict)
    converter.register_structure_hook_func(is_tuple, _strict_tuple(strict))
    converter.register_structure_hook(
        ServerSpec, make_dict_structure_fn(ServerSpec, converter, _cattrs_forbid_extra_keys=True)
    )
    return converter


def _strict_tuple(strict: Callable[[object, Any], object]) -> Callable[[object, Any], tuple[object, ...]]:
    def structure(value: object, wanted: Any) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise ConfigurationError(f"expected a list, not {json.dumps(value, default=str)}")
        return tuple(strict(item, typing.get_args(wanted)[0]) for item in value)

    return structure


def _spec_problems(row: dict[str, Any], place: str, specs: list[ServerSpec]) -> list[str]:
    """Read one row into ``specs``, or return its problems as lines with their paths."""
    from cattrs import transform_error
    from cattrs.errors import ForbiddenExtraKeysError

    def say(error: BaseException, _: Any) -> str:
        if isinstance(error, ForbiddenExtraKeysError):
            known = ", ".join(field.name for field in attrs.fields(ServerSpec))
            return f"unknown: {', '.join(sorted(error.extra_fields))}; known are {known}"
        return "missing" if isinstance(error, KeyError) else str(error)

    # ids of either dialect are allowed, but an id of digits was meant as a number
    problems = [
        f"{place}.{name}: expected an integer, not {json.dumps(value)}"
        for name, value in row.items()
        if name.endswith("_id") and isinstance(value, str) and value.isdecimal()
    ]
    if problems:
        return problems
    try:
        specs.append(_spec_converter().structure(row, ServerSpec))
    except Exception as unfit:
        lines = [line.rpartition(" @ ") for line in transform_error(unfit, place, say)]
        return [f"{where}: {what}" for what, _, where in lines]
    return []
