"""Whose account, and where: options, environment and profile file become the settings of a client."""

from __future__ import annotations

import logging
import os
import stat
import sys
import tomllib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import attrs
from cyclopts import Group, Parameter

from ..client import Client
from ..config import DEFAULT_BASE_URL, TOKEN_NAMES, environment_settings
from ..errors import ConfigurationError
from . import signals
from .files import replace, text_of, why
from .stdio import note

__all__ = ["ACCOUNT", "Account", "Settings", "config_file", "keep_dialect"]

T = TypeVar("T")

PROFILE = "default"
MOST = 65_536
"""Bytes read of a token or a profile file."""
BYTE_ORDER_MARK = "\ufeff"
_KEYS = {"token", "base_url", "dialect"}


@Parameter(name="*", group=Group("Account", sort_key=2))
@attrs.frozen(kw_only=True)
class Account:
    """The options that every command on an account has."""

    token_file: Annotated[
        str | None,
        Parameter(help="Read the API token from this file; - is stdin.", allow_leading_hyphen=True),
    ] = None
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
        given = {} if self.profile is not None else _environment(self.token_file is not None)
        if self.token_file is not None:
            given["token"] = _token(self.token_file)
        given |= {} if self.base_url is None else {"base_url": self.base_url}
        found = {**self._profile(given), **given}
        if not found.get("token"):
            raise ConfigurationError(
                f"no API token: set {TOKEN_NAMES[0]}, or use --token-file, or a profile in "
                f"{config_file() or 'the configuration file'}"
            )
        return Settings(
            token=found["token"],
            base_url=found.get("base_url") or DEFAULT_BASE_URL,
            dialect=self.dialect or found.get("dialect") or "documented",
            profile=self.profile or PROFILE,
            trust_env=self.trust_env,
        )

    def _profile(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """Return the profile that was named, else `default`. What is wrong with a file matters where it is needed."""
        try:
            return _profile(self.profile)
        except ConfigurationError as problem:
            # where there is no way to the file, it is hardly the file of this user
            needed = {"token"} if isinstance(problem, _Unreadable) else {"token", "base_url"}
            if self.profile is not None or not given.keys() >= needed:
                raise
            note(f"vpsorg: not used: {problem}")
            return {}


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
        last_words: Callable[[], None] | None = None,
    ) -> T:
        """Do the work with an open client, as `signals.run` does."""

        async def connected() -> T:
            async with self.client(on_event=on_event) as vps:
                return await work(vps)

        # what the client warns of is shown by the commands themselves
        logging.getLogger("vpsorg_async").addHandler(logging.NullHandler())
        return signals.run(connected(), last_words)

    def _durations_file(self) -> Path | None:
        try:
            parts = urlsplit(self.base_url)
            place = f"{parts.hostname}-{parts.port or parts.scheme}" if parts.hostname else ""
        except ValueError:
            return None  # the client refuses the address, and says why
        # what was learned of one service says nothing of another, least of all of a sandbox that is in a hurry
        folder = _folder("XDG_CACHE_HOME", ".cache")
        if folder is None:
            return None
        file = folder / "durations" / f"{place.replace(':', '_')}.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return file


def config_file() -> Path | None:
    """The file of the profiles, in the platform's folder for such files. None where nobody has a home."""
    folder = _folder("XDG_CONFIG_HOME", ".config")
    return None if folder is None else folder / "config.toml"


def _folder(variable: str, fallback: str) -> Path | None:
    given = os.environ.get(variable, "")
    if not os.path.isabs(given):
        # where no home is known, this leaves the ~, and the path is no absolute one
        given = os.path.expanduser(f"~/{fallback}")
        if sys.platform == "win32":
            given = os.environ.get("APPDATA") or os.path.expanduser("~")
        elif sys.platform == "darwin" and fallback == ".config":
            given = os.path.expanduser("~/Library/Application Support")
    return Path(given) / "vpsorg" if os.path.isabs(given) else None


def _environment(has_token: bool) -> dict[str, str]:
    """The settings of the environment. A token from elsewhere does not go to the address of the one that is there."""
    names = TOKEN_NAMES if has_token else ()
    return environment_settings({key: value for key, value in os.environ.items() if key not in names})


def _token(place: str) -> str:
    """The first line of a file or of stdin."""
    try:
        if place == "-":
            if sys.stdin is None or sys.stdin.isatty():
                raise ConfigurationError(
                    "--token-file -: the token is read from a pipe, and stdin is a terminal"
                )
            line: bytes | str = getattr(sys.stdin, "buffer", sys.stdin).readline(MOST)
        else:
            with open(place, "rb") as file:
                line = file.readline(MOST)
        token = (line if isinstance(line, str) else text_of(line)).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--token-file: {place}: {why(error)}") from None
    if not token:
        raise ConfigurationError(f"--token-file: there is no token in {'stdin' if place == '-' else place}")
    return token


class _Unreadable(ConfigurationError):
    """The file of the profiles can't be opened."""


def _profile(name: str | None) -> Mapping[str, str]:
    """A profile of the file; nothing where none was named and there is none."""
    path = config_file()
    text = None if path is None else _read(path)
    if path is None or text is None:
        if name is not None:
            raise ConfigurationError(
                f"--profile {name}: there is no file {path or 'of profiles: no home is known'}"
            )
        return {}
    profiles = _profiles(path, text)
    found = profiles.get(name or PROFILE)
    if found is None:
        if name is not None:
            known = ", ".join(profiles) or "none"
            raise ConfigurationError(f"--profile {name}: {path} has no such profile (it has {known})")
        return {}
    return found


def _read(path: Path) -> str | None:
    """The text of the file as it is, with its line ends and its byte order mark; None where there is no file."""
    try:
        with open(path, "rb", opener=_open) as file:
            # of what was opened, not of what the name stands for by then
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                return None
            raw = file.read(MOST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _Unreadable(f"{path}: {why(error)}") from None
    if os.name == "posix" and mode & 0o077 and raw.strip():
        raise ConfigurationError(
            f"{path} holds tokens and others can read it (mode {stat.S_IMODE(mode):04o}): run chmod 600 '{path}'"
        )
    if len(raw) > MOST:
        raise ConfigurationError(f"{path} is larger than {MOST // 1024} KiB")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text: save it in that encoding") from None


def _open(path: str, flags: int) -> int:
    # a pipe is not waited for
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _profiles(path: Path, text: str) -> Mapping[str, Mapping[str, str]]:
    try:
        data = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply") from None
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
    entry = f'dialect = "{dialect}"'
    if path is None:
        raise ConfigurationError(f"no home is known, so there is no file of profiles for {entry}")
    text = _read(path) or ""
    before = _profiles(path, text)
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith(("\n", "\r")):
        lines[-1] += end
    bare = [line.removeprefix(BYTE_ORDER_MARK).strip() for line in lines]
    headers = [
        number for number, line in enumerate(bare) if line.split("#")[0].strip() == f"[profiles.{name}]"
    ]
    if not headers:
        lines += [*([end] if lines else []), f"[profiles.{name}]{end}", f"{entry}{end}"]
    else:
        begin = headers[0] + 1
        last = next((n for n in range(begin, len(bare)) if bare[n].startswith("[")), len(bare))
        told = [n for n in range(begin, last) if bare[n].split("=")[0].strip() == "dialect"]
        lines[slice(told[0], told[0] + 1) if told else slice(begin, begin)] = [f"{entry}{end}"]
    text = "".join(lines)
    try:
        written = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))["profiles"]
    except (tomllib.TOMLDecodeError, KeyError):
        written = {}
    if written != {**before, name: {**before.get(name, {}), "dialect": dialect}}:
        raise ConfigurationError(
            f"{path} is written in a way that can't be changed here: add {entry} yourself"
        )
    try:
        replace(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {why(error)}; add {entry} yourself") from None
    return path
