"""Check that mypy and pyright reject what is wrong and accept what is right: ``python tests/typing``.

Every line of ``rejected.py`` that ends with ``# rejected`` must have an error of its own, and no other line one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FILES = {name: HERE / f"{name}.py" for name in ("accepted", "rejected")}


def expected(name: str) -> set[int]:
    """The lines of a program that must be rejected."""
    lines = FILES[name].read_text("utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if re.search(r"# rejected\b", line)}


def mypy() -> dict[str, set[int]]:
    """The lines that mypy rejects, by program."""
    command = ["mypy", "--strict", "--no-error-summary", "--hide-error-context", *map(str, FILES.values())]
    output = run(*command, "--config-file", str(ROOT / "pyproject.toml"))
    found = re.findall(r"(?m)^\S*?(\w+)\.py:(\d+): error:", output)
    return {name: {int(line) for program, line in found if program == name} for name in FILES}


def pyright() -> dict[str, set[int]]:
    """The lines that pyright rejects, by program."""
    command = ["pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, FILES.values())]
    problems = json.loads(run(*command))["generalDiagnostics"]
    errors = [problem for problem in problems if problem["severity"] == "error"]
    return {
        name: {error["range"]["start"]["line"] + 1 for error in errors if Path(error["file"]).stem == name}
        for name in FILES
    }


def run(*command: str) -> str:
    """Run a checker on the checkout, and return what it prints."""
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True).stdout


def main() -> int:
    """Print each line on which a checker is wrong; return their number."""
    wrong = 0
    for checker in (mypy, pyright):
        rejected = checker()
        for name, path in FILES.items():
            want, have = expected(name), rejected[name]
            for line in sorted(want ^ have):
                what = "accepts" if line in want else "rejects"
                print(f"{path.relative_to(ROOT)}:{line}: {checker.__name__} {what} this line")
                wrong += 1
        print(f"{checker.__name__}: {len(rejected['rejected'])} lines rejected")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))
