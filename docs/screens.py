"""Records the terminal screens of the documentation: `python3 noxfile.py -s screens` writes docs/screens/*.txt.

Needs tmux, in which it opens two terminals of 80 columns in an empty folder: one for the sandbox, one for the commands.
A screen is recorded after a line was typed and an expected text appeared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

HERE = Path(__file__).parent / "screens"
PATIENCE = 60.0
PROMPT = "$ "
NEW = "--plan-id 1 --os-id 5 --location us-west"


@attrs.frozen
class Step:
    """A line to type, and the screens that follow: a name (empty: not stored), and a pattern to wait for.

    ``keys`` are pressed after the last screen.
    """

    line: str
    screens: Sequence[tuple[str, str]] = ()
    keys: Sequence[str] = ()


DONE = r"(^|\n)\$ *$"
SANDBOX = "vpsorg sandbox --port 8080 --speed 60 --token try"
STEPS = [
    Step(f"vpsorg servers create web-01 {NEW} --yes", [("create", DONE)]),
    Step("vpsorg wait 12345", [("wait-live", r"1 provisioning"), ("wait", DONE)]),
    Step(
        f"vpsorg fleet create --count 30 --name 'app-{{n:02}}' {NEW}",
        [("", r"\[y/N\] *$")],
        ["y", "Enter"],
    ),
    Step("", [("fleet-live", r"[1-9]\d* active"), ("fleet", DONE)]),
    Step("vpsorg watch --interval 1", [("watch", r"31 active\. Press Ctrl-C")], ["C-c"]),
    Step("", [("", DONE)]),
    Step(
        f"vpsorg fleet create --count 5 --name 'db-{{n}}' {NEW} --yes",
        [("", r"5 provisioning")],
        ["C-c"],
    ),
    Step("", [("interrupted", DONE)]),
    Step(
        f"vpsorg fleet create --count 12 --name 'web-{{n}}' {NEW} --yes --ready ssh:2222 --ready http:8080/",
        [("ready-live", r"[1-9]\d* ready .*[1-9]\d* active"), ("ready", DONE)],
    ),
    Step("cat fleet.toml; vpsorg fleet diff -f fleet.toml", [("diff", DONE)]),
    Step(
        "vpsorg fleet apply -f fleet.toml --prune --max-deletes 4",
        [("apply-plan", r"\[y/N\] *$")],
        ["y", "Enter"],
    ),
    Step("", [("apply", DONE)]),
    Step("vpsorg fleet scale -f fleet.toml --fleet 'cache-{n}' --to 8 --yes", [("scale", DONE)]),
    Step("vpsorg fleet sweep --older-than 10s --name 'web-*' --max-deletes 5", [("sweep", DONE)]),
    Step("vpsorg doctor --live --os 5 > report.txt", [("", r"\[y/N\] *$")], ["y", "Enter"]),
    Step("", [("doctor-live", DONE)]),
    Step("head -30 report.txt", [("doctor-report", DONE)]),
]
FLEETS = """\
[defaults]
os_id = 5
location = "us-west"

[[fleet]]
name = "app-{n:02}"
count = 26
plan_id = 1

[[fleet]]
name = "cache-{n}"
count = 3
plan_id = 2
"""


class Terminals:
    """A separate tmux server with two windows."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VPS", "TMUX"))}
        self._env = kept | {
            "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '')}",
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            "LANG": "C.UTF-8",
            # textures instead of colours, because a screen is stored as text
            "NO_COLOR": "1",
            "VPSORG_BASE_URL": "http://127.0.0.1:8080",
            "VPSORG_API_TOKEN": "try",
        }
        home = folder / "work"
        home.mkdir()
        (home / "fleet.toml").write_text(FLEETS)
        # set here, because the shell by which tmux starts this one drops it from the environment
        shell = f"env PS1='{PROMPT}' bash --noprofile --norc -i"
        size = ["-x", "80", "-y", "48", "-c", str(home)]
        self._do("new-session", "-d", "-s", "s", "-n", "sandbox", *size, shell)
        self._do("new-window", "-d", "-t", "s:1", "-n", "user", "-c", str(home), shell)

    def _do(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], env=self._env, capture_output=True, text=True, check=True
        )
        return done.stdout

    def type(self, window: str, line: str) -> None:
        """Type a line, and Enter."""
        self._do("send-keys", "-t", f"s:{window}", "-l", line)
        self._do("send-keys", "-t", f"s:{window}", "Enter")

    def keys(self, window: str, *keys: str) -> None:
        """Press keys, by their names in tmux."""
        self._do("send-keys", "-t", f"s:{window}", *keys)

    def clear(self, window: str) -> None:
        """Begin an empty screen."""
        self.keys(window, "C-l")
        self.until(window, r"^\$ *$")

    def until(self, window: str, pattern: str) -> str:
        """Return the screen as soon as it matches the pattern."""
        began = time.monotonic()
        while True:
            lines = self._do("capture-pane", "-p", "-t", f"s:{window}").splitlines()
            shown = "\n".join(line.rstrip() for line in lines).strip("\n")
            if re.search(pattern, shown):
                return shown
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"{pattern!r} did not appear within {PATIENCE:g} s:\n{shown}")
            time.sleep(0.1)

    def close(self) -> None:
        """Stop the shells and the programs in them."""
        for window in "10":
            self.keys(window, "C-c")
            self.until(window, r"\$ *$")
        self._do("kill-server")


def keep(name: str, shown: str) -> None:
    """Write a screen, without the prompt that follows it. A screen without a name is not written."""
    if not name:
        return
    text = re.sub(r"\n\$ *$", "", shown)
    (HERE / f"{name}.txt").write_text(text + "\n", "utf-8")


def record(terminals: Terminals) -> None:
    """Run all steps."""
    for window in "01":
        terminals.until(window, r"^\$ *$")
    terminals.type("1", "vpsorg demo")
    keep("demo", terminals.until("1", DONE))
    terminals.type("0", SANDBOX)
    keep("sandbox", terminals.until("0", "Ctrl-C"))
    for step in STEPS:
        if step.line:
            terminals.clear("1")
            terminals.type("1", step.line)
        for name, pattern in step.screens:
            keep(name, terminals.until("1", pattern))
        if step.keys:
            terminals.keys("1", *step.keys)


def main() -> None:
    """Record all screens."""
    if shutil.which("tmux") is None:
        raise SystemExit("screens.py needs tmux")
    HERE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        terminals = Terminals(Path(folder))
        try:
            record(terminals)
        finally:
            terminals.close()


if __name__ == "__main__":
    main()
