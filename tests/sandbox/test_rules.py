"""Fault rules as data: when they fire, what they refuse, and their JSON form."""

import json
from typing import Any

import attrs
import pytest

from vpsorg_async.sandbox import FaultError, Rule, faults
from vpsorg_async.sandbox.notation import rule_from_json, rule_to_json, rules_from_json
from vpsorg_async.sandbox.rules import FaultPlan

ONE_OF_EACH: list[faults.Action] = [
    faults.Delay(0.5, after=True),
    faults.Lag(5, lasting=2),
    faults.HideCreated(5, by_id=False),
    faults.SetStatus("odd", seconds=3, then="stopped", server_id=12345),
    faults.SetBoot(seconds=3, banner=False, dies_after=5, cloud_init="hangs"),
    faults.Suspend(),
    faults.Vanish(server_id=12345),
    faults.CommitLater(5),
    faults.DropBefore(how="rst"),
    faults.DropAfter(),
    faults.HalfHeaders(),
    faults.HalfBody(),
    faults.MalformedChunk(pause=0.1),
    faults.Dribble(size=3),
    faults.HugeBody(size=10),
    faults.GzipBomb(),
    faults.Html(503, applied=True),
    faults.Reply(402, body={"a": [1]}, headers={"X-A": "b"}),
    faults.RateLimit("soon"),
    faults.Redirect("http://elsewhere/", status=302),
    faults.Garbage(applied=True),
    faults.NeverAnswer(),
    faults.FoldNames(),
    faults.SoftDelete("destroyed", seconds=5, in_list=True),
    faults.ShortList(missing=2),
    faults.IgnorePage(),
    faults.Paged(20),
    faults.NextLink(scheme="https", host="api.test:8443", prefix=""),
    faults.OddField("plan.memory", {"gb": [0.5, None]}, row=0),
    faults.OmitField("hostname", row=1),
    faults.Gateway(502, body="", server="balancer", applied=True),
    faults.Refuse("no stock", status=202, word="fail", applied=True),
]


def fired(rule: Rule, matches: int = 10, seed: int = 0) -> list[int]:
    plan = FaultPlan([rule], seed=seed)
    return [n for n in range(1, matches + 1) if plan.take("GET", "/api/v1/servers/", "list")]


@pytest.mark.parametrize(
    ("when", "on"),
    [
        ({}, list(range(1, 11))),
        ({"nth": 3}, [3]),
        ({"times": 2}, [1, 2]),
        ({"every": 4}, [4, 8]),
        ({"every": 2, "times": 3}, [2, 4, 6]),
        ({"nth": 3, "every": 2}, []),
        ({"probability": 1}, list(range(1, 11))),
    ],
)
def test_when_a_rule_fires(when: dict[str, Any], on: list[int]) -> None:
    """Count and chance select among the matches, and all that are given must agree."""
    assert fired(Rule(None, faults.DropAfter(), **when)) == on


def test_chance_is_seeded() -> None:
    """A rule with a probability fires on about that share, the same way for the same seed."""
    rule = Rule(None, faults.DropAfter(), probability=0.3)
    first, again, other = fired(rule, 1000), fired(rule, 1000), fired(rule, 1000, seed=1)

    assert first == again != other
    assert 200 < len(first) < 400


@pytest.mark.parametrize(
    ("where", "hit"),
    [
        ({}, True),
        ({"operation": "reboot"}, True),
        ({"operation": "start"}, False),
        ({"method": "post"}, True),
        ({"method": "GET"}, False),
        ({"path": "/api/v1/servers/12345/reboot/"}, True),
        ({"path": "/api/v1/servers/*/reboot/"}, True),
        ({"path": "/api/v1/servers/*/"}, False),
        ({"path": "/api/v1/servers/**"}, True),
        ({"path": "/api/v1/servers/12.45/reboot/"}, False),
        ({"operation": "reboot", "method": "POST", "path": "/api/v1/servers/99/**"}, False),
    ],
)
def test_what_a_rule_matches(where: dict[str, Any], hit: bool) -> None:
    """Operation, method and path select requests, and all that are given must agree."""
    rule = Rule(actions=[faults.DropAfter()], **where)

    assert rule.matches("POST", "/api/v1/servers/12345/reboot/", "reboot") is hit


def test_the_first_rule_that_fires_takes_the_request() -> None:
    """Spent rules let requests through to the next one; a rule behind one that fires counts nothing."""
    plan = FaultPlan(
        [
            Rule("list", faults.DropAfter(), times=1),
            Rule("list", faults.Html(503), times=1),
            Rule("get", faults.Garbage()),
        ]
    )

    labels = [rule and rule.label for rule in (plan.take("GET", "/", "list") for _ in range(3))]

    assert labels == ["drop_after", "html", None]
    assert [(armed.matched, armed.fired) for armed in plan.armed] == [(3, 1), (2, 1), (0, 0)]


def test_clear_and_add() -> None:
    """Cleared rules do not fire; rules added later count from then on."""
    plan = FaultPlan([Rule("list", faults.DropAfter())])
    plan.clear()
    assert plan.take("GET", "/", "list") is None

    plan.add(Rule("list", faults.Garbage(), nth=1))
    assert plan.take("GET", "/", "list") is not None


def test_every_action_has_a_json_name() -> None:
    """The table of actions is complete, and its names are those of the actions."""
    assert {type(action) for action in ONE_OF_EACH} == set(faults.ACTIONS.values())
    assert all(kind.do == name for name, kind in faults.ACTIONS.items())


@pytest.mark.parametrize("action", ONE_OF_EACH, ids=lambda action: action.do)
def test_json_there_and_back(action: faults.Action) -> None:
    """A rule written as JSON is read back as the same rule."""
    rule = Rule(None, [action], times=2, probability=0.5, path="/**", method="POST")

    assert rule_from_json(json.loads(json.dumps(rule_to_json(rule)))) == rule


def test_json_leaves_defaults_out() -> None:
    """The JSON form is as short as what was given."""
    assert rule_to_json(Rule("create", faults.DropAfter(), times=1)) == {
        "operation": "create",
        "actions": [{"do": "drop_after"}],
        "times": 1,
    }


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "(document)"),
        ({}, "rules"),
        ({"rules": {}}, "rules"),
        ({"rules": [], "more": 1}, "more"),
        ({"rules": [], "replace": 1}, "replace"),
        ({"rules": [1]}, "rules[0].(document)"),
        ({"rules": [{}]}, "rules[0].actions"),
        ({"rules": [{"actions": []}]}, "rules[0].actions"),
        ({"rules": [{"actions": [{"do": "delay", "seconds": 1}], "nht": 1}]}, "rules[0].nht"),
        ({"rules": [{"actions": [{}]}]}, "rules[0].actions[0].do"),
        ({"rules": [{"actions": [{"do": "explode"}]}]}, "rules[0].actions[0].do"),
        ({"rules": [{"actions": [{"do": ["delay"]}]}]}, "rules[0].actions[0].do"),
        ({"rules": [{"actions": [{"do": "delay"}]}]}, "rules[0].actions[0].seconds"),
        ({"rules": [{"actions": [{"do": "delay", "seconds": "1"}]}]}, "rules[0].actions[0].seconds"),
        ({"rules": [{"actions": [{"do": "delay", "seconds": -1}]}]}, "rules[0].actions[0].seconds"),
        ({"rules": [{"actions": [{"do": "delay", "seconds": True}]}]}, "rules[0].actions[0].seconds"),
        ({"rules": [{"actions": [{"do": "delay", "seconds": 1, "x": 1}]}]}, "rules[0].actions[0].x"),
    ],
)
def test_bad_json_names_the_field(document: Any, field: str) -> None:
    """A mistake in a fault document is found, and its place is named."""
    with pytest.raises(FaultError) as error:
        rules_from_json(document)

    assert error.value.field == field
    assert str(error.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Rule("explode", faults.DropAfter()), "operation"),
        (lambda: Rule("create"), "actions"),
        (lambda: Rule("create", [faults.DropAfter, faults.Garbage()]), "actions"),  # type: ignore[list-item]
        (lambda: Rule("create", [faults.DropAfter(), faults.Garbage()]), "actions"),
        (lambda: Rule("create", [faults.CommitLater(1), faults.DropAfter()]), "actions"),
        (lambda: Rule("create", [faults.CommitLater(1), faults.HideCreated(1)]), "actions"),
        (lambda: Rule("get", faults.HideCreated(1)), "actions"),
        (lambda: Rule("list", faults.Vanish()), "actions"),
        (lambda: Rule("create", faults.DropAfter(), nth=0), "nth"),
        (lambda: Rule("create", faults.DropAfter(), times=1.0), "times"),  # type: ignore[arg-type]
        (lambda: Rule("create", faults.DropAfter(), every=True), "every"),
        (lambda: Rule("create", faults.DropAfter(), probability=1.5), "probability"),
        (lambda: Rule("create", faults.DropAfter(), method=""), "method"),
        (lambda: faults.DropAfter(how="gently"), "how"),
        (lambda: faults.Html(100), "status"),
        (lambda: faults.Redirect("http://x/\r\nSet-Cookie: a"), "location"),
        (lambda: faults.Redirect("/", status=200), "status"),
        (lambda: faults.Reply(200, headers={"X": "a\nb"}), "headers"),
        (lambda: faults.Reply(200, headers=[]), "headers"),  # type: ignore[arg-type]
        (lambda: faults.RateLimit(-1), "retry_after"),
        (lambda: faults.RateLimit("a\nb"), "retry_after"),
        (lambda: faults.Dribble(size=0), "size"),
        (lambda: faults.SetStatus(""), "word"),
        (lambda: faults.SetStatus("a", seconds=float("nan")), "seconds"),
    ],
)
def test_senseless_rules_are_refused(make: Any, field: str) -> None:
    """A rule that could never do what it says is refused at creation, with the field."""
    with pytest.raises(FaultError) as error:
        make()

    assert error.value.field == field


def test_actions_are_values() -> None:
    """Actions are frozen and equal by value, so a rule can be shared and compared."""
    action = faults.Delay(1)

    assert action == faults.Delay(1.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        action.seconds = 2  # type: ignore[misc]
