"""The journal of commands: what the next command, and `vpsorg wait`, know of the ones before."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from vpsorg_async.cli.last_commands import is_over
from vpsorg_async.lifecycle.receipts import Receipt
from vpsorg_async.records import Server, ServerStatus
from vpsorg_async.sandbox import Rule, Sandbox, faults

NEW = ("--plan-id", "1", "--os-id", "5", "--location", "us-west", "--yes")
WEB = ("--name", "web-{n}", "--count", "3")
WORDS = {"stop": "stopped", "start": "active", "reboot": "active", "delete": "gone"}
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which the journals are by default."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "vpsorg" / "journals"


def until(true: Callable[[], Any]) -> None:
    """Wait for something of another process."""
    while not true():
        time.sleep(0.01)


def receipts(folder: Path, table: str = "entries") -> int:
    """How many commands the journal in a folder has as acknowledged: in its entries, or for waits."""
    for file in folder.glob("*.db"):
        connection = sqlite3.connect(file)
        try:
            (count,) = connection.execute(f"SELECT count(*) FROM {table} WHERE receipt NOT NULL").fetchone()
        finally:
            connection.close()
        return int(count)
    return 0


def killed(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


# -- a wait of the next process ----------------------------------------------------------------------------------------


def test_a_wait_is_for_the_reboot_of_another_process(
    vpsorg: Any, monkeypatch: pytest.MonkeyPatch, box: Sandbox
) -> None:
    """Reads that lag show `active` from before the reboot: it is not what the wait is for."""
    [server] = box.world.add(1)
    box.world.lag(1.0, lasting=1e6)

    sent = vpsorg("servers", "reboot", "12345")
    ended = vpsorg("wait", "12345", "--json")

    assert (sent.code, ended.code, ended.err) == (0, 0, "")
    [row] = json.loads(ended.out)
    assert row["evidence"] in ("observed", "updated")
    assert row["server"]["updated_at"] > _iso(server.updated_at)


def _iso(posix: float) -> str:
    return datetime.fromtimestamp(posix, UTC).isoformat()


def test_without_the_journal_the_same_wait_ends_on_a_stale_status(vpsorg: Any, slow: Sandbox) -> None:
    """The test of the test."""
    slow.world.add(1)
    slow.world.lag(60.0, lasting=1e6)

    vpsorg("servers", "reboot", "12345", "--no-journal")
    ended = vpsorg("wait", "12345", "-q")

    assert ended.code == 0
    assert slow.servers[0].status == "rebooting"


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize("named", [False, True], ids=["", "for"])
def test_a_wait_is_for_what_the_last_command_leads_to(
    vpsorg: Any, box: Sandbox, command: str, named: bool
) -> None:
    """With --for and without it; afterwards the command is over, and a wait is for active as ever."""
    [server] = box.world.add(1, status="stopped" if command == "start" else "active")
    box.world.lag(0.5, lasting=1e6)
    vpsorg("servers", command, "12345", *(("--yes",) if command == "delete" else ()))

    ended = vpsorg("wait", "12345", *(("--for", WORDS[command]) if named else ()), "--json")

    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)[0]["server"]["status"] == WORDS[command]
    if command == "stop":
        box.world.set_status(server.id, "active")
        assert vpsorg("wait", "12345", "-q").code == 0


def test_servers_are_waited_for_together(vpsorg: Any, box: Sandbox) -> None:
    """Each for its own last command."""
    box.world.add(3)
    vpsorg("servers", "stop", "12345")
    vpsorg("servers", "reboot", "12346")

    ended = vpsorg("wait", "12345", "12346", "12347", "--json")

    assert [row["server"]["status"] for row in json.loads(ended.out)] == ["stopped", "active", "active"]


def test_a_server_that_was_deleted_meanwhile(vpsorg: Any, box: Sandbox, state: Path) -> None:
    """The wait for its reboot ends; the journal knows it no more."""
    [server] = box.world.add(1)
    vpsorg("servers", "reboot", "12345")
    box.world.vanish(server.id)

    ended = vpsorg("wait", "12345")

    assert (ended.code, "it does not exist" in ended.out) == (1, True)
    assert receipts(state, "receipts") == 0


BEFORE = AT - timedelta(days=1)


@pytest.mark.parametrize(
    ("operation", "age", "status", "updated_at", "over"),
    [
        ("reboot", timedelta(minutes=59), "active", BEFORE, False),
        ("reboot", timedelta(minutes=61), "active", BEFORE, True),
        ("stop", timedelta(minutes=5), "active", BEFORE, False),  # a read that lags
        ("stop", timedelta(minutes=5), "active", AT, False),  # moved by the acknowledgement
        ("stop", timedelta(minutes=5), "active", AT + timedelta(minutes=4), True),  # started since then
        ("stop", timedelta(minutes=5), "starting", AT + timedelta(minutes=4), False),
        ("stop", timedelta(minutes=5), "stopped", AT + timedelta(minutes=4), False),
        ("create", timedelta(minutes=9), "suspended", AT + timedelta(minutes=8), True),
    ],
)
def test_when_a_command_is_over(
    operation: str, age: timedelta, status: str, updated_at: datetime, over: bool
) -> None:
    """By its age, or because the server settled elsewhere after it, by its own time stamps."""
    receipt = Receipt(server_id=1, operation=operation, acknowledged_at=AT, updated_before=BEFORE)
    server = Server(id=1, name="a", status=ServerStatus(status), updated_at=updated_at)

    assert is_over(receipt, server, AT + age) is over


def test_a_command_is_not_over_where_nothing_is_known() -> None:
    receipt = Receipt(server_id=1, operation="stop", acknowledged_at=AT)
    server = Server(id=1, name="a", status=ServerStatus("active"), updated_at=AT + timedelta(minutes=4))

    assert not is_over(receipt, None, AT)
    assert not is_over(receipt, server, AT + timedelta(minutes=5))


def test_a_server_that_is_younger_than_the_command_is_another_one() -> None:
    """Where a sandbox was restarted, ids begin again."""
    receipt = Receipt(server_id=1, operation="stop", acknowledged_at=AT)

    for minutes, over in ((-5, False), (0.5, False), (5, True)):
        server = Server(
            id=1, name="a", status=ServerStatus("active"), created_at=AT + timedelta(minutes=minutes)
        )
        assert is_over(receipt, server, AT + timedelta(minutes=6)) is over


# -- which file --------------------------------------------------------------------------------------------------------


def test_the_file_is_one_for_each_profile_and_address(
    vpsorg: Any, box: Sandbox, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is readable by its owner alone, and its name shows what it is for; the token does not matter."""
    config = tmp_path / "xdg_config_home" / "vpsorg" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[profiles.other]\ntoken = "{box.token}"\nbase_url = "{box.url}"\n')
    config.chmod(0o600)
    box.world.add(1)

    vpsorg("servers", "reboot", "12345", "--wait")
    vpsorg("fleet", "reboot", "12345", "--profile", "other")
    files = sorted(path.name for path in state.iterdir())

    assert [name.partition("-127.0.0.1")[0] for name in files] == ["default", "other"]
    assert {stat.S_IMODE((state / name).stat().st_mode) for name in files} == {0o600}
    assert stat.S_IMODE(state.stat().st_mode) == stat.S_IMODE(state.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("how", ["option", "environment", "profile", "none"])
def test_the_file_can_be_named(
    vpsorg: Any, box: Sandbox, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    box.world.add(1)
    file = tmp_path / "my.db"
    options: tuple[str, ...] = ()
    if how == "option":
        options = ("--journal", str(file))
    elif how == "environment":
        monkeypatch.setenv("VPSORG_JOURNAL", str(file))
    elif how == "profile":
        config = tmp_path / "xdg_config_home" / "vpsorg" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[profiles.default]\njournal = "{file}"\n')
        config.chmod(0o600)
    else:
        options = ("--no-journal",)

    assert vpsorg("servers", "reboot", "12345", *options).code == 0
    assert vpsorg("wait", "12345", *options).code == 0

    assert (file.exists(), state.exists()) == (how != "none", False)


def test_a_journal_that_was_asked_for_has_to_work(vpsorg: Any, box: Sandbox, tmp_path: Path) -> None:
    """Else nothing is sent."""
    box.world.add(1)
    damaged = tmp_path / "damaged.db"
    damaged.write_text("this is no journal")

    for line in (
        ("servers", "reboot", "12345", "--journal", str(damaged)),
        ("fleet", "create", *WEB, *NEW, "--journal", str(damaged)),
        ("wait", "12345", "--journal", str(damaged)),
        ("wait", "12345", "--journal", str(tmp_path / "missing.db")),
        ("wait", "12345", "--journal", str(tmp_path / ("a" * 300))),
        ("servers", "reboot", "12345", "--journal", "a.db", "--no-journal"),
        ("servers", "reboot", "12345", "--journal", ""),
    ):
        ended = vpsorg(*line)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.count("\n") == 1
        assert "journal" in ended.err

    assert box.ledger == ()


@pytest.mark.parametrize("broken", ["damaged", "newer", "folder", "homeless"])
def test_a_default_journal_that_does_not_work_is_one_warning(
    vpsorg: Any, box: Sandbox, state: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The command does its work without it."""
    [server] = box.world.add(1)
    assert vpsorg("servers", "reboot", "12345", "--wait").err == ""
    [file] = state.iterdir()
    if broken == "damaged":
        file.write_text("this is no journal")
    elif broken == "newer":
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version = 99")
    elif broken == "folder":
        file.unlink()
        file.mkdir()
    else:
        monkeypatch.setattr("platformdirs.user_state_path", lambda *_, **__: Path("~/.local/state/vpsorg"))

    for line in (
        ("servers", "reboot", "12345", "--wait"),
        ("fleet", "reboot", "12345", "-q"),
        ("fleet", "ensure", "--name", server.name, *NEW, "-q"),
    ):
        ended = vpsorg(*line)
        assert ended.code == 0
        assert ended.err.startswith("vpsorg: the journal is not used: ")
        assert ended.err.count("\n") == 1
    assert len(box.ledger) == 3


FULL = """
import resource, signal, sys
from vpsorg_async.cli import main

# as on a full disk: nothing is appended to a file any more
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX")
@pytest.mark.parametrize("exists", [False, True], ids=["new", "used"])
def test_a_full_disk(
    vpsorg: Any, start: Start, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    """A default journal is one warning; one that was asked for is exit code 2, and nothing is sent."""
    file = tmp_path / "my.db"
    box.world.add(1)
    if exists:
        assert vpsorg("servers", "reboot", "12345", "--wait", "-q").code == 0
        assert vpsorg("servers", "reboot", "12345", "--wait", "-q", "--journal", str(file)).code == 0
    before = len(box.ledger)

    with start("servers", "reboot", "12345", "--wait", script=FULL) as process:
        out, err = process.communicate()
    assert (process.returncode, err.startswith("vpsorg: the journal is not used: ")) == (0, True), err
    assert len(box.ledger) == before + 1
    with start("fleet", "reboot", "12345", "--journal", str(file), script=FULL) as process:
        out, err = process.communicate()

    assert (process.returncode, out) == (2, ""), err
    assert "journal" in err
    assert len(box.ledger) == before + 1


# -- crashes, interrupts, two at once ----------------------------------------------------------------------------------


def test_two_commands_at_once_on_the_same_names(vpsorg: Any, start: Start, slow: Sandbox) -> None:
    """The second is refused, with the process of the first, before anything is sent."""
    slow.world.add(name="db")
    with (
        start("fleet", "create", *WEB, *NEW, "-q") as first,
        start("servers", "reboot", "12345", "--wait") as one,
    ):
        until(lambda: len(slow.ledger) == 4)
        refused = (
            vpsorg("fleet", "ensure", "--name", "web-{n}", "--count", "4", *NEW),
            vpsorg("servers", "create", "web-2", *NEW),
            vpsorg("servers", "stop", "12345"),
            vpsorg("fleet", "reboot", "12345", "--yes"),
        )
        killed(first)
        killed(one)

    assert [ended.code for ended in refused] == [2] * 4
    for ended, process in zip(refused, (first, first, one, one), strict=True):
        assert f"process {process.pid}" in ended.err
        assert "nothing was sent" in ended.err
    assert len(slow.ledger) == 4


@pytest.mark.parametrize("command", ["create", "ensure"])
def test_a_crash_is_taken_up(vpsorg: Any, start: Start, slow: Sandbox, state: Path, command: str) -> None:
    """The next run says what it takes up, and sends only the rest."""
    slow.faults.add(Rule("create", faults.NeverAnswer(applied=True), times=1))
    with start("fleet", command, *WEB, *NEW, "-q") as first:
        until(lambda: len(slow.servers) == 3 and receipts(state) == 2)
        killed(first)

    ended = vpsorg("fleet", command, *WEB, *NEW, "--settle", "5", "--timeout", "1")

    assert ended.code == 3
    assert ended.err.startswith(
        f"{command}: taken up from an earlier run that ended early: 2 servers that it created; 1 name in doubt, "
        "searched for up to 5 s before another create is sent\n"
    )
    assert len(slow.servers) == 3


@pytest.mark.parametrize("replaced", [False, True])
def test_what_was_deleted_long_ago_is_created_again(
    vpsorg: Any, start: Start, slow: Sandbox, state: Path, replaced: bool
) -> None:
    """A whole list lacks it, or shows a younger server with its id."""
    with start("fleet", "create", *WEB, *NEW, "-q") as first:
        until(lambda: receipts(state) == 3)
        killed(first)
    [file] = state.glob("*.db")
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        day = datetime.now(UTC).date()
        before = day - timedelta(days=2)
        connection.execute("UPDATE entries SET receipt = replace(receipt, ?, ?)", (str(day), str(before)))
    if not replaced:
        for server in slow.servers:
            slow.world.vanish(server.id)

    again = vpsorg("fleet", "create", *(("--name", "db") if replaced else WEB), *NEW, "--no-wait")
    ensured = vpsorg("fleet", "ensure", *WEB, *NEW, "--timeout", "0.3")

    assert (again.code, ensured.code, "taken up" in again.err + ensured.err) == (0, 3, False)
    assert len(slow.servers) == 3 + replaced


def test_what_was_deleted_is_created_again(vpsorg: Any, start: Start, slow: Sandbox, state: Path) -> None:
    """An interrupted create is not taken up once its server was deleted."""
    with start("servers", "create", "db", *NEW, "--wait") as first:
        until(lambda: receipts(state) == 1)
        killed(first)
    assert vpsorg("servers", "delete", "12345", "--yes").code == 0

    again = vpsorg("servers", "create", "db", *NEW)

    assert (again.code, [server.id for server in slow.servers]) == (0, [12346])
    assert "earlier run" not in again.err


def test_a_create_that_was_killed_is_searched_for(vpsorg: Any, start: Start, slow: Sandbox) -> None:
    """`servers create` again finds the server, and says that nothing is sent."""
    slow.faults.add(Rule("create", faults.NeverAnswer(applied=True), times=1))
    with start("servers", "create", "db", *NEW) as first:
        until(lambda: slow.servers)
        killed(first)

    ended = vpsorg("servers", "create", "db", *NEW)
    again = vpsorg("servers", "create", "db", *NEW, "-q")

    assert (ended.code, len(slow.servers)) == (0, 2)
    assert "db was created as 12345 by an earlier run" in ended.err
    assert (again.code, "12346" in again.out) == (0, True)


def test_a_reboot_in_doubt_is_said_once(vpsorg: Any, start: Start, slow: Sandbox) -> None:
    """It may have happened: exit code 4; the user decides, and the same command again reboots."""
    slow.world.add(1)
    slow.faults.add(Rule("reboot", faults.NeverAnswer(applied=False), times=1))
    with start("servers", "reboot", "12345") as first:
        until(lambda: any(entry.path.endswith("/reboot/") for entry in slow.requests))
        killed(first)

    doubtful, again = vpsorg("servers", "reboot", "12345"), vpsorg("servers", "reboot", "12345")

    assert (doubtful.code, again.code, len(slow.ledger)) == (4, 0, 1)
    assert "the same command again reboots it" in doubtful.err


def test_a_reboot_that_was_interrupted_is_waited_for_and_not_repeated(
    vpsorg: Any, start: Start, slow: Sandbox, state: Path
) -> None:
    """By the command that is printed, and by the same command again."""
    slow.world.add(2)
    with (
        start("servers", "reboot", "12345", "--wait") as one,
        start("fleet", "reboot", "12346", "-q") as many,
    ):
        until(lambda: receipts(state) == 2)
        one.send_signal(signal.SIGINT)
        many.send_signal(signal.SIGINT)
        said, _ = "".join(one.communicate()), many.communicate()
    assert "vpsorg wait 12345 --for active" in said
    for server in slow.servers:
        slow.world.set_status(server.id, "active")

    again = vpsorg("servers", "reboot", "12345", "--wait")
    fleet = vpsorg("fleet", "reboot", "12346")

    assert (again.code, fleet.code, len(slow.ledger)) == (0, 0, 2)
    assert "taken up from an earlier run that ended early" in again.err
    assert "taken up from an earlier run that ended early: 1 server not rebooted again" in fleet.err


def test_after_a_wait_the_same_command_is_another_one(
    vpsorg: Any, start: Start, slow: Sandbox, state: Path
) -> None:
    """The wait has seen the interrupted reboots done: there is nothing left to take up."""
    slow.world.add(3)
    with (
        start("servers", "reboot", "12345", "--wait") as one,
        start("fleet", "reboot", "12346", "12347", "--yes", "-q") as many,
    ):
        until(lambda: receipts(state) == 3)
        killed(one)
        killed(many)
    for server in slow.servers:
        slow.world.set_status(server.id, "active")
    assert vpsorg("wait", "12345", "12346", "12347").code == 0

    one_more = vpsorg("servers", "reboot", "12345")
    many_more = vpsorg("fleet", "reboot", "12346", "12347", "--yes", "--no-wait")

    assert "taken up" not in one_more.err + many_more.err
    assert len(slow.ledger) == 6


def test_a_rolling_reboot_is_continued(vpsorg: Any, start: Start, slow: Sandbox, state: Path) -> None:
    """After a crash the next run waits for what was in flight, and reboots the rest."""
    slow.world.add(3)
    with start("fleet", "rolling-reboot", "12345", "12346", "12347", "--yes", "-q") as first:
        until(lambda: receipts(state) == 1)
        slow.world.set_status(12345, "active")
        until(lambda: receipts(state) == 2)
        killed(first)
    slow.world.set_status(12346, "active")
    with start("fleet", "rolling-reboot", "12345", "12346", "12347", "--yes") as second:
        until(lambda: len(slow.ledger) == 3)
        slow.world.set_status(12347, "active")
        _, said = second.communicate()

    assert second.returncode == 0
    assert "2 servers not rebooted again" in said
    assert [change.server_id for change in slow.ledger] == [12345, 12346, 12347]


def test_resume_continues_what_is_left_and_begins_nothing(vpsorg: Any, start: Start, slow: Sandbox) -> None:
    """Without an earlier run it is exit code 2; afterwards there is nothing to resume, and no second round."""
    slow.world.add(2)
    command = ("fleet", "rolling-reboot", "12345", "12346", "--yes", "--resume")
    before = vpsorg(*command)
    late = vpsorg(*command[:-1], "--timeout", "0.3", "-q")
    slow.world.set_status(12345, "active")
    with start(*command) as resumed:
        until(lambda: len(slow.ledger) == 2)
        slow.world.set_status(12346, "active")
        _, said = resumed.communicate()
    after = vpsorg(*command)
    none = vpsorg(*command, "--no-journal")

    assert (before.code, late.code, resumed.returncode, after.code, none.code) == (2, 6, 0, 2, 2)
    assert "nothing to resume" in before.err
    assert "nothing to resume" in after.err
    assert "--resume needs a journal" in none.err
    assert "taken up" in said
    assert [change.server_id for change in slow.ledger] == [12345, 12346]


def test_a_command_of_long_ago_is_not_taken_up(vpsorg: Any, slow: Sandbox) -> None:
    """A run waits for `--timeout` seconds: after that, the same command is another one."""
    slow.world.add(1)
    late = vpsorg("fleet", "reboot", "12345", "--timeout", "0.3", "-q")
    slow.world.set_status(12345, "active")

    again = vpsorg("fleet", "reboot", "12345", "--timeout", "0.3")

    assert (late.code, "taken up" in again.err, len(slow.ledger)) == (3, False, 2)


def test_an_interrupted_fleet_says_how_to_go_on(start: Start, slow: Sandbox, tmp_path: Path) -> None:
    """With the options of the journal, if it was named."""
    file = tmp_path / "named" / "my journal.db"
    with start("fleet", "create", *WEB, *NEW, "-q", "--journal", str(file)) as fleet:
        until(lambda: receipts(file.parent) == 3)
        fleet.send_signal(signal.SIGINT)
        _, said = fleet.communicate()

    assert said.endswith(f"\nvpsorg wait 12345 12346 12347 --for active --journal '{file}'\n")
    assert "or run the same command again" in said


def test_two_programs_at_once_make_each_server_once(start: Start, box: Sandbox) -> None:
    """Whichever comes second is refused, or finds what the first has created."""
    web = ("--name", "web-{n}", "--count", "40", *NEW, "-q")
    with start("fleet", "ensure", *web) as first, start("fleet", "ensure", *web) as second:
        first.communicate()
        second.communicate()

    assert sorted({first.returncode, second.returncode}) in ([0], [0, 2])
    assert sorted(server.name for server in box.servers) == sorted(f"web-{n}" for n in range(1, 41))


def test_no_journal_is_in_the_home_of_who_runs_the_tests() -> None:
    assert "pytest" in os.environ["XDG_STATE_HOME"]
