"""What `ensure` will do: specs and the account go in, one step for each spec comes out. Pure.

The account is a list, which may lag behind this client's own commands. A server on which one of them is open is
planned by where it is heading:

================  ==================================================================
open command      step
================  ==================================================================
delete            CREATE, after it is gone
stop              START, after it has stopped
reboot            WAIT
start             WAIT while it is shown as stopped
create            as it is shown
================  ==================================================================
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import attrs

from ..lifecycle.commands import GONE
from ..records import PlanOffer, Server
from ..specs import ServerSpec, name_key

__all__ = ["Plan", "Step", "StepKind", "plan"]


class StepKind(enum.Enum):
    """What is done for one spec."""

    CREATE = "create"
    START = "start"
    WAIT = "wait"
    KEEP = "keep"
    REFUSE = "refuse"


@attrs.frozen(kw_only=True)
class Step:
    """One spec's step. ``differences`` says where an existing server is not as its spec has it; it is left so.

    ``after`` are servers on which a command of this client is still open; the step begins when it is done.
    """

    kind: StepKind
    spec: ServerSpec
    server: Server | None = None
    after: tuple[Server, ...] = ()
    differences: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        sign = {"create": "+", "start": ">", "wait": ".", "keep": "=", "refuse": "!"}[self.kind.value]
        about = f" ({self.reason})" if self.reason else ""
        known = "" if self.server is None else f" [{self.server.id}, {self.server.status}]"
        return "\n      ".join(
            [f"{sign} {self.kind.value:<6} {self.spec.name}{known}{about}", *self.differences]
        )


@attrs.frozen
class Plan:
    """All steps, in the order of the specs. ``changes`` counts those that send something that changes the account.

    ``price_hourly`` and ``price_monthly`` are what the servers to be created will cost together, in the currency of
    the account, which is named nowhere; None where the price of any of them is not known.
    """

    steps: tuple[Step, ...]
    price_hourly: Decimal | None = None
    price_monthly: Decimal | None = None

    @property
    def changes(self) -> int:
        """Steps that create or start a server."""
        return sum(step.kind in (StepKind.CREATE, StepKind.START) for step in self.steps)

    @property
    def creates(self) -> tuple[ServerSpec, ...]:
        """The specs of which a server is made."""
        return tuple(step.spec for step in self.steps if step.kind is StepKind.CREATE)

    def priced(self, offers: Iterable[PlanOffer]) -> Plan:
        """The same with the prices that these offers tell."""
        by_id = {str(offer.id): offer for offer in offers}
        ordered = [by_id.get(str(spec.plan_id)) for spec in self.creates]
        return attrs.evolve(
            self,
            price_hourly=_total(None if offer is None else offer.price_hourly for offer in ordered),
            price_monthly=_total(None if offer is None else offer.price_monthly for offer in ordered),
        )

    def __str__(self) -> str:
        counts = ", ".join(
            f"{number} to {kind.value}"
            for kind in StepKind
            if (number := sum(s.kind is kind for s in self.steps))
        )
        lines = [f"{len(self.steps)} servers: {counts or 'nothing to do'}", *map(str, self.steps)]
        if self.creates:
            hour = "unknown" if self.price_hourly is None else f"{self.price_hourly:.3f}"
            month = "unknown" if self.price_monthly is None else f"{self.price_monthly:.2f}"
            lines.append(f"price of what is created: {hour} per hour, {month} per month")
        return "\n".join(lines)


def plan(
    specs: Iterable[ServerSpec],
    servers: Sequence[Server],
    key_of: Callable[[ServerSpec | Server], str] = lambda subject: name_key(subject.name),
    heading: Callable[[Server], str] = lambda server: "",
) -> Plan:
    """A step for each spec: what exists by that name is adopted, what is missing created, what is stopped started.

    ``key_of`` gives what a spec and the servers made from it have in common. ``heading`` gives the command of this
    client that is still open on a server, or ``gone`` for one that only a lagging list can show.
    """
    by_key: dict[str, list[tuple[Server, str]]] = defaultdict(list)
    for server in servers:
        command = heading(server)
        if GONE not in (command, server.status):
            by_key[key_of(server)].append((server, command))
    return Plan(tuple(_step(spec, by_key.get(key_of(spec), [])) for spec in specs)).priced(())


def _total(prices: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for price in prices:
        if price is None:
            return None
        total += price
    return total


def _step(spec: ServerSpec, found: Sequence[tuple[Server, str]]) -> Step:
    staying = [(server, command) for server, command in found if command != "delete"]
    if not staying:
        leaving = tuple(server for server, _ in found)
        reason = "after the one that is being deleted" if leaving else ""
        return Step(kind=StepKind.CREATE, spec=spec, after=leaving, reason=reason)
    if len(staying) > 1:
        ids = ", ".join(str(server.id) for server, _ in staying)
        return Step(kind=StepKind.REFUSE, spec=spec, reason=f"{len(staying)} servers have this name: {ids}")
    ((server, command),) = staying
    differences = tuple(_differences(spec, server))
    after: tuple[Server, ...] = ()
    match server.status, command:
        case "suspended", _:
            kind, reason = StepKind.REFUSE, "it is suspended"
        case "stopped", "start":
            kind, reason = StepKind.WAIT, "it is being started"
        case "stopped", _:
            kind, reason = StepKind.START, ""
        case _, "stop":
            kind, reason, after = StepKind.START, "after it has stopped", (server,)
        case "active", "reboot":
            kind, reason = StepKind.WAIT, "it is being rebooted"
        case "active", _:
            kind, reason = StepKind.KEEP, ""
        case status, _:
            kind, reason = StepKind.WAIT, f"it is {status}"
    return Step(kind=kind, spec=spec, server=server, differences=differences, reason=reason, after=after)


def _differences(spec: ServerSpec, server: Server) -> Iterable[str]:
    """Fields that the account tells and that are not as the spec has them."""
    told = {
        "plan_id": None if server.plan is None else server.plan.id,
        "os_id": None if server.os is None else server.os.id,
        # a location by its number is shown by its name: nothing to compare
        "location": None if str(spec.location).isdecimal() else server.location,
        "hostname": server.hostname if spec.hostname is not None else None,
        "backups_enabled": server.backups_enabled if spec.backups_enabled is not None else None,
    }
    for field, value in told.items():
        wanted = getattr(spec, field)
        told_alike = name_key(str(value)) == name_key(str(wanted)) if field == "hostname" else False
        if value is not None and str(value) != str(wanted) and not told_alike:
            yield f"{field} is {value!r}, the spec says {wanted!r}"
