"""Times as they are typed: seconds, or spans such as 5m and 1h30m; and what a miswritten word was meant to be."""

from typing import Any

import pytest

from vpsorg_async.cli.ages import read_seconds, seconds_text
from vpsorg_async.cli.root_command import app
from vpsorg_async.cli.suggestions import did_you_mean, unknown_status
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.sandbox import Sandbox

NAMES = {"timeout", "settle", "ready_timeout", "interval", "latency", "warm_up"}
"""Parameters that are times, in every command that has them."""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ("1e2", 100),
        (" 5m ", 300),
        ("1h30m", 5400),
        ("2D", 172_800),
        ("90s", 90),
        ("0", 0),
    ],
)
def test_seconds(text: str, seconds: float) -> None:
    """A bare number is seconds; units make a span."""
    assert read_seconds(text, "--timeout") == seconds


@pytest.mark.parametrize(
    "text",
    ["", "5x", "m", "30m1h", "1.5h", "5 m", "-5", "-5m", "nan", "inf", "0s", "9" * 400, "9999999w", "٣m"],
)
def test_what_is_no_time(text: str) -> None:
    """It is refused with the flag, and with what is meant."""
    with pytest.raises(ConfigurationError, match=r"--timeout is a (finite )?number of seconds"):
        read_seconds(text, "--timeout")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(300.0, "5m"), (5400.0, "1h30m"), (15.0, "15s"), (0.0, "0"), (0.25, "0.25"), (90061, "1d1h1m1s")],
)
def test_times_are_shown_as_they_are_typed(seconds: float, text: str) -> None:
    """Exactly, so that what is shown can be typed."""
    assert (seconds_text(seconds), read_seconds(text, "--timeout")) == (text, seconds)


def commands(node: Any, path: tuple[str, ...] = ()) -> Any:
    """All commands, each with its path."""
    for name in node:
        if not name.startswith("-"):
            inner = node[name]
            if any(not other.startswith("-") for other in inner):
                yield from commands(inner, (*path, name))
            else:
                yield (*path, name), inner


def test_every_time_is_a_span() -> None:
    """No command takes a time as a bare number alone."""
    seen = set()
    for path, command in commands(app):
        for argument in command.assemble_argument_collection():
            if argument.field_info.name in NAMES:
                seen.add(argument.field_info.name)
                assert argument.parameter.metavar == "TIME", (path, argument.name)
    assert seen >= {"timeout", "settle", "ready_timeout", "interval", "latency"}


@pytest.mark.parametrize(
    ("line", "name", "seconds"),
    [
        ("wait 1 --timeout 1h30m", "timeout", 5400.0),
        ("servers stop 1 --wait --timeout 90", "timeout", 90.0),
        ("fleet create --settle=1m", "settle", 60.0),
        ("watch --interval 2.5", "interval", 2.5),
    ],
)
def test_times_on_the_command_line(line: str, name: str, seconds: float) -> None:
    """The value that a command gets is in seconds."""
    _, bound, _ = app.parse_args(line.split())
    assert bound.arguments[name] == seconds


@pytest.mark.parametrize("time", ["5x", "-5", "nan"])
def test_a_bad_time_is_refused_before_anything_is_sent(vpsorg: Any, box: Sandbox, time: str) -> None:
    """One line names the option; exit code 2."""
    ended = vpsorg("wait", "12345", "--timeout", time)

    assert (ended.code, ended.out, ended.err.count("\n"), len(box.requests)) == (2, "", 1, 0)
    assert "--timeout: it is a" in ended.err


@pytest.mark.parametrize(
    ("word", "hint"),
    [("activ", "; did you mean 'active'?"), ("Stoped", "; did you mean 'stopped'?"), ("qq", "")],
)
def test_the_nearest_word(word: str, hint: str) -> None:
    """One that is near enough is suggested, however it is spelled; else there is none."""
    assert did_you_mean(word, ["active", "stopped"]) == hint


def test_an_unknown_status(vpsorg: Any, box: Sandbox) -> None:
    """The word that was probably meant is in the message; if none is near, all are."""
    assert "known are active, stopped" in unknown_status("qq", ["active", "stopped"])
    wait, listed = vpsorg("wait", "12345", "--for", "activ"), vpsorg("servers", "list", "--status", "stopt")

    assert (wait.code, "did you mean 'active'?" in wait.err) == (2, True)
    assert "did you mean 'stopped'?" in listed.err
