"""The provider as a machine: tables first, then properties."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vpsorg_async.sandbox import Durations, SandboxError
from vpsorg_async.sandbox.catalogue import PLANS, SYSTEMS, ipv4
from vpsorg_async.sandbox.errors import Invalid, NoCredit, NotAllowed, NotFound
from vpsorg_async.sandbox.ledger import Command
from vpsorg_async.sandbox.records import timestamp
from vpsorg_async.sandbox.world import World

FIXED = Durations(provisioning=180.0, starting=10.0, stopping=20.0, rebooting=30.0)
FIELDS = {
    "name": "web-1",
    "plan": PLANS[1],
    "os": SYSTEMS[5],
    "location": "us-west",
    "hostname": None,
    "backups_enabled": False,
}
WORDS = ("provisioning", "active", "starting", "stopping", "stopped", "rebooting", "suspended", "odd")


def create(name: str = "web-1") -> Command:
    return Command("create", fields={**FIELDS, "name": name})


def a_world(**settings: Any) -> World:
    return World(**{"durations": FIXED, **settings})


@pytest.mark.parametrize(
    ("status", "ends_as", "seconds"),
    [
        ("provisioning", "active", 180.0),
        ("starting", "active", 10.0),
        ("stopping", "stopped", 20.0),
        ("rebooting", "active", 30.0),
    ],
)
def test_moving_statuses_end(status: str, ends_as: str, seconds: float) -> None:
    """A moving status holds until its duration is over, then it is the settled one."""
    world = a_world()
    server = world.add(now=0, status=status)[0]

    assert world.find(server.id, seconds - 0.001).status == status
    assert world.find(server.id, seconds).status == ends_as


@pytest.mark.parametrize("status", ["active", "stopped", "suspended", "odd"])
def test_other_statuses_stay(status: str) -> None:
    """A settled or an unknown status does not change by itself."""
    world = a_world()
    server = world.add(now=0, status=status)[0]

    assert world.find(server.id, 1e9) == server


@pytest.mark.parametrize("status", WORDS)
@pytest.mark.parametrize(
    ("operation", "needs", "begins"),
    [("start", "stopped", "starting"), ("stop", "active", "stopping"), ("reboot", "active", "rebooting")],
)
def test_power_commands(operation: str, needs: str, begins: str, status: str) -> None:
    """A power command is taken in one status only and begins a moving one; refused, it changes nothing."""
    world = a_world()
    server = world.add(now=0, status=status)[0]
    command = Command(operation, server.id)

    if status == needs:
        assert world.apply(command, 1).status == begins
        assert [change.operation for change in world.ledger] == [operation]
    else:
        with pytest.raises(NotAllowed):
            world.apply(command, 1)
        assert world.find(server.id, 1) == server
        assert world.ledger == []


@pytest.mark.parametrize("status", WORDS)
def test_updates_and_deletes_are_taken_in_every_status(status: str) -> None:
    """PUT, PATCH and DELETE do not depend on the status, and a change of name leaves the course of events alone."""
    world = a_world()
    server = world.add(now=0, status=status)[0]

    renamed = world.apply(Command("update", server.id, {"name": "new"}), 1)
    assert (renamed.name, renamed.status, renamed.until) == ("new", server.status, server.until)

    world.apply(Command("delete", server.id), 2)
    with pytest.raises(NotFound):
        world.find(server.id, 2)


def test_provisioning_takes_the_documented_time() -> None:
    """By default a server is ready 2 to 5 minutes after its creation, and not all after the same time."""
    world = World()
    servers = [world.apply(create(), 0) for _ in range(50)]
    ends = {server.until for server in servers}

    assert all(end is not None and 120 <= end <= 300 for end in ends)
    assert len(ends) > 40


def test_speed_divides_durations() -> None:
    """With speed 60 a minute passes in a second."""
    slow, fast = World(seed=3), World(seed=3, speed=60)

    slow_end, fast_end = (world.apply(create(), 0).until for world in (slow, fast))

    assert slow_end is not None
    assert fast_end == pytest.approx(slow_end / 60)


def test_a_create_is_shown_as_on_the_page() -> None:
    """Ids start at 12345; no address while provisioning, the page's first address afterwards."""
    world = a_world(epoch=1_736_519_400)
    server = world.apply(create(), 0)

    assert (server.id, server.status, server.ip_address) == (12345, "provisioning", None)
    assert timestamp(server.created_at) == timestamp(server.updated_at) == "2025-01-10T14:30:00Z"
    ready = world.find(12345, 180)
    assert (ready.status, ready.ip_address, ready.ipv6_address) == ("active", "203.0.113.10", "2001:0db8::1")
    assert timestamp(ready.updated_at) == "2025-01-10T14:33:00Z"


def test_addresses_stay_in_reserved_ranges() -> None:
    """Every server has an address of its own out of documentation and benchmark ranges."""
    addresses = [ipv4(12345 + number) for number in range(100_000)]

    assert len(set(addresses)) == 100_000
    assert {address.split(".")[0] for address in addresses} == {"203", "198", "192"}


def test_credit_runs_out() -> None:
    """The create after the last paid one is refused with 402, and a delete gives nothing back."""
    world = a_world(credit=2)
    for _ in range(2):
        world.apply(create(), 0)
    world.apply(Command("delete", 12345), 0)

    with pytest.raises(NoCredit) as refusal:
        world.apply(create(), 0)
    assert refusal.value.status == 402
    assert len(world.servers(0)) == 1


def test_the_ledger_names_what_was_committed() -> None:
    """Each accepted change is in the ledger, with its time and request; refused ones and hooks are not."""
    world = a_world()
    world.apply(create(), 5, request=7)
    world.set_status(12345, "active", 6)
    world.apply(Command("reboot", 12345), 8, request=9)
    with pytest.raises(NotAllowed):
        world.apply(Command("reboot", 12345), 9, request=10)
    world.apply(Command("delete", 12345), 10, request=11)

    assert [(c.seq, c.at, c.operation, c.server_id, c.name, c.status, c.request) for c in world.ledger] == [
        (1, 5, "create", 12345, "web-1", "provisioning", 7),
        (2, 8, "reboot", 12345, "web-1", "rebooting", 9),
        (3, 10, "delete", 12345, "web-1", "deleted", 11),
    ]


@pytest.mark.parametrize(
    ("distinct", "printed"), [(True, "1970-01-01T00:01:41Z"), (False, "1970-01-01T00:01:40Z")]
)
def test_two_changes_within_a_second(distinct: bool, printed: str) -> None:
    """`updated_at` moves on by default; it can also read alike, as whole seconds do."""
    world = a_world(distinct_updates=distinct)
    world.apply(create(), 100.1)

    changed = world.apply(Command("update", 12345, {"name": "b"}), 100.2)

    assert timestamp(changed.updated_at) == printed


def test_a_late_commit_happens_at_its_time() -> None:
    """A postponed change is not visible before its time, and has that time, however late the read is."""
    world = a_world()
    world.apply_later(create(), 0, 5, request=1)

    assert world.servers(4.9) == []
    (server,) = world.servers(100)
    assert (server.created_at, world.ledger[0].at, world.ledger[0].request) == (5, 5, 1)


def test_a_late_commit_that_is_refused_leaves_no_trace() -> None:
    """A change put off and then impossible is lost, as with a real provider, and nothing breaks."""
    world = a_world()
    world.add(now=0)
    world.apply_later(Command("reboot", 12345), 0, 5)
    world.vanish(12345, 1)

    assert world.servers(10) == []
    assert world.ledger == []


def test_reads_can_lag() -> None:
    """While reads lag, they show the older state, servers that are gone included; then the present again."""
    world = a_world()
    old, gone = world.add(2, now=0)
    world.at(100)
    world.lag(10, 100, lasting=30)
    world.apply(Command("reboot", old.id), 101)
    world.vanish(gone.id, 101)

    assert world.find(old.id, 105).status == "active"
    assert [server.id for server in world.servers(105)] == [old.id, gone.id]
    assert world.find(old.id, 111).status == "rebooting"
    assert [server.id for server in world.servers(111)] == [old.id]
    assert world.find(old.id, 130).status == "rebooting"
    assert world.find(old.id, 131).status == "active"


@pytest.mark.parametrize(("by_id", "in_list"), [(True, True), (True, False), (False, True)])
def test_a_server_can_be_hidden(by_id: bool, in_list: bool) -> None:
    """A hidden server is absent by id and/or from the list for its time, commands included, and exists all along."""
    world = a_world()
    server = world.add(now=0)[0]
    revision = world.revision
    world.hide(server.id, 5, 0, by_id=by_id, in_list=in_list)

    assert (world.servers(4) == []) is in_list
    if by_id:
        with pytest.raises(NotFound):
            world.find(server.id, 4)
        with pytest.raises(NotFound):
            world.apply(Command("reboot", server.id), 4)
    else:
        assert world.find(server.id, 4) == server
    assert world.truth(4) == (server,)
    hidden_revision = world.revision
    assert world.servers(5) == [world.find(server.id, 5)]
    assert revision < hidden_revision < world.revision


def test_suspend_ends_what_was_going_on() -> None:
    """A server suspended while provisioning stays suspended."""
    world = a_world()
    server = world.apply(create(), 0)
    world.suspend(server.id, 10)

    assert world.find(server.id, 1000).status == "suspended"


def test_any_word_for_any_time() -> None:
    """A status word can be set for good, for a while, or a moving one for ever."""
    world = a_world()
    first, second, third = (server.id for server in world.add(3, now=0))
    world.set_status(first, "migrating", 0)
    world.set_status(second, "migrating", 0, seconds=5, then="stopped")
    world.set_status(third, "provisioning", 0, seconds=math.inf)

    assert [server.status for server in world.servers(4)] == ["migrating", "migrating", "provisioning"]
    assert [server.status for server in world.servers(1e6)] == ["migrating", "stopped", "provisioning"]


def test_bulk_seeding() -> None:
    """Servers can be put there in bulk, a day old, each with a name and address, and without a trace."""
    world = a_world(credit=0)
    servers = world.add(5000, now=0, name="node", status="stopped", location="us-east", plan_id=2, os_id=3)

    assert len({server.name for server in servers}) == len({server.ip_address for server in servers}) == 5000
    assert servers[0].name == "node-12345"
    assert {(s.status, s.location, s.plan.id, s.os.id, s.created_at) for s in servers} == {
        ("stopped", "us-east", 2, 3, -86_400.0)
    }
    assert world.ledger == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0},
        {"speed": math.nan},
        {"speed": math.inf},
        {"credit": -1},
    ],
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    """A world that makes no sense is refused at once."""
    with pytest.raises(SandboxError):
        World(**wrong)


@pytest.mark.parametrize("wrong", [-1.0, (5.0, 1.0), (1.0, 2.0, 3.0), math.nan, "x", None])
def test_durations_are_checked(wrong: Any) -> None:
    """A duration is a number or a range, and not below zero."""
    with pytest.raises(SandboxError):
        Durations(starting=wrong)


def test_hooks_name_a_server_that_is_not_there() -> None:
    """A hook on an unknown server is an error of the test, and says so."""
    with pytest.raises(SandboxError, match="no server 1"):
        a_world().suspend(1, 0)


def test_seeding_refuses_what_a_create_refuses() -> None:
    """A seeded server cannot be one that the API would not make."""
    with pytest.raises(Invalid):
        a_world().add(now=0, plan_id=99)


def test_time_never_goes_back() -> None:
    """A caller whose clock jumps back sees the world of the later time."""
    world = a_world()
    world.apply(create(), 0)
    world.at(500)

    assert world.find(12345, 10).status == "active"


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "start", "stop", "reboot", "update", "delete", "suspend", "late", "lag"]),
        st.integers(0, 3),
        st.floats(0, 200, allow_nan=False),
    ),
    max_size=30,
)


def play(steps: list[tuple[str, int, float]], *, looks: int = 0) -> tuple[World, float]:
    world, now = World(seed=1, credit=8), 0.0
    for operation, which, pause in steps:
        for look in range(looks):
            world.at(now + pause * look / looks)
        now += pause
        server_id = 12345 + which
        try:
            if operation == "create":
                world.apply(create(), now)
            elif operation == "late":
                world.apply_later(create(), now, 7)
            elif operation == "lag":
                world.lag(5, now)
            elif operation == "suspend":
                world.suspend(server_id, now)
            else:
                world.apply(
                    Command(operation, server_id, {"name": "b"} if operation == "update" else {}), now
                )
        except (NotFound, NotAllowed, NoCredit, SandboxError):
            pass
    return world, now


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_looking_changes_nothing(steps: list[tuple[str, int, float]]) -> None:
    """However many reads come in between, the same calls lead to the same servers and the same ledger."""
    seldom, end = play(steps)
    often, _ = play(steps, looks=5)

    assert seldom.truth(end + 50) == often.truth(end + 50)
    assert seldom.ledger == often.ledger


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_the_books_balance(steps: list[tuple[str, int, float]]) -> None:
    """Creates less deletes are the servers that exist, paid servers are the creates, and `updated_at` only grows."""
    world, end = play(steps)
    truth = world.truth(end + 1000)
    made = [change.server_id for change in world.ledger if change.operation == "create"]
    deleted = [change.server_id for change in world.ledger if change.operation == "delete"]

    assert {server.id for server in truth} == set(made) - set(deleted)
    assert len(made) == len(set(made)) == 8 - (world.credit or 0)
    assert {server.status for server in truth} <= {"active", "stopped", "suspended"}
    for slot in world._slots.values():
        printed = [timestamp(state.updated_at) for state in slot.states]
        assert printed == sorted(set(printed))
