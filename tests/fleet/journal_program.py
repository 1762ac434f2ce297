"""A program that works on a fleet with a journal, and can kill itself.

Its arguments are ``URL TOKEN JOURNAL CALL DIE_AT NUMBER [SERVERS SETTLE STUCK]``. ``STUCK`` are the seconds after which
a server that does not come up is replaced. ``JOURNAL`` is a file, or ``-`` for none.
``DIE_AT`` is the name of a fleet event, or ``-``: at the event of that kind and number the process gets SIGKILL. It
prints the report's ``succeeded failed skipped``. A rolling reboot is one of all servers of the account.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from vpsorg_async import Client, FleetSpec, ServerSpec
from vpsorg_async.sandbox import Sandbox

SERVERS = 12


async def main(
    url: str,
    token: str,
    journal: str,
    call: str,
    die_at: str,
    number: str,
    servers: str = str(SERVERS),
    settle: str = "1.5",
    stuck: str = "",
) -> None:
    """Run one call, as the arguments say."""
    left = int(number)

    def hook(event: object) -> None:
        nonlocal left
        if type(event).__name__ == die_at:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    specs = [
        ServerSpec(name=f"web-{n:02}", plan_id=1, os_id=5, location="us-west") for n in range(int(servers))
    ]
    wanted: Any = specs
    if call == "apply":
        wanted = FleetSpec(
            name="web-{n:02}", count=int(servers), first=0, plan_id=1, os_id=5, location="us-west"
        )
    options: dict[str, Any] = {"settle": float(settle)}
    async with Client(token, base_url=url, min_interval=0.02, max_in_flight=3) as vps:
        if call == "rolling_reboot":
            wanted, options = await vps.servers.list(), {"max_unavailable": 3}
        if journal != "-":
            options["journal"] = journal
        if stuck:
            options["on_stuck"] = "replace"
        timeout = float(stuck or 60)
        report = await getattr(vps.fleet, call)(wanted, timeout=timeout, on_event=hook, **options)
    sys.stdout.write(f"{len(report.succeeded)} {len(report.failed)} {len(report.skipped)}\n")


def run(
    box: Sandbox, journal: Path | str, call: str = "ensure", die_at: str = "-", number: int = 1, *more: str
) -> tuple[int, list[int]]:
    """Run the program to its end; returns its exit code and the counts of its report."""
    done = subprocess.run(
        [sys.executable, __file__, box.url, box.token, str(journal), call, die_at, str(number), *more],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(done.stderr)
    return done.returncode, [int(number) for number in done.stdout.split()]


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
