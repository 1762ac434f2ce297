"""The figures that are promised, and what a run got worse in. Pure: results in, figures and sentences out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

__all__ = ["Figure", "changes", "figures"]

NOTICEABLE = 1.10
"""Less of a change than this is noise."""


@attrs.frozen
class Figure:
    """One figure; smaller is better. ``timed``: it depends on the machine, and is compared by a yardstick."""

    name: str
    value: float
    limit: float
    form: str
    timed: bool = False

    @property
    def met(self) -> bool:
        # as it is shown: what reads like the limit keeps it
        return float(self.form.format(self.value).split()[0]) <= self.limit


def figures(results: dict[str, Any]) -> list[Figure]:
    """All figures that the results hold; a quick run lacks some."""
    return list(_figures(results))


def _figures(results: dict[str, Any]) -> Iterator[Figure]:
    for at_once, how in (("1", "one after another"), ("64", "64 at once")):
        if row := _row(results, "get", at_once, "vpsorg"):
            name = f"`servers.get`, {how}: CPU by that of aiohttp + `resp.json()`"
            yield Figure(name, row["cpu_ratio"], 1.00, "{:.2f}")
    if row := _row(results, "list", "1000", "vpsorg"):
        name = "`servers.list` of 1,000: CPU by that of aiohttp + msgspec into the same classes"
        yield Figure(name, row["cpu_ratio"], 1.10, "{:.2f}")
    if row := _row(results, "list", "10000", "vpsorg_look"):
        name = "a look at 10,000 servers, 1 % changed: CPU by that of aiohttp's bare `read()`"
        yield Figure(name, row["cpu_by_aiohttp_read"], 6.0, "{:.1f}")
    if row := _row(results, "fleet", "1000", "vpsorg"):
        what = "create and wait, 1,000 servers: "
        yield Figure(f"{what}wall by the ideal", row["wall"] / row["ideal"], 1.05, "{:.2f}")
        yield Figure(f"{what}looks", row["reads"], 30, "{:.0f}")
        yield Figure(f"{what}99th percentile of the lag", row["lag_p99"], 0.2, "{:.2f} s")
        yield Figure(f"{what}CPU for each", row["cpu"] / 1000 * 1e6, 350, "{:.0f} us", timed=True)
    for count, cpu, stall in (("1000", None, 10), ("10000", 10, 20)):
        if row := _row(results, "waiters", count):
            what = f"{int(count):,} waiters: "
            if cpu is not None:
                yield Figure(
                    f"{what}memory of each, its task included", row["bytes"] / 1024, 2.0, "{:.2f} KiB"
                )
                name = f"{what}memory of each in one `wait_until_all`"
                yield Figure(name, row["bytes_all"] / 1024, 2.0, "{:.2f} KiB")
                yield Figure(f"{what}CPU of a look", row["cpu_per_look"] * 1e3, cpu, "{:.1f} ms", timed=True)
            name = f"{what}longest stall of the event loop"
            yield Figure(name, row["stall"] * 1e3, stall, "{:.1f} ms", timed=True)
    if row := _row(results, "import", "milliseconds", "vpsorg_async"):
        name = "`import vpsorg_async` beyond a bare interpreter"
        yield Figure(name, row["wall"], 60, "{:.0f} ms", timed=True)
    if row := _row(results, "import", "milliseconds", "vpsorg --version"):
        whole = row["wall"] + results["import"]["bare"]["wall"]
        yield Figure("`vpsorg --version`", whole, 150, "{:.0f} ms", timed=True)


def _row(results: dict[str, Any], *path: str) -> Any:
    found: Any = results
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def changes(results: dict[str, Any], saved: dict[str, Any]) -> list[str]:
    """What is noticeably worse or better than in the saved results, in words."""
    before = {figure.name: figure for figure in figures(saved)}
    here, there = _yardstick(results), _yardstick(saved)
    lines = []
    for figure in figures(results):
        old = before.get(figure.name)
        if old is None or not old.value or not figure.value:
            continue
        change = figure.value / old.value
        if figure.timed:
            if here is None or there is None:
                continue
            change /= here / there
        if 1 / NOTICEABLE <= change <= NOTICEABLE:
            continue
        word = "worse" if change > 1 else "better"
        now, then = figure.form.format(figure.value), figure.form.format(old.value)
        lines.append(f"{word} ({change:.2f} of what was saved): {figure.name}: {now}, saved {then}")
    return sorted(lines, reverse=True)


def _yardstick(results: dict[str, Any]) -> float | None:
    """Microseconds of one bare aiohttp read: how fast this machine is just now; None where it was not measured."""
    row = _row(results, "get", "64", "aiohttp")
    return float(row["cpu"]) if row else None
