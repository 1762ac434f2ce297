"""The workflow that replaces servers of fleets, a few at a time: `Replacement` decides which pair of servers is next.

===========  ===========================================================================================================
stage        what happens to a pair that begins with the new server
===========  ===========================================================================================================
create       the new server is created, once, and waited for until it is active
ready        the user's activity is called with it, until it returns True
switch       the user's activity is called with the old and the new server
drain        a timer, which outlives workers and the engine
delete       the old server is deleted, if it still is what it was, and the new one is active
rename       with ``names="stable"`` the new server gets the name of the old one
===========  ===========================================================================================================

A pair that begins with the old server deletes it first. A pair that fails keeps its old server, if that is still there.
If nobody knows whether a create was applied, because its answer was lost and no server of that name was found, the pair
is ``undecided``: it keeps its place, and waits for the update ``decide``.

================  ======================================================================================================
message           what it does
================  ======================================================================================================
``pause``         signal: no further pair begins until ``resume``; what was begun goes on
``resume``        signal: pairs begin again
``decide``        update, with the name of a new server and ``again`` or ``failed``: it is created again, or has failed
``progress``      query: counts, ``undecided`` and why the replacement stopped
``plan``          query: the plan, with a page of its steps, 1,000 each, from 0; totals alone once the history was long
``report``        query: a page of rows, one for each new server, 1,000 each, from 0
================  ======================================================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from ..fleet.replacement import Order, Pair, Replacement
from ..replace_policy import ReplacePolicy
from .pair_run import Deletes, PairFailed, PairRun
from .plan_form import page_of
from .planning_step import check_permitted, is_continuation, planned, raw_json
from .rows import RowBook

__all__ = ["RollingReplace"]


@workflow.defn(name="vpsorg.RollingReplace", failure_exception_types=[TypeError])
class RollingReplace:
    """Replace the servers of the fleets of a `ReplaceRequest` that differ, and return a `FleetSummary`."""

    def __init__(self) -> None:
        self._book = RowBook("rolling replace")
        self._request: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self._plan: dict[str, Any] = {}
        self._fleets: list[dict[str, Any]] = []
        self._machines: list[Replacement] = []
        self._taken_up: list[tuple[str, Order]] = []
        self._pairs: dict[str, tuple[int, dict[str, Any]]] = {}
        self._failures: dict[str, list[bool]] = {}
        self._deletes = Deletes()
        self._undecided: set[str] = set()
        self._decisions: dict[str, str] = {}
        # in their order: a replay has to cancel them in the same one
        self._tasks: list[asyncio.Task[None]] = []
        self._paused = False
        self._resumed = False
        self._cancelled = False

    @workflow.run
    async def run(self, request: RawValue) -> Any:
        """Return the `FleetSummary`."""
        state = raw_json(request).get("state") if is_continuation() else None
        if state is None:
            settings = await planned("vpsorg.plan_replace", request)
            self._plan = settings.pop("plan")
            check_permitted(self._plan)
            state = {"request": raw_json(request), "settings": settings, "fleets": settings.pop("fleets")}
            state |= {"began": workflow.time(), "rows": [], "failures": {}}
        else:
            self._plan = state["plan"]
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
            await self._hand_over()
            raise
        if self._left() and not self._stopped():
            workflow.continue_as_new({"state": self._state(state)})
        why = self._stopped()
        self._book.add({"key": key, "outcome": "skipped", "message": why} for key in self._left())
        return self._book.summary(workflow.time() - state["began"])

    @workflow.signal
    def pause(self) -> None:
        """Begin no further pair until `resume`."""
        self._paused = True

    @workflow.signal
    def resume(self) -> None:
        """Begin pairs again."""
        self._paused, self._resumed = False, True

    @workflow.update
    def decide(self, name: str, decision: str) -> None:
        """Say of an undecided pair that its new server is to be created again, or that it has failed."""
        self._decisions[name] = decision

    @decide.validator
    def _check_decision(self, name: str, decision: str) -> None:
        if decision not in ("again", "failed"):
            raise ApplicationError("a decision is 'again' or 'failed'", type="ConfigurationError")
        if name not in self._undecided:
            waiting = ", ".join(sorted(self._undecided)) or "none"
            raise ApplicationError(
                f"{name} is not undecided; these are: {waiting}", type="ConfigurationError"
            )

    @workflow.query
    def progress(self) -> dict[str, Any]:
        """Return the counts of outcomes, the undecided pairs, and why nothing more is begun."""
        return {
            **self._book.counts(),
            "paused": self._paused,
            "undecided": sorted(self._undecided),
            "in_progress": [key for machine in self._machines for key in machine.in_progress],
            "unavailable": sum(machine.unavailable for machine in self._machines),
            "extra": sum(machine.extra for machine in self._machines),
            "stopped": self._stopped(),
        }

    @workflow.query
    def plan(self, page: Any = 0) -> dict[str, Any]:
        """Return the plan: counts, prices, why it is refused, and a page of its steps."""
        return page_of(self._plan, page)

    @workflow.query
    def report(self, page: Any = 0) -> dict[str, Any]:
        """Return a page of rows in the order of the plan, each with at least its key and its outcome."""
        return self._book.page(page)

    def _begin(self, state: dict[str, Any]) -> None:
        """Take up the replacement, at its beginning or where an earlier run of this workflow has left it."""
        self._request, self._settings, self._fleets = state["request"], state["settings"], state["fleets"]
        self._paused = self._paused or state.get("paused", False)
        self._failures, self._deletes.refused = state["failures"], state.get("no_deletes", "")
        rows = state["rows"]
        outcomes = {row["key"]: row["outcome"] for row in rows}
        policy = ReplacePolicy(**self._settings["policy"])
        keys = []
        for index, fleet in enumerate(self._fleets):
            pairs = []
            for pair in fleet["pairs"]:
                key = pair["key"]
                keys.append(key)
                self._pairs[key] = (index, pair)
                if outcomes.get(key) != "succeeded":
                    begun = key in outcomes or pair.get("exists", False)
                    pairs.append(Pair(key, pair["down"], Order.NEW_FIRST if begun else None))
            done = sum(outcomes.get(pair["key"]) == "succeeded" for pair in fleet["pairs"])
            machine = Replacement(
                pairs, policy, size=fleet["size"], unavailable=fleet["unavailable"], done=done
            )
            for key in machine.in_progress:
                if key in outcomes:
                    extra, serving = self._failures[key]
                    machine.failed(key, extra=extra, serving=serving)
                else:
                    self._taken_up.append((key, Order.NEW_FIRST))
            self._machines.append(machine)
        self._book.begin(keys, rows)

    def _state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return what the next run takes up."""
        return {
            **state,
            "rows": self._book.rows,
            "failures": self._failures,
            "paused": self._paused,
            "no_deletes": self._deletes.refused,
            "plan": {**self._plan, "steps": []},  # which would not always fit into one payload with all this
        }

    def _stopped(self) -> str:
        most = self._settings.get("policy", {}).get("max_failures", 1)
        if len(self._failures) >= most:
            failed = "a failure" if most == 1 else f"{len(self._failures)} failures"
            return f"the replacement stopped after {failed}"
        if self._deletes.refused:
            # a further new server would only be one too many
            return f"the replacement stopped: {self._deletes.refused}"
        for machine in self._machines:
            if machine.stopped or machine.left or machine.in_progress:
                return machine.stopped
        return ""

    def _left(self) -> list[str]:
        begun = [key for key, _ in self._taken_up]
        return begun + [key for machine in self._machines for key in machine.left]

    def _begin_next(self) -> bool:
        """Begin the pairs that may go now, and return whether there is anything to wait for."""
        # a history that is long enough ends here, once nothing is in progress
        full = workflow.info().is_continue_as_new_suggested()
        if not (full or self._paused or self._stopped()):
            self._start(self._taken_up)
            self._taken_up = []
            for machine in self._machines:
                self._start(machine.begin())
                if machine.left or machine.in_progress:
                    break  # one fleet after the other
        waiting = self._paused and bool(self._left()) and not self._stopped()
        return bool(self._tasks) or (waiting and not full)

    def _start(self, pairs: Iterable[tuple[str, Order]]) -> None:
        for key, order in pairs:
            self._tasks.append(asyncio.create_task(self._replace(key, order)))

    def _changed(self) -> bool:
        return self._resumed or any(task.done() for task in self._tasks)

    async def _hand_over(self) -> None:
        """End what is in progress. A second cancellation does not shorten the time in which workers hand over."""
        self._cancelled = True
        for task in self._tasks:
            task.cancel()
        while not all(task.done() for task in self._tasks):
            with contextlib.suppress(asyncio.CancelledError):
                await workflow.wait_condition(lambda: all(task.done() for task in self._tasks))

    async def _replace(self, key: str, order: Order) -> None:
        """Take one pair through its stages."""
        began = workflow.now()
        index, pair = self._pairs[key]
        machine = self._machines[index]
        row = {"key": key, "old_id": pair["id"]}
        one = PairRun(
            pair,
            order,
            self._request,
            self._settings,
            self._deletes,
            self._decided,
            lambda: self._cancelled,
        )
        try:
            try:
                row |= await one.run()
                machine.done(key)
            except asyncio.CancelledError:
                raise one.cut_short() from None
        except PairFailed as failed:
            row |= {"outcome": "failed", **failed.row}
            self._failures[key] = [one.extra, one.serving]
            machine.failed(key, extra=one.extra, serving=one.serving)
        row["seconds"] = round((workflow.now() - began).total_seconds(), 3)
        self._book.add([row])

    async def _decided(self, key: str) -> str:
        """Return what the user says of a create whose outcome is unknown."""
        self._undecided.add(key)
        await workflow.wait_condition(lambda: key in self._decisions)
        self._undecided.discard(key)
        return self._decisions.pop(key)
