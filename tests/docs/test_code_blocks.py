"""Every Python block of the documentation runs, against the sandbox, and prints what the page says that it prints.

A block runs as it stands, in virtual time. One with a top-level ``await`` has an open client ``vps`` and the sandbox
``box`` as names; any other is a program, whose ``asyncio.run`` finds a sandbox in its environment. The servers answer,
as those of ``vpsorg sandbox`` do, and let the SSH key in the home folder in. Comments, of one or more lines, may stand
right before a block:

    <!-- setup: ... -->              Python that runs before it, with ``box``, ``setenv`` (and ``vps``, if it is there)
    <!-- sandbox: credit=3 -->       settings of the sandbox
    <!-- continues -->               goes on where the last block of the page ended
    <!-- file: deploy.py -->         is a file that later blocks of the page have beside them
    <!-- pytest: 3 passed -->        is a file of tests, which end like this
    <!-- compile only: reason -->    is not run, for this reason
    <!-- not async -->               runs in real time, with a sandbox in another thread in its environment
    <!-- prints -->                  before a ``text`` block: what the Python block above it prints, exactly
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import CodeType
from typing import Any

import asyncssh
import attrs
import pytest

from vpsorg_async import Client, WaitPolicy
from vpsorg_async.pytest_plugin import PATIENCE
from vpsorg_async.sandbox import Sandbox
from vpsorg_async.virtual_time import LoopClock, VirtualTimeLoop

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

COMMENTS = ("setup", "sandbox", "continues", "file", "pytest", "compile only", "not async", "prints")
BLOCK = re.compile(
    r"^(?P<comments>(?:<!--(?:(?!-->).)*-->\n)*)```(?P<language>python|text)\n(?P<code>.*?)^```$", re.M | re.S
)
COMMENT = re.compile(r"<!--\s*(.*?)\s*-->", re.S)


@attrs.frozen(kw_only=True)
class Block:
    """A block, where it stands, and what its comments say."""

    page: Path
    line: int
    code: str
    said: dict[str, str]
    prints: str | None = None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings with which the sandbox is created."""
        return {"boot": (5, 20), **eval(f"dict({self.said.get('sandbox', '')})")}

    def compiled(self) -> CodeType:
        """The block as code whose lines are those of its page."""
        return compiled("\n" * self.line + self.code, str(self.page))

    def setup(self) -> CodeType:
        return compiled(self.said.get("setup", ""), f"setup of {self.where}")


def compiled(source: str, name: str) -> CodeType:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(source, name, "exec", flags=flags, dont_inherit=True)
    return code


def read(text: str, page: Path) -> list[Block]:
    """The Python blocks of a page. Raises ValueError for a comment that says nothing known."""
    found: list[Block] = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        said = dict(said_by(match["comments"], f"{page.name}:{line}"))
        if match["language"] == "python":
            found.append(Block(page=page, line=line, code=match["code"], said=said))
        elif "prints" in said:
            found[-1] = attrs.evolve(found[-1], prints=match["code"])
    return found


def said_by(comments: str, where: str) -> Iterator[tuple[str, str]]:
    for match in COMMENT.finditer(comments):
        word = next((word for word in COMMENTS if match[1].startswith(word)), None)
        if word is not None:
            yield word, match[1].removeprefix(word).removeprefix(":").lstrip(" ").removeprefix("\n")
        elif not match[1].startswith("executed by"):
            raise ValueError(f"{where}: {match[1]!r} begins with none of {', '.join(COMMENTS)}")


BLOCKS = [block for page in PAGES for block in read(page.read_text("utf-8"), page)]


def groups() -> list[list[Block]]:
    """The blocks that are run, each with those that continue it."""
    made: list[list[Block]] = []
    for block in BLOCKS:
        if "continues" in block.said:
            made[-1].append(block)
        elif not {"file", "pytest", "compile only"} & block.said.keys():
            made.append([block])
    return made


def named(said: str) -> list[Any]:
    return [pytest.param(block, id=block.where) for block in BLOCKS if said in block.said]


@pytest.fixture
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are not resolved, except for those of this machine."""
    look_up = socket.getaddrinfo

    def only_here(host: Any, *arguments: Any, **options: Any) -> Any:
        numeric = options.get("flags", 0) & socket.AI_NUMERICHOST
        assert numeric or host in LOOPBACK or str(host).startswith("127."), f"{host} was looked up"
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)


@pytest.fixture(autouse=True)
def usual_logging() -> Iterator[None]:
    """What a block sets up for the log of its program is gone afterwards: other tests would write to it."""
    root, package = logging.getLogger(), logging.getLogger("vpsorg_async")
    before = [(one, one.level, [*one.handlers]) for one in (root, package)]
    yield
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers[:] = handlers


@pytest.fixture(scope="session")
def ssh_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


LOOPBACK = {"127.0.0.1", "::1", "localhost", None}


@attrs.define
class Page:
    """What a group of blocks is played on: one sandbox, one virtual loop, one set of names."""

    group: list[Block]
    environ: Callable[[str, str], None]
    printed: Callable[[], str]
    public_key: str
    names: dict[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.names |= {"__name__": "__main__", "setenv": self.environ}

    def play(self) -> list[str]:
        """Run the blocks one after another; returns what each printed."""
        if any(block.compiled().co_flags & inspect.CO_COROUTINE for block in self.group):
            return list(virtually(self._snippets()))
        done: list[str] = []
        with ExitStack() as stack:
            beside = "not async" in self.group[0].said
            if beside:
                self._point_at(stack.enter_context(Sandbox(speed=5000)))
            for block in self.group:
                if beside:
                    exec(block.setup(), self.names)
                exec(block.compiled(), self.names)
                done.append(self.printed())
        return done

    def run(self, program: Coroutine[Any, Any, Any]) -> Any:
        """What ``asyncio.run`` does to a program on a page."""

        async def inside() -> Any:
            async with self._sandbox() as box:
                self._point_at(box)
                for block in self.group:
                    await self._execute(block.setup())
                return await program

        return virtually(inside())

    def _sandbox(self) -> Sandbox:
        return Sandbox(authorized_keys=self.public_key, **self.group[0].settings)

    async def _snippets(self) -> list[str]:
        done: list[str] = []
        async with AsyncExitStack() as stack:
            box = await stack.enter_async_context(self._sandbox())
            self._point_at(box)
            vps = Client(box.token, base_url=box.url, clock=LoopClock())
            self.names["vps"] = await stack.enter_async_context(vps)
            for block in self.group:
                await self._execute(block.setup())
                await self._execute(block.compiled())
                done.append(self.printed())
        return done

    async def _execute(self, code: CodeType) -> None:
        made = eval(code, self.names)
        if made is not None:
            await made

    def _point_at(self, box: Sandbox) -> None:
        self.names["box"] = box
        self.environ("VPSORG_API_TOKEN", box.token)
        self.environ("VPSORG_BASE_URL", box.url)


def public_key(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode()


def virtually(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(86_400):
            return await work

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(bounded())


@pytest.mark.parametrize("group", [pytest.param(group, id=group[0].where) for group in groups()])
def test_a_block_runs(
    group: list[Block],
    closed_network: None,
    ssh_key: asyncssh.SSHKey,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What stands on the page works as it stands there."""
    page = Page(group, monkeypatch.setenv, lambda: capsys.readouterr().out, public_key(ssh_key))
    clock = LoopClock().now
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    # virtual time runs on while a thread waits for the disk
    monkeypatch.setattr(os, "fsync", lambda number: None)
    (tmp_path / ".ssh").mkdir()
    ssh_key.write_private_key(tmp_path / ".ssh" / "id_ed25519")
    if "not async" in group[0].said:
        monkeypatch.setattr("vpsorg_async.client.wait_policy", lambda *given: WaitPolicy(**PATIENCE))
    else:
        monkeypatch.setattr("vpsorg_async.client.SystemClock", LoopClock)
        monkeypatch.setattr("vpsorg_async.sandbox.box.running_clock", lambda: clock)
    monkeypatch.setattr(asyncio, "run", page.run)

    for block, printed in zip(group, page.play(), strict=True):
        if block.prints is not None:
            # beside another sandbox, this one has another network
            assert re.sub(r"\b127\.(?!0\.)\d+\.", "127.77.", printed) == block.prints, block.where


@pytest.mark.parametrize("block", named("pytest"))
def test_a_file_of_tests_passes(block: Block, tmp_path: Path) -> None:
    """Tests on a page, with the files that the page has made so far beside them, end as the page says."""
    for other in BLOCKS:
        if other.page == block.page and other.line < block.line and "file" in other.said:
            (tmp_path / other.said["file"]).write_text(other.code, "utf-8")
    (tmp_path / "test_block.py").write_text(block.code, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
        "-W",
        "error",
    ]
    done = subprocess.run(
        [*command, "test_block.py"],
        cwd=tmp_path,
        env={**os.environ},
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert re.match(rf"{re.escape(block.said['pytest'])} in ", done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.parametrize("block", [*named("compile only"), *named("file")])
def test_a_block_compiles(block: Block) -> None:
    """What is not run by itself is Python at least, and says why it is not run."""
    block.compiled()
    assert block.said.get("compile only") != ""


def test_no_block_is_overlooked() -> None:
    """Every Python block of every page is found, whatever stands around it."""
    fences = sum(
        len(re.findall(r"^\s*(?:```|~~~|:::)\s*\{?python", page.read_text("utf-8"), re.M)) for page in PAGES
    )

    assert len(BLOCKS) == fences


def test_comments_that_say_nothing_known() -> None:
    """A misspelt comment before a block is an error, not a block that runs without it."""
    with pytest.raises(ValueError, match="'setpu: x = 1' begins with none of"):
        read("<!-- setpu: x = 1 -->\n```python\nx\n```\n", ROOT / "x.md")
