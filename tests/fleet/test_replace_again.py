"""A replacement that goes on after something went wrong, and servers that change while it is in progress.

The counts are those of the ledger: what was really done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.test_replace import TIMEOUT, apply, error, fleet, fresh, have, systems, watching
from tests.fleet.virtual_account import account, commands, kinds, virtual
from vpsorg_async import FleetSpec, Server
from vpsorg_async.errors import ConfigurationError, PlanRefusedError
from vpsorg_async.sandbox import Rule, Sandbox, faults

CHANGES: list[Callable[[Sandbox, Server], object]] = [
    lambda box, new: box.world.set_status(new.id, "stopped"),
    lambda box, new: box.world.suspend(new.id),
    lambda box, new: box.world.vanish(new.id),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("drain", [0, 30])
@virtual
async def test_a_new_server_that_falls_before_the_old_one_is_deleted(
    change: Callable[[Sandbox, Server], object], drain: int
) -> None:
    """The old one stays, and nothing more is begun."""
    async with account() as (box, vps):
        have(box, 1, 2)

        async def switch(_: Server, new: Server) -> None:
            change(box, new)

        async with watching(box) as seen:
            report = await apply(vps, fleet(2), switch=switch, drain=drain)

        assert (kinds(report), commands(box)["delete"]) == ({"Failed": 1, "Skipped": 1}, 0)
        assert seen.fewest == 2
        assert "web-03 [12347] has taken over, and web-01 [12345] stays" in str(error(report))


@virtual
async def test_both_servers_are_looked_at_right_before_the_delete() -> None:
    """Not before the deletes of other pairs, which may take long."""
    async with account(Rule("delete", faults.Delay(1))) as (box, vps):
        have(box, 1, 2, 3)

        report = await apply(vps, fleet(3), surge=3, canary=0)

        by_id = [(one.method, one.path.rstrip("/").rpartition("/")[2]) for one in box.requests]
        by_id = [(method, number) for method, number in by_id if number.isdecimal()]
        deletes = [index for index, (method, _) in enumerate(by_id) if method == "DELETE"]
        new_of = {str(one.old and one.old.id): str(one.server and one.server.id) for one in report.succeeded}
        assert len(deletes) == 3
        for index in deletes:
            old = by_id[index][1]
            assert by_id[index - 2 : index] == [("GET", new_of[old]), ("GET", old)]


@virtual
async def test_pairs_that_have_changed_nothing_wait_for_their_turn(tmp_path: Path) -> None:
    """What was refused before is not begun all at once."""
    options: dict[str, Any] = {"journal": tmp_path / "fleet.db", "max_failures": 3}
    async with account(Rule("create", faults.Reply(400), times=3)) as (box, vps):
        have(box, 1, 2, 3, 4)
        first = await apply(vps, fleet(4), **options)

        async with watching(box) as seen:
            second = await apply(vps, fleet(4), **options)

        assert (kinds(first), kinds(second)) == ({"Failed": 3, "Skipped": 1}, {"Succeeded": 4})
        assert (seen.most, seen.fewest) == (5, 4)
        assert systems(box) == fresh(5, 6, 7, 8)


@virtual
async def test_without_a_surge_the_old_one_goes_first_also_in_a_second_run(tmp_path: Path) -> None:
    """Its delete was refused in the first one."""
    options: dict[str, Any] = {"journal": tmp_path / "fleet.db", "surge": 0, "max_unavailable": 1}
    async with account(Rule("delete", faults.Reply(400), times=1)) as (box, vps):
        have(box, 1, 2, 3)
        await apply(vps, fleet(3), **options)

        async with watching(box) as seen:
            report = await apply(vps, fleet(3), **options)

        assert (kinds(report), seen.most, seen.fewest) == ({"Succeeded": 3}, 3, 2)


@virtual
async def test_a_switch_is_for_one_server(tmp_path: Path) -> None:
    """The one that had taken over is gone: the next one takes over before the old one is deleted."""
    journal, calls = tmp_path / "fleet.db", []

    async def switch(old: Server, new: Server) -> None:
        calls.append((old.id, new.id))

    async with account(Rule("delete", faults.Reply(400), times=1)) as (box, vps):
        have(box, 1)
        await apply(vps, fleet(1), journal=journal, switch=switch)
        box.world.vanish(12346)
        gone = await apply(vps, fleet(1), journal=journal, switch=switch)
        report = await apply(vps, fleet(1), journal=journal, switch=switch)

        assert (kinds(gone), kinds(report)) == ({"Failed": 1}, {"Succeeded": 1})
        assert [server.id for server in box.servers] == [12347]
        assert calls == [(12345, 12346), (12345, 12347)]


@virtual
async def test_a_new_server_whose_switch_was_called_stays(tmp_path: Path) -> None:
    """Also where that was in another run, and it fails its check in this one: traffic may go to it."""
    options: dict[str, Any] = {"journal": tmp_path / "fleet.db", "delete_failed": True}

    async def switch(_: Server, __: Server) -> None:
        raise OSError("half done")

    async with account() as (box, vps):
        have(box, 1)
        await apply(vps, fleet(1), switch=switch, **options)
        await apply(
            vps, fleet(1), switch=switch, ready=lambda one: one.name != "web-02", ready_timeout=60, **options
        )

        assert systems(box) == {"web-01": 5, "web-02": 3}


@pytest.mark.parametrize(("os", "protected"), [(3, "web-01"), (5, "web-02")])
@virtual
async def test_a_server_that_is_protected_meanwhile(tmp_path: Path, os: int, protected: str) -> None:
    """The old one of a pair that has switched; or the new one, where the fleet is to be as it was before."""
    journal = tmp_path / "fleet.db"
    async with account(Rule("delete", faults.Reply(400), times=1)) as (box, vps):
        have(box, 1)
        await apply(vps, fleet(1), journal=journal)

        with pytest.raises(PlanRefusedError, match=f"and {protected} is protected now"):
            await apply(vps, fleet(1, os_id=os), journal=journal, protect=[protected])

        assert systems(box) == {"web-01": 5, "web-02": 3}


@virtual
async def test_a_lower_count_deletes_nothing_without_prune() -> None:
    """Servers that fit, beyond what the surge can have left, are no new servers of an interrupted replacement."""
    async with account() as (box, vps):
        have(box, 1, 2, 3, 4)
        have(box, 5, 6, 7, 8, os=3)

        report = await apply(vps, fleet(4))

        assert [one.key for one in report.succeeded if one.how == "kept"] == ["web-02", "web-03", "web-04"]
        assert commands(box) == {"delete": 1}


@virtual
async def test_a_function_that_returns_something_to_be_awaited() -> None:
    """It would be true for each server."""
    async with account() as (box, vps):
        have(box, 1, os=3)

        async def is_old(_: Server) -> bool:
            return False

        with pytest.raises(ConfigurationError, match="called, not awaited"):
            await apply(vps, fleet(1), replace_when=lambda server: is_old(server))

        assert commands(box) == {}


@virtual
async def test_a_pair_stays_in_the_journal_until_its_end_in_the_provider_dialect(tmp_path: Path) -> None:
    """Servers are known by their host names there."""
    journal = tmp_path / "fleet.db"

    def old(server: Server) -> bool:
        return server.name in ("web-1", "w1.example.com")

    async with account(
        Rule("delete", faults.Reply(400)), options={"dialect": "provider"}, dialect="provider"
    ) as (box, vps):
        wanted = FleetSpec(
            name="web-{n}",
            count=1,
            plan_id=(await vps.plans.list())[0].id,
            os_id=(await vps.operating_systems.list())[0].id,
            location=1,
            hostname="w{n}.example.com",
        )
        await vps.fleet.apply(wanted, timeout=TIMEOUT)
        for _ in range(2):
            report = await apply(vps, wanted, journal=journal, replace_when=old)
            assert "has taken over, and" in str(error(report))

        plan = await vps.fleet.plan(wanted, replace="rolling", replace_when=old, journal=journal)

        assert "begun by an earlier run" in str(plan)
        assert commands(box)["create"] == 2


@virtual
async def test_a_name_that_somebody_takes_meanwhile() -> None:
    """Another program has begun to replace the same fleet, without the journal: no name is used twice."""
    async with account() as (box, vps):
        have(box, 1, 2, 3)

        def switch(_: Server, __: Server) -> None:
            have(box, 5, os=3)

        report = await apply(vps, fleet(3), switch=switch)

        assert kinds(report) == {"Succeeded": 1, "Failed": 1, "Skipped": 1}
        assert "server 12349 has the name web-05 now" in str(error(report))
        assert commands(box) == {"create": 1, "delete": 1}
        assert error(report).old_id == 12346


@virtual
async def test_a_new_server_that_is_deleted_again_after_the_old_one(tmp_path: Path) -> None:
    """Its successor is switched to as well: the traffic still goes to the old one."""
    calls: list[tuple[str, str]] = []
    options: dict[str, Any] = {
        "journal": tmp_path / "fleet.db",
        "surge": 0,
        "max_unavailable": 1,
        "delete_failed": True,
        "ready_timeout": 5,
        "switch": lambda old, new: calls.append((old.name, new.name)),
    }
    async with account() as (box, vps):
        have(box, 1)
        first = await apply(vps, fleet(1), ready=lambda _: False, **options)
        second = await apply(vps, fleet(1), ready=lambda _: True, **options)

        assert (kinds(first), kinds(second)) == ({"Failed": 1}, {"Succeeded": 1})
        assert (calls, commands(box)) == ([("web-01", "web-02")], {"create": 2, "delete": 2})
