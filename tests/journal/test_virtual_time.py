"""Journals in virtual time: the clock stands still while the thread of a journal works."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fleet.virtual_account import account, specs
from tests.journal.records import opened
from tests.virtual import virtual
from vpsorg_async.virtual_time import outside_future


@virtual
async def test_no_timeout_passes_while_a_journal_is_written(tmp_path: Path) -> None:
    """Whatever the disk takes, no virtual time passes."""
    async with asyncio.timeout(0.001), await opened(tmp_path / "fleet.db") as journal:
        for _ in range(20):
            async with await journal.begin("create", ["web-1"]) as run:
                await run.note_before([])
                await run.intend("web-1", "create")
    assert asyncio.get_running_loop().time() == 0.0


@virtual
async def test_time_goes_on_after_a_cancellation() -> None:
    """What is not waited for any more holds nothing up."""
    future = outside_future()
    future.cancel()
    await asyncio.sleep(3600)
    assert asyncio.get_running_loop().time() == 3600


@virtual
async def test_a_fleet_with_a_journal(tmp_path: Path) -> None:
    """Five minutes of provisioning pass as without a journal, and no command waits longer than its timeout."""
    options = {"max_in_flight": 8}
    async with account(options=options) as (box, vps):
        report = await vps.fleet.create(specs(50), timeout=400, journal=tmp_path / "fleet.db")
        report.raise_for_failures()
        ids = [server.id for server in report.servers]
        async with vps.fleet.rolling(
            "reboot", ids, timeout=300, max_unavailable=10, journal=tmp_path / "a"
        ) as run:
            await anext(run)
        report = await vps.fleet.rolling_reboot(ids, timeout=300, max_unavailable=10, journal=tmp_path / "a")
        report.raise_for_failures()

        assert len(box.ledger) == 100
