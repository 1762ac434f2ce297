"""Fixtures for every test: an environment without the user's settings; on request, mocked HTTP and printed figures."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from aioresponses import aioresponses

# no test depends on speed
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

FIGURES = pytest.StashKey[list[str]]()

FOREIGN_SETTINGS = ("VPSORG_", "VPS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "NETRC")

# a child process inherits ignored signals, and nohup or a shell's "&" ignores some; the tests need theirs delivered
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for the journals of commands, instead of that of the user who runs the tests."""
    return str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True, scope="module")
def small_heap() -> None:
    """Set aside what earlier modules and the collection of tests have left, so that collecting garbage stays cheap.

    The heap of a whole run has millions of objects. Thousands of tests collect garbage to see that they left none, and
    would spend most of the run's time in what is not theirs.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Give all objects back, so that the last collection, which pytest makes, reports what any test has left."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, state_folder: str) -> None:
    """No token, address or proxy of the user who runs the tests reaches them, and no journal of the tests the user."""
    monkeypatch.setenv("XDG_STATE_HOME", state_folder)
    for name in list(os.environ):
        if name.upper().startswith(FOREIGN_SETTINGS):
            monkeypatch.delenv(name)


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """aioresponses, for the shape of requests only: what happens on a connection needs a real one.

    aioresponses 0.7.9 leaves out an argument that aiohttp has required since 3.14, so it is added here;
    ``test_aioresponses.py`` fails as soon as that is no longer needed.
    """
    import aiohttp
    from aioresponses import aioresponses

    class Response(aiohttp.ClientResponse):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("stream_writer", Mock(output_size=0))
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("aioresponses.core.ClientResponse", Response)
    with aioresponses() as mock:
        yield mock


# The sweeps are long forms of the tests. They run only when named, and print their figures at the end.


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture
def figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Record a line for the summary."""
    return pytestconfig.stash[FIGURES].append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[FIGURES]:
            terminalreporter.line(line)
