"""Where tokens come from that are replaced from time to time: functions for ``Client(token=)``.

The client calls such a function when it is opened, and again when the API refuses the token.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence

from .config import TOKEN_TIMEOUT
from .errors import ConfigurationError

__all__ = ["from_command", "from_file"]

MOST = 65_536
"""The maximum of bytes that are read of a line."""


def from_file(path: str | os.PathLike[str]) -> Callable[[], str]:
    """Return a function that reads the token from the first line of a file, each time.

    Args:
        path: The file. It is opened when the function is called.

    Example:
        ``Client(tokens.from_file("/run/secrets/vpsorg"))``
    """

    def token() -> str:
        try:
            with open(path, "rb") as file:
                line = file.readline(MOST).decode().strip().removeprefix("\ufeff")
        except OSError as error:
            raise ConfigurationError(f"the file of the token, {path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise ConfigurationError(f"the file of the token, {path}, is not UTF-8 text") from None
        if not line:
            raise ConfigurationError(f"there is no token in {path}")
        return line

    return token


def from_command(command: str | Sequence[str], *, timeout: float = TOKEN_TIMEOUT) -> Callable[[], str]:
    """Return a function that runs a command, each time, and returns the first line that it prints.

    Args:
        command: The command and its arguments. A string is split as a shell does, but no shell runs.
        timeout: Seconds for the command.

    Raises:
        ConfigurationError: The command is empty, or has an open quote.

    Example:
        ``Client(tokens.from_command("pass show vpsorg"))``
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    except ValueError as error:
        raise ConfigurationError(f"the command for the token: {error}") from None
    if not words:
        raise ConfigurationError("the command for the token is empty")

    def token() -> str:
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(
                f"the command for the token, {words[0]}, did not end within {timeout:g} s"
            ) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"the command for the token, {words[0]}: {why}") from None
        if done.returncode:
            raise ConfigurationError(
                f"the command for the token, {words[0]}, ended with exit code {done.returncode}"
            )
        lines = done.stdout[:MOST].decode("utf-8", "replace").splitlines()
        if not lines or not lines[0].strip():
            raise ConfigurationError(f"the command for the token, {words[0]}, printed nothing")
        return lines[0].strip()

    return token
