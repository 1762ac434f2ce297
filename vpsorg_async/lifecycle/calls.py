"""The calls that wait or watch: each joins its waits to the shared poller, and awaits their verdicts."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

import attrs

from ..config import check_seconds
from ..errors import (
    ConfigurationError,
    NotFoundError,
    VpsOrgError,
    WaitError,
    is_absence,
)
from ..records import Seen, Server, ServerId
from ..shielding import apart, result_of, side_by_side
from ..specs import check_id, id_of, key_of
from ..timing import Clock
from .account import Account
from .commands import GONE, LEAVING, SETTLED
from .contract import Evidence, Target
from .poller import Poller
from .readiness import ReadyCheck, ReadyPolicy
from .ready_checks import READY, ReadyChecks, ReadyWait
from .receipts import Receipt
from .snapshots import ListNews
from .wait import Reached, Verdict, Wait
from .wakeup import yield_to_loop
from .watching import AccountChanges, ListMailbox, StatusChange, ends_polling

__all__ = ["WaitOutcome", "Waiter"]


@attrs.frozen(kw_only=True)
class WaitOutcome:
    """How one wait ended: ``server`` and ``evidence`` if the target was reached, ``error`` if it was not.

    ``seconds`` is how long the wait took, ``polls`` the number of polls that were made for it meanwhile. ``stage`` is
    how far the server came: its status once the target was reached, ``ready`` once its ready check passed too.
    """

    server_id: ServerId
    server: Server | None = None
    error: VpsOrgError | None = None
    evidence: Evidence | None = None
    timeline: tuple[Seen, ...] = ()
    polls: int = 0
    seconds: float = 0.0
    stage: str = ""

    @classmethod
    def of(cls, wait: Wait, verdict: Verdict, now: float) -> WaitOutcome:
        """Return the outcome of a wait that got this verdict."""
        reached = verdict if isinstance(verdict, Reached) else None
        return cls(
            server_id=wait.server_id,
            server=None if reached is None else reached.server,
            error=None if isinstance(verdict, Reached) else verdict.error,
            evidence=None if reached is None else reached.evidence,
            timeline=wait.timeline,
            polls=wait.polls,
            seconds=now - wait.started,
            stage="" if reached is None else str(reached.server.status),
        )


CONFIRMED_AT_ONCE = 8
"""Servers that a list lacks and that are read by id side by side."""


class _Promise(asyncio.Future[Verdict | BaseException]):
    """The future of a verdict, and its callback in one: ten thousand waits need no second object each."""

    def __call__(self, _: Wait, verdict: Verdict | BaseException) -> None:
        # a caller that was cancelled at this moment has not left its wait yet
        if not self.done():
            self.set_result(verdict)


def _id(subject: ServerId | Server | Receipt | None) -> ServerId:
    if subject is None:
        raise ConfigurationError(
            "a server id is a positive integer or a non-empty string, not None: receipt() returns None when no command "
            "is open; pass the id then"
        )
    return check_id(subject.server_id) if isinstance(subject, Receipt) else id_of(subject)


class Waiter:
    """Begins waits at the poller and awaits their verdicts."""

    def __init__(self, poller: Poller, account: Account, clock: Clock, checks: ReadyChecks) -> None:
        self.poller = poller
        self._checks = checks
        self._account = account
        self._clock = clock

    def check(self) -> None:
        """Raise `ConfigurationError` on another event loop, in another thread or after a fork."""
        self.poller.check_owner()

    def receipt(self, server_id: ServerId) -> Receipt | None:
        """Return the last acknowledged command on a server that no wait has seen done."""
        found = self._account.receipt(server_id)
        return None if found is None else found[0]

    def make(self, subject: ServerId | Server | Receipt, target: Target, timeout: float) -> Wait:
        """Return a wait for a server, grounded on a receipt, or on the last command that this client sent to it."""
        # a receipt of another process counts from now: the clocks of two machines do not show how old it is
        server_id, receipt = _id(subject), subject if isinstance(subject, Receipt) else None
        acknowledged, now = None, self._clock.now()
        mine = self._account.receipt(server_id)
        if mine is not None and (receipt is None or receipt == mine[0]):
            receipt, acknowledged = mine
        known = self._account.known(server_id)
        return Wait(
            server_id,
            target,
            self._account,
            now=now,
            timeout=timeout,
            receipt=receipt,
            acknowledged=acknowledged,
            newest=None if known is None else known.updated_at,
            careful=receipt is None and self._account.dropped,
        )

    def heading(self, server: Server) -> str:
        """Return the command of this client that is still open on a server; empty where none is.

        ``delete`` for a server that is shown as being deleted, whoever sent that command. ``gone`` for a server that
        was deleted and seen to be gone: only a list that lags can show it.
        """
        now, patience = self._clock.now(), self._account.policy.visibility
        gone_since = self._account.gone_since(server.id)
        if gone_since is not None and now - gone_since < patience:
            return GONE
        if server.status in LEAVING:
            return "delete"
        found = self._account.receipt(server.id)
        if found is None:
            return ""
        receipt, acknowledged = found
        # a settled status that stands for longer than reads lag is how things are, whatever the command was
        if receipt.operation != "delete" and now - acknowledged > patience and server.status in SETTLED:
            return ""
        return receipt.operation

    def saw_end_of(self, server: Server) -> bool:
        """Return whether this client deleted a server and saw that it is gone."""
        return self._account.gone_since(server.id) is not None

    def may_be_invisible(self, created_at: float) -> bool:
        """Return whether reads may not show yet a server that was created at that time (monotonic seconds)."""
        return self._clock.now() - created_at < self._account.policy.visibility

    async def wait(self, subject: ServerId | Server | Receipt, target: Target, timeout: float) -> WaitOutcome:
        """Wait for one server. Raises `WaitError`s, and what ends polling for good (401, 403)."""
        wait, verdict = self.begin(subject, target, timeout)
        try:
            return self.reached(wait, await verdict)
        finally:
            self.poller.leave(wait)

    def begin(
        self, subject: ServerId | Server | Receipt, target: Target, timeout: float
    ) -> tuple[Wait, asyncio.Future[Verdict | BaseException]]:
        """Begin a wait and return it with the future of its verdict: ten thousand waits save a coroutine each.

        The caller has to leave the wait at the poller in the end, also when it is cancelled.
        """
        wait, verdict = self.make(subject, target, check_seconds(timeout, "timeout")), _Promise()
        self.poller.join(wait, verdict)
        return wait, verdict

    def reached(self, wait: Wait, verdict: Verdict | BaseException) -> WaitOutcome:
        """Return the outcome of a wait that got this verdict. Raises the error that it ended with."""
        outcome = self.outcome(wait, verdict)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def outcome(self, wait: Wait, verdict: Verdict | BaseException) -> WaitOutcome:
        """Return the outcome of a wait, its error included. Raises only if polling itself broke."""
        if isinstance(verdict, BaseException):
            raise verdict
        return WaitOutcome.of(wait, verdict, self._clock.now())

    async def ready(
        self,
        outcome: WaitOutcome,
        check: ReadyCheck,
        policy: ReadyPolicy,
        *,
        operation: str = "",
        on_no: Callable[[Server, str], None] | None = None,
    ) -> WaitOutcome:
        """Repeat a check after a wait that was reached.

        Args:
            outcome: The outcome of the wait for the status.
            check: The check.
            policy: How it is repeated.
            operation: The command that was waited for; empty for none.
            on_no: Called with the server and each new reason why it is not ready.

        Returns:
            The outcome, with the server and the timeline as they are once the check has passed.

        Raises:
            VpsOrgError: What `ReadyChecks.wait` raises.
        """
        assert outcome.server is not None
        started = self._clock.now() - outcome.seconds
        timeline = list(outcome.timeline)
        wait = ReadyWait(check, policy, outcome.server, started, timeline, operation, on_no)
        server = await self._checks.wait(wait)
        seconds = self._clock.now() - started
        return attrs.evolve(outcome, server=server, timeline=tuple(timeline), seconds=seconds, stage=READY)

    async def watch(self, interval: float) -> AsyncGenerator[StatusChange, None]:
        """Yield every difference between lists. Raises what ends polling for good: 401, 403, a closed client."""
        mailbox = ListMailbox()
        changes = AccountChanges(self._account.policy.quiet)
        unproven: dict[ServerId, float] = {}
        self.poller.subscribe(mailbox.put, check_seconds(interval, "interval"))
        try:
            while True:
                self.check()
                news, blind = await mailbox.get()
                # report what the list shows before the servers that it lacks are read
                for change in changes.update(news, blind=blind):
                    yield change
                still = await self._still_there(changes.missing(), news, unproven)
                for change in changes.settle(still):
                    yield change
        finally:
            self.poller.unsubscribe(mailbox.put)

    async def _still_there(
        self, missing: Sequence[Server], news: ListNews, unproven: dict[ServerId, float]
    ) -> dict[ServerId, Server]:
        """Return the servers that a list lacks and that exist all the same, as far as can be known.

        ``unproven`` holds since when reads were answered by a 404 that may be a gateway's.
        """
        still: dict[ServerId, Server] = {}
        since, now = dict(unproven), self._clock.now()
        unproven.clear()
        queue = iter(missing)

        async def confirm() -> None:
            for server in queue:
                key = key_of(server.id)
                try:
                    _, still[key] = await self.poller.read(server.id)
                except VpsOrgError as error:
                    if ends_polling(error):
                        raise
                    if is_absence(error):
                        continue
                    if isinstance(error, NotFoundError):
                        unproven[key] = since.get(key, now)
                        if self.poller.believes(now - unproven[key]) and not news.list.lacks():
                            del unproven[key]
                            continue
                    # not known to be gone: the next poll shows it
                    still[key] = server

        await side_by_side(confirm() for _ in range(min(CONFIRMED_AT_ONCE, len(missing))))
        return still

    async def wait_all(
        self,
        subjects: Iterable[ServerId | Server | Receipt],
        target: Target,
        timeout: float,
        check: ReadyCheck | None = None,
        policy: ReadyPolicy | None = None,
    ) -> AsyncGenerator[WaitOutcome, None]:
        """Wait for several; yields each outcome as it settles, failures among them, and raises none of them."""
        self.check()
        seconds = check_seconds(timeout, "timeout")
        if isinstance(subjects, str | bytes | int | Server | Receipt):
            raise ConfigurationError("several servers are wanted here; for one use wait_until")
        if not isinstance(subjects, Iterable):
            raise ConfigurationError(f"several servers are wanted here, not {subjects!r}")
        wanted = list(subjects)
        for subject in wanted:
            _id(subject)
        waits: list[Wait] = []
        settled: asyncio.Queue[tuple[Wait, Verdict | BaseException] | asyncio.Task[WaitOutcome]] = (
            asyncio.Queue()
        )
        checking: set[asyncio.Task[WaitOutcome]] = set()
        context = contextvars.copy_context()

        def deliver(wait: Wait, verdict: Verdict | BaseException) -> None:
            if check is None or policy is None or not isinstance(verdict, Reached):
                settled.put_nowait((wait, verdict))
                return
            # checked from now on, however slowly the caller takes the outcomes
            outcome = WaitOutcome.of(wait, verdict, self._clock.now())
            task = context.run(apart, self._ready_outcome(outcome, check, policy, wait.operation))
            checking.add(task)
            task.add_done_callback(settled.put_nowait)

        try:
            for number, subject in enumerate(wanted):
                await yield_to_loop(number)
                # made when it joins: nothing that happens to its server goes past it
                waits.append(self.make(subject, target, seconds))
                self.poller.join(waits[-1], deliver)
            for _ in wanted:
                self.check()
                done = await settled.get()
                yield result_of(done) if isinstance(done, asyncio.Task) else self.outcome(*done)
        finally:
            for wait in waits:
                self.poller.leave(wait)
            for task in checking:
                task.cancel()
            await asyncio.gather(*checking, return_exceptions=True)

    async def _ready_outcome(
        self, outcome: WaitOutcome, check: ReadyCheck, policy: ReadyPolicy, operation: str
    ) -> WaitOutcome:
        """Repeat a check after a wait that was reached; returns its outcome, its error included."""
        started = self._clock.now() - outcome.seconds
        try:
            return await self.ready(outcome, check, policy, operation=operation)
        except VpsOrgError as error:
            timeline = error.timeline if isinstance(error, WaitError) and error.timeline else outcome.timeline
            return attrs.evolve(
                outcome, server=None, error=error, timeline=timeline, seconds=self._clock.now() - started
            )
