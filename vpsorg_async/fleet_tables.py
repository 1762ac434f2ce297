"""The fleets that a TOML file contains."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from .errors import ConfigurationError
from .fleet_spec import FleetSpec, check_apart
from .spec_tables import read_rows

__all__ = ["load_fleets", "read_fleets"]


def load_fleets(file: str | os.PathLike[str]) -> tuple[FleetSpec, ...]:
    """Read fleets from a TOML file: a ``[[fleet]]`` for each, and a ``[defaults]`` for all of them if there is one.

    Reading is strict: ``"12"`` is not 12, and a key that is not a field of `FleetSpec` is refused.

    Args:
        file: The path of the file, in UTF-8.

    Raises:
        ConfigurationError: The file can't be read, or does not fit. The message has the line of a syntax error, and a
            line such as ``$.fleet[1].count: expected an integer, not "20"`` for each other problem.

    Example::

        fleets = load_fleets("fleet.toml")
        report = await vps.fleet.apply(fleets, timeout=900)
    """
    try:
        path = Path(file)
        data = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except TypeError:
        raise ConfigurationError(f"the file of fleets is a path, not {file!r}") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: it is not text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigurationError(f"{file}: it can't be read: {error}") from None
    try:
        return read_fleets(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {'; '.join(str(error).splitlines())}") from None


def read_fleets(data: object) -> tuple[FleetSpec, ...]:
    """Read fleets from plain data: a list, or an object with ``fleet``. Raises `ConfigurationError` with places."""
    fleets = tuple(read_rows(data, "fleet", FleetSpec, "fleets"))
    check_apart(fleets)
    return fleets
