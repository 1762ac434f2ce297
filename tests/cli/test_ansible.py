"""Ansible itself uses the account as its inventory: `vpsorg-inventory`, and a program around `vpsorg inventory`."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

import vpsorg_async
from vpsorg_async.sandbox import Rule, Sandbox, faults

pytest.importorskip("ansible", reason="the session ansible has it")

GRAPH = """\
@all:
  |--@ungrouped:
  |--@db:
  |  |--db-1
  |--@location_us_west:
  |  |--db-1
  |  |--web-12345
  |  |--web-12346
  |--@plan_standard_vps:
  |  |--db-1
  |  |--web-12345
  |  |--web-12346
  |--@status_active:
  |  |--db-1
  |  |--web-12345
  |  |--web-12346
  |--@web:
  |  |--web-12345
  |  |--web-12346
"""
SHELL = 2223
"""The port of servers with a shell; those of the sandbox have a few commands only."""


@pytest.fixture
async def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """A sandbox with three servers that let a key in, whose token and address are in the environment."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o600)
    public = key.export_public_key().decode()
    async with Sandbox(speed=6000, boot=1, ssh=True, authorized_keys=public, ports={"ssh": 2222}) as box:
        box.world.add(2, name="web")
        box.world.add(1, name="db-1")
        for name, value in {
            "VPSORG_API_TOKEN": box.token,
            "VPSORG_BASE_URL": box.url,
            "PYTHONPATH": str(Path(vpsorg_async.__file__).parents[1]),
            "HOME": str(tmp_path),
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no -o UserKnownHostsFile=/dev/null",
            "ANSIBLE_PIPELINING": "True",
        }.items():
            monkeypatch.setenv(name, value)
        yield box


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """An inventory program with options, as the documentation shows it."""
    script = tmp_path / "inventory.sh"
    command = f'{sys.executable} -c "import sys; from vpsorg_async.cli import main; sys.exit(main())"'
    key = tmp_path / "key"
    script.write_text(
        f'#!/bin/sh\nexec {command} inventory --port "${{PORT:-2222}}" --user root -i {key} "$@"\n'
    )
    script.chmod(0o755)
    return script


async def ansible(name: str, *arguments: object) -> tuple[int, str, str]:
    """Run a program of Ansible. Returns its exit code and what it printed."""
    program = Path(sys.executable).with_name(name)
    process = await asyncio.create_subprocess_exec(
        program, *map(str, arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_graph(box: Sandbox, tmp_path: Path) -> None:
    """`ansible-inventory` understands the program as it is, without a warning, and lists the account once."""
    installed = Path(sys.executable).with_name("vpsorg-inventory")
    if not installed.exists():  # an editable installation may be older than the program
        installed = tmp_path / "vpsorg-inventory"
        installed.write_text(
            f"#!{sys.executable}\nfrom vpsorg_async.cli import inventory\nraise SystemExit(inventory())\n"
        )
        installed.chmod(0o755)

    assert await ansible("ansible-inventory", "-i", installed, "--graph") == (0, GRAPH, "")
    assert [request.method for request in box.requests] == ["GET"]


async def test_commands_run_on_the_servers_of_the_sandbox(box: Sandbox, program: Path) -> None:
    """Each host of a group is reached at the address of its own server."""
    code, out, _ = await ansible("ansible", "-i", program, "web", "-m", "raw", "-a", "hostname")

    assert code == 0
    assert sorted(re.findall("^(.*) \\| CHANGED .*\\n(.*)$", out, re.M)) == [
        (name, name) for name in ("web-12345", "web-12346")
    ]


async def test_a_ping(box: Sandbox, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of Ansible run, on servers with a shell and Python at the addresses of the account."""

    async def shell(process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = await asyncio.create_subprocess_shell(
            process.command or "true", stdin=-1, stdout=-1, stderr=-1, cwd=tmp_path
        )
        out, err = await child.communicate(await process.stdin.read())
        process.stdout.write(out)
        process.stderr.write(err)
        process.exit(child.returncode or 0)

    monkeypatch.setenv("PORT", str(SHELL))
    listening = [
        await asyncssh.listen(
            server.ip_address,
            SHELL,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=asyncssh.import_authorized_keys(
                asyncssh.read_private_key(tmp_path / "key").export_public_key().decode()
            ),
            process_factory=shell,
            encoding=None,
        )
        for server in box.servers
    ]
    try:
        python = f"ansible_python_interpreter={sys.executable}"
        code, out, err = await ansible("ansible", "-i", program, "all", "-m", "ping", "-e", python)
    finally:
        for one in listening:
            one.close()

    assert code == 0, out + err
    assert sorted(re.findall("^(.*) \\| SUCCESS", out, re.M)) == ["db-1", "web-12345", "web-12346"]
    assert out.count('"ping": "pong"') == 3


async def test_a_template_in_a_record_is_not_executed(box: Sandbox, program: Path, tmp_path: Path) -> None:
    """Nothing that the service shows is run on the machine of the user."""
    marker = tmp_path / "marker"
    template = f"{{{{ lookup('pipe', 'touch {marker}') }}}}"
    shown = [faults.OddField(field, template) for field in ("location", "hostname", "os.name", "plan.name")]
    box.faults.add(Rule("list", [*shown, faults.OddField("name", template, row=0)]))

    code, out, _ = await ansible(
        "ansible", "-i", program, "all", "-c", "local", "-m", "debug", "-a", "msg={{ vars }}"
    )

    assert code == 0
    assert "server-12345" in out
    assert not marker.exists()
