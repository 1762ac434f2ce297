"""Any course of events: waits, commands, and a provider with lagging reads, compared with what was really true.

The machine knows the truth at every moment, and checks each wait that ends: it never succeeds on a state that did not
come after the command, is never late, and is never lost. At the end the rules are broken one by one, and the machine
must notice each time.

Left out is what no client can distinguish (see `vpsorg_async.lifecycle.wait`): commands on one server that follow each
other within the lag, changes by others shortly before a command, and replicas that lag differently without a moving
``updated_at``.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.lifecycle.harness import Harness
from tests.lifecycle.model import BECOMES, Account, Truth
from vpsorg_async import Evidence, Receipt, WaitOutcome, errors
from vpsorg_async.lifecycle import account, staleness
from vpsorg_async.lifecycle.calls import Waiter
from vpsorg_async.lifecycle.commands import SETTLED
from vpsorg_async.lifecycle.grounds import Grounds
from vpsorg_async.lifecycle.poller import LAST_POLL
from vpsorg_async.lifecycle.wait import Wait
from vpsorg_async.virtual_time import LoopClock, VirtualTimeLoop

WHICH = st.integers(0, 5)
TARGETS = ["active", "stopped", "suspended", "settled", "gone", "rebooting", ("active", "gone")]


class JumpingClock(LoopClock):
    """A clock whose time of day is wrong, and jumps."""

    def __init__(self) -> None:
        self.skew = 0.0

    def wall(self) -> datetime:
        return super().wall() + timedelta(seconds=self.skew)


@attrs.define(eq=False)
class Waiting:
    """A wait in progress, and its parameters."""

    number: int
    began: float
    timeout: float
    task: asyncio.Task[WaitOutcome]
    harness: Harness
    grounds: float
    """When the command that it began with was applied."""
    ended: float = -1.0
    cancelled: bool = False


class Waits(RuleBasedStateMachine):
    """Every rule is something that the user, the provider or the network may do."""

    checked: ClassVar[int] = 0
    # how far reads lag, whether by different times, and what updated_at does
    reads: ClassVar[list[tuple[float, bool, Any]]] = [
        (0.0, False, "moves"),
        *((lag, False, stamp) for lag in (0.7, 1.5, 4.0) for stamp in ("moves", "frozen", "absent")),
        *((lag, True, "moves") for lag in (0.7, 1.5, 4.0)),
    ]

    @initialize(which=st.integers(0, 100), seed=st.integers(0, 1000))
    def begin(self, which: int, seed: int) -> None:
        lag, jumping, updated_at = self.reads[which % len(self.reads)]
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.loop = self.runner.get_loop()
        self.complaints: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(repr(context)))
        self.account = Account(lag=lag, jumping=jumping, updated_at=updated_at, seed=seed)
        self.clock = JumpingClock()
        self.waiting: list[Waiting] = []
        self.receipts: list[tuple[Receipt, float]] = []
        self.mine, self.others = self.run(self._clients())
        for word in ("active", "active", "stopped"):
            self.account.add(self.now, word)

    async def _clients(self) -> tuple[Harness, Harness]:
        account: Any = self.account
        stages = Harness(account), Harness(account)
        for harness in stages:
            harness.clock = harness.poller._clock = harness.waiter._clock = self.clock
        return stages

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(doing)

    @property
    def now(self) -> float:
        return self.loop.time()

    # what the user does

    @rule(
        seconds=st.sampled_from([0.0, 2.0, 12.0, 130.0]),
        hidden=st.sampled_from([0.0, 0.0, 3.0, 20.0]),
        then=st.sampled_from([None, "active", "active", "settled", "gone"]),
    )
    @precondition(lambda self: len(self.account.servers) < 7)
    def create(self, seconds: float, hidden: float, then: str | None) -> None:
        number = self.account.create(self.now, seconds, hidden)
        self._acknowledged(number, "create", "provisioning")
        self._wait(self.mine, number, then, 300.0)

    @rule(
        which=WHICH,
        operation=st.sampled_from(["start", "stop", "reboot", "reboot", "reboot", "delete"]),
        seconds=st.sampled_from([0.0, 0.2, 2.0, 3.5, 9.0]),
        told=st.booleans(),
        then=st.sampled_from([None, "usual", "usual", "settled"]),
    )
    def command(self, which: int, operation: str, seconds: float, told: bool, then: str | None) -> None:
        """A command that can be distinguished from what came before it, and mostly a wait for it."""
        lag = self.account.lag + self.account.latency
        able = [
            number
            for number, server in self.account.servers.items()
            if self.account.takes(number, operation, self.now)
            and self.now > max(server.visible, server.commanded + lag, server.meddled + lag + account.FRESH)
        ]
        if not able:
            return
        number = able[which % len(able)]
        self.account.act(number, operation, self.now, seconds)
        self._acknowledged(
            number, operation, BECOMES[operation][0] if operation != "delete" and told else None
        )
        usual = "gone" if operation == "delete" else BECOMES[operation][1]
        self._wait(self.mine, number, usual if then == "usual" else then, 300.0)

    def _server(self, which: int) -> tuple[int, Truth]:
        number = 1 + which % len(self.account.servers)
        return number, self.account.servers[number]

    def _acknowledged(self, number: int, operation: str, status: str | None) -> None:
        async def answered() -> Receipt:
            await asyncio.sleep(0.05)
            receipt: Receipt = self.mine.command(number, operation, status)
            return receipt

        receipt, server = self.run(answered()), self.account.servers[number]
        server.acknowledged.append((self.now, server.commanded))
        self.receipts.append((receipt, server.commanded))

    @rule(which=WHICH, wanted=st.sampled_from(TARGETS), timeout=st.sampled_from([0.4, 5.0, 40.0, 300.0]))
    @precondition(lambda self: len(self.waiting) < 12)
    def wait(self, which: int, wanted: Any, timeout: float) -> None:
        self._wait(self.mine, self._server(which)[0], wanted, timeout)

    @rule(which=st.integers(0, 20), wanted=st.sampled_from(TARGETS))
    @precondition(lambda self: self.receipts and len(self.waiting) < 12)
    def wait_elsewhere(self, which: int, wanted: Any) -> None:
        """Another process waits on a receipt, if it is of the last command on its server."""
        receipt, commanded = self.receipts[which % len(self.receipts)]
        if self.account.servers[int(receipt.server_id)].commanded == commanded:
            self._wait(self.others, pickle.loads(pickle.dumps(receipt)), wanted, 300.0)

    def _wait(self, harness: Harness, subject: Any, wanted: Any, timeout: float) -> None:
        async def wait() -> WaitOutcome:
            try:
                return await harness.wait(subject, wanted, timeout)
            finally:
                waiting.ended = self.now

        if wanted is not None:
            number = int(getattr(subject, "server_id", subject))
            grounds = self.account.servers[number].commanded
            waiting = Waiting(number, self.now, timeout, self.loop.create_task(wait()), harness, grounds)
            self.waiting.append(waiting)

    @rule(which=st.integers(0, 20))
    @precondition(lambda self: self.waiting)
    def cancel(self, which: int) -> None:
        waiting = self.waiting[which % len(self.waiting)]
        waiting.cancelled = waiting.task.cancel() or waiting.cancelled

    @rule()
    def glance(self) -> None:
        self.run(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(errors.VpsOrgError):
            await self.mine.poller.glance(list(self.account.servers))

    # what others do

    @rule(
        which=WHICH,
        what=st.sampled_from(["suspend", "vanish", "migrate", "migrate"]),
        seconds=st.sampled_from([0.3, 5.0]),
    )
    def meddle(self, which: int, what: str, seconds: float) -> None:
        _, server = self._server(which)
        if what == "vanish":
            server.gone = min(server.gone, self.now)
        elif server.at(self.now) is not None:
            course = [(0.0, "suspended")] if what == "suspend" else [(0.0, "migrating"), (seconds, "active")]
            server.set(self.now, *((self.now + later, word) for later, word in course))
            server.meddled = self.now + course[-1][0]

    @rule(what=st.sampled_from(["outage", "slow", "clock"]), seconds=st.sampled_from([2.0, 20.0, 60.0]))
    def trouble(self, what: str, seconds: float) -> None:
        if what == "outage":
            self.account.down_until = self.now + seconds
        elif what == "slow":
            self.account.slow_until = self.now + seconds
        else:
            self.clock.skew = 60 * (seconds - 20)

    # time passes, and waits that ended are compared with the truth

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.6, 0.6, 1.5]))
    def a_moment(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        self._check()

    @rule(seconds=st.sampled_from([2.0, 5.0, 20.0, 100.0]))
    def a_while(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        self._check()

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        try:
            self.run(asyncio.sleep(600))
            assert [waiting for waiting in self.waiting if not waiting.task.done()] == [], "a waiter was lost"
            self._check()
            for harness in (self.mine, self.others):
                self.run(harness.poller.close())
            assert asyncio.all_tasks(self.loop) == set()
            assert self.complaints == []
        finally:
            self.runner.close()

    def _check(self) -> None:
        for waiting in [each for each in self.waiting if each.task.done()]:
            self.waiting.remove(waiting)
            type(self).checked += 1
            server = self.account.servers[waiting.number]
            late = waiting.ended - waiting.began - waiting.timeout
            if waiting.task.cancelled():
                assert waiting.cancelled
                continue
            # one that began during another poll has a poll of its own after that, with a time of its own
            slow = self.account.slow_until > waiting.began - 13
            assert late <= (2 * LAST_POLL if slow else LAST_POLL) + 0.6, f"{late} s late"
            error = waiting.task.exception()
            if error is None:
                self._check_success(waiting, waiting.task.result(), server)
            elif isinstance(error, errors.WaitTimeoutError):
                assert late >= 0
            else:
                assert isinstance(error, errors.UnexpectedStatusError | errors.ServerGoneError), error
                self._check_error(waiting, error, server)

    def _shown_since(self, waiting: Waiting) -> float:
        """The earliest moment that the poll which ended the wait can have shown."""
        slow = 12.0 if self.account.slow_until > waiting.ended - 13 else 0.0
        return waiting.ended - self.account.lag - self.account.latency - slow - 0.01

    def _check_success(self, waiting: Waiting, outcome: WaitOutcome, server: Truth) -> None:
        assert outcome.server is not None
        word = str(outcome.server.status)
        # another process knows of no later command than that of its receipt
        commanded = server.grounds(waiting.ended) if waiting.harness is self.mine else waiting.grounds
        told = f"{word} ({outcome.evidence}) at {waiting.ended}, commanded {commanded}: {server}"
        if word == "gone":
            hidden = waiting.ended < server.visible and waiting.ended - server.born < 60
            assert server.gone <= waiting.ended, told
            assert not hidden or server.gone < waiting.ended, told
            return
        assert server.was(word, self._shown_since(waiting), waiting.ended), f"not true of late: {told}"
        if outcome.evidence is Evidence.ASSUMED:
            assert waiting.ended - commanded >= self.mine.policy.quiet, f"too soon: {told}"
        elif commanded > -1:
            assert server.became(word, commanded, waiting.ended), f"not after the command: {told}"

    def _check_error(self, waiting: Waiting, error: errors.WaitError, server: Truth) -> None:
        if isinstance(error, errors.ServerGoneError):
            unseen = waiting.ended < server.visible
            assert server.gone <= waiting.ended or unseen, f"it is there: {server}"
            return
        assert error.last_seen is not None
        word = str(error.last_seen.status)
        assert word in SETTLED
        assert server.was(word, self._shown_since(waiting), waiting.ended), f"not {word} of late: {server}"


COURSES = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_any_course_of_events() -> None:
    """No wait succeeds wrongly, is late or is lost, whatever the provider, the network and other waiters do."""
    run_state_machine_as_test(Waits, settings=COURSES)

    # enough waits ended for the rules to have been tried; the number depends on the drawn examples
    assert Waits.checked > 200


def _no_receipts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(account.Account, "receipt", lambda self, server_id: None)


def _stale_reads_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(staleness, "earlier", lambda first, second: False)


def _the_word_is_enough(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Grounds, "was_before", lambda self, word: False)


def _no_deadline(patch: pytest.MonkeyPatch) -> None:
    make = Waiter.make

    def for_ever(self: Waiter, subject: Any, target: Any, timeout: float) -> Wait:
        return make(self, subject, target, timeout + 1e6)

    patch.setattr(Waiter, "make", for_ever)


def _no_patience(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Wait, "_held_long", lambda self, now: self._held_since is not None)


class LaggingReplicas(Waits):
    """Reads that go back and forth in time."""

    reads: ClassVar[list[tuple[float, bool, Any]]] = [(4.0, True, "moves")]


@pytest.mark.parametrize(
    ("broken", "machine"),
    [
        (_no_receipts, Waits),
        (_the_word_is_enough, Waits),
        (_no_patience, Waits),
        (_stale_reads_count, LaggingReplicas),
        (_no_deadline, Waits),
    ],
)
def test_the_machine_notices_a_broken_rule(
    broken: Any, machine: type[Waits], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of the test: with one of the rules switched off, the machine finds a course of events that fails."""
    broken(monkeypatch)
    find = settings(COURSES, max_examples=300, phases=[Phase.generate], database=None)

    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=find)
