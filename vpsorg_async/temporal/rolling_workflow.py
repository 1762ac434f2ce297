"""The workflow of a rolling reboot: `Rollout` decides which server goes next, activities reboot and check it.

A reboot is sent once. If the worker that sent it died before its receipt was durable, only a person can say whether the
server was rebooted: it is listed as ``undecided`` by the query ``progress``, counts as unavailable, and waits for the
update ``decide``.

================  ===================================================================================================
message           what it does
================  ===================================================================================================
``pause``         signal: no further reboot begins until ``resume``; what was begun goes on
``resume``        signal: reboots begin again
``decide``        update, with an id and ``done`` or ``again``: the reboot of this server was done, or is sent again
``progress``      query: counts, ``undecided`` and why the rollout stopped
``report``        query: a page of rows, 1,000 each, from 0
================  ===================================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import CancelledError as Cancelled

from ..fleet.rollout import Rollout
from .hooks import asked
from .planning_step import is_continuation, planned, raw_json, told
from .rows import RowBook

__all__ = ["RollingReboot"]

ONCE = RetryPolicy(maximum_attempts=1)
_CANCELLED = {
    "error": "CancelledError",
    "message": "the rollout was cancelled while this server was in progress: check whether it was rebooted",
}


@workflow.defn(name="vpsorg.RollingReboot", failure_exception_types=[TypeError])
class RollingReboot:
    """Reboot the servers of a `RollingRequest` a few at a time, and return a `FleetSummary`."""

    def __init__(self) -> None:
        self._book = RowBook("rolling reboot")
        self._settings: dict[str, Any] = {}
        self._rollout = Rollout({}, max_unavailable=1, max_failures=1)
        self._undecided: dict[str, Any] = {}
        self._decisions: dict[str, str] = {}
        # in their order: a replay has to cancel them in the same one
        self._tasks: list[asyncio.Task[None]] = []
        self._paused = False
        self._resumed = False

    @workflow.run
    async def run(self, request: RawValue) -> Any:
        """Return the `FleetSummary`."""
        state = raw_json(request).get("state") if is_continuation() else None
        if state is None:
            settings = await planned("vpsorg.plan_rolling", request)
            state = {"settings": settings, "rows": settings.pop("rows"), "began": workflow.time()}
            state["ids"] = settings.pop("ids")
        self._begin(state)
        try:
            while self._begin_next():
                self._resumed = False
                await workflow.wait_condition(self._changed)
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.remove(task)
                    task.result()  # a bug must not pass for an outcome
            await workflow.wait_condition(workflow.all_handlers_finished)
        except asyncio.CancelledError:
            await self._end_running()
            raise
        if self._rollout.left and not self._rollout.stopped:
            workflow.continue_as_new({"state": self._state(state)})
        why = self._rollout.stopped
        self._book.add({"key": key, "outcome": "skipped", "message": why} for key in self._rollout.left)
        return self._book.summary(workflow.time() - state["began"])

    @workflow.signal
    def pause(self) -> None:
        """Begin no further reboot until `resume`."""
        self._paused = True
        self._rollout.pause()

    @workflow.signal
    def resume(self) -> None:
        """Begin reboots again."""
        self._paused, self._resumed = False, True
        self._rollout.resume()

    @workflow.update
    def decide(self, server_id: Any, decision: str) -> None:
        """Say of an undecided server that its reboot was done, or is to be sent again."""
        self._decisions[str(server_id)] = decision

    @decide.validator
    def _check_decision(self, server_id: Any, decision: str) -> None:
        if decision not in ("done", "again"):
            raise ApplicationError("a decision is 'done' or 'again'", type="ConfigurationError")
        if str(server_id) not in self._undecided:
            waiting = ", ".join(self._undecided) or "none"
            why = f"server {server_id} is not undecided; these are: {waiting}"
            raise ApplicationError(why, type="ConfigurationError")

    @workflow.query
    def progress(self) -> dict[str, Any]:
        """Return the counts of outcomes, the undecided servers, and why nothing more is begun."""
        return {
            **self._book.counts(),
            "paused": self._paused,
            "undecided": [*self._undecided.values()],
            "unavailable": self._rollout.unavailable,
            "stopped": self._rollout.stopped,
        }

    @workflow.query
    def report(self, page: Any = 0) -> dict[str, Any]:
        """Return a page of rows in the order of the request, each with at least its key and its outcome."""
        return self._book.page(page)

    def _begin(self, state: dict[str, Any]) -> None:
        """Take up the rollout, at its beginning or where an earlier run of this workflow has left it."""
        self._settings = settings = state["settings"]
        self._paused = self._paused or state.get("paused", False)
        rows = [*state["rows"], *(_done(*pair) for pair in state.get("done", ()))]
        self._book.begin(state["ids"], rows)
        # the plan skips what is not active: these servers are unavailable, and part of the fleet
        down = [row["key"] for row in rows if row["outcome"] == "skipped"]
        locations = dict.fromkeys(down, "") | dict(settings["locations"])
        failed = [row["key"] for row in rows if row["outcome"] == "failed"]
        self._rollout = Rollout(
            locations,
            max_unavailable=settings["max_unavailable"],
            max_failures=settings["max_failures"],
            canary=settings["canary"],
            paused=self._paused,
            done=[row["key"] for row in rows if row["outcome"] == "succeeded"],
            in_progress=failed,
            down=down,
        )
        for server_id in failed:
            self._rollout.settled(server_id, False)

    def _state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return what the next run takes up. It has to fit into one payload, so what is usual is short."""
        rows, done = [], []
        for row in self._book.rows:
            if row == _done(row["key"], row.get("seconds", 0.0)):
                done.append([row["key"], row["seconds"]])
            else:
                rows.append(row)
        return {**state, "rows": rows, "done": done, "paused": self._paused}

    def _begin_next(self) -> bool:
        """Begin the servers that may go now, and return whether there is anything to wait for."""
        # a history that is long enough ends here, once nothing is in progress
        full = workflow.info().is_continue_as_new_suggested()
        for server_id in () if full else self._rollout.begin():
            self._tasks.append(asyncio.create_task(self._roll(server_id)))
        waiting = self._rollout.paused and bool(self._rollout.left) and not self._rollout.stopped
        return bool(self._tasks) or (waiting and not full)

    def _changed(self) -> bool:
        return self._resumed or any(task.done() for task in self._tasks)

    async def _end_running(self) -> None:
        """Cancel what is in progress, and wait until its workers have ended: a reboot must not leave afterwards."""
        for task in self._tasks:
            task.cancel()
        while not all(task.done() for task in self._tasks):
            # a second cancellation does not shorten that
            with contextlib.suppress(asyncio.CancelledError):
                await workflow.wait_condition(lambda: all(task.done() for task in self._tasks))

    async def _roll(self, server_id: Any) -> None:
        """Take one server through its reboot and its health check."""
        began = workflow.now()
        try:
            server = await self._rebooted(server_id)
            row = _done(server_id, 0.0) | {"status": server["status"]}
            if why := await self._unhealthy(server):
                message = f"it is not healthy after its reboot: {why}"
                row |= {"outcome": "failed", "error": "WaitError", "message": message}
        except asyncio.CancelledError:
            row = _failed(server_id, _CANCELLED)
        except ActivityError as error:
            row = _failed(server_id, _CANCELLED if _is_cancellation(error) else told(error))
        row["seconds"] = round((workflow.now() - began).total_seconds(), 3)
        self._book.add([row])
        self._rollout.settled(server_id, row["outcome"] == "succeeded")

    async def _rebooted(self, server_id: Any) -> dict[str, Any]:
        """Reboot a server, ask for a decision where it is not known whether that was done, and return its record."""
        while True:
            try:
                return await self._activity("vpsorg.reboot_once", [server_id, self._settings["timeout"]])
            except ActivityError as error:
                cause = error.cause
                if not isinstance(cause, ApplicationError) or cause.type != "OutcomeUnknownError":
                    raise
            key = str(server_id)
            self._undecided[key] = server_id
            await workflow.wait_condition(lambda key=key: key in self._decisions)  # type: ignore[misc]
            del self._undecided[key]
            if self._decisions.pop(key) == "done":
                return await self._activity(
                    "vpsorg.wait_until", [server_id, "active", self._settings["timeout"]]
                )

    async def _activity(self, name: str, args: list[Any]) -> dict[str, Any]:
        found: dict[str, Any] = await workflow.execute_activity(
            name,
            args=args,
            start_to_close_timeout=timedelta(days=1, seconds=2 * self._settings["timeout"]),
            heartbeat_timeout=timedelta(seconds=self._settings["heartbeat_timeout"]),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            result_type=dict,
        )
        return found

    async def _unhealthy(self, server: dict[str, Any]) -> str:
        """Return why a server that is back fails the user's check in its last try; empty if it passes in one."""
        name, why = self._settings["health"], ""
        if not name:
            return why
        if self._settings["warm_up"]:
            await asyncio.sleep(self._settings["warm_up"])
        for last in range(self._settings["health_retries"] - 1, -1, -1):
            try:
                passed, why = await asked(
                    name,
                    [server],
                    start_to_close_timeout=timedelta(seconds=self._settings["health_timeout"]),
                    schedule_to_close_timeout=timedelta(hours=1, seconds=self._settings["health_timeout"]),
                    retry_policy=ONCE,
                )
            except ActivityError as error:
                if _is_cancellation(error):
                    raise
                passed, why = False, f"{name}: {told(error)['message']}"
            if passed:
                return ""
            if last:
                await asyncio.sleep(self._settings["health_interval"])
        return why


def _is_cancellation(error: ActivityError) -> bool:
    return isinstance(error.cause, Cancelled)


def _failed(server_id: Any, why: dict[str, str]) -> dict[str, Any]:
    """Return the row of a server whose reboot did not go well."""
    return {"key": server_id, "outcome": "failed", "server_id": server_id, **why}


def _done(server_id: Any, seconds: float) -> dict[str, Any]:
    """Return the row of a server whose reboot went well."""
    return {
        "key": server_id,
        "outcome": "succeeded",
        "server_id": server_id,
        "status": "active",
        "how": "rebooted",
        "seconds": seconds,
    }
