"""The calls, waits and look-ups of a client against the sandbox, in both dialects."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal
from typing import Any

import pytest

from tests.dialects.speech import Speech, gets
from tests.lifecycle.harness import virtual
from vpsorg_async import Client, Evidence, Server, ServerStatus
from vpsorg_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    UnexpectedStatusError,
    WaitTimeoutError,
)
from vpsorg_async.sandbox import Durations, Rule, faults

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeKeyFakeKeyFakeKeyFakeKeyFakeKeyFake0000 me"


@virtual
async def test_a_server_s_whole_life(speech: Speech) -> None:
    """Created, waited for, read, rebooted, stopped, started and deleted: the same code, the same records."""
    async with speech.account() as (box, vps):
        created = await vps.servers.create(speech.spec("web-1"))
        active = await vps.wait_until(created.id, "active", timeout=600)
        (listed,) = await vps.servers.list()

        assert created.status == "provisioning"
        assert isinstance(created.id, int if speech.dialect == "documented" else str)
        assert {created.id, active.id, listed.id} == {box.servers[0].id}
        assert {created.name, active.name, listed.name} == {"web-1"}
        assert active.ip_address == listed.ip_address == box.servers[0].ip_address
        for server in (active, listed):
            assert server.plan is not None
            assert server.os is not None
            assert server.os.name == "Ubuntu 22.04 LTS"
            assert server.location in ("us-west", "US West")

        for command, word in (("reboot", "active"), ("stop", "stopped"), ("start", "active")):
            accepted = await getattr(vps.servers, command)(created.id)
            assert accepted.server_id == created.id
            assert (await vps.wait_until(created.id, ServerStatus(word), timeout=600)).status == word
        await vps.servers.delete(created.id)
        assert (await vps.wait_until(created.id, "gone", timeout=600)).status == "gone"
        with pytest.raises(NotFoundError):
            await vps.servers.get(created.id)

        assert [change.operation for change in box.ledger] == ["create", "reboot", "stop", "start", "delete"]


@virtual
async def test_a_password_is_told_once(provider: Speech) -> None:
    """Only the answer to the create has the root password; no later read has one."""
    async with provider.account() as (_, vps):
        created = await vps.servers.create(provider.spec())
        read = await vps.servers.get(created.id)
        waited = await vps.wait_until(created.id, "active", timeout=600)

        assert created.password
        assert [read.password, waited.password, (await vps.servers.list())[0].password] == [None] * 3
        assert created.password not in repr(created)


@virtual
async def test_put_and_patch_where_they_exist(speech: Speech) -> None:
    """The documented dialect changes fields; the other one knows no such call, and sends nothing."""
    async with speech.account() as (box, vps):
        (there,) = box.world.add()
        if speech.dialect == "documented":
            assert (await vps.servers.update(there.id, name="new")).name == "new"
            full = await vps.servers.replace(
                there.id, name="n", hostname="n.example.com", backups_enabled=True
            )
            assert (full.hostname, full.backups_enabled) == ("n.example.com", True)
            return
        with pytest.raises(ConfigurationError, match="no update"):
            await vps.servers.update(there.id, name="new")
        with pytest.raises(ConfigurationError, match="no replace"):
            await vps.servers.replace(there.id, name="n", hostname="n.example.com", backups_enabled=True)
        assert box.requests == ()


@virtual
async def test_what_can_not_be_said_is_not_sent(speech: Speech) -> None:
    """A spec of the other dialect, or with more than this one can say, is refused before anything is sent."""
    other: list[dict[str, Any]] = (
        [{"location": 1}, {"ssh_key_ids": (1, 2)}]
        if speech.dialect == "documented"
        else [{"location": "us-west"}, {"backups_enabled": True}]
    )
    async with speech.account() as (box, vps):
        for fields in other:
            spec = speech.spec("bad", **fields)
            with pytest.raises(ConfigurationError, match=r"^bad: "):
                await vps.servers.create(spec)
            with pytest.raises(ConfigurationError, match=r"^bad: "):
                await vps.fleet.create([speech.spec("good"), spec], timeout=600)
            with pytest.raises(ConfigurationError, match=r"^bad: "):
                await vps.fleet.ensure([spec], dry_run=True)
        assert box.requests == ()


@virtual
async def test_filters(speech: Speech) -> None:
    """By status and by the shown location, whether the API or the client filters."""
    async with speech.account() as (box, vps):
        box.world.add(2, name="on")
        box.world.add(3, name="off", status="stopped", location="us-east")
        shown = {server.name.partition("-")[0]: server.location for server in await vps.servers.list()}

        stopped = await vps.servers.list(status="stopped")
        here = await vps.servers.list(location=shown["on"])

        assert [server.status for server in stopped] == ["stopped"] * 3
        assert [server.name.startswith("on") for server in here] == [True] * 2
        assert await vps.servers.list(status="of tomorrow") == ()


@pytest.mark.parametrize("command", ["reboot", "stop", "start"])
@pytest.mark.parametrize("seconds", [0.0, 20.0])
@virtual
async def test_evidence_without_timestamps(provider: Speech, command: str, seconds: float) -> None:
    """Without ``updated_at`` a wait believes what it saw, or what held for the quiet period; never a timestamp."""
    word = "stopped" if command == "stop" else "active"
    at_once = Durations(rebooting=seconds, stopping=seconds, starting=seconds)
    async with provider.account(durations=at_once) as (box, vps):
        (there,) = box.world.add(status="stopped" if command == "start" else "active")
        await vps.servers.get(there.id)
        began = asyncio.get_running_loop().time()
        await getattr(vps.servers, command)(there.id)

        (outcome,) = [one async for one in vps.wait_until_all([there.id], ServerStatus(word), timeout=600)]
        took = asyncio.get_running_loop().time() - began

        assert outcome.error is None
        if command == "reboot" and not seconds:
            # it was active before and after: only time shows the difference
            assert (outcome.evidence, took >= 15) == (Evidence.ASSUMED, True)
        else:
            assert (outcome.evidence, took >= seconds) == (Evidence.OBSERVED, True)


@virtual
async def test_failures_of_waits(speech: Speech) -> None:
    """Suspended on the way, too slow, and a refused token: the same errors in both dialects."""
    async with speech.account(durations=Durations(provisioning=math.inf)) as (box, vps):
        slow = await vps.servers.create(speech.spec("slow"))
        with pytest.raises(WaitTimeoutError) as late:
            await vps.wait_until(slow.id, "active", timeout=60)
        box.world.suspend(slow.id)
        with pytest.raises(UnexpectedStatusError):
            await vps.wait_until(slow.id, "active", timeout=60)
        wrong: dict[str, Any] = {"token": "vps_of_another", "base_url": box.url, "dialect": speech.dialect}
        async with Client(**wrong) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.servers.list()

        assert late.value.last_seen is not None
        assert late.value.last_seen.status == "provisioning"


@virtual
async def test_refusals_are_readable(speech: Speech) -> None:
    """A bad field is named as the API names it; no credit is an error of its own."""
    async with speech.account(credit=1) as (_, vps):
        with pytest.raises(BadRequestError) as caught:
            await vps.servers.create(speech.spec(plan_id="nonsense"))
        await vps.servers.create(speech.spec())
        with pytest.raises(PaymentRequiredError):
            await vps.servers.create(speech.spec("web-2"))

        assert "plan" in caught.value.message


@virtual
async def test_lost_answers_of_single_calls(speech: Speech) -> None:
    """A lost start or stop is checked by a read; a lost create or reboot is reported as unknown, and sent once."""
    lost = [Rule(name, faults.DropAfter(), times=1) for name in ("create", "reboot", "stop")]
    async with speech.account(*lost) as (box, vps):
        (there,) = box.world.add()
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.create(speech.spec())
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.reboot(there.id)
        await vps.wait_until(there.id, "active", timeout=600)
        stopped = await vps.servers.stop(there.id)

        assert stopped.server_status == "stopping"
        assert sorted(change.operation for change in box.ledger) == ["create", "reboot", "stop"]


@virtual
async def test_a_login_page_did_not_reboot_it(speech: Speech) -> None:
    """HTML with a good status, as a portal in between sends it, is no acknowledgement."""
    async with speech.account(Rule("reboot", faults.Html(200))) as (box, vps):
        (there,) = box.world.add()
        with pytest.raises(OutcomeUnknownError):
            await vps.servers.reboot(there.id)
        assert box.ledger == ()


@virtual
async def test_words_of_the_account(speech: Speech) -> None:
    """A word that means one of ours is read as that, in lists, reads and waits; without a translation it is not."""
    words = {"running": "active", "off": "stopped"}
    async with speech.account(options={"status_words": words}) as (box, vps):
        on, off = box.world.add(2)
        box.world.set_status(on.id, "running")
        box.world.set_status(off.id, "off")

        assert (await vps.wait_until(on.id, "active", timeout=60)).status == "active"
        assert (await vps.servers.get(off.id)).status == "stopped"
        assert {server.status for server in await vps.servers.list()} == {"active", "stopped"}
        settled = [one async for one in vps.wait_until_all([on.id, off.id], "settled", timeout=60)]
        assert [one.error for one in settled] == [None, None]
        async with Client(box.token, base_url=box.url, dialect=speech.dialect) as plain:
            assert (await plain.servers.get(on.id)).status == "running"


@virtual
async def test_words_in_filters(provider: Speech) -> None:
    """Where the client does the filtering, the account's word and ours find the same servers."""
    async with provider.account(options={"status_words": {"running": "active"}}) as (box, vps):
        for server in box.world.add(2):
            box.world.set_status(server.id, "running")

        assert len(await vps.servers.list(status="active")) == 2
        assert len(await vps.servers.list(status="running")) == 2


@virtual
async def test_words_in_acknowledgements(documented: Speech) -> None:
    """The status in the answer to a command is translated as well: the wait after it goes by that."""
    said = {"status": "success", "message": "", "server": {"id": 12345, "name": "x", "status": "restarting"}}
    rule = Rule("reboot", faults.Reply(200, said, applied=True))
    async with documented.account(rule, options={"status_words": {"restarting": "rebooting"}}) as (box, vps):
        (there,) = box.world.add()

        accepted = await vps.servers.reboot(there.id)

        assert accepted.server_status == "rebooting"
        assert vps.receipt(there.id).status == "rebooting"  # type: ignore[union-attr]


@virtual
async def test_an_unknown_word_is_named(speech: Speech) -> None:
    """A word without a translation ends no wait; the timeout error names it."""
    async with speech.account() as (box, vps):
        (there,) = box.world.add()
        box.world.set_status(there.id, "migrating")
        with pytest.raises(WaitTimeoutError, match="migrating"):
            await vps.wait_until(there.id, "active", timeout=30)


@pytest.mark.parametrize("words", [{"running": "up"}, {"": "active"}, {1: "active"}, {"a": None}])
def test_bad_translations(words: Any) -> None:
    """A translation into an unknown word is refused when the client is created."""
    with pytest.raises(ConfigurationError, match="status_words"):
        Client("vps_x", status_words=words)


@virtual
async def test_watching(speech: Speech) -> None:
    """The stream of changes yields what is there, what appears and what goes."""
    async with speech.account() as (box, vps):
        first, _ = box.world.add(2)
        seen: list[tuple[str, Any]] = []
        async for change in vps.watch(interval=5):
            seen.append((change.change.value, change.server_id))
            if len(seen) == 2:
                box.world.vanish(first.id)
                (third,) = box.world.add(name="late")
            if len(seen) == 4:
                break

        assert [kind for kind, _ in seen[:2]] == ["present"] * 2
        assert set(seen[2:]) == {("gone", first.id), ("appeared", third.id)}


@virtual
async def test_the_environment_names_the_dialect(speech: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    """``VPSORG_DIALECT`` is heeded, an argument goes before it, and a word that is neither is refused."""
    async with speech.account() as (box, _):
        box.world.add()
        monkeypatch.setenv("VPSORG_API_TOKEN", box.token)
        monkeypatch.setenv("VPSORG_BASE_URL", box.url)
        monkeypatch.setenv("VPSORG_DIALECT", speech.dialect)
        async with Client.from_env() as vps:
            assert len(await vps.servers.list()) == 1
        monkeypatch.setenv("VPSORG_DIALECT", "klingon")
        async with Client.from_env(dialect=speech.dialect) as vps:
            assert len(await vps.servers.list()) == 1
        with pytest.raises(ConfigurationError, match="klingon"):
            Client.from_env()


@pytest.mark.parametrize("word", ["", "Documented", None, 1])
def test_there_are_two_dialects(word: Any) -> None:
    """Any other is refused when the client is created."""
    with pytest.raises(ConfigurationError, match="documented or provider"):
        Client("vps_x", dialect=word)


@virtual
async def test_the_wrong_dialect_names_the_setting(provider: Speech) -> None:
    """The documented dialect can't read the other one, and says which setting helps, in lists, reads and waits."""
    async with provider.account(options={"dialect": "documented"}) as (box, vps):
        (there,) = box.world.add()
        for call in (vps.servers.list(), vps.servers.get(there.id)):
            with pytest.raises(DecodeError, match="VPSORG_DIALECT=provider") as caught:
                await call
            assert caught.value.problems
        with pytest.raises(WaitTimeoutError, match="VPSORG_DIALECT=provider"):
            await vps.wait_until(there.id, "active", timeout=20)


@virtual
async def test_what_is_no_other_dialect_is_not_called_so(speech: Speech) -> None:
    """An answer that fits neither names none, be it of one server, a list that is none, or in a strict client a row."""
    bad = Rule("list", faults.Reply(200, {"results": {"status": 3}}), times=1)
    row = Rule("list", faults.Reply(200, {"results": [{"status": 3}]}), times=1)
    one = Rule("get", faults.Reply(200, {"status": 3}))
    async with speech.account(bad, row, one, options={"strict": True}) as (box, vps):
        (there,) = box.world.add()
        for call in (vps.servers.list(), vps.servers.list(), vps.servers.get(there.id)):
            with pytest.raises(DecodeError) as caught:
                await call
            assert "VPSORG_DIALECT" not in str(caught.value)


@virtual
async def test_plans_and_the_account(speech: Speech) -> None:
    """Both dialects return the plans with their prices, and the owner of the token."""
    async with speech.account() as (_, vps):
        plans = {str(plan.id): plan for plan in await vps.plans.list()}
        me = await vps.account.me()

        ours = plans[str(speech.spec().plan_id)]
        assert (ours.price_monthly, ours.price_hourly) == (Decimal("10"), Decimal("0.015"))
        assert (ours.vcpus, ours.storage) == (2, 80)
        assert (me.email, "servers:read" in me.permissions) == ("john@example.com", True)


@virtual
async def test_plans_by_location(speech: Speech) -> None:
    """By location where that is documented."""
    async with speech.account() as (box, vps):
        if speech.dialect == "documented":
            assert len(await vps.plans.list("us-west")) == 2
            assert await vps.plans.list("the-moon") == ()
            return
        with pytest.raises(ConfigurationError, match="filter"):
            await vps.plans.list("us-west")
        assert box.requests == ()


@virtual
async def test_what_a_spec_is_made_of_can_be_looked_up(provider: Speech) -> None:
    """A server can be created from a plan, a location, a system and a key that were looked up."""
    async with provider.account() as (box, vps):
        plan, *_ = await vps.plans.list()
        place = next(place for place in await vps.locations.list() if place.is_active)
        system, *_ = await vps.operating_systems.list()
        key = await vps.ssh_keys.add("mine", KEY)
        spec = provider.spec(plan_id=plan.id, os_id=system.id, location=place.id, ssh_key_ids=(key.id,))

        server = await vps.servers.create(spec)

        assert await vps.ssh_keys.list() == (key,)
        await vps.ssh_keys.delete(key.id)
        assert await vps.ssh_keys.list() == ()
        assert server.status == "provisioning"
        assert [change.operation for change in box.ledger] == ["add_ssh_key", "create", "delete_ssh_key"]


@virtual
async def test_many_keys_come_in_pages(provider: Speech) -> None:
    """Look-ups follow their pages to the end."""
    async with provider.account() as (_, vps):
        for number in range(45):
            await vps.ssh_keys.add(f"key-{number}", KEY)

        assert len({key.id for key in await vps.ssh_keys.list()}) == 45


@virtual
async def test_keys_that_can_not_be(provider: Speech) -> None:
    """An empty name or key is refused here, a key that is none by the API; an unknown id is not found."""
    async with provider.account() as (box, vps):
        for name, text in (("", KEY), ("mine", " "), (None, KEY)):
            with pytest.raises(ConfigurationError):
                await vps.ssh_keys.add(name, text)  # type: ignore[arg-type]
        assert box.requests == ()
        with pytest.raises(BadRequestError, match="public_key"):
            await vps.ssh_keys.add("mine", "not a key")
        with pytest.raises(NotFoundError):
            await vps.ssh_keys.delete("6f1c2a52-7d0e-4a6f-9d0f-0d4f1f6f3b11")


@virtual
async def test_look_ups_that_do_not_exist(documented: Speech) -> None:
    """What only the other dialect has is refused with the reason, and nothing is sent."""
    async with documented.account() as (box, vps):
        for call in (
            vps.locations.list(),
            vps.operating_systems.list(),
            vps.ssh_keys.list(),
            vps.ssh_keys.add("mine", KEY),
            vps.ssh_keys.delete(1),
        ):
            with pytest.raises(ConfigurationError, match="the documented API has no list of"):
                await call
        assert box.requests == ()


@virtual
async def test_a_documented_account_can_be_read_as_the_other(documented: Speech) -> None:
    """What is documented reads as the provider's form too, each server once, however many pages are asked for."""
    async with documented.account(options={"dialect": "provider"}) as (box, vps):
        box.world.add(250)
        servers = await vps.servers.list()

        assert sorted(server.name for server in servers) == sorted(there.name for there in box.servers)
        assert all(isinstance(server, Server) for server in servers)
        assert gets(box) == 1
