"""The receipt of an acknowledged command: plain data that can be stored, and waited on by another process."""

from __future__ import annotations

import json
from datetime import datetime

import attrs

from ..codec import Decoder
from ..errors import ConfigurationError, DecodeError
from ..records import Server, ServerId
from ..specs import check_id
from ..timing import SystemClock
from .commands import COMMANDS
from .staleness import as_utc

__all__ = ["Receipt"]


def _utc(at: datetime) -> datetime:
    if not isinstance(at, datetime):
        raise ConfigurationError(f"a receipt's time is a datetime, not {at!r}")
    return as_utc(at)


def _command(_: object, __: object, value: str) -> None:
    # a misspelt reboot would be waited for without evidence
    if value not in COMMANDS:
        raise ConfigurationError(f"a receipt is of one of {', '.join(sorted(COMMANDS))}, not of {value!r}")


@attrs.frozen(kw_only=True)
class Receipt:
    """An acknowledged command on a server. Plain data: it can be stored, and waited on by another process.

    ``acknowledged_at`` is the time of day (UTC) of the machine that sent it. ``status`` is the server's status in the
    answer. ``status_before`` is the last status known before, ``updated_before`` the last ``updated_at`` if it is sure
    to be that of the server as the command found it: seen within a minute, with no earlier command in progress.
    """

    server_id: ServerId
    operation: str = attrs.field(validator=_command)
    acknowledged_at: datetime = attrs.field(converter=_utc)
    status: str | None = None
    status_before: str | None = None
    updated_before: datetime | None = None

    @classmethod
    def of(cls, server: Server, operation: str) -> Receipt:
        """Return the receipt of a command whose effect a server shows, such as the create of one that was found.

        Args:
            server: The server, as it was read.
            operation: ``create``, ``start``, ``stop``, ``reboot`` or ``delete``.

        Raises:
            ConfigurationError: The operation is not one of these.

        Example:
            ``Receipt.of(server, "create")``
        """
        at = server.created_at if operation == "create" else None
        return cls(
            server_id=server.id,
            operation=operation,
            acknowledged_at=at or SystemClock().wall(),
            status=str(server.status),
        )

    def to_json(self) -> str:
        """As JSON, for a queue or a database; `from_json` reads it in any other process."""
        return json.dumps(attrs.asdict(self), default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str | bytes) -> Receipt:
        """What `to_json` wrote. Raises `ConfigurationError` for anything else."""
        try:
            receipt = _decode(text.encode() if isinstance(text, str) else text)
        except DecodeError as error:
            problems = "; ".join(error.problems)
        else:
            check_id(receipt.server_id)
            return attrs.evolve(receipt)  # decoding runs neither converters nor validators
        raise ConfigurationError(f"this is not a receipt: {problems}")


_decode: Decoder[Receipt] = Decoder(Receipt)
