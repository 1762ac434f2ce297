"""Ways to run the command: in this process, and as a process of its own."""

import os
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


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No terminal setting, profile or cache of whoever runs the tests reaches them."""
    for name in TERMINAL_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox in a hurry, whose token and address stand in the environment."""
    # a wait looks no sooner than after half a second, which is long for a sandbox in a hurry
    monkeypatch.setitem(Client.__init__.__kwdefaults__ or {}, "min_interval", 0.02)
    with Sandbox(speed=6000, token="vps_tests") as box:
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

    def run(*arguments: str, script: str = SCRIPT, **options: Any) -> subprocess.Popen[str]:
        package = str(Path(vpsorg_async.__file__).parents[1])
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": package},
            **options,
        )

    return run
