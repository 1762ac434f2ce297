"""The standard streams, usable whatever they are: closed, full, a pipe without a reader, or with a limited encoding.

Results are written by `emit`, which writes all of it at once and raises `Unwritten`. Everything on standard error is a
note beside them: what can't be written there is dropped, and does not change how the command ends.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Generator
from typing import Any, TextIO, cast

__all__ = ["Unwritten", "abandon", "emit", "note", "prepared"]


class Unwritten(Exception):
    """A result could not be written to standard output. ``closed``: its reader has exited."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output can't be written: {error.strerror or error}")
        self.closed = isinstance(error, BrokenPipeError)


class _Notes:
    """A wrapper of standard error that drops what can't be written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError:
            abandon(self._stream)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            abandon(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def prepared() -> Generator[None]:
    """Make the three streams usable while this is open."""
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
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _buffered(output), cast(TextIO, _Notes(_buffered(errors)))
    try:
        yield
    finally:
        with contextlib.suppress(Unwritten):
            emit("")
        sys.stderr.flush()
        sys.stdout, sys.stderr = output, errors


def _buffered(stream: TextIO) -> TextIO:
    """Return a stream that writes the whole of a text to the same file.

    With PYTHONUNBUFFERED the interpreter's own streams lose the rest of a text whose write a signal cuts short.
    """
    if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.RawIOBase):
        return open(stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False)
    return stream


def emit(text: str) -> None:
    """Write the text, and what was printed before, to standard output. Raises `Unwritten`.

    The text is written in pieces that do not block, because a signal that arrives just before a blocking write would
    not be handled until the write ends.
    """
    size = getattr(select, "PIPE_BUF", 512) // 4  # characters of at most four bytes; Windows has no PIPE_BUF
    try:
        for start in range(0, max(len(text), 1), size):
            _wait_for(sys.stdout)
            sys.stdout.write(text[start : start + size])
            sys.stdout.flush()
    except OSError as error:
        abandon(sys.stdout)
        raise Unwritten(error) from None


def _wait_for(stream: TextIO) -> None:
    """Wait until a piece can be written without blocking. Signals are handled ten times a second."""
    # streams of tests have no file
    with contextlib.suppress(OSError, ValueError):
        while not select.select([], [stream.fileno()], [], 0.1)[1]:
            pass


def note(text: str) -> None:
    """Write a line to standard error."""
    print(text, file=sys.stderr, flush=True)


def abandon(stream: TextIO) -> None:
    """Drop what the stream still buffers, because the interpreter would fail on it again when it exits."""
    # streams of tests have no file number
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
