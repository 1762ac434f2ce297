"""What the provider sells: the plans, systems and locations of the API page, addresses, and the account.

The two plans and two systems are those of the examples at https://www.vps.org/api/v1/docs/servers/. The
bandwidth of plan 2 and both prices are assumed: the plans page (https://www.vps.org/api/plans/) has other plan ids.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from attrs import frozen


@frozen
class Plan:
    """A plan. The page states no units; by its figures memory is in MB, storage and bandwidth in GB."""

    id: int
    name: str
    vcpus: int
    memory: int
    storage: int
    bandwidth: int
    price_monthly: float

    @property
    def price_hourly(self) -> float:
        """The price per hour. A month has 28 days (https://www.vps.org/faq); three decimals, as on the plans page."""
        return round(self.price_monthly / 672, 3)


@frozen
class OperatingSystem:
    """An operating system image."""

    id: int
    name: str

    @property
    def family(self) -> str:
        """The name without the version."""
        return self.name.partition(" ")[0]

    @property
    def version(self) -> str:
        """The version without the name."""
        return self.name.partition(" ")[2]


FIRST_ID: Final = 12345

PLANS: Final = MappingProxyType(
    {
        1: Plan(1, "Standard VPS", 2, 4096, 80, 2048, 10.0),
        2: Plan(2, "Performance VPS", 4, 8192, 160, 4096, 20.0),
    }
)
SYSTEMS: Final = MappingProxyType(
    {
        5: OperatingSystem(5, "Ubuntu 22.04 LTS"),
        3: OperatingSystem(3, "Debian 12"),
    }
)
LOCATIONS: Final = ("us-west", "us-east", "eu-central")

ACCOUNT: Final[MappingProxyType[str, Any]] = MappingProxyType(
    {
        "account": {
            "email": "john@example.com",
            "first_name": "John",
            "last_name": "Doe",
            "company_name": "Acme Inc.",
            "created_at": "2024-06-15",
        },
        "token": {"name": "Sandbox token", "permissions": ["servers:read", "servers:write"]},
    }
)
"""GET /account/me/ (https://www.vps.org/api/account/). The words of `permissions` are assumed."""

# Documentation and benchmark ranges, so that no address belongs to a real machine; 240/4 is never routed.
_RANGES: Final = (
    (IPv4Address("203.0.113.10"), 245),
    (IPv4Address("198.51.100.1"), 254),
    (IPv4Address("192.0.2.1"), 254),
    (IPv4Address("198.18.0.1"), 2**17 - 2),
    (IPv4Address("240.0.0.1"), 2**28 - 2),
)


def uuid(kind: str, number: int) -> str:
    """Return the UUID of the object of this kind and number; the same in every sandbox."""
    return str(uuid5(NAMESPACE_URL, f"https://admin.vps.org/api/v1/{kind}/{number}"))


def ipv4(number: int) -> str:
    """Return the address of the server with this number: 203.0.113.10 for the first one, as on the page."""
    offset = number - FIRST_ID
    for first, size in _RANGES:
        if offset < size:
            return str(first + offset)
        offset -= size
    raise ValueError(f"no address left for server {number}")


def ipv6(number: int) -> str:
    """Return the IPv6 address of the server with this number, written as on the page (`2001:0db8::1`)."""
    high, low = divmod(number - FIRST_ID + 1, 0x10000)
    return f"2001:0db8::{high:x}:{low:x}" if high else f"2001:0db8::{low:x}"
