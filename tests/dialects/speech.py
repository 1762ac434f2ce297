"""One account in either dialect, in virtual time: the same test speaks both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import attrs

from vpsorg_async import Client, ServerSpec
from vpsorg_async.sandbox import Rule, Sandbox
from vpsorg_async.sandbox.catalogue import uuid
from vpsorg_async.virtual_time import LoopClock

__all__ = ["DIALECTS", "Speech", "gets"]

DIALECTS = ("documented", "provider")


@attrs.frozen
class Speech:
    """How an account is spoken to. ``spec`` names plan, system and location as the dialect does."""

    dialect: str

    @contextlib.asynccontextmanager
    async def account(
        self, *rules: Rule, options: dict[str, Any] | None = None, **settings: Any
    ) -> AsyncIterator[tuple[Sandbox, Client]]:
        """A sandbox with these faults and settings, and a client of it with these options."""
        clock = asyncio.get_running_loop().time
        async with (
            Sandbox(clock=clock, faults=rules, dialect=self.dialect, **settings) as box,
            Client(
                box.token,
                base_url=box.url,
                **{"dialect": self.dialect, "clock": LoopClock(), **(options or {})},
            ) as vps,
        ):
            yield box, vps

    def spec(self, name: str = "web-1", **fields: Any) -> ServerSpec:
        """A spec that this account takes."""
        known: dict[str, Any] = {"plan_id": 1, "os_id": 5, "location": "us-west"}
        if self.dialect == "provider":
            known = {"plan_id": uuid("plan", 1), "os_id": uuid("os-version", 5), "location": 1}
        return ServerSpec(**{"name": name, **known, **fields})

    def specs(self, count: int) -> list[ServerSpec]:
        """So many of them."""
        return [self.spec(f"web-{number:03}") for number in range(count)]


def gets(box: Sandbox, path: str = "/api/v1/servers/") -> int:
    """How often this was read."""
    return sum((entry.method, entry.path) == ("GET", path) for entry in box.requests)
