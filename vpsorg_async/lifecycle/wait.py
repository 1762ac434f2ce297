"""One wait, as a pure machine: polls go in, a verdict comes out. No I/O, no clock; every time is an argument.

Theory of operation. A wait is about one server, one target and, mostly, one command that was acknowledged before. A
poll is one reading of the server. It counts only if its request left after the command was acknowledged, since an
older one may show the state before it, and not before the request of one that counted: answers overtake each other.
What a poll that counts shows is a `Reading`, and `CONTRACT` says for each what it does to the wait; the machine acts by
that table, and the documentation prints it.

Evidence. A word proves nothing if the server was in that status before its command: ``active`` after a reboot, or
after a stop that is awaited until ``"settled"``. ``observed``: the word is another, or the server was seen on its way.
``updated``: ``updated_at`` moved past the one known before. ``assumed``: neither, but the target held through ``quiet``
seconds. A server's timestamps are compared only with each other.

What this can't tell apart: reads that lag by more than ``quiet``; ``updated_at`` moved by the acknowledgement of the
command, or by somebody's edit just before it, in a read that still shows the old word; two commands on one server that
follow each other within the time by which reads lag; and, where ``updated_at`` does not move, replicas that lag by
different times.
"""

from __future__ import annotations

import copy
import math
from datetime import datetime
from typing import Protocol

import attrs

from ..config import WaitPolicy
from ..errors import VpsOrgError, WaitError, is_forbidden
from ..records import Server, ServerId, ServerStatus
from .commands import COMMANDS
from .contract import CONTRACT, GONE, LEADS_TO, Evidence, Reading, Target
from .receipts import Receipt, earlier, later

__all__ = ["Ended", "Reached", "Records", "Seen", "Verdict", "Wait"]

ABSENT = "absent"
"""In a timeline: the server was read by its id, and was not there."""


@attrs.frozen
class Seen:
    """A line of a wait's timeline: ``at`` seconds after it began, a status word, or what else happened."""

    at: float
    status: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.status} at {self.at:.1f} s" + (f" ({self.note})" if self.note else "")


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


class Records(Protocol):
    """Has the records of servers, as they were listed last."""

    def record(self, key: str) -> Server | None:
        """The record of the server with that id."""
        ...


class Wait:
    """One wait. ``observe``, ``absent``, ``failed`` and ``expire`` give a verdict, or None: go on."""

    __slots__ = (
        "_acknowledged", "_baseline", "_careful", "_elsewhere_since", "_held_since", "_last_seen", "_moved", "_newest",
        "_not_before", "_policy", "_receipt", "_stale_since", "_started", "deadline", "failed_polls", "last_failure",
        "polls", "server_id", "steady", "target", "timeline",
    )  # fmt: skip

    def __init__(
        self,
        server_id: ServerId,
        target: Target,
        *,
        now: float,
        timeout: float,
        policy: WaitPolicy,
        receipt: Receipt | None = None,
        acknowledged: float | None = None,
        newest: datetime | None = None,
        careful: bool = False,
    ) -> None:
        """``careful``: a command may have been sent of which no receipt is left."""
        self.server_id = server_id
        self.target = target
        self.deadline = now + timeout
        self.polls = 0
        self.failed_polls = 0
        self._last_seen: Server | Records | None = None
        self.last_failure: VpsOrgError | None = None
        self.timeline: tuple[Seen, ...] = ()
        self.steady = False
        """Whether to be shown the same once more would change nothing but the number of polls."""
        self._policy = policy
        self._started = now
        self._newest = newest
        self._careful = careful
        self._not_before = now
        self.acknowledge(receipt, now if acknowledged is None else acknowledged)
        # a poll that left before the wait began proves nothing either, whatever other machines' clocks say
        self._not_before = max(self._not_before, now)

    def acknowledge(self, receipt: Receipt | None, at: float) -> None:
        """A command on this server was acknowledged at ``at``: what was seen so far proves nothing about it."""
        self._receipt = receipt
        self._acknowledged = at
        # later than the command, not at the same tick of the clock
        self._not_before = at if receipt is None else math.nextafter(at, math.inf)
        self._baseline = None if receipt is None else receipt.updated_before
        self._newest = later(self._newest, self._baseline)
        self._moved = self.steady = False
        self._held_since: float | None = None
        self._elsewhere_since: float | None = None
        self._stale_since: float | None = None

    @property
    def started(self) -> float:
        """When the wait began; its timeline counts from here."""
        return self._started

    @property
    def last_seen(self) -> Server | None:
        """The record that was seen last."""
        seen = self._last_seen
        return seen if seen is None or isinstance(seen, Server) else seen.record(str(self.server_id))

    def rest_on(self, records: Records) -> None:
        """What was seen last is there as well, and need not be kept twice, until `recall`."""
        self._last_seen = records

    def again(self, polls: int, requested_at: float) -> None:
        """So many polls more, the last of which left at that time, showed it the same."""
        self.polls += polls
        self._not_before = max(self._not_before, requested_at)

    def recall(self) -> None:
        """It will not be there any more."""
        self._last_seen = self.last_seen

    @property
    def receipt(self) -> Receipt | None:
        """The command that is waited for."""
        return self._receipt

    @property
    def operation(self) -> str:
        """The command that is waited for; empty where none is known."""
        return "" if self._receipt is None else self._receipt.operation

    @property
    def since(self) -> float:
        """When the command was acknowledged, or the wait began."""
        return self._acknowledged

    def observe(self, server: Server, requested_at: float, now: float) -> Verdict | None:
        """A poll showed the server."""
        self.polls += 1
        self.steady = False
        if requested_at < self._not_before:
            return None
        word = str(server.status)
        reading = self.target.reading(word)
        # timestamps that went back for good must not keep a target, once held long enough, from being believed
        believed = reading is Reading.TARGET and self._held_long(now)
        if not earlier(server.updated_at, self._newest):
            self._stale_since = None
        elif not self._went_back(now) and not believed:
            self._note(now, word, "stale")
            return None
        self._not_before = requested_at
        self._newest = later(self._newest, server.updated_at)
        self._last_seen = server
        self._note(now, word, "an unknown word" if reading is Reading.UNKNOWN else "")
        if reading is Reading.TARGET:
            return self._at_target(server, now)
        if reading is Reading.GONE:
            return Reached(server, Evidence.OBSERVED)
        self._held_since = None
        if reading is Reading.VANISHED:
            return self._end(reading, now, "it was deleted")
        if reading is Reading.FAILURE:
            return self._end(reading, now, f"it is {word}")
        if reading is Reading.ELSEWHERE:
            if self._elsewhere_since is None:
                self._elsewhere_since = now
            why = f"it is {word}, and nothing is changing it"
            if self._was_before(word) and not self._moved:
                reading, why = (
                    Reading.UNMOVED,
                    f"it is {word}, as before its {self.operation or 'last command'}",
                )
            return self._end(reading, now, why, since=self._elsewhere_since)
        self._elsewhere_since = None
        self._moved = self._moved or self._is_on_its_way(word)
        self.steady = True
        return None

    def absent(self, requested_at: float, now: float) -> Verdict | None:
        """The server was read by its id, and the answer was 404."""
        self.polls += 1
        self.steady = False
        if requested_at < self._not_before:
            return None
        self._not_before = requested_at
        self._note(now, ABSENT)
        unborn = self._last_seen is None and (self.operation == "create" or self._is_careful)
        if self.target.gone and not (unborn and now - self.begun < self._policy.visibility):
            last = self.last_seen or Server(id=self.server_id, name="", status=ServerStatus(GONE))
            return Reached(attrs.evolve(last, status=ServerStatus(GONE)), Evidence.OBSERVED)
        if self._last_seen is not None or (
            self._receipt is not None and self._receipt.status_before is not None
        ):
            return self._end(Reading.VANISHED, now, "it does not exist any more")
        # without a create of ours there is no reason to believe that it is only not visible yet
        reading = Reading.INVISIBLE if unborn else Reading.UNHEARD_OF
        return self._end(reading, now, "it does not exist; it was never seen", since=self.begun)

    def suspicious(self, now: float) -> bool:
        """Whether absence from a list is worth a read by id: a list that lacks a server proves nothing."""
        if self.target.gone or self._last_seen is not None:
            return True
        created = self.operation == "create" or self._is_careful
        return now - self.begun >= (self._policy.visibility if created else 0.0)

    @property
    def begun(self) -> float:
        """From when on polls and absence are counted: a receipt of another process is as old as two clocks say."""
        return max(self._acknowledged, self._started)

    def failed(self, error: VpsOrgError, now: float) -> Verdict | None:
        """A poll failed."""
        self.polls += 1
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
        self.recall()  # what is asked for several times is read once
        never = "it was never seen" if self._stale_since is None else "every poll was stale"
        seen = never if self.last_seen is None else f"it is {self.last_seen.status}"
        return self._end(Reading.DEADLINE, now, f"after {now - self._started:.1f} s {seen}")

    def _at_target(self, server: Server, now: float) -> Verdict | None:
        self._elsewhere_since = None
        evidence = self._evidence(server)
        if evidence is None:
            if self._held_since is None:
                self._held_since = now
            if not self._held_long(now):
                return None
            evidence = Evidence.ASSUMED
        return Reached(server, evidence)

    def _evidence(self, server: Server) -> Evidence | None:
        if not self._was_before(str(server.status)) or self._moved:
            return Evidence.OBSERVED
        if self._baseline is None:
            # nothing was known before the command: the first sighting is what later ones are compared with
            self._baseline = server.updated_at
            return None
        return Evidence.UPDATED if earlier(self._baseline, server.updated_at) else None

    def _was_before(self, word: str) -> bool:
        """Whether the server was in that status, or was last seen in it, before the command."""
        if self._receipt is None:
            return self._careful
        # after a delete, whatever is still shown is from before it
        command = COMMANDS[self._receipt.operation]
        return command.target == GONE or word in (command.before, self._receipt.status_before)

    def _is_on_its_way(self, word: str) -> bool:
        """Whether this word, which is neither target nor settled, was put there by the command."""
        if self._is_careful:
            return not any(word in words for words in LEADS_TO.values())
        before = None if self._receipt is None else COMMANDS[self._receipt.operation].before
        return not self._was_before(word) and (before is None or word not in LEADS_TO[before])

    @property
    def _is_careful(self) -> bool:
        return self._careful and self._receipt is None

    def _held_long(self, now: float) -> bool:
        return self._held_since is not None and now - self._held_since >= self._policy.quiet

    def _went_back(self, now: float) -> bool:
        """Whether timestamps went back for good: every poll is stale, for longer than reads lag."""
        if self._stale_since is None:
            self._stale_since = now
        return now - self._stale_since >= self._policy.quiet

    def _note(self, now: float, status: str, note: str = "") -> None:
        if not self.timeline or (self.timeline[-1].status, self.timeline[-1].note) != (status, note):
            self.timeline = (*self.timeline, Seen(now - self._started, str(status), note))

    def _end(self, reading: Reading, now: float, why: str, *, since: float | None = None) -> Ended | None:
        """End as the contract says for this reading; None while its patience lasts."""
        rule = CONTRACT[reading]
        if rule.after is not None and since is not None and now - since < getattr(self._policy, rule.after):
            return None
        lines = [f"server {self.server_id} is not {self.target}: {why}"]
        if self.timeline:
            lines.append("seen: " + ", ".join(map(str, self.timeline[-8:])))
        if self.last_failure is not None:
            lines.append(
                f"{self.failed_polls} of {self.polls} polls failed, the last with: {self.last_failure}"
            )
        if reading is Reading.DEADLINE:
            never = self.last_seen is None and self.timeline and self.timeline[-1].status == ABSENT
            lines.append("does it exist?" if never else "it may still get there: wait again, or check it")
            word = "" if self.last_seen is None else str(self.last_seen.status)
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
                last_seen=self.last_seen,
                timeline=self.timeline,
                last_failure=self.last_failure,
            )
        )
