"""The replacement of one server: what is to be done, how far it came, and what exists after a failure. Data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from ..errors import OutcomeUnknownError, ReplacementError, Sent, ServerGoneError, VpsOrgError, is_absence
from ..lifecycle.commands import GONE
from ..records import Server, ServerId
from ..specs import ServerSpec, same_id
from .jobs import Job, Work
from .outcomes import Failed, Outcome, Skipped, Succeeded
from .replacement import Order, Pair

__all__ = ["Course", "Swap", "SwapWork", "Switch"]

Switch = Callable[[Server, Server], Awaitable[object] | object]
"""Takes the work from the old server to the new one: ``await switch(old, new)``; or a plain function that is quick."""


@attrs.frozen(kw_only=True)
class Swap:
    """What is to be done for one server that is replaced.

    Attributes:
        job: Creates the new server, or waits for the one that exists; its key is that of the outcome.
        spec: The spec of the new server.
        fleet: The index of the fleet.
        old: The old server; its status is ``gone`` if only the rest has to be done.
        delete: Deletes the old server.
        by: The new server, if it exists.
        begun: Whether an earlier run has begun this.
        in_doubt: Whether an earlier create of the new server may have been applied, although it is not seen.
        switched: Whether it has also switched.
        switching: Whether it has called the switch.
        rename: The fields that the new server gets in the end; empty: none.
    """

    job: Job
    spec: ServerSpec
    fleet: int
    old: Server
    delete: Job
    by: Server | None = None
    begun: bool = False
    in_doubt: bool = False
    switched: bool = False
    switching: bool = False
    rename: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def key(self) -> str:
        """The name of the new server."""
        return self.spec.name

    @property
    def pair(self) -> Pair:
        """The same for `Replacement`."""
        return Pair(self.key, down=self.old.status != "active", begun=self._begun)

    @property
    def _begun(self) -> Order | None:
        """How far an earlier run came: a pair of which it has changed nothing waits for its turn like all others."""
        if self.old.status == GONE:
            return Order.OLD_FIRST
        if self.in_doubt or self.job.command != "create":
            return Order.NEW_FIRST
        left = self.delete.acknowledged or self.delete.echo
        return Order.OLD_FIRST if left else None


@attrs.frozen(kw_only=True)
class SwapWork(Work):
    """The work of a run that also replaces servers. Its jobs come first, then the ``swaps``, then the ``later`` ones.

    Attributes:
        swaps: The servers that are replaced.
        later: The deletes.
        fleet_of: The indices of the fleets, by the keys of those jobs that are a part of their fleet's size.
        at_once: The jobs of those new servers that need room before the first old one is deleted.
        over: Names of new servers whose replacement by an earlier run has nothing left to be done.
    """

    swaps: Sequence[Swap]
    later: Sequence[Job]
    fleet_of: Mapping[ServerId, int]
    at_once: Sequence[Job]
    over: Sequence[str]


@attrs.define(eq=False)
class Course:
    """The course of one replacement."""

    swap: Swap
    order: Order
    began: float
    new: Server | None = None
    """The new server, as far as it is known."""
    ready: bool = False
    """Whether the new server is active, and has passed its check."""
    created: bool = False
    """Whether this run, or the one that it takes up, has created it by a create that was acknowledged."""
    switching: bool = False
    """Whether the switch was called, or done by an earlier run."""
    switched: bool = False
    old_gone: bool = False
    maybe_new: bool = False
    """Whether the new server may exist although it is not known."""
    maybe_gone: bool = False
    """Whether the old server may be deleted, or may be leaving."""
    maybe_new_gone: bool = False
    """The same of the new server, which had failed."""
    listed: bool = True
    """Whether the list shows the name that the new server has in the end."""
    part: Outcome | None = None
    """The outcome of the last part."""

    @classmethod
    def of(cls, swap: Swap, order: Order, now: float) -> Course:
        """Return the course of a replacement that begins now."""
        return cls(
            swap,
            order,
            now,
            new=swap.by,
            switching=swap.switched or swap.switching,
            switched=swap.switched,
            old_gone=swap.old.status == GONE,
        )

    # -- what happens -------------------------------------------------------------------------------------------------

    def brought_up(self, outcome: Outcome) -> None:
        """Record the outcome of the new server's create and wait."""
        if isinstance(outcome, Skipped) and self.part is not None:
            return  # the run is left: it was brought up before
        self.part = outcome
        if isinstance(outcome, Succeeded):
            self.new, self.ready, self.created = outcome.server, True, outcome.acknowledged
            by = self.swap.by
            if by is None or self.new is None or not same_id(by.id, self.new.id):
                self.switched = False  # the one that had taken over is gone
        elif isinstance(outcome, Failed):
            self.new = None if isinstance(outcome.error, ServerGoneError) else outcome.server or self.new
            self.created = outcome.acknowledged and self.new is not None
            self.maybe_new = isinstance(outcome.error, OutcomeUnknownError) and self.new is None

    def fell(self) -> None:
        """Record that the new server, which was ready, does not serve any more, or may not."""
        self.ready = False

    def switch_called(self) -> None:
        """Record that the switch is called now."""
        self.switching = True

    def switch_done(self) -> None:
        """Record that the new server has taken over."""
        self.switched = True

    def old_ended(self, outcome: Outcome) -> None:
        """Record the outcome of the old server's delete."""
        if isinstance(outcome, Succeeded):
            self.old_gone = True
            return
        self.part = outcome
        self.maybe_gone = _maybe_applied(outcome)

    def new_ended(self, outcome: Outcome) -> None:
        """Record the outcome of the delete of the new server, which had failed."""
        if isinstance(outcome, Succeeded):
            self.new, self.created = None, False
        else:
            self.maybe_new_gone = _maybe_applied(outcome)

    def renamed(self, new: Server) -> None:
        """Record that the new server has the name of the old one, which no list need show yet."""
        self.new, self.listed = new, False

    def was_listed(self, name: str) -> None:
        """Record that the list shows that name; the answer to the change need not have shown it."""
        assert self.new is not None
        self.new, self.listed = attrs.evolve(self.new, name=name), True

    # -- what came of it ----------------------------------------------------------------------------------------------

    @property
    def extra(self) -> bool:
        """Whether both servers exist, or may exist."""
        return not self.old_gone and (self.new is not None or self.maybe_new)

    @property
    def serving(self) -> bool:
        """Whether one of the two servers serves for sure."""
        old = self.swap.old.status == "active" and not self.old_gone and not self.maybe_gone
        return old or self.ready

    def succeeded(self, now: float) -> Succeeded:
        """Return the outcome of a server that was replaced."""
        part = self.part
        assert isinstance(part, Succeeded)
        return attrs.evolve(
            part, server=self.new, how="replaced", seconds=now - self.began, old=self.swap.old
        )

    def left(self, reason: VpsOrgError, now: float) -> Outcome:
        """Return the outcome of a run that was left: the old server was replaced if only the list is waited for."""
        return self.failed(reason, now) if self.listed else self.succeeded(now)

    def failed(self, reason: VpsOrgError, now: float) -> Failed:
        """Return the outcome of a server that was not replaced, or not wholly: it says what exists."""
        error = ReplacementError(
            f"{_shown(self.swap.old)} was not replaced by {self._shown_new}: {reason}; {self._exists}",
            reason=reason,
            old_id=self.swap.old.id,
            new_id=None if self.new is None else self.new.id,
        )
        part = self.part if isinstance(self.part, Failed | Succeeded) else None
        return Failed(
            self.swap.key,
            error,
            server_id=None if self.new is None else self.new.id,
            server=self.new,
            timeline=() if part is None else part.timeline,
            seconds=now - self.began,
            attempts=0 if part is None else part.attempts,
            stage="" if part is None else part.stage,
            acknowledged=self.created,
            old=self.swap.old,
        )

    @property
    def reason(self) -> VpsOrgError:
        """Why the last part did not succeed."""
        if isinstance(self.part, Skipped):
            return VpsOrgError(self.part.reason)
        assert isinstance(self.part, Failed)
        return self.part.error

    @property
    def _shown_new(self) -> str:
        return self.swap.key if self.new is None else _shown(self.new)

    @property
    def _exists(self) -> str:
        """Say which of the two servers exist, and which one does the work."""
        old, new = _shown(self.swap.old), self._shown_new
        if self.old_gone:
            return f"{old} is gone, and {new} {self._there}"
        if self.switching and not self.switched and self.new is not None:
            return f"both exist, and the switch from {old} to {new} may have been done in part"
        stays = "may have been deleted" if self.maybe_gone else "stays"
        if self.switched:
            return f"{new} has taken over, and {old} {stays}"
        return f"{old} {stays}, and {new} {self._there}"

    @property
    def _there(self) -> str:
        """Say whether the new server exists."""
        if self.new is None:
            return "may exist" if self.maybe_new else "does not exist"
        return "may have been deleted" if self.maybe_new_gone else "exists"


def _maybe_applied(outcome: Outcome) -> bool:
    """Return whether a delete that did not succeed may have been applied, or one that somebody else has sent."""
    if not isinstance(outcome, Failed):
        return False
    error = outcome.error
    return outcome.acknowledged or getattr(error, "sent", None) is Sent.MAYBE or is_absence(error)


def _shown(server: Server) -> str:
    return f"{server.name} [{server.id}]"
