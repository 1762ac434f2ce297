"""`vpsorg login` and `logout`: a token is checked, and stored in a profile; or it is removed from there."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import attrs
from cyclopts import Parameter

from ..client import Client
from ..config import DEFAULT_BASE_URL, TOKEN_NAMES, check_token
from ..errors import ConfigurationError
from ..records import Account as Owner
from .exits import Exit
from .output import OUTPUT, UNASKED, Output, Unasked, Yes, confirm, plain
from .profile_file import read_profiles, store
from .settings import Named, Place, Settings, first_line
from .signals import check
from .stdio import note

__all__ = ["login", "logout"]

PLACE = Place()
NAMED = Named()
SOURCES = ("token_file", "token_command")


def login(
    *,
    token_stdin: Annotated[
        bool, Parameter(help="Read the token from standard input, which is a pipe.", show_default=False)
    ] = False,
    yes: Yes = False,
    place: Place = PLACE,
    output: Output = OUTPUT,
) -> int:
    """Ask for an API token, check it, and store it in a profile.

    Nothing is stored unless the service accepts the token. A terminal does not show what is typed; without a terminal
    the token is the first line of standard input. The address and the dialect that were used are stored with it.
    """
    file = read_profiles()
    name = _checked(file.active if place.named is None else place.named)
    held = file.profiles.get(name, {})
    source = next((key for key in SOURCES if held.get(key)), None)
    if source is not None:
        raise ConfigurationError(
            f"[profiles.{name}] of {file.path} has a {source}, which brings its token: remove that line, or name "
            "another profile with --profile"
        )
    # a token of the environment must not bring its address along
    settings = place.resolved({"token": ""}, new=True)
    settings = attrs.evolve(
        settings,
        token=_token(settings.base_url, piped=token_stdin),
        limits=None,
        origins={**settings.origins, "token": "this login; nothing was stored"},
    )
    owner = settings.run(_owner)
    if held.get("token") not in (None, "", settings.token):
        confirm(
            f"The token is accepted. [profiles.{name}] holds another one, which can't be shown again. Replace it?",
            yes=yes,
        )
    values = {"token": settings.token, **_with_it(settings, held)}
    path = store(name, values)
    permits = f"; the token permits {', '.join(owner.permissions)}" if owner.permissions else ""
    document = {"profile": name, "path": str(path), "stored": [*values], "account": plain(owner)}
    who = owner.email or owner.token_name or "an account without a name"
    lines = [
        f"signed in as {who} at {settings.base_url}{permits}",
        f"stored in [profiles.{name}] of {path}: {', '.join(values)}",
    ]
    output.report(document, lines)
    for line in _not_used(place, name, file.active):
        output.note(line)
    return Exit.OK


def logout(*, named: Named = NAMED, output: Unasked = UNASKED) -> int:
    """Remove the token of a profile from the configuration file, and nothing else.

    The token itself stays valid until it is deleted in the account's dashboard.
    """
    file = read_profiles()
    if named.named is not None:
        file.get(named.named, named.said)
    name = file.active if named.named is None else named.named
    held = file.profiles.get(name, {})
    token = held.get("token")
    left = [
        f"{variable} of the environment" for variable in TOKEN_NAMES if os.environ.get(variable, "").strip()
    ]
    left += [f"{key} of [profiles.{name}]" for key in SOURCES if held.get(key)]
    left += [
        f"[profiles.{other}], the same token"
        for other, values in file.profiles.items()
        if token and other != name and values.get("token") == token
    ]
    if token is None:
        lines = [f"[profiles.{name}] of {file.path} has no token: nothing was changed"]
    else:
        path = store(name, {"token": None})
        lines = [
            f"the token of [profiles.{name}] is removed from {path}; it stays valid until it is deleted in the "
            "account's dashboard, under developers"
        ]
    output.report({"profile": name, "removed": token is not None, "left": left}, lines)
    for place in left:
        output.note(f"there is still a token in: {place}")
    return Exit.OK


async def _owner(vps: Client) -> Owner:
    return await vps.account.me()


def _checked(name: str) -> str:
    if not name.strip() or name != name.strip() or not name.isprintable():
        raise ConfigurationError(f"a profile has a name of printable characters, not {name!r}")
    return name


def _token(base_url: str, *, piped: bool) -> str:
    """Return the token that the user types, or that a pipe brings. Raises `ConfigurationError`."""
    if piped or sys.stdin is None or not sys.stdin.isatty():
        return check_token(first_line("--token-stdin" if piped else "login"))
    check()
    try:
        text = getpass.getpass(f"API token for {base_url} (it is not shown): ")
    except EOFError:
        text = ""
        note("")
    except KeyboardInterrupt:
        note("")
        raise
    if not text.strip():
        raise ConfigurationError("no token was entered; nothing was stored")
    return check_token(text)


def _with_it(settings: Settings, held: Mapping[str, Any]) -> dict[str, str]:
    """Return what has to be stored with the token, so that it is only sent to where it was checked."""
    used = {
        "base_url": (settings.base_url, DEFAULT_BASE_URL),
        "dialect": (settings.dialect, "documented"),
    }
    return {
        key: value
        for key, (value, usual) in used.items()
        if not settings.origins.get(key, "[").startswith("[") and value != (held.get(key) or usual)
    }


def _not_used(place: Place, name: str, active: str) -> list[str]:
    """Return why later commands may not use the stored token."""
    variable = next((one for one in TOKEN_NAMES if os.environ.get(one, "").strip()), None)
    if place.profile is None and place.named is not None:
        return []  # as long as the variable names it
    if name != active:
        name = shlex.quote(name)
        return [f"to use it: --profile {name} for one command, vpsorg profiles use {name} from now on"]
    if variable is not None:
        return [
            f"{variable} is set, and is used instead: unset it, or name the profile with --profile {shlex.quote(name)}"
        ]
    return []
