"""Which runs are alive: each holds a lock on a file of its own, which the system releases when the process ends.

The lock vanishes with kill -9, and a later process with the same number does not have it. Lock files are created and
tested only inside a write transaction of the database, of which there is one at a time. So a lock that can be acquired
is that of a dead run, never that of a run which is just beginning.
"""

from __future__ import annotations

import contextlib
import os
import re

from filelock import FileLock, Timeout

__all__ = ["RunLock", "is_alive", "remove_leftovers"]

_SUFFIX = re.compile(r"\.[0-9a-f]{32}\.lock")


class RunLock:
    """The lock of a run in this process, from its construction to `remove`."""

    def __init__(self, file: str, token: str) -> None:
        self._path = f"{file}.{token}.lock"
        # the thread that removes the lock can be another one; a marker file instead of a lock would outlive kill -9
        self._lock = FileLock(self._path, mode=0o600, thread_local=False, fallback_to_soft=False)
        self._lock.acquire(blocking=False)

    def remove(self) -> None:
        """Release the lock and remove its file."""
        # first the file: no other process may find it unlocked. Where open files can't be removed, the next one does it
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        self._lock.release()


def is_alive(file: str, token: str) -> bool:
    """Return whether a process holds the lock of this run. The lock file of a dead run is removed."""
    try:
        lock = RunLock(file, token)
    except Timeout:
        return True
    lock.remove()
    return False


def remove_leftovers(file: str) -> None:
    """Remove the lock files of runs that died before they were in the database."""
    folder, name = os.path.split(file)
    for found in os.listdir(folder):
        if found.startswith(name) and _SUFFIX.fullmatch(found, len(name)):
            is_alive(file, found[len(name) + 1 : -len(".lock")])
