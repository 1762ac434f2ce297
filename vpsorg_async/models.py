"""The records of the API: frozen, plain, without any I/O.

Field names are the API's own. Only ``id``, ``name`` and ``status`` are always there; every other field is None where
an answer did not carry it (a list item has no ``ipv6_address``; ``ip_address`` is null while provisioning).
Units of memory, storage and bandwidth are stated nowhere in the documentation, so none are given here.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import attrs
import msgspec

from .errors import ConfigurationError

__all__ = [
    "Account",
    "ActionAccepted",
    "Location",
    "OperatingSystem",
    "OperatingSystemVersion",
    "Plan",
    "PlanOffer",
    "ResourceUsage",
    "SSHKey",
    "Server",
    "ServerId",
    "ServerSpec",
    "ServerStatus",
    "Timestamp",
    "check_hostname",
    "check_id",
    "check_name",
    "name_key",
    "same_id",
]

ServerId = int | str
"""Integers in the documented API; treat them as opaque."""

# an aware datetime; one without a zone, or without a time, is read as UTC (`codec`)
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


class ServerStatus(enum.StrEnum):
    """A status word. The set is open: a word that is not listed here is kept as it came.

    Only some words appear literally in the documentation's examples; ``stopped`` and ``suspended`` are known from the
    list filter alone. A status equals its word: ``server.status == "active"``. Compare with ``==``, not ``is``.
    """

    ACTIVE = "active"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    PROVISIONING = "provisioning"
    STARTING = "starting"
    STOPPING = "stopping"
    REBOOTING = "rebooting"

    @classmethod
    def _missing_(cls, value: object) -> ServerStatus | None:
        # Not remembered: words come from the network, and a cache of them could be made to grow without end.
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = value.upper()
        word._value_ = value
        return word

    def __reduce_ex__(self, protocol: object) -> tuple[type[ServerStatus], tuple[str]]:
        # Python 3.11.0 to 3.11.3 pickle a member by its name, which an unknown word does not have
        return ServerStatus, (self._value_,)

    @property
    def is_known(self) -> bool:
        """Whether this is one of the words listed in this class."""
        return self._value_ in type(self)._value2member_map_


@attrs.frozen(kw_only=True)
class Plan:
    """The plan of a server, as embedded in it."""

    id: int | str | None = None
    name: str | None = None
    vcpus: int | None = None
    memory: int | None = None
    storage: int | None = None
    bandwidth: int | None = None


@attrs.frozen(kw_only=True)
class OperatingSystem:
    """The operating system of a server."""

    id: int | str | None = None
    name: str | None = None


@attrs.frozen(kw_only=True)
class ResourceUsage:
    """What a server uses now, as the detail answer tells it."""

    cpu_percent: float | None = None
    memory_used: int | None = None
    disk_used: int | None = None
    bandwidth_used: int | None = None


@attrs.frozen(kw_only=True)
class Server:
    """One server as one answer showed it. It does not change; read it again for news.

    A stopped server keeps being charged until it is deleted (https://www.vps.org/faq).
    """

    id: int | str
    name: str
    status: ServerStatus
    hostname: str | None = None
    ip_address: str | None = None
    ipv6_address: str | None = None
    location: str | None = None
    plan: Plan | None = None
    os: OperatingSystem | None = None
    backups_enabled: bool | None = None
    resource_usage: ResourceUsage | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    message: str | None = None
    """Only in the answer to a create: a notice for people."""
    password: str | None = attrs.field(default=None, repr=False)
    """Only from the provider dialect, once, in the answer to a create: the root password. Keep it, or lose it."""

    @property
    def address(self) -> str | None:
        """The IPv4 address, else the IPv6 one, else None."""
        return self.ip_address or self.ipv6_address or None


@attrs.frozen(kw_only=True)
class ActionAccepted:
    """A start, stop or reboot was taken; it is not done. Wait for the status to see it done.

    ``status`` is the outcome of the command (``success``), ``server_status`` that of the server at that moment. The
    API gives no id to follow; the server has to be read again.
    """

    server_id: ServerId
    server_status: ServerStatus | None = None
    server_name: str | None = None
    status: str | None = None
    message: str = ""


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


StatusWord = Literal["active", "stopped", "suspended", "provisioning", "starting", "stopping", "rebooting"]
"""The known words, for editors; any other string is accepted as well."""


@attrs.frozen(kw_only=True)
class PlanOffer:
    """A plan that can be ordered. Prices are exact decimals; their currency is named nowhere.

    Source: https://www.vps.org/api/v1/docs/plans/; the provider dialect tells fewer fields.
    """

    id: int | str
    name: str | None = None
    slug: str | None = None
    vcpus: int | None = None
    memory: int | None = None
    storage: int | None = None
    bandwidth: int | None = None
    price_monthly: Decimal | None = None
    price_hourly: Decimal | None = None
    available: bool | None = None
    locations: tuple[str, ...] | None = None
    description: str | None = None


@attrs.frozen(kw_only=True)
class Location:
    """A datacenter, as the provider dialect lists it."""

    id: int | str
    name: str | None = None
    country_name: str | None = None
    country_code: str | None = None
    is_active: bool | None = None


@attrs.frozen(kw_only=True)
class OperatingSystemVersion:
    """A version of an operating system, as the provider dialect lists it: its ``id`` is a spec's ``os_id``."""

    id: int | str
    name: str | None = None
    operating_system: str | None = None


@attrs.frozen(kw_only=True)
class SSHKey:
    """A public key of the account, as the provider dialect lists it."""

    id: int | str
    name: str | None = None
    fingerprint: str | None = None


@attrs.frozen(kw_only=True)
class Account:
    """The account and the token in use. Source: https://www.vps.org/api/account/."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company_name: str | None = None
    token_name: str | None = None
    permissions: tuple[str, ...] = ()
