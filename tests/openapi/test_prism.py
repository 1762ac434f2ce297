"""The client against a mock server that uses docs/openapi.yaml, if Prism is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from vpsorg_async import Client, ServerSpec

PRISM = shutil.which("prism")
DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"

pytestmark = pytest.mark.skipif(
    PRISM is None, reason="prism is not installed: npm install -g @stoplight/prism-cli"
)


@pytest.fixture
def mock() -> Iterator[str]:
    """The address of a mock server that refuses every request that is not as described."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(PRISM), "mock", "--errors", "-h", "127.0.0.1", "-p", str(port), str(DOCUMENT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as prism:
        assert prism.stdout is not None
        assert any("is listening" in line for line in prism.stdout)
        yield f"http://127.0.0.1:{port}"
        prism.kill()


async def test_the_nine(mock: str) -> None:
    """Every request is accepted as described, and every answer of the page is read."""
    spec = ServerSpec(name="web-server-02", plan_id=1, os_id=5, location="us-west", ssh_key_id=7)

    async with Client("vps_any", base_url=mock) as vps:
        assert [server.id for server in await vps.servers.list("active", "us-west")] == [12345, 12346]
        assert (await vps.servers.create(spec)).ip_address is None
        assert (await vps.servers.get(12345)).ipv6_address == "2001:0db8::1"
        changed = await vps.servers.replace(12345, name="a", hostname="a.example.com", backups_enabled=True)
        assert changed.id == 12345
        assert (await vps.servers.update(12345, name="web-server-01")).name == "web-server-01"
        assert (await vps.servers.start(12345)).server_status == "starting"
        assert (await vps.servers.stop(12345)).server_status == "stopping"
        assert (await vps.servers.reboot(12345)).server_status == "rebooting"
        await vps.servers.delete(12345)
