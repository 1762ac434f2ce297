"""A worker as a program, which tests kill: ``python worker_program.py ENGINE QUEUE``; its account: Client.from_env."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from temporalio.client import Client as Engine
from temporalio.worker import Worker

from vpsorg_async import Client
from vpsorg_async.temporal import VpsOrgPlugin


async def main(address: str, queue: str) -> None:
    plugin = VpsOrgPlugin(lambda: Client.from_env(max_in_flight=int(os.environ["IN_FLIGHT"])))
    engine = await Engine.connect(address, plugins=[plugin])
    print("ready", flush=True)  # noqa: T201
    await Worker(engine, task_queue=queue).run()
    print("over", flush=True)  # noqa: T201


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    asyncio.run(main(*sys.argv[1:]))
