"""The demo: create, reboot and delete a fleet against a sandbox, and count the requests.

The numbers come from the sandbox's own request log, not from the client that the demo shows.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Self

import attrs

from ..client import Client
from ..fleet import Failed, Report, Skipped
from ..http.events import RequestSent
from ..sandbox import Durations, Sandbox
from ..sandbox.log import Entry
from ..specs import ServerSpec
from ..timing import SystemClock
from .chart import Moment

__all__ = ["DURATIONS", "EXPECTED", "Demo", "Moment", "Phase", "Requests", "Result", "reason"]

# No page says how long a reboot takes; this is long enough to be visible.
DURATIONS = Durations(rebooting=(60.0, 180.0))
EXPECTED = 540.0
"""The expected duration of the whole demo, in seconds of unaccelerated time."""

TICK = 0.1
"""Seconds between two moments of the display."""


@attrs.frozen(kw_only=True)
class Requests:
    """The number of requests, by kind."""

    creates: int = 0
    lists: int = 0
    reads: int = 0
    actions: int = 0
    deletes: int = 0
    others: int = 0

    @classmethod
    def of(cls, log: Iterable[Entry]) -> Self:
        """Count the requests of a sandbox's log."""
        return cls(**Counter(_kind(entry.method, entry.path) for entry in log))

    @property
    def total(self) -> int:
        """The number of all requests."""
        return sum(attrs.astuple(self))

    def __add__(self, other: Requests) -> Requests:
        return Requests(**{name: count + getattr(other, name) for name, count in attrs.asdict(self).items()})


def _kind(method: str, path: str) -> str:
    match method, path.strip("/").split("/")[2:]:
        case "POST", ["servers"]:
            return "creates"
        case "GET", ["servers"]:
            return "lists"
        case "GET", ["servers", _]:
            return "reads"
        case "POST", ["servers", _, _]:
            return "actions"
        case "DELETE", ["servers", _]:
            return "deletes"
        case _:
            return "others"


@attrs.frozen(kw_only=True)
class Phase:
    """One fleet call: its report, the requests that reached the sandbox, and its duration in seconds."""

    report: Report
    requests: Requests
    seconds: float

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.report.operation

    @property
    def alone(self) -> Requests:
        """The requests that would be needed if each server were polled by itself.

        The commands, and one GET for each full second of each wait, at least one. Computed, not measured.
        """
        waits = [outcome for outcome in self.report.outcomes if not isinstance(outcome, Skipped)]
        reads = sum(max(1, math.floor(outcome.seconds)) for outcome in waits)
        return attrs.evolve(self.requests, lists=0, reads=reads)


@attrs.frozen(kw_only=True)
class Result:
    """The result of a finished demo."""

    servers: int
    speed: float
    seed: int
    phases: tuple[Phase, ...]

    @property
    def requests(self) -> Requests:
        """The requests of all phases."""
        return sum((phase.requests for phase in self.phases), Requests())

    @property
    def alone(self) -> Requests:
        """The requests of all phases if each server were polled by itself."""
        return sum((phase.alone for phase in self.phases), Requests())

    @property
    def seconds(self) -> float:
        """The duration of all phases."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def failures(self) -> tuple[tuple[str, Failed | Skipped], ...]:
        """The failed and skipped outcomes, each with the name of its phase."""
        failures: list[tuple[str, Failed | Skipped]] = []
        for phase in self.phases:
            failures += [(phase.name, outcome) for outcome in phase.report.failed]
            failures += [(phase.name, outcome) for outcome in phase.report.skipped]
        return tuple(failures)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data, for JSON."""
        return {
            "servers": self.servers,
            "speed": self.speed,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "requests": _counts(self.requests),
            "phases": [
                {
                    "phase": phase.name,
                    "servers": len(phase.report.outcomes),
                    "succeeded": len(phase.report.succeeded),
                    "failed": len(phase.report.failed),
                    "skipped": len(phase.report.skipped),
                    "seconds": round(phase.seconds, 3),
                    "requests": _counts(phase.requests),
                    "polled_alone": _counts(phase.alone),
                }
                for phase in self.phases
            ],
            "polled_alone": {
                "requests": _counts(self.alone),
                "computed": "one GET for each server and full second of its wait, at least one; not measured",
            },
            "failures": [
                {"phase": name, "key": outcome.key, "reason": reason(outcome)}
                for name, outcome in self.failures
            ],
        }


def reason(outcome: Failed | Skipped) -> str:
    """Return why the server failed or was skipped."""
    return outcome.reason if isinstance(outcome, Skipped) else str(outcome.error)


def _counts(requests: Requests) -> dict[str, int]:
    return {**attrs.asdict(requests), "total": requests.total}


class Demo:
    """One run against a running sandbox. ``timeout``: seconds for each server in each phase."""

    def __init__(self, box: Sandbox, servers: int, *, timeout: float) -> None:
        self._box = box
        self._specs = [
            ServerSpec(name=f"web-{number:02}", plan_id=1, os_id=5, location="us-west")
            for number in range(1, servers + 1)
        ]
        self._timeout = timeout
        self._clock = SystemClock()
        self.moments: list[Moment] = []
        """The history so far, for a picture of it."""
        self._began = 0.0
        self._name = ""
        self._phases: list[Phase] = []
        self._sent = 0
        self._most = 0
        self._counted = 0

    async def run(self, show: Callable[[Sequence[Moment]], None]) -> tuple[Phase, ...]:
        """Run all phases, and call ``show`` with the moments so far, every `TICK` seconds. Raises `VpsOrgError`."""
        work = asyncio.ensure_future(self._work())
        try:
            while not work.done():
                if self.moments:
                    self._note()
                    show(self.moments)
                await asyncio.wait((work,), timeout=TICK)
        finally:
            work.cancel()
            await asyncio.wait((work,))
        work.result()
        show(self.moments)
        return tuple(self._phases)

    async def _work(self) -> None:
        async with Client(self._box.token, base_url=self._box.url, on_event=self._heard) as vps:
            created = await self._phase("create", vps.fleet.create(self._specs, timeout=self._timeout))
            ids = [server.id for server in created.servers]
            await self._phase("reboot", vps.fleet.reboot(ids, timeout=self._timeout))
            await self._phase("delete", vps.fleet.delete(ids, timeout=self._timeout))

    async def _phase(self, name: str, call: Coroutine[Any, Any, Report]) -> Report:
        began = self._clock.now()
        if not self._phases:
            self._began = began
        self._name = name
        self._note()
        report = await call
        seconds = self._clock.now() - began
        self._note()
        log = [entry for entry in self._box.requests if entry.seq > self._counted]
        self._counted = log[-1].seq if log else self._counted
        self._phases.append(Phase(report=report, requests=Requests.of(log), seconds=seconds))
        return report

    def _heard(self, event: object) -> None:
        self._sent += isinstance(event, RequestSent)

    def _note(self) -> None:
        # read in-process, so that the display costs no request
        statuses = Counter(server.status for server in self._box.servers)
        present = statuses.total()
        self._most = max(self._most, present)
        if self._most > present:
            statuses["gone"] = self._most - present
        at = self._clock.now() - self._began
        self.moments.append(Moment(at=at, phase=self._name, statuses=statuses, requests=self._sent))
