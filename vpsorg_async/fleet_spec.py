"""A fleet as a value: the pattern of its names, the number of its servers, and what they have in common. Pure.

The pattern is also what selects the servers of a fleet: a server belongs to it exactly if the pattern, given a number,
is the name of the server. ``web-{n:02}`` selects ``web-07`` and ``web-100``, and neither ``web-7`` nor ``web-007``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

import attrs

from .root_error import ConfigurationError
from .specs import Alternative, ServerSpec, check_alternatives, name_key

__all__ = ["FleetSpec", "NamePattern", "check_apart"]

MOST = 10_000
"""The maximum number of servers of one fleet."""
MOST_DIGITS = 9
"""The maximum number of digits in the name of a server of a fleet."""
_FIELD = re.compile(r"\{n(?::(?:0([1-9]))?d?)?\}")


@attrs.frozen
class NamePattern:
    """Names that differ in a number. ``width`` is the least number of digits, which zeros fill up."""

    prefix: str
    suffix: str
    width: int

    @classmethod
    def of(cls, text: object, field: str) -> NamePattern:
        """Return the pattern that a text has. Raises `ConfigurationError`, which names the field."""
        if not isinstance(text, str):
            raise ConfigurationError(f"{field} is a text with {{n}} in it, not {text!r}")
        parts = _FIELD.split(text)
        if len(parts) != 3 or re.search("[{}]", parts[0] + parts[2]):
            raise ConfigurationError(
                f"{field} {text!r} needs exactly one {{n}}, or {{n:02}} for two digits, and no other braces"
            )
        prefix, width, suffix = parts
        if not re.search("[A-Za-z]", prefix + suffix):
            raise ConfigurationError(
                f"{field} {text!r} would fit foreign servers: it needs a letter beside {{n}}"
            )
        return cls(prefix, suffix, int(width or 1))

    def name(self, number: int) -> str:
        """Return the name with this number."""
        return f"{self.prefix}{number:0{self.width}}{self.suffix}"

    def number(self, key: str) -> int | None:
        """Return the number of a name in the form of `name_key`; None if it does not fit the pattern."""
        prefix, suffix = self._ends
        if not (key.startswith(prefix) and key.endswith(suffix)):
            return None
        digits = key[len(prefix) : len(key) - len(suffix)]
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= MOST_DIGITS):
            return None
        number = int(digits)
        return number if f"{number:0{self.width}}" == digits else None

    def overlaps(self, other: NamePattern) -> bool:
        """Return whether a name could fit both patterns, whatever their widths."""
        (a, z), (b, y) = self._ends, other._ends
        if not (a.startswith(b) or b.startswith(a)) or not (z.endswith(y) or y.endswith(z)):
            return False
        # what one of the prefixes, and one of the suffixes, has more than the other must be part of a number there
        left, right = max(a, b, key=len)[min(len(a), len(b)) :], max(z, y, key=len)
        right = right[: len(right) - min(len(z), len(y))]
        if (left + right).isdecimal() or not left + right:
            return True
        if (len(a) > len(b)) == (len(z) > len(y)):
            return False
        # web-1-{n} and web-{n}-5 share the text between their numbers
        return any(
            left[-n:] == right[:n] and left[:-n].isdecimal() and right[n:].isdecimal()
            for n in range(1, min(len(left), len(right)))
        )

    @functools.cached_property
    def _ends(self) -> tuple[str, str]:
        """The prefix and the suffix in the form of `name_key`."""
        return self.prefix.casefold(), name_key(self.suffix)


@functools.lru_cache(maxsize=1024)
def _pattern(text: str, field: str) -> NamePattern:
    return NamePattern.of(text, field)


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"protect is a list of names, not {value!r}")
    return tuple(value)


def _valid_number(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise ConfigurationError(f"{attribute.name} is a number from 0 to {MOST}, not {value!r}")


@attrs.frozen(kw_only=True)
class FleetSpec:
    """A fleet: the number of its servers, the pattern of their names, and what they have in common.

    Any ``count`` servers whose names fit the pattern are the fleet; their numbers may have gaps. Names are compared
    without regard to case. Servers whose names do not fit are never touched.

    Args:
        name: The pattern: ``{n}`` is the number, ``{n:02}`` the number with at least two digits. It has exactly one of
            these, and a letter.
        count: The number of servers, from 0 to 10,000.
        plan_id: The id of the plan, as the provider assigns it.
        os_id: The id of the operating system.
        location: A datacenter code such as ``us-west``; in the provider dialect an integer id.
        hostname: A pattern of host names, with one ``{n}`` as well; None: the provider chooses.
        ssh_key_id: The id of an SSH key to install.
        backups_enabled: None is not sent, and the API treats it as off.
        ssh_key_ids: Several keys; only the provider dialect accepts more than one.
        first: The lowest number of a new server.
        protect: Names of servers of the fleet that are never deleted.
        alternatives: Other plans or locations, which are tried in this order if a create is refused; see `Alternative`.
            A server that fits one of them does not differ from the fleet.

    Raises:
        ConfigurationError: A value is invalid.

    Example::

        fleet = FleetSpec(name="web-{n:02}", count=20, plan_id=1, os_id=5, location="us-west")
        print(await vps.fleet.plan(fleet))
        report = await vps.fleet.apply(fleet, timeout=900)

    `load_fleets` reads several from a TOML file.
    """

    name: str
    count: int = attrs.field(validator=_valid_number)
    plan_id: int | str
    os_id: int | str
    location: str | int
    hostname: str | None = None
    ssh_key_id: int | str | None = None
    backups_enabled: bool | None = None
    ssh_key_ids: tuple[int | str, ...] = ()
    first: int = attrs.field(default=1, validator=_valid_number)
    protect: tuple[str, ...] = attrs.field(default=(), converter=_names)
    alternatives: tuple[Alternative, ...] = attrs.field(default=(), converter=check_alternatives)

    def __attrs_post_init__(self) -> None:
        self.spec(self.first)  # checks the patterns and the other values
        for name in self.protect:
            if not isinstance(name, str) or self.number(name) is None:
                raise ConfigurationError(f"protect has {name!r}, which is no name of the fleet {self.name!r}")

    @property
    def names(self) -> NamePattern:
        """The pattern of the names."""
        return _pattern(self.name, "name")

    @property
    def hostnames(self) -> NamePattern | None:
        """The pattern of the host names; None if the fleet has none."""
        return None if self.hostname is None else _pattern(self.hostname, "hostname")

    def number(self, name: str) -> int | None:
        """Return the number of a server's name, or of its host name; None if it does not fit the fleet."""
        key, hostnames = name_key(name), self.hostnames
        number = self.names.number(key)
        return number if number is not None or hostnames is None else hostnames.number(key)

    def spec(self, number: int) -> ServerSpec:
        """Return the spec of the server with this number."""
        hostnames = self.hostnames
        return ServerSpec(
            name=self.names.name(number),
            plan_id=self.plan_id,
            os_id=self.os_id,
            location=self.location,
            hostname=None if hostnames is None else hostnames.name(number),
            ssh_key_id=self.ssh_key_id,
            backups_enabled=self.backups_enabled,
            ssh_key_ids=self.ssh_key_ids,
            alternatives=self.alternatives,
        )


def check_apart(fleets: Iterable[FleetSpec]) -> None:
    """Raise `ConfigurationError` for two fleets that a server could belong to at the same time."""
    checked: list[FleetSpec] = []
    for fleet in fleets:
        for other in checked:
            both = (fleet.names, other.names), (fleet.hostnames, other.hostnames)
            if any(one is not None and two is not None and one.overlaps(two) for one, two in both):
                raise ConfigurationError(
                    f"the fleets {other.name!r} and {fleet.name!r} overlap: a name could belong to both"
                )
        checked.append(fleet)
