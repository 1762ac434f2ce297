"""The account and its address: options, environment and profile file become the settings of a client."""

from __future__ import annotations

import functools
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

from .. import tokens
from ..client import Client
from ..config import DEFAULT_BASE_URL, TOKEN_NAMES, Limits, Token, TokenSource, environment_settings
from ..errors import ConfigurationError
from . import signals
from .files import replace, text_of, why
from .stdio import note

__all__ = ["ACCOUNT", "Account", "Settings", "config_file", "keep_dialect"]

T = TypeVar("T")

PROFILE = "default"
MOST = 65_536
"""The maximum size of a token or profile file, in bytes."""
BYTE_ORDER_MARK = "\ufeff"
_KEYS = {"token", "token_file", "token_command", "base_url", "dialect", "journal", "limits"}
JOURNAL_NAME = "VPSORG_JOURNAL"


@Parameter(name="*", group=Group("Account", sort_key=2))
@attrs.frozen(kw_only=True)
class Account:
    """The account options of every command."""

    token_file: Annotated[
        str | None,
        Parameter(help="Read the API token from this file; - is standard input.", allow_leading_hyphen=True),
    ] = None
    profile: Annotated[str | None, Parameter(help="Use this profile of the configuration file.")] = None
    base_url: Annotated[str | None, Parameter(help="Address of the API, without /api/v1.")] = None
    dialect: Annotated[str | None, Parameter(help="Dialect of the API: documented or provider.")] = None
    trust_env: Annotated[
        bool, Parameter(help="Use the proxy variables of the environment.", show_default=False)
    ] = False

    def settings(self) -> Settings:
        """Return the settings to use. Raises `ConfigurationError`.

        The order is: an option, the named profile, the environment, the profile `default`.
        """
        given = {} if self.profile is not None else _environment(self.token_file is not None)
        if self.token_file is not None:
            given["token"] = _token(self.token_file)
        given |= {} if self.base_url is None else {"base_url": self.base_url}
        profile = self._profile(given)
        found = {**profile, **given}
        source = None if "token" in given else _source(profile)
        if self.token_file is not None and self.token_file != "-":
            source = functools.partial(_token, self.token_file)  # it is read again if the token is refused
        if not found.get("token") and source is None:
            raise ConfigurationError(
                f"no API token: set {TOKEN_NAMES[0]}, or use --token-file, or a profile in "
                f"{config_file() or 'the configuration file'}"
            )
        return Settings(
            token=found.get("token", ""),
            source=source,
            base_url=found.get("base_url") or DEFAULT_BASE_URL,
            dialect=self.dialect or found.get("dialect") or "documented",
            profile=self.profile or PROFILE,
            journal=found.get("journal"),
            limits=_limits(found.get("limits"), self.profile or PROFILE),
            trust_env=self.trust_env,
        )

    def _profile(self, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the named profile, else `default`. An error in the file is raised only if the file is needed."""
        try:
            return _profile(self.profile)
        except ConfigurationError as problem:
            # a file that can't be opened is probably not this user's, so it matters only if the token is missing
            needed = {"token"} if isinstance(problem, _Unreadable) else {"token", "base_url"}
            if self.profile is not None or not given.keys() >= needed:
                raise
            note(f"vpsorg: the profiles are not used: {problem}")
            return {}


ACCOUNT = Account()
"""The default: no option was given."""


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a client."""

    token: str = attrs.field(repr=False)
    source: TokenSource | None = attrs.field(default=None, repr=False)
    """What brings the token, now and after it was refused, if it is not a fixed one."""
    base_url: str
    dialect: str
    profile: str
    journal: str | None = None
    """The file of the journal, if one was named."""
    limits: Limits | None = None
    trust_env: bool = False

    @property
    def credential(self) -> Token:
        """The token, or what brings it."""
        return self.source or self.token

    def client(self, **options: Any) -> Client:
        """Return a client that stores measured durations for the next run. Raises `ConfigurationError`."""
        return Client(
            self.credential,
            base_url=self.base_url,
            dialect=self.dialect,
            limits=self.limits,
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
        """Run the work with an open client, as `signals.run` does."""

        async def connected() -> T:
            async with self.client(on_event=on_event) as vps:
                return await work(vps)

        # the commands themselves show what the client logs as warnings
        logging.getLogger("vpsorg_async").addHandler(logging.NullHandler())
        return signals.run(connected(), last_words)

    def _durations_file(self) -> Path | None:
        try:
            parts = urlsplit(self.base_url)
            place = f"{parts.hostname}-{parts.port or parts.scheme}" if parts.hostname else ""
        except ValueError:
            return None  # the client refuses the address with a message
        # durations of one service say nothing about another, least of all about an accelerated sandbox
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
    """Return the path of the profile file in the platform's folder for it. None if there is no home directory."""
    folder = _folder("XDG_CONFIG_HOME", ".config")
    return None if folder is None else folder / "config.toml"


def _folder(variable: str, fallback: str) -> Path | None:
    given = os.environ.get(variable, "")
    if not os.path.isabs(given):
        # without a home directory the ~ stays, and the path is not absolute
        given = os.path.expanduser(f"~/{fallback}")
        if sys.platform == "win32":
            given = os.environ.get("APPDATA") or os.path.expanduser("~")
        elif sys.platform == "darwin" and fallback == ".config":
            given = os.path.expanduser("~/Library/Application Support")
    return Path(given) / "vpsorg" if os.path.isabs(given) else None


def _environment(has_token: bool) -> dict[str, str]:
    """Return the settings of the environment.

    With a token from elsewhere, an address that belongs to the environment's token is not used.
    """
    names = TOKEN_NAMES if has_token else ()
    found = environment_settings({key: value for key, value in os.environ.items() if key not in names})
    journal = os.environ.get(JOURNAL_NAME, "").strip()
    return found | {"journal": journal} if journal else found


def _token(place: str) -> str:
    """Read the token from the first line of a file or of standard input."""
    try:
        if place == "-":
            if sys.stdin is None or sys.stdin.isatty():
                raise ConfigurationError(
                    "--token-file -: the token is read from a pipe, but standard input is a terminal"
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


def _source(profile: Mapping[str, str]) -> TokenSource | None:
    """Return what brings the token of a profile; None for a fixed one."""
    named = [key for key in ("token", "token_file", "token_command") if profile.get(key)]
    if len(named) > 1:
        raise ConfigurationError(f"a profile has one of {' and '.join(named)}, not both")
    if named == ["token_command"]:
        return tokens.from_command(profile["token_command"])
    if named == ["token_file"]:
        return tokens.from_file(profile["token_file"])
    return None


class _Unreadable(ConfigurationError):
    """The profile file can't be opened."""


def _profile(name: str | None) -> Mapping[str, Any]:
    """Return a profile of the file. Returns an empty one if none was named and there is no file."""
    path = config_file()
    text = None if path is None else _read(path)
    if path is None or text is None:
        if name is not None:
            raise ConfigurationError(
                f"--profile {name}: there is no file {path or 'of profiles, because there is no home directory'}"
            )
        return {}
    profiles = _profiles(path, text)
    found = profiles.get(name or PROFILE)
    if found is None:
        if name is not None:
            known = ", ".join(profiles) or "none"
            raise ConfigurationError(f"--profile {name}: {path} has no such profile (it has {known})")
        return {}
    # one file for all working directories: another journal would not know what was sent
    files = {key: os.path.expanduser(found[key]) for key in ("token_file", "journal") if found.get(key)}
    return {**found, **{key: os.path.join(path.parent, file) for key, file in files.items()}}


def _read(path: Path) -> str | None:
    """Return the raw text of the file, with its line ends and its byte order mark. None if there is no file."""
    try:
        with open(path, "rb", opener=_open) as file:
            # the mode of the opened file, because the path may name another file by then
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
    # opening a pipe must not block
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _profiles(path: Path, text: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        data = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply") from None
    profiles: dict[str, dict[str, Any]] = data.get("profiles", {})
    for key in set(data) - {"profiles"}:
        raise ConfigurationError(f"{path}: {key} is unknown; profiles are tables [profiles.NAME]")
    for name, profile in profiles.items() if isinstance(profiles, dict) else (("", None),):
        if not isinstance(profile, dict):
            raise ConfigurationError(f"{path}: a profile is a table [profiles.NAME]")
        for key in set(profile) - _KEYS:
            raise ConfigurationError(
                f"{path}: {key} in [profiles.{name}] is unknown; known are {', '.join(sorted(_KEYS))}"
            )
        for key, value in profile.items():
            if not isinstance(value, dict if key == "limits" else str):
                wanted = f"a table [profiles.{name}.limits]" if key == "limits" else "a string"
                raise ConfigurationError(f"{path}: {key} in [profiles.{name}] is {wanted}")
    return profiles


def _limits(table: Mapping[str, Any] | None, profile: str) -> Limits | None:
    """Return the limits of a profile. An error is always raised: a limit that is left out would permit everything."""
    if table is None:
        return None
    known = [field.name for field in attrs.fields(Limits)]
    try:
        for key in set(table) - set(known):
            raise ConfigurationError(f"{key} is unknown; known are {', '.join(known)}")
        return Limits(**table)
    except ConfigurationError as error:
        raise ConfigurationError(f"{config_file()}: [profiles.{profile}.limits]: {error}") from None


def keep_dialect(name: str, dialect: str) -> Path:
    """Write the dialect into a profile, and create the profile if necessary. Raises `ConfigurationError`."""
    path = config_file()
    entry = f'dialect = "{dialect}"'
    if path is None:
        raise ConfigurationError(f"there is no home directory, so there is no profile file for {entry}")
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
            f"{path} is written in a form that this command can't change: add {entry} yourself"
        )
    try:
        replace(path, text)
    except OSError as error:
        raise ConfigurationError(f"{path}: {why(error)}; add {entry} yourself") from None
    return path
