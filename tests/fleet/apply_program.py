"""A program that applies two fleets with a journal: ``URL TOKEN JOURNAL``. One grows to 10, one is pruned to 6.

It prints the report's ``succeeded failed skipped``. A parent kills it at any moment, and runs it again.
"""

from __future__ import annotations

import asyncio
import sys

from vpsorg_async import Client, FleetSpec

GROWS = FleetSpec(name="web-{n:02}", count=10, plan_id=1, os_id=5, location="us-west")
SHRINKS = FleetSpec(name="db-{n:02}", count=6, plan_id=1, os_id=5, location="us-west", protect=["db-10"])


async def main(url: str, token: str, journal: str) -> None:
    """Apply both fleets."""
    async with Client(token, base_url=url, min_interval=0.02, max_in_flight=3) as vps:
        report = await vps.fleet.apply(
            [GROWS, SHRINKS], timeout=60, settle=0.3, prune=True, max_deletes=4, journal=journal
        )
    sys.stdout.write(f"{len(report.succeeded)} {len(report.failed)} {len(report.skipped)}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
