"""What a fleet call tells while it runs: frozen records, the same for hooks and for the progress display."""

from __future__ import annotations

import attrs

from ..records import ServerId
from .outcomes import Outcome

__all__ = ["CommandAnswered", "CommandLost", "CommandSent", "FleetEvent", "ServerAdopted", "ServerSettled"]


@attrs.frozen(kw_only=True)
class CommandSent:
    """A worker takes a server up: its command is about to leave."""

    operation: str
    key: ServerId


@attrs.frozen(kw_only=True)
class CommandAnswered:
    """Its command was acknowledged; ``server_id`` is the new server's, for a create. It is waited for now."""

    operation: str
    key: ServerId
    server_id: ServerId


@attrs.frozen(kw_only=True)
class CommandLost:
    """The answer to a create was lost; it is looked for by its name."""

    operation: str
    key: ServerId
    message: str


@attrs.frozen(kw_only=True)
class ServerAdopted:
    """A create whose answer was lost was found to have worked."""

    operation: str
    key: ServerId
    server_id: ServerId


@attrs.frozen(kw_only=True)
class ServerSettled:
    """A server has its outcome."""

    operation: str
    key: ServerId
    outcome: Outcome


FleetEvent = CommandSent | CommandAnswered | CommandLost | ServerAdopted | ServerSettled
