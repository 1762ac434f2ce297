"""The options of `vpsorg fleet plan` and `apply` for servers that are replaced."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from cyclopts import Group, Parameter

from .ages import read_span
from .specs import number_or_share
from .time_options import OptionalSeconds

__all__ = ["SWAPPING", "Swapping"]


@Parameter(name="*", group=Group("Replacing servers", sort_key=2))
@attrs.frozen(kw_only=True)
class Swapping:
    """Whether servers that differ are replaced, and how many at a time."""

    replace: Annotated[
        Literal["never", "rolling"],
        Parameter(help="Whether servers of another plan, system or location are replaced, a few at a time."),
    ] = "never"
    replace_older_than: Annotated[
        str | None, Parameter(help="Replace also servers of at least this age, such as 30d.")
    ] = None
    surge: Annotated[
        str | None,
        Parameter(
            help="How many servers more than the fleet has may exist: a number or a share; 1 by default."
        ),
    ] = None
    max_unavailable: Annotated[
        str | None,
        Parameter(help="How many servers may be unavailable: a number or a share; 0 by default."),
    ] = None
    drain: Annotated[
        OptionalSeconds,
        Parameter(
            help="Time for which the old server stays once the new one is ready; 0 by default.",
        ),
    ] = None
    canary: Annotated[int | None, Parameter(help="How many servers go first, one by one; 1 by default.")] = (
        None
    )
    max_failures: Annotated[
        int | None, Parameter(help="After how many failures no further server is replaced; 1 by default.")
    ] = None
    delete_failed: Annotated[
        bool, Parameter(help="Delete new servers that failed again.", show_default=False)
    ] = False
    names: Annotated[
        Literal["free", "stable"] | None,
        Parameter(help="The names of new servers: free numbers (the default), or the old names in the end."),
    ] = None

    def options(self) -> dict[str, Any]:
        """Return the options of `Fleet.plan` that were given. Raises `ConfigurationError`."""
        older = self.replace_older_than
        given: dict[str, Any] = {
            "replace_when": None if older is None else read_span(older, "--replace-older-than"),
            "surge": None if self.surge is None else number_or_share(self.surge, "--surge"),
            "max_unavailable": None
            if self.max_unavailable is None
            else number_or_share(self.max_unavailable, "--max-unavailable"),
            "drain": self.drain,
            "canary": self.canary,
            "max_failures": self.max_failures,
            "delete_failed": self.delete_failed or None,
            "names": self.names,
        }
        return {"replace": self.replace} | {name: value for name, value in given.items() if value is not None}


SWAPPING = Swapping()
"""The default: nothing is replaced."""
