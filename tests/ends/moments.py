"""Cancellations at an exact moment: the n-th step of the event loop, in virtual time, and the checks that follow.

A step is one turn of the loop, for any task: the client's, the sandbox's or aiohttp's. The connections are real, so a
number names nearly the same moment each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias

import attrs

from tests.fleet.virtual_account import client, committed, duplicates, kinds, specs
from vpsorg_async import Client, Failed, Server, Skipped, Succeeded
from vpsorg_async.errors import OutcomeUnknownError, VpsOrgError
from vpsorg_async.fleet.events import CommandSent, ServerSettled
from vpsorg_async.http.events import ChangeAbandoned
from vpsorg_async.sandbox import Durations, Rule, Sandbox, faults
from vpsorg_async.virtual_time import VirtualTimeLoop

__all__ = ["CALLS", "LATER", "LIMIT", "SECONDS", "WAYS", "Moment", "Way", "moments_of"]

TIMEOUT = 600.0
LATENCY = 0.05
LIMIT = 400
"""Steps, of which a call takes half."""
AT_ONCE = 2.0
"""Seconds within which a call has to end once it is cancelled, where it deletes nothing."""
DELETES = 32.0
"""The same where it does."""
QUICK = Durations(provisioning=(1, 2), starting=(0.5, 1), stopping=(0.5, 1), rebooting=(0.5, 1))

SECONDS = ("cancel", "shut down")
"""The second event: the same cancellation again, or the end of the loop, as by a second Ctrl-C."""
LATER = (1, 2, 3, 5, 8, 13, 21, 34, 55)
"""The number of steps after which the second event comes."""


class SteppingLoop(VirtualTimeLoop):
    """An event loop that counts its turns, and calls functions before some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self._plans: dict[int, Callable[[], object]] = {}

    def plan(self, after: int, act: Callable[[], object]) -> None:
        """Call ``act`` before the turn that comes after this number of others."""
        self._plans[self.steps + after] = act

    def forget(self) -> None:
        """Drop the planned calls whose turn has not come."""
        self._plans.clear()

    def _run_once(self) -> None:
        self.steps += 1
        act = self._plans.pop(self.steps, None)
        if act is not None:
            act()
        super()._run_once()  # type: ignore[misc]


@attrs.frozen
class Moment:
    """The step of the first cancellation; the number of steps until the second (0: never), and its kind."""

    first: int
    later: int = 0
    second: str = "cancel"


class Scene:
    """An account, and what a call on it reported."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.wanted = specs(3)
        self.names = {spec.name for spec in self.wanted}
        self.ids: list[int | str] = []
        self.heard: list[Any] = []
        self.outcomes: dict[int | str, Any] = {}
        self.run: Any = None
        self.created: list[Server] = []

    def told(self, event: Any) -> None:
        """Record an event of the fleet's ``on_event``."""
        self.heard.append(event)
        if isinstance(event, ServerSettled):
            self.outcomes[event.key] = event.outcome

    def check(self, ended: BaseException | None) -> None:
        """Check that the ledger and the reports agree."""
        if self.run is not None:
            self.outcomes = {outcome.key: outcome for outcome in self.run.report.outcomes}
        begun = {event.key for event in self.heard if isinstance(event, CommandSent)}
        if begun or self.outcomes:
            assert self.outcomes.keys() == (set(self.ids) or self.names), "each has one outcome"
        known, unknown = self._told(ended)
        for server_id, name in committed(self.box).items():
            assert server_id in known or name in unknown, (
                f"{name} was created as {server_id}, and nobody says so"
            )
        for change in self.box.ledger:
            for key in (change.server_id, change.name):
                skipped = key is not None and isinstance(self.outcomes.get(key), Skipped)
                assert not skipped, f"{change} was applied, and is called skipped"
        there = {server.id for server in self.box.servers}
        for outcome in self.outcomes.values():
            said = str(outcome.error) if isinstance(outcome, Failed) else ""
            if "deleted again" in said and "; but" not in said:
                assert outcome.server_id not in there, f"{outcome.key} is called deleted, and exists"

    def _told(self, ended: BaseException | None) -> tuple[set[Any], set[Any]]:
        """The reported ids, and the names whose outcome is reported as unknown."""
        known: set[Any] = {server.id for server in self.created}
        unknown: set[Any] = set()
        for outcome in self.outcomes.values():
            if isinstance(outcome, Succeeded) and outcome.server is not None:
                known.add(outcome.server.id)
            elif isinstance(outcome, Failed):
                known.add(outcome.server_id)
                if isinstance(outcome.error, OutcomeUnknownError):
                    unknown.add(outcome.key)
        if self.run is None and not self.outcomes:
            unknown |= {event.subject for event in self.heard if isinstance(event, ChangeAbandoned)}
            if isinstance(ended, OutcomeUnknownError):
                unknown.add(ended.subject)
        return known, unknown


@attrs.frozen
class Call:
    """A call, what the account has before it, and which faults it meets."""

    begin: Callable[[Scene, Client], Coroutine[Any, Any, Any]]
    servers: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    deletes: bool = False


async def _create(scene: Scene, vps: Client) -> None:
    await vps.fleet.create(scene.wanted, timeout=TIMEOUT, on_event=scene.told)


async def _create_or_delete(scene: Scene, vps: Client) -> None:
    async with vps.fleet.creating(
        scene.wanted, timeout=TIMEOUT, on_cancel="delete", on_event=scene.told
    ) as scene.run:
        async for _ in scene.run:
            pass


async def _create_enough(scene: Scene, vps: Client) -> None:
    await vps.fleet.create(scene.wanted, timeout=TIMEOUT, min_count=3, on_event=scene.told)


async def _ensure(scene: Scene, vps: Client) -> None:
    await vps.fleet.ensure(scene.wanted, timeout=TIMEOUT, on_event=scene.told)


async def _reboot(scene: Scene, vps: Client) -> None:
    await vps.fleet.reboot(scene.ids, timeout=TIMEOUT, on_event=scene.told)


async def _roll(scene: Scene, vps: Client) -> None:
    async def well(server: object) -> bool:
        await asyncio.sleep(0.1)
        return True

    await vps.fleet.rolling_reboot(
        scene.ids, max_unavailable=2, timeout=TIMEOUT, health=well, on_event=scene.told
    )


async def _wait_all(scene: Scene, vps: Client) -> None:
    async for _ in vps.wait_until_all(scene.ids, "active", timeout=TIMEOUT):
        pass


async def _watch(scene: Scene, vps: Client) -> None:
    async with contextlib.aclosing(vps.watch(interval=0.5)) as changes:
        async for change in changes:
            scene.heard.append(change)
            if change.change == "present" and scene.ids:
                await vps.servers.delete(scene.ids.pop())


async def _plain(scene: Scene, vps: Client) -> None:
    scene.created.append(await vps.servers.create(scene.wanted[0]))


LOST = Rule("create", faults.NeverAnswer(applied=True), nth=2)
ACTIVE = ("active", "active", "active")

CALLS = {
    "create": Call(_create),
    "create with a lost answer": Call(_create, rules=(LOST,)),
    "create, or delete": Call(_create_or_delete, rules=(LOST,), deletes=True),
    "create enough": Call(_create_enough, rules=(Rule("create", faults.Reply(400), nth=3),), deletes=True),
    "create unseen, or delete": Call(
        _create_or_delete, rules=(Rule("create", faults.HideCreated(4)),), deletes=True
    ),
    "ensure": Call(_ensure, servers=("stopped", "")),
    "reboot": Call(_reboot, servers=ACTIVE),
    "rolling_reboot": Call(_roll, servers=ACTIVE),
    "wait_until_all": Call(_wait_all, servers=("starting", "provisioning", "active")),
    "watch": Call(_watch, servers=ACTIVE),
    "servers.create": Call(_plain),
}


def run(play: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run the scene; it may leave neither task nor warning behind."""
    complaints: list[str] = []
    gc.collect()  # garbage of an earlier test must not count for this one
    before = sys.unraisablehook
    # objects that were never awaited or closed warn when they are collected
    sys.unraisablehook = lambda what: complaints.append(f"{what.exc_value!r} in {what.object!r}")
    try:
        with asyncio.Runner(loop_factory=SteppingLoop) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _, context: complaints.append(repr(context)))
            result = runner.run(play())
            left = [repr(task) for task in asyncio.all_tasks(loop)]
            gc.collect()
    finally:
        sys.unraisablehook = before
    assert left == [], left
    assert complaints == [], complaints
    return result


SANDBOX = ("RequestHandler.", "BaseSelectorEventLoop._accept")
"""How the names of the coroutines begin whose tasks serve the sandbox."""


def ours() -> set[asyncio.Task[Any]]:
    """The tasks that are neither the sandbox's nor the running one."""
    found = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in found if not getattr(task.get_coro(), "__qualname__", "").startswith(SANDBOX)}


def shut_down(spared: asyncio.Task[Any]) -> None:
    """Cancel all tasks together, as the end of the loop does."""
    for task in ours() - {spared}:
        task.cancel()


def prepared(name: str, box: Sandbox) -> tuple[Call, Scene]:
    """Prepare the account as the call needs it."""
    call, scene = CALLS[name], Scene(box)
    for number, status in enumerate(call.servers):
        if status:
            (server,) = box.world.add(name=f"web-00{number}", status=status)
            if call.begin is not _ensure:
                scene.ids.append(server.id)
    box.faults.add(*call.rules)
    return call, scene


async def ended(task: asyncio.Task[Any], within: float) -> BaseException | None:
    """Return how the call ended, which has to be soon."""
    done, _ = await asyncio.wait([task], timeout=within)
    assert done, f"still running {within} s later: {task.get_stack()}"
    if task.cancelled():
        return asyncio.CancelledError()
    error = task.exception()
    assert error is None or isinstance(error, VpsOrgError), repr(error)
    return error


async def completes(vps: Client, scene: Scene) -> None:
    """Check that an `ensure` completes the fleet, without a second server of any name."""
    scene.box.faults.clear()
    report = await vps.fleet.ensure(scene.wanted, timeout=TIMEOUT)
    assert kinds(report) == {"Succeeded": 3}, report.outcomes
    assert duplicates(scene.box) == []
    assert {server.name for server in scene.box.servers} >= scene.names


async def silent(box: Sandbox) -> None:
    """Check that requests have stopped: no wait, no search and no subscription is left."""
    await asyncio.sleep(5)  # requests in flight may still arrive
    asked = len(box.requests)
    await asyncio.sleep(100)
    assert len(box.requests) == asked, box.requests[asked:]


async def all_places_free(vps: Client, box: Sandbox) -> None:
    """Check that two requests run concurrently, which is what the gate allows."""
    (server,) = box.world.add(name="probe")
    await vps.servers.get(server.id)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(vps.servers.get(server.id), vps.servers.get(server.id))
    assert asyncio.get_running_loop().time() - began < 1.5 * LATENCY


def planned(loop: SteppingLoop, moment: Moment, first: Callable[[], object], task: asyncio.Task[Any]) -> None:
    """Plan ``first`` at its moment; then a cancellation of ``task``, or of everything."""
    me = asyncio.current_task()
    assert me is not None
    second = (lambda: shut_down(me)) if moment.second == "shut down" else task.cancel
    loop.plan(moment.first, first)
    if moment.later:
        loop.plan(moment.first + moment.later, lambda: None if task.done() else second())


def cancelled_call(name: str, moment: Moment) -> bool:
    """Cancel a call and keep the client. False where the call had ended before."""

    async def play() -> bool:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppingLoop)
        async with Sandbox(clock=loop.time, latency=LATENCY, durations=QUICK) as box:
            call, scene = prepared(name, box)
            async with client(box, max_in_flight=2, on_event=scene.heard.append) as vps:
                task = asyncio.create_task(call.begin(scene, vps))
                cancelled_at = 0.0

                def cancel() -> None:
                    nonlocal cancelled_at
                    cancelled_at = loop.time()
                    task.cancel()

                planned(loop, moment, cancel, task)
                error = await ended(task, TIMEOUT)
                took = loop.time() - cancelled_at
                loop.forget()
                if not isinstance(error, asyncio.CancelledError):
                    return False
                assert took <= (DELETES if call.deletes else AT_ONCE)
                await asyncio.sleep(0.01)
                assert ours() == set(), ours()
                await silent(box)
                scene.check(error)
                await all_places_free(vps, box)
                await completes(vps, scene)
                return True

    return bool(run(play))


def _client_ends(name: str, moment: Moment, *, closed: bool) -> bool:
    async def play() -> bool:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppingLoop)
        async with Sandbox(clock=loop.time, latency=LATENCY, durations=QUICK) as box:
            call, scene = prepared(name, box)
            (slow,) = box.world.add(name="slow", status="provisioning")
            box.world.set_status(slow.id, "provisioning", seconds=1e6)
            opened = len(os.listdir("/dev/fd"))
            close, others = asyncio.Event(), []

            async def owner() -> None:
                async with client(box, max_in_flight=2, on_event=scene.heard.append) as vps:
                    others.append(asyncio.create_task(vps.wait_until(slow.id, "active", timeout=1e5)))
                    if closed:
                        others.append(asyncio.create_task(call.begin(scene, vps)))
                        await close.wait()
                    else:
                        await call.begin(scene, vps)

            task = asyncio.create_task(owner())
            planned(loop, moment, close.set if closed else task.cancel, task)
            error = await ended(task, TIMEOUT)
            loop.forget()
            early = (closed and bool(others) and not others[-1].done()) or isinstance(
                error, asyncio.CancelledError
            )
            errors = [await ended(other, DELETES) for other in others]
            assert None not in errors[:1]
            await asyncio.sleep(0.01)
            assert ours() == set(), ours()
            await silent(box)
            assert len(os.listdir("/dev/fd")) == opened
            scene.check(errors[-1] if closed and errors else error)
            async with client(box) as vps:
                await completes(vps, scene)
            return early

    return bool(run(play))


def cancelled_owner(name: str, moment: Moment) -> bool:
    """Cancel the task that runs the call and then closes the client. False where it had ended before."""
    return _client_ends(name, moment, closed=False)


def closed_under(name: str, moment: Moment) -> bool:
    """Close the client under the call, and cancel the closing task. False where the call had ended before."""
    return _client_ends(name, moment, closed=True)


Way: TypeAlias = Callable[[str, Moment], bool]

WAYS: dict[str, Way] = {
    "the call is cancelled": cancelled_call,
    "the client's owner is cancelled": cancelled_owner,
    "the client is closed": closed_under,
}


def moments_of(step: int) -> Iterator[Moment]:
    """A step alone, and with a second of each kind some steps later: the distance differs from step to step."""
    yield Moment(step)
    for number, second in enumerate(SECONDS):
        yield Moment(step, LATER[(step + number) % len(LATER)], second)
