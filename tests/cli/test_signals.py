"""Signals: each of the three ends a command as Ctrl-C does, and loses nothing that it knows."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.sandbox import Rule, Sandbox, faults

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals here are POSIX")

Start = Callable[..., subprocess.Popen[str]]
NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")
FLEET = ("fleet", "create", "--name", "web-{n}", "--count", "3", *NEW)
SAID = {"SIGHUP": "ended by SIGHUP", "SIGINT": "interrupted", "SIGTERM": "ended by SIGTERM"}
NAMES = pytest.mark.parametrize("name", SAID)


def pasted(seen: str, name: str) -> str:
    """What stands after the last message, whose last line can be pasted; empty for nothing."""
    _, found, after = seen.replace("\r", "").rpartition(f"vpsorg: {SAID[name]}\n")
    assert found
    return after.rstrip("\n").rpartition("\n")[2]


@NAMES
def test_a_fleet_reports(terminal: Any, slow: Sandbox, tmp_path: Path, name: str) -> None:
    """Each signal ends a fleet with its exit code, and each server that was created is in the report."""
    with (tmp_path / "report").open("w+") as out:
        fleet = terminal(*FLEET, "--json", stdout=out)
        fleet.until("3 provisioning")
        fleet.process.send_signal(signal.Signals[name])
        code = fleet.ended()
        out.seek(0)
        report = json.load(out)

    assert code == 128 + signal.Signals[name]
    ids = " ".join(str(server.id) for server in slow.servers)
    assert pasted(fleet.seen, name) == f"vpsorg wait {ids} --for active"
    assert "Traceback" not in fleet.seen
    assert [(row["key"], row["id"]) for row in report["outcomes"]] == [
        (server.name, server.id) for server in slow.servers
    ]


@pytest.mark.parametrize(
    ("name", "line", "shown", "told"),
    [
        (
            "SIGHUP",
            "servers create db --plan-id 1 --os-id 5 --location us-west --yes --wait",
            "1 provisioning",
            "vpsorg wait 12346 --for active",
        ),
        ("SIGTERM", "servers reboot 12345 --wait", "1 rebooting", "vpsorg wait 12345 --for active"),
        ("SIGTERM", "wait 12345 --for stopped", "1 active", "vpsorg wait 12345 --for stopped"),
        ("SIGHUP", "watch", "1 active", ""),
        ("SIGTERM", "demo --servers 2 --speed 1", "2 provisioning", ""),
        ("SIGHUP", "fleet rolling-reboot 12345", "1 rebooting", "vpsorg wait 12345 --for active"),
    ],
)
def test_every_wait_ends(terminal: Any, slow: Sandbox, name: str, line: str, shown: str, told: str) -> None:
    """Each command that waits ends with the exit code of the signal, one line and what it knows."""
    slow.world.add(1)
    command = terminal(*line.split())
    command.until(shown)
    command.process.send_signal(signal.Signals[name])

    assert command.ended() == 128 + signal.Signals[name]
    assert re.fullmatch(told, pasted(command.seen, name))
    assert "Traceback" not in command.seen
    assert command.seen.count("\x1b[?25l") == command.seen.count("\x1b[?25h") == 1


def test_a_second_signal_loses_no_report(terminal: Any, slow: Sandbox) -> None:
    """During the report, a second signal is ignored: creates without an answer are searched for and found."""
    slow.faults.add(Rule("create", faults.NeverAnswer(applied=True)))
    fleet = terminal(*FLEET)
    fleet.until("4 requests")  # the list, and three creates
    fleet.process.send_signal(signal.SIGINT)
    fleet.process.send_signal(signal.SIGTERM)

    assert fleet.ended() in (130, 143)
    report = fleet.seen.replace("\r\n", "")
    assert len(slow.servers) == 3
    assert [server.id for server in slow.servers if f"it exists as {server.id}" not in report] == []


def test_the_third_signal_leaves_the_terminal_in_order(terminal: Any, slow: Sandbox) -> None:
    """Three signals end a fleet at once: the display is left, the cursor is back, each server is in the report."""
    slow.faults.add(Rule("create", faults.NeverAnswer(applied=True)))
    fleet = terminal(*FLEET)
    fleet.until("4 requests")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        fleet.process.send_signal(number)

    assert fleet.ended() in (129, 130, 143)
    report = fleet.seen.rpartition("\x1b[?25h")[2]
    assert fleet.seen.count("\x1b[?25l") == 1
    assert [
        line.split()[:2] for line in report.splitlines() if line.startswith("web-") and ":" not in line
    ] == [
        ["web-1", "failed"],
        ["web-2", "failed"],
        ["web-3", "failed"],
    ]
    assert report.count("had no answer when it was interrupted") == 3


def test_a_hung_up_terminal_costs_no_report(terminal: Any, slow: Sandbox, tmp_path: Path) -> None:
    """When the terminal goes away, the fleet ends with 129, and its report is in the file that it was sent to."""
    out = tmp_path / "report"
    with out.open("w") as file:
        fleet = terminal(*FLEET, stdout=file)
    fleet.until("3 provisioning")
    fleet.hang_up()

    assert fleet.process.wait() == 129
    assert [line.split()[:2] for line in out.read_text().splitlines()[1:4]] == [
        [f"web-{number}", "left"] for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_an_ignored_signal_stays_ignored(start: Start, box: Sandbox, name: str) -> None:
    """A command that was started with a signal ignored, by nohup or in the background, is immune to it."""
    [server] = box.world.add(1)

    def ignore() -> None:
        signal.signal(signal.Signals[name], signal.SIG_IGN)

    with start("watch", "--interval", "0.1", preexec_fn=ignore) as process:
        assert process.stdout is not None
        assert "is active" in process.stdout.readline()
        process.send_signal(signal.Signals[name])
        box.world.set_status(server.id, "stopped")
        assert "active -> stopped" in process.stdout.readline()
        process.terminate()
        _, err = process.communicate()

    assert (process.returncode, err) == (143, "vpsorg: ended by SIGTERM\n")


INTERRUPTED_IMPORT = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{name})

import vpsorg_async.cli
sys.meta_path.insert(0, Finder())
sys.exit(vpsorg_async.cli.main())
"""


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("SIGINT", "cyclopts"),
        ("SIGTERM", "ssl"),
        ("SIGHUP", "vpsorg_async.cli.servers"),
        ("SIGTERM", "vpsorg_async.http.transport"),
    ],
)
def test_a_signal_during_an_import(start: Start, box: Sandbox, name: str, module: str) -> None:
    """Whatever is imported when the signal comes, it is one line and the exit code, and nothing was sent."""
    with start("servers", "list", script=INTERRUPTED_IMPORT.format(module=module, name=name)) as process:
        out, err = process.communicate()

    assert (process.returncode, out, err) == (128 + signal.Signals[name], "", f"vpsorg: {SAID[name]}\n")
    assert box.requests == ()


SWALLOWED = """
import os, signal, sys
import vpsorg_async.cli.profile_file as profile_file
from vpsorg_async.cli import main

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

config_file = profile_file.config_file
def die():
    Dying()
    return config_file()
profile_file.config_file = die
sys.exit(main())
"""


def test_a_signal_in_a_callback_of_the_interpreter(start: Start, box: Sandbox) -> None:
    """Where the interpreter swallows the exception, the command ends at its next step, before anything is sent."""
    with start("servers", "list", script=SWALLOWED) as process:
        out, err = process.communicate()

    assert (process.returncode, out, err) == (143, "", "vpsorg: ended by SIGTERM\n")
    assert box.requests == ()


@pytest.mark.parametrize("line", [("servers", "list", "--json"), ("watch",)])
def test_a_result_that_nobody_reads(start: Start, box: Sandbox, line: tuple[str, ...]) -> None:
    """A command that is stuck on a pipe ends at the first signal."""
    box.world.add(3000)
    with start(*line) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        process.terminate()
        code = process.wait()
        assert process.stderr is not None
        err = process.stderr.read()

    assert (code, err) == (143, "vpsorg: ended by SIGTERM\n")


@pytest.fixture
def small_pipe() -> tuple[int, int]:
    """A pipe that takes less than a report of forty servers: its two ends, for reading and for writing."""
    if sys.platform != "linux":
        pytest.skip("the size of a pipe is set as Linux does")
    import fcntl

    mine, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    return mine, theirs


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_report_that_nobody_reads(
    start: Start, box: Sandbox, small_pipe: tuple[int, int], unbuffered: str
) -> None:
    """A report that is stuck on a pipe goes to standard error when the third signal comes."""
    mine, theirs = small_pipe
    servers = 40
    new = ("--name", "w-{n}", "--count", str(servers), *NEW)
    env = {"PYTHONUNBUFFERED": unbuffered}
    with start("fleet", "create", *new, "--json", "-q", stdout=theirs, env=env) as fleet:
        assert os.read(mine, 1)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            fleet.send_signal(number)
        assert fleet.stderr is not None
        err = fleet.stderr.read()
    os.close(mine)
    os.close(theirs)

    report, _, said = err.rpartition("vpsorg: ")
    assert json.loads(report)["succeeded"] == servers
    assert said.strip() in SAID.values()
    assert fleet.returncode in (129, 130, 143)


def test_one_signal_ends_a_report_that_nobody_reads(
    start: Start, box: Sandbox, small_pipe: tuple[int, int]
) -> None:
    """A supervisor sends SIGTERM once: the report goes to standard error when the shutdown time is over."""
    mine, theirs = small_pipe
    new = ("--name", "w-{n}", "--count", "40", *NEW)
    with start("fleet", "create", *new, "--json", "-q", stdout=theirs) as fleet:
        assert os.read(mine, 1)
        fleet.send_signal(signal.SIGTERM)
        assert fleet.stderr is not None
        err = fleet.stderr.read()
    os.close(mine)
    os.close(theirs)

    lost, report, said = re.fullmatch(r"(vpsorg: [^\n]*)\n(\{.*\})\n(vpsorg: .*)\n", err, re.DOTALL).groups()  # type: ignore[union-attr]
    assert lost == "vpsorg: standard output can't be written: its reader has stopped reading"
    assert json.loads(report)["succeeded"] == 40
    assert (fleet.returncode, said) == (143, f"vpsorg: {SAID['SIGTERM']}")


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_a_create_without_an_answer_is_reported_where_it_can_be(
    start: Start, box: Sandbox, redirect: str
) -> None:
    """Without a usable standard error, what may have been created is said on standard output."""
    box.faults.add(Rule("create", faults.NeverAnswer(applied=True)))
    with start("servers", "create", "db", *NEW, "--json", redirect=redirect) as command:
        while not box.servers:
            time.sleep(0.01)
        command.terminate()
        out, err = command.communicate()

    assert out.startswith("the create of db had no answer yet")
    assert (command.returncode, err) == (143, "")


def test_a_terminal_that_goes_away_at_a_question(terminal: Any, slow: Sandbox) -> None:
    """Where the terminal goes away instead of an answer, the command ends as SIGHUP does."""
    fleet = terminal(*(word for word in FLEET if word != "--yes"))
    fleet.until("[y/N]")
    fleet.hang_up()

    assert fleet.process.wait() == 129
    assert slow.servers == ()


def test_a_signal_cuts_no_report_short(start: Start, box: Sandbox, small_pipe: tuple[int, int]) -> None:
    """A report that waits for its reader while a signal comes is written whole, also with PYTHONUNBUFFERED."""
    mine, theirs = small_pipe
    new = ("--name", "w-{n}", "--count", "40", *NEW)
    env = {"PYTHONUNBUFFERED": "1"}
    with start("fleet", "create", *new, "--json", "-q", stdout=theirs, env=env) as fleet:
        os.close(theirs)
        report = os.read(mine, 1)
        fleet.send_signal(signal.SIGTERM)
        while got := os.read(mine, 65536):
            report += got
    os.close(mine)

    assert json.loads(report)["succeeded"] == 40
    assert fleet.returncode == 143


@NAMES
def test_the_sandbox_ends(start: Start, name: str) -> None:
    """A signal is how `vpsorg sandbox` is meant to end: exit code 0, no word."""
    with start("sandbox", "--port", "0", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"]
        process.send_signal(signal.Signals[name])
        out, err = process.communicate()

    assert (process.returncode, out, err) == (0, "", "")
