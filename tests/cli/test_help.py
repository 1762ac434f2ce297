"""The help of each command, what is suggested for a mistake, completion, and --yes where nothing is asked."""

import inspect
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from vpsorg_async.cli.help_pages import EXAMPLES, GROUPS, asks_for_help
from vpsorg_async.cli.root_command import app
from vpsorg_async.sandbox import Sandbox

READS = {
    *("servers list", "servers get", "wait", "watch", "plans", "locations", "os", "ssh-keys list", "account"),
    *(
        "fleet plan",
        "fleet diff",
        "fleet status",
        "ssh",
        "ssh-config",
        "inventory",
        "profiles list",
        "profiles show",
    ),
    *("completion", "demo", "help", "sandbox", "version", "worker"),  # they change nothing in an account
}
"""The commands that change nothing."""


def commands(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All commands by their first names."""
    seen: list[Any] = []
    for name in node:
        inner = node[name]
        if name.startswith("-") or any(inner is one for one in seen):
            continue
        seen.append(inner)
        if any(not other.startswith("-") for other in inner):
            yield from commands(inner, (*path, name))
        else:
            yield " ".join((*path, name)), inner


COMMANDS = dict(commands(app))


def test_every_command_has_examples() -> None:
    """Also the one without any word; none is left over for a command that does not exist."""
    assert {*EXAMPLES} - {*GROUPS} == {*COMMANDS} - {"version"}


@pytest.mark.parametrize("example", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_are_accepted(example: str) -> None:
    """The parser knows each word of them; nothing runs."""
    line = example.rpartition("| ")[2].partition(" > ")[0]
    program, *words = shlex.split(line)

    assert program == "vpsorg"
    app.parse_args(words)


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"version"}))
def test_help_shows_usage_and_examples(vpsorg: Any, name: str) -> None:
    """The usage line names the arguments, and `help` prints the same as --help."""
    ended = vpsorg(*name.split(), "--help")

    assert (ended.code, ended.err) == (0, "")
    assert "ARGS" not in ended.out.splitlines()[0]
    assert ended.out.endswith("\nExamples:\n" + "".join(f"  {line}\n" for line in EXAMPLES[name]))
    assert vpsorg("help", *name.split()) == ended


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"version"}))
def test_help_has_the_whole_description(vpsorg: Any, name: str) -> None:
    """Also of a command whose module is imported only when it is used."""
    described = inspect.getdoc(app.parse_commands(name.split())[1][-1].default_command) or ""
    shown = " ".join(vpsorg(*name.split(), "--help").out.split())

    assert " ".join(described.replace("`", "").split()) in shown


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("servers delete", "vpsorg servers delete [OPTIONS] SERVER..."),
        ("fleet stop", "vpsorg fleet stop [OPTIONS] [SERVER...]"),
        ("wait", "vpsorg wait [OPTIONS] SERVER..."),
        ("watch", "vpsorg watch [OPTIONS] [SERVER...]"),
        ("profiles show", "vpsorg profiles show [OPTIONS] [NAME]"),
    ],
)
def test_usage_lines(vpsorg: Any, name: str, usage: str) -> None:
    """Arguments that can be several are shown as such, and those that can be left out in brackets."""
    assert vpsorg(*name.split(), "--help").out.splitlines()[0] == f"Usage: {usage}"


@pytest.mark.parametrize("words", [(), ("--help",), ("help",)])
def test_the_first_help_has_examples(vpsorg: Any, words: tuple[str, ...]) -> None:
    """Without a word, what a new user types first is shown."""
    assert "\nExamples:\n  vpsorg login\n" in vpsorg(*words).out


@pytest.mark.parametrize(
    ("line", "asks"),
    [("ssh web-1 -- ls --help", False), ("ssh -h -- ls", True), ("fleet", True), ("servers list", False)],
)
def test_which_lines_ask_for_help(line: str, asks: bool) -> None:
    """What follows ``--`` is for another program."""
    assert asks_for_help(line.split()) is asks


@pytest.mark.parametrize("group", GROUPS[1:])
def test_groups_have_examples(vpsorg: Any, group: str) -> None:
    """A group prints its help, also without being asked."""
    ended = vpsorg(group)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("\nExamples:\n" + "".join(f"  {line}\n" for line in EXAMPLES[group]))
    assert vpsorg(group, "--help") == vpsorg("help", group) == ended


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("list", "did you mean vpsorg servers list?"),
        ("rebot web-1", "did you mean vpsorg servers reboot or vpsorg fleet reboot?"),
        ("ls --help-me", "did you mean vpsorg servers ls?"),
        ("sevrers list", 'Did you mean "servers"?'),
        ("fleet aply", 'Did you mean "apply"?'),
        ("servers list --stauts x", "Did you mean --status?"),
        ("completion bsh", 'Did you mean "bash"?'),
        ("help sevrers", 'Did you mean "servers"?'),
        ("help servers lst", 'Did you mean "list"?'),
    ],
)
def test_mistakes_are_answered_by_what_was_meant(vpsorg: Any, line: str, named: str) -> None:
    """One line, exit code 2."""
    ended = vpsorg(*line.split())

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert named in ended.err


@pytest.mark.parametrize("name", sorted({*COMMANDS} - READS))
def test_yes_is_accepted_by_every_command_that_changes_something(name: str) -> None:
    """Whether the command would ask or not."""
    names = {name for argument in COMMANDS[name].assemble_argument_collection() for name in argument.names}

    assert {"--yes", "-y"} <= names


def test_yes_where_nothing_is_asked(vpsorg: Any, box: Sandbox) -> None:
    """The command does the same."""
    (server,) = box.world.add(1)
    box.world.set_status(server.id, "stopped")

    assert vpsorg("servers", "update", str(server.id), "--name", "db", "--yes").code == 0
    assert vpsorg("servers", "start", "db", "-y").code == 0
    assert [change.operation for change in box.ledger] == ["update", "start"]


# -- completion -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(vpsorg: Any, shell: str) -> None:
    """The shell accepts the script, and bash completes commands and options as a user who presses the tabulator."""
    ended = vpsorg("completion", shell)

    # commands that are imported late are among them
    assert (ended.code, ended.err) == (0, "")
    assert [
        word for word in ("rolling-reboot", "ensure", "watch", "token-file") if word not in ended.out
    ] == []
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    done = subprocess.run([program, "-n"], input=ended.out, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for words, expected in PRESSED if shell == "bash" else ():
        line = " ".join(map(shlex.quote, words))
        call = (
            f'COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _vpsorg; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        done = subprocess.run(
            [program, "--norc", "-c", f"{ended.out}\n{call}"], capture_output=True, text=True, check=True
        )
        assert {word.replace("\\", "") for word in done.stdout.split()} == expected


PRESSED: list[tuple[list[str], set[str]]] = [
    (["vpsorg", "flee"], {"fleet"}),
    (["vpsorg", "servers", "re"], {"reboot", "replace"}),
    (["vpsorg", "wait", "1", "--time"], {"--timeout"}),
    (["vpsorg", "fleet", "delete", "--ye"], {"--yes"}),
]
"""What was typed before the tabulator, and what it offers."""
