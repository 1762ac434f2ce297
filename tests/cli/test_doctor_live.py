"""`vpsorg doctor --live`: one server, named and priced and asked for, and deleted whatever happens."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from vpsorg_async.cli import trial_command
from vpsorg_async.cli.profile_file import config_file
from vpsorg_async.cli.settings import Account
from vpsorg_async.doctor import Pace
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults

LIVE = ("doctor", "--live", "--os", "5")
MOMENT = (0.03, 0.03)
NAME = r"vpsorg-doctor-[a-z]{10}"


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A fast sandbox, in which each moving status can still be seen."""
    monkeypatch.setattr(
        trial_command,
        "PACE",
        Pace(first=0.01, longest=0.05, hold=0.2, first_hold=0.2, search=0.3, removal=0.5),
    )
    short = Durations(provisioning=MOMENT, starting=MOMENT, stopping=MOMENT, rebooting=MOMENT)
    with Sandbox(token="vps_tests", durations=short) as box:
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        yield box


def last_line(text: str) -> str:
    return text.replace("\r", "").rstrip("\n").rpartition("\n")[2]


def test_a_report_to_paste(vpsorg: Any, box: Sandbox) -> None:
    """All assumptions are judged, the server is gone, and the report has no token, address or id."""
    ended = vpsorg(*LIVE, "--yes")

    assert ended.code == 0
    assert re.match(r"vpsorg-async \S+, documented dialect: 33 confirmed, 0 denied, 6 not seen\n", ended.out)
    assert ended.out.endswith('settings that fit, for a profile:\ndialect = "documented"\n')
    assert [word for word in (box.token, "127.0.0.1", "12345") if word in ended.out] == []
    assert ended.err.startswith("read the account ...\ncreate the server")
    assert (box.servers, [change.operation for change in box.ledger].count("create")) == ((), 1)


def test_a_report_as_json(vpsorg: Any, box: Sandbox) -> None:
    """The document has each assumption by its id, the answers without values, and the settings."""
    ended = vpsorg(*LIVE, "--yes", "--json", "--quiet")
    report = json.loads(ended.out)

    assert (ended.code, ended.err) == (0, "")
    assert {one["verdict"] for one in report["assumptions"]} == {"confirmed", "not seen"}
    create = next(call for call in report["calls"] if call["call"] == "create")
    assert create["answers"][0]["form"]["id"] == "int"
    assert (report["settings"], report["remains"]) == ({"dialect": "documented"}, False)


def test_nothing_is_sent_without_a_yes(vpsorg: Any, box: Sandbox) -> None:
    """Without a terminal and without --yes it is exit code 2, before the first request."""
    ended = vpsorg(*LIVE)

    assert (ended.code, "add --yes" in ended.err) == (2, True)
    assert box.requests == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("doctor", "--os", "5"), "for the server of --live"),
        (("doctor", "--live", "--write", "--yes"), "leave one of them out"),
    ],
)
def test_options_that_do_not_go_together(vpsorg: Any, box: Sandbox, arguments: Any, said: str) -> None:
    """They are refused before anything is sent."""
    ended = vpsorg(*arguments)

    assert (ended.code, said in ended.err, box.requests) == (2, True, ())


def test_what_the_api_does_not_list_has_to_be_given(vpsorg: Any, box: Sandbox) -> None:
    """The documented API lists no operating systems: nothing is created, and the option is named."""
    ended = vpsorg("doctor", "--live", "--yes")

    assert (ended.code, "(--os)" in ended.err, box.ledger) == (2, True, ())
    box.world.add(1, name="web-1", os_id=3)
    assert vpsorg("doctor", "--live", "--yes").code == 0  # that of a server which is there


def test_the_question_names_the_server_and_its_price(terminal: Any, box: Sandbox) -> None:
    """At a terminal the name, the plan and the price are shown; no is exit code 1, and nothing is created."""
    asked = terminal(*LIVE)
    asked.until("[y/N]")
    asked.type("n\n")

    assert asked.ended() == 1
    question = asked.seen.replace("\r\n", "")
    assert re.search(rf"Create {NAME} \(plan 1, system 5, us-west\)", question)
    assert "It costs 0.015 per hour" in question
    assert box.ledger == ()


def test_a_denied_assumption_is_exit_code_6(vpsorg: Any, box: Sandbox) -> None:
    """Scripts see it, and the settings that fit are in the report."""
    box.faults.add(Rule("delete", faults.SoftDelete("terminated")))

    ended = vpsorg(*LIVE, "--yes")

    assert ended.code == 6
    assert 'status_words = { "terminated" = "gone" }' in ended.out
    assert box.servers == ()


def test_the_settings_are_those_of_a_profile(vpsorg: Any, box: Sandbox) -> None:
    """What the report prints is accepted in the file of profiles, and gives a client that understands the words."""
    box.faults.add(Rule("delete", faults.SoftDelete("terminated")))
    lines = vpsorg(*LIVE, "--yes").out.partition("settings that fit, for a profile:\n")[2]
    file = config_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    file.write_text(f"[profiles.default]\n{lines}visibility = 90\n")
    file.chmod(0o600)

    settings = Account().settings()

    assert settings.status_words == {"terminated": "gone"}
    assert (settings.dialect, settings.visibility) == ("documented", 90)
    server = box.world.add(1)[0]
    box.world.set_status(server.id, "terminated")
    assert json.loads(vpsorg("servers", "list", "--json").out)[0]["status"] == "gone"


@pytest.mark.parametrize(
    "line",
    [
        "status_words = 'x'",
        "status_words = { up = 'on' }",
        "status_words = { up = 1 }",
        "visibility = 'long'",
        "visibility = -1",
        "visibility = true",
    ],
)
def test_bad_settings_are_refused(vpsorg: Any, box: Sandbox, line: str) -> None:
    """A profile with a word or a number that can't be meant ends the command, and names the profile."""
    file = config_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    file.write_text(f"[profiles.mine]\ntoken = 'x'\n{line}\n")
    file.chmod(0o600)

    ended = vpsorg("servers", "list", "--profile", "mine")

    assert (ended.code, "[profiles.mine" in ended.err, box.requests) == (2, True, ())


def test_a_server_that_may_remain_is_the_last_line(vpsorg: Any, box: Sandbox) -> None:
    """Each delete fails: exit code 4, and the last line is the command that deletes it, for the same account."""
    box.faults.add(Rule("delete", faults.Html(503)))

    ended = vpsorg(*LIVE, "--yes", "--base-url", box.url)

    (left,) = box.servers
    assert ended.code == 4
    assert f"{left.name} ({left.id}) may still exist, and costs money. To delete it:" in ended.err
    assert last_line(ended.err) == f"vpsorg servers delete {left.id} --base-url {box.url}"
    box.faults.clear()
    again = vpsorg(*LIVE, "--yes")
    assert f"left by an earlier run: {left.name}. To delete it: vpsorg servers delete {left.id}" in again.err


@pytest.mark.parametrize(("name", "phase"), [("SIGINT", "create"), ("SIGTERM", "reboot")])
def test_a_signal_deletes_the_server_first(start: Any, slow: Sandbox, name: str, phase: str) -> None:
    """Whenever the command is interrupted, it deletes the server, prints its report, and has the signal's exit code."""
    if phase == "reboot":
        slow.faults.add(Rule("create", faults.SetStatus("active", 1e6)))
    process = start(*LIVE, "--yes", "--json")
    said = iter(process.stderr.readline, "")
    assert any(line.startswith(phase) for line in said)
    process.send_signal(signal.Signals[name])
    out, err = process.communicate(timeout=50)

    assert process.returncode == 128 + signal.Signals[name]
    assert (slow.servers, json.loads(out)["remains"]) == ((), False)
    assert "Traceback" not in err


def test_a_signal_again_and_again_leaves_the_server_and_says_so(start: Any, slow: Sandbox) -> None:
    """A delete that has no answer holds the command up; it can be ended, and the last line deletes the server."""
    slow.faults.add(Rule("create", faults.SetStatus("active", 1e6)), Rule("delete", faults.NeverAnswer()))
    process = start(*LIVE, "--yes")
    said = iter(process.stderr.readline, "")
    assert any("PATCH" in line for line in said)
    process.send_signal(signal.SIGINT)
    assert any(line.startswith("deleting vpsorg-doctor-") for line in said)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    _, err = process.communicate()

    assert process.returncode == 130
    assert last_line(err) == f"vpsorg servers delete {slow.servers[0].id}"


def test_the_profiles_own_words_do_not_hide_the_services(vpsorg: Any, box: Sandbox) -> None:
    """The words of a profile are left out of the trial, so that it sees what the service says."""
    file = config_file()
    assert file is not None
    file.parent.mkdir(parents=True)
    file.write_text("[profiles.default]\nstatus_words = { terminated = 'active' }\n")
    file.chmod(0o600)
    box.faults.add(Rule("delete", faults.SoftDelete("terminated")))

    ended = vpsorg(*LIVE, "--yes")

    assert 'status_words = { "terminated" = "gone" }' in ended.out
