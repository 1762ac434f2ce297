"""Plant faults one by one, and count those that the tests find: ``python -I tests/mutants --sample 100``.

Cosmic Ray knows where a fault can be planted in the modules that decide on retries, waits and fleets. As many places as
asked for are drawn from them, and one of the faults possible there; ``--seed`` draws others. A copy of the checkout is
changed, never the checkout itself. A fault is found if a test fails twice with it: once can be chance.
"""

import argparse
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from cosmic_ray.commands import init
from cosmic_ray.modules import find_modules
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec

ROOT = Path(__file__).resolve().parents[2]
PLACES = "vpsorg_async/http/retry.py", "vpsorg_async/lifecycle", "vpsorg_async/fleet"
TESTS = "tests/pure tests/lifecycle tests/io tests/odd tests/journal tests/fleet tests/dialects tests/e2e"
EQUIVALENT = re.compile(r"core/ReplaceBinaryOperator_BitOr_")
"""``|`` stands in annotations, which nothing evaluates."""
LONGEST = 600.0
"""Seconds for the tests of one fault; a fault that makes them hang is found."""


def drawn(places: WorkDB, number: int, seed: int) -> list[MutationSpec]:
    """Return as many faults, each at another place of the code. Those of a smaller number are the first of them."""
    by_place: dict[object, list[MutationSpec]] = defaultdict(list)
    for item in places.work_items:
        (fault,) = item.mutations
        if not EQUIVALENT.match(fault.operator_name):
            by_place[fault.module_path, fault.start_pos].append(fault)
    rng = random.Random(seed)
    chosen = sorted(by_place, key=str)
    rng.shuffle(chosen)
    return [rng.choice(by_place[place]) for place in chosen[:number]]


def near(path: Path, folders: list[str]) -> list[str]:
    """Return the tests whose file has the name of this module, or a part of it: they find most faults, and soon."""
    tests = sorted(test for folder in folders for test in Path(folder).rglob("test_*.py"))
    names = {test: test.stem.removeprefix("test_") for test in tests}
    return [str(test) for test, name in names.items() if name in path.stem or path.stem in name]


def main() -> int:
    """Print what became of each fault, and the score."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", default=TESTS)
    given = parser.parse_args()
    pytest = f"{sys.executable} -m pytest -q -x"
    parallel = f"{pytest} --numprocesses=4 --dist=worksteal"

    def command(*first: str) -> str:
        runs = [f"{pytest} {' '.join(first)}"] if first else []
        runs.append(f"{parallel} {given.tests}")
        return f"sh -c '{{ {' && '.join(runs)}; }} || {pytest} --last-failed {given.tests}'"

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "checkout")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".nox", "site", "dist"))
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)
        if subprocess.run(shlex.split(command()), stdout=sys.stderr).returncode:
            sys.exit("the tests fail without a fault")
        with use_db(str(Path(folder, "places.sqlite"))) as places:
            init(find_modules([Path(place) for place in PLACES]), places, {})
            faults = drawn(places, given.sample, given.seed)
        counts = Counter[str]()
        for fault in faults:
            nearest = near(fault.module_path, given.tests.split())
            result = mutate_and_test([fault], command(*nearest), LONGEST)
            found = "found" if result.is_killed else "SURVIVED"
            counts[found] += 1
            where = f"{fault.module_path}:{fault.start_pos[0]}"
            print(f"{found:8} {where} {fault.operator_name.removeprefix('core/')}", flush=True)
            if not result.is_killed:
                print(result.diff, flush=True)
    print(f"{counts['found']} of {len(faults)} faults found")
    return 0


if __name__ == "__main__":
    sys.exit(main())
