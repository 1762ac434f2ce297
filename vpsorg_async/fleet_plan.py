"""The plan of a fleet call as data: a step for each server, and what the steps cost."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import attrs

from .counting import counted
from .fleet_spec import FleetSpec
from .records import PlanOffer, Server
from .replace_policy import ReplacePolicy, places
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
    UPDATE = "update"
    """The server is active, and some of its fields are changed in place."""
    REPLACE = "replace"
    """The server differs from its spec in what can't be changed, and another one takes its place."""
    DELETE = "delete"
    """The server is more than its fleet needs: it is deleted."""
    REFUSE = "refuse"
    """The server is suspended, or several have this name: the outcome is `Failed`, and nothing is sent."""


_SIGNS = {
    StepKind.CREATE: "+",
    StepKind.START: ">",
    StepKind.WAIT: ".",
    StepKind.KEEP: "=",
    StepKind.UPDATE: "*",
    StepKind.REPLACE: "~",
    StepKind.DELETE: "-",
    StepKind.REFUSE: "!",
}
_CHANGES = {StepKind.CREATE, StepKind.START, StepKind.UPDATE, StepKind.REPLACE, StepKind.DELETE}


@attrs.frozen(kw_only=True)
class Step:
    """What is done for one server, and why.

    Attributes:
        kind: What is done.
        spec: The spec of the server; its name is also ``step.name``. That of ``replace`` is of the new server.
        server: The server that exists, for ``replace`` the old one; None for ``create``, and for ``refuse`` where
            several servers have the name.
        after: Servers on which a command of this client is still open; the step begins when that is done.
        differences: The fields in which an existing server differs from its spec; they are not changed.
        reason: Why; empty where the kind says it.
        surplus: Whether the server is more than the ``count`` of its fleet.
        updates: The fields that are changed in place, also before a ``start`` or a ``wait``.
        by: The new server of a ``replace``, if it exists already.
        begun: Whether an earlier run has begun this ``replace``, as its journal says.
        switched: Whether it has also switched to the new server.
        price_hourly: What ``create``, ``delete`` and the new server of ``replace`` cost per hour; None where it is
            nothing or not known.
        price_monthly: The same per month.
        ended_hourly: What the old server of ``replace`` costs per hour; None where it is not known.
        ended_monthly: The same per month.
    """

    kind: StepKind
    spec: ServerSpec
    server: Server | None = None
    after: tuple[Server, ...] = ()
    differences: tuple[str, ...] = ()
    reason: str = ""
    surplus: bool = False
    updates: tuple[str, ...] = ()
    by: Server | None = None
    begun: bool = False
    switched: bool = False
    price_hourly: Decimal | None = None
    price_monthly: Decimal | None = None
    ended_hourly: Decimal | None = None
    ended_monthly: Decimal | None = None

    @property
    def name(self) -> str:
        """The name of the spec, which is the key of the outcome."""
        return self.spec.name

    def __str__(self) -> str:
        sign = _SIGNS[self.kind]
        about = f" ({self.reason})" if self.reason else ""
        subject = f"{self.name}{_known(self.server)}"
        price = ""
        if self.kind is StepKind.REPLACE:
            old = "a server" if self.server is None else self.server.name
            subject = f"{old}{_known(self.server)} by {self.name}{_known(self.by)}"
        elif self.price_hourly is not None and self.price_monthly is not None:
            price = f", {sign}{self.price_hourly:.3f} per hour, {sign}{self.price_monthly:.2f} per month"
        return "\n      ".join([f"{sign} {self.kind:<6} {subject}{about}{price}", *self.differences])


@attrs.frozen
class FleetPlan:
    """What a fleet call would do: returned by `Fleet.plan`, and by ``dry_run=True``. ``print`` shows it as text.

    Prices are in the account's currency, which the API does not name; None where any of them is not known.

    Attributes:
        steps: A step for each server, in the order of the specs, or of the fleets and their numbers.
        price_hourly: What all servers to be created cost per hour, those that replace others included.
        price_monthly: The same per month.
        ended_hourly: What all servers to be deleted cost per hour, those that are replaced included.
        ended_monthly: The same per month.
        fleets: The fleets that were planned; empty for plans of specs.
        refusals: Why the plan must not be applied: a sentence for each guard that forbids it.
        over_limits: What the limits of the client forbid of it, if anything: the call would raise `LimitError`.
        policy: How servers are replaced; None if none is, whatever it differs in.
        surge_hourly: What the servers cost per hour, at most, that exist beyond the size of their fleet while others
            are replaced.
        standing: The replacements of the journal that the plan was made with.

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
    over_limits: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    policy: ReplacePolicy | None = attrs.field(default=None, kw_only=True)
    surge_hourly: Decimal | None = attrs.field(default=None, kw_only=True)
    standing: tuple[str, ...] = attrs.field(default=(), kw_only=True)

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

    @property
    def replaces(self) -> tuple[Step, ...]:
        """The steps that replace a server."""
        return tuple(step for step in self.steps if step.kind is StepKind.REPLACE)

    def priced(self, offers: Iterable[PlanOffer]) -> FleetPlan:
        """Return the plan with the prices of these offers."""
        by_id = {str(offer.id): offer for offer in offers}
        steps = tuple(_priced(step, by_id) for step in self.steps)
        added = [step for step in steps if _creates(step)]
        ended = [_ended(step) for step in steps if _deletes(step)]
        return attrs.evolve(
            self,
            steps=steps,
            price_hourly=_total(step.price_hourly for step in added),
            price_monthly=_total(step.price_monthly for step in added),
            ended_hourly=_total(hourly for hourly, _ in ended),
            ended_monthly=_total(monthly for _, monthly in ended),
            surge_hourly=self._surge(steps),
        )

    def _surge(self, steps: Iterable[Step]) -> Decimal | None:
        """Return what the surge costs per hour at most: all fleets are replaced one after the other."""
        if self.policy is None:
            return None
        most: Decimal | None = Decimal(0)
        for at_once in self._at_once(steps):
            surge = _total(step.price_hourly for step in at_once)
            most = None if most is None or surge is None else max(most, surge)
        return most

    def _at_once(self, steps: Iterable[Step]) -> Iterator[Sequence[Step]]:
        """Yield for each fleet the replacements whose new servers exist beside the old ones at first."""
        known = tuple(steps)
        for fleet in self.fleets if self.policy is not None else ():
            of_fleet = [step for step in known if fleet.number(step.name) is not None and not step.surplus]
            assert self.policy is not None
            replaces = [step for step in of_fleet if step.kind is StepKind.REPLACE]
            yield replaces[: places(self.policy.surge, len(of_fleet))]

    @property
    def surge(self) -> tuple[ServerSpec, ...]:
        """The specs of those new servers that need room beside the old ones before the first old one is deleted."""
        found = next(filter(None, self._at_once(self.steps)), ())
        return tuple(step.spec for step in found if step.by is None)

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
                "surge_hourly": _text(self.surge_hourly),
                "refusals": list(self.refusals),
                "over_limits": list(self.over_limits),
                "steps": [_row(step) for step in self.steps],
            }
        )

    def __str__(self) -> str:
        counts = ", ".join(
            f"{number} to {kind}" for kind in StepKind if (number := sum(s.kind is kind for s in self.steps))
        )
        lines = [f"{counted(len(self.steps), 'server')}: {counts or 'nothing to do'}", *map(str, self.steps)]
        if any(map(_creates, self.steps)):
            lines.append(f"price of what is created: {_prices(self.price_hourly, self.price_monthly)}")
        if any(map(_deletes, self.steps)):
            lines.append(f"price of what is deleted: {_prices(self.ended_hourly, self.ended_monthly)}")
        if self.replaces:
            lines.append(f"price of the surge: up to {_hourly(self.surge_hourly)} while servers are replaced")
        lines += [f"refused: {refusal}" for refusal in self.refusals]
        lines += [f"over the limits: {limit}" for limit in self.over_limits]
        return "\n".join(lines)


def _known(server: Server | None) -> str:
    return "" if server is None else f" [{server.id}, {server.status}]"


def _priced(step: Step, offers: dict[str, PlanOffer]) -> Step:
    """Return the step with the prices of the servers that it creates and deletes."""
    server = step.server
    old = None if server is None or server.plan is None else offers.get(str(server.plan.id))
    new = offers.get(str(step.spec.plan_id)) if step.kind in (StepKind.CREATE, StepKind.REPLACE) else None
    if step.kind is StepKind.DELETE:
        new = old
    if new is not None:
        step = attrs.evolve(step, price_hourly=new.price_hourly, price_monthly=new.price_monthly)
    if step.kind is StepKind.REPLACE and old is not None:
        step = attrs.evolve(step, ended_hourly=old.price_hourly, ended_monthly=old.price_monthly)
    return step


def _creates(step: Step) -> bool:
    return step.kind is StepKind.CREATE or (step.kind is StepKind.REPLACE and step.by is None)


def _deletes(step: Step) -> bool:
    there = step.server is not None and step.server.status != "gone"
    return step.kind is StepKind.DELETE or (step.kind is StepKind.REPLACE and there)


def _ended(step: Step) -> tuple[Decimal | None, Decimal | None]:
    """Return what the server costs that a step deletes, per hour and per month."""
    if step.kind is StepKind.DELETE:
        return step.price_hourly, step.price_monthly
    return step.ended_hourly, step.ended_monthly


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
    month = "unknown" if monthly is None else f"{monthly:.2f}"
    return f"{_hourly(hourly)}, {month} per month"


def _hourly(price: Decimal | None) -> str:
    return f"{'unknown' if price is None else f'{price:.3f}'} per hour"


def _row(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind.value,
        "name": step.name,
        "id": None if step.server is None else step.server.id,
        "status": None if step.server is None else str(step.server.status),
        "reason": step.reason,
        "differences": list(step.differences),
        "surplus": step.surplus,
        "updates": list(step.updates),
        "by": None if step.by is None else step.by.id,
        "price_hourly": _text(step.price_hourly),
        "price_monthly": _text(step.price_monthly),
    }
