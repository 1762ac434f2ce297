"""Examples as modules, and a network that is limited to this machine."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads an example by its name, without running it."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        spec.loader.exec_module(module)
        return module

    return load


class Ports:
    """The responses on the ports of emulated servers, whose addresses belong to no machine: no connection is made."""

    def __init__(self) -> None:
        self.open = True
        self.asked: list[tuple[str, int]] = []
        self.on_ask: Callable[[], None] = lambda: None

    async def connect(self, host: str, port: int, **_: Any) -> Any:
        self.asked.append((host, port))
        self.on_ask()
        if not self.open:
            raise ConnectionRefusedError
        return None, Writer()


class Writer:
    def close(self) -> None: ...


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Ports:
    """The ports of the emulated servers; open by default."""
    made = Ports()
    monkeypatch.setattr(asyncio, "open_connection", made.connect)
    return made
