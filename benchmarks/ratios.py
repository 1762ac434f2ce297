"""What rounds of measurements say of each other: medians, and ratios of costs of the same round. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import attrs

__all__ = ["Costs", "Fleet", "fleet_table", "median_over", "medians", "ratio", "spread"]

Costs = dict[str, float]
Key = TypeVar("Key", bound=Hashable)

BY_HAND, PLAIN = "aiohttp_shared", "aiohttp_plain"


@attrs.frozen
class Fleet:
    """One fleet to create and wait for: in which way, how many servers, and how many others the account has.

    ``way`` may end with ``_uvloop``, or with ``@`` and the name of another interpreter.
    """

    way: str
    count: int
    account: int = 0

    def beside(self, way: str, count: int | None = None) -> Fleet:
        """The same in another way, on the same event loop and interpreter."""
        bare, at, python = self.way.partition("@")
        loop = "_uvloop" if bare.endswith("_uvloop") else ""
        return Fleet(f"{way}{loop}{at}{python}", self.count if count is None else count, self.account)


def median_over(
    rounds: Sequence[Mapping[Key, Costs]], keys: Sequence[Key], figure: Callable[..., float]
) -> float | None:
    """The median of a figure over the rounds in which all of these ran; None where there is no such round."""
    values = [figure(*(each[key] for key in keys)) for each in rounds if all(key in each for key in keys)]
    return statistics.median(values) if values else None


def ratio(rounds: Sequence[Mapping[Key, Costs]], key: Key, against: Key, kind: str) -> float | None:
    """The median ratio of two costs of the same round."""
    return median_over(rounds, (key, against), lambda one, other: one[kind] / other[kind])


def spread(rounds: Sequence[Mapping[str, Costs]], name: str, against: str) -> tuple[float, float]:
    """The quartiles of the ratio of CPU."""
    ratios = sorted(costs[name]["cpu"] / costs[against]["cpu"] for costs in rounds)
    return ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]


def medians(several: Sequence[Costs]) -> Costs:
    """The median of each figure."""
    return {key: statistics.median(one[key] for one in several) for key in several[0]}


def fleet_table(rounds: Sequence[Mapping[Fleet, Costs]], count: int, account: int = 0) -> dict[str, Costs]:
    """The row of each way, for one size of fleet and account; ratios that no round has are left out."""
    fleets = dict.fromkeys(fleet for each in rounds for fleet in each)
    return {
        fleet.way: _row(rounds, fleet) for fleet in fleets if (fleet.count, fleet.account) == (count, account)
    }


def _row(rounds: Sequence[Mapping[Fleet, Costs]], fleet: Fleet) -> Costs:
    hand, plain, thousand = fleet.beside(BY_HAND), fleet.beside(PLAIN), attrs.evolve(fleet, count=1000)
    several = [each[fleet] for each in rounds if fleet in each]
    ratios = {
        "cpu_by_hand": ratio(rounds, fleet, hand, "cpu"),
        "cpu_by_plain": ratio(rounds, fleet, plain, "cpu"),
        "wall_by_better": median_over(
            rounds,
            (fleet, hand, plain),
            lambda ours, one, other: ours["wall"] / min(one["wall"], other["wall"]),
        ),
        "wall_by_learned": ratio(rounds, fleet, fleet.beside("vpsorg"), "wall"),
        "wall_by_ideal": median_over(rounds, (fleet,), lambda ours: ours["wall"] / ours["ideal"]),
        "reads_beyond_hand": median_over(
            rounds, (fleet, hand), lambda ours, one: ours["reads"] - one["reads"]
        ),
        "cpu_each_by_1000": median_over(
            rounds,
            (fleet, thousand),
            lambda ours, small: ours["cpu"] / fleet.count / (small["cpu"] / 1000),
        ),
    }
    found: dict[str, Any] = medians(several) | {"rounds": len(several)}
    return found | {key: value for key, value in ratios.items() if value is not None}
