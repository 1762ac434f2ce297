"""The plugin that brings everything of this package into a client of Temporal and its workers."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import WorkflowHistory
from temporalio.plugin import SimplePlugin
from temporalio.worker import Replayer, Worker, WorkerConfig, WorkflowReplayResult, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from ..client import Client
from ..errors import ConfigurationError, VpsOrgError
from ..shared_client import SharedClient
from .account_activities import AccountActivities
from .apply_activities import ApplyActivities
from .apply_workflow import FleetApply
from .convert import with_records
from .fleet_activities import FleetActivities
from .fleet_workflows import FleetCreate, FleetDelete, FleetEnsure
from .passwords import OnPassword, PasswordKeeper
from .replace_activities import ReplaceActivities
from .replace_workflow import RollingReplace
from .rolling_workflow import RollingReboot

__all__ = ["VpsOrgPlugin"]

PASSED_THROUGH = ("vpsorg_async", "attr", "attrs", "cattr", "cattrs", "msgspec", "anyio", "yarl", "multidict")
"""Modules that workflows share with the worker: they are pure, or used by activities alone."""
THROTTLE = timedelta(seconds=2)
"""Between two heartbeats of an activity: these bring cancellations, and so a pause of a fleet."""


class VpsOrgPlugin(SimplePlugin):
    """Brings the records, the activities and the fleet workflows into a client and all of its workers.

    A worker has one open client of the account, which all of its activities share. When it gets SIGTERM and nothing
    else handles that signal, it shuts down gracefully: `Worker.run` returns once the activities have handed over.

    Args:
        factory: A function without arguments that returns a new client, such as ``Client.from_env``. The token comes
            from there, and is part of no workflow.
        on_password: An async function that stores the root password of a new server (provider dialect). It is called
            with the `Server` when the create is answered, and awaited before its activity returns. Passwords are part
            of no workflow.

    Raises:
        ConfigurationError: An argument is not such a function.

    Example::

        engine = await temporalio.client.Client.connect("localhost:7233", plugins=[VpsOrgPlugin(Client.from_env)])
        await Worker(engine, task_queue="vpsorg-main").run()
    """

    def __init__(self, factory: Callable[[], Client], *, on_password: OnPassword | None = None) -> None:
        shared = SharedClient(factory)
        passwords = PasswordKeeper(on_password)
        fleets = FleetActivities(shared, passwords)
        named = {
            **AccountActivities(shared, passwords).named(),
            **fleets.named(),
            **ApplyActivities(shared, passwords, fleets).named(),
            **ReplaceActivities(shared, passwords, fleets).named(),
        }
        super().__init__(
            "vpsorg.VpsOrgPlugin",
            data_converter=with_records,
            activities=[_activity(name, method) for name, method in named.items()],
            workflows=[FleetCreate, FleetEnsure, FleetDelete, FleetApply, RollingReboot, RollingReplace],
            workflow_runner=_pass_through,
            workflow_failure_exception_types=[VpsOrgError],
        )
        self._factory = factory
        self._shared = shared

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add what a worker needs. A client that can't be created is noticed here, and not while the worker runs."""
        self._factory()
        config = super().configure_worker(config)
        config["max_heartbeat_throttle_interval"] = min(
            config.get("max_heartbeat_throttle_interval", THROTTLE), THROTTLE
        )
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run a worker with the client open."""
        async with self._shared:
            with _graceful(worker):
                await next(worker)

    @contextlib.asynccontextmanager
    async def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AsyncIterator[AsyncIterator[WorkflowReplayResult]]:
        """Replay without a client: no activity runs."""
        async with next(replayer, histories) as results:
            yield results


def _activity(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return the activity of this name. Arguments that do not fit fail it at once, instead of being tried for ever."""
    signature = inspect.signature(method)

    async def run(*args: Any) -> Any:
        try:
            signature.bind(*args)
        except TypeError as unfit:
            raise ConfigurationError(f"{name}: {unfit}; it takes {signature}") from None
        return await method(*args)

    return activity.defn(name=name)(run)


def _pass_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    if runner is None:
        runner = SandboxedWorkflowRunner()
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    restrictions = runner.restrictions.with_passthrough_modules(*PASSED_THROUGH)
    return dataclasses.replace(runner, restrictions=restrictions)


@contextlib.contextmanager
def _graceful(worker: Worker) -> Iterator[None]:
    """Shut the worker down on SIGTERM, if that would end the process at once otherwise."""
    usual = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not usual or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, shutdowns = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    def shut_down() -> None:
        # a second signal ends the process
        loop.remove_signal_handler(signal.SIGTERM)
        shutdowns.add(loop.create_task(worker.shutdown()))

    loop.add_signal_handler(signal.SIGTERM, shut_down)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
