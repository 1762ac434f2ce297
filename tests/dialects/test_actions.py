"""What the provider's own packages can do with a server, beyond the nine endpoints."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from tests.dialects.speech import Speech
from tests.lifecycle.harness import virtual
from vpsorg_async import Client, Failed, Limits, Receipt
from vpsorg_async.errors import (
    APIError,
    BadRequestError,
    ConfigurationError,
    LimitError,
    OutcomeUnknownError,
    Sent,
)
from vpsorg_async.pytest_plugin import assert_committed
from vpsorg_async.sandbox import Rule, Sandbox, faults
from vpsorg_async.sandbox.catalogue import uuid
from vpsorg_async.sizes import shows_plan

PROVIDER = Speech("provider")


def lost(operation: str) -> Rule:
    """The answer is lost, and the request was applied."""
    return Rule(operation, faults.DropAfter(), times=1)


def never_arrived(operation: str) -> Rule:
    """The connection breaks before the request is applied."""
    return Rule(operation, faults.DropBefore(), times=1)


@virtual
async def test_a_hard_stop_has_a_receipt_and_a_wait() -> None:
    """A server that hangs in its graceful stop is switched off, and the wait is for that."""
    async with PROVIDER.account() as (box, vps):
        (server,) = box.world.add()
        box.world.set_status(server.id, "stopping", seconds=math.inf)
        accepted = await vps.actions.hard_stop(server.id)
        receipt = vps.receipt(server.id)

        assert accepted.server_id == server.id
        assert receipt is not None
        assert receipt.operation == "hard_stop"
        assert Receipt.from_json(receipt.to_json()) == receipt
        assert (await vps.wait_until(receipt, "stopped", timeout=60)).status == "stopped"
        assert vps.receipt(server.id) is None
        assert_committed(box, hard_stop=1)
        with pytest.raises(BadRequestError):
            await vps.actions.hard_stop(server.id)


@virtual
async def test_a_lost_hard_stop_is_judged_by_the_server() -> None:
    """A server that is stopped shows that it was applied; one that is stopping may be so for another reason."""
    async with PROVIDER.account(lost("hard_stop")) as (box, vps):
        (server,) = box.world.add()
        assert "lost" in (await vps.actions.hard_stop(server.id)).message
        assert_committed(box, hard_stop=1)

    async with PROVIDER.account(never_arrived("hard_stop")) as (box, vps):
        (server,) = box.world.add()
        box.world.set_status(server.id, "stopping", seconds=math.inf)
        with pytest.raises(OutcomeUnknownError):
            await vps.actions.hard_stop(server.id)
        assert_committed(box)


@pytest.mark.parametrize("label", [None, "before-upgrade"])
@virtual
async def test_snapshots_and_backups_are_sent_once(label: str | None) -> None:
    """They are accepted, have no receipt, and are not repeated when their answer was lost."""
    async with PROVIDER.account() as (box, vps):
        (server,) = box.world.add()
        assert (await vps.actions.snapshot(server.id, label=label)).server_id == server.id
        assert (await vps.actions.backup(server.id)).server_id == server.id
        assert vps.receipt(server.id) is None
        assert_committed(box, snapshot=1, backup=1)
        box.faults.add(lost("snapshot"), lost("backup"))
        with pytest.raises(OutcomeUnknownError):
            await vps.actions.snapshot(server.id, label=label)
        with pytest.raises(OutcomeUnknownError):
            await vps.actions.backup(server.id)
        assert_committed(box, snapshot=2, backup=2)


@pytest.mark.parametrize("label", ["", " ", 7])
@virtual
async def test_labels_that_are_none(label: object) -> None:
    """They are refused before anything is sent."""
    async with PROVIDER.account() as (box, vps):
        (server,) = box.world.add()
        with pytest.raises(ConfigurationError, match="label"):
            await vps.actions.snapshot(server.id, label=label)  # type: ignore[arg-type]
        assert box.requests == ()


@virtual
async def test_a_fleet_is_switched_off() -> None:
    """After a graceful stop that some servers did not follow, a hard stop ends those, with one outcome for each."""
    async with PROVIDER.account(lost("hard_stop")) as (box, vps):
        servers = box.world.add(5)
        for server in servers[:3]:
            box.world.set_status(server.id, "stopping", seconds=math.inf)
        report = await vps.fleet.hard_stop([server.id for server in servers], timeout=60)

        assert [outcome.how for outcome in report.succeeded] == ["stopped"] * 5
        assert report.operation == "hard_stop"
        assert_committed(box, hard_stop=5)
        again = await vps.fleet.hard_stop([servers[-1].id], timeout=60)
        assert isinstance(again.outcomes[0], Failed)


@virtual
async def test_the_documented_dialect_has_none_of_it() -> None:
    """It is refused with the reason, and nothing is sent."""
    async with Speech("documented").account() as (box, vps):
        (server,) = box.world.add()

        async def refused(vps: Client) -> None:
            for call in (
                vps.actions.hard_stop(server.id),
                vps.actions.snapshot(server.id),
                vps.actions.backup(server.id),
                vps.actions.resize(server.id, 2),
                vps.fleet.hard_stop([server.id], timeout=60),
            ):
                with pytest.raises(ConfigurationError, match="provider"):
                    await call

        await refused(vps)
        await refused(vps.with_options(deadline=5))
        assert box.requests == ()


# -- resize ------------------------------------------------------------------------------------------------------------

SMALL, BIG = uuid("plan", 1), uuid("plan", 2)


def plan_of(box: Sandbox) -> list[int]:
    return [server.plan.id for server in box.servers]


@virtual
async def test_a_resize_has_a_receipt_and_a_wait() -> None:
    """The server is settled afterwards, active or stopped, and shows its new plan."""
    async with PROVIDER.account() as (box, vps):
        running, stopped = box.world.add()[0], box.world.add(status="stopped")[0]
        for server, word in ((running, "active"), (stopped, "stopped")):
            accepted = await vps.actions.resize(server.id, BIG)
            receipt = vps.receipt(server.id)

            assert accepted.server_id == server.id
            assert receipt is not None
            assert receipt.operation == "resize"
            assert Receipt.from_json(receipt.to_json()) == receipt
            after = await vps.wait_until(receipt, "settled", timeout=60)
            assert after.status == word
        offers = {offer.id: offer for offer in await vps.plans.list()}
        shown = await vps.servers.get(running.id)
        assert shows_plan(shown, offers[BIG])
        assert not shows_plan(shown, offers[SMALL])
        assert plan_of(box) == [2, 2]
        assert_committed(box, resize=2)


@virtual
async def test_a_lost_resize_is_judged_by_the_plan() -> None:
    """It was applied if the server shows the new plan, else its outcome is unknown; it is never sent again."""
    async with PROVIDER.account(lost("resize")) as (box, vps):
        (server,) = box.world.add()
        assert "lost" in (await vps.actions.resize(server.id, BIG)).message
        assert_committed(box, resize=1)

    async with PROVIDER.account(never_arrived("resize")) as (box, vps):
        (server,) = box.world.add()
        with pytest.raises(OutcomeUnknownError):
            await vps.actions.resize(server.id, BIG)
        assert_committed(box)

    late = Rule("resize", faults.DropAfter(), times=1), Rule("get", faults.Html(502), times=20)
    async with PROVIDER.account(*late) as (box, vps):
        (server,) = box.world.add()
        with pytest.raises(OutcomeUnknownError):
            await vps.actions.resize(server.id, BIG)
        assert_committed(box, resize=1)


@pytest.mark.parametrize("status", [400, 409])
@virtual
async def test_a_refused_resize_is_a_refusal(status: int) -> None:
    """Nothing was applied, and the error says so. After a doubt a refusal may be its echo."""
    async with PROVIDER.account(Rule("resize", faults.Reply(status), times=1)) as (box, vps):
        (server,) = box.world.add()
        with pytest.raises(APIError) as caught:
            await vps.actions.resize(server.id, BIG)
        assert (caught.value.status, caught.value.sent) == (status, Sent.REJECTED)
        assert_committed(box)

        for fault in (never_arrived("resize"), Rule("resize", faults.Reply(status), times=1)):
            box.faults.add(fault)
            with pytest.raises(OutcomeUnknownError):
                await vps.actions.resize(server.id, BIG)
        assert_committed(box)


@pytest.mark.parametrize("plan", [None, True, " ", "no-such-plan", uuid("plan", 99)])
@virtual
async def test_plans_that_are_none(plan: object) -> None:
    """They are refused before anything is sent."""
    async with PROVIDER.account() as (box, vps):
        (server,) = box.world.add()
        with pytest.raises(ConfigurationError, match="plan"):
            await vps.actions.resize(server.id, plan)  # type: ignore[arg-type]
        assert not any(entry.method == "POST" for entry in box.requests)


@virtual
async def test_a_read_only_client_resizes_nothing() -> None:
    async with PROVIDER.account(options={"limits": Limits(read_only=True)}) as (box, vps):
        (server,) = box.world.add()
        with pytest.raises(LimitError):
            await vps.actions.resize(server.id, BIG)
        assert box.requests == ()


@virtual
async def test_a_limit_of_prices_is_checked_before_a_resize() -> None:
    """This dialect's list shows no plans, so the limit can't be checked: it is refused, as a create is."""
    async with PROVIDER.account(options={"limits": Limits(max_hourly=Decimal(1))}) as (box, vps):
        (server,) = box.world.add()
        with pytest.raises(LimitError, match="its plan is not shown"):
            await vps.actions.resize(server.id, BIG)
        assert_committed(box)
