"""Leaving a fleet call early, in any way and at any moment: no created server is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tests.fleet.virtual_account import (
    account,
    accounted,
    commands,
    committed,
    creates,
    kinds,
    specs,
    untracked,
    virtual,
)
from vpsorg_async import Failed, Report, Skipped
from vpsorg_async.errors import OutcomeUnknownError, WaitError
from vpsorg_async.fleet import Run
from vpsorg_async.sandbox import Rule, Sandbox, faults

TIMEOUT = 900.0
AT_ONCE = 2.0
"""Seconds within which a call has to end once it is left."""

TROUBLE = (
    Rule("create", faults.DropAfter(), probability=0.15),
    Rule("create", faults.NeverAnswer(applied=True), probability=0.1),
    Rule("create", faults.NeverAnswer(), probability=0.1),
    Rule("create", faults.CommitLater(1), probability=0.1),
    Rule("create", faults.RateLimit(3), probability=0.1),
    Rule("create", faults.Delay(0.7, after=True), probability=0.2),
)


class Call:
    """A creating call in a task of its own, which can be cancelled, and its run."""

    def __init__(self, vps: Any, count: int, **options: Any) -> None:
        self.run: Run | None = None
        self.wanted = specs(count)
        self._vps = vps
        self._options = options
        self.task = asyncio.create_task(self._create())

    async def _create(self) -> None:
        async with self._vps.fleet.creating(self.wanted, timeout=TIMEOUT, **self._options) as self.run:
            async for _ in self.run:
                pass

    async def cancel(self) -> float:
        """Cancel it, and return the seconds until it had ended."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled()
        return loop.time() - began

    @property
    def report(self) -> Report:
        assert self.run is not None
        return self.run.report


async def silence(box: Sandbox) -> bool:
    """Whether all requests have stopped: no wait, no search and no subscription is left behind."""
    await asyncio.sleep(5)  # requests that are in flight may still arrive
    asked = len(box.requests)
    await asyncio.sleep(400)
    return len(box.requests) == asked


def cancelled_somewhere(seed: int) -> tuple[str, float]:
    """Cancel one call at a random moment and check its report; return where it was, and the seconds until it ended."""
    where, seconds = "", 0.0

    @virtual
    async def play() -> None:
        nonlocal where, seconds
        rng = random.Random(seed)
        options = {"max_in_flight": rng.choice([2, 5, 32])}
        latency = rng.choice([0.0, 0.01, 0.3])
        async with account(*TROUBLE, seed=seed, latency=latency, options=options) as (box, vps):
            call = Call(vps, rng.randrange(1, 30))
            # from the first request to the last server that becomes active, and dense where commands leave
            await asyncio.sleep(rng.choice([rng.uniform(0, 0.5), rng.uniform(0, 5), rng.uniform(0, 280)]))
            if call.task.done():
                where = "ended before"
                return
            seconds = await call.cancel()

            assert seconds <= AT_ONCE
            if call.run is None:
                where = "reading the account"
                assert creates(box) == []
                return
            where = "waiting" if len(creates(box)) >= len(call.wanted) else "sending"
            assert await silence(box)
            assert accounted(call.report, call.wanted)
            assert untracked(call.report, box) == []
            named = {spec.name for spec in call.wanted} & set(committed(box).values())
            for outcome in call.report.outcomes:
                # a server reported as skipped was never created, and a server reported as created exists
                assert not (isinstance(outcome, Skipped) and outcome.key in named)
                if isinstance(outcome, Failed) and outcome.server_id is not None:
                    assert committed(box)[outcome.server_id] == outcome.key

    play()
    return where, seconds


@pytest.mark.parametrize("seed", range(60))
def test_cancelled_at_any_moment(seed: int) -> None:
    """Every committed server is in the report, the call ends within 2 s, and nothing is left behind."""
    where, seconds = cancelled_somewhere(seed)

    assert where
    assert seconds <= AT_ONCE


@pytest.mark.parametrize("seed", range(15))
@virtual
async def test_cancelled_and_deleted_again(seed: int) -> None:
    """on_cancel="delete": only servers that this call created are deleted; one that was not found is unknown."""
    rng = random.Random(seed)
    async with account(*TROUBLE, seed=seed, latency=0.05, options={"max_in_flight": 5}) as (box, vps):
        others = {server.id for server in box.world.add(5)}
        call = Call(vps, 20, on_cancel="delete")
        await asyncio.sleep(rng.choice([rng.uniform(0.1, 5), rng.uniform(0.1, 280)]))
        if call.task.done():
            return
        seconds = await call.cancel()

        assert seconds <= AT_ONCE + 30
        assert await silence(box)
        assert accounted(call.report, call.wanted)
        left = {server.id: server.name for server in box.servers}
        assert others <= set(left)
        unknown = {
            failure.key for failure in call.report.failed if isinstance(failure.error, OutcomeUnknownError)
        }
        assert {name for number, name in left.items() if number not in others} <= unknown
        for change in box.ledger:
            assert not (change.operation == "delete" and change.server_id in others)


# -- ways to leave --------------------------------------------------------------------------------------------------


async def by_break(vps: Any, hold: dict[str, Any], **options: Any) -> None:
    async with vps.fleet.creating(specs(6), timeout=TIMEOUT, **options) as hold["run"]:
        async for _ in hold["run"]:
            break


async def by_exception(vps: Any, hold: dict[str, Any], **options: Any) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with vps.fleet.creating(specs(6), timeout=TIMEOUT, **options) as hold["run"]:
            async for _ in hold["run"]:
                raise ZeroDivisionError


async def by_timeout(vps: Any, hold: dict[str, Any], **options: Any) -> None:
    with contextlib.suppress(TimeoutError):
        async with (
            asyncio.timeout(160),
            vps.fleet.creating(specs(6), timeout=TIMEOUT, **options) as hold["run"],
        ):
            async for _ in hold["run"]:
                pass


async def by_cancel_scope(vps: Any, hold: dict[str, Any], **options: Any) -> None:
    with anyio.move_on_after(160) as scope:
        async with vps.fleet.creating(specs(6), timeout=TIMEOUT, **options) as hold["run"]:
            async for _ in hold["run"]:
                pass
    assert scope.cancelled_caught


async def by_sibling(vps: Any, hold: dict[str, Any], **options: Any) -> None:
    async def fails() -> None:
        await asyncio.sleep(160)
        raise ZeroDivisionError

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(by_waiting(vps, hold, **options))
    except* ZeroDivisionError:
        pass


async def by_waiting(vps: Any, hold: dict[str, Any], **options: Any) -> None:
    async with vps.fleet.creating(specs(6), timeout=TIMEOUT, **options) as hold["run"]:
        async for _ in hold["run"]:
            pass


async def by_closing_the_generator(vps: Any, hold: dict[str, Any], **options: Any) -> None:
    async def names() -> Any:
        async with vps.fleet.creating(specs(6), timeout=TIMEOUT, **options) as hold["run"]:
            async for outcome in hold["run"]:
                yield outcome.key

    generator = names()
    await anext(generator)
    await generator.aclose()


WAYS = [by_break, by_exception, by_timeout, by_cancel_scope, by_sibling, by_closing_the_generator]


@pytest.mark.parametrize("leave", WAYS, ids=lambda leave: leave.__name__)
@virtual
async def test_every_way_to_leave(leave: Callable[..., Any]) -> None:
    """Settled outcomes are reported as such, acknowledged ones with their ids; the servers stay, and polling stops."""
    hold: dict[str, Any] = {}
    async with account() as (box, vps):
        await leave(vps, hold)
        report = hold["run"].report

        assert accounted(report, specs(6))
        assert untracked(report, box) == []
        assert len(box.servers) == 6
        assert len(report.succeeded) >= 1
        assert len(report.failed) >= 1
        for failure in report.failed:
            assert isinstance(failure.error, WaitError)
            assert failure.server_id in committed(box)
            assert "acknowledged" in str(failure.error)
        assert await silence(box)


@pytest.mark.parametrize("leave", WAYS, ids=lambda leave: leave.__name__)
@virtual
async def test_every_way_to_leave_and_delete(leave: Callable[..., Any]) -> None:
    """The same with on_cancel="delete": all six are gone, and each outcome says why."""
    hold: dict[str, Any] = {}
    async with account() as (box, vps):
        (other,) = box.world.add(name="other")
        await leave(vps, hold, on_cancel="delete")
        report = hold["run"].report

        assert report.rolled_back
        assert [server.id for server in box.servers] == [other.id]
        assert kinds(report) == {"Failed": 6}
        assert {failure.server_id for failure in report.failed} == set(committed(box))
        assert all("left early" in str(failure.error) for failure in report.failed)
        assert await silence(box)


@virtual
async def test_an_exception_after_the_last_server_settled() -> None:
    """on_cancel="delete" applies until the outcomes have been read, however quickly the servers settle."""
    async with account() as (box, vps):
        with contextlib.suppress(ZeroDivisionError):
            async with vps.fleet.creating(specs(3), timeout=TIMEOUT, on_cancel="delete") as run:
                await asyncio.sleep(400)
                assert len(run.report.succeeded) == 3
                raise ZeroDivisionError

        assert box.servers == ()

        with contextlib.suppress(ZeroDivisionError):
            async with vps.fleet.creating(specs(3), timeout=TIMEOUT, on_cancel="delete") as run:
                async for _ in run:
                    pass
                raise ZeroDivisionError

        # the call had ended
        assert len(box.servers) == 3


@virtual
async def test_leaving_without_a_poll() -> None:
    """A body without an await exits immediately; each command that was sent is accounted for."""
    async with account(latency=0.1, options={"max_in_flight": 2}) as (box, vps):
        async with vps.fleet.creating(specs(8), timeout=TIMEOUT) as run:
            await asyncio.sleep(0.05)

        assert accounted(run.report, specs(8))
        assert untracked(run.report, box) == []
        assert kinds(run.report) == {"Failed": 2, "Skipped": 6}
        assert len(creates(box)) == 2


@virtual
async def test_a_run_that_was_closed_says_what_is_known() -> None:
    """The error of an acknowledged command names why the run ended, the target, and what stays."""
    async with account(latency=0.1) as (_, vps):
        async with vps.fleet.creating(specs(1), timeout=TIMEOUT) as run:
            await asyncio.sleep(5)

        (failed,) = run.report.failed
        assert str(failed.error) == (
            f"server {failed.server_id}: the run was closed (break) before the server was active; "
            "its command was acknowledged, but nothing is waiting for it now"
        )


@virtual
async def test_what_has_not_left_is_not_called_unknown() -> None:
    """A command that still waits for its slot behind other calls is reported as skipped, not as unknown."""
    async with account(Rule("get", faults.Delay(20)), options={"max_in_flight": 3}, latency=0.1) as (
        box,
        vps,
    ):
        (other,) = box.world.add()
        busy = [asyncio.create_task(vps.servers.get(other.id)) for _ in range(2)]
        call = Call(vps, 6)
        await asyncio.sleep(0.25)
        seconds = await call.cancel()

        assert seconds <= AT_ONCE
        assert len(creates(box)) == 2
        assert kinds(call.report) == {"Failed": 2, "Skipped": 4}
        assert untracked(call.report, box) == []
        await asyncio.gather(*busy)


@pytest.mark.parametrize(("on_cancel", "left"), [("detach", 3), ("delete", 0)])
@virtual
async def test_what_was_never_answered_is_found(on_cancel: str, left: int) -> None:
    """The last poll of the account finds the server of a create that had no response: it is named, or deleted."""
    async with account(Rule("create", faults.NeverAnswer(applied=True), nth=2)) as (box, vps):
        call = Call(vps, 3, on_cancel=on_cancel)
        await asyncio.sleep(1)
        made = {server.name: server.id for server in box.servers}
        await call.cancel()

        assert {failure.key: failure.server_id for failure in call.report.failed} == made
        assert len(box.servers) == left
        if on_cancel == "detach":
            failure = call.report.failed[1]
            assert isinstance(failure.error, OutcomeUnknownError)
            assert failure.error.candidates == (failure.server_id,)
            assert failure.server is not None
            assert str(failure.server_id) in str(failure.error)


@virtual
async def test_the_last_poll_is_bounded_too() -> None:
    """Where neither creates nor the list get a response, the call still ends, and reports the creates as unknown."""
    async with account(Rule("create", faults.NeverAnswer(applied=True))) as (box, vps):
        call = Call(vps, 3)
        await asyncio.sleep(1)
        box.faults.add(Rule("list", faults.NeverAnswer()))

        assert await call.cancel() <= AT_ONCE
        assert untracked(call.report, box) == []
        assert all(isinstance(failure.error, OutcomeUnknownError) for failure in call.report.failed)


@virtual
async def test_a_cancel_scope_waits_for_the_answers() -> None:
    """A scope that keeps cancelling does not shorten the call's last second, and causes no busy loop."""
    async with account(Rule("create", faults.NeverAnswer(applied=True), nth=2)) as (box, vps):
        loop = asyncio.get_running_loop()
        with anyio.move_on_after(3):
            async with vps.fleet.creating(specs(3), timeout=TIMEOUT) as run:
                async for _ in run:
                    pass

        assert 3 < loop.time() <= 3 + AT_ONCE
        assert untracked(run.report, box) == []
        assert {failure.server_id for failure in run.report.failed} == set(committed(box))


@virtual
async def test_cancelled_again_and_again() -> None:
    """Further cancellations during the exit change nothing: every server is accounted for, and the call ends."""
    async with account(Rule("create", faults.NeverAnswer(applied=True), nth=2)) as (box, vps):
        call = Call(vps, 5)
        await asyncio.sleep(1)
        for _ in range(4):
            call.task.cancel()
            await asyncio.sleep(0.3)
        await asyncio.wait([call.task])

        assert call.task.cancelled()
        assert accounted(call.report, call.wanted)
        assert untracked(call.report, box) == []
        assert await silence(box)


@virtual
async def test_cancelled_while_it_deletes() -> None:
    """Deleting the created servers is completed although the call is cancelled again."""
    async with account(Rule("delete", faults.Delay(3))) as (box, vps):
        call = Call(vps, 5, on_cancel="delete")
        await asyncio.sleep(1)
        call.task.cancel()
        await asyncio.sleep(1)
        call.task.cancel()
        await asyncio.wait([call.task])

        assert call.task.cancelled()
        assert box.servers == ()
        assert call.report.rolled_back


@virtual
async def test_cancelled_while_it_rolls_back() -> None:
    """The same for a roll-back because fewer than min_count succeeded."""
    async with account(Rule("delete", faults.Delay(3)), credit=3) as (box, vps):
        call = asyncio.create_task(vps.fleet.create(specs(5), timeout=TIMEOUT, min_count=4))
        for _ in range(300):
            await asyncio.sleep(1)
            if any(entry.method == "DELETE" for entry in box.requests):
                break
        assert len(box.servers) == 3
        call.cancel()
        await asyncio.wait([call])

        assert call.cancelled()
        assert not box.servers


@virtual
async def test_ensure_that_is_cancelled() -> None:
    """Commands in flight on other calls are accounted for too; a second run completes the fleet without duplicates."""
    async with account(latency=0.4, options={"max_in_flight": 3}) as (box, vps):
        for number in range(4):
            box.world.add(name=f"web-{number:03}", status="stopped")
        call = asyncio.create_task(vps.fleet.ensure(specs(12), timeout=TIMEOUT))
        await asyncio.sleep(0.9)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert 4 < len(box.servers) < 12

        report = await vps.fleet.ensure(specs(12), timeout=TIMEOUT)

        assert kinds(report) == {"Succeeded": 12}
        assert len(box.servers) == 12
        assert commands(box)["create"] == 8


@virtual
async def test_ensure_deletes_only_what_it_made() -> None:
    """on_cancel="delete" of ensure: servers that it adopted or started were there before, and stay."""
    async with account(Rule("create", faults.DropAfter(), nth=2)) as (box, vps):
        kept = {box.world.add(name=f"web-00{n}", status=s)[0].id for n, s in enumerate(["active", "stopped"])}
        call = asyncio.create_task(vps.fleet.ensure(specs(6), timeout=TIMEOUT, on_cancel="delete"))
        await asyncio.sleep(30)
        assert len(box.servers) == 6
        call.cancel()
        await asyncio.wait([call])

        assert {server.id for server in box.servers} == kept
        assert commands(box) == {"create": 4, "delete": 4, "start": 1}


@virtual
async def test_what_is_made_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled caller gets no report: the log names the created servers that stay."""
    async with account() as (box, vps):
        call = asyncio.create_task(vps.fleet.create(specs(3), timeout=TIMEOUT))
        await asyncio.sleep(1)
        call.cancel()
        await asyncio.wait([call])

        (record,) = [record for record in caplog.records if record.name == "vpsorg_async.fleet"]
        assert record.levelname == "WARNING"
        assert all(str(server.id) in record.getMessage() for server in box.servers)


@virtual
async def test_a_verdict_that_can_not_be_judged_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends with the bug, and its report lists each server that was created."""

    class Broken:
        @staticmethod
        def of(*_: object) -> None:
            raise RuntimeError("a bug")

    monkeypatch.setattr("vpsorg_async.fleet.open_waits.WaitOutcome", Broken)
    async with account() as (box, vps):
        async with vps.fleet.creating(specs(2), timeout=TIMEOUT) as run:
            with pytest.raises(RuntimeError, match="a bug"):
                await anext(run)

        made = {server.id for server in box.servers}
        assert len(made) == 2
        assert {failed.server_id for failed in run.report.failed} == made
        assert run.report.skipped == ()


# -- Ctrl-C ---------------------------------------------------------------------------------------------------------

INTERRUPTED = textwrap.dedent(
    """
    import asyncio, signal, sys
    from vpsorg_async import Client, ServerSpec

    # whoever was started in the background may have been told to ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main(url, token, on_cancel):
        specs = [ServerSpec(name=f"web-{n:03}", plan_id=1, os_id=5, location="us-west") for n in range(6)]
        answered = set()

        def tell(event):
            answered.add(event.key) if type(event).__name__ == "CommandAnswered" else None
            if len(answered) == 6:
                print("answered", flush=True)

        async with Client(token, base_url=url) as vps:
            try:
                async with vps.fleet.creating(specs, timeout=900, on_cancel=on_cancel, on_event=tell) as run:
                    async for _ in run:
                        pass
            finally:
                print(run.report.to_json(), flush=True)

    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    """
)


@pytest.mark.parametrize(("on_cancel", "left"), [("detach", 6), ("delete", 0)])
def test_control_c(on_cancel: str, left: int) -> None:
    """Ctrl-C in a program: the report is complete, the servers stay or are deleted, and no warning is printed."""
    with Sandbox() as box:
        command = [sys.executable, "-Xdev", "-Ic", INTERRUPTED, box.url, box.token, on_cancel]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "answered\n"
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=40)
            finally:
                process.kill()

        assert out.splitlines()[-1] == "interrupted"
        assert out.count('"outcome": "failed"') == 6
        assert all(str(number) in out for number in committed(box))
        assert len(box.servers) == left
        assert "Traceback" not in err
        assert "never retrieved" not in err
        assert "Unclosed" not in err
