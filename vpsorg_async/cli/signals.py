"""Signals that end a command: Ctrl-C (SIGINT), SIGTERM and SIGHUP, all three in the same way.

================  ======================================================================================
where it arrives  what the first signal does
================  ======================================================================================
in `run`          it cancels the work, which then prints what is known
while `held`      it is raised as `Interrupted` afterwards, because an exception inside an import breaks it
elsewhere         it raises `Interrupted`
================  ======================================================================================

A second signal within `SHUTDOWN` seconds is ignored, because terminals and supervisors often send two. A later one, or
a third, ends the process at once, after the ``last_words`` of the work.

A signal that was ignored when the process started stays ignored: ``nohup`` and background jobs rely on it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from .stdio import abandon, note, print_last

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "Interrupted",
    "at_once",
    "check",
    "handled",
    "held",
    "interrupted",
    "leave",
    "overdue",
    "release",
    "run",
    "skip_finalization",
]

T = TypeVar("T")

SHUTDOWN = 2.0
"""Seconds after the first signal during which a second one is ignored. A fleet call reports within this time."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return (
            "interrupted" if self.number == signal.SIGINT else f"ended by {signal.Signals(self.number).name}"
        )

    @property
    def code(self) -> int:
        """The exit code, as shells report it."""
        return 128 + self.number


class _Signals:
    """The signals that one run of the command received."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.forced = False
        self.handlers: dict[int, Any] = {}
        """The previous handlers, by signal."""
        self.held = True
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[Any] | None = None
        self.now: Callable[[], float] = float
        """The current time, once there is a clock."""
        self.at = math.inf
        """The time of the first one."""
        self._numbers = itertools.count(1)

    def heard(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal. Another signal can arrive while this runs."""
        self.first = self.first or number
        count = next(self._numbers)
        if count == 1:
            self.at = self.now()
            if not self.held:
                raise Interrupted(number)
            if self.task is not None and self.loop is not None:
                self.task.cancel()
                self.loop.call_soon_threadsafe(lambda: None)  # wakes up an idle loop
        elif count > 2 or self.now() - self.at >= SHUTDOWN:
            # from here on a signal ends the process by default, even before the last words
            self._set(signal.SIG_DFL)
            if self.loop is not None:
                self.forced = True
                self.loop.stop()  # in case the exception is swallowed
            raise Interrupted(self.first)

    def restore(self) -> None:
        """Restore the handlers. After a signal, ignore further ones, which must not change the exit code."""
        self._set(None if self.first is None else signal.SIG_IGN)

    def _set(self, handler: signal.Handlers | None) -> None:
        for number, before in self.handlers.items():
            signal.signal(number, before if handler is None else handler)


_signals = _Signals()
"""The signals of the run in progress. Signals belong to the process, so there is one object."""


@contextlib.contextmanager
def handled() -> Generator[None]:
    """Handle the signals while this is open. They are held until `release`."""
    global _signals
    outer, _signals = _signals, _Signals()
    report = sys.unraisablehook

    def unraisable(what: sys.UnraisableHookArgs) -> None:
        # raised in a callback of the interpreter, for example of an import: `check` raises it again
        if not isinstance(what.exc_value, Interrupted):
            report(what)

    sys.unraisablehook = unraisable
    try:
        with contextlib.suppress(ValueError):  # only the main thread can set handlers
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)  # Windows has no SIGHUP
                if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    _signals.handlers[number] = signal.signal(number, _signals.heard)
        # imported after the handlers are set, because it takes as long as all earlier imports together
        from ..timing import SystemClock

        _signals.now = SystemClock().now
        yield
    finally:
        _signals.restore()
        _signals, sys.unraisablehook = outer, report


def interrupted() -> Interrupted | None:
    """Return the exception for the first signal, if one came, even if the exception itself was swallowed."""
    return None if _signals.first is None else Interrupted(_signals.first)


def overdue() -> bool:
    """Return whether the first signal came `SHUTDOWN` seconds ago or earlier."""
    return _signals.first is not None and _signals.now() - _signals.at >= SHUTDOWN


def check() -> None:
    """Raise `Interrupted` if a signal came. Call it before a step that can't be undone, or that waits."""
    stop = interrupted()
    if stop is not None:
        raise stop


def release() -> None:
    """Stop holding the signals, and raise `Interrupted` if one came."""
    _signals.held = False
    check()


@contextlib.contextmanager
def held() -> Generator[None]:
    """Hold the signals while this is open, then raise `Interrupted` if one came."""
    before, _signals.held = _signals.held, True
    try:
        yield
    finally:
        _signals.held = before
        check()


@contextlib.contextmanager
def at_once() -> Generator[None]:
    """Let a signal raise while this is open, also inside `run`. Use it for a write that may be lost."""
    before, _signals.held = _signals.held, False
    try:
        yield
    finally:
        _signals.held = before


def run(work: Coroutine[Any, Any, T], last_words: Callable[[], None] | None = None) -> T:
    """Run the work on a new event loop, and return its result.

    If a signal comes, the work is cancelled, and `Interrupted` is raised once the work has ended. The work itself must
    print what must not be lost. ``last_words`` prints it if the work gets no time to do so.
    """
    import asyncio

    signals = _signals

    async def followed() -> T:
        signals.loop, signals.task = asyncio.get_running_loop(), asyncio.current_task()
        if signals.first is not None:
            raise asyncio.CancelledError
        return await work

    before, signals.held = signals.held, True
    try:
        # twice, because closing the runner waits for tasks and may have to be cut short as well
        with _cut_short(signals, last_words), asyncio.Runner() as runner, _cut_short(signals, last_words):
            result = runner.run(followed())
    except (Exception, asyncio.CancelledError) as error:
        stop = interrupted()
        if stop is None:
            raise
        raise stop from (None if isinstance(error, asyncio.CancelledError) else error)
    finally:
        signals.held, signals.loop, signals.task = before, None, None
        work.close()  # in case it was not started
    check()
    return result


@contextlib.contextmanager
def _cut_short(signals: _Signals, last_words: Callable[[], None] | None) -> Generator[None]:
    try:
        yield
    finally:
        if signals.forced:
            _end_now(signals, last_words)


def _end_now(signals: _Signals, last_words: Callable[[], None] | None) -> NoReturn:
    """End the process without unwinding, because its loop has tasks that do not end."""
    assert signals.first is not None
    try:
        _leave_display()
        if last_words is not None:
            last_words()
        note(f"vpsorg: {Interrupted(signals.first)}")
        print_last()
    finally:
        abandon(sys.stdout)
        os._exit(128 + signals.first)


def _leave_display() -> None:
    """Restore the streams that a display on the terminal has replaced."""
    from rich.console import Console

    for name in ("stdout", "stderr"):
        stream = getattr(getattr(sys, name), "rich_proxied_file", None)
        if stream is not None:
            setattr(sys, name, stream)
            screen = Console(stderr=name == "stderr")
            screen.show_cursor()
            screen.print()


_skips_finalization = False


def skip_finalization() -> None:
    """End this process by `leave`, without the end of the interpreter.

    For libraries with native threads that may call into Python at any time: where one does so while the interpreter
    ends, the process aborts, or hangs (PyGILState_Release: thread state must be current when releasing).
    """
    global _skips_finalization
    _skips_finalization = True


def leave(code: int) -> None:
    """End the process now, if a command needs that. Everything it printed was flushed."""
    if _skips_finalization:
        os._exit(code)
