"""`vpsorg profiles`: the profiles of the configuration file. Nothing is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from ..config import DEFAULT_BASE_URL
from .exits import Exit
from .output import OUTPUT, UNASKED, Output, Unasked, columns
from .profile_file import choose, read_profiles
from .settings import Place

__all__ = ["app"]

app: App = App(name="profiles", help="The profiles of the configuration file.", help_epilogue="")

SHOWN = 4
"""The characters of a token that are shown, the last ones, if it is long enough to stay a secret."""


@app.command(name="list")
def list_(*, output: Output = OUTPUT) -> int:
    """List the profiles. No token is shown."""
    file = read_profiles()
    rows = [
        (
            name,
            name == file.active,
            next((key for key in ("token", "token_file", "token_command") if profile.get(key)), None),
            profile.get("base_url") or DEFAULT_BASE_URL,
            profile.get("dialect") or "documented",
        )
        for name, profile in file.profiles.items()
    ]
    names = ("name", "active", "token", "base_url", "dialect")
    output.show(
        [dict(zip(names, row, strict=True)) for row in rows],
        columns([name.upper().replace("_", " ") for name in names], rows),
    )
    if not rows:
        output.note(
            f"there are no profiles in {file.path or 'the configuration file'}: vpsorg login creates one"
        )
    return Exit.OK


@app.command
def use(
    name: Annotated[str, Parameter(help="Name of the profile.")],
    /,
    *,
    output: Unasked = UNASKED,
) -> int:
    """Use a profile from now on, in all commands that name none."""
    path = choose(name)
    output.report(
        {"profile": name, "path": str(path)}, [f"[profiles.{name}] is used from now on, as {path} says"]
    )
    return Exit.OK


@app.command
def show(
    name: Annotated[str | None, Parameter(help="Name of the profile; the one in use by default.")] = None,
    /,
    *,
    output: Output = OUTPUT,
) -> int:
    """Show the settings that a command would use, and where each comes from. Of a token only its end is shown."""
    place = Place(profile=name)
    settings, file = place.resolved({}), read_profiles()
    profile: Mapping[str, Any] = file.profiles.get(settings.profile, {})
    origins = settings.origins
    shown: dict[str, tuple[Any, str | None]] = {
        "token": (mask(settings.token), origins.get("token")),
        "base_url": (settings.base_url, origins.get("base_url")),
        "dialect": (settings.dialect, origins.get("dialect")),
        "journal": (settings.journal, origins.get("journal")),
        "limits": (profile.get("limits"), origins.get("limits")),
    }
    if settings.source is not None:
        key = "token_command" if profile.get("token_command") else "token_file"
        shown["token"] = (profile[key], origins["token"])
    document = {
        "profile": settings.profile,
        "path": file.path and str(file.path),
        "settings": {
            key: {"value": value, "from": origin or "default"} for key, (value, origin) in shown.items()
        },
    }
    rows = [
        (key, _text(value), origin or "default")
        for key, (value, origin) in shown.items()
        if value is not None
    ]
    lines = [f"profile {settings.profile} of {file.path}"] if file.path else []
    output.show(document, [*lines, *columns(("SETTING", "VALUE", "FROM"), rows)])
    if shown["token"][0] is None:
        output.note("there is no token: vpsorg login stores one")
    return Exit.OK


def mask(token: str) -> str | None:
    """Return what may be shown of a token: its end, if the rest is long enough. None for no token."""
    if not token:
        return None
    return f"****{token[-SHOWN:]}" if len(token) >= 4 * SHOWN else "****"


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
