"""Ways to run the command: in this process, and as a process of its own."""

import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

import vpsorg_async
from vpsorg_async import Client
from vpsorg_async.cli import main
from vpsorg_async.sandbox import Sandbox

SCRIPT = "import sys; from vpsorg_async.cli import main; sys.exit(main())"
TERMINAL_SETTINGS = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


@frozen
class Ended:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Vpsorg = Callable[..., Ended]


class Terminal:
    """A command at a terminal of 80 by 24; ``columns`` is another width."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        import fcntl
        import pty
        import termios

        self.mine, theirs = pty.openpty()
        environment = {"TERM": "xterm", "COLUMNS": str(options.get("columns", 80)), "LINES": "24"}
        environment["PYTHONPATH"] = str(Path(vpsorg_async.__file__).parents[1])
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            stdin=theirs,
            stdout=options.get("stdout", theirs),
            stderr=theirs,
            env={**os.environ, **environment, **options.get("env", {})},
            start_new_session=True,
            # its terminal, which notifies it when it is hung up
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.seen = ""

    def until(self, text: str | None) -> str:
        """Read until the text was shown, or to the end."""
        while text is None or text not in self.seen:
            if not select.select([self.mine], [], [], 20)[0]:
                raise AssertionError(f"{text!r} was not shown: {self.seen}")
            try:
                got = os.read(self.mine, 65536)
            except OSError:  # the end of a terminal on Linux
                got = b""
            if not got:
                assert text is None, self.seen
                break
            self.seen += got.decode()
        return self.seen

    def type(self, text: str) -> None:
        os.write(self.mine, text.encode())

    def hang_up(self) -> None:
        os.close(self.mine)
        self.mine = -1

    def ended(self) -> int:
        self.until(None)
        return self.process.wait()


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No terminal setting, profile or cache of the user who runs the tests affects them."""
    for name in TERMINAL_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A fast sandbox, whose token and address are in the environment."""
    # a wait polls no sooner than after half a second, which is long for a sandbox in a hurry
    monkeypatch.setitem(Client.__init__.__kwdefaults__ or {}, "min_interval", 0.02)
    with Sandbox(speed=6000, token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        yield box


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox where a create takes minutes, whose token and address are in the environment."""
    with Sandbox(token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        yield box


@pytest.fixture
def vpsorg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vpsorg:
    """Run a command line in this process."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["vpsorg", *arguments])
        code = main()
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start a command line as a process, with the package that is tested here and nothing of the checkout."""

    def run(
        *arguments: str,
        script: str = SCRIPT,
        redirect: str = "",
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        package = str(Path(vpsorg_async.__file__).parents[1])
        # with a redirection of the shell, such as >&-
        shell = ["sh", "-c", f'exec "$@" {redirect}', "sh"] if redirect else []
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*shell, sys.executable, "-W", "error", "-c", script, *arguments],
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": package, **(env or {})},
            **{**pipes, **options},
        )

    return run


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Start a command at a terminal."""
    if sys.platform == "win32":
        pytest.skip("terminals here are POSIX")
    opened: list[Terminal] = []

    def open_(*arguments: str, **options: Any) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        return opened[-1]

    yield open_
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        if one.mine >= 0:
            os.close(one.mine)
