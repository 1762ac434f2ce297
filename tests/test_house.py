"""The house rules that a machine can check. The rules are data; CONTRIBUTING.md describes the rooms."""

from __future__ import annotations

import ast
import graphlib
import importlib
import importlib.util
import inspect
import itertools
import os
import pickle
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import vpsorg_async
from vpsorg_async import errors

NAME = "vpsorg_async"

# A room is a module or folder of the package. It imports from its own layer and from those further down.
LAYERS: list[set[str]] = [
    {"cli", "pytest_plugin", "temporal"},
    {"__init__", "doctor", "otel", "plain", "shared_client", "sync", "tokens"},
    {"otel_spans"},
    {"client"},
    {"facade"},
    {"options"},
    {"events"},
    {"runtime"},
    {"fleet"},
    {"journal"},
    {"servers", "actions", "admission", "lookups", "raw", "durations_file"},
    {"endpoints"},
    {"changes", "listing"},
    {"answers", "ready"},
    {
        "http",
        "lifecycle",
        "dialects",
        "codec",
        "conversion",
        "error_records",
        "fleet_tables",
        "spec_tables",
        "lenient",
        "config",
        "allowance",
        "sizes",
    },
    {"errors", "hooks", "ownership", "shielding", "timing", "virtual_time", "_version"},
    {"fleet_errors"},
    {"fleet_plan"},
    {"fleet_spec", "replace_policy"},
    {"specs"},
    {"counting", "records", "root_error"},
]
# Neither of a pair imports the other, although their layers would let them.
STRANGERS = [("http", "lifecycle")]
# The sandbox is an independent witness: it imports no other room, and only these import it.
SANDBOX = "sandbox"
KNOW_THE_SANDBOX = {"cli", "pytest_plugin"}
# The rooms that may import each module. A room stands for all of its modules.
HOMES: dict[str, set[str]] = {
    "aiohttp": {"http.pool", "http.transport", "http.resolver", "ready.web", SANDBOX},
    "asyncssh": {"ready.ssh_login", SANDBOX},
    "cattrs": {"conversion"},
    "filelock": {"journal"},
    "msgspec": {"codec", "lenient", "records"},
    "random": {"timing", SANDBOX},
    "sqlite3": {"journal"},
    "time": {"timing", SANDBOX},
    "cyclopts": {"cli"},
    "platformdirs": {"cli"},
    "rich": {"cli"},
    "opentelemetry": {"otel", "otel_spans"},
    "pytest": {"pytest_plugin"},
    "temporalio": {"temporal", "cli"},
}
READS_THE_WALL_CLOCK = {"timing", SANDBOX}
# Modules that `import vpsorg_async` does not import.
LATE = {
    "aiohttp",
    "asyncssh",
    "cattrs",
    "cyclopts",
    "filelock",
    "opentelemetry",
    "platformdirs",
    "rich",
    "sqlite3",
    "temporalio",
    "vpsorg_async.sandbox",
}
# Libraries whose package has another name.
PACKAGES = {"opentelemetry": "opentelemetry-api"}
MAX_LINES = 400
MAX_ATTRIBUTES = 15
MAX_FUNCTION_LINES = 60
# Private names of others: the language's own spelling of public features.
FOREIGN = {
    "os._exit",
    "url._replace",
    "word._name_",
    "type(self)._value2member_map_",
}

PACKAGE = Path(inspect.getfile(vpsorg_async)).parent
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


@cache
def trees() -> dict[str, ast.Module]:
    return {module: ast.parse(path.read_text("utf-8")) for module, path in SOURCES.items()}


def room(module: str) -> str:
    return module.partition(".")[0]


def lives_in(module: str, homes: set[str]) -> bool:
    return any(module == home or module.startswith(f"{home}.") for home in homes)


def imports(module: str) -> Iterator[str]:
    """All imports of a module, absolute, wherever they stand: in a function, under TYPE_CHECKING."""
    package = NAME if module == "__init__" else f"{NAME}.{module}"
    if SOURCES[module].name != "__init__.py":
        package = package.rpartition(".")[0]
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                yield submodule if submodule.removeprefix(f"{NAME}.") in SOURCES else base


def inner_imports(module: str) -> set[str]:
    """The modules of the package that a module imports."""
    found = {name for name in imports(module) if name.partition(".")[0] == NAME}
    return {name.removeprefix(f"{NAME}.") if name != NAME else "__init__" for name in found}


@cache
def inner() -> dict[str, set[str]]:
    return {module: inner_imports(module) for module in SOURCES}


@cache
def outer() -> dict[str, set[str]]:
    return {module: {name.partition(".")[0] for name in imports(module)} - {NAME} for module in SOURCES}


def edges() -> list[tuple[str, str]]:
    return sorted((module, target) for module, targets in inner().items() for target in targets)


def layer(module: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room(module) in rooms)


def test_every_module_has_a_room() -> None:
    """Every module has a place in the layers."""
    known = set().union(*LAYERS, {SANDBOX})

    assert {module for module in SOURCES if room(module) not in known} == set()


def test_imports_run_downward() -> None:
    """No room imports from a layer above its own, TYPE_CHECKING included."""
    within = [(module, target) for module, target in edges() if SANDBOX not in (room(module), room(target))]

    assert [f"{module} -> {target}" for module, target in within if layer(module) > layer(target)] == []


def test_imports_have_no_circles() -> None:
    """The import graph is a tree with shared branches, TYPE_CHECKING included."""
    graphlib.TopologicalSorter(inner()).prepare()


def test_strangers_stay_strangers() -> None:
    """Rooms that exchange their work as plain callables do not import each other."""
    rooms = {(room(module), room(target)) for module, target in edges()}

    assert [pair for pair in STRANGERS if pair in rooms or pair[::-1] in rooms] == []


def test_the_sandbox_is_independent() -> None:
    """The sandbox imports nothing of the rest, and the rest does not import the sandbox."""
    known = {target for module, target in edges() if room(module) == SANDBOX != room(target)}
    known_by = {room(module) for module, target in edges() if room(target) == SANDBOX != room(module)}

    assert known == set()
    assert known_by <= KNOW_THE_SANDBOX


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_is_imported_only_at_home(library: str) -> None:
    """HTTP, decoding, time and chance, and the terminal each have one home."""
    users = {module for module, used in outer().items() if library in used}

    assert {module for module in users if not lives_in(module, HOMES[library])} == set()


def test_the_wall_clock_is_read_only_at_home() -> None:
    """datetime.now and its kin are calls of the clock, not of the code that needs the time."""
    readers = {
        module
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.fullmatch(r"(datetime\.)?(datetime|date)\.(now|utcnow|today)", ast.unparse(node))
    }

    assert {module for module in readers if not lives_in(module, READS_THE_WALL_CLOCK)} == set()


def test_every_library_is_declared() -> None:
    """The package declares every library that it imports; none arrives only as another library's requirement."""
    # not the metadata of an installation, which may be older than the checkout
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    extras = itertools.chain.from_iterable(project["optional-dependencies"].values())
    requirements = [*project["dependencies"], *extras]
    declared = {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}

    used = {PACKAGES.get(library, library) for library in set().union(*outer().values())}
    undeclared = used - declared - sys.stdlib_module_names - {"pytest"}

    assert undeclared == set()


def test_modules_are_short() -> None:
    """A module is one noun that can be read in one sitting."""
    lines = {module: len(path.read_text("utf-8").splitlines()) for module, path in SOURCES.items()}

    assert {module: number for module, number in lines.items() if number > MAX_LINES} == {}


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (n for n in ast.walk(trees()[module]) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def test_functions_are_short() -> None:
    """A function can be read without scrolling."""
    long = {
        f"{module}.{function.name}"
        for module in SOURCES
        for function in functions(module)
        if (function.end_lineno or 0) - function.lineno >= MAX_FUNCTION_LINES
    }

    assert long == set()


def attributes(owner: ast.ClassDef) -> set[str]:
    """The attributes that the methods of a class set."""
    return {
        node.attr
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }


def test_classes_with_state_are_small() -> None:
    """State that changes during waits is spread over objects that can be understood one by one."""
    large = {
        f"{module}.{owner.name}": len(attributes(owner))
        for module in SOURCES
        if room(module) == "lifecycle"
        for owner in ast.walk(trees()[module])
        if isinstance(owner, ast.ClassDef) and len(attributes(owner)) > MAX_ATTRIBUTES
    }

    assert large == {}


def defined(module: str) -> Iterator[str]:
    """The names that a module defines, and the attributes that it sets."""
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def private_of_others(module: str) -> set[str]:
    """The names with a leading underscore that a module uses and does not define."""
    used: dict[str, str] = {}
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            used[ast.unparse(node)] = node.attr
        elif isinstance(node, ast.ImportFrom):
            used.update({alias.name: alias.name for alias in node.names})
    own = {*defined(module), "_version"}
    return {text for text, name in used.items() if re.match("_(?!_)", name) and name not in own}


def test_what_is_private_stays_in_its_module() -> None:
    """No module uses a name with a leading underscore that only another one defines."""
    used = {module: private_of_others(module) - FOREIGN for module in SOURCES}

    assert {module: names for module, names in used.items() if names} == {}


def test_fields_are_written_by_their_owner() -> None:
    """In fleet/ no object sets a field of another: each has a method for its changes."""
    written = [
        f"{module}: {ast.unparse(node)}"
        for module in SOURCES
        if room(module) == "fleet"
        for node in ast.walk(trees()[module])
        if isinstance(node, ast.Attribute)
        and not isinstance(node.ctx, ast.Load)
        and ast.unparse(node.value) != "self"
    ]

    assert written == []


def likeness(name: str) -> str:
    """A word without its ending, so that different forms of one word compare equal."""
    return re.sub(r"(ings?|ers?|e?s|ed|e)$", "", name)


def test_names_of_modules_differ() -> None:
    """No two modules have names that differ by a letter or by an ending."""
    names = sorted({module.rpartition(".")[2] for module in SOURCES})
    pairs = [(a, b) for a in names for b in names if a < b]

    def by_a_letter(a: str, b: str) -> bool:
        short, long = sorted((a, b), key=len)
        if len(short) == len(long):
            return sum(x != y for x, y in zip(a, b, strict=True)) == 1
        return any(long[:n] + long[n + 1 :] == short for n in range(len(long)))

    assert [pair for pair in pairs if likeness(pair[0]) == likeness(pair[1]) or by_a_letter(*pair)] == []


def test_the_map_names_every_module() -> None:
    """CONTRIBUTING.md names every module and the changes that belong there."""
    page = Path(__file__).parents[1] / "CONTRIBUTING.md"
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]

    def named(module: str) -> bool:
        folder, _, name = module.rpartition(".")
        path = f"`{folder}/{name}.py`" if folder else f"`{name}.py`"
        return any(path in row or (folder and f"`{folder}/" in row and f"`{name}.py`" in row) for row in rows)

    modules = [module for module, path in SOURCES.items() if not path.name.startswith("__")]
    assert [module for module in modules if not named(module)] == []


def test_all_is_what_can_be_imported() -> None:
    """``__all__`` is sorted, and names exactly the public attributes of the package."""
    submodules = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    public = {name for name in dir(vpsorg_async) if not name.startswith("_")} - {"annotations"}
    named = [name for name in vpsorg_async.__all__ if not name.startswith("_")]

    assert sorted(set(vpsorg_async.__all__)) == sorted(vpsorg_async.__all__)
    assert public - submodules <= set(named) <= public
    for name in vpsorg_async.__all__:
        assert getattr(vpsorg_async, name) is not None


@pytest.mark.parametrize("module", [name for name in SOURCES if not name.endswith("__main__")])
def test_each_all_holds_true(module: str) -> None:
    """Every name in a module's ``__all__`` exists."""
    if room(module) == "temporal":
        pytest.importorskip("temporalio", reason="the session temporal has it")
    loaded = importlib.import_module(NAME if module == "__init__" else f"{NAME}.{module}")

    assert [name for name in getattr(loaded, "__all__", ()) if not hasattr(loaded, name)] == []


def test_importing_the_package_is_cheap() -> None:
    """The heavy libraries are imported by the modules that use them, not by ``import vpsorg_async``."""
    script = "import sys; before = {*sys.modules}; import vpsorg_async; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-Ic", script], capture_output=True, text=True, check=True)

    assert LATE & set(done.stdout.split()) == set()


def test_the_wheel_is_what_is_tested() -> None:
    """Where the test session runs, the package under test is the installed one, not the checkout."""
    if os.environ.get("NOX_CURRENT_SESSION", "").partition("-")[0] not in {"tests", "lowest"}:
        pytest.skip("not in the test session")

    assert "site-packages" in PACKAGE.parts
    assert (PACKAGE / "py.typed").is_file()


ERRORS = [
    value
    for name, value in sorted(vars(errors).items())
    if isinstance(value, type) and issubclass(value, BaseException) and not name.startswith("_")
]


def sample(cls: type[BaseException]) -> BaseException:
    """An error with every argument given, so that each attribute has something to lose."""
    if issubclass(cls, BaseExceptionGroup):
        return cls("2 of 3 failed", [errors.ConnectError("refused"), ValueError("x")])
    values: dict[str, Any] = {
        "sent": errors.Sent.MAYBE,
        "status": 418,
        "retry_after": 2.5,
        "problems": ("$.id: no", "$.name: no"),
        "candidates": (4, "5"),
        "timeline": (("active", 1.5),),
    }
    parameters = inspect.signature(cls.__init__).parameters.values()
    given = {p.name: values.get(p.name, f"a {p.name}") for p in parameters if p.kind is p.KEYWORD_ONLY}
    return cls("what happened", **given)


def test_there_is_one_tree_of_errors() -> None:
    """Every public error derives from the root and is named in ``errors.__all__``."""
    assert [cls for cls in ERRORS if not issubclass(cls, errors.VpsOrgError)] == []
    assert {cls.__name__ for cls in ERRORS} <= set(errors.__all__)


@pytest.mark.parametrize("cls", ERRORS)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(cls: type[BaseException], protocol: int) -> None:
    """An error that crosses a process boundary arrives with its class, text and attributes."""
    error = sample(cls)
    error.add_note("seen in passing")

    copy = pickle.loads(pickle.dumps(error, protocol))

    assert type(copy) is cls
    assert str(copy) == str(error)
    assert repr(copy.args) == repr(error.args)
    assert repr(vars(copy)) == repr(vars(error))
