"""The plan of a fleet call as data: a step for each server, and what the steps cost."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import attrs

from .fleet_spec import FleetSpec
from .records import PlanOffer, Server
from .specs import ServerSpec

__all__ = ["FleetPlan", "Step", "StepKind"]


class StepKind(enum.StrEnum):
    """What is done for one server. Each is equal to its word: ``step.kind == "create"``."""

    CREATE = "create"
    """No server has this name: one is created."""
    START = "start"
    """The server is stopped, or is being stopped: it is started."""
    WAIT = "wait"
    """The server is on its way to ``active``: it is waited for, and nothing is sent."""
    KEEP = "keep"
    """Nothing is done: the server is active, or is more than its fleet needs and is not deleted."""
    REPLACE = "replace"
    """The server differs from its spec, and another one takes its place. Not planned by this version."""
    DELETE = "delete"
    """The server is more than its fleet needs: it is deleted."""
    REFUSE = "refuse"
    """The server is suspended, or several have this name: the outcome is `Failed`, and nothing is sent."""


_SIGNS = {
    StepKind.CREATE: "+",
    StepKind.START: ">",
    StepKind.WAIT: ".",
    StepKind.KEEP: "=",
    StepKind.REPLACE: "~",
    StepKind.DELETE: "-",
    StepKind.REFUSE: "!",
}
_CHANGES = {StepKind.CREATE, StepKind.START, StepKind.REPLACE, StepKind.DELETE}


@attrs.frozen(kw_only=True)
class Step:
    """What is done for one server, and why.

    Attributes:
        kind: What is done.
        spec: The spec of the server; its name is also ``step.name``.
        server: The server that exists; None for ``create``, and for ``refuse`` where several servers have the name.
        after: Servers on which a command of this client is still open; the step begins when that is done.
        differences: The fields in which an existing server differs from its spec; they are not changed.
        reason: Why; empty where the kind says it.
        surplus: Whether the server is more than the ``count`` of its fleet.
        price_hourly: What ``create`` adds and ``delete`` ends, per hour; None where that is nothing or not known.
        price_monthly: The same per month.
    """

    kind: StepKind
    spec: ServerSpec
    server: Server | None = None
    after: tuple[Server, ...] = ()
    differences: tuple[str, ...] = ()
    reason: str = ""
    surplus: bool = False
    price_hourly: Decimal | None = None
    price_monthly: Decimal | None = None

    @property
    def name(self) -> str:
        """The name of the spec, which is the key of the outcome."""
        return self.spec.name

    def __str__(self) -> str:
        sign = _SIGNS[self.kind]
        about = f" ({self.reason})" if self.reason else ""
        known = "" if self.server is None else f" [{self.server.id}, {self.server.status}]"
        price = ""
        if self.price_hourly is not None and self.price_monthly is not None:
            price = f", {sign}{self.price_hourly:.3f} per hour, {sign}{self.price_monthly:.2f} per month"
        return "\n      ".join([f"{sign} {self.kind:<6} {self.name}{known}{about}{price}", *self.differences])


@attrs.frozen
class FleetPlan:
    """What a fleet call would do: returned by `Fleet.plan`, and by ``dry_run=True``. ``print`` shows it as text.

    Prices are in the account's currency, which the API does not name; None where any of them is not known.

    Attributes:
        steps: A step for each server, in the order of the specs, or of the fleets and their numbers.
        price_hourly: What all servers to be created cost per hour.
        price_monthly: The same per month.
        ended_hourly: What all servers to be deleted cost per hour.
        ended_monthly: The same per month.
        fleets: The fleets that were planned; empty for plans of specs.
        refusals: Why the plan must not be applied: a sentence for each guard that forbids it.

    Example::

        plan = await vps.fleet.plan(fleet, prune=True)
        print(plan)
        if plan.changes and not plan.refusals:
            report = await vps.fleet.apply(plan, timeout=900)

    `Step` and `StepKind` can be imported from ``vpsorg_async.fleet``.
    """

    steps: tuple[Step, ...]
    price_hourly: Decimal | None = None
    price_monthly: Decimal | None = None
    ended_hourly: Decimal | None = attrs.field(default=None, kw_only=True)
    ended_monthly: Decimal | None = attrs.field(default=None, kw_only=True)
    fleets: tuple[FleetSpec, ...] = attrs.field(default=(), kw_only=True)
    refusals: tuple[str, ...] = attrs.field(default=(), kw_only=True)

    @property
    def changes(self) -> int:
        """The number of steps that change the account: 0 means that there is nothing to do."""
        return sum(step.kind in _CHANGES for step in self.steps)

    @property
    def creates(self) -> tuple[ServerSpec, ...]:
        """The specs for which a server is created."""
        return tuple(step.spec for step in self.steps if step.kind is StepKind.CREATE)

    @property
    def deletes(self) -> tuple[Server, ...]:
        """The servers that are deleted."""
        return tuple(
            step.server for step in self.steps if step.kind is StepKind.DELETE and step.server is not None
        )

    def priced(self, offers: Iterable[PlanOffer]) -> FleetPlan:
        """Return the plan with the prices of these offers."""
        by_id = {str(offer.id): offer for offer in offers}
        steps = tuple(_priced(step, by_id) for step in self.steps)
        added = [step for step in steps if step.kind is StepKind.CREATE]
        ended = [step for step in steps if step.kind is StepKind.DELETE]
        return attrs.evolve(
            self,
            steps=steps,
            price_hourly=_total(step.price_hourly for step in added),
            price_monthly=_total(step.price_monthly for step in added),
            ended_hourly=_total(step.price_hourly for step in ended),
            ended_monthly=_total(step.price_monthly for step in ended),
        )

    def to_json(self) -> str:
        """Return the plan as JSON: totals, and a row for each step. Prices are strings, so that they stay exact."""
        return json.dumps(
            {
                **{kind.value: sum(step.kind is kind for step in self.steps) for kind in StepKind},
                "changes": self.changes,
                "price_hourly": _text(self.price_hourly),
                "price_monthly": _text(self.price_monthly),
                "ended_hourly": _text(self.ended_hourly),
                "ended_monthly": _text(self.ended_monthly),
                "refusals": list(self.refusals),
                "steps": [_row(step) for step in self.steps],
            }
        )

    def __str__(self) -> str:
        counts = ", ".join(
            f"{number} to {kind}" for kind in StepKind if (number := sum(s.kind is kind for s in self.steps))
        )
        lines = [f"{len(self.steps)} servers: {counts or 'nothing to do'}", *map(str, self.steps)]
        if self.creates:
            lines.append(f"price of what is created: {_prices(self.price_hourly, self.price_monthly)}")
        if self.deletes:
            lines.append(f"price of what is deleted: {_prices(self.ended_hourly, self.ended_monthly)}")
        lines += [f"refused: {refusal}" for refusal in self.refusals]
        return "\n".join(lines)


def _priced(step: Step, offers: dict[str, PlanOffer]) -> Step:
    """Return the step with the price of the server that it creates or deletes."""
    if step.kind is StepKind.CREATE:
        offer = offers.get(str(step.spec.plan_id))
    elif step.kind is StepKind.DELETE and step.server is not None and step.server.plan is not None:
        offer = offers.get(str(step.server.plan.id))
    else:
        return step
    if offer is None:
        return step
    return attrs.evolve(step, price_hourly=offer.price_hourly, price_monthly=offer.price_monthly)


def _total(prices: Iterable[Decimal | None]) -> Decimal | None:
    total = Decimal(0)
    for price in prices:
        if price is None:
            return None
        total += price
    return total


def _text(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def _prices(hourly: Decimal | None, monthly: Decimal | None) -> str:
    hour = "unknown" if hourly is None else f"{hourly:.3f}"
    month = "unknown" if monthly is None else f"{monthly:.2f}"
    return f"{hour} per hour, {month} per month"


def _row(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind.value,
        "name": step.name,
        "id": None if step.server is None else step.server.id,
        "status": None if step.server is None else str(step.server.status),
        "reason": step.reason,
        "differences": list(step.differences),
        "surplus": step.surplus,
        "price_hourly": _text(step.price_hourly),
        "price_monthly": _text(step.price_monthly),
    }
