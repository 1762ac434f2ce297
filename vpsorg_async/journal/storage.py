"""The file of a journal: how it is created, opened and checked, and its transactions."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import ConfigurationError, JournalError

__all__ = ["Storage"]

APPLICATION = 0x76707331
"""Marks an SQLite file as a journal ("vps1")."""
VERSION = 1
"""The version of the tables."""
BUSY = 10.0
"""Seconds to wait for the transaction of another process, each of which takes milliseconds."""

# AUTOINCREMENT: the numbers of snapshots grow, so the smallest is the first.
_TABLES = """
CREATE TABLE snapshots (id INTEGER PRIMARY KEY AUTOINCREMENT, ids TEXT NOT NULL);
CREATE TABLE runs (
    token TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    operation TEXT NOT NULL,
    pid INTEGER NOT NULL,
    began_at TEXT NOT NULL,
    snapshot INTEGER REFERENCES snapshots
);
CREATE TABLE claims (
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    run TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
    PRIMARY KEY (account, kind, key)
) WITHOUT ROWID;
CREATE INDEX claims_of_run ON claims (run);
CREATE TABLE entries (
    account TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    operation TEXT NOT NULL,
    at TEXT NOT NULL,
    snapshot INTEGER REFERENCES snapshots,
    server TEXT,
    receipt TEXT,
    done INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, kind, key)
) WITHOUT ROWID;
CREATE TABLE receipts (
    account TEXT NOT NULL,
    server TEXT NOT NULL,
    operation TEXT NOT NULL,
    at TEXT NOT NULL,
    receipt TEXT NOT NULL,
    PRIMARY KEY (account, server)
) WITHOUT ROWID;
"""

# Tables that came later. A version that does not know them does not read them.
_ADDED = """
CREATE TABLE IF NOT EXISTS pairs (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    shown TEXT NOT NULL,
    at TEXT NOT NULL,
    old TEXT NOT NULL,
    made TEXT,
    switched INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, name)
) WITHOUT ROWID
"""

_Identity = tuple[int, int]
_OPEN: dict[object, _Identity | None] = {}
_INHERITED: set[_Identity | None] = set()


def _after_fork() -> None:
    _INHERITED.update(_OPEN.values())
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Storage:
    """An open file. Belongs to one thread.

    A child process after a fork must not even close the connection. So the connection is reachable only from the
    frames of its thread, which does not exist in the child. The child can't open the file again either: SQLite would
    count the parent's locks as its own.
    """

    def __init__(self, file: str) -> None:
        """Open the file, or create it. Raises `ConfigurationError`."""
        with _as_configuration_error(file):
            self.file: str = os.path.realpath(file)
            if not os.path.exists(self.file):
                _create(self.file)
            # a pipe would wait for a writer, and a device can do anything
            if not stat.S_ISREG(os.stat(self.file).st_mode):
                raise ConfigurationError(f"the journal {file} is not a regular file")
            self._identity = self._identify()
            if self._identity in _INHERITED:
                raise ConfigurationError(
                    f"the journal {file} was open when this process was forked: fork before it is opened, or spawn"
                )
            self._mark = object()
            _OPEN[self._mark] = self._identity
            try:
                self.connection: sqlite3.Connection = _connect(
                    self.file, lambda connection: _check(connection, file)
                )
            except BaseException:
                del _OPEN[self._mark]
                raise

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """A transaction whose failure means that the file can't be used. Raises `ConfigurationError`."""
        with _as_configuration_error(self.file), self._transaction():
            self.connection.execute(_ADDED)
            yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction, on the disk when it ends. Raises `JournalError`; then nothing of it was written."""
        try:
            with self._transaction():
                yield
        except (sqlite3.Error, OSError) as failure:
            raise JournalError(f"the journal {self.file} can't be written: {failure}") from None

    def close(self) -> None:
        """Close the file. The last process to close it moves everything into the one file."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        del _OPEN[self._mark]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        # what is written into a file without a name is not durable, and no other process sees it
        if self._identify() != self._identity:
            raise OSError("it was removed or replaced while it was open")
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            # the statement that failed may have ended the transaction already
            if self.connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
            raise

    def _identify(self) -> _Identity | None:
        try:
            found = os.stat(self.file)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def _connect(file: str, prepare: Callable[[sqlite3.Connection], object]) -> sqlite3.Connection:
    # mode=rw: SQLite creates nothing itself
    uri = f"{Path(file).as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY)
    try:
        # each commit reaches the disk, also where a plain fsync stops at the disk's cache (macOS)
        for pragma in (
            "synchronous = FULL",
            "fullfsync = ON",
            "checkpoint_fullfsync = ON",
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(file: str) -> None:
    """Create the file completely under another name first: no other process sees a part of it, or its conversion to
    a write-ahead log, for which SQLite does not wait."""
    folder, name = os.path.split(file)
    for missing in [path for path in reversed(Path(file).parents) if not path.exists()]:
        missing.mkdir(mode=0o700, exist_ok=True)
    number, aside = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=folder)  # of mode 0600
    try:
        os.close(number)
        _connect(aside, _fill).close()
        # unlike a rename, this never replaces the file that another process has created meanwhile
        with contextlib.suppress(FileExistsError):
            os.link(aside, file)
    finally:
        os.unlink(aside)
    _sync(folder)


def _fill(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; {_TABLES} COMMIT;"
    )


def _sync(folder: str) -> None:
    """Make the name of a new file durable, where folders can be synchronized."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _check(connection: sqlite3.Connection, file: str) -> None:
    def pragma(name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]

    if pragma("application_id") != APPLICATION:
        raise ConfigurationError(
            f"{file} is not a journal of this program: pass another file; this one was not changed"
        )
    version = pragma("user_version")
    if version != VERSION:
        raise ConfigurationError(
            f"the journal {file} has the format {version}, and this version of vpsorg_async reads the format "
            f"{VERSION}: upgrade the package, or pass another file; this one was not changed"
        )
    found = pragma("quick_check(1)")
    if found != "ok":
        raise ConfigurationError(_damaged(file, str(found)))
    connection.execute("PRAGMA journal_mode = WAL")


def _damaged(file: str, how: str) -> str:
    return (
        f"the journal {file} is damaged ({' '.join(how.split())}): check the account for servers of an interrupted "
        "run, then move the file away; it was not changed"
    )


@contextlib.contextmanager
def _as_configuration_error(file: str) -> Iterator[None]:
    try:
        yield
        return
    except sqlite3.Error as failure:
        code = getattr(failure, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            message = f"{file} is not a journal of this program: pass another file; this one was not changed"
        elif code == sqlite3.SQLITE_CORRUPT:
            message = _damaged(file, str(failure))
        else:
            message = f"the journal {file} can't be opened: {failure}"
    except (OSError, ValueError) as failure:
        if isinstance(failure, ConfigurationError):
            raise
        message = f"the journal {file} can't be opened: {failure}"
    raise ConfigurationError(message)
