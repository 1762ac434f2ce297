"""`noxfile.py` brings an environment from any state to the required one."""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

NOXFILE = Path(__file__).parent.parent / "noxfile.py"
SOURCE = NOXFILE.read_text("utf-8")
FUNCTIONS = SOURCE.partition("\nfor misleading")[0]


class Checkout:
    """The part of noxfile.py that creates environments, in a folder of its own, with an installer that only records."""

    def __init__(self, folder: Path) -> None:
        self.module = ModuleType("noxfile")
        self.module.__file__ = str(folder / "noxfile.py")
        (folder / "pyproject.toml").write_text("[project]\n[dependency-groups]\n")
        exec(compile(FUNCTIONS, self.module.__file__, "exec"), vars(self.module))
        self.installs: list[list[str]] = []
        self.wheel = b"first"
        self.run = self.module.run
        tool = [sys.executable, "-Im"]
        vars(self.module).update(HOME=folder / ".nox" / "some", TOOL=tool, run=self.install, build=self.build)

    def install(self, *command: str) -> None:
        if "pip" not in command:
            self.run(*command)
            return
        home = Path(command[command.index("--python") + 1])
        self.installs.append([word for word in command[command.index("install") + 1 :] if "/" not in word])
        site = next(home.glob("lib/python*/site-packages"))
        (site / "something").mkdir(exist_ok=True)

    def build(self, folder: Path, *targets: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "package.whl"
        path.write_bytes(self.wheel)
        return path

    def environment(self, *requirements: str, wheel: bool = False) -> Path:
        programs = self.module.environment("some", *requirements, extras="" if wheel else None)
        assert isinstance(programs, Path)
        return programs.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_an_old_python_is_told_so() -> None:
    """Outdated Pythons can read the file, which checks the version before anything else."""
    statements = ast.parse(SOURCE, feature_version=(3, 8)).body

    assert [type(statement) for statement in statements[:3]] == [ast.Expr, ast.Import, ast.If]
    assert "sys.version_info < (3, 11)" in ast.unparse(statements[2])


def test_a_whole_environment_is_used_again(checkout: Checkout) -> None:
    """A complete environment is used again, and nothing is installed twice."""
    first = checkout.environment("a>=1")
    again = checkout.environment("a>=1")

    assert first == again
    assert checkout.installs == [["a>=1"]]


def test_other_requirements_make_another_environment(checkout: Checkout) -> None:
    """A package that is no longer required is removed."""
    leftover = checkout.environment("a>=1") / "leftover"
    leftover.touch()

    checkout.environment("b>=1")

    assert checkout.installs == [["a>=1"], ["b>=1"]]
    assert not leftover.exists()


def test_a_changed_wheel_replaces_the_installed_one(checkout: Checkout) -> None:
    """Tests never run against outdated sources, and a change does not cost a whole new environment."""
    checkout.environment("a>=1", wheel=True)
    checkout.wheel = b"second"
    checkout.environment("a>=1", wheel=True)
    checkout.environment("a>=1", wheel=True)

    assert checkout.installs == [["a>=1"], ["--force-reinstall", "--no-deps"]]


def kill(checkout: Checkout) -> None:
    """Begin to bring the environment up to date, and be killed in the middle of the installation."""

    def killed(*command: str) -> None:
        checkout.install(*command)
        if "pip" in command:
            raise KeyboardInterrupt

    vars(checkout.module).update(run=killed)
    with pytest.raises(KeyboardInterrupt):
        checkout.environment("a>=1", wheel=True)
    vars(checkout.module).update(run=checkout.install)


def test_an_interrupted_installation_starts_afresh(checkout: Checkout) -> None:
    """What a killed installer has left behind is not mistaken for a complete environment."""
    kill(checkout)

    checkout.environment("a>=1", wheel=True)

    assert checkout.installs == [["a>=1"], ["a>=1"]]


def test_an_interrupted_update_starts_afresh(checkout: Checkout) -> None:
    """An environment that was interrupted between two wheels is rebuilt, even if the sources return to the first."""
    checkout.environment("a>=1", wheel=True)
    checkout.wheel = b"second"
    kill(checkout)
    checkout.wheel = b"first"

    checkout.environment("a>=1", wheel=True)

    assert checkout.installs == [["a>=1"], ["--force-reinstall", "--no-deps"], ["a>=1"]]


def truncated_seal(home: Path) -> None:
    seal = home / "seal.json"
    seal.write_text(seal.read_text()[:20])


def nonsense_seal(home: Path) -> None:
    (home / "seal.json").write_text("[1]")


def package_missing(home: Path) -> None:
    next(home.glob("lib/python*/site-packages/something")).rmdir()


def dangling_python(home: Path) -> None:
    (home / "bin" / "python").unlink()
    (home / "bin" / "python").symlink_to(home / "nowhere")


def foreign_python(home: Path) -> None:
    (home / "bin" / "python").unlink()
    (home / "bin" / "python").symlink_to("/bin/sh")


def only_a_file(home: Path) -> None:
    home.rename(home.with_name("other"))
    home.touch()


def gone(home: Path) -> None:
    home.rename(home.with_name("other"))
    home.symlink_to("nowhere")


@pytest.mark.parametrize(
    "damage",
    [truncated_seal, nonsense_seal, package_missing, dangling_python, foreign_python, only_a_file, gone],
)
def test_a_damaged_environment_is_made_anew(damage: Callable[[Path], None], checkout: Checkout) -> None:
    """Any state but a complete environment is removed and built again."""
    home = checkout.environment("a>=1")
    damage(home)

    assert checkout.environment("a>=1") == home
    assert checkout.installs == [["a>=1"], ["a>=1"]]
    done = subprocess.run(
        [home / "bin" / "python", "-Ic", "import sys; print(sys.prefix)"], capture_output=True
    )
    assert done.stdout.decode().strip() == str(home)


def test_a_copied_checkout_does_not_use_the_old_place(checkout: Checkout, tmp_path: Path) -> None:
    """Programs in an environment hold its path, so a copied environment is created again."""
    checkout.environment("a>=1")
    shutil.copytree(tmp_path / ".nox", tmp_path / "copy" / ".nox", symlinks=True)
    copy = Checkout(tmp_path / "copy")

    copy.environment("a>=1")

    assert copy.installs == [["a>=1"]]


def test_two_runs_do_not_share_a_folder(checkout: Checkout, tmp_path: Path) -> None:
    """A run that finds the folder in use takes another one, and neither waits for the other."""
    first = checkout.module.claim(tmp_path / "python3.11")
    second = checkout.module.claim(tmp_path / "python3.11")

    assert first == tmp_path / "python3.11"
    assert second != first
    assert second.is_dir()


RUN = """
import sys
from pathlib import Path
source, folder, started = sys.argv[1:]
noxfile = {"__file__": f"{folder}/noxfile.py"}
exec(source, noxfile)
noxfile["claim"](Path(folder) / "python3.11")
installer = "import sys; open(sys.argv[1], 'w').close(); sys.stdin.read()"
noxfile["run"](sys.executable, "-c", installer, started)
"""


def test_the_folder_of_a_killed_run_is_free_after_its_installer(checkout: Checkout, tmp_path: Path) -> None:
    """An installer that outlives its run keeps the folder claimed, so that nothing else is installed there."""
    started = tmp_path / "started"
    os.mkfifo(started)
    command = [sys.executable, "-c", RUN, FUNCTIONS, str(tmp_path), str(started)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as run:
        started.read_bytes()
        run.kill()
        run.wait()

        assert checkout.module.claim(tmp_path / "python3.11") != tmp_path / "python3.11"
        assert run.stdin
        run.stdin.close()

    with (tmp_path / "python3.11" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the installer has ended
    assert checkout.module.claim(tmp_path / "python3.11") == tmp_path / "python3.11"
