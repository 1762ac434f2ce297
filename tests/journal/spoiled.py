"""Ways in which the file of a journal can be none."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["cut", "empty", "newer", "of_another_program", "of_text", "overwritten"]


def newer(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 2")


def of_another_program(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE notes (text)")


def of_text(file: Path) -> None:
    file.write_text("[[servers]]\nname = 'web-1'\n" * 100)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def overwritten(file: Path) -> None:
    with open(file, "r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xff" * 8192)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)
