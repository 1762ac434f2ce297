"""The standard streams, usable whatever they are: closed, full, a pipe without a reader, or with a limited encoding.

Results are written by `emit`, which writes all of them at once and raises `Unwritten`. Everything on standard error is
a note beside them: what can't be written there is dropped, unless it is needed, and does not change the exit code.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Generator
from typing import Any, TextIO, cast

__all__ = ["Unwritten", "abandon", "emit", "last_lines", "note", "prepared", "print_last"]


class Unwritten(Exception):
    """A result could not be written to standard output. ``closed``: its reader has exited."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output can't be written: {error.strerror or error}")
        self.closed: bool = isinstance(error, BrokenPipeError)


class _Notes:
    """A wrapper of standard error that drops what can't be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = False
        """Whether a note could not be written."""

    def write(self, text: str) -> int:
        try:
            _put(self._stream, text)
        except OSError:
            self.lost = True
            abandon(self._stream)
        return len(text)

    def flush(self) -> None:
        """Do nothing: each write is flushed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _never() -> bool:
    return False


_overdue: Callable[[], bool] = _never
"""The one given to `prepared`. The streams belong to the process, so there is one."""


@contextlib.contextmanager
def prepared(overdue: Callable[[], bool] = _never) -> Generator[None]:
    """Make the three streams usable while this is open.

    ``overdue`` says whether the command should have ended by now: a write then gives up a reader that takes nothing for
    a second.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The parent process closed it. The replacement keeps sockets from getting its number. It is open for
            # reading only, so that writing to it fails.
            nothing = os.open(os.devnull, os.O_RDONLY)
            setattr(sys, name, os.fdopen(nothing, "w" if number else "r", encoding="utf-8", closefd=False))
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(io.UnsupportedOperation):  # it has been read already
                stream.reconfigure(errors="replace")
    global _overdue
    output, errors, before = sys.stdout, sys.stderr, _overdue
    sys.stdout, sys.stderr = _buffered(output), cast(TextIO, _Notes(_buffered(errors)))
    _overdue = overdue
    try:
        yield
    finally:
        with contextlib.suppress(Unwritten):
            emit("")
        sys.stdout, sys.stderr, _overdue = output, errors, before


def _buffered(stream: TextIO) -> TextIO:
    """Return a stream that writes the whole of a text to the same file.

    With PYTHONUNBUFFERED the interpreter's own streams lose the rest of a text whose write a signal cuts short.
    """
    if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.RawIOBase):
        return open(stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False)
    return stream


def emit(text: str) -> None:
    """Write the text, and what was printed before, to standard output. Raises `Unwritten`."""
    try:
        _put(sys.stdout, text)
    except OSError as error:
        abandon(sys.stdout)
        raise Unwritten(error) from None


def _put(stream: TextIO, text: str) -> None:
    """Write and flush the text in pieces that do not block. Raises `OSError`.

    A signal that arrives just before a write that blocks is not handled before that write ends. So this waits for the
    reader in short turns, between which signals are handled.
    """
    size = getattr(select, "PIPE_BUF", 512) // 4  # characters of at most four bytes; Windows has no PIPE_BUF
    for start in range(0, len(text), size):
        turns = 0
        while not _writable(stream):
            turns += 1
            if turns >= 10 and _overdue():
                raise TimeoutError(errno.ETIMEDOUT, "its reader has stopped reading")
        stream.write(text[start : start + size])
        stream.flush()
    stream.flush()


def _writable(stream: TextIO) -> bool:
    """Return whether a piece can be written without blocking, after at most a tenth of a second."""
    try:
        return bool(select.select([], [stream.fileno()], [], 0.1)[1])
    except (OSError, ValueError):
        return True  # not a stream that can be waited for: a stream of a test has no file


def note(text: str, *, needed: bool = False) -> None:
    """Write a line to standard error. If it is needed and can't be written there, write it to standard output."""
    print(text, file=sys.stderr, flush=True)
    if needed and getattr(sys.stderr, "lost", False):
        with contextlib.suppress(Unwritten):
            emit(f"{text}\n")


_last: list[str] = []
"""What `last_lines` was called with. The streams belong to the process, so there is one."""


def last_lines(text: str, command: str) -> None:
    """Print these two lines on standard error when the process ends, after everything else.

    ``command`` is the very last one, and nothing but a command, so that it can be pasted.
    """
    _last[:] = [text, command]


def print_last() -> None:
    """Print what `last_lines` was called with."""
    lines, _last[:] = _last[:], []
    for line in lines:
        note(line, needed=True)


def abandon(stream: TextIO) -> None:
    """Drop what the stream still buffers, because the interpreter would fail on it again when it exits."""
    # streams of tests have no file number
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
