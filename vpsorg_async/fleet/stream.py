"""What all fleet runs have in common: entering, iterating, the report, and leaving, early or not."""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from ..errors import ConfigurationError
from ..hooks import emit
from ..records import ServerId
from ..shielding import to_the_end
from .events import FleetEvent, ServerSettled
from .intents import Intents
from .jobs import RunContext, RunTrace, context_of
from .outcomes import Outcome, Report, Succeeded
from .resumption import Resumption

__all__ = ["OutcomeLog", "OutcomeStream", "finish"]

log: logging.Logger = logging.getLogger("vpsorg_async.fleet")

_USE = "write 'async with ... as run:', and in it 'async for outcome in run:'"


class OutcomeLog:
    """The outcomes of one run: the run settles each key once, and the iteration takes the outcomes in that order."""

    def __init__(
        self,
        context: RunContext,
        operation: str,
        keys: Sequence[ServerId],
        *,
        on_event: Callable[[FleetEvent], None] | None,
        again: Callable[[Report], Awaitable[Report]] | None,
    ) -> None:
        self.operation = operation
        self._context = context
        self._keys = keys
        self._on_event = on_event
        self._again = again
        self._trace: RunTrace | None = None
        self._outcomes: dict[ServerId, Outcome] = {}
        self._settled: asyncio.Queue[Outcome | BaseException] = asyncio.Queue()
        self._expected: dict[ServerId, asyncio.Future[None]] = {}
        self._parts: dict[ServerId, Callable[[Outcome], None]] = {}
        self._ended_parts: set[ServerId] = set()
        self._given = 0
        self._awaited = 0
        self._began = self._ended = context.clock.now()
        self._broken: BaseException | None = None
        self._bug: BaseException | None = None
        self._rolled_back = False
        self._breaker = ""

    def begin(self) -> None:
        """Count the time of the run from now on."""
        self._began = self._ended = self._context.clock.now()

    def follow(self) -> None:
        """Begin the trace of the run, if the client has a tracer."""
        self._trace = self._context.trace(self.operation.replace(" ", "_"), len(self._keys))

    def end(self, error: BaseException | None) -> None:
        """End the trace of the run, which was left by this error or by none."""
        if self._trace is not None:
            self._trace.end(self.report, error)

    @property
    def context(self) -> Context | None:
        """The context for a task of the run; None for the caller's."""
        return context_of(self._trace)

    @property
    def report(self) -> Report:
        """The outcomes so far, in the order of the keys."""
        return Report(
            operation=self.operation,
            outcomes=tuple(self._outcomes[key] for key in self._keys if key in self._outcomes),
            seconds=(self._ended if self.complete else self._context.clock.now()) - self._began,
            rolled_back=self._rolled_back,
            breaker=self._breaker,
            again=self._again,
        )

    @property
    def complete(self) -> bool:
        """Whether every key has its outcome."""
        return len(self._outcomes) == len(self._keys)

    @property
    def all_given(self) -> bool:
        """Whether the iteration has returned every outcome."""
        return self._given == len(self._keys)

    @property
    def open(self) -> Iterator[ServerId]:
        """The keys without an outcome."""
        return (key for key in self._keys if key not in self._outcomes)

    def get(self, key: ServerId) -> Outcome | None:
        """The outcome of a key, if it has one."""
        return self._outcomes.get(key)

    def settle(self, key: ServerId, outcome: Outcome) -> None:
        """Record the outcome of a key, and emit it; or pass it on if it is that of a part of its work."""
        expected = self._expected.pop(key, None)
        if expected is not None and not expected.done():
            expected.set_result(None)
        part = self._parts.get(key)
        if part is not None:
            self._ended_parts.add(key)
            part(outcome)
            return
        self._outcomes[key] = outcome
        self._ended = self._context.clock.now()
        self._settled.put_nowait(outcome)
        self.emit(ServerSettled, key=key, outcome=outcome)

    def divert(self, key: ServerId, part: Callable[[Outcome], None]) -> None:
        """Pass each outcome of this key to a function until `conclude`: it is that of a part of the key's work."""
        self._parts[key] = part
        self._ended_parts.discard(key)

    def conclude(self, key: ServerId, outcome: Outcome) -> None:
        """Record the outcome of a key whose work had parts."""
        self._parts.pop(key, None)
        self.settle(key, outcome)

    async def settled(self, key: ServerId) -> None:
        """Return once this key, or the part of its work in progress, has its outcome. One task waits for a key."""
        if key not in self._outcomes and key not in self._ended_parts:
            self._expected[key] = asyncio.get_running_loop().create_future()
            await self._expected[key]

    def revise(self, key: ServerId, outcome: Outcome) -> None:
        """Replace the outcome of a key in the report."""
        self._outcomes[key] = outcome

    def note_rollback(self) -> None:
        """Say in the report that what the run created is deleted again."""
        self._rolled_back = True

    def note_breaker(self, why: str) -> None:
        """Say in the report why stuck servers are not replaced any more."""
        self._breaker = why

    def broke(self, bug: BaseException) -> None:
        """Raise this from the iteration: the run itself failed, or a hook raised what ends everything."""
        self._broken = self._broken or bug
        self._settled.put_nowait(bug)

    def raise_unheard(self) -> None:
        """Raise what broke the run, unless the iteration has raised it."""
        broken, self._broken = self._broken, None
        if broken is not None:
            raise broken

    async def next(self) -> Outcome:
        """Return the next outcome. Raises `StopAsyncIteration` after the last one, and what the run broke with.

        That is raised again each time when no outcome is left, because more may never come.
        """
        # several tasks may iterate: one that would wait for an outcome too many would wait for ever
        if self._given + self._awaited >= len(self._keys):
            raise StopAsyncIteration
        if self._bug is not None and self._settled.empty():
            raise self._bug
        self._awaited += 1
        try:
            outcome = await self._settled.get()
        finally:
            self._awaited -= 1
        if isinstance(outcome, BaseException):
            self._broken, self._bug = None, outcome
            raise outcome
        self._given += 1
        return outcome

    def emit(self, kind: type[FleetEvent], **details: Any) -> None:
        """Hand an event of this run to its trace and to the user's hook; without either there is none."""
        if self._trace is None and self._on_event is None:
            return
        event = kind(operation=self.operation, **details)
        try:
            if self._trace is not None:
                self._trace.emit(event)
            emit(self._on_event, event, log)
        except BaseException as stop:
            # not raised here: the run is closed first
            self.broke(stop)


class OutcomeStream(abc.ABC):
    """A fleet run: an async context manager, and an async iterator of outcomes as they settle.

    A run is entered once. Leaving it early, by an exception, a cancellation or a ``break``, loses nothing: its report
    is complete afterwards.
    """

    def __init__(
        self,
        context: RunContext,
        outcomes: OutcomeLog,
        record: Callable[[], Awaitable[Intents]] | None = None,
    ) -> None:
        """``record`` opens the journal, and gets hold of what the run works on."""
        self._context = context
        self._outcomes = outcomes
        self._record = record
        self._intents: Intents | None = None
        self._entered = False
        self._begun = False

    @property
    def report(self) -> Report:
        """The outcomes so far; complete when the run has been left."""
        return self._outcomes.report

    @abc.abstractmethod
    async def _begin(self) -> None:
        """Start the work of the run."""

    @abc.abstractmethod
    def _leave(self, why: str) -> Coroutine[Any, Any, None]:
        """End the work, and give each key an outcome, whatever is cancelled meanwhile (`to_the_end`)."""

    async def _take_up(self) -> Resumption | None:
        """Open the journal, and return what earlier runs left; None without a journal. Raises what `record` raises."""
        if self._record is None:
            return None
        self._intents = await self._record()
        return self._intents.resumption

    async def _release(self) -> None:
        """Give back what the run holds, once it was left or could not begin. Runs to its end when cancelled."""
        intents, self._intents = self._intents, None
        if intents is not None:
            await intents.end(complete=self._done)

    @property
    def _done(self) -> bool:
        """Whether a later run has nothing to take up. A run that could not begin has nothing done."""
        outcomes = self._outcomes.report.outcomes
        return self._outcomes.complete and all(isinstance(outcome, Succeeded) for outcome in outcomes)

    async def __aenter__(self) -> Self:
        self._context.waiter.check()
        if self._entered:
            raise ConfigurationError(
                "a run can be entered only once: call the fleet method again for a new one"
            )
        self._entered = True
        self._outcomes.begin()
        try:
            await self._begin()
        except BaseException:
            await to_the_end(self._release(), self._outcomes.context)
            raise
        self._begun = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.waiter.check()
        try:
            if not self._outcomes.complete or (kind is not None and not self._outcomes.all_given):
                cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
                closed = f"the run was closed ({kind.__name__ if kind else 'break'})"
                why = "the run was cancelled" if cancelled else closed
                await to_the_end(self._leave(why), self._outcomes.context)
        finally:
            try:
                await to_the_end(self._release(), self._outcomes.context)
            finally:
                self._outcomes.end(error)
        if kind is None:
            self._outcomes.raise_unheard()

    if not TYPE_CHECKING:  # a type checker rejects it by itself

        def __await__(self) -> NoReturn:
            raise ConfigurationError(f"a fleet run is not awaited: {_USE}; nothing was sent")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        self._context.waiter.check()
        if not self._begun:
            raise ConfigurationError(f"a fleet run is not open: {_USE}")
        return await self._outcomes.next()


async def finish(run: OutcomeStream) -> Report:
    """Enter a run, wait for all of its outcomes, and return its report."""
    async with run:
        async for _ in run:
            pass
    return run.report
