"""What `ensure` will do: specs and the account go in, one step for each spec comes out. Pure.

The account is a list, which may lag behind this client's own commands. A server with an open command is planned by
the state that the command leads to:

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

__all__ = ["FleetPlan", "Step", "StepKind", "plan_fleet"]


class StepKind(enum.StrEnum):
    """What is done for one spec. Each is equal to its word: ``step.kind == "create"``."""

    CREATE = "create"
    """No server has this name: one is created."""
    START = "start"
    """The server is stopped, or is being stopped: it is started."""
    WAIT = "wait"
    """The server is on its way to ``active``: it is waited for, and nothing is sent."""
    KEEP = "keep"
    """The server is active: nothing is done."""
    REFUSE = "refuse"
    """The server is suspended, or several have this name: the outcome is `Failed`, and nothing is sent."""


_SIGNS = {
    StepKind.CREATE: "+",
    StepKind.START: ">",
    StepKind.WAIT: ".",
    StepKind.KEEP: "=",
    StepKind.REFUSE: "!",
}


@attrs.frozen(kw_only=True)
class Step:
    """What is done for one spec, and why.

    ``server`` is the server that exists; None for ``create``, and for ``refuse`` where several servers have the name.
    ``differences`` names the fields in which an existing server differs from its spec; they are not changed.
    ``after`` are servers on which a command of this client is still open; the step begins when that is done.
    """

    kind: StepKind
    spec: ServerSpec
    server: Server | None = None
    after: tuple[Server, ...] = ()
    differences: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        sign = _SIGNS[self.kind]
        about = f" ({self.reason})" if self.reason else ""
        known = "" if self.server is None else f" [{self.server.id}, {self.server.status}]"
        return "\n      ".join([f"{sign} {self.kind:<6} {self.spec.name}{known}{about}", *self.differences])


@attrs.frozen
class FleetPlan:
    """What `Fleet.create` and `Fleet.ensure` would do: returned by ``dry_run=True``. ``print`` shows it as text.

    ``steps`` has one step for each spec, in the order of the specs. ``price_hourly`` and ``price_monthly`` are the cost
    of all servers to be created, in the account's currency, which the API does not name; None where the price of any
    of them is not known.

    Example::

        plan = await vps.fleet.ensure(specs, dry_run=True)
        print(plan)
        if plan.changes:
            report = await vps.fleet.ensure(specs, timeout=900)

    `Step` and `StepKind` can be imported from ``vpsorg_async.fleet``.
    """

    steps: tuple[Step, ...]
    price_hourly: Decimal | None = None
    price_monthly: Decimal | None = None

    @property
    def changes(self) -> int:
        """The number of steps that create or start a server."""
        return sum(step.kind in (StepKind.CREATE, StepKind.START) for step in self.steps)

    @property
    def creates(self) -> tuple[ServerSpec, ...]:
        """The specs for which a server is created."""
        return tuple(step.spec for step in self.steps if step.kind is StepKind.CREATE)

    def priced(self, offers: Iterable[PlanOffer]) -> FleetPlan:
        """Return the plan with the prices of these offers."""
        by_id = {str(offer.id): offer for offer in offers}
        ordered = [by_id.get(str(spec.plan_id)) for spec in self.creates]
        return attrs.evolve(
            self,
            price_hourly=_total(None if offer is None else offer.price_hourly for offer in ordered),
            price_monthly=_total(None if offer is None else offer.price_monthly for offer in ordered),
        )

    def __str__(self) -> str:
        counts = ", ".join(
            f"{number} to {kind}" for kind in StepKind if (number := sum(s.kind is kind for s in self.steps))
        )
        lines = [f"{len(self.steps)} servers: {counts or 'nothing to do'}", *map(str, self.steps)]
        if self.creates:
            hour = "unknown" if self.price_hourly is None else f"{self.price_hourly:.3f}"
            month = "unknown" if self.price_monthly is None else f"{self.price_monthly:.2f}"
            lines.append(f"price of what is created: {hour} per hour, {month} per month")
        return "\n".join(lines)


def plan_fleet(
    specs: Iterable[ServerSpec],
    servers: Sequence[Server],
    key_of: Callable[[ServerSpec | Server], str] = lambda subject: name_key(subject.name),
    heading: Callable[[Server], str] = lambda server: "",
) -> FleetPlan:
    """Return a plan with a step for each spec: adopt what exists, create what is missing, start what is stopped.

    Args:
        specs: The specs.
        servers: The servers of the account.
        key_of: Returns what a spec and the servers created from it have in common.
        heading: Returns the command of this client that is still open on a server, empty if none is, or ``gone`` for
            a server that only a lagging list can show.
    """
    by_key: dict[str, list[tuple[Server, str]]] = defaultdict(list)
    for server in servers:
        command = heading(server)
        if GONE not in (command, server.status):
            by_key[key_of(server)].append((server, command))
    return FleetPlan(tuple(_step(spec, by_key.get(key_of(spec), [])) for spec in specs)).priced(())


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
    """Yield a line for each field that the account shows and that differs from the spec."""
    shown = {
        "plan_id": None if server.plan is None else server.plan.id,
        "os_id": None if server.os is None else server.os.id,
        # a location by its number is shown by its name: nothing to compare
        "location": None if str(spec.location).isdecimal() else server.location,
        "hostname": server.hostname if spec.hostname is not None else None,
        "backups_enabled": server.backups_enabled if spec.backups_enabled is not None else None,
    }
    for field, value in shown.items():
        wanted = getattr(spec, field)
        same_name = name_key(str(value)) == name_key(str(wanted)) if field == "hostname" else False
        if value is not None and str(value) != str(wanted) and not same_name:
            yield f"{field} is {value!r}, the spec says {wanted!r}"
