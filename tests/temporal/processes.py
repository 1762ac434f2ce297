"""Engines, workers and connections as processes and sockets that tests can kill and cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from temporalio.client import Client as Engine

QUEUE = "vpsorg-main"
PROGRAM = Path(__file__).with_name("worker_program.py")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Account(Protocol):
    """A sandbox, as far as its clients know it."""

    @property
    def token(self) -> str: ...
    @property
    def url(self) -> str: ...


class EngineProcess:
    """A development server with a file, so that it can be killed and started again."""

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._file = folder / "temporal.db"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [
                self._program,
                *("server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "never"),
                *("--port", str(self.port), "--db-filename", str(self._file)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await self.client()

    async def client(self, *plugins: Any) -> Engine:
        """A client, once the server answers and knows its namespace."""
        while True:
            with contextlib.suppress(Exception):
                engine = await Engine.connect(self.address, plugins=plugins)
                async for _ in engine.list_workflows("", limit=1):
                    pass
                return engine
            await asyncio.sleep(0.1)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def data(self) -> bytes:
        """Everything that the server has stored."""
        return b"".join(path.read_bytes() for path in self._file.parent.glob("temporal.db*"))


class WorkerProcess:
    """A worker of the account of a sandbox."""

    def __init__(self, address: str, box: Account, *, in_flight: int = 8) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), address, QUEUE],
            env={
                **os.environ,
                "VPSORG_API_TOKEN": box.token,
                "VPSORG_BASE_URL": box.url,
                "IN_FLIGHT": str(in_flight),
            },
            stdout=subprocess.PIPE,
        )

    def peak_memory(self) -> int:
        """The most memory that it has had, in MB; 0 where that is not known."""
        status = Path(f"/proc/{self._process.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text("utf-8")) if status.exists() else None
        return int(found[1]) // 1024 if found else 0

    async def ready(self) -> None:
        assert self._process.stdout is not None
        await asyncio.to_thread(self._process.stdout.readline)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def terminate(self) -> tuple[int, bytes]:
        """SIGTERM: return the exit code, and what it printed after it was ready."""
        self._process.send_signal(signal.SIGTERM)
        output, _ = self._process.communicate(timeout=30)
        return self._process.returncode, output


class Cable:
    """A connection to the engine that can be cut: bytes stay where they are until it is mended, or for ever."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.address = ""

    async def __aenter__(self) -> Cable:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        ends = [writer]
        try:
            # either end can break at any time
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
                ends.append(far_writer)
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        finally:
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        writer.close()
