"""What the help of a command has besides its options: the usage line, and examples.

The examples are data: a test runs the parser on each. They are printed as they are typed, and not wrapped.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from cyclopts.help import format_usage

from .stdio import emit

__all__ = ["EXAMPLES", "asks_for_help", "examples", "prepare"]

FLAGS = ("--help", "-h")
GROUPS = ("", "servers", "fleet", "ssh-keys", "profiles")
"""What prints a help page without being asked for one."""
NEW = "--plan 1 --os 5 --location us-west"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "vpsorg login",
        f"vpsorg servers create web-1 {NEW} --wait",
        "vpsorg servers list",
        "vpsorg servers delete web-1",
        "vpsorg help fleet create",
    ),
    "servers": (
        "vpsorg servers list",
        f"vpsorg servers create web-1 {NEW} --wait",
        "vpsorg servers reboot web-1 --wait",
        "vpsorg servers delete web-1",
    ),
    "fleet": (
        f"vpsorg fleet create --name 'web-{{n:02}}' --count 20 {NEW}",
        "vpsorg fleet rolling-reboot 'web-*' --max-unavailable 10%",
        "vpsorg fleet delete 'web-*'",
        "vpsorg fleet apply --file fleet.toml",
    ),
    "ssh-keys": ("vpsorg ssh-keys add laptop ~/.ssh/id_ed25519.pub --dialect provider",),
    "profiles": ("vpsorg profiles list", "vpsorg profiles use work", "vpsorg profiles show"),
    "servers list": ("vpsorg servers list", "vpsorg servers list --status active --json"),
    "servers get": ("vpsorg servers get web-1", "vpsorg servers get 12345 12346 --json"),
    "servers create": (
        f"vpsorg servers create web-1 {NEW}",
        f"vpsorg servers create web-1 {NEW} --wait --ready ssh --timeout 15m",
    ),
    "servers update": ("vpsorg servers update web-1 --name web-2", "vpsorg servers update web-1 --backups"),
    "servers replace": (
        "vpsorg servers replace web-1 --name web-2 --hostname web-2.example.com --no-backups",
    ),
    "servers delete": ("vpsorg servers delete web-1", "vpsorg servers delete 'ci-*' --yes --wait"),
    "servers start": ("vpsorg servers start web-1 --wait", "vpsorg servers start web-1 web-2"),
    "servers stop": (
        "vpsorg servers stop web-1 --wait --timeout 5m",
        "vpsorg servers stop 12345 12346 --yes",
    ),
    "servers reboot": ("vpsorg servers reboot web-1 --wait --ready tcp:22",),
    "fleet create": (
        f"vpsorg fleet create --name 'web-{{n:02}}' --count 20 {NEW} --dry-run",
        "vpsorg fleet create --file servers.toml --ready ssh --passwords secrets.txt",
    ),
    "fleet ensure": (
        "vpsorg fleet ensure --file servers.toml --dry-run",
        "vpsorg fleet ensure --file servers.toml --yes --json",
    ),
    "fleet start": ("vpsorg fleet start --file servers.toml", "vpsorg fleet start web-1 web-2 --ready ssh"),
    "fleet stop": ("vpsorg fleet stop --name 'web-{n:02}' --count 20 --yes",),
    "fleet reboot": ("vpsorg fleet reboot 'web-*' --timeout 10m",),
    "fleet delete": ("vpsorg fleet delete --file servers.toml", "vpsorg fleet delete 12345 12346 --yes"),
    "fleet rolling-reboot": (
        "vpsorg fleet rolling-reboot 'web-*' --max-unavailable 10% --ready http:8080/healthz",
    ),
    "fleet plan": ("vpsorg fleet plan --file fleet.toml --check",),
    "fleet apply": (
        "vpsorg fleet apply --file fleet.toml",
        "vpsorg fleet apply --file fleet.toml --prune --max-deletes 2 --yes",
    ),
    "fleet scale": ("vpsorg fleet scale --file fleet.toml --to 30",),
    "fleet diff": ("vpsorg fleet diff --file fleet.toml",),
    "fleet sweep": (
        "vpsorg fleet sweep --name 'ci-*' --older-than 6h --dry-run",
        "vpsorg fleet sweep --name 'ci-*' --older-than 6h --protect ci-cache --yes",
    ),
    "fleet status": ("vpsorg fleet status web --rows",),
    "fleet pause": ("vpsorg fleet pause web",),
    "fleet resume": ("vpsorg fleet resume web",),
    "wait": (
        "vpsorg wait web-1",
        "vpsorg wait 12345 12346 --for stopped --timeout 5m",
        "vpsorg wait web-1 --ready 'ssh: cloud-init status --wait'",
    ),
    "watch": ("vpsorg watch", "vpsorg watch --json --interval 30s"),
    "worker": ("vpsorg worker --dev", "vpsorg worker --address temporal.example.com:7233"),
    "ssh": ("vpsorg ssh web-1", "vpsorg ssh web-1 -- systemctl restart nginx"),
    "ssh-config": ("vpsorg ssh-config --to ~/.ssh/vpsorg.conf",),
    "inventory": (
        "vpsorg inventory --format hosts",
        "vpsorg inventory --format prometheus --watch /etc/prometheus/vpsorg.json",
    ),
    "plans": ("vpsorg plans --location us-west",),
    "locations": ("vpsorg locations --dialect provider",),
    "os": ("vpsorg os --dialect provider",),
    "ssh-keys list": ("vpsorg ssh-keys list --dialect provider",),
    "ssh-keys add": ("vpsorg ssh-keys add laptop ~/.ssh/id_ed25519.pub --dialect provider",),
    "ssh-keys delete": ("vpsorg ssh-keys delete 7 --dialect provider",),
    "account": ("vpsorg account", "vpsorg account --profile work"),
    "login": (
        "vpsorg login",
        "vpsorg login --profile work",
        "pass show vpsorg | vpsorg login --token-stdin --yes",
    ),
    "logout": ("vpsorg logout --profile work",),
    "profiles list": ("vpsorg profiles list",),
    "profiles use": ("vpsorg profiles use work",),
    "profiles show": ("vpsorg profiles show", "vpsorg profiles show work --json"),
    "doctor": ("vpsorg doctor", "vpsorg doctor --write", "vpsorg doctor --live --os 5 > report.txt"),
    "demo": ("vpsorg demo", "vpsorg demo --servers 200 --speed 120"),
    "sandbox": ("vpsorg sandbox --speed 60 --token try",),
    "completion": (
        "vpsorg completion bash > ~/.local/share/bash-completion/completions/vpsorg",
        "vpsorg completion zsh > ~/.zfunc/_vpsorg",
        "vpsorg completion fish > ~/.config/fish/completions/vpsorg.fish",
    ),
    "help": ("vpsorg help servers create",),
}
"""The examples of each command, by the words that name it."""


def asks_for_help(words: Sequence[str]) -> bool:
    """Return whether a command line prints a help page. What follows ``--`` is for another program."""
    own = words[: words.index("--")] if "--" in words else words
    return " ".join(words) in GROUPS or any(flag in own for flag in FLAGS)


def prepare(app: App, tokens: Sequence[str]) -> str:
    """Prepare the help page of the command that the tokens name, and return its name; empty for the root."""
    try:
        chain, apps, _ = app.parse_commands([token for token in tokens if token not in FLAGS])
    except CycloptsError:
        return ""
    command = apps[-1]
    if chain:
        command.help_epilogue = ""  # that of the root, otherwise
    if chain and command.default_command is not None:
        # a command whose module is imported late has only its line in the list of commands until now
        command.help = inspect.getdoc(command.default_command)
    if chain and command.default_command is not None and command.usage is None:
        optional = [
            f"{argument.name}{'...' if argument.field_info.kind is argument.field_info.VAR_POSITIONAL else ''}"
            for argument in command.assemble_argument_collection()
            if argument.index is not None and argument.show and not argument.required
        ]
        usage = str(format_usage(app, chain, execution_path=apps))
        # the library does not name them
        named = " ".join(f"[{name}]" for name in optional)
        command.usage = re.sub(r"\[ARGS(\.\.\.)?\]", named, f"Usage: {usage.strip()}")
    name = " ".join(chain)
    return name if name in EXAMPLES else " ".join(one.name[0] for one in apps[1:])  # it may be an alias


def examples(command: str) -> None:
    """Print the examples of a command."""
    lines = EXAMPLES.get(command, ())
    if lines:
        emit("\n".join(["\nExamples:", *(f"  {line}" for line in lines)]) + "\n")
