"""Which server may go next in a rolling operation: outcomes go in, the next ids come out. Pure.

Theory of operation. A server is *unavailable* from the moment its command may leave until its health check passes. A
server that failed stays unavailable, because no one has brought it back, and so does one that was down at the
beginning. At most ``max_unavailable`` servers of the whole fleet, the window, are unavailable at once. The first
``canary`` servers go one by one, alone, before the window opens. The next server is taken from the location with the
fewest unavailable servers. After ``max_failures`` failures, or when servers that stay unavailable fill the window,
nothing more is started.

===============  =====================================  =======================================================
state            how it is entered                      counts as unavailable
===============  =====================================  =======================================================
``waiting``      the rollout begins                     no
``in progress``  `begin` returns the server, or an      yes, also while its health check runs
                 earlier run left it so
``done``         `settled` with True, or by an          no
                 earlier run
``failed``       `settled` with False                   yes
``down``         the rollout begins; what an earlier    yes
                 run was done with can be down as well
``skipped``      it needs no command, or after a stop   no
===============  =====================================  =======================================================
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence

from ..errors import ConfigurationError
from ..records import ServerId
from ..replace_policy import places

__all__ = ["Rollout", "window"]


def window(max_unavailable: int | float, servers: int) -> int:
    """Return the number of servers that may be unavailable at once.

    ``max_unavailable`` is that number, or a share of ``servers`` between 0 and 1, rounded down, at least 1. Raises
    `ConfigurationError` for any other.
    """
    if isinstance(max_unavailable, bool) or not isinstance(max_unavailable, int | float):
        raise ConfigurationError(f"max_unavailable is a number or a share, not {max_unavailable!r}")
    if isinstance(max_unavailable, int):
        if max_unavailable < 1:
            raise ConfigurationError(f"max_unavailable is at least 1, not {max_unavailable}")
        return max_unavailable
    if not 0.0 < max_unavailable < 1.0:
        raise ConfigurationError(f"max_unavailable as a share lies between 0 and 1, not {max_unavailable!r}")
    return places(max_unavailable, servers)


class Rollout:
    """One rolling operation over servers with their locations."""

    def __init__(
        self,
        locations: Mapping[ServerId, str],
        *,
        max_unavailable: int | float,
        max_failures: int,
        canary: int = 1,
        paused: bool = False,
        done: Collection[ServerId] = (),
        in_progress: Collection[ServerId] = (),
        down: Collection[ServerId] = (),
        skipped: Collection[ServerId] = (),
    ) -> None:
        """Begin a rollout over the servers of ``locations``, the whole fleet.

        ``done`` and ``in_progress`` are those that an earlier run of the same rollout took this far. Those in ``down``
        are unavailable already, and those in ``skipped`` are not; neither are started. A server that is in progress is
        not down.
        """
        for name, number, least in (("max_failures", max_failures, 1), ("canary", canary, 0)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise ConfigurationError(f"{name} is a whole number from {least}, not {number!r}")
        self.window: int = window(max_unavailable, len(locations))
        self.paused: bool = paused
        self.done: int = len(done)
        self._locations = locations
        # each with its place in the order given; one queue for each location, so that the next server is found quickly
        self._waiting: dict[str, deque[tuple[int, ServerId]]] = defaultdict(deque)
        not_waiting = {*done, *in_progress, *down, *skipped}
        for place, (server_id, location) in enumerate(locations.items()):
            if server_id in not_waiting:
                continue
            self._waiting[location].append((place, server_id))
        self._in_progress = set(in_progress)
        self._down = frozenset(down)
        self._unavailable_at = Counter(locations[server_id] for server_id in (*in_progress, *down))
        self._failed: set[ServerId] = set()
        self._max_failures = max_failures
        self._canary = min(canary, len(locations))

    @property
    def unavailable(self) -> int:
        """The number of servers that are unavailable now, those included that failed or were down before."""
        return len(self._in_progress) + len(self._failed) + len(self._down)

    @property
    def stopped(self) -> str:
        """Why nothing more is started; empty while the rollout goes on."""
        failed, down = len(self._failed), len(self._down)
        if failed >= self._max_failures:
            return f"the rollout stopped after {'1 failure' if failed == 1 else f'{failed} failures'}"
        if failed + down < self.window:
            return ""
        if not down:
            return f"the rollout stopped: {failed} failed servers fill the window of {self.window}"
        were = f"{down} of {len(self._locations)} servers {'was' if down == 1 else 'were'} unavailable at the beginning"
        if failed:
            return f"the rollout stopped: {were}, {failed} failed since, and at most {self.window} may be unavailable"
        return f"not started: {were}, and at most {self.window} may be; bring them back, or leave them out"

    @property
    def left(self) -> Sequence[ServerId]:
        """The servers that were not started, in the order given."""
        return tuple(
            server_id for _, server_id in sorted(itertools.chain(*self._waiting.values()), key=_place)
        )

    def pause(self) -> None:
        """Let `begin` return no server until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Let `begin` return servers again."""
        self.paused = False

    def begin(self) -> list[ServerId]:
        """Return the servers whose commands may leave now; they count as unavailable from now on."""
        if self.paused or self.stopped:
            return []
        room = self.window - self.unavailable
        if self.done < self._canary:
            room = min(room, 1 - len(self._in_progress))
        started: list[ServerId] = []
        while room > len(started) and self._waiting:
            started.append(self._next())
        return started

    def settled(self, server_id: ServerId, healthy: bool) -> None:
        """Record that a server that was begun has come back, or failed to."""
        self._in_progress.remove(server_id)
        if healthy:
            self.done += 1
            self._unavailable_at[self._locations[server_id]] -= 1
        else:
            self._failed.add(server_id)

    def _next(self) -> ServerId:
        location = min(
            self._waiting, key=lambda name: (self._unavailable_at[name], _place(self._waiting[name][0]))
        )
        _, chosen = self._waiting[location].popleft()
        if not self._waiting[location]:
            del self._waiting[location]
        self._in_progress.add(chosen)
        self._unavailable_at[location] += 1
        return chosen


def _place(waiting: tuple[int, ServerId]) -> int:
    return waiting[0]
