"""What a journal has after runs that could not begin, were retried, or whose servers are gone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from vpsorg_async import ServerSpec
from vpsorg_async.errors import AuthenticationError, ConfigurationError, OutcomeUnknownError, ServerGoneError
from vpsorg_async.journal import Acknowledged, Intent, Journal
from vpsorg_async.pytest_plugin import MakeClient
from vpsorg_async.records import ServerId
from vpsorg_async.sandbox import Rule, Sandbox, faults


def specs(count: int) -> list[ServerSpec]:
    return [ServerSpec(name=f"web-{n:02}", plan_id=1, os_id=5, location="us-west") for n in range(count)]


async def left(
    box: Sandbox, file: Path, names: Iterable[str] = (), ids: Iterable[ServerId] = ()
) -> dict[ServerId, Intent | Acknowledged]:
    """What the journal has of these names and servers."""
    async with (
        await Journal.open(file, account=box.url) as journal,
        await journal.begin("look", names, ids) as run,
    ):
        found: dict[ServerId, Intent | Acknowledged] = dict(run.standing_commands)
        found.update(run.standing)
        return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


async def interrupted(make: MakeClient, file: Path, count: int) -> None:
    """A run that was left when the first of its servers had been created."""
    async with (
        make(max_in_flight=1) as vps,
        vps.fleet.creating(specs(count), timeout=10, wait=False, journal=file) as run,
    ):
        async for _ in run:
            break


async def test_a_run_that_could_not_begin_forgets_nothing(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """What an interrupted run left still stands when the account could not be listed for the next one."""
    await interrupted(vpsorg_client, file, 4)
    before = await left(vpsorg_sandbox, file, [spec.name for spec in specs(4)])
    vpsorg_sandbox.faults.add(Rule("list", faults.Reply(401), times=1))

    async with vpsorg_client() as vps:
        with pytest.raises(AuthenticationError):
            await vps.fleet.ensure(specs(4), timeout=10, journal=file)

    assert before
    assert await left(vpsorg_sandbox, file, [spec.name for spec in specs(4)]) == before


async def test_a_server_that_is_gone_is_not_waited_for_twice(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """The first run after its deletion says that it is gone, and the next one creates another."""
    await interrupted(vpsorg_client, file, 2)
    (made,) = [server.id for server in vpsorg_sandbox.servers if server.name == "web-00"]
    async with vpsorg_client() as vps:
        await vps.servers.delete(made)
        await vps.wait_until(made, "gone", timeout=10)
    async with vpsorg_client() as vps:
        first = await vps.fleet.ensure(specs(2), timeout=10, journal=file)
        second = await vps.fleet.ensure(specs(2), timeout=10, journal=file)

    assert [type(failure.error) for failure in first.failed] == [ServerGoneError]
    second.raise_for_failures()
    assert sorted(server.name for server in vpsorg_sandbox.servers) == ["web-00", "web-01"]


async def test_a_fleet_that_was_rolled_back_leaves_nothing(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """Servers that were deleted again are not waited for."""
    vpsorg_sandbox.faults.add(Rule("create", faults.Reply(400), times=1))
    async with vpsorg_client() as vps:
        report = await vps.fleet.create(specs(3), timeout=10, min_count=3, journal=file)

    assert report.rolled_back
    assert await left(vpsorg_sandbox, file, [spec.name for spec in specs(3)]) == {}


async def test_a_retry_writes_intents(vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path) -> None:
    """A create of a retry that has no answer is in doubt for the next program."""
    names = [spec.name for spec in specs(3)]
    vpsorg_sandbox.faults.add(Rule("create", faults.Reply(400), times=1))
    async with vpsorg_client() as vps:
        first = await vps.fleet.create(specs(3), timeout=10, settle=0.1, journal=file)
        (failure,) = first.failed
        assert len(await left(vpsorg_sandbox, file, names)) == 2
        vpsorg_sandbox.faults.add(Rule("create", (faults.DropAfter(), faults.HideCreated(1.8)), times=1))
        second = await first.retry_failed()
        assert [type(failure.error) for failure in second.failed] == [OutcomeUnknownError]
        doubtful = await left(vpsorg_sandbox, file, names)
        assert {name for name, entry in doubtful.items() if isinstance(entry, Intent)} == {failure.key}
    async with vpsorg_client() as vps:
        third = await vps.fleet.ensure(specs(3), timeout=10, settle=5.0, journal=file)

    third.raise_for_failures()
    assert await left(vpsorg_sandbox, file, names) == {}
    assert len(vpsorg_sandbox.servers) == 3


async def test_a_retry_that_completes_leaves_nothing(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """Neither of what it created, nor of what the first run had created."""
    vpsorg_sandbox.faults.add(Rule("create", faults.Reply(400), times=1))
    async with vpsorg_client() as vps:
        report = await vps.fleet.create(specs(3), timeout=10, journal=file)
        (await report.retry_failed()).raise_for_failures()

    assert await left(vpsorg_sandbox, file, [spec.name for spec in specs(3)]) == {}


async def created(make: MakeClient, file: Path) -> ServerId:
    """A server of a complete run."""
    async with make() as vps:
        report = await vps.fleet.create(specs(1), timeout=10, wait=False, journal=file)
    report.raise_for_failures()
    return report.servers[0].id


@pytest.mark.parametrize("journal", [True, False])
async def test_a_list_that_does_not_show_a_complete_run(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path, journal: bool
) -> None:
    """The next program waits for its servers; without the journal it creates them a second time."""
    vpsorg_sandbox.faults.add(Rule("create", faults.HideCreated(1.0), times=1))
    await created(vpsorg_client, file)
    async with vpsorg_client(visibility=5.0) as vps:
        report = await vps.fleet.ensure(specs(2), timeout=10, journal=file if journal else None)

    report.raise_for_failures()
    assert len(vpsorg_sandbox.servers) == (2 if journal else 3)


async def test_a_create_after_a_complete_run_is_refused(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """Also while lists do not show the name."""
    vpsorg_sandbox.faults.add(Rule("create", faults.HideCreated(1.0), times=1))
    await created(vpsorg_client, file)
    async with vpsorg_client() as vps:
        with pytest.raises(ConfigurationError, match=r"exist already: web-00 \(created a moment ago"):
            await vps.fleet.create(specs(2), timeout=10, journal=file)

    assert len(vpsorg_sandbox.ledger) == 1


@pytest.mark.parametrize("who", ["another program", "another program with the journal", "this client"])
async def test_a_server_of_a_complete_run_that_is_deleted_is_created_again(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path, who: str
) -> None:
    """At once where the journal or the client knows of it; else once it is seen to be gone."""
    server = await created(vpsorg_client, file)
    async with vpsorg_client() as vps, vpsorg_client() as other:
        await vps.wait_until(server, "active", timeout=10)
        deleting = vps if who == "this client" else other
        journal = file if who == "another program with the journal" else None
        (await deleting.fleet.delete([server], timeout=10, journal=journal)).raise_for_failures()
        report = await vps.fleet.ensure(specs(1), timeout=10, journal=file)
        if who == "another program":
            assert [type(failure.error) for failure in report.failed] == [ServerGoneError]
            report = await vps.fleet.ensure(specs(1), timeout=10, journal=file)

    report.raise_for_failures()
    assert [live.id for live in vpsorg_sandbox.servers] == [report.servers[0].id]
    assert report.servers[0].id != server


async def test_after_a_retry_the_next_reboot_is_a_new_one(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path
) -> None:
    """A server that the first call rebooted is not taken for done by the next call."""
    ids = [server.id for server in vpsorg_sandbox.world.add(3)]
    vpsorg_sandbox.faults.add(Rule("reboot", faults.Reply(400), times=1))
    async with vpsorg_client() as vps:
        report = await vps.fleet.reboot(ids, timeout=10, journal=file)
        assert len(report.failed) == 1
        assert len(vpsorg_sandbox.ledger) == 2
        (await report.retry_failed()).raise_for_failures()
        assert len(vpsorg_sandbox.ledger) == 3
        (await vps.fleet.reboot(ids, timeout=10, journal=file)).raise_for_failures()

    assert len(vpsorg_sandbox.ledger) == 6


async def test_a_start_that_is_refused_leaves_nothing(
    vpsorg_client: MakeClient, vpsorg_sandbox: Sandbox, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`ensure` has the names in its journal: a start is not recorded, and its refusal takes nothing back."""
    (server,) = vpsorg_sandbox.world.add(name="web-00", status="stopped")
    vpsorg_sandbox.faults.add(Rule("start", faults.Reply(409), times=1))
    names = [spec.name for spec in specs(2)]
    async with vpsorg_client() as vps:
        first = await vps.fleet.ensure(specs(2), timeout=10, journal=file)
        kept = await left(vpsorg_sandbox, file, names, [server.id])
        second = await vps.fleet.ensure(specs(2), timeout=10, journal=file)

    assert [failure.key for failure in first.failed] == ["web-00"]
    assert kept.keys() == {"web-01"}
    assert "could not" not in caplog.text
    second.raise_for_failures()
    assert len(vpsorg_sandbox.servers) == 2
