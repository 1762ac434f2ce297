"""What a user at a terminal gets: the question, the live display, and what Ctrl-C leaves; and what a script gets."""

import json
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from vpsorg_async import Failed, Skipped, Succeeded, errors
from vpsorg_async.cli.live import Tally, is_left
from vpsorg_async.cli.root_command import app
from vpsorg_async.fleet.events import CommandAnswered, ServerSettled
from vpsorg_async.http.events import RequestSent
from vpsorg_async.sandbox import Sandbox

NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west")


def test_the_question_is_asked(terminal: Any, box: Sandbox) -> None:
    """At a terminal the names and the price are shown and asked for; no is exit code 1, and nothing is created."""
    fleet = ("fleet", "create", "--name", "web-{n}", "--count", "3", *NEW)
    no = terminal(*fleet)
    assert (
        "Create 3 servers (web-1, web-2, web-3)? It costs 0.045 per hour, 30.00 per month, in a currency"
        in no.until("[y/N]").replace("\r\n", "")
    )
    no.type("\n")
    assert (no.ended(), "nothing was sent" in no.seen, box.servers) == (1, True, ())

    yes = terminal(*fleet)
    yes.until("[y/N]")
    yes.type("y\n")
    assert yes.ended() == 0
    assert "3 active" in yes.seen
    assert "3 succeeded" in yes.seen
    assert yes.seen.count("\x1b[?25l") == yes.seen.count("\x1b[?25h") == 1

    left = terminal("fleet", "delete", "--name", "web-{n}", "--count", "3")
    left.until("[y/N]")
    left.type("\x03")
    left.process.send_signal(signal.SIGINT)
    assert (left.ended(), len(box.servers)) == (130, 3)
    assert "Traceback" not in left.seen

    ended = terminal("fleet", "delete", "--name", "web-{n}", "--count", "3")
    ended.until("[y/N]")
    ended.process.send_signal(signal.SIGTERM)
    assert (ended.ended(), len(box.servers)) == (143, 3)
    assert ended.seen.endswith("[y/N] \r\nvpsorg: ended by SIGTERM\r\n")


def test_ctrl_c_prints_what_was_made(terminal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C during a fleet ends within two seconds with 130, and a line for each server that was made."""
    with Sandbox(token="vps_tests") as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        fleet = terminal("fleet", "create", "--name", "web-{n}", "--count", "3", *NEW, "--yes")
        assert "about 4:" in fleet.until("3 provisioning")
        began = time.monotonic()
        fleet.process.send_signal(signal.SIGINT)
        code = fleet.ended()
        seconds = time.monotonic() - began

        one = terminal("servers", "create", "db", *NEW, "--yes", "--wait", "--json")
        one.until("1 provisioning")
        one.process.send_signal(signal.SIGINT)
        assert one.ended() == 130
        made = box.servers

    assert code == 130
    assert seconds < 2.0
    rows = [line.split() for line in fleet.seen.splitlines() if line.startswith("web-")]
    assert [row[:4] for row in rows if row[1] == "left"] == [
        [server.name, "left", str(server.id), "provisioning"] for server in made[:3]
    ]
    assert "create: 0 succeeded, 3 left in progress, 0 failed, 0 skipped" in fleet.seen
    ids = " ".join(str(server.id) for server in made[:3])
    assert fleet.seen.endswith(f"\r\nvpsorg wait {ids} --for active\r\n")
    assert "3 left" in fleet.seen
    assert "(or run the same command again: " in fleet.seen
    assert one.seen.endswith(f"\r\nvpsorg wait {made[3].id} --for active\r\n")
    assert "Traceback" not in fleet.seen + one.seen
    assert f'"id": {made[3].id}' in one.seen


def test_no_color_is_heeded(terminal: Any, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR the display is drawn without colours; with --quiet there is none."""
    box.world.add(2)
    monkeypatch.setenv("NO_COLOR", "1")

    shown = terminal("servers", "reboot", "12345", "--wait")
    quiet = terminal("servers", "reboot", "12346", "--wait", "--quiet")

    assert (shown.ended(), quiet.ended()) == (0, 0)
    assert "\x1b[3" not in shown.seen
    assert "\x1b[4" not in shown.seen
    assert "requests" in shown.seen
    assert "\x1b" not in quiet.seen


LINES = {
    "account": "account",
    "demo": "demo --servers 1 --speed 6000 -q",
    "doctor": "doctor",
    "fleet create": "fleet create --name a-{n} --count 2 --plan-id 1 --os-id 5 --location us-west --yes --no-wait",
    "fleet delete": "fleet delete 12346 --yes",
    "fleet ensure": "fleet ensure --name web-1 --plan-id 1 --os-id 5 --location us-west --dry-run",
    "fleet reboot": "fleet reboot 12345",
    "fleet rolling-reboot": "fleet rolling-reboot 12345",
    "fleet start": "fleet start 12347",
    "fleet stop": "fleet stop 12345 12346 --yes",
    "plans": "plans",
    "servers create": "servers create b --plan-id 1 --os-id 5 --location us-west --yes",
    "servers delete": "servers delete 12345 --yes",
    "servers get": "servers get 12345",
    "servers list": "servers list",
    "servers reboot": "servers reboot 12345",
    "servers replace": "servers replace 12345 --name c --hostname c.example.com --backups",
    "servers start": "servers start 12347",
    "servers stop": "servers stop 12345",
    "servers update": "servers update 12345 --name d",
    "wait": "wait 12345",
}
"""A line for each command, to which --json is added."""
ALIASES = {"ls", "rm", "describe"}
ELSEWHERE = {
    *("inventory", "ssh", "ssh-config"),  # text for other programs
    *("login", "logout", "profiles list", "profiles show", "profiles use"),  # in test_login
    *("inventory", "ssh", "ssh-config"),  # in test_inventory and test_ssh
    *("sandbox", "watch"),  # they do not end, and have tests of their own
    *("locations", "os", "ssh-keys add", "ssh-keys delete", "ssh-keys list"),  # in test_lookups
    *("fleet apply", "fleet diff", "fleet plan", "fleet scale"),  # in test_converge
    "fleet sweep",  # in test_sweep
    *(
        "fleet pause",
        "fleet resume",
        "fleet status",
        "worker",
    ),  # in test_durable, and with an engine in temporal/
    *("version", "help", "completion"),  # text for people and shells, in test_help
}


ALIASES = {"ls", "rm", "describe"}


def test_every_command_has_a_line() -> None:
    """No command is left out of the test below."""
    names = set()
    for name in app:
        if name.startswith("-"):
            continue
        inner = [other for other in app[name] if not other.startswith("-") and other not in ALIASES]
        names |= {f"{name} {other}" for other in inner} or {name}

    assert names - ELSEWHERE == set(LINES)


@pytest.mark.parametrize("name", LINES)
def test_json_is_one_document(vpsorg: Any, box: Sandbox, name: str) -> None:
    """With --json every command prints exactly one JSON document, and nothing else on standard output."""
    box.world.add(2)
    [stopped] = box.world.add(1)
    box.world.set_status(stopped.id, "stopped")

    ended = vpsorg(*LINES[name].split(), "--json")

    assert ended.code == 0
    assert ended.out.endswith("\n")
    json.loads(ended.out)


def test_into_a_pipe(start: Any, box: Sandbox) -> None:
    """`vpsorg servers list --json | python -m json.tool` works."""
    box.world.add(2)
    with start("servers", "list", "--json") as process:
        done = subprocess.run(
            [sys.executable, "-m", "json.tool"],
            stdin=process.stdout,
            capture_output=True,
            text=True,
            check=True,
        )
        _, err = process.communicate()

    assert (process.returncode, err, len(json.loads(done.stdout))) == (0, "", 2)


class Expecting:
    """What a tally asks of a client."""

    def expected(self, operation: str, count: int) -> float | None:
        return {"create": 120.0 + count, "reboot": None, "start": 0.0}.get(operation)


@pytest.mark.parametrize(
    ("operation", "command", "word"),
    [("rolling reboot", "reboot", "rebooting"), ("ensure", "start", "starting")],
)
def test_the_tally_goes_by_the_command(operation: str, command: str, word: str) -> None:
    """A server has the status of its command, also where the call has another name."""
    tally: Any = Tally(operation, ["a"])
    tally.heard(CommandAnswered(operation=operation, command=command, key="a", server_id="a"))

    assert tally.note(Expecting())[-1].statuses == {word: 1}


def test_the_tally() -> None:
    """Events become counts by status; the rest is said from what is known of such commands."""
    tally: Any = Tally("create", ["a", "b", "c", "d"])
    vps = Expecting()
    first = tally.note(vps)[-1]
    assert (first.statuses, first.rest, first.span) == ({"waiting": 4}, "", 0.0)
    for key in "abc":
        tally.heard(RequestSent(operation="create", request="POST /", attempt=1))
        tally.heard(CommandAnswered(operation="create", command="create", key=key, server_id=key))
    sent = tally.note(vps)[-1]
    assert (sent.statuses, sent.requests, sent.rest) == (
        {"waiting": 1, "provisioning": 3},
        3,
        "about 2:03 more",
    )
    assert sent.span == pytest.approx(123.0, abs=5.0)
    for key, outcome in (
        ("a", Succeeded("a", None, how="deleted")),
        ("b", Failed("b", errors.WaitTimeoutError("x"))),
        ("c", Skipped("c", "x")),
    ):
        tally.heard(ServerSettled(operation="create", key=key, outcome=outcome))
    last = tally.note(vps)[-1]
    assert (last.statuses, last.rest) == ({"waiting": 1, "gone": 1, "failed": 1, "skipped": 1}, "")
    assert list(tally.outcomes) == ["a", "b", "c"]


class Lasting:
    """What a number of commands takes, by that number."""

    def __init__(self, **seconds: float) -> None:
        self.seconds = seconds

    def expected(self, operation: str, count: int) -> float | None:
        return self.seconds[f"n{count}"]


@pytest.mark.parametrize(("seconds", "said"), [(0.3, "about 1 s more"), (61.4, "about 1:01 more"), (0.0, "")])
def test_what_is_still_awaited_takes_time(seconds: float, said: str) -> None:
    """No display says that nothing is left to wait for while servers are waited for."""
    tally: Any = Tally("reboot", ["a"])
    tally.commanded("reboot", "a")

    assert tally.note(Lasting(n1=seconds))[-1].rest == said


@pytest.mark.parametrize(("operation", "said"), [("create", "about 1:30 more"), ("rolling reboot", "")])
def test_servers_that_wait_for_their_turn_take_as_long(operation: str, said: str) -> None:
    """The first two are nearly done, but the last one has not begun; of a rolling operation nothing is known."""
    tally: Any = Tally(operation, ["a", "b", "c"])
    for key in "ab":
        tally.commanded(operation.split()[-1], key)

    assert tally.note(Lasting(n2=0.2, n1=90.0))[-1].rest == said


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errors.WaitError("left", server_id=1, target="active"), "left"),
        (errors.WaitError("its check did not pass", server_id=1, target="healthy"), "failed"),
        (errors.WaitTimeoutError("late", server_id=1, target="active"), "failed"),
    ],
)
@pytest.mark.parametrize("stage", ["accepted", "active"])
def test_the_chart_says_what_the_report_says(error: Any, word: str, stage: str) -> None:
    """Left and failed are the same in both, also for a server that is active but not ready."""
    tally: Any = Tally("rolling reboot", ["a"])
    outcome = Failed("a", error, server_id=1, stage=stage, acknowledged=True)
    tally.heard(ServerSettled(operation="rolling reboot", key="a", outcome=outcome))

    assert tally.note(Expecting())[-1].statuses == {word: 1}
    assert is_left(outcome) is (word == "left")


def test_a_long_quiet_time_takes_no_memory() -> None:
    """Of a time in which nothing happened only its ends are kept."""
    tally: Any = Tally("reboot", ["a"])
    for _ in range(1000):
        tally.note(Expecting())

    assert len(tally.moments) == 2
