"""`vpsorg watch`: lines, JSON lines, and the table."""

import io
import json
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from rich.console import Console

from vpsorg_async import Change, Server, ServerStatus, StatusChange
from vpsorg_async.cli.watching import View, line
from vpsorg_async.sandbox import Sandbox

Start = Callable[..., subprocess.Popen[str]]


def change(
    kind: Change, name: str, after: str | None, before: str | None = None, key: int = 1
) -> StatusChange:
    server = Server(id=key, name=name, status=ServerStatus(after or before or ""))
    return StatusChange(change=kind, server_id=key, server=server, before=before, after=after)


def drawn(view: View) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(view)
    return [text.rstrip() for text in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_json_lines(start: Start, box: Sandbox) -> None:
    """With --json each change is one line of JSON, at once; Ctrl-C ends it with 130 and one line."""
    [server] = box.world.add(1)
    with start("watch", "--interval", "0.5", "--json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        box.world.set_status(server.id, "stopped")
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()

    assert (first["change"], first["server_id"], first["after"]) == ("present", server.id, "active")
    assert (second["change"], second["before"], second["after"]) == ("changed", "active", "stopped")
    assert second["server"]["name"] == server.name
    assert (process.returncode, out, err) == (130, "", "vpsorg: interrupted\n")


def test_help_says_what_json_is(vpsorg: Any) -> None:
    """`watch` does not end, so its JSON is no document."""
    out = vpsorg("watch", "--help").out

    assert "Print a line of JSON for each change." in out
    assert "one JSON document" not in out


def test_lines_without_a_terminal(start: Start, box: Sandbox) -> None:
    """In a pipe each change is a line for people, without any control characters."""
    [server] = box.world.add(1)
    with start("watch", "--interval", "0.5") as process:
        assert process.stdout is not None
        assert process.stdout.readline()[8:] == f"  {server.name} ({server.id})  is active\n"
        box.world.vanish(server.id)
        assert process.stdout.readline()[8:] == f"  {server.name} ({server.id})  is gone\n"
        process.terminate()
        process.communicate()


def test_every_change_has_its_words() -> None:
    """What happened is said in a few words; words of the network can't steer the terminal."""
    words = {
        line(change(Change.PRESENT, "a", "active"))[8:],
        line(change(Change.APPEARED, "a", "provisioning"))[8:],
        line(change(Change.CHANGED, "a\x1b[2J", "active", "starting"))[8:],
        line(change(Change.TOUCHED, "a", "active", "active"))[8:],
        line(change(Change.GONE, "a", None, "active"))[8:],
        line(StatusChange(change=Change.BLIND, seconds=12.0))[8:],
    }

    assert words == {
        "  a (1)  is active",
        "  a (1)  appeared, provisioning",
        "  a�[2J (1)  starting -> active",
        "  a (1)  is active, was touched",
        "  a (1)  is gone",
        "  no poll succeeded for 12 s",
    }


def test_the_table_shows_what_moves_where_lines_are_few() -> None:
    """Servers in their natural order; if they do not all fit, moving and recently changed ones stay."""
    view = View(height=7)
    for number in (10, 2, 1, 3, 4, 5):
        view.heard(change(Change.PRESENT, f"web-{number}", "active", key=number))
    view.heard(change(Change.CHANGED, "web-10", "rebooting", "active", key=10))
    view.heard(change(Change.TOUCHED, "web-4", "active", "active", key=4))

    lines = drawn(view)

    assert [text.split()[1] for text in lines[1:4]] == ["web-1", "web-4", "web-10"]
    assert "active -> rebooting" in lines[3]
    assert lines[4] == "5 active, 1 rebooting; 3 not shown. Press Ctrl-C to stop."


def test_the_table_shows_the_ipv6_address_where_there_is_no_other() -> None:
    """A server without an IPv4 address has its IPv6 one in the table."""
    view = View()
    server = Server(id=1, name="a", status=ServerStatus.ACTIVE, ipv6_address="2001:db8::1")
    view.heard(StatusChange(change=Change.PRESENT, server_id=1, server=server, after="active"))

    assert drawn(view)[1].split()[3] == "2001:db8::1"


def test_the_table_keeps_what_is_gone_for_a_while() -> None:
    """A server that is gone is still shown as gone, and an account without servers says so."""
    view = View()
    assert drawn(view)[-1] == "no servers. Press Ctrl-C to stop."
    view.heard(change(Change.PRESENT, "web-1", "active"))
    view.heard(change(Change.GONE, "web-1", None, "active"))
    view.heard(StatusChange(change=Change.BLIND, seconds=9.0))

    lines = drawn(view)

    assert lines[1].split()[2] == "gone"
    assert lines[-1] == "1 gone; no poll succeeded for 9 s. Press Ctrl-C to stop."
