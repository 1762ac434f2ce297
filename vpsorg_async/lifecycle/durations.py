"""How long commands take: a prior from the documentation, then what has been seen. Pure. All numbers are seconds.

A model is a density over durations, in spans. It stands still while a run of waits is under way, because the first to
end are the fastest of their kind and would mislead; what a run showed is learned at its end, as a few dozen of its
quantiles. Only one thing is taken from a run at once: a first sighting where the model expected none. Then the whole
model is laid over it a second time, scaled to begin there.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

__all__ = ["Durations", "Kind", "Model"]

Kind = tuple[str, str, str]
"""Operation, plan id and location; empty where unknown."""

LIMIT = 128
"""Durations remembered of one kind; the newest ones."""
PER_RUN = 64
"""Durations that one run of waits leaves, however many waits it had."""
LEARNED = 10
"""From so many on, what was seen is trusted to say when nothing can have happened."""
SURPRISE = 0.02
"""A first sighting less likely than this, by the model, tells that the model is of another scale."""
RESCALED = 0.7
"""The share that a surprising first sighting moves over to the scaled model."""
KERNEL = 2.0
"""The half-width of a kernel, in standard deviations over the cube root of their number."""
BROAD = 0.2
"""The share that is spread evenly over all that was seen, so that a sample's gaps are not taken for the truth's."""
LONGEST = 7200.0


@attrs.frozen
class _Span:
    """A share of probability spread over durations, evenly or evenly in the logarithm."""

    low: float
    high: float
    weight: float
    logarithmic: bool = False
    anything: bool = False
    """The weight that lies everywhere, so that no moment is thought impossible."""

    def density(self, age: float) -> float:
        if not self.low <= age < self.high:
            return 0.0
        if self.logarithmic:
            return self.weight / (age * math.log(self.high / self.low))
        return self.weight / (self.high - self.low)

    def beyond(self, age: float) -> float:
        """The share of it that lies above that age."""
        if age <= self.low:
            return self.weight
        if age >= self.high:
            return 0.0
        if self.logarithmic:
            return self.weight * math.log(self.high / age) / math.log(self.high / self.low)
        return self.weight * (self.high - age) / (self.high - self.low)


_ANY = _Span(0.25, LONGEST, 0.06, logarithmic=True, anything=True)
# Documented: 2 to 5 minutes (https://www.vps.org/api/v1/docs/servers/), with some room on both sides.
_PROVISIONING = (_Span(115.0, 305.0, 0.60), _Span(140.0, 260.0, 0.34), _ANY)
# The durations of starts, stops, reboots and deletes are documented nowhere.
_SHORT = (_Span(0.5, 90.0, 0.94, logarithmic=True), _ANY)

STUCK: Mapping[str, float] = {"create": 420.0}
STUCK_OTHERS = 180.0
STUCK_FACTOR = 1.5


class Model:
    """The durations of one kind of command."""

    __slots__ = ("_base", "_run", "_seen", "_spans", "operation")

    def __init__(self, operation: str, seen: Iterable[float] = ()) -> None:
        self.operation = operation
        self._seen: list[float] = [d for d in seen if math.isfinite(d) and d > 0][-LIMIT:]
        self._run: list[float] = []
        self._build()

    @property
    def seen(self) -> tuple[float, ...]:
        """The durations remembered, oldest first."""
        return tuple(self._seen)

    @property
    def learned(self) -> bool:
        """Whether enough has been seen to be quiet while nothing can have happened."""
        return len(self._seen) >= LEARNED

    def sighted(self, seconds: float, waits: int) -> None:
        """A command of the run under way took so long; ``waits`` of its kind were waited for."""
        if not math.isfinite(seconds) or seconds <= 0:
            return
        main = [span for span in self._base if not span.anything]
        beyond, whole = _beyond(main, seconds), _beyond(main, 0.0)
        # the first of many to end is expected early: surprising is what is early even for the first of so many
        if not self._run and (whole - beyond < SURPRISE / waits or beyond < SURPRISE):
            begin = min(self._seen) if self._seen else self._base[0].low
            factor = max(seconds / begin, 1e-3)
            again = [_scaled(span, factor, RESCALED) for span in main]
            rest = [attrs.evolve(span, weight=span.weight * (1 - RESCALED)) for span in self._base]
            self._spans = (*again, *rest)
        self._run.append(seconds)

    def run_ended(self) -> None:
        """No wait of this kind is left: learn from those that ended."""
        run, self._run = sorted(self._run), []
        if run:
            step = max(len(run) / PER_RUN, 1.0)
            self._seen += [run[int((n + 0.5) * step)] for n in range(int(len(run) / step))]
            del self._seen[:-LIMIT]
        self._build()

    def _build(self) -> None:
        """The spans from what is remembered: the prior, or a kernel around each duration."""
        prior: tuple[_Span, ...] = _PROVISIONING if self.operation == "create" else _SHORT
        count = len(self._seen)
        self._base: tuple[_Span, ...] = prior
        if count:
            share = count / (count + 1.0)
            low, high = min(self._seen), max(self._seen)
            # few durations say little of their kind: as wide, in proportion, as the documented span
            loose = 1.0 / count
            width = max(statistics.pstdev(self._seen) * KERNEL / count ** (1 / 3), 0.05)
            broad = _Span(low * (0.9 - loose / 2), high * (1.15 + loose) + 0.1, BROAD * share)
            kernels = [
                _Span(max(d - width, 0.05), d + width, (1 - BROAD) * share / count) for d in self._seen
            ]
            rest = (_ANY,) if self.learned else prior
            known = sum(span.weight for span in rest)
            self._base = (
                broad,
                *kernels,
                *(attrs.evolve(span, weight=span.weight * (1 - share) / known) for span in rest),
            )
        self._spans = self._base

    def hazard(self, age: float) -> float:
        """The chance per second of being done now, having not been done before."""
        density = sum(span.density(age) for span in self._spans)
        beyond = _beyond(self._spans, age)
        return density / beyond if beyond > 0 else 0.0

    @property
    def stuck_after(self) -> float:
        """The age past which a command is slower than practically all of its kind (99 %)."""
        if not self.learned:
            return STUCK.get(self.operation, STUCK_OTHERS)
        ordered = sorted(self._seen)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))] * STUCK_FACTOR


def _beyond(spans: Iterable[_Span], age: float) -> float:
    return sum(span.beyond(age) for span in spans)


def _scaled(span: _Span, factor: float, weight: float) -> _Span:
    return _Span(span.low * factor * 0.9, span.high * factor, span.weight * weight, span.logarithmic)


class Durations:
    """All models of one client. A kind not seen yet starts from what is known of its operation."""

    def __init__(self) -> None:
        self._models: dict[Kind, Model] = {}

    def model(self, kind: Kind) -> Model:
        """The model that fits best: of the kind, else of its operation."""
        return self._models.get(kind) or self._general(kind[0])

    def sighted(self, kind: Kind, seconds: float, waits: int) -> None:
        """A command of that kind took so long; ``waits`` of its kind were waited for."""
        for model in self._both(kind):
            model.sighted(seconds, waits)

    def run_ended(self, kind: Kind) -> None:
        """No wait of that kind is left."""
        for model in self._both(kind):
            model.run_ended()

    def to_json(self) -> list[Any]:
        """Plain data, to be kept on disk."""
        return [
            [*kind, [round(d, 3) for d in model.seen]] for kind, model in self._models.items() if model.seen
        ]

    @classmethod
    def from_json(cls, data: Any) -> Durations:
        """From what `to_json` gave; anything else in it is left out."""
        durations = cls()
        for row in data if isinstance(data, list) else ():
            match row:
                case [str(operation), str(plan), str(location), [*seen]]:
                    numbers = [
                        float(d) for d in seen if isinstance(d, int | float) and not isinstance(d, bool)
                    ]
                    durations._models[(operation, plan, location)] = Model(operation, numbers)
                case _:
                    pass
        return durations

    def _both(self, kind: Kind) -> set[Model]:
        own = self._models.setdefault(kind, Model(kind[0], self._general(kind[0]).seen))
        return {own, self._general(kind[0])}

    def _general(self, operation: str) -> Model:
        kind = (operation, "", "")
        if kind not in self._models:
            self._models[kind] = Model(operation)
        return self._models[kind]
