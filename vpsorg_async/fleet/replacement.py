"""Which server of a fleet may be replaced next: outcomes go in, the next pairs come out. Pure.

Theory of operation. A *pair* is an old server and the new one that takes its place. A pair is begun *new first* while
the surge has room: the new server is created, and the old one is deleted once the new one serves. It is begun *old
first* while the fleet may lose another server: the old one is deleted, and then the new one is created. New first is
preferred.

At each moment the fleet has at most ``surge`` servers more than its size, and at most ``max_unavailable`` of its
servers do not serve, unless more did not serve at the beginning. Then only servers that are down themselves are
replaced old first, because that makes no other one unavailable; at most ``max_unavailable`` at a time.

The pairs whose old servers are down go first. The first ``canary`` pairs go one by one, alone. After ``max_failures``
failures, or when failed pairs leave no room, nothing more is begun.

=============  ======================================  =====================  ==========================================
state          how it is entered                       a server too many      a server that does not serve
=============  ======================================  =====================  ==========================================
``waiting``    the replacement begins                  no                     if the old one is down
``new first``  `begin` returns the pair so, or an      yes                    if the old one is down
               earlier run has begun it so
``old first``  `begin` returns the pair so, or an      no                     yes
               earlier run has begun it so
``done``       `done`                                  no                     no
``failed``     `failed`                                as its ``extra`` says  unless its ``serving`` says so
``skipped``    it waits when the replacement stops     no                     if the old one is down
=============  ======================================  =====================  ==========================================
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Iterable

import attrs

from ..replace_policy import ReplacePolicy, places

__all__ = ["Order", "Pair", "Replacement"]


class Order(enum.StrEnum):
    """Which server of a pair comes first."""

    NEW_FIRST = "new first"
    """The new one is created, and then the old one is deleted."""
    OLD_FIRST = "old first"
    """The old one is deleted, and then the new one is created."""


@attrs.frozen
class Pair:
    """An old server and the new one that takes its place.

    Attributes:
        key: What identifies the pair: the name of the new server.
        down: Whether the old server does not serve.
        begun: How an earlier run has begun the pair; None if none has.
    """

    key: str
    down: bool = False
    begun: Order | None = None


@attrs.frozen
class _Failure:
    extra: bool
    serving: bool


class Replacement:
    """The replacement of the servers of one fleet.

    Args:
        pairs: The pairs, in the order in which they are replaced.
        policy: The bounds.
        size: The number of servers that the fleet has in the end, of which shares are shares.
        unavailable: The number of its servers that do not serve, besides the old ones of the pairs.
        done: The number of pairs that an earlier run of the same replacement has replaced.
        paused: Whether nothing begins until `resume`.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        policy: ReplacePolicy,
        *,
        size: int,
        unavailable: int = 0,
        done: int = 0,
        paused: bool = False,
    ) -> None:
        known = tuple(pairs)
        self.surge: int = places(policy.surge, size)
        self.max_unavailable: int = places(policy.max_unavailable, size)
        self.paused: bool = paused
        self.finished: int = done
        """The number of pairs that are done."""
        self._policy = policy
        self._others = unavailable
        # `sorted` keeps the order of those that are equal
        waiting = sorted((pair for pair in known if pair.begun is None), key=lambda pair: not pair.down)
        self._waiting = deque(waiting)
        self._in_progress = {pair.key: (pair, pair.begun) for pair in known if pair.begun is not None}
        self._failures: dict[str, _Failure] = {}

    @property
    def extra(self) -> int:
        """The number of servers that exist beyond the size of the fleet, or may exist."""
        begun = sum(order is Order.NEW_FIRST for _, order in self._in_progress.values())
        return begun + sum(failure.extra for failure in self._failures.values())

    @property
    def unavailable(self) -> int:
        """The number of servers of the fleet that do not serve, or may not."""
        waiting = sum(pair.down for pair in self._waiting)
        begun = sum(pair.down or order is Order.OLD_FIRST for pair, order in self._in_progress.values())
        failed = sum(not failure.serving for failure in self._failures.values())
        return self._others + waiting + begun + failed

    @property
    def taken_up(self) -> tuple[tuple[str, Order], ...]:
        """The pairs in progress, each with its order."""
        return tuple((key, order) for key, (_, order) in self._in_progress.items())

    @property
    def in_progress(self) -> tuple[str, ...]:
        """The pairs that were begun and have not ended."""
        return tuple(self._in_progress)

    @property
    def left(self) -> tuple[str, ...]:
        """The pairs that were not begun, in the order in which they would be."""
        return tuple(pair.key for pair in self._waiting)

    @property
    def stopped(self) -> str:
        """Why nothing more is begun; empty while the replacement goes on."""
        failed = len(self._failures)
        if failed >= self._policy.max_failures:
            return f"the replacement stopped after {'a failure' if failed == 1 else f'{failed} failures'}"
        if not self._waiting or self._in_progress or self._order(self._waiting[0]) is not None:
            return ""
        why = [f"{_servers(self.extra)} too many, and surge is {self.surge}"] if self.surge else []
        why.append(
            f"{_servers(self.unavailable)} out of service, and max_unavailable is {self.max_unavailable}"
        )
        return f"the replacement stopped with {'; '.join(why)}"

    def pause(self) -> None:
        """Let `begin` return no pair until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Let `begin` return pairs again."""
        self.paused = False

    def begin(self) -> list[tuple[str, Order]]:
        """Return the pairs that begin now, each with its order. They are in progress from now on."""
        begun: list[tuple[str, Order]] = []
        while self._waiting and not self.paused and not self.stopped:
            if self._in_progress and self.finished < self._policy.canary:
                break
            order = self._order(self._waiting[0])
            if order is None:
                break
            pair = self._waiting.popleft()
            self._in_progress[pair.key] = (pair, order)
            begun.append((pair.key, order))
        return begun

    def done(self, key: str) -> None:
        """Record that the new server of a pair has taken the place of the old one, which is gone."""
        del self._in_progress[key]
        self.finished += 1

    def failed(self, key: str, *, extra: bool, serving: bool) -> None:
        """Record that a pair has failed.

        Args:
            key: The pair.
            extra: Whether both of its servers exist, or may exist.
            serving: Whether one of them serves for sure.
        """
        del self._in_progress[key]
        self._failures[key] = _Failure(extra, serving)

    def _order(self, pair: Pair) -> Order | None:
        """Return how a pair may begin now; None if it may not."""
        if self.extra < self.surge:
            return Order.NEW_FIRST
        # one that is down makes no other server unavailable: only the number of those that are deleted first counts
        lost = self._lost if pair.down else self.unavailable
        return Order.OLD_FIRST if lost < self.max_unavailable else None

    @property
    def _lost(self) -> int:
        """The number of servers that do not serve because of this replacement, or may not."""
        begun = sum(order is Order.OLD_FIRST for _, order in self._in_progress.values())
        return begun + sum(not failure.serving for failure in self._failures.values())


def _servers(number: int) -> str:
    return "a server" if number == 1 else f"{number} servers"
