"""Fleet runs for code that is not async: a ``with`` block, in which the outcomes are iterated."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from .. import fleet
from ..fleet import Outcome, Report
from .portal import END, Portal
from .wrapping import Face, blocking, called

__all__ = ["RollingRun", "Run"]


class OutcomeIterator(Face):
    """A fleet run: a context manager, and an iterator of outcomes as they settle.

    A run is entered once. Leaving it early, by an exception or a ``break``, loses nothing: its report is complete
    afterwards.
    """

    def __init__(self, portal: Portal, run: fleet.Run | fleet.RollingRun) -> None:
        super().__init__(portal, lambda: run)
        self._run = run

    @property
    def report(self) -> Report:
        """The outcomes so far; complete when the run has been left."""
        return self._run.report

    def __enter__(self) -> Self:
        self._portal.run(self._run.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.run(lambda: self._run.__aexit__(kind, error, trace))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        outcome: Outcome = self._portal.run(lambda: anext(self._run, END))
        if outcome is END:
            raise StopIteration
        return outcome


class Run(OutcomeIterator):
    """A run of `Fleet.creating`."""

    roll_back: Final = blocking(fleet.Run.roll_back)


class RollingRun(OutcomeIterator):
    """A run of `Fleet.rolling`, which can be paused."""

    @property
    def paused(self) -> bool:
        """Whether no further command is sent until `resume`."""
        paused: bool = self._paused()
        return paused

    _paused = called(lambda run: run.paused)
    pause: Final = called(fleet.RollingRun.pause)
    resume: Final = called(fleet.RollingRun.resume)
