"""The thread that has a journal's file open: it takes what was queued, in order, and writes all of it at once.

Writes that wait at the same moment share one transaction, because each transaction waits for the disk. What is queued
is written even if the task that queued it is cancelled, its event loop closed, or the program at its end.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import itertools
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import attrs

from ..errors import ConfigurationError, JournalError
from ..virtual_time import outside_future
from .tables import Tables

__all__ = ["Writer"]

T = TypeVar("T")

log: logging.Logger = logging.getLogger("vpsorg_async")


@attrs.frozen(eq=False)
class _Job(Generic[T]):
    """Work for the thread. ``reply`` gets the result; work without one is repeated until it was written."""

    work: Callable[[Tables], T]
    reply: asyncio.Future[T] | None = None
    alone: bool = False
    """Whether it has a transaction of its own."""


@attrs.frozen(eq=False)
class _Stop:
    """The end of the queue."""

    reply: asyncio.Future[None] | None = None


_Jobs = collections.deque[_Job[Any] | _Stop]
_Wake = queue.SimpleQueue[None]
_Answer = tuple[asyncio.Future[Any] | None, Any, Exception | None]


class Writer:
    """Queues work for the thread. Queueing never waits."""

    def __init__(self) -> None:
        self._jobs: _Jobs = collections.deque()
        self._wake: _Wake = queue.SimpleQueue()
        self._waking: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self.closed: bool = False

    async def start(self, opening: Callable[[], Tables]) -> None:
        """Start the thread, which opens the file. Raises what ``opening`` raises."""
        opened: asyncio.Future[None] = outside_future()
        # a daemon thread does not keep a program alive that has forgotten to close its journal; `_finish` waits for
        # what is queued
        self._thread = threading.Thread(
            target=_main, args=(opening, opened, self._jobs, self._wake), name="vpsorg-journal", daemon=True
        )
        self._thread.start()
        atexit.register(self._finish)
        try:
            await opened
        except BaseException:
            self._stop(None)
            atexit.unregister(self._finish)
            raise

    def call(self, work: Callable[[Tables], T], *, alone: bool = False) -> asyncio.Future[T]:
        """Queue the work. The future is done when it is on the disk; cancelling the future does not stop the work.

        Its error is what the work raises, or `JournalError`. ``alone`` says that the work has a transaction of its
        own. Raises `ConfigurationError` where the journal is closed.
        """
        reply: asyncio.Future[T] = outside_future()
        self._put(_Job(work, reply, alone))
        return reply

    def note(self, work: Callable[[Tables], None]) -> None:
        """Queue work that is tried again with the next transaction if it can't be written. Raises like `call`."""
        self._put(_Job(work))

    async def close(self) -> None:
        """Do what is queued, and close the file. Closing again has no effect."""
        if self.closed or os.getpid() != self._process:
            return
        reply: asyncio.Future[None] = outside_future()
        self._stop(reply)
        await reply
        atexit.unregister(self._finish)

    def _put(self, job: _Job[Any]) -> None:
        if os.getpid() != self._process:
            raise ConfigurationError("the journal was opened before a fork: open one in each process")
        if self.closed:
            raise ConfigurationError("the journal is closed")
        self._jobs.append(job)
        # The thread wakes up when this iteration of the loop is over. Workers that got their answers in it record them,
        # and their next intents, in one transaction instead of three.
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._wake.put(None)
            return
        if self._waking is not loop:
            self._waking = loop
            loop.call_soon(self._wake_up)

    def _wake_up(self) -> None:
        self._waking = None
        self._wake.put(None)

    def _stop(self, reply: asyncio.Future[None] | None) -> None:
        self.closed = True
        self._jobs.append(_Stop(reply))
        self._wake.put(None)

    def _finish(self) -> None:
        """Do what is queued before the interpreter ends the thread."""
        if os.getpid() == self._process and self._thread is not None:
            if not self.closed:
                self._stop(None)
            self._thread.join()


def _main(opening: Callable[[], Tables], opened: asyncio.Future[None], jobs: _Jobs, wake: _Wake) -> None:
    try:
        tables = opening()
    except Exception as failure:
        _answer([(opened, None, failure)])
        return
    _answer([(opened, None, None)])
    left: list[_Job[Any]] = []
    stop = None
    while stop is None:
        wake.get()
        batch, stop = _take(jobs)
        for alone, group in itertools.groupby(batch, lambda job: job.alone):
            if not alone:
                left = _commit(tables, left, list(group))
                continue
            for job in group:
                left = _commit(tables, left, [])
                _answer([_do(tables, job)])
    left = _commit(tables, left, [])
    if left:
        log.warning("%d receipts could not be written to the journal %s", len(left), tables.file)
    tables.close()
    _answer([(stop.reply, None, None)])


def _take(jobs: _Jobs) -> tuple[list[_Job[Any]], _Stop | None]:
    taken: list[_Job[Any]] = []
    while jobs:
        job = jobs.popleft()
        if isinstance(job, _Stop):
            return taken, job
        taken.append(job)
    return taken, None


def _commit(tables: Tables, left: list[_Job[Any]], jobs: list[_Job[Any]]) -> list[_Job[Any]]:
    """Do the jobs in one transaction. Return those that must be tried again."""
    due = left + jobs
    if not due:
        return due
    try:
        with tables.transaction():
            answers = [_do(tables, job) for job in due]
    except JournalError as failure:
        _answer([(job.reply, None, JournalError(*failure.args)) for job in due if job.reply is not None])
        again = [job for job in due if job.reply is None]
        if again and not left:
            log.warning("%s; receipts are kept in memory until it can be written", failure)
        return again
    _answer(answers)
    return []


def _do(tables: Tables, job: _Job[Any]) -> _Answer:
    try:
        return job.reply, job.work(tables), None
    except sqlite3.Error:
        raise  # it has ended the transaction
    except Exception as failure:
        if job.reply is None:
            log.exception("a note could not be written to the journal")
        return job.reply, None, failure


def _answer(answers: Iterable[_Answer]) -> None:
    """Pass results to their futures, with one wake-up of each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for answer in answers:
        if answer[0] is not None:
            by_loop.setdefault(answer[0].get_loop(), []).append(answer)
    for loop, some in by_loop.items():
        # a loop that was closed meanwhile has no task that waits
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, some)


def _settle(answers: Iterable[_Answer]) -> None:
    for future, result, failure in answers:
        if future is None or future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
