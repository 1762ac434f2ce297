"""The page and its pictures, made from the results alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from cells import FLEET_NAMES, NAMES, table
from figures import Figure, figures
from fleet_sections import CHOSEN, choices
from machine import ROOT
from sections import FASTER, SECTIONS

OPENING = """\
# Benchmarks

<!-- made by benchmarks/page.py: change it there -->

This page compares performance: what creating and waiting costs in each way that a user would otherwise pick, which
limits are promised and kept, and what reads, lists, fleets and waits cost in detail.

"""

LIMITS = """
## Limits

The promises are ratios to bare aiohttp and to the same work written by hand, measured in the same run, so they hold on
any machine. Polls, bytes, lags and stalls have limits of their own.

"""

INFORMATION = """
For information, without a limit, because it depends on the machine:

"""

MEASURED = """
## How it is measured

`python3 noxfile.py -s bench` repeats all measurements (25 minutes; `-- --quick`: less of everything, 3 minutes) and
reports what became slower than the saved results, `benchmarks/baseline.json`. `-- --publish` saves the new results and
writes this page from them.

Measured on {dates}: {cpu}, {cores} cores, {memory_gb} GB, {system}, Python {python}.

{versions}
{skipped}
{conditions}

| word | what it means here |
| --- | --- |
| poll | one read of the account's list, which all waits of a client share; at rest it shows nothing new |
| slots | requests that may be in flight at once: `Client(max_in_flight=...)`, by default 32 |
| bare `read()` | the bytes of the answer, not decoded |
| same classes | decoded by msgspec directly into the records of the SDK, without further processing |
| by hand, the plain way | see [Create and wait](#create-and-wait) |
| as on the API's page | as the [examples of the API's documentation](https://www.vps.org/api/v1/docs/servers/) do it |
"""


CONDITIONS = """\
Everything runs on one machine. The server answers from memory on its own core{capacity}. The clients use the other
core, one at a time. Reads and lists are compared in rounds: each client gets the same work, in random order. Fleets
too: in a round, each way creates its fleet, one after the other, in random order. A ratio is the median, over all
rounds, of the ratio of two costs in the same round, so it can differ from the ratio of the two medians in a table.
The processes of reads and lists are started {sittings} times; each fleet has a process of its own. For reads and
lists, the allocator keeps freed memory with the process: otherwise chance decides how many page faults an answer
costs. CPU is user and system time of the whole client process, without its imports. Answers have the same content in
each vendor's shape, over plain HTTP; other vendors' real answers are larger.
"""


def page(results: dict[str, Any]) -> str:
    """The whole page; parts that were not measured are left out."""
    parts = [OPENING]
    if fleets := results.get("fleet"):
        parts.append(choices(fleets))
    found = figures(results)
    parts += [LIMITS, table(("", "at most", "measured", ""), _promises(found)), _reasons(found)]
    if told := [(figure.name, figure.shown) for figure in found if figure.limit is None]:
        parts += [INFORMATION, table(("", "measured"), told)]
    parts.append(_measured(results))
    for part, (title, section) in SECTIONS.items():
        if results.get(part):
            parts.append(f"\n## {title}\n\n{section(results[part])}")
    return "".join([*parts, FASTER])


def pictures(results: dict[str, Any]) -> dict[str, str]:
    """The pictures by their file names."""
    found = {}
    if gets := results.get("get"):
        reads = {NAMES[name]: row["cpu_ratio"] for name, row in gets["64"].items() if name != "raw_uvloop"}
        found["benchmark-get.svg"] = bars(
            "CPU of one read, 64 at once, relative to aiohttp + resp.json()",
            [
                (name, value, f"{value:.2f}")
                for name, value in sorted(reads.items(), key=lambda item: item[1])
            ],
        )
    if fleets := results.get("fleet"):
        count, ways = max(fleets.items(), key=lambda item: (len({*item[1]} & {*CHOSEN}), int(item[0])))
        costs = {
            FLEET_NAMES[way]: (
                row["cpu"] / int(count) * 1e6,
                f"{row['cpu'] / int(count) * 1e6:,.0f} us, {row['reads']:,.0f} reads, lag {row['lag_p99']:.2f} s",
            )
            for way, row in ways.items()
        }
        found["benchmark-fleet.svg"] = bars(
            f"CPU to create a server and wait for it, {int(count):,} servers; reads in all; 99th percentile of the lag",
            [(name, *cost) for name, cost in sorted(costs.items(), key=lambda item: item[1])],
        )
    return found


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


def _measured(results: dict[str, Any]) -> str:
    capacity = ""
    if "server" in results and "get" in results:
        clients = [row for name, row in results["get"]["64"].items() if not name.startswith("raw")]
        fastest = 1e6 / min(row["wall"] for row in clients)
        each = results["server"]["per_second"]
        capacity = (
            f", with {each:,.0f} requests a second, which is {each / fastest:.0f} times what the fastest HTTP client "
            "here sends"
        )
    skipped = results["peers"]["why"]
    return MEASURED.format(
        **results["machine"],
        dates=_dates(results["dates"]),
        versions=", ".join(f"{name} {version}" for name, version in sorted(results["versions"].items()))
        + ".",
        skipped=f"\n**The libraries of others are missing: {skipped}.**\n" if skipped else "",
        conditions=fill(CONDITIONS.format(capacity=capacity, sittings=results["sittings"]), 118),
    )


def _dates(dates: dict[str, str]) -> str:
    """When the parts were measured: one date, or each with its parts."""
    days = sorted(set(dates.values()))
    if len(days) == 1:
        return days[0]
    parts = {day: ", ".join(part for part, date in dates.items() if date == day) for day in days}
    return " and ".join(f"{day} ({parts[day]})" for day in days)


def _promises(found: list[Figure]) -> Iterator[tuple[str, ...]]:
    for figure in found:
        if figure.limit is not None:
            unit = figure.form.partition("}")[2]
            missed = "" if figure.met else f"**missed, by {figure.over:.0%}**"
            yield figure.name, f"{figure.limit:g}{unit}", figure.shown, missed


def _reasons(found: list[Figure]) -> str:
    reasons = [f"- {figure.name}: {figure.why or UNKNOWN}." for figure in found if not figure.met]
    return "\n".join(["\nCauses of the missed limits:\n", *reasons, ""]) if reasons else ""


UNKNOWN = "the cause is not known"
