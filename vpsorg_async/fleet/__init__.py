"""Fleets: many servers at once, with one outcome for each."""

from __future__ import annotations

from .events import (
    CommandAnswered,
    CommandLost,
    CommandSent,
    FleetEvent,
    ServerActive,
    ServerAdopted,
    ServerNotReady,
    ServerReplaced,
    ServerSettled,
)
from .fleet import Fleet
from .inputs import (
    ActOptions,
    ApplyOptions,
    CreateOptions,
    PlanOptions,
    RollingOptions,
    ScaleOptions,
    SnapshotOptions,
    StartOptions,
    StuckOptions,
)
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded, TakenAlternative
from .planning import FleetPlan, Step, StepKind
from .remaining import Remaining
from .rolling import RollingRun
from .run import Run

__all__ = [
    "ActOptions",
    "ApplyOptions",
    "CommandAnswered",
    "CommandLost",
    "CommandSent",
    "CreateOptions",
    "Failed",
    "Fleet",
    "FleetEvent",
    "FleetPlan",
    "Outcome",
    "PlanOptions",
    "Remaining",
    "Report",
    "RollingOptions",
    "RollingRun",
    "Run",
    "ScaleOptions",
    "ServerActive",
    "ServerAdopted",
    "ServerNotReady",
    "ServerReplaced",
    "ServerSettled",
    "Skipped",
    "SnapshotOptions",
    "StartOptions",
    "Step",
    "StepKind",
    "StuckOptions",
    "Succeeded",
    "TakenAlternative",
]
