"""The selection of servers: by flags, or by a file of specs."""

from __future__ import annotations

import json
import re
import string
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

from ..errors import ConfigurationError
from ..records import ServerId
from ..spec_tables import read_specs
from ..specs import ServerSpec
from .files import read_text

__all__ = [
    "SELECTION",
    "SPECIFICATION",
    "AnyServers",
    "OsId",
    "PlanId",
    "Selection",
    "Servers",
    "Specification",
    "ident",
    "number_or_share",
]

MOST = 10_000
"""The maximum number of servers in one command."""

Name = Annotated[
    str | None, Parameter(help="Name of the servers; {n} is the number, {n:02} with two digits.")
]
Count = Annotated[
    int | None, Parameter(help="Number of servers, numbered from --first.", validator=Number(gte=1, lte=MOST))
]
First = Annotated[int, Parameter(help="The first number.", validator=Number(gte=0))]
File = Annotated[Path | None, Parameter(help="A TOML or JSON file of specs.")]
Servers = Annotated[
    tuple[str, ...],
    Parameter(name="SERVER...", help="Ids, names, or patterns such as 'web-*'.", show_default=False),
]
AnyServers = Annotated[
    tuple[str, ...],
    Parameter(
        name="SERVER...",
        help="Ids, names, or patterns such as 'web-*'; by default all servers.",
        show_default=False,
    ),
]
PlanId = Annotated[str, Parameter(name=("--plan-id", "--plan"), help="Id of the plan.")]
OsId = Annotated[str, Parameter(name=("--os-id", "--os"), help="Id of the operating system.")]


def ident(text: str) -> ServerId:
    """Convert an id as it is typed: digits become a number."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,19}", text) else text


@Parameter(name="*", group=Group("Servers", sort_key=1))
@attrs.frozen(kw_only=True)
class Specification:
    """The servers to create, given by flags or by a file."""

    file: File = None
    name: Name = None
    count: Count = None
    first: First = 1
    plan_id: PlanId | None = None
    os_id: OsId | None = None
    location: Annotated[str | None, Parameter(help="Datacenter code, such as us-west.")] = None
    hostname: Annotated[str | None, Parameter(help="Host name; {n} as in the name.")] = None
    ssh_key_id: Annotated[str | None, Parameter(help="Id of the SSH key to install.")] = None
    backups: Annotated[bool, Parameter(help="Enable automatic backups.", show_default=False)] = False

    def specs(self) -> list[ServerSpec]:
        """Return the specs. Raises `ConfigurationError`."""
        flags = {
            "name": self.name,
            "plan_id": self.plan_id,
            "os_id": self.os_id,
            "location": self.location,
        }
        if self.file is not None:
            given = [f"--{name.replace('_', '-')}" for name, value in flags.items() if value is not None]
            given += ["--count"] if self.count is not None else []
            if given:
                raise ConfigurationError(
                    f"--file holds complete specs: {', '.join(given)} can't be given with it"
                )
            return read_file(self.file)
        missing = [f"--{name.replace('_', '-')}" for name, value in flags.items() if value is None]
        if missing:
            raise ConfigurationError(f"give {', '.join(missing)}, or a --file of specs")
        assert self.plan_id is not None
        assert self.os_id is not None
        assert self.location is not None
        names = numbered(self.name, self.count, self.first, "--name")
        hostnames = numbered(self.hostname, len(names), self.first, "--hostname") if self.hostname else None
        return [
            ServerSpec(
                name=name,
                plan_id=ident(self.plan_id),
                os_id=ident(self.os_id),
                location=self.location,
                hostname=None if hostnames is None else hostnames[number],
                ssh_key_id=None if self.ssh_key_id is None else ident(self.ssh_key_id),
                backups_enabled=True if self.backups else None,
            )
            for number, name in enumerate(names)
        ]


SPECIFICATION = Specification()


@Parameter(name="*", group=Group("Servers", sort_key=1))
@attrs.frozen(kw_only=True)
class Selection:
    """Servers of the account, selected by their names."""

    file: File = None
    name: Annotated[
        str | None,
        Parameter(
            help="Name of the servers: {n} is the number, {n:02} with two digits; or a pattern: 'web-*'."
        ),
    ] = None
    count: Count = None
    first: First = 1

    def names(self, *, by_hostname: bool = False) -> list[str]:
        """Return the names; none if only ids were given. ``by_hostname``: servers are identified by their host name.

        Raises `ConfigurationError`.
        """
        if self.file is not None and self.name is not None:
            raise ConfigurationError("give --name or --file, not both")
        if self.file is not None:
            return [(by_hostname and spec.hostname) or spec.name for spec in read_file(self.file)]
        if self.name is None:
            if self.count is not None:
                raise ConfigurationError("--count needs a --name with {n}")
            return []
        return numbered(self.name, self.count, self.first, "--name")


SELECTION = Selection()


def number_or_share(text: str, flag: str) -> int | float:
    """Return a number of servers, or a share such as ``10%`` as a fraction. Raises `ConfigurationError`."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else int(text)
    except ValueError:
        raise ConfigurationError(
            f"{flag} is a number such as 2 or a share such as 10%, not {text!r}"
        ) from None


def numbered(pattern: str | None, count: int | None, first: int, flag: str) -> list[str]:
    """Return the names that a pattern produces."""
    pattern = pattern or ""
    try:
        parts = list(string.Formatter().parse(pattern))
        fields = [field for _, field, _, _ in parts if field is not None]
        if any(field != "n" or conversion for _, field, _, conversion in parts if field is not None):
            raise ValueError("only {n} is allowed in it")
        # the width in {n:02} determines the memory, so it is limited
        if any(len(spec or "") > 3 for _, _, spec, _ in parts):
            raise ValueError("a format such as {n:02} is enough")
        names = [pattern.format(n=number) for number in range(first, first + (count or 1))]
    except (ValueError, IndexError, KeyError) as unfit:
        raise ConfigurationError(f"{flag} {pattern!r}: {unfit}") from None
    if count is not None and count > 1 and not fields:
        raise ConfigurationError(f"{flag} {pattern!r} is one name for {count} servers: put {{n}} into it")
    return names


def read_file(path: Path) -> list[ServerSpec]:
    """Read specs from a TOML or JSON file. Raises `ConfigurationError`, with the line of a syntax error."""
    text = read_text(path, "--file: ")
    kind = path.suffix.lower().removeprefix(".")
    try:
        if kind == "toml":
            data: Any = tomllib.loads(text)
        elif kind == "json":
            data = json.loads(text, object_pairs_hook=_no_repeats)
        else:
            raise ConfigurationError(f"--file: {path}: the name must end in .toml or .json")
    except (tomllib.TOMLDecodeError, json.JSONDecodeError) as error:
        raise ConfigurationError(f"--file: {path} is not {kind.upper()}: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"--file: {path} is nested too deeply") from None
    try:
        return read_specs(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"--file: {path}: {'; '.join(str(error).splitlines())}") from None


def _no_repeats(pairs: Sequence[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ConfigurationError("a key appears twice in one object")
    return found
