"""Request bodies: what the provider accepts, field by field. Pure. Everything else is `Invalid` (400).

The tables are those of https://www.vps.org/api/v1/docs/servers/. Where the page says nothing, the strict reading is
used (no null, no numbers in strings), so that a client which sends something undocumented gets an error. Fields that
are in no table are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from .catalogue import LOCATIONS, PLANS, SYSTEMS, OperatingSystem, Plan
from .errors import Invalid

# "Alphanumeric, hyphens allowed". The page gives no length; 255 is an assumption.
_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,255}")
# "FQDN". A single label is accepted: the page does not say how strictly it is checked.
_HOSTNAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


def creation(body: object) -> dict[str, Any]:
    """Return the fields of POST /servers/: `plan_id` becomes `plan`, `os_id` becomes `os`. Raises `Invalid`."""
    given = read(body, _CREATE, required={"name", "plan_id", "os_id", "location"})
    return {
        "name": given["name"],
        "plan": given["plan_id"],
        "os": given["os_id"],
        "location": given["location"],
        "hostname": given.get("hostname"),
        "backups_enabled": given.get("backups_enabled", False),
    }


def replacement(body: object) -> dict[str, Any]:
    """Return the fields of PUT, all three required. Raises `Invalid`."""
    return read(body, _UPDATE, required=set(_UPDATE))


def changes(body: object) -> dict[str, Any]:
    """Return the fields of PATCH, any of the three. Raises `Invalid`."""
    return read(body, _UPDATE, required=set())


def text(value: object) -> str:
    """Return a string. Raises `ValueError`, like all of these checks."""
    if not isinstance(value, str):
        raise ValueError("Must be a string.")
    return value


def _name(value: object) -> str:
    if not _NAME.fullmatch(word := text(value)):
        raise ValueError("Only letters, digits and hyphens, 1 to 255 of them.")
    return word


def hostname(value: object) -> str:
    """Return a host name."""
    if not _HOSTNAME.fullmatch(word := text(value)):
        raise ValueError("Must be a host name.")
    return word


def _location(value: object) -> str:
    if (word := text(value)) not in LOCATIONS:
        raise ValueError(f"Unknown location, not one of {', '.join(LOCATIONS)}.")
    return word


def integer(value: object) -> int:
    """Return an integer; a boolean is not accepted."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("Must be an integer.")
    return value


def _plan(value: object) -> Plan:
    if (plan := PLANS.get(integer(value))) is None:
        raise ValueError(f"Unknown plan, not one of {', '.join(map(str, PLANS))}.")
    return plan


def _system(value: object) -> OperatingSystem:
    if (system := SYSTEMS.get(integer(value))) is None:
        raise ValueError(f"Unknown operating system, not one of {', '.join(map(str, SYSTEMS))}.")
    return system


def _ssh_key(value: object) -> int:
    # No page lists keys, so any positive id is considered known.
    if (number := integer(value)) < 1:
        raise ValueError("Must be the id of an SSH key.")
    return number


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("Must be true or false.")
    return value


_UPDATE: Final[Mapping[str, Callable[[object], Any]]] = {
    "name": _name,
    "hostname": hostname,
    "backups_enabled": _boolean,
}
_CREATE: Final[Mapping[str, Callable[[object], Any]]] = {
    **_UPDATE,
    "plan_id": _plan,
    "os_id": _system,
    "location": _location,
    "ssh_key_id": _ssh_key,
}


def read(body: object, table: Mapping[str, Callable[[object], Any]], required: set[str]) -> dict[str, Any]:
    """Return the checked fields of a body. Raises `Invalid` with all problems."""
    if not isinstance(body, dict):
        raise Invalid({"non_field_errors": ["Expected a JSON object."]})
    body = cast("dict[str, object]", body)
    given: dict[str, Any] = {}
    problems: dict[str, list[str]] = {}
    for field, check in table.items():
        if field not in body:
            if field in required:
                problems[field] = ["This field is required."]
            continue
        try:
            given[field] = check(body[field])
        except ValueError as error:
            problems[field] = [str(error)]
    if problems:
        raise Invalid(problems)
    return given
