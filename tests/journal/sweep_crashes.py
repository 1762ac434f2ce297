"""A kill at every line that a run executes of the journal, each in a new journal and in one that has been used.

Its name keeps it out of the test command: ``python -m pytest tests/journal/sweep_crashes.py`` runs it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journal.crashes import check, killed, programs

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("new", [True, False], ids=["new", "used"])
async def test_killed_at_every_line(tmp_path: Path, new: bool, figure: Callable[[str], None]) -> None:
    """The next run begins at once, knows of everything that was sent, and removes what is left of the dead one."""
    began = time.monotonic()
    with programs() as process:
        for lines in itertools.count(1):
            file = tmp_path / (str(lines) if new else "") / "fleet.db"
            said = killed(process, file, lines)
            if "closed" in said:
                break
            try:
                await check(file, said)
            except BaseException as failure:
                failure.add_note(f"killed after {lines} lines, having said {said}")
                raise
    assert lines > 300
    figure(f"killed at {lines - 1} lines: {time.monotonic() - began:.0f} s")
