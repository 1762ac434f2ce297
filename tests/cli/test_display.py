"""What is drawn: the chart, the lines where there is no terminal, the table."""

import io
import re
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from vpsorg_async import Report, Skipped, Succeeded
from vpsorg_async.cli.chart import Cell, grid, ranked
from vpsorg_async.cli.demo import Moment, Phase, Requests, Result
from vpsorg_async.cli.display import Chart, progress, table
from vpsorg_async.cli.live import Tally
from vpsorg_async.errors import WaitError
from vpsorg_async.events import CommandAnswered, CommandSent, ServerActive, ServerNotReady


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    encoding = "utf-8"


class OldPipe(io.StringIO):
    encoding = "latin-1"


def moment(at: float, phase: str = "create", requests: int = 0, **statuses: int) -> Moment:
    return Moment(at=at, phase=phase, statuses=statuses, requests=requests)


STORY = [
    moment(0.0),
    moment(0.2, requests=11, provisioning=10),
    moment(2.0, requests=13, provisioning=5, active=5),
    moment(4.0, requests=14, active=10),
    moment(5.0, "reboot", requests=14, active=10),
    moment(5.1, "reboot", requests=25, rebooting=10),
    moment(8.0, "delete", requests=28, active=10),
    moment(10.0, "delete", requests=48, gone=10),
]


def drawn(cells: Sequence[Sequence[Cell]]) -> list[str]:
    return ["".join((cell.main or " ")[0] for cell in row) for row in cells]


def render(console: Console, moments: Sequence[Moment] = STORY, height: int = 2) -> list[str]:
    console.print(Chart(servers=10, moments=moments, height=height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_chart_stacks_statuses_over_time() -> None:
    """A column is a slice of time, in which the statuses are stacked to the height that all servers have."""
    cells = grid(STORY, servers=10, width=10, height=2, span=10.0)

    assert drawn(cells) == [
        "pppp" "a" "rrr" "aa",
        "ppaa" "a" "rrr" "aa",
    ]  # fmt: skip


def test_a_cell_is_shared_by_eighths() -> None:
    """The boundary of two statuses runs through a cell at its eighth, and the top of a short stack is empty."""
    moments = [moment(0.0, active=3, provisioning=5), moment(1.0, active=3)]

    [row] = grid(moments, servers=8, width=1, height=1, span=1.0)
    [low] = grid([moment(0.0, active=3), moment(1.0)], servers=8, width=1, height=1, span=1.0)
    [late, after] = grid(moments, servers=8, width=2, height=1, span=4.0)[0]

    assert row == [Cell("active", "provisioning", 3)]
    assert (low, low[0].main) == ([Cell("active", None, 3)], None)
    assert (late, after) == (Cell("active", None, 3), Cell())


def test_what_stays_is_at_the_bottom() -> None:
    """Known statuses have a fixed order, unknown ones come above them, and what is gone comes last."""
    words = ["gone", "upgrading", "provisioning", "active", "rebooting", "stopped"]

    assert ranked(words) == ["active", "stopped", "rebooting", "provisioning", "upgrading", "gone"]


def test_without_colour_textures_tell_statuses_apart() -> None:
    """Without colour the chart is drawn in textures, the phases stand below their beginnings."""
    lines = render(Console(file=Pipe(), width=45, no_color=True))

    assert lines == [
        " 10  ░░░░░░░░░░░░░░░████▒▒▒▒▒▒▒▒▒▒▒▒████████",
        "     ░░░░░░░████████████▒▒▒▒▒▒▒▒▒▒▒▒████████",
        "  0 ┬───────────────────┬───────────┬───────",
        "    create 5.0 s  reboot 3.0 s  delete 2.0 s",
        "",
        "    ██ active  ▒▒ rebooting  ░░ provisioning",
        "10 gone",
        "    48 requests  10.0 s",
    ]


@pytest.mark.parametrize(
    "settings", [{"no_color": True}, {"color_system": "standard", "force_terminal": True}]
)
def test_active_and_ready_differ(settings: dict[str, Any]) -> None:
    """Where servers are checked, ready has what active has elsewhere, and a line says what is not ready."""
    reason = "not ready: web-1: tcp:22: \x1b[2J" + 99 * "x"
    now = Moment(
        at=9.0,
        phase="create",
        statuses={"ready": 1, "active": 1},
        requests=5,
        rest="about 2 s more",
        note=reason,
    )

    def seen(moments: Sequence[Moment], file: io.StringIO) -> str:
        console = Console(file=file, width=60, **settings)
        console.print(Chart(servers=2, moments=moments, height=2))
        return file.getvalue()

    checked = seen([now], Pipe())
    plain = seen([Moment(at=9.0, phase="create", statuses={"active": 1}, requests=5)], Pipe())
    patches = {
        word: re.findall(rf"(\S+?)\s*(?:\x1b\[0m)? ?1 {word}", text)
        for word, text in (
            ("ready", checked),
            ("active", checked),
            ("alone", plain.replace("active", "alone")),
        )
    }

    assert patches["ready"] == patches["alone"]
    assert patches["ready"] != patches["active"]
    *_, note = checked.splitlines()
    assert "about 2 s more" in checked
    assert all(patches.values())
    assert "not ready: web-1: tcp:22: �[2Jxx" in note
    assert "…" in note


def test_old_encodings_get_ascii() -> None:
    """A stream that can't carry the block characters gets ASCII."""
    lines = render(Console(file=OldPipe(), width=60))

    assert "".join(lines).isascii()
    assert {"#", "=", "."} <= set(lines[0])


def test_colours_are_explained() -> None:
    """In colour the chart consists of coloured cells, and each status that was seen has its patch in the legend."""
    console = Console(file=Terminal(), width=100, color_system="standard", force_terminal=True)

    legend = render(console)[-1]

    assert [code for code in ("\x1b[42m", "\x1b[43m", "\x1b[44m") if code not in legend] == []
    assert "10 gone" in legend


def test_a_terminal_gets_one_live_chart() -> None:
    """On a terminal the chart is redrawn in place, and the cursor comes back whatever happens."""
    console = Console(file=Terminal(), force_terminal=True, width=80, height=24, _environ={"TERM": "xterm"})

    def story() -> None:
        with progress(console, 10, 10.0) as show:
            for number in range(1, len(STORY)):
                show(STORY[:number])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        story()

    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.count("\x1b[?25l") == 1
    assert written.index("\x1b[?25l") < written.index("create") < written.index("\x1b[?25h")
    assert "\x1b[1A" in written


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_lines(term: str) -> None:
    """Where nothing can be redrawn, there is a line a second while something changes, and one for each phase's end."""
    console = Console(file=Terminal(), force_terminal=True, width=80, _environ={"TERM": term})

    with progress(console, 10, 10.0) as show:
        show(STORY[:2])
        show(STORY[:2])
        show(STORY)

    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "   0.0 s  create  0 requests",
        "   2.0 s  create  5 active, 5 provisioning, 13 requests",
        "   4.0 s  create  10 active, 14 requests",
        "   5.0 s  create  10 active, 14 requests",
        "   8.0 s  reboot  10 active, 28 requests",
        "  10.0 s  delete  10 gone, 48 requests",
    ]


def test_a_forced_colour_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR in a pipe brings no moving display there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console(file=Pipe(), width=80)

    with progress(console, 10, 10.0) as show:
        show(STORY)

    assert "\x1b[?25l" not in console.file.getvalue()  # type: ignore[attr-defined]
    assert "5.0 s" in console.file.getvalue()  # type: ignore[attr-defined]


def test_quiet_is_quiet() -> None:
    """With quiet, nothing is shown."""
    console = Console(file=Terminal(), force_terminal=True)

    with progress(console, 10, 10.0, quiet=True) as show:
        show(STORY)

    assert console.file.getvalue() == ""  # type: ignore[attr-defined]


def test_the_table_fits_80_columns() -> None:
    """The table has a row for each phase, their sum and the computed one, whole in 80 columns."""
    outcomes = tuple(Succeeded(f"web-{number}", None, seconds=4.0) for number in range(1000))
    requests = Requests(creates=1000, lists=100, reads=1000, actions=1000, deletes=1000)
    phases = tuple(
        Phase(report=Report(operation=name, outcomes=outcomes), requests=requests, seconds=123.4)
        for name in ("create", "reboot", "delete")
    )
    console = Console(file=Pipe(), width=80)

    console.print(table(Result(servers=1000, speed=60.0, seed=0, phases=phases)))

    text = console.file.getvalue()  # type: ignore[attr-defined]
    rows = {line.split("  ")[0]: line.split()[-9:] for line in text.splitlines() if line}
    assert "…" not in text
    assert rows["create"] == ["create", "1000", "1000", "100", "1000", "1000", "1000", "4100", "123.4"]
    assert rows["total"] == ["total", "1000", "3000", "300", "3000", "3000", "3000", "12300", "370.2"]
    assert rows["each alone"] == ["each", "alone", "1000", "3000", "-", "12000", "3000", "3000", "21000"]
    assert "computed, not measured" in " ".join(text.split())


def test_a_call_that_is_cut_short_reports_the_stage() -> None:
    """Where a fleet call has no time for its own report, what is active but not ready is said from its events."""
    tally = Tally("create", ["a", "b", "c"])
    for key, number in (("a", 1), ("b", 2)):
        tally.heard(CommandSent(operation="create", command="create", key=key))
        tally.heard(CommandAnswered(operation="create", command="create", key=key, server_id=number))
    tally.heard(ServerActive(operation="create", key="a", server_id=1))
    tally.heard(ServerNotReady(operation="create", key="a", server_id=1, reason="connection refused"))

    first, second, third = tally.report().outcomes

    assert (first.stage, second.stage, third.stage) == ("active", "accepted", "")
    assert isinstance(first.error, WaitError)
    assert first.error.reason == "connection refused"
    assert "it is active, but not ready, last: connection refused" in str(first.error)
    assert "it is provisioning" in str(second.error)
    assert isinstance(third, Skipped)
