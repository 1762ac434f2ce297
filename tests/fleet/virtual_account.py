"""Shared by the fleet's tests: an account in virtual time, and queries to its ledger and request log."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any

from tests.virtual import virtual
from vpsorg_async import Client, Failed, Report, ServerSpec, Succeeded
from vpsorg_async.errors import OutcomeUnknownError
from vpsorg_async.sandbox import Rule, Sandbox
from vpsorg_async.virtual_time import LoopClock

__all__ = [
    "LOCATIONS",
    "account",
    "accounted",
    "client",
    "commands",
    "committed",
    "creates",
    "duplicates",
    "kinds",
    "specs",
    "untracked",
    "virtual",
]

LOCATIONS = ("us-west", "us-east", "eu-central")


def client(box: Sandbox, **options: Any) -> Client:
    """A client of the sandbox, in virtual time."""
    return Client(box.token, base_url=box.url, clock=LoopClock(), **options)


@contextlib.asynccontextmanager
async def account(
    *rules: Rule, options: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[Sandbox, Client]]:
    """A sandbox with these faults and settings, and a client of it with these options."""
    clock = asyncio.get_running_loop().time
    async with (
        Sandbox(clock=clock, faults=rules, **settings) as box,
        client(box, **(options or {})) as vps,
    ):
        yield box, vps


def specs(count: int, prefix: str = "web") -> list[ServerSpec]:
    """That number of specs, over three locations."""
    return [
        ServerSpec(
            name=f"{prefix}-{number:03}", plan_id=1, os_id=5, location=LOCATIONS[number % len(LOCATIONS)]
        )
        for number in range(count)
    ]


def kinds(report: Report) -> Counter[str]:
    """The number of outcomes of each kind."""
    return Counter(type(outcome).__name__ for outcome in report.outcomes)


def creates(box: Sandbox) -> list[int | None]:
    """The response to each POST that requested a server, in order of arrival; None where it got no response."""
    return [
        entry.status
        for entry in box.requests
        if (entry.method, entry.path.rstrip("/")) == ("POST", "/api/v1/servers")
    ]


def commands(box: Sandbox) -> Counter[str]:
    """The number of times that each change was really applied."""
    return Counter(change.operation for change in box.ledger)


def committed(box: Sandbox) -> dict[int | str | None, str]:
    """Every server that requests have really created, by id."""
    return {change.server_id: change.name for change in box.ledger if change.operation == "create"}


def duplicates(box: Sandbox) -> list[str]:
    """Names that more than one server has."""
    return sorted(name for name, times in Counter(server.name for server in box.servers).items() if times > 1)


def accounted(report: Report, wanted: Iterable[ServerSpec]) -> bool:
    """Whether each spec has one outcome, in the order asked."""
    return [outcome.key for outcome in report.outcomes] == [spec.name for spec in wanted]


def untracked(report: Report, box: Sandbox) -> list[int | str | None]:
    """Servers that were created for these specs, and that the report neither names nor reports as unknown."""
    ids: set[int | str | None] = set()
    unknown: set[int | str] = set()
    for outcome in report.outcomes:
        if isinstance(outcome, Succeeded | Failed):
            ids.update(outcome.replaced)
        if isinstance(outcome, Succeeded) and outcome.server is not None:
            ids.add(outcome.server.id)
        elif isinstance(outcome, Failed):
            ids.add(outcome.server_id)
            if isinstance(outcome.error, OutcomeUnknownError):
                unknown.add(outcome.key)
    asked = {outcome.key for outcome in report.outcomes} - unknown
    return [number for number, name in committed(box).items() if name in asked and number not in ids]
