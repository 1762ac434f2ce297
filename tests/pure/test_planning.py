"""The plan of `ensure`: a step for each spec, from what the account shows."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpsorg_async import OperatingSystem, Plan, Server, ServerSpec, ServerStatus
from vpsorg_async.fleet.planning import Step, StepKind, plan_fleet

SPEC = ServerSpec(name="web-01", plan_id=1, os_id=5, location="us-west")
WORDS = ["active", "stopped", "suspended", "provisioning", "starting", "stopping", "rebooting", "migrating"]


def server(number: int = 7, status: str = "active", **fields: Any) -> Server:
    """A server as a list shows it, created from the spec."""
    return Server(
        **{
            "id": number,
            "name": SPEC.name,
            "status": ServerStatus(status),
            "location": SPEC.location,
            "plan": Plan(id=1),
            "os": OperatingSystem(id=5),
            **fields,
        }
    )


def only(spec: ServerSpec, *servers: Server) -> Step:
    """The step for one spec."""
    (step,) = plan_fleet([spec], servers).steps
    return step


# the servers of this name, by status; the planned step; whether that changes the account
ROWS: list[tuple[list[str], StepKind, bool]] = [
    ([], StepKind.CREATE, True),
    (["active"], StepKind.KEEP, False),
    (["stopped"], StepKind.START, True),
    (["suspended"], StepKind.REFUSE, False),
    (["provisioning"], StepKind.WAIT, False),
    (["starting"], StepKind.WAIT, False),
    (["rebooting"], StepKind.WAIT, False),
    (["stopping"], StepKind.WAIT, False),
    (["a word of tomorrow"], StepKind.WAIT, False),
    (["active", "active"], StepKind.REFUSE, False),
    (["stopped", "suspended", "active"], StepKind.REFUSE, False),
]


@pytest.mark.parametrize(("statuses", "kind", "changes"), ROWS)
def test_what_is_done(statuses: list[str], kind: StepKind, changes: bool) -> None:
    """Missing: created; stopped: started; on its way: waited for; active: kept; suspended or ambiguous: refused."""
    found = [server(number, status) for number, status in enumerate(statuses, 7)]

    made = plan_fleet([SPEC], found)

    assert [step.kind for step in made.steps] == [kind]
    assert made.changes == changes
    assert made.steps[0].server == (found[0] if len(found) == 1 else None)


# what the list shows, the own command that is still open; the planned step, whether after it is over
OPEN: list[tuple[str, str, StepKind, bool]] = [
    ("active", "delete", StepKind.CREATE, True),
    ("stopped", "delete", StepKind.CREATE, True),
    ("active", "gone", StepKind.CREATE, False),
    ("active", "stop", StepKind.START, True),
    ("stopping", "stop", StepKind.START, True),
    ("stopped", "stop", StepKind.START, False),
    ("stopped", "start", StepKind.WAIT, False),
    ("active", "start", StepKind.KEEP, False),
    ("active", "reboot", StepKind.WAIT, False),
    ("rebooting", "reboot", StepKind.WAIT, False),
    ("active", "create", StepKind.KEEP, False),
    ("provisioning", "create", StepKind.WAIT, False),
    ("suspended", "start", StepKind.REFUSE, False),
    ("active", "", StepKind.KEEP, False),
]


@pytest.mark.parametrize(("status", "command", "kind", "after"), OPEN)
def test_own_commands_that_are_open(status: str, command: str, kind: StepKind, after: bool) -> None:
    """The list may lag: a server with an open command of this client is planned by the status it is heading for."""
    shown = server(7, status)

    (step,) = plan_fleet([SPEC], [shown], heading=lambda _: command).steps

    assert step.kind is kind
    assert step.after == ((shown,) if after else ())


def test_what_is_leaving_does_not_count_beside_what_stays() -> None:
    """Of two servers of the name one is being deleted: the other one is used."""
    leaving, staying = server(7), server(8, "stopped")

    (step,) = plan_fleet([SPEC], [leaving, staying], heading=lambda s: "delete" if s.id == 7 else "").steps

    assert (step.kind, step.server, step.after) == (StepKind.START, staying, ())


def test_what_a_spec_and_its_servers_have_in_common_is_said_by_the_caller() -> None:
    """The key of a spec is its name by default, in any case; a dialect may show servers under another one."""
    upper, elsewhere = server(7, name="WEB-01"), server(8, name="", hostname="web-01")

    assert plan_fleet([SPEC], [upper]).steps[0].server == upper
    assert plan_fleet([SPEC], [elsewhere]).steps[0].server is None

    def key_of(subject: ServerSpec | Server) -> str:
        return subject.name if isinstance(subject, ServerSpec) else str(subject.hostname)

    assert plan_fleet([SPEC], [elsewhere], key_of).steps[0].server == elsewhere


def test_several_of_one_name_are_named() -> None:
    """Where the name is ambiguous, all servers of the name are listed."""
    step = only(SPEC, server(7), server(8), server(9, name="web-02"))

    assert step.kind is StepKind.REFUSE
    assert "7, 8" in step.reason
    assert "9" not in step.reason


# what the spec asks for, what the account shows, the fields that differ
DIFFERENCES: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, []),
    ({}, {"plan": Plan(id=2)}, ["plan_id"]),
    ({}, {"os": OperatingSystem(id=3)}, ["os_id"]),
    ({}, {"location": "us-east"}, ["location"]),
    ({"hostname": "a.example.com"}, {"hostname": "b.example.com"}, ["hostname"]),
    ({"backups_enabled": True}, {"backups_enabled": False}, ["backups_enabled"]),
    ({"backups_enabled": False}, {"backups_enabled": True}, ["backups_enabled"]),
    (
        {},
        {"plan": Plan(id=2), "os": OperatingSystem(id=3), "location": "us-east"},
        ["plan_id", "os_id", "location"],
    ),
    # a field that the spec leaves open, or that the response lacks, is no difference
    ({}, {"hostname": "b.example.com", "backups_enabled": True}, []),
    ({"hostname": "a.example.com", "backups_enabled": True}, {}, []),
    ({}, {"plan": None, "os": None, "location": None}, []),
    ({}, {"plan": Plan(name="Standard VPS")}, []),
    # an id is the same id as a word
    ({"plan_id": "1", "os_id": "5"}, {}, []),
]


@pytest.mark.parametrize(("asked", "shown", "fields"), DIFFERENCES)
def test_differences(asked: dict[str, Any], shown: dict[str, Any], fields: list[str]) -> None:
    """An existing server is not changed, and the plan lists how it differs from the spec."""
    step = only(attrs.evolve(SPEC, **asked), server(**shown))

    assert step.kind is StepKind.KEEP
    assert [line.split(" ")[0] for line in step.differences] == fields


def test_a_difference_says_both() -> None:
    """A difference shows the actual and the requested value."""
    (line,) = only(SPEC, server(location="us-east")).differences

    assert "'us-east'" in line
    assert "'us-west'" in line


@given(
    wanted=st.lists(st.sampled_from("abcdef"), unique=True),
    account=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(WORDS)), max_size=10),
)
def test_any_account(wanted: list[str], account: list[tuple[str, str]]) -> None:
    """One step for each spec, in their order; a name that exists is never created; others' servers are not touched."""
    specs = [attrs.evolve(SPEC, name=name) for name in wanted]
    servers = [server(number, status, name=name) for number, (name, status) in enumerate(account, 1)]

    made = plan_fleet(specs, servers)

    assert [step.spec for step in made.steps] == specs
    for step in made.steps:
        same = [shown for shown in servers if shown.name == step.spec.name]
        assert (step.kind is StepKind.CREATE) is (same == [])
        assert step.server is None or same == [step.server]
        assert step.kind is not StepKind.START or step.server.status == "stopped"  # type: ignore[union-attr]
    assert made.changes == sum(step.kind in (StepKind.CREATE, StepKind.START) for step in made.steps)


def test_a_plan_reads_well() -> None:
    """The printed plan has the totals, a line with action and reason for each server, and the differences below it."""
    specs = [attrs.evolve(SPEC, name=name) for name in ("a", "b", "c", "d", "e")]
    servers = [
        server(1, "active", name="b", location="us-east"),
        server(2, "stopped", name="c"),
        server(3, "provisioning", name="d"),
        server(4, "suspended", name="e"),
    ]

    assert str(plan_fleet(specs, servers)).splitlines() == [
        "5 servers: 1 to create, 1 to start, 1 to wait, 1 to keep, 1 to refuse",
        "+ create a",
        "= keep   b [1, active]",
        "      location is 'us-east', the spec says 'us-west'",
        "> start  c [2, stopped]",
        ". wait   d [3, provisioning] (it is provisioning)",
        "! refuse e [4, suspended] (it is suspended)",
        "price of what is created: unknown per hour, unknown per month",
    ]
    assert str(plan_fleet([], servers)) == "0 servers: nothing to do"
