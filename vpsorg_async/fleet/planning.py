"""What `ensure` will do: specs and the account go in, one step for each spec comes out. Pure.

The account is a list, which may lag behind this client's own commands. A server with an open command is planned by
the state that the command leads to:

================  ==================================================================
open command      step
================  ==================================================================
delete            CREATE, after it is gone
stop              START, after it has stopped
reboot            WAIT
start             WAIT while it is shown as stopped
create            as it is shown
================  ==================================================================
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import attrs

from ..fleet_plan import FleetPlan, Step, StepKind
from ..lifecycle.commands import GONE
from ..records import Server
from ..specs import ServerSpec, name_key

__all__ = ["Difference", "FleetPlan", "Step", "StepKind", "differing", "plan_fleet"]


@attrs.frozen
class Difference:
    """A field that the account shows and that differs from the spec."""

    field: str
    shown: object
    wanted: object

    @property
    def change(self) -> str:
        """What has to change, in short."""
        return f"{self.field} {self.shown!r} -> {self.wanted!r}"

    def __str__(self) -> str:
        return f"{self.field} is {self.shown!r}, the spec says {self.wanted!r}"


def plan_fleet(
    specs: Iterable[ServerSpec],
    servers: Sequence[Server],
    key_of: Callable[[ServerSpec | Server], str] = lambda subject: name_key(subject.name),
    heading: Callable[[Server], str] = lambda server: "",
) -> FleetPlan:
    """Return a plan with a step for each spec: adopt what exists, create what is missing, start what is stopped.

    Args:
        specs: The specs.
        servers: The servers of the account.
        key_of: Returns what a spec and the servers created from it have in common.
        heading: Returns the command of this client that is still open on a server, empty if none is, or ``gone`` for
            a server that only a lagging list can show.
    """
    by_key: dict[str, list[tuple[Server, str]]] = defaultdict(list)
    for server in servers:
        command = heading(server)
        if GONE not in (command, server.status):
            by_key[key_of(server)].append((server, command))
    return FleetPlan(tuple(_step(spec, by_key.get(key_of(spec), [])) for spec in specs)).priced(())


def _step(spec: ServerSpec, found: Sequence[tuple[Server, str]]) -> Step:
    staying = [(server, command) for server, command in found if command != "delete"]
    if not staying:
        leaving = tuple(server for server, _ in found)
        reason = "after the one that is being deleted" if leaving else ""
        return Step(kind=StepKind.CREATE, spec=spec, after=leaving, reason=reason)
    if len(staying) > 1:
        ids = ", ".join(str(server.id) for server, _ in staying)
        return Step(kind=StepKind.REFUSE, spec=spec, reason=f"{len(staying)} servers have this name: {ids}")
    ((server, command),) = staying
    differences = tuple(map(str, differing(spec, server)))
    after: tuple[Server, ...] = ()
    match server.status, command:
        case "suspended", _:
            kind, reason = StepKind.REFUSE, "it is suspended"
        case "stopped", "start":
            kind, reason = StepKind.WAIT, "it is being started"
        case "stopped", _:
            kind, reason = StepKind.START, ""
        case _, "stop":
            kind, reason, after = StepKind.START, "after it has stopped", (server,)
        case "active", "reboot":
            kind, reason = StepKind.WAIT, "it is being rebooted"
        case "active", _:
            kind, reason = StepKind.KEEP, ""
        case _:
            kind, reason = StepKind.WAIT, f"it is {server.status}"
    return Step(kind=kind, spec=spec, server=server, differences=differences, reason=reason, after=after)


def differing(spec: ServerSpec, server: Server) -> Iterable[Difference]:
    """Return each field that the account shows and that differs from the spec, if no alternative of it fits better."""
    return min((tuple(_differing(variant, server)) for variant in spec.variants), key=len)


def _differing(spec: ServerSpec, server: Server) -> Iterable[Difference]:
    shown = {
        "plan_id": None if server.plan is None else server.plan.id,
        "os_id": None if server.os is None else server.os.id,
        # a location by its number is shown by its name: nothing to compare
        "location": None if str(spec.location).isdecimal() else server.location,
        "hostname": server.hostname if spec.hostname is not None else None,
        "backups_enabled": server.backups_enabled if spec.backups_enabled is not None else None,
    }
    for field, value in shown.items():
        wanted = getattr(spec, field)
        same_name = name_key(str(value)) == name_key(str(wanted)) if field == "hostname" else False
        if value is not None and str(value) != str(wanted) and not same_name:
            yield Difference(field, value, wanted)
