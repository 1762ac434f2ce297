"""What is known of a server when a command on it was acknowledged: the ground that a wait stands on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime

import attrs

from ..models import Server, ServerId

__all__ = ["Journal", "Known", "Receipt"]


@attrs.frozen(kw_only=True)
class Receipt:
    """An acknowledged command on a server. Plain data: it can be stored, and waited on by another process.

    ``acknowledged_at`` is the time of day (UTC) of the machine that sent it. ``status`` is the server's status in the
    answer, ``status_before`` and ``updated_before`` what was known of the server before; None where nothing was.
    """

    server_id: ServerId
    operation: str
    acknowledged_at: datetime
    status: str | None = None
    status_before: str | None = None
    updated_before: datetime | None = None


@attrs.frozen
class Known:
    """The last sighting of a server: what a stale read is told from."""

    status: str
    updated_at: datetime | None
    plan: str = ""
    location: str = ""


class Journal:
    """Per server id: the last sighting, and the last acknowledged command with its monotonic time.

    Bounded: the ids used longest ago are forgotten first, which costs evidence, never truth.
    """

    LIMIT = 50_000

    def __init__(self) -> None:
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._receipts: OrderedDict[str, tuple[Receipt, float]] = OrderedDict()
        self.on_receipt: Callable[[Receipt, float], None] | None = None

    def saw(self, server: Server) -> None:
        """A server was read."""
        plan = "" if server.plan is None or server.plan.id is None else str(server.plan.id)
        self._known[str(server.id)] = Known(server.status, server.updated_at, plan, server.location or "")
        if len(self._known) > self.LIMIT:
            self._known.popitem(last=False)

    def known(self, server_id: ServerId) -> Known | None:
        """The last sighting."""
        return self._known.get(str(server_id))

    def acknowledged(
        self, server_id: ServerId, operation: str, *, at: float, wall: datetime, status: str | None
    ) -> Receipt:
        """A command was acknowledged at the monotonic time ``at``."""
        before = None if operation == "create" else self.known(server_id)
        receipt = Receipt(
            server_id=server_id,
            operation=operation,
            acknowledged_at=wall,
            status=status,
            status_before=None if before is None else before.status,
            updated_before=None if before is None else before.updated_at,
        )
        self._receipts[str(server_id)] = (receipt, at)
        self._receipts.move_to_end(str(server_id))
        if len(self._receipts) > self.LIMIT:
            self._receipts.popitem(last=False)
        if self.on_receipt is not None:
            self.on_receipt(receipt, at)
        return receipt

    def fulfilled(self, server_id: ServerId, receipt: Receipt | None) -> None:
        """A wait saw that command done: later waits on the server need no evidence of it any more."""
        current = self._receipts.get(str(server_id))
        if current is not None and current[0] is receipt:
            del self._receipts[str(server_id)]

    def receipt(self, server_id: ServerId) -> tuple[Receipt, float] | None:
        """The last acknowledged command of this process and its monotonic time."""
        return self._receipts.get(str(server_id))
