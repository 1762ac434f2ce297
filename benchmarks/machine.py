"""The processes of a run, the cores they stay on, and what is told of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
# with two cores the server has one of its own, and all clients share the other, one at a time
SERVER_CORE, CLIENT_CORE = ([str(CORES[1])], [str(CORES[0])]) if len(CORES) > 1 else ([], [])


STEADY_HEAP = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""Settings of glibc's allocator: freed memory stays with the process.

Without them, chance decides whether an answer of 3 MB costs 1,600 page faults, which is three times the CPU of reading
it. Then the ratio of two libraries says more about the allocator than about them.
"""


def start(python: str, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A process of one of the scripts beside this one."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    # where things lie in memory and in dictionaries moves a process by several percent: each start draws anew
    env["PYTHONHASHSEED"] = str(random.randrange(1, 2**32))
    env |= environment
    return subprocess.Popen(
        [python, str(HERE / script), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )


class Process:
    """A script that reads commands from its stdin, and ends with it."""

    def __init__(self, python: str, script: str, *arguments: str, **environment: str) -> None:
        self._process = start(python, script, *arguments, **environment)
        self.first_line = self._line()

    def ask(self, **work: Any) -> dict[str, float]:
        """Hand over a piece of work, and return what it cost."""
        self._pipe(self._process.stdin).write(json.dumps(work) + "\n")
        self._pipe(self._process.stdin).flush()
        return dict(json.loads(self._line()))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe(self._process.stdin).close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()

    def _line(self) -> str:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended early")
        return line.strip()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


class Server(Process):
    """The server of the benchmarks."""

    def __init__(self) -> None:
        super().__init__(sys.executable, "server.py", *SERVER_CORE)
        self.port, self.loop = self.first_line.split()


class Client(Process):
    """One of the libraries, warm and waiting for work."""

    def __init__(self, python: str, name: str, port: str) -> None:
        super().__init__(python, "clients.py", name, port, *CLIENT_CORE, **STEADY_HEAP)


def once(python: str, script: str, *arguments: str) -> Any:
    """Run a script to its end, and return the JSON that it prints."""
    process = start(python, script, *arguments)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{script} {' '.join(arguments)} failed with {process.returncode}")
    return json.loads(output)


def about() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu(),
        "cores": len(CORES) or os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


def _cpu() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(*names: str) -> dict[str, str]:
    """The versions of those that are installed here."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
