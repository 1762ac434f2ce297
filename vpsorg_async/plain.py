"""Records, events and errors as plain data, and back: for databases, queues, journals and workflow engines.

::

    {"vpsorg": 1, "type": "Failed", "key": "web-01", "attempts": 1,
     "error": {"type": "ServiceError", "message": "down", "status": 503, "sent": "maybe"}}

``vpsorg`` is the version of this form, ``type`` the name of a class that can be imported from `vpsorg_async`, its
``errors``, ``events`` or ``fleet``. The other keys are the fields of a record, or the ``message`` and the attributes of
an error. Fields that have their defaults are left out. A value has a ``type`` of its own only where its field allows
several classes: outcomes and errors. Times are ISO strings with a zone, decimals strings, enums their values. The whole
is what JSON can hold; any other encoder will do.

A class or a field that is added later does not change the version: older versions of this package refuse data that has
it, and read the rest. The version changes when older data must be read in another way.

Not kept: the traceback, cause and context of an error, attributes that a program has added to one, and
``Report.again``: `Report.retry_failed` raises for a report without a client.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from typing import Any

import attrs

import vpsorg_async

from . import errors, events, fleet
from .conversion import read, unstructure
from .errors import ConfigurationError, VpsOrgError

__all__ = ["VERSION", "from_plain", "to_plain"]

VERSION = 1
"""The version of the form that `to_plain` writes. `from_plain` reads this one and all before it."""


def to_plain(value: object, *, passwords: bool = False) -> dict[str, Any]:
    """Return a record, event or error as plain data, which `from_plain` reads; also a list or tuple of these.

    The token is never part of it. An exception of another package inside an error (`OutcomeUnknownError.reason`, a
    member of a `FleetError`) becomes a `VpsOrgError` that names its class and has its text.

    Args:
        value: Its class must be one of this package, not a subclass.
        passwords: Whether to include root passwords (`Server.password`). Without them they read back as None.

    Raises:
        ConfigurationError: The value, or a part of it, is of another class or is nested too deeply.

    Example::

        text = json.dumps(to_plain(report))
        ...
        report = from_plain(json.loads(text))
    """
    classes, several, any_of_them = _known()
    wrap = several.get(type(value))
    for kind in map(type, [value] if wrap is None else typing.cast("list[object]", value)):
        if classes.get(kind.__name__) is not kind:
            raise ConfigurationError(
                f"to_plain takes records, events and errors of vpsorg_async, and lists of these, not a {kind.__name__}"
            )
    record = value if wrap is None else wrap(value)
    return {"vpsorg": VERSION, **unstructure(record, any_of_them, passwords=passwords)}


def from_plain(data: object) -> Any:
    """Return the record, event or error, or the list or tuple of these, that `to_plain` gave.

    Raises:
        ConfigurationError: The data does not fit; each problem has a line with its place, such as
            ``$.outcomes[3].error.sent: expected one of no, rejected, maybe, not "perhaps"``. Unknown keys and types are
            problems, too.
    """
    if not isinstance(data, dict) or "vpsorg" not in data:
        raise ConfigurationError("$: expected an object with the key vpsorg, the version of its form")
    version = data["vpsorg"]
    if type(version) is not int or not 0 < version < 1_000_000:
        raise ConfigurationError("$.vpsorg: expected the version of the form, a number from 1")
    if version > VERSION:
        raise ConfigurationError(
            f"$.vpsorg: version {version} is newer than {VERSION}, the last that this version of vpsorg-async reads"
        )
    _, several, any_of_them = _known()
    value = read({key: item for key, item in data.items() if key != "vpsorg"}, any_of_them)
    return next((kind(value.items) for kind, record in several.items() if type(value) is record), value)


@functools.cache
def _known() -> tuple[Mapping[str, Any], Mapping[Any, Any], Any]:
    """Return the public classes by their names, records for a list and a tuple of them, and a union of all of these."""
    classes = {
        name: kind
        for module in (vpsorg_async, events, fleet, errors)
        for name in module.__all__
        if isinstance(kind := getattr(module, name), type)
        and (attrs.has(kind) or issubclass(kind, VpsOrgError))
    }
    union, field = typing.cast("Any", typing.Union), typing.cast("Any", attrs.field)
    items = {"items": field(type=tuple.__class_getitem__((union[tuple(classes.values())], ...)))}
    several = {kind: attrs.make_class(kind.__name__, items, frozen=True) for kind in (list, tuple)}
    return classes, several, union[(*classes.values(), *several.values())]
