"""The public face of a client: nine methods, each of which takes an id or a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from vpsorg_async import Client, Server, ServerSpec, WaitPolicy
from vpsorg_async.errors import NotFoundError, WaitTimeoutError
from vpsorg_async.sandbox import Durations, Sandbox
from vpsorg_async.virtual_time import LoopClock, VirtualTimeLoop

SPEC = ServerSpec(name="web-1", plan_id=1, os_id=5, location="us-west")
NINE = {"list", "create", "get", "replace", "update", "delete", "start", "stop", "reboot"}


async def test_servers_complete_to_nine_names() -> None:
    """An editor offers the nine endpoints, and nothing internal."""
    async with Client("secret-token", base_url="http://127.0.0.1:9") as vps:
        shown = {name for name in dir(vps.servers) if not name.startswith("_")}

    assert shown == NINE


CALLS: dict[str, Callable[[Client, Server], Awaitable[object]]] = {
    "get": lambda vps, server: vps.servers.get(server),
    "replace": lambda vps, server: vps.servers.replace(
        server, name="web-2", hostname="web-2.example.com", backups_enabled=False
    ),
    "update": lambda vps, server: vps.servers.update(server, name="web-2"),
    "stop": lambda vps, server: vps.servers.stop(server),
    "reboot": lambda vps, server: vps.servers.reboot(server),
    "by its parameter": lambda vps, server: vps.servers.get(server=server),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_server_stands_for_its_id(call: Callable[[Client, Server], Awaitable[object]]) -> None:
    """Each method that takes an id takes the record as well."""
    async with Sandbox(speed=5000) as box, Client(box.token, base_url=box.url) as vps:
        made = await vps.servers.create(SPEC)
        server = await vps.wait_until(made, "active", timeout=60)
        await call(vps, server)

        assert str(server.id) in str(box.requests[-1].path)


async def test_start_and_delete_take_a_server() -> None:
    """Start and delete take the record of a stopped server."""
    async with Sandbox(speed=5000) as box, Client(box.token, base_url=box.url) as vps:
        server = await vps.wait_until(await vps.servers.create(SPEC), "active", timeout=60)
        await vps.servers.stop(server)
        await vps.wait_until(server, "stopped", timeout=60)

        assert (await vps.servers.start(server)).server_id == server.id
        await vps.wait_until(server, "active", timeout=60)
        await vps.servers.delete(server)
        with pytest.raises(NotFoundError):
            await vps.servers.get(server)


async def test_a_listing_finds_servers_by_name() -> None:
    """A listing of the account finds its servers by name."""
    async with Sandbox() as box, Client(box.token, base_url=box.url) as vps:
        server = await vps.servers.create(SPEC)
        listing = await vps.listing()

    assert listing.lacks == ""
    assert [one.id for one in listing.by_name()["web-1"]] == [server.id]


@pytest.mark.parametrize(
    "options",
    [
        {"waiting": WaitPolicy(min_interval=0.25, max_interval=0.25)},
        {"max_interval": 0.25, "min_interval": 0.25},
    ],
)
def test_either_form_of_a_wait_policy_reaches_the_waits(options: dict[str, Any]) -> None:
    """A wait polls as often as the policy says, whichever way it was given, and the client counts its polls."""

    async def polls() -> int:
        clock = asyncio.get_running_loop().time
        async with (
            Sandbox(clock=clock, durations=Durations(provisioning=600.0)) as box,
            Client(box.token, base_url=box.url, clock=LoopClock(), **options) as vps,
        ):
            server = await vps.servers.create(SPEC)
            with pytest.raises(WaitTimeoutError):
                await vps.wait_until(server, "active", timeout=8)
            assert vps.statistics.waits == 0
            return vps.statistics.lists + vps.statistics.singles

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert 25 <= runner.run(polls()) <= 40
