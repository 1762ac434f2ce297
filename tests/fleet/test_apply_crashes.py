"""`apply` that is killed and run again with its journal; the session ``crashes`` does this many times."""

from __future__ import annotations

import random
from pathlib import Path

from tests.fleet.apply_crashes import course


def test_killed_again_and_again(tmp_path: Path) -> None:
    """The next run gets to the same end, in which no server was created or deleted twice."""
    assert any(course(tmp_path, random.Random(1), kills=3))
