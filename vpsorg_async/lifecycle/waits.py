"""All open waits together: who joins and leaves, what a poll does to them, how they end. No I/O, no clock."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Iterator

from ..codec import StatusRow
from ..config import WaitPolicy
from ..errors import DecodeError, VpsOrgError
from ..records import Server, ServerId
from .contract import GONE, MOVING, Evidence
from .durations import Kind
from .entry import Deliver, Entries, Entry, OnEnd
from .receipts import Journal, Receipt
from .schedule import Schedule
from .snapshots import ListSnapshot, Roll, ServerStuck
from .wait import Ended, Reached, Verdict, Wait

__all__ = ["Waits"]


class Waits:
    """Every time is an argument, in monotonic seconds. ``on_wait`` is told of each that joins.

    What is shown to all waits of a server is shown by an iterator, one step for each: thousands can wait for one
    server, and whoever goes through them yields to the event loop in between.
    """

    def __init__(
        self,
        policy: WaitPolicy,
        journal: Journal,
        schedule: Schedule,
        on_wait: Callable[[Wait], OnEnd] | None = None,
    ) -> None:
        self._policy = policy
        self._journal = journal
        self._schedule = schedule
        self._on_wait = on_wait
        self.entries = Entries()
        self._unproven: dict[str, tuple[float, float]] = {}

    def join(self, wait: Wait, deliver: Deliver, now: float) -> float:
        """A wait begins; returns when it wants its first poll. ``deliver`` is given its verdict."""
        on_end = None if self._on_wait is None else self._on_wait(wait)
        cohort = self._schedule.add(self._kind(wait), wait.since)
        self.entries.add(Entry(wait, deliver, cohort, wait.since, on_end))
        return now + self._schedule.first(cohort, now)

    def leave(self, wait: Wait) -> bool:
        """Nobody wants its verdict any more; False if it has ended."""
        entry = self.entries.of_wait(wait)
        if entry is not None:
            self._end(entry, None)
        return entry is not None

    def acknowledged(self, receipt: Receipt, at: float) -> bool:
        """A command on a server was acknowledged: its waits begin anew. False where there are none."""
        entries = self.entries.disturbed(str(receipt.server_id))
        for entry in entries:
            entry.wait.acknowledge(receipt, at)
            old, entry.cohort = entry.cohort, self._schedule.add(self._kind(entry.wait), at)
            self._schedule.remove(old)
            entry.undone_at = at
            entry.stuck = False
        return bool(entries)

    def show(
        self, snapshot: ListSnapshot, roll: Roll, position: int, status: StatusRow | None, now: float
    ) -> Iterator[None]:
        """Show a row of the list under way to the waits for that server, and to the journal."""
        asked, key = snapshot.requested_at, roll.ids[position]
        entries = self.entries.shown(key)
        if not entries:
            self._journal.saw(status or snapshot.status(position), asked, listed=True)
            return
        try:
            server = snapshot.record(position)
        except DecodeError as error:
            # it stays with the waits: its frames hold the whole poll
            unfit = error.with_traceback(None)
            self._journal.saw(status or snapshot.status(position), asked, listed=True)
            for entry in entries:
                self._settle(entry, entry.wait.failed(unfit, now))
                yield
        else:
            self._journal.saw(server, asked, listed=True)
            for entry in entries:
                self._settle(entry, entry.wait.observe(server, asked, now), asked)
                yield
        self.entries.told(key, entries, roll)

    def read(self, server_id: ServerId, server: Server, asked: float, now: float) -> Iterator[None]:
        """A server was read by its id."""
        self._journal.saw(server, asked)
        for entry in self._answered(str(server_id)):
            self._settle(entry, entry.wait.observe(server, asked, now), asked)
            yield

    def absent(self, server_id: ServerId, asked: float, now: float, *, repeated: bool) -> Iterator[bool]:
        """The API says that a server does not exist. True for each wait that would end if that were ``repeated``."""
        for entry in self._answered(str(server_id)):
            verdict = entry.wait.absent(asked, now)
            if verdict is None or repeated:
                self._settle(entry, verdict, asked)
            yield verdict is not None and not repeated

    def failed(self, key: str, error: VpsOrgError, now: float) -> Iterator[None]:
        """A poll of that server failed."""
        for entry in self._answered(key):
            self._settle(entry, entry.wait.failed(error, now))
            yield

    def unproven(
        self, server_id: ServerId, error: VpsOrgError, asked: float, now: float, *, only: bool
    ) -> Iterator[None]:
        """A read was answered by a 404 that may be a gateway's. ``only``: no other form of the API is known.

        Then the same answer through `grace`, and a whole list without the server, are believed together.
        """
        key = str(server_id)
        since, unlisted = self._unproven.get(key, (asked, -math.inf))
        yield from self.failed(key, error, now)
        if key not in self.entries.keys:
            return
        self._unproven[key] = (since, unlisted)
        if only and now - since >= self._policy.grace and unlisted >= since:
            for entry in self.entries.disturbed(key):
                self._settle(entry, entry.wait.absent(asked, now), asked)
                yield

    def unlisted(self, places: Container[str], asked: float) -> None:
        """A whole list was read that left at that time."""
        for key, (since, _) in self._unproven.items():
            if key not in places:
                self._unproven[key] = (since, asked)

    def wants_list(self, now: float) -> bool:
        """Whether a server's absence hangs on a whole list that lacks it."""
        grace = self._policy.grace
        return any(now - since >= grace and unlisted < since for since, unlisted in self._unproven.values())

    def _answered(self, key: str) -> tuple[Entry, ...]:
        """The waits for a server of which something else was heard than a gateway's 404."""
        self._unproven.pop(key, None)
        return self.entries.disturbed(key)

    def expire(self, entry: Entry, now: float, polled_at: float | None) -> None:
        """The time of a wait may be up. ``polled_at`` is when its last poll left, None: that one takes too long."""
        if entry not in self.entries or (polled_at is not None and entry.wait.begun > polled_at):
            return  # it has ended meanwhile, or had no poll of its own yet
        self.entries.disturb(entry)
        if polled_at is None:
            self._settle(entry, entry.wait.failed(VpsOrgError("the last poll took too long"), now))
        self._settle(entry, entry.wait.expire(now))

    def stuck(self, entry: Entry, now: float) -> ServerStuck | None:
        """What is to be told of a wait that takes longer than its kind, the first time that it does."""
        expected = self._schedule.stuck_after(entry.cohort[0])
        if entry.stuck or now - entry.wait.since <= expected:
            return None
        entry.stuck = True
        return ServerStuck.of(entry.wait, now, expected)

    def end_all(self, error: BaseException, ended: VpsOrgError) -> None:
        """Polling has ended, and every wait with it. Raises what a tracer raised, once all of them have ended.

        An error that stops the event loop is handed to one of them, and ``ended`` to the others.
        """
        stop: BaseException | None = None
        for entry in self.entries:
            # each of their callers gets an exception of its own to raise
            try:
                mine = copy.copy(error).with_traceback(error.__traceback__)
            except Exception:
                mine = error  # one that can't be copied is no reason to leave anybody waiting
            try:
                self._end(entry, Ended(mine) if isinstance(mine, VpsOrgError) else mine)
            except BaseException as raised:
                stop = stop or raised
            if isinstance(error, KeyboardInterrupt | SystemExit):
                error = ended
        if stop is not None:
            raise stop

    def _settle(self, entry: Entry, verdict: Verdict | None, asked: float | None = None) -> None:
        """End a wait where there is a verdict; ``asked`` is when the poll left that gave it."""
        if verdict is None:
            entry.undone_at = entry.undone_at if asked is None else max(entry.undone_at, asked)
            return
        if entry not in self.entries:
            return
        wait = entry.wait
        if isinstance(verdict, Reached) and asked is not None and verdict.server.status not in MOVING:
            if verdict.server.status == GONE and self._journal.is_open(wait.server_id, wait.receipt):
                self._journal.gone(wait.server_id, asked)
            self._journal.fulfilled(wait.server_id, wait.receipt)
            took = entry.took(asked, 4 * self._policy.min_interval)
            if took is not None and verdict.evidence is not Evidence.ASSUMED:
                self._schedule.sighted(entry.cohort, took)
        self._end(entry, verdict)

    def _end(self, entry: Entry, verdict: Verdict | BaseException | None) -> None:
        """Take a wait out, and hand over its verdict; None: it was left."""
        if not self.entries.remove(entry):
            return
        self._schedule.remove(entry.cohort)
        if str(entry.wait.server_id) not in self.entries.keys:
            self._unproven.pop(str(entry.wait.server_id), None)
        try:
            if verdict is not None:
                entry.deliver(entry.wait, verdict)
        finally:
            if entry.on_end is not None:
                entry.on_end(verdict if isinstance(verdict, Reached | Ended) else None, entry.undone_at)

    def _kind(self, wait: Wait) -> Kind:
        mine = self._journal.receipt(wait.server_id)
        if mine is None or mine[0] != wait.receipt:
            return ("", "", "")  # another process's command: how long ago it was, nobody knows
        known = self._journal.known(wait.server_id)
        return (wait.operation, known.plan, known.location) if known is not None else (wait.operation, "", "")
