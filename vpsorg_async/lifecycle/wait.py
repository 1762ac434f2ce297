"""One wait, as a pure machine: polls go in, a verdict comes out. No I/O, no clock; every time is an argument.

Theory of operation. A wait is about one server, one target and, mostly, one command that was acknowledged before. A
poll is one reading of the server. It counts only if its request left after the command was acknowledged, since an
older one may show the state before it. Nor does it count if its request left before that of a poll that counted:
answers overtake each other. `Grounds` decides this. What a poll that counts shows is a `Reading`. `CONTRACT` says for
each reading what it does to the wait; the machine acts by that table, and the documentation prints it.

Evidence. A status proves nothing if the server had it before its command: ``active`` after a reboot, or after a stop
that is awaited until ``"settled"``. ``observed``: the status is another one, or the server was seen on its way.
``updated``: ``updated_at`` moved past the one known before. ``assumed``: neither, but the target held for ``quiet``
seconds. A server's timestamps are compared only with each other.

The machine can be wrong about:

- reads that lag by more than ``quiet``;
- an ``updated_at`` that the acknowledgement itself, or an edit just before the command, moved, in a read that still
  shows the old status;
- two commands on one server that follow each other within the time by which reads lag;
- replicas that lag by different times, where ``updated_at`` does not move.
"""

from __future__ import annotations

import copy
import functools
from datetime import datetime

import attrs

from ..config import WaitPolicy
from ..counting import counted
from ..errors import VpsOrgError, WaitError, is_forbidden
from ..records import Seen, Server, ServerId, ServerStatus
from ..specs import key_of
from .account import Account
from .commands import GONE
from .contract import CONTRACT, Evidence, Reading, Target
from .grounds import Grounds
from .receipts import Receipt
from .snapshots import Shown

__all__ = ["Ended", "Reached", "Verdict", "Wait"]

ABSENT = "absent"
"""The status in a timeline for a read by id that was answered by 404."""


@attrs.frozen
class Reached:
    """The target was reached; ``server`` is the record that showed it."""

    server: Server
    evidence: Evidence


@attrs.frozen
class Ended:
    """The wait ended without its target."""

    error: VpsOrgError


Verdict = Reached | Ended

PASSING = frozenset({Reading.MOVING, Reading.UNKNOWN})
"""What ends no wait: the server is on its way."""


@functools.lru_cache(64)
def _followed_by(seen: tuple[Seen, ...], at: float, status: str, note: str) -> tuple[Seen, ...]:
    """Return a timeline with one line more. Waits that saw the same at the same time share it."""
    return (*seen, Seen(at, status, note))


class Wait:
    """One wait. ``observe``, ``absent``, ``failed`` and ``expire`` give a verdict, or None: go on.

    It holds no record of its server while it is open: the account has it.
    """

    __slots__ = (
        "_account", "_elsewhere_since", "_grounds", "_held_since", "_last", "_moments", "_polls", "_seen", "deadline",
        "failed_polls", "last_failure", "server_id", "started", "steady", "target",
    )  # fmt: skip

    def __init__(
        self,
        server_id: ServerId,
        target: Target,
        account: Account,
        *,
        now: float,
        timeout: float,
        receipt: Receipt | None = None,
        acknowledged: float | None = None,
        newest: datetime | None = None,
        careful: bool = False,
    ) -> None:
        """Begin a wait.

        Args:
            server_id: the server.
            target: what is waited for.
            account: what is known of the account, with the `WaitPolicy`.
            now: the time, in monotonic seconds.
            timeout: seconds from now to the deadline.
            receipt, acknowledged, newest, careful: see `Grounds`.
        """
        self.server_id: ServerId = server_id
        self.target: Target = target
        self.started: float = now
        """When the wait began; its timeline counts from here."""
        self.deadline: float = now + timeout
        self.failed_polls: int = 0
        self.last_failure: VpsOrgError | None = None
        self.steady: bool = False
        """Whether another poll that shows the same changes nothing but the number of polls."""
        # by the clock: counted from the beginning of each wait, no two would share theirs
        self._moments: tuple[Seen, ...] = ()
        self._account: Account | None = account
        # each list is a poll of every wait, whether there is news of its server or not
        self._polls = -account.lists
        self._seen = False
        self._last: Server | None = None
        self._held_since: float | None = None
        self._elsewhere_since: float | None = None
        self._grounds = Grounds(
            now, receipt=receipt, acknowledged=acknowledged, newest=newest, careful=careful
        )

    def acknowledge(self, receipt: Receipt | None, at: float) -> None:
        """A command on this server was acknowledged at ``at``: what was seen so far proves nothing about it."""
        self._grounds.command(receipt, at)
        self.steady = False
        self._held_since = self._elsewhere_since = None

    def ended(self, verdict: Verdict | BaseException | None) -> None:
        """The wait is over, or was left (None): what it saw last and the number of its polls stay as they are."""
        if isinstance(verdict, Reached):
            self._last = verdict.server
        elif isinstance(verdict, Ended) and isinstance(verdict.error, WaitError):
            self._last = verdict.error.last_seen
        else:
            self._last = self.last_seen
        self._polls = self.polls
        self._account = None

    @property
    def is_open(self) -> bool:
        """Whether the wait has neither ended nor been left."""
        return self._account is not None

    @property
    def polls(self) -> int:
        """The number of polls that this wait had."""
        return self._polls if self._account is None else self._polls + self._account.lists

    @property
    def last_seen(self) -> Server | None:
        """The record that was seen last."""
        if self._account is None:
            return self._last
        return self._account.record(key_of(self.server_id)) if self._seen else None

    @property
    def timeline(self) -> tuple[Seen, ...]:
        """What was seen, in seconds since the wait began."""
        return tuple(
            Seen(max(seen.at - self.started, 0.0), str(seen.status), seen.note) for seen in self._moments
        )

    @property
    def receipt(self) -> Receipt | None:
        """The command that is waited for."""
        return self._grounds.receipt

    @property
    def operation(self) -> str:
        """The command that is waited for; empty where none is known."""
        return self._grounds.operation

    @property
    def since(self) -> float:
        """When the command was acknowledged, or the wait began."""
        return self._grounds.acknowledged

    @property
    def begun(self) -> float:
        """From when on polls and absence are counted: a receipt of another process is as old as two clocks say."""
        return max(self.since, self.started)

    def rested(self, listed_at: float) -> None:
        """Lists up to the one requested then showed the server unchanged to this wait, which was steady."""
        self._grounds.counted(listed_at)

    def unlisted(self) -> None:
        """A list lacks the server: for this wait it is no poll."""
        # unless the wait joined while the list was applied, and does not count it anyway
        self._polls -= self.polls > 0

    def observe(
        self, shown: Server | Shown, requested_at: float, now: float, *, listed: bool = False
    ) -> Verdict | None:
        """A poll showed the server; ``listed``: by a list, which counts as a poll by itself.

        Raises `DecodeError` if the record that could end the wait can't be read: the poll is a failed one.
        """
        self._polls += not listed
        self.steady = False
        if self._grounds.overtaken(requested_at):
            return None
        word = shown.status
        reading = self.target.reading(word)
        # timestamps that went back for good must not keep a target, once held long enough, from being believed
        believed = reading is Reading.TARGET and self._held_long(now)
        if not self._grounds.fresh(shown.updated_at, now, self._policy.quiet) and not believed:
            self._note(now, word, "stale")
            return None
        passing = reading in PASSING
        server = shown.record() if isinstance(shown, Shown) and not passing else shown
        self._grounds.counted(requested_at, shown.updated_at)
        self._seen = True
        self._note(now, word, "an unknown word" if reading is Reading.UNKNOWN else "")
        if isinstance(server, Server) and not passing:
            return self._judge(server, word, reading, now)
        self._held_since = self._elsewhere_since = None
        self._grounds.on_its_way(word)
        self.steady = True
        return None

    def _judge(self, server: Server, word: str, reading: Reading, now: float) -> Verdict | None:
        """Return the verdict on a poll that counts and may end the wait."""
        if reading is Reading.TARGET:
            return self._at_target(server, now)
        if reading is Reading.GONE:
            return Reached(server, Evidence.OBSERVED)
        self._held_since = None
        if reading is Reading.VANISHED:
            return self._end(reading, now, "it was deleted", server)
        if reading is Reading.FAILURE:
            return self._end(reading, now, f"it is {word}", server)
        if self._elsewhere_since is None:
            self._elsewhere_since = now
        why = f"it is {word}, and nothing is changing it"
        if self._grounds.was_before(word) and not self._grounds.moved:
            reading = Reading.UNMOVED
            why = f"it is {word}, as before its {self.operation or 'last command'}"
        return self._end(reading, now, why, server, since=self._elsewhere_since)

    def absent(self, requested_at: float, now: float) -> Verdict | None:
        """The server was read by its id, and the answer was 404."""
        self._polls += 1
        self.steady = False
        if self._grounds.overtaken(requested_at):
            return None
        self._grounds.counted(requested_at)
        self._note(now, ABSENT)
        unborn = not self._seen and (self.operation == "create" or self._grounds.careful)
        if self.target.gone and not (unborn and now - self.begun < self._policy.visibility):
            last = self.last_seen or Server(id=self.server_id, name="", status=ServerStatus(GONE))
            return Reached(attrs.evolve(last, status=ServerStatus(GONE)), Evidence.OBSERVED)
        if self._seen or (self.receipt is not None and self.receipt.status_before is not None):
            return self._end(Reading.VANISHED, now, "it does not exist any more", self.last_seen)
        # without a create of ours there is no reason to believe that it is only not visible yet
        reading = Reading.INVISIBLE if unborn else Reading.UNHEARD_OF
        return self._end(reading, now, "it does not exist; it was never seen", None, since=self.begun)

    def suspicious(self, now: float) -> bool:
        """Return whether absence from a list is worth a read by id: a list that lacks a server proves nothing."""
        if self.target.gone or self._seen:
            return True
        created = self.operation == "create" or self._grounds.careful
        return now - self.begun >= (self._policy.visibility if created else 0.0)

    def failed(self, error: VpsOrgError, now: float, *, listed: bool = False) -> Verdict | None:
        """A poll failed; ``listed``: a list came, but not the row of this server."""
        self._polls += not listed
        self.steady = False
        self.failed_polls += 1
        self.last_failure = error
        self._note(now, "no answer", type(error).__name__)
        if is_forbidden(error):
            # many waits share a poll; each of their callers gets an exception of its own to raise
            return Ended(copy.copy(error))
        return None

    def expire(self, now: float) -> Verdict | None:
        """The time is ``now``: a timeout, if the deadline has passed."""
        if now < self.deadline:
            return None
        last = self.last_seen
        never = "its record can't be read" if self._seen else "it was never seen"
        if self._grounds.stale:
            never = "every poll was stale"
        seen = never if last is None else f"it is {last.status}"
        return self._end(Reading.DEADLINE, now, f"after {now - self.started:.1f} s {seen}", last)

    @property
    def _policy(self) -> WaitPolicy:
        assert self._account is not None
        return self._account.policy

    def _at_target(self, server: Server, now: float) -> Verdict | None:
        self._elsewhere_since = None
        evidence = self._grounds.evidence(server)
        if evidence is None:
            if self._held_since is None:
                self._held_since = now
            if not self._held_long(now):
                return None
            evidence = Evidence.ASSUMED
        return Reached(server, evidence)

    def _held_long(self, now: float) -> bool:
        return self._held_since is not None and now - self._held_since >= self._policy.quiet

    def _note(self, now: float, status: str, note: str = "") -> None:
        last = self._moments[-1] if self._moments else None
        if last is None or last.status != status or last.note != note:
            self._moments = _followed_by(self._moments, now, status, note)

    def _end(
        self, reading: Reading, now: float, why: str, last: Server | None, *, since: float | None = None
    ) -> Ended | None:
        """End as the contract says for this reading; None while its patience lasts."""
        rule = CONTRACT[reading]
        if rule.after is not None and since is not None and now - since < getattr(self._policy, rule.after):
            return None
        lines = [f"server {self.server_id} is not {self.target}: {why}"]
        timeline = self.timeline
        if timeline:
            lines.append("seen: " + ", ".join(map(str, timeline[-8:])))
        if self.last_failure is not None:
            lines.append(
                f"{self.failed_polls} of {counted(self.polls, 'poll')} failed, the last with: {self.last_failure}"
            )
        if reading is Reading.DEADLINE:
            never = last is None and timeline and timeline[-1].status == ABSENT
            later = f"it may still become {self.target}: wait again, or read the server"
            lines.append("does it exist?" if never else later)
            word = "" if last is None else str(last.status)
            if word and self.target.reading(word) is Reading.UNKNOWN:
                known = "gone" if self.target.gone else sorted(self.target.statuses)[0]
                mapped = f"status_words={{{word!r}: {known!r}}}"
                lines.append(f"{word!r} is an unknown word: if it means {known}, map it, {mapped}")
        error = rule.ends[0]
        assert issubclass(error, WaitError)
        return Ended(
            error(
                "; ".join(lines),
                server_id=self.server_id,
                target=str(self.target),
                last_seen=last,
                timeline=timeline,
                last_failure=self.last_failure,
            )
        )
