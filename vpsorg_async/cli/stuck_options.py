"""`--on-stuck` and its limits: what commands do with servers that do not come up."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import attrs
from cyclopts import Group, Parameter

from ..errors import ConfigurationError
from ..fleet.stuck import stuck_policy

__all__ = ["AS_THEY_ARE", "Stuck"]

_GROUP = Group("Servers that do not come up", sort_key=1.5)


@Parameter(name="*", group=_GROUP)
@attrs.frozen(kw_only=True)
class Stuck:
    """The options for servers that a command has created and that do not come up."""

    on_stuck: Annotated[
        Literal["report", "replace"],
        Parameter(help="report: leave them; replace: delete each, and create another one when it is gone."),
    ] = "report"
    max_replacements: Annotated[
        int | None, Parameter(help="The most servers that are replaced; 3 by default.", show_default=False)
    ] = None
    max_unhealthy: Annotated[
        str | None,
        Parameter(
            help="The share that may be stuck at the same time, such as 20%, the default; above it none is replaced.",
            show_default=False,
        ),
    ] = None

    @property
    def asked(self) -> bool:
        """Whether servers are to be replaced."""
        return self.on_stuck == "replace"

    def options(self, *, wait: bool = True) -> dict[str, Any]:
        """Return the options of a fleet call. Raises `ConfigurationError`, which names the option."""
        share: Any = None
        if self.max_unhealthy is not None:
            share = _share(self.max_unhealthy)
        given = {"on_stuck": self.on_stuck, "max_replacements": self.max_replacements, "max_unhealthy": share}
        options = {key: value for key, value in given.items() if value is not None}
        try:
            policy = stuck_policy(options)
        except ConfigurationError as problem:
            text = str(problem).replace("on_stuck='replace'", "--on-stuck replace")
            for key in given:
                text = text.replace(key, f"--{key.replace('_', '-')}")
            raise ConfigurationError(text) from None
        if policy is not None and not wait:
            raise ConfigurationError("--on-stuck replace needs the waits: it does not go with --no-wait")
        return options if policy is not None else {}


def _share(text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ConfigurationError(f"--max-unhealthy is a share such as 20%, not {text!r}") from None


AS_THEY_ARE = Stuck()
"""The default: no option was given."""
