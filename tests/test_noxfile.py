"""`noxfile.py` brings an environment from any state to the required one."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

NOXFILE = Path(__file__).parent.parent / "noxfile.py"
SOURCE = NOXFILE.read_text("utf-8")
BEFORE_NOX = SOURCE.partition("\nimport nox")[0]


class Checkout:
    """The part of noxfile.py that creates environments, in a folder of its own, with an installer that only records."""

    def __init__(self, folder: Path) -> None:
        self.module = ModuleType("noxfile")
        self.module.__file__ = str(folder / "noxfile.py")
        (folder / "noxfile.py").write_text(SOURCE, "utf-8")
        exec(compile(BEFORE_NOX, self.module.__file__, "exec"), vars(self.module))
        self.installs: list[list[str]] = []
        self.wheel = b"first"
        self.run = self.module.run
        vars(self.module).update(HAS_TOOLS=True, run=self.install, build=self.build)

    def install(self, *command: str) -> str:
        if "pip" not in command:
            return str(self.run(*command))
        home = Path(command[command.index("--python") + 1])
        self.installs.append([word for word in command[command.index("install") + 1 :] if "/" not in word])
        site = next(home.glob("lib/python*/site-packages"))
        (site / "something").mkdir(exist_ok=True)
        return ""

    def build(self, folder: str, *targets: str) -> Path:
        path = Path(folder) / "package.whl"
        path.write_bytes(self.wheel)
        return path

    def environment(self, *requirements: str, wheel: bool = False) -> Path:
        home = self.module.environment("some", list(requirements), wheel=wheel)
        assert isinstance(home, Path)
        return home

    def close(self) -> None:
        for lock in self.module.LOCKS.values():
            lock.close()


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path)
    yield checkout
    checkout.close()


def test_an_old_python_is_told_so() -> None:
    """Outdated Pythons can read the file, which checks the version before anything else."""
    statements = ast.parse(SOURCE, feature_version=(3, 8)).body

    assert [type(statement) for statement in statements[:3]] == [ast.Expr, ast.Import, ast.If]
    assert "sys.version_info < (3, 11)" in ast.unparse(statements[2])


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_missing_module_is_named_without_a_traceback(module: str, tmp_path: Path) -> None:
    """Where the system splits Python into packages, the message says which one to install."""
    (tmp_path / "noxfile.py").write_text(BEFORE_NOX, "utf-8")
    script = f"""
import runpy, sys
from importlib import metadata
sys.modules[{module!r}] = None
metadata.version = lambda name: "0"
runpy.run_path({str(tmp_path / "noxfile.py")!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.returncode == 1
    assert f"apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in done.stderr
    assert "Traceback" not in done.stderr


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

    def killed(*command: str) -> str:
        checkout.install(*command)
        if "pip" in command:
            raise KeyboardInterrupt
        return ""

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
    copy.close()

    assert copy.installs == [["a>=1"]]
