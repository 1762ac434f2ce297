"""What fleet calls emit: frozen records, the same for hooks and for the progress display.

``operation`` is that of the call, as in its report: ``create``, ``ensure``, ``apply``, ``scale``, ``start``, ``stop``,
``reboot``, ``delete``, or ``rolling reboot``, ``rolling stop``, ``rolling start``. ``command`` is what is sent to the
server.
``key`` is the name of the spec, or the id that was given.
"""

from __future__ import annotations

import attrs

from ..lifecycle.receipts import Receipt
from ..records import Server, ServerId
from .outcomes import Outcome

__all__ = [
    "CommandAnswered",
    "CommandLost",
    "CommandSent",
    "FleetEvent",
    "ServerActive",
    "ServerAdopted",
    "ServerNotReady",
    "ServerReplaced",
    "ServerSettled",
    "ServerSwitched",
]


@attrs.frozen(kw_only=True)
class CommandSent:
    """The command of a server is sent now. Emitted once, also where the command is retried."""

    operation: str
    command: str
    key: ServerId


@attrs.frozen(kw_only=True)
class CommandAnswered:
    """The command was acknowledged; the server is waited for now. ``server_id`` of a create is the new server's.

    ``receipt`` is what another process needs in order to wait for this command, or to take up the fleet. ``server`` is
    the record in the answer to a create. In the provider dialect only this record has the root password: store it
    here, so that a crash during the boot does not lose it.
    """

    operation: str
    command: str
    key: ServerId
    server_id: ServerId
    receipt: Receipt | None = None
    server: Server | None = None


@attrs.frozen(kw_only=True)
class CommandLost:
    """The answer to a create was lost; its server is searched for by name."""

    operation: str
    key: ServerId
    message: str


@attrs.frozen(kw_only=True)
class ServerAdopted:
    """The server of a create whose answer was lost was found; ``receipt`` is made from it."""

    operation: str
    key: ServerId
    server_id: ServerId
    receipt: Receipt | None = None


@attrs.frozen(kw_only=True)
class ServerActive:
    """A server has its status, and its ready checks begin. Only in calls with ``ready=`` or ``health=``."""

    operation: str
    key: ServerId
    server_id: ServerId


@attrs.frozen(kw_only=True)
class ServerNotReady:
    """A ready check did not pass, for another reason than the time before. It is repeated."""

    operation: str
    key: ServerId
    server_id: ServerId
    reason: str


@attrs.frozen(kw_only=True)
class ServerReplaced:
    """A stuck server was deleted and is gone; another one is created now. Only in calls with ``on_stuck="replace"``.

    ``server_id`` is that of the deleted server, and ``reason`` is why it was stuck.
    """

    operation: str
    key: ServerId
    server_id: ServerId
    reason: str


@attrs.frozen(kw_only=True)
class ServerSwitched:
    """A new server has taken over from an old one, which is deleted next. ``server_id`` is the new one's."""

    operation: str
    key: ServerId
    old_id: ServerId
    server_id: ServerId


@attrs.frozen(kw_only=True)
class ServerSettled:
    """A server has its outcome."""

    operation: str
    key: ServerId
    outcome: Outcome


FleetEvent = (
    CommandSent
    | CommandAnswered
    | CommandLost
    | ServerAdopted
    | ServerActive
    | ServerNotReady
    | ServerReplaced
    | ServerSwitched
    | ServerSettled
)
