"""The reference names everything that is public."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs/reference"
DIRECTIVE = re.compile(r"^\.\. auto(\w+):: vpsorg_async\.?([\w.]*?)\(?\)?$((?:\n   :.*)*)", re.M)
OTHERWISE = {"__version__", "tcp_port", "ready", "faults"}
"""Names that the pages describe in words, or that are modules with entries of their own."""


def described() -> set[str]:
    """Return the public names that have an entry on a page of the reference."""
    names: set[str] = set()
    for page in REFERENCE.glob("*.md"):
        for kind, name, options in DIRECTIVE.findall(page.read_text("utf-8")):
            if kind != "module":
                names.add(name.rpartition(".")[2])
            elif ":no-members:" not in options:
                module = importlib.import_module(f"vpsorg_async.{name}")
                excluded = re.findall(r"\w+", options.partition(":exclude-members:")[2])
                names |= {word for word in vars(module) if word[0] != "_"} - set(excluded)
    return names


@pytest.mark.parametrize(
    "module",
    [
        "",
        ".fleet",
        ".events",
        ".errors",
        ".ready",
        ".sandbox",
        ".sync",
        ".tokens",
        ".plain",
        ".otel",
        ".doctor",
    ],
)
def test_every_public_name_has_an_entry(module: str) -> None:
    """Who looks a name up finds what it means."""
    public = set(importlib.import_module(f"vpsorg_async{module}").__all__)

    assert public - OTHERWISE - described() == set()
