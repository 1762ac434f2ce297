"""Trials against the sandbox."""

from collections.abc import Callable, Iterable
from typing import Any

from vpsorg_async import Client, ServerSpec
from vpsorg_async.doctor import LiveExamination, Observer, Pace, Ruling, choose, new_name
from vpsorg_async.sandbox import Durations, Rule, Sandbox

QUICK = Pace(
    first=0.01, longest=0.05, hold=0.15, first_hold=0.15, create=5.0, command=5.0, search=0.3, removal=5.0
)
"""A sandbox needs no patience; ``hold`` is the only time that always passes in full."""

MOMENT = (0.03, 0.03)
SHORT = Durations(provisioning=MOMENT, starting=MOMENT, stopping=MOMENT, rebooting=MOMENT)
"""Long enough to be seen by a read."""

Phases = dict[str, Iterable[Rule | None]]
"""The rules that are added when a phase begins; None removes those before."""


async def spec_for(vps: Client, dialect: str) -> ServerSpec:
    """The cheapest server."""
    offers = await vps.plans.list()
    if dialect == "documented":
        return choose(new_name(), offers, os=5)
    systems, places = await vps.operating_systems.list(), await vps.locations.list()
    return choose(new_name(), offers, systems=systems, places=places)


async def tried(
    *rules: Rule,
    phases: Phases | None = None,
    dialect: str = "documented",
    pace: Pace = QUICK,
    visibility: float = 60.0,
    others: int = 0,
    inside: Callable[[Sandbox, LiveExamination, str], None] | None = None,
    **options: Any,
) -> tuple[LiveExamination, Sandbox]:
    """Run a trial. ``phases``: rules that are added when a phase begins; ``inside`` is called then."""
    observer = Observer()
    box = Sandbox(dialect=dialect, **{"durations": SHORT, **options})
    async with box:
        box.world.add(others)
        client = Client(
            box.token, base_url=box.url, dialect=dialect, visibility=visibility, **observer.options
        )
        async with client as vps:
            spec, offers = await spec_for(vps, dialect), await vps.plans.list()
            box.faults.add(*rules)

            def begins(phase: str) -> None:
                for rule in (phases or {}).get(phase, ()):
                    if rule is None:
                        box.faults.clear()
                    else:
                        box.faults.add(rule)
                if inside is not None:
                    inside(box, examination, phase)

            examination = LiveExamination(
                vps,
                observer,
                spec,
                dialect=dialect,
                visibility=visibility,
                offers=offers,
                pace=pace,
                on_phase=begins,
            )
            await examination.run()
    return examination, box


def rulings(examination: LiveExamination) -> dict[str, Ruling]:
    """The rulings by the ids of the assumptions."""
    return {one.id: verdict.ruling for one, verdict in examination.report.verdicts}


def ours(examination: LiveExamination, box: Sandbox) -> list[Any]:
    """The servers of the trial that still exist."""
    name = examination.report.observed.spec.name
    return [server for server in box.servers if server.name.lower() == name]


FOREVER = 1e6
