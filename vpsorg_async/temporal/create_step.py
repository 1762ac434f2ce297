"""One create as a step of a workflow of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as EngineTimeout

from ..errors import OutcomeUnknownError
from ..records import Server, ServerId
from ..specs import ServerSpec

__all__ = ["create_or_find"]


async def create_or_find(
    spec: ServerSpec,
    *,
    before: Iterable[ServerId] = (),
    settle: float = 30.0,
    timeout: timedelta = timedelta(minutes=2),
    heartbeat_timeout: timedelta = timedelta(seconds=15),
) -> Server:
    """Create a server in a workflow, and find it where the answer was lost or the worker died. It is sent once.

    Args:
        spec: The spec.
        before: The ids that were in the account before: none of them is its result. Without them, an older server of
            the same name would be taken for the result of a create whose answer was lost.
        settle: Seconds for which a server of that name is searched for. It must be longer than lists lag behind.
        timeout: The time for the create itself.
        heartbeat_timeout: The time without a word of the worker after which it counts as dead.

    Returns:
        The server, on its way to ``active``.

    Raises:
        OutcomeUnknownError: The create may have left, and no server of it was found. Check the account before you send
            it again.
        temporalio.exceptions.ActivityError: The create was refused; its cause says why.

    Example::

        server = await create_or_find(spec)
        server = await workflow.execute_activity(
            "vpsorg.wait_until", args=[server, "active", 600], result_type=Server, ...
        )
    """
    try:
        server: Server = await workflow.execute_activity(
            "vpsorg.create_server",
            spec,
            result_type=Server,
            start_to_close_timeout=timeout,
            heartbeat_timeout=heartbeat_timeout,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
    except ActivityError as error:
        if not _in_doubt(error.cause):
            raise
    else:
        return server
    found: Server | None = await workflow.execute_activity(
        "vpsorg.find_created",
        args=[spec, list(before), settle],
        start_to_close_timeout=timedelta(minutes=10, seconds=settle),
        heartbeat_timeout=heartbeat_timeout,
    )
    if found is None:
        raise OutcomeUnknownError(
            f"create of {spec.name!r} has an unknown outcome, and no server of it was found within {settle:g} s",
            subject=spec.name,
        )
    return found


def _in_doubt(cause: BaseException | None) -> bool:
    if isinstance(cause, ApplicationError):
        return cause.type in ("OutcomeUnknownError", "AttemptEnded")
    return isinstance(cause, EngineTimeout)
