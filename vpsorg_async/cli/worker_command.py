"""`vpsorg worker`: a worker of Temporal for the account of a profile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ..errors import VpsOrgError
from ..records import Server
from . import signals
from .dev_engine import dev_engine
from .engine_options import ENGINE, GROUP, EngineOptions, queue_of
from .exits import Exit
from .passwords import Passwords, PasswordsFile
from .settings import ACCOUNT, Account, Settings
from .stdio import note

if TYPE_CHECKING:
    from temporalio.client import Client as Engine

__all__ = ["worker"]

GRACE = timedelta(seconds=10)
"""What activities have to hand over, when the worker ends, before they are cancelled."""


def worker(
    *,
    dev: Annotated[
        bool,
        Parameter(
            help="Also start Temporal's development server, with its state in a file.",
            show_default=False,
            group=GROUP,
        ),
    ] = False,
    task_queue: Annotated[
        str | None, Parameter(help="Task queue; that of the profile by default.", group=GROUP)
    ] = None,
    passwords: PasswordsFile = None,
    engine: EngineOptions = ENGINE,
    account: Account = ACCOUNT,
) -> int:
    """Do the work of fleets on Temporal, for one account, until Ctrl-C or SIGTERM.

    Several workers, also on several machines, share the work; if one dies, the others complete what it began. On a
    signal the worker hands over what it does, and ends.
    """
    settings, target = account.settings(), engine.target()["target_host"]
    queue = task_queue or queue_of(settings)

    async def work(safe: Passwords) -> None:
        async with dev_engine(target) if dev else contextlib.nullcontext():
            await _serve(
                await engine.connect(_plugin(settings, safe)), queue, f"{target} for {settings.base_url}"
            )

    with Passwords(passwords) as safe, contextlib.suppress(signals.Interrupted):
        # a signal is the normal way to end it
        signals.run(work(safe))
    return Exit.OK


def _plugin(settings: Settings, safe: Passwords) -> object:
    from ..temporal import VpsOrgPlugin

    async def keep(server: Server) -> None:
        safe.keep([server])

    return VpsOrgPlugin(settings.client, on_password=keep)


async def _serve(engine: Engine, queue: str, where: str) -> None:
    """Run a worker until it is cancelled, and let it hand over then."""
    from temporalio.worker import Worker

    logging.getLogger("temporalio").addHandler(logging.NullHandler())
    worker = Worker(engine, task_queue=queue, graceful_shutdown_timeout=GRACE)
    running = asyncio.ensure_future(worker.run())
    note(f"vpsorg: worker of the task queue {queue} at {where}")
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await worker.shutdown()
        await running
        raise
    except RuntimeError as error:
        raise VpsOrgError(f"the worker failed: {error}") from None
