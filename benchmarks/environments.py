"""The other environments of a run: the libraries of others, and a newer Python with the SDK."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from machine import ROOT

PEERS = [
    "hcloud>=2.27",
    "httpx>=0.28",
    "pydo>=0.44",
    "aiohttp>=3.14",
    "requests>=2.34",
    "scaleway-async>=2.12",
]
NEWER = "3.14"
NEWER_VARIABLE = "VPSORG_BENCH_PYTHON"
"""Names the interpreter that stands for the newer Python; without it, that of PATH is taken."""

VERSIONS = """
import importlib.metadata as m, json, sys
print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))
"""
PACKAGES = "import sys, aiohttp, msgspec, vpsorg_async; print(sys.version.split()[0])"


class Environment:
    """An interpreter with packages. ``python`` is None where there is none, and ``why`` says why."""

    def __init__(self) -> None:
        self.python: str | None = None
        self.why = "left out"
        self.versions: dict[str, str] = {}

    def make(self, base: str, home: Path, requirements: list[str]) -> str | None:
        """Create it, or take the one that is there; return its interpreter."""
        python = home / "bin" / "python"
        seal = home / "requirements.json"
        wanted = json.dumps([base, sys.version, requirements])
        if not seal.is_file() or seal.read_text() != wanted:
            print(f"preparing {home.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
            if not self._done([base, "-Im", "venv", "--clear", str(home)]):
                return None
            if not self._done(pip(python, *requirements)):
                return None
            seal.write_text(wanted)
        return str(python)

    def _done(self, command: list[str]) -> bool:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            self.why = f"{Path(command[0]).name} {' '.join(command[1:4])} failed"
            print(done.stdout[-2000:], file=sys.stderr)
        return not done.returncode


class Peers(Environment):
    """The libraries of others, in an environment of their own: the project's stays as its users have it."""

    def prepare(self) -> None:
        """Make the environment, and note the versions in it."""
        home = ROOT / ".nox" / "{}.{}".format(*sys.version_info) / "bench-peers"
        python = self.make(sys.executable, home, PEERS)
        if python is None:
            return
        names = [requirement.partition(">=")[0] for requirement in PEERS]
        names.remove("aiohttp")
        done = subprocess.run([python, "-Ic", VERSIONS, *names], capture_output=True, text=True)
        if done.returncode:
            self.why = "the libraries in it can't be read"
            return
        self.python, self.why = python, ""
        self.versions = dict(json.loads(done.stdout))


class NewerPython(Environment):
    """The SDK on a newer Python, where the machine has one."""

    version = ""

    def prepare(self) -> None:
        """Find the interpreter, and give it an environment with the SDK if it does not have its packages."""
        base = os.environ.get(NEWER_VARIABLE) or shutil.which(f"python{NEWER}")
        if base is None:
            self.why = f"no Python {NEWER} on the machine"
            return
        python: str | None = base
        if not self.version_of(base, PACKAGES):
            version = self.version_of(base, "import sys; print(sys.version.split()[0])")
            if not version:
                self.why = f"{base} does not run"
                return
            minor = ".".join(version.split(".")[:2])
            python = self.make(base, ROOT / ".nox" / minor / "bench-newer", ["aiohttp>=3.14", "msgspec"])
            # the SDK is that of this checkout, each time
            if python is None or not self._done(pip(Path(python), "--force-reinstall", str(ROOT))):
                return
        assert python is not None
        self.version = self.version_of(python, PACKAGES)
        if self.version:
            self.python, self.why = python, ""
        else:
            self.why = f"the SDK can't be imported by {python}"

    @staticmethod
    def version_of(python: str, code: str) -> str:
        """Run the code, which prints the version; nothing where that fails."""
        try:
            done = subprocess.run([python, "-Ic", code], capture_output=True, text=True)
        except OSError:
            return ""
        return "" if done.returncode else done.stdout.strip()


def pip(python: Path, *arguments: str) -> list[str]:
    return [str(python), "-Im", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
