# /// script
# requires-python = ">=3.11"
# dependencies = ["vpsorg-async"]
# ///
"""Keep as many servers as the load needs: an autoscaler on one watched list.

    python autoscaler.py pool- --load /run/queue-length --each 100 --least 2 --most 20

The file contains one number, the load; each server handles ``--each`` of it. The state of the account comes from
``vps.watch()``, so a server that somebody suspends, stops or deletes is replaced in the same way as if the load had
grown. Missing servers are created at once. Servers are deleted only after the need was lower for ``--patience``
seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count, islice
from pathlib import Path

import attrs

from vpsorg_async import Change, Client, Report, Server, ServerSpec
from vpsorg_async.errors import AuthenticationError, PaymentRequiredError, PermissionDeniedError, VpsOrgError


@attrs.define(kw_only=True)
class Pool:
    """The servers whose names begin with ``name``, by name, and the limits for their number."""

    name: str
    each: float = 100.0
    least: int = 1
    most: int = 10
    patience: float = 300.0
    servers: dict[str, Server] = attrs.field(factory=dict)
    lower_since: float | None = None

    def plan(self, load: float, now: float) -> tuple[list[str], list[Server]]:
        """Return the names to ensure, and the servers to delete. Pure except for ``lower_since``."""
        needed = min(max(math.ceil(load / self.each), self.least), self.most)
        usable = sorted(name for name, server in self.servers.items() if server.status != "suspended")
        if len(usable) > needed:
            if self.lower_since is None:
                self.lower_since = now
            lasted = now - self.lower_since >= self.patience
            return [], [self.servers[name] for name in usable[needed:]] if lasted else []
        self.lower_since = None
        stopped = [name for name in usable if self.servers[name].status == "stopped"]
        free = (name for n in count(1) if (name := f"{self.name}{n:03}") not in self.servers)
        return [*stopped, *islice(free, needed - len(usable))], []


async def watch(vps: Client, pool: Pool, changed: asyncio.Event) -> None:
    """Keep the pool's view of the account up to date. Ends only with an error that waiting does not fix."""
    async for change in vps.watch(interval=10):
        server = change.server
        if server is None or not server.name.startswith(pool.name):
            continue
        if change.change is Change.GONE:
            pool.servers.pop(server.name, None)
        else:
            pool.servers[server.name] = server
        changed.set()


async def step(vps: Client, pool: Pool, load: float, now: float) -> None:
    """Take one step towards the needed number. Failures are printed, and the next step retries them."""
    names, surplus = pool.plan(load, now)
    if names:
        # `ensure`, not `create`: it adopts a server whose create lost its answer, in this run or an earlier one
        specs = [ServerSpec(name=name, plan_id=1, os_id=5, location="us-west") for name in names]
        report = await vps.fleet.ensure(specs, timeout=900)
        pool.servers |= {server.name: server for server in report.servers}
        tell(report)
    if surplus:
        report = await vps.fleet.delete([server.id for server in surplus], timeout=300)
        gone = {outcome.key for outcome in report.succeeded}
        pool.servers = {name: server for name, server in pool.servers.items() if server.id not in gone}
        tell(report)


def tell(report: Report) -> None:
    """Print what was done; raise errors that every further step would repeat."""
    print(report, flush=True)
    for failure in report.failed:
        print(f"{failure.key}: {failure.error}", file=sys.stderr, flush=True)
        if isinstance(failure.error, AuthenticationError | PaymentRequiredError | PermissionDeniedError):
            raise failure.error


async def autoscale(vps: Client, pool: Pool, load: Callable[[], float], *, interval: float = 10.0) -> None:
    """Step whenever the account changes, and every ``interval`` seconds, until cancelled or a permanent error."""
    # decide nothing before the account was read
    servers = await vps.servers.list()
    pool.servers = {server.name: server for server in servers if server.name.startswith(pool.name)}
    changed, clock = asyncio.Event(), asyncio.get_running_loop().time
    watcher = asyncio.create_task(watch(vps, pool, changed))
    try:
        while not watcher.done():
            changed.clear()
            await step(vps, pool, load(), clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await changed.wait()
        await watcher
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)


def number_in(file: Path) -> Callable[[], float]:
    """Return a function that reads the load from a file, or returns the last value if the file can't be read."""
    last = 0.0

    def read() -> float:
        nonlocal last
        with suppress(OSError, ValueError):
            last = float(file.read_text())
        return last

    return read


async def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Keep as many servers as the load needs.")
    parser.add_argument("name", help="prefix of the names in the pool; all such servers belong to the pool")
    parser.add_argument("--load", type=Path, required=True, help="a file with one number")
    parser.add_argument("--each", type=float, default=100, help="the load that one server handles")
    parser.add_argument("--least", type=int, default=1)
    parser.add_argument("--most", type=int, default=10)
    parser.add_argument(
        "--patience", type=float, default=300, help="seconds of lower need before a server is deleted"
    )
    given = vars(parser.parse_args(arguments))
    load = number_in(given.pop("load"))
    try:
        async with Client.from_env() as vps:
            await autoscale(vps, Pool(**given), load)
    except VpsOrgError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main()))
