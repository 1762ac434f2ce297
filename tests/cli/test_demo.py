"""The demo: what it does, what it counts, and how it ends."""

import functools
import json
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import vpsorg_async.sandbox
from vpsorg_async import Failed, Report, Skipped, Succeeded, errors
from vpsorg_async.cli.demo import Demo, Moment, Phase, Requests, Result
from vpsorg_async.cli.exits import Exit
from vpsorg_async.sandbox import Sandbox
from vpsorg_async.sandbox.log import Entry

# Provisioning takes no time to speak of: a phase lasts for one or two polls.
FAST = ("--speed", "100000")


def entry(method: str, path: str) -> Entry:
    return Entry(1, 0.0, method, path, "", 200, None, False, 1, 1)


def test_json_is_one_document(vpsorg: Any) -> None:
    """`--json` prints one document and nothing else; the progress goes to standard error as plain lines."""
    ended = vpsorg("demo", "--json", "--servers", "5", "--seed", "7", *FAST)
    document = json.loads(ended.out)
    phases = {phase["phase"]: phase for phase in document["phases"]}
    total = document["requests"]

    assert ended.code == 0
    assert (document["servers"], document["seed"], document["failures"]) == (5, 7, [])
    assert list(phases) == ["create", "reboot", "delete"]
    assert all(phase["succeeded"] == 5 and phase["seconds"] > 0 for phase in phases.values())
    assert phases["create"]["requests"]["creates"] == 5
    assert phases["reboot"]["requests"]["actions"] == 5
    assert phases["delete"]["requests"]["deletes"] == 5
    assert (total["creates"], total["actions"], total["deletes"], total["others"]) == (5, 5, 5, 0)
    assert total["total"] == sum(phase["requests"]["total"] for phase in phases.values())
    assert document["polled_alone"]["requests"]["reads"] >= 15
    assert "not measured" in document["polled_alone"]["computed"]
    assert "\x1b" not in ended.err
    assert [
        word for word in ("sandbox", "create", "reboot", "delete", "5 gone") if word not in ended.err
    ] == []


def test_a_sandbox_that_does_not_start(vpsorg: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says is no bug: a limit of open files, for example."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 300))
    ended = vpsorg("demo", "--servers", "2", *FAST)

    assert ended.code == Exit.USAGE
    assert "the limit of this process is 300" in ended.err
    assert "bug" not in ended.err


async def test_the_sandbox_is_the_witness() -> None:
    """Every request in the sandbox's log is counted, each in one phase, and the client sent just as many."""
    shown: list[Moment] = []

    def show(moments: Sequence[Moment]) -> None:
        shown.append(moments[-1])

    async with Sandbox(speed=100_000) as box:
        demo = Demo(box, 4, timeout=60)
        phases = await demo.run(show)

        logged = Counter((item.method, item.status) for item in box.requests)
        assert sum(phase.requests.total for phase in phases) == len(box.requests) == shown[-1].requests
        assert logged["POST", 201] == phases[0].requests.creates == 4
        assert logged["DELETE", 204] == phases[2].requests.deletes == 4
        assert box.servers == ()
    assert shown[-1] == demo.moments[-1]
    assert (shown[-1].phase, shown[-1].statuses) == ("delete", {"gone": 4})
    assert [moment.at for moment in demo.moments] == sorted(moment.at for moment in demo.moments)


def test_some_that_fail_are_exit_code_6(vpsorg: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Servers that can't be had do not stop the others; the first reason is said, and the exit code is 6."""
    short_of_credit = functools.partial(vpsorg_async.sandbox.Sandbox, credit=2)
    monkeypatch.setattr(vpsorg_async.sandbox, "Sandbox", short_of_credit)
    monkeypatch.setenv("NO_COLOR", "1")
    picture = tmp_path / "demo.svg"

    ended = vpsorg("demo", "--quiet", "--servers", "3", "--svg", str(picture), *FAST)

    assert ended.code == 6
    assert ended.err.startswith("vpsorg: 1 of 3 servers failed; create web-03: ")
    assert "credit" in ended.err
    assert ended.err.count("\n") == 1
    rows = {line.split()[0]: line.split()[1:3] for line in ended.out.splitlines() if line.strip()}
    assert (rows["create"], rows["reboot"], rows["delete"]) == (["3", "3"], ["2", "-"], ["2", "-"])

    drawn = picture.read_text()
    text = " ".join(ElementTree.fromstring(drawn).itertext())
    assert [word for word in ("reboot", "each", "#2ea043") if word not in text] == []
    assert "url(http" not in drawn
    assert "href" not in drawn


def test_ctrl_c_ends_it_quietly(start: Callable[..., subprocess.Popen[str]]) -> None:
    """Ctrl-C in the middle of a wait is exit code 130 and one line: no traceback, no warning, no table."""
    with start("demo", "--servers", "3", "--speed", "1") as process:
        assert process.stderr is not None
        seen = ""
        while "3 provisioning" not in seen:
            seen = process.stderr.readline()
            assert seen
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()

    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "vpsorg: interrupted"
    assert all(re.match(r" +\d+\.\d s  create  |vpsorg: interrupted", line) for line in err.splitlines())


def test_requests_by_kind() -> None:
    """A request is counted by its method and path; what the demo never sends shows up as such."""
    log = [
        entry("POST", "/api/v1/servers/"),
        entry("GET", "/api/v1/servers/"),
        entry("GET", "/api/v1/servers/"),
        entry("GET", "/api/v1/servers/12345/"),
        entry("POST", "/api/v1/servers/12345/reboot/"),
        entry("DELETE", "/api/v1/servers/12345/"),
        entry("PATCH", "/api/v1/servers/12345/"),
        entry("GET", "/"),
    ]

    counted = Requests.of(log)

    assert counted == Requests(creates=1, lists=2, reads=1, actions=1, deletes=1, others=2)
    assert (counted + counted).total == 2 * counted.total == 16


def test_polling_each_alone_is_computed_from_the_waits() -> None:
    """One GET for each full second of a server's wait, and at least one; none for a server that was skipped."""
    outcomes = (
        Succeeded("a", None, seconds=0.2),
        Succeeded("b", None, seconds=3.9),
        Failed("c", errors.WaitTimeoutError("x"), seconds=10.0),
        Skipped("d", "x"),
    )
    report = Report(operation="reboot", outcomes=outcomes)
    phase = Phase(report=report, requests=Requests(lists=5, reads=1, actions=3), seconds=10.0)
    result = Result(servers=4, speed=1.0, seed=0, phases=(phase, phase))

    assert phase.alone == Requests(reads=14, actions=3)
    assert result.alone == Requests(reads=28, actions=6)
    assert result.requests.total == 18
    assert [outcome.key for _, outcome in result.failures] == ["c", "d", "c", "d"]
