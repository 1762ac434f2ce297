"""`python -m vpsorg_async.sandbox` as a process."""

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def sandbox(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", "-m", "vpsorg_async.sandbox", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    return process.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_json_line_and_clean_end(number: int) -> None:
    """One line of JSON can be read at once; a signal ends it with code 0, silently, even with a client waiting."""
    with sandbox("--port", "0", "--json", "--servers", "3", "--credit", "0", "--token", "tok") as process:
        given = json.loads(first_line(process))
        url, token = given["url"], given["token"]
        request = urllib.request.Request(
            f"{url}/api/v1/servers/", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request) as response:
            assert json.load(response)["count"] == 3
        request.data = b'{"name": "a", "plan_id": 1, "os_id": 5, "location": "us-west"}'
        request.add_header("Content-Type", "application/json")
        with pytest.raises(urllib.error.HTTPError, match="402") as refused:
            urllib.request.urlopen(request)
        refused.value.close()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))):
            assert ended(process, number) == (0, "")
        assert token == "tok"


def test_the_other_dialect() -> None:
    """With --dialect provider the sandbox speaks the other form of the API, in the order that --order says."""
    arguments = ["--dialect", "provider", "--order", "newest", "--servers", "2", "--token", "tok"]
    with sandbox("--port", "0", "--json", *arguments) as process:
        url = json.loads(first_line(process))["url"]
        page = f"{url}/api/v1/servers/?page_size=1"
        request = urllib.request.Request(page, headers={"Authorization": "Bearer tok"})
        with urllib.request.urlopen(request) as response:
            listed = json.load(response)

    assert (listed["count"], listed["next"]) == (2, f"{page}&page=2")
    assert listed["results"][0]["hostname"] == "server-12346"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_printed_curl_line_works() -> None:
    """The greeting shows the URL, the token, and two lines that work when they are pasted into a shell."""
    with sandbox("--port", "0", "--speed", "60", "--seed", "3", "--latency", "0.001") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(7)]
        line = next(line for line in lines if line.startswith("curl"))
        shown = subprocess.run(["sh", "-c", f"{line} -s"], capture_output=True, text=True, check=True)

        assert json.loads(shown.stdout) == {"count": 0, "results": []}
        assert re.fullmatch(r"url +http://127\.0\.0\.1:\d+", lines[1])
        assert re.fullmatch(r"token +vps_sandbox_\w+", lines[2])
        [pasted] = [line for line in lines if line.startswith("export")]
        said = subprocess.run(
            ["sh", "-c", f"{pasted}; env"], capture_output=True, text=True, check=True
        ).stdout
        assert f"VPSORG_BASE_URL={lines[1].split()[1]}\n" in said
        assert f"VPSORG_API_TOKEN={lines[2].split()[1]}\n" in said
        assert ended(process, signal.SIGINT) == (0, "")


def test_a_port_in_use_is_said_in_one_line() -> None:
    """A port that is taken gives code 1 and one line, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with sandbox("--port", port) as process:
            output, errors = process.communicate(timeout=30)

    assert (process.returncode, output) == (1, "")
    assert errors.startswith(f"vpsorg sandbox: cannot listen on 127.0.0.1 port {port}: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--speed", "0"], 1),
        (["--credit", "-1"], 1),
        (["--port", "70000"], 1),
        (["--latency", "nan"], 1),
        (["--token", ""], 1),
        (["--servers", "-1"], 1),
        (["--boot", "soon"], 1),
        (["--boot", "20:5"], 1),
        (["--boot", "-1"], 1),
        (["--ports", "2222"], 1),
        (["--ports", "smtp=25"], 1),
        (["--no-boot", "--ports", "ssh=2222"], 1),
        (["--authorized-keys", "/nowhere"], 1),
        (["--max-listening", "0"], 1),
        (["--port", "x"], 2),
        (["--nonsense"], 2),
        (["--dialect", "klingon"], 2),
    ],
)
def test_bad_arguments(arguments: list[str], code: int) -> None:
    """Arguments that make no sense are refused with a line and a code, no traceback."""
    with sandbox(*arguments) as process:
        output, errors = process.communicate(timeout=30)

    assert (process.returncode, output) == (code, "")
    assert errors
    assert "Traceback" not in errors


def test_nobody_reads() -> None:
    """Output into a closed pipe is no traceback."""
    with sandbox("--port", "0") as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "Traceback" not in errors


def test_servers_answer() -> None:
    """The servers answer by default; the greeting names the ports, and options choose them."""
    arguments = ["--port", "0", "--servers", "1", "--boot", "0", "--ports", "http=8181,tcp=8182,tcp=8183"]
    with sandbox(*arguments, "--max-listening", "7") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        url = lines[1].split()[1]
        with urllib.request.urlopen(f"{url}/_sandbox/listeners") as response:
            (row,) = json.load(response)["results"]
        with urllib.request.urlopen(f"http://{row['host']}:{row['ports']['8181']}/") as response:
            assert response.read() == b"ok\n"

    expected = "ports http 8181, tcp 8182, tcp 8183: 0 to 0 s after active, up to 7 servers"
    assert " ".join(lines[3].split()) == expected
    assert sorted(row["ports"]) == ["8181", "8182", "8183"]


def test_keys_for_all_servers(tmp_path: Path) -> None:
    """A file of keys lets its owner into every server."""
    asyncssh = pytest.importorskip("asyncssh")
    key = asyncssh.generate_private_key("ssh-ed25519")
    keys = tmp_path / "authorized_keys"
    keys.write_bytes(b"# a comment\n\n" + key.export_public_key())

    async def hostname(host: str, port: int) -> object:
        options = {"username": "root", "known_hosts": None, "client_keys": [key], "config": None}
        async with asyncssh.connect(host, port, **options) as connection:
            return (await connection.run("hostname")).stdout

    arguments = ["--port", "0", "--servers", "1", "--ports", "ssh=8222", "--authorized-keys", str(keys)]
    with sandbox("--json", *arguments) as process:
        url = json.loads(first_line(process))["url"]
        with urllib.request.urlopen(f"{url}/_sandbox/listeners") as response:
            (row,) = json.load(response)["results"]
        assert asyncio.run(hostname(row["host"], row["ports"]["8222"])) == "server\n"


def test_servers_that_do_not_answer() -> None:
    """With --no-boot nothing listens, and the greeting has no line about it."""
    with sandbox("--port", "0", "--servers", "1", "--no-boot") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        with urllib.request.urlopen(f"{lines[1].split()[1]}/_sandbox/listeners") as response:
            assert json.load(response) == {"count": 0, "results": []}

    assert lines[3] == "Try:\n"
