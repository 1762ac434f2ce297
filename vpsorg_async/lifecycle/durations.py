"""How long commands take: a prior from the documentation, then what has been seen. Pure. All numbers are seconds.

A model is a density over durations, in spans. It does not change during a run of waits, because the first to end are
the fastest of their kind and would mislead. What a run showed is learned at its end, as a few dozen of its quantiles.
Only one thing is learned at once: a first sighting where the model expected none. Then the whole model is laid over
itself a second time, scaled to begin there.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
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
"""The number of durations from which on they are trusted to say when nothing can have happened."""
SURPRISE = 0.02
"""A first sighting less likely than this, by the model, shows that the model is of another scale."""
RESCALED = 0.7
"""The share that a surprising first sighting moves over to the scaled model."""
KERNEL = 2.0
"""The half-width of a kernel, in standard deviations over the cube root of their number."""
TRUST = 1.35
"""How fast trust grows: ``(count + 1) ** -TRUST`` is left to what was never seen."""
MARGIN = 1.5
"""How far the next duration may lie below all seen, in mean distances between them; thrice as far above."""
BROAD = 0.3
"""The share that is spread evenly over all that was seen, so that a sample's gaps are not taken for the truth's."""
LONGEST = 7200.0
SHORTEST = 0.001
"""The least duration that counts: a file of them has three decimals, and spans of no width have no density."""
QUIET = 120.0
"""The most that ``fastest`` claims: the documented least of the slowest command. A file is a hint, and a foreign one
must not keep a wait from its first poll for half an hour."""


def _counts(seconds: float) -> bool:
    """Return whether it can be the duration of a command. NaN, infinity, zero and next to nothing can't."""
    return SHORTEST <= seconds < LONGEST


@attrs.define  # not frozen: a hundred of them are built for each run
class _Span:
    """A share of probability spread over durations, evenly or evenly in the logarithm."""

    low: float
    high: float
    weight: float
    logarithmic: bool = False
    anything: bool = False
    """The weight that lies everywhere, so that no moment is thought impossible."""

    def density(self, age: float) -> float:
        """Return the density at that age of a span that is even in the logarithm."""
        if not self.low <= age < self.high:
            return 0.0
        return self.weight / (age * math.log(self.high / self.low))

    def beyond(self, age: float) -> float:
        """Return the share that lies above that age."""
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


class _Density:
    """Spans, laid over each other so that reading them takes no longer for many than for few."""

    __slots__ = ("_at", "_beyond", "_curved", "_height")

    def __init__(self, spans: Iterable[_Span]) -> None:
        flat = [span for span in spans if not span.logarithmic]
        self._curved = [span for span in spans if span.logarithmic]
        self._at = sorted({0.0, *(edge for span in flat for edge in (span.low, span.high))})
        steps = dict.fromkeys(self._at, 0.0)
        for span in flat:
            height = span.weight / (span.high - span.low)
            steps[span.low] += height
            steps[span.high] -= height
        self._height = list(itertools.accumulate(steps.values()))
        # what lies beyond each edge, summed from the far end, where it is exactly nothing
        self._beyond = [0.0]
        for n in range(len(self._at) - 1, 0, -1):
            self._beyond.append(self._beyond[-1] + self._height[n - 1] * (self._at[n] - self._at[n - 1]))
        self._beyond.reverse()

    def hazard(self, age: float) -> float:
        """Return the density at that age, divided by the share beyond it."""
        n = bisect.bisect_right(self._at, age) - 1
        last = n == len(self._at) - 1
        density = 0.0 if last else self._height[n]
        beyond = 0.0 if last else self._beyond[n] - density * (age - self._at[n])
        for span in self._curved:
            density += span.density(age)
            beyond += span.beyond(age)
        return max(density, 0.0) / beyond if beyond > 0 else 0.0


STUCK: Mapping[str, float] = {"create": 420.0}
STUCK_OTHERS = 180.0
STUCK_FACTOR = 1.5


class Model:
    """The durations of one kind of command."""

    __slots__ = (
        "_base",
        "_density",
        "_factor",
        "_of_all",
        "_own",
        "_run",
        "_seen",
        "fastest",
        "learned",
        "operation",
        "slowest",
        "stuck_after",
    )

    def __init__(self, operation: str, seen: Iterable[float] = (), *, of_all: Iterable[float] = ()) -> None:
        """``of_all`` are durations of the operation in general: what counts until enough is seen of the kind."""
        self.operation: str = operation
        self._own = [float(d) for d in seen if _counts(d)][-LIMIT:]
        self._of_all = tuple(of_all)
        self._run: list[tuple[float, float]] = []
        self._base: tuple[_Span, ...]
        self._density: _Density | None
        self.fastest: float = 0.0
        """The least age at which a wait was done, remembered or in the current run; 0 while nothing is known."""
        self._sum_up()

    @property
    def seen(self) -> tuple[float, ...]:
        """The durations remembered of this kind, oldest first."""
        return tuple(self._own)

    @property
    def started(self) -> bool:
        """Whether a wait of the current run has ended."""
        return bool(self._run)

    def sighted(self, since: float, seconds: float, waits: int) -> None:
        """Note how long a command took that was acknowledged at ``since``: one of ``waits`` in the current run."""
        if not _counts(seconds):
            return
        if not self._run:
            self._first_sighted(seconds, waits)
            # the others of this run can be done from the same age on
            self.fastest = min(self.fastest or seconds, seconds, QUIET)
        self._run.append((since, seconds))

    def _first_sighted(self, seconds: float, waits: int) -> None:
        """Add a scaled copy of the model if the first wait to end shows that durations are of another scale."""
        main = [span for span in self._spans() if not span.anything]
        beyond, whole = _beyond(main, seconds), _beyond(main, 0.0)
        # the first of many ends early: it is a surprise only if it is early even for the first of ``waits``
        if whole - beyond < SURPRISE / waits or beyond < SURPRISE:
            begin = min(self._seen) if self._seen else self._spans()[0].low
            factor = self._factor = max(seconds / begin, 1e-3)
            again = [_scaled(span, factor, RESCALED) for span in main]
            rest = [attrs.evolve(span, weight=span.weight * (1 - RESCALED)) for span in self._spans()]
            self._density = _Density([*again, *rest])

    def run_ended(self, before: float = math.inf) -> None:
        """Learn from a run: no wait of this kind is left, or none whose command was acknowledged before ``before``."""
        run = sorted(seconds for since, seconds in self._run if since < before)
        if before < math.inf and len(run) < PER_RUN:
            return
        self._run = [(since, seconds) for since, seconds in self._run if since >= before]
        if run:
            step = max(len(run) / PER_RUN, 1.0)
            self._own += [run[int((n + 0.5) * step)] for n in range(int(len(run) / step))]
            del self._own[:-LIMIT]
        self._sum_up()

    def _sum_up(self) -> None:
        """Note what follows at once from what is remembered; the spans are built for who asks for them."""
        seen = self._seen = self.seen if len(self._own) >= LEARNED else (*self._of_all, *self._own)
        self.learned: bool = len(seen) >= LEARNED
        """Whether enough has been seen to be quiet while nothing can have happened."""
        self.fastest = min(min(seen), QUIET) if seen else 0.0
        self.slowest: float | None = max(self._own) if len(self._own) >= LEARNED else None
        """The longest duration remembered of this kind itself; None until enough has been seen."""
        self.stuck_after: float = STUCK.get(self.operation, STUCK_OTHERS)
        """The age past which a command is slower than practically all of its kind (99 %)."""
        if self.learned:
            ordered = sorted(seen)
            self.stuck_after = ordered[min(len(seen) - 1, int(0.99 * len(seen)))] * STUCK_FACTOR
        self._base = ()
        self._density = None
        self._factor = 1.0

    def _spans(self) -> tuple[_Span, ...]:
        """Return what is remembered as spans: the prior, or a kernel around each duration."""
        if not self._base:
            self._base = self._kernels() if self._seen else self._prior
        return self._base

    @property
    def _prior(self) -> tuple[_Span, ...]:
        return _PROVISIONING if self.operation == "create" else _SHORT

    def _kernels(self) -> tuple[_Span, ...]:
        seen = self._seen
        count = len(seen)
        share = 1 - (count + 1.0) ** -TRUST
        low, high = min(seen), max(seen)
        # few durations say little of their kind: one alone stands for a span as wide as itself
        margin = (MARGIN * (high - low) + low / 2) / count + low / 50
        width = max(_deviation(seen) * KERNEL / count ** (1 / 3), 0.05)
        broad = _Span(max(low - margin, 0.0), high + 3 * margin, BROAD * share)
        kernels = [_Span(max(d - width, 0.05), d + width, (1 - BROAD) * share / count) for d in seen]
        rest = (_ANY,) if self.learned else self._prior
        known = sum(span.weight for span in rest)
        return (
            broad,
            *kernels,
            *(attrs.evolve(span, weight=span.weight * (1 - share) / known) for span in rest),
        )

    def longest(self, count: int) -> float:
        """Return the age by which the last of ``count`` is done, about. It is for people: no poll depends on it."""
        main = [span for span in self._spans() if not span.anything]
        low, high, left = 0.0, LONGEST, _beyond(main, 0.0) / (count + 1)
        for _ in range(24):
            middle = (low + high) / 2
            low, high = (middle, high) if _beyond(main, middle) > left else (low, middle)
        return max([high * self._factor, *(seconds for _, seconds in self._run)])

    def hazard(self, age: float) -> float:
        """Return the chance per second of being done now, having not been done before."""
        if self._density is None:
            self._density = _Density(self._spans())
        return self._density.hazard(age)


def _deviation(seen: Sequence[float]) -> float:
    # not `statistics.pstdev`: it is exact, and takes a hundred times as long
    mean = sum(seen) / len(seen)
    return math.sqrt(sum((seconds - mean) ** 2 for seconds in seen) / len(seen))


def _beyond(spans: Iterable[_Span], age: float) -> float:
    return sum(span.beyond(age) for span in spans)


def _scaled(span: _Span, factor: float, weight: float) -> _Span:
    return _Span(span.low * factor * 0.9, span.high * factor, span.weight * weight, span.logarithmic)


class Durations:
    """All models of one client. A kind not seen yet starts from what is known of its operation."""

    def __init__(self, models: Mapping[Kind, Model] | None = None) -> None:
        self._models = dict(models or {})

    def model(self, kind: Kind) -> Model:
        """Return the model that fits best: of the kind, else of its operation."""
        return self._models.get(kind) or self._general(kind[0])

    def slowest(self, kind: Kind) -> float | None:
        """Return the longest that a command of that very kind took; None until enough of them have been seen."""
        model = self._models.get(kind)
        # what others took says nothing of this one: another plan can take ten times as long
        return None if model is None or not any(kind[1:]) else model.slowest

    def expected(self, operation: str, count: int) -> float | None:
        """Return the seconds until the last of ``count`` is done, about; None if nothing is known."""
        model = self._general(operation)
        return model.longest(count) if operation == "create" or model.seen or model.started else None

    def sighted(self, kind: Kind, since: float, seconds: float, waits: int) -> None:
        """Note how long a command of that kind took; see `Model.sighted`."""
        for model in self._both(kind):
            model.sighted(since, seconds, waits)

    def run_ended(self, kind: Kind, before: float = math.inf) -> None:
        """Learn from a run of that kind; see `Model.run_ended`."""
        for model in self._both(kind):
            model.run_ended(before)

    def to_json(self) -> list[Any]:
        """Return plain data, to be kept on disk."""
        return [
            [*kind, [round(d, 3) for d in model.seen]] for kind, model in self._models.items() if model.seen
        ]

    @classmethod
    def from_json(cls, data: Any) -> Durations:
        """Return the durations that `to_json` gave; anything else in the data is left out."""
        models: dict[Kind, Model] = {}
        for row in data if isinstance(data, list) else ():
            match row:
                case [str(operation), str(plan), str(location), [*seen]]:
                    numbers = [d for d in seen if isinstance(d, int | float) and not isinstance(d, bool)]
                    models[(operation, plan, location)] = Model(operation, numbers)
                case _:
                    pass
        return cls(models)

    def _both(self, kind: Kind) -> set[Model]:
        general = self._general(kind[0])
        if kind not in self._models:
            self._models[kind] = Model(kind[0], of_all=general.seen)
        return {self._models[kind], general}

    def _general(self, operation: str) -> Model:
        kind = (operation, "", "")
        if kind not in self._models:
            self._models[kind] = Model(operation)
        return self._models[kind]
