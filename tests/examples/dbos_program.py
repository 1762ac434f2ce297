"""The DBOS example as a process, which can be killed at any moment."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import field, frozen

from vpsorg_async.sandbox import Sandbox

EXAMPLE = Path(__file__).parents[2] / "examples" / "dbos_fleet.py"
POSTGRES = os.environ.get("DBOS_POSTGRES", "")
"""The URL of a database of Postgres that the tests may fill; without it they use SQLite."""


@frozen
class Account:
    """A sandbox, and the database of the example's workflows."""

    box: Sandbox
    folder: Path
    script: Path = EXAMPLE
    environ: Mapping[str, str] = field(factory=dict)
    name: str = field(factory=lambda: f"web-{random.randrange(1_000_000)}")

    @contextmanager
    def started(self, count: int, settle: float, *more: str) -> Iterator[subprocess.Popen[str]]:
        """Run the example."""
        words = [self.name, "--count", str(count), "--settle", str(settle), "--executor", self.name, *more]
        if POSTGRES:
            words += ["--database", POSTGRES]
        with subprocess.Popen(
            [sys.executable, str(self.script), *words],
            cwd=self.folder,
            env={**os.environ, "VPSORG_API_TOKEN": self.box.token, "VPSORG_BASE_URL": self.box.url}
            | {**self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def until(self, process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
        """Wait for something that the process does."""
        while not reached():
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)

    def until_created(self, process: subprocess.Popen[str], count: int) -> None:
        """Wait until the account has had so many creates."""
        self.until(process, lambda: len(self.box.ledger) >= count)

    def killed(self, count: int, settle: float, *, at: int) -> None:
        """Run the example, and kill it as soon as the account has had so many creates."""
        with self.started(count, settle) as process:
            self.until_created(process, at)

    def ran(self, count: int, settle: float, *more: str) -> tuple[int, str, str]:
        """Run the example to its end; returns the exit code and what it printed."""
        with self.started(count, settle, *more) as process:
            printed, complaints = process.communicate(timeout=200)
        return process.returncode, printed, complaints
