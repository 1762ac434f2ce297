"""The workflows that create, ensure and delete fleets: chunks go to workers, rows come back.

A workflow decides and waits; all else is in activities. It handles plain JSON only, so that its replay costs next to
nothing: the activity ``vpsorg.plan_fleet`` checks the request before anything is sent.

================  ======================================================================================================
message           what it does
================  ======================================================================================================
``pause``         signal: chunks in progress end with what they have, and send nothing more until ``resume``
``resume``        signal: what is open goes on
``retry_failed``  update: servers that failed or were skipped so far are tried again; returns their number
``progress``      query: counts
``report``        query: a page of rows, 1,000 each, from 0
================  ======================================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import CancelledError as Cancelled

from .planning_step import planned, raw_json, told
from .rows import RowBook

__all__ = ["FleetCreate", "FleetDelete", "FleetEnsure"]

MAX_CHUNKS = 40
"""Chunks of one workflow that workers have at the same time, so that others get their turn."""
MOST_CHUNKS = 2000
"""In all: the engine ends a workflow whose history has more than 51,200 events."""


class FleetWorkflow:
    """What the workflows have in common. One instance is one fleet."""

    operation: ClassVar[str]

    def __init__(self) -> None:
        self._book = RowBook(self.operation)
        self._settings: dict[str, Any] = {}
        self._items: dict[str, Any] = {}
        self._receipts: dict[str, Any] = {}
        self._paused = False
        self._cancelled = False
        self._running: list[workflow.ActivityHandle[Any]] = []
        self._told_to_end: set[workflow.ActivityHandle[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(MAX_CHUNKS)

    async def work(self, request: RawValue) -> dict[str, Any]:
        """Do what was asked for, and return the summary."""
        began = workflow.now()
        self._settings = await planned("vpsorg.plan_fleet", request, self.operation)
        deletes = self.operation == "delete"
        # not as records: a plan for ten thousand servers would take seconds to read, each time it is replayed
        items = self._settings["ids"] if deletes else raw_json(request)["specs"]
        self._items = {str(item if deletes else item["name"]): item for item in items}
        self._book.begin([item if deletes else item["name"] for item in items], self._settings["rows"])
        self._start([key for key in self._items if not self._book.has(key)], again=False)
        await self._finish()
        return self._book.summary((workflow.now() - began).total_seconds())

    async def _finish(self) -> None:
        """Wait until all chunks are done. If the workflow is cancelled, workers hand over what they have first."""
        try:
            await workflow.wait_condition(lambda: all(task.done() for task in self._tasks))
            await workflow.wait_condition(workflow.all_handlers_finished)
        except asyncio.CancelledError:
            self._cancelled = True
            self._end_running()
            while not all(task.done() for task in self._tasks):
                # a second cancellation does not shorten the time in which workers hand over
                with contextlib.suppress(asyncio.CancelledError):
                    await workflow.wait_condition(lambda: all(task.done() for task in self._tasks))
            raise
        for task in self._tasks:
            task.result()  # a bug must not pass for an outcome

    @workflow.signal
    def pause(self) -> None:
        """Let workers end what they do, and send nothing more until `resume`."""
        self._paused = True
        self._end_running()

    @workflow.signal
    def resume(self) -> None:
        """Go on with what is open."""
        self._paused = False

    @workflow.update
    def retry_failed(self) -> int:
        """Try the servers again that failed or were skipped so far, and return their number."""
        keys = self._can_be_retried()
        self._book.withdraw(keys)
        self._start(keys, again=True)
        return len(keys)

    def _can_be_retried(self) -> list[str]:
        # a server that the plan did not find can't be deleted the next time either
        outcomes = ("failed",) if self.operation == "delete" else ("failed", "skipped")
        return self._book.with_outcomes(outcomes)

    @workflow.query
    def progress(self) -> dict[str, Any]:
        """Return the counts of outcomes, of chunks that workers have, and whether the fleet is paused."""
        return {**self._book.counts(), "working": len(self._running), "paused": self._paused}

    @workflow.query
    def report(self, page: Any = 0) -> dict[str, Any]:
        """Return a page of rows in the order of the request, each with at least its key and its outcome."""
        found = self._book.page(page)
        for row in found["rows"]:
            receipt = self._receipts.get(str(row["key"]))
            if row["outcome"] == "open" and receipt is not None:
                row["server_id"] = receipt["server_id"]  # created, while its worker was told to end
        return found

    def _end_running(self) -> None:
        for handle in self._running:
            handle.cancel()
        self._told_to_end.update(self._running)

    def _start(self, keys: Sequence[str], *, again: bool) -> None:
        by_activity: dict[str, list[str]] = {}
        for key in keys:
            by_activity.setdefault(self._activity(key), []).append(key)
        for same in by_activity.values():
            for chunk in self._in_chunks(same):
                self._tasks.add(asyncio.create_task(self._do(chunk, again)))

    def _in_chunks(self, keys: Sequence[str]) -> list[Sequence[str]]:
        size = max(self._settings["chunk"], -(-len(keys) // MOST_CHUNKS))
        return [keys[first : first + size] for first in range(0, len(keys), size)]

    async def _do(self, keys: Sequence[str], again: bool) -> None:
        """Let workers do a chunk, in several turns if it is paused."""
        while keys:
            async with self._slots:
                await workflow.wait_condition(lambda: not self._paused or self._cancelled)
                if self._cancelled:
                    return
                keys, again = await self._turn(keys, again)

    async def _turn(self, keys: Sequence[str], again: bool) -> tuple[Sequence[str], bool]:
        """Let a worker do a chunk, record its rows, and return what is left open, and whether it was sent perhaps."""
        handle = workflow.start_activity(
            self._activity(keys[0]),
            self._chunk(keys, again),
            start_to_close_timeout=timedelta(days=2, seconds=2 * self._settings["timeout"]),
            heartbeat_timeout=timedelta(seconds=self._settings["heartbeat_timeout"]),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            result_type=dict,
        )
        self._running.append(handle)
        try:
            result = await handle
        except asyncio.CancelledError:
            return keys, True  # it ended at the moment at which it was told to: nothing is known of it
        except ActivityError as error:
            final = isinstance(error.cause, ApplicationError) and error.cause.non_retryable
            if isinstance(error.cause, Cancelled) or (handle in self._told_to_end and not final):
                return keys, True  # its worker died before it could say what is open
            self._book.add({"key": self._book.key(key), "outcome": "failed", **told(error)} for key in keys)
            return [], False
        finally:
            self._running.remove(handle)
            self._told_to_end.discard(handle)
        self._book.add(result["rows"])
        self._receipts.update(result["receipts"])
        return [str(key) for key in result["open"]], result.get("doubt", False)

    def _activity(self, key: str) -> str:
        """Return the name of the activity that does the chunk of a key."""
        return "vpsorg.act_chunk" if self.operation == "delete" else "vpsorg.create_chunk"

    def _chunk(self, keys: Sequence[str], again: bool) -> dict[str, Any]:
        """Return the argument of the activity that does a chunk."""
        items = [self._items[key] for key in keys]
        if self.operation == "delete":
            return {"ids": items, "timeout": self._settings["timeout"]}
        chunk = {
            "operation": self.operation,
            "specs": items,
            "timeout": self._settings["timeout"],
            "settle": self._settings["settle"],
        }
        return chunk | self._known_of(keys, again)

    def _known_of(self, keys: Sequence[str], again: bool) -> dict[str, Any]:
        """Return what is known of earlier turns of a chunk, as fields of its argument."""
        known = {key: self._receipts[key] for key in keys if key in self._receipts}
        return ({"receipts": known} if known else {}) | ({"again": True} if again else {})


@workflow.defn(name="vpsorg.FleetCreate", failure_exception_types=[TypeError])
class FleetCreate(FleetWorkflow):
    """Create all servers of a `FleetRequest`, and wait until each is active. Names that exist are refused."""

    operation = "create"

    @workflow.run
    async def run(self, request: RawValue) -> Any:
        """Return the `FleetSummary`."""
        return await self.work(request)


@workflow.defn(name="vpsorg.FleetEnsure", failure_exception_types=[TypeError])
class FleetEnsure(FleetWorkflow):
    """Make sure that the servers of a `FleetRequest` exist and are active."""

    operation = "ensure"

    @workflow.run
    async def run(self, request: RawValue) -> Any:
        """Return the `FleetSummary`."""
        return await self.work(request)


@workflow.defn(name="vpsorg.FleetDelete", failure_exception_types=[TypeError])
class FleetDelete(FleetWorkflow):
    """Delete the servers that a `FleetRequest` has in ``ids``, and wait until each is gone."""

    operation = "delete"

    @workflow.run
    async def run(self, request: RawValue) -> Any:
        """Return the `FleetSummary`."""
        return await self.work(request)
