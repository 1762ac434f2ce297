"""Every row of the fault matrix, on a real socket, with both of aiohttp's parsers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.io.faults import FAULTS, OPERATIONS, Ends, Fault, client
from tests.io.skipping import quiet, run
from vpsorg_async.errors import VpsOrgError
from vpsorg_async.http.events import RequestSent


async def ends(fault: Fault, operation: str) -> tuple[Ends, int, object]:
    """How the call ended, how many requests the server heard, and what the call returned or raised."""
    events: list[Any] = []
    async with fault.play() as stage, client(stage.url, on_event=events.append, **stage.options) as vps:
        for _ in range(stage.warm):
            await vps.servers.get(1)
            await quiet()
        events.clear()
        error: VpsOrgError | None = None
        result: object = None
        try:
            result = await OPERATIONS[operation](vps)
        except VpsOrgError as raised:
            result = error = raised
        heard = len(stage.server.requests) - stage.warm if stage.server else 0
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
    """Class, knowledge and attempts are those of the row, and the server heard each attempt once."""
    end, heard, result = run(ends(fault, operation))

    assert end == fault.ends(operation), result
    assert heard == (end.attempts if fault.heard else 0)
