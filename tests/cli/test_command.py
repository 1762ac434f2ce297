"""The command itself: version, help, refusals and exit codes."""

import json
import re
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async import __version__, errors
from vpsorg_async.cli.exits import Exit
from vpsorg_async.cli.root_command import app
from vpsorg_async.fleet_tables import read_fleets
from vpsorg_async.sandbox import SandboxError
from vpsorg_async.spec_tables import read_specs

Start = Callable[..., subprocess.Popen[str]]


@pytest.mark.parametrize("arguments", [["--version"], ["version"], ["demo", "--version"]])
def test_the_version_is_printed(vpsorg: Any, arguments: list[str]) -> None:
    """The version, and nothing else, is printed on standard output."""
    ended = vpsorg(*arguments)

    assert (ended.code, ended.out, ended.err) == (0, f"{__version__}\n", "")


def test_the_version_needs_no_heavy_import(start: Start) -> None:
    """`vpsorg --version` imports neither aiohttp nor the libraries of the terminal."""
    script = "import sys; from vpsorg_async.cli import main; main(); print(*sys.modules)"
    with start("--version", script=script) as process:
        out, err = process.communicate()

    assert err == ""
    assert not {"aiohttp", "rich", "cyclopts", "vpsorg_async.sandbox"} & set(out.split())


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
@pytest.mark.parametrize("arguments", [[], ["demo"], ["--version"]])
def test_a_missing_extra_is_said_in_one_line(
    vpsorg: Any, monkeypatch: pytest.MonkeyPatch, missing: str, arguments: list[str]
) -> None:
    """Without the libraries of the extra, one line says what to install, and the exit code is 2."""
    monkeypatch.setitem(sys.modules, missing, None)

    ended = vpsorg(*arguments)

    assert (ended.code, ended.out) == (2, "")
    assert 'pip install "vpsorg-async[cli]"' in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_commands_and_exit_codes(vpsorg: Any, arguments: list[str]) -> None:
    """The help lists every command and every exit code."""
    ended = vpsorg(*arguments)

    assert (ended.code, ended.err) == (0, "")
    for word in ("demo", "sandbox", "version", *(code.meaning.split(",")[0] for code in Exit)):
        assert word in ended.out


def test_the_page_tells_every_command_and_exit_code() -> None:
    """The page on the command has a row for each exit code and names each command; its TOML files are read."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    blocks = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```$", page, re.M | re.S)]

    assert [code for code in Exit if f"| {code.value} | " not in page] == []
    assert [name for name in app if not name.startswith("-") and f"`{name}" not in page] == []
    assert [list(block) for block in blocks] == [
        ["profile", "profiles"],
        ["defaults", "servers"],
        ["defaults", "fleet"],
    ]
    assert [spec.name for spec in read_specs(blocks[1])] == ["web-01", "db-01"]
    assert [(fleet.name, fleet.count) for fleet in read_fleets(blocks[2])] == [("web-{n:02}", 3)]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", "--servers --speed --seed --json --quiet --svg --debug"),
        (
            "sandbox",
            "--port --speed --credit --seed --token --dialect --order --latency --servers --json --debug",
        ),
    ],
)
def test_help_of_a_command(vpsorg: Any, command: str, options: str) -> None:
    """The help of a command lists its options."""
    ended = vpsorg(command, "--help")

    assert (ended.code, ended.err) == (0, "")
    assert [option for option in options.split() if option not in ended.out] == []


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("nonsense", "nonsense"),
        ("dmeo", 'Did you mean "demo"'),
        ("--nonsense", "--nonsense"),
        ("--debug=perhaps", "--debug"),
        ("demo --nonsense", "--nonsense"),
        ("demo 3", "3"),
        ("demo --servers", "--servers"),
        ("demo --servers many", "many"),
        ("demo --servers 0", "--servers"),
        ("demo --speed 0", "speed"),
        ("demo --speed nan", "speed"),
        ("demo --boot soon", "boot time"),
        ("demo --svg no/such/folder.svg", "no/such"),
        ("sandbox --port 70000", "port"),
        ("sandbox --port x", "--port"),
        ("sandbox --credit -1", "credit"),
        ("sandbox --latency nan", "latency"),
        ("sandbox --dialect french", "dialect"),
        ("sandbox --order best", "order"),
        ("sandbox --servers -1", "count"),
        ("sandbox --boot 20:5", "duration"),
        ("sandbox --ports smtp=25", "smtp"),
        ("sandbox --no-boot --ports ssh=2222", "ports"),
        ("sandbox --authorized-keys no/such", "no/such"),
        ("sandbox --max-listening 0", "max_listening"),
        ("version 3", "3"),
    ],
)
def test_bad_arguments(vpsorg: Any, line: str, named: str) -> None:
    """Bad arguments get one line that names them, exit code 2, and no traceback."""
    ended = vpsorg(*line.split())

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("vpsorg: ")
    assert named in ended.err
    assert ended.err.count("\n") == 1


def test_debug_shows_the_traceback(vpsorg: Any) -> None:
    """With --debug, wherever it stands, the traceback comes before the line; the exit code is the same."""
    for arguments in (["--debug", "demo", "--speed", "0"], ["demo", "--speed", "0", "--debug"]):
        ended = vpsorg(*arguments)

        assert ended.code == 2
        assert ended.err.startswith("Traceback")
        assert ended.err.splitlines()[-1].startswith("vpsorg: speed")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("x"), 2),
        (SandboxError("x"), 2),
        (errors.WaitTimeoutError("x"), 3),
        (errors.OutcomeUnknownError("x"), 4),
        (errors.AuthenticationError("x"), 5),
        (errors.PaymentRequiredError("x"), 5),
        (errors.PermissionDeniedError("x"), 5),
        (errors.FleetError("x", [errors.NotFoundError("x")]), 6),
        (errors.NotFoundError("x"), 1),
        (errors.ConnectError("x"), 1),
        (OSError("x"), 1),
        (ZeroDivisionError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code(
    vpsorg: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """What a command ends with decides the exit code; one line says it, without a traceback."""

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("vpsorg_async.sandbox.__main__.serve", fail)

    ended = vpsorg("sandbox")

    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("vpsorg: ")
    assert ended.err.count("\n") == 1


def test_the_sandbox_serves_until_interrupted(start: Start) -> None:
    """`vpsorg sandbox --json` prints one line with url and token, serves, and ends with 0 on Ctrl-C."""
    with start("sandbox", "--port", "0", "--json", "--servers", "3", "--token", "tok") as process:
        assert process.stdout is not None
        given = json.loads(process.stdout.readline())
        request = urllib.request.Request(
            f"{given['url']}/api/v1/servers/", headers={"Authorization": f"Bearer {given['token']}"}
        )
        with urllib.request.urlopen(request) as response:
            count = json.load(response)["count"]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()

    assert (process.returncode, out, err) == (0, "", "")
    assert (given["token"], count) == ("tok", 3)


def test_a_port_in_use_is_said_in_one_line(vpsorg: Any) -> None:
    """A port that is taken is exit code 2 and a line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = vpsorg("sandbox", "--port", str(port))

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"vpsorg: cannot listen on 127.0.0.1 port {port}")
    assert ended.err.count("\n") == 1


def test_nobody_reads(start: Start) -> None:
    """Output into a closed pipe is no traceback."""
    with start("sandbox", "--port", "0") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate()

    assert (process.returncode, err) == (1, "")
