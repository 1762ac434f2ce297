"""What it takes to import a library, and how large it is on disk with all that it requires.

``python imports.py time <rounds> <statement>...`` or ``python imports.py size <distribution>...``. A statement that
begins with a dollar is a command of this environment instead.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path


def timed(rounds: int, statements: list[str]) -> dict[str, dict[str, list[float]]]:
    """Wall and CPU seconds of a fresh interpreter that runs each statement, turn about."""
    found: dict[str, dict[str, list[float]]] = {
        statement: {"wall": [], "cpu": []} for statement in statements
    }
    for number in range(rounds + 1):
        for statement in statements:
            if statement.startswith("$ "):
                program, *arguments = statement[2:].split()
                command = [str(Path(sys.executable).with_name(program)), *arguments]
            else:
                command = [sys.executable, "-c", statement]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            wall = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if number:  # the first one writes the bytecode and fills the disk cache
                found[statement]["wall"].append(wall)
                found[statement]["cpu"].append(
                    after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                )
    return found


def size(name: str) -> dict[str, float]:
    """Megabytes and number of the distribution and all that it requires, without extras."""
    todo, done, total = [name], set(), 0
    while todo:
        key = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if key in done:
            continue
        try:
            found = metadata.distribution(key)
        except metadata.PackageNotFoundError:
            continue  # required elsewhere: another system, another Python
        done.add(key)
        for file in found.files or ():
            path = file.locate()
            if path.suffix != ".pyc" and path.is_file():
                total += path.stat().st_size
        for requirement in found.requires or ():
            needed, _, marker = requirement.partition(";")
            if "extra" not in marker:
                todo.append(re.split(r"[^\w.-]", needed.strip())[0])
    return {"megabytes": total / 1e6, "packages": len(done)}


if __name__ == "__main__":
    if sys.argv[1] == "time":
        print(json.dumps(timed(int(sys.argv[2]), sys.argv[3:])))
    else:
        print(json.dumps({name: size(name) for name in sys.argv[2:]}))
