"""`--status` and `--location`: which servers of the account a command is for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import attrs
from cyclopts import Group, Parameter

from ..errors import ConfigurationError
from ..lifecycle.commands import MOVING, SETTLED
from ..records import Server
from .suggestions import unknown_status

__all__ = ["FILTERS", "Filters", "words"]


def words(text: str | None, flag: str) -> list[str]:
    """Return the words of an option such as ``active,stopped``. Raises `ConfigurationError` if one is empty."""
    found = [] if text is None else [word.strip() for word in text.split(",")]
    if not all(word and word.isprintable() for word in found):
        raise ConfigurationError(f"{flag} {text!r}: a word is missing; several are separated by commas")
    return found


@Parameter(name="*", group=Group("Servers", sort_key=1))
@attrs.frozen(kw_only=True)
class Filters:
    """The options that leave servers out. Raises `ConfigurationError` if there is nothing to compare with."""

    status: Annotated[
        str | None, Parameter(help="Only servers with one of these statuses, such as active,stopped.")
    ] = None
    location: Annotated[
        str | None, Parameter(help="Only servers at one of these locations, such as us-west,us-east.")
    ] = None

    def __attrs_post_init__(self) -> None:
        words(self.status, "--status")
        words(self.location, "--location")

    def __bool__(self) -> bool:
        return self.status is not None or self.location is not None

    @property
    def statuses(self) -> Sequence[str]:
        """The statuses, none for any."""
        return words(self.status, "--status")

    @property
    def locations(self) -> Sequence[str]:
        """The locations, none for any."""
        return words(self.location, "--location")

    def fits(self, server: Server) -> bool:
        """Return whether a server is one of these. Case does not matter."""
        return _among(server.status, self.statuses) and _among(server.location, self.locations)

    def unknown(self) -> list[str]:
        """Return a sentence on each status that is not known: the service can have others, but it may be misspelled."""
        known = sorted(SETTLED | MOVING)
        return [unknown_status(word, known) for word in self.statuses if word.casefold() not in known]


def _among(value: str | None, given: Sequence[str]) -> bool:
    return not given or (value is not None and value.casefold() in {word.casefold() for word in given})


FILTERS = Filters()
