"""The display while a command waits for servers: a live chart on stderr, on a terminal only."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from rich.console import Console

from ..client import Client
from ..errors import OutcomeUnknownError, WaitError
from ..fleet import Failed, Outcome, Report, Skipped, Succeeded
from ..fleet.events import (
    CommandAnswered,
    CommandSent,
    ServerActive,
    ServerAdopted,
    ServerNotReady,
    ServerSettled,
)
from ..http.events import RequestSent
from ..lifecycle.commands import COMMANDS
from ..lifecycle.readiness import HEALTHY
from ..records import ServerId
from ..timing import SystemClock
from .chart import ACTIVE, GONE, READY, WAITING, Moment
from .display import progress
from .readiness_options import NO_CHECK, ReadyRequest

__all__ = ["LEFT", "Tally", "is_left", "showing"]

LEFT = "left"
"""The word for servers whose wait has ended before them."""

TICK = 0.2
"""Seconds between two moments of the display."""
LATE = 2.0
"""A delay of fewer seconds is not mentioned."""


class Tally:
    """The present state of each server: events go in, moments come out."""

    def __init__(
        self,
        operation: str,
        keys: Sequence[ServerId],
        *,
        timeout: float | None = None,
        ready: ReadyRequest = NO_CHECK,
    ) -> None:
        """``timeout``: the seconds until each server has its status; ``ready``: how it is checked then."""
        self.operation = operation
        self.outcomes: dict[ServerId, Outcome] = {}
        """The outcomes so far, by key."""
        self.moments: list[Moment] = []
        self._words: dict[ServerId, str] = dict.fromkeys(keys, WAITING)
        self._open: dict[ServerId, tuple[str, float]] = {}
        self._sent: set[ServerId] = set()
        self._ids: dict[ServerId, ServerId] = {}
        self._settled: set[ServerId] = set()
        self._reasons: dict[ServerId, str] = {}
        self._checked: dict[ServerId, float] = {}
        self._timeout = timeout
        self._ready = None if ready.check is None else ready.timeout
        self._requests = 0
        self._clock = SystemClock()
        self._began = self._clock.now()

    @property
    def servers(self) -> int:
        """The number of servers."""
        return len(self._words)

    @property
    def seconds(self) -> float:
        """The seconds since the beginning."""
        return self._clock.now() - self._began

    def heard(self, event: object) -> None:
        """Take an event of the client or of a fleet call into account."""
        key = getattr(event, "key", None)
        if key is not None and key not in self._words:
            return  # a server that another one replaces: it has no row of its own
        match event:
            case RequestSent():
                self._requests += 1
            case CommandSent(key=key):
                self._sent.add(key)
            case CommandAnswered(command=command, key=key, server_id=server_id):
                self._ids[key] = server_id
                self.commanded(command, key)
            case ServerAdopted(key=key, server_id=server_id):
                self._ids[key] = server_id
            case ServerActive(key=key, server_id=server_id):
                self._ids[key] = server_id
                self.checked(key, "")
            case ServerNotReady(key=key, reason=reason):
                self.checked(key, reason)
            case ServerSettled(key=key, outcome=outcome):
                self.outcomes[key] = outcome
                self.settled(key, _word(outcome))

    def commanded(self, operation: str, key: ServerId) -> None:
        """Note that a command was acknowledged."""
        self._words[key] = COMMANDS[operation].moving
        self._open[key] = (operation, self._clock.now())

    def checked(self, key: ServerId, reason: str) -> None:
        """Note that a server is active, and why a check of it did not pass; an empty text if that is not known."""
        if key not in self._settled:
            self._words[key] = ACTIVE
            self._open.pop(key, None)
            self._reasons[key] = reason or self._reasons.get(key, "")
            self._checked.setdefault(key, self._clock.now())

    def state(self, key: ServerId) -> str:
        """Return the state of a server whose wait is interrupted, as the end of a sentence."""
        word, reason = self._words[key], self._reasons.get(key)
        if reason is None:
            return f"it is {word}" if word != WAITING else "it was not seen"
        return f"it is {word}, but not ready{reason and f', last: {reason}'}"

    def stage(self, key: ServerId) -> str:
        """Return ``active`` for a server that is being checked, else an empty text."""
        return ACTIVE if key in self._reasons else ""

    def reason(self, key: ServerId) -> str:
        """Return why the last check of a server did not pass; empty if none was made."""
        return self._reasons.get(key, "")

    def word(self, key: ServerId) -> str | None:
        """Return the last status of a server that is not settled; None if it is not known."""
        return None if key in self._settled or self._words[key] == WAITING else self._words[key]

    def settled(self, key: ServerId, word: str) -> None:
        """Note that one server is done."""
        self._words[key] = word
        self._settled.add(key)
        self._open.pop(key, None)

    def seen(self, key: ServerId, word: str | None) -> None:
        """Note the status of a server without an open command."""
        if word is not None and key not in self._open and key not in self._settled:
            self._words[key] = word

    def report(self) -> Report:
        """Return the outcome of every server as far as it is known, for a call that could not return its own report."""
        outcomes = tuple(self.outcomes.get(key) or self._so_far(key) for key in self._words)
        return Report(operation=self.operation, outcomes=outcomes, seconds=self.seconds)

    def _so_far(self, key: ServerId) -> Outcome:
        server_id = self._ids.get(key)
        if server_id is not None:
            left = WaitError(
                f"server {server_id}: the wait was interrupted; {self.state(key)}",
                server_id=server_id,
                reason=self.reason(key),
            )
            stage = self.stage(key) or "accepted"
            return Failed(key, left, server_id=server_id, stage=stage, acknowledged=key in self._sent)
        if key in self._sent:
            why = f"the {self.operation} of {key!r} had no answer when it was interrupted"
            return Failed(
                key, OutcomeUnknownError(f"{why}; check the account before repeating it", subject=key)
            )
        return Skipped(key, "not sent: interrupted")

    def note(self, vps: Client) -> Sequence[Moment]:
        """Record the present moment, and return all moments."""
        # ready is in the legend from the beginning, as what is waited for
        at, statuses = self.seconds, Counter({} if self._ready is None else {READY: 0})
        statuses.update(self._words.values())
        rest, word = self._rest(vps)
        moment = Moment(
            at=at,
            phase=self.operation,
            statuses=statuses,
            requests=self._requests,
            rest=word,
            span=at + rest if rest > 0 else 0.0,
            note=self._not_ready(),
        )
        # of a period without changes only its ends are kept
        if len(self.moments) > 1 and self.moments[-1].statuses == statuses == self.moments[-2].statuses:
            self.moments.pop()
        self.moments.append(moment)
        return self.moments

    def _not_ready(self) -> str:
        """Return which servers are active but not ready, with the reason of the first; empty for none."""
        open_ = [(key, why) for key, why in self._reasons.items() if key not in self._settled and why]
        if not open_:
            return ""
        (key, why), more = open_[0], len(open_) - 1
        return f"not ready: {key}: {why}{f'; {more} more' if more else ''}"

    def span(self, vps: Client) -> float:
        """Return the expected duration in seconds; 0 if it is unknown."""
        return vps.expected(self.operation, self.servers) or 0.0

    def _rest(self, vps: Client) -> tuple[float, str]:
        """Return the expected remaining seconds, and a text on them."""
        rests: list[tuple[float, float]] = []
        now = self._clock.now()
        waiting = sum(word == WAITING for word in self._words.values())
        if waiting and self.operation.startswith("rolling"):
            return 0.0, ""  # a few at a time: when the last one begins is not known
        for operation in {operation for operation, _ in self._open.values()}:
            since = [at for other, at in self._open.values() if other == operation]
            expected = vps.expected(operation, len(since))
            if expected is not None:
                rests.append((max(since) + expected - now, expected))
        if waiting and rests:
            # those that wait for their turn take as long as the others
            expected = vps.expected(self.operation, waiting) or max(expected for _, expected in rests)
            rests.append((expected, expected))
        if rests:
            rest, expected = max(rests)
            if rest > 0:
                return rest, f"about {_clock(rest)} more"
            return 0.0, "longer than usual" if -rest > LATE + expected / 2 else ""
        left = self._at_most(now)
        return 0.0, "" if left is None or left <= 0 else f"at most {_clock(left)} more"

    def _at_most(self, now: float) -> float | None:
        """Return the seconds after which every server is settled; None if that is not known, or all are."""
        open_ = [key for key in self._words if key not in self._settled]
        checks = self._ready or 0.0
        ends = [self._checked[key] + checks for key in open_ if key in self._checked]
        if len(ends) < len(open_):
            if self._timeout is None:
                return None
            ends.append(self._began + self._timeout + checks)
        return max(ends) - now if ends else None


def _word(outcome: Outcome) -> str:
    match outcome:
        case Failed() if is_left(outcome):
            return LEFT
        case Succeeded(how="deleted"):
            return GONE
        case Succeeded(stage=stage) if stage == READY:
            return READY
        case Succeeded(server=server):
            return str(server.status) if server is not None else "commanded"
        case Failed():
            return "failed"
        case Skipped():
            return "skipped"


def is_left(outcome: Failed) -> bool:
    """Return whether only the wait has ended, so that the server goes on: its command was acknowledged."""
    return type(outcome.error) is WaitError and outcome.error.target != HEALTHY


def _clock(seconds: float) -> str:
    # what is still awaited takes a second at least
    minutes, rest = divmod(max(round(seconds), 1), 60)
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"


@contextlib.asynccontextmanager
async def showing(
    vps: Client, tally: Tally, *, quiet: bool, watched: Sequence[ServerId] = ()
) -> AsyncIterator[None]:
    """Show the tally while this is open. ``watched``: servers whose status comes from the client's polls."""
    screen = Console(stderr=True)
    silent = quiet or not (screen.is_interactive and screen.file.isatty()) or not tally.servers
    with progress(screen, tally.servers, tally.span(vps), quiet=silent) as show:

        def draw() -> None:
            for key in watched:
                tally.seen(key, vps.last_status(key))
            show(tally.note(vps))

        async def redraw() -> None:
            while True:
                draw()
                await asyncio.sleep(TICK)

        drawing = (
            asyncio.get_running_loop().create_task(redraw(), name="vpsorg-progress") if not silent else None
        )
        try:
            yield
        finally:
            if drawing is not None:
                drawing.cancel()
                await asyncio.wait((drawing,))
                draw()
