# /// script
# requires-python = ">=3.11"
# dependencies = ["apache-airflow-core>=3.3,<4", "vpsorg-async"]
# ///
"""Create a server in an Airflow task, and wait for it without a worker: a deferrable operator and its trigger.

    # dags/web.py, beside this file
    from airflow.sdk import dag

    from airflow_trigger import CreateServer, read_ids

    @dag(schedule=None)
    def web():
        CreateServer.partial(task_id="create", plan_id=1, os_id=5, location="us-west", before=read_ids()).expand(
            name=["web-1", "web-2"]
        )

    web()

The token is in the environment of workers and triggerers (VPSORG_API_TOKEN), so it is in no database and in no log.

- A worker sends the create, and defers. The receipt of the create is the state of the trigger: any triggerer can wait
  with it, also after the first one died.
- All triggers of a triggerer run on one event loop, and share one client: its connections, its limits and its polls. A
  hundred servers cost as many polls as one.
- A trigger can begin again at any time on another triggerer, so its deadline is a time of day.
- A worker that dies between the create and the deferral makes Airflow execute the task again. The ids that were in the
  account before, read by a task of their own, show which servers the first try made. Any further try searches for the
  name for SETTLE seconds first. Lists of the account must not lag behind for longer than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import BaseOperator, task
from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from vpsorg_async import Client, Receipt, ServerId, ServerSpec, SharedClient
from vpsorg_async.errors import VpsOrgError
from vpsorg_async.plain import to_plain

SETTLE = 30.0


class ServerActiveTrigger(BaseTrigger):
    """Fires when the server of a receipt is active, or can't become so. ``deadline`` is a time of day, in UTC."""

    def __init__(self, receipt: str, deadline: str) -> None:
        super().__init__()
        self.receipt = receipt
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {"receipt": self.receipt, "deadline": self.deadline}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        left = datetime.fromisoformat(self.deadline) - datetime.now(UTC)
        try:
            async with SharedClient(Client.from_env) as vps:
                receipt = Receipt.from_json(self.receipt)
                # after the deadline, one poll decides
                timeout = max(left.total_seconds(), 1.0)
                server = await vps.wait_until(receipt, "active", timeout=timeout)
        except VpsOrgError as error:
            yield TriggerEvent({"error": str(error)})
        else:
            # to_plain leaves a root password out
            yield TriggerEvent({"server": to_plain(server)})


@task
def read_ids() -> list[ServerId]:
    """The ids that are in the account before the first create. What a task returns stays when others try again."""

    async def read() -> list[ServerId]:
        async with Client.from_env() as vps:
            return [server.id for server in await vps.servers.list()]

    return asyncio.run(read())


class CreateServer(BaseOperator):
    """Create one server, defer until it is active, and return its record as plain data."""

    template_fields: Sequence[str] = ("name", "before")

    def __init__(
        self,
        *,
        name: str,
        plan_id: int,
        os_id: int,
        location: str,
        before: Sequence[ServerId],
        seconds: float = 900,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.name = name
        self.plan_id = plan_id
        self.os_id = os_id
        self.location = location
        self.before = before
        self.seconds = seconds

    def execute(self, context: Any) -> None:
        receipt = asyncio.run(self._create(again=context["ti"].try_number > 1))
        deadline = datetime.now(UTC) + timedelta(seconds=self.seconds)
        self.defer(
            trigger=ServerActiveTrigger(receipt.to_json(), deadline.isoformat()), method_name="completed"
        )

    async def _create(self, *, again: bool) -> Receipt:
        spec = ServerSpec(name=self.name, plan_id=self.plan_id, os_id=self.os_id, location=self.location)
        async with Client.from_env() as vps:
            report = await vps.fleet.create(
                [spec],
                timeout=self.seconds,
                wait=False,
                before=self.before,
                settle_first=SETTLE if again else 0,
            )
            report.raise_for_failures()
            (server,) = report.servers
            return vps.receipt(server) or Receipt.of(server, "create")

    def completed(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """What the task does after the trigger has fired."""
        if "error" in event:
            raise AirflowException(event["error"])
        return dict(event["server"])
