"""What a call asks for about replacing servers: its options, checked. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from ..errors import ConfigurationError
from ..journal import StandingPair
from ..records import Server
from ..replace_policy import ReplacePolicy
from .inputs import check_function
from .pairing import Replacing, when_older

__all__ = ["ReplaceOptions"]

_BOUNDS = tuple(field.name for field in attrs.fields(ReplacePolicy))


@attrs.frozen
class ReplaceOptions:
    """What is replaced, and within which bounds. ``when`` is an age, or a function of a server."""

    policy: ReplacePolicy
    when: timedelta | Callable[[Server], object] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ReplaceOptions | None:
        """Return what the options of a call ask for; None if nothing is replaced. Raises `ConfigurationError`."""
        replace = given.get("replace", "never")
        if replace not in ("never", "rolling"):
            raise ConfigurationError(f"replace is 'never' or 'rolling', not {replace!r}")
        if replace == "never":
            needless = [name for name in (*_BOUNDS, "replace_when") if given.get(name) is not None]
            if needless:
                raise ConfigurationError(f"{', '.join(needless)}: only for replace='rolling'")
            return None
        when = given.get("replace_when")
        if isinstance(when, timedelta):
            if when <= timedelta():
                raise ConfigurationError(f"replace_when as an age is longer than 0, not {when!r}")
        elif when is not None and not callable(when):
            raise ConfigurationError(
                f"replace_when is a timedelta, or a function that returns whether a server is replaced, not {when!r}"
            )
        check_function(None if isinstance(when, timedelta) else when, "replace_when", awaited=False)
        return cls(ReplacePolicy(**{name: given[name] for name in _BOUNDS if name in given}), when)

    def at(self, now: datetime, standing: Sequence[StandingPair], *, in_place: bool) -> Replacing:
        """Return what is replaced at this time, given the pairs of the journal and what the dialect can do."""
        when = when_older(self.when, now) if isinstance(self.when, timedelta) else _when(self.when)
        return Replacing(policy=self.policy, when=when, standing=standing, in_place=in_place)


def _when(function: Callable[[Server], object] | None) -> Callable[[Server], str] | None:
    """Return a function that says why a server is replaced, from the user's, which says whether it is."""
    if function is None:
        return None

    def why(server: Server) -> str:
        answer = function(server)
        if inspect.isawaitable(answer):
            # it would be true for each server
            if inspect.iscoroutine(answer):
                answer.close()
            raise ConfigurationError("replace_when is called, not awaited, and returned an awaitable")
        return "replace_when says so" if answer else ""

    return why
