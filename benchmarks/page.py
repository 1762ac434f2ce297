"""The page and its pictures, made from the results alone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from figures import figures
from machine import ROOT

NAMES = {
    "raw": "bytes over a socket (asyncio protocol)",
    "raw_uvloop": "bytes over a socket, uvloop",
    "aiohttp": "aiohttp + `resp.json()`",
    "aiohttp_read": "aiohttp, bare `read()`",
    "aiohttp_typed": "aiohttp + msgspec, same classes",
    "aiohttp_uvloop": "aiohttp + `resp.json()`, uvloop",
    "vpsorg": "**vpsorg_async**",
    "vpsorg_default": "**vpsorg_async**, 32 slots (default)",
    "vpsorg_poll": "**vpsorg_async**, a poll of the waits, 1 % changed",
    "vpsorg_first_poll": "**vpsorg_async**, a poll of the waits, the first one",
    "vpsorg_uvloop": "**vpsorg_async**, uvloop",
    "httpx": "httpx.AsyncClient + `json()`",
    "requests": "`requests.get`, as on the API's page",
    "requests_session": "`requests.Session`",
    "hcloud": "hcloud",
    "scaleway": "scaleway_async",
    "pydo": "pydo.aio",
}
FLEET_NAMES = {
    "requests": "`requests`, as on the API's page, 64 threads",
    "hcloud": "hcloud, `action.wait_until_finished`, 64 threads",
    "pydo": "pydo.aio, gathered, a read a second each",
    "aiohttp": "aiohttp, gathered, a read a second each",
    "aiohttp_shared": "aiohttp, by hand: one list for all, started when the first is ready",
    "vpsorg": "**vpsorg_async**, durations learned",
    "vpsorg_cold": "**vpsorg_async**, nothing learned yet",
    "vpsorg_default": "**vpsorg_async**, no options at all",
}

INTRO = """\
# Benchmarks

<!-- made by benchmarks/page.py: change it there -->

This page shows what reads, lists, fleets and waits cost, compared with other libraries, and which limits are kept.
`python3 noxfile.py -s bench` repeats all measurements (22 minutes; `-- --quick`: less of everything, 3 minutes) and
reports what became slower than the saved results, `benchmarks/baseline.json`. `-- --publish` saves the new results and
writes this page from them.

Measured on {dates}: {cpu}, {cores} cores, {memory_gb} GB, {system}, Python {python}.

{versions}
{skipped}
Everything runs on one machine. The server answers from memory on its own core, with {capacity} requests a second, which
is {headroom} times what the fastest HTTP client here sends. The clients use the other core, one at a time. Reads and
lists are compared in rounds: each client gets the same work, in random order. A ratio is the median, over all rounds,
of the ratio of two costs in the same round, so it can differ from the ratio of the two medians in a table. The
processes are restarted {sittings} times. CPU is user and system time of the whole client process, without its
imports. Answers have the same content in each vendor's shape, over plain HTTP; other vendors' real answers are larger.

| word | what it means here |
| --- | --- |
| poll | one read of the account's list, which all waits of a client share; at rest it shows nothing new |
| slots | requests that may be in flight at once: `Client(max_in_flight=...)`, by default 32 |
| bare `read()` | the bytes of the answer, not decoded |
| same classes | decoded by msgspec directly into the records of the SDK, without further processing |
| as on the API's page | as the [examples of the API's documentation](https://www.vps.org/api/v1/docs/servers/) do it |

## Limits

"""


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    parts = [_intro(results), _table(("", "at most", "measured", ""), _promises(results)), _reasons(results)]
    parts += ["\n## One server read\n\n", "![CPU of one read relative to aiohttp](img/benchmark-get.svg)\n\n"]
    parts.append(_gets(results["get"]))
    parts += ["\n## Lists\n\n", _lists(results["list"])]
    parts += ["\n## Create and wait\n\n", FLEETS, _fleets(results["fleet"])]
    parts += ["\n## Many waiters\n\n", WAITERS, _waiters(results["waiters"])]
    parts += ["\n## How often to poll\n\n", SIMULATION, _simulation(results["simulation"])]
    parts += [
        "\n## Import and size\n\n",
        IMPORTS.format(**results["import"]["bare"]),
        _imports(results["import"]),
    ]
    return "".join([*parts, FASTER])


def pictures(results: dict[str, Any]) -> dict[str, str]:
    """The pictures by their file names."""
    gets = results["get"]["64"]
    reads = {NAMES[name]: row["cpu_ratio"] for name, row in gets.items() if name not in ("raw_uvloop",)}
    fleet = results["fleet"]["1000"]
    costs = {
        FLEET_NAMES[way]: (
            row["cpu"] / 1000 * 1e6,
            f"{row['cpu'] / 1000 * 1e6:,.0f} us, {row['reads']:,.0f} reads, lag {row['lag_p99']:.2f} s",
        )
        for way, row in fleet.items()
    }
    return {
        "benchmark-get.svg": bars(
            "CPU of one read, 64 at once, relative to aiohttp + resp.json()",
            [
                (name, value, f"{value:.2f}")
                for name, value in sorted(reads.items(), key=lambda item: item[1])
            ],
        ),
        "benchmark-fleet.svg": bars(
            "CPU to create a server and wait for it, 1,000 servers; reads in all; 99th percentile of the lag",
            [(name, *cost) for name, cost in sorted(costs.items(), key=lambda item: item[1])],
        ),
    }


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """A bar for each row: name, length, what stands behind it."""
    sys.path.append(str(ROOT / "docs"))
    from pictures import picture, text  # the documentation's own way of drawing

    longest = max(value for _, value, _ in rows)
    parts = [text(30, 34, title, "head")]
    for number, (name, value, words) in enumerate(rows):
        y, ours = 62 + 27 * number, "vpsorg" in name
        length = max(value / longest * 250, 1.5)
        colour = "--main" if ours else "--line"
        parts += [
            text(345, y + 14, name.replace("**", "").replace("`", ""), "head" if ours else "", "end"),
            f'<rect x="357" y="{y}" width="{length:.1f}" height="19" rx="3" style="fill: var({colour})"/>',
            text(365 + length, y + 14, words, "soft"),
        ]
    return picture(880, 62 + 27 * len(rows) + 20, title, *parts)


def write(results: dict[str, Any], folder: Path) -> list[Path]:
    """Write page and pictures below the folder of the documentation."""
    files = {"benchmarks.md": page(results)}
    files |= {f"img/{name}": drawing for name, drawing in pictures(results).items()}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, "utf-8")
    return [folder / name for name in files]


def _intro(results: dict[str, Any]) -> str:
    clients = [row for name, row in results["get"]["64"].items() if not name.startswith("raw")]
    fastest = 1e6 / min(row["wall"] for row in clients)
    skipped = results["peers"]["why"]
    return INTRO.format(
        **results["machine"],
        dates=_dates(results["dates"]),
        versions=", ".join(f"{name} {version}" for name, version in sorted(results["versions"].items()))
        + ".",
        skipped=f"\n**The libraries of others are missing: {skipped}.**\n" if skipped else "",
        capacity=f"{results['server']['per_second']:,.0f}",
        headroom=f"{results['server']['per_second'] / fastest:.0f}",
        sittings=results["sittings"],
    )


def _dates(dates: dict[str, str]) -> str:
    """When the parts were measured: one date, or each with its parts."""
    days = sorted(set(dates.values()))
    if len(days) == 1:
        return days[0]
    parts = {day: ", ".join(part for part, date in dates.items() if date == day) for day in days}
    return " and ".join(f"{day} ({parts[day]})" for day in days)


def _promises(results: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    for figure in figures(results):
        unit = figure.form.partition("}")[2]
        measured = figure.form.format(figure.value)
        missed = "" if figure.met else f"**missed, by {figure.over:.0%}**"
        yield figure.name, f"{figure.limit:g}{unit}", measured, missed


def _reasons(results: dict[str, Any]) -> str:
    reasons = [
        f"- {figure.name}: {figure.why}." for figure in figures(results) if figure.why and not figure.met
    ]
    return "\n".join(["\nCauses of the missed limits:\n", *reasons, ""]) if reasons else ""


def _gets(gets: dict[str, Any]) -> str:
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
    return _table(head, rows)


def _lists(lists: dict[str, Any]) -> str:
    head = ["milliseconds for one list, CPU"]
    names = next(iter(lists.values()))
    for count in lists:
        head += [f"{int(count):,} servers", "relative to aiohttp + msgspec", "relative to bare `read()`"]
    rows = [
        [
            NAMES[name],
            *(
                cell
                for table in lists.values()
                for cell in (
                    f"{table[name]['cpu'] / 1e3:.2f}",
                    f"{table[name]['cpu_ratio']:.2f}",
                    f"{table[name]['cpu_by_aiohttp_read']:.1f}",
                )
            ),
        ]
        for name in names
    ]
    return _table(head, rows)


FLEETS = """\
Each answer takes 20 ms; the k-th server is active 3 to 6 seconds after its create, for every library. The ideal
is the slowest server plus one answer. The lag is how late a server was seen to be active. Except in the row without
options, vpsorg_async polls at intervals of at least 0.1 s and has 100 slots, the default of aiohttp. "Learned" means
that a fleet of 100 was created before, in the same process and not counted, and its durations stored
(`durations_file`). Otherwise the SDK knows only the documented 2 to 5 minutes, which is wrong here. Blocking libraries
have 64 threads, and a thread that waits between two reads creates nothing.

![CPU to create a server and wait for it](img/benchmark-fleet.svg)

"""


def _fleets(fleets: dict[str, Any]) -> str:
    parts = []
    for count, ways in fleets.items():
        head = (
            f"{int(count):,} servers", "wall s", "wall / ideal", "lag mean s", "lag p99 s", "reads", "connections",
            "CPU us a server", "peak MB", "of it imports", "rounds",
        )  # fmt: skip
        rows = (
            (
                FLEET_NAMES[way],
                f"{row['wall']:.2f}",
                f"{row['wall'] / row['ideal']:.2f}",
                f"{row['lag_mean']:.2f}",
                f"{row['lag_p99']:.2f}",
                f"{row['reads']:,.0f}",
                f"{row['connections']:,.0f}",
                f"{row['cpu'] / int(count) * 1e6:,.0f}",
                f"{row['peak']:.0f}",
                f"{row['peak_imported']:.0f}",
                f"{row['rounds']}",
            )
            for way, row in sorted(ways.items(), key=lambda item: list(FLEET_NAMES).index(item[0]))
        )
        parts.append(_table(head, rows) + "\n")
    return "".join(parts)


WAITERS = """\
This number of tasks, each in `wait_until` on one client; for the memory also the same in one `wait_until_all`, which
needs no task for each wait. Memory is the growth of the resident set for each wait, including its task and the
account's last list. A bare task awaits only a future: this is what asyncio itself needs for each task. A poll at rest
shows nothing new; the other figure also includes the ends of all waits, within six seconds. The longest stall of the
event loop is that of the waits' own work. The interpreter's full garbage collections, which stop everything, are shown
separately: they grow with all objects of a process (0.0: there was none). "All time out" is one `wait_until_all` whose
waits all have the same deadline.

"""


def _waiters(waiters: dict[str, Any]) -> str:
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
    return _table(head, rows)


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
    table = []
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
        table.append(cells)
    return _table(head, table)


IMPORTS = """\
Milliseconds beyond an interpreter that does nothing ({wall:.0f} ms); megabytes of the library and its requirements,
without bytecode. `import vpsorg_async` imports only what scripts and the command's `--help` need; aiohttp and the
rest are imported with `Client`, or when the first client is opened. The other libraries import everything at once.

"""

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
    return _table(("", "wall ms", "CPU ms", "MB", "packages"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruler = ["---", *("---:" for _ in head[1:])]
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, ruler, *rows))
