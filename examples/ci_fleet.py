# /// script
# requires-python = ">=3.11"
# dependencies = ["vpsorg-async"]
# ///
"""Run a command on a new fleet, and always delete the fleet afterwards.

    python ci_fleet.py run --name ci-$RUN_ID --count 3 -- pytest -q tests/cluster
    python ci_fleet.py sweep --name ci-$RUN_ID        # a step that always runs: deletes what a killed run left

The command begins when SSH answers on every server; ``--port 2222`` for those of the sandbox. The variable FLEET has
the servers' addresses, separated by spaces. The exit code is that of the command, or 1 if the fleet did not become
ready or could not be deleted. Servers are named NAME-1, NAME-2 and so on. NAME must be unique to
this run, because every server whose name begins with it is deleted at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from vpsorg_async import Client, ServerSpec, ready
from vpsorg_async.errors import VpsOrgError


def say(what: object) -> None:
    print(what, file=sys.stderr, flush=True)


async def command(words: Sequence[str], addresses: Sequence[str | None]) -> int:
    """Run the job's command; terminate it if this is cancelled."""
    environment = {**os.environ, "FLEET": " ".join(filter(None, addresses))}
    process = await asyncio.create_subprocess_exec(*words, env=environment)
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise


async def sweep(vps: Client, name: str) -> bool:
    """Delete all servers of this name. Read the account, because a lost create is in no report."""
    mine = [server.id for server in await vps.servers.list() if server.name.startswith(f"{name}-")]
    report = await vps.fleet.delete(mine, timeout=300)
    say(report)
    for failure in report.failed:
        say(f"still exists, and is charged for: {failure.key}: {failure.error}")
    return len(report.succeeded) == len(mine)


async def run(vps: Client, name: str, count: int, port: int, words: Sequence[str]) -> int:
    """Create the fleet, run the command, delete the fleet."""
    specs = [
        ServerSpec(name=f"{name}-{n}", plan_id=1, os_id=5, location="us-west") for n in range(1, count + 1)
    ]
    code = 1
    try:
        report = await vps.fleet.create(specs, timeout=900, ready=ready.ssh(port), min_count=count)
        say(report)
        for failure in report.failed:
            say(f"{failure.key}: {failure.error}")
        if len(report.succeeded) == count:
            code = await command(words, [server.ip_address for server in report.servers])
    finally:
        gone = await sweep(vps, name)
    return code if gone else 1


async def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run a command on a new fleet.")
    what = parser.add_subparsers(dest="what", required=True)
    runs, sweeps = what.add_parser("run"), what.add_parser("sweep")
    for sub in (runs, sweeps):
        sub.add_argument("--name", required=True, help="prefix of the names of this run's servers")
    runs.add_argument("--count", type=int, default=1)
    runs.add_argument("--port", type=int, default=22, help="the port on which SSH has to answer")
    runs.add_argument("words", nargs="+", metavar="COMMAND")
    given = parser.parse_args(arguments)

    # CI ends a job with SIGTERM: cancel this task, as Ctrl-C does, so that the clean-up runs
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        async with Client.from_env() as vps:
            if given.what == "sweep":
                return 0 if await sweep(vps, given.name) else 1
            return await run(vps, given.name, given.count, given.port, given.words)
    except VpsOrgError as error:
        say(error)
        return 1
    except asyncio.CancelledError:
        say("cancelled")
        return 130


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
