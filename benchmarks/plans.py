"""What it costs to plan a fleet from a list of the account, and to check the plan before it is applied."""

from __future__ import annotations

import statistics
import time

from vpsorg_async import FleetSpec, OperatingSystem, Plan, Server, ServerStatus
from vpsorg_async.fleet.convergence import plan_fleets
from vpsorg_async.fleet.drift import renewed
from vpsorg_async.fleet.guards import Guards
from vpsorg_async.specs import name_key

__all__ = ["plan_cost"]

ROUNDS = 5


def plan_cost(servers: int) -> dict[str, float]:
    """The CPU, in seconds, of a plan for that number of servers, half of which are deleted, and of its check."""
    account = [
        Server(
            id=number,
            name=f"web-{number:05}",
            status=ServerStatus.ACTIVE,
            location="us-west",
            plan=Plan(id=1),
            os=OperatingSystem(id=5),
        )
        for number in range(1, servers + 1)
    ]
    fleet = FleetSpec(name="web-{n:05}", count=servers // 2, plan_id=1, os_id=5, location="us-west")
    guards = Guards(prune=True, max_deletes=servers)
    planned, checked = [], []
    for _ in range(ROUNDS):
        begun = time.process_time()
        plan = plan_fleets([fleet], account, guards)
        between = time.process_time()
        _, changes = renewed(plan, account, lambda subject: name_key(subject.name), lambda server: "")
        checked.append(time.process_time() - between)
        planned.append(between - begun)
        assert len(plan.deletes) == servers - servers // 2
        assert not changes
    return {"cpu": statistics.median(planned), "check": statistics.median(checked)}
