"""A fleet run that is used wrongly raises immediately; it neither hangs nor sends anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.fleet.virtual_account import account, commands, kinds, specs, virtual
from vpsorg_async import Client, RetryPolicy
from vpsorg_async.errors import ConfigurationError, ServiceError
from vpsorg_async.sandbox import Rule, Sandbox, faults

TIMEOUT = 900.0

RUNS: dict[str, Callable[[Sandbox, Client], Any]] = {
    "creating": lambda box, vps: vps.fleet.creating(specs(2), timeout=TIMEOUT),
    "rolling": lambda box, vps: vps.fleet.rolling("reboot", [box.world.add()[0].id], timeout=TIMEOUT),
}
runs = pytest.mark.parametrize("begin", RUNS.values(), ids=RUNS)


@runs
@virtual
async def test_iterating_without_entering(begin: Callable[[Sandbox, Client], Any]) -> None:
    """The error names `async with`."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError, match="async with"):
            async for _ in begin(box, vps):
                pass

        assert box.requests == ()


@runs
@virtual
async def test_awaiting_a_run(begin: Callable[[Sandbox, Client], Any]) -> None:
    """Awaiting a run as if it were `create` raises an error that names `async with`."""
    async with account() as (box, vps):
        with pytest.raises(ConfigurationError, match="async with"):
            await begin(box, vps)

        assert box.requests == ()


@runs
@virtual
async def test_entering_twice(begin: Callable[[Sandbox, Client], Any]) -> None:
    """A second entry is refused during the run and after it; the run itself goes on, and is not sent twice."""
    async with account() as (box, vps):
        run = begin(box, vps)
        async with run:
            with pytest.raises(ConfigurationError, match="once"):
                await run.__aenter__()
            async for _ in run:
                pass
        done = commands(box)
        with pytest.raises(ConfigurationError, match="once"):
            async with run:
                pass

        assert set(kinds(run.report)) == {"Succeeded"}
        assert commands(box) == done


@runs
@virtual
async def test_iterating_a_run_that_could_not_begin(begin: Callable[[Sandbox, Client], Any]) -> None:
    """A run that could not begin has no outcome to wait for."""
    async with account(Rule("list", faults.Html(503))) as (box, vps):
        run = begin(box, vps)
        with pytest.raises(ServiceError):
            await run.__aenter__()
        with pytest.raises(ConfigurationError, match="not open"):
            await anext(run)


@virtual
async def test_a_run_that_could_not_begin_holds_no_names() -> None:
    """The same names can be created afterwards."""
    async with account(Rule("list", faults.Html(503), nth=1), options={"retry": RetryPolicy(attempts=1)}) as (
        _,
        vps,
    ):
        broken = vps.fleet.creating(specs(2), timeout=TIMEOUT)
        with pytest.raises(ServiceError):
            await broken.__aenter__()

        assert kinds(await vps.fleet.create(specs(2), timeout=TIMEOUT)) == {"Succeeded": 2}


@virtual
async def test_a_run_that_is_never_entered_holds_no_names() -> None:
    """A run that is never entered reserves no names."""
    async with account() as (_, vps):
        vps.fleet.creating(specs(2), timeout=TIMEOUT)

        assert kinds(await vps.fleet.create(specs(2), timeout=TIMEOUT)) == {"Succeeded": 2}


@runs
@virtual
async def test_the_report_before_entering(begin: Callable[[Sandbox, Client], Any]) -> None:
    """The report of a run that was not entered is empty."""
    async with account() as (box, vps):
        assert begin(box, vps).report.outcomes == ()


@virtual
async def test_several_tasks_iterate_over_one_run() -> None:
    """Each outcome goes to one of them, and all of them end."""
    async with account() as (_, vps):
        taken: list[Any] = []

        async def take() -> None:
            async for outcome in run:
                taken.append(outcome)

        async with vps.fleet.creating(specs(5), timeout=TIMEOUT) as run, asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(take())

        assert sorted(outcome.key for outcome in taken) == [spec.name for spec in specs(5)]
