#!/usr/bin/env python3
"""The project's commands: ``python3 noxfile.py -s demo``, ``-s tests``; ``-l`` lists them all.

A machine needs Python 3.11 or newer and a package index, nothing else: this file creates an environment with nox and
runs itself there. ``-P 3.12`` uses another Python from PATH.
"""

import sys

if sys.version_info < (3, 11) or sys.platform == "win32":  # older ones get this far, and no further
    sys.exit("noxfile.py needs Python 3.11 or newer, and Linux, macOS or WSL; this is Python " + sys.version)

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
TOOLS = ["nox>=2025.2.9", "hatchling>=1.27", "pip>=25.1"]


def claim(home: Path) -> Path:
    """Return this folder, or the next one that no other run uses, and keep it from other runs until this one ends.

    Installers inherit the lock, so the folder of a killed run is not used while they go on.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return claim(home.with_name(f"{home.name}+"))
    os.set_inheritable(lock, True)
    return home


def environment(name: str, *wanted: str, extras: str | None = None, python: object = None) -> Path:
    """Return the directory of programs that pip installed as wanted, with the wheel and these extras unless None.

    An environment without a seal, which is written last, or whose seal differs from what is wanted or found, is created
    again: no earlier run can do harm. The wheel is built on each run, and installed alone if nothing else has changed.
    """
    base = python if isinstance(python, str) else BASE
    found = (
        shutil.which(f"python{base}")
        or shutil.which(base)
        or sys.exit(f"noxfile.py: no python{base} on PATH")
    )
    home = HOME / (name if base is BASE else f"{name}-{base.strip('/').replace('/', '-')}")
    pip = [*TOOL, "pip", "--python", str(home)] if TOOL else [str(home / "bin/python"), "-Im", "pip"]
    wheel = None if extras is None else build(HOME / "wheel", "wheel")
    recipe = [found, wanted, extras, PROJECT["project"], PROJECT["dependency-groups"]]
    built = wheel.read_bytes() if wheel else b""
    seal, installed = home / "seal.json", home / "installed.whl"
    if not seal.is_file() or seal.read_bytes() != contents(home, recipe):
        print(f"noxfile.py: preparing {home.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
        run("rm", "-rf", str(home))
        run(found, "-Im", "venv", str(home), *(["--without-pip"] if TOOL else []))
        run(*pip, "install", *wanted, *([f"{wheel}[{extras}]"] if wheel else []))
    elif wheel and installed.read_bytes() != built:
        seal.unlink()
        run(*pip, "install", "--force-reinstall", "--no-deps", str(wheel))
    installed.write_bytes(built)
    seal.write_bytes(contents(home, recipe))
    return home / "bin"


def contents(home: Path, recipe: list[Any]) -> bytes:
    """Return the seal of an environment: its place, interpreter, programs, top-level packages, and their origin."""
    found = chain(home.glob("*.whl"), home.glob("bin/*"), home.glob("lib/python*/site-packages/*"))
    names = sorted(path.name for path in found if path.exists())
    return json.dumps([str(home), os.path.realpath(home / "bin/python"), names, recipe]).encode()


def build(folder: Path, *targets: str) -> Path:
    """Build the package into an emptied folder; the same sources give the same bytes."""
    shutil.rmtree(folder, ignore_errors=True)
    run(*TOOL, "hatchling", "build", "-d", str(folder), *(f"-t{target}" for target in targets))
    return next(folder.glob("*.whl"))


def run(*command: str) -> None:
    """Run a command in the checkout; if it fails, show its output and exit."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, close_fds=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nnoxfile.py: this failed, see above: {' '.join(command)}")


for misleading in ("PIP_PREFIX", "PIP_TARGET", "PYTHONHOME", "PYTHONPATH"):
    os.environ.pop(misleading, None)
os.environ |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"}
TOOL: list[str] = []
HOME = Path(sys.prefix).parent
try:
    if HOME.parent != ROOT / ".nox":
        HOME = claim(ROOT / ".nox" / f"{Path(BASE).name}-{hashlib.sha256(BASE.encode()).hexdigest()[:6]}")
    TOOL = [str(environment("nox", *TOOLS) / "python"), "-Im"]
    if __name__ == "__main__" and Path(sys.prefix) != HOME / "nox":
        os.execv(TOOL[0], [TOOL[0], "-I", str(ROOT / "noxfile.py"), *sys.argv[1:]])
except KeyboardInterrupt:
    sys.exit(130)
except OSError as error:
    sys.exit(f"noxfile.py: {error}")

import nox  # noqa: E402

nox.needs_version = TOOLS[0].removeprefix("nox")
nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests", "lint", "typing"]
logging.getLogger("nox").setLevel("ERROR" if "demo" in sys.argv else "SUCCESS")

NEEDED = [*PROJECT["project"]["dependencies"], *chain(*PROJECT["project"]["optional-dependencies"].values())]
OLDEST = [re.sub(r">=([^,;]+)[^;]*", r"==\1", requirement, count=1) for requirement in NEEDED]
PYTHONS = [f"3.{minor}" for minor in range(11, 16) if shutil.which(f"python3.{minor}")]
PARALLEL = "pytest -- --numprocesses=4 --dist=worksteal"  # on 2 cores as well: tests wait for servers


def add(name: str, says: str, groups: str, *commands: str, **options: Any) -> None:
    """Add a session that runs commands in the environment of groups of requirements, with the built wheel.

    Arguments after -- go to the last command, instead of those that follow a -- of its own. ``options``: ``python``,
    ``extras`` of the wheel (None: no wheel), ``also`` (requirements), ``beside`` (programs, each installed by itself).
    """

    def session(session: nox.Session) -> None:
        wanted = [*options.get("also", []), *(f"--group={group}" for group in groups.split())]
        home = name if "also" in options else groups.replace(" ", "-") or "demo"
        programs = environment(home, *wanted, extras=options.get("extras", "cli"), python=session.python)
        path = [programs, *(environment(other, other) for other in options.get("beside", []))]
        session.env["PATH"] = os.pathsep.join([*map(str, path), os.environ["PATH"]])
        for command in commands:
            fixed, _, default = command.partition(" -- ")
            program, *words = fixed.split()
            words += (command is commands[-1] and session.posargs) or default.split()
            session.run(programs / program, *words, stderr=None, interrupt_timeout=10)

    session.__doc__ = says
    nox.session(name=name, python=options.get("python"))(session)


@nox.session
def pythons(session: nox.Session) -> None:
    """Run all tests on each Python that PATH has."""
    for version in PYTHONS:
        session.notify(f"pythons-{version}")


add("demo", "Run the demo against the sandbox.", "", "vpsorg demo")
add("tests", "Run all tests against the built wheel, or pytest with the arguments.", "tests", PARALLEL)
for version in PYTHONS:
    add(f"pythons-{version}", f"Run all tests on Python {version}.", "tests", PARALLEL, python=version)
add("smoke", "Run a selection of the tests.", "tests", f"{PARALLEL} tests/test_house.py tests/e2e tests/pure")
add("lowest", "Run all tests with the oldest dependencies.", "tests", PARALLEL, also=OLDEST)
CONTRACT = "pytest tests/openapi tests/examples/test_fastapi_service.py"
add("contract", "Check the sandbox against the API's description and samples.", "contract", CONTRACT)
DBOS = "pytest -- tests/examples/test_dbos_fleet.py --numprocesses=2"
add("dbos", "Run the example for DBOS, and kill it.", "dbos", DBOS)
TEMPORAL = f"{PARALLEL} tests/temporal tests/cli/test_durable.py"
add("temporal", "Run the tests of workflows on Temporal.", "temporal", TEMPORAL)
ANSIBLE = "pytest -- tests/cli/test_ansible.py"
add("ansible", "Let Ansible use the account as its inventory.", "ansible", ANSIBLE)
AIRFLOW = "pytest -- tests/examples/test_airflow_trigger.py"
add("airflow", "Run the example for Airflow.", "airflow", AIRFLOW)
COVERED = "coverage erase", f"coverage run -m {PARALLEL}", "coverage combine -q", "coverage report"
add("coverage", "Run all tests, and count what they run of the parts that decide.", "coverage", *COVERED)
add("mutants", "Plant faults, and count those that the tests find.", "mutants", "python -I tests/mutants")
add("lint", "Check style and format.", "lint", "ruff check", "ruff format --check", extras=None)
add("format", "Fix style and format.", "lint", "ruff check --fix", "ruff format", extras=None)
COMPLETE = "pyright --verifytypes vpsorg_async --ignoreexternal"
add("typing", "Check the types.", "typing", "mypy", "pyright", COMPLETE, "python -I tests/typing")
add("bench", "Run the benchmarks.", "bench", "python -I benchmarks")
DOCS = "sphinx-build -W --keep-going -q docs site", "python -I docs/questions.py site"
add("docs", "Build the documentation into site/, and ask its search.", "docs", *DOCS, extras="cli,otel,ssh")
add("screens", "Record the terminal screens of the documentation.", "", "python -I docs/screens.py")
BUILD = "hatchling build -c -d dist", "twine check --strict dist/*"
add("build", "Build the wheel and the source archive into dist/.", "build", *BUILD, extras=None)
# long forms of tests
add("fuzz", "Feed mutated answers to calls.", "tests", "/usr/bin/env FUZZ_EXAMPLES=2000 pytest tests/fuzz")
add("chaos", "Run creates under faults and kills.", "tests", "pytest tests/chaos/sweep_fleet.py")
add("crashes", "Kill programs that keep a journal.", "tests", "pytest tests/journal/sweep_crashes.py")
DURABLE = "pytest tests/temporal/sweep_crashes.py tests/temporal/sweep_scale.py"
add("durable", "Kill workers and engines of fleets.", "temporal", DURABLE)
add("cancel", "Cancel calls at every step.", "tests", "pytest tests/ends/sweep_cancellations.py")
PROXIES = "pytest tests/injectors/sweep_proxies.py"
add("faults", "Run calls through HAProxy, nginx, mitmproxy.", "tests", PROXIES, beside=["mitmproxy"])

if __name__ == "__main__":
    nox.main()
