"""What hooks are called with: frozen records without secrets.

``Client(on_event=...)`` is called with each `ClientEvent`, and ``on_event`` of a fleet call with each `FleetEvent`.
Hooks are called, not awaited. An exception that a hook raises is logged and has no other effect.

``operation`` in a `ClientEvent` is that of one request, in a `FleetEvent` that of the whole call.

Example::

    def hook(event: ClientEvent) -> None:
        match event:
            case RetryScheduled(request=request, after=after):
                print(f"{request}: next attempt in {after:.1f} s")
"""

from __future__ import annotations

from .fleet.events import (
    CommandAnswered,
    CommandLost,
    CommandSent,
    FleetEvent,
    ServerActive,
    ServerAdopted,
    ServerNotReady,
    ServerReplaced,
    ServerSettled,
    ServerSwitched,
)
from .http.events import (
    AnswerMisfit,
    AttemptFailed,
    ChangeAbandoned,
    ListIncomplete,
    RateLowered,
    RequestAnswered,
    RequestSent,
    RetryScheduled,
)
from .lifecycle.events import ServerStuck

__all__ = [
    "AnswerMisfit",
    "AttemptFailed",
    "ChangeAbandoned",
    "ClientEvent",
    "CommandAnswered",
    "CommandLost",
    "CommandSent",
    "FleetEvent",
    "ListIncomplete",
    "RateLowered",
    "RequestAnswered",
    "RequestSent",
    "RetryScheduled",
    "ServerActive",
    "ServerAdopted",
    "ServerNotReady",
    "ServerReplaced",
    "ServerSettled",
    "ServerStuck",
    "ServerSwitched",
]

ClientEvent = (
    RequestSent
    | RequestAnswered
    | AttemptFailed
    | RetryScheduled
    | RateLowered
    | AnswerMisfit
    | ListIncomplete
    | ChangeAbandoned
    | ServerStuck
)
"""Everything that ``Client(on_event=...)`` is called with."""
