"""The records of the API: frozen, plain data without I/O.

Field names are those of the API. Only ``id``, ``name`` and ``status`` are always present; every other field is None if
the answer did not have it (a list item has no ``ipv6_address``; ``ip_address`` is null while provisioning). The
documentation states no units for memory, storage and bandwidth, so none are given here.

Source: https://www.vps.org/api/v1/docs/servers/
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import attrs
import msgspec

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
    "Seen",
    "Server",
    "ServerId",
    "ServerStatus",
    "StatusWord",
    "Timestamp",
]

ServerId = int | str
"""Integers in the documented API, UUID strings in the provider dialect; treat them as opaque."""

# an aware datetime; `codec` reads one without a zone, or without a time, as UTC
Timestamp = Annotated[datetime, msgspec.Meta(tz=True)]


StatusWord = Literal["active", "stopped", "suspended", "provisioning", "starting", "stopping", "rebooting"]
"""A known status word as a type, which editors complete."""


class ServerStatus(enum.StrEnum):
    """A status word. The set is open: a word that is not listed here is kept unchanged.

    Only some words appear literally in the documentation's examples; ``stopped`` and ``suspended`` are known only from
    the list filter. A status equals its word: ``server.status == "active"``. Compare with ``==``, not ``is``.
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
        # not cached, because words come from the network, and a cache of them could grow without limit
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
        """Whether this word is listed in this class."""
        return self._value_ in type(self)._value2member_map_


@attrs.frozen(kw_only=True)
class Plan:
    """The plan of a server, as the server's record shows it."""

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
    """The present resource usage of a server, from the detail answer."""

    cpu_percent: float | None = None
    memory_used: int | None = None
    disk_used: int | None = None
    bandwidth_used: int | None = None


@attrs.frozen(kw_only=True)
class Server:
    """One server as one answer showed it. The record does not change; read the server again for its present state.

    None means that the answer did not show the field. The documented list has no ``ipv6_address``,
    ``backups_enabled``, ``resource_usage`` and ``plan.bandwidth``, so that records from polls, which fleets and waits
    return, may lack them as well. ``servers.get`` returns them.

    A stopped server is charged until it is deleted (https://www.vps.org/faq).
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
    """A notice for people; only in the answer to a create."""
    password: str | None = attrs.field(default=None, repr=False)
    """The root password; only in the provider dialect, in the answer to a create. No later read has it: store it."""

    @property
    def address(self) -> str | None:
        """The IPv4 address, or the IPv6 address, or None."""
        return self.ip_address or self.ipv6_address or None


@attrs.frozen(kw_only=True)
class ActionAccepted:
    """A start, stop or reboot was accepted, but is not done. Wait for the status to see it done.

    ``status`` is the outcome of the command (``success``), ``server_status`` the status of the server at that moment.
    The API returns no operation id, so the server has to be read again.
    """

    server_id: ServerId
    server_status: ServerStatus | None = None
    server_name: str | None = None
    status: str | None = None
    message: str = ""


@attrs.frozen(kw_only=True)
class PlanOffer:
    """A plan that can be ordered. Prices are exact decimals; the API does not name their currency.

    Source: https://www.vps.org/api/v1/docs/plans/; the provider dialect has fewer fields.
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


@attrs.frozen
class Seen:
    """A line of a wait's timeline: a status word or another event, ``at`` seconds after the wait began."""

    at: float
    status: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.status} at {self.at:.1f} s" + (f" ({self.note})" if self.note else "")
