"""Whatever happens to a trial, its server is deleted at the end; if that is not certain, the trial says so."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from tests.doctor.trials import QUICK, ours, tried
from vpsorg_async import Client
from vpsorg_async.doctor import LiveExamination, Observer, choose, new_name
from vpsorg_async.errors import (
    AuthenticationError,
    OutcomeUnknownError,
    PaymentRequiredError,
    ServerGoneError,
)
from vpsorg_async.sandbox import Rule, Sandbox, faults


def done(box: Sandbox, operation: str) -> int:
    """How many such changes the service has made."""
    return sum(change.operation == operation for change in box.ledger)


async def test_a_create_without_an_answer_is_found_by_its_name() -> None:
    """The server of a lost answer is the trial's: it goes on with it, sends no other create, and deletes it."""
    examination, box = await tried(Rule("create", faults.DropAfter(), times=1), others=2)

    assert examination.error is None
    assert (done(box, "create"), done(box, "delete")) == (1, 1)
    assert (len(box.servers), examination.remains) == (2, False)


async def test_a_create_that_was_not_applied_leaves_nothing() -> None:
    """A search over the whole settle window without a result proves that there is nothing to delete."""
    examination, box = await tried(Rule("create", faults.DropBefore(), times=1), others=1)

    assert isinstance(examination.error, OutcomeUnknownError)
    assert (done(box, "create"), done(box, "delete"), examination.remains) == (0, 0, False)


async def test_a_create_that_is_committed_late_is_found() -> None:
    """The search goes on for a while, since a list can lag behind."""
    late = attrs.evolve(QUICK, search=1.0)

    examination, box = await tried(Rule("create", faults.CommitLater(0.2)), pace=late)

    assert (done(box, "create"), box.servers, examination.remains) == (1, (), False)


async def test_a_refused_create_is_the_end() -> None:
    """Without credit nothing is searched for and nothing deleted."""
    examination, box = await tried(credit=0)

    assert isinstance(examination.error, PaymentRequiredError)
    assert examination.remains is False
    assert (box.requests[-1].method, box.requests[-1].status) == ("POST", 402)


@pytest.mark.parametrize("phase", ["active", "reboot", "stop", "stopped", "delete"])
async def test_a_token_that_is_refused_in_the_middle(phase: str) -> None:
    """The script ends with the refusal, and the server is deleted as soon as the token is accepted again."""
    refused = Rule(None, faults.Reply(401, {"detail": "no"}), times=2)

    examination, box = await tried(phases={phase: [refused]})

    assert isinstance(examination.error, AuthenticationError)
    assert (box.servers, examination.remains) == ((), False)


async def test_a_server_that_vanishes_is_no_riddle() -> None:
    """Somebody else deletes it: the trial ends, and there is nothing left."""
    examination, box = await tried(phases={"reboot": [Rule("get", faults.Vanish(), times=1)]})

    assert isinstance(examination.error, ServerGoneError)
    assert (box.servers, examination.remains) == ((), False)


async def test_an_id_that_is_not_the_servers() -> None:
    """A create that names a wrong id: another server is not touched, and the right one is deleted."""
    examination, box = await tried(Rule("create", faults.OddField("id", 12_345_678)), others=3)

    assert (len(box.servers), ours(examination, box)) == (3, [])


async def test_a_delete_that_can_not_be_confirmed() -> None:
    """Each delete fails: the trial says that the server remains, and knows its id."""
    never = Rule("delete", faults.Html(503))

    examination, box = await tried(never, pace=attrs.evolve(QUICK, removal=0.3))

    assert examination.remains is True
    assert examination.server_id == box.servers[0].id


async def test_a_word_for_a_deleted_server_that_is_not_known() -> None:
    """A delete was accepted, but a word that could mean anything is no proof."""
    kept = Rule("delete", faults.SoftDelete("archived"))

    examination, _ = await tried(kept, pace=attrs.evolve(QUICK, removal=0.4))

    assert examination.remains is True
    assert examination.report.settings["status_words"] == {"archived": "gone"}


async def test_a_service_that_deletes_stopped_servers_only() -> None:
    """A delete that is refused is sent again after a stop."""
    examination, box = await tried(phases={"delete": [Rule("delete", faults.Reply(409), times=2)]})

    assert (box.servers, examination.remains) == ((), False)


async def interrupted(box: Sandbox, method: str, path: str, *rules: Rule) -> LiveExamination:
    """Cancel a trial as soon as the sandbox has such a request in its log."""
    observer = Observer()
    async with Client(box.token, base_url=box.url, **observer.options) as vps:
        spec = choose(new_name(), await vps.plans.list(), os=5)
        box.faults.add(*rules)
        examination = LiveExamination(vps, observer, spec, pace=QUICK)
        task = asyncio.create_task(examination.run())
        while not any(e.method == method and e.path.endswith(path) for e in box.requests):  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    return examination


@pytest.mark.parametrize(
    "request_",
    [
        ("POST", "/servers/"),
        ("GET", "5/"),
        ("PATCH", "/"),
        ("POST", "/reboot/"),
        ("POST", "/stop/"),
        ("DELETE", "/"),
    ],
)
async def test_a_cancellation_deletes_first(request_: tuple[str, str]) -> None:
    """Whenever a trial is cancelled, its server is gone when the cancellation is raised."""
    async with Sandbox(speed=6000, latency=0.005) as box:
        examination = await interrupted(box, *request_)

        assert (box.servers, examination.remains) == ((), False)
        assert done(box, "create") == 1


async def test_a_create_that_is_cancelled_before_its_answer() -> None:
    """It has left, and its answer never comes: the server is found by its name, and deleted."""
    async with Sandbox(speed=6000) as box:
        examination = await interrupted(
            box, "POST", "/servers/", Rule("create", faults.NeverAnswer(applied=True), times=1)
        )

        assert (box.servers, done(box, "delete"), examination.remains) == ((), 1, False)


async def test_nothing_private_is_in_the_report() -> None:
    """The report has no token, no address, no id, and no password, whatever the service repeats."""
    said = {
        "detail": "web-7.example.com (203.0.113.77, 2001:db8::7, me@example.com) knows vps_secret_1 and 4711"
    }
    told = Rule("start", faults.Reply(400, said), times=1)

    examination, box = await tried(told, dialect="provider", token="vps_secret_1", others=3)

    text: Any = "\n".join(examination.report.lines()) + str(examination.report.to_dict())
    private = [box.token, "vps_secret", "203.0.113", "2001:db8", "example.com", "4711", "127.0.0.1"]
    private += [str(examination.server_id), str(box.servers[0].id)]
    assert [word for word in private if word in text] == []
    assert "knows" in text
