"""What a journal holds of a name or a server. Plain data."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import attrs

from ..codec import loads
from ..errors import ConfigurationError
from ..lifecycle.commands import COMMANDS
from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from ..specs import check_id, id_text, name_key

__all__ = [
    "Acknowledged",
    "Intent",
    "Kind",
    "StandingPair",
    "Subject",
    "as_text",
    "read_ids",
    "same_ids",
    "subject_of",
]


@attrs.frozen(kw_only=True)
class Intent:
    """A command that was about to be sent when its run stopped. It may have been applied.

    ``at`` is the time of day (UTC) shortly before it was sent, for people: a clock can be set meanwhile, so a settle
    window counts from the beginning of the run that searches. ``before`` has the ids that were in the account before
    the first create in doubt of this name, in the form of `same_ids`; none of them is its result. It is empty for
    other commands than ``create``.
    """

    operation: str
    at: datetime
    before: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Acknowledged:
    """A command that was acknowledged before its run stopped. ``done`` says that the run saw it done.

    ``leaving`` says that the run was about to delete the server that it had created, in order to create another one.
    """

    receipt: Receipt
    done: bool = False
    leaving: bool = False

    @property
    def operation(self) -> str:
        """The command."""
        return self.receipt.operation

    @property
    def at(self) -> datetime:
        """The time of day (UTC) at which it was acknowledged."""
        return self.receipt.acknowledged_at


@attrs.frozen(kw_only=True)
class StandingPair:
    """A replacement that a run has begun, and that has not come to its end.

    Attributes:
        new: The name of the new server.
        old: The old server, as it was.
        new_id: The id of the new server, once its create was acknowledged.
        switched: Whether the old server was switched off from its work: only its delete is left to be done.
        switching: Whether the switch to the new server was called, also if it did not come to its end.
    """

    new: str
    old: Server
    new_id: ServerId | None = None
    switched: bool = False
    switching: bool = False


class Kind(StrEnum):
    """What a command names: a create has a name, and all others have a server."""

    NAME = "name"
    SERVER = "server"


class Subject(NamedTuple):
    """A name or a server in the form in which they are compared."""

    kind: Kind
    key: str


def subject_of(subject: ServerId, operation: str) -> Subject:
    """Return what the command names. Raises `ConfigurationError`."""
    if operation not in COMMANDS:
        raise ConfigurationError(
            f"a journal knows the commands {', '.join(sorted(COMMANDS))}, not {operation!r}"
        )
    if operation != "create":
        return Subject(Kind.SERVER, as_text(subject))
    if not isinstance(subject, str):
        raise ConfigurationError(f"a create is of a name, not of {subject!r}")
    return Subject(Kind.NAME, name_key(subject))


def as_text(server_id: ServerId) -> str:
    """Return an id in the form in which ids are compared. Raises `ConfigurationError`."""
    return id_text(check_id(server_id))


def same_ids(ids: Iterable[ServerId]) -> frozenset[str]:
    """Return ids in the form in which they are compared: texts in lower case."""
    return frozenset(id_text(server_id) for server_id in ids)


def read_ids(text: str) -> frozenset[str]:
    """Return the ids of a stored JSON list."""
    return frozenset(loads(text.encode()))
