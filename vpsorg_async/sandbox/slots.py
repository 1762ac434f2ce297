"""One server over time: its states, and what reads show of it. Pure."""

from __future__ import annotations

import math
from typing import Any

from attrs import define, evolve

from .records import Server


@define(eq=False)
class Slot:
    """The states of one server, oldest first, and the times until which reads show or hide it."""

    states: list[Server]
    gone: float = math.inf
    """Until then it can be read by id."""
    unlisted: float = math.inf
    """Until then lists show it."""
    hidden_by_id: float = -math.inf
    hidden_in_list: float = -math.inf
    draws: int = 0

    @property
    def server(self) -> Server:
        """The present state."""
        return self.states[-1]

    def at(self, moment: float, end: float) -> Server | None:
        """Return the state at a moment; None before the first one, and from `end` on."""
        if moment >= end:
            return None
        return next((state for state in reversed(self.states) if state.since <= moment), None)

    def change(self, moment: float, **fields: Any) -> Server:
        """Begin another state."""
        last = self.server
        if "status" in fields:
            fields = {"until": None, "then": None, **_boot(last, fields["status"], moment), **fields}
        self.states.append(evolve(last, since=moment, **fields))
        return self.server

    def adjust(self, **fields: Any) -> Server:
        """Change the present state itself."""
        self.states[-1] = evolve(self.server, **fields)
        return self.server

    def hide(self, until: float, *, by_id: bool, in_list: bool) -> None:
        """Hide the server from reads."""
        if by_id:
            self.hidden_by_id = until
        if in_list:
            self.hidden_in_list = until


def _boot(last: Server, status: str, moment: float) -> dict[str, Any]:
    """Return the fields of a boot that begins or ends with this status."""
    if status != "active":
        return {"active_since": None}
    return {} if last.status == "active" else {"active_since": moment, "boots": last.boots + 1}
