"""The figures that are promised, and what a run got worse in. Pure: results in, figures and sentences out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

__all__ = ["END_LIMITS", "EndLimit", "Figure", "changes", "figures"]

NOTICEABLE = 1.10
"""Less of a change than this is noise."""


Row = dict[str, Any]


@attrs.frozen
class Figure:
    """One figure; smaller is better. ``timed``: it depends on the machine, and is compared by a yardstick.

    ``limit`` is None for what is told for information alone. ``why`` is where the time or the memory goes: what is
    told where the limit is missed.
    """

    name: str
    value: float
    limit: float | None
    form: str
    timed: bool = False
    why: str = ""

    @property
    def shown(self) -> str:
        """The value with its unit."""
        return self.form.format(self.value)

    @property
    def over(self) -> float:
        """By which share of the limit it is over it, as it is shown: what reads like the limit keeps it."""
        return float(self.shown.split()[0]) / self.limit - 1 if self.limit else 0.0

    @property
    def met(self) -> bool:
        """Whether the limit is kept."""
        return self.over <= 0


@attrs.frozen
class EndLimit:
    """What is promised of the end of fleets: of which rows of ``ends.py``, which figure, and at most how much."""

    which: str
    counts: Callable[[Row], bool]
    figure: str
    limit: float

    def worst(self, table: Iterable[Row]) -> Row | None:
        """The row that counts; each is a mean over its seeds."""
        return max(filter(self.counts, table), key=lambda each: each[self.figure], default=None)


END_LIMITS = (
    EndLimit("cold", lambda each: each["fleet"] == "cold", "end", 1.10),
    EndLimit("second", lambda each: each["fleet"] == "second", "end", 1.05),
    EndLimit("2-5 min", lambda each: each["shape"].startswith("2-5 min"), "end", 1.015),
    EndLimit("200 of 3-6 s", lambda each: (each["shape"], each["servers"]) == ("3-6 s", 200), "end", 1.10),
    EndLimit("2-5 min", lambda each: each["shape"].startswith("2-5 min"), "polls", 150),
    EndLimit("50 of 12-30 s", lambda each: (each["shape"], each["servers"]) == ("12-30 s", 50), "polls", 60),
    EndLimit("1,000 of 3-6 s", lambda each: (each["shape"], each["servers"]) == ("3-6 s", 1000), "polls", 40),
)


def figures(results: dict[str, Any]) -> list[Figure]:
    """All figures that the results hold; a quick run lacks some, and so do results of an older form."""
    return [
        *_requests(results),
        *_fleets(results),
        *_waiters(results),
        *_ends(results),
        *_information(results),
    ]


def _requests(results: dict[str, Any]) -> Iterator[Figure]:
    for at_once, how, limit in (("1", "one after another", 0.95), ("64", "64 at once", 1.00)):
        if row := _row(results, "get", at_once, "vpsorg"):
            name = f"`servers.get`, {how}: CPU relative to aiohttp + `resp.json()`"
            yield Figure(name, row["cpu_ratio"], limit, "{:.2f}", why=EXCHANGE)
    if row := _row(results, "list", "1000", "vpsorg"):
        name = "`servers.list` of 1,000: CPU relative to aiohttp + msgspec into the same classes"
        yield Figure(name, row["cpu_ratio"], 1.05, "{:.2f}", why=NOTED)
    if row := _row(results, "list", "10000", "vpsorg_poll"):
        name = "a poll of 10,000 servers, 1 % changed: CPU relative to aiohttp's bare `read()`"
        yield Figure(name, row["cpu_by_aiohttp_read"], 3.0, "{:.1f}", why=COMPARED)


def _fleets(results: dict[str, Any]) -> Iterator[Figure]:
    row, hand = (_row(results, "fleet", "1000", way) for way in ("vpsorg", "aiohttp_shared"))
    if row and hand and "cpu_by_hand" in row:
        what, why = "create and wait, 1,000 servers: ", _by_hand(row, hand)
        yield Figure(f"{what}CPU relative to by hand", row["cpu_by_hand"], 1.25, "{:.2f}", why=why["cpu"])
        if "cpu_by_plain" in row:
            name = f"{what}CPU relative to the plain way"
            yield Figure(name, row["cpu_by_plain"], 0.90, "{:.2f}", why=why["cpu"])
            name = f"{what}wall relative to the better of these two"
            yield Figure(name, row["wall_by_better"], 1.01, "{:.3f}", why=why["wall"])
        name = f"{what}99th percentile of the lag"
        yield Figure(name, row["lag_p99"], 0.2, "{:.2f} s", why=why["lag"])
        polls = hand["reads"] + row["reads_beyond_hand"]
        yield Figure(
            f"{what}polls, at most by hand + 1", polls, hand["reads"] + 1, "{:.0f}", why=why["polls"]
        )
    if (row := _row(results, "fleet", "1000", "vpsorg_journal")) and "wall_by_learned" in row:
        name = "create and wait, 1,000 servers: wall with a journal relative to without"
        why = "each intent waits for the disk, together with those of the other slots"
        yield Figure(name, row["wall_by_learned"], 1.05, "{:.3f}", why=why)
    if row := _row(results, "growth", "10000", "vpsorg"):
        name = "create and wait, 10,000 servers: CPU for each relative to a fleet of 1,000"
        hand = _row(results, "growth", "10000", "aiohttp_shared")
        why = f"by hand this ratio is {hand['cpu_each_by_1000']:.2f}: each list is ten times as long"
        yield Figure(name, row["cpu_each_by_1000"], 1.00, "{:.2f}", why=why)
    if (row := _row(results, "fleet", "200", "vpsorg_default")) and "wall_by_ideal" in row:
        name = "create and wait, 200 servers, no options, nothing learned: wall relative to the ideal"
        why = "with the default of 32 requests at once, 200 creates take seven times the latency of one"
        yield Figure(name, row["wall_by_ideal"], 1.10, "{:.2f}", why=why)


def _waiters(results: dict[str, Any]) -> Iterator[Figure]:
    if row := _row(results, "waiters", "10000"):
        what = "10,000 waiters: "
        name = f"{what}memory of each, its task included"
        yield Figure(name, row["bytes"] / 1024, 2.0, "{:.2f} KiB", why=_in_tasks(row))
        name = f"{what}memory of each in one `wait_until_all`"
        yield Figure(name, row["bytes_all"] / 1024, 1.6, "{:.2f} KiB", why=IN_ONE)
        name = f"{what}longest stall of the event loop by work of the waits"
        yield Figure(name, row["stall"] * 1e3, 15, "{:.1f} ms", timed=True, why=STEPS)
        name = f"{what}the same, where all time out together"
        yield Figure(name, row["stall_late"] * 1e3, 15, "{:.1f} ms", timed=True, why=STEPS)


def _ends(results: dict[str, Any]) -> Iterator[Figure]:
    for each in END_LIMITS:
        if worst := each.worst(results.get("ends", ())):
            what = {"end": "end of the fleet relative to the ideal", "polls": "polls"}[each.figure]
            form = {"end": "{:.3f}", "polls": "{:.0f}"}[each.figure]
            why = f"the worst is {worst['servers']:,} of {worst['shape']}, {worst['fleet']} fleet"
            name = f"default settings, virtual time, {each.which}: {what}"
            yield Figure(name, worst[each.figure], each.limit, form, why=why)


def _information(results: dict[str, Any]) -> Iterator[Figure]:
    """What depends on the machine, and is therefore no promise."""
    for way, which in (("vpsorg", "vpsorg_async"), ("aiohttp_shared", "by hand")):
        if row := _row(results, "fleet", "1000", way):
            what = f"create and wait, 1,000 servers, {which}: "
            yield Figure(f"{what}CPU for each", row["cpu"] / 1000 * 1e6, None, "{:.0f} us", timed=True)
            yield Figure(f"{what}memory at the peak", row["peak"], None, "{:.0f} MB")
    if row := _row(results, "waiters", "10000"):
        yield Figure(
            "10,000 waiters: CPU of a poll", row["cpu_per_poll"] * 1e3, None, "{:.1f} ms", timed=True
        )
    if row := _row(results, "plan", "5000"):
        for key, what in (("cpu", "CPU of a plan"), ("check", "CPU of its check before it is applied")):
            name = f"a fleet of 5,000 servers: {what}"
            yield Figure(name, row[key] * 1e3, None, "{:.0f} ms", timed=True)
    if row := _row(results, "import", "milliseconds", "vpsorg_async"):
        name = "`import vpsorg_async` beyond a bare interpreter"
        yield Figure(name, row["wall"], None, "{:.0f} ms", timed=True)
    if row := _row(results, "import", "milliseconds", "vpsorg --version"):
        whole = row["wall"] + results["import"]["bare"]["wall"]
        yield Figure("`vpsorg --version`, with the interpreter's start", whole, None, "{:.0f} ms", timed=True)


EXCHANGE = (
    "each request has a deadline, a slot, a limit for its answer and a proof whether it was sent; the typed decode "
    "saves less than these cost"
)
NOTED = (
    "the status and the time of each server are recorded for later waits, and duplicate servers are removed"
)
COMPARED = "the answer is searched for the rows that changed, and these are decoded"
IN_ONE = "this is the wait, its row in the last list and its entry in the schedule"
STEPS = "the longest piece of work between two moments in which the event loop can run something else"


def _by_hand(row: Row, hand: Row) -> dict[str, str]:
    """What of a fleet's figures is not ours: those of the way by hand."""
    without = "by hand, without checks, retries, limits or memory, it is"
    here, there = (each["cpu"] / 1000 * 1e6 for each in (row, hand))
    return {
        "cpu": f"{without} {there:.0f} us a server, here {here:.0f} us; the difference is spent on checking and "
        "encoding each spec, on the proof whether a create left, and on reporting each server twice, created and ready",
        "wall": f"{without} {hand['wall_by_ideal']:.2f} of the ideal, here {row['wall_by_ideal']:.2f}: a thousand "
        "creates need one core for this time",
        "lag": f"{without} {hand['lag_p99']:.2f} s; the rest are intervals that grow when few servers are left",
        "polls": f"{without} {hand['reads']:.0f}, here {row['reads']:.0f}, of which one is read before the first "
        "create, to find names that exist",
    }


def _in_tasks(row: Row) -> str:
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
        if old is None or old.value <= 0 or figure.value <= 0:
            continue
        change = figure.value / old.value
        if figure.timed:
            if here is None or there is None:
                continue
            change /= here / there
        if 1 / NOTICEABLE <= change <= NOTICEABLE:
            continue
        word = "worse" if change > 1 else "better"
        taken_out = ", pace taken out" if figure.timed else ""
        lines.append(
            f"{word} ({change:.2f} of what was saved{taken_out}): {figure.name}: {figure.shown}, saved {old.shown}"
        )
    return notes + (sorted(lines, reverse=True) or ["no noticeable change"])


def _yardstick(results: dict[str, Any]) -> float | None:
    """Microseconds of one read with aiohttp and `resp.json()`: the machine's pace; None where it was not measured."""
    row = _row(results, "get", "64", "aiohttp")
    return float(row["cpu"]) if row else None
