"""Rollback: deletes the servers that a run created, in limited time, and reports what became of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio

from ..errors import OutcomeUnknownError, VpsOrgError, is_absence
from ..records import ServerId
from ..shielding import is_cancellation, side_by_side
from .jobs import RunContext
from .outcomes import Failed, Outcome, Succeeded

__all__ = ["DELETE_BOUND", "delete_again", "rolled_back"]

DELETE_BOUND = 30.0
"""Seconds for all deletes together."""
AGAIN = 1.0
"""Seconds between two deletes of a server that no read has shown yet."""


async def delete_again(
    context: RunContext,
    created: Mapping[ServerId, ServerId],
    report: Callable[[ServerId, str, bool], None],
    why: str,
) -> None:
    """Delete the servers that a run created.

    A server just created can be invisible for a while, also to a DELETE. So a 404 before any read has shown the server
    does not prove that it is gone, and the DELETE is repeated. No deadline or retry policy of a view cuts this short.

    Args:
        context: What the run works with.
        created: The key and the id of each server. ``report`` may remove them.
        report: Called with the key, a text for its outcome, and whether the server is gone.
        why: Why the servers are deleted; the texts begin with it.

    Raises:
        BaseException: What a hook raised to end everything, once all servers have been tried. `KeyboardInterrupt` and
            `SystemExit` end the rollback at once.
    """
    charged = "it may still be charged for"
    for key in created:
        report(key, f"{why}; but that was not done within {DELETE_BOUND:g} s, {charged}", False)
    queue = iter(list(created.items()))
    stops: list[BaseException] = []

    async def delete(key: ServerId, server_id: ServerId) -> None:
        while True:
            try:
                await context.plain.delete(server_id)
            except VpsOrgError as error:
                unproven = is_absence(error) or isinstance(error, OutcomeUnknownError)
                if unproven and not context.endpoints.was_shown(server_id):
                    report(key, f"{why}; but the API does not show it yet, {charged}", False)
                    await context.clock.sleep(AGAIN)
                    continue
                if not is_absence(error):
                    report(key, f"{why}; but deleting it failed, {charged}: {error}", False)
                    return
            report(key, why, True)
            return

    async def worker() -> None:
        for key, server_id in queue:
            try:
                await delete(key, server_id)
            except BaseException as stop:
                if is_cancellation(stop):
                    raise
                stops.append(stop)
                if isinstance(stop, KeyboardInterrupt | SystemExit):
                    # a second Ctrl-C can arrive here: the user does not want to wait
                    scope.cancel()
                    return

    with anyio.move_on_after(DELETE_BOUND) as scope:
        await side_by_side(worker() for _ in range(min(context.workers, len(created))))
    if stops:
        raise stops[0]


def rolled_back(old: Outcome | None, key: ServerId, server_id: ServerId, text: str, *, gone: bool) -> Failed:
    """Return the outcome of a server that was to be deleted; it has the record of a server that stays."""
    known = old if isinstance(old, Succeeded | Failed) else None
    return Failed(
        key,
        VpsOrgError(f"{key}: {text}"),
        server_id=server_id,
        server=known.server if known and not gone else None,
        timeline=known.timeline if known else (),
        attempts=known.attempts if known else 1,
        replaced=known.replaced if known else (),
    )
