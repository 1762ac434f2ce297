"""Fleets that outlive their process: kill -9, the next run, two programs at once. Counts are those of the ledger."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fleet.journal_program import SERVERS
from tests.fleet.journal_program import run as program
from vpsorg_async import Client, Failed, Receipt, ServerSpec
from vpsorg_async.errors import ConfigurationError, OutcomeUnknownError
from vpsorg_async.events import CommandAnswered, CommandSent, FleetEvent
from vpsorg_async.journal import Journal
from vpsorg_async.pytest_plugin import MakeClient
from vpsorg_async.sandbox import Rule, Sandbox, faults

LAG = 1.0
"""Seconds by which reads lag behind: less than the program's settle window, more than it takes to start again."""
LASTING = 1e6
"""Seconds for which they do: all of a test."""


def specs(count: int) -> list[ServerSpec]:
    return [ServerSpec(name=f"web-{n:02}", plan_id=1, os_id=5, location="us-west") for n in range(count)]


def duplicates(box: Sandbox) -> int:
    """How many servers there are beyond one for each name."""
    return sum(times - 1 for times in Counter(server.name for server in box.servers).values())


@pytest.mark.parametrize("call", ["create", "ensure"])
@pytest.mark.parametrize(
    ("die_at", "number"), [("CommandSent", 5), ("CommandAnswered", 4), ("ServerSettled", 2)]
)
def test_a_killed_run_is_taken_up(tmp_path: Path, call: str, die_at: str, number: int) -> None:
    """Whatever was sent when the process died is found again: no server too many, and none too few."""
    with Sandbox(speed=5000, latency=0.02) as box:
        box.world.lag(LAG, lasting=LASTING)

        killed, _ = program(box, tmp_path / "fleet.db", call, die_at, number)
        code, counts = program(box, tmp_path / "fleet.db", call)

        assert (killed, code) == (-signal.SIGKILL, 0)
        assert counts == [SERVERS, 0, 0]
        assert len(box.servers) == SERVERS
        assert duplicates(box) == 0


@pytest.mark.parametrize(
    ("call", "die_at", "number", "left"),
    [
        ("ensure", "CommandSent", SERVERS + 1, [SERVERS - 1, 1, 0]),
        ("create", "CommandAnswered", SERVERS + 1, [SERVERS, 0, 0]),
        ("apply", "ServerReplaced", 1, [SERVERS, 0, 0]),
        ("ensure", "CommandSent", SERVERS + 2, [SERVERS, 0, 0]),
    ],
    ids=["before the delete", "after the delete", "gone", "before the create"],
)
def test_killed_while_a_stuck_server_is_replaced(
    tmp_path: Path, call: str, die_at: str, number: int, left: list[int]
) -> None:
    """The next run does not wait for the server that was deleted, and creates one, not two."""
    with Sandbox(speed=5000, latency=0.02) as box:
        box.world.lag(LAG, lasting=LASTING)
        box.faults.add(Rule("create", faults.SetStatus("provisioning", seconds=LASTING), nth=5))
        stuck = (str(SERVERS), "1.5", "3")

        killed, _ = program(box, tmp_path / "fleet.db", call, die_at, number, *stuck)
        code, counts = program(box, tmp_path / "fleet.db", call, "-", 1, *stuck)

        assert (killed, code, counts) == (-signal.SIGKILL, 0, left)
        assert (len(box.servers), duplicates(box)) == (SERVERS, 0)
        assert Counter(change.operation for change in box.ledger) == (
            {"create": SERVERS} if left[1] else {"create": SERVERS + 1, "delete": 1}
        )


def test_without_a_journal_the_same_kill_makes_duplicates() -> None:
    """The test of the test."""
    with Sandbox(speed=5000, latency=0.02) as box:
        box.world.lag(60.0, lasting=LASTING)

        program(box, "-", die_at="CommandAnswered", number=4)
        sent = len(box.servers)
        program(box, "-", die_at="CommandAnswered", number=SERVERS - 1)

        assert sent
        assert duplicates(box) > 0


def test_several_kills_in_a_row(tmp_path: Path) -> None:
    """The name in doubt after one crash may be in doubt after the next one."""
    with Sandbox(speed=5000, latency=0.02) as box:
        box.world.lag(LAG, lasting=LASTING)

        for number in (1, 2, 2):
            program(box, tmp_path / "fleet.db", die_at="CommandSent", number=number)
        _, counts = program(box, tmp_path / "fleet.db")

        assert counts == [SERVERS, 0, 0]
        assert (len(box.servers), duplicates(box)) == (SERVERS, 0)


def test_a_run_that_completed_is_not_taken_up(tmp_path: Path) -> None:
    """A second create of the same names is refused, as without a journal."""
    with Sandbox(speed=5000) as box:
        program(box, tmp_path / "fleet.db", "create")
        with pytest.raises(AssertionError, match="exist already"):
            program(box, tmp_path / "fleet.db", "create")

        assert len(box.ledger) == SERVERS


async def test_ensure_starts_what_is_stopped(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The journal holds names, and a start is of a server."""
    (server,) = vpsorg_sandbox.world.add(name="web-00")
    vpsorg_sandbox.world.set_status(server.id, "stopped")
    async with vpsorg_client() as vps:
        report = await vps.fleet.ensure(specs(2), timeout=10, journal=tmp_path / "fleet.db")

    assert [outcome.how for outcome in report.succeeded] == ["started", "created"]


async def test_names_that_another_program_works_on_are_refused(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Two programs that ensure the same names at the same time would create each twice."""
    async with (
        vpsorg_client() as vps,
        await Journal.open(tmp_path / "fleet.db", account=vpsorg_sandbox.url) as journal,
        await journal.begin("ensure", ["web-01"]),
    ):
        with pytest.raises(ConfigurationError, match="web-01"):
            await vps.fleet.ensure(specs(3), timeout=10, journal=tmp_path / "fleet.db")

    assert vpsorg_sandbox.requests == ()


async def test_a_journal_that_cannot_be_opened(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, tmp_path: Path
) -> None:
    (tmp_path / "fleet.db").write_text("this is no journal")
    async with vpsorg_client() as vps:
        with pytest.raises(ConfigurationError, match="journal"):
            await vps.fleet.ensure(specs(2), timeout=10, journal=tmp_path / "fleet.db")

    assert vpsorg_sandbox.requests == ()


async def test_a_run_left_early_is_taken_up_by_another_client(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.db"
    async with vpsorg_client() as vps, vps.fleet.creating(specs(6), timeout=10, journal=file) as run:
        async for _ in run:
            break
    async with vpsorg_client() as vps:
        report = await vps.fleet.create(specs(6), timeout=10, settle=1.0, journal=file)

    report.raise_for_failures()
    assert len(vpsorg_sandbox.servers) == 6


async def test_a_reboot_that_was_acknowledged_is_waited_for_and_not_repeated(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.db"
    ids = [server.id for server in vpsorg_sandbox.world.add(3)]
    async with (
        await Journal.open(file, account=vpsorg_sandbox.url) as journal,
        vpsorg_client() as vps,
        await journal.begin("reboot", ids=ids) as earlier,
    ):
        await earlier.intend(ids[0], "reboot")
        await vps.servers.reboot(ids[0])
        receipt = vps.receipt(ids[0])
        assert receipt is not None
        earlier.acknowledged(ids[0], receipt)
        await earlier.intend(ids[1], "reboot")
    async with vpsorg_client() as vps:
        report = await vps.fleet.reboot(ids, timeout=10, journal=file)

    done, doubtful, sent = report.outcomes
    assert [change.server_id for change in vpsorg_sandbox.ledger] == [ids[0], ids[2]]
    assert done in report.succeeded
    assert sent in report.succeeded
    assert isinstance(doubtful, Failed)
    assert isinstance(doubtful.error, OutcomeUnknownError)


# -- the same without a journal, for those who keep receipts elsewhere -------------------------------------------------


async def interrupted(vps: Client, count: int, after: int) -> dict[str, Receipt]:
    """Begin a fleet, leave it after so many answers, and return the receipts that were seen."""
    receipts: dict[str, Receipt] = {}

    def hook(event: FleetEvent) -> None:
        if isinstance(event, CommandAnswered) and event.receipt is not None:
            receipts[str(event.key)] = event.receipt

    async with vps.fleet.creating(specs(count), timeout=10, on_event=hook) as run:
        async for _ in run:
            if len(receipts) >= after:
                break
    return receipts


async def test_receipts_are_resumed_and_the_rest_is_searched_for(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox
) -> None:
    """As an engine does it: receipts in its own records, and another process that goes on."""
    async with vpsorg_client() as vps:
        before = [server.id for server in await vps.servers.list()]
        receipts = await interrupted(vps, 8, after=3)
    del receipts[min(receipts)]  # the record of one of them was lost
    events: list[FleetEvent] = []
    async with vpsorg_client() as vps:
        report = await vps.fleet.create(
            specs(8), timeout=10, receipts=receipts, before=before, settle_first=0.5, on_event=events.append
        )

    report.raise_for_failures()
    assert len(vpsorg_sandbox.servers) == 8
    sent = {event.key for event in events if isinstance(event, CommandSent)}
    assert not sent & receipts.keys()


async def test_a_create_that_left_before_is_not_sent_again_while_it_may_show(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox
) -> None:
    """Its server is hidden from reads when the next attempt begins, and shows within the settle window."""
    vpsorg_sandbox.faults.add(Rule("create", faults.HideCreated(0.5), times=1))
    async with vpsorg_client() as vps:
        await vps.fleet.create(specs(1), timeout=10, wait=False)
    async with vpsorg_client() as vps:
        report = await vps.fleet.create(specs(1), timeout=10, before=(), settle_first=2.0)

    report.raise_for_failures()
    assert len(vpsorg_sandbox.servers) == 1


async def test_a_name_that_was_there_before_is_still_refused(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox
) -> None:
    (theirs,) = vpsorg_sandbox.world.add(name="web-00")
    async with vpsorg_client() as vps:
        with pytest.raises(ConfigurationError, match="exist already: web-00"):
            await vps.fleet.create(specs(1), timeout=10, before=[theirs.id], settle_first=1.0)

    assert vpsorg_sandbox.ledger == ()


@pytest.mark.parametrize(
    "options",
    [
        {"receipts": ["web-00"]},
        {"receipts": {"web-00": "12"}},
        {"before": "12"},
        {"before": [0]},
        {"settle_first": -1},
        {"journal": 12},
        {"journal": ""},
        {"journal": "fleet.db", "settle_first": 1.0},
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, options: dict[str, object]
) -> None:
    async with vpsorg_client() as vps:
        with pytest.raises(ConfigurationError):
            await vps.fleet.create(specs(1), timeout=10, **options)  # type: ignore[call-overload]

    assert vpsorg_sandbox.requests == ()


@pytest.mark.parametrize(("minutes", "sent"), [(50, 0), (70, 1)])
async def test_a_command_of_an_earlier_run_is_taken_up_for_an_hour(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, tmp_path: Path, minutes: int, sent: int
) -> None:
    """Later the same call means another reboot."""
    file = tmp_path / "fleet.db"
    (server,) = vpsorg_sandbox.world.add()
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    async with (
        await Journal.open(file, account=vpsorg_sandbox.url) as journal,
        await journal.begin("reboot", ids=[server.id]) as run,
    ):
        await run.intend(server.id, "reboot")
        run.acknowledged(server.id, Receipt(server_id=server.id, operation="reboot", acknowledged_at=at))
    async with vpsorg_client() as vps:
        report = await vps.fleet.reboot([server.id], timeout=20, journal=file)

    assert [outcome.key for outcome in report.succeeded] == [server.id]
    assert len(vpsorg_sandbox.ledger) == sent


# -- one create at a time ----------------------------------------------------------------------------------------------


async def test_the_server_of_a_lost_create_is_found(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox
) -> None:
    """It is found as often as one asks, also before it is visible."""
    vpsorg_sandbox.faults.add(Rule("create", (faults.DropAfter(), faults.HideCreated(0.3)), times=1))
    (spec,) = specs(1)
    async with vpsorg_client() as vps:
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.create(spec)
        first = await vps.fleet.find_created(spec, before=(), settle=5.0)
        again = await vps.fleet.find_created(spec, before=(), settle=5.0)

    assert first is not None
    assert again is not None
    assert first.id == again.id == vpsorg_sandbox.servers[0].id


async def test_a_create_of_this_client_whose_caller_gave_up_is_found(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox
) -> None:
    """Its answer came to this client, so that a list that lags for longer than the settle window hides nothing."""
    (spec,) = specs(1)
    async with vpsorg_client() as vps:
        vpsorg_sandbox.world.lag(60.0)
        created = await vps.servers.create(spec)
        found = await vps.fleet.find_created(spec, settle=0.1)
        other = await vps.fleet.find_created(spec, before=[created.id], settle=0.1)

    assert found is not None
    assert found.id == created.id
    assert other is None


async def test_nothing_is_found_where_nothing_was_created(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox
) -> None:
    (theirs,) = vpsorg_sandbox.world.add(name="web-00")
    async with vpsorg_client() as vps:
        assert await vps.fleet.find_created(specs(1)[0], before=[theirs.id], settle=0.1) is None


async def test_several_servers_of_the_name(vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox) -> None:
    vpsorg_sandbox.world.add(name="web-00")
    vpsorg_sandbox.world.add(name="web-00")
    async with vpsorg_client() as vps:
        with pytest.raises(OutcomeUnknownError, match="several") as caught:
            await vps.fleet.find_created(specs(1)[0], settle=1.0)

    assert len(caught.value.candidates) == 2
