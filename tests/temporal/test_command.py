"""``vpsorg worker`` and fleet commands on Temporal, as processes, with the development server that a worker starts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

import vpsorg_async
from vpsorg_async.pytest_plugin import assert_committed, assert_no_duplicates
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.sandbox.catalogue import uuid

SCRIPT = "import sys; from vpsorg_async.cli import main; sys.exit(main())"
SPECS = ("--plan-id", "1", "--os-id", "5", "--location", "us-west")

pytestmark = pytest.mark.timeout(120)


@frozen
class Machine:
    """A machine with the command: its home folder, its account, and the address of its engine."""

    box: Sandbox
    folder: Path
    program: str
    dialect: str = "documented"
    port: int = field(init=False)

    @port.default
    def _free(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return int(server.getsockname()[1])

    def start(
        self, *words: str, stdin: int | None = None, stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Start a command line."""
        environ = {
            "PYTHONPATH": str(Path(vpsorg_async.__file__).parents[1]),
            "VPSORG_API_TOKEN": self.box.token,
            "VPSORG_BASE_URL": self.box.url,
            "VPSORG_DIALECT": self.dialect,
            "TEMPORAL_CLI": self.program,
            "TEMPORAL_ADDRESS": f"127.0.0.1:{self.port}",
            "TEMPORAL_CONFIG_FILE": os.devnull,
            **{
                name: str(self.folder)
                for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
            },
        }
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *words],
            cwd=self.folder,
            env={**os.environ, **environ},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    @contextmanager
    def at_terminal(self, *words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
        """Start a command line at a terminal, and return it with the other end of the terminal."""
        mine, theirs = os.openpty()
        try:
            with self.start(*words, stdin=theirs, stderr=theirs) as process:
                os.close(theirs)
                yield process, mine
        finally:
            os.close(mine)

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command line, and return the exit code and both outputs."""
        with self.start(*words) as process:
            printed, complaints = process.communicate(timeout=100)
        return process.returncode, printed, complaints

    def fleet(self, *words: str, name: str = "web", count: int = 8) -> tuple[int, Any, str]:
        """Run a fleet command on Temporal, and return the exit code, the document and the notes."""
        selection = (
            "--name",
            f"{name}-{{n}}",
            "--count",
            str(count),
            *(SPECS if words[0] in CREATES else ()),
        )
        code, printed, complaints = self.run(
            "fleet", *words, *selection, "--on", "temporal", "--yes", "--json"
        )
        return code, json.loads(printed) if printed else None, complaints

    @contextmanager
    def worker(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A worker that is ready; it is ended by SIGTERM."""
        process = self.start("worker", "--dev", *words)
        lines = []
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "worker of the task queue" in line:
                break
        else:
            raise AssertionError(lines)
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that a worker does."""
        while not reached():
            time.sleep(0.02)


CREATES = ("create", "ensure")


@pytest.fixture
def machine(program: str, tmp_path: Path) -> Iterator[Machine]:
    """A machine with an account of its own."""
    with Sandbox(speed=60, seed=1) as box:
        made = Machine(box, tmp_path, program)
        yield made
        stop_engine(made)


def stop_engine(machine: Machine) -> None:
    """End a development server that a killed worker left, by its command line."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"start-dev" in words and str(machine.port).encode() in words:
            os.kill(int(entry.parent.name), signal.SIGTERM)


def test_a_fleet_from_create_to_delete(machine: Machine) -> None:
    """One machine, one worker: ensure, status, rolling reboot, delete; SIGTERM ends the worker with 0."""
    with machine.worker() as worker:
        code, ensured, notes = machine.fleet("ensure", "--id", "web")
        assert (code, {row["how"] for row in ensured["rows"]}) == (0, {"created"}), notes
        assert "ensure: 8 succeeded, 0 failed, 0 skipped" in notes
        code, printed, _ = machine.run("fleet", "status", "web", "--rows", "--json")
        found = json.loads(printed)
        assert (code, found["state"], found["succeeded"], len(found["rows"])) == (0, "completed", 8, 8)
        code, rebooted, notes = machine.fleet("rolling-reboot", "--id", "roll", count=3)
        assert (code, len(rebooted["rows"])) == (0, 3), notes
        code, deleted, notes = machine.fleet("delete", "--id", "gone")
        assert (code, {row["how"] for row in deleted["rows"]}) == (0, {"deleted"}), notes
        code, deleted, notes = machine.fleet("delete", "--id", "gone")
        assert (code, len(machine.box.ledger)) == (0, 19), (deleted, notes)

    assert worker.returncode == 0
    assert_committed(machine.box, create=8, reboot=3, delete=8)


def test_a_killed_worker(machine: Machine) -> None:
    """A worker is killed in the middle; the next one completes the fleet, and the command that waits prints it."""
    with machine.worker() as first:
        waiting = machine.start(
            *("fleet", "ensure", "--name", "web-{n}", "--count", "40", *SPECS, "--yes", "--json"),
            *("--on", "temporal", "--id", "web", "--settle", "3"),
        )
        machine.until(lambda: len(machine.box.ledger) >= 10)
        first.kill()
    with machine.worker():
        printed, complaints = waiting.communicate(timeout=100)

    assert waiting.returncode == 0, complaints
    assert len(json.loads(printed)["rows"]) == 40
    assert_committed(machine.box, create=40)
    assert_no_duplicates(machine.box)


def test_a_restart_of_the_engine(machine: Machine) -> None:
    """A fleet that was begun goes on after its worker and its engine were ended, from the file of the engine."""
    with machine.worker():
        code, _, _ = machine.fleet("ensure", "--id", "web", "--detach", count=20)
        assert code == 0
        machine.until(lambda: len(machine.box.ledger) >= 5)
    with machine.worker():
        code, document, notes = machine.fleet("ensure", "--id", "web", count=20)

    assert (code, document and len(document["rows"])) == (0, 20), notes
    assert_committed(machine.box, create=20)


def test_the_death_of_the_engine(machine: Machine) -> None:
    """The worker that started the engine says that it is gone, and ends as usual."""
    with machine.worker() as worker:
        stop_engine(machine)
        assert worker.stderr is not None
        line = next(line for line in worker.stderr if line.startswith("vpsorg: "))

    assert line.startswith("vpsorg: Temporal has ended with exit code ")
    assert worker.returncode == 0


FLEET = """
[[fleet]]
name = "web-{n:02}"
count = 5
plan_id = 1
os_id = 5
location = "us-west"
"""


def test_fleets_of_a_file(machine: Machine) -> None:
    """apply shows the plan of the workflow and asks: without a terminal nothing is sent, and with --yes all of it."""
    file = machine.folder / "fleet.toml"
    file.write_text(FLEET)
    words = ("fleet", "apply", "--file", "fleet.toml", "--on", "temporal", "--id", "web", "--json")
    machine.box.world.add(name="web-03")
    with machine.worker():
        code, printed, notes = machine.run(*words)
        assert (code, printed) == (2, ""), notes
        assert "Create 4 servers (web-01, web-02, web-04" in notes
        assert "add --yes" in notes
        assert machine.box.ledger == ()
        assert json.loads(machine.run("fleet", "status", "web", "--json")[1])["state"] == "failed"
        code, printed, notes = machine.run(*words, "--yes")
        assert (code, len(json.loads(printed)["rows"])) == (0, 5), notes
        code, printed, notes = machine.run(*words)
        assert (code, len(json.loads(printed)["rows"])) == (0, 5), notes
        file.write_text(FLEET.replace("5\nplan", "1\nplan"))
        code, printed, notes = machine.run(*words, "--prune", "--yes")
        assert (code, printed) == (5, ""), notes
        assert "4 of 5 servers would be deleted, and max_deletes" in notes

    assert_committed(machine.box, create=4)


@pytest.mark.parametrize("answer", ["y", "n"])
def test_the_plan_of_a_workflow_is_approved_at_a_terminal(machine: Machine, answer: str) -> None:
    """What is shown is the plan of the workflow, which goes on after yes, and sends nothing after no."""
    (machine.folder / "fleet.toml").write_text(FLEET)
    with machine.worker():
        words = ("fleet", "apply", "--file", "fleet.toml", "--on", "temporal", "--id", "web")
        with machine.at_terminal(*words) as (process, mine):
            shown = ""
            while "[y/N]" not in shown:
                shown += os.read(mine, 4096).decode()
            assert machine.box.ledger == ()
            os.write(mine, f"{answer}\n".encode())
            while process.poll() is None:
                with suppress(OSError):
                    shown += os.read(mine, 4096).decode()

    assert "+ create web-05" in shown
    assert process.returncode == (0 if answer == "y" else 1), shown
    assert_committed(machine.box, **({"create": 5} if answer == "y" else {}))


def test_a_no_after_the_yes_of_another_command(machine: Machine) -> None:
    """Two commands ask about one plan: once it is approved, the no of the other one does not end the workflow."""
    (machine.folder / "fleet.toml").write_text(FLEET)
    words = ("fleet", "apply", "--file", "fleet.toml", "--on", "temporal", "--id", "web")
    with machine.worker(), machine.at_terminal(*words) as (late, mine):
        shown = ""
        while "[y/N]" not in shown:
            shown += os.read(mine, 4096).decode()
        with machine.at_terminal(*words) as (early, theirs):
            said = ""
            while "[y/N]" not in said:
                said += os.read(theirs, 4096).decode()
            os.write(theirs, b"y\n")
            while not machine.box.ledger:
                time.sleep(0.01)
            os.write(mine, b"n\n")
            for process, end in ((late, mine), (early, theirs)):
                while process.poll() is None:
                    with suppress(OSError):
                        shown += os.read(end, 4096).decode()

    assert (late.returncode, early.returncode) == (1, 0), shown
    assert "was decided by another command" in shown
    assert_committed(machine.box, create=5)


def test_the_engine_goes_on_with_another_worker(machine: Machine) -> None:
    """Two workers on one machine share an engine. It ends with the first one, and the second starts it again."""
    with machine.worker() as first, machine.worker() as second:
        assert machine.fleet("ensure", "--id", "web", count=2)[0] == 0
        first.terminate()
        assert first.wait(timeout=60) == 0
        assert second.stderr is not None
        assert "Temporal listens at" in next(second.stderr)
        code, document, notes = machine.fleet("ensure", "--id", "web", count=3)
        assert (code, len(document["rows"])) == (0, 3), notes

    assert second.returncode == 0
    assert_committed(machine.box, create=3)


def test_two_commands_of_one_fleet(program: str, tmp_path: Path) -> None:
    """While it runs, the same command joins it and another one is refused; pause and resume reach it."""
    ahead = 0.0
    # servers are on their way until an hour is skipped
    with Sandbox(clock=lambda: time.monotonic() + ahead) as box:
        machine = Machine(box, tmp_path, program)
        with machine.worker():
            assert machine.fleet("ensure", "--id", "web", "--detach")[0] == 0
            machine.until(lambda: len(box.ledger) == 8)
            assert machine.run("fleet", "pause", "web")[::2] == (0, "web: paused\n")
            code, document, notes = machine.fleet("ensure", "--id", "web", count=3)
            assert (code, document) == (2, None)
            assert "the fleet web is in progress with another request" in notes
            code, document, notes = machine.fleet("create", "--id", "web")
            assert (code, document) == (2, None)
            assert "the fleet web is in progress with another request" in notes
            code, document, notes = machine.fleet("ensure", "--id", "web", "--task-queue", "vpsorg-other")
            assert (code, document) == (2, None)
            assert "not vpsorg-other" in notes
            assert json.loads(machine.run("fleet", "status", "web", "--json")[1])["paused"] is True
            assert machine.run("fleet", "resume", "web")[::2] == (0, "web: resumed\n")
            ahead = 3600.0
            code, document, notes = machine.fleet("ensure", "--id", "web")
            assert (code, len(document["rows"])) == (0, 8), notes
            code, _, complaints = machine.run("fleet", "pause", "web")
            assert (code, complaints) == (2, "vpsorg: the fleet web is not in progress: it is completed\n")
        stop_engine(machine)
        assert_committed(box, create=8)


def test_a_delete_that_has_begun_is_joined(program: str, tmp_path: Path) -> None:
    """The same command again waits for it, although some of its servers are gone."""
    with Sandbox(speed=60) as box:
        machine = Machine(box, tmp_path, program)
        last = box.world.add(10, name="web")[-1]
        box.faults.add(Rule("delete", faults.Delay(600), path=f"/api/v1/servers/{last.id}/", times=1))
        words = ("fleet", "delete", "--on", "temporal", "--id", "gone", "--yes", "--json", "--name", "web-*")
        with machine.worker() as worker:
            first = machine.start(*words)
            machine.until(lambda: len(box.ledger) >= 9)
            worker.kill()
        second = machine.start(*words)
        assert second.stderr is not None
        joined = second.stderr.readline()
        with machine.worker():
            printed = [waiting.communicate(timeout=100)[0] for waiting in (first, second)]
        stop_engine(machine)
        counts = Counter(change.server_id for change in box.ledger)

    assert joined.startswith("gone: runs on Temporal")
    assert (first.returncode, second.returncode) == (0, 0), printed
    assert [len(json.loads(text)["rows"]) for text in printed] == [10, 10]
    assert (len(counts), set(counts.values())) == (10, {1})


def test_nobody_works(machine: Machine) -> None:
    """Without a worker the command says so, and after Ctrl-C that the fleet goes on; without an engine it fails."""
    code, _, complaints = machine.run("fleet", "status", "web")
    assert code == 1
    where = f"there is no Temporal at 127.0.0.1:{machine.port}"
    assert complaints == f"vpsorg: {where} (Connection refused); vpsorg worker --dev starts one\n"
    with machine.worker("--task-queue", "another"):
        words = ("--name", "web-1", *SPECS, "--yes", "--on", "temporal", "--id", "web")
        with machine.start("fleet", "ensure", *words) as waiting:
            assert waiting.stderr is not None
            told = [waiting.stderr.readline() for _ in range(2)]
            waiting.send_signal(signal.SIGINT)
            _, rest = waiting.communicate(timeout=50)
        assert machine.run("fleet", "pause", "else")[0] == 2

    assert told[1] == "web: no worker of its task queue answers; vpsorg worker starts one\n"
    assert waiting.returncode == 130
    assert "web: goes on without this command; vpsorg fleet status web" in rest
    assert_committed(machine.box)


def test_failures(program: str, tmp_path: Path) -> None:
    """What a worker refuses, and servers that fail, end the command with the exit codes of a run of its own."""
    with Sandbox(speed=60, credit=0) as box:
        box.world.add(1, name="web-1")
        machine = Machine(box, tmp_path, program)
        with machine.worker():
            code, document, notes = machine.fleet("create", "--id", "web")
            assert (code, document) == (2, None)
            assert "web-1" in notes
            code, document, notes = machine.fleet("create", "--id", "db", name="db")
            assert code == 5, notes
            assert {row["outcome"] for row in document["rows"]} <= {"failed", "skipped"}
        stop_engine(machine)
        assert_committed(box)


def test_root_passwords(program: str, tmp_path: Path) -> None:
    """A worker writes them into its file; nothing else has them."""
    with Sandbox(speed=60, dialect="provider") as box:
        machine = Machine(box, tmp_path, program, "provider")
        with machine.worker("--passwords", "safe.txt"):
            code, printed, notes = machine.run(
                *(
                    "fleet",
                    "ensure",
                    "--name",
                    "web-{n}",
                    "--count",
                    "2",
                    "--location",
                    "1",
                    "--yes",
                    "--json",
                ),
                *("--plan-id", str(uuid("plan", 1)), "--os-id", str(uuid("os-version", 5))),
                *("--on", "temporal", "--id", "web"),
            )
            assert code == 0, notes
        kept = [line.split() for line in (tmp_path / "safe.txt").read_text().splitlines()]
        stop_engine(machine)

    assert sorted(name for _, name, _ in kept) == ["web-1", "web-2"]
    files = [file for file in (tmp_path / "vpsorg").rglob("*") if file.is_file()]
    everything = printed + notes + "".join(file.read_bytes().decode("latin-1") for file in files)
    assert "vpsorg.FleetEnsure" in everything
    assert str(uuid("plan", 1)) in everything.replace(printed, "")
    assert [secret for *_, secret in [*kept, (box.token,)] if secret in everything] == []
