"""What the provider sells: the plans, systems and locations that stand on the API page, and addresses.

The two plans and two systems are those of the examples at https://www.vps.org/api/v1/docs/servers/. The page
publishes no catalogue: the bandwidth of plan 2 and the location `eu-central` are taken as plausible.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Final

from attrs import frozen


@frozen
class Plan:
    """A size on sale. The page states no units; by its figures memory is in MB, storage and bandwidth in GB."""

    id: int
    name: str
    vcpus: int
    memory: int
    storage: int
    bandwidth: int


@frozen
class OperatingSystem:
    """An image to install."""

    id: int
    name: str


FIRST_ID: Final = 12345

PLANS: Final = MappingProxyType(
    {
        1: Plan(1, "Standard VPS", 2, 4096, 80, 2048),
        2: Plan(2, "Performance VPS", 4, 8192, 160, 4096),
    }
)
SYSTEMS: Final = MappingProxyType(
    {
        5: OperatingSystem(5, "Ubuntu 22.04 LTS"),
        3: OperatingSystem(3, "Debian 12"),
    }
)
LOCATIONS: Final = ("us-west", "us-east", "eu-central")

# Documentation and benchmark ranges, so that no address here can be somebody's machine; 240/4 is never routed.
_RANGES: Final = (
    (IPv4Address("203.0.113.10"), 245),
    (IPv4Address("198.51.100.1"), 254),
    (IPv4Address("192.0.2.1"), 254),
    (IPv4Address("198.18.0.1"), 2**17 - 2),
    (IPv4Address("240.0.0.1"), 2**28 - 2),
)


def ipv4(server_id: int) -> str:
    """The server's address: 203.0.113.10 for the first one, as on the page."""
    offset = server_id - FIRST_ID
    for first, size in _RANGES:
        if offset < size:
            return str(first + offset)
        offset -= size
    raise ValueError(f"no address left for server {server_id}")


def ipv6(server_id: int) -> str:
    """The server's IPv6 address, written as on the page (`2001:0db8::1`)."""
    number = server_id - FIRST_ID + 1
    high, low = divmod(number, 0x10000)
    return f"2001:0db8::{high:x}:{low:x}" if high else f"2001:0db8::{low:x}"
