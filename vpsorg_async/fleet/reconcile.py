"""A create whose answer was lost, as a pure machine: polls of the account go in, its result comes out.

Theory of operation. The API has no idempotency key and every server costs money, so a create is sent once. After that:

============  =====================================================  ==================================================
state         how it is entered                                      what follows
============  =====================================================  ==================================================
``ANSWERED``  the answer came                                        the server is waited for
``REFUSED``   4xx, or provably not sent                              failed; nothing exists
``MAYBE``     timeout, reset, 5xx, an answer that does not fit       a search for its name, for ``settle`` seconds
``ADOPTED``   one server of that name that was not there before      adopted as the answer, and waited for
``SEVERAL``   more than one                                          failed, all are named, nothing is deleted
``UNKNOWN``   none by the end of the settle window                   failed with `OutcomeUnknownError`
============  =====================================================  ==================================================

A server is found by its name, so fleet calls refuse names that exist before anything is sent. That a server is visible
within the settle window is an assumption: one that is created later still is found by the next `ensure`, which reads
the account first.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence

import attrs

from ..counting import counted
from ..errors import OutcomeUnknownError
from ..lifecycle.commands import GONE
from ..records import Server
from ..specs import ServerSpec, id_text

__all__ = ["TABLE", "Found", "Search", "State"]


class State(enum.Enum):
    """The state of a create."""

    ANSWERED = "answered"
    REFUSED = "refused"
    MAYBE = "maybe"
    ADOPTED = "adopted"
    SEVERAL = "several"
    UNKNOWN = "unknown"


TABLE: Mapping[State, str] = {
    State.ANSWERED: "the answer came: the server is waited for",
    State.REFUSED: "4xx, or provably not sent: failed, nothing exists",
    State.MAYBE: "the answer was lost: its name is searched for, for `settle` seconds",
    State.ADOPTED: "one server of that name that was not there before: adopted as the answer, and waited for",
    State.SEVERAL: "more than one: failed, all are named, nothing is deleted",
    State.UNKNOWN: "none by the end of the settle window: failed with `OutcomeUnknownError`",
}


@attrs.frozen
class Found:
    """The result of a search: the server (``ADOPTED``), or the error to fail with."""

    state: State
    server: Server | None = None
    error: OutcomeUnknownError | None = None
    exhausted: bool = False
    """Whether a complete list, requested after the settle window, did not show the server."""


class Search:
    """The search for the server of one create. `observe` returns the result, or None while the search goes on."""

    __slots__ = ("_before", "_error", "_until", "name", "polls", "spec", "state")

    def __init__(
        self,
        spec: ServerSpec,
        error: OutcomeUnknownError,
        *,
        before: Collection[str],
        now: float,
        settle: float,
        name: str | None = None,
    ) -> None:
        self.spec: ServerSpec = spec
        self.name: str = name or spec.name
        self.state: State = State.MAYBE
        self.polls: int = 0
        self._error = error
        self._before = before
        self._until = now + settle

    def observe(self, servers: Sequence[Server], requested_at: float, *, lacks: str = "") -> Found | None:
        """Take a poll of the account, and return the result of the search, if it has ended.

        Args:
            servers: The servers of this name that the poll showed.
            requested_at: When the request of the poll was sent, in monotonic seconds.
            lacks: Why the list is known to be incomplete; empty if it is not.
        """
        self.polls += 1
        hits = [
            server for server in servers if id_text(server.id) not in self._before and server.status != GONE
        ]
        if len(hits) == 1:
            return self._end(State.ADOPTED, server=hits[0])
        if hits:
            ids = ", ".join(str(server.id) for server in hits)
            return self._end(
                State.SEVERAL,
                f"several servers have its name now ({ids}); none was deleted: "
                "check which is yours, and delete the rest",
                hits,
            )
        if requested_at < self._until:
            return None
        short = f", and the list is incomplete ({lacks})" if lacks else ""
        found = self.give_up(f"no server of its name was seen in {counted(self.polls, 'poll')}{short}")
        return attrs.evolve(found, exhausted=not lacks)

    def give_up(self, why: str) -> Found:
        """End the search without a server, for this reason."""
        return self._end(
            State.UNKNOWN,
            f"{why}; it may still appear: run ensure, or check the account, before creating it again",
        )

    def _end(
        self, state: State, why: str = "", hits: Sequence[Server] = (), *, server: Server | None = None
    ) -> Found:
        self.state = state
        if server is not None:
            return Found(state, server=server)
        lost = self._error
        when = f" at {lost.sent_at:%Y-%m-%d %H:%M:%S} UTC" if lost.sent_at is not None else ""
        error = OutcomeUnknownError(
            f"create of {self.spec.name!r} was sent{when} and its outcome is unknown ({lost.reason}): {why}",
            request=lost.request,
            subject=self.spec.name,
            reason=lost.reason,
            sent_at=lost.sent_at,
            candidates=list(dict.fromkeys((*lost.candidates, *(hit.id for hit in hits)))),
        )
        return Found(state, error=error)
