"""All open waits together: who joins and leaves, what a poll does to them, how they end. No I/O, no clock."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Container, Iterator, Mapping, Set

from ..errors import DecodeError, VpsOrgError
from ..records import Server, ServerId
from ..specs import key_of
from .account import Account
from .commands import MOVING
from .contract import Evidence
from .durations import Durations, Kind
from .events import ServerStuck
from .receipts import Receipt
from .schedule import Schedule
from .sightings import NOT_KNOWN
from .snapshots import Shown
from .wait import Ended, Reached, Verdict, Wait
from .wait_index import Deliver, OnEnd, OpenWait, WaitIndex

__all__ = ["WaitRegistry"]


class WaitRegistry:
    """Who waits. Every time is an argument, in monotonic seconds; ``on_wait`` is called with each wait that joins.

    What happens to all waits of a server is done by an iterator, one step for each: thousands can wait for one server,
    and the caller yields to the event loop in between.
    """

    def __init__(
        self,
        account: Account,
        durations: Durations,
        on_wait: Callable[[Wait], OnEnd] | None = None,
    ) -> None:
        self._schedule = Schedule(account.policy, durations)
        self._account = account
        self._on_wait = on_wait
        self._index = WaitIndex()
        self._unproven: dict[ServerId, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._index)

    def __iter__(self) -> Iterator[OpenWait]:
        return iter(self._index)

    @property
    def keys(self) -> Set[ServerId]:
        """The servers that are waited for."""
        return self._index.keys

    @property
    def restless(self) -> Mapping[ServerId, None]:
        """Those that are to be shown by the next list even if it shows them unchanged."""
        return self._index.restless

    def ids(self) -> list[ServerId]:
        """Return the ids of the servers that are waited for."""
        return [self._index.any_of(key).wait.server_id for key in self._index.keys]

    def first_deadline(self) -> float:
        """Return the earliest deadline; infinity where there is no wait."""
        return self._index.first_deadline()

    # -- joining and leaving ----------------------------------------------------------------------------------------

    def join(self, wait: Wait, deliver: Deliver, now: float) -> float:
        """Add a wait, whose verdict ``deliver`` is given; returns when it wants its first poll."""
        on_end = None if self._on_wait is None else self._on_wait(wait)
        cohort = self._schedule.add(self._kind(wait), wait.since)
        self._index.add(OpenWait(wait, deliver, cohort, wait.since, on_end))
        return now + self._schedule.first(cohort, now)

    def leave(self, wait: Wait) -> bool:
        """Take a wait out without a verdict; returns False if it has ended."""
        entry = self._index.of_wait(wait)
        if entry is not None:
            self._end(entry, None)
        return entry is not None

    def acknowledged(self, receipt: Receipt, at: float) -> bool:
        """A command on a server was acknowledged: its waits begin again. Returns False where there are none."""
        entries = self._wake(key_of(receipt.server_id))
        for entry in entries:
            entry.wait.acknowledge(receipt, at)
            old, entry.cohort = entry.cohort, self._schedule.add(self._kind(entry.wait), at)
            self._schedule.remove(old)
            entry.undone_at = at
            entry.stuck = False
        return bool(entries)

    # -- lists ------------------------------------------------------------------------------------------------------

    def listing(self, news: Set[ServerId] | None) -> Iterator[None]:
        """A list is about to be applied; ``news`` are the keys that it shows otherwise, None: everything is news."""
        shown = self.keys if news is None else self.keys & news
        # no set of them all: ten thousand keys would take half a megabyte
        for key in [key for key in shown if key not in self.restless]:
            yield
            self._wake(key)

    def show(self, shown: Shown, asked: float, now: float) -> Iterator[None]:
        """Show the waits for a server its row of the list that was requested at ``asked``."""
        for entry in self._waits(shown.key):
            try:
                verdict = entry.wait.observe(shown, asked, now, listed=True)
            except DecodeError as error:
                # the wait keeps it: its frames hold the whole list
                verdict = entry.wait.failed(error.with_traceback(None), now, listed=True)
                self._settle(entry, verdict)
            else:
                self._settle(entry, verdict, asked)
            yield
        self._index.shown(shown.key)

    def unlisted(
        self, places: Container[ServerId], asked: float, *, whole: bool
    ) -> list[tuple[OpenWait, ...]]:
        """Return the waits for servers that a list lacks; ``whole``: nothing else is known to be lacking in it."""
        if whole:
            for key, (since, _) in self._unproven.items():
                if key not in places:
                    self._unproven[key] = (since, asked)
        # a server that is not restless was in the last list, and would be news if it were not in this one
        missing = [self._wake(key) for key in tuple(self.restless) if key not in places]
        for entries in missing:
            for entry in entries:
                entry.wait.unlisted()
        return missing

    # -- reads by id ------------------------------------------------------------------------------------------------

    def read(self, server_id: ServerId, server: Server, asked: float, now: float) -> Iterator[None]:
        """A server was read by its id."""
        for entry in self._answered(key_of(server_id)):
            self._settle(entry, entry.wait.observe(server, asked, now), asked)
            yield

    def absent(self, server_id: ServerId, asked: float, now: float, *, repeated: bool) -> Iterator[bool]:
        """The API says that a server does not exist. True for each wait that would end if that were ``repeated``."""
        for entry in self._answered(key_of(server_id)):
            verdict = entry.wait.absent(asked, now)
            if verdict is None or repeated:
                self._settle(entry, verdict, asked)
            yield verdict is not None and not repeated

    def failed(self, key: ServerId, error: VpsOrgError, now: float) -> Iterator[None]:
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
        key = key_of(server_id)
        since, unlisted = self._unproven.get(key, (asked, -math.inf))
        yield from self.failed(key, error, now)
        if key not in self.keys:
            return
        self._unproven[key] = (since, unlisted)
        if only and now - since >= self._account.policy.grace and unlisted >= since:
            for entry in self._waits(key):
                self._settle(entry, entry.wait.absent(asked, now), asked)
                yield

    def wants_list(self, now: float) -> bool:
        """Whether a server's absence hangs on a whole list that lacks it."""
        grace = self._account.policy.grace
        return any(now - since >= grace and unlisted < since for since, unlisted in self._unproven.values())

    def _answered(self, key: ServerId) -> Iterator[OpenWait]:
        """Return the waits for a server that was answered with something else than a gateway's 404."""
        self._unproven.pop(key, None)
        return self._waits(key)

    def _waits(self, key: ServerId) -> Iterator[OpenWait]:
        """Return the waits for a server to which something happens, one for each step.

        A wait that was left between two steps, in which the event loop ran, is passed over.
        """
        return (entry for entry in self._wake(key) if entry.wait.is_open)

    def _wake(self, key: ServerId) -> tuple[OpenWait, ...]:
        return self._index.wake(key, self._account.listed_at)

    # -- time -------------------------------------------------------------------------------------------------------

    def expire(self, entry: OpenWait, now: float, polled_at: float | None) -> None:
        """The time of a wait may be up. ``polled_at`` is when its last poll left, None: that one takes too long."""
        if not entry.wait.is_open or (polled_at is not None and entry.wait.begun > polled_at):
            return  # it has ended meanwhile, or had no poll of its own yet
        self._wake(key_of(entry.wait.server_id))
        if polled_at is None:
            self._settle(entry, entry.wait.failed(VpsOrgError("the last poll took too long"), now))
        self._settle(entry, entry.wait.expire(now))

    def pause(self, now: float) -> float:
        """Return the seconds until the next poll for the waits; infinity where there are none."""
        return self._schedule.pause(now) if self._index else math.inf

    def overdue(self, now: float) -> bool:
        """Return whether any wait takes longer than its kind."""
        return self._schedule.overdue(now)

    def stuck(self, entry: OpenWait, now: float) -> ServerStuck | None:
        """Return the event for a wait that takes longer than its kind, the first time that it does."""
        wait, expected = entry.wait, self._schedule.stuck_after(entry.cohort[0])
        # the event loop runs between two waits that are asked about: it may have been left
        if entry.stuck or not wait.is_open or now - wait.since <= expected:
            return None
        entry.stuck = True
        seen = wait.last_seen
        return ServerStuck(
            server_id=wait.server_id,
            operation=wait.operation,
            status="" if seen is None else str(seen.status),
            seconds=now - wait.since,
            expected=expected,
        )

    def slowest(self, wait: Wait) -> float | None:
        """Return the longest that one of its kind ever took, in seconds; None where too little is known."""
        entry = self._index.of_wait(wait)
        return None if entry is None else self._schedule.slowest(entry.cohort[0])

    def end_all(self, error: BaseException, ended: VpsOrgError) -> None:
        """Polling has ended, and every wait with it. Raises what a tracer raised, once all of them have ended.

        An error that stops the event loop is handed to one of them, and ``ended`` to the others.
        """
        stop: BaseException | None = None
        for entry in self:
            # each of their callers gets an exception of its own to raise
            try:
                mine = copy.copy(error).with_traceback(error.__traceback__)
                mine.__cause__ = error.__cause__
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

    def _settle(self, entry: OpenWait, verdict: Verdict | None, asked: float | None = None) -> None:
        """End a wait where there is a verdict; ``asked`` is when the poll left that gave it."""
        if verdict is None:
            entry.undone_at = entry.undone_at if asked is None else max(entry.undone_at, asked)
            return
        wait = entry.wait
        if isinstance(verdict, Reached) and asked is not None and verdict.server.status not in MOVING:
            self._account.fulfilled(verdict.server, wait.receipt, asked)
            took = entry.took(asked, 4 * self._account.policy.min_interval)
            if took is not None and verdict.evidence is not Evidence.ASSUMED:
                self._schedule.sighted(entry.cohort, took)
        self._end(entry, verdict)

    def _end(self, entry: OpenWait, verdict: Verdict | BaseException | None) -> None:
        """Take a wait out, and hand over its verdict; None: it was left."""
        entry.wait.ended(verdict)
        last = self._index.remove(entry)
        self._schedule.remove(entry.cohort)
        if last:
            key = key_of(entry.wait.server_id)
            self._unproven.pop(key, None)
            self._account.release(key)
        try:
            if verdict is not None:
                entry.deliver(entry.wait, verdict)
        finally:
            if entry.on_end is not None:
                entry.on_end(verdict if isinstance(verdict, Reached | Ended) else None, entry.undone_at)

    def _kind(self, wait: Wait) -> Kind:
        mine = self._account.receipt(wait.server_id)
        if mine is None or mine[0] is not wait.receipt:
            return ("", "", "")  # another process's command: its age is unknown
        known = self._account.known(wait.server_id)
        plan, location = NOT_KNOWN if known is None else known.plan_and_location
        return (wait.operation, plan, location)
