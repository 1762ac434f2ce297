"""`vpsorg ssh`, against servers of a sandbox that listen on sockets of their own."""

import ipaddress
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.cli.inventory_formats import Access
from vpsorg_async.cli.ssh_command import arguments
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.sandbox import Rule, Sandbox, faults

Start = Callable[..., subprocess.Popen[str]]
PORT = ("--port", "2222")
NEW = ("servers", "create", "web-1", "--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A fast sandbox whose servers send an SSH banner."""
    with Sandbox(speed=600, boot=6, ssh=False, ports={"ssh": 2222}, token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        yield box


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a shell script on PATH as ssh."""

    def put(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "ssh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return put


@pytest.fixture
def ssh(programs: Callable[[str], None]) -> None:
    """An ssh on PATH that prints its arguments and the first line of its input, and exits with 7."""
    programs('read line; printf "<%s>" "$@" "$line"; exit 7')


def ended(process: subprocess.Popen[str], typed: str = "") -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(typed)
        return process.returncode, out, err


@pytest.mark.usefixtures("ssh")
def test_the_ssh_of_this_machine_is_run(start: Start, booted: Sandbox) -> None:
    """It gets the options, the address and the command, the input of the command, and its exit code is kept."""
    (server,) = booted.world.add(1, name="web-1")
    options = ("-i", "key", "-o", "StrictHostKeyChecking=accept-new", "-o", "ForwardAgent=yes")
    words = ("ssh", "web-1", *PORT, *options, "--", "ls", "-l", "--", "--help", "a b")

    code, out, err = ended(start(*words, stdin=subprocess.PIPE), "typed\n")

    given = ["-l", "root", "-p", "2222", "-i", "key", *options[2:], server.ip_address, *words[-5:], "typed"]
    assert (code, err) == (7, "")
    assert out == "".join(f"<{word}>" for word in given)


def test_the_terminal_and_its_signals_belong_to_ssh(
    terminal: Callable[..., Any], booted: Sandbox, programs: Callable[[str], None]
) -> None:
    """Nothing of the command is left between the terminal and ssh: Ctrl-C reaches ssh alone."""
    booted.world.add(1, name="web-1")
    programs("trap 'echo caught; exit 9' INT; test -t 0 && echo pid $$; read x")

    command = terminal("ssh", "web-1", *PORT)
    shown = command.until("pid")
    command.until("\n")
    command.type("\x03")

    assert command.ended() == 9
    assert f"pid {command.process.pid}" in command.seen
    assert "caught" in command.seen
    assert "interrupted" not in command.seen
    assert shown


@pytest.mark.usefixtures("ssh")
def test_the_user_can_be_written_as_for_ssh(start: Start, booted: Sandbox) -> None:
    """`deploy@web-1` and `-l deploy` are the same; an id is as good as a name."""
    (server,) = booted.world.add(1, name="web-1")

    shown = {
        ended(start("ssh", *words, *PORT, stdin=subprocess.DEVNULL))[1]
        for words in (("deploy@web-1",), ("-l", "deploy", str(server.id)))
    }

    assert shown == {f"<-l><deploy><-p><2222><{server.ip_address}><>"}


@pytest.mark.usefixtures("ssh")
def test_it_waits_until_ssh_answers(vpsorg: Any, start: Start, booted: Sandbox) -> None:
    """Right after a create, ssh runs once the server is active, has booted and listens."""
    created = vpsorg(*NEW)

    code, out, _ = ended(start("ssh", "web-1", *PORT, stdin=subprocess.DEVNULL))

    assert (created.code, code) == (0, 7)
    assert f"<{booted.servers[0].ip_address}>" in out


@pytest.mark.usefixtures("ssh")
def test_a_reboot_is_not_outrun(vpsorg: Any, start: Start, booted: Sandbox) -> None:
    """A reboot of this machine that has not begun yet is waited for, although the server still answers."""
    (server,) = booted.world.add(1, name="web-1")
    accepted = {"status": "success", "message": "", "server": {"id": server.id, "status": "active"}}
    booted.faults.add(Rule("reboot", faults.Reply(200, accepted)))
    sent = vpsorg("servers", "reboot", "web-1", "--yes")
    asked = len(booted.requests)

    process = start("ssh", "web-1", *PORT, stdin=subprocess.DEVNULL)
    while len(booted.requests) < asked + 6:
        assert process.poll() is None
    booted.world.set_status(server.id, "rebooting", seconds=1, then="active")
    code, _, _ = ended(process)

    assert (sent.code, code) == (0, 7)


@pytest.mark.usefixtures("ssh")
def test_a_server_that_does_not_answer(start: Start, booted: Sandbox) -> None:
    """What is waited for is said, and the exit code is that of a timeout; ssh does not run."""
    (server,) = booted.world.add(1, name="web-1")
    booted.world.set_boot(server.id, never=True)
    with start("ssh", "web-1", *PORT, "--timeout", "30", stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        waiting = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    late = ended(start("ssh", "web-1", *PORT, "--timeout", "0.2", stdin=subprocess.DEVNULL))

    assert waiting.startswith("waiting for the SSH of web-1, at most 30s: ")
    assert "connection refused" in waiting
    assert (process.returncode, out, err) == (130, "", "vpsorg: interrupted\n")
    assert (late[0], late[1]) == (3, "")
    assert "connection refused" in late[2]


@pytest.mark.usefixtures("ssh")
def test_a_stopped_server_is_not_waited_for(start: Start, booted: Sandbox) -> None:
    """Nothing starts it, so the command that does is named."""
    (server,) = booted.world.add(1, name="web-1")
    booted.world.set_status(server.id, "stopped")

    code, out, err = ended(start("ssh", "web-1", *PORT, stdin=subprocess.DEVNULL))

    assert (code, out) == (1, "")
    assert err == "vpsorg: web-1 is stopped; to start it: vpsorg servers start web-1\n"


@pytest.mark.usefixtures("ssh")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("-oProxyCommand=x",), 2, ""),
        (("../../x",), 2, "is no server"),
        (("web-*",), 2, "can be several servers"),
        (("a b@web-1",), 2, "is no name of a user"),
        (("-l", "-oProxyCommand=x", "web-1"), 2, ""),
        (("web-1", "--timeout", "0"), 2, "--timeout"),
        (("web-1", "--port", "65536"), 2, "--port"),
        (("web-9",), 1, "no server is named web-9"),
    ],
)
def test_what_is_refused(vpsorg: Any, booted: Sandbox, words: tuple[str, ...], code: int, said: str) -> None:
    """Wrong input ends before anything is sent, an unknown name after the list."""
    ended = vpsorg("ssh", *words)

    assert ended.code == code
    assert said in ended.err
    assert len(booted.requests) == (code == 1)


def test_without_an_ssh(vpsorg: Any, booted: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is looked for before anything is sent."""
    monkeypatch.setenv("PATH", "/nonexistent")

    ended = vpsorg("ssh", "web-1")

    assert (ended.code, booted.requests) == (2, ())
    assert "no ssh on PATH" in ended.err


@pytest.mark.usefixtures("ssh")
def test_an_address_that_is_none_reaches_no_command_line(start: Start, booted: Sandbox) -> None:
    """An address from the service is never an option or a host name of ssh."""
    booted.world.add(1, name="web-1")
    booted.faults.add(Rule(None, faults.OddField("ip_address", "-oProxyCommand=x")))

    code, out, _ = ended(start("ssh", "web-1", *PORT, "--timeout", "0.2", stdin=subprocess.DEVNULL))

    assert (code, out) == (3, "")
    for address in ("-oProxyCommand=x", "fe80::1%-x", "example.org", "127.0.0.1 -x", ""):
        with pytest.raises(ConfigurationError, match="address"):
            arguments(Access(), (), address, ())


def test_a_command_that_looks_like_an_option_is_none() -> None:
    """ssh reads options after the address, too."""
    assert arguments(Access(user="root"), (), "2001:0db8::1", ("-x",)) == [
        "-l",
        "root",
        "2001:db8::1",
        "--",
        "-x",
    ]


@pytest.mark.usefixtures("ssh")
def test_a_server_with_ipv6_only(start: Start, booted: Sandbox) -> None:
    """Lists do not show IPv6 addresses, so the server is read by id; ssh gets the address that has answered."""
    (server,) = booted.world.add(1, name="web-1")
    shown = f"::ffff:{server.ip_address}"
    booted.faults.add(Rule("list", faults.OddField("ip_address", None)))
    only = faults.OddField("ip_address", None), faults.OddField("ipv6_address", shown)
    booted.faults.add(Rule("get", only))

    code, out, err = ended(start("ssh", "web-1", *PORT, "--timeout", "20", stdin=subprocess.DEVNULL))

    assert (code, err) == (7, "")
    assert ipaddress.ip_address(out.split("<")[-2].rstrip(">")) == ipaddress.ip_address(shown)
