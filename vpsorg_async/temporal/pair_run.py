"""One pair of servers on its way through a rolling replacement, as a part of a workflow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from ..fleet.replacement import Order
from .hooks import asked
from .planning_step import told

__all__ = ["Deletes", "PairFailed", "PairRun"]

ONCE = RetryPolicy(maximum_attempts=1)
A_FEW = RetryPolicy(maximum_attempts=3)
AGAIN = RetryPolicy(maximum_interval=timedelta(seconds=30))


class PairFailed(Exception):
    """A pair has failed; ``row`` has the fields of its row."""

    def __init__(self, row: dict[str, Any]) -> None:
        super().__init__(row)
        self.row = row


class Deletes:
    """Lets deletes be sent one after the other; ``refused`` says why none is sent any more: one has failed."""

    def __init__(self) -> None:
        self.turn: asyncio.Lock = asyncio.Lock()
        self.refused: str = ""


class PairRun:
    """Replaces one server.

    Args:
        pair: The pair as the plan has it.
        order: Which server comes first.
        request: The request of the workflow.
        settings: Its settings.
        deletes: Those of all pairs.
        decided: Returns what the user says of a create whose outcome is unknown: ``again`` or ``failed``.
        ended: Returns whether the workflow was cancelled, so that no further stage begins.
    """

    def __init__(
        self,
        pair: Mapping[str, Any],
        order: Order,
        request: dict[str, Any],
        settings: Mapping[str, Any],
        deletes: Deletes,
        decided: Callable[[str], Awaitable[str]],
        ended: Callable[[], bool],
    ) -> None:
        self._pair = pair
        self._key: str = pair["key"]
        self._old_name = f"{pair['name']} [{pair['id']}]"
        self._order = order
        self._request = request
        self._settings = settings
        self._deletes = deletes
        self._decided = decided
        self._ended = ended
        self._old_exists = True
        self._old_serves = not pair["down"]
        self._new_exists = False
        self._new_serves = False
        self._known: dict[str, Any] = {}
        self._how: str | None = None

    @property
    def extra(self) -> bool:
        """Whether both servers exist, or may exist."""
        return self._old_exists and self._new_exists

    @property
    def serving(self) -> bool:
        """Whether one of them serves for sure."""
        return self._old_serves or self._new_serves

    async def run(self) -> dict[str, Any]:
        """Return the fields of the row of a pair that was replaced. Raises `PairFailed`."""
        old = await self._read(self._pair["id"], self._pair["name"])
        if old is None:
            # the plan is not right any more: with a new server the fleet could have one too many
            self._old_exists = self._old_serves = False
            why = f"{self._old_name} has gone since the plan was made, and nothing was created for it: plan again"
            raise self._failed("ServerGoneError", why)
        if self._order is Order.OLD_FIRST:
            await self._delete_old()
        await self._create()
        new = await self._read(self._known["server_id"], self._key)
        if new is None:
            raise self._failed("NotFoundError", f"the new server {self._known['server_id']} is gone")
        await self._become_ready(new)
        await self._switch(old, new)
        self._new_serves = True
        if self._old_exists:
            if self._settings["drain"]:
                await asyncio.sleep(self._settings["drain"])
            await self._delete_old()
        if "rename" in self._pair:
            await self._call("vpsorg.update_server", self._known["server_id"], self._pair["rename"])
        return {**self._known, "outcome": "succeeded", "how": "replaced"}

    def cut_short(self) -> PairFailed:
        """Return the failure of a pair that the end of the workflow has cut short."""
        return self._failed("CancelledError", "the workflow was cancelled")

    # -- the stages ---------------------------------------------------------------------------------------------------

    async def _create(self) -> None:
        """Create the new server, once, and wait until it is active."""
        again = False
        while True:
            self._check_end()
            self._new_exists = True  # as far as is known, from the moment at which its create may leave
            chunk = {"request": self._request, "name": self._key, "exists": self._pair.get("exists", False)}
            done = await self._call("vpsorg.create_replacement", chunk | {"again": again})
            row = next(iter(done["rows"]), None)
            if row is None:
                receipt = done["receipts"].get(self._key, {})
                self._known = {"server_id": receipt["server_id"]} if receipt else {}
                raise self.cut_short()
            fields = ("server_id", "status", "ip_address")
            self._known = {field: row[field] for field in fields if field in row}
            self._how = row.get("how")
            if row["outcome"] == "succeeded":
                return
            error, message = row.get("error", ""), row.get("message", "")
            if "server_id" in row:
                await self._give_up(error, f"{self._key} did not become active: {message}")
            if error == "OutcomeUnknownError":
                again = await self._decided(self._key) == "again"
                if again:
                    continue
            else:
                self._new_exists = False
            raise self._failed(error, message)

    async def _become_ready(self, new: dict[str, Any]) -> None:
        """Call the user's check with the new server until it passes."""
        name, settings = self._settings["ready"], self._settings
        began = workflow.time()
        until = began + settings["ready_timeout"]
        while name:
            self._check_end()
            try:
                passed, why = await asked(
                    name,
                    [new],
                    start_to_close_timeout=timedelta(seconds=settings["ready_check_timeout"]),
                    schedule_to_close_timeout=timedelta(hours=1, seconds=settings["ready_check_timeout"]),
                    retry_policy=ONCE,
                )
            except ActivityError as error:
                passed, why = False, f"{name}: {told(error)['message']}"
            if passed:
                return
            if workflow.time() >= until:
                await self._give_up("NeverReadyError", f"{self._key} is not ready: {why}")
            self._check_end()
            # a history has room for some ten thousand checks of all pairs, whatever the interval is
            await asyncio.sleep(max(settings["ready_interval"], (workflow.time() - began) / 10))

    async def _switch(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        """Call the user's activity. If it fails both servers stay: traffic may go to either."""
        name = self._settings["switch"]
        if not name:
            return
        self._check_end()
        try:
            await asked(
                name,
                [old, new],
                start_to_close_timeout=timedelta(seconds=self._settings["switch_timeout"]),
                retry_policy=A_FEW,
            )
        except ActivityError as error:
            raise self._failed(told(error)["error"], f"{name}: {told(error)['message']}") from None

    async def _delete_old(self) -> None:
        """Delete the old server, and wait until it is gone."""
        self._old_serves = False
        await self._delete(self._pair["id"], self._pair["name"], self._known.get("server_id"))
        self._old_exists = False

    async def _give_up(self, error: str, message: str) -> None:
        """Fail because the new server is of no use, and delete it again if that was asked for.

        Only a server is deleted that this workflow has created for sure. Raises `PairFailed`, always.
        """
        own = self._how == "created" and not self._pair.get("exists")
        if self._settings["delete_failed"] and own:
            server_id = self._known.pop("server_id")
            try:
                await self._delete(server_id, self._key, None)
            except PairFailed as failed:
                self._known["server_id"] = server_id
                message += f"; {failed.row['message']}"
            else:
                self._new_exists = False
                message += f"; it was deleted again: {server_id}"
        raise self._failed(error, message)

    # -- activities ---------------------------------------------------------------------------------------------------

    async def _delete(self, server_id: Any, name: str, new_id: Any) -> None:
        chunk = {"id": server_id, "name": name, "timeout": self._settings["timeout"]}
        what = f"{name} [{server_id}]"
        async with self._deletes.turn:
            if self._deletes.refused:
                raise self._failed("PlanRefusedError", f"{what} was not deleted: {self._deletes.refused}")
            done = await self._call(
                "vpsorg.delete_replaced", chunk | ({} if new_id is None else {"new_id": new_id})
            )
            row = next(iter(done["rows"]), None)
            if row is None:
                raise self.cut_short()
            if row["outcome"] != "succeeded":
                self._deletes.refused = f"the delete of {what} failed"
                message = row.get("message", "")
                raise self._failed(row.get("error", ""), f"{what} was not deleted: {message}")

    async def _read(self, server_id: Any, name: str) -> dict[str, Any] | None:
        """Return the record of a server, which has to have this name; None if it is gone."""
        found = await self._call("vpsorg.read_replaced", {"id": server_id, "name": name})
        server: dict[str, Any] | None = found["server"]
        return server

    async def _call(self, name: str, *args: Any) -> dict[str, Any]:
        self._check_end()
        try:
            found: dict[str, Any] = await workflow.execute_activity(
                name,
                args=args,
                start_to_close_timeout=timedelta(days=1, seconds=2 * self._settings["timeout"]),
                heartbeat_timeout=timedelta(seconds=self._settings["heartbeat_timeout"]),
                retry_policy=AGAIN,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                result_type=dict,
            )
        except ActivityError as error:
            raise self._failed(told(error)["error"], told(error)["message"]) from None
        return found

    def _check_end(self) -> None:
        if self._ended():
            raise self.cut_short()

    def _failed(self, error: str, message: str) -> PairFailed:
        """Return the failure, whose message says which servers exist."""
        left = [self._old_name] if self._old_exists else []
        left += [f"{self._key} [{self._known['server_id']}]"] if "server_id" in self._known else []
        left += [f"perhaps {self._key}"] if self._new_exists and "server_id" not in self._known else []
        stay = f"; what exists: {' and '.join(left)}" if left else ""
        return PairFailed({**self._known, "error": error, "message": f"{message}{stay}"})
