"""The libraries of others, in an environment of their own: the project's stays as its users have it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from machine import ROOT

REQUIREMENTS = [
    "hcloud>=2.27",
    "httpx>=0.28",
    "pydo>=0.44",
    "aiohttp>=3.14",
    "requests>=2.34",
    "scaleway-async>=2.12",
]
LIBRARIES = ["hcloud", "httpx", "pydo", "requests", "scaleway-async"]

VERSIONS = """
import importlib.metadata as m, json, sys
print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))
"""


class Peers:
    """The environment: ``python`` is None where it could not be made, and ``why`` says why."""

    def __init__(self) -> None:
        self.home = ROOT / ".nox" / "{}.{}".format(*sys.version_info) / "bench-peers"
        self.python: str | None = None
        self.why = ""
        self.versions: dict[str, str] = {}

    def prepare(self) -> None:
        """Make it, or take the one that is there, and note the versions in it."""
        python = self.home / "bin" / "python"
        seal = self.home / "requirements.json"
        wanted = json.dumps([sys.version, REQUIREMENTS])
        if not seal.is_file() or seal.read_text() != wanted:
            print(f"preparing {self.home.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
            pip = [str(python), "-Im", "pip", "install", "--quiet", "--disable-pip-version-check"]
            for command in (
                [sys.executable, "-Im", "venv", "--clear", str(self.home)],
                [*pip, *REQUIREMENTS],
            ):
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                if done.returncode:
                    self.why = f"{Path(command[0]).name} {' '.join(command[1:4])} failed"
                    print(done.stdout[-2000:], file=sys.stderr)
                    return
            seal.write_text(wanted)
        done = subprocess.run([str(python), "-Ic", VERSIONS, *LIBRARIES], capture_output=True, text=True)
        if done.returncode:
            self.why = "the libraries in it can't be read"
            return
        self.python = str(python)
        self.versions = dict(json.loads(done.stdout))
