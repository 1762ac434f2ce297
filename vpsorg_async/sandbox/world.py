"""The provider as a state machine: servers, their statuses over time, credit, and a ledger of committed changes.

Pure and seeded: no I/O and no clock of its own. Every call takes `now`, in seconds. Before it answers, everything that
is due by then happens, each event at its own time. Two worlds with the same seed and the same calls answer alike. Not
thread-safe; `Engine` adds the lock.

A server is a sequence of frozen `Server` records, one per state. A moving status ends by itself:

    status         ends as   lasts (seconds)             accepts
    provisioning   active    `Durations.provisioning`    -
    starting       active    `Durations.starting`        hard_stop
    stopping       stopped   `Durations.stopping`        hard_stop
    rebooting      active    `Durations.rebooting`       hard_stop
    active         -                                     stop, reboot, hard_stop
    stopped        -                                     start
    suspended      -                                     -
    any other      -                                     -

Documented at https://www.vps.org/api/v1/docs/servers/: 400 for starting a running server and for rebooting one that
is not running, and 2 to 5 minutes of provisioning. The other refusals and durations are assumptions. So is everything
about `hard_stop`, which only the provider's dialect has: it takes effect at once. All other commands are accepted in
every status. Names need not be unique, because the page does not say that they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

from attrs import evolve

from . import forms
from .agenda import Agenda
from .catalogue import FIRST_ID, ipv4
from .durations import Durations
from .errors import NoCredit, NotAllowed, NotFound, Refused, SandboxError
from .keys import KEY_CHANGES, Keyring, SshKey
from .ledger import Change, Command
from .records import Server, ServerId
from .slots import Slot
from .statuses import MOVING, POWER


class World:
    """The account and everything in it. All times are seconds of the caller's clock.

    `speed` divides all durations. `credit` is the number of servers that can still be paid for, None for no limit; a
    delete refunds nothing. `epoch` is the POSIX time at clock 0. Timestamps are shown in whole seconds: with
    `distinct_updates`, a second change within one second sets `updated_at` to the next second. `identify` converts a
    server's number to its id, `address` to its IPv4 address. SSH keys are in `keys`; reads of them never lag. With
    `track`, the world remembers which servers have changed until `changed` returns them.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        speed: float = 1.0,
        credit: int | None = None,
        durations: Durations | None = None,
        epoch: float = 0.0,
        distinct_updates: bool = True,
        newest_first: bool = False,
        identify: Callable[[int], ServerId] = int,
        address: Callable[[int], str] = ipv4,
        track: bool = False,
    ) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise SandboxError(f"speed is a finite number > 0, not {speed!r}")
        if credit is not None and credit < 0:
            raise SandboxError(f"credit is a number of servers >= 0 or None, not {credit!r}")
        self.now: float = -math.inf
        self.credit = credit
        self.ledger: list[Change] = []
        self.keys: Keyring = Keyring()
        self.revision: int = 0
        """Increases whenever a list could show something else, unless reads lag."""
        self._seed = seed
        self._speed = speed
        self._durations = durations or Durations()
        self._epoch = epoch
        self._distinct_updates = distinct_updates
        self._newest_first = newest_first
        self._identify = identify
        self._address = address
        self._changed: dict[ServerId, None] | None = {} if track else None
        self._slots: dict[ServerId, Slot] = {}
        self._live: dict[ServerId, Slot] = {}
        self.agenda: Agenda = Agenda()
        self._entered = 0
        self._lag = 0.0
        self._lag_until = -math.inf
        self._lingering = -math.inf

    def at(self, now: float) -> World:
        """Let everything happen that is due by `now`, and return this world; time never goes back."""
        for due, event in self.agenda.due(now):
            self.now = max(self.now, due)
            event(due)
        self.now = max(self.now, now)
        return self

    def wall(self, moment: float) -> float:
        """Return the POSIX time of a moment on the world's clock."""
        return self._epoch + moment

    @property
    def lagging(self) -> bool:
        """True while reads show an older state."""
        return self.now < self._lag_until

    @property
    def _read_at(self) -> float:
        return self.now - self._lag if self.lagging else self.now

    def servers(self, now: float) -> list[Server]:
        """Return what a list shows at `now`, in the order of creation or its reverse."""
        self.at(now)
        if self.lagging or self.now < self._lingering:
            seen = [(slot, slot.at(self._read_at, slot.unlisted)) for slot in self._slots.values()]
        else:
            seen = [(slot, slot.server) for slot in self._live.values()]
        shown = [state for slot, state in seen if state is not None and slot.hidden_in_list <= self.now]
        return shown[::-1] if self._newest_first else shown

    def find(self, server_id: ServerId, now: float) -> Server:
        """Return what a read by id shows at `now`. Raises `NotFound`."""
        self.at(now)
        slot = self._slots.get(server_id)
        if slot is not None and slot.hidden_by_id <= self.now:
            state = slot.at(self._read_at, slot.gone)
            if state is not None:
                return state
        raise _not_found(server_id)

    def truth(self, now: float) -> tuple[Server, ...]:
        """Return every server that exists at `now`, whatever reads show."""
        self.at(now)
        return tuple(slot.server for slot in self._live.values())

    def existing(self, server_id: ServerId) -> Server | None:
        """Return a server as it is, whatever reads show; None if it does not exist."""
        slot = self._live.get(server_id)
        return slot.server if slot else None

    def changed(self) -> tuple[ServerId, ...]:
        """Return the servers that were added, changed or removed since the last call."""
        changed = tuple(self._changed or ())
        (self._changed or {}).clear()
        return changed

    def apply(self, command: Command, now: float, request: int | None = None) -> Server:
        """Commit a change, record it in the ledger, and return the server after it (before it, for a delete).

        Raises `NotFound`, `NotAllowed` or `NoCredit`; then nothing is changed.
        """
        self.at(now)
        return self._commit(command, self.now, request)

    def apply_key(self, command: Command, now: float, request: int | None = None) -> SshKey:
        """Commit a change of an SSH key, like `apply`."""
        self.at(now)
        return self._commit_key(command, self.now, request)

    def apply_later(self, command: Command, now: float, delay: float, request: int | None = None) -> None:
        """Commit a change in `delay` seconds. If it is refused then, no one is informed, as with any lost answer."""
        self.at(now)
        self.agenda.add(self.now + delay, partial(self._commit_late, command, request))

    def add(
        self,
        count: int = 1,
        *,
        now: float,
        status: str = "active",
        name: str = "server",
        plan_id: int = 1,
        os_id: int = 5,
        location: str = "us-west",
        age: float | None = None,
    ) -> tuple[Server, ...]:
        """Add servers without a request: no credit, no ledger entry.

        Several servers are named `name-<number>`. They were created `age` seconds ago; by default a day for a settled
        status, and just now for a moving one. Raises `Invalid` for values that a create would refuse.
        """
        if count < 0:
            raise SandboxError(f"count is a number >= 0, not {count!r}")
        self.at(now)
        form = {"name": name, "plan_id": plan_id, "os_id": os_id, "location": location}
        fields = forms.creation(form)
        moment = self.now - ((0.0 if status in MOVING else 86_400.0) if age is None else age)
        added: list[Server] = []
        for _ in range(count):
            slot = self._enter(fields, status, moment)
            if count > 1:
                slot.adjust(name=f"{name}-{slot.server.number}")
            if status in MOVING:
                self._run(slot, self.now)
            added.append(slot.server)
        return tuple(added)

    def suspend(self, server_id: ServerId, now: float) -> Server:
        """Suspend a server, as a provider does."""
        return self.set_status(server_id, "suspended", now)

    def vanish(self, server_id: ServerId, now: float) -> None:
        """Remove a server, without a request and without an entry in the ledger."""
        self.at(now)
        self._remove(self._known(server_id), self.now)

    def set_status(
        self,
        server_id: ServerId,
        word: str,
        now: float,
        *,
        seconds: float | None = None,
        then: str = "active",
    ) -> Server:
        """Give a server any status word.

        A moving status ends by itself after its usual time. With `seconds` any status ends after that time, in `then`
        (a moving one in its usual status); `math.inf` makes it stay.
        """
        self.at(now)
        slot = self._known(server_id)
        self._change(slot, self.now, status=word)
        if seconds is not None:
            self._move_on(slot, self.now + seconds, MOVING.get(word, then))
        elif word in MOVING:
            self._run(slot, self.now)
        return slot.server

    def adjust(self, server_id: ServerId, now: float, **fields: Any) -> Server:
        """Change fields of a server that no read shows. Raises `SandboxError`, also if the world does not `track`."""
        if self._changed is None:
            raise SandboxError("the servers of this sandbox do not listen: pass boot= to Sandbox")
        self.at(now)
        server = self._known(server_id).adjust(**fields)
        self._note_change(server_id)
        return server

    def readdress(self) -> None:
        """Give all servers the addresses that `address` returns now."""
        for slot in self._slots.values():
            slot.states = [evolve(state, address=self._address(state.number)) for state in slot.states]
        self.revision += 1

    def hide(
        self, server_id: ServerId, seconds: float, now: float, *, by_id: bool = True, in_list: bool = True
    ) -> None:
        """Hide a server from reads by id and/or from lists for `seconds`; it still exists."""
        self.at(now)
        slot = self._known(server_id)
        until = self.now + seconds
        slot.hide(until, by_id=by_id, in_list=in_list)
        self._touch(self.now)
        self.agenda.add(until, self._touch)

    def lag(self, seconds: float, now: float, *, lasting: float | None = None) -> None:
        """Let reads show the state of `seconds` ago, for `lasting` seconds (`seconds`, if None)."""
        self.at(now)
        self._lag = seconds
        self._lag_until = self.now + (seconds if lasting is None else lasting)

    def _commit(self, command: Command, moment: float, request: int | None) -> Server:
        operation, fields = command.operation, command.fields
        if operation == "create":
            if self.credit == 0:
                raise NoCredit("Insufficient credits.")
            if self.credit is not None:
                self.credit -= 1
            slot = self._enter(fields, "provisioning", moment)
            self._run(slot, moment)
            server = slot.server
        else:
            slot = self._visible(command.server_id, moment)
            if operation == "delete":
                server = slot.server
                self._remove(slot, moment, **fields)
            elif operation in POWER:
                server = self._power(slot, operation, moment)
            elif operation in ("replace", "update", "resize"):
                server = self._change(slot, moment, **fields)
            elif operation in ("backup", "snapshot"):
                server = slot.server
            else:
                raise SandboxError(f"not a change: {operation!r}")
        word = "deleted" if operation == "delete" else server.status
        self._note(moment, operation, server.id, server.name, word, request)
        return server

    def _commit_key(self, command: Command, moment: float, request: int | None) -> SshKey:
        key = self.keys.change(command.operation, command.fields, self.wall(moment))
        word = "deleted" if command.operation == "delete_ssh_key" else "added"
        self._note(moment, command.operation, None, key.name, word, request)
        return key

    def _commit_late(self, command: Command, request: int | None, moment: float) -> None:
        commit = self._commit_key if command.operation in KEY_CHANGES else self._commit
        with suppress(Refused):
            commit(command, moment, request)

    def _note(self, moment: float, operation: str, *rest: Any) -> None:
        self.ledger.append(Change(len(self.ledger) + 1, moment, operation, *rest))

    def _power(self, slot: Slot, operation: str, moment: float) -> Server:
        permitted, begun = POWER[operation]
        status = slot.server.status
        if status not in permitted:
            running = operation == "start" and status == "active"
            raise NotAllowed(
                "Server is already running." if running else f"Cannot {operation} a server that is {status}."
            )
        self._change(slot, moment, status=begun)
        if begun in MOVING:
            self._run(slot, moment)
        return slot.server

    def _enter(self, fields: Mapping[str, Any], status: str, moment: float) -> Slot:
        number = FIRST_ID + self._entered
        self._entered += 1
        wall = self.wall(moment)
        known: dict[str, Any] = {"id": self._identify(number), "number": number, "status": status}
        times: dict[str, Any] = {"created_at": wall, "updated_at": wall, "since": moment}
        if status == "active":
            times.update(active_since=moment, boots=1)
        server = Server(address=self._address(number), **known, **times, **fields)
        self._slots[server.id] = self._live[server.id] = slot = Slot([server])
        self._note_change(server.id)
        return slot

    def _change(self, slot: Slot, moment: float, **fields: Any) -> Server:
        last = slot.server
        updated = self.wall(moment)
        if self._distinct_updates:
            updated = max(updated, math.floor(last.updated_at) + 1)
        self._note_change(last.id)
        return slot.change(moment, updated_at=max(updated, last.updated_at), **fields)

    def _note_change(self, server_id: ServerId) -> None:
        self.revision += 1
        if self._changed is not None:
            self._changed[server_id] = None

    def _remove(
        self, slot: Slot, moment: float, word: str = "", seconds: float = 0.0, in_list: bool = False
    ) -> None:
        """Remove a server; with a word, reads show that status for `seconds` more."""
        if word:
            self._change(slot, moment, status=word)
            self._lingering = max(self._lingering, moment + seconds)
            self.agenda.add(moment + seconds, self._touch)
        slot.gone = moment + seconds
        slot.unlisted = slot.gone if in_list else moment
        del self._live[slot.server.id]
        self._note_change(slot.server.id)

    def _run(self, slot: Slot, moment: float) -> None:
        server = slot.server
        low, high = getattr(self._durations, server.status)
        slot.draws += 1
        # One draw per server and move, so that one server never changes what another one draws.
        draw = Random(f"{self._seed}/{server.number}/{slot.draws}").random()
        seconds = low if low == high else low + (high - low) * draw
        self._move_on(slot, moment + seconds / self._speed, MOVING[server.status])

    def _move_on(self, slot: Slot, until: float, then: str) -> None:
        slot.adjust(until=until, then=then)
        if math.isfinite(until):
            self.agenda.add(until, partial(self._settle, slot))

    def _settle(self, slot: Slot, moment: float) -> None:
        server = slot.server
        if slot.gone == math.inf and server.until == moment and server.then is not None:
            self._change(slot, moment, status=server.then)

    def _touch(self, moment: float) -> None:
        self.revision += 1

    def _known(self, server_id: ServerId) -> Slot:
        try:
            return self._live[server_id]
        except KeyError:
            raise SandboxError(f"there is no server {server_id}") from None

    def _visible(self, server_id: ServerId | None, moment: float) -> Slot:
        slot = self._live.get(server_id) if server_id is not None else None
        if slot is None or slot.hidden_by_id > moment:
            raise _not_found(server_id)
        return slot


def _not_found(server_id: ServerId | None) -> NotFound:
    return NotFound(f"No server {server_id}.")
