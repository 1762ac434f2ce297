"""The outcomes of a run as they settle: one for each key, given out once, and the report of all so far."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context

from ..hooks import emit
from ..records import ServerId
from .events import FleetEvent, ServerSettled
from .jobs import RunContext, RunTrace, context_of
from .outcomes import Outcome, Report

__all__ = ["OutcomeStream"]

log = logging.getLogger("vpsorg_async.fleet")


class OutcomeStream:
    """Belongs to one run, which settles each key; whoever iterates the run takes them from here."""

    def __init__(
        self,
        context: RunContext,
        operation: str,
        keys: Sequence[ServerId],
        *,
        on_event: Callable[[FleetEvent], None] | None,
        again: Callable[[Report], Awaitable[Report]] | None,
        title: str = "",
    ) -> None:
        """``title`` is the operation as the report names it, where that is not ``operation``."""
        self._context = context
        self._operation = operation
        self._title = title or operation
        self._keys = keys
        self._on_event = on_event
        self._again = again
        self._trace: RunTrace | None = None
        self._outcomes: dict[ServerId, Outcome] = {}
        self._settled: asyncio.Queue[Outcome | BaseException] = asyncio.Queue()
        self._given = 0
        self._began = self._ended = context.clock.now()
        self._broken: BaseException | None = None
        self._bug: BaseException | None = None
        self.rolled_back = False

    def begin(self) -> None:
        """The run begins: its time counts from here. Raises `ConfigurationError` on another loop than the client's."""
        self._context.waiter.check()
        self._began = self._ended = self._context.clock.now()

    def follow(self, name: str = "") -> None:
        """Let it be traced, if anything does."""
        self._trace = self._context.trace(name or self._operation, len(self._keys))

    def end(self, error: BaseException | None) -> None:
        """The run was left, by this error or by none."""
        if self._trace is not None:
            self._trace.end(self.report, error)

    @property
    def context(self) -> Context | None:
        """The context for a task of the run; None: the caller's."""
        return context_of(self._trace)

    @property
    def report(self) -> Report:
        """The outcomes so far, in the order of the keys."""
        return Report(
            operation=self._title,
            outcomes=tuple(self._outcomes[key] for key in self._keys if key in self._outcomes),
            seconds=(self._ended if self.complete else self._context.clock.now()) - self._began,
            rolled_back=self.rolled_back,
            again=self._again,
        )

    @property
    def complete(self) -> bool:
        """Whether every key has its outcome."""
        return len(self._outcomes) == len(self._keys)

    @property
    def all_given(self) -> bool:
        """Whether every outcome was given out."""
        return self._given == len(self._keys)

    @property
    def open(self) -> Iterator[ServerId]:
        """The keys without an outcome."""
        return (key for key in self._keys if key not in self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)

    def __contains__(self, key: ServerId) -> bool:
        return key in self._outcomes

    def get(self, key: ServerId) -> Outcome | None:
        """The outcome of a key, if it has one."""
        return self._outcomes.get(key)

    def settle(self, key: ServerId, outcome: Outcome) -> None:
        """A key has its outcome."""
        self._outcomes[key] = outcome
        self._ended = self._context.clock.now()
        self._settled.put_nowait(outcome)
        self.emit(ServerSettled(operation=self._operation, key=key, outcome=outcome))

    def revise(self, key: ServerId, outcome: Outcome) -> None:
        """What became of it later."""
        self._outcomes[key] = outcome

    def broke(self, bug: BaseException) -> None:
        """The run itself failed, or a hook asked for the end of everything: whoever iterates it is given this."""
        self._broken = self._broken or bug
        self._settled.put_nowait(bug)

    def raise_unheard(self) -> None:
        """Raise what broke the run, if nobody was given it, once the run has been left."""
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    async def next(self) -> Outcome:
        """The next outcome. Raises `StopAsyncIteration` after the last one, and what the run broke with.

        That is raised again each time when no outcome is left: more may never come.
        """
        self._context.waiter.check()
        if self.all_given:
            raise StopAsyncIteration
        if self._bug is not None and self._settled.empty():
            raise self._bug
        outcome = await self._settled.get()
        if isinstance(outcome, BaseException):
            self._broken, self._bug = None, outcome
            raise outcome
        self._given += 1
        return outcome

    def emit(self, event: FleetEvent) -> None:
        """Hand an event to the trace and to the user's hook."""
        try:
            if self._trace is not None:
                self._trace.emit(event)
            emit(self._on_event, event, log)
        except BaseException as stop:
            # not raised here: first the run is closed properly
            self.broke(stop)
