"""What people type who come from another command: the page that compares them, run line by line."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.sandbox import Sandbox

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "from-other-commands.md").read_text("utf-8")
FLEET = '[[fleet]]\nname = "web-{n}"\ncount = 4\nplan_id = 1\nos_id = 5\nlocation = "us-west"\n'
Start = Callable[..., subprocess.Popen[str]]


def table() -> dict[str, str]:
    """Return the command of each task."""
    rows = re.findall(r"^\| ([a-z][^|]*) \|.*\| `vpsorg ([^`]+)` \|$", PAGE, re.M)
    assert len(rows) == len(dict(rows)) == PAGE.count("`vpsorg ")
    return dict(rows)


TASKS = table()
# what a task leaves: the names of the servers, each with its status where that matters
AFTER: dict[str, set[str]] = {
    "create, and wait": {"web-1 active", "web-2 active", "web-3 stopped", "app active"},
    "create several": {"web-1 active", "web-2 active", "web-3 stopped", "app-1 active", "app-2 active"},
    "stop": {"web-1 stopped", "web-2 active", "web-3 stopped"},
    "start": {"web-1 active", "web-2 active", "web-3 active"},
    "rename": {"app active", "web-2 active", "web-3 stopped"},
    "delete several": {"web-3 stopped"},
    "from a file": {"web-1 active", "web-2 active", "web-3 active", "web-4 active"},
}
NOT_HERE = {"sign in", "use another account", "watch", "log in by SSH"}
CODES = {"differences": 10}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """Three servers, the last of which is stopped, and a file of fleets in the working directory."""
    with Sandbox(speed=600, boot=6, ssh=False, ports={"ssh": 2222}, token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        for name in ("web-1", "web-2", "web-3"):
            box.world.add(1, name=name)
        box.world.set_status(box.servers[2].id, "stopped")
        (tmp_path / "fleet.toml").write_text(FLEET)
        monkeypatch.chdir(tmp_path)
        yield box


def settled(box: Sandbox) -> set[str]:
    words = {"stopping": "stopped", "starting": "active", "rebooting": "active"}
    return {f"{server.name} {words.get(server.status, server.status)}" for server in box.servers}


@pytest.mark.parametrize("task", [task for task in TASKS if task not in NOT_HERE])
def test_each_line_does_it(vpsorg: Any, account: Sandbox, task: str) -> None:
    """Each command of the page works as it is written, with --yes where there is no terminal, and does what it says."""
    before = settled(account)
    line = shlex.split(TASKS[task])
    # what is asked needs an answer, which a test can't give
    asks = any(word in line for word in ("create", "rm", "apply"))

    ended = vpsorg(*line, *(("--yes",) if asks else ()))

    assert (ended.code, bool(ended.out)) == (CODES.get(task, 0), True), ended.err
    assert settled(account) == AFTER.get(task, before)


def test_what_the_lists_print(vpsorg: Any, account: Sandbox) -> None:
    """The rows on lists print what their task says."""

    def run(task: str) -> list[str]:
        return str(vpsorg(*shlex.split(TASKS[task])).out).splitlines()

    assert [line.split()[1] for line in run("list some")[1:]] == ["web-1", "web-2"]
    assert run("choose columns")[0].split() == ["ID", "NAME"]
    assert len(run("without headings")) == 3
    assert run("only the names") == ["web-1", "web-2", "web-3"]
    assert [server["name"] for server in json.loads("\n".join(run("as JSON")))] == ["web-1", "web-2", "web-3"]


def test_signing_in(start: Start, account: Sandbox, monkeypatch: pytest.MonkeyPatch, vpsorg: Any) -> None:
    """`login` stores a token, from a pipe as well; `profiles use` chooses one from then on."""
    monkeypatch.delenv("VPSORG_API_TOKEN")
    to = ("--base-url", account.url)  # a named profile takes nothing of the environment
    for profile in ("default", "prod"):
        with start(
            *shlex.split(TASKS["sign in"]), "--profile", profile, *to, stdin=subprocess.PIPE
        ) as process:
            out, err = process.communicate(f"{account.token}\n")
            assert (process.returncode, account.token in out + err) == (0, False), err

    assert vpsorg(*shlex.split(TASKS["use another account"])).code == 0
    assert vpsorg("servers", "list", "-o", "name").code == 0


def test_watching(start: Start, account: Sandbox) -> None:
    """`watch` shows every server."""
    with start(*shlex.split(TASKS["watch"])) as process:
        assert process.stdout is not None
        names = {process.stdout.readline().split()[1] for _ in range(3)}
        process.terminate()
        process.communicate()

    assert names == {"web-1", "web-2", "web-3"}


def test_ssh(start: Start, account: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`ssh` runs the ssh of the machine, with the address of the server."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    with start(*shlex.split(TASKS["log in by SSH"]), "--port", "2222") as process:
        out, err = process.communicate()

    assert process.returncode == 0, err
    assert str(account.servers[0].ip_address) in out
