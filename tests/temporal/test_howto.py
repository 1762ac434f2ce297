"""The programs of the page "Run fleets on Temporal" do what the page says."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client as Engine
from temporalio.worker import Worker

from vpsorg_async import Client
from vpsorg_async.sandbox import Sandbox
from vpsorg_async.temporal import RollingRequest, VpsOrgPlugin

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "temporal.md"
QUEUE = "vpsorg-main"


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    found = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert len(found) == 6
    return found


@pytest.fixture
def programs(blocks: list[str], engine: Engine, box: Sandbox, tmp_path: Path) -> Iterator[list[str]]:
    """The page's worker and client, for this engine and this account; the worker runs."""
    address = engine.service_client.config.target_host
    for name, block in zip(("worker.py", "fleet.py"), blocks, strict=False):
        (tmp_path / name).write_text(block.replace("localhost:7233", address), "utf-8")
    env = {**os.environ, "VPSORG_API_TOKEN": box.token, "VPSORG_BASE_URL": box.url}
    worker = subprocess.Popen([sys.executable, "worker.py"], cwd=tmp_path, env=env)
    done = subprocess.Popen(
        [sys.executable, "fleet.py"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    )
    yield [done.communicate(timeout=50)[0]]
    worker.terminate()
    assert worker.wait(timeout=30) == 0


async def test_from_nothing_to_a_fleet(programs: list[str], box: Sandbox) -> None:
    """The worker and the fleet of the page create 20 servers; the worker ends on SIGTERM."""
    assert programs == ["20 succeeded, 0 failed\n"]
    assert len(box.servers) == 20


async def test_a_fleet_of_the_page_is_applied(
    blocks: list[str], engine: Engine, box: Sandbox, tmp_path: Path
) -> None:
    """Its program creates what is missing; with a fleet that is too large it prints which guard forbids the plan."""
    (tmp_path / "apply.py").write_text(
        blocks[2].replace("localhost:7233", engine.service_client.config.target_host), "utf-8"
    )
    config = engine.config()
    config["plugins"] = [VpsOrgPlugin(lambda: Client(box.token, base_url=box.url))]
    printed = []
    async with Worker(Engine(**config), task_queue=QUEUE):
        for _ in range(2):
            done = await asyncio.create_subprocess_exec(
                sys.executable, "apply.py", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
            )
            printed.append((await done.communicate())[0].decode())
            box.world.add(15, name="web")

    assert printed[0] == "12 succeeded, 0 failed\n"
    assert "15 servers would be deleted, and max_deletes permits 8" in printed[1]
    assert {change.operation for change in box.ledger} == {"create"}


async def test_the_servers_of_the_page_are_replaced(
    blocks: list[str], engine: Engine, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request and its activities give a fleet another operating system."""
    text = blocks[3].replace("drain=60", "drain=0.1")
    (tmp_path / "page_that_replaces.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = await asyncio.to_thread(__import__, "page_that_replaces")
    for number in (1, 2):
        box.world.add(name=f"web-{number:02}", os_id=5)
    config = engine.config()
    config["plugins"] = [VpsOrgPlugin(lambda: Client(box.token, base_url=box.url))]
    client = Engine(**config)
    activities = [module.answers, module.move_traffic]
    async with Worker(client, task_queue=QUEUE, activities=activities):
        summary = await client.execute_workflow(
            "vpsorg.RollingReplace", module.other_system(2), id="web", task_queue=QUEUE
        )

    assert summary.succeeded == 2
    assert sorted(server.name for server in box.servers) == ["web-03", "web-04"]


async def test_a_health_check_and_a_workflow_of_ones_own(
    blocks: list[str], engine: Engine, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The activity and the workflow of the page run in a worker with the plugin."""
    (tmp_path / "page_of_temporal.py").write_text("\n".join(blocks[4:]), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = await asyncio.to_thread(__import__, "page_of_temporal")
    ids = [server.id for server in box.world.add(2)]
    config = engine.config()
    config["plugins"] = [VpsOrgPlugin(lambda: Client(box.token, base_url=box.url))]
    client = Engine(**config)
    async with Worker(client, task_queue=QUEUE, workflows=[module.Tenant], activities=[module.is_healthy]):
        address = await client.execute_workflow(module.Tenant.run, "tenant-1", id="tenant", task_queue=QUEUE)
        summary = await client.execute_workflow(
            "vpsorg.RollingReboot",
            RollingRequest(ids=ids, timeout=600, health="is-healthy"),
            id="reboot",
            task_queue=QUEUE,
        )

    assert address == box.servers[-1].ip_address
    assert summary.succeeded == 2
