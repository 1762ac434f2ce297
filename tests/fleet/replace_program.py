"""A program that replaces a fleet with a journal: ``URL TOKEN JOURNAL LOG COUNT SURGE NAMES``.

Its switch appends the ids of the old and the new server to LOG. It prints the report's ``succeeded failed skipped``. A
parent kills it at any moment, and runs it again.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from vpsorg_async import Client, FleetSpec, Server


async def main(url: str, token: str, journal: str, log: str, count: str, surge: str, names: Any) -> None:
    """Bring the fleet to another operating system."""
    fleet = FleetSpec(name="web-{n:03}", count=int(count), plan_id=1, os_id=3, location="us-west")

    def written(line: str) -> None:
        with Path(log).open("a") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    async def switch(old: Server, new: Server) -> None:
        await asyncio.to_thread(written, f"{old.id} {new.id}\n")

    async with Client(token, base_url=url, min_interval=0.02) as vps:
        report = await vps.fleet.apply(
            fleet,
            timeout=60,
            settle=1.0,
            replace="rolling",
            surge=int(surge),
            names=names,
            switch=switch,
            journal=journal,
        )
    sys.stdout.write(f"{len(report.succeeded)} {len(report.failed)} {len(report.skipped)}\n")
    for failure in report.failed:
        sys.stderr.write(f"{failure.error}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
