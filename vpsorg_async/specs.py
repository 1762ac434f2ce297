"""What a user asks for: server specs, and the checks of ids, names and host names. Pure.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from .errors import ConfigurationError
from .records import Server, ServerId

__all__ = [
    "ServerSpec",
    "check_bool",
    "check_hostname",
    "check_id",
    "check_name",
    "id_of",
    "name_key",
    "same_id",
]

_NAME = re.compile(r"[A-Za-z0-9-]+")
_CODE_LIMIT = 100  # characters of a datacenter code, which has a handful
_ID_LIMIT = 10**100  # far beyond any id, and short enough to be written as digits
# A host name as it is typed: labels of letters, digits, hyphens and underscores, parted by dots.
_HOSTNAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def _shown(value: object) -> str:
    """The value for a message. Python refuses to write an integer of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        return f"{type(value).__name__} with too many digits"
    return text if len(text) <= 100 else f"{text[:99]}…"


def name_key(name: str) -> str:
    """What names are compared by: services store them in lower case, and host names without the final dot."""
    return name.strip().rstrip(".").casefold()


def same_id(first: object, second: object) -> bool:
    """Whether both name the same server: ids are compared as they stand in paths, UUIDs in any case."""
    return str(first).casefold() == str(second).casefold()


def check_name(value: object) -> str:
    """A server name: letters, digits and hyphens. Raises `ConfigurationError`."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigurationError(f"a server name is made of letters, digits and hyphens, not {_shown(value)}")
    return value


def check_hostname(value: object) -> str:
    """A fully qualified host name. Raises `ConfigurationError`."""
    if not isinstance(value, str) or not _HOSTNAME.fullmatch(value):
        raise ConfigurationError(
            f"a hostname is a domain name such as 'web01.example.com', not {_shown(value)}"
        )
    return value


def check_bool(value: object, field: str) -> bool:
    """A plain True or False. Raises `ConfigurationError`."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{field} is True or False, not {_shown(value)}")
    return value


def check_id(value: object, what: str = "a server id") -> ServerId:
    """A positive integer or a non-empty string without control characters. Raises `ConfigurationError`."""
    if isinstance(value, bool):
        pass
    elif isinstance(value, int):
        if 0 < value < _ID_LIMIT:
            return value
    elif isinstance(value, str) and value not in (".", "..") and value.strip() and value.isprintable():
        return value
    raise ConfigurationError(f"{what} is a positive integer or a non-empty string, not {_shown(value)}")


def id_of(server: ServerId | Server) -> ServerId:
    """Return the id of a server, or the id that was given. Raises `ConfigurationError`."""
    return check_id(server.id if isinstance(server, Server) else server)


def _valid_name(_: Any, __: Any, value: Any) -> None:
    check_name(value)


def _valid_id(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    check_id(value, attribute.name)


def _valid_location(_: Any, __: Any, value: Any) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _ID_LIMIT:
        return  # the provider dialect; the documented one refuses it when a request is made of it
    fits = isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= _CODE_LIMIT
    if not fits:
        raise ConfigurationError(f"location is a datacenter code such as 'us-west', not {_shown(value)}")


def _valid_hostname(_: Any, __: Any, value: Any) -> None:
    if value is not None:
        check_hostname(value)


def _valid_key(_: Any, __: Any, value: Any) -> None:
    if value is not None:
        check_id(value, "ssh_key_id")


def _keys(value: Iterable[int | str]) -> tuple[int | str, ...]:
    # a string is iterable, but its letters are no keys
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"ssh_key_ids is a list of ids, not {_shown(value)}")
    return tuple(value)


def _valid_keys(_: Any, __: Any, value: Any) -> None:
    for key in value:
        check_id(key, "ssh_key_ids")


def _valid_backups(_: Any, __: Any, value: Any) -> None:
    if value is not None:
        check_bool(value, "backups_enabled")


@attrs.frozen(kw_only=True)
class ServerSpec:
    """What a server to be created shall be. Checked when made: raises `ConfigurationError`.

    ``plan_id``, ``os_id`` and ``location`` are given by the provider; the provider dialect names a location by an
    integer. ``backups_enabled`` left at None is not sent, which the API takes as off. ``ssh_key_ids`` is for the
    provider dialect, which takes several keys.
    """

    name: str = attrs.field(validator=_valid_name)
    plan_id: int | str = attrs.field(validator=_valid_id)
    os_id: int | str = attrs.field(validator=_valid_id)
    location: str | int = attrs.field(validator=_valid_location)
    hostname: str | None = attrs.field(default=None, validator=_valid_hostname)
    ssh_key_id: int | str | None = attrs.field(default=None, validator=_valid_key)
    backups_enabled: bool | None = attrs.field(default=None, validator=_valid_backups)
    ssh_key_ids: tuple[int | str, ...] = attrs.field(default=(), converter=_keys, validator=_valid_keys)

    @property
    def all_ssh_keys(self) -> tuple[int | str, ...]:
        """Every key asked for, by either field."""
        return self.ssh_key_ids if self.ssh_key_id is None else (self.ssh_key_id, *self.ssh_key_ids)
