"""A rolling operation under way: `Rollout` says who may go, this sends the commands, waits and asks for health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ConfigurationError, NotFoundError, VpsOrgError, WaitError, is_absence
from ..http.session import SendCancelled
from ..lifecycle.commands import COMMANDS, IN_PLACE
from ..lifecycle.contract import Target
from ..lifecycle.ready import ReadyCheck, ReadyPolicy
from ..records import Server, ServerId
from ..shielding import is_cancellation
from ..timing import Backoff
from .adoption import stops_all
from .events import CommandAnswered, CommandSent, FleetEvent
from .jobs import RunContext
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded
from .rollout import Rollout
from .stream import OutcomeLog, OutcomeStream

__all__ = ["Health", "RollingRun"]

log = logging.getLogger("vpsorg_async.fleet")

Health = ReadyCheck
"""Returns whether a server that came back is healthy; async, or quick. An exception counts as False."""


class RollingRun(OutcomeStream):
    """A run of `Fleet.rolling`: an async context manager, and an async iterator of outcomes as they settle.

    Leaving it early sends no further command. A server whose command was sent and that was not seen to come back is
    `Failed` then.
    """

    def __init__(
        self,
        context: RunContext,
        operation: str,
        ids: Sequence[ServerId],
        *,
        max_unavailable: int | float,
        max_failures: int,
        timeout: float,
        health: Health | None,
        canary: int,
        warm_up: float,
        health_retries: int,
        health_timeout: float,
        health_interval: float,
        on_event: Callable[[FleetEvent], None] | None,
    ) -> None:
        if not isinstance(operation, str) or operation not in IN_PLACE:
            raise ConfigurationError(f"rolling knows {', '.join(IN_PLACE)}, not {operation!r}")
        if isinstance(health_retries, bool) or not isinstance(health_retries, int) or health_retries < 1:
            raise ConfigurationError(f"health_retries is a number of checks from 1, not {health_retries!r}")
        title = f"rolling {operation}"
        super().__init__(
            context, OutcomeLog(context, operation, ids, on_event=on_event, again=_not_again, title=title)
        )
        self._limits: dict[str, Any] = {
            "max_unavailable": max_unavailable,
            "max_failures": max_failures,
            "canary": canary,
        }
        self._rollout = Rollout({}, **self._limits)  # refuses bad limits before anything is sent
        self._operation = operation
        self._ids = ids
        self._timeout = timeout
        self._health = health
        self._health_policy = ReadyPolicy(
            warm_up=warm_up,
            pauses=Backoff(initial=health_interval, maximum=health_interval, multiplier=1.0),
            check_timeout=health_timeout,
            tries=health_retries,
        )
        self._ended_by = ""
        self._sent: dict[ServerId, int] = {}
        self._acknowledged: set[ServerId] = set()
        self._tasks: dict[ServerId, asyncio.Task[None]] = {}

    @property
    def paused(self) -> bool:
        """Whether nothing more is started at the moment."""
        return self._rollout.paused

    def pause(self) -> None:
        """Start nothing more; what is under way goes on."""
        self._rollout.paused = True

    def resume(self) -> None:
        """Go on."""
        self._context.waiter.check()
        self._rollout.paused = False
        self._pump()

    async def _begin(self) -> None:
        wanted = COMMANDS[self._operation].before
        known = await self._read() if self._ids else {}
        self._outcomes.follow(f"rolling_{self._operation}")
        locations: dict[ServerId, str] = {}
        for key in self._ids:
            server = known.get(str(key))
            if server is None:
                self._outcomes.settle(key, Skipped(key, "it is not in the account"))
            elif server.status != wanted:
                self._outcomes.settle(key, Skipped(key, f"it is {server.status}, not {wanted}"))
            else:
                self._context.endpoints.saw(server)
                locations[key] = server.location or ""
        paused, self._rollout = self._rollout.paused, Rollout(locations, **self._limits)
        self._rollout.paused = paused
        self._pump()

    async def _read(self) -> dict[str, Server]:
        """Return the servers of the account by id."""
        listing = await self._context.endpoints.listing()
        known = {str(server.id): server for server in listing.servers}
        if listing.lacks:
            # a server that an incomplete list does not show may exist all the same
            for key in self._ids:
                if str(key) not in known:
                    try:
                        known[str(key)] = await self._context.endpoints.get(key)
                    except NotFoundError as error:
                        if not is_absence(error):
                            raise
        return known

    async def _leave(self, why: str) -> None:
        self._ended_by = self._ended_by or why
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._settle_rest(why)

    def _settle_rest(self, why: str) -> None:
        for key in list(self._outcomes.open):
            if key in self._sent:
                unseen = f"{self._operation} of {key!r}: {why}; it was sent, and nobody saw it done"
                failed = Failed(
                    key,
                    WaitError(unseen, server_id=key),
                    server_id=key,
                    attempts=self._sent[key],
                    acknowledged=key in self._acknowledged,
                )
                self._outcomes.settle(key, failed)
            else:
                self._outcomes.settle(key, Skipped(key, f"not sent: {why}"))

    @property
    def _over(self) -> str:
        """Why no further command leaves; empty while they do."""
        return self._ended_by or self._rollout.stopped

    def _pump(self) -> None:
        """Start whom the rollout lets go; when it has stopped, say so of all that are left."""
        for key in () if self._ended_by else self._rollout.begin():
            self._tasks[key] = asyncio.get_running_loop().create_task(
                self._one(key), name=f"vpsorg-rolling-{key}", context=self._outcomes.context
            )
        if self._over and len(self._outcomes) + len(self._tasks) < len(self._ids):
            for key in self._rollout.left:
                if key not in self._outcomes:
                    self._outcomes.settle(key, Skipped(key, self._over))

    async def _one(self, key: ServerId) -> None:
        """Take one server through command, wait and health check."""
        began = self._context.clock.now()
        outcome: Outcome
        try:
            outcome = await self._taken(key, began)
        except SendCancelled:
            outcome = Skipped(key, self._over)
        except VpsOrgError as error:
            if stops_all(error):
                self._ended_by = f"not sent, because an earlier {self._operation} was refused: {error}"
            outcome = Failed(
                key,
                error,
                server_id=key,
                server=getattr(error, "last_seen", None),
                seconds=self._context.clock.now() - began,
                attempts=self._sent.get(key, 0),
                acknowledged=key in self._acknowledged,
            )
        except BaseException as bug:
            if is_cancellation(bug):
                raise
            self._outcomes.broke(bug)
            return
        self._rollout.settled(key, not isinstance(outcome, Failed))
        self._tasks.pop(key)
        self._outcomes.settle(key, outcome)
        self._pump()

    async def _taken(self, key: ServerId, began: float) -> Succeeded:
        endpoints = self._context.endpoints.for_bulk(lambda: self._withdrawn(key))
        await getattr(endpoints, self._operation)(key)
        self._acknowledged.add(key)
        self._outcomes.emit(CommandAnswered(operation=self._operation, key=key, server_id=key))
        waited = await self._context.waiter.wait(
            key, Target.of(COMMANDS[self._operation].target), self._timeout
        )
        assert waited.server is not None
        server = waited.server
        if self._health is not None:
            server = await self._context.waiter.ready(waited, self._health, self._health_policy)
        return Succeeded(
            key,
            server,
            evidence=waited.evidence,
            timeline=waited.timeline,
            seconds=self._context.clock.now() - began,
            attempts=self._sent[key],
            how=COMMANDS[self._operation].past,
            acknowledged=True,
        )

    def _withdrawn(self, key: ServerId) -> bool:
        """Whether a command is kept back, asked when its turn comes: it leaves right after this."""
        if self._over:
            return True
        if key not in self._sent:
            self._outcomes.emit(CommandSent(operation=self._operation, key=key))
        self._sent[key] = self._sent.get(key, 0) + 1
        return False


async def _not_again(report: Report) -> Report:
    """A second round without a look at what is ill would take more servers away."""
    raise ConfigurationError(
        f"a {report.operation} is not tried again as it was: see what its failed servers lack, then roll over the "
        "keys of report.failed and report.skipped"
    )
