"""Fixtures for the sandbox's own tests: a box in the test's loop, and a client that speaks bytes."""

import asyncio
import json as jsonlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from attrs import frozen

from vpsorg_async.sandbox import ManualClock, Sandbox

SPEC = {"name": "web-1", "plan_id": 1, "os_id": 5, "location": "us-west"}


@frozen
class Heard:
    """What came back on the socket, up to its end."""

    raw: bytes
    reset: bool

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1])

    @property
    def json(self) -> Any:
        return jsonlib.loads(self.body)

    def header(self, name: str) -> str | None:
        for line in self.head.decode().split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


Talk = Callable[..., Awaitable[Heard]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def box(clock: ManualClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(clock=clock, token="vps_sandbox_secret") as running:
        yield running


@pytest.fixture
def talk(box: Sandbox) -> Talk:
    """One request on a connection of its own, by hand; reads to the end of the connection.

    `headers` come on top of the usual ones; one that is None is left out.
    """

    async def one(
        method: str,
        path: str = "/api/v1/servers/",
        json: Any = None,
        *,
        body: bytes | None = None,
        token: str | None = box.token,
        headers: dict[str, str | None] | None = None,
        version: str = "HTTP/1.1",
    ) -> Heard:
        data = body if body is not None else b"" if json is None else jsonlib.dumps(json).encode()
        netloc = box.url.removeprefix("http://")
        given: dict[str, str | None] = {
            "Host": netloc,
            "Connection": "close",
            "Authorization": None if token is None else f"Bearer {token}",
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }
        lines = [f"{method} {path} {version}"]
        lines += [f"{name}: {value}" for name, value in given.items() if value is not None]
        host, port = netloc.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        heard, reset = b"", False
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode() + data)
            while piece := await reader.read(65536):
                heard += piece
        except ConnectionResetError:
            reset = True
        finally:
            writer.close()
        return Heard(heard, reset)

    return one


@pytest.fixture
def spec() -> dict[str, Any]:
    return dict(SPEC)


@pytest.fixture
def arrivals() -> Callable[[Sandbox, int], Awaitable[None]]:
    """Let the loop run until a sandbox in it has accepted this number of requests."""

    async def until(box: Sandbox, count: int) -> None:
        for _ in range(1_000_000):
            if len(box.requests) >= count:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"only {len(box.requests)} of {count} requests came")

    return until
