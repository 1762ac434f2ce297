"""Every Python block of the documentation runs, against the sandbox, and prints what the page says that it prints.

A block runs as it stands, in virtual time. One with a top-level ``await`` has an open client ``vps`` and the sandbox
``box`` as names; any other is a program, whose ``asyncio.run`` finds a sandbox in its environment. Comments, of one or
more lines, may stand right before a block:

    <!-- setup: ... -->              Python that runs before it, with ``box``, ``setenv`` (and ``vps``, if it is there)
    <!-- sandbox: credit=3 -->       settings of the sandbox
    <!-- continues -->               goes on where the last block of the page ended
    <!-- file: deploy.py -->         is a file that later blocks of the page have beside them
    <!-- pytest: 3 passed -->        is a file of tests, which end like this
    <!-- compile only: reason -->    is not run, for this reason
    <!-- prints -->                  before a ``text`` block: what the Python block above it prints, exactly
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import CodeType
from typing import Any

import attrs
import pytest

from vpsorg_async import Client
from vpsorg_async.sandbox import Sandbox
from vpsorg_async.virtual_time import LoopClock, VirtualTimeLoop

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

COMMENTS = ("setup", "sandbox", "continues", "file", "pytest", "compile only", "prints")
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
        return dict(eval(f"dict({self.said.get('sandbox', '')})"))

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
    """Nothing leaves this machine: names are not resolved, and every connection goes to this machine."""
    connect, look_up = asyncio.open_connection, socket.getaddrinfo

    async def here(host: str, port: int, **options: Any) -> Any:
        # the addresses of emulated servers belong to no machine; a check of one of them finds an open port
        return await connect(*HERE) if host not in LOOPBACK else await connect(host, port, **options)

    def only_here(host: Any, *arguments: Any, **options: Any) -> Any:
        assert host in LOOPBACK or str(host).startswith("127."), f"{host} was looked up"
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(asyncio, "open_connection", here)
    monkeypatch.setattr(socket, "getaddrinfo", only_here)


LOOPBACK = {"127.0.0.1", "::1", "localhost", None}
HERE: list[Any] = []
"""Host and port of the sandbox that runs."""


@attrs.define
class Page:
    """What a group of blocks is played on: one sandbox, one virtual loop, one set of names."""

    group: list[Block]
    environ: Callable[[str, str], None]
    printed: Callable[[], str]
    names: dict[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.names |= {"__name__": "__main__", "setenv": self.environ}

    def play(self) -> list[str]:
        """Run the blocks one after another; returns what each printed."""
        if any(block.compiled().co_flags & inspect.CO_COROUTINE for block in self.group):
            return list(virtually(self._snippets()))
        done: list[str] = []
        for block in self.group:
            exec(block.compiled(), self.names)
            done.append(self.printed())
        return done

    def run(self, program: Coroutine[Any, Any, Any]) -> Any:
        """What ``asyncio.run`` does to a program on a page."""

        async def inside() -> Any:
            async with Sandbox(**self.group[0].settings) as box:
                self._point_at(box)
                for block in self.group:
                    await self._execute(block.setup())
                return await program

        return virtually(inside())

    async def _snippets(self) -> list[str]:
        done: list[str] = []
        async with AsyncExitStack() as stack:
            box = await stack.enter_async_context(Sandbox(**self.group[0].settings))
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
        HERE[:] = ["127.0.0.1", int(box.url.rpartition(":")[2])]


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
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What stands on the page works as it stands there."""
    page = Page(group, monkeypatch.setenv, lambda: capsys.readouterr().out)
    clock = LoopClock().now
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vpsorg_async.client.SystemClock", LoopClock)
    monkeypatch.setattr("vpsorg_async.sandbox.box.running_clock", lambda: clock)
    monkeypatch.setattr(asyncio, "run", page.run)

    for block, printed in zip(group, page.play(), strict=True):
        if block.prints is not None:
            assert printed == block.prints, block.where


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
