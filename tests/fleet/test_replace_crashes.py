"""A replacement that is killed and continued with its journal; the session ``crashes`` does this many times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fleet.replace_crashes import course


@pytest.mark.parametrize("names", ["free", "stable"])
def test_killed_again_and_again(tmp_path: Path, names: str) -> None:
    """Each pair is continued as it was: no server is deleted before its own new one has taken over."""
    assert any(course(tmp_path, random.Random(1), count=6, surge=3, kills=3, names=names))
