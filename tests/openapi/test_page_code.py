"""The API page's own code, in four languages, against the sandbox: only host and token are replaced."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from vpsorg_async.sandbox import Sandbox

CODE = sorted((Path(__file__).parents[1] / "samples" / "code").iterdir())
RUN = {"curl": ["sh", "-e"], "python": [sys.executable, "-I"], "javascript": ["node"], "php": ["php"]}
SUFFIX = {"curl": ".sh", "python": ".py", "javascript": ".mjs", "php": ".php"}
"""How a language is run, and what it expects of the name of a file."""

SENT = {
    "list": ("GET", "/api/v1/servers/", 200),
    "create": ("POST", "/api/v1/servers/", 201),
    "get": ("GET", "/api/v1/servers/12345/", 200),
    "replace": ("PUT", "/api/v1/servers/12345/", 200),
    "update": ("PATCH", "/api/v1/servers/12345/", 200),
    "delete": ("DELETE", "/api/v1/servers/12345/", 204),
    "start": ("POST", "/api/v1/servers/12345/start/", 200),
    "stop": ("POST", "/api/v1/servers/12345/stop/", 200),
    "reboot": ("POST", "/api/v1/servers/12345/reboot/", 200),
}
"""Operation: the request that the page describes, and its code."""


def missing(language: str) -> str:
    """Say what this machine lacks to run a language, and nothing if it can."""
    if language == "python":
        return "" if find_spec("requests") else "requests is not installed"
    program = {"javascript": "node"}.get(language, language)
    if shutil.which(program) is None:
        return f"{program} is not installed"
    if language == "php" and b"curl" not in subprocess.run(["php", "-m"], capture_output=True).stdout:
        return "php has no curl"
    return ""


def test_each_operation_is_shown_in_two_languages_at_least() -> None:
    """The page shows every operation with curl and Python, four with JavaScript and two with PHP."""
    shown = [path.suffix for path in CODE]

    assert {language: shown.count(f".{language}") for language in RUN} == {
        "curl": 9, "python": 9, "javascript": 4, "php": 2
    }  # fmt: skip


@pytest.mark.parametrize("code", CODE, ids=lambda path: path.name)
def test_the_page_s_code_does_what_the_page_says(code: Path, tmp_path: Path) -> None:
    """The program ends well, and has sent the one request of its operation, which got the documented code."""
    operation, language = code.stem, code.suffix[1:]
    if lacks := missing(language):
        pytest.skip(lacks)
    with Sandbox(token="a-token") as box:
        box.world.add(1, status="stopped" if operation == "start" else "active")
        text = code.read_text("utf-8")
        assert "https://admin.vps.org/" in text
        assert "YOUR_API_TOKEN" in text
        text = text.replace("https://admin.vps.org", box.url).replace("YOUR_API_TOKEN", box.token)
        program = tmp_path / f"code{SUFFIX[language]}"
        program.write_text(f"<?php\n{text}" if language == "php" else text, "utf-8")
        environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        done = subprocess.run([*RUN[language], str(program)], capture_output=True, text=True, env=environment)
        sent = [(entry.method, entry.path, entry.status) for entry in box.requests]

    assert done.returncode == 0, done.stderr
    assert sent == [SENT[operation]]
