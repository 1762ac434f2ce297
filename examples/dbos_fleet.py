# /// script
# requires-python = ">=3.11"
# dependencies = ["dbos>=3.4,<4", "filelock>=4", "vpsorg-async"]
# ///
"""Create a fleet in a DBOS workflow: after a crash, the same command completes it.

    python dbos_fleet.py web --count 60
    python dbos_fleet.py web --count 60 --database postgresql://user@host/fleets

The workflow reads the account first, then ensures the servers in chunks, which run side by side. A chunk that is
interrupted begins again, with the receipts of its earlier attempts: their servers are only waited for. The other names
are searched for during ``--settle`` seconds before a create is sent. That time must be longer than lists of the account
lag behind, then no server is created twice. The exit code is 0 if every server is active.

What one has to know of DBOS:

- By default the version of an application is a hash of its code, and only workflows of the same version are recovered.
  After any edit, workflows that were interrupted before would stay pending, without a warning. So the version is pinned
  here. Increase it when the steps of the workflow change, and let the old version finish its workflows first.
- By default everything is stored as a pickle, which ties the database to the classes of this version of the package.
  Here everything is plain data, stored as JSON.
- A step is executed again if the process dies in it, and it can't tell that this is not its first execution. So each
  attempt of a chunk writes a mark into a stream of the workflow, and reads what is before that mark.
- A workflow belongs to the executor that began it. Nobody takes over the workflows of an executor that died, except a
  process that starts with the same ``--executor`` (or Conductor, a product). Two processes with the same executor at
  the same time would execute the same steps, so a lock file forbids that on this machine.
- A recovered workflow goes through a queue that all processes of the same version read, whatever their executor. On a
  shared Postgres, a process of another account could take it, and would create the servers there. So the version names
  the executor, too. Use an executor for one account only.
- A workflow has one result for ever. A second run of the same name and count prints the result of the first one; to
  ensure the fleet anew, give another ``--id``.

Passwords: where the answer to a create is the only place that shows a root password, this example loses it. Put an SSH
key into the specs instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextvars
import socket
import sys
import uuid
from collections.abc import Sequence
from typing import Any

from dbos import DBOS, DBOSPortableJSONSerializer, PortableWorkflowError, SetWorkflowID
from filelock import FileLock, Timeout

from vpsorg_async import Client, Failed, Receipt, ServerId, ServerSpec, SharedClient
from vpsorg_async.errors import VpsOrgError
from vpsorg_async.events import CommandAnswered, FleetEvent, ServerAdopted
from vpsorg_async.plain import from_plain, to_plain

VERSION = "1"
CHUNK = 50


def client() -> Client:
    """Return a client with this process's share of what the account allows."""
    return Client.from_env(max_in_flight=8)


def temporary(error: BaseException) -> bool:
    """Whether to execute a step again; the client has retried by itself before."""
    return isinstance(error, VpsOrgError) and not error.final


@DBOS.step(retries_allowed=True, max_attempts=10, should_retry=temporary)
async def read_account() -> list[ServerId]:
    """Return the ids that are in the account before the first create. Recorded once, so that it stays true."""
    async with SharedClient(client) as vps:
        return [server.id for server in await vps.servers.list()]


@DBOS.step(retries_allowed=True, max_attempts=10, should_retry=temporary)
async def ensure_chunk(
    stream: str, specs: dict[str, Any], before: list[ServerId], settle: float
) -> dict[str, Any]:
    """Ensure the servers of one chunk, and return the report. The stream has what earlier attempts created."""
    attempt, receipts = await begin_attempt(stream)
    options = {"receipts": receipts, "before": before, "settle_first": settle} if attempt > 1 else {}

    # steps run on the loop that launched DBOS, so all chunks share one client: its limits and its polls
    async with SharedClient(client) as vps:
        try:
            async with asyncio.TaskGroup() as writes:
                # events come from tasks that chunks share, and DBOS knows by its context which step a write belongs to
                context = contextvars.copy_context()

                def keep(event: FleetEvent) -> None:
                    if isinstance(event, CommandAnswered | ServerAdopted) and event.receipt is not None:
                        row = {"name": event.key, "receipt": event.receipt.to_json()}
                        write = DBOS.write_stream_async(stream, row)
                        # where a receipt can't be written, the group ends this attempt
                        writes.create_task(write, context=context.copy())

                report = await vps.fleet.ensure(from_plain(specs), timeout=900, on_event=keep, **options)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
    return to_plain(report)


async def begin_attempt(stream: str) -> tuple[int, dict[str, Receipt]]:
    """Write a mark, and return the number of this attempt and the receipts of those before it."""
    mark = uuid.uuid4().hex
    await DBOS.write_stream_async(stream, {"attempt": mark})
    attempt, receipts = 1, {}
    # this reads no further than the mark, and so it never waits for rows that are not there yet
    async for row in DBOS.read_stream_async(str(DBOS.workflow_id), stream):
        if row.get("attempt") == mark:
            break
        if "attempt" in row:
            attempt += 1
        elif (receipt := Receipt.from_json(row["receipt"])).operation == "create":
            receipts[row["name"]] = receipt
    return attempt, receipts


@DBOS.workflow()
async def ensure_fleet(specs: dict[str, Any], settle: float) -> list[dict[str, Any]]:
    """Ensure a fleet, and return a report for each chunk."""
    before = await read_account()
    rows = from_plain(specs)
    chunks = [to_plain(rows[first : first + CHUNK]) for first in range(0, len(rows), CHUNK)]
    # DBOS numbers steps in the order in which they begin: gather begins them in the order given
    steps = [ensure_chunk(f"chunk-{n}", chunk, before, settle) for n, chunk in enumerate(chunks)]
    reports = await asyncio.gather(*steps, return_exceptions=True)
    for report in reports:
        if isinstance(report, BaseException):
            raise report
    return reports


async def run(name: str, count: int, database: str, executor: str, workflow: str, settle: float) -> int:
    """Run the workflow, or take it up again, and print what it did."""
    DBOS(
        config={
            "name": "vpsorg-fleet",
            "system_database_url": database,
            "application_version": f"{VERSION}-{executor}",
            "executor_id": executor,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
        }
    )
    specs = [ServerSpec(name=f"{name}-{n:03}", plan_id=1, os_id=5, location="us-west") for n in range(count)]
    DBOS.launch()
    try:
        # this begins a new workflow only if there is none of this id
        with SetWorkflowID(workflow):
            handle = await DBOS.start_workflow_async(ensure_fleet, to_plain(specs), settle)
        reports = [from_plain(report) for report in await handle.get_result()]
    finally:
        # a workflow that is not finished stays pending, and is taken up by the next run
        await asyncio.to_thread(DBOS.destroy)
    outcomes = [outcome for report in reports for outcome in report.outcomes]
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            print(f"{outcome.key}: {outcome.error}", file=sys.stderr)
    succeeded = sum(len(report.succeeded) for report in reports)
    print(f"{succeeded} of {len(outcomes)} servers are active")
    return 0 if succeeded == len(outcomes) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Create a fleet in a DBOS workflow.")
    parser.add_argument("name", help="prefix of the names of the servers")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--database", default="sqlite:///fleet.sqlite", help="SQLite or Postgres, as a URL")
    parser.add_argument(
        "--executor", default=socket.gethostname(), help="whose workflows this process takes up"
    )
    parser.add_argument("--id", dest="workflow", help="id of the workflow; NAME-COUNT by default")
    parser.add_argument("--settle", type=float, default=30, help="seconds; longer than lists lag behind")
    parser.add_argument("--lock", default="fleet.lock", help="the lock file of this executor")
    given = vars(parser.parse_args(arguments))
    given["workflow"] = given["workflow"] or f"{given['name']}-{given['count']}"
    try:
        # the operating system releases the lock when the process ends, whichever way
        with FileLock(given.pop("lock"), timeout=0):
            return asyncio.run(run(**given))
    except Timeout:
        print("another process with this executor is running", file=sys.stderr)
    except (VpsOrgError, PortableWorkflowError) as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; the same command takes up the fleet", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
