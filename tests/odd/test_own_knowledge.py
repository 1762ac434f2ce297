"""The client's own knowledge: open commands, echoes of its own attempts, creates whose outcome is unknown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.fleet.virtual_account import account, commands, specs, virtual
from tests.odd.service import NOT_FOUND, Reply, connected, listing, reply, row, spec
from vpsorg_async import Failed, Receipt, RetryPolicy, Succeeded, errors
from vpsorg_async.http.events import ChangeAbandoned
from vpsorg_async.sandbox import Rule, Sandbox, faults


async def until(happened: Callable[[], bool]) -> None:
    """Return when that has happened, in virtual time."""
    while not happened():  # noqa: ASYNC110 - the sandbox has no event for it
        await asyncio.sleep(0.01)


# -- planning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["delete", "stop"])
@pytest.mark.parametrize("lag", [0.0, 10.0])
def test_ensure_plans_by_where_a_server_is_heading(command: str, lag: float) -> None:
    """After this client's own delete or stop, `ensure` waits for it, and then creates or starts."""

    @virtual
    async def play() -> None:
        async with account() as (box, vps):
            (server,) = box.world.add(1, name="web-000")
            await vps.servers.list()
            await asyncio.sleep(30)
            if lag:
                box.world.lag(lag, lasting=lag)
            await getattr(vps.servers, command)(server.id)
            plan = await vps.fleet.ensure(specs(1), dry_run=True)
            assert [step.kind.value for step in plan.steps] == [
                {"delete": "create", "stop": "start"}[command]
            ]
            assert (
                plan.steps[0].reason
                == {
                    "delete": "after the one that is being deleted" if lag else "",
                    "stop": "after it has stopped",
                }[command]
            )
            report = await vps.fleet.ensure(specs(1), timeout=600)
            (outcome,) = report.outcomes
            assert isinstance(outcome, Succeeded)
            assert [shown.status for shown in box.servers] == ["active"]
            assert (outcome.server is not None and outcome.server.id != server.id) == (command == "delete")

    play()


@virtual
async def test_ensure_waits_for_its_own_reboot_and_start() -> None:
    """A server that this client reboots or starts is waited for, and not called active by a list that lags."""
    async with account() as (box, vps):
        running = box.world.add(1, name="web-000")[0]
        off = box.world.add(1, name="web-001", status="stopped")[0]
        await vps.servers.list()
        await asyncio.sleep(30)
        box.world.lag(5, lasting=5)
        await vps.servers.reboot(running.id)
        await vps.servers.start(off.id)
        plan = await vps.fleet.ensure(specs(2), dry_run=True)
        assert [step.kind.value for step in plan.steps] == ["wait", "wait"]
        report = await vps.fleet.ensure(specs(2), timeout=600)
        assert len(report.succeeded) == 2
        assert [server.status for server in box.servers] == ["active", "active"]
        assert commands(box)["start"] == 1


@virtual
async def test_a_start_that_is_refused_because_it_runs_has_reached_its_goal() -> None:
    """Another client started the server between the list and the command."""
    async with account(Rule("start", faults.SetStatus("active"))) as (box, vps):
        box.world.add(1, name="web-000", status="stopped")
        report = await vps.fleet.ensure(specs(1), timeout=600)
        assert [type(outcome) for outcome in report.outcomes] == [Succeeded]


@virtual
async def test_a_start_that_is_refused_for_another_reason_fails_with_it() -> None:
    """The refusal is reported, and not only that the server stayed as it was."""
    rule = Rule("start", faults.Reply(400, {"detail": "no host has room"}))
    async with account(rule) as (box, vps):
        box.world.add(1, name="web-000", status="stopped")
        (outcome,) = (await vps.fleet.ensure(specs(1), timeout=600)).outcomes
        assert isinstance(outcome, Failed)
        assert "no host has room" in str(outcome.error)


@virtual
async def test_an_old_command_that_changed_nothing_is_forgotten() -> None:
    """A reboot that no wait followed and that is long over delays nothing."""
    async with account() as (box, vps):
        (server,) = box.world.add(1, name="web-000")
        await vps.servers.reboot(server.id)
        await asyncio.sleep(600)
        plan = await vps.fleet.ensure(specs(1), dry_run=True)
        assert [step.kind.value for step in plan.steps] == ["keep"]


@virtual
async def test_a_list_that_lags_brings_no_deleted_server_back() -> None:
    """A server that was deleted and seen to be gone is not adopted from a list that still shows it."""
    gone = False

    def api(method: str, path: str, asked: Any) -> Reply:
        nonlocal gone
        if method == "DELETE":
            gone = True
            return reply(204)
        if method == "POST":
            return reply(201, row(2, asked["name"]))
        if path.endswith("servers/"):
            return reply(200, listing(row(1, "web-1")))
        return (
            NOT_FOUND if gone and path.endswith("/1/") else reply(200, row(int(path.split("/")[-2]), "web-1"))
        )

    async with connected(api) as (service, vps):
        await vps.servers.list()
        assert len((await vps.fleet.delete([1], timeout=60)).succeeded) == 1
        report = await vps.fleet.ensure([spec()], timeout=60)
        assert [outcome.server and outcome.server.id for outcome in report.succeeded] == [2]
        assert service.count("POST") == 1


@pytest.mark.parametrize("again", ["create", "ensure"])
@pytest.mark.parametrize("call", ["servers", "fleet"])
def test_a_server_that_this_client_created_and_no_list_shows_yet(call: str, again: str) -> None:
    """After an acknowledged create, fleet calls of its name adopt its server, and create no other."""

    @virtual
    async def play() -> None:
        async with account(Rule("create", faults.HideCreated(30, by_id=call == "servers"))) as (box, vps):
            if call == "servers":
                await vps.servers.create(specs(1)[0])
            else:
                assert len((await vps.fleet.create(specs(1), timeout=60, wait=False)).succeeded) == 1
            report = await (vps.fleet.create if again == "create" else vps.fleet.ensure)(
                specs(1), timeout=900
            )
            assert [outcome.how for outcome in report.succeeded] == ["adopted"]
            assert commands(box)["create"] == 1
            with pytest.raises(errors.ConfigurationError, match="exist already"):
                await vps.fleet.create(specs(1), timeout=60)

    play()


@virtual
async def test_a_rejected_answer_is_not_adopted_by_the_search() -> None:
    """A server that this client had seen is not the result of a create, though a lagging list lacked it at first."""
    lists, deleted = 0, []

    def api(method: str, path: str, asked: Any) -> Reply:
        nonlocal lists
        if method == "DELETE":
            deleted.append(path)
            return reply(204)
        if method == "POST":
            return reply(201, row(1, "web-1")) if asked["name"] == "web-1" else reply(400, {"detail": "no"})
        lists += path.endswith("servers/")
        return reply(
            200,
            row(1, "web-1") if "servers/1" in path else listing(*([row(1, "web-1")] if lists > 1 else [])),
        )

    async with connected(api) as (_, vps):
        await vps.servers.get(1)
        report = await vps.fleet.create([spec("web-1"), spec("web-2")], timeout=60, settle=5, min_count=2)
        assert not report.succeeded
        assert deleted == []


# -- echoes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 409])
@pytest.mark.parametrize("command", ["start", "stop", "delete"])
def test_an_echo_of_an_own_attempt_is_no_refusal(command: str, status: int) -> None:
    """The response was lost, and the retry is answered by "already": the target decides."""

    @virtual
    async def play() -> None:
        before = "stopped" if command == "start" else "active"
        lost = faults.CommitLater(12)
        async with account(Rule(command, lost, times=4)) as (box, vps):
            (server,) = box.world.add(1, status=before)
            report = await getattr(vps.fleet, command)([server.id], timeout=11)
            assert [type(outcome) for outcome in report.outcomes] == [Failed]
            box.faults.clear()
            box.faults.add(Rule(command, faults.Reply(status, {"detail": "already"})))
            await asyncio.sleep(100)
            again = await report.retry_failed()
            assert [type(outcome) for outcome in again.outcomes] == [Succeeded]

    play()


@virtual
async def test_an_echo_is_known_by_either_spelling_of_the_id() -> None:
    """An id is the same server as a number and as a text."""
    async with account(Rule("delete", faults.DropAfter(), times=1)) as (box, vps):
        (server,) = box.world.add(1)
        with pytest.raises(errors.ConnectionLostError):
            await vps.with_options(retry=RetryPolicy(attempts=1)).servers.delete(server.id)
        await vps.servers.delete(str(server.id))


@pytest.mark.parametrize("status", [400, 404, 409])
def test_a_delete_repeated_within_one_call(status: int) -> None:
    """The second attempt is answered that the server is being deleted already: accepted, and the wait decides."""

    @virtual
    async def play() -> None:
        deletes = reads = 0

        def api(method: str, path: str, _: Any) -> Reply | None:
            nonlocal deletes, reads
            if method == "DELETE":
                deletes += 1
                return None if deletes == 1 else reply(status, {"detail": "it is being deleted already"})
            reads += 1
            return reply(200, row(1, "a", "deleting")) if reads < 4 else NOT_FOUND

        async with connected(api) as (_, vps):
            report = await vps.fleet.delete([1], timeout=60)
            assert [type(outcome) for outcome in report.outcomes] == [Succeeded]

    play()


@pytest.mark.parametrize("command", ["start", "stop", "delete"])
@pytest.mark.parametrize("applied", [False, True])
def test_an_echo_without_a_wait_is_judged_by_the_server(command: str, applied: bool) -> None:
    """With ``wait=False`` the server is read: a refusal is success only where it shows the change."""

    @virtual
    async def play() -> None:
        status = "stopped" if command == "start" else "active"
        async with account() as (box, vps):
            (server,) = box.world.add(1, status=status)
            lost = faults.DropAfter() if applied else faults.NeverAnswer(applied=False)
            box.faults.add(Rule(command, lost, times=4), Rule("get", faults.Reply(503)))
            report = await getattr(vps.fleet, command)([server.id], timeout=200, wait=False)
            assert [type(outcome) for outcome in report.outcomes] == [Failed]
            await asyncio.sleep(300)
            box.faults.clear()
            box.faults.add(Rule(command, faults.Reply(409, {"detail": "locked"})))
            again = await report.retry_failed()
            assert [type(outcome) for outcome in again.outcomes] == [Succeeded if applied else Failed]

    if command == "delete" and applied:
        return  # the sandbox's own 404 to the repeated DELETE says that it is done
    play()


@virtual
async def test_a_put_repeated_within_one_call() -> None:
    """A PUT whose first attempt was applied: the second one's 409 is no refusal, for the server shows the change."""
    puts = 0

    def api(method: str, path: str, _: Any) -> Reply | None:
        nonlocal puts
        if method == "PUT":
            puts += 1
            return None if puts == 1 else reply(409, {"detail": "nothing to change"})
        return reply(200, row(1, "B", backups_enabled=True) | {"hostname": "b.example.com"})

    async with connected(api) as (_, vps):
        server = await vps.servers.replace(1, name="b", hostname="b.example.com.", backups_enabled=True)
        assert server.name == "B"


@virtual
async def test_a_refused_create_after_an_unknown_one_is_looked_for() -> None:
    """The name exists because an earlier create of this client was applied: the server is adopted, not refused."""
    async with account(Rule("create", faults.CommitLater(20), times=1)) as (box, vps):
        with pytest.raises(errors.OutcomeUnknownError):
            await vps.servers.create(specs(1)[0])
        await asyncio.sleep(16)
        box.faults.clear()
        box.faults.add(Rule("create", faults.Reply(409, {"detail": "this name exists"})))
        report = await vps.fleet.create(specs(1), timeout=900, settle=15)
        assert [outcome.how for outcome in report.succeeded] == ["adopted"]
        assert commands(box)["create"] == 1


# -- acknowledged -----------------------------------------------------------------------------------------------------


def forbidding(box: Sandbox) -> None:
    box.faults.add(Rule("get", faults.Reply(403)), Rule("list", faults.Reply(403)))


def suspending(box: Sandbox) -> None:
    for server in box.servers:
        box.world.suspend(server.id)


def vanishing(box: Sandbox) -> None:
    for server in box.servers:
        box.world.vanish(server.id)


ENDS: dict[str, Callable[[Sandbox], None]] = {
    "403": forbidding,
    "suspended": suspending,
    "vanished": vanishing,
    "time-out": lambda box: None,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("command", ["reboot", "stop", "create"])
def test_an_acknowledged_command_is_never_sent_again(command: str, end: Callable[[Sandbox], None]) -> None:
    """Whatever ended its wait: the outcome says that the command was acknowledged, and a retry only waits."""

    @virtual
    async def play() -> None:
        async with account() as (box, vps):
            ids = [server.id for server in box.world.add(2)]
            asked: Any = specs(2) if command == "create" else ids
            call = asyncio.ensure_future(getattr(vps.fleet, command)(asked, timeout=3))
            await until(lambda: commands(box)[command] == 2)
            end(box)
            report = await call
            assert report.failed
            assert all(outcome.acknowledged for outcome in report.failed)
            box.faults.clear()
            await report.retry_failed()
            assert commands(box)[command] == 2

    play()


@virtual
async def test_what_was_not_acknowledged_says_so() -> None:
    """A refused command is not acknowledged, and is sent again."""
    async with account(Rule("reboot", faults.Reply(503), times=1)) as (box, vps):
        (server,) = box.world.add(1)
        report = await vps.fleet.reboot([server.id], timeout=100)
        assert [outcome.acknowledged for outcome in report.failed] == [False]


# -- bounds -----------------------------------------------------------------------------------------------------------


@virtual
async def test_a_dropped_receipt_makes_no_wait_less_careful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reboot whose receipt had to be forgotten is waited for as if it had just been sent."""
    from vpsorg_async.lifecycle.account import Account

    monkeypatch.setattr(Account, "LIMIT", 2)
    async with account() as (box, vps):
        ids = [server.id for server in box.world.add(3)]
        await asyncio.sleep(100)
        box.world.lag(6, lasting=6)
        for server_id in ids:
            await vps.servers.reboot(server_id)
        assert vps.receipt(ids[0]) is None
        server = await vps.wait_until(ids[0], "active", timeout=300)
        assert server.status == "active"
        assert box.servers[0].status == "active"


# -- one way of reading fails -----------------------------------------------------------------------------------------


BROKEN: dict[str, Any] = {
    "500": faults.Reply(500),
    "a page": faults.Html(404),
    "unreadable": faults.Reply(200, {"results": 5}),
    "silence": faults.NeverAnswer(),
}
# the API's own 403 to a read by id is about that server, and ends its wait
WAYS = [
    ("list", "403", faults.Reply(403)),
    *((way, *item) for way in ("list", "get") for item in BROKEN.items()),
]


@pytest.mark.parametrize(
    ("broken", "fault"), [(way, fault) for way, _, fault in WAYS], ids=[f"{w} {n}" for w, n, _ in WAYS]
)
@pytest.mark.parametrize("count", [1, 3])
def test_one_way_that_fails_blinds_no_wait(broken: str, fault: Any, count: int) -> None:
    """Where the list fails, servers are read by id, and the reverse; it is used again once it works."""

    @virtual
    async def play() -> None:
        async with account(Rule(broken, fault)) as (box, vps):
            ids = [server.id for server in box.world.add(count, status="provisioning")]
            outcomes = [outcome async for outcome in vps.wait_until_all(ids, "active", timeout=900)]
            assert [outcome.error for outcome in outcomes] == [None] * count
            box.faults.clear()
            await asyncio.sleep(100)
            await vps.fleet.reboot(ids, timeout=300)
            reads = [
                entry for entry in box.requests if entry.path.endswith("servers/") and entry.method == "GET"
            ]
            assert broken == "get" or count == 1 or reads[-1].status == 200

    play()


@virtual
async def test_an_outage_is_not_made_worse() -> None:
    """While nothing works, a round is one list and one read, and rounds come further and further apart."""
    async with account(Rule(None, faults.Reply(503), method="GET")) as (box, vps):
        ids = [server.id for server in box.world.add(50)]
        outcomes = [outcome async for outcome in vps.wait_until_all(ids, "active", timeout=300)]
        assert all(isinstance(outcome.error, errors.WaitTimeoutError) for outcome in outcomes)
        assert len(box.requests) < 80


# -- cancelled ---------------------------------------------------------------------------------------------------------


@virtual
async def test_a_cancelled_create_leaves_word(caplog: pytest.LogCaptureFixture) -> None:
    """The cancellation has a note; a warning and an event name the spec and the time; `ensure` adopts the server."""
    seen: list[Any] = []
    async with account(
        Rule("create", (faults.Delay(1.0, after=True), faults.HideCreated(5)), times=1),
        options={"on_event": seen.append},
    ) as (box, vps):
        (wanted,) = specs(1)
        creating = asyncio.ensure_future(vps.servers.create(wanted))
        await until(lambda: bool(box.ledger))
        creating.cancel()
        with caplog.at_level(logging.WARNING), pytest.raises(asyncio.CancelledError) as raised:
            await creating
        (note,) = raised.value.__notes__
        assert "web-000" in note
        assert "UTC" in note
        assert note in [record.getMessage() for record in caplog.records]
        (event,) = [event for event in seen if isinstance(event, ChangeAbandoned)]
        assert (event.operation, event.subject) == ("create", "web-000")

        report = await vps.fleet.ensure([wanted], timeout=900, settle=15)
        assert [outcome.how for outcome in report.succeeded] == ["adopted"]
        assert commands(box)["create"] == 1


@virtual
async def test_a_cancelled_create_that_never_was_is_made_again() -> None:
    """Once the settle window has passed without the server, `ensure` creates it; an unsent create leaves no record."""
    async with account(Rule("create", faults.NeverAnswer(applied=False), times=1)) as (box, vps):
        (wanted,) = specs(1)
        creating = asyncio.ensure_future(vps.servers.create(wanted))
        await until(lambda: any(entry.method == "POST" for entry in box.requests))
        creating.cancel()
        await asyncio.wait([creating])
        began = asyncio.get_running_loop().time()
        report = await vps.fleet.ensure([wanted], timeout=900, settle=15)
        assert [outcome.how for outcome in report.succeeded] == ["created"]
        assert box.ledger[0].at - began >= 14


@virtual
async def test_an_unknown_create_is_reckoned_with() -> None:
    """The same after a response that was lost: a server that shows late is adopted, not created a second time."""
    async with account(Rule("create", (faults.DropAfter(), faults.HideCreated(8)), times=1)) as (box, vps):
        with pytest.raises(errors.OutcomeUnknownError):
            await vps.servers.create(specs(1)[0])
        report = await vps.fleet.ensure(specs(1), timeout=900, settle=15)
        assert [outcome.how for outcome in report.succeeded] == ["adopted"]
        assert commands(box)["create"] == 1


@virtual
async def test_receipts_of_other_processes_are_as_before() -> None:
    """A receipt is plain data, whatever else this client knows."""
    async with account() as (box, vps):
        (server,) = box.world.add(1)
        await vps.servers.reboot(server.id)
        receipt = vps.receipt(server.id)
        assert receipt is not None
        assert Receipt.from_json(receipt.to_json()) == receipt
