"""Rolling operations that outlive their process. Counts are those of the ledger."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from tests.fleet.journal_program import run
from vpsorg_async import Client, Failed, Server, Skipped, Succeeded
from vpsorg_async.errors import ConfigurationError, JournalError, OutcomeUnknownError, VpsOrgError
from vpsorg_async.events import CommandSent, FleetEvent
from vpsorg_async.journal import Acknowledged, Intent, Journal, JournalRun
from vpsorg_async.pytest_plugin import MakeClient
from vpsorg_async.records import ServerId
from vpsorg_async.sandbox import Rule, Sandbox, faults

TIMEOUT = 10.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


def fleet_of(box: Sandbox, count: int) -> list[ServerId]:
    return [server.id for server in box.world.add(count)]


def commands(box: Sandbox) -> Counter[ServerId | None]:
    """How often each server was given a command that was applied."""
    return Counter(change.server_id for change in box.ledger)


@asynccontextmanager
async def earlier(box: Sandbox, file: Path, ids: Sequence[ServerId]) -> AsyncIterator[JournalRun]:
    """A run of another program that does not complete."""
    async with (
        await Journal.open(file, account=box.url) as journal,
        await journal.begin("rolling reboot", ids=ids) as run,
    ):
        yield run


async def reboot(vps: Client, run: JournalRun, server: ServerId) -> None:
    """A reboot by an earlier run, which knew that it was acknowledged."""
    await run.intend(server, "reboot")
    await vps.servers.reboot(server)
    receipt = vps.receipt(server)
    assert receipt is not None
    run.acknowledged(server, receipt)


async def left(box: Sandbox, file: Path, ids: Sequence[ServerId]) -> dict[ServerId, Intent | Acknowledged]:
    async with earlier(box, file, ids) as run:
        return dict(run.standing_commands)


async def test_forty_that_are_interrupted_twice_reboot_once_each(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """Each run returns an outcome for each server, and what earlier runs have done is in it as rebooted."""
    ids = fleet_of(vpsorg_sandbox, 40)
    for after in (7, 20):
        async with (
            vpsorg_client() as vps,
            vps.fleet.rolling("reboot", ids, timeout=TIMEOUT, max_unavailable=0.1, journal=file) as run,
        ):
            for _ in range(after):
                await anext(run)
    async with vpsorg_client() as vps:
        report = await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, max_unavailable=4, journal=file)

    report.raise_for_failures()
    assert [outcome.key for outcome in report.outcomes] == ids
    assert {outcome.how for outcome in report.succeeded} == {"rebooted"}
    assert sum(outcome.attempts == 0 for outcome in report.succeeded) >= 20
    assert commands(vpsorg_sandbox) == dict.fromkeys(ids, 1)
    assert await left(vpsorg_sandbox, file, ids) == {}


def test_a_rolling_reboot_that_is_killed_twice(file: Path) -> None:
    """What had settled is done, what was acknowledged is waited for, and each server is rebooted once."""
    with Sandbox(speed=5000, latency=0.02) as box:
        ids = fleet_of(box, 20)
        box.world.lag(0.5, lasting=1e6)
        for number in (6, 14):
            assert run(box, file, "rolling_reboot", "ServerSettled", number) == (-signal.SIGKILL, [])
        code, (succeeded, failed, skipped) = run(box, file, "rolling_reboot")

        # a command that was in flight when its process died is in doubt, and not sent again
        assert (code, succeeded + failed, skipped) == (0, 20, 0)
        assert failed <= 2 * 2
        assert max(commands(box).values()) == 1
        assert len(commands(box)) >= succeeded
        assert set(commands(box)) <= set(ids)


async def test_what_is_in_flight_comes_before_anything_else(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """A server that is rebooting is no server to skip; until its check passes it counts as unavailable."""
    ids = fleet_of(vpsorg_sandbox, 3)
    async with vpsorg_client() as vps, earlier(vpsorg_sandbox, file, ids) as run:
        await reboot(vps, run, ids[2])
    order: list[tuple[ServerId, int]] = []

    async def health(server: Server) -> bool:
        order.append((server.id, len(vpsorg_sandbox.ledger)))
        return True

    async with vpsorg_client() as vps:
        report = await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, health=health, journal=file)

    report.raise_for_failures()
    assert order == [(ids[2], 1), (ids[0], 2), (ids[1], 3)]
    assert commands(vpsorg_sandbox) == dict.fromkeys(ids, 1)


async def test_a_run_that_is_left_at_once_still_waits_for_what_was_in_flight(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """What an earlier run sent is reported as such, and the next run takes it up."""
    ids = fleet_of(vpsorg_sandbox, 2)
    async with vpsorg_client() as vps, earlier(vpsorg_sandbox, file, ids) as run:
        await reboot(vps, run, ids[1])
    async with vpsorg_client() as vps:
        async with vps.fleet.rolling("reboot", ids, timeout=TIMEOUT, journal=file) as rolling:
            pass
        first, second = rolling.report.outcomes

    assert isinstance(first, Skipped)
    assert isinstance(second, Failed)
    assert second.acknowledged
    assert list(await left(vpsorg_sandbox, file, ids)) == [ids[1]]


async def test_a_share_is_one_of_the_whole_fleet(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """Half of eight are four, also where four of them are done, and the canary has gone before."""
    ids = fleet_of(vpsorg_sandbox, 8)
    async with vpsorg_client() as vps, earlier(vpsorg_sandbox, file, ids) as run:
        for server in ids[:4]:
            await reboot(vps, run, server)
            await vps.wait_until(server, "active", timeout=TIMEOUT)
            run.done(server, "reboot")
    together = asyncio.Barrier(4)

    async def health(_: Server) -> bool:
        await together.wait()
        return True

    async with vpsorg_client() as vps:
        report = await vps.fleet.rolling_reboot(
            ids, timeout=TIMEOUT, max_unavailable=0.5, health=health, journal=file
        )

    report.raise_for_failures()
    assert commands(vpsorg_sandbox) == dict.fromkeys(ids, 1)


async def test_a_reboot_in_doubt_is_not_repeated(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """It has failed each time, whether or not it was applied; the others go on when it is known to be available."""
    ids = fleet_of(vpsorg_sandbox, 4)
    async with vpsorg_client() as vps, earlier(vpsorg_sandbox, file, ids) as run:
        await run.intend(ids[0], "reboot")
        await run.intend(ids[1], "reboot")
        await vps.servers.reboot(ids[1])
    for _ in range(2):
        seen: list[ServerId] = []

        def hook(event: FleetEvent, seen: list[ServerId] = seen) -> None:
            if isinstance(event, CommandSent):
                seen.append(event.key)

        async with vpsorg_client() as vps:
            report = await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, journal=file, on_event=hook)

        assert [outcome.key for outcome in report.failed] == ids[:2]
        assert {type(outcome.error) for outcome in report.failed} == {OutcomeUnknownError}
        assert [outcome.key for outcome in report.succeeded] == ids[2:]
    assert seen == []
    assert commands(vpsorg_sandbox) == dict.fromkeys(ids[1:], 1)


async def test_after_a_complete_run_the_next_one_is_new(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """A server that can't be rolled leaves nothing to take up, so that the others are rebooted again."""
    ids = fleet_of(vpsorg_sandbox, 3)
    (stopped,) = vpsorg_sandbox.world.add(status="stopped")
    for _ in range(2):
        async with vpsorg_client() as vps:
            report = await vps.fleet.rolling_reboot(
                [*ids, stopped.id, 99], timeout=TIMEOUT, max_unavailable=3, journal=file
            )

        assert [outcome.key for outcome in report.succeeded] == ids
        assert [outcome.key for outcome in report.skipped] == [stopped.id, 99]
    assert commands(vpsorg_sandbox) == dict.fromkeys(ids, 2)


async def test_what_failed_is_waited_for_again(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """A rollout that stopped goes on once the server that stopped it is healthy."""
    ids = fleet_of(vpsorg_sandbox, 4)
    sick = {ids[1]}

    async def health(server: Server) -> bool:
        return server.id not in sick

    async def roll() -> tuple[list[ServerId], list[ServerId], list[ServerId]]:
        async with vpsorg_client() as vps:
            report = await vps.fleet.rolling_reboot(
                ids, timeout=TIMEOUT, health=health, health_interval=0.0, journal=file
            )
        return (
            [outcome.key for outcome in report.succeeded],
            [outcome.key for outcome in report.failed],
            [outcome.key for outcome in report.skipped],
        )

    first, second = await roll(), await roll()
    sick.clear()

    assert first == second == (ids[:1], ids[1:2], ids[2:])
    assert await roll() == (ids, [], [])
    assert commands(vpsorg_sandbox) == dict.fromkeys(ids, 1)


async def test_a_server_that_is_gone_meanwhile_is_skipped(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """Whether an earlier run was done with it, or was waiting for it."""
    ids = fleet_of(vpsorg_sandbox, 3)
    async with vpsorg_client() as vps, earlier(vpsorg_sandbox, file, ids) as run:
        for server in ids[:2]:
            await reboot(vps, run, server)
            await vps.wait_until(server, "active", timeout=TIMEOUT)
        run.done(ids[0], "reboot")
        for server in ids[:2]:
            await vps.servers.delete(server)
            await vps.wait_until(server, "gone", timeout=TIMEOUT)
    async with vpsorg_client() as vps:
        report = await vps.fleet.rolling_reboot(
            ids, timeout=TIMEOUT, max_unavailable=3, max_failures=2, journal=file
        )

    assert [type(outcome) for outcome in report.outcomes] == [Skipped, Failed, Succeeded]


@pytest.mark.parametrize(
    ("shown", "sent"),
    [("active", 1), ("stopped", 0)],
)
async def test_a_stop_in_doubt_is_judged_by_its_server(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path, shown: str, sent: int
) -> None:
    """It is sent where the server runs, and waited for where it does not."""
    (server,) = vpsorg_sandbox.world.add(status=shown)
    async with earlier(vpsorg_sandbox, file, [server.id]) as run:
        await run.intend(server.id, "stop")
    async with (
        vpsorg_client() as vps,
        vps.fleet.rolling("stop", [server.id], timeout=TIMEOUT, journal=file) as rolling,
    ):
        async for outcome in rolling:
            assert isinstance(outcome, Succeeded), outcome
            assert outcome.how == "stopped"

    assert len(vpsorg_sandbox.ledger) == sent
    assert await left(vpsorg_sandbox, file, [server.id]) == {}


async def test_a_refused_stop_may_be_the_echo_of_an_earlier_one(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """The list that the run begins with lags, so that the stop in doubt looks as if it had not been applied."""
    (server,) = vpsorg_sandbox.world.add()
    async with vpsorg_client() as vps, earlier(vpsorg_sandbox, file, [server.id]) as run:
        await run.intend(server.id, "stop")
        before = await vps.servers.get(server.id)
        await vps.servers.stop(server.id)
        await vps.wait_until(server.id, "stopped", timeout=TIMEOUT)
    row = {"id": before.id, "name": before.name, "status": "active"}
    vpsorg_sandbox.faults.add(Rule("list", faults.Reply(200, {"count": 1, "results": [row]}), times=1))
    async with (
        vpsorg_client() as vps,
        vps.fleet.rolling("stop", [server.id], timeout=TIMEOUT, journal=file) as rolling,
    ):
        async for outcome in rolling:
            assert isinstance(outcome, Succeeded), outcome

    assert commands(vpsorg_sandbox) == {server.id: 1}


async def test_a_run_left_while_a_command_is_in_flight_knows_its_answer(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """Leaving waits a moment for the answer, so that nothing is in doubt."""
    ids = fleet_of(vpsorg_sandbox, 2)
    vpsorg_sandbox.faults.add(Rule("reboot", faults.Delay(0.2)))
    sent = asyncio.Event()

    def hook(event: FleetEvent) -> None:
        if isinstance(event, CommandSent):
            sent.set()

    async with vpsorg_client() as vps:
        async with vps.fleet.rolling("reboot", ids, timeout=TIMEOUT, journal=file, on_event=hook) as run:
            await sent.wait()
        outcome, other = run.report.outcomes

    assert isinstance(outcome, Failed)
    assert outcome.acknowledged
    assert isinstance(other, Skipped)
    entries = await left(vpsorg_sandbox, file, ids)
    assert {key: type(entry) for key, entry in entries.items()} == {ids[0]: Acknowledged}


async def test_servers_that_another_program_works_on_are_refused(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    ids = fleet_of(vpsorg_sandbox, 3)
    async with vpsorg_client() as vps, earlier(vpsorg_sandbox, file, ids[2:]):
        with pytest.raises(ConfigurationError, match="rolling reboot"):
            await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, journal=file)
        with pytest.raises(ConfigurationError, match="journal"):
            await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, journal="")

    assert vpsorg_sandbox.requests == ()


async def test_without_intents_nothing_more_is_sent(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """A journal that breaks in the middle stops the rollout, and the report says what was sent."""
    ids = fleet_of(vpsorg_sandbox, 5)
    async with vpsorg_client() as vps:
        async with vps.fleet.rolling("reboot", ids, timeout=TIMEOUT, max_failures=5, journal=file) as run:
            await anext(run)
            os.rename(file, file.with_suffix(".away"))
            async for _ in run:
                pass
        report = run.report

    applied = set(commands(vpsorg_sandbox))
    assert {outcome.key for outcome in report.succeeded} == applied
    assert len(applied) < 5
    (failure,) = report.failed
    assert isinstance(failure.error, JournalError)
    assert all("journal can't be written" in outcome.reason for outcome in report.skipped)
    assert isinstance(failure.error, VpsOrgError)


async def test_resume_only_continues(vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path) -> None:
    """With resume=True a run without an earlier one is refused, and one of long ago is continued."""
    ids = fleet_of(vpsorg_sandbox, 3)
    nothing = pytest.raises(ConfigurationError, match="nothing to resume")
    async with vpsorg_client() as vps:
        with nothing:
            await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, journal=file, resume=True)
        with pytest.raises(ConfigurationError, match="journal="):
            await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, resume=True)
        with pytest.raises(ConfigurationError, match="True or False"):
            await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, journal=file, resume="yes")  # type: ignore[arg-type]
        assert vpsorg_sandbox.requests == ()
        async with vps.fleet.rolling("reboot", ids, timeout=TIMEOUT, journal=file) as run:
            await anext(run)
        with closing(sqlite3.connect(file, isolation_level=None)) as journal:
            for key, receipt in journal.execute("SELECT key, receipt FROM entries").fetchall():
                old = json.dumps(json.loads(receipt) | {"acknowledged_at": "2026-01-01T00:00:00+00:00"})
                journal.execute("UPDATE entries SET receipt = ? WHERE key = ?", (old, key))
        report = await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, journal=file, resume=True)
        with nothing:
            await vps.fleet.rolling_reboot(ids, timeout=TIMEOUT, journal=file, resume=True)

    report.raise_for_failures()
    assert commands(vpsorg_sandbox) == dict.fromkeys(ids, 1)
