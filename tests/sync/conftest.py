"""A sandbox in a thread of its own, and a client of it for code that is not async."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from vpsorg_async.pytest_plugin import PATIENCE
from vpsorg_async.sandbox import Sandbox
from vpsorg_async.sync import Client

MakeClient = Callable[..., Client]


@pytest.fixture
def make(vpsorg_sandbox: Sandbox) -> Iterator[MakeClient]:
    """Creates clients of the sandbox, which are closed at the end."""
    made: list[Client] = []

    def client(**options: Any) -> Client:
        given: Any = {"base_url": vpsorg_sandbox.url, **PATIENCE, **options}
        made.append(Client(vpsorg_sandbox.token, **given))
        return made[-1]

    yield client
    for vps in made:
        vps.close()


@pytest.fixture
def vps(make: MakeClient) -> Client:
    return make()
