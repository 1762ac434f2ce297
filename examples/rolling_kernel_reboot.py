# /// script
# requires-python = ">=3.11"
# dependencies = ["vpsorg-async"]
# ///
"""Reboot the servers whose names begin with a word, a few at a time, with a check of each: for a new kernel.

    python rolling_kernel_reboot.py web- --away 0.1 --port 443

A server is available again when its port accepts connections; ``--port 2222`` for those of the sandbox. After Ctrl-C no
further server is rebooted, and the program waits for those in progress; a second Ctrl-C exits at once. The exit code is
0 if every server came back.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from vpsorg_async import Client, Failed, Report, ServerId, Skipped, Succeeded, ready
from vpsorg_async.errors import VpsOrgError
from vpsorg_async.fleet import CommandSent, FleetEvent, ServerSettled


def line(outcome: Succeeded | Failed | Skipped) -> str:
    match outcome:
        case Succeeded(key=key, server=server):
            name = key if server is None else server.name
            return f"{name}: back after {outcome.seconds:.0f} s (reboot {outcome.evidence})"
        case Failed(key=key, error=error):
            return f"{key}: {error}"
        case Skipped(key=key, reason=reason):
            return f"{key}: skipped, {reason}"


async def reboot(vps: Client, word: str, *, away: float, port: int) -> Report:
    """Reboot all servers, and print a line for each as it settles."""
    ids = [server.id for server in await vps.servers.list() if server.name.startswith(word)]
    in_progress: set[ServerId] = set()

    def heard(event: FleetEvent) -> None:
        match event:
            case CommandSent(key=key):
                in_progress.add(key)
            case ServerSettled(key=key):
                in_progress.discard(key)

    async with vps.fleet.rolling(
        "reboot",
        ids,
        timeout=600,
        # a whole number is a number of servers, a fraction is a share of them
        max_unavailable=away if away < 1 else int(away),
        max_failures=1,
        health=ready.tcp(port),
        ready_timeout=300,
        on_event=heard,
    ) as run:
        loop = asyncio.get_running_loop()

        def hold() -> None:
            say("nothing more is started; waiting for reboots in progress")
            run.pause()
            loop.remove_signal_handler(signal.SIGINT)

        with suppress(NotImplementedError):
            loop.add_signal_handler(signal.SIGINT, hold)
        async for outcome in run:
            print(line(outcome), flush=True)
            if run.paused and not in_progress:
                break
    return run.report


def say(what: object) -> None:
    print(what, file=sys.stderr, flush=True)


async def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Reboot servers a few at a time, each checked before the next."
    )
    parser.add_argument("word", help="prefix of the names of the servers")
    parser.add_argument(
        "--away", type=float, default=1, help="servers unavailable at once: a number, or a share below 1"
    )
    parser.add_argument(
        "--port", type=int, default=22, help="the port that a server must accept connections on"
    )
    given = parser.parse_args(arguments)
    try:
        async with Client.from_env() as vps:
            report = await reboot(vps, given.word, away=given.away, port=given.port)
    except VpsOrgError as error:
        say(error)
        return 1
    print(report)
    return 0 if len(report.succeeded) == len(report.outcomes) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
