"""Root passwords, which the API returns once: written to a file of the user, or shown on the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Annotated, Self

from cyclopts import Parameter

from ..errors import ConfigurationError
from ..records import Server
from .stdio import note

__all__ = ["Passwords", "PasswordsFile"]

PasswordsFile = Annotated[
    Path | None,
    Parameter(help="Write the root passwords of new servers to this new file (mode 0600)."),
]


class Passwords(contextlib.AbstractContextManager["Passwords"]):
    """The destination of the passwords. The file is created first, so that nothing is ordered if that fails."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._kept: set[str] = set()

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                made = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except OSError as error:
                raise ConfigurationError(f"--passwords: {self._path}: {error.strerror}") from None
            self._file = open(made, "w", encoding="utf-8")
        return self

    def keep(self, servers: Iterable[Server]) -> None:
        """Store the passwords of these servers."""
        for server in servers:
            if not server.password or str(server.id) in self._kept:
                continue
            self._kept.add(str(server.id))
            told = (
                f"{server.name} ({server.id}): its root password, which is shown only once: {server.password}"
            )
            if self._file is not None:
                try:
                    print(server.id, server.name, server.password, file=self._file, flush=True)
                except OSError as error:
                    note(f"--passwords: {self._path}: {error.strerror}")
                    note(told)
            elif sys.stderr.isatty():
                note(told)
            else:
                note(
                    f"{server.name} ({server.id}): its root password was not stored; use --passwords FILE to store it"
                )

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what could not be written was already printed
                self._file.close()
            if not self._kept and self._path is not None:
                self._path.unlink(missing_ok=True)
