"""The FastAPI example, driven by ASGI messages: no web server and no HTTP client of its own are needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from vpsorg_async import Client
from vpsorg_async.pytest_plugin import RunVirtually, assert_committed
from vpsorg_async.sandbox import Sandbox

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install fastapi")


@pytest.fixture
def service(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example; its client finds the sandbox of the run by its environment."""
    monkeypatch.setenv("SERVICE_PORT", "8080")
    return example("fastapi_service")


async def ask(app: Any, method: str, path: str, body: Any = None) -> tuple[int, list[Any]]:
    """Send one request; return the status and the lines of the response as they came."""
    answer: list[Any] = []
    lines: list[Any] = []
    given = [{"type": "http.request", "body": json.dumps(body).encode() if body is not None else b""}]

    async def receive() -> Any:
        if given:
            return given.pop()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.append(message["status"])
        elif message["body"]:
            lines.append(json.loads(message["body"]))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-type", b"application/json")],
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    return answer[0], lines


def test_a_fleet_on_request(service: ModuleType, vpsorg_run: RunVirtually) -> None:
    """A fleet is requested and followed by two readers: each gets every step, in order, and the end."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        async with service.lifespan(service.app):
            order = {"name": "shop", "count": 2}
            assert await ask(service.app, "POST", "/fleets", order) == (
                202, [{"progress": "/fleets/shop/progress"}],
            )  # fmt: skip
            assert (await ask(service.app, "POST", "/fleets", order))[0] == 409
            (status, lines), late = await asyncio.gather(
                ask(service.app, "GET", "/fleets/shop/progress"), reader_who_comes_late()
            )
            assert (status, lines) == late
            of_one = [line for line in lines if line.get("server") == "shop-1"]
            steps = [line["is"] for line in of_one]
            assert steps[:3] == ["sent", "provisioning", "active"]
            assert set(steps[3:-1]) == {"not ready yet"}
            assert steps[-1] == "ready"
            assert of_one[-1]["address"].startswith("127.")
            assert lines[-1] == {"fleet": "shop", "done": 2, "of": 2}

            # requested again, and larger: completed
            assert (await ask(service.app, "POST", "/fleets", {**order, "count": 3}))[0] == 202
            assert (await ask(service.app, "GET", "/fleets/shop/progress"))[1][-1]["done"] == 3
            assert_committed(box, create=3)

    async def reader_who_comes_late() -> Any:
        await asyncio.sleep(60)
        return await ask(service.app, "GET", "/fleets/shop/progress")

    vpsorg_run(scenario)


@pytest.mark.vpsorg_faults("create", "drop_after", nth=2)
@pytest.mark.parametrize("vpsorg_settings", [{"boot": 5, "credit": 2}])
def test_troubles_are_told(service: ModuleType, vpsorg_run: RunVirtually) -> None:
    """A lost response and a refusal are steps like others; the service continues."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        async with service.lifespan(service.app):
            await ask(service.app, "POST", "/fleets", {"name": "shop", "count": 3})
            _, lines = await ask(service.app, "GET", "/fleets/shop/progress")
            told = [line["is"] for line in lines if "is" in line]
            assert {"answer lost, looking for it", "found", "active", "failed"} <= set(told)
            assert lines[-1] == {"fleet": "shop", "done": 2, "of": 3}

    vpsorg_run(scenario)


def test_bad_orders(service: ModuleType, vpsorg_run: RunVirtually) -> None:
    """An invalid fleet is refused before it starts."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        async with service.lifespan(service.app):
            bad: list[Any] = [{"name": "a b", "count": 1}, {"name": "a", "count": 0}, {"count": 1}, []]
            for order in bad:
                assert (await ask(service.app, "POST", "/fleets", order))[0] == 422
            assert (await ask(service.app, "GET", "/fleets/none/progress"))[0] == 404
        assert_committed(box)

    vpsorg_run(scenario)


def test_the_service_ends_under_a_fleet(service: ModuleType, vpsorg_run: RunVirtually) -> None:
    """Readers are informed, nothing hangs, and created servers stay, for the next request to adopt."""

    async def scenario(vps: Client, box: Sandbox) -> None:
        async with service.lifespan(service.app):
            await ask(service.app, "POST", "/fleets", {"name": "shop", "count": 2})
            reader = asyncio.create_task(ask(service.app, "GET", "/fleets/shop/progress"))
            await asyncio.sleep(30)
        _, lines = await reader
        assert "the service was stopped" in lines[-1]["error"]
        assert_committed(box, create=2)

    vpsorg_run(scenario)
