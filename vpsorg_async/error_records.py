"""What an error holds, as a record: its message, the attributes that its class annotates, and its notes. Pure."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from . import errors
from .errors import VpsOrgError

__all__ = ["ERRORS", "error_of", "record_class", "record_of"]

ERRORS: Mapping[str, type[VpsOrgError]] = {
    name: _kind
    for name in errors.__all__
    if isinstance(_kind := getattr(errors, name), type) and issubclass(_kind, VpsOrgError)
}
"""Every class of the error tree by its name."""


@functools.cache
def record_class(name: str) -> Any:
    """Return the class of the records of one class of errors."""
    kind = ERRORS[name]
    field: Any = attrs.field  # its overloads do not know that a type can be a union
    fields = {"message": field(type=str | None, default=None)}
    if issubclass(kind, BaseExceptionGroup):
        fields["exceptions"] = field(type=tuple[Exception, ...])
    else:
        usual = kind()
        hints = typing.get_type_hints(kind).items()
        fields |= {
            attribute: field(type=hint, default=getattr(usual, attribute))
            for attribute, hint in hints
            if typing.get_origin(hint) is not typing.ClassVar
        }
    fields["notes"] = field(type=tuple[str, ...], default=())
    return attrs.make_class(name, fields, kw_only=True, frozen=True)


def record_of(error: VpsOrgError) -> Any:
    """Return what an error holds."""
    record = record_class(type(error).__name__)
    names = {field.name for field in attrs.fields(record)} - {"message", "notes"}
    # not its own text, which repeats the attributes; several arguments become one text
    text = error.message if isinstance(error, BaseExceptionGroup) else BaseException.__str__(error)
    return record(
        message=text if error.args else None,
        notes=tuple(getattr(error, "__notes__", ())),
        **{name: getattr(error, name) for name in names},
    )


def error_of(name: str, record: Any) -> VpsOrgError:
    """Return the error of this class that holds the same."""
    kind = ERRORS[name]
    held = attrs.asdict(record, recurse=False)
    message, notes = held.pop("message"), held.pop("notes")
    args: list[Any] = [] if message is None else [message]
    if issubclass(kind, BaseExceptionGroup):
        args = [message or "", list(held.pop("exceptions"))]
    error = kind(*args)
    for attribute, value in held.items():
        if getattr(error, attribute) != value:
            setattr(error, attribute, value)
    for note in notes:
        error.add_note(note)
    return error
