"""Whose account, and where: options, environment and profile file become the settings of a client."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
import sys
import tomllib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar
from urllib.parse import urlsplit

import attrs
from cyclopts import Group, Parameter

from ..client import Client
from ..config import BASE_URL_NAME, DEFAULT_BASE_URL, DIALECT_NAME, TOKEN_NAMES
from ..errors import ConfigurationError

__all__ = ["ACCOUNT", "Account", "Settings", "config_file", "keep_dialect"]

T = TypeVar("T")

PROFILE = "default"
MOST = 65_536
"""Bytes read of a token or a profile file."""
_KEYS = {"token", "base_url", "dialect"}


@Parameter(name="*", group=Group("Account", sort_key=2))
@attrs.frozen(kw_only=True)
class Account:
    """The options that every command on an account has."""

    token_file: Annotated[str | None, Parameter(help="Read the API token from this file; - is stdin.")] = None
    profile: Annotated[str | None, Parameter(help="Use this profile of the configuration file.")] = None
    base_url: Annotated[str | None, Parameter(help="Address of the API, without /api/v1.")] = None
    dialect: Annotated[str | None, Parameter(help="documented, or provider.")] = None
    trust_env: Annotated[
        bool, Parameter(help="Heed the proxy variables of the environment.", show_default=False)
    ] = False

    def settings(self) -> Settings:
        """The settings to use. Raises `ConfigurationError`.

        An option goes first, then the profile that was named, the environment, the profile `default`.
        """
        found = _profile(self.profile)
        if self.profile is None:
            found |= _environment()
        if self.token_file is not None:
            found["token"] = _token(self.token_file)
        if not found.get("token"):
            raise ConfigurationError(
                f"no API token: set {TOKEN_NAMES[0]}, or use --token-file, or a profile in {config_file()}"
            )
        return Settings(
            token=found["token"],
            base_url=self.base_url or found.get("base_url") or DEFAULT_BASE_URL,
            dialect=self.dialect or found.get("dialect") or "documented",
            profile=self.profile or PROFILE,
            trust_env=self.trust_env,
        )


ACCOUNT = Account()
"""No option given."""


@attrs.frozen(kw_only=True)
class Settings:
    """What a client is made of."""

    token: str = attrs.field(repr=False)
    base_url: str
    dialect: str
    profile: str
    trust_env: bool = False

    def client(self, **options: Any) -> Client:
        """A client, which keeps the durations that it sees for the next run. Raises `ConfigurationError`."""
        return Client(
            self.token,
            base_url=self.base_url,
            dialect=self.dialect,
            trust_env=self.trust_env,
            durations_file=self._durations_file(),
            **options,
        )

    def run(
        self,
        work: Callable[[Client], Coroutine[Any, Any, T]],
        *,
        on_event: Callable[[Any], None] | None = None,
    ) -> T:
        """Do the work with an open client, on a loop of its own. Ctrl-C cancels it."""

        async def connected() -> T:
            async with self.client(on_event=on_event) as vps:
                return await work(vps)

        # what the client warns of is shown by the commands themselves
        logging.getLogger("vpsorg_async").addHandler(logging.NullHandler())
        return asyncio.run(connected())

    def _durations_file(self) -> Path | None:
        parts = urlsplit(self.base_url)
        place = f"{parts.hostname}-{parts.port or parts.scheme}" if parts.hostname else ""
        # what was learned of one service says nothing of another, least of all of a sandbox that is in a hurry
        file = _folder("XDG_CACHE_HOME", ".cache") / "durations" / f"{place.replace(':', '_')}.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return file


def config_file() -> Path:
    """The file of the profiles, in the platform's folder for such files."""
    return _folder("XDG_CONFIG_HOME", ".config") / "config.toml"


def _folder(variable: str, fallback: str) -> Path:
    given = os.environ.get(variable, "")
    if os.path.isabs(given):
        return Path(given) / "vpsorg"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", "~")).expanduser() / "vpsorg"
    if sys.platform == "darwin" and fallback == ".config":
        return Path("~/Library/Application Support").expanduser() / "vpsorg"
    return Path("~").expanduser() / fallback / "vpsorg"


def _environment() -> dict[str, str]:
    names = {"base_url": (BASE_URL_NAME,), "dialect": (DIALECT_NAME,), "token": TOKEN_NAMES}
    found = {
        key: next((os.environ[name] for name in given if os.environ.get(name, "").strip()), "")
        for key, given in names.items()
    }
    return {key: value.strip() for key, value in found.items() if value}


def _token(place: str) -> str:
    """The first line of a file or of stdin."""
    if place == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise ConfigurationError("--token-file -: the token is read from a pipe, and stdin is a terminal")
        text = sys.stdin.readline(MOST)
    else:
        try:
            with open(place, encoding="utf-8") as file:
                text = file.readline(MOST)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"--token-file: {_why(place, error)}") from None
    if not text.strip():
        raise ConfigurationError(f"--token-file: there is no token in {'stdin' if place == '-' else place}")
    return text.strip()


def _profile(name: str | None) -> dict[str, str]:
    """A profile of the file; nothing where none was named and there is none."""
    path = config_file()
    text = _read(path)
    if text is None:
        if name is not None:
            raise ConfigurationError(f"--profile {name}: there is no file {path}")
        return {}
    profiles = _profiles(path, text)
    found = profiles.get(name or PROFILE)
    if found is None:
        if name is not None:
            known = ", ".join(profiles) or "none"
            raise ConfigurationError(f"--profile {name}: {path} has no such profile (it has {known})")
        return {}
    return dict(found)


def _read(path: Path) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            _check_private(path, file)
            return file.read(MOST)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(_why(str(path), error)) from None


def _check_private(path: Path, file: IO[str]) -> None:
    # what was opened, not what the name stands for by then
    mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(
            f"{path} holds tokens and others can read it (mode {mode:04o}): run chmod 600 '{path}'"
        )


def _profiles(path: Path, text: str) -> Mapping[str, Mapping[str, str]]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    profiles: dict[str, dict[str, str]] = data.get("profiles", {})
    for key in set(data) - {"profiles"}:
        raise ConfigurationError(f"{path}: {key} is unknown; profiles stand in [profiles.NAME]")
    for name, profile in profiles.items() if isinstance(profiles, dict) else (("", None),):
        if not isinstance(profile, dict) or any(not isinstance(value, str) for value in profile.values()):
            raise ConfigurationError(f"{path}: a profile is a table [profiles.NAME] of strings")
        for key in set(profile) - _KEYS:
            raise ConfigurationError(
                f"{path}: {key} in [profiles.{name}] is unknown; known are {', '.join(sorted(_KEYS))}"
            )
    return profiles


def keep_dialect(name: str, dialect: str) -> Path:
    """Put the dialect into a profile, which is made if need be; all else stays. Raises `ConfigurationError`."""
    path = config_file()
    text = _read(path) or ""
    before = _profiles(path, text)
    lines = text.splitlines()
    entry = f'dialect = "{dialect}"'
    headers = [
        number for number, line in enumerate(lines) if line.split("#")[0].strip() == f"[profiles.{name}]"
    ]
    if not headers:
        lines += [*([""] if lines else []), f"[profiles.{name}]", entry]
    else:
        begin = headers[0] + 1
        end = next((n for n in range(begin, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
        told = [n for n in range(begin, end) if lines[n].split("=")[0].strip() == "dialect"]
        lines[slice(told[0], told[0] + 1) if told else slice(begin, begin)] = [entry]
    text = "\n".join(lines) + "\n"
    try:
        written = tomllib.loads(text)["profiles"]
    except (tomllib.TOMLDecodeError, KeyError):
        written = {}
    if written != {**before, name: {**before.get(name, {}), "dialect": dialect}}:
        raise ConfigurationError(
            f"{path} is written in a way that can't be changed here: add {entry} yourself"
        )
    aside = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside.unlink(missing_ok=True)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        aside.replace(path)
    except OSError as error:
        raise ConfigurationError(_why(str(path), error)) from None
    return path


def _why(place: str, error: OSError | UnicodeDecodeError) -> str:
    said = error.strerror if isinstance(error, OSError) else "it is not text"
    return f"{place} can't be read: {said}" if isinstance(error, UnicodeDecodeError) else f"{place}: {said}"
