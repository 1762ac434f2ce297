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
    ServerSettled,
)
from .fleet import Fleet
from .inputs import ActOptions, CreateOptions, PlanOptions, RollingOptions, StartOptions
from .outcomes import Failed, Outcome, Report, Skipped, Succeeded
from .planning import FleetPlan, Step, StepKind
from .rolling import RollingRun
from .run import Run

__all__ = [
    "ActOptions",
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
    "Report",
    "RollingOptions",
    "RollingRun",
    "Run",
    "ServerActive",
    "ServerAdopted",
    "ServerNotReady",
    "ServerSettled",
    "Skipped",
    "StartOptions",
    "Step",
    "StepKind",
    "Succeeded",
]
