"""The file of profiles: where it is, how it is read, and how one key of it is changed.

A change keeps everything else as it was written: comments, other profiles, line ends, the mode, a link to the file. It
is made line by line, and compared as a whole before it is stored, so a form that it does not understand is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
import tomllib
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..config import check_seconds
from ..errors import ConfigurationError
from ..runtime import check_words
from .files import replace, why
from .suggestions import did_you_mean

__all__ = [
    "DEFAULT",
    "MOST",
    "ProfileFile",
    "UnreadableError",
    "choose",
    "config_file",
    "folder",
    "keep_dialect",
    "read_profiles",
    "store",
]

DEFAULT = "default"
"""The profile that is used if nothing names another one."""
MOST = 65_536
"""The maximum size of the file, in bytes."""
BYTE_ORDER_MARK = "\ufeff"
_TEXTS = {"token", "token_file", "token_command", "base_url", "dialect", "journal"}
_TABLES = {"limits", "status_words"}
_NUMBERS = {"visibility"}
_CHOICE = "profile"
"""The key, above all tables, that names the profile to use instead of `DEFAULT`."""


class UnreadableError(ConfigurationError):
    """The file can't be opened."""


@attrs.frozen(kw_only=True)
class ProfileFile:
    """The profiles of a file, as they are written in it. ``path`` is None if there is no home directory."""

    path: Path | None
    profiles: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    active: str = DEFAULT
    text: str | None = attrs.field(default=None, repr=False)
    """The text of the file, with its line ends and its byte order mark. None if there is no file."""

    def get(self, name: str | None, said: str = "") -> Mapping[str, Any]:
        """Return a profile, its files as full paths. None is the active one, which need not exist if it is `DEFAULT`.

        ``said``: how the name was given, for messages. Raises `ConfigurationError`.
        """
        if name is None and self.active == DEFAULT and DEFAULT not in self.profiles:
            return {}
        if name is None:
            name, said = self.active, f'{_CHOICE} = "{self.active}"'
        found = self.profiles.get(name)
        if found is None and self.text is None:
            where = self.path or "of profiles, because there is no home directory"
            raise ConfigurationError(f"{said}: there is no file {where}")
        if found is None:
            known = ", ".join(self.profiles) or "none"
            meant = did_you_mean(name, self.profiles)
            raise ConfigurationError(f"{said}: {self.path} has no such profile (it has {known}){meant}")
        assert self.path is not None
        # one file for all working directories: another journal would not know what was sent
        files = {key: os.path.expanduser(found[key]) for key in ("token_file", "journal") if found.get(key)}
        return {**found, **{key: os.path.join(self.path.parent, file) for key, file in files.items()}}


def config_file() -> Path | None:
    """Return the path of the profile file in the platform's folder for it. None if there is no home directory."""
    place = folder("XDG_CONFIG_HOME", ".config")
    return None if place is None else place / "config.toml"


def folder(variable: str, fallback: str) -> Path | None:
    """Return the folder of this command below the one that the variable names, else below one of the home directory."""
    given = os.environ.get(variable, "")
    if not os.path.isabs(given):
        # without a home directory the ~ stays, and the path is not absolute
        given = os.path.expanduser(f"~/{fallback}")
        if sys.platform == "win32":
            given = os.environ.get("APPDATA") or os.path.expanduser("~")
        elif sys.platform == "darwin" and fallback == ".config":
            given = os.path.expanduser("~/Library/Application Support")
    return Path(given) / "vpsorg" if os.path.isabs(given) else None


def read_profiles() -> ProfileFile:
    """Return the profiles; none if there is no file.

    Raises:
        UnreadableError: The file can't be opened.
        ConfigurationError: Others can read it, or it is not a file of profiles.
    """
    path = config_file()
    text = None if path is None else _read(path)
    if path is None or text is None:
        return ProfileFile(path=path)
    return _parsed(path, text)


def _read(path: Path) -> str | None:
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
        raise UnreadableError(f"{path}: {why(error)}") from None
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


def _parsed(path: Path, text: str) -> ProfileFile:
    try:
        data = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply") from None
    profiles: dict[str, dict[str, Any]] = data.get("profiles", {})
    for key in set(data) - {"profiles", _CHOICE}:
        raise ConfigurationError(f"{path}: {key} is unknown; profiles are tables [profiles.NAME]")
    active = data.get(_CHOICE, DEFAULT)
    if not isinstance(active, str):
        raise ConfigurationError(f"{path}: {_CHOICE} is a string, the name of the profile to use")
    for name, profile in profiles.items() if isinstance(profiles, dict) else (("", None),):
        if not isinstance(profile, dict):
            raise ConfigurationError(f"{path}: a profile is a table [profiles.NAME]")
        _check(path, name, profile)
    return ProfileFile(path=path, profiles=profiles, active=active, text=text)


def _check(path: Path, name: str, profile: Mapping[str, Any]) -> None:
    """Raise `ConfigurationError` for a key that is not known, or a value of another kind."""
    known = _TEXTS | _TABLES | _NUMBERS
    for key, value in profile.items():
        if key not in known:
            raise ConfigurationError(
                f"{path}: {key} in [profiles.{name}] is unknown; known are {', '.join(sorted(known))}"
            )
        if key in _TABLES:
            fits, wanted = isinstance(value, dict), f"a table [profiles.{name}.{key}]"
        elif key in _NUMBERS:
            fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
        else:
            fits, wanted = isinstance(value, str), "a string"
        if not fits:
            raise ConfigurationError(f"{path}: {key} in [profiles.{name}] is {wanted}")
    try:
        check_words(profile.get("status_words"))
        check_seconds(profile.get("visibility", 0), "visibility", zero=True)
    except ConfigurationError as unfit:
        raise ConfigurationError(f"{path}: [profiles.{name}]: {unfit}") from None


# -- changes --------------------------------------------------------------------------------------------------------


def keep_dialect(name: str, dialect: str) -> Path:
    """Write the dialect into a profile, and create the profile if necessary. Raises `ConfigurationError`."""
    return store(name, {"dialect": dialect})


def store(name: str, values: Mapping[str, str | None]) -> Path:
    """Write these keys into a profile, and create the profile if necessary. None removes a key.

    Raises:
        ConfigurationError: The file can't be read or written, or has a form that can't be changed. It is as it was.
    """
    # a message never repeats a token
    shown = [key if key == "token" or value is None else _entry(key, value) for key, value in values.items()]
    advice = f"change {' and '.join(shown)} in [profiles.{_quoted(name)}] yourself"
    with _alone():
        found = read_profiles()
        kept = {**found.profiles.get(name, {}), **values}
        profile = {key: value for key, value in kept.items() if value is not None}
        wanted = attrs.evolve(found, profiles={**found.profiles, name: profile})
        return _write(found, wanted, lambda lines: _with_values(lines, name, values), advice)


def choose(name: str) -> Path:
    """Make a profile the active one. Raises `ConfigurationError`, also if there is no such profile."""
    entry = _entry(_CHOICE, name)

    def changed(lines: list[str]) -> list[str]:
        tables = next((n for n, line in enumerate(lines) if line.startswith("[")), len(lines))
        told = [n for n in range(tables) if _key(lines[n]) == _CHOICE]
        lines[slice(told[0], told[0] + 1) if told else slice(0, 0)] = [
            _in_place_of(lines[told[0]], entry) if told else entry
        ]
        return lines

    with _alone():
        found = read_profiles()
        found.get(name, name)
        advice = f"write {entry} above all tables yourself"
        return _write(found, attrs.evolve(found, active=name), changed, advice)


@contextlib.contextmanager
def _alone() -> Generator[None]:
    """Keep other commands from changing the file: if two changed the same text, the second would undo the first."""
    from ..ready.host_keys import locked

    path = config_file()
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # why there can be no file shows when it is written
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                held.enter_context(locked(path.parent))
        yield


def _write(
    found: ProfileFile, wanted: ProfileFile, change: Callable[[list[str]], list[str]], advice: str
) -> Path:
    """Change the lines of the file, and store it if it then says what is wanted."""
    if found.path is None:
        raise ConfigurationError(f"there is no home directory, so there is no profile file: {advice}")
    text = found.text or ""
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    end = "\r\n" if "\r\n" in text else "\n"
    # only line ends of TOML: a comment may hold others
    lines = text.removeprefix(mark).replace("\r\n", "\n").split("\n")
    lines = lines[:-1] if lines[-1] == "" else lines
    text = mark + "".join(line + end for line in change(lines))
    try:
        written = _parsed(found.path, text)
    except ConfigurationError:
        written = found
    if (written.profiles, written.active) != (wanted.profiles, wanted.active):
        raise ConfigurationError(
            f"{found.path} is written in a form that this command can't change: {advice}"
        )
    try:
        replace(found.path, text)
    except OSError as error:
        raise ConfigurationError(f"{found.path}: {why(error)}; {advice}") from None
    return found.path


def _with_values(lines: list[str], name: str, values: Mapping[str, str | None]) -> list[str]:
    headers = [n for n, line in enumerate(lines) if _heads(line, name)]
    if not headers:
        lines += [*([""] if lines else []), f"[profiles.{_quoted(name)}]"]
    begin = (headers[0] if headers else len(lines) - 1) + 1
    for key, value in values.items():
        last = next((n for n in range(begin, len(lines)) if lines[n].strip().startswith("[")), len(lines))
        told = [n for n in range(begin, last) if _key(lines[n]) == key]
        entry = [] if value is None else [_entry(key, value)]
        if told and entry:
            entry = [_in_place_of(lines[told[0]], *entry)]
        lines[slice(told[0], told[0] + 1) if told else slice(begin, begin)] = entry
        begin += 0 if told else len(entry)  # new keys stay in their order
    return lines


def _heads(line: str, name: str) -> bool:
    """Return whether a line is the header of a profile, however it is spelled."""
    try:
        return line.lstrip().startswith("[") and tomllib.loads(line) == {"profiles": {name: {}}}
    except tomllib.TOMLDecodeError:
        return False


def _in_place_of(line: str, entry: str) -> str:
    """Return the entry with the indentation and the comment of the line that it replaces."""
    indentation = line[: len(line) - len(line.lstrip())]
    for place, sign in enumerate(line):
        if sign == "#":
            with contextlib.suppress(tomllib.TOMLDecodeError):
                tomllib.loads(line[:place])  # the sign is not in a string
                return f"{indentation}{entry}  {line[place:]}"
    return indentation + entry


def _key(line: str) -> str:
    return line.split("=")[0].strip().strip("\"'")


def _entry(key: str, value: str) -> str:
    return f"{key} = {_string(value)}"


def _quoted(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _string(name)


def _string(value: str) -> str:
    # a string of JSON is one of TOML, except for the one control character that JSON leaves as it is
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
