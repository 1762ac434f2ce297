"""The standard streams: whatever is wrong with one of them, nothing is lost, and the exit code stays right."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vpsorg_async.sandbox import Sandbox

pytestmark = pytest.mark.skipif(os.name != "posix", reason="streams are closed by a shell here")

Start = Callable[..., subprocess.Popen[str]]
NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")
WHY = {">/dev/full": "No space left on device", ">&-": "Bad file descriptor"}
ASCII = {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture
def ended(start: Start) -> Callable[..., tuple[int, str, str]]:
    """Run a command to its end, with a redirection."""

    def run(*arguments: str, **options: Any) -> tuple[int, str, str]:
        with start(*arguments, stdin=subprocess.DEVNULL, **options) as process:
            out, err = process.communicate()
        return process.returncode, out, err

    return run


@pytest.mark.parametrize(
    ("line", "redirect"),
    [
        ("servers list", ">/dev/full"),
        ("servers list --json", ">&-"),
        ("wait 12345", ">/dev/full"),
        ("watch", ">&-"),
        ("doctor", ">/dev/full"),
        ("fleet reboot 12345 --help", ">/dev/full"),
        ("version", ">&-"),
        ("--version", ">/dev/full"),
    ],
)
def test_a_result_that_cannot_be_written(ended: Any, box: Sandbox, line: str, redirect: str) -> None:
    """What was read and can't be written is exit code 1 and one line."""
    box.world.add(1)

    code, out, err = ended(*line.split(), redirect=redirect)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert WHY[redirect] in err


@pytest.mark.parametrize(
    ("line", "redirect", "told"),
    [
        ("fleet create --name web-{n} --count 2", ">&-", "12347"),
        ("servers create db", ">/dev/full", "12346"),
        ("servers create db --wait --json", ">&-", '"id": 12346'),
        ("servers stop 12345 --wait", ">/dev/full", "stopped"),
        ("servers reboot 12345", ">&-", "Server is rebooting"),
        ("servers delete 12345", ">/dev/full", "12345 is deleted"),
        ("servers update 12345 --name new", ">&-", "new"),
    ],
)
def test_a_change_that_cannot_be_written(
    ended: Any, box: Sandbox, line: str, redirect: str, told: str
) -> None:
    """A change whose result can't be written keeps its exit code, and the result goes to standard error."""
    box.world.add(1)
    new = NEW if "create" in line else ("--yes",) if "delete" in line else ()

    code, out, err = ended(*line.split(), *new, redirect=redirect)

    assert (code, out) == (0, "")
    assert err.count(f"vpsorg: standard output can't be written: {WHY[redirect]}\n") == 1
    assert told in err


def test_the_exit_code_of_work_that_failed(ended: Any, box: Sandbox) -> None:
    """A fleet of which some failed keeps its exit code where its report can't be written anywhere."""
    box.world.add(1)
    fleet = ("fleet", "reboot", "12345", "1", "--yes")

    assert ended(*fleet, redirect=">&- 2>&-") == (6, "", "")
    assert ended(*fleet, redirect="<&- >&- 2>&-") == (6, "", "")


@pytest.mark.parametrize(
    ("line", "redirect"),
    [
        ("servers list", "2>&-"),
        ("fleet reboot 12345", "2>/dev/full"),
        ("demo --servers 1 --speed 100000", "2>&-"),
    ],
)
def test_a_note_that_cannot_be_written(ended: Any, box: Sandbox, line: str, redirect: str) -> None:
    """A broken standard error changes neither the result nor the exit code."""
    box.world.add(1)

    code, out, err = ended(*line.split(), redirect=redirect)

    assert (code, err) == (0, "")
    assert ("12345" if "demo" not in line else "each alone") in out


def test_notes_that_nobody_reads(start: Start) -> None:
    """A closed pipe on standard error costs no result."""
    mine, theirs = os.pipe()
    os.close(mine)
    with start("demo", "--servers", "1", "--speed", "100000", "--json", stderr=theirs) as process:
        os.close(theirs)
        out, _ = process.communicate()

    assert (process.returncode, json.loads(out)["servers"]) == (0, 1)


@pytest.fixture
def unread() -> Iterator[int]:
    """The end of a pipe whose reader is gone."""
    mine, theirs = os.pipe()
    os.close(mine)
    yield theirs
    os.close(theirs)


@pytest.mark.parametrize("line", ["servers list", "watch", "--help", "version", "sandbox --port 0"])
def test_a_closed_pipe_is_quiet(start: Start, box: Sandbox, unread: int, line: str) -> None:
    """`vpsorg ... | head -1` prints nothing on standard error when head has gone."""
    box.world.add(1)
    with start(*line.split(), stdout=unread) as process:
        _, err = process.communicate()

    assert (process.returncode, err) == (1, "")


def test_a_change_into_a_closed_pipe(start: Start, box: Sandbox, unread: int) -> None:
    """The report of a change whose reader is gone is on standard error."""
    with start("fleet", "create", "--name", "web", *NEW, stdout=unread) as process:
        _, err = process.communicate()

    assert process.returncode == 0
    assert [line.split()[0] for line in err.splitlines()] == ["SERVER", "web", "create:"]


@pytest.mark.parametrize("env", [ASCII, {"PYTHONIOENCODING": "ascii:strict"}], ids=["C", "strict"])
def test_a_narrow_encoding(ended: Any, box: Sandbox, env: dict[str, str]) -> None:
    """A table replaces what can't be encoded; the help and the demo are printed as well."""
    [server] = box.world.add(1)
    box.world.set_status(server.id, "zürich…")

    table = ended("servers", "list", env=env)
    helped, shown = ended("--help", env=env), ended("demo", "--servers", "1", "--speed", "100000", env=env)

    assert (table[0], table[1].splitlines()[1].split()[2], table[2]) == (0, "z?rich?", "")
    assert (helped[0], helped[2], shown[0]) == (0, "", 0)
    assert "each alone" in shown[1]


def test_json_is_ascii(vpsorg: Any, box: Sandbox) -> None:
    """JSON is the same in every encoding."""
    [server] = box.world.add(1)
    box.world.set_status(server.id, "zürich…")

    assert vpsorg("servers", "list", "--json").out.isascii()


@pytest.mark.parametrize("line", ["fleet delete 12345", "servers list --token-file -"])
def test_a_closed_standard_input(ended: Any, box: Sandbox, start: Start, line: str) -> None:
    """Without an answer to a question, or without a token, the command prints one line; exit code 2."""
    box.world.add(1)
    with start(*line.split(), redirect="<&-") as process:
        out, err = process.communicate()

    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert "add --yes" in err or "there is no token in standard input" in err
