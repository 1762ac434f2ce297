"""A list that repeats the previous one is compared chunk by chunk, and never stored twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.io.endpoints import sends
from tests.io.faults import TOKEN
from tests.io.raw_server import RawServer, answer
from vpsorg_async import Client, errors
from vpsorg_async.http.exchange import Operation, Request
from vpsorg_async.http.retry import RetryPolicy

COUNT = 3000


def listing(*changed: int, rows: int = COUNT, word: str = "active") -> bytes:
    """A list of many chunks; the servers in ``changed`` have the status ``word``."""
    servers = [
        {"id": n, "name": f"web-{n}", "status": word if n in changed else "provisioning"}
        for n in range(1, rows + 1)
    ]
    return json.dumps({"count": rows, "next": None, "previous": None, "results": servers}).encode()


async def ended(*answers: bytes, wanted: int, **options: Any) -> Any:
    """The outcome of a wait for that server beside many others, given these responses, the last one repeated."""
    async with (
        RawServer(*(sends(answer(200, body)) for body in answers)) as server,
        Client(
            TOKEN,
            base_url=server.url,
            min_interval=0.05,
            max_interval=0.05,
            retry=RetryPolicy(attempts=1),
            **options,
        ) as vps,
    ):
        other = asyncio.ensure_future(vps.wait_until(2, "active", timeout=60))
        more = [asyncio.ensure_future(vps.wait_until(n, "active", timeout=60)) for n in range(50, 120)]
        try:
            return await anext(vps.wait_until_all([wanted], "active", timeout=30))
        finally:
            for task in (other, *more):
                task.cancel()
            await asyncio.gather(other, *more, return_exceptions=True)


@pytest.mark.parametrize("wanted", [1, COUNT // 2, COUNT])
async def test_a_change_is_seen_wherever_it_stands(wanted: int) -> None:
    """Two equal lists, and a third that differs in its first, a middle or its last chunk."""
    outcome = await ended(*[listing()] * 2, listing(wanted), wanted=wanted)

    assert (outcome.server.id, outcome.server.status) == (wanted, "active")
    assert outcome.polls == 3
    assert [seen.status for seen in outcome.timeline] == ["provisioning", "active"]


@pytest.mark.parametrize("rows", [COUNT - 1, COUNT + 1], ids=["shorter", "longer"])
async def test_a_list_of_another_length_is_read_anew(rows: int) -> None:
    outcome = await ended(*[listing()] * 2, listing(rows=rows), listing(7, rows=rows), wanted=7)

    assert outcome.polls == 4


async def test_a_list_that_begins_like_the_last_one_and_breaks_off_is_no_list() -> None:
    """A list that is cut while the server claims it complete is a failed poll, and ends no wait."""
    whole = listing()
    outcome = await ended(whole, whole[: len(whole) // 2], listing(7), wanted=7)

    assert [seen.status for seen in outcome.timeline] == ["provisioning", "no answer", "active"]


async def test_a_list_over_the_limit_fails_though_it_begins_like_the_last_one() -> None:
    whole = listing()
    outcome = await ended(
        whole, whole + b" " * 400_000, listing(7), wanted=7, max_list_body=len(whole) + 1000
    )

    failed = outcome.timeline[1]
    assert (failed.status, failed.note) == ("no answer", errors.DecodeError.__name__)


async def test_an_error_that_begins_like_the_last_list_is_told_as_it_is() -> None:
    """An error over its limit is reported with its beginning, whatever the previous list was."""
    whole = listing(rows=20_000)
    refused = sends(answer(503, whole))
    async with (
        RawServer(sends(answer(200, whole)), refused) as server,
        Client(TOKEN, base_url=server.url, retry=RetryPolicy(attempts=1)) as vps,
    ):
        known = await vps.send(Request(Operation.LIST, "GET", "/api/v1/servers/"))
        with pytest.raises(errors.ServiceError) as caught:
            await vps.send(Request(Operation.LIST, "GET", "/api/v1/servers/", known=known.body))

    assert caught.value.body.startswith('{"count"')
