"""One wait, as a pure machine: looks go in, a verdict comes out. No I/O, no clock; every time is an argument.

Theory of operation. A wait is about one server, one target and, mostly, one command that was acknowledged before. A
look is one reading of the server. It counts only if its request left after the command was acknowledged, since an
older one may show the state before it. What a look that counts shows is one of these:

===================  ================================================  ==========================================
reading              when                                              what the wait does
===================  ================================================  ==========================================
target               a word of the target                              ends, reached, if there is evidence
failure              ``suspended``, if that is not the target          ends: UnexpectedStatusError
moving               provisioning, starting, stopping, rebooting       goes on
elsewhere            active or stopped, if that is not the target      ends after ``grace``: UnexpectedStatusError
unknown              any other word                                    goes on, names it in the timeline
stale                ``updated_at`` went back                          is not counted
absent               404 by id, target ``gone``                        ends, reached
absent               404 by id, seen before                            ends: ServerGoneError
absent               404 by id, never seen                             ends after ``visibility``: ServerGoneError
===================  ================================================  ==========================================

Evidence. A server that is being rebooted was ``active`` before and will be after, so the word alone proves nothing.
``observed``: another status was seen after the command, or the command can't have been accepted in the target
status. ``updated``: ``updated_at`` moved past the one known before. ``assumed``: neither, but the target held through
``quiet`` seconds. A server's timestamps are compared only with each other.

A failed look never ends a wait, except 401 and 403, which no waiting will mend.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Iterable
from datetime import UTC, datetime

import attrs

from ..config import WaitPolicy
from ..errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    ServerGoneError,
    UnexpectedStatusError,
    VpsOrgError,
    WaitTimeoutError,
)
from ..models import Server, ServerId, ServerStatus
from .receipts import Receipt

__all__ = ["MOVING", "SETTLED", "Ended", "Evidence", "Reached", "Seen", "Target", "Verdict", "Wait"]

SETTLED = frozenset({"active", "stopped", "suspended"})
MOVING = frozenset({"provisioning", "starting", "stopping", "rebooting"})
FAILURES = frozenset({"suspended"})
GONE = "gone"


class Evidence(enum.StrEnum):
    """Why a wait believes that its command took effect."""

    OBSERVED = "observed"
    UPDATED = "updated"
    ASSUMED = "assumed"


def _words(words: Iterable[str]) -> frozenset[str]:
    if isinstance(words, str):
        raise ConfigurationError("the words of a target are a set of strings; for one word write {'...'}")
    found = frozenset(words)
    if any(not isinstance(word, str) or not word for word in found):
        raise ConfigurationError("the words of a target are non-empty strings")
    return found


@attrs.frozen
class Target:
    """What a wait is for: any of ``statuses``, or that the server is ``gone``; a word of ``failures`` ends it.

    Make one of your own for words that the provider adds: ``Target(frozenset({"ready"}))``.
    """

    statuses: frozenset[str] = attrs.field(converter=_words)
    gone: bool = False
    failures: frozenset[str] = attrs.field(default=FAILURES, converter=_words)

    def __attrs_post_init__(self) -> None:
        if not self.statuses and not self.gone:
            raise ConfigurationError("a target names at least one status, or 'gone'")

    @classmethod
    def of(cls, target: Target | str | Iterable[str]) -> Target:
        """A target from a status word, several, ``"settled"``, ``"gone"`` or a `Target`.

        A word outside the known ones is refused here, since a wait for a misspelt one would never end; for a word that
        the provider added make a `Target`. Raises `ConfigurationError`.
        """
        if isinstance(target, Target):
            return target
        try:
            words = [target] if isinstance(target, str) else list(target)
        except TypeError:
            raise ConfigurationError(f"a target is a status word or several, not {target!r}") from None
        statuses: set[str] = set()
        for word in words:
            if word == "settled":
                statuses |= SETTLED
            elif isinstance(word, str) and (word in SETTLED or word in MOVING):
                statuses.add(str(word))
            elif word != GONE:
                raise ConfigurationError(
                    f"{word!r} is not a known status; known are {', '.join(sorted(SETTLED | MOVING))}, 'settled' "
                    "and 'gone'; for any other word pass Target({...})"
                )
        return cls(frozenset(statuses), GONE in words, FAILURES - statuses)

    def __str__(self) -> str:
        return " or ".join([*sorted(self.statuses), *([GONE] if self.gone else [])])


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


class Wait:
    """One wait. ``observe``, ``absent``, ``failed`` and ``expire`` give a verdict, or None: go on."""

    __slots__ = (
        "_absent_since", "_acknowledged", "_baseline", "_elsewhere_since", "_held_since", "_moved", "_newest",
        "_not_before", "_policy", "_receipt", "_started", "deadline", "failed_looks", "last_failure", "last_seen",
        "looks", "server_id", "target", "timeline",
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
    ) -> None:
        self.server_id = server_id
        self.target = target
        self.deadline = now + timeout
        self.looks = 0
        self.failed_looks = 0
        self.last_seen: Server | None = None
        self.last_failure: VpsOrgError | None = None
        self.timeline: list[Seen] = []
        self._policy = policy
        self._started = now
        self._newest: datetime | None = None
        self._absent_since: float | None = None
        self.acknowledge(receipt, now if acknowledged is None else acknowledged)

    def acknowledge(self, receipt: Receipt | None, at: float) -> None:
        """A command on this server was acknowledged at ``at``: what was seen so far proves nothing about it."""
        self._receipt = receipt
        self._acknowledged = at
        self._not_before = at
        self._baseline = None if receipt is None else receipt.updated_before
        self._newest = _later(self._newest, self._baseline)
        self._moved = False
        self._held_since: float | None = None
        self._elsewhere_since: float | None = None

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

    @property
    def held(self) -> bool:
        """Whether the target is seen, and only its quiet period has to pass."""
        return self._held_since is not None

    def observe(self, server: Server, requested_at: float, now: float) -> Verdict | None:
        """A look showed the server."""
        self.looks += 1
        if requested_at < self._not_before:
            return None
        if _before(server.updated_at, self._newest) and not self._held_long(now):
            self._note(now, server.status, "stale")
            return None
        self._newest = _later(self._newest, server.updated_at)
        self._absent_since = None
        self.last_seen = server
        word = str(server.status)
        self._note(now, word, "" if word in SETTLED or word in MOVING else "an unknown word")
        if word in self.target.statuses:
            return self._at_target(server, now)
        self._held_since = None
        if word in self.target.failures:
            return self._end(UnexpectedStatusError, now, f"it is {word}")
        if word in SETTLED:
            return self._elsewhere(word, now)
        self._elsewhere_since = None
        # a server just made may still be shown as provisioning by a lagging read after the next command
        if word != "provisioning" or self.operation in ("", "create"):
            self._moved = True
        return None

    def absent(self, requested_at: float, now: float) -> Verdict | None:
        """The server was read by its id, and the answer was 404."""
        self.looks += 1
        if requested_at < self._not_before:
            return None
        self._note(now, "absent")
        if self.target.gone:
            last = self.last_seen or Server(id=self.server_id, name="", status=ServerStatus(GONE))
            return Reached(attrs.evolve(last, status=ServerStatus(GONE)), Evidence.OBSERVED)
        if self._absent_since is None:
            self._absent_since = now
        created = self.operation == "create"
        known = self.last_seen is not None or (
            self._receipt is not None and self._receipt.status_before is not None
        )
        if known and not (created and self.last_seen is None):
            return self._end(ServerGoneError, now, "it does not exist any more")
        patience = self._policy.visibility if created else self._policy.grace
        if now - self._acknowledged >= patience:
            return self._end(ServerGoneError, now, "it does not exist; it was never seen")
        return None

    def suspicious(self, now: float) -> bool:
        """Whether absence from a list is worth a read by id: a list that lacks a server proves nothing."""
        if self.target.gone or self.last_seen is not None:
            return True
        created = self.operation == "create"
        return now - self._acknowledged >= (self._policy.visibility if created else 0.0)

    def failed(self, error: VpsOrgError, now: float) -> Verdict | None:
        """A look failed."""
        self.failed_looks += 1
        self.last_failure = error
        self._note(now, "no answer", type(error).__name__)
        if isinstance(error, AuthenticationError | PermissionDeniedError):
            # many waits share a look; each of their callers gets an exception of its own to raise
            return Ended(copy.copy(error))
        return None

    def expire(self, now: float) -> Verdict | None:
        """The time is ``now``: a timeout, if the deadline has passed."""
        if now < self.deadline:
            return None
        seen = "it was never seen" if self.last_seen is None else f"it is {self.last_seen.status}"
        return self._end(WaitTimeoutError, now, f"after {now - self._started:.1f} s {seen}")

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
        if self.operation != "reboot" or server.status != "active":
            # no command is known, or one that the API refuses in the target status (start while running), so
            # that being in it is itself the change
            return Evidence.OBSERVED
        if self._moved:
            return Evidence.OBSERVED
        if self._baseline is None:
            # nothing was known before the command: the first sighting is what later ones are compared with
            self._baseline = server.updated_at
            return None
        return Evidence.UPDATED if _before(self._baseline, server.updated_at) else None

    def _held_long(self, now: float) -> bool:
        return self._held_since is not None and now - self._held_since >= self._policy.quiet

    def _elsewhere(self, word: str, now: float) -> Verdict | None:
        if self._elsewhere_since is None:
            self._elsewhere_since = now
        if now - self._elsewhere_since >= self._policy.grace:
            return self._end(UnexpectedStatusError, now, f"it is {word}, and nothing is changing it")
        return None

    def _note(self, now: float, status: str, note: str = "") -> None:
        if not self.timeline or (self.timeline[-1].status, self.timeline[-1].note) != (status, note):
            self.timeline.append(Seen(now - self._started, str(status), note))

    def _end(
        self, kind: type[WaitTimeoutError | UnexpectedStatusError | ServerGoneError], now: float, why: str
    ) -> Ended:
        lines = [f"server {self.server_id} is not {self.target}: {why}"]
        if self.timeline:
            lines.append("seen: " + ", ".join(map(str, self.timeline[-8:])))
        if self.last_failure is not None:
            lines.append(f"{self.failed_looks} looks failed, the last with: {self.last_failure}")
        if kind is WaitTimeoutError:
            lines.append("the server may still get there: wait again, or look at it")
        return Ended(
            kind(
                "; ".join(lines),
                server_id=self.server_id,
                target=str(self.target),
                last_seen=self.last_seen,
                timeline=self.timeline,
                last_failure=self.last_failure,
            )
        )


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _before(first: datetime | None, second: datetime | None) -> bool:
    return first is not None and second is not None and _utc(first) < _utc(second)


def _later(first: datetime | None, second: datetime | None) -> datetime | None:
    return second if first is None or _before(first, second) else first
