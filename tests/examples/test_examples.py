"""The examples do what they say, against the sandbox."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vpsorg_async import Client
from vpsorg_async.errors import PaymentRequiredError
from vpsorg_async.pytest_plugin import (
    RunVirtually,
    assert_committed,
    assert_no_duplicates,
    assert_none_left,
)
from vpsorg_async.sandbox import Sandbox, SandboxError

Load = Callable[[str], ModuleType]
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
MODULES = {"apache-airflow-core": "airflow"}
"""Packages whose module has another name."""
HEADER = re.compile(r"\A# /// script\n((?:#.*\n)+?)# ///\n")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_says_what_it_needs(path: Path) -> None:
    """A PEP 723 header names the Python and the packages, and every package that is imported is among them."""
    found = HEADER.match(path.read_text("utf-8"))
    assert found
    needs = tomllib.loads(re.sub(r"(?m)^# ?", "", found[1]))
    assert needs["requires-python"] == ">=3.11"
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in needs["dependencies"]]
    named = {MODULES.get(name, name).replace("-", "_") for name in names}
    imported = (
        set(re.findall(r"(?m)^(?:from|import) (\w+)", path.read_text("utf-8"))) - sys.stdlib_module_names
    )

    # these come with the package, and with fastapi
    assert imported - {"attrs", "pydantic"} <= named
    assert "vpsorg_async" in named


# -- a fleet for a CI job -------------------------------------------------------------------------------------------


def start(box: Sandbox, *arguments: str) -> subprocess.Popen[str]:
    """An example as a command, in a process of its own."""
    (script,) = (path for path in EXAMPLES if path.stem == arguments[0])
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(script), *arguments[1:]],
        env={**os.environ, "VPSORG_API_TOKEN": box.token, "VPSORG_BASE_URL": box.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_job_runs_on_its_fleet(vpsorg_sandbox: Sandbox) -> None:
    """The command gets the addresses, its exit code is the run's; the fleet is deleted, other servers are not."""
    vpsorg_sandbox.world.add(1, name="cinema-1")
    job = "import os; print(os.environ['FLEET']); raise SystemExit(7)"
    words = ["--name", "ci", "--count", "2", "--port", "2222", "--", sys.executable, "-c", job]
    with start(vpsorg_sandbox, "ci_fleet", "run", *words) as run:
        told, complaints = run.communicate(timeout=50)

    assert run.returncode == 7, complaints
    assert re.fullmatch(r"127\.\d+\.0\.\d+ 127\.\d+\.0\.\d+\n", told)
    assert_committed(vpsorg_sandbox, create=2, delete=2)
    assert [server.name for server in vpsorg_sandbox.servers] == ["cinema-1"]


def test_a_job_that_is_ended(vpsorg_sandbox: Sandbox) -> None:
    """SIGTERM ends the command and deletes the fleet."""
    job = "import time; print('working', flush=True); time.sleep(60)"
    words = ["--name", "ci", "--port", "2222", "--", sys.executable, "-c", job]
    with start(vpsorg_sandbox, "ci_fleet", "run", *words) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "working\n"
        run.send_signal(signal.SIGTERM)
        _, complaints = run.communicate(timeout=50)

    assert run.returncode == 130, complaints
    assert "Traceback" not in complaints
    assert_committed(vpsorg_sandbox, create=1, delete=1)
    assert_none_left(vpsorg_sandbox)


@pytest.mark.vpsorg_faults("create", "drop_after", nth=2)
@pytest.mark.parametrize(
    "vpsorg_settings", [{"boot": 5}, {"boot": 5, "credit": 2}], ids=["all made", "one not paid for"]
)
def test_a_fleet_with_troubles_is_deleted(
    example: Load,
    vpsorg_run: RunVirtually,
    vpsorg_settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a lost response, or a refused create: the job runs only on a whole fleet, and no server is left."""
    ci = example("ci_fleet")
    runs: list[Any] = []

    async def command(words: Any, addresses: list[str]) -> int:
        runs.append(addresses)
        return 0

    monkeypatch.setattr(ci, "command", command)

    async def scenario(vps: Client, box: Sandbox) -> None:
        code = await ci.run(vps, "ci", 3, 2222, ["true"])
        assert (code, len(runs)) == ((1, 0) if "credit" in vpsorg_settings else (0, 1))
        assert_none_left(box)
        assert_no_duplicates(box)

    vpsorg_run(scenario)


def test_the_sweep(example: Load, vpsorg_run: RunVirtually) -> None:
    """Servers that a killed run left over are deleted by name."""
    ci = example("ci_fleet")

    async def scenario(vps: Client, box: Sandbox) -> None:
        box.world.add(1, name="ci-1", status="provisioning")
        box.world.add(1, name="ci-2", status="stopped")
        box.world.add(1, name="web")
        assert await ci.sweep(vps, "ci")
        assert [server.name for server in box.servers] == ["web"]

    vpsorg_run(scenario)


# -- a rolling reboot -----------------------------------------------------------------------------------------------


def test_a_rolling_reboot(example: Load, vpsorg_run: RunVirtually, capsys: Any) -> None:
    """All come back, never more than two unavailable, each checked at its port before the next."""
    rolling = example("rolling_kernel_reboot")

    async def scenario(vps: Client, box: Sandbox) -> None:
        servers = [*box.world.add(5, name="web"), *box.world.add(1, name="web-off", status="stopped")]
        box.world.add(1, name="db")
        most = 0

        async def count() -> None:
            nonlocal most
            while True:
                closed = sum(not is_open(box, server.id) for server in servers)
                most = max(most, closed)
                await asyncio.sleep(1)

        await asyncio.sleep(30)
        counting = asyncio.create_task(count())
        report = await rolling.reboot(vps, "web", away=2, port=2222)
        counting.cancel()
        assert (len(report.succeeded), len(report.skipped)) == (5, 1)
        assert most == 2
        assert_committed(box, reboot=5)

    vpsorg_run(scenario)

    told = capsys.readouterr().out
    assert len(re.findall(r"(?m)^web-\d+: back after \d+ s \(reboot (observed|updated)\)$", told)) == 5
    assert re.search(r"(?m)^\d+: skipped, it is stopped, not active$", told)


def is_open(box: Sandbox, server_id: Any) -> bool:
    """Whether a server listens at present."""
    try:
        box.endpoint(server_id, 2222)
    except SandboxError:
        return False
    return True


def test_a_kernel_that_does_not_come_up(example: Load, vpsorg_run: RunVirtually) -> None:
    """The canary goes alone; when its port stays closed, no other server is touched."""
    rolling = example("rolling_kernel_reboot")

    async def scenario(vps: Client, box: Sandbox) -> None:
        for server in box.world.add(4, name="web"):
            box.world.set_boot(server.id, never=True)
        report = await rolling.reboot(vps, "web", away=0.5, port=2222)
        assert (len(report.failed), len(report.skipped)) == (1, 3)
        assert_committed(box, reboot=1)

    vpsorg_run(scenario)


def test_a_reboot_that_is_held_up(example: Load, vpsorg_run: RunVirtually, capsys: Any) -> None:
    """Ctrl-C sends nothing more, waits for servers in progress, and reports the rest as not sent."""
    rolling = example("rolling_kernel_reboot")

    async def scenario(vps: Client, box: Sandbox) -> None:
        box.world.add(4, name="web")

        async def interrupt() -> None:
            for _ in range(300):
                await asyncio.sleep(1)
                if len(box.ledger) == 2:  # the second server is in progress
                    signal.raise_signal(signal.SIGINT)
                    return

        interrupting = asyncio.create_task(interrupt())
        report = await rolling.reboot(vps, "web", away=1, port=2222)
        await interrupting
        assert (len(report.succeeded), len(report.skipped)) == (2, 2)
        assert_committed(box, reboot=2)

    vpsorg_run(scenario)

    assert "nothing more is started" in capsys.readouterr().err


async def test_rolling_reboot_as_a_command(example: Load, vpsorg_env: Sandbox, capsys: Any) -> None:
    """The exit code is 0 when all came back, 1 when one did not."""
    rolling = example("rolling_kernel_reboot")
    vpsorg_env.world.add(1, name="web")
    assert await rolling.main(["web", "--port", "2222"]) == 0
    vpsorg_env.world.add(1, name="web-off", status="stopped")
    assert await rolling.main(["web-off"]) == 1
    assert "rolling reboot: 0 succeeded, 0 failed, 1 skipped" in capsys.readouterr().out


# -- an autoscaler --------------------------------------------------------------------------------------------------


def test_a_pool_follows_its_load(example: Load, vpsorg_run: RunVirtually) -> None:
    """More servers under load, fewer after patience; a server that dies is replaced; none is created twice."""
    scaler = example("autoscaler")

    async def scenario(vps: Client, box: Sandbox) -> None:
        load = 0.0
        pool = scaler.Pool(name="pool-", each=100, least=1, most=4, patience=300)
        task = asyncio.create_task(scaler.autoscale(vps, pool, lambda: load))

        async def count_after(seconds: float) -> int:
            await asyncio.sleep(seconds)
            assert not task.done()
            return sum(server.status == "active" for server in box.servers)

        assert await count_after(400) == 1
        load = 250
        assert await count_after(400) == 3
        load = 9000
        assert await count_after(400) == 4
        box.world.suspend(box.servers[0].id)
        box.world.vanish(box.servers[1].id)
        assert await count_after(800) == 4
        load = 150
        assert await count_after(200) == 4
        assert await count_after(200) == 2
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert {server.status for server in box.servers} == {"active", "suspended"}
        assert len({server.name for server in box.servers}) == len(box.servers)

    vpsorg_run(scenario)


@pytest.mark.parametrize("vpsorg_settings", [{"credit": 1}])
def test_a_pool_that_is_not_paid_for(example: Load, vpsorg_run: RunVirtually) -> None:
    """An error that every further step would meet again ends the autoscaler."""
    scaler = example("autoscaler")

    async def scenario(vps: Client, box: Sandbox) -> None:
        with pytest.raises(PaymentRequiredError):
            await scaler.autoscale(vps, scaler.Pool(name="pool-"), lambda: 1000)

    vpsorg_run(scenario)


@pytest.mark.parametrize("content", ["12.5\n", None, "", "many"], ids=repr)
def test_a_load_in_a_file(example: Load, tmp_path: Path, content: str | None) -> None:
    """The number in the file is the load; while there is none, the last one applies."""
    file = tmp_path / "load"
    read = example("autoscaler").number_in(file)
    file.write_text("12.5")
    assert read() == 12.5
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert read() == 12.5
