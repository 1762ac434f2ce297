#!/usr/bin/env python3
# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.2.9", "hatchling>=1.27", "pip>=25.1"]
# ///
"""The project's commands: ``python3 noxfile.py -s demo``, ``-s tests``; ``-l`` lists them all.

A machine needs Python >= 3.11 and a package index, nothing else: where nox is missing, this file makes an
environment with it and runs itself there. ``-P 3.12`` uses another Python from PATH.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - older ones come this far, and no further
    sys.exit("noxfile.py needs Python 3.11 or newer; {} is {}.{}".format(sys.executable, *sys.version_info))

import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import IO, Any, NoReturn

try:
    import fcntl
except ModuleNotFoundError:
    sys.exit("noxfile.py needs Linux or macOS; on Windows, run it inside WSL")

ROOT = Path(__file__).resolve().parent
TOOLS: list[str] = json.loads(re.findall(r"(?m)^# dependencies = (.+)$", Path(__file__).read_text())[0])
LOCKS: dict[Path, IO[str]] = {}


def installed(requirement: str) -> bool:
    """Say whether this interpreter has a requirement of the form ``name>=version``."""
    name, floor = requirement.split(">=")
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return [int(n) for n in re.findall(r"\d+", found)] >= [int(n) for n in floor.split(".")]


HAS_TOOLS = all(installed(tool) for tool in TOOLS)


def environment(name: str, requirements: list[str], *, wheel: bool = False, python: object = None) -> Path:
    """Return the directory of an environment that holds the requirements and, if asked, the wheel.

    - A seal, written last, says what an environment was made from and what it held. One without a seal, or with
      a seal that does not match what is wanted and what is found, is made anew: no earlier run can leave harm.
    - An environment is used under a shared lock and changed under an exclusive one. Installers inherit the lock,
      so one that outlives a killed run keeps the next run waiting until it is gone.
    - The wheel is built on each run, and installed when it differs from the one in the environment.
    """
    base, version = interpreter(python)
    home = ROOT / ".nox" / version / name
    home.parent.mkdir(parents=True, exist_ok=True)
    if home not in LOCKS:
        LOCKS[home] = open(f"{home}.lock", "a")  # noqa: SIM115 - held until this process ends
    lock = LOCKS[home]
    with tempfile.TemporaryDirectory() as folder:
        built = build(folder, "wheel") if wheel else None
        recipe = {
            "python": os.path.realpath(base),
            "requirements": sorted(requirements),
            "wheel": built and hashlib.sha256(built.read_bytes()).hexdigest(),
        }
        acquire(lock, fcntl.LOCK_SH, home)
        if sealed(home) != recipe:
            acquire(lock, fcntl.LOCK_EX, home)
            if sealed(home) != recipe:
                make(home, base, recipe, built)
            acquire(lock, fcntl.LOCK_SH, home)
    return home


def interpreter(python: object) -> tuple[str, str]:
    """Return path and version of this interpreter, or of one given as ``3.12``, ``python3.12`` or a path."""
    if not isinstance(python, str):
        return sys.executable, "{}.{}".format(*sys.version_info)
    found = shutil.which(f"python{python}") or shutil.which(python)
    if found is None:
        sys.exit(f"noxfile.py: no python{python} on PATH")
    # what PATH has may be a script that stands for an interpreter (pyenv), so ask it
    answer = run(found, "-Ic", "import sys; print(*sys.version_info[:2], sys.executable)")
    major, minor, path = answer.strip().split(" ", 2)
    return path, f"{major}.{minor}"


def acquire(lock: IO[str], kind: int, home: Path) -> None:
    """Take the lock, or trade the one that is held for it; say so when that means waiting."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"waiting for another run that uses {home.relative_to(ROOT)}")
        fcntl.flock(lock, kind)


def make(home: Path, base: str, recipe: dict[str, Any], wheel: Path | None) -> None:
    """Bring an environment to its recipe: the wheel alone if the rest is right, else everything."""
    pip = [sys.executable, "-Im", "pip", "--python", str(home)]
    if home.is_symlink() or not home.is_dir():
        home.unlink(missing_ok=True)
    before = sealed(home)
    (home / "seal.json").unlink(missing_ok=True)
    if before and wheel and {**before, "wheel": recipe["wheel"]} == recipe:
        run(*pip, "install", "--force-reinstall", "--no-deps", str(wheel))
    else:
        say(f"preparing {home.relative_to(ROOT)} ...")
        if home.exists():
            shutil.rmtree(home)
        if HAS_TOOLS:
            run(base, "-Im", "venv", "--without-pip", str(home))
        else:
            run(base, "-Im", "venv", str(home))
            pip = [str(home / "bin" / "python"), "-Im", "pip"]
        run(*pip, "install", *recipe["requirements"], *([f"{wheel}[cli]"] if wheel else []))
    seal = {"recipe": recipe, "contents": contents(home)}
    (home / "seal.json").write_text(json.dumps(seal), "utf-8")


def sealed(home: Path) -> dict[str, Any] | None:
    """Return the recipe of a whole environment, None for one that is not known to be whole."""
    try:
        seal = json.loads((home / "seal.json").read_text("utf-8"))
        whole = seal["contents"] == contents(home)
        return dict(seal["recipe"]) if whole else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def contents(home: Path) -> list[str]:
    """List what an environment is: its place, its interpreter, its programs and its top-level packages."""
    found = [*home.glob("bin/*"), *home.glob("lib/python*/site-packages/*")]
    names = sorted(path.name for path in found if path.exists())
    return [str(home), os.path.realpath(home / "bin" / "python"), *names]


def build(folder: str, *targets: str) -> Path:
    """Build the package into a folder; the same sources give the same bytes."""
    options = [option for target in targets for option in ("-t", target)]
    run(sys.executable, "-Im", "hatchling", "build", "-d", folder, *options)
    return next(Path(folder).glob("*.whl"))


def run(*command: str) -> str:
    """Run a command in the checkout and return its output; if it fails, show that and end."""
    misleading = {"PIP_PREFIX", "PIP_TARGET", "PIP_USER", "PYTHONHOME", "PYTHONPATH"}
    env = {key: value for key, value in os.environ.items() if key not in misleading}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**env, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[lock.fileno() for lock in LOCKS.values()],
        text=True,
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\nnoxfile.py: this failed, see above: {' '.join(command)}")
    return done.stdout


def say(message: str) -> None:
    print(f"noxfile.py: {message}", file=sys.stderr, flush=True)


def start_over() -> NoReturn:
    """Run this file again, in an environment that has the tools."""
    if not util.find_spec("venv") or not util.find_spec("ensurepip"):
        sys.exit(
            f"noxfile.py: {sys.executable} lacks the modules venv and ensurepip, which make environments.\n"
            "On Debian and Ubuntu they come with: apt install python{}.{}-venv".format(*sys.version_info)
        )
    python = str(environment("nox", TOOLS) / "bin" / "python")
    for lock in LOCKS.values():
        os.set_inheritable(lock.fileno(), True)
    os.execv(python, [python, "-I", str(Path(__file__).resolve()), *sys.argv[1:]])


if __name__ == "__main__" and not HAS_TOOLS:
    try:
        start_over()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"noxfile.py: {error}")

import nox  # noqa: E402
from nox.project import dependency_groups, load_toml  # noqa: E402

nox.needs_version = TOOLS[0].removeprefix("nox")
nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests", "lint", "typing"]
# what is left: sessions that start, end or fail
logging.getLogger("nox").setLevel("SUCCESS")

PYPROJECT = load_toml(ROOT / "pyproject.toml")
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
RUNTIME: list[str] = [*PYPROJECT["project"]["dependencies"], *EXTRAS["cli"]]


def group(*names: str) -> list[str]:
    """The requirements of dependency groups."""
    return list(dependency_groups(PYPROJECT, *names))


@nox.session
def demo(session: nox.Session) -> None:
    """Run the demo against the sandbox. Arguments after -- go to ``vpsorg demo``."""
    env = environment("demo", RUNTIME, wheel=True, python=session.python)
    logging.getLogger("nox").setLevel("ERROR")
    session.run(env / "bin" / "vpsorg", "demo", *session.posargs, stderr=None, interrupt_timeout=10)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests against the built wheel, on all cores up to four. Arguments after -- replace these."""
    env = environment("tests", RUNTIME + group("tests"), wheel=True, python=session.python)
    parallel = ["--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal"]
    session.run(env / "bin" / "python", "-Im", "pytest", *(session.posargs or parallel))


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that are allowed."""
    wanted = RUNTIME + EXTRAS["otel"] + EXTRAS["ssh"]
    pins = [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in wanted]
    env = environment("lowest", pins + group("tests"), wheel=True, python=session.python)
    session.run(env / "bin" / "python", "-Im", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    ruff = environment("lint", group("lint")) / "bin" / "ruff"
    session.run(ruff, "check")
    session.run(ruff, "format", "--check")


@nox.session
def format(session: nox.Session) -> None:
    """Fix style and format where that can be done safely."""
    ruff = environment("lint", group("lint")) / "bin" / "ruff"
    session.run(ruff, "check", "--fix")
    session.run(ruff, "format")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types with mypy and pyright."""
    env = environment("typing", RUNTIME + TOOLS + group("tests", "typing"), python=session.python)
    python = env / "bin" / "python"
    session.run(python, "-Im", "mypy")
    session.run(python, "-Im", "pyright", "--pythonpath", python)
    session.run(python, "-I", "tests/typing")


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks against the built wheel. Arguments after -- go to them."""
    env = environment("bench", RUNTIME + group("bench"), wheel=True, python=session.python)
    session.run(env / "bin" / "python", "-I", "benchmarks", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/, with warnings as errors. Arguments after -- go to sphinx."""
    env = environment("docs", RUNTIME + EXTRAS["otel"] + group("docs"), wheel=True, python=session.python)
    options = ["-W", "--keep-going", "-q", "-b", "html", *session.posargs]
    session.run(env / "bin" / "python", "-Im", "sphinx", *options, "docs", "site")


@nox.session
def screens(session: nox.Session) -> None:
    """Record the terminal screens of the documentation, in tmux, against the sandbox."""
    env = environment("demo", RUNTIME, wheel=True, python=session.python)
    session.run(env / "bin" / "python", "-I", "docs/screens.py", interrupt_timeout=10)


@nox.session
def contract(session: nox.Session) -> None:
    """Check the sandbox against docs/openapi.yaml, and the example that needs a web framework.

    Arguments after -- go to pytest. The client is checked against a mock of the description where prism is installed.
    """
    env = environment("contract", RUNTIME + group("tests", "contract"), wheel=True, python=session.python)
    tests = ["tests/openapi", "tests/examples/test_fastapi_service.py", *session.posargs]
    session.run(env / "bin" / "python", "-Im", "pytest", *tests)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Feed thousands of mutated answers to every endpoint. Arguments after -- go to pytest."""
    env = environment("tests", RUNTIME + group("tests"), wheel=True, python=session.python)
    python = env / "bin" / "python"
    session.run(python, "-Im", "pytest", "tests/fuzz", *session.posargs, env={"FUZZ_EXAMPLES": "2000"})


@nox.session
def chaos(session: nox.Session) -> None:
    """Run thousands of creates under faults, cancellations and kills, at fixed seeds."""
    env = environment("tests", RUNTIME + group("tests"), wheel=True, python=session.python)
    session.run(env / "bin" / "python", "-Im", "pytest", "tests/chaos/sweep_fleet.py", *session.posargs)


@nox.session
def cancel(session: nox.Session) -> None:
    """Cancel every kind of call at every step of the event loop, once and twice. Arguments after -- go to pytest."""
    env = environment("tests", RUNTIME + group("tests"), wheel=True, python=session.python)
    sweep = ["tests/ends/sweep_cancellations.py", *session.posargs]
    session.run(env / "bin" / "python", "-Im", "pytest", *sweep)


@nox.session
def faults(session: nox.Session) -> None:
    """Run HAProxy, nginx and mitmproxy in front of the sandbox. Proxies that are not installed are skipped."""
    env = environment("tests", RUNTIME + group("tests"), wheel=True, python=session.python)
    mitm = environment("mitmproxy", ["mitmproxy>=11"], python=session.python)
    sweep = ["tests/injectors/sweep_proxies.py", *session.posargs]
    found = {"MITMDUMP": str(mitm / "bin" / "mitmdump")}
    session.run(env / "bin" / "python", "-Im", "pytest", *sweep, env=found)


@nox.session(name="build")
def build_session(session: nox.Session) -> None:
    """Build the wheel and the source archive into dist/."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    build("dist", "sdist", "wheel")
    say("built " + " and ".join(sorted(f"dist/{path.name}" for path in (ROOT / "dist").glob("vpsorg*"))))


if __name__ == "__main__":
    os.environ["NOX_SCRIPT_MODE"] = "none"
    os.environ.pop("PYTHONPATH", None)
    nox.main()
