"""The sections of the page, each made from its part of the results alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cells import FLEET_NAMES, NAMES, Rows, figure, table
from fleet_sections import accounts, fleets, growth

__all__ = ["FASTER", "SECTIONS"]

PICTURED = "![CPU of one read relative to aiohttp](img/benchmark-get.svg)\n\n"


def _gets(gets: dict[str, Rows]) -> str:
    one, many = gets["1"], gets["64"]
    rows = (
        (
            NAMES[name],
            *(f"{one[name][key]:,.0f}" for key in ("cpu", "wall")),
            f"{one[name]['cpu_ratio']:.2f}",
            *(f"{many[name][key]:,.0f}" for key in ("cpu", "wall")),
            f"{many[name]['cpu_ratio']:.2f}",
            "{:.2f} to {:.2f}".format(*many[name]["cpu_spread"]),
        )
        for name in one
    )
    head = (
        "microseconds for one read", "CPU", "wall", "relative to aiohttp",
        "CPU, 64 at once", "wall", "relative to aiohttp", "its quartiles",
    )  # fmt: skip
    return PICTURED + table(head, rows)


def _lists(lists: dict[str, Rows]) -> str:
    head = ["milliseconds for one list, CPU"]
    names = next(iter(lists.values()))
    for count in lists:
        head += [f"{int(count):,} servers", "relative to aiohttp + msgspec", "relative to bare `read()`"]
    rows = [
        [
            NAMES[name],
            *(
                cell
                for rows_of in lists.values()
                for cell in (
                    f"{rows_of[name]['cpu'] / 1e3:.2f}",
                    f"{rows_of[name]['cpu_ratio']:.2f}",
                    f"{rows_of[name]['cpu_by_aiohttp_read']:.1f}",
                )
            ),
        ]
        for name in names
    ]
    return table(head, rows)


def _newer_python(found: dict[str, Any]) -> str:
    if found["why"]:
        return f"Not measured: {found['why']}. `VPSORG_BENCH_PYTHON` can name an interpreter.\n"
    newer = f"Python {found['version']}"
    rows = []
    for name, names, part, unit in (
        ("one read of 64 at once, CPU us", NAMES, found["get"], 1.0),
        ("a list of 1,000, CPU us", NAMES, found["list"], 1.0),
        ("create and wait, 1,000 servers, CPU us a server", FLEET_NAMES, found["fleet"], 1000 / 1e6),
    ):
        for way in [way for way in part if "@" not in way]:
            here, there = part[way], part[f"{way}@newer"]
            against = "cpu_by_hand" if "cpu_by_hand" in here else "cpu_ratio"
            rows.append(
                (
                    f"{name}: {names[way]}",
                    *(figure(row, "cpu", "{:,.0f}", unit) for row in (here, there)),
                    f"{there['cpu'] / here['cpu']:.2f}",
                    *(figure(row, against, "{:.2f}") for row in (here, there)),
                )
            )
    head = ("", "this Python", newer, f"{newer} / this one", "relative to aiohttp, this Python", newer)
    return NEWER + table(head, rows)


NEWER = """\
The same work on both interpreters, turn about. Reads are relative to aiohttp and `resp.json()`, lists to aiohttp and
msgspec into the same classes, fleets to by hand, each on the same interpreter.

"""

WAITERS = """\
This number of tasks, each in `wait_until` on one client; for the memory also the same in one `wait_until_all`, which
needs no task for each wait. Memory is the growth of the resident set for each wait, including its task and the
account's last list. A bare task awaits only a future: this is what asyncio itself needs for each task. A poll at rest
shows nothing new; the other figure also includes the ends of all waits, within six seconds. The longest stall of the
event loop is that of the waits' own work. The interpreter's full garbage collections, which stop everything, are shown
separately: they grow with all objects of a process (0.0: there was none). "All time out" is one `wait_until_all` whose
waits all have the same deadline.

"""


def _waiters(waiters: Rows) -> str:
    head = (
        "waits",
        "KiB each",
        "KiB each, `wait_until_all`",
        "KiB, a bare task",
        "CPU ms a poll, at rest",
        "CPU ms a poll, all in",
        "polls",
        "longest stall ms",
        "the same, all time out",
        "longest collection ms",
    )
    rows = (
        (
            f"{int(count):,}",
            f"{row['bytes'] / 1024:.2f}",
            f"{row['bytes_all'] / 1024:.2f}",
            f"{row['bytes_bare'] / 1024:.2f}",
            f"{row['cpu_per_poll'] * 1e3:.1f}",
            f"{row['cpu_per_poll_all'] * 1e3:.1f}",
            f"{row['polls']:.0f}",
            f"{row['stall'] * 1e3:.1f}",
            f"{row['stall_late'] * 1e3:.1f}",
            f"{row['collection'] * 1e3:.1f}",
        )
        for count, row in waiters.items()
    )
    return WAITERS + table(head, rows)


ENDS = """\
The real client with its default settings, in virtual time, over servers that are ready after several distributions of
durations. The end is the time at which the call returned, divided by the time at which its slowest server was ready:
the mean over the seeds, and the worst. The first fleet of a client is cold, the second knows the durations of the
first. `python benchmarks/ends.py --full` plays four times as many seeds.

"""


def _ends(rows: list[dict[str, Any]]) -> str:
    head = ("ready after", "servers", "fleet", "polls", "lag mean s", "lag p99 s", "end / ideal", "the worst")
    return ENDS + table(
        head,
        (
            (
                row["shape"],
                f"{row['servers']:,}",
                row["fleet"],
                f"{row['polls']:,}",
                f"{row['lag']:.2f}",
                f"{row['lag_p99']:.2f}",
                f"{row['end']:.3f}",
                f"{row['end_worst']:.3f}",
            )
            for row in rows
        ),
    )


SIMULATION = """\
Requests, and seconds from ready to noticed, for servers that are ready after 2 to 5 minutes, with each library's
default schedule, from its published source, on a virtual clock ([details](schedule.md)). The end is the time at which
the last server was noticed, divided by the time at which it was ready.

"""


def _simulation(rows: list[dict[str, Any]]) -> str:
    sizes = sorted({row["servers"] for row in rows})
    head = ["schedule"]
    for servers in sizes:
        head += [
            f"{servers:,} servers: requests" if servers > 1 else "1 server: requests",
            "lag",
            "99 %",
            "end",
        ]
    names = dict.fromkeys(row["schedule"] for row in rows)
    played = {(row["schedule"], row["servers"]): row for row in rows}
    lines = []
    for name in names:
        cells = [f"**{name}**" if name.startswith("vpsorg") else name]
        for servers in sizes:
            row = played[name, servers]
            cells += [
                f"{row['requests']:,}",
                f"{row['lag']:.2f}",
                f"{row['lag_p99']:.2f}",
                f"{row['end']:.3f}",
            ]
        lines.append(cells)
    return SIMULATION + table(head, lines)


IMPORTS = """\
Milliseconds beyond an interpreter that does nothing ({wall:.0f} ms); megabytes of the library and its requirements,
without bytecode. `import vpsorg_async` imports only what scripts and the command's `--help` need; aiohttp and the
rest are imported with `Client`, or when the first client is opened. The other libraries import everything at once.

"""


def _imports(imports: dict[str, Any]) -> str:
    times, sizes = imports["milliseconds"], imports["installed"]
    rows = [
        (
            name,
            f"{row['wall']:.0f}",
            f"{row['cpu']:.0f}",
            *(
                (f"{sizes[key]['megabytes']:.1f}", f"{sizes[key]['packages']}")
                if (key := name.replace("vpsorg_async", "vpsorg-async")) in sizes
                else ("", "")
            ),
        )
        for name, row in times.items()
    ]
    return IMPORTS.format(**imports["bare"]) + table(("", "wall ms", "CPU ms", "MB", "packages"), rows)


SECTIONS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "get": ("One server read", _gets),
    "list": ("Lists", _lists),
    "fleet": ("Create and wait", fleets),
    "growth": ("Growing fleets", growth),
    "account": ("Large accounts", accounts),
    "python": ("Newer Python", _newer_python),
    "waiters": ("Many waiters", _waiters),
    "ends": ("The end of a fleet", _ends),
    "simulation": ("How often to poll", _simulation),
    "import": ("Import and size", _imports),
}
"""The parts of the results, in the order of the page: a title, and what makes the section from the part."""

FASTER = """
## What makes it faster

- [uvloop](https://uvloop.readthedocs.io/) is recommended where it is available, and never required. The SDK needs no
  setting: `with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: runner.run(main())`.
- Use `Client(max_in_flight=100)` for hundreds of creates, if the API's rate limits allow it. The default of 32 is a
  guess at what any API accepts; a 429 lowers it.
- Call `gc.freeze()` after a program's imports. It keeps the imported objects out of the full garbage collections, which
  are the longest stalls of a loop with thousands of tasks.
- Use `wait_until_all` instead of a task for each `wait_until`.
"""
