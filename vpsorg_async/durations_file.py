"""The file in which a client keeps the durations that it has seen, for the next run."""

from __future__ import annotations

import logging
import os
import stat

from .codec import dumps, loads
from .errors import DecodeError
from .lifecycle.durations import Durations

__all__ = ["keep_durations", "read_durations"]

log: logging.Logger = logging.getLogger("vpsorg_async")

MAX_BYTES = 4 * 1024 * 1024
"""Far more than a client writes."""


def read_durations(file: str) -> Durations:
    """Return what earlier runs learned. The file is a hint: where it is missing or not ours, nothing is known."""
    try:
        # opening a pipe waits for a writer, and a device may have no end
        if stat.S_ISREG(os.stat(file).st_mode):
            with open(file, "rb") as kept:
                data = kept.read(MAX_BYTES + 1)
            if len(data) <= MAX_BYTES:
                return Durations.from_json(loads(data))
    except (OSError, ValueError, DecodeError) as failure:
        log.debug("the durations of %s could not be read: %s", file, failure)
    return Durations()


def keep_durations(file: str, durations: Durations) -> None:
    """Write the file for the next run. A link stays a link, and a device is not replaced by a file."""
    import tempfile  # half as expensive to import as the rest of the package

    try:
        target = os.path.realpath(file)
        if os.path.lexists(target) and not os.path.isfile(target):
            return
        folder, name = os.path.split(target)
        # a name that no one can prepare, and that no other process uses
        number, aside = tempfile.mkstemp(prefix=f"{name}.", dir=folder)
        try:
            with open(number, "wb") as kept:
                kept.write(dumps(durations.to_json()))
            os.replace(aside, target)
        except OSError:
            os.unlink(aside)
            raise
    except (OSError, ValueError) as failure:
        # a hint for the next run: not worth the result of this one
        log.debug("the durations could not be kept in %s: %s", file, failure)
