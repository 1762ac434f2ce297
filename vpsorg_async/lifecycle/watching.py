"""Watching the account: each list goes to all watchers, and is compared with what they reported before. No I/O.

`staleness.judge` decides which reads lag, as it does for waits.
"""

from __future__ import annotations

import asyncio
import copy
import enum
import math
from collections.abc import Callable, Iterator, Mapping

import attrs

from ..errors import ClientClosedError, DecodeError, VpsOrgError, is_forbidden
from ..records import Server, ServerId, ServerStatus
from .commands import GONE
from .snapshots import ListNews
from .staleness import judge

__all__ = ["AccountChanges", "Change", "ListMailbox", "StatusChange", "Watcher", "Watchers", "ends_polling"]

Watcher = Callable[[ListNews | BaseException], None]
"""Shown each list, and each failure; last of all what ended polling for good."""


def ends_polling(error: Exception) -> bool:
    """Return whether no poll after this error can work."""
    return is_forbidden(error) or isinstance(error, ClientClosedError)


class Watchers:
    """All watchers, with the seconds that each wants between two lists."""

    def __init__(self) -> None:
        self._intervals: dict[Watcher, float] = {}
        self._listed_at = -math.inf

    def __len__(self) -> int:
        return len(self._intervals)

    def add(self, watcher: Watcher, interval: float) -> None:
        """Add a watcher; a list is due for it at once."""
        self._intervals[watcher] = interval
        self._listed_at = -math.inf

    def remove(self, watcher: Watcher) -> None:
        """Stop notifying a watcher."""
        self._intervals.pop(watcher, None)

    def due(self) -> float:
        """Return when the next list is due, in monotonic seconds; infinity where nothing watches."""
        return self._listed_at + min(self._intervals.values()) if self._intervals else math.inf

    def notify(self, news: ListNews | VpsOrgError) -> None:
        """Show a list, or a failure, to all of them."""
        if isinstance(news, ListNews):
            self._listed_at = news.list.requested_at
        for watcher in tuple(self._intervals):
            watcher(news)

    def end_all(self, error: BaseException, ended: VpsOrgError) -> BaseException:
        """Show them what ended polling, and remove them; returns the error for the waits.

        An error that stops the event loop is handed to one of them, and ``ended`` to the others, as is an unknown one.
        """
        for watcher in tuple(self._intervals):
            unknown = isinstance(error, Exception) and not isinstance(error, VpsOrgError)
            watcher(ended if unknown else error)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                # one has to raise it; others that do so as well would cut off the closing that follows
                error = ended
        self._intervals.clear()
        return error


class Change(enum.StrEnum):
    """What happened between two polls."""

    PRESENT = "present"
    """It is in the first poll."""
    APPEARED = "appeared"
    CHANGED = "changed"
    TOUCHED = "touched"
    """The status is the same, but ``updated_at`` moved: something came and went between the polls, or was edited."""
    GONE = "gone"
    BLIND = "blind"
    """Comes after an outage: no poll succeeded for ``seconds``; the changes of that time come as one difference."""


@attrs.frozen(kw_only=True)
class StatusChange:
    """One difference between two polls of the account.

    ``before`` and ``after`` are status words (None where there is none), ``seconds`` is how far the two polls lie
    apart: what a server went through between them is not seen.
    """

    change: Change
    server_id: ServerId | None = None
    server: Server | None = None
    before: str | None = None
    after: str | None = None
    seconds: float = 0.0


class ListMailbox:
    """From the poller to one watcher. Of several lists only the newest is kept, with the news of all."""

    def __init__(self) -> None:
        self._news: ListNews | None = None
        self._blind = self._failed = False
        self._end: BaseException | None = None
        self._there = asyncio.Event()

    def put(self, news: ListNews | BaseException) -> None:
        """The poller read a list, or failed to."""
        if isinstance(news, ListNews):
            self._news = news if self._news is None else news.after(self._news)
            self._blind, self._failed = self._blind or self._failed, False
        elif isinstance(news, VpsOrgError) and not ends_polling(news):
            self._failed = True
            return
        elif isinstance(news, VpsOrgError):
            self._end = copy.copy(news)
            self._end.__cause__ = news.__cause__
        else:
            self._end = news
        self._there.set()

    async def get(self) -> tuple[ListNews, bool]:
        """Return the next list, and whether polls failed before it. Raises what ended polling."""
        await self._there.wait()
        news, self._news = self._news, None
        blind, self._blind = self._blind, False
        if news is None:
            assert self._end is not None
            raise self._end
        if self._end is None:
            self._there.clear()
        return news, blind


class AccountChanges:
    """What was reported of the account, and what the next list says against it."""

    def __init__(self, patience: float) -> None:
        """``patience``: seconds of nothing but stale reads after which these are believed."""
        self._patience = patience
        self._servers: dict[ServerId, Server] | None = None
        self._polled_at = 0.0
        self._missing: dict[ServerId, Server] = {}
        self._seconds = 0.0
        self._stale: dict[ServerId, float] = {}

    def missing(self) -> list[Server]:
        """Return the servers reported before that the last list lacks: to be read by id."""
        return list(self._missing.values())

    def update(self, news: ListNews, *, blind: bool = False) -> Iterator[StatusChange]:
        """Yield every difference that a list shows; `settle` follows, for the servers that it lacks.

        ``blind``: polls failed before it.
        """
        old, first = self._servers or {}, self._servers is None
        shown = {key: self._server(old, key, news, position) for key, position in news.list.places.items()}
        self._missing = {key: server for key, server in old.items() if key not in shown}
        self._seconds = 0.0 if first else news.list.requested_at - self._polled_at
        self._servers, self._polled_at = {}, news.list.requested_at
        if blind and not first:
            yield StatusChange(change=Change.BLIND, seconds=self._seconds)
        yield from self._differences(old, shown, first)

    def settle(self, still: Mapping[ServerId, Server]) -> Iterator[StatusChange]:
        """Yield what became of those that the list lacked; ``still`` holds the ones that were found by id."""
        missing, self._missing = self._missing, {}
        yield from self._differences(missing, still, False)
        for key, server in missing.items():
            if key not in still:
                yield self._gone(key, server)

    def _differences(
        self, old: Mapping[ServerId, Server], shown: Mapping[ServerId, Server], first: bool
    ) -> Iterator[StatusChange]:
        assert self._servers is not None
        for key, server in shown.items():
            before = old.get(key)
            if server.status == GONE:
                if before is not None:
                    yield self._gone(key, before)
                continue
            self._servers[key] = server
            change = self._change(before, server, first)
            if change is not None:
                yield StatusChange(
                    change=change,
                    server_id=server.id,
                    server=server,
                    before=None if before is None else str(before.status),
                    after=str(server.status),
                    seconds=self._seconds,
                )

    def _gone(self, key: ServerId, server: Server) -> StatusChange:
        self._stale.pop(key, None)
        return StatusChange(
            change=Change.GONE,
            server_id=server.id,
            server=attrs.evolve(server, status=ServerStatus(GONE)),
            before=str(server.status),
            after=GONE,
            seconds=self._seconds,
        )

    def _server(self, old: Mapping[ServerId, Server], key: ServerId, news: ListNews, position: int) -> Server:
        """Return the server as shown, or as known before where this read is stale: no changes back and forth."""
        before = old.get(key)
        changed = news.changed is None or key in news.changed
        if before is not None and not changed and key not in self._stale:
            return before  # what is shown as before is not read again
        snapshot = news.snapshot
        try:
            server = snapshot.record(position)
        except DecodeError:
            row = snapshot.status(position)
            server = Server(id=row.id, name="", status=row.status, updated_at=row.updated_at)
        if before is None:
            return server
        counts, since = judge(
            server.updated_at,
            before.updated_at,
            self._stale.pop(key, None),
            snapshot.requested_at,
            self._patience,
        )
        if counts:
            return server
        assert since is not None
        self._stale[key] = since
        return before

    @staticmethod
    def _change(before: Server | None, now: Server, first: bool) -> Change | None:
        if before is None:
            return Change.PRESENT if first else Change.APPEARED
        if before.status != now.status:
            return Change.CHANGED
        return Change.TOUCHED if before.updated_at != now.updated_at else None
