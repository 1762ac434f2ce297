"""The programs that the sweep kills: each brings a fleet to its size, with a journal or without.

They exit with 0 when the fleet is complete, and with another code when they are refused or servers are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from vpsorg_async.sandbox import Sandbox

__all__ = ["LAG", "PROGRAMS", "ROLLING", "SETTLE", "Program"]

LAG = 10.0
"""Seconds by which reads lag behind."""
SETTLE = 12.0
"""Seconds for which programs search for servers of creates in doubt."""
SCRIPT = Path(__file__).parents[1] / "fleet" / "journal_program.py"

Program = Callable[[Sandbox, Path | None, int], list[str]]
"""Returns the command line that completes a fleet of so many servers, with a journal, or without one (None)."""


def _calling(call: str) -> Program:
    def script(box: Sandbox, journal: Path | None, servers: int) -> list[str]:
        arguments = [box.url, box.token, str(journal or "-"), call, "-", "1", str(servers), str(SETTLE)]
        return [sys.executable, str(SCRIPT), *arguments]

    return script


def _command(box: Sandbox, journal: Path | None, servers: int) -> list[str]:
    # no option takes a token
    code = (
        "import os, sys; os.environ['VPSORG_API_TOKEN'] = sys.argv.pop(1); "
        "from vpsorg_async.cli import main; sys.exit(main())"
    )
    fleet = (
        f"fleet ensure --name web-{{n:02}} --count {servers} --plan-id 1 --os-id 5 --location us-west --yes"
    )
    options = ["--settle", str(SETTLE), "--base-url", box.url]
    options += ["--no-journal"] if journal is None else ["--journal", str(journal)]
    return [sys.executable, "-c", code, box.token, *fleet.split(), *options]


PROGRAMS: Mapping[str, Program] = {
    "script": _calling("ensure"),
    "apply": _calling("apply"),
    "vpsorg": _command,
}
ROLLING = _calling("rolling_reboot")
"""Reboots all servers of the account, three at a time."""
