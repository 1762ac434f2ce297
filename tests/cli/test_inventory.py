"""`vpsorg inventory` and `ssh-config`, against the sandbox."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.cli import inventory
from vpsorg_async.cli.files import replace
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.timing import SystemClock

Start = Callable[..., subprocess.Popen[str]]


def lists(box: Sandbox) -> list[str]:
    return [f"{request.method} {request.path}" for request in box.requests]


def test_all_hosts_come_from_one_list(vpsorg: Any, box: Sandbox) -> None:
    """Ansible's form has every server, its groups and its variables, and takes one request."""
    box.world.add(2, name="web")
    box.world.add(1, name="db-1")

    ended = vpsorg("inventory", "--list", "--port", "2222", "--user", "deploy")
    found = json.loads(ended.out)

    assert (ended.code, ended.err) == (0, "")
    assert len(lists(box)) == 1
    assert found["web"]["hosts"] == [*found["_meta"]["hostvars"]][1:]
    assert {"db", "web", "location_us_west", "status_active", "ungrouped"} <= {*found["all"]["children"]}
    told = found["_meta"]["hostvars"][found["db"]["hosts"][0]]
    assert (told["ansible_port"], told["ansible_user"], told["vpsorg_location"]) == (
        2222,
        "deploy",
        "us-west",
    )


def test_the_program_for_ansible(
    vpsorg: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`vpsorg-inventory` answers --list and --host as Ansible's protocol says; an unknown host has no variables."""
    (server,) = box.world.add(1, name="web-1")

    def ended(*arguments: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["vpsorg-inventory", *arguments])
        assert inventory() == 0
        return json.loads(capsys.readouterr().out)

    assert ended("--list")["_meta"]["hostvars"][server.name] == ended("--host", server.name)
    assert ended("--host", "web-99") == {}


def test_servers_can_be_chosen(vpsorg: Any, box: Sandbox) -> None:
    """By name, pattern or id; a pattern that fits nothing is a note, a name that no server has is an error."""
    web, (db,) = box.world.add(2, name="web"), box.world.add(1, name="db-1")

    def shown(*servers: str) -> Any:
        ended = vpsorg("inventory", *servers, "--format", "json")
        return ended.code, [row["host"] for row in json.loads(ended.out or "[]")], ended.err

    assert shown("web-*") == (0, [server.name for server in web], "")
    assert shown(str(db.id), web[0].name) == (0, [db.name, web[0].name], "")
    assert shown("mail-*") == (0, [], "no server is mail-*\n")
    code, found, err = shown("web-*", "mail-1")
    assert (code, found) == (1, [])
    assert "not in the account: mail-1" in err
    count = len(lists(box))
    assert shown("../../x")[0] == 2
    assert len(lists(box)) == count


def test_filters(vpsorg: Any, box: Sandbox) -> None:
    """A host has the same name whatever is left out; an unknown status is said if nothing has it."""
    web = box.world.add(2, name="web")
    box.faults.add(Rule("list", faults.OddField("name", "web")))
    box.world.set_status(web[0].id, "stopped")

    def shown(*words: str) -> tuple[list[str], str]:
        ended = vpsorg("inventory", *words, "--format", "json", "-q")
        return [row["host"] for row in json.loads(ended.out)], ended.err

    assert shown("--status", "stopped") == ([f"web-{web[0].id}"], "")
    assert shown("web", "--status", "active,rebooting") == ([f"web-{web[1].id}"], "")
    assert shown("web", "--location", "us-east") == ([], "")
    found = vpsorg("ssh-config", "--status", "actve")
    assert (found.code, "Host" in found.out, "active" in found.err) == (0, False, True)


def test_a_server_with_ipv6_only_is_read_by_id(vpsorg: Any, slow: Sandbox) -> None:
    """A row of the documented list has no IPv6 address: a server whose row has none at all is read once more."""
    _, server = slow.world.add(2, name="web")
    slow.faults.add(Rule("list", faults.OddField("ip_address", None, row=1)))
    shown = faults.OddField("ip_address", None), faults.OddField("ipv6_address", "2001:0db8::7")
    slow.faults.add(Rule("get", shown))

    ended = vpsorg("inventory", "--format", "prometheus")

    assert lists(slow) == ["GET /api/v1/servers/", f"GET /api/v1/servers/{server.id}/"]
    assert json.loads(ended.out)[1]["targets"] == ["[2001:db8::7]:9100"]


def test_a_server_without_an_address_is_said(vpsorg: Any, slow: Sandbox) -> None:
    """A server that is being created has no address yet: it is left out with a note, and asked for once."""
    vpsorg("servers", "create", "web-1", "--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")

    sent = len(lists(slow))
    ended = vpsorg("ssh-config")

    assert (ended.code, "Host " in ended.out) == (0, False)
    assert ended.err == "left out, because they have no address: web-1\n"
    assert lists(slow)[sent:] == ["GET /api/v1/servers/"]
    assert json.loads(vpsorg("inventory", "--format", "json").out)[0]["address"] is None


def test_a_list_that_lacks_servers_is_said(vpsorg: Any, box: Sandbox) -> None:
    """Whoever reads the result can see that it is not everything."""
    box.world.add(3)
    box.faults.add(Rule("list", faults.ShortList(1)))

    ended = vpsorg("inventory")

    assert ended.code == 0
    assert "the list lacks servers: it counts 3 and shows 2" in ended.err


@pytest.mark.skipif(shutil.which("ssh") is None, reason="the client of OpenSSH is not installed")
def test_a_hostile_name_reaches_no_ssh_config(vpsorg: Any, box: Sandbox, tmp_path: Path) -> None:
    """ssh reads the file, and nothing that the name of a server says is done."""
    (server,) = box.world.add(1)
    marker = tmp_path / "marker"
    name = f"web\n    ProxyCommand touch {marker}\nHost *"
    box.faults.add(Rule("list", faults.OddField("name", name)))
    ended = vpsorg("ssh-config", "-i", "~/.ssh/id", "-p", "2222")
    file = tmp_path / "config"
    file.write_text(ended.out)

    assert str(marker) not in ended.out
    assert "is server-12345" in ended.err
    done = subprocess.run(
        ["ssh", "-G", "-F", file, "server-12345"], capture_output=True, text=True, check=True
    )
    read = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    assert (read["port"], read["user"]) == ("2222", "root")
    assert read["hostname"] == server.ip_address
    assert "proxycommand" not in read


@pytest.mark.parametrize(
    "arguments",
    [
        ("--format", "hosts", "--port", "22"),
        ("--format", "json", "--user", "root"),
        ("--format", "prometheus", "--identity", "key"),
        ("--format", "yaml"),
        ("--list", "--format", "json"),
        ("--json", "--format", "hosts"),
        ("--list", "--json"),
        ("--host", "web-1", "--watch", "file"),
        ("--list", "--host", "web-1"),
        ("--port", "0"),
        ("--user", "-oProxyCommand=x"),
        ("--user", "a\nb"),
        ("--identity", 'a"b'),
        ("--watch", "/proc/no/file"),
        ("--watch", "/"),
        ("--to", "/"),
        ("--to", "a", "--watch", "b"),
        ("--host", "web-1", "--to", "a"),
        ("--watch", "file", "--interval", "0"),
    ],
)
def test_wrong_options_are_refused(vpsorg: Any, box: Sandbox, arguments: tuple[str, ...]) -> None:
    """Nothing is sent, and the exit code is 2."""
    ended = vpsorg("inventory", *arguments)

    assert (ended.code, ended.out) == (2, "")
    assert box.requests == ()


def test_a_file_is_written_as_a_whole_or_stays(vpsorg: Any, box: Sandbox, tmp_path: Path) -> None:
    """Unlike a redirection of the shell, --to does not empty the file when the command fails."""
    box.world.add(1, name="web-1")
    file = tmp_path / "hosts"

    first = vpsorg("inventory", "--format", "hosts", "--to", str(file))
    text = file.read_text()
    box.faults.add(Rule("list", faults.Reply(401)))
    failed = vpsorg("inventory", "--format", "hosts", "--to", str(file))

    assert (first.code, first.out, first.err) == (0, "", f"{file}: 1 server\n")
    assert (failed.code, file.read_text()) == (5, text)
    assert "\tweb-1\n" in text


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in Debian's package prometheus")
def test_prometheus_reads_the_file(vpsorg: Any, box: Sandbox, tmp_path: Path) -> None:
    """promtool finds the targets with their labels, those that can be relabeled among them."""
    (server,) = box.world.add(1, name="web-1")
    vpsorg("inventory", "--format", "prometheus", "--to", str(tmp_path / "vps.json"))
    config = tmp_path / "prometheus.yml"
    config.write_text(
        f"scrape_configs: [{{job_name: vps, file_sd_configs: [{{files: [{tmp_path}/vps.json]}}]}}]"
    )

    checked = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True)
    asked = ["promtool", "check", "service-discovery", "--timeout=2s", str(config), "vps"]
    (found,) = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

    assert checked.returncode == 0, checked.stderr
    assert found["labels"]["instance"] == f"{server.ip_address}:9100"
    assert (found["labels"]["name"], found["labels"]["group"]) == ("web-1", "web")
    assert found["discoveredLabels"]["__meta_vpsorg_status"] == "active"


@pytest.fixture
def watching(start: Start, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command that lists the account twenty times a second, and end it however the test does."""
    started: list[subprocess.Popen[str]] = []

    def watch(*arguments: str) -> subprocess.Popen[str]:
        started.append(start(*arguments, "--interval", "0.05"))
        return started[-1]

    yield watch
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str], number: signal.Signals | None = None) -> tuple[int, str]:
    """Return the exit code of a process, after a signal to it, and the rest of its notes."""
    if number is not None:
        process.send_signal(number)
    _, err = process.communicate(timeout=20)
    return process.returncode, err


def until(process: subprocess.Popen[str], text: str) -> None:
    """Read the notes of a process until one has the text."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"{text!r} was not said")


def after(box: Sandbox, number: int) -> None:
    """Wait until the account was listed that often again."""
    wanted = len(lists(box)) + number
    until_then = SystemClock().now() + 20
    while len(lists(box)) < wanted:
        assert SystemClock().now() < until_then


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watched_file_follows_the_account(
    watching: Start, box: Sandbox, tmp_path: Path, number: signal.Signals
) -> None:
    """It is replaced as a whole, only on a change, keeps its mode, and the command ends with 0 on a signal."""
    box.world.add(1, name="web-1")
    file = tmp_path / "vps.json"
    file.write_text("[]")
    file.chmod(0o640)
    before = file.stat().st_ino
    process = watching("inventory", "--format", "prometheus", "--watch", str(file))
    until(process, "vps.json: 1 server")
    first = file.stat()
    after(box, 3)
    same = file.stat()
    box.world.add(1, name="db-1")
    until(process, "vps.json: 2 servers")

    assert ended(process, number) == (0, "")
    assert first.st_ino != before
    assert (same.st_ino, same.st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [row["labels"]["name"] for row in json.loads(file.read_text())] == ["db-1", "web-1"]
    assert [path.name for path in tmp_path.glob("vps*")] == ["vps.json"]


def test_a_watched_file_outlives_an_outage(watching: Start, box: Sandbox, tmp_path: Path) -> None:
    """While the service fails or shows a part of the account, no server is dropped from the file."""
    box.world.add(2, name="web")
    file = tmp_path / "hosts"
    process = watching("inventory", "--format", "hosts", "--watch", str(file))
    until(process, "hosts: 2 servers")
    text = file.read_text()
    box.faults.add(Rule("list", faults.Html(502)))
    until(process, "stays as it is")
    kept = file.read_text()
    box.faults.clear()
    box.faults.add(Rule("list", faults.ShortList(1)))
    until(process, "the list lacks servers")
    after(box, 3)
    partly = file.read_text()
    box.faults.clear()
    box.world.add(1, name="db-1")
    until(process, "hosts: 3 servers")
    box.faults.add(Rule("list", faults.Reply(401)))
    code, err = ended(process)

    assert text == kept == partly
    assert code == 5
    assert "401" in err


def test_a_watched_file_that_cannot_be_written_stays(watching: Start, box: Sandbox, tmp_path: Path) -> None:
    """What is in the way of the new file is said, and the old file is whole."""
    folder, moved = tmp_path / "out", tmp_path / "moved"
    folder.mkdir()
    file = folder / "vps.json"
    process = watching("inventory", "--format", "json", "--watch", str(file))
    until(process, "vps.json: 0 servers")
    folder.rename(moved)
    folder.write_text("in the way")
    box.world.add(1)
    until(process, "stays as it is")
    kept = (moved / "vps.json").read_text()
    folder.unlink()
    moved.rename(folder)
    until(process, "vps.json: 1 server")

    assert json.loads(kept) == []
    assert json.loads(file.read_text())[0]["server"]["id"] == 12345


def test_two_programs_keep_the_same_file(tmp_path: Path) -> None:
    """Neither renames, nor removes, what the other has only begun to write."""
    file = tmp_path / "vps.json"
    mode = 0o644
    real, beside = os.open, list[Path]()

    def open_twice(path: Any, *rest: Any) -> int:
        number = real(path, *rest)
        if not beside:
            beside.append(Path(path))
            replace(file, "the other", mode=mode, in_place=False)
            assert beside[0].exists()
        return number

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", open_twice)
        replace(file, "this one", mode=mode, in_place=False)

    assert file.read_text() == "this one"
    assert [path.name for path in tmp_path.iterdir()] == ["vps.json"]


def test_a_new_watched_file_can_be_read_by_others(watching: Start, box: Sandbox, tmp_path: Path) -> None:
    """Prometheus runs as another user."""
    file = tmp_path / "vps.json"
    mask = os.umask(0o022)
    try:
        process = watching("ssh-config", "--watch", str(file))
    finally:
        os.umask(mask)
    until(process, "vps.json: 0 servers")

    assert file.stat().st_mode & 0o777 == 0o644
