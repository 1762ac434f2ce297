"""Fleets and servers as workflows and activities of Temporal: the extra ``temporal``.

::

    engine = await temporalio.client.Client.connect("localhost:7233", plugins=[VpsOrgPlugin(Client.from_env)])
    worker = Worker(engine, task_queue="vpsorg-main")
    ...
    summary = await engine.execute_workflow(
        "vpsorg.FleetEnsure", FleetRequest(specs=specs, timeout=600), id="web", task_queue="vpsorg-main"
    )

A task queue stands for an account, and the id of a workflow for a fleet: two programs that ensure the same fleet meet.
"""

from __future__ import annotations

from .create_step import create_or_find
from .messages import ApplyRequest, FleetRequest, FleetRow, FleetSummary, ReplaceRequest, RollingRequest
from .plugin import VpsOrgPlugin

__all__ = [
    "ApplyRequest",
    "FleetRequest",
    "FleetRow",
    "FleetSummary",
    "ReplaceRequest",
    "RollingRequest",
    "VpsOrgPlugin",
    "create_or_find",
]
