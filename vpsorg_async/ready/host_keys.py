"""The file of host keys that SSH checks trust, in the form of OpenSSH's ``known_hosts``.

A key is added aside and renamed into its place while the folder is locked: several processes can add keys to one file,
and a reader never sees half of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["HostKeysFile", "label_of"]

PATTERN_SIGNS = set("*?|!/")
"""Characters in the names of lines that match several hosts, or are hashed. Only asyncssh can match these."""


def label_of(address: str, port: int) -> str:
    """Return what the file calls a server."""
    return address if port == 22 else f"[{address}]:{port}"


class HostKeysFile:
    """A file of host keys."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines_about(self, label: str) -> str:
        """Return the lines that can concern a server; none if there is no file yet. Raises `OSError`."""
        return "\n".join(line for line in self._read().splitlines() if _concerns(line, label))

    def pin(self, label: str, key: str) -> bool:
        """Add the key of a server, as ``type base64``; return False if it has another one there meanwhile.

        Blocks; meant for a thread. Raises `OSError`.
        """
        # a link stays a link
        target = Path(os.path.realpath(self.path))
        with locked(target.parent):
            known = [
                line.split()[1:3]
                for line in self.lines_about(label).splitlines()
                if label in line.split(None, 1)[0].split(",")
            ]
            if known:
                return key.split()[:2] in known
            text = self._read()
            if text and not text.endswith("\n"):
                text += "\n"
            number, aside = tempfile.mkstemp(prefix=f"{target.name}.", dir=target.parent)
            try:
                with open(number, "w", encoding="utf-8", errors="surrogateescape") as written:
                    written.write(f"{text}{label} {' '.join(key.split()[:2])}\n")
                    written.flush()
                    os.fsync(number)
                if target.exists():
                    shutil.copymode(target, aside)
                os.replace(aside, target)
            except BaseException:
                os.unlink(aside)
                raise
        return True

    def _read(self) -> str:
        try:
            return self.path.read_text("utf-8", errors="surrogateescape")
        except FileNotFoundError:
            return ""


def _concerns(line: str, label: str) -> bool:
    words = line.split(None, 2)
    if len(words) < 2 or words[0].startswith("#"):
        return False
    hosts = words[1] if words[0].startswith("@") else words[0]
    return bool(PATTERN_SIGNS & set(hosts)) or label in hosts.split(",")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder. Where there is no such lock (Windows), the last of two writers wins."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems of a network can lack it as well
            fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)
