"""The sections of the page about fleets."""

from __future__ import annotations

from cells import FLEET_NAMES, Rows, figure, table

__all__ = ["CHOSEN", "accounts", "choices", "fleets", "growth"]

CHOICES = """\
Create servers and wait until all are active, with what is at hand. They are ready 3 to 6 seconds after their create, so
no way can end before the ideal, six seconds. CPU is that of the whole client process, for each server. By hand and the
plain way are clients of some thirty lines without checks or retries; all rows are explained
[below](#create-and-wait).

"""


def choices(fleets: dict[str, Rows]) -> str:
    """What a user would otherwise pick, for the sizes that were measured with the libraries of others."""
    sizes = [count for count in ("200", "1000") if count in fleets] or list(fleets)
    head = ["create and wait"]
    for count in sizes:
        head += [f"{int(count):,} servers: wall s", "wall / ideal", "requests", "CPU us a server"]
    rows = []
    for way in CHOSEN:
        found = [fleets[count].get(way) for count in sizes]
        if any(found):
            cells = [FLEET_NAMES[way]]
            for count, row in zip(sizes, found, strict=True):
                share = row and {"share": row["wall"] / row["ideal"], "requests": row["reads"] + int(count)}
                cells += [
                    figure(row, "wall", "{:.1f}"),
                    figure(share, "share", "{:.2f}"),
                    figure(share, "requests", "{:,.0f}"),
                    figure(row, "cpu", "{:,.0f}", int(count) / 1e6),
                ]
            rows.append(cells)
    return CHOICES + table(head, rows)


CHOSEN = (
    "requests", "hcloud", "pydo", "aiohttp", "aiohttp_plain", "aiohttp_shared", "vpsorg_default", "vpsorg",
)  # fmt: skip


FLEETS = """\
Each answer takes 20 ms; the k-th server is active 3 to 6 seconds after its create, for every way. The ideal is the
slowest server plus one answer. The lag is how late a server was seen to be active. Each way runs in a process of its
own, after a fleet of 100 that is not counted. "Learned" means that the durations of this fleet were stored
(`durations_file`); otherwise the SDK knows only the documented 2 to 5 minutes, which is wrong here. Except in the row
without options, vpsorg_async polls at intervals of at least 0.1 s and has 100 slots, the default of aiohttp. Blocking
libraries have 64 threads, and a thread that waits between two reads creates nothing.

By hand is the least that this costs: bare aiohttp, one list for all ten times a second from the moment at which the
first server can be ready, of which only ids and statuses are decoded; nothing is checked, retried, limited or
remembered. The plain way creates all, and then decodes the whole list with `resp.json()` ten times a second. The ratio
to by hand is the median of the ratios of the same round; on uvloop, by hand runs on uvloop too.

![CPU to create a server and wait for it](img/benchmark-fleet.svg)

"""


def fleets(found: dict[str, Rows]) -> str:
    """All ways, for each size of fleet."""
    parts = []
    for count, ways in found.items():
        head = (
            f"{int(count):,} servers", "wall s", "wall / ideal", "lag mean s", "lag p99 s", "reads", "connections",
            "CPU us a server", "relative to by hand", "peak MB", "of it imports", "rounds",
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
                figure(row, "cpu_by_hand", "{:.2f}"),
                f"{row['peak']:.0f}",
                f"{row['peak_imported']:.0f}",
                f"{row['rounds']}",
            )
            for way, row in sorted(ways.items(), key=lambda item: list(FLEET_NAMES).index(item[0]))
        )
        parts.append(table(head, rows))
    return FLEETS + "\n".join(parts)


GROWTH = """\
The same, by hand and with durations learned, for fleets of other sizes. A fleet of 10,000 is limited by the CPU of one
core in both ways.

"""


def growth(found: dict[str, Rows]) -> str:
    """Fleets of several sizes."""
    return GROWTH + _by_hand_and_ours("servers in the fleet", found)


def _by_hand_and_ours(what: str, sizes: dict[str, Rows], servers: int | None = None) -> str:
    """A row for each size and way; ``servers`` in the fleet, where the sizes are those of something else."""
    head = (
        what, "CPU us a server", "relative to by hand", *(() if servers else ("relative to 1,000 servers",)),
        "wall s", "wall / ideal", "lag p99 s", "reads", "MB received", "peak MB",
    )  # fmt: skip
    rows = (
        (
            f"{int(size):,}: {FLEET_NAMES[way]}",
            f"{row['cpu'] / (servers or int(size)) * 1e6:,.0f}",
            figure(row, "cpu_by_hand", "{:.2f}"),
            *(() if servers else (figure(row, "cpu_each_by_1000", "{:.2f}"),)),
            f"{row['wall']:.2f}",
            f"{row['wall_by_ideal']:.2f}",
            f"{row['lag_p99']:.2f}",
            f"{row['reads']:,.0f}",
            f"{row['megabytes']:,.0f}",
            f"{row['peak']:.0f}",
        )
        for size, ways in sizes.items()
        for way, row in sorted(ways.items())
    )
    return table(head, rows)


ACCOUNTS = """\
A fleet of 100 is created and waited for while the account has this number of other servers, which never change. By hand
reads the whole list each time; the SDK reads the list once to find names that exist, and then compares what a list and
reads by id would cost.

"""


def accounts(found: dict[str, Rows]) -> str:
    """Accounts of several sizes."""
    return ACCOUNTS + _by_hand_and_ours("servers in the account", found, servers=100)
