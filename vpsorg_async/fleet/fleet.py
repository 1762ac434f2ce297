"""Many servers at once: commands in parallel, waits shared, one outcome for each server.

A handful of workers sends the commands; a server whose command was acknowledged is handed to the shared poller and
keeps no task. A failure is an outcome and disturbs no sibling.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

import anyio

from ..config import check_seconds
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    PaymentRequiredError,
    PermissionDeniedError,
    VpsOrgError,
)
from ..http.exchange import Priority
from ..lifecycle.contract import Target
from ..lifecycle.wait import Verdict, Wait
from ..lifecycle.waiter import Waiter, WaitOutcome
from ..models import Server, ServerId, ServerSpec, check_id
from ..servers import Servers
from ..timing import Clock
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded

__all__ = ["Fleet"]

T = TypeVar("T")

# After one of these every further command would meet the same, or cost money that is not there.
_STOPPERS = (AuthenticationError, PaymentRequiredError, PermissionDeniedError)


class Fleet:
    """Bulk work on servers: ``vps.fleet``.

    ``timeout`` is in seconds and counts for each server from its command. Every call returns a `Report` with one
    outcome per server, in the order asked; only bad input raises (`ConfigurationError`, before anything is sent).
    The first 401, 402 or 403 keeps back the commands that have not left: those are `Skipped`.
    """

    def __init__(self, servers: Servers, waiter: Waiter, clock: Clock, max_in_flight: int) -> None:
        self._servers = servers
        self._waiter = waiter
        self._clock = clock
        self._max_in_flight = max_in_flight

    async def create(self, specs: Iterable[ServerSpec], *, timeout: float, wait: bool = True) -> Report:
        """Create all, and wait until each is active.

        The account is listed once before anything is created: a name that is taken, or asked for twice, is refused
        with `ConfigurationError`, because the name is all that a create with a lost answer can be found by. Each
        create is sent once.
        """
        wanted = _several(specs, "ServerSpecs")
        for spec in wanted:
            if not isinstance(spec, ServerSpec):
                raise ConfigurationError(f"fleet.create takes ServerSpecs, not {type(spec).__name__}")
        _no_repeats([spec.name for spec in wanted], "names")
        seconds = check_seconds(timeout, "timeout")
        if not wanted:
            return Report(operation="create", outcomes=())
        names = {server.name for server in await self._servers.list()}
        taken = sorted(names & {spec.name for spec in wanted})
        if taken:
            raise ConfigurationError(f"these names exist already: {', '.join(taken)}; nothing was created")

        async def create(spec: ServerSpec) -> Server:
            return await self._servers.create(spec, priority=Priority.BULK)

        work = _Work[ServerSpec](self, "create", Target.of("active") if wait else None, seconds)
        return await work.run([(spec.name, spec) for spec in wanted], create)

    async def start(self, ids: Iterable[ServerId], *, timeout: float, wait: bool = True) -> Report:
        """Start all, and wait until each is active."""
        return await self._act("start", ids, "active", timeout, wait, self._servers.start)

    async def stop(self, ids: Iterable[ServerId], *, timeout: float, wait: bool = True) -> Report:
        """Stop all, and wait until each is stopped. They keep being charged until they are deleted."""
        return await self._act("stop", ids, "stopped", timeout, wait, self._servers.stop)

    async def reboot(self, ids: Iterable[ServerId], *, timeout: float, wait: bool = True) -> Report:
        """Reboot all at once, and wait until each is active again after its reboot."""
        wanted = _ids(ids)
        check_seconds(timeout, "timeout")
        if wait and wanted:
            # what each server was before is the ground on which its reboot is later believed
            # without it the evidence is weaker; what is wrong shows at the commands themselves
            with contextlib.suppress(VpsOrgError):
                await self._waiter.poller.glance(wanted)
        return await self._act("reboot", wanted, "active", timeout, wait, self._servers.reboot)

    async def delete(self, ids: Iterable[ServerId], *, timeout: float, wait: bool = True) -> Report:
        """Delete all for good, and wait until each is gone."""
        return await self._act("delete", ids, "gone", timeout, wait, self._servers.delete)

    async def _act(
        self,
        operation: str,
        ids: Iterable[ServerId],
        target: str,
        timeout: float,
        wait: bool,
        command: Callable[..., Awaitable[object]],
    ) -> Report:
        wanted = _ids(ids)
        seconds = check_seconds(timeout, "timeout")

        async def act(server_id: ServerId) -> Server | None:
            await command(server_id, priority=Priority.BULK)
            return None

        work = _Work[ServerId](self, operation, Target.of(target) if wait else None, seconds)
        return await work.run([(server_id, server_id) for server_id in wanted], act)


class _Work(Generic[T]):
    """One fleet call under way."""

    def __init__(self, fleet: Fleet, operation: str, target: Target | None, timeout: float) -> None:
        self._fleet = fleet
        self._clock = fleet._clock
        self._waiter = fleet._waiter
        self._operation = operation
        self._target = target
        self._timeout = timeout
        self._outcomes: dict[ServerId, Outcome] = {}
        self._waits: dict[ServerId, Wait] = {}
        self._all_settled = asyncio.Event()
        self._stopped = ""

    async def run(
        self, items: Sequence[tuple[ServerId, T]], command: Callable[[T], Awaitable[Server | None]]
    ) -> Report:
        """Send every command, await every wait."""
        began = self._clock.now()
        queue = iter(items)
        try:
            async with anyio.create_task_group() as workers:
                for _ in range(min(self._fleet._max_in_flight, len(items))):
                    workers.start_soon(self._worker, queue, command)
            while self._waits:
                self._all_settled.clear()
                await self._all_settled.wait()
        finally:
            for wait in self._waits.values():
                self._waiter.poller.leave(wait)
        return Report(
            operation=self._operation,
            outcomes=tuple(self._outcomes[key] for key, _ in items),
            seconds=self._clock.now() - began,
        )

    async def _worker(
        self, queue: Iterable[tuple[ServerId, T]], command: Callable[[T], Awaitable[Server | None]]
    ) -> None:
        for key, item in queue:
            if self._stopped:
                self._outcomes[key] = Skipped(key, self._stopped)
                continue
            sent_at = self._clock.now()
            try:
                server = await command(item)
            except VpsOrgError as error:
                self._outcomes[key] = Failed(
                    key,
                    error,
                    server_id=None if self._operation == "create" else key,
                    seconds=self._clock.now() - sent_at,
                )
                if isinstance(error, _STOPPERS) and not self._stopped:
                    self._stopped = f"not sent, because an earlier {self._operation} was refused: {error}"
                continue
            if self._target is None:
                self._outcomes[key] = Succeeded(key, server, seconds=self._clock.now() - sent_at)
                continue
            try:
                self._await(key, server, sent_at)
            except VpsOrgError as error:
                # it can't be waited for (the client was closed, or its id is none), and is there all the same
                self._outcomes[key] = Failed(
                    key,
                    error,
                    server_id=key if server is None else server.id,
                    server=server,
                    seconds=self._clock.now() - sent_at,
                )

    def _await(self, key: ServerId, server: Server | None, sent_at: float) -> None:
        assert self._target is not None
        subject = key if server is None else server.id
        wait = self._waiter.make(subject, self._target, self._timeout)
        wait.deadline = sent_at + self._timeout
        verdict = self._waiter.poller.join(wait)
        self._waits[key] = wait

        def settled(done: asyncio.Future[Verdict]) -> None:
            if done.cancelled() or self._waits.pop(key, None) is None:
                return
            self._outcomes[key] = self._outcome(key, server, wait, done, sent_at)
            if not self._waits:
                self._all_settled.set()

        verdict.add_done_callback(settled)

    def _outcome(
        self, key: ServerId, server: Server | None, wait: Wait, done: asyncio.Future[Verdict], sent_at: float
    ) -> Outcome:
        seconds = self._clock.now() - sent_at
        outcome = WaitOutcome.of(wait, done.result(), self._clock.now())
        if outcome.error is None:
            return Succeeded(
                key, outcome.server, evidence=outcome.evidence, timeline=outcome.timeline, seconds=seconds
            )
        return Failed(
            key,
            outcome.error,
            server_id=wait.server_id,
            server=wait.last_seen or server,
            timeline=outcome.timeline,
            seconds=seconds,
        )


def _several(things: Iterable[T], what: str) -> tuple[T, ...]:
    if isinstance(things, str | bytes) or not isinstance(things, Iterable):
        raise ConfigurationError(f"a fleet call takes several {what}: pass a list")
    return tuple(things)


def _ids(ids: Iterable[ServerId]) -> tuple[ServerId, ...]:
    wanted = tuple(check_id(server_id) for server_id in _several(ids, "ids"))
    _no_repeats([str(server_id) for server_id in wanted], "ids")
    return wanted


def _no_repeats(keys: Sequence[str], what: str) -> None:
    repeated = sorted(key for key, times in Counter(keys).items() if times > 1)
    if repeated:
        raise ConfigurationError(
            f"these {what} are given more than once: {', '.join(repeated)}; nothing was sent"
        )
