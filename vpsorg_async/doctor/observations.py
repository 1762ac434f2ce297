"""What a trial has seen: the calls that it made, with the answers as they came. Data, and questions about it. Pure.

All times are seconds since the trial began.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import attrs

from ..errors import APIError, RequestError, Sent, VpsOrgError, is_absence
from ..lifecycle.commands import GONE, LEAVING
from ..lifecycle.staleness import earlier
from ..records import ActionAccepted, PlanOffer, Server, ServerId
from ..specs import ServerSpec

__all__ = ["Exchange", "Observations", "Sighting", "Step", "moved"]


@attrs.frozen(kw_only=True)
class Exchange:
    """One attempt: what was asked, and the answer. ``path`` has no ids.

    ``kind`` is that of the body: ``json``, ``page``, ``text``, ``empty``, or ``none`` if no answer came.
    """

    operation: str
    method: str
    path: str
    at: float
    seconds: float
    status: int | None
    kind: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    data: Any = attrs.field(default=None, repr=False)
    """The decoded JSON; of a list its envelope and its first row."""
    rows: int | None = None
    """The number of rows of a list."""
    failure: str = ""
    """Why no answer came."""

    @property
    def good(self) -> bool:
        """Whether the status is a 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def object(self) -> Mapping[str, Any]:
        """The JSON object of the answer; an empty one for anything else."""
        return self.data if isinstance(self.data, dict) else {}


@attrs.frozen(kw_only=True)
class Step:
    """One call of the trial: the ``phase`` that it belongs to, and what it returned or raised."""

    phase: str
    call: str
    at: float
    ended: float
    exchanges: tuple[Exchange, ...] = ()
    server: Server | None = None
    """The server as the call showed it; for a list its row."""
    accepted: ActionAccepted | None = None
    lacks: str = ""
    """Why a list is incomplete."""
    error: VpsOrgError | None = None

    @property
    def answer(self) -> Exchange | None:
        """The last answer to the call itself, and not to a read that it makes afterwards."""
        own = [one for one in self.exchanges if one.operation == self.call and one.status is not None]
        return own[-1] if own else None

    @property
    def absent(self) -> bool:
        """Whether a read by id said that the server does not exist, whoever said so."""
        return self.call == "get" and isinstance(self.error, APIError) and self.error.status == 404

    @property
    def refused(self) -> int | None:
        """The status of the refusal; None if the call was not refused."""
        return self.error.status if isinstance(self.error, APIError) else None


@attrs.frozen
class Sighting:
    """The status at one moment, as a read by id or a list showed it."""

    at: float
    word: str
    updated_at: datetime | None


@attrs.frozen(kw_only=True)
class Observations:
    """All of a trial."""

    dialect: str
    spec: ServerSpec
    visibility: float
    """The seconds for which a new server may be missing, by the settings of the client."""
    origin: str = attrs.field(default="", repr=False)
    """The address of the API, which is shown nowhere."""
    server_id: ServerId | None = None
    create_left: bool = False
    """Whether a create has left this machine."""
    steps: tuple[Step, ...] = ()
    ends: Mapping[str, str] = attrs.field(factory=dict)
    """The status in which the server came to rest, by phase; a phase that was cut short has none."""
    misfits: tuple[str, ...] = ()
    """What did not fit in answers."""
    incomplete: tuple[str, ...] = ()
    """Why lists were incomplete."""
    offers: tuple[PlanOffer, ...] = ()

    @property
    def exchanges(self) -> Iterator[Exchange]:
        """All attempts, in their order."""
        return (exchange for step in self.steps for exchange in step.exchanges)

    def phase(self, *names: str) -> tuple[Step, ...]:
        """The calls of these phases."""
        return tuple(step for step in self.steps if step.phase in names)

    def first(self, phase: str, call: str) -> Step | None:
        """The first call of this kind in a phase; None if there was none."""
        return next((step for step in self.phase(phase) if step.call == call), None)

    def done(self, phase: str, call: str) -> Step | None:
        """The same, if the call succeeded."""
        step = self.first(phase, call)
        return step if step is not None and step.error is None else None

    def sightings(self, phase: str, *, listed: bool = False) -> list[Sighting]:
        """The statuses that reads by id showed in a phase, or lists."""
        call = "list" if listed else "get"
        return [
            Sighting(step.at, str(step.server.status), step.server.updated_at)
            for step in self.phase(phase)
            if step.call == call and step.server is not None
        ]

    def before(self, phase: str) -> Server | None:
        """The server as it was read last before a phase."""
        last = None
        for step in self.steps:
            if step.phase == phase:
                break
            last = step.server if step.call == "get" and step.server is not None else last
        return last

    def settled(self, phase: str) -> str | None:
        """The status in which the server came to rest in a phase; None if it was not seen to."""
        return self.ends.get(phase)

    def words(self) -> list[str]:
        """All status words, in the order in which they were seen."""
        seen = [str(step.server.status) for step in self.steps if step.server is not None]
        accepted = [
            str(step.accepted.server_status)
            for step in self.steps
            if step.accepted is not None and step.accepted.server_status is not None
        ]
        return list(dict.fromkeys([*seen, *accepted]))

    @property
    def remains(self) -> bool:
        """Whether the server may exist: it was created, or may have been, and was not seen to be gone."""
        created = self.first("create", "create")
        if created is None or not self.create_left:
            return False
        if self.server_id is None:
            refused = isinstance(created.error, RequestError) and created.error.sent is not Sent.MAYBE
            searches = [step for step in self.steps if step.call == "search"]
            # a search without a result and without an error proves that nothing was created
            return not (refused or any(step.error is None and step.server is None for step in searches))
        return not self._is_gone()

    def _is_gone(self) -> bool:
        steps = self.phase("delete", "deleted", "cleanup")
        reads, lists = ([step for step in steps if step.call == call] for call in ("get", "list"))
        if not reads:
            return False
        if reads[-1].absent:
            # as in a wait: one 404 alone can come from anywhere
            if (
                all(step.error is not None and is_absence(step.error) for step in reads[-2:])
                and len(reads) > 1
            ):
                return True
            unlisted = bool(lists) and lists[-1].error is None and lists[-1].server is None
            return unlisted and not lists[-1].lacks
        accepted = any(step.call == "delete" and step.error is None for step in steps)
        last = reads[-1].server
        return accepted and last is not None and (last.status == GONE or last.status in LEAVING)

    def gone_at(self) -> float | None:
        """When the server was first seen not to exist, after its delete; None if it was not."""
        reads = [step for step in self.phase("delete", "deleted", "cleanup") if step.call == "get"]
        return next((step.at for step in reads if step.absent), None)

    def took(self, phase: str) -> float | None:
        """The seconds from the beginning of a command to the first read that showed what it leads to."""
        steps = self.phase(phase)
        if not steps or steps[0].error is not None:
            return None
        if phase == "delete":
            gone = self.gone_at()
            return None if gone is None else gone - steps[0].at
        last, seen = self.settled(phase), self.sightings(phase)
        if last is None:
            return None
        settled = next((n for n in range(len(seen)) if all(s.word == last for s in seen[n:])), None)
        return None if settled is None else seen[settled].at - steps[0].at

    def shown_after(self, call: str) -> float | None:
        """The seconds from the answer to the create to the first read of this kind that showed the server."""
        created = self.first("create", "create")
        if created is None:
            return None
        reads = [step for step in self.phase("create") if step.call == call and step.server is not None]
        return reads[0].at - created.ended if reads else None


def moved(before: Server | None, seen: Iterable[Sighting]) -> bool:
    """Return whether one of the sightings shows another status, or a later time, than the record before."""
    return before is not None and any(
        sighting.word != before.status
        or (
            before.updated_at is not None
            and sighting.updated_at is not None
            and earlier(before.updated_at, sighting.updated_at)
        )
        for sighting in seen
    )
