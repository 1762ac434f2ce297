"""Every row of the fault matrix, on real sockets, with both of aiohttp's parsers; and what a thousand faults leave."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.io.endpoints import LONG, SERVER, drips, floods, passing_time, sends, stalls
from tests.io.faults import (
    CHUNKED,
    FAULTS,
    GREETING,
    HALF,
    OK,
    OPERATIONS,
    PURE_PYTHON,
    Ends,
    Fault,
    client,
    matrix,
)
from tests.io.raw_server import Line, RawServer, answer
from tests.io.skipping import quiet, run, skipping
from vpsorg_async import Client
from vpsorg_async.errors import VpsOrgError
from vpsorg_async.http.events import RequestSent
from vpsorg_async.http.retry import RetryPolicy

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"


async def ends(fault: Fault, operation: str) -> tuple[Ends, int, object]:
    """The outcome of the call, the number of requests that the server received, and the value or the error."""
    events: list[Any] = []
    async with (
        fault.play() as endpoint,
        client(endpoint.url, on_event=events.append, **endpoint.options) as vps,
    ):
        for _ in range(endpoint.warm):
            await vps.servers.get(1)
            await quiet()
        events.clear()
        error: VpsOrgError | None = None
        result: object = None
        try:
            result = await OPERATIONS[operation](vps)
        except VpsOrgError as raised:
            result = error = raised
        heard = len(endpoint.server.requests) - endpoint.warm if endpoint.server else 0
    reason = getattr(error, "reason", None)
    end = Ends(
        type(error) if error else None,
        getattr(error, "sent", None),
        sum(isinstance(event, RequestSent) for event in events),
        type(reason) if reason else None,
    )
    return end, heard, result


@pytest.mark.parametrize("operation", ["get", "create"])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_ends_as_the_matrix_says(fault: Fault, operation: str) -> None:
    """Class, knowledge and attempts are those of the row, and the server received each attempt once."""
    end, heard, result = run(ends(fault, operation))

    assert end == fault.ends(operation), result
    assert heard == (end.attempts if fault.heard else 0)


@pytest.mark.skipif(PURE_PYTHON, reason="this is that other process")
def test_the_matrix_with_the_pure_python_parser() -> None:
    """The same rows in a process in which aiohttp reads answers without its C extension."""
    isolated = ["-I"] if sys.flags.isolated else []
    options = ["-q", "-p", "no:cacheprovider", "-k", "matrix_says"]
    done = subprocess.run(
        [sys.executable, *isolated, "-m", "pytest", *options, __file__],
        cwd=PAGE.parents[1],
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert f"{2 * len(FAULTS)} passed" in done.stdout


def test_the_parser_is_the_one_asked_for() -> None:
    """Rows that differ by parser are compared with the parser in use."""
    assert ("AIOHTTP_NO_EXTENSIONS" in os.environ) == PURE_PYTHON


def test_the_page_shows_the_matrix() -> None:
    """The documentation shows the tested matrix: ``python -m tests.io.faults`` prints the table."""
    assert matrix() in PAGE.read_text("utf-8")


MISBEHAVIOURS = [
    sends(then="close"),
    sends(then="reset"),
    sends(OK + b"Content-Le", then="close"),
    sends(HALF, then="close"),
    sends(HALF, then="reset"),
    sends(HALF, then="stall"),
    sends(CHUNKED, b"zz\r\n", then="stall"),
    sends(GREETING, then="close"),
    sends(answer(503)),
    sends(answer(200, b"{")),
    sends(answer(200, SERVER), answer(200, SERVER)),
    sends(answer(200, SERVER), then="close"),
    stalls,
    drips,
    floods,
]


@pytest.mark.parametrize("seed", range(2))
@skipping
async def test_a_thousand_faults_leak_nothing(seed: int) -> None:
    """After a thousand faults and cancellations all slots work, and no task and no descriptor is left over."""
    rng, places = random.Random(seed), 16
    arrived: list[Line] = []

    async def misbehave(line: Line) -> None:
        await rng.choice(MISBEHAVIOURS)(line)

    async def all_at_once(line: Line) -> None:
        arrived.append(line)
        if len(arrived) == places:
            for each in arrived:
                each.send(answer(200, SERVER))

    once: dict[str, Any] = {"retry": RetryPolicy(attempts=1), "max_in_flight": places, "max_body": 1 << 18}
    async with RawServer(misbehave) as server:
        descriptors = len(os.listdir("/dev/fd"))
        outcomes: list[object] = []
        async with Client("vps_x", base_url=server.url, **once) as vps:
            async with passing_time(LONG):
                for _ in range(25):
                    calls = [
                        asyncio.create_task(call(rng.choice(sorted(OPERATIONS)), vps)) for _ in range(40)
                    ]
                    for _ in range(rng.randrange(60)):
                        await asyncio.sleep(0)
                    rng.choice(calls).cancel()
                    outcomes += await asyncio.gather(*calls, return_exceptions=True)

            server.scripts = [all_at_once]
            await asyncio.gather(*(vps.servers.get(1) for _ in range(places)))
            await quiet()
            assert vps._runtime is not None
            assert vps._runtime.limiter.in_flight == 0
        await quiet()

        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert len(outcomes) == 1000
        assert len(failures) > 500
        assert {type(error) for error in failures if not isinstance(error, VpsOrgError)} <= {
            asyncio.CancelledError
        }
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert len(os.listdir("/dev/fd")) == descriptors


async def call(operation: str, vps: Client) -> object:
    return await OPERATIONS[operation](vps)
