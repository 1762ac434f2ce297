"""A trial of the service: a script of calls on one cheap server, which is deleted at the end whatever happens.

::

    list                         what was there before
    create    get, list ...      until it is active, and lists show it
    active    list by status, start again (refused)
    update    get                PATCH; documented dialect only
    replace   get                PUT; documented dialect only
    reboot    get ...            until it has settled
    stop      get ...
    stopped   list by status, reboot (refused)
    start     get ...
    delete    get, list ...      until neither shows it
    deleted   delete again (404)

A call that fails is part of what is observed, and the script goes on, unless the token is refused or the server is
gone. Whatever ends the script, a cancellation included, `removal` runs to its end.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from ..changes import ECHOES
from ..client import Client
from ..errors import (
    NotFoundError,
    OutcomeUnknownError,
    RequestError,
    Sent,
    ServerGoneError,
    VpsOrgError,
    is_forbidden,
)
from ..lifecycle.commands import LEAVING, MOVING
from ..listing import Listing
from ..records import ActionAccepted, PlanOffer, Server, ServerId
from ..specs import ServerSpec, id_text, name_key
from .observations import Observations, Sighting, Step, moved
from .observer import Observer

__all__ = ["Pace", "Trial", "is_settled"]

MOST_REFUSALS = 3
"""The number of times that a delete is refused for the token's sake before no other one is sent."""


@attrs.frozen(kw_only=True)
class Pace:
    """How long a trial waits, in seconds.

    Args:
        first: The first pause between two reads.
        longest: The longest pause; each is half as long again as the one before.
        hold: How long a status must stay the same before it is believed that it is the last one.
        first_hold: The same after the create. It has to be longer than a new server takes, or else a word that is not
            known, such as one for "being installed", would be mistaken for one of a server that runs.
        create: The most for a new server until it is active.
        command: The most for another command.
        search: How long the server of a create whose answer was lost is searched for.
        removal: The most for the server to be deleted, and gone.
    """

    first: float = 0.1
    longest: float = 5.0
    hold: float = 120.0
    first_hold: float = 600.0
    create: float = 900.0
    command: float = 300.0
    search: float = 60.0
    removal: float = 300.0


class Trial:
    """The calls of one trial, in their order. ``on_phase`` is called with each phase as it begins."""

    def __init__(
        self,
        vps: Client,
        observer: Observer,
        spec: ServerSpec,
        *,
        dialect: str,
        visibility: float,
        offers: Sequence[PlanOffer] = (),
        pace: Pace | None = None,
        on_phase: Callable[[str], None] | None = None,
    ) -> None:
        self._vps = vps
        self._observer = observer
        self._spec = spec
        self._offers = tuple(offers)
        self.dialect = dialect
        self._visibility = visibility
        self.pace: Pace = pace or Pace()
        self._on_phase = on_phase
        self._phases: set[str] = set()
        self._steps: list[Step] = []
        self._ends: dict[str, str] = {}
        self.before: tuple[ServerId, ...] = ()
        """The ids that the account had before the create."""
        self.server_id: ServerId | None = None

    @property
    def observations(self) -> Observations:
        """What was seen so far."""
        return Observations(
            dialect=self.dialect,
            spec=self._spec,
            visibility=self._visibility,
            server_id=self.server_id,
            steps=tuple(self._steps),
            ends=dict(self._ends),
            origin=self._observer.origin,
            create_left=self._observer.create_left,
            misfits=tuple(self._observer.misfits),
            incomplete=tuple(self._observer.incomplete),
            offers=self._offers,
        )

    async def script(self) -> None:
        """Make all calls. Raises the error that ends them early."""
        await self._list_before()
        await self._create()
        await self._settle("create", "active", self.pace.create, listed=True)
        await self._filters("active")
        await self._refused("active", "start")
        if self.dialect == "documented":
            await self._edits()
        await self._command("reboot", "active")
        await self._command("stop", "stopped")
        await self._filters("stopped")
        await self._refused("stopped", "reboot")
        await self._command("start", "active")
        await self.delete("delete")
        if self.observations.gone_at() is not None:
            await self.call("deleted", "delete")

    # -- calls ------------------------------------------------------------------------------------------------------

    async def call(self, phase: str, name: str, work: Callable[[], Awaitable[Any]] | None = None) -> Step:
        """Make one call, and record it, however it ends. Raises what ends the trial: the token was refused.

        Without ``work`` it is the method of that name, on the server.
        """
        if phase not in self._phases:
            self._phases.add(phase)
            if self._on_phase is not None:
                self._on_phase(phase)
        at, result, error = self._observer.seconds, None, None
        try:
            result = await (work or self._method(name))()
        except VpsOrgError as failure:
            error = failure
        finally:
            step = self._step(phase, name, at, result, error)
            self._steps.append(step)
        if error is not None and is_forbidden(error) and phase != "cleanup":
            raise error
        return step

    def _method(self, name: str) -> Callable[[], Awaitable[Any]]:
        method, server_id = getattr(self._vps.servers, name), self.server_id
        return lambda: method(server_id)

    def _step(self, phase: str, name: str, at: float, result: Any, error: VpsOrgError | None) -> Step:
        server, lacks = result if isinstance(result, Server) else None, ""
        if isinstance(result, Listing):
            server, lacks = self._of(result), result.lacks
        elif isinstance(result, tuple):
            server = next((one for one in result if self._is_it(one)), None)
        return Step(
            phase=phase,
            call=name,
            at=at,
            ended=self._observer.seconds,
            exchanges=self._observer.take(),
            server=server,
            accepted=result if isinstance(result, ActionAccepted) else None,
            lacks=lacks,
            error=error,
        )

    def _is_it(self, server: Server) -> bool:
        return self.server_id is not None and id_text(server.id) == id_text(self.server_id)

    def _of(self, listing: Listing) -> Server | None:
        """Return the server of this trial as a list shows it."""
        # by its name as well: the id of the answer to the create can be another one
        named = listing.by_name().get(name_key(self._spec.name), [])
        return next(filter(self._is_it, listing.servers), None) or next(iter(named), None)

    async def _list_before(self) -> None:
        found: list[Listing] = []
        step = await self.call("before", "list", lambda: self._listed(found))
        if step.error is not None:
            raise step.error
        self.before = tuple(server.id for server in found[0].servers)

    async def _listed(self, into: list[Listing]) -> Listing:
        into.append(await self._vps.listing())
        return into[-1]

    async def _create(self) -> None:
        step = await self.call("create", "create", lambda: self._vps.servers.create(self._spec))
        if step.server is not None:
            self.server_id = step.server.id
            return
        assert step.error is not None
        if isinstance(step.error, RequestError) and step.error.sent is Sent.MAYBE:
            await self.search("create")
        if self.server_id is None:
            raise step.error

    async def search(self, phase: str) -> Step:
        """Search for the server of a create without an answer, by its name, which no other server has."""

        async def find() -> Server | None:
            return await self._vps.fleet.find_created(self._spec, before=self.before, settle=self.pace.search)

        step = await self.call(phase, "search", find)
        if step.server is not None:
            self.server_id = step.server.id
        elif isinstance(step.error, OutcomeUnknownError) and len(step.error.candidates) == 1:
            (self.server_id,) = step.error.candidates
        return step

    async def _command(self, command: str, target: str) -> None:
        step = await self.call(command, command)
        if step.error is None or isinstance(step.error, OutcomeUnknownError):
            await self._settle(command, target, self.pace.command)

    async def _refused(self, phase: str, command: str) -> None:
        """Send a command that the status does not permit."""
        step = await self.call(phase, command)
        if step.error is None:
            await self._settle(phase, "active", self.pace.command)

    async def _filters(self, phase: str) -> None:
        if self.dialect == "documented":  # the other one has no filters
            for word in ("active", "stopped"):
                await self.call(phase, f"list {word}", functools.partial(self._vps.servers.list, word))

    async def _edits(self) -> None:
        # a name that differs in its letters only, so that a search by name still finds it
        kind, _, chance = self._spec.name.rpartition("-")
        name = f"{kind}-{chance.upper()}"
        servers, server_id = self._vps.servers, self.server_id
        assert server_id is not None
        await self.call("update", "update", lambda: servers.update(server_id, name=name))
        await self.call("update", "get")
        whole: dict[str, Any] = {"hostname": f"{self._spec.name}.example.com", "backups_enabled": False}
        await self.call(
            "replace", "replace", lambda: servers.replace(server_id, name=self._spec.name, **whole)
        )
        await self.call("replace", "get")

    async def removal(self) -> None:
        """Delete the server if it may still exist. Whether it did is in `Observations.remains`."""
        observed = self.observations
        if observed.remains and self.server_id is None:
            await self.search("cleanup")
        ends, pause, refusals = self._observer.seconds + self.pace.removal, self.pace.first, 0
        while self.server_id is not None and self.observations.remains:
            step = await self.call("cleanup", "delete")
            if step.refused in ECHOES - {404}:
                await self.call("cleanup", "stop")  # some services delete a server only while it is off
            await self._look("cleanup", listed=True)
            refusals += step.error is not None and is_forbidden(step.error)
            if refusals == MOST_REFUSALS or self._observer.seconds >= ends:
                return
            await self._observer.sleep(pause)
            pause = min(pause * 1.5, self.pace.longest)

    async def delete(self, phase: str) -> None:
        """Delete the server, and read until neither a read by id nor a list shows it."""
        step = await self.call(phase, "delete")
        if step.error is not None and not _may_be_done(step.error):
            return
        await self._read(phase, self.pace.removal, self._has_left)

    # -- reading until something has happened -----------------------------------------------------------------------

    async def _settle(self, phase: str, target: str, seconds: float, *, listed: bool = False) -> None:
        """Read until the server has settled, at the target or elsewhere. Raises `ServerGoneError`."""
        before = self.observations.before(phase)
        hold = self.pace.first_hold if phase == "create" else self.pace.hold

        def settled(steps: Sequence[Step]) -> bool:
            reads = [step for step in steps if step.call == "get"]
            if phase != "create" and len(reads) > 1 and reads[-1].absent and reads[-2].absent:
                raise ServerGoneError(
                    f"server {self.server_id} does not exist any more", server_id=self.server_id
                )
            waited = self._observer.seconds - steps[0].at
            shown = not listed or waited >= seconds or any(s.call == "list" and s.server for s in steps)
            seen = self.observations.sightings(phase)
            return shown and is_settled(seen, target, before, hold, self._observer.seconds)

        if await self._read(phase, seconds, settled, listed=listed):
            self._ends[phase] = self.observations.sightings(phase)[-1].word

    def _has_left(self, steps: Sequence[Step]) -> bool:
        reads, lists = ([step for step in steps if step.call == call] for call in ("get", "list"))
        if not (reads and lists):
            return False
        if reads[-1].absent and lists[-1].error is None:
            return lists[-1].server is None
        seen = [Sighting(step.at, str(step.server.status), None) for step in reads if step.server]
        # it stays, with some word for what is deleted
        return bool(seen) and _held(seen, self._observer.seconds) >= self.pace.hold

    async def _read(
        self, phase: str, seconds: float, is_over: Callable[[Sequence[Step]], bool], *, listed: bool = True
    ) -> bool:
        """Read the server, and the list if asked for, until it is over, or the time is. Returns whether it is over."""
        ends, pause = self._observer.seconds + seconds, self.pace.first
        first = len(self._steps)
        while True:
            await self._look(phase, listed=listed)
            if is_over(self._steps[first:]):
                return True
            if self._observer.seconds >= ends:
                return False
            await self._observer.sleep(pause)
            pause = min(pause * 1.5, self.pace.longest)

    async def _look(self, phase: str, *, listed: bool) -> None:
        """Read the server by its id, and the list if asked for. If only the list has it, its id is the list's."""
        read = await self.call(phase, "get")
        if listed:
            row = (await self.call(phase, "list", self._vps.listing)).server
            if read.absent and row is not None:
                self.server_id = row.id


def is_settled(seen: Sequence[Sighting], target: str, before: Server | None, hold: float, now: float) -> bool:
    """Return whether a server has come to rest after a command. Pure.

    Args:
        seen: What reads have shown since the command.
        target: The word for the status that the command leads to. Any other one has to last.
        before: The server before the command.
        hold: The seconds after which a status that stays the same is believed to be the last one.
        now: The present time.
    """
    if not seen or seen[-1].word in MOVING | LEAVING:
        return False
    if seen[-1].word == target and (before is None or moved(before, seen)):
        return True
    return _held(seen, now) >= hold


def _held(seen: Sequence[Sighting], now: float) -> float:
    """Return for how long the last status has been the same."""
    since = seen[-1].at
    for sighting in reversed(seen):
        if sighting.word != seen[-1].word:
            break
        since = sighting.at
    return now - since


def _may_be_done(error: VpsOrgError) -> bool:
    """Return whether a delete that failed may have been applied, or found no server."""
    return isinstance(error, NotFoundError) or (isinstance(error, RequestError) and error.sent is Sent.MAYBE)
