"""When faults happen, as data: rules, and the plan that counts their matches. No I/O.

A rule matches requests by operation, method and path, and fires on some of the matches (`nth`, `every`, `times`,
`probability`; all that are given must hold). The first rule that fires handles the request; later rules do not count
it. Two rules with `times=1` therefore affect two successive requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from random import Random
from typing import Any, TypeVar

import attrs
from attrs import define, field, frozen

from . import checks
from .api import NAME_A_SERVER, OPERATIONS
from .errors import FaultError
from .faults import (
    Action,
    CommitLater,
    Ending,
    FoldNames,
    HideCreated,
    OnField,
    OnServer,
    SetBoot,
    Shape,
    SoftDelete,
)

A = TypeVar("A", bound=Action)


def _actions(value: Action | Iterable[Action]) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _all_actions(rule: object, attribute: attrs.Attribute[Any], value: tuple[Any, ...]) -> None:
    if not value or not all(isinstance(action, Action) for action in value):
        raise FaultError(attribute.name, "must be one action or more")


@frozen
class Rule:
    """A fault: the requests that it affects, and what it does to them. All conditions that are given must hold.

    Matches are counted from the moment at which the rule is added.

    Args:
        operation: The operation that must be requested, such as "create"; None for any.
        actions: One action of `faults`, or several that act together.
        method: The HTTP method that must be used.
        path: A pattern for the path: `*` matches one segment, `**` any number.
        nth: Fire only on the match with this number, from 1.
        every: Fire on each match whose number is a multiple of this.
        times: Fire at most this often.
        probability: Fire with this probability, over 0 and at most 1, by a seeded draw.

    Raises:
        FaultError: A value is invalid, or the actions can't be combined.

    Example:
        `Rule("create", faults.DropAfter(), times=1)` loses the answer of the first create.
    """

    operation: str | None = field(default=None, validator=checks.optional(checks.choice(*OPERATIONS)))
    actions: tuple[Action, ...] = field(default=(), converter=_actions, validator=_all_actions)
    method: str | None = field(default=None, kw_only=True, validator=checks.optional(checks.text))
    path: str | None = field(default=None, kw_only=True, validator=checks.optional(checks.text))
    nth: int | None = field(default=None, kw_only=True, validator=checks.optional(checks.count))
    every: int | None = field(default=None, kw_only=True, validator=checks.optional(checks.count))
    times: int | None = field(default=None, kw_only=True, validator=checks.optional(checks.count))
    probability: float | None = field(default=None, kw_only=True, validator=checks.optional(checks.share))

    def __attrs_post_init__(self) -> None:
        if len([action for action in self.actions if isinstance(action, Ending)]) > 1:
            raise FaultError("actions", "must hold at most one ending")
        for action in self.actions:
            if action.operations and self.operation not in (None, *action.operations):
                raise FaultError(
                    "actions", f"{action.do} goes with the operation {' or '.join(action.operations)}"
                )
            if (
                isinstance(action, OnField)
                and action.row is not None
                and self.operation not in (None, "list")
            ):
                raise FaultError("actions", f"{action.do} with a row goes with the operation list")
        nameless = [act for act in self.actions if isinstance(act, OnServer) and act.server_id is None]
        if nameless and self.operation not in (None, *NAME_A_SERVER):
            raise FaultError("actions", f"{self.operation} names no server: server_id is required")
        if self.first(CommitLater) and (self.first(HideCreated) or (self.ending and self.ending.applied)):
            raise FaultError(
                "actions", "commit_later goes with an ending that applies nothing, and hides nothing"
            )

        self._check_shapes()

    def _check_shapes(self) -> None:
        late, ending = self.first(CommitLater), self.ending
        shape = self.first(Shape)
        replaced = late or (ending if ending and not ending.plain else None)
        if shape and replaced:
            reason = f"{shape.do} needs the plain answer to be sent, and does not go with {replaced.do}"
            raise FaultError("actions", reason)
        change = self.first(FoldNames) or self.first(SoftDelete)
        if change and ending and not (ending.applied or late):
            reason = f"{change.do} needs the change to be applied, and does not go with {ending.do}"
            raise FaultError("actions", reason)

    @property
    def ending(self) -> Ending | None:
        """What the client gets; None for the plain answer."""
        return self.first(Ending)

    @property
    def label(self) -> str:
        """The names of the actions, for the request log."""
        return "+".join(action.do for action in self.actions)

    def first(self, kind: type[A]) -> A | None:
        """Return the first action of this kind, or None."""
        return next((action for action in self.actions if isinstance(action, kind)), None)

    def matches(self, method: str, path: str, operation: str | None) -> bool:
        """Return whether this rule applies to the request."""
        return (
            self.operation in (None, operation)
            and (self.method is None or self.method.upper() == method)
            and (self.path is None or _pattern(self.path).fullmatch(path) is not None)
        )


@lru_cache(maxsize=256)
def _pattern(path: str) -> re.Pattern[str]:
    parts = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*?)", path)))


@define
class Armed:
    """An active rule, with its counts of matches and firings."""

    rule: Rule
    matched: int = 0
    fired: int = 0


class FaultPlan:
    """The active rules in order, with their counters. Seeded, so that `probability` is repeatable.

    Without `boots` the servers never boot, and a rule for their boots is refused.
    """

    def __init__(self, rules: Sequence[Rule] = (), *, seed: int = 0, boots: bool = True) -> None:
        self._seed = seed
        self._boots = boots
        self._added = 0
        self._armed: list[tuple[Armed, Random]] = []
        self.add(*rules)

    @property
    def armed(self) -> tuple[Armed, ...]:
        """The active rules, with their present counters."""
        return tuple(attrs.evolve(armed) for armed, _ in self._armed)

    def add(self, *rules: Rule) -> None:
        """Append rules to the active ones. Raises `FaultError`; then none is added."""
        if not self._boots and any(rule.first(SetBoot) for rule in rules):
            raise FaultError("actions", "set_boot needs servers that listen: pass boot= to Sandbox")
        for rule in rules:
            self._added += 1
            self._armed.append((Armed(rule), Random(f"{self._seed}/{self._added}")))

    def clear(self) -> None:
        """Deactivate all rules."""
        self._armed.clear()

    def take(self, method: str, path: str, operation: str | None) -> Rule | None:
        """Return the rule that fires on this request, if any, and count the match."""
        for armed, dice in self._armed:
            rule = armed.rule
            if rule.matches(method, path, operation):
                armed.matched += 1
                if _fires(armed, dice):
                    armed.fired += 1
                    return rule
        return None


def _fires(armed: Armed, dice: Random) -> bool:
    rule = armed.rule
    # Always draw first, so that the other conditions do not shift the sequence of draws.
    lucky = rule.probability is None or dice.random() < rule.probability
    return (
        lucky
        and rule.nth in (None, armed.matched)
        and (rule.every is None or armed.matched % rule.every == 0)
        and (rule.times is None or armed.fired < rule.times)
    )
