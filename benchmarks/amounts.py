"""How much is measured: the whole run, and the quick one."""

from __future__ import annotations

import attrs

__all__ = ["FULL", "QUICK", "Amount"]


@attrs.frozen
class Amount:
    """How much is done.

    ``lists``: servers in the list -> calls, an even number for the longest, because every other answer differs.
    ``fleets``: servers in the fleet -> way -> rounds; the ways of one size run turn about. ``growth``, ``accounts`` and
    ``waiters``: their number -> rounds. ``ends``: the shapes of durations, or none for all.
    """

    sittings: int
    rounds: int
    gets: int
    gets_at_once: int
    lists: dict[int, int]
    fleets: dict[int, dict[str, int]]
    growth: dict[int, int]
    accounts: dict[int, int]
    waiters: dict[int, int]
    ends: tuple[str, ...]
    imports: int


def rounds(number: int, *ways: str) -> dict[str, int]:
    return dict.fromkeys(ways, number)


FULL = Amount(
    sittings=3,
    rounds=5,
    gets=150,
    gets_at_once=640,
    lists={100: 50, 1000: 5, 10_000: 6},
    fleets={
        # the ways with a thread for each server take long; for 1,000 servers they would take a minute and a half
        200: rounds(3, "vpsorg", "vpsorg_default", "aiohttp_shared", "aiohttp_plain")
        | rounds(2, "aiohttp", "pydo")
        | rounds(1, "requests", "hcloud"),
        1000: rounds(5, "vpsorg", "vpsorg_journal", "aiohttp_shared", "aiohttp_plain")
        | rounds(3, "vpsorg_uvloop", "aiohttp_shared_uvloop")
        | rounds(2, "vpsorg_cold", "vpsorg_default", "aiohttp", "pydo"),
    },
    growth={100: 3, 1000: 5, 10_000: 5},
    accounts={1000: 2, 10_000: 2, 100_000: 2},
    waiters={1000: 1, 10_000: 3},
    ends=(),
    imports=15,
)
QUICK = Amount(
    sittings=1,
    rounds=5,
    gets=50,
    gets_at_once=192,
    lists={100: 20, 1000: 3, 10_000: 4},
    fleets={
        200: rounds(1, "vpsorg_default", "pydo"),
        1000: rounds(1, "aiohttp_shared", "aiohttp_plain", "vpsorg"),
    },
    growth={},
    accounts={10_000: 1},
    waiters={10_000: 1},
    ends=("3-6 s", "2-5 min"),
    imports=3,
)
