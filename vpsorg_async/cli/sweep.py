"""Which servers a sweep deletes: old ones whose names fit a pattern, within guards. Pure.

================================  ================================================================
a server whose name fits          is
================================  ================================================================
and that is older                 deleted
and that is younger               kept
and that shows no creation time   kept: its age is not known
and that is protected             kept
and that is being deleted         kept: another delete could be refused, which would end the sweep
================================  ================================================================

Servers whose names do not fit are no part of a sweep. A sweep that would delete more than its guard permits is refused
as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from ..counting import counted
from ..errors import ConfigurationError
from ..lifecycle.commands import LEAVING
from ..records import Server
from ..replace_policy import places
from ..specs import name_key
from .ages import span_text
from .server_names import check_narrow, fits, read_pattern

__all__ = ["MOST", "Row", "Sweep", "SweepPlan"]

MOST = 10
"""The most servers that a sweep deletes by default."""


@attrs.frozen
class Row:
    """A server that fits, whether it is deleted, and why or why not."""

    server: Server
    deleted: bool
    reason: str


@attrs.frozen
class SweepPlan:
    """A row for each server that fits, the oldest first; ``refusal`` says why none may be deleted."""

    rows: tuple[Row, ...]
    refusal: str = ""

    @property
    def deletes(self) -> tuple[Server, ...]:
        """The servers to delete."""
        return tuple(row.server for row in self.rows if row.deleted)


@attrs.frozen(kw_only=True)
class Sweep:
    """What a sweep is asked to delete.

    Args:
        pattern: The pattern of the names: ``*`` stands for any text, ``?`` for any character. Case does not matter.
        older_than: The age from which servers are deleted.
        protect: Names of servers that are not deleted; each fits the pattern.
        max_deletes: The most deletes: a whole number, or a share up to 1.0 of the servers that fit, at least one.

    Raises:
        ConfigurationError: The pattern is no pattern of names or would fit everything, or a protected name does not
            fit it.
    """

    pattern: str
    older_than: timedelta
    protect: Sequence[str] = ()
    max_deletes: float = MOST

    def __attrs_post_init__(self) -> None:
        read_pattern(self.pattern, "--name")
        check_narrow(self.pattern, "--name ")
        share = isinstance(self.max_deletes, float)
        if self.max_deletes < 0 or (share and not 0 < self.max_deletes <= 1):
            raise ConfigurationError("--max-deletes is a number from 0, or a share from 1% to 100%")
        for name in self.protect:
            if not self._fits(name):
                raise ConfigurationError(
                    f"--protect {name!r} protects nothing: it does not fit --name {self.pattern!r}"
                )

    def plan(
        self,
        servers: Iterable[Server],
        now: datetime,
        name_of: Callable[[Server], str] = lambda one: one.name,
    ) -> SweepPlan:
        """Return what is deleted of these servers, given the time of day and the names by which they are found."""
        fitting = [server for server in servers if self._fits(name_of(server))]
        kept = set(map(name_key, self.protect))
        rows = [self._row(server, now, protected=name_key(name_of(server)) in kept) for server in fitting]
        rows.sort(key=lambda row: (row.server.created_at or now, str(row.server.id)))
        plan = SweepPlan(tuple(rows))
        share = self.max_deletes if isinstance(self.max_deletes, float) else None
        most = places(self.max_deletes, len(fitting))
        if len(plan.deletes) > most:
            what = (
                f"--max-deletes permits {most}" if share is None else f"a share of {share:g} permits {most}"
            )
            refusal = f"{len(plan.deletes)} of {counted(len(fitting), 'server')} would be deleted, and {what}"
            plan = attrs.evolve(plan, refusal=refusal)
        return plan

    def _fits(self, name: str) -> bool:
        return fits(self.pattern, name)

    def _row(self, server: Server, now: datetime, *, protected: bool) -> Row:
        if server.status in LEAVING:
            return Row(server, False, "it is being deleted already")
        if server.created_at is None:
            return Row(server, False, "its age is not known: it shows no time of creation")
        age = now - server.created_at
        if protected:
            return Row(server, False, f"protected, {span_text(age)} old")
        if age <= self.older_than:
            return Row(server, False, f"{span_text(age)} old")
        return Row(server, True, f"{span_text(age)} old")
