"""The page of the benchmarks is made from saved results, whatever parts they have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SAVED: dict[str, Any] = json.loads((ROOT / "benchmarks" / "baseline.json").read_text("utf-8"))
SECTIONS = {
    "get": "## One server read",
    "list": "## Lists",
    "fleet": "## Create and wait",
    "growth": "## Growing fleets",
    "account": "## Large accounts",
    "python": "## Newer Python",
    "waiters": "## Many waiters",
    "ends": "## The end of a fleet",
    "simulation": "## How often to poll",
    "import": "## Import and size",
}
FLEET = {
    "wall": 6.5,
    "cpu": 0.3,
    "ideal": 6.0,
    "lag_mean": 0.1,
    "lag_p99": 0.15,
    "reads": 30,
    "connections": 100,
    "megabytes": 10.0,
    "peak": 50.0,
    "peak_imported": 40.0,
    "rounds": 5,
    "cpu_by_hand": 1.20,
    "cpu_by_plain": 0.85,
    "wall_by_better": 1.003,
    "wall_by_ideal": 1.08,
    "reads_beyond_hand": 1,
}


def made(results: dict[str, Any], folder: Path) -> str:
    """The page that the command writes from these results."""
    saved = folder / "results.json"
    saved.write_text(json.dumps(results), "utf-8")
    command = [sys.executable, "-I", str(ROOT / "benchmarks"), "--page", "--results", str(saved)]
    done = subprocess.run([*command, "--folder", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (folder / "benchmarks.md").read_text("utf-8")


def test_the_saved_results_make_a_page_with_a_section_for_each_part(tmp_path: Path) -> None:
    page = made(SAVED, tmp_path)
    assert {part: title in page for part, title in SECTIONS.items()} == {
        part: part in SAVED for part in SECTIONS
    }
    assert page.index("| create and wait |") < page.index("## Limits") < page.index("## How it is measured")


@pytest.mark.parametrize("left", ["nothing", "server", "waiters", "fleet"])
def test_parts_that_were_not_measured_are_left_out(left: str, tmp_path: Path) -> None:
    results = {name: value for name, value in SAVED.items() if name not in SECTIONS or name == left}
    page = made(results, tmp_path)
    assert [part for part, title in SECTIONS.items() if title in page] == [left] * (left in SECTIONS)


def test_a_limit_that_is_missed_is_told_with_its_cause_and_one_that_is_kept_is_not(tmp_path: Path) -> None:
    ours = FLEET | {"cpu_by_hand": 1.50}
    fleets = {"1000": {"vpsorg": ours, "aiohttp_shared": FLEET | {"reads": 29, "reads_beyond_hand": 0}}}
    page = made(SAVED | {"fleet": fleets}, tmp_path)
    by_hand, plain = (
        next(
            line
            for line in page.splitlines()
            if line.startswith(f"| create and wait, 1,000 servers: CPU {way}")
        )
        for way in ("relative to by hand", "relative to the plain way")
    )
    assert by_hand.endswith("| 1.25 | 1.50 | **missed, by 20%** |")
    assert plain.endswith("| 0.9 | 0.85 |  |")
    assert "- create and wait, 1,000 servers: CPU relative to by hand: " in page
    assert "- create and wait, 1,000 servers: CPU relative to the plain way: " not in page
    assert "| create and wait, 1,000 servers: polls, at most by hand + 1 | 30 | 30 |  |" in page


def test_a_newer_python_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = {"why": "no Python 3.14 on the machine", "version": ""}
    assert "Not measured: no Python 3.14 on the machine." in made(SAVED | {"python": missing}, tmp_path)
