"""Requests, summaries and rows: what they accept, and what pages of them hold."""

from __future__ import annotations

from typing import Any

import pytest

from vpsorg_async import ServerSpec
from vpsorg_async.errors import ConfigurationError
from vpsorg_async.temporal import FleetRequest, FleetRow, FleetSummary, RollingRequest
from vpsorg_async.temporal.convert import read_as
from vpsorg_async.temporal.rows import RowBook

SPEC = ServerSpec(name="web", plan_id=1, os_id=5, location="us-west")


def test_a_request_has_its_defaults() -> None:
    """Lists become tuples, and what is left out is as the page says."""
    request = FleetRequest(specs=[SPEC], timeout=600)

    assert (request.specs, request.settle, request.chunk, request.heartbeat_timeout) == (
        (SPEC,),
        30.0,
        50,
        15.0,
    )


@pytest.mark.parametrize(
    "bad",
    [
        {"timeout": 0},
        {"timeout": "600"},
        {"settle": -1},
        {"chunk": 0},
        {"chunk": 101},
        {"chunk": True},
        {"heartbeat_timeout": 0},
        {"heartbeat_timeout": 0.5},
        {"heartbeat_timeout": 1e14},
        {"timeout": 1e15},
        {"settle": 1e14},
        {"specs": [{"name": "web"}]},
        {"specs": "web"},
        {"ids": [0]},
        {"ids": [1, "1"]},
    ],
)
def test_a_fleet_request_is_checked(bad: dict[str, Any]) -> None:
    """The mistake is noticed by the program that makes it."""
    with pytest.raises(ConfigurationError):
        FleetRequest(**{"specs": [SPEC], "timeout": 600, **bad})


@pytest.mark.parametrize(
    "bad",
    [
        {"max_unavailable": 0},
        {"max_unavailable": 1.0},
        {"max_failures": 0},
        {"canary": -1},
        {"health_retries": 0},
        {"health_timeout": 0},
        {"warm_up": -1},
        {"ids": 5},
        {"ids": []},
    ],
)
def test_a_rolling_request_is_checked(bad: dict[str, Any]) -> None:
    """The same for a rolling reboot."""
    with pytest.raises(ConfigurationError):
        RollingRequest(**{"ids": [1], "timeout": 600, **bad})


def test_plain_json_is_read() -> None:
    """A summary as any client gets it; a record of another class is refused."""
    row = {"key": "web", "outcome": "failed", "error": "BadRequestError"}
    plain = {"operation": "create", "succeeded": 1, "failed": 1, "skipped": 0, "failures": [row]}
    summary = read_as({"vpsorg": 1, "type": "FleetSummary", **plain}, FleetSummary)

    assert summary.failures == (FleetRow(key="web", outcome="failed", error="BadRequestError"),)
    assert read_as(plain, FleetSummary) == summary
    with pytest.raises(ConfigurationError, match="expected a FleetRequest"):
        read_as({"vpsorg": 1, "type": "FleetSummary", **plain}, FleetRequest)


def test_pages_of_rows() -> None:
    """1,000 rows a page, in the order of the request; a server without an outcome is open."""
    book = RowBook("create")
    book.begin(range(2500), [{"key": 7, "outcome": "skipped"}])
    book.add({"key": key, "outcome": "failed"} for key in range(1000, 2500))
    pages = [book.page(number) for number in range(4)]

    assert [len(page["rows"]) for page in pages] == [1000, 1000, 500, 0]
    assert pages[0]["rows"][6:8] == [{"key": 6, "outcome": "open"}, {"key": 7, "outcome": "skipped"}]
    assert {page["pages"] for page in pages} == {3}
    assert book.page("x")["rows"] == []
    counts = {"succeeded": 0, "failed": 1500, "skipped": 1, "open": 999}
    assert book.counts() == {"operation": "create", "total": 2500, **counts}
    assert len(book.summary(1.0)["failures"]) == 1000
