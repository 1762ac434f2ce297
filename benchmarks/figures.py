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
    """One figure; smaller is better. ``timed``: it depends on the machine, and is compared by a yardstick.

    ``why`` is where the time or the memory goes: what is told where the limit is missed.
    """

    name: str
    value: float
    limit: float
    form: str
    timed: bool = False
    why: str = ""

    @property
    def over(self) -> float:
        """By which share of the limit it is over it, as it is shown: what reads like the limit keeps it."""
        return float(self.form.format(self.value).split()[0]) / self.limit - 1

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.over <= 0


def figures(results: dict[str, Any]) -> list[Figure]:
    """All figures that the results hold; a quick run lacks some."""
    return list(_figures(results))


def _figures(results: dict[str, Any]) -> Iterator[Figure]:
    for at_once, how in (("1", "one after another"), ("64", "64 at once")):
        if row := _row(results, "get", at_once, "vpsorg"):
            name = f"`servers.get`, {how}: CPU relative to aiohttp + `resp.json()`"
            yield Figure(name, row["cpu_ratio"], 1.00, "{:.2f}")
    if row := _row(results, "list", "1000", "vpsorg"):
        name = "`servers.list` of 1,000: CPU relative to aiohttp + msgspec into the same classes"
        yield Figure(name, row["cpu_ratio"], 1.10, "{:.2f}", why=NOTED)
    if row := _row(results, "list", "10000", "vpsorg_poll"):
        name = "a poll of 10,000 servers, 1 % changed: CPU relative to aiohttp's bare `read()`"
        yield Figure(name, row["cpu_by_aiohttp_read"], 6.0, "{:.1f}")
    if row := _row(results, "fleet", "1000", "vpsorg"):
        what = "create and wait, 1,000 servers: "
        hand = _by_hand(_row(results, "fleet", "1000", "aiohttp_shared"))
        wall, cpu = row["wall"] / row["ideal"], row["cpu"] / 1000 * 1e6
        yield Figure(f"{what}wall relative to the ideal", wall, 1.05, "{:.2f}", why=hand.get("wall", ""))
        yield Figure(f"{what}polls", row["reads"], 30, "{:.0f}", why=hand.get("polls", ""))
        name = f"{what}99th percentile of the lag"
        yield Figure(name, row["lag_p99"], 0.2, "{:.2f} s", why=hand.get("lag", ""))
        yield Figure(f"{what}CPU for each", cpu, 350, "{:.0f} us", timed=True, why=hand.get("cpu", ""))
    for count, cpu, stall in (("1000", None, 10), ("10000", 10, 20)):
        if row := _row(results, "waiters", count):
            what = f"{int(count):,} waiters: "
            if cpu is not None:
                name = f"{what}memory of each, its task included"
                yield Figure(name, row["bytes"] / 1024, 2.0, "{:.2f} KiB", why=_in_tasks(row))
                name = f"{what}memory of each in one `wait_until_all`"
                yield Figure(name, row["bytes_all"] / 1024, 2.0, "{:.2f} KiB")
                yield Figure(f"{what}CPU of a poll", row["cpu_per_poll"] * 1e3, cpu, "{:.1f} ms", timed=True)
            name = f"{what}longest stall of the event loop by work of the waits"
            yield Figure(name, row["stall"] * 1e3, stall, "{:.1f} ms", timed=True)
            name = f"{what}the same, where all time out together"
            yield Figure(name, row["stall_late"] * 1e3, stall, "{:.1f} ms", timed=True)
    if row := _row(results, "import", "milliseconds", "vpsorg_async"):
        name = "`import vpsorg_async` beyond a bare interpreter"
        yield Figure(name, row["wall"], 60, "{:.0f} ms", timed=True)
    if row := _row(results, "import", "milliseconds", "vpsorg --version"):
        whole = row["wall"] + results["import"]["bare"]["wall"]
        yield Figure("`vpsorg --version`, with the interpreter's start", whole, 150, "{:.0f} ms", timed=True)


NOTED = (
    "the status and the time of each server are recorded for later waits, and duplicate servers are removed"
)


def _by_hand(row: Any) -> dict[str, str]:
    """What of a fleet's figures is not ours: those of the way by hand, where it was measured."""
    if row is None:
        return {}
    hand = "written by hand with bare aiohttp, without checks, retries or memory, it is"
    return {
        "wall": f"{hand} {row['wall'] / row['ideal']:.2f}: a thousand creates need one core for this time",
        "polls": f"{hand} {row['reads']:.0f}: the number that fits between the first server and the last",
        "lag": f"{hand} {row['lag_p99']:.2f} s; the rest are intervals that grow when few servers are left",
        "cpu": f"{hand} {row['cpu'] / 1000 * 1e6:.0f} us on this machine; the rest is spent on checking and encoding "
        "each spec, on the proof whether a create left, and on reporting each server twice, created and ready",
    }


def _in_tasks(row: dict[str, Any]) -> str:
    task, wait = row["bytes_bare"] / 1024, row["bytes_all"] / 1024
    return f"a bare task takes {task:.2f} KiB of it, the wait and its row in the last list {wait:.2f} KiB"


def _row(results: dict[str, Any], *path: str) -> Any:
    found: Any = results
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def changes(results: dict[str, Any], saved: dict[str, Any]) -> list[str]:
    """What is noticeably worse or better than in the saved results, in words; first, how they can be compared."""
    before = {figure.name: figure for figure in figures(saved)}
    here, there = _yardstick(results), _yardstick(saved)
    lines, notes = [], []
    if results["machine"] != saved["machine"]:
        notes.append("those are of another machine")
    if here is not None and there is not None:
        pace = f"aiohttp takes {here / there:.2f} times as long as then"
        notes.append(f"{pace}, which is taken out of times")
    elif any(figure.timed for figure in figures(results)):
        notes.append(
            "times are not compared, because `get`, which tells the machine's pace, was not measured"
        )
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
        taken_out = ", pace taken out" if figure.timed else ""
        lines.append(
            f"{word} ({change:.2f} of what was saved{taken_out}): {figure.name}: {now}, saved {then}"
        )
    return notes + (sorted(lines, reverse=True) or ["no noticeable change"])


def _yardstick(results: dict[str, Any]) -> float | None:
    """Microseconds of one read with aiohttp and `resp.json()`: the machine's pace; None where it was not measured."""
    row = _row(results, "get", "64", "aiohttp")
    return float(row["cpu"]) if row else None
