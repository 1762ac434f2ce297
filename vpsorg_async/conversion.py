"""Records and errors to plain data and back, by the types of their fields. Pure.

Plain data is what JSON can hold: objects, lists, strings, numbers, true, false and null. A record becomes an object
without the fields that have their defaults; a value that can be one of several classes also has the name of its class
as ``type``. Times become ISO strings with a zone, decimals strings, and enums their values.

Reading is strict: ``"12"`` is not 12, and an unknown key is a problem. cattrs does the work; `codec` reads answers.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

from .error_records import ERRORS, error_of, record_class, record_of
from .errors import ConfigurationError, VpsOrgError
from .lenient import moment

__all__ = ["check_depth", "raise_problems", "read", "try_read", "unstructure"]

MAX_PROBLEMS = 10
MAX_DEPTH = 50
"""Objects and lists inside each other. A report has five, and each failure that an error names adds one or two."""
MAX_BITS = 10_000
"""Of an integer: Python refuses to print one that is not much longer."""
MAX_DIGITS = 100
"""Of a decimal, before and after the point: printing a huge exponent could take all memory."""

_NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
_PRIMITIVES = {*_NAMES, types.NoneType}
_UNIONS = (typing.Union, types.UnionType)


def unstructure(value: Any, wanted: Any = None, *, passwords: bool = True) -> dict[str, Any]:
    """Return a record as a plain object. Raises `ConfigurationError` for what can't be plain data.

    Args:
        value: The record. Its class, and those of all that it holds, must be exactly those of its fields.
        wanted: A union of the classes that it can have; None for its own class, so that it needs no ``type``.
        passwords: Whether to include passwords: the fields that are not in the ``repr`` of their record.
    """
    try:
        plain: dict[str, Any] = _converter(passwords).unstructure(value, wanted)
        check_depth(plain)
    except RecursionError:
        raise ConfigurationError(f"a {type(value).__name__} is nested too deeply") from None
    return plain


def read(data: object, wanted: Any, place: str = "$") -> Any:
    """Return the value of type ``wanted`` that the data holds.

    Raises `ConfigurationError` with a line such as ``$.timeline[2].at: expected a number, not "1"`` for each problem.
    """
    check_depth(data)
    value, problems = try_read(data, wanted, place)
    raise_problems(problems)
    return value


def check_depth(data: object) -> None:
    """Raise `ConfigurationError` for data that is nested too deeply, or contains itself."""
    level = _containers([data])
    for _ in range(MAX_DEPTH):
        if not level:
            return
        parts = (part.values() if isinstance(part, dict) else part for part in level)
        level = _containers(item for part in parts for item in part)
    raise ConfigurationError("$: nested too deeply")


def _containers(items: Iterable[object]) -> Collection[Any]:
    """Return the objects and lists among these, each once: one that many places share is checked once."""
    return {id(item): item for item in items if isinstance(item, dict | list)}.values()


@functools.cache
def _converter(passwords: bool) -> Any:
    # cattrs takes longer to import than the rest of this package, so it is imported when it is first needed
    import cattrs

    converter = cattrs.Converter()
    # cattrs prefers hooks of a class, and takes an enum of strings for a string, so that it needs no hook of its own
    for kind in (*_PRIMITIVES, enum.Enum):
        converter.register_structure_hook(kind, _read_scalar)
    converter.register_structure_hook(datetime, _read_time)
    converter.register_structure_hook(Decimal, _read_decimal)
    converter.register_structure_hook_func(_is_primitive_union, _read_scalar)
    converter.register_structure_hook_func(_is_text_or_function, lambda value, _: _read_scalar(value, str))
    converter.register_structure_hook_factory(_is_list, _list_reader)
    converter.register_structure_hook_factory(attrs.has, _record_reader)
    converter.register_structure_hook_factory(_is_tagged, _tagged_reader)
    for kind in _PRIMITIVES:
        converter.register_unstructure_hook(kind, functools.partial(_write_scalar, kind))
    converter.register_unstructure_hook(enum.Enum, _write_enum)
    converter.register_unstructure_hook(datetime, _write_time)
    converter.register_unstructure_hook(Decimal, _write_decimal)
    converter.register_unstructure_hook_factory(
        _is_primitive_union, lambda wanted: functools.partial(_write_scalar, wanted)
    )
    converter.register_unstructure_hook_func(_is_text_or_function, _write_text)
    converter.register_unstructure_hook_factory(_is_list, _list_writer)
    converter.register_unstructure_hook_factory(
        attrs.has, lambda record, converter: _record_writer(record, converter, passwords)
    )
    converter.register_unstructure_hook_factory(_is_tagged, _tagged_writer)
    return converter


# -- single values ----------------------------------------------------------------------------------------------------


def _is_primitive_union(wanted: Any) -> bool:
    return {*typing.get_args(wanted)} <= _PRIMITIVES and typing.get_origin(wanted) in _UNIONS


def _is_text_or_function(wanted: Any) -> bool:
    """Return whether a field holds a text, or a function, which data can't hold."""
    return any(typing.get_origin(kind) is Callable for kind in typing.get_args(wanted))


def _write_text(value: object) -> object:
    return _write_scalar(str, value)


def _read_scalar(value: object, wanted: Any) -> object:
    """Return the value if it is of the wanted primitive type, one of several, or the value of an enum."""
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        with contextlib.suppress(ValueError):
            return wanted(_read_scalar(value, str))
        raise _unfit(f"one of {', '.join(member.value for member in wanted)}", value)
    kinds = typing.get_args(wanted) or (wanted,)
    if type(value) is int and float in kinds and int not in kinds and value.bit_length() < 1000:
        value = float(value)
    if type(value) not in kinds:
        raise _unfit(" or ".join(_NAMES[kind] for kind in kinds if kind in _NAMES) or "null", value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _unfit("a finite number", value)
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise _unfit("a number of fewer digits", value)
    return value


def _write_scalar(wanted: Any, value: object) -> object:
    if isinstance(value, str):
        value = str.__str__(value)  # a status where any word may stand
    elif isinstance(value, int) and not isinstance(value, bool):
        value = int(value)
    return _read_scalar(value, wanted)


def _write_enum(member: object) -> object:
    if not isinstance(member, enum.Enum):
        raise _unfit("a member of an enum", member)
    return member.value


def _read_time(value: object, _: Any) -> datetime:
    at = moment(value)
    if at is None:
        raise _unfit('a time such as "2025-01-16T12:00:00+00:00"', value)
    return at


def _write_time(at: object) -> str:
    if not isinstance(at, datetime):
        raise _unfit("a datetime", at)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).isoformat()


def _read_decimal(value: object, _: Any) -> Decimal:
    with contextlib.suppress(InvalidOperation):
        number = Decimal(value) if isinstance(value, str) and len(value) <= MAX_DIGITS else Decimal("nan")
        if number.is_finite() and abs(number.adjusted()) <= MAX_DIGITS:
            return number
    raise _unfit("a decimal number as a string", value)


def _write_decimal(number: object) -> str:
    return str(_read_decimal(str(number) if isinstance(number, Decimal) else number, None))


def _unfit(wanted: str, value: object) -> ConfigurationError:
    return ConfigurationError(f"expected {wanted}, not {_shown(value)}")


def _shown(value: object) -> str:
    """Return a value for a message, as JSON, and in short."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    try:
        text = json.dumps(value) if value is None or isinstance(value, str | int | float) else ""
    except ValueError:  # an integer of thousands of digits
        text = ""
    return (text if len(text) <= 100 else f"{text[:99]}…") or f"{type(value).__name__} value"


# -- lists and records ------------------------------------------------------------------------------------------------


def _is_list(wanted: Any) -> bool:
    return typing.get_origin(wanted) in (tuple, frozenset)


def _list_reader(wanted: Any, converter: Any) -> Any:
    kind: Any = typing.get_origin(wanted)
    items = list.__class_getitem__(typing.get_args(wanted)[0])

    def read_list(value: object, _: Any) -> Any:
        if not isinstance(value, list):
            raise _unfit("a list", value)
        return kind(converter.structure(value, items))

    return read_list


def _list_writer(wanted: Any, converter: Any) -> Any:
    kind: Any = typing.get_origin(wanted)
    write = converter.get_unstructure_hook(typing.get_args(wanted)[0])

    def write_list(values: Any) -> list[Any]:
        if not isinstance(values, kind | list):
            raise _unfit("a list", values)
        items = [write(value) for value in values]
        return sorted(items) if kind is frozenset else items

    return write_list


def _record_reader(record: Any, converter: Any) -> Any:
    from cattrs.gen import make_dict_structure_fn, override

    omitted: Any = {field.name: override(omit=True) for field in attrs.fields(record) if not field.eq}
    read_fields = make_dict_structure_fn(record, converter, _cattrs_forbid_extra_keys=True, **omitted)

    def read_record(value: object, wanted: Any) -> Any:
        if not isinstance(value, dict):
            raise _unfit("an object", value)
        if not all(isinstance(key, str) for key in value):
            raise ConfigurationError("its keys are not all strings")
        return read_fields(value, wanted)

    return read_record


def _record_writer(record: Any, converter: Any, passwords: bool) -> Any:
    """Return a function that writes a record: not what ``==`` leaves out, and passwords, which ``repr`` leaves out."""
    from cattrs.gen import make_dict_unstructure_fn, override

    omitted: Any = {
        field.name: override(omit=True)
        for field in attrs.fields(record)
        if not field.eq or not (field.repr or passwords)
    }
    write_fields = make_dict_unstructure_fn(record, converter, _cattrs_omit_if_default=True, **omitted)

    def write_record(value: object) -> Any:
        if type(value) is not record:
            raise ConfigurationError(f"expected a {record.__name__}, not a {type(value).__name__}")
        return write_fields(value)

    return write_record


# -- one of several classes, errors -----------------------------------------------------------------------------------


def _is_tagged(wanted: Any) -> bool:
    kinds = _kinds(wanted)
    return any(_is_error(kind) for kind in kinds) or (len(kinds) > 1 and all(map(attrs.has, kinds)))


def _kinds(wanted: Any) -> list[Any]:
    """Return the classes of a union, without None, or the one class."""
    kinds = typing.get_args(wanted) if typing.get_origin(wanted) in _UNIONS else (wanted,)
    return [kind for kind in kinds if kind is not types.NoneType]


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _variants(wanted: Any) -> dict[str, type]:
    """Return the classes that a value can have, by their names."""
    found: dict[str, type] = {}
    for kind in _kinds(wanted):
        if _is_error(kind):
            found |= {name: error for name, error in ERRORS.items() if issubclass(error, kind)}
        else:
            found[kind.__name__] = kind
    return found


def _tagged_reader(wanted: Any, converter: Any) -> Any:
    variants, optional = _variants(wanted), types.NoneType in typing.get_args(wanted)

    def read_tagged(value: object, _: Any) -> Any:
        if value is None and optional:
            return None
        if not isinstance(value, dict):
            raise _unfit("an object", value)
        name = value.get("type")
        if not isinstance(name, str) or name not in variants:
            found = "missing" if name is None else f"unknown: {_shown(name)}"
            known = f"; known are {', '.join(variants)}" if len(variants) < 10 else ""
            raise ConfigurationError(f"its type is {found}{known}")
        rest = {key: item for key, item in value.items() if key != "type"}
        if name in ERRORS:
            return error_of(name, converter.structure(rest, record_class(name)))
        return converter.structure(rest, variants[name])

    return read_tagged


def _tagged_writer(wanted: Any, converter: Any) -> Any:
    variants, optional = _variants(wanted), types.NoneType in typing.get_args(wanted)

    def write_tagged(value: object) -> dict[str, Any] | None:
        if value is None and optional:
            return None
        if isinstance(value, BaseException) and type(value) not in ERRORS.values():
            text = f"{type(value).__name__}: {value}"
            value = VpsOrgError(text.removesuffix(": "))
        kind = type(value)
        if variants.get(kind.__name__) is not kind:
            raise ConfigurationError(f"expected one of {', '.join(variants)}, not a {kind.__name__}")
        content = record_of(value) if isinstance(value, VpsOrgError) else value
        return {"type": kind.__name__, **converter.unstructure(content)}

    return write_tagged


# -- problems ---------------------------------------------------------------------------------------------------------


def try_read(data: object, wanted: Any, place: str) -> tuple[Any, list[str]]:
    """Return the value that the data holds, and its problems as lines with their places."""
    from cattrs import transform_error
    from cattrs.errors import ForbiddenExtraKeysError

    def say(error: BaseException, _: Any) -> str:
        if isinstance(error, ForbiddenExtraKeysError):
            known = ", ".join(field.name for field in attrs.fields(error.cl) if field.eq)
            return f"unknown: {', '.join(sorted(error.extra_fields))}; known are {known}"
        return "missing" if isinstance(error, KeyError) else str(error)

    try:
        return _converter(True).structure(data, wanted), []
    except Exception as unfit:
        lines = [line.rpartition(" @ ") for line in transform_error(unfit, place, say)]
        return None, [f"{where}: {what}" for what, _, where in lines]


def raise_problems(problems: Sequence[str]) -> None:
    """Raise `ConfigurationError` with the first problems and the number of the others, if there are any."""
    if problems:
        more = f" and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise ConfigurationError("\n".join(problems[:MAX_PROBLEMS]) + more)
