"""`--ready` of the commands, against servers of a sandbox that listen on sockets of their own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async import Client
from vpsorg_async.sandbox import Rule, Sandbox, faults

NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")
PORTS = ("--ready", "tcp:2222", "--ready", "http:8080/")
FEW = ("--ready-timeout", "0.5")


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sandbox]]:
    """Open a fast sandbox whose servers listen, with its token and address in the environment."""
    monkeypatch.setitem(Client.__init__.__kwdefaults__ or {}, "min_interval", 0.02)
    opened: list[Sandbox] = []

    def open_(**settings: Any) -> Sandbox:
        usual: dict[str, Any] = {"speed": 600, "boot": 60, "ssh": False, "token": "vps_tests"}
        box = Sandbox(**{**usual, **settings})
        box.__enter__()
        opened.append(box)
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        return box

    yield open_
    for box in opened:
        box.__exit__(None, None, None)


def test_statuses_that_pass(vpsorg: Any, booted: Callable[..., Sandbox]) -> None:
    """A check with statuses passes for these, and for no others."""
    booted().world.add(1)
    passed = vpsorg("wait", "12345", "--ready", "http:8080/,404,200-204")
    failed = vpsorg("wait", "12345", "--ready", "http:8080/,3xx,404", *FEW)

    assert (passed.code, failed.code) == (0, 3)
    assert "it answered 200" in failed.out


def test_a_fleet_is_ready(vpsorg: Any, booted: Callable[..., Sandbox]) -> None:
    """Created, ensured, rebooted, stopped and started: each is ready at the end, and its timeline says so."""
    booted()
    web = ("--name", "web-{n}", "--count", "2")
    for line in (
        ("create", *web, *NEW),
        ("ensure", *web, *NEW),
        ("reboot", *web, "--yes"),
        ("rolling-reboot", *web, "--port", "2222", "--yes"),
        ("start", *web),
    ):
        if line[0] == "start":
            assert vpsorg("fleet", "stop", *web, "--yes", "-q").code == 0
        ended = vpsorg("fleet", *line, *PORTS, "--json", "-q")

        assert (ended.code, ended.err) == (0, "")
        rows = json.loads(ended.out)["outcomes"]
        assert [row["stage"] for row in rows] == ["ready", "ready"]
        assert all(row["timeline"][-1].startswith("ready at ") for row in rows)


@pytest.mark.parametrize(
    "line",
    [
        "fleet create --name a --plan-id 1 --os-id 5 --location us-west --yes",
        "fleet ensure --name a --plan-id 1 --os-id 5 --location us-west --yes",
        "fleet reboot 12345",
        "fleet rolling-reboot 12345",
        "servers create a --plan-id 1 --os-id 5 --location us-west --yes --wait",
        "servers reboot 12345 --wait",
        "wait 12345",
    ],
)
def test_a_server_that_never_boots(vpsorg: Any, booted: Callable[..., Sandbox], line: str) -> None:
    """It is exit code 3, as for any wait that times out; the server is active, and the last reason is said."""
    box = booted()
    box.faults.add(Rule("create", faults.SetBoot(never=True)))
    if "12345" in line:
        box.world.set_boot(box.world.add(1)[0].id, never=True)

    ended = vpsorg(*line.split(), *PORTS, *FEW)

    assert ended.code == 3
    assert re.search(
        r"is active, but not ready after 0\.5 s: .*, last: tcp:2222: 127\.\S+: connection refused",
        ended.out + ended.err,
    )
    assert re.search(r"\bactive\b", ended.out)


def test_reports_have_the_stage_and_the_reason(vpsorg: Any, booted: Callable[..., Sandbox]) -> None:
    """One of two never boots: the table shows how far each came, and the JSON has the last reason."""
    box = booted(boot=1)
    first, second = box.world.add(2)
    box.world.set_boot(second.id, never=True)

    fleet = vpsorg("fleet", "reboot", str(first.id), str(second.id), "--yes", *PORTS, *FEW)
    waits = vpsorg("wait", str(first.id), str(second.id), *PORTS, *FEW)
    rows = json.loads(vpsorg("wait", str(first.id), str(second.id), *PORTS, *FEW, "--json").out)

    head, one, two, *_ = (line.split() for line in fleet.out.splitlines())
    assert head == ["SERVER", "OUTCOME", "ID", "STAGE", "IP", "SECONDS"]
    assert (one[1], one[3], two[1], two[3]) == ("rebooted", "ready", "failed", "active")
    head, one, two, *_ = (line.split() for line in waits.out.splitlines())
    assert (head[2], one[2], two[2]) == ("STAGE", "ready", "active")
    assert (fleet.code, waits.code) == (3, 3)
    assert [(row["stage"], row["reached"]) for row in rows] == [("ready", True), ("active", False)]
    assert rows[0]["reason"] == ""
    assert re.fullmatch(r"tcp:2222: 127\.\S+: connection refused", rows[1]["reason"])


def test_other_checks(vpsorg: Any, booted: Callable[..., Sandbox]) -> None:
    """A banner, a path with a status that is none of 2xx, a port that only accepts."""
    box = booted(boot=0, ports={"ssh": 2222, "http": 8080, "tcp": 5432})
    (server,) = box.world.add(1)
    key = str(server.id)

    good = vpsorg("wait", key, "--ready", "ssh:2222", "--ready", "tcp:5432", "--ready", "http:8080")
    mute = vpsorg("wait", key, "--ready", "ssh:8080", "--ready-timeout", "0.3")
    url = vpsorg("wait", key, "--ready", "http://www.example.org:8080/")

    assert (good.code, url.code, mute.code) == (0, 0, 3)
    assert "is active, but not ready" in mute.out


class Remote:
    """The files for commands over SSH, and the options that name them."""

    def __init__(self, folder: Path) -> None:
        asyncssh = pytest.importorskip("asyncssh")
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.key, self.hosts = folder / "key", folder / "hosts"
        key.write_private_key(str(self.key))
        self.public = key.export_public_key().decode()

    def options(self, check: str) -> tuple[str, ...]:
        hosts = ("--ssh-known-hosts", str(self.hosts), "--ssh-accept-new")
        return ("--ready", check, "--ssh-key", str(self.key), *hosts)


def test_commands_over_ssh(vpsorg: Any, booted: Callable[..., Sandbox], tmp_path: Path) -> None:
    """cloud-init that ends well passes and pins the host key; that fails is a failure; a changed key is refused."""
    remote = Remote(tmp_path)
    box = booted(ssh=True, authorized_keys=remote.public, boot=1, cloud_init=1)
    check = remote.options("ssh:2222: cloud-init status --wait")

    made = vpsorg("servers", "create", "web", "--wait", *NEW, *check, "--json", "-q")
    key = str(json.loads(made.out)["id"])
    pinned = remote.hosts.read_text()
    box.world.set_boot(int(key), cloud_init="error")
    broken = vpsorg("fleet", "reboot", key, *check)
    box.world.set_boot(int(key))
    box.world.change_host_key(int(key))
    changed = vpsorg("wait", key, *check, "--json")
    remote.hosts.write_text("")
    strict = vpsorg("wait", key, *check[:-1])

    assert (made.code, made.err, pinned.count("\n")) == (0, "", 1)
    assert broken.code == 1
    assert "will never be ready: ssh:2222: cloud-init status --wait: " in broken.out
    assert "exit code 1 (failed)" in broken.out
    (row,) = json.loads(changed.out)
    assert (changed.code, row["error"], row["stage"]) == (1, "NeverReadyError", "active")
    assert "is not the one in" in row["reason"]
    assert (strict.code, remote.hosts.read_text()) == (1, "")
    assert "or use --ssh-accept-new to trust the first contact" in strict.out


@pytest.mark.skipif(sys.platform == "win32", reason="signals here are POSIX")
@pytest.mark.parametrize(
    "line",
    [
        "fleet create --name a --plan-id 1 --os-id 5 --location us-west --yes",
        "fleet rolling-reboot 12345",
        "fleet reboot 12345",
        "wait 12345",
        "servers reboot 12345 --wait",
        "servers create a --plan-id 1 --os-id 5 --location us-west --yes --wait",
    ],
)
def test_an_interrupt_during_checks(
    start: Callable[..., Any], booted: Callable[..., Sandbox], terminal: Any, line: str
) -> None:
    """Ctrl-C says which server is active but not ready, why, and how to go on waiting with the same checks."""
    box = booted()
    box.faults.add(Rule("create", faults.SetBoot(never=True)))
    if "12345" in line:
        box.world.set_boot(box.world.add(1)[0].id, never=True)

    command = terminal(*line.split(), *PORTS, "--ready-timeout", "99")
    command.until("connection refused")
    os.kill(command.process.pid, signal.SIGINT)

    assert command.ended() == 130
    said = " ".join(re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "", command.seen).split())
    assert "active, but not ready, last: tcp:2222: 127." in said
    server = box.servers[0].id
    continued = rf"(vpsorg wait {server}( --for active)? .*?--ready-timeout 99)$"
    found = re.search(continued, said.partition("vpsorg: interrupted to continue the wait")[2])
    assert found is not None
    assert {*PORTS} < {*shlex.split(found[1])}


def test_the_display_says_how_long_it_can_take(terminal: Any, booted: Callable[..., Sandbox]) -> None:
    """During the checks it is their time that counts, not that of the wait for the status."""
    box = booted()
    (server,) = box.world.add(1)
    box.world.set_boot(server.id, never=True)

    command = terminal("wait", str(server.id), *PORTS, "--ready-timeout", "99")
    command.until("not ready: ")
    command.until("at most 1:")
    command.process.send_signal(signal.SIGINT)

    assert command.ended() == 130


def test_the_display_shows_active_and_ready_apart(terminal: Any, booted: Callable[..., Sandbox]) -> None:
    """The legend has both words, and below it why a server is not ready."""
    box = booted(boot=1)
    first, second = box.world.add(2)
    box.world.set_boot(second.id, never=True)

    command = terminal("fleet", "reboot", str(first.id), str(second.id), "--yes", *PORTS)
    command.until("1 active")
    command.until(f"not ready: {second.id}: tcp:2222: 127.")
    command.process.send_signal(signal.SIGINT)

    assert command.ended() == 130
    assert "1 ready" in command.seen
