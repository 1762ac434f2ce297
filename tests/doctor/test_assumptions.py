"""Each assumption about the service: confirmed by the sandbox as it is, and denied by the odd behaviour."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.doctor.trials import FOREVER, QUICK, Phases, ours, rulings, tried
from vpsorg_async.doctor import ASSUMPTIONS, Ruling
from vpsorg_async.sandbox import Rule, faults

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
NEVER_DENIED = {"create-once", "suspended-word"}
"""What a trial can't cause: a second create, a suspension."""
OLD = "2020-01-01T00:00:00Z"
ENVELOPE = {"status": "success", "message": "ok"}


def shown(word: str) -> faults.Action:
    return faults.OddField("status", word)


def get(*actions: faults.Action, **when: Any) -> Rule:
    return Rule("get", actions, **when)


@attrs.frozen
class Odd:
    """An odd service: the assumption that it denies, and how."""

    denies: str
    rules: tuple[Rule, ...] = ()
    phases: Phases = attrs.field(factory=dict)
    options: dict[str, Any] = attrs.field(factory=dict)
    settings: dict[str, Any] = attrs.field(factory=dict)
    """The settings that fit, beside the dialect."""


ODD = [
    Odd("create-answer", (Rule("create", faults.Reply(201, {"queued": True}, applied=True)),)),
    Odd("ids-agree", (Rule("create", faults.OddField("id", 99_999)),)),
    Odd("names-kept", (Rule("update", faults.FoldNames()),)),
    Odd("visibility", (Rule("create", faults.HideCreated(0.3)),), options={"visibility": 0.1}),
    Odd("address", (get(faults.OddField("ip_address", None), faults.OddField("ipv6_address", None)),)),
    Odd("password-once", (Rule("create", faults.OmitField("password")),), options={"dialect": "provider"}),
    Odd("error-json", (Rule("start", faults.Html(status=400), times=1),)),
    Odd("absence-json", phases={"delete": [get(faults.Gateway(404))]}),
    Odd("good-status", (Rule("stop", faults.Refuse(), times=1),)),
    Odd("no-redirects", (Rule("update", faults.Redirect("https://other.example/")),)),
    Odd("fields-fit", (get(faults.OddField()),)),
    Odd("time-zone", (get(faults.OddField("created_at", "2025-01-10T14:30:00")),)),
    Odd("no-operation", (Rule("reboot", faults.OddField("task_id", 7)),)),
    Odd("no-units", (get(faults.OddField("plan.ram_unit", "GB")),)),
    Odd("rate-limit", (get(faults.RateLimit(retry_after=None), times=1),)),
    Odd("list-whole", (Rule("list", faults.ShortList()),), options={"others": 1, "order": "newest"}),
    Odd(
        "next-link",
        (Rule("list", (faults.Paged(1), faults.NextLink(host="inner.example"))),),
        options={"others": 1},
    ),
    Odd(
        "filter-words",
        phases={"active": [Rule("list", faults.Reply(200, {"count": 0, "results": []}), times=1)]},
    ),
    Odd(
        "active-word",
        phases={"create": [get(shown("running"))], "stop": [None], "start": [get(shown("running"))]},
        settings={"status_words": {"running": "active"}},
    ),
    Odd(
        "stopped-word",
        phases={"stop": [get(shown("halted"))], "start": [None]},
        settings={"status_words": {"halted": "stopped"}},
    ),
    Odd("moving-words", phases={"reboot": [get(faults.SetStatus("cycling", 0.05), times=1)]}),
    Odd("no-failure", phases={"start": [get(faults.SetStatus("error", FOREVER), times=1)]}),
    Odd("edit-code", (Rule("update", faults.Reply(204, "", applied=True)),)),
    Odd("stop-code", (Rule("stop", faults.Reply(202, ENVELOPE, applied=True), times=1),)),
    Odd("edit-answer", (Rule("replace", faults.Reply(200, "", applied=True)),)),
    Odd("edit-shown", phases={"update": [get(faults.OddField("name", "another"), nth=1)]}),
    Odd("command-answer", (Rule("reboot", faults.Reply(200, ENVELOPE, applied=True), times=1),)),
    Odd("repeat-refused", (Rule("start", faults.Reply(422), times=1),)),
    Odd(
        "reads-follow",
        phases={
            "stop": [get(faults.OddField("status", "active"), faults.OddField("updated_at", OLD), nth=1)]
        },
    ),
    Odd("updated-moves", (get(faults.OddField("updated_at", OLD)),)),
    Odd("updated-forward", phases={"stop": [get(faults.OddField("updated_at", OLD), nth=1)]}),
    Odd("reboot-shows", (Rule("reboot", faults.Reply(200, ENVELOPE), times=1),)),
    Odd("delete-running", (Rule("delete", faults.Reply(409), times=1),)),
    Odd("delete-twice", phases={"deleted": [Rule("delete", faults.Reply(204, ""))]}),
    Odd(
        "no-soft-delete",
        (Rule("delete", faults.SoftDelete("deleted", seconds=60.0)),),
        settings={"status_words": {"deleted": "gone"}},
    ),
    Odd(
        "delete-listed",
        (Rule("delete", faults.SoftDelete(seconds=0.3, in_list=True)),),
        phases={"delete": [get(faults.Reply(404))]},
    ),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.denies)
async def test_an_odd_behaviour_denies_its_assumption(odd: Odd) -> None:
    """The assumption is denied, the settings fit what was seen, and the server is deleted all the same."""
    examination, box = await tried(*odd.rules, phases=odd.phases, **odd.options)

    assert rulings(examination)[odd.denies] is Ruling.DENIED
    dialect = odd.options.get("dialect", "documented")
    assert examination.report.settings == {"dialect": dialect, **odd.settings}
    assert (ours(examination, box), examination.remains) == ([], False)


def test_every_assumption_has_an_odd_behaviour() -> None:
    """The table above is whole. What needs a second server, or a plan without a price, is elsewhere."""
    assert {one.id for one in ASSUMPTIONS} == {odd.denies for odd in ODD} | NEVER_DENIED | {"price"}


@pytest.mark.parametrize("dialect", ["documented", "provider"])
async def test_a_usual_service_confirms_all(dialect: str) -> None:
    """The sandbox is built on the same assumptions: nothing is denied, and all that happens is confirmed."""
    examination, box = await tried(dialect=dialect)

    found = rulings(examination)
    unseen = {one for one, ruling in found.items() if ruling is Ruling.NOT_SEEN}
    elsewhere = {one.id for one in ASSUMPTIONS if one.dialect not in (None, dialect)}
    elsewhere |= {"updated-moves", "updated-forward"} if dialect == "provider" else set()
    assert Ruling.DENIED not in found.values()
    assert unseen == {"create-once", "rate-limit", "next-link", "suspended-word", "no-failure"} | elsewhere
    assert examination.error is None
    assert (box.servers, examination.remains) == ((), False)
    assert examination.report.settings == {"dialect": dialect}


async def test_a_rate_limit_that_says_how_long() -> None:
    """Retry-After in seconds is confirmed, and so is a link to the next page of the same origin."""
    limited, paged = Rule("get", faults.RateLimit(retry_after=0), times=1), Rule("list", faults.Paged(1))

    examination, _ = await tried(limited, paged, others=1)

    assert rulings(examination)["rate-limit"] is Ruling.CONFIRMED
    assert rulings(examination)["next-link"] is Ruling.CONFIRMED


async def test_a_suspension_is_seen() -> None:
    """A word that a trial can't cause is confirmed if it is seen."""
    examination, _ = await tried(phases={"start": [get(faults.Suspend(), times=1)]})

    assert rulings(examination)["suspended-word"] is Ruling.CONFIRMED


@pytest.mark.parametrize(
    "phases",
    [
        # the same after a create and after a stop: it means neither
        {"create": [get(shown("idle"))], "delete": [None]},
        # one command alone: a server that is being installed can stay so for long
        {"create": [get(shown("building"))], "active": [None]},
        # it is left without a command
        {"create": [get(shown("building"))], "active": [None], "reboot": [get(shown("building"), nth=1)]},
        # the start is refused, so that it may not have been off
        {"stop": [get(shown("powering-off"))], "start": [None, Rule("start", faults.Reply(400))]},
        {"start": [get(shown("error"))], "reboot": [get(shown("error"))], "delete": [None]},
    ],
)
async def test_a_word_in_doubt_is_not_mapped(phases: Phases) -> None:
    """A wait would end on it: a word is mapped only where two commands agree on it, or a start was accepted."""
    examination, box = await tried(phases=phases)

    assert examination.report.settings == {"dialect": "documented"}
    assert (box.servers, examination.remains) == ((), False)


async def test_a_trial_that_is_cut_short_maps_nothing() -> None:
    """A server that has not come to rest in time shows a word on the way."""
    always: Phases = {"create": [get(shown("running"))]}

    examination, box = await tried(
        phases=always, pace=attrs.evolve(QUICK, create=0.05, command=0.05, removal=0.3)
    )

    assert "status_words" not in examination.report.settings
    assert "create" not in examination.report.to_dict()["seconds"]
    assert box.servers == ()


def test_the_page_has_each_assumption() -> None:
    """The table of the architecture page has every assumption, by its id and its sentence, and no other."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| .+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)

    assert rows == [(one.id, one.sentence) for one in ASSUMPTIONS]
