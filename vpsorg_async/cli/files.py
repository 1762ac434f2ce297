"""Text files that people write: read in the encodings that editors use, and changed in place."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path

from ..errors import ConfigurationError

__all__ = ["read_text", "replace", "text_of", "why"]


def text_of(raw: bytes) -> str:
    """Decode these bytes: UTF-8, with or without a byte order mark, or UTF-16 with one.

    Raises `UnicodeDecodeError`.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw[: len(raw) & ~1].decode("utf-16")
    return raw.decode("utf-8-sig")


def read_text(path: Path, option: str = "") -> str:
    """Return the text of a file. ``option`` names it in the message. Raises `ConfigurationError`."""
    try:
        return text_of(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{option}{path}: {why(error)}") from None


def why(error: OSError | ValueError) -> str:
    """Return why a file could not be read or written."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    return str(getattr(error, "strerror", None) or error)


def replace(path: Path, text: str, *, mode: int = 0o600, in_place: bool = True) -> None:
    """Write the text to a file. A new file gets this mode; an existing one keeps its mode and its owner.

    A link stays, and the linked file is changed: atomically if its folder is writable, else in place, unless that is
    ruled out. Raises `OSError`.
    """
    data = text.encode()
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = target.stat() if os.path.lexists(target) else None
    if before is not None and not (stat.S_ISREG(before.st_mode) and os.access(target, os.W_OK)):
        raise PermissionError(errno.EACCES, "it can't be written")
    # a name that no other process uses: two commands may keep the same file
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
        if before is not None:
            aside.chmod(stat.S_IMODE(before.st_mode))
            with contextlib.suppress(OSError, AttributeError):
                os.chown(aside, before.st_uid, before.st_gid)
        aside.replace(target)
    except OSError:
        if before is None or not in_place:
            raise
        with open(target, "r+b") as file:
            file.write(data)
            file.truncate()
    finally:
        # also after a signal: the text may hold tokens
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
