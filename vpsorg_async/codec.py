"""JSON to records and back. Pure: bytes in, records out, or a `DecodeError` with paths.

msgspec reads the wire straight into the attrs records and is strict: ``"12"`` is not 12, null is not ``"None"``,
``"false"`` is not True. Unknown keys are ignored. cattrs turns specs into JSON objects.
"""

from __future__ import annotations

import functools
import json
from typing import Any, Generic, TypeVar

import attrs
import msgspec

from .errors import DecodeError

__all__ = ["Decoder", "dumps", "loads", "unstructure"]

T = TypeVar("T")

MAX_PROBLEMS = 10

# RecursionError: nesting beyond any sense; ValueError: a number of thousands of digits; both come from the network.
_UNFIT = (msgspec.MsgspecError, RecursionError, ValueError)

_decode = msgspec.json.Decoder().decode


def dumps(value: object) -> bytes:
    """JSON for a request body. Raises `TypeError` or `ValueError` for what JSON can't hold."""
    # not by msgspec, which writes null for NaN and base64 for bytes without a word
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def loads(body: bytes) -> Any:
    """Any JSON, untyped. Raises `DecodeError`."""
    try:
        return _decode(body)
    except _UNFIT as unfit:
        problem = _line(unfit)
    raise DecodeError("the answer is not JSON", problems=[problem])


class Decoder(Generic[T]):
    """Reads one shape of answer, over and over."""

    def __init__(self, shape: Any) -> None:
        self._shape = shape
        self._decode = msgspec.json.Decoder(shape).decode

    def __call__(self, body: bytes) -> T:
        """The record in ``body``. Raises `DecodeError` naming where and why it does not fit."""
        try:
            return self._decode(body)  # type: ignore[no-any-return]
        except _UNFIT as unfit:
            first = _line(unfit)
        raise DecodeError("the answer does not fit", problems=_explain(self._shape, body, first))


def _line(unfit: Exception) -> str:
    """msgspec's sentence, with the path in front. The offending values are never in it."""
    if isinstance(unfit, RecursionError):
        return "$: nested too deeply"
    what, _, path = str(unfit).rpartition(" - at `")
    return f"{path[:-1]}: {what}" if what else f"$: {unfit}"


def _explain(shape: Any, body: bytes, first: str) -> list[str]:
    """All problems of a list answer with their places: msgspec stops at the first and does not count rows."""
    try:
        data = _decode(body)
    except _UNFIT:
        return [first]
    rows, base = (data, "$") if isinstance(data, list) else (None, "$")
    if isinstance(data, dict) and isinstance(data.get("results"), list):
        rows, base = data["results"], "$.results"
    item = _row_of(shape)
    if rows is None or item is None:
        return [first]
    problems: list[str] = []
    for index, row in enumerate(rows):
        try:
            msgspec.convert(row, item)
        except _UNFIT as unfit:
            problems.append(_line(unfit).replace("$", f"{base}[{index}]", 1))
        if len(problems) == MAX_PROBLEMS:
            break
    return problems or [first]


def _row_of(shape: Any) -> Any:
    """The record of one row, for shapes that are ``list[Row]`` or hold ``results: list[Row]``."""
    for candidate in getattr(shape, "__args__", None) or (shape,):
        if getattr(candidate, "__origin__", None) is list:
            return candidate.__args__[0]
    return None


@functools.cache
def _converter() -> Any:
    # cattrs takes longer to import than the rest of this package: paid at the first spec, not at import
    import cattrs
    from cattrs.gen import make_dict_unstructure_fn

    converter = cattrs.Converter()
    converter.register_unstructure_hook_factory(
        attrs.has, lambda cls: make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True)
    )
    return converter


def unstructure(record: Any) -> dict[str, Any]:
    """The JSON object of an attrs record, without the fields left at their defaults."""
    data: dict[str, Any] = _converter().unstructure(record)
    return data
