"""A provider as pure data, for the state machine of waits: the truth at each moment, and what a read shows of it."""

from __future__ import annotations

import asyncio
import bisect
import math
import random
from datetime import UTC, datetime, timedelta
from typing import Literal

import attrs

from vpsorg_async import Server, ServerStatus, errors
from vpsorg_async.lifecycle.snapshots import ListSnapshot

__all__ = ["BECOMES", "Account", "Truth"]

NEEDS = {"start": "stopped", "stop": "active", "reboot": "active"}
BECOMES = {
    "create": ("provisioning", "active"),
    "start": ("starting", "active"),
    "stop": ("stopping", "stopped"),
    "reboot": ("rebooting", "active"),
}


@attrs.define
class Truth:
    """One server over time: the moments at which its status changed, in order, and when it was gone."""

    born: float
    visible: float
    states: list[tuple[float, str]]
    gone: float = math.inf
    commanded: float = -math.inf
    """When the last command of a client was applied."""
    acknowledged: list[tuple[float, float]] = attrs.field(factory=list[tuple[float, float]])
    """For each command when its response came, and when it had been applied."""
    meddled: float = -math.inf
    """When another party last changed it, or will have."""

    def at(self, moment: float) -> str | None:
        """The status at that time; None where there was no server."""
        if not self.born <= moment < self.gone:
            return None
        return self.states[bisect.bisect_right(self.states, moment, key=lambda state: state[0]) - 1][1]

    def changed(self, moment: float) -> float:
        """When the status at that time began."""
        return max([self.born, *(when for when, _ in self.states if when <= moment)])

    def became(self, word: str, since: float, until: float) -> bool:
        """Whether the server reached that status within that time."""
        return any(state == word and since <= when <= min(until, self.gone) for when, state in self.states)

    def was(self, word: str | None, since: float, until: float) -> bool:
        """Whether the server had that status at any moment of that time."""
        moments = [since, until, *(when for when, _ in self.states if since <= when <= until)]
        return any(self.at(moment) == word for moment in [*moments, min(max(self.gone, since), until)])

    def grounds(self, moment: float) -> float:
        """When the last command was applied that was acknowledged before then."""
        return max((done for answered, done in self.acknowledged if answered < moment), default=-math.inf)

    def set(self, now: float, *states: tuple[float, str]) -> None:
        """From now on the server passes through these statuses, in place of any planned before."""
        self.states = [state for state in self.states if state[0] < now] + list(states)


class Account:
    """The servers of an account, and the faults of reading it."""

    def __init__(
        self, *, lag: float, jumping: bool, updated_at: Literal["moves", "frozen", "absent"], seed: int
    ) -> None:
        self.lag = lag
        self.jumping = jumping
        self.updated_at = updated_at
        self.servers: dict[int, Truth] = {}
        self.latency = 0.1
        self.down_until = self.slow_until = -math.inf
        self._dice = random.Random(seed)

    def create(self, now: float, seconds: float, hidden: float) -> int:
        """A server that takes these times to be active and to be shown."""
        number = 1 + len(self.servers)
        self.servers[number] = Truth(
            now, now + hidden, [(now, "provisioning"), (now + seconds, "active")], commanded=now
        )
        return number

    def add(self, now: float, word: str) -> int:
        """A server that has been there for a day."""
        number = 1 + len(self.servers)
        self.servers[number] = Truth(now - 86_400, now - 86_400, [(now - 86_400, word)])
        return number

    def takes(self, number: int, operation: str, now: float) -> bool:
        """Whether the server exists, and its status permits the command."""
        word = self.servers[number].at(now)
        return word is not None and word == NEEDS.get(operation, word)

    def act(self, number: int, operation: str, now: float, seconds: float) -> None:
        """Apply a command that is accepted; it takes this long."""
        server = self.servers[number]
        server.commanded = now
        if operation == "delete":
            server.gone = now
        else:
            moving, then = BECOMES[operation]
            server.set(now, (now, moving), (now + seconds, then))

    async def poll_list(self) -> ListSnapshot:
        """The list, as it can be read."""
        asked = await self._answer()
        shown = (self._show(number) for number in self.servers)
        snapshot = ListSnapshot(asked, [server for server in shown if server is not None])
        await asyncio.sleep(self.latency / 2)
        return snapshot

    async def poll_one(self, number: int | str) -> tuple[float, Server]:
        """One server, as it can be read."""
        asked = await self._answer()
        server = self._show(int(number)) if int(number) in self.servers else None
        await asyncio.sleep(self.latency / 2)
        if server is None:
            raise errors.NotFoundError("no such server", status=404)
        return asked, server

    async def _answer(self) -> float:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        if asked < self.slow_until:
            await asyncio.sleep(12.0)
        await asyncio.sleep(self.latency / 2)
        if asked < self.down_until:
            raise errors.ServiceError("down", status=503)
        return asked

    def _show(self, number: int) -> Server | None:
        now, server = asyncio.get_running_loop().time(), self.servers[number]
        lag = self._dice.uniform(0.0, self.lag) if self.jumping else self.lag
        moment = max(now - lag, server.born)
        word = server.at(moment)
        if word is None or now < server.visible:
            return None
        stamp = {"moves": server.changed(moment), "frozen": server.born, "absent": None}[self.updated_at]
        return Server(
            id=number,
            name=f"web-{number}",
            status=ServerStatus(word),
            updated_at=None if stamp is None else datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=stamp),
        )
