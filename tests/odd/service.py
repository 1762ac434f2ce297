"""A service whose every response a test decides, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from vpsorg_async import Client, ServerSpec
from vpsorg_async.virtual_time import LoopClock

__all__ = [
    "GATEWAY",
    "NOT_FOUND",
    "Reply",
    "Service",
    "connected",
    "listing",
    "reply",
    "row",
    "spec",
    "specs",
]

Reply = tuple[int, bytes]
Handler = Callable[[str, str, Any], "Reply | Awaitable[Reply | None] | None"]


def reply(status: int, body: object = b"") -> Reply:
    """A response: bytes as they are, a text as UTF-8, anything else as JSON."""
    if isinstance(body, str):
        return status, body.encode()
    return status, body if isinstance(body, bytes) else json.dumps(body).encode()


NOT_FOUND = reply(404, {"detail": "Not found."})
"""The API's own response that there is no such server."""

GATEWAY = {
    "a page": "<html><title>404 Not Found</title><body>nginx</body></html>",
    "a text": "default backend - 404",
    "nothing": "",
    "a list": "[]",
    "a string": '"not found"',
    "half an object": '{"detail": "Not f',
    "null": "null",
}
"""Bodies that a gateway in front of the API may send."""


def row(number: int | str, name: str, status: str = "active", **more: Any) -> dict[str, Any]:
    """A server as the page documents it."""
    return {
        "id": number,
        "name": name,
        "hostname": f"{name}.example.com",
        "status": status,
        "ip_address": "203.0.113.9",
        "location": "us-west",
        "plan": {"id": 1, "name": "s", "vcpus": 1, "memory": 1024, "storage": 25},
        "os": {"id": 5, "name": "Debian"},
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    } | more


def listing(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The documented envelope."""
    return {"count": len(rows), "results": list(rows)} | more


def spec(name: str = "web-1", **more: Any) -> ServerSpec:
    fields: dict[str, Any] = {"name": name, "plan_id": 1, "os_id": 5, "location": "us-west"}
    return ServerSpec(**(fields | more))


def specs(*names: str) -> list[ServerSpec]:
    return [spec(name) for name in names]


class Service:
    """Calls ``handler`` (method, path with query, decoded body) for the response; None closes the connection."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[tuple[str, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def changes(self) -> list[str]:
        """The requested changes, as ``POST /api/...``."""
        return [f"{method} {path}" for method, path in self.requests if method != "GET"]

    def count(self, method: str) -> int:
        return sum(asked == method for asked, _ in self.requests)

    async def __aenter__(self) -> Service:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, path, _ = head[0].split(" ", 2)
                fields = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                body = await reader.readexactly(int(fields.get("content-length", 0)))
                self.requests.append((method, path))
                given = self.handler(method, path, json.loads(body) if body else None)
                if given is not None and not isinstance(given, tuple):
                    given = await given
                if given is None:
                    break
                status, data = given
                start = (
                    f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
                )
                writer.write(f"{start}\r\n\r\n".encode() + data)
                await writer.drain()
        self._tasks.discard(task)
        writer.close()


@contextlib.asynccontextmanager
async def connected(handler: Handler, **options: Any) -> AsyncIterator[tuple[Service, Client]]:
    """The service and a client of it, in virtual time."""
    async with (
        Service(handler) as service,
        Client("vps_secret-token", base_url=service.url, clock=LoopClock(), **options) as vps,
    ):
        yield service, vps
