"""What the reads of one wait are held against: its command, and the reads that counted before. Pure."""

from __future__ import annotations

import math
from datetime import datetime

from ..records import Server
from .commands import COMMANDS, GONE
from .contract import LEADS_TO, Evidence
from .receipts import Receipt
from .staleness import earlier, judge, later

__all__ = ["Grounds"]


class Grounds:
    """The grounds of a wait: they say which reads count, and what these prove. Times are monotonic seconds."""

    __slots__ = (
        "_baseline", "_careful", "_moved", "_newest", "_not_before", "_stale_since", "acknowledged", "receipt",
    )  # fmt: skip

    def __init__(
        self,
        now: float,
        *,
        receipt: Receipt | None,
        acknowledged: float | None,
        newest: datetime | None,
        careful: bool,
    ) -> None:
        """Take the grounds of a wait that begins now.

        Args:
            now: the time, in seconds.
            receipt: the command that is waited for, if one is known.
            acknowledged: when it was acknowledged; by default now.
            newest: the newest ``updated_at`` that was seen of the server.
            careful: a command may have been sent of which no receipt is left.
        """
        self._newest = newest
        self._careful = careful
        self._not_before: float
        self.command(receipt, now if acknowledged is None else acknowledged)
        # a read that left before the wait began proves nothing either, whatever other machines' clocks say
        self._not_before = max(self._not_before, now)

    def command(self, receipt: Receipt | None, at: float) -> None:
        """Begin again with a command that was acknowledged at ``at``: earlier reads prove nothing about it."""
        self.receipt: Receipt | None = receipt
        self.acknowledged: float = at
        # later than the command, not at the same tick of the clock
        self._not_before = at if receipt is None else math.nextafter(at, math.inf)
        self._baseline = None if receipt is None else receipt.updated_before
        self._newest = later(self._newest, self._baseline)
        self._moved = False
        self._stale_since: float | None = None

    # -- which reads count ------------------------------------------------------------------------------------------

    def overtaken(self, requested_at: float) -> bool:
        """Return whether a read left before the command, or before a read that counted."""
        return requested_at < self._not_before

    def fresh(self, updated_at: datetime | None, now: float, patience: float) -> bool:
        """Return whether a read is not stale, by `judge`."""
        counts, self._stale_since = judge(updated_at, self._newest, self._stale_since, now, patience)
        return counts

    def counted(self, requested_at: float, updated_at: datetime | None = None) -> None:
        """Note a read that counts: none that left before it does."""
        self._not_before = max(self._not_before, requested_at)
        self._newest = later(self._newest, updated_at)

    @property
    def stale(self) -> bool:
        """Whether all reads are stale."""
        return self._stale_since is not None

    # -- what they prove --------------------------------------------------------------------------------------------

    @property
    def operation(self) -> str:
        """The command that is waited for; empty where none is known."""
        return "" if self.receipt is None else self.receipt.operation

    @property
    def careful(self) -> bool:
        """Whether a command may have been sent that nothing is known of."""
        return self._careful and self.receipt is None

    @property
    def moved(self) -> bool:
        """Whether the server was seen on its way."""
        return self._moved

    def evidence(self, server: Server) -> Evidence | None:
        """Return what proves that a status of the target came after the command; None where nothing does yet."""
        if not self.was_before(server.status) or self._moved:
            return Evidence.OBSERVED
        if self._baseline is None:
            # nothing was known before the command: the first sighting is what later ones are compared with
            self._baseline = server.updated_at
            return None
        return Evidence.UPDATED if earlier(self._baseline, server.updated_at) else None

    def was_before(self, word: str) -> bool:
        """Return whether the server was in that status, or was last seen in it, before the command."""
        if self.receipt is None:
            return self._careful
        command = COMMANDS[self.receipt.operation]
        # after a delete, whatever is still shown is from before it
        return command.target == GONE or word in (command.before, self.receipt.status_before)

    def on_its_way(self, word: str) -> None:
        """Note a status that is neither target nor settled: the command may have put it there."""
        if self.careful:
            self._moved = self._moved or not any(word in words for words in LEADS_TO.values())
            return
        before = None if self.receipt is None else COMMANDS[self.receipt.operation].before
        self._moved = self._moved or (
            not self.was_before(word) and (before is None or word not in LEADS_TO[before])
        )
