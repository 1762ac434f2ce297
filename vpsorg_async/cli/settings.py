"""The account and its address: options, environment and profile file become the settings of a client."""

from __future__ import annotations

import functools
import logging
import os
import shlex
import sys
from collections.abc import Callable, Coroutine, Mapping, Set
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import attrs
from cyclopts import Group, Parameter

from .. import tokens
from ..client import Client
from ..config import (
    API_PREFIX,
    DEFAULT_BASE_URL,
    TOKEN_NAMES,
    Limits,
    Token,
    TokenSource,
    check_base_url,
    environment_settings,
    variable_of,
)
from ..dialects import DIALECTS, check_dialect
from ..errors import AuthenticationError, ConfigurationError, RequestError, Sent
from . import signals
from .files import text_of, why
from .profile_file import MOST, ProfileFile, UnreadableError, config_file, folder, read_profiles
from .stdio import note
from .suggestions import did_you_mean

__all__ = ["ACCOUNT", "PROFILE_NAME", "Account", "Named", "Place", "Settings", "first_line"]

T = TypeVar("T")

JOURNAL_NAME = "VPSORG_JOURNAL"
PROFILE_NAME = "VPSORG_PROFILE"
_GROUP = Group("Account", sort_key=2)


@Parameter(name="*", group=_GROUP)
@attrs.frozen(kw_only=True)
class Named:
    """The option that names a profile."""

    profile: Annotated[
        str | None,
        Parameter(help="Use this profile of the configuration file; VPSORG_PROFILE names one as well."),
    ] = None

    @property
    def named(self) -> str | None:
        """The profile that the option or the environment names. None for neither."""
        return self.profile if self.profile is not None else os.environ.get(PROFILE_NAME, "").strip() or None

    @property
    def said(self) -> str:
        """How the profile was named, for messages."""
        return f"--profile {self.profile}" if self.profile is not None else f"{PROFILE_NAME}={self.named}"


@Parameter(name="*", group=_GROUP)
@attrs.frozen(kw_only=True)
class Place(Named):
    """The options that say which account it is, and where."""

    base_url: Annotated[str | None, Parameter(help="Address of the API, without /api/v1.")] = None
    dialect: Annotated[str | None, Parameter(help="Dialect of the API: documented or provider.")] = None
    trust_env: Annotated[
        bool, Parameter(help="Use the proxy variables of the environment.", show_default=False)
    ] = False

    @property
    def written(self) -> str:
        """These options for a shell, each after a space, so that a hint can repeat them; empty for none."""
        given = {"--profile": self.profile, "--base-url": self.base_url, "--dialect": self.dialect}
        words = [f" {name} {shlex.quote(value)}" for name, value in given.items() if value is not None]
        return "".join(words) + (" --trust-env" if self.trust_env else "")

    def resolved(
        self, given: Mapping[str, str], source: TokenSource | None = None, *, new: bool = False
    ) -> Settings:
        """Return the settings to use, which may lack a token.

        The order is: what is given, the options, the named profile, the environment, the active profile of the file.

        Args:
            given: The token, if it comes from elsewhere.
            source: What brings that token again, if there is such a function.
            new: Whether the named profile may be missing.

        Raises:
            ConfigurationError: The file of profiles is needed and can't be read, or is wrong.
        """
        options = {"base_url": self.base_url, "dialect": self.dialect}
        chosen = {**given, **{key: value for key, value in options.items() if value is not None}}
        environment = {} if self.named is not None else _environment("token" in given)
        file, profile = self._profile({*environment, *chosen}, new=new)
        name = file.active if self.named is None else self.named
        found = {**profile, **environment, **chosen}
        origins = {
            **dict.fromkeys(profile, f"[profiles.{name}]"),
            **{key: variable_of(key) or JOURNAL_NAME for key in environment},
            **{key: f"--{key.replace('_', '-')}" for key in options if key in chosen},
        }
        if "token" in given:
            origins["token"] = "--token-file"
        elif "token" not in environment:
            source = _source(profile)
            brings = next((key for key in ("token_file", "token_command") if profile.get(key)), None)
            origins |= {"token": f"{brings} of [profiles.{name}]"} if brings else {}
        base_url = found.get("base_url") or DEFAULT_BASE_URL
        dialect = found.get("dialect") or "documented"
        try:
            check_dialect(dialect)
        except ConfigurationError as unknown:
            hint = did_you_mean(dialect, DIALECTS)
            raise ConfigurationError(f"{origins['dialect']}: {unknown}{hint}") from None
        return Settings(
            token=found.get("token", ""),
            source=source,
            base_url=check_base_url(base_url, name=f"{origins.get('base_url', 'base_url')}"),
            dialect=dialect,
            profile=name,
            journal=found.get("journal"),
            limits=_limits(found.get("limits"), name),
            status_words=found.get("status_words"),
            visibility=found.get("visibility"),
            trust_env=self.trust_env,
            origins=origins,
            options=self.written,
        )

    def _profile(self, given: Set[str], *, new: bool) -> tuple[ProfileFile, Mapping[str, Any]]:
        """Return the file, and its named or active profile. An error in it is raised only if the file is needed."""
        try:
            file = read_profiles()
            if new and (file.active if self.named is None else self.named) not in file.profiles:
                return file, {}
            return file, file.get(self.named, self.said)
        except ConfigurationError as problem:
            # a file that can't be opened is probably not this user's, so it matters only if the token is missing
            needed = {"token"} if isinstance(problem, UnreadableError) else {"token", "base_url"}
            if self.named is not None or not given >= needed:
                raise
            note(f"vpsorg: the profiles are not used: {problem}")
            return ProfileFile(path=config_file()), {}


@Parameter(name="*", group=_GROUP)
@attrs.frozen(kw_only=True)
class Account(Place):
    """The account options of every command."""

    token_file: Annotated[
        str | None,
        Parameter(help="Read the API token from this file; - is standard input.", allow_leading_hyphen=True),
    ] = None

    @property
    def written(self) -> str:
        """As in `Place`, with the file of the token."""
        file = "" if self.token_file is None else f" --token-file {shlex.quote(self.token_file)}"
        return super().written + file

    def settings(self) -> Settings:
        """Return the settings to use, as `resolved` does. Raises `ConfigurationError`, also without a token."""
        if self.token_file is None:
            unused = variable_of("token")
            if self.profile is None and self.named is not None and unused:
                note(f"vpsorg: {unused} is not used, because {PROFILE_NAME} names a profile")
            found = self.resolved({})
        else:
            # a file is read again if the token is refused
            source = None if self.token_file == "-" else functools.partial(_token, self.token_file)
            found = self.resolved({"token": _token(self.token_file)}, source)
        if found.token or found.source is not None:
            return found
        if self.named is not None:
            raise ConfigurationError(
                f"no API token: [profiles.{self.named}] has none; vpsorg login --profile {shlex.quote(self.named)} "
                "stores one"
            )
        raise ConfigurationError(
            f"no API token: run vpsorg login, or set {TOKEN_NAMES[0]}, or use --token-file, or a profile in "
            f"{config_file() or 'the configuration file'}"
        )


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
    status_words: Mapping[str, str] | None = None
    """What the account's own status words mean."""
    visibility: float | None = None
    """Seconds for which a server that was just created may be missing; None: the default."""
    trust_env: bool = False
    origins: Mapping[str, str] = attrs.field(factory=dict)
    """Where each setting comes from: an option, a variable, or a profile. One that is missing has its default."""
    options: str = ""
    """The account options of the command for a shell, each after a space, so that a hint can repeat them."""

    @property
    def credential(self) -> Token:
        """The token, or what brings it."""
        return self.source or self.token

    @property
    def limited(self) -> list[str]:
        """The line of a plan that names the limits. None without limits."""
        if self.limits is None:
            return []
        given = {field.name: getattr(self.limits, field.name) for field in attrs.fields(Limits)}
        texts = [f"{name}={value}" for name, value in given.items() if value not in (None, False)]
        return [f"limits of [profiles.{self.profile}]: {', '.join(texts)}"] if texts else []

    def client(self, **options: Any) -> Client:
        """Return a client that stores measured durations for the next run. Raises `ConfigurationError`."""
        if self.visibility is not None:
            options = {"visibility": self.visibility, **options}
        return Client(
            self.credential,
            base_url=self.base_url,
            dialect=self.dialect,
            status_words=self.status_words,
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
        **options: Any,
    ) -> T:
        """Run the work with an open client, as `signals.run` does. ``options`` are further ones of the client."""

        async def connected() -> T:
            try:
                async with self.client(on_event=on_event, **options) as vps:
                    return await work(vps)
            except AuthenticationError as error:
                error.add_note(self.about_token)
                raise
            except RequestError as error:
                if urlsplit(self.base_url).path and error.sent is not Sent.MAYBE:
                    # the request is named by its own path
                    where = self.origins.get("base_url", "this command")
                    error.add_note(f"the address of the API is {self.base_url}{API_PREFIX}, by {where}")
                raise

        # the commands themselves show what the client logs as warnings
        logging.getLogger("vpsorg_async").addHandler(logging.NullHandler())
        return signals.run(connected(), last_words)

    @property
    def about_token(self) -> str:
        """Which token was refused, and what to do about it."""
        text = (
            f"the token comes from {self.origins.get('token', 'this command')}; if it has expired or was deleted, "
            "create another one in the account's dashboard, under developers"
        )
        stored = self.origins.get("token") == f"[profiles.{self.profile}]"
        return (
            f"{text}, and store it with vpsorg login --profile {shlex.quote(self.profile)}"
            if stored
            else text
        )

    def _durations_file(self) -> Path | None:
        try:
            parts = urlsplit(self.base_url)
            place = f"{parts.hostname}-{parts.port or parts.scheme}" if parts.hostname else ""
        except ValueError:
            return None  # the client refuses the address with a message
        # durations of one service say nothing about another, least of all about an accelerated sandbox
        place_of_caches = folder("XDG_CACHE_HOME", ".cache")
        if place_of_caches is None:
            return None
        file = place_of_caches / "durations" / f"{place.replace(':', '_')}.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        return file


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
            return first_line("--token-file -")
        with open(place, "rb") as file:
            token = text_of(file.readline(MOST)).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--token-file: {place}: {why(error)}") from None
    if not token:
        raise ConfigurationError(f"--token-file: there is no token in {place}")
    return token


def first_line(option: str) -> str:
    """Return the token that the first line of standard input is. Raises `ConfigurationError`."""
    if sys.stdin is None or sys.stdin.isatty():
        raise ConfigurationError(f"{option}: the token is read from a pipe, but standard input is a terminal")
    try:
        line: bytes | str = getattr(sys.stdin, "buffer", sys.stdin).readline(MOST)
        token = (line if isinstance(line, str) else text_of(line)).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{option}: standard input: {why(error)}") from None
    if not token:
        raise ConfigurationError(f"{option}: there is no token in standard input")
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
