"""Faults to and from JSON. Pure. Bad input raises a `FaultError` that names the place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import attrs

from .errors import FaultError
from .faults import ACTIONS, Action
from .rules import Rule

T = TypeVar("T")


def rule_from_json(document: object) -> Rule:
    """Read one rule, e.g. `{"operation": "create", "times": 1, "actions": [{"do": "drop_after"}]}`."""
    given = _object(document)
    return _build(Rule, {**given, "actions": _each("actions", given.get("actions"), _action)})


def rules_from_json(document: object) -> tuple[list[Rule], bool]:
    """Read `{"rules": [...], "replace": false}`: the rules, and whether they replace the active ones."""
    given = _object(document)
    for key in given.keys() - {"rules", "replace"}:
        raise FaultError(key, "is not known here")
    replace = given.get("replace", False)
    if not isinstance(replace, bool):
        raise FaultError("replace", "must be true or false")
    return _each("rules", given.get("rules"), rule_from_json), replace


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """Write a rule in the form that `rule_from_json` reads; fields with their default are left out."""
    actions = [{"do": action.do, **_given(action)} for action in rule.actions]
    return {**_given(rule), "actions": actions}


def _action(document: object) -> Action:
    given = dict(_object(document))
    name = given.pop("do", None)
    if not isinstance(name, str) or name not in ACTIONS:
        raise FaultError("do", f"must be one of {', '.join(sorted(ACTIONS))}")
    return _build(ACTIONS[name], given)


def _object(document: object) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise FaultError("(document)", "must be an object")
    return cast("Mapping[str, Any]", document)


def _each(place: str, documents: object, read: Callable[[object], T]) -> list[T]:
    if not isinstance(documents, (list, tuple)):
        raise FaultError(place, "must be a list")
    done: list[T] = []
    for number, document in enumerate(cast("list[object]", documents)):
        try:
            done.append(read(document))
        except FaultError as error:
            raise error.inside(f"{place}[{number}]") from None
    return done


def _build(kind: type[T], given: Mapping[str, Any]) -> T:
    fields: dict[str, attrs.Attribute[Any]] = attrs.fields_dict(cast("Any", kind))
    for name in given.keys() - fields.keys():
        raise FaultError(name, "is not known here")
    for name, attribute in fields.items():
        if attribute.default is attrs.NOTHING and name not in given:
            raise FaultError(name, "is required")
    return kind(**given)


def _given(record: Any) -> dict[str, Any]:
    """Return the fields that do not have their default."""
    plain: dict[str, Any] = attrs.asdict(record, recurse=False)
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(cast("Any", type(record)))
    return {field.name: plain[field.name] for field in fields if plain[field.name] != _default(field)}


def _default(field: attrs.Attribute[Any]) -> Any:
    # Type checkers treat the class as an overloaded function.
    factory = cast("type[Any]", attrs.Factory)
    default: Any = field.default
    return default.factory() if isinstance(default, factory) else default
