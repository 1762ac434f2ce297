"""Which servers of a run are stuck, and whether a stuck one is replaced. Pure.

A server is stuck when its wait ended by the timeout, in a status that means failure, or because its ready check did not
pass. It is stuck earlier than that (`Tally.is_overdue`) only if what is known of its kind says so: it takes `OVERDUE`
times as long as the slowest one ever did, here or in earlier runs, and `SIBLINGS` others of its kind have come up in
this run. A kind is a plan, an operating system and a location: one image can take ten times as long as another.

A stuck server is replaced only if few others are: one that does not come up can have a broken host, but many at the
same time have a cause in common, and servers created meanwhile would be stuck as well. So there is a breaker:

==================================================================  ===================================================
of the servers of the run                                           a stuck one
==================================================================  ===================================================
more than ``max_unhealthy`` are stuck                               stays, and so do all later ones: the breaker is open
``max_replacements`` have been replaced                             stays
so many have come up that the others can't open the breaker         is replaced
none of these                                                       is decided on later, when more of them have come up
                                                                    or are stuck
==================================================================  ===================================================

The last row is what keeps the first servers of a broken half from being replaced: their neighbors time out a moment
later. A server that is being replaced, or was not, counts as stuck until one of its name has come up. Servers that
failed otherwise, such as those whose create was refused, do not count at all.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ..errors import (
    ConfigurationError,
    NeverReadyError,
    UnexpectedStatusError,
    VpsOrgError,
    WaitTimeoutError,
)
from ..lifecycle.contract import FAILURES
from ..records import ServerId
from ..replace_policy import places

__all__ = ["Fate", "Health", "Kind", "StuckPolicy", "Tally", "is_stuck", "stuck_policy"]

OVERDUE = 2.0
"""How many times as long as the slowest of its kind a server takes that is stuck before its timeout. A provider that
creates one after the other is no reason: each that comes up moves this on."""
SIBLINGS = 3
"""The number of servers of its kind in the run that have come up before another one can be overdue."""
LEAST = 60.0
"""Seconds before which no server is overdue: where all others take two, one that takes five is only unlucky."""

Kind = tuple[str, str, str]
"""The plan, the operating system and the location of a server."""


class Fate(enum.Enum):
    """What is done with a stuck server."""

    DECIDE_LATER = "decide later"
    REPLACE = "replace"
    LEAVE = "leave"
    BREAK = "break"
    """Left as it is, like all later ones."""


@attrs.frozen(kw_only=True)
class StuckPolicy:
    """How many servers of a run are replaced, and up to which share of stuck ones.

    A fifth, at least one server, is more than what single hosts break, and less than what an outage of a location or of
    an image does. Three replacements are the most that a run costs beyond what its caller has asked for.
    """

    max_replacements: int = 3
    max_unhealthy: float = 0.2


@attrs.frozen(kw_only=True)
class Health:
    """The servers of a run that should come up: ``total`` of them.

    ``up`` have come up, ``stuck`` were found stuck and have not come up since, and ``replaced`` counts replacements.
    """

    total: int
    up: int
    stuck: int
    replaced: int

    def fate(self, policy: StuckPolicy) -> tuple[Fate, str]:
        """Return what is done with a stuck server now, and why it is left, if it is."""
        allowed = self.allowed(policy)
        if self.stuck > allowed:
            return Fate.BREAK, (
                f"{self.stuck} of {self.total} servers are stuck at the same time, and "
                f"max_unhealthy={policy.max_unhealthy:g} allows {allowed}: the cause is not in single servers, so no "
                "stuck server is replaced any more"
            )
        if self.replaced >= policy.max_replacements:
            return (
                Fate.LEAVE,
                f"{self.replaced} stuck servers were replaced, as many as max_replacements allows",
            )
        return (Fate.REPLACE if self.total - self.up <= allowed else Fate.DECIDE_LATER), ""

    def allowed(self, policy: StuckPolicy) -> int:
        """Return the number of servers that may be stuck at the same time; at least one."""
        return places(policy.max_unhealthy, self.total)


class Tally:
    """What a run knows of its servers: which of its keys are up, and which are stuck."""

    def __init__(self, keys: Iterable[ServerId]) -> None:
        """``keys`` are those of the servers that should come up."""
        self._open = {*keys}
        self._later: set[ServerId] = set()
        self._stuck: set[ServerId] = set()
        self._total, self._up = len(self._open), 0
        self._replaced = 0
        self._siblings: dict[Kind, list[float]] = {}

    def join(self, keys: Iterable[ServerId]) -> None:
        """Count further servers that should come up, each from when it is `begun`."""
        self._later.update(keys)

    def begun(self, key: ServerId) -> None:
        """Note that the work on a key begins."""
        # one that waits for its turn must not keep a stuck one, which may hold that turn, from being decided on
        if key in self._later:
            self._later.remove(key)
            self._open.add(key)
            self._total += 1

    @property
    def health(self) -> Health:
        """The numbers that a decision depends on."""
        return Health(total=self._total, up=self._up, stuck=len(self._stuck), replaced=self._replaced)

    def expects(self, key: ServerId) -> bool:
        """Return whether a server should come up, and has no outcome yet."""
        return key in self._open

    def found_stuck(self, key: ServerId) -> None:
        """Count a server as stuck, until it is up or was found not to be."""
        self._stuck.add(key)

    def not_stuck(self, key: ServerId) -> None:
        """Do not count a server as stuck any more: it goes on."""
        self._stuck.discard(key)

    def sibling(self, kind: Kind, seconds: float) -> None:
        """Count a server of this kind that this run has created and that came up after so long."""
        self._siblings.setdefault(kind, []).append(seconds)

    def settled(self, key: ServerId, *, up: bool) -> None:
        """Note the outcome of a key: its server is up, or it failed, perhaps because it is stuck."""
        if key not in self._open:
            return
        self._open.remove(key)
        if up:
            self._up += 1
            self._stuck.discard(key)
        elif key not in self._stuck:
            self._total -= 1

    def replaced(self, change: int = 1) -> None:
        """Count one more replacement, or one less (-1) because it did not happen."""
        self._replaced += change

    def is_overdue(self, kind: Kind, age: float, slowest: float | None) -> bool:
        """Return whether a server is stuck although its timeout has not passed.

        Args:
            kind: Its kind.
            age: Seconds since its create was acknowledged.
            slowest: Seconds that the slowest of its kind took in earlier runs; None where too few are known.
        """
        siblings = self._siblings.get(kind, [])
        if slowest is None or len(siblings) < SIBLINGS:
            return False
        return age > max(OVERDUE * max([slowest, *siblings]), LEAST)


def is_stuck(error: VpsOrgError) -> bool:
    """Return whether a wait that ended with this error shows that its server is stuck.

    A server that was stopped was stopped by someone, and one that is gone, or was never seen, is nothing to delete.
    """
    if isinstance(error, UnexpectedStatusError):
        return error.last_seen is not None and error.last_seen.status in FAILURES
    return isinstance(error, WaitTimeoutError | NeverReadyError)


def stuck_policy(given: Mapping[str, Any]) -> StuckPolicy | None:
    """Return how stuck servers are replaced, by the options of a call; None if they are only reported.

    Raises:
        ConfigurationError: An option is invalid, or goes with ``on_stuck="replace"`` only.
    """
    on_stuck = given.get("on_stuck", "report")
    if on_stuck not in ("report", "replace"):
        raise ConfigurationError(f"on_stuck is 'report' or 'replace', not {on_stuck!r}")
    if on_stuck == "report":
        alone = [key for key in ("max_replacements", "max_unhealthy") if key in given]
        if alone:
            raise ConfigurationError(f"{' and '.join(alone)}: only with on_stuck='replace'")
        return None
    default = StuckPolicy()
    most = given.get("max_replacements", default.max_replacements)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ConfigurationError(f"max_replacements is a number of servers from 1, not {most!r}")
    share = given.get("max_unhealthy", default.max_unhealthy)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ConfigurationError(
            f"max_unhealthy is a share of the servers, above 0 and at most 1, not {share!r}"
        )
    return StuckPolicy(max_replacements=most, max_unhealthy=float(share))
