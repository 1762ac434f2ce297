"""The creates of one run whose answers were lost: each is looked for in the looks that the poller makes anyway."""

from __future__ import annotations

from collections.abc import Callable, Collection

import anyio

from ..errors import (
    AuthenticationError,
    ClientClosedError,
    DecodeError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    VpsOrgError,
)
from ..lifecycle.looks import ListLook
from ..models import Server, ServerId, ServerSpec
from .jobs import Errand, Options, Tools
from .reconcile import Found, Search

__all__ = ["STOPPERS", "Searches"]

STOPPERS = (AuthenticationError, PaymentRequiredError, PermissionDeniedError)
"""After one of these every further request would meet the same, or cost money that is not there."""

_LAST = (*STOPPERS, ClientClosedError)
"""After one of these there will be no look that works."""

INTERVAL = 1.0
"""Seconds between looks at the account while a create is looked for."""
LAST_LOOK = 0.6
"""Seconds for the one look that is made when a run is left early."""


class Searches:
    """Open searches. ``found`` is called with each that ends."""

    def __init__(
        self,
        tools: Tools,
        options: Options,
        ids_before: Collection[str],
        found: Callable[[Errand, Found], None],
    ) -> None:
        self._tools = tools
        self._options = options
        self._ids_before = ids_before
        self._found = found
        self._open: dict[ServerId, tuple[Errand, Search]] = {}

    def open(self, errand: Errand, spec: ServerSpec, error: OutcomeUnknownError) -> None:
        """Look for this one from now on."""
        settle = min(self._options.settle, self._options.timeout)
        search = Search(
            spec,
            error,
            before=self._ids_before,
            now=self._tools.clock.now(),
            settle=settle,
            name=self._tools.servers.shown_name(spec),
        )
        self._open[errand.job.key] = (errand, search)
        try:
            self._tools.waiter.poller.subscribe(self._look, INTERVAL)
        except ClientClosedError as closed:
            self._look(closed)

    def close(self) -> list[Errand]:
        """Look for none any more; returns those that were not found."""
        left = [errand for errand, _ in self._open.values()]
        self._open.clear()
        self._tools.waiter.poller.unsubscribe(self._look)
        return left

    async def last_look(self) -> dict[str, list[Server]]:
        """New servers by name, from one quick look at the account; nothing where even that fails."""
        seen: dict[str, list[Server]] = {}
        with anyio.move_on_after(LAST_LOOK):
            try:
                servers = (await self._tools.servers.look()).servers
            except VpsOrgError:
                return seen
            for server in servers:
                if str(server.id) not in self._ids_before:
                    seen.setdefault(server.name, []).append(server)
        return seen

    def _look(self, look: ListLook | VpsOrgError) -> None:
        """The poller looked at the account, or failed to."""
        now = self._tools.clock.now()
        by_name: dict[str, list[Server]] = {}
        if isinstance(look, ListLook):
            try:
                servers = look.servers
            except DecodeError as unfit:
                return self._look(unfit)  # one that can't be read may be the one that is searched for
            for server in servers:
                by_name.setdefault(server.name, []).append(server)
        for key, (errand, search) in list(self._open.items()):
            if isinstance(look, ListLook):
                found = search.observe(by_name.get(search.name, ()), look.requested_at)
            elif now >= errand.sent_at + self._options.timeout or isinstance(look, _LAST):
                found = search.give_up(f"the account could not be read: {look}")
            else:
                continue
            if found is not None:
                del self._open[key]
                self._found(errand, found)
        if not self._open:
            self._tools.waiter.poller.unsubscribe(self._look)
