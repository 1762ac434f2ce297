"""The awaitable interface of waiting: receipts, several servers, readiness, watching the account, in virtual time."""

from __future__ import annotations

import asyncio
import pickle
from datetime import timedelta
from typing import Any

import attrs
import pytest

from tests.lifecycle.harness import Harness, Provider, after, record, virtual
from vpsorg_async import Server, Target, WaitOutcome, errors
from vpsorg_async.lifecycle.readiness import ReadyPolicy

ACTIVE = Target.of("active")


async def settled(harness: Harness, subjects: Any, timeout: float = 600.0) -> list[WaitOutcome]:
    return [outcome async for outcome in harness.waiter.wait_all(subjects, ACTIVE, timeout)]


@virtual
async def test_the_outcome_tells_the_wait() -> None:
    """The outcome of a wait has the server, the evidence, the timeline, the polls and the seconds."""
    async with Harness(Provider(after(1, 20))) as harness:
        harness.command(1, "create")

        outcome = await harness.wait(1)

        assert outcome.server == record(1, "active")
        assert (outcome.server_id, outcome.error, str(outcome.evidence)) == (1, None, "observed")
        assert [seen.status for seen in outcome.timeline] == ["provisioning", "active"]
        assert outcome.polls == len(harness.provider.polls)
        assert 20 <= outcome.seconds <= 27


@virtual
async def test_a_wait_may_be_about_a_server_its_id_or_a_receipt() -> None:
    """A wait accepts a server, an id or a receipt; invalid ids are refused before anything is sent."""
    async with Harness(Provider(after(1, 0))) as harness:
        receipt = harness.command(1, "start")
        for subject in (1, record(1, "stopped"), receipt):
            assert (await harness.wait(subject)).server_id == 1

        polls = len(harness.provider.polls)
        for bad in (0, -1, True, "", "..", None):
            with pytest.raises(errors.ConfigurationError):
                await harness.wait(bad)  # type: ignore[arg-type]
        for timeout in (0, -1, float("inf"), float("nan"), "5", True):
            with pytest.raises(errors.ConfigurationError):
                await harness.wait(1, timeout=timeout)  # type: ignore[arg-type]
        assert len(harness.provider.polls) == polls


@virtual
async def test_each_outcome_comes_as_it_settles() -> None:
    """Outcomes of several servers come in the order in which they settle, failures among them."""
    provider = Provider(after(1, 30), after(2, 10), after(3, 15, "suspended"), after(4, 20))
    async with Harness(provider) as harness:
        outcomes = await settled(harness, [1, 2, 3, 4, 4])

        assert [outcome.server_id for outcome in outcomes] == [2, 3, 4, 4, 1]
        (failed,) = [outcome for outcome in outcomes if outcome.error is not None]
        assert isinstance(failed.error, errors.UnexpectedStatusError)
        assert (failed.server, failed.evidence) == (None, None)
        assert harness.poller.statistics.waits == 0


@virtual
async def test_leaving_the_stream_leaves_the_waits() -> None:
    """Leaving the stream early stops the polls for the other servers."""
    async with Harness(Provider(after(1, 5), after(2, 500))) as harness:
        stream = harness.waiter.wait_all([1, 2], ACTIVE, 600)
        async for outcome in stream:
            assert outcome.server_id == 1
            break
        await stream.aclose()
        await asyncio.sleep(0.01)

        assert harness.poller.statistics.waits == 0
        assert not harness.polling()


@pytest.mark.parametrize("subjects", ["12", 12, b"12", record(1, "active")])
@virtual
async def test_one_server_is_not_several(subjects: Any) -> None:
    """A string in place of several servers is refused, since it would be read letter by letter."""
    async with Harness(Provider()) as harness:
        with pytest.raises(errors.ConfigurationError, match="for one use wait_until"):
            await settled(harness, subjects)


@virtual
async def test_no_servers_are_settled_at_once() -> None:
    """An empty list sends no request."""
    async with Harness(Provider()) as harness:
        assert await settled(harness, []) == []
        assert harness.provider.polls == []


def rebooting(now: float) -> Server:
    """Active all the time, except from 20 to 23."""
    return record(
        1, "rebooting" if 20 <= now < 23 else "active", 20 if 20 <= now < 23 else 23 if now >= 23 else 0
    )


@virtual
async def test_a_receipt_goes_to_another_process() -> None:
    """A pickled receipt of a reboot protects the wait of a client that has no other knowledge of it."""
    provider = Provider(lambda now: rebooting(now - 1.5))  # reads lag
    async with Harness(provider) as sender, Harness(provider) as other:
        await sender.poller.glance([1])
        await asyncio.sleep(20)
        receipt = pickle.loads(pickle.dumps(sender.command(1, "reboot", "rebooting")))

        outcome = await other.wait(receipt)
        assert other.now >= 24.5
        assert str(outcome.evidence) == "observed"
        assert outcome.seconds == pytest.approx(other.now - 20, abs=0.1)


@pytest.mark.parametrize("skew", [-3600.0, -5.0, 5.0, 3600.0])
@virtual
async def test_clocks_of_other_machines_may_be_wrong(skew: float) -> None:
    """However far the two clocks lie apart, only polls that left after the wait began count."""
    provider = Provider(lambda now: rebooting(now - 1.5), latency=1.0)
    async with Harness(provider) as sender, Harness(provider) as other:
        await asyncio.sleep(19.6)
        (busy,) = other.begin([1], "stopped", 30)
        await asyncio.sleep(0.6)
        receipt = sender.command(1, "reboot", "rebooting")
        receipt = attrs.evolve(receipt, acknowledged_at=receipt.acknowledged_at + timedelta(seconds=skew))

        outcome = await other.wait(receipt)

        assert 24.5 <= other.now <= 29
        assert str(outcome.evidence) == "observed"
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)


@virtual
async def test_a_receipt_of_ones_own_is_recognised() -> None:
    """A client recognises its own receipt as the command that it knows, with its exact time."""
    async with Harness(Provider(rebooting)) as harness:
        await asyncio.sleep(20.5)
        receipt = pickle.loads(pickle.dumps(harness.command(1, "reboot", "rebooting")))
        await harness.wait(receipt)

        assert harness.account.receipt(1) is None


class Door:
    """A readiness check with a script."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    async def __call__(self, server: Server) -> bool:
        self.asked.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return True
        return bool(answer)


async def ready(harness: Harness, door: Door, timeout: float) -> float:
    outcome = await harness.wait(1)
    began = harness.now
    await harness.waiter.ready(outcome, door, ReadyPolicy(timeout=timeout))
    return harness.now - began


@virtual
async def test_ready_is_asked_until_it_says_yes() -> None:
    """False, a refused connection and a timeout are retried, with a pause and a new read of the server each."""
    async with Harness(Provider(after(1, 0))) as harness:
        door = Door(False, ConnectionRefusedError(), TimeoutError(), OSError(), True)

        assert await ready(harness, door, 60) == pytest.approx(4 * (0.5 + harness.provider.latency))
        assert len(door.asked) == 5


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (False, "it said no"),
        (ConnectionRefusedError(), "ConnectionRefusedError"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
    ],
)
@virtual
async def test_ready_has_a_deadline_of_its_own(answer: Any, said: str) -> None:
    """The check is called up to its deadline, and once more at it; the error names the reason of the last failure."""
    async with Harness(Provider(after(1, 0))) as harness:
        door = Door(answer)

        with pytest.raises(
            errors.WaitTimeoutError,
            match=f"not ready after 12 s: its check did not pass in 24 tries, last: {said}$",
        ) as caught:
            await ready(harness, door, 12)

        assert harness.now - door.asked[0] == pytest.approx(12 + harness.provider.latency)
        assert harness.now == door.asked[-1]
        assert caught.value.target == "ready"
        assert caught.value.last_seen == record(1, "active")


@virtual
async def test_a_check_that_hangs_is_cut_off() -> None:
    """A check that never returns holds the caller hardly longer than the deadline."""
    async with Harness(Provider(after(1, 0))) as harness:
        with pytest.raises(errors.WaitTimeoutError, match="last: it did not answer within 30 s"):
            await ready(harness, Door(1000.0), 30)

        assert 30 <= harness.now <= 36


@virtual
async def test_no_check_begins_once_the_client_is_closed() -> None:
    """The client can be closed between the outcome of a wait and its ready check."""
    async with Harness(Provider(after(1, 0))) as harness:
        outcome, door = await harness.wait(1), Door(True)
        harness.checks.close()
        with pytest.raises(errors.ClientClosedError):
            await harness.waiter.ready(outcome, door, ReadyPolicy(timeout=60))
        assert door.asked == []


@virtual
async def test_what_ends_everything_is_raised() -> None:
    """An Exception from a check is a failed check with that reason; any other BaseException is raised."""
    async with Harness(Provider(after(1, 0))) as harness:
        with pytest.raises(pytest.fail.Exception, match="enough"):
            await ready(harness, Door(pytest.fail.Exception("enough")), 30)


@virtual
async def test_a_server_that_vanishes_is_not_asked_about_for_ever() -> None:
    """The server is read between two calls of the check; where it no longer exists, the check is not called again."""
    async with Harness(Provider(lambda now: record(1, "active") if now < 5 else None)) as harness:
        door = Door(False)
        with pytest.raises(errors.ServerGoneError):
            await ready(harness, door, 600)

        assert harness.now < 10
        assert max(door.asked) < 5


@virtual
async def test_a_mistake_in_a_check_is_its_reason() -> None:
    """An exception from a check is a failed check, and the error names it."""
    async with Harness(Provider(after(1, 0))) as harness:
        with pytest.raises(errors.WaitTimeoutError, match="last: ZeroDivisionError"):
            await ready(harness, Door(ZeroDivisionError()), 30)
